"""The box itself: it plays every host to curl, it is strict, and its faults are visible.

Curl stands for the program here, so nothing in this module knows twat_fs.py.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import socket
import ssl
import struct
import subprocess
import time
from urllib.parse import urlsplit

import pytest
from internet.box import Box
from needs import find

UA = "twat-fs/0 (+https://example.org)"
DATA = bytes(range(256)) * 40 + "grüße".encode()
TEXT = "naïve text\n".encode() * 20
CURL = find("curl")

pytestmark = pytest.mark.needs("curl")


# Curl ---------------------------------------------------------------------------------------------


def run_curl(box, *args, proxy=None, input=None):
    """Status, headers by lower-case name, body."""
    fixed = [
        CURL,
        "-sS",
        "-q",
        "-i",
        "--cacert",
        box.ca,
        "-x",
        proxy or box.proxy,
        "--proxy-cacert",
        box.ca,
    ]
    fixed += ["-A", UA, "--suppress-connect-headers", "-m", "10", "-H", "Expect:"]
    return subprocess.run(fixed + list(args), input=input, capture_output=True, timeout=20)


def curl(box, *args, **more):
    done = run_curl(box, *args, **more)
    assert done.returncode == 0, done.stderr.decode()
    head, _, body = done.stdout.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    headers = {
        name.lower(): value.strip()
        for name, _, value in (line.partition(":") for line in lines[1:])
    }
    return int(lines[0].split()[1]), headers, body


def form(*fields, file):
    """Curl's options for a form: text fields first, the file last."""
    return [word for pair in fields + (file,) for word in ("-F", pair)]


@pytest.fixture
def sample(tmp_path):
    path = tmp_path / "sample.bin"
    path.write_bytes(DATA)
    return path


def upload(box, url, *fields, field, path, **more):
    return curl(box, *form(*fields, file="%s=@%s" % (field, path)), url, **more)


def catbox(box, path, **more):
    return upload(
        box,
        "https://catbox.moe/user/api.php",
        "reqtype=fileupload",
        field="fileToUpload",
        path=path,
        **more,
    )


def link_in(body):
    return re.search(rb'https?:[^\s"]+', body.replace(b"\\/", b"/")).group().decode()


# Every host: up, down, the same bytes -------------------------------------------------------------

FORMS = {
    "catbox.moe": (
        "https://catbox.moe/user/api.php",
        ["reqtype=fileupload"],
        "fileToUpload",
        r"https://files\.catbox\.moe/\w{6}\.bin",
    ),
    "litterbox.catbox.moe": (
        "https://litterbox.catbox.moe/resources/internals/api.php",
        ["reqtype=fileupload", "time=12h"],
        "fileToUpload",
        r"https://litter\.catbox\.moe/\w{6}\.bin",
    ),
    "0x0.st": ("https://0x0.st/", [], "file", r"https://0x0\.st/\w+\.bin"),
    "x0.at": ("https://x0.at/", [], "file", r"https://x0\.at/\w+\.bin"),
    "uguu.se": ("https://uguu.se/upload", [], "files[]", r"https://\w\.uguu\.se/\w{8}\.bin"),
    "tmpfile.link": (
        "https://tmpfile.link/api/upload",
        [],
        "file",
        r"https://d3\.tfdl\.net/public/.+/sample\.bin",
    ),
    "tmpfiles.org": (
        "https://tmpfiles.org/api/v1/upload",
        ["expire=600"],
        "file",
        r"https://tmpfiles\.org/\d+/sample\.bin",
    ),
    "qu.ax": ("https://qu.ax/upload.php", [], "files[]", r"https://qu\.ax/\w+\.bin"),
}


