"""The independent decoder: what pgagent stored is read without it, and nothing damaged is read silently."""

import hashlib
import os
import random
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from harness import judges
from harness.needed import load_reader
from harness.postgres import Postgres, clean_environment
from harness.wait import PATIENCE, until

TREE = Path(__file__).resolve().parents[2]
READER = TREE / "tests" / "reader" / "reader.py"
GOLDEN = TREE / "tests" / "golden" / "v1"
SECRETS = {"sealed": ("--key-file", GOLDEN / "sealed.key"), "clear": ()}


def read(*args, expect=0, reader=READER):
    done = subprocess.run([sys.executable, str(reader), *map(str, args)], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          errors="replace", env=clean_environment(), timeout=120 * PATIENCE,
                          check=False)
    shown = f"{args}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stderr, shown
    assert expect is None or done.returncode == expect, shown
    return done


def start(lab, data, server):
    clone = Postgres(server.major, data, lab.place("s"), lab.port())
    clone.options = ["-c archive_mode=off"]
    lab.servers.append(clone)
    return clone.start()


# --- repositories of this version, of real servers ----------------------------------------------


def test_backups_start_without_pgagent(lab, major):
    server, agent = lab.protected(major, scale=1)
    place = lab.place("ts")
    place.mkdir()
    server.sql(f"CREATE TABLESPACE far LOCATION '{place}'")
    server.sql("CREATE TABLE in_far TABLESPACE far AS SELECT i, md5(i::text) t "
               "FROM generate_series(1, 3000) i")
    agent.backup()
    server.sql("UPDATE in_far SET t = 'changed' WHERE i % 50 = 0; "
               "UPDATE pgbench_accounts SET filler = 'x' WHERE aid % 1000 = 0; CHECKPOINT")
    expected = judges.fingerprint(server)
    backup = agent.backup()
    server.sql("CREATE TABLE later AS SELECT generate_series(1, 100) i")
    latest = judges.fingerprint(server)
    server.archive_all()
    oid = server.sql("SELECT oid FROM pg_tablespace WHERE spcname = 'far'")

    # The repository brings its own reader.
    reader = agent.repo / "docs" / "1" / "reader.py"
    assert reader.read_bytes() == READER.read_bytes()
    head = (agent.repo, "--key-file", agent.key)
    listed = read(*head, "list", reader=reader).stdout
    assert [b["id"] in listed for b in agent.backups()] == [True, True]
    done = read(*head, "restore", backup["id"], lab.root / "o", expect=1)
    assert str(place) in done.stderr and "not empty" in done.stderr
    for target, wal in (("x", True), ("y", False)):
        data = lab.root / target
        read(*head, "restore", backup["id"], data, "--tablespace", f"{oid}={lab.place('xts')}",
             *(() if wal else ("--no-wal",)), reader=reader)
        judges.verifybackup(data, major, lab.root, parse_wal=wal and major == 15,
                            changed=["tablespace_map"])
    judges.same_rows(expected, judges.fingerprint(start(lab, lab.root / "x", server)))

    # And goes on from there, to the end of the archive.
    command = f"{sys.executable} {reader} {agent.repo} --key-file {agent.key} wal %f \"%p\""
    with open(lab.root / "y" / "postgresql.auto.conf", "a", encoding="utf-8") as conf:
        conf.write(f"restore_command = '{command}'\n")
    (lab.root / "y" / "recovery.signal").touch()
    clone = start(lab, lab.root / "y", server)
    until("promotion", lambda: clone.sql("SELECT pg_is_in_recovery()") == "f")
    judges.same_rows(latest, judges.fingerprint(clone))


