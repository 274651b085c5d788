"""README.md: every command runs here as a user types it, as far as it can run offline.

    README.md -> commands (code blocks, and `code` in the text) -> one shell each, in a folder of
    its own
        twat-fs, python3   this Python with twat_fs.py
        public hosts       the internet in a box
        github.com         a release on loopback, and a clone of this tree

Chapters: 1 The page, 2 The machine, 3 The commands, 4 serve, 5 Menus of file managers, 6 Facts.
"""

from __future__ import annotations

import configparser
import functools
import http.server
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
from urllib.parse import urlsplit

import pytest
from conftest import PROGRAM, environment, kill_group, new_group
from internet.loopback import closed_port, until
from needs import PATH, need
from repos import clone_of_this_tree
from ruamel.yaml import YAML
from workflows import load

import twat_fs

pytestmark = pytest.mark.skipif(os.name == "nt", reason="the commands of README.md are for sh")
ROOT = PROGRAM.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")

# 1 The page ---------------------------------------------------------------------------------------

BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", README, re.M | re.S)
PROGRAMS = "twat-fs|python3|curl|pip|pipx|uv|uvx|gh|git|irm|eval|sha256sum|shasum|gpg|cd"
RELEASES = "https://github.com/twardoch/twat-fs/releases"
FILES = ("report.pdf", "photo.jpg", "setup.exe", "secret.txt", "FILE")


def blocks(language: str) -> list[str]:
    return [text for name, text in BLOCKS if name == language]


def in_blocks() -> list[str]:
    """The lines of the shell blocks, without comments."""
    lines = "".join(blocks("sh")).splitlines()
    return [re.sub(r"\s+# .*", "", line) for line in lines]


def in_text() -> list[str]:
    """Each `code` of the text that is a command, not only the name of the program."""
    prose = re.sub(r"^```.*?^```$", "", README, flags=re.M | re.S)
    codes = re.findall(rf"`((?:{PROGRAMS}) [^`]+)`", prose)
    return [code for code in codes if code != "python3 twat_fs.py"]


COMMANDS = list(dict.fromkeys(in_blocks() + in_text()))

# What cannot run offline, or has a test of its own.
NOT_RUN = {
    "pip install twat-fs": "PyPI; test_package.py installs the wheel",
    "uv tool install twat-fs": "PyPI; test_package.py installs the wheel",
    "uvx twat-fs FILE": "PyPI; test_package.py runs the wheel",
    "pipx install twat-fs": "PyPI; test_package.py installs the wheel",
    "pipx run twat-fs FILE": "PyPI; test_package.py runs the wheel",
    "pip install git+https://github.com/twardoch/twat-fs": "PyPI; test_package.py builds a clone",
    "uv run URL-OF-THE-FILE FILE": "uv; test_package.py runs the file",
    f"curl -fsSLO {RELEASES}/latest/download/twat-fs-linux-x86_64": "a build: test_binary.py",
    f"irm {RELEASES}/latest/download/install.ps1 | iex": "PowerShell: test_install.py",
    "gh attestation verify twat_fs.py --repo twardoch/twat-fs": "GitHub",
    "gpg -c secret.txt && twat-fs secret.txt.gpg": "asks for a passphrase",
    "curl https://api.dropboxapi.com/oauth2/token -u APP_KEY:APP_SECRET"
    " -d grant_type=authorization_code -d code=CODE": "an account at Dropbox",
    "python3 tools/dev.py test": "these tests",
    "twat-fs serve report.pdf": "chapter 4",
    "python3 twat_fs.py serve README.md": "chapter 4",
    "twat-fs serve": "chapter 4",
    "curl -u :TOKEN -T FILE URL": "chapter 4",
    "twat-fs -p http://:TOKEN@HOST:PORT/ FILE": "chapter 4",
    "twat-fs serve --url https://drop.example.org/drop/": "chapter 4",
    'eval "$(twat-fs completion bash)"': "test_completion.py",
    "twat-fs completion fish > ~/.config/fish/completions/twat-fs.fish": "test_completion.py",
}
NO_UPLOAD = (
    "--dry-run",
    "twat-fs list",
    "twat-fs history",
    "status HOST",
    "dev.py --help",
    "curl",
    "sha256sum",
    "shasum",
    "git clone",
)