@pytest.mark.parametrize("host", FORMS)
def test_a_form_goes_up_and_comes_down(box, sample, host):
    url, fields, field, pattern = FORMS[host]
    box.hosts["0x0.st"].open = True
    status, _, body = upload(box, url, *fields, field=field, path=sample)
    link = link_in(body)
    assert status == 200 and re.fullmatch(pattern, link)
    direct = link.replace("tmpfiles.org/", "tmpfiles.org/dl/")
    assert curl(box, direct)[2] == DATA
    stored, (seen,) = box.stored[direct], box.uploads()
    assert (stored.read(), stored.hits, stored.sha256) == (
        DATA,
        1,
        hashlib.sha256(DATA).hexdigest(),
    )
    assert (seen.host, seen.method, seen.field(field)) == (host, "POST", stored.sha256)
    assert seen.form[-1][:2] == (field, "sample.bin")
    assert seen.length == int(seen.header("Content-Length")) and seen.status == 200


PUTS = {
    "sendit.sh": ("https://sendit.sh/sample.bin", r"https://sendit\.sh/\w+/sample\.bin"),
    "bashupload.app": ("https://bashupload.app/", r"https://bashupload\.app/\w+\.bin"),
    "drop.example.org": (
        "https://drop.example.org/sample.bin",
        r"https://drop\.example\.org/\w+/sample\.bin",
    ),
}


@pytest.mark.parametrize("host", PUTS)
def test_a_put_goes_up_and_comes_down(box, sample, host):
    url, pattern = PUTS[host]
    status, _, body = curl(box, "-T", str(sample), url)
    link = link_in(body)
    assert status == 200 and re.fullmatch(pattern, link)
    assert curl(box, link)[2] == DATA
    assert (
        box.uploads(host)[0].sha256 == box.stored[link].sha256 == hashlib.sha256(DATA).hexdigest()
    )


def put_in_bin(box, sample, *more, bin="abcdefghij0123456789"):
    return curl(
        box, "-T", str(sample), *more, "https://filebin.net/%s/.gr%%C3%%BC%%C3%%9Fe%%23.bin" % bin
    )


def test_filebin_sanitises_redirects_warns_and_deletes(box, sample):
    status, _, body = put_in_bin(
        box, sample, "-H", "Content-SHA256: " + hashlib.sha256(DATA).hexdigest()
    )
    answer = json.loads(body)
    assert (status, answer["file"]["filename"]) == (201, "_grüße_.bin")
    link = "https://filebin.net/abcdefghij0123456789/_gr%C3%BC%C3%9Fe_.bin"
    assert b"Warning" in curl(box, link)[2]
    status, headers, _ = curl(box, "-A", "curl/8", link)
    assert status == 302 and curl(box, headers["location"])[2] == DATA
    assert curl(box, "-X", "DELETE", "https://filebin.net/abcdefghij0123456789")[0] == 200
    assert curl(box, link)[0] == 404 and put_in_bin(box, sample)[0] == 405
    assert box.stored[link].deleted and ["User-Agent" in c for c in box.complaints] == [True]
    box.complaints.clear()


def test_filebin_refuses_wrong_sums_short_bins_and_a_full_disk(box, sample):
    assert put_in_bin(box, sample, "-H", "Content-SHA256: " + "0" * 64)[0] == 400
    assert put_in_bin(box, sample, bin="short")[0] == 400
    box.hosts["filebin.net"].full = True
    assert put_in_bin(box, sample)[0] == 507
    box.reset()
    assert put_in_bin(box, sample)[0] == 201


def test_catbox_blocks_types_limits_sizes_and_can_close_its_door(box, sample, tmp_path):
    bad = tmp_path / "setup.EXE"
    bad.write_bytes(b"MZ")
    assert catbox(box, bad)[0] == 412
    host = box.hosts["files.catbox.moe"]
    host.limit = 10
    assert catbox(box, sample)[0] == 413
    host.limit, host.anonymous = 10**6, False
    assert catbox(box, sample)[0] == 412
    assert not box.stored


def test_litterbox_takes_four_times_only(box, sample):
    url, _, field, _ = FORMS["litterbox.catbox.moe"]
    for time_, good in (("1h", True), ("72h", True), ("2h", False), ("", False)):
        _, _, body = upload(
            box, url, "reqtype=fileupload", "time=" + time_, field=field, path=sample
        )
        assert body.startswith(b"https://") == good
    upload(box, url, "reqtype=fileupload", "time=1h", "fileNameLength=16", field=field, path=sample)
    longest = max(box.stored, key=len)
    assert re.search(r"/\w{16}\.bin$", longest) and box.stored[longest].options["time"] == "1h"


