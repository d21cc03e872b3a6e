"""A backup taken under load comes back whole: judged by PostgreSQL's own tools and by the rows."""

import os
import threading

from harness import judges
from harness.load import Load
from harness.wait import until


def test_backup_under_load_is_consistent_at_its_end(lab, major):
    server, agent = lab.protected(major)
    with Load(server):
        backup = agent.backup("--label", "under load")
    assert backup["label"] == "under load"
    assert backup["cluster"] == "main"
    assert str(backup["system_identifier"]) == server.system_identifier()
    assert backup["timeline"] == 1
    assert backup["type"] == "full" and backup["parent"] is None
    assert backup["checksum_failures"] == 0
    assert backup["bytes_stored"] > 0 and backup["files"] > 500

    target = lab.place("r")
    document = agent.restore(target, "--to-backup-end", "--action", "promote")
    assert document["reachable"] is True
    assert document["backup"] == backup["id"]
    assert document["bytes_written"] > 0
    judges.verifybackup(target, major, lab.root)

    started = lab.place("r")
    agent.restore(started, "--to-backup-end", "--action", "promote", "--start")
    clone = lab.attach(started, server)
    until("the clone to be promoted", lambda: clone.sql("SELECT pg_is_in_recovery()") == "f")
    assert judges.pgbench_balanced(clone) > 0
    assert clone.sql("SELECT count(*) FROM noise") == "20000"
    assert clone.sql("SELECT count(*) FROM scratch") == "0", "unlogged tables come back empty"
    judges.amcheck(clone)
    clone.stop()
    if major == 15:
        judges.checksums(clone)


def test_latest_brings_every_row_back(lab, major):
    server, agent = lab.protected(major)
    with Load(server):
        agent.backup()
    server.sql("CREATE TABLE after_the_backup AS SELECT generate_series(1, 1000) AS i")
    server.archive_all()
    expected = judges.fingerprint(server)

    target = lab.place("r")
    document = agent.restore(target, "--to-latest", "--start")
    assert document["target"]["kind"] == "latest"
    assert document["target"]["timeline"] == 1
    assert document["side"] is True
    clone = lab.attach(target, server)
    until("the clone to be promoted", lambda: clone.sql("SELECT pg_is_in_recovery()") == "f")
    judges.same_rows(expected, judges.fingerprint(clone))
    judges.amcheck(clone)
    assert clone.timeline() == 2
    assert server.answers(), "the original is not touched"


def test_a_first_backup_needs_no_archiving_at_all(lab, major):
    server = lab.server(major, filled=(1, 0), archive_mode="off")
    agent = lab.agent(server)
    agent.init()
    expected = judges.fingerprint(server)
    agent.backup()
    server.stop()

    target = lab.place("r")
    agent.restore(target, "--to-backup-end", "--action", "promote", "--start")
    clone = lab.attach(target, server)
    until("the clone to be promoted", lambda: clone.sql("SELECT pg_is_in_recovery()") == "f")
    judges.same_rows(expected, judges.fingerprint(clone))


def test_second_backup_restores_alike_and_both_are_listed(lab, major):
    server, agent = lab.protected(major)
    first = agent.backup()
    server.sql("UPDATE noise SET a = md5(a) WHERE id % 50 = 0")
    second = agent.backup("--type", "full")
    assert [b["id"] for b in sorted(agent.backups(), key=lambda b: b["started_at"])] == \
        [first["id"], second["id"]]
    shown = agent.json("show", second["id"])
    assert shown["stop_lsn"] == second["stop_lsn"]
    server.archive_all()
    expected = judges.fingerprint(server)
    for number, chosen in enumerate((first, second)):
        target = lab.place("r")
        document = agent.restore(target, "--to-latest", "--backup", chosen["id"], "--start")
        assert document["backup"] == chosen["id"]
        clone = lab.attach(target, server)
        until("the clone to be promoted", lambda c=clone: c.sql("SELECT pg_is_in_recovery()") == "f")
        judges.same_rows(expected, judges.fingerprint(clone))
        clone.stop()
    assert agent.run("verify").code == 0


