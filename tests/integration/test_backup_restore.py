"""A backup taken under load comes back whole: judged by PostgreSQL's own tools and by the rows."""

import pytest

from harness import judges
from harness.load import Load, fill
from harness.postgres import DEBIAN_BIN, run
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
    server = lab.server(major, archive_mode="off")
    fill(server, 1)
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


@pytest.mark.only(15)
def test_pg_basebackup_of_the_restored_server_starts(lab, major):
    server, agent = lab.protected(major)
    agent.backup()
    server.archive_all()
    expected = judges.fingerprint(server)
    target = lab.place("r")
    agent.restore(target, "--to-latest", "--start")
    clone = lab.attach(target, server)
    until("the clone to be promoted", lambda: clone.sql("SELECT pg_is_in_recovery()") == "f")

    copy = lab.server(major, start=False)
    run(["rm", "-rf", copy.data])
    run([DEBIAN_BIN / "pg_basebackup", "-D", copy.data, "-h", clone.sockets, "-p", clone.port,
         "-U", "postgres", "-c", "fast", "-X", "stream"])
    copy.sockets.mkdir(exist_ok=True)
    copy.start()
    judges.same_rows(expected, judges.fingerprint(copy))


def test_damaged_page_is_reported_and_the_backup_marked(lab, major):
    server, agent = lab.protected(major)
    file = server.data / server.sql("SELECT pg_relation_filepath('noise')")
    server.stop()
    with open(file, "r+b") as relation:
        relation.seek(8192 * 3 + 4000)
        byte = relation.read(1)
        relation.seek(8192 * 3 + 4000)
        relation.write(bytes([byte[0] ^ 0x40]))
    server.start()
    done = agent.run("backup", "--checkpoint", "fast", "--output", "json", expect=4)
    assert done.json()["checksum_failures"] == 1
    assert file.name in done.err or "noise" in done.err, done
    assert len(agent.backups()) == 1, "committed and marked, not thrown away"
    assert agent.backups()[0]["checksum_failures"] == 1


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
