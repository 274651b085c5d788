"""An S3 server in memory that checks signatures and has one habit that no real server here has.

    with quirky("oss") as server:
        done = program("-p", "s3", "file", env=server.env())
        assert server.objects["/file"].body == b"..."

Key AKQUIRK, secret quirk-secret, bucket "bkt", by path or as http://bkt.s3.quirk.example: the
server is also the proxy through which these names are reached.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import re
import threading
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Dict, Iterator, List, NamedTuple, Optional, Tuple

KEY, SECRET, BUCKET = "AKQUIRK", "quirk-secret", "bkt"
URL = "http://s3.quirk.example"

# habit: what the service refuses, and in which words
HABITS = {
    "oss": "Alibaba OSS, Tencent COS, Huawei OBS: virtual-hosted style only, no If-None-Match",
    "path": "a service that refuses virtual-hosted style",
    "b2": "Backblaze B2 with a default retention: no crc32, and Content-MD5 required",
    "words": "the region only in the message, in the words of Scaleway and versitygw",
    "garage": "the region only in the message, within a scope, as Garage says it",
    "mute": "another region is a wrong signature, and nothing else is said",
    "redirect": "nginx before it redirects to https",
    "rgw": "Ceph RGW: a code, and no message",
    "html": "a proxy before it refuses with a page",
    "json": "a gateway before it refuses with JSON",
    "hidden": "what has been stored cannot be found",
    "closed": "what has been stored may not be read",
}


class StoredObject(NamedTuple):
    body: bytes
    content_type: str


class Arrived(NamedTuple):
    method: str
    host: str
    path: str
    headers: Dict[str, str]


class QuirkyServer:
    """One habit, what was stored, and the requests in their order."""

    def __init__(self, habit: str, region: str) -> None:
        assert habit in HABITS
        self.habit, self.region = habit, region
        self.objects: Dict[str, StoredObject] = {}
        self.arrived: List[Arrived] = []
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), handler_of(self))
        self.port = self.http.server_address[1]

    def env(self, **more: object) -> Dict[str, object]:
        proxy = f"http://127.0.0.1:{self.port}"
        return {
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_S3_BUCKET": BUCKET,
            "AWS_ENDPOINT_URL": URL,
            "http_proxy": proxy,
            "HTTP_PROXY": proxy,
            **more,
        }


@contextlib.contextmanager
def quirky(habit: str, region: str = "us-east-1") -> Iterator[QuirkyServer]:
    server = QuirkyServer(habit, region)
    thread = threading.Thread(target=server.http.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.http.shutdown()
        server.http.server_close()


def error(code: str, message: str = "", more: str = "") -> bytes:
    message = f"<Message>{message}</Message>" if message else ""
    head = '<?xml version="1.0" encoding="UTF-8"?>'
    detail = f"<Code>{code}</Code>{message}{more}<RequestId>tx01</RequestId>"
    return f"{head}<Error>{detail}</Error>".encode()


def region_of(method: str, target: str, headers: Dict[str, str]) -> str:
    """The region for which a request is signed, if the signature is right."""
    path, _, query = target.partition("?")
    pairs = dict(urllib.parse.parse_qsl(query, keep_blank_values=True))
    pattern = r"AWS4-HMAC-SHA256 Credential=AKQUIRK/(\S+), SignedHeaders=(\S+), Signature=(\w+)"
    match = re.match(pattern, headers.get("authorization", ""))
    if "X-Amz-Signature" in pairs:
        signature, names = pairs.pop("X-Amz-Signature"), pairs["X-Amz-SignedHeaders"]
        scope, stamp = pairs["X-Amz-Credential"].partition("/")[2], pairs["X-Amz-Date"]
        payload = "UNSIGNED-PAYLOAD"
    elif match:
        scope, names, signature = match.groups()
        stamp, payload = headers["x-amz-date"], headers["x-amz-content-sha256"]
    else:
        return ""
    coded = sorted((quote(name), quote(value)) for name, value in pairs.items())
    lines = "".join(f"{name}:{' '.join(headers[name].split())}\n" for name in names.split(";"))
    query = "&".join(f"{name}={value}" for name, value in coded)
    canonical = "\n".join((method, path, query, lines, names, payload))
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    key = b"AWS4" + SECRET.encode()
    for part in (*scope.split("/"), "\n".join(("AWS4-HMAC-SHA256", stamp, scope, digest))):
        key = hmac.new(key, part.encode(), "sha256").digest()
    return scope.split("/")[1] if key.hex() == signature else ""


def quote(text: str) -> str:
    return urllib.parse.quote(text, safe="-_.~")


Refusal = Tuple[int, bytes, Dict[str, str]]


def refusal(server: QuirkyServer, request: Arrived, region: str, body: bytes) -> Optional[Refusal]:
    """What the habit of this server has against a request."""
    habit, headers, virtual = server.habit, request.headers, request.host.startswith("bkt.")
    write = request.method == "PUT"
    wrong = region != server.region
    if habit == "redirect":
        return (
            301,
            b"<html><title>301 Moved Permanently</title></html>",
            {"Location": f"https://s3.example.org{request.path}"},
        )
    if not region or (habit == "mute" and wrong):
        return 403, error("SignatureDoesNotMatch", "The signatures differ"), {}
    if habit == "words" and wrong:
        text = f"the region &#39;{region}&#39; is wrong; expecting &#39;{server.region}&#39;"
        return 400, error("AuthorizationHeaderMalformed", text), {}
    if habit == "garage" and wrong:
        scope = "20261128/%s/s3/aws4_request"
        scopes = f"unexpected scope: {scope % region}, expected: {scope % server.region}"
        return 400, error("InvalidRequest", scopes), {}
    if habit == "oss" and not virtual:
        return (
            403,
            error("SecondLevelDomainForbidden", "Please use virtual hosted style to access."),
            {},
        )
    if habit == "path" and virtual:
        return 400, error("InvalidRequest", "Only path-style requests are supported."), {}
    if habit == "oss" and "if-none-match" in headers:
        return 501, error("NotImplemented", "A header is not implemented"), {}
    if habit == "b2" and "x-amz-checksum-crc32" in headers:
        return (
            400,
            error(
                "InvalidArgument",
                "Unsupported header 'x-amz-checksum-crc32' received for this API call.",
            ),
            {},
        )
    if habit == "b2" and write:
        if "content-md5" not in headers:
            return (
                400,
                error("InvalidRequest", "Missing required header for this request: Content-MD5"),
                {},
            )
        if headers["content-md5"] != base64.b64encode(hashlib.md5(body).digest()).decode():
            return 400, error("BadDigest", "The Content-MD5 did not match"), {}
    if habit == "rgw" and write:
        return 416, error("InvalidRange", more="<BucketName>bkt</BucketName>"), {}
    if habit == "html" and write:
        page = b"<html><body><h1>Forbidden</h1>"
        page += b"<p>Access was &quot;denied&quot; to this resource.</p></body></html>"
        return 405, page, {"Content-Type": "text/html"}
    if habit == "json" and write:
        return (
            422,
            b'{"success": false, "errors":'
            b' [{"code": 7, "detail": "quota of the team is used up"}]}',
            {},
        )
    return None


def handler_of(server: QuirkyServer) -> type:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *ignored: object) -> None:
            pass

        def respond(
            self, status: int, body: bytes = b"", headers: Optional[Dict[str, str]] = None
        ) -> None:
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def handle_request(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            target = re.sub("^http://[^/]*", "", self.path)  # as a proxy is asked
            path = target.partition("?")[0]
            request = Arrived(self.command, headers["host"], path, headers)
            server.arrived.append(request)
            refused = refusal(server, request, region_of(self.command, target, headers), body)
            if refused:
                return self.respond(*refused)
            key = path if request.host.startswith("bkt.") else path[len("/bkt") :]
            if self.command == "PUT":
                server.objects[key] = StoredObject(body, headers.get("content-type", ""))
                return self.respond(200, headers={"ETag": f'"{hashlib.md5(body).hexdigest()}"'})
            if key in server.objects and server.habit == "closed":
                return self.respond(403, error("AccessDenied", "Access Denied"))
            if key not in server.objects or server.habit == "hidden":
                return self.respond(404, error("NoSuchKey", "The specified key does not exist."))
            stored = server.objects[key]
            self.respond(200, stored.body, {"Content-Type": stored.content_type})

        do_GET = do_PUT = do_POST = do_DELETE = handle_request

    return Handler
