"""What Python programs rely on: the functions of the API, through the internet in a box.

Chapters: 1 A URL, 2 What the result tells, 3 What goes wrong, 4 Which hosts, 5 Options and
environment, 6 Whether a host is ready, 7 Progress, 8 Threads, 9 Secrets.
"""

from __future__ import annotations

import calendar
import copy
import datetime
import hashlib
import os
import pickle
import threading
import time
import traceback

import pytest

import twat_fs as t

DATA = bytes(range(256)) * 40
SHA256 = hashlib.sha256(DATA).hexdigest()
QUICK = {"retry": 0, "timeout": 10.0}


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(DATA)
    return path


def failure(path, provider=None, **wishes) -> t.UploadError:
    """The error of an upload that must not succeed."""
    with pytest.raises(t.UploadError) as caught:
        t.upload_file(path, provider, **{**QUICK, **wishes})
    return caught.value


# 1 A URL ------------------------------------------------------------------------------------------


def test_upload_file_gives_the_url_of_the_same_bytes(online_box, file):
    url = t.upload_file(file)
    assert type(url) is str
    assert online_box.stored[url].read() == DATA


@pytest.mark.parametrize(
    "as_path", [str, lambda path: path, lambda path: os.fspath(path)], ids=["str", "Path", "fspath"]
)
def test_a_path_may_be_text_or_a_path(online_box, file, as_path):
    assert t.upload_file(as_path(file)) in online_box.stored


def test_a_relative_path_is_one_too(online_box, file, monkeypatch):
    monkeypatch.chdir(file.parent)
    assert t.upload_file("a.bin").endswith(".bin")


def test_nothing_is_printed(online_box, file, capfd):
    t.upload_file(file)
    online_box.fault("*", "status", status=403)
    failure(file)
    assert tuple(capfd.readouterr()) == ("", "")


# 2 What the result tells --------------------------------------------------------------------------

DAY, FOREVER = t.DAY, t.FOREVER
RESULTS = [
    # host, how the link is proven, how long it lives, whether it can be deleted, wishes
    ("catbox", "full", 2 * t.YEAR, False, {}),
    ("catbox", "full", FOREVER, False, {"settings": {"CATBOX_USERHASH": "h"}}),
    ("litterbox", "full", 3 * DAY, False, {}),
    ("litterbox", "full", t.HOUR, False, {"expire": 2 * t.HOUR}),
    ("x0at", "full", t.x0at_ttl(len(DATA)), False, {}),
    ("tmpfilelink", "full", 7 * DAY, False, {}),
    ("tmpfilesorg", "full", DAY, False, {}),
    ("tmpfilesorg", "full", 600, False, {"expire": 600}),
    ("filebin", "host-hash", 6 * DAY, True, {}),
    ("uguu", "full", 3 * t.HOUR, False, {}),
    ("quax", "full", None, False, {}),
    ("senditsh", "none", DAY, False, {}),
    ("bashupload", "none", 3600, False, {"once": True}),
    ("bashupload", "full", DAY, False, {}),
    ("https://drop.example.org/", "full", None, True, {}),
    ("https://drop.example.org/", "full", 2 * DAY, True, {"expire": 2 * DAY}),
    ("catbox", "none", 2 * t.YEAR, False, {"verify": "none"}),
]


@pytest.mark.parametrize("host, verified, life, deletable, wishes", RESULTS)
def test_every_field_of_a_result(online_box, file, host, verified, life, deletable, wishes):
    begun = time.time()
    result = t.upload(file, host, sha256=True, **wishes)
    took = time.time() - begun
    assert online_box.stored[result.url].sha256 == SHA256
    assert result.provider == t.find_provider(host).id
    assert (result.size, result.sha256, result.verified, result.attempts) == (
        len(DATA),
        SHA256,
        verified,
        (),
    )
    assert bool(result.delete) is deletable
    assert 0 < result.seconds <= took + 0.01
    if life in (None, FOREVER):
        assert result.expires is None
    else:
        ends = calendar.timegm(time.strptime(result.expires, "%Y-%m-%dT%H:%M:%SZ"))
        assert begun + life - 2 <= ends <= begun + life + took + 2


def test_text_goes_to_termbin(online_box, tmp_path):
    (tmp_path / "log").write_text("grüße\n", encoding="utf-8")
    result = t.upload(tmp_path / "log", "termbin")
    assert result.url.startswith("https://termbin.com/") and result.provider == "termbin"


def test_a_hash_is_reported_where_it_was_needed_anyway(online_box, file):
    assert t.upload(file, "catbox").sha256 == SHA256
    assert t.upload(file, "catbox", verify="none").sha256 is None
    assert t.upload(file, "catbox", verify="none", sha256=True).sha256 == SHA256


