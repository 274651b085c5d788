"""The official SDKs as wire references: they and the program upload the same file.

Both go, unchanged, through the internet in a box to the same played hosts: so the hosts are held to
what the SDKs understand, and the program to what the SDKs send. Every difference that is allowed is
listed with its reason. The SDK of Dropbox needs Python 3.11; with an older one these tests say so.

Chapters: 1 Conversations, 2 Dropbox, 3 What Dropbox means, 4 fal.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
from datetime import datetime, timezone
from typing import Any, Dict, List, NamedTuple

import pytest
from internet.accounts import fault

import twat_fs

MIB = 1024 * 1024
DATA = bytes(range(256)) * 40
OLD = sys.version_info < (3, 11)
of_dropbox = pytest.mark.skipif(OLD, reason="the SDK of Dropbox needs Python 3.11")


# 1 Conversations ----------------------------------------------------------------------------------

# Headers of the client itself: each says who it is and how it keeps connections. Accept-Encoding is
# ours for another reason too: what comes compressed would have to be unpacked. Accept is "*/*" or
# JSON, and the answer is the same.
ITS_OWN = {"user-agent", "accept-encoding", "accept", "connection", "keep-alive"}


class Message(NamedTuple):
    """One request: its URL, its headers and JSON fields, and the bytes that it carried."""

    method: str
    host: str
    target: str
    headers: List[Any]  # pairs
    fields: Any
    sha256: str


def message(seen) -> Message:
    headers = {name.lower(): value for name, value in seen.headers if name.lower() not in ITS_OWN}
    fields = json.loads(headers.pop("dropbox-api-arg", "null"))
    if headers.get("content-type") == "application/json":
        fields = json.loads(seen.short_body)
        del headers["content-length"]  # of JSON, which has many spellings
    body = seen.sha256 if headers.get("content-type") != "application/json" else ""
    return Message(seen.method, seen.host, seen.target, sorted(headers.items()), fields, body)


def nameless(messages: List[Message], box) -> List[Message]:
    """The same without the host's invented values, so that two conversations can be compared."""
    text = json.dumps(messages)
    invented = [
        *box.hosts["api.dropboxapi.com"].sessions,
        *box.hosts["rest.fal.ai"].tokens,
        *box.hosts["rest.fal.ai"].multiparts,
    ]
    for name in invented:
        text = text.replace(name, "INVENTED")
    text = re.sub(r"/files/panda/\w{21}_", "/files/panda/INVENTED_", text)
    text = re.sub(r"/fal-uploads/\w{20}", "/fal-uploads/INVENTED", text)
    return [Message(*values) for values in json.loads(text)]


def conversation(box) -> List[Message]:
    """The requests since the last call, parts in order, without the downloads of links."""
    talk = [message(seen) for seen in box.requests if seen.method != "GET"]
    box.requests.clear()
    parts = [m for m in talk if is_part(m)]
    first = next((index for index, m in enumerate(talk) if is_part(m)), 0)
    rest = [m for m in talk if not is_part(m)]
    return nameless(
        rest[:first] + sorted(parts, key=lambda m: (m.target, str(m.fields))) + rest[first:], box
    )


def is_part(message: Message) -> bool:
    return message.target.endswith("append_v2") or bool(
        re.search(r"/multipart/\w+/\d+$", message.target)
    )


@pytest.fixture
def net(online_box, clean_env):
    # it counts more than what the SDK is told
    clean_env.setenv("REQUESTS_CA_BUNDLE", online_box.ca)
    yield online_box
    # The rules are about our own requests; those of an SDK have its name, and wish for compression.
    foreign = re.compile(
        r"the User-Agent is not ours$|Accept-Encoding asks for compression$"
        r"|^CONNECT .*headers \['Accept'\]$"
        r"|the key goes to the storage$"  # fal_client 1.0.3 does that
    )
    online_box.world.complaints = [
        text for text in online_box.complaints if not foreign.search(text)
    ]


