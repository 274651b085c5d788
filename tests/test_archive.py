"""--zip and --tar: what readers find in an archive, what is refused, and the memory it takes."""

from __future__ import annotations

import io
import json
import os
import re
import socket
import stat
import subprocess
import sys
import tarfile
import threading
import time
import zipfile

import pytest
from conftest import command, environment
from internet.loopback import Keeper, Server, caller, sparse, until
from needs import need

import twat_fs

MIB = 1 << 20
GIB = 1 << 30
DROP = "https://drop.example.org/"
posix = pytest.mark.skipif(os.name == "nt", reason="Windows has no such files")


@pytest.fixture
def main(online_box, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return caller(capsys)


@pytest.fixture
def tree(tmp_path):
    """A folder with all kinds of files, and what an archive of it has."""
    contents = {
        "trip/a.txt": b"words\n",
        "trip/empty.bin": b"",
        "trip/sub/b.bin": os.urandom(3 * MIB + 1),
        "trip/sub/日本 ü😀.txt": b"x" * 10,
        "trip/z/y/x/deep": bytes(range(256)),
    }
    for name, content in contents.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    (tmp_path / "trip" / "nothing").mkdir()
    return contents


def archived(box, done):
    """The archive that the box has stored at the printed link, and its name."""
    assert done.code == 0, done.err
    stored = box.stored[done.out.strip()]
    return stored.read(), stored.name


def unzipped(data):
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


def untarred(data):
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:gz") as archive:
        return {member.name: member for member in archive}


def zip_of(*paths, exclude=(), epoch=None):
    members = twat_fs.Walker(exclude, False, epoch).members([str(path) for path in paths])
    return twat_fs.zip_content(members, utc=epoch is not None, checksums=True)


# What readers find --------------------------------------------------------------------------------

JAVA = """
import java.io.*; import java.nio.file.*; import java.util.zip.*;
public class ReadZip {
    public static void main(String[] args) throws Exception {
        ZipInputStream stream = new ZipInputStream(new FileInputStream(args[0]));
        for (ZipEntry entry; (entry = stream.getNextEntry()) != null; ) {
            Path path = Paths.get(args[1], entry.getName());
            if (entry.isDirectory()) { Files.createDirectories(path); continue; }
            Files.createDirectories(path.getParent());
            Files.copy(stream, path);
        }
    }
}
"""


def by_python(archive, folder):
    with zipfile.ZipFile(archive) as opened:
        opened.extractall(folder)


def by_unzip(archive, folder):
    run(need("unzip"), "-q", archive, "-d", folder)


def by_7z(archive, folder):
    run(need("7z"), "x", f"-o{folder}", archive)


def by_bsdtar(archive, folder):
    run(need("bsdtar"), "-xf", archive, "-C", folder)


def by_streaming_bsdtar(archive, folder):
    run("sh", "-c", f"cat '{archive}' | {need('bsdtar')} -xf - -C '{folder}'")


def by_streaming_java(archive, folder):
    need("javac")
    (folder.parent / "ReadZip.java").write_text(JAVA)
    run("java", folder.parent / "ReadZip.java", archive, folder)


def by_jar(archive, folder):
    need("javac")
    run("jar", "-xf", archive, cwd=folder)


READERS = [by_python, by_unzip, by_7z, by_bsdtar, by_streaming_bsdtar, by_streaming_java, by_jar]


def run(*argv, cwd=None):
    """Run a program in a UTF-8 locale."""
    env = {**os.environ, "LC_ALL": "C.UTF-8"}
    done = subprocess.run(list(map(str, argv)), cwd=cwd, env=env, capture_output=True, timeout=120)
    assert done.returncode == 0, done.stderr + done.stdout


@pytest.mark.parametrize("reader", READERS)
def test_every_reader_extracts_the_same_bytes(main, box, tree, tmp_path, reader):
    data, name = archived(box, main("-z", "trip", "-p", DROP))
    assert name == "trip.zip"
    (tmp_path / "out").mkdir()
    (tmp_path / name).write_bytes(data)
    reader(tmp_path / name, tmp_path / "out")
    files = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert {p.relative_to(tmp_path / "out").as_posix(): p.read_bytes() for p in files} == tree
    assert (tmp_path / "out" / "trip" / "nothing").is_dir()


def test_names_are_sorted_and_an_empty_folder_is_an_entry(main, box, tree):
    names = list(unzipped(archived(box, main("-z", "trip", "-p", DROP))[0]))
    assert names == sorted([*tree, "trip/nothing/"])


@pytest.mark.parametrize("option", ["-z", "--zip"])
def test_several_paths_stand_under_their_own_names(main, box, tree, tmp_path, option):
    (tmp_path / "alone.txt").write_bytes(b"alone")
    data, name = archived(box, main(tmp_path / "trip" / "sub", option, "alone.txt", "-p", DROP))
    inside = {name[5:]: content for name, content in tree.items() if name.startswith("trip/sub/")}
    assert (unzipped(data), name) == ({**inside, "alone.txt": b"alone"}, "archive.zip")


@pytest.mark.parametrize(
    "path, name",
    [(".", "trip.zip"), ("sub/..", "trip.zip"), ("a.txt", "a.txt.zip"), ("sub/", "sub.zip")],
)
def test_the_archive_is_named_after_its_only_path(main, box, tree, monkeypatch, path, name):
    monkeypatch.chdir("trip")
    data, shown = archived(box, main("-z", path, "-p", DROP))
    assert shown == name and {each.partition("/")[0] for each in unzipped(data)} == {name[:-4]}


def test_a_name_for_the_archive(main, box, tree):
    assert archived(box, main("-z", "trip", "-n", "x.bin", "-p", DROP))[1] == "x.bin"
    name = archived(box, main("-z", "trip", "--unique", "-p", DROP))[1]
    assert re.fullmatch(r"trip_\d{8}_\d{6}\.zip", name)


def test_times_and_modes_are_those_of_the_file(main, box, tree, tmp_path):
    script = tmp_path / "trip" / "a.txt"
    script.chmod(0o750)
    os.utime(script, (1_500_000_001, 1_500_000_001))
    os.utime(tmp_path / "trip" / "empty.bin", (0, 0))
    data, _ = archived(box, main("-z", "trip", "-p", DROP))
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        info = archive.getinfo("trip/a.txt")
        assert info.date_time == time.localtime(1_500_000_000)[:6]
        assert archive.getinfo("trip/empty.bin").date_time == (1980, 1, 1, 0, 0, 0)
        if os.name != "nt":
            assert info.external_attr >> 16 == stat.S_IFREG | 0o750
    if os.name != "nt":
        (tmp_path / "t.zip").write_bytes(data)
        by_unzip(tmp_path / "t.zip", tmp_path / "out")
        extracted = (tmp_path / "out" / "trip" / "a.txt").stat()
        assert (extracted.st_mode & 0o777, int(extracted.st_mtime)) == (0o750, 1_500_000_001)


@pytest.mark.parametrize("form", ["--zip", "--tar"])
def test_source_date_epoch_makes_archives_reproducible(program, box, tree, tmp_path, form):
    archives = []
    for zone, moment in (("UTC", 1_600_000_000), ("Asia/Tokyo", 1_700_000_000)):
        os.utime(tmp_path / "trip" / "a.txt", (moment, moment))
        env = {"SOURCE_DATE_EPOCH": "1500000000", "TZ": zone}
        archives.append(
            box.stored[program(form, "trip", "-p", DROP, env=env).stdout.strip()].read()
        )
    assert archives[0] == archives[1]
    assert program(form, "trip", "-p", DROP, env={"SOURCE_DATE_EPOCH": ""}).returncode == 0
    done = program(form, "trip", "-p", DROP, env={"SOURCE_DATE_EPOCH": "soon"})
    assert done.returncode == 2 and "SOURCE_DATE_EPOCH: invalid value 'soon'" in done.stderr


@posix
def test_names_that_a_zip_cannot_have_stay_different(main, box, tmp_path):
    """On Windows a backslash would be a separator: `..\\x` would be outside the folder."""
    os.mkdir(tmp_path / "f")
    try:
        for name in (b"caf\xe9", b"caf\xe8", b"..\\x"):
            with open(os.fsencode(tmp_path) + b"/f/" + name, "wb") as file:
                file.write(name)
    except OSError:
        pytest.skip("this file system has only UTF-8 names")
    assert unzipped(archived(box, main("-z", "f", "-p", DROP))[0]) == {
        "f/caf%E9": b"caf\xe9",
        "f/caf%E8": b"caf\xe8",
        "f/..%5Cx": b"..\\x",
    }


@pytest.mark.parametrize("count", [65_534, 65_535])
def test_many_files_use_zip64(tmp_path, count):
    member = twat_fs.Member("", stat.S_IFREG, 0)
    members = [member._replace(name=str(n)) for n in range(count)]
    content = twat_fs.zip_content(members, utc=False, checksums=True)
    path = tmp_path / "many.zip"
    path.write_bytes(b"".join(map(bytes, twat_fs.read_body(content))))
    with zipfile.ZipFile(path) as archive:
        assert len(archive.namelist()) == count
    assert (b"PK\6\6" in path.read_bytes()) == (count == 65_535)
    run(need("7z"), "t", path)


@pytest.mark.one_python
def test_other_programs_read_a_zip_above_4_gib(tmp_path):
    """The zeros of the archive are a hole in its file."""
    (tmp_path / "big").mkdir()
    sparse(tmp_path / "big" / "a", 4 * GIB)
    (tmp_path / "big" / "b").write_bytes(b"after")
    content = zip_of(tmp_path / "big")
    with open(tmp_path / "big.zip", "wb") as file:
        for piece in content:
            if piece.size == 4 * GIB:
                file.seek(4 * GIB, os.SEEK_CUR)
            else:
                file.writelines(twat_fs.read_slice(piece))
    assert os.path.getsize(tmp_path / "big.zip") == twat_fs.length(content) > 4 * GIB
    with zipfile.ZipFile(tmp_path / "big.zip") as archive:
        assert archive.getinfo("big/a").file_size == 4 * GIB
        assert archive.read("big/b") == b"after"
    extract = ([need("unzip"), "-p"], [need("7z"), "e", "-so"], [need("bsdtar"), "-xOf"])
    for argv in extract:
        done = subprocess.run([*argv, tmp_path / "big.zip", "big/b"], capture_output=True)
        assert (done.returncode, done.stdout) == (0, b"after"), done.stderr


# .tar.gz ------------------------------------------------------------------------------------------


@posix
def test_a_tar_has_modes_and_links_and_no_owner(main, box, tree, tmp_path):
    folder = tmp_path / "trip"
    (folder / "a.txt").chmod(0o751)
    (folder / "nothing").chmod(0o700)
    (folder / "link").symlink_to("a.txt")
    (folder / "out").symlink_to("/etc/passwd")
    (folder / "broken").symlink_to("nowhere")
    os.utime(folder / "a.txt", (1_500_000_001, 1_500_000_001))
    data, name = archived(box, main("--tar", "trip", "-p", DROP))
    members = untarred(data)
    assert name == "trip.tar.gz" and list(members) == sorted(members)
    assert members["trip"].isdir() and members["trip/nothing"].mode == 0o700
    assert (members["trip/a.txt"].mode, members["trip/a.txt"].mtime) == (0o751, 1_500_000_001)
    links = {name: member.linkname for name, member in members.items() if member.issym()}
    assert links == {"trip/link": "a.txt", "trip/out": "/etc/passwd", "trip/broken": "nowhere"}
    assert {(m.uid, m.gid, m.uname, m.gname) for m in members.values()} == {(0, 0, "", "")}
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        files = {m.name: archive.extractfile(m).read() for m in archive if m.isfile()}
    assert files == tree
    assert not [name for name in os.listdir(tmp_path) if name.startswith("twat-fs-")]


@pytest.mark.needs("bsdtar")
def test_a_tar_is_read_by_other_programs(main, box, tree, tmp_path):
    data, name = archived(box, main("--tar", "trip", "-p", DROP))
    (tmp_path / name).write_bytes(data)
    for number, reader in enumerate(("tar", need("bsdtar"))):
        out = tmp_path / str(number)
        out.mkdir()
        run(reader, "-xzf", tmp_path / name, "-C", out)
        files = [path for path in out.rglob("*") if path.is_file()]
        assert {path.relative_to(out).as_posix(): path.read_bytes() for path in files} == tree


def test_a_temporary_file_is_removed(program, box, tree, tmp_path):
    (tmp_path / "tmp").mkdir()
    assert program(
        "--tar", "trip", "-p", DROP, env={"TMPDIR": tmp_path / "tmp", "TEMP": tmp_path / "tmp"}
    ).stdout
    assert os.listdir(tmp_path / "tmp") == []


# What is left out, and what is refused ------------------------------------------------------------


EXCLUDED = [
    (["*.txt"], {"trip/empty.bin", "trip/sub/b.bin", "trip/z/y/x/deep", "trip/nothing/"}),
    (["sub"], {"trip/a.txt", "trip/empty.bin", "trip/z/y/x/deep", "trip/nothing/"}),
    (["sub/", "nothing/"], {"trip/a.txt", "trip/empty.bin", "trip/z/y/x/deep"}),
    (["trip/sub/*", "z/y", "nothing"], {"trip/a.txt", "trip/empty.bin"}),
    (["trip/sub/b.bin", "x", "sub/*.txt", "no*"], {"trip/a.txt", "trip/empty.bin"}),
]


@pytest.mark.parametrize("globs, names", EXCLUDED)
@pytest.mark.parametrize("option", ["--zip", "--tar"])
def test_what_a_glob_matches_is_left_out(main, box, tree, option, globs, names):
    arguments = [word for glob in globs for word in ("--exclude", glob)]
    data, _ = archived(box, main(option, "trip", *arguments, "-p", DROP))
    files = {name.rstrip("/") for name in names}
    if option == "--zip":
        assert set(unzipped(data)) == names
    else:
        assert {name for name, m in untarred(data).items() if m.isfile()} == files & set(tree)


WRONG = [
    (["-z", "trip", "other/trip"], 2, "two files or folders named 'trip'"),
    (["-z", "trip", "./trip"], 2, "two files or folders named 'trip'"),
    (["-z", "--tar", "trip"], 2, "--zip conflicts with --tar"),
    (["--exclude", "x", "trip"], 2, "--exclude requires --zip or --tar"),
    (["-z", "trip", "--exclude", "*"], 2, "all files are excluded"),
    (["-z", "-"], 2, "standard input"),
    (["-z"], 2, "requires files or folders"),
    (["-z", "missing"], 6, "missing: no such file"),
    (["-z", ""], 6, "no such file"),
]


@pytest.mark.parametrize("arguments, code, reason", WRONG)
def test_what_is_refused_before_anything_is_sent(
    main, box, tree, tmp_path, arguments, code, reason
):
    (tmp_path / "other" / "trip").mkdir(parents=True)
    done = main(*arguments, "-p", DROP)
    assert (done.code, done.out, box.tunnels) == (code, "", []) and reason in done.err, done.err


@posix
def test_links_that_stay_inside_are_stored_as_their_targets(main, box, tree, tmp_path):
    folder = tmp_path / "trip"
    (folder / "link.txt").symlink_to("a.txt")
    (folder / "sub" / "up").symlink_to("../z")
    (folder / "z" / "absolute").symlink_to(folder / "a.txt")
    files = unzipped(archived(box, main("-z", "trip", "-p", DROP))[0])
    more = {"trip/link.txt": tree["trip/a.txt"], "trip/z/absolute": tree["trip/a.txt"]}
    more["trip/sub/up/absolute"] = tree["trip/a.txt"]
    more["trip/sub/up/y/x/deep"] = tree["trip/z/y/x/deep"]
    assert files == {**tree, **more, "trip/nothing/": b""}


@posix
def test_a_path_that_is_a_link_is_followed(main, box, tree, tmp_path):
    (tmp_path / "named").symlink_to("trip")
    (tmp_path / "words").symlink_to("trip/a.txt")
    data, _ = archived(box, main("-z", "named", "words", "-p", DROP))
    assert {"named/a.txt", "words"} <= set(unzipped(data))
    data, _ = archived(box, main("--tar", "named", "words", "-p", DROP))
    assert untarred(data)["named"].isdir() and untarred(data)["words"].isfile()


@posix
def test_loops_are_cut(main, box, tree, tmp_path):
    (tmp_path / "trip" / "z" / "y" / "loop").symlink_to("../..")
    (tmp_path / "trip" / "self").symlink_to(".")
    (tmp_path / "trip" / "sub" / "there").symlink_to("../z")
    files = set(unzipped(archived(box, main("-z", "trip", "-p", DROP))[0]))
    assert files == {*tree, "trip/nothing/", "trip/sub/there/y/x/deep"}


@posix
@pytest.mark.parametrize(
    "target, reason",
    [
        ("/etc/passwd", "symbolic link out of the folder"),
        ("../../tripwire", "symbolic link out of the folder"),
        ("../..", "symbolic link out of the folder"),
        ("nowhere", "broken symbolic link"),
        ("bad", "broken symbolic link"),
    ],
)
def test_other_links_are_refused_by_name(main, box, tree, tmp_path, target, reason):
    (tmp_path / "tripwire").write_bytes(b"outside")
    (tmp_path / "trip" / "sub" / "bad").symlink_to(target)
    done = main("-z", "trip", "-p", DROP)
    assert (done.code, done.out, box.tunnels) == (6, "", [])
    assert f"trip/sub/bad: {reason}" in done.err
    assert main("-z", "trip", "--exclude", "bad", "-p", DROP).code == 0


@posix
def test_a_link_does_not_bring_back_what_is_excluded(main, box, tree, tmp_path):
    (tmp_path / "trip" / "again").symlink_to("sub/b.bin")
    (tmp_path / "trip" / "z" / "folder").symlink_to("../sub")
    data, _ = archived(box, main("-z", "trip", "--exclude", "sub", "-p", DROP))
    assert set(unzipped(data)) == {n for n in tree if "/sub/" not in n} | {"trip/nothing/"}


@posix
@pytest.mark.parametrize("option", ["--zip", "--tar"])
def test_sockets_and_pipes_are_skipped_with_a_warning(main, box, tree, tmp_path, option):
    os.mkfifo(tmp_path / "trip" / "fifo")
    with socket.socket(socket.AF_UNIX) as listener:
        os.chdir(tmp_path / "trip")
        listener.bind("sock")
        os.chdir(tmp_path)
        done = main(option, "trip", "-p", DROP)
    assert done.code == 0 and len(done.err.splitlines()) == 1
    assert "warning: skipped (not files): trip/fifo, trip/sock" in done.err
    done = main(option, "trip/fifo", "-p", DROP)
    assert done.code == 6 and "trip/fifo: is a pipe" in done.err


@posix
@pytest.mark.parametrize("name", ["trip/a.txt", "trip/sub"])
def test_what_may_not_be_read_is_named(program, box, tree, tmp_path, name):
    (tmp_path / name).chmod(0)
    before = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search"]
    done = program("-z", "trip", "-p", DROP, before=before if os.geteuid() == 0 else [])
    (tmp_path / name).chmod(0o700)
    assert (done.returncode, done.stdout, box.tunnels) == (6, "", [])
    assert f"{name}: permission denied" in done.stderr


SECRETS = [
    ".env",
    ".env.local",
    "id_rsa",
    "server.pem",
    "Vault.KDBX",
    ".aws/credentials",
    ".git/config",
]


@pytest.mark.parametrize("name", SECRETS)
def test_possible_secrets_are_named_before_anything_is_sent(main, box, tree, tmp_path, name):
    path = tmp_path / "trip" / "sub" / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"secret")
    box.fault("drop.example.org", "status", status=403)
    done = main("-z", "trip", "-p", DROP)
    shown = f"trip/sub/{name}" if "/" not in name else f"trip/sub/{name.partition('/')[0]}/"
    assert done.err.splitlines()[0] == f"twat-fs: warning: possible secrets: {shown}"
    assert done.code == 1
    quiet = main("-z", "trip", "-q", "-p", DROP)
    assert "warning" not in quiet.err
    box.complaints.clear()


