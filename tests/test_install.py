"""The installers, without a network: a release on loopback, every shell here, and failures.

Chapters: 1 The release, 2 The machine, 3 Running install.sh, 4 What is installed, 5 Which file
fits, 6 What goes wrong, 7 Downloading and checking, 8 Where it goes, 9 The text of install.ps1, 10
Running install.ps1.

The fakes of chapter 2 stand for machines that are not here. The shells, the download programs and
the hash programs are the real ones.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shlex
import shutil
import signal
import ssl
import subprocess
import sys
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Dict, List

import pytest
import trustme
from conftest import PROGRAM, kill_group
from internet.loopback import closed_port, until
from needs import need

pytestmark = pytest.mark.one_python
ROOT = Path(__file__).resolve().parent.parent
SCRIPT = (ROOT / "install.sh").read_bytes()
WINDOWS_SCRIPT = ROOT / "install.ps1"
LINUX, WINDOWS = sys.platform.startswith("linux"), os.name == "nt"

posix_only = pytest.mark.skipif(WINDOWS, reason="install.sh is for POSIX systems")
linux_only = pytest.mark.skipif(not LINUX, reason="only Linux has these tools")
windows_only = pytest.mark.skipif(not WINDOWS, reason="install.ps1 runs on Windows, in CI")

# 1 The release ------------------------------------------------------------------------------------

OLD = b"#!/bin/sh\necho twat-fs 1.0.0, half wri"
BINARIES = [
    f"twat-fs-{system}-{cpu}" for system in ("linux", "macos") for cpu in ("arm64", "x86_64")
]
WINDOWS_BINARY = "twat-fs-windows-x86_64.exe"


def shell_program(version: str, note: str = "") -> bytes:
    """What stands for a binary: it answers as one does, and is as long as some data."""
    return f"#!/bin/sh\necho 'twat-fs {version}'\n# {note}\n# {'x' * 60_000}\n".encode()


def python_program(version: str) -> bytes:
    return f"#!/usr/bin/env python3\nprint('twat-fs {version}')\n".encode()


def files_of(version: str) -> Dict[str, bytes]:
    binaries = {name: shell_program(version, name) for name in [*BINARIES, WINDOWS_BINARY]}
    return {**binaries, "twat_fs.py": python_program(version)}


class Release:
    """Releases as GitHub serves them: each download is a redirect, and can fail there.

    `faults` says what happens to a file: "missing", "cut", "wrong", "page", "slow", "stuck", "busy"
    (the first time) or "plain" (a redirect from https to http).
    """

    def __init__(self, tls=None):
        release = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                release.answer(self)

            def log_message(self, *args):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        if tls:
            self.server.socket = tls.wrap_socket(self.server.socket, server_side=True)
        self.url = f"{'https' if tls else 'http'}://localhost:{self.server.server_address[1]}"
        self.reset()
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def reset(self):
        self.asked: List[str] = []
        self.faults: Dict[str, str] = {}
        self.go_on = threading.Event()
        new, old = files_of("2.0.1"), files_of("1.2.3")
        self.folders = {
            "latest/download": new,
            "download/v2.0.1": new,
            "download/v1.2.3": old,
            "download/v2.0.2rc1": new,
        }
        self.plain = ""

    @property
    def newest(self) -> Dict[str, bytes]:
        return self.folders["latest/download"]

    def close(self):
        self.go_on.set()
        self.server.shutdown()
        self.server.server_close()

    def answer(self, talk):
        path, stored = talk.path[1:], talk.path.startswith("/stored/")
        folder, _, name = (path[len("stored/") :] if stored else path).rpartition("/")
        if not stored:
            self.asked.append(path)
        fault = self.faults.get(name, "")
        data = self.content(folder, name)
        if data is None or (fault == "missing" and stored):
            talk.send_error(404)
        elif stored and fault == "busy":
            del self.faults[name]
            talk.send_error(503)
        elif stored:
            self.give(talk, data, fault)
        else:
            talk.send_response(302)
            talk.send_header(
                "Location", f"{self.plain if fault == 'plain' else self.url}/stored/{path}"
            )
            talk.end_headers()

    def content(self, folder, name):
        files = self.folders.get(folder, {})
        if files and name == "SHA256SUMS":
            return "".join(
                f"{hashlib.sha256(files[name]).hexdigest()}  {name}\n" for name in sorted(files)
            ).encode()
        return files.get(name)

    def give(self, talk, data, fault):
        if fault == "page":
            data = b"<html>Please log in to the Wi-Fi of this hotel.\n</html>\n"
        if fault == "wrong":
            data = data.replace(b"echo", b"evil").replace(b"print", b"evil!")
        talk.send_response(200)
        talk.send_header("Content-Length", str(len(data)))
        talk.end_headers()
        with contextlib.suppress(OSError):
            talk.wfile.write(data[: len(data) // 2] if fault in ("cut", "slow", "stuck") else data)
            talk.wfile.flush()
            if fault in ("slow", "stuck"):
                self.go_on.wait(0.4 if fault == "slow" else 60)
                talk.wfile.write(data[len(data) // 2 :])


@pytest.fixture(scope="module")
def one_release():
    made = Release()
    yield made
    made.close()


@pytest.fixture
def release(one_release):
    one_release.reset()
    yield one_release
    one_release.go_on.set()


@pytest.fixture
def secure_release(tmp_path):
    """A release served over TLS, and the environment in which curl and wget trust it."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("ALL:@SECLEVEL=0")  # the TLS in busybox knows only old ones
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    (tmp_path / "wgetrc").write_text(f"ca_certificate = {tmp_path / 'ca.pem'}\n")
    made = Release(context)
    made.trust = {"CURL_CA_BUNDLE": str(tmp_path / "ca.pem"), "WGETRC": str(tmp_path / "wgetrc")}
    yield made
    made.close()


# 2 The machine ------------------------------------------------------------------------------------

HASH = "sha256sum" if LINUX else "shasum"
# what install.sh needs, and nothing but these
TOOLS = "chmod mkdir mktemp mv printf rm sed tail".split()
MACHINE = {
    "uname": "case $1 in -s) echo Linux ;; -m) echo x86_64 ;; -o) echo GNU/Linux ;; esac",
    "ldd": "echo 'ldd (GNU libc) 2.36'",
    "getconf": "echo 64",
    "id": "echo 1000",
    "python3": f'exec {shlex.quote(sys.executable)} "$@"',
}


def tool(name: str) -> str:
    """The path of the real one."""
    return need(name)


def machine(folder: Path, tools: str = f"curl {HASH}", **fakes) -> Path:
    """A folder for PATH that models a machine: basic tools, these tools, fakes (None: none)."""
    folder.mkdir()
    for name in [*TOOLS, "cat", "env", "grep", "sh", "sleep", *tools.split()]:
        (folder / name).symlink_to(tool(name))
    for name, text in {**MACHINE, **fakes}.items():
        if text is not None:
            fake(folder / name, text)
    return folder


