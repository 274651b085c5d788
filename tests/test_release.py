"""From a tag to an installed program: the workflow steps, run as GitHub runs them.

What they upload goes to a stand-in for the `gh` program, which lays it where a loopback "GitHub"
serves it; install.sh takes it from there, and what it has installed uploads a file into the
internet in a box.
"""

from __future__ import annotations

import hashlib
import http.server
import os
import re
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import binary
import pytest
import release as tool
import version
from conftest import environment
from internet.box import Box
from needs import need
from repos import ROOT, clone_of_this_tree, commit, git, good, once, run, small_repository
from workflows import WORKFLOWS, commands, run_step, workflow

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the steps are shell commands")
TAG, VERSION = "v3.0.0", "3.0.0"

# Every step that is a command, in the order of their jobs: how it is run here, or why it is not.
HERE, THERE, NO_DOCKER = (
    "run here",
    "run in an empty folder with the packages",
    "needs docker and images from the network",
)
STEPS = {
    ("lint", "Lint"): "the linters are a part of CI here too, as the same command",
    (
        "test",
        "Install programs for the tests (Ubuntu)",
    ): "installs packages; CI here begins with the same command",
    ("test", "Install programs for the tests (macOS)"): "macOS only",
    ("test", "Test"): HERE,
    ("dist", "Build"): HERE,
    ("dist", "Install the wheel alone and run it"): HERE,
    ("dist", "Run the Python file on musl"): NO_DOCKER,
    ("binary", "Build the binary"): HERE,
    ("binary", "Run on the oldest supported system"): NO_DOCKER,
    ("draft", "Check that the tree is the tag"): HERE,
    ("draft", "Checksums"): HERE,
    ("draft", "Draft"): HERE,
    ("pypi", "Select the packages"): THERE,
    ("publish", "Publish the draft"): HERE,
}
# The values that GitHub would put in; anything else in a step is an error.
VALUES = {
    "${{ matrix.marks }}": "not online",
    "${{ github.token }}": "secret",
    "${{ github.repository }}": "o/r",
}
# uv's own Python cannot be fetched without GitHub: this one takes its place. All the tests would
# run the tests again.
INSTEAD = {
    "--managed-python --python 3.13.11": f"--offline --python {sys.executable}",
    "tools/dev.py test -n 4": "tools/dev.py test tests/test_version.py -k expect -q",
}
GH = """#!/bin/sh
# Stands in for GitHub's program: `release create TAG OPTIONS FILES` and `release edit TAG
# --draft=false`.
echo "gh $*" >> "$RELEASES/log"
[ "$GH_TOKEN" = secret ] || exit 4
case $2 in
    create) mkdir "$RELEASES/draft-$3"
            for file; do [ ! -f "$file" ] || cp "$file" "$RELEASES/draft-$3"; done ;;
    edit) mv "$RELEASES/draft-$3" "$RELEASES/$3" ;;
esac
"""


def jobs() -> dict:
    return {**workflow("ci")["jobs"], **workflow("release")["jobs"]}


def test_every_command_of_the_workflows_is_run_here_or_has_a_reason():
    assert list(commands(jobs())) == list(STEPS)


def test_every_action_is_pinned_and_every_job_has_its_own_rights_and_an_end():
    for name in WORKFLOWS:
        page = workflow(name)
        assert page["permissions"] == {}
        assert all(
            "permissions" in job and ("timeout-minutes" in job or "uses" in job)
            for job in page["jobs"].values()
        )
        uses = [
            step["uses"]
            for job in page["jobs"].values()
            for step in job.get("steps", ())
            if "uses" in step
        ]
        assert uses and all(re.fullmatch(r"[\w/.-]+@[0-9a-f]{40}", use) for use in uses)


