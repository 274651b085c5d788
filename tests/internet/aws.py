"""Amazon in the box: S3 with its addresses and regions, the token service, the sign-on portal.

    KEY + SECRET        a user's key; ASIA... with TOKEN are the temporary keys that the token
                        service and the portal return
    BUCKETS             and the region of each; a bucket responds in its own region, and names
                        that region elsewhere (`moved`)
    allowed             what the key may do; AWS tells a stranger nothing about what is not there

Signatures are checked by botocore's signer, from the bytes of the request. It is as strict as AWS
about: the clock, signed headers, the hash and the CRC-32 of the body, If-None-Match, part numbers,
part sizes and the checksums of parts.
"""

from __future__ import annotations

import base64
import calendar
import hashlib
import re
import time
import zlib
from dataclasses import dataclass, field
from typing import Dict, Set, Tuple
from urllib.parse import unquote
from xml.sax.saxutils import escape

from botocore import auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from internet.box import Answer, Ask, Stored, as_download
from internet.hosts import Host

KEY, SECRET = "AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
TEMPORARY, TEMPORARY_SECRET, TOKEN = (
    "ASIAIOSFODNN7EXAMPLE",
    "temporary/secret+EXAMPLE",
    "FwoGZXIvYXdzEXAMPLE/token+==",
)
WEB_TOKEN = "eyJhbGciOi.web-identity.EXAMPLE"
BUCKETS = {
    "pictures": "us-east-1",
    "berlin": "eu-central-1",
    "files.example.org": "eu-central-1",
    "beijing": "cn-north-1",
}
REGIONS = ("us-east-1", "eu-central-1", "us-west-2", "cn-north-1")
LEAST_PART = 5 << 20
QUARTER = 15 * 60
AUTHORIZATION = (
    r"AWS4-HMAC-SHA256 Credential=([^/]+)/(\d{8})/([^/]+)/([^/]+)/aws4_request,"
    r" SignedHeaders=([^,]+), Signature=([0-9a-f]{64})"
)


def suffix(region: str) -> str:
    return "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"


def stamped(text: str) -> float:
    return calendar.timegm(time.strptime(text, "%Y%m%dT%H%M%SZ"))


class Fault(Exception):
    """What AWS answers instead: status, code, message and headers."""

    def __init__(self, status: int, code: str, message: str = "no", more: str = "", headers=()):
        self.answer = Answer(
            status,
            f"<?xml version='1.0'?>\n<Error><Code>{code}</Code>"
            f"<Message>{escape(message)}</Message>{more}</Error>",
            "application/xml",
            list(headers),
        )


def proof(
    ask: Ask,
    signed: str,
    service: str,
    region: str,
    secret: str,
    stamp: str,
    url: str,
    presigned: bool,
) -> str:
    """The signature that botocore would give to this request."""
    names = signed.split(";")
    request = AWSRequest(
        method=ask.method,
        url=url,
        headers={n: v for n, v in ask.head.headers if n.lower() in names},
    )
    request.context["timestamp"] = stamp
    part_type = (
        auth.S3SigV4QueryAuth
        if presigned
        else auth.S3SigV4Auth
        if service == "s3"
        else auth.SigV4Auth
    )
    signer = part_type(Credentials("-", secret), service, region)
    return signer.signature(
        signer.string_to_sign(request, signer.canonical_request(request)), request
    )


def checked(ask: Ask, service: str, region: str) -> None:
    """Raise Fault where AWS would refuse; complain about what it merely tolerates."""
    match = re.fullmatch(AUTHORIZATION, ask.header("Authorization"))
    if not match:
        raise Fault(403, "AccessDenied", "Access Denied")
    key, day, theirs, named, signed, signature = match.groups()
    stamp = ask.header("x-amz-date")
    secret = secret_of(key, ask.header("x-amz-security-token"))
    if abs(stamped(stamp) - time.time()) > QUARTER:
        raise Fault(
            403,
            "RequestTimeTooSkewed",
            "The difference between the request time and the current time is too large.",
        )
    if theirs != region:
        raise Fault(
            400,
            "AuthorizationHeaderMalformed",
            f"the region '{theirs}' is wrong; expecting '{region}'",
            f"<Region>{region}</Region>",
        )
    must = {n.lower() for n, _ in ask.head.headers if n.lower().startswith("x-amz-")} | {"host"}
    if not must <= set(signed.split(";")) or (day, named) != (stamp[:8], service):
        raise Fault(
            403, "AccessDenied", "There were headers present in the request which were not signed"
        )
    url = f"https://{ask.domain}{ask.head.target}"
    if signature != proof(ask, signed, service, region, secret, stamp, url, False):
        raise Fault(
            403,
            "SignatureDoesNotMatch",
            "The request signature we calculated does not match the signature you provided.",
        )


