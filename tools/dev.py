#!/usr/bin/env python3
"""The commands of a developer of twat-fs; they need Python 3.9 or newer and git.

    python3 tools/dev.py test                run the tests and report the coverage of twat_fs.py
    python3 tools/dev.py test -k multipart   pass arguments to pytest, without coverage
    python3 tools/dev.py lint                run the linters

    dev.py COMMAND -> a venv with the development packages of pyproject.toml -> the tool in it

The venv is `.venv`, or `.venv-3.9` if `.venv` belongs to another Python.
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

# 1 The repository ---------------------------------------------------------------------------------

ROOT = Path(__file__).resolve().parent.parent
STAMP = "twat-fs-packages"  # a file in our venvs: the hash of the installed packages
WORKERS = "4"  # tests mostly wait for sockets, so more than the cores of a small machine
GENERATED = (
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


def fail(message: str) -> NoReturn:
    sys.exit(f"dev.py: {message}")


def packages(pyproject: str) -> list[str]:
    """The development packages; a TOML list of strings is a valid Python list."""
    match = re.search(r"^\[dependency-groups\]\s*^dev = (\[.*?^\])", pyproject, re.M | re.S)
    if not match:
        fail("pyproject.toml: no list `dev` in [dependency-groups]")
    return [str(package) for package in ast.literal_eval(match.group(1))]


# 2 The venv ---------------------------------------------------------------------------------------


def fingerprint(requirements: list[str]) -> str:
    text = "\n".join([sys.version, COVERAGE_PTH, COVERAGE_START, *requirements])
    return hashlib.sha256(text.encode()).hexdigest()


def is_usable(folder: Path) -> bool:
    """Whether dev.py may use this folder: it made the venv with this Python, or there is none."""
    config = folder / "pyvenv.cfg"
    if not folder.exists():
        return True
    if not (folder / STAMP).exists() or not config.exists():
        return False
    return bool(re.search(rf"^version\S* = {this_python()}\.", config.read_text(), re.M))


def this_python() -> str:
    return "{}.{}".format(*sys.version_info[:2])


def venv_folder(root: Path = ROOT) -> Path:
    return root / ".venv" if is_usable(root / ".venv") else root / f".venv-{this_python()}"


def venv_python(folder: Path) -> Path:
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def prepare() -> Path:
    """Return the Python of the venv; make the venv again if the development packages changed."""
    requirements = packages((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    folder = venv_folder()
    stamp = folder / STAMP
    if not stamp.exists() or stamp.read_text() != fingerprint(requirements):
        print(f"dev.py: preparing {folder.name} with Python {this_python()}", flush=True)
        make_venv(folder, requirements)
    return venv_python(folder)


# Python executes COVERAGE_PTH at each start, which imports COVERAGE_START if coverage is requested.
# Tests run the program with a minimal environment in other folders, and pass on this one variable;
# the data of all processes arrive beside pyproject.toml.
COVERAGE_PTH = (
    'import os; os.environ.get("COVERAGE_PROCESS_START") and __import__("twat_fs_measured")\n'
)
COVERAGE_START = """import os

import coverage
from coverage.collector import Collector

