#!/usr/bin/env python3
"""The tables of hosts in README.md, made from the rows of twat_fs.py.

    python3 tools/readme.py --write      update it (also: tools/dev.py hosts)
    python3 tools/readme.py --check      exit code 1 if it is out of date

The tables are between <!-- hosts:begin --> and <!-- hosts:end -->.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
BEGIN, END = "<!-- hosts:begin -->", "<!-- hosts:end -->"


def provider_rows() -> list[tuple[str, ...]]:
    """The header, then a row for each host, a default host first."""
    sys.path.insert(0, str(ROOT))
    import twat_fs

    return twat_fs.provider_table()


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """A table of the default hosts in four columns, and a folded one of the others."""
    header, *hosts = Row(*rows[0]), *map(linked, rows[1:])
    defaults = [row for row in hosts if row.use == hosts[0].use]
    others = sorted((row for row in hosts if row not in defaults), key=lambda row: row.use)
    columns = ["name", "max_size", "expires", "notes"]
    lines = [
        *table_lines([header, *defaults], columns),
        "",
        f"<details><summary>The {len(others)} other hosts</summary>",
        "",
        *table_lines([header, *others], ["use", *columns]),
        "</details>",
    ]
    return "\n".join(lines)


class Row(NamedTuple):
    """The columns of twat_fs.provider_table()."""

    name: str
    domain: str
    use: str
    max_size: str
    expires: str
    notes: str
    verified: str


def linked(cells: Sequence[str]) -> Row:
    """A row whose name leads to the host."""
    row = Row(*cells)
    name = f"`{row.name}`"
    return row._replace(name=f"[{name}](https://{row.domain})" if "." in row.domain else name)


def table_lines(rows: Sequence[Row], columns: Sequence[str]) -> list[str]:
    lines = [[escape(getattr(row, column)) for column in columns] for row in rows]
    lines.insert(1, ["---"] * len(columns))
    return ["| " + " | ".join(line) + " |" for line in lines]


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
        description="The tables of hosts in README.md, made from the code."
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
