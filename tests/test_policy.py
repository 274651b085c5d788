"""The decisions of the program, as tables of cases: no network, and every edge is a row.

Chapters: 1 Again, or not, 2 Success, or not, 3 Numbers and times, 4 Which host fits, 5 Which hosts
are meant, 6 Readers, 7 Every host's reader, 8 Addresses, 9 Names and ranges, 10 Words for people,
11 Wishes, 12 Secrets.
"""

from __future__ import annotations

import copy
import json
import string
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import twat_fs as t

FEW = settings(max_examples=40, deadline=None)
STAMP = t.FileVersion(0, 0, 0, 0)
ROWS = pytest.mark.parametrize("row", t.PROVIDERS, ids=lambda row: row.id)
BY_ID = {row.id: row for row in t.PROVIDERS}
# An object of S3 has the URL to which it was sent: its answer holds no link, and nothing can be
# read wrongly from it.
READING = [row for row in t.PROVIDERS if row.id != "s3"]
READ_ROWS = pytest.mark.parametrize("row", READING, ids=lambda row: row.id)


def source(size: int = 1, name: str = "a.txt", path: str = "nowhere") -> t.Source:
    """A file that exists on paper only."""
    return t.Source(name, (t.Slice(path, 0, size, STAMP),), size, 0.0)


def response(
    body="", status: int = 200, url: str = "https://host.example/up", **headers: str
) -> t.Response:
    data = body.encode("utf-8") if isinstance(body, str) else body
    return t.Response(
        status, {name.replace("_", "-"): value for name, value in headers.items()}, data, url
    )


def outcome(call, *args):
    """What a call gives: its value, or the class of the UploadError that it raises."""
    try:
        return call(*args)
    except t.UploadError as error:
        return type(error)


# 1 Again, or not ----------------------------------------------------------------------------------

UNSENT, SENT = {"started": False}, {"started": True}
PAUSES = [
    ("the first try failed to connect", t.Unreachable("x", **UNSENT), 1, 2, 0.5),
    ("the second one, too: longer", t.Unreachable("x", **UNSENT), 2, 2, 1.0),
    ("the third is the last", t.Unreachable("x", **UNSENT), 3, 2, None),
    ("no retries wished", t.Unreachable("x", **UNSENT), 1, 0, None),
    ("more retries wished", t.Unreachable("x", **UNSENT), 3, 3, 2.0),
    ("the body had begun to leave: once more", t.Unreachable("x", **SENT), 1, 2, 0.5),
    ("the body had begun to leave: no third time", t.Unreachable("x", **SENT), 2, 2, None),
    ("the body had begun to leave, whatever is wished", t.Busy("x", **SENT), 2, 20, None),
    ("the body had begun to leave, and no retry wished", t.Busy("x", **SENT), 1, 0, None),
    ("the host says when", t.Busy("x", retry_after=7.0), 1, 2, 7.0),
    ("the host says now", t.Busy("x", retry_after=0.0), 1, 2, 0.0),
    ("the host says when, but it was the last try", t.Busy("x", retry_after=7.0), 3, 2, None),
    (
        "exactly the longest pause",
        t.Busy("x", retry_after=float(t.MAX_PAUSE)),
        1,
        2,
        float(t.MAX_PAUSE),
    ),
    ("one second above it is a no", t.Busy("x", retry_after=t.MAX_PAUSE + 1.0), 1, 2, None),
    ("an hour is a no", t.Busy("x", retry_after=3600.0), 1, 2, None),
    ("forever is a no", t.Busy("x", retry_after=t.FOREVER), 1, 2, None),
    ("a name that does not exist stays so", t.Unreachable("x", phase="dns"), 1, 2, None),
    ("a proxy that is not there", t.Unreachable("x", phase="proxy", everywhere=True), 1, 2, None),
    ("a no", t.Refused("x", status=403), 1, 2, None),
    ("a no with a time", t.Refused("x", status=403, retry_after=1.0), 1, 2, None),
    ("no link", t.NoLink("x"), 1, 2, None),
    ("the file changed", t.SourceChanged("x"), 1, 2, None),
    ("other bytes", t.NotVerified("x"), 1, 2, None),
    ("the time is over", t.TimedOut("x"), 1, 2, None),
]


@pytest.mark.parametrize(
    "error, attempt, retry, seconds", [row[1:] for row in PAUSES], ids=[row[0] for row in PAUSES]
)
def test_pause(error, attempt, retry, seconds):
    assert t.pause(error, attempt, retry) == seconds


def test_no_pause_is_longer_than_what_a_host_may_ask_for():
    pauses = [t.pause(t.Unreachable("x"), attempt, 20) for attempt in range(1, 21)]
    assert pauses == sorted(pauses)
    assert max(pauses) <= t.MAX_PAUSE


# 2 Success, or not --------------------------------------------------------------------------------

UPLOAD = t.Request("POST", "https://host.example/up", body=(b"x",))
DOWNLOAD = t.Request("GET", "https://host.example/f", idempotent=True)
SAYS_NOTHING = UPLOAD._replace(error_reader=t.empty_means_busy)
UGUU = UPLOAD._replace(error_reader=t.pomf_error)

VERDICTS = [
    *((UPLOAD, response("x", status), t.Response) for status in (200, 201, 202, 204, 206, 299)),
    *(
        (UPLOAD, response("x", status), t.Busy)
        for status in (408, 425, 429, 502, 503, 504, 520, 521, 522, 523, 524)
    ),
    *(
        (UPLOAD, response("x", status), t.Refused)
        for status in (400, 401, 403, 404, 405, 410, 411, 412, 413, 414, 415)
    ),
    *(
        (UPLOAD, response("x", status), t.Refused)
        for status in (418, 422, 451, 501, 505, 507, 519, 525, 599, 999)
    ),
    *(
        (UPLOAD, response("x", status), t.Refused)
        for status in (100, 199, 300, 301, 302, 304, 307, 399)
    ),
    (UPLOAD, response("x", 500), t.Refused),
    (DOWNLOAD, response("x", 500), t.Busy),
    (DOWNLOAD, response("x", 404), t.Refused),
    (SAYS_NOTHING, response("", 200), t.Busy),
    (SAYS_NOTHING, response(" \r\n\t", 200), t.Busy),
    (SAYS_NOTHING, response("x", 200), t.Response),
    (SAYS_NOTHING, response("", 201), t.Response),
    (SAYS_NOTHING, response("", 403), t.Refused),
    (UGUU, response("Rate limit, please wait 30 seconds", 500), t.Busy),
    (UGUU, response("oops", 500), t.Busy),
    (UGUU, response("oops", 501), t.Refused),
    (UGUU, response("", 200), t.Busy),
]


@pytest.mark.parametrize(
    "request_, answer, verdict", VERDICTS, ids=lambda value: getattr(value, "status", None)
)
def test_judge(request_, answer, verdict):
    result = outcome(t.judge, request_, answer)
    assert result is answer if verdict is t.Response else result is verdict


def judged(request, answer) -> t.UploadError:
    with pytest.raises(t.UploadError) as caught:
        t.judge(request, answer)
    return caught.value


def test_a_verdict_tells_status_phase_and_whether_the_body_had_left():
    no = judged(UPLOAD, response("no more", 403))
    assert (no.status, no.phase, no.started, no.retry_after) == (403, "reply", True, None)
    assert not judged(DOWNLOAD, response("no more", 403)).started


@pytest.mark.parametrize(
    "request_, answer, seconds",
    [
        (UPLOAD, response("x", 429, Retry_After="12"), 12.0),
        (UPLOAD, response("x", 503, Retry_After="²"), None),
        (UPLOAD, response("x", 503, Retry_After="-1"), None),
        (UPLOAD, response("x", 503), None),
        (UGUU, response("please wait 45 seconds", 500), 45.0),
        (UGUU, response("please wait 0 seconds", 500), 0.0),
        (UGUU, response("please wait ² seconds", 500), None),
        (UGUU, response("please wait 99999999999999999999 seconds", 500), None),
    ],
)
def test_a_busy_host_says_how_long(request_, answer, seconds):
    assert judged(request_, answer).retry_after == seconds


@pytest.mark.parametrize(
    "body, shown",
    [
        ("The file is too large.\n", "The file is too large."),
        (
            "<html><head><title>\n  Just a\n moment... </title></head><body>" + "x" * 5000,
            "Just a moment...",
        ),
        ("no\x1b[2J\x07\r\nend", "no\\x1b[2J\\x07 end"),
        ("gpj.\u202eexe", "gpj.\\u202eexe"),
        (b"\xff\xfe", "\ufffd\ufffd"),
        ("", "403 Forbidden"),
    ],
)
def test_the_hosts_own_words_are_shown_without_harm(body, shown):
    message = str(judged(UPLOAD, response(body, 403)))
    assert shown in message and message.startswith("403 Forbidden")
    assert message.isprintable()


def test_a_talkative_host_is_cut_short():
    assert len(str(judged(UPLOAD, response("no " * 100_000, 403)))) < 300


@FEW
@given(st.integers(100, 999), st.binary(max_size=300), st.text(max_size=30), st.booleans())
def test_any_answer_is_a_success_or_an_upload_error(status, body, pause, repeatable):
    for request in (UPLOAD, SAYS_NOTHING, UGUU, UPLOAD._replace(idempotent=repeatable)):
        result = outcome(t.judge, request, response(body, status, Retry_After=pause))
        assert isinstance(result, t.Response) or issubclass(result, t.UploadError)


# 3 Numbers and times ------------------------------------------------------------------------------

NUMBERS = [
    ("0", 0),
    ("7", 7),
    ("0042", 42),
    (" 12 ", 12),
    ("12\r\n", 12),
    ("9" * 18, 10**18 - 1),
    ("9" * 19, None),
    (None, None),
    ("", None),
    (" ", None),
    ("²", None),
    ("½", None),
    ("\u0661\u0662", None),
    ("\uff11\uff12", None),
    ("-1", None),
    ("+1", None),
    ("1.5", None),
    ("1e3", None),
    ("0x10", None),
    ("1_000", None),
    ("1 2", None),
    ("nan", None),
    ("12, 12", None),
    ("\0", None),
]


@pytest.mark.parametrize("text, value", NUMBERS)
def test_number(text, value):
    assert t.parse_number(text) == value


