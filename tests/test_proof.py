"""Verification of a link in bad weather: a response that is packed, late, or another part.

Chapters: 1 Content-Encoding, 2 Links that appear late, 3 Parts, 4 What is public is never
forgotten, 5 Two files and one URL, 6 Unique names.
"""

from __future__ import annotations

import dataclasses
import gzip
import json
import os
import pickle
import re
import signal
import subprocess
import time
import zlib
from typing import NamedTuple

import pytest
from conftest import command, environment
from internet.box import Answer, Content, as_page, chunks_of

import twat_fs as t

KIB, MIB = 1 << 10, 1 << 20
TEXT = b"some words of a text, and once more some words of a text\n" * 40
BIG = os.urandom(5 * MIB)
LINK = r"https://files\.catbox\.moe/\w+\.\w+"
posix = pytest.mark.skipif(os.name == "nt", reason="needs POSIX")


class Ran(NamedTuple):
    code: int
    out: str
    err: str
    seconds: float

    @property
    def json(self):
        (line,) = self.out.splitlines()
        return json.loads(line)


@pytest.fixture
def run(online_box, capsys):
    """The program in this process."""

    def go(*args):
        capsys.readouterr()
        begun = time.monotonic()
        code = t.main([str(arg) for arg in args])
        return Ran(code, *capsys.readouterr(), time.monotonic() - begun)

    return go


@pytest.fixture
def file(tmp_path):
    def make(name="a.txt", content=TEXT):
        path = tmp_path / name
        path.write_bytes(content)
        return path

    return make


def serve(box, change, times=1_000_000, host="catbox.moe"):
    """Every download is `change(ask, answer)`."""
    box.fault(host, "altered", when="download", times=times, change=change)


def body_of(answer) -> bytes:
    return b"".join(answer.content.chunks(0, answer.content.size))


def encoded(encoding, pack, ranges=True):
    """The file from a server that compresses unasked; ranges count the compressed bytes."""

    def change(ask, answer):
        data = pack(body_of(answer))
        headers = [("Content-Encoding", encoding)] if encoding else []
        return Answer(
            200, b"", answer.type, headers, Content(len(data), chunks_of(data), ranges=ranges)
        )

    return change


def downloads(box):
    return [seen for seen in box.requests if seen.method == "GET"]


def ranges_asked(box):
    return [seen.header("Range") for seen in downloads(box)]


# 1 Content-Encoding -------------------------------------------------------------------------------


def raw_deflate(data):
    engine = zlib.compressobj(wbits=-15)
    return engine.compress(data) + engine.flush()


PACKERS = {
    "gzip": ("gzip", gzip.compress),
    "x-gzip": ("x-gzip", gzip.compress),
    "capitals and blanks": ("  GZIP ", gzip.compress),
    "deflate": ("deflate", zlib.compress),
    "deflate without its head": ("deflate", raw_deflate),
    "gzip, and something after it": ("gzip", lambda data: gzip.compress(data) + b"\0" * 100),
    "identity": ("identity", bytes),
}


