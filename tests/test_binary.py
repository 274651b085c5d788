"""The frozen program, built from a fresh clone with a tag, and run on other systems' layouts."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import binary as tool
import pytest
from conftest import environment
from internet.loopback import until
from repos import ROOT, git, good, once, python, run
from test_release import need_programs, publish

import twat_fs

VERSION = "3.0.0"
needs_libpython = pytest.mark.skipif(
    sys.platform == "win32", reason="Windows' CI job builds it by tools/dev.py binary"
)


# What is decided before anything is built ---------------------------------------------------------


@pytest.mark.parametrize(
    ("system", "machine", "name"),
    [
        ("linux", "x86_64", "twat-fs-linux-x86_64"),
        ("linux", "aarch64", "twat-fs-linux-arm64"),
        ("darwin", "arm64", "twat-fs-macos-arm64"),
        ("darwin", "x86_64", "twat-fs-macos-x86_64"),
        ("win32", "AMD64", "twat-fs-windows-x86_64.exe"),
    ],
)
def test_the_binary_has_the_name_that_installers_look_for(system, machine, name):
    assert tool.asset_name(system, machine) == name


@pytest.mark.parametrize(
    ("version", "numbers"),
    [
        ("1.2.3", "(1, 2, 3, 0)"),
        ("2.5.4.post24+g6582219.d20250717", "(2, 5, 4, 24)"),
        ("0+unknown", "(0, 0, 0, 0)"),
    ],
)
def test_the_version_resource_of_windows_has_the_version(version, numbers, tmp_path):
    """PyInstaller evaluates the file as Python; its own classes exist on Windows only."""
    text = tool.windows_resource(version)
    assert text.count(f"vers={numbers}") == 2 and text.count(f"'{version}'") == 2
    names = (
        "VSVersionInfo FixedFileInfo StringFileInfo StringTable StringStruct VarFileInfo VarStruct"
    ).split()
    assert eval(text, {word: lambda *a, **k: True for word in names}) is True


NEEDED = f"""
import sys
class Wall:
    def find_spec(self, name, path=None, target=None):
        if name in {{excluded}} or name.partition(".")[0] in {{excluded}}:
            raise ImportError("excluded: " + name)
sys.meta_path.insert(0, Wall())
for name in [name for name in sys.modules if name in {{excluded}}]:
    del sys.modules[name]
sys.path.insert(0, {str(ROOT)!r})
for name in {{modules}}:
    __import__(name)