def fake(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


@pytest.fixture
def here(tmp_path):
    """The usual machine: Linux on x86-64 with glibc, curl and sha256sum."""
    return machine(tmp_path / "path")


# 3 Running install.sh -----------------------------------------------------------------------------

SHELLS = ["dash", "bash", "bash --posix", "busybox sh", "mksh", "yash", "zsh --emulate sh", "zsh"]
if not LINUX:
    SHELLS = ["sh", "dash", "bash", "bash --posix", "zsh --emulate sh", "zsh"]  # those of macOS
every_shell = pytest.mark.parametrize("shell", SHELLS)


# Not for what these two know better: zsh gives itself a HOME, and busybox its own `id`, `wget` and
# `sha256sum`.
modest_shell = pytest.mark.parametrize(
    "shell", [shell for shell in SHELLS if shell not in ("zsh", "busybox sh")]
)


def words_of(shell: str) -> List[str]:
    program, *options = shell.split()
    return [tool(program), *options]


@pytest.fixture
def target(tmp_path):
    return tmp_path / "a folder" / "bin"


@pytest.fixture
def environment(release, here, target):
    return {
        "PATH": str(here),
        "HOME": os.environ["HOME"],
        "TWAT_FS_BASE_URL": release.url,
        "TWAT_FS_INSTALL_DIR": str(target),
        "LC_ALL": "C.UTF-8" if LINUX else "en_US.UTF-8",
    }


@pytest.fixture
def install(environment, tmp_path):
    """Pipe install.sh into a shell: `install("--python", shell="mksh", PATH=...)`; None unsets."""

    def run(*options, shell="dash", script=SCRIPT, prefix=(), cwd=None, **variables):
        merged = {
            **environment,
            **{name: value and str(value) for name, value in variables.items()},
        }
        env = {name: value for name, value in merged.items() if value is not None}
        argv = [*prefix, *words_of(shell), "-s", "--", *map(str, options)]
        done = subprocess.run(
            argv, input=script, env=env, cwd=cwd or tmp_path, capture_output=True, timeout=60
        )
        done.stdout, done.stderr = done.stdout.decode(), done.stderr.decode()
        return done

    return run


def inside(folder: Path) -> List[str]:
    return sorted(os.listdir(folder)) if folder.exists() else []


def refused(done, sentence: str, code: int = 1) -> None:
    """It ended with this one sentence and nothing else on stderr."""
    assert (done.returncode, len(done.stderr.splitlines())) == (code, 1), done.stderr
    assert done.stderr.startswith("install.sh: ")
    assert re.search(sentence, done.stderr), done.stderr


def answer(program: Path) -> str:
    env = {"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin"}
    return subprocess.run(
        [program, "--version"], env=env, capture_output=True, text=True, check=True
    ).stdout.strip()


# 4 What is installed ------------------------------------------------------------------------------


@posix_only
@every_shell
def test_the_newest_binary_is_put_into_a_new_folder(install, release, target, shell):
    done = install(shell=shell)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[1] == f"install.sh: installed twat-fs 2.0.1 as {target}/twat-fs"
    assert inside(target) == ["twat-fs"]
    assert (target / "twat-fs").stat().st_mode & 0o777 == 0o755
    assert release.asked[0] == "latest/download/SHA256SUMS"
    assert len(release.asked) == 2
    assert (target / "twat-fs").read_bytes() == release.newest[Path(release.asked[1]).name]


@posix_only
@every_shell
def test_the_python_file_is_taken_when_asked_for(install, target, shell):
    done = install("--python", shell=shell)
    assert (done.returncode, done.stderr) == (0, "")
    assert inside(target) == ["twat-fs"]
    assert (target / "twat-fs").read_bytes() == python_program("2.0.1")
    assert answer(target / "twat-fs") == "twat-fs 2.0.1"


@posix_only
@every_shell
def test_a_half_written_file_of_before_is_replaced(install, target, shell):
    target.mkdir(parents=True)
    (target / "twat-fs").write_bytes(OLD)
    done = install(shell=shell)
    assert (done.returncode, done.stderr) == (0, "")
    assert answer(target / "twat-fs") == "twat-fs 2.0.1"
    assert inside(target) == ["twat-fs"]


@linux_only
@every_shell
def test_a_program_that_runs_is_replaced_and_runs_on(install, target, shell):
    target.mkdir(parents=True)
    shutil.copy(tool("sleep"), target / "twat-fs")
    with subprocess.Popen([target / "twat-fs", "60"]) as running:
        done = install(shell=shell)
        still = running.poll()
        running.kill()
    assert (done.returncode, done.stderr, still) == (0, "", None)
    assert answer(target / "twat-fs") == "twat-fs 2.0.1"


@posix_only
@every_shell
def test_a_link_of_before_is_replaced_and_what_it_led_to_stays(install, target, tmp_path, shell):
    (tmp_path / "other").write_bytes(OLD)
    target.mkdir(parents=True)
    (target / "twat-fs").symlink_to(tmp_path / "other")
    assert install(shell=shell).returncode == 0
    assert (tmp_path / "other").read_bytes() == OLD
    assert not (target / "twat-fs").is_symlink()


@posix_only
@every_shell
def test_uninstalling_deletes_the_program_and_nothing_else(install, release, target, shell):
    install(shell=shell)
    (target / "other").touch()
    release.asked.clear()
    done = install("--uninstall", shell=shell)
    assert (done.returncode, done.stderr, inside(target)) == (0, "", ["other"])
    assert f"deleted {target}/twat-fs\n" in done.stdout
    assert release.asked == []
    refused(install("--uninstall", shell=shell), f"twat-fs not found in {target}")
    (target / "twat-fs").symlink_to("nowhere")
    assert install("--uninstall", shell=shell).returncode == 0
    assert inside(target) == ["other"]


@posix_only
@every_shell
def test_the_script_may_also_be_a_file_and_standard_input_is_left_alone(
    environment, release, target, tmp_path, shell
):
    greedy = dict.fromkeys(BINARIES, b"#!/bin/sh\ncat >/dev/null\necho twat-fs 1.2.3\n")
    release.folders["download/v1.2.3"].update(greedy)
    (tmp_path / "install.sh").write_bytes(SCRIPT)
    argv = [*words_of(shell), str(tmp_path / "install.sh"), "--version=1.2.3"]
    read, write = os.pipe()
    os.write(write, b"for somebody else")
    os.close(write)
    done = subprocess.run(argv, stdin=read, env=environment, capture_output=True, text=True)
    left = os.read(read, 100)
    os.close(read)
    assert (done.returncode, done.stderr, left) == (0, "", b"for somebody else")
    assert answer(target / "twat-fs") == "twat-fs 1.2.3"


@posix_only
@every_shell
@pytest.mark.parametrize("option", ["--help", "-h"])
def test_help_tells_every_option_and_variable(install, release, target, shell, option):
    done = install(option, shell=shell)
    assert (done.returncode, done.stderr, release.asked, inside(target)) == (0, "", [], [])
    wanted = "--version --dir --python --uninstall --help"
    wanted += " TWAT_FS_VERSION TWAT_FS_INSTALL_DIR TWAT_FS_BASE_URL"
    assert [word for word in wanted.split() if word not in done.stdout] == []


@posix_only
def test_the_address_of_the_releases_may_end_with_a_slash(install, release):
    done = install(TWAT_FS_BASE_URL=release.url + "/")
    assert done.returncode == 0
    assert f"downloading {release.url}/{release.asked[1]}\n" in done.stdout
    refused(
        install("--version", "9.9.9", TWAT_FS_BASE_URL=release.url + "/"),
        f"{release.url}/download/v9.9.9/SHA256SUMS: ",
    )


@posix_only
@pytest.mark.parametrize("wish", ["1.2.3", "v1.2.3"])
@pytest.mark.parametrize("way", ["two words", "one word", "variable"])
def test_a_version_is_asked_for_in_three_ways(install, release, target, wish, way):
    options = {"two words": ["--version", wish], "one word": [f"--version={wish}"], "variable": []}[
        way
    ]
    done = install(*options, TWAT_FS_VERSION=wish if way == "variable" else "7.7.7")
    assert (done.returncode, done.stderr) == (0, "")
    assert answer(target / "twat-fs") == "twat-fs 1.2.3"
    assert release.asked[0] == "download/v1.2.3/SHA256SUMS"


@posix_only
@pytest.mark.parametrize(
    ("wish", "url_path"),
    [("latest", "latest/download"), ("v2.0.2rc1", "download/v2.0.2rc1"), ("", "latest/download")],
)
def test_the_newest_and_candidates_can_be_asked_for_too(install, release, wish, url_path):
    assert install(TWAT_FS_VERSION=wish).returncode == 0
    assert release.asked[0] == f"{url_path}/SHA256SUMS"


# 5 Which file fits --------------------------------------------------------------------------------

FITTING = [
    ("Linux", "x86_64", {}, "twat-fs-linux-x86_64"),
    ("Linux", "amd64", {}, "twat-fs-linux-x86_64"),
    ("Linux", "aarch64", {}, "twat-fs-linux-arm64"),
    ("Linux", "arm64", {"getconf": None}, "twat-fs-linux-arm64"),
    ("Darwin", "x86_64", {"sysctl": "echo 0"}, "twat-fs-macos-x86_64"),
    ("Darwin", "x86_64", {"sysctl": "exit 1"}, "twat-fs-macos-x86_64"),
    ("Darwin", "x86_64", {"sysctl": "echo 1"}, "twat-fs-macos-arm64"),
    ("Darwin", "arm64", {"sysctl": "echo 0"}, "twat-fs-macos-arm64"),
    ("MINGW64_NT-10.0", "x86_64", {}, WINDOWS_BINARY),
    ("MSYS_NT-10.0", "aarch64", {}, WINDOWS_BINARY),
]
MUSL = "echo 'musl libc (x86_64)' >&2; exit 1"
UNFIT = [
    ("Linux", "i686", {}, "Linux i686"),
    ("Linux", "armv7l", {}, "Linux armv7l"),
    ("Linux", "riscv64", {}, "Linux riscv64"),
    ("Linux", "x86_64", {"ldd": MUSL}, "Linux x86_64 with musl"),
    ("Linux", "x86_64", {"ldd": None}, "Linux x86_64 without glibc"),
    ("Linux", "aarch64", {"getconf": "echo 32"}, "Linux aarch64 with 32 bits"),
    ("Android", "aarch64", {}, "Android aarch64"),
    ("FreeBSD", "amd64", {"ldd": None}, "FreeBSD amd64"),
    ("SunOS", "i86pc", {}, "SunOS i86pc"),
]


def system(name: str, cpu: str) -> str:
    """A uname for this machine; Android is a Linux that only -o tells apart."""
    kernel = "Linux" if name == "Android" else name
    return f"case $1 in -s) echo {kernel} ;; -m) echo {cpu} ;; -o) echo {name} ;; esac"


@posix_only
@pytest.mark.parametrize(("name", "cpu", "fakes", "expected"), FITTING)
def test_the_binary_of_this_system_and_cpu_is_taken(
    install, release, target, tmp_path, name, cpu, fakes, expected
):
    path = machine(tmp_path / "machine", uname=system(name, cpu), **fakes)
    done = install(PATH=path)
    assert (done.returncode, done.stderr) == (0, "")
    assert release.asked == ["latest/download/SHA256SUMS", f"latest/download/{expected}"]
    program = "twat-fs.exe" if expected == WINDOWS_BINARY else "twat-fs"
    assert inside(target) == [program]
    assert (target / program).read_bytes() == release.newest[expected]
    assert install("--uninstall", PATH=path).returncode == 0
    assert inside(target) == []


@posix_only
@pytest.mark.parametrize(("name", "cpu", "fakes", "message"), UNFIT)
def test_where_no_binary_fits_the_python_file_is_taken(
    install, release, target, tmp_path, name, cpu, fakes, message
):
    done = install(PATH=machine(tmp_path / "machine", uname=system(name, cpu), **fakes))
    assert (done.returncode, done.stderr) == (0, "")
    assert f"no binary for {message}; using the Python file\n" in done.stdout
    assert release.asked == ["latest/download/SHA256SUMS", "latest/download/twat_fs.py"]
    assert answer(target / "twat-fs") == "twat-fs 2.0.1"


@linux_only
@every_shell
def test_the_real_machine_is_recognised(install, release, shell):
    done = install(shell=shell, PATH=os.environ["PATH"])
    assert (done.returncode, done.stderr) == (0, "")
    assert release.asked[1] in [f"latest/download/{name}" for name in [*BINARIES, "twat_fs.py"]]


@posix_only
@every_shell
@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "echo 'libm.so.6: version GLIBC_2.38 not found' >&2; exit 1",
            "libm.so.6: version GLIBC_2.38 not found",
        ),
        ("exit 3", "exit code 3"),
        ("echo hello", "hello"),
        ("kill -SEGV $$", "."),
    ],
)
def test_a_binary_that_does_not_run_gives_way_to_the_python_file(
    install, release, target, shell, text, message
):
    release.newest.update({name: f"#!/bin/sh\n{text}\n".encode() for name in BINARIES})
    done = install(shell=shell)
    assert done.returncode == 0
    assert re.search(
        rf"install.sh: twat-fs-\S+ does not run here: .*{message}.*; using the Python file\n\Z",
        done.stderr,
    )
    assert inside(target) == ["twat-fs"]
    assert answer(target / "twat-fs") == "twat-fs 2.0.1"


