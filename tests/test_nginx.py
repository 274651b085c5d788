"""A real server: nginx with its own limits, redirects, errors and certificates.

Behind it is our own `serve`, so that an upload through it gives a link that nginx serves again.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import List
from urllib.parse import unquote, urlsplit

import pytest
import trustme
from conftest import KEPT, PROGRAM
from internet.loopback import Server, Talk, closed_port, sparse, until
from needs import need

pytestmark = pytest.mark.skipif(os.name == "nt", reason="nginx for Windows is another program")
DATA = os.urandom(50_000)
MIB = 1 << 20

CONFIG = """
daemon off; master_process off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 256; }}
http {{
    log_format short "$connection $server_port $request_method $uri $status";
    access_log {folder}/access.log short;
    client_body_temp_path {folder}/body;  proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;  scgi_temp_path {folder}/scgi;
    types {{ text/html html; text/plain txt; }}
    gzip on; gzip_min_length 1; gzip_types *;
    client_max_body_size 0;
    proxy_set_header Host $http_host;
    proxy_http_version 1.1;
    limit_req_zone $server_port zone=slow:1m rate=1r/s;
    limit_req_status 429;
    server {{
        listen 127.0.0.1:{plain};
        listen 127.0.0.1:{tls} ssl;
        ssl_certificate {folder}/good.pem; ssl_certificate_key {folder}/good.pem;
        location / {{ proxy_pass http://127.0.0.1:{serve}; }}
        location /small/ {{ client_max_body_size 100k; proxy_pass http://127.0.0.1:{serve}; }}
        location /dav/ {{ root {folder}/www; dav_methods PUT; create_full_put_path on; }}
        location /301/ {{ return 301 http://127.0.0.1:{plain}/dav/elsewhere; }}
        location /302/ {{ return 302 /dav/elsewhere; }}
        location /303/ {{ return 303 /dav/elsewhere; }}
        location /307/ {{ return 307 /dav/elsewhere; }}
        location /308/ {{ return 308 /dav/elsewhere; }}
        location /444/ {{ return 444; }}
        location /403/ {{ deny all; }}
        location /502/ {{ proxy_pass http://127.0.0.1:{dead}; }}
        location /504/ {{ proxy_pass http://127.0.0.1:{silent}; proxy_read_timeout 200ms; }}
        location /busy/ {{
            limit_req zone=slow;
            add_header Retry-After 1 always;
            proxy_pass http://127.0.0.1:{serve};
        }}
        location /full/ {{ add_header Retry-After 1 always; return 429; }}
        location /never/ {{ add_header Retry-After 9999 always; return 503; }}
        location /keep/ {{ proxy_pass http://127.0.0.1:{keep}; }}
        location /keep-whole/ {{ proxy_pass http://127.0.0.1:{keep}; }}
        location /kept/ {{ root {folder}/www; }}
        location /kept-whole/ {{ root {folder}/www; max_ranges 0; }}
    }}
    server {{
        listen 127.0.0.1:{expired} ssl;
        ssl_certificate {folder}/expired.pem; ssl_certificate_key {folder}/expired.pem;
        location / {{ proxy_pass http://127.0.0.1:{serve}; }}
    }}
    server {{
        listen 127.0.0.1:{other} ssl;
        ssl_certificate {folder}/other.pem; ssl_certificate_key {folder}/other.pem;
        location / {{ proxy_pass http://127.0.0.1:{serve}; }}
    }}
    server {{
        listen 127.0.0.1:{stranger} ssl;
        ssl_certificate {folder}/stranger.pem; ssl_certificate_key {folder}/stranger.pem;
        location / {{ proxy_pass http://127.0.0.1:{serve}; }}
    }}
    server {{
        listen 127.0.0.1:{v12} ssl;
        ssl_protocols TLSv1.2;
        ssl_certificate {folder}/good.pem; ssl_certificate_key {folder}/good.pem;
        location / {{ proxy_pass http://127.0.0.1:{serve}; }}
    }}
    server {{
        listen 127.0.0.1:{v13} ssl;
        ssl_protocols TLSv1.3;
        ssl_certificate {folder}/good.pem; ssl_certificate_key {folder}/good.pem;
        location / {{ proxy_pass http://127.0.0.1:{serve}; }}
    }}
}}
"""

PORTS = ("plain", "tls", "expired", "other", "stranger", "v12", "v13", "serve", "dead")


@dataclass
class Nginx:
    """The running server: where it listens, and what it wrote into its log."""

    folder: Path
    ports: dict

    def url(self, port: str = "plain", path: str = "") -> str:
        scheme, host = ("http", "127.0.0.1") if port == "plain" else ("https", "localhost")
        return "%s://%s:%d/%s" % (scheme, host, self.ports[port], path)

    @property
    def ca(self) -> Path:
        return self.folder / "ca.pem"

    def log(self, path: str = "/") -> List[List[str]]:
        """Connection, port, method, path, status of each request below this path."""
        lines = [line.split(" ") for line in (self.folder / "access.log").read_text().splitlines()]
        return [fields for fields in lines if fields[3].startswith(path)]

    def statuses(self, path: str, count: int) -> List[int]:
        """The statuses of these requests once there are `count`; nginx logs after its response."""
        until(lambda: len(self.log(path)) >= count)
        return [int(fields[4]) for fields in self.log(path)]


def executable() -> str:
    return need("nginx")


def certificates(folder: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    now = datetime.now(timezone.utc).replace(tzinfo=None)
    leaves = {
        "good": authority.issue_cert("localhost", "127.0.0.1"),
        "expired": authority.issue_cert(
            "localhost", not_before=now - timedelta(days=9), not_after=now - timedelta(days=2)
        ),
        "other": authority.issue_cert("other.example"),
        "stranger": trustme.CA().issue_cert("localhost"),
    }
    for name, leaf in leaves.items():
        leaf.private_key_and_cert_chain_pem.write_to_path(str(folder / (name + ".pem")))


def keeper(folder: Path):
    """Takes a file behind nginx, and puts it where nginx itself will serve it."""

    def manners(talk: Talk) -> None:
        arrived = talk.request()
        while arrived:
            _, location, name = unquote(urlsplit(arrived.target).path).split("/")
            location = location.replace("keep", "kept")
            (folder / "www" / location).mkdir(parents=True, exist_ok=True)
            (folder / "www" / location / name).write_bytes(arrived.body)
            talk.say(200, ("http://%s/%s/%s" % (arrived.header("Host"), location, name)).encode())
            arrived = talk.request()

    return manners


def silence(talk: Talk) -> None:
    talk.request()
    talk.linger()


def answers(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="module")
def nginx(tmp_path_factory):
    folder = tmp_path_factory.mktemp("nginx")
    (folder / "www" / "dav").mkdir(parents=True)
    certificates(folder)
    ports = {name: closed_port() for name in PORTS}
    with Server(keeper(folder)) as keep, Server(silence) as silent:
        config = CONFIG.format(folder=folder, keep=keep.port, silent=silent.port, **ports)
        (folder / "nginx.conf").write_text(config)
        environment = {name: os.environ[name] for name in KEPT if name in os.environ}
        started = [
            subprocess.Popen(
                command,
                env=environment,
                cwd=str(folder),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
            for output in [(folder / "output").open("wb")]
            for command in (
                [
                    executable(),
                    "-p",
                    str(folder),
                    "-e",
                    str(folder / "error.log"),
                    "-c",
                    str(folder / "nginx.conf"),
                ],
                [
                    sys.executable,
                    str(PROGRAM),
                    "serve",
                    "--dir",
                    str(folder / "served"),
                    "--port",
                    str(ports["serve"]),
                    "-q",
                ],
            )
        ]
        try:
            until(
                lambda: (
                    all(answers(ports[name]) for name in ports if name != "dead")
                    or any(p.poll() for p in started)
                )
            )
            assert [p.poll() for p in started] == [None, None], (folder / "output").read_text() + (
                folder / "error.log"
            ).read_text()
            yield Nginx(folder, ports)
        finally:
            for process in started:
                process.terminate()
            for process in started:
                process.wait(10)


@pytest.fixture
def sample(tmp_path):
    path = tmp_path / "sample.bin"
    path.write_bytes(DATA)
    return path


# Uploads through it -------------------------------------------------------------------------------


def test_an_upload_through_nginx_is_proven(main, nginx, sample):
    done = main("-p", nginx.url(), "--json", sample)
    result = json.loads(done.out)
    assert (done.code, result["verified"]) == (0, "full")
    assert result["url"].startswith(nginx.url()) and result["delete"].startswith(result["url"])


@pytest.mark.parametrize("port", ["tls", "v12", "v13"])
def test_an_upload_over_tls_is_proven(main, nginx, sample, port):
    done = main("-p", nginx.url(port), "--cacert", nginx.ca, "--json", sample)
    result = json.loads(done.out)
    assert (done.code, result["verified"]) == (0, "full") and result["url"].startswith(
        nginx.url(port)
    )


def test_odd_names_pass_through_nginx(main, nginx, tmp_path):
    """Names that nginx and we must quote alike: it decodes the path, and passes the raw one on."""
    names = [
        "a b.txt",
        "grüße.txt",
        "100%.txt",
        "a+b&c=d;e.txt",
        "#?[]@!$'(),.txt",
        "%2e%2e%2f.txt",
        '"quoted".txt',
        "~.txt",
    ]
    files = [tmp_path / name for name in names]
    for file in files:
        file.write_bytes(file.name.encode() * 100)
    done = main("-p", nginx.url(), *files)
    assert (done.code, len(done.links)) == (0, len(names)) and done.err == ""


def test_connections_to_nginx_are_reused(main, nginx, sample):
    before = len(nginx.log())
    assert main("-p", nginx.url("tls"), "--cacert", nginx.ca, sample, sample, sample).code == 0
    until(lambda: len(nginx.log()) == before + 6)
    assert len({fields[0] for fields in nginx.log()[before:]}) == 1


@pytest.mark.parametrize(
    "port, says, hint",
    [
        ("expired", "expired", "check the clock"),
        ("other", "localhost", "may require a sign-in"),
        ("stranger", "issuer", "--cacert"),
    ],
)
def test_a_bad_certificate_is_refused(main, nginx, sample, port, says, hint):
    before = len(nginx.log())
    done = main("-p", nginx.url(port), "--cacert", nginx.ca, sample)
    assert (
        (done.code, done.out) == (1, "")
        and " tls " in done.err
        and says in done.err
        and hint in done.err
    )
    assert len(nginx.log()) == before
    insecure = main("-p", nginx.url(port), "--insecure", sample)
    assert insecure.code == 0 and "warning" in insecure.err


def test_an_unknown_authority_is_refused(main, nginx, sample):
    done = main("-p", nginx.url("tls"), sample)
    assert done.code == 1 and "SSL_CERT_FILE" in done.err


def test_https_spoken_to_a_plain_port_and_the_reverse(main, nginx, sample):
    done = main("-p", nginx.url("plain").replace("http:", "https:"), "--retry", 0, sample)
    assert done.code == 1 and " tls " in done.err
    done = main("-p", nginx.url("tls").replace("https:", "http:"), sample)
    assert done.code == 1 and "400" in done.err and "plain HTTP request" in done.err


# Refusals -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("port", ["plain", "tls"])
@pytest.mark.parametrize("size", [200 << 10, 24 * MIB])
def test_its_page_about_a_large_body_becomes_a_sentence(main, nginx, tmp_path, port, size):
    done = main(
        "-p", nginx.url(port, "small/"), "--cacert", nginx.ca, sparse(tmp_path / "big.bin", size)
    )
    assert (
        (done.code, done.out) == (1, "")
        and "413 Request Entity Too Large" in done.err
        and "<" not in done.err
    )
    assert "the file is " in done.err


def test_below_the_limit_all_is_well(main, nginx, sample):
    assert main("-p", nginx.url("plain", "small/"), sample).code == 0


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_of_an_upload_is_not_followed(main, nginx, sample, status):
    done = main("-p", nginx.url("plain", "%d/" % status), sample)
    assert (done.code, done.out) == (1, "") and "elsewhere" in done.err
    assert not nginx.log("/dav/elsewhere") and not (nginx.folder / "www/dav/elsewhere").exists()


def test_a_refusal_names_its_status(main, nginx, sample):
    done = main("-p", nginx.url("plain", "403/"), sample)
    assert done.code == 1 and "403 Forbidden" in done.err and nginx.statuses("/403/", 1) == [403]


@pytest.mark.parametrize("status", [502, 504])
def test_a_dead_server_behind_is_asked_once_more(main, nginx, sample, status):
    done = main("-p", nginx.url("plain", "%d/" % status), "--retry", 5, sample)
    assert (done.code, done.out) == (1, "") and "%d " % status in done.err
    # the body had left: it may have arrived
    assert nginx.statuses("/%d/" % status, 2) == [status] * 2


def test_a_busy_server_is_given_the_time_it_wants(main, nginx, sample):
    done = main("-p", nginx.url("plain", "busy/"), "-v", sample, sample)
    assert (done.code, len(done.links)) == (0, 2) and 1 <= done.seconds < 5
    assert (
        nginx.statuses("/busy/", 3) == [200, 429, 200]
        and "429" in done.err
        and "retrying in 1." in done.err
    )


def test_a_server_that_stays_busy_is_given_up(main, nginx, sample):
    done = main("-p", nginx.url("plain", "full/"), "--retry", 5, sample)
    assert (done.code, done.out) == (1, "") and "429 Too Many Requests" in done.err
    assert nginx.statuses("/full/", 2) == [429, 429] and 1 <= done.seconds < 4


def test_a_pause_without_end_is_a_no(main, nginx, sample):
    done = main("-p", nginx.url("plain", "never/"), sample)
    assert done.code == 1 and nginx.statuses("/never/", 1) == [503] and done.seconds < 3


def test_a_server_that_closes_without_a_word_is_a_sentence(main, nginx, sample):
    done = main("-p", nginx.url("plain", "444/"), "--retry", 5, sample)
    assert (done.code, done.out) == (1, "") and "127.0.0.1" in done.err
    assert nginx.statuses("/444/", 2) == [444, 444]


# Files that it keeps and serves itself ------------------------------------------------------------


@pytest.mark.parametrize("port", ["plain", "tls"])
@pytest.mark.parametrize("size", [1, 50_000, 5 * MIB])
def test_webdav_takes_the_exact_bytes(main, nginx, tmp_path, port, size):
    """A 201 without a body has no link, so the upload fails; the stored file is complete."""
    file = tmp_path / ("%s-%d.bin" % (port, size))
    file.write_bytes(os.urandom(size))
    done = main("-p", nginx.url(port, "dav/"), "--cacert", nginx.ca, file)
    assert (done.code, done.out) == (1, "")
    url = nginx.url(port, "dav/") + file.name
    assert (
        f"stored, but no link in the response   -p URL expects a transfer.sh server; try {url}"
        in done.err
    )
    assert (nginx.folder / "www/dav" / file.name).read_bytes() == file.read_bytes()
    assert nginx.statuses("/dav/" + file.name, 1) == [201]


@pytest.mark.parametrize(
    "location, verified, statuses",
    [("keep", "sample", [200, 206, 206]), ("keep-whole", "size", [200, 200])],
)
def test_a_large_file_is_proven_by_samples(main, nginx, tmp_path, location, verified, statuses):
    file = tmp_path / "large.bin"
    file.write_bytes(os.urandom(6 * MIB))
    done = main("-p", nginx.url("plain", location + "/"), "--json", file)
    assert (done.code, json.loads(done.out)["verified"]) == (0, verified)
    assert (
        nginx.statuses("/%s/large.bin" % location.replace("keep", "kept"), len(statuses))
        == statuses
    )


def test_a_large_file_is_proven_whole_if_asked(main, nginx, tmp_path):
    file = tmp_path / "whole.bin"
    file.write_bytes(os.urandom(5 * MIB))
    done = main("-p", nginx.url("plain", "keep/"), "--json", "--verify", "full", file)
    assert (done.code, json.loads(done.out)["verified"]) == (0, "full")


def test_what_nginx_would_compress_comes_as_it_is(main, nginx, tmp_path):
    file = tmp_path / "page.html"
    file.write_bytes(b"<html>" + b"all the same " * 10_000)
    done = main("-p", nginx.url("plain", "keep/"), "--json", file)
    assert (done.code, json.loads(done.out)["verified"]) == (0, "full")


# Before `serve`, with TLS and below a path --------------------------------------------------------

FRONT = """
daemon off; master_process off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;  proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;  scgi_temp_path {folder}/scgi;
    client_max_body_size 0;
    ssl_certificate {folder}/good.pem; ssl_certificate_key {folder}/good.pem;
    server {{
        listen 127.0.0.1:{tls} ssl;
        proxy_set_header X-Forwarded-Host $http_host;
        proxy_set_header X-Forwarded-Proto $scheme;
        location / {{ proxy_pass http://127.0.0.1:{plain_serve}; }}
        location /drop/ {{ proxy_pass http://127.0.0.1:{drop_serve}/; }}
        location /whole/ {{ proxy_pass http://127.0.0.1:{whole_serve}; }}
    }}
    server {{
        listen 127.0.0.1:{passing} ssl;
        proxy_set_header Host $http_host;
        proxy_http_version 1.1;
        location / {{ proxy_pass http://127.0.0.1:{plain_serve}; }}
        location /drop/ {{ proxy_pass http://127.0.0.1:{drop_serve}/; }}
    }}
}}
"""


@pytest.fixture(scope="module")
def front(tmp_path_factory):
    """nginx as TLS proxy: `front.url("tls", "drop/")`; `serve --url` runs at /drop/ and /whole/."""
    folder = tmp_path_factory.mktemp("front")
    certificates(folder)
    names = ("tls", "passing", "plain_serve", "drop_serve", "whole_serve")
    ports = {name: closed_port() for name in names}
    (folder / "nginx.conf").write_text(FRONT.format(folder=folder, **ports))
    serve = [sys.executable, str(PROGRAM), "serve", "-q", "--port"]
    seen = "https://localhost:%d" % ports["tls"]
    commands = (
        [executable(), "-p", folder, "-e", folder / "error.log", "-c", folder / "nginx.conf"],
        [*serve, ports["plain_serve"]],
        [*serve, ports["drop_serve"], "--url", seen + "/drop/"],
        [*serve, ports["whole_serve"], "--url", seen + "/whole"],
    )
    environment = {name: os.environ[name] for name in KEPT if name in os.environ}
    with (folder / "output").open("wb") as output:
        started = [
            subprocess.Popen(
                list(map(str, command)),
                env=environment,
                cwd=str(folder),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
            for command in commands
        ]
    try:
        until(lambda: all(map(answers, ports.values())) or any(p.poll() for p in started))
        assert not any(p.poll() for p in started), (folder / "output").read_text()
        yield Nginx(folder, ports)
    finally:
        for process in started:
            process.terminate()
        for process in started:
            process.wait(10)


def fetched(front, *args):
    """What curl gets, certificates verified."""
    command = [
        "curl",
        "-sS",
        "-q",
        "-f",
        "-m",
        "20",
        "--noproxy",
        "*",
        "--cacert",
        front.ca,
        *args,
    ]
    return subprocess.run(list(map(str, command)), capture_output=True, check=True).stdout


@pytest.mark.parametrize("path", ["", "drop/", "whole/"])
def test_links_of_serve_lead_through_the_tls_proxy(front, sample, path):
    link = fetched(front, "-T", sample, front.url("tls", path)).decode()
    assert link.startswith(front.url("tls", path)) and link.endswith("/sample.bin")
    assert fetched(front, link) == DATA and fetched(front, "-r", "5-9", link) == DATA[5:10]
    links = fetched(front, "-F", "f=@%s" % sample, "-F", "g=@%s" % sample, front.url("tls", path))
    for link in links.decode().split("\n"):
        assert link.startswith(front.url("tls", path)) and fetched(front, link) == DATA


@pytest.mark.parametrize("path", ["", "drop/", "whole/"])
def test_the_program_uploads_to_serve_behind_a_tls_proxy(main, front, sample, path):
    done = main("-p", front.url("tls", path), "--cacert", front.ca, "--json", sample)
    result = json.loads(done.out)
    assert (done.code, result["verified"]) == (0, "full")
    assert result["url"].startswith(front.url("tls", path))
    assert result["delete"].startswith(result["url"])
    fetched(front, "-X", "DELETE", result["delete"])
    with pytest.raises(subprocess.CalledProcessError):
        fetched(front, result["url"])


def test_a_proxy_that_passes_host_alone_is_helped_by_url(front, sample):
    """Host: localhost:PORT is one of this machine; the link is that of --url all the same."""
    link = fetched(front, "-T", sample, front.url("passing", "drop/")).decode()
    assert link.startswith(front.url("tls", "drop/")) and fetched(front, link) == DATA


def test_a_download_is_resumed_and_a_copy_asked_about_through_the_proxy(front, sample, tmp_path):
    link = fetched(front, "-T", sample, front.url("tls", "drop/")).decode()
    part = tmp_path / "part.bin"
    part.write_bytes(DATA[:1000])
    fetched(front, "-C", "-", "-o", part, link)
    assert part.read_bytes() == DATA
    wget = "wget -q --no-proxy -c --ca-certificate %s -O %s %s" % (front.ca, part, link)
    part.write_bytes(DATA[:2000])
    subprocess.run(wget.split(), check=True, timeout=20)
    assert part.read_bytes() == DATA
    etags = tmp_path / "etags"
    code = ["-o", os.devnull, "-w", "%{http_code}", "--etag-save", etags]
    assert fetched(front, *code, link) == b"200"
    assert fetched(front, *code[:-2], "--etag-compare", etags, link) == b"304"


def test_a_page_of_another_site_stores_nothing_through_the_proxy(front, sample):
    own = front.url("tls")[:-1]
    for origin, status in (("https://evil.example", "403"), (own, "200"), ("null", "403")):
        args = ["-o", os.devnull, "-w", "%{http_code}", "-H", "Origin: " + origin, "-T", sample]
        command = ["curl", "-sS", "-q", "--noproxy", "*", "--cacert", front.ca, *args]
        done = subprocess.run(
            list(map(str, [*command, front.url("tls")])), capture_output=True, check=True
        )
        assert done.stdout.decode() == status, origin