def test_a_result_can_be_handed_on(online_box, file):
    """It is a tuple of plain values: json takes it."""
    import json

    result = t.upload(file)
    assert json.loads(json.dumps(result._asdict()))["url"] == result.url
    assert result.url in repr(result)


def test_the_attempts_list_earlier_failures(online_box, file):
    online_box.fault("x0.at", "status", status=403, body="not you\n")
    online_box.fault("catbox.moe", "html", when="upload")
    result = t.upload(file, ["x0at", "catbox", "litterbox"], **QUICK)
    assert result.provider == "litterbox"
    first, second = result.attempts
    assert (first.provider, first.phase, second.provider, second.phase) == (
        "x0at",
        "reply",
        "catbox",
        "reply",
    )
    assert "not you" in first.error and "Just a moment" in second.error
    assert all(0 <= attempt.seconds <= result.seconds for attempt in result.attempts)


# 3 What goes wrong --------------------------------------------------------------------------------

FAILURES = [
    # the mischief, its details, the error, its phase, its status, its retry_after
    ("status", {"status": 403}, t.Refused, "reply", 403, None),
    ("status", {"status": 500}, t.Refused, "reply", 500, None),
    ("status", {"status": 413}, t.Refused, "reply", 413, None),
    ("status", {"status": 429, "retry_after": 7}, t.Busy, "reply", 429, 7.0),
    ("status", {"status": 503}, t.Busy, "reply", 503, None),
    ("status", {"status": 503, "retry_after": "²"}, t.Busy, "reply", 503, None),
    ("empty", {}, t.Busy, "reply", 200, None),
    ("html", {}, t.NoLink, "reply", 200, None),
    ("garbage", {}, t.NoLink, "reply", 200, None),
    ("wrong-host", {}, t.NoLink, "reply", 200, None),
    ("escapes", {}, t.NoLink, "reply", 200, None),
    ("redirect", {}, t.Refused, "reply", 302, None),
    ("drop-after", {}, t.Unreachable, "reply", None, None),
    ("refuse", {}, t.Unreachable, "proxy", 502, None),
    ("tls-expired", {}, t.Refused, "tls", None, None),
    ("tls-wrong-name", {}, t.Refused, "tls", None, None),
    ("tls-unknown-ca", {}, t.Refused, "tls", None, None),
    ("zero", {}, t.NotVerified, "proof", None, None),
    ("half", {}, t.NotVerified, "proof", None, None),
    ("other", {}, t.NotVerified, "proof", None, None),
    ("flip", {"offset": -1}, t.NotVerified, "proof", None, None),
]


@pytest.mark.parametrize("fault, details, error, phase, status, pause", FAILURES)
def test_an_error_has_a_type_and_its_facts_as_fields(
    online_box, file, fault, details, error, phase, status, pause
):
    when = (
        "download"
        if error is t.NotVerified
        else "any"
        if "tls" in fault or fault == "refuse"
        else "upload"
    )
    online_box.fault("catbox.moe", fault, when=when, **details)
    combined = failure(file, "catbox")
    assert isinstance(combined, t.AllProvidersFailed) and combined.exit_code == error.exit_code
    (cause,) = combined.failures
    assert type(cause) is error
    assert (cause.provider, cause.phase, cause.status, cause.retry_after) == (
        "catbox",
        phase,
        status,
        pause,
    )
    assert str(cause).isprintable() and 0 < len(str(cause)) < 400


@pytest.mark.parametrize("provider", ["", ",", "[]", [], ()])
def test_a_list_of_hosts_without_any_is_not_the_default_chain(online_box, file, provider):
    """A program whose setting is missing must not publish what was meant for one host."""
    assert isinstance(failure(file, provider), t.UsageError) and not online_box.requests


def test_a_dead_end_names_every_failure_in_order(online_box, file):
    online_box.fault("x0.at", "status", status=403)
    online_box.fault("catbox.moe", "status", status=429)
    online_box.fault("uguu.se", "html", when="upload")
    combined = failure(file, "x0at,termbin,catbox,uguu")
    assert [cause.provider for cause in combined.failures] == ["x0at", "termbin", "catbox", "uguu"]
    assert [type(cause) for cause in combined.failures] == [
        t.Refused,
        t.Unsuitable,
        t.Busy,
        t.NoLink,
    ]
    assert [attempt.provider for attempt in combined.attempts] == [
        "x0at",
        "termbin",
        "catbox",
        "uguu",
    ]
    assert "3 tried" in str(combined)


