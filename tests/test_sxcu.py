"""Custom hosts: .sxcu files as rows. The vectors are in data/sxcu/vectors.json.

Servers are on loopback; a public host is one that is reached through a proxy on loopback.
Chapters: 1 Texts, 2 Files, 3 Uploads, 4 Security, 5 The command.
"""

from __future__ import annotations

import io
import json
import os
import re
import stat
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import parse_qsl, urlsplit

import pytest
from internet.loopback import Server, caller

import twat_fs

FILES = Path(__file__).parent / "data" / "sxcu"
VECTORS = json.loads((FILES / "vectors.json").read_text("utf-8"))
DATA = bytes(range(256)) * 9
BODY = json.dumps(VECTORS["response"]).replace(" ", "").encode()
RESPONSE = twat_fs.Response(200, {"X-Id": "9"}, BODY, "https://h.example/up")


@pytest.fixture
def config(tmp_path, monkeypatch):
    """The folder of added hosts."""
    variable = "APPDATA" if os.name == "nt" else "XDG_CONFIG_HOME"
    monkeypatch.setenv(variable, str(tmp_path / "config"))
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    return tmp_path / "config" / "twat-fs" / "hosts"


@pytest.fixture
def main(config, capsys):
    return caller(capsys)


@pytest.fixture
def sample(tmp_path):
    path = tmp_path / "my pic.png"
    path.write_bytes(DATA)
    return path


@pytest.fixture
def write(tmp_path):
    """Write a .sxcu file; fields that are None are left out."""

    def make(name="mine.sxcu", **fields):
        base = {"RequestURL": "https://h.example/up", "FileFormName": "f", "URL": "{json:url}"}
        content = {key: value for key, value in {**base, **fields}.items() if value is not ...}
        path = tmp_path / name
        path.write_text(json.dumps(content), "utf-8")
        return path

    return make


class Drop:
    """Stores each upload, responds as `reply` says, and serves it under /f/ and at its PUT path."""

    def __init__(self, reply, status=200, headers=()):
        self.reply, self.status, self.headers, self.stored = reply, status, headers, {}

    def __call__(self, talk):
        arrived = talk.request()
        while arrived:
            base = "http://%s" % arrived.header("Host")
            path = urlsplit(arrived.target).path
            if arrived.method in ("POST", "PUT", "PATCH"):
                self.stored[path if arrived.method == "PUT" else "/f/x.png"] = content_of(arrived)
                text = self.reply.replace("BASE", base).replace("FILE", base + "/f/x.png")
                talk.say(
                    self.status, text.encode(), *(h.replace("BASE", base) for h in self.headers)
                )
            elif path in self.stored:
                talk.say(200, self.stored[path])
            else:
                talk.say(200 if path == "/done" else 404, self.reply.replace("BASE", base).encode())
            arrived = talk.request()


def parts_of(arrived):
    """The names, headers and contents of a form."""
    boundary = arrived.header("Content-Type").partition("boundary=")[2].encode()
    for part in arrived.body.split(b"--" + boundary)[1:-1]:
        head, _, content = part[2:-2].partition(b"\r\n\r\n")
        yield re.search(rb' name="([^"]*)"', head).group(1).decode(), head.decode(), content


def content_of(arrived):
    if "multipart" not in arrived.header("Content-Type"):
        return arrived.body
    return list(parts_of(arrived))[-1][2]


def served(tmp_path, name, server):
    """One of the public shapes, for this server."""
    content = (FILES / name).read_bytes().replace(b"BASE", server.url.rstrip("/").encode())
    path = tmp_path / name
    path.write_bytes(content)
    return path


def value(text, field="URL", response=RESPONSE, regexes=()):
    scope = twat_fs.Scope(twat_fs.quote_segment(VECTORS["name"]), {}, response)
    return twat_fs.evaluate(twat_fs.TextParser(field, regexes).parse(text), scope)


def parsed(**fields):
    base = {"RequestURL": "https://h.example/up", "FileFormName": "f"}
    return twat_fs.parse_sxcu(json.dumps({**base, **fields}).encode())


