"""The wire: proxies, TLS, time-outs, Ctrl-C, redirects, odd answers, addresses, rate and memory.

Nothing here leaves loopback: hosts live in the box, other servers in loopback.py, and where a name
must resolve without being "localhost" it is a spelling of 127.0.0.1.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest
from conftest import PROGRAM, environment
from internet.loopback import Keeper, Server, Talk, blackhole, closed_port, sparse, until

import twat_fs

DATA = bytes(range(256)) * 20
DROP = "https://drop.example.org/"  # a transfer.sh server in the box, and nowhere else
PLAIN = "http://drop.example.org/"
LOCAL = "0x7f.0.0.1"  # 127.0.0.1 in a spelling that the environment's proxies do not spare
MIB = 1 << 20
# here, because tests get another HOME
PYENV = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")


@pytest.fixture
def sample(tmp_path):
    path = tmp_path / "sample.bin"
    path.write_bytes(DATA)
    return path


@pytest.fixture
def big(tmp_path):
    """Larger than all the buffers between us and a server."""
    return sparse(tmp_path / "big.bin", 24 * MIB)


@pytest.fixture
def proxies(online_box, clean_env):
    """Set these variables for proxies, and no others."""

    def only(**variables):
        for name in ("HTTPS_PROXY", "HTTP_PROXY"):
            clean_env.delenv(name)
        for name, value in variables.items():
            clean_env.setenv(name, value)

    return only


def way(box, proxy_type):
    """The address of a proxy of this kind."""
    return {"http": box.proxy, "https": box.secure_proxy, "socks5h": box.socks}[proxy_type]


def with_password(url, user, password):
    return url.replace("://", "://%s:%s@" % (quote(user, safe=""), quote(password, safe="")))


def nowhere():
    return "http://127.0.0.1:%d" % closed_port()


def secure(box, manners=None, **more):
    """A TLS server for localhost with a certificate of the box' CA."""
    return Server(manners or Keeper(), context=box.notary.context("localhost"), **more)


# Proxies: which one -------------------------------------------------------------------------------


@pytest.mark.parametrize("proxy_type", ["http", "https", "socks5h"])
@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"])
def test_every_kind_of_proxy_carries_an_upload_and_its_proof(
    main, box, proxies, sample, proxy_type, variable
):
    proxies(**{variable: way(box, proxy_type)})
    done = main("-p", DROP, sample)
    assert (done.code, box.stored[done.links[0]].read()) == (0, DATA)
    assert {(t.via, t.host, t.port) for t in box.tunnels} == {
        ("socks" if proxy_type == "socks5h" else "connect", "drop.example.org", 443)
    }


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
def test_plain_http_goes_to_an_http_proxy_in_absolute_form(main, box, proxies, sample, variable):
    proxies(**{variable: box.proxy})
    done = main("-p", PLAIN, sample)
    assert (done.code, box.stored[done.links[0]].read()) == (0, DATA)
    assert {t.via for t in box.tunnels} == {"absolute"}


def test_plain_http_goes_through_a_tls_proxy_and_through_socks(main, box, proxies, sample):
    for scheme, via in (("https", "absolute"), ("socks5h", "socks")):
        box.reset()
        done = main("-p", PLAIN, "-x", way(box, scheme), sample)
        assert (done.code, {t.via for t in box.tunnels}) == (0, {via})


def test_a_proxy_password_in_odd_bytes_is_no_traceback(main, box, sample):
    box.proxy_password = ("me", "hunter2")
    done = main(
        "-p", DROP, "-x", "socks5h://m\udcff:p\udcfe@" + box.socks.partition("//")[2], sample
    )
    assert (done.code, done.out) == (1, "") and "authentication failed" in done.err


def test_a_redirect_to_a_name_that_can_be_none_is_not_followed(main, box, sample):
    """Neither SOCKS nor TLS could express it."""
    for name in ("a" * 300, ".x0.at", "a..b"):
        box.fault(
            "drop.example.org", "redirect", when="download", times=1, location="https://%s/" % name
        )
        done = main("-p", DROP, "-x", box.socks, "--retry", 0, sample)
        assert (done.code, done.out) == (4, "") and "unsupported URL" in done.err


def test_the_lower_case_name_wins(main, box, proxies, sample):
    proxies(HTTPS_PROXY=nowhere(), https_proxy=box.proxy)
    assert main("-p", DROP, sample).code == 0


def test_the_proxy_of_the_scheme_wins_over_all_proxy(main, box, proxies, sample):
    proxies(ALL_PROXY=nowhere(), HTTPS_PROXY=box.proxy)
    assert main("-p", DROP, sample).code == 0


def test_the_proxy_for_https_is_not_for_http(main, box, proxies, sample):
    proxies(HTTPS_PROXY=box.proxy)
    with Server(Keeper()) as server:
        assert main("-p", server.at(LOCAL), sample).code == 0
    assert not box.tunnels


def test_the_command_line_wins_over_the_environment(main, box, proxies, sample):
    proxies(HTTPS_PROXY=nowhere(), ALL_PROXY=nowhere(), NO_PROXY="*")
    assert main("-p", DROP, "--proxy", box.proxy, sample).code == 0


def test_an_empty_proxy_is_none(main, box, proxies, sample):
    proxies(HTTP_PROXY=box.proxy, ALL_PROXY=box.proxy)
    with Server(Keeper()) as server:
        assert main("-p", server.at(LOCAL), "-x", "", sample).code == 0
    assert not box.tunnels


@pytest.mark.parametrize(
    "spared",
    [LOCAL, ".0.0.1", "0.0.1", "*", "other.example, " + LOCAL, LOCAL + ":{port}", LOCAL.upper()],
)
def test_no_proxy_spares_hosts(main, box, proxies, sample, spared):
    with Server(Keeper()) as server:
        proxies(HTTP_PROXY=box.proxy, NO_PROXY=spared.format(port=server.port))
        assert main("-p", server.at(LOCAL), sample).code == 0
    assert not box.tunnels


@pytest.mark.parametrize(
    "other", ["", "7f.0.0.1", "0.0.1.example", LOCAL + ".example", LOCAL + ":1", "other.example"]
)
def test_no_proxy_spares_no_other_hosts(main, box, proxies, sample, other):
    proxies(HTTP_PROXY=box.proxy, no_proxy=other)
    with Server(Keeper()) as server:
        assert main("-p", server.at(LOCAL), "--retry", 0, sample).code == 1
    assert [t.host for t in box.tunnels] == [LOCAL] and not server.arrived


SPARED = [
    ("10.1.2.3", "10.0.0.0/8"),
    ("10.1.2.3", "other.example 192.168.0.0/16 10.1.0.0/16"),
    ("10.1.2.3", "a.example\t10.1.2.3"),
    ("10.1.2.3", "10.1.2.3/8"),
    ("10.1.2.3", "10.0.0.0/8:1234"),
    ("[fd00::5]", "fd00::/8"),
    ("[fd00::5]", "[fd00::]/8"),
    ("[fd00::5]", "fd00::5"),
    ("[fd00::5]", "[fd00::5]"),
    ("[fd00::5]", "[FD00:0::5]:1234"),
    ("nas.invalid", "invalid."),
    ("nas.invalid.", ".Invalid"),
    ("nas.invalid", "*.invalid"),
    ("nas.invalid", "nas.invalid.:1234"),
    ("xn--bcher-kva.invalid", "*"),
    ("xn--bcher-kva.invalid", "a.example;Bücher.invalid"),
    ("www.bücher.invalid", ".bücher.invalid"),
]
NOT_SPARED = [
    ("10.1.2.3", "10.0.0.0/16,11.0.0.0/8,fd00::/8"),
    ("10.1.2.3", "10.0.0.0/8:443"),
    ("10.1.2.3", "10.0.0.0/99 10. 10.*"),
    ("[fd00::5]", "fe00::/8 [fd00::5]:443 fd00::5:1234 ::/200"),
    ("nas.invalid", "as.invalid nas.invalid:443 nas s.invalid ,"),
    ("nas.invalid", ". *. :1234 [] ünas.invalid " + "a" * 64),
]


@pytest.mark.parametrize("host, listed", SPARED)
def test_what_no_proxy_lists_is_never_heard_by_a_proxy(main, box, proxies, sample, host, listed):
    proxies(ALL_PROXY=box.proxy, NO_PROXY=listed)
    args = ("--retry", 0, "--connect-timeout", 0.3, sample)
    assert main("-p", f"https://{host}:1234/", *args).code == 1
    assert not box.tunnels


