"""The command line: arguments, output on each stream, and exit codes.

`run` calls main() in this process; `program` and `start` run the file as users do, where
processes matter.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import io
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from typing import NamedTuple

import pytest
from conftest import PROGRAM, environment
from internet.loopback import closed_port

import twat_fs

DROP = "https://drop.example.org/"
CHAIN = ["catbox", "litterbox", "x0at", "tmpfilelink", "tmpfilesorg", "filebin", "uguu"]
DOMAINS = {row.id: row.domain for row in twat_fs.PROVIDERS}
KEYS = (
    "file host url provider size sha256 expires delete delete_page thumbnail type verified seconds"
    " attempts unverified deletable".split()
)
LINK = re.compile(r"https://\S+")
SOON = 2.0  # seconds: what must take less than one, on a machine that is busy
posix = pytest.mark.skipif(os.name == "nt", reason="needs POSIX")


class Ran(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def urls(self):
        return self.out.splitlines()


@pytest.fixture
def run(online_box, capsys, monkeypatch):
    """main() in this process: `run("a.txt", "-p", "x0at", stdin=b"...")`."""

    def go(*args, stdin=None):
        if stdin is not None:
            monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        capsys.readouterr()
        code = twat_fs.main([str(arg) for arg in args])
        return Ran(code, *capsys.readouterr())

    return go


@pytest.fixture
def file(tmp_path):
    """Make a file: `file("a.txt", b"...")`."""

    def make(name="a.txt", content=None):
        path = tmp_path / name
        path.write_bytes(name.encode() * 50 if content is None else content)
        return path

    return make


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def asked(box):
    """The hosts that a file was sent to, in order."""
    return [seen.host for seen in box.uploads()]


def refuse_all(box, *but):
    for name in CHAIN:
        if name not in but:
            box.fault(DOMAINS[name], "status", status=403, body="no thanks")


# What goes up, what is printed --------------------------------------------------------------------


def test_one_file_becomes_one_line(box, run, file):
    ran = run(file("report.pdf", b"%PDF"))
    assert (ran.code, ran.err) == (0, "")
    assert re.fullmatch(r"https://files\.catbox\.moe/\w+\.pdf\n", ran.out)
    assert box.stored[ran.urls[0]].read() == b"%PDF"


def test_several_files_are_printed_in_the_order_given(box, run, file):
    files = [file(name) for name in ("c.txt", "a.txt", "b.txt")]
    ran = run(*files)
    assert ran.code == 0
    assert [box.stored[url].read() for url in ran.urls] == [path.read_bytes() for path in files]


def test_the_same_file_twice_is_two_urls(box, run, file):
    ran = run(file(), file())
    assert ran.code == 0 and len(set(ran.urls)) == 2


def test_in_parallel_the_order_stays_although_the_first_is_slowest(box, run, file):
    box.fault("x0.at", "slow", delay=0.8, when="upload")
    files = [file("first.exe"), *(file("%d.txt" % n) for n in range(5))]  # catbox takes no .exe
    ran = run("-j", "3", "-p", "catbox,x0at", *files)
    assert ran.code == 0
    assert [box.stored[url].read() for url in ran.urls] == [path.read_bytes() for path in files]
    times = {seen.host: seen.started for seen in box.requests if not seen.upload}
    assert times["files.catbox.moe"] < times["x0.at"], "the others did not wait for the first"


def test_more_workers_than_files_is_fine(run, file):
    ran = run("-j", "64", file("a.txt"), file("b.txt"))
    assert (ran.code, len(ran.urls)) == (0, 2)


@pytest.mark.parametrize("args", [["-"], [], ["upload"], ["upload", "-"], ["--json", "-"]])
@pytest.mark.parametrize(
    "data, name", [("grüße\n".encode(), "stdin.txt"), (b"\x89PNG\0\xff", "stdin.bin")]
)
def test_standard_input_is_a_file(box, run, args, data, name):
    ran = run(*args, stdin=data)
    assert ran.code == 0
    (stored,) = box.stored.values()
    assert (stored.read(), stored.name) == (data, name)


def test_standard_input_may_be_one_of_several(box, run, file):
    ran = run(file("a.txt"), "-", file("b.txt"), "-n", "", stdin=b"x")
    assert ran.code == 2
    ran = run(file("a.txt"), "-", file("b.txt"), stdin=b"piped")
    assert ran.code == 0
    assert [box.stored[url].name for url in ran.urls] == ["a.txt", "stdin.txt", "b.txt"]


def test_a_pipe_without_a_file_name_is_uploaded(box, program):
    ran = program(input="from a pipe\n")
    assert (ran.returncode, ran.stderr) == (0, "")
    assert box.stored[ran.stdout.strip()].read() == b"from a pipe\n"


@pytest.mark.parametrize("args", [[], ["-"]])
def test_empty_standard_input_fits_no_host(box, program, args):
    ran = program(*args, input=b"")
    assert (ran.returncode, ran.stdout) == (5, "")
    assert "empty" in ran.stderr and not box.requests


def test_standard_input_is_retried_from_its_start(box, run):
    data = os.urandom(100_000)
    box.fault("catbox.moe", "status", times=1, status=503, retry_after=0)
    ran = run("-", stdin=data)
    assert (ran.code, len(box.uploads("catbox.moe"))) == (0, 2)
    assert box.stored[ran.urls[0]].read() == data


def test_endless_standard_input_is_given_up_as_soon_as_no_host_would_take_it(box, start):
    process = start("-p", "termbin", "-", stdin=subprocess.PIPE)
    written = 0
    with contextlib.suppress(BrokenPipeError):
        while written < 200 * 2**20:
            process.stdin.write(b"endless\n" * 8192)
            written += 65536
    process.stdin = None
    assert process.wait(10) == 5
    assert written < 8 * 2**20, "it stopped early"
    assert process.stdout.read() == b"" and b"32.0 KiB" in process.stderr.read()
    assert not box.requests


@posix
@pytest.mark.parametrize("size", [1, 2**20])
def test_standard_input_of_1_mib_needs_no_temporary_folder(box, program, tmp_path, size):
    """In a container with a read-only file system, or on a machine whose disk is full."""
    nowhere = tmp_path / "nowhere"
    argv = [sys.executable, "-c", LIMITED, str(PROGRAM), "-p", "catbox", "--json"]
    data = os.urandom(size)
    box.fault("catbox.moe", "status", times=1, status=503, retry_after=0)
    # without coverage, which writes a file
    env = environment(box, {"TMPDIR": nowhere, "COVERAGE_PROCESS_START": None})
    ran = subprocess.run(
        argv,
        env=env,
        cwd=tmp_path,
        input=data,
        capture_output=True,
        timeout=30,
    )
    assert (ran.returncode, ran.stderr) == (0, b"")
    report = json.loads(ran.stdout)
    assert box.stored[report["url"]].read() == data
    assert (report["size"], report["sha256"]) == (size, hashlib.sha256(data).hexdigest())


# no file of this process may grow, so that nothing can be held on a disk
LIMITED = """
import resource, runpy, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@posix
def test_standard_input_that_cannot_be_read_says_so(start, tmp_path):
    with open(tmp_path / "for-writing-only", "wb") as file:
        process = start("-", stdin=file)
    _, err = process.communicate(timeout=10)
    assert process.returncode == 6 and b"standard input: bad file descriptor" in err


def test_standard_input_leaves_no_temporary_file(program, file, tmp_path):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    for code, args in ((0, ["-"]), (5, ["-p", "uguu", "-n", "a.exe"]), (2, ["-p", "nosuch"])):
        data = bytes(twat_fs.IN_MEMORY + 1)
        assert program(*args, input=data, env={"TMPDIR": scratch}).returncode == code
        assert list(scratch.iterdir()) == []


def test_name_sets_the_uploaded_name(box, run, file):
    assert run(file(), "--name", "Other Name.pdf").code == 0
    assert run("-n", "piped.log", stdin=b"x").code == 0
    assert [stored.name for stored in box.stored.values()] == ["Other Name.pdf", "piped.log"]


SPACED = [
    "Screenshot 2026-11-28 at 9.41.00\u202fAM.png",  # macOS
    "\u5831\u544a\u3000\u7b2c1.txt",
    "prix\u00a0net.txt",
    "\u0646\u0645\u06cc\u200c\u0634\u0648\u062f.txt",  # Persian
    "\U0001f468\u200d\U0001f469\u200d\U0001f467.png",  # a family
    "soft\u00adhyphen\u2003wide\u2060joined\ufeff.txt",
]


@pytest.mark.parametrize("name", SPACED)
def test_spaces_of_all_kinds_and_joiners_stay_in_a_name(box, run, file, name):
    for args in ([file(name)], [file("a.txt"), "-n", name]):
        box.reset()
        assert run(*args, "-p", "uguu").code == 0
        assert [stored.name for stored in box.stored.values()] == [name]


@posix
@pytest.mark.parametrize("more", [[], ["--dry-run"]])
def test_json_is_unicode_also_for_a_name_that_is_not_utf_8(box, program, tmp_path, more):
    raw = os.path.join(os.fsencode(tmp_path), b"gr\xfc\xdfe \xf0\x9f.txt")
    for content in (b"x", b""):
        with open(raw, "wb") as opened:
            opened.write(content)
        ran = program("--json", *more, os.fsdecode(raw))
        report = json.loads(ran.stdout)["file"]
        assert report.encode("utf-8") and "gr\ufffd\ufffde \ufffd" in report


def test_unique_puts_the_time_into_the_name(box, run, file):
    assert run(file("a.tar.gz"), "--unique", "-n", "b.tar").code == 0
    (stored,) = box.stored.values()
    assert re.fullmatch(r"b_\d{8}_\d{6}\.tar", stored.name)


# Options ------------------------------------------------------------------------------------------

SPELLINGS = [
    "-p x0at --no-check FILE",
    "FILE --no-check -p x0at",
    "-p x0at FILE --no-check",
    "FILE -px0at --no_check",
    "--provider=x0at FILE --no_check",
    "--no_check FILE --provider x0.at",
    "upload FILE --provider [x0at] --no-check",
    "upload --no_check -p x0 FILE",
    "--no-check -p X0AT -- FILE",
    "FILE --no_check -p x0at --",
]


