"""Failures that real hosts have caused, one test for each.

What holds for every host (HTML instead of a link, links of other hosts, one upload after a lost
answer ...) is in test_providers.py; here is what one host does and nobody would expect.
"""

from __future__ import annotations

import calendar
import json
import os
import re
import time
from types import MethodType
from urllib.parse import unquote, urlsplit

import pytest
from internet.loopback import Server

import twat_fs

TEXT = b"some text\n" * 50
DROP = "https://drop.example.org/"


@pytest.fixture
def net(online_box):
    """The box, with 0x0.st taking uploads."""
    online_box.hosts["0x0.st"].open = True
    return online_box


@pytest.fixture
def run(net, capsys, tmp_path):
    """Upload a file: `run("-p", "uguu", name="a.zip")` gives (code, stdout, stderr)."""

    def main(*argv, data=TEXT, name="a.txt"):
        path = tmp_path / name
        try:
            path.write_bytes(data)
        except OSError:
            if os.name != "nt":
                raise
            pytest.skip("no file of Windows can have this name")
        code = twat_fs.main([*argv, str(path)])
        printed = capsys.readouterr()
        return code, printed.out.rstrip("\n"), printed.err

    return main


@pytest.fixture
def result(run):
    """The JSON object of one successful upload."""

    def of(*args, **file):
        code, out, _ = run("--json", *args, **file)
        assert code == 0
        return json.loads(out)

    return of


def sent(net):
    """Which hosts got an upload, in order."""
    return [seen.host for seen in net.uploads()]


def the_field(net, name):
    """The value of a form field of the only upload."""
    (seen,) = net.uploads()
    return seen.field(name)


def the_header(net, name):
    (seen,) = net.uploads()
    return seen.header(name)


def retold(host, change):
    """From now on the host's answers to uploads are altered by `change` before they are sent."""

    def upload(self, ask):
        answer = type(self).upload(self, ask)
        change(answer)
        return answer

    host.upload = MethodType(upload, host)


def altered(host, change):
    """The same for the value that an answer holds as JSON."""

    def change_json(answer):
        content = json.loads(answer.body)
        change(content)
        answer.body = json.dumps(content)

    retold(host, change_json)


# 1-4 Catbox ---------------------------------------------------------------------------------------


def test_catbox_200_with_an_empty_body_is_asked_once_more(net, run):
    net.fault("catbox.moe", "empty", times=1)
    code, url, _ = run("-p", "catbox")
    assert (code, sent(net)) == (0, ["catbox.moe"] * 2)
    assert url in net.stored


def test_catbox_200_with_an_empty_body_twice_is_a_failure_and_the_next_host_is_asked(net, run):
    net.fault("catbox.moe", "empty")
    code, url, _ = run("-p", "catbox,litterbox")
    assert (code, sent(net)) == (0, ["catbox.moe"] * 2 + ["litterbox.catbox.moe"])
    assert url.startswith("https://litter.catbox.moe/")


def test_catbox_without_anonymous_uploads_says_so_suggests_the_userhash_and_the_next_host_is_asked(
    net, run
):
    net.hosts["catbox.moe"].anonymous = False
    code, out, err = run("-p", "catbox")
    assert (code, out, sent(net)) == (1, "", ["catbox.moe"])
    assert "Anonymous uploads are disabled. Please make an account." in err
    assert "CATBOX_USERHASH" in err
    code, url, _ = run("-p", "catbox,litterbox")
    assert code == 0
    assert url.startswith("https://litter.catbox.moe/")


def test_catbox_gets_the_userhash_and_no_output_shows_it(net, run, clean_env):
    net.hosts["catbox.moe"].anonymous = False
    net.hosts["catbox.moe"].users = ("5ec2e7",)
    clean_env.setenv("CATBOX_USERHASH", "5ec2e7")
    code, _, err = run("-v", "-p", "catbox")
    assert (code, the_field(net, "userhash")) == (0, b"5ec2e7")
    assert "5ec2e7" not in err


@pytest.mark.parametrize("status", [200, 400, 412, 503])
@pytest.mark.parametrize("provider", ["catbox", "litterbox"])
def test_catbox_whose_uploads_are_paused_is_busy_and_not_asked_again(
    net, tmp_path, capsys, provider, status
):
    message = "Anon Uploads are temporarily paused! Please wait..."
    domain = twat_fs.find_provider(provider).domain
    net.fault(domain, "status", status=status, body=message)
    for name in "ab":
        (tmp_path / name).write_bytes(TEXT)
    code = twat_fs.main(["-p", provider + ",x0at", *(str(tmp_path / name) for name in "ab")])
    assert (code, sent(net)) == (0, [domain, "x0.at", "x0.at"])
    with pytest.raises(twat_fs.AllProvidersFailed) as caught:
        twat_fs.upload(tmp_path / "a", provider)
    (cause,) = caught.value.failures
    assert isinstance(cause, twat_fs.Busy) and "%d: %s" % (status, message) in str(cause)


def test_catbox_without_an_account_is_unsuitable_for_three_years(net, run, clean_env):
    assert run("--keep", "1095d", "--dry-run")[0] == 5 and net.requests == []
    assert run("-p", "catbox", "--keep", "3y")[0] == 5
    assert run("-p", "catbox", "--keep", "2y")[0] == 0
    clean_env.setenv("CATBOX_USERHASH", "5ec2e7")
    assert run("--keep", "3y")[0] == 0
    assert sent(net) == ["catbox.moe"] * 2