@pytest.mark.parametrize("host, listed", NOT_SPARED)
def test_what_no_proxy_does_not_list_goes_to_the_proxy(main, box, proxies, sample, host, listed):
    proxies(ALL_PROXY=box.proxy, NO_PROXY=listed)
    assert main("-p", f"https://{host}:1234/", "--retry", 0, sample).code == 1
    assert [tunnel.port for tunnel in box.tunnels] == [1234]


def test_socks_without_a_number_looks_up_names_at_the_proxy(main, box, proxies, sample):
    """What desktops write into ALL_PROXY."""
    proxies(ALL_PROXY=box.socks.replace("socks5h://", "socks://") + "/")
    assert main("-p", DROP, sample).code == 0
    assert {(t.via, t.host) for t in box.tunnels} == {("socks", "drop.example.org")}


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "127.0.0.2"])
def test_this_machine_needs_no_proxy_of_the_environment(main, proxies, sample, name):
    proxies(HTTP_PROXY=nowhere(), ALL_PROXY=nowhere())
    with Server(Keeper(), host="127.0.0.2" if name == "127.0.0.2" else "127.0.0.1") as server:
        assert main("-p", server.at(name), sample).code == 0


@pytest.mark.parametrize("name, seen", [("127.0.0.1", "127.0.0.1"), ("[::1]", "::1")])
@pytest.mark.parametrize("scheme", ["http", "socks5h"])
def test_a_proxy_of_the_command_line_is_for_every_host(main, box, sample, scheme, name, seen):
    assert (
        main("-p", "https://%s:1234/" % name, "-x", way(box, scheme), "--retry", 0, sample).code
        == 1
    )
    assert [(t.host, t.port) for t in box.tunnels] == [(seen, 1234)]


@pytest.mark.parametrize("scheme, asked", [("socks5", "127.0.0.1"), ("socks5h", "localhost")])
def test_socks5_looks_names_up_here_and_socks5h_there(main, box, sample, scheme, asked):
    main(
        "-4",  # localhost may be ::1 as well
        "-p",
        "http://localhost:1234/",
        "-x",
        box.socks.replace("socks5h", scheme),
        "--retry",
        0,
        sample,
    )
    assert [(t.host, t.port) for t in box.tunnels] == [(asked, 1234)]


@pytest.mark.parametrize("proxy_type", ["http", "https", "socks5h"])
def test_a_host_without_http_is_reached_through_a_proxy(main, box, tmp_path, proxy_type):
    box.hosts["termbin.com"].idle = 0.3
    text = tmp_path / "a.txt"
    text.write_bytes(b"some words\n")
    done = main("-p", "termbin", "-x", way(box, proxy_type), text)
    assert (done.code, box.stored[done.links[0]].read()) == (0, b"some words\n")


def socks_relay(bound):
    """A SOCKS proxy that really connects; `bound` is the address that it names in its reply."""

    def manners(talk: Talk):
        wire = talk.wire
        wire.exactly(1)
        wire.exactly(wire.exactly(1)[0])
        wire.send(b"\x05\x00")
        address_type = wire.exactly(4)[3]
        host = (
            wire.exactly(wire.exactly(1)[0]).decode()
            if address_type == 3
            else socket.inet_ntoa(wire.exactly(4))
        )
        talk.server.asked.append(host)
        with socket.create_connection((host, int.from_bytes(wire.exactly(2), "big"))) as there:
            wire.send(b"\x05\x00\x00" + bound + b"\x00\x00")
            copy = threading.Thread(target=pump, args=(there, wire.sock))
            copy.start()
            pump(wire.sock, there)
            copy.join()

    return manners


def pump(source, sink):
    with contextlib.suppress(OSError):
        data = source.recv(65536)
        while data:
            sink.sendall(data)
            data = source.recv(65536)
        sink.shutdown(socket.SHUT_WR)


@pytest.mark.parametrize(
    "bound",
    [b"\x01" + b"\x7f\0\0\1", b"\x03\x09some.host", b"\x04" + bytes(16)],
    ids=["v4", "name", "v6"],
)
@pytest.mark.parametrize("scheme, asked", [("socks5", "127.0.0.1"), ("socks5h", "localhost")])
def test_all_replies_of_socks_are_understood(main, box, sample, scheme, asked, bound):
    with Server(socks_relay(bound)) as relay, secure(box) as server:
        relay.asked = []
        # -4: localhost may be ::1 as well, and socks5 looks it up here
        done = main("-4", "-p", server.url, "-x", "%s://%s" % (scheme, relay.authority), sample)
    assert done.code == 0 and set(relay.asked) == {asked} and len(server.arrived) == 2


SOCKS_ODDITIES = {
    "a method that was not offered": ([b"\x05\x02"], "authentication required"),
    "no method": ([b"\x05\xff"], "authentication required"),
    "SOCKS4": ([b"\x00\x5b"], "not a SOCKS5 proxy"),
    "half a greeting": ([b"\x05"], "proxy"),
    "a strange code": ([b"\x05\x00", b"\x05\x63\x00\x01"], "error 99"),
    "not allowed": ([b"\x05\x00", b"\x05\x02\x00\x01"], "not allowed"),
    "half an answer": ([b"\x05\x00", b"\x05\x00\x00\x01\x7f"], "through socks5h://"),
}


@pytest.mark.parametrize("oddity", SOCKS_ODDITIES)
def test_what_socks_may_say_is_a_sentence(main, sample, oddity):
    script, says = SOCKS_ODDITIES[oddity]

    def manners(talk: Talk):
        for line in script:
            talk.wire.some()
            talk.wire.send(line)
        talk.wire.some() if len(script) > 1 else None

    with Server(manners) as server:
        done = main(
            "-p",
            DROP,
            "-x",
            "socks5h://" + server.authority,
            "--connect-timeout",
            1,
            "--retry",
            0,
            sample,
        )
    assert (done.code, done.out) == (1, "") and says in done.err and done.seconds < 4


# Proxies: passwords -------------------------------------------------------------------------------

USER, PASSWORD = "me@home", "pa:ss/wörd %&+"


@pytest.mark.parametrize("url", [DROP, PLAIN])
@pytest.mark.parametrize("scheme", ["http", "https", "socks5h"])
def test_user_and_password_go_to_the_proxy(main, box, proxies, sample, scheme, url):
    box.proxy_password = (USER, PASSWORD)
    proxies(ALL_PROXY=with_password(way(box, scheme), USER, PASSWORD))
    assert main("-p", url, sample).code == 0
    assert {t.user for t in box.tunnels} == {USER}


@pytest.mark.parametrize("url", [DROP, PLAIN])
@pytest.mark.parametrize("proxy_type", ["http", "https", "socks5h"])
@pytest.mark.parametrize(
    "password, says",
    [(None, "authentication required"), ("wrong", "authentication failed")],
)
def test_a_proxy_that_wants_a_password_is_a_sentence_with_a_way_out(
    main, box, sample, proxy_type, url, password, says
):
    box.proxy_password = (USER, PASSWORD)
    proxy = (
        with_password(way(box, proxy_type), USER, password) if password else way(box, proxy_type)
    )
    done = main("-p", url, "--fallback", "-x", proxy, sample)
    assert (done.code, done.out) == (1, "")
    assert says in done.err and "--proxy %s://USER:PASSWORD@" % proxy_type in done.err
    # every other host would fail in the same way
    assert "1 tried" in done.err and len(box.tunnels) == 1


@pytest.mark.parametrize("url", [DROP, PLAIN])
@pytest.mark.parametrize("lines", [[b"Negotiate", b"NTLM"], [b"Negotiate, NTLM"]])
def test_a_proxy_that_offers_only_ntlm_names_the_way_out(main, sample, url, lines):
    offers = b"".join(b"Proxy-Authenticate: %s\r\n" % line for line in lines)

    def manners(talk: Talk):
        talk.wire.some()
        talk.wire.send(b"HTTP/1.1 407 No\r\n%sContent-Length: 0\r\n\r\n" % offers)

    with Server(manners) as server:
        done = main("-p", url, "--fallback", "-x", server.url, sample)
    assert (done.code, done.out) == (1, "") and "1 tried" in done.err
    assert "unsupported authentication: Negotiate, NTLM" in done.err and "cntlm" in done.err


@pytest.mark.parametrize("odd", "#/?[]")
@pytest.mark.parametrize("host", ["127.0.0.1:3128", "[::1]:3128", "proxy.example"])
@pytest.mark.parametrize("typed", [True, False])
def test_a_character_that_a_proxy_password_must_encode_is_named(
    main, proxies, sample, odd, host, typed
):
    proxy = f"http://me:1{odd}secret@{host}"
    proxies(**({} if typed else {"ALL_PROXY": proxy}))
    done = main("-p", DROP, *(["-x", proxy] if typed else []), sample)
    assert (done.code, done.out) == (2, "")
    assert "write # as %23, / as %2F" in done.err and "invalid proxy URL" in done.err
    assert "secret" not in done.err and typed != ("ALL_PROXY" in done.err)


