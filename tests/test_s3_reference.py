"""boto3 as the reference of the wire: for the same file both conversations must be equivalent.

Both talk to a real server (moto) through a relay that writes down what passes. What differs stands
in ONLY_THEIRS and ONLY_OURS with its reason; a difference that does not stand there fails.
"""

from __future__ import annotations

import os
import re
import ssl
from urllib.parse import parse_qsl, urlsplit

import pytest
from boto3.s3.transfer import TransferConfig
from botocore.exceptions import ClientError
from internet.loopback import Server
from internet.relay import Relay
from servers.s3 import boto, certificate

MIB = 1 << 20
ONLY_THEIRS = {
    "expect": "early responses are read during the upload anyway; many services refuse it",
    "x-amz-sdk-checksum-algorithm": "says what the name of the checksum's header says already",
    "amz-sdk-invocation-id": "statistics",
    "amz-sdk-request": "statistics",
}
ONLY_OURS = {
    "accept": "what curl sends too; S3 ignores it",
    "content-type": "of the list of parts: some proxies require it for XML; boto3 has none",
}
# of each program, place and moment
OWN_VALUES = (
    "host",
    "user-agent",
    "authorization",
    "x-amz-date",
)


def signed(arrived) -> set:
    """The names that are signed, without what only one of both sends."""
    names = re.search("SignedHeaders=([^,]+)", arrived.header("Authorization")).group(1).split(";")
    return set(names) - set(ONLY_THEIRS) - {"content-type"}


def own_headers(arrived) -> dict:
    return {
        name.lower(): value for name, value in arrived.headers if name.lower() not in OWN_VALUES
    }


def target_of(arrived) -> tuple:
    """Method, path as it was sent, and the query without the server's id of this upload."""
    split = urlsplit(arrived.target)
    query = sorted(
        (name, "ID" if name == "uploadId" else value)
        for name, value in parse_qsl(split.query, True)
    )
    return arrived.method, split.path, query


def parts(body: bytes) -> list:
    """The fields of each part; moto returns its checksum only if the algorithm is named twice."""
    text = body.decode().replace("&quot;", '"')
    root = re.match(r"<CompleteMultipartUpload xmlns=\"(\S+)\">", text).group(1)
    numbers, tags = (
        re.findall(r"<PartNumber>(\d+)<", text),
        re.findall(r"<ETag>(\S+?)</ETag>", text),
    )
    return [root, *zip(numbers, tags)]


@pytest.fixture
def both(s3_pool, program, tmp_path):
    """What boto3 and what we have sent, for a file of this size under this key."""

    def record(size: int, key: str):
        server, path = s3_pool("moto"), tmp_path / "file.txt"
        path.write_bytes(os.urandom(min(size, MIB)) * max(1, size // MIB))
        with Relay(server.endpoint) as theirs:
            client = server.client(endpoint_url=theirs.url.rstrip("/"))
            config = TransferConfig(
                multipart_threshold=16 * MIB, multipart_chunksize=16 * MIB, use_threads=False
            )
            client.upload_file(
                str(path),
                server.bucket,
                key,
                ExtraArgs={"ContentType": "text/plain"},
                Config=config,
            )
        with Relay(server.endpoint) as ours:
            env = {
                "AWS_S3_BUCKET": server.bucket,
                **server.env(),
                "AWS_ENDPOINT_URL_S3": ours.url.rstrip("/"),
            }
            done = program(
                "-p", "s3", "--force", "--no-check", "-j", "1", "--remote-path", key, path, env=env
            )
            assert done.returncode == 0, done.stderr
        return theirs.arrived, ours.arrived

    return record


@pytest.mark.parametrize("key", ["plain.txt", "a b/ü&=+%~$'()*!,;:@.txt", "a//b/../c.txt"])
@pytest.mark.parametrize("size", [0, 1000, 5 * MIB, 40 * MIB])
def test_our_conversation_is_that_of_boto3(both, size, key):
    theirs, ours = both(size, key)
    assert [target_of(request) for request in ours] == [target_of(request) for request in theirs]
    for one, other in zip(ours, theirs):
        actual, reference = own_headers(one), own_headers(other)
        if actual.get("content-type", "").startswith("text/"):  # ours says that the text is UTF-8
            actual["content-type"] = actual["content-type"].partition(";")[0]
        assert set(reference) - set(actual) <= set(ONLY_THEIRS)
        assert set(actual) - set(reference) <= set(ONLY_OURS)
        if b"<CompleteMultipartUpload" in one.body:
            assert len(parts(one.body)) == 4 and [p[0] for p in parts(one.body)] == [
                p[0] for p in parts(other.body)
            ]
            continue
        assert {name: actual[name] for name in reference if name in actual} == {
            n: v for n, v in reference.items() if n in actual
        }
        assert (one.body, one.length) == (other.body, other.length) and signed(one) == signed(other)


def test_every_difference_that_is_listed_is_one(both):
    """Unused reasons must be deleted."""
    theirs, ours = both(40 * MIB, "again.txt")
    only_theirs = {
        name
        for one, other in zip(ours, theirs)
        for name in set(own_headers(other)) - set(own_headers(one))
    }
    only_ours = {
        name
        for one, other in zip(ours, theirs)
        for name in set(own_headers(one)) - set(own_headers(other))
    }
    assert (only_theirs, only_ours) == (set(ONLY_THEIRS), set(ONLY_OURS))


def test_over_tls_we_send_the_plain_body_and_they_do_not(program, tmp_path):
    """boto3 sends aws-chunked without Content-Length, which services refuse; we know the CRC."""
    ca, pem = certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(str(pem))
    path = tmp_path / "file.txt"
    path.write_bytes(b"x" * 1000)
    refusal = b"<Error><Code>AccessDenied</Code><Message>enough</Message></Error>"
    keys = {
        "AWS_ACCESS_KEY_ID": "AKIAX",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_S3_BUCKET": "bucket",
    }
    with Server(
        lambda talk: (talk.head(), talk.say(403, refusal, "Connection: close")), context
    ) as server:
        endpoint = server.url.rstrip("/")
        client = boto(
            "s3",
            endpoint_url=endpoint,
            region_name="us-east-1",
            aws_access_key_id="AKIAX",
            aws_secret_access_key="secret",
            verify=str(ca),
        )
        with pytest.raises(ClientError):
            client.put_object(Bucket="bucket", Key="k", Body=path.read_bytes())
        done = program(
            "-p",
            "s3",
            "--force",
            path,
            env={**keys, "AWS_ENDPOINT_URL": endpoint, "SSL_CERT_FILE": ca},
        )
        assert done.returncode == 1 and "no permission to write s3://bucket/file.txt" in done.stderr
    theirs, ours = server.arrived
    assert "STREAMING-UNSIGNED-PAYLOAD-TRAILER" in theirs.header("X-Amz-Content-SHA256")
    assert (
        theirs.header("Content-Encoding") == "aws-chunked"
        and theirs.header("X-Amz-Trailer") == "x-amz-checksum-crc32"
    )
    assert (
        ours.header("x-amz-content-sha256") == "UNSIGNED-PAYLOAD"
        and ours.header("Content-Length") == "1000"
    )
    assert (
        ours.header("x-amz-checksum-crc32")
        and not ours.header("Content-Encoding")
        and not ours.header("Expect")
    )
