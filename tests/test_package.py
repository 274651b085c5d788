"""The packages as users get them: built from a fresh clone with a tag, by every installer.

Everything here starts from one clone of this tree, tagged v3.0.0, and from its wheel and sdist,
made once.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from needs import lacks
from repos import NETWORK, ROOT, clone_of_this_tree, git, good, once, python, run
from test_style import old_python

pytestmark = pytest.mark.release
VERSION, TAG = "3.0.0", "v3.0.0"
BIN = Path(sys.executable).parent  # pip, uv and pipx are among the development packages
WHEEL = [
    "twat_fs-3.0.0.dist-info/METADATA",
    "twat_fs-3.0.0.dist-info/RECORD",
    "twat_fs-3.0.0.dist-info/WHEEL",
    "twat_fs-3.0.0.dist-info/entry_points.txt",
    "twat_fs-3.0.0.dist-info/licenses/LICENSE",
    "twat_fs.py",
]


@pytest.fixture(scope="session")
def clone(tmp_path_factory):
    return once(tmp_path_factory, "package-clone", lambda folder: clone_of_this_tree(folder, TAG))


@pytest.fixture(scope="session")
def dist(clone, tmp_path_factory):
    """The folder that `tools/dev.py build` fills, with `python -m build` in a clean environment."""
    make = lambda folder: python("-m", "build", "--outdir", folder, clone, **NETWORK)  # noqa: E731
    return once(tmp_path_factory, "package-dist", make)


@pytest.fixture(scope="session")
def shelf(tmp_path_factory):
    """The build backend, downloaded once: later builds need no index."""

    def make(folder):
        return python(
            "-m", "pip", "download", "-q", "-d", folder, "hatchling>=1.27", "editables", **NETWORK
        )

    return once(tmp_path_factory, "package-shelf", make)


@pytest.fixture
def wheel(dist):
    return dist / "twat_fs-3.0.0-py3-none-any.whl"


@pytest.fixture
def venv(tmp_path):
    """A venv with nothing in it."""
    folder = tmp_path / "venv"
    python("-m", "venv", "--without-pip", folder)
    return folder


@pytest.fixture
def pip(venv, shelf):
    """pip for that venv, whose builds take the backend from the shelf."""
    alone = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(shelf), "PIP_CONFIG_FILE": os.devnull}
    return lambda *args, **env: python(
        "-m", "pip", "--python", venv, "install", "-q", *args, **{**alone, **env}
    )


def sha256(path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


# What is in them ----------------------------------------------------------------------------------


def test_the_wheel_is_the_program_and_its_papers_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        assert sorted(archive.namelist()) == WHEEL
        source = archive.read("twat_fs.py").decode()
        metadata = (
            archive.read("twat_fs-3.0.0.dist-info/METADATA").decode().split("\n\n")[0].splitlines()
        )
        entries = archive.read("twat_fs-3.0.0.dist-info/entry_points.txt").decode().split()
    assert source.count(f'\n__version__ = "{VERSION}"') == 1
    assert source.replace(f'__version__ = "{VERSION}"', '__version__ = "0+unknown"') == (
        ROOT / "twat_fs.py"
    ).read_text("utf-8")
    assert {
        "Name: twat-fs",
        f"Version: {VERSION}",
        "License-Expression: MIT",
        "Requires-Python: >=3.9",
    } <= set(metadata)
    assert not [line for line in metadata if line.startswith("Requires-Dist")]
    assert " ".join(entries) == (
        "[console_scripts] file2url = twat_fs:console_main twat-fs = twat_fs:console_main"
        " [twat.plugins] fs = twat_fs"
    )


def test_an_unpacked_sdist_builds_the_same_wheel_without_git(dist, wheel, tmp_path):
    good("tar", "-xf", dist / "twat_fs-3.0.0.tar.gz", "-C", tmp_path)
    empty = tmp_path / "bin"
    empty.mkdir()
    python(
        "-m",
        "build",
        "-n",
        "-w",
        "-o",
        tmp_path / "out",
        tmp_path / "twat_fs-3.0.0",
        PATH=str(empty),
    )
    assert sha256(tmp_path / "out" / wheel.name) == sha256(wheel)


def test_another_folder_hour_and_umask_make_the_same_bytes(dist, clone, tmp_path):
    copy = tmp_path / "elsewhere" / "clone"
    copy.parent.mkdir()
    before = os.umask(0o077)
    try:
        git(tmp_path, "clone", "-q", clone, copy)
        for path in copy.glob("*.*"):
            os.utime(path, (10**9, 10**9))
        python("-m", "build", "-n", "-o", tmp_path / "sdist", "-s", copy)
        # from the tree, not from the sdist
        python("-m", "build", "-n", "-o", tmp_path / "wheel", "-w", copy)
    finally:
        os.umask(before)
    made = [
        tmp_path / "sdist" / "twat_fs-3.0.0.tar.gz",
        tmp_path / "wheel" / "twat_fs-3.0.0-py3-none-any.whl",
    ]
    assert [sha256(path) for path in made] == [sha256(dist / path.name) for path in made]


def test_building_leaves_the_tree_as_it_was(dist, clone):
    assert git(clone, "status", "--porcelain", "--ignored") in ("", "!! tools/__pycache__/")


# Installing ---------------------------------------------------------------------------------------


def says_its_version(venv, version=VERSION):
    for program in (
        "twat-fs --version",
        "twat-fs version",
        "file2url --version",
        "python -m twat_fs version",
    ):
        command, *rest = program.split()
        assert good(venv / "bin" / command, *rest, cwd=venv) == f"twat-fs {version}\n"


def test_the_wheel_installs_without_any_index(wheel, venv, pip):
    pip(wheel)
    says_its_version(venv)


@pytest.mark.parametrize("what", ["{}", "git+file://{}"], ids=["folder", "git"])
def test_pip_installs_from_sources(what, clone, venv, pip):
    pip(what.format(clone))
    says_its_version(venv)


def test_an_editable_install_is_the_tree_and_says_so(clone, venv, pip):
    pip("-e", clone)
    says_its_version(venv, f"0+unknown (git {TAG})")
    location = good(
        venv / "bin" / "python",
        "-c",
        "import twat_fs; print(twat_fs.__file__, twat_fs.__version__)",
        cwd=venv,
    )
    assert location == f"{clone / 'twat_fs.py'} 0+unknown\n"


@pytest.fixture
def alone(tmp_path, shelf):
    """uv, also for pipx: this Python, no index, and a cache without builds of other tests."""
    own = {
        "UV_CACHE_DIR": str(tmp_path / "uv"),
        "UV_PYTHON": sys.executable,
        "UV_PYTHON_DOWNLOADS": "never",
    }
    return {
        **own,
        "UV_OFFLINE": "1",
        "UV_FIND_LINKS": str(shelf),
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(shelf),
    }


@pytest.fixture
def uv(tmp_path, alone):
    return lambda *args, **more: good(BIN / "uv", *args, **{**alone, "cwd": tmp_path, **more})


@pytest.mark.parametrize("what", ["{clone}", "git+file://{clone}@v3.0.0"], ids=["folder", "git"])
def test_uv_runs_it_from_sources(uv, clone, what):
    assert (
        uv("tool", "run", "--from", what.format(clone=clone), "twat-fs", "--version")
        == f"twat-fs {VERSION}\n"
    )


def test_uv_installs_the_wheel_as_a_tool(uv, wheel, tmp_path):
    uv(
        "tool",
        "install",
        "--offline",
        wheel,
        UV_TOOL_DIR=str(tmp_path / "tools"),
        UV_TOOL_BIN_DIR=str(tmp_path / "bin"),
    )
    assert good(tmp_path / "bin" / "file2url", "--version") == f"twat-fs {VERSION}\n"


def test_an_sdist_can_be_installed(uv, dist, venv):
    uv("pip", "install", "--python", venv, dist / "twat_fs-3.0.0.tar.gz")
    says_its_version(venv)


def test_an_archive_of_the_tag_can_be_installed(uv, clone, venv, tmp_path):
    """What GitHub offers as "Source code (zip)"."""
    git(clone, "archive", "--prefix=twat-fs-3.0.0/", "-o", tmp_path / "archive.zip", TAG)
    uv("pip", "install", "--python", venv, tmp_path / "archive.zip")
    says_its_version(venv)


@pytest.fixture
def pipx(tmp_path, alone):
    places = {"PIPX_HOME": str(tmp_path / "pipx"), "PIPX_BIN_DIR": str(tmp_path / "bin")}
    env = {**alone, **places, "PIPX_DEFAULT_PYTHON": sys.executable, "cwd": tmp_path}
    return lambda *args, **more: good(BIN / "pipx", *args, **{**env, **more})


def test_pipx_installs_it(pipx, clone, tmp_path):
    pipx("install", clone)
    assert good(tmp_path / "bin" / "twat-fs", "--version") == f"twat-fs {VERSION}\n"


def test_pipx_runs_it_by_its_name_as_the_readme_says(pipx, wheel):
    """`pipx run URL` cannot work: it passes the program as one argument, of at most 128 KiB."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "pipx run twat-fs FILE" in readme and "pipx run URL" not in readme
    offline = {"PIP_FIND_LINKS": str(wheel.parent), "UV_FIND_LINKS": str(wheel.parent)}
    assert pipx("run", "twat-fs", "--version", **offline) == f"twat-fs {VERSION}\n"


