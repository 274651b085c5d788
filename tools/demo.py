#!/usr/bin/env python3
"""The animated terminal picture of the README, recorded from a real run of the program.

    python3 tools/demo.py            record a run, write .github/demo.svg (also: dev.py demo)
    python3 tools/demo.py --check    exit code 1 if the program prints something else now

    record: twat_fs.py on a pseudo-terminal --HTTPS--> tests/internet/box.py
      frames: its bytes through a terminal emulator, one screen for each change
        thin: without what no eye can see --> spans: each text of each row, and when it is visible
          svg: one <text> per span, shown and hidden by CSS; no script, no font, no image

Without animation (reduced motion, a renderer without CSS animation) the picture is the last screen.
Chapters: 1 The run, 2 The screens, 3 The picture, 4 Comparison, 5 The command line.
"""

from __future__ import annotations

import argparse
import importlib
import os
import random
import re
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree
from xml.sax.saxutils import escape

import pyte

ROOT = Path(__file__).resolve().parent.parent
PICTURE = ROOT / ".github" / "demo.svg"
FILE_NAME, FILE_SIZE = "holiday.mp4", 19 * 512 * 1024
COMMAND = f"twat-fs {FILE_NAME}"
COLUMNS, ROWS = 80, 14
RATE, QUICK_RATE = "3M", "20M"  # bytes a second: to see the progress line move; to compare only
MOST_BYTES = 60_000

# 1 The run ----------------------------------------------------------------------------------------


class Recording(NamedTuple):
    """The terminal's output in pieces, with the seconds since the start, and the stored URLs."""

    pieces: list[tuple[float, bytes]]
    urls: list[str]


def record(rate: str = RATE) -> Recording:
    """Upload a file: catbox breaks off, the next host, slow enough to watch, accepts it."""
    sys.path.insert(0, str(ROOT / "tests"))
    random.seed(COMMAND)  # the hosts of the box take the names in their links from it
    box_of = importlib.import_module("internet.box").Box
    broken = {"status": 503, "body": "maintenance", "headers": [("Retry-After", "3600")]}
    with tempfile.TemporaryDirectory() as folder, box_of(folder + "/box") as box:
        box.fault("catbox.moe", "early", after=4 << 20, **broken)
        box.fault("litterbox.catbox.moe", "slow", when="upload", delay=1.5)
        box.fault("litter.catbox.moe", "slow", when="download", delay=0.2)
        pieces = run_on_terminal(Path(folder), box.env(), rate)
        if box.complaints:
            sys.exit(f"demo.py: the box complains: {box.complaints}")
        return Recording(pieces, list(box.stored))


def run_on_terminal(folder: Path, env: dict[str, str], rate: str) -> list[tuple[float, bytes]]:
    """Run COMMAND at a limited rate, with all three streams on one pseudo-terminal."""
    import fcntl  # not on Windows, which has no pseudo-terminals
    import termios

    with open(folder / FILE_NAME, "wb") as file:
        file.truncate(FILE_SIZE)
    argv = [sys.executable, str(ROOT / "twat_fs.py"), *COMMAND.split()[1:], "--limit-rate", rate]
    env = {**env, "HOME": str(folder), "PYTHONUTF8": "1", "TERM": "xterm-256color"}
    master, terminal = os.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    process = subprocess.Popen(
        argv, cwd=folder, env=env, stdin=terminal, stdout=terminal, stderr=terminal
    )
    os.close(terminal)
    pieces = list(read_timed(master))
    os.close(master)
    if process.wait():
        output = b"".join(data for _, data in pieces)
        sys.exit(f"demo.py: exit code {process.returncode}: {output.decode(errors='replace')}")
    return pieces


def read_timed(master: int) -> Iterator[tuple[float, bytes]]:
    started = time.monotonic()
    while True:
        try:
            data = os.read(master, 65536)
        except OSError:  # Linux reports EIO once the other side is closed
            return
        if not data:
            return
        yield time.monotonic() - started, data


# 2 The screens ------------------------------------------------------------------------------------

TYPING, ENTER = 0.06, 0.5  # seconds for a key, and before and after the command
BRIEF, LONG = 0.04, 1.5  # shorter frames are left out, longer ones are cut
MOST_FRAMES = 150
END = 6.0  # seconds that the last frame stays
CURSOR = "\u2588"


