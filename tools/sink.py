"""The other end of tools/bench.py where there is no C compiler; tools/sink.c says what it does: keep them alike."""

from __future__ import annotations

import argparse
import os
import re
import ssl
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

BLOCK = 1024 * 1024


class Sink(BaseHTTPRequestHandler):
    """One connection; what all of them share are the class attributes."""

    protocol_version = "HTTP/1.1"
    scheme, served, given, received, cap = "http", "", 0, 0, 0
    counting = threading.Lock()

    def do_PUT(self) -> None:
        if self.headers.get("Transfer-Encoding"):
            self.discard_chunks()
        else:
            self.discard(int(self.headers.get("Content-Length", 0)))
        if self.cap:
            time.sleep(0.02)
        name = self.path.rpartition("/")[2] or "file.bin"
        link = f"{self.scheme}://{self.headers['Host']}/abc/{name}"
        begins, ends = "?uploads" in self.path, "uploadId=" in self.path and self.command == "POST"
        begun = (
            "<InitiateMultipartUploadResult><UploadId>1</UploadId></InitiateMultipartUploadResult>"
        )
        words = begun if begins else "<CompleteMultipartUploadResult/>" if ends else link
        words = "" if self.command == "PUT" and self.headers.get("x-amz-content-sha256") else words
        crc = self.headers.get("x-amz-checksum-crc32")
        self.answer(
            200,
            words.encode(),
            (("ETag", '"sink"'), *((("x-amz-checksum-crc32", crc),) if crc else ())),
        )

    do_POST = do_PUT

    def do_GET(self) -> None:
        if self.path == "/statistics":
            self.answer(200, f"{Sink.received} {Sink.given}".encode())
        elif self.served:
            self.answer_file(os.path.getsize(self.served))
        else:
            self.answer(404, b"not here")

    do_HEAD = do_GET

    def discard(self, size: int) -> None:
        block = memoryview(bytearray(BLOCK // 16 if self.cap else BLOCK))
        left, begun = size, time.monotonic()
        while left > 0:
            if self.cap:
                time.sleep(max(0.0, (size - left) / self.cap - (time.monotonic() - begun)))
            left -= (
                self.rfile.readinto(block[: min(left, len(block))]) or size
            )  # nothing more came: stop
        with self.counting:
            Sink.received += size

    def discard_chunks(self) -> None:
        while size := int(self.rfile.readline().partition(b";")[0], 16):
            self.discard(size + 2)
        while self.rfile.readline().strip():
            pass

    def answer(
        self, status: int, body: bytes, headers: tuple[tuple[str, str], ...] = (), length: int = -1
    ) -> None:
        self.send_response(status)
        for name, value in (*headers, ("Content-Length", str(len(body) if length < 0 else length))):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(b"" if self.command == "HEAD" else body)

    def answer_file(self, size: int) -> None:
        first, last = span(self.headers.get("Range", ""), size)
        whole = last - first + 1 == size
        headers = () if whole else (("Content-Range", f"bytes {first}-{last}/{size}"),)
        self.answer(200 if whole else 206, b"", headers, last - first + 1)
        if self.command == "GET":
            self.send_part(first, last + 1)

    def send_part(self, start: int, end: int) -> None:
        with open(self.served, "rb") as file:
            file.seek(start)
            for at in range(start, end, BLOCK):
                self.wfile.write(file.read(min(BLOCK, end - at)))
        with self.counting:
            Sink.given += end - start

    def log_message(self, format: str, *args: object) -> None:
        """Silence."""


def span(header: str, size: int) -> tuple[int, int]:
    """First and last byte that a Range header asks for; the whole file if there is none."""
    found = re.fullmatch(r"bytes=(\d*)-(\d*)", header)
    if not found or found.group(0) == "bytes=-":
        return 0, size - 1
    first, last = found.groups()
    return (
        (int(first), min(int(last or size), size - 1))
        if first
        else (max(0, size - int(last)), size - 1)
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--tls", nargs=2, metavar=("CERT", "KEY"))
    parser.add_argument("--serve", default="", metavar="FILE")
    parser.add_argument("--cap", type=int, default=0, metavar="RATE")
    args = parser.parse_args()
    Sink.cap = args.cap
    server = ThreadingHTTPServer(("127.0.0.1", 0), Sink)
    server.daemon_threads, Sink.served = True, args.serve
    if args.tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*args.tls)
        server.socket, Sink.scheme = context.wrap_socket(server.socket, server_side=True), "https"
    print(server.server_port, flush=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdin.read()


if __name__ == "__main__":
    main()