def test_a_release_has_every_binary_that_installers_look_for():
    runners = workflow("ci")["jobs"]["binary"]["strategy"]["matrix"]["os"]
    systems = {"ubuntu": "linux", "macos": "darwin", "windows": "win32"}

    def intel(name):
        return name.endswith("-intel") or name.split("-")[0] == "windows" or name == "ubuntu-24.04"

    names = {
        binary.asset_name(systems[name.split("-")[0]], "x86_64" if intel(name) else "arm64")
        for name in runners
    }
    assert len(names) == len(runners) == 5
    script = (ROOT / "install.sh").read_text(encoding="utf-8")
    assert all(
        word in script
        for word in ("linux", "macos", "windows", "x86_64", "arm64", "SHA256SUMS", "twat_fs.py")
    )


def step_output(key, folder, records) -> str:
    known = {
        "GITHUB_REF_NAME": TAG,
        "RELEASES": str(records),
        "PYTEST_ADDOPTS": "-p no:cacheprovider",
        "COVERAGE_PROCESS_START": None,  # nothing here is to be measured, and measuring is slow
    }
    done = run_step(commands(jobs())[key], folder, records, VALUES, INSTEAD, **known)
    assert done.returncode == 0, f"{key}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def publish(folder: Path) -> None:
    """Publish: the fresh clone in `clone`, GitHub's files in `releases`, outputs in `reports`."""
    clone = clone_of_this_tree(folder / "clone", TAG)
    with open(clone / ".git" / "info" / "exclude", "a") as file:
        file.write(".venv\n")
    # the very venv of these tests: making it is not the point
    os.symlink(sys.prefix, clone / ".venv")
    (clone / "dist").mkdir()
    (
        clone / "dist" / "twat_fs-0.0.9-py3-none-any.whl"
    ).touch()  # left by an earlier build: it must not be published
    records, reports = folder / "releases", folder / "reports"
    records.mkdir()
    reports.mkdir()
    (records / "gh").write_text(GH)
    (records / "gh").chmod(0o755)
    for key, step in STEPS.items():
        if step in (HERE, THERE):
            (reports / key[1]).write_text(
                step_output(key, clone if step == HERE else packages(clone, folder), records)
            )


def packages(clone: Path, folder: Path) -> Path:
    """What the job `dist` has kept."""
    index = folder / "pypi"
    (index / "dist").mkdir(parents=True)
    for pattern in ("*.whl", "*.tar.gz", "twat_fs.py", "twat-fs.1"):
        for path in (clone / "dist").glob(pattern):
            shutil.copy(path, index / "dist")
    return index


def need_programs() -> None:
    """bash runs the steps of the workflows; on Linux PyInstaller calls objdump."""
    need("bash", *(["objdump"] if sys.platform == "linux" else []))


@pytest.fixture(scope="session")
def published(tmp_path_factory):
    need_programs()
    return once(tmp_path_factory, "release-published", publish)


ASSETS = {
    "SHA256SUMS",
    "install.ps1",
    "install.sh",
    "twat-fs.1",
    binary.asset_name(),
    "twat_fs-3.0.0-py3-none-any.whl",
    "twat_fs-3.0.0.tar.gz",
    "twat_fs.py",
}


@pytest.mark.release
def test_the_tag_becomes_a_release_with_checksums(published):
    folder = published / "releases" / TAG
    assert {path.name for path in folder.iterdir()} == ASSETS
    lines = (folder / "SHA256SUMS").read_text().splitlines()
    assert [line.split("  ")[1] for line in lines] == sorted(ASSETS - {"SHA256SUMS"})
    checksums = dict(reversed(line.split("  ")) for line in lines)
    assert checksums == {
        name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in checksums
    }
    calls = (published / "releases" / "log").read_text().splitlines()
    assert [call.split()[:4] for call in calls] == [
        ["gh", "release", "create", TAG],
        ["gh", "release", "edit", TAG],
    ]
    assert "--draft --verify-tag" in calls[0] and "--prerelease" not in calls[0]


@pytest.mark.release
def test_every_asset_says_the_version_of_the_tag(published):
    folder = published / "releases" / TAG
    assert good(sys.executable, folder / "twat_fs.py", "--version") == f"twat-fs {VERSION}\n"
    folder.joinpath(binary.asset_name()).chmod(0o755)
    assert good(folder / binary.asset_name(), "--version") == f"twat-fs {VERSION}\n"
    assert (
        f"twat-fs {VERSION}\n"
        in (published / "reports" / "Install the wheel alone and run it").read_text()
    )
    assert (published / "reports" / "Check that the tree is the tag").read_text() == f"{VERSION}\n"


