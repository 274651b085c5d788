"""The hosts in the box with an account or several requests: Dropbox, fal, pixeldrain, storage.to.

Played as their SDKs and documentation describe them (Dropbox SDK 12.2.4, fal_client 1.0.3,
pixeldrain_web 2026-01-30, storageto/cli 2026-05-11), and strictly: what a real server refuses is
refused, and what a client should not do, such as a token that goes where it does not belong, is
complained about. test_references.py has the SDKs upload to these hosts.

Chapters: 1 Shapes of arguments, 2 Dropbox, 3 fal, 4 pixeldrain, 5 storage.to.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import itertools
import json
import re
from dataclasses import dataclass, field
from typing import Any, Callable, Dict, Iterable, List, Optional, Tuple
from urllib.parse import parse_qs, quote, unquote

from internet.box import (
    Answer,
    Ask,
    Stored,
    Upload,
    as_download,
    as_json,
    as_page,
    chunks_of,
    random_id,
)
from internet.hosts import Host, kind_of

MIB = 1024 * 1024


# 1 Shapes of arguments ----------------------------------------------------------------------------
# A shape is a type, a pattern, a dict of shapes (a name that ends in ? may be left out), or a tuple
# of alternatives.


def misshapen(value: Any, shape: Any, path: str = "the argument") -> str:
    """The problem of the value as a sentence; empty if it has the shape."""
    if isinstance(shape, tuple):
        return "" if any(not misshapen(value, s) for s in shape) else "%s is %r" % (path, value)
    if isinstance(shape, str):
        fits = isinstance(value, str) and re.fullmatch(shape, value, re.S)
        return "" if fits else "%s is %r" % (path, value)
    if isinstance(shape, type):
        return "" if type(value) is shape else "%s is %r, no %s" % (path, value, shape.__name__)
    return misshapen_fields(value, shape, path)


def misshapen_fields(value: Any, shape: Dict[str, Any], path: str) -> str:
    if not isinstance(value, dict):
        return "%s is %r, no object" % (path, value)
    known = {name.rstrip("?"): inner for name, inner in shape.items()}
    unknown, missing = (
        set(value) - set(known),
        {name for name in shape if name[-1] != "?"} - set(value),
    )
    if unknown or missing:
        return "%s: unknown %r, missing %r" % (path, sorted(unknown), sorted(missing))
    return next(filter(None, (misshapen(v, known[k], k) for k, v in value.items())), "")


def json_body(ask: Ask, shape: Any) -> Any:
    """The JSON that was posted, or None after a complaint."""
    if ask.header("Content-Type") != "application/json":
        ask.complain("the Content-Type of JSON is %r" % ask.header("Content-Type"))
    try:
        value = json.loads(ask.file.read())
    except ValueError:
        ask.complain("what should be JSON is none")
        return None
    wrong = misshapen(value, shape)
    if wrong:
        ask.complain(wrong)
    return None if wrong else value


def joined(pieces: Iterable[Upload], world) -> Upload:
    """The parts of a file as one."""
    return Upload.of(
        itertools.chain.from_iterable(chunks_of(p.body)(0, p.size) for p in pieces), world.new_file
    )


# 2 Dropbox ----------------------------------------------------------------------------------------

BLOCK = 4 * MIB
HASH = "[0-9a-f]{64}"
PATH = r"/.*|id:.+|ns:[0-9]+/.*"  # SDK 12.2.4, WritePath
COMMIT = {
    "path": PATH,
    "mode?": (
        "add|overwrite",
        {".tag": "add|overwrite"},
        {".tag": "update", "update": "[0-9a-f]{9,}"},
    ),
    "autorename?": bool,
    "client_modified?": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ",
    "mute?": bool,
    "strict_conflict?": bool,
}
CURSOR = {"session_id": str, "offset": int}
KIND = ("sequential|concurrent", {".tag": "sequential|concurrent"})
SETTINGS = {
    "expires?": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ",
    "audience?": ("public|team", {".tag": "public|team"}),
}


def content_hash(pieces: Iterable[bytes]) -> str:
    """Dropbox' own hash, reckoned byte by byte so that it shares nothing with the program's."""
    combined, block, size = hashlib.sha256(), hashlib.sha256(), 0
    for piece in pieces:
        while piece:
            part, piece = piece[: BLOCK - size], piece[BLOCK - size :]
            block.update(part)
            size += len(part)
            if size == BLOCK:
                combined.update(block.digest())
                block, size = hashlib.sha256(), 0
    if size:
        combined.update(block.digest())
    return combined.hexdigest()


@dataclass
class Session:
    """An upload in parts; `end` is where it will end, once a part has closed it."""

    concurrent: bool
    parts: Dict[int, Upload] = field(default_factory=dict)
    end: Optional[int] = None

    @property
    def size(self) -> int:
        return sum(part.size for part in self.parts.values())

    def lacks(self) -> bool:
        """Whether there is a hole."""
        at = 0
        for start in sorted(self.parts):
            if start != at:
                return True
            at += self.parts[start].size
        return at != self.end


@dataclass
class Entry:
    """A file in the Dropbox."""

    path: str
    file: Upload
    hash: str
    modified: str
    rev: str = field(default_factory=lambda: random_id(14, "0123456789abcdef"))
    link: Optional[Stored] = None


class Dropbox(Host):
    """One account, its files and its links; what its owner may do are switches."""

    domains = (
        "api.dropboxapi.com",
        "content.dropboxapi.com",
        "www.dropbox.com",
        "uc7.dl.dropboxusercontent.com",
    )
    authorized = True
    empty = True
    app_key, app_secret, refresh = "app-key", None, "refresh-good"  # type: str, Optional[str], str
    request_limit = 150 * MIB
    scopes = (
        "files.content.write",
        "files.content.read",
        "files.metadata.read",
        "sharing.write",
        "sharing.read",
    )
    read_only = ""  # a folder into which this account may not write
    space: Optional[int] = None
    may_share = True
    email_verified = True
    links_may_expire = True
    tells_existing = True  # False: shared_link_already_exists comes without the link
    visibility = "public"  # of new links
    lies = False  # True: the content_hash in its answers is another one
    keeps_at_most: Optional[int] = None  # of the next part only so much arrives
    disallowed = ("desktop.ini", "thumbs.db", ".ds_store", ".dropbox", ".dropbox.attr")

    def __init__(self):
        self.tokens, self.expired, self.revoked, self.issued = {"sl.good"}, set(), False, 0
        self.entries: Dict[str, Entry] = {}
        self.folders: List[str] = []
        self.sessions: Dict[str, Session] = {}
        self.errors: Dict[
            str, List[Any]
        ] = {}  # by function: what it will say instead, one after the other

    def is_upload(self, ask: Ask) -> bool:
        return ask.domain == self.domains[1] and ask.path in (
            "/2/files/upload",
            "/2/files/upload_session/append_v2",
        )

    def upload(self, ask: Ask) -> Answer:
        if ask.path == "/oauth2/token" and ask.domain == self.domains[0]:
            return self.token(ask)
        route = self.routes().get((ask.domain, ask.path[3:]))
        if ask.method != "POST" or not route or ask.query:
            ask.complain("there is no such function")
            return Answer(404, "Unknown API function\n")
        call, scope, shape = route
        return self.refused(ask, scope) or self.call(ask, call, shape)

    def routes(self) -> Dict[Tuple[str, str], Tuple[Callable[..., Answer], str, Any]]:
        api, content = self.domains[:2]
        finish = {"cursor": CURSOR, "commit": COMMIT, "content_hash?": HASH}
        return {
            (content, "files/upload"): (
                self.upload_small,
                "files.content.write",
                {**COMMIT, "content_hash?": HASH},
            ),
            (content, "files/upload_session/start"): (
                self.start,
                "files.content.write",
                {"close?": bool, "session_type?": KIND, "content_hash?": HASH},
            ),
            (content, "files/upload_session/append_v2"): (
                self.append,
                "files.content.write",
                {"cursor": CURSOR, "close?": bool, "content_hash?": HASH},
            ),
            (content, "files/upload_session/finish"): (self.finish, "files.content.write", finish),
            (api, "files/delete_v2"): (self.delete_v2, "files.content.write", {"path": PATH}),
            (api, "files/get_metadata"): (self.metadata, "files.metadata.read", {"path": PATH}),
            (api, "sharing/create_shared_link_with_settings"): (
                self.share,
                "sharing.write",
                {"path": PATH, "settings?": SETTINGS},
            ),
            (api, "sharing/list_shared_links"): (
                self.links,
                "sharing.read",
                {"path?": PATH, "direct_only?": bool},
            ),
        }

    # Who asks, and what

    def token(self, ask: Ask) -> Answer:
        body = parse_qs(ask.file.read().decode(), True)
        if (
            ask.head.all("Authorization")
            or ask.header("Content-Type") != "application/x-www-form-urlencoded"
        ):
            ask.complain("the token is asked for in the wrong way")
        if set(body) - {"client_secret"} != {"grant_type", "refresh_token", "client_id"}:
            ask.complain("the fields of the form are %r" % sorted(body))
        secret = body.get("client_secret", [None])[0]
        if body.get("client_id") != [self.app_key] or (self.app_secret or secret) != secret:
            return as_json({"error": "invalid_client: Invalid client_id or client_secret"}, 400)
        if body.get("refresh_token") != [self.refresh] or self.revoked:
            return as_json(
                {
                    "error": "invalid_grant",
                    "error_description": "refresh token is invalid or revoked",
                },
                400,
            )
        self.issued += 1
        fresh = "sl.fresh-%d" % self.issued
        self.tokens.add(fresh)
        return as_json({"access_token": fresh, "token_type": "bearer", "expires_in": 14400})

    def refused(self, ask: Ask, scope: str) -> Optional[Answer]:
        scheme, _, token = ask.header("Authorization").partition(" ")
        if scheme != "Bearer" or not token:
            ask.complain("there is no token")
            return Answer(
                400,
                "Error in call to API function: "
                'Invalid authorization value in HTTP header "Authorization".',
            )
        if token not in self.tokens:
            tag = "expired_access_token" if token in self.expired else "invalid_access_token"
            return as_json({"error_summary": tag + "/...", "error": {".tag": tag}}, 401)
        if scope not in self.scopes:
            error = {".tag": "missing_scope", "required_scope": scope}
            return as_json({"error_summary": "missing_scope/...", "error": error}, 401)
        return None

    def expire(self, token: str) -> None:
        self.tokens.discard(token)
        self.expired.add(token)

    def call(self, ask: Ask, call: Callable[..., Answer], shape: Any) -> Answer:
        prepared = self.errors.get(ask.path[3:])
        arg = self.argument(ask, shape) if ask.domain == self.domains[1] else json_body(ask, shape)
        if prepared:
            return prepared.pop(0)
        if arg is None:
            return Answer(
                400,
                'Error in call to API function "%s": request body: could not be read'
                % ask.path[3:],
            )
        return call(ask, arg)

    def argument(self, ask: Ask, shape: Any) -> Any:
        """What the header tells: JSON in printable ASCII, not even a DEL."""
        text = ask.header("Dropbox-API-Arg")
        if ask.header("Content-Type") != "application/octet-stream" or not re.fullmatch(
            "[ -~]+", text
        ):
            ask.complain("Content-Type or Dropbox-API-Arg: %r" % text)
        try:
            value = json.loads(text)
        except ValueError:
            ask.complain("Dropbox-API-Arg is no JSON: %r" % text)
            return None
        wrong = misshapen(value, shape)
        if wrong:
            ask.complain(wrong)
        return None if wrong else value

    # Files

    def upload_small(self, ask: Ask, arg: Any) -> Answer:
        if ask.file.size > self.request_limit:
            return fault("payload_too_large")
        digest = content_hash(chunks_of(ask.file.body)(0, ask.file.size))
        if arg.pop("content_hash", digest) != digest:
            return fault("content_hash_mismatch")
        wrong = self.wrong(arg, ask.file, digest)
        if wrong:
            error = {
                ".tag": "path",
                "reason": nested(wrong, {}),
                "upload_session_id": "pid_upload_session:x",
            }
            return as_json({"error_summary": "path/%s/..." % "/".join(wrong), "error": error}, 409)
        return as_json(self.about(self.keep(arg, ask.file, digest)))

    def wrong(self, commit: Any, file: Upload, digest: str) -> Tuple[str, ...]:
        """The tags of what stands against it."""
        path, mode = commit["path"].lower(), commit.get("mode", "add")
        if not re.fullmatch(r"(?s)/.*|ns:[0-9]+(/.*)?", path):
            return ("malformed_path",)
        parents = ["/".join(path.split("/")[:n]) for n in range(2, path.count("/") + 1)]
        old = self.entries.get(path)
        same = old and old.hash == digest and not commit.get("strict_conflict")
        checks = (
            (("malformed_path",), re.search(r"//|/\.{1,2}(/|$)|/$|[\x00-\x1f]", path)),
            (("disallowed_name",), path.rpartition("/")[2] in self.disallowed),
            (
                ("no_write_permission",),
                self.read_only and path.startswith(self.read_only.lower() + "/"),
            ),
            (("conflict", "folder"), path in map(str.lower, self.folders)),
            (("conflict", "file_ancestor"), any(parent in self.entries for parent in parents)),
            (
                ("conflict", "file"),
                old
                and mode in ("add", {".tag": "add"})
                and not same
                and not commit.get("autorename"),
            ),
            (("insufficient_space",), self.space is not None and file.size > self.space),
            (("insufficient_space",), self.limit is not None and file.size > self.limit),
        )
        return next((tags for tags, wrong in checks if wrong), ())

    def keep(self, commit: Any, file: Upload, digest: str) -> Entry:
        path, old = commit["path"], self.entries.get(commit["path"].lower())
        if old and old.hash == digest:
            return old
        if old and commit.get("mode", "add") == "add":  # and autorename
            stem, dot, extension = path.rpartition(".")
            path = "%s (1)%s%s" % (stem, dot, extension) if dot else path + " (1)"
            old = None
        entry = Entry(path, file, digest, commit.get("client_modified", "2026-11-25T00:00:00Z"))
        if old and old.link:
            entry.link = old.link  # it leads to the file, whatever is in it
            entry.link.body, entry.link.size, entry.link.sha256 = file.body, file.size, file.sha256
        self.entries[path.lower()] = entry
        return entry

    def about(self, entry: Entry) -> Dict[str, Any]:
        shown = {
            "name": entry.path.rpartition("/")[2],
            "path_lower": entry.path.lower(),
            "path_display": entry.path,
            "id": "id:%s" % entry.rev,
            "client_modified": entry.modified,
            "server_modified": "2026-11-25T00:00:00Z",
            "rev": entry.rev,
            "size": entry.file.size,
            "is_downloadable": True,
            "content_hash": entry.hash if not self.lies else "0" * 64,
        }
        if entry.path.startswith("ns:"):  # not mounted
            del shown["path_display"], shown["path_lower"]
        return shown

    def metadata(self, ask: Ask, arg: Any) -> Answer:
        entry = self.entries.get(arg["path"].lower())
        return (
            as_json({".tag": "file", **self.about(entry)}) if entry else fault("path", "not_found")
        )

    def delete_v2(self, ask: Ask, arg: Any) -> Answer:
        entry = self.entries.pop(arg["path"].lower(), None)
        if not entry:
            return fault("path_lookup", "not_found")
        if entry.link:
            entry.link.deleted = True
        return as_json({"metadata": {".tag": "file", **self.about(entry)}})

    # Sessions

    def start(self, ask: Ask, arg: Any) -> Answer:
        concurrent = arg.get("session_type", "sequential") in ("concurrent", {".tag": "concurrent"})
        if concurrent and ask.file.size:
            return fault("concurrent_session_data_not_allowed")
        if concurrent and arg.get("close"):
            return fault("concurrent_session_close_not_allowed")
        name, session = random_id(24), Session(concurrent, {} if concurrent else {0: ask.file})
        if arg.get("close"):
            session.end = session.size
        self.sessions[name] = session
        return as_json({"session_id": name})

    def append(self, ask: Ask, arg: Any) -> Answer:
        session, at, size = (
            self.sessions.get(arg["cursor"]["session_id"]),
            arg["cursor"]["offset"],
            ask.file.size,
        )
        if session is None:
            return fault("not_found")
        close = arg.get("close", False)
        checks = (
            (fault("payload_too_large"), size > self.request_limit),
            (fault("concurrent_session_invalid_offset"), session.concurrent and at % BLOCK),
            (
                fault("concurrent_session_invalid_data_size"),
                session.concurrent and size % BLOCK and not close,
            ),
            (self.offset(session.size), not session.concurrent and at != session.size),
            (self.offset(at + size), at in session.parts and session.parts[at].size == size),
            (
                fault("closed"),
                session.end is not None and (not session.concurrent or at + size > session.end),
            ),
        )
        return next((answer for answer, wrong in checks if wrong), None) or self.take(
            ask, session, at, close
        )

    @staticmethod
    def offset(correct: int) -> Answer:
        error = {".tag": "incorrect_offset", "correct_offset": correct}
        return as_json({"error_summary": "incorrect_offset/..", "error": error}, 409)

    def take(self, ask: Ask, session: Session, at: int, close: bool) -> Answer:
        if self.keeps_at_most is not None:
            most, self.keeps_at_most = self.keeps_at_most, None
            part = Upload.of([ask.file.read()[:most]], ask.world.new_file)
            session.parts[at] = part
            return self.offset(at + part.size)
        session.parts[at] = ask.file
        if close:
            session.end = at + ask.file.size
        return as_json(None)

    def finish(self, ask: Ask, arg: Any) -> Answer:
        name, offset = arg["cursor"]["session_id"], arg["cursor"]["offset"]
        session = self.sessions.get(name)
        if session is None:
            return fault("lookup_failed", "not_found")
        if session.concurrent and ask.file.size:
            return fault("concurrent_session_data_not_allowed")
        if session.concurrent and session.end is None:
            return fault("concurrent_session_not_closed")
        if session.concurrent and session.lacks():
            return fault("concurrent_session_missing_data")
        if offset != session.size:
            return fault("lookup_failed", "incorrect_offset", correct_offset=session.size)
        if ask.file.size:
            session.parts[offset] = ask.file
        joined_file = joined([session.parts[start] for start in sorted(session.parts)], ask.world)
        digest = content_hash(chunks_of(joined_file.body)(0, joined_file.size))
        wrong = self.wrong(arg["commit"], joined_file, digest)
        if wrong:
            return fault("path", *wrong)
        del self.sessions[name]
        return as_json(self.about(self.keep(arg["commit"], joined_file, digest)))

    # Links

    def share(self, ask: Ask, arg: Any) -> Answer:
        entry, settings = self.entries.get(arg["path"].lower()), arg.get("settings")
        if entry is None:
            return fault("path", "not_found")
        checks = (
            (fault("email_not_verified"), not self.email_verified),
            (fault("access_denied"), not self.may_share),
            (fault("settings_error", "invalid_settings"), settings == {}),
            (fault("settings_error", "not_authorized"), settings and not self.links_may_expire),
        )
        refusal = next((answer for answer, wrong in checks if wrong), None)
        if refusal or not entry.link:
            return refusal or as_json(self.about_link(self.linked(ask, entry, settings or {})))
        if not self.tells_existing:
            return fault("shared_link_already_exists")
        metadata = {".tag": "metadata", "metadata": self.about_link(entry)}
        error = {".tag": "shared_link_already_exists", "shared_link_already_exists": metadata}
        return as_json(
            {"error_summary": "shared_link_already_exists/metadata/..", "error": error}, 409
        )

    def linked(self, ask: Ask, entry: Entry, settings: Any) -> Entry:
        name = entry.path.rpartition("/")[2]
        url = "https://www.dropbox.com/scl/fi/%s/%s?rlkey=%s&st=%s" % (
            random_id(15),
            quote(name, safe=""),
            random_id(25),
            random_id(8),
        )
        file = entry.file
        entry.link = Stored(
            url + "&dl=1",
            file.body,
            file.size,
            file.sha256,
            name,
            kind_of(name),
            options=dict(settings),
        )
        ask.world.stored[entry.link.url] = entry.link
        return entry

    def about_link(self, entry: Entry) -> Dict[str, Any]:
        return {
            ".tag": "file",
            "url": entry.link.url[:-1] + "0",
            "id": "id:%s" % entry.rev,
            "name": entry.link.name,
            "path_lower": entry.path.lower(),
            "client_modified": entry.modified,
            "server_modified": entry.modified,
            "rev": entry.rev,
            "size": entry.file.size,
            **entry.link.options,
            "link_permissions": {
                "can_revoke": True,
                "visibility_policies": [],
                "can_set_expiry": True,
                "can_remove_expiry": True,
                "allow_download": True,
                "can_allow_download": True,
                "can_disallow_download": True,
                "allow_comments": True,
                "team_restricts_comments": False,
                "resolved_visibility": {".tag": self.visibility},
            },
        }

    def links(self, ask: Ask, arg: Any) -> Answer:
        if not arg.get("direct_only"):
            ask.complain("without direct_only the links of the folders come too")
        entry = self.entries.get(arg.get("path", "").lower())
        links = [self.about_link(entry)] if entry and entry.link else []
        return as_json({"links": links, "has_more": False})

    def visit(self, ask: Ask) -> Answer:
        """dl=1 leads to the file, anything else to a page about it."""
        if ask.head.all("Authorization"):
            ask.complain("the token goes to everybody")
        stored = ask.world.stored.find(
            "https://www.dropbox.com" + ask.head.target.replace("/cd/0/get", "/scl/fi")
        )
        if stored is None or stored.deleted:
            return (
                as_page("Dropbox - 404", 404)
                if "dl=0" not in ask.head.target
                else as_page("a file on Dropbox")
            )
        if self.visibility != "public":
            return as_page("Log in to Dropbox")
        if ask.domain == self.domains[2]:
            location = ask.head.target.replace("/scl/fi", "/cd/0/get")
            return Answer(
                302, "", headers=[("Location", "https://%s%s" % (self.domains[3], location))]
            )
        return self.download(ask, stored)


def fault(*tags: str, **more: Any) -> Answer:
    """A 409 with its tags one in the other, as Stone writes them."""
    return as_json({"error_summary": "/".join(tags) + "/...", "error": nested(tags, more)}, 409)


def nested(tags: Tuple[str, ...], more: Dict[str, Any]) -> Dict[str, Any]:
    first, *rest = tags
    return {".tag": first, first: nested(tuple(rest), more)} if rest else {".tag": first, **more}


# 3 fal --------------------------------------------------------------------------------------------

FAL_ABOUT = {"file_name": str, "content_type": "[a-z]+/[a-z0-9.+-]+"}


class Fal(Host):
    """Upload with a token of the CDN, or by a signed URL at Google.

    Files up to 100 MiB take one request, larger ones are uploaded in parts.
    """

    domains = ("v3.fal.media", "rest.fal.ai", "v3b.fal.media", "storage.googleapis.com")
    authorized = True
    empty = True
    key = "f-id:f-secret"
    direct = True  # False: the CDN takes nothing
    uses: Optional[int] = None  # how often a token serves

    def __init__(self):
        self.tokens: Dict[str, int] = {}
        self.multiparts: Dict[str, Dict[int, Upload]] = {}
        self.about: Dict[str, Dict[str, str]] = {}  # by upload id, or by the path of a signed place

    def is_upload(self, ask: Ask) -> bool:
        return (
            (ask.domain, ask.method) == (self.domains[3], "PUT")
            or ask.path == "/files/upload"
            or "/multipart/" in ask.path
        )

    def upload(self, ask: Ask) -> Answer:
        media, rest, base, storage = self.domains
        if ask.domain == rest:
            return self.rest(ask)
        if ask.domain == storage and ask.method == "PUT":
            return self.put(ask)
        refusal = self.refused(ask)
        if refusal:
            return refusal
        if ask.domain == media and ask.method == "POST" and ask.path == "/files/upload":
            return self.upload_small(ask)
        if ask.domain == base and ask.method == "POST" and ask.path == "/files/upload/multipart":
            return self.begin(ask)
        match = re.fullmatch(r"(/files/.+)/multipart/(\w+)/(\d+|complete)", ask.path)
        if not match or ask.domain != media or match.group(2) not in self.multiparts:
            return as_json({"detail": "Not Found"}, 404)
        return self.part(ask, *match.groups()[1:])

    # The key

    def rest(self, ask: Ask) -> Answer:
        if ask.header("Authorization") != "Key " + self.key:
            return as_json({"detail": "No user found for Key ID and Secret"}, 401)
        if ask.path == "/storage/auth/token" and ask.query == {"storage_type": ["fal-cdn-v3"]}:
            json_body(ask, {})
            token = random_id(30)
            self.tokens[token] = 0
            response = {
                "token": token,
                "token_type": "Bearer",
                "base_url": "https://" + self.domains[2],
            }
            return as_json({**response, "expires_at": "2099-01-01T00:00:00+00:00"})
        if ask.path == "/storage/upload/initiate" and ask.query == {"storage_type": ["gcs"]}:
            return self.initiate(ask)
        ask.complain("there is no such function")
        return as_json({"detail": "Not Found"}, 404)

    def refused(self, ask: Ask) -> Optional[Answer]:
        """Only the token opens the CDN; the key must not come here."""
        scheme, _, token = ask.header("Authorization").partition(" ")
        if scheme != "Bearer" or token not in self.tokens:
            ask.complain("the Authorization at the CDN begins with %r" % scheme)
            return as_json({"detail": "Unauthorized"}, 401)
        self.tokens[token] += 1
        return (
            as_json({"detail": "Token expired"}, 401)
            if self.uses and self.tokens[token] > self.uses
            else None
        )

    # The CDN

    def upload_small(self, ask: Ask) -> Answer:
        if not self.direct:
            return as_json({"detail": "Not Found"}, 404)
        if self.too_big(ask) or ask.file.size > 100 * MIB:
            return as_json({"detail": "Payload Too Large"}, 413)
        return as_json({"access_url": self.keep(ask, ask.file, self.described(ask)).url})

    def described(self, ask: Ask) -> Dict[str, str]:
        """What the headers say of the file; its life is a duration in JSON."""
        name, content_type, life = (
            ask.header("X-Fal-File-Name"),
            ask.header("Content-Type"),
            ask.header("X-Fal-Object-Lifecycle"),
        )
        if not name or not re.fullmatch("[a-z]+/[a-z0-9.+-]+", content_type):
            ask.complain("the file is %r of type %r" % (name, content_type))
        if life and misshapen(
            json.loads(life), {"expiration_duration_seconds": int, "initial_acl?": dict}
        ):
            ask.complain("the lifecycle is %r" % life)
        return {"name": name, "type": content_type, "life": life}

    def keep(self, ask: Ask, file: Upload, about: Dict[str, str], url: str = "") -> Stored:
        url = url or self.url_for(about["name"])
        options = (
            {"life": json.loads(about["life"])["expiration_duration_seconds"]}
            if about["life"]
            else {}
        )
        stored = Stored(
            url, file.body, file.size, file.sha256, about["name"], about["type"], options=options
        )
        ask.world.stored[url] = stored
        return stored

    @staticmethod
    def url_for(name: str) -> str:
        return "https://v3.fal.media/files/panda/%s_%s" % (random_id(21), quote(name, safe=""))

    def begin(self, ask: Ask) -> Answer:
        about, upload_id = self.described(ask), random_id(20)
        if ask.file.size:
            ask.complain("the begin of a multipart upload has a body")
        self.multiparts[upload_id], self.about[upload_id] = {}, about
        about["url"] = self.url_for(about["name"])
        return as_json({"access_url": about["url"], "uploadId": upload_id})

    def part(self, ask: Ask, upload_id: str, step: str) -> Answer:
        if step == "complete":
            return self.complete(ask, upload_id)
        if ask.method != "PUT" or ask.header("Content-Type") != self.about[upload_id]["type"]:
            ask.complain("a part comes as %s of type %r" % (ask.method, ask.header("Content-Type")))
        self.multiparts[upload_id][int(step)] = ask.file
        tag = (
            [("ETag", '"%s"' % ask.file.sha256[:32])]
            if ask.header("Accept-Encoding") == "identity"
            else []
        )
        return Answer(200, "", headers=tag)

    def complete(self, ask: Ask, upload_id: str) -> Answer:
        fields = json_body(ask, {"parts": list})
        parts, about = self.multiparts[upload_id], self.about[upload_id]
        wanted = [
            {"partNumber": n, "etag": '"%s"' % part.sha256[:32]}
            for n, part in sorted(parts.items())
        ]
        if fields is None or sorted(fields["parts"], key=lambda part: part["partNumber"]) != wanted:
            return as_json({"detail": "the parts are not those that were sent"}, 400)
        if sorted(parts) != list(range(1, len(parts) + 1)) or any(
            parts[n].size < 5 * MIB for n in sorted(parts)[:-1]
        ):
            return as_json({"detail": "a part is missing or too small"}, 400)
        self.keep(ask, joined([parts[n] for n in sorted(parts)], ask.world), about, about["url"])
        return as_json({"access_url": about["url"]})

    # The signed place

    def initiate(self, ask: Ask) -> Answer:
        fields = json_body(ask, FAL_ABOUT)
        if fields is None:
            return as_json({"detail": "Unprocessable"}, 422)
        path = "/fal-uploads/%s" % random_id(20)
        life = ask.header("X-Fal-Object-Lifecycle-Preference")
        url = self.url_for(fields["file_name"])
        self.about[path] = {
            "name": fields["file_name"],
            "type": fields["content_type"],
            "life": life,
            "url": url,
        }
        return as_json(
            {
                "upload_url": "https://%s%s?X-Goog-Signature=5161" % (self.domains[3], path),
                "file_url": url,
            }
        )

    def put(self, ask: Ask) -> Answer:
        about = self.about.get(ask.path)
        if ask.head.all("Authorization"):
            ask.complain("the key goes to the storage")
        if (
            about is None
            or ask.query.get("X-Goog-Signature") != ["5161"]
            or ask.header("Content-Type") != about["type"]
        ):
            return Answer(
                403, "<Error><Code>SignatureDoesNotMatch</Code></Error>", "application/xml"
            )
        if self.too_big(ask):
            return Answer(413, "<Error><Code>EntityTooLarge</Code></Error>", "application/xml")
        self.keep(ask, ask.file, about, about["url"])
        return Answer(200, "")


# 4 pixeldrain -------------------------------------------------------------------------------------


class Pixeldrain(Host):
    """A key as the password; the hash in the information about the file is the proof."""

    domains = ("pixeldrain.com",)
    authorized = True
    key = "pd-key"
    captcha = False  # True: the link of a free account that is too popular
    tells_hash = True
    lies = False

    def is_upload(self, ask: Ask) -> bool:
        return ask.method in ("POST", "PUT") and ask.path.startswith("/api/file")

    @staticmethod
    def no(status: int, value: str, message: str) -> Answer:
        return as_json({"success": False, "value": value, "message": message}, status)

    def refused(self, ask: Ask) -> Optional[Answer]:
        authorization = ask.header("Authorization")
        if not authorization:
            return self.no(401, "authentication_required", "You are not logged in")
        right = "Basic " + base64.b64encode((":" + self.key).encode()).decode()
        return (
            None
            if hmac.compare_digest(authorization, right)
            else self.no(401, "authentication_failed", "The API key is invalid")
        )

    def upload(self, ask: Ask) -> Answer:
        name = unquote(ask.path[len("/api/file/") :])
        checks = (
            (
                as_page("404", 404),
                ask.method != "PUT" or not re.fullmatch("/api/file/[^/]+", ask.path),
            ),
            (self.refused(ask), self.refused(ask)),
            (self.no(413, "name_too_long", "The file name is too long"), len(name.encode()) > 255),
            (self.no(422, "no_file", "The file is empty"), not ask.file.size),
            (
                self.no(413, "file_too_large", "The file you tried to upload is too large"),
                self.too_big(ask),
            ),
        )
        return next((answer for answer, wrong in checks if wrong), None) or self.keep(ask, name)

    def keep(self, ask: Ask, name: str) -> Answer:
        name_id = random_id(8)
        ask.store("https://pixeldrain.com/api/file/" + name_id, name, type=kind_of(name))
        return as_json({"success": True, "id": name_id}, 201)

    def visit(self, ask: Ask) -> Answer:
        base, _, step = ask.path.partition("/info")
        stored = ask.world.stored.find("https://pixeldrain.com" + base)
        if stored and not stored.deleted and ask.path.endswith("/info") and not step:
            return self.refused(ask) or as_json(self.about(stored, base))
        if self.captcha and stored:
            return self.no(
                403, "file_rate_limited_captcha_required", "This file is using too much bandwidth"
            )
        return super().visit(ask)

    def about(self, stored: Stored, base: str) -> Dict[str, Any]:
        info = (
            {"hash_sha256": stored.sha256 if not self.lies else "0" * 64} if self.tells_hash else {}
        )
        return {"id": base.rpartition("/")[2], "name": stored.name, "size": stored.size, **info}

    def delete(self, ask: Ask) -> Answer:
        stored = ask.world.stored.find(ask.url)
        if self.refused(ask) or stored is None or stored.deleted:
            return self.refused(ask) or self.no(
                404, "not_found", "The entity you requested could not be found"
            )
        stored.deleted = True
        return as_json({"success": True, "value": "file_deleted"})


# 5 storage.to -------------------------------------------------------------------------------------

TO_ABOUT = {"filename": str, "content_type": str, "size": int}


class StorageTo(Host):
    """Three steps: init returns a URL at Cloudflare's R2, the bytes go there, confirm links."""

    domains = ("storage.to", "u7.r2.cloudflarestorage.com")
    single = 5 * 10**9  # larger files go in parts
    part_size = 50 * MIB
    first_urls = 2  # so many places for parts come with the answer to init
    limit: Optional[int] = 25 * 10**9
    resets: Optional[int] = None  # seconds until the next upload is allowed

    def __init__(self):
        # every value in a list
        self.signed = {
            "Host": [self.domains[1]],
            "x-amz-meta-origin": ["web"],
        }
        self.visitors: set = set()
        self.owners: Dict[str, str] = {}  # by file, the token for its settings
        self.days: Dict[str, int] = {}  # by file, where the default was changed
        self.plans: Dict[str, Dict[str, Any]] = {}  # by key
        self.objects: Dict[str, Upload] = {}
        self.multiparts: Dict[str, Tuple[str, Dict[int, Upload]]] = {}
        self.aborted: List[str] = []

    def is_upload(self, ask: Ask) -> bool:
        return (ask.domain, ask.method) == (self.domains[1], "PUT")

    def upload(self, ask: Ask) -> Answer:
        if self.is_upload(ask):
            return self.put(ask)
        steps = {
            "init": (self.init, TO_ABOUT),
            "confirm": (self.confirm, {**TO_ABOUT, "r2_key": str, "crc32?": int}),
            "parts": (self.parts, {"upload_id": str, "part_numbers": list}),
            "abort": (self.abort, {"upload_id": str}),
            "complete-multipart": (self.complete, {"upload_id": str, "parts": list}),
        }
        if re.fullmatch(r"/api/file/\w+/expiry", ask.path):
            return self.by_owner(ask, self.expiry, json_body(ask, {"days": int}))
        step = (
            steps.get(ask.path.replace("/api/upload/", ""))
            if ask.domain == self.domains[0]
            else None
        )
        if not step or ask.method != "POST":
            ask.complain("there is no such function")
            return as_json({"message": "Not Found"}, 404)
        call, shape = step
        fields = json_body(ask, shape)
        return (
            self.no(422, "The given data was invalid.")
            if fields is None
            else self.by_owner(ask, call, fields)
        )

    def by_owner(self, ask: Ask, call: Callable[..., Answer], fields: Any) -> Answer:
        """Each step must have the visitor token of the first one."""
        visitor = ask.header("X-Visitor-Token")
        if not re.fullmatch("[0-9a-f-]{32,36}", visitor):
            ask.complain("the visitor's token is %r" % visitor)
        if ask.path.endswith("/init"):
            self.visitors.add(visitor)
        elif visitor not in self.visitors:
            return self.no(403, "You do not own this upload.")
        return call(ask, fields)

    @staticmethod
    def no(status: int, text: str) -> Answer:
        return as_json({"success": False, "error": text}, status)

    def init(self, ask: Ask, fields: Any) -> Answer:
        if self.resets:
            more = {"limit": 20, "used": 20, "resets_in_seconds": self.resets}
            return as_json({"error": "Daily upload limit reached", **more}, 429)
        if not fields["size"] or (self.limit and fields["size"] > self.limit):
            return self.no(413, "The file is too large.")
        key = "uploads/" + random_id(20)
        self.plans[key] = fields
        if fields["size"] <= self.single:
            url = self.url_for(key)
            return as_json(
                {
                    "success": True,
                    "type": "single",
                    "upload_url": url,
                    "r2_key": key,
                    "headers": self.signed,
                }
            )
        upload_id, total = random_id(16), -(-fields["size"] // self.part_size)
        self.multiparts[upload_id] = (key, {})
        urls = {
            str(n): self.url_for(key, upload_id, n)
            for n in range(1, min(self.first_urls, total) + 1)
        }
        plan = {
            "upload_id": upload_id,
            "r2_key": key,
            "part_size": self.part_size,
            "total_parts": total,
        }
        return as_json({"success": True, "type": "multipart", **plan, "initial_urls": urls})

    def url_for(self, key: str, upload_id: str = "", number: int = 0) -> str:
        part = "&uploadId=%s&partNumber=%d" % (upload_id, number) if upload_id else ""
        return "https://%s/%s?X-Amz-Signature=%s%s" % (self.domains[1], key, "5" * 64, part)

    def put(self, ask: Ask) -> Answer:
        key, foreign = (
            ask.path[1:],
            [name for name in ("Authorization", "X-Visitor-Token") if ask.head.all(name)],
        )
        if foreign:
            ask.complain("the storage is told %r" % foreign)
        if "X-Amz-Signature" not in ask.query or key not in self.plans:
            return Answer(
                403, "<Error><Code>SignatureDoesNotMatch</Code></Error>", "application/xml"
            )
        tag = [("ETag", '"%s"' % ask.file.sha256[:32])]
        if "uploadId" in ask.query:
            _, parts = self.multiparts[ask.query["uploadId"][0]]
            parts[int(ask.query["partNumber"][0])] = ask.file
            return Answer(200, "", headers=tag)
        if (
            ask.header("Content-Type") != self.plans[key]["content_type"]
            or ask.header("x-amz-meta-origin") != "web"
        ):
            return Answer(
                403, "<Error><Code>SignatureDoesNotMatch</Code></Error>", "application/xml"
            )
        self.objects[key] = ask.file
        return Answer(200, "", headers=tag)

    def parts(self, ask: Ask, fields: Any) -> Answer:
        key = self.multiparts[fields["upload_id"]][0]
        if len(fields["part_numbers"]) > 50:
            return self.no(422, "Too many part numbers.")
        urls = {
            str(number): self.url_for(key, fields["upload_id"], number)
            for number in fields["part_numbers"]
        }
        return as_json({"success": True, "urls": urls})

    def complete(self, ask: Ask, fields: Any) -> Answer:
        key, parts = self.multiparts[fields["upload_id"]]
        wanted = [{"partNumber": n, "etag": part.sha256[:32]} for n, part in sorted(parts.items())]
        if fields["parts"] != wanted:
            return self.no(422, "The parts are not those that were sent.")
        self.objects[key] = joined([parts[n] for n in sorted(parts)], ask.world)
        return as_json({"success": True})

    def abort(self, ask: Ask, fields: Any) -> Answer:
        self.aborted.append(fields["upload_id"])
        return as_json({"success": True})

    def confirm(self, ask: Ask, fields: Any) -> Answer:
        key, file = fields.pop("r2_key"), self.objects.get(fields.get("r2_key", ""))
        file = self.objects.get(key)
        if self.plans.get(key) != fields or file is None or file.size != fields["size"]:
            return self.no(422, "The upload could not be confirmed.")
        file_id = random_id(9)
        url = "https://storage.to/r/" + file_id
        stored = Stored(
            url, file.body, file.size, file.sha256, fields["filename"], fields["content_type"]
        )
        ask.world.stored[url] = stored
        about = {
            "id": file_id,
            "url": "https://storage.to/" + file_id,
            "raw_url": url,
            "filename": stored.name,
        }
        more = {"size": stored.size, "human_size": "some", "expires_at": "2026-11-28T00:00:00Z"}
        self.owners[file_id] = owner = random_id(40)
        return as_json({"success": True, "file": {**about, **more}, "owner_token": owner})

    def delete(self, ask: Ask) -> Answer:
        file_id = ask.path.rpartition("/")[2]
        tokens = ask.header("X-Owner-Token"), ask.header("X-Visitor-Token")
        if tokens[0] != self.owners.get(file_id) or tokens[1] not in self.visitors:
            return self.no(403, "You do not own this file.")
        ask.world.stored["https://storage.to/r/" + file_id].deleted = True
        return as_json({"success": True})

    def expiry(self, ask: Ask, fields: Any) -> Answer:
        file_id = ask.path.split("/")[3]
        if ask.header("X-Owner-Token") != self.owners.get(file_id):
            return self.no(403, "You do not own this file.")
        if not 1 <= fields["days"] <= 7:
            return self.no(422, "The days must be between 1 and 7.")
        self.days[file_id] = fields["days"]
        return as_json({"success": True, "expires_at": "2026-12-01T00:00:00Z"})

    def visit(self, ask: Ask) -> Answer:
        """The raw link leads to the storage."""
        match = re.fullmatch(r"/(?:r|raw)/(\w+)", ask.path)
        stored = ask.world.stored.find("https://storage.to/r/" + match.group(1)) if match else None
        if stored is None or stored.deleted:
            return (
                as_page("storage.to")
                if ask.domain == self.domains[0] and ask.path == "/"
                else as_page("404", 404)
            )
        if ask.domain == self.domains[0]:
            location = "https://%s/raw/%s?X-Amz-Signature=1" % (self.domains[1], match.group(1))
            return Answer(302, "", headers=[("Location", location)])
        return as_download(stored, self.ranges)


FAMILIES = (Dropbox, Fal, Pixeldrain, StorageTo)
