#!/usr/bin/env python3
"""The man page, made from the same tables as --help.

python3 tools/man.py --out DIR       write DIR/twat-fs.1 (also: tools/dev.py build)
mandoc DIR/twat-fs.1                 show it
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
    "upload": "Upload files and print one URL for each to standard output, in the same order; "
              "messages go to standard error. The word upload is optional. "
              "Without a file, or for -, standard input is uploaded.",
    "list": "List the hosts, or the details of one host.",
    "status": "Show whether a host can be used, or all hosts.",
    "serve": "Share files from this machine under URLs that cannot be guessed; "
             "without files, receive uploads.",
    "version": "Print the version.",
    "completion": "Print a script that completes commands, options and hosts in bash, fish or zsh.",
}  # fmt: skip
ARGUMENTS = {
    "upload": "Ar file ...",
    "list": "Op Ar host",
    "status": "Op Ar host",
    "serve": "Op Ar file ...",
    "completion": "Ar shell",
}
ENVIRONMENT = {
    "TWAT_FS_DEFAULT_PROVIDER": "hosts to use, like --provider",
    "TWAT_FS_TIMEOUT": "stall timeout in seconds, like --timeout",
    "TWAT_FS_SERVE_TOKEN": "the token of serve, hidden from ps",
    "HTTPS_PROXY, HTTP_PROXY, ALL_PROXY, NO_PROXY": "proxies, as with curl",
    "SSL_CERT_FILE": "certificates to trust instead of the system's",
    "NO_COLOR": "no effect: there are no colours",
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
uploads a file to a public host or to your own storage,
and prints the URL after it has verified that the URL serves the same bytes.
A file on a public host can be read by everyone who has the URL.
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


def text(source: str) -> str:
    """Text for roff: each sentence starts a line, and no line starts like a request of roff."""
    sentences = re.split(
        r"(?<=[.?!]) +(?=[A-Z])", source.replace("\\", "\\e").replace("-", "\\-").strip(" ,")
    )
    lines = [
        line
        for sentence in sentences
        for line in textwrap.wrap(sentence, 78, break_on_hyphens=False)
    ]
    return "\n".join(re.sub("^([.'])", r"\\&\1", line) for line in lines)


def item(head: str, body: str) -> str:
    return f".It {head}\n{text(body)}"


def option_item(option: Any) -> str:
    value = option.kwargs.get("metavar") or "|".join(option.kwargs.get("choices", ()))
    suffix = f" Ar {value}" if value else ""
    flags = [f"Fl {flag[1:]}".replace("-", "\\-") + suffix for flag in option.flags.split()]
    return item(" , ".join(flags), option.help)


def command(name: str, options: Any) -> str:
    section = f".Ss {name}\n{text(ABOUT[name])}"
    if not options:
        return section
    return f"{section}\n.Bl -tag -width Ds\n" + "\n".join(map(option_item, options)) + "\n.El"


def synopsis(name: str, options: Any) -> str:
    lines = [".Nm"]
    if name != "upload":
        lines.append(f".Cm {name}")
    if options:
        lines.append(".Op Ar option ...")
    if name in ARGUMENTS:
        lines.append(f".{ARGUMENTS[name]}")
    return "\n".join(lines)


def page() -> str:
    import twat_fs

    commands = dict(sorted(twat_fs.COMMAND_OPTIONS.items(), key=lambda pair: pair[0] != "upload"))
    exits = re.findall(r"(?m)^  ([0-9]+)  (.+)$", twat_fs.EPILOG)
    settings = {
        name: f"for {row.id}"
        for row in twat_fs.PROVIDERS
        for name in (*row.setup.required, *row.setup.optional)
    }
    moment = time.gmtime(int(binary.source_date_epoch()))
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
    parser = argparse.ArgumentParser(description="Write the man page.")
    parser.add_argument(
        "--out", type=Path, default=ROOT / "dist", help="target folder (default dist)"
    )
    args = parser.parse_args(argv)
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "twat-fs.1").write_bytes(page().encode())
    print(f"man.py: {args.out / 'twat-fs.1'} for {version.version()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