@pytest.mark.parametrize("size", [1, 1000, 300 * KIB, 5 * MIB])
@pytest.mark.parametrize("packer", PACKERS)
def test_what_readers_unpack_is_unpacked_and_compared(online_box, run, file, packer, size):
    serve(online_box, encoded(*PACKERS[packer]))
    ran = run("--json", "-p", "catbox", file("a.txt", BIG[: size // 2] + b"x" * (size - size // 2)))
    sampled = packer == "identity" and size > 4 * MIB
    assert (ran.code, ran.json["verified"]) == (0, "sample" if sampled else "full")


def test_ranges_of_packed_bytes_are_not_asked_for(online_box, run, file):
    """The compressed file is shorter and may end before that range."""
    serve(online_box, encoded("gzip", gzip.compress))
    ran = run("--json", "-p", "catbox", file("a.txt", b"x" * 5 * MIB))
    assert (ran.code, ran.json["verified"]) == (0, "full")
    assert ranges_asked(online_box) == [None, None]


@pytest.mark.parametrize("size", [1000, 5 * MIB])
@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_other_bytes_are_seen_in_their_packing(online_box, run, file, encoding, size):
    pack = {"gzip": gzip.compress, "deflate": zlib.compress}[encoding]
    serve(online_box, encoded(encoding, lambda data: pack(data[:-1] + bytes([data[-1] ^ 1]))))
    ran = run("-p", "catbox", file("a.txt", BIG[:size]))
    assert (ran.code, ran.out) == (4, "")
    assert f"content differs (Content-Encoding: {encoding})" in ran.err


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_bytes_that_are_equal_only_while_packed_are_not_proven(online_box, run, file, encoding):
    """Browsers unpack them, so the user gets another file."""
    packed = {"gzip": gzip.compress, "deflate": zlib.compress}[encoding](TEXT)
    serve(online_box, encoded(encoding, bytes))
    ran = run("-p", "catbox", file("a.bin", packed))
    assert (ran.code, ran.out) == (4, "")
    assert f"(Content-Encoding: {encoding})" in ran.err


@pytest.mark.parametrize("size", [1000, 5 * MIB])
@pytest.mark.parametrize("encoding", ["br", "zstd", "compress", "gzip, br", "aws-chunked"])
def test_an_undecodable_response_is_reported_as_unverified(online_box, run, file, encoding, size):
    serve(online_box, encoded(encoding, bytes))
    ran = run("-p", "catbox", file("a.bin", BIG[:size]))
    assert (ran.code, ran.out) == (4, "")
    assert f"unsupported encoding (Content-Encoding: {encoding})" in ran.err
    assert ran.seconds < 5


def test_bytes_that_only_claim_to_be_packed_are_not_proven(online_box, run, file):
    serve(online_box, encoded("gzip", bytes))
    ran = run("-p", "catbox", file())
    assert ran.code == 4 and "invalid gzip data" in ran.err


def test_a_packed_body_that_is_cut_off_is_not_proven(online_box, run, file):
    serve(online_box, encoded("gzip", lambda data: gzip.compress(data)[:-20]))
    ran = run("-p", "catbox", file("a.bin", BIG[:1000]))
    assert ran.code == 4 and re.search(r"wrong size: \d+ bytes, expected 1000", ran.err)


def test_a_start_that_is_packed_is_a_reason_to_read_the_whole(online_box, run, file):
    pack = encoded("gzip", gzip.compress)
    serve(online_box, lambda ask, answer: answer if ask.header("Range") else pack(ask, answer))
    ran = run("--json", "-p", "catbox", file("a.bin", BIG))
    assert (ran.code, ran.json["verified"]) == (0, "full")


def test_a_part_of_something_packed_cannot_be_unpacked_and_is_not_proven(online_box, run, file):
    pack = encoded("gzip", gzip.compress)
    serve(online_box, lambda ask, answer: pack(ask, answer) if ask.header("Range") else answer)
    ran = run("-p", "catbox", file("a.bin", BIG))
    assert ran.code == 4 and "unsupported encoding (Content-Encoding: gzip)" in ran.err


def test_a_late_link_may_show_a_page_that_cannot_be_unpacked(online_box, run, file):
    def change(ask, answer):
        return Answer(404, "?" * 99, "text/html", [("Content-Encoding", "br")])

    serve(online_box, change, times=2)
    assert run("-p", "catbox", file()).code == 0


@posix
@pytest.mark.parametrize("size", [1000, 5 * MIB])
def test_a_bomb_costs_neither_memory_nor_time(box, start, file, size):
    import resource

    engine = zlib.compressobj(1, wbits=31)
    packed = b"".join([*(engine.compress(bytes(MIB)) for _ in range(800)), engine.flush()])
    serve(box, encoded("gzip", lambda data: packed))
    most = (500 * MIB, 500 * MIB)
    begun = time.monotonic()
    process = start(
        *("-p", "catbox", file("a.bin", bytes(size))),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, most),
    )
    _, err = process.communicate(timeout=30)
    assert (process.returncode, time.monotonic() - begun < 10) == (4, True)
    assert b"wrong size: over" in err, err


def test_packed_nothing_without_end_ends(online_box, run, file):
    """A compressed stream can be endless and yield nothing, so its size is limited too."""
    head, empty = gzip.compress(b"")[:10], b"\x00\x00\x00\xff\xff" * 13_000
    size = 40 * MIB

    def change(ask, answer):
        def chunks(start, stop):
            yield head
            for _ in range((stop - len(head)) // len(empty)):
                yield empty

        headers = [("Content-Encoding", "gzip")]
        return Answer(200, b"", answer.type, headers, Content(size, chunks, ranges=False))

    serve(online_box, change)
    ran = run("--retry", "0", "-p", "catbox", file())
    assert ran.code == 4 and ran.seconds < 5


def test_the_answer_to_an_upload_is_unpacked_too(online_box, run, file):
    def change(ask, answer):
        answer.body = gzip.compress(answer.bytes())
        answer.headers.append(("Content-Encoding", "gzip"))
        return answer

    online_box.fault("catbox.moe", "altered", change=change, times=1)
    online_box.world.faults[-1].when = "upload"
    ran = run("-p", "catbox", file())
    assert ran.code == 0 and re.fullmatch(LINK + "\n", ran.out)


def generic(ask, answer):
    return dataclasses.replace(answer, type="application/octet-stream")


@pytest.mark.parametrize("name, known", [("a.png", "image/png"), ("a.md", "text/markdown")])
@pytest.mark.parametrize("size", [100, 5 * MIB])
def test_a_known_type_that_is_served_as_unknown_is_a_warning(box, run, file, name, known, size):
    serve(box, generic)
    ran = run("--json", file(name, bytes(size)))
    assert (ran.code, ran.json["type"]) == (0, "application/octet-stream")
    warning = f"{name}: the host serves it as application/octet-stream, not as {known}\n"
    assert ran.err == f"twat-fs: {warning}"


@pytest.mark.parametrize("argv", [["a.zip"], ["a.tgz"], ["a.unknown"], ["-q", "a.png"]])
def test_other_types_are_no_warning(box, run, file, argv):
    serve(box, generic)
    assert run(*argv[:-1], file(argv[-1])).err == ""


# 2 Links that appear late -------------------------------------------------------------------------

LATE = {
    "404": ("status", {"status": 404}),
    "403": ("status", {"status": 403}),
    "a page": ("html", {}),
    "a page of the same size": ("altered", {"change": lambda ask, answer: as_page("x" * 99)}),
}


@pytest.mark.parametrize("fault, size", [*((fault, 1000) for fault in LATE), ("404", 5 * MIB)])
def test_a_late_link_is_waited_for_and_no_second_host_gets_a_copy(
    online_box, run, file, fault, size
):
    name, details = LATE[fault]
    online_box.fault("catbox.moe", name, when="download", times=3, **details)
    ran = run("-p", "catbox,x0at", "-v", file("a.bin", BIG[:size]))
    assert ran.code == 0 and re.fullmatch(LINK + "\n", ran.out)
    assert [seen.host for seen in online_box.uploads()] == ["catbox.moe"]
    assert len(re.findall(r"catbox: proof: .*; retrying in \d", ran.err)) == 3
    assert 2 <= ran.seconds < 8  # 0.5 + 0.5 + 1, and a quarter more at most


@pytest.mark.parametrize("fault", LATE)
def test_a_link_that_never_appears_is_given_up_after_ten_seconds(
    online_box, run, file, monkeypatch, fault
):
    name, details = LATE[fault]
    monkeypatch.setattr(t, "LATE", 1.0)
    online_box.fault("catbox.moe", name, when="download", **details)
    ran = run("-p", "catbox,x0at", file("a.bin"))
    assert ran.code == 0 and ran.out.startswith("https://x0.at/")
    assert [seen.host for seen in online_box.uploads()] == ["catbox.moe", "x0.at"]
    assert 1 < ran.seconds < 4 and len(downloads(online_box)) >= 3


def test_the_looks_are_spread_over_ten_seconds():
    assert t.LATE == 10.0


@pytest.mark.parametrize("fault", ["zero", "other", "half", "flip"])
def test_other_bytes_of_the_right_kind_end_at_once(online_box, run, file, fault):
    online_box.fault("catbox.moe", fault, when="download")
    ran = run("-p", "catbox", file())
    assert (ran.code, len(downloads(online_box))) == (4, 1) and ran.seconds < 3


def test_another_page_in_place_of_a_page_ends_at_once(online_box, run, file):
    online_box.fault("catbox.moe", "html", when="download")
    ran = run("-p", "catbox", file("index.html", b"<!DOCTYPE html><p>mine"))
    assert (ran.code, len(downloads(online_box))) == (4, 1)


def test_a_file_that_the_host_takes_for_a_page_is_the_file(online_box, run, file):
    def change(ask, answer):
        answer.type = "text/html"
        return answer

    serve(online_box, change)
    ran = run("--json", "-p", "catbox", file("page", b"<!DOCTYPE html><p>mine"))
    assert (ran.code, ran.json["verified"], len(downloads(online_box))) == (0, "full", 1)


def test_retry_0_looks_once(online_box, run, file):
    online_box.fault("catbox.moe", "status", status=404, when="download")
    ran = run("--retry", "0", "-p", "catbox", file())
    assert (ran.code, len(downloads(online_box))) == (4, 1) and "404 Not Found" in ran.err


def test_max_time_bounds_the_waiting(online_box, run, file):
    online_box.fault("catbox.moe", "status", status=404, when="download")
    ran = run("--max-time", "2", "-p", "catbox", file())
    assert ran.code in (1, 4) and ran.seconds < 3
    assert re.search(f"catbox .*{LINK}", ran.err)


def test_what_took_long_to_send_has_more_time(online_box, run, file, monkeypatch):
    """A sixth of the time of the upload, at most a minute."""
    monkeypatch.setattr(t, "LATE", 0.1)
    online_box.fault("catbox.moe", "slow", when="upload", delay=6)
    online_box.fault("catbox.moe", "status", status=404, when="download", times=2)
    assert run("-p", "catbox", file()).code == 0


def test_how_long_a_link_may_take_is_for_the_proof_to_say():
    early = t.NotYet("x", retry_after=2.0)
    assert t.pause(early, 99, 0) == 2.0 and isinstance(early, t.Busy)


# 3 Parts ------------------------------------------------------------------------------------------


def test_the_first_sample_is_a_plain_get_that_hangs_up(online_box, run, file):
    big = os.urandom(64 * MIB)
    ran = run("--json", "-p", "catbox", file("a.bin", big))
    end = len(big) - 64 * KIB
    expected = [None, *("bytes=%d-%d" % (at, at + 64 * KIB - 1) for at in (end // 2, end))]
    assert (ran.json["verified"], ranges_asked(online_box)) == ("sample", expected)


def other_range(start_of, stop_of):
    """A server whose 206 says truly which range it gives: not the one that was asked for."""

    def change(ask, answer):
        asked = re.fullmatch(r"bytes=(\d+)-(\d+)", ask.header("Range"))
        if not asked:
            return answer
        size = answer.content.size
        start = start_of(int(asked[1]))
        stop = stop_of(start, int(asked[2]) + 1)
        data = b"".join(answer.content.chunks(start, stop))
        span = ("Content-Range", "bytes %d-%d/%d" % (start, stop - 1, size))
        return Answer(206, data, answer.type, [span])

    return change


def test_a_short_part_is_asked_on(online_box, run, file):
    serve(
        online_box, other_range(lambda start: start, lambda start, stop: min(stop, start + 20_000))
    )
    ran = run("--json", "-p", "catbox", file("a.bin", BIG))
    assert (ran.code, ran.json["verified"]) == (0, "sample")
    assert len(ranges_asked(online_box)) == 1 + 2 * 4


def test_wrong_bytes_are_seen_behind_a_short_part_too(online_box, run, file):
    short = other_range(lambda start: start, lambda start, stop: min(stop, start + 20_000))

    def change(ask, answer):
        answer = short(ask, answer)
        if answer.status == 206 and len(answer.body) < 20_000:
            answer.body = b"!" + answer.body[1:]
        return answer

    serve(online_box, change)
    ran = run("-p", "catbox", file("a.bin", BIG))
    assert ran.code == 4 and "content differs at offset" in ran.err


def no_such_range(ask, answer):
    return Answer(416, "no such range") if ask.header("Range") else answer


STRANGE = {
    "none at all": no_such_range,
    "the start": other_range(lambda start: 0, lambda start, stop: 64 * KIB),
    "a block of its own": other_range(
        lambda start: start // MIB * MIB, lambda start, stop: start + 64 * KIB
    ),
    "a byte later": other_range(lambda start: start + 1, lambda start, stop: stop),
    "one byte": other_range(lambda start: start, lambda start, stop: start + 1),
}


@pytest.mark.parametrize("fault", STRANGE)
def test_another_part_than_requested_proves_nothing(online_box, run, file, fault):
    serve(online_box, STRANGE[fault])
    ran = run("--json", "-p", "catbox", file("a.bin", BIG))
    assert (ran.code, ran.json["verified"]) == (0, "full")
    assert len(ranges_asked(online_box)) < 6


@pytest.mark.parametrize(
    "span", [None, "", "bytes */5242880", "bytes", "items 0-1/2", "bytes 1-x/y"]
)
def test_a_part_without_content_range_proves_nothing(online_box, run, file, span):
    def change(ask, answer):
        if not ask.header("Range"):
            return answer
        headers = [] if span is None else [("Content-Range", span)]
        return Answer(206, os.urandom(64 * KIB), answer.type, headers)

    serve(online_box, change)
    ran = run("--json", "-p", "catbox", file("a.bin", BIG))
    assert (ran.code, ran.json["verified"]) == (0, "full")


def test_a_part_of_unknown_size_is_compared(online_box, run, file):
    def change(ask, answer):
        answer = other_range(lambda start: start, lambda start, stop: stop)(ask, answer)
        headers = [(name, re.sub(r"/\d+$", "/*", value)) for name, value in answer.headers]
        return answer if answer.content else Answer(206, answer.body, answer.type, headers)

    serve(online_box, change)
    ran = run("--json", "-p", "catbox", file("a.bin", BIG))
    assert (ran.code, ran.json["verified"]) == (0, "sample")


def test_a_longer_file_is_detected_despite_a_matching_start(online_box, run, file):
    def change(ask, answer):
        answer.content = Content(len(BIG) + 1, lambda start, stop: iter([(BIG + b"!")[start:stop]]))
        return answer

    serve(online_box, change)
    ran = run("-p", "catbox", file("a.bin", BIG))
    assert ran.code == 4 and f"wrong size: {len(BIG) + 1} bytes, expected {len(BIG)}" in ran.err


@pytest.mark.parametrize("hops, code", [(10, 0), (11, 4)])
def test_ten_redirects_are_followed(online_box, run, file, hops, code):
    def change(ask, answer):
        turn = len(downloads(online_box))
        return Answer(302, "", headers=[("Location", ask.url)]) if turn <= hops else answer

    serve(online_box, change)
    ran = run("--retry", "0", "-p", "catbox", file())
    assert ran.code == code
    assert code == 0 or "too many redirects" in ran.err


# 4 What is public is never forgotten --------------------------------------------------------------

DROP = "https://drop.example.org/"


@pytest.mark.parametrize("quiet", [(), ("-q",)])
def test_a_failed_proof_says_host_url_and_how_to_delete_it(online_box, run, file, quiet):
    online_box.fault("drop.example.org", "other", when="download")
    ran = run(*quiet, "-p", DROP, file())
    (url,) = online_box.stored
    assert (ran.code, ran.out) == (4, "")
    assert f"a copy may remain on drop.example.org (unverified): {url} " in ran.err
    assert re.search(rf"   delete with: curl -X DELETE {re.escape(url)}/\S+\n", ran.err)


@pytest.mark.needs("curl")
def test_the_way_to_delete_it_works(online_box, run, file):
    online_box.fault("drop.example.org", "other", when="download", times=1)
    ran = run("-p", DROP, file())
    args = re.search(r"delete with: curl (-X DELETE \S+)", ran.err)[1].split()
    done = subprocess.run(
        ["curl", "-sS", "--proxy", online_box.proxy, "--cacert", online_box.ca, *args],
        capture_output=True,
        env={"PATH": os.environ["PATH"]},
    )
    online_box.complaints.clear()  # about the User-Agent of curl
    assert done.returncode == 0 and all(stored.deleted for stored in online_box.stored.values())


def test_a_host_without_a_way_to_delete_says_so(online_box, run, file):
    online_box.fault("catbox.moe", "other", when="download")
    ran = run("-p", "catbox", file())
    (url,) = online_box.stored
    assert f"a copy may remain on catbox (unverified): {url}   cannot be deleted" in ran.err


@pytest.mark.parametrize("quiet", [(), ("-q",)])
def test_json_tells_it_and_prints_the_line_at_exit_4_too(online_box, run, file, quiet):
    online_box.fault("drop.example.org", "other", when="download")
    online_box.fault("catbox.moe", "other", when="download")
    ran = run(*quiet, "--json", "-p", f"{DROP},catbox", file())
    (drop,) = [url for url in online_box.stored if url.startswith(DROP)]
    (catbox,) = [url for url in online_box.stored if not url.startswith(DROP)]
    first, second = ran.json["unverified"]
    assert (ran.code, ran.json["url"]) == (4, None)
    assert (first["provider"], first["url"]) == ("drop.example.org", drop)
    assert first["delete"].startswith(drop + "/")
    assert second == {
        "host": "catbox", "provider": "catbox", "url": catbox, "delete": None, "delete_page": None,
    }  # fmt: skip
    assert drop in ran.err and catbox in ran.err


@pytest.mark.parametrize("quiet", [(), ("-q",)])
def test_an_unverified_copy_on_another_host_is_reported_after_success(online_box, run, file, quiet):
    online_box.fault("catbox.moe", "other", when="download")
    ran = run(*quiet, "--json", "-p", "catbox,x0at", file())
    (lost,) = [url for url in online_box.stored if "catbox" in url]
    assert (ran.code, ran.json["provider"]) == (0, "x0at")
    assert ran.json["unverified"] == [
        {"host": "catbox", "provider": "catbox", "url": lost, "delete": None, "delete_page": None}
    ]
    assert f"a copy may remain on catbox (unverified): {lost}" in ran.err


def test_nothing_is_unverified_where_all_is_well(run, file):
    assert run("--json", file()).json["unverified"] == []
    assert run("--json", "--no-check", file()).json["unverified"] == []


def test_exceptions_carry_the_link(online_box, file):
    online_box.fault("drop.example.org", "other", when="download")
    with pytest.raises(t.AllProvidersFailed) as caught:
        t.upload(file(), DROP)
    (url,) = online_box.stored
    (cause,) = caught.value.failures
    assert isinstance(cause, t.NotVerified) and cause.unverified == caught.value.unverified
    (link,) = cause.unverified
    assert (link.provider, link.url, link.delete[: len(url)]) == ("drop.example.org", url, url)
    assert pickle.loads(pickle.dumps(caught.value)).unverified == (link,)


def test_a_timeout_during_verification_reports_the_link(online_box, file):
    online_box.fault("catbox.moe", "silence", when="download")
    with pytest.raises(t.AllProvidersFailed) as caught:
        t.upload(file(), "catbox", max_time=1)
    assert [link.url for link in caught.value.unverified] == list(online_box.stored)


def test_a_change_during_verification_reports_the_link(online_box, run, file):
    path = file("a.bin", BIG)

    def change(ask, answer):
        path.write_bytes(b"other")
        return answer

    serve(online_box, change)
    ran = run("--json", "-p", "catbox", path)
    assert (ran.code, [link["url"] for link in ran.json["unverified"]]) == (
        6,
        list(online_box.stored),
    )


def test_an_earlier_copy_is_reported_if_the_file_changes_at_the_next_host(online_box, run, file):
    path = file("a.bin", BIG)

    def change(ask, answer):
        path.write_bytes(b"other")
        return Answer(200, "other", "text/plain")

    serve(online_box, change)
    ran = run("--json", "-p", "catbox,x0at", path)
    (lost,) = [url for url in online_box.stored if "catbox" in url]
    assert ran.code == 6 and lost in [link["url"] for link in ran.json["unverified"]]


MOMENTS = {
    "while the link is verified": ("catbox.moe", "silence", {"when": "download"}),
    "while a late link is waited for": (
        "catbox.moe",
        "status",
        {"when": "download", "status": 404},
    ),
    "at the next host": ("x0.at", "silence", {"when": "upload"}),
}


@posix
@pytest.mark.parametrize(
    "options, sign",
    [
        ((), signal.SIGINT),
        (("-q",), signal.SIGINT),
        (("--json",), signal.SIGTERM),
        (("-j", "2", "--json"), signal.SIGINT),
    ],
)
@pytest.mark.parametrize("moment", MOMENTS)
def test_the_link_is_reported_however_the_program_ends(box, start, file, moment, options, sign):
    host, fault, details = MOMENTS[moment]
    box.fault(host, fault, **details)
    if host == "x0.at":
        box.fault("catbox.moe", "other", when="download")
    process = start(*options, "-p", "catbox,x0at", file("a.txt"), file("b.txt"))
    until = time.monotonic() + 10
    copies = 2 if "-j" in options else 1
    while time.monotonic() < until:
        looked = [seen for seen in box.requests if seen.method == "GET" and "catbox" in seen.host]
        ready = box.uploads("x0.at") if host == "x0.at" else looked
        if len(ready) >= copies:
            break
        time.sleep(0.02)
    time.sleep(0.3)
    process.send_signal(sign)
    out, err = process.communicate(timeout=10)
    urls = [url for url in box.stored if "catbox" in url]
    assert len(urls) == copies
    assert process.returncode not in (0, 4) and b"Traceback" not in err
    for url in urls:
        assert f"a copy may remain on catbox (unverified): {url}" in err.decode()
    results = [json.loads(line) for line in out.splitlines()] if "--json" in options else []
    told_urls = sorted(link["url"] for one in results for link in one["unverified"])
    assert told_urls == (sorted(urls) if results else [])
    assert bool(out) == ("--json" in options)
    assert all(one["url"] is None for one in results)


def test_a_verified_link_stays_verified_when_the_next_file_is_interrupted(box, start, file):
    box.fault("catbox.moe", "silence", when="upload", skip=1)
    process = start("-p", "catbox", file("a.txt"), file("b.txt"))
    first = process.stdout.readline().decode().strip()
    until = time.monotonic() + 10
    while len(box.uploads()) < 2 and time.monotonic() < until:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=10)
    assert first in box.stored and b"unverified" not in err


# 5 Two files and one URL --------------------------------------------------------------------------


def one_url(box):
    """A host that gives one URL for all that it gets, as those do that keep each content once."""

    def change(ask, answer):
        first = next(iter(box.stored))
        answer.body = first + "\n"
        return answer

    box.fault("x0.at", "altered", change=change)
    box.world.faults[-1].when = "upload"


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_two_files_with_one_url_are_reported(online_box, run, file, jobs):
    one_url(online_box)
    first, second = file("a.txt"), file("b.txt")
    ran = run("-j", jobs, "-p", "x0at", first, second)
    assert ran.code == 0 and len(set(ran.out.splitlines())) == 1
    assert f"{second}: same URL as {first}\n" in ran.err


def test_different_urls_and_quiet_runs_have_no_warning(online_box, run, file):
    first, second = file("a.txt"), file("b.txt")
    assert "same URL" not in run("-p", "x0at", first, second).err
    one_url(online_box)
    assert run("-q", "-p", "x0at", first, second).err == ""


# 6 Unique names -----------------------------------------------------------------------------------

STAMP = r"_\d{8}_\d{6}"


def at_one_second(monkeypatch):
    now = time.gmtime()
    monkeypatch.setattr(t.time, "gmtime", lambda *args: now)


def test_names_that_are_made_in_one_second_differ(file, monkeypatch):
    at_one_second(monkeypatch)
    path = file("report.tar.gz")
    names = [t.Source.of(path, f"once-{os.getpid()}.txt", unique=True).name for _ in range(50)]
    assert len(set(names)) == 50
    assert re.fullmatch(rf"once-\d+{STAMP}\.txt", names[0])
    assert all(re.fullmatch(rf"once-\d+{STAMP}_[0-9a-f]+\.txt", name) for name in names[1:])


def test_two_files_of_one_run_have_different_names(online_box, run, file, tmp_path):
    paths = []
    for folder in ("one", "two", "three"):
        (tmp_path / folder).mkdir()
        paths.append(file(f"{folder}/same.txt", folder.encode()))
    ran = run("--unique", "-p", "filebin", *paths)
    assert ran.code == 0
    names = [url.rpartition("/")[2] for url in ran.out.splitlines()]
    assert len(set(names)) == 3 and re.fullmatch(rf"same{STAMP}\.txt", names[0])


def names_of_the_next_minute(form):
    return [time.strftime(form, time.gmtime(time.time() + n)) for n in range(-1, 60)]


@pytest.mark.parametrize("force", [(), ("--force",)])
@pytest.mark.parametrize(
    "remote, form",
    [
        ((), "/upload/a_%Y%m%d_%H%M%S.txt"),
        (("--remote-path", "docs/b.txt"), "/docs/b_%Y%m%d_%H%M%S.txt"),
    ],
)
def test_a_name_that_another_process_has_used_gets_an_addition(
    online_box, run, file, clean_env, remote, form, force
):
    clean_env.setenv("DROPBOX_ACCESS_TOKEN", "sl.good")
    dropbox = online_box.hosts["api.dropboxapi.com"]
    dropbox.folders = names_of_the_next_minute(form)
    ran = run("--unique", *force, *remote, "-p", "dropbox", file())
    (entry,) = dropbox.entries.values()
    assert ran.code == 0
    assert re.fullmatch(form.partition("_")[0] + STAMP + r"_[0-9a-f]+\.txt", entry.path)


@pytest.mark.parametrize("options", [("--unique",), ("--unique", "--force")])
def test_the_hint_never_advises_what_was_given(online_box, run, file, clean_env, options):
    clean_env.setenv("DROPBOX_ACCESS_TOKEN", "sl.good")
    conflict = json.dumps({"error_summary": "path/conflict/file/..", "error": {}})
    online_box.fault("content.dropboxapi.com", "status", status=409, body=conflict)
    ran = run(*options, "-p", "dropbox", file())
    assert ran.code == 1 and "the file already exists in the Dropbox" in ran.err
    assert not re.search("--unique|--force", ran.err)
    assert len(online_box.uploads()) == 2


def test_what_was_not_given_is_advised(online_box, run, file, clean_env):
    clean_env.setenv("DROPBOX_ACCESS_TOKEN", "sl.good")
    conflict = json.dumps({"error_summary": "path/conflict/file/..", "error": {}})
    online_box.fault("content.dropboxapi.com", "status", status=409, body=conflict)
    ran = run("-p", "dropbox", file())
    assert "--force overwrites it, --unique gives another name" in ran.err


@posix
def test_two_processes_in_one_second_have_different_names(online_box, file, tmp_path):
    env = environment(online_box, {"DROPBOX_ACCESS_TOKEN": "sl.good"})
    started = []
    for n in range(4):
        (tmp_path / str(n)).mkdir()
        path = file(f"{n}/same.txt", str(n).encode())
        argv = command(["--unique", "-p", "dropbox", path])
        started.append(subprocess.Popen(argv, env=env, stdout=subprocess.PIPE, text=True))
    urls = [process.communicate(timeout=30)[0].strip() for process in started]
    assert [process.returncode for process in started] == [0] * 4
    assert sorted(online_box.stored[url].read() for url in urls) == [b"0", b"1", b"2", b"3"]
