"""The board of living hosts, and the action that uploads files of a workflow.

The steps of hosts.yml and of the action run as GitHub runs them: the hosts are those of the
internet in a box, and the repository at GitHub is a bare one in a folder. Chapters: 1 Deciding, 2
Showing, 3 The dates of the rows, 4 The workflow, 5 The action.
"""

from __future__ import annotations

import ast
import json
import shutil
import subprocess
import sys
import time
from xml.etree import ElementTree

import action
import board as tool
import dev
import pytest
from conftest import environment
from repos import ROOT, git
from workflows import GITHUB, commands, load, run_step, workflow

import twat_fs

DAY, LAST_WEEK, BEFORE = "2026-11-30", "2026-11-23", "2026-11-16"
steps_run = pytest.mark.skipif(sys.platform == "win32", reason="the steps are shell commands")

# 1 Deciding ---------------------------------------------------------------------------------------


def result(works: bool = True, error: str = "", host: str = "a") -> tool.Result:
    return tool.Result(host, works, 0.5, error)


@pytest.mark.parametrize(
    "works, last_worked, failing_since, expected",
    [
        (True, "", "", (DAY, "")),  # the first run
        (True, LAST_WEEK, "", (DAY, "")),
        (True, BEFORE, LAST_WEEK, (DAY, "")),  # works again
        (False, "", "", ("", DAY)),
        (False, LAST_WEEK, "", (LAST_WEEK, DAY)),
        (False, BEFORE, LAST_WEEK, (BEFORE, LAST_WEEK)),
        (False, LAST_WEEK, DAY, (LAST_WEEK, DAY)),  # the second run of one day
    ],
)
def test_an_entry_follows_from_the_one_before(works, last_worked, failing_since, expected):
    earlier = {"last_worked": last_worked, "failing_since": failing_since}
    entry = tool.next_entry(result(works), earlier, DAY)
    assert (entry["last_worked"], entry["failing_since"]) == expected
    assert tool.failed_twice([entry], DAY) == (["a"] if expected[1] == LAST_WEEK else [])


def test_a_new_host_has_no_entry_before_and_a_failure_in_its_first_run_is_not_the_second():
    entry = tool.next_entry(result(works=False), {}, DAY)
    assert tool.failed_twice([entry], DAY) == []


def test_hosts_json_is_read_as_it_was_written():
    entries = [tool.next_entry(result(False, "no | `link` \u2028"), {}, DAY)]
    assert tool.entries_of(tool.as_json(entries, DAY)) == {"a": entries[0]}


@pytest.mark.parametrize("page", ["", "[]", "{}", '{"hosts": 1}', '{"hosts": [1]}', "\0", "{"])
def test_another_file_is_not_taken_for_an_empty_board(page, tmp_path):
    """It would forget which hosts failed last week, in silence."""
    (tmp_path / "hosts.json").write_text(page)
    with pytest.raises(SystemExit, match=r"hosts\.json: invalid file .* delete it"):
        tool.read_board(tmp_path)


def test_default_hosts_are_asked_and_never_those_that_must_not_be():
    assert list(twat_fs.PROVIDERS_PREFERENCE) == tool.DEFAULTS
    assert set(tool.DEFAULTS) < set(tool.ASKABLE)
    assert not {"www0x0", "senditsh", "s3", "dropbox"} & set(tool.ASKABLE)


# 2 Showing ----------------------------------------------------------------------------------------


def entries_with(*working: bool) -> list:
    return [tool.next_entry(result(works), {}, DAY) for works in working]


@pytest.mark.parametrize(
    "working, colour",
    [((True,) * 7, "#2c7a3f"), ((True, True, False), "#8a6d00"), ((True, False), "#b42318")],
)
def test_the_badge_is_a_picture_with_the_count_and_the_day(working, colour):
    svg = tool.badge(entries_with(*working), DAY)
    picture = ElementTree.fromstring(svg)
    texts = [element.text for element in picture.iter("{http://www.w3.org/2000/svg}text")]
    assert texts == ["hosts", f"{sum(working)} of {len(working)} work ({DAY})"]
    assert colour in svg


def test_the_words_of_a_host_are_no_markdown():
    error = "503: <img src=x> [a](http://b) `c` | d"
    row = tool.markdown_row(tool.next_entry(result(False, error), {}, DAY))
    assert row.endswith("| `503: <img src=x> [a](http://b) 'c' \\| d` |")
    assert row.count("|") - row.count("\\|") == 6


# 3 The dates of the rows --------------------------------------------------------------------------

ROWS = """\
ROWS = (
    form("a", "a.example", evidence=Evidence("2026-01-02", "a page of 2026-01-02")),
    Provider(
        "b",
        "b.example",
        note="a",
        evidence=Evidence(
            "2026-01-02",
        ),
    ),
    form("c", evidence=Evidence("2027-01-01")),
    form("d"),
)
print("a")
"""


