#!/usr/bin/env python3
"""Everything a developer of twat-fs does, one command each; nothing but a Python from 3.9 on is needed to begin.

    python3 tools/dev.py test                the tests, with the coverage of twat_fs.py
    python3 tools/dev.py test -k multipart   other arguments go to pytest; the coverage is then not asked for
    python3 tools/dev.py lint                what must be clean before a commit

    dev.py COMMAND --> own venv, made or renewed when it is not what pyproject.toml wants --> the tool, run in it

The venv is `.venv`, or `.venv-3.9` and so on where `.venv` belongs to another Python.
Chapters: 1 The repository, 2 The venv, 3 Running, 4 The commands, 5 The command line.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Callable, NoReturn
from xml.etree import ElementTree

# 1 The repository ----------------------------------------------------------------------------------------------------

ROOT = Path(__file__).resolve().parent.parent
STAMP = "twat-fs-packages"  # in our venvs: the hash of what was installed
WORKERS = "4"  # the tests mostly wait for sockets: more than the cores of a small machine
RUBBISH = (
    ".venv",
    ".venv-*",
    ".coverage",
    ".coverage.*",
    "htmlcov",
    "build",
    "dist",
    "*.egg-info",
    "*.spec",
    ".pytest_cache",
    ".hypothesis",
    ".ruff_cache",
    ".mypy_cache",
    "__pycache__",
    "t*/__pycache__",
)


def fail(sentence: str) -> NoReturn:
    sys.exit(f"dev.py: {sentence}")


def packages(pyproject: str) -> list[str]:
    """The development packages; a TOML list of strings is a Python list, comments included."""
    found = re.search(r"^\[dependency-groups\]\s*^dev = (\[.*?^\])", pyproject, re.M | re.S)
    if not found:
        fail("pyproject.toml has no list `dev` in [dependency-groups]")
    return [str(package) for package in ast.literal_eval(found.group(1))]


# 2 The venv ----------------------------------------------------------------------------------------------------------


def fingerprint(wanted: list[str]) -> str:
    return hashlib.sha256(
        "\n".join([sys.version, MEASURED, MEASURING, *wanted]).encode()
    ).hexdigest()


def belongs(folder: Path) -> bool:
    """May this folder be our venv? Not when another Python, or a person, made it."""
    made_by = folder / "pyvenv.cfg"
    if not folder.exists():
        return True
    ours = (folder / STAMP).exists() and made_by.exists()
    return (
        ours
        and re.search(rf"^version\S* = {this_python()}\.", made_by.read_text(), re.M) is not None
    )


def this_python() -> str:
    return "{}.{}".format(*sys.version_info[:2])


def venv_folder(root: Path = ROOT) -> Path:
    return root / ".venv" if belongs(root / ".venv") else root / f".venv-{this_python()}"


def venv_python(folder: Path) -> Path:
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def prepare() -> Path:
    """The Python of a venv that holds the development packages; made the first time, renewed when they change."""
    wanted = packages((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    folder = venv_folder()
    stamp = folder / STAMP
    if not stamp.exists() or stamp.read_text() != fingerprint(wanted):
        print(f"dev.py: preparing {folder.name} with Python {this_python()}", flush=True)
        make_venv(folder, wanted)
    return venv_python(folder)


# Python runs the first at every start, and it the second where tests are measured. They give the program a bare environment
# and other folders: one variable, which they pass on, is enough, and the numbers of all processes arrive beside pyproject.toml.
MEASURED = (
    'import os; os.environ.get("COVERAGE_PROCESS_START") and __import__("twat_fs_measured")\n'
)
MEASURING = """import os

import coverage
from coverage.collector import Collector

