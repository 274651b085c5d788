"""The hosts in the box, modelled on their documentation, their source or dated tests.

A host is a class: its domains, its facts, `upload` and `download`. Facts are attributes, so a test
can change them: `box.hosts["x0.at"].limit = 1000`. Switches that all hosts have:

    limit     the largest file it takes          head      False: HEAD is answered by 405
    ranges    False: ranges are ignored      chunked     True: short bodies have no Content-Length
    closes    True: no keep-alive            authorized  True: an Authorization header is expected
    empty     True: empty files are welcome

Chapters: 1 What hosts share, 2 Forms with a text answer, 3 Forms with a JSON answer, 4 Raw uploads,
5 The registry.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import mimetypes
import random
import re
import time
import uuid
from typing import Callable, Dict, Optional, Tuple
from urllib.parse import parse_qs, quote, unquote

from internet.box import Answer, Ask, Stored, as_download, as_json, as_page, chunks_of, random_id

MB = 1000 * 1000
MIB = 1024 * 1024
GB = 1000 * MB
LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


# 1 What hosts share -------------------------------------------------------------------------------

SIGNS = (
    (b"MZ", "application/x-dosexec"),
    (b"\x7fELF", "application/x-executable"),
    (b"PK\x03\x04", "application/zip"),
    (b"%PDF", "application/pdf"),
    (b"Rar!", "application/x-rar"),
    (b"\xca\xfe\xba\xbe", "application/java"),
    (b"\xd0\xcf\x11\xe0", "application/msword"),
    (b"\x89PNG", "image/png"),
    (b"GIF8", "image/gif"),
    (b"<!DOCTYPE html", "text/html"),
    (b"<html", "text/html"),
    (b"<svg", "image/svg+xml"),
)


def sniff(head: bytes) -> str:
    """The type that the first bytes betray."""
    for sign, content_type in SIGNS:
        if head.startswith(sign):
            return content_type
    try:
        head[:508].decode("utf-8")
    except UnicodeDecodeError:
        return "application/octet-stream"
    return "application/octet-stream" if b"\0" in head else "text/plain"


def kind_of(name: str) -> str:
    return mimetypes.guess_type(name)[0] or "application/octet-stream"


def extension(name: str, longest: int = 9) -> str:
    """The last suffix with its dot, `tar.*` kept as one, empty when it is too long."""
    match = re.search(r"(\.tar)?\.[A-Za-z0-9]+$", name)
    return (
        match.group(0)
        if match and len(match.group(0)) <= longest + (4 if match.group(1) else 0)
        else ""
    )


def nginx_413() -> Answer:
    return as_page("413 Request Entity Too Large", 413)


class Host:
    """The common behaviour of all hosts; a subclass defines its own."""

    domains: Tuple[str, ...] = ()
    fields: Tuple[str, ...] = ()  # of its form; the last is the file
    ordered = False  # whether the order of the other fields counts
    endpoints: Tuple[str, ...] = ()  # where its form goes
    limit: Optional[int] = None
    head = True
    ranges = True
    chunked = False
    closes = False
    authorized = False
    empty = False
    plain_http = False
    raw_port: Optional[int] = None

    def is_upload(self, ask: Ask) -> bool:
        return ask.method in ("POST", "PUT", "RAW")

    def answer(self, ask: Ask) -> Answer:
        if ask.method in ("GET", "HEAD"):
            return self.visit(ask)
        if ask.method == "DELETE":
            return self.delete(ask)
        return self.upload(ask)

    def visit(self, ask: Ask) -> Answer:
        """A GET or a HEAD: of a file, or else of a page."""
        if ask.method == "HEAD" and not self.head:
            return Answer(405, "Method Not Allowed\n", headers=[("Allow", "GET")])
        stored = ask.world.stored.find(ask.url)
        if stored is None:
            return self.page(ask)
        return self.gone(ask, stored) or self.download(ask, stored)

    def gone(self, ask: Ask, stored: Stored) -> Optional[Answer]:
        """The response for a file that has been deleted."""
        if stored.once and stored.hits and not stored.deleted:
            ask.complain("a second request on a one-download link")
        dead = stored.deleted or (stored.once and stored.hits)
        return as_page("404 Not Found", 404) if dead else None

    def download(self, ask: Ask, stored: Stored) -> Answer:
        stored.hits += ask.method == "GET" or stored.once
        return as_download(stored, self.ranges)

    def page(self, ask: Ask) -> Answer:
        return as_page(self.domains[0]) if ask.path == "/" else as_page("404 Not Found", 404)

    def delete(self, ask: Ask) -> Answer:
        return Answer(405, "Method Not Allowed\n")

    def upload(self, ask: Ask) -> Answer:
        """A form to the right place; the rest is `take`."""
        if ask.method != "POST" or ask.path not in self.endpoints:
            return as_page("404 Not Found", 404)
        return self.take(ask)

    def take(self, ask: Ask) -> Answer:
        raise NotImplementedError

    def has_file(self, ask: Ask) -> bool:
        """Whether the form holds a file under the right name."""
        names = [part[0] for part in ask.seen.form if part[1] is not None]
        return ask.file is not None and names == [self.fields[-1]]

    def too_big(self, ask: Ask) -> bool:
        return self.limit is not None and ask.file is not None and ask.file.size > self.limit

    def base(self, ask: Ask, number: int = -1) -> str:
        return "https://" + self.domains[number]


# 2 Forms with a text answer -----------------------------------------------------------------------


class Catbox(Host):
    """No expiry; keeps the extension of any name; errors are sentences."""

    domains = ("catbox.moe", "files.catbox.moe")
    endpoints = ("/user/api.php",)
    fields = ("reqtype", "userhash", "fileToUpload")
    ordered = True
    limit, gif_limit = 200 * MB, 20 * MB
    blocked = re.compile(r"\.(exe|scr|cpl|jar|doc[a-z]*)$", re.I)
    blocked_status = 412
    anonymous = True  # False: as in April 2026
    users: Optional[Tuple[str, ...]] = None  # None: every userhash is good

    def upload(self, ask: Ask) -> Answer:
        if ask.header("Content-Type") != "application/x-www-form-urlencoded":
            return super().upload(ask)
        fields = {key: values[0] for key, values in parse_qs(ask.file.read().decode()).items()}
        stored = ask.world.stored.find("https://files.catbox.moe/" + fields.get("files", ""))
        user = fields.get("userhash")
        if fields.get("reqtype") != "deletefiles" or not stored:
            return Answer(412, "File doesn't exist?")
        if not user or stored.options.get("userhash") != user:
            return Answer(412, "You don't own this file.")
        stored.deleted = True
        return Answer(200, "Files successfully deleted.")

    def take(self, ask: Ask) -> Answer:
        refusal = self.refusal(ask)
        return refusal if refusal else self.keep(ask, random_id(6))

    def refusal(self, ask: Ask) -> Optional[Answer]:
        if ask.fields.get("reqtype") != "fileupload":
            return Answer(200, "No request type given.")
        if not self.has_file(ask):
            return Answer(200, "No files given!")
        if self.too_big(ask) or (
            ask.file.name.lower().endswith(".gif") and ask.file.size > self.gif_limit
        ):
            return nginx_413()
        if self.blocked.search(ask.file.name):
            return Answer(self.blocked_status, "This file type is not allowed!")
        return self.refused_user(ask)

    def refused_user(self, ask: Ask) -> Optional[Answer]:
        user = ask.fields.get("userhash", "")
        if not user and not self.anonymous:
            return Answer(412, "Anonymous uploads are disabled. Please make an account.")
        if user and self.users is not None and user not in self.users:
            return Answer(412, "Invalid userhash.")
        return None

    def keep(self, ask: Ask, name: str) -> Answer:
        name += extension(ask.file.name)
        stored = ask.store(
            "%s/%s" % (self.base(ask), name), ask.file.name, options=dict(ask.fields)
        )
        harmless = re.search(r"\.(html?|php|ht\w+)$", name)
        stored.type = "text/plain" if harmless else kind_of(name)
        return Answer(200, stored.url)


class Litterbox(Catbox):
    """For hours: exactly 1, 12, 24 or 72."""

    domains = ("litterbox.catbox.moe", "litter.catbox.moe")
    endpoints = ("/resources/internals/api.php",)
    fields = ("reqtype", "time", "fileNameLength", "fileToUpload")
    limit = 1 * GB
    times = ("1h", "12h", "24h", "72h")

    def refused_user(self, ask: Ask) -> Optional[Answer]:
        if ask.fields.get("time") not in self.times:
            return Answer(200, "No expire time specified.")
        if ask.fields.get("fileNameLength", "6") not in ("6", "16"):
            return Answer(200, "Invalid file name length.")
        return None

    def take(self, ask: Ask) -> Answer:
        refusal = self.refusal(ask)
        return (
            refusal
            if refusal
            else self.keep(ask, random_id(int(ask.fields.get("fileNameLength", "6"))))
        )


class NullPointer(Host):
    """0x0.st and its software; uploads are disabled by its owner unless a test sets `open`."""

    domains = ("0x0.st",)
    endpoints = ("/",)
    fields = ("secret", "expires", "file")
    limit = 512 * MIB
    open = False
    closed_status = 403
    closed = (
        "Uploads disabled because it's been almost nothing but AI botnet spam. I have no ETA.\n"
    )
    blocked = (
        "application/x-dosexec",
        "application/x-executable",
        "application/x-sharedlib",
        "application/x-hdf5",
        "application/java-archive",
        "application/vnd.android.package-archive",
        "application/x-rar",
        "application/vnd.microsoft.portable-executable",
    )
    libraries = re.compile(r"^$|^(curl|wget|python|requests|go-http|okhttp|mozilla)", re.I)

    def is_upload(self, ask: Ask) -> bool:
        return ask.method in ("POST", "PUT") and ask.path == "/"

    def upload(self, ask: Ask) -> Answer:
        if ask.method == "POST" and ask.path != "/":
            return self.manage(ask)
        if self.libraries.match(ask.header("User-Agent")):
            return Answer(403, "User agent not allowed\n")
        return super().upload(ask) if self.open else Answer(self.closed_status, self.closed)

    def take(self, ask: Ask) -> Answer:
        expires = ask.fields.get("expires", "")
        if not self.has_file(ask) or not re.fullmatch(r"[0-9]*", expires):
            return Answer(400, "")
        if self.too_big(ask):
            return Answer(413, "Payload Too Large\n")
        if ask.file.type in self.blocked or sniff(ask.file.head) in self.blocked:
            return Answer(415, "Unsupported Media Type\n")
        return self.keep(ask, self.until(ask, expires))

    def until(self, ask: Ask, expires: str) -> float:
        """When the file will go, in milliseconds: by size, or sooner when the client wishes."""
        now, day = time.time() * 1000, 24 * 3600 * 1000
        longest = now + (30 + (30 - 365) * (ask.file.size / self.limit - 1) ** 3) * day
        if not expires:
            return longest
        wish = int(expires)
        return min(longest, now + wish * 3600 * 1000 if wish < 1650460320000 else wish)

    def keep(self, ask: Ask, until: float) -> Answer:
        known = next((s for s in ask.world.stored.values() if self.same(s, ask)), None)
        headers = [] if known else [("X-Token", random_id(22, LETTERS))]
        if known:
            known.options["expires"] = max(known.options["expires"], until)
        else:
            known = self.add(ask, until, headers[0][1])
        headers.append(("X-Expires", "%f" % known.options["expires"]))
        return Answer(200, known.url + "\n", "text/html; charset=utf-8", headers)

    def same(self, stored: Stored, ask: Ask) -> bool:
        return (
            stored.url.startswith(self.base(ask))
            and stored.sha256 == ask.file.sha256
            and not stored.deleted
        )

    def add(self, ask: Ask, until: float, token: str) -> Stored:
        secret = "s/%s/" % random_id(16, LETTERS) if "secret" in ask.fields else ""
        suffix = extension(ask.file.name) or ".bin"
        url = "%s/%s%s%s" % (self.base(ask), secret, random_id(4, LETTERS), suffix)
        return ask.store(
            url,
            ask.file.name,
            type=kind_of(url),
            owner=token,
            options={**ask.fields, "expires": until},
        )

    def manage(self, ask: Ask) -> Answer:
        """Delete or shorten, by the token, on the URL of the file."""
        stored = ask.world.stored.find(ask.url)
        fields = ask.fields or {
            key: values[0] for key, values in parse_qs(ask.file.read().decode(), True).items()
        }
        if stored is None or stored.deleted:
            return Answer(404, "Not Found\n")
        if fields.get("token") != stored.owner:
            return Answer(401, "Unauthorized\n")
        if "delete" in fields:
            stored.deleted = True
            return Answer(200, "")
        stored.options["expires"] = fields.get("expires")
        return Answer(202, "")


class X0(Host):
    """A form that it does not understand gets its front page, with 200.

    Of the name it copies up to 7 bytes after the last dot, as they are (index.php, 2026-06-07).
    """

    domains = ("x0.at",)
    endpoints = ("/",)
    fields = ("id_length", "keep_name", "file")
    limit = 100 * MIB

    def take(self, ask: Ask) -> Answer:
        if not self.has_file(ask):
            return as_page("x0.at: the file hosting service")
        if self.too_big(ask):
            return Answer(
                413, "Error 413: Max File Size (%d MiB) exceeded!\n" % (self.limit // MIB)
            )
        if not ask.file.size:
            return Answer(400, "Error 400: Uploaded file is empty\n")
        link = "%s/%s" % (self.base(ask), self.name(ask))
        stored = ask.store(link, ask.file.name, options=dict(ask.fields))
        stored.type = kind_of(stored.url)
        return Answer(200, link + "\n")

    def name(self, ask: Ask) -> str:
        wish = ask.fields.get("id_length", "")
        length = min(24, max(3, int(wish))) if wish.isdigit() else 4
        if ask.fields.get("keep_name") == "1":
            return random_id(length, LETTERS) + "_" + re.sub(r"[^A-Za-z0-9._-]", "_", ask.file.name)
        _, dot, suffix = ask.file.name.rpartition(".")
        tar = "tar." if ask.file.name[: -len(suffix) - 1].endswith(".tar") else ""
        cut = (tar + suffix).encode()[:7].decode("utf-8", "ignore")
        return random_id(length, LETTERS) + dot + cut if dot and cut else random_id(length, LETTERS)


# 3 Forms with a JSON answer -----------------------------------------------------------------------


class Pomf(Host):
    """The pomf family: `files[]` in, a list of files out; the URL can be relative."""

    domains = ("qu.ax",)
    endpoints = ("/upload.php",)
    fields = ("files[]",)
    limit = 256 * MIB
    letters = 5
    relative = False  # True: the url lacks scheme and host

    def take(self, ask: Ask) -> Answer:
        refusal = self.refusal(ask)
        if refusal:
            status, text = refusal
            return as_json(
                {"success": False, "errorcode": status, "description": text}, status, slashes=True
            )
        name = random_id(self.letters, LETTERS) + re.sub(
            r"[^.A-Za-z0-9]", "", extension(ask.file.name, 20)
        )
        stored = ask.store("%s/%s" % (self.base(ask), name), ask.file.name, type=kind_of(name))
        return as_json({"success": True, "files": [self.describe(stored, name)]}, slashes=True)

    def refusal(self, ask: Ask) -> Optional[Tuple[int, str]]:
        if not self.has_file(ask):
            return 400, "No input file(s)"
        return (413, "File too large") if self.too_big(ask) else None

    def describe(self, stored: Stored, name: str) -> Dict:
        url = "/" + name if self.relative else stored.url
        return {"hash": stored.sha256[:40], "name": stored.name, "url": url, "size": stored.size}


class Uguu(Pomf):
    """Three hours; refuses many types, zip and pdf too; its rate limit is a 500."""

    domains = ("uguu.se", "a.uguu.se")
    endpoints = ("/upload", "/upload.php")
    limit = 128 * MIB
    chunked = True
    letters = 8
    wait = 0  # seconds of a rate limit
    extensions = tuple("exe scr com vbs bat cmd htm html jar msi apk phtml svg zip pdf".split())
    types = (
        "application/msword",
        "text/html",
        "application/x-dosexec",
        "application/java",
        "application/java-archive",
        "application/x-executable",
        "application/x-mach-binary",
        "image/svg+xml",
        "application/zip",
        "application/pdf",
    )

    def take(self, ask: Ask) -> Answer:
        if self.too_big(ask):
            return nginx_413()
        answer = super().take(ask)
        if ask.query.get("output", ["json"]) == ["text"] and answer.status == 200:
            return Answer(200, json.loads(answer.body)["files"][0]["url"] + "\n")
        return answer

    def refusal(self, ask: Ask) -> Optional[Tuple[int, str]]:
        if not self.has_file(ask):
            return 400, "No input file(s)"
        if self.wait:
            return 500, "Rate limit, please wait %d seconds before uploading again." % self.wait
        suffix = ask.file.name.rpartition(".")[2]
        forbidden = suffix in self.extensions or sniff(ask.file.head) in self.types
        return (415, "Filetype not allowed!") if forbidden else None

    def describe(self, stored: Stored, name: str) -> Dict:
        return {
            "hash": stored.sha256,
            "filename": name,
            "url": stored.url,
            "size": stored.size,
            "dupe": False,
        }


class TmpfileLink(Host):
    """Seven days; two domains for downloads, by type."""

    domains = ("tmpfile.link", "d.tmpfile.link", "d3.tfdl.net")
    endpoints = ("/api/upload",)
    fields = ("file",)
    limit = 100 * MB
    chunked = True
    encoded = True  # False: no downloadLinkEncoded

    def take(self, ask: Ask) -> Answer:
        if not self.has_file(ask):
            return as_json({"error": "No file provided"}, 400)
        if self.too_big(ask):
            return as_json({"error": "File too large"}, 413)
        content_type = ask.file.type or "application/octet-stream"
        domain = self.domains[1 if re.match("image/|text/", content_type) else 2]
        folder = "https://%s/public/%s/%s/" % (domain, time.strftime("%Y-%m-%d"), uuid.uuid4())
        stored = ask.store(folder + quote(ask.file.name), ask.file.name, type=content_type)
        links = {"downloadLink": folder + stored.name, "downloadLinkEncoded": stored.url}
        if not self.encoded:
            del links["downloadLinkEncoded"]
        return as_json(
            {
                "fileName": stored.name,
                **links,
                "size": stored.size,
                "type": content_type,
                "uploadedTo": "public",
            }
        )


class TmpfilesOrg(Host):
    """The link in its answer is a page; the file is behind /dl/."""

    domains = ("tmpfiles.org",)
    endpoints = ("/api/v1/upload",)
    fields = ("expire", "file")
    limit = 100 * MIB
    max_expire = 172800  # an older copy of its documentation: 86400
    http_links = False  # True: as in February 2026

    def take(self, ask: Ask) -> Answer:
        refusal = self.refusal(ask)
        if refusal:
            status, name, text = refusal
            return as_json(
                {"status": "error", "message": text, "errors": {name: [text]}}, status, slashes=True
            )
        path = "%d/%s" % (random.randrange(10**6, 10**8), quote(ask.file.name))
        more = {
            "options": {"expire": ask.fields.get("expire", "3600")},
            "type": kind_of(ask.file.name),
        }
        ask.store("%s/dl/%s" % (self.base(ask), path), ask.file.name, **more)
        link = ("http://" if self.http_links else "https://") + self.domains[0] + "/" + path
        return as_json({"status": "success", "data": {"url": link}}, slashes=True)

    def refusal(self, ask: Ask) -> Optional[Tuple[int, str, str]]:
        expire = ask.fields.get("expire", "3600")
        if not self.has_file(ask):
            return 422, "file", "The file field is required."
        if self.too_big(ask):
            return (
                413,
                "file",
                "The file must not be greater than %d kilobytes." % (self.limit // 1024),
            )
        if not expire.isdigit() or int(expire) < 60:
            return 422, "expire", "The expire field must be at least 60."
        if int(expire) > self.max_expire:
            return 422, "expire", "The expire field must not be greater than %d." % self.max_expire
        return None

    def page(self, ask: Ask) -> Answer:
        if ask.path == self.endpoints[0]:
            return as_json(
                {
                    "message": "The GET method is not supported for this route. "
                    "Supported methods: POST."
                },
                405,
            )
        stored = ask.world.stored.find("%s/dl%s" % (self.base(ask), ask.path))
        return as_page("Download " + stored.name) if stored else super().page(ask)


# 4 Raw uploads ------------------------------------------------------------------------------------


class Filebin(Host):
    """PUT or POST into a bin; a link leads to a storage host, for browsers to a warning page."""

    domains = ("filebin.net", "situla.bitbit.net")
    blocked: Tuple[str, ...] = ()  # extensions that are refused
    full = False  # True: 507
    verified = "verified=2024-05-24"
    agents = re.compile(r"^(curl|Wget|VLC)/")

    def __init__(self):
        self.dead, self.locked = set(), set()

    def is_upload(self, ask: Ask) -> bool:
        return ask.method in ("POST", "PUT") and ask.path.count("/") == 2

    def upload(self, ask: Ask) -> Answer:
        segments = unquote(ask.path)[1:].split("/")
        if ask.method == "PUT" and len(segments) == 1:
            self.locked.add(segments[0])
            return Answer(200, "Bin locked successfully.\n")
        if ask.domain != self.domains[0] or len(segments) != 2:
            return Answer(404, "not found\n")
        refusal = self.refusal(ask, *segments)
        return Answer(*refusal) if refusal else self.keep(ask, segments[0], self.clean(segments[1]))

    def refusal(self, ask: Ask, bin: str, name: str) -> Optional[Tuple[int, str]]:
        checks = (
            (400, "invalid bin\n", not re.fullmatch(r"[A-Za-z0-9_-]{8,60}", bin)),
            (405, "This bin is no longer available\n", bin in self.dead | self.locked),
            (403, "extension not allowed\n", name.rpartition(".")[2].lower() in self.blocked),
            (507, "Storage full\n", self.full),
            (413, "too large\n", self.too_big(ask)),
            (400, "Unexpected form\n", ask.seen.form or ask.file is None),
        )
        refusal = next(((status, text) for status, text, wrong in checks if wrong), None)
        return refusal or self.bad_content(ask)

    @staticmethod
    def bad_content(ask: Ask) -> Optional[Tuple[int, str]]:
        md5, sha256 = ask.header("Content-MD5"), ask.header("Content-SHA256")
        if not ask.file.size:
            return 400, "Empty files are not allowed\n"
        if md5 and md5 != base64.b64encode(md5_of(ask.file).digest()).decode():
            return 400, "MD5 checksum did not match\n"
        return (
            (400, "SHA256 checksum did not match\n")
            if sha256 and sha256 != ask.file.sha256
            else None
        )

    @staticmethod
    def clean(name: str) -> str:
        """The name as the server keeps it."""
        cleaned = re.sub(r"[^\w \-_=+,.()\[\]]", "_", name)
        while len(cleaned.encode()) > 120:
            cleaned = cleaned[1:]
        return "_" + cleaned[1:] if cleaned.startswith(".") else cleaned

    def keep(self, ask: Ask, bin: str, name: str) -> Answer:
        stored = ask.store(
            "https://filebin.net/%s/%s" % (bin, quote(name)), name, type=sniff(ask.file.head)
        )
        stored.options["bin"] = bin
        dates = dict.fromkeys(
            ("updated_at", "created_at", "expired_at"), "2026-11-29T12:00:00.000000Z"
        )
        about_bin = {"id": bin, "readonly": False, "bytes": stored.size, "files": 1, **dates}
        about_file = {
            "filename": name,
            "content-type": stored.type,
            "bytes": stored.size,
            "md5": md5_of(ask.file).hexdigest(),
            "sha256": stored.sha256,
            **dates,
        }
        return as_json({"bin": about_bin, "file": about_file}, 201)

    listed: Optional[Callable[[Dict], object]] = None  # changes the list of a bin

    def visit(self, ask: Ask) -> Answer:
        if ask.domain == self.domains[1]:
            return self.storage(ask)
        return self.bin(ask) if ask.path.count("/") == 1 and ask.path != "/" else super().visit(ask)

    def bin(self, ask: Ask) -> Answer:
        """The list of a bin: a page, or JSON if Accept names JSON alone."""
        if ask.header("Accept") != "application/json":
            return as_page("Filebin | " + ask.path[1:])
        bin = ask.path[1:]
        files = [
            {"filename": s.name, "bytes": s.size, "sha256": s.sha256}
            for s in ask.world.stored.values()
            if s.options.get("bin") == bin and not s.deleted
        ]
        about = {"bin": {"id": bin, "bytes": 0}, "files": files or None}
        if self.listed:
            self.listed(about)
        return as_json(about, 404 if bin in self.dead else 200)

    def gone(self, ask: Ask, stored: Stored) -> Optional[Answer]:
        dead = stored.deleted or stored.options["bin"] in self.dead
        return Answer(404, "The file does not exist\n") if dead else None

    def download(self, ask: Ask, stored: Stored) -> Answer:
        if not self.agents.match(ask.header("User-Agent")) and self.verified not in ask.header(
            "Cookie"
        ):
            return as_page("Warning: check this file before you download it")
        path = stored.url.partition("filebin.net/")[2]
        link = "https://%s/filebin/%s?X-Amz-Expires=60&X-Amz-Signature=%s" % (
            self.domains[1],
            path,
            "0" * 64,
        )
        return Answer(302, "", headers=[("Location", link), ("X-Robots-Tag", "noindex")])

    def storage(self, ask: Ask) -> Answer:
        """The S3 storage behind it: presigned GETs only; a HEAD has the wrong signature."""
        stored = ask.world.stored.find("https://filebin.net/" + ask.path.partition("/filebin/")[2])
        if ask.method == "HEAD" or "X-Amz-Signature" not in ask.query:
            return Answer(
                403, "<Error><Code>SignatureDoesNotMatch</Code></Error>", "application/xml"
            )
        if stored is None or stored.deleted:
            return Answer(404, "<Error><Code>NoSuchKey</Code></Error>", "application/xml")
        stored.hits += 1
        return as_download(stored, self.ranges)

    def delete(self, ask: Ask) -> Answer:
        stored = ask.world.stored.find(ask.url)
        if stored and not stored.deleted:
            stored.deleted = True
            return Answer(200, "File deleted successfully\n")
        bin = ask.path[1:]
        if bin in self.dead or not any(
            s.options.get("bin") == bin for s in ask.world.stored.values()
        ):
            return Answer(404, "not found\n")
        return self.delete_bin(ask, bin)

    def delete_bin(self, ask: Ask, bin: str) -> Answer:
        self.dead.add(bin)
        for stored in ask.world.stored.values():
            stored.deleted = stored.deleted or stored.options.get("bin") == bin
        return Answer(200, "Bin deleted successfully\n")


def md5_of(file):
    digest = hashlib.md5()
    for chunk in chunks_of(file.body)(0, file.size):
        digest.update(chunk)
    return digest


class Sendit(Host):
    """One download: the first GET or HEAD burns the file."""

    domains = ("sendit.sh",)
    fields = ("file",)
    limit = 3 * GB

    def upload(self, ask: Ask) -> Answer:
        name = unquote(ask.path[1:]) if ask.method == "PUT" else ask.file.name if ask.file else ""
        if not name or "/" in name or (ask.method == "POST" and ask.path != "/"):
            return Answer(404, "404 page not found\n")
        if self.too_big(ask):
            return Answer(413, "File too large\n")
        url = "%s/%s/%s" % (self.base(ask), random_id(5, LETTERS), quote(name))
        stored = ask.store(url, name, once=True)
        return Answer(
            200, "\nYour file can be downloaded once, within a day:\n\n    wget %s\n\n" % stored.url
        )


SUFFIXES = {
    "text/plain": ".txt",
    "image/png": ".png",
    "image/jpeg": ".jpg",
    "application/pdf": ".pdf",
    "text/csv": ".csv",
    "application/json": ".json",
    "text/html": ".html",
    "video/mp4": ".mp4",
    "application/gzip": ".gz",
    "text/markdown": ".md",
    "application/x-tar": ".tar",
    "image/gif": ".gif",
    "audio/mpeg": ".mp3",
    "application/zip": ".zip",
}


class Bashupload(Host):
    """The extension comes from Content-Type; one download, unless an expiry is wished."""

    domains = ("bashupload.app",)
    fields = ("file",)
    limit = 5 * GB
    longest = 86400

    def upload(self, ask: Ask) -> Answer:
        seconds = ask.header("X-Expiration-Seconds")
        if ask.file is None or self.too_big(ask):
            return Answer(413, "File too large\n")
        if seconds and not (seconds.isdigit() and 0 < int(seconds) <= self.longest):
            return Answer(400, "Invalid expiration time\n")
        content_type = (
            "text/plain" if ask.method == "POST" else ask.header("Content-Type").partition(";")[0]
        )
        url = "%s/%s%s" % (
            self.base(ask),
            random_id(8, LETTERS),
            SUFFIXES.get(content_type, ".bin"),
        )
        ask.store(
            url,
            "",
            type=content_type or "application/octet-stream",
            once=not seconds,
            options={"seconds": seconds},
        )
        return Answer(200, url + "\n")

    def page(self, ask: Ask) -> Answer:
        if ask.path == "/api/config":
            return as_json(
                {
                    "maxUploadSize": self.limit,
                    "maxAge": 3600,
                    "maxAgeForMultiDownload": self.longest,
                }
            )
        return super().page(ask)


class Termbin(Host):
    """Raw TCP: bytes in until half-close or a pause, a URL and a NUL out; stores up to a NUL."""

    domains = ("termbin.com",)
    raw_port = 9999
    limit = 32 * 1024
    idle = 5.0  # seconds

    def answer(self, ask: Ask) -> Answer:
        return self.keep(ask) if ask.method == "RAW" else super().answer(ask)

    def keep(self, ask: Ask) -> Answer:
        if not ask.file.size or self.too_big(ask) or ask.file.size > 32767:
            return Answer(200, "")
        text = ask.file.read().partition(b"\0")[0]
        url = "%s/%s" % (self.base(ask), random_id(4))
        stored = Stored(
            url, text, len(text), hashlib.sha256(text).hexdigest(), "", "text/plain; charset=utf-8"
        )
        ask.world.stored[url] = stored
        return Answer(200, url + "\n\0")


class TransferSh(Host):
    """A transfer.sh server, also with a password, and behind a proxy that reports http."""

    domains = ("drop.example.org",)
    fields = ("filedata", "file")
    limit: Optional[int] = None
    plain_http = True
    auth: Optional[Tuple[str, str]] = None  # user and password, for uploads
    delete_scheme = "https"

    @property
    def authorized(self) -> bool:
        return self.auth is not None

    def upload(self, ask: Ask) -> Answer:
        path = re.sub(r"^/(put|upload)/", "/", ask.path)
        name = unquote(path[1:]) if ask.method == "PUT" else ask.file.name if ask.file else ""
        if not self.known(ask):
            return Answer(
                401, "Not authorized\n", headers=[("WWW-Authenticate", 'Basic realm="Restricted"')]
            )
        if not name or "/" in name or (ask.method == "POST" and ask.path != "/"):
            return Answer(404, "404 page not found\n")
        if not ask.file.size:
            return Answer(400, "Could not upload empty file\n")
        if self.too_big(ask):
            return Answer(413, "Entity too large\n")
        return self.keep(ask, name)

    def known(self, ask: Ask) -> bool:
        if self.auth is None:
            return True
        right = "Basic " + base64.b64encode(("%s:%s" % self.auth).encode()).decode()
        return hmac.compare_digest(ask.header("Authorization"), right)

    def keep(self, ask: Ask, name: str) -> Answer:
        if len(name.encode()) > 255 - len(".metadata"):  # the file beside it on the disk
            return Answer(500, "Could not save metadata\n")
        path, delete, domain = (
            "%s/%s" % (random_id(6, LETTERS), quote(name)),
            random_id(12, LETTERS),
            self.domains[0],
        )
        url = "%s://%s/%s" % (ask.seen.scheme, domain, path)
        also = tuple(
            "https://%s/%s%s" % (domain, route, path)
            for route in ("", "get/", "inline/", "download/")
        )
        stored = ask.store(url, name, also=also, owner=delete, type=kind_of(name))
        stored.options["days"] = self.number(ask.header("Max-Days"))
        stored.options["downloads"] = self.number(ask.header("Max-Downloads"))
        link = "%s://%s/%s/%s" % (self.delete_scheme, domain, path, delete)
        return Answer(
            200,
            stored.url + ("\n" if ask.method == "POST" else ""),
            "text/plain",
            [("X-Url-Delete", link)],
        )

    @staticmethod
    def number(text: str) -> Optional[int]:
        """An expiry that is not a number is silently ignored."""
        return int(text) if re.fullmatch(r"[0-9]{1,9}", text) else None

    def gone(self, ask: Ask, stored: Stored) -> Optional[Answer]:
        most = stored.options["downloads"]
        dead = stored.deleted or (most is not None and stored.hits >= most)
        return Answer(404, "Not Found\n") if dead else None

    def download(self, ask: Ask, stored: Stored) -> Answer:
        if "text/html" in ask.header("Accept") and not re.match(
            "/(get|inline|download)/", ask.path
        ):
            return as_page("Preview of " + stored.name)
        stored.hits += ask.method == "GET"
        return as_download(stored, self.ranges, self.remaining(stored))

    @staticmethod
    def remaining(stored: Stored):
        days, most = stored.options["days"], stored.options["downloads"]
        left = [("X-Remaining-Downloads", "n/a" if most is None else str(most - stored.hits))]
        return left + [("X-Remaining-Days", "n/a" if days is None else str(days))]

    def delete(self, ask: Ask) -> Answer:
        url, _, token = ask.url.rpartition("/")
        stored = ask.world.stored.find(url)
        if stored is None or stored.deleted or token != stored.owner:
            return Answer(404, "Not Found\n")
        stored.deleted = True
        return Answer(200, "")


# 5 The registry -----------------------------------------------------------------------------------

FAMILIES = (
    Catbox,
    Litterbox,
    NullPointer,
    X0,
    Uguu,
    TmpfileLink,
    TmpfilesOrg,
    Pomf,
    Filebin,
    Sendit,
    Bashupload,
    Termbin,
    TransferSh,
)


def internet() -> Dict[str, Host]:
    """A fresh host for every domain; the domains of one host share it."""
    from internet.accounts import (
        FAMILIES as ACCOUNTS,  # the hosts of both are made from this module's
    )
    from internet.aws import FAMILIES as AWS

    families = (*FAMILIES, *ACCOUNTS, *AWS)
    return {domain: host for host in (family() for family in families) for domain in host.domains}
