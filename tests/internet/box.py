"""The internet in a box: a proxy on loopback behind which all the hosts of twat-fs live.

The unchanged program, with its real URLs, is sent through it by HTTPS_PROXY and SSL_CERT_FILE:

    program --CONNECT catbox.moe:443--> HTTP proxy  \\
    program --TLS, then CONNECT-------> relay -------> tunnel --TLS, leaf of our CA--> exchange -->
    Host (hosts.py)
    program --SOCKS5 catbox.moe:443---> SOCKS proxy /                                     |
                                                                 rules -> complaints, fault ->
                                                                 mischief

    with Box(directory) as box:
        box.fault("catbox.moe", "status", times=1, status=503, retry_after=1)
        run_the_program(env=box.env())
        assert box.uploads("litterbox.catbox.moe")[0].field("time") == b"1h"
        assert not box.complaints

Every connection has a thread of its own; `reset` cuts them all and begins a new world. Chapters: 1
Records, 2 The wire, 3 Bodies, 4 Multipart, 5 Requests, 6 Rules, 7 Answers, 8 Faults, 9 Exchanges,
10 Certificates, 11 Proxies, 12 The world, 13 The box.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import random
import re
import select
import socket
import ssl
import struct
import tempfile
import threading
import time
import traceback
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from http import HTTPStatus
from typing import Any, Callable, Dict, Iterator, List, Optional, Tuple
from urllib.parse import parse_qs, quote, unquote, urlsplit

import trustme

CHUNK = 64 * 1024  # what is read and sent at once
IN_MEMORY = 8 * 1024 * 1024  # larger bodies are spooled to a file
HEAD_LIMIT = 64 * 1024  # a longer request head is a bug of the client
FOREVER = 1_000_000
EVIL = "https://files.evil.example"  # where the links of a "wrong-host" answer lead


# 1 Records ----------------------------------------------------------------------------------------


@dataclass
class Tunnel:
    """One wish to be connected: by CONNECT, by SOCKS, or one request in absolute form."""

    host: str
    port: int
    via: str  # "connect", "socks" or "absolute"
    headers: List[Tuple[str, str]] = field(default_factory=list)
    user: Optional[str] = None  # the name given to the proxy
    answered: str = ""  # "200", "407", "502" ... or the SOCKS reply
    sni: Optional[str] = None
    tls: str = ""  # the TLS version, or what went wrong


@dataclass
class Seen:
    """One request as it arrived; `length` counts the bytes of the body that really came."""

    host: str
    method: str
    target: str
    headers: List[Tuple[str, str]]
    connection: int
    tunnel: Tunnel
    scheme: str = "https"
    started: float = 0.0
    length: int = 0
    sha256: str = ""
    short_body: bytes = b""  # the body, if it is short and no form
    form: List[Tuple[str, Optional[str], Optional[str], Any]] = field(default_factory=list)
    upload: bool = False
    fault: str = ""
    status: int = 0  # what was answered; 0 = nothing

    def header(self, name: str) -> Optional[str]:
        """The only value of this header, None without it."""
        return one(self.headers, name)

    def field(self, name: str) -> Any:
        """The value of this form field: bytes, or the SHA-256 of a file part."""
        return next((value for key, _, _, value in self.form if key == name), None)


@dataclass
class Stored:
    """A file that a host has kept."""

    url: str
    body: Any  # bytes, or the path of the spool
    size: int
    sha256: str
    name: str
    type: str = "application/octet-stream"
    once: bool = False  # the first GET or HEAD burns it
    hits: int = 0  # GETs so far; with `once` also HEADs
    deleted: bool = False
    also: Tuple[str, ...] = ()  # other URLs of the same bytes
    # what the client wished and the host kept
    options: Dict[str, Any] = field(default_factory=dict)
    owner: str = ""  # what deletes it

    def read(self) -> bytes:
        """The whole content; for small files."""
        return b"".join(chunks_of(self.body)(0, self.size))


class Shelf(dict):
    """The stored files by URL; also found by another spelling or another route of the same file."""

    def find(self, url: str) -> Optional[Stored]:
        same = canonical(url)
        return next(
            (s for s in list(self.values()) if same in map(canonical, (s.url,) + s.also)), None
        )

    def __missing__(self, url):
        stored = self.find(url)
        if stored is None:
            raise KeyError(url)
        return stored

    def __contains__(self, url):
        return dict.__contains__(self, url) or self.find(url) is not None


def canonical(url: str) -> str:
    """One spelling for all the ways of quoting a path."""
    return quote(unquote(url), safe=":/")


def one(headers, name: str) -> Optional[str]:
    """The value of the first header of this name."""
    return next((value for key, value in headers if key.lower() == name.lower()), None)


# 2 The wire ---------------------------------------------------------------------------------------


class Gone(Exception):
    """The client has closed the connection, or the box has dropped it."""


class Wire:
    """One connection with a buffer for reading; `sever` may be called by any thread."""

    def __init__(self, sock: socket.socket, number: int):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock, self.number, self.buffer = sock, number, b""

    def some(self, most: int = CHUNK) -> bytes:
        """At most `most` bytes; none at the end."""
        if not self.buffer:
            return self.sock.recv(most)
        data, self.buffer = self.buffer[:most], self.buffer[most:]
        return data

    def fill(self) -> None:
        data = self.sock.recv(CHUNK)
        if not data:
            raise Gone("the connection ended")
        self.buffer += data

    def until(self, mark: bytes, limit: int = HEAD_LIMIT) -> bytes:
        """Everything before `mark`, which is taken away too."""
        while mark not in self.buffer:
            if len(self.buffer) > limit:
                raise Gone("the head is too long")
            self.fill()
        line, _, self.buffer = self.buffer.partition(mark)
        return line

    def exactly(self, count: int) -> bytes:
        while len(self.buffer) < count:
            self.fill()
        data, self.buffer = self.buffer[:count], self.buffer[count:]
        return data

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def secure(self, context: ssl.SSLContext) -> None:
        """Become the server of a TLS connection; `sever` knows its socket before the handshake."""
        self.sock = context.wrap_socket(self.sock, server_side=True, do_handshake_on_connect=False)
        self.sock.do_handshake()

    def close(self) -> None:
        try:
            self.sock.close()
        except OSError:
            pass

    def reset(self) -> None:
        """Close with a RST instead of a FIN."""
        linger = struct.pack("hh" if os.name == "nt" else "ii", 1, 0)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.close()

    def sever(self) -> None:
        try:
            # not SSLSocket's, which would forget its TLS state
            socket.socket.shutdown(self.sock, socket.SHUT_RDWR)
        except OSError:
            pass


# 3 Bodies -----------------------------------------------------------------------------------------


class Body:
    """What the client still has to send; counts and hashes every byte that comes."""

    def __init__(self, wire: Wire, length: Optional[int], seen: Seen):
        self.wire, self.left, self.seen, self.hash = wire, length, seen, hashlib.sha256()

    def some(self, most: int = CHUNK) -> bytes:
        """The next bytes, none at the end; a body without length ends with the connection."""
        if self.left == 0:
            return b""
        data = self.wire.some(most if self.left is None else min(most, self.left))
        if self.left is not None and not data:
            raise Gone("the body was cut off")
        self.count(data)
        return data

    def count(self, data: bytes) -> None:
        if self.left is not None:
            self.left -= len(data)
        self.hash.update(data)
        self.seen.length += len(data)

    def drain(self, most: float = float("inf")) -> None:
        """Read and drop the rest of the body, at most `most` bytes."""
        while self.seen.length < most and self.some(int(min(CHUNK, most - self.seen.length))):
            pass

    def finish(self) -> None:
        self.seen.sha256 = self.hash.hexdigest()


class Spool:
    """Bytes that come in pieces: kept in memory up to 8 MiB, then in a file."""

    def __init__(self, new_file: Callable[[], Tuple[str, Any]]):
        self.new_file, self.pieces, self.file, self.path = new_file, [], None, ""
        self.size, self.hash, self.head = 0, hashlib.sha256(), b""

    def write(self, data: bytes) -> None:
        self.size += len(data)
        self.hash.update(data)
        if len(self.head) < 512:
            self.head = (self.head + data)[:512]
        self.file.write(data) if self.file else self.pieces.append(data)
        if self.file is None and self.size > IN_MEMORY:
            self.roll()

    def roll(self) -> None:
        self.path, self.file = self.new_file()
        self.file.write(b"".join(self.pieces))
        self.pieces = []

    def finish(self) -> Any:
        """The bytes, or the path of the file that holds them."""
        if not self.file:
            return b"".join(self.pieces)
        self.file.close()
        return self.path


@dataclass
class Upload:
    """The file of a request: a part of a form, or the whole raw body."""

    body: Any
    size: int
    sha256: str
    head: bytes
    name: str = ""
    type: str = ""

    @classmethod
    def of(cls, pieces, new_file, name="", content_type="") -> "Upload":
        spool = Spool(new_file)
        for piece in pieces:
            spool.write(piece)
        return cls(
            spool.finish(), spool.size, spool.hash.hexdigest(), spool.head, name, content_type
        )

    def read(self) -> bytes:
        return b"".join(chunks_of(self.body)(0, self.size))


def chunks_of(body: Any) -> Callable[[int, int], Iterator[bytes]]:
    """How to read any slice of bytes or of a file, in pieces."""

    def from_bytes(start, stop):
        for at in range(start, stop, CHUNK):
            yield body[at : min(stop, at + CHUNK)]

    def from_file(start, stop):
        with open(body, "rb") as file:
            file.seek(start)
            for at in range(start, stop, CHUNK):
                yield file.read(min(CHUNK, stop - at))

    return from_bytes if isinstance(body, bytes) else from_file


# 4 Multipart --------------------------------------------------------------------------------------
# Strict and streaming, and written without a look at the program's own writer.


class Malformed(Exception):
    """The form cannot be read any further."""


BOUNDARY = re.compile(r"multipart/form-data; boundary=([0-9A-Za-z'()+_,./:=?-]{1,70})$")
DISPOSITION = re.compile(r'form-data; name="((?:[^"\\]|\\.)*)"(?:; filename="((?:[^"\\]|\\.)*)")?$')


class Multipart:
    """Yield (head, pieces) for each part of a form; consume the pieces before the next part."""

    def __init__(self, body: Body, boundary: str):
        self.body, self.mark = body, b"\r\n--" + boundary.encode()
        self.buffer = b"\r\n"  # so that the first boundary is like the others

    def more(self) -> None:
        data = self.body.some()
        if not data:
            raise Malformed("the form ends before its closing boundary")
        self.buffer += data

    def upto(self, mark: bytes) -> Iterator[bytes]:
        """The bytes before `mark` in pieces, never a piece of the mark itself."""
        while mark not in self.buffer:
            sure = max(0, len(self.buffer) - len(mark) + 1)
            piece, self.buffer = self.buffer[:sure], self.buffer[sure:]
            yield piece
            self.more()
        piece, _, self.buffer = self.buffer.partition(mark)
        yield piece

    def another(self) -> bool:
        """What follows the boundary: one more part, or the end."""
        while len(self.buffer) < 2:
            self.more()
        sign, self.buffer = self.buffer[:2], self.buffer[2:]
        if sign not in (b"\r\n", b"--"):
            raise Malformed("the boundary is followed by %r" % sign)
        return sign == b"\r\n"

    def __iter__(self):
        if b"".join(self.upto(self.mark)):
            raise Malformed("there is text before the first boundary")
        while self.another():
            yield b"".join(self.upto(b"\r\n\r\n")), self.upto(self.mark)
        while self.body.left:
            self.more()
        if self.buffer != b"\r\n":
            raise Malformed("the closing boundary is followed by %r" % self.buffer[:40])


def part_head(raw: bytes, complain) -> Tuple[str, Optional[str], Optional[str]]:
    """Name, file name and type of a part."""
    try:
        lines = raw.decode("utf-8").split("\r\n")
    except UnicodeDecodeError:
        raise Malformed("a part's head is not UTF-8: %r" % raw[:100]) from None
    headers = {
        name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)
    }
    if set(headers) - {"content-disposition", "content-type"} or len(headers) != len(lines):
        complain("odd headers in a part: %r" % lines)
    match = DISPOSITION.match(headers.get("content-disposition", ""))
    if not match:
        raise Malformed("a part's Content-Disposition is %r" % headers.get("content-disposition"))
    name, filename = (
        None if text is None else re.sub(r"\\(.)", r"\1", text) for text in match.groups()
    )
    for objection in name_objections(name) + (
        name_objections(filename) if filename is not None else []
    ):
        complain(objection)
    return name, filename, headers.get("content-type")


def name_objections(name: str) -> List[str]:
    """The problem with the name of a part or a file; empty if there is none."""
    faults = (
        ("empty", not name),
        ("control characters", re.search(r"[\x00-\x1f\x7f]", name)),
        ("a path separator", re.search(r"[/\\]", name)),
    )
    return ["%s in a name of the form: %r" % (text, name) for text, wrong in faults if wrong]


# 5 Requests ---------------------------------------------------------------------------------------


@dataclass
class Head:
    """The request line and the headers, as they came."""

    method: str
    target: str
    version: str
    headers: List[Tuple[str, str]]
    oddities: List[str] = field(default_factory=list)

    @classmethod
    def read(cls, wire: Wire) -> Optional["Head"]:
        """The next head; None when the client has nothing more to say."""
        try:
            first = wire.exactly(1)
        except (Gone, OSError):
            return None
        return cls.parse(first + wire.until(b"\r\n\r\n"))

    @classmethod
    def parse(cls, raw: bytes) -> "Head":
        lines = raw.decode("latin-1").split("\r\n")
        fields = lines[0].split(" ")
        if len(fields) != 3:
            raise Gone("not a request line: %r" % lines[0])
        pairs = [
            (name, value.strip(" \t"))
            for name, _, value in (line.partition(":") for line in lines[1:])
        ]
        return cls(fields[0], fields[1], fields[2], pairs, list(cls.oddities_of(lines)))

    @staticmethod
    def oddities_of(lines: List[str]) -> Iterator[str]:
        for line in lines[1:]:
            if not re.match(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+:", line):
                yield "not a header line: %r" % line
        for line in lines:
            if re.search(r"[^\t -~]", line):
                yield "a raw control or non-ASCII character: %r" % line

    def all(self, name: str) -> List[str]:
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def get(self, name: str, default: str = "") -> str:
        return next(iter(self.all(name)), default)


class Ask:
    """A request as a host sees it: the head at once, `file` and `fields` after `receive`."""

    def __init__(self, world: "World", wire: Wire, head: Head, tunnel: Tunnel, scheme: str):
        self.world, self.wire, self.head, self.tunnel = world, wire, head, tunnel
        self.method, self.domain, self.owner = head.method, tunnel.host, world.hosts[tunnel.host]
        split = urlsplit(head.target)
        self.path, self.query = split.path, parse_qs(split.query, keep_blank_values=True)
        self.seen = Seen(
            tunnel.host,
            head.method,
            head.target,
            head.headers,
            wire.number,
            tunnel,
            scheme,
            time.time(),
        )
        self.seen.upload = self.owner.is_upload(self)
        self.body = Body(wire, self.length(), self.seen)
        self.fields: Dict[str, str] = {}
        self.file: Optional[Upload] = None
        self.last = False  # nothing may follow on this connection

    def length(self) -> Optional[int]:
        text = self.head.get("Content-Length", "0")
        if self.head.version == "RAW":
            return None
        return int(text) if re.fullmatch(r"[0-9]{1,18}", text) else 0

    @property
    def direction(self) -> str:
        return (
            "upload"
            if self.seen.upload
            else "download"
            if self.method in ("GET", "HEAD")
            else "other"
        )

    @property
    def url(self) -> str:
        return "https://%s%s" % (self.domain, self.path)

    def header(self, name: str, default: str = "") -> str:
        return self.head.get(name, default)

    def complain(self, text: str) -> None:
        self.world.complain("%s %s%s: %s" % (self.method, self.domain, self.head.target, text))

    def receive(self) -> None:
        """Read the body to its end: a form into `fields` and `file`, all else into `file`."""
        try:
            if self.head.get("Content-Type").startswith("multipart/"):
                self.receive_form()
            elif self.body.left != 0:
                self.file = Upload.of(
                    iter(self.body.some, b""), self.world.new_file, "", self.header("Content-Type")
                )
                self.seen.short_body = self.file.read() if self.file.size <= CHUNK else b""
            else:
                self.file = Upload.of((), self.world.new_file, "", self.header("Content-Type"))
        finally:
            self.body.finish()

    def receive_form(self) -> None:
        match = BOUNDARY.match(self.head.get("Content-Type"))
        try:
            if not match:
                raise Malformed("Content-Type is %r" % self.head.get("Content-Type"))
            for raw, pieces in Multipart(self.body, match.group(1)):
                self.part(part_head(raw, self.complain), pieces)
        except Malformed as error:
            self.complain("malformed form: %s" % error)
            self.file = None
        self.body.drain()
        self.check_form()

    def part(self, head, pieces) -> None:
        name, filename, content_type = head
        if filename is None:
            value = b"".join(pieces)
            self.fields[name] = value.decode("utf-8", "replace")
        else:
            self.file = Upload.of(pieces, self.world.new_file, filename, content_type or "")
            value = self.file.sha256
        self.seen.form.append((name, filename, content_type, value))

    def check_form(self) -> None:
        """The fields that the host knows, each once, in its order, the file last and named."""
        names = [name for name, *_ in self.seen.form]
        known = self.owner.fields
        odd = [name for name in names if known and name not in known]
        ordered = names == [name for name in known if name in names]
        checks = (
            ("it takes no form", not known),
            ("unknown fields %r" % odd, odd),
            ("a field comes twice: %r" % names, len(set(names)) < len(names)),
            (
                "the last part is not a file with a name: %r" % names,
                not names or self.seen.form[-1][1] is None,
            ),
            (
                "a file before the last part",
                any(part[1] is not None for part in self.seen.form[:-1]),
            ),
            (
                "fields out of order: %r" % names,
                known and self.owner.ordered and not odd and not ordered,
            ),
        )
        for text, wrong in checks:
            if wrong:
                self.complain(text)

    def store(self, url: str, name: str, **more) -> Stored:
        """Keep the file under this URL."""
        file = self.file
        stored = Stored(url, file.body, file.size, file.sha256, name, **more)
        self.world.stored[url] = stored
        return stored


# 6 Rules ------------------------------------------------------------------------------------------
# What every request to every host must look like. Each rule is a sentence and the sign of its
# violation.

USER_AGENT = re.compile(r"twat-fs/\S+ \(\+https://\S+\)$")
CLEAN = re.compile(r"/(?:[!$&-;=@A-Z\[\]_a-z~?]|%[0-9A-Fa-f]{2})*$")

RULES = (
    ("the version is not HTTP/1.1", lambda a: a.head.version != "HTTP/1.1"),
    ("the target is not a clean path", lambda a: not CLEAN.match(a.head.target)),
    (
        "the User-Agent is not ours",
        lambda a: not USER_AGENT.match("\n".join(a.head.all("User-Agent"))),
    ),
    ("Host is not once the host", lambda a: a.head.all("Host") not in host_spellings(a)),
    ("there is a Transfer-Encoding", lambda a: a.head.all("Transfer-Encoding")),
    (
        "Content-Length is missing, double or no number",
        lambda a: needs_length(a) and not good_length(a),
    ),
    (
        "a body on GET, HEAD or DELETE",
        lambda a: not needs_length(a) and a.head.get("Content-Length", "0") != "0",
    ),
    ("there is an Expect", lambda a: a.head.all("Expect")),
    (
        "Accept-Encoding asks for compression",
        lambda a: a.header("Accept-Encoding", "identity") != "identity",
    ),
    (
        "an Authorization that does not belong here",
        lambda a: a.head.all("Authorization") and not a.owner.authorized,
    ),
    ("a cookie", lambda a: a.head.all("Cookie")),
    ("the proxy's password came through", lambda a: a.head.all("Proxy-Authorization")),
    ("plain http", lambda a: a.seen.scheme == "http" and not a.owner.plain_http),
    ("a Referer or Origin", lambda a: a.head.all("Referer") + a.head.all("Origin")),
)


def host_spellings(ask: Ask):
    default = {"https": 443, "http": 80}[ask.seen.scheme]
    named = "%s:%d" % (ask.domain, ask.tunnel.port)
    return ([ask.domain], [named]) if ask.tunnel.port == default else ([named],)


def needs_length(ask: Ask) -> bool:
    return ask.method in ("POST", "PUT", "PATCH")


def good_length(ask: Ask) -> bool:
    values = ask.head.all("Content-Length")
    return len(values) == 1 and re.fullmatch(r"0|[1-9][0-9]{0,17}", values[0]) is not None


def check(ask: Ask) -> None:
    for text in ask.head.oddities + [text for text, broken in RULES if broken(ask)]:
        ask.complain(text)


def check_connect(world: "World", head: Head) -> None:
    """A proxy gets the target, the user and the client's name, nothing else."""
    allowed = {"host", "proxy-authorization", "proxy-connection", "connection", "user-agent"}
    strange = [name for name, _ in head.headers if name.lower() not in allowed]
    hosts = head.all("Host")
    good_host = hosts == [head.target] or (not hosts and head.version == "HTTP/1.0")
    for text, wrong in (("headers %r" % strange, strange), ("Host is %r" % hosts, not good_host)):
        if wrong:
            world.complain("CONNECT %s: %s" % (head.target, text))
    for text in head.oddities:
        world.complain("CONNECT %s: %s" % (head.target, text))