@posix_only
def test_a_binary_for_another_cpu_gives_way_to_the_python_file(install, release, target):
    release.newest.update({name: b"\x7fELF\x02\x01\x01" + bytes(500) for name in BINARIES})
    done = install()
    assert (done.returncode, len(done.stderr.splitlines())) == (0, 1)
    assert answer(target / "twat-fs") == "twat-fs 2.0.1"


@posix_only
def test_on_windows_the_python_file_does_not_end_in_exe(install, release, target, tmp_path):
    release.newest[WINDOWS_BINARY] = b"#!/bin/sh\nexit 1\n"
    assert (
        install(
            PATH=machine(tmp_path / "machine", uname=system("MINGW64_NT-10.0", "x86_64"))
        ).returncode
        == 0
    )
    assert inside(target) == ["twat-fs"]
    assert answer(target / "twat-fs") == "twat-fs 2.0.1"


@posix_only
def test_a_release_without_the_binary_gives_the_python_file(install, release, target):
    for name in BINARIES:
        del release.newest[name]
    done = install()
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search("no twat-fs-.* in this release; using the Python file", done.stdout)
    assert answer(target / "twat-fs") == "twat-fs 2.0.1"


@posix_only
def test_the_real_program_is_installed_and_runs(install, release, target):
    release.newest["twat_fs.py"] = PROGRAM.read_bytes()
    done = install("--python")
    assert (done.returncode, done.stderr) == (0, "")
    assert (target / "twat-fs").read_bytes() == PROGRAM.read_bytes()
    assert answer(target / "twat-fs").startswith("twat-fs ")


def python(version: str) -> str:
    """A Python that takes itself for this version."""
    pretend = f"import sys; sys.version_info = ({version.replace('.', ', ')}, 0); exec(sys.argv[1])"
    quoted = shlex.quote(sys.executable)
    return f'[ "$1" != -c ] || exec {quoted} -c "{pretend}" "$2"; exec {quoted} "$@"'


REAL = MACHINE["python3"]
TOO_OLD = python("3.8")
PYTHONS = [
    ({"python3": REAL, "python3.14": "exit 9"}, "python3"),
    ({"python3": python("3.9")}, "python3"),
    ({"python3": python("2.7"), "python3.10": REAL}, "python3.10"),
    ({"python3": TOO_OLD, "python3.12": REAL}, "python3.12"),
    ({"python3": None, "python3.9": REAL}, "python3.9"),
    ({"python3": TOO_OLD, "python3.11": REAL, "python3.10": "exit 9"}, "python3.11"),
    ({"python3": "exit 127", "python3.13": "exit 127", "python": REAL}, "python"),  # pyenv's shims
]


@posix_only
@every_shell
@pytest.mark.parametrize(("fakes", "expected"), PYTHONS)
def test_a_python_from_3_9_on_is_found_and_named_without_its_path(
    install, target, tmp_path, shell, fakes, expected
):
    path = machine(tmp_path / "a machine", **fakes)
    done = install("--python", shell=shell, PATH=path)
    assert (done.returncode, done.stderr) == (0, "")
    first, rest = (target / "twat-fs").read_bytes().split(b"\n", 1)
    assert first.decode() == f"#!/usr/bin/env {expected}"
    assert rest == python_program("2.0.1").split(b"\n", 1)[1]
    ran = subprocess.run(
        [target / "twat-fs"], env={"PATH": str(path)}, capture_output=True, text=True
    )
    assert ran.stdout == "twat-fs 2.0.1\n"


