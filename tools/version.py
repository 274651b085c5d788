#!/usr/bin/env python3
"""The version of twat-fs, told by the git tags; builds write it into copies, never into the tree.

    python3 tools/version.py                  1.2.3, or 1.2.3.post4+g1a2b3c4.d20260131
    python3 tools/version.py --write OUT      twat_fs.py with this version in it
    python3 tools/version.py --expect v1.2.3  exit code 1 unless this tree is that tag, unchanged

    TWAT_FS_BUILD_VERSION -> PKG-INFO (sdist) -> git describe -> what `git archive` wrote into ARCHIVED -> 0+unknown

After a tag comes `.postN+gHASH`, N commits later; `.dYYYYMMDD` is the day (UTC) of a tree with changed tracked files.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
UNKNOWN = "0+unknown"
LITERAL = f'__version__ = "{UNKNOWN}"'  # one line of twat_fs.py
ARCHIVED = "$Format:%(describe:tags=true,match=v[0-9]*.[0-9]*.[0-9]*)$"
GLOBS = ("v[0-9]*.[0-9]*.[0-9]*", "[0-9]*.[0-9]*.[0-9]*")
MISLEADING = (
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_COMMON_DIR",
)  # set in git hooks
KINDS = {"a": "a", "alpha": "a", "b": "b", "beta": "b", "rc": "rc"}


class NoVersion(ValueError):
    """A tag or a name that cannot be published as a version."""


def from_tag(tag: str) -> str:
    """ "v1.2.3-rc.1" is 1.2.3rc1; NoVersion for anything but MAJOR.MINOR.PATCH and a, b, rc."""
    found = re.fullmatch(
        r"v?([0-9]+)\.([0-9]+)\.([0-9]+)(?:[-.]?(alpha|beta|a|b|rc)[-.]?([0-9]*))?", tag, re.ASCII
    )
    if not found:
        raise NoVersion(f"the tag {tag} is no version: it should look like v1.2.3 or v1.2.3rc1")
    kind = KINDS.get(found.group(4) or "")
    return ".".join(str(int(part)) for part in found.groups()[:3]) + (
        f"{kind}{int(found.group(5) or 0)}" if kind else ""
    )


def from_describe(text: str, day: str) -> str:
    """The version for the answer of `git describe --tags --dirty`, with --long or without; `day` is YYYYMMDD."""
    found = re.fullmatch(r"(.+?)(?:-([0-9]+)-g([0-9a-f]{7,}))?(-dirty)?", text)
    if not found:
        raise NoVersion(f"git describes this tree as {text!r}")
    tag, ahead, commit, dirty = found.groups()
    if not dirty and not int(ahead or 0):
        return from_tag(tag)
    return f"{from_tag(tag)}.post{int(ahead or 0)}+g{(commit or '')[:7]}" + (
        f".d{day}" if dirty else ""
    )


def today() -> str:
    """UTC, or SOURCE_DATE_EPOCH."""
    return time.strftime(
        "%Y%m%d", time.gmtime(int(os.environ.get("SOURCE_DATE_EPOCH") or time.time()))
    )


def git(root: Path, *words: str) -> tuple[str, str, int]:
    """What git says to stdout and to stderr about the repository whose top is `root`, and about no other; its exit code."""
    clean = {name: value for name, value in os.environ.items() if name not in MISLEADING}
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *words],
            env={**clean, "LC_ALL": "C"},
            capture_output=True,
            text=True,
        )
    except OSError:  # no git here
        return "", "", 127
    return (done.stdout if done.returncode == 0 else ""), done.stderr, done.returncode


def described(root: Path) -> str:
    """As `git describe --long` would say; without a release tag as if v0.0.0 had stood before the first commit."""
    place, complaint, _ = git(root, "rev-parse", "--is-shallow-repository", "--show-prefix")
    if not place and "not a git repository" not in complaint:
        print(complaint, end="", file=sys.stderr)
    if (
        not place or place.split("\n")[1]
    ):  # a folder of somebody else's repository is not ours to name
        return ""
    long = ("describe", "--long", "--dirty", "--abbrev=40")
    told = git(root, *long, "--tags", *(f"--match={glob}" for glob in GLOBS))[0].strip()
    commits = "" if told else git(root, "rev-list", "--count", "HEAD")[0].strip()
    if not commits:  # told, or there is no commit at all
        return told
    if place.startswith("true"):
        print(
            "version.py: this clone is shallow and shows no release tag; in CI: fetch-depth: 0",
            file=sys.stderr,
        )
    commit, complaint, _ = git(root, *long, "--always", "--exclude=*")
    print(
        "" if commit else complaint, end="", file=sys.stderr
    )  # an index that cannot be read: nobody knows what has changed
    return f"v0.0.0-{commits}-g{commit.strip()}" if commit else ""


def packaged(root: Path) -> str:
    """The version that an sdist carries."""
    try:
        found = re.search(
            r"^Version: (\S+)$", (root / "PKG-INFO").read_text(encoding="utf-8"), re.M
        )
    except OSError:
        return ""
    return found.group(1) if found else ""


def version(root: Path = ROOT) -> str:
    """Raises NoVersion where the nearest tag or TWAT_FS_BUILD_VERSION cannot be a version."""
    told = os.environ.get("TWAT_FS_BUILD_VERSION") or packaged(root)
    if told:
        if not re.fullmatch(r"[0-9][0-9A-Za-z.+!]*", told, re.ASCII):
            raise NoVersion(f"{told!r} is no version")
        return told
    archived = "" if ARCHIVED[:1] in "$%" else ARCHIVED  # as it stands here, or left by an old git
    told = described(root) or archived
    return from_describe(told, today()) if told else UNKNOWN


def injected(source: str, told: str) -> str:
    """The program with its version; ValueError unless there is exactly one place for it."""
    if source.count(f"\n{LITERAL}") != 1:
        raise NoVersion(f"twat_fs.py has not exactly one line that begins with {LITERAL}")
    return source.replace(f"\n{LITERAL}", f'\n__version__ = "{told}"')


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="The version of twat-fs, told by the git tags.")
    parser.add_argument(
        "--write", type=Path, metavar="OUT", help="write twat_fs.py with this version in it there"
    )
    parser.add_argument(
        "--expect", metavar="TAG", help="fail unless this tree is that tag, unchanged"
    )
    args = parser.parse_args(argv)
    try:
        told = version()
        if args.expect and from_tag(args.expect) != told:
            raise NoVersion(f"this tree is {told}, and not {args.expect}")
        if args.write:
            args.write.write_bytes(
                injected((ROOT / "twat_fs.py").read_bytes().decode(), told).encode()
            )
            args.write.chmod(0o755)
    except (NoVersion, OSError) as error:
        sys.exit(f"version.py: {error}")
    print(told)
    return 0


if __name__ == "__main__":
    sys.exit(main())
