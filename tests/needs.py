"""The programs that tests run beside Python: which are missing here, and how to install them.

    @pytest.mark.needs("nginx", "curl")    before a test, or on a parameter
    need("mksh")                           inside a test or a fixture; returns the path

Without them a test is skipped, and the end of the run names them once with the command that
installs them. Where CI is set it fails instead.

    python3 tests/needs.py                 print the missing packages of Debian, for .ci/run
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from typing import Iterable, List, NoReturn, Optional

PACKAGES = {
    "7z": "p7zip-full",
    "Xvfb": "xvfb",
    "bash": "bash",
    "bsdtar": "libarchive-tools",
    "busybox": "busybox-static",
    "cc": "gcc libc6-dev",
    "chromium": "chromium",
    "curl": "curl",
    "dash": "dash",
    "fish": "fish",
    "git": "git",
    "ip": "iproute2",
    "javac": "default-jdk-headless",
    "make": "make",
    "mandoc": "mandoc",
    "mksh": "mksh",
    "nginx": "nginx-light",
    "objdump": "binutils",  # for PyInstaller
    "openssl": "openssl",
    "shasum": "perl",
    "setsid": "util-linux",
    "tmux": "tmux",
    "unshare": "util-linux",
    "unzip": "unzip",
    "wget": "wget",
    "xclip": "xclip",
    "xsel": "xsel",
    "yash": "yash",
    "zbarimg": "zbar-tools",
    "zsh": "zsh",
}
# As it is before any fixture changes it; /usr/sbin, where nginx is, is not on the PATH of users.
PATH = os.pathsep.join(
    [os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin", "/usr/bin", "/bin"]
)
REASON = "not installed: "
# There its only package is a snap, which sees no files of tests; images of CI have the program.
with contextlib.suppress(OSError), open("/etc/os-release", encoding="utf-8") as release:
    if "\nID=ubuntu\n" in release.read():
        PACKAGES["chromium"] = ""


def find(name: str) -> Optional[str]:
    return shutil.which(name, path=PATH)


def missing(names: Iterable[str] = PACKAGES) -> List[str]:
    return [name for name in names if not find(name)]


def packages(names: Iterable[str]) -> List[str]:
    """The packages of Debian that have these programs; a Python of another version has none."""
    return sorted({package for name in names for package in PACKAGES.get(name, "").split()})


def need(*names: str) -> str:
    """The path of the first program; without one of them the test is skipped, or fails in CI."""
    absent = missing(names)
    if absent:
        lacks(absent)
    return str(find(names[0]))


def lacks(names: List[str]) -> NoReturn:
    """Skip the running test; in CI fail, but for what no package has, like another Python."""
    import pytest  # .ci/run asks a Python without it

    reason = REASON + ", ".join(names)
    if os.environ.get("CI") and any(PACKAGES.get(name, name) for name in names if " " not in name):
        pytest.fail(f"{reason}; run `{install_command(names)}`", pytrace=False)
    pytest.skip(reason)


def install_command(names: Iterable[str]) -> str:
    return "apt-get install " + " ".join(packages(names))


def named_in(reasons: Iterable[str]) -> List[str]:
    """The programs that these reasons of skipped tests name, sorted."""
    names = set()
    for reason in reasons:
        match = re.search(f"{REASON}(.+)", reason)
        names.update(match.group(1).split(", ") if match else ())
    return sorted(names)


def summary(reasons: List[str]) -> List[str]:
    """The lines at the end of a run; none if no program was missing."""
    names = named_in(reasons)
    if not names:
        return []
    count = sum(REASON in reason for reason in reasons)
    lines = [f"{count} tests skipped, {REASON}{', '.join(names)}"]
    # all that is missing: a test is skipped at its first program, and may need others as well
    everything = names + missing()
    if packages(everything):
        lines.append(f"Debian, Ubuntu: {install_command(everything)}")
    return lines


if __name__ == "__main__":
    print(*packages(missing()))