def test_only_the_dates_of_these_rows_change_and_none_goes_back():
    renewed = tool.renewed(ROWS, {"b", "c", "d"}, DAY)
    assert renewed == f'"{DAY}"'.join(ROWS.rsplit('"2026-01-02"', 1))


def test_the_date_of_every_row_is_reached():
    source = (ROOT / "twat_fs.py").read_text(encoding="utf-8")
    hosts = {row.id for row in twat_fs.PROVIDERS}
    dates = [tool.date_of_row(node, hosts) for node in ast.walk(ast.parse(source))]
    assert sum(date is not None for date in dates) == len(hosts)
    after = tool.renewed(source, hosts, "2999-01-01")
    assert after.count('"2999-01-01"') == len(hosts)
    assert len(after.splitlines()) == len(source.splitlines())


@pytest.fixture
def checkout(tmp_path):
    """The files that hosts.yml uses, in a repository whose origin is the folder github/o/r."""
    return new_checkout(tmp_path, "checkout")


def new_checkout(folder, name):
    checkout = folder / name
    (checkout / "tools").mkdir(parents=True)
    for path in ("twat_fs.py", "tools/dev.py", "tools/board.py"):
        shutil.copy(ROOT / path, checkout / path)
    git(folder, "init", "-q", "--bare", folder / "github" / "o" / "r")
    git(checkout, "init", "-q")
    git(checkout, "remote", "add", "origin", folder / "github" / "o" / "r")
    return checkout


def online(checkout, box, *options):
    command = [sys.executable, str(checkout / "tools" / "dev.py"), "online", *options]
    env = environment(box, None)
    return subprocess.run(command, cwd=checkout, env=env, capture_output=True, text=True)


def test_table_renews_the_dates_of_the_hosts_that_work_and_shows_the_change(checkout, box):
    box.fault("x0.at", "status", status=403, body="no")
    done = online(checkout, box, "--table")
    assert done.returncode == 0, done.stderr
    today = time.strftime("%Y-%m-%d", time.gmtime())
    failed = [line.split()[3] for line in done.stdout.splitlines() if " failure " in line]
    assert failed == ["x0at"]
    worked = set(tool.ASKABLE) - {"x0at"}
    added = [line for line in done.stdout.splitlines() if line.startswith("+ ")]
    assert len(added) == len(worked) and all(f'"{today}",' in line for line in added)
    source = (ROOT / "twat_fs.py").read_text(encoding="utf-8")
    written = (checkout / "twat_fs.py").read_text(encoding="utf-8")
    assert written == tool.renewed(source, worked, today) != source
    assert {seen.host for seen in box.uploads()} >= {"x0.at", "catbox.moe"}


def test_online_refuses_an_option_that_it_does_not_know(checkout, box):
    done = online(checkout, box, "--table", "--nonsense")
    assert done.returncode == 2 and "error:" in done.stderr and not box.uploads()
    assert "--board" in (dev.online.__doc__ or "") and "--table" in (dev.online.__doc__ or "")


# 4 The workflow -----------------------------------------------------------------------------------

HOSTS = [
    ("ask", "Read the board of the last run"),
    ("ask", "Ask the default hosts"),
    ("ask", "Summary"),
    ("publish", "Push the board"),
]
# Stands in for GitHub's program, which would hand its token to git.
GH = '#!/bin/sh\n[ "$GH_TOKEN" = secret ] && echo "$*" >> "$0.log"\n'


def test_every_command_of_the_workflow_is_run_here():
    assert list(commands(workflow("hosts")["jobs"])) == HOSTS


def test_one_job_alone_may_write():
    jobs = workflow("hosts")["jobs"]
    rights = {name: job["permissions"] for name, job in jobs.items()}
    assert rights == {"ask": {"contents": "read"}, "publish": {"contents": "write"}}
    assert not any("checkout" in step.get("uses", "") for step in jobs["publish"]["steps"])


def test_it_runs_weekly_and_by_hand():
    triggers = workflow("hosts")["on"]
    assert list(triggers) == ["schedule", "workflow_dispatch"]
    ((minute, hour, day, month, weekday),) = [
        schedule["cron"].split() for schedule in triggers["schedule"]
    ]
    assert (day, month) == ("*", "*") and minute + hour + weekday == "2351"