@pytest.mark.release
def test_pypi_gets_the_packages_and_nothing_else(published):
    assert {path.name for path in (published / "pypi" / "dist").iterdir()} == {
        name for name in ASSETS if "3.0.0" in name
    }


@pytest.mark.release
def test_releasing_leaves_the_clone_clean(published):
    assert git(published / "clone", "status", "--porcelain") == ""


class GitHub(http.server.SimpleHTTPRequestHandler):
    """/releases/latest/download/NAME leads to /releases/download/v3.0.0/NAME, which is served."""

    def do_GET(self):
        if self.path.startswith("/releases/latest/download/"):
            self.send_response(302)
            self.send_header("Location", self.path.replace("latest/download", f"download/{TAG}"))
            self.send_header("Content-Length", "0")
            self.end_headers()
        else:
            super().do_GET()

    def translate_path(self, path):
        return super().translate_path(path.replace("/releases/download/", "/"))

    def log_message(self, *args):
        """Silence."""


@pytest.fixture
def github(published):
    handler = lambda *args: GitHub(*args, directory=str(published / "releases"))  # noqa: E731
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/releases"
        server.shutdown()


@pytest.mark.release
@pytest.mark.needs("curl")
@pytest.mark.parametrize("wish", [[], ["--python"]], ids=["binary", "python"])
def test_from_the_tag_to_an_upload(github, published, box: Box, tmp_path, wish):
    """Fresh clone, tag, build, release, installer, clean HOME, and a file becomes a URL."""
    home = tmp_path / "new-home"
    home.mkdir()
    env = {"PATH": os.environ["PATH"], "HOME": str(home), "TWAT_FS_BASE_URL": github}
    target = home / ".local" / "bin"
    pipe = (
        'curl -fsSL "$TWAT_FS_BASE_URL/latest/download/install.sh"'
        ' | sh -s -- --dir "$HOME/.local/bin" "$@"'
    )
    done = subprocess.run(
        ["sh", "-c", pipe, "sh", *wish],
        env=env,
        cwd=home,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    program = target / "twat-fs"
    asset = "twat_fs.py" if wish else binary.asset_name()
    assert program.read_bytes() == (published / "releases" / TAG / asset).read_bytes()
    (home / "report.txt").write_bytes(b"all the way" * 1000)
    up = run(program, "report.txt", cwd=home, **environment(box, {"HOME": str(home)}))
    assert up.returncode == 0, up.stderr
    assert box.stored[up.stdout.strip()].read() == b"all the way" * 1000
    (seen,) = box.uploads()
    assert seen.header("User-Agent").startswith(f"twat-fs/{VERSION} ")


# tools/release.py ---------------------------------------------------------------------------------


LATER = [
    ("0.9.9", "1.0.0"),
    ("1.2.9", "1.2.10"),
    ("1.2.3a1", "1.2.3b1"),
    ("1.2.3rc9", "1.2.3rc10"),
    ("1.2.3rc1", "1.2.3"),
]


@pytest.mark.parametrize("earlier, later", LATER)
def test_versions_are_ordered_as_pypi_orders_them(earlier, later):
    assert version.sort_key(earlier) < version.sort_key(later)


CHANGELOG = """# Changelog

## [Unreleased]

- new

## [1.1.0] - 2026-02-01

### Added

- things

## [1.0.0] - 2026-01-01

- first

[1.1.0]: https://example.org/
"""


ENTRIES = [
    ("1.1.0", "### Added\n\n- things"),
    ("1.0.0", "- first"),
    ("1.1.1", ""),
    ("1.2.0rc1", "- new"),
    ("1.1", ""),
]


@pytest.mark.parametrize("entry, expected", ENTRIES)
def test_the_entry_of_a_version_is_found(entry, expected):
    assert tool.changelog_entry(CHANGELOG, entry) == expected


def test_what_is_not_released_stands_under_unreleased_and_names_the_first_version():
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert tool.changelog_entry(changelog, VERSION) == ""
    assert tool.changelog_entry(changelog, f"{VERSION}rc1").startswith(f"{VERSION} is the first")


def test_pages_and_examples_name_no_version_that_was_never_released():
    pages = ["README.md", "CHANGELOG.md", ".github/RELEASING.md", "install.sh", "install.ps1"]
    for page in pages:
        assert "0.1.0" not in (ROOT / page).read_text(encoding="utf-8"), page


SMALL = "import twat_fs\n\n\ndef test_small():\n    assert twat_fs.main(['version']) == 0\n"


@pytest.fixture
def repository(tmp_path):
    """This tree with few tests, to see whether they are run and their result is used."""
    folder = clone_of_this_tree(tmp_path / "repository")
    for path in (folder / "tests").glob("*.py"):
        path.unlink()
    (folder / "tests" / "test_small.py").write_text(SMALL)
    text = (folder / "pyproject.toml").read_text()
    (folder / "pyproject.toml").write_text(text.replace("fail_under = 95", "fail_under = 0"))
    with open(folder / ".git" / "info" / "exclude", "a") as file:
        file.write(".venv\n")
    os.symlink(sys.prefix, folder / ".venv")
    run(sys.executable, folder / "tools" / "readme.py", "--write")  # 1 if it had to
    changelog = (folder / "CHANGELOG.md").read_text(encoding="utf-8")
    release_head = f"## [Unreleased]\n\n## [{VERSION}] - 2026-12-01\n"
    (folder / "CHANGELOG.md").write_text(changelog.replace("## [Unreleased]\n", release_head))
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "Small")
    return folder


