"""Time to the URL in bad networks, for tools/bench.py.

    for case in CASES: a fresh HOME and box, dead hosts -> seconds from start to end of the process

The program uploads 11 KB through the internet in a box by the default chain; the time includes the
start of the interpreter. A mute name server needs a separate network (Linux, root, `unshare`);
without one that row is not measured.
"""

from __future__ import annotations

import importlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Optional

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
import twat_fs  # noqa: E402  (a checkout is not installed)

SIZE = 11_000


class Case(NamedTuple):
    """The first `dead` hosts of the chain have this fault; `again`: measure the second call."""

    name: str
    fault: str
    dead: int
    goal: float
    details: Mapping[str, Any] = {}
    again: bool = False
    slow: bool = False  # takes more than half a minute: not with --quick


class Result(NamedTuple):
    case: Case
    seconds: Optional[float]  # None: not measured

    def verdict(self) -> str:
        if self.seconds is None:
            return "not measured"
        return "ok" if self.seconds <= self.case.goal else "MISSED"

    def line(self) -> str:
        seconds = "" if self.seconds is None else f"{self.seconds:.2f} s"
        return f"{self.case.name:44} <= {self.case.goal:5g} s {seconds:>10}  {self.verdict()}"


RATE_LIMIT = {"status": 429, "retry_after": 60}
HEALTHY = Case("healthy chain", "", 0, 1)
CASES = (
    HEALTHY,
    Case("1 host drops the SYN", "drop", 1, 3),
    Case("3 hosts drop the SYN", "drop", 3, 7),
    Case("1 host accepts, never speaks TLS", "mute", 1, 3),
    Case("3 hosts accept, never speak TLS", "mute", 3, 7),
    Case("1 host refuses", "refuse", 1, 1),
    Case("3 hosts refuse", "refuse", 3, 2),
    Case("1 host resets the connection", "reset-connect", 1, 1),
    Case("3 hosts reset the connection", "reset-connect", 3, 2),
    Case("1 host takes the body, never responds", "silence", 1, 35, slow=True),
    Case("3 hosts take the body, never respond", "silence", 3, 105, slow=True),
    Case("again within the hour, 1 host dead", "drop", 1, 1, again=True),
    Case("again within the hour, 3 hosts dead", "drop", 3, 1, again=True),
    Case("1 host says 429, Retry-After 60", "status", 1, 2, RATE_LIMIT),
    Case("3 hosts say 429, Retry-After 60", "status", 3, 5, RATE_LIMIT),
)
MUTE_DNS = Case("the name server is mute", "", 7, 12, slow=True)


def measure(python: str, quick: bool) -> Iterator[Result]:
    """The rows of the table; those with `again` are relative to the healthy chain."""
    sys.path.insert(0, str(ROOT / "tests"))
    make_box: Any = importlib.import_module("internet.box").Box  # needs the development packages
    healthy = 0.0
    with tempfile.TemporaryDirectory(prefix="twat-fs-weather-") as name, make_box(name) as box:
        for case in CASES:
            if quick and case.slow:
                continue
            seconds = one_case(case, box, python, Path(name))
            healthy = seconds if case is HEALTHY else healthy
            yield Result(case, seconds - healthy if case.again else seconds)
    if not quick:
        yield Result(MUTE_DNS, mute_name_server(python))


def one_case(case: Case, box: Any, python: str, folder: Path) -> float:
    chain = [row for row in twat_fs.PROVIDERS if row.use == "default"]
    box.reset()
    for row in chain[: case.dead]:
        box.fault(row.domain, case.fault, **case.details)
    with tempfile.TemporaryDirectory(dir=folder) as home:
        env = {"PATH": os.environ["PATH"], "HOME": home, **box.env()}
        for _ in range(1 + case.again):
            code, seconds = upload([python, "-m", "twat_fs"], Path(home), env)
            if code or len(box.uploads(chain[case.dead].domain)) < 1:
                raise RuntimeError(f"{case.name}: exit code {code}")
    return seconds


def upload(command: list[str], home: Path, env: Mapping[str, str]) -> tuple[int, float]:
    file = home / "report.bin"
    file.write_bytes(os.urandom(SIZE))
    begun = time.perf_counter()
    quiet: Any = {"stdin": subprocess.DEVNULL, "capture_output": True}
    done = subprocess.run([*command, str(file)], cwd=home, env=env, check=False, **quiet)
    return done.returncode, time.perf_counter() - begun


# In a separate network, with a name server that never responds.
MUTE = """
import socket, subprocess, sys, time
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("127.0.0.53", 53))
begun = time.perf_counter()
null = subprocess.DEVNULL
code = subprocess.call(sys.argv[1:], stdin=null, stdout=null, stderr=null)
print(code, time.perf_counter() - begun)
"""
UNSHARED = 'ip link set lo up; mount --bind "$0" /etc/resolv.conf && exec "$@"'


def mute_name_server(python: str) -> Optional[float]:
    """Seconds until exit code 1; None if a separate network cannot be made."""
    if not shutil.which("unshare") or not shutil.which("ip") or os.geteuid():
        return None
    with tempfile.TemporaryDirectory(prefix="twat-fs-weather-") as name:
        resolver, file = Path(name) / "resolv.conf", Path(name) / "report.bin"
        resolver.write_text("nameserver 127.0.0.53\n")
        file.write_bytes(os.urandom(SIZE))
        inner = [sys.executable, "-c", MUTE, python, "-m", "twat_fs", str(file)]
        command = ["unshare", "-n", "-m", "sh", "-c", UNSHARED, str(resolver), *inner]
        env = {"PATH": os.environ["PATH"] + os.pathsep + "/usr/sbin", "HOME": name}
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    code, _, seconds = done.stdout.partition(" ")
    return float(seconds) if code == "1" else None