def test_what_is_not_run_is_in_the_readme():
    assert [command for command in NOT_RUN if command not in README] == []


# 2 The machine ------------------------------------------------------------------------------------


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments) -> None:
        """No log."""


@pytest.fixture(scope="module")
def github(tmp_path_factory):
    """The URL of releases on loopback, and a clone of this tree."""
    folder = tmp_path_factory.mktemp("github")
    clone_of_this_tree(folder / "clone")
    latest = folder / "releases" / "latest" / "download"
    latest.mkdir(parents=True)
    for name in ("twat_fs.py", "install.sh"):
        shutil.copy(ROOT / name, latest)
    names = sorted(os.listdir(latest))
    sums = subprocess.run(["sha256sum", *names], cwd=latest, capture_output=True, check=True)
    (latest / "SHA256SUMS").write_bytes(sums.stdout)
    handler = functools.partial(Quiet, directory=str(folder / "releases"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}", folder / "clone"
        server.shutdown()


@pytest.fixture
def machine(box, github, tmp_path):
    """A folder for the commands of a user, and the environment: the two programs first on PATH."""
    releases, clone = github
    folder, programs = tmp_path / "user", tmp_path / "bin"
    folder.mkdir()
    programs.mkdir()
    python = shlex.quote(sys.executable)
    for name, line in {
        "python3": python,
        "twat-fs": f"{python} {shlex.quote(str(PROGRAM))}",
    }.items():
        (programs / name).write_text(f'#!/bin/sh\nexec {line} "$@"\n')
        (programs / name).chmod(0o755)
    extra = {
        "PATH": f"{programs}{os.pathsep}{PATH}",
        "TWAT_FS_BASE_URL": releases,  # of install.sh
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"url.{clone}.insteadOf",
        "GIT_CONFIG_VALUE_0": "https://github.com/twardoch/twat-fs",
    }
    return folder, environment(box, extra)


@pytest.fixture
def shell(machine, github):
    """Runs one command in a folder where the files that the README names exist."""
    folder, env = machine

    def run(command: str) -> subprocess.CompletedProcess:
        local = command.replace(RELEASES, github[0])
        return subprocess.run(
            ["sh", "-c", local],
            cwd=folder,
            env=env,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=60,
        )

    return run


@pytest.fixture
def files(machine):
    folder, _ = machine
    for name in FILES:
        (folder / name).write_bytes(os.urandom(5000))
    (folder / "project").mkdir()
    (folder / "project" / "a.txt").write_text("a")
    for name in ("twat_fs.py", "README.md"):
        shutil.copy(ROOT / name, folder)  # no symlinks: curl -O would write into this tree
    shutil.copytree(ROOT / "tools", folder / "tools")
    return folder


# 3 The commands -----------------------------------------------------------------------------------


def runnable() -> list[str]:
    return [command for command in COMMANDS if command not in NOT_RUN]


@pytest.mark.needs("curl", "git")
@pytest.mark.parametrize("command", runnable())
def test_each_command_works(box, shell, files, command):
    if "sha256sum" in command:
        assert shell(f"curl -fsSLO {RELEASES}/latest/download/SHA256SUMS").returncode == 0
    done = shell(command.replace("HOST", "x0at"))
    assert done.returncode == 0, done.stderr
    urls = re.findall(r'https://[^\s"]+', done.stdout)
    if "--online" in command:
        assert box.uploads("x0.at")
    elif any(part in command for part in NO_UPLOAD):
        assert not box.uploads()
    else:
        assert urls and all(url in box.stored for url in urls), done
        assert len(urls) == len(box.uploads())


@pytest.mark.needs("curl")
def test_the_first_two_lines_work_for_a_newcomer(box, shell, machine):
    folder, env = machine
    assert os.listdir(folder) == [] and os.listdir(env["HOME"]) == []
    done = shell(blocks("sh")[0])
    assert done.returncode == 0, done.stderr
    (url,) = done.stdout.split()
    assert box.stored[url].read().count(b"\n") == 1
    assert os.listdir(folder) == ["twat_fs.py"]


@pytest.mark.parametrize("text", blocks("console"))
def test_an_example_prints_what_the_readme_shows(box, shell, files, text):
    command, _, output = text.partition("\n")
    box.fault("x0.at", "status", status=503, body="maintenance\n")
    done = shell(f"exec 2>&1; {command[len('$ ') :]}")
    assert done.stdout == output


@pytest.mark.parametrize("text", blocks("python"))
def test_the_python_program_runs(box, shell, files, text):
    (files / "example.py").write_text(text)
    done = shell("python3 example.py")
    assert done.returncode == 0, done.stderr
    url, verified, expires = done.stdout.split()
    assert url in box.stored and verified == "full" and expires.endswith("Z")
    assert len(box.stored) == 2


# 4 serve ------------------------------------------------------------------------------------------


@pytest.fixture
def serving(machine):
    """Starts a server of the README; gives what it prints, and stops it by Ctrl-C at the end."""
    folder, env = machine
    started = []

    def start(command: str, **extra: str) -> str:
        log = folder / "serve.log"
        with open(log, "wb") as file:
            process = subprocess.Popen(
                ["sh", "-c", f"exec {command}"],
                cwd=folder,
                env={**env, **extra},
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                **new_group(),
            )
        started.append(process)
        until(lambda: "until Ctrl-C" in log.read_text() or process.poll() is not None)
        return log.read_text()

    yield start
    for process in started:
        process.send_signal(signal.SIGINT)
        process.wait(10)
        kill_group(process)


def port_of(text: str) -> str:
    return re.findall(r"http://[^/\s]+:([0-9]+)/", text)[0]


@pytest.mark.needs("curl")
@pytest.mark.parametrize(
    "command, name",
    [
        ("twat-fs serve report.pdf", "report.pdf"),
        ("python3 twat_fs.py serve README.md", "README.md"),
    ],
)
def test_serve_gives_a_file(shell, serving, files, command, name):
    text = serving(command)
    path = urlsplit(text.split()[0]).path
    done = shell(f"curl -fsS http://127.0.0.1:{port_of(text)}{path} | cmp - {name}")
    assert done.returncode == 0, text + done.stderr


@pytest.mark.needs("curl")
def test_serve_receives_by_the_command_of_the_readme(shell, serving, files):
    port = port_of(serving("twat-fs serve"))
    (command,) = re.findall(r"# receive files: (curl .*)", README)
    assert_stored(shell, shell(command.replace("8080", port)))


def assert_stored(shell, upload) -> None:
    """The command has printed a URL on this machine that serves FILE."""
    (url,) = upload.stdout.split()
    assert url.startswith("http://127.0.0.1:"), upload.stderr
    assert shell(f"curl -fsS {url} | cmp - FILE").returncode == 0


@pytest.mark.needs("curl")
@pytest.mark.parametrize(
    "command", ["curl -u :TOKEN -T FILE URL", "twat-fs -p http://:TOKEN@HOST:PORT/ FILE"]
)
def test_serve_receives_with_a_token(shell, serving, files, command):
    port = port_of(serving("twat-fs serve --bind 127.0.0.1", TWAT_FS_SERVE_TOKEN="TOKEN"))
    base = f"http://127.0.0.1:{port}/"
    assert shell(f"curl -fsS -T FILE {base}").returncode == 22  # 401
    assert_stored(
        shell, shell(command.replace("URL", base).replace("HOST:PORT", f"127.0.0.1:{port}"))
    )


NGINX = """
daemon off; master_process off; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{ worker_connections 64; }}
http {{
    access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
    server {{ listen 127.0.0.1:{port}; {location} }}
}}
"""


@pytest.mark.needs("nginx", "curl")
def test_serve_works_behind_nginx_with_the_lines_of_the_readme(shell, serving, files, tmp_path):
    """But for TLS: nginx listens on loopback."""
    port = closed_port()
    public = f"http://127.0.0.1:{port}/drop/"
    (command,) = [line for line in COMMANDS if "serve --url" in line]
    text = serving(command.replace("https://drop.example.org/drop/", public))
    inner = re.findall(r"listening on http://127.0.0.1:([0-9]+)/", text)[0]
    (location,) = re.findall(r"`(location /drop/ \{[^`]*\})`", README)
    config = tmp_path / "nginx.conf"
    lines = location.replace("8080", inner)
    config.write_text(NGINX.format(folder=tmp_path, port=port, location=lines))
    nginx = subprocess.Popen([need("nginx"), "-c", str(config)], stderr=subprocess.DEVNULL)
    try:
        done = shell(f"curl -fsS --retry 20 --retry-connrefused --retry-delay 1 -T FILE {public}")
        assert done.stdout.startswith(public), done.stderr
        assert_stored(shell, done)
    finally:
        nginx.kill()
        nginx.wait()


# 5 Menus of file managers -------------------------------------------------------------------------

STAND_INS = {
    "notify-send": 'printf "%s\\n" "$@" > notes',  # shows a message on the desktop
    "osascript": 'shift 6; printf "%s\\n" -- twat-fs "$@" > notes',  # the same on macOS
    **dict.fromkeys(("wl-copy", "xclip", "pbcopy"), "cat > clipboard"),
}
CHOSEN = ("FILE", "a 'b' $(touch evil).txt", "-x.txt", "list")  # file names that a menu passes on


def menu_script(number: int) -> list[str]:
    """A script of the README with its arguments, as the file manager runs it."""
    return ["sh", "-c", blocks("bash")[number], "sh", *CHOSEN]


def service_menu() -> list[str]:
    """Exec of the service menu as KIO runs it: %F is each file, quoted; then a shell."""
    menu = configparser.ConfigParser(interpolation=None)
    menu.optionxform = str
    menu.read_string(blocks("ini")[0])
    entry = menu["Desktop Entry"]
    assert (entry["Type"], entry["MimeType"]) == ("Service", "application/octet-stream;")
    command = menu[f"Desktop Action {entry['Actions']}"]["Exec"]
    return ["sh", "-c", command.replace("%F", shlex.join(CHOSEN))]


MENUS = {
    "GNOME": lambda: menu_script(0),
    "KDE": service_menu,
    "macOS": lambda: menu_script(1),
}


@pytest.fixture
def desktop(machine, files):
    """Runs a menu's command in a folder with the chosen files; returns the message on the screen.

    Stand-ins for the programs of the clipboard put it into a file.
    """
    folder, env = machine
    for name, script in STAND_INS.items():
        path = folder.parent / "bin" / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
    for name in CHOSEN:
        (folder / name).write_text(name)

    def run(command: list[str]) -> list[str]:
        env["DISPLAY"] = ":0"
        # of a desktop: no terminal, and the folder of the files
        subprocess.run(command, cwd=folder, env=env, stdin=subprocess.DEVNULL, timeout=60)
        assert not (folder / "evil").exists()
        return (folder / "notes").read_text().splitlines()

    return run


@pytest.mark.parametrize("menu", MENUS)
def test_a_menu_uploads_what_was_chosen_and_copies_the_links(box, desktop, files, menu):
    dashes, title, *message = desktop(MENUS[menu]())
    assert (dashes, title) == ("--", "twat-fs")
    links = [line for line in message if line.startswith("https://")]
    assert [box.stored[link].read().decode() for link in links] == list(CHOSEN)
    assert (files / "clipboard").read_text().split() == links


def test_a_menu_shows_why_an_upload_failed(box, desktop):
    box.fault("*", "refuse")
    _, _, *message = desktop(MENUS["GNOME"]())
    assert "upload failed" in "\n".join(message)


def test_each_file_is_of_a_few_lines_and_copies_the_links():
    files = [*blocks("bash"), *blocks("ini"), *blocks("powershell")]
    assert [len(text.splitlines()) for text in files] == [3, 3, 7, 3]
    assert all(text.count("--copy --") == 1 for text in files)


@pytest.mark.skipif(sys.version_info < (3, 10), reason="its parser needs Python 3.10")
def test_the_shortcut_for_windows_is_powershell():
    from tree_sitter import Language, Parser
    from tree_sitter_powershell import language

    parser = Parser(Language(language()))
    (text,) = blocks("powershell")
    assert not parser.parse(text.encode()).root_node.has_error
    assert parser.parse(text.replace(")", "", 1).encode()).root_node.has_error


def test_the_action_of_the_readme_exists():
    (text,) = blocks("yaml")
    steps = YAML(typ="safe").load(text)
    path, _, branch = steps[0]["uses"].replace("twardoch/twat-fs/", "").partition("@")
    action = load(ROOT / path / "action.yml")
    assert branch == "v3" and set(steps[0]["with"]) <= set(action["inputs"])
    assert [
        name for name in [*action["inputs"], *action["outputs"]] if f"`{name}`" not in README
    ] == []


# 6 Facts ------------------------------------------------------------------------------------------

SECTIONS = [
    "Try it",
    "Why this one",
    "Recipes",
    "Install",
    "Hosts",
    "Your own storage",
    "serve",
    "When it fails",
    "Python",
    "Development",
]


def test_the_page_is_short_and_in_this_order():
    assert re.findall(r"^## (.*)", README, re.M) == SECTIONS
    unfolded = re.sub(r"^<details>.*?^</details>$", "", README, flags=re.M | re.S)
    assert 110 <= len(unfolded.splitlines()) <= 150
    assert len(README.splitlines()) <= 235


def test_the_picture_is_in_the_repository_and_its_url_is_absolute():
    badge, url = re.findall(r"!\[[^]]+\]\(([^)\s]+)\)", README)
    base, _, path = url.partition("/main/")
    assert base == "https://raw.githubusercontent.com/twardoch/twat-fs"
    assert (ROOT / path).is_file()
    assert badge == f"{base}/board/hosts.svg"


def test_links_within_the_page_lead_somewhere():
    anchors = {title.lower().replace(" ", "-") for title in SECTIONS}
    assert set(re.findall(r"\]\(#([^)]+)\)", README)) <= anchors
    pages = re.findall(r"\(https://github.com/twardoch/twat-fs/blob/main/([^)]+)\)", README)
    assert pages and all((ROOT / page).is_file() for page in pages)


def test_what_is_folded_is_closed_and_read_as_markdown():
    """GitHub reads what follows <details> as Markdown after an empty line only."""
    assert len(re.findall(r"^<details><summary>.+</summary>\n\n", README, re.M)) == 5
    assert README.count("<details>") == len(re.findall("^</details>$", README, re.M)) == 5


def test_the_exit_codes_are_those_of_the_help(program):
    text = program("--help").stdout.partition("exit codes:\n")[2]
    codes = dict(re.findall(r"^ +([0-9]+)  (.+)", text, re.M))
    table = dict(re.findall(r"^\| ([0-9]+) \| (.+) \|$", README, re.M))
    assert list(table) == list(codes)


COMMANDS_WITH_OPTIONS = ((), ("serve",), ("status",), ("delete",))


def test_each_option_and_setting_exists(program):
    source = PROGRAM.read_text(encoding="utf-8")
    helps = [program(*command, "--help").stdout for command in COMMANDS_WITH_OPTIONS]
    known = set(re.findall(r"(?<![\w-])--?[a-zA-Z0-9][a-z0-9-]*", "".join(helps)))
    prose = re.sub(r"^```.*?^```$", "", README, flags=re.M | re.S)
    options = set(re.findall(r"`(--?[a-zA-Z0-9][a-z0-9-]*)[^`]*`", prose))
    assert options - known - {"--store"} == set()  # of croc
    settings = set(re.findall(r"`([A-Z][A-Z0-9]*_[A-Z0-9_]+)\b[^`]*`", prose)) - {"SHA256SUMS"}
    proxies = {"HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY"}  # read by urllib.request
    assert [name for name in sorted(settings - proxies) if name not in source] == []


def test_every_host_is_named():
    assert [row.id for row in twat_fs.PROVIDERS if f"`{row.id}`" not in README] == []
