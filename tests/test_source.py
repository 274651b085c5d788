"""Local files: not a file, changed during the upload, and names with control characters."""

from __future__ import annotations

import glob
import io
import json
import os
import re
import shlex
import socket
import subprocess
import sys
import tarfile
import threading
import zipfile
from urllib.parse import unquote, urlsplit

import pytest
from conftest import command, environment
from internet.loopback import Keeper, Server, Talk, until

import twat_fs

DROP = "https://drop.example.org/"
PLAIN = "http://drop.example.org/"
MIB = 1 << 20
posix = pytest.mark.skipif(os.name == "nt", reason="Windows has no such files")


def assert_local(done, box, *args):
    """Exit 6, no URL, nothing sent, and a sentence with these words."""
    assert (done.code, done.out, box.tunnels) == (6, "", [])
    assert [word for word in args if word not in done.err] == [] and done.err.startswith(
        "twat-fs: "
    )


# What is no file ----------------------------------------------------------------------------------


def test_a_file_that_is_missing(main, box, tmp_path):
    assert_local(main(tmp_path / "nothing.txt"), box, "nothing.txt", "no such file")


def test_a_path_through_a_file(main, box, tmp_path):
    (tmp_path / "file").write_bytes(b"x")
    assert_local(
        main(tmp_path / "file" / "inside"),
        box,
        "inside",
        "no such file" if os.name == "nt" else "not a directory",
    )


@posix
def test_a_file_that_we_may_not_read(program, box, tmp_path):
    """root, who may read everything, gives up that right first."""
    path = tmp_path / "secret.txt"
    path.write_bytes(b"x")
    path.chmod(0)
    done = program(
        path,
        before=["setpriv", "--bounding-set", "-dac_override,-dac_read_search"]
        if os.geteuid() == 0
        else [],
    )
    assert (done.returncode, done.stdout, box.tunnels) == (6, "", [])
    assert done.stderr == f"twat-fs: {path}: permission denied\n"


@pytest.mark.parametrize("form", ["{}", "{}/", "{}/."])
def test_a_folder_names_the_way_out(main, box, tmp_path, form):
    folder = tmp_path / "holiday"
    folder.mkdir()
    done = main(form.format(folder))
    assert_local(done, box, "is a directory", "tar cf - ", "| twat-fs - -n holiday.tar")
    assert done.err.splitlines()[1].startswith("  twat-fs -z ")


@pytest.mark.parametrize("make", [os.mkdir, pytest.param(getattr(os, "mkfifo", None), marks=posix)])
def test_the_way_out_also_works_for_a_name_with_a_dash(main, box, tmp_path, monkeypatch, make):
    monkeypatch.chdir(tmp_path)
    make("-d")
    assert_local(main("--", "-d"), box, " ./-d | twat-fs - -n d")


def test_an_empty_name_is_seen(main, box):
    assert_local(main(""), box, "'': no such file")


def test_this_folder_and_the_one_above(main, box, tmp_path, monkeypatch):
    folder = tmp_path / "holiday"
    folder.mkdir()
    monkeypatch.chdir(folder)
    assert_local(main("."), box, "tar cf - . |", "holiday.tar")
    assert_local(main(".."), box, "tar cf - .. |", tmp_path.name + ".tar")
    assert_local(main("/"), box, "is a directory", "tar cf - / |")


