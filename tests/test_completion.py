"""`twat-fs completion` in the real shells, and the man page under mandoc."""

from __future__ import annotations

import os
import select
import shutil
import subprocess
import sys
import time

import pytest
from conftest import PROGRAM
from repos import ROOT, good, python, run

import twat_fs

HOSTS = [row.id for row in twat_fs.PROVIDERS]
COMMANDS = sorted(twat_fs.COMMAND_OPTIONS)
OFFERS = [
    ("twat-fs ser", ["serve"]),
    ("twat-fs -p cat", ["catbox"]),
    ("twat-fs --provider x0", ["x0at"]),
    ("twat-fs -p catbox,ug", ["catbox,uguu"]),
    ("twat-fs a.txt --lim", ["--limit-rate"]),
    ("twat-fs list --j", ["--json"]),
    ("twat-fs list --lim", []),
    ("twat-fs status pix", ["pixeldrain"]),
    ("twat-fs completion f", ["fish"]),
    ("file2url --fal", ["--fallback"]),
    ("twat-fs wor", ["words.txt"]),
    ("twat-fs --cacert wor", ["words.txt"]),
    ("twat-fs status --j", ["--json"]),
    ("twat-fs -4 --unique -p lit", ["litterbox"]),
    ("twat-fs --verify f", ["full"]),
    ("twat-fs --name lis", []),
    ("./twat_fs.py stat", ["status"]),
    ("./twat_fs.py -p upload,cat", ["upload,catbox"]),
]
STAND_IN = """#!/bin/sh
[ "$1 $2" = "completion --" ] && exec "{python}" "{program}" "$@"
echo "<$*>"
"""
on_posix = pytest.mark.skipif(os.name == "nt", reason="these are the shells of POSIX systems")


@pytest.fixture
def script(tmp_path, monkeypatch):
    """A folder with a file to offer and a copy of the program; the script of a shell beside it.

    The commands of OFFERS are on the PATH; all but the completion only print their arguments.
    """

    def write(shell):
        (tmp_path / "here").mkdir()
        (tmp_path / "here" / "words.txt").touch()
        (tmp_path / "bin").mkdir()
        for name in ("bin/twat-fs", "bin/file2url", "here/twat_fs.py"):
            text = STAND_IN.format(python=sys.executable, program=PROGRAM)
            (tmp_path / name).write_text(text)
            (tmp_path / name).chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
        path = tmp_path / f"completion.{shell}"
        path.write_text(python(PROGRAM, "completion", shell))
        return path

    return write


# In bash a script can only call the completion function.  File names come from readline, so this
# needs a real terminal.
class Terminal:
    """A shell at a pseudo terminal: type, and read what it shows until it is quiet."""

    def __init__(self, argv, cwd):
        import pty

        env = {
            "PATH": os.environ["PATH"],
            "HOME": str(cwd),
            "TERM": "dumb",
            "LC_ALL": "C.UTF-8",
            "PS1": "ready>",
        }
        self.master, slave = pty.openpty()
        self.shell = subprocess.Popen(
            argv, stdin=slave, stdout=slave, stderr=slave, cwd=cwd, env=env, start_new_session=True
        )
        os.close(slave)

    def shows(self, mark, seconds=30):
        """All that comes until `mark` has come."""
        text, until = "", time.monotonic() + seconds
        while mark not in text:
            assert time.monotonic() < until, f"the shell has shown only {text!r}"
            if select.select([self.master], [], [], 0.1)[0]:
                text += os.read(self.master, 4096).decode()
        return text

    def types(self, text):
        os.write(self.master, text.encode())

    def close(self):
        self.shell.kill()
        self.shell.wait()
        os.close(self.master)


@pytest.fixture(
    params=[
        pytest.param("bash", marks=pytest.mark.needs("bash")),
        pytest.param("zsh", marks=pytest.mark.needs("zsh")),
    ]
)
def terminal(request, script):
    """An interactive shell that knows our script; the line is printed instead of run."""
    path = script(request.param)
    plain = {"bash": ["bash", "--norc", "--noprofile", "-i"], "zsh": ["zsh", "-f", "-i"]}[
        request.param
    ]
    made = Terminal(plain, path.parent / "here")
    made.types(f"PS1='ready>'; source {path}; echo lo''aded\n")
    made.shows("loaded")
    yield made
    made.close()


@on_posix
def test_tab_completes_the_line_in_bash_and_zsh(terminal):
    wrong = []
    for line, offered in OFFERS:
        argv = line.split(" ")[1:]
        terminal.types(f"{line}\t")
        time.sleep(0.15)
        terminal.types("\n")
        shown = terminal.shows(">\r\n").rpartition("<")[2].partition(">")[0].split()
        if shown != [*argv[:-1], *(offered or argv[-1:])]:
            wrong.append((line, shown))
    assert not wrong


