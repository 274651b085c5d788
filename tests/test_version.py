"""tools/version.py: versions from git tags in real repositories, compared with setuptools-scm."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from pathlib import Path

import pytest
import version as v
from packaging.version import Version
from repos import ROOT, commit, git, good, run, small_repository

TREES = json.loads((ROOT / "tests" / "data" / "versions.json").read_text(encoding="utf-8"))["trees"]
DAY, EPOCH = "20250717", "1752710400"
SHAPE = r"[0-9]+\.[0-9]+\.[0-9]+((a|b|rc)[0-9]+)?(\.post[0-9]+\+g[0-9a-f]{7}(\.d[0-9]{8})?)?"


def run_version(folder, *args, **env):
    """Run its tools/version.py as builds do, on a fixed day."""
    tool = folder / "tools" / "version.py"
    return run(
        sys.executable,
        tool,
        *args,
        cwd=os.path.dirname(folder),
        **{"SOURCE_DATE_EPOCH": EPOCH, **env},
    )


def version_of(folder, **env) -> str:
    done = run_version(folder, **env)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.strip()


# Without git --------------------------------------------------------------------------------------


def answer(describe):
    try:
        return v.from_describe(describe, DAY)
    except v.NoVersion:
        return None


@pytest.mark.parametrize(
    "name, describe, ours, theirs, relation", TREES, ids=[tree[0] for tree in TREES]
)
def test_a_described_tree_has_the_version_of_its_record(name, describe, ours, theirs, relation):
    assert answer(describe) == ours
    assert ours is None or re.fullmatch(SHAPE, ours)
    assert (ours == theirs) == (relation == "same")
    assert ours == theirs or ours is None or theirs == "ERROR", (
        "we differ by refusing, and where it breaks down"
    )


def test_the_records_are_there():
    assert len(TREES) > 50 and sum(tree[4] == "same" for tree in TREES) > 30


def test_pre_releases_and_what_follows_them_sort_in_order_of_time():
    describes = [
        "v1.2.3-alpha1-0-g",
        "v1.2.3b2-0-g",
        "v1.2.3rc1-0-g",
        "v1.2.3rc1-2-g",
        "v1.2.3-0-g",
        "v1.2.3-2-g",
    ]
    versions = [Version(v.from_describe(text + "0123456", DAY)) for text in describes]
    assert versions == sorted(versions) and len(set(versions)) == len(versions)
    assert Version(v.UNKNOWN) < versions[0]


def test_the_program_has_one_place_for_the_version():
    source = (ROOT / "twat_fs.py").read_text(encoding="utf-8")
    new = v.inject(source, "1.2.3")
    changed = [pair for pair in zip(source.splitlines(), new.splitlines()) if pair[0] != pair[1]]
    assert [line.split("  #")[0] for _, line in changed] == ['__version__ = "1.2.3"']
    assert len(source.splitlines()) == len(new.splitlines())


@pytest.mark.parametrize(
    "source", ["", f"\n{v.LITERAL}\n{v.LITERAL}\n", '\n__version__ = "1.2.3"\n']
)
def test_a_program_without_that_one_place_is_refused(source):
    with pytest.raises(v.NoVersion, match="exactly one"):
        v.inject(source, "1.2.3")


# Real repositories --------------------------------------------------------------------------------


@pytest.fixture
def repository(tmp_path):
    return small_repository(tmp_path / "repository")


def short(folder) -> str:
    return git(folder, "rev-parse", "HEAD")[:7]


@pytest.mark.parametrize("options", [["-a", "-m", "x"], []], ids=["annotated", "lightweight"])
def test_at_a_tag_it_is_the_tag(repository, options):
    git(repository, "tag", *options, "v1.2.3")
    (repository / "untracked").touch()
    os.utime(repository / "twat_fs.py")
    assert version_of(repository) == "1.2.3"


def edit(folder):
    (folder / "twat_fs.py").write_text("changed")


def stage(folder):
    edit(folder)
    git(folder, "add", "-A")


def permit(folder):
    os.chmod(folder / "twat_fs.py", 0o755)


no_modes = pytest.mark.skipif(os.name == "nt", reason="Windows has no such permission")


@pytest.mark.parametrize("change", [edit, stage, pytest.param(permit, marks=no_modes)])
def test_a_changed_tracked_file_shows(repository, change):
    git(repository, "tag", "v1.2.3")
    change(repository)
    assert version_of(repository) == f"1.2.3.post0+g{short(repository)}.d{DAY}"


def test_commits_after_the_tag_are_counted(repository):
    git(repository, "tag", "-a", "-m", "x", "v2.5.4")
    commit(repository, 3)
    assert version_of(repository) == f"2.5.4.post3+g{short(repository)}"
    edit(repository)
    assert version_of(repository) == f"2.5.4.post3+g{short(repository)}.d{DAY}"


def test_without_tags_all_commits_are_counted(repository):
    commit(repository, 2)
    assert version_of(repository) == f"0.0.0.post3+g{short(repository)}"
    # setuptools-scm's answer
    assert Version(version_of(repository)) == Version(f"0.0.post3+g{short(repository)}")
    edit(repository)
    assert version_of(repository) == f"0.0.0.post3+g{short(repository)}.d{DAY}"


MANY_TAGS = [
    (["v1.0.0", "v1.0.1"], [], "1.0.1"),  # two lightweight tags: git takes the first by name
    (["v1.9.0", "v1.10.0"], [], "1.10.0"),
    (["v1.2.4"], ["v1.2.3"], "1.2.4"),  # git prefers annotated tags
    (["v1.2.3"], ["v1.2.3rc1"], "1.2.3"),
    ([], ["v2.0.0", "v2.0.1", "v1.9.9"], "2.0.1"),  # git takes the newest
    (["2.0.1"], ["v2.0.0"], "2.0.1"),
    (["v1.2.3", "v1.2.3.4", "nightly", "v9"], [], "1.2.3"),  # the others cannot be published
]


@pytest.mark.parametrize(("lightweight", "annotated", "expected"), MANY_TAGS)
def test_of_several_release_tags_on_one_commit_the_greatest_counts(
    repository, lightweight, annotated, expected
):
    for tag in lightweight:
        git(repository, "tag", tag)
    for number, tag in enumerate(annotated):
        git(
            repository,
            *("tag", "-a", "-m", "x", tag),
            GIT_COMMITTER_DATE=f"2026-01-0{number + 1}T00:00:00Z",
        )
    assert version_of(repository) == expected
    assert run_version(repository, "--expect", f"v{expected}").returncode == 0
    edit(repository)
    assert version_of(repository) == f"{expected}.post0+g{short(repository)}.d{DAY}"
    commit(repository, 2)
    assert version_of(repository) == f"{expected}.post2+g{short(repository)}"


def test_a_greater_tag_on_an_earlier_commit_does_not_count(repository):
    git(repository, "tag", "v9.0.0")
    commit(repository)
    git(repository, "tag", "v1.2.3")
    assert version_of(repository) == "1.2.3"


@pytest.mark.parametrize(
    "tag", ["nightly", "docs2", "release/1.2.3", "V1.2.3", "v1.2", "twat-fs-1.2.3"]
)
def test_tags_that_are_not_releases_are_ignored(repository, tag):
    git(repository, "tag", "v1.0.0")
    commit(repository)
    git(repository, "tag", tag)
    commit(repository)
    assert version_of(repository) == f"1.0.0.post2+g{short(repository)}"


@pytest.mark.parametrize(
    "tag", ["v1.2.3.4", "v1.2.3.dev4", "v1.2.3.post1", "v1.2.3-1", "v1.2.3+abc", "v1.2.3-hotfix"]
)
def test_tags_that_cannot_be_published_are_refused_with_a_sentence(repository, tag):
    git(repository, "tag", tag)
    done = run_version(repository)
    assert (done.returncode, done.stdout) == (1, "")
    assert (
        done.stderr == f"version.py: invalid release tag '{tag}' (expected v1.2.3 or v1.2.3rc1)\n"
    )


def test_a_merged_side_branch_brings_its_tag(repository):
    git(repository, "tag", "v1.0.0")
    git(repository, "checkout", "-q", "-b", "side")
    commit(repository)
    git(repository, "tag", "v1.0.1")
    git(repository, "checkout", "-q", "main")
    (repository / "other").touch()
    git(repository, "add", "-A")
    git(repository, "commit", "-q", "-m", "on main")
    git(repository, "merge", "-q", "--no-ff", "-m", "merge", "side")
    assert version_of(repository) == f"1.0.1.post2+g{short(repository)}"


def test_a_repository_without_commits_has_no_version(tmp_path):
    folder = small_repository(tmp_path / "repository")
    shutil.rmtree(folder / ".git")
    git(folder, "init", "-q")
    assert version_of(folder) == "0+unknown"


@pytest.fixture
def tagged(repository):
    """v1.2.3 and one commit more; clones may leave out blobs."""
    git(repository, "tag", "-a", "-m", "x", "v1.2.3")
    git(repository, "config", "uploadpack.allowFilter", "true")
    commit(repository)
    return repository


def clone(repository, *args):
    folder = repository.parent / "clone"
    git(repository.parent, "clone", "-q", *args, repository.as_uri(), folder)
    return folder


@pytest.mark.parametrize(
    "args", [["--depth=2"], ["--filter=blob:none"], []], ids=["depth 2", "blob-less", "full"]
)
def test_a_clone_that_holds_the_tag_has_the_same_version(tagged, args):
    assert version_of(clone(tagged, *args)) == version_of(tagged) == f"1.2.3.post1+g{short(tagged)}"


def test_a_shallow_clone_of_the_tag_is_the_tag(tagged):
    assert version_of(clone(tagged, "--depth=1", "--branch=v1.2.3")) == "1.2.3"


def test_a_clone_too_shallow_to_know_says_what_to_do(tagged):
    done = run_version(clone(tagged, "--depth=1"))
    assert done.stdout == f"0.0.0.post1+g{short(tagged)}\n"
    assert "fetch-depth: 0" in done.stderr and done.stderr.count("\n") == 1


def test_a_clone_without_tags_counts_from_the_beginning(tagged):
    assert version_of(clone(tagged, "--no-tags")) == f"0.0.0.post2+g{short(tagged)}"


def test_a_linked_worktree_has_the_version_of_its_commit(tagged):
    git(tagged, "worktree", "add", "-q", "--detach", tagged.parent / "linked", "v1.2.3")
    assert version_of(tagged.parent / "linked") == "1.2.3"


def test_an_archive_knows_its_version_without_git(tagged, tmp_path):
    folder = unpacked(tagged, "HEAD", tmp_path / "archive")
    assert version_of(folder) == f"1.2.3.post1+g{short(tagged)}"
    assert version_of(unpacked(tagged, "v1.2.3", tmp_path / "older")) == "1.2.3"


def unpacked(repository, commit, folder):
    git(repository, "archive", "-o", folder.with_suffix(".tar"), commit)
    folder.mkdir()
    good("tar", "-xf", folder.with_suffix(".tar"), "-C", folder)
    return folder


def test_a_plain_copy_has_no_version(tagged, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(tagged, copy, ignore=shutil.ignore_patterns(".git"))
    assert version_of(copy) == "0+unknown"


def test_an_unpacked_sdist_has_the_version_of_its_pkg_info(tagged):
    (tagged / "PKG-INFO").write_text(
        "Metadata-Version: 2.4\nName: twat-fs\nVersion: 4.5.6.post7+gabcdef0\n\nVersion: 9\n"
    )
    assert version_of(tagged) == "4.5.6.post7+gabcdef0"


def test_the_tag_of_another_repository_around_is_not_ours(tmp_path):
    git(tmp_path, "init", "-q")
    commit(tmp_path)
    git(tmp_path, "tag", "v9.9.9")
    inside = small_repository(tmp_path / "vendor")
    shutil.rmtree(inside / ".git")
    assert version_of(inside) == "0+unknown"


def test_in_a_git_hook_of_another_repository_it_is_ours(tagged, tmp_path):
    other = small_repository(tmp_path / "other")
    git(other, "tag", "v9.9.9")
    hook = {
        "GIT_DIR": str(other / ".git"),
        "GIT_WORK_TREE": str(other),
        "GIT_INDEX_FILE": str(other / ".git" / "index"),
    }
    assert version_of(tagged, **hook) == f"1.2.3.post1+g{short(tagged)}"


as_root = pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can give files away"
)


def give_away(folder):
    for path in [folder, *folder.rglob("*")]:
        os.chown(path, 12345, 12345, follow_symlinks=False)


def stops(folder, reason) -> str:
    """The build ends with git's own words, and names nothing 0+unknown."""
    done = run_version(folder, "--write", folder / "out.py", SUDO_UID=None)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("version.py: git ") and reason in done.stderr
    assert done.stderr.endswith("set TWAT_FS_BUILD_VERSION\n")
    assert not (folder / "out.py").exists()
    return done.stderr