@pytest.mark.parametrize("line", SPELLINGS)
def test_options_come_in_any_order_and_spelling(box, run, file, line):
    path = str(file())
    ran = run(*(path if word == "FILE" else word for word in line.split()))
    assert ran.code == 0 and ran.out.startswith("https://x0.at/")
    assert [seen.method for seen in box.requests] == ["POST"], "no look at the link"


def test_an_underscore_in_a_value_stays(box, run, file):
    assert run(file(), "--name=a_b_c.txt", "--limit_rate=10M", "--max_time", "30").code == 0
    assert [stored.name for stored in box.stored.values()] == ["a_b_c.txt"]


def test_two_dashes_end_the_options(box, run, file, monkeypatch):
    monkeypatch.chdir(file("-q").parent)
    file("--json")
    ran = run("-p", "x0at", "--", "-q", "--json")
    assert ran.code == 0
    assert [box.stored[url].name for url in ran.urls] == ["-q", "--json"]


@pytest.mark.parametrize(
    "args", [["./list"], ["upload", "list"], ["--", "list"], ["-p", "catbox", "list"]]
)
def test_a_file_may_be_called_like_a_command(box, run, file, monkeypatch, args):
    monkeypatch.chdir(file("list").parent)
    assert run(*args).code == 0
    assert [stored.name for stored in box.stored.values()] == ["list"]


def test_the_word_list_alone_lists_although_a_file_has_that_name(box, run, file, monkeypatch):
    monkeypatch.chdir(file("list").parent)
    ran = run("list")
    assert ran.code == 0 and "catbox" in ran.out and not box.requests


