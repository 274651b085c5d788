"""A server on loopback with manners from a test: plain or TLS, a thread for each connection.

    with Server(Keeper()) as server:         # stores each PUT like transfer.sh, and serves it
        main("-p", server.url, "report.pdf")
        assert server.arrived[0].method == "PUT"

Manners are a function of a Talk: one connection as the server sees it; it ends when the function
returns.
"""

from __future__ import annotations

import contextlib
import re
import socket
import threading
import time
from dataclasses import dataclass
from typing import Callable, Dict, List, Optional, Tuple
from urllib.parse import urlsplit

from internet.box import Gone, Head, Wire, one, phrase

MOST = 1 << 20  # is read at once


@dataclass
class Arrived:
    """One request; `length` counts the bytes of the body that really came."""

    method: str
    target: str
    headers: List[Tuple[str, str]]
    connection: int
    length: int = 0
    body: bytes = b""  # all of it, or none of a body over 8 MiB

    def header(self, name: str) -> Optional[str]:
        return one(self.headers, name)

    def promised(self) -> int:
        return int(self.header("Content-Length") or 0)


class Talk:
    """One connection as the server sees it."""

    def __init__(self, server: "Server", wire: Wire):
        self.server, self.wire = server, wire

    def head(self) -> Optional[Arrived]:
        """The next request without its body; None when the client has nothing more to say."""
        head = Head.read(self.wire)
        if head is None:
            return None
        arrived = Arrived(head.method, head.target, head.headers, self.wire.number)
        self.server.arrived.append(arrived)
        return arrived

    def body(self, arrived: Arrived, most: float = float("inf")) -> None:
        """Read the body, or `most` bytes of it."""
        chunks: Optional[List[bytes]] = [] if arrived.promised() <= 8 << 20 else None
        room = memoryview(bytearray(MOST))
        while arrived.length < min(most, arrived.promised()):
            left = arrived.promised() - arrived.length
            if chunks is None and not self.wire.buffer:  # large: no copy is made
                count = self.wire.sock.recv_into(room[:left])
            else:
                data = self.wire.some(min(MOST, left))
                count = len(data)
                (chunks if chunks is not None else []).append(data)
            if not count:
                raise Gone("the body was cut off")
            arrived.length += count
        arrived.body = b"".join(chunks or [])

    def request(self) -> Optional[Arrived]:
        arrived = self.head()
        if arrived:
            self.body(arrived)
        return arrived

    def say(
        self,
        status: int,
        body: bytes = b"",
        *headers: str,
        length: bool = True,
        version: str = "1.1",
    ) -> None:
        lines = ["HTTP/%s %d %s" % (version, status, phrase(status)), *headers]
        lines += ["Content-Length: %d" % len(body)] if length else []
        self.wire.send("\r\n".join([*lines, "", ""]).encode() + body)

    def linger(self) -> None:
        """Stay silent until the test is over."""
        self.server.over.wait(60)


Manners = Callable[[Talk], None]


class Server:
    """A context manager; `buffer` makes a receiving end that takes little at once."""

    def __init__(
        self,
        manners: Manners,
        context=None,
        host: str = "127.0.0.1",
        port: int = 0,
        buffer: int = 0,
    ):
        self.manners, self.context, self.host, self.buffer, self.wanted = (
            manners,
            context,
            host,
            buffer,
            port,
        )
        self.arrived: List[Arrived] = []
        self.connections, self.over, self.wires = 0, threading.Event(), []

    def __enter__(self) -> "Server":
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        self.listener = socket.socket(family, socket.SOCK_STREAM)
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if self.buffer:
            self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self.buffer)
        self.listener.bind((self.host, self.wanted))
        self.listener.listen(64)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()
        return self

    def __exit__(self, *_) -> None:
        self.over.set()
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)  # wakes accept()
        self.listener.close()
        for wire in self.wires:
            wire.sever()

    @property
    def authority(self) -> str:
        return "%s:%d" % ("[%s]" % self.host if ":" in self.host else self.host, self.port)

    @property
    def url(self) -> str:
        return self.at("localhost") if self.context else "http://%s/" % self.authority

    def at(self, name: str) -> str:
        """The same server by another name."""
        return "%s://%s:%d/" % ("https" if self.context else "http", name, self.port)

    def puts(self) -> List[Arrived]:
        return [arrived for arrived in self.arrived if arrived.method == "PUT"]

    def accept(self) -> None:
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            wire = Wire(sock, self.connections)
            self.wires.append(wire)
            threading.Thread(target=self.serve, args=(wire,), daemon=True).start()

    def serve(self, wire: Wire) -> None:
        with contextlib.suppress(OSError, Gone):
            if self.context:
                wire.secure(self.context)
            self.manners(Talk(self, wire))
        wire.close()