@pytest.mark.parametrize(
    "again", [copy.copy, copy.deepcopy, lambda error: pickle.loads(pickle.dumps(error))]
)
def test_errors_survive_the_way_out_of_another_process(online_box, file, again):
    """A pool of processes breaks, with all that it does, if an error does not."""
    online_box.fault("x0.at", "status", status=429)
    for error in (failure(file, "x0at"), failure("missing.bin")):
        assert (type(again(error)), str(again(error)), again(error).exit_code) == (
            type(error),
            str(error),
            error.exit_code,
        )
    dead_end = again(failure(file, "x0at,termbin"))
    assert (
        dead_end.failures[0].status == 429
        and dead_end.attempts[0].provider == "x0at"
        and len(dead_end.reasons()) == 2
    )


@pytest.mark.parametrize(
    "error_class, retryable",
    [
        (t.Unreachable, True),
        (t.Busy, True),
        (t.Refused, False),
        (t.NoLink, False),
        (t.NotVerified, False),
        (t.Unsuitable, False),
        (t.NotConfigured, False),
        (t.SourceChanged, False),
        (t.Unreadable, False),
        (t.UsageError, False),
        (t.TimedOut, False),
        (t.AllProvidersFailed, False),
    ],
)
def test_errors_are_sorted_by_what_the_caller_should_do(error_class, retryable):
    assert issubclass(error_class, t.UploadError)
    assert (
        issubclass(error_class, t.RetryableError) is retryable
        and issubclass(error_class, t.NonRetryableError) is not retryable
    )
    assert not issubclass(error_class, (OSError, ValueError, SystemExit))


WRONG_CALLS = [
    # the path (None: a good file), the host, the wishes, the error
    ("missing.bin", None, {}, t.Unreadable),
    (".", None, {}, t.Unreadable),
    ("", None, {}, t.Unreadable),
    ("a\0b", None, {}, t.Unreadable),
    (None, "nosuchhost", {}, t.UsageError),
    (None, "tmp", {}, t.UsageError),
    (None, "file.io", {}, t.UsageError),
    (None, ["catbox", ""], {}, t.UsageError),
    (None, "https://[::1/", {}, t.UsageError),
    (None, None, {"expire": 60, "keep": 61}, t.UsageError),
    (None, None, {"verify": "maybe"}, t.UsageError),
    (None, None, {"once": True, "verify": "full"}, t.UsageError),
    (None, None, {"name": "a/b"}, t.UsageError),
    (None, None, {"proxy": "ftp://h:1"}, t.UsageError),
    (None, None, {"cacert": "missing.pem"}, t.UsageError),
    (None, None, {"expire": 4000 * DAY}, t.AllProvidersFailed),
    (None, "catbox", {"once": True}, t.AllProvidersFailed),
    (None, "transfersh", {}, t.AllProvidersFailed),
]


@pytest.mark.parametrize("path, provider, wishes, error", WRONG_CALLS)
def test_a_wrong_call_is_an_upload_error_and_nothing_is_sent(
    online_box, file, monkeypatch, path, provider, wishes, error
):
    monkeypatch.chdir(file.parent)
    assert type(failure(file if path is None else path, provider, **wishes)) is error
    assert not online_box.requests


def test_an_empty_file_is_refused_before_anything_is_sent(online_box, tmp_path):
    (tmp_path / "empty").touch()
    combined = failure(tmp_path / "empty")
    assert {type(cause) for cause in combined.failures} == {
        t.Unsuitable
    } and combined.exit_code == 5
    assert not online_box.requests and not online_box.tunnels


@pytest.mark.parametrize("function", [t.upload, t.upload_file])
def test_an_unknown_option_is_a_type_error_that_names_it(online_box, file, function):
    with pytest.raises(TypeError, match=r"expiry.*UploadOptions has.*expire"):
        function(file, expiry=3600)
    assert not online_box.requests


def test_a_file_that_changes_meanwhile_is_not_blamed_on_the_host(online_box, file):
    class Meddler(t.Progress):
        def trying(self, provider, source):
            file.write_bytes(DATA + b"more")

    with pytest.raises(t.SourceChanged):
        t.upload(file, progress=Meddler(), **QUICK)
    assert not online_box.stored


def test_the_whole_failure_tells_every_reason_in_one_line(online_box, file):
    online_box.fault("x0.at", "status", status=403, body="not you")
    text = str(failure(file, "x0at,termbin"))
    assert (
        text.startswith(
            "upload failed: no host accepted it (1 tried): x0at: 403 Forbidden: not you; termbin: "
        )
        and "\n" not in text
    )