def release(folder, tag, **env):
    names = ("GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL")
    own = {**dict.fromkeys(names, "a@example.org"), "COVERAGE_FILE": str(folder / ".coverage")}
    return run(sys.executable, folder / "tools" / "dev.py", "release", tag, **own, **env)


@pytest.mark.release
def test_failing_tests_make_no_release_and_repaired_ones_a_tag_that_is_not_pushed(repository):
    before = git(ROOT, "for-each-ref")
    (repository / "tests" / "test_small.py").write_text("def test_small():\n    assert 0\n")
    commit(repository)
    done = release(repository, TAG)
    assert done.returncode == 1 and "linters or tests failed; no tag was made" in done.stderr, (
        done.stdout + done.stderr
    )
    assert git(repository, "tag", "--list") == ""

    (repository / "tests" / "test_small.py").write_text(SMALL)
    commit(repository)
    done = release(repository, TAG)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (
        "1 passed" in done.stdout and "dev.py: clean: ruff, mypy, shellcheck, zizmor" in done.stdout
    )
    assert f"git push --atomic origin main {TAG}" in done.stdout
    assert git(repository, "cat-file", "-t", TAG) == "tag"
    message = git(repository, "tag", "-l", "--format=%(contents)", TAG)
    assert message.startswith(f"twat-fs {VERSION}\n\n") and "### Added" in message
    assert git(ROOT, "for-each-ref") == before
    assert run(sys.executable, repository / "tools" / "version.py", "--expect", TAG).returncode == 0


CHANGES = (
    "import os\n\nimport twat_fs\n\n\ndef test_small():\n"
    "    assert twat_fs and os.system(os.environ['CHANGE']) == 0\n"
)


@pytest.mark.release
@pytest.mark.parametrize(
    "change", ["commit -q --allow-empty -m more", "rm -q README.md", "tag -a -m x v9.9.9"]
)
def test_what_changes_while_the_tests_run_is_not_tagged(repository, change):
    """The last one is greater: this commit is 9.9.9 then, and the workflow would refuse v3.0.0."""
    (repository / "tests" / "test_small.py").write_text(CHANGES)
    commit(repository)
    done = release(
        repository,
        TAG,
        CHANGE=f"GIT_COMMITTER_DATE=2099-01-01T00:00:00Z git -C '{repository}' {change}",
    )
    assert done.returncode == 1 and "version.py: this tree is " in done.stderr, (
        done.stdout + done.stderr
    )
    assert TAG not in git(repository, "tag", "--list").split()