WRONG = {
    "unknown option": ("--frobnicate", "frobnicate"),
    "unknown letter": ("-Z", "-Z"),
    "unknown option with value": ("--frob=1", "frob"),
    "abbreviated option": ("--prov x0at", "--prov"),
    "option without its value": ("-p", "provider"),
    "no check and full check": ("--no-check --verify full", "conflicts"),
    "no check and full check, turned round": ("--verify full --no_check", "conflicts"),
    "unknown proof": ("--verify half", "half"),
    "quiet and verbose": ("-q -v", "conflicts"),
    "gone before it must live": ("--keep 2h --expire 1h", "--expire 1h conflicts with --keep 2h"),
    "one name for two files": ("--name x.txt OTHER", "--name"),
    "a name that is a path": ("--name a/b", "slash"),
    "a name that is a Windows path": ("--name a\\b", "slash"),
    "no name": ("--name ''", "must not be empty"),
    "a path": ("--name a/b", "must not contain a slash"),
    "a name with a line break": ("--name 'a\nb'", "must not contain a control character"),
    "a name with a line separator": ("--name a\u2028b", "must not contain a line separator"),
    "a name that is shown backwards": ("--name a\u202egpj.exe", "a character that reverses text"),
    "a name that is not UTF-8": ("--name a\udce4b", "must not contain bytes that are not UTF-8"),
    "a name with NUL": ("--name 'a\0b'", "control"),
    "a name of 256 bytes": ("--name " + "x" * 256, "255"),
    "one download, and look at it": ("--once --verify full", "--once cannot be combined"),
    "standard input twice": ("- -", "once"),
    "no unit": ("--expire 5", "5"),
    "a unit that is none": ("--expire 5x", "5x"),
    "no time at all": ("--expire 0h", "0h"),
    "negative time": ("--expire=-5h", "-5h"),
    "a word": ("--keep soon", "soon"),
    "no time to keep": ("--keep ''", "''"),
    "no rate": ("--limit-rate 0", "'0'"),
    "a negative rate": ("--limit-rate=-5k", "-5k"),
    "a rate of words": ("--limit-rate fast", "fast"),
    "no workers": ("-j 0", "'0'"),
    "too many workers": ("-j 65", "65"),
    "workers that are a power": ("-j ²", "1 to 64"),
    "half a worker": ("-j 1.5", "invalid value '1.5' (expected 1 to 64)"),
    "negative tries": ("--retry -1", "-1"),
    "no timeout": ("--timeout 0", "'0'"),
    "nan": ("--connect-timeout nan", "nan"),
    "forever": ("--max-time inf", "inf"),
    "an odd proxy": ("--proxy ftp://127.0.0.1:1", "ftp"),
    "a proxy without a port number": ("--proxy http://127.0.0.1:http", "proxy"),
    "a proxy without host": ("--proxy http://:3128", "proxy"),
    "no certificates there": ("--cacert /no/such.pem", "CA bundle /no/such.pem: no such file"),
    "no host": ("-p ''", "no host"),
    "no host in a list": ("-p ,", "no host"),
    "no host in brackets": ("-p []", "no host"),
    "an unknown host": ("-p nosuchhost", "nosuchhost"),
    "an unknown host among good ones": ("-p x0at,nosuchhost", "nosuchhost"),
    "a host with escapes": ("-p 'x\x1b[2J'", r"\x1b[2J"),
    "an ambiguous prefix": ("-p tmpfile", "tmpfilelink or tmpfilesorg"),
    "a dead host": ("-p file.io", "LimeWire"),
    "another dead host": ("-p transfer.sh", "https://HOST/"),
    "a dead namesake": ("-p bashupload.com", "bashupload.app"),
    "a base URL without host": ("-p https://", "server"),
    "a base URL with an odd port": ("-p http://h:x/", "server"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_command_line_is_2_and_nothing_is_sent(box, run, file, name):
    line, hint = WRONG[name]
    argv = [
        str(file("other.txt")) if w == "OTHER" else w.strip("'")
        for w in re.findall(r"'[^']*'|[^ ]+", line)
    ]
    ran = run(file(), *argv, stdin=b"x")
    assert (ran.code, ran.out) == (2, "")
    assert hint in ran.err
    assert not box.requests and not box.tunnels
    assert not re.search(r"[\x00-\x08\x0b-\x1f]|Traceback|twat-fs: :", ran.err)


@pytest.mark.parametrize(
    "args",
    [
        ["list", "nosuch"],
        ["list", "--frob"],
        ["version", "x"],
        ["version", "--", "x"],
        ["status", "nosuch"],
        ["status", "catbox", "x0at"],
        ["status", "tmpfile"],
        ["upload_provider"],
        ["upload_provider", "burn"],
        ["serve", "--port", "70000"],
        ["serve", "--port", "²"],
        ["serve", "--max-size", "0"],
        ["serve", "--frob"],
        ["upload_provider", "list", "--frob"],
        ["list", "-q", "-v"],
    ],
)
def test_a_wrong_command_line_of_the_other_commands_is_2_as_well(box, run, args):
    ran = run(*args)
    assert (ran.code, ran.out) == (2, "") and ran.err.strip()
    assert "twat-fs: :" not in ran.err and not box.tunnels


def test_an_unknown_host_is_answered_by_the_nearest_names(run, file):
    for wrong, meant in (
        ("catbax", "catbox"),
        ("litterbocks", "litterbox"),
        ("filbin", "filebin"),
    ):
        ran = run(file(), "-p", wrong)
        assert ran.code == 2 and re.search(r"did you mean .*\b%s\b" % re.escape(meant), ran.err)
    assert "did you mean catbox?" in run(file(), "-p", "catbx").err, (
        "and not catbox.moe, which is the same host"
    )


@pytest.mark.parametrize("name", ["mybox", "gofile", "gofile.io", "files.example.org", "catbox.mo"])
def test_a_public_host_is_not_guessed_where_the_name_is_another(box, run, file, name):
    ran = run(file(), "-p", name)
    meant = (
        f"your server? -p https://{name}/" if "." in name else "run `twat-fs list` to see all hosts"
    )
    assert (ran.code, ran.err.splitlines()[1].strip()) == (2, meant) and not box.tunnels


@pytest.mark.parametrize(
    "name", ["Files.example.org/Drop", "Files.example.org/Drop/", "192.0.2.7:8080/a", "[::1]:8080"]
)
def test_a_server_without_a_scheme_is_answered_by_its_whole_url(box, run, file, name):
    ran = run(file(), "-p", name)
    scheme = "https" if name[0] == "F" else "http"
    assert ran.err.endswith(f"\n  your server? -p {scheme}://{name.rstrip('/')}/\n")
    assert ran.code == 2 and not box.tunnels


WRONG_OPTIONS = {
    "--list": "`twat-fs list`",
    "--serve": "`twat-fs serve`",
    "--host catbox": "--provider",
    "--port 80": "`twat-fs serve --port`",
    "--expires 1h": "--expire",
    "--no-chek": "--no-check",
    "--online": "`twat-fs status --online`",
    "serve --host 0.0.0.0": "--bind",
    "serve -p 80": "--port",
    "serve --unique": "`twat-fs upload --unique`",
    "list -p catbox": "`twat-fs list HOST`",
    "status --host catbox": "`twat-fs status HOST`",
    "list --expire 1h": "`twat-fs upload --expire`",
}


@pytest.mark.parametrize("line", WRONG_OPTIONS)
def test_a_wrong_option_is_answered_with_the_right_one(box, run, line):
    ran = run(*line.split())
    assert (ran.code, ran.out) == (2, "") and not box.tunnels
    assert ran.err.endswith(f"; did you mean {WRONG_OPTIONS[line]}?\n")


@pytest.mark.parametrize("wrong", ["--colour", "--gzip-it", "--ttl"])
def test_an_option_like_no_other_is_not_guessed(run, wrong):
    ran = run(wrong)
    assert ran.code == 2 and ran.err.endswith(f"unrecognized arguments: {wrong}\n")


@pytest.mark.parametrize("more", [[], ["--json"]])
def test_list_knows_a_server_of_yours(program, more):
    ran = program("list", "https://drop.example.org/", *more)
    assert ran.returncode == 0 and "drop.example.org" in ran.stdout and not ran.stderr


CHALLENGE = (
    "<!DOCTYPE html><title>Just a moment...</title><script>window._cf_chl_opt = {};</script>"
    "<noscript>Enable JavaScript and cookies to continue, or log in to your account</noscript>"
)
NO_ACCOUNT = {
    "too large": (413, "Request Entity Too Large"),
    "type": (415, "file type is not allowed"),
    "404": (404, "Not Found"),
    "200": (200, "Something went wrong"),
    "challenge": (403, CHALLENGE),
    "busy challenge": (503, CHALLENGE),
}


@pytest.mark.parametrize("case", NO_ACCOUNT)
def test_an_account_is_not_advised_where_it_would_not_help(box, program, file, case):
    status, body = NO_ACCOUNT[case]
    box.fault("catbox.moe", "status", status=status, body=body)
    ran = program("-p", "catbox", file())
    assert ran.returncode == 1 and "CATBOX_USERHASH" not in ran.stderr
    if "challenge" in case:
        assert "Cloudflare challenge" in ran.stderr and "use another host" in ran.stderr
        assert len(box.uploads()) == 1, "and patience does not help"


@pytest.mark.parametrize(
    ("status", "body"),
    [(401, "no"), (403, "no"), (412, "Anonymous uploads are disabled"), (200, "Please log in")],
)
def test_an_account_is_advised_where_it_may_help(box, program, file, status, body):
    box.fault("catbox.moe", "status", status=status, body=body)
    assert "set CATBOX_USERHASH" in program("-p", "catbox", file()).stderr


@pytest.mark.parametrize("option", ["--force", "--public", "--remote-path=folder/"])
def test_what_a_host_cannot_do_is_refused_there_for_each_option(box, program, file, option):
    for host in ("catbox", DROP):
        ran = program("-p", host, option, file())
        assert (ran.returncode, ran.stdout) == (5, "") and not box.tunnels
        assert f"does not support {option.partition('=')[0]} (" in ran.stderr


def test_a_server_with_a_query_is_refused(box, program, file):
    for url in ("http://drop.example.org/?key=S3CRET", "https://catbox.moe/#S3CRET"):
        ran = program("-p", url, file())
        assert (ran.returncode, ran.stdout) == (2, "") and "S3CRET" not in ran.stderr
        assert "https://USER:PASSWORD@HOST:PORT/" in ran.stderr and not box.tunnels


@pytest.mark.parametrize(
    "argv", [["serv"], ["-q", "serve"], ["Serve"], ["sevre"], ["-p", "catbox", "lst"]]
)
def test_a_mistyped_command_does_not_publish_what_follows(box, run, file, argv):
    ran = run(*argv, file("private.txt"))
    assert (ran.code, ran.out) == (2, "") and "nothing was uploaded" in ran.err and not box.tunnels
    assert re.search(r"did you mean `twat-fs (serve|list)`\?", ran.err)


@pytest.mark.parametrize("word", ["list.txt", "./list", "server/a", "other"])
def test_a_missing_file_does_not_stop_the_others(run, file, word):
    ran = run("-p", "catbox", word, file())
    assert ran.code == 3 and ran.out.count("https://") == 1 and "did you mean" not in ran.err


def test_a_file_that_is_called_like_a_command_is_one(run, file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file("serv")
    ran = run("-p", "catbox", "serv", file())
    assert ran.code == 0 and ran.out.count("https://") == 2


def test_a_mistyped_command_alone_is_asked_about(box, run):
    ran = run("statu")
    assert ran.code == 6 and "did you mean `twat-fs status`?" in ran.err and not box.tunnels


def test_without_a_file_on_a_terminal_the_usage_is_shown(run, monkeypatch):
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    monkeypatch.setattr(sys, "stdin", terminal)
    ran = run()
    usage, *examples = ran.err.splitlines()
    assert (ran.code, ran.out) == (2, "") and usage == "usage: twat-fs [OPTION]... [FILE]..."
    assert len(examples) == 5 and all(line.startswith("  twat-fs ") for line in examples)
    for line in examples:  # each option and command exists
        argv = line.split("  ")[1].split()[1:]
        if "-" not in argv and argv[0] != "serve":
            assert run(*argv).code in (0, 6)


# Exit codes ---------------------------------------------------------------------------------------


def test_0_every_file_has_a_url(run, file):
    assert run(file("a.txt"), file("b.txt")).code == 0


def test_1_no_file_could_be_uploaded(box, run, file):
    refuse_all(box)
    ran = run(file("a.txt"), file("b.txt"))
    assert (ran.code, ran.out) == (1, "")
    assert asked(box) == [DOMAINS[name] for name in CHAIN]


def test_3_some_files_failed(box, run, file, tmp_path):
    ran = run(tmp_path / "missing", file("a.txt"), tmp_path)
    assert (ran.code, len(ran.urls)) == (3, 1)
    assert "missing" in ran.err and "tar c" in ran.err


@pytest.mark.parametrize("lie", ["other", "half", "short", "zero", "flip", "html"])
def test_4_the_host_does_not_serve_the_same_bytes(box, run, file, lie):
    box.fault("catbox.moe", lie, when="download")
    ran = run("-p", "catbox", "--retry", "0", file())
    assert (
        (ran.code, ran.out) == (4, "")
        and "proof" in ran.err
        and "uploaded, but no link could be verified (1 tried)" in ran.err
    )


def test_an_unverified_link_is_not_final_while_another_host_is_left(box, run, file):
    box.fault("catbox.moe", "other", when="download")
    ran = run("-p", "catbox,x0at", file())
    assert ran.code == 0 and ran.out.startswith("https://x0.at/")
    copy = r"a copy may remain on catbox \(unverified\): https://files\.catbox\.moe/\w+\.txt "
    assert re.search(copy, ran.err)
    ran = run("-q", "-p", "catbox,x0at", file())
    assert (ran.code, len(ran.urls)) == (0, 1)
    assert re.fullmatch(rf"twat-fs: \S+: {copy}.*\n", ran.err)


FITS_NOWHERE = {
    "empty": ("-p catbox", b"", "empty"),
    "type": ("-p catbox,litterbox -n a.exe", b"x", ".exe"),
    "size": ("-p termbin", b"x" * 33_000, "32"),
    "not text": ("-p termbin", b"\0\xff", "text"),
    "expiry": ("-p catbox --expire 1h", b"x", "2 years"),
    "keep": ("-p uguu --keep 1d", b"x", "3 hours"),
    "nobody that long": ("--expire 4w", b"x", "3 days"),
    "once": ("--once", b"x", "does not support --once"),
    "not configured": ("-p transfersh", b"x", "TWAT_FS_TRANSFERSH_URL"),
}


@pytest.mark.parametrize("case", FITS_NOWHERE)
def test_5_nothing_fits_and_nothing_was_sent(box, run, file, case):
    line, content, hint = FITS_NOWHERE[case]
    ran = run(file("a.txt", content), *line.split())
    assert (ran.code, ran.out) == (5, "")
    assert hint in ran.err and not box.tunnels


def local_problems(tmp_path):
    (tmp_path / "folder").mkdir()
    yield "missing.txt", "no such file"
    yield "folder", "tar cf -"
    yield "a\0b", "null"
    yield "", "no such file"
    if os.name != "nt":
        os.mkfifo(tmp_path / "pipe")
        (tmp_path / "loop").symlink_to("loop")
        yield from (("pipe", "cat"), ("/dev/zero", "device"), ("loop", "link"), ("x" * 300, "long"))


def test_6_a_local_problem(box, run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, hint in local_problems(tmp_path):
        ran = run(name)
        assert (ran.code, ran.out) == (6, ""), name
        assert hint in ran.err.lower() and len(ran.err.splitlines()) <= 2
    assert not box.tunnels


def test_6_a_file_that_grows_while_it_is_sent(box, start, file):
    path = file("log.txt", b"x" * 80_000)
    process = start("--limit-rate", "100k", "-p", "catbox,x0at", path)
    wait_for(lambda: box.uploads())
    with open(path, "ab") as log:
        log.write(b"more")
    out, err = process.communicate(timeout=10)
    assert (process.returncode, out) == (6, b"") and b"changed" in err
    assert asked(box) == ["catbox.moe"], "no host can help"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_standard_output_is_not_blamed_on_standard_input(start):
    with open("/dev/full", "wb") as full:
        process = start("--dry-run", "-", stdin=subprocess.PIPE, stdout=full)
        _, err = process.communicate(b"x", timeout=10)
    assert process.returncode == 6 and b"standard output" in err and b"standard input" not in err


def test_3_the_next_file_does_not_suffer_for_one_that_grew(box, start, file):
    path = file("log.txt", b"x" * 80_000)
    process = start("--limit-rate", "100k", "-p", "catbox", path, file("b.txt", b"quiet"))
    wait_for(lambda: box.uploads())
    with open(path, "ab") as log:
        log.write(b"more")
    out, err = process.communicate(timeout=10)
    assert (
        process.returncode == 3
        and out.decode().rstrip() in box.stored
        and b"asked again" not in err
    )


def test_2_a_wrong_option_is_shown_without_its_escape_sequences(run):
    ran = run("--\x1b[2Jx")
    assert ran.code == 2 and "\x1b" not in ran.err


def wait_for(ready, seconds=10):
    end = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


INTERRUPTED = {
    "while sending": [("stall", {"after": 1000})],
    "while waiting for an answer": [("silence", {})],
    "while pausing": [("status", {"status": 503, "retry_after": 60})],
}


@posix
@pytest.mark.parametrize("jobs", ["1", "3"])
@pytest.mark.parametrize("moment", INTERRUPTED)
def test_ctrl_c_ends_within_a_second_and_leaves_nothing(box, start, file, tmp_path, moment, jobs):
    ((fault, details),) = INTERRUPTED[moment]
    box.fault("catbox.moe", fault, when="upload", **details)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    files = [file("%s.bin" % n, b"x" * 100_000) for n in range(3)]
    with open(files[0], "rb") as stdin:
        process = start(
            "-p", "catbox", "-j", jobs, "-", *files, env={"TMPDIR": scratch}, stdin=stdin
        )
    wait_for(lambda: box.uploads())
    time.sleep(0.15)
    begun = time.monotonic()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=5)
    assert time.monotonic() - begun < SOON
    assert (process.returncode, out) == (-signal.SIGINT, b"")
    assert b"interrupted" in err and b"Traceback" not in err and b"Exception" not in err
    assert list(scratch.iterdir()) == []


AHEAD = {
    "Ctrl-C": (-signal.SIGINT, ()),
    "--fragile": (3, ("--fragile", "--timeout", "1", "--retry", "0")),
    "full": (-signal.SIGINT, ()),
}


@posix
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
@pytest.mark.parametrize("ends", AHEAD)
def test_a_link_ahead_of_its_turn_is_printed_however_the_run_ends(box, start, file, ends):
    """It is public: its owner must know it."""
    code, more = AHEAD[ends]
    box.fault("x0.at", "silence", when="upload")  # catbox takes no .exe
    with open("/dev/full" if ends == "full" else os.devnull, "wb") as full:
        pipe = {"stdout": full} if ends == "full" else {}
        files = [file("a.exe"), file("b.txt"), file("c.txt")]
        process = start("-j", "2", "-p", "catbox,x0at", *more, *files, **pipe)
        wait_for(
            lambda: (
                len([seen for seen in box.requests if not seen.upload and seen.status == 200]) == 2
            )
        )
        time.sleep(0.2)
        if ends != "--fragile":
            process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=10)
    report = err if ends == "full" else out
    assert (process.returncode, sorted(re.findall(r"https://\S+", report.decode()))) == (
        code,
        sorted(box.stored),
    )
    assert b"Exception" not in err and len(box.stored) == 2


# Which hosts, in which order ----------------------------------------------------------------------


def test_the_default_chain_is_walked_in_its_order(box, run, file):
    refuse_all(box, "uguu")
    ran = run(file())
    assert ran.code == 0 and ".uguu.se/" in ran.out
    assert asked(box) == [DOMAINS[name] for name in CHAIN]
    assert list(twat_fs.PROVIDERS_PREFERENCE) == CHAIN


def test_a_named_host_is_the_whole_chain(box, run, file):
    refuse_all(box)
    assert run(file(), "-p", "filebin").code == 1
    assert asked(box) == ["filebin.net"]


def test_named_hosts_are_asked_in_the_order_named_and_each_once(box, run, file):
    refuse_all(box)
    assert run(file(), "-p", "[uguu, catbox,uguu,uguu.se]").code == 1
    assert asked(box) == ["uguu.se", "catbox.moe"]


FALLBACK = {
    "x0at": ["x0at", "tmpfilelink", "tmpfilesorg", "filebin", "uguu", "catbox", "litterbox"],
    "uguu": ["uguu", *CHAIN[:-1]],
    "catbox": CHAIN,
    "quax": ["quax", *CHAIN],
    "filebin,litterbox": [
        "filebin",
        "litterbox",
        "x0at",
        "tmpfilelink",
        "tmpfilesorg",
        "uguu",
        "catbox",
    ],
}


@pytest.mark.parametrize("named", FALLBACK)
def test_fallback_goes_on_from_the_place_in_the_chain_and_round(box, run, file, named):
    refuse_all(box)
    box.fault("qu.ax", "status", status=403)
    assert run(file(), "-p", named, "--fallback").code == 1
    assert asked(box) == [DOMAINS[name] for name in FALLBACK[named]]


def test_fragile_stops_at_the_first_failure(box, run, file):
    box.fault("catbox.moe", "status", status=403)
    ran = run(file("a.txt"), file("b.txt"), "--fragile")
    assert (ran.code, ran.out) == (1, "")
    assert asked(box) == ["catbox.moe"]


def test_fragile_is_not_about_hosts_that_do_not_fit(box, run, file):
    assert run(file("a.exe"), "--fragile").code == 0
    assert asked(box) == ["x0.at"]


def test_a_host_that_failed_hard_is_not_asked_for_the_next_files(box, run, file):
    box.fault("catbox.moe", "status", status=403, body="banned")
    ran = run(*(file("%d.txt" % n) for n in range(5)))
    assert (ran.code, len(ran.urls)) == (0, 5)
    assert len(box.uploads("catbox.moe")) == 1 and len(box.uploads("litterbox.catbox.moe")) == 5


def test_when_the_only_host_failed_hard_each_file_says_so(box, run, file):
    box.fault("catbox.moe", "status", status=403, body="banned")
    ran = run("-p", "catbox", *(file("%d.txt" % n) for n in range(5)))
    assert (ran.code, ran.out, len(box.uploads())) == (1, "", 1)
    assert ran.err.count("banned") == 5 and ran.err.count("skipped (failed earlier)") == 4


@pytest.mark.parametrize("status", [413, 415])
def test_a_refusal_of_this_file_says_nothing_about_the_next(box, run, file, status):
    box.fault("catbox.moe", "status", status=status, times=1)
    ran = run(file("a.txt"), file("b.txt"), file("c.txt"))
    assert ran.code == 0 and len(box.uploads("catbox.moe")) == 3


# The environment ----------------------------------------------------------------------------------


def test_the_default_hosts_can_be_set(box, run, file, monkeypatch):
    monkeypatch.setenv("TWAT_FS_DEFAULT_PROVIDER", "[uguu,x0at]")
    refuse_all(box)
    assert run(file()).code == 1
    assert asked(box) == ["uguu.se", "x0.at"]
    assert run(file(), "-p", "filebin").code == 1
    assert asked(box)[2:] == ["filebin.net"], "the command line is stronger"


def test_hosts_may_be_named_by_several_options(run, file):
    ran = run(file(), "-p", "filebin", "--provider=x0at,uguu", "-p", "filebin", "--dry-run")
    assert ran.code == 0 and "would try: filebin, x0at, uguu\n" in ran.out


SETTINGS = {
    "TWAT_FS_DEFAULT_PROVIDER": ["nosuch", "file.io", "tmpfile", "x0at,nosuch"],
    "TWAT_FS_TIMEOUT": ["soon", "0", "-1", "nan", "²"],
    "HTTPS_PROXY": ["ftp://127.0.0.1:1"],
}


@pytest.mark.parametrize(
    "name, value", [(name, value) for name, values in SETTINGS.items() for value in values]
)
def test_a_wrong_setting_is_2_and_names_it(box, run, file, monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    ran = run(file())
    assert (ran.code, ran.out) == (2, "") and name in ran.err and not box.tunnels


@pytest.mark.parametrize(
    "args, code", [(["status", "transfersh"], 5), (["FILE", "--dry-run"], 5), (["FILE"], 5)]
)
def test_an_invalid_server_url_is_not_ready_and_its_setting_is_named(
    box, run, file, monkeypatch, args, code
):
    monkeypatch.setenv("TWAT_FS_TRANSFERSH_URL", "drop.example.org")
    ran = run(*(file() if word == "FILE" else word for word in args))
    assert (
        ran.code == code
        and "TWAT_FS_TRANSFERSH_URL: invalid server URL" in ran.out + ran.err
        and not box.tunnels
    )


def test_a_missing_certificate_file_is_named(run, file, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", "/nonexistent.pem")
    ran = run(file(), "-p", "catbox")
    assert ran.code == 1 and "SSL_CERT_FILE: no such file: /nonexistent.pem" in ran.err


def test_an_empty_setting_is_none(run, file, monkeypatch):
    for name in (
        "TWAT_FS_DEFAULT_PROVIDER",
        "TWAT_FS_TIMEOUT",
        "LITTERBOX_DEFAULT_EXPIRATION",
        "CATBOX_USERHASH",
    ):
        monkeypatch.setenv(name, "")
    assert run(file()).code == 0


@pytest.mark.parametrize("value, most", [("0.4", 2), ("1s", 3)])
def test_the_timeout_can_be_set(box, run, file, monkeypatch, value, most):
    monkeypatch.setenv("TWAT_FS_TIMEOUT", value)
    box.fault("catbox.moe", "silence", when="upload")
    begun = time.monotonic()
    ran = run(file(), "-p", "catbox", "--retry", "0")
    assert ran.code == 1 and "timed out" in ran.err
    assert time.monotonic() - begun < most


def test_litterbox_expiration_can_be_set(box, run, file, monkeypatch):
    monkeypatch.setenv("LITTERBOX_DEFAULT_EXPIRATION", "12h")
    assert run(file(), "-p", "litterbox").code == 0
    assert run(file(), "-p", "litterbox", "--expire", "1h").code == 0
    assert run(file(), "-p", "litterbox", "--keep", "1d").code == 0
    assert [seen.field("time") for seen in box.uploads()] == [b"12h", b"1h", b"24h"]


def test_a_wrong_litterbox_expiration_puts_it_out_and_no_other_host(box, run, file, monkeypatch):
    monkeypatch.setenv("LITTERBOX_DEFAULT_EXPIRATION", "5h")
    ran = run(file(), "-p", "litterbox")
    assert (
        (ran.code, ran.out) == (5, "")
        and "LITTERBOX_DEFAULT_EXPIRATION" in ran.err
        and "72h" in ran.err
    )
    assert run(file(), "-p", "litterbox,x0at").code == 0
    assert asked(box) == ["x0.at"]


# How long -----------------------------------------------------------------------------------------

WISHES = {
    "--expire 10m": ("tmpfilesorg", "expire", b"600"),
    "--expire 1h": ("litterbox", "time", b"1h"),
    "--expire 2h": ("tmpfilesorg", "expire", b"7200"),
    "--expire 1d12h": ("tmpfilesorg", "expire", b"129600"),
    "--expire 6d": ("filebin", None, None),
    "--expire 10h -p litterbox": ("litterbox", "time", b"12h"),
    "--expire 20h -p litterbox,tmpfilesorg": ("litterbox", "time", b"24h"),
    "--expire 2h -p uguu": ("uguu", None, None),
    "--expire 2h --keep 3h -p tmpfilesorg": None,
    "--expire 3d": ("litterbox", "time", b"72h"),
    "--expire 10m -p tmpfilesorg": ("tmpfilesorg", "expire", b"600"),
    "--expire 10m -p uguu,tmpfilesorg,litterbox": ("tmpfilesorg", "expire", b"600"),
    "--expire 36h -p tmpfilesorg": ("tmpfilesorg", "expire", b"129600"),
    "--keep 2h": ("catbox", "reqtype", b"fileupload"),
    "--keep 12h -p litterbox": ("litterbox", "time", b"72h"),
    "--keep 4d -p litterbox,x0at": ("x0at", "file", None),
    "--keep 36h -p tmpfilesorg": ("tmpfilesorg", "expire", b"129600"),
    "--keep 6h -p tmpfilesorg": ("tmpfilesorg", "expire", b"86400"),
    "--keep 1h --expire 12h": ("litterbox", "time", b"12h"),
}


@pytest.mark.parametrize("line", WISHES)
def test_a_wished_life_chooses_the_host_and_its_field(box, run, file, line):
    if not WISHES[line]:
        assert run(file(), *line.split()).code == 2 and not box.uploads()
        return
    provider, field, value = WISHES[line]
    assert run(file(), *line.split()).code == 0
    (seen,) = box.uploads()
    assert seen.host == DOMAINS[provider]
    assert value is None or seen.field(field) == value


def test_the_expiry_is_in_json(run, file):
    def ends(*args):
        return json.loads(run(file(), "--json", *args).out)["expires"]

    assert ends("-p", "quax") is None
    report = time.strptime(ends("-p", "litterbox", "--expire", "12h"), "%Y-%m-%dT%H:%M:%SZ")
    import calendar

    assert abs(calendar.timegm(report) - time.time() - 12 * 3600) < 60


@pytest.mark.parametrize(
    "args", [["-p", "bashupload", "--once"], ["-p", "senditsh"], ["-p", "senditsh", "--once"]]
)
def test_a_link_for_one_download_is_never_fetched(box, run, file, args):
    ran = run(file("once.txt"), *args)
    assert ran.code == 0 and "link not verified" in ran.err
    (stored,) = box.stored.values()
    assert stored.once and stored.hits == 0 and stored.url == ran.urls[0]
    assert len(box.requests) == 1


def test_without_once_bashupload_is_asked_for_many_downloads(box, run, file):
    assert run(file(), "-p", "bashupload").code == 0
    assert box.uploads()[0].header("X-Expiration-Seconds") == "86400"


# The dry run --------------------------------------------------------------------------------------


def test_a_dry_run_shows_hosts_and_reasons_and_sends_nothing(box, run, file):
    ran = run(file("setup.exe"), "--dry-run", "--keep", "12h")
    assert (ran.code, ran.err) == (0, "")
    first, *rest = ran.out.splitlines()
    assert re.findall(r"\b(?:%s)\b" % "|".join(CHAIN), first) == [
        "x0at",
        "tmpfilelink",
        "tmpfilesorg",
        "filebin",
    ]
    assert rest == ["  not catbox, litterbox, uguu: .exe files are blocked"], "equal reasons once"
    assert not box.tunnels and not LINK.search(ran.out)


def test_a_dry_run_in_json(box, run, file, tmp_path):
    ran = run(file("a.exe"), file("b.txt"), "--dry-run", "--json", "-p", "catbox,x0at")
    assert ran.code == 0
    first, second = map(json.loads, ran.urls)
    assert first["hosts"] == ["x0at"]
    assert first["skipped"] == [{"host": "catbox", "reason": ".exe files are blocked"}]
    assert (second["hosts"], second["skipped"]) == (["catbox", "x0at"], [])
    assert not box.tunnels


def test_a_dry_run_in_json_has_an_object_for_a_missing_file_too(run, file):
    ran = run("MISSING", file(), "--dry-run", "--json")
    first, second = map(json.loads, ran.urls)
    assert ran.code == 3 and (first["file"], first["hosts"], second["hosts"]) == (
        "MISSING",
        [],
        CHAIN,
    )
    assert "no such file" in first["error"] and set(second) <= set(first)


@pytest.mark.parametrize(
    "line, code", [("-p catbox -n a.exe", 5), ("--expire 52w", 5), ("", 0), ("MISSING", 3)]
)
def test_a_dry_run_has_the_code_of_the_real_one(box, run, file, line, code):
    assert run(file(), "--dry_run", *line.split()).code == code
    assert not box.tunnels


def test_a_dry_run_does_not_show_a_password(run, file):
    ran = run(file(), "--dry-run", "--json", "-p", "https://user:pa55word@drop.example.org/")
    assert ran.code == 0 and "drop.example.org" in ran.out and "pa55word" not in ran.out + ran.err


# JSON ---------------------------------------------------------------------------------------------


def test_json_has_exactly_these_keys(box, run, file):
    content = b"some bytes"
    ran = run(file("a.txt", content), "--json")
    report = json.loads(ran.out)
    assert ran.code == 0 and sorted(report) == sorted(KEYS)
    assert report["file"].endswith("a.txt") and report["url"] in box.stored
    expected = {
        "host": "catbox",
        "provider": "catbox",
        "size": 10,
        "sha256": sha256(content),
        "verified": "full",
    }
    assert {key: report[key] for key in expected} == expected
    assert (report["delete"], report["attempts"]) == (None, [])
    assert report["type"] == "text/plain"
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ", report["expires"])
    assert 0 < report["seconds"] < 10


def test_json_is_one_object_for_each_file_also_on_failure(box, run, file, tmp_path):
    ran = run("--json", file("a.txt"), tmp_path / "missing", file("empty", b""), file("b.txt"))
    report = [json.loads(line) for line in ran.urls]
    assert ran.code == 3
    assert [bool(t["url"]) for t in report] == [True, False, False, True]
    assert [sorted(set(t) - set(KEYS)) for t in report] == [[], ["error"], ["error"], []]
    assert [t["size"] for t in report] == [250, None, 0, 250]
    assert (
        report[1]["verified"] is None
        and report[1]["provider"] is None
        and "no such file" in report[1]["error"]
    )


def test_json_tells_the_attempts(box, run, file):
    box.fault("catbox.moe", "status", status=403, body="go \x1b[31maway")
    report = json.loads(run(file(), "--json").out)
    (attempt,) = report["attempts"]
    assert sorted(attempt) == ["error", "host", "phase", "provider", "seconds"]
    assert (attempt["provider"], attempt["phase"], report["provider"]) == (
        "catbox",
        "reply",
        "litterbox",
    )
    assert "go" in attempt["error"] and "\x1b" not in attempt["error"]


def test_json_has_the_attempts_also_when_all_failed(box, run, file):
    refuse_all(box)
    ran = run(file(), "--json")
    report = json.loads(ran.out)
    assert (
        ran.code == 1
        and report["url"] is None
        and [a["provider"] for a in report["attempts"]] == CHAIN
    )


def test_json_has_the_sha256_also_where_no_proof_needed_it(run, file):
    content = os.urandom(1000)
    for args in (["--no-check"], ["-p", "senditsh"]):
        report = json.loads(run(file("a.bin", content), "--json", *args).out)
        assert (report["sha256"], report["verified"]) == (sha256(content), "none")


@pytest.mark.parametrize(
    "provider, size, args, verified",
    [
        ("catbox", 1000, [], "full"),
        ("filebin", 1000, [], "host-hash"),
        ("catbox", 6_000_000, [], "sample"),
        ("catbox", 6_000_000, ["--verify", "full"], "full"),
        ("catbox", 1000, ["--no-check"], "none"),
        ("senditsh", 1000, [], "none"),
    ],
)
def test_json_says_how_the_link_was_proven(run, file, provider, size, args, verified):
    report = json.loads(run(file("a.bin", os.urandom(size)), "--json", "-p", provider, *args).out)
    assert report["verified"] == verified


def test_json_gives_a_delete_link(box, run, file):
    report = json.loads(run(file(), "--json", "-p", "https://drop.example.org/").out)
    assert (
        report["delete"].startswith(report["url"] + "/")
        and report["provider"] == "drop.example.org"
    )


# How much is said ---------------------------------------------------------------------------------


def test_quiet_says_nothing_but_errors(box, run, file):
    assert run(file(), "-q", "-p", "senditsh").err == ""
    box.fault("catbox.moe", "status", status=403)
    assert run(file(), "-q", "-p", "catbox,x0at").err == ""
    ran = run(file(), "-q", "-p", "catbox")
    assert ran.code == 1 and "403" in ran.err


def test_verbose_tells_each_step_and_what_the_proof_costs(box, run, file):
    box.fault("catbox.moe", "status", times=1, status=503, retry_after=0, body="so busy")
    ran = run(file(), "-v", "-p", "catbox")
    assert (ran.code, len(ran.urls)) == (0, 1)
    for part in (
        r"catbox: uploading 250 bytes",
        r"503.*so busy.*retrying in 0\.\d s",
        r"verified: full, in \d+\.\d\d s",
    ):
        assert re.search(part, ran.err), part


def test_what_a_host_says_reaches_the_terminal_only_escaped(box, run, file):
    box.fault("catbox.moe", "status", status=403, body="\x1b]0;ha\x07\r\u202eno\x00\x9b2J")
    for args in ([], ["-v"], ["--json"]):
        ran = run(file(), "-p", "catbox", *args)
        assert ran.code == 1 and not re.search(
            "[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", ran.out + ran.err
        )


def test_insecure_prints_a_warning(box, run, file, monkeypatch):
    monkeypatch.delenv("SSL_CERT_FILE")
    ran = run(file(), "-p", "catbox", "--retry", "0")
    assert ran.code == 1 and "--cacert" in ran.err
    ran = run(file(), "-p", "catbox", "--insecure", "-q")
    assert ran.code == 0 and "warning" in ran.err
    ran = run(file(), "-p", "catbox", "--cacert", box.ca)
    assert (ran.code, ran.err) == (0, "")


# The shape of a failure ---------------------------------------------------------------------------


def test_a_failure_has_a_line_for_each_host_with_phase_words_and_advice(box, run, file):
    box.fault("litterbox.catbox.moe", "early", status=413, body="limit 1 GB", after=10)
    box.fault("x0.at", "tls-unknown-ca")
    box.fault("uguu.se", "html", title="Welcome")
    box.fault("tmpfile.link", "dns")
    ran = run(
        file("report.txt", b"r" * 300_000),
        "-p",
        "litterbox,x0at,uguu,tmpfilelink,termbin",
        "--retry",
        "0",
    )
    assert (ran.code, ran.out) == (1, "")
    head, *lines = ran.err.splitlines()
    assert re.fullmatch(
        r"twat-fs: .*report\.txt: upload failed: no host accepted it \(4 tried\)", head
    )
    shapes = (
        r"  litterbox +\w+ +413 .*limit 1 GB.* {3}.*293\.0 KiB.*",
        r"  x0at +tls +.*certificate verification failed: .*"
        r" {3}use --cacert FILE, or set SSL_CERT_FILE",
        r'  uguu +reply +200 OK, but no link in the response: "Welcome"',
        r"  tmpfilelink +proxy +.*tmpfile\.link: 502.*",
        r"  termbin +file +file too large: 293\.0 KiB \(max 32 KiB\)",
    )
    assert len(lines) == len(shapes)
    for line, shape in zip(lines, shapes):
        assert re.fullmatch(shape, line), line


def test_hosts_that_share_a_line_stand_apart_from_the_phase(run, file):
    refusing = f"http://127.0.0.1:{closed_port()}/"
    ran = run(file("a.exe"), "-p", "catbox,uguu", "-p", refusing, "--retry", "0", "--proxy", "")
    shared, server = ran.err.splitlines()[1:]
    assert shared.startswith("  catbox, uguu ") and shared.endswith(
        "  file     .exe files are blocked"
    )
    assert re.fullmatch(r"  127\.0\.0\.1:\d+ +connect  127\.0\.0\.1: \w.+", server)
    assert shared.index("file") == server.index("connect")


def test_many_hosts_on_a_line_push_no_other_aside(box, run, file):
    box.fault("sendit.sh", "status", status=403)
    ran = run(file(), "--once", "-p", "catbox,litterbox,x0at,uguu,filebin,senditsh", "--retry", "0")
    many, one = ran.err.splitlines()[1:]
    assert "  catbox, litterbox, x0at, uguu, filebin  file     does not support --once" in many
    assert one.startswith("  senditsh     reply    403")


def test_no_network_is_recognised_and_serve_is_offered(box, run, file):
    box.fault("*", "dns")
    ran = run(file(), "--retry", "0")
    assert (ran.code, ran.out) == (1, "")
    assert "offline?" in ran.err and "twat-fs serve" in ran.err


def test_no_network_is_recognised_without_a_proxy(box, program, file):
    begun = time.monotonic()
    hosts = "https://a.invalid/,https://b.invalid/"  # RFC 2606: such names never exist
    no_proxy = {"HTTPS_PROXY": None, "HTTP_PROXY": None}
    ran = program(file(), "-p", hosts, "--connect-timeout", "5", env=no_proxy)
    assert (ran.returncode, ran.stdout) == (1, "")
    reason, hint = ran.stderr.splitlines()
    assert reason.endswith(": no network: none of the 2 hosts could be resolved")
    assert hint == f"  offline? `python3 {PROGRAM} serve FILE` shares it from this machine"
    assert time.monotonic() - begun < 15


def test_an_unreachable_proxy_is_reported_once(box, run, file):
    ran = run(file("a.txt"), "-x", "http://127.0.0.1:9", "--retry", "0")
    assert ran.code == 1 and len(ran.err.splitlines()) == 2 and "check --proxy" in ran.err


def test_one_unresolvable_host_is_not_a_missing_network(box, run, file):
    box.fault("catbox.moe", "dns")
    box.fault("x0.at", "status", status=403)
    ran = run(file(), "-p", "catbox,x0at", "--retry", "0")
    assert ran.code == 1 and "no network" not in ran.err


# Secrets ------------------------------------------------------------------------------------------

SECRET = "5ecretS4uce"


@pytest.mark.parametrize(
    "extra", [[], ["-v"], ["--json"], ["-v", "--json"], ["--dry-run"], ["-v", "-p", "catbox"]]
)
@pytest.mark.parametrize("good", [True, False])
def test_a_userhash_is_shown_nowhere(box, run, file, monkeypatch, extra, good):
    monkeypatch.setenv("CATBOX_USERHASH", SECRET)
    box.hosts["catbox.moe"].users = (SECRET,) if good else ()
    ran = run(file(), *extra)
    assert SECRET not in ran.out + ran.err
    assert "--dry-run" in extra or box.uploads()[0].field("userhash") == SECRET.encode()


@pytest.mark.parametrize("extra", [[], ["-v"], ["--json"], ["-v", "--json"], ["--once", "-v"]])
@pytest.mark.parametrize("good", [True, False])
def test_the_password_of_a_server_is_shown_nowhere(box, run, file, extra, good):
    box.hosts["drop.example.org"].auth = ("user", SECRET if good else "else")
    ran = run(file(), "-p", "https://user:%s@drop.example.org/" % SECRET, *extra)
    assert ran.code == (0 if good else 1)
    assert SECRET not in ran.out + ran.err and "user:" not in ran.out + ran.err


@pytest.mark.parametrize(
    "base",
    [
        "https://u:p/%s@h/",
        "https://u:p,%s@h/",
        "https://u:p@%s@h:x/",
        "https://u:%s@h:x/",
        "https://u:%s@",
    ],
)
def test_the_password_in_a_mistyped_address_is_not_repeated(box, run, file, base):
    ran = run(file(), "-p", base % SECRET)
    assert ran.code == 2 and SECRET not in ran.err and not box.tunnels


@pytest.mark.parametrize("good", [True, False])
def test_the_password_of_a_proxy_is_shown_nowhere(box, run, file, good):
    box.proxy_password = ("user", SECRET if good else "else")
    for extra in ([], ["-v"], ["--json"]):
        ran = run(
            file(), "-p", "catbox", "-x", box.proxy.replace("//", "//user:%s@" % SECRET), *extra
        )
        assert ran.code == (0 if good else 1) and SECRET not in ran.out + ran.err


def test_status_shows_no_secret(box, run, monkeypatch):
    box.hosts["drop.example.org"].auth = ("user", SECRET)
    monkeypatch.setenv("CATBOX_USERHASH", SECRET)
    monkeypatch.setenv("TWAT_FS_TRANSFERSH_URL", "https://user:%s@drop.example.org/" % SECRET)
    for args in (
        ["status"],
        ["status", "transfersh", "--online"],
        ["list"],
        ["status", "--json", "catbox"],
        ["-v", "--help"],
    ):
        ran = run(*args)
        assert ran.code == 0 and SECRET not in ran.out + ran.err


# The other commands -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "command", [["list"], ["upload_provider", "list"], ["upload-provider", "list"]]
)
def test_list_shows_every_host_with_its_facts(box, run, command):
    ran = run(*command)
    assert (ran.code, ran.err) == (0, "")
    for row in twat_fs.PROVIDERS:
        (line,) = [line for line in ran.out.splitlines() if line.startswith(row.id + " ")]
        assert row.note in line
    assert "200 MB" in ran.out and "forever" in ran.out and "TWAT_FS_TRANSFERSH_URL" in ran.out
    assert re.match("host +max size +expires +notes\n", ran.out)
    groups = [text.split() for text in re.split(r"\n\n", ran.out)[1:]]
    assert [argv[0] for argv in groups] == ["default", "opt-in", "your"]
    for argv, use in zip(groups, ("default", "opt-in", "own")):
        assert all((row.id in argv) == (row.use == use) for row in twat_fs.PROVIDERS)
    for row in twat_fs.PROVIDERS:
        ran = run(*command, row.id)
        assert row.domain in ran.out and row.evidence.checked in ran.out
    assert not box.tunnels and ran.out.isascii()


def test_list_in_json(run):
    ran = run("list", "--json")
    report = json.loads(ran.out)
    assert ran.code == 0 and [row["host"] for row in report] == [
        row.id for row in twat_fs.PROVIDERS
    ]
    rows = {row["host"]: row for row in report}
    assert (rows["catbox"]["max_bytes"], rows["s3"]["expires_choices"]) == (
        200_000_000,
        {"min": 60, "max": 604800},
    )
    assert rows["litterbox"]["expires_choices"] == [3600, 43200, 86400, 259200]
    assert (rows["litterbox"]["expires_seconds"], rows["quax"]["expires_known"]) == (259200, False)
    assert rows["transfersh"]["required_settings"] == ["TWAT_FS_TRANSFERSH_URL"]
    assert {row["use"] for row in report} == {"default", "opt-in", "your own"}
    assert all(
        row["verified_on"] > "2025" and row["domain"] and row["notes"] != "?" for row in report
    )


def test_status_without_a_name_contacts_no_host(box, run):
    ran = run("status")
    assert ran.code == 0 and not box.tunnels
    lines = [line.split("  ", 1) for line in ran.out.splitlines() if "  " in line]
    details = {name: rest.strip() for name, rest in lines}
    assert details.pop("host").startswith("status ")
    assert set(details) == set(DOMAINS)
    assert re.match("not configured +TWAT_FS_TRANSFERSH_URL is not set", details["transfersh"])
    assert re.fullmatch("disabled by its owner +keeps only the extension", details["www0x0"])
    assert details["tmpfilelink"] == "available" and "ready" not in ran.out


def test_a_host_that_was_set_up_is_configured(box, run, monkeypatch):
    monkeypatch.setenv("TWAT_FS_TRANSFERSH_URL", "https://drop.example.org/")
    assert re.match("transfersh +configured", run("status", "transfersh").out)
    assert not box.tunnels


def test_status_in_json_has_the_vocabulary_of_the_list(box, run):
    facts = {row["host"]: row for row in json.loads(run("list", "--json").out)}
    report = {row["host"]: row for row in map(json.loads, run("status", "--json").urls)}
    assert list(report) == list(facts)
    for name, row in report.items():
        assert facts[name].items() <= row.items()
        assert isinstance(row["success"], bool) and row["timing"] == {}
    argv = {name: (row["status"], row["reason"]) for name, row in report.items()}
    assert argv["catbox"] == ("available", "")
    assert argv["www0x0"] == ("disabled by its owner", "")
    assert argv["transfersh"] == ("not configured", "TWAT_FS_TRANSFERSH_URL is not set")


@pytest.mark.parametrize("command", [["status"], ["upload_provider", "status"]])
def test_status_of_one_host(box, run, command):
    ran = run(*command, "catbox")
    assert ran.code == 0 and re.match(r"catbox +available", ran.out)
    ran = run(*command, "transfersh")
    assert ran.code == 5 and "not configured  TWAT_FS_TRANSFERSH_URL is not set" in ran.out
    assert not box.tunnels


def test_status_online_is_a_timed_round_trip_with_a_hash_check(box, run):
    ran = run("status", "catbox", "--online")
    assert ran.code == 0
    assert re.search(r"verified: full.*upload \d+\.\d\d s +proof \d+\.\d\d s", ran.out)
    (stored,) = box.stored.values()
    assert stored.hits == 1 and stored.url in ran.out


def test_status_online_notices_wrong_bytes(box, run):
    box.fault("catbox.moe", "other", when="download")
    ran = run("status", "catbox", "--online", "--json")
    report = json.loads(ran.out)
    assert (ran.code, report["success"], report["status"]) == (1, False, "failed")
    assert "content differs" in report["reason"]


@pytest.mark.parametrize(
    "fault, more", [("status", {"status": 403}), ("dns", {}), ("tls-expired", {}), ("refuse", {})]
)
def test_status_online_of_a_host_that_does_not_work_is_not_0(box, run, fault, more):
    box.fault("x0.at", fault, **more)
    ran = run("status", "x0at", "--online", "--retry", "0")
    assert ran.code == 1 and re.match(r"x0at +failed +\w+: .", ran.out)


def test_status_online_of_all_asks_only_the_default_hosts(box, run):
    box.fault("uguu.se", "status", status=403)
    ran = run("status", "--online", "--json")
    report = {entry["host"]: entry for entry in map(json.loads, ran.urls)}
    assert ran.code == 0
    assert asked(box) == [DOMAINS[name] for name in CHAIN]
    assert [name for name in CHAIN if report[name]["success"]] == CHAIN[:-1]
    assert (report["catbox"]["status"], report["uguu"]["status"]) == ("works", "failed")
    assert (report["termbin"]["status"], report["fal"]["status"]) == ("not asked", "not configured")


def test_status_online_without_a_network_has_one_reason(box, run, monkeypatch):
    def offline(*args, **kwargs):
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.delenv("HTTPS_PROXY")
    monkeypatch.setattr(socket, "getaddrinfo", offline)
    ran = run("status", "--online", "--retry", "0")
    assert ran.code == 1
    assert re.findall("(?m)^(.*?) +failed", ran.out) == CHAIN
    assert "resolution" not in ran.out and " 0.0" not in ran.out
    reason, hint = ran.err.splitlines()
    assert reason == f"twat-fs: no network: none of the {len(CHAIN)} hosts could be resolved"
    assert hint == "  offline? `twat-fs serve FILE` shares it from this machine"
    (failed, *_) = map(json.loads, run("status", "--online", "--json", "--retry", "0").urls)
    assert failed["reason"].startswith("dns: catbox.moe: "), "JSON keeps each reason"


@pytest.mark.parametrize(
    "args",
    [["version"], ["--version"], ["-V"], ["upload", "--version"], ["list", "-V"], ["-q", "-V"]],
)
def test_version(run, args):
    ran = run(*args)
    assert (ran.code, ran.err) == (0, "")
    assert re.fullmatch(r"twat-fs 0\+unknown( \(git [\w.-]+\))?\n", ran.out), (
        "in a checkout, what git says of it"
    )


@pytest.mark.parametrize(
    "command",
    [
        [],
        ["upload"],
        ["list"],
        ["status"],
        ["serve"],
        ["version"],
        ["completion"],
        ["help"],
        ["upload_provider", "list"],
    ],
)
def test_help(box, run, command):
    ran = run(*command, "--help")
    assert (ran.code, ran.err) == (0, "") and "usage: twat-fs" in ran.out
    assert not box.tunnels
    assert max(map(len, ran.out.splitlines())) <= 80
    if len(command) < 2:
        assert run("help", *command).out == ran.out


def test_help_is_in_groups(program):
    text = program("--help").stdout
    titles = re.findall("(?m)^([A-Z].*):$", text)
    assert titles == ["Choosing hosts", "File", "Link", "Network", "Output"]
    groups = dict(zip(titles, re.split("(?m)^[A-Z].*:$", text)[1:]))
    for title, flag in zip(titles, ("--provider", "--name", "--expire", "--proxy", "--json")):
        assert [name for name in titles if re.search(rf"{flag}\b", groups[name])] == [title]
    assert text.count("(default ") >= 5
    for command in ("list", "status", "serve"):
        assert re.search("(?m)^Output:$", program(command, "--help").stdout)


@pytest.mark.parametrize("argv", ["help frob", "help list x", "help --frob"])
def test_help_for_what_is_not_a_command(run, argv):
    assert run(*argv.split()).code == 2


def test_help_suggests_a_command(run):
    ran = run("help", "statsu")
    assert ran.err == "twat-fs: unknown command 'statsu'\n  did you mean `twat-fs status`?\n"


def test_help_names_every_option_of_the_design(run):
    text = run("--help").out
    for option in (
        "-p --provider -n --name --remote-path --unique --force --fragile --fallback -e --expire"
        " --keep --once --no-check"
        " --verify --json -q -v --dry-run --retry --connect-timeout --timeout --max-time"
        " --limit-rate -x --proxy --cacert"
        " --insecure -j --no-progress"
    ).split():
        assert re.search(r"(?<![\w-])%s\b" % option, text), option


# Streams that are not there -----------------------------------------------------------------------


def shell(box, redirection, *args, env=None, cwd):
    """The program as a POSIX shell starts it, with a redirection."""
    line = 'exec "$@" ' + redirection
    argv = ["sh", "-c", line, "sh", sys.executable, str(PROGRAM), *map(str, args)]
    keywords = {"env": environment(box, env), "cwd": cwd, "stdin": subprocess.DEVNULL}
    return subprocess.run(argv, **keywords, capture_output=True, timeout=20, encoding="utf-8")


def no_trouble(err):
    return not re.search("Traceback|Exception|Error:", err)


@posix
def test_a_closed_stdout_is_reported_and_no_url_is_lost(box, file, tmp_path):
    ran = shell(box, ">&-", file(), cwd=tmp_path)
    assert ran.returncode not in (0, 120) and ran.stderr.strip() and no_trouble(ran.stderr)
    assert all(url in ran.stderr for url in box.stored), "what was uploaded is told"


@posix
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
@pytest.mark.parametrize("extra", [[], ["-q"], ["--json"]])
def test_a_full_disk_behind_stdout_does_not_lose_the_url(box, file, tmp_path, extra):
    ran = shell(box, ">/dev/full", file(), *extra, cwd=tmp_path)
    assert ran.returncode not in (0, 120) and no_trouble(ran.stderr)
    (url,) = box.stored
    assert url in ran.stderr


@posix
def test_a_reader_that_is_gone_does_not_lose_the_url(box, start, file):
    read, write = os.pipe()
    os.close(read)
    process = start(file(), stdout=write)
    os.close(write)
    err = process.communicate(timeout=10)[1].decode()
    assert process.returncode not in (0, 120) and no_trouble(err)
    (url,) = box.stored
    assert url in err


OUTPUTS = [
    "list",
    "list --json",
    "status",
    "version",
    "--version",
    "--help",
    "FILE --dry-run",
    "serve FILE",
]


@posix
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
@pytest.mark.parametrize("line", OUTPUTS)
def test_no_command_ends_in_a_traceback_when_its_output_cannot_be_written(
    box, file, tmp_path, line
):
    ran = shell(box, ">/dev/full", *line.replace("FILE", str(file())).split(), cwd=tmp_path)
    assert no_trouble(ran.stderr)
    assert line.startswith("--") or (ran.returncode not in (0, 120) and ran.stderr), (
        "argparse is silent about its own"
    )


@posix
@pytest.mark.parametrize("line", OUTPUTS[:-1])
def test_no_command_ends_in_a_traceback_when_stdout_is_closed(box, file, tmp_path, line):
    ran = shell(box, ">&-", *line.replace("FILE", str(file())).split(), cwd=tmp_path)
    assert no_trouble(ran.stderr)


@posix
def test_list_into_head_is_silent(box, start):
    read, write = os.pipe()
    os.close(read)
    process = start("list", stdout=write)
    os.close(write)
    assert process.communicate(timeout=10)[1] == b""


@posix
@pytest.mark.parametrize("redirection", ["2>&-", "2>/dev/full"])
def test_without_stderr_the_url_still_comes(box, file, tmp_path, redirection):
    for extra in ([], ["-v"]):
        ran = shell(box, redirection, file(), *extra, cwd=tmp_path)
        assert ran.returncode == 0 and ran.stdout.strip() in box.stored
    assert shell(box, redirection, tmp_path / "missing", cwd=tmp_path).returncode == 6


@posix
def test_without_any_stream_at_all(box, file, tmp_path):
    ran = shell(box, "<&- >&- 2>&-", "list", cwd=tmp_path)
    assert (ran.stdout, ran.stderr) == ("", "")
    ran = shell(box, "<&- 2>&-", file(), cwd=tmp_path)
    assert ran.returncode == 0 and ran.stdout.strip() in box.stored
    assert shell(box, "<&-", cwd=tmp_path).returncode == 2, "no file, and no standard input"


def test_one_server_that_is_down_says_nothing_of_the_network(program, file):
    ran = program("-p", "http://127.0.0.1:1/", file(), "--retry", "0")
    assert ran.returncode == 1 and "refused" in ran.stderr and "no network" not in ran.stderr


@pytest.mark.parametrize(
    "url, hint",
    [
        ("http://u:p#w@h:8", True), ("http://u:p/w@h", True), ("http://h:99999", False),
        ("http://", False),
    ],
)  # fmt: skip
def test_the_password_of_a_proxy_is_blamed_only_if_there_is_one(run, file, url, hint):
    ran = run("-x", url, file())
    assert ran.code == 2 and ("in its password write # as %23" in ran.err) == hint


def test_a_wrong_option_is_answered_in_two_lines(program, file):
    ran = program("--expires", "1h", file())
    assert ran.returncode == 2 and ran.stderr.splitlines() == [
        f"usage: python3 {PROGRAM} [OPTION]... [FILE]...",
        "twat-fs: unrecognized arguments: --expires; did you mean --expire?",
    ]


def test_the_commands_it_tells_us_to_type_work_when_typed(program, tmp_path, file):
    """A single file without the command twat-fs."""
    ran = program(tmp_path)
    assert f"| python3 {PROGRAM} - -n" in ran.stderr and "| twat-fs" not in ran.stderr
    assert f"`python3 {PROGRAM} list`?" in program("lits").stderr
    assert program("help").stdout == program("--help").stdout != ""


def test_one_reason_is_printed_once_for_all_unsuitable_hosts(program, file):
    ran = program(file("e.txt", b""))
    assert ran.returncode == 5 and ran.stderr.count("empty files are not accepted") == 1
    assert all(name in ran.stderr for name in CHAIN)


def test_one_host_of_the_list_is_shown_whole(program):
    ran = program("list", "litter")
    assert ran.returncode == 0 and ran.stdout.splitlines()[0] == "host      litterbox"
    several = program("list", "litter", "s3").stdout
    assert several == ran.stdout + "\n" + program("list", "s3").stdout
    rows = json.loads(program("list", "s3", "catbox", "--json").stdout)
    assert [row["host"] for row in rows] == ["s3", "catbox"]
    assert [row["host"] for row in json.loads(program("list", "litterbox", "--json").stdout)] == [
        "litterbox"
    ]


def test_a_server_without_tls_differs_from_a_dead_one(program, file):
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(
            http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler)
        )
        stack.callback(server.shutdown)
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        ran = program("-p", f"https://127.0.0.1:{server.server_port}/", file(), "--retry", "0")
    assert ran.returncode == 1 and "no TLS on this port" in ran.stderr and "http://" in ran.stderr


def test_a_file_of_certificates_that_holds_none_is_named(program, file, tmp_path):
    (tmp_path / "ca.pem").write_text("rubbish")
    ran = program("--cacert", tmp_path / "ca.pem", file())
    assert ran.returncode == 2 and "ca.pem: no certificates in PEM format" in ran.stderr


@pytest.mark.parametrize("bind", ["[::1]:9000", "127.0.0.1:80", "[::1]"])
def test_an_address_with_a_port_is_sent_to_port(program, bind):
    ran = program("serve", "--bind", bind)
    assert ran.returncode == 2 and "--port takes the port" in ran.stderr


def test_serve_says_that_standard_input_is_empty(program):
    ran = program("serve", "-", "--port", "0")
    assert (ran.returncode, ran.stdout) == (6, "") and "standard input is empty" in ran.stderr


@posix
@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "SIGQUIT"])
def test_whoever_ends_it_finds_nothing_left_behind(start, tmp_path, name):
    """A closed terminal (SIGHUP) and Ctrl-\\ (SIGQUIT) too.

    Long standard input is kept in a file, which must be deleted.
    """
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    process = start("-", env={"TMPDIR": str(scratch)}, stdin=subprocess.PIPE)
    process.stdin.write(bytes(twat_fs.IN_MEMORY) + b"begun\n")
    process.stdin.flush()
    wait_for(lambda: list(scratch.glob("twat-fs-*")))  # not a probe of tempfile's
    process.send_signal(getattr(signal, name))
    assert process.wait(10) == 128 + getattr(signal, name)
    assert not list(scratch.iterdir())