@on_posix
@pytest.mark.needs("fish")
@pytest.mark.parametrize(("line", "offered"), OFFERS)
def test_fish_offers(script, line, offered):
    path = script("fish")
    output = good(
        "fish",
        "--no-config",
        "-c",
        f"source {path}; complete -C '{line}'",
        cwd=path.parent / "here",
    )
    assert [line.partition("\t")[0] for line in output.splitlines()] == offered


@on_posix
@pytest.mark.needs("fish")
@pytest.mark.parametrize(
    ("argv", "offered"), [("stat", "status"), ("-p x0", "x0at"), ("wor", "words.txt")]
)
def test_fish_completes_a_copy_that_python_runs(script, argv, offered):
    path = script("fish")
    shutil.copy(PROGRAM, path.parent / "here")
    ask = f"source {path}; complete -C 'python3 twat_fs.py {argv}'"
    ask += f"; complete -C 'python3 other.py {argv}'"
    lines = good("fish", "--no-config", "-c", ask, cwd=path.parent / "here").splitlines()
    assert [line.partition("\t")[0] for line in lines] == [offered] * (1 + (offered == "words.txt"))


@on_posix
@pytest.mark.needs("fish")
def test_fish_shows_what_options_do(script):
    path = script("fish")
    ask = f"source {path}; complete -C 'twat-fs list --'"
    lines = good("fish", "--no-config", "-c", ask).splitlines()
    (help_of_json,) = (o.help for o in twat_fs.COMMAND_OPTIONS["list"] if o.flags == "--json")
    assert f"--json\t{help_of_json}" in lines and len(lines) == 4


@pytest.mark.parametrize(
    ("argv", "offered"),
    [
        ([], COMMANDS),
        (["-p"], ["-p"]),
        (["-p", "nonsense"], []),
        (["serve", "--dir", ""], []),
        (["serve", "--dir", "--k"], []),
        (["serve", "--token", "--k"], ["--keep"]),
        (["upload", "-p", ",c"], [",catbox"]),
        (["hosts", "r"], ["remove"]),
        (["hosts", "export", "pix"], ["pixeldrain"]),
        (["a file", "--", "x\n"], []),
    ],
)
def test_the_program_offers_words_to_any_shell(argv, offered):
    lines = python(PROGRAM, "completion", "--", *argv).splitlines()
    assert sorted(line.partition("\t")[0] for line in lines) == offered


@on_posix
@pytest.mark.needs("bash")
def test_bash_knows_every_command_option_and_host(script):
    path = script("bash")
    ask = f'source {path}; try() {{ COMP_WORDS=("$@"); COMP_CWORD=$(($#-1)); _twat_fs;'
    ask += ' echo "${COMPREPLY[@]}"; }'
    output = good(
        "bash",
        "-c",
        f"{ask}; try twat-fs ''; try twat-fs -p ''; try twat-fs x -; try twat-fs serve -",
    ).splitlines()

    def flags(name):
        return {flag for option in twat_fs.COMMAND_OPTIONS[name] for flag in option.flags.split()}

    assert sorted(output[0].split()) == COMMANDS
    assert output[1].split() == HOSTS
    assert set(output[2].split()) == flags("upload") | {"--help", "--version"}
    assert set(output[3].split()) == flags("serve") | {"--help", "--version"}


@pytest.mark.parametrize("argv", [[], ["tcsh"], ["bash", "zsh"]])
def test_another_shell_is_a_wrong_command_line(argv):
    done = run(sys.executable, PROGRAM, "completion", *argv)
    assert (done.returncode, done.stdout) == (2, "") and done.stderr


# The man page -------------------------------------------------------------------------------------


@pytest.fixture
def page(tmp_path):
    python(ROOT / "tools" / "man.py", "--out", tmp_path)
    return tmp_path / "twat-fs.1"


@pytest.mark.needs("mandoc")
def test_mandoc_has_nothing_to_complain_about(page):
    done = run("mandoc", "-Tlint", "-W", "style", page)
    assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)


@pytest.mark.needs("mandoc")
def test_the_page_shows_every_command_option_host_and_exit_code(page):
    shown = subprocess.run(
        ["mandoc", "-Tutf8", str(page)], capture_output=True, text=True, check=True
    ).stdout
    text = "".join(
        c for c, n in zip(shown, [*shown[1:], ""]) if c != "\b" and n != "\b"
    )  # bold is c, backspace, c
    argv = set(text.replace(",", " ").split())
    flags = {
        flag
        for options in twat_fs.COMMAND_OPTIONS.values()
        for option in options
        for flag in option.flags.split()
    }
    assert flags <= argv, flags - argv
    assert set(HOSTS) <= argv and set(COMMANDS) <= argv
    assert {"0", "1", "2", "3", "4", "5", "6", "130", "TWAT_FS_TIMEOUT", "SSL_CERT_FILE"} <= argv


def test_the_page_is_the_same_whenever_it_is_made(page, tmp_path):
    before = page.read_bytes()
    python(ROOT / "tools" / "man.py", "--out", tmp_path, TZ="Asia/Tokyo", COLUMNS="40")
    assert page.read_bytes() == before
