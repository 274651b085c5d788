"""The server of tools/bench.py on machines without a C compiler; see tools/sink.c."""

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
    """One connection; all connections share the class attributes."""

    protocol_version = "HTTP/1.1"
    scheme, served, sent, received, cap = "http", "", 0, 0, 0
    lock = threading.Lock()

    def do_PUT(self) -> None:
        if self.headers.get("Transfer-Encoding"):
            self.discard_chunks()
        else:
            self.discard(int(self.headers.get("Content-Length", 0)))
        if self.cap:
            time.sleep(0.02)
        name = self.path.rpartition("/")[2] or "file.bin"
        link = f"{self.scheme}://{self.headers['Host']}/abc/{name}"
        headers = [("ETag", '"sink"')]
        crc = self.headers.get("x-amz-checksum-crc32")
        if crc:
            headers.append(("x-amz-checksum-crc32", crc))
        self.respond(200, (self.s3_body() or link).strip().encode(), tuple(headers))

    def s3_body(self) -> str:
        """The body for a request of S3; a blank where it is empty, "" for other requests."""
        if "?uploads" in self.path:
            result = "InitiateMultipartUploadResult"
            return f"<{result}><UploadId>1</UploadId></{result}>"
        if self.command == "POST" and "uploadId=" in self.path:
            return "<CompleteMultipartUploadResult/>"
        return " " if self.command == "PUT" and self.headers.get("x-amz-content-sha256") else ""

    do_POST = do_PUT

    def do_GET(self) -> None:
        if self.path == "/statistics":
            self.respond(200, f"{Sink.received} {Sink.sent}".encode())
        elif self.served:
            self.respond_file(os.path.getsize(self.served))
        else:
            self.respond(404, b"not here")

    do_HEAD = do_GET

    def discard(self, size: int) -> None:
        block = memoryview(bytearray(BLOCK // 16 if self.cap else BLOCK))
        left, begun = size, time.monotonic()
        while left > 0:
            if self.cap:
                time.sleep(max(0.0, (size - left) / self.cap - (time.monotonic() - begun)))
            # at the end of the connection stop
            left -= self.rfile.readinto(block[: min(left, len(block))]) or size
        with self.lock:
            Sink.received += size

    def discard_chunks(self) -> None:
        while size := int(self.rfile.readline().partition(b";")[0], 16):
            self.discard(size + 2)
        while self.rfile.readline().strip():
            pass

    def respond(
        self, status: int, body: bytes, headers: tuple[tuple[str, str], ...] = (), length: int = -1
    ) -> None:
        self.send_response(status)
        for name, value in (*headers, ("Content-Length", str(len(body) if length < 0 else length))):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(b"" if self.command == "HEAD" else body)

    def respond_file(self, size: int) -> None:
        first, last = parse_range(self.headers.get("Range", ""), size)
        length = last - first + 1
        if length == size:
            self.respond(200, b"", length=length)
        else:
            content_range = ("Content-Range", f"bytes {first}-{last}/{size}")
            self.respond(206, b"", (content_range,), length)
        if self.command == "GET":
            self.send_part(first, last + 1)

    def send_part(self, start: int, end: int) -> None:
        with open(self.served, "rb") as file:
            file.seek(start)
            for at in range(start, end, BLOCK):
                self.wfile.write(file.read(min(BLOCK, end - at)))
        with self.lock:
            Sink.sent += end - start

    def log_message(self, format: str, *args: object) -> None:
        """No log."""


def parse_range(header: str, size: int) -> tuple[int, int]:
    """First and last byte of a Range header; those of the file if there is none."""
    match = re.fullmatch(r"bytes=(\d*)-(\d*)", header)
    if not match or match.group(0) == "bytes=-":
        return 0, size - 1
    first, last = match.groups()
    if not first:
        return max(0, size - int(last)), size - 1
    return int(first), min(int(last or size), size - 1)


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