def test_0x0_is_closed_and_open_it_has_tokens_and_memory(box, sample):
    assert upload(box, "https://0x0.st/", field="file", path=sample)[0] == 403
    box.hosts["0x0.st"].open = True
    _, first, link = upload(
        box, "https://0x0.st/", "secret=", "expires=24", field="file", path=sample
    )
    _, again, same = upload(box, "https://0x0.st/", field="file", path=sample)
    assert link == same and b"/s/" in link and link.endswith(b"\n")
    assert "x-token" in first and "x-token" not in again
    assert float(again["x-expires"]) > float(first["x-expires"]) > time.time() * 1000
    link = link.decode().strip()
    assert curl(box, "-d", "token=no&delete=", link)[0] == 401
    assert curl(box, "-d", "token=%s&delete=" % first["x-token"], link)[0] == 200
    assert curl(box, link)[0] == 404 and len(box.uploads()) == 3


def test_x0_answers_a_bad_form_with_its_page(box, sample):
    status, headers, body = upload(box, "https://x0.at/", field="wrong", path=sample)
    assert status == 200 and b"<html>" in body and "text/html" in headers["content-type"]
    assert any("unknown fields ['wrong']" in text for text in box.complaints)
    box.complaints.clear()
    box.hosts["x0.at"].limit = 1000
    assert upload(box, "https://x0.at/", field="file", path=sample)[0] == 413
    box.hosts["x0.at"].limit = 10**6
    assert (
        b"_sample.bin\n"
        in upload(box, "https://x0.at/", "keep_name=1", field="file", path=sample)[2]
    )


def test_uguu_refuses_zips_by_name_or_content_and_says_500_when_busy(box, tmp_path):
    hidden = tmp_path / "harmless.txt"
    hidden.write_bytes(b"PK\x03\x04....")
    status, headers, body = upload(box, "https://uguu.se/upload", field="files[]", path=hidden)
    assert (status, json.loads(body)["errorcode"]) == (415, 415) and headers[
        "transfer-encoding"
    ] == "chunked"
    box.hosts["uguu.se"].wait = 7
    status, _, body = upload(box, "https://uguu.se/upload", field="files[]", path=hidden)
    assert status == 500 and "wait 7 seconds" in json.loads(body)["description"]


def test_tmpfiles_org_has_a_page_limits_and_http_links(box, sample):
    url, host = FORMS["tmpfiles.org"][0], box.hosts["tmpfiles.org"]
    assert upload(box, url, "expire=172800", field="file", path=sample)[0] == 200
    host.max_expire, host.http_links = 86400, True
    assert upload(box, url, "expire=86401", field="file", path=sample)[0] == 422
    assert upload(box, url, "expire=59", field="file", path=sample)[0] == 422
    link = link_in(upload(box, url, "expire=86400", field="file", path=sample)[2])
    assert link.startswith("http://") and b"<html>" in curl(box, link.replace("http:", "https:"))[2]
    assert curl(box, url)[0] == 405


def test_tmpfile_link_encodes_names_and_qu_ax_may_be_relative(box, tmp_path):
    path = tmp_path / "mein bild ü.png"
    path.write_bytes(b"\x89PNG")
    _, _, body = upload(box, "https://tmpfile.link/api/upload", field="file", path=path)
    answer = json.loads(body)
    assert (
        answer["downloadLink"].endswith("/mein bild ü.png")
        and "d.tmpfile.link" in answer["downloadLink"]
    )
    assert curl(box, answer["downloadLinkEncoded"])[1]["content-type"] == "image/png"
    box.hosts["qu.ax"].relative = True
    _, _, body = upload(box, "https://qu.ax/upload.php", field="files[]", path=path)
    assert json.loads(body)["files"][0]["url"].startswith("/")