def test_harmless_names_are_no_secrets(main, box, tree, tmp_path):
    for name in ("environment", "x.env", "paid_", "pem", "a.pem.txt"):
        (tmp_path / "trip" / name).write_bytes(b"")
    assert main("-z", "trip", "-p", DROP).err == ""


def test_many_secrets_are_one_line(main, box, tmp_path):
    (tmp_path / "keys").mkdir()
    for number in range(8):
        (tmp_path / "keys" / f"{number}.pem").write_bytes(b"")
    (line,) = main("-z", "keys", "-p", DROP).err.splitlines()
    assert line.endswith("keys/3.pem, keys/4.pem and 3 more")


def test_a_dry_run_shows_what_would_be_sent(main, box, tree):
    done = main("-z", "trip", "--dry-run", "-p", DROP)
    first, second, *_ = done.out.splitlines()
    assert done.code == 0 and not box.tunnels
    assert first == (
        "trip.zip: 5 files, 3.0 MiB: trip/a.txt, trip/empty.bin, trip/sub/b.bin,"
        " trip/sub/日本 ü😀.txt, trip/z/y/x/deep"
    )
    assert second.startswith("trip.zip  3.0 MiB  ")
    done = main("-z", "trip", "--dry-run", "--json", "-p", DROP)
    assert json.loads(done.out)["size"] > 3 * MIB and "5 files" in done.err


