"""The unchanged program against real S3 servers that check signatures; each test runs with each.

What a server cannot express stands in KNOWS (servers/s3.py), and the first chapter asks each of
them whether that is true. Chapters: 1 What the servers know, 2 What arrives, 3 Keys, 4 Nothing is
overwritten, 5 Links, 6 Faults on the way, 7 What is refused, 8 Interrupted, 9 Temporary
credentials, 10 What nobody may read.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import http.server
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from urllib.parse import quote, unquote

import pytest
from botocore import auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from conftest import command, environment
from internet.loopback import until
from internet.relay import Relay
from needs import need

MIB = 1 << 20
HOUR = 3600

# 1  What the servers know -------------------------------------------------------------------------


def plain(method, url, headers=(), body=None):
    """Status, headers and body, without any proxy."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(
            urllib.request.Request(url, body, dict(headers), method=method), timeout=30
        ) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read()


def ask(
    server,
    method,
    key,
    body=b"",
    headers=(),
    ago=0,
    region="",
    secret="",
    user="",
    bucket="",
    payload="",
):
    """Send a request that botocore signed, with one thing wrong; returns the error."""
    url = f"{server.endpoint}/{bucket or server.bucket}/{quote(key, safe='/-_.~')}"
    fields = {
        "Content-Type": "text/plain",
        **dict(headers),
        "x-amz-content-sha256": payload or hashlib.sha256(body).hexdigest(),
    }
    request = AWSRequest(method=method, url=url, headers=fields, data=body)
    signer = auth.SigV4Auth(
        Credentials(user or server.access_key, secret or server.secret_key),
        "s3",
        region or server.region,
    )
    signer._should_sha256_sign_payload = lambda request: True
    signer.payload = lambda request: fields["x-amz-content-sha256"]
    signer._normalize_url_path = lambda path: path
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(time.time() - ago))
    request.context["timestamp"] = stamp
    request.headers["X-Amz-Date"] = stamp
    canonical = signer.canonical_request(request)
    proof = signer.signature(signer.string_to_sign(request, canonical), request)
    signed = signer.signed_headers(signer.headers_to_sign(request))
    authorization = (
        f"AWS4-HMAC-SHA256 Credential={signer.scope(request)}, SignedHeaders={signed},"
        f" Signature={proof}"
    )
    status, headers, answer = plain(
        method, url, {**dict(request.headers.items()), "Authorization": authorization}, body or None
    )
    code = re.search(rb"<Code>(\w+)</Code>", answer)
    return status, code.group(1).decode() if code else "", answer


def link(server, key="known"):
    return server.client().generate_presigned_url(
        "get_object", Params={"Bucket": server.bucket, "Key": key}
    )


PROBES = {
    "sha256": lambda s: (
        ask(s, "PUT", "known", b"a", payload=hashlib.sha256(b"b").hexdigest())[0] == 400
    ),
    "crc32": lambda s: ask(s, "PUT", "known", b"a", {"x-amz-checksum-crc32": "AAAAAA=="})[0] == 400,
    "clock": lambda s: ask(s, "PUT", "known", b"a", ago=2 * HOUR)[0] in (400, 403),
    "region": lambda s: (
        b"<Region>" + s.region.encode() in ask(s, "PUT", "known", b"a", region="ap-south-9")[2]
    ),
    "condition": lambda s: (
        ask(s, "PUT", "known", b"a", {"If-None-Match": "*"})[:2] == (412, "PreconditionFailed")
    ),
    "users": lambda s: ask(s, "PUT", "known", b"a", user="AKIANOBODY")[1] == "InvalidAccessKeyId",
    "paths": lambda s: ask(s, "PUT", "../c", b"a")[0] == 200,
    "slashes": lambda s: {ask(s, "PUT", key, b"a")[0] for key in ("a//b", "/d")} == {200},
    "buckets": lambda s: ask(s, "PUT", "known", b"a", bucket="not-here")[1] == "NoSuchBucket",
    "links": lambda s: plain("GET", link(s))[::2] == (200, b"a"),
    "tls": lambda s: s.tls_endpoint.startswith("https://"),
    "sts": lambda s: bool(s.role),
}


def test_a_server_knows_what_its_table_says_and_no_more(s3):
    assert ask(s3, "PUT", "known", b"a")[:2] == (200, "")
    assert {word for word, probe in PROBES.items() if probe(s3)} == s3.knows


def test_a_server_checks_signatures(s3):
    assert ask(s3, "PUT", "bad", b"a", secret="wrong")[:2] == (403, "SignatureDoesNotMatch")
    assert plain("GET", f"{s3.endpoint}/{s3.bucket}/known")[0] in (400, 403)


# 2  What arrives ----------------------------------------------------------------------------------


@pytest.fixture
def upload(s3, program, tmp_path):
    """The program with the settings of this server; the link is unverified where it has none."""

    def run(*args, env=None, proof=True, tls=False, **more):
        settings = {"AWS_S3_BUCKET": s3.bucket, **s3.env(tls), **(env or {})}
        unproven = () if proof == "always" or ("links" in s3.knows and proof) else ("--no-check",)
        return program("-p", "s3", *unproven, *args, env=settings, **more)

    return run