def request_of(name="my pic.png", settings=None, insecure=False, **fields):
    source = twat_fs.Source(name, (), 0, 0.0)
    options = twat_fs.UploadOptions(settings=settings or {}, insecure=insecure)
    return twat_fs.sxcu_request(parsed(**fields), source, options)


def link_of(body, **fields):
    response = RESPONSE._replace(body=body.encode())
    return twat_fs.sxcu_link(parsed(**fields), "my pic.png", response)


# 1 Texts ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text, expected", VECTORS["texts"])
def test_a_text(text, expected):
    assert value(text) == expected


@pytest.mark.parametrize("text", VECTORS["no_link"])
def test_a_value_that_the_response_does_not_have_is_no_link(text):
    with pytest.raises(twat_fs.NoLink):
        value(text)


@pytest.mark.parametrize("text", VECTORS["unsupported"])
def test_unsupported_syntax_is_a_usage_error(text):
    with pytest.raises(twat_fs.UsageError) as caught:
        parsed(URL=text)
    assert caught.value.exit_code == 2 and "\n" not in str(caught.value)


@pytest.mark.parametrize("old, new", VECTORS["old"])
def test_old_syntax(old, new):
    assert twat_fs.modern_syntax(old) == new


def test_the_list_of_regular_expressions_of_an_old_file():
    uploader = parsed(URL="$regex:1|1$", RegexList=['"id":(\\d+)'])
    assert twat_fs.evaluate(uploader.texts["URL"], twat_fs.Scope("", {}, RESPONSE)) == "7"


def test_the_content_decides_between_old_and_new_syntax():
    new = parsed(Version="1.0.0", URL="{json:id}").texts["URL"]
    assert new == parsed(Version="18.0.0", URL="$json:id$").texts["URL"]
    assert parsed(Version="13.7.1", URL="https://h/{x}").texts["URL"]  # braces are text
    with pytest.raises(twat_fs.UsageError):
        parsed(Version="14.0.0", URL="https://h/{x}")


@pytest.mark.parametrize("function", ["response", "json:x", "header:x", "responseurl", "regex:x"])
def test_functions_of_the_response_are_unknown_in_the_request(function):
    with pytest.raises(twat_fs.UsageError, match="only after the upload"):
        parsed(Arguments={"a": "{%s}" % function})


# 2 Files ------------------------------------------------------------------------------------------


def test_lenient_json():
    content = b"""\xef\xbb\xbf// comment
    {"requesturl": "h.example/up?a=1&b", "Body": "multipartformdata", "FileFormName": "f", /* x */
     "Arguments": {"n": 1, "yes": true, "none": null, "text": "a // b, } /* c */",}, "Data": null,
    }"""
    uploader = twat_fs.parse_sxcu(content)
    assert uploader.host == "h.example" and list(uploader.texts_of("Arguments")) == [
        "n",
        "yes",
        "text",
    ]
    arguments = {name: text[0] for name, text in uploader.texts_of("Arguments").items()}
    assert arguments["yes"] == "true" and arguments["n"] == "1"
    assert uploader.texts_of("Parameters") == {"a": ("1",), "b": ()}


def test_parameters_win_over_the_query_and_blanks_become_plus():
    request = request_of(
        RequestURL="https://h.example/up?a=1&b=2",
        Parameters={"a": "x y", "c": "", "f": "{filename}"},
    )
    assert request.url == "https://h.example/up?a=x+y&b=2&c&f=my+pic.png"


