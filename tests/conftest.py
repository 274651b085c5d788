"""Fixtures: the internet in a box, a clean environment, and the program as users start it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from internet.box import Box  # noqa: E402  (the path must be known first)
from internet.loopback import caller  # noqa: E402
from needs import need, summary  # noqa: E402

# Fixtures; a server starts when a test first needs it.
from servers.s3 import s3, s3_pool  # noqa: E402, F401

PROGRAM = HERE.parent / "twat_fs.py"
OURS = ("AWS_", "DROPBOX_", "TWAT_FS_")
NAMES = set(
    "SSL_CERT_FILE SSL_CERT_DIR CURL_CA_BUNDLE REQUESTS_CA_BUNDLE"
    " FAL_KEY FAL_KEY_ID FAL_KEY_SECRET CATBOX_USERHASH"
    " LITTERBOX_DEFAULT_EXPIRATION PIXELDRAIN_KEY NO_COLOR XDG_STATE_HOME".split()
)
KEPT = (
    "PATH",
    "HOME",
    "USERPROFILE",
    "SYSTEMROOT",
    "TEMP",
    "TMP",
    "TMPDIR",
    "COVERAGE_PROCESS_START",
)


def is_foreign(name: str) -> bool:
    """Whether this variable would change what the program does."""
    return name.upper().endswith("_PROXY") or name.startswith(OURS) or name in NAMES


def pytest_configure(config) -> None:
    """Restore the signals that a shell ignores in a background job: our programs inherit them."""
    config.addinivalue_line(
        "markers", "needs(program, ...): skip the test if one is not installed; fail if CI is set"
    )
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if hasattr(signal, "SIGQUIT"):
        signal.signal(signal.SIGQUIT, signal.SIG_DFL)


def pytest_runtest_setup(item) -> None:
    for marker in item.iter_markers("needs"):
        need(*marker.args)


def pytest_terminal_summary(terminalreporter) -> None:
    skipped = terminalreporter.stats.get("skipped", [])
    lines = summary([str(report.longrepr[2]) for report in skipped if report.longrepr])
    if lines:
        terminalreporter.section("programs that are not installed")
    for line in lines:
        terminalreporter.line(line)


@pytest.fixture(autouse=True)
def clean_env(monkeypatch, tmp_path):
    """No setting of this machine reaches a test; HOME is empty and new."""
    for name in [name for name in os.environ if is_foreign(name)]:
        monkeypatch.delenv(name)
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("USERPROFILE", str(home))  # so it is called on Windows
    return monkeypatch


@pytest.fixture(scope="session")
def one_box(tmp_path_factory):
    with Box(tmp_path_factory.mktemp("box")) as box:
        yield box


@pytest.fixture
def box(one_box):
    """A fresh internet; complaints that the test has not cleared are a failure at the end."""
    one_box.reset()
    yield one_box
    complaints = list(one_box.complaints)
    one_box.reset()
    assert not complaints


@pytest.fixture
def online_box(box, clean_env):
    """The box, and this very process goes through it."""
    for name, value in box.env().items():
        clean_env.setenv(name, value)
    return box


@pytest.fixture
def main(online_box, capsys):
    """Call main() in this process; modules that need another machine have a `main` of their own."""
    return caller(capsys)


def environment(box, extra) -> dict:
    """The environment of a child: some variables, the box, and `changes` (None unsets one)."""
    base = {name: os.environ[name] for name in KEPT if name in os.environ}
    merged = {**base, "PYTHONUTF8": "1", **box.env(), **(extra or {})}
    return {name: str(value) for name, value in merged.items() if value is not None}


def lines(text: str) -> str:
    """The output with the line ends that the program meant: Windows writes two characters."""
    return text.replace("\r\n", "\n") if os.name == "nt" else text


def command(args) -> list:
    return [sys.executable, str(PROGRAM), *map(os.fspath, args)]


@pytest.fixture
def program(box, tmp_path):
    """Run the program: `program("file", input=b"...", env={...})` returns a CompletedProcess."""

    def run(*args, input=None, env=None, cwd=None, timeout=60, text=True, before=()):
        data = input.encode("utf-8") if isinstance(input, str) else input
        stdin = {"input": data} if data is not None else {"stdin": subprocess.DEVNULL}
        argv = [*before, *command(args)]
        done = subprocess.run(
            argv,
            env=environment(box, env),
            cwd=cwd or tmp_path,
            timeout=timeout,
            capture_output=True,
            **stdin,
        )
        if text:
            done.stdout, done.stderr = (
                lines(out.decode("utf-8", "surrogateescape")) for out in (done.stdout, done.stderr)
            )
        return done

    return run


@pytest.fixture
def start(box, tmp_path):
    """Start the program and return its Popen (pipes of bytes).

    It is the leader of a process group, which is killed at the end.
    """
    started = []

    def popen(*args, env=None, cwd=None, **more):
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        options = {
            "cwd": cwd or tmp_path,
            "env": environment(box, env),
            **pipes,
            **new_group(),
            **more,
        }
        process = subprocess.Popen(command(args), **options)
        started.append(process)
        return process

    yield popen
    for process in started:
        kill_group(process)


def new_group() -> dict:
    if os.name == "nt":
        return {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
    return {"start_new_session": True}


def kill_group(process) -> None:
    try:
        process.kill() if os.name == "nt" else os.killpg(process.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass
    process.wait()
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe:
            pipe.close()
