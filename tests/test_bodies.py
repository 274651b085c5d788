"""Request bodies are as intended, for any file, any name and any fields.

Other people's parsers judge: the standard library's `email` reads our forms, and so does our own
receiving end. Chapters: 1 Forms, 2 Names, 3 Our own receiving parser, 4 Files that change.
"""

from __future__ import annotations

import email.parser
import email.policy
import hashlib
import os
import re
import time

import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

import twat_fs as t

UNSAFE = re.compile("[\0-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
SOME = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture
def write(tmp_path):
    """Write some bytes and give them as a Source; always in the same place."""
    path = tmp_path / "file"

    def source(data: bytes, name: str = "a.txt", path=path) -> t.Source:
        path.write_bytes(data)
        return t.Source.of(path, name or None)

    return source


def body_bytes(body: t.Body, step: int = t.CHUNK) -> bytes:
    """All the bytes of a body, as the wire would send them."""
    return b"".join(piece if isinstance(piece, bytes) else content(piece, step) for piece in body)


def content(piece: t.Slice, step: int = t.CHUNK) -> bytes:
    return b"".join(map(bytes, t.read_slice(piece, step)))


def file_slice(source: t.Source) -> t.Slice:
    (piece,) = source.body
    return piece


# 1 Forms ------------------------------------------------------------------------------------------

FIELD_NAMES = st.from_regex(r"\A[A-Za-z][A-Za-z0-9_\[\]-]{0,15}\Z")
FIELD_VALUES = st.text(max_size=40)
FIELDS = st.lists(st.tuples(FIELD_NAMES, FIELD_VALUES), max_size=4)
CONTENT = st.binary(max_size=300) | st.sampled_from(
    [
        b"",
        b"\r",
        b"\n",
        b"\r\n",
        b"--",
        b"\r\n--",
        b"\r\n\r\n",
        b"\r\n--twat-fs-",
        b"\n--twat-fs-0--\r\n",
        b"\0" * 9000,
        b"\r\n" * 4096,
    ]
)
ODD = "\"\\/\r\n\0\t;,=%\u202e\u2028\ud800\udcffäß🎉. <>'*?"
NAMES = (
    st.text(max_size=40)
    | st.text(alphabet=ODD + "ab.", max_size=12)
    | st.text(alphabet="aä🎉.", min_size=80, max_size=320)
)


def parsed(content_type: str, body: bytes) -> list:
    """The parts, as the standard library reads them."""
    head = f"MIME-Version: 1.0\r\nContent-Type: {content_type}\r\n\r\n".encode()
    message = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(head + body)
    assert message.get_content_type() == "multipart/form-data"
    assert not message.defects and not message.preamble and not (message.epilogue or "").strip()
    return list(message.iter_parts())


def name_of(part) -> str:
    return part["Content-Disposition"].params["name"]


@SOME
@given(fields=FIELDS, file_field=FIELD_NAMES, data=CONTENT)
def test_a_form_gives_back_its_fields_and_its_file(write, fields, file_field, data):
    file = write(data, "a.bin")
    content_type, body = t.multipart(fields, file_field, file)
    *plain, last = parsed(content_type, body_bytes(body))
    assert [(name_of(part), part.get_payload(decode=True).decode()) for part in plain] == fields
    assert all(part.get_filename() is None for part in plain)
    assert name_of(last) == file_field and last.get_filename() == "a.bin"
    assert last.get_payload(decode=True) == data
    assert last.get_content_type() == "application/octet-stream"


@SOME
@given(fields=FIELDS, name=NAMES, data=CONTENT, step=st.integers(1, 10_000))
def test_the_promised_length_is_what_is_sent(write, fields, name, data, step):
    assume(step > 100 or len(data) < 1000)
    _, body = t.multipart(fields, "file", write(data, name))
    assert t.length(body) == len(body_bytes(body, step))


@SOME
@given(name=NAMES)
@example(name='a"b.txt')
@example(name='"whole".txt')
@example(name="a;filename=b.txt")
@example(name="x\r\nContent-Type: text/html\r\n\r\n.txt")
def test_the_standard_library_reads_the_name_that_was_meant(write, name):
    file = write(b"data", name)
    content_type, body = t.multipart((), "file", file)
    # would be parsed as such
    assume(t.guess_type(file.name).partition("/")[0] not in ("message", "multipart"))
    # the policy for mail decodes these, a browser's form never holds them
    assume("=?" not in file.name)
    (part,) = parsed(content_type, body_bytes(body))
    # get_filename would take quotes away twice
    assert part["Content-Disposition"].params["filename"] == file.name
    assert part.get_payload(decode=True) == b"data"
    assert set(part.keys()) == {"Content-Disposition", "Content-Type"}


@SOME
@given(name=NAMES, fields=FIELDS)
def test_no_name_breaks_out_of_its_header(write, name, fields):
    content_type, body = t.multipart(fields, "file", write(b"data", name))
    head = (
        body[0]
        .rpartition(b"\r\n\r\n")[0]
        .rpartition(b"--" + content_type.partition("=")[2].encode() + b"\r\n")[2]
    )
    lines = head.split(b"\r\n")
    assert [line.partition(b":")[0] for line in lines] == [b"Content-Disposition", b"Content-Type"]
    assert not any(control in line for line in lines for control in (b"\r", b"\n", b"\0"))
    assert content_type.isprintable() and content_type.isascii()


@SOME
@given(name=NAMES)
def test_an_unescaped_quote_never_ends_the_name_early(write, name):
    """PHP, Go, busboy and Werkzeug read \\" as a quote: nothing else may end the name."""
    file = write(b"data", name)
    head = t.multipart((), "file", file)[1][0].decode()
    match = re.search(r'; filename="((?:[^"\\]|\\.)*)"\r\n', head)
    assert match and re.sub(r"\\(.)", r"\1", match.group(1)) == file.name


def test_every_form_has_a_boundary_of_its_own(write):
    """So that no file can hold it on purpose."""
    file = write(b"x")
    kinds = {t.multipart((), "file", file)[0] for _ in range(50)}
    assert len(kinds) == 50
    assert all(
        re.fullmatch(r"multipart/form-data; boundary=[0-9A-Za-z-]{20,70}", content_type)
        for content_type in kinds
    )


def test_fields_come_first_and_the_file_last(write):
    head, piece, tail = t.multipart([("a", "1"), ("b", "2")], "c", write(b"x"))[1]
    assert head.index(b'"a"') < head.index(b'"b"') < head.index(b'"c"')
    assert isinstance(piece, t.Slice) and tail.endswith(b"--\r\n")


@pytest.mark.parametrize(
    "name, content_type",
    [
        ("a.txt", "text/plain"),
        ("a.png", "image/png"),
        ("a.PNG", "image/png"),
        ("a.html", "text/html"),
        ("a.pdf", "application/pdf"),
        ("a", "application/octet-stream"),
        ("a.unknown", "application/octet-stream"),
        ("a.tar.gz", "application/gzip"),
        ("re: plan #2.pdf", "application/pdf"),
        ("http://a/b.png", "image/png"),
        ("b:c/d.html", "text/html"),
        ("data:text/html,x", "application/octet-stream"),
        ("data:a/b\nX: 1,c", "application/octet-stream"),
        ("a.txt.gz", "application/gzip"),
        (".txt", "application/octet-stream"),
        ("", "application/octet-stream"),
    ],
)
def test_the_type_is_guessed_from_the_name_alone(name, content_type):
    assert t.guess_type(name) == content_type


# What Python 3.9 does not know, or calls otherwise than later versions; by IANA's registry and MDN
# (2026-11).
TYPES = {
    "7z": "application/x-7z-compressed",
    "aac": "audio/aac",
    "avif": "image/avif",
    "bmp": "image/bmp",
    "docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "epub": "application/epub+zip",
    "flac": "audio/flac",
    "heic": "image/heic",
    "ico": "image/vnd.microsoft.icon",
    "js": "text/javascript",
    "jsonl": "application/jsonl",
    "jxl": "image/jxl",
    "log": "text/plain",
    "md": "text/markdown",
    "mjs": "text/javascript",
    "mkv": "video/x-matroska",
    "ogg": "audio/ogg",
    "opus": "audio/opus",
    "parquet": "application/vnd.apache.parquet",
    "rtf": "text/rtf",
    "toml": "application/toml",
    "ttf": "font/ttf",
    "wasm": "application/wasm",
    "wav": "audio/wav",
    "webp": "image/webp",
    "woff2": "font/woff2",
    "xz": "application/x-xz",
    "yaml": "application/yaml",
    "yml": "application/yaml",
    "zst": "application/zstd",
}


@pytest.mark.parametrize("extension", TYPES)
def test_types_are_the_same_on_every_python(extension):
    assert (
        t.guess_type(f"a.{extension}")
        == t.guess_type(f"A.B.{extension.upper()}")
        == TYPES[extension]
    )


def test_every_row_of_the_table_is_a_type_with_extensions_of_its_own():
    rows = [row.split() for row in t.CONTENT_TYPE_ROWS.split("\n") if row]
    extensions = [extension for _, *names in rows for extension in names]
    assert len(set(extensions)) == len(extensions) == len(t.CONTENT_TYPES)
    assert all(re.fullmatch("[a-z]+/[a-z0-9.+-]+", row[0]) and len(row) > 1 for row in rows)
    assert all(re.fullmatch("[a-z0-9]+", extension) for extension in extensions)


LONG = "é" * 300_000  # of which a block ends in the middle
CHARSETS = [
    ("a.md", "# ü".encode(), "text/markdown; charset=utf-8"),
    ("a.log", b"plain", "text/plain; charset=utf-8"),
    ("a.txt", b"", "text/plain; charset=utf-8"),
    ("a.txt", ("x" + LONG).encode(), "text/plain; charset=utf-8"),
    ("a.txt", LONG.encode() + b"\xc3", "text/plain"),
    ("a.txt", b"x" * 600_000 + "ü".encode("latin-1"), "text/plain"),
    ("a.txt", "x".encode("utf-16"), "text/plain"),
    ("a.txt", b"a\0b", "text/plain"),
    ("a.json", b"{}", "application/json"),
    ("a.png", b"text", "image/png"),
    ("a", b"text", "application/octet-stream"),
]


@pytest.mark.parametrize("name, data, expected", CHARSETS)
def test_text_that_is_utf_8_is_called_so(write, name, data, expected):
    source = write(data, name)
    assert t.type_with_charset(source.name, source.body) == expected


# 2 Names ------------------------------------------------------------------------------------------


@SOME
@given(NAMES)
def test_what_arrives_as_a_name_is_harmless_anywhere(name):
    safe = t.safe_name(name)
    assert safe and not UNSAFE.search(safe) and not set(safe) & set("/\\")
    assert len(safe.encode("utf-8")) <= t.MAX_NAME
    assert safe.strip(".") and safe == safe.strip(" ")


@SOME
@given(NAMES)
@example("a." + "é" * 200)
@example("a" * 254 + " " + "b" * 10)
@example("a" * 255 + ".txt ")
@example("a" * 250 + " .txt")
@example(" " * 300 + ".txt")
def test_a_harmless_name_stays_as_it_is(name):
    safe = t.safe_name(name)
    assert t.safe_name(safe) == safe


@SOME
@given(
    st.text(
        alphabet=st.characters(blacklist_characters="/\\", blacklist_categories=("Cs",)),
        min_size=1,
        max_size=400,
    ),
    st.from_regex(r"\A\.[a-z0-9]{1,8}\Z"),
)
def test_a_name_keeps_its_extension_however_long_it_is(stem, extension):
    assume(stem.strip() and stem.lstrip() == stem)
    assert t.safe_name(stem + extension).endswith(extension)


@SOME
@given(
    st.text(alphabet=st.characters(whitelist_categories=("L", "N", "S")), min_size=1, max_size=60)
)
def test_a_good_name_is_not_touched(name):
    assert t.safe_name(name) == name


@SOME
@given(NAMES)
@example("con." + "x" * 251)
@example("nul" + "." + "é" * 120)
@example(". a")
@example("a" * 254 + " .x")
@example("." * 300)
@example("\ud800")
def test_what_we_store_under_can_be_found_again(name):
    stored = t.stored_name(name)
    assert t.safe_name(stored) == stored, "Shelf.load looks for it under this name"
    assert t.stored_name(stored) == stored
    assert len(stored.encode("utf-8")) <= t.MAX_NAME
    assert (
        not stored.startswith(".")
        and not set(stored) & set('<>:"|?*/\\')
        and not stored.endswith((".", " "))
    )


@SOME
@given(NAMES)
def test_our_headers_are_one_line_of_ascii_for_any_name(name):
    for download in (False, True):
        for key, value in t.file_headers(t.safe_name(name), (), download):
            assert key.isascii() and value.isascii() and value.isprintable()


@SOME
@given(NAMES)
def test_a_unique_name_keeps_stem_and_extension(name):
    safe = t.safe_name(name)
    stem, extension = os.path.splitext(safe)
    match = re.fullmatch(r"(.*)_19700101_000000(.*)", t.unique_name(safe, time.gmtime(0)))
    if len(extension.encode()) > t.MAX_NAME - 16:  # then it is none
        stem, extension = safe, ""
    assert match and match.group(2) == extension
    assert match.group(1) == stem or (
        stem.startswith(match.group(1)) and len(safe.encode()) > t.MAX_NAME - 16
    )


@pytest.mark.parametrize(
    "name", ["a" * 300 + ".txt", "ü" * 200 + ".tar", "a" * 255, "a." + "b" * 253]
)
def test_a_unique_name_is_not_too_long_either(write, tmp_path, name):
    (tmp_path / "x").write_bytes(b"x")
    source = t.Source.of(tmp_path / "x", name, unique=True)
    assert len(source.name.encode()) <= t.MAX_NAME
    assert re.search(r"_[0-9]{8}_[0-9]{6}(\.[a-z]+)?$", source.name)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such names")
@pytest.mark.parametrize(
    "raw",
    [
        b"\xff\xfe.bin",
        b"a\nb",
        b'q"q',
        b"\xe2\x80\xae.txt",
        b" x ",
        b"-rf",
        b"a" * 255,
        b"\xff" * 255,
    ],
)
def test_a_file_with_an_odd_name_on_disk_goes_under_a_good_one(tmp_path, raw):
    path = os.path.join(os.fsencode(tmp_path), raw)
    with open(path, "wb") as file:
        file.write(b"!content!")
    source = t.Source.of(os.fsdecode(path))
    assert not UNSAFE.search(source.name) and 0 < len(source.name.encode()) <= t.MAX_NAME
    assert body_bytes(t.multipart((), "file", source)[1]).count(b"!content!") == 1


# 3 Our own receiving parser -----------------------------------------------------------------------


def split(data: bytes, cuts) -> list:
    """The same bytes in blocks, as a network would bring them; no block is empty."""
    marks = sorted({cut % (len(data) + 1) for cut in cuts} | {0, len(data)})
    return [data[start:end] for start, end in zip(marks, marks[1:])]


def received(content_type: str, blocks) -> list:
    boundary = content_type.partition("boundary=")[2].encode()
    return [
        (name, b"".join(pieces))
        for name, pieces in t.MultipartReader(iter(blocks), boundary).files()
    ]


def files_or_status(content_type: str, blocks):
    try:
        return received(content_type, blocks)
    except t.HTTPError as no:
        return no.args[0]


@SOME
@given(fields=FIELDS, name=NAMES, data=CONTENT, cuts=st.lists(st.integers(0, 10**6), max_size=40))
@example(fields=[], name="<a>", data=b"x", cuts=[])
@example(fields=[], name='"a"', data=b"x", cuts=[])
@example(fields=[], name="utf-8''a%20b", data=b"x", cuts=[])
@example(fields=[], name='a"b;c="d', data=b"x", cuts=[])
def test_our_receiver_gets_what_our_sender_makes(write, fields, name, data, cuts):
    file = write(data, name)
    content_type, body = t.multipart(fields, "file", file)
    assert received(content_type, split(body_bytes(body), cuts)) == [(file.name, data)]


@SOME
@given(data=st.binary(max_size=30))
def test_our_receiver_does_not_mind_one_byte_at_a_time(write, data):
    content_type, body = t.multipart([("a", "b")], "file", write(data))
    sent = body_bytes(body)
    assert received(content_type, [sent[i : i + 1] for i in range(len(sent))]) == [("a.txt", data)]


@SOME
@given(
    files=st.lists(
        st.tuples(st.sampled_from(["a.txt", "b c.bin", "ü.png"]), CONTENT), min_size=1, max_size=4
    ),
    cuts=st.lists(st.integers(0, 10**6), max_size=9),
)
def test_our_receiver_takes_several_files(files, cuts):
    """As curl and browsers send them; with a preamble and an epilogue, which RFC 2046 allows."""
    parts = [
        f'--X\r\nContent-Disposition: form-data; name="f"; filename="{name}"\r\n\r\n'.encode()
        + data
        + b"\r\n"
        for name, data in files
    ]
    assume(not any(b"--X" in data for _, data in files))
    body = b"preamble\r\n" + b"".join(parts) + b"--X--\r\nepilogue"
    assert received("boundary=X", split(body, cuts)) == files


@SOME
@given(data=CONTENT, cut=st.integers(0, 10**6))
def test_a_form_that_ends_too_early_is_rejected(write, data, cut):
    content_type, body = t.multipart([("a", "b")], "file", write(data))
    sent = body_bytes(body)
    short = sent[: cut % (len(sent) - len(b"--\r\n"))]
    assert files_or_status(content_type, [short] if short else []) == 400


@SOME
@given(
    blocks=st.lists(
        st.binary(min_size=1, max_size=60)
        | st.sampled_from(
            [b"--X", b"\r\n", b"--X--", b"\r\n\r\n", b'Content-Disposition: form-data; filename="']
        )
    )
)
def test_any_bytes_are_files_or_rejected(blocks):
    assert files_or_status("boundary=X", blocks) == 400 or all(
        t.stored_name(name) for name, _ in received("boundary=X", blocks)
    )


def test_an_endless_head_is_rejected():
    def blocks():
        yield b"--X\r\nContent-Disposition: form-data; "
        while True:
            yield b"x" * 1000

    with pytest.raises(t.HTTPError):
        list(t.MultipartReader(blocks(), b"X").files())


# 4 Files that change ------------------------------------------------------------------------------


@SOME
@given(
    data=st.binary(max_size=2000),
    step=st.integers(1, 3000),
    start=st.integers(0, 2000),
    size=st.integers(0, 2000),
)
def test_a_slice_gives_exactly_its_bytes(write, data, step, start, size):
    piece = file_slice(write(data))
    assert content(piece, step) == data
    start = min(start, len(data))
    size = min(size, len(data) - start)
    assert content(piece._replace(start=start, size=size), step) == data[start : start + size]
    assert t.sha256_of((piece,)) == hashlib.sha256(data).hexdigest()


@SOME
@given(
    data=st.lists(st.binary(max_size=300), max_size=6),
    start=st.integers(0, 2000),
    size=st.integers(0, 2000),
    part=st.integers(1, 500),
)
def test_a_body_of_files_and_memory_is_cut_and_hashed_like_its_bytes(
    tmp_path, data, start, size, part
):
    pieces = []
    for number, each in enumerate(data):
        path = tmp_path / str(number)
        path.write_bytes(each)
        in_memory = t.Slice(b"<" + each + b">", 1, len(each))
        pieces += [in_memory, *t.Source.of(path).body]
    body = tuple(pieces)
    joined = b"".join(each + each for each in data)
    assert body_bytes(body) == joined and t.length(body) == len(joined)
    assert body_bytes(t.slice_body(body, start, size)) == joined[start : start + size]
    parts = [body_bytes(each) for each in t.parts_of(body, part)]
    assert parts == [joined[n : n + part] for n in range(0, len(joined), part)]
    assert t.sha256_of(body) == hashlib.sha256(joined).hexdigest()


def test_a_slice_can_be_read_again_and_again(write):
    piece = file_slice(write(b"again"))
    assert [content(piece) for _ in range(3)] == [b"again"] * 3


def shrink(path):
    with open(path, "r+b") as file:
        file.truncate(10)


def grow(path):
    with open(path, "ab") as file:
        file.write(b"more")


def rewrite(path):
    """Other bytes, the same length, another time."""
    with open(path, "r+b") as file:
        file.write(b"other")
    touch(path)


def touch(path):
    os.utime(path, ns=(1, 1))


def replace(path):
    """Another file of the same length and the same time in its place: only the inode tells."""
    old = os.stat(path)
    other = path.with_name("other")
    other.write_bytes(path.read_bytes())
    os.utime(other, ns=(old.st_atime_ns, old.st_mtime_ns))
    os.replace(other, path)


def remove(path):
    os.unlink(path)


def become_a_folder(path):
    os.unlink(path)
    os.mkdir(path)


def become_a_pipe(path):
    """Opening it blocks until another process writes."""
    os.unlink(path)
    os.mkfifo(path)


# Windows tells files apart by size and time alone
ONLY_POSIX = [replace, become_a_pipe] if os.name != "nt" else []
ALL = [shrink, grow, rewrite, touch, remove, become_a_folder, *ONLY_POSIX]
CHANGES = pytest.mark.parametrize("change", ALL, ids=lambda change: change.__name__)
OPEN = pytest.mark.parametrize(
    "change", [shrink, grow, rewrite, touch], ids=lambda change: change.__name__
)


@CHANGES
def test_a_file_that_changed_before_it_is_read_is_not_sent(write, tmp_path, change):
    source = write(b"x" * 100)
    change(tmp_path / "file")
    with pytest.raises(t.SourceChanged) as caught:
        content(file_slice(source))
    assert caught.value.phase == "file" and caught.value.exit_code == 6


@OPEN
@pytest.mark.parametrize("after", [1, 99])
def test_a_file_that_changes_while_it_is_read_is_noticed(write, tmp_path, change, after):
    """After the first byte, and after the last but one."""
    pieces = t.read_slice(file_slice(write(b"x" * 100)), 1)
    for _ in range(after):
        next(pieces)
    change(tmp_path / "file")
    with pytest.raises(t.SourceChanged):
        list(pieces)


@OPEN
def test_a_file_that_changes_after_its_last_byte_is_noticed(write, tmp_path, change):
    source = write(b"x" * 100)
    pieces = t.read_slice(file_slice(source))
    assert bytes(next(pieces)) == b"x" * 100
    change(tmp_path / "file")
    with pytest.raises(t.SourceChanged):
        next(pieces)


@CHANGES
def test_a_hash_of_a_file_that_changed_is_never_given(write, tmp_path, change):
    source = write(b"x" * 100)
    change(tmp_path / "file")
    with pytest.raises(t.SourceChanged):
        t.sha256_of(source.body)


def test_the_file_is_always_closed(write, tmp_path):
    proc = "/proc/self/fd"
    if not os.path.isdir(proc):
        pytest.skip("needs /proc")
    source = write(b"x" * 100)

    def held():
        return [
            fd
            for fd in os.listdir(proc)
            if os.path.exists(f"{proc}/{fd}")
            and os.readlink(f"{proc}/{fd}").startswith(str(tmp_path / "file"))
        ]

    pieces = t.read_slice(file_slice(source), 1)
    next(pieces)
    assert len(held()) == 1
    pieces.close()
    assert not held()
    touch(tmp_path / "file")
    with pytest.raises(t.SourceChanged):
        content(file_slice(source))
    assert not held()


UNREADABLE = [
    (lambda path: path.mkdir(), "directory", "tar c"),
    (lambda path: None, "no such file", ""),
    (lambda path: os.mkfifo(path), "pipe", "cat "),
    (lambda path: path.symlink_to("nowhere"), "no such file", ""),
]


@pytest.mark.skipif(os.name == "nt", reason="POSIX files")
@pytest.mark.parametrize("make, message, hint", UNREADABLE)
def test_anything_but_a_file_is_rejected_with_a_hint(tmp_path, make, message, hint):
    make(tmp_path / "odd")
    with pytest.raises(t.Unreadable) as caught:
        t.Source.of(tmp_path / "odd")
    assert message in str(caught.value).lower() and hint in caught.value.hint
    assert (caught.value.phase, caught.value.exit_code) == ("file", 6)


@pytest.mark.parametrize(
    "path",
    [
        "",
        "a\0b",
        "\ud800" if os.name != "nt" else "?",
        "x" * 5000,
        "/dev/null" if os.name != "nt" else "nul",
        "missing\x1b[2J",
    ],
)
def test_any_other_path_is_unreadable_too(path):
    with pytest.raises(t.Unreadable) as caught:
        t.Source.of(path)
    assert str(caught.value).isprintable() and caught.value.hint.isprintable()
