#!/usr/bin/env python3
"""The table of hosts in README.md, made from the rows of twat_fs.py.

    python3 tools/readme.py --write      update it (also: tools/dev.py hosts)
    python3 tools/readme.py --check      exit code 1 if it is out of date

The table is between <!-- hosts:begin --> and <!-- hosts:end -->.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BEGIN, END = "<!-- hosts:begin -->", "<!-- hosts:end -->"


def provider_rows() -> list[tuple[str, ...]]:
    """The header, then a row for each host."""
    sys.path.insert(0, str(ROOT))
    import twat_fs

    return twat_fs.provider_table()


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """A table with the default hosts first; a domain links to the host."""
    header, *hosts = rows
    used = header.index("use")
    hosts.sort(key=lambda row: row[used] != "default")
    lines = [header, ["---"] * len(header), *map(with_links, hosts)]
    return "\n".join("| " + " | ".join(map(escape, line)) + " |" for line in lines)


def with_links(row: Sequence[str]) -> list[str]:
    name, domain, *facts = row
    return [f"`{name}`", domain if " " in domain else f"[{domain}](https://{domain})", *facts]


def escape(cell: str) -> str:
    return cell.replace("|", "\\|").replace("*", "\\*")


def with_table(readme: str, table: str) -> str:
    """The README with this table; ValueError unless each marker occurs once, in order."""
    before, begin, rest = readme.partition(BEGIN)
    old, end, after = rest.partition(END)
    if not (begin and end) or BEGIN in after + old or END in before + after:
        raise ValueError(f"expected {BEGIN} and {END}, once each and in this order")
    return f"{before}{BEGIN}\n{table}\n{END}{after}"


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description="The table of hosts in README.md, made from the code."
    )
    action = parser.add_mutually_exclusive_group(required=True)
    action.add_argument("--write", action="store_true", help="update the table")
    action.add_argument("--check", action="store_true", help="fail if the table is out of date")
    parser.add_argument(
        "--file", type=Path, default=ROOT / "README.md", help="file to use (default README.md)"
    )
    args = parser.parse_args(argv)
    try:
        current = args.file.read_text(encoding="utf-8")
        expected = with_table(current, markdown(provider_rows()))
    except (OSError, ValueError) as error:
        sys.exit(f"readme.py: {args.file.name}: {error}")
    if expected != current and args.write:
        args.file.write_bytes(expected.encode())
        print(f"readme.py: updated {args.file.name}")
    elif expected != current:
        print(f"readme.py: {args.file.name}: host table out of date; run tools/readme.py --write")
    return int(expected != current and args.check)


if __name__ == "__main__":
    sys.exit(main())