# coverage 7.17 takes its lock by a function in Python. Ctrl-C within that function leaves the lock taken, and the measured
# program waits for it for ever (seen in 3 of 1,000 uploads that were interrupted); the lock's own methods have no such place.
Collector.lock_data = property(lambda collector: collector.data_lock.acquire)
Collector.unlock_data = property(lambda collector: collector.data_lock.release)
os.environ.setdefault("COVERAGE_FILE", {file!r})
coverage.process_startup()
"""


def make_venv(folder: Path, wanted: list[str]) -> None:
    folder.unlink() if folder.is_symlink() else shutil.rmtree(folder, ignore_errors=True)
    base = getattr(
        sys, "_base_executable", sys.executable
    )  # we may run in the very venv that has just been deleted
    check(
        run([base, "-m", "venv", str(folder)]),
        "cannot make a venv; Debian: apt-get install python3-venv",
    )
    (folder / STAMP).touch()  # from here on it is ours, also when the network fails now
    check(
        run([str(venv_python(folder)), "-m", "pip", "install", "--quiet", *wanted]),
        "pip could not install",
    )
    for place in folder.glob("[Ll]ib/**/site-packages"):
        (place / "a0_twat_fs.pth").write_text(MEASURED)
        (place / "twat_fs_measured.py").write_text(MEASURING.format(file=str(ROOT / ".coverage")))
    (folder / STAMP).write_text(fingerprint(wanted))


# 3 Running -----------------------------------------------------------------------------------------------------------


def run(argv: list[str], **settings: str) -> int:
    """Its exit code; the tool's folder comes first on PATH, and /usr/sbin, where nginx lives, is on it too."""
    path = os.pathsep.join(
        [str(Path(argv[0]).parent), os.environ.get("PATH", os.defpath), "/usr/sbin"]
    )
    return subprocess.run(
        argv, cwd=ROOT, env={**os.environ, "PATH": path, **settings}, check=False
    ).returncode


def check(code: int, sentence: str) -> None:
    if code:
        fail(f"{sentence} (exit code {code})")


def in_venv(*arguments: str, **settings: str) -> int:
    return run([str(prepare()), *arguments], **settings)


def every(steps: dict[str, list[str]]) -> int:
    """Run all of them, also after a failure: one round shows everything that is wrong."""
    failed = [name for name, arguments in steps.items() if in_venv(*arguments)]
    print("dev.py: " + ("failed: " + ", ".join(failed) if failed else "clean: " + ", ".join(steps)))
    return bool(failed)


def need_nginx() -> None:
    if os.name != "nt" and not shutil.which(
        "nginx", path=os.environ.get("PATH", os.defpath) + os.pathsep + "/usr/sbin"
    ):
        fail(
            "the tests need nginx; Debian and Ubuntu: apt-get install nginx-light, macOS: brew install nginx"
        )


# 4 The commands ------------------------------------------------------------------------------------------------------


def setup(rest: list[str]) -> int:
    """Make the venv with the development packages and say where its Python is."""
    print(prepare())
    return 0


def test(rest: list[str]) -> int:
    """Run the tests and print the coverage; arguments go to pytest, which then runs without coverage."""
    need_nginx()
    return in_venv("-m", "pytest", *rest) if rest else covered_tests()


def covered_tests() -> int:
    in_venv("-m", "coverage", "erase")
    failed = in_venv(
        "-m", "pytest", "-n", WORKERS, COVERAGE_PROCESS_START=str(ROOT / "pyproject.toml")
    )
    check(in_venv("-m", "coverage", "combine", "--quiet"), "nothing was measured")
    uncovered = in_venv(
        "-m", "coverage", "report", f"--include={ROOT / 'twat_fs.py'}"
    )  # not its copies elsewhere
    return failed or uncovered


def lint(rest: list[str]) -> int:
    """Look for faults without running anything: ruff, mypy, shellcheck, zizmor, schemas of the workflows, README."""
    workflows, scripts = files(".github/workflows/*.yml"), files("*.sh", ".ci/run")
    return every(
        {
            "ruff": ["-m", "ruff", "check", "."],
            "mypy": ["-m", "mypy", "--strict"],
            "shellcheck": program("shellcheck", *scripts),
            "zizmor": program(
                "zizmor",
                "--offline",
                "--quiet",
                "--persona=pedantic",
                *workflows,
                ".github/dependabot.yml",
            ),
            "workflows": program(
                "check-jsonschema", "--builtin-schema=vendor.github-workflows", *workflows
            ),
            "dependabot": program(
                "check-jsonschema", "--builtin-schema=vendor.dependabot", ".github/dependabot.yml"
            ),
            "README": ["tools/readme.py", "--check"],
        }
    )


def program(name: str, *arguments: str) -> list[str]:
    """A program of the venv that is no Python module, for `in_venv`."""
    return [
        "-c",
        "import subprocess, sys; sys.exit(subprocess.call(sys.argv[1:]))",
        name,
        *arguments,
    ]


def files(*patterns: str) -> list[str]:
    """The files of the repository that fit, by their names from its top."""
    return sorted(
        path.relative_to(ROOT).as_posix() for pattern in patterns for path in ROOT.glob(pattern)
    )


