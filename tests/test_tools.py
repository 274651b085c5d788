"""The development tools: each does what its help says, and fails with a message and a code."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import bench
import boto3
import dev
import needs
import pytest
import readme
from needs import need

ROOT = Path(__file__).resolve().parent.parent
MARKED = f"before\n{readme.BEGIN}\nold\n{readme.END}\nafter\n"
ROWS = [
    ("host", "domain", "used", "up to", "keeps", "remarks", "checked"),
    ("a", "a.example", "by default", "1 GiB", "1 day", "doc*", "2026-01-01"),
    ("b", "a server", "if set up", "?", "?", "", "2026-01-02"),
    ("c", "c.example", "if named", "512 MiB", "2 days", "x|y", "2026-01-03"),
]


posix_only = pytest.mark.skipif(os.name == "nt", reason="needs POSIX")


def tool(name, *args, **more):
    """Run tools/NAME.py as a developer does."""
    command = [sys.executable, str(ROOT / "tools" / f"{name}.py"), *map(str, args)]
    return subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300, **more
    )


# dev.py -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", dev.COMMANDS)
def test_every_command_of_dev_explains_itself(command):
    done = tool("dev", command, "--help")
    assert done.returncode == 0
    assert "usage: dev.py" in done.stdout


@posix_only
@pytest.mark.needs("make")
@pytest.mark.parametrize("command", dev.COMMANDS)
def test_make_knows_every_command_by_its_name(command):
    done = subprocess.run(
        ["make", "-n", command, "ARGS=--x", "PYTHON=py"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.stdout == f"py tools/dev.py {command} --x\n"


@posix_only
@pytest.mark.needs("make")
def test_make_alone_prints_the_help():
    done = subprocess.run(
        ["make", f"PYTHON={sys.executable}"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0 and done.stdout == tool("dev", "--help").stdout
    assert all(command in done.stdout for command in dev.COMMANDS)


@pytest.mark.parametrize(
    "args", [["release"], ["release", "v1.2.3", "v1.2.4"], ["binary", "--nonsense"]]
)
def test_a_wrong_word_is_refused_by_the_tool_that_gets_it(args):
    done = tool("dev", *args)
    assert done.returncode == 2 and "error:" in done.stderr


@pytest.mark.parametrize(
    "args", [[], ["nonsense"], ["lint", "--nonsense"], ["clean", "file"], ["build", "x"]]
)
def test_dev_refuses_what_it_does_not_know(args):
    done = tool("dev", *args)
    assert done.returncode == 2
    assert "error:" in done.stderr


def test_the_packages_are_read_from_the_list_in_pyproject():
    text = (
        '[dependency-groups]\ndev = [\n    "one>=1",   # why\n'
        "    \"two; python_version < '3.10'\",\n]\n\n[tool.x]\n"
    )
    assert dev.packages(text) == ["one>=1", "two; python_version < '3.10'"]


def test_a_pyproject_without_the_list_is_refused_with_a_sentence():
    with pytest.raises(SystemExit, match="no list `dev`"):
        dev.packages("[project]\n")


def test_other_packages_make_another_fingerprint():
    assert dev.fingerprint(["a"]) == dev.fingerprint(["a"]) != dev.fingerprint(["a", "b"])


@pytest.mark.parametrize(
    ("version", "stamped", "expected"),
    [
        (None, False, ".venv"),  # there is none yet
        ("{}.{}.99", True, ".venv"),  # ours, of this Python
        ("3.1.0", True, ".venv-{}.{}"),  # ours, of another one
        ("{}.{}.99", False, ".venv-{}.{}"),  # made by a person
    ],
)
def test_the_venv_is_never_that_of_another_python_or_person(tmp_path, version, stamped, expected):
    if version:
        (tmp_path / ".venv").mkdir()
        (tmp_path / ".venv" / "pyvenv.cfg").write_text(
            f"home = /x\nversion = {version.format(*sys.version_info)}\n"
        )
    if stamped:
        (tmp_path / ".venv" / dev.STAMP).touch()
    assert dev.venv_folder(tmp_path).name == expected.format(*sys.version_info)


def test_a_venv_that_cannot_be_made_leaves_nothing_and_names_the_package(tmp_path):
    """Debian without python3-venv: the folder is there already when the module fails."""
    (tmp_path / "tools").mkdir()
    shutil.copy(ROOT / "tools" / "dev.py", tmp_path / "tools")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    fake = tmp_path / "fake"
    fake.mkdir()
    (fake / "venv.py").write_text("import os, sys; os.mkdir(sys.argv[1]); sys.exit(1)\n")
    done = subprocess.run(
        [sys.executable, str(tmp_path / "tools" / "dev.py"), "setup"],
        env={**os.environ, "PYTHONPATH": str(fake)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1 and "apt-get install python3-venv" in done.stderr
    assert not list(tmp_path.glob(".venv*"))


def test_clean_deletes_what_was_made_and_nothing_else(tmp_path):
    made = [
        ".venv/bin/python",
        ".venv-3.9/x",
        ".coverage",
        ".coverage.host.1",
        "tests/__pycache__/a.pyc",
        "dist/a.whl",
    ]
    remaining = ["twat_fs.py", "tests/test_a.py", ".git/config", "tools/dev.py", ".venvy"]
    for name in [*made, *remaining]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    shutil.copy(ROOT / "tools" / "dev.py", tmp_path / "tools")
    done = subprocess.run(
        [sys.executable, str(tmp_path / "tools" / "dev.py"), "clean"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert not [name for name in made if (tmp_path / name).exists()]
    assert [name for name in remaining if (tmp_path / name).exists()] == remaining


def test_the_table_of_online_tests_tells_day_result_and_reason():
    junit = (
        '<testsuites><testsuite><testcase name="test_up[a]" time="1.25"/>'
        '<testcase name="test_up[b]" time="2">'
        '<failure message="no&#10;link">long</failure></testcase>'
        "</testsuite></testsuites>"
    )
    lines = dev.dated_table(junit, "2026-11-23").splitlines()
    assert [line.split() for line in lines[1:]] == [
        ["2026-11-23", "ok", "1.2", "test_up[a]"],
        ["2026-11-23", "failure", "2.0", "test_up[b]", "no", "link"],
    ]


# readme.py ----------------------------------------------------------------------------------------


def test_the_default_hosts_have_four_columns_and_the_others_are_folded():
    assert readme.markdown(ROWS).splitlines() == [
        "| host | up to | keeps | remarks |",
        "| --- | --- | --- | --- |",
        "| [`a`](https://a.example) | 1 GiB | 1 day | doc\\* |",
        "",
        "<details><summary>The 2 other hosts</summary>",
        "",
        "| used | host | up to | keeps | remarks |",
        "| --- | --- | --- | --- | --- |",
        "| if named | [`c`](https://c.example) | 512 MiB | 2 days | x\\|y |",
        "| if set up | `b` | ? | ? |  |",
        "</details>",
    ]


def test_only_what_stands_between_the_marks_is_replaced():
    assert readme.with_table(MARKED, "new") == MARKED.replace("old", "new")


@pytest.mark.parametrize(
    "text", ["", readme.BEGIN, readme.END + readme.BEGIN, MARKED + MARKED, MARKED + readme.END]
)
def test_a_readme_without_its_two_marks_is_refused(text):
    with pytest.raises(ValueError, match="once each"):
        readme.with_table(text, "new")


def test_the_readme_is_checked_written_and_checked_again(tmp_path):
    file = tmp_path / "README.md"
    file.write_text(MARKED)
    codes = [
        tool("readme", wish, "--file", file).returncode
        for wish in ("--check", "--write", "--check")
    ]
    assert codes == [1, 0, 0]
    assert "`catbox`" in file.read_text()


def test_a_missing_readme_is_reported(tmp_path):
    done = tool("readme", "--check", "--file", tmp_path / "README.md")
    assert done.returncode == 1
    assert "README.md" in done.stderr
    assert "Traceback" not in done.stderr


# bench.py -----------------------------------------------------------------------------------------


@pytest.fixture(params=["C", "Python"])
def workbench(request, tmp_path, monkeypatch):
    """The place of the bench, once with each sink."""
    if request.param == "C":
        need("cc")
    if request.param == "Python":
        monkeypatch.setattr(
            bench, "sink_command", lambda folder: (sys.executable, str(ROOT / "tools" / "sink.py"))
        )
    with bench.prepared() as made:
        yield made


@posix_only
@pytest.mark.needs("curl")
@pytest.mark.parametrize("tls", [False, True])
def test_both_sinks_receive_count_answer_and_serve_ranges(workbench, tls):
    if tls:
        need("openssl")
    file = workbench.file(3 * bench.MiB)
    with bench.running_sink(workbench, tls, file) as sink:
        ask = ["curl", "-sS", "--fail", *(["--cacert", workbench.bundle] if tls else [])]
        link = subprocess.check_output([*ask, "-T", file, sink.url], text=True)
        assert link == f"{sink.url}abc/{Path(file).name}"
        assert subprocess.check_output(
            [*ask, "-F", f"file=@{file}", sink.url], text=True
        ).startswith(sink.url)
        assert (
            subprocess.check_output([*ask, "-r", "10-19", link]) == Path(file).read_bytes()[10:20]
        )
        assert subprocess.check_output([*ask, link]) == Path(file).read_bytes()
        received, sent = sink.statistics()
    assert 6 * bench.MiB < received < 6 * bench.MiB + 2000
    assert sent == 3 * bench.MiB + 10


@posix_only
@pytest.mark.needs("curl")
@pytest.mark.parametrize("tls", [False, True])
def test_a_sink_is_a_bucket_for_boto3(workbench, tls, clean_env):
    """Over https its bodies are chunked, twice."""
    if tls:
        clean_env.setenv("AWS_CA_BUNDLE", workbench.bundle)
    keys = {"aws_access_key_id": "a", "aws_secret_access_key": "b", "region_name": "us-east-1"}
    with bench.running_sink(workbench, tls) as sink:
        client = boto3.client("s3", endpoint_url=sink.url, **keys)
        for size in (0, 1000, 17 * bench.MiB):
            client.upload_file(workbench.file(size), "bucket", "file.bin")
        assert 17 * bench.MiB < sink.statistics()[0] < 17 * bench.MiB + 4000


@posix_only
@pytest.mark.needs("curl")
def test_a_capped_line_is_one(workbench):
    with bench.running_sink(workbench, False, cap=bench.MiB) as sink:
        begun = time.monotonic()
        subprocess.run(
            ["curl", "-sS", "-T", workbench.file(bench.MiB), sink.url],
            check=True,
            capture_output=True,
        )
        assert 0.8 < time.monotonic() - begun < 5


@posix_only
@pytest.mark.one_python
@pytest.mark.needs("curl")
def test_the_quick_bench_measures_every_race_and_can_be_compared(tmp_path):
    first = tool("bench", "--quick", "--json", tmp_path / "first.json")
    assert first.returncode == 0, first.stderr
    measured = json.loads((tmp_path / "first.json").read_text())
    raced = {entry["race"] for entry in measured["entries"]}
    wanted = {
        "start",
        "form http 4 GiB",
        "put http 1 KiB",
        "many 4 KiB",
        "proof 4 GiB",
        "s3 http 2 GiB",
        "s3 capped line 100 MiB",
    }
    assert wanted <= raced
    assert [goal["number"] for goal in measured["goals"]] == [goal.number for goal in bench.GOALS]
    again = tool("bench", "--quick", "--only", "many", "--compare", tmp_path / "first.json")
    assert again.returncode == 0, again.stderr
    assert "ratios compared with" in again.stdout
    assert "1,000 files" in again.stdout
    assert "peak memory," not in again.stdout


@posix_only
@pytest.mark.needs("curl")
def test_a_client_that_fails_is_never_measured(tmp_path):
    with pytest.raises(bench.Failed, match="status"):
        bench.run(
            ["curl", "-sS", "http://127.0.0.1:9/"],
            {"PATH": os.environ["PATH"]},
            tmp_path / "answer",
        )


@pytest.mark.skipif(os.name == "nt", reason="needs POSIX")
def test_what_a_process_costs_is_asked_from_the_kernel(tmp_path):
    held = "import sys; data = b'x' * (80 << 20); print(len(data))"
    cost = bench.run(
        [sys.executable, "-S", "-c", held], {"PATH": os.environ["PATH"]}, tmp_path / "answer"
    )
    assert (tmp_path / "answer").read_text().strip() == str(80 << 20)
    assert 80 * bench.MiB < cost.rss < 200 * bench.MiB
    assert cost.wall > 0


@pytest.mark.parametrize(
    ("limit", "result", "expected"),
    [(0.5, 0.5, "ok"), (0.5, 0.51, "MISSED"), (None, 9.0, "no goal"), (0.5, None, "not measured")],
)
def test_the_verdict_on_a_goal(limit, result, expected):
    assert bench.verdict(bench.Goal(1, "text", limit, lambda entries: result), result) == expected


# Programs that are not installed ------------------------------------------------------------------

NEEDY = """
import os
import pytest
from needs import need