@posix
def test_verbose_says_how_long_it_is_kept_and_how_to_remove_it(run, file):
    ran = run("-v", "-p", "filebin", file("a.txt"))
    assert ran.code == 0 and re.search(
        r"a\.txt: 250 bytes on filebin; expires in 6 days \(20\d\d-\d\d-\d\d [\d:]+\); "
        r"verified by the host's SHA-256; delete with: curl -X DELETE (\S+)\n",
        ran.err,
    )
    ran = run("-v", "-p", "quax", file("a.txt"))
    assert ran.code == 0 and "on quax; expiry unknown; verified; cannot" in ran.err


def test_a_longer_expiry_than_requested_is_reported(run, file):
    ran = run("-e", "2h", "-p", "litterbox", file())
    sentence = "litterbox: link expires in 1 hour (closest available to 2 hours)\n"
    assert ran.code == 0 and re.fullmatch(rf"twat-fs: \S+: {re.escape(sentence)}", ran.err)
    assert run("-e", "12h", "-p", "litterbox", file()).err == ""
    order = "tmpfilesorg (2 hours), uguu (3 hours), litterbox (1 hour)\n"
    assert order in run("-e", "2h", "--dry-run", file()).out


def test_another_expiry_is_reported_before_the_upload(run, file, box):
    box.fault("litterbox.catbox.moe", "status", status=403)
    ran = run("-e", "10h", "-p", "litterbox", file())
    assert ran.code == 1 and "link expires in 12 hours (closest available to 10 h" in ran.err