@as_root
def test_a_repository_of_another_user_stops_the_build_and_git_says_why(tagged):
    give_away(tagged)
    error = stops(tagged, f"detected dubious ownership in repository at '{tagged}'")
    assert f"git config --global --add safe.directory {tagged}\n" in error
    assert version_of(tagged, SUDO_UID=None, TWAT_FS_BUILD_VERSION="7.8.9") == "7.8.9"


@as_root
def test_a_plain_copy_inside_a_repository_of_another_user_has_no_version(tmp_path):
    """That repository is not ours to name, so it does not matter whether git can read it."""
    outer = tmp_path / "outer"
    outer.mkdir()
    git(outer, "init", "-q")
    commit(outer)
    inside = small_repository(outer / "vendor")
    shutil.rmtree(inside / ".git")
    give_away(outer)
    assert version_of(inside, SUDO_UID=None) == "0+unknown"


def break_index(folder):
    (folder / ".git" / "index").write_text("x")


def break_link(folder):
    shutil.rmtree(folder / ".git")
    (folder / ".git").write_text("gitdir: /nowhere/.git/worktrees/x\n")


def break_objects(folder):
    shutil.rmtree(folder / ".git" / "objects")
    (folder / ".git" / "objects").mkdir()


@pytest.mark.parametrize(
    ("damage", "reason"),
    [(break_index, "index"), (break_link, "not a git repository"), (break_objects, "bad object")],
)
def test_a_repository_that_git_cannot_read_stops_the_build(tagged, damage, reason):
    damage(tagged)
    stops(tagged, reason)