# 7 Answers ----------------------------------------------------------------------------------------


@dataclass
class Content:
    """Bytes of known size that can be read from anywhere."""

    size: int
    chunks: Callable[[int, int], Iterator[bytes]]
    ranges: bool = True


@dataclass
class Answer:
    """What a host says; `content` instead of `body` for a download."""

    status: int
    body: Any = b""
    type: str = "text/plain; charset=utf-8"
    headers: List[Tuple[str, str]] = field(default_factory=list)
    content: Optional[Content] = None
    manner: Optional[Callable[["Ask", "Answer"], None]] = None  # another way of sending it

    def bytes(self) -> bytes:
        return self.body.encode("utf-8") if isinstance(self.body, str) else self.body


def as_json(value: Any, status: int = 200, slashes: bool = False, headers=()) -> Answer:
    """A JSON answer; with `slashes` written as PHP does: https:\\/\\/..."""
    text = json.dumps(value)
    return Answer(
        status, text.replace("/", "\\/") if slashes else text, "application/json", list(headers)
    )


def as_page(title: str, status: int = 200) -> Answer:
    """An HTML page, such as comes in place of a link or a file."""
    text = (
        "<!DOCTYPE html>\n<html><head><title>%s</title></head><body><h1>%s</h1></body></html>\n"
        % (title, title)
    )
    return Answer(status, text, "text/html; charset=utf-8")


