#!/usr/bin/env python3
"""Build the binary: twat_fs.py frozen by PyInstaller, one file that needs no Python.

    python3 tools/dev.py binary     in the venv of developers; prints size and start time
    tools/binary.py --out DIR       with this Python, which needs PyInstaller

    copy with its version -> PyInstaller -> `--version` and an upload must work -> dist/

The same Python, PyInstaller and commit make the same bytes. The Python that builds it decides on
the oldest system: CI uses that of uv, which needs glibc 2.17 and includes OpenSSL.
"""

from __future__ import annotations

import argparse
import importlib
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import version

ROOT = Path(__file__).resolve().parent.parent
MAX_SIZE = 7 * 10**6  # bytes on Linux
MAX_START = 0.12  # seconds of `--version`
# Large modules that only functions import which the program never calls.
EXCLUDED = (
    "_asyncio", "_bz2", "_compat_pickle", "_csv", "_ctypes_test", "_curses", "_decimal",
    "_elementtree", "_lzma", "_multiprocessing", "_pickle", "_pydatetime", "_pydecimal", "_pyrepl",
    "_sqlite3", "_testcapi", "_tkinter", "_uuid", "_zoneinfo", "ast", "asyncio", "bz2",
    "compression", "concurrent", "csv", "curses", "dataclasses", "dbm", "decimal", "dis", "doctest",
    "ensurepip", "fractions", "ftplib", "gzip", "http.cookiejar", "idlelib", "importlib.metadata",
    "importlib.resources", "inspect", "lib2to3", "logging", "lzma", "multiprocessing", "optparse",
    "pdb", "pickle", "pkg_resources", "pprint", "pydoc", "pydoc_data", "readline", "setuptools",
    "sqlite3", "statistics", "test", "tkinter", "tracemalloc", "turtle", "unittest",
    "uuid", "venv", "xml", "xmlrpc", "zoneinfo",
)  # fmt: skip
# Windows may write to a pipe in these; other systems use UTF-8.
CODECS = (
    "_codecs_cn",
    "_codecs_hk",
    "_codecs_iso2022",
    "_codecs_jp",
    "_codecs_kr",
    "_codecs_tw",
    "_multibytecodec",
)
CPUS = {"amd64": "x86_64", "x86-64": "x86_64", "aarch64": "arm64"}
SYSTEMS = {"linux": "linux", "darwin": "macos", "win32": "windows"}
WINDOWS_RESOURCE = """VSVersionInfo(
  ffi=FixedFileInfo(
    filevers={numbers}, prodvers={numbers}, mask=0x3f, flags=0, OS=0x40004, fileType=1, subtype=0
  ),
  kids=[
    StringFileInfo([StringTable('040904B0', [
      StringStruct('FileDescription', 'twat-fs: turn a file into a URL'),
      StringStruct('FileVersion', '{version}'),
      StringStruct('InternalName', 'twat-fs'),
      StringStruct('LegalCopyright', 'MIT licence'),
      StringStruct('OriginalFilename', 'twat-fs.exe'),
      StringStruct('ProductName', 'twat-fs'),
      StringStruct('ProductVersion', '{version}'),
    ])]),
    VarFileInfo([VarStruct('Translation', [1033, 1200])]),
  ],
)
"""


def asset_name(system: str = sys.platform, machine: str = "") -> str:
    """ "twat-fs-linux-x86_64", without a version: releases/latest/download/NAME is a stable URL."""
    cpu = (machine or platform.machine()).lower()
    name = f"twat-fs-{SYSTEMS.get(system, system)}-{CPUS.get(cpu, cpu)}"
    return f"{name}.exe" if system == "win32" else name


def windows_resource(version: str) -> str:
    """The details of the file that Windows shows; 2.5.4.post24 becomes 2,5,4,24."""
    numbers = [int(number) for number in re.findall(r"[0-9]+", version.partition("+")[0])]
    return WINDOWS_RESOURCE.format(numbers=tuple([*numbers, 0, 0, 0, 0][:4]), version=version)


def excluded(system: str = sys.platform) -> tuple[str, ...]:
    return EXCLUDED if system == "win32" else (*EXCLUDED, *CODECS)