def shapes_of(secret):
    """The secret as it might slip out."""
    both = "%s:%s" % (USER, secret)
    return {
        secret,
        quote(secret),
        quote(secret, safe=""),
        base64.b64encode(both.encode()).decode(),
        json.dumps(secret)[1:-1],
    }


@pytest.mark.parametrize("proxy_type", ["http", "https", "socks5h", "gone", "ftp"])
@pytest.mark.parametrize("secret", [PASSWORD, "otherwise!"])
@pytest.mark.parametrize("source", ["-x", "environment"])
def test_the_password_appears_nowhere(main, box, proxies, sample, proxy_type, secret, source):
    box.proxy_password = (USER, PASSWORD)
    plain = {"gone": nowhere(), "ftp": "ftp://127.0.0.1:3128"}.get(proxy_type) or way(
        box, proxy_type
    )
    proxy = with_password(plain, USER, secret)
    proxies(**({} if source == "-x" else {"ALL_PROXY": proxy}))
    for more in (["-v"], ["--json"], ["--dry-run"]):
        done = main("-p", DROP, *more, *(["-x", proxy] if source == "-x" else []), sample)
        assert not [shape for shape in shapes_of(secret) if shape in done.out + done.err]


# Proxies that are none ----------------------------------------------------------------------------


def speaks_first(talk: Talk):
    talk.wire.send(b"220 mail.example ESMTP\r\n")
    talk.linger()


def hangs_up(talk: Talk):
    talk.wire.some()


def resets(talk: Talk):
    talk.wire.some()
    talk.wire.reset()


def garbles(talk: Talk):
    talk.wire.some()
    talk.wire.send(b"SSH-2.0-OpenSSH_9.2\r\n")
    talk.linger()


def falls_silent(talk: Talk):
    talk.wire.some()
    talk.linger()


def says_page(status):
    def manners(talk: Talk):
        talk.wire.some()
        talk.say(
            status, b"<html><title>Log in first</title>" + b"..." * 1000, "Content-Type: text/html"
        )

    return manners


def agrees_and_babbles(talk: Talk):
    """A SOCKS proxy that says more than it was asked, in one go."""
    talk.wire.some()
    talk.wire.send(b"\x05\x00and a very good day to you")
    talk.linger()


IMPOSTORS = {
    "speaks first": speaks_first,
    "hangs up": hangs_up,
    "resets": resets,
    "garbles": garbles,
    "falls silent": falls_silent,
    "page": says_page(200),
    "no method": says_page(405),
    "babbles": agrees_and_babbles,
}


@pytest.mark.parametrize("scheme", ["http", "https", "socks5h"])
@pytest.mark.parametrize("impostor", IMPOSTORS)
def test_a_proxy_that_is_none_is_a_sentence(main, sample, scheme, impostor):
    with Server(IMPOSTORS[impostor]) as server:
        proxy = "%s://127.0.0.1:%d" % (scheme, server.port)
        done = main("-x", proxy, "--connect-timeout", 0.3, "--timeout", 0.3, "--retry", 0, sample)
    assert (done.code, done.out) == (1, "")
    assert "upload failed: no host accepted it" in done.err and done.seconds < 5
    if scheme == "http" and impostor in (
        "falls silent",
        "babbles",
    ):  # it may wait for the host behind it
        assert f"(through {proxy})" in done.err
    elif impostor not in ("page", "no method"):  # those may be a policy for one host
        assert "1 tried" in done.err and "proxy" in done.err


@pytest.mark.parametrize("scheme", ["http", "https", "socks5", "socks5h"])
@pytest.mark.parametrize("address", ["127.0.0.1:{port}", "no..such..name:3128"])
def test_a_proxy_that_is_not_there_ends_the_chain(main, box, sample, scheme, address):
    done = main("-x", scheme + "://" + address.format(port=closed_port()), sample)
    assert (done.code, done.out, box.tunnels) == (1, "", [])
    assert " proxy " in done.err and "1 tried" in done.err
    assert "check --proxy and *_PROXY" in done.err or "such" in address


@pytest.mark.parametrize(
    "proxy_type, says", [("http", "502 Bad Gateway"), ("socks5h", "host unreachable")]
)
def test_a_host_that_the_proxy_cannot_reach_is_followed_by_the_next(
    main, box, sample, proxy_type, says
):
    box.fault("catbox.moe", "dns")
    done = main("-v", "-x", way(box, proxy_type), "--retry", 0, sample)
    assert done.code == 0 and box.uploads("litterbox.catbox.moe")
    assert "could not reach catbox.moe: " + says in done.err


def test_a_connection_refused_is_told_by_socks(main, box, sample):
    box.fault("drop.example.org", "refuse")
    done = main("-p", DROP, "-x", box.socks, "--retry", 0, sample)
    assert done.code == 1 and "could not reach drop.example.org: refused" in done.err


BAD_PROXIES = [
    "socks4://127.0.0.1:1080",
    "socks4a://127.0.0.1:1080",
    "ftp://127.0.0.1:21",
    "http://",
    "http://:8080",
    "http://127.0.0.1:99999",
    "http://127.0.0.1:port",
    "http://[::1",
    "http://me:hunter2@",
    "quic://me:hunter2@127.0.0.1:1",
]


@pytest.mark.parametrize("source", ["-x", "environment"])
@pytest.mark.parametrize("proxy", BAD_PROXIES)
def test_a_bad_proxy_address_is_a_wrong_call(main, box, proxies, sample, proxy, source):
    proxies(**({} if source == "-x" else {"HTTPS_PROXY": proxy}))
    done = main(*(["-x", proxy] if source == "-x" else []), sample)
    assert (done.code, done.out, box.tunnels) == (2, "", [])
    assert "proxy" in done.err and "hunter2" not in done.err
    if "socks4" in proxy:
        assert "unsupported proxy scheme 'socks4" in done.err and "socks5" in done.err


# TLS ----------------------------------------------------------------------------------------------

BAD_CERTIFICATES = {
    "tls-unknown-ca": "use --cacert FILE, or set SSL_CERT_FILE",
    "tls-expired": "check the clock of this machine",
    "tls-wrong-name": "this network may require a sign-in",
}


@pytest.mark.parametrize("fault", BAD_CERTIFICATES)
def test_a_certificate_that_does_not_hold_is_refused(main, box, sample, fault):
    box.fault("drop.example.org", fault)
    done = main("-p", DROP, sample)
    assert (done.code, done.out, box.requests) == (1, "", [])
    assert (
        re.search("drop.example.org +tls ", done.err)
        and "certificate verification failed" in done.err
        and [hint for hint in BAD_CERTIFICATES.values() if hint in done.err]
        == [BAD_CERTIFICATES[fault]]
    )
    assert len(box.tunnels) == 1  # it would not hold the second time either


def test_after_a_bad_certificate_comes_the_next_host(main, box, sample):
    box.fault("catbox.moe", "tls-expired")
    done = main(sample)
    assert done.code == 0 and [seen.host for seen in box.uploads()] == ["litterbox.catbox.moe"]


@pytest.mark.parametrize("fault", BAD_CERTIFICATES)
@pytest.mark.parametrize("quiet", [[], ["-q"]])
def test_insecure_works_and_warns_loudly(main, box, sample, fault, quiet):
    box.fault("drop.example.org", fault)
    done = main("-p", DROP, "--insecure", *quiet, sample)
    assert done.code == 0 and len(done.links) == 1
    assert "warning" in done.err and "not verified" in done.err


def test_without_the_authority_nothing_is_sent(main, box, clean_env, sample):
    clean_env.delenv("SSL_CERT_FILE")
    done = main("-p", DROP, sample)
    assert (done.code, box.requests) == (1, []) and "SSL_CERT_FILE" in done.err


def test_a_hint_for_all_hosts_is_said_once_and_names_the_bundle_of_other_programs(
    main, box, clean_env, sample
):
    clean_env.delenv("SSL_CERT_FILE")
    for setting in ("CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "AWS_CA_BUNDLE"):
        clean_env.setenv(setting, box.ca)
        done = main(sample)
        assert done.code == 1 and done.err.count("certificate verification failed") == 7
        assert done.err.count("--cacert") == 1
        assert done.err.endswith(f"\n  use --cacert {box.ca} ({setting})\n")
        clean_env.delenv(setting)


def company_certificates(folder):
    """A CA as companies make them: no key identifiers, no key usage; and a leaf for localhost."""
    import datetime

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    now = datetime.datetime.now(datetime.timezone.utc)

    def certificate(subject, key, issuer, signer, extension):
        return (
            x509.CertificateBuilder()
            .subject_name(name(subject))
            .issuer_name(name(issuer))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(extension, critical=False)
            .sign(signer, hashes.SHA256())
            .public_bytes(serialization.Encoding.PEM)
        )

    def name(text):
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

    root, middle, leaf = (ec.generate_private_key(ec.SECP256R1()) for _ in range(3))
    is_ca = x509.BasicConstraints(ca=True, path_length=None)
    names = x509.SubjectAlternativeName([x509.DNSName("localhost")])
    (folder / "root.pem").write_bytes(certificate("Root", root, "Root", root, is_ca))
    (folder / "middle.pem").write_bytes(certificate("Middle", middle, "Root", root, is_ca))
    private = leaf.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )
    chain = certificate("leaf", leaf, "Middle", middle, names)
    (folder / "leaf.pem").write_bytes(private + chain + (folder / "middle.pem").read_bytes())


