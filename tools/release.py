#!/usr/bin/env python3
"""Make the tag of a release if everything is ready for one; pushing it is left to a person.

    python3 tools/dev.py release v1.2.3

    name, branch main, clean tree, greater version, entry in CHANGELOG.md -> linters and tests
    -> git tag -a -> is the tree still that tag?

.github/RELEASING.md describes what happens after the push.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import dev
import version

ROOT = Path(__file__).resolve().parent.parent


def changelog_entry(changelog: str, release: str) -> str:
    """The section of CHANGELOG.md for this version, or ""; a pre-release may use Unreleased."""
    headings = [rf"{re.escape(release)}\] - [0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}"]
    if re.search("[a-z]", release):
        headings.append(r"Unreleased\]")
    pattern = rf"(?ms)^## \[(?:{'|'.join(headings)})$\n(.*?)(?=^## \[|^\[|\Z)"
    match = re.search(pattern, changelog)
    return match.group(1).strip() if match else ""


def read_changelog() -> str:
    return (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def git(*args: str) -> str:
    """stdout of git; a failure ends the program."""
    output, error, code = version.git(ROOT, *args)
    dev.check(code, f"git {args[0]} failed: {error.strip()}")
    return output.strip()


def objections(tag: str, release: str) -> Iterator[str]:
    """The reasons not to tag this commit."""
    if tag != f"v{release}":
        yield f"invalid tag '{tag}' (expected v{release})"
    if git("rev-parse", "--abbrev-ref", "HEAD") != "main":
        yield "releases are made from the branch main"
    if git("status", "--porcelain", "--untracked-files=normal"):
        yield "the tree has changes: commit or delete what `git status` shows"
    tagged = version.release_tags(git("tag", "--list")).values()
    last = max(tagged, key=version.sort_key, default="")
    if last and version.sort_key(release) <= version.sort_key(last):
        yield f"{release} is not greater than the last release, {last}"
    if not changelog_entry(read_changelog(), release):
        yield f"CHANGELOG.md: no section `## [{release}] - 2026-01-31`"


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="dev.py release", description="Check that a release is ready and make its tag."
    )
    parser.add_argument("tag", metavar="TAG", help="like v1.2.3 or v1.2.3rc1")
    tag = parser.parse_args(argv).tag
    try:
        release = version.from_tag(tag)
    except version.NoVersion as error:
        dev.fail(str(error))
    reasons, commit = list(objections(tag, release)), git("rev-parse", "HEAD")
    if reasons:
        dev.fail("; ".join(reasons))
    dev.check(dev.everything([]), "linters or tests failed; no tag was made")
    make_tag(tag, commit, f"twat-fs {release}\n\n{changelog_entry(read_changelog(), release)}\n")
    print(f"dev.py: tag {tag} exists in this clone only. To publish it:\n")
    print(f"    git push --atomic origin main {tag}\n")
    print(f"To delete it again:\n\n    git tag -d {tag}")
    return 0


def make_tag(tag: str, commit: str, message: str) -> None:
    """Tag the commit; the tag goes again if the tree has changed since the tests began."""
    git("tag", "-a", "--cleanup=whitespace", "-m", message, tag, commit)
    try:
        version.main(["--expect", tag])  # release.yml checks the same
    except SystemExit:
        git("tag", "-d", tag)
        raise


if __name__ == "__main__":
    sys.exit(main())