@pytest.mark.only(15)
def test_init_puts_documents_where_they_are_missing_and_nowhere_else(lab, major):
    agent = lab.agent(lab.server(major))
    agent.init()
    docs = agent.repo / "docs" / "1"
    assert (docs / "FORMAT.md").read_bytes() == (TREE / "lib/repo/FORMAT.md").read_bytes()
    before = {p.name: p.stat().st_mtime_ns for p in docs.iterdir()}
    agent.init()
    assert {p.name: p.stat().st_mtime_ns for p in docs.iterdir()} == before
    (docs / "FORMAT.md").unlink()
    (docs / "reader.py").chmod(0o600)
    (docs / "reader.py").write_text("older\n", encoding="utf-8")
    assert "docs/1" in agent.init().out
    assert (docs / "FORMAT.md").exists()
    assert (docs / "reader.py").read_text(encoding="utf-8") == "older\n"
    newer = [p for p in docs.iterdir() if p.name.startswith("reader-")]
    assert len(newer) == 1 and newer[0].read_bytes() == READER.read_bytes()


# --- golden repositories: written once, readable for ever ----------------------------------------


def copy_of(lab, name):
    """Reading pins, and a test damages: never in the tree itself."""
    copy = lab.place(name)
    shutil.copytree(GOLDEN / name, copy)
    for secret in GOLDEN.glob(f"{name}.*"):
        shutil.copy(secret, lab.root / secret.name)
        (lab.root / secret.name).chmod(0o600)
    return copy


def secret_of(lab, name):
    return ("--key-file", lab.root / "sealed.key") if name == "sealed" else ()


def expected_files(name, backup):
    """{path: (mode, size, SHA-256)}; directories have neither size nor digest."""
    found = {}
    for line in (GOLDEN / "expected" / f"{name}-{backup}").read_text(encoding="utf-8").splitlines():
        mode, size, digest, path = line.split(" ", 3)
        found[path] = (int(mode, 8), size, digest)
    return found


def backups_of(name):
    return sorted(p.name[len(name) + 1:] for p in (GOLDEN / "expected").glob(f"{name}-*"))


def compare(data, expected, changed=()):
    for path, (mode, size, digest) in expected.items():
        found = data / path
        if path in changed:
            continue
        assert found.stat().st_mode & 0o7777 == mode, path
        if digest != "-":
            content = found.read_bytes()
            assert (str(len(content)), hashlib.sha256(content).hexdigest()) == (size, digest), path
    there = {str(Path(where, name).relative_to(data)) for where, _, names
             in os.walk(data, followlinks=True) for name in names}
    files = {p for p, e in expected.items() if e[2] != "-"}
    assert files <= there
    return there - files


def test_whoever_needs_the_reader_can_read_it_first():
    lines = READER.read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 420 and max(map(len, lines)) <= 132


def test_golden_repositories_are_as_they_were_written():
    sums = {}
    for line in (GOLDEN / "SHA256SUMS").read_text(encoding="utf-8").splitlines():
        digest, path = line.split("  ", 1)
        sums[path] = digest
    found = {str(p.relative_to(GOLDEN)): hashlib.sha256(p.read_bytes()).hexdigest()
             for p in GOLDEN.rglob("*") if p.is_file() and p.name != "SHA256SUMS"}
    assert found == sums, "objects are written once and never changed"