def test_a_failure_comes_whole_out_of_another_process(online_box, file):
    online_box.fault("x0.at", "status", status=403, body="not you")
    here = failure(file, "x0at,termbin")
    there = pickle.loads(pickle.dumps(here))
    assert (type(there), str(there), there.exit_code) == (type(here), str(here), here.exit_code)
    assert [(f.provider, f.status) for f in there.failures] == [("x0at", 403), ("termbin", None)]
    assert there.attempts == here.attempts and there.attempts[0].provider == "x0at"


# 4 Which hosts ------------------------------------------------------------------------------------


def test_the_order_of_preference():
    assert t.PROVIDERS_PREFERENCE == (
        "catbox",
        "litterbox",
        "x0at",
        "tmpfilelink",
        "tmpfilesorg",
        "filebin",
        "uguu",
    )


def test_without_a_wish_the_default_chain_is_asked_in_its_order(online_box, file):
    online_box.fault("*", "status", status=403, when="upload")
    combined = failure(file)
    assert tuple(cause.provider for cause in combined.failures) == t.PROVIDERS_PREFERENCE
    asked = [seen.host for seen in online_box.uploads()]
    assert asked == [t.find_provider(name).domain for name in t.PROVIDERS_PREFERENCE]


@pytest.mark.parametrize(
    "provider",
    [
        ["x0at", "uguu"],
        ("x0at", "uguu"),
        "x0at,uguu",
        "[x0at,uguu]",
        " x0at , uguu ",
        ["x0.at", "uguu.se"],
        "x0,ug",
        "X0AT,Uguu.se",
    ],
    ids=str,
)
def test_named_hosts_are_the_whole_chain_however_they_are_named(online_box, file, provider):
    online_box.fault("x0.at", "status", status=403)
    online_box.fault("uguu.se", "status", status=403)
    assert [cause.provider for cause in failure(file, provider).failures] == ["x0at", "uguu"]
    assert {seen.host for seen in online_box.requests} == {"x0.at", "uguu.se"}


def test_no_name_means_the_default_chain(online_box, file):
    assert t.upload(file, None).provider == "catbox"


def test_fallback_goes_on_from_the_named_host_and_round(online_box, file):
    online_box.fault("*", "status", status=403, when="upload")
    failures = failure(file, "filebin", fallback=True).failures
    assert [cause.provider for cause in failures] == [
        "filebin",
        "uguu",
        "catbox",
        "litterbox",
        "x0at",
        "tmpfilelink",
        "tmpfilesorg",
    ]


def test_fragile_stops_at_the_first_failure(online_box, file):
    online_box.fault("catbox.moe", "status", status=403)
    assert [cause.provider for cause in failure(file, fragile=True).failures] == ["catbox"]
    assert {seen.host for seen in online_box.requests} == {"catbox.moe"}


def test_a_private_server_is_named_by_its_address(online_box, file):
    result = t.upload(file, "https://drop.example.org/")
    assert (
        result.url.startswith("https://drop.example.org/") and result.provider == "drop.example.org"
    )


# 5 Options and environment ------------------------------------------------------------------------


def test_options_are_an_object_or_keywords_and_keywords_win(online_box, file):
    options = t.UploadOptions(name="object.txt", expire=3600)
    t.upload_file(file, "litterbox", options)
    t.upload_file(file, "litterbox", options, name="keyword.txt")
    assert options == t.UploadOptions(name="object.txt", expire=3600)
    first, second = online_box.uploads("litterbox.catbox.moe")
    names = [part[1] for seen in (first, second) for part in seen.form if part[1]]
    assert names == ["object.txt", "keyword.txt"]
    assert first.field("time") == second.field("time") == b"1h"


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such names")
def test_an_odd_name_arrives_harmless(online_box, tmp_path):
    (tmp_path / 'q"ü\u202e.txt').write_bytes(DATA)
    t.upload_file(tmp_path / 'q"ü\u202e.txt', "catbox")
    (stored,) = online_box.stored.values()
    assert stored.name == 'q"ü_.txt'


def test_a_unique_name_holds_the_time(online_box, file):
    t.upload_file(file, "catbox", unique=True)
    (stored,) = online_box.stored.values()
    assert (
        time.strftime("a_%Y%m%d_", time.gmtime()) in stored.name
        or "a_" + time.strftime("%Y", time.gmtime()) in stored.name
    )