def test_one_download_links_burn(box, sample):
    for url in ("https://sendit.sh/a%20b.txt", "https://bashupload.app/"):
        link = link_in(curl(box, "-T", str(sample), url)[2])
        assert curl(box, "-I", link)[0] == 200
        assert curl(box, link)[0] == 404 and box.stored[link].hits == 1
    assert ["one-download" in text for text in box.complaints] == [True, True]
    box.complaints.clear()


def test_bashupload_keeps_longer_on_request_and_names_by_type(box, sample):
    wish = ["-H", "X-Expiration-Seconds: 86400", "-H", "Content-Type: image/png"]
    link = link_in(curl(box, "-T", str(sample), *wish, "https://bashupload.app/")[2])
    assert link.endswith(".png")
    assert curl(box, link)[2] == curl(box, link)[2] == DATA
    assert (
        curl(
            box, "-T", str(sample), "-H", "X-Expiration-Seconds: 86401", "https://bashupload.app/"
        )[0]
        == 400
    )


def test_transfer_sh_counts_deletes_previews_and_may_want_a_password(box, sample):
    wishes = ["-H", "Max-Downloads: 2", "-H", "Max-Days: soon"]
    _, headers, body = curl(box, "-T", str(sample), *wishes, "https://drop.example.org/sample.bin")
    link = body.decode()
    assert not link.endswith("\n") and headers["x-url-delete"].startswith(link + "/")
    assert b"Preview" in curl(box, "-H", "Accept: text/html", link)[2]
    _, got, body = curl(box, link.replace(".org/", ".org/get/"))
    assert (body, got["x-remaining-downloads"], got["x-remaining-days"]) == (DATA, "1", "n/a")
    assert curl(box, link)[0] == 200 and curl(box, link)[0] == 404
    assert curl(box, "-X", "DELETE", headers["x-url-delete"])[0] == 200 and box.stored[link].deleted
    box.hosts["drop.example.org"].auth = ("me", "secret")
    assert curl(box, "-T", str(sample), "https://drop.example.org/x")[0] == 401
    assert curl(box, "-T", str(sample), "-u", "me:secret", "https://drop.example.org/x")[0] == 200


# Downloads ----------------------------------------------------------------------------------------


@pytest.fixture
def link(box, sample):
    return catbox(box, sample)[2].decode()


def test_ranges_and_heads(box, link):
    for wish, part in (
        ("0-9", DATA[:10]),
        ("100-", DATA[100:]),
        ("-7", DATA[-7:]),
        ("9-99999", DATA[9:]),
    ):
        status, headers, body = curl(box, "-r", wish, link)
        assert (status, body) == (206, part)
        assert headers["content-range"].endswith("/%d" % len(DATA)) and int(
            headers["content-length"]
        ) == len(part)
    assert curl(box, "-r", "99999-", link)[:1] == (416,)
    status, headers, body = curl(box, "-I", link)
    assert (status, int(headers["content-length"]), body) == (200, len(DATA), b"")


def test_hosts_may_lack_ranges_and_heads(box, link):
    host = box.hosts["catbox.moe"]
    host.ranges = host.head = False
    status, headers, body = curl(box, "-r", "0-9", link)
    assert (status, body) == (200, DATA) and "accept-ranges" not in headers
    assert curl(box, "-I", link)[0] == 405