def test_a_bare_folder_names_zip_first(main, box, tree):
    done = main("trip", "-p", DROP)
    assert (done.code, done.out, box.tunnels) == (6, "", [])
    first, second = done.err.splitlines()[1].split("   or: ")
    assert (first, second[:8]) == ("  twat-fs -z trip", "tar cf -")


# While it is sent ---------------------------------------------------------------------------------


def change(path):
    with open(path, "ab") as file:
        file.write(b"more")


@pytest.mark.parametrize(
    "act, reason", [(change, "changed while being read"), (os.unlink, "no longer readable")]
)
def test_a_file_that_changes_while_it_is_sent_is_named(main, box, tree, act, reason):
    box.fault("drop.example.org", "status", times=1)
    path = os.path.join("trip", "sub", "b.bin")
    thread = threading.Thread(target=lambda: (until(lambda: box.uploads()), act(path)))
    thread.start()
    done = main("-z", "trip", "-p", DROP)
    thread.join()
    assert (done.code, done.out) == (6, "") and f"twat-fs: {path}: {reason}" in done.err
    assert "--exclude leaves it out" in done.err
    box.complaints.clear()


def test_an_archive_is_sent_again_from_its_start(main, box, tree):
    box.fault("drop.example.org", "status", times=1)
    files = unzipped(archived(box, main("-z", "trip", "-p", DROP, "--verify", "full"))[0])
    assert files == {**tree, "trip/nothing/": b""}