def test_the_environment_is_read_at_the_call(online_box, file, clean_env):
    clean_env.setenv("TWAT_FS_DEFAULT_PROVIDER", "uguu,x0at")
    assert t.upload(file).provider == "uguu"
    clean_env.setenv("TWAT_FS_DEFAULT_PROVIDER", "[x0.at]")
    assert t.upload(file).provider == "x0at"
    assert t.upload(file, "litterbox").provider == "litterbox"
    clean_env.delenv("TWAT_FS_DEFAULT_PROVIDER")
    assert t.upload(file).provider == "catbox"


def test_settings_of_hosts_are_read_at_the_call(online_box, file, clean_env):
    clean_env.setenv("CATBOX_USERHASH", "0123456789abcdef")
    clean_env.setenv("LITTERBOX_DEFAULT_EXPIRATION", "12h")
    clean_env.setenv("TWAT_FS_TRANSFERSH_URL", "https://drop.example.org/")
    for name in ("catbox", "litterbox", "transfersh"):
        t.upload_file(file, name)
    assert online_box.uploads("catbox.moe")[0].field("userhash") == b"0123456789abcdef"
    assert online_box.uploads("litterbox.catbox.moe")[0].field("time") == b"12h"
    assert online_box.uploads("drop.example.org")


def test_a_path_may_be_bytes(online_box, file):
    assert t.upload(os.fsencode(file), "x0at").url.endswith(os.path.splitext(file)[1])


def test_a_setting_given_in_the_call_wins_over_the_environment(online_box, file, clean_env):
    clean_env.setenv("CATBOX_USERHASH", "environment")
    t.upload_file(file, "catbox", settings={"CATBOX_USERHASH": "call"})
    assert online_box.uploads("catbox.moe")[0].field("userhash") == b"call"


@pytest.mark.parametrize(
    "name, value, error",
    [
        ("TWAT_FS_TIMEOUT", "soon", t.UsageError),
        ("TWAT_FS_TIMEOUT", "-1", t.UsageError),
        ("TWAT_FS_TIMEOUT", "²", t.UsageError),
        ("TWAT_FS_DEFAULT_PROVIDER", "nosuchhost", t.UsageError),
        ("HTTPS_PROXY", "ftp://h:1", t.UploadError),
        ("HTTPS_PROXY", "http://h:99999", t.UploadError),
        ("SSL_CERT_FILE", "/nonexistent.pem", t.UploadError),
    ],
)
def test_a_wrong_environment_is_an_upload_error(online_box, file, clean_env, name, value, error):
    clean_env.setenv(name, value)
    with pytest.raises(error):
        t.upload_file(file, retry=0)  # the timeout is not given: a given one would win
    assert not online_box.uploads()


def test_the_timeout_of_the_environment_is_the_one_that_counts(online_box, file, clean_env):
    clean_env.setenv("TWAT_FS_TIMEOUT", "0.3")
    online_box.fault("catbox.moe", "silence")
    begun = time.monotonic()
    with pytest.raises(t.AllProvidersFailed) as caught:
        t.upload_file(file, "catbox", retry=0)
    assert isinstance(caught.value.failures[0], t.Unreachable) and time.monotonic() - begun < 5


def test_max_time_ends_the_whole_call(online_box, file):
    online_box.fault("*", "silence")
    begun = time.monotonic()
    combined = failure(file, max_time=0.5, retry=9)
    assert isinstance(combined.failures[-1], t.TimedOut) and time.monotonic() - begun < 5


def test_an_empty_proxy_means_none(clean_env, file):
    """As with curl; here it leads to the real internet, so only the options are looked at."""
    clean_env.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    options = t.with_environment(t.UploadOptions(proxy=""))
    assert options.proxy is None and not options.proxies


# 6 Whether a host is ready ------------------------------------------------------------------------


def test_offline_no_host_is_contacted(online_box):
    infos = t.setup_providers()
    assert list(infos) == [row.id for row in t.PROVIDERS]
    assert {name for name, info in infos.items() if not info.success} == {
        name for name in infos if t.find_provider(name).setup.required
    }
    assert not online_box.tunnels and not online_box.requests
    assert all(info.explanation and info.timing == {} for info in infos.values())


def test_a_host_that_needs_a_setting_says_which(online_box, clean_env):
    info = t.setup_provider("transfersh")
    assert not info.success and "TWAT_FS_TRANSFERSH_URL" in info.explanation and info.help_info
    clean_env.setenv("TWAT_FS_TRANSFERSH_URL", "https://drop.example.org/")
    assert t.setup_provider("transfersh").success
    assert t.setup_provider("transfersh", online=True).success


@pytest.mark.parametrize("name", ["catbox", "0x0.st", "tmpfiles", "https://drop.example.org/"])
def test_a_host_is_set_up_by_any_of_its_names(online_box, name):
    assert t.setup_provider(name).success


