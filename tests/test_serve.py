"""serve: this machine is the host. Real processes and sockets, curl as client, all on loopback."""

from __future__ import annotations

import base64
import concurrent.futures
import contextlib
import functools
import hashlib
import http.client
import io
import json
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import wave
import zipfile
from email.utils import formatdate
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import quote, unquote, urlsplit

import pytest
from browser import Browser
from conftest import lines
from needs import find, need

import twat_fs

CURL = find("curl")
needs_curl = pytest.mark.needs("curl")
posix = pytest.mark.skipif(os.name == "nt", reason="needs POSIX")
INDEX = ".twat-fs.jsonl"
MIB = 2**20
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
SOON = 2.0  # seconds: what must take less than one, on a machine that is busy


# The server, and ways to talk to it ---------------------------------------------------------------


class Served:
    """A running `serve`: its address and URLs, and all it says on stderr."""

    def __init__(self, process, files):
        self.process, self.log_text = process, ""
        self.heard = threading.Event()
        self.listener = threading.Thread(target=self.listen, daemon=True)
        self.listener.start()
        self.urls = [process.stdout.readline().decode().strip() for _ in range(files)]
        assert self.heard.wait(10), "it says when it is ready"
        address = self.urls[0] if files else re.search(r"http://\S+", self.log_text).group()
        self.base = "{0.scheme}://{0.netloc}/".format(urlsplit(address))
        self.host, self.port = urlsplit(self.base).hostname, urlsplit(self.base).port

    def listen(self):
        for line in self.process.stderr:
            self.log_text += lines(line.decode("utf-8", "replace"))
            self.heard.set()
        self.heard.set()

    def stop(self, number=signal.SIGTERM if os.name == "nt" else signal.SIGINT):
        """Interrupt it (Windows cannot do that to one process); returns exit code and seconds."""
        begun = time.monotonic()
        if self.process.poll() is None:
            self.process.send_signal(number)
        code, seconds = self.process.wait(10), time.monotonic() - begun
        self.listener.join(10)  # all that it has said is heard
        return code, seconds

    def connect(self):
        return http.client.HTTPConnection(self.host, self.port, timeout=10)

    def ask(self, method, path, body=None, **headers):
        """One request on a connection of its own: status, headers by lower-case name, body."""
        connection = self.connect()
        try:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, urlsplit(path).path if "://" in path else path, body, named)
            answer = connection.getresponse()
            return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
        finally:
            connection.close()

    def put(self, name, body, **headers):
        """The URL and the URL that deletes it."""
        status, answer, link = self.ask("PUT", "/" + quote(name, safe=""), body, **headers)
        assert status == 200, link
        return link.decode(), answer["x-url-delete"]

    def raw(self, data, more=()):
        """These very bytes, and what comes back until the other side ends."""
        with socket.create_connection((self.host, self.port), timeout=10) as sock:
            try:
                for piece in (data, *more):
                    sock.sendall(piece)
                sock.shutdown(socket.SHUT_WR)
            except OSError:
                pass  # it has answered already
            return drain(sock)


def drain(sock):
    got = b""
    try:
        while True:
            data = sock.recv(65536)
            if not data:
                return got
            got += data
    except OSError:
        return got


@pytest.fixture
def serve(start):
    """`serve("a.txt")` gives files; `serve("--dir", folder)` receives."""
    running = []

    def go(*args, files=0, port="0", bind="127.0.0.1", **more):
        command_line = [*(["--port", port] if port else []), *(["--bind", bind] if bind else [])]
        running.append(Served(start("serve", *command_line, *args, **more), files))
        return running[-1]

    yield go
    for served in running:
        served.stop()  # gently: what was measured is written


@pytest.fixture
def giving(serve, tmp_path):
    """A server of one file with 26 different bytes."""
    path = tmp_path / "abc.txt"
    path.write_bytes(b"abcdefghijklmnopqrstuvwxyz")
    return serve(path, files=1)


def curl(*args, input=None):
    """What curl prints: the body, the status on a line of its own."""
    argv = [
        CURL,
        "-sS",
        "-q",
        "-m",
        "20",
        "--noproxy",
        "*",
        "-w",
        "\n%{http_code}",
        *map(str, args),
    ]
    done = subprocess.run(argv, input=input, capture_output=True, timeout=30)
    body, _, status = done.stdout.rpartition(b"\n")
    return int(status), body


def fetch(served, url):
    status, _, body = served.ask("GET", url)
    return body if status == 200 else status


def inside(folder):
    """The files below a folder but for the index and its lock, as relative paths."""
    return sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and path.name not in (INDEX, ".twat-fs.lock")
    )


def index_of(folder):
    """The files of an index by token."""
    files = {}
    for line in (folder / INDEX).read_text().splitlines()[1:]:
        entry = json.loads(line, parse_constant=pytest.fail)
        files[entry.pop("token")] = entry
    return {token: entry for token, entry in files.items() if entry}


def wait_until(true, seconds=5):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


# Giving files -------------------------------------------------------------------------------------


@needs_curl
def test_each_file_gets_a_url_at_once_and_curl_gets_it(serve, tmp_path):
    for name in ("one.txt", "two.bin"):
        (tmp_path / name).write_bytes(name.encode() * 1000)
    begun = time.monotonic()
    served = serve("one.txt", "two.bin", "one.txt", files=3)
    assert time.monotonic() - begun < 3
    assert len({urlsplit(url).path.split("/")[1] for url in served.urls}) == 3
    for url, name in zip(served.urls, ("one.txt", "two.bin", "one.txt")):
        assert re.fullmatch(
            r"http://127\.0\.0\.1:%d/[0-9A-Za-z_-]{20,}/%s" % (served.port, re.escape(name)), url
        )
        assert curl(url) == (200, name.encode() * 1000)
    assert served.log_text.startswith("twat-fs: serving until Ctrl-C")


def test_without_bind_the_address_is_one_of_this_machine(serve, tmp_path):
    (tmp_path / "a.txt").write_bytes(b"here")
    served = serve("a.txt", files=1, bind=None)
    assert fetch(served, served.urls[0]) == b"here"


RANGES = {
    "bytes=0-4": (206, b"abcde", "bytes 0-4/26"),
    "bytes=25-25": (206, b"z", "bytes 25-25/26"),
    "bytes=20-": (206, b"uvwxyz", "bytes 20-25/26"),
    "bytes=-3": (206, b"xyz", "bytes 23-25/26"),
    "bytes=24-99": (206, b"yz", "bytes 24-25/26"),
    "bytes=-99": (200, None, None),
    "bytes=0-": (200, None, None),
    "bytes=26-": (416, b"", None),
    "bytes=99-100": (416, b"", None),
    "bytes=-0": (416, b"", None),
    "bytes=0-1,5-6": (200, None, None),
    "bytes=-": (200, None, None),
    "bytes=x-y": (200, None, None),
    "bytes=²-": (200, None, None),
    "lines=1-2": (200, None, None),
    "bytes=0-99999999999999999999999": (200, None, None),
}


def test_ranges(giving):
    content = b"abcdefghijklmnopqrstuvwxyz"
    for wish, (status, body, span) in RANGES.items():
        got, headers, data = giving.ask(
            "GET", giving.urls[0], Range=wish.encode("utf-8").decode("latin-1")
        )
        assert got == status or (
            status == 200 and got == 206 and headers.get("content-range") == "bytes 0-25/26"
        ), wish
        assert status == 416 or data == (content if body is None else body), wish
        assert span is None or headers["content-range"] == span, wish
        assert int(headers["content-length"]) == len(data), wish