@pytest.mark.parametrize("host", ["catbox", "litterbox", "x0at", "tmpfiles", "filebin"])
def test_an_archive_goes_to_any_host(main, box, tree, host):
    done = main("-z", "trip", "-p", host, "--json")
    assert done.code == 0, done.err
    assert unzipped(box.stored[json.loads(done.out)["url"]].read()) == {
        **tree,
        "trip/nothing/": b"",
    }


def test_an_expiry_and_the_digest(main, box, tree):
    import hashlib

    done = main("-z", "trip", "-p", "litterbox", "--expire", "12h", "--json")
    report = json.loads(done.out)
    data = box.stored[report["url"]].read()
    assert (report["file"], report["size"]) == ("trip.zip", len(data))
    assert report["sha256"] == hashlib.sha256(data).hexdigest()


def test_an_archive_goes_to_s3_in_parts(s3, program, tmp_path):
    (tmp_path / "parts").mkdir()
    contents = {f"parts/{n:02}.bin": os.urandom(n * 300_000) for n in range(12)}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    folder = f"archive-{os.getpid()}/"
    env = {"AWS_S3_BUCKET": s3.bucket, **s3.env()}
    done = program("-p", "s3", "--no-check", "-z", "parts", "--remote-path", folder, env=env)
    assert done.returncode == 0, done.stderr
    stored = s3.client().get_object(Bucket=s3.bucket, Key=folder + "parts.zip")
    assert unzipped(stored["Body"].read()) == contents