@pytest.mark.parametrize(
    "fields",
    [
        {"RequestMethod": "GET"},
        {"RequestMethod": "DELETE"},
        {"DestinationType": "URLShortener"},
        {"Body": "JSON", "FileFormName": ""},
        {"Body": "FormURLEncoded", "FileFormName": None},
        {"FileFormName": ""},
        {"RequestURL": "ftp://h.example/"},
        {"RequestURL": "https://{random:a|b}.example/"},
        {"RequestURL": "https://user:secret@h.example/"},
        {"Headers": ["a"]},
        {"RegexList": 1},
        {"Arguments": {"a": ["b"]}},
    ],
)
def test_files_that_are_not_supported(fields):
    with pytest.raises(twat_fs.UsageError) as caught:
        parsed(**fields)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff", b"{'a': 1}", b"[" * 99999])
def test_files_that_are_not_json(content):
    with pytest.raises(twat_fs.UsageError, match=r"invalid \.sxcu file"):
        twat_fs.parse_sxcu(content)


def test_a_file_that_is_too_large():
    with pytest.raises(twat_fs.UsageError, match="larger than"):
        twat_fs.parse_sxcu(b'{"RequestURL": "h.example", "FileFormName": "f"}' + b" " * (1 << 20))


@pytest.mark.parametrize(
    "fields",
    [
        {"DestinationType": "ImageUploader, URLShortener"},
        {"DestinationType": "None"},
        {"RequestType": "put"},
        {"Body": "FormURLEncoded"},
        {"Body": None, "Version": None},
    ],
)
def test_files_that_are_accepted(fields):
    assert parsed(**fields).file_field == "f"


# 3 Uploads ----------------------------------------------------------------------------------------


def test_lolisafe(main, sample, tmp_path):
    reply = '{"success":true,"files":[{"name":"x.png","url":"FILE","thumb":"BASE/t.png"}]}'
    with Server(Drop(reply)) as server:
        done = main("--json", "-p", served(tmp_path, "lolisafe.sxcu", server), sample)
        result = json.loads(done.out)
    assert done.code == 0 and result["provider"] == "lolisafe"
    assert result["url"] == server.url + "f/x.png" and result["thumbnail"] == server.url + "t.png"
    assert result["delete"] is None and result["verified"] == "full"
    (name, head, content), upload = *parts_of(server.arrived[0]), server.arrived[0]
    assert name == "files[]" and content == DATA and 'filename="my pic.png"' in head
    assert upload.header("token") == "" and upload.header("albumid") is None


def test_ass(main, sample, tmp_path):
    reply = '{"x":{"resource":"FILE","thumbnail":"BASE/t","delete":"BASE/delete/k"}}'
    with Server(Drop(reply)) as server:
        done = main("--json", "-p", served(tmp_path, "ass.sxcu", server), sample)
        result = json.loads(done.out)
        spoken = main("-v", "-p", tmp_path / "ass.sxcu", sample)
    assert done.code == 0 and result["delete_page"] == server.url + "delete/k"
    assert server.arrived[0].header("Authorization") == "sesame-open"
    assert "sesame" not in spoken.err and "curl -X DELETE" not in spoken.err
    assert "to delete it, open " + server.url + "delete/k" in spoken.err


def test_tempfiles(main, sample, tmp_path):
    with Server(Drop('{"url":"/f/x.png","id":1,"key":"k"}')) as server:
        done = main("--json", "-p", served(tmp_path, "tempfiles.sxcu", server), sample)
    assert json.loads(done.out)["delete_page"] == server.url + "delete/1/k"
    assert parse_qsl(urlsplit(server.arrived[0].target).query) == [("key", "top secret")]
    fields = [(name, content) for name, _, content in parts_of(server.arrived[0])]
    assert fields == [("again", b"my pic.png"), ("json", b'{"a": 1}'), ("file", DATA)]


def test_a_binary_body(main, sample, tmp_path):
    with Server(Drop("")) as server:
        done = main("-p", served(tmp_path, "binary.sxcu", server), sample)
    assert done.code == 0 and done.links == [server.url + "dav/my%20pic.png"]
    upload = server.arrived[0]
    assert upload.method == "PUT" and upload.body == DATA
    assert upload.header("Content-Type") == "image/png"
    assert upload.header("Authorization") == "Basic bWU6cGFzc3dvcmQ="


def test_without_a_url_field_the_response_is_the_link(main, sample, write):
    with Server(Drop(" FILE\n")) as server:
        done = main("-p", write(RequestURL=server.url, URL=...), sample)
    assert done.links == [server.url + "f/x.png"]


@pytest.mark.parametrize("status", [302, 303])
def test_a_redirect_is_followed_without_the_headers(main, sample, write, status):
    reply = "see <a href='/f/x.png'>"
    with Server(Drop(reply, status, ["Location: BASE/done"])) as server:
        path = write(
            RequestURL=server.url,
            Headers={"X-Key": "sesame-open"},
            URL="{regex:href='([^']+)|1}",
        )
        done = main("-p", path, sample)
        direct = main("-p", write(RequestURL=server.url, URL="{responseurl}"), sample, "--no-check")
    assert done.code == 0 and done.links == [server.url + "f/x.png"]
    upload, page = server.arrived[:2]
    assert upload.header("X-Key") and page.method == "GET" and page.header("X-Key") is None
    assert direct.links == [server.url + "done"]


def test_a_redirect_that_would_send_the_file_again_is_refused(main, sample, write):
    with Server(Drop("", 307, ["Location: BASE/other"])) as server:
        done = main("-p", write(RequestURL=server.url), sample)
    assert done.code == 1 and len(server.arrived) == 1


@pytest.mark.parametrize(
    "status, reply, expected",
    [
        (401, '{"error":"bad key"}', "401: bad key"),
        (200, '{"error":"quota exceeded"}', "quota exceeded"),
    ],
)
def test_the_error_message_of_the_host(main, sample, write, status, reply, expected):
    with Server(Drop(reply, status)) as server:
        done = main("-p", write(RequestURL=server.url, ErrorMessage="{json:error}"), sample)
    assert done.code == 1 and expected in done.err


def test_fallback_and_retry(main, sample, write):
    replies = iter([503, 503, 200])

    def busy(talk):
        arrived = talk.request()
        while arrived:
            talk.say(next(replies), b'{"url":""}', "Retry-After: 0")
            arrived = talk.request()

    with Server(busy) as bad, Server(Drop('{"url":"FILE"}')) as good:
        first = write("first.sxcu", RequestURL=bad.url)
        second = write("second.sxcu", RequestURL=good.url)
        done = main("--json", "-p", first, "-p", second, sample, "--retry", "2")
    result = json.loads(done.out)
    assert result["provider"] == "second" and result["attempts"][0]["provider"] == "first"
    assert len(bad.arrived) >= 2


def test_two_files_of_the_same_name_are_two_hosts(main, sample, write, tmp_path):
    with Server(Drop("busy", status=403)) as first, Server(Drop('{"url": "FILE"}')) as second:
        (tmp_path / "other").mkdir()
        paths = [
            write("mine.sxcu", RequestURL=first.url + "up"),
            write(
                "other/mine.sxcu", RequestURL=second.url.replace("127.0.0.1", "localhost") + "up"
            ),
        ]
        ran = main("--json", "--retry", "0", "-p", ",".join(map(str, paths)), sample)
    report = json.loads(ran.out)
    assert ran.code == 0 and report["provider"].startswith("mine-")
    assert [attempt["host"] for attempt in report["attempts"]] == ["mine"]


def test_a_link_to_other_bytes_is_not_verified(main, sample, write):
    with Server(Drop('{"url":"BASE/done"}')) as server:
        done = main("-p", write(RequestURL=server.url, DeletionURL="{json:url}"), sample)
    assert done.code == 4 and "to delete it, open " in done.err


@pytest.mark.parametrize(
    "text, url",
    [
        ("/f/x.png", "https://h.example/f/x.png"),
        ("//other.example/x", "https://other.example/x"),
        ("other.example/x", "https://other.example/x"),
        ("http://other.example:81/x?y#z", "http://other.example:81/x?y#z"),
        ("https://h.example/\u200bü", "https://h.example/%E2%80%8B%C3%BC"),
    ],
)
def test_results_become_absolute_urls(text, url):
    assert link_of(text).url == url


# 4 Security ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", VECTORS["local"])
def test_a_local_address_from_a_public_host_is_no_link(host):
    with pytest.raises(twat_fs.NoLink, match="local address"):
        link_of("http://%s/x.png" % host)
    page = link_of("https://h.example/x", DeletionURL="http://%s/x" % host)
    assert page.delete_page is None


def test_a_local_address_is_no_link_with_no_check_too(main, sample, write):
    with Server(Drop("http://127.1/x.png")) as proxy:
        path = write(RequestURL="http://public.example/up", URL=...)
        done = main("-p", path, sample, "--no-check", "--insecure", "-x", proxy.url)
    assert done.code == 1 and not done.links and "local address" in done.err
    assert [arrived.method for arrived in proxy.arrived] == ["POST"]


def test_a_redirect_to_a_local_address_is_not_followed(main, sample, write):
    with Server(Drop("", 302, ["Location: http://127.0.0.1/x"])) as proxy:
        path = write(RequestURL="http://public.example/up", URL="{responseurl}")
        done = main("-p", path, sample, "--no-check", "--insecure", "-x", proxy.url)
    assert done.code == 1 and len(proxy.arrived) == 1


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "{json:url}",
        "https://h.example/{json:url}",
        "https://h.example/$json:url$",
        "https://h.example/a b",
        "https://h.example/a\u202eb",
        "ftp://h.example/x",
        "javascript:alert(1)",
        "error",
        "https://",
        "https://h.example/" + "x" * 3000,
    ],
)
def test_leftovers_are_no_link(text):
    with pytest.raises(twat_fs.NoLink):
        link_of(text)