def fix(rest: list[str]) -> int:
    """Repair what can be repaired by itself: the order of imports and the like, and the table of hosts."""
    return every(
        {"ruff": ["-m", "ruff", "check", "--fix", "."], "README": ["tools/readme.py", "--write"]}
    )


def build(rest: list[str]) -> int:
    """Make what is published, in dist/: wheel, sdist, twat_fs.py with its version, and the man page."""
    for path in (
        path
        for pattern in ("*.whl", "*.tar.gz", "twat_fs.py", "twat-fs.1")
        for path in (ROOT / "dist").glob(pattern)
    ):
        path.unlink()  # of another version
    check(in_venv("-m", "build", "--outdir", "dist"), "the packages could not be built")
    check(
        in_venv("tools/version.py", "--write", "dist/twat_fs.py"),
        "the version could not be written",
    )
    return in_venv("tools/man.py", "--out", "dist")


def binary(rest: list[str]) -> int:
    """Freeze the program into dist/ for this system, and try it; prints size and start-up beside their goals."""
    return in_venv("tools/binary.py", *rest)


def release(rest: list[str]) -> int:
    """Check that all is ready for a release and make its annotated tag (`release v1.2.3`); it never pushes."""
    return in_venv("tools/release.py", *rest)


def online(rest: list[str]) -> int:
    """Upload to the real hosts and print a dated table; arguments go to pytest (`-k catbox`)."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        code = in_venv("-m", "pytest", "-m", "online", f"--junitxml={report}", *rest)
        print(
            dated_table(report.read_text(encoding="utf-8"), time.strftime("%Y-%m-%d"))
            if report.exists()
            else ""
        )
    return code


def dated_table(junit: str, day: str) -> str:
    """One line for each test of a report of pytest: day, result, seconds, name, and what went wrong."""
    cases = ElementTree.fromstring(junit).iter("testcase")
    return "\n".join(
        ["day         result   seconds  test", *(dated_line(case, day) for case in cases)]
    )


def dated_line(case: ElementTree.Element, day: str) -> str:
    bad = next((child for child in case if child.tag in ("failure", "error", "skipped")), None)
    result = "ok" if bad is None else bad.tag
    reason = "" if bad is None else "   " + " ".join(bad.get("message", "").split())[:100]
    return f"{day}  {result:8} {float(case.get('time', 0)):7.1f}  {case.get('name')}{reason}"


def bench(rest: list[str]) -> int:
    """Measure speed and memory against curl and others; arguments go to tools/bench.py (`--quick`, `--json FILE`)."""
    return in_venv("tools/bench.py", *rest)


def hosts(rest: list[str]) -> int:
    """Write the table of hosts in README.md anew from the code."""
    return in_venv("tools/readme.py", "--write")


def demo(rest: list[str]) -> int:
    """Record the terminal picture of the README anew; arguments go to tools/demo.py (`--check`)."""
    return in_venv("tools/demo.py", *rest)


def clean(rest: list[str]) -> int:
    """Delete the venvs and everything else that these commands make."""
    for path in sorted(path for pattern in RUBBISH for path in ROOT.glob(pattern)):
        print(f"deleting {path.relative_to(ROOT)}")
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    return 0


def everything(rest: list[str]) -> int:
    """Lint and test: what must be good before a commit."""
    codes = [lint([]), test([])]
    return max(codes)


# 5 The command line --------------------------------------------------------------------------------------------------

COMMANDS: dict[str, Callable[[list[str]], int]] = {
    "setup": setup,
    "test": test,
    "lint": lint,
    "fix": fix,
    "build": build,
    "binary": binary,
    "release": release,
    "online": online,
    "bench": bench,
    "hosts": hosts,
    "demo": demo,
    "clean": clean,
    "all": everything,
}
OPEN = (test, binary, release, online, bench, demo)  # these hand unknown arguments on


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="dev.py", description="Everything a developer of twat-fs does."
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, function in COMMANDS.items():
        text = (function.__doc__ or "").replace("%", "%%")
        commands.add_parser(name, help=text, description=text, allow_abbrev=False)
    return parser


def main(argv: list[str] | None = None) -> int:
    parser = build_parser()
    args, rest = parser.parse_known_args(argv)
    command = COMMANDS[args.command]
    if rest and command not in OPEN:
        parser.error(f"{args.command} takes no arguments, and these were given: {' '.join(rest)}")
    return command(rest)


if __name__ == "__main__":
    if sys.version_info < (3, 9):
        fail("Python 3.9 or newer is needed")
    sys.exit(main())