@pytest.mark.parametrize("name", ["nosuchhost", "tmp", "file.io", ""])
def test_an_unknown_host_cannot_be_set_up(online_box, name):
    with pytest.raises(t.UsageError):
        t.setup_provider(name)


def test_online_a_round_trip_is_made_and_timed(online_box):
    info = t.setup_provider("catbox", online=True)
    assert info.success and "full" in info.explanation
    assert set(info.timing) == {"upload", "proof"} and all(
        0 <= seconds < 30 for seconds in info.timing.values()
    )
    (stored,) = online_box.stored.values()
    assert stored.hits == 1 and stored.size < 200


def test_a_link_for_one_download_is_not_used_up_by_asking(online_box):
    assert t.setup_provider("senditsh", online=True).success
    (stored,) = online_box.stored.values()
    assert stored.hits == 0


def test_online_a_host_that_fails_is_not_ready_and_says_why(online_box):
    online_box.fault("catbox.moe", "status", status=403, body="closed for today\n")
    info = t.setup_provider("catbox", online=True)
    assert not info.success and "closed for today" in info.explanation


def test_online_only_the_default_hosts_are_asked(online_box):
    infos = t.setup_providers(online=True)
    asked = {seen.host for seen in online_box.uploads()}
    assert asked == {row.domain for row in t.PROVIDERS if row.use == "default"}
    assert all(infos[name].success and infos[name].timing for name in t.PROVIDERS_PREFERENCE)


# 7 Progress ---------------------------------------------------------------------------------------


class Diary(t.Progress):
    """Log each call; consecutive calls of `sent` are one entry with their sum."""

    def __init__(self):
        self.calls = []

    def trying(self, provider, source):
        self.calls.append(["trying", provider.id])

    def sent(self, count):
        if count < 0:  # they will be sent again
            self.calls.append(["unsent", -count])
        elif self.calls[-1][0] == "sent":
            self.calls[-1][1] += count
        else:
            self.calls.append(["sent", count])

    def waiting(self, error, seconds):
        self.calls.append(["waiting", type(error).__name__])
        assert 0 <= seconds <= t.MAX_PAUSE * 1.5

    def verifying(self):
        self.calls.append(["verifying"])

    def verified(self, method, seconds):
        self.calls.append(["verified", method])
        assert 0 <= seconds < 30

    def failed(self, error):
        self.calls.append(["failed", error.provider, type(error).__name__])

    def done(self, source):
        self.calls.append(["done", source.name])


def diary_of(path, provider, **wishes) -> list:
    diary = Diary()
    try:
        t.upload(path, provider, progress=diary, **wishes)
    except t.UploadError:
        pass
    return diary.calls


def test_progress_hears_of_everything_in_order(online_box, file):
    assert diary_of(file, "catbox") == [
        ["trying", "catbox"],
        ["sent", len(DATA)],
        ["verifying"],
        ["verified", "full"],
        ["done", "a.bin"],
    ]


def test_progress_hears_of_failures_and_of_the_next_host(online_box, file):
    online_box.fault("catbox.moe", "status", status=403)
    assert diary_of(file, "termbin,catbox,x0at", retry=0) == [
        ["failed", "termbin", "Unsuitable"],
        ["trying", "catbox"],
        ["sent", len(DATA)],
        ["failed", "catbox", "Refused"],
        ["trying", "x0at"],
        ["sent", len(DATA)],
        ["verifying"],
        ["verified", "full"],
        ["done", "a.bin"],
    ]


def test_progress_hears_of_a_pause_and_of_the_bytes_again(online_box, file):
    online_box.fault("catbox.moe", "status", times=1, status=503, retry_after=0)
    assert diary_of(file, "catbox") == [
        ["trying", "catbox"],
        ["sent", len(DATA)],
        ["unsent", len(DATA)],
        ["waiting", "Busy"],
        ["sent", len(DATA)],
        ["verifying"],
        ["verified", "full"],
        ["done", "a.bin"],
    ]


def test_progress_hears_the_end_of_a_dead_end_once(online_box, file):
    online_box.fault("*", "status", status=403)
    calls = diary_of(file, "catbox,x0at", retry=0)
    assert calls[-1] == ["done", "a.bin"] and sum(call[0] == "done" for call in calls) == 1


def test_a_bug_in_somebodys_progress_is_theirs(online_box, file):
    class Broken(t.Progress):
        def verifying(self):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        t.upload(file, progress=Broken())


# 8 Threads ----------------------------------------------------------------------------------------