def test_secrets_are_masked(main, sample, write):
    secrets = {"header": "sesame-one", "argument": "sesame two", "query": "sesame/three"}
    echo = " ".join([*secrets.values(), "sesame%2Fthree", "sesame"])
    for status, extra in ((403, {}), (200, {}), (403, {"ErrorMessage": "{response}"})):
        with Server(Drop(echo, status)) as server:
            path = write(
                RequestURL=server.url + "?k=" + secrets["query"],
                Headers={"X-Key": "Bearer " + secrets["header"]},
                Arguments={"a": secrets["argument"]},
                **extra,
            )
            for options in (["-v"], ["--json"], ["--dry-run"]):
                done = main("-p", path, sample, *options)
                assert not re.search("sesame.(one|two|three|2F)", done.out + done.err)
            assert "***" in main("-p", path, sample).err


def test_messages_about_a_file_have_no_value_of_it(main, sample, write):
    for text in ("{sesame}", "{sesame:x}", "{json:sesame", "{xml:sesame}", "{regex:sesame(}"):
        done = main("-p", write(Headers={"X-Key": text}), sample)
        assert done.code == 2 and "sesame" not in done.err


@pytest.mark.parametrize("character", ["\r\n", "\n", "\0", "\x7f", "\u2028"])
@pytest.mark.parametrize("field", ["Headers", "Parameters", "Arguments"])
def test_control_characters(character, field):
    bad = "a%sb" % character
    with pytest.raises(twat_fs.UsageError):
        parsed(**{field: {bad: "x"}})
    with pytest.raises(twat_fs.UsageError):
        request_of(**{field: {"name": bad}})
    with pytest.raises(twat_fs.UsageError):  # after evaluation
        request_of(name=bad, **{field: {"name": "{filename}"}})


