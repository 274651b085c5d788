#!/usr/bin/env python3
"""Speed and memory of twat_fs.py, side by side with curl and whatever else is installed.

    python3 tools/bench.py --quick                     small files, some seconds: does it work?
    python3 tools/bench.py                             the real sizes: some minutes; the files are sparse
    python3 tools/bench.py --json new.json --compare old.json

    Place: files, certificate, clean Python, sink on loopback
      Race: the same work for several clients, in turns --> Cost (wall, CPU, peak memory), medians
        Goal: a ratio of two costs, or a peak --> ok or MISSED

Absolute times drift from run to run: only ratios of one run count. All clients do the same: same file, same sink, same
protocol, same certificates. Every upload is checked: exit code, link, and that the sink received so many bytes.

twat-fs runs as `python -m twat_fs` from a clean venv; for forms one row of its table is exchanged for the sink.

Chapters: 1 One run, 2 The place, 3 The clients, 4 The races, 5 Running, 6 The goals, 7 Output, 8 The command line.
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
    """A client did not do its work, so its time means nothing."""


# 1 One run -----------------------------------------------------------------------------------------------------------


class Cost(NamedTuple):
    """Seconds of the clock, seconds of the processor, and bytes of memory at the peak."""

    wall: float
    cpu: float
    rss: float


# Linux lets a child begin with its parent's peak memory: so the parent is not this program but the smallest Python.
LAUNCHER = """
import os, sys, time
to = [(os.POSIX_SPAWN_OPEN, 1, sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)]
begun = time.perf_counter()
child = os.posix_spawn(sys.argv[2], sys.argv[2:], os.environ, file_actions=to)
status, used = os.wait4(child, 0)[1:]
print(time.perf_counter() - begun, used.ru_utime + used.ru_stime, used.ru_maxrss, status)
"""
MAXRSS_UNIT = 1 if sys.platform == "darwin" else KiB


def run(argv: Sequence[str], env: Mapping[str, str], answer: Path) -> Cost:
    """Start it beside the file `answer`, which gets its stdout, let it end, and ask the kernel what it cost."""
    program = shutil.which(argv[0]) or argv[0]
    launcher = [sys.executable, "-I", "-S", "-c", LAUNCHER, str(answer), program, *argv[1:]]
    quiet: Any = {"stdin": subprocess.DEVNULL, "capture_output": True, "text": True}
    done = subprocess.run(launcher, cwd=answer.parent, env=env, check=False, **quiet)
    wall, cpu, rss, status = map(float, done.stdout.split() or (0, 0, 0, 1))
    if status:
        raise Failed(f"{' '.join(argv)[:200]}: status {status:g}: {last_line(done.stderr)}")
    return Cost(wall, cpu, rss * MAXRSS_UNIT)


def last_line(text: str) -> str:
    return (text.strip().splitlines() or [""])[-1][:300]


# 2 The place ---------------------------------------------------------------------------------------------------------


class Place(NamedTuple):
    """Where it happens: a folder that is deleted at the end, and what was prepared in it."""

    folder: Path
    python: str  # of a venv that holds twat_fs.py and nothing else
    bundle: str  # the system's certificates and that of the sink; "" where there is no TLS
    sink: tuple[str, ...]  # the command
    tls: tuple[str, ...]  # its arguments for TLS

    def env(self) -> dict[str, str]:
        """Little, and the same for everybody: no proxy, no settings, and one file of certificates."""
        names = ("SSL_CERT_FILE", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE")
        certificates = dict.fromkeys(names, self.bundle) if self.bundle else {}
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "LANG": "C.UTF-8",
            **certificates,
        }

    def file(self, size: int) -> str:
        """A file of this size, the same one each time; random at its start, the rest is a hole, read once."""
        path = self.folder / f"{size}.bin"
        if not path.exists():
            path.write_bytes(os.urandom(min(size, MiB)))
            os.truncate(path, size)
            subprocess.run(["cat", str(path)], stdout=subprocess.DEVNULL, check=True)
        return str(path)


@contextlib.contextmanager
def prepared() -> Iterator[Place]:
    with tempfile.TemporaryDirectory(prefix="twat-fs-bench-") as name:
        folder = Path(name)
        bundle, tls = certificates(folder)
        yield Place(folder, clean_python(folder), bundle, sink_command(folder), tls)


def clean_python(folder: Path) -> str:
    """A venv without any start-up hooks, in which twat_fs is installed and compiled, as pip would leave it."""
    subprocess.run(
        [sys.executable, "-m", "venv", "--without-pip", str(folder / "venv")], check=True
    )
    (packages,) = (folder / "venv").glob("lib/python*/site-packages")
    shutil.copy(PROGRAM, packages)
    python = str(folder / "venv" / "bin" / "python")
    subprocess.run([python, "-m", "compileall", "-q", str(packages)], check=True)
    return python


def certificates(folder: Path) -> tuple[str, tuple[str, ...]]:
    """(bundle, arguments of the sink); empty where there is no `openssl`."""
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
    """The sink in C where a compiler and OpenSSL's headers are, else the one in Python."""
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
    """A running sink; `asked` is the door for our own questions."""

    url: str
    context: Any

    def statistics(self) -> tuple[int, int]:
        """Bytes of bodies received, and given."""
        with urllib.request.urlopen(self.url + "statistics", context=self.context) as answer:
            received, given = answer.read().split()
        return int(received), int(given)