def test_a_host_that_does_not_fit_names_the_closest_expiry(run, file, box):
    ran = run("-e", "4h", "-p", "litterbox", file())
    assert ran.code == 5 and not box.uploads()
    assert "closest expiry is 12 hours   use --expire 12h" in ran.err


def test_what_was_not_sent_because_another_file_was_not_proven_is_not_uploaded(run, file, box):
    box.fault("catbox.moe", "other", times=1, when="download")
    ran = run("-p", "catbox", file("a.txt"), file("b.txt"), "--json")
    assert (
        ran.code == 1
        and len(box.uploads()) == 1
        and "b.txt: upload failed: no host accepted it (1 tried)" in ran.err
    )


def test_a_bucket_without_keys_is_ready_only_if_the_machine_has_a_role(run, monkeypatch):
    monkeypatch.setenv("AWS_S3_BUCKET", "bucket")
    ran = run("status", "s3")
    assert (
        ran.code == 0
        and "configured  only if this machine has a role: AWS credentials not found; " in ran.out
    )
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    ran = run("status", "s3")
    assert (
        ran.code == 5
        and "not configured  AWS credentials not found; set AWS_ACCESS_KEY_ID and" in ran.out
    )
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    assert run("status", "s3").out.startswith("s3  configured  presigned links for ")


