"""Bad networks: the delay by dead hosts, the host that gets the file, the remembered failures.

The program runs as a process through the internet in a box, whose hosts drop, mute, hold and
refuse. Times are bounds with room for a busy machine; tools/bench.py measures them.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time

import pytest
from conftest import PROGRAM
from internet.loopback import Keeper, Server

import twat_fs as t

CHAIN = ["catbox", "litterbox", "x0at", "tmpfilelink", "tmpfilesorg", "filebin", "uguu"]
DOMAINS = {row.id: row.domain for row in t.PROVIDERS}


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "report.txt"
    path.write_bytes(b"All is well.\n" * 850)
    return path


@pytest.fixture
def upload(box, program, file):
    """Upload with the first N hosts dead; returns the CompletedProcess and the seconds."""

    def run(*args, dead=(), fault="drop", env=None, **details):
        for name in dead:
            box.fault(DOMAINS[name], fault, **details)
        begun = time.monotonic()
        done = program(*map(str, args), file, env=env, timeout=200)
        done.seconds = time.monotonic() - begun
        return done

    return run


def uploaded_to(box):
    return [seen.host for seen in box.uploads()]


# 1 Hosts that cannot be reached -------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["drop", "mute"])
@pytest.mark.parametrize("count, seconds", [(1, 3), (3, 7)])
def test_a_dead_host_costs_seconds(box, upload, fault, count, seconds):
    """47 s for one and 141 s for three before the connections raced."""
    done = upload(dead=CHAIN[:count], fault=fault)
    assert done.returncode == 0 and done.stderr == ""
    assert uploaded_to(box) == [DOMAINS[CHAIN[count]]]
    assert done.seconds < seconds + 2


@pytest.mark.parametrize("fault", ["refuse", "reset-connect"])
def test_a_host_that_refuses_is_not_asked_again_while_others_are_left(box, upload, fault):
    done = upload(dead=CHAIN[:3], fault=fault)
    assert done.returncode == 0 and done.seconds < 4
    tried = [tunnel.host for tunnel in box.tunnels]
    assert tried.count("catbox.moe") == tried.count("x0.at") == 1


def test_the_last_host_is_asked_again(box, upload):
    """At the last host a short failure of the network is waited for."""
    for name in CHAIN[:-1]:
        box.fault(DOMAINS[name], "refuse")
    done = upload(dead=CHAIN[-1:], fault="reset-connect", times=2)
    assert (done.returncode, uploaded_to(box)) == (0, ["uguu.se"])


def test_a_slow_host_is_used_if_it_is_ready_first(box, upload):
    """It was begun first, and the others are no faster: readiness decides, not the clock."""
    box.fault("catbox.moe", "late", delay=2.0)
    done = upload(dead=CHAIN[1:], fault="drop")
    assert (done.returncode, uploaded_to(box)) == (0, ["catbox.moe"])


def test_a_host_that_rejects_the_file_gives_way_to_one_that_became_ready_meanwhile(box, upload):
    box.fault("catbox.moe", "late", delay=2.0)
    done = upload("--timeout", 2, dead=["litterbox"], fault="silence")
    assert done.returncode == 0 and uploaded_to(box) == ["litterbox.catbox.moe", "catbox.moe"]


def test_nothing_of_the_file_goes_to_two_hosts(box, upload):
    upload(dead=CHAIN[:2])
    assert len(box.uploads()) == 1


# 2 Hosts that the user named ----------------------------------------------------------------------


@pytest.mark.parametrize("dead", [0, 1])
def test_the_connection_that_was_ready_first_is_used(box, upload, dead):
    """TLS 1.3 servers send session tickets at once; they once looked like an early response."""
    done = upload(dead=CHAIN[:dead])
    connected = [tunnel.host for tunnel in box.tunnels]
    assert done.returncode == 0 and connected.count(DOMAINS[CHAIN[dead]]) == 1


@pytest.mark.parametrize("fault", ["drop", "mute"])
def test_the_end_of_the_time_is_named_and_no_host_is_asked_after_it(box, upload, fault):
    done = upload("--max-time", 2, dead=CHAIN, fault=fault)
    assert done.returncode == 1 and done.seconds < 4
    assert "--max-time exceeded (2 s)" in done.stderr and "(1 tried)" in done.stderr
    assert "no time is left" not in done.stderr


def test_named_hosts_are_asked_one_after_the_other(box, upload):
    """The next one hears nothing before the one before has failed."""
    done = upload("-p", "catbox,x0at", "--connect-timeout", 3, dead=["catbox"])
    assert (done.returncode, uploaded_to(box)) == (0, ["x0.at"])
    assert [tunnel.host for tunnel in box.tunnels] == ["catbox.moe", "x0.at"]
    assert 2.9 < done.seconds < 6


def test_a_named_host_is_not_raced_by_the_fallback(box, upload):
    done = upload("-p", "uguu", "--fallback", "--connect-timeout", 3, dead=["uguu", "catbox"])
    assert (done.returncode, uploaded_to(box)) == (0, ["litterbox.catbox.moe"])
    assert [tunnel.host for tunnel in box.tunnels][:3] == [
        "uguu.se",
        "catbox.moe",
        "litterbox.catbox.moe",
    ]
    assert done.seconds > 4.4


# 3 Hosts that take the file and say nothing, or too much ------------------------------------------


def test_a_body_that_was_taken_is_not_sent_again(box, upload):
    """121 s and twice the body before."""
    done = upload(dead=["catbox"], fault="silence")
    assert (done.returncode, uploaded_to(box)) == (0, ["catbox.moe", "litterbox.catbox.moe"])
    assert 29 < done.seconds < 37


def test_the_users_own_timeout_is_the_patience(box, upload):
    done = upload("--timeout", 2, dead=["catbox"], fault="silence")
    assert done.returncode == 0 and done.seconds < 6


@pytest.mark.parametrize("count, seconds", [(1, 2), (3, 5)])
def test_a_rate_limit_is_not_waited_for_while_others_are_left(box, upload, count, seconds):
    done = upload(dead=CHAIN[:count], fault="status", status=429, retry_after=60)
    assert done.returncode == 0 and done.seconds < seconds + 2
    assert uploaded_to(box) == [DOMAINS[name] for name in CHAIN[: count + 1]]


def test_a_short_rate_limit_is_waited_for(box, upload):
    done = upload(dead=["catbox"], fault="status", status=429, retry_after=1, times=1)
    assert (done.returncode, uploaded_to(box)) == (0, ["catbox.moe", "catbox.moe"])


def test_waiting_at_the_last_host_is_reported_without_a_terminal(box, upload):
    arguments = {"fault": "status", "status": 429, "retry_after": 6, "times": 1}
    done = upload("-p", "x0at", dead=["x0at"], **arguments)
    assert done.returncode == 0
    assert "x0" in done.stderr or "429" in done.stderr
    assert "retrying in" in done.stderr
    silent = upload("-q", "-p", "x0at", dead=["x0at"], **arguments)
    assert (silent.returncode, silent.stderr) == (0, "")


# 4 What is remembered -----------------------------------------------------------------------------


def memory(home):
    """The hosts in the file, all of one network."""
    entries = json.loads((home / ".cache" / "twat-fs" / "health.json").read_text())
    assert len({key.split()[0] for key in entries}) <= 1
    return {key.split()[1]: value for key, value in entries.items()}


@pytest.fixture
def home(tmp_path):
    return tmp_path / "home"


def test_a_dead_host_is_tried_last_the_next_time(box, upload, home):
    first = upload(dead=["catbox"])
    assert first.returncode == 0 and set(memory(home)) == {"catbox"}
    second = upload("-v")
    assert second.seconds < 3 and second.returncode == 0
    assert "catbox: tried last: failed here 1 minute ago (connect)" in second.stderr
    assert [tunnel.host for tunnel in box.tunnels][-1] != "catbox.moe"
    dry = upload("--dry-run")
    assert dry.stdout.splitlines()[0].endswith("uguu, catbox")
    assert "tried last: failed here" in dry.stdout


@pytest.mark.parametrize(
    "fault, details, phase",
    [
        ("refuse", {}, "proxy"),
        ("reset-connect", {}, "tls"),
        ("tls-unknown-ca", {}, "tls"),
        ("status", {"status": 451}, "blocked"),
        ("html", {"status": 403, "title": "Just a moment..."}, "blocked"),
    ],
)
def test_what_the_network_did_is_remembered(box, upload, home, fault, details, phase):
    assert upload(dead=["catbox"], fault=fault, **details).returncode == 0
    assert memory(home)["catbox"][1] == phase
    assert abs(memory(home)["catbox"][0] - time.time()) < 60


@pytest.mark.parametrize("status", [429, 500, 503, 403, 413])
def test_a_refusal_of_the_host_is_not_remembered(box, upload, home, status):
    assert upload(dead=["catbox"], fault="status", status=status).returncode == 0
    assert not (home / ".cache").exists()


def test_nothing_is_learnt_where_all_failed(box, upload, home):
    assert upload(dead=CHAIN, fault="refuse").returncode == 1
    assert not (home / ".cache").exists()


def test_success_forgets(box, upload, home):
    upload(dead=["catbox"], fault="refuse", times=1)
    assert set(memory(home)) == {"catbox"}
    assert upload("-p", "catbox").returncode == 0
    assert memory(home) == {}


def test_a_host_that_failed_is_never_left_out(box, upload):
    upload(dead=["catbox"], fault="refuse", times=1)
    done = upload(dead=CHAIN[1:], fault="refuse")
    assert (done.returncode, uploaded_to(box)[-1]) == (0, "catbox.moe")


def test_six_hours_are_enough(box, upload, home):
    upload(dead=["catbox"], fault="refuse", times=1)
    path = home / ".cache" / "twat-fs" / "health.json"
    entries = json.loads(path.read_text())
    for entry in entries.values():
        entry[0] -= 6 * 3600 + 1
    path.write_text(json.dumps(entries))
    done = upload("-v")
    assert uploaded_to(box)[-1] == "catbox.moe" and "tried last" not in done.stderr


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[1]",
        '{"a": 1}',
        '{"a": ["x", "connect"]}',
        '{"a": [1e999, null]}',
        "\0\xff",
        "[" * 5000,
    ],
)
def test_a_corrupt_failure_cache_does_no_harm(box, upload, home, content):
    folder = home / ".cache" / "twat-fs"
    folder.mkdir(parents=True)
    (folder / "health.json").write_text(content, encoding="latin-1")
    done = upload(dead=["catbox"], fault="refuse")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(os.name == "nt", reason="needs POSIX")
def test_an_unwritable_failure_cache_does_no_harm(box, upload, home, tmp_path):
    (home / ".cache").write_text("a file")
    assert upload(dead=["catbox"], fault="refuse").returncode == 0
    cache = tmp_path / "cache"
    (cache / "twat-fs").mkdir(parents=True)
    os.mkfifo(cache / "twat-fs" / "health.json")  # nobody writes into it
    done = upload(env={"XDG_CACHE_HOME": str(cache)})
    assert (done.returncode, done.stderr) == (0, "")


def test_the_memory_is_the_users_own(box, upload, home, tmp_path):
    cache = tmp_path / "cache"
    assert (
        upload(dead=["catbox"], fault="refuse", env={"XDG_CACHE_HOME": str(cache)}).returncode == 0
    )
    path = cache / "twat-fs" / "health.json"
    assert os.name == "nt" or (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (
        0o600,
        0o700,
    )
    assert not (home / ".cache").exists()
    assert os.listdir(path.parent) == ["health.json"]


def test_python_programs_remember_too(online_box, file, home):
    online_box.fault("catbox.moe", "refuse")
    assert t.upload(file).provider == "litterbox"
    assert set(memory(home)) == {"catbox"}


# 5 Name servers -----------------------------------------------------------------------------------


@pytest.mark.skipif(os.name == "nt" or os.geteuid() != 0, reason="needs a network of its own")
@pytest.mark.needs("unshare", "ip")
def test_a_mute_name_server_fails_every_host(file, tmp_path):
    """The real resolver in its own network, with a name server that receives and never responds."""
    server = (
        "import socket, subprocess, sys, time\n"
        "mute = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); mute.bind(('127.0.0.53', 53))\n"
        "begun = time.monotonic()\n"
        "done = subprocess.run(sys.argv[1:], capture_output=True, text=True)\n"
        "print(done.returncode, time.monotonic() - begun, done.stdout, done.stderr, sep='\\n')\n"
    )
    (tmp_path / "resolv.conf").write_text("nameserver 127.0.0.53\n")
    shell = (
        'ip link set lo up 2>/dev/null; mount --bind "$0/resolv.conf" /etc/resolv.conf && exec "$@"'
    )
    python = [sys.executable, "-c", server, sys.executable, str(PROGRAM), str(file)]
    done = subprocess.run(
        ["unshare", "-n", "-m", "sh", "-c", shell, str(tmp_path), *python],
        capture_output=True,
        text=True,
        timeout=120,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
    )
    code, seconds, out, err = done.stdout.split("\n", 3)
    assert (code, out) == ("1", "")
    assert "DNS lookup timed out" in err or "temporary failure in name resolution" in err
    assert float(seconds) < 13


# 6 Addresses --------------------------------------------------------------------------------------


def has_ipv6():
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET6) as sock:
        sock.bind(("::1", 0))
        return True
    return False


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="this machine has no ::1")


@contextlib.contextmanager
def two_addresses(box):
    """localhost, which is mute at its IPv6 address, and a good TLS server at its IPv4 address."""
    good = Server(Keeper(), context=box.notary.context("localhost"))
    with good, socket.create_server(("::1", good.port), family=socket.AF_INET6):
        yield good


@pytest.fixture
def straight(box):
    """The environment of a program that needs no proxy."""
    return {"HTTPS_PROXY": None, "HTTP_PROXY": None, "SSL_CERT_FILE": box.ca}


@needs_ipv6
def test_an_address_that_accepts_and_is_mute_makes_way_for_the_next(box, upload, straight):
    """As where IPv6 loses large packets: TLS begins and never ends."""
    with two_addresses(box) as server:
        done = upload("-p", f"https://localhost:{server.port}/", env=straight)
        assert (done.returncode, [a.method for a in server.arrived].count("PUT")) == (0, 1)
        assert done.seconds < 9


@needs_ipv6
@pytest.mark.parametrize("flag, code", [("-4", 0), ("--ipv4", 0), ("-6", 1), ("--ipv6", 1)])
def test_one_version_of_the_internet_protocol(box, upload, straight, flag, code):
    with two_addresses(box) as server:
        url = f"https://localhost:{server.port}/"
        done = upload(flag, "-p", url, "--connect-timeout", 1, "--retry", 0, env=straight)
        assert done.returncode == code and done.seconds < 4


def test_a_host_without_an_address_of_that_version_says_so(upload, straight):
    done = upload("-6", "-p", "http://127.0.0.1:9/", env=straight)
    assert done.returncode == 1 and " dns " in done.stderr