@pytest.mark.parametrize("provider", ["catbox", "litterbox"])
@pytest.mark.parametrize(
    "name", ["a.exe", "a.SCR", "a.cpl", "a.doc", "a.docx", "a.Docm", "a.jar", "a.tar.exe"]
)
def test_catbox_and_litterbox_are_not_asked_to_take_what_they_block(net, run, provider, name):
    code, out, err = run("-p", provider, name=name)
    assert (code, out, net.requests) == (5, "", [])
    assert ".%s files are blocked" % name.rpartition(".")[2].lower() in err


@pytest.mark.parametrize("provider", ["catbox", "litterbox"])
@pytest.mark.parametrize("name", ["a.do", "exe", "a.exe.txt", "a.jars"])
def test_catbox_and_litterbox_are_asked_to_take_what_only_looks_blocked(net, run, provider, name):
    assert run("-p", provider, name=name)[0] == 0


def test_every_request_has_a_user_agent_with_a_name_and_a_home(net, run):
    assert run("-p", "catbox")[0] == 0
    agents = {seen.header("User-Agent") for seen in net.requests}
    assert (len(net.requests), agents) == (2, {twat_fs.USER_AGENT})
    assert re.fullmatch(r"twat-fs/\S+ \(\+https://\S+\)", twat_fs.USER_AGENT)


def test_an_empty_file_is_not_sent_as_catbox_may_drop_it_silently(net, run):
    code, out, err = run(data=b"")
    assert (code, out, net.tunnels) == (5, "", [])
    assert err.count("empty files are not accepted") == 1 and all(
        name in err for name in twat_fs.PROVIDERS_PREFERENCE
    )


def test_catbox_can_never_delete_an_anonymous_file_and_the_list_says_so(net, capsys, result):
    assert result("-p", "catbox")["delete"] is None
    capsys.readouterr()
    assert twat_fs.main(["list"]) == 0
    (line,) = re.findall("^catbox .*$", capsys.readouterr().out, re.M)
    assert "anonymous files cannot be deleted" in line


def test_a_gif_above_20_mb_is_not_sent_to_catbox(net, tmp_path, capsys):
    path = tmp_path / "a.gif"
    path.write_bytes(b"GIF89a")
    for size, code in ((20_000_000 - 2048, 0), (20_000_000 - 2047, 5)):
        with open(path, "r+b") as file:
            file.truncate(size)
        assert twat_fs.main(["-p", "catbox", "--dry-run", str(path)]) == code
    assert "for .gif" in capsys.readouterr().out


# 5 Litterbox --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wish, time",
    [
        ([], b"72h"),
        (["--expire", "30m"], b"1h"),
        (["--expire", "1h"], b"1h"),
        (["--expire", "2h"], b"1h"),
        (["--expire", "10h"], b"12h"),
        (["--expire", "12h"], b"12h"),
        (["--expire", "18h"], b"24h"),
        (["--expire", "1d"], b"24h"),
        (["--expire", "2d"], b"72h"),
        (["--expire", "3d"], b"72h"),
        (["--keep", "2h"], b"72h"),
    ],
)
def test_litterbox_is_asked_for_one_of_its_four_times(net, run, wish, time):
    assert run("-p", "litterbox", *wish)[0] == 0
    assert the_field(net, "time") == time


@pytest.mark.parametrize("wish", [["--expire", "145h"], ["--keep", "73h"], ["--expire", "4w"]])
def test_litterbox_does_not_cut_a_wish_that_it_cannot_keep(net, run, wish):
    code, out, err = run("-p", "litterbox", *wish)
    assert (code, out, net.tunnels) == (5, "", [])
    assert re.search("maximum expiry is 3 days|closest expiry is 3 days", err)


@pytest.mark.parametrize("value, time", [("12h", b"12h"), ("1h", b"1h"), ("1d", b"24h")])
def test_litterbox_takes_its_usual_time_from_the_setting(net, run, clean_env, value, time):
    clean_env.setenv("LITTERBOX_DEFAULT_EXPIRATION", value)
    assert run("-p", "litterbox")[0] == 0
    assert the_field(net, "time") == time


@pytest.mark.parametrize("value", ["5h", "72", "forever", "-1h"])
def test_litterbox_refuses_a_setting_that_is_none_of_its_times(net, run, clean_env, value):
    clean_env.setenv("LITTERBOX_DEFAULT_EXPIRATION", value)
    code, out, err = run("-p", "litterbox")
    assert (code, out, net.tunnels) == (5, "", [])
    assert "choose from 1h, 12h, 24h, 72h" in err


# 6 0x0.st -----------------------------------------------------------------------------------------


def test_0x0_is_never_asked_by_itself(net, run):
    net.fault("*", "html")
    code, _, err = run("--fallback", "-p", "x0at", "--retry", "0")
    assert code == 1
    assert "0x0.st" not in sent(net) and "www0x0" not in err
    assert set(sent(net)) == {row.domain for row in twat_fs.PROVIDERS if row.use == "default"}


@pytest.mark.parametrize("status", [403, 418, 451])
def test_0x0_that_says_no_is_asked_once_and_not_for_the_next_file(net, tmp_path, capsys, status):
    net.hosts["0x0.st"].open, net.hosts["0x0.st"].closed_status = False, status
    for name in "ab":
        (tmp_path / name).write_bytes(TEXT)
    assert twat_fs.main(["-p", "0x0.st", *(str(tmp_path / name) for name in "ab")]) == 1
    printed = capsys.readouterr()
    assert (printed.out, sent(net)) == ("", ["0x0.st"])
    assert "almost nothing but AI botnet spam" in printed.err
    assert "skipped (failed earlier)" in printed.err