class Churn(threading.Thread):
    """Files come, grow, shrink and go, relations and others, until the block ends."""

    def __init__(self, server):
        super().__init__()
        self.server = server
        self.rounds = 0
        self.enough = threading.Event()
        self.failure = None

    def run(self):
        grows = self.server.data / "grows.txt"
        try:
            while not self.enough.is_set():
                number = self.rounds
                fleeting = self.server.data / f"fleeting{number % 8}.txt"
                fleeting.write_bytes(b"x" * 100000)
                with open(grows, "ab") as file:
                    file.write(b"line\n" * 4000)
                self.server.sql(f"""
                    CREATE TABLE fleeting_{number} AS SELECT generate_series(1, 2000) AS i;
                    INSERT INTO growing SELECT i, repeat('g', 500) FROM generate_series(1, 400) i;
                    DELETE FROM shrinking WHERE i > 10000 - 500 * ({number} + 1)""")
                self.server.sql("VACUUM (TRUNCATE) shrinking")
                if number >= 3:
                    self.server.sql(f"DROP TABLE fleeting_{number - 3}")
                    (self.server.data / f"fleeting{(number - 3) % 8}.txt").unlink()
                if number % 10 == 9:
                    self.server.sql("CHECKPOINT")
                self.rounds += 1
        except Exception as error:  # shown by __exit__
            self.failure = error

    def __enter__(self):
        self.server.sql("CREATE TABLE growing (i int, t text); CREATE TABLE shrinking AS "
                        "SELECT i, repeat('s', 500) AS t FROM generate_series(1, 10000) i")
        self.start()
        until("the churn to begin", lambda: self.rounds > 3 or self.failure)
        return self

    def __exit__(self, *_):
        self.enough.set()
        self.join()
        assert self.failure is None, self.failure


def test_files_that_grow_shrink_and_vanish_meanwhile(lab, major):
    server, agent = lab.protected(major, scale=1)
    with Churn(server) as churn:
        before = churn.rounds
        backup = agent.backup("--max-rate", "16MB")
        during = churn.rounds - before
    assert during >= 5, f"only {during} rounds while the backup ran: nothing was tried"
    assert backup["checksum_failures"] == 0
    server.archive_all()
    expected = judges.fingerprint(server)

    target = lab.place("r")
    agent.restore(target, "--to-backup-end")
    judges.verifybackup(target, major, lab.root)
    lines = (target / "grows.txt").read_bytes()
    assert lines and not lines.replace(b"line\n", b"").strip(b"\0line\n")

    target = lab.place("r")
    agent.restore(target, "--to-latest", "--start")
    clone = lab.attach(target, server)
    until("the clone to be promoted", lambda: clone.sql("SELECT pg_is_in_recovery()") == "f")
    judges.same_rows(expected, judges.fingerprint(clone))
    judges.amcheck(clone)


def damage(server, file):
    """Another bit in the middle of the fourth page."""
    server.stop()
    with open(file, "r+b") as relation:
        relation.seek(8192 * 3 + 4000)
        byte = relation.read(1)
        relation.seek(8192 * 3 + 4000)
        relation.write(bytes([byte[0] ^ 0x40]))
    server.start()


