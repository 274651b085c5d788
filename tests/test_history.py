"""The history of uploads: what is written, where, and what is never written."""

from __future__ import annotations

import http.server
import json
import os
import stat
import threading

import pytest
from internet.loopback import caller

import twat_fs

posix = pytest.mark.skipif(os.name == "nt", reason="modes and links of POSIX")


class DeletingHost:
    """A server with one file, which a DELETE with status 200 removes unless it stays."""

    def __init__(self, status=200, stays=False):
        class Handler(http.server.BaseHTTPRequestHandler):
            gone = False

            def do_DELETE(self):
                Handler.gone = not stays
                self.end(status)

            def do_GET(self):
                self.end(404 if Handler.gone else 200)

            def end(self, code):
                self.send_response(code)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *arguments):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *error):
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def path(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "state"))
    return tmp_path / "state" / "twat-fs" / "history.jsonl"


@pytest.fixture
def main(online_box, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.txt").write_bytes(b"hello\n")
    return caller(capsys)


@posix
def test_an_upload_is_recorded_without_its_path(main, path, tmp_path):
    done = main("-p", "litterbox", tmp_path / "a.txt")
    (entry,) = map(json.loads, path.read_text().splitlines())
    assert entry["url"] == done.out.strip() and entry["name"] == "a.txt" and entry["size"] == 6
    assert str(tmp_path) not in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


@pytest.mark.parametrize("off", ["option", "variable"])
def test_the_history_can_be_off(main, path, monkeypatch, off):
    if off == "variable":
        monkeypatch.setenv("TWAT_FS_HISTORY", "off")
    more = ["--no-history"] if off == "option" else []
    assert main("-p", "litterbox", "a.txt", *more).code == 0
    assert not path.exists()


@posix
@pytest.mark.parametrize("planted", ["link", "fifo", "folder"])
def test_what_cannot_be_written_is_a_remark_with_v(main, path, tmp_path, planted):
    path.parent.mkdir(parents=True)
    victim = tmp_path / "victim"
    victim.write_text("mine")
    plant = {"link": lambda: path.symlink_to(victim), "fifo": lambda: os.mkfifo(path)}
    plant.get(planted, path.mkdir)()
    done = main("-v", "-p", "litterbox", "a.txt")
    assert done.code == 0 and "history not written" in done.err
    assert victim.read_text() == "mine"
    assert "history not written" not in main("-p", "litterbox", "a.txt").err


def test_queries_are_not_stored():
    source = twat_fs.Source("a", (), 0, 0.0)
    result = twat_fs.UploadResult("https://b.example/k?X-Amz-Signature=s", "s3", 0)
    (entry,) = twat_fs.history_entries(source, result)
    assert entry["url"] == "https://b.example/k"
    error = twat_fs.NotVerified("x")
    error.unverified = (twat_fs.Unverified("h", "https://h.example/x"),)
    (entry,) = twat_fs.history_entries(source, error)
    assert entry["unverified"]


def test_parallel_writers_lose_no_line(path):
    def write(number):
        for index in range(10):
            twat_fs.History(str(path)).add({"url": f"{number}/{index}"})

    threads = [threading.Thread(target=write, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(twat_fs.History(str(path)).entries()) == 200


def test_a_long_history_is_pruned(path, monkeypatch):
    monkeypatch.setattr(twat_fs, "HISTORY_SIZE", 1000)
    history = twat_fs.History(str(path))
    history.add({"url": "old", "expires": "2001-01-01T00:00:00Z"})
    for index in range(100):
        history.add({"url": str(index)})
    assert path.stat().st_size <= 1000
    urls = [entry["url"] for entry in history.entries()]
    assert urls[-1] == "99" and "old" not in urls


def test_history_shows_the_newest_first_and_forgets(main, path):
    main("-p", "litterbox", "-n", "one.txt", "a.txt")
    main("-p", "x0at", "-n", "two.txt", "a.txt")
    assert [entry["name"] for entry in json.loads(main("history", "--json").out)] == [
        "two.txt",
        "one.txt",
    ]
    assert "two.txt" in main("history", "1").out and "one.txt" not in main("history", "1").out
    assert main("history", "--clear").code == 0
    assert main("history").out == "" and not path.exists()


@pytest.mark.parametrize("wanted", ["last", "a.txt", "url"])
def test_delete_verifies_and_marks(capsys, tmp_path, monkeypatch, path, wanted):
    monkeypatch.chdir(tmp_path)
    main = caller(capsys)
    with DeletingHost() as host:
        url = host.url + "/a.txt"
        twat_fs.History(str(path)).add({"url": url, "name": "a.txt", "delete": url})
        assert main("delete", url if wanted == "url" else wanted).code == 0
        assert main("delete", "last").code == 5
    (entry,) = json.loads(main("history", "--json").out)
    assert entry["deleted"]


def test_a_host_that_still_serves_it_is_4_and_one_that_refuses_is_1(capsys, path):
    main = caller(capsys)
    for status, code in ((200, 4), (403, 1)):
        with DeletingHost(status, stays=True) as host:
            twat_fs.History(str(path)).add({"url": host.url + "/x", "delete": host.url + "/x"})
            assert main("delete", "last", "--retry", "0").code == code


def test_what_cannot_be_deleted_is_5(capsys, path):
    twat_fs.History(str(path)).add({"url": "https://h.example/x", "delete": None})
    assert caller(capsys)("delete", "last").code == 5