def test_without_git_the_version_is_unknown(tagged, tmp_path):
    empty = tmp_path / "bin"
    empty.mkdir()
    assert version_of(tagged, PATH=str(empty)) == "0+unknown"


def test_a_packager_can_say_the_version(tagged):
    assert version_of(tagged, TWAT_FS_BUILD_VERSION="7.8.9") == "7.8.9"
    done = run_version(tagged, TWAT_FS_BUILD_VERSION='1"; import os')
    assert done.returncode == 1 and "invalid version" in done.stderr


# Options ------------------------------------------------------------------------------------------


def test_write_makes_a_copy_that_knows_its_version_and_leaves_the_tree_clean(repository, tmp_path):
    git(repository, "tag", "v1.2.3")
    assert run_version(repository, "--write", tmp_path / "out.py").stdout == "1.2.3\n"
    assert run(sys.executable, tmp_path / "out.py").stdout == "1.2.3\n"
    assert os.access(tmp_path / "out.py", os.X_OK)
    assert git(repository, "status", "--porcelain") == ""


def test_write_says_what_is_wrong_with_the_place(repository):
    done = run_version(repository, "--write", Path("nowhere", "out.py"))
    assert done.returncode == 1 and "version.py: " in done.stderr and "Traceback" not in done.stderr


def test_expect_is_content_with_the_tag_and_with_nothing_else(repository):
    git(repository, "tag", "v1.2.3")
    assert run_version(repository, "--expect", "v1.2.3").returncode == 0
    other = run_version(repository, "--expect", "v1.2.4")
    assert other.returncode == 1 and other.stderr == "version.py: this tree is 1.2.3, not v1.2.4\n"
    edit(repository)
    changed = run_version(repository, "--expect", "v1.2.3")
    assert changed.returncode == 1 and f".d{DAY}, not v1.2.3" in changed.stderr
    assert run_version(repository, "--expect", "nightly").returncode == 1