# coverage 7.17 acquires its lock in a Python function. Ctrl-C inside that function never releases
# it, and the measured program hangs (3 of 1,000 interrupted uploads); the methods of the lock
# itself cannot be interrupted.
Collector.lock_data = property(lambda collector: collector.data_lock.acquire)
Collector.unlock_data = property(lambda collector: collector.data_lock.release)
os.environ.setdefault("COVERAGE_FILE", {file!r})
coverage.process_startup()
"""


def make_venv(folder: Path, requirements: list[str]) -> None:
    folder.unlink() if folder.is_symlink() else shutil.rmtree(folder, ignore_errors=True)
    # sys.executable may be that of the venv that was just deleted
    base = getattr(sys, "_base_executable", sys.executable)
    code = run([base, "-m", "venv", str(folder)])
    if code:
        shutil.rmtree(folder, ignore_errors=True)  # half a venv, without the file that marks ours
    check(code, "could not make a venv; Debian, Ubuntu: apt-get install python3-venv")
    (folder / STAMP).touch()  # from now on the folder is ours, also if the network fails
    python = venv_python(folder)
    check(
        run([str(python), "-m", "pip", "install", "--quiet", *requirements]), "pip install failed"
    )
    start = COVERAGE_START.format(file=str(ROOT / ".coverage"))
    for site_packages in folder.glob("[Ll]ib/**/site-packages"):
        (site_packages / "a0_twat_fs.pth").write_text(COVERAGE_PTH)
        (site_packages / "twat_fs_measured.py").write_text(start)
    (folder / STAMP).write_text(fingerprint(requirements))


# 3 Running ----------------------------------------------------------------------------------------


def run(argv: list[str], **settings: str) -> int:
    """Return the exit code of a tool, whose own folder comes first on PATH."""
    folders = [str(Path(argv[0]).parent), os.environ.get("PATH", os.defpath)]
    env = {**os.environ, "PATH": os.pathsep.join(folders), **settings}
    return subprocess.run(argv, cwd=ROOT, env=env, check=False).returncode


def check(code: int, message: str) -> None:
    if code:
        fail(f"{message} (exit code {code})")


def in_venv(*arguments: str, **settings: str) -> int:
    return run([str(prepare()), *arguments], **settings)


def every(steps: dict[str, list[str]]) -> int:
    """Run all steps, also after a failure, so that one run shows everything."""
    failed = [name for name, arguments in steps.items() if in_venv(*arguments)]
    if failed:
        print("dev.py: failed: " + ", ".join(failed))
    else:
        print("dev.py: clean: " + ", ".join(steps))
    return bool(failed)


# 4 The commands -----------------------------------------------------------------------------------


def setup(rest: list[str]) -> int:
    """Make the venv with the development packages and print the path of its Python."""
    print(prepare())
    return 0


def test(rest: list[str]) -> int:
    """Run the tests with coverage; arguments are passed to pytest, without coverage."""
    return in_venv("-m", "pytest", *rest) if rest else covered_tests()


def covered_tests() -> int:
    in_venv("-m", "coverage", "erase")
    failed = in_venv(
        "-m", "pytest", "-n", WORKERS, COVERAGE_PROCESS_START=str(ROOT / "pyproject.toml")
    )
    check(in_venv("-m", "coverage", "combine", "--quiet"), "no coverage was measured")
    # --include: not the copies in other folders
    report = ["-m", "coverage", "report", f"--include={ROOT / 'twat_fs.py'}"]
    if missing_packages():
        print("dev.py: the coverage goal does not apply: programs are missing, tests were skipped")
        report.append("--fail-under=0")
    return failed or in_venv(*report)


def missing_packages() -> str:
    """The packages with the programs that tests cannot find here, in one line."""
    script = [sys.executable, str(ROOT / "tests" / "needs.py")]
    return subprocess.run(script, capture_output=True, text=True, check=False).stdout.strip()


def lint(rest: list[str]) -> int:
    """Run ruff, mypy, shellcheck and zizmor, and check the workflows and README."""
    workflows, scripts = files(".github/workflows/*.yml"), files("*.sh", ".ci/run")
    actions = files(".github/actions/*/action.yml")
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
                *actions,
                ".github/dependabot.yml",
            ),
            "workflows": program(
                "check-jsonschema", "--builtin-schema=vendor.github-workflows", *workflows
            ),
            "actions": program(
                "check-jsonschema", "--builtin-schema=vendor.github-actions", *actions
            ),
            "dependabot": program(
                "check-jsonschema", "--builtin-schema=vendor.dependabot", ".github/dependabot.yml"
            ),
            "README": ["tools/readme.py", "--check"],
        }
    )


def program(name: str, *arguments: str) -> list[str]:
    """Arguments for `in_venv` that run a program of the venv which is not a Python module."""
    code = "import subprocess, sys; sys.exit(subprocess.call(sys.argv[1:]))"
    return ["-c", code, name, *arguments]


def files(*patterns: str) -> list[str]:
    """The files that match, relative to the repository."""
    paths = [path for pattern in patterns for path in ROOT.glob(pattern)]
    return sorted(path.relative_to(ROOT).as_posix() for path in paths)


def fix(rest: list[str]) -> int:
    """Fix what ruff can fix, and update the table of hosts in README.md."""
    return every(
        {"ruff": ["-m", "ruff", "check", "--fix", "."], "README": ["tools/readme.py", "--write"]}
    )


def build(rest: list[str]) -> int:
    """Build wheel, sdist, twat_fs.py with its version, and the man page, in dist/."""
    for pattern in ("*.whl", "*.tar.gz", "twat_fs.py", "twat-fs.1"):
        for path in (ROOT / "dist").glob(pattern):
            path.unlink()  # of another version
    check(in_venv("-m", "build", "--outdir", "dist"), "could not build the packages")
    check(in_venv("tools/version.py", "--write", "dist/twat_fs.py"), "could not write twat_fs.py")
    return in_venv("tools/man.py", "--out", "dist")


def binary(rest: list[str]) -> int:
    """Build the binary for this system in dist/, run it, and print size and start time."""
    return in_venv("tools/binary.py", *rest)


def release(rest: list[str]) -> int:
    """Check that a release is ready and make its tag (`release v1.2.3`), without a push."""
    return in_venv("tools/release.py", *rest)


def online(rest: list[str]) -> int:
    """Upload to the real hosts and print a dated table; arguments are passed to pytest.

    --table: renew the dates of the rows that pass, as a change to review. --board FOLDER: write the
    board of the default hosts.
    """
    if any(argument.startswith(("--board", "--table")) for argument in rest):
        return run([sys.executable, "tools/board.py", *rest])
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        code = in_venv("-m", "pytest", "-m", "online", f"--junitxml={report}", *rest)
        if report.exists():
            print(dated_table(report.read_text(encoding="utf-8"), time.strftime("%Y-%m-%d")))
    return code


def dated_table(junit: str, day: str) -> str:
    """One line for each test in a report of pytest: day, result, seconds, name and error."""
    cases = ElementTree.fromstring(junit).iter("testcase")
    lines = [dated_line(case, day) for case in cases]
    return "\n".join(["day         result   seconds  test", *lines])


def dated_line(case: ElementTree.Element, day: str) -> str:
    outcomes = (child for child in case if child.tag in ("failure", "error", "skipped"))
    outcome = next(outcomes, None)
    result = "ok" if outcome is None else outcome.tag
    message = "" if outcome is None else " ".join(outcome.get("message", "").split())[:100]
    seconds = float(case.get("time", 0))
    return f"{day}  {result:8} {seconds:7.1f}  {case.get('name')}   {message}".rstrip()


def bench(rest: list[str]) -> int:
    """Measure speed and memory beside curl; arguments are passed to tools/bench.py."""
    return in_venv("tools/bench.py", *rest)


def hosts(rest: list[str]) -> int:
    """Update the table of hosts in README.md from the code."""
    return in_venv("tools/readme.py", "--write")


def demo(rest: list[str]) -> int:
    """Record the terminal picture of the README anew; arguments go to tools/demo.py (`--check`)."""
    return in_venv("tools/demo.py", *rest)


def clean(rest: list[str]) -> int:
    """Delete the venvs and all other files that these commands make."""
    for path in sorted(path for pattern in GENERATED for path in ROOT.glob(pattern)):
        print(f"deleting {path.relative_to(ROOT)}")
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    return 0


def everything(rest: list[str]) -> int:
    """Run lint and test: both must pass before a commit."""
    codes = [lint([]), test([])]
    return max(codes)


# 5 The command line -------------------------------------------------------------------------------

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
# these commands pass on their arguments
PASS_ARGUMENTS = (test, binary, release, online, bench, demo)


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="dev.py", description="The commands of a developer of twat-fs."
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
    if rest and command not in PASS_ARGUMENTS:
        parser.error(f"{args.command}: unexpected arguments: {' '.join(rest)}")
    return command(rest)


if __name__ == "__main__":
    if sys.version_info < (3, 9):
        fail("Python 3.9 or newer required")
    sys.exit(main())
