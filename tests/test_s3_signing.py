"""Signature Version 4 against published examples, and against botocore with hypothesis.

The four steps are pure, and so are these tests. Chapters: 1 Published, 2 As botocore, 3 What a
signature must not be.
"""

from __future__ import annotations

import calendar
import datetime
import hashlib
import json
import posixpath
import time
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest
from botocore import auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials as TheirCredentials
from hypothesis import given, settings
from hypothesis import strategies as st

import twat_fs as t

VECTORS = json.loads(
    (Path(__file__).parent / "data" / "aws4_testsuite.json").read_text(encoding="utf-8")
)


def seconds(stamp: str) -> float:
    return float(calendar.timegm(time.strptime(stamp, "%Y%m%dT%H%M%SZ")))


# 1 Published --------------------------------------------------------------------------------------


def signed(case: dict, known: dict, path: str, headers: list) -> tuple:
    """What our four steps make of a published request."""
    scope = f"{known['date'][:8]}/{known['region']}/{known['service']}/aws4_request"
    query = case["target"].partition("?")[2]
    payload = hashlib.sha256(case["body"].encode()).hexdigest()
    canonical, names = t.canonical_request(case["method"], path, query, headers, payload)
    to_sign = t.string_to_sign(canonical, known["date"], scope)
    proof = t.signature(known["secret_key"], scope, to_sign)
    return canonical, to_sign, t.authorization(known["access_key"], scope, names, proof)


def as_generic_path(target: str) -> str:
    """The rules of other services than S3: normalised, and then encoded."""
    path = target.partition("?")[0]
    folder = path if path.endswith("/") else ""
    plain = posixpath.normpath("/" + path.lstrip("/"))
    return quote(plain + "/" if folder and plain != "/" else plain, safe="/-_.~")


@pytest.mark.parametrize("name", sorted(VECTORS["cases"]))
def test_the_published_suite(name):
    case = VECTORS["cases"][name]
    later = case.get("added_after_signing", [])
    headers = [pair for pair in case["headers"] if pair not in later and pair[0] not in later]
    signature = signed(case, VECTORS, as_generic_path(case["target"]), headers)
    assert signature == (case["canonical_request"], case["string_to_sign"], case["authorization"])


@pytest.mark.parametrize("name", sorted(VECTORS["s3"]["cases"]))
def test_the_examples_of_the_guide_to_s3(name):
    case = VECTORS["s3"]["cases"][name]
    path = t.uri_encoded(case["target"].partition("?")[0], "/-_.~")
    signature = signed(case, VECTORS["s3"], path, case["headers"])
    assert signature == (case["canonical_request"], case["string_to_sign"], case["authorization"])


@pytest.mark.parametrize(
    "name", sorted(set(VECTORS["presigned"]) - {"generic"})
)  # S3 signs no hash of an empty body
def test_the_published_links(name):
    case = VECTORS["presigned"][name]
    signer = t.Signer(
        t.Credentials(case["access_key"], case["secret_key"]),
        case["region"],
        service=case["service"],
    )
    link = signer.presigned(case["url"], case["expires"], seconds(case["date"]))
    assert link.endswith("&X-Amz-Signature=" + case["signature"])
    assert f"X-Amz-Expires={case['expires']}&" in link


# 2 As botocore ------------------------------------------------------------------------------------