PYTHONS = [
    path
    for path in sorted(PYENV.glob("versions/*/bin/python3.*"))
    if re.fullmatch(r"python3\.(9|[1-9][0-9])", path.name)
]


@pytest.mark.parametrize("python", [Path(sys.executable), *PYTHONS], ids=lambda path: path.name)
@pytest.mark.parametrize("trusted", ["root.pem", "middle.pem"])
def test_a_company_ca_passes_on_every_python(sample, clean_env, tmp_path, python, trusted):
    """3.13 added VERIFY_X509_STRICT, which refuses it, and VERIFY_X509_PARTIAL_CHAIN."""
    company_certificates(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "leaf.pem")
    with Server(Keeper(), context=context) as server:
        argv = [python, PROGRAM, "--cacert", tmp_path / trusted, "--retry", "0"]
        good = subprocess.run(
            [*argv, "-p", server.at("localhost"), sample], capture_output=True, timeout=30
        )
        wrong = subprocess.run(
            [*argv, "-p", server.at("127.0.0.1"), sample], capture_output=True, timeout=30
        )
    assert (good.returncode, good.stderr) == (0, b"")
    assert wrong.returncode == 1 and b"certificate verification failed" in wrong.stderr


def test_cacert_replaces_the_certificates_of_the_system(main, box, clean_env, sample, tmp_path):
    import trustme

    other = tmp_path / "other.pem"
    trustme.CA().cert_pem.write_to_path(str(other))
    assert main("-p", DROP, "--cacert", other, sample).code == 1
    clean_env.delenv("SSL_CERT_FILE")
    assert main("-p", DROP, "--cacert", box.ca, sample).code == 0
    shutil.copy(box.ca, tmp_path / "home" / "ca.pem")
    done = main("-p", DROP, "--cacert=~/ca.pem", sample)
    assert done.code == 0, "no shell expands ~ there, and botocore does so for ca_bundle"


def test_a_proxy_behind_tls_needs_a_certificate_too(main, box, clean_env, sample):
    clean_env.delenv("SSL_CERT_FILE")
    done = main("-x", box.secure_proxy, sample)
    assert done.code == 1 and "--cacert" in done.err and "localhost" in done.err
    assert not box.tunnels and "1 tried" in done.err


@pytest.mark.parametrize("problem", ["missing", "garbage", "folder", "empty"])
def test_a_cacert_that_is_none_is_a_wrong_call(main, box, sample, tmp_path, problem):
    path = tmp_path / "ca.pem"
    if problem == "folder":
        path.mkdir()
    elif problem != "missing":
        path.write_bytes(b"nonsense" if problem == "garbage" else b"")
    done = main("--cacert", path, sample)
    assert (done.code, done.out, box.tunnels) == (2, "", [])
    assert "ca.pem" in done.err and len(done.err.splitlines()) == 1


def old_tls(box, version):
    """A server's context that knows nothing newer."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    box.notary.leaf("localhost", "good").configure_cert(context)
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1, version
    return context


def old_client():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = ssl.TLSVersion.TLSv1
    return context


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(
    "version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1, ssl.TLSVersion.TLSv1_2]
)
def test_tls_before_1_2_is_refused(main, box, sample, version):
    with Server(Keeper(), context=old_tls(box, version)) as server:
        with (
            socket.create_connection(("127.0.0.1", server.port)) as sock,
            old_client().wrap_socket(sock),
        ):
            pass  # the server is sound, and would do it
        done = main("-p", server.url, "--retry", 0, sample)
    fine = version == ssl.TLSVersion.TLSv1_2
    assert (done.code, len(server.puts())) == ((0, 1) if fine else (1, 0))
    assert fine or " tls " in done.err


def test_a_server_without_tls_is_a_sentence(main, sample):
    with Server(Keeper()) as server:
        done = main(
            "-p",
            "https://127.0.0.1:%d/" % server.port,
            "--retry",
            0,
            "--connect-timeout",
            1,
            sample,
        )
    assert done.code == 1 and " tls " in done.err and not server.puts()


def test_the_name_is_sent_and_an_address_is_verified(main, box, sample):
    """TLS sends the server's name (SNI), and accepts a certificate for an IP address."""
    with Server(Keeper(), context=box.notary.context("127.0.0.1")) as server:
        assert main("-p", server.at("127.0.0.1"), sample).code == 0
        assert main("-p", server.at("localhost"), "--retry", 0, sample).code == 1


# Time-outs ----------------------------------------------------------------------------------------


def test_a_host_that_does_not_take_connections_is_given_up(main, sample):
    with blackhole() as port:
        done = main(
            "-p", "http://127.0.0.1:%d/" % port, "--connect-timeout", 0.3, "--retry", 1, sample
        )
    assert done.code == 1 and " connect " in done.err and "timed out" in done.err
    assert 0.6 <= done.seconds < 4  # twice, and a pause of half a second


@pytest.mark.parametrize("url", [DROP, PLAIN])
def test_a_host_that_stops_reading_is_given_up(main, box, big, url):
    box.fault("drop.example.org", "stall")
    done = main("-p", url, "--timeout", 0.4, "--retry", 0, big)
    assert done.code == 1 and " send " in done.err and "timed out" in done.err and done.seconds < 4


@pytest.mark.parametrize("fault", ["silence", "endless-headers"])
def test_a_host_that_never_answers_is_given_up(main, box, sample, fault):
    box.fault("drop.example.org", fault)
    done = main("-p", DROP, "--timeout", 0.4, "--retry", 0, sample)
    assert done.code == 1 and " reply " in done.err and done.seconds < 4


@pytest.mark.parametrize(
    "fault, details",
    [
        ("trickle", {"delay": 0.1}),
        ("endless", {"pause": 0.1}),
        ("endless", {}),
        ("endless-headers", {"pause": 0.1}),
    ],
)
def test_an_answer_without_end_is_bounded(main, box, sample, fault, details):
    box.fault("drop.example.org", fault, when="upload", **details)
    done = main("-p", DROP, "--timeout", 0.3, "--retry", 0, sample)
    assert (done.code, done.out) == (1, "") and " reply " in done.err and done.seconds < 5


@pytest.mark.parametrize(
    "fault, details",
    [("trickle", {"delay": 0.1}), ("endless", {}), ("endless", {"pause": 0.1}), ("silence", {})],
)
def test_a_proof_without_end_is_bounded(main, box, sample, fault, details):
    box.fault("drop.example.org", fault, when="download", **details)
    done = main("-p", DROP, "--timeout", 0.3, "--retry", 0, sample)
    assert (done.code, done.out) == (4, "") and done.seconds < 5


def many_hosts_fail(box, fault, **details):
    for host in (
        "catbox.moe",
        "litterbox.catbox.moe",
        "x0.at",
        "tmpfile.link",
        "tmpfiles.org",
        "filebin.net",
        "uguu.se",
    ):
        box.fault(host, fault, **details)


@pytest.mark.parametrize(
    "fault, details",
    [
        ("silence", {}),
        ("stall", {}),
        ("trickle", {"delay": 0.1}),
        ("slow", {"delay": 30}),
        ("status", {"retry_after": 30}),
        ("status", {"retry_after": 1}),
        ("endless-headers", {"pause": 0.01}),
    ],
)
def test_max_time_ends_everything(main, box, big, fault, details):
    many_hosts_fail(box, fault, **details)
    done = main("--max-time", 0.5, big)
    assert (done.code, done.out) == (1, "") and done.seconds < 2
    assert "--max-time exceeded (0.5 s)" in done.err or fault == "status"


def test_max_time_ends_a_proof(main, box, sample):
    box.fault("drop.example.org", "slow", when="download", delay=30)
    done = main("-p", DROP, "--max-time", 1, sample)
    assert (
        done.code in (1, 4)
        and done.out == ""
        and "--max-time exceeded (1 s)" in done.err
        and done.seconds < 2.5
    )


