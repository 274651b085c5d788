"""One contract for all providers: what every row of the table promises.

The hosts under contract are made from `twat_fs.PROVIDERS`: a new row is tested here as soon as its
host lives in the box. The unchanged program does the work, through `main()`; the cases come from
the facts of the row, so that a host of one download, one that takes text only, or one that serves a
page to tools of the file is held to its own promise. Accounts (Dropbox, fal, pixeldrain,
storage.to) keep the same contract, in several requests; what is theirs alone is in
test_accounts.py. Buckets of S3 have servers of their own: test_s3*.py.

Chapters: 1 Who is under contract, 2 What is kept, 3 Names, 4 Sizes, 5 What goes wrong, 6 Once more
at most, 7 Redirects and foreign links, 8 The proof, 9 Wishes, 10 As users start it.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from types import MappingProxyType
from typing import Any, Dict, List, Mapping, NamedTuple, Set, Tuple
from urllib.parse import unquote, urlsplit

import pytest
from internet.box import EVIL
from internet.hosts import internet

import twat_fs

KIB, MIB = 1024, 1024 * 1024
DATA = (
    bytes(range(256)) * 80
    + b'\r\n--twat-fs-\r\nContent-Disposition: form-data; name="x"\r\n\r\n\x00\xff\r\n'
)
TEXT = "naïve text, and a line:\r\n--twat-fs--\r\n".encode() * 400
BIG = hashlib.sha256(b"big").digest() * (4 * MIB // 32) + bytes(4099)  # above what is fetched whole


# 1 Who is under contract --------------------------------------------------------------------------

WORLD = internet()
ANSWERS = (
    "empty",
    "html",
    "garbage",
    "escapes",
    "wrong-host",
    "endless",
)  # faults of an answer that should hold a link


class Service(NamedTuple):
    """A provider as users name it, and the host in the box that takes its uploads."""

    name: str
    row: Any
    domain: str
    env: Dict[str, str]
    idempotent: bool = False  # sending the same again does no harm: to a key, or under a name
    # the link comes from this domain, after so many answers of it
    linked: Tuple[str, int] = (
        "",
        0,
    )
    second: Tuple[str, int] = ("", 0)  # a refusal leads here; so many of its answers come before
    told_first: bool = False  # the size is told before the file is sent

    def __str__(self) -> str:
        return self.row.id

    @property
    def speaks_http(self) -> bool:
        return WORLD[self.domain].raw_port is None

    @property
    def is_fetched(self) -> bool:
        return self.row.serves_file and self.row.single_use != "always"

    @property
    def is_account(self) -> bool:
        return self.row.id in ACCOUNTS

    @property
    def talks_to(self) -> Set[str]:
        """The domains that may be asked before the link is there."""
        return set(WORLD[self.domain].domains) if self.is_account else {self.domain}

    @property
    def keeps(self) -> Any:
        return twat_fs.retention_for(self.row, twat_fs.UploadOptions(settings=self.env))

    @property
    def takes_big(self) -> bool:
        return self.row.limits.max_size is None or self.row.limits.max_size >= len(BIG)


DROP = {"TWAT_FS_TRANSFERSH_URL": "https://drop.example.org/"}
ACCOUNTS: Dict[str, Dict[str, Any]] = {
    "dropbox": {
        "domain": "content.dropboxapi.com",
        "env": {"DROPBOX_ACCESS_TOKEN": "sl.good"},
        "idempotent": True,
    },
    "fal": {
        "domain": "v3.fal.media",
        "env": {"FAL_KEY": "f-id:f-secret"},
        "second": ("rest.fal.ai", 1),
    },
    "pixeldrain": {"domain": "pixeldrain.com", "env": {"PIXELDRAIN_KEY": "pd-key"}},
    "storageto": {
        "domain": "u7.r2.cloudflarestorage.com",
        "env": {},
        "idempotent": True,
        "linked": ("storage.to", 1),
        "told_first": True,
    },
}


def service_of(row) -> Service:
    if row.id in ACCOUNTS:
        return Service(row.id, row, **ACCOUNTS[row.id])
    return (
        Service(row.id, row, "drop.example.org", DROP)
        if row.id == "transfersh"
        else Service(row.id, row, row.domain, {})
    )


BY_URL = Service(
    "https://drop.example.org/",
    twat_fs.find_provider("https://drop.example.org/"),
    "drop.example.org",
    {},
)
SERVICES = [service_of(row) for row in twat_fs.PROVIDERS if row.id != "s3"] + [BY_URL]
HTTP = [service for service in SERVICES if service.speaks_http]
FETCHED = [service for service in SERVICES if service.is_fetched and not service.row.lookup]
UNSEEN = [service for service in SERVICES if not service.is_fetched]
SAMPLED = [service for service in FETCHED if service.takes_big]


def only(*names: str) -> List[Service]:
    return [service for service in SERVICES if service.row.id in names]


# Where the way of sending counts and the host does not: form and text, form and JSON, PUT and JSON,
# PUT and text, raw.
SHAPES = only("catbox", "uguu", "filebin", "transfersh", "termbin")
ONE = only("x0at")  # where only the engine is at work


class Run(NamedTuple):
    """What came of one start of the program."""

    code: int
    out: str
    err: str
    seconds: float

    @property
    def url(self) -> str:
        """The one line on stdout."""
        (line,) = self.out.splitlines()
        return line

    @property
    def json(self) -> Dict[str, Any]:
        return json.loads(self.url)


class Contract:
    """One host in the box, and the program that uploads to it."""

    def __init__(self, service: Service, box, capsys, folder):
        self.service, self.box, self.capsys, self.folder = service, box, capsys, folder
        self.row, self.domain = service.row, service.domain
        self.data = TEXT if self.row.limits.text_only else DATA
        self.big = BIG if service.takes_big else self.data

    @property
    def host(self):
        return self.box.hosts[self.domain]

    @property
    def uploads(self):
        return [
            seen for domain in sorted(set(self.host.domains)) for seen in self.box.uploads(domain)
        ]

    @property
    def visits(self):
        return [seen for seen in self.box.requests if seen.method in ("GET", "HEAD")]

    @property
    def downloads(self):
        """Links may lead on to a storage: what counts is the answer that is none of these."""
        return [seen for seen in self.visits if seen.status // 100 != 3]

    def fault(self, fault: str, **details) -> None:
        """Where it can be seen: where the file goes, or where its link comes from."""
        domain, skip = self.service.linked
        if domain and fault in ANSWERS and details.get("when") != "download":
            details = {name: value for name, value in details.items() if name != "when"}
            return self.box.fault(domain, fault, skip=skip, **details)
        self.box.fault(self.domain, fault, **details)
        domain, skip = self.service.second
        if domain and details.get("when") != "download" and "times" not in details:
            details = {name: value for name, value in details.items() if name != "when"}
            self.box.fault(domain, fault, skip=skip, **details)

    def file(self, data=None, name="sample.txt"):
        path = self.folder / name
        try:
            path.write_bytes(self.data if data is None else data)
        except OSError:
            if os.name != "nt":
                raise
            pytest.skip("no file of Windows can have this name")
        return path

    def run(self, *args) -> Run:
        begun = time.monotonic()
        code = twat_fs.main([str(word) for word in args])
        printed = self.capsys.readouterr()
        assert is_tame(printed.out) and is_tame(printed.err)
        assert "Traceback" not in printed.err
        return Run(code, printed.out, printed.err, time.monotonic() - begun)

    def upload(self, *options, data=None, name="sample.txt", chain=()) -> Run:
        """The file goes to this host, or to a chain that begins with it."""
        return self.run(
            "-p", ",".join((self.service.name, *chain)), *options, self.file(data, name)
        )

    def stored(self, run: Run, data=None):
        """The stored file of the printed link, after a success without a fault."""
        url = run.json["url"] if run.out.startswith("{") else run.url
        assert run.code == 0
        assert re.fullmatch(r"https://[!-~]+", url)
        assert urlsplit(url).hostname in self.host.domains
        assert (
            self.box.stored[url].sha256
            == hashlib.sha256(self.data if data is None else data).hexdigest()
        )
        return self.box.stored[url]

    def failed(self, run: Run, code: int = 1) -> Tuple[str, str]:
        """Phase and reason of a failure; nothing on stdout, and one line for the host on stderr."""
        assert (run.code, run.out) == (code, "")
        (line,) = [line for line in run.err.splitlines() if line.startswith("  %s " % self.row.id)]
        _, phase, reason = line.split(None, 2)
        return phase, reason

    def sent_nothing(self) -> bool:
        return not self.box.tunnels and not self.box.requests


def is_tame(text: str) -> bool:
    """Whether a terminal would only write this down."""
    return all(c.isprintable() or c == "\n" for c in text)


@pytest.fixture
def host(request, online_box, clean_env, capsys, tmp_path):
    for name, value in request.param.env.items():
        clean_env.setenv(name, value)
    online_box.hosts["0x0.st"].open = True
    return Contract(request.param, online_box, capsys, tmp_path)


def each(services: List[Service]):
    """The test runs once for each of these hosts."""
    return pytest.mark.parametrize("host", services, indirect=True, ids=str)


def test_every_row_is_under_contract():
    left_out = [
        row.id
        for row in twat_fs.PROVIDERS
        if row.id not in {service.row.id for service in SERVICES}
    ]
    assert left_out == ["s3"]
    assert all(service.domain in WORLD for service in SERVICES)


# 2 What is kept -----------------------------------------------------------------------------------


@each(SERVICES)
def test_the_exact_bytes_arrive_once_and_the_link_is_all_that_is_printed(host):
    run = host.upload("-q")
    assert host.stored(run).read() == host.data
    assert (len(host.uploads), run.err) == (1, "")


@each(SERVICES)
def test_the_result_tells_size_hash_host_and_proof(host):
    result = host.upload("--json").json
    proof = "host-hash" if host.row.lookup else "full" if host.service.is_fetched else "none"
    assert (result["provider"], result["verified"], result["attempts"]) == (host.row.id, proof, [])
    assert (result["size"], result["sha256"]) == (
        len(host.data),
        hashlib.sha256(host.data).hexdigest(),
    )


@each(HTTP)
@pytest.mark.parametrize("switch", ["chunked", "closes"])
def test_answers_in_chunks_and_hosts_that_hang_up_are_understood(host, switch):
    setattr(host.host, switch, True)
    host.stored(host.upload())


@each(SERVICES)
def test_two_files_get_a_link_each_in_their_order(host):
    texts = [b"one\n", b"two\n"]
    files = [host.file(text, "%d.txt" % number) for number, text in enumerate(texts)]
    run = host.run("-p", host.service.name, *files)
    assert [host.box.stored[url].read() for url in run.out.split()] == texts


@each(SERVICES)
def test_status_online_is_a_round_trip(host):
    run = host.run("status", host.service.name, "--online")
    assert (run.code, len(host.uploads)) == (0, 1)
    # what follows the "?" may be a key
    assert any(twat_fs.redact_url(url) in run.out for url in host.box.stored)


@each(SHAPES)
def test_status_online_says_when_the_round_trip_fails(host):
    host.fault("html", when="upload")
    run = host.run("status", host.service.name, "--online")
    assert run.code == 1
    assert re.search(r"  failed  \w+: .*no link in the response", run.out)


# 3 Names ------------------------------------------------------------------------------------------

NAMES = {
    "spaces": ("two  spaces here.txt", "two  spaces here.txt"),
    "quotes": ('it\'s "quoted".txt', 'it\'s "quoted".txt'),
    "header": ('a"; filename="b.txt', 'a"; filename="b.txt'),
    "unicode": ("naïve-日本語.txt", "naïve-日本語.txt"),
    "combining": ("e\u0301.txt", "e\u0301.txt"),
    "emoji": ("😀👩‍🚀.txt", "😀👩‍🚀.txt"),  # with a joiner, which is invisible
    "percent": ("100%20 %00.txt", "100%20 %00.txt"),
    "query": ("a#b?c+d&e=f;g.txt", "a#b?c+d&e=f;g.txt"),
    "newline": ("new\r\nline.txt", "new__line.txt"),
    "escape": ("\x1b[2Jx.txt", "_[2Jx.txt"),
    "bidi": ("\u202egpj.txt", "_gpj.txt"),
    "surrogate": ("\udcff.txt", "_.txt"),  # a name that is no UTF-8
    "long": ("a" * 251 + ".txt", "a" * 251 + ".txt"),
    "long in storage": ("a" * 242 + ".txt", "a" * 242 + ".txt"),  # as transfer.sh has it
    "dot": (".hidden", ".hidden"),
    "dots": ("...", "file"),
    "no extension": ("README", "README"),
    "extensions": ("a.tar.gz", "a.tar.gz"),
    "long extension": ("a.verylongextension", "a.verylongextension"),
    "backslash": ("C:\\temp\\slash.txt", "slash.txt"),
    "dash": ("-p.txt", "-p.txt"),
}


def name_told(seen) -> str:
    """The file name in the request; empty if it has none."""
    return seen.form[-1][1] if seen.form else unquote(seen.target.rpartition("/")[2])


@each(SERVICES)
@pytest.mark.parametrize("case", NAMES)
def test_odd_names_arrive_and_their_links_work(host, case):
    name, expected = NAMES[case]
    if case == "long" and host.domain == "drop.example.org":
        expected = NAMES["long in storage"][1]
    run = host.upload(name=name)
    stored = host.stored(run)
    (seen,) = host.uploads
    if host.service.is_account:  # each tells the name in its own way
        assert stored.name == expected
        return
    loses_names = seen.target in ("", "/") and not seen.form
    assert name_told(seen) == ("" if loses_names else expected)


@each(SERVICES)
def test_a_name_of_300_characters_is_refused_before_anything_is_sent(host):
    run = host.upload("--name", "n" * 296 + ".txt")
    assert (run.code, run.out, host.sent_nothing()) == (2, "", True)


# 4 Sizes ------------------------------------------------------------------------------------------


@each(SERVICES)
def test_one_byte_is_a_file(host):
    assert host.stored(host.upload(data=b"x"), b"x").size == 1


@each([service for service in SERVICES if service.row.limits.empty])
def test_an_empty_file_is_kept_where_it_is_welcome(host):
    assert host.stored(host.upload(data=b""), b"").size == 0


@each([service for service in SERVICES if not service.row.limits.empty])
def test_an_empty_file_is_refused_before_anything_is_sent(host):
    phase, reason = host.failed(host.upload(data=b""), 5)
    assert (phase, reason, host.sent_nothing()) == ("file", "empty files are not accepted", True)


@each(SERVICES)
def test_a_file_of_exactly_the_hosts_limit_is_taken(host):
    host.host.limit = 1000
    host.stored(host.upload(data=b"x" * 1000), b"x" * 1000)


@each(SERVICES)
def test_one_byte_above_the_hosts_limit_is_the_hosts_refusal(host):
    host.host.limit = 1000
    phase, reason = host.failed(host.upload("--retry", "0", data=b"x" * 1001))
    assert (phase, len(host.uploads), len(host.box.stored)) == (
        "reply",
        0 if host.service.told_first else 1,
        0,
    )
    phrases = (
        "409: the Dropbox is full" if host.row.id == "dropbox" else "413 .*the file is 1001 bytes"
    )
    assert not host.service.speaks_http or re.search(phrases, reason)


def of_size(host, size: int):
    """A file of this size that takes no room, or real text where only text is taken."""
    path = host.file(b"x" * size if host.row.limits.text_only else b"", "sized.txt")
    with open(path, "r+b") as file:
        file.truncate(size)
    return path


LIMITED = [service for service in SERVICES if service.row.limits.max_size]


@each(LIMITED)
def test_the_limit_that_we_know_fits_exactly(host):
    size = host.row.limits.max_size - host.row.limits.overhead
    run = host.run("-p", host.service.name, "--dry-run", of_size(host, size))
    assert (run.code, host.sent_nothing()) == (0, True)
    assert "would try: %s\n" % host.row.id in run.out


@each(LIMITED)
def test_one_byte_above_the_limit_that_we_know_is_not_sent(host):
    path = of_size(host, host.row.limits.max_size - host.row.limits.overhead + 1)
    phase, reason = host.failed(host.run("-p", host.service.name, path), 5)
    assert (phase, host.sent_nothing()) == ("file", True)
    assert "file too large" in reason
    assert host.run("-p", host.service.name, "--dry-run", path).code == 5


@each(SERVICES)
def test_a_blocked_extension_is_refused_before_anything_is_sent(host):
    blocked = [pattern.replace("*", "x") for pattern in host.row.limits.blocked]
    for extension in [*blocked, *(word.upper() for word in blocked)]:
        phase, reason = host.failed(host.upload(name="setup." + extension), 5)
        assert (phase, reason) == ("file", ".%s files are blocked" % extension.lower())
    assert host.sent_nothing()
    host.stored(host.upload(name="harmless.bin"))


# 5 What goes wrong --------------------------------------------------------------------------------


class Failure(NamedTuple):
    """A fault, its phase, a pattern of its message, and the hosts for which it is tested."""

    fault: str
    phase: str
    pattern: str
    details: Mapping[str, Any] = MappingProxyType({})
    hosts: List[Service] = HTTP
    uploads: int = 1  # how many may have begun, without a retry

    def __str__(self) -> str:
        return "-".join(
            [
                self.fault,
                *(str(self.details[name]) for name in ("status", "pause") if name in self.details),
            ]
        )

    @property
    def patience(self) -> Tuple[str, ...]:
        """A short one where nothing but time ends the attempt."""
        return ("--timeout", "0.15") if self.pattern in (QUIET, SLOW) else ()


QUIET, SLOW = "no data for", "timed out"
NO_URL = "no link in the response"
ANOTHER = "link points to .*evil"
# the latter is a server of one's own
EMPTY = "but an empty response|^stored, but no link in the response"
MUTE = "closed|reset|[Bb]roken pipe|empty response"  # the last is what raw TCP gives


def refusals(hosts: List[Service], *statuses: int) -> List[Failure]:
    details = ({"status": status, "body": "no, because"} for status in statuses)
    return [
        Failure("status", "reply", "%d.* no, because" % detail["status"], detail, hosts)
        for detail in details
    ]


FAILURES = [
    *refusals(HTTP, 403, 413, 500, 503),
    *refusals(ONE, 400, 401, 404, 410, 412, 415, 418, 422, 429, 451, 501, 502, 504, 507, 520, 599),
    Failure("status", "reply", "300 ", {"status": 300, "body": "odd"}, ONE),
    Failure(
        "status", "reply", QUIET, {"status": 199, "body": "odd"}, ONE
    ),  # no answer yet, as all below 200
    Failure("empty", "reply", EMPTY, hosts=SERVICES),
    Failure("empty", "reply", EMPTY, {"status": 204}),
    Failure("html", "reply", NO_URL + ": .*Just a moment", hosts=SERVICES),
    Failure("html", "reply", "403 Forbidden: Cloudflare challenge: Just a moment", {"status": 403}),
    Failure("garbage", "reply", NO_URL, hosts=SERVICES),
    Failure("escapes", "reply", NO_URL, hosts=SERVICES),
    Failure("escapes", "reply", "400 Bad Request", {"status": 400}),
    Failure("wrong-host", "reply", NO_URL + "|" + ANOTHER, hosts=SERVICES),
    Failure("redirect", "reply", "unexpected redirect.*" + EVIL),
    Failure("early", "reply", "413 .*too much.*the file is"),
    Failure("early", "reply", "403 .*not you", {"status": 403, "body": "not you"}, SHAPES[:-1]),
    Failure("early-open", "reply", "413 .*too much.*the file is", {"after": 1}),
    Failure("reset", "send|reply", MUTE, hosts=SERVICES),
    Failure("stall", "send|reply", QUIET, {"after": 1}, SERVICES),
    Failure("silence", "reply", QUIET, hosts=SERVICES),
    Failure("trickle", "reply", SLOW, {"delay": 0.1}, SERVICES),
    Failure("endless", "reply", NO_URL, hosts=SERVICES),
    Failure("endless", "reply", SLOW, {"pause": 0.05}, SHAPES),
    Failure("endless-headers", "reply", "not HTTP|headers"),
    Failure("endless-headers", "reply", SLOW, {"pause": 0.05}, SHAPES[:-1]),
    Failure(
        "drop-after",
        "reply",
        "closed the connection without a response|empty response",
        hosts=SERVICES,
    ),
    Failure("refuse", "proxy", "could not reach", {}, SERVICES, 0),
    Failure("dns", "proxy", "could not reach", {}, SERVICES, 0),
    Failure("reset-connect", "tls", MUTE + "|EOF", {}, HTTP, 0),
    Failure(
        "tls-expired",
        "tls",
        "certificate verification failed: .*expired.*check the clock",
        {},
        HTTP,
        0,
    ),
    Failure(
        "tls-wrong-name", "tls", "certificate verification failed: .*mismatch.*sign-in", {}, HTTP, 0
    ),
    Failure(
        "tls-unknown-ca", "tls", "certificate verification failed: .*issuer.*--cacert", {}, HTTP, 0
    ),
]

TROUBLE = [
    pytest.param(host, failure, id="%s-%s" % (failure, host))
    for failure in FAILURES
    for host in failure.hosts
]


@pytest.mark.parametrize("host, failure", TROUBLE, indirect=["host"])
def test_a_failure_has_phase_and_reason_and_prints_no_url(host, failure):
    host.fault(failure.fault, **failure.details)
    amidst = failure.fault in ("early", "early-open", "reset", "stall")
    run = host.upload("--retry", "0", *failure.patience, data=host.big if amidst else host.data)
    phase, reason = host.failed(run)
    assert re.fullmatch(failure.phase, phase)
    assert re.search(failure.pattern, reason)
    if failure.pattern == EMPTY:
        assert reason.startswith("stored, but") == (host.domain == "drop.example.org")
    assert len(host.uploads) == failure.uploads
    asked = {tunnel.host for tunnel in host.box.tunnels}
    assert host.domain in asked and asked <= host.service.talks_to
    assert run.seconds < 5


@each(SHAPES)
def test_a_slow_answer_is_waited_for(host):
    host.fault("trickle", when="upload", delay=0.001)
    host.stored(host.upload("--no-check"))


NEXT = {"x0at": "tmpfilelink"}


@each(SERVICES)
@pytest.mark.parametrize("fault", ["html", "dns"])
def test_after_a_failure_the_next_host_of_the_chain_is_asked(host, fault):
    second = twat_fs.find_provider(NEXT.get(host.row.id, "x0at"))
    host.fault(fault)
    result = host.upload("--json", "--retry", "0", chain=[second.id]).json
    assert result["provider"] == second.id
    assert [attempt["provider"] for attempt in result["attempts"]] == [host.row.id]
    assert len(host.box.uploads(second.domain)) == 1


# 6 Once more at most ------------------------------------------------------------------------------


@each(HTTP)
@pytest.mark.parametrize("status", [429, 503])
def test_busy_once_then_fine_is_a_success_with_two_uploads(host, status):
    host.fault("status", when="upload", times=1, status=status, retry_after=0)
    host.stored(host.upload())
    assert [seen.status for seen in host.uploads][:-1] == [status]


@each(HTTP)
@pytest.mark.parametrize("status", [429, 503])
def test_an_always_busy_host_fails_after_a_limited_number_of_uploads(host, status):
    host.fault("status", when="upload", status=status, retry_after=0)
    phase, reason = host.failed(host.upload("--retry", "9"))
    assert (phase, reason.split()[0]) == ("reply", str(status))
    assert len(host.uploads) == (10 if host.service.idempotent else 2)


@each(HTTP)
def test_a_host_that_requests_a_long_pause_has_failed(host):
    host.fault("status", when="upload", status=429, retry_after=3600)
    run = host.upload()
    host.failed(run)
    assert len(host.uploads) == 1
    assert run.seconds < 5


@each([service for service in SERVICES if not service.idempotent])
def test_what_may_have_arrived_is_sent_once_more_at_most(host):
    host.fault("drop-after", when="upload")
    host.failed(host.upload("--retry", "9"))
    assert len(host.uploads) == 2


@each([service for service in SERVICES if service.idempotent])
def test_what_does_no_harm_is_sent_as_often_as_wished(host):
    host.fault("drop-after", when="upload")
    host.failed(host.upload("--retry", "2"))
    assert len(host.uploads) == 3


@each(SHAPES)
def test_what_broke_in_the_middle_is_sent_once_more_at_most(host):
    host.fault("reset", when="upload")
    host.failed(host.upload("--retry", "9", data=host.big))
    assert len(host.uploads) == 2


@each(SHAPES)
def test_a_lost_answer_is_made_good_by_sending_again(host):
    host.fault("drop-after", when="upload", times=1)
    host.stored(host.upload())
    assert len(host.uploads) == 2


# 7 Redirects and foreign links --------------------------------------------------------------------


@each(HTTP)
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_an_upload_is_never_redirected(host, status):
    other = "tmpfiles.org" if host.domain == "x0.at" else "x0.at"
    host.fault("redirect", when="upload", status=status, location="https://%s/" % other)
    _, reason = host.failed(host.upload())
    assert "unexpected redirect; uploads do not follow redirects: https://%s/" % other in reason
    asked = [seen.host for seen in host.box.requests]
    assert (len(host.uploads), asked.count(host.domain)) == (1, 1)
    assert set(asked) == {tunnel.host for tunnel in host.box.tunnels} <= host.service.talks_to


LOOKALIKES = ["https://%s.evil.example", "https://evil-%s", "https://%s:443@evil.example"]


@each(SERVICES)
@pytest.mark.parametrize("pattern", LOOKALIKES)
def test_a_link_that_only_resembles_the_hosts_is_rejected(host, pattern):
    foreign = pattern % ".".join(host.host.domains[-1].split(".")[-2:])
    host.fault("wrong-host", when="upload", base=foreign)
    phase, reason = host.failed(host.upload())
    assert (phase, len(host.downloads)) == ("reply", 0)
    assert re.search(NO_URL + "|" + ANOTHER, reason)


@each(FETCHED)
def test_a_download_that_leads_to_plain_http_is_not_followed(host):
    host.fault("redirect", when="download", location="http://drop.example.org/x")
    phase, reason = host.failed(host.upload("--retry", "0"), 4)
    assert (phase, len(host.visits)) == ("proof", 1)
    assert "refused redirect to insecure URL http://drop.example.org/x" in reason


# 8 The proof --------------------------------------------------------------------------------------

SPOILED = {
    "zero": ({}, "wrong size: 0 bytes"),
    "half": ({}, "wrong size"),
    "short": ({}, "cannot download"),
    "other": ({}, "content differs"),
    "flip": ({"offset": -1}, "content differs"),
    "html": ({}, "HTML page"),
    "empty": ({}, "wrong size: 0 bytes"),
    "status": ({"status": 403}, "403"),
    "endless": ({}, "wrong size: over"),
    "silence": ({}, QUIET),
}


def spoil(host, fault: str) -> str:
    """Downloads will go wrong in this way; the words that are expected then."""
    details, pattern = SPOILED[fault]
    host.fault(fault, when="download", **details)
    return pattern


@each(FETCHED)
@pytest.mark.parametrize("fault", SPOILED)
def test_a_host_that_serves_other_bytes_has_failed(host, fault):
    pattern = spoil(host, fault)
    patience = ("--timeout", "0.15") if pattern == QUIET else ()
    phase, reason = host.failed(host.upload("--retry", "0", *patience), 4)
    assert phase == "proof"
    assert pattern in reason
    assert (len(host.uploads), len(host.downloads)) == (1, 1)


@each(FETCHED)
@pytest.mark.parametrize("fault", ["zero", "other"])
def test_after_a_failed_proof_the_next_host_is_asked(host, fault):
    second = twat_fs.find_provider(NEXT.get(host.row.id, "x0at"))
    spoil(host, fault)
    result = host.upload("--json", chain=[second.id]).json
    assert (result["provider"], result["verified"]) == (second.id, "full")
    assert [(attempt["provider"], attempt["phase"]) for attempt in result["attempts"]] == [
        (host.row.id, "proof")
    ]


@each(UNSEEN)
@pytest.mark.parametrize("options", [(), ("--verify", "full"), ("--no-check",)])
def test_a_link_that_we_may_not_or_cannot_fetch_is_never_fetched(host, options):
    if not host.row.lookup:
        host.fault("zero")
    host.stored(host.upload(*options))
    assert not [
        seen for seen in host.visits if "https://" + seen.host + seen.target in host.box.stored
    ]
    assert all(stored.hits == 0 for stored in host.box.stored.values())


@each(SERVICES)
def test_no_check_looks_at_nothing(host):
    host.fault("zero")
    run = host.upload("--no-check", "--json")
    host.stored(run)
    assert (run.json["verified"], host.downloads) == ("none", [])


@each(SAMPLED)
def test_a_big_file_is_proven_by_samples(host):
    run = host.upload("--json", data=BIG)
    host.stored(run, BIG)
    ranges = [seen.header("Range") for seen in host.downloads]
    end = len(BIG) - 64 * KIB
    assert run.json["verified"] == "sample"
    assert ranges == [
        None,
        *("bytes=%d-%d" % (start, start + 64 * KIB - 1) for start in (end // 2, end)),
    ]


@each(SAMPLED)
@pytest.mark.parametrize("offset", [0, len(BIG) // 2, -1])
def test_the_samples_see_a_wrong_byte_at_start_middle_and_end(host, offset):
    host.fault("flip", offset=offset)
    phase, reason = host.failed(host.upload(data=BIG), 4)
    assert (phase, "content differs at offset" in reason) == ("proof", True)


@each(ONE)
@pytest.mark.parametrize(
    "offset", [64 * KIB - 1, (len(BIG) - 64 * KIB) // 2, (len(BIG) + 64 * KIB) // 2 - 1, -64 * KIB]
)
def test_the_samples_reach_to_their_edges(host, offset):
    host.fault("flip", offset=offset)
    assert host.failed(host.upload(data=BIG), 4)[0] == "proof"


@each(ONE)
@pytest.mark.parametrize("fault", ["zero", "half", "short", "html", "endless"])
def test_the_samples_see_a_wrong_size(host, fault):
    host.fault(fault, when="download")
    assert host.failed(host.upload("--retry", "0", data=BIG), 4)[0] == "proof"


@each(SAMPLED)
def test_without_ranges_size_and_start_are_the_proof(host):
    host.host.ranges = False
    run = host.upload("--json", data=BIG)
    host.stored(run, BIG)
    assert (run.json["verified"], len(host.downloads)) == ("size", 2)


@each(ONE)
@pytest.mark.parametrize("fault, details", [("half", {}), ("flip", {"offset": 100}), ("zero", {})])
def test_without_ranges_a_wrong_size_or_start_is_seen(host, fault, details):
    host.host.ranges = False
    host.fault(fault, **details)
    assert host.failed(host.upload(data=BIG), 4)[0] == "proof"


@each(SAMPLED)
def test_verify_full_sees_every_byte_of_a_big_file(host):
    host.fault("flip", offset=MIB)
    phase, reason = host.failed(host.upload("--verify", "full", data=BIG), 4)
    assert (phase, "content differs" in reason) == ("proof", True)


@each(ONE)
def test_verify_full_of_a_good_big_file_is_full(host):
    assert host.upload("--verify", "full", "--json", data=BIG).json["verified"] == "full"


# 9 Wishes -----------------------------------------------------------------------------------------


@each(SERVICES)
def test_once_is_kept_without_a_look_at_the_link_or_refused(host):
    run = host.upload("--once", "--json")
    if host.row.single_use == "no":
        assert (run.code, host.sent_nothing()) == (5, True)
        assert "does not support --once" in run.err
    else:
        stored = host.stored(run)
        assert stored.once or stored.options["downloads"] == 1
        assert (run.json["verified"], host.downloads) == ("none", [])


@each(SERVICES)
def test_an_expiry_that_the_host_cannot_keep_sends_nothing(host):
    phase, reason = host.failed(host.upload("--expire", "9999w"), 5)
    assert (phase, host.sent_nothing()) == ("wish", True)
    assert re.match("closest expiry is|expiry is (fixed|unknown)|files never expire", reason)


@each([service for service in SERVICES if service.keeps.choices])
def test_an_expiry_is_the_nearest_choice_by_ratio(host):
    choices = host.service.keeps.choices
    wish = choices[0] // 60 + 1
    near = [wish * 60] if wish * 60 in choices else choices[:2]
    fits = min(near, key=lambda choice: max(choice / wish / 60, wish * 60 / choice))
    before = time.time()
    run = host.upload("--expire", "%dm" % wish, "--json")
    host.stored(run)
    ends = time.mktime(time.strptime(run.json["expires"], "%Y-%m-%dT%H:%M:%SZ")) - time.timezone
    assert fits - 2 <= ends - before <= fits + 10


@each(SERVICES)
def test_a_dry_run_sends_nothing(host):
    run = host.upload("--dry-run")
    assert (run.code, host.sent_nothing()) == (0, True)
    assert "would try: %s\n" % host.row.id in run.out


# 10 As users start it -----------------------------------------------------------------------------

STARTED = only(
    "catbox", "filebin", "termbin", "drop.example.org", "dropbox", "fal", "pixeldrain", "storageto"
)


@pytest.mark.parametrize("service", STARTED, ids=str)
def test_the_program_itself_prints_the_link_and_nothing_else(program, box, tmp_path, service):
    (tmp_path / "grüße 😀.txt").write_bytes(TEXT)
    done = program("-q", "-p", service.name, "grüße 😀.txt", env=service.env)
    assert (done.returncode, done.stderr) == (0, "")
    assert box.stored[done.stdout.rstrip("\n")].read() == TEXT


@pytest.mark.parametrize("service", STARTED, ids=str)
def test_the_program_itself_fails_with_a_reason(program, box, tmp_path, service):
    (tmp_path / "a.txt").write_bytes(TEXT)
    box.fault(service.linked[0] or service.domain, "html")
    done = program("-p", service.name, "a.txt", env=service.env)
    assert (done.returncode, done.stdout) == (1, "")
    assert re.search("^  %s +reply +.*%s" % (re.escape(service.row.id), NO_URL), done.stderr, re.M)


def test_the_program_itself_takes_standard_input(program, box):
    done = program("-p", "x0at", "-", input=DATA)
    assert done.returncode == 0
    assert box.stored[done.stdout.strip()].read() == DATA