def as_download(stored: Stored, ranges: bool = True, headers=()) -> Answer:
    return Answer(
        200, b"", stored.type, list(headers), Content(stored.size, chunks_of(stored.body), ranges)
    )


def phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Odd"


def head_bytes(status: int, headers) -> bytes:
    lines = ["HTTP/1.1 %d %s" % (status, phrase(status))] + ["%s: %s" % pair for pair in headers]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("utf-8")


def wished_range(ask: Ask, size: int) -> Optional[Tuple[int, int]]:
    """The slice (start, stop) of a Range header; None for all; an empty slice is unsatisfiable."""
    match = re.fullmatch(r"bytes=(\d*)-(\d*)", ask.header("Range"))
    if not match or match.groups() == ("", "") or ask.method != "GET":
        return None
    first, last = match.groups()
    if not first:
        return max(0, size - int(last)), size
    return int(first), min(size, int(last) + 1) if last else size


def shape(ask: Ask, answer: Answer) -> Tuple[int, List[Tuple[str, str]], Iterator[bytes], int]:
    """Status, headers, body and its length, with the range that was asked for."""
    headers = [("Content-Type", answer.type)] + list(answer.headers)
    content = answer.content
    if content is None:
        return answer.status, headers, iter([answer.bytes()]), len(answer.bytes())
    start, stop = 0, content.size
    span = wished_range(ask, content.size) if content.ranges else None
    headers += [("Accept-Ranges", "bytes")] if content.ranges else []
    if span is None:
        return answer.status, headers, content.chunks(start, stop), content.size
    start, stop = span
    if start >= stop:
        return 416, headers + [("Content-Range", "bytes */%d" % content.size)], iter(()), 0
    headers.append(("Content-Range", "bytes %d-%d/%d" % (start, stop - 1, content.size)))
    return 206, headers, content.chunks(start, stop), stop - start