@pytest.mark.parametrize(
    "fault, details, expected",
    [
        ("zero", {}, b""),
        ("half", {}, DATA[: len(DATA) // 2]),
        ("other", {}, bytes(byte ^ 0x5A for byte in DATA)),
        ("flip", {"offset": 3}, DATA[:3] + b"\x02" + DATA[4:]),
        ("flip", {"offset": -1}, DATA[:-1] + bytes([DATA[-1] ^ 1])),
    ],
)
def test_a_download_can_be_wrong_once(box, link, fault, details, expected):
    box.fault("catbox.moe", fault, times=1, **details)
    assert curl(box, link)[2] == expected
    assert curl(box, link)[2] == DATA


def test_a_flipped_byte_is_found_by_its_range_only(box, link):
    box.fault("files.catbox.moe", "flip", offset=5000)
    assert curl(box, "-r", "0-4999", link)[2] == DATA[:5000]
    assert curl(box, "-r", "4990-5009", link)[2] != DATA[4990:5010]


def test_a_download_can_stop_short(box, link):
    box.fault("files.catbox.moe", "short")
    done = run_curl(box, link)
    assert done.returncode == 18 and done.stdout.endswith(DATA[: len(DATA) // 2][-100:])


# Faults of uploads --------------------------------------------------------------------------------


def test_a_status_occurs_the_requested_number_of_times(box, sample):
    box.fault("catbox.moe", "status", times=1, skip=1, status=503, body="later", retry_after=2)
    assert catbox(box, sample)[0] == 200
    status, headers, body = catbox(box, sample)
    assert (status, headers["retry-after"], body) == (503, "2", b"later")
    assert catbox(box, sample)[0] == 200
    assert [seen.fault for seen in box.uploads()] == ["", "status", ""]


@pytest.mark.parametrize(
    "fault, details, status, pattern",
    [
        ("empty", {}, 200, rb""),
        ("html", {}, 200, rb"<!DOCTYPE html>.*"),
        ("garbage", {"size": 77}, 200, rb".{77}"),
        ("wrong-host", {}, 200, rb"https://files\.evil\.example/\w{6}\.bin"),
        ("escapes", {}, 200, rb"https://files\.catbox\.moe/\w+\.bin\x1b\[2J.*"),
        ("escapes", {"status": 412}, 412, rb"\x1b\[2J.*\r.*\x00 https.*"),
        ("redirect", {"status": 307, "location": "https://x0.at/"}, 307, rb""),
        ("trickle", {"delay": 0.0001}, 200, rb"https://files.*"),
    ],
)
def test_an_answer_can_be_odd(box, sample, fault, details, status, pattern):
    box.fault("catbox.moe", fault, **details)
    link = catbox(box, sample)
    assert link[0] == status and re.fullmatch(pattern, link[2], re.S)


@pytest.mark.parametrize(
    "fault, code",
    [("refuse", 56), ("dns", 56), ("reset-connect", 35)]
    + [("tls-expired", 60), ("tls-wrong-name", 60), ("tls-unknown-ca", 60)],
)
def test_a_connection_can_fail(box, sample, fault, code):
    box.fault("catbox.moe", fault, times=1)
    assert run_curl(box, "https://catbox.moe/").returncode == code
    assert catbox(box, sample)[0] == 200 and box.tunnels[0].host == "catbox.moe"


ENDINGS = [("reset", (55, 56)), ("drop-after", (52,)), ("silence", (28,)), ("stall", (28,))]


@pytest.mark.parametrize("fault, codes", ENDINGS)
def test_an_upload_can_end_without_an_answer(box, sample, fault, codes):
    box.fault("catbox.moe", fault)
    form_of_it = form("reqtype=fileupload", file="fileToUpload=@%s" % sample)
    assert (
        run_curl(box, "-m", "0.5", *form_of_it, "https://catbox.moe/user/api.php").returncode
        in codes
    )
    assert len(box.stored) == (fault == "drop-after") and box.requests[0].status == 0


@pytest.mark.parametrize("fault", ["endless", "endless-headers"])
def test_an_answer_can_have_no_end(box, fault):
    box.fault("catbox.moe", fault)
    done = run_curl(box, "-m", "0.5", "https://catbox.moe/")
    assert done.returncode in (28, 56) and len(done.stdout) > 10**4


@pytest.mark.parametrize("fault", ["early", "early-open"])
def test_an_early_response_can_be_read_during_the_upload(box, fault):
    box.fault("catbox.moe", fault, status=413, after=1000)
    with through(box, "catbox.moe") as sock:
        sock.sendall(head("POST", "/user/api.php", "catbox.moe", "Content-Length: 50000000"))
        sock.settimeout(0.3)
        with pytest.raises(OSError, match=r"timed out|reset|pipe|EOF"):
            sock.sendall(b"x" * 49_000_000)
        assert sock.recv(1000).startswith(b"HTTP/1.1 413 ")
    assert box.requests[0].length == 1000


def test_reset_ends_what_hangs(box, sample):
    box.fault("catbox.moe", "silence")
    with through(box, "catbox.moe") as sock:
        sock.sendall(head("GET", "/", "catbox.moe"))
        time.sleep(0.05)
        before = time.time()
        box.reset()
        assert sock.recv(10) == b"" and time.time() - before < 1


def test_faults_are_checked(box):
    for wrong in (("catbox.moe", "nonsense"), ("nowhere.example", "empty")):
        with pytest.raises(ValueError, match="no such fault"):
            box.fault(*wrong)


# Raw sockets and strictness -----------------------------------------------------------------------


def tunnel(box, host, port=443):
    address = urlsplit(box.proxy)
    sock = socket.create_connection((address.hostname, address.port), timeout=10)
    sock.sendall(
        b"CONNECT %s:%d HTTP/1.1\r\nHost: %s:%d\r\n\r\n"
        % (host.encode(), port, host.encode(), port)
    )
    assert sock.recv(1000).startswith(b"HTTP/1.1 200 ")
    return sock


def through(box, host):
    context = ssl.create_default_context(cafile=box.ca)
    return context.wrap_socket(tunnel(box, host), server_hostname=host)


def head(method, target, host, *headers, agent=UA, version="HTTP/1.1"):
    lines = [
        "%s %s %s" % (method, target, version),
        "Host: " + host,
        "User-Agent: " + agent,
        *headers,
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def say(box, host, data):
    """Send these very bytes and read to the end."""
    with through(box, host) as sock:
        sock.sendall(data)
        sock.settimeout(0.2)  # for what is kept alive
        answer = b""
        try:
            while True:
                piece = sock.recv(65536)
                if not piece:
                    return answer
                answer += piece
        except socket.timeout:
            return answer


def part(disposition, value=b"x"):
    return b"--B\r\nContent-Disposition: form-data; %s\r\n\r\n%s\r\n" % (disposition, value)


REQTYPE = part(b'name="reqtype"', b"fileupload")
FILE = part(b'name="fileToUpload"; filename="a.txt"')
END = b"--B--\r\n"


def posted(body, *headers, target="/user/api.php", **more):
    sizes = (
        "Connection: close",
        "Content-Type: multipart/form-data; boundary=B",
        "Content-Length: %d" % len(body),
    )
    return head("POST", target, "catbox.moe", *sizes, *headers, **more) + body


GOOD = REQTYPE + FILE + END

BAD_REQUESTS = {
    "User-Agent": posted(GOOD, agent="curl/8"),
    "Host": posted(GOOD).replace(b"Host: catbox", b"Host: dogbox"),
    "HTTP/1.1": posted(GOOD, version="HTTP/1.0"),
    "clean path": posted(GOOD, target="/user/ü"),
    "Transfer-Encoding": head("POST", "/", "catbox.moe", "Transfer-Encoding: chunked")
    + b"0\r\n\r\n",
    "Content-Length": head("POST", "/", "catbox.moe"),
    "a body on GET": head("GET", "/", "catbox.moe", "Connection: close", "Content-Length: 1")
    + b"x",
    "Expect": posted(GOOD, "Expect: 100-continue"),
    "Accept-Encoding": posted(GOOD, "Accept-Encoding: gzip"),
    "Authorization": posted(GOOD, "Authorization: Basic eDp5"),
    "cookie": posted(GOOD, "Cookie: a=b"),
    "proxy's password": posted(GOOD, "Proxy-Authorization: Basic eDp5"),
    "Referer": posted(GOOD, "Referer: https://example.org/"),
    "control": posted(GOOD, "X-Odd: a\x01b"),
    "not a header line": posted(GOOD, "X Odd: a"),
    "out of order": posted(part(b'name="userhash"') + REQTYPE + FILE + END),
    "a file before the last": posted(FILE + REQTYPE + END),
    "unknown fields": posted(REQTYPE + part(b'name="submit"') + FILE + END),
    "comes twice": posted(REQTYPE + REQTYPE + FILE + END),
    "not a file with a name": posted(REQTYPE + part(b'name="fileToUpload"') + END),
    "Content-Disposition": posted(
        REQTYPE + part(b"name=\"fileToUpload\"; filename*=utf-8''a") + END
    ),
    "empty in a name": posted(REQTYPE + part(b'name="fileToUpload"; filename=""') + END),
    "path separator": posted(REQTYPE + part(b'name="fileToUpload"; filename="../a"') + END),
    "control characters": posted(REQTYPE + part(b'name="fileToUpload"; filename="a\rb"') + END),
    "not UTF-8": posted(REQTYPE + part(b'name="fileToUpload"; filename="\xff"') + END),
    "before its closing boundary": posted(REQTYPE + FILE),
    "followed by": posted(GOOD + b"more"),
    "before the first boundary": posted(b"hello" + GOOD),
    "boundary=B C": posted(GOOD).replace(b"boundary=B", b"boundary=B C"),
    "empty file": posted(REQTYPE + part(b'name="fileToUpload"; filename="a"', b"") + END),
}


def test_a_good_request_is_not_complained_about(box):
    assert b"https://files.catbox.moe/" in say(box, "catbox.moe", posted(GOOD))
    name, filename, content_type, value = box.requests[0].form[0]
    assert (name, filename, content_type, value) == ("reqtype", None, None, b"fileupload")
    assert box.requests[0].tunnel.sni == "catbox.moe"


@pytest.mark.parametrize("complaint", BAD_REQUESTS)
def test_a_bad_request_is_complained_about(box, complaint):
    data = BAD_REQUESTS[complaint]
    say(box, "catbox.moe", data)
    assert any(complaint in text for text in box.complaints), box.complaints
    assert len(box.complaints) <= 3 and not any("bug" in text for text in box.complaints)
    box.complaints.clear()


def test_connections_are_counted(box):
    say(box, "catbox.moe", head("GET", "/", "catbox.moe") * 2)
    say(box, "catbox.moe", head("GET", "/", "catbox.moe"))
    first, second, third = [seen.connection for seen in box.requests]
    assert first == second != third


def test_a_wrong_length_is_seen(box):
    with through(box, "catbox.moe") as sock:
        sock.sendall(
            head("POST", "/user/api.php", "catbox.moe", "Content-Length: 500") + b"only this"
        )
    until(lambda: box.requests and box.requests[0].length == 9)
    assert box.requests[0].status == 0


def until(fact, seconds=2):
    while not fact() and seconds > 0:
        time.sleep(0.02)
        seconds -= 0.02
    assert fact()


# Proxies ------------------------------------------------------------------------------------------


def ways(box):
    return {"http": box.proxy, "tls": box.secure_proxy, "socks": box.socks}


@pytest.mark.parametrize("way", ["http", "tls", "socks"])
def test_all_ways_lead_to_the_hosts(box, sample, way):
    status, _, body = catbox(box, sample, proxy=ways(box)[way])
    assert status == 200 and curl(box, body.decode(), proxy=ways(box)[way])[2] == DATA
    assert {t.via for t in box.tunnels} == {"socks" if way == "socks" else "connect"}


@pytest.mark.parametrize("way", ["http", "tls", "socks"])
def test_a_proxy_can_want_a_password(box, way):
    box.proxy_password = ("me", "open sesame")
    plain = ways(box)[way]
    for user, code in (("", (56, 97)), ("me:wrong@", (56, 97)), ("me:open%20sesame@", (0,))):
        done = run_curl(box, "https://catbox.moe/", proxy=plain.replace("://", "://" + user))
        assert done.returncode in code, done.stderr
    assert box.tunnels[-1].user == "me" and len(box.requests) == 1


def test_absolute_form_is_for_plain_http(box, sample):
    _, _, body = curl(box, "-T", str(sample), "http://drop.example.org/sample.bin")
    assert curl(box, body.decode())[2] == DATA
    assert {(s.scheme, s.tunnel.via) for s in box.requests} == {("http", "absolute")}
    assert curl(box, "http://nowhere.example/")[0] == 502
    curl(box, "http://catbox.moe/")
    assert ["plain http" in text for text in box.complaints] == [True]
    box.complaints.clear()


def test_a_connect_must_be_discreet(box):
    run_curl(
        box,
        "--proxy-header",
        "Authorization: Basic eDp5",
        "--proxy-header",
        "Host: other",
        "https://catbox.moe/",
    )
    assert ["Authorization" in c or "Host is" in c for c in box.complaints] == [True, True]
    box.complaints.clear()


@pytest.mark.parametrize("proxy, code", [("http", 56), ("socks", 97)])
def test_unknown_hosts_and_ports_are_not_reached(box, proxy, code):
    for url in ("https://nowhere.example/", "https://catbox.moe:8443/"):
        assert run_curl(box, url, proxy=ways(box)[proxy]).returncode == code
    assert [t.host for t in box.tunnels] == ["nowhere.example", "catbox.moe"]


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_socks_knows_addresses(box, family):
    ours = [address for address, host in box.addresses.items() if host == "drop.example.org"]
    address = ours[family == socket.AF_INET6]
    where = urlsplit(box.socks)
    with socket.create_connection((where.hostname, where.port), timeout=5) as sock:
        sock.sendall(b"\x05\x01\x00")
        assert sock.recv(2) == b"\x05\x00"
        address_type = b"\x01" if family == socket.AF_INET else b"\x04"
        sock.sendall(
            b"\x05\x01\x00"
            + address_type
            + socket.inet_pton(family, address)
            + struct.pack(">H", 80)
        )
        assert sock.recv(10)[:2] == b"\x05\x00"
        sock.sendall(head("GET", "/", "drop.example.org"))
        assert sock.recv(1000).startswith(b"HTTP/1.1 200 ")


def test_termbin_takes_text_until_half_close(box):
    with tunnel(box, "termbin.com", 9999) as sock:
        sock.sendall(TEXT + b"\0lost")
        sock.shutdown(socket.SHUT_WR)
        reply = sock.recv(100)
    assert re.fullmatch(rb"https://termbin\.com/\w{4}\n\0", reply)
    assert curl(box, reply[:-2].decode())[2] == TEXT
    (seen,) = box.uploads("termbin.com")
    assert (seen.method, seen.sha256) == ("RAW", hashlib.sha256(TEXT + b"\0lost").hexdigest())


def test_termbin_ends_by_itself_and_can_be_faulty(box):
    box.hosts["termbin.com"].idle = 0.1
    with tunnel(box, "termbin.com", 9999) as sock:
        sock.sendall(TEXT)
        assert sock.recv(100).startswith(b"https://termbin.com/")
    box.fault("termbin.com", "wrong-host")
    with tunnel(box, "termbin.com", 9999) as sock:
        sock.sendall(TEXT)
        assert sock.recv(100).startswith(b"https://files.evil.example/")


# The box as a whole -------------------------------------------------------------------------------


def test_big_bodies_are_spooled_and_deleted(box, tmp_path):
    path = tmp_path / "big.bin"
    path.write_bytes(os.urandom(1 << 20) * 20)
    link = catbox(box, path)[2].decode()
    spool = box.stored[link].body
    assert os.path.getsize(spool) == 20 << 20
    assert hashlib.sha256(curl(box, link)[2]).hexdigest() == box.stored[link].sha256
    box.reset()
    assert not os.path.exists(spool) and not box.stored and not box.requests


def test_a_box_opens_and_closes_quickly(tmp_path):
    before = time.time()
    with Box(tmp_path / "another") as box, through(box, "x0.at"):
        assert set(box.env()) == {"HTTPS_PROXY", "HTTP_PROXY", "SSL_CERT_FILE"}
    assert time.time() - before < 2


def test_a_proxy_password_is_refused_in_its_face(box):
    box.proxy_password = ("me", "x")
    wrong = base64.b64encode(b"me:y").decode()
    address = urlsplit(box.proxy)
    with socket.create_connection((address.hostname, address.port), timeout=5) as sock:
        lines = [
            "CONNECT x0.at:443 HTTP/1.1",
            "Host: x0.at:443",
            "Proxy-Authorization: Basic " + wrong,
        ]
        sock.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
        assert sock.recv(1000).startswith(b"HTTP/1.1 407 ")
    assert box.tunnels[0].answered == "407"
