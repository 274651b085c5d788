"""Behaviour of Dropbox, fal, pixeldrain and storage.to: tokens, sessions, existing links, refusals.

What they share with all hosts is in test_providers.py; the hosts themselves are in
internet/accounts.py.

Chapters: 1 How it is driven, 2 Dropbox: tokens, 3 Dropbox: places and names, 4 Dropbox: sessions, 5
Dropbox: links, 6 Dropbox: refusals, 7 fal, 8 pixeldrain, 9 storage.to, 10 Settings, 11 Secrets, 12
Answers that are spoiled.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import signal
import time
from datetime import datetime, timezone
from types import MethodType

import pytest
from internet.accounts import fault
from internet.box import Answer, as_json

import twat_fs

# 1 How it is driven -------------------------------------------------------------------------------

MIB = 1024 * 1024
TEXT = b"some text\n" * 50
ACCESS = {"DROPBOX_ACCESS_TOKEN": "sl.good"}
REFRESH = {"DROPBOX_REFRESH_TOKEN": "refresh-good", "DROPBOX_APP_KEY": "app-key"}
READY = {
    "dropbox": ACCESS,
    "fal": {"FAL_KEY": "f-id:f-secret"},
    "pixeldrain": {"PIXELDRAIN_KEY": "pd-key"},
    "storageto": {},
}
CONTENT, API = "content.dropboxapi.com", "api.dropboxapi.com"


@pytest.fixture
def net(online_box):
    return online_box


@pytest.fixture
def main(net, capsys):
    """Run the program: (code, stdout, stderr)."""

    def run(*args):
        code = twat_fs.main([str(word) for word in args])
        printed = capsys.readouterr()
        return code, printed.out.rstrip("\n"), printed.err

    return run


@pytest.fixture
def put(main, clean_env, tmp_path):
    """Upload a file: `put("dropbox", "--force", data=b"...", name="a.txt", env={...})`."""

    def upload(host, *options, data=TEXT, name="a.txt", env=None):
        for variable, value in (READY[host] if env is None else env).items():
            clean_env.setenv(variable, value)
        path = tmp_path / name
        if data is not None:
            path.write_bytes(data)
        return main("-p", host, *options, path)

    return upload


@pytest.fixture
def dropbox(net):
    return net.hosts[API]


@pytest.fixture
def fal_host(net):
    return net.hosts["rest.fal.ai"]


@pytest.fixture
def pixeldrain(net):
    return net.hosts["pixeldrain.com"]


@pytest.fixture
def storageto(net):
    return net.hosts["storage.to"]


def called(net, domain=None):
    """The calls so far, without downloads: the last segment of each path, with its status."""
    seen = [s for s in net.requests if s.method != "GET" and domain in (None, s.host)]
    return [(s.target.partition("?")[0].rpartition("/")[2], s.status) for s in seen]


def argument(seen):
    """The JSON argument of a call to Dropbox, in the header or in the body."""
    return json.loads(seen.header("Dropbox-API-Arg") or seen.short_body)


def arguments(net, function):
    return [argument(seen) for seen in net.requests if seen.target == "/2/" + function]


def sparse(tmp_path, size, name="big.bin"):
    """A file that takes no room, and whose blocks differ."""
    path = tmp_path / name
    with open(path, "wb") as file:
        for at in range(0, size, 3 * MIB):
            file.seek(at)
            file.write(b"block at %d" % at)
        file.truncate(size)
    return path


def sha256(path):
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


# 2 Dropbox: tokens --------------------------------------------------------------------------------


@pytest.mark.parametrize("secret", [None, "app-secret"])
def test_a_refresh_token_becomes_an_access_token_with_and_without_a_secret(
    net, put, dropbox, secret
):
    dropbox.app_secret = secret
    env = {**REFRESH, **({"DROPBOX_APP_SECRET": secret} if secret else {})}
    code, url, _ = put("dropbox", env=env)
    assert (code, net.stored[url].read()) == (0, TEXT)
    assert called(net) == [
        ("token", 200),
        ("upload", 200),
        ("create_shared_link_with_settings", 200),
    ]
    assert {s.header("Authorization") for s in net.requests if s.target.startswith("/2/")} == {
        "Bearer sl.fresh-1"
    }


def test_an_access_token_that_has_run_out_is_renewed_once(net, put, dropbox):
    dropbox.expire("sl.good")
    code, url, _ = put("dropbox", env={**ACCESS, **REFRESH})
    assert code == 0 and url in net.stored
    assert called(net)[:3] == [("upload", 401), ("token", 200), ("upload", 200)]


def test_a_token_that_runs_out_between_two_calls_is_renewed(net, put, dropbox):
    share = dropbox.share

    def expired(self, ask, arg):
        if "sl.good" not in self.tokens:
            return share(ask, arg)
        self.expire("sl.good")
        return self.refused(ask, "sharing.write")

    dropbox.share = MethodType(expired, dropbox)
    code, url, _ = put("dropbox", env={**ACCESS, **REFRESH})
    assert code == 0 and url in net.stored
    assert [status for name, status in called(net) if name.startswith("create")] == [401, 200]


def test_a_token_that_is_refused_again_after_its_renewal_is_the_end(net, put, dropbox):
    dropbox.refused = MethodType(
        lambda self, ask, scope: fault_401("expired_access_token"), dropbox
    )
    code, out, err = put("dropbox", env=REFRESH)
    assert (code, out) == (1, "")
    assert called(net) == [("token", 200), ("upload", 401), ("token", 200), ("upload", 401)]
    assert "401: the access token has expired" in err


def fault_401(tag):
    return as_json({"error_summary": tag + "/...", "error": {".tag": tag}}, 401)


def test_without_a_refresh_token_an_expired_one_says_what_to_set(net, put, dropbox):
    dropbox.expire("sl.good")
    code, out, err = put("dropbox")
    assert (code, out, called(net)) == (1, "", [("upload", 401)])
    assert (
        "the access token has expired" in err
        and "set DROPBOX_REFRESH_TOKEN and DROPBOX_APP_KEY" in err
    )


@pytest.mark.parametrize(
    "change, env, options",
    [
        ({"revoked": True}, REFRESH, "invalid or expired refresh token"),
        (
            {},
            {**REFRESH, "DROPBOX_REFRESH_TOKEN": "other"},
            "invalid or expired refresh token",
        ),
        ({}, {**REFRESH, "DROPBOX_APP_KEY": "other"}, "invalid_client"),
        ({"app_secret": "app-secret"}, REFRESH, "invalid_client"),
        (
            {"app_secret": "app-secret"},
            {**REFRESH, "DROPBOX_APP_SECRET": "wrong"},
            "invalid_client",
        ),
    ],
)
def test_no_new_access_token_says_why_and_what_to_check(net, put, dropbox, change, env, options):
    for name, value in change.items():
        setattr(dropbox, name, value)
    code, out, err = put("dropbox", env=env)
    assert (code, out, called(net)) == (1, "", [("token", 400)])
    assert "Dropbox: no access token: " + options in err
    assert "check DROPBOX_REFRESH_TOKEN, DROPBOX_APP_KEY and DROPBOX_APP_SECRET" in err


def test_an_invalid_access_token_is_not_sent(net, put):
    net.fault(
        API,
        "status",
        status=200,
        type="application/json",
        body=json.dumps({"access_token": "a\r\nX: b"}),
    )
    code, out, err = put("dropbox", env=REFRESH)
    assert (code, out, called(net, CONTENT)) == (1, "", [])
    assert "no link in the response" in err or "answer" in err


def test_many_threads_renew_a_token_once(net, main, clean_env, tmp_path, dropbox):
    dropbox.expire("sl.good")
    for name, value in {**ACCESS, **REFRESH}.items():
        clean_env.setenv(name, value)
    clean_env.setattr(twat_fs, "DROPBOX_SINGLE", MIB)
    clean_env.setattr(twat_fs, "DROPBOX_PART", 4 * MIB)
    start = dropbox.start

    def expires_now(self, ask, arg):
        answer = start(ask, arg)
        self.expire("sl.fresh-1")
        return answer

    dropbox.start = MethodType(expires_now, dropbox)
    code, url, _ = main("-p", "dropbox", "-j", "4", sparse(tmp_path, 16 * MIB))
    assert code == 0 and url in net.stored
    assert dropbox.issued == 2


# 3 Dropbox: places and names ----------------------------------------------------------------------

PLACES = [
    ([], "/upload/a.txt"),
    (["--remote-path", "docs/"], "/docs/a.txt"),
    (["--remote-path", "/docs/sub/"], "/docs/sub/a.txt"),
    (["--remote_path", "docs/b.txt"], "/docs/b.txt"),
    (["--remote-path", "ns:1234/team/"], "ns:1234/team/a.txt"),
    (["--remote-path", "ns:1234/"], "ns:1234/a.txt"),
    (["--remote-path", "ns:x/"], "/ns:x/a.txt"),
    (["--remote-path", ""], "/a.txt"),
    (["--remote-path", "/"], "/a.txt"),
    (["-n", "c.txt"], "/upload/c.txt"),
    (["-n", "c.txt", "--remote-path", "docs/"], "/docs/c.txt"),
]


@pytest.mark.parametrize("options, path", PLACES)
def test_where_a_file_goes(net, put, dropbox, options, path):
    code, url, _ = put("dropbox", *options)
    assert code == 0 and [entry.path for entry in dropbox.entries.values()] == [path]
    assert net.stored[url].name == path.rpartition("/")[2]


@pytest.mark.parametrize(
    "options, pattern",
    [([], "/upload/a_{}.txt"), (["--remote-path", "docs/b.txt"], "/docs/b_{}.txt")],
)
def test_unique_puts_the_time_into_the_name(put, dropbox, options, pattern):
    assert put("dropbox", "--unique", *options)[0] == 0
    (entry,) = dropbox.entries.values()
    stamp = re.fullmatch(re.escape(pattern).replace(r"\{\}", r"(\d{8}_\d{6})"), entry.path).group(1)
    age = datetime.now(timezone.utc) - datetime.strptime(stamp, "%Y%m%d_%H%M%S").replace(
        tzinfo=timezone.utc
    )
    assert -2 <= age.total_seconds() < 60


def test_another_file_in_the_same_place_is_an_error_that_names_both_ways_out(net, put, dropbox):
    assert put("dropbox")[0] == 0
    code, out, err = put("dropbox", data=b"other")
    assert (code, out) == (1, "")
    assert (
        "409: the file already exists in the Dropbox" in err
        and "--force overwrites it, --unique gives another name" in err
    )
    assert dropbox.entries["/upload/a.txt"].file.read() == TEXT


def test_a_conflict_of_one_file_says_nothing_about_the_next(net, put, main, tmp_path):
    assert put("dropbox")[0] == 0
    (tmp_path / "a.txt").write_bytes(b"other")
    (tmp_path / "b.txt").write_bytes(b"more")
    code, url, err = main("-p", "dropbox", tmp_path / "a.txt", tmp_path / "b.txt")
    assert (code, net.stored[url].read()) == (3, b"more")
    assert "skipped (failed earlier)" not in err


def test_force_overwrites_and_the_link_stays(net, put, dropbox):
    _, first, _ = put("dropbox")
    code, second, _ = put("dropbox", "--force", data=b"other")
    assert (code, second) == (0, first)
    assert net.stored[second].read() == b"other"


def test_uploading_the_same_bytes_again_returns_the_same_link(put, dropbox):
    links = [put("dropbox")[1] for _ in range(2)]
    assert links[0] == links[1] != ""
    assert len(dropbox.entries) == 1


NAMES = ["naïve 日本.txt", "\x7f.txt", "😀.txt", "q\"uo\\'te.txt", "100%.txt"]


@pytest.mark.parametrize("name", NAMES)
def test_what_the_header_tells_is_ascii_and_means_the_name(net, put, dropbox, name):
    path = "docs/" + name
    assert put("dropbox", "--remote-path", path)[0] == 0
    (seen,) = net.uploads()
    header = seen.header("Dropbox-API-Arg")
    assert re.fullmatch("[ -~]+", header)
    assert json.loads(header)["path"] == "/" + path


def test_the_modification_time_is_sent(net, put, tmp_path):
    assert put("dropbox")[0] == 0
    (arg,) = arguments(net, "files/upload")
    modified = datetime.strptime(arg["client_modified"], "%Y-%m-%dT%H:%M:%SZ").replace(
        tzinfo=timezone.utc
    )
    assert abs(modified.timestamp() - (tmp_path / "a.txt").stat().st_mtime) < 2


@pytest.mark.parametrize("size", [0, 1, 4 * MIB - 1, 4 * MIB, 4 * MIB + 1, 9 * MIB])
def test_the_content_hash_of_dropbox_is_sent(net, put, dropbox, size):
    assert put("dropbox", "--no-check", data=b"\xa5" * size)[0] == 0
    (arg,) = arguments(net, "files/upload")
    # reckoned by the host itself
    assert arg["content_hash"] == dropbox.entries["/upload/a.txt"].hash


def test_other_bytes_in_the_dropbox_are_found_by_the_content_hash(net, put, dropbox):
    dropbox.lies = True
    code, out, err = put("dropbox", "--no-check")
    assert (code, out) == (4, "")
    assert "Dropbox: content_hash mismatch; the stored file differs" in err
    assert arguments(net, "sharing/create_shared_link_with_settings") == []


# 4 Dropbox: sessions ------------------------------------------------------------------------------


@pytest.fixture
def small_parts(clean_env):
    """Sessions from 1 MiB on, in parts of 4 MiB: the same code with smaller numbers."""
    clean_env.setattr(twat_fs, "DROPBOX_SINGLE", MIB)
    clean_env.setattr(twat_fs, "DROPBOX_PART", 4 * MIB)


def test_a_file_above_150_mib_goes_in_a_session_of_aligned_parts(net, put, tmp_path):
    path = sparse(tmp_path, 150 * MIB + 7)
    code, url, _ = put("dropbox", data=None, name=path.name)
    assert (code, net.stored[url].sha256) == (0, sha256(path))
    cursors = arguments(net, "files/upload_session/append_v2")
    assert sorted(c["cursor"]["offset"] for c in cursors) == list(range(0, 150 * MIB, 32 * MIB))
    assert [c["close"] for c in sorted(cursors, key=lambda c: c["cursor"]["offset"])] == [
        False
    ] * 4 + [True]
    assert max(seen.length for seen in net.requests) <= 32 * MIB
    (finish,) = arguments(net, "files/upload_session/finish")
    assert finish["cursor"]["offset"] == 150 * MIB + 7


@pytest.mark.parametrize("size", [MIB, MIB + 1, 4 * MIB, 4 * MIB + 1, 8 * MIB, 12 * MIB + 5])
@pytest.mark.parametrize("jobs", ["1", "4"])
def test_sessions_of_all_sizes_give_the_file(net, put, tmp_path, small_parts, size, jobs):
    path = sparse(tmp_path, size)
    code, url, _ = put("dropbox", "-j", jobs, data=None, name=path.name)
    assert (code, net.stored[url].sha256) == (0, sha256(path))
    assert ("start", 200) in called(net) or size <= MIB


@pytest.mark.parametrize("stored, resumed", [(0, None), (4 * MIB, None), (2 * MIB, None)])
def test_a_partly_received_part_is_continued_or_reported(
    net, put, tmp_path, clean_env, dropbox, stored, resumed
):
    clean_env.setattr(twat_fs, "DROPBOX_SINGLE", MIB)
    clean_env.setattr(twat_fs, "DROPBOX_PART", 8 * MIB)
    dropbox.keeps_at_most = stored
    path = sparse(tmp_path, 16 * MIB)
    code, url, err = put("dropbox", "-j", "1", data=None, name=path.name)
    offsets = [arg["cursor"]["offset"] for arg in arguments(net, "files/upload_session/append_v2")]
    if stored == 4 * MIB:  # the rest is aligned too
        assert (code, net.stored[url].sha256, offsets) == (0, sha256(path), [0, 4 * MIB, 8 * MIB])
    else:
        assert (code, url) == (1, "")
        assert (
            "the upload session cannot continue" in err
            or "concurrent_session_invalid_offset" in err
        )


def test_a_session_that_never_goes_on_ends(net, put, tmp_path, clean_env, dropbox):
    clean_env.setattr(twat_fs, "DROPBOX_SINGLE", MIB)
    clean_env.setattr(twat_fs, "DROPBOX_PART", 64 * MIB)
    steps = iter(range(4 * MIB, 64 * MIB, 4 * MIB))
    dropbox.append = MethodType(lambda self, ask, arg: self.offset(next(steps)), dropbox)
    code, out, err = put("dropbox", data=None, name=sparse(tmp_path, 40 * MIB).name)
    assert (code, out) == (1, "")
    assert "the upload session cannot continue: incorrect_offset" in err
    assert len(net.uploads()) == 5


@pytest.mark.parametrize("correct", ["12", None, -1, 10**9, 1.5, True])
def test_an_offset_that_is_none_ends_the_session(net, put, tmp_path, small_parts, dropbox, correct):
    answer = fault("incorrect_offset", correct_offset=correct)
    dropbox.append = MethodType(lambda self, ask, arg: answer, dropbox)
    code, out, err = put("dropbox", "-j", "1", data=None, name=sparse(tmp_path, 2 * MIB).name)
    assert (code, out, len(net.uploads())) == (1, "", 1)
    assert "the upload session cannot continue" in err


def test_a_lost_answer_to_a_part_is_made_good(net, put, tmp_path, small_parts):
    net.fault(CONTENT, "drop-after", when="upload", times=2)
    path = sparse(tmp_path, 9 * MIB)
    code, url, _ = put("dropbox", data=None, name=path.name)
    assert (code, net.stored[url].sha256) == (0, sha256(path))


def test_a_lost_answer_to_the_end_of_a_session_is_made_good(
    net, put, tmp_path, small_parts, dropbox
):
    finish = dropbox.finish

    def lost(self, ask, arg):
        answer = finish(ask, arg)
        return Answer(0, manner=lambda ask, answer: None) if answer.status == 200 else answer

    dropbox.finish = MethodType(lost, dropbox)
    path = sparse(tmp_path, 9 * MIB)
    code, url, _ = put("dropbox", data=None, name=path.name)
    assert (code, net.stored[url].sha256) == (0, sha256(path))
    assert called(net)[-3:-1] == [("finish", 409), ("get_metadata", 200)]


def test_a_busy_part_is_sent_again(net, put, tmp_path, small_parts):
    net.fault(CONTENT, "status", when="upload", times=3, status=503, retry_after=0)
    path = sparse(tmp_path, 9 * MIB)
    code, url, _ = put("dropbox", "-j", "1", "--retry", "3", data=None, name=path.name)
    assert (code, net.stored[url].sha256) == (0, sha256(path))


def test_a_part_that_is_refused_ends_the_others(net, put, tmp_path, small_parts, dropbox):
    dropbox.errors["files/upload_session/append_v2"] = [fault("too_large")]
    code, out, err = put("dropbox", "-j", "2", data=None, name=sparse(tmp_path, 80 * MIB).name)
    assert (code, out) == (1, "")
    assert "409: too_large" in err
    assert len(net.uploads()) < 20


def test_a_session_does_not_overwrite_either(net, put, tmp_path, small_parts, dropbox):
    assert put("dropbox", name="big.bin")[0] == 0
    code, out, err = put("dropbox", data=None, name=sparse(tmp_path, 5 * MIB).name)
    assert (code, out) == (1, "")
    assert "409: the file already exists in the Dropbox" in err and "--force overwrites it" in err
    assert dropbox.entries["/upload/big.bin"].file.read() == TEXT
    assert put("dropbox", "--force", data=None, name="big.bin")[0] == 0
    assert dropbox.entries["/upload/big.bin"].file.size == 5 * MIB


def test_a_session_that_stores_other_bytes_is_found_out(net, put, tmp_path, small_parts, dropbox):
    dropbox.lies = True
    code, out, err = put("dropbox", data=None, name=sparse(tmp_path, 5 * MIB).name)
    assert (code, out) == (4, "")
    assert "content_hash mismatch" in err


def test_a_file_that_changes_during_a_session_fails(net, put, tmp_path, small_parts, dropbox):
    path, append = sparse(tmp_path, 12 * MIB), dropbox.append

    def changing(self, ask, arg):
        with open(path, "r+b") as file:
            file.write(b"changed")
        return append(ask, arg)

    dropbox.append = MethodType(changing, dropbox)
    code, out, err = put("dropbox", "-j", "1", data=None, name=path.name)
    assert (code, out) == (6, "")
    assert "changed while being read" in err


def interrupted(start, net, host, paths, env, *options, uploads=1):
    """Interrupt during `uploads` requests: exit code, stdout, stderr, seconds until the exit."""
    process = start(*options, "-p", host, *paths, env=env)
    until = time.monotonic() + 30
    while len(net.uploads()) < uploads and time.monotonic() < until:
        time.sleep(0.02)
    assert len(net.uploads()) >= uploads
    time.sleep(0.3)
    begun = time.monotonic()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    return process.returncode, out, err.decode(), time.monotonic() - begun


posix = pytest.mark.skipif(
    not hasattr(signal, "pthread_kill"), reason="a process on Windows cannot be sent Ctrl-C alone"
)


@posix
def test_ctrl_c_during_a_session_ends_it_at_once(net, start, tmp_path):
    net.fault(CONTENT, "stall", when="upload", after=MIB)
    path = sparse(tmp_path, 160 * MIB)
    code, out, err, seconds = interrupted(start, net, "dropbox", [path], ACCESS)
    assert (code, out) == (-signal.SIGINT, b"")
    assert seconds < 5 and "Traceback" not in err
    assert ("finish", 200) not in called(net)


# 5 Dropbox: links ---------------------------------------------------------------------------------


def test_the_link_gives_the_file_and_keeps_its_key(net, put):
    code, url, _ = put("dropbox")
    assert code == 0
    assert re.fullmatch(r"https://www\.dropbox\.com/scl/fi/\w+/a\.txt\?rlkey=\w+&st=\w+&dl=1", url)


@pytest.mark.parametrize("tells", [True, False])
def test_a_link_that_exists_is_used_whether_dropbox_tells_it_or_not(net, put, dropbox, tells):
    _, first, _ = put("dropbox")
    dropbox.tells_existing = tells
    code, second, _ = put("dropbox", "--force", data=b"new")
    assert (code, second) == (0, first)
    assert (("list_shared_links", 200) in called(net)) is not tells


def test_an_existing_link_that_cannot_be_found_is_a_failure(net, put, dropbox):
    dropbox.errors["sharing/create_shared_link_with_settings"] = [
        fault("shared_link_already_exists")
    ]
    code, out, err = put("dropbox")
    assert (code, out) == (1, "")
    assert "no link in the response" in err


def test_a_shared_link_of_another_host_is_rejected(net, put):
    net.fault(API, "wrong-host", base="https://www.dropbox.com.evil.example")
    code, out, err = put("dropbox")
    assert (code, out) == (1, "")
    assert "link points to www.dropbox.com.evil.example, not dropbox.com" in err


def test_settings_are_only_sent_if_there_are_some(net, put):
    put("dropbox")
    assert arguments(net, "sharing/create_shared_link_with_settings") == [{"path": "/upload/a.txt"}]


def test_an_expiry_is_requested_and_reported(net, put):
    code, out, _ = put("dropbox", "--json", "--expire", "12h")
    expires = json.loads(out)["expires"]
    (arg,) = arguments(net, "sharing/create_shared_link_with_settings")
    ends = datetime.strptime(expires, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=timezone.utc).timestamp()
    assert code == 0 and arg["settings"] == {"expires": expires}
    assert abs(ends - time.time() - 12 * 3600) < 20


def test_an_expiry_that_the_plan_lacks_is_refused_with_the_way_out(put, dropbox):
    dropbox.links_may_expire = False
    code, out, err = put("dropbox", "--expire", "12h")
    assert (code, out) == (1, "")
    assert (
        "409: this Dropbox plan has no links that expire" in err
        and "upload without --expire" in err
    )


def test_a_link_that_exists_does_not_get_an_expiry_behind_its_owners_back(put):
    assert put("dropbox")[0] == 0
    code, out, err = put("dropbox", "--expire", "12h")
    assert (code, out) == (1, "")
    assert (
        "has a shared link already, without this expiry" in err
        and "--unique makes a new file" in err
    )


@pytest.mark.parametrize(
    "url, link",
    [
        (
            "https://www.dropbox.com/scl/fi/a/b.txt?rlkey=k&dl=0",
            "https://www.dropbox.com/scl/fi/a/b.txt?rlkey=k&dl=1",
        ),
        ("https://www.dropbox.com/s/abc/b.txt?dl=0", "https://www.dropbox.com/s/abc/b.txt?dl=1"),
        ("https://www.dropbox.com/s/abc/b.txt", "https://www.dropbox.com/s/abc/b.txt?dl=1"),
        (
            "https://www.dropbox.com/s/a/b?raw=1&st=x&dl=0&rlkey=k",
            "https://www.dropbox.com/s/a/b?st=x&rlkey=k&dl=1",
        ),
    ],
)
def test_a_page_becomes_a_file(url, link):
    answer = twat_fs.Response(
        200, {}, json.dumps({"url": url}).encode(), "https://api.dropboxapi.com/2/x"
    )
    assert twat_fs.dropbox_read(answer).url == link


@pytest.mark.parametrize("tells", [True, False])
@pytest.mark.parametrize("visibility", ["team_only", "password"])
def test_a_link_that_wants_a_sign_on_says_so(put, dropbox, visibility, tells):
    dropbox.visibility, dropbox.tells_existing = visibility, tells
    for _ in "new", "again":
        code, out, err = put("dropbox")
        assert (code, out) == (4, "") and "an HTML page" in err
        assert f"the link requires a sign-in (visibility: {visibility})" in err


# 6 Dropbox: refusals ------------------------------------------------------------------------------

UPLOAD, SHARE = "files/upload", "sharing/create_shared_link_with_settings"
REFUSALS = [
    # what stands against it in the account, options, what is said, what to do
    ({"space": 10}, [], "the Dropbox is full", "delete something there"),
    (
        {"folders": ["/upload/a.txt"]},
        [],
        "a folder in the Dropbox has this name",
        "--unique or --name",
    ),
    (
        {"folders": ["/upload/a.txt"]},
        ["--force"],
        "a folder in the Dropbox has this name",
        "--unique or --name",
    ),
    ({}, ["-n", "desktop.ini"], "invalid name for Dropbox", "--name gives another one"),
    ({}, ["--remote-path", "a//b.txt"], "invalid path for Dropbox", "--remote-path"),
    ({}, ["--remote-path", "../"], "invalid path for Dropbox", "--remote-path"),
    (
        {"read_only": "/team"},
        ["--remote-path", "team/"],
        "no permission to write into this folder",
        "--remote-path",
    ),
    (
        {"email_not_verified": True, "email_verified": False},
        [],
        "address is verified",
        "see the account's settings",
    ),
    ({"may_share": False}, [], "this account may not share the file", "sharing settings"),
    (
        {"scopes": ("sharing.write",)},
        [],
        "401: the app lacks a permission",
        "allow files.content.write in the app console",
    ),
    (
        {"scopes": ("files.content.write",)},
        [],
        "401: the app lacks a permission",
        "allow sharing.write in the app console",
    ),
    (
        {"tokens": set()},
        [],
        "401: invalid access token",
        "make a new one in the app console",
    ),
]


@pytest.mark.parametrize(
    "state, options, message, todo", REFUSALS, ids=lambda value: str(value)[:30]
)
def test_a_refusal_is_a_sentence_that_says_what_to_do(
    net, put, dropbox, state, options, message, todo
):
    for name, value in state.items():
        setattr(dropbox, name, value)
    code, out, err = put("dropbox", *options)
    assert (code, out) == (1, "")
    (line,) = [line for line in err.splitlines() if line.startswith("  dropbox ")]
    assert message in line and todo in line
    assert len(net.uploads()) == 1


def test_a_file_with_the_name_of_the_folder_is_reported(put):
    assert put("dropbox", "--remote-path", "docs")[0] == 0
    code, _, err = put("dropbox", "--remote-path", "docs/")
    assert code == 1 and "a file in the Dropbox has the name of its folder" in err


@pytest.mark.parametrize("tags", [("path", "team_folder"), ("properties_error", "x"), ("other",)])
def test_an_unknown_error_of_dropbox_is_quoted(put, dropbox, tags):
    dropbox.errors[UPLOAD] = [fault(*tags)]
    code, _, err = put("dropbox")
    assert code == 1 and "409: " + "/".join(tags) in err


@pytest.mark.parametrize("where", [UPLOAD, SHARE])
def test_too_many_write_operations_are_a_reason_to_wait(net, put, dropbox, where):
    dropbox.errors[where] = [fault("path", "too_many_write_operations")]
    code, url, _ = put("dropbox")
    assert code == 0 and url in net.stored
    assert len(arguments(net, where)) == 2


def limited(seconds, header=None):
    body = {
        "error_summary": "too_many_requests/...",
        "error": {"reason": {".tag": "too_many_requests"}, "retry_after": seconds},
    }
    return as_json(body, 429, headers=[("Retry-After", str(header))] if header is not None else [])


def test_the_pause_in_a_response_of_dropbox_is_respected(net, put, dropbox):
    dropbox.errors[UPLOAD] = [limited(1)]
    begun = time.monotonic()
    assert put("dropbox")[0] == 0
    assert 1 <= time.monotonic() - begun < 10


def test_the_header_counts_more_than_the_answer(net, put, dropbox):
    dropbox.errors[UPLOAD] = [limited(100, 0)]
    begun = time.monotonic()
    assert put("dropbox")[0] == 0
    assert time.monotonic() - begun < 5


def test_a_long_pause_is_a_no(net, put, dropbox):
    dropbox.errors[UPLOAD] = [limited(300)] * 5
    code, out, err = put("dropbox")
    assert (code, out, len(net.uploads())) == (1, "", 1)
    assert "429 Too Many Requests: too_many_requests" in err


def test_a_malformed_call_is_reported_with_dropbox_message(put, dropbox):
    dropbox.errors[UPLOAD] = [
        Answer(400, 'Error in call to API function "files/upload": bad argument')
    ]
    code, _, err = put("dropbox")
    assert code == 1 and "400 Bad Request: Error in call to API function" in err


# 7 fal --------------------------------------------------------------------------------------------

MEDIA = "v3.fal.media"


def test_fal_keeps_name_extension_and_type(net, put):
    code, url, _ = put("fal", name="photo.png")
    (seen,) = net.uploads(MEDIA)
    assert code == 0 and url.endswith("_photo.png")
    assert (seen.header("X-Fal-File-Name"), seen.header("Content-Type")) == (
        "photo.png",
        "image/png",
    )
    assert called(net) == [("token", 200), ("upload", 200)]


def test_two_settings_are_a_key_too(net, put):
    assert put("fal", env={"FAL_KEY_ID": "f-id", "FAL_KEY_SECRET": "f-secret"})[0] == 0


def test_a_name_that_no_header_can_carry_goes_the_second_way(net, put):
    code, url, _ = put("fal", name="日本.txt")
    assert code == 0 and net.stored[url].name == "日本.txt"
    assert [seen.host for seen in net.uploads()] == ["storage.googleapis.com"]


@pytest.mark.parametrize("status", [400, 404, 405, 500, 501])
def test_a_cdn_that_takes_nothing_leads_to_the_second_way(net, put, status):
    net.fault(MEDIA, "status", when="upload", status=status)
    code, url, _ = put("fal")
    assert (code, net.stored[url].read()) == (0, TEXT)
    assert [seen.host for seen in net.uploads()] == [MEDIA, "storage.googleapis.com"]


@pytest.mark.parametrize("status", [402, 403, 413, 422])
def test_a_refusal_of_the_file_or_of_the_account_does_not(net, put, status):
    net.fault(MEDIA, "status", when="upload", status=status, body="no")
    code, out, err = put("fal")
    assert (code, out, [seen.host for seen in net.uploads()]) == (1, "", [MEDIA])
    assert "%d " % status in err


def test_a_file_that_may_be_there_is_not_uploaded_in_the_second_way(net, put):
    net.fault(MEDIA, "html", when="upload")
    code, out, _ = put("fal")
    assert (code, out, len(net.uploads())) == (1, "", 1)


def test_a_token_that_runs_out_is_renewed_once(net, put, fal_host, clean_env, tmp_path):
    clean_env.setattr(twat_fs, "FAL_SINGLE", MIB)
    fal_host.uses = 3
    path = sparse(tmp_path, 25 * MIB)
    code, url, _ = put("fal", "-j", "1", data=None, name=path.name)
    assert (code, net.stored[url].sha256) == (0, sha256(path))
    assert len([1 for name, _ in called(net) if name == "token"]) == 2


def test_a_wrong_key_says_where_to_get_one(net, put):
    code, out, err = put("fal", env={"FAL_KEY": "f-id:wrong"})
    assert (code, out, net.uploads()) == (1, "", [])
    assert "401 Unauthorized: No user found" in err and "https://fal.ai/dashboard/keys" in err


def test_a_file_above_100_mib_goes_in_parts_of_10_mib(net, put, tmp_path):
    path = sparse(tmp_path, 100 * MIB + 1, "big.mp4")
    code, url, _ = put("fal", data=None, name=path.name)
    assert (code, net.stored[url].sha256, net.stored[url].type) == (0, sha256(path), "video/mp4")
    parts = [seen for seen in net.uploads(MEDIA) if seen.method == "PUT"]
    assert sorted(seen.length for seen in parts) == [1] + [10 * MIB] * 10
    assert {seen.header("Accept-Encoding") for seen in parts} == {"identity"}


@pytest.mark.parametrize("size, single", [(100 * MIB, True), (100 * MIB + 1, False)])
def test_the_border_between_one_request_and_parts(net, put, tmp_path, clean_env, size, single):
    clean_env.setattr(twat_fs, "FAL_SINGLE", size // 50 if single else size // 50 - 1)
    code, _, _ = put("fal", "--no-check", data=b"x" * (size // 50))
    assert (code, called(net)[1][0]) == (0, "upload" if single else "multipart")


def test_a_part_without_an_etag_is_a_failure(net, put, clean_env, fal_host):
    clean_env.setattr(twat_fs, "FAL_SINGLE", MIB)
    fal_host.part = MethodType(lambda self, ask, upload_id, step: Answer(200, ""), fal_host)
    code, out, err = put("fal", data=b"x" * (2 * MIB))
    assert (code, out) == (1, "")
    assert "but no ETag" in err


@pytest.mark.parametrize(
    "name, header",
    [("a.txt", "X-Fal-Object-Lifecycle"), ("ü.txt", "X-Fal-Object-Lifecycle-Preference")],
)
def test_an_expiry_becomes_a_lifecycle(net, put, name, header):
    code, out, _ = put("fal", "--json", "--expire", "7d", name=name)
    lifecycles = [seen.header(header) for seen in net.requests if seen.header(header)]
    assert code == 0 and [json.loads(text) for text in lifecycles] == [
        {"expiration_duration_seconds": 604800}
    ]
    assert net.stored[json.loads(out)["url"]].options == {"life": 604800}


def test_without_an_expiry_no_lifecycle_is_sent(net, put):
    assert put("fal")[0] == 0
    assert not [
        1 for seen in net.requests for name, _ in seen.headers if "lifecycle" in name.lower()
    ]


BASES = [
    "https://evil.example",
    "https://fal.media.evil.example",
    "//x",
    "",
    None,
]


@pytest.mark.parametrize("base", BASES)
def test_parts_go_to_no_base_but_fals(net, put, clean_env, base):
    clean_env.setattr(twat_fs, "FAL_SINGLE", MIB)
    response = {
        "token": "t",
        "token_type": "Bearer",
        "base_url": base,
        "expires_at": "2099-01-01T00:00:00Z",
    }
    net.fault(
        "rest.fal.ai", "status", status=200, type="application/json", body=json.dumps(response)
    )
    code, out, _ = put("fal", data=b"x" * (2 * MIB))
    assert (code, out) == (1, "")
    assert {tunnel.host for tunnel in net.tunnels} == {"rest.fal.ai"}


# 8 pixeldrain -------------------------------------------------------------------------------------


def test_the_hash_that_pixeldrain_tells_is_the_proof(net, put):
    code, out, _ = put("pixeldrain", "--json")
    result = json.loads(out)
    assert (code, result["verified"]) == (0, "host-hash")
    assert result["delete"] == result["url"] and re.fullmatch(
        r"https://pixeldrain\.com/api/file/\w{8}", result["url"]
    )
    assert all(stored.hits == 0 for stored in net.stored.values())


def test_a_popular_link_that_wants_a_captcha_is_proven_all_the_same(put, pixeldrain):
    pixeldrain.captcha = True
    code, out, _ = put("pixeldrain", "--json")
    assert (code, json.loads(out)["verified"]) == (0, "host-hash")


def test_a_captcha_prevents_full_verification_and_has_a_hint(put, pixeldrain):
    pixeldrain.captcha = True
    code, out, err = put("pixeldrain", "--verify", "full", "--retry", "0")
    assert (code, out) == (4, "")
    assert "This file is using too much bandwidth" in err and "without --verify full" in err


def test_other_bytes_are_found_by_the_hash(put, pixeldrain):
    pixeldrain.lies = True
    code, out, err = put("pixeldrain")
    assert (code, out) == (4, "")
    assert "pixeldrain.com: SHA-256 mismatch; the stored file differs" in err


def test_without_a_hash_the_link_is_fetched(put, pixeldrain):
    pixeldrain.tells_hash = False
    code, out, _ = put("pixeldrain", "--json")
    assert (code, json.loads(out)["verified"]) == (0, "full")


def test_full_proof_fetches_the_link(net, put):
    code, out, _ = put("pixeldrain", "--json", "--verify", "full")
    assert (code, json.loads(out)["verified"]) == (0, "full")
    assert [stored.hits for stored in net.stored.values()] == [1]


def test_the_key_goes_to_pixeldrain_alone_and_not_with_the_link(net, put):
    assert put("pixeldrain", "--verify", "full")[0] == 0
    assert [bool(seen.header("Authorization")) for seen in net.requests] == [True, True, False]


PIXELDRAIN_SAYS = [
    (
        401,
        "authentication_failed",
        "The API key is invalid",
        "https://pixeldrain.com/user/api_keys",
    ),
    (413, "file_too_large", "The file you tried to upload is too large", "the file is 500 bytes"),
    (422, "no_file", "The file is empty", ""),
    (500, "internal", "An internal server error occurred", ""),
    (429, "rate_limited", "Slow down", ""),
]


@pytest.mark.parametrize("status, value, message, todo", PIXELDRAIN_SAYS)
def test_the_message_of_pixeldrain_is_quoted(net, put, pixeldrain, status, value, message, todo):
    body = json.dumps({"success": False, "value": value, "message": message})
    net.fault(
        "pixeldrain.com", "status", when="upload", status=status, body=body, type="application/json"
    )
    code, out, err = put("pixeldrain", "--retry", "0")
    assert (code, out) == (1, "")
    assert "%d " % status in err and message in err and todo in err


def test_a_wrong_key_is_refused_before_the_file_is_sent_in_full(net, put):
    body = json.dumps(
        {"success": False, "value": "authentication_failed", "message": "The API key is invalid"}
    )
    net.fault("pixeldrain.com", "early", status=401, body=body)
    code, _, err = put("pixeldrain", data=b"x" * (8 * MIB), env={"PIXELDRAIN_KEY": "wrong"})
    (seen,) = net.uploads()
    assert code == 1 and seen.length < 8 * MIB
    assert "401 Unauthorized: The API key is invalid" in err


# 9 storage.to -------------------------------------------------------------------------------------


def test_storage_to_is_asked_in_three_steps_by_one_visitor(net, put):
    code, url, _ = put("storageto")
    assert code == 0 and re.fullmatch(r"https://storage\.to/r/\w+", url)
    assert [name for name, _ in called(net, "storage.to")] == ["init", "confirm"]
    visitors = {seen.header("X-Visitor-Token") for seen in net.requests if seen.method == "POST"}
    assert len(visitors) == 1 and all(visitors)


@pytest.mark.parametrize(
    "wish, days",
    [
        ([], None),
        (["--expire", "3d"], None),
        (["--expire", "12h"], 1),
        (["--keep", "4d"], 4),
        (["--expire", "7d"], 7),
    ],
)
def test_storage_to_changes_the_expiry_by_one_more_request(put, storageto, wish, days):
    code, out, _ = put("storageto", "--json", *wish)
    result = json.loads(out)
    ends = datetime.strptime(result["expires"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=timezone.utc)
    assert (code, list(storageto.days.values())) == (0, [days] if days else [])
    assert abs(ends.timestamp() - time.time() - (days or 3) * 86400) < 20


def test_storage_to_keeps_nothing_longer_than_a_week(net, put):
    code, out, err = put("storageto", "--keep", "8d")
    assert (code, out, net.tunnels) == (5, "", []) and "maximum expiry is 7 days" in err


def test_storage_to_is_never_asked_by_itself(net, main, tmp_path):
    net.fault("*", "status", status=403)
    (tmp_path / "a.txt").write_bytes(TEXT)
    code, _, err = main("--fallback", "-p", "x0at", tmp_path / "a.txt")
    assert code == 1 and "storageto" not in err
    assert not {"storage.to", "u7.r2.cloudflarestorage.com"} & {
        tunnel.host for tunnel in net.tunnels
    }


def in_parts(storageto, size=5 * MIB, first=2):
    """From 1 MiB on, files go in parts of this size."""
    storageto.single, storageto.part_size, storageto.first_urls = MIB, size, first


@pytest.mark.parametrize("first", [0, 2, 99])
def test_a_large_file_goes_in_parts(net, put, tmp_path, storageto, first):
    in_parts(storageto, MIB, first)
    path = sparse(tmp_path, 53 * MIB + 1)
    code, url, _ = put("storageto", "--no-check", data=None, name=path.name)
    assert (code, net.stored[url].sha256) == (0, sha256(path))
    asked = [
        json.loads(seen.short_body)["part_numbers"]
        for seen in net.requests
        if seen.target.endswith("/parts")
    ]
    assert [number for numbers in asked for number in numbers] == list(range(1, 55))
    assert storageto.aborted == []


def test_a_part_that_fails_for_good_aborts_the_upload(net, put, tmp_path, storageto):
    in_parts(storageto)
    net.fault("u7.r2.cloudflarestorage.com", "status", when="upload", skip=1, status=403, body="no")
    code, out, err = put("storageto", data=None, name=sparse(tmp_path, 30 * MIB).name)
    assert (code, out, len(storageto.aborted)) == (1, "", 1)
    assert "403 Forbidden" in err


def test_an_abort_that_fails_does_not_hide_the_cause(net, put, tmp_path, storageto):
    in_parts(storageto)
    storageto.abort = MethodType(lambda self, ask, fields: self.no(500, "cannot abort"), storageto)
    net.fault("u7.r2.cloudflarestorage.com", "status", when="upload", status=403, body="the cause")
    code, out, err = put("storageto", data=None, name=sparse(tmp_path, 6 * MIB).name)
    assert (code, out) == (1, "")
    assert "the cause" in err and "cannot abort" not in err


@posix
def test_ctrl_c_aborts_the_upload_in_parts(net, start, tmp_path, storageto):
    in_parts(storageto)
    net.fault("u7.r2.cloudflarestorage.com", "stall", when="upload", after=1000)
    code, out, err, seconds = interrupted(start, net, "storageto", [sparse(tmp_path, 30 * MIB)], {})
    assert (code, out, len(storageto.aborted)) == (-signal.SIGINT, b"", 1)
    assert seconds < 8 and "Traceback" not in err


@posix
def test_ctrl_c_aborts_the_uploads_of_several_files_at_a_time(net, start, tmp_path, storageto):
    in_parts(storageto)
    net.fault("u7.r2.cloudflarestorage.com", "stall", when="upload", after=1000)
    paths = [sparse(tmp_path, 30 * MIB, name) for name in "abc"]
    code, out, err, seconds = interrupted(start, net, "storageto", paths, {}, "-j", "2", uploads=4)
    # the third had not begun
    assert (code, out, len(storageto.aborted)) == (
        -signal.SIGINT,
        b"",
        2,
    )
    assert seconds < 8 and "Traceback" not in err


def test_the_daily_limit_is_quoted_and_not_waited_for(net, put, storageto):
    storageto.resets = 40_000
    begun = time.monotonic()
    code, out, err = put("storageto")
    assert (code, out, called(net)) == (1, "", [("init", 429)])
    assert "429 Too Many Requests: Daily upload limit reached" in err
    assert time.monotonic() - begun < 5


def test_a_short_pause_is_respected(net, put, storageto):
    storageto.resets = 1
    init = storageto.init

    def once(self, ask, fields):
        answer = init(ask, fields)
        self.resets = None
        return answer

    storageto.init = MethodType(once, storageto)
    begun = time.monotonic()
    assert put("storageto")[0] == 0
    assert 1 <= time.monotonic() - begun < 10


@pytest.mark.parametrize("step", ["init", "confirm"])
def test_a_no_inside_a_200_is_a_failure_in_its_words(net, put, storageto, step):
    setattr(
        storageto, step, MethodType(lambda self, ask, fields: self.no(200, "not today"), storageto)
    )
    code, out, err = put("storageto")
    assert (code, out) == (1, "")
    assert 'no link in the response: "not today"' in err


@pytest.mark.parametrize(
    "url",
    ["http://u7.r2.cloudflarestorage.com/x", "ftp://x/y", "https:///x", "file:///x", "", None, 7],
)
def test_the_file_goes_to_no_place_that_is_not_https(net, put, url):
    plan = {"success": True, "type": "single", "upload_url": url, "r2_key": "k", "headers": {}}
    net.fault("storage.to", "status", status=200, type="application/json", body=json.dumps(plan))
    code, out, err = put("storageto")
    assert (code, out, net.uploads()) == (1, "", [])
    assert "no link in the response" in err


ODD_HEADERS = [{"X-A": value} for value in ("a\r\nX-B: b", ["ü"], [[]], None, [], {"b": 1})] + [
    {"X A": "b"},
    [],
    "x",
    7,
    None,
]


@pytest.mark.parametrize("headers", ODD_HEADERS)
def test_invalid_headers_are_not_sent(net, put, headers):
    url = "https://u7.r2.cloudflarestorage.com/x?X-Amz-Signature=5"
    plan = {"success": True, "type": "single", "upload_url": url, "r2_key": "k"}
    net.fault(
        "storage.to",
        "status",
        status=200,
        type="application/json",
        body=json.dumps({**plan, "headers": headers}),
    )
    code, out, _ = put("storageto")
    assert (code, out) == (1, "")  # at the latest by a signature that does not hold


@pytest.mark.parametrize("size", [0, -1, 1, "5", None, 10**15, True, 5.5])
def test_a_size_of_parts_that_cannot_be_is_refused(net, put, tmp_path, storageto, size):
    in_parts(storageto)
    storageto.part_size = 5 * MIB
    init = storageto.init

    def odd(self, ask, fields):
        plan = json.loads(init(ask, fields).body)
        return as_json({**plan, "part_size": size})

    storageto.init = MethodType(odd, storageto)
    code, out, _ = put("storageto", data=None, name=sparse(tmp_path, 6 * MIB).name)
    assert (code, out, net.uploads()) == (1, "", [])


# 10 Settings --------------------------------------------------------------------------------------

LACKS = [
    (
        "dropbox",
        {},
        "DROPBOX_REFRESH_TOKEN (or DROPBOX_ACCESS_TOKEN, for 4 hours) is not set",
        "dropbox.com/developers/apps",
    ),
    (
        "dropbox",
        {"DROPBOX_APP_KEY": "k"},
        "DROPBOX_REFRESH_TOKEN (or DROPBOX_ACCESS_TOKEN",
        "token_access_type=offline",
    ),
    (
        "dropbox",
        {"DROPBOX_REFRESH_TOKEN": "r"},
        "DROPBOX_APP_KEY is not set, and DROPBOX_REFRESH_TOKEN needs it",
        "apps",
    ),
    (
        "dropbox",
        {"DROPBOX_REFRESH_TOKEN": "r", "DROPBOX_APP_SECRET": "s"},
        "DROPBOX_APP_KEY is not set",
        "apps",
    ),
    ("fal", {}, "FAL_KEY is not set", "https://fal.ai/dashboard/keys"),
    (
        "fal",
        {"FAL_KEY_ID": "i"},
        "FAL_KEY_ID is set, but FAL_KEY_SECRET is not",
        "https://fal.ai/dashboard/keys",
    ),
    (
        "fal",
        {"FAL_KEY_SECRET": "s"},
        "FAL_KEY_SECRET is set, but FAL_KEY_ID is not",
        "https://fal.ai/dashboard/keys",
    ),
    ("pixeldrain", {}, "PIXELDRAIN_KEY is not set", "https://pixeldrain.com/user/api_keys"),
]


@pytest.mark.parametrize("host, env, lacks, hint", LACKS)
def test_what_is_missing_is_named_with_the_way_to_get_it(
    net, main, put, clean_env, host, env, lacks, hint
):
    for name, value in env.items():
        clean_env.setenv(name, value)
    code, out, _ = main("status", host)
    assert code == 5 and lacks in out and hint in out
    code, out, err = put(host, env=env)
    assert (code, out, net.tunnels) == (5, "", [])
    assert lacks in err and hint in err


@pytest.mark.parametrize("host", READY)
def test_a_host_that_is_set_up_is_ready(net, main, clean_env, host):
    for name, value in READY[host].items():
        clean_env.setenv(name, value)
    code, out, _ = main("status", host)
    assert (code, net.tunnels) == (0, []) and re.search(f"^{host} +(configured|available)", out)


@pytest.mark.parametrize("host", ["dropbox", "fal", "pixeldrain"])
def test_a_host_that_is_set_up_comes_first(net, main, clean_env, tmp_path, host):
    for name, value in READY[host].items():
        clean_env.setenv(name, value)
    (tmp_path / "a.txt").write_bytes(TEXT)
    code, out, _ = main("--json", tmp_path / "a.txt")
    assert (code, json.loads(out)["provider"], json.loads(out)["attempts"]) == (0, host, [])


HALVES = [{"DROPBOX_REFRESH_TOKEN": "r"}, {"DROPBOX_APP_KEY": "k"}, {"FAL_KEY_ID": "i"}]


@pytest.mark.parametrize("env", HALVES, ids=str)
def test_what_is_meant_for_a_half_set_host_does_not_become_public(
    net, main, clean_env, tmp_path, env
):
    for name, value in env.items():
        clean_env.setenv(name, value)
    (tmp_path / "a.txt").write_bytes(TEXT)
    code, out, err = main(tmp_path / "a.txt")
    assert (code, out, net.tunnels) == (5, "", [])
    assert re.search("(dropbox|fal) .* is (not )?set", err)


# 11 Secrets ---------------------------------------------------------------------------------------

SECRETS = {
    "dropbox": {
        "DROPBOX_ACCESS_TOKEN": "s3cr3t-access",
        "DROPBOX_REFRESH_TOKEN": "s3cr3t-refresh",
        "DROPBOX_APP_KEY": "app-key",
        "DROPBOX_APP_SECRET": "s3cr3t-app",
    },
    "fal": {"FAL_KEY": "s3cr3t-id:s3cr3t-key"},
    "pixeldrain": {"PIXELDRAIN_KEY": "s3cr3t-pd"},
    "storageto": {},
}
WAYS = ["-v", "--json", "--dry-run", "--no-check"]


# fal has a second way to upload, pixeldrain is proven without a download, and storage.to is not
# asked what it answers to a PUT.
UNHURT = {("fal", "upload"), ("pixeldrain", "download"), ("storageto", "upload")}


def accounts_of_secrets(net):
    """The hosts know these secrets, and what they make of them is one too."""
    box = net.hosts
    box[API].tokens, box[API].refresh, box[API].app_secret = (
        {"s3cr3t-access"},
        "s3cr3t-refresh",
        "s3cr3t-app",
    )
    box["rest.fal.ai"].key, box["pixeldrain.com"].key = "s3cr3t-id:s3cr3t-key", "s3cr3t-pd"


def parrot(host):
    """Let the host refuse everything and echo each request, as some hosts do for debugging."""

    def upload(self, ask):
        echo = "; ".join("%s: %s" % pair for pair in ask.head.headers) + ask.file.read()[
            :100
        ].decode("latin-1")
        return Answer(403, "no: " + echo[-190:])

    host.upload = MethodType(upload, host)


def hidden(net, *texts):
    """None of these texts shows a secret, nor any token that travelled."""
    travelled = {
        s.header("Authorization").split()[-1] for s in net.requests if s.header("Authorization")
    }
    travelled |= {s.header("X-Visitor-Token") for s in net.requests if s.header("X-Visitor-Token")}
    assert all(
        "s3cr3t" not in text and not any(token in text for token in travelled) for text in texts
    )
    assert not any("Signature=" in text for text in texts)  # of the places to which files are put
    return len(travelled)


@pytest.mark.parametrize("host", SECRETS)
@pytest.mark.parametrize("word", WAYS)
def test_no_secret_is_shown_on_success(net, put, host, word):
    accounts_of_secrets(net)
    code, out, err = put(host, word, env=SECRETS[host])
    assert code == 0
    assert hidden(net, out, err) or word == "--dry-run"


@pytest.mark.parametrize("host", SECRETS)
@pytest.mark.parametrize(
    "fault", ["html", "status", "drop-after", "redirect", "escapes", "garbage"]
)
@pytest.mark.parametrize("when", ["any", "upload", "download"])
def test_no_secret_is_shown_by_a_failure(net, put, host, fault, when):
    accounts_of_secrets(net)
    net.fault("*", fault, when=when, **({"status": 403} if fault == "status" else {}))
    code, out, err = put(host, "-v", "--json", "--retry", "0", env=SECRETS[host])
    assert code != 0 or (host, when) in UNHURT
    hidden(net, out, err)


@pytest.mark.parametrize("host", ["dropbox", "fal", "pixeldrain"])
@pytest.mark.parametrize("ascii_name", [True, False])
def test_a_host_that_echoes_requests_reveals_no_secret(net, put, host, ascii_name):
    accounts_of_secrets(net)
    for domain in (API, MEDIA, "pixeldrain.com"):
        parrot(net.hosts[domain])
    code, out, err = put(
        host,
        "-v",
        "--json",
        "--retry",
        "0",
        env=SECRETS[host],
        name="a.txt" if ascii_name else "ü.txt",
    )
    assert code == 1 and "no: " in out + err
    assert hidden(net, out, err)


def test_a_token_that_was_made_on_the_way_is_not_shown_either(net, put, dropbox):
    accounts_of_secrets(net)
    env = {
        name: value for name, value in SECRETS["dropbox"].items() if name != "DROPBOX_ACCESS_TOKEN"
    }
    dropbox.upload_small = MethodType(
        lambda self, ask, arg: Answer(400, "you said " + ask.header("Authorization")), dropbox
    )
    code, out, err = put("dropbox", "-v", "--json", env=env)
    assert code == 1 and "you said" in out + err and "sl.fresh-1" not in out + err
    hidden(net, out, err)


@pytest.mark.parametrize("host, domain", [("dropbox", API), ("fal", "rest.fal.ai")])
def test_a_token_in_an_answer_that_is_not_understood_is_not_shown(net, put, host, domain):
    body = json.dumps(
        {
            "access_token": "s3cr3t\nnew",
            "token": "s3cr3t\nnew",
            "token_type": "Bearer",
            "base_url": "https://v3b.fal.media",
        }
    )
    net.fault(domain, "status", status=200, type="application/json", body=body)
    code, out, err = put(host, "-v", env={**READY["fal"], **REFRESH})
    assert code == 1 and "token" in err
    hidden(net, out, err)


@pytest.mark.parametrize("host", ["dropbox", "fal", "pixeldrain"])
def test_nothing_that_travels_shows_a_secret_by_its_repr(tmp_path, host):
    (tmp_path / "a.txt").write_bytes(TEXT)
    options, seen = twat_fs.UploadOptions(settings=SECRETS[host]), []

    def send(request):
        seen.append(request)
        return twat_fs.Response(403, {}, b"", request.url)

    with pytest.raises(twat_fs.UploadError):
        twat_fs.find_provider(host).upload(twat_fs.Source.of(tmp_path / "a.txt"), options, send)
    assert seen and "s3cr3t" not in repr(options) + repr(seen)
    assert any(
        "s3cr3t" in str(tuple(request)) or "Basic" in str(tuple(request)) for request in seen
    )


# 12 Answers that are spoiled ----------------------------------------------------------------------

FILE_ANSWER = {"content_hash": "0" * 64, "path_display": "/upload/a.txt"}
GOOD = {
    # by the end of a URL: a good answer of each step of each host
    "oauth2/token": {"access_token": "t"},
    "files/upload_session/start": {"session_id": "s"},
    "files/upload_session/append_v2": None,
    "files/upload_session/finish": FILE_ANSWER,
    "dropboxapi.com/2/files/upload": FILE_ANSWER,
    "sharing/create_shared_link_with_settings": {"url": "https://www.dropbox.com/s/a?rlkey=k&dl=0"},
    "auth/token?storage_type=fal-cdn-v3": {
        "token": "t",
        "token_type": "Bearer",
        "base_url": "https://v3b.fal.media",
    },
    "fal.media/files/upload": {"access_url": "https://v3.fal.media/files/a.txt"},
    "files/upload/multipart": {"access_url": "https://v3.fal.media/files/a.txt", "uploadId": "u"},
    "initiate?storage_type=gcs": {
        "upload_url": "https://storage.googleapis.com/x?s=1",
        "file_url": "https://v3.fal.media/files/a",
    },
    "upload/init": {
        "type": "single",
        "r2_key": "k",
        "upload_url": "https://r2.example/x?s=1",
        "headers": {"x-a": ["b"]},
    },
    "upload/parts": {"urls": {"1": "https://r2.example/x?n=1", "2": "https://r2.example/x?n=2"}},
    "upload/confirm": {"file": {"raw_url": "https://storage.to/r/a"}},
    "api/file/a.txt": {"id": "abcd1234"},
    "/info": {"hash_sha256": "0" * 64},
}
MULTIPART = {"type": "multipart", "upload_id": "u", "r2_key": "k", "part_size": MIB}
ODD_VALUES = [
    None,
    True,
    0,
    -1,
    10**400,
    float("nan"),
    "",
    " ",
    "\0",
    "\ud800",
    "\x1b[2J",
    "//[",
    "x" * 5000,
    [],
    {},
    [[]],
    "http://[::1",
]
WAYS_OF_UPLOADING = [
    (name, size, {**GOOD, **({"upload/init": MULTIPART} if size > MIB else {})})
    for name in ("dropbox", "fal", "pixeldrain", "storageto")
    for size in (10, MIB + 1)
]


def spoiled_values(value):
    """The value with one node replaced by each of the odd ones."""
    yield from ODD_VALUES
    pairs = value.items() if isinstance(value, dict) else ()
    for key, inner in pairs:
        yield {name: rest for name, rest in value.items() if name != key}
        for odd in spoiled_values(inner):
            yield {**value, key: odd}


@pytest.mark.parametrize(
    "name, size, answers", WAYS_OF_UPLOADING, ids=lambda value: str(value)[:12]
)
def test_any_odd_response_to_any_step_is_an_upload_error(clean_env, tmp_path, name, size, answers):
    """Give each step of the conversation in turn each odd response through `send`; no network."""
    clean_env.setattr(twat_fs, "DROPBOX_SINGLE", MIB)
    clean_env.setattr(twat_fs, "FAL_SINGLE", MIB)
    path = tmp_path / "a.txt"
    path.write_bytes(bytes(size))
    source = twat_fs.Source.of(path)
    settings = {**REFRESH, "FAL_KEY": "i:s", "PIXELDRAIN_KEY": "k"}
    provider, asked = twat_fs.find_provider(name), set()
    good = {
        **answers,
        **{
            step: {**FILE_ANSWER, "content_hash": twat_fs.dropbox_hash(source)}
            for step in FILE_STEPS
        },
    }

    def upload(step, odd):
        def send(request):
            match = next((end for end in good if request.url.endswith(end)), "")
            asked.add(match)
            body = json.dumps(odd if match == step else good.get(match))
            return twat_fs.judge(
                request,
                twat_fs.Response(
                    200, {"ETag": '"e"'}, body.encode("utf-8", "replace"), request.url
                ),
            )

        options = twat_fs.UploadOptions(settings=settings, jobs=1)
        link = provider.upload(source, options, send)
        return provider.lookup(link, source, options, send) if provider.lookup else link

    assert upload("", None).url.startswith("https://") and len(asked) > 1
    for step in sorted(asked - {""}):
        for odd in spoiled_values(good[step]):
            with contextlib.suppress(twat_fs.UploadError):
                link = upload(step, odd)
                assert link.url.isascii() and link.url.isprintable()


FILE_STEPS = ("files/upload_session/finish", "dropboxapi.com/2/files/upload")


UNREADABLE = [
    b"",
    b"{}",
    b"[]",
    b"null",
    b"<html>",
    b'{"error": 1}',
    b'{"error_summary": [], "error": "x"}',
    b"\xff",
]


@pytest.mark.parametrize("body", UNREADABLE)
@pytest.mark.parametrize("status", [401, 409, 429])
def test_a_refusal_that_cannot_be_read_is_a_refusal(put, dropbox, body, status):
    dropbox.errors[UPLOAD] = [Answer(status, body, "application/json") for _ in range(3)]
    code, out, err = put("dropbox", "--retry", "0")
    assert (code, out) == (1, "")
    assert re.search("  dropbox +reply +%d" % status, err)