def test_max_time_ends_a_connection_that_never_stands(main, sample):
    with blackhole() as port:
        done = main("-p", "http://127.0.0.1:%d/" % port, "--max-time", 0.6, sample)
    assert done.code == 1 and "--max-time exceeded (0.6 s)" in done.err and done.seconds < 2


@pytest.mark.parametrize("url", [DROP, PLAIN])
def test_max_time_ends_a_slow_upload(main, box, big, url):
    """Also where every byte is taken at once, and only our own limit makes it slow."""
    done = main("-p", url, "--max-time", 0.8, "--limit-rate", "100k", big)
    assert done.code == 1 and done.seconds < 2.5
    assert "--max-time exceeded (0.8 s): drop.example.org: timed out" in done.err


def test_max_time_ends_files_that_share_a_slow_line(main, box, tmp_path):
    files = [sparse(tmp_path / ("%d.bin" % n), MIB) for n in range(4)]
    done = main("-p", DROP, "--max-time", 0.8, "--limit-rate", "1k", "-j", 4, *files)
    assert (done.code, done.out) == (1, "") and done.seconds < 3


def test_max_time_is_for_all_files_together(main, box, tmp_path):
    files = [sparse(tmp_path / ("%d.bin" % n), 1000 + n) for n in range(4)]
    box.fault("drop.example.org", "silence")
    done = main("-p", DROP, "--max-time", 0.8, *files)
    assert done.code == 1 and done.seconds < 2.5


# Ctrl-C -------------------------------------------------------------------------------------------

PROMPT = 2.0  # seconds: one by design, twice that on a busy machine
needs_groups = pytest.mark.skipif(
    os.name == "nt", reason="signals to a process group are another thing on Windows"
)