@pytest.mark.parametrize(
    "wish, hours", [([], None), (["--expire", "90m"], b"2"), (["--expire", "30d"], b"720")]
)
def test_0x0_gets_hours_and_never_a_timestamp(net, run, wish, hours):
    assert run("-p", "0x0.st", *wish)[0] == 0
    assert the_field(net, "expires") == hours


def test_0x0_tells_when_the_file_expires_and_how_it_can_be_deleted(net, run):
    code, out, err = run("-p", "0x0.st", "--json")
    upload = json.loads(out)
    stored = net.stored[upload["url"]]
    expires = time.strptime(upload["expires"], "%Y-%m-%dT%H:%M:%SZ")
    assert code == 0 and calendar.timegm(expires) == int(stored.options["expires"] / 1000)
    assert "delete with: curl -F token=%s -F delete= %s" % (stored.owner, stored.url) in err


@pytest.mark.parametrize(
    "expires", ["", "soon", "1e99", "²", "-1", "9" * 40, "1795000000000", "17.5"]
)
def test_0x0_may_say_anything_about_the_expiry(net, run, expires):
    def say(answer):
        answer.headers = [("X-Expires", expires.encode().decode("latin-1")), ("X-Token", "\x1b[2J")]

    retold(net.hosts["0x0.st"], say)
    code, out, err = run("-p", "0x0.st", "--json")
    assert code == 0 and "\x1b" not in out + err


@pytest.mark.parametrize("name", ["a.t~t", "a.c++", "a.%20t", "b c.x y"])
def test_0x0_may_give_any_letters_in_an_extension(net, run, name):
    retold(net.hosts["0x0.st"], lambda answer: moved(net, answer, name.replace(" ", "%20")))
    code, url, _ = run("-p", "0x0.st", name=name)
    assert (code, url) == (0, "https://0x0.st/" + name.replace(" ", "%20"))


def moved(net, answer, name):
    """The file is kept under another name of the same host."""
    link = answer.body.strip()
    stored = net.stored.pop(link)
    stored.url = link.rpartition("/")[0] + "/" + name
    net.stored[stored.url] = stored
    answer.body = stored.url + "\n"


def test_0x0_that_knows_the_file_already_gives_the_same_link(net, run):
    links = [run("-p", "0x0.st")[:2] for _ in range(2)]
    assert links[0] == links[1] and links[0][0] == 0


# 7 x0.at ------------------------------------------------------------------------------------------


def test_the_index_page_of_x0_is_not_a_link(net, run):
    net.fault("x0.at", "html", title="x0.at: the file hosting service")
    code, out, err = run("-p", "x0at")
    assert (code, out) == (1, "")
    assert '200 OK, but no link in the response: "x0.at: the file hosting service"' in err


@pytest.mark.parametrize(
    "name, end",
    [
        ("a.txt", ".txt"),
        ("a.tar.gz", ".tar.gz"),
        ("a.verylongextension", ".verylon"),
        ("README", ""),
        ("日本.語", "._"),
        ("a.b c#d?e", ".b_c_d_e"),
        ("a.tar.zst", ".tar.zst"),
    ],
)
def test_x0_may_cut_the_extension(net, run, name, end):
    code, url, _ = run("-p", "x0at", name=name)
    assert code == 0
    assert re.fullmatch(r"https://x0\.at/[A-Za-z]+" + re.escape(end), url) and url in net.stored


# 8 Uguu -------------------------------------------------------------------------------------------


def limited(seconds):
    text = "Rate limit, please wait %d seconds before uploading again." % seconds
    return {
        "status": 500,
        "body": json.dumps({"success": False, "errorcode": 500, "description": text}),
    }


def test_uguu_says_rate_limit_by_a_500_and_is_asked_again_after_so_many_seconds(net, run):
    net.fault("uguu.se", "status", times=1, **limited(1))
    begun = time.monotonic()
    code, _, _ = run("-p", "uguu")
    assert (code, sent(net)) == (0, ["uguu.se"] * 2)
    assert 1 <= time.monotonic() - begun < 10


def test_uguu_that_wants_a_long_pause_is_left_at_once_in_its_own_words(net, run):
    net.hosts["uguu.se"].wait = 900
    begun = time.monotonic()
    code, _, err = run("-p", "uguu")
    assert (code, sent(net)) == (1, ["uguu.se"])
    assert "Rate limit, please wait 900 seconds" in err
    assert time.monotonic() - begun < 10


@pytest.mark.parametrize("name", ["a.zip", "a.PDF", "a.exe", "a.html", "a.svg", "a.doc"])
def test_uguu_is_not_asked_to_take_what_it_refuses(net, run, name):
    code, _, err = run("-p", "uguu", name=name)
    assert (code, net.requests) == (5, [])
    assert "files are blocked" in err


@pytest.mark.parametrize("head", [b"PK\x03\x04", b"%PDF-1.7", b"MZ", b"\x7fELF", b"<svg "])
def test_uguu_looks_into_the_file_and_its_refusal_is_final(net, run, head):
    code, _, err = run("-p", "uguu", data=head + TEXT, name="a.bin")
    assert (code, sent(net)) == (1, ["uguu.se"])
    assert "415 Unsupported Media Type" in err and "Filetype not allowed!" in err