def test_standard_input_does_not_fill_the_disk(run, box, monkeypatch, tmp_path):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)  # where the standard library remembers it
    monkeypatch.setattr(twat_fs, "RESERVE", 1 << 60)
    ran = run("-", stdin=bytes(twat_fs.IN_MEMORY + 1))
    assert (ran.code, ran.out) == (
        6,
        "",
    ) and "the disk is nearly full\n  set TMPDIR to another folder" in ran.err
    assert str(tmp_path) in ran.err and not list(tmp_path.glob("twat-fs-*")) and not box.uploads()


@posix
def test_closed_stdin_named_as_file_is_a_local_problem(box, tmp_path):
    ran = shell(box, "<&-", "-", cwd=tmp_path)
    assert ran.returncode == 6 and no_trouble(ran.stderr)


# Ways to start it ---------------------------------------------------------------------------------


def test_without_a_home(box, program, file):
    no_history = {"TWAT_FS_HISTORY": "off"}  # it would be in the home of the user database
    ran = program(file(), env={"HOME": None, "USERPROFILE": None, **no_history})
    assert (ran.returncode, ran.stderr) == (0, "")


def test_the_file_alone_in_an_empty_folder(box, tmp_path):
    folder = tmp_path / "alone"
    folder.mkdir()
    shutil.copy(PROGRAM, folder)
    argv = [sys.executable, "-I", "-B", "twat_fs.py", "twat_fs.py"]
    ran = subprocess.run(
        argv,
        cwd=folder,
        env=environment(box, None),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=20,
    )
    assert (ran.returncode, ran.stderr) == (0, b"")
    assert box.stored[ran.stdout.decode().strip()].read() == PROGRAM.read_bytes()
    assert [path.name for path in folder.iterdir()] == ["twat_fs.py"]


