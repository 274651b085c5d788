#!/usr/bin/env python3
"""The man page, made from the same tables as --help: nobody writes an option twice.

python3 tools/man.py --out DIR       writes DIR/twat-fs.1 (also: tools/dev.py build)
mandoc DIR/twat-fs.1                 shows it
"""

from __future__ import annotations

import argparse
import re
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import binary
import version

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

ABOUT = {
    "upload": "Turn files into URLs: one URL for each file to standard output, in the order given, and all the rest to standard "
              "error. The word upload may be left out. Without a file, or for -, standard input is uploaded.",
    "list": "The hosts and what is known about them; with a name, about that one.",
    "status": "Whether a host is ready; without a name, each of them.",
    "serve": "This machine is the host: give these files under URLs that cannot be guessed, or without files receive some.",
    "version": "The version.",
    "completion": "A script that completes commands, options and hosts in bash, fish or zsh.",
}  # fmt: skip
WORDS = {
    "upload": "Ar file ...", "list": "Op Ar host", "status": "Op Ar host", "serve": "Op Ar file ...", "completion": "Ar shell",
}  # fmt: skip
ENVIRONMENT = {
    "TWAT_FS_DEFAULT_PROVIDER": "hosts to use, like --provider",
    "TWAT_FS_TIMEOUT": "seconds without any byte moving, like --timeout",
    "TWAT_FS_SERVE_TOKEN": "the token of serve, which ps does not show",
    "HTTPS_PROXY, HTTP_PROXY, ALL_PROXY, NO_PROXY": "proxies, as with curl",
    "SSL_CERT_FILE": "certificates to trust instead of the system's",
    "NO_COLOR": "not needed: there are no colours",
}
PAGE = r""".Dd {date}
.Dt TWAT-FS 1
.Os
.Sh NAME
.Nm twat-fs
.Nd turn a file into a URL
.Sh SYNOPSIS
{synopsis}
.Sh DESCRIPTION
.Nm
gives a file to a public host, or to storage of yours,
and prints the URL once it is proven that the URL serves the same bytes.
What a public host has taken can be read by everybody who has the URL.
{commands}
.Sh HOSTS
.Bl -tag -width tmpfileslink
{hosts}
.El
.Sh ENVIRONMENT
.Bl -tag -width Ds
{environment}
.El
.Sh EXIT STATUS
.Bl -tag -width 1300
{codes}
.El
.Sh EXAMPLES
.Dl $ twat-fs report.pdf
.Dl $ dmesg | twat-fs -p litterbox --expire 12h
.Dl $ tar c folder | twat-fs - -n folder.tar
.Dl $ twat-fs serve report.pdf
"""


def text(words: str) -> str:
    """For roff: a sentence begins a line, no line is long, and none begins with what roff takes for a command."""
    sentences = re.split(
        r"(?<=[.?!]) +(?=[A-Z])", words.replace("\\", "\\e").replace("-", "\\-").strip(" ,")
    )
    lines = [
        line
        for sentence in sentences
        for line in textwrap.wrap(sentence, 78, break_on_hyphens=False)
    ]
    return "\n".join(re.sub("^([.'])", r"\\&\1", line) for line in lines)


def item(head: str, body: str) -> str:
    return f".It {head}\n{text(body)}"


def option(found: Any) -> str:
    value = found.how.get("metavar") or "|".join(found.how.get("choices", ()))
    flags = [
        f"Fl {flag[1:].replace('-', chr(92) + '-')}" + (f" Ar {value}" if value else "")
        for flag in found.flags.split()
    ]
    return item(" , ".join(flags), found.help)


def command(name: str, options: Any) -> str:
    listed = "\n.Bl -tag -width Ds\n" + "\n".join(map(option, options)) + "\n.El" if options else ""
    return f".Ss {name}\n{text(ABOUT[name])}{listed}"


def synopsis(name: str, options: Any) -> str:
    parts = ["Op Ar option ..."] * bool(options) + [WORDS.get(name, "")] * (name in WORDS)
    return "\n".join(
        [".Nm", *([f".Cm {name}"] if name != "upload" else []), *(f".{part}" for part in parts)]
    )


def page() -> str:
    import twat_fs

    commands = dict(sorted(twat_fs.OF_COMMANDS.items(), key=lambda pair: pair[0] != "upload"))
    exits = re.findall(r"(?m)^  ([0-9]+)  (.+)$", twat_fs.EPILOG)
    settings = {
        name: f"for {row.id}" for row in twat_fs.PROVIDERS for name in (*row.needs, *row.takes)
    }
    moment = time.gmtime(int(binary.moment()))
    return PAGE.format(
        date=time.strftime("%B ", moment) + f"{moment.tm_mday}, {moment.tm_year}",
        synopsis="\n".join(synopsis(*pair) for pair in commands.items()),
        commands="\n".join(command(*pair) for pair in commands.items()),
        hosts="\n".join(
            item(f"Cm {row.id}", f"{row.domain}, " + row.note) for row in twat_fs.PROVIDERS
        ),
        environment="\n".join(
            item(f"Ev {name}", what) for name, what in {**ENVIRONMENT, **settings}.items()
        ),
        codes="\n".join(item(code, what) for code, what in exits),
    )


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="The man page, made from the tables of --help.")
    parser.add_argument(
        "--out", type=Path, default=ROOT / "dist", help="the folder it goes to (dist)"
    )
    args = parser.parse_args(argv)
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "twat-fs.1").write_bytes(page().encode())
    print(f"man.py: {args.out / 'twat-fs.1'} for {version.version()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
