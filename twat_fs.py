#!/usr/bin/env python3
# /// script
# requires-python = ">=3.9"
# ///
"""twat_fs: turn a file into a URL.

    python3 twat_fs.py FILE...                 upload, and print one URL for each file
    dmesg | python3 twat_fs.py                 upload standard input
    python3 twat_fs.py -p litterbox,x0at FILE  try only these hosts, in this order
    python3 twat_fs.py --expire 12h FILE       print a link that expires after about 12 hours
    python3 twat_fs.py list                    show the hosts, their limits and notes
    python3 twat_fs.py serve FILE              offline: share the file from this machine

    import twat_fs
    url = twat_fs.upload_file("report.pdf")    raises UploadError, never returns ""

The path of a file through the program:

    argv -> cmd_upload -> Uploader.upload(source)        one thread for each file (-j)
      Uploader.turns: for each host of the chain         the next one if a host fails
        objection()          too large, blocked, wrong expiry, not configured?      pure
        provider.upload(source, options, send)
            build            -> Request                                             pure
            Sender           Transport.send -> judge -> pause -> sleep, retry       the only sockets
            read             -> Link, if the response has a link of that host       pure
        verify()             downloads samples, or compares the host's own hash
    stdout: the URL and nothing else.  stderr: everything else.

The chapters, bottom-up; each one depends only on earlier ones:

     1  Numbers, times and text
     2  What travels
     3  What goes wrong
     4  Bodies
     5  Archives
     6  The wire
     7  Reading responses
     8  Hosts that take one request
     9  Hosts that take several requests
    10  Amazon S3
    11  The hosts
    12  Custom hosts
    13  Settings
    14  The engine
    15  History
    16  Progress and output
    17  serve
    18  The command line

A provider is a function (source, options, send) -> Link, whose only way to the network is `send`.

To add a host: one row in its chapter, with its sample; the tests do the rest.
"""

import sys

if sys.version_info < (3, 9):
    sys.exit("twat-fs needs Python 3.9 or newer, and this is %d.%d" % sys.version_info[:2])

import contextlib
import errno
import functools
import io
import itertools
import os
import re
import stat
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Callable, NamedTuple, NoReturn, Optional, Union


class Lazy:
    """A module, or a package with its modules, that is imported when it is first used.

    Start-up time is part of the product: with all of them imported here, `--version` takes four
    times as long.  For the same reason values are NamedTuples: `dataclasses` alone is half of it.
    """

    def __init__(self, module: str) -> None:
        self.module = module

    def __getattr__(self, name: str) -> Any:
        __import__(self.module)
        attribute = getattr(sys.modules[self.module], name, None)
        if attribute is None:
            try:
                __import__(f"{self.module}.{name}")
            except ImportError:
                raise AttributeError(f"{self.module} has no {name}") from None
            attribute = sys.modules[f"{self.module}.{name}"]
        setattr(self, name, attribute)
        return attribute


# Type checkers see the imports, and so does PyInstaller, which reads the byte code.
if TYPE_CHECKING:
    import argparse
    import base64
    import bisect
    import calendar
    import codecs
    import configparser
    import difflib
    import email.utils
    import fcntl
    import fnmatch
    import hashlib
    import hmac
    import html
    import http.client
    import http.server
    import ipaddress
    import json
    import msvcrt
    import queue
    import selectors
    import shlex
    import shutil
    import signal
    import socket
    import ssl
    import struct
    import subprocess
    import tarfile
    import tempfile
    import textwrap
    import threading
    import unicodedata
    import urllib.parse
    import urllib.request
    import zipfile
    import zlib

    RequestHandler = http.server.BaseHTTPRequestHandler
    ThreadingHTTPServer = http.server.ThreadingHTTPServer
else:
    LAZY = (
        "argparse base64 bisect calendar codecs configparser difflib email fcntl "
        "fnmatch hashlib hmac html http ipaddress json msvcrt queue selectors shlex shutil signal "
        "socket ssl struct subprocess tarfile tempfile textwrap threading unicodedata "
        "urllib zipfile zlib"
    )
    globals().update((name, Lazy(name)) for name in LAZY.split())
    RequestHandler = ThreadingHTTPServer = object  # `start_server` adds those of http.server

__version__ = "0+unknown"  # builds write the real one into their copies

HOMEPAGE = "https://github.com/twardoch/twat-fs"
__all__ = (
    "PROVIDERS_PREFERENCE",
    "AllProvidersFailed",
    "NonRetryableError",
    "ProviderInfo",
    "RetryableError",
    "UploadError",
    "UploadOptions",
    "UploadResult",
    "__version__",
    "main",
    "setup_provider",
    "setup_providers",
    "upload",
    "upload_file",
)
# Some hosts reject an empty User-Agent and those of HTTP libraries.
USER_AGENT = f"twat-fs/{__version__} (+{HOMEPAGE})"

KiB, MiB, GiB = 1 << 10, 1 << 20, 1 << 30
MINUTE, HOUR, DAY, WEEK, YEAR = 60, 3600, 86400, 604800, 365 * 86400
FOREVER = float("inf")

# Bytes per read and per send.  128 KiB is 10 % slower; 1 MiB is 50 % slower, because it exceeds the
# cache.  Eight parallel parts over TLS use 37 MB of memory, and 68 MB with 1 MiB.
CHUNK = 256 * KiB
MAX_RESPONSE = MiB  # responses to uploads have a few hundred bytes
TICK = 0.2  # seconds; longest single wait, because a signal just before a wait does not end it
STALL = 60.0  # seconds without any data moving
READY_TIME = 1.5  # seconds after which a connection to the next host is opened in advance
MUTE_TIME = 5.0  # seconds of silence after which the next address of a host is tried
DNS_TIME = 10.0  # seconds; glibc queries a name server twice, 5 s each
SHORT_WAIT = 5  # seconds; a longer rate limit is waited for only at the last host of the chain
MEMORY = 6 * HOUR  # a host that failed on this network is tried last for this time
MAX_REDIRECTS = 10
MAX_PAUSE = 120  # seconds; a longer Retry-After counts as a refusal
SMALL = 4 * MiB  # smaller files are downloaded completely to verify, larger ones in samples
SAMPLE = 64 * KiB
LATE = 10.0  # seconds after the upload within which a link must work: caches and scanners delay it
LATEST = 60.0  # the same after an upload that took minutes
IN_MEMORY = MiB  # standard input up to this size stays in memory; more goes to a temporary file
RESERVE = 64 * MiB  # disk space that standard input and received files leave free
MAX_NAME = 255  # bytes of UTF-8; file systems accept no more


# 1  Numbers, times and text -----------------------------------------------------------------------


UNITS = {"s": 1, "m": MINUTE, "h": HOUR, "d": DAY, "w": WEEK, "y": YEAR}


TIME_TERM = r"([0-9]{1,6}) ?(seconds?|minutes?|hours?|days?|weeks?|years?|sec|min|[smhdwy]) ?"


def parse_duration(value: str) -> Optional[int]:
    """Seconds of "90s", "10m", "1d12h", "2 days", "90min", "4w" or "2y"; None for anything else."""
    text = value.strip().lower()
    if not re.fullmatch(f"({TIME_TERM})+", text, re.ASCII):
        return None
    return sum(int(count) * UNITS[unit[0]] for count, unit in re.findall(TIME_TERM, text)) or None


def short_duration(seconds: float) -> str:
    """A duration as --expire accepts it: "1h", "36h", "3d"."""
    rounded = round(seconds)
    return next(f"{rounded // UNITS[unit]}{unit}" for unit in "ydhms" if not rounded % UNITS[unit])


def parse_seconds(value: str) -> Optional[float]:
    """Seconds of a duration or of a plain number; None for 0 and for anything else."""
    if re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,3})?", value, re.ASCII):
        return float(value) or None
    return parse_duration(value)


def parse_size(text: str) -> Optional[int]:
    """Bytes of "500k", "1.5M" or "2g", in powers of 1024; None for anything else."""
    pattern = r"([0-9]{1,9}(?:\.[0-9]{1,3})?)([kmgt]?)(?:i?b)?"
    match = re.fullmatch(pattern, text.strip().lower(), re.ASCII)
    if not match:
        return None
    return int(float(match[1]) * 1024 ** " kmgt".index(match[2] or " ")) or None


def parse_number(text: Optional[str]) -> Optional[int]:
    """The decimal number of a header, or None: hosts send "²", "-1" and worse."""
    return int(text) if text and re.fullmatch(r"[0-9]{1,18}", text.strip(), re.ASCII) else None


def redact_url(url: str) -> str:
    """A URL without the parts that may be secret: user, password and query."""
    return re.sub(r"//[^/]*@", "//", url.partition("?")[0])


def leaks(text: str, secrets: Iterable[str]) -> bool:
    """Whether a URL contains a secret; a short one counts only as a value of the query."""
    text = urllib.parse.unquote(text)
    values = re.split('[?&=#"]', text.partition("?")[2])
    return any(secret in values or (len(secret) > 7 and secret in text) for secret in secrets)


def parse_retry_after(value: Optional[str], now: float) -> Optional[float]:
    """Seconds of Retry-After: a number or a date (0 if it is past); None for anything else."""
    if value is None:
        return None
    seconds = parse_number(value)
    if seconds is not None:
        return float(seconds)
    try:
        date = email.utils.parsedate_to_datetime(value)
        return max(0.0, calendar.timegm(date.utctimetuple()) - now)  # without a zone it is UTC
    except (TypeError, ValueError, OverflowError, IndexError):
        return None


def duration(seconds: Optional[float]) -> str:
    """A duration in words: "3 days", "36 hours", "forever"; None is "unknown"."""
    if seconds is None:
        return "unknown"
    if seconds == FOREVER:
        return "forever"
    for unit, name in ((YEAR, "year"), (DAY, "day"), (HOUR, "hour"), (MINUTE, "minute")):
        if 1 <= seconds / unit < 1.1 or seconds >= 2 * unit:
            return plural(int(seconds // unit), name)
    return plural(int(seconds), "second")


def iso_time(seconds: float) -> str:
    """A time (seconds since 1970) in ISO 8601, in UTC."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def local_time(text: Optional[str]) -> str:
    """A time in ISO 8601 as local time for people; "" for anything else."""
    seconds = parse_timestamp(text)
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds)) if seconds is not None else ""


def parse_timestamp(text: object) -> Optional[float]:
    """Seconds since 1970 of a time in ISO 8601, in UTC if it has no zone; None if invalid."""
    pattern = r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)[.\d]*(?:([+-])(\d\d):?(\d\d))?"
    match = re.match(pattern, str(text), re.ASCII)
    if not match:
        return None
    *date, sign, hours, minutes = match.groups("0")
    east = int(hours) * HOUR + int(minutes) * MINUTE
    with contextlib.suppress(ValueError):  # month 13
        utc = calendar.timegm((*map(int, date), 0, 0, 0))
        return float(utc + east if sign == "-" else utc - east)
    return None


def plural(count: int, name: str) -> str:
    return f"{count} {name}{'s' * (count != 1)}"


def human(size: float) -> str:
    """A size in words: "1.4 GiB"; powers of 1024."""
    power = min((max(int(size), 1).bit_length() - 1) // 10, 4)
    if not power:
        return plural(int(size), "byte")
    return f"{size / 1024**power:.1f} {('KiB', 'MiB', 'GiB', 'TiB')[power - 1]}"


def limit_text(size: int) -> str:
    """A limit in the unit of the host: 200 MB, 512 MiB."""
    for unit, name in ((10**12, "TB"), (10**9, "GB"), (10**6, "MB")):
        if size % unit == 0:
            return f"{size // unit} {name}"
    return human(size).replace(".0 ", " ")


def printable(text: str, limit: int = 200) -> str:
    """Text of a host or a file name, without anything that moves a cursor or hides a character."""
    if text.isprintable() and len(text) <= limit:
        return text
    shown = "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text[:limit]
    )
    return shown[:limit] + ("..." if len(text) > limit or len(shown) > limit else "")


def program() -> str:
    """The command that started this program, for hints that can be pasted into a shell."""
    frozen = getattr(sys, "frozen", False)
    if __name__ != "__main__":
        return "twat-fs"
    if __spec__ and not frozen:
        return "python3 -m twat_fs"
    path = shlex.quote(sys.argv[0])
    return path if frozen else f"python3 {path}"


# 2  What travels ----------------------------------------------------------------------------------


class FileVersion(NamedTuple):
    """The properties that change when a file is replaced, grows or is written to."""

    device: int
    inode: int
    size: int
    modified: int

    @classmethod
    def of(cls, stat_result: os.stat_result) -> "FileVersion":
        device, inode = stat_result.st_dev, stat_result.st_ino
        if os.name == "nt":  # since Python 3.12 stat() and fstat() may return different numbers
            device, inode = 0, 0
        return cls(device, inode, stat_result.st_size, stat_result.st_mtime_ns)


class Slice(NamedTuple):
    """A part of a file, or of bytes in memory; the file is opened again for each sending."""

    origin: Union[str, bytes]  # a path, or the bytes themselves
    start: int
    size: int
    stamp: Optional[FileVersion] = None  # only for a file
    archived: bool = False  # the file is a member of an archive


Content = tuple[Slice, ...]  # the content of a source; see `slice_body`
Body = tuple[Union[bytes, Slice], ...]  # the body of a request: the content and bytes around it
Header = tuple[str, str]


def length(body: Body) -> int:
    return sum(piece.size if isinstance(piece, Slice) else len(piece) for piece in body)


class Request(NamedTuple):
    """A request; its body consists of slices, which are read when they are sent.

    Times are seconds.
    """

    method: str
    url: str
    headers: tuple[Header, ...] = ()
    body: Body = ()
    # Returns the headers that authorize the request at this time; called at every sending.
    auth: Optional[Callable[[Any, float], tuple[Header, ...]]] = None
    accepted_statuses: tuple[int, ...] = ()  # failures that the provider reads itself
    idempotent: bool = False  # sending it twice is harmless, even if the first one arrived
    content_hash: Any = None  # a hash object: updated with the file's content while it is sent
    error_reader: "ErrorReader" = None  # reads errors in the format of the host
    # Returns a new function for each try, which gets the body of a successful response.
    sink: Optional[Callable[[], Callable[[bytes], object]]] = None
    max_response: int = MAX_RESPONSE  # bytes of the response's body that are read
    time_limit: Optional[float] = None  # for the whole request, instead of --max-time; no retry
    response_timeout: Optional[float] = None  # after the body is sent; None: the stall timeout
    stop: Any = None  # a threading.Event that ends the sending
    ca_bundle: Optional[str] = None  # certificates for this host, unless --cacert is used
    secrets: tuple[str, ...] = ()  # more values that are masked in messages

    def __repr__(self) -> str:
        return f"<Request {self.method} {redact_url(self.url)} {length(self.body)} bytes>"


class Response(NamedTuple):
    """The response of a host; `body` has at most `Request.max_response` bytes."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    url: str
    size: Optional[int] = None  # Content-Length
    tries: int = 1  # how many times the request was sent
    redact: Callable[[bytes], bytes] = bytes  # masks the secrets of the request in a body

    def text(self) -> str:
        return self.body.decode("utf-8", "replace")

    def redacted(self) -> "Response":
        """The response without secrets, for messages; readers parse the original body."""
        return self._replace(body=self.redact(self.body))


Send = Callable[[Request], Response]
ErrorReader = Optional[Callable[[Response], Optional["UploadError"]]]


class Link(NamedTuple):
    """The URL in a provider's response, and other facts from the response."""

    url: str
    delete: Optional[str] = None  # URL that deletes the file by a DELETE request
    host_sha256: Optional[str] = None  # of the stored file, as the host reports it
    expires: Optional[float] = None  # seconds since 1970
    warning: str = ""
    hint: str = ""  # shown if the link cannot be downloaded
    denied: str = ""  # the same for 401 and 403
    delete_page: Optional[str] = None  # page that deletes the file, at once or after a question
    thumbnail: Optional[str] = None  # URL of a small picture
    delete_with: Mapping[str, str] = {}  # what `Provider.delete` needs: tokens, a path, a bucket


class UploadOptions(NamedTuple):
    """The options of a call.  Times are seconds, sizes bytes, rates bytes per second."""

    remote_path: Optional[str] = None  # folder/ or full path (S3, Dropbox)
    unique: bool = False  # add the time to the name
    force: bool = False  # overwrite (S3, Dropbox)
    fragile: bool = False  # stop at the first failure
    fallback: bool = False  # try the default hosts after the named ones
    name: Optional[str] = None  # upload under this name
    expire: Optional[int] = None  # the link should expire after about this time
    keep: Optional[int] = None  # the link must live at least this long
    once: bool = False  # one download only
    verify: str = "auto"  # "auto", "full" or "none"
    sha256: bool = False  # report the SHA-256 even if verifying does not need it
    retry: int = 2  # retries per host
    connect_timeout: float = 15.0
    timeout: Optional[float] = None  # stall timeout; None: TWAT_FS_TIMEOUT, or 60
    max_time: Optional[float] = None  # for the whole call
    limit_rate: Optional[int] = None
    jobs: int = 8  # parallel parts of one file
    ip_version: Optional[int] = None  # 4 or 6: connect only by this version
    public: bool = False  # objects are public: links need no signature (S3)
    proxy: Optional[str] = None  # may contain a password: see __repr__
    cacert: Optional[str] = None
    insecure: bool = False
    settings: Mapping[str, str] = {}
    proxies: Mapping[str, str] = {}

    def __repr__(self) -> str:
        hidden = {"proxy", "proxies", "settings"}
        fields = (
            f"{k}={v!r}"
            for k, v in self._asdict().items()
            if k not in hidden and v != self._field_defaults[k]
        )
        return f"UploadOptions({', '.join(fields)})"


class Attempt(NamedTuple):
    """A failed try at one provider: the phase, the message and the seconds it took."""

    provider: str
    phase: str
    error: str
    seconds: float


class Unverified(NamedTuple):
    """A link that could not be verified; the host may have a copy of the file.

    `delete`, `delete_page` and `delete_with` as in UploadResult.
    """

    provider: str
    url: str
    delete: Optional[str] = None
    delete_page: Optional[str] = None
    delete_with: Mapping[str, str] = {}


class UploadResult(NamedTuple):
    """A link that serves the file, and how it was verified.

    `size` in bytes; `sha256` in hex, None if nothing needed it; `expires` as UTC time (ISO 8601),
    None if it is unknown or never; `delete`: a URL that accepts DELETE; `verified`: "host-hash",
    "full", "sample", "size" or "none"; `seconds` for upload and verification; `attempts`: the
    providers that failed before; `unverified`: links of failed providers that may have a copy;
    `delete_page`: a page that deletes the file, at once or after a question; `thumbnail`: the URL
    of a small picture; `type`: the Content-Type that the link serves, None if it was not
    downloaded; `delete_with`: what else the command `delete` needs, for example a token.
    """

    url: str
    provider: str
    size: int
    sha256: Optional[str] = None
    expires: Optional[str] = None
    delete: Optional[str] = None
    verified: str = "none"
    seconds: float = 0.0
    attempts: tuple[Attempt, ...] = ()
    unverified: tuple[Unverified, ...] = ()
    delete_page: Optional[str] = None
    thumbnail: Optional[str] = None
    type: Optional[str] = None
    delete_with: Mapping[str, str] = {}


def deletable(link: Union[Link, Unverified, UploadResult]) -> bool:
    """Whether the command `delete` can delete the file."""
    return bool(link.delete or link.delete_page or link.delete_with)


class ProviderInfo(NamedTuple):
    """Whether a provider can be used; `timing`: seconds for each phase of a round trip.

    `status`: "available" (needs no setting), "configured", "not configured" or "disabled by its
    owner"; online "works", "failed" or "not asked".
    `explanation`: the reason, or the status again.
    """

    success: bool
    explanation: str
    help_info: str = ""
    timing: Mapping[str, float] = {}
    status: str = ""


# 3  What goes wrong -------------------------------------------------------------------------------
#
#    UploadError
#      RetryableError     Unreachable  Busy  NotYet                        retry, then next host
#      NonRetryableError  Refused  NoLink  NotVerified                     next host
#                         Unsuitable  NotConfigured                        nothing was sent there
#                         SourceChanged  Unreadable  UsageError  TimedOut  stop: same at each host
#                         AllProvidersFailed                               all failures, in order


class UploadError(Exception):
    """The reason why there is no URL.
    `provider`; `phase` ("file", "options", "setup", "dns", "connect", "proxy", "tls", "send",
    "reply", "proof" or "wish"); `status` of the response; `retry_after` in seconds; `started`:
    part of the body was sent; `everywhere`: all other hosts would fail in the same way;
    `timed_out`; `hint`: what the user can do; `unverified`: links that may have a copy of the
    file.
    """

    exit_code = 1
    default_phase = "send"
    attempts: tuple[Attempt, ...] = ()
    unverified: tuple[Unverified, ...] = ()

    def __init__(
        self,
        message: str,
        *,
        provider: Optional[str] = None,
        phase: str = "",
        status: Optional[int] = None,
        retry_after: Optional[float] = None,
        started: bool = False,
        everywhere: bool = False,
        timed_out: bool = False,
        hint: str = "",
    ) -> None:
        super().__init__(message)
        self.summary = message  # one line, without the failures of several hosts
        self.provider, self.phase = provider, phase or self.default_phase
        self.status, self.retry_after = status, retry_after
        self.started, self.everywhere, self.timed_out = started, everywhere, timed_out
        self.hint = hint

    def by(self, provider: str) -> "UploadError":
        self.provider = self.provider or provider
        return self


class RetryableError(UploadError):
    """The same request may succeed later."""


class Unreachable(RetryableError):
    """No response: DNS, connection or TLS failed, or the connection was lost."""


class Busy(RetryableError):
    """The host is overloaded or limits the rate."""


class NotYet(Busy):
    """The link does not serve the file yet; `retry_after` is the time until the next try."""


class NonRetryableError(UploadError):
    """The same request will fail again."""


class Refused(NonRetryableError):
    """The host refused the request, or its certificate is invalid."""


class NoLink(NonRetryableError):
    """The response is a success, but contains no valid link of the host."""


class NotVerified(NonRetryableError):
    """The link does not serve the bytes that were sent."""

    exit_code = 4


class Unsuitable(NonRetryableError):
    """The host does not support this file or these options; nothing was sent."""

    exit_code = 5


class NotConfigured(NonRetryableError):
    """The host needs a setting; nothing was sent."""

    exit_code = 5


class SourceChanged(NonRetryableError):
    """The file shrank, grew or was replaced while it was read."""

    exit_code = 6
    default_phase = "file"


class Unreadable(NonRetryableError):
    """A local problem: missing, no permission, a directory, a device."""

    exit_code = 6
    default_phase = "file"


class UsageError(NonRetryableError):
    """Invalid options or arguments; nothing was sent."""

    exit_code = 2
    default_phase = "options"


class TimedOut(NonRetryableError):
    """The time limit for the whole call (--max-time) is exceeded."""


class AllProvidersFailed(NonRetryableError):
    """No host of the chain accepted the file; `failures` has the error of each, in order."""

    def __init__(self, failures: Sequence[UploadError], attempts: Sequence[Attempt] = ()) -> None:
        self.failures, self.attempts = tuple(failures), tuple(attempts)
        self.unverified = unverified_of(failures)
        tried = [f for f in self.failures if not isinstance(f, (Unsuitable, NotConfigured))]
        uploaded = any(isinstance(f, NotVerified) for f in tried)
        message = f"upload failed: no host accepted it ({len(tried)} tried)"
        self.exit_code = min((f.exit_code for f in tried), default=5)
        if uploaded:
            message = f"uploaded, but no link could be verified ({len(tried)} tried)"
            self.exit_code = NotVerified.exit_code
        self.no_network = len(tried) > 1 and all(f.phase == "dns" for f in tried)
        if self.no_network:
            message = f"no network: none of the {len(tried)} hosts could be resolved"
        super().__init__(message if tried else "no suitable host; nothing was uploaded")
        self.args = (self.failures, self.attempts)  # for pickle, which calls the class with them
        if len(failures) == 1:
            for name in ("provider", "phase", "status", "retry_after"):
                setattr(self, name, getattr(failures[0], name))

    def __str__(self) -> str:
        return f"{self.summary}: " + "; ".join(f"{f.provider}: {f}" for f in self.failures)

    def reasons(self) -> list[str]:
        """The lines of the error message: one for each host that was tried.

        Hosts that are unsuitable for the same reason share a line.  A repeated hint comes last.
        """
        hosts: dict[tuple[object, str, str, str], list[str]] = {}
        for f in self.failures:
            if self.no_network and f.phase == "dns":
                continue
            which = None if f.exit_code == 5 else f.provider
            hosts.setdefault((which, f.phase, str(f), f.hint), []).append(f.provider or "-")
        hints = [hint for *_, hint in hosts if hint]
        repeated = [hint for hint in dict.fromkeys(hints) if hints.count(hint) > 1]
        lines = [
            (", ".join(names), phase, message if hint in repeated else f"{message}   {hint}")
            for (_, phase, message, hint), names in hosts.items()
        ]
        # A long list of hosts does not widen the column.
        width = max([11, *(len(names) for names, _, _ in lines if len(names) <= 30)])
        texts = [f"{names:<{width}}  {phase:<8} {reason}" for names, phase, reason in lines]
        return [text.rstrip() for text in texts] + repeated


def unverified_of(failures: Iterable[UploadError]) -> tuple[Unverified, ...]:
    return tuple(link for failure in failures for link in failure.unverified)


@contextlib.contextmanager
def naming_setting(setting: str) -> Iterator[None]:
    """Add the name of the setting to a UsageError, because the user did not type its value."""
    try:
        yield
    except UsageError as error:
        raise UsageError(f"{setting}: {error}", phase=error.phase, hint=error.hint) from error


# 4  Bodies ----------------------------------------------------------------------------------------


class Source(NamedTuple):
    """A file to upload, as it was when it was opened, and the name that hosts get."""

    name: str
    body: Content
    size: int
    modified: float  # seconds since 1970

    @classmethod
    def of(
        cls, path: "Union[str, os.PathLike[str]]", name: Optional[str] = None, unique: bool = False
    ) -> "Source":
        """The source for a file; raises Unreadable unless it is a readable regular file.

        `unique` adds the time (UTC) to the name.
        """
        text = os.fsdecode(path)
        stat_result = stat_regular_file(text)
        body = (file_slice(text, stat_result),)
        file_name = upload_name(name or os.path.basename(text), unique)
        return cls(file_name, body, stat_result.st_size, stat_result.st_mtime)

    def extension(self) -> str:
        return self.name.rpartition(".")[2].lower() if "." in self.name else ""


def stat_regular_file(path: str) -> os.stat_result:
    """The status of a readable regular file.

    Raises Unreadable for anything else, if possible with a command as a hint.
    """
    shown = printable(path)
    try:
        stat_result = os.stat(path)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise Unreadable(f"{shown or repr('')}: {local_reason(error)}") from error
    mode = stat_result.st_mode
    if not os.access(path, os.R_OK | (os.X_OK if stat.S_ISDIR(mode) else 0)):
        raise Unreadable(f"{shown}: permission denied")
    if not stat.S_ISREG(mode) or (not stat_result.st_size and has_content(path)):
        raise not_a_file_error(path, shown, mode)
    return stat_result


def file_slice(path: str, stat_result: os.stat_result, archived: bool = False) -> Slice:
    return Slice(path, 0, stat_result.st_size, FileVersion.of(stat_result), archived)


def memory_slice(data: bytes) -> Slice:
    return Slice(data, 0, len(data))


def has_content(path: str) -> bool:
    """Whether a file has content although its size is 0, like the files of /proc."""
    with contextlib.suppress(OSError), open(path, "rb", 0, opener=open_nonblocking) as file:
        return bool(file.read(1))
    return False


def open_nonblocking(path: str, flags: int) -> int:
    """An opener that does not wait if a pipe has replaced the file."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def not_a_file_error(path: str, shown: str, mode: int) -> Unreadable:
    """The error for a path that is not a file, with a command that turns it into one."""
    if stat.S_ISDIR(mode):
        # tar would store only the symbolic link, so the hint has the path of its target.
        folder = os.path.realpath(path) if os.path.islink(path.rstrip("/")) else path
        hint = pipe_hint("tar cf -", folder, ".tar")
        if hint:
            hint = f"{program()} -z {shell_path(path)}   or: {hint}"
        return Unreadable(f"{shown}: is a directory", hint=hint)
    file_type, hint = "a device or socket", ""
    if stat.S_ISFIFO(mode):
        file_type = "a pipe"
    elif stat.S_ISREG(mode):
        file_type = "generated by the system"
    if not stat.S_ISCHR(mode) and not stat.S_ISSOCK(mode):
        hint = pipe_hint("cat", path)
    return Unreadable(f"{shown}: is {file_type}, not a file", hint=hint)


def pipe_hint(reader: str, path: str, extension: str = "") -> str:
    """A command that uploads the output of `reader` for `path`; "" for an unprintable path."""
    # A process substitution, `<(...)`, no longer exists when the hint is read.
    if re.match("/dev/(fd/|std)|/proc/[^/]+/fd/", path):
        return f"pipe it: COMMAND | {program()} -"
    if not path.isprintable():
        return ""
    base = os.path.basename(os.path.abspath(path)).lstrip("-") or "folder"
    name = shlex.quote(safe_name(base + extension))
    return f"{reader} {shell_path(path)} | {program()} - -n {name}"


def shell_path(path: str) -> str:
    """The path quoted for a shell, with "./" before a leading dash."""
    return shlex.quote(f"./{path}" if path.startswith("-") else path)


def local_reason(error: Exception) -> str:
    """The reason of an OSError, in lower case."""
    if isinstance(error, FileNotFoundError):
        # Windows has several phrases for this, in the language of the user.
        return "no such file or directory"
    return str(getattr(error, "strerror", None) or error).lower()


def located_reason(error: OSError, otherwise: str = "") -> str:
    """The file of an OSError, or `otherwise`, and the reason."""
    where = printable(str(error.filename)) if error.filename else otherwise
    return ": ".join(filter(None, (where, local_reason(error))))


UNSAFE = {  # patterns that a name must not contain
    "a control character": r"[\0-\x1f\x7f-\x9f]",
    "a line separator": r"[\u2028\u2029]",
    "a character that reverses text": r"[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]",
    "bytes that are not UTF-8": r"[\ud800-\udfff]",
}
UNSAFE_CHARACTER = "|".join(UNSAFE.values())


def safe_name(name: str, limit: int = MAX_NAME) -> str:
    """The name in a form that is safe in a multipart header and in a URL.

    Removes the path, replaces control characters and characters that reverse text, and cuts to
    `limit` bytes.  Keeps Unicode spaces and joiners: file names of macOS contain U+202F; emoji and
    many scripts need U+200C and U+200D.  PHP, Go, busboy and Werkzeug decode raw UTF-8 correctly
    (compared 2026-11-23).  Replaces lone surrogates, which are not valid UTF-8.
    """
    base = name.replace("\\", "/").rstrip("/").rpartition("/")[2]
    clean = re.sub(UNSAFE_CHARACTER, "_", base).strip(" ")
    if not clean.strip("."):
        return "file"
    stem, dot, extension = clean.rpartition(".") if "." in clean[1:] else (clean, "", "")
    return shortened(stem, dot + extension, limit).strip(" ")


def shortened(stem: str, ending: str, limit: int = MAX_NAME) -> str:
    """`stem` and `ending` in at most `limit` bytes of UTF-8.

    Cuts the stem, and the ending only if it alone is too long.
    """
    room = limit - len(ending.encode())
    if room <= 0:
        stem, ending, room = stem + ending, "", limit
    return stem.encode()[:room].decode("utf-8", "ignore") + ending


def upload_name(name: str, unique: bool) -> str:
    return new_name(safe_name(name)) if unique else safe_name(name)


@functools.cache
def uses(name: str) -> Iterator[int]:
    """A counter of how often this process has used a unique name."""
    return itertools.count()


def new_name(name: str) -> str:
    """The name with the time (UTC) added, different from all earlier names of this process."""
    unique = unique_name(name, time.gmtime())
    return varied_name(unique) if next(uses(unique)) else unique


def varied_name(name: str) -> str:
    """The name with random digits added, because other processes may use the same name."""
    return unique_name(name, time.gmtime(), f"_{os.urandom(3).hex()}")


def unique_name(name: str, now: time.struct_time, pattern: str = "_%Y%m%d_%H%M%S") -> str:
    stem, extension = os.path.splitext(name)
    stamp = time.strftime(pattern, now)
    if len((stamp + extension).encode()) > MAX_NAME:  # too long for an extension
        stem, extension = name, ""
    return shortened(stem, stamp + extension)


# From IANA's registry (November 2026), else from browsers and Debian's media-types.  The table of
# Python differs by version (half of these are missing in 3.9), the table of the system by machine.
CONTENT_TYPE_ROWS = """
application/epub+zip epub
application/gzip gz tgz
application/java-archive jar
application/json json map
application/jsonl jsonl ndjson
application/ld+json jsonld
application/manifest+json webmanifest
application/msword doc dot wiz
application/ogg ogx
application/pdf pdf
application/pgp-signature sig
application/postscript ps eps ai
application/sql sql
application/toml toml
application/vnd.android.package-archive apk
application/vnd.apache.parquet parquet
application/vnd.apple.mpegurl m3u8 m3u
application/vnd.debian.binary-package deb
application/vnd.ms-excel xls xlb
application/vnd.ms-fontobject eot
application/vnd.ms-powerpoint ppt pot ppa pps pwz
application/vnd.oasis.opendocument.presentation odp
application/vnd.oasis.opendocument.spreadsheet ods
application/vnd.oasis.opendocument.text odt
application/vnd.openxmlformats-officedocument.presentationml.presentation pptx
application/vnd.openxmlformats-officedocument.spreadsheetml.sheet xlsx
application/vnd.openxmlformats-officedocument.wordprocessingml.document docx
application/vnd.rar rar
application/vnd.sqlite3 sqlite sqlite3
application/wasm wasm
application/x-7z-compressed 7z
application/x-apple-diskimage dmg
application/x-bittorrent torrent
application/x-bzip2 bz2
application/x-cpio cpio
application/x-hdf5 h5 hdf5
application/x-iso9660-image iso
application/x-ipynb+json ipynb
application/x-rpm rpm
application/x-shockwave-flash swf
application/x-tar tar
application/x-tex tex
application/x-xz xz
application/xhtml+xml xhtml
application/xml xml xsl rdf xsd wsdl
application/yaml yaml yml
application/zip zip
application/zstd zst
audio/aac aac adts
audio/basic au snd
audio/flac flac
audio/midi mid midi
audio/mp4 m4a
audio/mpeg mp3 mp2
audio/ogg oga ogg spx
audio/opus opus
audio/wav wav
audio/webm weba
audio/x-aiff aif aiff aifc
font/collection ttc
font/otf otf
font/ttf ttf
font/woff woff
font/woff2 woff2
image/apng apng
image/avif avif
image/bmp bmp
image/gif gif
image/heic heic
image/heif heif
image/jpeg jpg jpeg jpe jfif
image/jxl jxl
image/png png
image/svg+xml svg
image/tiff tif tiff
image/vnd.adobe.photoshop psd
image/vnd.microsoft.icon ico
image/webp webp
image/x-portable-anymap pnm
image/x-portable-bitmap pbm
image/x-portable-graymap pgm
image/x-portable-pixmap ppm
message/rfc822 eml mht mhtml
model/gltf+json gltf
model/gltf-binary glb
model/stl stl
text/calendar ics
text/css css
text/csv csv
text/html html htm
text/javascript js mjs cjs
text/markdown md markdown
text/n3 n3
text/plain txt log text ini cfg conf c h cc cpp hpp go rs java jsx tsx ksh pl rb php lua bat
text/plain ps1 diff patch env srt
text/rtf rtf
text/tab-separated-values tsv
text/turtle ttl
text/vcard vcf
text/vtt vtt
text/x-python py
text/x-rst rst
text/x-sh sh bash zsh
video/3gpp 3gp 3gpp
video/3gpp2 3g2
video/mp2t m2ts
video/mp4 mp4 m4v
video/mpeg mpg mpeg mpe m1v
video/ogg ogv
video/quicktime mov qt
video/webm webm
video/x-matroska mkv
video/x-ms-wmv wmv
video/x-msvideo avi
"""


CONTENT_TYPES = {
    extension: row.split()[0]
    for row in CONTENT_TYPE_ROWS.splitlines()
    for extension in row.split()[1:]
}


UNKNOWN_TYPE = "application/octet-stream"
# Browsers download archives and packages under any type.
ARCHIVE_TYPES = "application/.*(zip|tar|rar|7z|-xz|zst|cpio|rpm|archive|package|image)"


def guess_type(name: str) -> str:
    """The content type for the extension of a name."""
    extension = os.path.splitext(name)[1]
    return CONTENT_TYPES.get(extension[1:].lower(), UNKNOWN_TYPE)


def type_with_charset(name: str, body: Content) -> str:
    """The content type for a host that shows files in the browser.

    Browsers read text without a charset as Latin-1 or worse.
    """
    content_type = guess_type(name)
    if content_type.startswith("text/") and is_text(body):
        content_type += "; charset=utf-8"
    return content_type


def is_text(body: Content, limit: int = sys.maxsize) -> bool:
    """Whether the first `limit` bytes are UTF-8 without NUL; the limit may cut a character."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    with contextlib.suppress(UnicodeDecodeError):
        blocks = map(decoder.decode, read_body(slice_body(body, 0, limit)))
        if all("\0" not in block for block in blocks):
            return limit < length(body) or not decoder.getstate()[0]
    return False


def iri_to_uri(url: str) -> str:
    """The URL with spaces and non-ASCII characters percent-encoded; "%" is kept."""
    return urllib.parse.quote(url.encode("utf-8", "surrogateescape"), safe="%/:?#[]@!$&'()*+,;=~")


def quote_segment(name: str) -> str:
    return urllib.parse.quote(name, safe="")


def multipart(
    fields: Iterable[tuple[str, str]], file_field: str, source: Source
) -> tuple[str, Body]:
    """Content-Type and body of a form: text fields first, the file last (RFC 7578).

    A quote in the name is sent as \\" because only Werkzeug decodes %22.  `filename*` is not sent,
    because PHP then drops the file.
    """
    boundary = "twat-fs-" + os.urandom(16).hex()
    start = f"--{boundary}\r\nContent-Disposition: form-data; name="
    head = "".join(f'{start}"{name}"\r\n\r\n{value}\r\n' for name, value in fields)
    file_name = source.name.replace('"', '\\"')
    head += f'{start}"{file_field}"; filename="{file_name}"\r\n'
    head += f"Content-Type: {guess_type(source.name)}\r\n\r\n"
    tail = f"\r\n--{boundary}--\r\n"
    body: Body = (head.encode(), *source.body, tail.encode())
    return f"multipart/form-data; boundary={boundary}", body


def slice_body(body: Content, start: int, size: int) -> Content:
    """A range of a body, which is a body too; nothing is read or copied."""
    pieces = []
    for piece in body:
        first, end = max(start, 0), min(start + size, piece.size)
        if first < end:
            part = piece._replace(start=piece.start + first, size=end - first)
            pieces.append(piece if part == piece else part)
        start -= piece.size
        if start + size <= 0:  # stop early: an archive may have 200,000 pieces
            break
    return tuple(pieces)


def parts_of(body: Content, size: int) -> list[Content]:
    return [slice_body(body, start, size) for start in range(0, length(body), size)]


@contextlib.contextmanager
def open_slice(piece: Slice) -> Iterator[Any]:
    """The file of a slice, unbuffered.

    Raises SourceChanged if the file has changed since `stamp`, or changes while it is read.
    """
    if isinstance(piece.origin, bytes):
        yield io.BytesIO(piece.origin)
        return
    # Only errors of open() are translated here; the `with` below closes the file.
    try:
        file = open(piece.origin, "rb", 0, opener=open_nonblocking)  # noqa: SIM115
    except OSError as error:
        raise changed_error(piece, f"no longer readable: {local_reason(error)}") from error
    with file:
        check_unchanged(file, piece)
        yield file
        check_unchanged(file, piece)


def check_unchanged(file: Any, piece: Slice) -> None:
    if FileVersion.of(os.fstat(file.fileno())) != piece.stamp:
        raise changed_error(piece, "changed while being read")


def changed_error(piece: Slice, what: str) -> SourceChanged:
    path = os.fsdecode(piece.origin)
    hint = "--exclude leaves it out" if piece.archived else pipe_hint("cat", path)
    return SourceChanged(f"{printable(path)}: {what}", hint=hint)


def read_slice(piece: Slice, step: int = CHUNK) -> Iterator[memoryview]:
    """The bytes of a slice, in blocks of up to `step` bytes that share one buffer.

    Raises SourceChanged for a file that ends too early, Unreadable if reading fails.
    """
    buffer = memoryview(bytearray(min(step, max(piece.size, 1))))
    left = piece.size
    with open_slice(piece) as file:
        file.seek(piece.start)
        while left:
            try:
                count = file.readinto(buffer[:left])
            except OSError as error:
                shown = printable(os.fsdecode(piece.origin))
                raise Unreadable(f"{shown}: read failed: {local_reason(error)}") from error
            if not count:
                raise changed_error(piece, "became shorter while being read")
            left -= count
            yield buffer[:count]


def read_body(body: Iterable[Slice]) -> Iterator[memoryview]:
    for piece in body:
        yield from read_slice(piece)


def sha256_of(body: Content) -> str:
    return digest_of(body, hashlib.sha256())


def digest_of(body: Content, digest: Any) -> str:
    """The digest of a body, in hex."""
    for data in read_body(body):
        digest.update(data)
    return str(digest.hexdigest())


# 5  Archives --------------------------------------------------------------------------------------
#
# The body of a ZIP consists of headers in memory and slices of files.  Nothing is compressed, so
# its length is known before the first byte is sent, it needs no temporary file, and each part of
# it can be cut, hashed and sent again.  The files are read twice, because CRC and size must come
# before the data: readers of streams (java.util.zip, commons-compress, SharpZipLib; November 2026)
# reject stored entries whose CRC follows the data.
#
# A .tar.gz consists of such pieces too, but its length is known only after compression, so it is
# written to a temporary file.


class Member(NamedTuple):
    """A file, folder or symbolic link of an archive."""

    name: str  # in the archive, with "/" at the end of a folder
    mode: int
    modified: int  # seconds since 1970
    content: Content = ()  # of a file
    target: str = ""  # of a link


SECRET_NAME = r"(^|/)(\.env(\.[^/]*)?|id_[^/]*|[^/]*\.(pem|kdbx)|\.aws/|\.git/)$"


class Walker:
    """Finds the members of an archive, and files that the user should be warned about.

    `keep_links`: store symbolic links as links; else store their targets, which must be inside the
    archived folder.  `epoch`: the time of all members, instead of their own.
    """

    def __init__(self, exclude: Sequence[str], keep_links: bool, epoch: Optional[int]) -> None:
        self.exclude, self.keep_links, self.epoch = exclude, keep_links, epoch
        self.secrets: list[str] = []  # names that suggest a secret
        self.skipped: list[str] = []  # sockets, pipes and devices

    def members(self, paths: Sequence[str]) -> list[Member]:
        """All members, sorted by name; raises Unreadable and UsageError."""
        bases = list(map(base_name, paths))
        twin = next((base for base in bases if bases.count(base) > 1), None)
        if twin:
            raise UsageError(f"two files or folders named {printable(twin)!r}")
        members = [member for pair in zip(paths, bases) for member in self.walk(*pair)]
        if not members:
            raise UsageError("nothing to archive: all files are excluded")
        return sorted(members, key=lambda member: member.name)

    def walk(self, path: str, base: str) -> Iterator[Member]:
        """The members of one path, which may be a symbolic link; `base` is its archive name."""
        root = ""
        waiting: list[tuple[str, str, tuple[str, ...]]] = [(path, base, ())]
        while waiting:
            path, name, parents = waiting.pop()
            link = bool(parents) and os.path.islink(path)
            if self.excluded(name):
                continue
            if link and not self.keep_links and self.excluded(base + target_inside(path, root)):
                continue
            stat_result, entries = list_entry(path, link and self.keep_links)
            mode = stat_result.st_mode
            content: Content = ()
            target = ""
            if stat.S_ISDIR(mode):
                real = os.path.realpath(path)
                if real in parents:  # a link to a parent folder
                    continue
                root = root or real
                for entry in entries:
                    inside = os.path.join(path, entry), f"{name}/{entry}", (*parents, real)
                    waiting.append(inside)
                name += "/"
            elif stat.S_ISLNK(mode):
                target = os.readlink(path)
            elif stat.S_ISREG(mode) or not parents:
                content = (file_slice(path, stat_regular_file(path), archived=True),)
            else:
                self.skipped.append(name)
                continue
            if re.search(SECRET_NAME, name, re.I):
                self.secrets.append(name)
            if self.keep_links or not entries:
                seconds = int(stat_result.st_mtime) if self.epoch is None else self.epoch
                yield Member(name, mode, min(max(seconds, 0), MAX_TIME), content, target)

    def excluded(self, name: str) -> bool:
        """Whether an --exclude pattern matches a part of the name, or a path of these parts."""
        return any(
            fnmatch.fnmatch(each, glob.rstrip("/"))
            for glob in self.exclude
            for parts in [name.split("/")]
            for each in (*parts, *path_prefixes(parts), *path_prefixes(parts[1:]))
        )


def base_name(path: str) -> str:
    """The last component of a path, resolved for "." and ".."."""
    return safe_name(os.path.basename(os.path.abspath(path)))


def path_prefixes(parts: list[str]) -> Iterator[str]:
    """The prefixes of a path: "a", "a/b", "a/b/c" for a, b and c."""
    return itertools.accumulate(parts, "{}/{}".format)


def target_inside(path: str, root: str) -> str:
    """The target of a symbolic link, relative to `root`; Unreadable if it is outside."""
    real = os.path.realpath(path)
    if not f"{real}{os.sep}".startswith(os.path.join(root, "")):
        hint = "--exclude leaves it out; --tar keeps links as they are"
        raise Unreadable(f"{printable(path)}: symbolic link out of the folder", hint=hint)
    return real[len(root) :].replace(os.sep, "/")


def list_entry(path: str, keep_link: bool) -> tuple[os.stat_result, list[str]]:
    """The status of a file or folder, and the names in a folder; raises Unreadable."""
    try:
        stat_result = os.lstat(path) if keep_link else os.stat(path)
        return stat_result, os.listdir(path) if stat.S_ISDIR(stat_result.st_mode) else []
    except (OSError, ValueError) as error:
        reason = "broken symbolic link" if os.path.islink(path) else local_reason(error)
        raise Unreadable(f"{printable(path) or repr('')}: {reason}") from error


MAX_TIME = 2**31 - 1
MAX_16, MAX_32 = 2**16 - 1, 2**32 - 1  # these values mean that a zip64 field has the real one
UNIX = 3 << 8  # "version made by": Unix; the low byte is the version (APPNOTE.TXT 6.3.10)


def zip_content(members: list[Member], utc: bool, checksums: bool) -> Content:
    """A ZIP of uncompressed members; `utc`: write UTC instead of local times.

    Empties `members` to save memory: 100,000 members take 10 MB in addition to the ZIP.
    """
    pieces: list[Slice] = []
    directory, offset, count = bytearray(), 0, 0
    members.reverse()
    while members:
        member = members.pop()
        crc = crc32_of(member.content) if checksums else 0
        local, central = zip_headers(member, crc, offset, utc)
        pieces += [memory_slice(local), *member.content]
        directory += central
        offset += len(local) + length(member.content)
        count += 1
    directory += zip_end(count, len(directory), offset)
    return (*pieces, memory_slice(bytes(directory)))


def zip_headers(member: Member, crc: int, offset: int, utc: bool) -> tuple[bytes, bytes]:
    """The local header of a member, and its entry in the central directory."""
    name = zip_name(member.name)
    size = length(member.content)
    moment = time.gmtime(member.modified) if utc else time.localtime(member.modified)
    info = zipfile.ZipInfo(name.decode(), max(moment[:6], (1980, 1, 1, 0, 0, 0)))
    info.CRC, info.file_size, info.compress_size = crc, size, size
    info.extra = extra = struct.pack("<HHBl", 0x5455, 5, 1, member.modified)  # time in UTC
    local = info.FileHeader()  # with a zip64 field if the size requires it
    large = [size, size] if size > zipfile.ZIP64_LIMIT else []
    large += [offset] if offset >= MAX_32 else []
    if large:
        extra += struct.pack(f"<HH{len(large)}Q", 1, 8 * len(large), *large)
    mode = member.mode << 16 | 16 * stat.S_ISDIR(member.mode)  # 16: the DOS flag of a folder
    central = struct.pack("<4sH", b"PK\1\2", UNIX | 45) + local[4:28]
    central += struct.pack("<4H2L", len(extra), 0, 0, 0, mode, min(offset, MAX_32))
    return local, central + name + extra


def zip_name(name: str) -> bytes:
    """A name for a ZIP: "%FF" for a byte that is not UTF-8, "%5C" for a backslash.

    The names stay different, and Windows does not read a backslash as a separator.
    """
    text = re.sub(r"[\\\udc80-\udcff]", lambda match: f"%{ord(match[0]) & 255:02X}", name)
    return text.encode("utf-8", "replace")


def zip_end(count: int, size: int, start: int) -> bytes:
    """The end record of a ZIP whose central directory begins at `start` and has `size` bytes."""
    end = b""
    if count >= MAX_16 or max(size, start) >= MAX_32:
        fields = 44, UNIX | 45, 45, 0, 0, count, count, size, start
        end = struct.pack("<4sQ2H2L4Q", b"PK\6\6", *fields)
        end += struct.pack("<4sLQL", b"PK\6\7", 0, start + size, 1)
    count = min(count, MAX_16)
    last = 0, 0, count, count, min(size, MAX_32), min(start, MAX_32), 0
    return end + struct.pack("<4s4H2LH", b"PK\5\6", *last)


def crc32_of(content: Content) -> int:
    return functools.reduce(lambda crc, data: zlib.crc32(data, crc), read_body(content), 0)


def tar_content(members: Iterable[Member]) -> Iterator[Slice]:
    """A tar archive without user and group names and numbers."""
    for member in members:
        info = tarfile.TarInfo(member.name.rstrip("/"))
        info.type = {stat.S_IFDIR: b"5", stat.S_IFLNK: b"2"}.get(stat.S_IFMT(member.mode), b"0")
        info.mode, info.mtime = stat.S_IMODE(member.mode), member.modified
        info.size, info.linkname = length(member.content), member.target
        head = info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
        yield memory_slice(head)
        yield from member.content
        yield memory_slice(bytes(-info.size % 512))
    yield memory_slice(bytes(1024))


def gzip_blocks(content: Iterable[Slice]) -> Iterator[bytes]:
    """The content compressed by gzip, without a name or time in the header."""
    packer = zlib.compressobj(wbits=31)
    yield from filter(None, map(packer.compress, read_body(content)))
    yield packer.flush()


# 6  The wire --------------------------------------------------------------------------------------
#
#    Transport.send(request)     a stream for this host: an idle one, or a new one by the Connector
#       Connector.connect        resolve -> connect -> [proxy] -> [TLS]
#       Exchange.run             head by http.client, body in large steps, response by http.client
#
#    The states of a Stream.  Each thread has its own streams, one for each host and port.
#
#        +------------+  TLS ready   +------+  next request   +---------+
#        | connecting |------------->| idle |---------------->| sending |----+
#        +------------+              +------+                 +---------+    | host sends, or
#              |                      |   ^        all is sent  |            | the write fails
#              | fails                |   | complete            v            v
#              v                      |   |          +---------+  listens  +----------------+
#        +------------+   host closes |   +----------| reading |<----------| early response |
#        |   closed   |<--------------+              +---------+           +----------------+
#        +------------+<-------------------------------------+  cut short, late or not reusable
#
#    connecting      The Connector reads and writes: CONNECT or SOCKS5, then the handshake of TLS.
#                    It does not listen while it writes, because no response is possible yet.  If an
#                    address accepts the connection and then sends nothing, the next one is tried.
#    idle            The stream is unused.  Session tickets of TLS 1.3 may arrive.  Before the next
#                    request `is_reusable` reads once; data or the end of the stream means that the
#                    host has closed the connection.
#    sending         The Exchange writes, and listens before each write.  "100 Continue" is dropped.
#                    A write waits at most `idle_timeout`; each byte that leaves restarts that time.
#    early response  The host sent something or closed the connection, so writing stops at once: a
#                    host may send 413 and close, and that response must not be lost (urllib loses
#                    it).  After a failed write, too, a response is awaited, for up to 5 seconds.  A
#                    success is an error here; a refusal is returned.  Then the stream is closed,
#                    because the host may still expect the rest of the body.
#    reading         http.client reads through `makefile`.  The head must begin within
#                    `idle_timeout`, and all must arrive within twice that time; a download has more
#                    time, depending on its size.
#    closed          Final.  If the host closed an idle stream just when it was used again, an
#                    idempotent request without a body is sent again on a new stream.
#
#    In every state a stream raises TimeoutError at its `deadline`, and ConnectionAbortedError once
#    the Event `stop` is set.  Sockets never block; waits come in steps of TICK.
#
#    TLS works in memory (SSLObject): many records are sent by one system call, where SSLSocket
#    makes a call for each record of 16 KiB (1 GiB takes 0.65 of its time).  TLS within TLS (an
#    https proxy) is a second layer.


class EarlyResponse(Exception):
    """The host sent something, or closed the connection, while the request was being sent."""


def bracketed(host: str) -> str:
    """A host name or address as it is written in a URL: an IPv6 address in brackets."""
    return f"[{host}]" if ":" in host else host


class Proxy(NamedTuple):
    """The address of a proxy.

    `scheme` is http, https, socks5 (names are resolved here) or socks5h (names are resolved there).
    """

    scheme: str
    host: str
    port: int
    user: str = ""
    password: str = ""

    def __repr__(self) -> str:
        return f"{self.scheme}://{bracketed(self.host)}:{self.port}"

    def authorization(self) -> tuple[Header, ...]:
        if not (self.user or self.password):
            return ()
        return (("Proxy-Authorization", basic(self.user, self.password)),)


def basic(user: str, password: str) -> str:
    """The value of an Authorization header (RFC 7617)."""
    credentials = f"{user}:{password}".encode("utf-8", "surrogateescape")
    return "Basic " + base64.b64encode(credentials).decode()


PORTS = {"http": 80, "https": 443}
PROXY_PORTS = {**PORTS, "socks5": 1080, "socks5h": 1080}


def ascii_host(url: Any) -> str:
    """The host of a split URL, in IDNA; raises ValueError."""
    host = url.hostname or ""
    return host if host.isascii() else host.encode("idna").decode()


def parse_proxy(text: str) -> Proxy:
    """The proxy of a URL.

    Raises UsageError, whose message never repeats the text, because it may contain a password.
    """
    text = text if "://" in text else "http://" + text
    try:
        url = urllib.parse.urlsplit(text)
        host, port = ascii_host(url), url.port
        if not host or re.search(r"[]#/?[]", text.partition("://")[2].rpartition("@")[0]):
            raise ValueError
    except ValueError as error:
        encode = "in its password write # as %23, / as %2F, ? as %3F, [ as %5B, ] as %5D"
        raise UsageError(
            "invalid proxy URL (expected http://HOST:PORT)",
            phase="proxy",
            hint=encode if "@" in text else "",
        ) from error
    # Desktop environments use socks:// for a SOCKS5 proxy that resolves names itself.
    scheme = "socks5h" if url.scheme == "socks" else url.scheme
    if scheme not in PROXY_PORTS:
        supported = "http, https, socks5 or socks5h"
        message = f"unsupported proxy scheme {printable(scheme)!r} (use {supported})"
        raise UsageError(message, phase="proxy")
    user, password = (urllib.parse.unquote(secret or "") for secret in (url.username, url.password))
    return Proxy(scheme, host, port or PROXY_PORTS[scheme], user, password)


class Network(NamedTuple):
    """The network options of a Transport.  Times are seconds.

    `proxy` is for every host; `proxies` are those of the environment by scheme, with the hosts of
    NO_PROXY under "no".  `secrets` are values to mask in responses.
    """

    proxy: Optional[Proxy] = None
    proxies: Mapping[str, str] = {}
    cacert: Optional[str] = None
    insecure: bool = False
    ip_version: Optional[int] = None
    connect_timeout: float = 15.0
    idle_timeout: float = STALL
    max_time: Optional[float] = None
    limit_rate: Optional[int] = None
    secrets: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"<Network proxy={self.proxy!r} ip_version={self.ip_version}>"


class Target(NamedTuple):
    """The server and path of a URL; `ca_bundle` replaces the default certificates for this host."""

    scheme: str
    host: str
    port: int
    path: str
    ca_bundle: Optional[str] = None

    def netloc(self) -> str:
        host = bracketed(self.host)
        return host if self.port == PORTS.get(self.scheme) else f"{host}:{self.port}"


HOST_PATTERN = (
    r"([A-Za-z0-9_~-]{1,63}\.)*[A-Za-z0-9_~-]{1,63}\.?"
    r"|(?=.*:)[0-9A-Fa-f:.]{2,45}(%[A-Za-z0-9]{1,16})?"
)


@functools.lru_cache(maxsize=64)
def parse_target(url: str) -> Target:
    """The target of a URL; raises NoLink for an invalid one, and unless http, https or tcp."""
    try:
        parts = urllib.parse.urlsplit(url)
        host = ascii_host(parts)
        port = parts.port or PORTS.get(parts.scheme, 0)
    except ValueError as error:
        raise NoLink(f"invalid URL: {printable(redact_url(url))}", phase="link") from error
    valid = re.fullmatch(HOST_PATTERN, host) and len(host) <= 253
    if not valid or parts.scheme not in ("http", "https", "tcp"):
        raise NoLink(f"unsupported URL: {printable(redact_url(url))}", phase="link")
    path = (parts.path or "/") + ("?" + parts.query if parts.query else "")
    return Target(parts.scheme, host, port, iri_to_uri(path))


def base_url(url: str) -> str:
    """The URL of a server without a final slash: its host name in IDNA, its path in ASCII."""
    target = parse_target(url)
    return f"{target.scheme}://{target.netloc()}{target.path.partition('?')[0].rstrip('/')}"


def is_spared(target: Target, no_proxy: str) -> bool:
    """Whether NO_PROXY lists this host.

    An entry is a name, a parent domain, an address or a network, with or without a port.
    """
    host = target.host.rstrip(".")
    for entry in re.findall(r"[^\s,;]+", no_proxy.lower()):
        if entry == "*":
            return True
        name = re.sub(rf"(^[^:]*|\]):{target.port}$", r"\1", entry)
        name = re.sub(r"^\*?\.?|[][]|\.$", "", name)
        with contextlib.suppress(ValueError):  # not a name, or not a network
            if f".{host}".endswith("." + name.encode("idna").decode()):
                return True
            if ipaddress.ip_address(host) in ipaddress.ip_network(name, strict=False):
                return True
    return False


def parse_address(host: str) -> Any:
    """The IP address that a host of a URL stands for, or None if it is a name.

    Also reads "127.1", a single number, and an IPv4 address inside an IPv6 address.
    """
    host = host.partition("%")[0].rstrip(".")
    with contextlib.suppress(OSError, UnicodeError):
        return ipaddress.IPv4Address(socket.inet_aton(host))
    with contextlib.suppress(ValueError):
        address = ipaddress.IPv6Address(host)
        network = int(address) >> 32
        if network in (0, 0xFFFF, 0x64FF9B << 64) and int(address) > 1:
            return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        return address.sixtofour or address
    return None


def is_loopback(host: str) -> bool:
    return bool(re.fullmatch(r"localhost\.?|::1|(::ffff:)?127(\.[0-9]{1,3}){3}", host))


Sink = Callable[[bytes], object]
Receive = Callable[[int], bytes]  # returns up to N bytes; b"" at the end of the connection


class Tls:
    """One layer of TLS in memory; `receive` reads from the layer below, and never blocks."""

    def __init__(self, receive: Receive, context: Any, host: str) -> None:
        self.receive = receive
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.session = context.wrap_bio(self.incoming, self.outgoing, server_hostname=host)

    def encrypt(self, data: Any) -> bytes:
        """The TLS records for these bytes, after pending records of TLS itself."""
        view = memoryview(data)
        while view:
            view = view[self.session.write(view) :]
        return bytes(self.outgoing.read())

    def feed(self, data: bytes) -> None:
        """Add bytes from the layer below; b"" is the end of the connection."""
        if data:
            self.incoming.write(data)
        else:
            self.incoming.write_eof()

    def recv(self, size: int) -> bytes:
        while True:
            try:
                return bytes(self.session.read(size))
            except ssl.SSLWantReadError:
                self.feed(self.receive(256 * KiB))
            except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                return b""


def wait_ready(channels: Sequence[Any], read: bool, write: bool, seconds: float) -> list[Any]:
    """The channels that are readable, writable or in error; empty after the timeout.

    Uses poll() where it exists, because select() does not support descriptors above 1023.
    """
    events = (selectors.EVENT_READ if read else 0) | (selectors.EVENT_WRITE if write else 0)
    with getattr(selectors, "PollSelector", selectors.SelectSelector)() as selector:
        for channel in channels:
            selector.register(channel, events)
        return [key.fileobj for key, _ in selector.select(max(0, seconds))]


class Incoming(io.RawIOBase):
    """The bytes that a connection receives, as a file."""

    def __init__(self, receive: Receive) -> None:
        self.receive = receive

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self.receive(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def readall(self) -> bytes:
        """Raise an error: http.client reads without a limit only for a chunk of -1 bytes."""
        raise ValueError("a negative size")


INFORMATIONAL = rb"\A(HTTP/1\.[01] 1[0-9][0-9][^\n]*\n([^\r\n]+\r?\n)*\r?\n)+"


class Stream:
    """One connection that sends and listens at the same time; see the diagram of its states.

    Raises TimeoutError if nothing moves for `idle_timeout` seconds, and at `deadline`, which is a
    value of time.monotonic().
    """

    def __init__(self, sock: Any, idle_timeout: float, deadline: float, peer: Any = None) -> None:
        self.sock, self.peer = sock, peer
        self.idle_timeout, self.deadline = idle_timeout, deadline
        self.layers: list[Tls] = []  # the layer of a proxy comes before the layer of the host
        self.recv = sock.recv  # of the last layer
        self.proxy: Optional[Proxy] = None  # an HTTP proxy that forwards requests instead of bytes
        self.early_data = b""  # the part of the response that was received while sending
        self.listening = False  # whether to check for an early response before each write
        self.stop: Any = None  # a threading.Event

    def begin(self, idle_timeout: float, deadline: float, stop: Any) -> None:
        """Begin a request: set the time limits, and listen while sending."""
        self.idle_timeout, self.deadline, self.stop = idle_timeout, deadline, stop
        self.listening = True

    def check_time(self, idle_deadline: float) -> None:
        now = time.monotonic()
        if now >= self.deadline:
            raise TimeoutError("timed out")
        if now >= idle_deadline:
            raise TimeoutError(f"timed out (no data for {self.idle_timeout:.3g} s)")
        if self.stop and self.stop.is_set():
            raise ConnectionAbortedError(errno.ECONNABORTED, "stopped")

    def secure(self, context: Any, host: str) -> None:
        """Add a layer of TLS."""
        tls = Tls(self.recv, context, host)
        while True:
            try:
                tls.session.do_handshake()
                break
            except ssl.SSLWantReadError:
                self.sendall(tls.encrypt(b""))
                tls.feed(self.receive(256 * KiB))
            except ssl.SSLError:
                with contextlib.suppress(OSError):  # the alert tells the server why
                    self.sendall(tls.encrypt(b""))
                raise
        self.sendall(tls.encrypt(b""))
        self.layers.append(tls)
        self.recv = tls.recv

    def sendall(self, data: Any) -> None:
        """Send `data`, and pending records of TLS itself."""
        for tls in reversed(self.layers):
            data = tls.encrypt(data)
        view = memoryview(data)
        while view:
            view = view[self.when_ready(self.sock.send, view, write=True) :]

    def when_ready(self, act: Callable[[Any], Any], argument: Any, write: bool) -> Any:
        """Call `act` until it does not block, and return its result.

        While sending, only sent bytes restart the idle timeout: a host that repeats "100 Continue"
        but accepts no data is idle, too.
        """
        idle_deadline = time.monotonic() + self.idle_timeout
        while True:
            self.check_time(idle_deadline)
            if write and self.listening:
                self.check_early_response()
            try:
                return act(argument)
            except BlockingIOError:
                if not write:
                    self.sendall(b"")  # TLS may have to send something before it can read
                seconds = min(TICK, min(idle_deadline, self.deadline) - time.monotonic())
                read = self.listening or not write
                if wait_ready([self.sock], read, write, seconds) and not write:
                    idle_deadline = time.monotonic() + self.idle_timeout

    def check_early_response(self) -> None:
        """Raise EarlyResponse if the host sent something or closed; drop "100 Continue"."""
        try:
            data = self.recv(16 * KiB)
        except BlockingIOError:
            return
        self.early_data = re.sub(INFORMATIONAL, b"", self.early_data + data)
        incomplete = re.match(rb"HTTP/1\.[01] 1|\Z", self.early_data)
        if not data or not incomplete or len(self.early_data) > 64 * KiB:
            raise EarlyResponse

    def receive(self, size: int) -> bytes:
        """Up to `size` bytes as soon as there are some; b"" at the end of the connection."""
        if self.early_data:
            data, self.early_data = self.early_data[:size], self.early_data[size:]
            return data
        return self.when_ready(self.recv, size, write=False)  # type: ignore[no-any-return]

    def read_exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            more = self.receive(count - len(data))
            if not more:
                raise ConnectionResetError(errno.ECONNRESET, "proxy closed the connection")
            data += more
        return data

    def makefile(self, mode: str) -> Any:
        """A file to read from, for http.client."""
        return io.BufferedReader(Incoming(self.receive), 64 * KiB)

    def close(self) -> None:
        """Do nothing, because http.client closes the socket before the response is read."""

    def hang_up(self) -> None:
        self.sock.close()

    __del__ = hang_up  # the connections of a thread end with it

    def is_reusable(self) -> bool:
        """Whether an idle connection is open and received nothing except TLS session tickets."""
        try:
            self.early_data += self.recv(1)
        except OSError as error:
            return isinstance(error, BlockingIOError) and not self.early_data
        return False


def resolve(host: str, port: int, deadline: float, ip_version: Optional[int] = None) -> list[Any]:
    """The addresses of a host, as getaddrinfo returns them; raises OSError.

    Nothing can interrupt getaddrinfo, so it runs in a thread of its own.
    """
    results: queue.SimpleQueue[Any] = queue.SimpleQueue()
    family = {4: socket.AF_INET, 6: socket.AF_INET6}.get(ip_version or 0, socket.AF_UNSPEC)
    begun = time.monotonic()

    def look_up() -> None:
        try:
            # As bytes, because for text Python loads the tables of IDNA.
            results.put(socket.getaddrinfo(host.encode(), port, family, socket.SOCK_STREAM))
        except OSError as error:
            results.put(error)

    threading.Thread(target=look_up, daemon=True).start()
    try:
        addresses = results.get(timeout=max(min(deadline - begun, DNS_TIME), 0.001))
    except queue.Empty:
        raise TimeoutError("DNS lookup timed out") from None
    if isinstance(addresses, OSError):
        # The resolver reports its own timeouts as a temporary failure.
        if time.monotonic() - begun > DNS_TIME / 2 - 1:
            raise TimeoutError(local_reason(addresses)) from addresses
        raise addresses
    return list(addresses)


def connect_fastest(addresses: Sequence[Any], deadline: float) -> Any:
    """A socket for the first address that accepts a connection; raises OSError.

    The next address is tried when one fails or does not accept within 0.25 s (RFC 8305).
    """
    untried = list(addresses)
    waiting: list[Any] = []
    last_error: OSError = TimeoutError("timed out")
    try:
        while (untried or waiting) and time.monotonic() < deadline:
            if untried:
                try:
                    waiting.append(start_connecting(untried.pop(0)))
                except OSError as error:  # for example without IPv6 on this machine
                    last_error = error
                    continue
            seconds = deadline - time.monotonic()
            if untried:
                seconds = min(0.25, seconds)
            for sock in wait_ready(waiting, False, True, seconds):
                waiting.remove(sock)
                code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if not code:
                    return sock
                last_error = OSError(code, os.strerror(code))
                sock.close()
        raise last_error
    finally:
        for sock in waiting:
            sock.close()


def start_connecting(address: Any) -> Any:
    """A socket that is connecting to an address of getaddrinfo; raises OSError."""
    family, sock_type, protocol, _, sockaddr = address
    sock = socket.socket(family, sock_type, protocol)
    sock.setblocking(False)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        sock.connect(sockaddr)
    except BlockingIOError:
        pass
    except OSError:
        sock.close()
        raise
    return sock


BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian
    "/etc/pki/tls/certs/ca-bundle.crt",  # RHEL
    "/etc/ssl/ca-bundle.pem",  # SUSE
    "/etc/ssl/cert.pem",  # macOS and Alpine
)


def system_ca_bundle() -> Optional[str]:
    """The CA bundle of this machine, for a frozen program.

    Its OpenSSL looks for the bundle at the path of the build machine.
    """
    configured = {"SSL_CERT_FILE", "SSL_CERT_DIR"} & set(os.environ)
    if configured or sys.platform == "win32" or not getattr(sys, "frozen", False):
        return None
    return next(filter(os.path.isfile, BUNDLES), None)


CERTIFICATE_HINTS = {  # by X509_V_ERR_* of OpenSSL
    9: "check the clock of this machine",  # not yet valid
    10: "check the clock of this machine",  # expired
    62: "open a web page first: this network may require a sign-in",  # hostname mismatch
    64: "open a web page first: this network may require a sign-in",  # IP address mismatch
}


def missing_ca_hint() -> str:
    """The hint for an unknown issuer: how to set a CA bundle.

    OpenSSL ignores an SSL_CERT_FILE that does not exist.
    """
    configured = os.environ.get("SSL_CERT_FILE", "")
    if configured and not os.path.isfile(configured):
        return f"SSL_CERT_FILE: no such file: {printable(configured)}"
    for name in ("CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "AWS_CA_BUNDLE"):
        if os.path.isfile(os.environ.get(name, "")):
            return f"use --cacert {shlex.quote(printable(os.environ[name]))} ({name})"
    return "use --cacert FILE, or set SSL_CERT_FILE"


def tls_context(cacert: Optional[str], insecure: bool) -> Any:
    """An SSLContext with the certificates of `cacert`, or those of the system; raises UsageError.

    SSL_CERT_FILE replaces those of the system.
    """
    bundle = os.path.expanduser(cacert) if cacert else system_ca_bundle()
    try:
        context = ssl.create_default_context(cafile=bundle)
    except OSError as error:
        reason = local_reason(error)
        if isinstance(error, ssl.SSLError):
            reason = "no certificates in PEM format"
        message = f"CA bundle {printable(cacert or 'of the system')}: {reason}"
        raise UsageError(message, phase="tls") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # The flags of Python 3.13 for every version, but without X509_STRICT, which rejects the CAs of
    # many companies (no key identifier or usage).  0x80000 is VERIFY_X509_PARTIAL_CHAIN, which has
    # no name in Python 3.9: a trusted certificate need not be a root.
    context.verify_flags = (context.verify_flags & ~ssl.VERIFY_X509_STRICT) | 0x80000
    if insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


@contextlib.contextmanager
def translate_errors(phase: str, host: str, started: bool = False) -> Iterator[None]:
    """Translate the errors of sockets, TLS and http.client to UploadErrors of this phase."""
    try:
        yield
    except (OSError, http.client.HTTPException) as error:
        raise connection_error(error, phase, host, started) from error


def connection_error(error: Exception, phase: str, host: str, started: bool = False) -> UploadError:
    """Refused for an invalid certificate, else Unreachable.

    The failure of a proxy concerns every host (`everywhere`).
    """
    message, hint = error_message(error, started)
    if phase == "proxy":
        host = f"proxy: {host}"
        hint = hint or "check --proxy and *_PROXY"
    elif isinstance(error, ssl.SSLError):
        phase = "tls"
    invalid = isinstance(error, ssl.SSLCertVerificationError)
    error_class = Refused if invalid else Unreachable
    return error_class(
        f"{host}: {message}",
        phase=phase,
        started=started,
        everywhere=phase == "proxy",
        timed_out=isinstance(error, TimeoutError),
        hint=hint,
    )


HTTP_ERRORS = {
    "RemoteDisconnected": "closed the connection without a response",
    "IncompleteRead": "closed the connection before the response was complete",
}


def error_message(error: Any, started: bool) -> tuple[str, str]:
    """The fixed phrase for an error, and a hint."""
    if isinstance(error, ssl.SSLCertVerificationError):
        hint = CERTIFICATE_HINTS.get(error.verify_code) or missing_ca_hint()
        return f"certificate verification failed: {error.verify_message}", hint
    if isinstance(error, ssl.SSLError):
        if error.reason in ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE"):
            return "no TLS on this port", "did you mean http://?"
        return error.reason or str(error), ""
    if isinstance(error, TimeoutError):
        return error.args[0] if len(error.args) == 1 else "timed out", ""
    if isinstance(error, http.client.HTTPException):
        unknown = f"invalid HTTP response: {printable(repr(error), 80)}"
        return HTTP_ERRORS.get(type(error).__name__, unknown), ""
    reason = local_reason(error)
    return f"connection lost: {reason}" if started else reason, ""


def http_connection(stream: Stream, target: Target) -> Any:
    """An HTTPConnection that uses a stream."""
    connection = http.client.HTTPConnection(target.host, target.port)
    connection.sock = stream
    return connection


def send_head(connection: Any, method: str, url: str, headers: Iterable[Header]) -> None:
    connection.putrequest(method, url, skip_host=True, skip_accept_encoding=True)
    for name, value in headers:
        connection.putheader(name, value)
    connection.endheaders()


def tunnel(stream: Stream, target: Target, proxy: Proxy) -> None:
    """Send CONNECT; after that the proxy only relays bytes."""
    authority = f"{bracketed(target.host)}:{target.port}"
    headers = (("Host", authority), ("User-Agent", USER_AGENT), *proxy.authorization())
    connection = http_connection(stream, target)
    send_head(connection, "CONNECT", authority, headers)
    response = connection.getresponse()
    if response.status == 407:
        raise proxy_auth_error(proxy, response.headers)
    if response.status // 100 != 2:
        reason = printable(f"{response.status} {response.reason}")
        raise unreachable_by(proxy, target, reason, response.status)


def unreachable_by(
    proxy: Proxy, target: Target, reason: str, status: Optional[int] = None
) -> Unreachable:
    message = f"proxy {proxy!r}: could not reach {target.host}: {reason}"
    return Unreachable(message, phase="proxy", status=status)


def proxy_auth_error(proxy: Proxy, headers: Any = None) -> UploadError:
    """The error for a proxy that rejects the user and password, or requires them."""
    reason = "authentication failed" if proxy.user else "authentication required"
    hint = "use --proxy " + repr(proxy).replace("//", "//USER:PASSWORD@")
    schemes = ", ".join(headers.get_all("Proxy-Authenticate", ()) if headers else ())
    if schemes and "basic" not in schemes.lower():
        reason = f"unsupported authentication: {printable(schemes, 60)}"
        hint = "run a local proxy that signs in for you (cntlm or px), and use --proxy with its URL"
    message = f"proxy {proxy!r}: {reason}"
    return Refused(message, phase="proxy", status=407, everywhere=True, hint=hint)


SOCKS_REPLIES = (
    "",
    "general failure",
    "not allowed",
    "network unreachable",
    "host unreachable",
    "refused",
    "timed out",
)


def socks5_reply(stream: Stream, proxy: Proxy, count: int) -> bytes:
    """The first `count` bytes of a reply; raises Unreachable unless it begins with version 5."""
    reply = stream.read_exactly(count)
    if reply[0] != 5:
        raise Unreachable(f"{proxy!r}: not a SOCKS5 proxy", phase="proxy", everywhere=True)
    return reply


def socks5_login(stream: Stream, proxy: Proxy) -> None:
    """Agree on a method (RFC 1928), and send user and password (RFC 1929)."""
    stream.sendall(b"\x05\x02\x00\x02" if proxy.user else b"\x05\x01\x00")
    method = socks5_reply(stream, proxy, 2)[1]
    if method == 2 and proxy.user:
        login = b"\x01"
        for text in (proxy.user, proxy.password):
            field = text.encode("utf-8", "surrogateescape")[:255]
            login += bytes([len(field)]) + field
        stream.sendall(login)
        method = stream.read_exactly(2)[1]  # 0 is success
    if method:
        raise proxy_auth_error(proxy)


def socks5_connect(stream: Stream, target: Target, proxy: Proxy, address: bytes) -> None:
    """Let the proxy connect to `address`: the type and the address in the bytes of RFC 1928."""
    stream.sendall(b"\x05\x01\x00" + address + target.port.to_bytes(2, "big"))
    _, code, _, address_type = socks5_reply(stream, proxy, 4)
    if code:
        reason = SOCKS_REPLIES[code] if code < len(SOCKS_REPLIES) else f"error {code}"
        raise unreachable_by(proxy, target, reason)
    stream.read_exactly({1: 4, 4: 16}.get(address_type) or stream.read_exactly(1)[0])
    stream.read_exactly(2)


LINK_LOCAL = ("169.254.", "fe80:", "fd00:ec2:")


class Connector:
    """Opens connections; remembers addresses that accepted one and then sent nothing."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.tls = functools.cache(
            lambda bundle: tls_context(network.cacert or bundle, network.insecure)
        )
        if network.cacert:  # report an invalid file before anything is sent
            self.tls(None)
        self.silent: set[Any] = set()
        self.resolved = False  # whether any DNS lookup has succeeded

    def connect(self, target: Target, deadline: float) -> Stream:
        """A new connection: resolve, connect, then the proxy for this host, then TLS for https.

        If an address accepts the connection and then sends nothing, the next one is tried: where
        IPv6 loses large packets, the TLS handshake never ends.  Raises Unreachable, Refused or
        UsageError.
        """
        deadline = min(time.monotonic() + self.network.connect_timeout, deadline)
        if deadline <= time.monotonic():
            raise Unreachable("no time left to connect", phase="connect")
        proxy = self.proxy_for(target)
        server = proxy or target
        addresses = self.addresses_of(server, "proxy" if proxy else "dns", deadline)
        while True:
            with translate_errors("proxy" if proxy else "connect", server.host):
                sock = connect_fastest(addresses, deadline)
                peer = sock.getpeername()
            addresses = [address for address in addresses if address[4] != peer]
            patience = MUTE_TIME if addresses else self.network.connect_timeout
            stream = Stream(sock, patience, deadline, peer)
            try:
                self.negotiate(stream, target, proxy)
                return stream
            except Unreachable as error:
                stream.hang_up()
                if error.timed_out:
                    self.silent.add(peer)
                if not error.timed_out or not addresses or time.monotonic() >= deadline:
                    raise

    def addresses_of(self, server: Union[Proxy, Target], phase: str, deadline: float) -> list[Any]:
        """The addresses of a server; addresses that sent nothing before come last."""
        try:
            with translate_errors(phase, server.host):
                addresses = resolve(server.host, server.port, deadline, self.network.ip_version)
        except UploadError as error:
            # A name server that does not respond concerns every host.
            error.everywhere |= error.timed_out and not self.resolved
            raise
        self.resolved = True
        return sorted(addresses, key=lambda address: address[4] in self.silent)

    def negotiate(self, stream: Stream, target: Target, proxy: Optional[Proxy]) -> None:
        """Negotiate with the proxy and for TLS, until the stream is connected to the target."""
        if proxy:
            with translate_errors("proxy", repr(proxy)):
                self.negotiate_proxy(stream, target, proxy)
        if target.scheme == "https":
            with translate_errors("tls", target.host):
                stream.secure(self.tls(target.ca_bundle), target.host)

    def negotiate_proxy(self, stream: Stream, target: Target, proxy: Proxy) -> None:
        """Let the proxy relay bytes, or forward requests (an HTTP proxy for an http target)."""
        if proxy.scheme == "https":
            stream.secure(self.tls(None), proxy.host)
        address = b""
        if proxy.scheme not in PORTS:
            socks5_login(stream, proxy)
            address = self.socks5_address(target, proxy, stream.deadline)
        elif target.scheme == "http":
            stream.proxy = proxy
            return
        try:
            if address:
                socks5_connect(stream, target, proxy, address)
            else:
                tunnel(stream, target, proxy)
        except TimeoutError as error:  # the proxy works: the host behind it is silent
            host = f"{target.host} (through {proxy!r})"
            raise connection_error(error, "connect", host) from error

    def socks5_address(self, target: Target, proxy: Proxy, deadline: float) -> bytes:
        """Type and address of RFC 1928: the name for socks5h, the resolved address for socks5."""
        host = target.host
        if proxy.scheme == "socks5":
            host = self.addresses_of(target, "dns", deadline)[0][4][0]
        try:
            packed = ipaddress.ip_address(host).packed
        except ValueError:
            return b"\x03" + bytes([len(host)]) + host.encode()
        return (b"\x01" if len(packed) == 4 else b"\x04") + packed

    def proxy_for(self, target: Target) -> Optional[Proxy]:
        """The proxy for a host.

        --proxy is for every host; the proxies of the environment are not used for the hosts of
        NO_PROXY and for this machine.  A link-local address (where clouds serve credentials) is
        never requested through a proxy, because it would reach the metadata service of another
        machine.  Raises UsageError.
        """
        if target.host.startswith(LINK_LOCAL):
            return None
        if self.network.proxy or is_loopback(target.host):
            return self.network.proxy
        proxies = self.network.proxies
        scheme = "https" if target.scheme == "tcp" else target.scheme
        scheme = scheme if proxies.get(scheme) else "all"
        proxy = proxies.get(scheme)
        spared = is_spared(target, proxies.get("no", ""))
        if not proxy or spared or urllib.request.proxy_bypass(target.netloc()):
            return None
        with naming_setting(f"{scheme}_proxy".upper()):
            return parse_proxy(proxy)


def local_address(family: int, remote: str) -> str:
    """The address of this machine on the route to `remote`, or "".

    Nothing is sent: connecting a datagram socket only selects the interface.
    """
    with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.connect((remote, 9))
        return str(sock.getsockname()[0])
    return ""


def own_address() -> str:
    return local_address(socket.AF_INET, "192.0.2.1")  # TEST-NET-1, RFC 5737


def network_id(proxy: Optional[Proxy]) -> str:
    """An identifier of the network of this machine.

    It is a hash of the proxy and of the address of this machine, cut to a /24 or /64.
    """
    prefix = own_address().rpartition(".")[0]
    if not prefix:
        address = local_address(socket.AF_INET6, "2001:db8::1") or "::"
        prefix = ipaddress.ip_address(address).exploded[:19]
    return hashlib.sha256(f"{prefix} {proxy}".encode()).hexdigest()[:16]


class Limiter:
    """Limits all threads together to `rate` bytes a second; FOREVER means no limit."""

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self.free = time.monotonic()
        self.lock = threading.Lock()
        self.step = int(max(KiB, min(CHUNK, rate / 8)))

    def take(self, count: int, deadline: float) -> None:
        """Sleep until `count` more bytes may be sent, or until the deadline."""
        with self.lock:
            now = time.monotonic()
            self.free = max(self.free, now) + count / self.rate
            wake = min(self.free, deadline)
        if wake > now:
            time.sleep(wake - now)


Sent = Callable[[int], object]  # called with the number of bytes of the file that were sent


class Exchange:
    """One request and its response over one stream, which is idle again if `reusable`."""

    def __init__(
        self, stream: Stream, target: Target, request: Request, sent: Sent, limiter: Limiter
    ) -> None:
        self.stream, self.target, self.request = stream, target, request
        self.sent, self.limiter = sent, limiter
        self.connection = http_connection(stream, target)
        self.started = False  # a part of the body may have reached the host
        self.reusable = False

    def run(self) -> Response:
        """Send the request, and return the response; an early response only if it is a refusal."""
        has_http = self.target.scheme != "tcp"
        broken: Optional[UploadError] = None
        try:
            (self.send_http if has_http else self.send_raw)()
        except EarlyResponse:
            message = f"{self.target.host}: connection closed during upload"
            broken = Unreachable(message, phase="send", started=self.started)
        except (OSError, http.client.HTTPException) as error:
            broken = self.error("send", error)
            self.stream.idle_timeout = min(5.0, self.stream.idle_timeout)
        self.begin_reading()
        try:
            response = self.read_http() if has_http else self.read_raw()
        except (OSError, http.client.HTTPException) as error:
            raise broken or self.error("reply", error) from error
        if broken:
            self.reusable = False
            if response.status < 300:  # the host cannot have stored what it did not receive
                raise broken
        if self.stream.proxy and response.status == 407:
            raise proxy_auth_error(self.stream.proxy, response.headers)
        return response

    def error(self, phase: str, error: Exception) -> UploadError:
        return connection_error(error, phase, self.target.host, self.started)

    def send_raw(self) -> None:
        """Send the body without any head, and close the sending direction."""
        with contextlib.suppress(EarlyResponse):
            self.send_body()
            # Over TLS (an https proxy) a half-closed connection is not reliable; then termbin.com
            # waits for 5 s instead.
            if not self.stream.layers:
                self.stream.sock.shutdown(socket.SHUT_WR)

    def send_http(self) -> None:
        if self.request.auth:  # at the last moment: a signature expires after some minutes
            more = self.request.auth(self.request, time.time())
            self.request = self.request._replace(headers=(*self.request.headers, *more))
        request, target, proxy = self.request, self.target, self.stream.proxy
        headers = {
            "Host": target.netloc(),
            "User-Agent": USER_AGENT,
            "Accept": "*/*",
            "Accept-Encoding": "identity",
            **dict(request.headers),
            **dict(proxy.authorization() if proxy else ()),
        }
        if request.method not in ("GET", "HEAD"):
            headers["Content-Length"] = str(length(request.body))
        url = f"http://{target.netloc()}{target.path}" if proxy else target.path
        send_head(self.connection, request.method, url, headers.items())
        self.send_body()

    def send_body(self) -> None:
        """Send the body, and hash the file's content if the request has a hash."""
        self.started = bool(self.request.body)
        for piece in self.request.body:
            if isinstance(piece, bytes):
                self.stream.sendall(piece)
                continue
            for data in read_slice(piece, self.limiter.step):
                self.limiter.take(len(data), self.stream.deadline)
                if self.request.content_hash:
                    self.request.content_hash.update(data)
                self.stream.sendall(data)
                self.sent(len(data))

    def begin_reading(self) -> None:
        """Set the time limits for reading; a download may be as slow as 10 KiB/s."""
        stream, request = self.stream, self.request
        stream.listening = False
        slow = request.max_response / (10 * KiB) if request.sink else 0
        stream.idle_timeout = min(stream.idle_timeout, request.response_timeout or FOREVER)
        stream.deadline = min(stream.deadline, time.monotonic() + 2 * stream.idle_timeout + slow)

    def read_raw(self) -> Response:
        """The bytes that a host without HTTP sends before it closes."""
        data = self.stream.makefile("rb").read(self.request.max_response)
        return Response(200, {}, data, self.request.url)

    def read_http(self) -> Response:
        request = self.request
        chunks: list[bytes] = []
        response = self.connection.getresponse()
        while 101 < response.status < 200:  # such as early hints; http.client skips only 100
            response.headers = None
            response.begin()
        succeeded = response.status in (200, 206)
        sink = request.sink() if request.sink and succeeded else chunks.append
        limit = request.max_response
        if response.status >= 300:
            limit = max(limit, 64 * KiB)
        encoding = packing(response)
        size = None if encoding else response.length
        if encoding and not still_packed(response):
            sink = unpacking(sink, encoding, limit)
            limit = 2 * limit + SAMPLE
        complete = copy_body(response, sink, limit)
        self.reusable = complete and not response.will_close
        body = b"".join(chunks)
        return Response(response.status, response.headers, body, request.url, size=size)


def redact_secrets(request: Request, secrets: Iterable[str], body: bytes) -> bytes:
    """Mask `secrets` and those of the request, because some hosts repeat them in messages."""
    values = [*secrets, *request.secrets]
    for name, value in request.headers:
        if re.search("(authorization|token)$", name, re.I):
            scheme, _, secret = value.rpartition(" ")
            values.append(secret)
            if scheme == "Basic":
                credentials = base64.b64decode(secret).decode("utf-8", "replace")
                values.append(credentials.partition(":")[2])
    for spelling in itertools.chain(*map(encoded_spellings, values)):
        body = body.replace(spelling, b"***")
    return body


def encoded_spellings(secret: str) -> set[bytes]:
    """The forms of a secret in text, JSON (PHP escapes slashes), HTML and URLs; empty for ""."""
    spellings = {
        secret,
        secret.replace("/", "\\/"),
        html.escape(secret),
        urllib.parse.quote(secret, safe="", errors="replace"),
    }
    return {spelling.encode("utf-8", "surrogateescape") for spelling in spellings if spelling}


class Transport:
    """Sends requests: the only code that opens sockets.

    It can be used from several threads; each thread has its own connections.
    """

    def __init__(self, network: Network) -> None:
        self.network, self.connector = network, Connector(network)
        self.local = threading.local()
        self.limiter = Limiter(network.limit_rate or FOREVER)
        self.deadline = time.monotonic() + (network.max_time or FOREVER)

    def send(self, request: Request, sent: Sent = lambda count: None) -> Response:
        """Send a request, follow redirects, and return the last response.

        Raises Unreachable, SourceChanged, Unreadable, TimedOut, NoLink, and Refused if an upload is
        redirected.
        """
        for _ in range(MAX_REDIRECTS + 1):
            response = self.send_once(request, sent)
            onward = redirected(request, response)
            if not onward:
                return response
            request = onward
        message = f"too many redirects (over {MAX_REDIRECTS})"
        raise Refused(message, phase="reply", status=response.status)

    def send_once(self, request: Request, sent: Sent) -> Response:
        """Send a request without following redirects."""
        target = parse_target(request.url)._replace(ca_bundle=request.ca_bundle)
        limit = request.time_limit  # clean-up may take longer than --max-time
        deadline = time.monotonic() + limit if limit else self.deadline
        reused = self.has_connection(target)
        try:
            if not reused:
                self.adopt(target, self.connector.connect(target, deadline))
            stream = self.connections()[target[:3]]
            stream.begin(self.network.idle_timeout, deadline, request.stop)
            return self.exchange(stream, target, request, sent)
        except Unreachable as error:
            if self.time_left() <= 0:
                raise self.max_time_error(error) from error
            # The host closed an idle connection at the moment of its use.
            closed = reused and isinstance(error.__cause__, ConnectionError)
            if closed and request.idempotent and not request.body:
                return self.send_once(request, sent)
            raise

    def exchange(self, stream: Stream, target: Target, request: Request, sent: Sent) -> Response:
        exchange = Exchange(stream, target, request, sent, self.limiter)
        try:
            response = exchange.run()
        except Unreachable as error:
            if error.timed_out:
                self.connector.silent.add(stream.peer)
            raise
        finally:
            if not exchange.reusable:
                self.drop_connection(target)
        redact = functools.partial(redact_secrets, exchange.request, self.network.secrets)
        return response._replace(redact=redact)

    def time_left(self) -> float:
        """Seconds until --max-time is exceeded."""
        return self.deadline - time.monotonic()

    def max_time_error(self, error: UploadError) -> UploadError:
        message = f"--max-time exceeded ({self.network.max_time:g} s): {error}"
        return TimedOut(message, phase=error.phase, everywhere=True)

    def connections(self) -> dict[tuple[str, str, int], Stream]:
        """The connections of this thread, by scheme, host and port."""
        return vars(self.local).setdefault("streams", {})  # type: ignore[no-any-return]

    def has_connection(self, target: Target) -> bool:
        """Whether this thread has a connection to that host that is still open."""
        stream = self.connections().get(target[:3])
        if stream and not stream.is_reusable():
            self.drop_connection(target)
        return target[:3] in self.connections()

    def adopt(self, target: Target, stream: Stream) -> None:
        """Add a connection, which another thread may have opened, to those of this thread."""
        self.connections()[target[:3]] = stream

    def drop_connection(self, target: Target) -> None:
        self.connections().pop(target[:3]).hang_up()

    def close(self) -> None:
        """Close the connections of this thread."""
        while self.connections():
            self.connections().popitem()[1].hang_up()


def copy_body(response: Any, sink: Sink, limit: int) -> bool:
    """Copy up to `limit` bytes of a response to `sink`; returns False if more remain.

    Raises HTTPException for a truncated response.
    """
    left = limit
    while left:
        try:
            data = response.read(min(left, 256 * KiB))
        except ValueError as error:
            raise http.client.HTTPException("a chunk of a negative size") from error
        if not data:
            break
        left -= len(data)
        sink(data)
    if not left:
        return not response.length and not response.read(1)
    if response.length:  # Content-Length promised more
        raise http.client.IncompleteRead(b"", response.length)
    return True


UNPACKED = ("", "gzip", "x-gzip", "deflate")  # every Content-Encoding that the transport decodes


def packing(response: Any) -> str:
    """The Content-Encoding, "" for none; some hosts ignore the request for identity."""
    encoding = str(response.headers.get("Content-Encoding", "")).strip().lower()
    return "" if encoding == "identity" else encoding


def still_packed(response: Any) -> bool:
    """Whether the body stays encoded: a range of an encoded file cannot be decoded."""
    return packing(response) not in (("",) if response.status == 206 else UNPACKED)


def unpacking(sink: Sink, encoding: str, limit: int) -> Sink:
    """A sink that decodes gzip or deflate for `sink`.

    It decodes up to `limit` bytes, because a few bytes may expand to a gigabyte.
    """
    decoder: Any = None
    left = limit

    def unpack(data: bytes) -> None:
        nonlocal decoder, left
        if not decoder:
            # Some servers send deflate without the zlib header.
            headless = encoding == "deflate" and data[0] & 15 != 8
            decoder = zlib.decompressobj(-15 if headless else 47)
        block = data
        while block and left and not decoder.eof:
            try:
                block = decoder.decompress(data, min(left, CHUNK))
            except zlib.error as error:
                raise NoLink(f"invalid {encoding} data", phase="reply", started=True) from error
            sink(block)
            left -= len(block)
            data = decoder.unconsumed_tail

    return unpack


def redirected(request: Request, response: Response) -> Optional[Request]:
    """The request that follows a redirect, or None for any other response.

    Uploads do not follow redirects, because no host here requires it, and the user did not choose
    the new host.  Raises Refused for a redirected upload, NoLink for an invalid or insecure URL.
    """
    status, location = response.status, response.headers.get("Location")
    if not location or status not in (301, 302, 303, 307, 308):
        return None
    if status in request.accepted_statuses:
        return None
    # http.client decodes headers as Latin-1, and many servers send plain UTF-8.
    text = location.encode("latin-1", "replace").decode("utf-8", "surrogateescape")
    try:
        next_url = urllib.parse.urljoin(request.url, iri_to_uri(text))
    except ValueError as error:
        raise NoLink("invalid redirect URL", phase="reply", status=status) from error
    shown = printable(redact_url(next_url))
    if request.method not in ("GET", "HEAD"):
        message = f"unexpected redirect; uploads do not follow redirects: {shown}"
        raise Refused(message, phase="reply", status=status)
    old, new = parse_target(request.url), parse_target(next_url)
    if (old.scheme, new.scheme) == ("https", "http") or new.scheme == "tcp":
        raise NoLink(f"refused redirect to insecure URL {shown}", phase="proof")
    if old[:3] == new[:3]:
        return request._replace(url=next_url)
    # Other headers may contain secrets, for example the tokens of clouds.
    headers = tuple(header for header in request.headers if header[0] == "Range")
    return request._replace(url=next_url, headers=headers, auth=None)


# 7  Reading responses -----------------------------------------------------------------------------
#
#    A reader returns the part of a Response that should be the link; check_link verifies that it is
#    a URL of that host.


Reader = Callable[[Response], str]
BLANK = "\ufeff\0 \t\r\n"  # characters that hosts add around a link
SERVER_URL = r"https?://[^\s/?#@]+(/[^\s?#]*)?"  # without a query, a user or a password
URL_IN_TEXT = r"(?i)https?://[^\s\"'<>]+"


def body_text(response: Response) -> str:
    return response.text().strip(BLANK)


def json_of(response: Response) -> Any:
    """The JSON of a response; raises NoLink.

    Accepts a byte order mark or a PHP warning before it, and bytes that are not UTF-8 in it.
    """
    body = body_text(response)
    for start in (0, body.find('{"')):
        with contextlib.suppress(ValueError, RecursionError):
            return json.JSONDecoder().raw_decode(body[start:])[0]
    raise no_link(response)


def json_value(response: Response, *path: Union[str, int]) -> Any:
    """The value at this path of a JSON response; raises NoLink if the path does not exist."""
    value = json_of(response)
    for step in path:
        if isinstance(step, str):
            exists = isinstance(value, dict) and step in value
        else:
            exists = isinstance(value, list) and step < len(value)
        if not exists:
            raise no_link(response)
        value = value[step]
    return value


def json_at(*path: Union[str, int]) -> Reader:
    """A reader of the string or number at this path of a JSON response."""

    def read(response: Response) -> str:
        value = json_value(response, *path)
        string = str(value).strip(BLANK) if type(value) in (str, int) else ""
        return "" if re.search(UNSAFE_CHARACTER, string) else string

    return read


def sha256_at(response: Response, *path: Union[str, int]) -> Optional[str]:
    """The SHA-256 at this path of a JSON response, or None."""
    with contextlib.suppress(NoLink):
        digest = json_at(*path)(response).lower()
        return digest if re.fullmatch("[0-9a-f]{64}", digest) else None
    return None


def first_of(*readers: Reader) -> Reader:
    """A reader that returns the first result of `readers` that is not empty."""

    def read(response: Response) -> str:
        for reader in readers[:-1]:
            with contextlib.suppress(NoLink):
                value = reader(response)
                if value:
                    return value
        return readers[-1](response)

    return read


def without_query(reader: Reader) -> Reader:
    """A reader that quotes "?" and "#", for a host where they are parts of the file name."""
    return lambda response: re.sub(
        "[?#]", lambda match: quote_segment(match.group()), reader(response)
    )


def last_url(domain: str) -> Reader:
    """A reader of the last URL of this domain in a page."""
    pattern = rf"(?ai)https?://(?:[\w-]+\.)*{re.escape(domain)}(?::443)?/[^\s\"'<>]+"
    return lambda response: (re.findall(pattern, response.text()) or [""])[-1]


def error_text(response: Response) -> str:
    """The host's own message in one line: from JSON or XML, the title of a page, or its text."""
    message = response.redacted().text().strip()
    if message[:1] in ("{", "["):
        with contextlib.suppress(ValueError):  # an invalid escape
            message = json_message(message) or message
    # The query of a URL or a token may give access to a file.
    message = re.sub(r"\?[^\s\"'<>]{8,}", "?***", message)
    message = re.sub(r'("[a-z_]*token": *")[^"]+', r"\1***", message)
    title = re.search(r"<(?:title[^<>]*|Message)>([^<]+)</(?:title|Message)>", message, re.I)
    code = re.search("<Code>([^<]+)</Code>", message)  # Ceph sends no message
    message = (title or code or ["", message[:2000]])[1]
    if message[:1] in ("{", "[", "<"):
        message = re.sub(r"(?s)<(script|style)\b.*?</\1>|<[^>]*>|[][{}\"]", " ", message)
    subject = "Cloudflare challenge: " if is_challenge(response) else ""
    return subject + printable(" ".join(html.unescape(message).split()))


def is_challenge(response: Response) -> bool:
    """Whether this is a Cloudflare challenge, which only browsers can pass.

    Recognised by the header cf-mitigated (see its documentation) or by its page (2026-11).
    """
    page = r"<title>Just a moment|_cf_chl_opt|challenges\.cloudflare\.com/"
    return "cf-mitigated" in response.headers or bool(re.search(page, response.text(), re.I))


MESSAGE_NAMES = (
    "message error_summary error_description description detail msg reason error".split()
)


def json_message(text: str) -> str:
    """The error message in JSON, at any depth, by the names that hosts use for it."""
    for name in MESSAGE_NAMES:
        match = re.search(rf'"{name}"\s*:\s*("(?:[^"\\]|\\.)+")', text)
        if match:
            return str(json.loads(match[1], strict=False))
    return ""


def refusal_text(response: Response, name: str = "") -> str:
    """The status, the name of the error, and the host's message unless it only repeats them."""
    own, name = error_text(response), name or phrase(response.status)
    usual = f"{response.status} {name}".strip()
    return usual if own in ("", usual, name) else f"{usual}: {own}"


def phrase(status: int) -> str:
    try:
        return str(http.HTTPStatus(status).phrase)
    except ValueError:
        return ""


def no_link(response: Response, what: str = "") -> NoLink:
    if not what and response.body.strip():
        what = f'no link in the response: "{error_text(response)}"'
    status = f"{response.status} {phrase(response.status)}"
    message = f"{status}, but {what or 'an empty response'}"
    return NoLink(message, phase="reply", status=response.status, started=True)


def check_link(text: str, response: Response, *domains: str) -> str:
    """The link in the first line of a text.

    Raises NoLink if there is none, or if another line contains a URL of another host.
    """
    first, _, rest = text.strip(BLANK).partition("\n")
    link = own_url(first.rstrip(BLANK), response, domains)
    for url in re.findall(URL_IN_TEXT, rest):
        own_url(url, response, domains)
    if not re.search("//[^/]+/[^?#]", link):
        raise no_link(response)
    return link


def own_url(url: str, response: Response, domains: Sequence[str]) -> str:
    """The URL in the form that browsers request.

    Raises NoLink if its host is not in one of the domains or, without domains, is not the server
    that sent the response.
    """
    if re.match("/[^/]", url):
        url = urllib.parse.urljoin(response.url, url)
    match = re.match(r"(?i)https?://[^/?#@\\]+(?=[/?#]|$)", url)
    # Unicode spaces are encoded below, but a host name must not contain one.
    unsafe = not match or not match.group().isprintable() or re.search(UNSAFE_CHARACTER, url)
    if not match or unsafe or len(url) > 2048:
        raise no_link(response)
    target, server = parse_target(match.group()), parse_target(response.url)
    host = comparable(target.host)
    if domains:
        on_domain = any(f".{host}".endswith(f".{domain}") for domain in domains)
        fits = on_domain and target.port in (443, PORTS[target.scheme])
        base, expected = f"https://{host}", domains[0]
    else:
        fits = host == comparable(server.host)
        # A server behind a TLS proxy may return http links.
        base = base_url(match.group()) if target.scheme == "https" else response.url
        expected = f"{server.netloc()} (does its proxy pass the Host header?)"
    if not fits:
        raise no_link(response, f"link points to {target.netloc()}, not {expected}")
    path = re.sub("%(?![0-9A-Fa-f]{2})", "%25", url[match.end() :])
    return urllib.parse.urljoin(base, "/." + re.sub("(?i)%2e", ".", iri_to_uri(path)))


def comparable(host: str) -> str:
    """A host name or an address in normal form, for comparisons."""
    with contextlib.suppress(ValueError):
        return str(ipaddress.ip_address(host))
    return host.lower().rstrip(".")


def link_reader(reader: Reader, *domains: str) -> Callable[[Response], Link]:
    return lambda response: Link(check_link(reader(response), response, *domains))


def empty_means_busy(response: Response) -> Optional[UploadError]:
    """Busy for a 200 with an empty body, which catbox sends when it is overloaded.
    Evidence: ShareX#8376 (2026-02-03) and #8410 (2026-05-31).
    """
    if response.status == 200 and not response.body.strip():
        return Busy("200 OK, but an empty response", phase="reply", status=200, started=True)
    return None


def requested_delay(response: Response) -> Optional[float]:
    """Seconds to wait, from Retry-After or from JSON.

    Dropbox sends retry_after, storage.to sends resets_in_seconds.
    """
    seconds = parse_retry_after(response.headers.get("Retry-After"), time.time())
    match = re.search(r'"(?:retry_after|resets_in_seconds)": *([0-9]{1,6})\b', response.text())
    if seconds is None and match:
        return float(match[1])
    return seconds


# 8  Hosts that take one request -------------------------------------------------------------------
#
#    form(...) and put(...) make a row of the table of hosts from its specific parts: the request,
#    the reader of the response, and the facts.


class Retention(NamedTuple):
    """How long a host keeps a file, in seconds.

    `default_ttl` may depend on the size; None: unknown.
    """

    default_ttl: Union[float, None, Callable[[int], float]]
    choices: Sequence[int] = ()  # accepted by --expire, ascending
    setting: str = ""  # environment variable that replaces `default_ttl`


class Limits(NamedTuple):
    """The files that a host accepts; sizes in bytes."""

    max_size: Optional[int] = None
    by_extension: Mapping[str, int] = {}  # lower max sizes
    blocked: tuple[str, ...] = ()  # extensions; * stands for anything
    text_only: bool = False
    empty: bool = False  # files of 0 bytes are accepted
    overhead: int = 0  # bytes of the request around the file, which count for max_size


class Setup(NamedTuple):
    """The settings of a host: names of environment variables, and functions of their values."""

    required: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    secret: tuple[str, ...] = ()  # never shown
    account: str = ""  # the setting that helps when the host rejects anonymous uploads
    check: Optional[Callable[[Mapping[str, str]], str]] = None  # returns the problem, or ""
    # Returns a condition that only an upload can verify, or "".
    warning: Optional[Callable[[Mapping[str, str]], str]] = None
    ca_bundle: Callable[[Mapping[str, str]], Optional[str]] = lambda settings: None
    help: str = ""


class Sample(NamedTuple):
    """A recorded response of a host, and the URL that must be read from it."""

    body: str
    url: str
    headers: tuple[Header, ...] = ()
    request_url: str = ""  # if the reader uses it


class Evidence(NamedTuple):
    """The newest proof that a row is correct: its date (ISO 8601), source, and a response."""

    checked: str = ""
    source: str = ""
    sample: Optional[Sample] = None
    read: Optional[Callable[[Response], Link]] = None  # the row's reader, for the sample


class Provider(NamedTuple):
    """A host: how to upload to it, and the facts for objections, tables, help and README.

    `use`: "default" (in the default chain), "opt-in" (only if named), "own" (your own storage: once
    set up, it is the whole chain).  `single_use`: whether a link ends with its first download:
    "no", "always", or "on request" (--once).
    """

    id: str
    domain: str
    upload: Callable[[Source, UploadOptions, Send], Link]
    retention: Union[Retention, Callable[[UploadOptions], Retention]]
    use: str = "opt-in"
    limits: Limits = Limits()
    single_use: str = "no"
    supports: tuple[str, ...] = ()  # of remote_path, force and public
    serves_file: bool = True  # a GET of the link returns the file itself, not a page
    # Requests the SHA-256 of the stored file from the host.
    lookup: Optional[Callable[[Link, Source, UploadOptions, Send], Link]] = None
    setup: Setup = Setup()
    disabled: str = ""  # why uploads are impossible
    note: str = ""
    evidence: Evidence = Evidence()
    # Raises UsageError if this file cannot be uploaded with these options.
    check: Optional[Callable[[Source, UploadOptions], object]] = None
    # Deletes an upload if `delete_by_url` is not enough.  Returns the link that must be gone now.
    delete: Optional[Callable[[Link, UploadOptions, Send], Link]] = None


GONE = (404, 410)


def delete_request(url: str, *headers: Header) -> Request:
    return Request("DELETE", url, headers, idempotent=True, accepted_statuses=GONE)


def delete_by_url(link: Link, send: Send) -> None:
    """Delete an upload by DELETE on a URL, or by opening a page."""
    page = Request("GET", link.delete_page or link.url, accepted_statuses=GONE)
    send(delete_request(link.delete) if link.delete else page)


def post_form(url: str, fields: Mapping[str, str], **more: Any) -> Request:
    content_type = ("Content-Type", "application/x-www-form-urlencoded")
    body = urllib.parse.urlencode(fields).encode()
    return Request("POST", url, (content_type,), (body,), idempotent=True, **more)


def retention_for(provider: Provider, options: UploadOptions) -> Retention:
    return provider.retention(options) if callable(provider.retention) else provider.retention


def choose_lifetime(retention: Retention, size: int, options: UploadOptions) -> Optional[float]:
    """The seconds for which the host will keep a file of `size` bytes; None if unknown.

    --expire selects the nearest choice by ratio, which must be within a factor of 2; a fixed
    lifetime counts as a choice, too.  --keep is a minimum.  Raises Unsuitable if no choice fits,
    NotConfigured for an invalid setting.
    """
    ttl = retention.default_ttl(size) if callable(retention.default_ttl) else retention.default_ttl
    if retention.setting and options.settings.get(retention.setting):
        ttl = retention_from_setting(retention, options.settings[retention.setting])
    keep, expire, choices = options.keep or 0, options.expire, retention.choices
    if not expire and (not keep or (ttl and ttl >= keep)):
        return ttl
    at_least = bisect.bisect_left(choices, keep)
    near = bisect.bisect_left(choices, expire or keep)
    fitting: list[float] = [*choices[max(at_least, near - 1) : near + 1]]
    if expire and ttl and ttl >= keep:
        fitting.append(ttl)
    if not fitting:
        raise Unsuitable(too_short(ttl, choices), phase="wish")
    if not expire:
        return fitting[0]
    nearest = min(fitting, key=lambda choice: (distance(choice, expire), choice))
    if distance(nearest, expire) <= 2:
        return nearest
    if choices:
        hint = f"use --expire {short_duration(nearest)}"
        raise Unsuitable(f"closest expiry is {duration(nearest)}", phase="wish", hint=hint)
    reason = "files never expire" if ttl == FOREVER else f"expiry is fixed at {duration(ttl)}"
    raise Unsuitable(reason, phase="wish")


def lifetime(provider: Provider, size: int, options: UploadOptions) -> Optional[float]:
    """`choose_lifetime` for a host."""
    return choose_lifetime(retention_for(provider, options), size, options)


def distance(ttl: float, wish: float) -> float:
    """The ratio of two lifetimes, 1 or more."""
    return max(ttl / wish, wish / ttl)


def too_short(ttl: Optional[float], choices: Sequence[int]) -> str:
    if choices:
        return f"maximum expiry is {duration(choices[-1])}"
    return f"expiry is fixed at {duration(ttl)}" if ttl else "expiry is unknown"


def retention_from_setting(retention: Retention, value: str) -> int:
    seconds = parse_duration(value)
    if seconds in retention.choices:
        return int(seconds or 0)
    allowed = ", ".join(f"{choice // HOUR}h" for choice in retention.choices)
    message = f"{retention.setting}: invalid value {printable(value)!r} (choose from {allowed})"
    raise NotConfigured(message, phase="wish")


def numbered_parts(etags: Iterable[str]) -> list[dict[str, Any]]:
    """The parts of a file, as storage.to and fal expect them in the last request."""
    return [{"partNumber": number, "etag": etag} for number, etag in enumerate(etags, 1)]


def header_value(text: str, response: Response) -> str:
    """A value from a response, after the check that it can be sent in a header."""
    if not text or not text.isascii() or not text.isprintable():
        raise no_link(response)
    return text


def missing_setting(name: str, settings: Mapping[str, str]) -> str:
    return f"{name} is empty" if name in settings else f"{name} is not set"


Pairs = tuple[tuple[str, str], ...]
# Form fields or headers for this lifetime (seconds, None if unknown) and these options.
Extra = Callable[[Optional[float], UploadOptions], Pairs]


def no_fields(ttl: Optional[float], options: UploadOptions) -> Pairs:
    return ()


def one_request(
    id: str,
    domain: str,
    build: Callable[[Source, UploadOptions, Optional[float]], Request],
    read: Callable[[Response], Link],
    *,
    evidence: Evidence = Evidence(),
    delete_with: Optional[Callable[[Link, UploadOptions], Mapping[str, str]]] = None,
    **facts: Any,
) -> Provider:
    """A host that returns the link in the response to one request.

    `build` makes the request from the source, the options and the lifetime; `delete_with` what
    deleting needs, if the response does not contain it.
    """

    def upload(source: Source, options: UploadOptions, send: Send) -> Link:
        ttl = lifetime(row, source.size, options)
        request = build(source, options, ttl)
        request = request._replace(error_reader=request.error_reader or empty_means_busy)
        link = read(send(request))
        return link._replace(delete_with=delete_with(link, options)) if delete_with else link

    row = Provider(id, domain, upload, evidence=evidence._replace(read=read), **facts)
    return row


def form(
    id: str,
    domain: str,
    endpoint: str,
    file_field: str,
    *,
    read: Optional[Callable[[Response], Link]] = None,
    fields: Extra = no_fields,
    rename: Callable[[str], str] = str,
    error_reader: ErrorReader = None,
    limits: Limits = Limits(),
    **facts: Any,
) -> Provider:
    """A host that accepts a multipart form; by default the response is the plain link.

    Fields without a value are omitted.
    """

    def build(source: Source, options: UploadOptions, ttl: Optional[float]) -> Request:
        extra = [field for field in fields(ttl, options) if field[1]]
        content_type, body = multipart(extra, file_field, source._replace(name=rename(source.name)))
        headers = (("Content-Type", content_type),)
        return Request("POST", endpoint, headers, body, error_reader=error_reader)

    read = read or link_reader(body_text, domain)
    return one_request(id, domain, build, read, limits=limits._replace(overhead=2 * KiB), **facts)


def put(
    id: str,
    domain: str,
    endpoint: Callable[[Source], str],
    *,
    read: Callable[[Response], Link],
    headers: Extra = no_fields,
    error_reader: ErrorReader = None,
    charset: bool = False,
    **facts: Any,
) -> Provider:
    """A host that accepts the plain bytes at the URL that `endpoint` returns.

    `charset`: add a charset to the Content-Type, because the host serves it unchanged.
    """

    def build(source: Source, options: UploadOptions, ttl: Optional[float]) -> Request:
        value = type_with_charset(source.name, source.body) if charset else guess_type(source.name)
        extra = (("Content-Type", value),) + headers(ttl, options)
        return Request("PUT", endpoint(source), extra, source.body, error_reader=error_reader)

    return one_request(id, domain, build, read, **facts)


def pomf(id: str, domain: str, endpoint: str, **facts: Any) -> Provider:
    """A host with the API of pomf and Uguu: the field `files[]`, and JSON with the URL."""
    read = link_reader(json_at("files", 0, "url"), domain)
    return form(id, domain, endpoint, "files[]", read=read, error_reader=pomf_error, **facts)


def busy_error(response: Response, retry_after: Optional[float]) -> Busy:
    return Busy(
        f"{response.status}: {error_text(response)}",
        phase="reply",
        status=response.status,
        started=True,
        retry_after=retry_after,
    )


def pomf_error(response: Response) -> Optional[UploadError]:
    """The rate limit of Uguu: a 500 with "please wait N seconds" (Uguu 1.9.8, 2025-10-03)."""
    if response.status == 500:
        delay = re.search(r"wait ([0-9]{1,4}) sec", response.text())
        return busy_error(response, float(delay[1]) if delay else None)
    return empty_means_busy(response)


# -- catbox and litterbox


def catbox_fields(ttl: Optional[float], options: UploadOptions) -> Pairs:
    return (
        ("reqtype", "fileupload"),
        ("userhash", options.settings.get("CATBOX_USERHASH", "")),
    )


def catbox_retention(options: UploadOptions) -> Retention:
    """Forever with an account; since 2026-07-06 two years after the last download without one."""
    return Retention(FOREVER if options.settings.get("CATBOX_USERHASH") else 2 * YEAR)


def catbox_error(response: Response) -> Optional[UploadError]:
    """Anonymous uploads are sometimes paused, with any status (SpotCompiled#82, 2025-08-24)."""
    if re.search("uploads are [a-z ]*paused", response.text(), re.I):
        return busy_error(response, HOUR)
    return empty_means_busy(response)


def catbox_delete_with(link: Link, options: UploadOptions) -> Mapping[str, str]:
    """The stored name; empty for an anonymous upload, which cannot be deleted."""
    with_account = options.settings.get("CATBOX_USERHASH")
    return {"file": link.url.rpartition("/")[2]} if with_account else {}


def catbox_delete(link: Link, options: UploadOptions, send: Send) -> Link:
    """Delete a file of the account (catbox.moe/tools.php)."""
    userhash = options.settings.get("CATBOX_USERHASH")
    if not userhash:
        reason = missing_setting("CATBOX_USERHASH", options.settings)
        raise NotConfigured(reason, phase="setup")
    fields = {"reqtype": "deletefiles", "userhash": userhash, "files": link.delete_with["file"]}
    send(post_form("https://catbox.moe/user/api.php", fields))
    return link


# -- x0.at and 0x0.st


def x0at_ttl(size: int) -> float:
    """3 to 100 days (index.php).

    Computed with the smaller of the two known size limits, so that the result is never too long.
    """
    return 3 * DAY + 97 * DAY * (1 - min(size / (100 * MiB), 1)) ** 2


def null_ttl(size: int) -> float:
    """30 days to a year (fhost.py)."""
    return 30 * DAY - 335 * DAY * (min(size / (512 * MiB), 1) - 1) ** 3


def null_fields(ttl: Optional[float], options: UploadOptions) -> Pairs:
    return (("expires", str(int(ttl // HOUR))),) if ttl and ttl <= 30 * DAY else ()


def null_read(response: Response) -> Link:
    """The link, its expiry (sent in milliseconds) and, for a new file, the token to delete it.

    mia-0/0x0 fhost.py, 2024-03-30.
    """
    link = link_reader(body_text, "0x0.st")(response)
    token = printable(response.headers.get("X-Token", ""))
    command = f"delete with: curl -F token={token} -F delete= {link.url}"
    expires = parse_number(response.headers.get("X-Expires", "")[:13])
    if token:
        link = link._replace(warning=command, delete_with={"token": token})
    return link._replace(expires=expires / 1000 if expires else None)


def null_delete(link: Link, options: UploadOptions, send: Send) -> Link:
    send(post_form(link.url, {**link.delete_with, "delete": ""}, accepted_statuses=GONE))
    return link


# -- tmpfiles.org


def tmpfilesorg_link(response: Response) -> str:
    """The link of the file, which is under /dl/; the URL in the response is a page.

    tmpfiles.org/api, 2026-10-07; http URLs become https.
    """
    url = without_query(json_at("data", "url"))(response)
    return re.sub("^([A-Za-z]+://[^/]*)/(?!dl/)", r"\1/dl/", url)


# -- filebin


def filebin_read(response: Response) -> Link:
    """The link, which contains the stored name: the host may have changed the name."""
    base, _, _ = response.url.rpartition("/")
    name = json_at("file", "filename")(response)
    if not name or json_at("bin", "id")(response) != base.rpartition("/")[2]:
        raise no_link(response)
    url = check_link(f"{base}/{quote_segment(name)}", response, "filebin.net")
    return Link(url, delete=url)


def filebin_lookup(link: Link, source: Source, options: UploadOptions, send: Send) -> Link:
    """Read the SHA-256 from the public JSON of the bin (filebin2 http_bin.go, 2026-06-08)."""
    base, _, name = link.url.rpartition("/")
    listed = send(Request("GET", base, (("Accept", "application/json"),), idempotent=True))
    if quote_segment(json_at("files", 0, "filename")(listed)) != name:
        raise no_link(listed, "another file in the bin")
    return link._replace(host_sha256=sha256_at(listed, "files", 0, "sha256"))


# -- bashupload.app


def bashupload_headers(ttl: Optional[float], options: UploadOptions) -> Pairs:
    """The header for the expiry; without it the link ends with the first download."""
    return () if options.once else (("X-Expiration-Seconds", str(int(ttl or DAY))),)


def bashupload_retention(options: UploadOptions) -> Retention:
    return Retention(HOUR, (HOUR,)) if options.once else Retention(DAY, range(MINUTE, DAY + 1))


# -- termbin


def termbin(source: Source, options: UploadOptions, ttl: Optional[float]) -> Request:
    return Request("POST", "tcp://termbin.com:9999", body=source.body)


# -- pixeldrain


def pixeldrain_key(ttl: Optional[float], options: UploadOptions) -> Pairs:
    return (("Authorization", basic("", options.settings["PIXELDRAIN_KEY"])),)


def pixeldrain_delete(link: Link, options: UploadOptions, send: Send) -> Link:
    send(delete_request(link.delete or link.url, *pixeldrain_key(None, options)))
    return link


def pixeldrain_lookup(link: Link, source: Source, options: UploadOptions, send: Send) -> Link:
    """Read the SHA-256 from the host, because popular links of a free account show a captcha."""
    with contextlib.suppress(Refused, NoLink, RetryableError):
        key = pixeldrain_key(None, options)
        info = send(Request("GET", link.url + "/info", key, idempotent=True))
        return link._replace(host_sha256=sha256_at(info, "hash_sha256"))
    return link


def pixeldrain_read(response: Response) -> Link:
    file_id = quote_segment(header_value(json_at("id")(response), response))
    url = check_link(f"https://pixeldrain.com/api/file/{file_id}", response, "pixeldrain.com")
    denied = "a free account's link may show a captcha; without --verify full its hash is compared"
    return Link(url, delete=url, denied=denied)


# -- servers of the transfer.sh protocol


TRANSFERSH_RETENTION = Retention(None, range(DAY, 366 * DAY, DAY))


def transfersh(base: str, id: str = "") -> Provider:
    """A server at the URL `base`, whose user and password become Basic authorization.

    The body of a response is the URL without a newline, X-Url-Delete is the URL for deleting, and
    both may begin with http:// behind an https proxy (dutchcoders/transfer.sh server/handlers.go,
    2026-06-13).  Raises UsageError.
    """
    try:
        parts = urllib.parse.urlsplit(base)
        root = base_url(base)
        if parts.query or parts.fragment:
            raise ValueError("a query is not sent")
        user = urllib.parse.unquote(parts.username or "")
        password = urllib.parse.unquote(parts.password or "")
    except (ValueError, NoLink) as error:
        # Does not repeat the URL, which may contain a password.
        message = "invalid server URL (expected https://USER:PASSWORD@HOST:PORT/)"
        raise UsageError(message) from error
    authority = root.partition("://")[2]
    auth_headers = (("Authorization", basic(user, password)),) if user or password else ()

    def endpoint(source: Source) -> str:
        # The server adds ".metadata" to the name (server/storage/local.go).
        return f"{root}/{quote_segment(safe_name(source.name, MAX_NAME - 9))}"

    def headers(ttl: Optional[float], options: UploadOptions) -> Pairs:
        days = (("Max-Days", str(int(ttl // DAY))),) if ttl else ()
        downloads = (("Max-Downloads", "1"),) if options.once else ()
        return auth_headers + days + downloads

    return put(
        id or authority,
        authority.partition("/")[0],
        endpoint,
        read=transfersh_read,
        retention=TRANSFERSH_RETENTION,
        headers=headers,
        single_use="on request",
        error_reader=stored_only,
    )


def stored_only(response: Response) -> Optional[UploadError]:
    """NoLink with a hint for a server that stores the file without returning a link.

    WebDAV and plain PUT servers return nothing or a page.
    """
    status, body = response.status, response.body.strip()
    if status not in (200, 201, 204) or (body and (status == 200 or body[:1] != b"<")):
        return None
    hint = f"-p URL expects a transfer.sh server; try {printable(response.url)}"
    reason = "stored, but no link in the response"
    return NoLink(reason, phase="reply", status=status, started=True, hint=hint)


def transfersh_read(response: Response) -> Link:
    link = link_reader(body_text)(response)
    with contextlib.suppress(NoLink):
        return link._replace(delete=check_link(response.headers.get("X-Url-Delete", ""), response))
    return link


def transfersh_missing(settings: Mapping[str, str]) -> str:
    base = settings.get("TWAT_FS_TRANSFERSH_URL")
    if not base:
        return missing_setting("TWAT_FS_TRANSFERSH_URL", settings)
    try:
        transfersh(base)
    except UsageError as error:
        return f"TWAT_FS_TRANSFERSH_URL: {error}"
    return ""


def transfersh_from_settings(source: Source, options: UploadOptions, send: Send) -> Link:
    base = options.settings["TWAT_FS_TRANSFERSH_URL"]
    return transfersh(base, "transfersh").upload(source, options, send)


# 9  Hosts that take several requests --------------------------------------------------------------
#
#    Plain functions (source, options, send) -> Link.  The parts of a large file are sent in
#    parallel; if one of them fails finally, or on Ctrl-C, the others stop.


class Cancellation(NamedTuple):
    """Signals that the caller of `parallel` has given up.

    `stop` is set then; `aborting` are the threads that must still abort their multipart uploads.
    """

    stop: Any
    aborting: list[Any]


def cancellation() -> Cancellation:
    """The Cancellation of the jobs to which this thread belongs."""
    return getattr(threading.current_thread(), "cancellation", Cancellation(None, []))


def parallel(
    jobs: Sequence[Callable[[], Any]], workers: int, stop: Any = None
) -> Iterator[tuple[int, Any]]:
    """Yield the index and result of each job as it ends; the first error stops all jobs.

    The threads are daemons, so Ctrl-C waits for them only until multipart uploads are aborted.
    """
    if workers < 2 or len(jobs) < 2:
        yield from ((index, job()) for index, job in enumerate(jobs))
        return
    own = Cancellation(stop or threading.Event(), [])
    parent = cancellation()
    if parent.stop:
        parent.aborting.append(threading.current_thread())
    todo = list(enumerate(jobs))
    ended: Any = queue.SimpleQueue()
    threads = [
        threading.Thread(target=worker, args=(todo, ended, own), daemon=True)
        for _ in range(min(workers, len(jobs)))
    ]
    try:
        for thread in threads:
            thread.start()
        for _ in jobs:
            index, result, error = wait_for_result(ended, parent.stop)
            if error:
                raise error
            yield index, result
    finally:
        todo.clear()
        own.stop.set()
        join(threads, 0.5)  # a running job closes its connection at once
        join(own.aborting, 5.0)


def worker(todo: list[tuple[int, Callable[[], Any]]], ended: Any, own: Cancellation) -> None:
    """Run jobs until none is left, and pass their results and errors to the waiting thread."""
    thread: Any = threading.current_thread()
    thread.cancellation = own
    with contextlib.suppress(IndexError):
        while True:
            index, job = todo.pop(0)
            try:
                ended.put((index, job(), None))
            except BaseException as error:
                ended.put((index, None, error))


def wait_for_result(results: Any, stop: Any, seconds: float = FOREVER) -> Any:
    """The next result, or None after `seconds`; raises KeyboardInterrupt once `stop` is set."""
    until = time.monotonic() + seconds
    while not (stop and stop.is_set()):
        with contextlib.suppress(queue.Empty):  # on Windows an endless wait ignores Ctrl-C
            return results.get(timeout=max(0, min(TICK, until - time.monotonic())))
        if time.monotonic() >= until:
            return None
    raise KeyboardInterrupt


def join(threads: Iterable[Any], seconds: float) -> None:
    until = time.monotonic() + seconds
    for thread in threads:
        thread.join(max(0.0, until - time.monotonic()))


def send_parts(requests: Sequence[Request], send: Send, workers: int) -> list[Response]:
    """Send the parts of a file in parallel; returns the responses in the order of the parts."""
    stop = threading.Event()
    jobs = [
        functools.partial(send, request._replace(stop=stop, idempotent=True))
        for request in requests
    ]
    results = sorted(parallel(jobs, workers, stop), key=lambda result: result[0])
    return [response for _, response in results]


def object_key(source: Source, options: UploadOptions, folder: str = "") -> str:
    """The path of the file in storage with folders.

    --remote-path is a folder if it ends with a slash, else the full path.
    """
    path = folder if options.remote_path is None else options.remote_path
    if not path or path.endswith("/"):
        return path + source.name
    parent, slash, name = path.rpartition("/")
    return parent + slash + (new_name(name) if options.unique else name)


def post_json(url: str, value: Any, *headers: Header, **more: Any) -> Request:
    content_type = ("Content-Type", "application/json")
    return Request("POST", url, (content_type, *headers), (json.dumps(value).encode(),), **more)


def etag_of(response: Response) -> str:
    etag = str(response.headers.get("ETag", ""))
    if not etag or not etag.isprintable():
        raise NoLink(f"{response.status} for a part, but no ETag", phase="reply", started=True)
    return etag


class Tokens:
    """Sends requests with a token that may expire; after a 401 it is renewed for all threads."""

    def __init__(self, send: Send, renewed: Optional[Callable[[], Any]], token: Any = "") -> None:
        self.send, self.renewed, self.token = send, renewed, token
        self.failed, self.lock = False, threading.Lock()

    def __call__(self, request: Request) -> Response:
        token = self.token or self.renew("")
        if self.renewed:
            response = self.authorized(
                token,
                request._replace(
                    accepted_statuses=(401, *request.accepted_statuses),
                    error_reader=but_for_401(request.error_reader),
                ),
            )
            if response.status != 401:
                return response
            token = self.renew(token)
        return self.authorized(token, request)

    def authorized(self, token: str, request: Request) -> Response:
        return self.send(request._replace(headers=(*request.headers, ("Authorization", token))))

    def renew(self, stale: Any) -> Any:
        with self.lock:
            if self.token == stale and self.renewed and not self.failed:
                # If renewing raises an error, `failed` stays set, and other threads do not try.
                self.failed = True
                self.token = self.renewed()
                self.failed = False
            return self.token


def but_for_401(error_reader: ErrorReader) -> ErrorReader:
    return lambda response: (
        error_reader(response) if error_reader and response.status != 401 else None
    )


# -- storage.to


STORAGETO_RETENTION = Retention(3 * DAY, range(DAY, WEEK + 1, DAY))


def storageto(source: Source, options: UploadOptions, send: Send) -> Link:
    """Initiate, PUT to the URL in the response, confirm (storageto/cli 2026-05-11).

    Files over 5 GB are sent in parts.
    """
    visitor = ("X-Visitor-Token", os.urandom(16).hex())  # makes this client the file's owner

    def call(step: str, value: Mapping[str, Any], *owner: Header, **more: Any) -> Response:
        return send(post_json(f"https://storage.to/api/{step}", value, visitor, *owner, **more))

    content_type = guess_type(source.name)
    file = {"filename": source.name, "content_type": content_type, "size": source.size}
    plan = call("upload/init", file)
    key = json_at("r2_key")(plan)
    if json_at("type")(plan) == "multipart":
        storageto_parts(source, options, send, plan, call)
    else:
        upload_url = presigned_url(json_at("upload_url")(plan), plan)
        headers = signed_headers(plan, content_type)
        send(Request("PUT", upload_url, headers, source.body, idempotent=True))
    stored = call("upload/confirm", {**file, "r2_key": key}, idempotent=True)
    days = (choose_lifetime(STORAGETO_RETENTION, source.size, options) or 0) // DAY
    if days != 3:  # the default; how to change it: storage.to/docs/api, and two clients of 2026
        owner = ("X-Owner-Token", header_value(json_at("owner_token")(stored), stored))
        expiry = f"file/{quote_segment(json_at('file', 'id')(stored))}/expiry"
        call(expiry, {"days": int(days)}, owner, idempotent=True)
    link = storageto_read(stored)
    with contextlib.suppress(NoLink):
        owner_token = header_value(json_at("owner_token")(stored), stored)
        file_id = quote_segment(json_at("file", "id")(stored))
        tokens = {"X-Owner-Token": owner_token, **dict([visitor])}
        link = link._replace(delete_with={"file": file_id, **tokens})
    return link


def storageto_delete(link: Link, options: UploadOptions, send: Send) -> Link:
    """DELETE with the tokens of the upload (storage.to/docs/api; untested)."""
    tokens = dict(link.delete_with)
    send(delete_request(f"https://storage.to/api/file/{tokens.pop('file')}", *tokens.items()))
    return link


def storageto_parts(
    source: Source,
    options: UploadOptions,
    send: Send,
    plan: Response,
    call: Callable[..., Response],
) -> None:
    upload_id = {"upload_id": json_at("upload_id")(plan)}
    size = json_value(plan, "part_size")
    if not isinstance(size, int) or not MiB <= size <= 5 * GiB:
        raise no_link(plan)
    slices = parts_of(source.body, size)
    etags: list[str] = []
    try:
        for first in range(0, len(slices), 50):  # 50 URLs per request, as in the host's client
            numbers = [first + n for n, _ in enumerate(slices[first : first + 50], 1)]
            response = call("upload/parts", {**upload_id, "part_numbers": numbers}, idempotent=True)
            urls = [presigned_url(json_at("urls", str(n))(response), response) for n in numbers]
            puts = [Request("PUT", url, (), part) for url, part in zip(urls, slices[first:])]
            etags += [etag_of(stored).strip('"') for stored in send_parts(puts, send, options.jobs)]
        parts = numbered_parts(etags)
        call("upload/complete-multipart", {**upload_id, "parts": parts}, idempotent=True)
    except BaseException:
        with contextlib.suppress(RetryableError, NonRetryableError):
            call("upload/abort", upload_id, time_limit=5.0)
        raise


def signed_headers(plan: Response, content_type: str) -> tuple[Header, ...]:
    """The headers for a presigned URL; their values are lists (storageto/cli)."""
    headers = json_of(plan).get("headers")
    ours = (
        "content-length host user-agent accept accept-encoding transfer-encoding connection expect"
    )
    wanted = {"Content-Type": [content_type], **(headers if isinstance(headers, dict) else {})}
    return tuple(
        (name, header_value(str(value[0] if isinstance(value, list) and value else value), plan))
        for name, value in wanted.items()
        if re.fullmatch("[A-Za-z0-9-]+", name) and name.lower() not in ours.split()
    )


def presigned_url(url: str, response: Response) -> str:
    """A URL of the host for uploading the file: any server is allowed, but only https."""
    if not re.fullmatch(r"https://[A-Za-z0-9.-]+(:[0-9]+)?/\S+", url):
        raise no_link(response)
    return iri_to_uri(url)


storageto_read = link_reader(json_at("file", "raw_url"), "storage.to")


# -- fal


FAL_SINGLE, FAL_PART = 100 * MiB, 10 * MiB  # fal_client 1.0.3
# Statuses after which the older API would refuse, too.
FAL_FINAL = (None, 401, 402, 403, 413, 422, 429)
ANY_TTL = Retention(FOREVER, range(MINUTE, 10 * YEAR))
FAL_RETENTION = Retention(None, ANY_TTL.choices)  # the account's setting is the default (2026)


def fal(source: Source, options: UploadOptions, send: Send) -> Link:
    """Upload like fal_client 1.0.3; fall back to its older API, also for non-ASCII names."""
    settings = options.settings
    pair = f"{settings.get('FAL_KEY_ID', '')}:{settings.get('FAL_KEY_SECRET', '')}"
    key = ("Authorization", f"Key {settings.get('FAL_KEY') or pair}")
    if source.name.isascii():
        try:
            return fal_cdn(source, options, send, key)
        except Refused as error:  # nothing was stored
            if error.status in FAL_FINAL:
                raise
    return fal_initiate(source, options, send, key)


def fal_cdn(source: Source, options: UploadOptions, send: Send, key: Header) -> Link:
    url = "https://rest.fal.ai/storage/auth/token?storage_type=fal-cdn-v3"
    token_request = post_json(url, {}, key, idempotent=True)
    first = send(token_request)
    call = Tokens(send, lambda: fal_token(send(token_request)), fal_token(first))
    content_type = ("Content-Type", guess_type(source.name))
    expiry = fal_expiry(options, "X-Fal-Object-Lifecycle")
    headers = (content_type, ("X-Fal-File-Name", source.name), *expiry)
    if source.size <= FAL_SINGLE:
        url = "https://v3.fal.media/files/upload"
        return fal_read(call(Request("POST", url, headers, source.body)))
    base = own_url(json_at("base_url")(first), first, FAL_DOMAINS).rstrip("/")
    begun = call(Request("POST", f"{base}/files/upload/multipart", headers))
    link = fal_read(begun)
    url = f"{link.url}/multipart/{quote_segment(json_at('uploadId')(begun))}"
    puts = [
        Request("PUT", f"{url}/{n}", (content_type,), part)
        for n, part in enumerate(parts_of(source.body, FAL_PART), 1)
    ]
    etags = map(etag_of, send_parts(puts, call, options.jobs))
    parts = numbered_parts(etags)
    call(post_json(url + "/complete", {"parts": parts}, idempotent=True))
    return link


def fal_token(response: Response) -> str:
    scheme = header_value(json_at("token_type")(response), response)
    return f"{scheme} {header_value(json_at('token')(response), response)}"


def fal_initiate(source: Source, options: UploadOptions, send: Send, key: Header) -> Link:
    """Request a presigned URL, then PUT with exactly the Content-Type of that request."""
    content_type = guess_type(source.name)
    file = {"file_name": source.name, "content_type": content_type}
    expiry = fal_expiry(options, "X-Fal-Object-Lifecycle-Preference")
    url = "https://rest.fal.ai/storage/upload/initiate?storage_type=gcs"
    plan = send(post_json(url, file, key, *expiry))
    upload_url = presigned_url(json_at("upload_url")(plan), plan)
    link = link_reader(json_at("file_url"), *FAL_DOMAINS)(plan)
    headers = (("Content-Type", content_type),)
    send(Request("PUT", upload_url, headers, source.body, idempotent=True))
    return link


def fal_expiry(options: UploadOptions, header: str) -> tuple[Header, ...]:
    ttl = choose_lifetime(FAL_RETENTION, 0, options)
    if ttl is None or ttl == FOREVER:
        return ()
    return ((header, json.dumps({"expiration_duration_seconds": int(ttl)})),)


def fal_missing(settings: Mapping[str, str]) -> str:
    pair = ("FAL_KEY_ID", "FAL_KEY_SECRET")
    present, other = sorted(pair, key=lambda name: not settings.get(name))
    if settings.get("FAL_KEY") or settings.get(other):
        return ""
    if settings.get(present):
        return f"{present} is set, but {other} is not"
    return missing_setting("FAL_KEY", settings)


FAL_DOMAINS = ("fal.media", "fal.ai", "fal.run", "storage.googleapis.com")
fal_read = link_reader(json_at("access_url"), *FAL_DOMAINS)


# -- Dropbox


DROPBOX_SINGLE = 150 * MiB  # dropbox.com/developers/documentation/http, files/upload
DROPBOX_BLOCK = 4 * MiB  # of the content hash; concurrent sessions are aligned to it
DROPBOX_PART = 32 * MiB
DROPBOX_ERRORS = (  # a part of the error tags (SDK 12.2.4), the message, the hint
    (
        "expired_access_token",
        "the access token has expired",
        "set DROPBOX_REFRESH_TOKEN and DROPBOX_APP_KEY (an access token lasts only 4 hours)",
    ),
    ("invalid_access_token", "invalid access token", "make a new one in the app console"),
    (
        "missing_scope",
        "the app lacks a permission",
        "allow {scope} in the app console, and authorise the app again",
    ),
    (
        "conflict/folder",
        "a folder in the Dropbox has this name",
        "--unique or --name gives another one",
    ),
    (
        "file_ancestor",
        "a file in the Dropbox has the name of its folder",
        "--remote-path gives another one",
    ),
    (
        "conflict",
        "the file already exists in the Dropbox",
        "--force overwrites it, --unique gives another name",
    ),
    ("insufficient_space", "the Dropbox is full", "delete something there"),
    ("disallowed_name", "invalid name for Dropbox", "--name gives another one"),
    (
        "malformed_path",
        "invalid path for Dropbox",
        "--name and --remote-path give another one",
    ),
    (
        "no_write_permission",
        "no permission to write into this folder",
        "--remote-path gives another one",
    ),
    (
        "email_not_verified",
        "Dropbox does not share before the account's address is verified",
        "see the account's settings",
    ),
    ("settings_error", "this Dropbox plan has no links that expire", "upload without --expire"),
    (
        "access_denied",
        "this account may not share the file",
        "see the account's or the team's sharing settings",
    ),
)


class Dropbox:
    """A Dropbox account."""

    def __init__(self, settings: Mapping[str, str], send: Send) -> None:
        self.settings, self.send = settings, send
        renewed = self.token if settings.get("DROPBOX_REFRESH_TOKEN") else None
        access = settings.get("DROPBOX_ACCESS_TOKEN")
        self.tokens = Tokens(send, renewed, f"Bearer {access}" if access else "")

    def token(self) -> str:
        """A new access token; an app that was authorised by PKCE has no secret."""
        names = {
            "refresh_token": "DROPBOX_REFRESH_TOKEN",
            "client_id": "DROPBOX_APP_KEY",
            "client_secret": "DROPBOX_APP_SECRET",
        }
        values = {k: self.settings[name] for k, name in names.items() if self.settings.get(name)}
        url = "https://api.dropboxapi.com/oauth2/token"
        fields = {"grant_type": "refresh_token", **values}
        response = self.send(post_form(url, fields, accepted_statuses=(400, 401)))
        if response.status == 200:
            return "Bearer " + header_value(json_at("access_token")(response), response)
        reason = error_text(response)
        if "invalid_grant" in response.text():
            reason = "invalid or expired refresh token"
        raise Refused(
            f"Dropbox: no access token: {reason}",
            phase="setup",
            status=response.status,
            hint="check DROPBOX_REFRESH_TOKEN, DROPBOX_APP_KEY and DROPBOX_APP_SECRET;"
            " or authorise the app again",
        )

    def call(self, request: Request) -> Response:
        return self.tokens(request._replace(accepted_statuses=(409,), error_reader=dropbox_error))

    def rpc(self, function: str, arg: Any) -> Response:
        url = f"https://api.dropboxapi.com/2/{function}"
        return self.call(post_json(url, arg, idempotent=True))

    def content(self, function: str, arg: Any, body: Body = (), **more: Any) -> Response:
        """Call a function whose arguments are JSON in a header.

        DEL and non-ASCII characters are written as \\uXXXX.
        """
        url = f"https://content.dropboxapi.com/2/{function}"
        arg_json = json.dumps(arg).replace("\x7f", "\\u007f")
        headers = (("Content-Type", UNKNOWN_TYPE), ("Dropbox-API-Arg", arg_json))
        return self.call(Request("POST", url, headers, body, idempotent=True, **more))


def dropbox_error(response: Response) -> Optional[UploadError]:
    """The error for a 401 or 409; None for the two 409s that callers read."""
    status, tags = response.status, dropbox_tags(response)
    if status not in (401, 409) or re.match("shared_link_already_exists|incorrect_offset", tags):
        return None
    if "too_many_write_operations" in tags:
        delay = requested_delay(response)
        return Busy(f"{status}: {tags}", phase="reply", status=status, retry_after=delay)
    scopes = re.findall(r'"required_scope": *"([a-z._]{1,40})"', response.text())
    message, hint = next(
        ((message, hint) for tag, message, hint in DROPBOX_ERRORS if tag in tags),
        (tags or error_text(response), ""),
    )
    hint = hint.format(scope=scopes[0] if scopes else "sharing.write")
    return Refused(f"{status}: {message}", phase="reply", status=status, hint=hint)


def dropbox_tags(response: Response) -> str:
    """The tags of the error, such as "path/conflict/file"."""
    with contextlib.suppress(NoLink):
        return printable(json_at("error_summary")(response.redacted()).rstrip("/."))
    return ""


def dropbox(source: Source, options: UploadOptions, send: Send) -> Link:
    account = Dropbox(options.settings, send)
    path = object_key(source, options, "upload/").strip("/")
    if not re.match("ns:[0-9]+/", path):  # a namespace, such as a team folder
        path = "/" + path
    digest = dropbox_hash(source)
    commit = {
        "path": path,
        # With "add" the same bytes at the same path are not a conflict, so a retry succeeds.
        "mode": "overwrite" if options.force else "add",
        "autorename": False,
        "mute": False,
        "client_modified": iso_time(max(0, source.modified)),
    }
    if source.size <= DROPBOX_SINGLE:
        arg = {**commit, "content_hash": digest}
        stored = account.content("files/upload", arg, source.body)
    else:
        stored = dropbox_session(account, source, commit, options.jobs)
    content_hash = sha256_at(stored, "content_hash")
    if not content_hash:
        raise no_link(stored)
    if content_hash != digest:
        raise NotVerified("Dropbox: content_hash mismatch; the stored file differs", phase="proof")
    if path[0] == "/":  # a folder that is not mounted has no such path
        path = json_at("path_display")(stored) or path
    return dropbox_link(account, path, options)._replace(delete_with={"path": path})


def dropbox_delete(link: Link, options: UploadOptions, send: Send) -> Link:
    """Delete the file, which ends its link."""
    try:
        Dropbox(options.settings, send).rpc("files/delete_v2", dict(link.delete_with))
    except Refused as error:
        if "not_found" not in str(error):
            raise
    return link._replace(warning="Dropbox can restore the file for at least 30 days")


def dropbox_hash(source: Source) -> str:
    """The SHA-256 of the SHA-256s of all 4 MiB blocks (dropbox.com/developers/reference)."""
    blocks = (bytes.fromhex(sha256_of(block)) for block in parts_of(source.body, DROPBOX_BLOCK))
    return hashlib.sha256(b"".join(blocks)).hexdigest()


def dropbox_session(
    account: Dropbox, source: Source, commit: Mapping[str, Any], workers: int
) -> Response:
    """Upload in a session, which accepts parts in any order; the last part closes it."""
    start = {"close": False, "session_type": "concurrent"}
    session = json_at("session_id")(account.content("files/upload_session/start", start))
    stop = threading.Event()
    jobs = [
        functools.partial(dropbox_append, account, session, source, offset, stop)
        for offset in range(0, source.size, DROPBOX_PART)
    ]
    for _ in parallel(jobs, workers, stop):
        pass
    finish = {"cursor": {"session_id": session, "offset": source.size}, "commit": commit}
    try:
        return account.content("files/upload_session/finish", finish)
    except Refused as error:
        if "lookup_failed" not in str(error):
            raise
    # The response to an earlier try was lost, and may have been a success.
    return account.rpc("files/get_metadata", {"path": commit["path"]})


def dropbox_append(account: Dropbox, session: str, source: Source, start: int, stop: Any) -> None:
    """Send a part.

    If the host names another offset, because an earlier response was lost, continue from there.
    """
    end = min(start + DROPBOX_PART, source.size)
    for _ in range(5):
        arg = {"cursor": {"session_id": session, "offset": start}, "close": end == source.size}
        body = slice_body(source.body, start, end - start)
        response = account.content("files/upload_session/append_v2", arg, body, stop=stop)
        offset = end
        if response.status == 409:
            offset = json_value(response, "error", "correct_offset")
        if offset == end:
            return
        if type(offset) is not int or not start < offset < end:
            break
        start = offset
    message = f"the upload session cannot continue: {dropbox_tags(response)}"
    raise Refused(message, phase="reply", status=409)


def dropbox_link(account: Dropbox, path: str, options: UploadOptions) -> Link:
    """The shared link of the file: a new one, or the existing one."""
    ttl = choose_lifetime(ANY_TTL, 0, options)
    expires = time.time() + ttl if ttl and ttl < FOREVER else None
    settings = {"settings": {"expires": iso_time(expires)}} if expires else {}
    response = account.rpc("sharing/create_shared_link_with_settings", {"path": path, **settings})
    if response.status != 409:
        return dropbox_read(response)._replace(expires=expires)
    if expires:
        message = "409: the file has a shared link already, without this expiry"
        raise Refused(message, phase="reply", status=409, hint="--unique makes a new file")
    with contextlib.suppress(NoLink):
        return dropbox_read(response, "error", "shared_link_already_exists", "metadata", "url")
    links = account.rpc("sharing/list_shared_links", {"path": path, "direct_only": True})
    return dropbox_read(links, "links", 0, "url")


def dropbox_read(response: Response, *json_path: Union[str, int]) -> Link:
    """The link with dl=1, which serves the file instead of a page; keeps its key (rlkey)."""
    url = json_at(*(json_path or ("url",)))(response)
    page = check_link(url, response, "dropbox.com", "dropboxusercontent.com")
    base, _, query = page.partition("?")
    pairs = [pair for pair in query.split("&") if pair and not re.match("(dl|raw)=", pair)]
    link = Link(f"{base}?{'&'.join([*pairs, 'dl=1'])}")
    visible = re.search(r'"resolved_visibility": *{"\.tag": *"([a-z_]+)"', response.text())
    if visible and visible[1] != "public":
        link = link._replace(warning=f"the link requires a sign-in (visibility: {visible[1]})")
    return link


def dropbox_missing(settings: Mapping[str, str]) -> str:
    if settings.get("DROPBOX_ACCESS_TOKEN"):
        return ""
    if not settings.get("DROPBOX_REFRESH_TOKEN"):
        return "DROPBOX_REFRESH_TOKEN (or DROPBOX_ACCESS_TOKEN, for 4 hours) is not set"
    if not settings.get("DROPBOX_APP_KEY"):
        return "DROPBOX_APP_KEY is not set, and DROPBOX_REFRESH_TOKEN needs it"
    return ""


# 10  Amazon S3 ------------------------------------------------------------------------------------
#
#    Credentials -> Signer (four pure steps) -> Bucket (its URL and state, adapted after errors)
#    -> one PUT, or parts
#
#    Works with AWS and, by AWS_ENDPOINT_URL, with other S3 services: MinIO, R2, B2, Wasabi, Ceph,
#    Garage, SeaweedFS and Spaces.  Unlike those of SDKs, requests have no aws-chunked trailers and
#    no Expect, because many of these services reject them.


class Credentials(NamedTuple):
    """An access key and its secret.

    Temporary ones have a token and, usually, an expiry in seconds since 1970 (`ends`).
    """

    key: str
    secret: str
    token: str = ""
    ends: Optional[float] = None
    source: str = ""  # for hints

    def __repr__(self) -> str:
        return f"<Credentials {self.key[:4]}...>"


# -- Signature Version 4
#    (docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html)


def canonical_request(
    method: str, path: str, query: str, headers: Iterable[Header], payload: str
) -> tuple[str, str]:
    """Step 1: the canonical request, and the names of the signed headers.

    The path is signed as it is sent, because S3 neither normalises it nor encodes it twice.
    """
    merged: dict[str, list[str]] = {}
    for name, value in headers:
        merged.setdefault(name.lower(), []).append(" ".join(value.split()))
    lines = [f"{name}:{','.join(values)}" for name, values in sorted(merged.items())]
    signed = ";".join(sorted(merged))
    return "\n".join((method, path, canonical_query(query), *lines, "", signed, payload)), signed


def canonical_query(query: str) -> str:
    pairs = (pair.partition("=") for pair in query.split("&") if pair)
    coded = (
        (uri_encoded(urllib.parse.unquote(k)), uri_encoded(urllib.parse.unquote(v)))
        for k, _, v in pairs
    )
    return "&".join(f"{name}={value}" for name, value in sorted(coded))


def uri_encoded(text: str, safe: str = "-_.~") -> str:
    return urllib.parse.quote(text, safe=safe)


def string_to_sign(canonical: str, stamp: str, scope: str) -> str:
    """Step 2; `scope` is date/region/service/aws4_request."""
    return "\n".join(
        ("AWS4-HMAC-SHA256", stamp, scope, hashlib.sha256(canonical.encode()).hexdigest())
    )


def signature(secret: str, scope: str, to_sign: str) -> str:
    """Step 3: a chain of HMACs over the parts of the scope, then over the string to sign."""
    key = b"AWS4" + secret.encode()
    for part in (*scope.split("/"), to_sign):
        digest = hmac.new(key, part.encode(), "sha256")
        key = digest.digest()
    return str(digest.hexdigest())


def authorization(key: str, scope: str, signed: str, proof: str) -> str:
    """Step 4: the value of the Authorization header."""
    return f"AWS4-HMAC-SHA256 Credential={key}/{scope}, SignedHeaders={signed}, Signature={proof}"


class Signer(NamedTuple):
    """Signs a request when it is sent, because a signature expires after 15 minutes.

    `payload` is the SHA-256 of the body; with https the body is not signed, because TLS protects
    it.  `skew`: seconds by which the host's clock is ahead.
    """

    credentials: Credentials
    region: str
    payload: str = "UNSIGNED-PAYLOAD"
    service: str = "s3"
    skew: float = 0.0

    def sign(self, request: Request, now: float) -> tuple[Header, ...]:
        stamp, keys = self.stamp(now), self.credentials
        own = [("x-amz-date", stamp), ("x-amz-content-sha256", self.payload)]
        if keys.token:
            own.append(("x-amz-security-token", keys.token))
        signed, proof = self.proof(request.method, request.url, (*request.headers, *own), stamp)
        return (*own, ("Authorization", authorization(keys.key, self.scope(stamp), signed, proof)))

    def presigned(self, url: str, seconds: int, now: float) -> str:
        """A URL for GET that anyone can use for `seconds` (at most a week)."""
        stamp = self.stamp(now)
        fields = {
            "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
            "X-Amz-Credential": f"{self.credentials.key}/{self.scope(stamp)}",
            "X-Amz-Date": stamp,
            "X-Amz-Expires": str(seconds),
            "X-Amz-SignedHeaders": "host",
        }
        if self.credentials.token:
            fields["X-Amz-Security-Token"] = self.credentials.token
        url += "?" + "&".join(f"{name}={uri_encoded(value)}" for name, value in fields.items())
        return f"{url}&X-Amz-Signature={self.proof('GET', url, (), stamp)[1]}"

    def proof(
        self, method: str, url: str, headers: tuple[Header, ...], stamp: str
    ) -> tuple[str, str]:
        """The names of the signed headers, and the signature."""
        target = parse_target(url)
        scope = self.scope(stamp)
        path, _, query = target.path.partition("?")
        headers = (("host", target.netloc()), *headers)
        canonical, signed = canonical_request(method, path, query, headers, self.payload)
        to_sign = string_to_sign(canonical, stamp, scope)
        return signed, signature(self.credentials.secret, scope, to_sign)

    def stamp(self, now: float) -> str:
        return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now + self.skew))

    def scope(self, stamp: str) -> str:
        return f"{stamp[:8]}/{self.region}/{self.service}/aws4_request"


# -- the credentials and settings of the AWS tools: environment, files, services


Sections = Mapping[str, Mapping[str, str]]
REGION = "[A-Za-z0-9-]{1,63}"  # "RegionOne" in OpenStack


class Aws:
    """The settings and files of the AWS tools, as botocore 1.44 reads them."""

    def __init__(self, settings: Mapping[str, str], send: Any = None) -> None:
        self.settings, self.send = settings, send
        self.config_path = settings.get("AWS_CONFIG_FILE") or "~/.aws/config"
        self.shared_path = settings.get("AWS_SHARED_CREDENTIALS_FILE") or "~/.aws/credentials"
        self.config, self.shared = read_ini(self.config_path), read_ini(self.shared_path)
        named = settings.get("AWS_PROFILE") or settings.get("AWS_DEFAULT_PROFILE")
        self.name = named or "default"
        self.profile = self.profile_of(self.name)
        if named and not self.profile:
            raise not_configured(f"AWS_PROFILE: profile {printable(named)!r} not found")

    def profile_of(self, name: str) -> Mapping[str, str]:
        section = self.config.get(f"profile {name}")
        if name == "default" and not section:
            section = self.config.get(name)
        return {**(section or {}), **self.shared.get(name, {})}

    def configured_region(self) -> str:
        by_setting = self.settings.get("AWS_REGION") or self.settings.get("AWS_DEFAULT_REGION")
        region = by_setting or self.profile.get("region", "")
        if region and not re.fullmatch(REGION, region):
            reason = f"{printable(region)!r} {flaw(region) or 'is not a valid region'}"
            raise not_configured(reason, "AWS_REGION is like eu-central-1")
        return region

    def region(self) -> str:
        return self.configured_region() or "us-east-1"

    def endpoint(self, service: str) -> str:
        """The URL that replaces Amazon's own, or ""."""
        services = self.config.get(f"services {self.profile.get('services')}", {})
        own = nested(services.get(service, ""))
        names = (f"AWS_ENDPOINT_URL_{service.upper()}", "AWS_ENDPOINT_URL")
        urls = {name: self.settings.get(name) for name in names}
        urls[f"endpoint_url of {service}"] = own.get("endpoint_url")
        urls["endpoint_url"] = self.profile.get("endpoint_url")
        name, url = next((item for item in urls.items() if item[1]), ("", ""))
        by_setting = self.settings.get("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS")
        ignored = by_setting or self.profile.get("ignore_configured_endpoint_urls") or ""
        if not url or parse_bool(ignored):
            return ""
        base = check_endpoint(name, url)
        if service == "s3":
            self.check_bucket_free(name, base)
        return base

    def check_bucket_free(self, name: str, url: str) -> None:
        """Reject the URL of a bucket, which R2 and Spaces show, instead of that of the server.

        The requests would contain the name of the bucket twice.
        """
        bucket = re.escape(self.settings.get("AWS_S3_BUCKET") or "/")
        server_url = re.sub(f"/{bucket}$", "", url)
        other = ""
        if server_url == url and not self.path_style():
            server_url = re.sub(rf"://{bucket}\.", "://", url)
            other = ", or AWS_S3_PATH_STYLE=true if that is the server's name"
        if server_url != url:
            hint = f"set {name}={server_url}{other}"
            raise not_configured(f"{name} contains the bucket already", hint)

    def path_style(self) -> Optional[bool]:
        """Whether to put the bucket into the path; None if neither setting nor file defines it."""
        style = nested(self.profile.get("s3", "")).get("addressing_style", "")
        by_profile = {"path": "yes", "virtual": "no"}.get(style)
        wish = self.settings.get("AWS_S3_PATH_STYLE") or by_profile
        return parse_bool(wish) if wish else None

    def credentials(self) -> Credentials:
        """The first credentials in the order of the AWS tools; raises NotConfigured without any."""
        role = self.settings.get("AWS_ROLE_ARN")
        if role and not self.settings.get("AWS_WEB_IDENTITY_TOKEN_FILE"):
            return self.assume_role({"role_arn": role}, self.first_available())
        return self.first_available()

    def first_available(self) -> Credentials:
        ways = (self.from_environment, self.from_profile, self.from_container, self.from_imds)
        for way in ways:
            credentials = way()
            if credentials:
                return credentials
        raise not_configured(*NO_KEYS)

    def only_a_role(self) -> bool:
        """Whether the role of this machine is the only possible source of credentials."""
        configured = {name for name in self.settings if self.settings[name]} | set(self.profile)
        return not configured & {
            "AWS_ACCESS_KEY_ID",
            "AWS_WEB_IDENTITY_TOKEN_FILE",
            "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
            "AWS_CONTAINER_CREDENTIALS_FULL_URI",
            "aws_access_key_id",
            "role_arn",
            "credential_process",
            "sso_account_id",
            "login_session",
        }

    def from_environment(self) -> Optional[Credentials]:
        names = (
            "AWS_ACCESS_KEY_ID",
            "AWS_SECRET_ACCESS_KEY",
            "AWS_SESSION_TOKEN",
            "AWS_CREDENTIAL_EXPIRATION",
        )
        present, missing = sorted(names[:2], key=lambda name: not self.settings.get(name))
        if not self.settings.get(present):
            return None
        if not self.settings.get(missing):
            raise not_configured(f"{present} is set, but {missing} is not", "both belong together")
        return parse_credentials(self.settings, "the environment", names)

    def from_profile(self) -> Optional[Credentials]:
        """The keys of the profile.

        The AWS CLI is called if they require a browser, a code, a refresh or more than one role.
        """
        profile, source = self.profile, self.profile.get("source_profile", "")
        if "role_arn" in profile and (source or "credential_source" in profile):
            chained = source != self.name and "role_arn" in self.profile_of(source)
            if "mfa_serial" in profile or chained or self.signs_on(source):
                return self.from_cli()
            return self.assume_role(profile, self.source_credentials(profile))
        names = (
            ("web_identity_token_file", "AWS_WEB_IDENTITY_TOKEN_FILE"),
            ("role_arn", "AWS_ROLE_ARN"),
        )
        values = {key: self.settings[name] for key, name in names if self.settings.get(name)}
        if "web_identity_token_file" in {**profile, **values}:
            return self.web_identity({**profile, **values})
        return self.from_cli() if self.signs_on(self.name) else self.own_keys(self.name)

    def signs_on(self, name: str) -> bool:
        """Whether a profile needs `aws sso login`, or `aws login` (unless it has static keys)."""
        profile = self.profile_of(name)
        static = "aws_access_key_id" in self.shared.get(name, {})
        return "sso_account_id" in profile or ("login_session" in profile and not static)

    def from_cli(self) -> Credentials:
        """The keys from the AWS CLI (2.9 or newer), which refreshes, prompts and caches."""
        name = shlex.quote(self.name)
        command = f"aws configure export-credentials --profile {name} --format process"
        try:
            return from_process(command, "the AWS CLI (version 2)", self.settings)
        except NotConfigured as error:
            raise not_configured(str(error), command) from error

    def own_keys(self, name: str) -> Optional[Credentials]:
        """The keys of a profile, all from one file; the credentials file comes first."""
        profile = self.profile_of(name)
        shared = self.shared.get(name, {})
        fields = ("aws_access_key_id", "aws_secret_access_key", "aws_session_token", "")
        if "credential_process" in profile and fields[0] not in shared:
            command, source = profile["credential_process"], "the credential_process"
            return from_process(command, source, self.settings)
        keys, path = shared, self.shared_path
        if fields[0] not in shared:
            keys = {key: profile[key] for key in profile if key not in shared}
            path = self.config_path
        source = f"the profile {printable(name)} in {printable(path)}"
        return parse_credentials(keys, source, fields) if fields[0] in keys else None

    def source_credentials(self, profile: Mapping[str, str]) -> Credentials:
        """The keys for assuming a role; a profile may be its own source."""
        source = profile.get("source_profile", "")
        service = profile.get("credential_source", "")
        by = {
            "Environment": self.from_environment,
            "EcsContainer": self.from_container,
            "Ec2InstanceMetadata": self.from_imds,
        }
        keys = self.own_keys(source) if source else by.get(service, lambda: None)()
        if not keys:
            raise not_configured(f"{printable(source or service)}: no credentials for the role")
        return keys

    def ask(
        self, source: str, method: str, url: str, headers: tuple[Header, ...] = (), **more: Any
    ) -> Response:
        """Send a request for keys; raises NotConfigured if that fails."""
        if not all(re.fullmatch("[ -~]*", value) for _, value in headers):
            raise not_configured(f"the token for {source} contains an invalid character")
        request = Request(method, url, headers, idempotent=True, error_reader=keys_error, **more)
        try:
            return self.send(request)  # type: ignore[no-any-return]
        except UploadError as error:
            raise not_configured(f"{source}: no credentials: {error}", error.hint) from error

    def sts(
        self, action: str, fields: Mapping[str, str], credentials: Optional[Credentials]
    ) -> Credentials:
        """Temporary keys from the Security Token Service (API version 2011-06-15)."""
        region, source = self.region(), "the Security Token Service"
        form_data = {"Action": action, "Version": "2011-06-15", **fields}
        body = urllib.parse.urlencode(form_data).encode()
        auth = None
        if credentials:
            auth = Signer(credentials, region, hashlib.sha256(body).hexdigest(), "sts").sign
        headers = (("Content-Type", "application/x-www-form-urlencoded; charset=utf-8"),)
        url = self.endpoint("sts") or f"https://sts.{region}.{dns_suffix(region)}"
        response = self.ask(source, "POST", url + "/", headers, body=(body,), auth=auth)
        values = {name: xml_text(response, name) for name in SESSION_KEYS}
        return parse_credentials(values, source, SESSION_KEYS)

    def assume_role(self, profile: Mapping[str, str], base: Credentials) -> Credentials:
        more = {"DurationSeconds": "duration_seconds", "ExternalId": "external_id"}
        fields = {name: profile[key] for name, key in more.items() if key in profile}
        return self.sts("AssumeRole", {**self.role(profile), **fields}, base)

    def role(self, profile: Mapping[str, str]) -> dict[str, str]:
        session = profile.get("role_session_name") or self.settings.get("AWS_ROLE_SESSION_NAME")
        return {"RoleArn": profile["role_arn"], "RoleSessionName": session or "twat-fs"}

    def web_identity(self, profile: Mapping[str, str]) -> Credentials:
        """The keys for a token that Kubernetes or a CI service has written into a file."""
        if "role_arn" not in profile:
            raise not_configured("AWS_WEB_IDENTITY_TOKEN_FILE is set, but AWS_ROLE_ARN is not")
        token = {"WebIdentityToken": text_file(profile["web_identity_token_file"])}
        return self.sts("AssumeRoleWithWebIdentity", {**self.role(profile), **token}, None)

    def from_container(self) -> Optional[Credentials]:
        """The keys that ECS, EKS and others provide to a container."""
        relative = self.settings.get("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI")
        url = self.settings.get("AWS_CONTAINER_CREDENTIALS_FULL_URI")
        if relative:
            url = "http://169.254.170.2" + relative
        if not url:
            return None
        try:
            target = parse_target(url)
        except NoLink as error:
            raise not_configured(f"AWS_CONTAINER_CREDENTIALS_FULL_URI is {error}") from None
        local = is_loopback(target.host) or target.host in CONTAINER_HOSTS
        if target.scheme != "https" and not local:
            reason = "AWS_CONTAINER_CREDENTIALS_FULL_URI: http is allowed only for this machine"
            raise not_configured(reason)
        path = self.settings.get("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE")
        token = text_file(path) if path else self.settings.get("AWS_CONTAINER_AUTHORIZATION_TOKEN")
        headers, source = (("Authorization", token),) if token else (), "the container"
        response = self.ask(source, "GET", url, headers, time_limit=2.0)
        return parse_credentials(json_object(response.body), source)

    def from_imds(self) -> Optional[Credentials]:
        """The keys of an EC2 machine, from its metadata service (IMDSv2) within a second."""
        if parse_bool(self.settings.get("AWS_EC2_METADATA_DISABLED", "")):
            return None
        server = self.settings.get("AWS_EC2_METADATA_SERVICE_ENDPOINT") or "http://169.254.169.254"
        base = server.rstrip("/") + "/latest/"
        source = "the machine"

        def ask(method: str, path: str, *headers: Header) -> Response:
            return self.ask(source, method, base + path, headers, time_limit=1.0)

        roles = "meta-data/iam/security-credentials/"
        try:
            token = ask("PUT", "api/token", ("X-aws-ec2-metadata-token-ttl-seconds", "21600"))
            session = ("X-aws-ec2-metadata-token", header_value(token.text().strip(), token))
            role = ask("GET", roles, session).text().partition("\n")[0]
            keys = ask("GET", roles + quote_segment(role), session)
        except (NotConfigured, NoLink):
            return None
        with contextlib.suppress(NotConfigured):
            return parse_credentials(json_object(keys.body), source)
        return None


NO_KEYS = (
    "AWS credentials not found",
    "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE",
)
CONTAINER_HOSTS = ("169.254.170.2", "169.254.170.23", "fd00:ec2::23")


def keys_error(response: Response) -> Optional[UploadError]:
    """The error with only the message of the response, because the rest may be secret."""
    status, shown = response.status, response.redacted()
    message = xml_text(shown, "Message") or json_message(shown.text())
    reason = f"{status} {phrase(status)}: {printable(message)}".rstrip(": ")
    error_class = Busy if status in (429, 500, 502, 503, 504) else Refused
    return error_class(reason, phase="setup", status=status) if status >= 300 else None


def not_configured(what: str, hint: str = "") -> NotConfigured:
    return NotConfigured(what, phase="setup", hint=hint)


def check_endpoint(name: str, url: str) -> str:
    """The URL of the server in a setting; raises NotConfigured."""
    with contextlib.suppress(NoLink):
        if re.fullmatch(SERVER_URL, url):
            return base_url(url)
    raise not_configured(
        f"{name} {flaw(url) or 'is not a valid server URL'}: {printable(redact_url(url))}",
        "it begins with http:// or https://",
    )


def flaw(value: str) -> str:
    """The common mistake in a value: quotes or a comment, which AWS tools do not strip."""
    if re.search(r"\s[#;]", value):
        return "is followed by a comment"
    return "is in quotes" if re.fullmatch("([\"']).*\\1", value) else ""


def nested(text: str) -> dict[str, str]:
    """The settings of an indented block of an AWS file."""
    return dict(re.findall(r"(?m)^ *(\w+) *= *(.*?) *$", text))


def parse_bool(text: str) -> bool:
    return text.strip().lower() in ("1", "true", "yes", "on")


def dns_suffix(region: str) -> str:
    return "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"


def read_ini(path: str) -> Sections:
    """The sections of a file of the AWS tools; empty if the file does not exist.

    Raises NotConfigured with the number of an invalid line.
    """
    if not os.path.exists(os.path.expanduser(path)):
        return {}
    no_default: Any = None
    parser = configparser.RawConfigParser(default_section=no_default, strict=False)
    try:
        parser.read_string(text_file(path))
    except configparser.Error as error:  # its message repeats the line, which may be a secret
        errors = getattr(error, "errors", None)
        line = errors[0][0] if errors else getattr(error, "lineno", "?")
        reason = f"{printable(path)}: line {line} is invalid"
        raise not_configured(reason, "expected [SECTION] or NAME = VALUE") from None
    return {
        " ".join(re.sub("[\"']", "", name).split()): dict(parser.items(name))
        for name in parser.sections()
    }


def text_file(path: str) -> str:
    """The text of a small file in UTF-8, UTF-8 with a BOM, or UTF-16 (both common on Windows)."""
    try:
        with open(os.path.expanduser(path), "rb") as file:
            data = file.read(MiB)
        utf_16 = data[:2] in (b"\xff\xfe", b"\xfe\xff")
        return data.decode("utf-16" if utf_16 else "utf-8-sig").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise not_configured(f"{printable(path)}: {local_reason(error)}") from error


def json_object(text: Union[str, bytes]) -> dict[str, Any]:
    """The JSON object in a text; {} for anything else."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    return value if isinstance(value, dict) else {}


KEYS = ("AccessKeyId", "SecretAccessKey", "Token", "Expiration")
SESSION_KEYS = ("AccessKeyId", "SecretAccessKey", "SessionToken", "Expiration")


def parse_credentials(data: Any, source: str, names: Sequence[str] = KEYS) -> Credentials:
    """The keys under these names; raises NotConfigured, without the values in the message."""
    fields = data if isinstance(data, Mapping) else {}
    values = [str(fields.get(name) or "").strip() for name in names[:3]]
    for name, value in zip(names, values):
        if flaw(value):
            raise not_configured(f"{name} of {source} {flaw(value)}", "remove that")
    key, secret, token = values
    if not key or not secret or not re.fullmatch(r"[!-~]*", key + secret + token):
        raise not_configured(f"{source} has no access key with its secret")
    return Credentials(key, secret, token, parse_timestamp(fields.get(names[3])), source)


def from_process(command: str, source: str, settings: Mapping[str, str]) -> Credentials:
    """The keys that a program prints.

    docs.aws.amazon.com/sdkref/latest/guide/feature-process-credentials.html
    """
    try:
        done = subprocess.run(
            command if os.name == "nt" else shlex.split(command),  # Windows splits it itself
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=PROCESS_TIME,
            check=False,
            env={**child_environment(), **settings},
        )
    except subprocess.TimeoutExpired:
        raise not_configured(f"{source} timed out after {PROCESS_TIME:g} s") from None
    except (OSError, ValueError, IndexError) as error:
        raise not_configured(f"{source} could not be started: {local_reason(error)}") from error
    if done.returncode:
        lines = done.stderr.decode("utf-8", "replace").strip().splitlines() or [""]
        # The error is the last line, but version 1 of the AWS CLI prints its commands after it.
        reason = next((line for line in lines if re.match(r"\S+: error: ", line)), lines[-1])
        raise not_configured(f"{source} failed ({done.returncode}): {printable(reason)}")
    printed = json_object(done.stdout)
    if printed.get("Version") != 1:
        raise not_configured(f"{source}: invalid output (expected JSON, version 1)")
    return parse_credentials(printed, source, SESSION_KEYS)


def child_environment() -> dict[str, str]:
    """The environment, without PyInstaller's folder of libraries."""
    variables = dict(os.environ)
    if getattr(sys, "frozen", False):
        for name in LIBRARY_PATHS:
            variables.pop(name, None)
            with contextlib.suppress(KeyError):
                variables[name] = variables.pop(f"{name}_ORIG")
    return variables


LIBRARY_PATHS = "LD_LIBRARY_PATH DYLD_LIBRARY_PATH DYLD_FRAMEWORK_PATH".split()
PROCESS_TIME = 60.0  # seconds; the program may wait for a person or a device


# -- the bucket


S3_SINGLE = 16 * MiB  # larger files are sent in parts
S3_PART = 16 * MiB
S3_MAX_PARTS = 10_000
S3_LIMIT = 50 * 10**12  # since December 2025
S3_XML = "http://s3.amazonaws.com/doc/2006-03-01/"
# Statuses that `Bucket` reads itself.
S3_READ = (301, 307, *range(400, 408), *range(409, 425), 501, 507)
S3_BUSY = frozenset(
    "SlowDown InternalError ServiceUnavailable RequestTimeout Throttling ThrottlingException"
    " RequestLimitExceeded RequestThrottled BadDigest OperationAborted".split()
)


def part_size(size: int) -> int:
    """The size of a part in whole MiB, at least so large that 10,000 parts are enough."""
    least = -(-size // S3_MAX_PARTS)
    return max(S3_PART, -(-least // MiB) * MiB)


def xml_text(response: Response, tag: str) -> str:
    """The text of the first element with this tag, or "".

    A regular expression is enough for these flat responses, and safe for untrusted text.
    """
    match = re.search(f"<{tag}>([^<]*)</{tag}>", response.text())
    if not match:
        return ""
    short = re.sub(r"&#\w{9,};?", "", match[1])  # int() rejects 4300 digits
    return html.unescape(short).strip()


def s3_error(response: Response) -> Optional[UploadError]:
    """Busy for some codes, Refused for an error in a 200.

    S3 may send the head of the response before it knows the result.
    """
    code, status = xml_text(response, "Code"), response.status
    message = refusal_text(response, printable(code))
    if code in S3_BUSY:
        wait = parse_retry_after(response.headers.get("Retry-After"), time.time())
        return Busy(message, phase="reply", status=status, retry_after=wait)
    return Refused(message, phase="reply", status=status) if code and status == 200 else None


# "expecting 'X'" (AWS, Scaleway), "expected: 20261128/X/s3/..." (Garage), "must be one of: X, ..."
# (R2).
REGION_IN_TEXT = (
    r"\b(?:expecting|expected|in this region|one of):? ['\"]?(?:[0-9]{8}/)?([A-Za-z0-9-]+)"
)


def region_in(response: Response) -> str:
    """The region in an error: from a header, an element, or the message."""
    region = response.headers.get("x-amz-bucket-region") or xml_text(response, "Region")
    message = xml_text(response, "Message")
    match = re.search(REGION_IN_TEXT, message)
    if match and re.search("region|scope", message):
        region = region or match[1]
    return region if re.fullmatch(REGION, region) else ""


class State(NamedTuple):
    """The properties of requests that error responses of a bucket can change."""

    credentials: Credentials
    region: str
    path_style: bool = True  # the bucket is in the path, not before the host
    other_style: str = ""  # tried once if an error names it
    skew: float = 0.0
    crc: bool = True  # the service accepts x-amz-checksum-*
    condition: bool = True  # ... and If-None-Match
    md5: bool = False  # ... and requires Content-MD5


class Bucket:
    """A bucket; if the service rejects a request, it is adapted and sent again."""

    def __init__(self, settings: Mapping[str, str], send: Send) -> None:
        self.send, self.name, self.aws = send, settings["AWS_S3_BUCKET"], Aws(settings, send)
        self.endpoint = self.aws.endpoint("s3")
        # The certificate for *.s3... does not cover names with dots; an address has no subdomains.
        dns = re.fullmatch(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]", self.name)
        number = re.fullmatch(r"https?://([0-9.]+|\[.*\])(:.*|/.*)?", self.endpoint)
        fixed = bool(not dns or number)
        wish = self.aws.path_style()
        path_style = fixed or (bool(self.endpoint) if wish is None else wish)
        other_style = "virtual" if path_style else "path"
        if fixed:
            other_style = ""
        crc = settings.get("AWS_REQUEST_CHECKSUM_CALCULATION", "").lower() != "when_required"
        self.keys = Tokens(send, self.aws.credentials, self.aws.credentials())
        self.state = State(self.keys.token, self.aws.region(), path_style, other_style, crc=crc)

    def url(self, key: str) -> str:
        region = self.state.region
        base = self.endpoint or f"https://s3.{region}.{dns_suffix(region)}"
        path = uri_encoded(key, "/-_.~")
        if self.state.path_style:
            return f"{base}/{quote_segment(self.name)}/{path}"
        scheme, _, host = base.partition("://")
        return f"{scheme}://{self.name}.{host}/{path}"

    def ask(
        self,
        method: str,
        key: str,
        query: str = "",
        headers: tuple[Header, ...] = (),
        body: Body = (),
        payload: str = "",
        crc: Optional[Header] = None,
        new: bool = False,
        **more: Any,
    ) -> Response:
        """Send a request, adapted after errors; returns the last response, which may be an error.

        `payload`: SHA-256 of the body; `crc`: a header, omitted if the service rejects checksums;
        `new`: do not overwrite an object.
        """
        payload = payload or hashlib.sha256(b"".join(body)).hexdigest()  # type: ignore[arg-type]
        url_end = "?" + query if query else ""
        for _ in range(4):
            state = self.state
            extra = [crc] if crc and state.crc else []
            if new and state.condition:
                extra.append(("If-None-Match", "*"))
            if method == "PUT" and state.md5:  # required only for content
                digest = bytes.fromhex(md5_of(body))  # type: ignore[arg-type]
                extra.append(("Content-MD5", base64.b64encode(digest).decode()))
            request = Request(
                method,
                self.url(key) + url_end,
                (*headers, *extra),
                body,
                auth=Signer(state.credentials, state.region, payload, skew=state.skew).sign,
                error_reader=s3_error,
                idempotent=True,
                accepted_statuses=S3_READ,
                **more,
            )
            response = self.send(request)
            if response.status < 300 or not self.adapt(state, response):
                break
        return response

    def adapt(self, before: State, response: Response) -> bool:
        """Adapt the state to an error; returns whether it differs from that of the request.

        Another thread may have adapted it already.
        """
        changes = self.changes(before, response)
        if self.state == before:
            self.state = self.state._replace(**changes)
        return self.state != before

    def changes(self, before: State, response: Response) -> dict[str, Any]:
        """The fields of the state that must change because of an error."""
        code, region = xml_text(response, "Code"), region_in(response)
        text = response.text().lower()
        style = rf"{before.other_style}[- ]?(style|host)"
        if region and region != before.region:
            return {"region": region}
        if before.other_style and re.search(style, text):
            return {"path_style": not before.path_style, "other_style": ""}
        # For a wrong clock rclone sends the code AccessDenied.
        if code == "RequestTimeTooSkewed" or "difference between the request time" in text:
            theirs = parse_retry_after(response.headers.get("Date"), 0.0)  # since 1970
            valid = theirs and theirs < 1e10 and not before.skew
            return {"skew": theirs - time.time()} if theirs and valid else {}
        if code in ("ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired"):
            try:
                return {"credentials": self.keys.renew(before.credentials)}
            except NotConfigured as error:  # Refused, because parts may have been sent
                reason = f"the session token has expired, and {error}"
                raise Refused(reason, phase="reply", hint=error.hint) from error
        if "content-md5" in text and not before.md5:  # B2 with object retention, coolify#4774
            return {"md5": True}
        if response.status not in (400, 501):
            return {}
        if "checksum" in text or "crc32" in text:
            return {"crc": False}
        if code == "NotImplemented" or "if-none-match" in text:
            return {"condition": False, "crc": before.crc and before.condition}
        return {}

    def presigned(self, key: str, seconds: int) -> str:
        signer = Signer(self.state.credentials, self.state.region, skew=self.state.skew)
        return signer.presigned(self.url(key), seconds, time.time())

    def raise_for_status(self, response: Response, key: str) -> Response:
        """The response if it is a success; raises Refused or Busy with a hint if not."""
        status = response.status
        if status < 300:
            return response
        codes = {412: "PreconditionFailed", 403: "AccessDenied", 404: "NoSuchBucket"}
        code = xml_text(response, "Code") or codes.get(status, "")
        error_class = Busy if code == "ConditionalRequestConflict" else Refused
        unknown = "check the permissions of KEYS" if status in (401, 403) else ""
        reason, hint = S3_ERRORS.get(code, ("", unknown))
        target = response.headers.get("Location") or xml_text(response, "Endpoint")
        if target and status < 400:
            reason = f"{status}, redirected to {printable(redact_url(target))}"
            hint = "set AWS_REGION, or AWS_ENDPOINT_URL to that server"
        if code == "SignatureDoesNotMatch" and not self.aws.configured_region():
            hint += f"; AWS_REGION is not set, and {self.state.region} may be wrong"
        keys = self.state.credentials.source.replace(
            "the environment", "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        )
        location = printable(f"s3://{self.name}/{key}")
        reason = reason.replace("BUCKET", self.name).replace("PLACE", location)
        reason = reason or refusal_text(response, printable(code))
        raise error_class(reason, phase="reply", status=status, hint=hint.replace("KEYS", keys))

    def put(self, key: str, query: str, part: Content, **more: Any) -> Response:
        """Store a part, and compare the CRC-32 in the response, or else the MD5 in the ETag."""
        sha256, crc = digests(part, self.url(key).startswith("http:"), self.state.crc)
        payload = sha256 or "UNSIGNED-PAYLOAD"
        header = ("x-amz-checksum-crc32", crc) if crc else None
        response = self.ask("PUT", key, query, body=part, payload=payload, crc=header, **more)
        theirs = response.headers.get("x-amz-checksum-crc32")
        differs = theirs != crc if theirs and crc else other_md5(response, part)
        if response.status < 300 and differs:
            reason = "checksum mismatch; the stored file differs"
            raise NotVerified(f"{self.name}: {reason}", phase="proof")
        return response

    def probe(self, key: str) -> Optional[Response]:
        """The response for the first byte of an object; None if the object does not exist.

        GET, because an error response to HEAD has no text.
        """
        response = self.ask("GET", key, headers=(("Range", "bytes=0-0"),), max_response=64 * KiB)
        return response if response.status in (200, 206, 416) else None

    def already_stored(
        self, response: Response, key: str, source: Source, parts: bytes = b""
    ) -> bool:
        """Whether a conflict was caused by our own earlier upload whose response was lost."""
        if response.tries == 1 or response.status not in (404, 409, 412):
            return False
        stored = self.probe(key)
        etag = str(stored.headers.get("ETag", "")).strip('"').lower() if stored else ""
        return bool(etag) and etag in (etag_of_parts(parts), md5_of(source.body))


S3_ERRORS = {  # code: message and hint
    "PreconditionFailed": (
        "PLACE already exists",
        "--force overwrites it, --unique gives another name",
    ),
    "NoSuchBucket": ("bucket BUCKET not found", "check AWS_S3_BUCKET and the endpoint"),
    "AccessDenied": (
        "no permission to write PLACE",
        "the key needs s3:PutObject (and s3:AbortMultipartUpload), or s3:DeleteObject to delete;"
        " check KEYS",
    ),
    "InvalidAccessKeyId": ("unknown access key", "check KEYS and the endpoint"),
    "SignatureDoesNotMatch": ("the secret does not match the access key", "check KEYS"),
    "ExpiredToken": ("the session token has expired", "get new temporary credentials"),
    "InvalidToken": (
        "invalid session token",
        "check AWS_SESSION_TOKEN (or KEYS); permanent keys have none",
    ),
    "RequestTimeTooSkewed": ("the clock of this machine is wrong", "set it"),
    "AuthorizationHeaderMalformed": ("BUCKET is in another region", "set AWS_REGION"),
    "PermanentRedirect": ("BUCKET is in another region", "set AWS_REGION"),
    "QuotaExceeded": ("BUCKET is full", "delete something there"),
    "XMinioStorageFull": ("the storage is full", "delete something there"),
    "EntityTooLarge": ("file too large for this service", "see the limits of the service"),
}


def digests(part: Content, sha256: bool, crc32: bool) -> tuple[str, str]:
    """SHA-256 (hex) and CRC-32 (base64) of a part, which is read once; "" if not requested."""
    digest, crc = hashlib.sha256(), 0
    for data in read_body(part) if sha256 or crc32 else ():
        crc = zlib.crc32(data, crc) if crc32 else 0
        digest.update(data if sha256 else b"")
    crc_text = base64.b64encode(crc.to_bytes(4, "big")).decode()
    return digest.hexdigest() if sha256 else "", crc_text if crc32 else ""


def md5_of(part: Content) -> str:
    return digest_of(part, hashlib.md5(usedforsecurity=False))


def other_md5(response: Response, part: Content) -> bool:
    """Whether the ETag is an MD5 that differs from the MD5 of the part.

    With server-side encryption the ETag is not an MD5.
    """
    etag = str(response.headers.get("ETag", "")).strip('"').lower()
    names = " ".join(response.headers).lower()
    is_md5 = re.fullmatch("[0-9a-f]{32}", etag) and "x-amz-server-side-encryption" not in names
    return bool(is_md5) and etag != md5_of(part)


def s3(source: Source, options: UploadOptions, send: Send) -> Link:
    bucket = Bucket(options.settings, send)
    key = object_key(source, options)
    if len(key.encode()) > 1024:
        raise Unsuitable(
            "a key has at most 1024 bytes",
            phase="file",
            hint="--name and --remote-path give a shorter one",
        )
    s3_end(bucket, options, options.keep or (options.expire or 0) / 2)  # before anything is sent
    # Not all services other than AWS support If-None-Match.
    if not options.force and bucket.endpoint and bucket.probe(key):
        bucket.raise_for_status(Response(412, {}, b"", ""), key)
    store = s3_put if source.size < S3_SINGLE else s3_parts
    try:
        store(bucket, source, key, options)
    except Busy as error:  # two clients wrote at the same time; AWS says to start again
        if error.status != 409:
            raise
        store(bucket, source, key, options)
    where = {"AWS_S3_BUCKET": bucket.name, "key": key, "endpoint": bucket.endpoint}
    link = s3_link(bucket, key, options)._replace(delete_with=where)
    if {".", ".."} & set(key.split("/")):
        odd = "browsers cannot open the link (folder . or .. in the key); use curl --path-as-is"
        link = link._replace(warning="; ".join(filter(None, (odd, link.warning))))
    return link


def s3_delete(link: Link, options: UploadOptions, send: Send) -> Link:
    """Delete the object; returns a presigned link to it."""
    bucket, key = Bucket(options.settings, send), link.delete_with["key"]
    if bucket.endpoint != link.delete_with["endpoint"]:
        service = link.delete_with["endpoint"] or "Amazon S3"
        reason = f"the file was uploaded to {service}"
        raise NotConfigured(reason, phase="setup", hint="check AWS_ENDPOINT_URL")
    response = bucket.ask("DELETE", key)
    bucket.raise_for_status(response, key)
    warning = "the bucket has versions, and keeps that of the deleted object"
    has_versions = response.headers.get("x-amz-delete-marker") == "true"
    return Link(bucket.presigned(key, MINUTE), warning=warning if has_versions else "")


def s3_put(bucket: Bucket, source: Source, key: str, options: UploadOptions) -> None:
    """Upload in one request."""
    headers, new = (("Content-Type", type_with_charset(key, source.body)),), not options.force
    response = bucket.put(key, "", source.body, headers=headers, new=new)
    if not bucket.already_stored(response, key, source):
        bucket.raise_for_status(response, key)


def s3_parts(bucket: Bucket, source: Source, key: str, options: UploadOptions) -> None:
    """Upload in parallel parts; after a failure delete them, because they cost money."""
    headers = (("Content-Type", type_with_charset(key, source.body)),)
    crc = ("x-amz-checksum-algorithm", "CRC32")
    begun = bucket.ask("POST", key, "uploads=", headers=headers, crc=crc)
    bucket.raise_for_status(begun, key)
    upload_id = xml_text(begun, "UploadId")
    stop = threading.Event()
    if not upload_id:
        raise no_link(begun)
    query = f"uploadId={uri_encoded(upload_id)}"
    try:
        slices = parts_of(source.body, part_size(source.size))
        jobs = [
            functools.partial(s3_part, bucket, key, n, query, part, stop)
            for n, part in enumerate(slices, 1)
        ]
        part_xml = "".join(xml for _, xml in sorted(parallel(jobs, options.jobs, stop)))
        tag = "CompleteMultipartUpload"
        manifest = f'<{tag} xmlns="{S3_XML}">{part_xml}</{tag}>'.encode()
        headers, new = (("Content-Type", "application/xml"),), not options.force
        response = bucket.ask("POST", key, query, headers=headers, body=(manifest,), new=new)
        if not bucket.already_stored(response, key, source, manifest):
            bucket.raise_for_status(response, key)
    except BaseException:
        with contextlib.suppress(RetryableError, NonRetryableError):
            bucket.ask("DELETE", key, query, time_limit=5.0)
        raise


def etag_of_parts(manifest: bytes) -> str:
    """The ETag of an object in parts, if the ETags of the parts are their MD5s."""
    md5s = re.findall(b"<etag>(?:&quot;)?([0-9a-f]{32})[&<]", manifest.lower())
    joined = bytes.fromhex(b"".join(md5s).decode())
    return f"{hashlib.md5(joined, usedforsecurity=False).hexdigest()}-{len(md5s)}"


def s3_part(bucket: Bucket, key: str, number: int, query: str, part: Content, stop: Any) -> str:
    """Send a part; returns its element of the last request."""
    response = bucket.put(key, f"partNumber={number}&{query}", part, stop=stop)
    bucket.raise_for_status(response, key)
    etag = etag_of(response)
    crc = response.headers.get("x-amz-checksum-crc32", "")
    fields = {"PartNumber": str(number), "ETag": etag, "ChecksumCRC32": crc}
    elements = (f"<{name}>{html.escape(text)}</{name}>" for name, text in fields.items() if text)
    return f"<Part>{''.join(elements)}</Part>"


def s3_retention(options: UploadOptions) -> Retention:
    """Forever for a public link; at most a week for a presigned link.  The object itself stays."""
    public = options.public or options.settings.get("TWAT_FS_S3_PUBLIC_URL")
    return Retention(FOREVER) if public else Retention(WEEK, range(MINUTE, WEEK + 1))


def s3_end(bucket: Bucket, options: UploadOptions, least: float = -FOREVER) -> Optional[float]:
    """The expiry of the link (seconds since 1970), not later than that of the credentials.

    None: never.  Raises Unsuitable if it is less than `least` seconds from now.
    """
    ttl = choose_lifetime(s3_retention(options), 0, options)
    now = time.time()
    if ttl is None or ttl == FOREVER:
        return None
    ends = min(now + ttl, bucket.state.credentials.ends or FOREVER)
    if ends < now + least:
        left = duration(max(0, ends - now))
        reason = f"the link expires in {left}, with its temporary credentials"
        raise Unsuitable(reason, phase="wish")
    return ends


def s3_link(bucket: Bucket, key: str, options: UploadOptions) -> Link:
    base = options.settings.get("TWAT_FS_S3_PUBLIC_URL")
    ends = s3_end(bucket, options)
    if base:
        url = f"{base_url(base)}/{uri_encoded(key, '/-_.~')}"
        return Link(url, hint="is the bucket public under that URL?")
    if ends is None:
        hint = "is the bucket public? without --public the link is signed"
        return Link(bucket.url(key), hint=hint)
    keys, warning = bucket.state.credentials, ""
    url = bucket.presigned(key, max(1, round(ends - time.time())))
    if keys.token and keys.ends in (None, ends):
        at = iso_time(ends) if keys.ends else "at an unknown time"
        warning = f"the link expires with its temporary credentials ({at})"
    denied = "the key may write but not read: allow s3:GetObject, or --public"
    return Link(url, expires=ends, warning=warning, denied=denied)


def s3_read(response: Response) -> Link:
    """The link is the URL of the upload, without its query."""
    return Link(redact_url(response.url))


def s3_missing(settings: Mapping[str, str]) -> str:
    """The problem of the settings and files of AWS, found without the network; "" if none."""
    bucket = settings.get("AWS_S3_BUCKET")
    if not bucket:
        return missing_setting("AWS_S3_BUCKET", settings)
    if not re.fullmatch("[A-Za-z0-9][A-Za-z0-9._-]{1,254}", bucket):
        return f"AWS_S3_BUCKET {flaw(bucket) or 'is not a valid bucket name'}"
    try:
        check_endpoint("TWAT_FS_S3_PUBLIC_URL", settings.get("TWAT_FS_S3_PUBLIC_URL", "http://x"))
        aws = Aws(settings)
        aws.region()
        aws.endpoint("s3")
        aws.from_environment()
        if aws.only_a_role() and parse_bool(settings.get("AWS_EC2_METADATA_DISABLED", "")):
            raise not_configured(*NO_KEYS)
    except NotConfigured as error:
        return "; ".join(filter(None, (str(error), error.hint)))
    return ""


def s3_doubt(settings: Mapping[str, str]) -> str:
    return f"only if this machine has a role: {NO_KEYS[0]}" if Aws(settings).only_a_role() else ""


def s3_ca_bundle(settings: Mapping[str, str]) -> Optional[str]:
    return settings.get("AWS_CA_BUNDLE") or Aws(settings).profile.get("ca_bundle")


# 11  The hosts ------------------------------------------------------------------------------------
#
#    One row for each host, with all facts about it.  `Evidence` is the newest proof that the row is
#    correct: a date, a source and a recorded response.  The default hosts are tried in this order.

ONLY_EXTENSION = "keeps only the extension"
CATBOX_BLOCKED = ("exe", "scr", "cpl", "doc*", "jar")  # catbox.moe/faq
# Blocked by extension or by detected type (doc, dot).  It also rejected zip and pdf
# (Uguu#117 of 2025-04-19, Uguu#123 of 2025-10-07).
UGUU_BLOCKED = tuple(
    "exe scr com vbs bat cmd htm html jar msi apk phtml svg doc dot zip pdf".split()
)

PROVIDERS: tuple[Provider, ...] = (
    form(
        "catbox",
        "catbox.moe",
        "https://catbox.moe/user/api.php",
        "fileToUpload",
        fields=catbox_fields,
        error_reader=catbox_error,
        retention=catbox_retention,
        use="default",
        limits=Limits(
            max_size=200_000_000,
            by_extension={"gif": 20_000_000},
            blocked=CATBOX_BLOCKED,
        ),
        setup=Setup(
            optional=("CATBOX_USERHASH",),
            secret=("CATBOX_USERHASH",),
            account="CATBOX_USERHASH",
        ),
        delete_with=catbox_delete_with,
        delete=catbox_delete,
        note=f"{ONLY_EXTENSION}; anonymous files cannot be deleted, and expire 2 years after the"
        " last download",
        evidence=Evidence(
            "2026-09-14",
            "catbox.moe/tools.php, /faq; its blog 2026-07-02; AniSync#44 2026-06-03;"
            " mpv-webm#229 2026-09-14",
            Sample("https://files.catbox.moe/ab12cd.png", "https://files.catbox.moe/ab12cd.png"),
        ),
    ),
    form(
        "litterbox",
        "litterbox.catbox.moe",
        "https://litterbox.catbox.moe/resources/internals/api.php",
        "fileToUpload",
        fields=lambda ttl, options: (
            ("reqtype", "fileupload"),
            ("time", f"{int(ttl or 0) // HOUR}h"),
        ),
        read=link_reader(body_text, "catbox.moe"),
        error_reader=catbox_error,
        retention=Retention(
            3 * DAY, (HOUR, 12 * HOUR, 24 * HOUR, 72 * HOUR), "LITTERBOX_DEFAULT_EXPIRATION"
        ),
        use="default",
        limits=Limits(max_size=GiB, blocked=CATBOX_BLOCKED),
        setup=Setup(optional=("LITTERBOX_DEFAULT_EXPIRATION",)),
        note=ONLY_EXTENSION,
        evidence=Evidence(
            "2026-09-08",
            "litterbox.catbox.moe; a dated upload with equal MD5, 2026-09-08",
            Sample("https://litter.catbox.moe/x9y8z7.txt", "https://litter.catbox.moe/x9y8z7.txt"),
        ),
    ),
    form(
        "x0at",
        "x0.at",
        "https://x0.at/",
        "file",
        rename=lambda name: re.sub("[^A-Za-z0-9._-](?=[^.]*$)", "_", name),
        retention=Retention(x0at_ttl),
        use="default",
        limits=Limits(max_size=GiB),
        note=f"{ONLY_EXTENSION}; may reject files over 512 MiB",
        evidence=Evidence(
            "2026-08-03",
            "Rouji/single_php_filehost index.php 2026-06-07; 1024 MiB by its page 2026-05-01,"
            " 100 or 512 before",
            Sample("https://x0.at/Ab3d.tar.gz\n", "https://x0.at/Ab3d.tar.gz"),
        ),
    ),
    form(
        "tmpfilelink",
        "tmpfile.link",
        "https://tmpfile.link/api/upload",
        "file",
        read=link_reader(
            without_query(first_of(json_at("downloadLinkEncoded"), json_at("downloadLink"))),
            "tmpfile.link",
            "tfdl.net",
        ),
        retention=Retention(7 * DAY),
        use="default",
        limits=Limits(max_size=100_000_000),
        evidence=Evidence(
            "2026-06-29",
            "tmpfile.link/blog/api-temporary-upload-guide; links seen until 2026-06-29",
            Sample(
                '{"fileName":"a b.txt","size":3,"type":"text/plain",'
                '"downloadLink":"https://d.tmpfile.link/public/2026-06-29/1/a b.txt",'
                '"downloadLinkEncoded":"https://d.tmpfile.link/public/2026-06-29/1/a%20b.txt"}',
                "https://d.tmpfile.link/public/2026-06-29/1/a%20b.txt",
            ),
        ),
    ),
    form(
        "tmpfilesorg",
        "tmpfiles.org",
        "https://tmpfiles.org/api/v1/upload",
        "file",
        fields=lambda ttl, options: (("expire", str(int(ttl or DAY))),),
        read=link_reader(tmpfilesorg_link, "tmpfiles.org"),
        # The maximum was 86400 in older copies of tmpfiles.org/api, 172800 in October 2026; the
        # default is allowed by both.
        retention=Retention(DAY, range(MINUTE, 2 * DAY + 1)),
        use="default",
        limits=Limits(max_size=100 * MiB),
        note="links can be guessed; not for private files",
        evidence=Evidence(
            "2026-10-07",
            "tmpfiles.org/api, October 2026",
            Sample(
                '{"status":"success","data":{"url":"http://tmpfiles.org/1234/a.txt"}}',
                "https://tmpfiles.org/dl/1234/a.txt",
            ),
        ),
    ),
    put(
        "filebin",
        "filebin.net",
        lambda source: f"https://filebin.net/{os.urandom(12).hex()}/{quote_segment(source.name)}",
        read=filebin_read,
        lookup=filebin_lookup,
        retention=Retention(6 * DAY),
        use="default",
        serves_file=False,
        note="anyone with the link can delete the file",
        evidence=Evidence(
            "2026-06-08",
            "espebra/filebin2 2026-06-08 (retention of the public site: about 6 days)",
            Sample(
                '{"bin":{"id":"0123456789abcdef01234567"},'
                '"file":{"filename":"a b.txt","bytes":3,"sha256":"' + "0" * 64 + '"}}',
                "https://filebin.net/0123456789abcdef01234567/a%20b.txt",
                request_url="https://filebin.net/0123456789abcdef01234567/a%20b.txt",
            ),
        ),
    ),
    pomf(
        "uguu",
        "uguu.se",
        "https://uguu.se/upload",
        retention=Retention(3 * HOUR),
        use="default",
        limits=Limits(max_size=128 * MiB, blocked=UGUU_BLOCKED),
        note=ONLY_EXTENSION,
        evidence=Evidence(
            "2026-02-21",
            "nokonoko/Uguu 1.9.8 2025-10-03; 3 hours by its page",
            Sample(
                '{"success":true,"files":[{"hash":"0","filename":"a.txt",'
                '"url":"https://h.uguu.se/AbCdEfGh.txt","size":3}]}',
                "https://h.uguu.se/AbCdEfGh.txt",
            ),
        ),
    ),
    form(
        "www0x0",
        "0x0.st",
        "https://0x0.st/",
        "file",
        read=null_read,
        fields=null_fields,
        retention=Retention(null_ttl, range(HOUR, 30 * DAY + 1, HOUR)),
        limits=Limits(max_size=512 * MiB, blocked=("exe", "dll", "jar", "apk", "rar", "so")),
        delete=null_delete,
        disabled="disabled by its owner",
        note=ONLY_EXTENSION,
        evidence=Evidence(
            "2026-08-05",
            "mia-0/0x0 fhost.py 2024-03-30; irssi/scripts#910 2026-08-05: disabled, and no"
            " automated use wanted",
            Sample("https://0x0.st/Abcd.txt\n", "https://0x0.st/Abcd.txt"),
        ),
    ),
    put(
        "senditsh",
        "sendit.sh",
        lambda source: f"https://sendit.sh/{quote_segment(source.name)}",
        read=link_reader(last_url("sendit.sh"), "sendit.sh"),
        retention=Retention(DAY),
        limits=Limits(max_size=3_000_000_000),
        single_use="always",
        note="blocked in many companies, because malware used it",
        evidence=Evidence(
            "2026-02-21",
            "one dated upload 2026-02-21; no documentation; Symantec on Seedworm, 2026-02",
            Sample("Done!\n\nwget https://sendit.sh/aB3/a.txt\n", "https://sendit.sh/aB3/a.txt"),
        ),
    ),
    put(
        "bashupload",
        "bashupload.app",
        lambda source: "https://bashupload.app/",
        read=link_reader(last_url("bashupload.app"), "bashupload.app"),
        headers=bashupload_headers,
        retention=bashupload_retention,
        limits=Limits(max_size=5_000_000_000),
        single_use="on request",
        note="drops the file name; 1 hour with --once; not related to bashupload.com",
        evidence=Evidence(
            "2026-05-18",
            "DullJZ/bashupload-r2 2025-11-02; an outage 2026-03-30",
            Sample("\nhttps://bashupload.app/k3Jd9.txt\n\n", "https://bashupload.app/k3Jd9.txt"),
        ),
    ),
    pomf(
        "quax",
        "qu.ax",
        "https://qu.ax/upload.php",
        # Its page offers 1 day to permanent; the name of the form field is not known.
        retention=Retention(None),
        limits=Limits(max_size=256 * MiB),
        note=f"{ONLY_EXTENSION}; accepts listed types only; Cloudflare challenges were seen",
        evidence=Evidence(
            "2026-05-01",
            "its page 2026-05-01; an image uploader's client, 2025-08",
            Sample(
                '{"success":true,"files":[{"name":"a.txt","url":"/AbC.txt","size":3}]}',
                "https://qu.ax/AbC.txt",
                request_url="https://qu.ax/upload.php",
            ),
        ),
    ),
    one_request(
        "termbin",
        "termbin.com",
        termbin,
        link_reader(body_text, "termbin.com"),
        retention=Retention(30 * DAY),
        limits=Limits(max_size=32 * KiB - 1, text_only=True),
        note="drops the file name; unencrypted",
        evidence=Evidence(
            "2026-06-16",
            "solusipse/fiche fiche.c: a buffer of 32 KiB, and a file that fills it is cut",
            Sample("https://termbin.com/a1b2\n\0", "https://termbin.com/a1b2"),
        ),
    ),
    Provider(
        "storageto",
        "storage.to",
        storageto,
        STORAGETO_RETENTION,
        limits=Limits(max_size=25 * 10**9),
        delete=storageto_delete,
        note="3 days by default; 20 uploads and 100 GB a day; untested",
        evidence=Evidence(
            "2026-05-11",
            "storage.to/docs/api and FAQ 2026-05-01; storageto/cli 2026-05-11",
            Sample(
                '{"success":true,"file":{"raw_url":"https://storage.to/r/aB3"}}',
                "https://storage.to/r/aB3",
            ),
            storageto_read,
        ),
    ),
    Provider(
        "transfersh",
        "your server",
        transfersh_from_settings,
        TRANSFERSH_RETENTION,
        use="own",
        single_use="on request",
        setup=Setup(required=("TWAT_FS_TRANSFERSH_URL",), check=transfersh_missing),
        note="-p https://drop.example.org/ needs no setting",
        evidence=Evidence(
            "2026-06-13",
            "dutchcoders/transfer.sh 2026-06-13, server/handlers.go",
            Sample(
                "http://drop.example.org/x1/a.txt",
                "https://drop.example.org/x1/a.txt",
                (("X-Url-Delete", "http://drop.example.org/x1/a.txt/dEl"),),
                "https://drop.example.org/a.txt",
            ),
            transfersh_read,
        ),
    ),
    Provider(
        "s3",
        "your bucket",
        s3,
        s3_retention,
        use="own",
        limits=Limits(max_size=S3_LIMIT, empty=True),
        supports=("remote_path", "force", "public"),
        setup=Setup(
            required=("AWS_S3_BUCKET",),
            optional=("TWAT_FS_S3_PUBLIC_URL",),
            secret=(
                "AWS_SECRET_ACCESS_KEY",
                "AWS_SESSION_TOKEN",
                "AWS_CONTAINER_AUTHORIZATION_TOKEN",
            ),
            check=s3_missing,
            warning=s3_doubt,
            ca_bundle=s3_ca_bundle,
            help="set AWS_S3_BUCKET, and AWS_ACCESS_KEY_ID with AWS_SECRET_ACCESS_KEY (or"
            " AWS_PROFILE); for services other than Amazon AWS_ENDPOINT_URL too",
        ),
        delete=s3_delete,
        note="presigned links for 7 days at most; permanent links with --public",
        evidence=Evidence(
            "2026-11-25",
            "botocore 1.44.8; rclone's, Swift's and moto's servers, 2026-11-25",
            Sample(
                "<ok/>",
                "https://b.s3.us-east-1.amazonaws.com/a",
                request_url="https://b.s3.us-east-1.amazonaws.com/a?x=1",
            ),
            s3_read,
        ),
    ),
    Provider(
        "dropbox",
        "dropbox.com",
        dropbox,
        ANY_TTL,
        use="own",
        limits=Limits(max_size=2**41 - 2**22, empty=True),
        supports=("remote_path", "force"),
        setup=Setup(
            required=("DROPBOX_REFRESH_TOKEN",),
            optional=("DROPBOX_ACCESS_TOKEN", "DROPBOX_APP_KEY", "DROPBOX_APP_SECRET"),
            secret=("DROPBOX_REFRESH_TOKEN", "DROPBOX_ACCESS_TOKEN", "DROPBOX_APP_SECRET"),
            check=dropbox_missing,
            help="make an app at https://www.dropbox.com/developers/apps with"
            " files.content.write, sharing.write and sharing.read;"
            " authorise it with token_access_type=offline",
        ),
        delete=dropbox_delete,
        note="into the folder /upload, or into --remote-path",
        evidence=Evidence(
            "2026-11-23",
            "SDK 12.2.4; dropbox.com/developers/documentation/http",
            Sample(
                '{"url":"https://www.dropbox.com/scl/fi/a1/a.txt?rlkey=k9&dl=0"}',
                "https://www.dropbox.com/scl/fi/a1/a.txt?rlkey=k9&dl=1",
            ),
            dropbox_read,
        ),
    ),
    Provider(
        "fal",
        "fal.ai",
        fal,
        FAL_RETENTION,
        use="own",
        limits=Limits(empty=True),
        setup=Setup(
            required=("FAL_KEY",),
            optional=("FAL_KEY_ID", "FAL_KEY_SECRET"),
            secret=("FAL_KEY", "FAL_KEY_SECRET"),
            check=fal_missing,
            help="make a key at https://fal.ai/dashboard/keys",
        ),
        note="public, cannot be deleted; expires by the account's lifecycle setting",
        evidence=Evidence(
            "2026-11-23",
            "fal_client 1.0.3; fal-ai/fal-js 2026-08-02; fal's documentation 2026",
            Sample(
                '{"access_url":"https://v3.fal.media/files/x/a.txt"}',
                "https://v3.fal.media/files/x/a.txt",
            ),
            fal_read,
        ),
    ),
    put(
        "pixeldrain",
        "pixeldrain.com",
        lambda source: f"https://pixeldrain.com/api/file/{quote_segment(source.name)}",
        headers=pixeldrain_key,
        charset=True,
        read=pixeldrain_read,
        lookup=pixeldrain_lookup,
        delete=pixeldrain_delete,
        retention=Retention(60 * DAY),
        use="own",
        limits=Limits(max_size=10 * 10**9),
        setup=Setup(
            required=("PIXELDRAIN_KEY",),
            secret=("PIXELDRAIN_KEY",),
            help="make a key at https://pixeldrain.com/user/api_keys",
        ),
        note="60 days after the last download; no hot-linking on the free plan, whose links may"
        " show a captcha",
        evidence=Evidence(
            "2026-01-30",
            "Fornaxian/pixeldrain_web API documentation 2026-01-30; limits of a free account",
            Sample('{"success":true,"id":"AbCd1234"}', "https://pixeldrain.com/api/file/AbCd1234"),
        ),
    ),
)

PROVIDERS_PREFERENCE: tuple[str, ...] = tuple(row.id for row in PROVIDERS if row.use == "default")

# The settings of all hosts; the secret ones are never shown.
SETTINGS = tuple(name for row in PROVIDERS for name in (*row.setup.required, *row.setup.optional))
SECRET_SETTINGS = ("TWAT_FS_SERVE_TOKEN", *(name for row in PROVIDERS for name in row.setup.secret))

DEAD = {
    "file.io": "its API was closed in 2025, after LimeWire bought it",
    "transfer.sh": "has shut down (2024); for your own server use -p https://HOST/",
    "bashupload.com": "not supported; bashupload.app is another service",
    "oshi.at": "has shut down (2026-07)",
    "put.re": "has shut down",
    "ix.io": "has shut down",
    "sprunge.us": "has shut down",
    "anonfiles.com": "has shut down",
    "pomf.lain.la": "is shutting down (2026-02-18)",
}


# 12  Custom hosts ---------------------------------------------------------------------------------
#
#    A .sxcu file describes a "custom uploader" of ShareX in JSON: the request, and how to read the
#    link from the response.  It is converted to a row of the table of hosts.  The syntax is that of
#    ShareX 14 to 20; older files are converted to it.  Nine functions are enough for all 143 public
#    files that upload files (ShareX/CustomUploaders, SnapXL/CustomUploaders, 2026-11-27).

MAX_SXCU = 256 * KiB
MAX_CALLS = 20  # in one text; limits the depth, too
MAX_REGEX, MAX_REGEX_INPUT = 1000, 64 * KiB  # characters
REGEX_TIME = 5  # seconds, including the start of a process
REGEX_COMMAND = "_regex"  # a hidden command: the frozen program cannot run Python code
REGEX_CHILD = """import json, re, sys
pattern, text, group = json.load(sys.stdin)
match = re.search(pattern, text)
print(json.dumps(match[int(group) if group.isdigit() else group] if match else ""))"""

VARIABLE = r"\$\{(?!(?:filename|input)\})[A-Za-z_][A-Za-z0-9_]*\}"
HOST_NAME = "[a-z0-9][a-z0-9._-]{0,63}"
PLACEHOLDER = (
    r"(?i)\byour[ ._-]?(own|api|access|auth|secret|token|key|domain|host|server|instance|user"
    r"|pass|upload|name|site|url)|\bYOUR_|<[^<>]+>|^([a-z]+ |https?://)?\[[^]\"]*[a-z][^]\":]*\]"
    r"|\{\{.*\}\}|change[ _-]?me|\b(token|key) here"
)
FORBIDDEN_HEADERS = (
    "(?i)host|content-length|transfer-encoding|connection|expect|proxy-.*|te|trailer|upgrade"
    "|keep-alive"
)
RESPONSE_FIELDS = ("URL", "ThumbnailURL", "DeletionURL", "ErrorMessage")
UPLOADER_TYPES = ("", "none", "imageuploader", "textuploader", "fileuploader")


SXCU = {
    "Version": "17.0.0",
    "DestinationType": "ImageUploader, TextUploader, FileUploader",
}


class Call(NamedTuple):
    """A function call in a text, such as {json:url}; `constant`: its parsed path or pattern."""

    name: str
    parameters: tuple["Text", ...] = ()
    constant: Any = None


Text = tuple[Union[str, Call], ...]


class CustomUploader(NamedTuple):
    """A valid .sxcu file.

    `texts` by field: "URL", "Headers Authorization"; `file_field` is "" for a binary body;
    `problem`: a message about a field that contains a placeholder.
    """

    title: str
    method: str
    host: str
    file_field: str
    texts: Mapping[str, Text]
    variables: tuple[str, ...] = ()
    problem: str = ""

    def texts_of(self, field: str) -> dict[str, Text]:
        """The texts of Headers, Parameters or Arguments by name."""
        prefix = f"{field} "
        names = [name for name in self.texts if name.startswith(prefix)]
        return {name[len(prefix) :]: self.texts[name] for name in names}


class Scope(NamedTuple):
    """The values that the functions of a text can use."""

    filename: str
    settings: Mapping[str, str] = {}
    response: Response = Response(0, {}, b"", "")


# -- functions


JsonPath = list[tuple[bool, Any]]  # steps: whether it is recursive, and a name or an index


def parse_json_path(path: str) -> JsonPath:
    """The steps of a path such as data[0].url; "..name" is searched at any depth."""
    rest = path[1:] if path.startswith("$") else f".{path}"
    step = r"(\.{0,2})(?:\[([0-9]{1,9})\]|\[(['\"])([^'\"]*)\3\]|(?<=\.)([^][.'\"()*?@,]+))"
    matches = list(re.finditer(step, rest))
    steps = [
        (match[1] == "..", int(match[2]) if match[2] else match[4] or match[5] or "")
        for match in matches
    ]
    complete = "".join(match[0] for match in matches) == rest
    if not complete or len(steps) > 100 or sum(recursive for recursive, _ in steps) > 1:
        raise UsageError("unsupported JSON path")
    return steps


def json_function(scope: Scope, values: Sequence[str], path: JsonPath) -> str:
    matches = [json_of(scope.response._replace(body=utf8(values[0])))]
    for recursive, key in path:
        parents = list(descendants(matches)) if recursive else matches
        expected = list if isinstance(key, int) else dict
        fitting = [parent for parent in parents if isinstance(parent, expected)]
        matches = [
            parent[key]
            for parent in fitting
            if key in (range(len(parent)) if expected is list else parent)
        ]
    value = matches[0] if matches else ""
    if len(matches) > 1 or isinstance(value, (dict, list)):
        raise no_link(scope.response)
    return scalar("", value) or ""


def descendants(values: Sequence[Any]) -> Iterator[Any]:
    todo = [*values]
    while todo:
        value = todo.pop()
        yield value
        if isinstance(value, (dict, list)):
            todo += value.values() if isinstance(value, dict) else value


def regex_of(pattern: str, group: str) -> tuple[str, str]:
    """A regular expression of .NET in the syntax of Python, and its group; raises UsageError."""
    pattern = re.sub(r"\(\?<(?![=!])", "(?P<", pattern)
    pattern = re.sub(r"\\k<(\w+)>", r"(?P=\1)", pattern)
    try:
        compiled = re.compile(pattern if len(pattern) <= MAX_REGEX else "(")
        known = group in compiled.groupindex or int(group) <= compiled.groups
    except (re.error, ValueError, RecursionError, OverflowError) as error:
        raise UsageError("unsupported regular expression") from error
    if not known:
        raise UsageError(f"regular expression without group {group}")
    return pattern, group


def regex_function(scope: Scope, values: Sequence[str], regex: tuple[str, str]) -> str:
    """The group of a match, or "".

    Runs in a process that can be stopped, because some patterns take exponential time.
    """
    command = [sys.executable, "-I", "-c", REGEX_CHILD]
    if getattr(sys, "frozen", False):
        command = [sys.executable, REGEX_COMMAND]
    pattern, group = regex
    task = json.dumps([pattern, values[0][:MAX_REGEX_INPUT], group])
    try:
        done = subprocess.run(
            command, input=task, capture_output=True, text=True, timeout=REGEX_TIME
        )
        return json.loads(done.stdout) or ""
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        raise NoLink("the regular expression failed or timed out", phase="reply") from error


def utf8(text: str) -> bytes:
    """The text in UTF-8; "?" replaces lone surrogates, which JSON can contain."""
    return text.encode("utf-8", "replace")


Function = Callable[[Scope, Sequence[str], Any], str]
# The minimum number of parameters of a function, and the function.
FUNCTIONS: Mapping[str, tuple[int, Function]] = {
    "filename": (0, lambda scope, values, _: scope.filename),
    "input": (0, lambda scope, values, _: ""),  # the text of a text upload
    "base64": (1, lambda scope, values, _: base64.b64encode(utf8(values[0])).decode()),
    "random": (2, lambda scope, values, _: values[os.urandom(1)[0] % len(values)]),
    "inputbox": (2, lambda scope, values, _: values[1]),  # a question, with its default
    "prompt": (2, lambda scope, values, _: values[1]),
    "response": (0, lambda scope, values, _: scope.response.text()),
    "responseurl": (0, lambda scope, values, _: scope.response.url),
    "header": (1, lambda scope, values, _: scope.response.headers.get(values[0], "")),
    "json": (1, json_function),
    "regex": (1, regex_function),
}
OF_RESPONSE = ("response", "responseurl", "header", "json", "regex")
UNSUPPORTED = ("xml", "select", "outputbox")
FUNCTION_NAMES = "|".join((*FUNCTIONS, *UNSUPPORTED))


class TextParser:
    """Parses the text of a field; `regexes` is the RegexList of an old file.

    Messages never contain values of the file, which may be secret.
    """

    def __init__(self, field: str, regexes: Sequence[str] = ()) -> None:
        self.field, self.regexes, self.calls = field, regexes, 0

    def parse(self, text: str) -> Text:
        """The parsed text; raises UsageError.

        A bar or a closing brace at top level ends the text, as in ShareX.
        """
        variable = VARIABLE if " " in self.field else "(?!)"  # only in Headers and the like
        self.tokens = iter(re.findall(rf"(?s){variable}|\\.?|[{{}}|:$]|[^\\{{}}|:$]+", text))
        return self.sequence()[0]

    def sequence(self) -> tuple[Text, str]:
        """The text up to a bar or a closing brace, and that character ("" at the end)."""
        pieces: list[Union[str, Call]] = []
        for token in self.tokens:
            if token in ("|", "}"):
                return tuple(pieces), token
            if token == "{":
                pieces.append(self.call())
            elif token.startswith("${"):
                pieces.append(Call("", constant=token[2:-1]))
            else:
                pieces.append(token[1:] if token[0] == "\\" else token)
        return tuple(pieces), ""

    def call(self) -> Call:
        self.calls += 1
        if self.calls > MAX_CALLS:
            raise UsageError(f"{self.field}: too many functions")
        name = end = ""
        for end in self.tokens:
            if end in (":", "}"):
                break
            name += end
        parameters: list[Text] = []
        end = "|" if end == ":" else ""
        while end == "|":
            parameter, end = self.sequence()
            parameters.append(parameter)
        return self.checked(name.lower(), parameters)

    def checked(self, name: str, parameters: list[Text]) -> Call:
        """The call after validation.

        For json and regex, the only parameter is the text to search; the rest is the constant.
        """
        problem = ""
        if name in UNSUPPORTED:
            problem = f"unsupported function {{{name}}}"
        elif name not in FUNCTIONS:
            problem = "unknown function (write \\{ for a brace)"
        elif len(parameters) < FUNCTIONS[name][0]:
            problem = f"{{{name}}}: too few parameters"
        elif name in OF_RESPONSE and self.field not in RESPONSE_FIELDS:
            problem = f"{{{name}}} is known only after the upload"
        if problem:
            raise UsageError(f"{self.field}: {problem}")
        if name not in ("json", "regex"):
            return Call(name, tuple(parameters))
        most = 1 if name == "json" else 2  # parameters without a text to search
        first = 1 if len(parameters) > most else 0
        searched = parameters[0] if first else (Call("response"),)
        try:
            return Call(name, (searched,), self.constant(name, parameters[first:]))
        except UsageError as error:
            raise UsageError(f"{self.field}: {error}") from error

    def constant(self, name: str, texts: Sequence[Text]) -> Any:
        """The path, or the pattern and the group, which must not contain functions."""
        if any(isinstance(piece, Call) for text in texts for piece in text):
            raise UsageError(f"{{{name}}}: unsupported function in a pattern or path")
        constants = ["".join(map(str, text)) for text in texts]
        if name == "json":
            return parse_json_path(constants[0])
        number = parse_number(constants[0]) or 0
        if 1 <= number <= len(self.regexes):
            constants[0] = self.regexes[number - 1]
        return regex_of(*[*constants, "0"][:2])


def evaluate(text: Text, scope: Scope) -> str:
    """The value of a text; raises NoLink if it cannot be read from the response."""
    value = ""
    for piece in text:
        if isinstance(piece, str):
            value += piece
        elif not piece.name:  # ${NAME}
            value += scope.settings.get(piece.constant, "")
        else:
            values = [evaluate(parameter, scope) for parameter in piece.parameters]
            value += FUNCTIONS[piece.name][1](scope, values, piece.constant)
        if len(value) > MAX_RESPONSE:
            raise NoLink("the value is too long", phase="reply")
    return value


# -- the file


def lenient_json(content: bytes) -> Mapping[str, Any]:
    """The fields by name in lower case; accepts comments and trailing commas."""
    string = r'("(?:[^"\\]|\\.)*")'
    if len(content) > MAX_SXCU:
        raise UsageError(f"invalid .sxcu file: larger than {human(MAX_SXCU)}")
    try:
        text = content.decode("utf-8-sig")
        for noise in (r"//[^\n]*|/\*.*?\*/", r",(?=\s*[}\]])"):
            text = re.sub(f"(?s){string}|{noise}", lambda match: match[1] or "", text)
        fields = json.loads(text, strict=False)
        return {name.lower(): value for name, value in fields.items()}
    except (ValueError, AttributeError, RecursionError) as error:
        where = f" in line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        raise UsageError(f"invalid .sxcu file: invalid JSON{where}") from error


def scalar(field: str, value: Any) -> Optional[str]:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, (dict, list)):
        raise UsageError(f"{field}: expected text")
    return json.dumps(value)


def converter(texts: Iterable[str], version: str) -> Callable[[str], str]:
    """The function that converts the texts of this file to the current syntax.

    Depends on the content: the version is not reliable (files of "1.0.0" use the current syntax).
    """
    everything = "\n".join(texts)
    numbers = [int(number) for number in re.findall("[0-9]{1,6}", version)]
    if re.search(rf"(?i)\{{({FUNCTION_NAMES})[}}:]", everything):
        return str
    if re.search(rf"(?i)\$({FUNCTION_NAMES})[$:]", everything):
        return modern_syntax
    return literal if numbers and numbers <= [13, 7, 1] else str


def literal(text: str) -> str:
    """The text with its braces, bars and backslashes escaped, except for ${NAME}."""
    escape = r"(?s)(\$\{[A-Za-z_]\w*\})|([\\{}|])"
    return re.sub(escape, lambda match: match[1] or "\\" + match[2], text)


def modern_syntax(text: str) -> str:
    """Convert $json:url$ to {json:url}; drop backslashes with their character, as ShareX does."""
    braces = itertools.cycle("{}")

    def convert(match: "re.Match[str]") -> str:
        if match[0] == "$":
            return next(braces)
        return "" if match[0].startswith("\\") else literal(match[0])

    return re.sub(rf"(?s){VARIABLE}|\\.?|[${{}}]", convert, text)


def parse_sxcu(content: bytes) -> CustomUploader:
    """Parse a .sxcu file.

    Raises UsageError if it is invalid or not supported; its message has no values of the file.
    """
    fields = lenient_json(content)

    def field(*names: str) -> str:
        values = [scalar(name, fields.get(name.lower())) for name in names]
        return next(filter(None, values), "")

    types = field("DestinationType").lower().split(",") or [""]
    if not any(each.strip() in UPLOADER_TYPES for each in types):
        raise UsageError("DestinationType: accepts no files (a URL shortener?)")
    method = field("RequestMethod", "RequestType").upper() or "POST"
    if method not in ("POST", "PUT", "PATCH"):
        raise UsageError("RequestMethod: not supported (use POST, PUT or PATCH)")
    is_binary = field("Body", "RequestFormat").lower() == "binary"
    file_field = "" if is_binary else field("FileFormName")
    if not file_field and not is_binary:
        raise UsageError("FileFormName is missing (required unless Body is Binary)")
    check_name_of("FileFormName", file_field)
    url, _, query = field("RequestURL").partition("?")
    raw = {"RequestURL": url, **{name: field(name) for name in RESPONSE_FIELDS}}
    raw.update(named_values(fields, query))
    convert = converter(raw.values(), field("Version"))
    regexes = fields.get("regexlist") or []
    if not isinstance(regexes, list):
        raise UsageError("RegexList: expected a list")
    texts: dict[str, Text] = {}
    problem = ""
    for name, text in raw.items():
        if name not in RESPONSE_FIELDS and re.search(PLACEHOLDER, text):
            problem = problem or f"{printable(name)} has a placeholder"
        else:
            texts[name] = TextParser(name, [*map(str, regexes)]).parse(convert(text))
    host = "-"
    if "RequestURL" in texts:
        texts["RequestURL"], host = checked_url(texts["RequestURL"])
    pieces = itertools.chain(*texts.values())
    variables = [p.constant for p in pieces if isinstance(p, Call) and not p.name]
    title = printable(field("Name"))
    return CustomUploader(title, method, host, file_field, texts, tuple(variables), problem)


def named_values(fields: Mapping[str, Any], query: str) -> Iterator[tuple[str, str]]:
    """The values of Parameters (with the query of RequestURL), Headers and Arguments.

    Their keys are like "Headers NAME".
    """
    parameters = dict(urllib.parse.parse_qsl(query, keep_blank_values=True))
    for field in ("Parameters", "Headers", "Arguments"):
        values = fields.get(field.lower()) or {}
        if not isinstance(values, dict):
            raise UsageError(f"{field}: expected an object")
        if field == "Parameters":
            values = {**parameters, **values}
        for name, value in values.items():
            check_name_of(field, name)
            text = scalar(f"{field} {name}", value)
            if text is not None:
                yield f"{field} {name}", text


def check_name_of(field: str, name: str) -> None:
    """Raises UsageError for a name that cannot be sent."""
    if field == "Headers" and re.fullmatch(FORBIDDEN_HEADERS, name):
        raise UsageError(f"Headers: {name} is not allowed")
    allowed = r"[A-Za-z0-9!#$%&'*+.^_`|~-]+" if field == "Headers" else r"[^\0-\x1f\x7f]*"
    if not re.fullmatch(allowed, name) or re.search(UNSAFE_CHARACTER, name):
        raise UsageError(f"{field}: a name with an invalid character")


def checked_url(url: Text) -> tuple[Text, str]:
    """The RequestURL with its scheme, and its host, which must not contain functions."""
    strings = list(itertools.takewhile(lambda piece: isinstance(piece, str), url))
    start = "".join(map(str, strings))
    rest = url[len(strings) :]
    if "://" not in start:
        start = f"https://{start}"
    match = re.match(r"(?i)https?://[^\s/?#@\\]+" + ("/" if rest else "(/|$)"), start)
    try:
        if match and "#" not in start:
            return (start, *rest), parse_target(match[0]).netloc()
    except NoLink:
        pass
    raise UsageError("RequestURL: invalid or unsupported URL (expected https://HOST/)")


# -- request and link


def sxcu_request(uploader: CustomUploader, source: Source, options: UploadOptions) -> Request:
    """The request for a file.

    Raises UsageError for a value that cannot be sent, and for a public host without https.
    """
    scope = Scope(quote_segment(source.name), options.settings)
    url = evaluate(uploader.texts["RequestURL"], scope)
    target = parse_target(url)
    if target.scheme == "http" and not (is_private(target.host) or options.insecure):
        hint = "use --insecure to upload without encryption"
        raise UsageError(f"{target.host}: http is not encrypted", hint=hint)
    scope = scope._replace(filename=source.name)
    parameters, headers, arguments = (
        {name: evaluate(text, scope) for name, text in uploader.texts_of(field).items()}
        for field in ("Parameters", "Headers", "Arguments")
    )
    values = [*parameters.items(), *headers.items(), *arguments.items()]
    for name, value in (("RequestURL", url), *values):
        if re.search(UNSAFE_CHARACTER, value):
            raise UsageError(f"{printable(name)}: invalid character in the value")
    if parameters:
        quote = urllib.parse.quote_plus
        pairs = [quote(k) + ("=" + quote(v) if v else "") for k, v in parameters.items()]
        url += "?" + "&".join(pairs)
    body: Body = source.body
    # Capitalized like the default headers, so that they replace them.
    headers = {name.title(): ascii_header(value) for name, value in headers.items()}
    headers.setdefault("Content-Type", guess_type(source.name))
    if uploader.file_field:  # replaces a Content-Type of the .sxcu file, which lacks the boundary
        fields = [(name.replace('"', "%22"), value) for name, value in arguments.items()]
        headers["Content-Type"], body = multipart(fields, uploader.file_field, source)
    return Request(
        uploader.method,
        iri_to_uri(url),
        tuple(headers.items()),
        body,
        accepted_statuses=(301, 302, 303),
        error_reader=functools.partial(sxcu_error, uploader, source.name),
        secrets=tuple(secrets_of(value for _, value in values)),
    )


def ascii_header(value: str) -> str:
    return re.sub("[^ -~]+", lambda match: quote_segment(match[0]), value)


def secrets_of(values: Iterable[str]) -> Iterator[str]:
    """The values and their words to mask in messages, except for those under 4 characters."""
    for value in values:
        yield from (word for word in [value, *re.split(r"[\s;=]+", value)] if len(word) > 3)


def sxcu_error(uploader: CustomUploader, name: str, response: Response) -> Optional[UploadError]:
    """The error with the text of ErrorMessage, unless a retry may help."""
    status = response.status
    retry_helps = status in (408, 425, 429) or status > 501
    message = "" if status < 400 or retry_helps else host_message(uploader, name, response)
    if not message:
        return None
    return Refused(f"{status}: {message}", phase="reply", status=status, started=True)


def host_message(uploader: CustomUploader, name: str, response: Response) -> str:
    with contextlib.suppress(NoLink):
        scope = Scope(name, {}, response.redacted())
        return printable(evaluate(uploader.texts["ErrorMessage"], scope))
    return ""


def sxcu_link(uploader: CustomUploader, name: str, response: Response) -> Link:
    """The link in a response; raises NoLink."""
    scope = Scope(quote_segment(name), {}, response)

    def url(field: str) -> str:
        text = uploader.texts[field] or (Call("response"),)
        return result_url(evaluate(text, scope), uploader, response)

    def optional_url(field: str) -> Optional[str]:
        with contextlib.suppress(NoLink):
            return url(field) if uploader.texts[field] else None
        return None

    try:
        link = Link(url("URL"))
    except NoLink as error:
        message = host_message(uploader, name, response)  # catbox sends errors with status 200
        if message:
            raise no_link(response, message) from error
        raise
    delete_page, thumbnail = optional_url("DeletionURL"), optional_url("ThumbnailURL")
    return link._replace(delete_page=delete_page, thumbnail=thumbnail)


def result_url(text: str, uploader: CustomUploader, response: Response) -> str:
    """The text as an absolute http or https URL.

    Raises NoLink for anything else, for unevaluated syntax, and for local addresses.
    """
    text = text.strip(BLANK)
    leftover = rf"(?i)[\s{{}}]|\$({FUNCTION_NAMES})[$:]|{UNSAFE_CHARACTER}"
    if not text or len(text) > 2048 or re.search(leftover, text):
        raise no_link(response)
    if re.match(r"[\w-]+(\.[\w-]+)+(:[0-9]+)?/", text):  # tsunyoku/Katagami: no scheme
        text = f"//{text}"
    if not re.match("(?i)(https?:)?//[^/?#]|/[^/]", text):
        raise no_link(response)
    try:
        url = urllib.parse.urljoin(response.url, text)
        target = parse_target(url)
        fragment = iri_to_uri(urllib.parse.urlsplit(url).fragment)
    except ValueError as error:
        raise no_link(response) from error
    if target.scheme == "tcp":
        raise no_link(response)
    check_public(target, uploader, response)
    base = f"{target.scheme}://{target.netloc()}{target.path}"
    return f"{base}#{fragment}" if fragment else base


def check_public(target: Target, uploader: CustomUploader, response: Response) -> None:
    """Raises NoLink if the URL from a public host has a local address, as in `is_local`."""
    if is_local(target.host) and not is_private(parse_target(f"https://{uploader.host}").host):
        raise no_link(response, f"link points to a local address, {target.netloc()}")


# Also the names in /etc/hosts of Debian and Fedora.
LOCAL_NAME = r"(?i)(^|[.-])(localhost|loopback)[46]?(\.localdomain[46]?)?\.?$"


def is_local(host: str) -> bool:
    """Whether a host is this machine, a link-local address, or an unspecified address."""
    address = parse_address(host)
    if not address:
        return bool(re.search(LOCAL_NAME, host))
    is_zero = address.version == 4 and int(address) < 1 << 24
    return address.is_loopback or address.is_link_local or address.is_unspecified or is_zero


def is_private(host: str) -> bool:
    address = parse_address(host)
    is_name = host.lower().rstrip(".").endswith(".local")
    return is_local(host) or is_name or bool(address and address.is_private)


def follow_redirects(uploader: CustomUploader, response: Response, send: Send) -> Response:
    """The last response of the redirects after an upload; sends no headers of the upload."""
    for _ in range(MAX_REDIRECTS):
        onward = redirected(Request("GET", response.url), response)
        if not onward:
            return response
        check_public(parse_target(onward.url), uploader, response)
        redirects = (301, 302, 303, 307, 308)
        following = send(onward._replace(idempotent=True, accepted_statuses=redirects))
        response = following._replace(redact=response.redact)
    raise no_link(response, "too many redirects")


# -- rows


def custom_host(
    id: str, uploader: CustomUploader, path: str = "", allowed: Sequence[str] = ()
) -> Provider:
    """The row of a .sxcu file; `allowed`: the environment variables that it may use."""

    def upload(source: Source, options: UploadOptions, send: Send) -> Link:
        request = sxcu_request(uploader, source, options)
        response = follow_redirects(uploader, send(request), send)
        link = sxcu_link(uploader, source.name, response)
        if leaks(link.delete_page or "", request.secrets):
            hidden = "the delete page contains a secret of the .sxcu file, and is not shown"
            link = link._replace(delete_page=None, warning=hidden)
        return link

    def problem(settings: Mapping[str, str]) -> str:
        for name in uploader.variables:
            if name not in allowed:
                return f"${{{name}}} is not allowed (see `hosts add --allow-env`)"
            if not settings.get(name):
                return missing_setting(name, settings)
        return uploader.problem

    names = tuple(name for name in uploader.variables if name in allowed)
    return Provider(
        id,
        uploader.host,
        upload,
        Retention(None),
        use="own",
        limits=Limits(empty=True),
        setup=Setup(required=names, secret=names, check=problem, help=f"edit {printable(path)}"),
        note=f"{uploader.title} (.sxcu, only if named)".lstrip(),
        check=functools.partial(sxcu_request, uploader),
    )


CACHE_HOME = "LOCALAPPDATA" if os.name == "nt" else "XDG_CACHE_HOME"
CONFIG_HOME = "APPDATA" if os.name == "nt" else "XDG_CONFIG_HOME"
STATE_HOME = "LOCALAPPDATA" if os.name == "nt" else "XDG_STATE_HOME"


def user_folder(settings: Mapping[str, str], variable: str, default: str) -> str:
    """The program's folder, below the one that a variable names."""
    return os.path.join(settings.get(variable) or os.path.expanduser(default), "twat-fs")


def hosts_folder(settings: Mapping[str, str]) -> str:
    return os.path.join(user_folder(settings, CONFIG_HOME, "~/.config"), "hosts")


def read_sxcu(path: str) -> bytes:
    try:
        stat_regular_file(path)
        with open(path, "rb") as file:
            return file.read(MAX_SXCU + 1)
    except OSError as error:
        raise UsageError(f"{printable(path)}: {local_reason(error)}") from error
    except Unreadable as error:
        raise UsageError(str(error)) from error


def added_names(settings: Mapping[str, str]) -> list[str]:
    with contextlib.suppress(OSError):
        names = sorted(os.listdir(hosts_folder(settings)))
        return [name[:-5] for name in names if re.fullmatch(rf"{HOST_NAME}\.sxcu", name)]
    return []


def allowed_variables(settings: Mapping[str, str], name: str) -> list[str]:
    """The variables of --allow-env, which are stored in a file, one per line."""
    path = os.path.join(hosts_folder(settings), f"{name}.env")
    with contextlib.suppress(OSError, ValueError), open(path, encoding="ascii") as file:
        return file.read().split()
    return []


def load_host(name: str, settings: Mapping[str, str]) -> Optional[Provider]:
    """The row of a .sxcu file by path, or by the name of an added host; raises UsageError."""
    path = name
    allowed: list[str] = []
    if name.lower().endswith(".sxcu"):
        stem = os.path.basename(name)[:-5]
        is_known = any(stem == row.id for row in PROVIDERS)
        name = os.path.basename(name) if is_known else printable(stem)
    elif name in added_names(settings):
        path = os.path.join(hosts_folder(settings), f"{name}.sxcu")
        allowed = allowed_variables(settings, name)
        is_open = os.path.exists(path) and os.stat(path).st_mode & 0o022
        if is_open and os.name != "nt":
            raise UsageError(f"{path}: others can write to it", hint=f"chmod 600 {path}")
    else:
        return None
    content = read_sxcu(path)
    try:
        return custom_host(name, parse_sxcu(content), path, allowed)
    except UsageError as error:
        raise UsageError(f"{printable(path)}: {error}") from error


def custom_hosts(settings: Mapping[str, str]) -> Iterator[Provider]:
    """The added hosts; for an invalid file a row with the error."""
    for name in added_names(settings):
        try:
            row = load_host(name, settings)
        except UsageError as error:
            broken = CustomUploader("", "", "-", "", {}, problem=str(error))
            row = custom_host(name, broken)._replace(note=str(error))
        if row:
            yield row


def sxcu_of(row: Provider) -> dict[str, Any]:
    """The .sxcu file for a row with one request; the recorded response defines the URL syntax.

    Raises UsageError unless that syntax reads the right link from the recorded response.
    """
    failure = UsageError(f"{row.id} cannot be written as .sxcu")
    requests: list[Request] = []

    def send(request: Request) -> Response:
        requests.append(request)
        raise failure

    sample = row.evidence.sample
    if not sample or not row.evidence.read or row.setup.required:
        raise failure
    for _ in range(2):
        with contextlib.suppress(UsageError):
            row.upload(Source("FILENAME", (), 0, 0.0), UploadOptions(), send)
    request, url = requests[0], requests[0].url
    # Some hosts need a new folder or token for each upload.
    own = [header for header in request.headers if header[0] != "Content-Type"]
    same = requests[1].url == url and set(own) <= set(requests[1].headers)
    if not same or not url.startswith("https:"):
        raise failure
    content = b"".join(piece for piece in request.body if isinstance(piece, bytes)).decode()
    fields = dict(re.findall(r'data; name="([^"]*)"\r\n\r\n(.*?)\r\n--', content, re.S))
    file_field = re.search(r'name="([^"]*)"; filename=', content)
    description = {
        **SXCU,
        "Name": row.id,
        "RequestMethod": request.method,
        "RequestURL": literal(url).replace("FILENAME", "{filename}"),
        "Headers": {name: literal(value) for name, value in own},
        "Body": "MultipartFormData" if file_field else "Binary",
        "Arguments": {name: literal(value) for name, value in fields.items()},
        "FileFormName": file_field[1] if file_field else "",
        "URL": url_text(sample),
    }
    response = Response(200, dict(sample.headers), sample.body.encode(), url)
    with contextlib.suppress(NoLink):
        uploader = parse_sxcu(json.dumps(description).encode())
        if sxcu_link(uploader, "FILENAME", response).url == sample.url:
            return {name: value for name, value in description.items() if value}
    raise failure


def url_text(sample: Sample) -> str:
    """The syntax that reads the link of a recorded response."""
    with contextlib.suppress(ValueError):
        for path, value in json_leaves(json.loads(sample.body)):
            if len(value) > 3 and value in sample.url:
                return literal(sample.url).replace(value, f"{{json:{path}}}")
    return "{response}"


def json_leaves(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """The strings of a JSON value with their paths."""
    if isinstance(value, dict):
        for name, child in value.items():
            yield from json_leaves(child, f"{path}.{name}".lstrip("."))
    elif isinstance(value, list):
        for index, child in enumerate(value):
            yield from json_leaves(child, f"{path}[{index}]")
    elif isinstance(value, str):
        yield path, value


# 13  Settings -------------------------------------------------------------------------------------


TERMINAL_SETTINGS = (
    "NO_COLOR TERM TMUX SSH_TTY SSH_CONNECTION WAYLAND_DISPLAY DISPLAY TWAT_FS_COPY".split()
)


NO = ("", "0", "no", "off", "false")  # values of TWAT_FS_COPY and TWAT_FS_HISTORY


def environment() -> tuple[Mapping[str, str], Mapping[str, str]]:
    """The settings and the proxies from the environment of this process."""
    names = {"TWAT_FS_DEFAULT_PROVIDER", "TWAT_FS_TIMEOUT", "TWAT_FS_SERVE_TOKEN", *SETTINGS}
    names |= {CACHE_HOME, CONFIG_HOME, STATE_HOME, "TWAT_FS_HISTORY", "SOURCE_DATE_EPOCH"}
    names.update(TERMINAL_SETTINGS)
    base = {CONFIG_HOME: os.environ.get(CONFIG_HOME, "")}
    for name in added_names(base):
        names.update(allowed_variables(base, name))
    names |= {name for name in os.environ if name.startswith("AWS_")}
    settings = {name: os.environ[name].strip() for name in sorted(names) if name in os.environ}
    proxies = [name for name in os.environ if name.lower().endswith("_proxy")]
    if sys.platform in ("win32", "darwin") or proxies:
        return settings, urllib.request.getproxies()
    return settings, {}  # without urllib.request, whose import takes longer than all other steps


def number_type(
    parse: Callable[[str], Optional[float]], like: str, least: float, most: float = 1e12
) -> Callable[[Any], float]:
    """A converter for argparse and for the arguments of Python programs.

    Accepts text that `parse` reads, numbers, and timedeltas, from `least` to `most`.
    """

    def convert(value: Any) -> float:
        read: Any = parse(value) if isinstance(value, str) else value
        read = read.total_seconds() if hasattr(read, "total_seconds") else read
        if type(read) in (int, float) and least <= read <= most:
            return int(read) if isinstance(least, int) else read
        shown = printable(repr(value), 40)
        raise argparse.ArgumentTypeError(f"invalid value {shown} (expected {like})")

    return convert


SECONDS_TYPE = number_type(parse_seconds, "seconds, or like 5m", 0.001)
DURATION_TYPE = number_type(parse_duration, "a time like 10m, 12h, 7d or 4w", 1)
NUMBERS: Mapping[str, Callable[[Any], float]] = {
    "expire": DURATION_TYPE,
    "keep": DURATION_TYPE,
    "connect_timeout": SECONDS_TYPE,
    "timeout": SECONDS_TYPE,
    "max_time": SECONDS_TYPE,
    "limit_rate": number_type(parse_size, "a size like 500k, 20M or 4G", 1, sys.maxsize),
    "ip_version": number_type(parse_number, "4 or 6", 4, 6),
    "retry": number_type(parse_number, "0 to 20", 0, 20),
    "jobs": number_type(parse_number, "1 to 64", 1, 64),
    "SOURCE_DATE_EPOCH": number_type(parse_number, "seconds since 1970", 0),
}


def checked_type(name: str, value: Any, default: Any) -> Any:
    """The value of an option in the type of the engine; raises UsageError.

    Options whose default is None accept text.
    """
    if value is default:
        return value
    if name in NUMBERS:
        try:
            return NUMBERS[name](value)
        except argparse.ArgumentTypeError as error:
            raise UsageError(f"{name}: {error}") from error
    is_mapping = isinstance(value, Mapping)
    expected = bool if isinstance(default, bool) else str
    values = [*value, *value.values()] if is_mapping else [value]
    same_shape = is_mapping == isinstance(default, Mapping)
    if same_shape and all(isinstance(each, expected) for each in values):
        return value
    raise UsageError(f"{name}: invalid type (expected {expected.__name__})")


def with_environment(options: UploadOptions) -> UploadOptions:
    """The valid options with the settings of the environment; raises UsageError."""
    defaults = UploadOptions._field_defaults.values()
    options = UploadOptions(*map(checked_type, UploadOptions._fields, options, defaults))
    settings, proxies = environment()
    options = options._replace(
        settings={**settings, **options.settings}, proxies=options.proxies or proxies
    )
    if options.proxy == "":  # no proxy, as with curl
        options = options._replace(proxy=None, proxies={})
    timeout = options.settings.get("TWAT_FS_TIMEOUT")
    if timeout and options.timeout is None:
        with naming_setting("TWAT_FS_TIMEOUT"):
            options = options._replace(timeout=checked_type("timeout", timeout, None))
    check_options(options)
    return options


def network_of(options: UploadOptions) -> Network:
    """The part of the options that a Transport needs; raises UsageError."""
    settings = options.settings.items()
    return Network(
        proxy=parse_proxy(options.proxy) if options.proxy else None,
        proxies=options.proxies,
        cacert=options.cacert,
        insecure=options.insecure,
        ip_version=options.ip_version,
        connect_timeout=options.connect_timeout,
        idle_timeout=options.timeout or STALL,
        max_time=options.max_time,
        limit_rate=options.limit_rate,
        secrets=tuple(value for name, value in settings if name in SECRET_SETTINGS),
    )


def check_options(options: UploadOptions) -> None:
    """Raises UsageError for options that are invalid or conflict with each other."""
    if options.expire and options.keep and options.keep > options.expire:
        expire, keep = short_duration(options.expire), short_duration(options.keep)
        raise UsageError(f"--expire {expire} conflicts with --keep {keep}")
    for name, choices in (("verify", ("auto", "full", "none")), ("ip_version", (None, 4, 6))):
        value = getattr(options, name)
        if value not in choices:
            allowed = ", ".join(map(str, choices))
            raise UsageError(f"{name}: invalid value {value!r} (choose from {allowed})")
    if options.once and options.verify == "full":
        raise UsageError(
            "--once cannot be combined with --verify full (it would use up the download)"
        )
    if options.name is not None:
        check_name(options.name)
    if options.proxy:
        parse_proxy(options.proxy)


def check_name(name: str) -> None:
    unsafe = {**UNSAFE, "a slash": r"[/\\]"}
    reasons = [f"must not contain {what}" for what in unsafe if re.search(unsafe[what], name)]
    if not name.strip():
        reasons = ["must not be empty"]
    elif len(name.encode("utf-8", "replace")) > MAX_NAME:
        reasons.append(f"must not be longer than {MAX_NAME} bytes")
    if reasons:
        raise UsageError(f"--name {printable(name, 60)!r}: {reasons[0]}")


# 14  The engine -----------------------------------------------------------------------------------


def objection(provider: Provider, source: Source, options: UploadOptions) -> Optional[UploadError]:
    """The reason why this host cannot be used for this file; None if it can be used.

    Pure, except that a short file is read if the host accepts only text.
    """
    problem = setup_problem(provider, options.settings)
    if problem:
        return NotConfigured(problem, phase="setup", hint=setup_help(provider, options.settings))
    reason = unsuitable_reason(provider, source, options)
    if reason:
        return Unsuitable(reason, phase="file")
    try:
        if provider.check:
            provider.check(source, options)
        lifetime(provider, source.size, options)
    except UploadError as error:
        return error
    return None


def setup_help(provider: Provider, settings: Mapping[str, str]) -> str:
    """How to configure the host; "" if that would name a setting that is set already."""
    text = provider.setup.help or provider.note
    is_set = [name for name in provider.setup.required if settings.get(name)]
    return "" if any(f"set {name}" in text for name in is_set) else text


def setup_problem(provider: Provider, settings: Mapping[str, str]) -> str:
    """The missing or invalid setting of this host; "" if there is none."""
    setup = provider.setup
    for name in (*setup.required, *setup.optional):
        value = settings.get(name, "")
        if not value.isprintable() or not (value.isascii() or name.endswith("_URL")):
            return f"{name} contains an invalid character (a line break?)"
    if setup.check:
        return setup.check(settings)
    if isinstance(provider.retention, Retention) and settings.get(provider.retention.setting):
        try:
            retention_from_setting(provider.retention, settings[provider.retention.setting])
        except NotConfigured as error:
            return str(error)
    unset = [name for name in setup.required if not settings.get(name)]
    return missing_setting(unset[0], settings) if unset else ""


def supports(provider: Provider, option: str) -> bool:
    return provider.single_use != "no" if option == "once" else option in provider.supports


def unsuitable_reason(provider: Provider, source: Source, options: UploadOptions) -> str:
    extension, size, limits = source.extension(), source.size, provider.limits
    if not size and not limits.empty:
        return "empty files are not accepted"
    max_size = limits.by_extension.get(extension, limits.max_size)
    if max_size is not None and size + limits.overhead > max_size:
        size_text = human(size) if human(size) != human(max_size) else f"{size} bytes"
        files = f" for .{extension}" if extension in limits.by_extension else ""
        return f"file too large: {size_text} (max {limit_text(max_size)}{files})"
    if extension and any(fnmatch.fnmatchcase(extension, pattern) for pattern in limits.blocked):
        return f".{extension} files are blocked"
    for name in ("remote_path", "force", "public", "once"):
        if getattr(options, name) not in (None, False) and not supports(provider, name):
            able = ", ".join(row.id for row in PROVIDERS if supports(row, name))
            return f"does not support --{name.replace('_', '-')} (these do: {able})"
    if limits.text_only and not is_text(source.body):
        return "accepts text files only"
    return ""


# With 520 to 524 Cloudflare reports that it cannot reach the host.
BUSY = frozenset((408, 425, 429, 502, 503, 504, 520, 521, 522, 523, 524))


def judge(request: Request, response: Response) -> Response:
    """The response if it is a success; raises Busy or Refused with the host's message."""
    error = request.error_reader(response) if request.error_reader else None
    if error:
        raise error
    status = response.status
    if 200 <= status < 300 or status in request.accepted_statuses:
        return response
    error_class: type[UploadError] = Refused
    delay: Optional[float] = None
    hint = ""
    if is_challenge(response):
        hint = "only a browser can pass: use another host, or another network"
    elif status in BUSY or (status == 500 and request.idempotent):
        error_class, delay = Busy, requested_delay(response)
    raise error_class(
        refusal_text(response),
        phase="reply",
        status=status,
        started=bool(request.body),
        retry_after=delay,
        hint=hint,
    )


def pause(error: UploadError, attempt: int, retry: int, last: bool = True) -> Optional[float]:
    """Seconds before the next try at the same host, None for no further try.

    `attempt` counts from 1.  A request whose body was partly sent may have arrived, so it is sent
    at most once more.  There is no retry if the name does not exist or the proxy cannot reach the
    host, and no long wait while another host is left (not `last`).
    """
    if isinstance(error, NotYet):  # only the verification knows how long it can wait
        return error.retry_after
    if not isinstance(error, RetryableError) or error.everywhere or error.phase in ("dns", "proxy"):
        return None
    if not last and (error.timed_out or error.phase in ("connect", "tls")):
        return None
    if attempt > min(retry, 1 if error.started else retry):
        return None
    if error.retry_after is not None:
        longest = MAX_PAUSE if last else SHORT_WAIT
        return error.retry_after if error.retry_after <= longest else None
    return min(MAX_PAUSE, 0.5 * 2.0 ** (attempt - 1))


class Progress:
    """The events of the engine, for a display; by default every method does nothing."""

    def connecting(self, provider: Provider, source: Source) -> None:
        """The program begins to connect to a host, possibly while connecting to others."""

    def trying(self, provider: Provider, source: Source) -> None:
        """The upload to a host begins; the count of sent bytes starts again at 0."""

    def sent(self, count: int) -> None:
        """`count` more bytes of the file were sent; negative: they will be sent again."""

    def waiting(self, error: UploadError, seconds: float) -> None:
        """A try failed; the next one follows after `seconds`."""

    def uploaded(self, source: Source, link: Unverified) -> None:
        """The host accepted the file and responded with this link."""

    def verifying(self) -> None:
        """The verification of the link begins."""

    def verified(self, method: str, seconds: float) -> None:
        """The link is verified, by this method."""

    def failed(self, error: UploadError) -> None:
        """The upload to this host failed."""

    def warn(self, text: str) -> None:
        """A warning about a good link."""

    def done(self, source: Source) -> None:
        """The upload of this file ended, with or without success."""


class SentBytes:
    """Counts the bytes that one try sends, reports them to the display, and can retract them."""

    def __init__(self, progress: Progress) -> None:
        self.progress, self.count = progress, 0

    def __call__(self, count: int) -> None:
        self.count += count
        self.progress.sent(count)

    def take_back(self) -> None:
        if self.count:
            self.progress.sent(-self.count)


class Sender:
    """The `send` of a provider: sends requests for one file, judges the responses, retries.

    `sha256` is the SHA-256 of the file in hex, after one request has sent the whole file; it is
    computed only if `hashing`.
    """

    def __init__(
        self,
        transport: Transport,
        progress: Progress,
        source: Source,
        retry: int = 2,
        *,
        hashing: bool = False,
        last: bool = True,
        **fields: Any,
    ) -> None:
        self.transport, self.progress, self.source = transport, progress, source
        self.retry, self.hashing, self.last = retry, hashing, last
        self.fields = fields  # of each request
        self.sha256 = ""

    def __call__(self, request: Request) -> Response:
        request, attempt = request._replace(**self.fields), 0
        while True:
            attempt += 1
            sent = SentBytes(self.progress)
            try:
                return self.send_once(request, attempt, sent)
            except RetryableError as error:
                error.started = error.started and not request.idempotent
                seconds = pause(error, attempt, self.retry, self.last)
                stopped = request.stop and request.stop.is_set()
                if seconds is None or request.time_limit or stopped:
                    raise
                if seconds >= self.transport.time_left():
                    raise
                # Jitter: clients that failed at the same time do not retry at the same time.
                seconds *= 1 + os.urandom(1)[0] / 1024
                sent.take_back()
                self.progress.waiting(error, seconds)
                time.sleep(seconds)

    def send_once(self, request: Request, attempt: int, sent: "SentBytes") -> Response:
        """Send the request, and judge its response."""
        digest = self.new_hash(request)
        response = self.transport.send(request._replace(content_hash=digest), sent)
        response = judge(request, response._replace(tries=attempt))
        if response.status >= 300:  # the provider reads the refusal, and may send again
            sent.take_back()
        elif digest:
            self.sha256 = digest.hexdigest()
        return response

    def new_hash(self, request: Request) -> Any:
        """A hash object if the body of the request contains the whole file, else None."""
        content = tuple(piece for piece in request.body if isinstance(piece, Slice))
        return hashlib.sha256() if self.hashing and content == self.source.body else None

    def digest(self) -> str:
        """The SHA-256 of the file, which is read again if no request has sent all of it."""
        self.sha256 = self.sha256 or sha256_of(self.source.body)
        return self.sha256


def parse_names(text: str) -> list[str]:
    """The names in "A,B" or "[A,B]"."""
    inner = text.strip()
    inner = inner[1:-1] if inner.startswith("[") and inner.endswith("]") else inner
    return [name for name in (part.strip().strip("'\"") for part in inner.split(",")) if name]


def find_provider(name: str) -> Provider:
    """The row for an id, a domain, a unique prefix of either, or the URL of a transfer.sh server.
    Raises UsageError with a suggestion.
    """
    if not isinstance(name, str):
        raise UsageError("provider: invalid type (expected str)")
    wanted = re.sub(r"^https?://([^/?#]*)/?$", r"\1", name.lower())
    if wanted not in DEAD and all(wanted != row.domain for row in PROVIDERS):
        if re.match(r"https?://", name, re.I):
            return transfersh(name)
        wanted = name.lower()
    if wanted in DEAD:
        raise UsageError(f"{wanted} {DEAD[wanted]}")
    exact = [row for row in PROVIDERS if wanted in (row.id, row.domain)]
    own = None if exact else load_host(name, environment()[0])
    if own:
        return own
    matches = exact or [
        row
        for row in PROVIDERS
        if wanted and (row.id.startswith(wanted) or row.domain.startswith(wanted + "."))
    ]
    if len(matches) == 1:
        return matches[0]
    shown = printable(name.rpartition("@")[2], 60)  # without a password
    if matches:
        raise UsageError(f"ambiguous host {shown!r}: {' or '.join(row.id for row in matches)}")
    raise UsageError(f"unknown host {shown!r}", hint=suggest_host(name))


def all_hosts() -> list[Provider]:
    """The hosts of the table, and the custom hosts that were added."""
    return [*PROVIDERS, *custom_hosts(environment()[0])]


ALIKE = 0.75  # for difflib; with its default of 0.6 "gofile" would match filebin


def suggest_host(name: str) -> str:
    """A hint for an unknown host: similar names, or -p URL for a domain (a private server)."""
    server = re.fullmatch(r"((?:[\w.-]+|\[[\w:.]+\])(?::[0-9]+)?)(/[\w./-]*)?", name)
    if server and re.search("[.:]", server[1]):
        # Servers with a port or a plain address seldom use TLS.
        scheme = "https" if server[1][-1].isalpha() else "http"
        return f"your server? -p {scheme}://{name.rstrip('/')}/"
    close = difflib.get_close_matches(name.lower(), [row.id for row in PROVIDERS], 3, ALIKE)
    if close:
        return f"did you mean {' or '.join(close)}?"
    return f"run `{program()} list` to see all hosts"


def choose_chain(
    names: Sequence[str], fallback: bool = False, settings: Optional[Mapping[str, str]] = None
) -> list[Provider]:
    """The hosts to try, in order: the named ones, then with `fallback` the default ones.

    Named hosts lose `use="default"`, so they are tried strictly one after the other.  If no host is
    named, your own storage counts as named as soon as one of its settings exists, even an empty one
    (as in CI with an unavailable secret): a missing setting must not make a private file public.
    """
    chosen: dict[str, Provider] = {}
    for row in map(find_provider, names):
        # Two .sxcu files of the same name are two hosts.
        while chosen.get(row.id, row).domain != row.domain:
            row = row._replace(id=f"{row.id}-{row.domain}")
        chosen[row.id] = row._replace(use="opt-in")
    if not names:
        chosen = {
            row.id: row
            for row in PROVIDERS
            if row.use == "own"
            and set(settings or {}).intersection((*row.setup.required, *row.setup.optional))
        }
    if fallback or not chosen:
        order = list(PROVIDERS_PREFERENCE)
        last = next((order.index(name) + 1 for name in reversed(list(chosen)) if name in order), 0)
        for name in order[last:] + order[:last]:
            chosen.setdefault(name, find_provider(name))
    return list(chosen.values())


class Turn(NamedTuple):
    """The next host to try.

    `objection`: why the host cannot be used for the file; `error`: why no connection was made;
    `last`: no other host is left.
    """

    provider: Provider
    objection: Optional[UploadError]
    error: Optional[UploadError]
    last: bool


class Race:
    """Connects to several hosts in parallel, and returns them as they become ready.

    Like RFC 8305, but for hosts instead of addresses.
    """

    def __init__(self, transport: Transport) -> None:
        self.transport, self.ended = transport, False
        self.results: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.begun: dict[str, float] = {}  # providers that are still connecting

    def begin(self, provider: Provider) -> None:
        self.begun[provider.id] = time.monotonic()
        threading.Thread(target=self.connect, args=(provider,), daemon=True).start()

    def connect(self, provider: Provider) -> None:
        result: Any = Unreachable(f"{provider.domain}: connection failed", phase="connect")
        try:
            result = self.transport.connector.connect(origin_of(provider), self.transport.deadline)
        except UploadError as error:
            in_time = self.transport.time_left() > 0
            result = error if in_time else self.transport.max_time_error(error)
        finally:
            self.results.put((provider, result))
            if self.ended:
                self.end()

    def next(self, seconds: float) -> Optional[tuple[Provider, Optional[UploadError]]]:
        """The next provider that is connected or has failed; None after `seconds`."""
        arrived = wait_for_result(self.results, cancellation().stop, seconds)
        if not arrived:
            return None
        provider, result = arrived
        del self.begun[provider.id]
        if isinstance(result, UploadError):
            return provider, result
        self.transport.adopt(origin_of(provider), result)
        return provider, None

    def end(self) -> dict[str, str]:
        """Close connections that are not needed any more.

        Returns the phase of each provider that has failed or was not ready in time.
        """
        self.ended, now = True, time.monotonic()
        phases = {
            name: "connect" for name, begun in list(self.begun.items()) if now - begun >= READY_TIME
        }
        with contextlib.suppress(queue.Empty):
            while True:
                provider, result = self.results.get_nowait()
                phases.pop(provider.id, None)
                if isinstance(result, UploadError):
                    phases[provider.id] = network_phase(result)
                else:
                    result.hang_up()
        return phases


def origin_of(provider: Provider) -> Target:
    return parse_target(f"https://{provider.domain}/")


class Uploader:
    """Uploads files to one chain of hosts, from several threads; skips hosts that failed."""

    def __init__(self, options: UploadOptions, chain: Sequence[Provider]) -> None:
        self.options = options
        self.chain = chain
        self.transport = Transport(network_of(options))
        self.broken: dict[str, UploadError] = {}

    @functools.cached_property
    def health(self) -> "Health":
        folder = user_folder(self.options.settings, CACHE_HOME, "~/.cache")
        proxy = self.transport.connector.proxy_for(parse_target(HOMEPAGE))  # as for any public host
        return Health(folder, network_id(proxy))

    def row_of(self, host: str) -> Provider:
        return next(row for row in self.chain if row.id == host)

    def ordered(self, size: int) -> list[Provider]:
        """The chain for a file of this size.

        Default hosts come after named ones; the nearest to --expire come first, and those that
        recently failed on this network come last.
        """
        default = [row for row in self.chain if row.use == "default"]
        if self.options.expire:
            default.sort(key=lambda row: self.distance(row, size))
        late = [row for row in default if len(default) > 1 and self.health.note(row.id)]
        named = [row for row in self.chain if row not in default]
        return named + [row for row in default if row not in late] + late

    def distance(self, provider: Provider, size: int) -> tuple[float, float]:
        """A sort key: how far the expiry of a host is from --expire, then the shorter expiry."""
        try:
            ttl = lifetime(provider, size, self.options)
        except UploadError:
            ttl = None
        return (distance(ttl, self.options.expire or ttl), ttl) if ttl else (FOREVER, FOREVER)

    def upload(self, source: Source, progress: Progress) -> UploadResult:
        """Try each host of the chain once.

        Raises AllProvidersFailed, or an error of the call or the file that concerns every host.
        """
        failures: list[UploadError] = []
        attempts: list[Attempt] = []
        begun = time.monotonic()
        race = Race(self.transport)
        try:
            for turn in self.turns(source, race, progress):
                started = time.monotonic()
                try:
                    result = self.take_turn(turn, source, progress)
                except UploadError as error:
                    failures.append(error.by(turn.provider.id))
                    seconds = round(time.monotonic() - started, 3)
                    attempts.append(Attempt(turn.provider.id, error.phase, str(error), seconds))
                    progress.failed(error)
                    if error.exit_code in (2, 6):  # an error of the call or the file
                        error.unverified = unverified_of(failures)
                        raise
                    self.remember(turn.provider, error)
                    if error.everywhere or (self.options.fragile and error.exit_code != 5):
                        break
                    continue
                self.learn(turn.provider.id, failures, race.end())
                return result._replace(
                    seconds=round(time.monotonic() - begun, 3),
                    attempts=tuple(attempts),
                    unverified=unverified_of(failures),
                )
            raise AllProvidersFailed(failures, attempts)
        finally:
            race.end()
            progress.done(source)

    def turns(self, source: Source, race: Race, progress: Progress) -> Iterator[Turn]:
        """Yield named hosts in their order, then default hosts as soon as they are connected.

        If a connection is not ready after READY_TIME, connect to the next host in parallel.
        """
        todo = self.ordered(source.size)
        objections = {row.id: objection(row, source, self.options) for row in todo}
        usable = {row.id for row in todo if row.id not in self.broken and not objections[row.id]}

        def is_last() -> bool:
            return not (race.begun or usable.intersection(row.id for row in todo))

        while todo or race.begun:
            if todo and race.results.empty():
                provider = todo.pop(0)
                last = is_last()
                alone = last or provider.use != "default" or provider.id not in usable
                if alone or self.transport.has_connection(origin_of(provider)):
                    yield Turn(provider, objections[provider.id], None, last)
                    continue
                progress.connecting(provider, source)
                race.begin(provider)
            ready = race.next(READY_TIME if todo else FOREVER)
            if ready:
                provider, error = ready
                last = is_last()
                if last and error and not error.timed_out:
                    error = None  # try the last host again with all retries, like a named one
                yield Turn(provider, None, error, last)

    def take_turn(self, turn: Turn, source: Source, progress: Progress) -> UploadResult:
        """Upload one file to one host, and verify the link."""
        provider, options = turn.provider, self.options
        error = turn.error or self.skipped(provider) or turn.objection
        if error:
            raise error
        progress.trying(provider, source)
        ttl = lifetime(provider, source.size, options)
        if options.expire and ttl and ttl != options.expire:
            closest = f"closest available to {duration(options.expire)}"
            progress.warn(f"{provider.id}: link expires in {duration(ttl)} ({closest})")
        begun = time.monotonic()
        bundle = provider.setup.ca_bundle(options.settings)
        send = Sender(
            self.transport,
            progress,
            source,
            options.retry,
            last=turn.last,
            hashing=needs_sha256(provider, source, options),
            ca_bundle=bundle,
        )
        if not (turn.last or options.timeout):
            send.fields["response_timeout"] = 30 + source.size / (10 * MiB)
        link = self.send_file(provider, source, send)
        public = Unverified(provider.id, link.url, link.delete, link.delete_page, link.delete_with)
        progress.uploaded(source, public)
        if link.warning:
            progress.warn(link.warning)
        started = time.monotonic()
        progress.verifying()
        get = Sender(self.transport, progress, source, options.retry, ca_bundle=bundle)
        get.sha256 = send.sha256
        patience = min(LATEST, max(LATE, (started - begun) / 6)) if options.retry else 0.0
        try:
            verification = verify(link, provider, options, get, patience)
            sha256 = get.digest() if options.sha256 else get.sha256 or None
        except UploadError as error:
            error.unverified = (public,)
            raise
        progress.verified(verification.method, time.monotonic() - started)
        if verification.warning:
            progress.warn(verification.warning)
        ends = link.expires or (time.time() + ttl if ttl and ttl < FOREVER else None)
        expires = iso_time(ends) if ends else None
        return UploadResult(
            link.url,
            provider.id,
            source.size,
            sha256,
            expires,
            link.delete,
            verification.method,
            delete_page=link.delete_page,
            thumbnail=link.thumbnail,
            type=verification.content_type,
            delete_with=link.delete_with,
        )

    def skipped(self, provider: Provider) -> Optional[UploadError]:
        """The error for a host that failed with an earlier file; None for other hosts."""
        earlier = self.broken.get(provider.id)
        if not earlier:
            return None
        # NotVerified would imply that this file was uploaded, too.
        error_class = Refused if isinstance(earlier, NotVerified) else type(earlier)
        return error_class(
            f"skipped (failed earlier): {earlier}",
            phase=earlier.phase,
            status=earlier.status,
            everywhere=earlier.everywhere,
            hint=earlier.hint,
        )

    def send_file(self, provider: Provider, source: Source, send: Send) -> Link:
        """Upload, and return the host's link.

        With --unique an existing file is not overwritten; another name is tried instead.
        """
        options = self.options
        if options.unique:
            options = options._replace(force=False)
        try:
            try:
                return provider.upload(source, options, send)
            except Refused as error:
                if not (options.unique and "--unique" in error.hint):
                    raise
            renamed = source._replace(name=varied_name(source.name))
            return provider.upload(renamed, options, send)
        except (Refused, NoLink) as error:
            error.hint = hint_for(error, provider, source, options)
            raise

    def remember(self, provider: Provider, error: UploadError) -> None:
        """Skip the host for further files, unless it refused the size, type or name of this one."""
        about_file = error.exit_code == 5 or error.status in (400, 409, 411, 413, 414, 415, 422)
        if isinstance(error, Busy) or not about_file:
            self.broken.setdefault(provider.id, error)

    def learn(self, good: str, failures: Iterable[UploadError], late: Mapping[str, str]) -> None:
        """Record the hosts that failed; called only if a host worked, so the network works."""
        phases = {**late, **{str(error.provider): network_phase(error) for error in failures}}
        failed = {
            name: phase for name, phase in phases.items() if phase and name in PROVIDERS_PREFERENCE
        }
        self.health.learn(good, failed)


def network_phase(error: UploadError) -> str:
    """The phase in which the network failed; "" if the host itself refused."""
    if error.phase in ("dns", "connect", "tls", "proxy"):
        return "" if error.everywhere else error.phase
    challenge = re.search("challenge|just a moment", str(error), re.I)
    if error.status == 451 or (error.status == 403 and challenge):
        return "blocked"
    return "silence" if error.timed_out and error.phase in ("send", "reply") else ""


class Health:
    """The hosts that recently failed on this network, in a file that may be missing or invalid."""

    def __init__(self, folder: str, network: str) -> None:
        self.path, self.network = os.path.join(folder, "health.json"), network
        self.failed = self.read()

    def read(self) -> dict[str, tuple[float, str]]:
        """Time (since 1970) and phase of each recent failure, by network and host."""
        with contextlib.suppress(OSError, ValueError, RecursionError, AttributeError, TypeError):
            with open(self.path, "rb", opener=open_nonblocking) as file:
                entries = json.loads(file.read(MiB)).items()
            now = time.time()
            return {
                key: (float(at), printable(str(phase), 20))
                for key, (at, phase) in entries
                if 0 <= now - at < MEMORY
            }
        return {}

    def key(self, host: str) -> str:
        return f"{self.network} {host}"

    def note(self, host: str) -> str:
        """The message why a host is tried last; "" if it did not fail recently."""
        if self.key(host) not in self.failed:
            return ""
        at, phase = self.failed[self.key(host)]
        return f"tried last: failed here {duration(max(time.time() - at, MINUTE))} ago ({phase})"

    def learn(self, good: str, phases: Mapping[str, str]) -> None:
        """Forget the host that has worked, and record those that failed."""
        if not phases and self.key(good) not in self.failed:
            return
        now = int(time.time())  # rounded down, because `read` ignores times in the future
        failed = {self.key(host): (now, phase) for host, phase in phases.items()}
        self.failed = {**self.read(), **failed}
        self.failed.pop(self.key(good), None)
        with contextlib.suppress(OSError):
            replace_file(self.path, json.dumps(self.failed).encode())


def replace_file(path: str, content: bytes) -> None:
    """Write a file that only this user can read, completely or not at all."""
    folder = os.path.dirname(path)
    os.makedirs(folder, 0o700, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=folder)
    try:
        with open(handle, "wb") as file:
            file.write(content)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


ABOUT_ACCOUNTS = r"account|anonym|log.?in|sign.?(in|up)|regist|userhash|authori[sz]|authentic"


def hint_for(error: UploadError, provider: Provider, source: Source, options: UploadOptions) -> str:
    """The hint after a refusal."""
    denied, account = error.status in (401, 403), provider.setup.account
    hint = error.hint
    if options.unique:  # these options would not help
        hint = re.sub("--(force|unique)( or|[^,]*,?) ?", "", hint)
    if hint:
        return hint
    if error.status == 413:
        return f"the file is {human(source.size)}"
    if account and not options.settings.get(account):
        about_account = denied or re.search(ABOUT_ACCOUNTS, str(error), re.I)
        return f"may require an account: set {account}" if about_account else ""
    return provider.setup.help if denied else ""


def needs_sha256(provider: Provider, source: Source, options: UploadOptions) -> bool:
    """Whether the SHA-256 will be needed; computing it while the file is sent costs least."""
    if options.sha256:
        return True
    if options.verify == "none" or is_single_use(provider, options):
        return False
    return bool(provider.lookup) or options.verify == "full" or source.size <= SMALL


def is_single_use(provider: Provider, options: UploadOptions) -> bool:
    """Whether a download ends the link."""
    return provider.single_use == "always" or (options.once and provider.single_use == "on request")


class Verification(NamedTuple):
    """The method by which a link was verified, as in UploadResult, and what a download showed."""

    method: str
    content_type: Optional[str] = None  # None if the link was not downloaded
    warning: str = ""


def verify(
    link: Link, provider: Provider, options: UploadOptions, get: Sender, patience: float
) -> Verification:
    """Verify that the link serves the file, by the cheapest method; raises NotVerified."""
    if options.verify == "none":
        return Verification("none")
    if is_single_use(provider, options):
        why = "verifying would use up the download"
        return Verification("none", warning=f"link not verified: {why}")
    try:
        if provider.lookup:
            link = provider.lookup(link, get.source, options, get)
        if link.host_sha256:
            if link.host_sha256 != get.digest():
                reason = "SHA-256 mismatch; the stored file differs"
                raise NotVerified(f"{provider.domain}: {reason}", phase="proof")
            if options.verify != "full" or not provider.serves_file:
                return Verification("host-hash")
        if not provider.serves_file:
            why = f"{provider.id} serves a page to tools"
            return Verification("none", warning=f"link not verified: {why}")
        verifier = Verifier(link, get, patience)
        full = options.verify == "full" or get.source.size <= SMALL
        method = verifier.full() if full else verifier.samples()
        return Verification(method, *verifier.served_type(options))
    except (Refused, NoLink, RetryableError) as error:
        message = f"cannot download {redact_url(link.url)}: {error}"
        hint = link.hint or (link.denied if error.status in (401, 403) else "")
        raise NotVerified(message, phase="proof", status=error.status, hint=hint) from error


class HashingSink:
    """Counts and hashes the bytes of a download; each try starts again."""

    def restart(self) -> Callable[[bytes], object]:
        self.size, self.digest = 0, hashlib.sha256()
        return self.write

    def write(self, data: bytes) -> None:
        self.size += len(data)
        self.digest.update(data)


class Verifier:
    """Downloads from a link, and compares the bytes with the file.

    A new link may not work at once on all servers of a host.  For `patience` seconds 403, 404 and
    an HTML page instead of the file mean "not yet"; any other difference is final.
    """

    def __init__(self, link: Link, get: Sender, patience: float) -> None:
        self.link, self.source, self.send = link, get.source, get
        self.begun, self.patience = time.monotonic(), patience
        self.content_type = ""

    def get(self, check: Callable[[Response], Optional[UploadError]], **more: Any) -> Response:
        """Request the link until `check` returns no error; returns the response."""

        def error_reader(response: Response) -> Optional[UploadError]:
            success = response.status in (200, 206)
            error = check(response) if success else None
            if success and still_packed(response):
                error = mismatch(response, "unsupported encoding")
            early = response.status in (403, 404)
            if error and is_html(response):
                early = "html" not in guess_type(self.source.name)
            waited = time.monotonic() - self.begun
            if not early or waited >= self.patience:
                return error
            message = str(error or f"{response.status} {phrase(response.status)}")
            return NotYet(message, phase="proof", retry_after=min(2.0, max(0.5, waited)))

        request = Request(
            "GET",
            self.link.url,
            idempotent=True,
            error_reader=error_reader,
            accepted_statuses=(416,),
        )
        response = self.send(request._replace(**more))
        self.content_type = response.headers.get("Content-Type", "")
        return response

    def served_type(self, options: UploadOptions) -> tuple[Optional[str], str]:
        """The Content-Type, and a warning if browsers cannot show a known type."""
        name = self.source.name
        if options.remote_path and not options.remote_path.endswith("/"):
            name = options.remote_path
        served, known = printable(self.content_type, 80), guess_type(name)
        known_type = known != UNKNOWN_TYPE and not re.match(ARCHIVE_TYPES, known)
        if known_type and served.startswith(UNKNOWN_TYPE):
            return served, f"the host serves it as {UNKNOWN_TYPE}, not as {known}"
        return served or None, ""

    def full(self) -> str:
        """Verify by downloading the whole file."""
        download, size = HashingSink(), self.source.size

        def check(response: Response) -> Optional[UploadError]:
            if download.size != size:
                shown = f"over {size}" if download.size > size else download.size
                return mismatch(response, f"wrong size: {shown} bytes, expected {size}")
            if download.digest.hexdigest() != self.send.digest():
                return mismatch(response, "content differs")
            return None

        response = self.get(check, sink=download.restart, max_response=size + 1)
        if response.status != 200:
            raise mismatch(response, f"unexpected status {response.status}")
        return "full"

    def samples(self) -> str:
        """Compare the start, middle and end; without support for ranges the start and the size.

        The first request is a plain GET that is closed early, like that of a browser.  If a host
        sends less than was requested, the rest is requested again.  If it sends another range, or
        a range of an encoded response, the whole file is compared.
        """
        sized = False
        for start in (0, (self.source.size - SAMPLE) // 2, self.source.size - SAMPLE):
            at, end = start, start + SAMPLE
            while at < end:
                headers = (("Range", f"bytes={at}-{end - 1}"),) if at else ()
                check = functools.partial(self.compare, at)
                response = self.get(check, headers=headers, max_response=SAMPLE)
                first, size = part_of(response)
                sized = sized or size is not None
                step = len(response.body) if first == at and not packing(response) else 0
                if step < min(4 * KiB, end - at):
                    return "size" if sized and response.status == 200 else self.full()
                at += step
        return "sample" if sized else self.full()

    def compare(self, at: int, response: Response) -> Optional[UploadError]:
        """Compare the range that begins at `at`; for another range only the size of the file."""
        first, size = part_of(response)
        if size not in (None, self.source.size):
            return mismatch(response, f"wrong size: {size} bytes, expected {self.source.size}")
        if first != at or not response.body:
            return None
        local = slice_body(self.source.body, at, len(response.body))
        if response.body != b"".join(map(bytes, read_body(local))):
            return mismatch(response, f"content differs at offset {at}")
        return None


def part_of(response: Response) -> tuple[Optional[int], Optional[int]]:
    """The offset of the body in the file, and the size of the file; None if unknown.

    The status may be 200 with a Content-Range (rclone serve s3 1.75).
    """
    content_range = response.headers.get("Content-Range", "")
    if response.status == 200 and not content_range:
        return 0, response.size
    match = re.match(r"bytes +([0-9]+)-[0-9]+/(.*)", content_range)
    if not match:
        return None, None
    return parse_number(match[1]), parse_number(match[2])


def is_html(response: Response) -> bool:
    return "html" in str(response.headers.get("Content-Type", "")).lower()


def mismatch(response: Response, what: str) -> NotVerified:
    if packing(response):
        what += f" (Content-Encoding: {printable(packing(response), 40)})"
    if is_html(response):
        what += " (an HTML page)"
    return NotVerified(f"{redact_url(response.url)}: {what}", phase="proof")


# -- for Python programs


def upload(
    path: "Union[str, os.PathLike[str]]",
    provider: Union[None, str, Sequence[str]] = None,
    options: Optional[UploadOptions] = None,
    progress: Optional[Progress] = None,
    **wishes: Any,
) -> UploadResult:
    """Upload a file and verify the link.

    `provider`: the hosts to try, as a name, "A,B", or a sequence of names; None: your own storage
    if it is configured, else the default hosts.  `wishes` are fields of UploadOptions.  Raises
    UploadError: Unreadable for the file, UsageError for the call, else AllProvidersFailed with the
    `failures` of the hosts.
    """
    wanted = with_environment(with_wishes(options or UploadOptions(), wishes))
    names = parse_names(provider) if isinstance(provider, str) else list_of(provider)
    # An empty variable in a script must not select the public hosts.
    if provider is not None and not names:
        raise UsageError("provider: no host given")
    chain = choose_chain(names or default_names(wanted), wanted.fallback, wanted.settings)
    source = Source.of(path, wanted.name, wanted.unique)
    uploader = Uploader(wanted, chain)
    try:
        return uploader.upload(source, progress or Progress())
    finally:
        uploader.transport.close()


def list_of(names: Any) -> list[str]:
    """The names in a sequence; empty for None.  find_provider rejects other types later."""
    if names is None:
        return []
    return list(names) if isinstance(names, Iterable) else [names]


def upload_file(
    path: "Union[str, os.PathLike[str]]",
    provider: Union[None, str, Sequence[str]] = None,
    options: Optional[UploadOptions] = None,
    **wishes: Any,
) -> str:
    """Upload a file and return its URL, which is never ""; raises UploadError as `upload` does."""
    return upload(path, provider, options, **wishes).url


def with_wishes(options: UploadOptions, wishes: Mapping[str, Any]) -> UploadOptions:
    unknown = [name for name in wishes if name not in UploadOptions._fields]
    if unknown:
        known = ", ".join(UploadOptions._fields)
        raise TypeError(f"unknown option {unknown[0]!r} (UploadOptions has {known})")
    if not isinstance(options, UploadOptions):
        raise UsageError("options: invalid type (expected UploadOptions)")
    return options._replace(**wishes)


def default_names(options: UploadOptions) -> list[str]:
    """The hosts in TWAT_FS_DEFAULT_PROVIDER; raises UsageError for an unknown one."""
    names = parse_names(options.settings.get("TWAT_FS_DEFAULT_PROVIDER", ""))
    with naming_setting("TWAT_FS_DEFAULT_PROVIDER"):
        return [find_provider(name) and name for name in names]


def setup_provider(
    name: str, online: bool = False, options: Optional[UploadOptions] = None
) -> ProviderInfo:
    """Whether a provider can be used; `online`: verified by a timed round trip.

    Raises UsageError for an unknown name.
    """
    wanted = with_environment(with_wishes(options or UploadOptions(), {}))
    return check_provider(find_provider(name), online, wanted)


def check_provider(provider: Provider, online: bool, wanted: UploadOptions) -> ProviderInfo:
    lacks = setup_problem(provider, wanted.settings)
    if lacks:
        hint = setup_help(provider, wanted.settings)
        return ProviderInfo(False, lacks, hint, status="not configured")
    if online:
        return round_trip(provider, wanted)
    status = "configured" if provider.setup.required else "available"
    status = provider.disabled or status
    warning = provider.setup.warning and provider.setup.warning(wanted.settings)
    return ProviderInfo(True, warning or status, provider.note, status=status)


def setup_providers(
    online: bool = False, options: Optional[UploadOptions] = None
) -> dict[str, ProviderInfo]:
    """`setup_provider` for all providers; `online` excludes those that must be named."""
    wanted = with_environment(with_wishes(options or UploadOptions(), {}))
    infos = {}
    for row in all_hosts():
        by_name = online and row.use == "opt-in"
        info = check_provider(row, online and not by_name, wanted)
        if by_name and info.success:
            info = info._replace(status="not asked", explanation="not asked")
        infos[row.id] = info
    return infos


def round_trip(provider: Provider, options: UploadOptions) -> ProviderInfo:
    """Upload a few random bytes, and download them again unless the link is for one download."""
    with tempfile.TemporaryDirectory(prefix="twat-fs-") as folder:
        path = os.path.join(folder, "twat-fs-status.txt")
        with open(path, "w", encoding="ascii") as file:
            file.write(f"twat-fs status check {os.urandom(16).hex()}\n")
        clock = Stopwatch()
        uploader = Uploader(options, [provider])
        try:
            result = uploader.upload(Source.of(path), clock)
        except UploadError as error:
            cause = error.failures[0] if isinstance(error, AllProvidersFailed) else error
            reason = f"{cause.phase}: {cause}"
            hint = cause.hint or provider.note
            return ProviderInfo(False, reason, hint, clock.timing, "failed")
        finally:
            uploader.transport.close()
    link = f"{redact_url(result.url)} (verified: {result.verified})"
    return ProviderInfo(True, link, provider.note, clock.timing, "works")


class Stopwatch(Progress):
    """Measures the seconds of the upload and of the verification."""

    def __init__(self) -> None:
        self.begun = time.monotonic()
        self.timing: dict[str, float] = {}

    def verifying(self) -> None:
        self.timing["upload"] = round(time.monotonic() - self.begun, 3)

    def verified(self, method: str, seconds: float) -> None:
        self.timing["proof"] = round(seconds, 3)


# 15  History --------------------------------------------------------------------------------------

HISTORY_SIZE = MiB
HISTORY_LINE = 4 * KiB
LOCK_TIME = 2.0  # seconds; a stopped process may hold the lock
PRESIGNED = "(?i)[?&;]([a-z-]+-)?sig(nature)?="  # S3, Google (X-Goog-), CloudFront, Azure (sig)


def history_path(settings: Mapping[str, str]) -> str:
    """The file of the history, "" if it is off."""
    path = settings.get("TWAT_FS_HISTORY")
    if not path:
        path = os.path.join(user_folder(settings, STATE_HOME, "~/.local/state"), "history.jsonl")
    path = os.path.expanduser(path)
    is_off = path.lower() in (*NO, os.devnull) or path.startswith("~")
    return "" if is_off else path


def open_private(path: str, flags: int) -> int:
    """An opener for a file that only this user can read; raises OSError for links and pipes."""
    flags |= getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    handle = os.open(path, flags, 0o600)
    if stat.S_ISREG(os.fstat(handle).st_mode):
        return handle
    os.close(handle)
    raise OSError(errno.EINVAL, "not a regular file", path)


def lock_file(handle: int) -> None:
    """Lock a file; raises OSError if another process holds the lock for LOCK_TIME."""
    until = time.monotonic() + LOCK_TIME
    while True:
        try:
            if sys.platform == "win32":
                msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
            else:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.01)


def append_line(file: Any, line: bytes) -> None:
    """Append to an unbuffered file by one write; an incomplete one is taken back.

    Raises OSError.
    """
    size = file.seek(0, os.SEEK_END)
    if file.write(line) < len(line):
        file.truncate(size)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class History:
    """The uploads of the command line, as one JSON object a line; methods raise OSError.

    A deletion is a line of its own.  Each change happens under a lock in a separate file, so that
    no writer waits for a file that was replaced meanwhile.
    """

    def __init__(self, path: str) -> None:
        self.path = os.path.abspath(path)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        os.makedirs(os.path.dirname(self.path), 0o700, exist_ok=True)
        with open(f"{self.path}.lock", "ab", opener=open_private) as file:
            lock_file(file.fileno())
            yield

    def entries(self) -> list[dict[str, Any]]:
        """The uploads, oldest first; damaged lines are skipped."""
        if not os.path.lexists(self.path):
            return []
        with open(self.path, "rb", opener=open_private) as file:
            lines = file.readlines()
        by_url: dict[str, list[dict[str, Any]]] = {}
        entries: list[dict[str, Any]] = []
        for line in lines:
            with contextlib.suppress(*DAMAGE):
                entry = json.loads(line)
                same = by_url.setdefault(entry["url"], [])
                if "deleted" in entry:
                    for earlier in same:
                        earlier["deleted"] = entry["deleted"]
                if "time" in entry:
                    check_entry(entry)
                    if same and not same[-1].get("deleted"):  # 0x0 issues a token only once
                        entry["delete"] = entry["delete"] or same[-1]["delete"]
                    same.append(entry)
                    entries.append(entry)
        return entries

    def add(self, entry: Mapping[str, Any]) -> None:
        """Append an entry, and shorten a file that is too long."""
        line = json.dumps(entry).encode() + b"\n"
        if len(line) > HISTORY_LINE:
            raise OSError(errno.EMSGSIZE, "entry too long")
        with self.locked():
            with open(self.path, "a+b", 0, opener=open_private) as file:
                size = file.tell()
                file.seek(max(0, size - 1))
                if file.read(1) not in (b"", b"\n"):  # the computer stopped while it was written
                    line = b"\n" + line
                append_line(file, line)
            if size + len(line) > HISTORY_SIZE:
                self.prune()

    def prune(self) -> None:
        """Drop expired entries and the oldest half of the others."""
        now = iso_time(time.time())
        entries = [entry for entry in self.entries() if (entry.get("expires") or now) >= now]
        lines = [json.dumps(entry) + "\n" for entry in entries[len(entries) // 2 :]]
        replace_file(self.path, "".join(lines).encode())

    def clear(self) -> None:
        with self.locked(), contextlib.suppress(FileNotFoundError):
            os.unlink(self.path)


def history_entry(
    source: Source, link: Union[Unverified, UploadResult], secrets: Sequence[str]
) -> dict[str, Any]:
    """The entry for a link: without signatures, the path of the file, and the secrets."""
    url = link.url
    if re.search(PRESIGNED, url) or leaks(url, secrets):
        url = redact_url(url)
    if leaks(url, secrets):
        url = "/".join([*url.split("/")[:3], "***"])
    fields = ("delete", "delete_page", "delete_with")
    deletion = {name: getattr(link, name) for name in fields if getattr(link, name)}
    return {
        "time": iso_time(time.time()),
        "name": source.name,
        "size": source.size,
        "sha256": getattr(link, "sha256", None),
        "url": url,
        "provider": link.provider,
        "expires": getattr(link, "expires", None),
        "delete": {} if leaks(json.dumps(deletion), secrets) else deletion,
        "unverified": isinstance(link, Unverified),
    }


DAMAGE = (ArithmeticError, KeyError, RecursionError, TypeError, ValueError)


def check_entry(entry: Mapping[str, Any]) -> None:
    """Use each value of an entry as it will be used; raises DAMAGE."""
    link = stored_link(entry)
    human(entry["size"])
    texts = [entry[name] for name in ("time", "name", "provider", "url")]
    texts += {**link.delete_with}.values()
    texts += filter(None, (entry.get("expires"), link.delete, link.delete_page))
    "".join(texts)


def stored_link(entry: Mapping[str, Any]) -> Link:
    return Link(entry["url"], **entry["delete"])


def find_upload(entries: Sequence[Mapping[str, Any]], wanted: str) -> Mapping[str, Any]:
    """The newest upload for "last", a name or a URL; raises Unsuitable if it cannot be deleted."""
    plain = wanted.partition("?")[0]  # the query of a presigned link is not stored
    exact = [e for e in entries if wanted in ("last", e["name"], e["url"])]
    matches = exact or [e for e in entries if e["url"] == plain]
    if not matches:
        raise Unsuitable("not in the history", phase="history")
    entry = matches[-1]
    if entry.get("deleted"):
        raise Unsuitable(f"already deleted: {printable(entry['url'])}", phase="history")
    if not deletable(stored_link(entry)):
        reason = f"{printable(entry['provider'])} cannot delete {printable(entry['url'])}"
        raise Unsuitable(reason, phase="history")
    return entry


def delete_upload(
    entry: Mapping[str, Any], options: UploadOptions, transport: Transport
) -> tuple[Link, int]:
    """Delete an upload, and verify that its link is gone.

    Returns the link, which may have a warning, and the status.  Raises NotVerified if the host
    still serves the link, or NotConfigured, or the error of the host.
    """
    link = stored_link(entry)
    settings = {**options.settings, **link.delete_with}  # a bucket, for example
    options = options._replace(settings=settings)
    source = Source(entry["name"], (), 0, 0.0)
    send = Sender(transport, Progress(), source, options.retry)
    row = next((row for row in PROVIDERS if row.id == entry["provider"]), None)
    if row and row.delete:
        problem = setup_problem(row, settings)
        if problem:
            raise NotConfigured(problem, phase="setup", hint=setup_help(row, settings))
        send.fields["ca_bundle"] = row.setup.ca_bundle(settings)
        link = row.delete(link, options, send)
    else:
        delete_by_url(link, send)
    return link, verify_gone(link, send)


def verify_gone(link: Link, send: Send) -> int:
    """The status of a deleted link, 404 or 410; raises NotVerified for anything else."""
    request = Request("GET", link.url, accepted_statuses=GONE, idempotent=True, max_response=KiB)
    try:
        response = send(request)
        if response.status in GONE:
            return response.status
        reason = f"{redact_url(link.url)} is still served"
    except UploadError as error:
        reason = f"not verified: {error}"
    raise NotVerified(f"deleted, but {reason}", phase="proof", hint=link.warning)


# 16  Progress and output --------------------------------------------------------------------------


def in_encoding(text: str, stream: Any, errors: str) -> str:
    """Replace the characters that the stream cannot encode."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return text.encode(encoding, errors).decode(encoding)


def write_text(stream: Any, text: str) -> None:
    """Write and flush; raises OSError or ValueError if the stream is closed."""
    stream.write(in_encoding(text, stream, "backslashreplace"))
    stream.flush()


def print_line(line: str, stream: Any = None, end: str = "\n") -> None:
    """Print a line, by default on stderr; a closed stream is ignored."""
    try:
        write_text(stream or sys.stderr, line + end)
    except (OSError, ValueError, AttributeError):
        close_quietly(stream or sys.stderr)


def is_terminal(stream: Any) -> bool:
    return bool(stream and stream.isatty())


def line_start() -> str:
    """Return "\\r" if stderr is a terminal, so that the next line covers the echo of Ctrl-C."""
    return "\r" if is_terminal(sys.stderr) else ""


def close_quietly(stream: Any) -> None:
    """Redirect a stream to the null device; else Python's flush at exit prints a traceback."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


class Terminal:
    """Draws the progress line ten times a second, below the lines that stay.

    The cursor rests in the first column of the line.  There the next draw covers an echoed `^C`;
    and if the window shrinks and wraps the line, the cursor stays in the first of its rows.
    With `draws` false there is no progress line.
    """

    def __init__(
        self, stream: Any, draws: bool, verbose: bool, quiet: bool, colors: bool = False
    ) -> None:
        self.stream, self.verbose, self.quiet = stream, verbose, quiet
        self.is_terminal, self.colors = is_terminal(stream), colors
        self.files: dict[FileProgress, None] = {}  # shown files, the oldest first
        self.finished = 0  # files
        self.width = 0  # columns in use; 0 if no line is drawn
        self.lock = threading.RLock()
        self.stopped = threading.Event()
        if draws:
            threading.Thread(target=self.redraw, daemon=True).start()
        else:
            self.stopped.set()

    def redraw(self) -> None:
        while not self.stopped.wait(0.1):
            self.draw()

    def draw(self) -> None:
        with self.lock:
            files = [*self.files]
            if files and not self.stopped.is_set():
                room = terminal_width(self.stream) - 1
                line = progress_line(files, self.finished, room, time.monotonic())
                self.replace_line(in_encoding(line, self.stream, "replace"))

    def clear(self) -> None:
        with self.lock:
            if self.width:
                self.replace_line("")
                self.width = 0

    def replace_line(self, line: str) -> None:
        room = terminal_width(self.stream) - 1
        rows_below = "\x1b[J" if self.width > room else ""  # a smaller window has wrapped the line
        padding = " " * (room - display_width(line))
        self.width = room  # before the output, which Ctrl-C may interrupt
        print_line(f"\r{rows_below}{line}{padding}\r", self.stream, end="")

    def print(self, line: str) -> None:
        """Print a permanent line above the progress line."""
        with self.lock:
            self.clear()
            print_line(line, self.stream)

    def styled(self, text: str, style: str) -> str:
        """The text, wrapped and in an ANSI style such as "2" (dim), if this is a terminal."""
        if self.is_terminal:
            wrap = textwrap.TextWrapper(terminal_width(self.stream), subsequent_indent="  ")
            wrap.break_long_words = wrap.break_on_hyphens = False
            text = wrap.fill(text)
        return f"\x1b[{style}m{text}\x1b[0m" if self.colors else text

    def log(self, text: str) -> None:
        if self.verbose:
            self.print(f"twat-fs: {printable(text, 400)}")

    def stop(self) -> None:
        """Clear the progress line, and prevent other threads from drawing it again."""
        with self.lock:
            self.clear()
            self.stopped.set()


class FileProgress(Progress):
    """Shows one file on a terminal; the threads that send its parts share this object."""

    name = host = note = ""
    size = bytes_sent = 0
    started = last_sent = retry_at = 0.0  # by time.monotonic()

    def __init__(self, terminal: Terminal) -> None:
        self.terminal = terminal
        self.links: list[Unverified] = []  # of each host that stored the file

    def show(self, name: str, note: str = "") -> None:
        self.name, self.note = printable(name, MAX_NAME), note
        self.terminal.files[self] = None
        self.terminal.draw()

    def hide(self) -> None:
        self.terminal.files.pop(self, None)
        self.terminal.clear()

    def connecting(self, provider: Provider, source: Source) -> None:
        self.trying(provider, source, "connecting")

    def trying(self, provider: Provider, source: Source, step: str = "") -> None:
        with self.terminal.lock:  # else the other thread might draw a rate of 0
            self.host, self.size, self.bytes_sent = provider.id, source.size, 0
            self.started = time.monotonic()
        step = step or f"uploading {human(source.size)}"
        self.terminal.log(f"{source.name}: {provider.id}: {step}")
        self.show(source.name)

    def sent(self, count: int) -> None:
        with self.terminal.lock:
            self.bytes_sent += count
            self.last_sent = time.monotonic()
            self.retry_at = 0.0
            if self.bytes_sent == self.size:
                self.terminal.draw()

    def waiting(self, error: UploadError, seconds: float) -> None:
        self.retry_at = time.monotonic() + seconds
        if not self.bytes_sent:
            self.started = self.retry_at
        message = f"{error}; retrying in {seconds:.1f} s"
        self.terminal.log(f"{self.name}: {self.host}: {error.phase}: {message}")
        if seconds > SHORT_WAIT and not self.terminal.verbose:
            self.warn(message)
        self.terminal.draw()

    def uploaded(self, source: Source, link: Unverified) -> None:
        self.links.append(link)

    def verifying(self) -> None:
        self.show(self.name, "verifying link")

    def verified(self, method: str, seconds: float) -> None:
        self.terminal.log(f"{self.name}: {self.host}: verified: {method}, in {seconds:.2f} s")

    def failed(self, error: UploadError) -> None:
        message = f"{error.provider}: {error.phase}: {error}"
        if error.started and error.status is None:
            message += " (the file may still have been stored there)"
        self.terminal.log(message)

    def warn(self, text: str) -> None:
        if not self.terminal.quiet:
            self.terminal.print(f"twat-fs: {self.name}: {printable(text)}")

    def done(self, source: Source) -> None:
        with self.terminal.lock:
            self.terminal.finished += 1
            self.hide()

    def step(self, now: float) -> str:
        """Return the step in words; "" while data moves, and up to half a second after that."""
        if now < self.retry_at:
            return f"retrying in {max(1, round(self.retry_at - now))} s"
        if self.note or not self.bytes_sent:
            return self.note or f"connecting to {self.host}"
        if self.bytes_sent < self.size or now < self.last_sent + 0.5:
            return ""
        return f"waiting for the response, {now - self.last_sent:.0f} s"


NAME_COLUMNS = 8  # minimum
BAR_COLUMNS = 30  # maximum


def progress_line(files: Sequence[FileProgress], finished: int, room: int, now: float) -> str:
    """Describe one file, or the sum of several, in at most `room` columns.

    If space is short, whole parts are omitted, in this order: the bar, the end of the name, the
    rate, the size, the host, the name.
    """
    name, host = files[0].name, files[0].host
    if len(files) > 1:
        name, host = f"{len(files)} files", f"{finished} done"
    sent = sum(file.bytes_sent for file in files)
    size = sum(file.size for file in files)
    step = min(file.step(now) for file in files)  # "" if any file is moving
    if step:
        tails = [step] if host in step else [f"{host}  {step}", step]
    else:
        rate = sum(file.bytes_sent / max(now - file.started, 0.001) for file in files)
        seconds = -int((sent - size) // rate)  # rounded up
        left = f"{seconds // 60}:{seconds % 60:02d} left"
        percent = f"{100 * sent // size:3}%"
        amount = part_of_size(sent, size)
        tails = [
            f"{host}  {percent}  {amount}  {human(rate):>9}/s  {left}",
            f"{host}  {percent}  {amount}  {left}",
            f"{host}  {percent}  {left}",
            f"{percent}  {left}",
        ]
    for tail in tails:
        space = room - display_width(tail) - 2
        if space >= NAME_COLUMNS:
            break
    else:
        return tail if space >= -2 else host[:room]
    name = truncate(name, space)
    columns = min(BAR_COLUMNS, space - display_width(name) - len("[]  "))
    if columns > 4 and not step:
        name += f"  [{'#' * (columns * sent // size):<{columns}}]"
    return f"{name}  {tail}"


def part_of_size(sent: int, size: int) -> str:
    """Return both numbers in the unit of the size, with a constant width: " 8.5 of 60.0 MiB"."""
    total, unit = human(size).split()
    decimals = len(total.partition(".")[2])
    return f"{float(total) * sent / size:{len(total)}.{decimals}f} of {total} {unit}"


def display_width(text: str) -> int:
    """Count terminal columns: 2 for a wide character, 0 for a combining one."""
    if text.isascii():
        return len(text)
    wide = sum(unicodedata.east_asian_width(char) in "WF" for char in text)
    return wide + sum(not unicodedata.combining(char) for char in text)


def truncate(text: str, room: int) -> str:
    """Shorten a text to `room` columns; three dots replace its end."""
    if display_width(text) <= room:
        return text
    while text and display_width(text) > room - 3:
        text = text[:-1]
    return text + "..."


def terminal_width(stream: Any, otherwise: int = 80) -> int:
    """The columns of a terminal; `otherwise` if the stream is not one."""
    try:
        return os.get_terminal_size(stream.fileno()).columns or 80  # some terminals report 0
    except (OSError, ValueError, AttributeError):
        return otherwise


class Outcome(NamedTuple):
    """The result or the error of one file of the command line."""

    file: str = ""
    size: Optional[int] = None
    result: Optional[UploadResult] = None
    error: Optional[UploadError] = None
    seconds: float = 0.0
    name: str = ""  # the file was uploaded under this name
    permanent: bool = False  # the link never expires

    def code(self) -> int:
        return self.error.exit_code if self.error else 0


def valid_unicode(name: str) -> str:
    """A file name for JSON; bytes that are not UTF-8 become U+FFFD."""
    return name.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def json_line(outcome: Outcome) -> str:
    """The JSON object of one file, with the same keys for success and failure."""
    fields: dict[str, Any] = {
        "file": valid_unicode(outcome.file),
        **dict.fromkeys(("host", *UploadResult._fields, "deletable")),
    }
    if outcome.result:
        result = outcome.result
        fields.update(result._asdict(), host=result.provider, deletable=deletable(result))
    if outcome.error:
        fields.update(
            size=outcome.size,
            seconds=round(outcome.seconds, 3),
            error=printable(outcome.error.summary, 400),
        )
    for name in ("attempts", "unverified"):
        entries = getattr(outcome.result or outcome.error, name)
        fields[name] = [{"host": entry.provider, **entry._asdict()} for entry in entries]
    for each in (fields, *fields["unverified"]):
        del each["delete_with"]  # for the history
    return json.dumps(fields)


def deletion_text(link: Union[Unverified, UploadResult]) -> str:
    if link.delete:
        return f"delete with: curl -X DELETE {shlex.quote(link.delete)}"
    if link.delete_page:
        return f"to delete it, open {link.delete_page}"
    if link.delete_with:
        return f"delete with: {program()} delete {redact_url(link.url)}"
    return "cannot be deleted"


def copy_line(link: Unverified) -> str:
    """Where a copy may remain, and how to delete it; a private link is printed without its key."""
    url = redact_url(link.url)
    return f"a copy may remain on {link.provider} (unverified): {url}   {deletion_text(link)}"


VERIFIED = {
    "host-hash": "verified by the host's SHA-256",
    "full": "verified",
    "sample": "verified in samples",
    "size": "size and start verified",
    "none": "not verified",
}


def print_receipt(outcome: Outcome, result: UploadResult, terminal: Terminal) -> None:
    """Print one line about an upload: where it is, until when, how to delete it, what failed."""
    expiry = "never expires" if outcome.permanent else expiry_text(result.expires, time.time())
    facts = [
        f"twat-fs: {printable(outcome.name)}: {human(result.size)} on {result.provider}",
        expiry,
        VERIFIED[result.verified],
        deletion_text(result),
    ]
    failures = [f"{attempt.provider}: {short_reason(attempt)}" for attempt in result.attempts]
    terminal.print(terminal.styled("; ".join(facts), "2"))
    if failures:
        terminal.print(terminal.styled(f"  failed before: {', '.join(failures)}", "31"))


def expiry_text(expires: Optional[str], now: float) -> str:
    """When a link expires, in words and in local time; `expires` as in UploadResult."""
    ends = parse_timestamp(expires)
    if ends is None:
        return "expiry unknown"
    # Half a minute more, because a part of the first unit has already passed.
    return f"expires in {duration(max(0, ends - now) + MINUTE / 2)} ({local_time(expires)})"


def short_reason(attempt: Attempt) -> str:
    """The start of the reason of a failure: "503 Service Unavailable", "timed out"."""
    return " ".join(re.split(r"[:;(]", attempt.error)[0].split()[:3])


def failure_lines(outcome: Outcome) -> list[str]:
    """The file and the error, then a line for each host that was tried, or the hint."""
    error = outcome.error
    named = isinstance(error, (Unreadable, SourceChanged))  # by its own message
    head = f"{printable(outcome.file)}: " if outcome.file and not named else ""
    lines = [f"twat-fs: {head}{error and error.summary}"]
    if isinstance(error, AllProvidersFailed):
        lines += [f"  {line}" for line in error.reasons()]
        tried = [f for f in error.failures if f.exit_code == 1]
        unreached = all(f.phase in ("dns", "connect", "proxy") and not f.everywhere for f in tried)
        # If one host is down, the network may still work.
        one_is_down = len(tried) == 1 and tried[0].phase != "dns"
        if error.exit_code == 1 and unreached and not one_is_down:
            lines.append(f"  offline? `{program()} serve FILE` shares it from this machine")
    elif error and error.hint:
        lines.append(f"  {error.hint}")
    return lines


def layout(rows: Sequence[Sequence[str]], room: int) -> list[str]:
    """The rows as lines of text in columns; the text of the last column is wrapped.

    If fewer than 24 characters are left for the last column, it goes below the others, which
    become columns only if they fit.
    """
    widths = [max(map(len, column)) for column in zip(*rows)][:-1]
    indent = sum(widths) + 2 * len(widths)
    fits = indent - 2 <= room
    narrow = bool(widths) and room - indent < 24
    if narrow:
        indent = 4
    wrap = textwrap.TextWrapper(
        max(room - indent, 10), break_long_words=False, break_on_hyphens=False
    ).wrap
    texts = []
    for *cells, last in rows:
        head = "".join(f"{cell:<{width}}  " for cell, width in zip(cells, widths))
        if narrow:
            head = head.rstrip() if fits else "  ".join(filter(None, cells))
            head += "\n    "
        texts.append((head + f"\n{' ' * indent}".join(wrap(last))).rstrip())
    return texts


HOST_GROUPS = {
    "default": "default (tried in this order)",
    "opt-in": "opt-in (only if named: -p HOST)",
    "own": "your own (once set up, used by default)",
}


def provider_table(rows: Iterable[Provider] = PROVIDERS) -> list[tuple[str, ...]]:
    """The hosts as rows of text, after a header: id, domain, use, max size, expiry, notes, date."""
    head = ("host", "domain", "use", "max size", "expires", "notes", "verified")
    return [
        head,
        *((row.id, row.domain, *provider_facts(row), row.evidence.checked) for row in rows),
    ]


def host_json(row: Provider) -> dict[str, Any]:
    """The facts of a host for JSON.

    If the lifetime depends on the size, it is that of the largest file.
    """
    use, _, _, notes = provider_facts(row)
    retention = retention_for(row, UploadOptions())
    ttl = retention.default_ttl
    if callable(ttl):
        ttl = ttl(row.limits.max_size or GiB)
    choices: Any = retention.choices
    if isinstance(choices, range):
        choices = {"min": choices[0], "max": choices[-1]}
    return {
        "host": row.id,
        "domain": row.domain,
        "use": use,
        "max_bytes": row.limits.max_size,
        "expires_seconds": None if ttl in (None, FOREVER) else round(ttl or 0),
        "expires_choices": choices,
        "expires_known": ttl is not None,
        "required_settings": row.setup.required,
        "optional_settings": row.setup.optional,
        "notes": notes,
        "verified_on": row.evidence.checked,
    }


def provider_facts(row: Provider) -> tuple[str, str, str, str]:
    """Use, max size, expiry and notes of a host, as text."""
    lists = {
        "blocked": row.limits.blocked,
        "required": row.setup.required,
        "optional": row.setup.optional,
    }
    notes = [
        row.disabled,
        "one download" if row.single_use == "always" else "",
        "text only" if row.limits.text_only else "",
        *(f"{title}: {', '.join(names)}" for title, names in lists.items() if names),
        row.note,
    ]
    return (
        "your own" if row.use == "own" else row.use,
        limit_text(row.limits.max_size) if row.limits.max_size else "?",
        retention_text(retention_for(row, UploadOptions())),
        "; ".join(filter(None, notes)),
    )


def retention_text(retention: Retention) -> str:
    """The lifetimes that a host offers, as text."""
    default, choices = retention.default_ttl, retention.choices
    if callable(default):
        return f"{duration(default(GiB))} to {duration(default(0))}"
    if default == FOREVER and choices:
        return "forever, or any time"
    if isinstance(choices, range):
        return f"{duration(choices[0])} to {duration(choices[-1])}"
    if choices:
        return ", ".join(f"{choice // HOUR}h" for choice in choices)
    return duration(default) if default else "?"


# -- QR codes: bytes at error correction level L, in the versions 1 to 10 (ISO/IEC 18004)

QR_TABLE = (
    "19 34 55 80 108 136 156 194 232 274",  # bytes of data
    "7 10 15 20 26 18 20 24 30 18",  # error correction bytes of each block
    "1 1 1 1 1 2 2 2 2 4",  # blocks
)
QR_VERSIONS = [*zip(*(map(int, row.split()) for row in QR_TABLE))]
QR_VERSION_BITS = (0x07C94, 0x085BC, 0x09A99, 0x0A4D3)  # of 7 to 10
QR_FORMAT = 0x77C4  # level L, mask 0: on a screen scanners read all of the eight masks


def gf_multiply(x: int, y: int) -> int:
    """The product in GF(256) with the polynomial 0x11D."""
    product = 0
    for bit in range(7, -1, -1):
        product = product << 1 ^ (product >> 7) * 0x11D
        product ^= (y >> bit & 1) * x
    return product


def reed_solomon(data: bytes, count: int) -> list[int]:
    """The error correction bytes of a block."""
    divisor, root = [1], 1  # the product of (x - 2**i)
    for _ in range(count):
        divisor = [a ^ gf_multiply(b, root) for a, b in zip([*divisor, 0], [0, *divisor])]
        root = gf_multiply(root, 2)
    rest = [0] * count
    for byte in data:
        factor = byte ^ rest[0]
        shifted = zip([*rest[1:], 0], divisor[1:])
        rest = [a ^ gf_multiply(b, factor) for a, b in shifted]
    return rest


def qr_bytes(data: bytes, version: int) -> list[int]:
    """The data with its head, padding and error correction, all interleaved by block."""
    size, check, count = QR_VERSIONS[version - 1]
    size_bits = 8 if version < 10 else 16
    head = 4 << size_bits | len(data)  # 4: the mode for bytes
    bits = head << 8 * len(data) | int.from_bytes(data, "big")
    message = (bits << 4).to_bytes(len(data) + 1 + size_bits // 8, "big")
    message += (b"\xec\x11" * size)[: size - len(message)]
    stream = io.BytesIO(message)
    blocks = [stream.read((size + index) // count) for index in range(count)]  # the shorter first
    checks = [reed_solomon(block, check) for block in blocks]
    columns = (*itertools.zip_longest(*blocks), *zip(*checks))
    return [byte for column in columns for byte in column if byte is not None]


def qr_patterns(version: int) -> dict[tuple[int, int], int]:
    """The modules that do not depend on the data, by row and column; 1 is dark."""
    size = 17 + 4 * version
    modules = {}

    def squares(row: int, column: int, rings: str) -> None:
        """Draw concentric squares; those outside of the code are ignored later."""
        steps = range(1 - len(rings), len(rings))
        for down, right in itertools.product(steps, steps):
            ring = max(abs(down), abs(right))
            modules[row + down, column + right] = int(rings[ring])

    for index in range(size):
        modules[6, index] = modules[index, 6] = 1 - index % 2
    last = size - 7
    centres = {6, last, 2 * version + 8} if version > 6 else {6, last}
    for row, column in itertools.product(centres, centres):
        if version > 1 and abs(row - column) < last - 6:
            squares(row, column, "101")
    for row, column in ((3, 3), (3, size - 4), (size - 4, 3)):
        squares(row, column, "11010")
    for index, end in enumerate((0, 1, 2, 3, 4, 5, 7, 8)):
        modules[end, 8] = modules[8, size - 1 - index] = QR_FORMAT >> index & 1
        modules[8, end] = modules[size - 1 - index, 8] = QR_FORMAT >> 14 - index & 1
    modules[size - 8, 8] = 1
    for index in range(18 if version > 6 else 0):
        row, column = size - 11 + index % 3, index // 3
        bit = QR_VERSION_BITS[version - 7] >> index & 1
        modules[row, column] = modules[column, row] = bit
    return modules


def qr_code(text: str) -> list[str]:
    """The rows of the smallest code for a text, with "1" for dark; none if the text is too long."""
    data = text.encode()
    room = [size - 2 - size // 256 for size, _, _ in QR_VERSIONS]
    version = bisect.bisect_left(room, len(data)) + 1
    if version > len(room):
        return []
    size = 17 + 4 * version
    modules = qr_patterns(version)
    bits = (byte >> bit & 1 for byte in qr_bytes(data, version) for bit in range(7, -1, -1))
    rows = range(size)[::-1]
    for right in (*range(size - 1, 6, -2), 5, 3, 1):
        for row, column in itertools.product(rows, (right, right - 1)):
            if (row, column) not in modules:
                modules[row, column] = next(bits, 0) ^ (row + column + 1) % 2
        rows = rows[::-1]  # up and down in turn
    return ["".join(str(modules[row, column]) for column in range(size)) for row in range(size)]


def print_qr(link: str, terminal: Terminal) -> None:
    """Print a link as a QR code on stderr, if that is a terminal.

    Black and white are both painted, because many scanners cannot read a code that is light on
    dark; so is the margin of four modules that they require.
    """
    code = qr_code(link)
    margin = ["0" * len(code)] * 4
    rows: list[Any] = [f"0000{row}0000" for row in (*margin, *code, *margin, *margin[:1])]
    white = "\x1b[30;47;107m"  # 47 is grey; 107 is white, or unknown
    cells, columns = {"0": f"{white}  ", "1": "\x1b[40m  "}, 2
    if in_encoding("\u2580\u2584\u2588", terminal.stream, "ignore"):
        rows = [[*map("".join, zip(*pair))] for pair in zip(rows[::2], rows[1::2])]
        cells, columns = {"00": " ", "10": "\u2580", "01": "\u2584", "11": "\u2588"}, 1
    lines = [white + "".join(map(cells.__getitem__, row)) + "\x1b[0m" for row in rows]
    columns *= len(code) + 8
    if not code:
        lines = ["twat-fs: warning: no QR code: the link is too long"]
    elif columns > terminal_width(terminal.stream):
        lines = [f"twat-fs: warning: no QR code: the terminal has less than {columns} columns"]
    for line in lines if terminal.is_terminal else ():
        terminal.print(line)


# 17  serve ----------------------------------------------------------------------------------------
#
#    This machine is the host.  With FILE arguments it serves only those files; without, it receives
#    files by the protocol of transfer.sh:
#
#    GET /TOKEN/NAME   PUT /NAME   POST / (multipart)   DELETE /TOKEN/NAME/DELETE-TOKEN
#    GET / is a page for browsers, GET /twat-fs.sxcu a file for ShareX.


UNFINISHED = r"\.[0-9a-f]{24}\.part"


BROKEN_OFF = "Body ended too early"


class HTTPError(Exception):
    """An error response: its status and message."""


class Finished(Exception):
    """No file is left to serve."""


class StoredFile(NamedTuple):
    """A file that is served until it expires (seconds since 1970).

    Only a received file has a delete token.
    """

    path: str
    name: str
    delete_token: str = ""
    expires: float = FOREVER
    downloads_left: float = FOREVER


class FolderArchive:
    """A folder as a ZIP, which is built again if anything in the folder has changed."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.members: list[Member] = []
        self.content: Content = ()
        self.built = 0  # nanoseconds
        self.lock = threading.Lock()

    def build(self) -> tuple[Content, int]:
        """The ZIP and the time when it was built; raises UploadError."""
        with self.lock:
            self.walker = Walker((), False, None)
            members = self.walker.members([self.folder])
            if members != self.members:
                self.content = zip_content([*members], utc=False, checksums=True)
                self.members, self.built = members, time.time_ns()
            return self.content, self.built


class Store:
    """The served files by unguessable token; `folder` and the limits are for received files.

    They have their own names in `folder`.  The rest is in its index, one JSON object a line: the
    later line of a token counts, and a line with nothing but the token deletes it.  A file is
    acknowledged after its line, so that nothing acknowledged is lost by `kill -9`.
    """

    def __init__(self, folder: str = "", max_size: int = 0, keep: float = FOREVER) -> None:
        self.folder, self.max_size, self.keep = folder, max_size, keep
        self.is_temporary = False
        self.files: dict[str, StoredFile] = {}
        self.unfinished: set[str] = set()  # paths
        self.spans: dict[tuple[str, str, int], list[Span]] = {}  # by token, client and size
        self.archives: dict[str, FolderArchive] = {}  # by token, for folders
        self.fetched: set[str] = set()  # tokens of files that --once has removed
        self.lock = threading.Lock()
        self.open_files = contextlib.ExitStack()
        self.index: Any = None

    def load(self) -> None:
        """Lock the folder, and read and rewrite its index; raises OSError and UsageError."""
        path = os.path.join(self.folder, ".twat-fs.lock")
        lock = open(path, "ab", opener=open_private)  # noqa: SIM115
        self.open_files.enter_context(lock)
        try:
            lock_file(lock.fileno())
        except (BlockingIOError, PermissionError) as error:
            message = f"{printable(self.folder)}: in use by another server"
            hint = "stop that server, or use another --dir"
            raise UsageError(message, hint=hint, phase="serve") from error
        except OSError:  # a file system without locks
            pass
        for name in os.listdir(self.folder):
            if re.fullmatch(UNFINISHED, name):
                os.unlink(os.path.join(self.folder, name))
        path = os.path.join(self.folder, ".twat-fs.jsonl")
        with contextlib.suppress(FileNotFoundError), open(path, "rb", opener=open_private) as file:
            for line in file:
                # An incomplete line is not valid JSON.
                with contextlib.suppress(*DAMAGE):
                    self.load_entry(**json.loads(line))
        entries = (self.index_line(token, stored) for token, stored in self.files.items())
        replace_file(path, b"".join(entries))
        index = open(path, "ab", 0, opener=open_private)  # noqa: SIM115
        self.index = self.open_files.enter_context(index)

    def load_entry(self, token: str, path: str = "", **fields: Any) -> None:
        """Add or delete a file as a line of the index says; only files of this folder.

        Raises TypeError.  Received files are not hidden; the index and its lock are.
        """
        self.files.pop(token, None)
        path = os.path.basename(path)
        if not path or path.startswith("."):
            return
        with contextlib.suppress(FileNotFoundError):
            stored = StoredFile(os.path.join(self.folder, path), **fields)
            if {type(stored.name), type(stored.delete_token)} != {str}:
                raise TypeError("not text")
            received = os.lstat(stored.path).st_mtime
            expires = min(stored.expires, received + self.keep)
            downloads = min(stored.downloads_left, FOREVER)
            self.files[token] = stored._replace(expires=expires, downloads_left=downloads)

    def index_line(self, token: str, stored: Optional[StoredFile] = None) -> bytes:
        """A line of the index; begins with a line end, because the last line may be incomplete.

        Without values that are FOREVER, for which JSON has no number.
        """
        entry: dict[str, Any] = {"token": token}
        if stored:
            entry.update(stored._asdict(), path=os.path.basename(stored.path))
        entry = {name: value for name, value in entry.items() if value != FOREVER}
        return b"\n" + json.dumps(entry).encode()

    def record(self, token: str, stored: Optional[StoredFile] = None) -> None:
        """Append to the index; raises OSError."""
        if self.index:
            append_line(self.index, self.index_line(token, stored))

    def receive(
        self, name: str, blocks: Iterable[bytes], ttl: float, downloads: float
    ) -> tuple[str, StoredFile]:
        """Write a file, and rename it once it is complete; an incomplete one is deleted.

        Its time begins when it is complete.  Raises HTTPError.
        """
        token = random_name()
        name = stored_name(name)
        part = path = os.path.join(self.folder, f".{token}.part")
        self.unfinished.add(part)
        try:
            with open(part, "xb") as file:
                for block in blocks:
                    self.check_space(len(block))
                    file.write(block)
            if not os.path.getsize(part):
                raise HTTPError(400, "Could not upload empty file")
            with self.lock:
                path = self.new_file(name)
                stored = StoredFile(path, name, random_name(), time.time() + ttl, downloads)
                os.replace(part, path)
                self.record(token, stored)
                self.files[token] = stored
        except BaseException as error:
            for each in (part, path):
                unlink_if_possible(each)
            network = (ConnectionError, TimeoutError, socket.timeout)
            if isinstance(error, OSError) and not isinstance(error, network):
                raise storage_error(error) from error
            raise
        finally:
            self.unfinished.discard(part)
        return token, stored

    def new_file(self, name: str) -> str:
        """Create an empty file under a free name (a.txt, a-2.txt, ...), and return its path.

        Names of received files are not free, even if the user has deleted the file: an old link
        must not lead to the file of another sender.
        """
        used = {stored.path.casefold() for stored in self.files.values()}
        same = sum(stored.name == name for stored in self.files.values())
        for number in itertools.count(same + 1):
            ending = f"-{number}" if number > 1 else ""
            path = os.path.join(self.folder, unique_name(name, time.gmtime(), ending))
            if path.casefold() not in used and not os.path.lexists(path):
                break
        open(path, "xb").close()
        return path

    def check_space(self, size: int) -> None:
        """Raise HTTPError 507 unless RESERVE bytes of the disk stay free.

        Errors of the folder are ignored here, because writing to it will fail.
        """
        with contextlib.suppress(OSError):
            if shutil.disk_usage(self.folder).free < size + RESERVE:
                raise HTTPError(507, "Disk is full")

    def find(self, token: str, name: str, take: bool = False) -> StoredFile:
        """A file that has not expired; `take`: count a download.  Raises HTTPError."""
        with self.lock:
            stored = self.files.get(token)
            if not stored or stored.name != name or is_over(stored):
                raise HTTPError(404, "Not found")
            if take and stored.downloads_left < FOREVER:
                fewer = stored._replace(downloads_left=stored.downloads_left - 1)
                try:
                    self.record(token, fewer)
                except OSError as error:
                    raise storage_error(error) from error
                self.files[token] = fewer
            return stored

    def remove(self, token: str) -> None:
        with self.lock:
            stored = self.files.pop(token, None)
            if stored and stored.delete_token:
                unlink_if_possible(stored.path)
                with contextlib.suppress(OSError):
                    self.record(token)

    def sweep(self) -> None:
        """Delete expired files."""
        for token, stored in list(self.files.items()):
            if is_over(stored):
                self.remove(token)

    def close(self) -> None:
        """Delete incomplete files, and unlock the folder."""
        for path in list(self.unfinished):
            unlink_if_possible(path)
        self.open_files.close()


def is_over(stored: StoredFile) -> bool:
    return stored.expires <= time.time() or stored.downloads_left <= 0


def random_name() -> str:
    return os.urandom(12).hex()


def unlink_if_possible(path: str) -> None:
    with contextlib.suppress(OSError):
        os.unlink(path)


def storage_error(error: OSError) -> HTTPError:
    return HTTPError(500, f"Could not be stored: {local_reason(error)}")


def open_nofollow(path: str, flags: int) -> int:
    """An opener for `open` that follows no symbolic link."""
    return open_nonblocking(path, flags | getattr(os, "O_NOFOLLOW", 0))


def stored_name(name: str) -> str:
    """A file name for this disk: not hidden, and not reserved by Windows."""
    clean = re.sub(r'[<>:"|?*]', "_", safe_name(name)).strip(". ") or "file"
    reserved = r"(?i)(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9\u00b9\u00b2\u00b3]) *(\.|$)"
    return safe_name("_" + clean) if re.match(reserved, clean) else clean


class Transfer(FileProgress):
    """A file or form on its way; it has a progress line if it takes longer than a second."""

    def __init__(self, terminal: Terminal, name: str, peer: str, size: int) -> None:
        super().__init__(terminal)
        self.name, self.host, self.size = name, peer, size
        self.started = time.monotonic()

    def sent(self, count: int) -> None:
        """Count bytes in either direction; the size of a chunked upload is unknown (0)."""
        super().sent(count)
        if not self.size:
            self.note = f"{human(self.bytes_sent)} received"
        if self not in self.terminal.files and time.monotonic() > self.started + 1:
            self.show(self.name, self.note)

    def position(self, start: int, size: int) -> str:
        """How far a broken-off transfer came that began at byte `start`."""
        position = start + self.bytes_sent
        if not size:
            return f"after {human(position)}"
        return f"at {min(99, 100 * position // size)} %"  # the last bytes did not arrive


class Received(NamedTuple):
    """A file that was received, and the URLs of it and of its deletion."""

    token: str
    name: str
    size: int
    url: str
    delete: str


class Span(NamedTuple):
    """A range of a file that was sent to a client; not all of it arrived if it was broken off."""

    start: int
    end: int
    arrived: bool
    earlier: int  # spans that ended before this one began


def covers(spans: list[Span], size: int) -> bool:
    """Whether a client has the whole file by these ranges.

    A broken range counts up to the start of a later one, where the client has continued.  If some
    were sent at the same time, an earlier one counts too: aria2 stops where it has the rest.  Old
    broken ones are ignored: a client can break off thousands, and each is compared with the others.
    """
    recent = max(0, len(spans) - 256)
    is_parallel = any(span.earlier < index for index, span in enumerate(spans))
    covered = 0
    for start, end, arrived, earlier in sorted(spans):
        if not arrived:
            if earlier < recent:
                continue
            others = spans[recent:] if is_parallel else spans[earlier:]
            end = min((o.start for o in others if start < o.start <= end), default=start)
        if start <= covered:
            covered = max(covered, end)
    return covered >= size


class HeadReader(io.BufferedReader):
    """The bytes from a client; rejects control characters in lines.

    Python's parser and proxies interpret such characters in different ways.
    """

    def readline(self, size: Optional[int] = -1) -> bytes:
        line = super().readline(size)
        if not re.fullmatch(rb"[\t -~\x80-\xff]*(\r?\n)?", line):
            raise HTTPError(400, "Malformed request")
        return line


class ServeHandler(RequestHandler):
    """The requests of one connection; `start_server` combines it with http.server's handler."""

    store: Store
    terminal: Terminal
    transfer: Transfer
    token, url = "", ""
    as_json = once = False
    server: Any
    protocol_version = "HTTP/1.1"
    timeout = 600  # seconds without progress: browsers pause downloads
    disable_nagle_algorithm = True
    command = requestline = path = problem = ""
    request_version = protocol_version

    def setup(self) -> None:
        super().setup()
        self.rfile = HeadReader(Incoming(self.receive))

    def handle_one_request(self) -> None:
        self.expect(128 * KiB, busy=False)
        try:
            super().handle_one_request()
        except HTTPError as error:
            self.reject(error)

    def parse_request(self) -> bool:
        """Parse the head, and reject a request that a proxy might end at another byte.

        The proxy would read the rest as a second request (request smuggling).
        """
        if not super().parse_request():
            return False
        sizes = self.headers.get_all("Content-Length", [])
        codings = self.headers.get_all("Transfer-Encoding", [])
        # Python's parser puts everything after an invalid header line into the payload.
        if len(sizes) + len(codings) > 1 or self.headers.get_payload():
            raise HTTPError(400, "Malformed request")
        if codings and codings[0].strip().lower() != "chunked":
            raise HTTPError(501, "Unsupported Transfer-Encoding")
        if self.command not in ("PUT", "POST") and (codings or sizes not in ([], ["0"])):
            self.close_connection = True  # the body is not read
        self.expect(FOREVER, busy=True)
        return True

    def expect(self, limit: float, busy: bool) -> None:
        """Allow 20 seconds for the next bytes, and one more second for each 500 bytes.

        This is the default of Apache's mod_reqtimeout.
        """
        self.limit, self.busy, self.progress = limit, busy, time.monotonic()
        self.deadline = self.progress + 20
        self.server.handlers[self.connection] = self

    def receive(self, size: int) -> bytes:
        left = min(self.timeout, self.deadline - time.monotonic())
        if left <= 0 or self.limit <= 0:
            raise socket.timeout("the request is too slow or too long")
        self.connection.settimeout(left)
        data = bytes(self.connection.recv(size))
        self.connection.settimeout(self.timeout)
        self.deadline += len(data) / 500
        self.limit -= len(data)
        return data

    def do_GET(self) -> None:
        if self.store.folder and len(self.parts()) == 1:
            self.reply_about(*self.parts())
            return
        if self.is_browser() and len(self.parts()) == 3:
            token, name = self.check_delete_link()
            url = f"{self.base_url()}/{token}/{quote_segment(name)}"
            self.reply_page(page_item(url, f"{url}/{self.parts()[2]}"))
            return
        token, name = self.parts(2)
        stored = self.store.find(token, name)
        with contextlib.ExitStack() as stack:
            size, changed, sample, send = self.open_stored(token, stored, stack)
            etag = f'"{changed:x}-{size:x}"'
            modified = self.date_time_string(changed // 10**9)
            download = bool(re.search(r"[?&]download(=|&|$)", self.path))
            headers = file_headers(stored.name, sample, download)
            headers += [("ETag", etag), ("Last-Modified", modified)]
            cached = self.headers.get("If-None-Match", self.headers.get("If-Modified-Since", ""))
            if etag in cached or cached == modified:
                self.head(304, *headers)
                return
            same = self.headers.get("If-Range", etag) in (etag, modified)
            start, end = parse_range(self.headers.get("Range") if same else None, size)
            self.store.find(token, name, take=self.command == "GET")
            status = 200
            if end - start < size:
                status = 206
                headers.append(("Content-Range", f"bytes {start}-{end - 1}/{size}"))
            self.close_connection |= self.once  # is_closed waits for it
            self.head(status, *headers, ("Content-Length", str(end - start)))
            if self.command == "GET":
                self.deliver(token, stored.name, send(start, end), start, end, size)

    def open_stored(
        self, token: str, stored: StoredFile, stack: contextlib.ExitStack
    ) -> tuple[int, int, Content, Callable[[int, int], Iterator[int]]]:
        """The size, the time of the last change (ns), the first text, and a function to send it."""
        try:
            if token in self.store.archives:
                content, changed = self.store.archives[token].build()
                return length(content), changed, (), functools.partial(self.send_content, content)
            file = open(stored.path, "rb", opener=open_nofollow)  # noqa: SIM115
        except OSError:
            raise HTTPError(404, "Not found") from None
        except UploadError as error:
            self.terminal.print(f"twat-fs: {error}")
            raise HTTPError(404, "Not found") from error
        stack.enter_context(file)
        info = os.fstat(file.fileno())
        if not stat.S_ISREG(info.st_mode):
            raise HTTPError(404, "Not found")
        sample = text_sample(file, info.st_size)
        return info.st_size, info.st_mtime_ns, sample, functools.partial(self.send_file, file)

    def send_content(self, content: Content, start: int, end: int) -> Iterator[int]:
        """Send a range of a body, and yield the sizes of its blocks."""
        for block in read_body(slice_body(content, start, end - start)):
            self.connection.sendall(block)
            yield len(block)

    def send_file(self, file: Any, start: int, end: int) -> Iterator[int]:
        """Send a range of a file, and yield the sizes of its blocks."""
        for offset in range(start, end, CHUNK):
            size = min(end - offset, CHUNK)
            count = self.connection.sendfile(file, offset, size)
            yield count
            if count < size:  # the file became shorter
                return

    def deliver(
        self, token: str, name: str, blocks: Iterator[int], start: int, end: int, size: int
    ) -> None:
        """Send the blocks of a range, and report a file that the client has now."""
        transfer = Transfer(self.terminal, name, self.peer(), end - start)
        key = (token, transfer.host, size)
        spans = self.store.spans.setdefault(key, [])
        earlier = len(spans)
        try:
            for count in blocks:
                transfer.sent(count)
                self.progress = time.monotonic()
        except OSError:
            pass
        except UploadError as error:
            self.terminal.print(f"twat-fs: {error}")
        span = Span(start, start + transfer.bytes_sent, False, earlier)
        spans.append(span)
        transfer.note = f"waiting for {transfer.host}"
        arrived = span.end == end and (not self.once or self.is_closed())
        spans[spans.index(span)] = span._replace(arrived=arrived)
        transfer.hide()
        self.close_connection |= not arrived  # the client sees an error
        completed = covers(spans, size)
        is_first = completed and self.store.spans.pop(key, None) is spans
        if completed and not is_first and end - start < size:
            return  # another connection of this client has reported it
        if completed and self.once:
            self.store.fetched.add(token)
            self.store.remove(token)
        done = human(size if completed else end - start)
        if not arrived and not completed:
            done = f"stopped {transfer.position(start, size)}"
        if not arrived or completed or end == size:
            done = f"  {done}  to {transfer.host}"
            self.report("sent", name, done, size=size, completed=completed)

    def is_closed(self) -> bool:
        """Wait until the client closes the connection; whether it has received everything.

        If data was still on its way, a reset follows the end.
        """
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_WR)
            while self.connection.recv(KiB):
                pass
            time.sleep(2 * TICK)
            return not self.connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        return False

    def peer(self) -> str:
        return printable(self.forwarded("For") or self.client_address[0], 80)

    def report(self, event: str, name: str, done: str, **fields: Any) -> None:
        """Print what was done to a file: a line, or a JSON object on stdout."""
        if self.as_json:
            fields = {"peer": self.peer(), "completed": False, **fields}
            print_line(event_json(event, name=valid_unicode(name), **fields), sys.stdout)
        else:
            self.say(("received " if fields.get("url") else "") + printable(name, MAX_NAME) + done)

    def say(self, text: str) -> None:
        if not self.terminal.quiet:
            self.terminal.print(f"{time.strftime('%H:%M')}  {text}")

    do_HEAD = do_GET

    def reply_about(self, name: str) -> None:
        """Reply with a file about this server.

        The page asks for the token by HTTP Basic: that works without a script, and for all later
        requests.  Other sites cannot use it, because `check_origin` comes before the token.
        """
        if name == "page.js":
            self.reply(200, PAGE_SCRIPT, content_type="text/javascript")
        elif name == "twat-fs.sxcu":
            self.check_token()
            sxcu = json.dumps(sxcu_of_server(self.base_url(), self.token), indent=2)
            self.reply(200, sxcu, content_type="application/json")
        elif name:
            raise HTTPError(404, "Not found")
        elif self.is_browser():
            self.check_token()
            self.reply_page()
        else:
            self.reply(200, curl_line(self.base_url(), self.token and "TOKEN") + "\n")

    def is_browser(self) -> bool:
        """Whether a page is shown to a person; "text/html" is also in the default of Java."""
        return "application/xhtml+xml" in self.headers.get("Accept", "")

    def reply_page(self, items: str = "") -> None:
        """Reply with the page for browsers; `items`: the results of its form, as HTML."""
        url = self.base_url()
        style = base64.b64encode(hashlib.sha256(PAGE_STYLE.encode()).digest()).decode()
        parts = urllib.parse.urlsplit(url)
        page = PAGE % {
            "host": html.escape(parts.netloc),
            "root": html.escape(parts.path + "/"),
            "style": PAGE_STYLE,
            "limit": self.store.max_size,
            "size": limit_text(self.store.max_size),
            "keep": keep_text(self.store),
            "items": items,
            "curl": html.escape(curl_line(url, self.token and "TOKEN")),
        }
        policy = ("Content-Security-Policy", PAGE_POLICY % style)
        self.reply(200, page, policy, content_type="text/html")

    def do_PUT(self) -> None:
        name = self.parts()[-1]
        if not name:
            raise HTTPError(400, "File name required: PUT /NAME")
        self.reply_links([self.save(name, self.body())])

    def do_POST(self) -> None:
        if len(self.parts()) == 3 and self.is_browser():
            self.close_connection = True  # the body is not read
            self.do_DELETE()
            return
        boundary = self.headers.get_param("boundary")
        if self.headers.get_content_type() != "multipart/form-data" or not boundary:
            raise HTTPError(415, "Expected multipart/form-data, or PUT /NAME")
        files: list[Received] = []
        try:
            for part in MultipartReader(self.body(), str(boundary).encode()).files():
                files.append(self.save(*part))
            if not files:
                raise HTTPError(400, "No file in the form")
        except (HTTPError, OSError):  # the client does not get the links of the first files
            for file in files:
                self.store.remove(file.token)
            raise
        self.reply_links(files)

    def do_DELETE(self) -> None:
        token, name = self.check_delete_link()
        self.store.remove(token)
        self.say(f"deleted {printable(name, MAX_NAME)}  by {self.peer()}")
        if self.is_browser():
            self.reply_page(f"<li>{html.escape(name)} deleted")
        else:
            self.reply(200, "")

    def check_delete_link(self) -> tuple[str, str]:
        token, name, delete_token = self.parts(3)
        stored = self.store.find(token, name)
        same = hmac.compare_digest(delete_token.encode(), stored.delete_token.encode())
        if not (stored.delete_token and same):
            raise HTTPError(404, "Not found")
        return token, name

    def parts(self, count: int = 0) -> list[str]:
        """The unquoted segments of the path; a quoted slash stays in its segment.

        Removes the path of --url, unless a proxy has already removed it.
        """
        prefix = re.escape(urllib.parse.urlsplit(self.url).path)
        path = re.sub(f"^{prefix}(?=/)", "", self.path.partition("?")[0])
        segments = [urllib.parse.unquote(segment) for segment in path.split("/")[1:]]
        if count and len(segments) != count:
            raise HTTPError(404, "Not found")
        return segments or [""]

    def head(self, status: int, *headers: Header) -> None:
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()

    def reply(
        self, status: int, body: str, *headers: Header, content_type: str = "text/plain"
    ) -> None:
        data = body.encode()
        own = [
            ("Content-Type", f"{content_type}; charset=utf-8"),
            ("Content-Length", str(len(data))),
            ("X-Content-Type-Options", "nosniff"),
        ]
        self.head(status, *own, *headers)
        if self.command != "HEAD":
            self.wfile.write(data)

    def reject(self, error: HTTPError) -> None:
        """Respond with an error, then read on: a client that is still sending can then read it."""
        self.close_connection = True
        status, message = error.args
        self.problem = message
        challenge = [("WWW-Authenticate", 'Basic realm="twat-fs"')] if status == 401 else []
        self.reply(status, message + "\n", *challenge)
        self.connection.settimeout(1)
        with contextlib.suppress(OSError):
            for _ in range(64):
                if not self.connection.recv(256 * KiB):
                    return

    def save(self, name: str, blocks: Iterable[bytes]) -> Received:
        days = self.positive_int_header("Max-Days")
        downloads = self.positive_int_header("Max-Downloads")
        if days < FOREVER and days * DAY > self.store.keep:
            raise HTTPError(400, f"Max-Days is limited to {duration(self.store.keep)}")
        ttl = min(days * DAY, self.store.keep)
        transfer = self.transfer
        transfer.name = name = printable(stored_name(name), MAX_NAME)
        try:
            token, stored = self.store.receive(name, blocks, ttl, downloads)
        except (HTTPError, OSError):
            position = transfer.position(0, transfer.size)
            self.report("received", name, f"  stopped {position}  from {transfer.host}")
            raise
        finally:
            transfer.hide()
        url = f"{self.base_url()}/{token}/{quote_segment(stored.name)}"
        size = os.path.getsize(stored.path)
        return Received(token, name, size, url, f"{url}/{stored.delete_token}")

    def reply_links(self, files: Sequence[Received]) -> None:
        for _, name, size, url, delete in files:
            done = f"  {human(size)}  from {self.peer()}  {url}"
            self.report("received", name, done, size=size, url=url, delete=delete, completed=True)
        if self.is_browser():
            self.reply_page("".join(page_item(file.url, file.delete) for file in files))
            return
        urls = "\n".join(file.url for file in files)
        self.reply(200, urls, *(("X-Url-Delete", file.delete) for file in files))

    def positive_int_header(self, name: str) -> float:
        value = self.headers.get(name)
        number = parse_number(value)
        if value is not None and not number:
            raise HTTPError(400, f"{name} must be a positive number")
        return number or FOREVER

    def forwarded(self, name: str) -> str:
        """The last value of an X-Forwarded header; trusted only from a proxy on this machine."""
        if not is_loopback(self.client_address[0]):
            return ""
        return str(self.headers.get(f"X-Forwarded-{name}", "")).rpartition(",")[2].strip()

    def base_url(self) -> str:
        """The URL of this server for the client: --url, or from the Host header."""
        host = self.forwarded("Host") or self.headers.get("Host", "")
        scheme = "https" if self.forwarded("Proto").lower() == "https" else "http"
        good = re.fullmatch(r"([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]+)?", host)
        return self.url or (f"{scheme}://{host}" if good else address_of(self.server))

    def check_origin(self) -> None:
        """Reject requests from pages of other sites.

        Such a page may use a form or a script (CSRF), or a domain that resolves to this machine
        (DNS rebinding).  It can also send X-Forwarded-Host, but then the port in its Host header is
        the port of this server; the requests of a proxy have another port.
        """
        host = self.headers.get("Host", "").lower()
        forwarded = self.forwarded("Host").lower()
        own_host = urllib.parse.urlsplit(self.url).netloc
        origin = re.sub("^https?://", "", self.headers.get("Origin", ""))
        site = self.headers.get("Sec-Fetch-Site", "none")
        is_own = origin in ("", host, forwarded, own_host)
        if site != "same-origin" and (site != "none" or not is_own):
            raise HTTPError(403, "Cross-site uploads are disabled (behind a proxy: serve --url)")
        if f":{self.server.server_port}" in host + ":80":
            forwarded = ""
        name = host.partition(":")[0]
        names = (forwarded.partition(":")[0], own_host.partition(":")[0])
        if not (self.token or name in names or re.fullmatch(r"(localhost\.?|[0-9.]+|\[.*)?", name)):
            raise HTTPError(403, f"Unknown host {printable(name, 80)!r} (serve --url or --token)")

    def check_token(self) -> None:
        credentials = self.headers.get("Authorization", "")
        if self.token and not same_token(credentials, self.token):
            problem = "Wrong token" if credentials else "Authentication required"
            raise HTTPError(401, f"{problem}: curl -u :TOKEN, or -p http://:TOKEN@HOST/")

    def check_upload_allowed(self) -> int:
        """The size of a body that may be uploaded, -1 if it is chunked; raises HTTPError."""
        if not self.store.folder:
            raise HTTPError(405, "Uploads are disabled")
        self.check_origin()
        self.check_token()
        if self.headers.get("Transfer-Encoding"):
            return -1
        size = parse_number(self.headers.get("Content-Length"))
        if size is None:
            raise HTTPError(411, "Content-Length required")
        if size > self.store.max_size:
            raise HTTPError(413, f"File too large: at most {human(self.store.max_size)}")
        self.store.check_space(size)
        return size

    def handle_expect_100(self) -> bool:
        """Reject an upload before its body is sent; curl waits for this if the body is large."""
        self.check_upload_allowed()
        return super().handle_expect_100()

    def body(self) -> Iterator[bytes]:
        size = self.check_upload_allowed()
        self.transfer = Transfer(self.terminal, "", self.peer(), max(size, 0))
        return self.read_chunked() if size < 0 else self.read_exactly(size)

    def read_exactly(self, size: int) -> Iterator[bytes]:
        while size:
            data = self.rfile.read1(min(size, 256 * KiB))
            if not data:
                raise HTTPError(400, BROKEN_OFF)
            self.progress = time.monotonic()
            self.transfer.sent(len(data))
            size -= len(data)
            yield data

    def read_chunked(self) -> Iterator[bytes]:
        size, left = -1, self.store.max_size
        while size:
            line = self.rfile.readline(KiB)
            match = re.fullmatch(rb"([0-9A-Fa-f]{1,15})[ \t]*(;.*)?\r?\n", line)
            if not match:
                raise HTTPError(400, "Malformed chunk")
            size = int(match[1], 16)
            left -= size
            if left < 0:
                raise HTTPError(413, f"File too large: at most {human(self.store.max_size)}")
            yield from self.read_exactly(size)
            # One line end after a chunk; trailers after the last one.
            ends = (self.rfile.readline(KiB) for _ in range(1 if size else 64))
            if all(end.strip() for end in ends):
                raise HTTPError(400, "Malformed chunk")

    def version_string(self) -> str:
        return "twat-fs"

    def log_message(self, format: str, *args: Any) -> None:
        """Ignore requests without an error, and idle connections."""

    def log_request(self, code: Any = "-", size: Any = "-") -> None:
        """Print a rejected request, unless a browser has sent it on its own."""
        if int(code) < 400 or re.match("/(favicon|apple-touch-icon)", self.path):
            return
        if int(code) == 401 and self.is_browser() and "Authorization" not in self.headers:
            return  # it asks for the token now
        if self.problem != BROKEN_OFF:  # it has a line already
            problem = f"{int(code)} {self.problem or 'Bad request'}".strip()
            request = printable(self.requestline)
            self.say(f"{printable(problem)}: {request}  from {self.client_address[0]}")


PAGE_POLICY = (
    "default-src 'none'; style-src 'sha256-%s'; script-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
# Grey with an alpha value, which suits a dark and a light background.
PAGE_STYLE = """
:root { color-scheme: light dark; font: 1rem/1.5 system-ui, sans-serif }
body { max-width: 36rem; margin: auto; padding: 1rem }
h1 { font-size: 1.5rem; overflow-wrap: anywhere }
h2 { font-size: 1rem; margin: 2rem 0 .5rem }
label { display: block; padding: 2.5rem 1rem; border: 2px dashed #888a; border-radius: 1rem;
  text-align: center; cursor: pointer }
label:hover, label:focus-within, .drag label { border-color: #47f; background: #47f2 }
input { display: block; max-width: 100%; margin: 1rem auto 0 }
.script input { position: absolute; opacity: 0 }
.script .send { display: none }
button { font: inherit; padding: .3rem 1rem; border: 1px solid #888a; border-radius: .5rem;
  background: #8882; color: inherit; cursor: pointer }
.send { width: 100%; margin-top: 1rem; background: #25d; color: #fff }
ul { list-style: none; padding: 0 }
li { display: flex; flex-wrap: wrap; gap: .5rem; align-items: center; padding: .7rem 0;
  border-bottom: 1px solid #8885 }
li a, li span { flex: 1 18rem; overflow-wrap: anywhere }
progress { flex: 1 8rem }
pre { padding: .7rem; border-radius: .5rem; background: #8882; white-space: pre-wrap;
  overflow-wrap: anywhere }
"""
PAGE = """<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Send files to %(host)s</title>
<style>%(style)s</style>
<script src="%(root)spage.js" defer></script>
<h1>Send files to %(host)s</h1>
<p>Each file gets a link that cannot be guessed. Everyone who has the link can download the file.
<form method="post" action="%(root)s" enctype="multipart/form-data" data-limit="%(limit)s">
<label><b>Choose files</b><input type="file" name="file" multiple required></label>
<button class="send">Upload</button>
</form>
<p>At most %(size)s at a time. Files are kept %(keep)s.
<ul aria-live="polite">%(items)s</ul>
<h2>From a terminal</h2>
<pre>%(curl)s</pre>
<p>For ShareX: <a href="%(root)stwat-fs.sxcu" download>twat-fs.sxcu</a>
</html>
"""
PAGE_ITEM = """<li><a href="%s">%s</a>
<form method="post" action="%s"><button>Delete</button></form>
"""
PAGE_SCRIPT = """"use strict";
const form = document.forms[0], list = document.querySelector("ul"), page = document.body;
const label = document.querySelector("b");
// Not a relative URL, which has the user and password of the address bar: fetch rejects it.
const root = location.origin + form.getAttribute("action");
let last = Promise.resolve(), pending = 0;

function add(parent, name, text, onclick) {
  const element = document.createElement(name);
  element.textContent = text;
  element.onclick = onclick;
  parent.append(element);
  return element;
}

// navigator.clipboard exists with HTTPS only.
function copy(text, button) {
  const area = add(page, "textarea", text);
  area.select();
  button.textContent = document.execCommand("copy") ? "Copied" : "Not copied";
  area.remove();
  button.focus();
  setTimeout(() => button.textContent = "Copy link", 2000);
}

async function remove(url, row, button) {
  const link = location.origin + new URL(url).pathname;
  const response = await fetch(link, {method: "DELETE"}).catch(() => ({}));
  if (response.ok || response.status == 404) row.remove();
  else button.textContent = "Not deleted";
}

function show(row, file, request) {
  const url = request.responseText, deletion = request.getResponseHeader("X-Url-Delete");
  row.textContent = "";
  if (request.status != 200) {
    add(row, "span", file.name + ": " + (url || "upload failed"));
    return;
  }
  add(row, "a", file.name).href = url;
  add(row, "button", "Copy link", event => copy(url, event.target));
  add(row, "button", "Delete", event => remove(deletion, row, event.target));
}

function send(row, file) {
  return new Promise(resolve => {
    const bar = add(row, "progress", ""), request = new XMLHttpRequest();
    request.upload.onprogress = event => bar.value = event.loaded / event.total;
    request.onloadend = () => { pending--; show(row, file, request); resolve(); };
    request.open("PUT", root + encodeURIComponent(file.name));
    request.send(file);
  });
}

// One after the other: each gets the whole bandwidth.
function upload(files) {
  for (const file of files) {
    const row = add(list, "li", ""), start = () => send(row, file);
    const large = file.size > form.dataset.limit;
    add(row, "span", file.name + (large ? ": file too large" : ""));
    if (large) continue;
    pending++;
    last = last.then(start, start);
  }
  form.reset();
}

page.className = "script";
if (matchMedia("(hover: hover)").matches) label.textContent += ", or drop or paste them here";
form.file.onchange = () => upload(form.file.files);
document.onpaste = event => upload(event.clipboardData.files);
document.ondragover = event => { event.preventDefault(); page.classList.add("drag"); };
document.ondragleave = () => page.classList.remove("drag");
document.ondrop = event => {
  event.preventDefault();
  page.classList.remove("drag");
  upload(event.dataTransfer.files);
};
onbeforeunload = event => { if (pending) event.preventDefault(); };
"""


def page_item(url: str, delete_url: str) -> str:
    """The result of an upload by the form of the page, as HTML.

    Without the host, the form also works if the page was opened under another one than --url.
    """
    name = urllib.parse.unquote(url.rpartition("/")[2])
    path = urllib.parse.urlsplit(delete_url).path
    return PAGE_ITEM % (html.escape(url), html.escape(name), html.escape(path))


def curl_line(url: str, token: str) -> str:
    user = f"-u :{token} " if token else ""
    return f"curl {user}-T FILE {url}/"


def keep_text(store: Store) -> str:
    """The time for which received files are kept, in words."""
    limits = [f"for {duration(store.keep)}"] if store.keep < FOREVER else []
    if store.is_temporary:
        limits.append("until this server stops")
    return " or ".join(limits) or "until they are deleted"


def sxcu_of_server(url: str, token: str) -> dict[str, Any]:
    """A .sxcu file for the server at this URL."""
    return {
        **SXCU,
        "Name": urllib.parse.urlsplit(url).netloc,
        "RequestMethod": "PUT",
        "RequestURL": f"{literal(url)}/{{filename}}",
        "Headers": {"Authorization": f"Bearer {literal(token)}"} if token else {},
        "Body": "Binary",
        "URL": "{response}",
        "DeletionURL": "{header:X-Url-Delete}",
    }


def same_token(header: str, token: str) -> bool:
    """Whether an Authorization header has the token: as Bearer, or as the password of any user."""
    scheme, _, encoded = header.partition(" ")
    password = encoded.strip().encode("latin-1")
    if scheme.lower() != "bearer":
        try:
            password = base64.b64decode(password, validate=True).partition(b":")[2]
        except ValueError:
            return False
    return hmac.compare_digest(password, token.encode())


def text_sample(file: Any, size: int) -> Content:
    """The start of a file up to a line end, so that it does not end inside a character."""
    sample = file.read(CHUNK)
    if size > CHUNK:
        sample = sample.rpartition(b"\n")[0] or sample
    return (memory_slice(sample),)


# Types that browsers show without running anything of them.
SHOWN = r"image/(png|jpeg|gif|webp|avif)|video/.*|audio/.*|application/pdf|text/markdown"


def file_headers(name: str, sample: Content, download: bool) -> list[Header]:
    """The headers of a file, which browsers show if it is harmless and `download` is false."""
    content_type = guess_type(name)
    shown = re.fullmatch(SHOWN, content_type) or re.search(r"(?i)\.(txt|text|log)$", name)
    disposition = "inline" if shown and not download else "attachment"
    plain = re.sub(r'[^ -~]|["\\]', "_", name)
    disposition += f"; filename=\"{plain}\"; filename*=UTF-8''{quote_segment(name)}"
    headers = [
        ("Content-Type", type_with_charset(name, sample)),
        ("Content-Disposition", disposition),
        ("X-Content-Type-Options", "nosniff"),
        ("Accept-Ranges", "bytes"),
        ("Cache-Control", "no-cache"),  # the file may be deleted meanwhile
    ]
    # Chromium loads no video and sound into a sandbox of another origin (tried with 156), and its
    # viewer for PDF does not run in any sandbox (of 156 it does).
    policy = "sandbox"
    if re.match("video|audio", content_type):
        policy += " allow-same-origin"
    if content_type != "application/pdf":
        headers.append(("Content-Security-Policy", policy))
    return headers


def parse_range(header: Optional[str], size: int) -> tuple[int, int]:
    """Start and end of a single range (RFC 9110), or of the whole file for any other value."""
    match = re.fullmatch(r"bytes=([0-9]{0,18})-([0-9]{0,18})", header or "", re.ASCII)
    if not match or match.group() == "bytes=-":
        return 0, size
    first, last = match.groups()
    start = int(first) if first else max(0, size - int(last))
    end = min(int(last) + 1, size) if first and last else size
    if start >= end:
        raise HTTPError(416, f"The file has {size} bytes")
    return start, end


class MultipartReader:
    """A multipart body, parsed while it arrives.

    An empty line is appended, so that the closing delimiter, too, has a head that ends.
    """

    def __init__(self, blocks: Iterator[bytes], boundary: bytes) -> None:
        self.blocks = itertools.chain(blocks, (b"\r\n\r\n",))
        self.delimiter, self.data = b"\r\n--" + boundary, b"\r\n"

    def files(self) -> Iterator[tuple[str, Iterator[bytes]]]:
        """Yield name and content of each file, one after the other; plain fields are skipped."""
        part = self.read_until(self.delimiter)  # the preamble
        while True:
            for _ in part:  # the rest of a part that the caller did not read
                pass
            head = self.head()
            if head.startswith(b"--"):
                break
            name = file_name_of(head)
            part = self.read_until(self.delimiter)
            if name is not None:
                yield name, part
        for _ in self.blocks:  # the epilogue
            pass

    def head(self) -> bytes:
        data = b""
        for piece in self.read_until(b"\r\n\r\n"):
            data += piece
            if len(data) > 16 * KiB:
                raise HTTPError(400, "Head of a part too long")
        return data

    def read_until(self, delimiter: bytes) -> Iterator[bytes]:
        """Yield the bytes before the next delimiter, and skip the delimiter."""
        while delimiter not in self.data:
            safe = max(0, len(self.data) - len(delimiter) + 1)
            yield self.data[:safe]
            block = next(self.blocks, b"")
            if not block:
                raise HTTPError(400, "Form ended too early")
            self.data = self.data[safe:] + block
        before, _, self.data = self.data.partition(delimiter)
        yield before


def file_name_of(head: bytes) -> Optional[str]:
    """The `filename` or `filename*` (RFC 8187) in the head of a part; None for a plain field."""
    plain = rb'=(?:"((?:[^"\\]|\\.)*)"|([^;\r\n]*))'
    start = rb"(?im)^content-disposition:[^\n]*?;\s*filename"
    match = re.search(start + rb"(?:" + plain + rb"|\*=utf-8'[^']*'([^;\s]*))", head)
    if not match:
        return None
    if match[3]:
        return urllib.parse.unquote(match[3])
    name = re.sub(rb'\\(["\\])', rb"\1", match[1] or match[2] or b"")
    return name.decode("utf-8", "replace")


class Accepted(NamedTuple):
    """A connection that has no handler yet, but counts for `max_connections`."""

    connection: Any
    progress: float
    busy: bool = True


class Server(ThreadingHTTPServer):
    """A thread for each connection; `start_server` combines it with http.server's class."""

    allow_reuse_address = sys.platform != "win32"  # there two programs would share the port
    request_queue_size = 128
    store: Store
    handlers: dict[Any, Any]  # by connection: a ServeHandler
    max_connections = 256  # further ones wait in the queue of the system

    def server_bind(self) -> None:
        if sys.platform == "win32":  # keep other programs from sharing the port
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
        super(http.server.HTTPServer, self).server_bind()  # HTTPServer's does a DNS lookup
        self.server_port = self.server_address[1]

    def get_request(self) -> Any:
        """Accept a connection; wait if there are too many, or no free file descriptors."""
        try:
            while len(self.handlers) >= self.max_connections:
                self.make_room()
            request, address = super().get_request()
            self.handlers[request] = Accepted(request, time.monotonic())
            return request, address
        except OSError as error:
            if error.errno == errno.EMFILE:  # files need descriptors, too
                self.max_connections = len(self.handlers) // 2 + 2
            time.sleep(TICK)
            raise

    def make_room(self) -> None:
        """Close the longest idle connection, or one without progress for a minute."""
        handlers = list(self.handlers.values())
        handler = min(handlers, key=lambda handler: (handler.busy, handler.progress))
        if handler.busy and handler.progress > time.monotonic() - 60:
            raise BlockingIOError("all connections are busy")
        self.handlers.pop(handler.connection, None)
        with contextlib.suppress(OSError):
            handler.connection.shutdown(socket.SHUT_RDWR)

    def shutdown_request(self, request: Any) -> None:
        """Close and forget a connection; also called if starting its thread failed."""
        super().shutdown_request(request)
        self.handlers.pop(request, None)

    def service_actions(self) -> None:
        """Called five times a second; raises Finished when the last file has gone."""
        self.store.sweep()
        busy = any(handler.busy for handler in list(self.handlers.values()))
        if not (self.store.folder or self.store.files or busy):
            raise Finished

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore errors of connections that clients have closed."""


def start_server(store: Store, bind: str, port: int, strict: bool, **fields: Any) -> Any:
    """A listening server; unless `strict`, other ports are tried if this one is in use."""
    family = socket.AF_INET6 if ":" in bind else socket.AF_INET
    own = {"store": store, "handlers": {}, "address_family": family}
    server = type("BoundServer", (Server, http.server.ThreadingHTTPServer), own)
    bases = (ServeHandler, http.server.BaseHTTPRequestHandler)
    handler = type("Handler", bases, {"store": store, **fields})
    others = [] if strict else [*range(port + 1, port + 10), 0]
    for number in (port, *others):
        try:
            return server((bind, number), handler)
        except OSError as error:
            # EACCES on Windows: the port is in exclusive use, or reserved for Hyper-V.
            in_use = error.errno in (errno.EADDRINUSE, errno.EACCES)
            if not (in_use and number and others):
                reason = f"cannot listen on {printable(bind)}:{port}: {local_reason(error)}"
                raise UsageError(reason, phase="serve") from error


def event_json(event: str, **fields: Any) -> str:
    """The JSON object of an event, with the same keys for all events."""
    keys = ("event", "time", "name", "size", "peer", "url", "delete", "completed")
    now = iso_time(time.time())
    return json.dumps({**dict.fromkeys(keys), "event": event, "time": now, **fields})


def address_of(server: Any) -> str:
    """The URL of the server for other machines."""
    host, port = server.server_address[:2]
    if host in ("0.0.0.0", "::"):
        host = own_address() or "127.0.0.1"
    return f"http://{bracketed(host)}:{port}"


# 18  The command line -----------------------------------------------------------------------------


class Option(NamedTuple):
    """One option of a command: its spellings, its help, and further arguments for argparse."""

    flags: str
    help: str
    kwargs: Mapping[str, Any]


class Command(NamedTuple):
    """The description of a command for --help, the man page and completion."""

    about: str
    arguments: str = ""  # as in the usage
    options: str = ""  # see option_groups


def option_groups(text: str) -> dict[str, list[Option]]:
    """Parse the options by heading, from lines like those of --help."""
    groups: dict[str, list[Option]] = {}
    options: list[Option] = []
    for line in text.splitlines():
        spelling, _, help = line.partition("  ")
        if help:
            options.append(make_option(spelling, help.strip()))
        else:
            options = groups.setdefault(line, [])
    return groups


SPECIAL_OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "--provider": {"type": parse_names, "action": "extend"},
    "--no-check": {"dest": "verify", "action": "append_const", "const": "none"},
    "--exclude": {"action": "append", "default": []},
    "--verify": {"action": "append", "choices": ["full"]},
    "--ipv4": {"dest": "ip_version", "action": "store_const", "const": 4},
    "--ipv6": {"dest": "ip_version", "action": "store_const", "const": 6},
    "--max-size": {"type": NUMBERS["limit_rate"]},
    "--port": {"type": number_type(parse_number, "0 to 65535", 0, 65535)},
    "--allow-env": {"action": "append"},
    "--help": {"action": "help"},
}


def make_option(spelling: str, help: str) -> Option:
    """An option like "-n --name NAME"; without a value it is a flag.

    The value of "--token [TEXT]" may be absent, and is True then.
    """
    flags = re.findall(r"-\S+", spelling)
    value = spelling.split()[-1]
    kwargs: dict[str, Any] = {"action": "store_true"}
    if value not in flags:
        name = flags[-1][2:].replace("-", "_")
        kwargs = {"metavar": value.strip("[]"), "type": NUMBERS.get(name)}
        if value.startswith("["):
            kwargs.update(nargs="?", const=True)
    kwargs.update(SPECIAL_OPTIONS.get(flags[-1], {}))
    return Option(" ".join(flags), help, kwargs)


NETWORK_OPTIONS = """Network
-x --proxy URL             use an http, https or socks5(h) proxy; '' for none
-4 --ipv4                  use IPv4 only
-6 --ipv6                  use IPv6 only
--cacert FILE              trust these CAs (PEM) instead of the system's
--insecure                 do not verify certificates
--retry N                  retry a host N times (default 2)
--connect-timeout SECONDS  limit the time to connect (default 15)
--timeout SECONDS          give up if no data moves (default 60)
--max-time SECONDS         limit the time of the whole run (default none)
--limit-rate SIZE          limit the bytes per second, like 500k
"""
JSON_OPTION = """Output
--json                     print one JSON object per file or host
"""
ARRAY_OPTION = """Output
--json                     print a JSON array
"""
LOG_OPTIONS = """Output
-q --quiet                 print errors only
-v --verbose               print each step on stderr
"""
ONLINE_OPTION = """Network
--online                   upload a few bytes and download them again
"""
HELP_OPTIONS = """Output
-h --help                  print this help
-V --version               print the version
"""
UPLOAD_OPTIONS = """Choosing hosts
-p --provider A,B          use these hosts in this order; also FILE.sxcu or a URL
--fallback                 then try the default hosts, too
--fragile                  stop at the first failure
--dry-run                  show which hosts would be tried; upload nothing
File
-n --name NAME             upload under this name
--unique                   add the time to the name
-z --zip                   upload the files and folders as one ZIP
--tar                      upload them as one .tar.gz; keep symbolic links
--exclude GLOB             leave matching files or folders out of the archive
--remote-path PATH         upload to FOLDER/ or a full path (S3, Dropbox)
--force                    overwrite an existing file (S3, Dropbox)
Link
-e --expire TIME           expire after about this time: 10m, 12h, 7d, 4w, 1y
--keep TIME                require a link that lives at least this long
--once                     allow one download only
--public                   print plain, unsigned links of a public bucket (S3)
--no-check                 do not verify the link
--verify full              verify by downloading the whole file
"""
HISTORY_OPTIONS = """History
--clear                    delete the history, not the uploads
"""
DELETE_OPTIONS = """Deleting
--yes                      open a delete page without a question
"""
QUIET_OPTION = """Output
-q --quiet                 print errors only
"""
PARALLEL_OPTIONS = """Network
-j --jobs N                run N transfers: files (default 1), parts (default 8)
Output
-c --copy                  copy the URLs to the clipboard
--no-progress              show no progress
--no-history               do not record the links in the history
--qr                       show each link as a QR code on the terminal
"""
SERVE_OPTIONS = """Network
--bind ADDRESS             listen here (default: all for FILE, else 127.0.0.1)
--port N                   listen on this port (default 8080, or a free one)
--url URL                  print this public URL (behind a proxy)
Giving
--once                     end when each FILE was downloaded once, completely
--keep TIME                end, or delete received files, after this time
Receiving
--token [TEXT]             require TEXT or a random token (or TWAT_FS_SERVE_TOKEN)
--dir FOLDER               keep received files here (default: delete at the end)
--max-size SIZE            limit the size of a file (default 1 GiB)
Output
-q --quiet                 print no line per transfer
--json                     print one JSON object per transfer
--qr                       show each link as a QR code on the terminal
"""
ADD_OPTIONS = """Adding a .sxcu file
--name NAME                use this name for -p
--allow-env NAME           let ${NAME} in the file read this variable
--yes                      do not ask
"""

COMMAND_HELP: Mapping[str, Command] = {
    "upload": Command(
        "Turn files into URLs. The URL goes to stdout, everything else to stderr.",
        "[FILE]...",
        UPLOAD_OPTIONS + NETWORK_OPTIONS + LOG_OPTIONS + JSON_OPTION + PARALLEL_OPTIONS,
    ),
    "list": Command(
        "Show the hosts and what is known about them.", "[HOST]...", ONLINE_OPTION + ARRAY_OPTION
    ),
    "status": Command(
        "Show which hosts are set up; with --online, which work.",
        "[HOST]",
        ONLINE_OPTION + NETWORK_OPTIONS + LOG_OPTIONS + JSON_OPTION,
    ),
    "history": Command("Show the newest N uploads, or all.", "[N]", HISTORY_OPTIONS + ARRAY_OPTION),
    "delete": Command(
        "Delete earlier uploads (a URL, a name, or last), and verify that they are gone.",
        "[UPLOAD]...",
        DELETE_OPTIONS + NETWORK_OPTIONS + QUIET_OPTION,
    ),
    "serve": Command(
        "Serve files and folders from this machine, or receive uploads.", "[FILE]...", SERVE_OPTIONS
    ),
    "hosts": Command(
        "Show the hosts; or add FILE, remove NAME or export HOST as .sxcu.",
        "[ACTION]...",
        ADD_OPTIONS + ARRAY_OPTION,
    ),
    "version": Command("Print the version."),
    "completion": Command("Print a completion script for bash, fish or zsh.", "[SHELL]"),
    "help": Command("Show the help of a command.", "[COMMAND]"),
}
COMMAND_OPTIONS: dict[str, Sequence[Option]] = {
    name: [*itertools.chain.from_iterable(option_groups(command.options).values())]
    for name, command in COMMAND_HELP.items()
}

EXIT_CODES = {
    0: "every file has a verified URL",
    1: "no file could be uploaded",
    2: "wrong command line; nothing was uploaded",
    3: "some files failed",
    4: "uploaded, but the host does not serve the same bytes",
    5: "no suitable host (size, type, expiry, setup); nothing was uploaded",
    6: "local problem (missing, unreadable, changed while being read)",
    130: "interrupted",
}
EXAMPLES = (
    ("report.pdf", "upload a file, print its URL"),
    ("-e 12h a.zip b.zip", "two files, links expire after 12 hours"),
    ("-n log.txt -", "upload standard input"),
    ("serve report.pdf", "share it from this machine"),
    ("--help", "all options and commands"),
)

HOST_OPTIONS = ("-p", "--provider", "--host")
# Options that other programs have under these names.
ALIASES = {"--host": ("--provider", "--bind"), "-p": ("--port",)}


@functools.cache
def parser_class() -> Any:
    class Parser(argparse.ArgumentParser):
        def error(self, message: str) -> NoReturn:
            """Print the message with the option or command that was probably meant; exit."""
            unknown = message if message.startswith("unrecognized") else ""
            wrong = re.findall(r"(?<!\S)--?[a-z][a-z-]*", unknown)
            close = ", ".join(filter(None, map(self.nearest, wrong)))
            meant = f"; did you mean {close}?" if close else ""
            self.print_usage(sys.stderr)
            self.exit(2, f"twat-fs: {printable(message, 400)}{meant}\n")

        def nearest(self, word: str) -> str:
            if word in HOST_OPTIONS and "[HOST]" in str(self.usage):
                return f"`{self.prog} HOST`"
            own = self._option_string_actions
            for alias in ALIASES.get(word, ()):
                if alias in own:
                    return alias
            for name, options in reversed(COMMAND_OPTIONS.items()):
                if word == f"--{name}":
                    return f"`{program()} {name}`"
                if any(word in option.flags.split() for option in options):
                    return f"`{program()} {name} {word}`"
            return "".join(difflib.get_close_matches(word, own, 1, ALIKE))

    return Parser


def build_parser(name: str) -> Any:
    """The argument parser of a command."""
    about, arguments, options = COMMAND_HELP[name]
    # Without a width, argparse imports shutil (a tenth of the time of an upload of 1 KiB).
    width = min(terminal_width(sys.stdout), 80) - 2
    formatter = functools.partial(argparse.RawDescriptionHelpFormatter, width=width)
    is_upload = name == "upload"
    parser = parser_class()(
        prog=program() if is_upload else f"{program()} {name}",
        # The usage of argparse itself would have eight lines.
        usage=f"%(prog)s [OPTION]... {arguments}".rstrip(),
        description=layout([[about]], width)[0],
        epilog=epilog(width) if is_upload else "",
        formatter_class=formatter,
        allow_abbrev=False,
        add_help=False,
    )
    if arguments:
        nargs = "*" if arguments.endswith("...") else "?"
        parser.add_argument(positional_of(arguments), nargs=nargs, help=argparse.SUPPRESS)
    for title, group in option_groups(options + HELP_OPTIONS).items():
        section = parser.add_argument_group(title)
        for flags, help, kwargs in group:
            section.add_argument(*flags.split(), help=help, **kwargs)
    # argparse would parse negative numbers as options, because there is an option -4.
    parser._has_negative_number_optionals = []
    return parser


def positional_of(arguments: str) -> str:
    """The attribute for the arguments of a command: "file" for "[FILE]..."."""
    return arguments.strip("[].").lower()


def epilog(width: int) -> str:
    """The commands and the exit codes, below the options of --help."""
    commands = [
        (f"  {name} {command.arguments}", command.about.partition(". ")[0].rstrip("."))
        for name, command in COMMAND_HELP.items()
    ]
    codes = [(f"  {code}", meaning) for code, meaning in EXIT_CODES.items()]
    title = "commands (a file named list is ./list):"
    lines = [title, *layout(commands, width), "", "exit codes:", *layout(codes, width)]
    return "\n".join(lines)


def parse_args(name: str, argv: Sequence[str]) -> tuple[Any, Any]:
    """The parser of a command and its arguments.

    Options and files may be in any order; arguments after `--` are no options; underscores in
    option names are accepted (--no_check).
    """
    parser = build_parser(name)
    cut = list(argv).index("--") if "--" in argv else len(argv)
    dashed = [
        re.sub("^--[^=]+", lambda m: m.group().replace("_", "-"), word) for word in argv[:cut]
    ]
    args = parser.parse_intermixed_args(dashed)
    if args.version:
        put_line(version_line())
        parser.exit()
    if getattr(args, "quiet", False) and getattr(args, "verbose", False):
        parser.error("--quiet conflicts with --verbose")
    if cut < len(argv):
        values: Any = getattr(args, positional_of(COMMAND_HELP[name].arguments), None)
        if not isinstance(values, list):
            parser.error("unexpected --")
        values += argv[cut + 1 :]
    return parser, args


def options_of(args: Any) -> UploadOptions:
    """The UploadOptions of the command line; the others have their defaults."""
    values = {
        name: value
        for name, value in vars(args).items()
        if name in UploadOptions._fields and value is not None
    }
    checks = set(values.pop("verify", ())) or {"auto"}
    if len(checks) > 1:
        raise UsageError("--no-check conflicts with --verify")
    values.update(verify=checks.pop(), sha256=bool(getattr(args, "json", False)))
    options = with_environment(UploadOptions(**values))
    if options.insecure:
        print_line(
            "twat-fs: warning: --insecure: certificates are not verified;"
            " the connection can be intercepted"
        )
    return options


def cmd_upload(argv: Sequence[str]) -> int:
    parser, args = parse_args("upload", argv)
    files = args.file
    archive = archive_name(args)
    if archive:
        files = [archive]
    if not files:
        if sys.stdin is None or is_terminal(sys.stdin):
            return print_examples(parser)
        files = ["-"]
    if files.count("-") > 1:
        parser.error("standard input can be read only once")
    options = options_of(args)
    if len(files) > 1:
        if args.name:
            parser.error("--name requires a single FILE")
        meant = suggest_command(files[0])
        if meant:  # a mistyped `serve FILE` must not publish the file
            message = f"{files[0]}: no such file or directory; nothing was uploaded"
            raise UsageError(message, hint=meant)
        if options.remote_path and not options.remote_path.endswith("/"):
            parser.error("--remote-path must end in / for more than one file")
        options = options._replace(jobs=max(1, UploadOptions().jobs // int(args.jobs or 1)))
    names = args.provider or default_names(options)
    chain = choose_chain(names, options.fallback, options.settings)
    if args.provider == []:
        parser.error("--provider: no host given")
    if sys.stdout is None:
        raise Unreadable("standard output is closed", phase="output")
    terminal = terminal_of(args, options.settings)
    with contextlib.ExitStack() as stack:
        stack.callback(terminal.stop)
        try:
            if archive:
                sources = [archive_or_error(archive, args, options, stack, terminal)]
            else:
                sources = [source_or_error(file, options, chain, stack, terminal) for file in files]
        except KeyboardInterrupt:
            raise KeyboardInterrupt(*files) from None
        uploader = Uploader(options, chain)
        if args.dry_run:
            pairs = zip(files, sources)
            return combined_exit_code([dry_run(*pair, uploader, args.json) for pair in pairs])
        return upload_all(files, sources, uploader, args, terminal)


def terminal_of(args: Any, settings: Mapping[str, str]) -> Terminal:
    """The terminal on stderr, as the options and the environment want it."""
    on_terminal = is_terminal(sys.stderr)
    # https://no-color.org: any value of NO_COLOR but "". Old consoles of Windows print the codes.
    plain = settings.get("NO_COLOR") or settings.get("TERM", "dumb") == "dumb" or os.name == "nt"
    return Terminal(
        sys.stderr,
        draws=on_terminal and not (args.quiet or args.no_progress),
        verbose=args.verbose,
        quiet=args.quiet,
        colors=on_terminal and not plain,
    )


def print_examples(parser: Any) -> int:
    """Print the usage and some commands to type; return the exit code."""
    parser.print_usage(sys.stderr)
    rows = [(f"  {program()} {arguments}", meaning) for arguments, meaning in EXAMPLES]
    print_line("\n".join(layout(rows, terminal_width(sys.stderr))))
    return 2


Found = Union[Source, UploadError]


def source_or_error(
    file: str,
    options: UploadOptions,
    chain: Sequence[Provider],
    stack: contextlib.ExitStack,
    terminal: Terminal,
) -> Found:
    progress = FileProgress(terminal)
    try:
        if file != "-":
            return Source.of(file, options.name, options.unique)
        limits = [row.limits.max_size for row in chain]
        limit = None if None in limits else max(filter(None, limits))
        body = standard_input(limit, progress, stack)
        if not length(body) and not any(row.limits.empty for row in chain):
            raise Unsuitable("standard input is empty", phase="file")
        name = options.name or stdin_name(body)
        return Source(upload_name(name, options.unique), body, length(body), time.time())
    except UploadError as error:
        error.hint = error.hint or suggest_command(file)
        return error
    finally:
        progress.hide()


def stdin_name(body: Content) -> str:
    return "stdin.txt" if is_text(body, 4 * KiB) else "stdin.bin"


def archive_name(args: Any) -> str:
    """The name of the archive for --zip or --tar, "" without them; raises UsageError."""
    if args.zip and args.tar:
        raise UsageError("--zip conflicts with --tar")
    if not args.zip and not args.tar:
        if args.exclude:
            raise UsageError("--exclude requires --zip or --tar")
        return ""
    if not args.file or "-" in args.file:
        raise UsageError("an archive requires files or folders, not standard input")
    base = base_name(args.file[0]) if len(args.file) == 1 else "archive"
    return args.name or base + (".tar.gz" if args.tar else ".zip")


def archive_or_error(
    name: str,
    args: Any,
    options: UploadOptions,
    stack: contextlib.ExitStack,
    terminal: Terminal,
) -> Found:
    """The archive of the arguments, or an error.

    Its files are read for the checksums of a ZIP, except with --dry-run.
    """
    progress = FileProgress(terminal)
    try:
        name_of_epoch = "SOURCE_DATE_EPOCH"
        epoch = checked_type(name_of_epoch, options.settings.get(name_of_epoch) or None, None)
        walker = Walker(args.exclude, args.tar, epoch)
        members = walker.members(args.file)
        if not args.quiet:
            warn_about(walker)
        if args.dry_run:
            write = print_line if args.json else put_line
            size = sum(length(member.content) for member in members)
            names = [member.name for member in members if member.content]
            count = plural(len(names), "file")
            write(f"{printable(name)}: {count}, {human(size)}: {first_names(names)}")
        progress.show(name, "reading files")
        if args.tar:
            content = spool_to_file(gzip_blocks(tar_content(members)), stack)
        else:
            content = zip_content(members, utc=epoch is not None, checksums=not args.dry_run)
        return Source(upload_name(name, options.unique), content, length(content), time.time())
    except UploadError as error:
        return error
    finally:
        progress.hide()


def warn_about(walker: Walker) -> None:
    """Name the members of an archive that should perhaps not be in it."""
    notes = {"possible secrets": walker.secrets, "skipped (not files)": walker.skipped}
    for note, names in notes.items():
        if names:
            print_line(f"twat-fs: warning: {note}: {first_names(sorted(names))}")


def first_names(names: Sequence[str]) -> str:
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(map(printable, names[:5])) + more


def suggest_command(word: str) -> str:
    """A hint if `word` is not a file but resembles a command, mistyped or in the wrong position."""
    plain = re.fullmatch("[A-Za-z_-]+", word) and not os.path.lexists(word)
    close = difflib.get_close_matches(word, COMMANDS, 1, ALIKE) if plain else []
    return f"did you mean `{program()} {close[0]}`?" if close else ""


def standard_input(
    limit: Optional[int], progress: FileProgress, stack: contextlib.ExitStack
) -> Content:
    """Return standard input as a body that can be sent again.

    Up to IN_MEMORY it is kept in memory, else in a file that is deleted when `stack` is closed.
    """
    blocks = read_stdin(limit, progress)
    data = bytearray()
    for block in blocks:
        data += block
        if len(data) > IN_MEMORY:
            return spool_to_file(itertools.chain([data], blocks), stack)
    return (memory_slice(bytes(data)),)


def read_stdin(limit: Optional[int], progress: FileProgress) -> Iterator[bytes]:
    """Yield standard input as it arrives, with short waits, so that Ctrl-C works.

    Raises Unsuitable above `limit`, the largest file that any host of the chain accepts.
    """
    if sys.stdin is None:
        raise Unreadable("standard input is closed")
    data, size = b"-", 0
    stream: Any = sys.stdin.buffer
    progress.show("standard input", "0 bytes read")
    while data:
        # Waiting is not supported for streams without a descriptor and for pipes on Windows.
        with contextlib.suppress(OSError, ValueError):
            while not wait_ready([stream], True, False, TICK):
                continue
        try:
            data = stream.read1(CHUNK)
        except OSError as error:
            raise Unreadable(f"standard input: {local_reason(error)}", phase="file") from error
        size += len(data)
        if limit is not None and size > limit:
            most = f"{human(limit)} (max size of these hosts)"
            raise Unsuitable(f"standard input is too large: over {most}", phase="file")
        progress.note = f"{human(size)} read"
        yield data


def spool_to_file(blocks: Iterable[Any], stack: contextlib.ExitStack) -> Content:
    folder = "a file"
    try:
        folder = tempfile.gettempdir()
        path = os.path.join(folder, f"twat-fs-{random_name()}")
        stack.callback(unlink_quietly, path)  # before the file exists, in case of a signal
        with open(path, "xb", opener=functools.partial(os.open, mode=0o600)) as file:
            for data in blocks:
                file.write(data)
                if shutil.disk_usage(path).free < RESERVE:
                    raise OSError(errno.ENOSPC, "the disk is nearly full")
    except OSError as error:
        why = f"no temporary file in {folder}: {local_reason(error)}"
        raise Unreadable(why, phase="file", hint="set TMPDIR to another folder") from error
    return Source.of(path).body


def unlink_quietly(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


class Outcomes:
    """Prints the outcome of each file as soon as those of all files before it are printed."""

    def __init__(
        self, sources: Sequence[Found], uploader: Uploader, args: Any, terminal: Terminal
    ) -> None:
        self.sources, self.uploader, self.args = sources, uploader, args
        self.terminal = terminal
        self.early: dict[int, Outcome] = {}  # of files whose predecessors have no outcome yet
        self.codes: dict[int, int] = {}
        self.urls: dict[str, str] = {}

    def add(self, index: int, outcome: Outcome) -> bool:
        """Print what can be printed now; returns whether to stop because of --fragile."""
        self.early[index] = outcome
        while len(self.codes) in self.early and not self.stops():
            self.print(len(self.codes))
        return self.stops()

    def stops(self) -> bool:
        return self.uploader.options.fragile and any(self.codes.values())

    def print(self, index: int) -> None:
        outcome = self.early.pop(index)
        self.codes[index] = outcome.code()
        if not self.args.no_history:
            record(self.sources[index], outcome, self.uploader, self.terminal)
        print_outcome(outcome, self.terminal, self.args)
        if outcome.result:
            twin = self.urls.setdefault(outcome.result.url, outcome.file)
            if twin != outcome.file and not self.args.quiet:
                same = f"same URL as {printable(twin)}"
                self.terminal.print(f"twat-fs: {printable(outcome.file)}: {same}")

    def end(self, files: Sequence[str], progresses: Sequence[FileProgress]) -> None:
        """Print the outcomes that are left, also after Ctrl-C, and copy the URLs."""
        for index, progress in enumerate(progresses):
            error = NotVerified("stopped before the link was verified", phase="proof")
            error.unverified = tuple(progress.links)
            if error.unverified and index not in self.codes:
                self.early.setdefault(index, Outcome(files[index], error=error))
        for index in sorted(self.early):
            with contextlib.suppress(Unreadable):  # stdout failed; the URL is on stderr
                self.print(index)
        copy_urls([*self.urls], self.args, self.uploader.options.settings, self.terminal)


def upload_all(
    files: Sequence[str],
    sources: Sequence[Found],
    uploader: Uploader,
    args: Any,
    terminal: Terminal,
) -> int:
    """Upload the files, print the outcomes in their order, and return the exit code of all."""
    for row in uploader.chain if terminal.verbose else ():
        if row.use == "default" and uploader.health.note(row.id):
            terminal.log(f"{row.id}: {uploader.health.note(row.id)}")
    progresses = [FileProgress(terminal) for _ in files]
    outcomes = Outcomes(sources, uploader, args, terminal)
    jobs = [
        functools.partial(upload_one, file, source, uploader, progress)
        for file, source, progress in zip(files, sources, progresses)
    ]
    try:
        for index, outcome in parallel(jobs, int(args.jobs or 1)):
            if outcomes.add(index, outcome):
                break
    except KeyboardInterrupt:
        terminal.stop()
        print_line(line_start(), end="")
        ended = {*outcomes.codes, *outcomes.early}
        names = [
            file
            for index, file in enumerate(files)
            if index not in ended and not progresses[index].links
        ]
        raise KeyboardInterrupt(*names) from None
    finally:
        outcomes.end(files, progresses)
    return combined_exit_code(list(outcomes.codes.values()))


def record(source: Found, outcome: Outcome, uploader: Uploader, terminal: Terminal) -> None:
    """Add the links of an outcome to the history; a failure is printed with -v only."""
    options = uploader.options
    path = history_path(options.settings)
    if isinstance(source, UploadError) or not path:
        return
    ended: Any = outcome.result or outcome.error
    links = [*ended.unverified, *filter(None, [outcome.result])]
    try:
        for link in links:
            secrets = [*filter(None, map(options.settings.get, SECRET_SETTINGS))]
            check = uploader.row_of(link.provider).check
            if check:  # of a .sxcu file
                secrets += getattr(check(source, options), "secrets", ())
            History(path).add(history_entry(source, link, secrets))
    except OSError as error:
        terminal.log(f"history not written: {located_reason(error)}")


# A variable that must be set, and a command that copies its standard input.  The first three stay
# in the background until the clipboard changes.
CLIPBOARD_TOOLS = (
    ("WAYLAND_DISPLAY", "wl-copy"),
    ("DISPLAY", "xclip -selection clipboard"),
    ("DISPLAY", "xsel --input --clipboard"),
    ("", "pbcopy"),
    ("", "clip.exe"),  # Windows, also from WSL
    ("", "termux-clipboard-set"),
)


def copy_urls(
    urls: Sequence[str], args: Any, settings: Mapping[str, str], terminal: Terminal
) -> None:
    """Copy the URLs to the clipboard, if --copy or TWAT_FS_COPY wants it."""
    if urls and (args.copy or settings.get("TWAT_FS_COPY", "").lower() not in NO):
        note = copy_to_clipboard("\n".join(urls), settings)
        if not args.quiet:
            terminal.print(f"twat-fs: {note}")


def copy_to_clipboard(text: str, settings: Mapping[str, str]) -> str:
    """Copy a text, over SSH to the clipboard of the terminal; return what to tell the user."""
    remote = settings.get("SSH_TTY") or settings.get("SSH_CONNECTION")
    if remote and copy_by_terminal(text, "TMUX" in settings):
        return "sent to the terminal's clipboard"
    failed = ""
    for variable, command in CLIPBOARD_TOOLS:
        name, *arguments = command.split()
        path = shutil.which(name)
        if path and (not variable or settings.get(variable)):
            # clip.exe reads other characters than ASCII only as UTF-16.
            utf_16 = name == "clip.exe" and not text.isascii()
            if run_quietly([path, *arguments], text.encode("utf-16" if utf_16 else "utf-8")):
                return "copied"
            failed = failed or f" ({name} failed)"
    return f"warning: not copied: no clipboard{failed}"


def run_quietly(command: Sequence[str], data: bytes) -> bool:
    """Run a command with this input; whether it succeeded.

    It gets none of our streams: what stays in the background would keep a pipe open.
    """
    try:
        quiet = subprocess.DEVNULL
        done = subprocess.run(command, input=data, stdout=quiet, stderr=quiet, timeout=5)
    except (OSError, subprocess.SubprocessError):
        return False
    return done.returncode == 0


def copy_by_terminal(text: str, in_tmux: bool) -> bool:
    """Send a text to the clipboard of the terminal (OSC 52), which confirms nothing.

    By default tmux ignores the sequence of a program, and accepts `load-buffer -w` (tmux 3.2).
    """
    sequence = b"\x1b]52;c;%s\x07" % base64.b64encode(text.encode())
    if in_tmux:
        if tmux_allows_passthrough():
            sequence = b"\x1bPtmux;%s\x1b\\" % sequence.replace(b"\x1b", b"\x1b\x1b")
        elif run_quietly(["tmux", "load-buffer", "-w", "-"], text.encode()):
            return True
    with contextlib.suppress(OSError), open("/dev/tty", "wb") as terminal:
        terminal.write(sequence)
        return True
    return False


def tmux_allows_passthrough() -> bool:
    command = ["tmux", "display-message", "-p", "#{allow-passthrough}"]
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        done = subprocess.run(command, capture_output=True, timeout=5)
        return done.stdout.strip() in (b"on", b"all", b"1")
    return False


def upload_one(file: str, source: Found, uploader: Uploader, progress: Progress) -> Outcome:
    begun = time.monotonic()
    if isinstance(source, UploadError):
        return Outcome(file, error=source)
    try:
        result = uploader.upload(source, progress)
        ttl = lifetime(uploader.row_of(result.provider), source.size, uploader.options)
        permanent = ttl == FOREVER and not result.expires
        return Outcome(file, source.size, result, None, result.seconds, source.name, permanent)
    except UploadError as error:
        return Outcome(file, source.size, None, error, time.monotonic() - begun)


def print_outcome(outcome: Outcome, terminal: Terminal, args: Any) -> None:
    """Print the URL (or a JSON object) on stdout, a failure on stderr.

    A URL that cannot be written to stdout goes to stderr.
    """
    result = outcome.result
    if outcome.error:
        for line in failure_lines(outcome):
            terminal.print(line)
    ended: Any = result or outcome.error
    for link in ended.unverified:
        terminal.print(f"twat-fs: {printable(outcome.file)}: {copy_line(link)}")
    line = result.url if result else ""
    if args.json:
        line = json_line(outcome)
    if not line:
        return
    try:
        with terminal.lock:
            terminal.clear()
            put_line(line)
        if result and args.qr:
            print_qr(result.url, terminal)
    except OSError as error:
        if result:
            terminal.print(f"twat-fs: {printable(outcome.file)}: {result.url}")
        raise Unreadable(f"standard output: {local_reason(error)}", phase="output") from error
    if result and (args.verbose or terminal.is_terminal) and not args.quiet:
        print_receipt(outcome, result, terminal)


def put_line(line: str) -> None:
    """Print a line on stdout; raises OSError if it cannot be written."""
    if sys.stdout is None:
        raise OSError(errno.EBADF, "closed")
    write_text(sys.stdout, line + "\n")


def combined_exit_code(codes: Sequence[int]) -> int:
    """The exit code of all files together."""
    if len(set(codes)) == 1:
        return codes[0]
    return 3 if 0 in codes else 1


def dry_run(file: str, source: Found, uploader: Uploader, as_json: bool) -> int:
    """Print which hosts would be tried for a file, and why the others would not."""
    options = uploader.options
    report: dict[str, Any] = {"file": valid_unicode(file), "size": None, "hosts": [], "skipped": []}
    if isinstance(source, UploadError):
        if as_json:
            put_line(json.dumps({**report, "error": printable(str(source), 400)}))
        return print_failure(Outcome(file, error=source))
    report["size"] = source.size
    names: list[str] = []
    notes: list[str] = []
    skipped: dict[str, list[str]] = {}
    for row in uploader.ordered(source.size):
        error = objection(row, source, options)
        if error:
            report["skipped"].append({"host": row.id, "reason": str(error)})
            skipped.setdefault(f"{error}   {error.hint}".rstrip(), []).append(row.id)
            continue
        report["hosts"].append(row.id)
        name = row.id
        if options.expire or options.keep:
            ttl = lifetime(row, source.size, options)
            name += f" ({duration(ttl)})"
        names.append(name)
        if row.use == "default" and uploader.health.note(row.id):
            notes.append(f"  {row.id:<16} {uploader.health.note(row.id)}")
    if as_json:
        put_line(json.dumps(report))
    else:
        verdict = f"would try: {', '.join(names)}" if names else "no suitable host"
        reasons = [f"  not {', '.join(hosts)}: {reason}" for reason, hosts in skipped.items()]
        head = f"{printable(file)}  {human(source.size)}  {verdict}"
        put_line("\n".join((head, *notes, *reasons)))
    return 0 if names else 5


def print_failure(outcome: Outcome) -> int:
    for line in failure_lines(outcome):
        print_line(line)
    return outcome.code()


def put_table(rows: Sequence[Sequence[str]]) -> None:
    put_line("\n".join(layout(rows, terminal_width(sys.stdout, sys.maxsize))))


def put_host_table(hosts: Iterable[Provider], *rows: Sequence[str]) -> None:
    """Print a header, and a row for each host below the heading of its group."""
    first, *texts = layout(rows, terminal_width(sys.stdout, sys.maxsize))
    put_line(first)
    for use, title in HOST_GROUPS.items():
        put_line(f"\n{title}")
        for row, text in zip(hosts, texts):
            if row.use == use:
                put_line(text)


def cmd_list(argv: Sequence[str]) -> int:
    _, args = parse_args("list", argv)
    if args.online:
        return cmd_status(argv)
    hosts = [find_provider(name) for name in args.host] or all_hosts()
    header, *rows = provider_table(hosts)
    if args.json:
        put_line(json.dumps([host_json(row) for row in hosts], indent=1))
    elif args.host:
        for index, row in enumerate(rows):
            if index:
                put_line("")
            put_table([*zip(header, row)])
    else:
        # The host without its domain and use; the date is for `list HOST`.
        put_host_table(hosts, *((row[0], *row[3:6]) for row in (header, *rows)))
    return 0


def cmd_status(argv: Sequence[str]) -> int:
    """Print the state of one host, or of all; returns 0 if any of them can be used."""
    _, args = parse_args("status", argv)
    options = options_of(args)
    if args.host:
        hosts: Sequence[Provider] = [find_provider(args.host)]
        infos = [setup_provider(args.host, args.online, options)]
    else:
        hosts = all_hosts()
        infos = [*setup_providers(args.online, options).values()]
    tried = [info for info in infos if info.status in ("works", "failed")]
    no_network = len(tried) > 1 and all(info.explanation.startswith("dns: ") for info in tried)
    rows: list[tuple[str, str, str]] = []
    for host, info in zip(hosts, infos):
        reason = "" if info.explanation == info.status else info.explanation
        if args.json:
            put_line(json.dumps({**host_json(host), **info._asdict(), "reason": reason}))
        timing = "  ".join(f"{phase} {seconds:.2f} s" for phase, seconds in info.timing.items())
        if no_network and info in tried:
            reason = ""
        details = "; ".join(filter(None, (reason, timing, info.help_info)))
        rows.append((host.id, info.status, details))
    if args.host and not args.json:
        put_table(rows)
    elif not args.json:
        put_host_table(hosts, ("host", "status", "details"), *rows)
    if no_network:
        failures = [Unreachable("", phase="dns")] * len(tried)
        print_failure(Outcome(error=AllProvidersFailed(failures)))
    if any(info.success for info in tried or infos):
        return 0
    return 1 if tried else 5


def cmd_history(argv: Sequence[str]) -> int:
    """Print the newest entries, or forget them all."""
    parser, args = parse_args("history", argv)
    count = parse_number(args.n)
    if args.n and count is None:
        parser.error(f"invalid number {args.n!r}")
    path = history_path(environment()[0])
    if not path:
        print_line("twat-fs: the history is off")
    elif args.clear:
        with history_errors():
            History(path).clear()
    if args.clear:
        return 0
    entries = read_history(path)[::-1][:count]
    if args.json:
        put_line(json.dumps([*map(history_json, entries)], indent=1))
    elif entries:
        header = ("time", "name", "size", "host", "expires", "deletable", "url")
        put_table([header, *map(history_row, entries)])
    elif path:
        print_line("twat-fs: the history is empty")
    return 0


@contextlib.contextmanager
def history_errors() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Unreadable(f"history: {located_reason(error)}", phase="history") from error


def read_history(path: str) -> list[dict[str, Any]]:
    """The entries; none if the history is off."""
    with history_errors():
        return History(path).entries() if path else []


def history_json(entry: Mapping[str, Any]) -> dict[str, Any]:
    """An entry without tokens."""
    can_delete = deletable(stored_link(entry)) and not entry.get("deleted")
    return {
        "deleted": None,
        **entry,
        "delete": entry["delete"].get("delete"),
        "deletable": can_delete,
    }


def history_row(entry: Mapping[str, Any]) -> list[str]:
    state = "yes" if history_json(entry)["deletable"] else "no"
    if entry.get("deleted"):
        state = "deleted"
    if entry.get("unverified"):
        state += " (unverified)"
    return [
        local_time(entry["time"]),
        truncate(printable(entry["name"]), 30),
        human(entry["size"]),
        printable(entry["provider"]),
        local_time(entry.get("expires")) or "-",
        state,
        printable(entry["url"]),
    ]


def cmd_delete(argv: Sequence[str]) -> int:
    """Delete earlier uploads at their hosts, and verify that the links are gone."""
    parser, args = parse_args("delete", argv)
    if not args.upload:
        parser.error("expected a URL, last or a NAME")
    options = options_of(args)
    transport = Transport(network_of(options))
    path = history_path(options.settings)
    codes = []
    for wanted in args.upload:
        try:
            entry = find_upload(read_history(path), wanted)
            delete_one(entry, args, options, transport)
            codes.append(0)
        except UploadError as error:
            shown = redact_url(wanted) if "://" in wanted else wanted
            codes.append(print_failure(Outcome(shown, error=error)))
            continue
        try:
            History(path).add({"url": entry["url"], "deleted": iso_time(time.time())})
        except OSError as error:
            print_line(f"twat-fs: warning: history not written: {located_reason(error)}")
    transport.close()
    return combined_exit_code(codes)


def delete_one(
    entry: Mapping[str, Any], args: Any, options: UploadOptions, transport: Transport
) -> None:
    """Delete one upload, after a question if a page does it; errors do not contain its token."""
    link = stored_link(entry)
    if link.delete_page and not args.yes:
        print_line(f"twat-fs: delete page: {printable(redact_url(link.delete_page))}")
        if not confirm("open it?"):
            reason = "not deleted: the delete page was not opened"
            raise Unsuitable(reason, phase="history", hint="use --yes to open it")
    try:
        link, status = delete_upload(entry, options, transport)
    except UploadError as error:
        secret = (link.delete or "").rpartition("/")[2]
        if secret and link.delete != link.url:
            error.summary = error.summary.replace(secret, "***")
        raise
    if args.quiet:
        return
    name = printable(entry["name"])
    print_line(f"twat-fs: {name}: deleted at {printable(entry['provider'])} (verified: {status})")
    if link.warning:
        print_line(f"twat-fs: {name}: {link.warning}")


def confirm(question: str) -> bool:
    """Ask on a terminal; False without one."""
    if not is_terminal(sys.stdin):
        return False
    print_line(f"{question} [y/N] ", end="")
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def cmd_hosts(argv: Sequence[str]) -> int:
    """Add, remove or export a custom host; without these like `list`."""
    _, args = parse_args("hosts", argv)
    if not args.action and set(argv) <= {"--json"}:
        return cmd_list(argv)
    action = HOST_ACTIONS.get(args.action[0])
    if action and len(args.action) == 2:
        return action(args.action[1], args, environment()[0])
    raise UsageError("expected add FILE, remove NAME or export HOST")


def hosts_add(file: str, args: Any, settings: Mapping[str, str]) -> int:
    content = sys.stdin.buffer.read(MAX_SXCU + 1) if file == "-" else read_sxcu(file)
    uploader = parse_sxcu(content)
    stem = uploader.title or uploader.host if file == "-" else os.path.basename(file)
    stem = re.sub(r"\.sxcu$", "", stem.lower())
    name = args.name or re.sub("[^a-z0-9._-]+", "-", stem).strip("-._")[:64]
    path = host_path(name, settings)
    if any(name in (row.id, row.domain) for row in PROVIDERS) or name in DEAD:
        raise UsageError(f"{name} is the name of a known host", hint="use --name NAME")
    if os.path.lexists(path):
        raise UsageError(f"{name} exists", hint=f"run `{program()} hosts remove {name}` first")
    allowed = args.allow_env or []
    if not all(re.fullmatch("[A-Za-z_][A-Za-z0-9_]*", variable) for variable in allowed):
        raise UsageError("--allow-env: expected the name of a variable")
    put_table([*describe_uploader(name, uploader)])
    if not args.yes and is_terminal(sys.stdin) and not confirm(f"add {name}?"):
        return 1
    unlink_quietly(f"{path[:-5]}.env")  # of a host that was deleted by hand
    if allowed:
        replace_file(f"{path[:-5]}.env", "\n".join(allowed).encode())
    replace_file(path, content)
    return 0


def describe_uploader(name: str, uploader: CustomUploader) -> Iterator[tuple[str, str]]:
    """The facts about a .sxcu file that the user should know before adding it, without values."""
    yield "host", name
    url = str(*uploader.texts.get("RequestURL", ())[:1])  # absent if it has a placeholder
    is_http = url.lower().startswith("http:")
    scheme = "http" if is_http else "https"
    yield "uploads to", f"{uploader.method} {scheme}://{uploader.host}"
    for field in ("Headers", "Parameters", "Arguments"):
        yield field.lower(), ", ".join(map(printable, uploader.texts_of(field))) or "none"
    link = uploader.texts["URL"][:1]
    fixed = re.match("https?://[^/]+/", str(*link)) if link else None
    yield "link", f"at {printable(fixed[0])}" if fixed else "from the response"
    yield "variables", ", ".join(uploader.variables) or "none"
    keys = [
        printable(field)
        for field, text in uploader.texts.items()
        if re.search(r" .*(auth|token|key|secret|pass|cookie|hash)", field, re.I)
        and any(isinstance(piece, str) and piece.strip() for piece in text)
        and not any(isinstance(piece, Call) and not piece.name for piece in text)
    ]
    if keys:
        yield "warning", f"the file contains its own key ({', '.join(keys)})"
    if is_http and not is_private(parse_target(f"http://{uploader.host}").host):
        yield "warning", "http is not encrypted (uploads require --insecure)"
    if uploader.problem:
        yield "warning", uploader.problem


def host_path(name: str, settings: Mapping[str, str]) -> str:
    if not re.fullmatch(HOST_NAME, name):
        raise UsageError("invalid name (use up to 64 of a-z 0-9 . _ -)", hint="use --name NAME")
    return os.path.join(hosts_folder(settings), f"{name}.sxcu")


def hosts_remove(name: str, args: Any, settings: Mapping[str, str]) -> int:
    path = host_path(name, settings)
    if not os.path.lexists(path):
        raise UsageError(f"host not found: {name}", hint=f"run `{program()} hosts` to see them")
    unlink_quietly(path)
    unlink_quietly(f"{path[:-5]}.env")
    return 0


def hosts_export(name: str, args: Any, settings: Mapping[str, str]) -> int:
    put_line(json.dumps(sxcu_of(find_provider(name)), indent=2))
    return 0


HOST_ACTIONS: Mapping[str, Callable[[str, Any, Mapping[str, str]], int]] = {
    "add": hosts_add,
    "remove": hosts_remove,
    "export": hosts_export,
}


def cmd_regex(argv: Sequence[str]) -> int:
    """The child process of regex_function in a frozen program, which cannot run Python code."""
    exec(REGEX_CHILD)
    return 0


def cmd_serve(argv: Sequence[str]) -> int:
    parser, args = parse_args("serve", argv)
    taking = [name for name in ("dir", "max_size", "token") if getattr(args, name)]
    if args.file and taking:
        parser.error(f"--{taking[0].replace('_', '-')} cannot be used with FILE")
    if args.once and not args.file:
        parser.error("--once requires FILE")
    if args.file.count("-") > 1:
        parser.error("standard input can be read only once")
    if args.bind and re.fullmatch(r"\[.*\].*|[^:]+:[0-9]*", args.bind):
        parser.error("--bind is an address alone, like 127.0.0.1 or ::1; --port takes the port")
    if args.url and not re.fullmatch(SERVER_URL, args.url):
        parser.error("--url: invalid URL (expected https://HOST/drop/)")
    bind = args.bind or ("0.0.0.0" if args.file else "127.0.0.1")
    shown_token = ""
    if not args.file:  # an argument of a command can be seen by all users of a machine
        args.token = args.token or environment()[0].get("TWAT_FS_SERVE_TOKEN", "")
        shown_token = args.token and "TOKEN"
        if args.token is True:
            args.token = shown_token = random_name()[:12]
        if not args.token and not is_loopback(bind):
            parser.error(
                "--token (or TWAT_FS_SERVE_TOKEN) is required unless --bind is a loopback address"
            )
    strict = args.port is not None
    port = int(args.port) if strict else 8080
    url = base_url(args.url) if args.url else ""
    draws = is_terminal(sys.stderr) and not args.quiet
    terminal = Terminal(sys.stderr, draws=draws, verbose=False, quiet=args.quiet)
    fields = {"terminal": terminal, "as_json": args.json, "once": args.once}
    fields.update(token=args.token, url=url)
    with contextlib.ExitStack() as stack:
        stack.callback(terminal.stop)
        store = open_store(args, stack, terminal)
        server = stack.enter_context(start_server(store, bind, port, strict, **fields))
        if not strict and server.server_port != port:
            print_line(f"twat-fs: port {port} is in use; using {server.server_port}")
        if url:
            print_line(f"twat-fs: listening on {address_of(server)}/")
        announce(store, url or address_of(server), shown_token, args, terminal)
        try:
            server.serve_forever(TICK)
        except Finished:
            return report_end(store, args)
        except KeyboardInterrupt:
            terminal.stop()
            count = len(store.files) if store.is_temporary else 0
            deleted = f"; {plural(count, 'file')} deleted" if count else ""
            print_line(f"{line_start()}twat-fs: stopped{deleted}")
    return 130


def report_end(store: Store, args: Any) -> int:
    """Print why `serve` ends by itself; return the exit code."""
    expired = len(args.file) - len(store.fetched)
    message = "expired" if expired else "each file was downloaded"
    print_line(f"twat-fs: stopped: {message}")
    return int(args.once and bool(expired))


def open_store(args: Any, stack: contextlib.ExitStack, terminal: Terminal) -> Store:
    """The store for the files of the command line, or for received files."""
    keep = args.keep or FOREVER
    store = Store()
    try:
        for file in args.file:
            token = random_name()
            if os.path.isdir(file):
                path, name = "", base_name(file) + ".zip"
                store.archives[token] = archive_to_serve(file, name, terminal)
            else:
                path, name = file_to_serve(file, stack, terminal)
            store.files[token] = StoredFile(path, name, expires=time.time() + keep)
    except Unreadable as error:  # the original hint would upload the file to a public host
        if error.hint and file != "-":
            error.hint = "write it to a file first; for a folder: tar cf FOLDER.tar FOLDER"
        raise
    if store.files:
        return store
    folder = args.dir or stack.enter_context(tempfile.TemporaryDirectory(prefix="twat-fs-"))
    store = Store(folder, int(args.max_size or GiB), keep)
    store.is_temporary = not args.dir
    stack.callback(store.close)
    try:
        os.makedirs(folder, exist_ok=True)
        store.load()
    except OSError as error:
        path = printable(str(error.filename or folder))
        raise Unreadable(f"{path}: {local_reason(error)}", phase="serve") from error
    return store


def archive_to_serve(folder: str, name: str, terminal: Terminal) -> FolderArchive:
    progress = FileProgress(terminal)
    progress.show(name, "reading files")
    archive = FolderArchive(folder)
    archive.build()
    progress.hide()
    warn_about(archive.walker)
    return archive


def file_to_serve(file: str, stack: contextlib.ExitStack, terminal: Terminal) -> tuple[str, str]:
    """The path and name of a file, or of a copy of standard input."""
    if file != "-":
        return os.path.realpath(file), Source.of(file).name
    progress = FileProgress(terminal)
    body = spool_to_file(read_stdin(None, progress), stack)
    progress.hide()
    if not length(body):
        raise Unreadable("standard input is empty", phase="serve")
    return os.fsdecode(body[0].origin), stdin_name(body)


def announce(store: Store, address: str, token: str, args: Any, terminal: Terminal) -> None:
    """Print the URLs of the files, or how to upload."""
    for file_token, stored in store.files.items():
        url = f"{address}/{file_token}/{quote_segment(stored.name)}"
        name = valid_unicode(stored.name)
        archive = store.archives.get(file_token)
        size = length(archive.content) if archive else os.path.getsize(stored.path)
        event = event_json("serving", name=name, size=size, url=url)
        put_line(event if args.json else url)
        if args.qr:
            print_qr(url, terminal)
    if not store.folder:
        ends = [f"for {duration(args.keep)}"] if args.keep else []
        ends += ["until each file was downloaded"] * args.once
        print_line(f"twat-fs: serving {' or '.join((*ends, 'until Ctrl-C'))}")
        return
    if args.json:
        put_line(event_json("receiving", url=f"{address}/"))
    base = address.replace("//", f"//:{token}@") if token else address
    end = f"; files go to {printable(args.dir)}" if args.dir else " deletes the files"
    print_line(f"twat-fs: receiving at {address}/ until Ctrl-C{end}")
    print_line(f"  {curl_line(address, token)}  or  {program()} -p {base}/ FILE")
    if args.qr:
        print_qr(f"{address}/", terminal)


def cmd_version(argv: Sequence[str]) -> int:
    if argv:
        parse_args("version", argv)
    put_line(version_line())
    return 0


def version_line() -> str:
    """The version; in a checkout without a version the output of `git describe` is added."""
    folder = os.path.dirname(os.path.abspath(__file__))
    git_dir = os.path.join(folder, ".git")
    marks = (git_dir, os.path.join(folder, "tools", "version.py"))
    description = ""
    if __version__ == "0+unknown" and all(map(os.path.exists, marks)):
        git = ["git", "--git-dir", git_dir, "--work-tree", folder]
        git += "describe --tags --always --dirty".split()
        null = subprocess.DEVNULL
        with contextlib.suppress(OSError, subprocess.SubprocessError):  # no git, or no response
            output = subprocess.check_output(git, stdin=null, stderr=null, text=True, timeout=5)
            description = output.strip()
    suffix = f" (git {printable(description)})" if description else ""
    return f"twat-fs {__version__}{suffix}"


# Each script runs `twat-fs completion -- ARGUMENTS`, with the command that the user has typed.
COMPLETION = {
    "bash": r"""_twat_fs() {
    local IFS=$'\r\n'
    COMPREPLY=($("${COMP_WORDS[0]/#\~/$HOME}" completion -- "${COMP_WORDS[@]:1:COMP_CWORD}" \
        2>/dev/null | cut -f1))
}
complete -o default -F _twat_fs twat-fs file2url twat_fs.py""",
    "fish": r"""function __twat_fs
    set -l words (commandline -opc) (commandline -ct)
    type -q $words[1]; or return
    set -l start 1
    string match -q 'python*' -- $words[1]; and set start 2
    set -l found ($words[1..$start] completion -- $words[(math $start + 1)..-1] 2>/dev/null)
    string join \n -- $found
    test (count $found) -gt 0 -a (count $words) -gt (math $start + 1)
    or __fish_complete_path $words[-1]
end
complete -c file2url -c twat-fs -c twat_fs.py -f -a '(__twat_fs)'
complete -c python -c python3 -n 'string match -q "*twat_fs.py" -- (commandline -opc)[2]' \
    -f -a '(__twat_fs)'""",
    "zsh": r"""_twat_fs() {
    local -a found before=("${(@)words[2,CURRENT-1]}")
    found=(${(f)"$(${~words[1]} completion -- "$before[@]" "$PREFIX" 2>/dev/null)"})
    found=(${${found//:/\\:}/$'\t'/:})
    _describe twat-fs found || _files
}
(( $+functions[compdef] )) || { autoload -U compinit && compinit }
compdef _twat_fs twat-fs file2url twat_fs.py""",
}


def candidates(argv: Sequence[str]) -> Iterator[str]:
    """Yield the completions of the last argument; none if the shell should complete paths.

    An option is followed by a tab and its description.
    """
    *before, word = argv or [""]
    command = before[0] if before and before[0] in COMMAND_OPTIONS else "upload"
    flags = {flag: option for option in COMMAND_OPTIONS[command] for flag in option.flags.split()}
    value = flags[before[-1]].kwargs if before and before[-1] in flags else {}
    hosts = [row.id for row in all_hosts()]
    choices: Iterable[str] = ()
    prefix = ""
    if value.get("metavar") == "A,B":
        prefix = word[: word.rfind(",") + 1]
        choices = hosts
    elif "nargs" not in value and ("metavar" in value or "choices" in value):
        choices = value.get("choices", ())
    elif word.startswith("-"):
        choices = [*flags, "--help", "--version"]
    elif not before or command == "help":
        choices = COMMAND_OPTIONS
    elif command in ("list", "status"):
        choices = hosts
    elif command == "completion":
        choices = COMPLETION
    elif command == "hosts" and len(before) == 1:
        choices = HOST_ACTIONS
    elif before[:2] == ["hosts", "remove"]:
        choices = added_names(environment()[0])
    elif before[:2] == ["hosts", "export"]:
        choices = hosts
    elif command == "delete":
        choices = ("last",)
    for choice in choices:
        if choice.startswith(word[len(prefix) :]):
            description = f"\t{flags[choice].help}" if choice in flags else ""
            yield prefix + choice + description


def cmd_completion(argv: Sequence[str]) -> int:
    """Print a completion script; after `--`, the candidates for these arguments."""
    if argv[:1] == ["--"]:
        for candidate in candidates(argv[1:]):
            put_line(candidate)
        return 0
    shell = parse_args("completion", argv)[1].shell
    if shell not in COMPLETION:
        raise UsageError("expected a shell: bash, fish or zsh")
    put_line(COMPLETION[shell])
    return 0


def cmd_help(argv: Sequence[str]) -> int:
    """Run `COMMAND --help` for `help COMMAND`."""
    _, args = parse_args("help", argv)
    name = args.command or "upload"
    if name not in COMMAND_HELP:
        raise UsageError(f"unknown command {printable(name)!r}", hint=suggest_command(name))
    return COMMANDS[name](["--help"])


def cmd_upload_provider(argv: Sequence[str]) -> int:
    """Run `upload_provider status|list`, as in earlier versions."""
    command = {"status": cmd_status, "list": cmd_list}.get(argv[0] if argv else "")
    if not command:
        raise UsageError("expected status or list after upload_provider")
    return command(argv[1:])


COMMANDS: Mapping[str, Callable[[Sequence[str]], int]] = {
    "upload": cmd_upload,
    "list": cmd_list,
    "status": cmd_status,
    "history": cmd_history,
    "delete": cmd_delete,
    "serve": cmd_serve,
    "hosts": cmd_hosts,
    REGEX_COMMAND: cmd_regex,
    "version": cmd_version,
    "completion": cmd_completion,
    "help": cmd_help,
    "-V": cmd_version,
    "--version": cmd_version,
    "upload_provider": cmd_upload_provider,
    "upload-provider": cmd_upload_provider,
}


def console_main() -> int:
    """The entry point of the command; Python programs call `main`.

    After Ctrl-C the process ends by that signal, because otherwise bash continues a loop.
    """
    install_signal_handlers()
    code = run(sys.argv[1:])
    if code == 130 and os.name != "nt":
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.raise_signal(signal.SIGINT)
    return code


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Run the program; return its exit code.

    Raises no exception, except SystemExit as a plugin of `twat`, which ignores the returned code.
    """
    if argv is None and sys.argv[0] == "twat.fs":  # set by twat 2.7, which would exit with 0
        raise SystemExit(console_main())
    return run(list(sys.argv[1:] if argv is None else argv))


def install_signal_handlers() -> None:
    """End the program at the first signal, and ignore further ones while it cleans up.

    A frozen program receives each Ctrl-C twice: from the terminal and from its boot loader.
    """
    received: list[int] = []

    def end(number: int, frame: object) -> None:
        if not received:
            received.append(number)
            raise KeyboardInterrupt if number == signal.SIGINT else SystemExit(128 + number)

    def repeat(lost: Any) -> None:
        """Send the signal again if Python ignored the exception, for example in a destructor."""
        if received and lost.exc_type in (KeyboardInterrupt, SystemExit):
            threading.Timer(0.01, os.kill, (os.getpid(), received.pop())).start()
        else:
            sys.__unraisablehook__(lost)

    sys.unraisablehook = repeat
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT"):
        number = getattr(signal, name, None)
        if number and signal.getsignal(number) != signal.SIG_IGN:  # ignored under nohup
            with contextlib.suppress(ValueError):  # outside the main thread, as a plugin
                signal.signal(number, end)


def run(argv: Sequence[str]) -> int:
    """Run a command line, and print its errors; return the exit code."""
    command = COMMANDS.get(argv[0]) if argv else None
    try:
        return command(argv[1:]) if command else cmd_upload(argv)
    except SystemExit as end:  # argparse: --help is 0, a wrong command line 2
        return int(end.code or 0)
    except UploadError as error:
        return print_failure(Outcome(error=error))
    except KeyboardInterrupt as stop:  # its arguments are the files that were not uploaded
        names = printable(", ".join(stop.args), 400)
        message = f"{line_start()}twat-fs: interrupted"
        if names:
            message += f"; not uploaded: {names}"
        print_line(message)
        return 130
    except BrokenPipeError:  # `twat-fs list | head -1`
        return 0
    except OSError as error:
        failure = Unreadable(located_reason(error, "standard output"))
        return print_failure(Outcome(error=failure))
    finally:
        for stream in (sys.stdout, sys.stderr):
            print_line("", stream, end="")


if __name__ == "__main__":
    sys.exit(console_main())
