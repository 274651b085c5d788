#!/usr/bin/env python3
"""The version of twat-fs, read from git tags; builds write it into copies, never into the tree.

    python3 tools/version.py                  1.2.3, or 1.2.3.post4+g1a2b3c4.d20260131
    python3 tools/version.py --write OUT      write a copy of twat_fs.py with this version
    python3 tools/version.py --expect v1.2.3  fail unless this tree is exactly that tag

    TWAT_FS_BUILD_VERSION -> PKG-INFO (sdist) -> git describe -> ARCHIVED (git archive) -> 0+unknown

A commit after a tag gets `.postN+gHASH`, with N commits since the tag; a tree with changed tracked
files gets `.dYYYYMMDD`, today in UTC. Of several release tags on one commit the greatest counts.
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
# Expanded by git archive, with git's own choice among several tags: the list of all (%D) would
# change the checksum of an archive whenever a branch moves.
ARCHIVED = "$Format:%(describe:tags=true,match=v[0-9]*.[0-9]*.[0-9]*)$"
GLOBS = ("v[0-9]*.[0-9]*.[0-9]*", "[0-9]*.[0-9]*.[0-9]*")
DESCRIBE = ("describe", "--long", "--dirty", "--abbrev=40")
# Set in git hooks, where they point to another repository.
GIT_VARIABLES = (
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_COMMON_DIR",
)
PRE_RELEASES = {"a": "a", "alpha": "a", "b": "b", "beta": "b", "rc": "rc"}
STAGES = ("a", "b", "rc", "")  # in order of time; "" is the release itself


class NoVersion(ValueError):
    """A version that cannot be published, or a repository that git cannot read."""


def from_tag(tag: str) -> str:
    """ "v1.2.3-rc.1" is 1.2.3rc1; NoVersion for anything but MAJOR.MINOR.PATCH and a, b, rc."""
    match = re.fullmatch(
        r"v?([0-9]+)\.([0-9]+)\.([0-9]+)(?:[-.]?(alpha|beta|a|b|rc)[-.]?([0-9]*))?", tag, re.ASCII
    )
    if not match:
        raise NoVersion(f"invalid release tag '{tag}' (expected v1.2.3 or v1.2.3rc1)")
    numbers = ".".join(str(int(part)) for part in match.groups()[:3])
    stage = PRE_RELEASES.get(match.group(4) or "")
    return f"{numbers}{stage}{int(match.group(5) or 0)}" if stage else numbers


def sort_key(release: str) -> tuple[int, ...]:
    """Order versions as PyPI does: 1.2.3rc1 < 1.2.3 < 1.2.10."""
    match = re.fullmatch(r"([0-9.]+?)(?:(a|b|rc)([0-9]+))?", release)
    assert match, release
    numbers, stage, count = match.groups()
    return (*map(int, numbers.split(".")), STAGES.index(stage or ""), int(count or 0))


def release_tags(tags: str) -> dict[str, str]:
    """Version by tag, for the release tags in the output of `git tag --list`."""
    versions = {}
    for tag in tags.split():
        try:
            versions[tag] = from_tag(tag)
        except NoVersion:
            pass
    return versions


def from_describe(text: str, day: str) -> str:
    """The version for the output of `git describe --tags --dirty [--long]`; `day` is YYYYMMDD."""
    match = re.fullmatch(r"(.+?)(?:-([0-9]+)-g([0-9a-f]{7,}))?(-dirty)?", text)
    if not match:
        raise NoVersion(f"invalid output of git describe: {text!r}")
    tag, ahead, commit, dirty = match.groups()
    release = from_tag(tag)
    if not dirty and not int(ahead or 0):
        return release
    development = f"{release}.post{int(ahead or 0)}+g{(commit or '')[:7]}"
    return f"{development}.d{day}" if dirty else development


def today() -> str:
    """The day in UTC, or that of SOURCE_DATE_EPOCH."""
    seconds = int(os.environ.get("SOURCE_DATE_EPOCH") or time.time())
    return time.strftime("%Y%m%d", time.gmtime(seconds))


def git(root: Path, *args: str) -> tuple[str, str, int]:
    """stdout (empty after a failure), stderr and exit code of git in the folder `root`."""
    env = {name: value for name, value in os.environ.items() if name not in GIT_VARIABLES}
    try:
        result = subprocess.run(
            ["git", "-C", str(root), *args],
            env={**env, "LC_ALL": "C"},
            capture_output=True,
            text=True,
        )
    except OSError:  # git is not installed
        return "", "", 127
    return (result.stdout if result.returncode == 0 else ""), result.stderr, result.returncode


def git_or_fail(root: Path, *args: str) -> str:
    """stdout of git without the final newline; NoVersion with git's own words if it fails."""
    output, error, code = git(root, *args)
    if code:
        raise NoVersion(
            f"git {args[0]} failed: {error.strip()}\n"
            "if the version cannot come from git, set TWAT_FS_BUILD_VERSION"
        )
    return output.rstrip("\n")


