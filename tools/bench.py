#!/usr/bin/env python3
"""Speed and memory of twat_fs.py beside curl and other installed clients.

    python3 tools/bench.py --quick               small files, a few seconds: does it work?
    python3 tools/bench.py                       the real sizes, a few minutes; files are sparse
    python3 tools/bench.py --json new.json --compare old.json

    Workspace: files, certificate, clean Python, sink on loopback
      Race: the same work for several clients, in turns -> Cost (wall, CPU, peak memory), medians
        Goal: a ratio of two costs, or a peak -> ok or MISSED

Absolute times drift from run to run: only ratios of one run count. All clients use the same file,
sink, protocol and certificates. Each upload is checked: exit code, link, and the number of bytes
that the sink received.

twat-fs runs as `python -m twat_fs` from a clean venv; for forms the sink replaces its hosts.

Chapters: 1 One run, 2 The workspace, 3 The clients, 4 The races, 5 Running, 6 The goals, 7 Output,
8 The command line.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple, Optional

ROOT = Path(__file__).resolve().parent.parent
PROGRAM = ROOT / "twat_fs.py"
KiB, MiB, GiB, MB = 1 << 10, 1 << 20, 1 << 30, 10**6
SYSTEM_CERTIFICATES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)


class Failed(Exception):
    """A client failed, so its time means nothing."""


# 1 One run ----------------------------------------------------------------------------------------


class Cost(NamedTuple):
    """Wall clock and CPU in seconds, peak memory in bytes."""

    wall: float
    cpu: float
    rss: float


# On Linux a child starts with the peak memory of its parent, so the parent is a minimal Python.
LAUNCHER = """
import os, sys, time
to = [(os.POSIX_SPAWN_OPEN, 1, sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)]
begun = time.perf_counter()
child = os.posix_spawn(sys.argv[2], sys.argv[2:], os.environ, file_actions=to)
status, used = os.wait4(child, 0)[1:]
print(time.perf_counter() - begun, used.ru_utime + used.ru_stime, used.ru_maxrss, status)
"""
MAXRSS_UNIT = 1 if sys.platform == "darwin" else KiB


def run(argv: Sequence[str], env: Mapping[str, str], output: Path) -> Cost:
    """Run a command with stdout to the file `output`; return its cost as the kernel reports it."""
    program = shutil.which(argv[0]) or argv[0]
    launcher = [sys.executable, "-I", "-S", "-c", LAUNCHER, str(output), program, *argv[1:]]
    quiet: Any = {"stdin": subprocess.DEVNULL, "capture_output": True, "text": True}
    result = subprocess.run(launcher, cwd=output.parent, env=env, check=False, **quiet)
    wall, cpu, rss, status = map(float, result.stdout.split() or (0, 0, 0, 1))
    if status:
        raise Failed(f"{' '.join(argv)[:200]}: status {status:g}: {last_line(result.stderr)}")
    return Cost(wall, cpu, rss * MAXRSS_UNIT)


def last_line(text: str) -> str:
    return (text.strip().splitlines() or [""])[-1][:300]


# 2 The workspace ----------------------------------------------------------------------------------


class Workspace(NamedTuple):
    """A temporary folder and what was prepared in it."""

    folder: Path
    python: str  # of a venv with twat_fs.py only
    bundle: str  # the certificates of the system and of the sink; "" without TLS
    sink: tuple[str, ...]  # the command
    tls: tuple[str, ...]  # its arguments for TLS

    def env(self) -> dict[str, str]:
        """The same minimal environment for all clients, without proxies and settings."""
        names = ("SSL_CERT_FILE", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE")
        bundles = dict.fromkeys(names, self.bundle) if self.bundle else {}
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "LANG": "C.UTF-8",
            **bundles,
        }

    def file(self, size: int) -> str:
        """A file of this size, always the same: 1 MiB of random bytes, then a hole; read once."""
        path = self.folder / f"{size}.bin"
        if not path.exists():
            path.write_bytes(os.urandom(min(size, MiB)))
            os.truncate(path, size)
            subprocess.run(["cat", str(path)], stdout=subprocess.DEVNULL, check=True)
        return str(path)


@contextlib.contextmanager
def prepared() -> Iterator[Workspace]:
    with tempfile.TemporaryDirectory(prefix="twat-fs-bench-") as name:
        folder = Path(name)
        bundle, tls = certificates(folder)
        yield Workspace(folder, clean_python(folder), bundle, sink_command(folder), tls)


def clean_python(folder: Path) -> str:
    """A venv without start-up hooks, with twat_fs installed and compiled as by pip."""
    subprocess.run(
        [sys.executable, "-m", "venv", "--without-pip", str(folder / "venv")], check=True
    )
    (packages,) = (folder / "venv").glob("lib/python*/site-packages")
    shutil.copy(PROGRAM, packages)
    python = str(folder / "venv" / "bin" / "python")
    subprocess.run([python, "-m", "compileall", "-q", str(packages)], check=True)
    return python


def certificates(folder: Path) -> tuple[str, tuple[str, ...]]:
    """The bundle and the arguments of the sink; empty without `openssl`."""
    key, certificate, bundle = (folder / name for name in ("key.pem", "cert.pem", "bundle.pem"))
    command = [
        "openssl",
        "req",
        "-x509",
        "-nodes",
        "-days",
        "7",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-keyout",
        str(key),
        "-out",
        str(certificate),
        "-subj",
        "/CN=twat-fs bench",
        "-addext",
        "subjectAltName=IP:127.0.0.1",
        "-addext",
        "keyUsage=digitalSignature,keyCertSign",
    ]
    if (
        not shutil.which("openssl")
        or subprocess.run(command, capture_output=True, check=False).returncode
    ):
        return "", ()
    system = next((Path(path) for path in SYSTEM_CERTIFICATES if os.path.exists(path)), None)
    bundle.write_bytes((system.read_bytes() if system else b"") + certificate.read_bytes())
    return str(bundle), ("--tls", str(certificate), str(key))


def sink_command(folder: Path) -> tuple[str, ...]:
    """The sink in C if there is a compiler with the headers of OpenSSL, or the one in Python."""
    binary = str(folder / "sink")
    command = [
        "cc",
        "-O2",
        "-o",
        binary,
        str(ROOT / "tools" / "sink.c"),
        "-lssl",
        "-lcrypto",
        "-lpthread",
    ]
    if (
        shutil.which("cc")
        and subprocess.run(command, capture_output=True, check=False).returncode == 0
    ):
        return (binary,)
    return (sys.executable, str(ROOT / "tools" / "sink.py"))


class Sink(NamedTuple):
    """A running sink."""

    url: str
    context: Any

    def statistics(self) -> tuple[int, int]:
        """Bytes of bodies received and sent."""
        with urllib.request.urlopen(self.url + "statistics", context=self.context) as output:
            received, sent = output.read().split()
        return int(received), int(sent)


@contextlib.contextmanager
def running_sink(workspace: Workspace, tls: bool, serve: str = "", cap: int = 0) -> Iterator[Sink]:
    sent = (*(("--serve", serve) if serve else ()), *(("--cap", str(cap)) if cap else ()))
    argv = [*workspace.sink, *(workspace.tls if tls else ()), *sent]
    with subprocess.Popen(
        argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin and process.stdout
        port = process.stdout.readline().strip()
        yield Sink(
            f"{'https' if tls else 'http'}://127.0.0.1:{port}/",
            trusting(workspace.bundle) if tls else None,
        )
        process.stdin.close()  # the sink exits at the end of its stdin


def trusting(bundle: str) -> Any:
    import ssl

    return ssl.create_default_context(cafile=bundle)


# 3 The clients ------------------------------------------------------------------------------------

TWAT_FORM = """
import sys, twat_fs as t
url, file = sys.argv[1:]
read, retention = t.link_reader(t.body_text), t.Retention(None)
sink = t.form("sink", "sink", url, "file", read=read, retention=retention, limits=t.Limits())
t.PROVIDERS = (sink,)
sys.exit(t.main(["-p", "sink", "--no-check", file]))
"""
# The limit of this machine: the kernel sends the file alone. No real client can be faster.
LIMIT = """
import os, socket, sys
url, file = sys.argv[1:]
port = int(url.rstrip("/").rpartition(":")[2])
head = b"PUT /limit HTTP/1.1\\r\\nHost: 127.0.0.1\\r\\nContent-Length: %d\\r\\n\\r\\n"
with socket.create_connection(("127.0.0.1", port)) as sock, open(file, "rb") as body:
    sock.sendall(head % os.path.getsize(file))
    sock.sendfile(body)
    print(sock.recv(4096))