@pytest.mark.needs("curl", "sh")
def test_marked(): ...

@pytest.mark.parametrize("name", ["sh", pytest.param("x", marks=pytest.mark.needs("mksh"))])
def test_parameter(name): ...

def test_inside():
    assert os.path.isabs(need("sh"))
    need("nginx", "curl")

def test_another_python():
    need("Python 3.6")
"""


def run_needy(folder, ci: str, *options):
    """The conftest and needs.py of these tests, on a machine that has nothing but `sh`."""
    (folder / "bin").mkdir()
    (folder / "bin" / "sh").symlink_to(shutil.which("sh"))
    text = (ROOT / "tests" / "needs.py").read_text(encoding="utf-8")
    path = 'PATH = os.environ["ONLY_PATH"]\nREASON ='
    text = re.sub(r"(?ms)^PATH = .*?^REASON =", path, text)
    (folder / "needs.py").write_text(text)
    hooks = "def pytest_configure.*?(?=^@pytest.fixture)"
    source = (ROOT / "tests" / "conftest.py").read_text(encoding="utf-8")
    (conftest,) = re.findall(f"(?ms)^{hooks}", source)
    head = "import signal\nimport sys\nsys.path.insert(0, '.')\nfrom needs import need, summary\n"
    (folder / "conftest.py").write_text(head + conftest)
    (folder / "test_needy.py").write_text(NEEDY)
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *options]
    env = {**os.environ, "ONLY_PATH": str(folder / "bin"), "CI": ci, "PYTEST_ADDOPTS": ""}
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True)


@posix_only
@pytest.mark.parametrize("options", [[], ["-n", "2"]], ids=["one process", "two workers"])
def test_what_is_not_installed_is_skipped_and_named_once(tmp_path, options):
    done = run_needy(tmp_path, "", *options)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed, 4 skipped" in done.stdout
    names = "4 tests skipped, not installed: Python 3.6, curl, mksh, nginx\n"
    command = f"Debian, Ubuntu: {needs.install_command(needs.PACKAGES)}\n"
    assert names + command in done.stdout and "mksh" in command
    assert done.stdout.count("not installed:") == 1


@posix_only
def test_in_ci_what_is_not_installed_fails_but_for_another_python(tmp_path):
    done = run_needy(tmp_path, "true")
    assert done.returncode == 1
    assert "1 failed, 2 errors" not in done.stdout and "1 passed" in done.stdout
    assert "1 skipped" in done.stdout
    for command in ("apt-get install curl", "apt-get install mksh"):
        assert command in done.stdout


def test_ci_installs_what_the_tests_need():
    """needs.py is the only list; with all of it installed it prints an empty line."""
    ci = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert "tests/needs.py" in ci and "nginx-light" not in ci
    command = [sys.executable, str(ROOT / "tests" / "needs.py")]
    env = {"PATH": "/nowhere"}
    missing = needs.packages(needs.missing())
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert printed == missing
    assert subprocess.run(command, env=env, capture_output=True).returncode == 0


# Width of scripts and workflows -------------------------------------------------------------------

WRITTEN = [
    path
    for pattern in ("install.*", "Makefile", ".ci/run", ".github/**/*.yml")
    for path in ROOT.glob(pattern)
]


@pytest.mark.parametrize("path", WRITTEN, ids=lambda path: path.name)
def test_no_line_is_wider_than_100_columns(path):
    lines = path.read_text(encoding="utf-8").splitlines()
    assert not [line for line in lines if len(line) > 100]