@pytest.fixture
def folder(request):
    """A folder in the bucket for this test alone."""
    return re.sub(r"\W", "-", request.node.name) + "/"


def file_of(parent, size, name="a file.bin"):
    path = parent / name
    path.write_bytes(
        os.urandom(size) if size <= MIB else os.urandom(MIB) * (size // MIB) + b"x" * (size % MIB)
    )
    return path


def stored(server, key, tls=False):
    """What the server gives to boto3: the bytes' SHA-256, size and type."""
    response = server.client(tls=tls).get_object(Bucket=server.bucket, Key=key)
    digest = hashlib.sha256()
    for data in iter(lambda: response["Body"].read(MIB), b""):
        digest.update(data)
    return digest.hexdigest(), response["ContentLength"], response["ContentType"]


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def unfinished(server, key):
    """The open multipart uploads; rclone 1.75 says NoSuchUpload of a bucket that never had one."""
    client = server.client()
    try:
        uploads = client.list_multipart_uploads(Bucket=server.bucket).get("Uploads", [])
    except client.exceptions.NoSuchUpload:
        assert server.name == "rclone"
        uploads = []
    return [upload["Key"] for upload in uploads if upload["Key"] == key]


def good(done):
    """The link, if stdout has nothing else and stderr is empty."""
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("size", [0, 1, 5 * MIB, 16 * MIB, 16 * MIB + 1])
def test_what_is_sent_arrives(s3, upload, folder, tmp_path, size):
    path = file_of(tmp_path, size, "a report.txt")
    url = good(upload(path, "--remote-path", folder))
    assert url.startswith(
        f"{s3.endpoint}/{s3.bucket}/{quote(folder)}a%20report.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256&"
    )
    content_type = "text/plain" if size else "text/plain; charset=utf-8"  # random bytes are no text
    digest, length, type = stored(s3, f"{folder}a report.txt")
    assert (digest, length) == (sha256(path), size)
    assert type == content_type or (size == 1 and path.read_bytes()[0] in range(1, 128))


@pytest.mark.parametrize("size", [5 * MIB, 33 * MIB])
def test_what_is_sent_through_tls_arrives(s3, upload, folder, tmp_path, size):
    if "tls" not in s3.knows:
        assert not s3.tls_endpoint
        return
    path = file_of(tmp_path, size)
    assert good(upload(path, "--remote-path", folder, tls=True)).startswith(s3.tls_endpoint)
    assert stored(s3, f"{folder}a file.bin", tls=True) == (
        sha256(path),
        size,
        "application/octet-stream",
    )


@pytest.mark.parametrize("way", ["environment", "profile"])
def test_the_ca_bundle_of_the_aws_tools_counts_for_s3(s3, upload, folder, tmp_path, way):
    if "tls" not in s3.knows:
        assert not s3.tls_endpoint
        return
    config = tmp_path / "config"
    config.write_text(f"[default]\nca_bundle = {s3.ca}\n")
    settings = {"AWS_CA_BUNDLE": s3.ca} if way == "environment" else {"AWS_CONFIG_FILE": config}
    path = file_of(tmp_path, 33 * MIB)
    ran = upload(path, "--remote-path", folder, tls=True, env={"SSL_CERT_FILE": None, **settings})
    assert good(ran).startswith(s3.tls_endpoint)
    assert stored(s3, f"{folder}a file.bin", tls=True)[0] == sha256(path)


PEAK = """
import resource, subprocess, sys
done = subprocess.run(sys.argv[1:])
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(done.returncode)
"""


def test_100_mib_arrive_in_little_memory(s3, folder, tmp_path, box):
    """Eight parts of 16 MiB under way would be 128 MiB: they are read while they are sent.

    The limit is above what Python needs to compile the program, which grows with it.
    """
    path = file_of(tmp_path, 100 * MIB)
    arguments = ["-p", "s3", "--no-check", "-j", "8", "--remote-path", folder, path]
    # measuring takes memory
    env = environment(box, {"AWS_S3_BUCKET": s3.bucket, **s3.env(), "COVERAGE_PROCESS_START": None})

    def run(*args):  # a child of ours would be charged for our own memory
        argv = [sys.executable, "-c", PEAK, *command(args)]
        done = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=60)
        return good(done).split()

    *_, bare = run("--version")
    url, peak = run(*arguments)
    assert url.startswith(s3.endpoint) and int(peak) - int(bare) < 12 * 1024
    assert stored(s3, f"{folder}a file.bin")[:2] == (sha256(path), 100 * MIB)
    assert not unfinished(s3, f"{folder}a file.bin")


def test_json_tells_what_is_known(s3, upload, folder, tmp_path):
    path = file_of(tmp_path, 1000)
    result = json.loads(good(upload("--json", path, "--remote-path", folder, "--expire", "1h")))
    assert (
        result["sha256"] == sha256(path) and result["size"] == 1000 and result["provider"] == "s3"
    )
    assert result["verified"] == ("full" if "links" in s3.knows else "none")
    assert "X-Amz-Expires=3600&" in result["url"]