@pytest.fixture
def ours(net, clean_env, capsys):
    """The requests of the program for the same upload; none breaks a rule of the box."""

    def upload(host, path, *options, **env):
        for name, value in env.items():
            clean_env.setenv(name, value)
        before = list(net.complaints)
        assert twat_fs.main(["--no-check", "-p", host, *options, str(path)]) == 0
        assert net.complaints == before
        capsys.readouterr()
        return conversation(net)

    return upload


def same(theirs: List[Message], actual: List[Message]) -> None:
    """Equal, message by message, so that a difference is shown where it is."""
    assert [(m.method, m.host, m.target) for m in theirs] == [
        (m.method, m.host, m.target) for m in actual
    ]
    for a, b in zip(theirs, actual):
        assert a == b


# 2 Dropbox ----------------------------------------------------------------------------------------


def without(fields: Any, *names: str) -> Any:
    """The structure without these fields, wherever they are, and with short forms of tags."""
    if not isinstance(fields, dict):
        return fields
    if set(fields) == {".tag"}:
        # {".tag": "add"} and "add" are the same (test_our_arguments_... decodes both)
        return fields[".tag"]
    return {name: without(value, *names) for name, value in fields.items() if name not in names}


def told_without(talk: List[Message], *names: str) -> List[Message]:
    return [m._replace(fields=without(m.fields, *names)) for m in talk]


def dropbox_client(net):
    import dropbox

    return dropbox.Dropbox("sl.good", ca_certs=net.ca)


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "naïve 日本 \x7f.png"
    path.write_bytes(DATA)
    return path


def changed(path) -> datetime:
    """The time of the file as the SDK wants it: UTC without a zone, and without fractions."""
    return datetime.fromtimestamp(int(path.stat().st_mtime), timezone.utc).replace(tzinfo=None)


@of_dropbox
def test_dropbox_gets_the_same_requests_for_a_small_file(net, ours, file):
    client, path = dropbox_client(net), "/upload/" + file.name.replace("\x7f", "_")
    client.files_upload(DATA, path, client_modified=changed(file))
    client.sharing_create_shared_link_with_settings(path)
    theirs = conversation(net)
    net.hosts["api.dropboxapi.com"].entries.clear()
    actual = ours("dropbox", file, DROPBOX_ACCESS_TOKEN="sl.good")
    # strict_conflict: false is what Dropbox assumes without it.
    same(told_without(theirs, "strict_conflict"), told_without(actual))


@of_dropbox
def test_dropbox_gets_the_same_requests_with_force(net, ours, file):
    import dropbox

    client, path = dropbox_client(net), "/upload/" + file.name.replace("\x7f", "_")
    client.files_upload(
        DATA, path, mode=dropbox.files.WriteMode.overwrite, client_modified=changed(file)
    )
    client.sharing_create_shared_link_with_settings(path)
    theirs = conversation(net)
    net.hosts["api.dropboxapi.com"].entries.clear()
    actual = ours("dropbox", file, "--force", DROPBOX_ACCESS_TOKEN="sl.good")
    same(told_without(theirs, "strict_conflict"), told_without(actual))


