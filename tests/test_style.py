"""The conventions that keep one long file readable, as facts about its source.

Chapters: 1 The source, 2 Imports and the outside world, 3 The rows, 4 The outline, 5 Importing, 6
Old Pythons, 7 Size and shape, 8 Documentation.
"""

from __future__ import annotations

import ast
import datetime
import glob
import io
import math
import os
import re
import shutil
import statistics
import subprocess
import symtable
import sys
import tokenize
from pathlib import Path

import pytest
from needs import lacks

import twat_fs as t

# 1 The source -------------------------------------------------------------------------------------

ROOT = Path(__file__).resolve().parent.parent
PATH = ROOT / "twat_fs.py"
SOURCE = PATH.read_text(encoding="utf-8")
LINES = SOURCE.splitlines()
TREE = ast.parse(SOURCE)
NODES = list(ast.walk(TREE))
BANNERS = {
    number: match
    for number, line in enumerate(LINES, 1)
    for match in [re.match(r"# ([0-9]+)  (.+?) -{10,}$", line)]
    if match
}
LOADS = [
    node
    for node in NODES
    if isinstance(node, (ast.Name, ast.Attribute)) and isinstance(node.ctx, ast.Load)
]
FUNCTIONS = [node for node in NODES if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]
CLASSES = [node for node in NODES if isinstance(node, ast.ClassDef)]
# here, because tests get another HOME
PYENV = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")

WIRE, HOST, COMMAND_LINE = "The wire", "serve", "The command line"

STDLIB = getattr(sys, "stdlib_module_names", None) or frozenset(  # 3.9 has no such list
    """
    abc argparse array ast asyncio base64 binascii bisect builtins calendar codecs
    collections concurrent configparser contextlib contextvars copy csv ctypes dataclasses
    datetime difflib email enum errno fcntl filecmp fnmatch functools gc getpass glob gzip
    hashlib heapq hmac html http importlib inspect io ipaddress itertools json locale
    logging math mimetypes mmap msvcrt multiprocessing netrc ntpath numbers operator os pathlib
    pickle platform posixpath queue random re secrets select selectors shlex shutil signal
    socket socketserver sqlite3 ssl stat string struct subprocess sys tarfile tempfile textwrap
    threading time timeit tomllib traceback types typing unicodedata urllib uuid warnings
    weakref xml zipfile zlib
    """.split()
)


def chapter_of(node) -> str:
    """The title of the chapter in which a node stands; "" before the first."""
    before = [match.group(2) for line, match in BANNERS.items() if line <= node.lineno]
    return before[-1] if before else ""


def dotted(node) -> str:
    """ "os.environ" for such an expression, "" for anything else."""
    if isinstance(node, ast.Name):
        return node.id
    inner = dotted(node.value) if isinstance(node, ast.Attribute) else ""
    return f"{inner}.{node.attr}" if inner else ""


def owner_of(node) -> str:
    """The innermost function around a node; "" outside of all."""
    around = [f for f in FUNCTIONS if f.lineno <= node.lineno <= f.end_lineno]
    return max(around, key=lambda f: f.lineno).name if around else ""


def uses(name: str) -> list:
    """Where `name` or something in it is used: expressions, and imports inside of chapters."""
    names = [node for node in LOADS if dotted(node) == name]
    imports = [
        node
        for node, module in imported()
        if (module + ".").startswith(name + ".") and chapter_of(node)
    ]
    return names + imports