@pytest.mark.parametrize("name", SECRETS)
def test_the_reader_restores_golden_repositories(lab, name):
    head = (GOLDEN / name, *SECRETS[name])
    listed = read(*head, "list").stdout
    for backup in backups_of(name):
        assert backup in listed
        data = lab.place("x")
        read(*head, "restore", backup, data, "--tablespace", f"16400={lab.place('ts')}")
        more = compare(data, expected_files(name, backup), ["tablespace_map"])
        assert {p for p in more if not p.startswith("pg_wal/")} == {"backup_manifest"} | {
            p for p in more if p.endswith(".from-backup")}
        assert any(p.startswith("pg_wal/0000") for p in more)
    assert f"hidden/{backups_of(name)[1]}" in listed and f"keeps/{backups_of(name)[2]}" in listed
    assert "20261124T09" not in listed
    # As restore_command: delivered, proven absent, a hole that is no end.
    repo, dest = copy_of(lab, name), lab.root / "wal"
    head = (repo, *secret_of(lab, name), "wal")
    for segment in ("B", "D"):
        read(*head, f"00000001000000000000000{segment}", dest)
        assert dest.stat().st_size == 1 << 20
    read(*head, "00000001000000000000000E", dest, expect=1)
    read(*head, "00000001.history", dest, expect=1)
    folder = next(repo.glob("main/*/wal/*/*"))
    folder.chmod(0)     # what can't be looked for is not proven absent
    read(*head, "00000001000000000000000E", dest, expect=200)
    folder.chmod(0o700)
    read(*head, "00000001000000000000000E", expect=200)     # nor by half a command
    read(*head[:-1], "list", "all", expect=2)
    read(*head[:-1], "restore", "wal", lab.place("x"), expect=3)    # another command, whatever it is told
    next(repo.glob("main/*/wal/*/*/*0C")).unlink()
    read(*head, "00000001000000000000000C", dest, expect=200)
    # The last one ends in a segment that is there as slices.
    segment = (data / "pg_wal" / "00000001000000000000000D").read_bytes()
    assert len(segment) == 1 << 20 and segment[0x1D190] != 0 and not any(segment[0x1D1A8:])
    read(GOLDEN / name, *SECRETS[name], "restore", "20200101T000000Z-0000000000000000",
         lab.place("x"), expect=3)


@pytest.mark.only(15)
@pytest.mark.parametrize("name", SECRETS)
def test_pgagent_reads_golden_repositories(lab, major, name):
    repo = copy_of(lab, name)
    agent = lab.agent(lab.server(major, start=False))
    head = ("--repo", repo, *secret_of(lab, name))
    agent.run("verify", *head, config=False)
    for backup in backups_of(name):
        data = lab.place("x")
        hidden = backup.startswith("20261124T02")
        agent.run("restore", *head, "--backup", backup, "--to-backup-end", "-D", data,
                  "--tablespace-dir", lab.place("ts"), config=False, expect=3 if hidden else 0)
        if hidden:
            continue
        compare(data, expected_files(name, backup), ["tablespace_map"])
    agent.run("export", backups_of(name)[0], *head, "--to", lab.root / "e", config=False)
    with open(lab.root / "e" / "base.tar", "rb") as tar:
        assert tar.read(12) == b"backup_label"


def test_every_secret_opens_and_no_other_does(lab):
    repo = GOLDEN / "sealed"
    for kind in ("key", "recovery", "passphrase"):
        option = {"key": "--key-file", "recovery": "--recovery-code-file",
                  "passphrase": "--passphrase-file"}[kind]
        assert "20261124T03" in read(repo, option, GOLDEN / f"sealed.{kind}", "list").stdout
        wrong = lab.root / f"wrong.{kind}"
        text = (GOLDEN / f"sealed.{kind}").read_text(encoding="utf-8").rstrip("\n")
        wrong.write_text(text[:-1] + ("1" if text[-1] != "1" else "2") + "\n", encoding="utf-8")
        read(repo, option, wrong, "list", expect=4)
    assert "recovery code" in read(repo, "list", expect=4).stderr
    read(lab.root, "list", expect=1)


# What a restore of the last backup reads, and what only the list does.
OBJECTS = {"FORMAT": "restore", "keys/*key*": "restore", "main/*/backups/*03": "restore",
           "main/*/packs/*01/*": "restore",
           "main/*/packs/*03/*": "restore", "main/*/wal/*/*/*0B": "restore",
           "main/*/wal/*/*/*0D.*": "restore", "main/*/hidden/*": "list",
           "main/*/keeps/*": "list", "main/*/backups/*09": "list"}


def in_process(monkeypatch, *args, reader=None):
    """The reader without the start of an interpreter: its exit code."""
    reader = reader or load_reader()
    monkeypatch.setitem(sys.modules, "reader", reader)  # its workers look it up
    monkeypatch.setattr(sys, "argv", ["reader.py", *map(str, args)])
    return reader.main()


