#!/usr/bin/env python3
"""The board of living hosts: which hosts accept a small file today and serve it back.

    python3 tools/dev.py online --board FOLDER   ask the default hosts; write hosts.json, hosts.svg
                                                 and README.md in FOLDER
    python3 tools/dev.py online --table          ask all hosts that need no account; renew `checked`
                                                 of those that work, in twat_fs.py

    hosts.json of the last run + results of today -> hosts.json of today -> table, badge, exit code

Each host gets one file of some 60 bytes, one host after the other. The exit code is 1 if a host
failed today and in the run before, which was on an earlier day: an outage of an hour is not news.
.github/workflows/hosts.yml runs it every week. Chapters: 1 Asking, 2 Deciding, 3 Showing, 4 The
dates of the rows, 5 The command line.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import json
import sys
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
import twat_fs  # noqa: E402  (a checkout is not installed)

# 1 Asking -----------------------------------------------------------------------------------------

DEFAULTS = [row.id for row in twat_fs.PROVIDERS if row.use == "default"]
# Without hosts whose owner does not want it (0x0.st), that are not configured, or whose links end
# with the first download.
ASKABLE = [
    row.id
    for row in twat_fs.PROVIDERS
    if row.single_use != "always" and not row.setup.required and row.id != "www0x0"
]
LONGEST = 200  # characters of an error


class Result(NamedTuple):
    host: str
    works: bool
    seconds: float
    error: str = ""


def ask(host: str) -> Result:
    """Upload a small file, and download it again."""
    begun = time.monotonic()
    info = twat_fs.setup_provider(host, online=True)
    seconds = round(time.monotonic() - begun, 1)
    error = "" if info.success else " ".join(info.explanation.split())[:LONGEST]
    return Result(host, info.success, seconds, error)


# 2 Deciding ---------------------------------------------------------------------------------------

Entry = Mapping[str, Any]  # of hosts.json: a Result, `last_worked` and `failing_since`


def entries_of(page: str) -> dict[str, Entry]:
    """host -> its entry in the text of a hosts.json; raises ValueError if it is something else."""
    try:
        return {entry["host"]: dict(entry) for entry in json.loads(page)["hosts"]}
    except (KeyError, TypeError) as error:
        raise ValueError(f"not a list of hosts: {error!r}") from error


def next_entry(result: Result, earlier: Entry, day: str) -> Entry:
    """Add the last day on which it worked, and the first of the failures in a row ("": none)."""
    last_worked = day if result.works else earlier.get("last_worked", "")
    failing_since = "" if result.works else earlier.get("failing_since") or day
    return {**result._asdict(), "last_worked": last_worked, "failing_since": failing_since}


def failed_twice(entries: Iterable[Entry], day: str) -> list[str]:
    """The hosts that failed on this day and in the run before, on an earlier day."""
    return [entry["host"] for entry in entries if "" < entry["failing_since"] < day]


# 3 Showing ----------------------------------------------------------------------------------------


def text_line(result: Result, day: str) -> str:
    """In the columns of dev.dated_table()."""
    outcome = "ok" if result.works else "failure"
    line = f"{day}  {outcome:8} {result.seconds:7.1f}  {result.host}   {result.error}"
    return line.rstrip()


def as_json(entries: Sequence[Entry], day: str) -> str:
    return json.dumps({"date": day, "hosts": entries}, indent=1) + "\n"


def summary(entries: Sequence[Entry]) -> str:
    working = sum(entry["works"] for entry in entries)
    return f"{working} of {len(entries)} work"


def as_markdown(entries: Sequence[Entry], day: str) -> str:
    head = [
        f"# Default hosts on {day}: {summary(entries)}",
        "",
        "Each host got one small file and had to serve it back; also as [hosts.json](hosts.json).",
        "",
        "| host | result | seconds | last worked | error |",
        "| --- | --- | --- | --- | --- |",
    ]
    return "\n".join([*head, *map(markdown_row, entries)]) + "\n"


def markdown_row(entry: Entry) -> str:
    result = "works" if entry["works"] else f"**failing since {entry['failing_since']}**"
    last_worked = entry["last_worked"] or "unknown"
    cells = [entry["host"], result, str(entry["seconds"]), last_worked, code(entry["error"])]
    return "| " + " | ".join(cells) + " |"


def code(text: str) -> str:
    """A code span for a table: the words of a host can be neither Markdown nor HTML."""
    return "`{}`".format(text.replace("`", "'").replace("|", "\\|")) if text else ""


BADGE = """\
<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="20" role="img" aria-label="{title}">
<title>{title}</title>
<clipPath id="r"><rect width="{width}" height="20" rx="3"/></clipPath>
<g clip-path="url(#r)">
<rect width="{left}" height="20" fill="#555"/>
<rect x="{left}" width="{right}" height="20" fill="{colour}"/>
</g>
<g fill="#fff" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11">
<text x="6" y="14" textLength="{label_width}">{label}</text>
<text x="{message_x}" y="14" textLength="{message_width}">{message}</text>
</g>
</svg>
"""


def badge(entries: Sequence[Entry], day: str) -> str:
    """An SVG picture: green if all work, yellow if most do, red otherwise."""
    label, message = "hosts", f"{summary(entries)} ({day})"
    working = sum(entry["works"] for entry in entries) / len(entries)
    colour = "#b42318"
    if working > 0.5:
        colour = "#8a6d00"
    if working == 1:
        colour = "#2c7a3f"
    label_width = round(6.5 * len(label))
    message_width = round(6.5 * len(message))
    left = label_width + 12
    right = message_width + 12
    return BADGE.format(
        title=f"{label}: {message}",
        width=left + right,
        left=left,
        right=right,
        colour=colour,
        label=label,
        label_width=label_width,
        message=message,
        message_width=message_width,
        message_x=left + 6,
    )


# 4 The dates of the rows --------------------------------------------------------------------------


def renewed(source: str, hosts: Collection[str], day: str) -> str:
    """The source with this day as `checked` of the rows of these hosts; no date goes back."""
    lines = source.splitlines(keepends=True)
    for call in ast.walk(ast.parse(source)):
        date = date_of_row(call, hosts)
        if date and date.value < day:
            line = lines[date.lineno - 1]
            lines[date.lineno - 1] = line.replace(f'"{date.value}"', f'"{day}"', 1)
    return "".join(lines)


def date_of_row(node: ast.AST, hosts: Collection[str]) -> Any:
    """The literal in `form("HOST", ..., evidence=Evidence("DATE", ...))`, or None."""
    if not isinstance(node, ast.Call) or not node.args:
        return None
    name = node.args[0]
    if not isinstance(name, ast.Constant) or name.value not in hosts:
        return None
    evidence = [keyword.value for keyword in node.keywords if keyword.arg == "evidence"]
    dates = [call.args[0] for call in evidence if isinstance(call, ast.Call) and call.args]
    return next((date for date in dates if isinstance(date, ast.Constant)), None)


def renew(path: Path, hosts: Collection[str], day: str) -> None:
    """Change the dates in this file, and print the difference."""
    before = path.read_text(encoding="utf-8")
    after = renewed(before, hosts, day)
    path.write_bytes(after.encode())
    old, new = before.splitlines(keepends=True), after.splitlines(keepends=True)
    difference = difflib.unified_diff(old, new, f"a/{path.name}", f"b/{path.name}", n=1)
    sys.stdout.writelines(difference)


# 5 The command line -------------------------------------------------------------------------------


def write_board(folder: Path, entries: Sequence[Entry], day: str) -> None:
    pages = {
        "hosts.json": as_json(entries, day),
        "hosts.svg": badge(entries, day),
        "README.md": as_markdown(entries, day),
    }
    for name, text in pages.items():
        (folder / name).write_bytes(text.encode())


def read_board(folder: Path) -> dict[str, Entry]:
    """The entries of the last run; none before the first."""
    path = folder / "hosts.json"
    folder.mkdir(exist_ok=True)
    try:
        return entries_of(path.read_text(encoding="utf-8")) if path.exists() else {}
    except ValueError as error:
        sys.exit(f"board.py: {path}: invalid file ({error}); delete it to start a new board")


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="dev.py online", description="Ask hosts, by real uploads")
    parser.add_argument("--table", action="store_true", help="renew `checked` of hosts that work")
    parser.add_argument("--board", type=Path, metavar="FOLDER", help="write the board")
    args = parser.parse_args(argv)
    day = time.strftime("%Y-%m-%d", time.gmtime())
    earlier = read_board(args.board) if args.board else {}
    results = []
    for host in DEFAULTS if args.board else ASKABLE:
        results.append(ask(host))
        print(text_line(results[-1], day), flush=True)
    if args.table:
        working = [result.host for result in results if result.works]
        renew(ROOT / "twat_fs.py", working, day)
    if not args.board:
        return 0
    entries = [next_entry(result, earlier.get(result.host, {}), day) for result in results]
    write_board(args.board, entries, day)
    again = failed_twice(entries, day)
    if again:
        print(f"board.py: failed twice in a row: {', '.join(again)}", file=sys.stderr)
    return bool(again)


if __name__ == "__main__":
    sys.exit(main())