def secret_of(key: str, token: str) -> str:
    if key == KEY and not token:
        return SECRET
    if key != TEMPORARY:
        raise Fault(
            403,
            "InvalidAccessKeyId",
            "The AWS Access Key Id you provided does not exist in our records.",
        )
    if token == "expired":
        raise Fault(400, "ExpiredToken", "The provided token has expired.")
    if token != TOKEN:
        raise Fault(400, "InvalidToken", "The provided token is malformed or otherwise invalid.")
    return TEMPORARY_SECRET


def crc32(data: bytes) -> str:
    return base64.b64encode(zlib.crc32(data).to_bytes(4, "big")).decode()


@dataclass
class Multipart:
    """An upload in parts: number -> (ETag, CRC-32, bytes)."""

    key: str
    content_type: str
    algorithm: str
    parts: Dict[int, Tuple[str, str, bytes]] = field(default_factory=dict)


class S3(Host):
    """S3 at all its addresses; the bucket is in the host name or the first segment of the path."""

    domains = tuple(f"s3.{region}.{suffix(region)}" for region in REGIONS) + tuple(
        f"{bucket}.s3.{region}.{suffix(region)}"
        for bucket in BUCKETS
        if "." not in bucket
        for region in REGIONS
    )
    authorized = True
    moved = 301  # how a bucket says that it is elsewhere: 301, 307 or 400
    checksums = True  # False: it knows none
    public = False
    versions = False  # the bucket keeps deleted objects
    allowed: Set[str]

    def __init__(self) -> None:
        self.allowed = set(
            "PutObject GetObject AbortMultipartUpload ListBucket DeleteObject".split()
        )
        self.uploads: Dict[str, Multipart] = {}
        self.aborted = []  # keys
        self.counted = 0

    def is_upload(self, ask: Ask) -> bool:
        return ask.method == "PUT"

    def answer(self, ask: Ask) -> Answer:
        match = re.fullmatch(r"(?:(.+)\.)?s3\.([a-z0-9-]+)\.amazonaws\.com(?:\.cn)?", ask.domain)
        bucket, path = (
            (match.group(1), ask.path[1:]) if match.group(1) else ask.path[1:].split("/", 1)
        )
        try:
            self.guard(ask, bucket, match.group(2))
            return self.act(ask, bucket, unquote(path))
        except Fault as fault:
            return fault.answer

    def guard(self, ask: Ask, bucket: str, region: str) -> None:
        """Authenticate the request, and redirect it if the bucket is in another region."""
        presigned = "X-Amz-Signature" in ask.query
        if presigned:
            self.check_link(ask, region)
        elif not (self.public and ask.method == "GET"):
            checked(ask, "s3", region)
        if bucket not in BUCKETS:
            raise Fault(404, "NoSuchBucket", "The specified bucket does not exist")
        home = BUCKETS[bucket]
        if home != region:
            code = {
                301: "PermanentRedirect",
                307: "TemporaryRedirect",
                400: "AuthorizationHeaderMalformed",
            }[self.moved]
            more = (
                f"<Region>{home}</Region>"
                if self.moved == 400
                else f"<Endpoint>{bucket}.s3.{home}.amazonaws.com</Endpoint>"
            )
            region_header = [("x-amz-bucket-region", home)] if self.moved != 400 else []
            raise Fault(
                self.moved, code, "The bucket must be addressed elsewhere.", more, region_header
            )

    def check_link(self, ask: Ask, region: str) -> None:
        query = {name: values[0] for name, values in ask.query.items()}
        key, day, theirs, _, _ = query["X-Amz-Credential"].split("/")
        secret = secret_of(key, query.get("X-Amz-Security-Token", ""))
        begun, life = stamped(query["X-Amz-Date"]), int(query["X-Amz-Expires"])
        if not 0 < life <= 7 * 86400 or day != query["X-Amz-Date"][:8] or theirs != region:
            raise Fault(
                400,
                "AuthorizationQueryParametersError",
                "X-Amz-Expires must be less than a week (in seconds)",
            )
        if not begun - QUARTER <= time.time() <= begun + life:
            raise Fault(403, "AccessDenied", "Request has expired")
        target, _, signature = ask.head.target.partition("&X-Amz-Signature=")
        url = f"https://{ask.domain}{target}"
        if signature != proof(
            ask, query["X-Amz-SignedHeaders"], "s3", region, secret, query["X-Amz-Date"], url, True
        ):
            raise Fault(
                403, "SignatureDoesNotMatch", "The request signature we calculated does not match"
            )

    def may(self, action: str) -> None:
        if action not in self.allowed:
            raise Fault(
                403,
                "AccessDenied",
                f"User: arn:aws:iam::1:user/u is not authorized to perform: s3:{action}",
            )

    def act(self, ask: Ask, bucket: str, key: str) -> Answer:
        where = {
            "POST": self.begin if "uploads" in ask.query else self.complete,
            "DELETE": self.abort if "uploadId" in ask.query else self.delete,
            "GET": self.get,
        }
        if ask.method == "PUT":
            self.may("PutObject")
            return (self.part if "partNumber" in ask.query else self.put)(ask, bucket, key)
        return where[ask.method](ask, bucket, key)

    def body(self, ask: Ask) -> bytes:
        """The body, if it matches the headers that describe it."""
        data = ask.file.read()
        digest, crc = ask.header("x-amz-content-sha256"), ask.header("x-amz-checksum-crc32")
        if digest != "UNSIGNED-PAYLOAD" and digest != hashlib.sha256(data).hexdigest():
            raise Fault(
                400,
                "XAmzContentSHA256Mismatch",
                "The provided 'x-amz-content-sha256' header does not match",
            )
        if (
            ask.header("x-amz-checksum-crc32") + ask.header("x-amz-checksum-algorithm")
            and not self.checksums
        ):
            raise Fault(400, "InvalidArgument", "unsupported checksum header")
        if crc and crc != crc32(data):
            raise Fault(400, "BadDigest", "The CRC32 you specified did not match what we received.")
        return data

    def checksum_headers(self, data: bytes, ask: Ask):
        """ETag and checksum, as they stand in the headers of an answer."""
        crc = (
            [("x-amz-checksum-crc32", crc32(data))]
            if self.checksums and ask.header("x-amz-checksum-crc32")
            else []
        )
        return [("ETag", f'"{hashlib.md5(data).hexdigest()}"'), *crc]

    def url(self, bucket: str, key: str) -> str:
        return f"s3://{bucket}/{key}"

    def fresh(self, ask: Ask, url: str) -> None:
        if ask.header("If-None-Match") == "*" and url in ask.world.stored:
            raise Fault(
                412,
                "PreconditionFailed",
                "At least one of the pre-conditions you specified did not hold",
            )

    def keep(
        self, ask: Ask, bucket: str, key: str, data: bytes, content_type: str, etag: str
    ) -> None:
        url = self.url(bucket, key)
        self.fresh(ask, url)
        stored = Stored(
            url,
            data,
            len(data),
            hashlib.sha256(data).hexdigest(),
            key,
            content_type,
            options={"etag": etag},
        )
        ask.world.stored[url] = stored

    def put(self, ask: Ask, bucket: str, key: str) -> Answer:
        data = self.body(ask)
        headers = self.checksum_headers(data, ask)
        self.keep(ask, bucket, key, data, ask.header("Content-Type"), headers[0][1])
        return Answer(200, headers=headers)

    def get(self, ask: Ask, bucket: str, key: str) -> Answer:
        self.may("GetObject")
        if self.url(bucket, key) not in ask.world.stored:
            self.may("ListBucket")
            raise Fault(404, "NoSuchKey", "The specified key does not exist.")
        stored = ask.world.stored[self.url(bucket, key)]
        return as_download(stored, self.ranges, [("ETag", stored.options["etag"])])

    def begin(self, ask: Ask, bucket: str, key: str) -> Answer:
        self.may("PutObject")
        self.body(ask)
        self.counted += 1
        upload = f"up+load/{self.counted}=="
        self.uploads[upload] = Multipart(
            self.url(bucket, key),
            ask.header("Content-Type"),
            ask.header("x-amz-checksum-algorithm"),
        )
        return xml("InitiateMultipartUploadResult", f"<UploadId>{upload}</UploadId>")

    def upload_of(self, ask: Ask) -> Multipart:
        upload = self.uploads.get(ask.query["uploadId"][0])
        if upload is None:
            raise Fault(404, "NoSuchUpload", "The specified upload does not exist.")
        return upload

    def part(self, ask: Ask, bucket: str, key: str) -> Answer:
        upload, number, data = self.upload_of(ask), int(ask.query["partNumber"][0]), self.body(ask)
        if not 1 <= number <= 10_000:
            raise Fault(
                400,
                "InvalidArgument",
                "Part number must be an integer between 1 and 10000, inclusive",
            )
        if upload.algorithm and not ask.header("x-amz-checksum-crc32"):
            raise Fault(
                400,
                "InvalidRequest",
                "Checksum Type mismatch occurred, expected checksum Type: crc32",
            )
        headers = self.checksum_headers(data, ask)
        upload.parts[number] = (headers[0][1], crc32(data) if upload.algorithm else "", data)
        return Answer(200, headers=headers)

    def complete(self, ask: Ask, bucket: str, key: str) -> Answer:
        upload, text = self.upload_of(ask), self.body(ask).decode()
        named = re.findall(
            r"<Part><PartNumber>(\d+)</PartNumber><ETag>&quot;(\w+)&quot;</ETag>"
            r"(?:<ChecksumCRC32>(\S+?)</ChecksumCRC32>)?</Part>",
            text,
        )
        had = [(str(n), etag.strip('"'), crc) for n, (etag, crc, _) in sorted(upload.parts.items())]
        if named != had:
            raise Fault(
                400, "InvalidPart", "One or more of the specified parts could not be found."
            )
        datas = [data for _, (_, _, data) in sorted(upload.parts.items())]
        if any(len(data) < LEAST_PART for data in datas[:-1]):
            raise Fault(
                400,
                "EntityTooSmall",
                "Your proposed upload is smaller than the minimum allowed object size.",
            )
        etag = '"%s-%d"' % (
            hashlib.md5(b"".join(hashlib.md5(data).digest() for data in datas)).hexdigest(),
            len(datas),
        )
        self.keep(ask, bucket, key, b"".join(datas), upload.content_type, etag)
        del self.uploads[ask.query["uploadId"][0]]
        return xml(
            "CompleteMultipartUploadResult", f"<ETag>{escape(etag, {chr(34): '&quot;'})}</ETag>"
        )

    def delete(self, ask: Ask, bucket: str, key: str) -> Answer:
        self.may("DeleteObject")
        del ask.world.stored[self.url(bucket, key)]
        return Answer(204, headers=[("x-amz-delete-marker", "true")] if self.versions else [])

    def abort(self, ask: Ask, bucket: str, key: str) -> Answer:
        self.may("AbortMultipartUpload")
        self.aborted.append(self.upload_of(ask).key)
        del self.uploads[ask.query["uploadId"][0]]
        return Answer(204)


