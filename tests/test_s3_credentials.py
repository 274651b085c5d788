"""Keys, region and endpoint: the same values as botocore, and an error message for each problem.

Chapters: 1 As botocore, 2 What is wrong in files and settings, 3 A program that gives out keys, 4
Containers and machines, 5 When nobody is asked.
"""

from __future__ import annotations

import html
import json
import os
import re
import shlex
import subprocess
import sys
import time

import botocore.session
import pytest
from internet.aws import KEY, SECRET, TEMPORARY, TEMPORARY_SECRET, TOKEN
from internet.loopback import Server, blackhole

import twat_fs as t

# 1  As botocore -----------------------------------------------------------------------------------


def keys(letter: str, section: str = "", token: bool = False) -> str:
    lines = [f"aws_access_key_id = AKIA{letter}", f"aws_secret_access_key = secret-{letter}"]
    lines += [f"aws_session_token = token-{letter}"] * token
    return "\n".join([f"[{section}]", *lines, ""] if section else [*lines, ""])


def env(letter: str) -> dict:
    return {"AWS_ACCESS_KEY_ID": f"AKIA{letter}", "AWS_SECRET_ACCESS_KEY": f"secret-{letter}"}


def line(*args) -> str:
    """A command as it is typed on this system."""
    return (
        subprocess.list2cmdline(map(str, args)) if os.name == "nt" else shlex.join(map(str, args))
    )


PRINTED = '{"Version": 1, "AccessKeyId": "AKIAP", "SecretAccessKey": "secret-P"}'
PROCESS = f"credential_process = {line(sys.executable, '-c', f'print({PRINTED!r})')}\n"

CASES = {
    "environment": (env("E"), "", ""),
    "environment with a token": ({**env("E"), "AWS_SESSION_TOKEN": "token-E"}, "", ""),
    "environment before files": (env("E"), keys("C", "default"), keys("S", "default")),
    "environment before a profile that is named": (
        {**env("E"), "AWS_PROFILE": "p"},
        keys("C", "profile p"),
        "",
    ),
    "credentials file": ({}, "", keys("S", "default", token=True)),
    "credentials before config": ({}, keys("C", "default"), keys("S", "default")),
    "a token of the config file is not for keys of the other": (
        {},
        keys("C", "default", token=True),
        keys("S", "default"),
    ),
    "nor the other way round": (
        {},
        keys("C", "default"),
        "[default]\naws_session_token = token-S\n",
    ),
    "config file": ({}, keys("C", "default"), ""),
    "config file, long name": ({}, keys("C", "profile default"), ""),
    "a profile": ({"AWS_PROFILE": "p"}, keys("C", "profile p") + keys("D", "default"), ""),
    "a profile of the credentials file": (
        {"AWS_PROFILE": "p"},
        keys("D", "default"),
        keys("S", "p"),
    ),
    "the older name": ({"AWS_DEFAULT_PROFILE": "p"}, keys("C", "profile p"), ""),
    "a profile with spaces": ({"AWS_PROFILE": "my own"}, keys("C", 'profile "my own"'), ""),
    "a profile with blanks around it": ({"AWS_PROFILE": "p"}, keys("C", "profile \t p "), ""),
    "a program": ({"AWS_PROFILE": "p"}, "[profile p]\n" + PROCESS, ""),
    "keys before a program": ({}, "[default]\n" + PROCESS, keys("S", "default")),
    "a program before keys of the config file": ({}, keys("C", "default") + PROCESS, ""),
    "comments and blanks": ({}, "# x\n; y\n\n[default]\n" + keys("C").replace(" = ", "="), ""),
    "upper case": (
        {},
        "[default]\nAWS_ACCESS_KEY_ID = AKIAU\nAWS_SECRET_ACCESS_KEY = secret-U\n",
        "",
    ),
    "region of a profile": (env("E"), "[default]\nregion = eu-west-3\n", ""),
    "region of the environment": (
        {**env("E"), "AWS_DEFAULT_REGION": "ap-east-1"},
        "[default]\nregion = eu-west-3\n",
        "",
    ),
    "region of OpenStack": ({**env("E"), "AWS_DEFAULT_REGION": "RegionOne"}, "", ""),
    "endpoint": (
        {**env("E"), "AWS_ENDPOINT_URL": "http://a:1"},
        "[default]\nendpoint_url = http://b:2\n",
        "",
    ),
    "endpoint of s3": (
        {**env("E"), "AWS_ENDPOINT_URL": "http://a:1", "AWS_ENDPOINT_URL_S3": "http://c:3"},
        "",
        "",
    ),
    "endpoint of a profile": (env("E"), "[default]\nendpoint_url = http://b:2\n", ""),
    "endpoint of a service": (
        env("E"),
        "[default]\nendpoint_url = http://b:2\nservices = mine\n"
        "[services mine]\ns3 =\n  endpoint_url = http://d:4\n  x = y\n",
        "",
    ),
    "endpoint of another service": (
        env("E"),
        "[default]\nendpoint_url = http://b:2\nservices = mine\n"
        "[services mine]\nsts =\n  endpoint_url = http://d:4\n",
        "",
    ),
    "endpoint of the environment before that of a service": (
        {**env("E"), "AWS_ENDPOINT_URL": "http://a:1"},
        "[default]\nservices = mine\n[services mine]\ns3 =\n  endpoint_url = http://d:4\n",
        "",
    ),
    "endpoints ignored": (
        {
            **env("E"),
            "AWS_ENDPOINT_URL": "http://a:1",
            "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true",
        },
        "",
        "",
    ),
    "endpoints ignored by a profile": (
        env("E"),
        "[default]\nendpoint_url = http://b:2\nignore_configured_endpoint_urls = true\n",
        "",
    ),
}