"""
REQUESTS_FORM = """
import sys, requests
print(requests.post(sys.argv[1], files={"file": open(sys.argv[2], "rb")}).text)
"""
HTTPX_FORM = """
import os, ssl, sys, httpx
trust = ssl.create_default_context(cafile=os.environ.get("SSL_CERT_FILE"))
files = {"file": open(sys.argv[2], "rb")}
print(httpx.post(sys.argv[1], files=files, timeout=None, verify=trust).text)
"""
RCLONE_PUT = (
    "rclone",
    "copyto",
    "{file}",
    ":s3,provider=Other,access_key_id=a,secret_access_key=b,endpoint='{url}':bucket/file.bin",
    "--s3-no-check-bucket",
    "--s3-no-head",
    "--s3-upload-cutoff=5G",
    "--s3-disable-checksum",
    "--ignore-checksum",
    "--multi-thread-streams=0",
    "--retries=1",
    "--ca-cert={bundle}",
)


# All clients start with `env` and upload the same object; the sink accepts each signature.
S3_ENV = (
    "env",
    "AWS_ACCESS_KEY_ID=AKIABENCH",
    "AWS_SECRET_ACCESS_KEY=secret",
    "AWS_REGION=us-east-1",
    "AWS_DEFAULT_REGION=us-east-1",
    "AWS_S3_BUCKET=bucket",
    "AWS_ENDPOINT_URL={url}",
    "AWS_CA_BUNDLE={bundle}",
)
S3_CURL = (
    "curl",
    "-sS",
    "--aws-sigv4",
    "aws:amz:us-east-1:s3",
    "-u",
    "AKIABENCH:secret",
    "-H",
    "x-amz-content-sha256: UNSIGNED-PAYLOAD",
    "-T",
    "{file}",
    "{url}bucket/file.bin",
)
S3_OURS = ("{python}", "-m", "twat_fs", "-p", "s3", "--no-check", "--force", "{file}")
S3_BOTO3 = """
import sys, boto3
boto3.client("s3").upload_file(sys.argv[1], "bucket", "file.bin")
"""
S3_AWS = ("aws", "s3", "cp", "--no-progress", "{file}", "s3://bucket/file.bin")
S3_RCLONE = (
    *RCLONE_PUT[:4],
    "--s3-no-check-bucket",
    "--s3-no-head",
    "--s3-use-multipart-etag=false",
    "--ignore-checksum",
    "--multi-thread-streams=0",
    "--retries=1",
    "--ca-cert={bundle}",
)


class Client(NamedTuple):
    """A command that uploads, with the fields {python} {url} {file} {bundle}."""

    argv: tuple[str, ...]
    most: float = float("inf")  # larger files show nothing new
    prints_link: bool = True  # prints the link
    tls: bool = True  # also over https
    quick: bool = True  # also with --quick


CLIENTS: Mapping[str, Mapping[str, Client]] = {
    "form": {
        "curl": Client(("curl", "-sS", "-F", "file=@{file}", "{url}")),
        "twat-fs": Client(("{python}", "-c", TWAT_FORM, "{url}", "{file}")),
        "limit": Client(("{python}", "-c", LIMIT, "{url}", "{file}"), tls=False),
        "requests": Client(
            (sys.executable, "-c", REQUESTS_FORM, "{url}", "{file}"), most=100 * MiB
        ),
        "httpx": Client((sys.executable, "-c", HTTPX_FORM, "{url}", "{file}"), most=GiB),
    },
    "put": {
        "curl": Client(("curl", "-sS", "-T", "{file}", "{url}")),
        "twat-fs": Client(("{python}", "-m", "twat_fs", "-p", "{url}", "--no-check", "{file}")),
        "rclone": Client(RCLONE_PUT, most=GiB, prints_link=False),
    },
    "s3": {
        "curl": Client((*S3_ENV, *S3_CURL), prints_link=False),
        "twat-fs": Client((*S3_ENV, *S3_OURS)),
        "boto3": Client((*S3_ENV, sys.executable, "-c", S3_BOTO3, "{file}"), prints_link=False),
        "aws": Client((*S3_ENV, *S3_AWS), prints_link=False, quick=False),
        "rclone": Client((*S3_ENV, *S3_RCLONE), prints_link=False),
    },
}


def is_installed(name: str) -> bool:
    if name in ("requests", "httpx", "boto3"):
        return importlib.util.find_spec(name) is not None
    return name.startswith("twat-fs") or name == "limit" or shutil.which(name) is not None


def is_able(name: str, client: Client, size: int, tls: bool, quick: bool) -> bool:
    return (
        is_installed(name)
        and size <= client.most
        and (client.tls or not tls)
        and (client.quick or not quick)
    )


def filled(argv: Sequence[str], **blanks: str) -> tuple[str, ...]:
    """Replace the fields of a command; other braces stay."""
    for name, value in blanks.items():
        argv = [word.replace("{" + name + "}", value) for word in argv]
    return tuple(argv)


# 4 The races --------------------------------------------------------------------------------------


class Race(NamedTuple):
    """The same work for several clients, in `times` rounds with one run each."""

    name: str
    clients: Mapping[str, tuple[str, ...]]
    reference: str
    times: int
    size: int = 0  # bytes that each client uploads, as the sink must confirm
    tls: bool = False
    serve: str = ""
    cap: int = 0  # bytes per second and connection; 0: unlimited
    silent: tuple[str, ...] = ()  # clients that print no link


class Size(NamedTuple):
    name: str
    real: int
    quick: int
    times: int


SIZES = (
    Size("1 KiB", KiB, KiB, 15),
    Size("1 MiB", MiB, MiB, 11),
    Size("100 MiB", 100 * MiB, 2 * MiB, 9),
    Size("1 GiB", GiB, 4 * MiB, 7),
    Size("4 GiB", 4 * GiB, 8 * MiB, 3),
)
S3_SIZES = (
    Size("1 KiB", KiB, KiB, 9),
    Size("100 MiB", 100 * MiB, 17 * MiB, 7),
    Size("2 GiB", 2 * GiB, 33 * MiB, 3),
)
MANY = 1000  # files of 4 KiB


def races(workspace: Workspace, quick: bool) -> Iterator[Race]:
    yield start_ups(workspace, 2 if quick else 21)
    for tls in (False, True) if workspace.tls else (False,):
        for method in CLIENTS:
            for size in S3_SIZES if method == "s3" else SIZES:
                yield uploads(workspace, method, tls, size, quick)
    line = uploads(workspace, "s3", False, S3_SIZES[1], quick)
    yield line._replace(name="s3 capped line 100 MiB", cap=50 * MiB, times=1 if quick else 3)
    yield many_files(workspace, 20 if quick else MANY, 1 if quick else 7)
    yield proofs(workspace, SIZES[-1].quick if quick else SIZES[-1].real, 1 if quick else 3)


def start_ups(workspace: Workspace, times: int) -> Race:
    python = workspace.python
    (
        workspace.folder / "bare"
    ).mkdir()  # in a checkout it would ask git for its version; here nobody else imports it
    bare = shutil.copy(PROGRAM, workspace.folder / "bare")
    clients = {
        "argparse": (python, "-c", "import argparse"),
        "nothing": (python, "-c", "pass"),
        "import": (python, "-c", "import twat_fs"),
        "installed": (python, "-m", "twat_fs", "--version"),
        "bare script": (python, str(bare), "--version"),
        "curl": ("curl", "--version"),
    }
    return Race("start", clients, "argparse", times)


def uploads(workspace: Workspace, method: str, tls: bool, size: Size, quick: bool) -> Race:
    file_size = size.quick if quick else size.real
    file = workspace.file(file_size)
    able = {
        name: client
        for name, client in CLIENTS[method].items()
        if is_able(name, client, file_size, tls, quick)
    }
    blanks = {"python": workspace.python, "file": file, "bundle": workspace.bundle}
    return Race(
        f"{method} {'https' if tls else 'http'} {size.name}",
        {name: filled(client.argv, **blanks) for name, client in able.items()},
        "curl", 1 if quick else size.times, file_size, tls,
        silent=tuple(name for name, client in able.items() if not client.prints_link),
    )  # fmt: skip


def many_files(workspace: Workspace, count: int, times: int) -> Race:
    """All in one call by PUT; curl gets a list, so that it keeps its connection too."""
    folder = workspace.folder / "many"
    folder.mkdir()
    files = [folder / f"{number:04}.bin" for number in range(count)]
    for file in files:
        file.write_bytes(os.urandom(4 * KiB))
    pairs = [word for file in files for word in ("-T", str(file), "{url}")]
    clients = {
        "curl": ("curl", "-sS", *pairs),
        "curl parallel": ("curl", "-sS", "--parallel", *pairs),
        "twat-fs": (
            workspace.python,
            "-m",
            "twat_fs",
            "-p",
            "{url}",
            "--no-check",
            *map(str, files),
        ),
    }
    return Race("many 4 KiB", clients, "curl", times, 4 * KiB * count)


def proofs(workspace: Workspace, size: int, times: int) -> Race:
    """The cost of verification and of SHA-256."""
    file = workspace.file(size)
    base = (workspace.python, "-m", "twat_fs", "-p", "{url}")
    clients = {
        "no proof": (*base, "--no-check", file),
        "sample proof": (*base, file),
        "hashed": (*base, "--no-check", "--json", file),
    }
    return Race("proof 4 GiB", clients, "no proof", times, size, serve=file)


# 5 Running ----------------------------------------------------------------------------------------


class Entry(NamedTuple):
    """One client of a race: median cost, ratio to the reference, and bytes downloaded."""

    race: str
    client: str
    wall: float
    cpu: float
    rss: float
    ratio: float
    sent: float


def run_race(race: Race, workspace: Workspace, failures: list[str]) -> list[Entry]:
    """Run the clients in turns, so that a slow minute affects all; one that fails drops out."""
    costs: dict[str, list[Cost]] = {name: [] for name in race.clients}
    downloaded = dict.fromkeys(race.clients, 0)
    with running_sink(workspace, race.tls, race.serve, race.cap) as sink:
        for name in list(race.clients) * race.times:
            if name in costs:
                try:
                    cost, downloaded[name] = run_client(race, name, sink, workspace)
                    costs[name].append(cost)
                except Failed as error:
                    failures.append(f"{race.name}: {name}: {error}")
                    del costs[name]
    if race.reference not in costs:
        return []
    reference = median(cost.wall for cost in costs[race.reference])
    return [
        make_entry(race, name, runs, reference, downloaded[name]) for name, runs in costs.items()
    ]


def run_client(race: Race, name: str, sink: Sink, workspace: Workspace) -> tuple[Cost, int]:
    """The cost and the bytes that the sink sent; raises Failed if the upload failed."""
    output = workspace.folder / "output"
    received, sent = sink.statistics()
    cost = run(filled(race.clients[name], url=sink.url), workspace.env(), output)
    now_received, now_given = sink.statistics()
    if now_received - received < race.size:
        raise Failed(f"sent {now_received - received} bytes, expected {race.size}")
    if race.size and name not in race.silent and b"://127.0.0.1" not in output.read_bytes():
        raise Failed("no link in the output")
    return cost, now_given - sent


def make_entry(race: Race, name: str, costs: Sequence[Cost], reference: float, sent: int) -> Entry:
    wall, cpu = (median(values) for values in list(zip(*costs))[:2])
    return Entry(
        race.name, name, wall, cpu, max(cost.rss for cost in costs), wall / reference, sent
    )


# 6 The goals --------------------------------------------------------------------------------------

Entries = Mapping[tuple[str, str], Entry]
Measure = Callable[[Entries], Optional[float]]


class Goal(NamedTuple):
    """At most `limit` (None: no goal); `why`: the reason if it is missed and known."""

    number: int
    text: str
    limit: float | None
    measure: Measure
    why: str = ""


def ratio(race: str, field: str = "wall", one: str = "twat-fs", other: str = "curl") -> Measure:
    def measure(entries: Entries) -> float | None:
        if not {(race, one), (race, other)} <= set(entries):
            return None
        return float(getattr(entries[race, one], field) / getattr(entries[race, other], field))

    return measure


def multiple_of(other: str) -> Callable[..., Measure]:
    """The cost of twat-fs as a multiple of that of another client."""

    def measure(race: str, field: str = "wall") -> Measure:
        return ratio(race, field, other=other)

    return measure


curl, boto3, rclone = map(multiple_of, ("curl", "boto3", "rclone"))


def peak(method: str) -> Measure:
    """The largest of a small, a large and a very large file, in MB."""

    def measure(entries: Entries) -> float | None:
        names = [(f"{method} {size}", "twat-fs") for size in ("1 KiB", "1 GiB", "4 GiB")]
        return max((entries[name].rss / MB for name in names if name in entries), default=None)

    return measure


def peak_of(race: str) -> Measure:
    key = (race, "twat-fs")
    return lambda entries: entries[key].rss / MB if key in entries else None


def started(one: str) -> Measure:
    return ratio("start", "wall", one, "argparse")


def proved(one: str) -> Measure:
    return ratio("proof 4 GiB", "wall", one, "no proof")


def read_back(entries: Entries) -> float | None:
    entry = entries.get(("proof 4 GiB", "sample proof"))
    return entry.sent / MiB if entry else None


# Reasons why some goals are missed, measured 2026-11-25 on 2 cores with Python 3.11.
COPY = (
    "bare read and send in Python reaches 0.6-0.9 here, and os.sendfile 1.2-1.7, so it is not used"
)
CIPHER = "an SSLSocket alone reaches 1.05 here, an SSLObject over memory 1.06: the rest is start-up"
COMPILED = "45 ms compile the file at each run; an installed file is compiled once"
IMPORTED = "3/4 are Python, http.client with email, and ssl: an own HTTP parser would save 20 ms"
HASHED = "without TLS the signature covers the body: SHA-256 (1.6 GiB/s a core) reads it first"
MADE = "3 ms create the NamedTuple classes, 3 ms import typing and contextlib"
MODULES = (
    "ssl with the system's certificates alone takes 16 MB, http.client and the code of this file 8"
)
LOOKED_AT = "0.16 ms a file: checks for changes, and parsing by http.client with email"

GOALS = (
    Goal(1, "form, HTTP 1 GiB: time, x curl",          0.5,  curl("form http 1 GiB"), COPY),
    Goal(1, "form, HTTP 4 GiB: time, x curl",          0.5,  curl("form http 4 GiB"), COPY),
    Goal(1, "form, HTTP 1 GiB: CPU, x curl",           0.5,  curl("form http 1 GiB", "cpu"), COPY),
    Goal(1, "form, HTTP 4 GiB: CPU, x curl",           0.5,  curl("form http 4 GiB", "cpu"), COPY),
    Goal(1, "form, HTTPS 1 GiB: time, x curl",         0.85, curl("form https 1 GiB"), CIPHER),
    Goal(1, "form, HTTPS 4 GiB: time, x curl",         0.85, curl("form https 4 GiB"), CIPHER),
    Goal(2, "peak, HTTP 1 KiB, 1 GiB, 4 GiB: MB",      25,   peak("form http")),
    Goal(2, "peak, HTTPS 1 KiB, 1 GiB, 4 GiB: MB",25,   peak("form https"), MODULES),
    Goal(3, "python -m twat_fs --version, x argparse", 1.3,  started("installed"), MADE),
    Goal(3, "bare script --version, x argparse",       1.6,  started("bare script"), COMPILED),
    Goal(4, "form, HTTPS 1 KiB: time, x curl",         2.0,  curl("form https 1 KiB"), IMPORTED),
    Goal(4, "import twat_fs, x argparse",              2.0,  started("import")),
    Goal(5, "1,000 files of 4 KiB: time, x curl",      1.0,  curl("many 4 KiB"), LOOKED_AT),
    Goal(6, "S3, HTTP 1 KiB: time, x curl",            4.0,  curl("s3 http 1 KiB"), IMPORTED),
    Goal(6, "S3, HTTP 2 GiB in parts: time, x boto3",  0.4,  boto3("s3 http 2 GiB"), HASHED),
    Goal(6, "S3, HTTPS 2 GiB in parts: time, x boto3", 0.5,  boto3("s3 https 2 GiB")),
    Goal(6, "S3, HTTP 2 GiB in parts: time, x curl",   1.0,  curl("s3 http 2 GiB"), HASHED),
    Goal(6, "S3, HTTPS 2 GiB in parts: time, x curl",  1.0,  curl("s3 https 2 GiB")),
    Goal(6, "S3, HTTP 2 GiB: time, x rclone",          1.0,  rclone("s3 http 2 GiB")),
    Goal(6, "S3, HTTPS 2 GiB: time, x rclone",         1.0,  rclone("s3 https 2 GiB")),
    Goal(2, "peak, S3, HTTP 2 GiB in 8 parts: MB",40,   peak_of("s3 http 2 GiB")),
    Goal(2, "peak, S3, HTTPS 2 GiB in 8 parts: MB",40,   peak_of("s3 https 2 GiB")),
    Goal(9, "S3, 50 MiB/s a connection: time, x boto3",0.5,  boto3("s3 capped line 100 MiB")),
    Goal(7, "sample check of 4 GiB: MiB read back",    3,    read_back),
    Goal(7, "sample check of 4 GiB: time, x no check", None, proved("sample proof")),
    Goal(7, "SHA-256 of 4 GiB: time, x none",          None, proved("hashed")),
)  # fmt: skip


def reached(entries: Sequence[Entry], everything: bool) -> dict[Goal, float | None]:
    """The result of each goal; with --only without those that were not measured."""
    table = {(entry.race, entry.client): entry for entry in entries}
    results = {goal: goal.measure(table) for goal in GOALS}
    return {goal: result for goal, result in results.items() if everything or result is not None}


def verdict(goal: Goal, result: float | None) -> str:
    if result is None:
        return "not measured"
    if goal.limit is None:
        return "no goal"
    return "ok" if result <= goal.limit else "MISSED"


# 7 Output -----------------------------------------------------------------------------------------


def heading(workspace: Workspace, quick: bool) -> str:
    command = ["curl", "--version"]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    sink = (
        "C"
        if len(workspace.sink) == 1
        else "Python (may be slower than the clients: ratios too close to 1)"
    )
    note = ", QUICK: small files instead of large ones, goals mean little" if quick else ""
    machine = (
        f"Python {platform.python_version()}, curl {output.split()[1]}, {os.cpu_count()} cores"
    )
    return f"{time.strftime('%Y-%m-%d')}, {machine}, sink in {sink}{note}"


def entry_line(entry: Entry) -> str:
    return (
        f"{entry.race:22} {entry.client:14} {entry.wall * 1000:9.1f} ms {entry.ratio:7.2f} x"
        f" {entry.cpu * 1000:9.1f} ms {entry.rss / MB:7.1f} MB"
    )


def goal_line(goal: Goal, result: float | None) -> str:
    limit = "" if goal.limit is None else f"<= {goal.limit:g}"
    number = "" if result is None else f"{result:.2f}"
    outcome = verdict(goal, result)
    why = f": {goal.why}" if goal.why and outcome == "MISSED" else ""
    return f"{goal.number}  {goal.text:50} {limit:>8} {number:>8}  {outcome}{why}"


def comparison(now: Sequence[Entry], before: Mapping[str, Any]) -> Iterator[str]:
    """The ratios of both runs; a difference of 10 % is noise."""
    old = {(row["race"], row["client"]): row["ratio"] for row in before["entries"]}
    yield f"ratios compared with {before['heading']}"
    for entry in now:
        ratio_then = old.get((entry.race, entry.client))
        if ratio_then:
            change = entry.ratio / ratio_then
            mark = "slower" if change > 1.1 else "faster" if change < 0.9 else ""
            ratios = f"{ratio_then:7.2f} -> {entry.ratio:7.2f}"
            yield f"{entry.race:20} {entry.client:14} {ratios}  {mark}".rstrip()


def as_json(title: str, entries: Sequence[Entry], results: Mapping[Goal, float | None]) -> str:
    goals = [
        {
            "number": goal.number,
            "text": goal.text,
            "limit": goal.limit,
            "result": result,
            "verdict": verdict(goal, result),
            "why": goal.why,
        }
        for goal, result in results.items()
    ]
    return json.dumps(
        {"heading": title, "entries": [entry._asdict() for entry in entries], "goals": goals},
        indent=1,
    )


# 8 The command line -------------------------------------------------------------------------------


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Speed and memory of twat_fs.py beside curl.")
    parser.add_argument(
        "--quick",
        action="store_true",
        help="use small files, to see that it works",
    )
    parser.add_argument(
        "--only", default="", metavar="TEXT", help="run only races with TEXT in their name"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the numbers to FILE")
    parser.add_argument(
        "--compare", type=Path, metavar="FILE", help="compare with FILE of an earlier --json"
    )
    return parser


def measured(workspace: Workspace, quick: bool, only: str, failures: list[str]) -> Iterator[Entry]:
    for race in races(workspace, quick):
        if only in race.name:
            for entry in run_race(race, workspace, failures):
                print(entry_line(entry), flush=True)
                yield entry


def main(argv: list[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    before = json.loads(args.compare.read_text()) if args.compare else None
    if os.name == "nt" or not shutil.which("curl"):
        sys.exit("bench.py: a POSIX system and curl required")
    with prepared() as workspace:
        title = heading(workspace, args.quick)
        print(f"{title}\n")
        print("race                   client             clock     ratio    processor  peak memory")
        failures: list[str] = []
        entries = list(measured(workspace, args.quick, args.only, failures))
    results = reached(entries, everything=not args.only)
    print("\ngoal" + " " * 53 + "limit   result")
    print("\n".join(goal_line(goal, result) for goal, result in results.items()))
    if before:
        print("\n" + "\n".join(comparison(entries, before)))
    if args.json:
        args.json.write_text(as_json(title, entries, results))
    for failure in failures:
        print(f"bench.py: {failure}", file=sys.stderr)
    return bool(failures)


if __name__ == "__main__":
    sys.exit(main())
