#!/usr/bin/env python3
"""The table of hosts in README.md, made from the rows of twat_fs.py: nobody writes it by hand.

    python3 tools/readme.py --write      write it anew (also: tools/dev.py hosts)
    python3 tools/readme.py --check      exit code 1 when README.md tells anything else than the code

It stands between <!-- hosts:begin --> and <!-- hosts:end -->.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BEGIN, END = "<!-- hosts:begin -->", "<!-- hosts:end -->"


def rows_of_the_code() -> list[tuple[str, ...]]:
    """The head first, then a row for each host."""
    sys.path.insert(0, str(ROOT))
    import twat_fs

    return twat_fs.provider_table()


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """A table; the domain links to the host where there is one, and hosts in the default chain come first."""
    head, *hosts = rows
    used = head.index("used")
    hosts.sort(key=lambda row: row[used] != "by default")
    lines = [head, ["---"] * len(head), *map(linked, hosts)]
    return "\n".join("| " + " | ".join(map(escaped, line)) + " |" for line in lines)


def linked(row: Sequence[str]) -> list[str]:
    name, domain, *facts = row
    return [f"`{name}`", domain if " " in domain else f"[{domain}](https://{domain})", *facts]


def escaped(cell: str) -> str:
    return cell.replace("|", "\\|").replace("*", "\\*")


def with_table(readme: str, table: str) -> str:
    """The README with this table; ValueError if the two marks are not there, once each and in order."""
    before, begin, rest = readme.partition(BEGIN)
    old, end, after = rest.partition(END)
    if not (begin and end) or BEGIN in after + old or END in before + after:
        raise ValueError(f"it must hold {BEGIN} and {END}, once each and in this order")
    return f"{before}{BEGIN}\n{table}\n{END}{after}"


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description="The table of hosts in README.md, made from the code."
    )
    wish = parser.add_mutually_exclusive_group(required=True)
    wish.add_argument("--write", action="store_true", help="write it anew")
    wish.add_argument("--check", action="store_true", help="only say whether it is current")
    parser.add_argument(
        "--file", type=Path, default=ROOT / "README.md", help="another file than README.md"
    )
    args = parser.parse_args(argv)
    try:
        found = args.file.read_text(encoding="utf-8")
        wanted = with_table(found, markdown(rows_of_the_code()))
    except (OSError, ValueError) as error:
        sys.exit(f"readme.py: {args.file.name}: {error}")
    if found != wanted and args.write:
        args.file.write_bytes(wanted.encode())
        print(f"readme.py: {args.file.name} has a new table of hosts")
    elif found != wanted:
        print(
            f"readme.py: the table of hosts in {args.file.name} is not that of the code: run tools/readme.py --write"
        )
    return int(found != wanted and args.check)


if __name__ == "__main__":
    sys.exit(main())