@posix_only
@every_shell
@pytest.mark.parametrize("python", [None, TOO_OLD])
def test_without_a_suitable_python_there_is_an_error_message(
    install, target, tmp_path, shell, python
):
    done = install("--python", shell=shell, PATH=machine(tmp_path / "machine", python3=python))
    refused(done, "Python 3.9 or newer not found; install it")
    assert inside(target) == []


# 6 What goes wrong --------------------------------------------------------------------------------


def with_old_file(target: Path) -> Path:
    target.mkdir(parents=True, exist_ok=True)
    (target / "twat-fs").write_bytes(OLD)
    return target / "twat-fs"


FAULTS = [
    ("SHA256SUMS", "missing", "could not download .*/latest/download/SHA256SUMS: .*404"),
    ("SHA256SUMS", "page", "/SHA256SUMS: invalid checksum list; nothing was installed"),
    ("SHA256SUMS", "cut", "SHA256SUMS"),
    ("binary", "missing", r"could not download .*/twat-fs-linux-\w+: .*404"),
    ("binary", "cut", r"twat-fs-linux-\w+"),
    (
        "binary",
        "wrong",
        r"/twat-fs-linux-\w+: SHA-256 mismatch with SHA256SUMS; nothing was installed",
    ),
    ("twat_fs.py", "wrong", "/twat_fs.py: SHA-256 mismatch"),
    ("twat_fs.py", "missing", "could not download .*/twat_fs.py: .*404"),
]


@posix_only
@every_shell
@pytest.mark.parametrize(("name", "fault", "sentence"), FAULTS)
def test_a_bad_download_is_reported_and_changes_nothing(
    install, release, target, shell, name, fault, sentence
):
    old = with_old_file(target)
    release.faults = dict.fromkeys(BINARIES if name == "binary" else [name], fault)
    done = install(*(["--python"] if name == "twat_fs.py" else []), shell=shell)
    refused(done, sentence)
    assert inside(target) == ["twat-fs"]
    assert old.read_bytes() == OLD


@posix_only
@every_shell
def test_an_unreleased_version_is_reported(install, target, shell):
    refused(
        install("--version", "9.9.9", shell=shell),
        "could not download .*/download/v9.9.9/SHA256SUMS: .*404",
    )
    assert inside(target) == []


@posix_only
@every_shell
def test_an_unreachable_server_is_reported(install, target, shell):
    refused(
        install(shell=shell, TWAT_FS_BASE_URL=f"http://127.0.0.1:{closed_port()}/"),
        "could not download http://127.0.0.1:",
    )
    assert inside(target) == []