def test_control_characters_in_other_fields():
    for fields in ({"FileFormName": "a\r\nb"}, {"RequestURL": "https://h.example/a\r\nb"}):
        with pytest.raises(twat_fs.UsageError):
            request_of(**fields)


@pytest.mark.parametrize(
    "name",
    ["Host", "content-length", "Transfer-Encoding", "Connection", "Expect", "Proxy-X", "a b"],
)
def test_forbidden_headers(main, sample, write, name):
    done = main("-p", write(Headers={name: "x"}), sample)
    assert done.code == 2 and "Headers" in done.err


def test_the_content_type_of_a_form_stays():
    request = request_of(Headers={"content-type": "multipart/form-data"})
    assert [name for name, _ in request.headers].count("Content-Type") == 1
    assert "boundary=" in dict(request.headers)["Content-Type"]
    binary = request_of(Body="Binary", Headers={"Content-Type": "text/x"})
    assert dict(binary.headers) == {"Content-Type": "text/x"}


def test_headers_of_the_file_replace_those_of_the_program(main, sample, write):
    with Server(Drop('{"url":"FILE"}')) as server:
        headers = {"user-agent": "curl/8", "ACCEPT": "application/json"}
        assert main("-p", write(RequestURL=server.url, Headers=headers), sample).code == 0
    names = [name.lower() for name, _ in server.arrived[0].headers]
    assert len(names) == len(set(names)) and server.arrived[0].header("User-Agent") == "curl/8"