def describe(root: Path) -> str:
    """The output of `git describe --long`, or "" without a repository at `root`, commits or git.

    Without a release tag it counts as if v0.0.0 stood before the first commit. A repository that
    git cannot read (dubious ownership, a broken index) raises NoVersion: a build that goes on
    would publish a wrong version.
    """
    if not (root / ".git").exists() or git(root, "--version")[2]:
        return ""
    state = git_or_fail(root, "rev-parse", "--is-shallow-repository", "--show-prefix")
    shallow, _, prefix = state.partition("\n")
    if prefix or not git(root, "rev-parse", "--verify", "--quiet", "HEAD")[0]:
        return ""
    tagged = git(root, *DESCRIBE, "--tags", *(f"--match={glob}" for glob in GLOBS))[0].strip()
    if tagged:
        return with_greatest_tag(root, tagged)
    if shallow == "true":
        print(
            "version.py: shallow clone without a release tag; in CI: set fetch-depth: 0",
            file=sys.stderr,
        )
    commits = git_or_fail(root, "rev-list", "--count", "HEAD")
    return f"v0.0.0-{commits}-g" + git_or_fail(root, *DESCRIBE, "--always", "--exclude=*")


def with_greatest_tag(root: Path, described: str) -> str:
    """Replace the tag by the greatest release tag of the same commit.

    git describe prefers annotated tags, then the newest, and sorts lightweight tags by name.
    """
    match = re.fullmatch(r"(.+)-[0-9]+-g[0-9a-f]+(-dirty)?", described)
    assert match, described
    tag = match.group(1)
    same_commit = git_or_fail(root, "tag", "--points-at", f"refs/tags/{tag}^{{commit}}", *GLOBS)
    versions = release_tags(same_commit)
    greatest = max(versions, key=lambda name: sort_key(versions[name]), default=tag)
    return greatest + described[len(tag) :]


def from_pkg_info(root: Path) -> str:
    """The version of an unpacked sdist, or ""."""
    try:
        text = (root / "PKG-INFO").read_text(encoding="utf-8")
    except OSError:
        return ""
    match = re.search(r"^Version: (\S+)$", text, re.M)
    return match.group(1) if match else ""


def version(root: Path = ROOT) -> str:
    """Return the version of the tree at `root`; raises NoVersion where there cannot be one."""
    fixed = os.environ.get("TWAT_FS_BUILD_VERSION") or from_pkg_info(root)
    if fixed:
        if not re.fullmatch(r"[0-9][0-9A-Za-z.+!]*", fixed, re.ASCII):
            raise NoVersion(f"invalid version {fixed!r}")
        return fixed
    archived = "" if ARCHIVED[:1] in "$%" else ARCHIVED  # not expanded, or only by an old git
    described = describe(root) or archived
    return from_describe(described, today()) if described else UNKNOWN


def inject(source: str, release: str) -> str:
    """The source of the program with its version; NoVersion unless LITERAL occurs exactly once."""
    if source.count(f"\n{LITERAL}") != 1:
        raise NoVersion(f"twat_fs.py must have exactly one line that begins with {LITERAL}")
    return source.replace(f"\n{LITERAL}", f'\n__version__ = "{release}"')


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="The version of twat-fs, read from git tags.")
    parser.add_argument(
        "--write", type=Path, metavar="OUT", help="write a copy of twat_fs.py with this version"
    )
    parser.add_argument("--expect", metavar="TAG", help="fail unless this tree is exactly that tag")
    args = parser.parse_args(argv)
    try:
        current = version()
        if args.expect and from_tag(args.expect) != current:
            raise NoVersion(f"this tree is {current}, not {args.expect}")
        if args.write:
            source = (ROOT / "twat_fs.py").read_bytes().decode()
            args.write.write_bytes(inject(source, current).encode())
            args.write.chmod(0o755)
    except (NoVersion, OSError) as error:
        sys.exit(f"version.py: {error}")
    print(current)
    return 0


if __name__ == "__main__":
    sys.exit(main())