NOW = 1_700_000_000.0  # 2023-11-14
KEYS = st.text("abZ09-_.~/ +%#?&=;:@!$'()*,\"\\<>[]{}|^`üß中😀\t", min_size=1, max_size=40)
VALUES = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=30)
NAMES = st.from_regex(r"[A-Za-z][A-Za-z0-9-]{0,20}", fullmatch=True)
# What the installed botocore never signs (the list grows), and what both write themselves.
IGNORED = {*auth.SIGNED_HEADERS_BLACKLIST, "host", "authorization", "date"}
OWN = {"x-amz-date", "x-amz-content-sha256", "x-amz-security-token"}
HEADERS = st.dictionaries(
    NAMES.filter(lambda name: name.lower() not in IGNORED | OWN), VALUES, max_size=5
).filter(lambda headers: len({name.lower() for name in headers}) == len(headers))
QUERIES = st.dictionaries(NAMES, KEYS | st.just(""), max_size=4)
PAIRS = st.tuples(
    st.from_regex(r"[A-Z0-9]{4,20}", fullmatch=True),
    st.from_regex(r"[A-Za-z0-9/+]{1,40}", fullmatch=True),
    st.just("") | st.from_regex(r"[A-Za-z0-9/+=]{1,60}", fullmatch=True),
)
PLACES = st.sampled_from(
    [
        "https://b.s3.eu-central-1.amazonaws.com",
        "http://127.0.0.1:9000/b",
        "https://[::1]:8443/b",
        "https://minio.example",
    ]
)
REGIONS = st.sampled_from(["us-east-1", "eu-central-1", "auto", "cn-north-1"])


@pytest.fixture(autouse=True, scope="module")
def their_clock():
    """botocore asks the system for the time; here it is always the same."""
    patch = pytest.MonkeyPatch()
    stopped = datetime.datetime.fromtimestamp(NOW, datetime.timezone.utc).replace(tzinfo=None)

    class Clock(datetime.datetime):
        @classmethod
        def utcnow(cls):
            return stopped

    if hasattr(auth, "get_current_datetime"):
        patch.setattr(auth, "get_current_datetime", lambda **_: stopped)
    else:  # before botocore 1.40
        patch.setattr(auth.datetime, "datetime", Clock)
    yield
    patch.undo()


def theirs(pair: tuple) -> TheirCredentials:
    return TheirCredentials(pair[0], pair[1], pair[2] or None)


def request_of(endpoint: str, key: str, query: dict, method: str = "PUT") -> tuple:
    """The URL as we write it, and their request for it."""
    asked = "&".join(
        f"{t.uri_encoded(name)}={t.uri_encoded(value)}" for name, value in query.items()
    )
    url = f"{endpoint}/{t.uri_encoded(key, '/-_.~')}" + ("?" + asked if asked else "")
    return url, AWSRequest(method=method, url=url)


@given(
    PLACES,
    KEYS,
    QUERIES,
    HEADERS,
    PAIRS,
    REGIONS,
    st.sampled_from(["PUT", "POST", "GET", "HEAD", "DELETE"]),
    st.booleans(),
)
@settings(max_examples=300, deadline=None)
def test_headers_are_signed_byte_for_byte_as_botocore_does(
    endpoint, key, query, headers, pair, region, method, hashed
):
    payload = hashlib.sha256(key.encode()).hexdigest() if hashed else "UNSIGNED-PAYLOAD"
    url, asked = request_of(endpoint, key, query, method)
    for name, value in headers.items():
        asked.headers[name] = value
    asked.data = key.encode()
    asked.context["client_config"] = Config(s3={"payload_signing_enabled": hashed})
    auth.S3SigV4Auth(theirs(pair), "s3", region).add_auth(asked)
    ours = dict(
        t.Signer(t.Credentials(*pair), region, payload).sign(
            t.Request(method, url, tuple(headers.items())), NOW
        )
    )
    assert ours["x-amz-content-sha256"] == asked.headers["X-Amz-Content-SHA256"]
    assert ours["Authorization"] == asked.headers["Authorization"]
    assert ours["x-amz-date"] == asked.headers["X-Amz-Date"]
    assert ours.get("x-amz-security-token") == asked.headers.get("X-Amz-Security-Token")


@given(PLACES, KEYS, PAIRS, REGIONS, st.integers(1, t.WEEK))
@settings(max_examples=300, deadline=None)
def test_links_are_signed_byte_for_byte_as_botocore_does(endpoint, key, pair, region, life):
    url, asked = request_of(endpoint, key, {}, "GET")
    auth.S3SigV4QueryAuth(theirs(pair), "s3", region, expires=life).add_auth(asked)
    assert t.Signer(t.Credentials(*pair), region).presigned(url, life, NOW) == asked.url