class Keeper:
    """Store each PUT and serve it, with ranges, like transfer.sh; a subclass spoils one thing."""

    def __init__(self) -> None:
        self.stored: Dict[str, bytes] = {}

    def __call__(self, talk: Talk) -> None:
        arrived = talk.request()
        while arrived:
            (self.put if arrived.method == "PUT" else self.get)(talk, arrived)
            arrived = talk.request()

    def keep(self, talk: Talk, arrived: Arrived) -> bytes:
        """The link to what has come."""
        path = "/%d%s" % (len(self.stored) + 1, urlsplit(arrived.target).path)
        self.stored[path] = arrived.body
        return b"%s://%s%s" % (
            b"https" if talk.server.context else b"http",
            arrived.header("Host").encode(),
            path.encode(),
        )

    def put(self, talk: Talk, arrived: Arrived) -> None:
        talk.say(200, self.keep(talk, arrived))

    def get(self, talk: Talk, arrived: Arrived) -> None:
        data = self.stored.get(arrived.target)
        if data is None:
            return talk.say(404, b"Not Found\n")
        self.give(talk, arrived, data)

    def give(self, talk: Talk, arrived: Arrived, data: bytes) -> None:
        span = re.fullmatch(r"bytes=(\d+)-(\d+)", arrived.header("Range") or "")
        if not span:
            return talk.say(200, data)
        first, last = int(span.group(1)), min(int(span.group(2)), len(data) - 1)
        talk.say(
            206, data[first : last + 1], "Content-Range: bytes %d-%d/%d" % (first, last, len(data))
        )


@contextlib.contextmanager
def blackhole(host: str = "127.0.0.1", port: int = 0):
    """A port that never completes a connection: its queue is full, and nothing accepts."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket(family, socket.SOCK_STREAM))
        listener.bind((host, port))
        listener.listen(0)
        for _ in range(4):
            waiting = stack.enter_context(socket.socket(family, socket.SOCK_STREAM))
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        time.sleep(0.05)
        yield listener.getsockname()[1]


def closed_port() -> int:
    """A port without a listener."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def until(fact: Callable[[], object], seconds: float = 10.0) -> None:
    """Wait for a fact; an assertion when it does not come."""
    end = time.monotonic() + seconds
    while not fact() and time.monotonic() < end:
        time.sleep(0.01)
    assert fact()


# What the tests of the wire, of nginx and of local files share


@dataclass
class Done:
    """How a call of main() ended."""

    code: int
    out: str
    err: str
    seconds: float

    @property
    def links(self) -> List[str]:
        return self.out.split()


def caller(capsys) -> Callable[..., Done]:
    """main() in this very process: `run("-p", "catbox", path)`; never a traceback."""
    import twat_fs

    def run(*args) -> Done:
        capsys.readouterr()
        begun = time.monotonic()
        code = twat_fs.main([str(arg) for arg in args])
        seconds = time.monotonic() - begun
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return Done(code, out, err, seconds)

    return run


def sparse(path, size: int):
    """A file of zeros that takes no room."""
    with open(path, "wb") as file:
        file.truncate(size)
    return path