def test_uguu_wants_brackets_in_the_name_of_the_field(net, run):
    assert run("-p", "uguu")[0] == 0
    assert the_field(net, "files[]")


@pytest.mark.parametrize("letter", "adhno")
def test_uguu_serves_from_changing_subdomains(net, run, letter):
    net.fault("uguu.se", "wrong-host", base="https://%s.uguu.se" % letter)
    code, url, _ = run("-p", "uguu", "--no-check")
    assert (code, urlsplit(url).hostname) == (0, letter + ".uguu.se")


# 9 Tmpfiles.org -----------------------------------------------------------------------------------


@pytest.mark.parametrize("http_links", [False, True])
def test_tmpfiles_gives_a_page_and_we_give_the_file_by_https(net, run, http_links):
    net.hosts["tmpfiles.org"].http_links = http_links
    code, url, _ = run("-p", "tmpfilesorg")
    assert code == 0
    assert re.fullmatch(r"https://tmpfiles\.org/dl/\d+/a\.txt", url)


@pytest.mark.parametrize(
    "wish, expire",
    [
        ([], b"86400"),
        (["--expire", "30s"], b"60"),
        (["--expire", "1h"], b"3600"),
        (["--expire", "2d"], b"172800"),
    ],
)
def test_tmpfiles_gets_an_expiry_because_its_default_is_an_hour(net, run, wish, expire):
    net.hosts["tmpfiles.org"].max_expire = 172800
    assert run("-p", "tmpfilesorg", *wish)[0] == 0
    assert the_field(net, "expire") == expire


@pytest.mark.parametrize("name", ["a#b.txt", "a?b.txt", "?#.txt", "a b.txt"])
def test_tmpfiles_that_does_not_encode_a_name_gives_a_link_that_is_encoded(net, run, name):
    def raw(reply):
        reply["data"]["url"] = unquote(reply["data"]["url"])

    altered(net.hosts["tmpfiles.org"], raw)
    code, url, _ = run("-p", "tmpfilesorg", name=name)
    assert code == 0 and url in net.stored and "#" not in url and "?" not in url


def test_the_default_expiry_of_tmpfiles_is_within_its_older_limit(net, run):
    net.hosts["tmpfiles.org"].max_expire = 86400
    assert run("-p", "tmpfilesorg")[0] == 0


def test_tmpfiles_with_its_older_limit_does_not_cut_a_wish_in_silence(net, run):
    net.hosts["tmpfiles.org"].max_expire = 86400
    code, out, err = run("-p", "tmpfilesorg", "--expire", "2d")
    assert (code, out) == (1, "")
    assert "422" in err and "must not be greater than 86400" in err


def test_tmpfiles_keeps_nothing_longer_than_two_days(net, run):
    code, _, err = run("-p", "tmpfilesorg", "--keep", "49h")
    assert (code, net.tunnels) == (5, [])
    assert "maximum expiry is 2 days" in err


# 10 Tmpfile.link ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name, domain", [("ä b.txt", "d.tmpfile.link"), ("ä b.bin", "d3.tfdl.net")]
)
def test_tmpfile_link_has_two_domains_and_of_its_two_links_the_quoted_one_is_taken(
    net, run, name, domain
):
    code, url, _ = run("-p", "tmpfilelink", name=name)
    assert (code, urlsplit(url).hostname) == (0, domain)
    assert url.endswith("/%C3%A4%20b." + name[-3:])


def test_tmpfile_link_without_the_quoted_link_gives_one_that_we_quote(net, run):
    net.hosts["tmpfile.link"].encoded = False
    code, url, _ = run("-p", "tmpfilelink", name="ä.txt")
    assert code == 0
    assert url.endswith("/%C3%A4.txt")


@pytest.mark.parametrize("name", ["a b.txt", "a#b?c.txt", "100%.txt", "?.txt"])
def test_tmpfile_link_without_the_quoted_link_gives_one_that_is_quoted(net, result, name):
    net.hosts["tmpfile.link"].encoded = False
    assert result("-p", "tmpfilelink", name=name)["verified"] == "full"


# 11, 12 One download ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options", [["-p", "senditsh"], ["-p", "bashupload", "--once"], ["-p", DROP, "--once"]]
)
def test_a_link_of_one_download_is_left_for_its_reader(net, result, options):
    outcome = result(*options)
    assert outcome["verified"] == "none"
    assert [seen.method for seen in net.requests] == ["PUT"]
    assert net.stored[outcome["url"]].hits == 0


def test_a_link_of_one_download_cannot_be_verified_by_downloading(net, run):
    code, out, err = run("-p", "bashupload", "--once", "--verify", "full")
    assert (code, out, net.tunnels) == (2, "", [])
    assert "--once cannot be combined with --verify full" in err


@pytest.mark.parametrize(
    "provider, domain", [("senditsh", "sendit.sh"), ("bashupload", "bashupload.app")]
)
def test_of_a_page_in_words_the_last_link_is_taken(net, run, provider, domain):
    def chat(answer):
        answer.body = "Welcome to HTTPS://%s/faq\n<a href='%s'>yours</a>\n" % (
            domain,
            answer.body.split()[-1],
        )
        answer.body += "Mirror: https://%s.evil.example/x and https://%s/\n" % (domain, domain)

    retold(net.hosts[domain], chat)
    code, url, _ = run("-p", provider, name="a.txt")
    assert code == 0 and url in net.stored and "faq" not in url


