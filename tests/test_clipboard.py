"""`--copy`: links go to the clipboard of the desktop, or of the terminal that ssh came from."""

from __future__ import annotations

import base64
import os
import re
import select
import shlex
import subprocess
import time

import pytest
from conftest import command, environment
from needs import need

pty = pytest.importorskip("pty")


@pytest.fixture
def file(tmp_path):
    def make(name="a.txt"):
        (tmp_path / name).write_bytes(name.encode() * 50)
        return tmp_path / name

    return make


@pytest.fixture
def tools(tmp_path):
    """`tools("pbcopy", ...)`: a folder for PATH with these commands and nothing else."""

    def make(**scripts):
        folder = tmp_path / "tools"
        folder.mkdir()
        for name, script in scripts.items():
            path = folder / name.replace("_", "-").replace("DOT", ".")
            path.write_text(f"#!/bin/sh\n{script}\n")
            path.chmod(0o755)
        return {"PATH": str(folder)}

    return make


@pytest.fixture(scope="module")
def display():
    """An X server, and the number of its display."""
    reader, writer = os.pipe()
    argv = [need("Xvfb"), "-displayfd", str(writer), "-nolisten", "tcp"]
    quiet = subprocess.DEVNULL
    server = subprocess.Popen(argv, pass_fds=[writer], stdout=quiet, stderr=quiet)
    os.close(writer)
    with open(reader) as numbers:
        yield ":" + numbers.readline().strip()
    server.kill()
    server.wait()


def only(path, *names):
    """A folder with links to these programs."""
    path.mkdir()
    for name in names:
        (path / name).symlink_to(need(name))
    return str(path)


@pytest.mark.parametrize("tool, reads", [("xclip", "-o -selection clipboard"), ("xsel", "-ob")])
def test_an_x11_clipboard_has_all_links(display, program, file, tmp_path, tool, reads):
    env = {"DISPLAY": display, "PATH": only(tmp_path / "path", tool)}
    begun = time.monotonic()
    ran = program("--copy", file(), file("b.txt"), env=env)
    assert ran.returncode == 0 and ran.stderr == "twat-fs: copied\n"
    assert time.monotonic() - begun < 10, "the tool in the background holds no pipe"
    copied = subprocess.run(
        [need(tool), *reads.split()], env={"DISPLAY": display}, capture_output=True, timeout=10
    )
    assert copied.stdout.decode() == ran.stdout.rstrip("\n")


@pytest.mark.parametrize(
    "name, variables",
    [
        ("wl_copy", {"WAYLAND_DISPLAY": "wayland-0"}),
        ("pbcopy", {}),
        ("clipDOTexe", {}),
        ("termux_clipboard_set", {}),
    ],
)
def test_each_tool_gets_the_link_on_its_standard_input(program, file, tools, name, variables):
    path = tools(**{name: '/bin/cat > "$0.got"'})
    ran = program("-c", file(), env={**path, **variables})
    assert ran.returncode == 0 and ran.stderr == "twat-fs: copied\n"
    (got,) = [name for name in os.listdir(path["PATH"]) if name.endswith(".got")]
    with open(os.path.join(path["PATH"], got)) as content:
        assert content.read() == ran.stdout.strip()


def test_a_tool_that_fails_leaves_it_to_the_next(program, file, tools):
    path = tools(xclip="exit 1", pbcopy='/bin/cat > "$0.got"')
    ran = program("-c", file(), env={**path, "DISPLAY": ":9"})
    assert (ran.returncode, ran.stderr) == (0, "twat-fs: copied\n")
    assert os.path.exists(path["PATH"] + "/pbcopy.got")


@pytest.mark.parametrize("env", [{}, {"DISPLAY": ":9", "SSH_TTY": "/dev/pts/77"}])
def test_without_a_clipboard_it_warns_and_the_link_stands(program, file, tools, env):
    ran = program(
        "--copy", file(), env={**tools(xclip="exit 1"), **env}, before=[need("setsid"), "-w"]
    )
    failed = " (xclip failed)" if env else ""
    assert ran.returncode == 0 and ran.stdout.startswith("https://")
    assert ran.stderr == f"twat-fs: warning: not copied: no clipboard{failed}\n"