import twat_fs
sys.exit(twat_fs.main(sys.argv[1:]))
"""


@pytest.mark.parametrize(
    "command", ["--help", "list", "status", "FILE --json -v", "-p s3 FILE --dry-run"]
)
def test_what_the_binary_leaves_out_is_not_needed(command, box, tmp_path):
    tree = ast.parse((ROOT / "twat_fs.py").read_text(encoding="utf-8"))
    (branch,) = [
        node
        for node in tree.body
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    ]
    imports = [node for node in branch.body if isinstance(node, ast.Import)]
    names = [alias.name for node in imports for alias in node.names]
    modules = [name for name in names if importlib.util.find_spec(name)]  # not msvcrt on Linux
    assert {"ssl", "http.client", "urllib.request"} <= set(modules)
    (tmp_path / "a.txt").write_text("some words")
    code = NEEDED.format(excluded=set(tool.excluded("linux")), modules=modules)
    argv = [str(tmp_path / "a.txt") if word == "FILE" else word for word in command.split()]
    done = run(sys.executable, "-I", "-S", "-c", code, *argv, **environment(box, {}))
    assert "excluded" not in done.stderr and "Traceback" not in done.stderr, done.stderr
    assert done.returncode == (5 if "s3" in command else 0), done.stderr


def test_an_excluded_module_would_have_been_missed():
    code = NEEDED.format(excluded={"json"}, modules=["json"])
    assert "excluded: json" in run(sys.executable, "-I", "-S", "-c", code, "list").stderr


@pytest.mark.skipif(sys.platform == "win32", reason="the programs here are shell scripts")
def test_a_binary_with_another_version_or_that_uploads_nothing_is_refused(tmp_path):
    fake = tmp_path / "fake"
    fake.write_text("#!/bin/sh\necho twat-fs 1.2.3\n")
    fake.chmod(0o755)
    assert tool.start_time(fake, "1.2.3", 3) > 0
    with pytest.raises(
        SystemExit, match=r"wrong version: 'twat-fs 1\.2\.3\\n', expected 'twat-fs 1\.2\.4'"
    ):
        tool.start_time(fake, "1.2.4")
    with pytest.raises(SystemExit, match="upload failed: "):
        tool.check_upload(fake, tmp_path)


@pytest.mark.skipif(sys.platform == "win32", reason="the program here is a shell script")
def test_the_bare_program_would_pass_the_same_upload(tmp_path):
    fake = tmp_path / "bare"
    fake.write_text(f'#!/bin/sh\nexec {sys.executable} {ROOT / "twat_fs.py"} "$@"\n')
    fake.chmod(0o755)
    tool.check_upload(fake, tmp_path)


# Where a frozen OpenSSL finds certificates --------------------------------------------------------


@pytest.fixture
def frozen(monkeypatch, tmp_path):
    """This process believes that it is frozen; the bundles of the systems are under `tmp_path`."""
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    monkeypatch.setattr(
        twat_fs, "BUNDLES", tuple(str(tmp_path / path[1:]) for path in twat_fs.BUNDLES)
    )
    return twat_fs.BUNDLES


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has a store of its own")
@pytest.mark.parametrize("number", range(len(twat_fs.BUNDLES)))
def test_the_bundle_of_this_system_is_trusted(frozen, box, number):
    os.makedirs(os.path.dirname(frozen[number]))
    shutil.copy(box.ca, frozen[number])
    assert twat_fs.system_ca_bundle() == frozen[number]
    assert twat_fs.tls_context(None, False).cert_store_stats()["x509_ca"] == 1


def test_a_setting_of_the_user_and_an_unfrozen_program_leave_it_to_openssl(frozen, monkeypatch):
    os.makedirs(os.path.dirname(frozen[0]))
    Path(frozen[0]).touch()
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        with monkeypatch.context() as patch:
            patch.setenv(name, "/nowhere")
            assert twat_fs.system_ca_bundle() is None
    monkeypatch.delattr(sys, "frozen")
    assert twat_fs.system_ca_bundle() is None


# The real one -------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def release_dir(tmp_path_factory):
    """The release of test_release.py: `clone` has the binary, `reports` the output of the tool."""
    need_programs()
    return once(tmp_path_factory, "release-published", publish)


@pytest.fixture
def program(release_dir):
    return release_dir / "clone" / "dist" / tool.asset_name()


@pytest.mark.release
@needs_libpython
def test_it_says_exactly_its_version_and_how_large_and_quick_it_is(release_dir, program):
    assert good(program, "--version") == f"twat-fs {VERSION}\n"
    report = (release_dir / "reports" / "Build the binary").read_text()
    assert f"{program.name} {VERSION}, built with Python" in report
    size = re.search(r"size +([0-9.]+) MB  goal 7 MB   (ok|MISSED)\n", report)
    assert float(size.group(1)) == round(program.stat().st_size / 1e6, 2)
    assert re.search(r"start +[0-9.]+ s   goal 0.12 s  (ok|MISSED)\n", report)
    assert size.group(2) == "ok" or sys.platform != "linux"


@pytest.mark.release
@needs_libpython
def test_it_uploads_over_https_and_proves_the_link(program, box, tmp_path):
    (tmp_path / "café.txt").write_bytes(b"frozen" * 999)
    done = run(program, tmp_path / "café.txt", "--json", **environment(box, {"PATH": None}))
    assert done.returncode == 0, done.stderr
    (seen,) = box.uploads()
    assert '"verified": "full"' in done.stdout and seen.tunnel.tls
    assert [stored.read() for stored in box.stored.values()] == [b"frozen" * 999]


@pytest.mark.release
@needs_libpython
def test_it_unpacks_into_tmpdir_in_the_space_that_the_readme_names(program, tmp_path):
    temp = tmp_path / "temp"
    temp.mkdir()
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen([program], env={"TMPDIR": str(temp)}, **pipes) as process:
        until(lambda: list(temp.glob("*/base_library.zip")))  # it waits for standard input
        time.sleep(0.5)
        size = sum(path.stat().st_size for path in temp.rglob("*") if path.is_file())
        process.kill()
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (promised,) = re.findall(r"`TMPDIR`.*?needs about ([0-9]+) MB", readme, re.S)
    assert 0.8 < size / 1e6 / int(promised) < 1.2 or sys.platform != "linux"


@pytest.mark.release
@needs_libpython
@pytest.mark.parametrize(
    "command",
    ["--help", "list", "status", "serve --help", "completion bash", "-p s3 FILE --dry-run"],
)
def test_every_command_works_in_it(program, command, tmp_path):
    (tmp_path / "FILE").write_text("x")
    done = run(program, *command.split(), cwd=tmp_path)
    assert done.returncode in (0, 5) and "Traceback" not in done.stderr and done.stdout


@pytest.mark.release
@needs_libpython
@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c_ends_it_by_the_signal_without_a_traceback(program, box, tmp_path, times):
    """The boot loader forwards each signal of the terminal, so the program receives it twice."""
    (tmp_path / "a.bin").write_bytes(b"x" * 300_000)
    process = subprocess.Popen(
        [program, "--limit-rate", "10k", "-p", "catbox", "a.bin"],
        cwd=tmp_path,
        env=environment(box, {}),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    until(box.uploads)
    for _ in range(times):
        os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert (process.returncode, out) == (-signal.SIGINT, b"")
    assert err == b"twat-fs: interrupted; not uploaded: a.bin\n"
    assert not box.stored


@pytest.mark.release
@needs_libpython
def test_the_same_commit_makes_the_same_bytes_in_another_folder(program, release_dir, tmp_path):
    git(tmp_path, "clone", "-q", release_dir / "clone", tmp_path / "elsewhere")
    python(
        tmp_path / "elsewhere" / "tools" / "binary.py",
        "--out",
        tmp_path / "out",
        COVERAGE_PROCESS_START=None,
    )
    again = tmp_path / "out" / program.name
    assert (
        hashlib.sha256(again.read_bytes()).digest() == hashlib.sha256(program.read_bytes()).digest()
    )


ELSEWHERE = """set -e
mount -t tmpfs tmpfs "$1"
mkdir "$1/upper" "$1/work"
mount -t overlay overlay -o "lowerdir=/etc,upperdir=$1/upper,workdir=$1/work" /etc
rm -rf /etc/ssl /etc/pki
mkdir -p "$(dirname "$2")"
cp "$3" "$2"
exec "$4" "$5"
"""
as_root = pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0,
    reason="only root on Linux can give the program another /etc",
)


@pytest.mark.release
@as_root
@pytest.mark.parametrize("bundle", [*twat_fs.BUNDLES, "/etc/nowhere.pem"])
def test_it_finds_the_certificates_of_other_systems(program, box, tmp_path, bundle):
    """The box's authority stands only where that system keeps its own: no SSL_CERT_FILE."""
    (tmp_path / "a.txt").write_text("some words")
    layers = tmp_path / "layers"
    layers.mkdir()
    argv = [
        "unshare",
        "--mount",
        "sh",
        "-c",
        ELSEWHERE,
        "sh",
        layers,
        bundle,
        box.ca,
        program,
        tmp_path / "a.txt",
    ]
    done = subprocess.run(
        [*map(str, argv)],
        env=environment(box, {"SSL_CERT_FILE": None}),
        capture_output=True,
        text=True,
    )
    if bundle in twat_fs.BUNDLES:
        assert done.returncode == 0 and done.stdout.startswith("https://"), done.stderr
    else:
        assert done.returncode == 1 and "certificate" in done.stderr, (
            "and where there are none, nothing is trusted"
        )
