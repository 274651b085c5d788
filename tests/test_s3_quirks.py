"""The unchanged program, S3 servers with odd habits (s3_quirks.py), and slightly wrong settings.

Chapters: 1 What is learnt from a refusal, 2 What a refusal says, 3 The bucket in the endpoint, 4
Settings and files, 5 What is done by the AWS CLI.
"""

from __future__ import annotations

import json
import os
import sys

import pytest
from conftest import PROGRAM, environment
from servers.s3_quirks import KEY, SECRET, URL, quirky

import twat_fs as t

# 1  What is learnt from a refusal -----------------------------------------------------------------


@pytest.fixture
def small(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("text")
    return path


@pytest.fixture
def upload(program, small):
    """The program with this server's settings (`files`: an AWS config file)."""

    def run(server, *args, config="", **settings):
        if config:
            (small.parent / "config").write_text(config)
            settings["AWS_CONFIG_FILE"] = small.parent / "config"
        done = program("-p", "s3", small, *args, env=server.env(**settings))
        assert SECRET not in done.stderr and "Traceback" not in done.stderr
        return done

    return run


def good(done):
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout.strip()


def failed(done, sentence):
    assert (done.returncode, done.stdout) == (1, "") and sentence in done.stderr, done.stderr
    assert not set("<>{}") & set(done.stderr)


def test_virtual_hosted_style_is_learnt_from_the_refusal(upload):
    with quirky("oss") as server:
        assert good(upload(server)).startswith("http://bkt.s3.quirk.example/a.txt?")
        assert server.objects["/a.txt"].body == b"text"
        hosts = [arrived.host.partition(".")[0] for arrived in server.arrived]
        assert hosts == ["s3", "bkt", "bkt", "bkt", "bkt"], "refused, looked, 501, stored, verified"


def test_path_style_is_learnt_from_the_refusal(upload):
    with quirky("path") as server:
        url = good(upload(server, AWS_S3_PATH_STYLE="false"))
        assert url.startswith("http://s3.quirk.example/bkt/a.txt?") and "/a.txt" in server.objects


@pytest.mark.parametrize("style, host", [("virtual", "bkt.s3"), ("path", "s3"), ("auto", "s3")])
def test_the_addressing_style_of_the_file_is_used(upload, style, host):
    config = f"[default]\ns3 =\n    max_concurrent_requests = 2\n    addressing_style = {style}\n"
    with quirky("oss" if style == "virtual" else "mute") as server:
        done = upload(server, config=config)
        assert good(done).startswith(f"http://{host}.quirk.example/")
        assert {arrived.host for arrived in server.arrived} == {f"{host}.quirk.example"}


def test_the_setting_comes_before_the_file(upload):
    config = "[default]\ns3 =\n    addressing_style = virtual\n"
    with quirky("path") as server:
        good(upload(server, config=config, AWS_S3_PATH_STYLE="true"))
        assert {arrived.host for arrived in server.arrived} == {"s3.quirk.example"}


def test_content_md5_is_sent_when_it_is_asked_for(upload):
    """coolify#4774: B2 with a default retention."""
    with quirky("b2") as server:
        good(upload(server))
        puts = [arrived.headers for arrived in server.arrived if arrived.method == "PUT"]
        asked = [("x-amz-checksum-crc32" in headers, "content-md5" in headers) for headers in puts]
        assert asked == [(True, False), (False, False), (False, True)]


@pytest.mark.parametrize("habit", ["words", "garage"])
def test_the_region_is_read_from_the_words(upload, habit):
    with quirky(habit, "fr-par") as server:
        assert "%2Ffr-par%2Fs3%2F" in good(upload(server))


# 2  What a refusal says ---------------------------------------------------------------------------


def test_a_wrong_signature_without_a_region_says_so(upload):
    with quirky("mute", "garage") as server:
        done = upload(server)
        failed(done, "check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; AWS_REGION is not set")
        assert "us-east-1 may be wrong" in done.stderr
        assert "AWS_REGION" not in upload(server, AWS_REGION="eu-west-1").stderr
        good(upload(server, AWS_REGION="garage"))


@pytest.mark.parametrize(
    "habit, sentence",
    [
        (
            "redirect",
            "301, redirected to https://s3.example.org/bkt/a.txt"
            "   set AWS_REGION, or AWS_ENDPOINT_URL to that",
        ),
        ("rgw", "416 InvalidRange\n"),
        ("html", '405 Method Not Allowed: Forbidden Access was "denied" to this resource.\n'),
        ("json", "422 Unprocessable Entity: quota of the team is used up\n"),
    ],
)
def test_a_refusal_is_one_sentence(upload, habit, sentence):
    with quirky(habit) as server:
        sentence = sentence.replace("Unprocessable Entity", t.phrase(422))
        failed(upload(server), sentence)


@pytest.mark.parametrize("habit, hinted", [("closed", True), ("hidden", False)])
def test_a_permission_to_read_is_advised_for_403_only(upload, habit, hinted):
    with quirky(habit) as server:
        done = upload(server, "--force")
        assert done.returncode == 4 and ("s3:GetObject" in done.stderr) == hinted


def test_no_variable_is_advised_that_is_set(upload, program, small):
    with quirky("mute") as server:
        done = upload(server, AWS_ACCESS_KEY_ID="AKOTHER")
        failed(done, "check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
        assert "set AWS_S3_BUCKET" not in done.stderr
        env = {**server.env(), "AWS_SECRET_ACCESS_KEY": None}
        done = program("-p", "s3", small, env=env)
        assert done.returncode == 5 and "AWS_SECRET_ACCESS_KEY is not" in done.stderr
        assert "set AWS_S3_BUCKET" not in done.stderr


@pytest.mark.parametrize("file", ["AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"])
def test_a_hint_names_the_place_of_the_key(upload, tmp_path, file):
    profile = "profile up" if file == "AWS_CONFIG_FILE" else "up"
    keys = f"[{profile}]\naws_access_key_id = AKOTHER\naws_secret_access_key = {SECRET}\n"
    (tmp_path / "keys").write_text(keys)
    settings = {file: tmp_path / "keys", "AWS_PROFILE": "up", "AWS_REGION": "us-east-1"}
    with quirky("mute") as server:
        done = upload(server, AWS_ACCESS_KEY_ID=None, AWS_SECRET_ACCESS_KEY=None, **settings)
        failed(done, f"check the profile up in {tmp_path}/keys\n")


# The bodies are those of the services: RGW 16.2, Swift 2.38, Uguu 1.9.8, nginx 1.22, FastAPI,
# OAuth.
WORDS = [
    (
        b'<?xml version="1.0" encoding="UTF-8"?>'
        b"<Error><Code>NoSuchBucket</Code><BucketName>b</BucketName></Error>",
        "NoSuchBucket",
    ),
    (b"<html><h1>Forbidden</h1><p>Access was denied.</p></html>", "Forbidden Access was denied."),
    (
        b'{"success": false, "errorcode": 400, "description": "No input file(s)"}',
        "No input file(s)",
    ),
    (
        b"<html>\r\n<head><title>413 Request Entity Too Large</title></head>\r\n<body>x</body>",
        "413 Request Entity Too Large",
    ),
    (b'{"detail": [{"loc": ["body"], "msg": "field required"}]}', "field required"),
    (b'{"error": {"code": "x", "message": "quota &amp; more"}}', "quota & more"),
    (b'{"error": "invalid_grant", "error_description": "it is revoked"}', "it is revoked"),
    (b'["first reason", "second"]', "first reason , second"),
    (b'{"error": "of \\u00fc \\"x\\"", "n": {"message": ""}}', 'of ü "x"'),
    (b'{"ok": false, "n": [1]}', "ok : false, n : 1"),
    (b"<script>var a = {};</script><div>no <b>way</b></div>", "no way"),
    (b'a "file" of {some} <kind>', 'a "file" of {some} <kind>'),
    (b'{"broken', "broken"),
    (b"{}", ""),
    (b"", ""),
]


@pytest.mark.parametrize("body, sentence", WORDS)
def test_what_a_host_says_is_a_sentence(body, sentence):
    assert t.error_text(t.Response(400, {}, body, "https://h.example/")) == sentence


# 3  The bucket in the endpoint --------------------------------------------------------------------


@pytest.fixture
def refused(program, small):
    """What the program says; nothing is sent."""

    def run(server, **settings):
        done = program("-p", "s3", small, env=server.env(**settings))
        assert (done.returncode, done.stdout) == (5, "") and not server.arrived, done.stderr
        assert SECRET not in done.stderr and "Traceback" not in done.stderr
        return done.stderr

    return run


def test_a_bucket_in_the_path_of_the_endpoint_is_refused(refused):
    with quirky("mute") as server:
        message = refused(server, AWS_ENDPOINT_URL=f"{URL}/bkt/")
        assert (
            f"AWS_ENDPOINT_URL contains the bucket already; set AWS_ENDPOINT_URL={URL}\n" in message
        )


def test_a_bucket_in_the_host_of_the_endpoint_is_refused(refused):
    with quirky("mute") as server:
        message = refused(server, AWS_ENDPOINT_URL_S3="http://bkt.s3.quirk.example")
        assert (
            f"AWS_ENDPOINT_URL_S3 contains the bucket already; set AWS_ENDPOINT_URL_S3={URL},"
            in message
        )
        assert "or AWS_S3_PATH_STYLE=true if" in message


def test_a_server_may_be_called_like_the_bucket(upload):
    with quirky("mute") as server:
        name = "http://s3.quirk.example"
        good(upload(server, AWS_ENDPOINT_URL=name, AWS_S3_PATH_STYLE="true"))
    assert t.Aws(
        {"AWS_S3_BUCKET": "s3", "AWS_ENDPOINT_URL": name, "AWS_S3_PATH_STYLE": "1"}
    ).endpoint("s3")
    with pytest.raises(t.NotConfigured):
        t.Aws({"AWS_S3_BUCKET": "s3", "AWS_ENDPOINT_URL": name}).endpoint("s3")


def test_a_bucket_that_only_resembles_the_endpoint_is_none_of_it(upload):
    with quirky("mute") as server:
        good(upload(server, AWS_ENDPOINT_URL="http://bkt2.quirk.example"))


# 4  Settings and files ----------------------------------------------------------------------------


def test_white_space_around_any_setting_is_ignored(upload):
    with quirky("mute") as server:
        settings = {
            name: f" \t{value}\r\n" for name, value in server.env().items() if "AWS" in name
        }
        assert good(upload(server, **settings))


KEYS = f"[default]\naws_access_key_id = {KEY}\naws_secret_access_key = {SECRET}\n"


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-be"])
@pytest.mark.parametrize("file", ["AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"])
def test_files_of_windows_editors_are_read(upload, tmp_path, encoding, file):
    mark = "\ufeff" if encoding == "utf-16-be" else ""
    (tmp_path / "keys").write_bytes((mark + KEYS).encode(encoding))
    settings = {"AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None, file: tmp_path / "keys"}
    with quirky("mute") as server:
        good(upload(server, **settings))


@pytest.mark.parametrize(
    "id, secret, sentence",
    [
        (KEY + "  # mine", SECRET, "aws_access_key_id of the profile default in"),
        (KEY, SECRET + " ; mine", "aws_secret_access_key of the profile default in"),
        (f'"{KEY}"', SECRET, "aws_access_key_id of the profile default in"),
        (KEY, f"'{SECRET}'", "aws_secret_access_key of the profile default in"),
    ],
)
def test_what_stands_around_a_key_in_a_file_is_named(refused, tmp_path, id, secret, sentence):
    (tmp_path / "keys").write_text(
        f"[default]\naws_access_key_id = {id}\naws_secret_access_key = {secret}\n"
    )
    settings = {"AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None}
    with quirky("mute") as server:
        message = refused(server, AWS_SHARED_CREDENTIALS_FILE=tmp_path / "keys", **settings)
    flaw = "is in quotes" if "mine" not in id + secret else "is followed by a comment"
    assert f"{sentence} {tmp_path}/keys {flaw}" in message


@pytest.mark.parametrize(
    "settings, sentence",
    [
        ({"AWS_ACCESS_KEY_ID": f'"{KEY}"'}, "AWS_ACCESS_KEY_ID of the environment is in quotes"),
        ({"AWS_S3_BUCKET": "'bkt'"}, "AWS_S3_BUCKET is in quotes"),
        ({"AWS_REGION": "us-east-1 # home"}, "'us-east-1 # home' is followed by a comment"),
        ({"AWS_ENDPOINT_URL": f'"{URL}"'}, "AWS_ENDPOINT_URL is in quotes"),
    ],
)
def test_what_stands_around_a_setting_is_named(refused, settings, sentence):
    """As `docker run --env-file` keeps it."""
    with quirky("mute") as server:
        assert sentence in refused(server, **settings)


# 5  What is done by the AWS CLI -------------------------------------------------------------------

PRINTED = {
    "Version": 1,
    "AccessKeyId": KEY,
    "SecretAccessKey": SECRET,
    "SessionToken": "token-1",
    "Expiration": "2999-01-01T00:00:00Z",
}
SSO = (
    "sso_session = corp\nsso_account_id = 123456789012\nsso_role_name = up\n"
    "[sso-session corp]\nsso_region = us-east-1\n"
)
BASE = f"[profile base]\naws_access_key_id = {KEY}\naws_secret_access_key = {SECRET}\n"
SIGN_ONS = {
    "sso": f"[profile dev]\n{SSO}",
    "old sso": (
        "[profile dev]\nsso_account_id = 1\nsso_role_name = up\n"
        "sso_start_url = https://x.awsapps.com/start\n"
    ),
    "login": "[profile dev]\nlogin_session = arn:aws:iam::123456789012:user/alice\n",
    "code": f"[profile dev]\nrole_arn = r\nmfa_serial = m\nsource_profile = base\n{BASE}",
    "chain": (
        "[profile dev]\nrole_arn = r\nsource_profile = mid\n"
        f"[profile mid]\nrole_arn = q\nsource_profile = base\n{BASE}"
    ),
    "circle": (
        "[profile dev]\nrole_arn = r\nsource_profile = q\n"
        "[profile q]\nrole_arn = r\nsource_profile = dev\n"
    ),
    "role of a sign-on": f"[profile dev]\nrole_arn = r\nsource_profile = on\n[profile on]\n{SSO}",
    "role of a login": (
        "[profile dev]\nrole_arn = r\nsource_profile = on\n[profile on]\nlogin_session = s\n"
    ),
}
COMMAND = "aws configure export-credentials --profile dev --format process"


@pytest.fixture
def aws_cli(tmp_path):
    """A fake `aws`, alone on PATH: it logs its call, prints this, and exits with that code."""
    folder = tmp_path / "bin"

    def install(out="", err="", code=0):
        folder.mkdir(exist_ok=True)
        (folder / "out").write_text(out)
        (folder / "err").write_text(err)
        script = folder / "aws"
        script.write_text(
            f"#!{sys.executable}\nimport json, os, sys\n"
            f"json.dump([sys.argv[1:], dict(os.environ)], open({str(folder / 'called')!r}, 'w'))\n"
            f"print(end=open({str(folder / 'out')!r}).read())\n"
            f"print(end=open({str(folder / 'err')!r}).read(), file=sys.stderr)\nsys.exit({code})\n"
        )
        script.chmod(0o755)
        return lambda: json.loads((folder / "called").read_text())

    install.path = str(folder)
    return install


@pytest.fixture
def signed_on(upload, refused, aws_cli):
    """The settings of somebody with such a profile."""

    def settings(config):
        return {
            "AWS_ACCESS_KEY_ID": None,
            "AWS_SECRET_ACCESS_KEY": None,
            "AWS_PROFILE": "dev",
            "AWS_EC2_METADATA_DISABLED": "true",
            "PATH": aws_cli.path,
        }

    return settings


@pytest.mark.parametrize("name", SIGN_ONS)
def test_the_aws_cli_gives_the_keys_of_a_sign_on(upload, aws_cli, signed_on, name):
    called = aws_cli(json.dumps(PRINTED))
    with quirky("mute") as server:
        done = upload(server, config=SIGN_ONS[name], **signed_on(name))
        assert done.returncode == 0, done.stderr
        assert {arrived.headers.get("x-amz-security-token") for arrived in server.arrived} >= {
            "token-1"
        }
    arguments, variables = called()
    assert arguments == COMMAND.split()[1:] and variables["AWS_CONFIG_FILE"].endswith("config")


@pytest.mark.parametrize("name", SIGN_ONS)
def test_without_the_aws_cli_its_command_is_the_hint(refused, tmp_path, signed_on, name):
    (tmp_path / "config").write_text(SIGN_ONS[name])
    with quirky("mute") as server:
        message = refused(server, AWS_CONFIG_FILE=tmp_path / "config", **signed_on(name))
    assert (
        f"the AWS CLI (version 2) could not be started: no such file or directory   {COMMAND}\n"
        in message
    )


# The words are those of aws-cli 2.9.19 and 1.46.3.
CLI_FAILURES = [
    (
        "\nError loading SSO Token: Token for corp does not exist\n",
        255,
        "failed (255): Error loading SSO Token: Token for corp",
    ),
    (
        "\nUnable to retrieve credentials: no credentials found\n\n",
        253,
        "failed (253): Unable to retrieve credentials: no",
    ),
    (
        "usage: aws [options]\naws: error: argument subcommand:"
        " Invalid choice, valid choices are:\n\nlist | get\nset  | add\n",
        2,
        "failed (2): aws: error: argument subcommand: Invalid choice",
    ),
    ("", 1, "failed (1): "),
]


@pytest.mark.parametrize("err, code, sentence", CLI_FAILURES)
def test_what_the_aws_cli_says_when_it_fails(
    refused, tmp_path, aws_cli, signed_on, err, code, sentence
):
    aws_cli(err=err, code=code)
    (tmp_path / "config").write_text(SIGN_ONS["sso"])
    with quirky("mute") as server:
        message = refused(server, AWS_CONFIG_FILE=tmp_path / "config", **signed_on("sso"))
    assert f"the AWS CLI (version 2) {sentence}" in message and message.endswith(f"   {COMMAND}\n")


def test_keys_in_the_credentials_file_come_before_a_login(upload, tmp_path, signed_on):
    (tmp_path / "keys").write_text(KEYS.replace("default", "dev"))
    with quirky("mute") as server:
        settings = {**signed_on("login"), "AWS_SHARED_CREDENTIALS_FILE": tmp_path / "keys"}
        good(upload(server, config=SIGN_ONS["login"], **settings))


def test_a_code_that_no_role_asks_for_is_ignored(upload, signed_on):
    """aws-vault wants mfa_serial beside the keys."""
    config = BASE.replace("base", "dev") + "mfa_serial = m\n"
    with quirky("mute") as server:
        good(upload(server, config=config, **signed_on("keys")))


def test_settings_of_a_python_program_reach_the_aws_cli(aws_cli, tmp_path, clean_env):
    called = aws_cli(json.dumps(PRINTED))
    clean_env.setenv("PATH", aws_cli.path)
    (tmp_path / "config").write_text(SIGN_ONS["sso"])
    settings = {"AWS_CONFIG_FILE": str(tmp_path / "config"), "AWS_PROFILE": "dev"}
    assert t.Aws(settings).credentials()[:3] == (KEY, SECRET, "token-1")
    assert called()[1]["AWS_CONFIG_FILE"] == str(tmp_path / "config")


@pytest.mark.parametrize("before", ["", "/usr/own/lib"])
def test_libraries_of_a_binary_do_not_reach_the_programs_it_starts(
    box, aws_cli, tmp_path, small, signed_on, before
):
    """PyInstaller sets sys.frozen and LD_LIBRARY_PATH; the old value has another name."""
    import subprocess

    called = aws_cli(json.dumps(PRINTED))
    (tmp_path / "config").write_text(SIGN_ONS["sso"])
    frozen = (
        "import runpy, sys; sys.frozen = True; sys.argv = sys.argv[1:];"
        f" runpy.run_path({str(PROGRAM)!r}, run_name='__main__')"
    )
    with quirky("mute") as server:
        env = server.env(AWS_CONFIG_FILE=tmp_path / "config", **signed_on("sso"))
        env["LD_LIBRARY_PATH"] = env["DYLD_LIBRARY_PATH"] = str(tmp_path / "unpacked")
        env["LD_LIBRARY_PATH_ORIG"] = before or None
        argv = [sys.executable, "-c", frozen, "twat-fs", "-p", "s3", str(small)]
        done = subprocess.run(
            argv, env=environment(box, env), capture_output=True, text=True, timeout=60
        )
    assert done.returncode == 0, done.stderr
    variables = called()[1]
    assert variables.get("LD_LIBRARY_PATH", "") == before and "DYLD_LIBRARY_PATH" not in variables
    assert os.fspath(tmp_path / "unpacked") not in variables.values()