@posix_only
@every_shell
@pytest.mark.parametrize(("sent", "code"), [("SIGTERM", 143), ("SIGINT", 130), ("SIGHUP", 129)])
def test_an_interrupted_download_changes_nothing(environment, release, target, shell, sent, code):
    old = with_old_file(target)
    if signal.getsignal(getattr(signal, sent)) == signal.SIG_IGN:  # under nohup
        signal.signal(getattr(signal, sent), signal.SIG_DFL)
    release.faults = dict.fromkeys(BINARIES, "stuck")
    argv = [*words_of(shell), str(ROOT / "install.sh")]
    running = subprocess.Popen(
        argv,
        env=environment,
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        until(lambda: len(release.asked) == 2 and len(inside(target)) == 2)
        os.killpg(running.pid, getattr(signal, sent))
        _, err = running.communicate(timeout=20)
    finally:
        kill_group(running)
    assert running.returncode in (code, 128 - code), err
    assert inside(target) == ["twat-fs"]
    assert old.read_bytes() == OLD


@posix_only
@every_shell
def test_a_slow_server_is_waited_for(install, release, target, shell):
    release.faults = dict.fromkeys(BINARIES, "slow")
    assert install(shell=shell).returncode == 0
    assert answer(target / "twat-fs") == "twat-fs 2.0.1"


LAST_BRACE = SCRIPT.rindex(b"}")
# "make", "find", "fetch"
NAMES = [match.end(1) for match in re.finditer(rb"^([a-z]+)\w*\(\)", SCRIPT, re.M)]
CUTS = sorted({*range(0, LAST_BRACE, 499), *range(LAST_BRACE - 20, LAST_BRACE + 1), *NAMES})


@posix_only
@every_shell
def test_a_script_that_was_cut_off_does_nothing_wherever_it_was_cut(
    install, release, here, target, shell
):
    for name in ("find", "install", "make"):
        fake(here / name, "echo this ran")
    for cut in CUTS:
        done = install(shell=shell, script=SCRIPT[:cut])
        assert (done.stdout, release.asked, inside(target)) == ("", [], []), f"cut at {cut}"
    assert install(shell=shell, script=SCRIPT[: LAST_BRACE + 1]).returncode == 0
    assert inside(target) == ["twat-fs"]


@posix_only
@every_shell
def test_a_full_disk_is_reported_and_changes_nothing(install, target, shell):
    old = with_old_file(target)
    # 8 KiB, and an error beyond
    limited = [
        tool("dash"),
        "-c",
        "trap '' XFSZ; ulimit -f 16; exec \"$@\"",
        "limited",
    ]
    # zsh: SIGXFSZ
    refused(
        install(shell=shell, prefix=limited),
        r"/twat-fs-linux-\w+: (.*disk full|exit code 153)",
    )
    assert inside(target) == ["twat-fs"]
    assert old.read_bytes() == OLD


@pytest.fixture
def disk(tmp_path, request):
    """A file system with these options; only root can mount one, the size limit runs everywhere."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", request.param, "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("may not mount a file system here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@linux_only
@every_shell
@pytest.mark.parametrize("disk", ["size=32k"], indirect=True)
def test_a_full_file_system_is_reported_and_changes_nothing(install, disk, shell):
    old = with_old_file(disk)
    refused(
        install("--dir", disk, shell=shell),
        r"could not download .*/twat-fs-linux-\w+: could not write to .* \(disk full",
    )
    assert inside(disk) == ["twat-fs"]
    assert old.read_bytes() == OLD


@linux_only
@pytest.mark.parametrize("disk", ["noexec"], indirect=True)
def test_where_nothing_may_run_nothing_is_installed(install, disk):
    done = install("--dir", disk)
    assert (done.returncode, inside(disk)) == (1, [])
    first, second = done.stderr.splitlines()
    assert re.search(r"twat-fs-linux-\w+ does not run here: .*denied; using the Python file", first)
    assert re.search(r"twat_fs.py does not run here: .*denied; nothing was installed", second)


@pytest.fixture
def nobody():
    """A folder that all users can reach, and the settings to run a program without root rights."""
    folder = Path(tempfile.mkdtemp(prefix="twat-fs-"))
    folder.chmod(0o755)
    as_root = os.geteuid() == 0
    yield folder, {"user": 65534, "group": 65534, "extra_groups": []} if as_root else {}
    for parent, _, _ in os.walk(folder):
        os.chmod(parent, 0o755)
    shutil.rmtree(folder)


@posix_only
@every_shell
@pytest.mark.parametrize(
    ("wish", "sentence"),
    [
        ("locked", "could not write to .*/locked: .*denied.*; use --dir to choose another folder"),
        (
            "locked/new",
            "could not create folder .*/locked/new: .*denied.*; use --dir to choose another",
        ),
        ("file/new", "could not create folder .*/file/new: .*; use --dir to choose another"),
    ],
)
def test_an_unwritable_folder_is_reported(environment, nobody, shell, wish, sentence):
    folder, user = nobody
    (folder / "file").touch()
    (folder / "locked").mkdir()
    (folder / "locked" / "twat-fs").write_bytes(OLD)
    (folder / "locked").chmod(0o555)
    (folder / "path").mkdir()
    for name in [*TOOLS, "curl", HASH, "uname"]:
        (folder / "path" / name).symlink_to(tool(name))
    env = {**environment, "PATH": str(folder / "path"), "TWAT_FS_INSTALL_DIR": str(folder / wish)}
    argv = [*words_of(shell), "-s"]
    done = subprocess.run(argv, input=SCRIPT, env=env, cwd="/", capture_output=True, **user)
    done.stderr = done.stderr.decode()
    refused(done, sentence)
    assert inside(folder / "locked") == ["twat-fs"]
    assert (folder / "locked" / "twat-fs").read_bytes() == OLD


@posix_only
@every_shell
def test_a_folder_in_the_place_of_the_program_is_left_alone(install, target, shell):
    (target / "twat-fs").mkdir(parents=True)
    refused(install(shell=shell), "/twat-fs is a folder; nothing was installed")
    assert inside(target) == ["twat-fs"]
    assert inside(target / "twat-fs") == []


@posix_only
@modest_shell
@pytest.mark.parametrize("home", [None, ""])
def test_without_a_home_a_folder_is_required(install, release, target, shell, home):
    refused(
        install(shell=shell, HOME=home, TWAT_FS_INSTALL_DIR=None),
        "HOME is not set; use --dir",
    )
    assert release.asked == []
    assert (
        install("--dir", target, shell=shell, HOME=home, TWAT_FS_INSTALL_DIR=None).returncode == 0
    )
    assert inside(target) == ["twat-fs"]


MISUSED = [
    (["--nonsense"], "unknown option '--nonsense'"),
    (["file"], "unknown option 'file'"),
    (["--python=3.12"], "unknown option '--python=3.12'"),
    (["--dir"], "--dir: value required"),
    (["--dir", ""], "--dir: value required"),
    (["--dir="], "--dir: value required"),
    (["--version"], "--version: value required"),
]
NO_VERSIONS = (
    "1 1.2 1.2.3.4 x 1.2.x v 1..3 1.2.3/../../x 1.2.3;id 1.2.3-x 1.2.3rc1rc1 V1.2.3 vv1.2.3"
    " ../1.2.3 -1.2.3"
).split()


@posix_only
@every_shell
def test_a_wrong_command_line_is_reported(install, release, target, shell):
    for options, sentence in MISUSED:
        refused(install(*options, shell=shell), re.escape(sentence), code=2)
    for wish in [*NO_VERSIONS, "1.2.3\n1.2.3", " 1.2.3", "1.2.3 ", "*"]:
        done = install("--version", wish, shell=shell)
        assert done.returncode == 2
        assert done.stderr.startswith("install.sh: invalid version '")
        assert done.stderr.endswith("' (expected 1.2.3); see --help\n")
    assert (release.asked, inside(target)) == ([], [])


@posix_only
@pytest.mark.parametrize("missing", "chmod mkdir mktemp mv rm tail uname".split())
def test_a_missing_basic_tool_is_reported(install, release, target, here, missing):
    (here / missing).unlink()
    refused(install(), f"{missing} required but not found on PATH")
    assert (release.asked, inside(target)) == ([], [])


# 7 Downloading and checking -----------------------------------------------------------------------

CLIENTS = ["curl", "wget", "busybox"] if LINUX else ["curl"]
every_client = pytest.mark.parametrize("client", CLIENTS)


def with_client(folder: Path, client: str) -> Path:
    """A machine that downloads with curl, with GNU wget, or with the wget of busybox."""
    if client != "busybox":
        return machine(folder, f"{client} {HASH}")
    return machine(folder, "sha256sum", wget=f'exec {tool("busybox")} wget "$@"')


@posix_only
@every_client
def test_each_client_downloads(install, release, target, tmp_path, client):
    done = install(PATH=with_client(tmp_path / "machine", client))
    assert (done.returncode, done.stderr) == (0, "")
    assert (target / "twat-fs").read_bytes() == release.newest["twat-fs-linux-x86_64"]


@posix_only
@every_client
@pytest.mark.parametrize(
    ("name", "fault", "sentence"),
    [
        ("SHA256SUMS", "missing", "could not download .*/SHA256SUMS: .*([Nn]ot [Ff]ound|404)"),
        ("SHA256SUMS", "cut", "SHA256SUMS"),
        (
            "twat-fs-linux-x86_64",
            "missing",
            "could not download .*/twat-fs-linux-x86_64: .*([Nn]ot [Ff]ound|404)",
        ),
        ("twat-fs-linux-x86_64", "cut", "/twat-fs-linux-x86_64"),
        ("twat-fs-linux-x86_64", "wrong", "/twat-fs-linux-x86_64: SHA-256 mismatch"),
    ],
)
def test_each_client_fails_with_a_sentence(
    install, release, target, tmp_path, client, name, fault, sentence
):
    old = with_old_file(target)
    release.faults = {name: fault}
    refused(install(PATH=with_client(tmp_path / "machine", client)), sentence)
    assert inside(target) == ["twat-fs"]
    assert old.read_bytes() == OLD


@linux_only
@pytest.mark.parametrize("disk", ["size=32k"], indirect=True)
@pytest.mark.parametrize("client", ["wget", "busybox"])
def test_wget_also_reports_a_full_disk(install, disk, tmp_path, client):
    done = install("--dir", disk, PATH=with_client(tmp_path / "machine", client))
    refused(done, r"could not download .*/twat-fs-linux-\w+: .*No space left on device")
    assert inside(disk) == []


@posix_only
def test_curl_tries_again_where_the_server_was_busy(install, release, target):
    release.faults = {"SHA256SUMS": "busy"}
    done = install()
    assert (done.returncode, done.stderr, inside(target)) == (0, "", ["twat-fs"])
    assert release.faults == {}


@posix_only
@modest_shell
def test_without_curl_and_wget_it_says_so(install, target, tmp_path, shell):
    done = install(shell=shell, PATH=machine(tmp_path / "machine", HASH))
    refused(done, "curl or wget required but not found on PATH")
    assert inside(target) == []


# Stands for /snap/bin/curl, which may not write below a hidden folder; the words are those of
# curl 7.88 with -sS.
SNAP_CURL = """for a; do
    case ${prev-} in -o) case $a in */.*)
        echo "curl: (23) Failure writing output to destination" >&2
        exit 23 ;;
    esac ;; esac
    prev=$a
done
exec CURL "$@\""""


def with_snap(folder: Path, tools: str, snap_dir: str = "snap/bin") -> str:
    """A PATH whose curl comes from a snap, before a machine with these tools."""
    snap = folder / snap_dir
    snap.mkdir(parents=True)
    fake(snap / "curl", SNAP_CURL.replace("CURL", tool("curl")))
    return f"{snap}:{machine(folder / 'machine', f'{HASH} {tools}')}"


@linux_only
@every_shell
def test_wget_is_used_where_curl_is_from_a_snap(install, target, tmp_path, shell):
    done = install(shell=shell, PATH=with_snap(tmp_path, "wget"))
    assert (done.returncode, done.stderr, inside(target)) == (0, "", ["twat-fs"])


@posix_only
@modest_shell
@pytest.mark.parametrize(
    "snap_dir", ["snap/bin", "var/lib/snapd/snap/bin"]
)  # Fedora has the second
def test_with_curl_from_a_snap_alone_it_says_what_to_install(
    install, release, target, tmp_path, shell, snap_dir
):
    done = install(shell=shell, PATH=with_snap(tmp_path, "", snap_dir))
    refused(done, r"curl from a snap cannot write to hidden folders; run `apt-get install curl`$")
    assert (release.asked, inside(target)) == ([], [])