def test_what_the_server_skips_is_no_damage(lab, major):
    server, agent = lab.protected(major, scale=1, checksums=None if major >= 18 else True)
    place = lab.place("ts")
    place.mkdir()
    server.sql(f"CREATE TABLESPACE fast LOCATION '{place}'")
    server.sql("CREATE TABLE t TABLESPACE fast AS SELECT i, repeat('x', 100) FROM "
               "generate_series(1, 5000) i")
    oid = server.sql("SELECT oid FROM pg_tablespace WHERE spcname = 'fast'")
    for lookalike in ("base/5", f"pg_tblspc/{oid}/PG_{major}_1/5", str(place)[1:] + "/PG_1_1"):
        directory = server.data / "x" / lookalike
        directory.mkdir(parents=True)
        (directory / "1259").symlink_to("/tmp")
        os.mkfifo(directory / "1260")
    os.mkfifo(server.data / "base" / "1" / "1261")
    document = agent.backup()
    assert document["checksum_failures"] == 0, document

    file = server.data / server.sql("SELECT pg_relation_filepath('t')")
    damage(server, file)
    done = agent.run("backup", "--checkpoint", "fast", "--output", "json", expect=4)
    assert done.json()["checksum_failures"] == 1, done
    assert str(file.relative_to(server.data)) in done.err, done


def test_damaged_page_is_reported_and_the_backup_marked(lab, major):
    # From 18 on initdb turns checksums on by itself.
    server, agent = lab.protected(major, scale=1, checksums=None if major >= 18 else True)
    assert server.sql("SHOW data_checksums") == "on"
    file = server.data / server.sql("SELECT pg_relation_filepath('noise')")
    damage(server, file)
    done = agent.run("backup", "--checkpoint", "fast", "--output", "json", expect=4)
    document = done.json()
    assert document["checksum_failures"] == 1
    assert str(file.relative_to(server.data)) in done.err, done
    assert "pg_amcheck" in done.err and "pgagent list" in done.err, "it says what to do now"
    listed = agent.backups()
    assert [b["id"] for b in listed] == [document["id"]], "committed, not thrown away"
    assert listed[0]["checksum_failures"] == 1, "and marked"
    plan = agent.run("restore", "-D", lab.place("r"), "--to-backup-end", "--plan")
    assert "DAMAGED" in plan.out, plan
    agent.run("verify")


def test_restore_refuses_what_it_would_overwrite(lab, major):
    server, agent = lab.protected(major, scale=1)
    agent.backup()
    busy = lab.place("r")
    busy.mkdir()
    (busy / "precious").write_text("mine", encoding="utf-8")
    done = agent.run("restore", "-D", busy, "--to-backup-end", expect=(1, 2))
    assert str(busy) in done.err
    assert [p.name for p in busy.iterdir()] == ["precious"]
    agent.run("restore", "-D", server.data, "--to-backup-end", "--yes", expect=(1, 2))
    assert server.answers()


def test_plan_changes_nothing_and_says_what_would_happen(lab, major):
    server, agent = lab.protected(major, scale=1)
    backup = agent.backup()
    server.archive_all()
    before = agent.objects()
    target = lab.place("r")
    plan = agent.restore(target, "--to-latest", "--plan")
    assert plan["reachable"] is True and plan["problems"] == []
    assert plan["backup"] == backup["id"]
    assert plan["bytes_to_write"] > 0 and plan["bytes_free"] > 0
    assert plan["wal"]["segments"] >= 1
    assert not target.exists()
    assert agent.objects() == before


def test_a_machine_with_only_repository_and_key_file_restores(lab, major):
    server, agent = lab.protected(major)
    agent.backup()
    server.archive_all()
    expected = judges.fingerprint(server)
    server.stop()
    elsewhere = lab.place("m")
    elsewhere.mkdir()
    repo = elsewhere / "repo"
    agent.repo.rename(repo)
    key = elsewhere / "k"
    agent.key.rename(key)
    agent.config.unlink()
    direct = ["--repo", repo, "--key-file", key]
    listed = agent.json("list", *direct, config=False)
    assert len(listed["backups"]) == 1
    target = lab.place("r")
    agent.json("restore", "-D", target, "--to-latest", "--start", *direct, config=False)
    clone = lab.attach(target, server)
    until("the clone to be promoted", lambda: clone.sql("SELECT pg_is_in_recovery()") == "f")
    judges.same_rows(expected, judges.fingerprint(clone))