def stays_open(ask: Ask) -> bool:
    """Whether this connection may carry another request."""
    closed = ask.last or ask.owner.closes or "close" in ask.header("Connection").lower()
    return not closed and ask.head.version == "HTTP/1.1"


def deliver(ask: Ask, answer: Answer) -> bool:
    """Send the answer; true when the connection stays open."""
    status, headers, chunks, length = shape(ask, answer)
    ask.seen.status = status
    open_still = stays_open(ask)
    chunked = (
        ask.owner.chunked
        and answer.content is None
        and ask.method != "HEAD"
        and status not in (204, 304)
    )
    headers.append(("Transfer-Encoding", "chunked") if chunked else ("Content-Length", str(length)))
    ask.wire.send(head_bytes(status, headers + ([] if open_still else [("Connection", "close")])))
    if ask.method != "HEAD":
        send_chunks(ask.wire, chunks, chunked)
    return open_still


def send_chunks(wire: Wire, chunks: Iterator[bytes], chunked: bool) -> None:
    for chunk in chunks:
        if chunk:
            wire.send(b"%x\r\n%s\r\n" % (len(chunk), chunk) if chunked else chunk)
    if chunked:
        wire.send(b"0\r\n\r\n")


# 8 Faults -----------------------------------------------------------------------------------------
# A fault comes before the connection is made, instead of TLS, in the middle of the body, instead of
# the host's answer, or upon it. Every function takes the details given to `Box.fault` as keywords.


@dataclass
class Fault:
    """Mischief at one host, `times` times, after `skip` healthy requests."""

    host: str
    name: str
    times: int
    when: str
    skip: int
    details: Dict[str, Any]

    def fits(self, kinds, owner, domain: str, direction: str) -> bool:
        here = self.host == "*" or self.host in (
            owner.domains if self.when == "download" else (domain,)
        )
        now = not direction or self.when in ("any", direction)
        return self.name in kinds and self.times > 0 and here and now


# ---- in the middle of the body: the connection is at an end afterwards


def early(
    ask: Ask, status: int = 413, after: int = CHUNK, body: Any = "too much\n", headers=()
) -> None:
    """Respond, and close with unread bytes: the client gets a RST but can read the response."""
    ask.body.drain(after)
    answer_early(ask, status, body, list(headers) + [("Connection", "close")])
    ask.wire.close()


def early_open(
    ask: Ask, status: int = 413, after: int = CHUNK, body: Any = "too much\n", headers=()
) -> None:
    ask.wire.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    ask.body.drain(after)
    answer_early(ask, status, body, list(headers))
    ask.world.over.wait()