def test_one_job_is_one_connection(s3, upload, folder, tmp_path):
    with Relay(s3.endpoint) as relay:
        env = {"AWS_ENDPOINT_URL_S3": relay.url.rstrip("/")}
        good(
            upload(
                file_of(tmp_path, 40 * MIB),
                "-j",
                "1",
                "--remote-path",
                folder,
                env=env,
                proof=False,
            )
        )
        assert relay.connections == 1
        assert [request.promised() for request in relay.asked("PUT")] == [
            16 * MIB,
            16 * MIB,
            8 * MIB,
        ]


@pytest.mark.parametrize("size", [0, 17 * MIB])
def test_text_is_stored_with_its_charset(s3, upload, folder, tmp_path, size):
    path = tmp_path / "grüße.md"
    path.write_text("é" * (size // 2 + 1), encoding="utf-8")
    good(upload(path, "--remote-path", folder))
    assert stored(s3, f"{folder}grüße.md")[2] == "text/markdown; charset=utf-8"


# 3  Keys ------------------------------------------------------------------------------------------

KEYS = [
    "a b/c  d.txt",
    "a+b%41%.txt",
    "what#is?this=1&2.txt",
    "q'\"<>|\\^`{}[]~.txt",
    "a&b=c;d,e@f:g!$'()*.txt",
    "😀 üß中/ñ.txt",
]
NO_PATHS = ["../up.txt", "a/../b.txt", "a//b.txt", "./here.txt", "/lead.txt", "//.//x.txt"]


@pytest.mark.parametrize("key", KEYS)
def test_any_character_may_stand_in_a_key(s3, upload, tmp_path, key):
    path = file_of(tmp_path, 100)
    url = good(upload(path, "--remote-path", key, "--force"))
    assert unquote(url.partition("?")[0]) == f"{s3.endpoint}/{s3.bucket}/{key}"
    assert stored(s3, key)[0] == sha256(path)


@pytest.mark.parametrize("key", NO_PATHS)
def test_a_key_is_no_path(s3, upload, tmp_path, key):
    """It is sent as it is; a server that keeps files says itself that it cannot keep this one."""
    path = file_of(tmp_path, 100)
    done = upload(path, "--remote-path", key, "--force")
    dots = {".", ".."} & set(key.split("/"))
    if ("paths" if dots else "slashes") in s3.knows:
        assert (
            done.returncode == 0
            and unquote(done.stdout.partition("?")[0]) == f"{s3.endpoint}/{s3.bucket}/{key}"
        )
        assert stored(s3, key)[0] == sha256(path)
        folded = "links" in s3.knows and curl(done.stdout.strip())[0] != 200
        assert ("use curl --path-as-is" in done.stderr) == bool(dots) >= folded
        if "links" in s3.knows:
            assert curl(done.stdout.strip(), "--path-as-is") == (200, path.read_bytes())
    else:
        assert done.returncode == 1
        assert re.search(
            "400 (InvalidArgument: Object name contains unsupported characters"
            "|InvalidRequest: Invalid Request)",
            done.stderr,
        )


def test_parts_of_an_odd_key_are_one_object(s3, upload, folder, tmp_path):
    path, key = file_of(tmp_path, 17 * MIB), f"{folder}ü +%41?#.bin"
    good(upload(path, "--remote-path", key))
    assert stored(s3, key)[0] == sha256(path)


def test_a_key_that_is_too_long_is_not_sent(s3, upload, tmp_path):
    done = upload(file_of(tmp_path, 1), "--remote-path", "ü" * 513)
    assert (done.returncode, done.stdout) == (5, "") and "at most 1024 bytes" in done.stderr


def test_a_folder_ends_in_a_slash_and_a_name_does_not(s3, upload, folder, tmp_path):
    path = file_of(tmp_path, 3, "x.txt")
    assert f"/{quote(folder)}sub/x.txt?" in good(upload(path, "--remote-path", f"{folder}sub/"))
    assert f"/{quote(folder)}whole.csv?" in good(
        upload(path, "--remote-path", f"{folder}whole.csv")
    )
    assert stored(s3, f"{folder}whole.csv")[2].startswith("text/csv")
    assert f"/{quote(folder)}other.txt?" in good(
        upload(path, "--remote-path", folder, "--name", "other.txt")
    )


def test_a_server_that_has_only_a_number_is_never_asked_by_the_name_of_a_bucket(
    s3, upload, folder, tmp_path
):
    url = good(
        upload(
            file_of(tmp_path, 3, "x.txt"),
            "--remote-path",
            folder,
            env={"AWS_S3_PATH_STYLE": "false"},
        )
    )
    assert url.startswith(f"{s3.endpoint}/{s3.bucket}/{folder}x.txt?")


# 4  Nothing is overwritten ------------------------------------------------------------------------


@pytest.mark.parametrize("size", [10, 17 * MIB])
def test_an_object_is_overwritten_by_force_only(s3, upload, folder, tmp_path, size):
    old, new = file_of(tmp_path, 20, "old"), file_of(tmp_path, size, "new")
    key = f"{folder}kept.bin"
    good(upload(old, "--remote-path", key))
    done = upload(new, "--remote-path", key)
    assert (done.returncode, done.stdout) == (1, "")
    assert (
        f"s3://{s3.bucket}/{key} already exists"
        "   --force overwrites it, --unique gives another name" in done.stderr
    )
    assert stored(s3, key)[0] == sha256(old) and not unfinished(s3, key)
    good(upload(new, "--remote-path", key, "--force"))
    assert stored(s3, key)[0] == sha256(new)


@pytest.mark.parametrize("size", [10, 17 * MIB])
def test_who_comes_second_is_refused_where_the_server_can_tell(s3, upload, folder, tmp_path, size):
    """Between our look and our upload somebody else was faster."""
    key, path = f"{folder}race.bin", file_of(tmp_path, size)
    with Relay(s3.endpoint) as relay:
        relay.spoil(
            "GET",
            "race.bin",
            times=1,
            answer=lambda answer: (s3_put(s3, key, b"first"), (404, [], b""))[1],
        )
        done = upload(
            path,
            "--remote-path",
            key,
            env={"AWS_ENDPOINT_URL_S3": relay.url.rstrip("/")},
            proof=False,
        )
    if "condition" in s3.knows:
        assert done.returncode == 1 and "already exists" in done.stderr
        assert stored(s3, key)[0] == hashlib.sha256(b"first").hexdigest() and not unfinished(
            s3, key
        )
    else:  # nobody could know
        assert good(done) and stored(s3, key)[0] == sha256(path)


def s3_put(server, key, body):
    server.client().put_object(Bucket=server.bucket, Key=key, Body=body)


def test_unique_names_do_not_meet(s3, upload, folder, tmp_path):
    path = file_of(tmp_path, 10, "note.txt")
    good(upload(path, "--remote-path", folder))
    url = good(upload(path, "--remote-path", folder, "--unique"))
    assert re.search(r"/note_\d{8}_\d{6}\.txt\?", url)


FROZEN = """import time
real, now = time.gmtime, time.gmtime(1_700_000_000)
time.gmtime = lambda *when: real(*when) if when else now
"""


@pytest.mark.parametrize("force", [(), ("--force",)])
def test_two_processes_in_one_second_make_two_unique_names(s3, upload, folder, tmp_path, force):
    (tmp_path / "sitecustomize.py").write_text(FROZEN, encoding="ascii")
    env = {"PYTHONPATH": tmp_path}
    options = ("--remote-path", folder, "--unique", *force)
    first = good(upload(file_of(tmp_path, 10, "note.txt"), *options, env=env))
    second = good(upload(file_of(tmp_path, 20, "note.txt"), *options, env=env))
    assert re.search(r"/note_20231114_221320\.txt\?", first)
    assert re.search(r"/note_20231114_221320_[0-9a-f]+\.txt\?", second)


def test_an_empty_object_is_not_overwritten_either(s3, upload, folder, tmp_path):
    empty = file_of(tmp_path, 0, "e")
    good(upload(empty, "--remote-path", f"{folder}e"))
    done = upload(file_of(tmp_path, 5, "f"), "--remote-path", f"{folder}e")
    assert done.returncode == 1 and "already exists" in done.stderr


# 5  Links -----------------------------------------------------------------------------------------


def curl(url, *options):
    need("curl")
    done = subprocess.run(
        ["curl", "-sS", "--noproxy", "*", "-w", "%{http_code}", *options, url],
        capture_output=True,
        timeout=30,
    )
    assert done.returncode == 0, done.stderr
    return int(done.stdout[-3:]), done.stdout[:-3]


def test_anybody_can_fetch_the_link_for_as_long_as_wished(s3, upload, folder, tmp_path):
    path = file_of(tmp_path, 1000, "ü & x.txt")
    url = good(upload(path, "--remote-path", folder, "--expire", "10m"))
    assert "X-Amz-Expires=600&X-Amz-SignedHeaders=host&X-Amz-Signature=" in url
    if "links" in s3.knows:
        assert curl(url) == (200, path.read_bytes())
        assert curl(url.replace("X-Amz-Expires=600", "X-Amz-Expires=601"))[0] == 403
    assert curl(url.partition("?")[0])[0] in (400, 403)


def test_a_link_ends_with_its_time(s3, upload, folder, tmp_path):
    env = clock(tmp_path, -120)
    url = good(
        upload(
            file_of(tmp_path, 10), "--remote-path", folder, "--expire", "1m", env=env, proof=False
        )
    )
    assert "X-Amz-Expires=60&" in url
    if "links" in s3.knows:
        assert curl(url)[0] in (400, 403)


def test_a_link_lives_a_week_at_most(s3, upload, tmp_path):
    done = upload(file_of(tmp_path, 1), "--keep", "8d")
    assert (done.returncode, done.stdout) == (5, "") and "7 days" in done.stderr


@contextlib.contextmanager
def website(server):
    """What a CDN in front of a public bucket is: the same objects, without signatures."""

    class Site(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            data = (
                server.client()
                .get_object(Bucket=server.bucket, Key=unquote(self.path[1:]))["Body"]
                .read()
            )
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_):
            pass

    site = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Site)
    threading.Thread(target=site.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{site.server_port}"
    site.shutdown()
    site.server_close()


def test_a_public_url_is_the_link_and_is_proven(s3, upload, folder, program, tmp_path):
    path = file_of(tmp_path, 100, "a ü.txt")
    with website(s3) as url:
        env = {"AWS_S3_BUCKET": s3.bucket, **s3.env(), "TWAT_FS_S3_PUBLIC_URL": url}
        done = program("-p", "s3", "--json", path, "--remote-path", folder, env=env)
        result = json.loads(good(done))
        assert (
            result["url"] == f"{url}/{folder}a%20%C3%BC.txt"
            and result["verified"] == "full"
            and result["expires"] is None
        )


def test_a_bucket_that_is_not_public_is_found_out(s3, program, folder, tmp_path):
    env = {"AWS_S3_BUCKET": s3.bucket, **s3.env()}
    done = program("-p", "s3", "--public", file_of(tmp_path, 10), "--remote-path", folder, env=env)
    assert (done.returncode, done.stdout) == (4, "")
    assert "is the bucket public? without --public the link is signed" in done.stderr


# 6  Faults on the way -----------------------------------------------------------------------------


@pytest.fixture
def relay(s3):
    with Relay(s3.endpoint) as relay:
        yield relay


@pytest.fixture
def relayed(upload, relay):
    return functools.partial(
        upload, env={"AWS_ENDPOINT_URL_S3": relay.url.rstrip("/")}, proof=False
    )


@pytest.mark.parametrize("fault", [{"status": 503}, {"cut": 5 * MIB}], ids=str)
def test_a_part_that_fails_twice_is_sent_again(s3, relay, relayed, folder, tmp_path, fault):
    path, key = file_of(tmp_path, 40 * MIB), f"{folder}a file.bin"
    relay.spoil("PUT", "partNumber=2", times=2, **fault)
    done = relayed(path, "--remote-path", folder)
    assert done.returncode == 0, done.stderr
    assert stored(s3, key)[0] == sha256(path) and not unfinished(s3, key)
    assert len(relay.asked("PUT", "partNumber=2")) == 3 and len(relay.asked("PUT")) == 5


def test_a_part_that_fails_for_good_leaves_nothing(s3, relay, relayed, folder, tmp_path):
    refusal = b"<Error><Code>AccessDenied</Code><Message>no</Message></Error>"
    relay.spoil("PUT", "partNumber=2", status=403, body=refusal)
    done = relayed(file_of(tmp_path, 40 * MIB), "--remote-path", folder)
    assert (done.returncode, done.stdout) == (1, "")
    assert (
        f"no permission to write s3://{s3.bucket}/{folder}a file.bin   the key needs s3:PutObject"
        in done.stderr
    )
    assert relay.asked("DELETE", "uploadId=") and not unfinished(s3, f"{folder}a file.bin")


@pytest.mark.parametrize(
    "size, method, text",
    [(10, "PUT", "file"), (17 * MIB, "PUT", "partNumber=1"), (17 * MIB, "POST", "uploadId")],
)
def test_an_answer_that_is_lost_was_a_yes(s3, relay, relayed, folder, tmp_path, size, method, text):
    """At the retry the object exists, or the upload is complete: that is no failure."""
    path = file_of(tmp_path, size)
    relay.spoil(method, text, times=1, lost=True)
    done = relayed(path, "--remote-path", folder)
    assert done.returncode == 0, done.stderr
    assert stored(s3, f"{folder}a file.bin")[0] == sha256(path)


@pytest.mark.parametrize("second", [(403, "AccessDenied"), (404, "NoSuchUpload")], ids=str)
def test_what_was_there_before_is_not_taken_for_what_we_have_sent(
    s3, upload, relay, relayed, folder, tmp_path, second
):
    """As many parts, but other ones; the first answer to their end was that there is none yet."""
    old, new = file_of(tmp_path, 17 * MIB, "old"), file_of(tmp_path, 17 * MIB, "new")
    good(upload(old, "--remote-path", f"{folder}same", proof=False))
    status, code = second
    relay.spoil("POST", "uploadId", times=1, status=503)
    relay.spoil(
        "POST",
        "uploadId",
        times=1,
        status=status,
        body=f"<Error><Code>{code}</Code></Error>".encode(),
    )
    done = relayed(new, "--remote-path", f"{folder}same", "--force")
    assert (done.returncode, done.stdout) == (1, ""), done.stderr
    assert stored(s3, f"{folder}same")[0] == sha256(old) and not unfinished(s3, f"{folder}same")


@pytest.mark.parametrize("size", [10, 17 * MIB])
def test_other_bytes_than_ours_are_found_out(s3, relay, relayed, folder, tmp_path, size):
    relay.spoil(
        "PUT",
        times=1,
        answer=lambda answer: (answer[0], [("ETag", '"' + "0" * 32 + '"')], answer[2]),
    )
    done = relayed(file_of(tmp_path, size), "--remote-path", folder)
    assert (done.returncode, done.stdout) == (
        4,
        "",
    ) and "checksum mismatch; the stored file differs" in done.stderr


def clock(folder, seconds):
    """The environment of a machine whose clock is wrong: Python itself tells the time so."""
    (folder / "sitecustomize.py").write_text(
        f"import time\nright = time.time\ntime.time = lambda: right() + {seconds}\n"
    )
    return {"PYTHONPATH": str(folder)}


@pytest.mark.parametrize("hours, size", [(-2, 10), (2, 17 * MIB), (24 * 400, 10)])
def test_a_wrong_clock_is_put_right_by_the_servers(s3, upload, folder, tmp_path, hours, size):
    path = file_of(tmp_path, size)
    url = good(upload(path, "--remote-path", folder, env=clock(tmp_path, hours * HOUR)))
    assert stored(s3, f"{folder}a file.bin")[0] == sha256(path)
    if "links" in s3.knows:
        assert curl(url, "-r", "0-2")[1] == path.read_bytes()[:3]


def test_a_wrong_clock_overwrites_nothing(s3, upload, folder, tmp_path):
    s3_put(s3, f"{folder}a file.bin", b"old")
    done = upload(file_of(tmp_path, 10), "--remote-path", folder, env=clock(tmp_path, -2 * HOUR))
    assert done.returncode == 1 and "already exists" in done.stderr


@pytest.mark.parametrize("size, region", [(10, "ap-south-9"), (33 * MIB, "RegionOne")])
def test_the_region_is_learnt_once(s3, relay, upload, folder, tmp_path, size, region):
    """A server that has no regions takes any."""
    path = file_of(tmp_path, size)
    env = {"AWS_ENDPOINT_URL_S3": relay.url.rstrip("/"), "AWS_REGION": region}
    done = upload(path, "--remote-path", folder, env=env, proof=False)
    assert good(done) and stored(s3, f"{folder}a file.bin")[0] == sha256(path)
    used = [
        re.search(r"/([A-Za-z0-9-]+)/s3/aws4_request", request.header("Authorization")).group(1)
        for request in relay.arrived
    ]
    first = 1 if "region" in s3.knows else len(used)
    assert used == [region] * first + [s3.region] * (len(used) - first)


def test_who_does_not_know_checksums_or_conditions_is_asked_without(
    s3, relay, upload, folder, tmp_path
):
    """As some older services answer; here the relay speaks for them."""
    body = b"<Error><Code>NotImplemented</Code>"
    body += b"<Message>A header you provided is not implemented</Message></Error>"
    relay.spoil("PUT", "partNumber=1", times=2, status=501, body=body)
    path = file_of(tmp_path, 33 * MIB)
    done = upload(
        path,
        "-j",
        "1",
        "--remote-path",
        folder,
        env={"AWS_ENDPOINT_URL_S3": relay.url.rstrip("/")},
        proof=False,
    )
    assert good(done) and stored(s3, f"{folder}a file.bin")[0] == sha256(path)
    assert [bool(request.header("x-amz-checksum-crc32")) for request in relay.asked("PUT")] == [
        True,
        True,
        False,
        False,
        False,
    ]
    assert not any(request.header("If-None-Match") for request in relay.asked("POST", "uploadId"))


def test_a_slow_end_is_waited_for_no_longer_than_wished(s3, relay, relayed, folder, tmp_path):
    """--max-time is over in the middle of a part: the upload is aborted nevertheless."""
    relay.spoil("PUT", "partNumber=2", hold=True)
    done = relayed(file_of(tmp_path, 40 * MIB), "--remote-path", folder, "--max-time", "2s")
    assert done.returncode == 1 and "--max-time exceeded (2 s)" in done.stderr
    assert not unfinished(s3, f"{folder}a file.bin")


# 7  What is refused -------------------------------------------------------------------------------


def refused(done, *sentences):
    assert (done.returncode, done.stdout) == (1, "")
    assert len(done.stderr.splitlines()) == 2
    for sentence in sentences:
        assert sentence in done.stderr


@pytest.mark.parametrize("size", [10, 17 * MIB])
def test_a_wrong_secret(s3, upload, tmp_path, size):
    done = upload(file_of(tmp_path, size), env={"AWS_SECRET_ACCESS_KEY": "wrong-secret-0123"})
    refused(
        done,
        "the secret does not match the access key",
        "check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    )
    assert "wrong-secret-0123" not in done.stderr


def test_an_unknown_key(s3, upload, tmp_path):
    done = upload(file_of(tmp_path, 10), env={"AWS_ACCESS_KEY_ID": "AKIANOBODY"})
    expected = (
        "unknown access key" if "users" in s3.knows else "the secret does not match the access key"
    )
    refused(done, expected)


@pytest.mark.parametrize("size", [10, 17 * MIB])
def test_no_bucket(s3, upload, tmp_path, size):
    done = upload(file_of(tmp_path, size), env={"AWS_S3_BUCKET": "not-here-at-all"})
    if "buckets" in s3.knows:
        refused(done, "bucket not-here-at-all", "check AWS_S3_BUCKET and the endpoint")
    else:
        refused(done, "no permission to write s3://not-here-at-all/", "check AWS_ACCESS_KEY_ID and")


def test_no_server(s3, upload, tmp_path):
    done = upload(file_of(tmp_path, 10), env={"AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9"})
    refused(done, "connect")


def test_status_online_makes_a_round_trip(s3, program):
    env = {"AWS_S3_BUCKET": s3.bucket, **s3.env()}
    done = program("status", "s3", "--online", env=env)
    if "links" in s3.knows:
        assert done.returncode == 0 and re.search(r"works .*\(verified: full\)", done.stdout)
    else:
        assert done.returncode == 1 and "cannot download" in done.stdout
    assert (
        "X-Amz-Signature" not in done.stdout + done.stderr
        and s3.secret_key not in done.stdout + done.stderr
    )


# 8  Interrupted -----------------------------------------------------------------------------------


@pytest.mark.parametrize("jobs", ["1", "4"])
@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_upload_leaves_nothing_that_costs(
    s3, relay, start, folder, tmp_path, sign, jobs
):
    relay.spoil("PUT", "partNumber=2", hold=True)
    env = {"AWS_S3_BUCKET": s3.bucket, **s3.env(), "AWS_ENDPOINT_URL_S3": relay.url.rstrip("/")}
    process = start(
        "-p", "s3", "-j", jobs, "--remote-path", folder, file_of(tmp_path, 40 * MIB), env=env
    )
    until(
        lambda: (
            relay.asked("PUT", "partNumber=2")
            and relay.asked("PUT", "partNumber=2")[0].length == 16 * MIB
        )
    )
    assert unfinished(s3, f"{folder}a file.bin")
    begun = time.monotonic()
    process.send_signal(sign)
    out, err = process.communicate(timeout=20)
    assert time.monotonic() - begun < 5
    assert (process.returncode, out) == (
        -sign if sign == signal.SIGINT else 143,
        b"",
    ) and b"Traceback" not in err
    assert not unfinished(s3, f"{folder}a file.bin")


# 9  Temporary credentials -------------------------------------------------------------------------


@pytest.fixture
def moto(s3_pool):
    return s3_pool("moto")


def assumed(server, **more):
    response = server.client("sts").assume_role(
        RoleArn=server.role, RoleSessionName="test", **more
    )["Credentials"]
    return {
        "AWS_ACCESS_KEY_ID": response["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": response["SecretAccessKey"],
        "AWS_SESSION_TOKEN": response["SessionToken"],
        "AWS_CREDENTIAL_EXPIRATION": response["Expiration"].strftime("%Y-%m-%dT%H:%M:%SZ"),
    }


def test_temporary_credentials_and_when_their_link_ends(moto, program, tmp_path):
    credentials = assumed(moto)
    env = {"AWS_S3_BUCKET": moto.bucket, **moto.env(), **credentials}
    done = program("-p", "s3", "--json", "--no-check", file_of(tmp_path, 10, "temporary"), env=env)
    result = json.loads(done.stdout)
    assert done.returncode == 0 and result["expires"] == credentials["AWS_CREDENTIAL_EXPIRATION"]
    assert (
        "the link expires with its temporary credentials (" + result["expires"][:10] in done.stderr
    )
    assert (
        "X-Amz-Security-Token=" + quote(credentials["AWS_SESSION_TOKEN"], safe="") in result["url"]
    )
    assert stored(moto, "temporary")[1] == 10


def test_a_link_is_not_promised_longer_than_its_credentials_live(moto, program, tmp_path):
    env = {"AWS_S3_BUCKET": moto.bucket, **moto.env(), **assumed(moto)}
    done = program("-p", "s3", "--keep", "2d", file_of(tmp_path, 10, "kept"), env=env)
    assert (done.returncode, done.stdout) == (
        5,
        "",
    ) and "with its temporary credentials" in done.stderr
    done = program(
        "-p", "s3", "--keep", "10m", "--no-check", file_of(tmp_path, 10, "kept"), env=env
    )
    assert (
        done.returncode == 0
        and "the link expires with its temporary credentials (20" in done.stderr
    )


def test_what_has_been_stored_is_told_though_its_credentials_live_too_short_by_then(
    moto, program, tmp_path
):
    """When it began they lived long enough."""
    ends = {
        "AWS_CREDENTIAL_EXPIRATION": time.strftime(
            "%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 66)
        )
    }
    env = {"AWS_S3_BUCKET": moto.bucket, **moto.env(), **assumed(moto), **ends}
    path = file_of(tmp_path, 80_000, "slowly")
    done = program("-p", "s3", "--keep", "1m", "--limit-rate", "10K", "--no-check", path, env=env)
    assert (
        done.returncode == 0
        and "the link expires with its temporary credentials (20" in done.stderr
    ), done.stderr
    assert (
        int(re.search("X-Amz-Expires=([0-9]+)", done.stdout).group(1)) < 60
        and stored(moto, "slowly")[1] == 80_000
    )


GIVER = """#!/bin/sh
echo asked >> asked
[ "$(wc -l < asked)" -le 2 ] || exit 1
sleep 0.5
printf '{"Version": 1, "AccessKeyId": "%s", "SecretAccessKey": "%s", "SessionToken": "%s"}' \\
    "$1" "$2" "$(wc -l < asked)"
"""
EXPIRED = b"<Error><Code>ExpiredToken</Code><Message>no</Message></Error>"


@pytest.mark.parametrize("times, code", [(8, 0), (1000, 1)])
def test_eight_parts_whose_token_has_expired_ask_once_for_a_new_one(
    s3_pool, program, tmp_path, times, code
):
    """rclone accepts any token of a known key; a command that fails later is not run per part."""
    server = s3_pool("rclone")
    (tmp_path / "giver").write_text(GIVER)
    (tmp_path / "config").write_text(
        f"[default]\ncredential_process = sh giver {server.access_key} {server.secret_key}\n"
    )
    with Relay(server.endpoint) as relay:
        relay.spoil("PUT", "partNumber", times=times, status=400, body=EXPIRED)
        env = {
            "AWS_S3_BUCKET": server.bucket,
            "AWS_ENDPOINT_URL": relay.url,
            "AWS_CONFIG_FILE": tmp_path / "config",
        }
        done = program(
            "-p",
            "s3",
            "--no-check",
            "-j",
            "8",
            file_of(tmp_path, 128 * MIB, "eight"),
            "--force",
            env=env,
        )
    assert done.returncode == code and (
        "has expired, and the credential_process failed (1)" in done.stderr
    ) == bool(code)
    assert (tmp_path / "asked").read_text().count("asked") == 2 + code
    assert not unfinished(server, "eight")


def test_a_token_that_is_none(moto, program, tmp_path):
    env = {"AWS_S3_BUCKET": moto.bucket, **moto.env(), "AWS_SESSION_TOKEN": "no-token-at-all"}
    done = program("-p", "s3", file_of(tmp_path, 10), env=env)
    assert done.returncode == 1 and "invalid session token   check AWS_SESSION_TOKEN" in done.stderr
    assert "no-token-at-all" not in done.stderr


@pytest.mark.parametrize("method", ["environment", "profile"])
def test_a_role_is_assumed(moto, program, tmp_path, method):
    env = {"AWS_S3_BUCKET": moto.bucket, **moto.env(), "AWS_ENDPOINT_URL": moto.endpoint}
    if method == "environment":
        env["AWS_ROLE_ARN"] = moto.role
    else:
        config = tmp_path / "config"
        config.write_text(
            f"[profile base]\naws_access_key_id = {env.pop('AWS_ACCESS_KEY_ID')}\n"
            f"aws_secret_access_key = {env.pop('AWS_SECRET_ACCESS_KEY')}\n"
            f"[profile deploy]\nrole_arn = {moto.role}\n"
            f"source_profile = base\nregion = {moto.region}\n"
            "role_session_name = ours\nduration_seconds = 1800\n"
        )
        env.update(AWS_CONFIG_FILE=config, AWS_PROFILE="deploy")
    path = file_of(tmp_path, 10, f"role-{method}")
    done = program("-p", "s3", "--no-check", "--json", path, env=env)
    assert done.returncode == 0, done.stderr
    assert "X-Amz-Security-Token=" in json.loads(done.stdout)["url"]
    assert stored(moto, path.name)[0] == sha256(path)


def test_a_role_that_may_not_be_assumed(moto, program, tmp_path):
    env = {
        "AWS_S3_BUCKET": moto.bucket,
        **moto.env(),
        "AWS_ENDPOINT_URL": moto.endpoint,
        "AWS_ROLE_ARN": moto.role,
    }
    done = program("-p", "s3", file_of(tmp_path, 10), env={**env, "AWS_SECRET_ACCESS_KEY": "wrong"})
    assert (
        done.returncode == 5
        and "the Security Token Service: no credentials: 403 Forbidden" in done.stderr
    )


# 10  What nobody may read -------------------------------------------------------------------------


def test_no_secret_is_ever_shown(s3, upload, start, relay, folder, tmp_path):
    """No output has the secret, and only a link on stdout has its signature."""
    path, key = file_of(tmp_path, 20), s3.secret_key
    token = {"AWS_SESSION_TOKEN": "token-0123456789"}
    printed = upload("-v", path, "--remote-path", folder)
    assert printed.returncode == 0
    runs = [
        upload("-v", "--json", path, "--remote-path", folder),
        upload("-v", path, "--remote-path", folder + "t/", env=token),
        upload("-v", "--json", path, env={"AWS_S3_BUCKET": "not-here"}),
        upload("--dry-run", "--json", path),
        upload("-v", "--public", path, "--remote-path", folder + "p/", proof="always"),
    ]
    for done in (printed, *runs):
        assert (
            "X-Amz-Signature" not in done.stderr
            and "Signature=" not in done.stderr
            and "Credential=" not in done.stderr
        )
        for secret in (key, "token-0123456789"):
            shown = done.stderr + (done.stdout if done.returncode or secret == key else "")
            assert secret not in shown
    assert "X-Amz-Signature=" in printed.stdout
    assert any(done.returncode for done in runs)
