"""The commands `history` and `delete`: what is recorded, what never is, and what deleting means.

Chapters: 1 What is recorded, 2 Secrets, 3 The file, 4 The command history, 5 Deleting at each host,
6 What deleting reports, 7 Delete pages, 8 Real servers.
"""

from __future__ import annotations

import functools
import http.server
import json
import os
import re
import signal
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from conftest import PROGRAM, command, environment
from internet.aws import KEY, SECRET
from internet.loopback import caller
from internet.loopback import until as wait_until

import twat_fs

posix = pytest.mark.skipif(os.name == "nt", reason="modes, links and limits of POSIX")
AWS = {
    "AWS_S3_BUCKET": "pictures",
    "AWS_ACCESS_KEY_ID": KEY,
    "AWS_SECRET_ACCESS_KEY": SECRET,
    "AWS_EC2_METADATA_DISABLED": "true",
}
PICTURES = "pictures.s3.us-east-1.amazonaws.com"


@pytest.fixture
def path(tmp_path, monkeypatch):
    """The history of this test."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "state"))
    return tmp_path / "state" / "twat-fs" / "history.jsonl"


@pytest.fixture
def main(online_box, capsys, tmp_path, monkeypatch, path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.txt").write_bytes(b"hello\n")
    return caller(capsys)


@pytest.fixture
def offline(capsys, tmp_path, monkeypatch, path):
    """Without the box, for servers on loopback."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.txt").write_bytes(b"hello\n")
    return caller(capsys)


def entry(url, **fields):
    """An entry, as an upload writes it."""
    base = {"time": "2026-11-28T00:00:00Z", "name": "a.txt", "size": 6, "provider": "h"}
    return {**base, "url": url, "delete": {"delete": url}, **fields}


def entries(path):
    return twat_fs.History(str(path)).entries()


def add(path, *uploads):
    for upload in uploads:
        twat_fs.History(str(path)).add(upload)


class DeletingHost:
    """A server with any file; statuses of DELETE, and of GET before and after it."""

    def __init__(self, delete=200, before=200, after=404):
        self.requests = []
        host = self

        class Handler(http.server.BaseHTTPRequestHandler):
            status = before

            def do_DELETE(self):
                host.requests.append(("DELETE", self.path))
                Handler.status = after
                self.end(delete)

            def do_GET(self):
                host.requests.append(("GET", self.path))
                if self.path.startswith("/page"):
                    Handler.status = after
                    return self.end(200)
                self.end(Handler.status)

            def end(self, code):
                body = b"refused /x/t0ken\n"
                self.send_response(code)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *arguments):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *error):
        self.server.shutdown()
        self.server.server_close()


# 1 What is recorded -------------------------------------------------------------------------------


def test_an_upload_is_recorded_without_its_path(main, path, tmp_path):
    done = main("-p", "litterbox", tmp_path / "a.txt")
    (upload,) = map(json.loads, path.read_text().splitlines())
    assert set(upload) == set(
        "time name size sha256 url provider expires delete unverified".split()
    )
    assert upload["url"] == done.out.strip() and upload["name"] == "a.txt" and upload["size"] == 6
    assert not upload["unverified"] and upload["expires"] > upload["time"]
    assert str(tmp_path) not in path.read_text()


@posix
def test_only_the_user_can_read_it(main, path):
    os.umask(os.umask(0o022))
    main("-p", "litterbox", "a.txt")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(Path(f"{path}.lock").stat().st_mode) == 0o600


@pytest.mark.parametrize("off", ["--no-history", "off", "OFF", "0", "no", os.devnull])
def test_it_can_be_off(main, path, monkeypatch, off):
    more = [off] if off.startswith("-") else []
    monkeypatch.setenv("TWAT_FS_HISTORY", "" if more else off)
    assert main("-v", "-p", "litterbox", "a.txt", *more).code == 0
    assert not path.exists() and not any(os.path.exists(f"{each}.lock") for each in (off, path))


@pytest.mark.parametrize("file", ["mine", "~/mine"])
def test_it_can_be_another_file(main, path, monkeypatch, tmp_path, file):
    monkeypatch.setenv("TWAT_FS_HISTORY", file)
    monkeypatch.setenv("USERPROFILE" if os.name == "nt" else "HOME", str(tmp_path))
    main("-p", "litterbox", "a.txt")
    assert not path.exists() and len(entries(tmp_path / "mine")) == 1