@posix_only
@pytest.mark.parametrize("client", [client for client in CLIENTS if client != "busybox"])
def test_over_https_it_works_with_a_certificate_and_not_without(
    install, secure_release, target, tmp_path, client
):
    path = with_client(tmp_path / "machine", client)
    refused(
        install(PATH=path, TWAT_FS_BASE_URL=secure_release.url),
        r"could not download https://localhost.*: .*certificate",
    )
    assert inside(target) == []
    done = install(PATH=path, TWAT_FS_BASE_URL=secure_release.url, **secure_release.trust)
    assert (done.returncode, done.stderr, inside(target)) == (0, "", ["twat-fs"])


WGET_WITH_OPENSSL = """[ "$1" != --version ] || exec echo GNU Wget 1.24.5
echo "ERROR: cannot verify localhost's certificate, issued by 'CN=x':" >&2
echo "To connect to localhost insecurely, use \\`--no-check-certificate'." >&2
exit 5"""


@posix_only
def test_the_advice_to_check_no_certificates_is_not_passed_on(install, tmp_path):
    done = install(PATH=machine(tmp_path / "machine", HASH, wget=WGET_WITH_OPENSSL))
    refused(done, r"could not download .*/SHA256SUMS: certificate verification failed$")


@linux_only
def test_a_wget_that_checks_no_certificates_is_refused(install, secure_release, target, tmp_path):
    done = install(
        PATH=with_client(tmp_path / "machine", "busybox"), TWAT_FS_BASE_URL=secure_release.url
    )
    refused(done, "this wget does not verify certificates; install curl")
    assert inside(target) == []


@posix_only
def test_curl_never_goes_from_https_to_http(install, release, secure_release, target):
    secure_release.faults, secure_release.plain = {"SHA256SUMS": "plain"}, release.url
    refused(
        install(TWAT_FS_BASE_URL=secure_release.url, **secure_release.trust),
        "could not download https://.*[Pp]rotocol",
    )
    assert inside(target) == []


@posix_only
@pytest.mark.parametrize("secure", [True, False])
def test_only_https_asks_for_tls_1_2(install, release, secure_release, tmp_path, secure):
    curl = f'echo "$@" >>{tmp_path}/asked; exec {tool("curl")} "$@"'
    served = secure_release if secure else release
    path = machine(tmp_path / "machine", HASH, curl=curl)
    done = install(PATH=path, TWAT_FS_BASE_URL=served.url, **secure_release.trust)
    assert done.returncode == 0, done.stderr
    lines = (tmp_path / "asked").read_text().splitlines()
    assert ["--proto =https --tlsv1.2" in line for line in lines] == [secure, secure]


HASHES = ["sha256sum", "shasum", "openssl", "python3"][0 if LINUX else 1 :]


@posix_only
@pytest.mark.parametrize("program", HASHES)
def test_each_hash_program_checks(install, release, target, tmp_path, program):
    only = {"python3": REAL if program == "python3" else None}
    path = machine(tmp_path / "machine", "curl" if only["python3"] else f"curl {program}", **only)
    done = install(PATH=path)
    assert (done.returncode, done.stderr, inside(target)) == (0, "", ["twat-fs"])
    release.faults = {"twat-fs-linux-x86_64": "wrong"}
    old = with_old_file(target)
    refused(install(PATH=path), "SHA-256 mismatch")
    assert old.read_bytes() == OLD


@posix_only
@modest_shell
def test_without_a_hash_program_nothing_is_installed(install, target, tmp_path, shell):
    done = install(shell=shell, PATH=machine(tmp_path / "machine", "curl", python3=None))
    refused(done, "could not verify download: sha256sum, shasum, openssl or python3 required")
    assert inside(target) == []


@posix_only
@pytest.mark.parametrize("text", ["{hash} *{name}\n", "{hash}  {name}\n"])
def test_both_forms_of_a_list_of_hashes_are_read(install, release, target, monkeypatch, text):
    lines = [text.format(hash="0" * 64, name=f"not-{name}") for name in release.newest]
    lines += [
        text.format(hash=hashlib.sha256(data).hexdigest(), name=name)
        for name, data in release.newest.items()
    ]
    release.newest["SHA256SUMS"] = "".join(lines).encode()
    monkeypatch.setattr(release, "content", lambda folder, name: release.folders[folder].get(name))
    assert install().returncode == 0
    assert inside(target) == ["twat-fs"]


@posix_only
@every_shell
def test_a_truncated_hash_is_rejected(install, release, target, monkeypatch, shell):
    short = "".join(
        f"{hashlib.sha256(data).hexdigest()[:63]}  {name}\n"
        for name, data in release.newest.items()
    )
    release.newest["SHA256SUMS"] = short.encode()
    monkeypatch.setattr(release, "content", lambda folder, name: release.folders[folder].get(name))
    refused(install(shell=shell), "SHA256SUMS: invalid checksum list")
    assert inside(target) == []


# 8 Where it goes ----------------------------------------------------------------------------------


@posix_only
@modest_shell
def test_by_default_it_goes_where_programs_of_this_user_are(install, tmp_path, shell):
    home = Path(os.environ["HOME"])
    for variables, folder in [
        ({}, home / ".local" / "bin"),
        ({"XDG_BIN_HOME": tmp_path / "xdg"}, tmp_path / "xdg"),
    ]:
        done = install(shell=shell, TWAT_FS_INSTALL_DIR=None, **variables)
        assert (done.returncode, done.stderr, inside(folder)) == (0, "", ["twat-fs"])


@posix_only
def test_root_installs_for_all_users(install, tmp_path):
    path = machine(tmp_path / "machine", id="echo 0")
    (path / "mkdir").unlink()
    fake(path / "mkdir", "exit 1")
    refused(
        install(PATH=path, TWAT_FS_INSTALL_DIR=None), "could not create folder /usr/local/bin: "
    )


@posix_only
@every_shell
@pytest.mark.parametrize(
    "wish", ["relative", "./re lative", "-dash", 'it\'s 50% $HOME `id` "*"', "ünï", "two\nlines"]
)
def test_every_name_of_a_folder_is_taken_as_it_is(install, tmp_path, shell, wish):
    done = install("--dir", wish, shell=shell, cwd=tmp_path, CDPATH="/usr")
    assert (done.returncode, done.stderr, inside(tmp_path / wish)) == (0, "", ["twat-fs"])
    assert f"installed twat-fs 2.0.1 as {tmp_path / wish}/twat-fs\n" in done.stdout


TILDES = [
    (["--dir=~/my bin"], {}, "my bin"),
    (["--dir", "~/a/b"], {}, "a/b"),
    (["--dir", "~"], {}, "."),
    ([], {"TWAT_FS_INSTALL_DIR": "~/.local/bin"}, ".local/bin"),
    ([], {"TWAT_FS_INSTALL_DIR": None, "XDG_BIN_HOME": "~/xdg"}, "xdg"),
]


@posix_only
@every_shell
@pytest.mark.parametrize(("options", "variables", "folder"), TILDES)
def test_a_tilde_that_no_shell_expanded_is_the_home_folder(
    install, tmp_path, shell, options, variables, folder
):
    """`sh -s -- --dir=~/bin` in dash, and a quoted value of a variable in any shell."""
    home = tmp_path / "a home"
    home.mkdir()
    done = install(*options, shell=shell, HOME=home, **variables)
    assert (done.returncode, done.stderr) == (0, "")
    assert "twat-fs" in inside(home / folder) and not (tmp_path / "~").exists()
    uninstalled = install("--uninstall", *options, shell=shell, HOME=home, **variables)
    assert uninstalled.returncode == 0 and "twat-fs" not in inside(home / folder)


@posix_only
@modest_shell
def test_a_tilde_that_cannot_be_expanded_is_refused(install, release, tmp_path, shell):
    refused(
        install("--dir=~bob/bin", shell=shell), "unsupported folder '~bob/bin'; use a full path"
    )
    refused(
        install("--dir=~/bin", shell=shell, HOME=None), "HOME is not set; use --dir with a full"
    )
    assert release.asked == [] and not list(tmp_path.glob("~*"))
    assert install("--dir=./~bob", shell=shell).returncode == 0
    assert inside(tmp_path / "~bob") == ["twat-fs"]