def test_half_a_surrogate_pair_is_no_link():
    for text in ("{json:id}", "{base64:{json:id}}", "{json:{json:id}|x}", "{regex:{json:id}|a|0}"):
        with pytest.raises(twat_fs.NoLink):
            link_of('{"id": "\\ud800"}', URL=text)


def test_a_regular_expression_that_takes_years(monkeypatch):
    monkeypatch.setattr(twat_fs, "REGEX_TIME", 1)
    begun = time.monotonic()
    with pytest.raises(twat_fs.NoLink, match="timed out"):
        value("{regex:(a+)+$}", response=RESPONSE._replace(body=b"a" * 50 + b"b"))
    assert time.monotonic() - begun < 10


def test_the_hidden_command_of_the_frozen_program(monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdin", io.StringIO(json.dumps(["a(.)", "xab", "1"])))
    assert twat_fs.main([twat_fs.REGEX_COMMAND]) == 0
    assert json.loads(capsys.readouterr().out) == "b"


def test_sizes_are_bounded():
    with pytest.raises(twat_fs.UsageError):
        parsed(URL="{regex:%s}" % ("a" * 1001))
    with pytest.raises(twat_fs.UsageError):
        parsed(URL="{json:%s}" % ".".join("a" * 101))
    with pytest.raises(twat_fs.UsageError):
        parsed(URL="{response}" * 21)
    with pytest.raises(twat_fs.NoLink):
        value("{response}{response}", response=RESPONSE._replace(body=b"x" * 700_000))
    with pytest.raises(twat_fs.NoLink):
        value("{json:a}", response=RESPONSE._replace(body=b"[" * 100_000))


def test_an_unencrypted_public_host(main, sample, write):
    path = write(RequestURL="http://public.example/up")
    done = main("-p", path, sample)
    assert done.code == 2 and "--insecure" in done.err
    for host in ("127.0.0.1", "192.168.1.1", "nas.local", "[::1]"):
        assert request_of(RequestURL="http://%s/up" % host)
    assert request_of(RequestURL="http://public.example/up", insecure=True)


@pytest.mark.parametrize("text", VECTORS["placeholders"])
def test_placeholders_are_not_configured(main, sample, write, text):
    done = main("-p", write(Headers={"X-Key": text}), sample)
    assert done.code == 5 and "Headers X-Key" in done.err and text not in done.err


@pytest.mark.parametrize("url", ["http://[YOUR_DOMAIN]", "<url>/upload", "https://{{host}}/up"])
def test_a_placeholder_in_the_url(main, sample, write, url):
    done = main("-p", write(RequestURL=url), sample)
    assert done.code == 5 and "RequestURL" in done.err


@pytest.mark.parametrize("text", ["", "Bearer abc", '["a"]', "yours", "a token"])
def test_values_that_are_no_placeholders(text):
    assert not parsed(Arguments={"a": text}).problem


# 5 The command ------------------------------------------------------------------------------------


def test_add_list_upload_remove(main, config, sample, write):
    with Server(Drop('{"url":"FILE"}')) as server:
        path = write("My Host.sxcu", RequestURL=server.url, Headers={"Authorization": "sesame"})
        added = main("hosts", "add", path, "--yes")
        assert added.code == 0 and "sesame" not in added.out and "contains its own key" in added.out
        assert server.authority in added.out and "Authorization" in added.out
        copy = config / "my-host.sxcu"
        assert copy.read_bytes() == path.read_bytes()
        if os.name != "nt":
            assert stat.S_IMODE(copy.stat().st_mode) == 0o600
            assert stat.S_IMODE(config.stat().st_mode) == 0o700
        assert main("-p", "my-host", sample).links == [server.url + "f/x.png"]
    listed = main("hosts").out
    assert listed.index("your own") < listed.index("my-host")
    assert main("list").out == listed and "my-host" in main("status").out
    assert json.loads(main("list", "my-host", "--json").out)[0]["use"] == "your own"
    assert main("hosts", "add", path, "--yes").code == 2  # exists
    assert main("hosts", "remove", "my-host").code == 0 and not list(config.iterdir())
    assert main("hosts", "remove", "my-host").code == 2
    assert main("-p", "my-host", sample).code == 2


def test_status_online(main, write):
    with Server(Drop('{"url":"FILE"}')) as server:
        main("hosts", "add", write(RequestURL=server.url), "--yes")
        done = main("status", "mine", "--online")
    assert done.code == 0 and "works" in done.out


def test_adding_changes_no_unnamed_upload(main, config, write, sample):
    before = main("--dry-run", sample).out
    main("hosts", "add", write(), "--yes")
    assert main("--dry-run", sample).out == before


def test_the_default_provider_can_be_a_custom_host(main, write, sample, clean_env):
    with Server(Drop('{"url":"FILE"}')) as server:
        main("hosts", "add", write(RequestURL=server.url), "--yes")
        clean_env.setenv("TWAT_FS_DEFAULT_PROVIDER", "mine")
        assert main(sample).links == [server.url + "f/x.png"]


def test_dry_run(main, write, sample):
    assert "would try: mine" in main("--dry-run", "-p", write(), sample).out


def test_adding_shows_that_http_is_not_encrypted(main, write):
    added = main("hosts", "add", write(RequestURL="http://h.example/secret"), "--yes").out
    assert "POST http://h.example\n" in added and "http is not encrypted" in added
    assert "https://h.example\n" in main("hosts", "add", write("b.sxcu"), "--yes").out
    assert [row["host"] for row in json.loads(main("hosts", "--json").out)][-2:] == ["b", "mine"]


def test_the_question(main, config, write, monkeypatch):
    for reply, code in (("n\n", 1), ("", 1), ("y\n", 0)):
        stdin = io.StringIO(reply)
        stdin.isatty = lambda: True
        monkeypatch.setattr(sys, "stdin", stdin)
        assert main("hosts", "add", write()).code == code
        assert (config / "mine.sxcu").exists() == (code == 0)


def test_add_from_standard_input(main, config, write, monkeypatch):
    content = write().read_bytes()
    stdin = SimpleNamespace(buffer=io.BytesIO(content), isatty=lambda: False)
    monkeypatch.setattr(sys, "stdin", stdin)
    assert main("hosts", "add", "-", "--name", "other").code == 0
    assert (config / "other.sxcu").read_bytes() == content


@pytest.mark.parametrize(
    "name", ["catbox", "catbox.moe", "file.io", "A", "../x", ".x", "", "x" * 65]
)
def test_names_that_cannot_be_added(main, config, write, name):
    assert main("hosts", "add", write(), "--yes", "--name=" + name).code in (0, 2)
    assert not config.exists() or [path.name for path in config.iterdir()] == ["mine.sxcu"]


def test_a_broken_file_breaks_no_other_host(main, config, write, sample):
    with Server(Drop('{"url":"FILE"}')) as server:
        main("hosts", "add", write(RequestURL=server.url), "--yes")
        (config / "bad.sxcu").write_text("{")
        assert "invalid JSON" in main("list").out and "invalid JSON" in main("status").out
        assert main("-p", "mine", sample).code == 0
    assert main("-p", "bad", sample).code == 2 and main("-p", "bad,mine", sample).code == 2


@pytest.mark.skipif(os.name == "nt", reason="modes of files")
def test_a_file_that_others_can_write_is_refused(main, config, write, sample):
    main("hosts", "add", write(), "--yes")
    (config / "mine.sxcu").chmod(0o666)
    done = main("-p", "mine", sample)
    assert done.code == 2 and "chmod" in done.err


def test_errors_name_the_file(main, config, write, sample):
    (config / "dir.sxcu").mkdir(parents=True)
    if os.name != "nt":
        (config / "link.sxcu").symlink_to("missing")
        for done in (main("-p", "link", sample), main("list")):
            assert "link.sxcu: no such file" in (done.err or done.out)
    assert "dir.sxcu: is a directory" in main("-p", "dir", sample).err
    removed = main("hosts", "remove", "dir")
    assert removed.code == 6 and "dir.sxcu: " in removed.err
    config.rename(config.with_name("other"))
    config.write_text("a file instead of the folder")
    added = main("hosts", "add", write(), "--yes")
    assert added.code == 6 and str(config) in added.err


def test_variables(main, config, write, sample, clean_env):
    clean_env.setenv("MY_KEY", "sesame-open")
    with Server(Drop('{"url":"FILE"}')) as server:
        path = write(RequestURL=server.url, Headers={"X-Key": "Bearer ${MY_KEY}"})
        by_path = main("-p", path, sample)
        assert by_path.code == 5 and "MY_KEY" in by_path.err and not server.arrived
        main("hosts", "add", path, "--yes")
        assert main("-p", "mine", sample).code == 5
        main("hosts", "remove", "mine")
        main("hosts", "add", path, "--yes", "--allow-env", "MY_KEY")
        assert main("-p", "mine", sample).code == 0
        assert server.arrived[0].header("X-Key") == "Bearer sesame-open"
        (config / "mine.sxcu").unlink()  # by hand, not by `hosts remove`
        main("hosts", "add", path, "--yes")
        assert main("-p", "mine", sample).code == 5
        main("hosts", "remove", "mine")
        main("hosts", "add", path, "--yes", "--allow-env", "MY_KEY")
        clean_env.delenv("MY_KEY")
        unset = main("-p", "mine", sample)
    assert unset.code == 5 and "MY_KEY is not set" in unset.err


def test_a_variable_cannot_choose_the_host():
    with pytest.raises(twat_fs.UsageError):
        parsed(RequestURL="https://${MY_KEY}.example/up")
    with pytest.raises(twat_fs.UsageError):
        parsed(RequestURL="https://h.example/${MY_KEY}")


@pytest.mark.parametrize("name", ["catbox", "uguu", "x0at", "quax"])
def test_export(main, name):
    done = main("hosts", "export", name)
    description = json.loads(done.out)
    row = twat_fs.find_provider(name)
    assert twat_fs.parse_sxcu(done.out.encode()).host in description["RequestURL"]
    assert row.domain in description["RequestURL"] and description["Version"] == "17.0.0"


@pytest.mark.parametrize("name", ["s3", "filebin", "storageto", "termbin", "pixeldrain"])
def test_hosts_that_cannot_be_exported(main, name):
    assert main("hosts", "export", name).code == 2


@pytest.mark.parametrize(
    "argv", [["add"], ["remove"], ["nope", "x"], ["add", "a", "b"], ["add", "no"]]
)
def test_wrong_arguments(main, argv):
    assert main("hosts", *argv).code == 2


def test_python_programs(config, write, sample):
    with Server(Drop('{"url":"FILE","d":"BASE/d"}')) as server:
        path = write(RequestURL=server.url, DeletionURL="{json:d}")
        result = twat_fs.upload(sample, str(path))
    assert result.provider == "mine" and result.delete_page == server.url + "d"