# Memory -------------------------------------------------------------------------------------------

PEAK = """
import resource, subprocess, sys
done = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(done.returncode)
"""


def peak_of(box, folder, *argv):
    """The most memory that a program uses, in KiB; a child of ours would be charged for ours."""
    path = os.path.dirname(twat_fs.__file__)
    env = environment(box, {"COVERAGE_PROCESS_START": None, "PYTHONPATH": path})
    measured = [sys.executable, "-c", PEAK, *argv]
    done = subprocess.run(
        measured, cwd=folder, env=env, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def peak(box, *arguments):
    return peak_of(box, None, *command(arguments))


READ = """
import twat_fs
members = twat_fs.Walker([], False, None).members(["large"])
for block in twat_fs.read_body(twat_fs.zip_content(members, utc=False, checksums=True)):
    pass
"""


@posix
def test_4_gib_are_read_in_little_memory(box, tmp_path):
    (tmp_path / "large").mkdir()
    sparse(tmp_path / "large" / "a", 4 * GIB)
    bare = peak_of(box, tmp_path, sys.executable, "-c", "import twat_fs")
    assert peak_of(box, tmp_path, sys.executable, "-c", READ) - bare < 25 * 1024


@posix
def test_100_mib_are_sent_in_little_memory(box, tmp_path):
    (tmp_path / "large").mkdir()
    sparse(tmp_path / "large" / "a", 100 * MIB)
    bare = peak(box, "--version")
    with Server(Keeper()) as server:
        assert (
            peak(box, "-z", tmp_path / "large", "-p", server.url, "--no-check") - bare < 25 * 1024
        )


def test_a_tar_is_in_memory_one_member_at_a_time():
    """The headers of 100,000 files took 150 MB."""

    def members():
        yield twat_fs.Member("a", 0o644, 0)
        pytest.fail("the second member was needed for the first")

    assert next(iter(twat_fs.tar_content(members())))


@posix
def test_10000_files_take_1_kib_each(box, tmp_path):
    (tmp_path / "many").mkdir()
    for number in range(10_000):
        (tmp_path / "many" / f"a-file-with-a-name-{number:06}.txt").write_bytes(b"x")
    bare = peak(box, "--version")
    with Server(Keeper()) as server:
        used = peak(box, "-z", tmp_path / "many", "-p", server.url, "--no-check") - bare
    assert used < 25 * 1024 + 10_000