def answer_early(ask: Ask, status: int, body: Any, headers) -> None:
    data = Answer(status, body).bytes()
    ask.seen.status = status
    headers = [("Content-Type", "text/plain")] + headers + [("Content-Length", str(len(data)))]
    ask.wire.send(head_bytes(status, headers) + data)


def cut(ask: Ask, after: int = CHUNK) -> None:
    ask.body.drain(after)
    ask.wire.reset()


def stall(ask: Ask, after: int = CHUNK) -> None:
    ask.wire.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    ask.body.drain(after)
    ask.world.over.wait()


# ---- instead of the host: the body is read, nothing is stored


def some_status(
    ask: Ask, status=503, body="busy\n", headers=(), retry_after=None, type="text/plain"
) -> Answer:
    retry = [("Retry-After", str(retry_after))] if retry_after is not None else []
    return Answer(status, body, type, list(headers) + retry)


def empty(ask: Ask, status: int = 200) -> Answer:
    return Answer(status)


def page(ask: Ask, status: int = 200, title: str = "Just a moment...") -> Answer:
    return as_page(title, status)


def garbage(ask: Ask, size: int = 1000) -> Answer:
    return Answer(200, os.urandom(size))


def redirect(ask: Ask, status: int = 302, location: str = EVIL + "/") -> Answer:
    return Answer(status, "", headers=[("Location", location)])


def silence(ask: Ask) -> Answer:
    return Answer(0, manner=say_nothing)


def endless(ask: Ask, status: int = 200, pause: float = 0.0) -> Answer:
    return Answer(status, manner=lambda ask, answer: pour(ask, pause, b"\r\n" + b"Oh. " * 4096))


def endless_headers(ask: Ask, status: int = 200, pause: float = 0.0) -> Answer:
    return Answer(status, manner=lambda ask, answer: pour(ask, pause, b"X-More: and more\r\n"))


def say_nothing(ask: Ask, answer: Answer) -> None:
    while ask.wire.some():
        pass
    if ask.method == "RAW":  # there a half-close is no farewell
        ask.world.over.wait()


def pour(ask: Ask, pause: float, water: bytes) -> None:
    ask.wire.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n")
    while not ask.world.over.wait(pause):
        ask.wire.send(water)


# ---- upon the host's answer: what was sent is stored

LINK = re.compile(r'(https?:\\?/\\?/)([^/\s"\\]+)([^\s"]*)')


def wrong_host(ask: Ask, answer: Answer, base: str = EVIL) -> Answer:
    """The answer as it would be, but its links lead elsewhere."""
    text = answer.bytes().decode("utf-8")
    host = base.partition("//")[2]
    elsewhere, count = LINK.subn(lambda m: m.group(1) + host + m.group(3), text)
    return Answer(200, elsewhere if count else base + "/abc123.txt\n", answer.type)


def escapes(ask: Ask, answer: Answer, status: int = 200) -> Answer:
    """The normal response with escapes, returns, bidi marks and NULs in its texts and links."""
    text = answer.bytes().decode("utf-8")
    if answer.type == "application/json":
        return as_json(poison(json.loads(text)), status)
    before = "" if status == 200 else "\x1b[2J\x1b]0;ha\x07\rOh \u202eno\x00 "
    return Answer(
        status, before + LINK.sub(lambda m: m.group(0) + "\x1b[2J\u202egpj.exe", text), answer.type
    )


def poison(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: poison(item) for key, item in value.items()}
    if isinstance(value, list):
        return [poison(item) for item in value]
    return value + "\x1b[2J\u202egpj\x00" if isinstance(value, str) else value


def drop_after(ask: Ask, answer: Answer) -> Answer:
    return Answer(0, manner=lambda ask, answer: None)


def trickle(ask: Ask, answer: Answer, delay: float = 0.01) -> Answer:
    def drip(ask, _):
        real, ask.wire = ask.wire, Dripping(ask.wire, delay, ask.world.over)
        ask.wire.send(answer.bytes()) if ask.method == "RAW" else deliver(ask, answer)
        ask.wire = real

    return Answer(answer.status, manner=drip)


class Dripping:
    """A wire that sends one byte at a time."""

    def __init__(self, wire: Wire, delay: float, over: threading.Event):
        self.wire, self.delay, self.over = wire, delay, over

    def send(self, data: bytes) -> None:
        for at in range(len(data)):
            if self.over.wait(self.delay):
                raise Gone("reset")
            self.wire.send(data[at : at + 1])


def slow(ask: Ask, answer: Answer, delay: float = 1.0) -> Answer:
    ask.world.over.wait(delay)
    return answer


# ---- upon a download


def with_content(answer: Answer, size: int, chunks) -> Answer:
    if answer.content is None:
        return answer
    answer.content = Content(size, chunks, answer.content.ranges)
    return answer


def zero(ask: Ask, answer: Answer) -> Answer:
    return Answer(200, b"", answer.type)