def test_bashupload_once_is_an_hour(net, result, run):
    outcome = result("-p", "bashupload", "--once")
    expires = calendar.timegm(time.strptime(outcome["expires"], "%Y-%m-%dT%H:%M:%SZ"))
    assert 3590 < expires - time.time() <= 3600
    assert run("-p", "bashupload", "--once", "--keep", "12h")[0] == 5


@pytest.mark.parametrize(
    "wish, seconds", [([], "86400"), (["--expire", "2h"], "7200"), (["--once"], None)]
)
def test_bashupload_keeps_a_file_for_more_than_one_download_only_if_a_time_is_wished(
    net, run, wish, seconds
):
    assert run("-p", "bashupload", *wish)[0] == 0
    assert the_header(net, "X-Expiration-Seconds") == seconds


@pytest.mark.parametrize(
    "name, end", [("a.png", ".png"), ("a.txt", ".txt"), ("a.json", ".json"), ("a.odd", ".bin")]
)
def test_bashupload_makes_the_extension_from_the_content_type_of_a_put(net, run, name, end):
    code, url, _ = run("-p", "bashupload", name=name)
    assert (code, [seen.method for seen in net.uploads()]) == (0, ["PUT"])
    assert url.endswith(end)


# 13 Filebin ---------------------------------------------------------------------------------------


def bins(net):
    return [seen.target.split("/")[1] for seen in net.uploads()]


def test_filebin_gets_the_raw_bytes_with_their_length_in_an_unguessable_bin(net, run):
    assert run("-p", "filebin")[0] == 0
    (seen,) = net.uploads()
    assert (seen.length, seen.header("Content-Length"), seen.form) == (
        len(TEXT),
        str(len(TEXT)),
        [],
    )
    assert re.fullmatch("[A-Za-z0-9_-]{20,60}", bins(net)[0])


def test_filebin_gets_another_bin_for_each_file_because_a_deleted_one_is_dead(net, run):
    for _ in range(2):
        assert run("-p", "filebin")[0] == 0
        net.hosts["filebin.net"].dead.update(bins(net))
    assert len(set(bins(net))) == 2


def listed(net, change):
    """From now on the list of a bin is altered by `change` before it is sent."""
    net.hosts["filebin.net"].listed = change


def test_filebin_shows_a_page_to_tools_so_the_list_of_the_bin_is_the_proof(net, result):
    assert result("-p", "filebin")["verified"] == "host-hash"
    assert [seen.method for seen in net.requests] == ["PUT", "GET"]
    assert net.requests[1].target == "/" + bins(net)[0]
    assert net.requests[1].header("Accept") == "application/json"


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda reply: reply["files"][0].update(sha256="0" * 64), "SHA-256 mismatch"),
        (lambda reply: reply["files"][0].update(filename="***.txt"), "cannot download"),
        (lambda reply: reply.update(files=None), "cannot download"),
        (lambda reply: reply.update(files=[]), "cannot download"),
        (lambda reply: reply.update(files={"a.txt": {}}), "cannot download"),
        (lambda reply: reply.update(files=[7]), "cannot download"),
    ],
)
def test_filebin_that_lists_another_file_has_failed(net, run, change, message):
    listed(net, change)
    code, out, err = run("-p", "filebin")
    assert (code, out) == (4, "")
    assert message in err


@pytest.mark.parametrize("digest", ["", "abc", None, 7])
def test_filebin_without_a_hash_proves_nothing_and_we_say_so(net, run, digest):
    listed(net, lambda reply: reply["files"][0].update(sha256=digest))
    code, _, err = run("-p", "filebin")
    assert (code, len(net.requests)) == (0, 2)
    assert "link not verified" in err


def test_filebin_that_answers_about_another_bin_is_not_believed(net, run):
    altered(net.hosts["filebin.net"], lambda reply: reply["bin"].update(id="somebody-elses-bin"))
    code, out, err = run("-p", "filebin")
    assert (code, out) == (1, "")
    assert "no link in the response" in err


@pytest.mark.parametrize(
    "name, expected",
    [("a?b#c.txt", "a_b_c.txt"), (".hidden", "_hidden"), ("ä ö.txt", "%C3%A4%20%C3%B6.txt")],
)
def test_filebin_changes_names_and_the_link_has_the_stored_name(net, run, name, expected):
    code, url, _ = run("-p", "filebin", name=name)
    assert (code, url.rpartition("/")[2]) == (0, expected)
    assert url in net.stored


def test_filebin_can_delete_and_the_result_has_the_command(net, result):
    outcome = result("-p", "filebin")
    assert outcome["delete"] == outcome["url"]


@pytest.mark.parametrize(
    "switch, message",
    [
        ({"full": True}, "507 .*: Storage full"),
        ({"blocked": ("txt",)}, "403 .*: extension not allowed"),
    ],
)
def test_filebin_refuses_in_its_own_words_and_is_not_asked_again(net, run, switch, message):
    vars(net.hosts["filebin.net"]).update(switch)
    code, _, err = run("-p", "filebin")
    assert (code, len(net.uploads())) == (1, 1)
    assert re.search(message, err)


# 19 Pomf ------------------------------------------------------------------------------------------


def test_pomf_may_answer_with_a_relative_url(net, run):
    net.hosts["qu.ax"].relative = True
    code, url, _ = run("-p", "qu.ax")
    assert code == 0
    assert url.startswith("https://qu.ax/") and url in net.stored