@posix_only
@every_shell
def test_a_folder_on_the_path_needs_no_advice(install, release, here, target, shell):
    for entry in (f"{target}", f"{target}/"):
        done = install(shell=shell, PATH=f"{here}:{entry}")
        assert (done.returncode, done.stderr) == (0, "")
        messages = [
            f"downloading {release.url}/{release.asked[1]}",
            f"installed twat-fs 2.0.1 as {target}/twat-fs",
        ]
        assert done.stdout.splitlines() == [f"install.sh: {line}" for line in messages]


@posix_only
@every_shell
def test_another_twat_fs_earlier_on_path_is_reported(install, here, target, shell):
    fake(here / "twat-fs", "exit 9")
    done = install(shell=shell, PATH=f"{here}:{target}")
    assert done.returncode == 0
    assert done.stderr == f"install.sh: warning: another twat-fs is first on PATH: {here}/twat-fs\n"


@posix_only
@pytest.mark.parametrize("name", ["plain", "a folder", 'it\'s 50% $HOME "*"'])
@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"] if LINUX else ["bash", "zsh"])
def test_the_line_that_is_printed_puts_the_folder_on_the_path(install, tmp_path, shell, name):
    done = install("--dir", tmp_path / name)
    marker = "fish:" if shell == "fish" else "bash, zsh:"
    (line,) = [
        line.split(marker)[1].strip()
        for line in done.stdout.splitlines()
        if line.strip().startswith(marker)
    ]
    asked = subprocess.run(
        [tool(shell), "-c", f"{line}\ncommand -v twat-fs\ntwat-fs"],
        env={"PATH": "/usr/bin:/bin", "HOME": os.environ["HOME"]},
        capture_output=True,
        text=True,
    )
    assert asked.stdout.splitlines() == [f"{tmp_path / name}/twat-fs", "twat-fs 2.0.1"], (
        asked.stderr
    )


@posix_only
@every_shell
def test_in_ci_the_folder_is_on_the_path_of_the_steps_to_come(install, target, tmp_path, shell):
    (tmp_path / "github path").write_text("/before\n")
    done = install(shell=shell, GITHUB_PATH=tmp_path / "github path")
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "github path").read_text() == f"/before\n{target}\n"
    assert "not on PATH" not in done.stdout


@posix_only
def test_nothing_in_the_home_folder_is_touched_but_the_folder_of_programs(install):
    home = Path(os.environ["HOME"])
    for name in (".bashrc", ".zshrc", ".profile"):
        (home / name).write_text("mine\n")
    assert install(TWAT_FS_INSTALL_DIR=None).returncode == 0
    files = {str(path.relative_to(home)) for path in home.rglob("*") if path.is_file()}
    assert files == {".bashrc", ".zshrc", ".profile", ".local/bin/twat-fs"}
    assert {(home / name).read_text() for name in (".bashrc", ".zshrc", ".profile")} == {"mine\n"}


# 9 The text of install.ps1 ------------------------------------------------------------------------

POWERSHELL = WINDOWS_SCRIPT.read_bytes()
COMMANDS = set(
    "Get-ChildItem Get-Command Get-Item Invoke-WebRequest Join-Path Out-Null Remove-Item"
    " Set-ItemProperty Test-Path"
    " Where-Object Write-Host".split()
)
AUTOMATIC = set("_ args executioncontext lastexitcode matches".split())
OPTIONS = set("version dir python uninstall addtopath help".split())

needs_grammar = pytest.mark.skipif(
    sys.version_info < (3, 10), reason="the grammar of PowerShell needs Python 3.10"
)


def parsed(text: bytes):
    from tree_sitter import Language, Parser  # not on Python 3.9
    from tree_sitter_powershell import language

    return Parser(Language(language())).parse(text).root_node


def texts(node, *kinds: str) -> List[str]:
    """The source of all nodes of these kinds, in order."""
    own = [node.text.decode()] if node.type in kinds else []
    return own + [text for child in node.children for text in texts(child, *kinds)]


def variables(node) -> List[str]:
    """The names of variables in it, as PowerShell compares them: without regard to case."""
    return [name.strip("$@{}").lower() for name in texts(node, "variable")]


def set_somewhere(node) -> List[str]:
    """The variables that get a value: by an assignment, a loop, or a parameter."""
    names = [
        name
        for target in kinds_of(node, "left_assignment_expression")
        for name in variables(target)[:2]
    ]
    loops = [variables(target)[0] for target in kinds_of(node, "foreach_statement")]
    parameters = [variables(target)[0] for target in kinds_of(node, "script_parameter")]
    return names + loops + parameters


def kinds_of(node, node_type: str) -> list:
    own = [node] if node.type == node_type else []
    return own + [match for child in node.children for match in kinds_of(child, node_type)]


def test_it_is_ascii_for_5_1_and_calls_its_one_function_at_the_end():
    assert POWERSHELL.isascii()
    assert POWERSHELL.endswith(b"}\n\nInstall-TwatFs @args\n")


@needs_grammar
def test_it_leaves_one_function_behind_and_nothing_else():
    (program,) = parsed(POWERSHELL).children[-1:]
    outside = [node.type for node in program.children]
    assert outside == ["function_statement", "pipeline"]


@needs_grammar
def test_it_can_be_parsed():
    assert not parsed(POWERSHELL).has_error


@needs_grammar
@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        (b"try { Invoke", b"try Invoke"),
        (b"'@\n    $fileNames", b"\n    $fileNames"),
        (b"if ($Help) {", b"if $Help {"),
        (b"foreach ($name in $ready)", b"foreach ($name of $ready)"),
        (b"(Get-Version $program)", b"(Get-Version $program"),
        (b"[switch] $Python,", b"[switch] $Python,,"),
        (b"}\n\nInstall-TwatFs @args", b"\nInstall-TwatFs @args"),
    ],
)
def test_a_slip_in_it_would_be_seen(right, wrong):
    assert POWERSHELL.count(right) == 1
    assert parsed(POWERSHELL.replace(right, wrong)).has_error


@needs_grammar
def test_every_command_in_it_is_its_own_or_one_of_powershell():
    tree = parsed(POWERSHELL)
    own = texts(tree, "function_name")
    used = texts(tree, "command_name")
    assert set(used) - set(own) == COMMANDS
    assert set(own) - set(used) == set()


@needs_grammar
def test_every_variable_that_is_read_was_set():
    tree = parsed(POWERSHELL)
    known = {*set_somewhere(tree), *AUTOMATIC, "true", "false", "null"}
    assert {
        name for name in variables(tree) if name not in known and not name.startswith("env:")
    } == set()


@needs_grammar
def test_no_variable_is_a_parameter_in_other_letters():
    assigned = [
        name
        for target in kinds_of(parsed(POWERSHELL), "left_assignment_expression")
        for name in variables(target)
    ]
    assert OPTIONS & set(assigned) == set()
    loops = [variables(target)[0] for target in kinds_of(parsed(POWERSHELL), "foreach_statement")]
    assert OPTIONS & set(loops) == set()


@needs_grammar
def test_it_throws_and_never_exits():
    leaving = [
        text.split()[0].lower() for text in texts(parsed(POWERSHELL), "flow_control_statement")
    ]
    assert set(leaving) == {"return", "throw", "continue"}
    assert "exit" not in {name.lower() for name in texts(parsed(POWERSHELL), "command_name")}


def test_both_installers_know_the_same_words():
    for word in [
        "TWAT_FS_VERSION",
        "TWAT_FS_INSTALL_DIR",
        "TWAT_FS_BASE_URL",
        "GITHUB_PATH",
        "SHA256SUMS",
        "twat_fs.py",
    ]:
        assert word in SCRIPT.decode()
        assert word in POWERSHELL.decode()
    assert WINDOWS_BINARY in SCRIPT.decode()
    assert WINDOWS_BINARY in POWERSHELL.decode()


