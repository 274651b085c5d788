"""The picture of the README: of a real run, self-contained, not older than the program."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path
from xml.etree import ElementTree

import pytest

pytest.importorskip("pty")  # no pseudo-terminals on Windows

import demo

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def recording():
    return demo.record("9M")


@pytest.fixture(scope="module")
def frames(recording):
    return demo.frames(recording)


@pytest.fixture(scope="module")
def picture(frames):
    return demo.svg(demo.thin(frames))


def text_of(element):
    return "".join(element.itertext())


def last_frame(picture):
    """The rows that are visible without animation, from above."""
    texts = ElementTree.fromstring(picture).iter(f"{SVG}text")
    still = [text for text in texts if "past" not in text.get("class", "")]
    return [text_of(text) for text in sorted(still, key=lambda text: float(text.get("y")))]


def spans(picture):
    """Row, text, and the percents between which it is visible; in order of appearance."""
    times = {
        name: [float(number) for number in re.findall(r"([\d.]+)%", body)]
        for name, body in re.findall(r"@keyframes (\w+)\{((?:[^{}]+\{[^}]*\})+)\}", picture)
    }
    for text in ElementTree.fromstring(picture).iter(f"{SVG}text"):
        start, end = times[text.get("style").partition(":")[2]]
        past = "past" in text.get("class", "")
        yield text.get("y"), text_of(text), *((start, end) if past else (end, 100.0))


def percents(picture, host):
    lines = [text for _, text, _, _ in spans(picture) if re.search(rf"\b{host}\b", text)]
    return [int(number) for line in lines for number in re.findall(r"(\d+)%", line)]


def test_the_last_frame_ends_with_the_link_that_the_host_stores(picture, recording):
    lines = last_frame(picture)
    assert lines[0] == f"$ {demo.COMMAND}"
    url = lines.index(recording.urls[-1])
    assert lines[url + 1].startswith("twat-fs: holiday.mp4: ")
    assert lines[-1] == "  failed before: catbox: 503 Service Unavailable"
    assert any("catbox" in line and "503" in line for line in lines)


def test_the_progress_line_moves_at_both_hosts(picture):
    for host, least in [("catbox", 3), ("litterbox", 6)]:
        moved = percents(picture, host)
        assert moved == sorted(moved) and len(set(moved)) >= least, (host, moved)


def test_the_command_is_typed_before_anything_else_appears(picture):
    texts = [text for _, text, _, _ in spans(picture)]
    typed = texts[: len(demo.COMMAND) + 1]
    assert typed == [f"$ {demo.COMMAND[:n]}{demo.CURSOR}" for n in range(len(typed))]


def test_each_row_shows_one_text_at_a_time_and_never_flickers(picture):
    rows = {}
    for row, _, start, end in spans(picture):
        assert 0 <= start < end <= 100
        rows.setdefault(row, []).append((start, end))
    for intervals in rows.values():
        assert all(a[1] == b[0] for a, b in zip(intervals, intervals[1:]))


def test_without_motion_the_last_frame_stays(picture):
    style = ElementTree.fromstring(picture).find(f"{SVG}style").text
    still, _, moving = style.partition("@media(prefers-reduced-motion:no-preference)")
    assert ".past{visibility:hidden}" in still
    assert "animation:" not in still and "animation:" in moving


def test_it_is_small_and_self_contained(picture):
    tags = {element.tag for element in ElementTree.fromstring(picture).iter()}
    assert tags == {SVG + name for name in "svg title desc style rect g text tspan".split()}
    assert len(picture.encode()) <= demo.MOST_BYTES
    assert not re.search(r"url\(|@import|@font-face|href", picture)


def test_screen_readers_get_the_last_frame(picture):
    desc = ElementTree.fromstring(picture).find(f"{SVG}desc").text
    assert desc.splitlines() == last_frame(picture)


@pytest.mark.parametrize("committed", [False, True])
def test_nothing_of_the_machine_is_in_it(picture, committed):
    text = demo.PICTURE.read_text(encoding="utf-8") if committed else picture
    secrets = [tempfile.gettempdir(), str(demo.ROOT), str(Path.home()), "127.0.0.1", "localhost"]
    assert not [secret for secret in secrets if len(secret) > 1 and secret in text]


def test_the_committed_picture_shows_what_the_program_prints_now(frames):
    """After a change of words: tools/dev.py demo."""
    assert demo.differences(demo.PICTURE.read_text(encoding="utf-8"), frames) == []


def test_the_comparison_sees_a_changed_word(picture, frames):
    assert demo.differences(picture, frames) == []
    lines = {text for _, text, _, _ in spans(picture) if not text.startswith("$")}
    for line in lines:
        word = re.findall(r"[a-z]{4,}", line)[0]
        changed = picture.replace(f">{line}<", f">{line.replace(word, 'other', 1)}<")
        assert demo.differences(changed, frames), line


def test_the_comparison_sees_a_new_line(picture, frames):
    without = re.sub(r"<text[^>]*>twat-fs: [^<]*</text>\n", "", picture, count=1)
    assert len(demo.differences(without, frames)) == 1


def test_check_says_what_is_outdated(tmp_path):
    old = tmp_path / "demo.svg"
    text = demo.PICTURE.read_text(encoding="utf-8")
    old.write_text(text.replace("Service Unavailable", "No Service"), encoding="utf-8")
    tool = [sys.executable, str(Path(demo.__file__)), "--check", "--file", str(old)]
    done = subprocess.run(tool, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert re.search("demo.svg is outdated .*: 0 No Service", done.stdout)
