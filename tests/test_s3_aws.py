"""The unchanged program and Amazon as the box plays it (internet/aws.py).

Chapters: 1 Where a bucket is, 2 What it says and means, 3 What a key may not do, 4 Who gives out
keys.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import threading
import time

import pytest
from internet.aws import KEY, SECRET, TEMPORARY, TEMPORARY_SECRET, TOKEN, WEB_TOKEN

import twat_fs as t

MIB = 1 << 20
PICTURES = "pictures.s3.us-east-1.amazonaws.com"
SECRETS = (SECRET, TEMPORARY_SECRET, TOKEN, WEB_TOKEN)


@pytest.fixture
def aws(box, program):
    """The program with a user's keys and a bucket in us-east-1; its output has no secret."""

    def run(*args, env=None, **more):
        keys = {
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        done = program(
            "-p", "s3", *args, env={"AWS_S3_BUCKET": "pictures", **keys, **(env or {})}, **more
        )
        for secret in SECRETS:
            assert secret not in done.stderr and (secret == TOKEN or secret not in done.stdout)
        assert "Signature" not in done.stderr
        return done

    return run


@pytest.fixture
def small(tmp_path):
    path = tmp_path / "a file.txt"
    path.write_bytes(os.urandom(1000))
    return path


@pytest.fixture
def large(tmp_path):
    path = tmp_path / "large.bin"
    path.write_bytes(os.urandom(MIB) * 17 + b"end")
    return path


def stored(box, path, bucket="pictures", key=""):
    upload = box.stored[f"s3://{bucket}/{key or path.name}"]
    assert upload.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    return upload


def good(done):
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout.strip()


def asked(box, method=""):
    return [(seen.method, seen.host) for seen in box.requests if method in ("", seen.method)]


def error(code, message="no", more=""):
    return f"<Error><Code>{code}</Code><Message>{message}</Message>{more}</Error>"


# 1  Where a bucket is -----------------------------------------------------------------------------


def test_one_put_and_a_link_that_is_proven(aws, box, small):
    url = good(aws(small))
    assert re.match(
        rf"https://{PICTURES}/a%20file\.txt\?X-Amz-Algorithm=AWS4-HMAC-SHA256"
        rf"&X-Amz-Credential={KEY}%2F",
        url,
    )
    assert "X-Amz-Expires=604800&" in url
    assert asked(box) == [("PUT", PICTURES), ("GET", PICTURES)]
    put = box.requests[0]
    assert (
        put.header("x-amz-content-sha256") == "UNSIGNED-PAYLOAD"
        and put.header("If-None-Match") == "*"
    )
    assert put.header("x-amz-checksum-crc32") and stored(box, small).type == "text/plain"


def test_parts(aws, box, large):
    url = good(aws(large, "--json"))
    assert asked(box, "PUT") == [("PUT", PICTURES)] * 2 and json.loads(url)["verified"] == "sample"
    begun = next(seen for seen in box.requests if seen.method == "POST")
    assert (
        begun.header("x-amz-checksum-algorithm") == "CRC32"
        and stored(box, large).type == "application/octet-stream"
    )
    assert not box.hosts[PICTURES].uploads


def test_no_connection_is_left_to_the_garbage_collector(aws, small, large):
    assert good(aws(small, large, "-j", "4", "--no-check", env={"PYTHONDEVMODE": "1"}))


def test_a_bucket_with_dots_is_named_in_the_path(aws, box, small):
    url = good(aws(small, env={"AWS_S3_BUCKET": "files.example.org", "AWS_REGION": "eu-central-1"}))
    assert url.startswith("https://s3.eu-central-1.amazonaws.com/files.example.org/a%20file.txt?")


def test_path_style_by_wish(aws, small):
    assert good(aws(small, env={"AWS_S3_PATH_STYLE": "true"})).startswith(
        "https://s3.us-east-1.amazonaws.com/pictures/a"
    )


def test_china_has_its_own_addresses(aws, small):
    env = {"AWS_S3_BUCKET": "beijing", "AWS_DEFAULT_REGION": "cn-north-1"}
    assert good(aws(small, env=env)).startswith("https://beijing.s3.cn-north-1.amazonaws.com.cn/")


@pytest.mark.parametrize("moved", [301, 307, 400])
@pytest.mark.parametrize("bucket", ["berlin", "files.example.org"])
def test_the_region_is_learnt_from_what_the_bucket_says(aws, box, small, moved, bucket):
    box.hosts[PICTURES].moved = moved
    url = good(aws(small, env={"AWS_S3_BUCKET": bucket}))
    assert (
        len(asked(box, "PUT")) == 2
        and "eu-central-1.amazonaws.com/" in url
        and "%2Feu-central-1%2Fs3%2F" in url
    )
    stored(box, small, bucket)


def test_parts_go_to_the_right_region_at_once(aws, box, large):
    good(aws(large, env={"AWS_S3_BUCKET": "berlin"}))
    assert asked(box)[0][1] == "berlin.s3.us-east-1.amazonaws.com"
    assert {host for _, host in asked(box)[1:]} == {"berlin.s3.eu-central-1.amazonaws.com"}


def test_a_region_that_nobody_names_is_said(aws, box, small):
    box.fault(
        "berlin.s3.us-east-1.amazonaws.com", "status", status=301, body=error("PermanentRedirect")
    )
    done = aws(small, env={"AWS_S3_BUCKET": "berlin"})
    assert done.returncode == 1 and "berlin is in another region   set AWS_REGION" in done.stderr
    assert len(asked(box)) == 1


def test_a_public_bucket(aws, box, small):
    box.hosts[PICTURES].public = True
    assert good(aws(small, "--public")) == f"https://{PICTURES}/a%20file.txt"


def test_the_address_of_a_public_bucket_may_hold_any_letter(aws, small):
    done = aws(small, "--no-check", env={"TWAT_FS_S3_PUBLIC_URL": "https://bücher.example/ü/"})
    assert good(done) == "https://xn--bcher-kva.example/%C3%BC/a%20file.txt"


# 2  What it says and means ------------------------------------------------------------------------


def test_slow_down_is_waited_for(aws, box, small):
    box.fault(
        PICTURES, "status", times=2, status=503, body=error("SlowDown", "Reduce your request rate.")
    )
    good(aws(small))
    assert len(asked(box, "PUT")) == 3 and stored(box, small)


def test_a_busy_bucket_may_say_how_long(aws, box, small):
    box.fault(
        PICTURES,
        "status",
        times=1,
        status=400,
        body=error("RequestTimeout"),
        headers=[("Retry-After", "0")],
    )
    good(aws(small))


def test_an_error_inside_a_200_is_none(aws, box, large):
    """AWS sends the head before it knows the end."""
    box.fault(
        PICTURES,
        "status",
        times=1,
        skip=3,
        status=200,
        body=error("InternalError", "We encountered an internal error."),
    )
    good(aws(large, "-j", "1"))
    assert len([method for method, _ in asked(box) if method == "POST"]) == 3 and stored(box, large)


def test_an_error_inside_a_200_that_stays(aws, box, large):
    box.fault(
        PICTURES,
        "status",
        times=1,
        skip=3,
        status=200,
        body=error("InvalidPart", "One or more parts"),
    )
    done = aws(large, "-j", "1")
    assert (
        done.returncode == 1
        and "200 InvalidPart: One or more parts" in done.stderr
        and not done.stdout
    )
    assert (
        box.hosts[PICTURES].aborted == ["s3://pictures/large.bin"]
        and not box.hosts[PICTURES].uploads
    )


@pytest.mark.parametrize("name, skip", [("small", 0), ("large", 3)])
def test_two_at_the_same_time_begin_anew(aws, box, request, name, skip):
    """409: AWS wants the whole upload again, all parts of it too."""
    path = request.getfixturevalue(name)
    box.fault(
        PICTURES, "status", times=1, skip=skip, status=409, body=error("ConditionalRequestConflict")
    )
    good(aws(path, "-j", "1"))
    assert stored(box, path) and not box.hosts[PICTURES].uploads
    assert len(asked(box, "PUT")) == (2 if name == "small" else 4)


def test_two_at_the_same_time_for_ever(aws, box, large):
    box.fault(
        PICTURES,
        "status",
        when="any",
        skip=3,
        times=1,
        status=409,
        body=error("ConditionalRequestConflict"),
    )
    box.fault(
        PICTURES, "status", skip=4, times=1, status=409, body=error("ConditionalRequestConflict")
    )
    done = aws(large, "-j", "1")
    assert done.returncode == 1 and "409 ConditionalRequestConflict" in done.stderr
    assert not box.hosts[PICTURES].uploads


def test_what_exists_is_not_overwritten(aws, box, small, large):
    good(aws(small, "--remote-path", "x"))
    for path in (small, large):
        done = aws(path, "--remote-path", "x")
        assert (
            done.returncode == 1
            and "s3://pictures/x already exists   --force overwrites it" in done.stderr
        )
    assert stored(box, small, key="x") and not box.hosts[PICTURES].uploads
    good(aws(large, "--remote-path", "x", "--force"))
    assert stored(box, large, key="x")


def test_a_key_is_told_as_it_is(aws, small):
    key = "a BUCKET in its PLACE"
    good(aws(small, "--remote-path", key))
    assert f"s3://pictures/{key} already exists" in aws(small, "--remote-path", key).stderr


@pytest.mark.parametrize("key", ["data:a/b\nX-Mine: 1,c", "data:text/中,c", "data:text/html,c"])
def test_a_key_is_no_url_that_says_its_type(aws, box, small, key):
    good(aws(small, "--remote-path", key))
    assert stored(box, small, key=key).type == "application/octet-stream"


@pytest.mark.parametrize("name", ["small", "large"])
def test_who_knows_no_checksums_is_sent_none(aws, box, request, name):
    path = request.getfixturevalue(name)
    box.hosts[PICTURES].checksums = False
    good(aws(path))
    assert stored(box, path)
    assert [
        bool(seen.header("x-amz-checksum-crc32")) for seen in box.requests if seen.method == "PUT"
    ][-1:] == [False]


class Count(t.Progress):
    """What has left, and the most that it ever was."""

    def __init__(self):
        self.lock, self.now, self.most = threading.Lock(), 0, 0

    def sent(self, count):
        with self.lock:
            self.now += count
            self.most = max(self.most, self.now)


@pytest.mark.parametrize("name", ["small", "large"])
@pytest.mark.parametrize("bucket", ["pictures", "berlin"])
def test_what_is_sent_twice_counts_once(online_box, request, name, bucket):
    """Once more without checksums, and once more to the right region."""
    path, count = request.getfixturevalue(name), Count()
    online_box.hosts[PICTURES].checksums = False
    settings = {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_S3_BUCKET": bucket}
    t.upload(path, "s3", settings=settings, progress=count, jobs=1)
    assert len(asked(online_box, "PUT")) > 1 and count.now == count.most == path.stat().st_size


def test_checksums_may_be_switched_off(aws, box, large):
    good(aws(large, env={"AWS_REQUEST_CHECKSUM_CALCULATION": "WHEN_REQUIRED"}))
    assert not any(
        "x-amz-checksum" in name.lower() for seen in box.requests for name, _ in seen.headers
    )


def test_who_knows_no_conditions_is_asked_without(aws, box, small):
    """501 NotImplemented: as some services answer If-None-Match."""
    box.fault(
        PICTURES,
        "status",
        times=1,
        status=501,
        body=error("NotImplemented", "If-None-Match is not implemented"),
    )
    good(aws(small))
    first, second = (seen for seen in box.requests if seen.method == "PUT")
    assert first.header("If-None-Match") == "*" and not second.header("If-None-Match")


def test_a_line_that_breaks_in_a_part(aws, box, large):
    box.fault(PICTURES, "reset", times=2, when="upload", after=MIB)
    good(aws(large, "-j", "1"))
    assert stored(box, large) and len(asked(box, "PUT")) == 4


def test_a_file_that_changes_while_it_is_sent_leaves_nothing(box, start, large):
    box.fault(PICTURES, "slow", delay=1.5, times=1, when="upload")
    env = {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_S3_BUCKET": "pictures"}
    process = start("-p", "s3", "-j", "1", large, env=env)
    end = time.monotonic() + 10
    while not box.hosts[PICTURES].uploads and time.monotonic() < end:
        time.sleep(0.01)
    with open(large, "ab") as file:
        file.write(b"more")
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (6, b"") and b"changed while being read" in err
    assert not box.hosts[PICTURES].uploads and "s3://pictures/large.bin" not in box.stored


# 3  What a key may not do -------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["small", "large"])
def test_least_privilege_is_enough(aws, box, request, name):
    """PutObject, and GetObject for the link, suffice; without ListBucket a missing key is a 403."""
    box.hosts[PICTURES].allowed = {"PutObject", "GetObject", "AbortMultipartUpload"}
    good(aws(request.getfixturevalue(name)))


@pytest.mark.parametrize("name", ["small", "large"])
def test_a_key_that_may_not_write(aws, box, request, name):
    box.hosts[PICTURES].allowed = {"GetObject"}
    done = aws(request.getfixturevalue(name))
    assert done.returncode == 1 and "no permission to write s3://pictures/" in done.stderr
    assert "the key needs s3:PutObject (and s3:AbortMultipartUpload)" in done.stderr


def test_a_key_that_may_not_read(aws, box, small):
    box.hosts[PICTURES].allowed = {"PutObject"}
    done = aws(small)
    assert (done.returncode, done.stdout) == (
        4,
        "",
    ) and "the key may write but not read: allow s3:GetObject" in done.stderr
    assert good(aws(small, "--no-check", "--force")).startswith(f"https://{PICTURES}/")


def test_a_key_that_may_not_abort_says_why_it_failed(aws, box, large):
    box.hosts[PICTURES].allowed = {"PutObject", "GetObject"}
    box.fault(PICTURES, "status", skip=1, status=403, body=error("AccessDenied"), when="upload")
    done = aws(large, "-j", "1")
    assert done.returncode == 1 and "no permission to write s3://pictures/large.bin" in done.stderr


@pytest.mark.parametrize(
    "code, status, sentence",
    [
        ("QuotaExceeded", 403, "pictures is full   delete something there"),
        ("XMinioStorageFull", 507, "the storage is full"),
        ("EntityTooLarge", 400, "file too large for this service"),
        ("AccountProblem", 403, "403 AccountProblem: There is a problem with your account"),
        ("InvalidBucketName", 400, "400 InvalidBucketName: There is"),
    ],
)
def test_what_a_service_refuses(aws, box, small, code, status, sentence):
    box.fault(
        PICTURES, "status", status=status, body=error(code, "There is a problem with your account")
    )
    done = aws(small)
    assert (done.returncode, done.stdout) == (1, "") and sentence in done.stderr


def test_an_unknown_bucket_and_key(aws, small):
    assert (
        "bucket nowhere"
        in aws(small, env={"AWS_S3_BUCKET": "nowhere", "AWS_S3_PATH_STYLE": "1"}).stderr
    )
    assert "unknown access key" in aws(small, env={"AWS_ACCESS_KEY_ID": "AKIANOBODY"}).stderr
    assert (
        "the secret does not match the access key"
        in aws(small, env={"AWS_SECRET_ACCESS_KEY": "x"}).stderr
    )


def test_a_token_that_has_expired(aws, small):
    env = {
        "AWS_ACCESS_KEY_ID": TEMPORARY,
        "AWS_SECRET_ACCESS_KEY": TEMPORARY_SECRET,
        "AWS_SESSION_TOKEN": "expired",
    }
    done = aws(small, env=env)
    assert (
        done.returncode == 1
        and "the session token has expired   get new temporary credentials" in done.stderr
    )


# 4  Who gives out keys ----------------------------------------------------------------------------

ROLE = "arn:aws:iam::123456789012:role/uploader"
NOBODY = {"AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None}


def test_a_role(aws, box, small):
    url = good_but_ending(aws(small, env={"AWS_ROLE_ARN": ROLE}))
    assert f"X-Amz-Credential={TEMPORARY}%2F" in url
    assert asked(box)[0] == ("POST", "sts.us-east-1.amazonaws.com")


def good_but_ending(done):
    assert (
        done.returncode == 0
        and "the link expires with its temporary credentials (20" in done.stderr
    ), done.stderr
    assert len(done.stderr.splitlines()) == 1
    return done.stdout.strip()


def test_the_role_of_a_profile_with_the_keys_of_another(aws, box, small, tmp_path):
    config = tmp_path / "config"
    config.write_text(
        f"[default]\nregion = eu-central-1\n"
        f"[profile up]\nrole_arn = {ROLE}\nsource_profile = base\nexternal_id = 42\n"
        f"region = eu-central-1\n"
        f"[profile base]\naws_access_key_id = {KEY}\naws_secret_access_key = {SECRET}\n"
    )
    env = {**NOBODY, "AWS_CONFIG_FILE": config, "AWS_PROFILE": "up", "AWS_S3_BUCKET": "berlin"}
    good_but_ending(aws(small, env=env))
    assert asked(box)[0] == ("POST", "sts.eu-central-1.amazonaws.com")


def test_a_web_identity(aws, box, small, tmp_path):
    token = tmp_path / "token"
    token.write_text(WEB_TOKEN + "\n")
    env = {
        **NOBODY,
        "AWS_WEB_IDENTITY_TOKEN_FILE": token,
        "AWS_ROLE_ARN": ROLE,
        "AWS_ROLE_SESSION_NAME": "ci",
    }
    good_but_ending(aws(small, env=env))
    assert not box.requests[0].header("Authorization")
    token.write_text("stale")
    done = aws(small, env=env)
    assert (
        done.returncode == 5
        and "the Security Token Service: no credentials: 400 Bad Request: The token" in done.stderr
    )


# 5  What must not happen --------------------------------------------------------------------------


def test_a_bucket_that_stays_busy(aws, box, small):
    box.fault(PICTURES, "status", status=503, body=error("SlowDown", "Reduce your request rate."))
    done = aws(small, "--retry", "1")
    assert done.returncode == 1 and "503 SlowDown: Reduce your request rate." in done.stderr
    assert len(asked(box)) == 2


def test_a_beginning_without_a_name_is_none(aws, box, large):
    box.fault(PICTURES, "status", status=200, times=1, body="<InitiateMultipartUploadResult/>")
    done = aws(large)
    assert (done.returncode, done.stdout) == (
        1,
        "",
    ) and "200 OK, but no link in the response" in done.stderr
    assert len(asked(box)) == 1


def test_a_bucket_that_is_sent_from_region_to_region_gives_up(aws, box, small):
    """Each answer names another one: four are enough."""
    for number, region in enumerate(
        ("eu-central-1", "us-east-1", "eu-central-1", "us-east-1", "eu-central-1")
    ):
        where = (
            "pictures.s3.us-east-1.amazonaws.com"
            if number % 2 == 0
            else "pictures.s3.eu-central-1.amazonaws.com"
        )
        box.fault(
            where,
            "status",
            status=301,
            times=1,
            body=error("PermanentRedirect"),
            headers=[("x-amz-bucket-region", region)],
        )
    done = aws(small)
    assert done.returncode == 1 and "pictures is in another region   set AWS_REGION" in done.stderr
    assert len(asked(box, "PUT")) == 4