class Frame(NamedTuple):
    """A screen, without empty rows at its end, and the second from which it is shown."""

    start: float
    rows: tuple[str, ...]


def frames(recording: Recording) -> list[Frame]:
    """Every state of the screen, also those too short to be seen; the command is typed first."""
    shown = [Frame(0.0, (f"$ {CURSOR}",))]
    for count in range(1, len(COMMAND) + 1):
        shown.append(Frame(ENTER + count * TYPING, (f"$ {COMMAND[:count]}{CURSOR}",)))
    begun = shown[-1].start + ENTER
    screen = pyte.Screen(COLUMNS, ROWS)
    stream = pyte.ByteStream(screen)
    stream.feed(f"$ {COMMAND}\r\n".encode())
    shown.append(Frame(begun, visible_rows(screen)))
    for seconds, data in recording.pieces:
        for part in re.split(rb"(?=\r[^\n])|(?<=\n)", data):  # one part draws one state of a line
            stream.feed(part)
            shown.append(Frame(begun + seconds, visible_rows(screen)))
    return shown


def visible_rows(screen: pyte.Screen) -> tuple[str, ...]:
    rows = [row.rstrip() for row in screen.display]
    while rows and not rows[-1]:
        rows.pop()
    return tuple(rows)


def thin(every: Sequence[Frame]) -> list[Frame]:
    """The frames that an eye can see, at most MOST_FRAMES, on a clock without long waits."""
    brief = BRIEF
    while len(seen := lasting(every, brief)) > MOST_FRAMES:
        brief *= 1.5
    clock, result = 0.0, []
    for frame, after in zip(seen, [*seen[1:], None]):
        result.append(Frame(round(clock, 2), frame.rows))
        clock += min(after.start - frame.start, LONG) if after else END
    return result


def lasting(every: Sequence[Frame], brief: float) -> list[Frame]:
    """The last frame, and those that stay for `brief` seconds; equal neighbours are one frame."""
    result: list[Frame] = []
    for frame, after in zip(every, [*every[1:], None]):
        stays = after is None or after.start - frame.start >= brief
        if stays and not (result and result[-1].rows == frame.rows):
            result.append(frame)
    return result


# 3 The picture ------------------------------------------------------------------------------------

FONT, CELL, LINE, MARGIN = 14, 8.4, 21, 16  # SVG units; every text is stretched to whole cells
TITLE = "twat-fs on a terminal: one host fails, the next one accepts the file"
STYLE = """
rect{fill:#161b22;stroke:#444c56}
text{white-space:pre;fill:#d1d7e0;font-size:%dpx;font-family:
ui-monospace,SFMono-Regular,Menlo,Consolas,"Liberation Mono",monospace}
.prompt{fill:#7ee787}.typed{fill:#fff}.link{fill:#79c0ff}.past{visibility:hidden}
@media(prefers-reduced-motion:no-preference){g text{animation:%.2fs step-end infinite}}
"""


class Span(NamedTuple):
    """One text of one row, and its seconds; `end` is None for a text of the last frame."""

    row: int
    text: str
    start: float
    end: float | None


def spans(shown: Sequence[Frame]) -> list[Span]:
    """The texts of all rows, each from its appearance to its end, in order of appearance."""
    result = []
    for row in range(max(len(frame.rows) for frame in shown)):
        texts = [(frame.start, (*frame.rows, *[""] * ROWS)[row]) for frame in shown]
        changes = [
            change for before, change in zip([(0.0, ""), *texts], texts) if change[1] != before[1]
        ]
        for (start, text), after in zip(changes, [*changes[1:], None]):
            if text:
                result.append(Span(row, text, start, after[0] if after else None))
    return sorted(result, key=lambda span: (span.start, span.row))