@pytest.fixture
def files(tmp_path):
    """Write config and credentials file; the settings that name them."""

    def write(config: str = "", shared: str = "") -> dict:
        (tmp_path / "config").write_text(config)
        (tmp_path / "credentials").write_text(shared)
        return {
            "AWS_CONFIG_FILE": str(tmp_path / "config"),
            "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "credentials"),
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    return write


@pytest.mark.parametrize("case", CASES)
def test_keys_region_and_endpoint_are_those_of_botocore(case, files, clean_env):
    variables, config, shared = CASES[case]
    settings = {**files(config, shared), **variables}
    for name, value in settings.items():
        clean_env.setenv(name, value)
    session = botocore.session.Session()
    theirs = session.get_credentials().get_frozen_credentials()
    region = session.get_config_variable("region") or "us-east-1"
    if "AWS_REGION" not in settings:  # which botocore itself does not read
        client = session.create_client("s3", region_name=region)
    ours = t.Aws(settings)
    credentials = ours.credentials()
    assert (credentials.key, credentials.secret, credentials.token or None) == theirs[:3]
    assert ours.region() == region
    endpoint = client.meta.endpoint_url
    assert ours.endpoint("s3") == ("" if "amazonaws.com" in endpoint else endpoint)


def test_the_newer_name_of_the_region_wins(files):
    assert (
        t.Aws({**files(), "AWS_REGION": "eu-west-1", "AWS_DEFAULT_REGION": "eu-west-2"}).region()
        == "eu-west-1"
    )


# 2  What is wrong in files and settings -----------------------------------------------------------


@pytest.fixture
def stderr_of(program, tmp_path, box):
    """The errors of `-p s3` with these settings; nothing is uploaded, and no secret is printed."""
    path = tmp_path / "file.txt"
    path.write_text("x")

    def run(*args, **settings):
        base = {"AWS_S3_BUCKET": "pictures", "AWS_EC2_METADATA_DISABLED": "true"}
        done = program("-p", "s3", "-v", path, *args, env={**base, **settings})
        assert done.returncode == 5 and done.stdout == "" and "Traceback" not in done.stderr
        for secret in (SECRET, TEMPORARY_SECRET, TOKEN, "very-secret"):
            assert secret not in done.stderr
        assert not box.requests
        return done.stderr

    return run


@pytest.mark.parametrize(
    "settings, sentence",
    [
        (
            {},
            "AWS credentials not found; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY,"
            " or AWS_PROFILE",
        ),
        (
            {"AWS_ACCESS_KEY_ID": KEY},
            "AWS_ACCESS_KEY_ID is set, but AWS_SECRET_ACCESS_KEY is not; both belong together",
        ),
        (
            {"AWS_SECRET_ACCESS_KEY": SECRET},
            "AWS_SECRET_ACCESS_KEY is set, but AWS_ACCESS_KEY_ID is not; both belong",
        ),
        (
            {"AWS_ACCESS_KEY_ID": "AKIA\nX", "AWS_SECRET_ACCESS_KEY": SECRET},
            "the environment has no access key",
        ),
        (
            {"AWS_ACCESS_KEY_ID": "AKIAü", "AWS_SECRET_ACCESS_KEY": SECRET},
            "the environment has no access key",
        ),
        ({"AWS_S3_BUCKET": ""}, "AWS_S3_BUCKET is empty"),
        ({"AWS_S3_BUCKET": "a/b"}, "AWS_S3_BUCKET is not a valid bucket name"),
        ({"AWS_S3_BUCKET": "s3://pictures"}, "AWS_S3_BUCKET is not a valid bucket name"),
        (
            {"AWS_REGION": "Frankfurt am Main"},
            "'Frankfurt am Main' is not a valid region; AWS_REGION is like eu-central-1",
        ),
        (
            {"AWS_ENDPOINT_URL": "minio.example.org:9000"},
            "AWS_ENDPOINT_URL is not a valid server URL: minio.example.org:",
        ),
        (
            {"AWS_ENDPOINT_URL_S3": "http://u:very-secret@h/"},
            "AWS_ENDPOINT_URL_S3 is not a valid server URL: http://h/",
        ),
        ({"AWS_PROFILE": "nobody"}, "AWS_PROFILE: profile 'nobody' not found"),
        (
            {"TWAT_FS_S3_PUBLIC_URL": "files.example.org"},
            "TWAT_FS_S3_PUBLIC_URL is not a valid server URL: files.example.org",
        ),
        (
            {"TWAT_FS_S3_PUBLIC_URL": ""},
            "TWAT_FS_S3_PUBLIC_URL is not a valid server URL: ; it begins",
        ),
        (
            {"AWS_ENDPOINT_URL": "http://a..b/"},
            "AWS_ENDPOINT_URL is not a valid server URL: http://a..b/",
        ),
        (
            {"AWS_WEB_IDENTITY_TOKEN_FILE": "/nowhere/token"},
            "AWS_WEB_IDENTITY_TOKEN_FILE is set, but AWS_ROLE_ARN is not",
        ),
        (
            {"AWS_WEB_IDENTITY_TOKEN_FILE": "/nowhere/token", "AWS_ROLE_ARN": "arn:x"},
            "/nowhere/token: no such file",
        ),
        (
            {"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://h.example/x"},
            "FULL_URI: http is allowed only for this machine",
        ),
        ({"AWS_CONTAINER_CREDENTIALS_FULL_URI": "gopher://h/x"}, "FULL_URI is unsupported URL"),
        (
            {"AWS_CONFIG_FILE": "/"},
            "/: permission denied" if os.name == "nt" else "/: is a directory",
        ),
        (
            {
                "AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://127.0.0.1:9/",
                "AWS_CONTAINER_AUTHORIZATION_TOKEN": "tö\nken",
            },
            "the token for the container contains an invalid character",
        ),
    ],
)
def test_a_sentence_says_what_to_do(stderr_of, settings, sentence):
    assert sentence in stderr_of(**settings)


def test_an_endpoint_travels_in_ascii(clean_env):
    endpoint = t.Aws({"AWS_ENDPOINT_URL": "http://bücher.example:9000/ü/%20/"}).endpoint("s3")
    assert endpoint == "http://xn--bcher-kva.example:9000/%C3%BC/%20"


@pytest.mark.parametrize(
    "text, line",
    [
        ("[default]\nregion = x\nvery-secret\n", 3),
        ("aws_access_key_id = very-secret\n", 1),
        ("[default]\n\n[profile\nregion = very-secret\n", 3),
        ("[default]\n= very-secret\n", 2),
    ],
)
def test_a_broken_file_is_named_with_its_line(stderr_of, tmp_path, text, line):
    (tmp_path / "config").write_text(text)
    message = stderr_of(AWS_CONFIG_FILE=tmp_path / "config")
    assert f"config: line {line} is invalid" in message
    (tmp_path / "credentials").write_text(text)
    message = stderr_of(AWS_SHARED_CREDENTIALS_FILE=tmp_path / "credentials")
    assert f"credentials: line {line} is invalid" in message


def test_a_file_that_is_no_text(stderr_of, tmp_path):
    for data, codec in ((b"[default]\n\xff\x00", "utf-8"), (b"\xff\xfe\x00", "utf-16-le")):
        (tmp_path / "config").write_bytes(data)
        assert f"config: '{codec}' codec can't decode" in stderr_of(
            AWS_CONFIG_FILE=tmp_path / "config"
        )


@pytest.mark.parametrize(
    "config, sentence",
    [
        ("[profile p]\naws_access_key_id = AKIAX\n", "/config has no access key with its secret"),
        ("[profile p]\naws_secret_access_key = s\n", "AWS credentials not found"),
        (
            "[profile p]\nrole_arn = r\nsource_profile = q\n",
            "q: no credentials for the role",
        ),
        (
            "[profile p]\nrole_arn = r\nsource_profile = p\n",
            "p: no credentials for the role",
        ),
        (
            "[profile p]\nrole_arn = r\ncredential_source = Environment\n",
            "Environment: no credentials for the role",
        ),
        (
            "[profile p]\nrole_arn = r\ncredential_source = Elsewhere\n",
            "Elsewhere: no credentials for the role",
        ),
    ],
)
def test_a_profile_that_leads_nowhere(stderr_of, tmp_path, config, sentence):
    (tmp_path / "config").write_text(config)
    assert sentence in stderr_of(AWS_CONFIG_FILE=tmp_path / "config", AWS_PROFILE="p")


def test_status_says_what_is_missing(program):
    done = program("status", "s3", env={"AWS_S3_BUCKET": "pictures", "AWS_ACCESS_KEY_ID": KEY})
    assert (
        done.returncode == 5
        and "AWS_ACCESS_KEY_ID is set, but AWS_SECRET_ACCESS_KEY is not" in done.stdout
    )
    assert "set AWS_S3_BUCKET" not in done.stdout
    done = program("status", "s3")
    assert (
        done.returncode == 5
        and "set AWS_S3_BUCKET, and AWS_ACCESS_KEY_ID with AWS_SECRET_ACCESS_KEY (or AWS_PROFILE)"
        in done.stdout
    )


# 3  A program that gives out keys -----------------------------------------------------------------


@pytest.fixture
def process(tmp_path):
    """The settings of a profile whose keys this piece of Python prints."""

    def settings(code: str) -> dict:
        script = tmp_path / "keys.py"
        script.write_text(code)
        config = tmp_path / "config"
        config.write_text(f"[profile p]\ncredential_process = {line(sys.executable, script)}\n")
        return {"AWS_CONFIG_FILE": str(config), "AWS_PROFILE": "p"}

    return settings


def test_a_program_gives_keys_that_end(process):
    keys = {
        "Version": 1,
        "AccessKeyId": "AKIAP",
        "SecretAccessKey": "s",
        "SessionToken": "t",
        "Expiration": "2030-01-02T03:04:05Z",
    }
    credentials = t.Aws(process(f"print({json.dumps(keys)!r})")).credentials()
    assert credentials[:4] == ("AKIAP", "s", "t", 1893553445.0)


def test_a_token_from_a_file_is_not_repeated_either_when_the_server_does(program, tmp_path):
    """Nor in XML, in which it is spelled otherwise."""
    token = "Token/with&some+signs=="

    def odd(talk):
        if talk.request():
            message = f"{html.escape(token)}, {token.replace('&', ' ')}"
            body = f"<Error><Code>Odd</Code><Message>{message}</Message></Error>"
            talk.say(403, body.encode())

    with Server(odd) as server:
        (tmp_path / "credentials").write_text(
            f"[default]\n{keys('S')}aws_session_token = {token}\n"
        )
        files = {
            "AWS_SHARED_CREDENTIALS_FILE": tmp_path / "credentials",
            "AWS_ENDPOINT_URL": server.url,
        }
        (tmp_path / "x").write_text("x")
        done = program(
            "-p", "s3", "--force", "-v", tmp_path / "x", env={"AWS_S3_BUCKET": "pictures", **files}
        )
        assert "403 Odd: ***, Token/with some+signs==" in done.stderr
        assert server.arrived[0].header("x-amz-security-token") == token


@pytest.mark.parametrize(
    "code, sentence",
    [
        ("print('very-secret')", "the credential_process: invalid output (expected JSON"),
        ("print('[1]')", "the credential_process: invalid output (expected JSON"),
        ("print('{\"Version\": 2}')", "the credential_process: invalid output (expected JSON"),
        (
            'print(\'{"Version": 1, "AccessKeyId": "very-secret"}\')',
            "has no access key with its secret",
        ),
        (
            'print(\'{"Version": 1, "AccessKeyId": 7, "SecretAccessKey": null}\')',
            "has no access key with its secret",
        ),
        (
            "import sys; sys.stdout.buffer.write(bytes(range(256)))",
            "the credential_process: invalid output (expected JSON",
        ),
        (
            "import sys; sys.exit('asking\\nlocked\\x1b[2J')",
            "the credential_process failed (1): locked\\x1b[2J",
        ),
        (
            "import os; os.kill(os.getpid(), 9)",
            "the credential_process failed (%d)" % (9 if os.name == "nt" else -9),
        ),
    ],
)
def test_a_program_that_gives_none(stderr_of, process, code, sentence):
    assert sentence in stderr_of(**process(code))


@pytest.mark.parametrize("command", ["/nowhere/at-all --x", "'unclosed", ""])
def test_a_program_that_is_none(stderr_of, tmp_path, command):
    (tmp_path / "config").write_text(f"[profile p]\ncredential_process = {command}\n")
    assert "the credential_process could not be started: " in stderr_of(
        AWS_CONFIG_FILE=tmp_path / "config", AWS_PROFILE="p"
    )


def test_a_program_that_hangs(process, monkeypatch):
    monkeypatch.setattr(t, "PROCESS_TIME", 0.5)
    with pytest.raises(t.NotConfigured, match=r"the credential_process timed out after 0\.5 s"):
        t.Aws(process("import time; time.sleep(60)")).credentials()


# 4  Containers and machines -----------------------------------------------------------------------

ANSWER = {
    "AccessKeyId": TEMPORARY,
    "SecretAccessKey": TEMPORARY_SECRET,
    "Token": TOKEN,
    "Expiration": "2999-01-01T00:00:00Z",
}


class Metadata:
    """The link-local server of a container or an EC2 machine: a token by PUT, a role, its keys."""

    def __init__(self, token="metadata-token", role="uploader", answer=None, status=200):
        self.token, self.role, self.answer, self.status = (
            token,
            role,
            answer or json.dumps(ANSWER),
            status,
        )

    def __call__(self, talk):
        arrived = talk.request()
        while arrived:
            talk.say(*self.reply(arrived))
            arrived = talk.request()

    def reply(self, arrived):
        roles = "/latest/meta-data/iam/security-credentials/"
        if arrived.target == "/container":
            known = arrived.header("Authorization") == "container-token"
            return (self.status, self.answer.encode()) if known else (403, b"who are you?")
        if (arrived.method, arrived.target) == ("PUT", "/latest/api/token"):
            return (
                (200, self.token.encode())
                if arrived.header("X-aws-ec2-metadata-token-ttl-seconds") == "21600"
                else (400, b"")
            )
        if arrived.header("X-aws-ec2-metadata-token") != "metadata-token":
            return 401, b""
        return (
            (200, self.role.encode())
            if arrived.target == roles
            else (self.status, self.answer.encode())
        )


@pytest.fixture
def metadata():
    with Server(Metadata()) as server:
        yield server


@pytest.fixture
def upload(box, program, tmp_path):
    path = tmp_path / "file.txt"
    path.write_text("x")
    return lambda **settings: program(
        "-p", "s3", "-v", path, env={"AWS_S3_BUCKET": "pictures", **settings}
    )


@pytest.mark.parametrize("where", ["file", "setting"])
def test_a_container_has_keys(upload, metadata, box, tmp_path, where):
    (tmp_path / "token").write_text("container-token\n")
    token = {"file": ("_FILE", tmp_path / "token"), "setting": ("", "container-token")}[where]
    settings = {
        "AWS_CONTAINER_CREDENTIALS_FULL_URI": metadata.url + "container",
        "AWS_CONTAINER_AUTHORIZATION_TOKEN" + token[0]: token[1],
    }
    done = upload(**settings)
    assert (
        done.returncode == 0
        and TEMPORARY in done.stdout
        and "container-token" not in done.stderr + done.stdout
    )
    assert len(metadata.arrived) == 1 and box.requests


@pytest.mark.parametrize(
    "host", ["169.254.170.2", "169.254.170.23", "[fd00:ec2::23]", "[FD00:EC2::23]"]
)
def test_no_proxy_hears_the_token_of_a_container(program, tmp_path, host):
    (tmp_path / "x").write_text("x")
    with Server(Metadata()) as proxy:
        settings = {
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"http://{host}/container",
            "AWS_CONTAINER_AUTHORIZATION_TOKEN": "container-token",
            "AWS_S3_BUCKET": "pictures",
        }
        done = program(
            "-p",
            "s3",
            tmp_path / "x",
            env={**settings, "HTTP_PROXY": proxy.url, "http_proxy": proxy.url},
        )
        assert (
            done.returncode == 5
            and "the container: no credentials: " in done.stderr
            and not proxy.arrived
        )


def test_a_token_may_be_long(program, tmp_path):
    """Of those of AWS it is only known that they "typically" have less than 4096 characters."""
    token = "abcd+/=" * 900

    def both(talk):
        arrived = talk.request()
        while arrived:
            keys = {
                "AccessKeyId": TEMPORARY,
                "SecretAccessKey": TEMPORARY_SECRET,
                "SessionToken": token,
            }
            xml = "".join(f"<{name}>{value}</{name}>" for name, value in keys.items())
            talk.say(200, xml.encode() if arrived.method == "POST" else b"")
            arrived = talk.request()

    (tmp_path / "x").write_text("x")
    with Server(both) as server:
        web = {
            "AWS_WEB_IDENTITY_TOKEN_FILE": tmp_path / "x",
            "AWS_ROLE_ARN": "arn:x",
            "AWS_ENDPOINT_URL": server.url,
        }
        done = program(
            "-p",
            "s3",
            "--force",
            "--no-check",
            tmp_path / "x",
            env={"AWS_S3_BUCKET": "pictures", **web},
        )
    assert done.returncode == 0 and [arrived.method for arrived in server.arrived] == [
        "POST",
        "PUT",
    ]
    assert server.arrived[1].header("x-amz-security-token") == token


def test_the_address_of_a_container_may_hold_any_letter(upload, metadata):
    done = upload(
        AWS_CONTAINER_CREDENTIALS_FULL_URI=metadata.url + "ü",
        AWS_CONTAINER_AUTHORIZATION_TOKEN="x",
    )
    assert "the container: no" in done.stderr and "Traceback" not in done.stderr
    assert metadata.arrived[0].target == "/%C3%BC"


@pytest.mark.parametrize(
    "manner, token, sentence",
    [
        (Metadata(), "wrong-token", "the container: no credentials: 403 Forbidden\n"),
        (
            Metadata(answer="very-secret"),
            "container-token",
            "the container has no access key with its secret",
        ),
        (
            Metadata(answer='["very-secret"]'),
            "container-token",
            "the container has no access key with its secret",
        ),
        (Metadata(status=500), "container-token", "the container: no credentials: 500"),
        (
            lambda talk: (talk.request(), talk.linger()),
            "container-token",
            "no credentials: 127.0.0.1: timed out",
        ),
    ],
)
def test_a_container_without_keys(stderr_of, manner, token, sentence):
    with Server(manner) as server:
        begun = time.monotonic()
        uri = {
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": server.url + "container",
            "AWS_CONTAINER_AUTHORIZATION_TOKEN": token,
        }
        assert sentence in stderr_of(**uri) and time.monotonic() - begun < 8
        assert len(server.arrived) == 1


def test_a_machine_has_a_role(upload, metadata, box):
    done = upload(AWS_EC2_METADATA_SERVICE_ENDPOINT=metadata.url)
    assert done.returncode == 0 and TEMPORARY in done.stdout and "metadata-token" not in done.stderr
    assert [arrived.method for arrived in metadata.arrived] == ["PUT", "GET", "GET"]
    assert metadata.arrived[2].target == "/latest/meta-data/iam/security-credentials/uploader"


@pytest.mark.parametrize(
    "manner",
    [
        Metadata(token="two\nlines"),
        Metadata(token=""),
        Metadata(status=500),
        Metadata(answer="very-secret"),
        Metadata(role=""),
    ],
)
def test_a_machine_without_a_role_is_none(stderr_of, manner):
    with Server(manner) as server:
        message = stderr_of(
            AWS_EC2_METADATA_SERVICE_ENDPOINT=server.url, AWS_EC2_METADATA_DISABLED=None
        )
        assert "AWS credentials not found" in message and 1 <= len(server.arrived) <= 3


# 5  When nobody is asked --------------------------------------------------------------------------


def test_the_machine_is_asked_for_a_second_at_most(stderr_of):
    """That address responds only in a cloud."""
    with blackhole() as port:
        begun = time.monotonic()
        message = stderr_of(
            AWS_EC2_METADATA_SERVICE_ENDPOINT=f"http://127.0.0.1:{port}",
            AWS_EC2_METADATA_DISABLED=None,
        )
        assert "AWS credentials not found" in message and 0.9 < time.monotonic() - begun < 4
    with Server(lambda talk: (talk.request(), talk.linger())) as silent:
        begun = time.monotonic()
        stderr_of(AWS_EC2_METADATA_SERVICE_ENDPOINT=silent.url, AWS_EC2_METADATA_DISABLED=None)
        assert time.monotonic() - begun < 4 and len(silent.arrived) == 1


def test_the_machine_is_asked_last(upload, metadata):
    keys = {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET}
    assert upload(AWS_EC2_METADATA_SERVICE_ENDPOINT=metadata.url, **keys).returncode == 0
    assert not metadata.arrived


def test_the_machine_is_not_asked_where_that_is_forbidden(stderr_of, metadata):
    stderr_of(AWS_EC2_METADATA_SERVICE_ENDPOINT=metadata.url, AWS_EC2_METADATA_DISABLED="TRUE")
    assert not metadata.arrived


@pytest.fixture
def asked(program, metadata, tmp_path):
    """Whether the machine or the credential_process is asked for keys by such a call."""

    def run(*args, **settings):
        (tmp_path / "FILE").write_text("x")
        touch = line(sys.executable, "-c", "import sys; open(sys.argv[1], 'w')", tmp_path / "asked")
        (tmp_path / "config").write_text(f"[default]\ncredential_process = {touch}\n")
        places = {
            "AWS_EC2_METADATA_SERVICE_ENDPOINT": metadata.url,
            "AWS_CONFIG_FILE": tmp_path / "config",
        }
        program(*args, env={**places, **settings})
        return bool(metadata.arrived) or (tmp_path / "asked").exists()

    return run


@pytest.mark.parametrize(
    "args",
    [["list"], ["status"], ["--dry-run", "FILE"], ["FILE"], ["-p", "litterbox", "FILE"]],
    ids=" ".join,
)
def test_nobody_is_asked_while_s3_is_not_set_up(asked, args):
    """Neither the machine nor a program: without AWS_S3_BUCKET S3 is not meant."""
    assert not asked(*args, AWS_REGION="eu-west-1")


@pytest.mark.parametrize(
    "args", [["list"], ["status"], ["--dry-run", "FILE"], ["-p", "litterbox", "FILE"]], ids=" ".join
)
def test_nobody_is_asked_before_something_is_to_be_sent(asked, args):
    assert not asked(*args, AWS_S3_BUCKET="pictures")
    assert asked("FILE", AWS_S3_BUCKET="pictures"), "or this test sees nothing"


@pytest.mark.parametrize(
    "text, seconds",
    [
        ("2030-01-02T03:04:05Z", 1893553445.0),
        ("2030-01-02T03:04:05.678Z", 1893553445.0),
        ("2030-01-02T03:04:05+00:00", 1893553445.0),
        ("2030-01-01T22:04:05-05:00", 1893553445.0),
        ("2030-01-02T08:34:05.678+0530", 1893553445.0),
        ("2030-01-01T23:34:05-03:30", 1893553445.0),
        ("", None),
        (None, None),
        ("soon", None),
        ("²030-01-02T03:04:05Z", None),
        ("2030-13-02T03:04:05Z", None),
        ("0000-00-00T00:00:00Z", None),
    ],
)
def test_when_keys_end(text, seconds):
    assert t.parse_timestamp(text) == seconds


def test_the_keys_of_no_one_are_shown():
    assert re.fullmatch(r"<Credentials AKIA\.\.\.>", repr(t.Credentials(KEY, SECRET, TOKEN)))