def test_a_tool_that_hangs_is_given_up(program, file, tools):
    ran = program("--copy", file(), env=tools(pbcopy="exec /bin/sleep 60"))
    assert (ran.returncode, ran.stdout[:8]) == (0, "https://")
    assert ran.stderr == "twat-fs: warning: not copied: no clipboard (pbcopy failed)\n"


def test_only_on_demand(program, file, tools):
    path = tools(pbcopy='/bin/cat > "$0.got"')
    for value in (None, "0", "off", ""):
        assert program(file(), env={**path, "TWAT_FS_COPY": value}).stderr == ""
    assert os.listdir(path["PATH"]) == ["pbcopy"]
    assert program("-q", file(), env={**path, "TWAT_FS_COPY": "1"}).stderr == ""
    assert "pbcopy.got" in os.listdir(path["PATH"])


def test_a_failed_upload_copies_nothing(program, file, tools):
    path = tools(pbcopy='/bin/cat > "$0.got"')
    ran = program("-c", "-p", "catbox", file("a.exe"), env=path)
    assert ran.returncode == 5 and "copied" not in ran.stderr
    assert os.listdir(path["PATH"]) == ["pbcopy"]


# Over SSH: the clipboard of the terminal ----------------------------------------------------------


def on_terminal(argv, env, wait=60):
    """Run on a terminal of its own; the exit code and what the terminal got."""
    pid, master = pty.fork()
    if not pid:
        os.execve(argv[0], argv, env)
    output, end = b"", time.monotonic() + wait
    while time.monotonic() < end and select.select([master], [], [], 1.0)[0] is not None:
        try:
            data = os.read(master, 65536)
        except OSError:  # Linux: the terminal was closed
            break
        if not data:
            break
        output += data
    os.close(master)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), output.decode()


def test_over_ssh_the_terminal_gets_it(box, file):
    env = environment(box, {"SSH_TTY": "/dev/pts/1", "DISPLAY": "localhost:10.0"})
    code, output = on_terminal(command(["-c", file(), file("b.txt")]), env)
    (sequence,) = re.findall(r"\x1b]52;c;([A-Za-z0-9+/=]+)\x07", output)
    links = re.findall(r"https://files\S+", output)
    assert code == 0 and base64.b64decode(sequence).decode() == "\n".join(links)
    assert "twat-fs: sent to the terminal's clipboard\r\n" in output


@pytest.fixture
def tmux(box, tmp_path):
    """`tmux("set -g ...", argv)`: run in tmux 80 columns wide.

    Returns the buffer of tmux, and what the outer terminal got.
    """
    program = need("tmux")
    socket = str(tmp_path / "socket")

    def run(setting, argv):
        (tmp_path / "tmux.conf").write_text(f"{setting}\n")
        outer = environment(box, {"TERM": "xterm-256color", "SSH_TTY": "/dev/pts/1"})
        shown = " ".join(map(shlex.quote, argv))
        inner = f"{shown}; {program} -S {socket} show-buffer > {tmp_path}/buffer; sleep 0.5"
        tmux = [program, "-S", socket, "-f", str(tmp_path / "tmux.conf"), "new-session", inner]
        code, output = on_terminal(tmux, outer)
        assert code == 0
        return (tmp_path / "buffer").read_text(), output

    yield run
    subprocess.run([program, "-S", socket, "kill-server"], capture_output=True)


@pytest.mark.parametrize("setting", ["", "set -g set-clipboard on", "set -g allow-passthrough on"])
def test_through_tmux(tmux, box, file, setting):
    buffer, output = tmux(setting, command(["-c", file()]))
    (link,) = box.stored
    encoded = base64.b64encode(link.encode()).decode()
    assert re.search(rf"\x1b]52;[cs]*;{re.escape(encoded)}(\x07|\x1b\\)", output), output
    assert (buffer == link) == ("passthrough" not in setting)