@pytest.fixture
def interrupted(start, tmp_path):
    """Start the program, interrupt it at this point, and check that nothing is left."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()

    def run(*args, when, **more):
        process = start(
            "-v", *args, env={"TMPDIR": str(temporary), "PYTHONFAULTHANDLER": "1"}, **more
        )
        when(process, temporary)
        begun = time.monotonic()
        os.killpg(process.pid, signal.SIGINT)
        try:
            code = process.wait(20)
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGABRT)  # which line hangs? faulthandler says it
            pytest.fail("it did not end:\n" + process.stderr.read().decode())
        seconds = time.monotonic() - begun
        out, err = process.stdout.read(), process.stderr.read().decode()
        assert (
            (code, out) == (-signal.SIGINT, b"") and "interrupted" in err and "Traceback" not in err
        )
        assert not list(temporary.iterdir()) and seconds < PROMPT
        return err

    return run


def is_trying(process, temporary):
    while b": uploading " not in process.stderr.readline():
        assert process.poll() is None


def connected(server):
    return lambda process, temporary: until(lambda: server.connections)


def seen(box, fact, count=1):
    return lambda process, temporary: until(
        lambda: len([r for r in box.requests if fact(r)]) >= count
    )


@needs_groups
def test_ctrl_c_while_connecting(interrupted, sample):
    with blackhole() as port:
        interrupted("-p", "http://127.0.0.1:%d/" % port, sample, when=is_trying)


@needs_groups
@pytest.mark.parametrize("scheme", ["http", "https", "socks5h"])
def test_ctrl_c_while_a_proxy_is_silent(interrupted, sample, scheme):
    with Server(falls_silent) as server:
        interrupted(
            "-x", "%s://127.0.0.1:%d" % (scheme, server.port), sample, when=connected(server)
        )


@needs_groups
def test_ctrl_c_while_tls_is_silent(interrupted, sample):
    with Server(falls_silent) as server:
        interrupted("-p", "https://127.0.0.1:%d/" % server.port, sample, when=connected(server))


@needs_groups
@pytest.mark.parametrize("url", [DROP, PLAIN])
def test_ctrl_c_while_sending(box, interrupted, big, url):
    box.fault("drop.example.org", "stall")
    interrupted("-p", url, big, when=seen(box, lambda r: r.length))


@needs_groups
def test_ctrl_c_while_sending_slowly(box, interrupted, big):
    interrupted("-p", DROP, "--limit-rate", "20k", big, when=seen(box, lambda r: r.length))


@needs_groups
def test_ctrl_c_while_waiting_for_the_answer(box, interrupted, sample):
    box.fault("drop.example.org", "silence")
    interrupted("-p", DROP, sample, when=seen(box, lambda r: r.sha256))


@needs_groups
def test_ctrl_c_during_a_pause(box, interrupted, sample):
    box.fault("drop.example.org", "status", retry_after=60)

    def pausing(process, temporary):
        while b"retrying in" not in process.stderr.readline():
            assert process.poll() is None

    interrupted("-p", DROP, sample, when=pausing)


@needs_groups
def test_ctrl_c_during_the_proof(box, interrupted, sample):
    box.fault("drop.example.org", "slow", when="download", delay=60)
    interrupted("-p", DROP, sample, when=seen(box, lambda r: r.method == "GET"))


@needs_groups
@pytest.mark.parametrize("fault", ["silence", "stall"])
def test_ctrl_c_with_four_files_at_a_time(box, interrupted, tmp_path, fault):
    files = [sparse(tmp_path / ("%d.bin" % n), 8 * MIB) for n in range(6)]
    box.fault("drop.example.org", fault)
    interrupted("-p", DROP, "-j", "4", *files, when=seen(box, lambda r: r.length, 4))


@needs_groups
def test_ctrl_c_while_reading_standard_input(interrupted):
    def spooling(process, temporary):
        process.stdin.write(bytes(2 * MIB) + b"begun, and never ended\n")
        process.stdin.flush()
        until(lambda: [path for path in temporary.iterdir() if path.stat().st_size])

    interruption = interrupted("missing", "-", stdin=subprocess.PIPE, when=spooling)
    assert interruption.endswith("twat-fs: interrupted; not uploaded: missing, -\n")


@needs_groups
def test_ctrl_c_while_sending_standard_input(box, interrupted):
    box.fault("drop.example.org", "silence")

    def piped(process, temporary):
        process.stdin.write(DATA * 300)
        process.stdin.close()
        until(lambda: box.requests and box.requests[0].sha256)
        assert len(list(temporary.iterdir())) == 1

    interrupted("-p", DROP, stdin=subprocess.PIPE, when=piped)


@needs_groups
def test_ctrl_c_during_a_round_trip(box, start, tmp_path):
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    box.fault("catbox.moe", "silence")
    process = start("status", "catbox", "--online", env={"TMPDIR": str(temporary)})
    until(lambda: box.requests and box.requests[0].sha256)
    os.killpg(process.pid, signal.SIGINT)
    assert (process.wait(20), process.stdout.read()) == (-signal.SIGINT, b"") and not list(
        temporary.iterdir()
    )


# Redirects ----------------------------------------------------------------------------------------


class Hops(Keeper):
    """Its links lead to the file over so many redirects."""

    def __init__(self, hops, status=302):
        super().__init__()
        self.hops, self.status = hops, status

    def keep(self, talk, arrived):
        scheme, _, location = super().keep(talk, arrived).partition(b"://")
        host, _, path = location.partition(b"/")
        return b"%s://%s/hop/%d/%s" % (scheme, host, self.hops, path)

    def get(self, talk, arrived):
        _, hop, count, *rest = arrived.target.split("/")
        if hop != "hop" or count == "0":
            arrived.target = "/" + "/".join(rest) if hop == "hop" else arrived.target
            return super().get(talk, arrived)
        talk.say(
            self.status,
            b"<html>over there</html>",
            "Location: /hop/%d/%s" % (int(count) - 1, "/".join(rest)),
        )


@pytest.mark.parametrize("hops, code", [(1, 0), (10, 0), (11, 4)])
def test_a_download_is_followed_over_ten_redirects(main, sample, hops, code):
    with Server(Hops(hops)) as server:
        assert main("-p", server.url, sample).code == code
    assert len(server.arrived) == 1 + min(hops, 10) + 1 and server.connections == 1


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_all_redirects_of_a_download_are_followed(main, sample, status):
    with Server(Hops(1, status)) as server:
        assert main("-p", server.url, sample).code == 0


def test_a_redirect_in_circles_ends(main, box, sample):
    box.fault("drop.example.org", "redirect", when="download", location="/round/and/round")
    done = main("-p", DROP, sample)
    assert done.code == 4 and "redirect" in done.err and len(box.requests) <= 12


@pytest.mark.parametrize(
    "location",
    [
        PLAIN + "x",
        "//drop.example.org:99999/x",
        "ftp://drop.example.org/x",
        "http://[::1/",
        "tcp://drop.example.org:9999",
    ],
)
def test_a_redirect_to_an_unsafe_place_is_not_followed(main, box, sample, location):
    box.fault("drop.example.org", "redirect", when="download", location=location)
    done = main("-p", DROP, "--retry", 0, sample)
    assert (done.code, done.out) == (4, "")
    assert [(r.method, r.scheme) for r in box.requests] == [("PUT", "https"), ("GET", "https")]


def test_a_redirect_without_a_place_is_a_failure(main, sample):
    class Lost(Keeper):
        def get(self, talk, arrived):
            talk.say(302, b"somewhere")

    with Server(Lost()) as server:
        done = main("-p", server.url, "--retry", 0, sample)
    assert done.code == 4 and "302" in done.err


def sends_to(other, status):
    class Sender(Keeper):
        def put(self, talk, arrived):
            talk.say(status, b"", "Location: " + other.url + "x")

    return Sender()


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_an_upload_is_never_redirected(main, sample, status):
    with Server(Keeper()) as other, Server(sends_to(other, status)) as server:
        url = server.url.replace("://", "://me:hunter2@")
        done = main("-p", url, sample)
    assert (done.code, done.out) == (1, "") and len(server.arrived) == 1 and not other.connections
    assert (
        "unexpected redirect" in done.err
        and other.authority in done.err
        and "hunter2" not in done.err
    )


def test_the_password_of_a_host_goes_to_no_other(main, box, sample):
    box.hosts["drop.example.org"].auth = ("me", "hunter2")
    box.fault(
        "drop.example.org", "redirect", when="download", location="https://files.catbox.moe/x"
    )
    main("-p", "https://me:hunter2@drop.example.org/", "--retry", 0, sample)
    assert box.uploads("drop.example.org")[0].status == 200
    assert {r.header("Authorization") for r in box.requests if r.host != "drop.example.org"} == {
        None
    }


def test_a_transport_takes_secrets_to_the_same_place_only(box):
    """Another port is another place."""
    secrets = (
        ("Authorization", "Basic eDp5"),
        ("X-aws-ec2-metadata-token", "key"),
        ("Range", "bytes=0-0"),
    )

    def redirects(talk: Talk):
        talk.request()
        talk.say(302, b"", "Location: /here", "Content-Type: text/plain")
        talk.request()
        talk.say(302, b"", "Location: " + other.url)

    with Server(Keeper()) as other, Server(redirects) as server:
        twat_fs.Transport(twat_fs.Network()).send(
            twat_fs.Request("GET", server.url, headers=secrets)
        )
    authorizations = [
        [arrived.header(name) for name, _ in secrets] for arrived in server.arrived + other.arrived
    ]
    assert authorizations == [["Basic eDp5", "key", "bytes=0-0"]] * 2 + [[None, None, "bytes=0-0"]]


def test_the_repr_of_a_network_shows_no_secret():
    proxy = twat_fs.parse_proxy("http://me:s3cr3t@h:1")
    environment = {"https": "http://me:s3cr3t@h:1"}
    network = twat_fs.Network(proxy=proxy, proxies=environment, secrets=("s3cr3t",))
    assert "http://h:1" in repr(network) and "s3cr3t" not in f"{network!r} {network} {[network]}"


# Answers that come early --------------------------------------------------------------------------


def answers_early(close):
    """413 after the first bytes; then hangs up on the unread rest, or reads no more."""

    def manners(talk: Talk):
        arrived = talk.head()
        talk.body(arrived, most=64 << 10)
        talk.say(413, b"too much\n", *(["Connection: close"] if close else []))
        if not close:
            talk.linger()

    return manners


def assert_413(done):
    assert (done.code, done.out) == (1, "")
    # the limit's words and the file's size
    assert "413" in done.err and "too much" in done.err and "24" in done.err


@pytest.mark.parametrize(
    "more", [[], ["--limit-rate", "900M"], ["--json"]], ids=["plain", "limited", "hashed"]
)
@pytest.mark.parametrize("fault", ["early", "early-open"])
@pytest.mark.parametrize("url", [DROP, PLAIN, "catbox"])
def test_an_early_answer_is_read(main, box, big, fault, url, more):
    box.fault("*", fault, when="upload")
    done = main("-p", url, *more, big)
    if more == ["--json"]:
        assert "413" in json.loads(done.out)["attempts"][0]["error"] and done.code == 1
    else:
        assert_413(done)
    assert len(box.uploads()) == 1 and box.uploads()[0].length < 24 * MIB


@pytest.mark.parametrize("more", [[], ["--limit-rate", "900M"]], ids=["plain", "limited"])
@pytest.mark.parametrize("close", [True, False])
@pytest.mark.parametrize("tls", [True, False])
def test_an_early_answer_is_read_without_a_proxy(main, box, big, close, tls, more):
    context = box.notary.context("localhost") if tls else None
    with Server(answers_early(close), context=context, buffer=64 << 10) as server:
        assert_413(main("-p", server.url, *more, big))
    assert len(server.puts()) == 1


def test_an_early_answer_at_the_head_is_read(main, big):
    """A host that looks at Content-Length only."""

    def manners(talk: Talk):
        talk.head()
        talk.say(413, b"too much\n", "Connection: close")

    with Server(manners) as server:
        assert_413(main("-p", server.url, big))


@pytest.mark.parametrize("close", [True, False])
def test_an_early_yes_is_no_success(main, big, close):
    """Data that was never sent cannot have been received."""

    def manners(talk: Talk):
        talk.body(talk.head(), most=64 << 10)
        talk.say(
            200,
            b"http://%s/1/big.bin" % talk.server.authority.encode(),
            *(["Connection: close"] if close else []),
        )
        talk.linger() if not close else None

    with Server(manners, buffer=64 << 10) as server:
        done = main("-p", server.url, "--no-check", "--retry", 0, "--timeout", 1, big)
    assert (done.code, done.out) == (1, "") and " send " in done.err


@pytest.mark.parametrize(
    "fault",
    ["silence", "reset", "stall", "early", "endless", "trickle", "garbage", "empty", "drop-after"],
)
def test_a_host_without_http_may_fail_too(main, box, tmp_path, fault):
    box.hosts["termbin.com"].idle = 0.2
    box.fault(
        "termbin.com", fault, **({"after": 100} if fault in ("reset", "stall", "early") else {})
    )
    text = tmp_path / "a.txt"
    text.write_text("some words\n" * 2000)
    done = main("-p", "termbin", "--no-check", "--retry", 0, "--timeout", 0.3, text)
    assert (done.code, len(done.links)) == (
        0 if fault == "trickle" else 1,
        fault == "trickle",
    ) and done.seconds < 4


@pytest.mark.parametrize("url", [DROP, PLAIN])
def test_a_host_that_hangs_up_in_the_middle_is_asked_once_more(main, box, big, url):
    box.fault("drop.example.org", "reset")
    done = main("-p", url, "--retry", 5, big)
    assert done.code == 1 and " send " in done.err and len(box.uploads()) == 2


@pytest.mark.parametrize("url", [DROP, PLAIN])
def test_a_reset_in_the_middle_is_mended(main, box, big, url):
    box.fault("drop.example.org", "reset", times=1)
    done = main("-p", url, big)
    assert done.code == 0 and [r.status for r in box.uploads()] == [0, 200]
    assert box.stored[done.links[0]].size == 24 * MIB


def test_a_reset_after_all_was_sent_is_mended(main, box, sample):
    box.fault("drop.example.org", "drop-after", times=1, when="upload")
    assert main("-p", DROP, sample).code == 0 and len(box.uploads()) == 2


# Answers in odd clothes ---------------------------------------------------------------------------


class Old(Keeper):
    """HTTP/1.0 without a length."""

    def __call__(self, talk):
        arrived = talk.request()
        body = self.keep(talk, arrived) if arrived.method == "PUT" else self.stored[arrived.target]
        talk.say(200, body, length=False, version="1.0")


class Chunked(Keeper):
    """No length, but chunks, and a trailer."""

    def put(self, talk, arrived):
        self.chunks(talk, self.keep(talk, arrived))

    def give(self, talk, arrived, data):
        self.chunks(talk, data)

    def chunks(self, talk, data):
        talk.say(200, b"", "Transfer-Encoding: chunked", length=False)
        for at in range(0, len(data), 7):
            talk.wire.send(b"%X;note=1\r\n%s\r\n" % (len(data[at : at + 7]), data[at : at + 7]))
        talk.wire.send(b"0\r\nX-Trailer: 1\r\n\r\n")


class Closing(Keeper):
    """One request for each connection, and it says so."""

    def __call__(self, talk):
        talk.say = lambda *args, say=talk.say, **more: say(*args, "Connection: close", **more)
        arrived = talk.request()
        (self.put if arrived.method == "PUT" else self.get)(talk, arrived)
        talk.linger()  # so that only the header tells


class Forgetful(Keeper):
    """One request for each connection, and it does not say so."""

    def __call__(self, talk):
        arrived = talk.request()
        (self.put if arrived.method == "PUT" else self.get)(talk, arrived)


class Tired(Keeper):
    """Hangs up instead of answering the third request of a connection."""

    def __call__(self, talk):
        for _ in range(2):
            arrived = talk.request()
            if arrived:
                (self.put if arrived.method == "PUT" else self.get)(talk, arrived)
        talk.head()


class GoOn(Keeper):
    """100 Continue, though nobody asked: before the body, and once more before the answer."""

    before = (100,)

    def __call__(self, talk):
        arrived = talk.head()
        while arrived:
            if arrived.promised():
                talk.say(100, length=False)
                time.sleep(0.05)
            talk.body(arrived)
            for status in self.before:
                talk.say(status, b"", "X-Note: nearly there", length=False)
            (self.put if arrived.method == "PUT" else self.get)(talk, arrived)
            arrived = talk.head()


class Hinting(GoOn):
    """Send 102 and 103 once the whole body has arrived (RFC 2518, RFC 8297)."""

    before = (102, 100, 103, 103)


ODD = {
    "old": Old,
    "chunked": Chunked,
    "closing": Closing,
    "forgetful": Forgetful,
    "tired": Tired,
    "go on": GoOn,
    "hinting": Hinting,
}


@pytest.mark.parametrize("tls", [True, False])
@pytest.mark.parametrize("fault", ODD)
def test_answers_in_odd_clothes_are_understood(main, box, tmp_path, fault, tls):
    files = [tmp_path / name for name in ("a.bin", "b.bin", "c.bin")]
    for file in files:
        file.write_bytes(file.name.encode() * 300)
    with Server(ODD[fault](), context=box.notary.context("localhost") if tls else None) as server:
        done = main("-p", server.url, "--timeout", 1, *files)
    assert (done.code, len(done.links), done.err) == (0, 3, "") and done.seconds < 5
    assert [server.manners.stored[urlsplit(link).path] for link in done.links] == [
        file.read_bytes() for file in files
    ]


def test_a_large_body_survives_an_interim_answer(main, big):
    with Server(GoOn()) as server:
        assert main("-p", server.url, "--no-check", "--timeout", 1, "--retry", 0, big).code == 0
    assert [arrived.length for arrived in server.puts()] == [24 * MIB]


@pytest.mark.parametrize(
    "interim, pause",
    [(b"HTTP/1.1 100 Continue\r\n\r\n", 0.2), (b"HTTP/1.1 100 " + b"x" * 65536, 0)],
)
def test_who_only_says_go_on_and_takes_nothing_is_given_up(main, big, interim, pause):
    def manners(talk: Talk):
        talk.head()
        while not talk.server.over.wait(pause):
            talk.wire.send(interim)

    with Server(manners, buffer=4096) as server:
        done = main("-p", server.url, "--timeout", 1, "--retry", 0, "--max-time", 20, big)
    assert (done.code, done.out) == (1, "") and done.seconds < 10


@pytest.mark.parametrize("tls", [False, True])
def test_a_line_that_moves_slowly_is_not_silent(box, tls):
    """Also while TLS holds more than leaves within --timeout; small buffers, as on a slow line."""
    received = []

    def manners(talk: Talk):
        while not received or received[-1]:  # about 80 KiB/s
            received.append(len(talk.wire.sock.recv(4096)))
            time.sleep(0.05)

    with Server(
        manners, context=box.notary.context("localhost") if tls else None, buffer=4096
    ) as server:
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        sock.connect(("127.0.0.1", server.port))
        sock.setblocking(False)
        stream = twat_fs.Stream(sock, 0.7, twat_fs.FOREVER)
        if tls:
            stream.secure(twat_fs.tls_context(str(box.ca), False), "localhost")
        stream.sendall(bytes(128 * 1024))
        stream.hang_up()


def test_switches_of_the_hosts_in_the_box(main, box, sample):
    host = box.hosts["drop.example.org"]
    host.chunked, host.closes = True, True
    assert main("-p", DROP, sample, sample).code == 0
    assert len({r.connection for r in box.requests}) == len(box.requests) == 4


@pytest.mark.parametrize("more", [[], ["--no-check"]])
@pytest.mark.parametrize("url", [DROP, PLAIN])
def test_connections_are_kept(main, box, sample, url, more):
    done = main("-p", url, *more, sample, sample, sample)
    assert done.code == 0 and len({r.connection for r in box.requests}) == 1


def test_a_host_with_two_names_has_two_connections(main, box, sample):
    assert main("-p", "catbox", sample, sample).code == 0
    assert len({(r.host, r.connection) for r in box.requests}) == 2 and len(box.requests) == 4


def test_threads_have_their_own_connections(main, box, tmp_path):
    files = [sparse(tmp_path / ("%d.bin" % n), 300_000 + n) for n in range(8)]
    box.fault("drop.example.org", "slow", when="upload", delay=0.1)
    done = main("-p", DROP, "-j", 4, *files)
    assert done.code == 0 and [box.stored[link].size for link in done.links] == [
        300_000 + n for n in range(8)
    ]
    assert len({r.connection for r in box.requests}) == 4


def test_a_connection_that_went_stale_is_reopened_silently():
    def one_answer(talk: Talk):
        talk.request()
        talk.say(200, b"hello")

    with Server(one_answer) as server:
        transport = twat_fs.Transport(twat_fs.Network())
        for _ in range(3):
            assert transport.send(twat_fs.Request("GET", server.url)).body == b"hello"
            until(
                lambda: (
                    not transport.connections()[("http", "127.0.0.1", server.port)].is_reusable()
                )
            )
    assert server.connections == 3


class Leaving(Keeper):
    """Respond to one request, and close at the second one; a reset if it is not all read."""

    reads = True

    def __call__(self, talk):
        arrived = talk.request()
        if arrived:
            (self.put if arrived.method == "PUT" else self.get)(talk, arrived)
            talk.head() if self.reads else talk.wire.sock.recv(1)


@pytest.mark.parametrize("tls, reads", [(False, True), (False, False), (True, True)])
def test_a_connection_that_ends_as_it_is_used_again_is_no_failure_of_the_host(
    main, box, sample, tls, reads
):
    with Server(Leaving(), context=box.notary.context("localhost") if tls else None) as server:
        server.manners.reads = reads
        done = main("-p", server.url, "--retry", 0, sample)
    assert (done.code, len(done.links), server.connections) == (0, 1, 2)


class Speechless(Keeper):
    """Close when the second request of a connection is complete: no reset may overtake the end."""

    def __call__(self, talk):
        self.put(talk, talk.request())
        talk.request()


def test_a_body_is_not_sent_again_because_its_connection_ended(main, sample):
    """It may have arrived."""
    with Server(Speechless()) as server:
        done = main("-p", server.url, "--retry", 0, "--no-check", sample, sample)
    assert (done.code, len(server.puts()), server.connections) == (
        3,
        2,
        1,
    ) and "closed the connection without a response" in done.err


@pytest.mark.parametrize("status", [201, 203, 204, 206, 304, 416])
def test_a_proof_by_another_status_is_none(main, sample, status):
    class Other(Keeper):
        def give(self, talk, arrived, data):
            talk.say(status, b"" if status in (204, 304) else data, length=status not in (204, 304))

    with Server(Other()) as server:
        done = main("-p", server.url, "--retry", 0, sample)
    assert (done.code, done.out) == (4, "")


NO_ANSWERS = [
    b"",
    b"\r\n\r\n",
    b"HTTP/1.1 200\r\n",
    b"HTTP/1.1 abc OK\r\n\r\n",
    b"HTTP/9.9 200 OK\r\n\r\n",
    b"<html>hello</html>",
    b"\0" * 100,
    b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nhi",
    b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\nhi",
    b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhttp://127.0.0.1/half",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\nhello",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nhello",
    b"HTTP/1.1 200 OK\r\n" + b"A" * 70_000 + b": b\r\n\r\n",
    b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 200 + b"\r\n",
    b"HTTP/1.1 200 " + b"O" * 70_000 + b"\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nno colon here\r\n\r\nhi",
    b"HTTP/1.1 204 No Content\r\n\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
    b"HTTP/1.1 304 Not Modified\r\n\r\n",
    b"HTTP/1.1 999 What\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 200 \x1b[2J\xff\r\nContent-Length: 4\r\n\r\n\x1b[2J",
]


@pytest.mark.parametrize("answer", NO_ANSWERS, ids=range(len(NO_ANSWERS)))
def test_an_answer_that_is_none_is_a_sentence(main, sample, answer):
    def manners(talk: Talk):
        talk.request()
        talk.wire.send(answer)

    with Server(manners) as server:
        done = main("-p", server.url, "--retry", 0, "--timeout", 2, sample)
    assert (done.code, done.out) == (1, "") and "reply" in done.err and "\x1b" not in done.err


def test_a_chunk_of_minus_one_is_not_read_to_its_end(main, sample):
    """http.client would read all that comes, into memory."""
    poured = []

    def manners(talk: Talk):
        talk.request()
        talk.wire.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n")
        for _ in range(100):
            talk.wire.send(b"x" * MIB)
            poured.append(MIB)

    with Server(manners) as server:
        done = main("-p", server.url, "--retry", 0, "--timeout", 2, sample)
    assert (done.code, done.out) == (1, "") and sum(poured) < 20 * MIB


def test_an_endless_error_page_is_told_shortly(main, box, sample):
    box.fault("drop.example.org", "status", status=403, body="No. \x1b[31m" * 500_000)
    done = main("-p", DROP, sample)
    assert (
        done.code == 1
        and "403 Forbidden: No. " in done.err
        and len(done.err) < 600
        and "\x1b" not in done.err
    )


# Addresses ----------------------------------------------------------------------------------------


def has_ipv6():
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET6) as sock:
        sock.bind(("::1", 0))
        return True
    return False


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="this machine has no ::1")


@needs_ipv6
@pytest.mark.parametrize("tls", [True, False])
def test_an_ipv6_address_is_a_host(main, box, proxies, sample, tls):
    proxies(HTTP_PROXY=nowhere(), HTTPS_PROXY=nowhere())
    context = box.notary.context("::1") if tls else None
    with Server(Keeper(), context=context, host="::1") as server:
        done = main("-p", server.at("[::1]"), sample)
    assert (done.code, done.links) == (0, [server.at("[::1]") + "1/sample.bin"])
    assert server.puts()[0].header("Host") == server.authority


@needs_ipv6
def test_an_ipv6_address_goes_through_a_tunnel_in_brackets(main, box, sample):
    main("-p", "https://[::1]:1234/", "-x", box.proxy, "--retry", 0, sample)
    assert [dict(t.headers)["Host"] for t in box.tunnels] == ["[::1]:1234"]


@needs_ipv6
def test_a_proxy_at_an_ipv6_address_is_named_in_brackets(main, sample):
    def manners(talk: Talk):
        talk.wire.some()
        talk.wire.send(b"HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n")

    with Server(manners, host="::1") as server:
        done = main("-p", DROP, "-x", server.at("[::1]"), sample)
    assert f"proxy http://[::1]:{server.port}: authentication required" in done.err
    assert f"use --proxy http://USER:PASSWORD@[::1]:{server.port}\n" in done.err


def soon(seconds):
    """A deadline."""
    return time.monotonic() + seconds


def both_addresses(port):
    """A name with an IPv6 and an IPv4 address, as the resolver would give it."""
    return [
        *socket.getaddrinfo("::1", port, type=socket.SOCK_STREAM),
        *socket.getaddrinfo("127.0.0.1", port, type=socket.SOCK_STREAM),
    ]


@needs_ipv6
@pytest.mark.parametrize("host", ["::1", "127.0.0.1"])
@pytest.mark.parametrize("backwards", [True, False])
def test_the_next_address_is_tried(host, backwards):
    with Server(Keeper(), host=host) as server:
        addresses = both_addresses(server.port)
        with twat_fs.connect_fastest(addresses[::-1] if backwards else addresses, soon(5)) as sock:
            assert sock.getpeername()[0] == host


@needs_ipv6
def test_a_silent_address_does_not_hold_up_the_next():
    with Server(Keeper()) as server, blackhole("::1", server.port):
        begun = time.monotonic()
        with twat_fs.connect_fastest(both_addresses(server.port), soon(5)) as sock:
            assert sock.getpeername()[0] == "127.0.0.1" and time.monotonic() - begun < 2


def test_an_address_that_cannot_be_used_at_all_is_passed_over(main, sample):
    """As on a machine without IPv6; no connection succeeds, so nothing leaves."""
    with Server(Keeper()) as server:
        places = [*socket.getaddrinfo("255.255.255.255", server.port, type=socket.SOCK_STREAM)]
        places += socket.getaddrinfo("127.0.0.1", server.port, type=socket.SOCK_STREAM)
        twat_fs.connect_fastest(places, soon(5)).close()
    done = main("-p", "http://255.255.255.255:1/", "-x", "", "--retry", 0, sample)
    assert done.code == 1 and " connect " in done.err


@needs_ipv6
@pytest.mark.skipif(os.name == "nt", reason="Windows numbers its sockets otherwise")
def test_a_program_with_many_open_files_can_upload():
    """select() knows 1024 descriptors."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
    with contextlib.ExitStack() as stack, Server(Keeper()) as server:
        stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        for _ in range(1100):
            stack.enter_context(open(os.devnull))
        addresses = twat_fs.resolve("127.0.0.1", server.port, soon(5))
        twat_fs.connect_fastest(addresses, soon(5)).close()