@given(st.dictionaries(NAMES, VALUES, min_size=1, max_size=5), PAIRS, REGIONS)
@settings(max_examples=100, deadline=None)
def test_the_token_service_is_asked_as_botocore_does(fields, pair, region):
    form = "&".join(f"{name}={quote(value)}" for name, value in fields.items())
    content_type = ("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
    url = f"https://sts.{region}.amazonaws.com/"
    asked = AWSRequest(method="POST", url=url, data=form.encode(), headers=dict([content_type]))
    digest = hashlib.sha256(form.encode()).hexdigest()
    asked.headers["x-amz-content-sha256"] = (
        digest  # we send it there too, and what is sent is signed
    )
    auth.SigV4Auth(theirs(pair), "sts", region).add_auth(asked)
    ours = dict(
        t.Signer(t.Credentials(*pair), region, digest, "sts").sign(
            t.Request("POST", url, (content_type,)), NOW
        )
    )
    assert ours["Authorization"] == asked.headers["Authorization"]


# 3 What a signature must not be -------------------------------------------------------------------


@given(KEYS)
@settings(max_examples=200, deadline=None)
def test_a_key_travels_as_it_is_signed(key):
    """Encoded once, never normalised, and in the spelling that the strictest servers want."""
    target = t.parse_target(f"https://h/{t.uri_encoded(key, '/-_.~')}").path
    assert urlsplit(f"https://h{target}").path == "/" + quote(key, safe="/-_.~") == target
    assert target.isascii() and not set(target) & set(" +#?!$&'()*,;=:@[]")


def test_a_signature_is_of_the_moment_when_it_is_sent():
    signer, request = (
        t.Signer(t.Credentials("AK", "SK"), "eu-west-1"),
        t.Request("PUT", "https://h/k"),
    )
    first, second = (dict(signer.sign(request, now)) for now in (NOW, NOW + 1))
    assert (
        first["Authorization"] != second["Authorization"]
        and first["x-amz-date"] != second["x-amz-date"]
    )


def test_a_host_whose_clock_is_wrong_is_signed_for_by_its_own():
    fast = t.Signer(t.Credentials("AK", "SK"), "eu-west-1", skew=3600)
    assert dict(fast.sign(t.Request("PUT", "https://h/k"), NOW))["x-amz-date"] == "20231114T231320Z"


def test_nothing_shows_a_secret():
    credentials = t.Credentials("AKIDEXAMPLE", "the-secret", "the-token")
    for text in (
        repr(credentials),
        str(credentials),
        f"{t.Signer(credentials, 'r')!r}",
        repr(t.State(credentials, "r")),
    ):
        assert "secret" not in text and "token" not in text and "AKIDEXAMPLE" not in text


def test_a_number_in_an_answer_may_be_too_long_to_be_one():
    """Python refuses to read a number of more than 4300 digits."""
    assert (
        t.xml_text(
            t.Response(400, {}, b"<Message>&#" + b"1" * 5000 + b";</Message>", ""), "Message"
        )
        == ""
    )


def test_a_date_that_no_clock_can_show_teaches_nothing():
    bucket = t.Bucket.__new__(t.Bucket)
    bucket.state = t.State(t.Credentials("AK", "SK"), "eu-west-1")
    body = b"<Error><Code>RequestTimeTooSkewed</Code></Error>"
    assert not bucket.adapt(bucket.state, t.Response(403, {"Date": "9" * 18}, body, ""))


def test_a_public_url_may_have_foreign_letters_and_the_link_has_none():
    bucket = t.Bucket.__new__(t.Bucket)
    bucket.state = t.State(t.Credentials("AK", "SK"), "eu-west-1")
    options = t.UploadOptions(
        settings={"TWAT_FS_S3_PUBLIC_URL": "https://files.example.org/d\u00e9p\u00f4t/"}
    )
    assert (
        t.s3_link(bucket, "a b", options).url == "https://files.example.org/d%C3%A9p%C3%B4t/a%20b"
    )