def half(ask: Ask, answer: Answer) -> Answer:
    return (
        with_content(answer, answer.content.size // 2, answer.content.chunks)
        if answer.content
        else answer
    )


def other(ask: Ask, answer: Answer) -> Answer:
    """As many bytes, each of them wrong."""
    table, old = bytes(byte ^ 0x5A for byte in range(256)), answer.content
    if old is None:
        return answer
    return with_content(
        answer, old.size, lambda start, stop: (c.translate(table) for c in old.chunks(start, stop))
    )


def flip(ask: Ask, answer: Answer, offset: int = 0) -> Answer:
    """One wrong byte; a negative offset counts from the end."""
    old = answer.content
    if old is None or not old.size:
        return answer
    where = offset % old.size

    def chunks(start, stop):
        for chunk in old.chunks(start, stop):
            at = where - start
            yield (
                chunk[:at] + bytes([chunk[at] ^ 1]) + chunk[at + 1 :]
                if 0 <= at < len(chunk)
                else chunk
            )
            start += len(chunk)

    return with_content(answer, old.size, chunks)


def short(ask: Ask, answer: Answer) -> Answer:
    """The right Content-Length, and half of what it promises."""

    def send(ask, _):
        status, headers, chunks, length = shape(ask, answer)
        ask.seen.status, left = status, length // 2
        ask.wire.send(head_bytes(status, headers + [("Content-Length", str(length))]))
        for chunk in chunks if ask.method != "HEAD" else ():
            ask.wire.send(chunk[:left])
            left -= len(chunk[:left])

    return Answer(answer.status, manner=send)


def altered(ask: Ask, answer: Answer, change: Callable[[Ask, Answer], Answer]) -> Answer:
    """Whatever a test wants."""
    return change(ask, answer)


CONNECTING = {"refuse", "dns", "reset-connect", "drop", "late", "mute"}
TLS = {"tls-expired", "tls-wrong-name", "tls-unknown-ca"}
AMIDST = {"early": early, "early-open": early_open, "reset": cut, "stall": stall}
INSTEAD = {
    "status": some_status,
    "empty": empty,
    "html": page,
    "garbage": garbage,
    "redirect": redirect,
    "silence": silence,
    "endless": endless,
    "endless-headers": endless_headers,
}
UPON = {
    "wrong-host": wrong_host,
    "escapes": escapes,
    "drop-after": drop_after,
    "trickle": trickle,
    "slow": slow,
}
DOWNLOAD = {
    "zero": zero,
    "half": half,
    "short": short,
    "other": other,
    "flip": flip,
    "altered": altered,
}
REQUEST = {**AMIDST, **INSTEAD, **UPON, **DOWNLOAD}
KINDS = CONNECTING | TLS | set(REQUEST)


# 9 Exchanges --------------------------------------------------------------------------------------


def exchange(ask: Ask) -> bool:
    """One request and its answer; true when another may follow."""
    ask.world.requests.append(ask.seen)
    check(ask)
    fault = ask.world.strike(REQUEST, ask.domain, ask.direction)
    ask.seen.fault = fault.name if fault else ""
    if ask.head.all("Expect") and ask.body.left:
        ask.wire.send(b"HTTP/1.1 100 Continue\r\n\r\n")
    if fault and fault.name in AMIDST:
        AMIDST[fault.name](ask, **fault.details)
        ask.body.finish()
        return False
    answer = decide(ask, fault)
    if answer.manner:
        answer.manner(ask, answer)
        return False
    return answer.status != 0 and deliver(ask, answer)


def decide(ask: Ask, fault: Optional[Fault]) -> Answer:
    """The response of the host, of a fault, or of the host after a fault has spoiled it."""
    bad_length = needs_length(ask) and not good_length(ask)
    if ask.head.version != "RAW" and (bad_length or ask.head.all("Transfer-Encoding")):
        ask.last = True  # where a next request would begin is unknown
        return Answer(411, "Length Required\n")
    ask.receive()
    check_file(ask)
    if fault and fault.name in INSTEAD:
        return INSTEAD[fault.name](ask, **fault.details)
    answer = ask.owner.answer(ask)
    if fault:
        answer = {**UPON, **DOWNLOAD}[fault.name](ask, answer, **fault.details)
    return answer


def check_file(ask: Ask) -> None:
    if ask.seen.upload and ask.file is not None and ask.file.size == 0 and not ask.owner.empty:
        ask.complain("an empty file")


def converse(world: "World", wire: Wire, tunnel: Tunnel, scheme: str) -> None:
    """All the requests of one connection to one host."""
    head = Head.read(wire)
    while head and exchange(Ask(world, wire, head, tunnel, scheme)):
        head = Head.read(wire)


def talk_raw(world: "World", wire: Wire, tunnel: Tunnel) -> None:
    """A host that receives bytes without a protocol, until half-close or an idle client."""
    ask = Ask(world, wire, Head("RAW", "", "RAW", []), tunnel, "raw")
    world.requests.append(ask.seen)
    wire.some = patient_until_idle(wire, ask.owner.idle)
    fault = world.strike(REQUEST, ask.domain, "upload")
    ask.seen.fault = fault.name if fault else ""
    if fault and fault.name in AMIDST:
        return AMIDST[fault.name](ask, **fault.details)
    answer = decide(ask, fault)
    if answer.manner:
        return answer.manner(ask, answer)
    wire.send(answer.bytes())


def patient_until_idle(wire: Wire, idle: float) -> Callable[..., bytes]:
    """Read as before, but an idle client counts as finished."""

    def some(most: int = CHUNK) -> bytes:
        wire.sock.settimeout(idle)
        try:
            return Wire.some(wire, most)
        except socket.timeout:
            return b""
        finally:
            wire.sock.settimeout(None)

    return some


# 10 Certificates ----------------------------------------------------------------------------------


class Notary:
    """Our CA, and a server context for every host name that is asked for."""

    def __init__(self, directory: str):
        self.ca, self.lock, self.contexts = trustme.CA(), threading.Lock(), {}
        self.path = os.path.join(directory, "ca.pem")
        self.ca.cert_pem.write_to_path(self.path)

    def context(self, name: str, quality: str = "good") -> ssl.SSLContext:
        with self.lock:
            if (name, quality) not in self.contexts:
                self.contexts[name, quality] = self.make(self.leaf(name, quality))
            return self.contexts[name, quality]

    def leaf(self, name: str, quality: str):
        if quality == "tls-expired":
            now = datetime.now(timezone.utc).replace(tzinfo=None)
            return self.ca.issue_cert(
                name, not_before=now - timedelta(days=9), not_after=now - timedelta(days=2)
            )
        if quality == "tls-wrong-name":
            return self.ca.issue_cert("wrong.example")
        return (trustme.CA() if quality == "tls-unknown-ca" else self.ca).issue_cert(name)

    @staticmethod
    def make(leaf) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        leaf.configure_cert(context)
        context.set_alpn_protocols(["http/1.1"])
        context.sni_callback = remember_sni
        return context


def remember_sni(sock, name, context) -> None:
    sock.asked_name = name


# 11 Proxies ---------------------------------------------------------------------------------------


def http_proxy(world: "World", wire: Wire) -> None:
    """CONNECT to a host, or any number of requests in absolute form."""
    head = Head.read(wire)
    while head:
        if head.method == "CONNECT":
            return connect(world, wire, head)
        if not forward(world, wire, head):
            return
        head = Head.read(wire)


def connect(world: "World", wire: Wire, head: Head) -> None:
    host, _, port = head.target.rpartition(":")
    tunnel = world.tunnel(
        host.strip("[]").lower(), int(port) if port.isdigit() else 0, "connect", head.headers
    )
    check_connect(world, head)
    if not authorised(world, head, tunnel):
        return proxy_says(wire, tunnel, 407, [("Proxy-Authenticate", 'Basic realm="box"')])
    late = world.strike({"drop", "late"}, tunnel.host)
    if late:  # as if the host dropped the SYN, for ever or for so many seconds
        world.over.wait(late.details.get("delay"))
    if late and late.name == "drop":
        return None
    if not world.reachable(tunnel):
        return proxy_says(wire, tunnel, 502)
    tunnel.answered = "200"
    wire.send(b"HTTP/1.1 200 Connection established\r\n\r\n")
    inside(world, wire, tunnel)


def forward(world: "World", wire: Wire, head: Head) -> bool:
    """A request in absolute form; true when another may follow."""
    split = urlsplit(head.target)
    tunnel = world.tunnel(split.hostname or "", split.port or 80, "absolute", head.headers)
    if not authorised(world, head, tunnel):
        return bool(proxy_says(wire, tunnel, 407, [("Proxy-Authenticate", 'Basic realm="box"')]))
    if split.scheme != "http" or not world.reachable(tunnel):
        return bool(proxy_says(wire, tunnel, 502))
    if world.strike({"reset-connect"}, tunnel.host):
        return bool(wire.reset())
    headers = [pair for pair in head.headers if not pair[0].lower().startswith("proxy-")]
    target = (split.path or "/") + ("?" + split.query if split.query else "")
    return exchange(
        Ask(
            world,
            wire,
            Head(head.method, target, head.version, headers, head.oddities),
            tunnel,
            "http",
        )
    )


def authorised(world: "World", head: Head, tunnel: Tunnel) -> bool:
    credentials = base64.b64decode(head.get("Proxy-Authorization").partition(" ")[2] or b"").decode(
        "utf-8", "replace"
    )
    tunnel.user = credentials.partition(":")[0] or None
    return world.proxy_password is None or credentials == "%s:%s" % world.proxy_password


def proxy_says(wire: Wire, tunnel: Tunnel, status: int, headers=()) -> None:
    """A refusal by the proxy itself; the connection ends."""
    tunnel.answered = str(status)
    text = b"<html><body>the box says %d</body></html>\n" % status
    fixed = [
        ("Content-Type", "text/html"),
        ("Content-Length", str(len(text))),
        ("Connection", "close"),
    ]
    wire.send(head_bytes(status, fixed + list(headers)) + text)


def inside(world: "World", wire: Wire, tunnel: Tunnel) -> None:
    """The tunnel stands: speak as the host."""
    if world.strike({"reset-connect"}, tunnel.host):
        return wire.reset()
    if world.strike({"mute"}, tunnel.host):  # accepts, and never speaks TLS
        world.over.wait()
        return None
    if tunnel.port == world.hosts[tunnel.host].raw_port:
        return talk_raw(world, wire, tunnel)
    if tunnel.port == 80:
        return converse(world, wire, tunnel, "http")
    if shake_hands(world, wire, tunnel):
        converse(world, wire, tunnel, "https")


def shake_hands(world: "World", wire: Wire, tunnel: Tunnel) -> bool:
    fault = world.strike(TLS, tunnel.host)
    try:
        wire.secure(world.notary.context(tunnel.host, fault.name if fault else "good"))
    except OSError as error:
        tunnel.tls = str(error)
        return False
    tunnel.tls, tunnel.sni = wire.sock.version(), getattr(wire.sock, "asked_name", None)
    if tunnel.sni != tunnel.host:
        world.complain("TLS to %s: the SNI is %r" % (tunnel.host, tunnel.sni))
    return True


# ---- SOCKS 5 (RFC 1928, RFC 1929)

SOCKS_OK, SOCKS_UNREACHABLE, SOCKS_REFUSED, SOCKS_NO_COMMAND, SOCKS_NO_ADDRESS = 0, 4, 5, 7, 8


def socks_proxy(world: "World", wire: Wire) -> None:
    user = socks_greeting(world, wire)
    if user is None:
        return
    version, command, _, address_type = wire.exactly(4)
    if version != 5 or command != 1:
        return socks_says(wire, SOCKS_NO_COMMAND)
    host = socks_address(world, wire, address_type)
    if host is None:
        return socks_says(wire, SOCKS_NO_ADDRESS)
    tunnel = world.tunnel(host, int.from_bytes(wire.exactly(2), "big"), "socks", [])
    tunnel.user = user or None
    socks_connect(world, wire, tunnel)


def socks_connect(world: "World", wire: Wire, tunnel: Tunnel) -> None:
    refused = world.strike({"refuse"}, tunnel.host)
    reply = SOCKS_REFUSED if refused else SOCKS_OK if world.reachable(tunnel) else SOCKS_UNREACHABLE
    tunnel.answered = str(reply)
    socks_says(wire, reply)
    if reply == SOCKS_OK:
        inside(world, wire, tunnel)


def socks_greeting(world: "World", wire: Wire) -> Optional[str]:
    """The user's name, empty without one; None when the client is refused."""
    version, count = wire.exactly(2)
    methods = wire.exactly(count)
    method = 2 if world.proxy_password or 0 not in methods else 0
    if version != 5 or method not in methods:
        world.tunnel("", 0, "socks", []).answered = "no method"
        wire.send(b"\x05\xff")
        return None
    wire.send(bytes([5, method]))
    return socks_login(world, wire) if method == 2 else ""


def socks_login(world: "World", wire: Wire) -> Optional[str]:
    wire.exactly(1)
    user, password = (wire.exactly(wire.exactly(1)[0]).decode("utf-8", "replace") for _ in range(2))
    good = world.proxy_password in (None, (user, password))
    if not good:
        world.tunnel("", 0, "socks", []).answered = "bad password"
    wire.send(b"\x01\x00" if good else b"\x01\x01")
    return user if good else None


def socks_address(world: "World", wire: Wire, address_type: int) -> Optional[str]:
    """The host that is meant; addresses stand for hosts as in `Box.addresses`."""
    if address_type == 3:
        return wire.exactly(wire.exactly(1)[0]).decode("latin-1").lower()
    families = {1: (socket.AF_INET, 4), 4: (socket.AF_INET6, 16)}
    if address_type not in families:
        return None
    family, size = families[address_type]
    address = socket.inet_ntop(family, wire.exactly(size))
    return world.addresses.get(address, address)


def socks_says(wire: Wire, reply: int) -> None:
    wire.send(bytes([5, reply, 0, 1]) + b"\0" * 6)


# ---- the proxy behind TLS: a relay, because Python's sockets cannot carry TLS within TLS

WOULD_BLOCK = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
FULL = 4 * CHUNK  # a queue that is no longer fed


class End:
    """One end of a relay: a socket that never blocks, and the data still to be sent to it."""

    def __init__(self, sock: socket.socket):
        sock.setblocking(False)
        self.sock, self.queue, self.readable, self.broken = sock, bytearray(), True, False

    def waiting(self) -> bool:
        """Whether TLS has already read what select() cannot see."""
        return self.readable and isinstance(self.sock, ssl.SSLSocket) and self.sock.pending() > 0

    def read(self) -> bytes:
        """What has come; nothing also at the end, which clears `readable`."""
        try:
            data = self.sock.recv(CHUNK)
        except WOULD_BLOCK:
            return b""
        except OSError:
            data, self.broken = b"", True
        self.readable = bool(data)
        return data

    def flush(self) -> bool:
        """Send as much as possible; False once the other side has closed."""
        try:
            del self.queue[: self.sock.send(bytes(self.queue[:CHUNK]))]
        except WOULD_BLOCK:
            pass
        except OSError:
            self.broken = True
            return False
        return True


def tls_relay(port: int):
    """A proxy behind TLS: the same bytes go to the plain proxy on this port."""

    def proxy(world: "World", wire: Wire) -> None:
        wire.secure(world.notary.context("localhost"))
        with socket.create_connection(("127.0.0.1", port)) as sock:
            client, server = End(wire.sock), End(sock)
            carry(client, server)
            if server.broken:
                wire.reset()

    return proxy


def carry(client: End, server: End) -> None:
    """Relay bytes in both directions until the server has closed and its last byte is delivered."""
    while server.readable or client.queue:
        await_work(client, server)
        if client.readable and len(server.queue) < FULL:
            server.queue += client.read()
            if not client.readable and not server.queue:
                server.sock.shutdown(socket.SHUT_WR)
        if server.readable and len(client.queue) < FULL:
            client.queue += server.read()
        if server.queue and not server.flush():
            server.queue, client.readable = bytearray(), False
        if client.queue and not client.flush():
            return


def await_work(client: End, server: End) -> None:
    pairs = ((client, server), (server, client))
    readable = [end.sock for end, opposite in pairs if end.readable and len(opposite.queue) < FULL]
    full = [end.sock for end in (client, server) if end.queue]
    select.select(readable, full, [], 0 if client.waiting() and len(server.queue) < FULL else None)


# 12 The world -------------------------------------------------------------------------------------


class World:
    """All state that a test can change; `reset` drops it with whatever old threads still write."""

    def __init__(self, hosts, directory: str, notary: Notary, addresses: Dict[str, str]):
        self.hosts, self.directory, self.notary, self.addresses = (
            hosts,
            directory,
            notary,
            addresses,
        )
        self.requests: List[Seen] = []
        self.tunnels: List[Tunnel] = []
        self.complaints: List[str] = []
        self.stored = Shelf()
        self.faults: List[Fault] = []
        self.proxy_password: Optional[Tuple[str, str]] = None
        self.over, self.lock, self.wires, self.spools = (
            threading.Event(),
            threading.Lock(),
            set(),
            [],
        )

    def complain(self, text: str) -> None:
        self.complaints.append(text)

    def tunnel(self, host: str, port: int, via: str, headers) -> Tunnel:
        self.tunnels.append(Tunnel(host, port, via, list(headers)))
        return self.tunnels[-1]

    def reachable(self, tunnel: Tunnel) -> bool:
        """Whether the host exists here and no fault hides it."""
        host = self.hosts.get(tunnel.host)
        known = host is not None and tunnel.port in (443, 80, host.raw_port)
        return known and not self.strike({"refuse", "dns"}, tunnel.host)

    def strike(self, kinds, domain: str, direction: str = "") -> Optional[Fault]:
        """The fault that strikes now, counted."""
        if domain not in self.hosts:
            return None
        with self.lock:
            for fault in self.faults:
                if fault.fits(kinds, self.hosts[domain], domain, direction):
                    fault.skip -= 1
                    if fault.skip < 0:
                        fault.times -= 1
                        return fault
        return None

    def new_file(self):
        handle, path = tempfile.mkstemp(dir=self.directory, prefix="spool-")
        self.spools.append(path)
        return path, os.fdopen(handle, "wb")

    def serve(self, proxy, wire: Wire) -> None:
        """One connection from its first byte to its last; a bug of ours becomes a complaint."""
        self.wires.add(wire)
        try:
            if not self.over.is_set():
                proxy(self, wire)
        except (OSError, Gone):
            pass
        except Exception:
            self.complain("a bug in the box: " + traceback.format_exc())
        finally:
            self.wires.discard(wire)
            wire.close()

    def end(self) -> None:
        self.over.set()
        for wire in list(self.wires):
            wire.sever()
        for path in self.spools:
            try:
                os.unlink(path)
            except OSError:
                pass


# 13 The box ---------------------------------------------------------------------------------------


class Box:
    """The hosts of the world on loopback; a context manager."""

    def __init__(self, directory):
        from internet.hosts import internet  # hosts.py speaks with this module's answers

        self.directory, self.internet, self.connections = str(directory), internet, 0
        os.makedirs(self.directory, exist_ok=True)
        self.notary = Notary(self.directory)
        self.ca = self.notary.path
        self.addresses = addresses_for(internet())
        self.world = self.new_world()

    def __enter__(self) -> "Box":
        self.listeners = []
        port = self.listen(http_proxy)
        self.proxy = "http://127.0.0.1:%d" % port
        self.socks = "socks5h://127.0.0.1:%d" % self.listen(socks_proxy)
        self.secure_proxy = "https://localhost:%d" % self.listen(tls_relay(port))
        return self

    def __exit__(self, *_) -> None:
        for listener in self.listeners:
            try:
                listener.shutdown(socket.SHUT_RDWR)  # wakes accept()
            except OSError:
                pass
            listener.close()
        self.world.end()

    def listen(self, proxy) -> int:
        """Open a door; each connection gets a thread and the world of that moment."""
        listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.listeners.append(listener)
        threading.Thread(target=self.accept, args=(listener, proxy), daemon=True).start()
        return listener.getsockname()[1]

    def accept(self, listener: socket.socket, proxy) -> None:
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            self.connections += 1
            wire = Wire(sock, self.connections)
            threading.Thread(target=self.world.serve, args=(proxy, wire), daemon=True).start()

    def new_world(self) -> World:
        return World(self.internet(), self.directory, self.notary, self.addresses)

    def reset(self) -> None:
        """Forget requests, files, faults, switches and passwords, and cut every connection."""
        old, self.world = self.world, self.new_world()
        old.end()

    def env(self) -> Dict[str, str]:
        return {"HTTPS_PROXY": self.proxy, "HTTP_PROXY": self.proxy, "SSL_CERT_FILE": self.ca}

    def fault(
        self,
        host: str,
        name: str,
        times: int = FOREVER,
        when: str = "any",
        skip: int = 0,
        **details,
    ) -> None:
        """Schedule a fault at `host` ("*": all); `when="download"` covers all its domains."""
        if (
            name not in KINDS
            or when not in ("any", "upload", "download")
            or host not in ("*", *self.hosts)
        ):
            raise ValueError("no such fault: %s at %s, %s" % (name, host, when))
        when = "download" if name in DOWNLOAD else when
        self.world.faults.append(Fault(host, name, times, when, skip, details))

    def uploads(self, host: Optional[str] = None) -> List[Seen]:
        """The requests that carried a file, to this host or to all."""
        return [seen for seen in self.requests if seen.upload and host in (None, seen.host)]

    requests = property(lambda self: self.world.requests)
    tunnels = property(lambda self: self.world.tunnels)
    complaints = property(lambda self: self.world.complaints)
    stored = property(lambda self: self.world.stored)
    hosts = property(lambda self: self.world.hosts)

    @property
    def proxy_password(self) -> Optional[Tuple[str, str]]:
        return self.world.proxy_password

    @proxy_password.setter
    def proxy_password(self, pair: Optional[Tuple[str, str]]) -> None:
        self.world.proxy_password = pair


def addresses_for(hosts) -> Dict[str, str]:
    """Documentation addresses (IPv4, IPv6) of each domain, for SOCKS clients that resolve."""
    table = {}
    for number, domain in enumerate(sorted(hosts), 1):
        table["192.0.2.%d" % number] = domain
        table["2001:db8::%x" % number] = domain
    return table


def random_id(length: int, alphabet: str = "abcdefghijklmnopqrstuvwxyz0123456789") -> str:
    return "".join(random.choice(alphabet) for _ in range(length))