def test_the_python_api_writes_none(main, path):
    assert twat_fs.upload_file("a.txt", "litterbox")
    assert not path.exists()


def test_a_copy_that_is_not_verified_is_marked(main, path, online_box):
    online_box.fault("catbox.moe", "other", when="download")
    assert main("-p", "catbox,x0at", "a.txt").code == 0
    assert [(e["provider"], e["unverified"]) for e in entries(path)] == [
        ("catbox", True),
        ("x0at", False),
    ]
    assert "(unverified)" in main("history").out


@posix
def test_an_interrupted_upload_is_in_it_too(box, start, tmp_path, path):
    (tmp_path / "a.txt").write_bytes(b"hello\n")
    box.fault("catbox.moe", "stall", when="download")
    env = {"XDG_STATE_HOME": tmp_path / "state"}
    process = start("-p", "catbox", "a.txt", env=env)
    wait_until(lambda: [seen for seen in box.requests if seen.method == "GET"])
    process.send_signal(signal.SIGINT)
    process.wait(10)
    (upload,) = entries(path)
    assert upload["unverified"] and upload["url"] in box.stored


# 2 Secrets ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "query", ["X-Amz-Signature=s", "a=b&Signature=s", "X-Goog-Signature=s", "se=1&sig=s"]
)
def test_a_signature_is_not_stored(query):
    source = twat_fs.Source("a", (), 0, 0.0)
    result = twat_fs.UploadResult(f"https://b.example/k?{query}", "s3", 0)
    assert twat_fs.history_entry(source, result, ())["url"] == "https://b.example/k"


def test_a_query_that_is_part_of_the_link_stays():
    source = twat_fs.Source("a", (), 0, 0.0)
    result = twat_fs.UploadResult("https://b.example/k?rlkey=s&design=1", "dropbox", 0)
    assert twat_fs.history_entry(source, result, ())["url"] == result.url


def test_s3_stores_bucket_and_key_but_no_secret(main, path, monkeypatch, box):
    for name, value in AWS.items():
        monkeypatch.setenv(name, value)
    done = main("-p", "s3", "a.txt")
    (upload,) = entries(path)
    assert upload["delete"]["delete_with"] == {
        "AWS_S3_BUCKET": "pictures",
        "key": "a.txt",
        "endpoint": "",
    }
    assert "Signature" in done.out and upload["url"] == done.out.split("?")[0]
    assert "Signature" not in path.read_text() and SECRET not in path.read_text()


SXCU = {
    "RequestURL": "BASE/up",
    "Body": "MultipartFormData",
    "FileFormName": "file",
    "Headers": {"Authorization": "Bearer k1e2y3-secret"},
    "Arguments": {"short": "abcd", "kind": "file"},
    "URL": "BASE/file/{json:id}",
}


@pytest.mark.parametrize(
    "page, stored",
    [
        ("BASE/page/{json:id}", True),
        ("BASE/page?key={json:id}", True),
        ("BASE/page?key=k1e2y3-secret", False),
        ("BASE/page/k1e2y3-secret/{json:id}", False),
        ("BASE/page?key=abcd", False),
        ("BASE/page?key=", True),
        ("BASE/page/file?id=1", True),
    ],
)
def test_a_secret_of_a_sxcu_file_is_not_stored(offline, path, tmp_path, page, stored):
    with SxcuHost() as host:
        text = json.dumps({**SXCU, "DeletionURL": page}).replace("BASE", host.url)
        (tmp_path / "mine.sxcu").write_text(text)
        done = offline("--json", "-p", "./mine.sxcu", "a.txt")
    (upload,) = entries(path)
    assert done.code == 0 and upload["provider"] == "mine"
    assert bool(upload["delete"]) is stored
    assert json.loads(done.out)["deletable"] is stored
    assert ("secret of the .sxcu file, and is not shown" in done.err) is not stored
    written = path.read_text() + done.out + done.err
    assert "k1e2y3" not in written and "abcd" not in written


def test_a_secret_in_the_path_of_a_link_is_not_stored():
    source = twat_fs.Source("a", (), 0, 0.0)
    result = twat_fs.UploadResult("https://h.example/u/k1e2y3-secret/a", "mine", 0)
    assert (
        twat_fs.history_entry(source, result, ["k1e2y3-secret"])["url"] == "https://h.example/***"
    )