as_root = pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can give files away"
)


@as_root
def test_a_repository_of_another_user_stops_a_build(clone, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(clone, copy, symlinks=True)
    for path in [copy, *copy.rglob("*")]:
        os.chown(path, 12345, 12345, follow_symlinks=False)
    command = [sys.executable, "-m", "build", "-n", "-w", "-o", tmp_path / "out", copy]
    done = run(*command, SUDO_UID=None)
    assert done.returncode != 0
    assert "detected dubious ownership" in done.stdout + done.stderr
    assert not list(tmp_path.glob("out/*.whl"))
    good(*command, SUDO_UID=None, TWAT_FS_BUILD_VERSION="7.8.9")
    assert [path.name for path in tmp_path.glob("out/*.whl")] == ["twat_fs-7.8.9-py3-none-any.whl"]


@pytest.mark.parametrize("tool", ["uv", "pipx"])
def test_the_bare_file_runs_under_uv_and_pipx_without_a_network(request, tool, tmp_path):
    """Its first lines tell them which Python it needs (PEP 723)."""
    copy = shutil.copy(ROOT / "twat_fs.py", tmp_path)
    offline = {"UV_OFFLINE": "1", "PIP_NO_INDEX": "1"}
    assert (
        request.getfixturevalue(tool)("run", copy, "--version", **offline) == "twat-fs 0+unknown\n"
    )
    assert not list(tmp_path.glob("uv.lock")) and not list(tmp_path.glob(".venv"))


def test_the_real_twat_finds_its_plugin(uv, wheel, venv):
    uv("pip", "install", "--python", venv, "twat", wheel, **{"UV_OFFLINE": None, **NETWORK})
    assert good(venv / "bin" / "twat", "fs", "version") == f"twat-fs {VERSION}\n"
    assert (
        subprocess.run([venv / "bin" / "twat", "fs", "nofile"], capture_output=True).returncode == 6
    )
    assert (
        good(venv / "bin" / "python", "-c", "import twat; print(twat.fs.upload_file.__name__)")
        == "upload_file\n"
    )


@pytest.mark.parametrize("version", ["3.6", "3.7", "3.8"])
def test_pip_of_an_old_python_refuses_it(version, wheel, tmp_path):
    old = old_python(version) or lacks([f"Python {version}"])
    done = run(old, "-m", "pip", "install", "--no-index", "--target", tmp_path / "t", wheel)
    assert done.returncode != 0
    assert re.search("requires (a different )?Python", done.stderr)


# The bare file says what git says, when asked -----------------------------------------------------


@pytest.fixture
def checkout(clone, tmp_path):
    folder = tmp_path / "checkout"
    git(tmp_path, "clone", "-q", clone, folder)
    return folder


def version_of(folder, **env) -> str:
    return python(folder / "twat_fs.py", "--version", cwd=folder.parent, **env).strip()


def test_a_checkout_says_what_git_says(checkout, tmp_path):
    assert version_of(checkout) == f"twat-fs 0+unknown (git {TAG})"
    (checkout / "README.md").write_text("changed")
    assert version_of(checkout) == f"twat-fs 0+unknown (git {TAG}-dirty)"
    git(checkout, "commit", "-q", "-a", "-m", "x")
    assert (
        version_of(checkout)
        == f"twat-fs 0+unknown (git {TAG}-1-g{git(checkout, 'rev-parse', '--short', 'HEAD')})"
    )
    other = {"GIT_DIR": str(ROOT / ".git"), "GIT_WORK_TREE": str(ROOT)}
    assert version_of(checkout, **other).startswith(f"twat-fs 0+unknown (git {TAG}-1-g")


def test_no_git_and_somebody_elses_repository_are_not_mentioned(checkout, tmp_path):
    (tmp_path / "bin").mkdir()
    assert version_of(checkout, PATH=str(tmp_path / "bin")) == "twat-fs 0+unknown"
    shutil.rmtree(checkout / "tools")
    assert version_of(checkout) == "twat-fs 0+unknown"


def test_a_built_program_never_asks_git(checkout):
    assert (
        python(checkout / "tools" / "version.py", "--write", checkout / "twat_fs.py")
        == f"{VERSION}\n"
    )
    assert version_of(checkout) == f"twat-fs {VERSION}"


def test_importing_contacts_no_host(checkout):
    spy = (
        "import sys;"
        " sys.addaudithook(lambda event, args: event == 'subprocess.Popen' and print(args));"
        " import twat_fs"
    )
    assert python("-c", spy, cwd=checkout) == ""
    assert "git" in python("-c", f"{spy}; twat_fs.main(['--version'])", cwd=checkout), (
        "the spy would have seen it"
    )


def test_the_module_is_found_by_name_in_a_checkout(checkout):
    output = subprocess.check_output(
        [sys.executable, "-m", "twat_fs", "version"], cwd=checkout, text=True
    )
    assert output == f"twat-fs 0+unknown (git {TAG})\n"