@pytest.fixture
def week(box, tmp_path):
    """Runs the steps of one week in a new checkout; returns the process of each step."""
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "gh").write_text(GH)
    (programs / "gh").chmod(0o755)

    def run(name):
        checkout = new_checkout(tmp_path, name)
        publishing = tmp_path / f"{name}-publish"
        publishing.mkdir()
        done = {}
        for (job, step), body in commands(workflow("hosts")["jobs"]).items():
            if job == "publish":  # the artifact
                shutil.copytree(checkout / "board", publishing / "new", dirs_exist_ok=True)
            done[step] = run_step(
                body,
                checkout if job == "ask" else publishing,
                programs,
                {"${{ github.token }}": "secret"},
                **box.env(),
                GITHUB_STEP_SUMMARY=str(tmp_path / f"{name}.md"),
                GITHUB_SERVER_URL=str(tmp_path / "github"),
                GITHUB_REPOSITORY="o/r",
                COVERAGE_PROCESS_START=None,
                GIT_CONFIG_GLOBAL="/dev/null",
            )
        return done

    return run


def codes(done) -> list:
    return [process.returncode for process in done.values()]


@steps_run
@pytest.mark.needs("bash", "git")
def test_the_workflow_fails_in_the_second_week_of_a_failure_and_publishes_both(week, box, tmp_path):
    origin = tmp_path / "github" / "o" / "r"
    box.fault("x0.at", "status", status=403, body="closed")
    first = week("first")
    assert codes(first) == [0, 0, 0, 0], [process.stderr for process in first.values()]
    assert [seen.host for seen in box.uploads()] == [
        row.domain for row in twat_fs.PROVIDERS if row.use == "default"
    ]
    today = time.strftime("%Y-%m-%d", time.gmtime())
    assert git(origin, "ls-tree", "--name-only", "board").split() == [
        "README.md",
        "hosts.json",
        "hosts.svg",
    ]
    page = git(origin, "show", "board:README.md")
    assert (tmp_path / "first.md").read_text() == page + "\n"
    assert page.startswith(f"# Default hosts on {today}: 6 of 7 work\n") and "403" in page

    assert (tmp_path / "programs" / "gh.log").read_text() == "auth setup-git\n"

    turn_back_the_calendar(tmp_path, origin, today)
    second = week("second")
    assert codes(second) == [0, 1, 0, 0], [process.stderr for process in second.values()]
    assert "board.py: failed twice in a row: x0at\n" in second["Ask the default hosts"].stderr
    assert f"**failing since {LAST_WEEK}**" in (tmp_path / "second.md").read_text()
    assert git(origin, "rev-list", "--count", "board") == "3"
    entries = tool.entries_of(git(origin, "show", "board:hosts.json"))
    assert entries["x0at"]["failing_since"] == LAST_WEEK
    assert [entry["last_worked"] for entry in entries.values()].count(today) == 6
    assert git(origin, "log", "-1", "--format=%an %s", "board") == (
        f"github-actions[bot] hosts: {today}"
    )


def turn_back_the_calendar(folder, origin, today) -> None:
    """The board at GitHub is from last week then."""
    git(folder, "clone", "-q", "-b", "board", origin, folder / "calendar")
    path = folder / "calendar" / "hosts.json"
    path.write_text(path.read_text().replace(today, LAST_WEEK))
    git(folder / "calendar", "commit", "-qam", "A week ago")
    git(folder / "calendar", "push", "-q", "origin", "board")


@steps_run
@pytest.mark.needs("bash", "git")
def test_a_repository_that_cannot_be_read_is_not_a_first_run(tmp_path):
    """Otherwise one network error would forget what failed last week."""
    git(tmp_path, "init", "-q", "checkout")
    git(tmp_path / "checkout", "remote", "add", "origin", tmp_path / "nowhere")
    step = commands(workflow("hosts")["jobs"])[HOSTS[0]]
    assert run_step(step, tmp_path / "checkout", tmp_path).returncode == 128


# 5 The action -------------------------------------------------------------------------------------

ACTION = GITHUB / "actions" / "upload" / "action.yml"


@pytest.fixture
def use(box, tmp_path):
    """`use(path=..., ...)` runs the steps of the action; returns process, outputs, and folder."""
    folder = tmp_path / "work"
    folder.mkdir()
    outputs = tmp_path / "outputs"

    def run(env=None, **inputs):
        page = load(ACTION)
        assert set(inputs) <= set(page["inputs"])
        values = {
            f"${{{{ inputs.{name} }}}}": inputs.get(name, facts.get("default", ""))
            for name, facts in page["inputs"].items()
        }
        outputs.write_text("")
        (step,) = page["runs"]["steps"]
        known = {
            "GITHUB_ACTION_PATH": str(ACTION.parent),
            "GITHUB_OUTPUT": str(outputs),
            **box.env(),
            **(env or {}),
        }
        return run_step(step, folder, tmp_path, values, **known), read_outputs(outputs)

    run.folder = folder
    return run