def xml(name: str, inner: str, space: str = "http://s3.amazonaws.com/doc/2006-03-01/") -> Answer:
    return Answer(
        200,
        f'<?xml version="1.0" encoding="UTF-8"?>\n<{name} xmlns="{space}">{inner}</{name}>',
        "application/xml",
    )


class TokenService(Host):
    """AssumeRole for known keys, AssumeRoleWithWebIdentity for a token."""

    domains = tuple(f"sts.{region}.{suffix(region)}" for region in REGIONS)
    authorized = True
    lives = 3600.0

    def is_upload(self, ask: Ask) -> bool:
        return False

    def answer(self, ask: Ask) -> Answer:
        form = {name: values[0] for name, values in parsed(ask).items()}
        try:
            if form.get("Action") == "AssumeRole":
                checked(ask, "sts", ask.domain.split(".")[1])
            elif form.get("WebIdentityToken") != WEB_TOKEN or ask.header("Authorization"):
                raise Fault(400, "InvalidIdentityToken", "The token is not valid")
            return self.grant(form)
        except Fault as fault:
            return fault.answer

    def grant(self, form: Dict[str, str]) -> Answer:
        if form["RoleArn"] != "arn:aws:iam::123456789012:role/uploader":
            raise Fault(
                403,
                "AccessDenied",
                f"not authorized to perform: sts:{form['Action']} on resource: {form['RoleArn']}",
            )
        ends = time.strftime(
            "%Y-%m-%dT%H:%M:%SZ",
            time.gmtime(time.time() + float(form.get("DurationSeconds", self.lives))),
        )
        keys = {
            "AccessKeyId": TEMPORARY,
            "SecretAccessKey": TEMPORARY_SECRET,
            "SessionToken": TOKEN,
            "Expiration": ends,
        }
        inner = "".join(f"<{name}>{value}</{name}>" for name, value in keys.items())
        name = form["Action"]
        inner = f"<{name}Result><Credentials>{inner}</Credentials></{name}Result>"
        return xml(name + "Response", inner, "https://sts.amazonaws.com/doc/2011-06-15/")


def parsed(ask: Ask):
    from urllib.parse import parse_qs

    return parse_qs(ask.file.read().decode(), strict_parsing=True)


FAMILIES = (S3, TokenService)