class SxcuHost(DeletingHost):
    """Receives a form, and returns JSON."""

    def __init__(self, **statuses):
        super().__init__(**statuses)
        host = self

        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            body = b'{"id": "i1"}'
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_GET(self):
            if self.path.startswith("/page"):
                host.deleted = True
                return self.end(200)
            if host.deleted:
                return self.end(404)
            self.send_response(200)
            self.send_header("Content-Length", "6")
            self.end_headers()
            self.wfile.write(b"hello\n")

        self.deleted = False
        self.server.RequestHandlerClass.do_POST = do_POST
        self.server.RequestHandlerClass.do_GET = do_GET


# 3 The file ---------------------------------------------------------------------------------------


@posix
@pytest.mark.parametrize("planted", ["link", "fifo", "folder"])
@pytest.mark.parametrize("what", ["", ".lock"])
def test_what_stands_in_its_place_stays_and_blocks_nothing(main, path, tmp_path, planted, what):
    path.parent.mkdir(parents=True)
    spot = Path(f"{path}{what}")
    victim = tmp_path / "victim"
    victim.write_text("mine")
    plant = {"link": lambda: spot.symlink_to(victim), "fifo": lambda: os.mkfifo(spot)}
    plant.get(planted, spot.mkdir)()
    done = main("-v", "-p", "litterbox", "a.txt")
    assert done.code == 0 and done.err.count("history not written") == 1
    assert victim.read_text() == "mine" and done.seconds < 4
    assert "history not written" not in main("-p", "litterbox", "a.txt").err
    if not what:
        shown = main("history")
        assert shown.code == 6 and str(path) in shown.err


WRITER = """import sys
sys.path.insert(0, {folder!r})
import twat_fs
for index in range(10):
    url = f"https://h.example/{{sys.argv[1]}}/{{index}}"
    twat_fs.History(sys.argv[2]).add(
        dict(time="t", name="n" * 200, size=1, provider="h", url=url, delete={{}})
    )
"""