@of_dropbox
@pytest.mark.parametrize("size", [4 * MIB, 12 * MIB + 5])
def test_dropbox_gets_the_same_requests_in_a_session(net, ours, tmp_path, clean_env, size):
    import dropbox

    clean_env.setattr(twat_fs, "DROPBOX_SINGLE", MIB)
    clean_env.setattr(twat_fs, "DROPBOX_PART", 4 * MIB)
    path = tmp_path / "big.bin"
    path.write_bytes(DATA * (size // len(DATA)) + bytes(size % len(DATA)))
    data, client, files = path.read_bytes(), dropbox_client(net), dropbox.files
    session = client.files_upload_session_start(
        b"", session_type=files.UploadSessionType.concurrent
    ).session_id
    for at in range(0, size, 4 * MIB):
        part = data[at : at + 4 * MIB]
        cursor = files.UploadSessionCursor(session, at)
        client.files_upload_session_append_v2(part, cursor, close=at + len(part) == size)
    commit = files.CommitInfo(
        "/upload/big.bin", client_modified=changed(path), autorename=False, mute=False
    )
    commit.mode = files.WriteMode.add
    net.hosts["api.dropboxapi.com"].sessions["KEPT"] = net.hosts["api.dropboxapi.com"].sessions[
        session
    ]
    client.files_upload_session_finish(b"", files.UploadSessionCursor(session, size), commit)
    net.hosts["api.dropboxapi.com"].sessions[session] = net.hosts[
        "api.dropboxapi.com"
    ].sessions.pop("KEPT")
    client.sharing_create_shared_link_with_settings("/upload/big.bin")
    theirs = conversation(net)
    actual = ours("dropbox", path, DROPBOX_ACCESS_TOKEN="sl.good")
    # content_hash: the SDK hashes each part; ours compares the hash of the whole, which the last
    # answer tells. session_id: theirs is replaced above, ours is known only to the host, which
    # would have refused any other.
    same(
        told_without(theirs, "strict_conflict", "content_hash", "session_id"),
        told_without(actual, "session_id"),
    )


@of_dropbox
@pytest.mark.parametrize("secret", [None, "app-secret"])
def test_dropbox_is_asked_for_a_token_in_the_same_form(net, ours, file, secret):
    import dropbox

    net.hosts["api.dropboxapi.com"].app_secret = secret
    more = {"oauth2_refresh_token": "refresh-good", "app_key": "app-key", "app_secret": secret}
    dropbox.Dropbox(ca_certs=net.ca, **more).refresh_access_token()
    (theirs,) = [seen for seen in net.requests if seen.target == "/oauth2/token"]
    net.requests.clear()
    env = {"DROPBOX_REFRESH_TOKEN": "refresh-good", "DROPBOX_APP_KEY": "app-key"}
    ask, *_ = ours("dropbox", file, **env, **({"DROPBOX_APP_SECRET": secret} if secret else {}))
    form = b"grant_type=refresh_token&refresh_token=refresh-good&client_id=app-key"
    form += b"&client_secret=app-secret" if secret else b""
    assert (ask.target, ask.sha256) == ("/oauth2/token", hashlib.sha256(form).hexdigest())
    assert sorted(theirs.short_body.split(b"&")) == sorted(form.split(b"&"))
    assert dict(ask.headers)["content-type"] == theirs.header("Content-Type")


# 3 What Dropbox means -----------------------------------------------------------------------------


def validators() -> Dict[str, Any]:
    """The SDK's own definition of the argument of each function that we call."""
    from dropbox import files, sharing

    return {
        "files/upload": files.UploadArg_validator,
        "files/upload_session/start": files.UploadSessionStartArg_validator,
        "files/upload_session/append_v2": files.UploadSessionAppendArg_validator,
        "files/upload_session/finish": files.UploadSessionFinishArg_validator,
        "files/get_metadata": files.GetMetadataArg_validator,
        "sharing/create_shared_link_with_settings": (
            sharing.CreateSharedLinkWithSettingsArg_validator
        ),
        "sharing/list_shared_links": sharing.ListSharedLinksArg_validator,
    }


def strictly(validator, text: str) -> Any:
    from stone.backends.python_rsrc import stone_serializers

    return stone_serializers.json_decode(validator, text, strict=True)


@of_dropbox
def test_our_arguments_are_what_the_sdk_defines_strictly(net, ours, tmp_path, clean_env):
    """Every function that we ever call, each in the forms in which we call it."""
    clean_env.setattr(twat_fs, "DROPBOX_SINGLE", MIB)
    host = net.hosts["api.dropboxapi.com"]
    small, big = tmp_path / "naïve \x7f.txt", tmp_path / "big.bin"
    small.write_bytes(b"small")
    big.write_bytes(bytes(2 * MIB))
    talk = ours("dropbox", small, DROPBOX_ACCESS_TOKEN="sl.good")
    host.tells_existing = False
    talk += ours("dropbox", small, "--force") + ours("dropbox", small, "--unique", "--expire", "1h")
    host.errors["files/upload_session/finish"] = [fault("lookup_failed", "not_found")]
    session = twat_fs.main(["--no-check", "-p", "dropbox", str(big)])
    talk += conversation(net) + ours("dropbox", big)
    assert session == 1  # the end of the session was refused, and there is no such file yet
    called = {m.target[3:] for m in talk}
    assert called == set(validators())
    for message in talk:
        decoded = strictly(validators()[message.target[3:]], json.dumps(message.fields))
        assert decoded is not None


@of_dropbox
def test_the_sdk_rejects_invalid_arguments():
    """The test above can fail."""
    from stone.backends.python_rsrc.stone_validators import ValidationError

    for text in (
        '{"path": "no slash"}',
        '{"path": "/a", "mode": "ad"}',
        '{"path": "/a", "more": 1}',
    ):
        with pytest.raises(ValidationError):
            strictly(validators()["files/upload"], text)


ERRORS = [
    # what the host in the box says, as the SDK's definition of it
    ("files", "UploadSessionAppendError", fault("incorrect_offset", correct_offset=4194304)),
    ("files", "UploadSessionAppendError", fault("concurrent_session_invalid_offset")),
    ("files", "UploadSessionAppendError", fault("concurrent_session_invalid_data_size")),
    ("files", "UploadSessionAppendError", fault("not_found")),
    ("files", "UploadSessionAppendError", fault("closed")),
    ("files", "UploadSessionAppendError", fault("payload_too_large")),
    ("files", "UploadSessionStartError", fault("concurrent_session_data_not_allowed")),
    ("files", "UploadSessionStartError", fault("concurrent_session_close_not_allowed")),
    ("files", "UploadSessionFinishError", fault("concurrent_session_not_closed")),
    ("files", "UploadSessionFinishError", fault("concurrent_session_missing_data")),
    ("files", "UploadSessionFinishError", fault("lookup_failed", "not_found")),
    (
        "files",
        "UploadSessionFinishError",
        fault("lookup_failed", "incorrect_offset", correct_offset=1),
    ),
    ("files", "UploadSessionFinishError", fault("path", "conflict", "file")),
    ("files", "UploadSessionFinishError", fault("path", "too_many_write_operations")),
    ("files", "UploadSessionFinishError", fault("too_many_write_operations")),
    ("files", "UploadError", fault("content_hash_mismatch")),
    ("files", "GetMetadataError", fault("path", "not_found")),
    ("sharing", "CreateSharedLinkWithSettingsError", fault("email_not_verified")),
    ("sharing", "CreateSharedLinkWithSettingsError", fault("access_denied")),
    ("sharing", "CreateSharedLinkWithSettingsError", fault("settings_error", "not_authorized")),
    ("sharing", "CreateSharedLinkWithSettingsError", fault("settings_error", "invalid_settings")),
    ("sharing", "CreateSharedLinkWithSettingsError", fault("shared_link_already_exists")),
    ("sharing", "CreateSharedLinkWithSettingsError", fault("path", "not_found")),
]


@of_dropbox
@pytest.mark.parametrize("area, error_tag, answer", ERRORS, ids=lambda value: str(value)[:60])
def test_the_played_errors_are_what_the_sdk_defines_strictly(area, error_tag, answer):
    import dropbox

    validator = getattr(getattr(dropbox, area), error_tag + "_validator")
    error = json.loads(answer.body)["error"]
    assert strictly(validator, json.dumps(error))._tag == error[".tag"]


@of_dropbox
@pytest.mark.parametrize("tag", [tag for tag, _, _ in twat_fs.DROPBOX_ERRORS])
def test_every_tag_that_we_explain_is_one_that_dropbox_has(tag):
    import dropbox

    kinds = (
        dropbox.auth.AuthError,
        dropbox.files.WriteError,
        dropbox.files.WriteConflictError,
        dropbox.sharing.CreateSharedLinkWithSettingsError,
    )
    known = {name for union in kinds for name in union._tagmap}
    assert set(tag.split("/")) <= known


@of_dropbox
def test_the_sdk_understands_the_played_refusals(net):
    import dropbox

    client = dropbox_client(net)
    client.files_upload(b"one", "/a.txt")
    with pytest.raises(dropbox.exceptions.ApiError) as conflict:
        client.files_upload(b"two", "/a.txt")
    assert conflict.value.error.get_path().reason.get_conflict().is_file()
    client.sharing_create_shared_link_with_settings("/a.txt")
    with pytest.raises(dropbox.exceptions.ApiError) as exists:
        client.sharing_create_shared_link_with_settings("/a.txt")
    url = exists.value.error.get_shared_link_already_exists().get_metadata().url
    assert url == client.sharing_list_shared_links("/a.txt", direct_only=True).links[0].url
    net.hosts["api.dropboxapi.com"].expire("sl.good")
    with pytest.raises(dropbox.exceptions.AuthError) as expired:
        client.files_upload(b"two", "/a.txt")
    assert expired.value.error.is_expired_access_token()


# 4 fal --------------------------------------------------------------------------------------------

KEY = {"FAL_KEY": "f-id:f-secret"}


def fal_client_of_key():
    import fal_client

    return fal_client.SyncClient(key=KEY["FAL_KEY"])


def headers_without(talk: List[Message], *names: str) -> List[Message]:
    return [m._replace(headers=[pair for pair in m.headers if pair[0] not in names]) for m in talk]


def sorted_parts(talk: List[Message]) -> List[Message]:
    """The SDK lists parts in the order of completion; fal accepts any order."""

    def tidy(fields):
        return (
            {"parts": sorted(fields["parts"], key=lambda part: part["partNumber"])}
            if fields and "parts" in fields
            else fields
        )

    return [m._replace(fields=tidy(m.fields)) for m in talk]


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / ("a 'b' c.png" if os.name == "nt" else 'a "b" c.png')
    path.write_bytes(DATA)
    return path


def test_fal_gets_the_same_requests_for_a_small_file(net, ours, photo):
    fal_client_of_key().upload_file(photo)
    theirs = conversation(net)
    same(theirs, ours("fal", photo, **KEY))


def test_fal_gets_the_same_requests_for_parts(net, ours, photo, clean_env):
    import fal_client

    clean_env.setattr(fal_client.client, "MULTIPART_THRESHOLD", MIB)
    clean_env.setattr(twat_fs, "FAL_SINGLE", MIB)
    photo.write_bytes(DATA * (25 * MIB // len(DATA)))
    fal_client_of_key().upload_file(photo)
    theirs = conversation(net)
    assert len(theirs) == 6 and [m.target.rpartition("/")[2] for m in theirs[2:]] == [
        "1",
        "2",
        "3",
        "complete",
    ]
    same(sorted_parts(theirs), sorted_parts(ours("fal", photo, **KEY)))


def test_fal_gets_the_same_requests_in_the_second_way(net, ours, photo):
    fal_client_of_key().upload_file(photo, repository="fal", fallback_repository=[])
    theirs = conversation(net)
    net.fault("v3.fal.media", "status", status=404, when="upload")
    actual = ours("fal", photo, **KEY)
    same(keyless(theirs), actual[2:])  # after the token and the first way, in vain


def keyless(talk: List[Message]) -> List[Message]:
    """The SDK sends its key also to another company's signed URL; ours does not."""
    first, storage = talk
    assert dict(storage.headers)["authorization"] == "Key " + KEY["FAL_KEY"]
    return [first, *headers_without([storage], "authorization")]


@pytest.mark.parametrize("second", [False, True])
def test_fal_gets_the_same_requests_for_a_lifecycle(net, ours, photo, second):
    import fal_client

    life = fal_client.client.StorageSettings(expires_in=604800)
    way = {"repository": "fal", "fallback_repository": []} if second else {}
    fal_client_of_key().upload_file(photo, lifecycle=life, **way)
    theirs = conversation(net)
    if second:
        net.fault("v3.fal.media", "status", status=404, when="upload")
    actual = ours("fal", photo, "--expire", "7d", **KEY)
    # It sends both headers both times; its own comment says which of them counts where, and ours
    # sends that one.
    unread = "x-fal-object-lifecycle" if second else "x-fal-object-lifecycle-preference"
    same(
        headers_without(keyless(theirs) if second else theirs, unread),
        actual[2:] if second else actual,
    )


def test_the_numbers_of_the_sdk_are_ours():
    import fal_client.client as sdk

    assert (sdk.MULTIPART_THRESHOLD, sdk.MULTIPART_CHUNK_SIZE) == (
        twat_fs.FAL_SINGLE,
        twat_fs.FAL_PART,
    )