def read_outputs(path) -> dict:
    """As the runner reads $GITHUB_OUTPUT: NAME<<DELIMITER, lines, DELIMITER."""
    lines = iter(path.read_text(encoding="utf-8").splitlines())
    outputs = {}
    for line in lines:
        name, _, delimiter = line.partition("<<")
        outputs[name] = "\n".join(iter(lambda: next(lines), delimiter))
    return outputs


@steps_run
@pytest.mark.needs("bash")
def test_the_action_uploads_files_and_patterns_in_their_order(use, box):
    for name in ("b.txt", "a b.whl", "c.whl", "-d.bin", "list", "x[1].txt"):
        (use.folder / name).write_text(name)
    done, outputs = use(path="  b.txt\r\n\n*.whl\n-d.bin\nlist\nx[1].txt\n", provider="tmpfilelink")
    assert done.returncode == 0, done.stdout + done.stderr
    urls = outputs["url"].split("\n")
    names = ["b.txt", "a b.whl", "c.whl", "-d.bin", "list", "x[1].txt"]
    assert [box.stored[url].read().decode() for url in urls] == names
    assert [entry["url"] for entry in json.loads(outputs["json"])] == urls
    assert [entry["file"] for entry in json.loads(outputs["json"])] == names
    assert outputs["url"] in done.stdout
    agents = {seen.header("User-Agent").partition(" ")[0] for seen in box.uploads()}
    assert agents == {f"twat-fs/{twat_fs.__version__}"}


@steps_run
@pytest.mark.needs("bash")
def test_the_options_of_the_action_arrive(use, box):
    (use.folder / "a.txt").write_text("a")
    done, _ = use(path="a.txt", provider="litterbox,x0at", expire="12h")
    assert done.returncode == 0
    assert [seen.field("time") for seen in box.uploads()] == [b"12h"]
    done, outputs = use(path="a.txt", provider="litterbox", keep="30d")
    assert done.returncode == 5 and "maximum expiry is 3 days" in done.stdout
    assert outputs["url"] == "" and json.loads(outputs["json"])[0]["error"]


@steps_run
@pytest.mark.needs("bash")
@pytest.mark.parametrize("evil", ["$(touch evil)`touch evil`'\"; touch evil", "--insecure"])
def test_an_input_is_never_a_command_or_another_option(use, box, evil):
    (use.folder / evil).write_text("data")
    done, outputs = use(path=evil, provider="tmpfilelink")
    assert done.returncode == 0, done.stdout
    assert box.stored[outputs["url"]].read() == b"data"
    done, outputs = use(path=evil, provider=evil, expire=evil, keep=evil)
    assert (done.returncode, outputs) == (2, {"url": "", "json": "[]"})
    assert not (use.folder / "evil").exists() and len(box.uploads()) == 1


@steps_run
@pytest.mark.needs("bash")
def test_what_a_host_says_is_no_command_to_the_runner(use, box):
    (use.folder / "a.txt").write_text("a")
    command = "##[set-output name=url;]https://evil.example/"
    box.fault("x0.at", "status", status=403, body=f"{command}\n::set-output name=url::x\n")
    done, outputs = use(path="a.txt\nmissing.txt", provider="x0at")
    assert done.returncode == 1 and outputs["url"] == "" and done.stderr == ""
    lines = done.stdout.splitlines()
    _, stop, token = lines[0].split("::")
    assert stop == "stop-commands" and len(token) == 32
    assert lines[-1] == f"::{token}::"
    between = "\n".join(lines[1:-1])
    assert command in between and token not in between
    assert len(json.loads(outputs["json"])) == 2


@steps_run
@pytest.mark.needs("bash")
def test_an_action_without_a_file_fails_with_a_sentence(use, box):
    done, outputs = use(path=" \n\n")
    assert done.returncode == 1 and done.stderr == "action.py: input path: no file given\n"
    assert outputs == {}


def test_an_output_cannot_end_before_its_end(tmp_path):
    """The delimiter is another one each time."""
    values = ["", "a\nb", "url<<x\nevil\nx"]
    delimiters = {action.output("a", value).split("\n")[0] for value in values}
    assert len(delimiters) == 3
    path = tmp_path / "outputs"
    for value in values:
        path.write_text(action.output("a", value) + action.output("b", "c"))
        assert read_outputs(path) == {"a": value, "b": "c"}


def test_the_action_takes_its_inputs_by_the_environment_alone():
    page = load(ACTION)
    assert list(page["inputs"]) == ["path", "provider", "expire", "keep"]
    assert list(page["outputs"]) == ["url", "json"]
    assert page["runs"]["using"] == "composite"
    (step,) = page["runs"]["steps"]
    assert "${{" not in step["run"]
    assert list(step["env"].values()) == [f"${{{{ inputs.{name} }}}}" for name in page["inputs"]]