NOW = 1_700_000_000.0  # Tue, 14 Nov 2023 22:13:20 GMT
PAUSES_ASKED = [
    (None, None),
    ("0", 0.0),
    ("120", 120.0),
    (" 5 ", 5.0),
    ("9" * 18, float("9" * 18)),
    ("9" * 19, None),
    ("Tue, 14 Nov 2023 22:13:50 GMT", 30.0),
    ("Tue, 14 Nov 2023 22:13:20 GMT", 0.0),
    ("Tue, 14 Nov 2023 23:13:50 +0100", 30.0),
    ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0),
    ("Mon, 01 Jan 0001 00:00:00 GMT", 0.0),
    ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0),
    ("Fri, 31 Dec 9999 23:59:59 GMT", 253402300799 - NOW),
    ("Fri, 31 Dec 10000 23:59:59 GMT", None),
    ("Tue, 99 Nov 2023 22:13:50 GMT", None),
    ("Tue, 14 Nov 2023 25:61:61 GMT", None),
    ("Tue Nov 14 22:13:50 2023", 30.0),
    ("Tue, 14 Nov 2023 22:13:50 -0000", 30.0),
    ("", None),
    ("²", None),
    ("-1", None),
    ("1.5", None),
    ("soon", None),
    ("nan", None),
    ("inf", None),
    ("\0", None),
    ("," * 50, None),
]


@pytest.fixture(params=["UTC", "JST-9"])
def timezone(request, monkeypatch):
    """What a header means does not depend on where we are."""
    if not hasattr(time, "tzset"):
        pytest.skip("the time zone cannot be changed here")
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize("value, seconds", PAUSES_ASKED)
def test_retry_after(value, seconds, timezone):
    assert t.parse_retry_after(value, NOW) == seconds


@FEW
@given(
    st.text(max_size=40)
    | st.from_regex(r"\A[A-Z][a-z]{2}, [0-9]{1,3} [A-Z][a-z]{2} [0-9]{1,6} [0-9:]{1,9} \S{1,6}\Z")
)
def test_any_retry_after_is_seconds_or_nothing(value):
    seconds = t.parse_retry_after(value, NOW)
    assert seconds is None or seconds >= 0


DURATIONS = [
    ("90s", 90),
    ("10m", 600),
    ("12h", 43200),
    ("7d", 604800),
    ("4w", 2419200),
    ("1H", 3600),
    (" 1h ", 3600),
    ("999999w", 604799395200),
    ("0h", None),
    ("000d", None),
    ("1000000s", None),
    ("", None),
    ("h", None),
    ("10", None),
    ("1.5h", None),
    ("-1h", None),
    ("+1h", None),
    ("²h", None),
    ("\u0661h", None),
    ("1h30m", 90 * 60),
    ("1 h", 3600),
    ("1d12h", 129600),
    ("1 day 12 hours", 129600),
    ("2 days", 172800),
    ("90min", 90 * 60),
    ("30 sec", 30),
    ("1y", 31536000),
    ("1 month", None),
    ("1d-2h", None),
    ("d", None),
    ("0d0h", None),
    ("2y", 730 * 86400),
    ("1hh", None),
    ("forever", None),
    ("inf", None),
    ("1h\0", None),
]


@pytest.mark.parametrize("text, seconds", DURATIONS)
def test_parse_duration(text, seconds):
    assert t.parse_duration(text) == seconds


SIZES = [
    ("1", 1),
    ("500", 500),
    ("500k", 512000),
    ("500K", 512000),
    ("1.5M", 1572864),
    ("2g", 2 * t.GiB),
    ("1T", 1024 * t.GiB),
    ("0.5k", 512),
    ("10b", 10),
    ("10kb", 10240),
    ("10KiB", 10240),
    ("10 k", None),
    (" 10k ", 10240),
    ("999999999t", 999999999 * 1024**4),
    ("0", None),
    ("0k", None),
    ("0.001", None),
    ("", None),
    ("k", None),
    ("-1", None),
    ("-1k", None),
    ("1e3", None),
    ("²", None),
    ("\u0661k", None),
    ("1.k", None),
    (".5k", None),
    ("1.2345k", None),
    ("1,5k", None),
    ("1_000", None),
    ("inf", None),
    ("nan", None),
    ("1000000000000", None),
    ("10p", None),
    ("10kk", None),
    ("0x10", None),
]


@pytest.mark.parametrize("text, size", SIZES)
def test_parse_size(text, size):
    assert t.parse_size(text) == size


SECONDS = [
    ("30", 30.0),
    ("0.5", 0.5),
    ("5m", 300),
    ("0", None),
    ("0.0001", None),
    ("²", None),
    ("-1", None),
    ("1e3", None),
    ("", None),
]


@pytest.mark.parametrize("text, seconds", SECONDS)
def test_parse_seconds(text, seconds):
    assert t.parse_seconds(text) == seconds


@FEW
@given(st.text(max_size=12) | st.text(alphabet="0123456789.smhdwkgtib² -", max_size=8))
def test_any_text_is_a_positive_number_or_nothing(text):
    for parse in (t.parse_duration, t.parse_size, t.parse_seconds):
        value = parse(text)
        assert value is None or value > 0


# 4 Which host fits --------------------------------------------------------------------------------

H, D, MONTH = t.HOUR, t.DAY, 30 * t.DAY
LITTER = t.Retention(3 * D, (H, 12 * H, 24 * H, 72 * H), "LITTERBOX_DEFAULT_EXPIRATION")
FIXED, ETERNAL, SILENT = t.Retention(7 * D), t.Retention(t.FOREVER), t.Retention(None)
OWN = t.Retention(None, range(D, 366 * D, D))
BY_SIZE = t.Retention(lambda size: 30 * D if size < 100 else 3 * D)


def litter(value: str, **wishes) -> t.UploadOptions:
    return t.UploadOptions(settings={"LITTERBOX_DEFAULT_EXPIRATION": value}, **wishes)