def imported():
    """Every import, with the full name of the module."""
    for node in NODES:
        if isinstance(node, ast.Import):
            yield from ((node, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node, "." * node.level + (node.module or "")
            yield from (
                (node, f"{node.module}.{alias.name}")
                for alias in node.names
                if node.module in ("http", "urllib", "os")
            )


def lazy() -> set:
    """The modules that are imported when first used."""
    return set(t.LAZY.split())


# 2 Imports and the outside world ------------------------------------------------------------------


def test_only_the_standard_library_is_imported():
    modules = {module.partition(".")[0] for _, module in imported()} | lazy()
    assert modules and modules <= STDLIB, modules - STDLIB


def test_type_checkers_see_the_lazy_imports():
    checked = [
        node
        for node in TREE.body
        if isinstance(node, ast.If) and dotted(node.test) == "TYPE_CHECKING"
    ]
    seen = {
        alias.name.partition(".")[0]
        for branch in checked
        for node in branch.body
        if isinstance(node, ast.Import)
        for alias in node.names
    }
    assert seen == lazy()


def test_every_module_is_used():
    """An unused import is one more line to read."""
    for name in {module.partition(".")[0] for _, module in imported()} & (
        lazy() | {"contextlib", "errno", "io", "os", "re", "stat", "time"}
    ):
        assert any(dotted(node) == name for node in NODES if isinstance(node, ast.Name)), name


@pytest.mark.parametrize(
    "module, chapters",
    [
        ("socket", {WIRE, HOST}),
        ("http.client", {WIRE}),
        ("ssl", {WIRE}),
        ("selectors", {WIRE}),
        ("http.server", {HOST, ""}),
        ("urllib.request", {WIRE, "Settings"}),
    ],
)
def test_the_network_has_its_chapter(module, chapters):
    nodes = uses(module)
    assert nodes, f"nothing uses {module}: this test is outdated"
    stray = [
        f"line {node.lineno}: {module} in {chapter_of(node)!r}"
        for node in nodes
        if chapter_of(node) not in chapters
    ]
    assert not stray


def test_only_the_last_chapters_print():
    stray = [
        node
        for name in ("print", "sys.stdout", "input")
        for node in uses(name)
        if chapter_of(node) not in (HOST, COMMAND_LINE)
    ]
    assert not [f"line {node.lineno}: {dotted(node)} in {chapter_of(node)!r}" for node in stray]


def test_the_program_ends_at_the_version_guard_and_at_its_last_line_only():
    exits = [
        node for name in ("sys.exit", "os._exit", "exit", "quit", "os.abort") for node in uses(name)
    ]
    raised = [
        node for node in NODES if isinstance(node, ast.Raise) and "SystemExit" in ast.dump(node)
    ]
    assert len(exits) == 2
    assert {owner_of(node) for node in raised} == {"end", "main"}, (
        "SIGTERM unwinds, so that clean-up runs; main for twat"
    )
    assert not chapter_of(min(exits, key=lambda node: node.lineno)) and max(
        node.lineno for node in exits
    ) == len(LINES)
    assert LINES[-1].strip() == "sys.exit(console_main())"


def test_four_functions_read_the_environment():
    nodes = [
        node
        for name in (
            "os.environ",
            "os.environb",
            "os.getenv",
            "os.putenv",
            "os.unsetenv",
            "urllib.request.getproxies",
        )
        for node in uses(name)
    ]
    assert {owner_of(node) for node in nodes} == {
        "environment",
        "system_ca_bundle",
        "missing_ca_hint",
        "child_environment",
    }, "the bundles are OpenSSL's"


def test_one_place_sleeps():
    """Between two tries, in the limiter, whose whole purpose it is, and after a failed accept.

    The lock of the history is tried again, because a stopped process may hold it; a reset may
    follow the end of a connection.
    """
    assert {owner_of(node) or "(default)" for node in uses("time.sleep")} <= {
        "take",
        "lock_file",
        "__call__",
        "get_request",
        "is_closed",
    }


# 3 The rows ---------------------------------------------------------------------------------------

ROWS = pytest.mark.parametrize("row", t.PROVIDERS, ids=lambda row: row.id)


@ROWS
def test_a_row_has_evidence_a_date_and_a_sample(row):
    assert re.fullmatch(
        r"[0-9]{4}-[0-9]{2}-[0-9]{2}", row.evidence.checked
    ) and datetime.date.fromisoformat(row.evidence.checked) > datetime.date(2025, 1, 1)
    assert len(row.evidence.source) > 10
    assert (
        row.evidence.sample
        and row.evidence.sample.body
        and row.evidence.sample.url.startswith("https://")
    )


@ROWS
def test_a_row_can_be_printed(row):
    texts = (
        row.id,
        row.domain,
        row.note,
        row.evidence.checked,
        row.evidence.source,
        *row.limits.blocked,
        *row.setup.required,
        *row.setup.optional,
    )
    assert all(text.isprintable() for text in texts)
    assert re.fullmatch(r"[a-z][a-z0-9]{1,15}", row.id)


def test_ids_and_domains_of_rows_are_unique():
    assert (
        len({row.id for row in t.PROVIDERS})
        == len({row.domain for row in t.PROVIDERS})
        == len(t.PROVIDERS)
    )
    assert not {word for row in t.PROVIDERS for word in (row.id, row.domain)} & set(t.DEAD)


@ROWS
def test_the_facts_of_a_row_do_not_contradict_each_other(row):
    choices = t.retention_for(row, t.UploadOptions()).choices
    assert choices.step > 0 if isinstance(choices, range) else list(choices) == sorted(choices)
    assert row.use != "default" or (
        row.single_use != "always" and not row.setup.required and not row.limits.text_only
    )
    assert all(
        extension == extension.lower()
        for extension in (*row.limits.blocked, *row.limits.by_extension)
    )
    assert all(size < row.limits.max_size for size in row.limits.by_extension.values())
    assert row.single_use in ("no", "on request", "always")


def test_no_provider_is_named_in_the_engine():
    """A host that needs an `if name ==` misses a fact or a reader."""
    ids = {row.id for row in t.PROVIDERS} | {row.domain for row in t.PROVIDERS}
    strings = [
        node
        for node in NODES
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value in ids
    ]
    stray = [
        f"line {node.lineno}: {node.value}"
        for node in strings
        if chapter_of(node) and not chapter_of(node).startswith(("Hosts", "The hosts", "Amazon"))
    ]
    assert not stray


# 4 The outline ------------------------------------------------------------------------------------


def test_the_chapters_of_the_title_page_are_the_banners():
    outline = re.findall(r"^ {4,6}([0-9]+)  (\S.*)$", ast.get_docstring(TREE, clean=False), re.M)
    assert outline == [match.groups() for match in BANNERS.values()]
    numbers = [int(number) for number, _ in outline]
    assert numbers == sorted(set(numbers)) and len(numbers) > 8


def test_every_chapter_needs_only_earlier_ones():
    """The functions and classes of chapter N use only global names of the chapters 1 to N."""
    numbers = {line: int(match.group(1)) for line, match in BANNERS.items()}

    def chapter(line: int) -> int:
        return max((number for begin, number in numbers.items() if begin <= line), default=0)

    defined: dict = {}
    for node in TREE.body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            names = [node.name]
        else:
            stored = (n for n in ast.walk(node) if isinstance(n, ast.Name))
            names = [n.id for n in stored if isinstance(n.ctx, ast.Store)]
        for name in names:
            defined.setdefault(name, chapter(node.lineno))

    def uses_of_later_chapters(table: symtable.SymbolTable) -> set:
        here = chapter(table.get_lineno())
        names = {s.get_name() for s in table.get_symbols() if s.is_global() and s.is_referenced()}
        later = {(here, name, defined[name]) for name in names if defined.get(name, 0) > here}
        return later.union(*map(uses_of_later_chapters, table.get_children()))

    top = symtable.symtable(SOURCE, PATH.name, "exec").get_children()
    later = sorted(set().union(*map(uses_of_later_chapters, top)))
    report = ["chapter %d uses %s of chapter %d" % use for use in later]
    assert not report, "\n" + "\n".join(report)


def test_every_banner_has_the_same_form():
    assert [line for line in LINES if re.match(r"# [0-9]", line)] == [
        match.string for match in BANNERS.values()
    ]
    assert len({len(match.string) for match in BANNERS.values()}) == 1, "banners of one length"


def test_the_usage_on_the_title_page_exists():
    page = ast.get_docstring(TREE)
    assert all(
        command in page for command in ("twat_fs.py FILE", "twat_fs.py list", "twat_fs.py serve")
    )
    assert "twat_fs.upload_file(" in page


# 5 Importing --------------------------------------------------------------------------------------

LIGHT = "contextlib errno io os re stat time typing collections.abc"
WITNESS = f"""
import sys
import {", ".join(LIGHT.split())}
with open(sys.argv[1], encoding="utf-8") as file:
    code = compile(file.read(), sys.argv[1], "exec")
WATCHED = "open os socket subprocess shutil tempfile urllib signal ssl glob pathlib".split()
before, events, done = set(sys.modules), [], []
def witness(event, args):
    if not done and event.partition(".")[0] in WATCHED:
        events.append((event, str(args)))
sys.addaudithook(witness)
module = type(sys)("twat_fs")
sys.modules["twat_fs"] = module
exec(code, module.__dict__)
done.append(True)
print(sorted(set(sys.modules) - before - {{"twat_fs"}}), events, len(module.PROVIDERS) > 5)
"""


def isolated(*arguments: str) -> subprocess.CompletedProcess:
    """A clean interpreter: no site, no environment, no folder of ours."""
    return subprocess.run(
        [sys.executable, "-I", "-S", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        env={"LC_ALL": "C.UTF-8"},
    )


def test_importing_has_no_effect():
    """Nothing is opened, no socket made, no heavy module loaded, nothing printed."""
    done = isolated("-c", WITNESS, str(PATH))
    assert (done.stdout.strip(), done.stderr) == ("[] [] True", "")


def test_the_import_test_detects_effects(tmp_path):
    """The test above can fail."""
    guilty = tmp_path / "guilty.py"
    guilty.write_text(
        "import json, socket\nsocket.socket().close()\n"
        "open(__import__('os').devnull).close()\nPROVIDERS = '......'\n"
    )
    done = isolated("-c", WITNESS, str(guilty))
    assert "'json'" in done.stdout and "socket.__new__" in done.stdout and "'open'" in done.stdout


@pytest.mark.parametrize(
    "module",
    (
        "ssl http.client http.server json argparse dataclasses logging socket urllib.request"
        " hashlib threading email asyncio"
    ).split(),
)
def test_heavy_modules_wait_until_they_are_needed(module):
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); import twat_fs\n"
    code += f"print({module!r} in sys.modules)"
    assert isolated("-B", "-c", code).stdout == "False\n"


def test_importing_leaves_logging_and_the_environment_alone():
    code = (
        f"import sys, os, logging, signal; sys.path.insert(0, {str(ROOT)!r})\n"
        "def world():\n"
        "    loggers = sorted(logging.root.manager.loggerDict)\n"
        "    log = (logging.root.level, logging.root.handlers, loggers)\n"
        "    interpreter = (signal.getsignal(signal.SIGINT), sys.excepthook, list(sys.path))\n"
        "    return (log, interpreter, dict(os.environ), os.getcwd())\n"
        "before = world(); import twat_fs; print(before == world())"
    )
    done = isolated("-B", "-c", code)
    assert (done.stdout, done.stderr) == ("True\n", "")


def test_no_default_can_be_changed_by_accident():
    """A mutable default is shared by all calls; empty mappings as defaults are never written to."""
    bad = [
        f"line {d.lineno}"
        for f in FUNCTIONS
        for d in (*f.args.defaults, *f.args.kw_defaults)
        if isinstance(d, (ast.List, ast.Dict, ast.Set))
    ]
    assert not bad


# 6 Old Pythons ------------------------------------------------------------------------------------


@pytest.mark.parametrize("minor", [6, 7, 8, 9])
def test_old_pythons_can_parse_the_file(minor):
    ast.parse(SOURCE, feature_version=(3, minor))


def old_python(version: str):
    """An interpreter of that version on this machine, or None."""
    paths = sorted(glob.glob(str(PYENV / "versions" / f"{version}.*" / "bin" / "python")))
    return paths[-1] if paths else shutil.which(f"python{version}")


@pytest.mark.parametrize("version", ["3.6", "3.7", "3.8"])
def test_an_old_python_prints_the_required_version(version, tmp_path):
    python = old_python(version) or lacks([f"Python {version}"])
    done = subprocess.run(
        [python, str(shutil.copy(PATH, tmp_path)), "--version"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"twat-fs needs Python 3.9 or newer, and this is {version}\n"


# 7 Size and shape ---------------------------------------------------------------------------------

WIDTH = 100  # columns; ruff checks twat_fs.py
TOKENS = 72_000
TOKENS_PER_LINE = 9
EXPLAINED = 0.12  # docstrings and comments, as a share of the lines
MEDIAN, P95, LONGEST = 9, 32, 60  # lines of a function


def python_files(*folders: str) -> list:
    """The Python files below these folders of the repository."""
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


WRITTEN = [*python_files("tests", "tools"), *ROOT.glob("tests/*.md"), *ROOT.glob("tools/*.c")]


@pytest.mark.parametrize("path", WRITTEN, ids=name_of)
def test_no_line_is_wider_than_100_columns(path):
    lines = path.read_text(encoding="utf-8").splitlines()
    assert not [line for line in lines if len(line) > WIDTH]


def explaining_lines() -> set:
    """The numbers of the lines that are docstrings or comments."""
    documented = [TREE, *CLASSES, *FUNCTIONS]
    docstrings = [node.body[0] for node in documented if ast.get_docstring(node)]
    lines = {n for node in docstrings for n in range(node.lineno, node.end_lineno + 1)}
    return lines | {n for n, line in enumerate(LINES, 1) if line.lstrip().startswith("#")}


def code_lines() -> set:
    return {n for n, line in enumerate(LINES, 1) if line.strip()} - explaining_lines()


def code_tokens() -> list:
    """Names, operators and literals of the code, however it is wrapped."""
    types = (tokenize.NAME, tokenize.OP, tokenize.NUMBER, tokenize.STRING)
    code = code_lines()
    return [
        token
        for token in tokenize.generate_tokens(io.StringIO(SOURCE).readline)
        if token.type in types and token.start[0] in code
    ]


# Python 3.12 and later split f-strings into several tokens.
count_of_3_11 = pytest.mark.skipif(sys.version_info >= (3, 12), reason="counts f-strings otherwise")


@count_of_3_11
def test_the_program_has_few_tokens():
    assert len(code_tokens()) <= TOKENS


@count_of_3_11
def test_lines_are_not_dense():
    assert len(code_tokens()) / len(code_lines()) <= TOKENS_PER_LINE


def test_enough_lines_explain():
    explained = len(explaining_lines())
    assert explained / (explained + len(code_lines())) >= EXPLAINED


def test_functions_are_short():
    sizes = sorted((node.end_lineno - node.lineno + 1, node.name) for node in FUNCTIONS)
    lines = [size for size, _ in sizes]
    assert statistics.median(lines) <= MEDIAN
    assert lines[math.ceil(0.95 * len(lines)) - 1] <= P95
    assert max(lines) <= LONGEST, sizes[-3:]


VAGUE = set(
    "place kind words told said found kept how given taken whole mine above lacking wished".split()
)
HYPOTHESIS = {"given"}  # a decorator of that library


def names_of(tree: ast.AST) -> set:
    """All identifiers of a module, except those of keyword arguments of other libraries."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            names.add(node.id)
        elif isinstance(node, (ast.arg, ast.keyword)):
            names.add(node.arg)
        elif isinstance(node, ast.Attribute):
            names.add(node.attr)
        elif isinstance(node, (ast.FunctionDef, ast.ClassDef, ast.ExceptHandler)):
            names.add(node.name)
    return names


@pytest.mark.parametrize("path", [PATH, *python_files("tests", "tools")], ids=name_of)
def test_names_are_the_terms_of_the_field(path):
    """Names that fit anything explain nothing; use url, content_type, match, response, ..."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    imported_from = {n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
    allowed = HYPOTHESIS if "hypothesis" in imported_from else set()
    assert not names_of(tree) & VAGUE - allowed


@pytest.mark.parametrize("path", [PATH, *python_files("tools")], ids=name_of)
def test_no_local_name_hides_a_function(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    definitions = (ast.FunctionDef, ast.ClassDef)
    top = {node.name for node in tree.body if isinstance(node, definitions)}
    hidden = []
    for function in ast.walk(tree):
        if not isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        nodes = list(ast.walk(function))
        local = {node.arg for node in nodes if isinstance(node, ast.arg)}
        stored = [node for node in nodes if isinstance(getattr(node, "ctx", None), ast.Store)]
        local |= {node.id for node in stored if isinstance(node, ast.Name)}
        hidden += [(function.name, name) for name in sorted(local & top)]
    assert not hidden


def test_no_name_is_a_filler():
    fillers = r"Helper|Utils?$|_info$|^process_?$|^handle_?$|^do_it"
    assert not [node.name for node in FUNCTIONS + CLASSES if re.search(fillers, node.name)]


# The failure of a worker thread belongs to the thread that waits for it.
REPORTS_EVERYTHING = {"worker"}


def is_broad(handler: ast.ExceptHandler) -> bool:
    kinds = [handler.type] if not isinstance(handler.type, ast.Tuple) else handler.type.elts
    return any(
        caught is None or dotted(caught) in ("Exception", "BaseException") for caught in kinds
    )


def test_exceptions_are_caught_by_name():
    """A broad `except` cleans up and raises again, so that no bug looks like a failed host."""
    broad = [node for node in NODES if isinstance(node, ast.ExceptHandler) and is_broad(node)]
    silent = [
        node
        for node in broad
        if not (isinstance(node.body[-1], ast.Raise) and node.body[-1].exc is None)
    ]
    assert {owner_of(node) for node in silent} == REPORTS_EVERYTHING
    assert not any(node.type is None for node in broad)
    bare = [
        node
        for node in NODES
        if isinstance(node, ast.Call) and dotted(node.func) == "contextlib.suppress"
    ]
    assert not [
        f"line {n.lineno}"
        for n in bare
        if any(dotted(a) in ("Exception", "BaseException", "UploadError") for a in n.args)
    ]


def test_no_assertions_and_no_notes_to_self():
    assert not [node.lineno for node in NODES if isinstance(node, ast.Assert)]
    assert not [
        number
        for number, line in enumerate(LINES, 1)
        if re.search(r"\b(TODO|FIXME|XXX|HACK)\b", line)
    ]


# 8 Documentation --------------------------------------------------------------------------

PUBLIC = """
AllProvidersFailed Attempt Busy Link NoLink NonRetryableError NotConfigured NotVerified Progress
Provider ProviderInfo Refused Request Response Retention RetryableError Sample Source
SourceChanged TimedOut Transport Unreachable Unreadable Unsuitable UploadError
UploadOptions UploadResult UsageError main setup_provider setup_providers upload upload_file
""".split()


@pytest.mark.parametrize("name", PUBLIC)
def test_public_names_have_docstrings(name):
    node = next(node for node in TREE.body if getattr(node, "name", "") == name)
    assert len(ast.get_docstring(node) or "") > 15


@pytest.mark.parametrize(
    "name", ["trying", "sent", "waiting", "verifying", "verified", "failed", "done"]
)
def test_the_contract_of_progress_is_described(name):
    assert getattr(t.Progress, name).__doc__


def test_docstrings_are_sentences():
    """They begin with a capital, a figure or a name, and end like a sentence."""
    docstrings = [
        (node.name, ast.get_docstring(node))
        for node in FUNCTIONS + CLASSES
        if ast.get_docstring(node)
    ]
    assert len(docstrings) > 80
    bad = [
        name
        for name, text in docstrings
        if text.partition("\n\n")[0].rstrip("'\" ")[-1] not in ".?!:)" or len(text) < 8
    ]
    assert not bad


def test_every_function_has_type_annotations():
    """mypy --strict says whether it is true."""
    untyped = [node.name for node in FUNCTIONS if node.returns is None]
    untyped += [
        f"{node.name}({a.arg})"
        for node in FUNCTIONS
        for a in (*node.args.args, *node.args.kwonlyargs)
        if a.annotation is None and a.arg not in ("self", "cls")
    ]
    assert not untyped


def repository() -> list:
    """The files of the repository as git lists them; without git, all that are not hidden."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    if listed.returncode == 0 and "twat_fs.py" in listed.stdout:
        names = [name for name in listed.stdout.split("\0") if name]
    else:
        names = [
            str(path.relative_to(ROOT))
            for path in ROOT.rglob("*")
            if not any(part.startswith((".", "__")) for part in path.relative_to(ROOT).parts)
        ]
    return [ROOT / name for name in names if (ROOT / name).is_file()]


def test_no_file_has_a_path_of_the_authors_machine():
    places = re.compile(
        rb"(?<![\w.~:/-])/"
        + rb"work/|\.\./"
        + rb"shared\b|/home/[a-z]+/|/root"
        + rb"/|/Users/[a-z]+/"
    )
    files = repository()
    assert PATH in files and Path(__file__).resolve() in files
    assert not [
        f"{path.name}: {match.group()}"
        for path in files
        for match in [places.search(path.read_bytes())]
        if match
    ]
