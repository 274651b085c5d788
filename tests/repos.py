"""Real git repositories for tests: small ones, and clones of this one with its pending changes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# The fixtures take these away, and what fetches packages needs them; kept before any fixture runs.
NETWORK = {
    name: value
    for name, value in os.environ.items()
    if name.upper().endswith("_PROXY") or name.startswith("SSL_CERT_")
}
WHO = (
    "-c",
    "user.name=A Tester",
    "-c",
    "user.email=tester@example.org",
    "-c",
    "init.defaultBranch=main",
)


def git(folder, *args, **env) -> str:
    """What git answers; it must not fail."""
    quiet = {
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_SYSTEM": os.devnull,
        "GIT_TERMINAL_PROMPT": "0",
    }
    command = ["git", "-C", str(folder), *WHO, *map(str, args)]
    done = subprocess.run(
        command, env={**os.environ, **quiet, **env}, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, f"{command}: {done.stderr}"
    return done.stdout.strip()


def commit(folder, count: int = 1) -> str:
    """So many commits, each with a change; the hash of the last."""
    for _ in range(count):
        with open(Path(folder) / "changes.txt", "a") as file:
            file.write("one more\n")
        git(folder, "add", "-A")
        git(folder, "commit", "-q", "-m", "one more")
    return git(folder, "rev-parse", "HEAD")


def small_repository(folder: Path, commits: int = 1) -> Path:
    """What tools/version.py needs, and nothing else."""
    (folder / "tools").mkdir(parents=True)
    shutil.copy(ROOT / "tools" / "version.py", folder / "tools")
    shutil.copy(ROOT / ".gitattributes", folder)
    (folder / "twat_fs.py").write_text(
        '"""Small."""\n__version__ = "0+unknown"\nprint(__version__)\n'
    )
    git(folder, "init", "-q")
    commit(folder, commits)
    return folder


def clone_of_this_tree(folder: Path, tag: str = "") -> Path:
    """A fresh clone on main with the uncommitted changes of this tree, and perhaps a tag."""
    # the tests make their own
    git(ROOT, "clone", "-q", "--no-hardlinks", "--no-tags", ROOT, folder)
    git(folder, "checkout", "-q", "-B", "main")
    names = git(ROOT, "ls-files", "-co", "--exclude-standard").splitlines()
    for name in set(git(folder, "ls-files").splitlines()) - {
        name for name in names if (ROOT / name).exists()
    }:
        (folder / name).unlink()
    for name in names:
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "--allow-empty", "-m", "As it lies here")
    if tag:
        git(folder, "tag", "-a", tag, "-m", tag)
    return folder


def run(*command, cwd=None, timeout=300, **env) -> subprocess.CompletedProcess:
    """Run a command with text pipes; its result is the caller's to judge."""
    merged = {name: value for name, value in {**os.environ, **env}.items() if value is not None}
    return subprocess.run(
        [*map(str, command)],
        cwd=cwd,
        env=merged,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
    )


def good(*command, **more) -> str:
    """The stdout of a command that must not fail."""
    done = run(*command, **more)
    assert done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def python(*args, **more) -> str:
    return good(sys.executable, *args, **more)


def once(tmp_path_factory, name: str, make) -> Path:
    """A folder that one parallel worker fills by `make(folder)`, and all of them read."""
    base = tmp_path_factory.getbasetemp()
    base = base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base
    folder, done, failed = base / name, base / f"{name}.done", base / f"{name}.failed"
    try:
        folder.mkdir()
    except FileExistsError:
        until = time.monotonic() + 500
        while not done.exists():
            assert not failed.exists() and time.monotonic() < until, f"{name} could not be made"
            time.sleep(0.1)
        return folder
    try:
        make(folder)
        done.touch()
    except BaseException:
        failed.touch()
        raise
    return folder