def test_as_a_module(box, file, tmp_path):
    env = environment(box, {"PYTHONPATH": PROGRAM.parent})
    argv = [sys.executable, "-m", "twat_fs", str(file())]
    ran = subprocess.run(
        argv, cwd=tmp_path, env=env, stdin=subprocess.DEVNULL, capture_output=True, timeout=20
    )
    assert (ran.returncode, ran.stderr) == (0, b"") and ran.stdout.decode().strip() in box.stored


PLUGIN = "import sys, twat_fs; sys.argv[0] = 'twat.fs'; twat_fs.main(); print('goes on')"


@pytest.mark.parametrize("thread", [False, True])
def test_as_a_plugin_it_takes_its_words_from_argv(box, file, tmp_path, thread):
    """It exits with its own code, because twat drops return values."""
    code = PLUGIN
    if thread:
        code = f"import threading; threading.Thread(target=exec, args=({PLUGIN!r},)).start()"
    env = environment(box, {"PYTHONPATH": PROGRAM.parent})
    for word, expected in ((file(), 0), ("nofile", 6)):
        ran = subprocess.run(
            [sys.executable, "-c", code, word],
            cwd=tmp_path,
            env=env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=20,
        )
        assert ran.returncode == (0 if thread else expected) and no_trouble(ran.stderr.decode())
        assert (ran.stdout.decode().strip() in box.stored) == (expected == 0)


