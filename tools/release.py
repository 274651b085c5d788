#!/usr/bin/env python3
"""Makes the tag of a release, if everything is ready for one; pushing it is left to a person.

    python3 tools/dev.py release v1.2.3

    the name, main, a clean tree, a greater version, an entry in CHANGELOG.md --> linters and tests --> git tag -a -->
    is the tree still that tag?

What happens after the push stands in .github/RELEASING.md.
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
KINDS = ("a", "b", "rc", "")  # in order of time; none: the release itself


def key(told: str) -> tuple[int, ...]:
    """So that 1.2.3rc1 < 1.2.3 < 1.2.10."""
    numbers, kind, count = re.fullmatch(r"([0-9.]+?)(?:(a|b|rc)([0-9]+))?", told).groups()  # type: ignore[union-attr]
    return (*map(int, numbers.split(".")), KINDS.index(kind or ""), int(count or 0))


def releases(tags: str) -> list[str]:
    """The versions among these tags, one a line."""
    found = []
    for tag in tags.split():
        try:
            found.append(version.from_tag(tag))
        except version.NoVersion:
            pass  # no release
    return found


def entry(changelog: str, told: str) -> str:
    """What CHANGELOG.md tells of this version; a pre-release may still be under Unreleased."""
    heads = [
        rf"{re.escape(told)}\] - [0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}",
        *([r"Unreleased\]"] if re.search("[a-z]", told) else []),
    ]
    found = re.search(rf"(?ms)^## \[(?:{'|'.join(heads)})$\n(.*?)(?=^## \[|^\[|\Z)", changelog)
    return found.group(1).strip() if found else ""


def ask(*words: str) -> str:
    """What git says; if it says nothing because it cannot, that is no yes."""
    told, complaint, code = version.git(ROOT, *words)
    dev.check(code, f"git {words[0]} failed: {complaint.strip()}")
    return told.strip()


def objections(tag: str, told: str) -> Iterator[str]:
    """What speaks against tagging this commit, in sentences."""
    if tag != f"v{told}":
        yield f"the tag should be written v{told}"
    if ask("rev-parse", "--abbrev-ref", "HEAD") != "main":
        yield "releases are made from main, and this is another branch"
    if ask("status", "--porcelain", "--untracked-files=normal"):
        yield "the tree is not clean: commit or remove what `git status` shows"
    last = max(releases(ask("tag", "--list")), key=key, default="")
    if last and key(told) <= key(last):
        yield f"{told} is not greater than the last release, {last}"
    if not entry((ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), told):
        yield f"CHANGELOG.md has no entry under a head like `## [{told}] - 2026-01-31`"


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="dev.py release", description="Check that all is ready, and make the tag."
    )
    parser.add_argument("tag", metavar="TAG", help="like v1.2.3 or v1.2.3rc1")
    tag = parser.parse_args(argv).tag
    try:
        told = version.from_tag(tag)
    except version.NoVersion as error:
        dev.fail(str(error))
    against, commit = list(objections(tag, told)), ask("rev-parse", "HEAD")
    if against:
        dev.fail("; ".join(against))
    dev.check(dev.everything([]), "linters or tests are not content: there is no release")
    message = (
        f"twat-fs {told}\n\n{entry((ROOT / 'CHANGELOG.md').read_text(encoding='utf-8'), told)}\n"
    )
    ask("tag", "-a", "--cleanup=whitespace", "-m", message, tag, commit)
    try:
        version.main(
            ["--expect", tag]
        )  # the workflow asks the same; the tree may have changed since the tests began
    except SystemExit:
        ask("tag", "-d", tag)
        raise
    print(
        f"dev.py: {tag} is here, and nowhere else yet. To publish it:\n\n    git push --atomic origin main {tag}\n"
    )
    print(f"To take it back while it is only here:\n\n    git tag -d {tag}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