LIFETIMES = [
    # what the host keeps, the size, what we wish, what we get
    (LITTER, 1, {}, 3 * D),
    (LITTER, 1, {"expire": 1}, t.Unsuitable),
    (LITTER, 1, {"expire": H // 2}, H),
    (LITTER, 1, {"expire": H // 2 - 1}, t.Unsuitable),
    (LITTER, 1, {"expire": 2 * H}, H),
    (LITTER, 1, {"expire": 3 * H}, t.Unsuitable),
    (LITTER, 1, {"expire": 10 * H}, 12 * H),
    (LITTER, 1, {"expire": H}, H),
    (LITTER, 1, {"expire": H + 1}, H),
    (LITTER, 1, {"expire": 72 * H}, 72 * H),
    (LITTER, 1, {"expire": 72 * H + 1}, 72 * H),
    (LITTER, 1, {"expire": 144 * H}, 72 * H),
    (LITTER, 1, {"expire": 144 * H + 1}, t.Unsuitable),
    (LITTER, 1, {"expire": 604799395200}, t.Unsuitable),
    (LITTER, 1, {"keep": H}, 3 * D),
    (LITTER, 1, {"keep": 3 * D}, 3 * D),
    (LITTER, 1, {"keep": 3 * D + 1}, t.Unsuitable),
    (LITTER, 1, {"expire": 13 * H, "keep": 2 * H}, 12 * H),
    (LITTER, 1, {"expire": 13 * H, "keep": 13 * H}, 24 * H),
    (LITTER, 1, {"expire": 11 * H, "keep": 73 * H}, t.Unsuitable),
    (LITTER, 1, litter("12h"), 12 * H),
    (LITTER, 1, litter("1d"), 24 * H),
    (LITTER, 1, litter("12h", keep=13 * H), 24 * H),
    (LITTER, 1, litter("12h", keep=12 * H), 12 * H),
    (LITTER, 1, litter("12h", expire=H), H),
    (LITTER, 1, litter(""), 3 * D),
    (LITTER, 1, litter("5h"), t.NotConfigured),
    (LITTER, 1, litter("forever"), t.NotConfigured),
    (LITTER, 1, litter("0h"), t.NotConfigured),
    (LITTER, 1, litter("²h"), t.NotConfigured),
    (FIXED, 1, {}, 7 * D),
    (FIXED, 1, {"keep": 7 * D}, 7 * D),
    (FIXED, 1, {"keep": 7 * D + 1}, t.Unsuitable),
    (FIXED, 1, {"expire": 7 * D}, 7 * D),
    (FIXED, 1, {"expire": 14 * D}, 7 * D),
    (FIXED, 1, {"expire": 14 * D + 1}, t.Unsuitable),
    (FIXED, 1, {"expire": 8 * D, "keep": 8 * D}, t.Unsuitable),
    (FIXED, 1, {"expire": H}, t.Unsuitable),
    (ETERNAL, 1, {}, t.FOREVER),
    (ETERNAL, 1, {"keep": 604799395200}, t.FOREVER),
    (ETERNAL, 1, {"expire": H}, t.Unsuitable),
    (SILENT, 1, {}, None),
    (SILENT, 1, {"keep": 1}, t.Unsuitable),
    (SILENT, 1, {"expire": 1}, t.Unsuitable),
    (OWN, 1, {}, None),
    (OWN, 1, {"keep": 1}, D),
    (OWN, 1, {"keep": D}, D),
    (OWN, 1, {"keep": D + 1}, 2 * D),
    (OWN, 1, {"expire": 365 * D}, 365 * D),
    (OWN, 1, {"expire": 365 * D + 1}, 365 * D),
    (OWN, 1, {"expire": 33 * H}, D),
    (OWN, 1, {"expire": 40 * H}, 2 * D),
    (BY_SIZE, 99, {"keep": MONTH}, MONTH),
    (BY_SIZE, 100, {"keep": MONTH}, t.Unsuitable),
]


@pytest.mark.parametrize("keeps, size, wishes, life", LIFETIMES)
def test_lifetime(keeps, size, wishes, life):
    options = wishes if isinstance(wishes, t.UploadOptions) else t.UploadOptions(**wishes)
    assert outcome(t.choose_lifetime, keeps, size, options) == life


@FEW
@given(st.integers(1, 10**12), st.integers(0, 10**12))
def test_a_wish_is_never_cut(seconds, size):
    for row in t.PROVIDERS:
        keeps = t.retention_for(row, t.UploadOptions())
        ttl = outcome(t.choose_lifetime, keeps, size, t.UploadOptions(keep=seconds))
        gone = outcome(t.choose_lifetime, keeps, size, t.UploadOptions(expire=seconds))
        assert ttl is t.Unsuitable or ttl >= seconds
        assert gone is t.Unsuitable or seconds / 2 <= gone <= seconds * 2


@pytest.mark.parametrize(
    "reckon, size, days",
    [
        (t.x0at_ttl, 0, 100),
        (t.x0at_ttl, 100 * t.MiB, 3),
        (t.x0at_ttl, 400 * t.MiB, 3),
        (t.x0at_ttl, 50 * t.MiB, 27.25),
        (t.null_ttl, 0, 365),
        (t.null_ttl, 512 * t.MiB, 30),
        (t.null_ttl, t.GiB, 30),
        (t.null_ttl, 256 * t.MiB, 71.875),
    ],
)
def test_larger_files_live_shorter(reckon, size, days):
    assert reckon(size) == days * D


def limits():
    """Every limit that a row states: the row, a file name, the size."""
    for row in t.PROVIDERS:
        if row.limits.max_size:
            yield pytest.param(row, "a.txt", row.limits.max_size - row.limits.overhead, id=row.id)
        for extension, size in row.limits.by_extension.items():
            yield pytest.param(
                row, "a." + extension, size - row.limits.overhead, id=f"{row.id}-{extension}"
            )


READY = t.UploadOptions(
    settings={
        "TWAT_FS_TRANSFERSH_URL": "https://drop.example.org/",
        "DROPBOX_ACCESS_TOKEN": "t",
        "FAL_KEY": "i:s",
        "PIXELDRAIN_KEY": "k",
        "AWS_S3_BUCKET": "bucket",
        "AWS_DEFAULT_REGION": "eu-west-1",
    }
)


def text_file(tmp_path, size: int, name: str) -> t.Source:
    """A real file if it is small enough: a host that takes text only looks into it."""
    path = tmp_path / "a"
    if size <= t.MiB:
        path.write_bytes(b"a" * size)
        return t.Source.of(path, name)
    return source(size, name, str(path))


@pytest.mark.parametrize("row, name, limit", list(limits()))
def test_exactly_the_limit_fits_and_one_byte_more_does_not(row, name, limit, tmp_path):
    assert t.objection(row, text_file(tmp_path, limit, name), READY) is None
    against = t.objection(row, text_file(tmp_path, limit + 1, name), READY)
    assert isinstance(against, t.Unsuitable) and against.phase == "file"
    assert "file too large" in str(against)


@ROWS
def test_an_empty_file_goes_nowhere_unless_the_host_takes_such(row, tmp_path):
    against = t.objection(row, text_file(tmp_path, 0, "a.txt"), READY)
    assert against is None if row.limits.empty else "empty" in str(against)


OBJECTIONS = [
    # host, file name, wishes, the reason (a piece of it), its class
    ("catbox", "a.exe", {}, "exe", t.Unsuitable),
    ("catbox", "A.EXE", {}, "exe", t.Unsuitable),
    ("catbox", "a.doc", {}, "doc", t.Unsuitable),
    ("catbox", "a.docx", {}, "docx", t.Unsuitable),
    ("catbox", "a.docm", {}, "docm", t.Unsuitable),
    ("catbox", "a.jar", {}, "jar", t.Unsuitable),
    ("catbox", "a.exe.txt", {}, None, None),
    ("catbox", "exe", {}, None, None),
    ("catbox", "a.", {}, None, None),
    ("catbox", ".exe", {}, ".exe files are blocked", t.Unsuitable),
    ("catbox", "exe", {}, None, None),
    ("catbox", "a.txt", {"once": True}, "does not support --once", t.Unsuitable),
    ("catbox", "a.txt", {"expire": H}, "2 years", t.Unsuitable),
    ("catbox", "a.txt", {"keep": 730 * D}, None, None),
    ("catbox", "a.txt", {"keep": 1095 * D}, "2 years", t.Unsuitable),
    ("catbox", "a.txt", {"keep": 604799395200, "settings": {"CATBOX_USERHASH": "h"}}, None, None),
    (
        "catbox",
        "a.txt",
        {"expire": H, "settings": {"CATBOX_USERHASH": "h"}},
        "files never expire",
        t.Unsuitable,
    ),
    ("storageto", "a.txt", {"keep": 7 * D}, None, None),
    ("storageto", "a.txt", {"keep": 7 * D + 1}, "maximum expiry is 7 days", t.Unsuitable),
    (
        "bashupload",
        "a.txt",
        {"once": True, "keep": H + 1},
        "maximum expiry is 1 hour",
        t.Unsuitable,
    ),
    ("bashupload", "a.txt", {"once": True, "expire": 2 * H}, None, None),
    ("bashupload", "a.txt", {"once": True, "expire": 1}, "closest expiry is 1 hour", t.Unsuitable),
    ("litterbox", "a.scr", {}, "scr", t.Unsuitable),
    ("litterbox", "a.txt", {"expire": 12 * H}, None, None),
    ("litterbox", "a.txt", {"keep": 4 * D}, "3 days", t.Unsuitable),
    (
        "litterbox",
        "a.txt",
        {"settings": {"LITTERBOX_DEFAULT_EXPIRATION": "2h"}},
        "choose from",
        t.NotConfigured,
    ),
    ("uguu", "a.zip", {}, "zip", t.Unsuitable),
    ("uguu", "a.pdf", {}, "pdf", t.Unsuitable),
    ("uguu", "a.txt", {"keep": 3 * H + 1}, "3 hours", t.Unsuitable),
    ("tmpfilesorg", "a.txt", {"expire": 60}, None, None),
    ("tmpfilesorg", "a.txt", {"expire": 2 * D}, None, None),
    ("tmpfilesorg", "a.txt", {"expire": 5 * D}, "closest expiry is 2 days", t.Unsuitable),
    ("tmpfilelink", "a.txt", {"keep": 7 * D}, None, None),
    ("filebin", "a.exe", {}, None, None),
    ("senditsh", "a.txt", {"once": True}, None, None),
    ("bashupload", "a.txt", {"once": True}, None, None),
    ("transfersh", "a.txt", {}, "TWAT_FS_TRANSFERSH_URL", t.NotConfigured),
    (
        "transfersh",
        "a.txt",
        {"settings": {"TWAT_FS_TRANSFERSH_URL": ""}},
        "TWAT_FS_TRANSFERSH_URL",
        t.NotConfigured,
    ),
    (
        "transfersh",
        "a.txt",
        {"settings": {"TWAT_FS_TRANSFERSH_URL": "https://h.example"}},
        None,
        None,
    ),
]


@pytest.mark.parametrize("name, file, wishes, reason, error_class", OBJECTIONS)
def test_objection(name, file, wishes, reason, error_class):
    against = t.objection(BY_ID[name], source(1, file), t.UploadOptions(**wishes))
    if reason is None:
        assert against is None
    else:
        assert type(against) is error_class and reason in str(against)


@pytest.mark.parametrize(
    "content, fits",
    [
        (b"a", True),
        ("grüße 🎉".encode(), True),
        (b"\x1b[2J", True),
        (b"a\0b", False),
        (b"\xff\xfe", False),
        ("ü".encode()[:1], False),
    ],
)
def test_a_host_for_text_takes_text_only(content, fits, tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(content)
    against = t.objection(BY_ID["termbin"], t.Source.of(path), READY)
    assert against is None if fits else "text" in str(against)


# 5 Which hosts are meant --------------------------------------------------------------------------

NAMED = [
    ("catbox", ["catbox"]),
    ("catbox,x0at", ["catbox", "x0at"]),
    ("[catbox,x0at]", ["catbox", "x0at"]),
    (" [ catbox , x0at ] ", ["catbox", "x0at"]),
    ("['catbox', \"x0at\"]", ["catbox", "x0at"]),
    ("catbox,,x0at,", ["catbox", "x0at"]),
    ("", []),
    ("  ", []),
    (",", []),
    ("[]", []),
    ("[ , ]", []),
    ("https://a.example/x,catbox", ["https://a.example/x", "catbox"]),
    ("http://[::1]:8080/", ["http://[::1]:8080/"]),
    ("http://[::1]", ["http://[::1]"]),
    ("[http://[::1]]", ["http://[::1]"]),
]


@pytest.mark.parametrize("text, names", NAMED)
def test_named(text, names):
    assert t.parse_names(text) == names


FOUND = [
    *((row.id, row.id) for row in t.PROVIDERS),
    *((row.id.upper(), row.id) for row in t.PROVIDERS),
    *((row.domain, row.id) for row in t.PROVIDERS if " " not in row.domain),
    ("cat", "catbox"),
    ("Catbox.Moe", "catbox"),
    ("litter", "litterbox"),
    ("l", "litterbox"),
    ("0x0", "www0x0"),
    ("x0", "x0at"),
    ("tmpfiles", "tmpfilesorg"),
    ("tmpfilel", "tmpfilelink"),
    ("bash", "bashupload"),
    ("transfer", "transfersh"),
    ("qu", "quax"),
    ("https://catbox.moe/", "catbox"),
    ("https://0x0.st", "www0x0"),
    ("http://Filebin.net/", "filebin"),
]


@pytest.mark.parametrize("name, id", FOUND)
def test_a_host_is_found_by_id_domain_and_unique_prefix(name, id):
    assert t.find_provider(name).id == id


UNKNOWN = [
    # what somebody typed, what the answer must say
    ("tmp", ["tmpfilelink", "tmpfilesorg"]),
    ("tmpfile", ["tmpfilelink", "tmpfilesorg"]),
    ("t", ["termbin", "tmpfilelink"]),
    ("s", ["senditsh"]),
    ("0x0.ts", ["-p https://0x0.ts/"]),
    ("nosuchhost", ["nosuchhost", "twat-fs list"]),
    ("", []),
    ("²", []),
    ("a\x1b[2J", ["\\x1b"]),
    ("catbox.moe.evil.example", []),
    ("ftp://host/", []),
    ("x" * 5000, []),
    ("http://", []),
    ("catbox.mo", ["-p https://catbox.mo/"]),
    ("qu.", []),
    ("https://file.io/", ["LimeWire"]),
    ("localhost:8080", ["-p http://localhost:8080/"]),
    ("10.0.0.5", ["-p http://10.0.0.5/"]),
    ("gofile.io", ["your server? -p https://gofile.io/"]),
    ("drop.example.org", ["-p https://drop.example.org/"]),
    ("mybox", ["list` to see all hosts"]),
    ("gofile", ["list` to see all hosts"]),
    ("catbx", ["did you mean catbox?"]),
    ("https://[::1/", []),
    ("https://host:99999/", []),
    ("https://host:port/", []),
    ("https:///nohost", []),
    *((name, [name, why.split()[0]]) for name, why in t.DEAD.items()),
    *((name.upper(), [name]) for name in t.DEAD),
]


@pytest.mark.parametrize("name, expected", [row for row in UNKNOWN if row[0] != "s"])
def test_a_wrong_name_is_answered_with_what_was_meant(name, expected):
    with pytest.raises(t.UsageError) as caught:
        t.find_provider(name)
    message = f"{caught.value} {caught.value.hint}"
    assert all(word in message for word in expected)
    assert message.isprintable() and len(message) < 300


def test_every_ambiguous_prefix_names_all_that_it_may_be():
    """Each prefix of each name: unique ones match, ambiguous ones list hosts, cut domains fail."""
    names = {row.id: (row.id, row.domain) for row in t.PROVIDERS}
    for prefix in {
        word[:end] for pair in names.values() for word in pair for end in range(1, len(word) + 1)
    }:
        exact = {id for id, pair in names.items() if prefix in pair}
        meant = exact or {
            id
            for id, (_, domain) in names.items()
            if id.startswith(prefix) or domain.startswith(prefix + ".")
        }
        if prefix in t.DEAD or not meant:
            continue
        if len(meant) == 1:
            assert {t.find_provider(prefix).id} == meant
        else:
            with pytest.raises(t.UsageError) as caught:
                t.find_provider(prefix)
            assert all(id in str(caught.value) for id in meant)


@settings(max_examples=100, deadline=None)
@given(
    st.text(max_size=40)
    | st.text(max_size=30).map("https://".__add__)
    | st.text(alphabet="/@:[]%?#ax\udcffü1", max_size=12).map("http://".__add__)
)
def test_any_name_is_a_host_or_a_usage_error(name):
    result = outcome(t.find_provider, name)
    assert isinstance(result, t.Provider) or result is t.UsageError


CHAIN = ["catbox", "litterbox", "x0at", "tmpfilelink", "tmpfilesorg", "filebin", "uguu"]
CHAINS = [
    ([], False, CHAIN),
    ([], True, CHAIN),
    (["x0at"], False, ["x0at"]),
    (["x0at", "catbox"], False, ["x0at", "catbox"]),
    (["catbox", "catbox.moe", "cat"], False, ["catbox"]),
    (
        ["x0at"],
        True,
        ["x0at", "tmpfilelink", "tmpfilesorg", "filebin", "uguu", "catbox", "litterbox"],
    ),
    (["uguu"], True, ["uguu", *CHAIN[:-1]]),
    (["catbox"], True, CHAIN),
    (["litterbox", "catbox"], True, ["litterbox", "catbox", *CHAIN[2:]]),
    (["termbin"], True, ["termbin", *CHAIN]),
    (
        ["filebin", "termbin"],
        True,
        ["filebin", "termbin", "uguu", "catbox", "litterbox", "x0at", "tmpfilelink", "tmpfilesorg"],
    ),
    (["https://drop.example.org/"], False, ["drop.example.org"]),
    (["https://drop.example.org/"], True, ["drop.example.org", *CHAIN]),
    (["nosuchhost"], False, t.UsageError),
    (["catbox", "file.io"], True, t.UsageError),
    (["tmp"], True, t.UsageError),
    ([""], False, t.UsageError),
]


@pytest.mark.parametrize("names, fallback, ids", CHAINS)
def test_choose(names, fallback, ids):
    result = outcome(t.choose_chain, names, fallback)
    assert ([row.id for row in result] if isinstance(result, list) else result) == ids


OWN = [
    ({"AWS_S3_BUCKET": "b"}, False, ["s3"]),
    (
        {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"},
        False,
        CHAIN,
    ),  # of many a machine; a bucket is a wish
    (
        {"DROPBOX_REFRESH_TOKEN": "r"},
        False,
        ["dropbox"],
    ),  # half set up: it is meant, and will say what it lacks
    ({"FAL_KEY_ID": "i"}, False, ["fal"]),
    ({"PIXELDRAIN_KEY": "k", "AWS_S3_BUCKET": "b"}, False, ["s3", "pixeldrain"]),
    ({"PIXELDRAIN_KEY": "k"}, True, ["pixeldrain", *CHAIN]),
    ({"TWAT_FS_TRANSFERSH_URL": "https://drop.example.org/"}, False, ["transfersh"]),
    ({"AWS_S3_BUCKET": ""}, False, ["s3"]),  # so CI names a secret that it does not give
    ({"CATBOX_USERHASH": "h"}, False, CHAIN),
]


@pytest.mark.parametrize("settings, fallback, ids", OWN)
def test_own_storage_never_becomes_public_by_itself(settings, fallback, ids):
    assert [row.id for row in t.choose_chain([], fallback, settings)] == ids


# 6 Readers ----------------------------------------------------------------------------------------

READERS = [
    (t.body_text, "https://a/b\r\n ", "https://a/b"),
    (t.body_text, "", ""),
    (t.body_text, b"\xff", "\ufffd"),
    (t.json_at(), '"a"', "a"),
    (t.json_at("a"), '{"a":"b"}', "b"),
    (t.json_at("a", "b"), '{"a":{"b":"c"}}', "c"),
    (t.json_at("a", 0, "b"), '{"a":[{"b":"c"}]}', "c"),
    (t.json_at("a", 0, "b"), '{"a":{"0":{"b":"c"}}}', t.NoLink),
    (t.json_at("a", 0, "b"), '{"a":[]}', t.NoLink),
    (t.json_at("a", 0, "b"), '{"a":"text"}', t.NoLink),
    (t.json_at("a", 0, "b"), '{"a":["text"]}', t.NoLink),
    (t.json_at("a", "b"), '{"a":null}', t.NoLink),
    (t.json_at("a", "b"), '{"a":[1]}', t.NoLink),
    (t.json_at("a", "b"), '{"a":"b"}', t.NoLink),
    (t.json_at("a"), "[]", t.NoLink),
    (t.json_at("a"), "null", t.NoLink),
    (t.json_at("a"), "{}", t.NoLink),
    (t.json_at("a"), '{"a":null}', ""),
    (t.json_at("a"), '{"a":7}', "7"),
    (t.json_at("a"), '{"a":-7}', "-7"),
    (t.json_at("a"), '{"a":7.5}', ""),
    (t.json_at("a"), '{"a":true}', ""),
    (t.json_at("a"), '{"a":NaN}', ""),
    (t.json_at("a"), '{"a":-Infinity}', ""),
    (t.json_at("a"), '{"a":1e999}', ""),
    (t.json_at("a"), '{"a":["b"]}', ""),
    (t.json_at("a"), "", t.NoLink),
    (t.json_at("a"), "<html>", t.NoLink),
    (t.json_at("a"), b'{"b":"gr\xfc\xdfe","a":"c"}', "c"),
    (t.json_at("a"), '\ufeff \r\n{"a":"b"}\r\n\0', "b"),
    (t.json_at("a"), '{"a":"\\ufeff b\\u0000\\r\\n"}', "b"),
    (
        t.json_at("a"),
        '<br />\n<b>Warning</b>: Undefined array key {main} on line <b>3</b>\n{"a":"b"}',
        "b",
    ),
    (t.json_at("a"), '{"a":"b"}\n<b>Warning</b>: later', "b"),
    (t.json_at("a"), '\ufeff{"a":"b"}', "b"),
    (t.json_at("a"), '{"a":"b"', t.NoLink),
    (t.json_at("a"), '{"a":' * 100_000, t.NoLink),
    (t.json_at("a"), "[" * 100_000 + "]" * 100_000, t.NoLink),
    (t.first_of(t.json_at("a"), t.json_at("b")), '{"a":"1","b":"2"}', "1"),
    (t.first_of(t.json_at("a"), t.json_at("b")), '{"a":"","b":"2"}', "2"),
    (t.first_of(t.json_at("a"), t.json_at("b")), '{"a":null,"b":"2"}', "2"),
    (t.first_of(t.json_at("a"), t.json_at("b")), '{"b":"2"}', "2"),
    (t.first_of(t.json_at("a"), t.json_at("b")), "{}", t.NoLink),
    (t.first_of(t.json_at("a"), t.json_at("b")), "no json", t.NoLink),
    (
        t.last_url("a.example"),
        "see https://a.example/x, or https://a.example/y",
        "https://a.example/y",
    ),
    (
        t.last_url("a.example"),
        'wget HTTP://b.a.example:443/x" https://a.example.evil/y https://a.example@evil/z',
        "HTTP://b.a.example:443/x",
    ),
    (t.last_url("a.example"), "https://a.example/ or https://aXexample/x", ""),
    (t.without_query(t.body_text), "https://a/b?c#d%20e", "https://a/b%3Fc%23d%20e"),
]


@pytest.mark.parametrize("reader, body, expected", READERS)
def test_reader(reader, body, expected):
    assert outcome(reader, response(body)) == expected


HOSTILE = [
    "<title>" + " " * 8000,
    "<title" * 20_000,
    "<title>a" + " " * 8000 + "b",
    "x" + " " * 60_000 + "x",
    "a\0" * 50_000,
]


@pytest.mark.parametrize("body", HOSTILE, ids=range(len(HOSTILE)))
def test_no_answer_keeps_a_reader_busy(body):
    begun = time.process_time()
    t.error_text(response(body))
    outcome(BY_ID["termbin"].evidence.read, response(body))
    assert time.process_time() - begun < 1


def test_an_oversized_number_is_not_a_link():
    assert outcome(t.json_at("a"), response('{"a":' + "9" * 100_000 + "}")) in ("", t.NoLink)


LINKS = [
    # what the host says, the link
    ("https://a.example/x.txt", "https://a.example/x.txt"),
    ("http://a.example/x", "https://a.example/x"),
    ("HTTPS://A.Example/X", "https://a.example/X"),
    ("https://a.example:443/x", "https://a.example/x"),
    ("http://a.example:443/x", "https://a.example/x"),
    ("https://a.example./x", "https://a.example/x"),
    ("https://b.c-1.a.example/x", "https://b.c-1.a.example/x"),
    ("https://b.example/x", "https://b.example/x"),
    ("https://a.example/x%20y", "https://a.example/x%20y"),
    ("https://a.example/x y|z", "https://a.example/x%20y%7Cz"),
    ("https://a.example/100%25 %.t~t+x", "https://a.example/100%25%20%25.t~t+x"),
    ("https://a.example/grüße", "https://a.example/gr%C3%BC%C3%9Fe"),
    ("https://a.example/x?y=%2F#z", "https://a.example/x?y=%2F#z"),
    ("https://a.example/x;y=1", "https://a.example/x;y=1"),
    ("https://a.example//evil.example/x", "https://a.example//evil.example/x"),
    ("https://a.example/a/../b/./c/%2E%2e/d", "https://a.example/b/d"),
    ("https://a.example/../x", "https://a.example/x"),
    ("/x.txt", "https://a.example/x.txt"),  # the host that responded
    ("\ufeffhttps://a.example/x", "https://a.example/x"),
    ("https://a.example/x\n", "https://a.example/x"),
    ("https://a.example/x\0", "https://a.example/x"),
    (" https://a.example/x \r\n\0\n", "https://a.example/x"),
    (
        "https://a.example/x \r\nThanks, see https://a.example or a.example/faq",
        "https://a.example/x",
    ),
    ("https://a.example/" + "x" * (2048 - 18), "https://a.example/" + "x" * (2048 - 18)),
    ("https://a.example/" + "x" * (2049 - 18), t.NoLink),
    ("https://a.example/x\nor https://evil.example/x", t.NoLink),
    ("https://a.example/x\nor HTTP://a.example@evil.example/x", t.NoLink),
    ("https://a.example", t.NoLink),
    ("https://a.example/", t.NoLink),
    ("https://a.example/?x", t.NoLink),
    ("https://a.example/a/..", t.NoLink),
    ("https://a.example/%2e", t.NoLink),
    ("https://a.example:8443/x", t.NoLink),
    ("https://a.example:80/x", t.NoLink),
    ("https://a.example:99999/x", t.NoLink),
    ("https://a.example:/x", "https://a.example/x"),
    ("https://user@a.example/x", t.NoLink),
    ("https://user:password@a.example/x", t.NoLink),
    ("https://a.example/x\x1b[2J", t.NoLink),
    ("https://a.example/x\u202etxt", t.NoLink),
    ("https://a.example/9.41\u202fAM.png", "https://a.example/9.41%E2%80%AFAM.png"),  # macOS
    ("https://a.example/a\u3000\u00a0b", "https://a.example/a%E3%80%80%C2%A0b"),
    ("https://a.example/a\u200db\u200c", "https://a.example/a%E2%80%8Db%E2%80%8C"),
    ("https://x\u202f.a.example/x", t.NoLink),
    ("https://a.example/x\u2028y", t.NoLink),
    ("https://a.example/\ud800", t.NoLink),
    ("https://a.example/x\ty", t.NoLink),
    ("see https://a.example/x", t.NoLink),
    ("ftp://a.example/x", t.NoLink),
    ("tcp://a.example:443/x", t.NoLink),
    ("//a.example/x", t.NoLink),
    ("//[", t.NoLink),
    ("https://[", t.NoLink),
    ("https:/a.example/x", t.NoLink),
    ("https://a.example.evil.example/x", t.NoLink),
    ("https://a.example@evil.example/x", t.NoLink),
    ("https://evil.example/a.example/x", t.NoLink),
    ("https://evil-a.example/x", t.NoLink),
    ("https://aXexample/x", t.NoLink),
    ("https://evil.example\\.a.example/x", t.NoLink),
    ("https://evil.example\\@a.example/x", t.NoLink),
    ("https://a.example\\@evil.example/x", t.NoLink),
    ("https://evil.example#.a.example/x", t.NoLink),
    ("https://evil.example?.a.example/x", t.NoLink),
    ("https://.a.example/x", t.NoLink),
    ("", t.NoLink),
]


@pytest.mark.parametrize("link_text, link", LINKS)
def test_a_link_is_judged_by_its_domain_alone(link_text, link):
    answer = response(link_text.encode("utf-8", "replace"), url="https://a.example/up")
    assert outcome(t.check_link, link_text, answer, "a.example", "b.example") == link


OWN = [
    # where the file went, what the server says, the link
    ("https://drop.example.org/a", "https://drop.example.org/x/a", "https://drop.example.org/x/a"),
    ("https://drop.example.org/a", "http://drop.example.org/x/a", "https://drop.example.org/x/a"),
    ("https://drop.example.org/a", "http://DROP.example.org./x/a", "https://drop.example.org/x/a"),
    (
        "https://drop.example.org:8443/a",
        "http://drop.example.org/x/a",
        "https://drop.example.org:8443/x/a",
    ),
    (
        "http://drop.example.org:8080/a",
        "http://drop.example.org:8080/x/a",
        "http://drop.example.org:8080/x/a",
    ),
    (
        "http://drop.example.org:8080/a",
        "https://drop.example.org/x/a",
        "https://drop.example.org/x/a",
    ),
    ("http://drop.example.org/sub/a", "/sub/x/a", "http://drop.example.org/sub/x/a"),
    (
        "http://xn--mnchen-3ya.example/a",
        "http://MÜNCHEN.example/x/a",
        "http://xn--mnchen-3ya.example/x/a",
    ),
    ("http://[::1]:8080/a", "http://[0:0::1]:8080/x/a", "http://[::1]:8080/x/a"),
    ("http://127.0.0.1:8080/a", "http://127.0.0.1:8080/x a", "http://127.0.0.1:8080/x%20a"),
    ("https://drop.example.org/a", "https://me@drop.example.org/x/a", t.NoLink),
    ("https://drop.example.org/a", "https://files.drop.example.org/x/a", t.NoLink),
    ("https://drop.example.org/a", "http://localhost:8080/x/a", t.NoLink),
    ("https://drop.example.org/a", "error", t.NoLink),
]


@pytest.mark.parametrize("asked, link_text, link", OWN)
def test_a_link_of_a_private_server_leads_to_that_server(asked, link_text, link):
    assert outcome(t.check_link, link_text, response(link_text, url=asked)) == link


@pytest.mark.parametrize("space", ["\u202f", "\u3000", "\u00a0", "\u200d"])
def test_a_name_with_a_foreign_space_comes_back_unencoded(space):
    name = f"9.41{space}AM.png"
    end = t.quote_segment(name)[4:]
    for row, body, link in (
        (
            "tmpfilelink",
            {"downloadLink": f"https://d.tmpfile.link/1/{name}"},
            "https://d.tmpfile.link/1/9.41",
        ),
        (
            "tmpfilesorg",
            {"data": {"url": f"https://tmpfiles.org/1/{name}"}},
            "https://tmpfiles.org/dl/1/9.41",
        ),
    ):
        assert BY_ID[row].evidence.read(response(json.dumps(body))).url == link + end
    page = f"Done!\n\nwget https://sendit.sh/aB3/{name}\n"
    assert BY_ID["senditsh"].evidence.read(response(page)).url == "https://sendit.sh/aB3/9.41" + end


def test_a_link_to_another_host_is_named_with_what_may_be_wrong():
    answer = response("http://localhost:8080/x/a", url="https://drop.example.org/a")
    message = (
        "200 OK, but link points to localhost:8080, not drop.example.org"
        " \\(does its proxy pass the Host header\\?\\)"
    )
    with pytest.raises(t.NoLink, match="^" + message + "$"):
        t.transfersh_read(answer)
    with pytest.raises(t.NoLink, match=r"^200 OK, but link points to evil\.example, not x0\.at$"):
        BY_ID["x0at"].evidence.read(response("https://evil.example/a"))


def test_no_link_tells_what_came_instead():
    with pytest.raises(t.NoLink) as caught:
        t.check_link("", response("<title>Just a moment</title>" + "x" * 9999), "x")
    assert (
        "Just a moment" in str(caught.value)
        and caught.value.started
        and caught.value.phase == "reply"
    )
    with pytest.raises(t.NoLink, match="empty response"):
        t.check_link("", response(" \n"), "x")


# 7 Every host's reader ----------------------------------------------------------------------------


def recorded(row: t.Provider, body=None, url=None) -> t.Response:
    """The answer that is recorded in the row, or another one in its place."""
    sample = row.evidence.sample
    data = sample.body if body is None else body
    data = data if isinstance(data, bytes) else data.encode("utf-8", "surrogatepass")
    return t.Response(
        200, dict(sample.headers), data, url or sample.request_url or "https://host.example/up"
    )


@ROWS
def test_the_recorded_answer_gives_the_recorded_url(row):
    link = row.evidence.read(recorded(row))
    assert link.url == row.evidence.sample.url
    assert t.parse_target(link.url).scheme in ("http", "https")


@READ_ROWS
@pytest.mark.parametrize(
    "body",
    [
        "",
        " \n",
        "<!DOCTYPE html><title>x</title>",
        "{}",
        "[]",
        "null",
        '"x"',
        "error",
        "\0",
        "https://evil.example/a.txt",
        b"\xff\xfe\xfd",
    ],
)
def test_a_response_without_the_hosts_link_is_rejected(row, body):
    with pytest.raises(t.NoLink) as caught:
        row.evidence.read(recorded(row, body))
    assert str(caught.value).isprintable()


def spoiled(row: t.Provider):
    """The recorded answer, but its link leads elsewhere or hides something."""
    host = row.evidence.sample.url.split("/")[2]
    for evil in (
        "evil.example",
        f"{host}.evil.example",
        f"{host}@evil.example",
        f"evil.example/{host}",
        f"{host}:443@evil.example",
        f"{host}\\@evil.example",
    ):
        yield row.evidence.sample.body.replace(host, evil)
    yield row.evidence.sample.body.replace("http", "gopher")
    yield row.evidence.sample.body.replace(".", "\u202e")


@READ_ROWS
def test_a_link_to_another_host_is_rejected(row):
    bodies = [
        body
        for body in spoiled(row)
        if body != row.evidence.sample.body and "://" in row.evidence.sample.body
    ]
    for body in bodies:
        assert outcome(row.evidence.read, recorded(row, body)) is t.NoLink, body
    assert bodies or row.id in ("filebin", "quax", "pixeldrain")  # their answers hold no whole URL


def test_filebin_answers_about_our_own_bin_only():
    row = BY_ID["filebin"]
    answer = recorded(row, url="https://filebin.net/ffffffffffffffffffffffff/a%20b.txt")
    assert outcome(row.evidence.read, answer) is t.NoLink


def test_a_transfersh_answer_is_taken_with_our_scheme_and_its_way_to_delete():
    link = BY_ID["transfersh"].evidence.read(recorded(BY_ID["transfersh"]))
    assert link.delete == "https://drop.example.org/x1/a.txt/dEl"
    plain = response("http://[::1]:8080/x/a", url="http://[::1]:8080/a")
    assert t.transfersh_read(plain) == t.Link("http://[::1]:8080/x/a")
    assert (
        outcome(t.transfersh_read, response("http://other.example/x/a", url="http://[::1]:8080/a"))
        is t.NoLink
    )
    evil = response(
        "http://a.example/x/a", url="http://a.example/a", X_Url_Delete="http://evil.example/x/a/b"
    )
    assert t.transfersh_read(evil) == t.Link("http://a.example/x/a")


KEYS = st.sampled_from(
    (
        "files url data bin id file filename sha256 downloadLink downloadLinkEncoded"
        " status success 0"
    ).split()
)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(10**400, 10**401)
    | st.floats()
    | st.text(max_size=20)
)
TREES = st.recursive(
    SCALARS | st.sampled_from(["https://x0.at/a", "//[", "\ud800", "a\0b", "../..", "http://[::1"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(KEYS | st.text(max_size=3), inner, max_size=4)
    ),
    max_leaves=8,
)


def places(tree, path=()):
    """The way to every node of a tree."""
    yield path
    pairs = (
        tree.items()
        if isinstance(tree, dict)
        else enumerate(tree)
        if isinstance(tree, list)
        else ()
    )
    for key, child in pairs:
        yield from places(child, (*path, key))


def grafted(tree, path, branch):
    """The tree with one node replaced."""
    if not path:
        return branch
    tree = copy.copy(tree)
    tree[path[0]] = grafted(tree[path[0]], path[1:], branch)
    return tree


def tree_of(row: t.Provider):
    try:
        return json.loads(row.evidence.sample.body)
    except ValueError:
        return {}


def read_is_sound(row: t.Provider, answer: t.Response) -> None:
    result = outcome(row.evidence.read, answer)
    if isinstance(result, t.Link):
        assert result.url.isascii() and result.url.isprintable() and " " not in result.url
    else:
        assert issubclass(result, t.UploadError)


NASTY = [
    None,
    True,
    0,
    -1,
    10**400,
    float("nan"),
    float("inf"),
    "",
    " ",
    "\0",
    "\ud800",
    "\x1b[2J",
    "..",
    "//[",
    "http://[::1",
    "x" * 5000,
    "²",
    [],
    {},
    [[]],
    [{}],
    {"0": {}},
    {"url": None},
    ["https://x0.at/a"],
]


@ROWS
def test_no_node_of_the_answer_can_be_so_wrong_that_it_is_not_an_upload_error(row):
    tree = tree_of(row)
    for path in places(tree):
        for branch in NASTY:
            read_is_sound(row, recorded(row, json.dumps(grafted(tree, path, branch))))


@ROWS
@FEW
@given(data=st.data())
def test_wrong_types_in_the_answer_are_an_upload_error(row, data):
    """One node of the recorded JSON, whichever it is, becomes anything at all."""
    tree = tree_of(row)
    path = data.draw(st.sampled_from(list(places(tree))))
    read_is_sound(row, recorded(row, json.dumps(grafted(tree, path, data.draw(TREES)))))


@FEW
@given(TREES)
def test_any_json_is_a_link_or_an_upload_error(tree):
    for row in t.PROVIDERS:
        read_is_sound(row, recorded(row, json.dumps(tree)))


HEADER = st.text(alphabet=st.characters(min_codepoint=0, max_codepoint=255), max_size=60)


@FEW
@given(
    st.binary(max_size=200)
    | st.text(max_size=60).map(lambda text: ("https://" + text).encode("utf-8", "replace")),
    st.dictionaries(
        st.sampled_from(["X-Url-Delete", "Content-Type", "Location", "Content-Length"]), HEADER
    ),
)
def test_any_bytes_with_any_headers_are_a_link_or_an_upload_error(body, headers):
    for row in t.PROVIDERS:
        read_is_sound(row, recorded(row, body)._replace(headers=headers))
        read_is_sound(row, recorded(row)._replace(headers=headers))


# What every host is sent: `send` is the seam; nothing leaves.

ODD_NAMES = [
    "a.txt",
    "a b.txt",
    'q"uo;te.txt',
    "grüße 🎉.tar.gz",
    "100%.txt",
    "a?b#c&d.txt",
    "-rf",
    ".hidden",
    "ünï/../x",
    "x" * 300 + ".txt",
]
WISHES = [{}, {"once": True}, {"expire": 12 * H}, {"keep": D}]


def asked(row, file, options) -> t.Request:
    """The request of a provider; the box checks those that make several (test_providers.py)."""
    requests = []

    def send(request):
        requests.append(request)
        return recorded(row)

    try:
        row.upload(file, options, send)
    except t.NoLink:  # filebin: the recorded answer is about another bin
        pass
    assert len(requests) == 1
    return requests[0]


ONE_REQUEST = [row for row in t.PROVIDERS if row.id not in ("storageto", "s3", "dropbox", "fal")]


@pytest.mark.parametrize("row", ONE_REQUEST, ids=lambda row: row.id)
@pytest.mark.parametrize("name", ODD_NAMES)
def test_a_request_is_clean_for_any_name(row, name, tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"abc")
    file = t.Source.of(path, name)
    fitting = [
        options
        for options in (READY._replace(**wishes) for wishes in WISHES)
        if not t.objection(row, file, options)
    ]
    assert fitting
    for options in fitting:
        request = asked(row, file, options)
        assert request.url.isascii() and request.url.isprintable() and " " not in request.url
        assert all(
            text.isascii() and text.isprintable() for header in request.headers for text in header
        )
        assert set(file.body) <= set(request.body)
        assert t.parse_target(request.url).host


@pytest.mark.parametrize(
    "base",
    [
        "https://drop.example.org/ä b/",
        "https://grüße.example/x",
        "https://drop.example.org/a%20b",
    ],
)
def test_a_base_url_of_the_users_is_written_in_ascii(base, tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"abc")
    row = t.find_provider(base)
    requests = []
    with pytest.raises(t.NoLink):
        row.upload(
            t.Source.of(path, "ü.txt"),
            t.UploadOptions(),
            lambda request: requests.append(request) or response(),
        )
    url = requests[0].url
    assert url.isascii() and " " not in url and url.endswith("/%C3%BC.txt")


TRANSFER = "https://drop.example.org/"
HEADERS_SENT = [
    # host, wishes, a header, its value
    ("bashupload", {}, "X-Expiration-Seconds", str(D)),
    ("bashupload", {"expire": H}, "X-Expiration-Seconds", "3600"),
    ("bashupload", {"once": True}, "X-Expiration-Seconds", None),
    (TRANSFER, {}, "Max-Days", None),
    (TRANSFER, {"expire": 12 * H}, "Max-Days", "1"),
    (TRANSFER, {"keep": D + 1}, "Max-Days", "2"),
    (TRANSFER, {"once": True}, "Max-Downloads", "1"),
    (TRANSFER, {}, "Max-Downloads", None),
    (TRANSFER, {}, "Authorization", None),
    ("https://me:p%40ss@drop.example.org/", {}, "Authorization", "Basic bWU6cEBzcw=="),
    ("https://me:p@ss@drop.example.org/", {}, "Authorization", "Basic bWU6cEBzcw=="),
    (TRANSFER, {}, "Content-Type", "text/plain"),
]


@pytest.mark.parametrize("name, wishes, header, value", HEADERS_SENT)
def test_wishes_become_headers(name, wishes, header, value):
    row = t.find_provider(name)
    requests = []
    with pytest.raises(t.NoLink):
        row.upload(
            source(3),
            t.UploadOptions(**wishes),
            lambda request: requests.append(request) or response(),
        )
    assert dict(requests[0].headers).get(header) == value
    assert "ss@" not in requests[0].url


FIELDS_SENT = [
    ("catbox", {}, b'name="reqtype"\r\n\r\nfileupload\r\n', True),
    ("catbox", {}, b"userhash", False),
    ("catbox", {"settings": {"CATBOX_USERHASH": "h4sh"}}, b'name="userhash"\r\n\r\nh4sh\r\n', True),
    ("litterbox", {}, b'name="time"\r\n\r\n72h\r\n', True),
    ("litterbox", {"expire": H}, b'name="time"\r\n\r\n1h\r\n', True),
    ("litterbox", {"expire": 20 * H}, b'name="time"\r\n\r\n24h\r\n', True),
    ("litterbox", {"settings": {"CATBOX_USERHASH": "h4sh"}}, b"h4sh", False),
    ("tmpfilesorg", {}, b'name="expire"\r\n\r\n86400\r\n', True),
    ("tmpfilesorg", {"expire": 60}, b'name="expire"\r\n\r\n60\r\n', True),
    ("x0at", {}, b'name="file"; filename="a.txt"\r\n', True),
    ("uguu", {}, b'name="files[]"; filename="a.txt"\r\n', True),
    ("www0x0", {}, b"expires", False),
    ("www0x0", {"expire": 90 * 60}, b'name="expires"\r\n\r\n2\r\n', True),
    ("www0x0", {"keep": D}, b"expires", False),
]


@pytest.mark.parametrize("name, wishes, piece, there", FIELDS_SENT)
def test_wishes_become_fields(name, wishes, piece, there):
    request = asked(BY_ID[name], source(3), t.UploadOptions(**wishes))
    assert (piece in request.body[0]) is there


# 8 Addresses --------------------------------------------------------------------------------------

TARGETS = [
    ("https://a.example", ("https", "a.example", 443, "/")),
    ("https://a.example/x?y=1#z", ("https", "a.example", 443, "/x?y=1")),
    ("http://a.example:8080/x", ("http", "a.example", 8080, "/x")),
    ("HTTP://A.Example/X", ("http", "a.example", 80, "/X")),
    ("http://[2001:db8::1]:81/", ("http", "2001:db8::1", 81, "/")),
    ("https://user:secret@a.example/x", ("https", "a.example", 443, "/x")),
    ("tcp://termbin.com:9999", ("tcp", "termbin.com", 9999, "/")),
    ("https://grün.example/", ("https", "xn--grn-ioa.example", 443, "/")),
    ("ftp://a.example/", t.NoLink),
    ("file:///etc/passwd", t.NoLink),
    ("javascript:alert(1)", t.NoLink),
    ("//a.example/x", t.NoLink),
    ("a.example/x", t.NoLink),
    ("", t.NoLink),
    ("https://", t.NoLink),
    ("https:///x", t.NoLink),
    ("https://[::1/", t.NoLink),
    ("https://a.example:99999/", t.NoLink),
    ("https://a.example:x/", t.NoLink),
    ("https://a.example:-1/", t.NoLink),
    ("https://a.example:²/", t.NoLink),
    ("https://" + "a" * 64 + "ü.example/", t.NoLink),
    ("https://a\0b.example/", t.NoLink),
    ("https://a b.example/", t.NoLink),
]


@pytest.mark.parametrize("url, target", TARGETS)
def test_target_of(url, target):
    assert outcome(t.parse_target, url) == (t.Target(*target) if type(target) is tuple else target)


NETLOCS = [
    ("https", "a", 443, "a"),
    ("https", "a", 80, "a:80"),
    ("http", "a", 80, "a"),
    ("http", "::1", 80, "[::1]"),
    ("http", "::1", 8, "[::1]:8"),
]


@pytest.mark.parametrize("scheme, host, port, shown", NETLOCS)
def test_the_host_header_names_a_port_only_where_it_must(scheme, host, port, shown):
    assert t.Target(scheme, host, port, "/").netloc() == shown


@settings(max_examples=100, deadline=None)
@given(
    st.text(max_size=40)
    | st.text(alphabet="/@:[]%?#ax\udcffü1 \0", max_size=14).map("https://".__add__)
)
def test_any_text_is_a_target_or_no_link(url):
    result = outcome(t.parse_target, url)
    assert result is t.NoLink or (result.host.isascii() and 0 < result.port < 65536)


BARE = [
    ("https://a.example/x", "https://a.example/x"),
    ("https://a.example/x?token=s3cret", "https://a.example/x"),
    ("https://me:s3cret@a.example/x", "https://a.example/x"),
    ("https://s3cret@a.example", "https://a.example"),
    ("https://me:s3cr@et@a.example/x", "https://a.example/x"),
    ("https://a.example/@me/x", "https://a.example/@me/x"),
    ("", ""),
]


@pytest.mark.parametrize("url, shown", BARE)
def test_bare(url, shown):
    assert t.redact_url(url) == shown


@pytest.mark.parametrize(
    "host, here",
    [
        ("localhost", True),
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("10.0.0.1", False),
        ("a", False),
    ],
)
def test_is_loopback(host, here):
    assert t.is_loopback(host) is here


@pytest.mark.parametrize(
    "host", ["127.evil.example", "127.0.0.1.evil.example", "localhost.evil.example"]
)
def test_a_name_that_only_looks_like_this_machine_is_not(host):
    assert not t.is_loopback(host)


PROXIES = [
    ("http://h:3128", ("http", "h", 3128, "", "")),
    ("h:3128", ("http", "h", 3128, "", "")),
    ("h", ("http", "h", 80, "", "")),
    ("https://h", ("https", "h", 443, "", "")),
    ("socks5://h", ("socks5", "h", 1080, "", "")),
    ("socks5h://h:9", ("socks5h", "h", 9, "", "")),
    ("HTTP://H:1", ("http", "h", 1, "", "")),
    ("http://[::1]:3128/", ("http", "::1", 3128, "", "")),
    ("http://me:p%40ss%3A@h:1", ("http", "h", 1, "me", "p@ss:")),
    ("me:p@ss@h:1", ("http", "h", 1, "me", "p@ss")),
    ("http://me@h:1", ("http", "h", 1, "me", "")),
    ("ftp://h:1", t.UsageError),
    ("socks4://h:1", t.UsageError),
    ("http://", t.UsageError),
    ("http://:3128", t.UsageError),
    ("://", t.UsageError),
    ("http://h:99999", t.UsageError),
    ("http://h:²", t.UsageError),
    ("http://h:-1", t.UsageError),
    ("http://[::1", t.UsageError),
]


@pytest.mark.parametrize("text, proxy", PROXIES)
def test_parse_proxy(text, proxy):
    assert outcome(t.parse_proxy, text) == proxy


@pytest.mark.parametrize(
    "text",
    [
        "ftp://me:s3cret@h",
        "http://me:s3cret@h:99999",
        "http://me:s3cret@",
        "http://me:s3cret@[::1",
        "http://me:s3cret",
    ],
)
def test_a_proxy_that_cannot_be_used_is_refused_without_its_password(text):
    with pytest.raises(t.UsageError) as caught:
        t.parse_proxy(text)
    assert "s3cret" not in str(caught.value) + caught.value.hint


@settings(max_examples=100, deadline=None)
@given(
    st.text(max_size=30)
    | st.text(alphabet="/@:[]%?#axh:1\udcffü ", max_size=14).map("http://".__add__)
)
def test_any_text_is_a_proxy_or_a_usage_error(text):
    result = outcome(t.parse_proxy, text)
    assert result is t.UsageError or all(header[1].isascii() for header in result.authorization())


GET = t.Request(
    "GET",
    "https://a.example/x/y",
    (("Authorization", "Basic s3cret"), ("cookie", "s3cret"), ("Range", "bytes=0-1")),
)
PUT = GET._replace(method="PUT")
KEPT, CUT = GET.headers, GET.headers[2:]
REDIRECTS = [
    (GET, 302, "/z", "https://a.example/z", KEPT),
    (GET, 301, "z", "https://a.example/x/z", KEPT),
    (GET, 303, "https://a.example:443/z", "https://a.example:443/z", KEPT),
    (GET, 307, "https://b.example/z", "https://b.example/z", CUT),
    (GET, 308, "//b.example/z", "https://b.example/z", CUT),
    (GET, 302, "https://a.example:8443/z", "https://a.example:8443/z", CUT),
    (GET, 302, "https://a.example.evil.example/", "https://a.example.evil.example/", CUT),
    (GET._replace(url="http://a.example/"), 302, "https://a.example/z", "https://a.example/z", CUT),
    (GET._replace(url="http://a.example/"), 302, "http://a.example/z", "http://a.example/z", KEPT),
    (GET._replace(method="HEAD"), 302, "/z", "https://a.example/z", KEPT),
    (GET, 302, "http://a.example/z", t.NoLink, ()),
    (GET, 302, "file:///etc/passwd", t.NoLink, ()),
    (GET, 302, "ftp://a.example/", t.NoLink, ()),
    (GET, 302, "tcp://a.example:22/", t.NoLink, ()),
    (GET, 302, "javascript:alert(1)", t.NoLink, ()),
    (GET, 302, "http://[", t.NoLink, ()),
    (GET, 302, "https://a.example:99999/", t.NoLink, ()),
    (PUT, 302, "/z", t.Refused, ()),
    (PUT, 307, "https://a.example/z", t.Refused, ()),
    (GET, 200, "/z", None, ()),
    (GET, 304, "/z", None, ()),
    (GET, 300, "/z", None, ()),
    (GET, 302, "", None, ()),
]


@pytest.mark.parametrize("request_, status, location, url, headers", REDIRECTS)
def test_redirected(request_, status, location, url, headers):
    result = outcome(
        t.redirected, request_, response("", status, url=request_.url, Location=location)
    )
    if isinstance(result, t.Request):
        assert (result.url, result.headers, result.method) == (url, headers, request_.method)
    else:
        assert result is url


@pytest.mark.parametrize(
    "location",
    [
        "/grüße.txt".encode().decode("latin-1"),
        "/a b.txt",
        "https://b.example/ü".encode().decode("latin-1"),
    ],
)
def test_a_redirect_to_unquoted_letters_can_be_followed(location):
    """http.client reads headers as Latin-1; many servers send the bare UTF-8."""
    onward = t.redirected(GET, response("", 302, Location=location))
    assert onward.url.isascii() and " " not in onward.url


@FEW
@given(
    st.text(alphabet=st.characters(min_codepoint=1, max_codepoint=255), max_size=30)
    | st.text(alphabet="/:[]@a?#", max_size=10)
)
def test_any_redirect_is_followed_or_an_upload_error(location):
    result = outcome(t.redirected, GET, response("", 302, Location=location))
    assert result is None or isinstance(result, t.Request) or issubclass(result, t.UploadError)


RANGES_TOLD = [
    ("bytes 0-99/1234", 0, 1234),
    ("bytes 7-99/0", 7, 0),
    ("bytes */1234", None, None),
    ("bytes 0-99/*", 0, None),
    ("bytes 0-99/²", 0, None),
    ("bytes 0-99/-1", 0, None),
    ("bytes 0-99/", 0, None),
    ("", None, None),
    ("1234", None, None),
    ("bytes 0-99/" + "9" * 19, 0, None),
    ("bytes " + "9" * 19 + "-1/9", None, 9),
    ("a/b/7", None, None),
    ("bytes ²-99/7", None, None),
    ("bytes \u0661-9/7", None, None),
    ("items 0-99/100", None, None),
]


@pytest.mark.parametrize("header, start, size", RANGES_TOLD)
def test_part_of(header, start, size):
    assert t.part_of(response("", 206, Content_Range=header)) == (start, size)
    assert header == "" or t.part_of(response("", 200, Content_Range=header)) == (start, size)


def test_a_part_without_its_range_says_nothing():
    assert t.part_of(response("", 206)) == (None, None)


def test_a_whole_answer_begins_at_the_start():
    assert t.part_of(response("", 200)._replace(size=7)) == (0, 7)


# 9 Names and ranges -------------------------------------------------------------------------------

SAFE_NAMES = [
    ("a.txt", "a.txt"),
    ("a b.txt", "a b.txt"),
    ("grüße 🎉.txt", "grüße 🎉.txt"),
    ('q"uote.txt', 'q"uote.txt'),
    (".bashrc", ".bashrc"),
    ("/etc/passwd", "passwd"),
    ("../../x", "x"),
    ("C:\\dir\\x.txt", "x.txt"),
    ("dir/", "dir"),
    ("a\\", "a"),
    ("", "file"),
    (".", "file"),
    ("..", "file"),
    ("...", "file"),
    ("/", "file"),
    ("//", "file"),
    (" ", "file"),
    ("a/..", "file"),
    ("a\r\nb", "a__b"),
    ("a\0b", "a_b"),
    ("a\x1b[2J", "a_[2J"),
    ("gpj.\u202eexe", "gpj._exe"),
    ("a\udcffb", "a_b"),
    ("a\u2028b", "a_b"),
    ("a\x7fb", "a_b"),
    (" a.txt ", "a.txt"),
    ("\n", "_"),
    ("a" * 300, "a" * 255),
    ("a" * 300 + ".txt", "a" * 251 + ".txt"),
    ("ü" * 200 + ".txt", "ü" * 125 + ".txt"),
    ("a." + "x" * 300, "a." + "x" * 253),
    ("🎉" * 100, "🎉" * 63),
    ("a.tar.gz", "a.tar.gz"),
    ("." + "a" * 300, "." + "a" * 254),
]


@pytest.mark.parametrize("name, safe", SAFE_NAMES)
def test_safe_name(name, safe):
    assert t.safe_name(name) == safe


STORED_NAMES = [
    ("a.txt", "a.txt"),
    ("grüße.txt", "grüße.txt"),
    (".htaccess", "htaccess"),
    (".part", "part"),
    (".twat-fs", "twat-fs"),
    ("..", "file"),
    ("", "file"),
    ("a:b|c?.txt", "a_b_c_.txt"),
    ('<a>"*"', "_a____"),
    ("a. ", "a"),
    ("a...", "a"),
    ("con", "_con"),
    ("CON.txt", "_CON.txt"),
    ("com1.log", "_com1.log"),
    ("lpt9", "_lpt9"),
    ("NUL.", "_NUL"),
    ("console", "console"),
    ("com10", "com10"),
    ("../../etc/cron.d/x", "x"),
    ("a\\..\\b", "b"),
    ("conin$", "_conin$"),
    ("CONOUT$.txt", "_CONOUT$.txt"),
    ("COM¹", "_COM¹"),
    ("lpt³.x", "_lpt³.x"),
    ("aux .txt", "_aux .txt"),
    ("aux x.txt", "aux x.txt"),
]


@pytest.mark.parametrize("name, stored", STORED_NAMES)
def test_stored_name(name, stored):
    assert t.stored_name(name) == stored


RANGES = [
    (None, 10, (0, 10)),
    ("", 10, (0, 10)),
    ("bytes=0-", 10, (0, 10)),
    ("bytes=0-9", 10, (0, 10)),
    ("bytes=0-0", 10, (0, 1)),
    ("bytes=9-9", 10, (9, 10)),
    ("bytes=9-", 10, (9, 10)),
    ("bytes=3-5", 10, (3, 6)),
    ("bytes=5-99", 10, (5, 10)),
    ("bytes=-1", 10, (9, 10)),
    ("bytes=-99", 10, (0, 10)),
    ("bytes=0-" + "9" * 18, 10, (0, 10)),
    ("bytes=10-", 10, 416),
    ("bytes=10-20", 10, 416),
    ("bytes=-0", 10, 416),
    ("bytes=0-", 0, 416),
    ("bytes=-1", 0, 416),
    ("bytes=-", 10, (0, 10)),
    ("bytes=", 10, (0, 10)),
    ("bytes=a-b", 10, (0, 10)),
    ("bytes=²-", 10, (0, 10)),
    ("bytes=0-1,3-4", 10, (0, 10)),
    ("items=0-1", 10, (0, 10)),
    ("bytes=--1", 10, (0, 10)),
    ("bytes=-1-2", 10, (0, 10)),
    ("bytes=0x0-", 10, (0, 10)),
    ("bytes=5-2", 10, 416),
]


def span_or_status(header, size):
    try:
        return t.parse_range(header, size)
    except t.HTTPError as error:
        return error.args[0]


@pytest.mark.parametrize("header, size, span", RANGES)
def test_parse_range(header, size, span):
    """RFC 9110, 14.2: an unsatisfiable range is 416; anything but one byte range requests all."""
    assert span_or_status(header, size) == span


@FEW
@given(
    st.from_regex(r"\Abytes=[0-9]{0,3}-[0-9]{0,3}\Z") | st.text(max_size=20), st.integers(0, 200)
)
def test_any_range_lies_within_the_file(header, size):
    result = span_or_status(header, size)
    assert result == 416 or 0 <= result[0] <= result[1] <= size


# 10 Words for people ------------------------------------------------------------------------------

HUMAN = [
    (0, "0 bytes"),
    (1, "1 byte"),
    (2, "2 bytes"),
    (1023, "1023 bytes"),
    (1024, "1.0 KiB"),
    (1536, "1.5 KiB"),
    (t.MiB, "1.0 MiB"),
    (200_000_000, "190.7 MiB"),
    (512 * t.MiB, "512.0 MiB"),
    (1000 * t.KiB, "1000.0 KiB"),
    (1.5 * t.GiB, "1.5 GiB"),
    (1024 * t.GiB, "1.0 TiB"),
    (2**60, "1048576.0 TiB"),
]


@pytest.mark.parametrize("size, shown", HUMAN)
def test_human(size, shown):
    assert t.human(size) == shown


@pytest.mark.parametrize(
    "body, message",
    [
        ("", "404 Not Found"),
        ("Not Found", "404 Not Found"),
        ("<title>404 Not Found</title>", "404 Not Found"),
        ("no such bin", "404 Not Found: no such bin"),
    ],
)
def test_a_refusal_says_nothing_twice(body, message):
    with pytest.raises(t.Refused) as caught:
        t.judge(
            t.Request("PUT", "https://host.example/"),
            t.Response(404, {}, body.encode(), "https://host.example/"),
        )
    assert str(caught.value) == message


DURATIONS_SHOWN = [
    (None, "unknown"),
    (t.FOREVER, "forever"),
    (59, "59 seconds"),
    (60, "1 minute"),
    (120, "2 minutes"),
    (3599, "59 minutes"),
    (H, "1 hour"),
    (H + 30, "1 hour"),
    (1.5 * H, "90 minutes"),
    (12 * H, "12 hours"),
    (D, "1 day"),
    (1.5 * D, "36 hours"),
    (3 * D, "3 days"),
    (7.5 * D, "7 days"),
    (604799395200, "19178 years"),
]


@pytest.mark.parametrize("seconds, shown", DURATIONS_SHOWN)
def test_duration(seconds, shown):
    assert t.duration(seconds) == shown


PRINTABLE = [
    ("plain grüße 🎉", 200, "plain grüße 🎉"),
    ("a\nb\r\t", 200, "a\\nb\\r\\t"),
    ("\x1b[31m", 200, "\\x1b[31m"),
    ("\x9b2J", 200, "\\x9b2J"),
    ("\u202e", 200, "\\u202e"),
    ("\udcff", 200, "\\udcff"),
    ("\0", 200, "\\x00"),
    ("", 200, ""),
    ("a" * 200, 200, "a" * 200),
    ("a" * 201, 200, "a" * 200 + "..."),
    ("\0" * 100, 200, "\\x00" * 50 + "..."),
    ("abc", 2, "ab..."),
    ("\u200b\u2066", 200, "\\u200b\\u2066"),
]


@pytest.mark.parametrize("text, limit, shown", PRINTABLE)
def test_printable(text, limit, shown):
    assert t.printable(text, limit) == shown


@FEW
@given(st.text(alphabet=st.characters(), max_size=300), st.integers(1, 250))
def test_printed_text_is_limited_and_has_no_control_characters(text, limit):
    shown = t.printable(text, limit)
    assert shown.isprintable() and len(shown) <= limit + 3


# 11 Wishes ----------------------------------------------------------------------------------------

CHECKED = [
    ({}, ""),
    ({"expire": H, "keep": H}, ""),
    ({"expire": H, "keep": H - 1}, ""),
    ({"expire": H, "keep": H + 1}, "--expire 1h conflicts with --keep 3601s"),
    ({"verify": "full"}, ""),
    ({"verify": "none"}, ""),
    ({"verify": "auto"}, ""),
    ({"verify": "maybe"}, "maybe"),
    ({"verify": ""}, "verify"),
    ({"once": True}, ""),
    ({"once": True, "verify": "none"}, ""),
    ({"once": True, "verify": "full"}, "--once cannot"),
    ({"name": "a.txt"}, ""),
    ({"name": "grüße.txt"}, ""),
    ({"name": ""}, "--name"),
    ({"name": " "}, "--name"),
    ({"name": "a/b"}, "--name"),
    ({"name": "a\\b"}, "--name"),
    ({"name": "a\nb"}, "--name"),
    ({"name": "a\u202eb"}, "--name"),
    ({"name": "a\0"}, "--name"),
    ({"name": "a" * 255}, ""),
    ({"name": "a" * 256}, "--name"),
    ({"name": "ü" * 127}, ""),
    ({"name": "ü" * 128}, "--name"),
    ({"name": "\udcff"}, "--name"),
    ({"proxy": "http://h:1"}, ""),
    ({"proxy": "ftp://h:1"}, "ftp"),
    ({"proxy": "http://h:99999"}, "proxy"),
]


@pytest.mark.parametrize("wishes, complaint", CHECKED)
def test_check_options(wishes, complaint):
    options = t.UploadOptions(**wishes)
    if not complaint:
        return t.check_options(options)
    with pytest.raises(t.UsageError) as caught:
        t.check_options(options)
    assert (
        complaint in str(caught.value)
        and str(caught.value).isprintable()
        and caught.value.exit_code == 2
    )


SECONDS_OF = [
    ("30", 30.0),
    ("0.5", 0.5),
    ("2m", 120),
    ("0", None),
    ("-1", None),
    ("²", None),
    ("nan", None),
    ("inf", None),
    ("1e3", None),
    ("", None),
]


@pytest.mark.parametrize("value, seconds", SECONDS_OF)
def test_times_are_read_from_text(value, seconds):
    assert outcome(t.checked_type, "timeout", value, None) == (seconds or t.UsageError)


EXIT_CODES = [
    ([t.Unreachable("x")], 1),
    ([t.Refused("x")], 1),
    ([t.NoLink("x")], 1),
    ([t.NotVerified("x")], 4),
    ([t.Unsuitable("x")], 5),
    ([t.NotConfigured("x")], 5),
    ([], 5),
    ([t.Unsuitable("x"), t.Refused("x")], 1),
    ([t.Refused("x"), t.NotVerified("x")], 4),
    ([t.Unsuitable("x"), t.NotConfigured("x")], 5),
    ([t.TimedOut("x")], 1),
]


@pytest.mark.parametrize("failures, code", EXIT_CODES)
def test_the_exit_code_of_a_whole_chain(failures, code):
    combined = t.AllProvidersFailed(failures)
    assert combined.exit_code == code and combined.failures == tuple(failures)


# 12 Secrets ---------------------------------------------------------------------------------------

S = "s3cr3t"
HOLDERS = [
    t.UploadOptions(
        proxy=f"http://me:{S}@h:1",
        settings={"CATBOX_USERHASH": S},
        proxies={"https": f"http://me:{S}@h:1"},
    ),
    t.parse_proxy(f"socks5h://me:{S}@h:1"),
    t.parse_proxy(f"socks5h://{S}@h:1"),
    t.Request("GET", f"https://me:{S}@h/x?key={S}", (("Authorization", S),), (S.encode(),)),
    t.find_provider(f"https://me:{S}@drop.example.org/"),
    asked(BY_ID["catbox"], source(3), t.UploadOptions(settings={"CATBOX_USERHASH": S})),
]


@pytest.mark.parametrize("holder", HOLDERS, ids=lambda holder: type(holder).__name__)
def test_no_repr_shows_a_secret(holder):
    assert S not in repr(holder)
    assert S not in repr([holder]) + f"{holder!r}" + f"{(holder,)}"


def test_the_repr_of_options_still_tells_what_was_wished():
    assert repr(t.UploadOptions(once=True, retry=5, proxy=S)) == "UploadOptions(once=True, retry=5)"


@pytest.mark.parametrize(
    "base",
    [
        f"https://me:{S}@h:99999/",
        f"https://me:{S}/x@h/",
        f"https://me:{S}?x@h/",
        f"https://me:{S}#x@h/",
        f"https://me:x@{S}@[h/",
    ],
)
def test_a_base_url_that_cannot_be_read_is_refused_without_its_password(base):
    with pytest.raises(t.UsageError) as caught:
        t.find_provider(base)
    assert S not in str(caught.value) + caught.value.hint


def shown(call, *args) -> str:
    """What a call lets everybody see: its result or its error."""
    try:
        return repr(call(*args))
    except t.UploadError as error:
        return f"{error} {error!r} {vars(error)}"


PRINTABLE_ASCII = string.digits + string.ascii_letters + string.punctuation


@FEW
@given(st.text(alphabet=PRINTABLE_ASCII, min_size=1, max_size=12))
def test_a_base_url_never_shows_its_password_in_an_error(noise):
    assert S not in shown(t.find_provider, f"https://me:{S}{noise}@drop.example.org/")