def svg(shown: Sequence[Frame]) -> str:
    """The picture; its description is the last screen, for those who cannot see it."""
    last = shown[-1]
    duration = last.start + END
    width = COLUMNS * CELL + 2 * MARGIN
    height = max(len(frame.rows) for frame in shown) * LINE + 2 * MARGIN
    drawn = spans(shown)
    keyframes = [keyframes_of(number, span, duration) for number, span in enumerate(drawn)]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}"'
            f' width="{width:g}" height="{height:g}" role="img" aria-labelledby="title desc">',
            f'<title id="title">{TITLE}</title>',
            '<desc id="desc">' + escape("\n".join(last.rows)) + "</desc>",
            f"<style>{STYLE % (FONT, duration)}" + "\n".join(keyframes) + "</style>",
            f'<rect x=".5" y=".5" width="{width - 1:g}" height="{height - 1:g}" rx="8"/>',
            f'<g transform="translate({MARGIN},{MARGIN})" xml:space="preserve">',
            *(text_element(number, span) for number, span in enumerate(drawn)),
            "</g>",
            "</svg>\n",
        ]
    )


def keyframes_of(number: int, span: Span, duration: float) -> str:
    """When this span is visible; before and after, its class says so."""
    start = f"{span.start / duration:.3%}"
    if span.end is None:
        return f"@keyframes s{number}{{0%{{visibility:hidden}}{start}{{visibility:visible}}}}"
    end = f"{span.end / duration:.3%}"
    return f"@keyframes s{number}{{{start}{{visibility:visible}}{end}{{visibility:hidden}}}}"


def text_element(number: int, span: Span) -> str:
    look, text = "", escape(span.text)
    if text.startswith("$ "):
        look, text = "typed", '<tspan class="prompt">$</tspan>' + text[1:]
    elif re.fullmatch(r"https://\S+", text):
        look = "link"
    classes = " ".join(filter(None, [look, "" if span.end is None else "past"]))
    named = f' class="{classes}"' if classes else ""
    length = len(span.text) * CELL
    y = span.row * LINE + FONT + 1
    return (
        f'<text{named} y="{y}" textLength="{length:g}" lengthAdjust="spacingAndGlyphs"'
        f' style="animation-name:s{number}">{text}</text>'
    )


# 4 Comparison -------------------------------------------------------------------------------------


def normal(text: str) -> str:
    """A line without its numbers, units, bars, padding and the random part of a link."""
    text = re.sub(r"\[[# ]*\]", "[]", text)
    text = re.sub(r"(https://[^/ ]+)/\w+\.", r"\1/ID.", text)
    text = re.sub(" +", " ", text)
    return re.sub(r"\d+(\.\d+)?( ([KMGT]i?B|bytes|B)\b)?", "0", text)


def last_and_earlier_lines(picture: str) -> tuple[list[str], set[str]]:
    """The normal texts of the last frame, from above, and those of the frames before it."""
    texts = list(ElementTree.fromstring(picture).iter("{http://www.w3.org/2000/svg}text"))
    texts.sort(key=lambda text: float(text.get("y", 0)))
    last, past = [], set()
    for text in texts:
        line = normal("".join(text.itertext()))
        past.add(line) if "past" in text.get("class", "") else last.append(line)
    return last, past


def differences(picture: str, every: Sequence[Frame]) -> list[str]:
    """Last lines of a new run that the picture lacks, and its texts that the run never shows."""
    last, past = last_and_earlier_lines(picture)
    now = [normal(row) for row in every[-1].rows]
    possible = {normal(row) for frame in every for row in frame.rows}
    return [text for text in now if text not in last] + sorted({*last, *past} - possible)


# 5 The command line -------------------------------------------------------------------------------


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description="Record a run of the program as an animated picture."
    )
    parser.add_argument("--check", action="store_true", help="only compare the picture with a run")
    parser.add_argument("--file", type=Path, default=PICTURE, help="default .github/demo.svg")
    args = parser.parse_args(argv)
    if os.name == "nt":
        sys.exit("demo.py: pseudo-terminals not supported on Windows")
    recording = record(QUICK_RATE if args.check else RATE)
    if args.check:
        changed = differences(args.file.read_text(encoding="utf-8"), frames(recording))
        for text in changed:
            print(f"demo.py: {args.file.name} is outdated (run tools/dev.py demo): {text}")
        return int(bool(changed))
    picture = svg(thin(frames(recording)))
    if len(picture.encode()) > MOST_BYTES:
        sys.exit(f"demo.py: picture too large: {len(picture.encode())} bytes (max {MOST_BYTES})")
    args.file.write_bytes(picture.encode())
    print(f"demo.py: wrote {args.file.name}: {len(picture.encode()) / 1000:.1f} kB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