@posix
@pytest.mark.parametrize("number, code", [(signal.SIGINT, -signal.SIGINT), (signal.SIGTERM, 143)])
def test_a_plugin_that_is_ended_leaves_nothing_behind(box, tmp_path, number, code):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    process = subprocess.Popen(
        [sys.executable, "-c", PLUGIN, "-"],
        cwd=tmp_path,
        env=environment(box, {"PYTHONPATH": PROGRAM.parent, "TMPDIR": scratch}),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    with process:
        process.stdin.write(bytes(twat_fs.IN_MEMORY) + b"begun\n")
        process.stdin.flush()
        wait_for(lambda: list(scratch.glob("twat-fs-*")))
        process.send_signal(number)
        assert (process.wait(10), process.stdout.read()) == (code, b"")
    assert not list(scratch.iterdir())


def test_main_may_be_called_again_and_from_a_thread(run, file, online_box, capsys):
    codes = []
    thread = threading.Thread(target=lambda: codes.append(twat_fs.main([str(file())])))
    thread.start()
    thread.join(10)
    assert codes == [0] and run(file()).code == 0


@posix
@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
@pytest.mark.parametrize(
    "line, code", [("-v", 0), ("--json --dry-run", 0), ("--dry-run", 0), ("-p catbox -n ж.exe", 5)]
)
def test_an_odd_name_does_not_break_a_narrow_code_page(box, program, file, encoding, line, code):
    ran = program(file("ж😀\u202e.txt"), *line.split(), env={"PYTHONIOENCODING": encoding})
    assert ran.returncode == code and no_trouble(ran.stderr)


@posix
def test_a_host_that_speaks_another_language_does_not_break_a_narrow_code_page(box, program):
    box.fault("catbox.moe", "status", status=403, body="нет 😀")
    ran = program("status", "catbox", "--online", env={"PYTHONIOENCODING": "ascii"})
    assert ran.returncode == 1 and no_trouble(ran.stderr) and "403" in ran.stdout


@pytest.mark.skipif(sys.platform != "linux", reason="other systems keep such names from existing")
def test_a_name_that_is_not_utf8(box, start, tmp_path):
    path = os.fsencode(tmp_path) + b"/a\xff\xfe.txt"
    with open(path, "wb") as odd:
        odd.write(b"odd")
    old = {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "LC_ALL": "C"}
    for args, env in (("-v", {}), ("--json", {}), ("-v", old), ("--dry-run", old)):
        process = start(path, args, env=env)
        err = process.communicate(timeout=20)[1]
        assert process.returncode == 0 and no_trouble(err.decode("utf-8", "replace"))
    assert {stored.read() for stored in box.stored.values()} == {b"odd"}
