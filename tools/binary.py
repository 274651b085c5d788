#!/usr/bin/env python3
"""One file that needs no Python: twat_fs.py frozen by PyInstaller, tried, and put into dist/.

    python3 tools/dev.py binary              in the developers' venv; prints size and start-up beside their goals
    tools/binary.py --out DIR                the same with this Python, which needs PyInstaller

    a copy with its version --> PyInstaller --> it must say exactly `twat-fs VERSION`, and upload a file --> dist/

The same Python, PyInstaller and commit make the same bytes.  The oldest system that can run the binary is decided by
the Python it is made with: CI takes uv's, which needs glibc 2.17 and brings its own OpenSSL.
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
MOST, SLOWEST = 7 * 10**6, 0.12  # the goals: bytes on Linux, and seconds of `--version`
# Never reached by the program, and large: modules that others import in functions which we do not call.
EXCLUDED = (
    "_asyncio", "_bz2", "_compat_pickle", "_csv", "_ctypes_test", "_curses", "_decimal", "_elementtree", "_lzma",
    "_multiprocessing", "_pickle", "_pydatetime", "_pydecimal", "_pyrepl", "_sqlite3", "_testcapi", "_tkinter", "_uuid",
    "_zoneinfo", "ast", "asyncio", "bz2", "compression", "concurrent", "csv", "curses", "dataclasses", "dbm", "decimal",
    "dis", "doctest", "ensurepip", "fractions", "ftplib", "gzip", "http.cookiejar", "idlelib", "importlib.metadata",
    "importlib.resources", "inspect", "lib2to3", "logging", "lzma", "multiprocessing", "optparse", "pdb", "pickle",
    "pkg_resources", "pprint", "pydoc", "pydoc_data", "readline", "setuptools", "sqlite3", "statistics", "tarfile",
    "test", "tkinter", "tracemalloc", "turtle", "unittest", "uuid", "venv", "xml", "xmlrpc", "zipfile", "zoneinfo",
)  # fmt: skip
# Windows may write to a pipe in these; elsewhere everything is UTF-8.
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
  ffi=FixedFileInfo(filevers={numbers}, prodvers={numbers}, mask=0x3f, flags=0, OS=0x40004, fileType=1, subtype=0),
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
    """ "twat-fs-linux-x86_64": the same at every release, so that releases/latest/download/NAME stays a URL."""
    cpu = (machine or platform.machine()).lower()
    return f"twat-fs-{SYSTEMS.get(system, system)}-{CPUS.get(cpu, cpu)}" + ".exe" * (
        system == "win32"
    )


def windows_resource(told: str) -> str:
    """What Windows shows as details of the file; 2.5.4.post24 is 2,5,4,24 there."""
    numbers = [int(number) for number in re.findall(r"[0-9]+", told.partition("+")[0])]
    return WINDOWS_RESOURCE.format(numbers=tuple([*numbers, 0, 0, 0, 0][:4]), version=told)


def excluded(system: str = sys.platform) -> tuple[str, ...]:
    return EXCLUDED if system == "win32" else (*EXCLUDED, *CODECS)


def moment() -> str:
    """Seconds since 1970 of the commit: the same for everybody who builds it."""
    told = (
        os.environ.get("SOURCE_DATE_EPOCH")
        or version.git(ROOT, "log", "-1", "--format=%ct")[0].strip()
    )
    return told or "1577836800"  # an sdist has no commit: 2020 began


def arguments(folder: Path, told: str, name: str) -> list[str]:
    """PyInstaller's; everything happens inside of `folder`."""
    words = ["--onefile", "--console", "--clean", "--noconfirm", "--noupx", f"--name={name}"]
    words += [f"--{place}path={folder / place}" for place in ("dist", "work", "spec")]
    words += [f"--exclude-module={module}" for module in excluded()]
    if sys.platform == "linux":
        words.append("--strip")  # elsewhere it breaks the signature, or there is nothing to strip
    if sys.platform == "win32":
        (folder / "version.txt").write_text(windows_resource(told), encoding="utf-8")
        words.append(f"--version-file={folder / 'version.txt'}")
    return [*words, str(folder / "twat_fs.py")]


def freeze(folder: Path, name: str) -> tuple[Path, str]:
    """(the binary, the version that it must say)."""
    told = version.version()
    source = (ROOT / "twat_fs.py").read_bytes().decode()
    (folder / "twat_fs.py").write_bytes(version.inject(source, told).encode())
    fixed = {"PYTHONHASHSEED": "0", "SOURCE_DATE_EPOCH": moment()}
    own = {"PYINSTALLER_CONFIG_DIR": str(folder / "config"), "PYI_LOG_LEVEL": "WARN"}
    command = [sys.executable, "-m", "PyInstaller", *arguments(folder, told, name)]
    subprocess.run(command, cwd=folder, env={**os.environ, **fixed, **own}, check=True)
    (made,) = (folder / "dist").iterdir()
    return made, told


def start_up(binary: Path, told: str, times: int = 9) -> float:
    """The median of some starts; what it says must be exactly the version."""
    seconds = []
    for _ in range(times):
        begun = time.perf_counter()
        said = subprocess.run(
            [str(binary), "--version"], capture_output=True, text=True, check=True
        ).stdout
        seconds.append(time.perf_counter() - begun)
        if said != f"twat-fs {told}\n":
            sys.exit(f"binary.py: the binary says {said!r}, and should say 'twat-fs {told}'")
    return statistics.median(seconds)


def upload(binary: Path, folder: Path) -> None:
    """A file must go over https into the internet in a box of the tests, and come back the same."""
    sys.path.insert(0, str(ROOT / "tests"))
    box_of = importlib.import_module("box").Box
    file = folder / "frozen.txt"
    file.write_bytes(b"frozen " * 9999)
    with box_of(folder / "box") as box:
        own = {
            name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")
        }
        done = subprocess.run(
            [str(binary), str(file)], env={**own, **box.env()}, capture_output=True, text=True
        )
        kept = [stored.read() for stored in box.stored.values()]
    if done.returncode or kept != [file.read_bytes()]:
        sys.exit(f"binary.py: the binary could not upload a file: {done.stderr}")


def verdict(value: float, goal: float) -> str:
    return "ok" if value <= goal else "MISSED"


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description="Freeze twat_fs.py into one file that needs no Python."
    )
    parser.add_argument(
        "--out", type=Path, default=ROOT / "dist", help="the folder it goes to (dist)"
    )
    args = parser.parse_args(argv)
    name = asset_name()
    with tempfile.TemporaryDirectory(prefix="twat-fs-") as folder:
        made, told = freeze(Path(folder), name)
        seconds, size = start_up(made, told), made.stat().st_size
        upload(made, Path(folder))
        args.out.mkdir(parents=True, exist_ok=True)
        shutil.move(str(made), str(args.out / name))
    print(f"binary.py: {name} {told}, made with Python {platform.python_version()}")
    print(f"  size   {size / 1e6:5.2f} MB  goal {MOST / 1e6:.0f} MB   {verdict(size, MOST)}")
    print(f"  start  {seconds:5.3f} s   goal {SLOWEST} s  {verdict(seconds, SLOWEST)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