@pytest.mark.parametrize(
    "url, message",
    [
        ("//evil.example/a.txt", "no link in the response"),
        ("https://evil.example/a.txt", "link points to evil.example, not qu.ax"),
        ("https://[", "invalid URL"),
        ("", "no link in the response"),
    ],
)
def test_pomf_with_a_relative_url_that_leads_elsewhere_gives_no_link(net, run, url, message):
    altered(net.hosts["qu.ax"], lambda reply: reply["files"][0].update(url=url))
    code, out, err = run("-p", "qu.ax")
    assert (code, out, len(net.requests)) == (1, "", 1)
    assert message in err


# 20 A transfer.sh server of one's own -------------------------------------------------------------


APACHE = """<!DOCTYPE HTML PUBLIC "-//IETF//DTD HTML 2.0//EN">
<html><head><title>201 Created</title></head>\
<body><h1>Created</h1><p>Resource /a.txt has been created.</p></body></html>"""


@pytest.mark.parametrize("status, body", [(200, ""), (201, "\n"), (204, ""), (201, APACHE)])
def test_a_webdav_server_stores_the_file_and_names_no_link(run, status, body):
    def webdav(talk):
        while talk.request():
            talk.say(status, body.encode())

    with Server(webdav) as server:
        code, out, err = run("-p", server.url)
        assert (code, out) == (1, "") and "stored, but no link in the response" in err
        assert [arrived.method for arrived in server.arrived] == ["PUT"], (
            "and nothing is sent again"
        )


def test_transfersh_gives_the_way_to_delete_in_a_header_only(net, result):
    outcome = result("-p", DROP)
    assert re.fullmatch(re.escape(outcome["url"]) + "/[A-Za-z]+", outcome["delete"])
    assert outcome["delete"].rpartition("/")[2] == net.stored[outcome["url"]].owner


def test_transfersh_behind_a_proxy_that_hides_the_host_says_what_to_do(net, run):
    def say_localhost(answer):
        answer.body = answer.body.replace("https://drop.example.org", "http://localhost:8080")

    retold(net.hosts["drop.example.org"], say_localhost)
    code, out, err = run("-p", DROP)
    assert (code, out) == (1, "")
    message = (
        "link points to localhost:8080, not drop.example.org (does its proxy pass the Host header?)"
    )
    assert message in err


def test_transfersh_may_give_a_relative_link(net, run):
    def relative(answer):
        answer.body = answer.body.replace("https://drop.example.org", "")

    retold(net.hosts["drop.example.org"], relative)
    code, url, _ = run("-p", DROP)
    assert code == 0 and url in net.stored


def test_transfersh_behind_a_proxy_says_http_and_we_give_https(net, result):
    def say_http(answer):
        answer.body = answer.body.replace("https:", "http:")

    net.hosts["drop.example.org"].delete_scheme = "http"
    retold(net.hosts["drop.example.org"], say_http)
    outcome = result("-p", DROP)
    assert outcome["url"].startswith(DROP) and outcome["delete"].startswith(DROP)


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example/x/a.txt/y",
        "https://drop.example.org.evil.example/x",
        "javascript:alert(1)",
    ],
)
def test_transfersh_never_hands_on_a_foreign_url_for_deleting(net, result, url):
    def lie(answer):
        answer.headers = [("X-Url-Delete", url)]

    retold(net.hosts["drop.example.org"], lie)
    assert result("-p", DROP)["delete"] is None


@pytest.mark.parametrize(
    "wish, days",
    [([], None), (["--expire", "1d"], 1), (["--expire", "36h"], 2), (["--expire", "12h"], 1)],
)
def test_transfersh_ignores_odd_days_in_silence_so_it_gets_whole_ones(net, result, wish, days):
    assert net.stored[result("-p", DROP, *wish)["url"]].options["days"] == days


def test_transfersh_shows_browsers_a_preview_and_us_the_file(net, result):
    assert result("-p", DROP)["verified"] == "full"
    assert net.requests[-1].header("Accept") == "*/*"


def test_transfersh_gets_the_password_of_its_address_and_no_output_shows_it(net, run):
    net.hosts["drop.example.org"].auth = ("me", "s3cr3t")
    code, url, err = run("-v", "-p", "https://me:s3cr3t@drop.example.org/")
    assert code == 0
    assert url.startswith(DROP)
    assert "s3cr3t" not in url + err


@pytest.mark.parametrize("by_setting", [False, True])
def test_transfersh_with_a_wrong_password_fails_without_showing_it(net, run, clean_env, by_setting):
    net.hosts["drop.example.org"].auth = ("me", "another")
    base = "https://me:s3cr3t@drop.example.org/"
    clean_env.setenv("TWAT_FS_TRANSFERSH_URL", base)
    code, out, err = run("-v", "-p", "transfersh" if by_setting else base)
    assert (code, out, len(net.uploads())) == (1, "", 1)
    assert "401 Unauthorized" in err
    assert "s3cr3t" not in err


def test_transfersh_that_redirects_does_not_pass_the_password_on(net, run):
    net.hosts["drop.example.org"].auth = ("me", "s3cr3t")
    net.fault("drop.example.org", "redirect", status=307, location="https://me:s3cr3t@x0.at/")
    code, out, err = run("-v", "-p", "https://me:s3cr3t@drop.example.org/")
    assert (code, out) == (1, "")
    assert {seen.host for seen in net.requests} == {"drop.example.org"}
    assert "s3cr3t" not in err


