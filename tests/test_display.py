"""The meter: the display of an upload on a terminal.

The program runs with its stderr on a pseudo-terminal of a chosen width and its stdout on a pipe;
`Screen` reads like a terminal does, and knows how wide each character is.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import unicodedata
from urllib.parse import urlsplit

import pyte
import pytest
from conftest import PROGRAM, command, environment
from needs import need

import twat_fs

pty = pytest.importorskip("pty")
fcntl = pytest.importorskip("fcntl")
termios = pytest.importorskip("termios")

# The terminal -------------------------------------------------------------------------------------


def width(char):
    """How many columns a terminal gives to a character."""
    if unicodedata.combining(char) or unicodedata.category(char) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


class Screen:
    """What a terminal shows: finished lines, and the current one.

    Also the greatest width so far, and all that was not text.
    """

    def __init__(self):
        self.lines, self.cells, self.at, self.widest, self.strange = [], [], 0, 0, ""

    def feed(self, text):
        for char in text:
            if char == "\r":
                self.at = 0
            elif char == "\n":
                self.lines.append("".join(self.cells).rstrip())
                self.cells, self.at = [], 0
            elif unicodedata.category(char) in ("Cc", "Cf"):
                self.strange += char
            else:
                self.write(char)

    def write(self, char):
        if not width(char):  # joins the one before
            self.cells[self.at - 1] += char
            return
        self.cells += [" "] * (self.at + width(char) - len(self.cells))
        self.cells[self.at : self.at + width(char)] = [char] + [""] * (width(char) - 1)
        self.at += width(char)
        self.widest = max(self.widest, self.at)

    @property
    def line(self):
        return "".join(self.cells).rstrip()


COLORS = {"TERM": "xterm"}
RECEIPT = r"\x1b\[(?:2|31)m[^\x1b]*\x1b\[0m\r\n"


class Seen:
    """A finished run: its output with times, and the final screen."""

    def __init__(self, pieces, process, encoding):
        self.code, self.out = process.returncode, process.stdout.read().decode("utf-8")
        process.stdout.close()
        text = b"".join(data for _, data in pieces).decode(encoding)
        self.receipts = re.findall(RECEIPT, text)
        self.text = re.sub(RECEIPT, "", text)  # the receipts stay; everything else must vanish
        self.pieces, self.times = pieces, [when for when, _ in pieces]
        self.screen = Screen()
        self.screen.feed(self.text)

    @property
    def draws(self):
        """Each drawn state of the line, without those that only clear it."""
        return [part.rstrip() for part in re.split(r"[\r\n]+", self.text) if part.strip()]

    def percents(self):
        return [int(share) for share in re.findall(r"(\d+)%", self.text)]


@pytest.fixture
def watch(box, tmp_path):
    """`watch("--limit-rate", "100k", path, columns=80)`: run on a terminal, stdout in a pipe."""

    def run(
        *args, columns=80, env=None, encoding="utf-8", interrupt=None, stdin=subprocess.DEVNULL
    ):
        master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        process = subprocess.Popen(
            command(args), cwd=tmp_path, stdin=stdin,
            env=environment(box, {**COLORS, **(env or {})}),
            stdout=subprocess.PIPE,
            stderr=slave, start_new_session=True,
        )  # fmt: skip
        os.close(slave)
        pieces = []
        reader = threading.Thread(target=listen, args=(master, pieces), daemon=True)
        reader.start()
        try:
            if interrupt:
                process.terminal = master
                interrupt(process, pieces)
            process.wait(30)
            reader.join(5)
        finally:
            process.kill()
            os.close(master)
        return Seen(pieces, process, encoding)

    return run


def listen(master, pieces):
    while True:
        try:
            data = os.read(master, 65536)
        except OSError:  # Linux says EIO when the other side has ended
            return
        if not data:
            return
        pieces.append((time.monotonic(), data))


@pytest.fixture
def file(tmp_path):
    def make(name="report.txt", size=100_000):
        path = tmp_path / name
        with open(path, "wb") as out:
            out.truncate(size)
        return path

    return make


def in_order(numbers):
    return all(a <= b for a, b in zip(numbers, numbers[1:]))


SLOW = ("--limit-rate", "100k", "-p", "catbox")

# What is shown ------------------------------------------------------------------------------------


def test_name_bar_share_bytes_speed_time_left_and_host_are_shown(watch, file):
    seen = watch(*SLOW, file(), columns=120)
    assert seen.code == 0 and re.fullmatch(r"https://files\.catbox\.moe/\w+\.txt\n", seen.out)
    middle = [line for line in seen.draws if "%" in line]
    shape = r"report\.txt  \[#* *\]  catbox  +\d+%  +[\d.]+ of 97\.7 KiB"
    shape += r"  +[\d.]+ (bytes|KiB)/s  \d+:\d\d left"
    assert len(middle) >= 4 and all(re.fullmatch(shape, line) for line in middle), middle
    bars = [line.count("#") for line in middle]
    assert in_order(seen.percents()) and in_order(bars) and bars[-1] > bars[0]
    speeds = [float(speed) for speed in re.findall(r"([\d.]+) KiB/s", middle[-2])]
    assert speeds and 50 < speeds[0] < 150


def test_the_last_state_is_whole_and_the_proof_is_shown(watch, file):
    seen = watch(*SLOW, file(size=50_000))
    assert seen.percents()[-1] == 100
    assert "verifying link" in seen.draws[-1]


def test_nothing_stays_on_the_terminal(watch, file):
    seen = watch(*SLOW, file(size=30_000))
    assert (seen.screen.lines, seen.screen.line, seen.screen.at) == ([], "", 0)


def test_after_a_failure_only_the_failure_stays(box, watch, file):
    box.fault("catbox.moe", "status", status=403, body="no thanks")
    seen = watch(*SLOW, file(size=30_000), columns=200)
    assert seen.code == 1 and len(seen.screen.lines) == 2 and seen.screen.line == ""
    assert (
        "upload failed: no host accepted it" in seen.screen.lines[0]
        and "no thanks" in seen.screen.lines[1]
    )


def test_at_most_about_ten_draws_a_second(watch, file):
    seen = watch("-p", "catbox", "--no-check", file(size=60 * 2**20))
    assert seen.code == 0
    seconds = seen.times[-1] - seen.times[0]
    assert 2 <= len(seen.draws) <= 10 * seconds + 5, "sixty blocks are not sixty draws"


def test_it_is_drawn_often_enough(watch, file):
    seen = watch(*SLOW, file(size=110_000))
    gaps = [b - a for a, b in zip(seen.times, seen.times[1:])]
    assert max(gaps) < 1.5 and len(seen.draws) >= 6


def test_it_goes_back_when_a_try_is_repeated(box, watch, file):
    box.fault("catbox.moe", "reset", times=1, after=60_000, when="upload")
    seen = watch("--limit-rate", "200k", "-p", "catbox", file(size=100_000))
    assert seen.code == 0
    drops = [(a, b) for a, b in zip(seen.percents(), seen.percents()[1:]) if b < a]
    assert len(drops) == 1 and drops[0][0] > 40 and drops[0][1] < 40, seen.percents()
    assert any("retrying in" in line for line in seen.draws)
    assert seen.percents()[-1] == 100


def test_it_begins_again_at_the_next_host(box, watch, file):
    box.fault("catbox.moe", "status", status=403)
    seen = watch("-p", "catbox,x0at", "--limit-rate", "200k", file(size=60_000))
    hosts = [host for line in seen.draws for host in re.findall(r"\b(catbox|x0at)\b", line)]
    assert (
        seen.code == 0
        and sorted(set(hosts), key=hosts.index) == ["catbox", "x0at"]
        and hosts == sorted(hosts)
    )
    assert "connecting" in next(line for line in seen.draws if "x0at" in line)
    shares = [int(p) for line in seen.draws if "x0at" in line for p in re.findall(r"(\d+)%", line)]
    assert shares[0] < 60


def test_what_is_piped_in_shows_while_it_is_read(watch):
    slow = subprocess.Popen(
        ["sh", "-c", "for i in 1 2 3 4; do echo $i; sleep 0.5; done"], stdout=subprocess.PIPE
    )
    with slow:
        seen = watch("-p", "x0at", stdin=slow.stdout)
    assert seen.code == 0 and re.search(r"standard input  [2468] bytes read", seen.text), seen.draws
    assert (seen.screen.lines, seen.screen.line) == ([], "")


def test_what_is_piped_in_shows_how_far_it_is_while_nothing_comes(watch):
    halting = "printf 12; sleep 0.02; printf 3456; sleep 1; printf 7"
    with subprocess.Popen(["sh", "-c", "sleep 0.3; " + halting], stdout=subprocess.PIPE) as slow:
        seen = watch("-p", "x0at", stdin=slow.stdout)
    assert seen.code == 0 and seen.draws[0] == "standard input  0 bytes read"
    assert "standard input  6 bytes read" in seen.draws, "and not the 2 that were first"


@pytest.mark.parametrize("columns", range(20, 70, 7))
def test_on_a_narrow_terminal_whole_fields_go(watch, file, columns):
    seen = watch("--limit-rate", "150k", "-p", "x0at", file(size=60_000), columns=columns)
    field = (
        r"(report\.txt|rep\S*\.\.\.|\[[# ]+\]|(connecting to )?x0at|\d+%|[\d.]+ of 58.6 KiB"
        r"|[\d.]+ (bytes|KiB)/s|\d+:\d\d left|verifying link)"
    )
    assert seen.draws
    for line in seen.draws:
        assert re.fullmatch(f" *{field}(  +{field})*", line), line


def test_several_files_in_parallel_are_one_line(watch, file):
    files = [file("%d.bin" % number, 60_000) for number in range(3)]
    seen = watch("-j", "3", "--limit-rate", "150k", "-p", "catbox", *files)
    assert seen.code == 0 and len(seen.out.splitlines()) == 3
    together = [line for line in seen.draws if "files" in line]
    assert len(together) >= 3
    numbers = (
        r"(\[[# ]+\]  )?[012] done  +\d+%  +[\d.]+ of [\d.]+ KiB  +[\d.]+ \w+/s  \d+:\d\d left"
    )
    steps = r"[012] done  (connecting to catbox|verifying link)"
    for line in together:
        assert re.fullmatch(f"[23] files  ({numbers}|{steps})", line), line
    assert "3 files" in "".join(together) and "of 175.8 KiB" in "".join(together)
    assert (seen.screen.lines, seen.screen.line) == ([], "")


def test_several_files_one_after_the_other_leave_nothing_either(watch, file):
    seen = watch(
        "--limit-rate",
        "300k",
        "-p",
        "catbox",
        file("first.bin", 40_000),
        file("second.bin", 40_000),
    )
    assert seen.code == 0 and (seen.screen.lines, seen.screen.line) == ([], "")
    assert any("first.bin" in line for line in seen.draws) and any(
        "second.bin" in line for line in seen.draws
    )


def test_verbose_lines_stay_above_the_meter(watch, file):
    seen = watch("-v", *SLOW, file(size=30_000), columns=200)
    assert len(seen.screen.lines) >= 2 and seen.screen.line == ""
    assert all(line.startswith("twat-fs: ") and "%" not in line for line in seen.screen.lines)


def test_with_json_the_meter_is_the_same(watch, file):
    seen = watch("--json", *SLOW, file(size=30_000))
    assert seen.percents() and seen.out.startswith("{") and seen.screen.line == ""


# Both ends of an upload ---------------------------------------------------------------------------


def in_that_order(seen, *texts):
    """The draws that contain each text; all of one before all of the next."""
    numbers = [[n for n, line in enumerate(seen.draws) if text in line] for text in texts]
    flat = [number for share in numbers for number in share]
    return all(numbers) and flat == sorted(flat)


def test_each_step_has_its_words(box, watch, file):
    box.fault("catbox.moe", "slow", when="upload", delay=2.4)
    box.fault("files.catbox.moe", "slow", when="download", delay=0.5)
    seen = watch(*SLOW, file(size=60_000))
    steps = ["connecting to catbox", "%", *(f"waiting for the response, {n} s" for n in (1, 2))]
    assert seen.code == 0 and in_that_order(seen, *steps, "verifying link"), seen.draws


def test_a_pause_counts_down(box, watch, file):
    box.fault("catbox.moe", "status", times=1, status=503, retry_after=2)
    seen = watch("-p", "catbox", file())
    assert seen.code == 0 and in_that_order(seen, "retrying in 2 s", "retrying in 1 s"), seen.draws


def test_a_long_pause_is_explained_on_a_line_of_its_own(box, watch, file):
    box.fault("catbox.moe", "status", times=1, status=503, retry_after=6, body="so busy")
    seen = watch("-p", "catbox", file(), columns=120)
    (line,) = seen.screen.lines
    assert seen.code == 0 and re.fullmatch(
        r"twat-fs: report\.txt: 503 .*so busy.*; retrying in [67]\.\d s", line
    )
    assert any("retrying in 5 s" in line for line in seen.draws)


def test_both_numbers_have_the_unit_of_the_size_and_one_width(watch, file):
    seen = watch("--limit-rate", "1500k", "-p", "catbox", file(size=3 << 20), columns=120)
    amounts = re.findall(r"%  ([ \d.]+ of 3\.0 MiB)  ", seen.text)
    assert len(set(amounts)) >= 4 and len(set(map(len, amounts))) == 1, amounts
    assert amounts[-1] == "3.0 of 3.0 MiB"


@pytest.mark.parametrize("host", ["catbox", "litterbox"])
def test_40_columns_keep_the_share_and_the_time_left(watch, file, host):
    seen = watch("--limit-rate", "100k", "-p", host, file("x" * 50, 60_000), columns=40)
    moving = [line for line in seen.draws if "%" in line]
    assert len(moving) >= 3
    for line in moving:
        assert re.fullmatch(rf"x+\.\.\.  {host}  +\d+%  \d+:\d\d left", line), line


def test_many_small_files_at_once(box, watch, file):
    files = [file(f"{number}.txt", number) for number in range(1, 21)]
    seen = watch("-j", "4", "-p", "catbox", *files)
    assert seen.code == 0 and sorted(seen.out.split()) == sorted(box.stored)
    assert (seen.screen.lines, seen.screen.line) == ([], "")


# Another size of the window -----------------------------------------------------------------------


def wrapped_again(screen, columns):
    """The screen of most terminals in a narrower window: long lines continue below.

    The cursor stays at its character; the row where it was must not be wider than the window.
    """
    rows = [row.rstrip() for row in screen.display[: screen.cursor.y + 1]]
    narrow = pyte.Screen(columns, screen.lines)
    stream = pyte.Stream(narrow)
    stream.feed("\r\n".join(rows[:-1]) + "\r\n")
    row = narrow.cursor.y
    stream.feed(rows[-1])
    assert screen.cursor.x == 0 and narrow.cursor.y > row, "the line is wrapped"
    narrow.cursor.y, narrow.cursor.x = row, 0
    return narrow


@pytest.mark.parametrize("ends", [False, True])
def test_a_smaller_window_keeps_no_scraps(watch, file, ends):
    split = []

    def shrink(process, pieces):
        until(lambda: any(b"%" in data for _, data in pieces))
        process.send_signal(signal.SIGSTOP)
        time.sleep(0.2)  # for what is drawn already
        split.append(len(pieces))
        fcntl.ioctl(process.terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 40, 0, 0))
        process.send_signal(signal.SIGCONT)
        if ends:
            os.kill(process.pid, signal.SIGTERM)

    seen = watch("--limit-rate", "60k", "-p", "catbox", file(size=90_000), interrupt=shrink)
    before, after = seen.pieces[: split[0]], seen.pieces[split[0] :]
    wide = pyte.Screen(80, 24)
    pyte.Stream(wide).feed("one\r\n" + b"".join(data for _, data in before).decode())
    narrow = wrapped_again(wide, 40)
    for _, data in after:
        pyte.Stream(narrow).feed(data.decode())
        shown = [row.rstrip() for row in narrow.display if row.strip()]
        if any("87.9 KiB on catbox;" in row for row in shown):
            del shown[1:4]  # the receipt
        assert shown[0] == "one" and len(shown) <= 2, shown
    assert shown == ["one"]


def until(test):
    end = time.monotonic() + 20
    while not test():
        assert time.monotonic() < end
        time.sleep(0.005)


# The receipt --------------------------------------------------------------------------------------


def test_a_receipt_says_where_until_when_and_what_failed(watch, box, file):
    box.fault("catbox.moe", "status", status=503, body="maintenance")
    seen = watch(file("a.bin", 20_000), "--retry", "0", columns=200)
    fine, failures = seen.receipts
    assert re.fullmatch(
        r"\x1b\[2mtwat-fs: a\.bin: 19\.5 KiB on litterbox; "
        r"expires in 3 days \(20\d\d-\d\d-\d\d \d\d:\d\d\); verified; cannot be deleted"
        r"\x1b\[0m\r\n",
        fine,
    )
    assert failures == "\x1b[31m  failed before: catbox: 503 Service Unavailable\x1b[0m\r\n"
    assert seen.text.endswith("\r")


def test_no_receipt_with_quiet_or_off_a_terminal(watch, program, file):
    assert watch("-q", file("a.bin")).receipts == []
    assert program(file("a.bin")).stderr == ""
    spoken = program("-v", file("a.bin")).stderr
    assert "a.bin: 97.7 KiB on catbox; expires in 2 years (" in spoken


def test_a_receipt_has_the_name_of_the_upload(program, file):
    """`delete NAME` needs it."""
    sent = program("-v", "-n", "b.bin", "-", input=b"data")
    assert "\ntwat-fs: b.bin: 4 bytes on catbox; expires in" in sent.stderr


def test_a_receipt_of_a_permanent_link(program, file):
    account = {"CATBOX_USERHASH": "0123456789abcdef"}
    spoken = program("-v", "-p", "catbox", file("a.bin"), env=account).stderr
    assert "on catbox; never expires; verified" in spoken


# How wide -----------------------------------------------------------------------------------------

NAMES = {
    "short": "a.txt",
    "long": "x" * 200 + ".txt",
    "wide": "漢字かな交じり文" * 8 + ".txt",
    "emoji": "😀🎉" * 20 + ".txt",
    "combining": "e\u0301" * 60 + ".txt",
    "control": "a\x1b[2J\x07\r\n\tb\x7f\x9b3m.txt",
    "bidi": "\u202egpj.exe\u2066 \u200b\ufeff.txt",
}


@pytest.mark.parametrize("columns", [200, 80, 40, 20, 10])
def test_it_is_never_wider_than_the_terminal(watch, file, columns):
    files = [file(NAMES[name], 40_000) for name in ("short", "long")]
    seen = watch("--limit-rate", "200k", "-p", "litterbox", *files, columns=columns)
    assert seen.code == 0 and any("lit" in line for line in seen.draws)
    assert 0 < seen.screen.widest <= columns
    assert (seen.screen.lines, seen.screen.line) == ([], ""), "a full line would have scrolled"


@pytest.mark.parametrize("columns", [80, 30])
def test_odd_names_do_not_break_it(watch, file, columns):
    files = [
        file(NAMES[name], 30_000) for name in ("wide", "emoji", "combining", "control", "bidi")
    ]
    seen = watch("--limit-rate", "300k", "-p", "catbox", *files, columns=columns)
    assert seen.code == 0 and any("catbox" in line for line in seen.draws)
    assert seen.screen.strange == "" and 0 < seen.screen.widest <= columns
    assert (seen.screen.lines, seen.screen.line) == ([], "")


def test_even_a_narrow_terminal_shows_something(watch, file):
    for columns, needed in ((40, "%"), (20, "catbox"), (10, "catbox")):
        seen = watch("-p", "catbox", file(size=20_000), columns=columns)
        assert any(needed in line for line in seen.draws), columns


def test_a_terminal_without_a_size_is_taken_as_80_columns(watch, file):
    seen = watch(*SLOW, file(size=20_000), columns=0)
    assert seen.code == 0 and 20 < seen.screen.widest <= 80


# Colours and code pages ---------------------------------------------------------------------------


@pytest.mark.parametrize("env", [{"NO_COLOR": "1", "TERM": "xterm-256color"}, {"TERM": None}])
def test_no_color(watch, file, env):
    seen = watch(*SLOW, file("a.bin", 20_000), env=env)
    assert seen.code == 0 and "\x1b" not in seen.text and seen.percents()
    assert seen.screen.lines[0].startswith(
        "twat-fs: a.bin: 19.5 KiB on catbox; expires in 2 years ("
    )
    assert seen.screen.lines[1:] == ["  verified; cannot be deleted"]


@pytest.mark.parametrize(
    "encoding, extra", [("cp1252", []), ("ascii", []), ("utf-8", []), ("ascii", ["-v"])]
)
def test_a_name_outside_the_code_page_does_not_crash(watch, file, encoding, extra):
    seen = watch(
        *SLOW,
        *extra,
        file("ж😀é.txt", 20_000),
        env={"PYTHONIOENCODING": encoding},
        encoding=encoding,
    )
    assert seen.code == 0 and seen.out.startswith("https://") and "Traceback" not in seen.text
    assert seen.screen.line == "" and seen.percents()


@pytest.mark.parametrize("encoding", ["cp1252", "ascii"])
def test_a_failure_outside_the_code_page_does_not_crash(box, watch, file, encoding):
    box.fault("catbox.moe", "status", status=403, body="нет 😀")
    seen = watch(
        *SLOW, file("ж😀.txt", 20_000), env={"PYTHONIOENCODING": encoding}, encoding=encoding
    )
    assert seen.code == 1 and "403" in seen.text and "Traceback" not in seen.text


# When there is none -------------------------------------------------------------------------------


@pytest.mark.parametrize("option", ["-q", "--no-progress", "--no_progress"])
def test_no_meter_with_quiet_or_no_progress(watch, file, option):
    seen = watch(*SLOW, option, file(size=30_000))
    assert (seen.code, seen.text) == (0, "") and seen.out.startswith("https://")


def test_without_progress_a_failure_is_still_printed(watch, file):
    seen = watch("-q", file("empty", 0))
    assert seen.code == 5 and "empty" in seen.text


def test_no_meter_when_stderr_is_not_a_terminal(program, file):
    ran = program(*SLOW, file(size=30_000))
    assert (ran.returncode, ran.stderr) == (0, "")


@pytest.fixture
def shown(box, tmp_path):
    """`shown("list", columns=80)`: what a command without a meter prints on a terminal."""

    def run(*args, columns):
        master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        pieces = []
        reader = threading.Thread(target=listen, args=(master, pieces), daemon=True)
        reader.start()
        subprocess.call(
            command(args), cwd=tmp_path, env=environment(box, None), stdout=slave, stderr=slave
        )
        os.close(slave)
        reader.join(5)
        os.close(master)
        return b"".join(data for _, data in pieces).decode()

    return run


@pytest.mark.parametrize("columns", [200, 80, 40])
@pytest.mark.parametrize("name", ["list", "status"])
def test_the_tables_wrap_and_lose_nothing(shown, program, name, columns):
    text = shown(name, columns=columns).replace("\r", "")
    piped = program(name).stdout
    assert text.split() == piped.split(), "each word, in the same order"
    assert "..." not in text
    too_long = [line for line in text.splitlines() if len(line) > columns]
    assert [line for line in too_long if " " in line.strip()] == [], "only a URL cannot be wrapped"
    assert len(piped.splitlines()) == len(twat_fs.PROVIDERS) + 1 + 3 * 2, "a pipe is not wrapped"


def test_the_notes_wrap_in_their_column(shown):
    rows = shown("list", columns=80).replace("\r", "").splitlines()
    column = rows[0].index("notes")
    assert column < 50
    (first,) = [index for index, row in enumerate(rows) if row.startswith("uguu ")]
    for row in rows[first + 1 : first + 4]:
        assert row[:column].isspace() and row[column] != " "


def test_notes_go_below_their_host_on_40_columns(shown):
    rows = shown("list", columns=40).replace("\r", "").splitlines()
    index = rows.index("litterbox  1 GiB  1h, 12h, 24h, 72h")
    assert rows[index + 1].startswith("    blocked: ")
    assert "www0x0       disabled by its owner" in shown("status", columns=40)


def test_the_status_of_one_host_is_not_cut(shown):
    argv = " ".join(shown("status", "dropbox", columns=40).split())
    assert argv.startswith("dropbox not configured DROPBOX_REFRESH_TOKEN (or ")
    assert "DROPBOX_ACCESS_TOKEN, for 4 hours) is not set; make" in argv
    assert argv.endswith("token_access_type=offline")


def test_all_details_of_some_hosts_fit(shown):
    text = shown("list", "catbox", "uguu", columns=60).replace("\r", "")
    assert max(map(len, text.splitlines())) <= 60
    assert "verified  20" in text and text.count("\n\n") == 1


@pytest.mark.parametrize("columns", [200, 80, 40])
def test_the_help_fits(shown, columns):
    for name in ("upload", "serve", "list", "status", "completion"):
        text = shown("help", name, columns=columns).replace("\r", "")
        lines = [line for line in text.splitlines() if len(line) > min(columns, 80)]
        assert [line for line in lines if not line.startswith("usage:")] == []


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_a_terminal_on_stdout_shows_the_url_alone(box, file, tmp_path):
    master, slave = pty.openpty()
    process = subprocess.Popen(
        command([*SLOW, file(size=30_000)]),
        cwd=tmp_path,
        env=environment(box, None),
        stdin=subprocess.DEVNULL,
        stdout=slave,
        stderr=subprocess.PIPE,
    )
    os.close(slave)
    pieces = []
    listen(master, pieces)
    err = process.communicate(timeout=10)[1]
    os.close(master)
    shown = b"".join(data for _, data in pieces).decode()
    assert process.returncode == 0 and err == b"" and re.fullmatch(r"https://\S+\r\n", shown)


# Ctrl-C -------------------------------------------------------------------------------------------


class Terminal:
    """A program with its own terminal, into which a test types.

    The terminal echoes ^C, and sends the signal to its process group.
    """

    def __init__(self, argv, box, cwd):
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        self.process = subprocess.Popen(
            argv, cwd=cwd, env=environment(box, COLORS), stdin=slave, stdout=slave, stderr=slave,
            start_new_session=True, preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )  # fmt: skip
        os.close(slave)
        self.pieces = []
        self.reader = threading.Thread(target=listen, args=(self.master, self.pieces), daemon=True)
        self.reader.start()

    @property
    def text(self):
        return b"".join(data for _, data in self.pieces).decode()

    def wait_for(self, test):
        end = time.monotonic() + 20
        while not test():
            assert time.monotonic() < end, self.text
            time.sleep(0.005)

    def ends(self):
        """The exit code, and the lines that stay on the screen, without the receipts."""
        code = self.process.wait(20)
        self.reader.join(5)
        screen = Screen()
        screen.feed(re.sub(RECEIPT, "", self.text))
        assert screen.line == ""
        return code, screen.lines


@pytest.fixture
def terminal(box, tmp_path):
    started = []

    def start(*argv):
        started.append(Terminal(argv, box, tmp_path))
        return started[-1]

    yield start
    for each in started:
        each.process.kill()
        os.close(each.master)


@pytest.mark.parametrize("times", [1, 2, 3])
@pytest.mark.parametrize("argv", ["", "-q", "--no-progress", "-j 3"])
def test_after_ctrl_c_only_that_stays(box, terminal, file, argv, times):
    seen = terminal(*command(["--limit-rate", "10k", *argv.split(), file(size=300_000)]))
    drawn = argv not in ("-q", "--no-progress")
    seen.wait_for(lambda: box.uploads() and ("%" in seen.text or not drawn))
    os.write(seen.master, b"\x03" * times)
    code, lines = seen.ends()
    assert code == -signal.SIGINT
    assert "".join(lines) == f"twat-fs: interrupted; not uploaded: {file()}"


def test_a_link_printed_on_ctrl_c_has_its_own_line(box, terminal, file):
    box.fault("x0.at", "stall", when="upload", after=1000)  # catbox takes no .exe
    paths = [file(name) for name in ("a.exe", "b.txt", "c.exe")]
    seen = terminal(*command(["-j", "2", "-p", "catbox,x0at", *paths]))
    seen.wait_for(lambda: len(box.stored) == 1 and "1 done" in seen.text)
    time.sleep(0.3)  # until the main thread has the result as well
    os.write(seen.master, b"\x03\x03")
    code, lines = seen.ends()
    assert code == -signal.SIGINT and lines[0] in box.stored
    assert "".join(lines[1:]) == f"twat-fs: interrupted; not uploaded: {paths[0]}, {paths[2]}"


def test_each_link_of_several_at_a_time_stands_on_a_line_of_its_own(box, terminal, file):
    paths = [file(f"{number}.txt") for number in range(4)]
    seen = terminal(*command(["-j", "2", "--limit-rate", "200k", "-p", "catbox", *paths]))
    code, lines = seen.ends()
    assert code == 0 and sorted(lines) == sorted(box.stored)


@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c_ends_a_loop_of_the_shell(box, terminal, file, times):
    """bash goes on with the loop after a child that exits by itself, be it with 130."""
    for name in "abc":
        file(name, 300_000)
    argv = " ".join(command(["--limit-rate", "100k", "-p", "catbox"]))
    seen = terminal("bash", "-c", f"for name in a b c; do {argv} $name; done; echo after")
    seen.wait_for(lambda: "%" in seen.text)
    os.write(seen.master, b"\x03" * times)
    code, lines = seen.ends()
    assert (code, lines) == (-signal.SIGINT, ["twat-fs: interrupted; not uploaded: a"])
    assert not box.stored


def test_ctrl_c_ends_serve_without_a_torn_or_an_empty_line(terminal, file):
    seen = terminal(*command(["serve", "--port", "0", "--bind", "127.0.0.1", file()]))
    seen.wait_for(lambda: "until Ctrl-C" in seen.text)
    os.write(seen.master, b"\x03")
    code, lines = seen.ends()
    assert code == -signal.SIGINT and "".join(lines[:-2]).startswith("http://127.0.0.1:")
    assert lines[-2:] == ["twat-fs: serving until Ctrl-C", "twat-fs: stopped"]


def test_main_called_from_python_returns_after_ctrl_c(box, terminal, file):
    code = "import sys, twat_fs; print('code', twat_fs.main(sys.argv[1:])); print(sum(range(9)))"
    path = file(size=300_000)
    seen = terminal(
        sys.executable,
        "-c",
        f"import sys; sys.path.insert(0, {str(PROGRAM.parent)!r}); {code}",
        "--limit-rate",
        "10k",
        path,
    )
    seen.wait_for(lambda: "%" in seen.text)
    os.write(seen.master, b"\x03")
    code, lines = seen.ends()
    assert (code, lines[-2:]) == (0, ["code 130", "36"])


def test_a_ctrl_c_that_python_drops_is_not_lost(program, tmp_path):
    """Seen once in some hundred runs: it came in the callback of an import, which cannot raise."""
    (tmp_path / "once.py").write_text(
        "import os, signal, sys, time\n"
        f"sys.path.insert(0, {str(PROGRAM.parent)!r})\n"
        "import twat_fs\n"
        "class Dropped:\n"
        "    def __del__(self):\n"
        "        os.kill(os.getpid(), signal.SIGINT)\n"
        "        time.sleep(0.1)\n"
        "def command(words):\n"
        "    Dropped()\n"
        "    time.sleep(10)\n"
        "twat_fs.COMMANDS['list'] = command\n"
        "twat_fs.console_main()\n"
    )
    done = subprocess.run(
        [sys.executable, tmp_path / "once.py", "list"], capture_output=True, text=True, timeout=5
    )
    assert (done.returncode, done.stdout) == (-signal.SIGINT, "")
    assert done.stderr == "twat-fs: interrupted\n"


# serve --------------------------------------------------------------------------------------------


def text_of(pieces):
    return b"".join(data for _, data in pieces).decode()


def test_a_long_download_from_serve_is_shown_while_it_moves(watch, file):
    path = file("video.mp4", 60 * 2**20)

    def download_slowly(process, pieces):
        url = urlsplit(process.stdout.readline().decode().strip())
        with socket.create_connection((url.hostname, url.port)) as sock:
            sock.sendall(f"GET {url.path} HTTP/1.0\r\n\r\n".encode())
            for _ in range(30):
                sock.recv(2**20, socket.MSG_WAITALL)
                time.sleep(0.05)
        while "stopped at" not in text_of(pieces):
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)

    args = ("serve", "--bind", "127.0.0.1", "--port", "0")
    seen = watch(*args, path, columns=100, interrupt=download_slowly)
    drawn = [line for line in seen.draws if "video.mp4  [" in line]
    shape = r"video\.mp4  \[#+ *\]  127\.0\.0\.1 +\d+% .* of 60\.0 MiB .*MiB/s  0:\d\d left"
    assert len(drawn) > 3 and all(re.fullmatch(shape, line) for line in drawn)
    assert len(seen.screen.lines) == 3 and seen.screen.line == ""
    assert re.fullmatch(r"\d\d:\d\d  video\.mp4  stopped at \d\d %  to .*", seen.screen.lines[1])


# QR codes -----------------------------------------------------------------------------------------

HALF_BLOCKS = {" ": "00", "\u2580": "10", "\u2584": "01", "\u2588": "11"}


def picture_of(text, columns, path):
    """The painted cells of a terminal as an image, at the pixels that its characters fill."""
    screen = pyte.Screen(columns, 100)
    pyte.Stream(screen).feed(text)
    rows = []
    for line in range(100):
        cells = [screen.buffer[line][column] for column in range(columns)]
        painted = [cell for cell in cells if cell.bg != "default"]
        for half in range(2 if painted else 0):
            row = ""
            for cell in painted:
                color = cell.fg if HALF_BLOCKS[cell.data][half] == "1" else cell.bg
                row += {"black": "1", "brightwhite": "0"}[color]
            rows.append(row)
    image = "".join("".join(bit * 8 for bit in row) * 8 + "\n" for row in rows)
    path.write_text(f"P1 {8 * len(rows[0])} {8 * len(rows)}\n{image}")
    return rows


def scan(path):
    """The text of the code in an image, by a decoder that is not ours."""
    argv = [need("zbarimg"), "-q", "--raw", "-Sdisable", "-Sqrcode.enable", path]
    return subprocess.run(argv, stdout=subprocess.PIPE, timeout=30).stdout.decode().rstrip("\n")


@pytest.mark.needs("zbarimg")
@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_qr_shows_the_link_after_it(watch, file, tmp_path, encoding):
    env = {"PYTHONIOENCODING": encoding}
    seen = watch("--qr", "-p", "catbox", file(), env=env, columns=120, encoding=encoding)
    assert seen.code == 0
    rows = picture_of(seen.text, 120, tmp_path / "code.pbm")
    assert scan(tmp_path / "code.pbm") == seen.out.strip()
    margins = [*rows[:4], *rows[-4:], *(row[:4] + row[-4:] for row in rows)]
    assert set("".join(margins)) == {"0"}, "four modules around it are white"
    assert seen.text.isascii() == (encoding == "ascii")


@pytest.mark.needs("zbarimg")
def test_codes_of_all_versions_are_read(tmp_path):
    texts = [("http://192.168.1.7:8080/" + "aZ09-._~%" * 30)[:size] for size in SIZES]
    for number, text in enumerate(texts):
        rows = [f"{row:0^{len(row) + 8}}" for row in twat_fs.qr_code(text)]
        blank = ["0" * len(rows[0])] * 4
        image = "".join("".join(bit * 4 for bit in row) * 4 + "\n" for row in blank + rows + blank)
        width = 4 * len(rows[0])
        (tmp_path / f"{number:02}.pbm").write_text(f"P1 {width} {width}\n{image}")
    argv = [need("zbarimg"), "-q", "--raw", "-Sdisable", "-Sqrcode.enable"]
    argv += sorted(tmp_path.glob("*.pbm"))
    done = subprocess.run(argv, stdout=subprocess.PIPE, timeout=60)
    assert done.stdout.decode().split() == texts
    assert twat_fs.qr_code("x" * 272) == []


# The smallest and the largest text of each version.
SIZES = "1 17 18 32 33 53 54 78 79 106 107 134 135 154 155 192 193 230 231 271"
SIZES = [int(size) for size in SIZES.split()]


@pytest.mark.parametrize(
    "name, columns, problem",
    [("a" * 250, 100, "the link is too long"), ("a.txt", 30, "the terminal has less than")],
)
def test_a_code_that_cannot_be_shown_is_a_warning(watch, file, name, columns, problem):
    def end(process, pieces):
        while problem not in text_of(pieces):
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)

    args = ("serve", "--qr", "--bind", "127.0.0.1", "--port", "0")
    seen = watch(*args, file(name), columns=columns, interrupt=end)
    assert f"twat-fs: warning: no QR code: {problem}" in seen.text and "\u2588" not in seen.text


def test_without_a_terminal_there_is_no_code(program, box, file):
    done = program("--qr", "-p", "catbox", file())
    assert (done.returncode, done.stderr) == (0, "") and done.stdout.count("\n") == 1