def test_all_addresses_may_fail():
    port = closed_port()
    with pytest.raises(ConnectionRefusedError):
        twat_fs.connect_fastest(both_addresses(port), soon(5))
    with blackhole("::1", port), pytest.raises(TimeoutError):
        twat_fs.connect_fastest(both_addresses(port)[:1], soon(0.3))


@needs_ipv6
@pytest.mark.parametrize("host", ["::1", "127.0.0.1"])
def test_localhost_is_found_by_all_its_addresses(main, sample, host):
    families = {info[0] for info in socket.getaddrinfo("localhost", 80)}
    if (socket.AF_INET6 if ":" in host else socket.AF_INET) not in families:
        pytest.skip("localhost has no such address here")
    with Server(Keeper(), host=host) as server:
        assert main("-p", server.at("localhost"), sample).code == 0


# Rate and memory ----------------------------------------------------------------------------------


@pytest.mark.parametrize("url, count", [(DROP, 1), (PLAIN, 1), (DROP, 2)])
def test_the_rate_is_limited(main, box, tmp_path, url, count):
    """400 KiB at 300 KiB/s, by one thread or by two together."""
    files = [tmp_path / ("%d.bin" % n) for n in range(count)]
    for file in files:
        file.write_bytes(os.urandom((400 << 10) // count))
    done = main("-p", url, "--limit-rate", "300k", "-j", count, *files)
    assert done.code == 0 and 0.7 * 400 / 300 <= done.seconds <= 2 * 400 / 300
    assert [box.stored[link].read() for link in done.links] == [file.read_bytes() for file in files]


class Zeros(Keeper):
    """Forgets what it is given, because all of it is zeros."""

    def keep(self, talk, arrived):
        self.size = arrived.length
        return super().keep(talk, arrived)

    def give(self, talk, arrived, data):
        if not arrived.header("Range"):
            return talk.say(200, bytes(self.size))
        first, last = (int(word) for word in arrived.header("Range")[6:].split("-"))
        talk.say(
            206, bytes(last + 1 - first), "Content-Range: bytes %d-%d/%d" % (first, last, self.size)
        )


MEASURE = """
import os, sys
usage = os.wait4(os.spawnv(os.P_NOWAIT, sys.executable, [sys.executable, *sys.argv[1:]]), 0)[2]
print(usage.ru_maxrss // (1024 if sys.platform == "darwin" else 1), file=sys.stderr)
"""


def peak(box, *args):
    """Peak memory (KiB), run from a small process: a child starts with the memory of its parent."""
    done = subprocess.run(
        [sys.executable, "-ISc", MEASURE, str(PROGRAM), *map(str, args)],
        env=environment(box, {}),
        capture_output=True,
        text=True,
        timeout=60,
        stdin=subprocess.DEVNULL,
    )
    *links, size = done.stdout.split() + done.stderr.split()
    assert len(links) == 1, done.stderr
    return int(size)


@pytest.mark.skipif(not hasattr(os, "wait4"), reason="no wait4 here")
@pytest.mark.parametrize("tls", [True, False])
def test_memory_does_not_grow_with_the_file(box, tmp_path, tls):
    size = (150 if tls else 300) * MIB
    little, much = sparse(tmp_path / "little.bin", 1 << 10), sparse(tmp_path / "much.bin", size)
    with Server(Zeros(), context=box.notary.context("localhost") if tls else None) as server:
        small, large = (
            peak(box, "-p", server.url, "--verify", "full", little),
            peak(box, "-p", server.url, much),
        )
    assert [arrived.length for arrived in server.puts()] == [1 << 10, size]
    assert large - small < 8 << 10, "%d KiB for 1 KiB, %d KiB for %d MiB" % (
        small,
        large,
        size // MIB,
    )