@pytest.mark.parametrize("full", [False, True])
def test_20_writers_at_once_lose_no_line(path, full):
    """With `full` all of them want to shorten it."""
    if full:
        old = json.dumps(entry("https://h.example/old", expires="2001-01-01T00:00:00Z"))
        path.parent.mkdir(parents=True)
        path.write_text((old + "\n") * (twat_fs.MiB // len(old)))
    code = WRITER.format(folder=str(PROGRAM.parent))
    writers = [
        subprocess.Popen([sys.executable, "-c", code, str(number), str(path)])
        for number in range(20)
    ]
    assert [writer.wait(60) for writer in writers] == [0] * 20
    assert len(path.read_text().splitlines()) == 200 or full
    urls = [upload["url"] for upload in entries(path)]
    assert len(urls) == len(set(urls)) and (full or len(urls) == 200)
    if full:
        assert path.stat().st_size < twat_fs.MiB and "https://h.example/old" not in urls
    assert sorted(os.listdir(path.parent)) == ["history.jsonl", "history.jsonl.lock"]


def test_a_lock_that_is_held_does_not_stop_an_upload(main, path, monkeypatch):
    monkeypatch.setattr(twat_fs, "LOCK_TIME", 0.2)
    history = twat_fs.History(str(path))
    with history.locked():
        done = main("-v", "-p", "litterbox", "a.txt")
    assert done.code == 0 and "history not written" in done.err and not path.exists()


@posix
def test_a_full_disk_leaves_whole_lines(box, tmp_path, path):
    (tmp_path / "a.txt").write_bytes(b"hello\n")
    add(path, entry("https://h.example/1"))
    before = path.read_bytes()
    limit = len(before) + 50
    code = f"import resource, runpy, sys; resource.setrlimit(resource.RLIMIT_FSIZE, ({limit},) * 2)"
    code += f"; sys.argv[0] = {str(PROGRAM)!r}; runpy.run_path(sys.argv[0], run_name='__main__')"
    env = environment(box, {"XDG_STATE_HOME": tmp_path / "state"})
    argv = [sys.executable, "-c", code, "-v", "-p", "litterbox", "a.txt"]
    done = subprocess.run(argv, cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.returncode == 0 and "history not written: no space left" in done.stderr
    assert path.read_bytes() == before


def test_a_long_history_loses_expired_entries_and_the_oldest_half(path, monkeypatch):
    monkeypatch.setattr(twat_fs, "HISTORY_SIZE", 3000)
    add(path, entry("old", expires="2001-01-01T00:00:00Z"))
    add(path, *(entry(str(index)) for index in range(100)))
    assert path.stat().st_size <= 3000
    urls = [upload["url"] for upload in entries(path)]
    assert urls == [str(number) for number in range(100 - len(urls), 100)]


def test_a_deletion_survives_shortening(path, monkeypatch):
    add(path, *(entry(str(index)) for index in range(4)), {"url": "3", "deleted": "2026"})
    twat_fs.History(str(path)).prune()
    assert [(e["url"], e.get("deleted")) for e in entries(path)] == [("2", None), ("3", "2026")]


def test_damaged_lines_are_skipped(offline, path):
    add(path, entry("https://h.example/1"))
    damaged = [
        b"\xff\xfe", b"{", b"[]", b"3", b'{"time": 1}', b"[" * 2000,
        *(json.dumps(entry("u", **{name: {}})).encode() for name in ("time", "name", "size")),
        json.dumps(entry("u", expires=5)).encode(),
        *(json.dumps(entry("u", delete=each)).encode() for each in (5, {"x": "y"}, [])),
        *(json.dumps(entry("u", delete={"delete_with": each})).encode() for each in (5, {"a": 1})),
        *(json.dumps(entry("u", size=each)).encode() for each in (float("inf"), 10**400)),
        json.dumps({"url": "u", "deleted": "2026"}).encode(),
    ]  # fmt: skip
    with path.open("ab") as file:
        file.write(b"\n".join([*damaged, b'{"ti']))
    assert len(entries(path)) == 1
    add(path, entry("https://h.example/2"))
    assert [upload["url"][-1] for upload in entries(path)] == ["1", "2"]
    assert offline("history").code == 0
    twat_fs.History(str(path)).prune()


def test_a_line_has_at_most_4_kib(path):
    with pytest.raises(OSError, match="too long"):
        add(path, entry("https://h.example/" + "x" * 4096))


# 4 The command history ----------------------------------------------------------------------------


def test_history_shows_the_newest_first_and_forgets(main, path):
    main("-p", "litterbox", "-n", "one.txt", "a.txt")
    main("-p", "filebin", "-n", "two.txt", "a.txt")
    listed = json.loads(main("history", "--json").out)
    assert [(e["name"], e["deletable"], e["deleted"]) for e in listed] == [
        ("two.txt", True, None),
        ("one.txt", False, None),
    ]
    assert "two.txt" in main("history", "1").out and "one.txt" not in main("history", "1").out
    header, first, second = main("history").out.splitlines()
    assert header.split() == "time name size host expires deletable url".split()
    assert re.search(r" two\.txt +6 bytes +filebin +20\S+ \S+ +yes +https://filebin\.net/", first)
    assert re.search(r" one\.txt +6 bytes +litterbox +20\S+ \S+ +no +https://litter\.", second)
    assert main("history", "--clear").code == 0
    forgotten = main("history")
    assert (forgotten.out, forgotten.err) == ("", "twat-fs: the history is empty\n")
    assert not path.exists()


def test_tokens_are_not_shown(offline, path):
    deletion = {"delete_with": {"token": "t0ken"}}
    add(path, entry("https://0x0.st/a.txt", provider="www0x0", delete=deletion))
    assert "t0ken" not in offline("history").out + offline("history", "--json").out


def test_control_characters_are_escaped(offline, path):
    add(path, entry("https://h.example/\x1b[2J", name="a\x1b[31m\n.txt"))
    assert "\x1b" not in offline("history").out and len(offline("history").out.splitlines()) == 2


def test_history_off_says_so(offline, monkeypatch):
    monkeypatch.setenv("TWAT_FS_HISTORY", "off")
    assert "the history is off" in offline("history").err
    assert offline("delete", "last").code == 5


def test_a_number_is_expected(offline):
    assert offline("history", "x").code == 2


# 5 Deleting at each host --------------------------------------------------------------------------


HOSTS = {
    "filebin": {},
    "https://drop.example.org/": {},
    "transfersh": {"TWAT_FS_TRANSFERSH_URL": "https://drop.example.org/"},
    "www0x0": {},
    "catbox": {"CATBOX_USERHASH": "u5er"},
    "pixeldrain": {"PIXELDRAIN_KEY": "pd-key"},
    "storageto": {},
    "dropbox": {"DROPBOX_ACCESS_TOKEN": "sl.good"},
    "s3": AWS,
}
NEEDED = {
    "catbox": "CATBOX_USERHASH",
    "pixeldrain": "PIXELDRAIN_KEY",
    "dropbox": "DROPBOX_ACCESS_TOKEN",
    "s3": "AWS_SECRET_ACCESS_KEY",
}


@pytest.fixture
def uploaded(main, monkeypatch, online_box):
    """Upload to a host, and return the URL."""

    def upload(host, **more):
        for name, value in {**HOSTS[host], **more}.items():
            monkeypatch.setenv(name, value)
        if host == "www0x0":
            online_box.hosts["0x0.st"].open = True
        done = main("--json", "-p", host, "a.txt")
        result = json.loads(done.out)
        assert done.code == 0 and result["deletable"] and "delete_with" not in result
        return result["url"]

    return upload


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("wanted", ["url", "last"])
def test_deleting(main, uploaded, path, host, wanted):
    url = uploaded(host)
    done = main("delete", url if wanted == "url" else wanted)
    assert done.code == 0 and done.out == ""
    assert re.match(r"twat-fs: a\.txt: deleted at \S+ \(verified: 4(04|10)\)\n", done.err)
    (upload,) = json.loads(main("history", "--json").out)
    assert upload["deleted"] and not upload["deletable"]
    assert re.search("deleted +http", main("history").out)


@pytest.mark.parametrize("host", NEEDED)
def test_deleting_without_the_key_is_5(main, uploaded, monkeypatch, online_box, host):
    uploaded(host)
    monkeypatch.delenv(NEEDED[host])
    online_box.requests.clear()
    done = main("delete", "last")
    assert done.code == 5 and NEEDED[host].split("_")[0] in done.err
    assert not online_box.requests


@pytest.mark.parametrize("host", ["catbox", "litterbox", "x0at", "uguu"])
def test_what_cannot_be_deleted_is_5(main, online_box, host):
    result = json.loads(main("--json", "-p", host, "a.txt").out)
    assert result["deletable"] is False
    online_box.requests.clear()
    done = main("delete", "last")
    assert done.code == 5 and f"{host} cannot delete {result['url']}" in done.err
    assert not online_box.requests


def test_the_bucket_of_the_upload_is_used(main, uploaded, monkeypatch):
    uploaded("s3")
    monkeypatch.delenv("AWS_S3_BUCKET")
    assert main("delete", "last").code == 0


def test_another_endpoint_gets_no_request(main, uploaded, monkeypatch, online_box):
    uploaded("s3")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "https://minio.example.org")
    online_box.requests.clear()
    done = main("delete", "last")
    assert done.code == 5 and "uploaded to Amazon S3" in done.err and not online_box.requests


def test_a_bucket_with_versions_keeps_it(main, uploaded, online_box):
    uploaded("s3")
    online_box.hosts[PICTURES].versions = True
    done = main("delete", "last")
    assert done.code == 0 and "the bucket has versions, and keeps" in done.err


def test_a_key_that_may_not_list_cannot_verify(main, uploaded, online_box):
    """AWS responds with 403 about what is not there, unless the key may list the bucket."""
    uploaded("s3")
    online_box.hosts[PICTURES].allowed -= {"ListBucket"}
    done = main("delete", "last")
    assert done.code == 4 and "deleted, but not verified: 403" in done.err
    assert "Signature" not in done.err


def test_a_key_that_may_not_delete_is_refused(main, uploaded, online_box):
    uploaded("s3")
    online_box.hosts[PICTURES].allowed -= {"DeleteObject"}
    done = main("delete", "last")
    assert done.code == 1 and "s3:DeleteObject" in done.err and SECRET not in done.err


def test_a_file_that_is_not_in_the_dropbox_any_more_is_gone(main, uploaded, online_box):
    uploaded("dropbox")
    box = online_box.hosts["api.dropboxapi.com"]
    (stored,) = box.entries.values()
    stored.link.deleted = True
    box.entries.clear()
    done = main("delete", "last")
    assert done.code == 0 and "can restore" in done.err


def test_the_token_of_the_first_upload_deletes_the_second_one(main, uploaded, online_box):
    """0x0 issues a token only for new content."""
    first = uploaded("www0x0")
    assert main("-p", "www0x0", "-n", "b.txt", "a.txt").out.strip() == first
    assert main("delete", "last").code == 0


# 6 What deleting reports --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "statuses, code, message",
    [
        ((200, 200, 404), 0, "deleted at h (verified: 404)"),
        ((204, 200, 410), 0, "deleted at h (verified: 410)"),
        ((404, 404, 404), 0, "deleted at h (verified: 404)"),
        ((200, 200, 200), 4, "deleted, but http://127.0.0.1"),
        ((200, 200, 403), 4, "deleted, but not verified: 403"),
        ((200, 200, 500), 4, "deleted, but not verified: 500"),
        ((403, 200, 200), 1, "403 Forbidden"),
        ((401, 200, 200), 1, "401 Unauthorized"),
        ((405, 200, 200), 1, "405 Method Not Allowed"),
        ((503, 200, 200), 1, "503"),
    ],
)
def test_exit_codes(offline, path, statuses, code, message):
    with DeletingHost(*statuses) as host:
        deletion = {"delete": host.url + "/x/t0ken"}
        add(path, entry(host.url + "/x", delete=deletion))
        done = offline("delete", "last", "--retry", "0")
        assert (done.code, done.err.count(message)) == (code, 1), done.err
        assert "t0ken" not in done.err
    assert bool(entries(path)[0].get("deleted")) is (code == 0)


def test_twice_last_never_deletes_two_uploads(offline, path):
    with DeletingHost() as host:
        add(path, entry(host.url + "/1"), entry(host.url + "/2"))
        assert offline("delete", "last").code == 0
        done = offline("delete", "last")
        assert done.code == 5 and "already deleted" in done.err
        assert host.requests == [("DELETE", "/2"), ("GET", "/2")]


def test_a_name_means_the_newest(offline, path):
    with DeletingHost() as host:
        add(path, entry(host.url + "/1"), entry(host.url + "/2"), entry(host.url + "/3", name="b"))
        assert offline("delete", "a.txt").code == 0
        assert host.requests[0] == ("DELETE", "/2")
        assert offline("delete", "a.txt").code == 5
        assert offline("delete", host.url + "/1").code == 0


def test_a_query_that_was_not_stored_may_be_typed_or_not(offline, path):
    with DeletingHost() as host:
        add(path, entry(host.url + "/1"), entry(host.url + "/v?id=1"), entry(host.url + "/v?id=2"))
        assert offline("delete", host.url + "/v?id=1").code == 0
        assert host.requests[0] == ("DELETE", "/v?id=1")
        assert offline("delete", host.url + "/v?id=3").code == 5
        assert offline("delete", host.url + "/1?X-Amz-Signature=s").code == 0


def test_a_link_with_this_query_comes_before_one_without(offline, path):
    with DeletingHost() as host:
        add(path, entry(host.url + "/v?id=1"), entry(host.url + "/v"))
        assert offline("delete", host.url + "/v?id=1").code == 0
        assert host.requests[0] == ("DELETE", "/v?id=1")


def test_a_name_that_looks_like_an_option(offline, path):
    with DeletingHost() as host:
        add(path, entry(host.url + "/1", name="-v"))
        assert offline("delete", "--", "-v").code == 0


def test_some_of_several_is_3(offline, path):
    with DeletingHost() as host:
        add(path, entry(host.url + "/1"))
        done = offline("delete", host.url + "/1", "unknown.txt")
        assert done.code == 3 and "unknown.txt: not in the history" in done.err
        assert offline("delete", "x", "y").code == 5


def test_nothing_at_all(offline):
    assert offline("delete", "last").code == 5
    assert offline("delete").code == 2


def test_a_typed_signature_is_not_repeated(offline):
    done = offline("delete", "https://b.example/k?X-Amz-Signature=s1gn")
    assert done.code == 5 and "s1gn" not in done.err


@posix
def test_a_mark_that_cannot_be_written_is_a_warning(offline, path):
    with DeletingHost() as host:
        add(path, entry(host.url + "/x"))
        Path(f"{path}.lock").unlink()
        Path(f"{path}.lock").mkdir()
        done = offline("delete", "last")
    assert done.code == 0 and "warning: history not written" in done.err


def test_quiet(offline, path):
    with DeletingHost() as host:
        add(path, entry(host.url + "/x"))
        assert offline("delete", "-q", "last").err == ""


def test_same_content_at_the_same_url_is_deleted_once(offline, path):
    with DeletingHost() as host:
        add(path, entry(host.url + "/x", name="one"), entry(host.url + "/x", name="two"))
        assert offline("delete", "one").code == 0
        assert offline("delete", "two").code == 5


# 7 Delete pages -----------------------------------------------------------------------------------


def test_a_delete_page_is_opened_with_yes_only(offline, path):
    with DeletingHost() as host:
        deletion = {"delete_page": host.url + "/page?key=k3y"}
        add(path, entry(host.url + "/x", provider="mine", delete=deletion))
        done = offline("delete", "last")
        assert done.code == 5 and host.requests == [] and "--yes" in done.err
        assert f"delete page: {host.url}/page\n" in done.err and "k3y" not in done.err
        assert offline("delete", "--yes", "last").code == 0
        assert host.requests == [("GET", "/page?key=k3y"), ("GET", "/x")]


@posix
@pytest.mark.parametrize("typed, code", [("y\n", 0), ("\n", 5)])
def test_a_delete_page_is_opened_after_a_question(tmp_path, path, typed, code):
    import pty

    with DeletingHost() as host:
        deletion = {"delete_page": host.url + "/page"}
        add(path, entry(host.url + "/x", provider="mine", delete=deletion))
        master, slave = pty.openpty()
        env = {**os.environ, "XDG_STATE_HOME": str(tmp_path / "state")}
        process = subprocess.Popen(
            command(["delete", "last"]), env=env, stdin=slave, stderr=subprocess.PIPE, text=True
        )
        os.write(master, typed.encode())
        error = process.communicate(timeout=20)[1]
        os.close(master)
        os.close(slave)
        assert process.returncode == code and "open it? [y/N]" in error
        assert bool(host.requests) is (code == 0)


def test_a_page_of_a_sxcu_file_end_to_end(offline, path, tmp_path):
    with SxcuHost() as host:
        text = json.dumps({**SXCU, "DeletionURL": "BASE/page/{json:id}"}).replace("BASE", host.url)
        (tmp_path / "mine.sxcu").write_text(text)
        result = json.loads(offline("--json", "-p", "./mine.sxcu", "a.txt").out)
        assert result["deletable"] and result["delete_page"] == host.url + "/page/i1"
        assert offline("delete", "--yes", result["url"]).code == 0


# 8 Real servers -----------------------------------------------------------------------------------


def test_a_file_on_serve(start, offline):
    server = start("serve", "--port", "0", "--token", "t0ken")
    base = re.search(r"http://(\S+)/", server.stderr.readline().decode())
    done = offline("-p", f"http://:t0ken@{base[1]}/", "a.txt")
    assert done.code == 0
    done = offline("delete", "last")
    assert done.code == 0 and "verified: 404" in done.err


def test_an_object_on_a_real_server(s3_pool, program, tmp_path):
    s3 = s3_pool("rclone")
    (tmp_path / "del ete.txt").write_bytes(os.urandom(100))
    run = functools.partial(program, env={"AWS_S3_BUCKET": s3.bucket, **s3.env()})
    url = run("-p", "s3", "--force", "del ete.txt").stdout.strip()
    done = run("delete", url)
    assert (done.returncode, done.stdout) == (0, "") and "verified: 404" in done.stderr
    assert run("delete", url).returncode == 5


def test_versions_on_a_real_server(s3_pool, program, tmp_path):
    s3 = s3_pool("moto")  # its links are not valid, so deleting cannot be verified
    client = s3.client()
    bucket = s3.new_bucket("versions")
    status = {"Status": "Enabled"}
    client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration=status)
    (tmp_path / "a.txt").write_bytes(b"hello\n")
    run = functools.partial(program, env={**s3.env(), "AWS_S3_BUCKET": bucket})
    assert run("-p", "s3", "--no-check", "a.txt").returncode == 0
    done = run("delete", "a.txt", "--retry", "0")
    assert done.returncode == 4 and "the bucket has versions, and keeps" in done.stderr
    assert len(client.list_object_versions(Bucket=bucket)["Versions"]) == 1