@pytest.mark.release
def test_the_tag_is_made_here_also_in_a_hook_of_another_repository(repository, tmp_path):
    other = tmp_path / "other"
    git(tmp_path, "init", "-q", other)
    commit(other)
    done = release(repository, TAG, GIT_DIR=str(other / ".git"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert (git(repository, "tag", "--list"), git(other, "tag", "--list")) == (TAG, "")


def test_the_suggested_push_command_fails_if_main_has_moved_on(tmp_path):
    git(tmp_path, "init", "-q", "--bare", "origin")
    small = small_repository(tmp_path / "small")
    git(small, "remote", "add", "origin", tmp_path / "origin")
    git(small, "push", "-q", "origin", "main")
    other = tmp_path / "other"
    git(tmp_path, "clone", "-q", tmp_path / "origin", other)
    commit(other, 2)
    git(other, "push", "-q", "origin", "HEAD:main")
    commit(small)
    git(small, "tag", TAG)
    places = [ROOT / "tools" / "release.py", ROOT / ".github" / "RELEASING.md"]
    (push_arguments,) = {
        match
        for path in places
        for match in re.findall("git (push .*main) ", path.read_text(encoding="utf-8"))
    }
    assert run("git", "-C", small, *push_arguments.split(), TAG).returncode == 1
    assert git(tmp_path / "origin", "tag", "--list") == ""


def spoil(folder, change):
    if change == "branch":
        git(folder, "checkout", "-q", "-b", "other")
    if change == "dirty":
        (folder / "README.md").write_text("x")
    if change == "untracked":
        (folder / "new.py").touch()
    if change == "hidden":
        git(folder, "config", "status.showUntrackedFiles", "no")
        (folder / "new.py").touch()
    if change == "index":
        (folder / ".git" / "index").write_text("x")
    if change == "detached":
        git(folder, "checkout", "-q", "--detach")
    if change == "older":
        git(folder, "tag", "v3.2.0")
    if change == "again":
        git(folder, "tag", TAG)


@pytest.mark.parametrize(
    ("change", "tag", "sentence"),
    [
        ("branch", TAG, "releases are made from the branch main"),
        ("dirty", TAG, "the tree has changes"),
        ("untracked", TAG, "the tree has changes"),
        ("hidden", TAG, "the tree has changes"),
        ("index", TAG, "git status failed: "),
        ("detached", TAG, "releases are made from the branch main"),
        ("older", TAG, "3.0.0 is not greater than the last release, 3.2.0"),
        ("again", TAG, "3.0.0 is not greater than the last release, 3.0.0"),
        ("", "v9.9.9", "CHANGELOG.md: no section `## [9.9.9] - "),
        ("", "3.0.0", "invalid tag '3.0.0' (expected v3.0.0)"),
        ("", "v3.0.0-rc1", "invalid tag 'v3.0.0-rc1' (expected v3.0.0rc1)"),
        ("", "nightly", "invalid release tag 'nightly' (expected v1.2.3 or v1.2.3rc1)"),
    ],
)
def test_an_unready_repository_is_reported_and_not_tagged(repository, change, tag, sentence):
    spoil(repository, change)
    before = git(repository, "tag", "--list")
    done = release(repository, tag)
    assert done.returncode == 1 and sentence in done.stderr and "Traceback" not in done.stderr
    assert git(repository, "tag", "--list") == before


def test_the_release_tool_and_the_builds_read_tags_alike():
    tags = "v1.0.0\nnightly\nv1.2\nv1.1.0-rc.1\nv1.0.0.4\n"
    assert list(version.release_tags(tags).values()) == ["1.0.0", "1.1.0rc1"]
    assert version.from_tag("v1.1.0-rc.1") == "1.1.0rc1"