def test_transfersh_whose_download_leads_elsewhere_keeps_the_password_to_itself(net, run):
    net.hosts["drop.example.org"].auth = ("me", "s3cr3t")
    net.fault("drop.example.org", "redirect", when="download", location="https://x0.at/")
    code, _, _ = run("-p", "https://me:s3cr3t@drop.example.org/", "--retry", "0")
    assert code == 4
    assert [
        seen.header("Authorization") for seen in net.requests if seen.host != "drop.example.org"
    ] == [None]


def test_transfersh_is_not_configured_without_its_address(net, run):
    code, out, err = run("-p", "transfersh")
    assert (code, out, net.tunnels) == (5, "", [])
    assert "TWAT_FS_TRANSFERSH_URL is not set" in err


# 21 Termbin ---------------------------------------------------------------------------------------


def test_termbin_cuts_what_fills_its_buffer_so_it_is_not_asked(net, run):
    assert run("-p", "termbin", data=b"x" * 32767)[0] == 0
    code, out, _ = run("-p", "termbin", data=b"x" * 32768)
    assert (code, out, len(net.uploads())) == (5, "", 1)


def test_the_nul_after_the_link_of_termbin_is_dropped(net, run):
    code, url, _ = run("-p", "termbin")
    assert code == 0
    assert re.fullmatch(r"https://termbin\.com/[a-z0-9]+", url)


@pytest.mark.parametrize("data", [b"a\0b", b"\xff\xfe", TEXT + b"\xc3"])
def test_binary_files_are_not_sent_to_termbin_which_would_cut_them(net, run, data):
    code, out, err = run("-p", "termbin", data=data)
    assert (code, out, net.tunnels) == (5, "", [])
    assert "accepts text files only" in err


# 26-29 All hosts ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name, expected",
    [
        ('a"b.txt', 'a"b.txt'),
        ("ä😀.txt", "ä😀.txt"),
        ("a\rb\nc.txt", "a_b_c.txt"),
        ("x\\y.txt", "y.txt"),
        ('";filename*=a', '";filename*=a'),
    ],
)
def test_form_names_are_raw_utf8_with_escaped_quotes_and_without_paths_and_line_ends(
    net, run, name, expected
):
    assert run("-p", "catbox", name=name)[0] == 0
    (seen,) = net.uploads()
    assert [part[:2] for part in seen.form] == [("reqtype", None), ("fileToUpload", expected)]


@pytest.mark.parametrize(
    "name", ["a\nb.txt", "a/b.txt", "a\\b.txt", "", "  ", "\x1b[2J", "ä" * 128]
)
def test_a_name_given_by_hand_is_refused_rather_than_changed(net, run, name):
    code, out, err = run("-p", "catbox", "--name", name)
    assert (code, out, net.tunnels) == (2, "", [])
    assert "--name" in err and "\x1b" not in err


def dressed(answer, before="", after=""):
    answer.body = before + answer.body.strip() + after


@pytest.mark.parametrize(
    "change",
    [
        lambda answer: dressed(answer, "\ufeff"),
        lambda answer: dressed(answer, after=" \0\r\n"),
        lambda answer: dressed(answer, after="\r\nThank you, see you soon.\n"),
        lambda answer: setattr(answer, "body", re.sub("^https", "HTTPS", answer.body)),
        lambda answer: setattr(answer, "body", re.sub("^https", "http", answer.body)),
    ],
)
@pytest.mark.parametrize("provider", ["catbox", "x0at", "www0x0", DROP])
def test_what_stands_around_a_link_does_no_harm(net, run, provider, change):
    domain = "drop.example.org" if provider == DROP else twat_fs.find_provider(provider).domain
    retold(net.hosts[domain], change)
    code, url, _ = run("-p", provider)
    assert code == 0 and url in net.stored


@pytest.mark.parametrize(
    "before", [b"\xef\xbb\xbf", b"<br />\n<b>Warning</b>: \xe4 in <b>/x.php</b> on line 3<br />\n"]
)
@pytest.mark.parametrize("provider", ["uguu", "tmpfilelink", "tmpfilesorg", "filebin", "quax"])
def test_what_stands_before_json_does_no_harm(net, run, provider, before):
    def warn(answer):
        answer.body = before + answer.bytes().replace(b"{", b'{"note":"gr\xfc\xdfe",', 1)

    retold(net.hosts[twat_fs.find_provider(provider).domain], warn)
    code, url, _ = run("-p", provider)
    assert code == 0 and url in net.stored


def test_a_number_as_a_name_is_read(net, run):
    altered(net.hosts["filebin.net"], lambda reply: reply["file"].update(filename=20260101))
    code, url, _ = run("-p", "filebin", name="20260101")
    assert code == 0 and url in net.stored


def test_the_list_says_what_the_hosts_keep_of_the_name(net, capsys):
    assert twat_fs.main(["list"]) == 0
    out = capsys.readouterr().out
    lines = {line.split()[0]: line for line in out.splitlines() if line.strip()}
    only = {name for name, line in lines.items() if "keeps only the extension" in line}
    assert only == {"catbox", "litterbox", "x0at", "uguu", "www0x0", "quax"}
    assert {name for name, line in lines.items() if "drops the file name" in line} == {
        "bashupload",
        "termbin",
    }


@pytest.mark.parametrize("status", [200, 201, 203])
def test_a_page_that_came_with_success_never_becomes_the_url(net, run, status):
    net.fault("*", "html", status=status, title='<a href="https://files.catbox.moe/abcdef.txt">')
    code, out, err = run("--retry", "0")
    assert (code, out) == (1, "")
    assert err.count("no link in the response") == len(twat_fs.PROVIDERS_PREFERENCE)