@contextlib.contextmanager
def running_sink(place: Place, tls: bool, serve: str = "", cap: int = 0) -> Iterator[Sink]:
    given = (*(("--serve", serve) if serve else ()), *(("--cap", str(cap)) if cap else ()))
    argv = [*place.sink, *(place.tls if tls else ()), *given]
    with subprocess.Popen(
        argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin and process.stdout
        port = process.stdout.readline().strip()
        yield Sink(
            f"{'https' if tls else 'http'}://127.0.0.1:{port}/",
            trusting(place.bundle) if tls else None,
        )
        process.stdin.close()  # the sink ends with its stdin


def trusting(bundle: str) -> Any:
    import ssl

    return ssl.create_default_context(cafile=bundle)


# 3 The clients -------------------------------------------------------------------------------------------------------

TWAT_FORM = """
import sys, twat_fs as t
url, file = sys.argv[1:]
t.PROVIDERS = (t.form("sink", "sink", url, "file", read=t.link_of(t.text), keeps=t.Keeps(None)),)
sys.exit(t.main(["-p", "sink", "--no-check", file]))
"""
# What this machine allows at this hour: the kernel carries the bare file. Nobody who also thinks can be faster.
LIMIT = """
import os, socket, sys
url, file = sys.argv[1:]
with socket.create_connection(("127.0.0.1", int(url.rstrip("/").rpartition(":")[2]))) as line, open(file, "rb") as body:
    line.sendall(b"PUT /limit HTTP/1.1\\r\\nHost: 127.0.0.1\\r\\nContent-Length: %d\\r\\n\\r\\n" % os.path.getsize(file))
    line.sendfile(body)
    print(line.recv(4096))
"""
REQUESTS_FORM = """
import sys, requests
print(requests.post(sys.argv[1], files={"file": open(sys.argv[2], "rb")}).text)
"""
HTTPX_FORM = """
import os, ssl, sys, httpx
trust = ssl.create_default_context(cafile=os.environ.get("SSL_CERT_FILE"))
print(httpx.post(sys.argv[1], files={"file": open(sys.argv[2], "rb")}, timeout=None, verify=trust).text)
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


# Everybody begins by `env`, and puts the same object into the same place; the sink takes every signature.
S3_ENV = ("env", "AWS_ACCESS_KEY_ID=AKIABENCH", "AWS_SECRET_ACCESS_KEY=secret", "AWS_REGION=us-east-1",
          "AWS_DEFAULT_REGION=us-east-1", "AWS_S3_BUCKET=bucket", "AWS_ENDPOINT_URL={url}", "AWS_CA_BUNDLE={bundle}")  # fmt: skip
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
    """A way to upload: the command, with its blanks {python} {url} {file} {bundle}."""

    argv: tuple[str, ...]
    most: float = float("inf")  # larger files only tell what is known
    answers: bool = True  # prints the link
    tls: bool = True  # also goes over https
    quick: bool = True  # also takes part in --quick


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
        "rclone": Client(RCLONE_PUT, most=GiB, answers=False),
    },
    "s3": {
        "curl": Client((*S3_ENV, *S3_CURL), answers=False),
        "twat-fs": Client((*S3_ENV, *S3_OURS)),
        "boto3": Client((*S3_ENV, sys.executable, "-c", S3_BOTO3, "{file}"), answers=False),
        "aws": Client((*S3_ENV, *S3_AWS), answers=False, quick=False),
        "rclone": Client((*S3_ENV, *S3_RCLONE), answers=False),
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
    """The command without its blanks; other braces, of programs, stay."""
    for name, value in blanks.items():
        argv = [word.replace("{" + name + "}", value) for word in argv]
    return tuple(argv)


# 4 The races ---------------------------------------------------------------------------------------------------------


class Race(NamedTuple):
    """The same work for several clients; `times` rounds, everybody once in each."""

    name: str
    clients: Mapping[str, tuple[str, ...]]
    reference: str
    times: int
    size: int = 0  # that each of them uploads: the sink must have received it
    tls: bool = False
    serve: str = ""
    cap: int = 0  # bytes a second of each connection; 0: as fast as it goes
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


def races(place: Place, quick: bool) -> Iterator[Race]:
    yield start_ups(place, 2 if quick else 21)
    for tls in (False, True) if place.tls else (False,):
        for kind in CLIENTS:
            for size in S3_SIZES if kind == "s3" else SIZES:
                yield uploads(place, kind, tls, size, quick)
    line = uploads(place, "s3", False, S3_SIZES[1], quick)
    yield line._replace(name="s3 capped line 100 MiB", cap=50 * MiB, times=1 if quick else 3)
    yield many_files(place, 20 if quick else MANY, 1 if quick else 7)
    yield proofs(place, SIZES[-1].quick if quick else SIZES[-1].real, 1 if quick else 3)


def start_ups(place: Place, times: int) -> Race:
    python = place.python
    (
        place.folder / "bare"
    ).mkdir()  # in a checkout it would ask git for its version; here nobody else imports it
    bare = shutil.copy(PROGRAM, place.folder / "bare")
    clients = {
        "argparse": (python, "-c", "import argparse"),
        "nothing": (python, "-c", "pass"),
        "import": (python, "-c", "import twat_fs"),
        "installed": (python, "-m", "twat_fs", "--version"),
        "bare script": (python, str(bare), "--version"),
        "curl": ("curl", "--version"),
    }
    return Race("start", clients, "argparse", times)


def uploads(place: Place, kind: str, tls: bool, size: Size, quick: bool) -> Race:
    wanted = size.quick if quick else size.real
    file = place.file(wanted)
    able = {
        name: client
        for name, client in CLIENTS[kind].items()
        if is_able(name, client, wanted, tls, quick)
    }
    blanks = {"python": place.python, "file": file, "bundle": place.bundle}
    return Race(
        f"{kind} {'https' if tls else 'http'} {size.name}",
        {name: filled(client.argv, **blanks) for name, client in able.items()},
        "curl", 1 if quick else size.times, wanted, tls,
        silent=tuple(name for name, client in able.items() if not client.answers),
    )  # fmt: skip


def many_files(place: Place, count: int, times: int) -> Race:
    """All of them in one call, by PUT; curl gets them as a list, so that it keeps its connection too."""
    folder = place.folder / "many"
    folder.mkdir()
    files = [folder / f"{number:04}.bin" for number in range(count)]
    for file in files:
        file.write_bytes(os.urandom(4 * KiB))
    pairs = [word for file in files for word in ("-T", str(file), "{url}")]
    clients = {
        "curl": ("curl", "-sS", *pairs),
        "curl parallel": ("curl", "-sS", "--parallel", *pairs),
        "twat-fs": (place.python, "-m", "twat_fs", "-p", "{url}", "--no-check", *map(str, files)),
    }
    return Race("many 4 KiB", clients, "curl", times, 4 * KiB * count)


def proofs(place: Place, size: int, times: int) -> Race:
    """What the proof and the SHA-256 cost."""
    file = place.file(size)
    base = (place.python, "-m", "twat_fs", "-p", "{url}")
    clients = {
        "no proof": (*base, "--no-check", file),
        "sample proof": (*base, file),
        "hashed": (*base, "--no-check", "--json", file),
    }
    return Race("proof 4 GiB", clients, "no proof", times, size, serve=file)


# 5 Running -----------------------------------------------------------------------------------------------------------


class Entry(NamedTuple):
    """One client of one race: its median cost, the ratio of its clock to the reference's, and what it read back."""

    race: str
    client: str
    wall: float
    cpu: float
    rss: float
    ratio: float
    given: float


def run_race(race: Race, place: Place, failures: list[str]) -> list[Entry]:
    """In turns, so that a slow minute of the machine hits everybody; who fails, which is noted, is out of this race."""
    costs: dict[str, list[Cost]] = {name: [] for name in race.clients}
    given = dict.fromkeys(race.clients, 0)
    with running_sink(place, race.tls, race.serve, race.cap) as sink:
        for name in list(race.clients) * race.times:
            if name in costs:
                try:
                    cost, given[name] = run_client(race, name, sink, place)
                    costs[name].append(cost)
                except Failed as error:
                    failures.append(f"{race.name}: {name}: {error}")
                    del costs[name]
    if race.reference not in costs:
        return []
    reference = median(cost.wall for cost in costs[race.reference])
    return [entry(race, name, found, reference, given[name]) for name, found in costs.items()]


def run_client(race: Race, name: str, sink: Sink, place: Place) -> tuple[Cost, int]:
    """The cost, and how many bytes the sink gave; raises Failed when the work was not done."""
    answer = place.folder / "answer"
    received, given = sink.statistics()
    cost = run(filled(race.clients[name], url=sink.url), place.env(), answer)
    now_received, now_given = sink.statistics()
    if now_received - received < race.size:
        raise Failed(f"sent {now_received - received} instead of {race.size} bytes")
    if race.size and name not in race.silent and b"://127.0.0.1" not in answer.read_bytes():
        raise Failed("printed no link")
    return cost, now_given - given


def entry(race: Race, name: str, costs: Sequence[Cost], reference: float, given: int) -> Entry:
    wall, cpu = (median(values) for values in list(zip(*costs))[:2])
    return Entry(
        race.name, name, wall, cpu, max(cost.rss for cost in costs), wall / reference, given
    )


# 6 The goals ---------------------------------------------------------------------------------------------------------

Entries = Mapping[tuple[str, str], Entry]
Measure = Callable[[Entries], Optional[float]]


class Goal(NamedTuple):
    """At most `limit`; None only shows the number.  `why`: what stands in the way, where that is known."""

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


def peak(kind: str) -> Measure:
    """The largest of a small, a large and a very large file, in MB."""

    def measure(entries: Entries) -> float | None:
        names = [(f"{kind} {size}", "twat-fs") for size in ("1 KiB", "1 GiB", "4 GiB")]
        return max((entries[name].rss / MB for name in names if name in entries), default=None)

    return measure


def peak_of(race: str, one: str) -> Measure:
    return lambda entries: entries[race, one].rss / MB if (race, one) in entries else None


def started(one: str) -> Measure:
    return ratio("start", "wall", one, "argparse")


def proved(one: str) -> Measure:
    return ratio("proof 4 GiB", "wall", one, "no proof")


def read_back(entries: Entries) -> float | None:
    found = entries.get(("proof 4 GiB", "sample proof"))
    return found.given / MiB if found else None


# What stands in the way of some of them, measured 2026-11-25 on 2 cores with Python 3.11.
COPIES = (
    "bare read and send in Python reaches 0.6-0.9 here, and os.sendfile 1.2-1.7, so it is not used"
)
CIPHER = "an SSLSocket alone reaches 1.05 here, an SSLObject over memory 1.06: the rest is start-up"
COMPILED = "45 ms of it compile the file, at each run: its length is the price; installed it is compiled once"
IMPORTED = "three quarters are Python and its http.client (which needs email) and ssl: an own HTTP parser would save 20 ms"
HASHED = "without TLS the signature covers the body: SHA-256 (1.6 GiB/s a core here) reads it before it is sent"
MADE = "3 ms make the classes of what travels, 3 ms import typing and contextlib: the price of types and names"
MODULES = (
    "ssl with the system's certificates alone takes 16 MB, http.client and the code of this file 8"
)
LOOKED_AT = "0.16 ms a file: what is judged, checked for changes and parsed by http.client (email) for each of them"

GOALS = (
    Goal(1, "form, HTTP 1 GiB: clock, x curl",                  0.5,  ratio("form http 1 GiB"), COPIES),
    Goal(1, "form, HTTP 4 GiB: clock, x curl",                  0.5,  ratio("form http 4 GiB"), COPIES),
    Goal(1, "form, HTTP 1 GiB: processor, x curl",              0.5,  ratio("form http 1 GiB", "cpu"), COPIES),
    Goal(1, "form, HTTP 4 GiB: processor, x curl",              0.5,  ratio("form http 4 GiB", "cpu"), COPIES),
    Goal(1, "form, HTTPS 1 GiB: clock, x curl",                 0.85, ratio("form https 1 GiB"), CIPHER),
    Goal(1, "form, HTTPS 4 GiB: clock, x curl",                 0.85, ratio("form https 4 GiB"), CIPHER),
    Goal(2, "peak memory, HTTP 1 KiB, 1 GiB, 4 GiB: MB",        25,   peak("form http")),
    Goal(2, "peak memory, HTTPS 1 KiB, 1 GiB, 4 GiB: MB",       25,   peak("form https"), MODULES),
    Goal(3, "python -m twat_fs --version, x import argparse",   1.3,  started("installed"), MADE),
    Goal(3, "bare script --version, x import argparse",         1.6,  started("bare script"), COMPILED),
    Goal(4, "form, HTTPS 1 KiB: clock, x curl",                 2.0,  ratio("form https 1 KiB"), IMPORTED),
    Goal(4, "import twat_fs, x import argparse",                2.0,  started("import")),
    Goal(5, "1,000 files of 4 KiB: clock, x curl with a list",  1.0,  ratio("many 4 KiB"), LOOKED_AT),
    Goal(6, "S3, HTTP 1 KiB: clock, x curl",                    4.0,  ratio("s3 http 1 KiB"), IMPORTED),
    Goal(6, "S3, HTTP 2 GiB in parts: clock, x boto3",          0.4,  ratio("s3 http 2 GiB", other="boto3"), HASHED),
    Goal(6, "S3, HTTPS 2 GiB in parts: clock, x boto3",         0.5,  ratio("s3 https 2 GiB", other="boto3")),
    Goal(6, "S3, HTTP 2 GiB in parts: clock, x curl's one PUT", 1.0,  ratio("s3 http 2 GiB"), HASHED),
    Goal(6, "S3, HTTPS 2 GiB in parts: clock, x curl's PUT",    1.0,  ratio("s3 https 2 GiB")),
    Goal(6, "S3, HTTP 2 GiB: clock, x rclone",                  1.0,  ratio("s3 http 2 GiB", other="rclone")),
    Goal(6, "S3, HTTPS 2 GiB: clock, x rclone",                 1.0,  ratio("s3 https 2 GiB", other="rclone")),
    Goal(2, "S3, HTTP 2 GiB, 8 parts at a time: peak MB",       40,   peak_of("s3 http 2 GiB", "twat-fs")),
    Goal(2, "S3, HTTPS 2 GiB, 8 parts at a time: peak MB",      40,   peak_of("s3 https 2 GiB", "twat-fs")),
    Goal(9, "S3, 50 MiB/s a connection: clock, x boto3",        0.5,  ratio("s3 capped line 100 MiB", other="boto3")),
    Goal(7, "sample proof of 4 GiB: MiB read back",             3,    read_back),
    Goal(7, "sample proof of 4 GiB: clock, x no proof",         None, proved("sample proof")),
    Goal(7, "SHA-256 of 4 GiB: clock, x none",                  None, proved("hashed")),
)  # fmt: skip


def reached(entries: Sequence[Entry], everything: bool) -> dict[Goal, float | None]:
    """The goals and what was measured; those of races that nobody wished to see are left out."""
    table = {(found.race, found.client): found for found in entries}
    results = {goal: goal.measure(table) for goal in GOALS}
    return {goal: result for goal, result in results.items() if everything or result is not None}


def verdict(goal: Goal, result: float | None) -> str:
    if result is None:
        return "not measured"
    if goal.limit is None:
        return "to know"
    return "ok" if result <= goal.limit else "MISSED"


# 7 Output ------------------------------------------------------------------------------------------------------------


def heading(place: Place, quick: bool) -> str:
    curl = subprocess.run(
        ["curl", "--version"], capture_output=True, text=True, check=True
    ).stdout.split()[1]
    sink = (
        "C"
        if len(place.sink) == 1
        else "Python: it may be slower than the clients, so ratios are too near to 1"
    )
    note = ", QUICK: small files under the names of large ones, goals mean little" if quick else ""
    machine = f"Python {platform.python_version()}, curl {curl}, {os.cpu_count()} cores"
    return f"{time.strftime('%Y-%m-%d')}, {machine}, sink in {sink}{note}"


def entry_line(found: Entry) -> str:
    return (
        f"{found.race:22} {found.client:14} {found.wall * 1000:9.1f} ms {found.ratio:7.2f} x"
        f" {found.cpu * 1000:9.1f} ms {found.rss / MB:7.1f} MB"
    )


def goal_line(goal: Goal, result: float | None) -> str:
    limit = "" if goal.limit is None else f"<= {goal.limit:g}"
    number = "" if result is None else f"{result:.2f}"
    said = verdict(goal, result)
    why = f": {goal.why}" if goal.why and said == "MISSED" else ""
    return f"{goal.number}  {goal.text:50} {limit:>8} {number:>8}  {said}{why}"


def comparison(now: Sequence[Entry], before: Mapping[str, Any]) -> Iterator[str]:
    """The ratios of both runs, side by side; a tenth more or less is the noise of the machine."""
    old = {(row["race"], row["client"]): row["ratio"] for row in before["entries"]}
    yield f"ratios, compared with {before['heading']}"
    for found in now:
        ratio_then = old.get((found.race, found.client))
        if ratio_then:
            change = found.ratio / ratio_then
            mark = "slower" if change > 1.1 else "faster" if change < 0.9 else ""
            yield f"{found.race:20} {found.client:14} {ratio_then:7.2f} -> {found.ratio:7.2f}  {mark}".rstrip()


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
        {"heading": title, "entries": [found._asdict() for found in entries], "goals": goals},
        indent=1,
    )


# 8 The command line --------------------------------------------------------------------------------------------------


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description="Speed and memory of twat_fs.py, side by side with curl."
    )
    parser.add_argument(
        "--quick", action="store_true", help="small files, some seconds: only whether it works"
    )
    parser.add_argument(
        "--only", default="", metavar="TEXT", help="only races with this in their name"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the numbers there")
    parser.add_argument(
        "--compare", type=Path, metavar="FILE", help="show ratios beside those of an earlier --json"
    )
    return parser


def measured(place: Place, quick: bool, only: str, failures: list[str]) -> Iterator[Entry]:
    for race in races(place, quick):
        if only in race.name:
            for found in run_race(race, place, failures):
                print(entry_line(found), flush=True)
                yield found


def main(argv: list[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    before = json.loads(args.compare.read_text()) if args.compare else None
    if os.name == "nt" or not shutil.which("curl"):
        sys.exit("bench.py: a POSIX system and curl are needed")
    with prepared() as place:
        title = heading(place, args.quick)
        print(
            title
            + "\n\nrace                   client             clock     ratio    processor  peak memory"
        )
        failures: list[str] = []
        entries = list(measured(place, args.quick, args.only, failures))
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
