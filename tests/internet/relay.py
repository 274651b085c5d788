"""A relay in front of a real server: it writes down what passes, and spoils what a test wishes.

    with Relay(s3.endpoint) as relay:
        # respond here after the body; the server sees nothing
        relay.spoil("PUT", "partNumber=2", times=2, status=503)
        relay.spoil("PUT", cut=1000)            # close after so many bytes of the body
        relay.spoil("PUT", hold=True)           # read the body, never respond
        relay.spoil("POST", "uploadId", lost=True)  # the server acts, its response is lost
        relay.spoil(answer=with_date)           # (status, headers, body) -> the same, changed
        program(..., env={**s3.env(), "AWS_ENDPOINT_URL_S3": relay.url})
        assert relay.asked("PUT")[0].header("x-amz-date")

program --sockets, TLS if wanted--> relay --http.client--> server
"""

from __future__ import annotations

import http.client
from dataclasses import dataclass
from typing import Any, Callable, List, Optional, Tuple
from urllib.parse import urlsplit

from internet.loopback import MOST, Arrived, Server, Talk

Answer = Tuple[int, List[Tuple[str, str]], bytes]
HOP = ("connection", "transfer-encoding", "keep-alive")


@dataclass
class Spoil:
    """What happens to the next requests of this method with this text in their target."""

    method: str
    text: str
    times: int
    status: int
    cut: Optional[int]
    hold: bool
    lost: bool
    answer: Optional[Callable[[Answer], Answer]]
    headers: Tuple[str, ...]
    body: bytes

    def fits(self, arrived: Arrived) -> bool:
        return (
            self.times > 0 and self.method in ("", arrived.method) and self.text in arrived.target
        )


class Relay(Server):
    """A context manager; `arrived` lists the requests, including spoiled ones."""

    def __init__(self, endpoint: str, context: Any = None):
        super().__init__(self.talk, context)
        self.upstream, self.spoils = urlsplit(endpoint), []

    def spoil(
        self,
        method: str = "",
        text: str = "",
        times: int = 1 << 30,
        status: int = 0,
        cut: Optional[int] = None,
        hold: bool = False,
        lost: bool = False,
        answer: Optional[Callable[[Answer], Answer]] = None,
        headers: Tuple[str, ...] = (),
        body: bytes = b"",
    ) -> None:
        self.spoils.append(
            Spoil(method, text, times, status, cut, hold, lost, answer, headers, body)
        )

    def asked(self, method: str, text: str = "") -> List[Arrived]:
        return [
            arrived
            for arrived in self.arrived
            if arrived.method == method and text in arrived.target
        ]

    def talk(self, talk: Talk) -> None:
        line = http.client.HTTPConnection(self.upstream.hostname, self.upstream.port, timeout=60)
        try:
            while True:
                arrived = talk.head()
                if arrived is None or not self.pass_on(talk, arrived, line):
                    return
        finally:
            line.close()

    def pass_on(self, talk: Talk, arrived: Arrived, line: http.client.HTTPConnection) -> bool:
        spoil = next((spoil for spoil in self.spoils if spoil.fits(arrived)), None)
        if not spoil:
            self.give(talk, arrived, self.ask(talk, arrived, line))
            return True
        spoil.times -= 1
        if spoil.cut is not None or spoil.hold or spoil.status:
            return self.stop(talk, arrived, spoil)
        status, headers, body = self.ask(talk, arrived, line)
        if spoil.lost:
            return False
        self.give(
            talk,
            arrived,
            spoil.answer((status, headers, body)) if spoil.answer else (status, headers, body),
        )
        return True

    def stop(self, talk: Talk, arrived: Arrived, spoil: Spoil) -> bool:
        """The server never hears of it."""
        talk.body(arrived, float("inf") if spoil.cut is None else spoil.cut)
        if spoil.hold:
            talk.linger()
        elif spoil.status:
            talk.say(spoil.status, spoil.body, *spoil.headers)
            return True
        return False

    def ask(self, talk: Talk, arrived: Arrived, line: http.client.HTTPConnection) -> Answer:
        """Head and body go on as they came, the body as it comes."""
        line.putrequest(arrived.method, arrived.target, skip_host=True, skip_accept_encoding=True)
        for name, value in arrived.headers:
            if name.lower() not in ("connection", "expect"):
                line.putheader(name, value.encode("utf-8") if not value.isascii() else value)
        line.endheaders()
        if (arrived.header("Expect") or "").lower() == "100-continue":
            talk.wire.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        chunks: List[bytes] = []
        while arrived.length < arrived.promised():
            data = talk.wire.some(min(MOST, arrived.promised() - arrived.length))
            if not data:
                return 0, [], b""
            arrived.length += len(data)
            chunks += [data] if arrived.promised() <= 8 << 20 else []
            line.send(data)
        arrived.body = b"".join(chunks)
        answer = line.getresponse()
        return answer.status, answer.getheaders(), answer.read()

    def give(self, talk: Talk, arrived: Arrived, answer: Answer) -> None:
        status, headers, body = answer
        if arrived.method == "HEAD":
            forwarded = [f"{name}: {value}" for name, value in headers if name.lower() not in HOP]
            return talk.say(status, b"", *forwarded, length=False)
        dropped = (*HOP, "content-length")
        no_body = status == 204
        return talk.say(
            status,
            body,
            *(f"{name}: {value}" for name, value in headers if name.lower() not in dropped),
            length=not no_body,
        )