@posix
def test_a_pipe_is_not_opened(program, box, tmp_path):
    """Opening one would wait forever."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    done = program(pipe, timeout=20)
    assert (done.returncode, done.stdout, box.tunnels) == (6, "", [])
    assert "is a pipe" in done.stderr and "twat_fs.py - -n pipe" in done.stderr


@posix
@pytest.mark.parametrize("device", ["/dev/zero", "/dev/null", "/dev/random", "/dev/tty"])
def test_a_device_is_not_read(main, box, device):
    if os.path.exists(device):
        done = main(device)
        assert_local(done, box, device, "device")
        assert "cat " not in done.err, "it never ends, or is empty"


@posix
def test_a_socket_is_rejected(main, box, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # the path of a socket must be short
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind("door")
        done = main("door")
        assert_local(done, box, "door", "socket")
        assert "cat " not in done.err


@posix
def test_links_lead_to_their_file_or_nowhere(main, box, tmp_path):
    real = tmp_path / "real.txt"
    real.write_bytes(b"hello\n")
    for name, target in (
        ("good.txt", real),
        ("dangling.txt", tmp_path / "gone"),
        ("round.txt", tmp_path / "round.txt"),
    ):
        (tmp_path / name).symlink_to(target)
    assert_local(main(tmp_path / "dangling.txt"), box, "dangling.txt", "no such file")
    assert_local(main(tmp_path / "round.txt"), box, "round.txt", "symbolic links")
    done = main("-p", "catbox", tmp_path / "good.txt")
    assert done.code == 0 and box.stored[done.links[0]].name == "good.txt"


def test_a_nul_in_a_path(box):
    with pytest.raises(twat_fs.Unreadable, match="null"):
        twat_fs.upload_file("a\0b")


@pytest.mark.parametrize("path", ["", "x" * 5000])
def test_paths_that_cannot_be(main, box, path):
    assert_local(main(path), box)


def test_one_missing_file_does_not_keep_the_others(main, box, tmp_path):
    (tmp_path / "a.txt").write_bytes(b"a")
    done = main(tmp_path / "a.txt", tmp_path / "nothing.txt", tmp_path / "a.txt")
    assert (done.code, len(done.links)) == (3, 2) and "nothing.txt" in done.err
    assert main(tmp_path / "nothing.txt", tmp_path / "nor this").code == 6


def test_a_missing_file_is_a_line_of_json_too(main, box, tmp_path):
    done = main("--json", tmp_path / "nothing.txt")
    result = json.loads(done.out)
    assert done.code == 6 and result["url"] is None and "no such file" in result["error"]


@posix
def test_a_file_of_the_system_that_says_it_is_empty_names_the_way_out(main, box):
    """/proc/self/status has 0 bytes by stat: "empty files are not accepted" would be wrong."""
    if not os.path.exists("/proc/self/status"):
        pytest.skip("no /proc here")
    done = main("/proc/self/status")
    assert_local(
        done,
        box,
        "is generated by the system",
        "cat /proc/self/status | twat-fs - -n status",
    )


# Hints that are typed -----------------------------------------------------------------------------


@pytest.fixture
def typed(program, box, tmp_path):
    """Run the program and the command of its hint; returns the file that the box has received."""

    def run(*args, choice=0, **more):
        done = program(*args, **more)
        assert (done.returncode, done.stdout) == (6, "")
        command = done.stderr.splitlines()[1].strip().split("   or: ")[choice]
        again = subprocess.run(
            ["sh", "-c", command + " -p x0at"],
            env={**environment(box, None), "PATH": f"{tmp_path}/bin:{os.environ['PATH']}"},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=30,
        )
        assert again.returncode == 0, again.stderr
        return box.stored[again.stdout.strip()]

    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python3").symlink_to(sys.executable)
    return run


ODD_NAMES = [
    "it's $HOME & more",
    "a  b",
    "-n",
    "*",
    "d" * 255,
    "~",
    "日本",
    "a;b",
    "x" * 120 + "/" + "y" * 120,
]


@posix
@pytest.mark.parametrize("name", ODD_NAMES)
def test_the_hint_for_a_folder_works_when_it_is_typed(typed, tmp_path, name):
    """The command names the whole path, and the archive is never empty."""
    folder = tmp_path / name
    folder.mkdir(parents=True)
    (folder / "inside.txt").write_bytes(b"words")
    stored = typed("--", name)
    with zipfile.ZipFile(io.BytesIO(stored.read())) as archive:
        (inside,) = archive.namelist()
        assert archive.read(inside) == b"words"
    stored = typed("--", name, choice=1)
    with tarfile.open(fileobj=io.BytesIO(stored.read())) as archive:
        (inside,) = [file for file in archive if file.isfile()]
        assert archive.extractfile(inside).read() == b"words"


@posix
@pytest.mark.parametrize("end", ["", "/"])
def test_the_archive_of_a_linked_folder_is_not_empty(typed, tmp_path, end):
    (tmp_path / "a folder").mkdir()
    (tmp_path / "a folder" / "inside.txt").write_bytes(b"words")
    (tmp_path / "link").symlink_to("a folder")
    with zipfile.ZipFile(io.BytesIO(typed("link" + end).read())) as archive:
        assert archive.namelist() == ["link/inside.txt"]
    with tarfile.open(fileobj=io.BytesIO(typed("link" + end, choice=1).read())) as archive:
        assert [file.size for file in archive if file.isfile()] == [5]


@posix
@pytest.mark.parametrize("name", ["a\nb", "a\x1b[2J", "a\u202eb"])
def test_no_command_for_a_path_that_cannot_be_typed(main, box, tmp_path, name):
    (tmp_path / name).mkdir()
    done = main(tmp_path / name)
    assert_local(done, box, "is a directory")
    assert len(done.err.splitlines()) == 1


@posix
def test_no_command_for_what_only_another_process_has(box, tmp_path):
    """bash has closed the pipe of <(...) when a hint could be typed."""
    args = f"{shlex.join(command([]))} <(echo words)"
    done = subprocess.run(
        ["bash", "-c", args],
        env=environment(box, None),
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == 6 and "is a pipe" in done.stderr and "cat " not in done.stderr
    assert "COMMAND | python3 " in done.stderr
    assert not box.tunnels


@posix
def test_a_folder_that_we_may_not_read_is_not_archived(program, box, tmp_path):
    (tmp_path / "private").mkdir(mode=0)
    before = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search"]
    done = program(tmp_path / "private", before=before if os.geteuid() == 0 else [])
    assert (done.returncode, done.stdout, box.tunnels) == (6, "", [])
    assert done.stderr == f"twat-fs: {tmp_path / 'private'}: permission denied\n"


@posix
def test_a_file_of_sys_gets_the_hint_of_proc(typed):
    """It says 4096 bytes, and gives fewer."""
    path = "/sys/kernel/mm/transparent_hugepage/enabled"
    if not os.path.exists(path):
        path = next(iter(glob.glob("/sys/class/net/*/mtu") + glob.glob("/sys/*/*/*/uevent")))
    with open(path, "rb") as file:
        assert typed("-p", "catbox", path).read() == file.read()


def test_a_log_that_grows_gets_the_hint_of_proc(start, box, tmp_path):
    path = tmp_path / "a log.txt"
    path.write_bytes(b"x" * 80_000)
    process = start("--limit-rate", "100k", "-p", "catbox", path)
    until(box.uploads)
    with open(path, "ab") as log:
        log.write(b"more")
    err = process.communicate(timeout=20)[1].decode()
    assert process.returncode == 6 and f"cat '{path}' | python3 " in err and "-n 'a log.txt'" in err


# Files that change --------------------------------------------------------------------------------


def shrink(path):
    os.truncate(path, 100_000)


def shrink_to_nothing(path):
    os.truncate(path, 0)


def grow(path):
    with open(path, "ab") as file:
        file.write(b"more")


def touch(path):
    os.utime(path, (1, 1))


def write_inside(path):
    with open(path, "r+b") as file:
        file.seek(7 * MIB)
        file.write(b"other")


def write_and_hide(path):
    """The same size and the same time, but another file."""
    stat_result = os.stat(path)
    other = str(path) + ".new"
    with open(other, "wb") as file:
        file.truncate(stat_result.st_size)
    os.utime(other, ns=(stat_result.st_atime_ns, stat_result.st_mtime_ns))
    os.replace(other, path)


# A file that is replaced under its name is not what we have open: what we send is whole, and what
# was meant.
CHANGES = [shrink, shrink_to_nothing, grow, touch, write_inside]


@pytest.fixture
def large(tmp_path):
    path = tmp_path / "large.bin"
    with open(path, "wb") as file:
        file.truncate(24 * MIB)
    return path


class Waits(Keeper):
    """Read the beginning of the body, and the rest when it is released."""

    def __init__(self):
        super().__init__()
        self.begun, self.go_on = threading.Event(), threading.Event()

    def __call__(self, talk: Talk):
        arrived = talk.head()
        talk.body(arrived, most=100_000)
        self.begun.set()
        self.go_on.wait(20)
        talk.body(arrived)
        self.put(talk, arrived)


def in_the_middle(waits, act):
    """Do this while the file is being sent."""

    def work():
        waits.begun.wait(20)
        try:
            act()
        finally:
            waits.go_on.set()

    thread = threading.Thread(target=work)
    thread.start()
    return thread


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("way", ["plain", "hashed", "tls"])
def test_a_file_that_changes_while_it_is_sent(main, box, large, way, change):
    waits = Waits()
    context = box.notary.context("localhost") if way == "tls" else None
    with Server(waits, context=context, buffer=64 << 10) as server:
        thread = in_the_middle(waits, lambda: change(large))
        more = ["--verify", "full"] if way == "hashed" else []
        done = main("-p", server.url, "--fallback", "-v", *more, large)
        thread.join()
    assert (done.code, done.out) == (6, "") and "large.bin: " in done.err
    assert "changed while" in done.err or "became shorter" in done.err
    assert len(server.puts()) == 1 and not box.tunnels  # neither again nor to another host


@pytest.mark.parametrize(
    "change", [grow, touch, pytest.param(write_and_hide, marks=posix)]
)  # Windows: by size and time alone
@pytest.mark.parametrize("url", [DROP, PLAIN])
def test_a_file_that_changes_between_two_tries(main, box, tmp_path, clean_env, url, change):
    path = tmp_path / "small.bin"
    path.write_bytes(bytes(5000))
    box.fault("drop.example.org", "status", times=1)
    thread = threading.Thread(target=lambda: (until(lambda: box.uploads()), change(path)))
    thread.start()
    done = main("-p", url, "--fallback", path)
    thread.join()
    assert (done.code, done.out) == (6, "") and "changed" in done.err and not box.stored


@posix
def test_a_file_that_is_replaced_while_it_is_sent_goes_as_it_was(main, box, large):
    waits = Waits()
    with Server(waits, buffer=64 << 10) as server:
        thread = in_the_middle(waits, lambda: write_and_hide(large))
        done = main("-p", server.url, "--no-check", large)
        thread.join()
    assert (done.code, server.puts()[0].length) == (0, 24 * MIB)


def test_a_file_that_vanishes_before_it_is_sent(main, box, tmp_path):
    first, second = tmp_path / "1.bin", tmp_path / "2.bin"
    first.write_bytes(b"1"), second.write_bytes(b"2")
    box.fault("drop.example.org", "slow", times=1, delay=0.3, when="upload")
    thread = threading.Thread(target=lambda: (until(lambda: box.uploads()), second.unlink()))
    thread.start()
    done = main("-p", DROP, first, second)
    thread.join()
    assert (done.code, len(done.links)) == (
        3,
        1,
    ) and "2.bin: no longer readable: no such file" in done.err


def test_python_callers_get_the_same_error(box, online_box, tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(bytes(5000))
    box.fault("drop.example.org", "status", times=1)
    thread = threading.Thread(target=lambda: (until(lambda: box.uploads()), grow(path)))
    thread.start()
    with pytest.raises(twat_fs.SourceChanged):
        twat_fs.upload_file(path, DROP)
    thread.join()


def test_a_file_that_is_written_all_the_time(main, box, tmp_path):
    """A log: we send what it was when we looked first, or nothing."""
    path = tmp_path / "busy.log"
    path.write_bytes(b"begun\n" * 100_000)
    over = threading.Event()

    def write():
        with open(path, "ab") as file:
            while not over.wait(0.001):
                file.write(b"another line\n")
                file.flush()

    thread = threading.Thread(target=write)
    thread.start()
    done = main("-p", DROP, path)
    over.set()
    thread.join()
    assert (done.code, done.out, len(box.stored)) == (6, "", 0) or (
        done.code == 0 and len(box.stored) == 1
    )


# Names --------------------------------------------------------------------------------------------

NAMES = {
    "newline.txt": "new\nline.txt",
    "return": "a\r\nX-Evil: 1\r\n\r\nb.txt",
    "quotes": "\"double\" 'single' \\back.txt",
    "bidi": "photo\u202egnp.exe.txt",
    "escape": "\x1b[2J\x1b]0;ha\x07.txt",
    "tab": "a\tb.txt",
    "delete": "a\x7fb.txt",
    "c1": "a\x85b\x9b31mc.txt",
    "zero width": "a\u200bb\ufeffc\u2066d.txt",
    "separators": "a\u2028b\u2029c.txt",
    "long": "x" * 251 + ".txt",
    "long and wide": "ü" * 125 + ".txt",
    "emoji": "👩\u200d🚀.txt",
    "spaces": "  a  b  .txt",
    "dots": "...txt",
    "percent": "%2e%2e%2f%00.txt",
    "url": "a?b=c#d&e;f.txt",
    "boundary": '--twat-fs-".txt',
    "not utf-8": b"caf\xe9\xff.txt",
    "half a letter": b"half\xc3.txt",
}


@pytest.fixture(params=NAMES)
def odd(request, tmp_path):
    path = os.path.join(os.fsencode(tmp_path), os.fsencode(NAMES[request.param]))
    try:
        with open(path, "wb") as file:
            file.write(b"some text\n")
    except (OSError, ValueError):
        pytest.skip("no file here can have this name")
    return os.fsdecode(path)


def is_harmless(text):
    return all(c.isprintable() or c == "\n" for c in text)


@pytest.mark.parametrize("host", ["catbox", "x0at", "filebin", DROP, PLAIN])
def test_an_odd_name_arrives_harmless(main, box, odd, host):
    """The box complains about each raw control character, separator, bad quote or split header."""
    done = main("-v", "-p", host, odd)
    assert done.code == 0 and len(done.links) == 1 and is_harmless(done.out + done.err)
    stored = box.stored[done.links[0]]
    unsafe = re.search(r"[\0-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff/]", stored.name)
    assert stored.read() == b"some text\n" and not unsafe
    assert (len(stored.name.encode()) <= 255 and stored.name.endswith(".txt")) or stored.name in (
        "file",
        "...txt",
    )
    assert not any(r.header("X-Evil") for r in box.requests)


def nobody_wants_it(box):
    for host in (
        "catbox.moe",
        "litterbox.catbox.moe",
        "x0.at",
        "tmpfile.link",
        "tmpfiles.org",
        "filebin.net",
        "uguu.se",
    ):
        box.fault(host, "status", status=403, body="no\n")


def assert_told(code, out, err, path):
    assert code == 1 and is_harmless(out) and is_harmless(err)
    name = json.loads(out)["file"]
    assert name == os.fsencode(path).decode("utf-8", "replace")


def test_an_odd_name_is_printed_safely(main, box, odd):
    nobody_wants_it(box)
    done = main("--json", "-v", odd)
    assert_told(done.code, done.out, done.err, odd)


@pytest.mark.parametrize("odd", ["return", "escape", "not utf-8"], indirect=True)
def test_an_odd_name_from_a_real_command_line_is_printed_safely(program, box, odd):
    nobody_wants_it(box)
    done = program("--json", "-v", odd)
    assert_told(done.returncode, done.stdout, done.stderr, odd)


def test_a_missing_file_with_an_odd_name(main, box):
    for name in NAMES.values():
        try:
            text = os.fsdecode(name)
        except UnicodeDecodeError:  # no such name comes on a command line of Windows
            continue
        done = main("--", text)
        assert done.code == 6 and is_harmless(done.err)


@pytest.mark.parametrize("name", ["-x", "--proxy", "-", "--", "-p", "list", "upload", "--help"])
def test_names_like_options_come_after_two_dashes(main, box, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_bytes(b"mine\n")
    done = main("-p", DROP, "--", name if name != "-" else "./-")
    assert done.code == 0 and box.stored[done.links[0]].read() == b"mine\n"
    assert unquote(urlsplit(done.links[0]).path).rpartition("/")[2] == name


def test_commands_are_files_when_they_say_so(main, box, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "list").write_bytes(b"mine\n")
    for args in (["./list", "-p", DROP], ["upload", "list", "-p", DROP], ["-p", DROP, "list"]):
        done = main(*args)
        assert done.code == 0 and box.stored[done.links[0]].read() == b"mine\n"


def test_the_name_of_a_link_or_of_the_wish_counts(main, box, tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(b"x")
    for wish, code in (
        ("b c.txt", 0),
        ("a/b", 2),
        ("a\nb", 2),
        ("a\0b", 2),
        ("", 2),
        (" ", 2),
        ("x" * 256, 2),
        ("..", 0),
        ("\u202e", 2),
    ):
        done = main("-p", DROP, "-n", wish, path)
        assert (wish, done.code) == (wish, code) and is_harmless(done.err)
    assert [stored.name for stored in box.stored.values()] == ["b c.txt", "file"]
