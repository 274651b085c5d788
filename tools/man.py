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
    "list": "List the hosts, or all details of some hosts.",
    "status": "Show whether a host can be used, or all hosts. "
              "A host is available (needs no setting), configured, not configured, "
              "or disabled by its owner; with --online it works, failed or was not asked.",
    "history": "List earlier uploads of the command line, the newest first. "
               "The history has the tokens that delete them, and no paths, signatures or keys.",
    "delete": "Delete earlier uploads by URL, by name (the newest), or last, "
              "and verify that their links respond with 404 or 410. "
              "Exit status: 0 gone; 1 refused by the host; 3 some of several; "
              "4 deleted, but the link is still served or cannot be verified; "
              "5 not in the history, deleted already, a key is missing, "
              "or the host cannot delete. "
              "A delete page is opened after a question on a terminal, or with --yes.",
    "serve": "Share files from this machine under URLs that cannot be guessed; "
             "without files, receive uploads by curl, browsers and twat-fs. "
             "A folder is served as a ZIP, - is standard input. Browsers show pictures, video, "
             "sound, PDF, plain text, Markdown and logs; ?download after the link saves them. "
             "--dir keeps them under their own names; the files .twat-fs.* beside them "
             "hold the links, delete links, expiry and download limits for the next run. "
             "--token without a text makes one up and prints it.",
    "completion": "Print a script that completes commands, options and hosts in bash, fish or zsh.",
}  # fmt: skip
ENVIRONMENT = {
    "TWAT_FS_DEFAULT_PROVIDER": "hosts to use, like --provider",
    "TWAT_FS_TIMEOUT": "stall timeout in seconds, like --timeout",
    "TWAT_FS_HISTORY": "the file of the history; off for none",
    "TWAT_FS_SERVE_TOKEN": "the token of serve, hidden from ps",
    "HTTPS_PROXY, HTTP_PROXY, ALL_PROXY, NO_PROXY": "proxies, as with curl",
    "SSL_CERT_FILE": "certificates to trust instead of the system's",
    "TWAT_FS_COPY": "1 copies the URLs to the clipboard, like --copy",
    "NO_COLOR": "the receipt is printed without dim and red",
}
JSON = {
    "host, domain, use": "its name, its domain, and default, opt-in or your own",
    "max_bytes": "largest file; null if the host does not say",
    "expires_known, expires_seconds": "whether the host says when a link expires, and the default; "
                                      "null is never",
    "expires_choices": "what --expire can choose: a list of seconds, or min and max",
    "required_settings, optional_settings": "environment variables",
    "notes, verified_on": "remarks, and the date of the newest proof",
    "status, reason, success, timing": "of status: the words above, why, "
                                       "whether the host can be used, "
                                       "and seconds for the upload and the proof",
    "file, size, hosts, skipped": "of --dry-run: the hosts that would be tried, "
                                  "and a list of host and reason for the others",
    "file, host, url, size, sha256, expires, delete, verified, seconds": "of an upload; "
        "provider is the same as host. An error has the key error",
    "deletable": "of an upload and of history: whether delete can delete it",
    "time, name, deleted": "of history: time of the upload and of its deletion, and the file name",
    "type": "the Content-Type that the link serves; null if it was not downloaded",
    "event, time, name, size, peer, url, delete, completed": "of serve: serving and receiving "
        "when it is ready, sent and received for each transfer; completed is false "
        "if it was broken off, or if the client has only a part so far",
    "attempts, unverified": "of an upload: what failed before, "
                            "and links that may have a copy of the file",
}  # fmt: skip
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
.Sh JSON OUTPUT
With
.Fl \\-json ,
.Cm list
prints a list, and all other commands one object per line, with these keys.
.Bl -tag -width Ds
{json}
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
    optional = " Op" if "nargs" in option.kwargs else ""
    suffix = f"{optional} Ar {value}" if value else ""
    flags = [f"Fl {flag[1:]}".replace("-", "\\-") + suffix for flag in option.flags.split()]
    return item(" , ".join(flags), option.help)


def command(name: str, details: Any) -> str:
    """The section of a command, with its options in groups."""
    import twat_fs

    lines = [f".Ss {name}", text(ABOUT.get(name, details.about))]
    for title, options in twat_fs.option_groups(details.options).items():
        lines += [".Pp", f".Sy {title}", ".Bl -tag -width Ds", *map(option_item, options), ".El"]
    return "\n".join(lines)


def synopsis(name: str, details: Any) -> str:
    lines = [".Nm"]
    if name != "upload":
        lines.append(f".Cm {name}")
    if details.options:
        lines.append(".Op Ar option ...")
    if details.arguments:
        argument = details.arguments.lower().strip("[].")
        more = " ..." if details.arguments.endswith("...") else ""
        lines.append(f".Op Ar {argument}{more}")
    return "\n".join(lines)


def page() -> str:
    import twat_fs

    commands = twat_fs.COMMAND_HELP
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
        json="\n".join(item(f"Cm {names}", what) for names, what in JSON.items()),
        codes="\n".join(item(str(code), what) for code, what in twat_fs.EXIT_CODES.items()),
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