def source_date_epoch() -> str:
    """The time of the commit in seconds since 1970: the same for each build of it."""
    commit_time = version.git(ROOT, "log", "-1", "--format=%ct")[0].strip()
    default = "1577836800"  # 2020-01-01, for an sdist, which has no commit
    return os.environ.get("SOURCE_DATE_EPOCH") or commit_time or default


def arguments(folder: Path, release: str, name: str) -> list[str]:
    """The arguments of PyInstaller, with all its folders inside `folder`."""
    args = ["--onefile", "--console", "--clean", "--noconfirm", "--noupx", f"--name={name}"]
    args += [f"--{option}path={folder / option}" for option in ("dist", "work", "spec")]
    args += [f"--exclude-module={module}" for module in excluded()]
    if sys.platform == "linux":
        args.append("--strip")  # on macOS it breaks the signature
    if sys.platform == "win32":
        (folder / "version.txt").write_text(windows_resource(release), encoding="utf-8")
        args.append(f"--version-file={folder / 'version.txt'}")
    return [*args, str(folder / "twat_fs.py")]


def freeze(folder: Path, name: str) -> tuple[Path, str]:
    """Return the binary and its version."""
    release = version.version()
    source = (ROOT / "twat_fs.py").read_bytes().decode()
    (folder / "twat_fs.py").write_bytes(version.inject(source, release).encode())
    reproducible = {"PYTHONHASHSEED": "0", "SOURCE_DATE_EPOCH": source_date_epoch()}
    own = {"PYINSTALLER_CONFIG_DIR": str(folder / "config"), "PYI_LOG_LEVEL": "WARN"}
    command = [sys.executable, "-m", "PyInstaller", *arguments(folder, release, name)]
    subprocess.run(command, cwd=folder, env={**os.environ, **reproducible, **own}, check=True)
    (binary,) = (folder / "dist").iterdir()
    return binary, release


def start_time(binary: Path, release: str, runs: int = 9) -> float:
    """The median of several starts with `--version`; exits if the version is wrong."""
    seconds = []
    for _ in range(runs):
        begun = time.perf_counter()
        command = [str(binary), "--version"]
        output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        seconds.append(time.perf_counter() - begun)
        if output != f"twat-fs {release}\n":
            sys.exit(f"binary.py: wrong version: {output!r}, expected 'twat-fs {release}'")
    return statistics.median(seconds)


def check_upload(binary: Path, folder: Path) -> None:
    """Upload a file over https to the internet in a box of the tests; exits if that fails."""
    sys.path.insert(0, str(ROOT / "tests"))
    box_class = importlib.import_module("internet.box").Box
    file = folder / "frozen.txt"
    file.write_bytes(b"frozen " * 9999)
    env = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    with box_class(folder / "box") as box:
        result = subprocess.run(
            [str(binary), str(file)], env={**env, **box.env()}, capture_output=True, text=True
        )
        stored = [upload.read() for upload in box.stored.values()]
    if result.returncode or stored != [file.read_bytes()]:
        sys.exit(f"binary.py: upload failed: {result.stderr}")


def verdict(value: float, goal: float) -> str:
    return "ok" if value <= goal else "MISSED"


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description="Freeze twat_fs.py into one file that needs no Python."
    )
    parser.add_argument(
        "--out", type=Path, default=ROOT / "dist", help="target folder (default dist)"
    )
    args = parser.parse_args(argv)
    name = asset_name()
    with tempfile.TemporaryDirectory(prefix="twat-fs-") as folder:
        binary, release = freeze(Path(folder), name)
        seconds, size = start_time(binary, release), binary.stat().st_size
        check_upload(binary, Path(folder))
        args.out.mkdir(parents=True, exist_ok=True)
        shutil.move(str(binary), str(args.out / name))
    print(f"binary.py: {name} {release}, built with Python {platform.python_version()}")
    print(
        f"  size   {size / 1e6:5.2f} MB  goal {MAX_SIZE / 1e6:.0f} MB   {verdict(size, MAX_SIZE)}"
    )
    print(f"  start  {seconds:5.3f} s   goal {MAX_START} s  {verdict(seconds, MAX_START)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