@pytest.mark.parametrize("name", SECRETS)
def test_no_flipped_byte_is_read_silently(lab, name, monkeypatch, capfd):
    """At the head, in the middle and at the end of every kind of object; and half of it gone.
    Only of a sealed object's trailer the reader has no need: what it makes is right without."""
    repo = copy_of(lab, name)
    head = (repo, *secret_of(lab, name))

    def ask(verb):
        data = lab.place("x")
        more = () if verb == "list" else (backups_of(name)[-1], data, "--tablespace",
                                          f"16400={lab.place('ts')}")
        code = in_process(monkeypatch, *head, verb, *more)
        said = capfd.readouterr()
        control = data / "global" / "pg_control"
        assert verb == "list" or (code == 0) == control.exists()
        if code == 0 and verb == "restore":
            compare(data, expected_files(name, backups_of(name)[-1]), ["tablespace_map"])
        return code, said.out + said.err

    for pattern, verb in OBJECTS.items():
        if name == "clear" and pattern.startswith("keys/"):
            pattern = "keys/clear"
        path = sorted(repo.glob(pattern))[0]
        whole = path.read_bytes()
        trailer = len(whole) - 32 if whole.startswith(b"PGAGENT1") else len(whole)
        places = (9, 70, len(whole) // 2, len(whole) - 25, len(whole) - 2)
        damages = [whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1:]
                   for at in places]
        for at, damaged in zip((*places, 0, 0), [*damages, whole[:len(whole) // 2], b""]):
            path.chmod(0o600)
            path.write_bytes(damaged)
            code, said = ask(verb)
            assert code in ((0,) if at >= trailer else (1, 4)), f"{path} at {at}: {code}, {said}"
            assert said.strip()
        path.unlink()
        code, said = ask(verb)
        assert verb == "list" or code in (1, 3, 4) and said.strip(), f"{path} gone: {code}, {said}"
        path.write_bytes(whole)
    assert ask("list")[0] == 0 and ask("restore")[0] == 0


def other_page(reader):
    frames = reader.Backup.frames

    def change(self, refs, cls):
        for ref, data in frames(self, refs, cls):
            yield ref, bytes([data[0] ^ 1]) + data[1:] if cls == reader.PAGES else data
    reader.Backup.frames = change


def other_sum(reader):
    shard = reader.Backup.shard

    def change(self, *reference):
        ((frame, offset, tag, crc), *pages), last = shard(self, *reference)
        return [(frame, offset, tag, (crc or 0) ^ 1), *pages], last
    reader.Backup.shard = change


@pytest.mark.parametrize("change, complaint", [(other_page, "page [0-9]+ is damaged"),
                                               (other_sum, "CRC or size are not")])
@pytest.mark.parametrize("name", SECRETS)
def test_what_is_not_as_the_map_says_is_named(lab, name, monkeypatch, capfd, change, complaint):
    """A seal holds what was sealed; that it is the page, the tag says; the file, the CRC."""
    reader, data = load_reader(), lab.place("x")
    change(reader)
    asked = (GOLDEN / name, *SECRETS[name], "restore", backups_of(name)[0], data,
             "--tablespace", f"16400={lab.place('ts')}")
    assert in_process(monkeypatch, *asked, reader=reader) == 4
    assert re.search(f"{data}/.*: {complaint}", capfd.readouterr().err)
    assert not (data / "global" / "pg_control").exists()


def test_crcs_of_pieces_make_up_that_of_the_whole():
    reader, seed = load_reader(), random.Random(3)

    def crc(data):
        c = 0xFFFFFFFF
        for byte in data:
            c ^= byte
            for _ in range(8):
                c = c >> 1 ^ (0x82F63B78 if c & 1 else 0)
        return c ^ 0xFFFFFFFF
    assert crc(b"123456789") == 0xE3069283
    for length in (0, 1, 2, 31, 512, 8192):
        first, second = seed.randbytes(100), seed.randbytes(length)
        assert reader.crc_join(crc(first), crc(second), length) == crc(first + second)
        assert reader.crc_join(crc(first), None, length) == crc(first + bytes(length))
        assert reader.crc_join(0, crc(second), length) == crc(second)