# 10 Running install.ps1 ---------------------------------------------------------------------------

every_powershell = pytest.mark.parametrize("shell", ["powershell", "pwsh"])
CSHARP = (
    'class P { static int Main() { System.Console.WriteLine("twat-fs %s");'
    " System.Threading.Thread.Sleep(%d); return 0; } }"
)


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    """Programs for Windows from its own compiler: `compiled("2.0.1", 0)` sleeps 0 ms."""
    compiler = Path(
        os.environ["SYSTEMROOT"], "Microsoft.NET", "Framework64", "v4.0.30319", "csc.exe"
    )
    folder = tmp_path_factory.mktemp("csharp")

    def build(version: str, sleep: int = 0) -> bytes:
        source, program = folder / "program.cs", folder / f"program-{version}-{sleep}.exe"
        source.write_text(CSHARP % (version, sleep))
        subprocess.run([compiler, "-nologo", f"-out:{program}", source], check=True)
        return program.read_bytes()

    return build


@pytest.fixture
def powershell(release, target, compiled):
    """Run install.ps1 as a file: `powershell("pwsh", "-Python")`; the release has real programs."""
    release.newest[WINDOWS_BINARY] = compiled("2.0.1")
    release.folders["download/v1.2.3"][WINDOWS_BINARY] = compiled("1.2.3")

    def run(shell, *options, script=None, **variables):
        env = {
            **os.environ,
            "TWAT_FS_BASE_URL": release.url,
            "TWAT_FS_INSTALL_DIR": str(target),
            "GITHUB_PATH": "",
        }
        arguments = (
            ["-Command", script] if script else ["-File", str(WINDOWS_SCRIPT), *map(str, options)]
        )
        argv = [shell, "-NoProfile", "-NonInteractive", "-ExecutionPolicy", "Bypass", *arguments]
        pipes = {"stdin": subprocess.DEVNULL, "capture_output": True, "text": True}
        return subprocess.run(argv, env={**env, **variables}, timeout=120, **pipes)

    return run


def squeezed(text: str) -> str:
    """PowerShell breaks the text of an error at the width of a window that is not there."""
    return re.sub(r"[\s|]+|\x1b\[[0-9;]*m", "", text)


def thrown(done, sentence: str) -> None:
    assert done.returncode == 1, done.stdout
    assert squeezed(sentence) in squeezed(done.stderr), done.stderr


@windows_only
@every_powershell
def test_windows_installs_the_binary_and_uninstalls_it(powershell, target, shell):
    done = powershell(shell)
    assert (done.returncode, inside(target)) == (0, ["twat-fs.exe"]), done.stderr
    assert f"installed twat-fs 2.0.1 as {target}\\twat-fs.exe" in done.stdout
    done = powershell(shell, "-Version", "v1.2.3")
    assert (done.returncode, inside(target)) == (0, ["twat-fs.exe"]), done.stderr
    assert "installed twat-fs 1.2.3 as" in done.stdout
    done = powershell(shell, "-Uninstall")
    assert (done.returncode, target.exists()) == (0, False), done.stderr
    thrown(powershell(shell, "-Uninstall"), "twat-fs not found in")


@windows_only
@every_powershell
def test_windows_installs_from_a_pipe_and_from_a_block_with_options(powershell, target, shell):
    done = powershell(
        shell, script=f"Get-Content -Raw '{WINDOWS_SCRIPT}' | Invoke-Expression; 'and on'"
    )
    assert (done.returncode, inside(target)) == (0, ["twat-fs.exe"]), done.stderr
    assert done.stdout.endswith("and on\n")
    block = (
        f"& ([scriptblock]::Create((Get-Content -Raw '{WINDOWS_SCRIPT}'))) -Version 1.2.3 -Python"
    )
    done = powershell(shell, script=block)
    assert (done.returncode, inside(target)) == (0, ["twat-fs.cmd", "twat-fs.py"]), done.stderr
    assert "installed twat-fs 1.2.3 as" in done.stdout


@windows_only
@every_powershell
def test_windows_takes_the_python_file_where_the_binary_does_not_run(
    powershell, release, target, shell
):
    release.newest[WINDOWS_BINARY] = b"no program"
    done = powershell(shell)
    assert (done.returncode, inside(target)) == (0, ["twat-fs.cmd", "twat-fs.py"]), done.stderr
    assert f"{WINDOWS_BINARY} does not run here; using the Python file" in done.stdout
    output = subprocess.run(
        [str(target / "twat-fs.cmd"), "--version"], capture_output=True, text=True
    )
    assert (output.returncode, output.stdout.strip()) == (0, "twat-fs 2.0.1")


@windows_only
@every_powershell
@pytest.mark.parametrize(
    ("name", "fault", "sentence"),
    [
        ("SHA256SUMS", "missing", "could not download "),
        ("SHA256SUMS", "page", "invalid checksum list"),
        (WINDOWS_BINARY, "missing", "could not download "),
        (WINDOWS_BINARY, "cut", WINDOWS_BINARY),
        (WINDOWS_BINARY, "wrong", "SHA-256 mismatch"),
    ],
)
def test_windows_tells_a_bad_download_in_a_sentence_and_changes_nothing(
    powershell, release, target, shell, name, fault, sentence
):
    target.mkdir(parents=True)
    (target / "twat-fs.exe").write_bytes(OLD)
    release.newest[WINDOWS_BINARY] += b"echo"  # which "wrong" changes
    release.faults = {name: fault}
    thrown(powershell(shell), sentence)
    assert inside(target) == ["twat-fs.exe"]
    assert (target / "twat-fs.exe").read_bytes() == OLD


@windows_only
@every_powershell
@pytest.mark.parametrize("wish", ["1.2", "1.2.3/../x", "x"])
def test_windows_rejects_invalid_versions(powershell, release, target, shell, wish):
    thrown(powershell(shell, "-Version", wish), "invalid version")
    assert (release.asked, target.exists()) == ([], False)


@windows_only
@every_powershell
def test_windows_replaces_a_program_that_runs(powershell, target, compiled, shell):
    target.mkdir(parents=True)
    (target / "twat-fs.exe").write_bytes(compiled("1.0.0", 60_000))
    with subprocess.Popen([str(target / "twat-fs.exe")], stdout=subprocess.DEVNULL) as running:
        done = powershell(shell)
        still = running.poll()
        running.kill()
    assert (done.returncode, still) == (0, None), done.stderr
    assert "installed twat-fs 2.0.1 as" in done.stdout
    assert powershell(shell).returncode == 0
    assert inside(target) == ["twat-fs.exe"]


@windows_only
@every_powershell
def test_windows_puts_the_folder_on_the_path_and_takes_it_off_again(powershell, target, shell):
    import winreg

    def value():
        with (
            winreg.OpenKey(winreg.HKEY_CURRENT_USER, "Environment") as key,
            contextlib.suppress(FileNotFoundError),
        ):
            return winreg.QueryValueEx(key, "Path")
        return "", winreg.REG_EXPAND_SZ

    before, _ = value()
    done = powershell(shell, "-AddToPath")
    assert (done.returncode, value()) == (
        0,
        (f"{target};{before}".rstrip(";"), winreg.REG_EXPAND_SZ),
    ), done.stderr
    assert powershell(shell, "-AddToPath").returncode == 0
    assert value()[0].count(str(target)) == 1
    assert powershell(shell, "-Uninstall").returncode == 0
    assert value()[0].strip(";") == before.strip(";")


@windows_only
@every_powershell
def test_windows_tells_ci_where_it_is(powershell, target, tmp_path, shell):
    done = powershell(shell, GITHUB_PATH=str(tmp_path / "path"))
    assert (done.returncode, (tmp_path / "path").read_bytes()) == (0, f"{target}\n".encode()), (
        done.stderr
    )