def test_a_range_is_resumed_only_while_the_file_is_the_same(giving, tmp_path):
    url, path = giving.urls[0], tmp_path / "abc.txt"
    _, headers, _ = giving.ask("GET", url)
    etag, date = headers["etag"], headers["last-modified"]
    assert re.fullmatch(r'"[^"]+"', etag) and date == formatdate(path.stat().st_mtime, usegmt=True)
    for same in (etag, date):
        status, headers, body = giving.ask("GET", url, Range="bytes=20-", If_Range=same)
        assert (status, body, headers["etag"]) == (206, b"uvwxyz", etag), same
    for other in ('"etag"', "W/" + etag, "", "x", "Sat, 01 Jan 2000 00:00:00 GMT"):
        status, _, body = giving.ask("GET", url, Range="bytes=20-", If_Range=other)
        assert (status, len(body)) == (200, 26), other
    path.write_bytes(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ")
    os.utime(path, (1, 1))
    for before in (etag, date):
        status, _, body = giving.ask("GET", url, Range="bytes=20-", If_Range=before)
        assert (status, body[:3]) == (200, b"ABC"), before


def test_a_copy_that_is_still_right_is_304_and_costs_no_download(serve, tmp_path):
    served = serve()
    link, _ = served.put("a.txt", b"abc", Max_Downloads="2")
    _, headers, _ = served.ask("GET", link)
    etag, date = headers["etag"], headers["last-modified"]
    assert headers["cache-control"] == "no-cache", "a browser asks before it shows its copy"
    for fresh in (
        {"If_None_Match": etag},
        {"If_None_Match": 'W/"x", W/%s' % etag},
        {"If_Modified_Since": date},
        {"If_None_Match": etag, "If_Modified_Since": "x"},
    ):
        connection = served.connect()
        for _ in range(2):  # on one connection: no body stands in the way of the next response
            named = {name.replace("_", "-"): value for name, value in fresh.items()}
            connection.request("GET", urlsplit(link).path, headers=named)
            response = connection.getresponse()
            assert (response.status, response.read()) == (304, b""), fresh
            assert response.headers["etag"] == etag
        connection.close()
    for stale in ({"If_None_Match": '"x"', "If_Modified_Since": date}, {"If_Modified_Since": "x"}):
        assert served.ask("HEAD", link, **stale)[0] == 200, stale
    assert [fetch(served, link) for _ in range(2)] == [b"abc", 404]


@pytest.mark.parametrize("tool", ["curl -sS -q --noproxy * -C - -o", "wget -q --no-proxy -c -O"])
def test_tools_resume_a_download(giving, tmp_path, tool):
    args = tool.split()
    need(args[0])
    (tmp_path / "half").write_bytes(b"abcdef")
    subprocess.run([*args, str(tmp_path / "half"), giving.urls[0]], check=True, timeout=20)
    assert (tmp_path / "half").read_bytes() == b"abcdefghijklmnopqrstuvwxyz"
    wait_until(lambda: re.search(r"\d\d:\d\d  abc\.txt  20 bytes  to 127", giving.log_text))


def test_a_response_waits_for_no_acknowledgement(giving):
    """Head and body are two packets: with Nagle's algorithm the second waited 40 ms for an ACK."""
    connection, path = giving.connect(), urlsplit(giving.urls[0]).path
    seconds = []
    for _ in range(20):
        begun = time.monotonic()
        connection.request("GET", path)
        connection.getresponse().read()
        seconds.append(time.monotonic() - begun)
    connection.close()
    assert sorted(seconds)[10] < 0.03


def test_head_is_get_without_the_body(giving):
    got, headers, body = giving.ask("GET", giving.urls[0])
    status, same, nothing = giving.ask("HEAD", giving.urls[0])
    assert (got, status, nothing) == (200, 200, b"") and len(body) == 26
    moving = {"date"}
    assert {k: v for k, v in headers.items() if k not in moving} == {
        k: v for k, v in same.items() if k not in moving
    }


def test_one_connection_carries_many_requests(giving):
    connection = giving.connect()
    path = urlsplit(giving.urls[0]).path
    for method in ("GET", "HEAD", "GET", "GET"):
        connection.request(method, path)
        first = connection.sock.getsockname()
        answer = connection.getresponse()
        assert (answer.status, len(answer.read())) == (200, 0 if method == "HEAD" else 26)
        assert connection.sock and connection.sock.getsockname() == first, "kept alive"
    connection.close()


def test_requests_in_a_row_are_answered_in_a_row(giving):
    line = "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n" % urlsplit(giving.urls[0]).path
    got = giving.raw(line.encode() * 3)
    assert got.count(b"HTTP/1.1 200") == 3 and got.count(b"xyz") == 3


def test_http_1_0_gets_its_answer_and_the_end(giving):
    got = giving.raw(b"GET %s HTTP/1.0\r\n\r\n" % urlsplit(giving.urls[0]).path.encode())
    assert got.partition(b"\r\n")[0].split()[1] == b"200" and got.endswith(b"xyz")


ODD = [
    "ä ö.txt",
    "漢字 😀.bin",
    'q"uote.txt',
    "semi;colon=.txt",
    "100%.txt",
    "a?b#c.txt",
    " x.txt",
    ".hidden",
    "-dash",
    "a&b+c.txt",
    "it's.txt",
    "no extension",
    "new\nline.txt",
    "\u202egpj.exe",
    "x" * 250,
    "a\\b.txt",
    "page.html",
    "a%2fb",
    "c:d.txt",
    "...x",
]


@posix
def test_odd_names_are_saved_under_their_names(serve, tmp_path):
    for name in ODD:
        (tmp_path / name).write_bytes(name.encode())
    served = serve("--", *ODD, files=len(ODD))
    for name, url in zip(ODD, served.urls):
        assert url.isascii() and url.isprintable() and " " not in url
        status, headers, body = served.ask("GET", url)
        assert (status, body) == (200, name.encode()), name
        shown = headers["content-disposition"]
        disposition = "inline" if re.search("(txt|png|log)$", name) else "attachment"
        assert shown.startswith(f"{disposition};") and shown.isascii() and shown.isprintable()
        saved = unquote(re.search(r"filename\*=UTF-8''(\S+)$", shown).group(1))
        assert re.fullmatch(r'\w+; filename="[^"\\]*"; filename\*=\S+', shown)
        assert saved == name or not name.isprintable() or name != name.strip() or "\\" in name
        assert (
            not re.search("[\0-\x1f\x7f-\x9f\u2028-\u202e]", saved)
            and "/" not in saved
            and "\\" not in saved
        )
        assert headers["x-content-type-options"] == "nosniff"


TRICKS = r"""
    / * ? /.. /../ /../../etc/passwd /%2e%2e/%2e%2e/etc/passwd /..%2f..%2fetc%2fpasswd //etc/passwd
    /etc/passwd ///etc/passwd http://127.0.0.1/etc/passwd file:///etc/passwd
        /secret /.env /abc.txt /%00
    /~root /\..\secret /T /T/ /T/secret /T/../secret /T/%2e%2e/secret /T/..%2fsecret /T/abc.txt/
    /T/abc.txt/x /T/abc.txt%00 /T/abc.txt%00.png /T%2fabc.txt /T//abc.txt
        /./T/abc.txt /x/../T/abc.txt
    /T/abc.txt\ /T/ABC.TXT /T/abc.tx /T/abc%ff.txt /000000000000000000000000/abc.txt /T;x/abc.txt
    /T/abc.txt;x /T/%61bc.txt%20
""".split()


def test_nothing_else_is_given(giving, tmp_path):
    (tmp_path / "secret").write_bytes(b"root:")
    (tmp_path / ".env").write_bytes(b"root:")
    token = urlsplit(giving.urls[0]).path.split("/")[1]
    tricks = [
        *TRICKS,
        "/%s/abc.txt" % token[:-1],
        "/%s0/abc.txt" % token,
        "/%s/abc.txt" % token[::-1],
    ]
    for trick in tricks:
        line = trick.replace("T", token, 1) if "/T" in trick else trick
        for method in ("GET", "HEAD"):
            got = giving.raw(
                (
                    "%s %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
                    % (method, line)
                ).encode()
            )
            assert re.match(rb"HTTP/1\.1 40[04] ", got), trick
            assert b"root:" not in got and b"abcdef" not in got, trick


def test_who_only_gives_takes_nothing(giving, tmp_path):
    before = sorted(os.listdir(tmp_path))
    for method, path in (
        ("PUT", "/x"),
        ("POST", "/"),
        ("DELETE", giving.urls[0]),
        ("DELETE", giving.urls[0] + "/x"),
    ):
        status, _, _ = giving.ask(
            method, path, b"data", Content_Type="multipart/form-data; boundary=x"
        )
        assert status in (404, 405), method
    assert giving.ask("PATCH", "/x", b"data")[0] == 501
    assert (
        sorted(os.listdir(tmp_path)) == before
        and fetch(giving, giving.urls[0]) == b"abcdefghijklmnopqrstuvwxyz"
    )


def test_a_file_that_has_gone_is_404_and_one_that_grew_is_given_as_it_is(giving, tmp_path):
    path = tmp_path / "abc.txt"
    path.write_bytes(b"longer than before it was changed")
    assert fetch(giving, giving.urls[0]) == path.read_bytes()
    path.unlink()
    assert fetch(giving, giving.urls[0]) == 404


@posix
def test_a_link_or_a_pipe_in_the_place_of_a_file_is_not_given(serve, tmp_path):
    secret, path, link = tmp_path / "secret.txt", tmp_path / "given.txt", tmp_path / "link.txt"
    secret.write_bytes(b"secret"), path.write_bytes(b"given")
    link.symlink_to(path)
    served = serve(path, link, files=2)
    first, second = served.urls
    assert fetch(served, first) == fetch(served, second) == b"given", (
        "a link that was named leads where it led"
    )
    path.unlink()
    path.symlink_to(secret)
    assert fetch(served, first) == fetch(served, second) == 404
    path.unlink()
    os.mkfifo(path)
    assert fetch(served, first) == 404


def test_what_comes_in_a_request_is_logged_escaped(giving):
    giving.raw(b"GET /\x1b[2J\x9b\xe2\x80\xae HTTP/1.1\r\n\r\n")
    giving.raw(b"\x1b]0;ha\x07\r\n\r\n")
    wait_until(lambda: giving.log_text.count("\n") >= 3)
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", giving.log_text)


def test_quiet_says_nothing_about_requests(serve, tmp_path):
    (tmp_path / "a").write_bytes(b"x")
    served = serve("-q", "a", files=1)
    before = served.log_text
    assert fetch(served, served.urls[0]) == b"x"
    served.raw(b"nonsense\r\n\r\n")
    served.stop()
    assert served.log_text[len(before) :].strip() in ("", "twat-fs: stopped")


LOCAL = {"missing": (6, "no such file"), "/dev/null": (6, "device")}


@pytest.fixture
def refused(tmp_path, monkeypatch, capsys):
    """A `serve` that does not start: `refused("--bind", "::")` returns exit code and stderr."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "good").write_bytes(b"x")

    def go(*args):
        code = twat_fs.main(["serve", *map(str, args)])
        out, err = capsys.readouterr()
        assert out == "" and "Traceback" not in err and "\x1b" not in err
        return code, err

    return go


@posix
@pytest.mark.parametrize("name", LOCAL)
def test_what_is_no_file_is_not_served(refused, name):
    wanted, hint = LOCAL[name]
    code, err = refused("--port", "0", "good", name)
    assert code == wanted and hint in err


@posix
def test_the_way_out_of_a_pipe_makes_nothing_public(refused, tmp_path):
    os.mkfifo(tmp_path / "thing")
    code, err = refused("thing")
    assert code == 6 and "tar cf FOLDER.tar FOLDER" in err and "|" not in err, (
        "what uploading says would upload it"
    )


@pytest.mark.parametrize("option", [["--dir", "x"], ["--max-size", "1k"], ["--token", "x"]])
def test_options_for_receiving_contradict_files(refused, option):
    code, err = refused("good", *option)
    assert code == 2 and option[0] in err


# What browsers show -------------------------------------------------------------------------------

SHOWN = "a.png a.JPG a.jpeg a.gif a.webp a.avif a.mp4 a.webm a.mp3 a.flac a.txt a.log a.md a.pdf"
SAVED = (
    "a.html a.htm a.xhtml a.svg a.xml a.js a.mjs a.css a.sh a.php a.mht a.swf a.zip a.dat README"
)


def test_only_harmless_types_are_shown_in_the_browser(serve, tmp_path):
    names = f"{SHOWN} {SAVED}".split()
    for name in names:
        (tmp_path / name).write_bytes(b"<script>alert(1)</script>")
    served = serve(*names, files=len(names))
    connection = served.connect()
    for name, url in zip(names, served.urls):
        for query in ("", "?download", "?a=b&download=1"):
            connection.request("HEAD", urlsplit(url).path + query)
            response = connection.getresponse()
            response.read()
            shown = name in SHOWN.split() and not query
            start = "inline; filename=" if shown else "attachment; filename="
            assert response.headers["Content-Disposition"].startswith(start), name
            assert response.headers["X-Content-Type-Options"] == "nosniff"
            assert response.headers["Server"] == "twat-fs"
            policy = None if name == "a.pdf" else "sandbox"
            if name in ("a.mp4", "a.webm", "a.mp3", "a.flac"):
                policy = "sandbox allow-same-origin"
            assert response.headers["Content-Security-Policy"] == policy
    connection.close()


# Folders and standard input -----------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "trip" / "sub").mkdir(parents=True)
    (tmp_path / "trip" / "a.txt").write_bytes(b"hello")
    (tmp_path / "trip" / "sub" / "b.bin").write_bytes(os.urandom(300_000))
    return tmp_path / "trip"


def unpacked(data):
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist() if name[-1] != "/"}


def test_a_folder_is_one_zip_that_follows_its_files(serve, folder):
    served = serve("trip", files=1)
    assert served.urls[0].endswith("/trip.zip")
    files = {"trip/a.txt": b"hello", "trip/sub/b.bin": (folder / "sub" / "b.bin").read_bytes()}
    status, headers, data = served.ask("GET", served.urls[0])
    assert (status, headers["content-type"]) == (200, "application/zip")
    assert headers["content-length"] == str(len(data)) and unpacked(data) == files
    assert served.ask("HEAD", served.urls[0], If_None_Match=headers["etag"])[0] == 304
    part = served.ask("GET", served.urls[0], Range="bytes=200000-", If_Range=headers["etag"])
    assert (part[0], part[2]) == (206, data[200_000:])
    (folder / "new.txt").write_bytes(b"new")
    (folder / "a.txt").write_bytes(b"other")
    part = served.ask("GET", served.urls[0], Range="bytes=200000-", If_Range=headers["etag"])
    files.update({"trip/a.txt": b"other", "trip/new.txt": b"new"})
    assert part[0] == 200 and unpacked(part[2]) == files
    shutil.rmtree(folder)
    assert fetch(served, served.urls[0]) == 404
    wait_until(lambda: "no such file" in served.log_text)


@posix
def test_a_file_that_changes_while_its_folder_is_sent_breaks_the_download(serve, folder):
    with open(folder / "c.bin", "wb") as file:
        file.truncate(30 * MIB)
    served = serve("trip", files=1)
    connection = served.connect()
    connection.request("GET", urlsplit(served.urls[0]).path)
    response = connection.getresponse()
    (folder / "sub" / "b.bin").write_bytes(b"changed")
    with pytest.raises(http.client.IncompleteRead):
        response.read()
    connection.close()
    wait_until(lambda: "trip.zip  stopped at 99 %  to" in served.log_text)
    assert "b.bin: changed while being read" in served.log_text


def test_secrets_in_a_folder_are_named(serve, folder):
    (folder / ".env").write_bytes(b"KEY=1")
    served = serve("trip", files=1)
    wait_until(lambda: "serving" in served.log_text)
    assert "warning: possible secrets: trip/.env\n" in served.log_text


@posix
def test_a_link_out_of_a_folder_is_an_error(refused, folder):
    (folder / "link").symlink_to("/etc/passwd")
    code, err = refused("trip")
    assert code == 6 and "symbolic link out of the folder\n  write it to a file first" in err


@pytest.mark.parametrize("content, name", [(b"a log\n", "stdin.txt"), (b"\0" * 2**21, "stdin.bin")])
def test_standard_input_is_served(serve, tmp_path, content, name):
    (tmp_path / "input").write_bytes(content)
    (tmp_path / "scratch").mkdir()
    with open(tmp_path / "input", "rb") as file:
        served = serve("-", files=1, stdin=file, env={"TMPDIR": tmp_path / "scratch"})
    assert served.urls[0].endswith(f"/{name}")
    assert fetch(served, served.urls[0]) == content
    served.stop(signal.SIGINT if os.name != "nt" else signal.SIGTERM)
    assert list((tmp_path / "scratch").iterdir()) == [] or os.name == "nt"


def test_standard_input_can_be_read_only_once(refused):
    assert refused("-", "-")[0] == 2


# Once, and for a time -----------------------------------------------------------------------------


def break_off(served, url, count):
    """Read the start of a response, and close the connection."""
    with socket.create_connection((served.host, served.port), timeout=10) as sock:
        sock.sendall(b"GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n" % urlsplit(url).path.encode())
        got = b""
        while len(got) < count:
            got += sock.recv(min(4000, count))


def ends(served):
    code = served.process.wait(10)
    served.listener.join(10)
    return code


def test_once_ends_when_each_file_was_fetched_completely(serve, tmp_path):
    """HEAD, a range and downloads that were broken off do not count."""
    data = os.urandom(20 * MIB)
    (tmp_path / "a.bin").write_bytes(data)
    (tmp_path / "b.txt").write_bytes(b"abcdef")
    served = serve("--once", "a.bin", "b.txt", files=2)
    large, small = served.urls
    assert served.ask("HEAD", small)[0] == 200
    assert served.ask("GET", small, Range="bytes=1-5")[2] == b"bcdef"
    break_off(served, large, 2 * MIB)
    break_off(served, small, 1)  # the response lies unread in the client
    wait_until(lambda: served.log_text.count("stopped at") == 2)
    assert fetch(served, large) == data
    wait_until(lambda: "a.bin  20.0 MiB  to 127.0.0.1" in served.log_text)
    assert fetch(served, large) == 404
    assert fetch(served, small) == b"abcdef"
    assert ends(served) == 0
    assert served.log_text.endswith("twat-fs: stopped: each file was downloaded\n")


@needs_curl
def test_once_adds_up_the_ranges_of_a_client(serve, tmp_path):
    """Also when curl continues where a download was broken off."""
    data = os.urandom(20 * MIB)
    (tmp_path / "a.bin").write_bytes(data)
    served = serve("--once", "a.bin", files=1)
    break_off(served, served.urls[0], 9 * MIB)
    wait_until(lambda: "stopped at" in served.log_text)
    assert served.ask("GET", served.urls[0], Range="bytes=15000000-")[2] == data[15_000_000:]
    half = tmp_path / "half"
    half.write_bytes(data[: 9 * MIB])
    status, _ = curl("-C", "-", "-r", f"{9 * MIB}-15000000", "-o", half, served.urls[0])
    assert status == 206
    assert ends(served) == 0


def test_once_adds_up_the_connections_of_aria2(serve, tmp_path):
    """It requests the whole file, and closes this connection where its next one has begun."""
    data = os.urandom(20 * MIB)
    (tmp_path / "a.bin").write_bytes(data)
    served = serve("--once", "a.bin", files=1)
    path = urlsplit(served.urls[0]).path
    connections = [served.connect(), served.connect()]
    connections[0].request("GET", path)
    complete = connections[0].getresponse()
    assert complete.read(4 * MIB) == data[: 4 * MIB]
    connections[1].request("GET", path, headers={"Range": f"bytes={8 * MIB}-"})
    rest = connections[1].getresponse()
    assert complete.read(6 * MIB) == data[4 * MIB : 10 * MIB]
    assert rest.read() == data[8 * MIB :]
    connections[1].close()
    time.sleep(0.1)  # the whole file is cut last
    complete.close()
    connections[0].close()
    assert ends(served) == 0
    assert served.log_text.count("a.bin  20.0 MiB  to ") == 1


# Ranges of a file of 10 bytes: whether the client has all of it.  "!" is broken off, and "&" began
# before the others had ended.
SPANS = {
    "0-10": True,
    "0-9": False,
    "1-10": False,
    "5-10 0-5": True,
    "0-4 5-10": False,
    "0-6 4-10": True,
    "0-10!": False,
    "0-8! 5-10": True,  # it continues at 5, or this is another part of a parallel download
    "5-10 0-8!": False,
    "5-10 0-8!&": True,
    "5-10 2-5& 0-4!": True,
    "0-4! 5-10": False,
    "0-8! 5-9! 7-10": True,
    "0-8! 5-6! 7-10": False,
    "0-10! 0-10!": False,
}


@pytest.mark.parametrize("ranges", SPANS)
def test_ranges_add_up_to_a_file(ranges):
    spans = []
    for text in ranges.split():
        start, end = map(int, text.strip("!&").split("-"))
        spans.append(twat_fs.Span(start, end, "!" not in text, 0 if "&" in text else len(spans)))
    assert twat_fs.covers(spans, 10) == SPANS[ranges]
    assert twat_fs.covers([twat_fs.Span(0, 0, True, 0)], 0) and not twat_fs.covers([], 10)


def test_a_client_that_breaks_off_thousands_of_ranges_keeps_nothing_busy():
    spans = [twat_fs.Span(0, 10, False, index // 2) for index in range(20_000)]
    begun = time.monotonic()
    assert not twat_fs.covers(spans, 10)
    assert time.monotonic() - begun < SOON


def test_once_waits_for_downloads_that_have_begun(serve, tmp_path):
    data = os.urandom(20 * MIB)
    (tmp_path / "a.bin").write_bytes(data)
    served = serve("--once", "a.bin", files=1)
    connection = served.connect()
    connection.request("GET", urlsplit(served.urls[0]).path)
    response = connection.getresponse()
    assert fetch(served, served.urls[0]) == data
    assert response.read() == data
    connection.close()
    assert ends(served) == 0


def test_once_requires_a_file(refused):
    code, err = refused("--once")
    assert code == 2 and "--once requires FILE" in err


@pytest.mark.parametrize("once, code", [([], 0), (["--once"], 1)])
def test_keep_ends_the_links_of_files(serve, tmp_path, once, code):
    (tmp_path / "a").write_bytes(b"x")
    served = serve("--keep", "1s", *once, "a", files=1)
    until = "until each file was downloaded or " * len(once)
    assert served.log_text == f"twat-fs: serving for 1 second or {until}until Ctrl-C\n"
    assert ends(served) == code and served.log_text.endswith("twat-fs: stopped: expired\n")


# What the screen says -----------------------------------------------------------------------------


def test_a_line_is_printed_when_a_transfer_is_done(serve, tmp_path):
    served = serve()
    link, _ = served.put("grüße.txt", b"x" * 14_000)
    received = r"\n\d\d:\d\d  received grüße\.txt  13\.7 KiB  from 127\.0\.0\.1  (\S+)\n"
    wait_until(lambda: re.search(received, served.log_text))
    assert re.search(received, served.log_text)[1] == link
    ready = served.log_text.count("\n")
    with contextlib.closing(served.connect()) as idle:
        idle.connect()
        assert served.ask("HEAD", link)[0] == 200
        assert served.ask("GET", "/favicon.ico")[0] == 404
        assert served.ask("GET", link, Range="bytes=5-9")[0] == 206
        assert fetch(served, link) == b"x" * 14_000
        wait_until(lambda: "  to 127.0.0.1" in served.log_text)  # after the client has all
    assert fetch(served, "/nothing") == 404
    wait_until(lambda: "404" in served.log_text)
    lines = served.log_text.splitlines()[ready:]
    assert re.fullmatch(r"\d\d:\d\d  grüße\.txt  13\.7 KiB  to 127\.0\.0\.1", lines[0])
    assert lines[1][5:] == "  404 Not found: GET /nothing HTTP/1.1  from 127.0.0.1"
    assert len(lines) == 2


def test_a_transfer_that_stopped_says_where(serve, tmp_path):
    served = serve()
    head = b"PUT /video.mp4 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n"
    served.raw(head + b"x" * 120)
    chunk = b"PUT /b HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    served.raw(chunk + b"30\r\n" + b"x" * 20)
    link, _ = served.put("big.bin", bytes(20 * MIB))
    break_off(served, link, 1000)
    wait_until(lambda: "to 127" in served.log_text)
    stopped = re.findall("  (.* stopped .*)", served.log_text)
    assert stopped[:2] == [
        "video.mp4  stopped at 12 %  from 127.0.0.1",
        "b  stopped after 20 bytes  from 127.0.0.1",
    ]
    assert re.fullmatch(r"big\.bin  stopped at \d\d? %  to 127\.0\.0\.1", stopped[2])


def test_json_has_one_object_for_each_transfer(start, tmp_path):
    process = start("serve", "--json", "--port", "0", "--bind", "127.0.0.1")
    events = (json.loads(line) for line in process.stdout)
    ready = next(events)
    assert ready["event"] == "receiving"
    sender = start("serve", "--json", "--port", "0", "--bind", "127.0.0.1", __file__)
    assert json.loads(sender.stdout.readline())["size"] == os.path.getsize(__file__)
    client = http.client.HTTPConnection(urlsplit(ready["url"]).netloc, timeout=10)
    client.request("PUT", "/a%22b.txt", b"abc", {"X-Forwarded-For": "192.168.1.7"})
    response = client.getresponse()
    link, delete = response.read().decode(), response.headers["X-Url-Delete"]
    received = next(events)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", received.pop("time"))
    assert received == {
        "event": "received",
        "name": "a_b.txt",
        "size": 3,
        "peer": "192.168.1.7",
        "url": link,
        "delete": delete,
        "completed": True,
    }
    client.request("GET", urlsplit(link).path)
    assert client.getresponse().read() == b"abc"
    sent = next(events)
    assert sent.keys() == ready.keys()
    values = [sent[key] for key in ("event", "name", "size", "peer", "url", "completed")]
    assert values == ["sent", "a_b.txt", 3, "127.0.0.1", None, True]
    client.request("PUT", "/half", headers={"Content-Length": "100"})
    client.close()
    broken = next(events)
    assert (broken["event"], broken["name"], broken["completed"]) == ("received", "half", False)


# The end, and the port ----------------------------------------------------------------------------


@posix
def test_ctrl_c_ends_within_a_second_and_frees_the_port(giving, serve):
    with contextlib.closing(giving.connect()) as idle:
        idle.request("GET", urlsplit(giving.urls[0]).path)
        idle.getresponse().read()
        code, seconds = giving.stop()
    assert code == -signal.SIGINT and seconds < SOON
    assert "Traceback" not in giving.log_text and "stopped" in giving.log_text
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((giving.host, giving.port), timeout=2)
    again = serve("abc.txt", files=1, port=str(giving.port))
    assert again.port == giving.port


@posix
def test_ctrl_c_in_the_middle_of_a_download_and_of_an_upload(serve, tmp_path):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    served = serve(env={"TMPDIR": scratch})
    link, _ = served.put("big.bin", os.urandom(20 * MIB))
    with (
        socket.create_connection((served.host, served.port)) as up,
        socket.create_connection((served.host, served.port)) as down,
    ):
        up.sendall(
            b"PUT /half.bin HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n"
            + b"x" * 1000
        )
        down.sendall(("GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n" % urlsplit(link).path).encode())
        assert down.recv(1000).startswith(b"HTTP/1.1 200")
        wait_until(lambda: any(name.endswith(".part") for name in inside(scratch)))
        code, seconds = served.stop()
    assert code == -signal.SIGINT and seconds < SOON and "Traceback" not in served.log_text
    assert list(scratch.iterdir()) == []


def test_when_8080_is_taken_another_port_is_found(serve, tmp_path):
    (tmp_path / "a").write_bytes(b"x")
    with socket.socket() as occupied:
        occupied.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, os.name != "nt")
        try:
            occupied.bind(("127.0.0.1", 8080))
            occupied.listen()
        except OSError:
            pass  # by somebody else: as good
        served = serve("a", files=1, port=None)
        assert served.port in range(8081, 8090) and fetch(served, served.urls[0]) == b"x"
        wait_until(lambda: f"port 8080 is in use; using {served.port}\n" in served.log_text)


def test_a_port_that_was_asked_for_and_is_taken_is_an_error(giving, program):
    ran = program("serve", "abc.txt", "--bind", "127.0.0.1", "--port", str(giving.port))
    assert (ran.returncode, ran.stdout) == (2, "")
    assert re.match(r"twat-fs: cannot listen on 127\.0\.0\.1:%d: \w+" % giving.port, ran.stderr)
    assert fetch(giving, giving.urls[0])[:3] == b"abc"


@pytest.mark.parametrize("bind", ["nosuch.invalid", "192.0.2.1", "a\x1bb", "a..b", "x" * 300])
def test_an_address_that_is_not_ours_is_an_error(refused, bind):
    code, err = refused("good", "--port", "0", "--bind", bind)
    assert code == 2 and "cannot listen" in err


def test_the_start_asks_no_name_server():
    """http.server resolves its own name, which takes half a minute with a mute name server."""
    code = """
import sys, twat_fs
asked = []
sys.addaudithook(lambda event, args: event.startswith("socket.gethost") and asked.append(event))
twat_fs.start_server(twat_fs.Store(), "0.0.0.0", 0, True).server_close()
print(asked)
"""
    folder = os.path.dirname(os.path.abspath(twat_fs.__file__))
    ran = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, timeout=60)
    assert (ran.stdout.split(), ran.stderr) == ([b"[]"], b"")


def test_ipv6(serve):
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("no IPv6 here")
    served = serve(bind="::1")
    assert served.base == "http://[::1]:%d/" % served.port
    link, _ = served.put("six.txt", b"six")
    assert link.startswith(served.base) and fetch(served, link) == b"six"


# Receiving ----------------------------------------------------------------------------------------


@needs_curl
def test_curl_puts_a_file_and_gets_it_back(serve, tmp_path):
    served = serve()
    path = tmp_path / "photo.jpg"
    path.write_bytes(os.urandom(300_000))
    status, body = curl("-T", path, served.base)
    assert status == 200 and re.fullmatch(
        rb"http://127\.0\.0\.1:\d+/[0-9a-zA-Z_-]{20,}/photo\.jpg", body
    ), "and no newline"
    assert curl(body.decode()) == (200, path.read_bytes())


@needs_curl
def test_curl_puts_a_stream_whose_length_nobody_knows(serve):
    served, data = serve(), os.urandom(1_000_003)
    status, body = curl("-T", "-", served.base + "stream.bin", input=data)
    assert status == 200 and curl(body.decode()) == (200, data)


@needs_curl
@pytest.mark.parametrize("size", [10, 2_000_000])
def test_curl_waits_for_100_continue(serve, tmp_path, size):
    served, path = serve(), tmp_path / "a.bin"
    path.write_bytes(os.urandom(size))
    begun = time.monotonic()
    status, body = curl(
        "-T", path, "-H", "Expect: 100-continue", "--expect100-timeout", "9", served.base
    )
    assert status == 200 and time.monotonic() - begun < 3
    assert curl(body.decode()) == (200, path.read_bytes())


def test_no_is_said_before_the_body_when_the_client_asks(serve):
    served = serve("--max-size", "1k")
    head = b"PUT /a HTTP/1.1\r\nHost: localhost\r\n"
    head += b"Content-Length: 5000\r\nExpect: 100-continue\r\n\r\n"
    assert served.raw(head).startswith(b"HTTP/1.1 413 ")


@needs_curl
def test_a_form_may_hold_several_files_and_fields(serve, tmp_path):
    served = serve()
    for name in ("a.txt", "b;c.bin", "empty field.md"):
        (tmp_path / name).write_bytes(name.encode() * 3000 + b"\r\n--x\r\n")
    names = ["a.txt", "b;c.bin", "empty field.md"]
    form = [word for name in names for word in ("-F", 'f[]=@"%s"' % (tmp_path / name))]
    status, body = curl("-F", "comment=hello", *form, "-F", "last=", served.base)
    links = body.decode().split("\n")
    assert status == 200 and [unquote(link.rpartition("/")[2]) for link in links] == [
        re.sub("[;]", ";", name) for name in names
    ]
    for name, link in zip(names, links):
        assert curl(link) == (200, (tmp_path / name).read_bytes())


@needs_curl
def test_each_file_of_a_form_has_its_delete_link(serve, tmp_path):
    served = serve()
    (tmp_path / "a").write_bytes(b"a")
    (tmp_path / "b").write_bytes(b"b")
    status, answer = curl(
        "-i", "-F", "f=@%s" % (tmp_path / "a"), "-F", "f=@%s" % (tmp_path / "b"), served.base
    )
    deletes = re.findall(rb"X-Url-Delete: (\S+)", answer)
    assert status == 200 and len(deletes) == 2
    for link in deletes:
        assert curl("-X", "DELETE", link.decode())[0] == 200


PART = b"--B\r\nContent-Disposition: form-data; name=f; filename=%s\r\n\r\n%s\r\n"
ODD_PART = b'--B\r\ncontent-disposition: form-data; name="f"; filename="n"\r\nX: y\r\n\r\nx\r\n'
FORMS = {
    "the boundary in pieces": (
        PART % (b"n", b"\r\n--\r\n--A\r\n-") + b"--B--\r\n",
        b"\r\n--\r\n--A\r\n-",
    ),
    "text before and after": (b"hi\r\n" + PART % (b"n", b"x") + b"--B--\r\nbye\r\n", b"x"),
    "a name in quotes": (ODD_PART + b"--B--", b"x"),
}


def test_forms_as_they_may_come_also_byte_by_byte(serve):
    served = serve()
    for what, (form, content) in FORMS.items():
        status, _, link = served.ask(
            "POST", "/", form, Content_Type="multipart/form-data; boundary=B"
        )
        assert status == 200 and fetch(served, link.decode()) == content, what
        head = (
            b"POST / HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n"
            b"Content-Type: multipart/form-data; boundary=B\r\n" % b"localhost"
        )
        pieces = [form[at : at + 1] for at in range(len(form))]
        got = served.raw(head + b"Content-Length: %d\r\n\r\n" % len(form), pieces)
        assert got.startswith(b"HTTP/1.1 200"), what


BAD_FORMS = {
    "never closed": PART % (b"n", b"half"),
    "ends in the head": b"--B\r\nContent-Disposition: form-d",
    "without files": b"--B\r\nContent-Disposition: form-data; name=f\r\n\r\nx\r\n--B--\r\n",
    "of nothing": b"--B--\r\n",
    "empty": b"",
    "no form": b"hello",
    "an endless head": b"--B\r\n" + b"X: y\r\n" * 9000 + b"\r\nx\r\n--B--\r\n",
    "an empty file": PART % (b"n", b"") + b"--B--\r\n",
    "good, cut": PART % (b"n", b"x") + PART % (b"m", b"half"),
    "good, empty": PART % (b"n", b"x") + PART % (b"m", b"") + b"--B--",
}


def test_a_form_that_is_not_whole_leaves_nothing(serve, tmp_path):
    served = serve("--dir", "kept")
    for what, form in BAD_FORMS.items():
        status, _, answer = served.ask(
            "POST", "/", form, Content_Type="multipart/form-data; boundary=B"
        )
        assert status == 400 and 0 < len(answer) < 100, what
        assert inside(tmp_path / "kept") == [], what
    assert "received " not in served.log_text
    for content_type in (
        "multipart/form-data",
        "application/x-www-form-urlencoded",
        "text/plain; boundary=B",
        "",
    ):
        assert served.ask("POST", "/", b"--B--", Content_Type=content_type)[0] in (400, 415)


HOSTILE = [
    "../../x",
    "..%2f..%2fx",
    "..\\..\\x",
    "/etc/passwd",
    ".bashrc",
    ".",
    "..",
    "...",
    "CON",
    "con.txt",
    "COM1",
    "nul.tar.gz",
    "a/b/c.txt",
    "x" * 300,
    "é" * 300 + ".txt",
    "漢字 😀.txt",
    "new\r\nline",
    "nul\0byte",
    'q"uo\\te',
    "trailing. .",
    " lead",
    "a:b",
    "<script>.html",
    "\u202egpj.exe",
    ".part",
    ".twat-fs",
    "~root",
    "-rf",
    "$(id)",
    "%00",
    "%2e%2e",
    "?query#frag",
    "\x1b[2J",
    "\udcff",
]


def test_hostile_names_become_harmless_ones(serve, tmp_path):
    served = serve("--dir", "kept")
    store = tmp_path / "kept"
    for name in HOSTILE:
        raw = name.encode("utf-8", "surrogateescape")
        status, _, link = served.ask("PUT", "/" + quote(raw, safe=""), b"content of " + raw)
        assert status == 200, name
        check_kept(served, store, link.decode(), b"content of " + raw)
        form = (
            b'--B\r\nContent-Disposition: form-data; name="f"; filename="%s"\r\n\r\n%s\r\n--B--'
            % (raw, raw)
        )
        status, _, link = served.ask(
            "POST", "/", form, Content_Type="multipart/form-data; boundary=B"
        )
        if status != 400:  # a line break ends the header
            assert status == 200, name
            check_kept(served, store, link.decode(), raw)
    assert sorted(os.listdir(tmp_path)) == ["home", "kept"], "nothing anywhere else"


def check_kept(served, store, link, content):
    """The link serves the content, which is stored in the folder under a harmless name."""
    token, name = map(unquote, urlsplit(link).path[1:].split("/"))
    path = store / index_of(store)[token]["path"]
    assert fetch(served, link) == content and path.read_bytes() == content
    assert link.isascii() and link.isprintable()
    for each in (name, path.name):
        assert each.isprintable() and len(each.encode()) <= 255 and not each.startswith(".")
        assert not re.search(r'[/\\:<>"|?*]', each)
        assert not re.match(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\.|$)", each)
    assert path.parent == store and inside(store).count(path.name) == 1


def test_a_file_needs_a_name_in_put_and_gets_one_in_a_form(serve):
    served = serve()
    assert served.ask("PUT", "/", b"x")[0] == 400
    assert served.ask("PUT", "/folder/", b"x")[0] == 400
    form = b'--B\r\nContent-Disposition: form-data; name="f"; filename=""\r\n\r\nx\r\n--B--'
    status, _, link = served.ask("POST", "/", form, Content_Type="multipart/form-data; boundary=B")
    assert status == 200 and fetch(served, link.decode()) == b"x"


@pytest.mark.parametrize(
    "field, name",
    [
        (b"filename*=UTF-8''na%C3%AFve%20%E2%82%AC.txt", "na\u00efve \u20ac.txt"),
        (b"filename*=utf-8'en'a%2F..%2Fb.txt", "b.txt"),
        (b"filename=\"a.txt\"; filename*=UTF-8''b.txt", "a.txt"),
    ],
)
def test_an_extended_file_name_counts_where_it_stands_alone(serve, field, name):
    """RFC 8187: some clients send it alone for a name that is not ASCII."""
    served = serve()
    form = b"--B\r\nContent-Disposition: form-data; name=f; %s\r\n\r\nx\r\n--B--" % field
    status, _, link = served.ask("POST", "/", form, Content_Type="multipart/form-data; boundary=B")
    assert status == 200 and unquote(urlsplit(link.decode()).path.rpartition("/")[2]) == name
    assert fetch(served, link.decode()) == b"x"


def test_folders_in_the_path_are_ignored(serve, tmp_path):
    served = serve("--dir", "kept")
    link = served.ask("PUT", "/upload/deep/a.txt", b"x")[2].decode()
    assert (
        fetch(served, link) == b"x"
        and link.endswith("/a.txt")
        and urlsplit(link).path.count("/") == 2
    )


def test_the_delete_link_works_once(serve, tmp_path):
    served = serve("--dir", "kept")
    link, delete = served.put("a.txt", b"x")
    other, _ = served.put("b.txt", b"y")
    assert delete.startswith(link + "/") and len(delete) - len(link) > 16
    for wrong in (
        link,
        link + "/",
        link + "/wrong",
        delete + "x",
        delete[:-1],
        other + delete[len(link) :],
        link + "/%ff",
    ):
        assert served.ask("DELETE", wrong)[0] == 404, wrong
    assert fetch(served, link) == b"x"
    assert [served.ask("DELETE", delete)[0] for _ in range(2)] == [200, 404]
    assert fetch(served, link) == 404 and fetch(served, other) == b"y"
    assert [name.rpartition("/")[2] for name in inside(tmp_path / "kept")] == ["b.txt"]


def test_a_delete_link_cannot_be_fetched_and_browsers_get_a_button(serve):
    served = serve()
    link, delete = served.put("a&b.txt", b"x")
    assert fetch(served, delete) == 404
    status, _, page = served.ask("GET", delete, Accept=BROWSER)
    path = urlsplit(delete).path.replace("&", "&amp;")
    assert status == 200 and f'<form method="post" action="{path}">'.encode() in page
    assert served.ask("GET", delete[:-1], Accept=BROWSER)[0] == 404
    assert served.ask("POST", delete[:-1], b"", Accept=BROWSER)[0] == 404
    assert served.ask("POST", delete, b"")[0] == 415, "only a browser"
    assert fetch(served, link) == b"x"
    status, _, page = served.ask("POST", delete, b"", Accept=BROWSER)
    assert status == 200 and b"<li>a&amp;b.txt deleted" in page and fetch(served, link) == 404


def test_max_downloads_are_counted(serve, tmp_path):
    served = serve("--dir", "kept")
    link, _ = served.put("a.txt", b"x", Max_Downloads="2")
    assert served.ask("HEAD", link)[0] == 200, "a look costs nothing"
    assert [fetch(served, link) for _ in range(3)] == [b"x", b"x", 404]
    assert served.ask("HEAD", link)[0] == 404
    wait_until(lambda: inside(tmp_path / "kept") == [])


def test_max_downloads_hold_when_many_come_at_once(serve):
    served = serve()
    link, _ = served.put("a.txt", b"x" * 100_000, Max_Downloads="5")
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        got = list(pool.map(lambda _: fetch(served, link), range(20)))
    assert sum(body != 404 for body in got) == 5 and got.count(404) == 15


@pytest.mark.parametrize("header", ["Max-Days", "Max-Downloads"])
def test_nonsense_wishes_are_refused(serve, tmp_path, header):
    served = serve("--dir", "kept")
    for value in ("0", "-1", "abc", "1.5", "", "1 2", "0x10", "1e3", "9" * 40, "\xb2", "None"):
        status, _, answer = served.ask("PUT", "/a", b"x", **{header: value})
        assert status == 400 and header.encode() in answer, value
    assert inside(tmp_path / "kept") == []
    link, _ = served.put("a", b"x", **{header: "365"})
    assert fetch(served, link) == b"x"


def test_more_days_than_the_server_keeps_are_refused_before_they_are_promised(serve):
    served = serve("--keep", "1h")
    sentence = b"Max-Days is limited to 1 hour\n"
    assert served.ask("PUT", "/a", b"x", Max_Days="1")[::2] == (400, sentence)
    assert served.ask("PUT", "/a", b"x")[0] == 200


def test_max_days_are_honoured(tmp_path):
    for keep, days, expected in (
        (float("inf"), "3", 3 * 86400),
        (9 * 86400, "3", 3 * 86400),
        (60, None, 60),
    ):
        store = twat_fs.Store(str(tmp_path), MIB, keep)
        terminal = twat_fs.Terminal(None, draws=False, verbose=False, quiet=True)
        with twat_fs.start_server(store, "127.0.0.1", 0, True, terminal=terminal) as server:
            thread = threading.Thread(target=server.serve_forever, args=(0.01,))
            thread.start()
            connection = http.client.HTTPConnection(*server.server_address, timeout=5)
            connection.request("PUT", "/a", b"x", {"Max-Days": days} if days else {})
            assert connection.getresponse().status == 200
            connection.close()
            server.shutdown()
            thread.join()
        (entry,) = store.files.values()
        assert abs(entry.expires - time.time() - expected) < 30


def test_dir_keeps_the_files_and_gives_nothing_that_was_there_before(serve, tmp_path):
    store = tmp_path / "kept"
    (store / "sub").mkdir(parents=True)
    (store / "mine.txt").write_bytes(b"mine")
    (store / "sub" / "mine.txt").write_bytes(b"mine")
    served = serve("--dir", "kept")
    served.put("a.txt", b"x")
    assert [
        fetch(served, path) for path in ("/mine.txt", "/sub/mine.txt", "/sub/", "/kept/mine.txt")
    ] == [404] * 4
    assert served.ask("DELETE", "/sub/mine.txt/")[0] == 404
    served.stop()
    assert inside(store) == ["a.txt", "mine.txt", "sub/mine.txt"]


def test_dir_is_made_when_missing_and_must_be_a_folder(serve, refused, tmp_path):
    served = serve("--dir", "new/deep")
    served.put("a.txt", b"x")
    assert len(inside(tmp_path / "new" / "deep")) >= 1
    (tmp_path / "odd" / INDEX).mkdir(parents=True)
    for path, named in (("good", "good"), ("good/deeper", "good/deeper"), ("odd", INDEX)):
        code, err = refused("--port", "0", "--dir", path)
        assert code == 6 and named in err


@posix
def test_without_dir_everything_is_gone_at_the_end(serve, tmp_path):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    served = serve(env={"TMPDIR": scratch})
    served.put("a.txt", b"x")
    assert len(inside(scratch)) >= 1
    assert (
        scratch.stat().st_mode & 0o777,
        [p.stat().st_mode & 0o77 for p in scratch.iterdir()],
    ) == (0o755, [0]), "for us alone"
    assert served.stop()[0] == -signal.SIGINT and list(scratch.iterdir()) == []


def test_keep_deletes_after_its_time(serve, tmp_path):
    """The time begins when the file is complete."""
    served = serve("--dir", "kept", "--keep", "1s")
    connection = served.connect()
    connection.putrequest("PUT", "/a.txt")
    connection.putheader("Content-Length", "1")
    connection.endheaders()
    time.sleep(1.2)
    connection.send(b"x")
    link = connection.getresponse().read().decode()
    assert fetch(served, link) == b"x"
    time.sleep(1)
    assert fetch(served, link) == 404
    wait_until(lambda: inside(tmp_path / "kept") == [])


def test_files_lie_under_their_own_names(serve, tmp_path):
    """Also if the name is in use; links have the name that the sender chose."""
    served, store = serve("--dir", "kept"), tmp_path / "kept"
    (store / "photo-2.jpg").write_bytes(b"mine")
    links = [served.put("photo.jpg", b"%d" % number)[0] for number in range(3)]
    assert inside(store) == ["photo-2.jpg", "photo-3.jpg", "photo-4.jpg", "photo.jpg"]
    assert [fetch(served, link) for link in links] == [b"0", b"1", b"2"]
    assert all(link.endswith("/photo.jpg") for link in links)
    assert (store / "photo-2.jpg").read_bytes() == b"mine"
    long = "\u20ac" * 80 + ".tar"
    for _ in range(2):
        served.put(long, b"x")
    assert len(inside(store)) == 6
    if os.name == "posix":
        assert (store / INDEX).stat().st_mode & 0o77 == 0, "it has the delete tokens"


def test_an_old_link_never_leads_to_the_file_of_another_sender(serve, tmp_path):
    served, store = serve("--dir", "kept"), tmp_path / "kept"
    old, delete = served.put("a-2.txt", b"old")
    (store / "a-2.txt").unlink()
    new = [served.put("a.txt", b"new")[0] for _ in range(2)]
    assert fetch(served, old) == 404 and inside(store) == ["a-3.txt", "a.txt"]
    assert served.ask("DELETE", delete)[0] == 200
    assert [fetch(served, link) for link in new] == [b"new"] * 2


# The index ----------------------------------------------------------------------------------------


def test_everything_holds_after_a_restart(serve, tmp_path):
    store = tmp_path / "kept"
    served = serve("--dir", "kept")
    link, delete = served.put("a.txt", b"a")
    twice, _ = served.put("a.txt", b"twice", Max_Downloads="2")
    soon, _ = served.put("soon.txt", b"x", Max_Days="1")
    gone, delete_gone = served.put("gone.txt", b"x")
    assert fetch(served, twice) == b"twice" and served.ask("DELETE", delete_gone)[0] == 200
    before = index_of(store)
    served.stop()
    served = serve("--dir", "kept", port=str(served.port))
    assert index_of(store) == before and len(before) == 3
    assert [fetch(served, url) for url in (link, twice, twice, soon, gone)] == [
        b"a",
        b"twice",
        404,
        b"x",
        404,
    ]
    wait_until(lambda: inside(store) == ["a.txt", "soon.txt"])
    assert served.ask("DELETE", delete)[0] == 200 and inside(store) == ["soon.txt"]
    served.stop()
    expired = re.sub(r'"expires": [\d.]+', '"expires": 1', (store / INDEX).read_text())
    (store / INDEX).write_text(expired)
    assert fetch(serve("--dir", "kept"), urlsplit(soon).path) == 404
    wait_until(lambda: inside(store) == [])


def test_keep_deletes_what_an_earlier_run_received(serve, tmp_path):
    store = tmp_path / "kept"
    served = serve("--dir", "kept")
    old, new = (served.put(name, b"x")[0] for name in ("old", "new"))
    served.stop()
    os.utime(store / "old", (time.time() - 3600,) * 2)
    (store / "mine").write_bytes(b"x")
    os.utime(store / "mine", (0, 0))
    served = serve("--dir", "kept", "--keep", "30m", port=str(served.port))
    assert (fetch(served, old), fetch(served, new)) == (404, b"x")
    wait_until(lambda: inside(store) == ["mine", "new"])


def test_a_damaged_index_is_read_as_far_as_possible(serve, tmp_path):
    """After `kill -9` the last line may be incomplete; a line never leads out of the folder."""
    store = tmp_path / "kept"
    served = serve("--dir", "kept")
    links = [served.put(name, b"x")[0] for name in "ab"]
    served.stop()
    (tmp_path / "secret").write_bytes(b"root:")
    outside = dict(next(iter(index_of(store).values())), token="0" * 24, path="../secret")
    with open(store / INDEX, "ab") as file:
        for line in (b"", b"[]", b"null", b'{"token": 1}', b'{"path": "x"}', b'{"x": {}}', b"\xff"):
            file.write(b"\n" + line)
        for field in ("name", "delete_token", "expires", "downloads_left"):
            file.write(b"\n" + json.dumps(dict(outside, path="a", **{field: [1]})).encode())
        file.write(b"\n" + b"[" * 100_000)
        hidden = dict(outside, token="1" * 24, path=INDEX)
        for line in (outside, hidden):
            file.write(b"\n" + json.dumps(line).encode())
        file.write(b'\n{"token": "torn')
    served = serve("--dir", "kept", port=str(served.port))
    assert served.ask("GET", "/%s/a" % ("0" * 24))[0] == 404
    assert served.ask("GET", "/%s/a" % ("1" * 24))[0] == 404
    assert [fetch(served, link) for link in links] == [b"x"] * 2


@pytest.mark.skipif(sys.platform != "linux", reason="changes a limit of another process")
def test_what_cannot_be_written_to_the_index_is_not_stored(serve, tmp_path):
    """As on a full disk, where a part of a line is written: later lines stay readable."""
    import resource

    store = tmp_path / "kept"
    served = serve("--dir", "kept")
    served.put("a", b"x")
    limits = resource.prlimit(served.process.pid, resource.RLIMIT_FSIZE)
    size = (store / INDEX).stat().st_size + 50
    resource.prlimit(served.process.pid, resource.RLIMIT_FSIZE, (size, limits[1]))
    assert served.ask("PUT", "/b", b"x")[0] == 500 and inside(store) == ["a"]
    resource.prlimit(served.process.pid, resource.RLIMIT_FSIZE, limits)
    link, _ = served.put("c", b"x")
    served.stop()
    assert fetch(serve("--dir", "kept"), urlsplit(link).path) == b"x"


@posix
def test_two_servers_never_use_one_folder(serve, refused, tmp_path):
    served = serve("--dir", "kept")
    link, _ = served.put("a", b"x")
    code, err = refused("--port", "0", "--dir", "kept")
    assert code == 2 and "kept: in use by another server" in err and "--dir" in err
    assert fetch(served, link) == b"x"
    served.process.kill()
    served.process.wait(10)
    assert fetch(serve("--dir", "kept"), urlsplit(link).path) == b"x", "the lock ends with it"


@posix
def test_kill_9_under_load_loses_nothing_that_was_acknowledged(serve, tmp_path):
    store = tmp_path / "kept"
    served = serve("--dir", "kept")
    links = {}

    def send(number):
        content = b"%d " % number * 20_000
        with contextlib.suppress(OSError, http.client.HTTPException):
            links[served.put("same.txt", content)[0]] = content
        if len(links) == 100:
            served.process.kill()

    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        list(pool.map(send, range(200)))
    served.process.wait(10)
    assert 0 < len(links) < 200, "it died in the middle"
    served = serve("--dir", "kept", port=str(served.port))
    assert not [name for name in inside(store) if name.endswith(".part")]
    for link, content in links.items():
        assert fetch(served, link) == content
    for token, entry in index_of(store).items():
        content = fetch(served, "/%s/%s" % (token, entry["name"]))
        number = content.split()[0]
        assert content == number + b" " + content[: -len(number) - 1] and len(content) > 20_000


# What a server says about itself ------------------------------------------------------------------


@posix
def test_without_dir_the_first_line_and_the_last_say_what_is_deleted(serve):
    served = serve()
    assert served.log_text.splitlines()[0].endswith("until Ctrl-C deletes the files")
    served.put("a", b"x")
    served.put("b", b"x")
    served.stop()
    assert "twat-fs: stopped; 2 files deleted" in served.log_text
    lasting = serve("--dir", "kept")
    assert lasting.log_text.splitlines()[0].endswith("until Ctrl-C; files go to kept")
    lasting.put("a", b"x")
    lasting.stop()
    assert lasting.log_text.splitlines()[-1] == "twat-fs: stopped"


@pytest.mark.parametrize("args", [["--token"], ["--token", "--quiet"]])
def test_a_token_without_a_value_is_random_and_printed(serve, args):
    served = serve(*args, env={"TWAT_FS_SERVE_TOKEN": "other"})
    wait_until(lambda: " -T FILE " in served.log_text)
    token = re.search("curl -u :([0-9a-f]{12}) -T FILE", served.log_text)[1]
    assert f"//:{token}@127.0.0.1" in served.log_text
    assert served.ask("PUT", "/a", b"x", Authorization="Bearer other")[0] == 401
    assert served.ask("PUT", "/a", b"x", Authorization=f"Bearer {token}")[0] == 200


def test_at_its_root_it_says_how_to_upload(serve):
    for args, user in (((), ""), (("--token", "s3cret"), "-u :TOKEN ")):
        served = serve(*args)
        java = "text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2"
        status, headers, body = served.ask("GET", "/", Accept=java)
        assert (status, headers["content-type"]) == (200, "text/plain; charset=utf-8")
        assert body.decode() == f"curl {user}-T FILE {served.base}\n"
        assert served.ask("GET", "/favicon.ico")[0] == 404


def test_the_page_is_small_and_needs_no_other_origin(serve):
    served = serve("--keep", "7d")
    for host in ("127.0.0.1:1", "a.example"):
        status, headers, page = served.ask("GET", "/", Accept=BROWSER, Host=host)
        assert status == 200 and len(page) <= 3 * 1024 and host.encode() in page
        assert b"At most 1 GiB" in page and b"for 7 days or until this server stops" in page
        assert not re.findall(rb"(?:src|href|action)=\"(?:\w+:)?//", page)
    policy = headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; ") and "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy and "form-action 'self'" in policy
    status, headers, script = served.ask("GET", "/page.js")
    assert (status, headers["x-content-type-options"]) == (200, "nosniff")
    assert len(script) <= 3 * 1024 and headers["content-type"].startswith("text/javascript")


def test_with_a_token_the_page_asks_for_it_and_nothing_shows_it(serve):
    served = serve("--token", "s3cret")
    basic = "Basic " + base64.b64encode(b":s3cret").decode()
    for path in ("/", "/twat-fs.sxcu"):
        status, headers, body = served.ask("GET", path, Accept=BROWSER)
        assert status == 401 and headers["www-authenticate"].startswith("Basic")
        assert b"s3cret" not in body
    status, _, page = served.ask("GET", "/", Accept=BROWSER, Authorization=basic)
    assert status == 200 and b"curl -u :TOKEN -T FILE" in page and b"s3cret" not in page
    served.ask("GET", "/", Accept=BROWSER, Authorization=basic + "x")
    wait_until(lambda: "401 Wrong token" in served.log_text)
    assert "required" not in served.log_text, "each visit of a browser begins with it"


@pytest.mark.parametrize("token", ["", "s3{cr}et"])
def test_the_file_for_sharex_works_in_the_program(serve, program, tmp_path, token):
    served = serve(*(["--token", token] if token else []))
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    status, _, sxcu = served.ask("GET", "/twat-fs.sxcu", **headers)
    assert status == 200 and json.loads(sxcu)["RequestURL"] == served.base + "{filename}"
    (tmp_path / "mine.sxcu").write_bytes(sxcu)
    (tmp_path / "a b.txt").write_bytes(b"abc")
    done = program("--json", "-p", "mine.sxcu", "a b.txt")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert fetch(served, result["url"]) == b"abc"
    assert served.ask("GET", result["delete_page"], Accept=BROWSER)[0] == 200


# The page in a browser ----------------------------------------------------------------------------

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg"
    "=="
)
LINKS = "[...document.querySelectorAll('li a')].map(a => a.href)"


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    if sys.platform != "linux":
        pytest.skip("needs Linux")
    with Browser(need("chromium"), tmp_path_factory.mktemp("profile")) as chromium:
        yield chromium


@pytest.fixture
def samples(tmp_path):
    """Three files, whose names a page must escape."""
    contents = {
        "a b%20.png": PNG,
        "b&lt;'.txt": b"<script>document.title = 'run'</script>",
        "c": b"c",
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    return [tmp_path / name for name in contents]


@pytest.mark.one_python
def test_the_page_uploads_files_copies_links_and_deletes(serve, browser, samples, tmp_path):
    served = serve("--dir", "kept", "--max-size", "1M")
    tab = browser.tab(served.base.replace("//", "//user:password@"))
    tab.choose("input", samples[0])
    (link,) = tab.until(f"{LINKS}.length == 1 && {LINKS}")
    assert fetch(served, link) == PNG
    tab.click("li button")
    tab.until("document.querySelector('li button').textContent == 'Copied'")
    assert tab.clipboard() == link
    tab.click("li button:last-child")
    tab.until("!document.querySelector('li')")
    assert inside(tmp_path / "kept") == []
    large = tmp_path / "large"
    large.write_bytes(b"x" * (MIB + 1))
    empty = tmp_path / "empty"
    empty.touch()
    tab.drop("label", samples[0], large, *samples[1:], empty)
    links = tab.until(f"{LINKS}.length == 3 && /empty:/.test(document.body.innerText) && {LINKS}")
    assert [fetch(served, link) for link in links] == [path.read_bytes() for path in samples]
    for line in ("large: file too large", "empty: Could not upload empty file", samples[1].name):
        assert line in tab.text()
    assert tab.js("document.title").startswith("Send files to") and tab.complaints() == [
        "Failed to load resource: the server responded with a status of 400 (Bad Request)"
    ]
    tab.open(links[0])
    assert tab.js("document.images[0].naturalWidth") == 1


@pytest.mark.one_python
def test_a_browser_shows_what_is_harmless_and_runs_nothing(serve, browser, samples, tmp_path):
    with wave.open(str(tmp_path / "sound.wav"), "wb") as sound:
        sound.setparams((1, 2, 8000, 0, "NONE", ""))
        sound.writeframes(bytes(16_000))
    served = serve(samples[0], samples[1], "sound.wav", files=3)
    picture, text, sound = (browser.tab("about:blank") for _ in range(3))
    for tab, url in zip((picture, text, sound), served.urls):
        tab.call("Page.navigate", url=url)
    picture.until("document.images[0]?.naturalWidth == 1")
    sound.until("document.querySelector('video')?.readyState == 4")
    text.until("document.contentType == 'text/plain' && document.body?.innerText")
    assert text.text() == samples[1].read_text() and text.js("document.title + origin") == "null"


@pytest.mark.one_python
def test_without_a_script_the_form_uploads_and_deletes(serve, browser, samples, tmp_path):
    served = serve("--dir", "kept", "--url", "http://127.0.0.1:1/elsewhere/")
    tab = browser.tab("about:blank", width=390)
    tab.without_script()
    tab.open(served.base)
    tab.choose("input", *samples)
    tab.click(".send")
    tab.loaded()
    paths = [urlsplit(link).path for link in tab.js(LINKS)]
    assert [fetch(served, path) for path in paths] == [path.read_bytes() for path in samples]
    assert samples[1].name in tab.text()
    tab.click("li:nth-child(2) button")
    tab.loaded()
    assert tab.text().count(samples[1].name + " deleted") == 1
    assert len(inside(tmp_path / "kept")) == 2
    tab.choose("input", samples[1])
    tab.click(".send")
    tab.loaded()
    path = urlsplit(tab.js(LINKS)[0]).path
    assert fetch(served, path) == samples[1].read_bytes()
    assert tab.js("document.documentElement.scrollWidth") <= 390 and tab.complaints() == []


FOREIGN_PAGE = """<form method=post enctype=multipart/form-data action="TARGET">
<input name='x"; filename="evil"' value=x></form><script>
const data = new FormData();
data.append("file", new Blob(["x"]), "evil");
const way = {mode: "no-cors", credentials: "include", method: "POST", body: data};
fetch("TARGET", way).finally(() => document.forms[0].submit());
</script>"""


@pytest.mark.one_python
@pytest.mark.parametrize("address", ["127.0.0.1", ""])
def test_a_foreign_page_uploads_nothing(serve, browser, samples, tmp_path, address):
    """Not even with the token, which the browser sends by itself.

    At another address than loopback, browsers send no Sec-Fetch-Site without HTTPS.
    """
    address = address or twat_fs.own_address()
    if not address:
        pytest.skip("this machine has no address but loopback")
    served = serve("--dir", "kept", "--token", "s3cret", bind=address)
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "index.html").write_text(FOREIGN_PAGE.replace("TARGET", served.base))
    tab = browser.tab(served.base.replace("//", "//:s3cret@"))
    tab.choose("input", samples[2])
    tab.until(f"{LINKS}.length == 1")
    tab.click("li button")
    tab.until("document.querySelector('li button').textContent == 'Copied'")
    assert tab.js("'clipboard' in navigator") == (address == "127.0.0.1"), "copied without it"
    handler = functools.partial(SimpleHTTPRequestHandler, directory=foreign)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        tab.open("http://127.0.0.1:%d/" % server.server_address[1])
        tab.until("/Cross-site uploads are disabled/.test(document.body.innerText)")
        server.shutdown()
    assert inside(tmp_path / "kept") == ["c"]


# Limits -------------------------------------------------------------------------------------------


@needs_curl
@pytest.mark.parametrize(
    "upload_command", ["-T FILE", "-T -", "-F f=@FILE", "-T FILE -H Expect:", "-T - -H Expect:"]
)
def test_too_much_is_413_and_curl_can_read_it(serve, tmp_path, upload_command):
    served = serve("--max-size", "100k", "--dir", "kept")
    path = tmp_path / "big.bin"
    path.write_bytes(b"x" * 3_000_000)
    args = upload_command.replace("FILE", str(path)).split()
    status, body = curl(
        *args, served.base + ("" if "-F" in args else "big.bin"), input=path.read_bytes()
    )
    assert (status, body) == (413, b"File too large: at most 100.0 KiB\n")
    assert inside(tmp_path / "kept") == []


def test_the_limit_may_be_more_than_a_disk_has(serve):
    assert serve("--max-size", "2T").put("a", b"x")


def test_the_limit_is_exact(serve):
    served = serve("--max-size", "1000")
    link, _ = served.put("a", b"x" * 1000)
    assert len(fetch(served, link)) == 1000
    assert served.ask("PUT", "/a", b"x" * 1001)[0] == 413
    chunked = b"PUT /a HTTP/1.1\r\nHost: localhost\r\n"
    chunked += b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    for sizes, status in (
        ((1000,), b"200"),
        ((1001,), b"413"),
        ((500, 500), b"200"),
        ((500, 501), b"413"),
    ):
        body = b"".join(b"%x\r\n%s\r\n" % (size, b"x" * size) for size in sizes)
        assert served.raw(chunked + body + b"0\r\n\r\n").startswith(b"HTTP/1.1 " + status), sizes


def test_too_much_in_chunks_is_refused_while_it_comes_not_when_it_ends(serve, tmp_path):
    served = serve("--max-size", "100k", "--dir", "kept")
    with socket.create_connection((served.host, served.port), timeout=5) as sock:
        sock.sendall(
            b"PUT /a HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nffffffff\r\n"
            + b"x" * 200_000
        )
        assert sock.recv(100).startswith(b"HTTP/1.1 413 ")
    assert inside(tmp_path / "kept") == []


@posix
def test_a_file_that_would_fill_the_disk_is_refused_before_it_comes(serve, tmp_path):
    free = shutil.disk_usage(tmp_path).free
    served = serve("--dir", "kept", "--max-size", "900g")
    full = b"507" if free < 800 * 2**30 else b"413"  # a larger disk meets the other limit first
    for size, status in (
        (free + MIB, full),
        (free - 10 * MIB, full),
        (min(free // 2, MIB), b"100"),
    ):
        head = PUT + b"Content-Length: %d\r\nExpect: 100-continue\r\n\r\n" % size
        assert served.raw(head).startswith(b"HTTP/1.1 " + status), size
    assert inside(tmp_path / "kept") == []


@posix
def test_a_folder_that_is_gone_is_told_to_who_sends(serve, program, tmp_path):
    """Silence would be taken for a broken line, and all of it sent once more."""
    folder, path = tmp_path / "in", tmp_path / "a.txt"
    path.write_bytes(b"abc")
    served = serve("--dir", folder)
    folder.rename(tmp_path / "away")
    assert served.ask("PUT", "/a.txt", b"abc")[0] == 500
    done = program("-p", served.base, path)
    assert (
        (done.returncode, done.stdout) == (1, "")
        and "500" in done.stderr
        and "stored" in done.stderr
    )
    (tmp_path / "away").rename(folder)
    assert served.ask("PUT", "/a.txt", b"abc")[0] == 200


def test_nothing_is_400(serve, tmp_path):
    served = serve("--dir", "kept")
    assert served.ask("PUT", "/a", b"")[0] == 400
    assert served.raw(
        b"PUT /a HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    ).startswith(b"HTTP/1.1 400")
    assert inside(tmp_path / "kept") == []


CHUNKED_PUT = b"PUT /a HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
HALVES = {
    "less than promised": b"PUT /a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n"
    + b"x" * 5000,
    "a chunk cut off": CHUNKED_PUT + b"ffff\r\n" + b"x" * 5000,
    "no last chunk": CHUNKED_PUT + b"5\r\nhello\r\n",
    "half a form": b"POST / HTTP/1.1\r\nHost: localhost\r\n"
    b"Content-Type: multipart/form-data; boundary=B\r\nContent-Length: 9999\r\n\r\n"
    b"--B\r\nContent-Disposition: form-data; name=f; filename=n\r\n\r\n" + b"x" * 5000,
}


@pytest.mark.parametrize("what", HALVES)
def test_a_half_sent_upload_leaves_nothing_behind(serve, tmp_path, what):
    served, store = serve("--dir", "kept"), tmp_path / "kept"
    assert served.raw(HALVES[what]).startswith(b"HTTP/1.1 400")
    with socket.create_connection((served.host, served.port)) as sock:
        sock.sendall(HALVES[what])
        wait_until(lambda: inside(store))
    wait_until(lambda: inside(store) == [])


@posix
def test_ctrl_c_during_an_upload_leaves_no_half_file_in_dir(serve, tmp_path):
    served, store = serve("--dir", "kept"), tmp_path / "kept"
    with socket.create_connection((served.host, served.port)) as sock:
        sock.sendall(HALVES["less than promised"])
        wait_until(lambda: inside(store))
        served.stop()
    assert inside(store) == []


# Pages of others, and proxies ---------------------------------------------------------------------


def store_by(served, *lines, method="PUT", path="/a"):
    """The status of an upload with these header lines, and the link."""
    body = b"x"
    if method == "POST":
        lines += ("Content-Type: multipart/form-data; boundary=B",)
        body = PART % (b"n", b"x") + b"--B--"
    head = ["%s %s HTTP/1.1" % (method, path), *lines, "Content-Length: %d" % len(body)]
    got = served.raw("\r\n".join([*head, "Connection: close", "", ""]).encode() + body)
    status, link = got[9:12].decode(), got.rpartition(b"\r\n\r\n")[2].decode()
    assert (status == "200") == link.startswith("http"), got
    return int(status), link


FOREIGN = [
    "Sec-Fetch-Site: cross-site",
    "Sec-Fetch-Site: same-site",  # another port of this machine, say
    "Origin: http://evil.example",
    "Origin: http://evil.example:PORT",
    "Origin: https://127.0.0.1",
    "Origin: http://127.0.0.1:1",
    "Origin: null",
    "Origin: file://",
    "Origin: http://127.0.0.1:PORT.evil.example",
    "Sec-Fetch-Site: none\r\nOrigin: http://evil.example",
    "Origin: http://evil.example\r\nX-Forwarded-For: 127.0.0.1",
]
OWN = [
    "Sec-Fetch-Site: same-origin",
    "Sec-Fetch-Site: none",
    "Origin: http://127.0.0.1:PORT",
    "Sec-Fetch-Site: same-origin\r\nOrigin: http://127.0.0.1:PORT",
]


@pytest.mark.parametrize("method", ["PUT", "POST"])
@pytest.mark.parametrize("options", [(), ("--token", "s3cret")])
def test_no_page_of_another_site_stores_anything(serve, tmp_path, method, options):
    """Also with a token: a browser that has asked for it once sends it for every page."""
    served = serve("--dir", "kept", *options)
    basic = base64.b64encode(b":s3cret").decode()
    own = "Host: 127.0.0.1:%d\r\nAuthorization: Basic %s" % (served.port, basic)
    for line in FOREIGN:
        sent = line.replace("PORT", str(served.port))
        assert store_by(served, own, sent, method=method)[0] == 403, line
    assert inside(tmp_path / "kept") == []
    for line in OWN:
        sent = line.replace("PORT", str(served.port))
        assert store_by(served, own, sent, method=method)[0] == 200, line


def test_a_page_of_another_site_is_refused_before_it_sends(serve):
    head = PUT + b"Content-Length: 5000\r\nOrigin: http://a.example\r\nExpect: 100-continue\r\n\r\n"
    assert serve().raw(head).startswith(b"HTTP/1.1 403 ")


def test_a_name_that_was_made_to_lead_here_stores_nothing(serve, tmp_path):
    """DNS rebinding: the browser takes both for one site, so the page may send any header."""
    served = serve("--dir", "kept")
    for host in ("evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "x", "evil"):
        for own in ("%s:%d" % (host, served.port), "%s.:%d" % (host, served.port)):
            rebound = ("Host: " + own, "Origin: http://" + own, "Sec-Fetch-Site: same-origin")
            assert store_by(served, *rebound)[0] == 403, own
            for forwarded in (own, host, "localhost", "127.0.0.1:%d" % served.port):
                more = ("X-Forwarded-Host: " + forwarded, "X-Forwarded-Proto: https")
                assert store_by(served, *rebound, *more)[0] == 403, forwarded
    assert inside(tmp_path / "kept") == []
    for host in (
        "127.0.0.1",
        "localhost",
        "LOCALHOST",
        "[::1]",
        "[fd00::7]",
        "192.0.2.7",
        "localhost.",
    ):
        own = "%s:%d" % (host, served.port)
        assert store_by(served, "Host: " + own)[0] == 200, host
        assert store_by(served, "Host: " + own, "Origin: http://" + own.lower())[0] == 200, host


PROXIED = {  # what a proxy on this machine sends, and where its links lead
    (
        "Host: 127.0.0.1:PORT|X-Forwarded-Host: drop.example|X-Forwarded-Proto: https"
    ): "https://drop.example",
    (
        "Host: 127.0.0.1:PORT|X-Forwarded-Host: drop.example:8443|X-Forwarded-Proto: https"
    ): "https://drop.example:8443",
    (
        "Host: drop.example|X-Forwarded-Host: drop.example|X-Forwarded-Proto: https"
    ): "https://drop.example",
    "Host: drop.example|X-Forwarded-Host: drop.example": "http://drop.example",
    (
        "Host: localhost|X-Forwarded-Host: a.example, b.example|X-Forwarded-Proto: http, HTTPS"
    ): "https://b.example",
    "Host: localhost:PORT|X-Forwarded-Proto: https": "https://localhost:PORT",
    "Host: localhost:PORT|X-Forwarded-Proto: gopher": "http://localhost:PORT",
    'Host: localhost:PORT|X-Forwarded-Host: "><script>': "http://127.0.0.1:PORT",
}


def test_a_proxy_on_this_machine_says_where_it_is_seen(serve):
    served = serve()
    for headers, base in PROXIED.items():
        sent = headers.replace("PORT", str(served.port)).split("|")
        base = base.replace("PORT", str(served.port))
        status, link = store_by(served, *sent)
        assert status == 200 and re.fullmatch(re.escape(base) + "/[0-9a-f]{24}/a", link), headers
        assert store_by(served, *sent, "Origin: " + base)[0] == 200 or "<" in headers
        assert store_by(served, *sent, "Origin: https://evil.example")[0] == 403


@posix
def test_a_proxy_elsewhere_is_not_believed(serve):
    """A client at another address may send any header."""
    try:
        served = serve("--token", "s3cret", bind="0.0.0.0")
        own = twat_fs.own_address()
        assert own
    except AssertionError:
        pytest.skip("this machine has no address but loopback")
    served.host = own
    status, link = store_by(
        served,
        "Authorization: Bearer s3cret",
        "Host: files.example",
        "X-Forwarded-Host: evil.example",
        "X-Forwarded-Proto: https",
    )
    assert status == 200 and link.startswith("http://files.example/")


def test_url_is_where_others_see_it(serve):
    served = serve("--url", "https://Drop.Example:443/drop/")
    wait_until(lambda: "receiving at https://drop.example/drop/ until" in served.log_text)
    for headers in (("Host: drop.example",), ("Host: drop.example:8443",), ("Host: localhost",)):
        status, link = store_by(served, *headers, "X-Forwarded-Host: a.example", path="/drop/a")
        assert status == 200 and link.startswith("https://drop.example/drop/"), headers
        path = urlsplit(link).path
        assert fetch(served, path) == b"x", "a proxy that passes the whole path"
        assert fetch(served, path[len("/drop") :]) == b"x", "and one that takes the folder off"
    link = store_by(served, "Host: drop.example", path="/drop.txt")[1]
    assert link.endswith("/drop.txt"), "a name that begins like the folder, without it"
    for origin, status in (("https://drop.example", 200), ("https://evil.example", 403)):
        assert store_by(served, "Host: localhost", "Origin: " + origin)[0] == status
    assert store_by(served, "Host: other.example")[0] == 403
    _, delete = served.put("b", b"x")
    assert served.ask("DELETE", delete)[0] == 200


def test_a_proxy_on_this_machine_is_known_by_ipv4_also_to_a_socket_of_ipv6(serve):
    try:
        served = serve("--token", "s3cret", bind="::")
    except AssertionError:
        pytest.skip("no IPv6 here")
    served.host = "127.0.0.1"
    sent = ("Authorization: Bearer s3cret", "Host: localhost", "X-Forwarded-Host: drop.example")
    try:
        status, link = store_by(served, *sent)
    except ConnectionRefusedError:
        pytest.skip("sockets of IPv6 take no IPv4 here")
    assert status == 200 and link.startswith("http://drop.example/")


def test_url_holds_for_files_that_are_given(serve, tmp_path):
    (tmp_path / "a.txt").write_bytes(b"abc")
    process = serve("a.txt", "--url", "https://drop.example/x", files=1).process
    assert process.poll() is None


@pytest.mark.parametrize(
    "url",
    ["drop.example", "ftp://a/", "https://", "https://u:p@a/", "https://a/?b", "https://a b/"],
)
def test_a_url_that_is_none_is_refused(refused, url):
    code, err = refused("good", "--url", url)
    assert code == 2 and "--url" in err and "https://HOST/drop/" in err


# The token ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("bind", ["0.0.0.0", "::", "192.0.2.1", "localhost.example"])
def test_receiving_from_other_machines_needs_a_token(refused, bind):
    code, err = refused("--port", "0", "--bind", bind)
    assert code == 2 and "--token" in err


def test_the_token_may_come_from_the_environment(start, tmp_path):
    """`ps` does not show it, and no output does; a token on the command line takes precedence."""
    for args, token in (([], "fr0m-env"), (["--token", "typed"], "typed")):
        process = start(
            "serve",
            "--port",
            "0",
            "--bind",
            "0.0.0.0",
            *args,
            env={"TWAT_FS_SERVE_TOKEN": "fr0m-env"},
        )
        served = Served(process, 0)
        assert served.ask("PUT", "/a", b"x")[0] == 401
        assert served.ask("PUT", "/a", b"x", Authorization="Bearer " + token)[0] == 200
        served.stop()
        assert token not in served.log_text


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="counts threads as Linux does")
def test_idle_connections_take_no_more_than_256_threads(serve, tmp_path):
    (tmp_path / "a.txt").write_bytes(b"abc")
    served = serve("a.txt", files=1)

    def threads():
        with open("/proc/%d/status" % served.process.pid) as file:
            return int(re.search(r"Threads:\s*(\d+)", file.read()).group(1))

    idle = [socket.create_connection((served.host, served.port)) for _ in range(300)]
    deadline = time.monotonic() + 10
    while threads() < 257 and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.3)
    while threads() > 257 and time.monotonic() < deadline:  # one that gave way may still be ending
        time.sleep(0.02)
    assert threads() == 257
    begun = time.monotonic()
    assert fetch(served, served.urls[0]) == b"abc", "they give way to who has something to ask"
    assert time.monotonic() - begun < SOON
    idle += [socket.create_connection((served.host, served.port)) for _ in range(150)]
    time.sleep(0.3)
    code, seconds = served.stop()
    assert code == -signal.SIGINT and seconds < SOON
    for connection in idle:
        connection.close()


def test_connections_that_are_kept_give_way_and_a_transfer_does_not(serve, tmp_path):
    data = os.urandom(20 * MIB)
    (tmp_path / "a.bin").write_bytes(data)
    served = serve("a.bin", files=1)
    path = urlsplit(served.urls[0]).path
    transfer = served.connect()
    transfer.request("GET", path)
    response = transfer.getresponse()
    got = response.read(1000)
    connections = []
    begun = time.monotonic()
    for number in range(600):
        connections.append(served.connect())
        connections[-1].request("HEAD", path)
        assert connections[-1].getresponse().read() == b"", number
    assert time.monotonic() - begun < 30
    assert got + response.read() == data
    connections[-1].request("HEAD", path)
    assert connections[-1].getresponse().status == 200, "the youngest ones are still there"
    for connection in (transfer, *connections):
        connection.close()


@pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="counts CPU time as Linux does")
def test_without_descriptors_it_neither_spins_nor_stops(serve, tmp_path):
    import resource

    (tmp_path / "a.txt").write_bytes(b"abc")
    inherited = [os.open(os.devnull, os.O_RDONLY) for _ in range(40)]
    limit = max(inherited) + 14

    def narrow():
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))

    served = serve("a.txt", files=1, pass_fds=inherited, preexec_fn=narrow)

    def cpu():
        with open("/proc/%d/stat" % served.process.pid) as file:
            return sum(map(int, file.read().rpartition(") ")[2].split()[11:13])) / 100

    idle = [socket.create_connection((served.host, served.port)) for _ in range(60)]
    time.sleep(0.5)
    before = cpu()
    time.sleep(2)
    assert cpu() - before < 0.5
    begun = time.monotonic()
    assert [fetch(served, served.urls[0]) for _ in range(5)] == [b"abc"] * 5
    assert time.monotonic() - begun < 5
    for connection in idle:
        connection.close()
    for number in inherited:
        os.close(number)


NEEDED = b"Authentication required: curl -u :TOKEN, or -p http://:TOKEN@HOST/\n"


def test_the_token_is_checked(serve, tmp_path):
    served = serve("--token", "s3cret:ü", "--dir", "kept")

    def basic(text):
        return "Basic " + base64.b64encode(text.encode()).decode()

    right = "Bearer s3cret:ü".encode().decode("latin-1")
    wrong = [
        None,
        "",
        "Bearer",
        "Bearer ",
        "Bearer wrong",
        "Basic",
        "Basic !!!",
        "s3cret",
        right + "x",
        right.replace("Bearer", "Digest"),
    ]
    wrong += map(basic, ("wrong", "u:wrong", ":", "s3cret:ü"))
    for header in wrong:
        headers = {} if header is None else {"Authorization": header}
        status, answer, _ = served.ask("PUT", "/a", b"x", **headers)
        assert status == 401 and "www-authenticate" in answer, header
    assert served.ask("PUT", "/a", b"x")[2] == NEEDED
    assert served.ask("PUT", "/a", b"x", Authorization=basic("u:wrong"))[2] == NEEDED.replace(
        b"Authentication required", b"Wrong token"
    )
    assert served.ask("POST", "/", b"x", Content_Type="multipart/form-data; boundary=B")[0] == 401
    assert inside(tmp_path / "kept") == []
    for header in (
        basic("user:s3cret:ü"),
        basic(":s3cret:ü"),
        right,
        right.replace("Bearer", "bearer"),
    ):
        link, delete = served.put("a", b"x", Authorization=header)
        assert fetch(served, link) == b"x", "to fetch needs none"
        assert served.ask("DELETE", delete)[0] == 200
    assert "s3cret" not in served.log_text


@needs_curl
def test_the_token_by_curl(serve, tmp_path):
    served = serve("--token", "s3cret")
    path = tmp_path / "a.bin"
    path.write_bytes(b"x" * 3_000_000)
    assert curl("-T", path, served.base) == (401, NEEDED)
    for option in (["-u", "me:s3cret"], ["-H", "Authorization: Bearer s3cret"]):
        status, body = curl("-T", path, *option, served.base)
        assert status == 200 and curl(body.decode()) == (200, path.read_bytes())


# Many at once, and nonsense -----------------------------------------------------------------------


def test_slow_clients_do_not_block_others(serve):
    served = serve()
    slow = []
    starts = (
        b"",
        b"GET / HT",
        b"PUT /a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nx",
        b"PUT /a HTTP/1.1\r\nContent-Le",
    )
    for number in range(24):
        slow.append(socket.create_connection((served.host, served.port)))
        slow[-1].sendall(starts[number % 4])
    begun = time.monotonic()
    link, _ = served.put("quick.txt", b"quick")
    assert fetch(served, link) == b"quick" and time.monotonic() - begun < SOON
    for sock in slow:
        sock.close()


def test_20_uploads_at_once(serve):
    served = serve()
    contents = [os.urandom(200_000 + number) for number in range(20)]
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        links = list(pool.map(lambda content: served.put("same name.bin", content)[0], contents))
        assert len(set(links)) == 20
        assert list(pool.map(lambda link: fetch(served, link), links)) == contents


PUT = b"PUT /a HTTP/1.1\r\nHost: localhost\r\n"
POST_5 = b"POST / HTTP/1.1\r\nContent-Length: 5\r\nContent-Type: multipart/form-data%s\r\n\r\nhello"
GARBAGE = {
    "nothing": b"",
    "a line break": b"\r\n",
    "a word": b"GET\r\n\r\n",
    "no version": b"GET / FOO\r\n\r\n",
    "another version": b"GET / HTTP/9.9\r\n\r\n",
    "a version of letters": b"GET / HTTP/x.y\r\n\r\n",
    "zeros": b"\0" * 1000,
    "random bytes": bytes(range(256)) * 300,
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 500 + b"\r\n\r\n",
    "an unknown method": b"BREW /pot HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a very long URL": b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\n\r\n",
    "a long URL": b"GET /"
    + b"x" * 60_000
    + b" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    "a very long header": b"GET / HTTP/1.1\r\nX: " + b"x" * 100_000 + b"\r\n\r\n",
    "too many headers": b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 1000 + b"\r\n",
    "no header line": b"GET / HTTP/1.1\r\nnonsense\r\n\r\n",
    "no length": PUT + b"\r\nhello",
    "a negative length": PUT + b"Content-Length: -1\r\n\r\nhello",
    "a power as length": PUT + "Content-Length: ²\r\n\r\nhello".encode(),
    "a word as length": PUT + b"Content-Length: five\r\n\r\nhello",
    "a huge length": PUT + b"Content-Length: " + b"9" * 100 + b"\r\n\r\nhello",
    "more than memory": PUT + b"Content-Length: 99999999999999\r\n\r\nhello",
    "another encoding": PUT + b"Transfer-Encoding: gzip\r\n\r\nhello",
    "a chunk of no length": PUT + b"Transfer-Encoding: chunked\r\n\r\n\r\nhello",
    "a chunk of a word": PUT + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\nhello",
    "a negative chunk": PUT + b"Transfer-Encoding: chunked\r\n\r\n-5\r\nhello",
    "a huge chunk": PUT + b"Transfer-Encoding: chunked\r\n\r\n" + b"f" * 50 + b"\r\nhello",
    "a chunk with a sign": PUT + b"Transfer-Encoding: chunked\r\n\r\n+5\r\nhello\r\n0\r\n\r\n",
    "a chunk in Python's way": PUT + b"Transfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n",
    "two lengths": PUT + b"Content-Length: 5\r\nContent-Length: 9\r\n\r\nhello",
    "a length and chunks": PUT
    + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "nearly chunked": PUT + b"Transfer-Encoding: xchunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "a length behind no header": PUT + b"a : b\r\nContent-Length: 5\r\n\r\nhello",
    "lines behind a chunk": PUT
    + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhelloX\nY\n\r\n0\r\n\r\n",
    "a chunk with a novel": PUT
    + b"Transfer-Encoding: chunked\r\n\r\n5;"
    + b"n" * 2000
    + b"\r\nhello\r\n0\r\n\r\n",
    "trailers without end": PUT
    + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n"
    + b"a: b\r\n" * 100
    + b"\r\n",
    "chunks without line ends": PUT
    + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhelloXX5\r\nhello\r\n0\r\n\r\n",
    "a bare CR": b"GET / HTTP/1.1\r\nX: a\rContent-Length: 5\r\n\r\nhello",
    "a form without boundary": POST_5 % b"",
    "a boundary of nothing": POST_5 % b'; boundary=""',
    "a strange boundary": POST_5 % b"; boundary*=utf-8''%ff",
}


def test_nonsense_is_refused_and_the_server_goes_on(serve, tmp_path):
    served = serve("--dir", "kept")
    for what, data in GARBAGE.items():
        got = served.raw(data)
        silent = not got and not data.strip()
        assert silent or re.match(rb"HTTP/1\.[01] (4\d\d|50[15]) |<!DOCTYPE HTML|\s*<html", got), (
            what,
            got[:80],
        )
        assert inside(tmp_path / "kept") == [], what
    link, _ = served.put("good", b"x")
    assert fetch(served, link) == b"x" and "Traceback" not in served.log_text


@pytest.mark.parametrize("character", ["\r", "\v", "\0", "\f", "\x1c", "\x1f", "\x7f", "\x08"])
def test_a_control_character_in_a_head_is_refused(serve, tmp_path, character):
    """Python's parser and proxies disagree about line ends: one request could hide another."""
    served = serve("--dir", "kept")
    for head in (
        "PUT /a HTTP/1.1\r\nHost: localhost\r\nX: a@Y: b\r\nContent-Length: 1\r\n\r\nx",
        "PUT /a HTTP/1.1\r\nHost: localhost\r\nX: a@\r\nContent-Length: 1\r\n\r\nx",
        "PUT /a HTTP/1.1\r\nHost: localhost\r\n@Content-Length: 1\r\n\r\nx",
        "PUT /a@b HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\nx",
        "PUT /a HTTP/1.1@\r\nHost: localhost\r\nContent-Length: 1\r\n\r\nx",
        "PUT /a HTTP/1.1\r\nHost: localhost\r\n"
        "Transfer-Encoding: chunked\r\n\r\n1;a@b\r\nx\r\n0\r\n\r\n",
    ):
        got = served.raw(head.replace("@", character).encode())
        assert got.startswith(b"HTTP/1.1 400 ") and got.count(b"HTTP/1.1") == 1, head
    assert inside(tmp_path / "kept") == []


def test_a_long_note_on_a_chunk_is_no_part_of_the_file(serve):
    served = serve("--dir", "kept")
    got = served.raw(
        PUT + b"Transfer-Encoding: chunked\r\n\r\n5;" + b"n" * 200 + b"\r\nhello\r\n0\r\n\r\n"
    )
    assert fetch(served, got.decode().split()[-1]) == b"hello"


@pytest.mark.parametrize(
    "frame", ["Content-Length: %d", "Transfer-Encoding: chunked", "a : b\r\nContent-Length: %d"]
)
@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE"])
def test_a_body_where_none_belongs_is_never_the_next_request(giving, method, frame):
    path = urlsplit(giving.urls[0]).path
    body = "GET %s HTTP/1.1\r\nHost: b\r\n\r\n" % path
    head = "%s %s HTTP/1.1\r\nHost: a\r\n%s\r\n\r\n" % (
        method,
        path,
        frame % len(body) if "%" in frame else frame,
    )
    assert giving.raw((head + body).encode()).count(b"HTTP/1.1 ") == 1


def test_a_head_without_end_is_not_kept_in_memory(giving):
    head = b"".join(b"h%d: %s\r\n" % (n, b"x" * 50_000) for n in range(50))
    assert b"200 OK" not in giving.raw(
        b"GET %s HTTP/1.0\r\n%s\r\n" % (urlsplit(giving.urls[0]).path.encode(), head)
    )


def read_slowly(served, seconds, pause):
    """The response if each pause reads only 4 kB (or nothing, if the pause is longer)."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    sock.connect((served.host, served.port))
    with sock:
        sock.sendall(b"GET %s HTTP/1.0\r\n\r\n" % urlsplit(served.urls[0]).path.encode())
        got, end = sock.recv(4000), time.monotonic() + seconds
        while time.monotonic() < end:
            time.sleep(pause)
            got += sock.recv(4000)
        return (got + drain(sock)).partition(b"\r\n\r\n")[2]


def drip(served, head, body, pause, longest=45):
    """Send a few bytes at each pause; returns the response, and the seconds until it or the end."""
    begun = time.monotonic()
    with socket.create_connection((served.host, served.port)) as sock:
        with contextlib.suppress(OSError):
            sock.sendall(head)
            for piece in body:
                if select.select([sock], [], [], pause)[0] or time.monotonic() - begun > longest:
                    break
                sock.sendall(piece)
            sock.shutdown(socket.SHUT_WR)
        return drain(sock), time.monotonic() - begun


def test_slow_readers_get_all_and_slow_senders_a_deadline(serve, tmp_path):
    """A pause of 35 s, 40 kB/s, and clients that only occupy a connection; all at the same time."""
    data = os.urandom(20 * MIB)
    (tmp_path / "a.bin").write_bytes(data)
    giving, taking, crowded = serve("a.bin", files=1), serve(), serve("a.bin", files=1)
    begun, stalled = time.monotonic(), []
    for _ in range(256):  # downloads that nobody reads
        stalled.append(socket.create_connection((crowded.host, crowded.port)))
        stalled[-1].sendall(b"GET %s HTTP/1.0\r\n\r\n" % urlsplit(crowded.urls[0]).path.encode())
    head = PUT + b"Content-Length: %d\r\n\r\n"
    with concurrent.futures.ThreadPoolExecutor() as pool:
        paused = pool.submit(read_slowly, giving, 1, 35)
        slow = pool.submit(read_slowly, giving, 38, 0.1)
        in_head = pool.submit(drip, giving, b"GET / HTTP/1.1\r\nA: ", [b"b"] * 999, 0.2)
        in_body = pool.submit(drip, taking, head % 9999, [b"b"] * 9999, 0.2)
        in_chunk = pool.submit(
            drip,
            taking,
            PUT + b"Transfer-Encoding: chunked\r\n\r\n",
            [b"1\r\nb\r\n"] * 9999,
            0.2,
        )
        steady = pool.submit(drip, taking, head % 30_000, [b"b" * 600] * 50, 0.6)
    assert paused.result() == data and slow.result() == data
    for dripping in (in_head, in_body, in_chunk):
        response, seconds = dripping.result()
        assert b" 200 " not in response and 18 < seconds < 30
    response, seconds = steady.result()
    assert response.startswith(b"HTTP/1.1 200") and seconds > 25
    time.sleep(max(0, begun + 65 - time.monotonic()))
    assert crowded.ask("HEAD", crowded.urls[0])[0] == 200, (
        "what stands still for a minute gives way"
    )
    for connection in stalled:
        connection.close()


def test_a_strange_host_header_does_not_get_into_the_link(serve):
    served = serve("--token", "s3cret")
    put = b"PUT /a HTTP/1.1\r\nAuthorization: Bearer s3cret\r\n"
    put += b"Content-Length: 1\r\nConnection: close\r\n"
    for host in ('x"><script>', "a b", "evil/path", "u:p@h", "", "[::1", "h:99999x"):
        got = served.raw(put + b"Host: %s\r\n\r\nx" % host.encode())
        assert got.startswith(b"HTTP/1.1 200") and got.rpartition(b"\r\n\r\n")[2].startswith(
            served.base.encode()
        ), host
    got = served.raw(put + b"Host: files.example:81\r\n\r\nx")
    assert got.rpartition(b"\r\n\r\n")[2].startswith(b"http://files.example:81/")


# As a target of twat-fs ---------------------------------------------------------------------------


def test_it_is_a_target_for_the_program_itself(serve, program, tmp_path):
    served = serve()
    (tmp_path / "ä ö 漢.txt").write_bytes(b"to myself")
    ran = program("-p", served.base, "ä ö 漢.txt")
    assert (ran.returncode, ran.stderr) == (0, "")
    assert fetch(served, ran.stdout.strip()) == b"to myself"
    ran = program("-p", served.base, "--json", "-n", "b.bin", "-", input=os.urandom(100))
    result = json.loads(ran.stdout)
    assert (result["verified"], result["size"], result["provider"]) == (
        "full",
        100,
        "127.0.0.1:%d" % served.port,
    )
    assert served.ask("DELETE", result["delete"])[0] == 200 and fetch(served, result["url"]) == 404


def test_by_the_setting_for_a_server_of_ones_own(serve, program, tmp_path):
    served = serve("--token", "s3cret")
    (tmp_path / "a.txt").write_bytes(b"x")
    base = served.base.replace("//", "//me:s3cret@")
    ran = program("-p", "transfersh", "a.txt", env={"TWAT_FS_TRANSFERSH_URL": base})
    assert (ran.returncode, ran.stderr) == (0, "") and fetch(served, ran.stdout.strip()) == b"x"
    ran = program("-p", served.base, "a.txt")
    assert (
        (ran.returncode, ran.stdout) == (1, "")
        and "401" in ran.stderr
        and "Authentication required" in ran.stderr
    )


def test_once_is_one_download_and_the_program_does_not_take_it(serve, program, tmp_path):
    served = serve()
    (tmp_path / "a.txt").write_bytes(b"x")
    ran = program("-p", served.base, "--once", "a.txt")
    assert ran.returncode == 0 and "link not verified" in ran.stderr
    assert [fetch(served, ran.stdout.strip()) for _ in range(2)] == [b"x", 404]


def test_an_expiry_is_accepted(serve, program, tmp_path):
    served = serve()
    (tmp_path / "a.txt").write_bytes(b"x")
    ran = program("-p", served.base, "--expire", "1d", "--json", "a.txt")
    result = json.loads(ran.stdout)
    assert ran.returncode == 0 and result["expires"] and fetch(served, result["url"]) == b"x"


@pytest.mark.parametrize("size, code", [(100 * 1024, 0), (100 * 1024 + 1, 1), (5_000_000, 1)])
def test_the_program_reads_why_the_server_says_no(serve, program, tmp_path, size, code):
    served = serve("--max-size", "100k")
    (tmp_path / "a.bin").write_bytes(b"x" * size)
    ran = program("-p", served.base, "a.bin")
    assert ran.returncode == code and (
        "413" in ran.stderr and "File too large: at most 100.0 KiB" in ran.stderr
    ) == bool(code)


def test_many_files_in_parallel(serve, program, tmp_path):
    served = serve()
    names = ["%d.bin" % number for number in range(12)]
    for name in names:
        (tmp_path / name).write_bytes(os.urandom(50_000))
    ran = program("-j", "6", "-p", served.base, *names)
    assert ran.returncode == 0
    for name, url in zip(names, ran.stdout.split()):
        assert fetch(served, url) == (tmp_path / name).read_bytes()


def peak(process):
    """The most memory it ever had, in MiB; None where the system does not tell."""
    if sys.platform != "linux":
        return None
    with open("/proc/%d/status" % process.pid) as status:
        return int(re.search(r"VmHWM:\s+(\d+) kB", status.read()).group(1)) / 1024


def test_50_mib_up_and_down_in_flat_memory(serve, start, tmp_path):
    served = serve()
    served.put("warm up", b"x" * MIB)
    path = tmp_path / "big.bin"
    block = os.urandom(MIB)
    path.write_bytes(block * 50)
    before = peak(served.process)
    upload = start("-p", served.base, "--verify", "full", path)
    url = upload.communicate(timeout=30)[0].decode().strip()
    assert upload.returncode == 0
    connection = served.connect()
    connection.request("GET", urlsplit(url).path)
    answer, digest = connection.getresponse(), hashlib.sha256()
    for piece in iter(lambda: answer.read(MIB), b""):
        digest.update(piece)
    connection.close()
    assert digest.digest() == hashlib.sha256(block * 50).digest()
    if before is not None:
        assert peak(served.process) - before < 12


@needs_curl
def test_50_mib_in_a_form_in_flat_memory(serve, tmp_path):
    served = serve()
    served.put("warm up", b"x" * MIB)
    path = tmp_path / "big.bin"
    path.write_bytes(os.urandom(MIB) * 50)
    before = peak(served.process)
    status, link = curl("-F", "f=@%s" % path, served.base)
    assert status == 200 and served.ask("HEAD", link.decode())[1]["content-length"] == str(50 * MIB)
    if before is not None:
        assert peak(served.process) - before < 12


@pytest.mark.parametrize(
    "name, content, served_as",
    [
        ("a.txt", "grüße".encode(), "text/plain; charset=utf-8"),
        ("a.md", b"# a", "text/markdown; charset=utf-8"),
        ("a.log", "grüße".encode("latin-1"), "text/plain"),
        ("long.txt", ("ü" * 1000 + "\n").encode() * 300, "text/plain; charset=utf-8"),
        ("a.png", b"\x89PNG", "image/png"),
    ],
)
def test_text_in_utf8_says_so(serve, name, content, served_as):
    served = serve()
    link, _ = served.put(name, content)
    _, headers, body = served.ask("GET", link)
    assert (headers["content-type"], body) == (served_as, content)