@pytest.mark.parametrize("fault", ["dns", "refuse", "reset-connect", "tls-unknown-ca"])
def test_a_host_that_the_provider_of_the_line_blocks_is_only_passed_over(net, run, fault):
    net.fault("catbox.moe", fault)
    code, url, _ = run("--retry", "0")
    assert code == 0
    assert url in net.stored and sent(net) == ["litterbox.catbox.moe"]


def test_one_file_goes_to_one_host(net, run):
    assert run()[0] == 0
    assert sent(net) == ["catbox.moe"]


def test_the_chain_asks_each_host_once_and_in_its_order(net, run):
    net.fault("*", "status", status=403)
    assert run("--retry", "0")[0] == 1
    assert sent(net) == [
        twat_fs.find_provider(name).domain for name in twat_fs.PROVIDERS_PREFERENCE
    ]


@pytest.mark.parametrize("fault", ["drop-after", "reset"])
def test_a_copy_that_may_have_been_left_behind_is_mentioned(net, run, fault):
    net.fault("catbox.moe", fault, when="upload")
    code, _, err = run("-v", "-p", "catbox,litterbox", "--retry", "0")
    assert (code, sent(net)) == (0, ["catbox.moe", "litterbox.catbox.moe"])
    assert re.search("catbox: .*may still have been stored", err)


def test_a_host_that_repeats_our_secret_is_not_repeated(net, run, clean_env):
    clean_env.setenv("CATBOX_USERHASH", "5ec2e7ab")
    net.fault("catbox.moe", "status", status=412, body="Invalid userhash 5ec2e7ab, go away")
    code, out, err = run("-p", "catbox", "-v", "--json")
    assert code == 1
    assert "Invalid userhash ***, go away" in err
    assert "5ec2e7ab" not in out + err


@pytest.mark.parametrize("spelled", [r"5e\/c2&7ab", "5e/c2&amp;7ab", "5e%2Fc2%267ab"])
def test_a_secret_is_known_in_other_spellings_too(net, run, clean_env, spelled):
    clean_env.setenv("CATBOX_USERHASH", "5e/c2&7ab")
    net.fault("catbox.moe", "status", status=412, body='{"error":"Invalid userhash %s"}' % spelled)
    code, out, err = run("-p", "catbox", "-v")
    assert (code, out) == (1, "") and "Invalid userhash ***" in err and "7ab" not in err


@pytest.mark.parametrize("provider", ["filebin", "tmpfilelink", "catbox", DROP])
@pytest.mark.parametrize("secret", ["test", "a", "txt", "/", "http", "e"])
def test_a_secret_of_the_environment_harms_no_good_answer(program, net, tmp_path, provider, secret):
    (tmp_path / "test.txt").write_bytes(TEXT)
    names = (
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "CATBOX_USERHASH",
        "PIXELDRAIN_KEY",
        "FAL_KEY",
    )
    done = program("-p", provider, "test.txt", env=dict.fromkeys(names, secret))
    assert (done.returncode, "***" in done.stdout) == (0, False)
    assert net.stored[done.stdout.rstrip("\n")].read() == TEXT


def test_an_answer_of_200_without_a_link_is_shown_without_the_secret(net, run, clean_env):
    clean_env.setenv("CATBOX_USERHASH", "5ec2e7ab")
    net.fault("catbox.moe", "status", status=200, body="Thank you 5ec2e7ab, bye")
    code, out, err = run("-p", "catbox")
    assert (code, out) == (1, "") and "Thank you ***, bye" in err


def test_a_host_that_repeats_the_password_of_its_address_is_not_repeated(net, run):
    net.hosts["drop.example.org"].auth = ("me", "hunter2")
    net.fault("drop.example.org", "status", status=403, body="me may not come in with hunter2")
    code, out, err = run("-p", "https://me:hunter2@drop.example.org/", "-v")
    assert (code, out) == (1, "") and "me may not come in with ***" in err


def test_a_secret_of_nothing_is_not_looked_for(net, tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(TEXT)
    assert twat_fs.upload_file(path, "catbox", settings={"CATBOX_USERHASH": ""}) in net.stored


@pytest.mark.parametrize("around", ["{}\n", " {}", "\t{}\r\n"])
def test_white_space_around_a_setting_is_ignored(net, run, clean_env, around):
    """As an editor, a .env file of Windows or `echo` into a secret leaves it."""
    clean_env.setenv("TWAT_FS_TRANSFERSH_URL", around.format("https://drop.example.org/"))
    assert run("-p", "transfersh")[0] == 0
    clean_env.setenv("DROPBOX_ACCESS_TOKEN", around.format("sl.good"))
    assert run("-p", "dropbox")[0] == 0


@pytest.mark.parametrize("value", ["se\ncret", "se\r\ncret", "secr\u20act", "secr\udcfft"])
@pytest.mark.parametrize(
    "provider, name",
    [
        ("fal", "FAL_KEY"),
        ("dropbox", "DROPBOX_ACCESS_TOKEN"),
        ("dropbox", "DROPBOX_APP_KEY"),
        ("catbox", "CATBOX_USERHASH"),
    ],
)
def test_a_setting_that_cannot_be_sent_is_named_and_not_shown(
    net, run, clean_env, provider, name, value
):
    clean_env.setenv("DROPBOX_REFRESH_TOKEN", "other")
    clean_env.setenv(name, value)
    code, out, err = run("-p", provider)
    assert (
        (code, out, sent(net)) == (5, "", [])
        and name in err
        and "cr" not in re.sub("another character", "", err)
    )