def test_several_threads_upload_at_once(online_box, tmp_path):
    """Eight threads, eight files, hosts of every kind; each gets its own link."""
    hosts = [
        "catbox",
        "litterbox",
        "x0at",
        "tmpfilelink",
        "tmpfilesorg",
        "filebin",
        "uguu",
        "https://drop.example.org/",
    ]
    results, together = {}, threading.Barrier(len(hosts))

    def work(number, host):
        path = tmp_path / f"{number}.bin"
        path.write_bytes(bytes([number]) * 50_000)
        together.wait()
        try:
            results[number] = [t.upload_file(path, host) for _ in range(2)]
        except BaseException as error:
            results[number] = error

    threads = [threading.Thread(target=work, args=pair) for pair in enumerate(hosts)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(results) == list(range(len(hosts)))
    for number, urls in results.items():
        assert all(online_box.stored[url].read() == bytes([number]) * 50_000 for url in urls)


# 9 Secrets ----------------------------------------------------------------------------------------

SECRET = "s3cr3t-0f-min3"


def all_that_is_told(error: BaseException) -> str:
    """Messages, hints and fields of an error and its inner errors; the traceback as in a log."""
    text = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    text += f"{error} {error!r} {vars(error)}"
    for inner in getattr(error, "failures", ()):
        text += all_that_is_told(inner)
    return text + "\n".join(error.reasons() if isinstance(error, t.AllProvidersFailed) else ())


def wrong_proxy_password(box, env):
    box.proxy_password = ("me", "other")
    env.setenv("HTTPS_PROXY", box.proxy.replace("//", f"//me:{SECRET}@"))
    return "catbox", {}


def wrong_proxy_password_in_the_call(box, env):
    box.proxy_password = ("me", "other")
    return "catbox", {"proxy": box.proxy.replace("//", f"//me:{SECRET}@")}


def wrong_socks_password(box, env):
    box.proxy_password = ("me", "other")
    return "catbox", {"proxy": box.socks.replace("//", f"//me:{SECRET}@")}


def a_proxy_that_is_not_there(box, env):
    return "catbox", {"proxy": f"http://me:{SECRET}@127.0.0.1:9"}


def a_refused_userhash(box, env):
    box.hosts["catbox.moe"].users = ("somebody else",)
    env.setenv("CATBOX_USERHASH", SECRET)
    return "catbox", {}


def a_refused_server_password(box, env):
    box.hosts["drop.example.org"].auth = ("me", "other")
    return f"https://me:{SECRET}@drop.example.org/", {}


def a_server_that_is_not_there(box, env):
    return f"https://me:{SECRET}@nowhere.example/", {}


def a_server_that_redirects(box, env):
    box.fault(
        "drop.example.org", "redirect", location=f"https://me:{SECRET}@evil.example/?key={SECRET}"
    )
    return "https://drop.example.org/", {}


def a_server_in_the_environment(box, env):
    box.hosts["drop.example.org"].auth = ("me", "other")
    env.setenv("TWAT_FS_TRANSFERSH_URL", f"https://me:{SECRET}@drop.example.org/")
    return "transfersh", {}


def a_server_with_a_mistake_in_the_environment(box, env):
    env.setenv("TWAT_FS_TRANSFERSH_URL", f"https://me:{SECRET}@[drop.example.org/")
    return "transfersh", {}


LEAKS = [
    wrong_proxy_password,
    wrong_proxy_password_in_the_call,
    wrong_socks_password,
    a_proxy_that_is_not_there,
    a_refused_userhash,
    a_refused_server_password,
    a_server_that_is_not_there,
    a_server_that_redirects,
    a_server_in_the_environment,
    a_server_with_a_mistake_in_the_environment,
]


@pytest.mark.parametrize("prepare", LEAKS, ids=lambda function: function.__name__)
def test_no_error_tells_a_secret(online_box, file, clean_env, prepare):
    provider, wishes = prepare(online_box, clean_env)
    text = all_that_is_told(failure(file, provider, **wishes))
    assert SECRET not in text
    online_box.complaints.clear()  # wrong credentials are the point here


def test_no_result_tells_a_secret(online_box, file, clean_env):
    online_box.proxy_password = ("me", SECRET + "-proxy")
    online_box.hosts["drop.example.org"].auth = ("me", SECRET)
    clean_env.setenv("HTTPS_PROXY", online_box.proxy.replace("//", f"//me:{SECRET}-proxy@"))
    result = t.upload(file, f"https://me:{SECRET}@drop.example.org/")
    assert SECRET not in repr(result) and SECRET not in repr(t.with_environment(t.UploadOptions()))
    assert SECRET not in repr(t.find_provider(f"https://me:{SECRET}@drop.example.org/"))
    sent = "".join(f"{seen.target} {seen.headers}" for seen in online_box.requests)
    assert (
        online_box.requests and SECRET not in sent and t.basic("me", SECRET + "-proxy") not in sent
    )


def test_ctrl_c_is_not_swallowed(online_box, file):
    class Impatient(t.Progress):
        def sent(self, count):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        t.upload(file, progress=Impatient())


# Options of a call --------------------------------------------------------------------------------

WRONG = [
    ("retry", -1),
    ("retry", True),
    ("retry", 21),
    ("retry", None),
    ("retry", "many"),
    ("expire", float("nan")),
    ("expire", float("inf")),
    ("expire", 0),
    ("expire", -5),
    ("expire", "12"),
    ("expire", b"12h"),
    ("keep", -1),
    ("keep", object()),
    ("timeout", 0),
    ("timeout", -1.0),
    ("connect_timeout", "soon"),
    ("max_time", float("nan")),
    ("max_time", datetime.timedelta(0)),
    ("limit_rate", 0),
    ("limit_rate", "fast"),
    ("jobs", 0),
    ("jobs", 65),
    ("ip_version", 5),
    ("ip_version", "IPv6"),
    ("proxy", 5),
    ("proxy", b"http://p:1"),
    ("cacert", 5),
    ("name", 5),
    ("name", b"a.txt"),
    ("remote_path", 5),
    ("verify", None),
    ("verify", True),
    ("once", "no"),
    ("once", 1),
    ("insecure", "false"),
    ("force", None),
    ("settings", {"CATBOX_USERHASH": b"x"}),
    ("settings", {b"CATBOX_USERHASH": "x"}),
    ("settings", None),
    ("settings", "CATBOX_USERHASH=x"),
    ("settings", [("CATBOX_USERHASH", "x")]),
    ("proxies", {"https": 5}),
]


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_an_option_of_a_wrong_type_or_sign_is_a_usage_error(online_box, file, name, value):
    with pytest.raises(t.UsageError, match=rf"^{name}\b") as caught:
        t.upload(file, "catbox", **{name: value})
    assert caught.value.phase == "options" and caught.value.exit_code == 2
    assert not online_box.tunnels


@pytest.mark.parametrize("provider", [object(), 5, b"catbox", [b"catbox"], [None], False])
def test_a_provider_of_a_wrong_type_is_a_usage_error(online_box, file, provider):
    with pytest.raises(t.UsageError, match=r"^provider\b"):
        t.upload(file, provider)
    assert not online_box.tunnels


@pytest.mark.parametrize("options", [5, {"retry": 1}, "retry=1"])
def test_options_of_a_wrong_type_are_a_usage_error(online_box, file, options):
    for call in (
        lambda: t.upload(file, "catbox", options=options),
        lambda: t.upload_file(file, "catbox", options, retry=1),
        lambda: t.setup_provider("catbox", options=options),
        lambda: t.setup_providers(options=options),
    ):
        with pytest.raises(t.UsageError, match=r"^options\b"):
            call()
    assert not online_box.tunnels


@pytest.mark.parametrize(
    "expire",
    ["12h", "720m", 43200, 43200.0, datetime.timedelta(hours=12), datetime.timedelta(days=0.5)],
)
def test_times_may_be_text_numbers_or_timedelta(online_box, file, expire):
    t.upload(file, "litterbox", expire=expire, max_time="1m", timeout=datetime.timedelta(seconds=9))
    (stored,) = online_box.stored.values()
    assert stored.options["time"] == "12h"


def test_the_promised_names_and_no_others_are_imported_by_a_star():
    names = {}
    exec("from twat_fs import *", names)
    promised = """upload_file upload UploadOptions UploadResult setup_provider ProviderInfo
        setup_providers PROVIDERS_PREFERENCE UploadError RetryableError NonRetryableError
                AllProvidersFailed main __version__"""
    assert set(names) - {"__builtins__"} == set(promised.split())


def test_the_failure_of_one_provider_has_its_fields(online_box, file):
    online_box.fault("catbox.moe", "status", status=429, retry_after=300, body="slow down")
    with pytest.raises(t.AllProvidersFailed) as caught:
        t.upload(file, "catbox", retry=0)
    error = caught.value
    assert (error.provider, error.status, error.phase, error.retry_after) == (
        "catbox",
        429,
        "reply",
        300.0,
    )
    online_box.fault("x0.at", "status", status=403)
    with pytest.raises(t.AllProvidersFailed) as caught:
        t.upload(file, "catbox,x0at", retry=0)
    assert (caught.value.provider, caught.value.status) == (None, None)
