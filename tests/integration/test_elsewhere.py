"""Restored to go on living somewhere else: as a standby, without an agent, with less memory, with the code alone."""

import re
import shlex
import subprocess
import textwrap
import time
from pathlib import Path

import pytest

from harness import judges
from harness.agent import program
from harness.postgres import DEBIAN_BIN, run
from harness.restored import forget
from harness.wait import PATIENCE, until

# What a standby asks for and what recovery takes from pg_wal is one thing from 15 on.
pytestmark = pytest.mark.only(15, 18)

# Of itself a standby asks again every 5 s.
IMPATIENT = ("--set", "wal_retrieve_retry_interval=200ms")


def left_running(lab, agent, server, *args):
    """(server, document) of what `restore --start` left."""
    target = lab.place("r")
    document = agent.restore(target, *args, "--start")
    return lab.attach(target, server), document


def follows(primary, standby, rows):
    """A row written now is read there, by way of the archive."""
    primary.sql(f"CREATE TABLE IF NOT EXISTS seen (i int); INSERT INTO seen VALUES ({rows})")
    primary.archive_all()
    until(f"row {rows} to arrive", lambda: standby.psql(
        f"SELECT 1 FROM seen WHERE i = {rows}", check=False).stdout.strip() == "1")


def test_a_standby_follows_the_archive_and_then_the_timeline_of_a_promotion(lab, major):
    primary, agent = lab.protected(major, scale=1, primary_conninfo="host=/nonexistent",
                                   primary_slot_name="theirs", max_connections="40")
    agent.backup()
    standby, document = left_running(lab, agent, primary, "--standby", *IMPATIENT)
    assert document["standby"] is True and document["promoted"] is False
    assert (standby.data / "standby.signal").exists()
    assert not (standby.data / "recovery.signal").exists()
    assert standby.sql("SELECT pg_is_in_recovery()") == "t"
    assert standby.sql("SHOW primary_conninfo") == "" == standby.sql("SHOW primary_slot_name")
    assert standby.sql("SHOW archive_mode") == "on"
    assert "--pin" not in standby.sql("SHOW restore_command"), "it would hold the backup for ever"
    follows(primary, standby, 1)

    # Another takes over; this one goes with it.
    other, _ = left_running(lab, agent, primary, "--standby", *IMPATIENT)
    follows(primary, other, 2)
    primary.stop()
    other.pg_ctl("-w", "promote")
    assert other.timeline() == 2
    follows(other, standby, 3)
    judges.same_rows(judges.fingerprint(other), judges.fingerprint(standby))
    # Stopped for a while, it goes on where it was, by the command that restore printed.
    standby.stop()
    follow = lab.start_by_hand(document, standby.data, primary)
    follows(other, follow, 4)
    # And is promoted from there, whatever became of the repository: the history of 2 is asked for.
    expected = judges.fingerprint(other)
    agent.repo.rename(lab.place("gone"))
    began = time.monotonic()
    follow.pg_ctl("-w", "-t", 60, "promote")
    assert time.monotonic() - began < 10 * PATIENCE
    assert follow.timeline() == 3
    judges.same_rows(expected, judges.fingerprint(follow))


def test_a_promotion_does_not_wait_for_a_repository_that_cannot_be_reached(lab, major):
    primary, agent = lab.protected(major, scale=1)
    agent.backup()
    standby, _ = left_running(lab, agent, primary, "--standby", *IMPATIENT)
    expected = judges.fingerprint(primary)
    agent.repo.rename(lab.place("gone"))
    log = standby.log.stat().st_size
    until("archive-get to be asked in vain", lambda: b"not" in standby.log.read_bytes()[log:] and
          str(agent.repo).encode() in standby.log.read_bytes()[log:], 30)
    began = time.monotonic()
    standby.pg_ctl("-w", "-t", 60, "promote")
    assert time.monotonic() - began < 10 * PATIENCE
    assert standby.sql("SELECT pg_is_in_recovery()") == "f"
    judges.same_rows(expected, judges.fingerprint(standby))
    assert not any("FATAL" in line and "restore_command" in line
                   for line in standby.log.read_text("utf-8", "replace").splitlines())


def test_a_standby_that_fell_behind_is_seeded_again_with_what_differs(lab, major):
    primary, agent = lab.protected(major, scale=2)
    agent.backup()
    standby, _ = left_running(lab, agent, primary, "--standby", *IMPATIENT, "--set",
                              f"primary_conninfo={primary.conninfo}")
    until("it to stream", lambda: primary.sql("SELECT count(*) FROM pg_stat_replication") == "1")
    primary.sql("CREATE TABLE streamed (i int)")
    until("the table to arrive", lambda: standby.psql(
        "SELECT * FROM streamed", check=False).returncode == 0)
    standby.stop()
    for number in range(3):
        primary.sql(f"UPDATE pgbench_accounts SET abalance = {number} WHERE aid <= 5000")
        primary.archive_all()
    primary.sql("CHECKPOINT")
    backup = agent.backup()["id"]
    primary.sql("CREATE TABLE later AS SELECT 1 AS i")
    expected = judges.fingerprint(primary)

    document = agent.restore(standby.data, "--standby", "--delta", "--discard-wal", "--start",
                             "--set", f"primary_conninfo={primary.conninfo}")
    assert document["backup"] == backup
    assert document["bytes_written"] < document["bytes_reused"] / 2
    again = lab.attach(standby.data, primary)
    until("it to have all", lambda: again.psql("SELECT * FROM later", check=False).returncode == 0)
    judges.same_rows(expected, judges.fingerprint(again))
    # A password would be in the file, and is said to be.
    done = agent.run("restore", "-D", lab.place("r"), "--standby", "--plan", "--set",
                     "primary_conninfo=host=db1 password=secret")
    assert "passfile" in done.err and "secret" not in done.out


def test_with_its_wal_in_place_a_copy_needs_no_agent(lab, major):
    server, agent = lab.protected(major, scale=1)
    agent.backup()
    server.sql("CREATE TABLE t AS SELECT 1 AS i")
    lsn = server.sql("SELECT pg_current_wal_insert_lsn()")
    rows = judges.fingerprint(server)
    for number in range(3):
        server.sql(f"INSERT INTO t VALUES ({number})")
        server.archive_all()
    last = judges.fingerprint(server)
    plan = agent.restore(lab.place("r"), "--to-latest", "--plan")
    whole, early = lab.place("r"), lab.place("r")
    latest = agent.restore(whole, "--to-latest", "--wal", "copy")
    documents = {whole: latest, early: agent.restore(early, "--to-lsn", lsn, "--exclusive",
                                                     "--wal", "copy")}
    assert latest["wal_copied"] == plan["wal"]["segments"]
    assert latest["bytes_to_write"] == plan["bytes_to_write"] + plan["wal"]["bytes"]
    assert documents[early]["wal_copied"] < latest["wal_copied"]
    if major == 15:     # reads the WAL, too
        run([DEBIAN_BIN / "pg_verifybackup", early])
    agent.repo.rename(lab.place("gone"))
    for target, expected in ((early, rows), (whole, last)):
        copy = lab.start_by_hand(documents[target], target, server)
        assert copy.sql("SHOW restore_command") == "false"
        if target == early:
            until("the pause", lambda c=copy: c.sql(
                "SELECT pg_get_wal_replay_pause_state()") == "paused")
            copy.pg_ctl("-w", "promote")
        until("promotion", lambda c=copy: c.sql("SELECT pg_is_in_recovery()") == "f")
        judges.same_rows(expected, judges.fingerprint(copy))
        copy.stop()


def taken_over(server):
    """Crashes, and goes on as the standby that it had would: what it had not archived is on the next timeline."""
    timeline = server.timeline()
    server.kill()
    (server.data / "standby.signal").touch()
    server.start()
    server.pg_ctl("-w", "promote")
    assert server.timeline() == timeline + 1


def test_wal_in_place_leads_through_promotions_and_takes_no_number_twice(lab, major):
    """In segments of 64 MiB; what was left early goes on as a timeline that the archive has not yet."""
    server, agent = lab.protected(major, scale=1, segsize=64, max_wal_size="512MB",
                                  autovacuum="off")
    server.sql("CREATE TABLE t (i int)")
    agent.backup()
    seen = {}
    for timeline in (1, 2, 3):
        server.sql(f"INSERT INTO t VALUES ({timeline})")
        server.archive_all()
        server.sql(f"INSERT INTO t VALUES ({timeline}0)")
        seen[timeline] = (server.lsn(), judges.fingerprint(server))
        if timeline < 3:
            taken_over(server)
    server.archive_all()
    server.stop()
    early, whole = lab.place("r"), lab.place("r")
    documents = {
        early: agent.restore(early, "--to-lsn", seen[1][0], "--exclusive", "--wal", "copy",
                             "--archiving", "keep", "--action", "promote"),
        whole: agent.restore(whole, "--to-latest", "--wal", "copy")}
    assert documents[early]["target"]["timeline"] == 2, "whose first segment has the end of 1"
    away = agent.repo.rename(lab.place("gone"))

    def promoted(target, rows):
        copy = lab.start_by_hand(documents[target], target, server)
        until("promotion", lambda: copy.sql("SELECT pg_is_in_recovery()") == "f")
        judges.same_rows(rows, judges.fingerprint(copy))
        assert copy.timeline() == 4, "2 and 3 are taken"
        return copy

    forget(lab, promoted(whole, seen[3][1]))
    away.rename(agent.repo)
    copy = promoted(early, seen[1][1])
    copy.archive_all()
    # It left 1 before 2 began, and names them both.
    clone, document = left_running(lab, agent, server, "--to-latest")
    assert document["target"]["timeline"] == 4
    judges.same_rows(seen[1][1], judges.fingerprint(clone))


def test_with_its_wal_in_place_a_torn_end_is_fatal(lab, major):
    server, agent = lab.protected(major, scale=1)
    agent.backup()
    for number in range(2):
        server.sql(f"CREATE TABLE t{number} (i int)")
        server.archive_all()
    target = lab.place("r")
    document = agent.restore(target, "--to-latest", "--wal", "copy")
    (target / "pg_wal" / document["wal"]["last"]).unlink()
    _, log = lab.start_command(document)
    until("the server to give up", lambda: "FATAL" in log.read_text("utf-8", "replace") and
          not (target / "postmaster.pid").exists())
    assert "recovery ended before configured recovery target" in log.read_text("utf-8", "replace")
    assert not list(target.glob("pg_wal/*.history"))


def test_less_memory_but_never_less_than_recovery_needs(lab, major):
    server, agent = lab.protected(major, scale=1, max_connections="60", max_wal_senders="12")
    agent.backup()
    # Changed, and not started again: what counts is what it runs with.
    server.configure(max_connections="30")
    agent.backup()
    server.archive_all()
    args = ("--to-latest", "--set", "shared_buffers=16MB", "--set", "max_connections=10", "--set",
            "max_wal_senders=3")
    plan = agent.run("restore", "-D", lab.place("r"), *args, "--plan").out
    assert "max_connections = 60, not 10" in plan and "max_wal_senders = 12, not 3" in plan
    clone, document = left_running(lab, agent, server, *args)
    assert {one["name"]: one["value"] for one in document["raised"]} == {
        "max_connections": 60, "max_wal_senders": 12}
    for name, value in {"shared_buffers": "16MB", "max_connections": "60",
                        "max_wal_senders": "12"}.items():
        assert clone.sql(f"SHOW {name}") == value, name
    clone.stop()
    agent.run("restore", "-D", lab.place("r"), "--set", "max_connections=few", "--plan", expect=2)


@pytest.mark.only(15)
def test_what_contradicts_a_standby_is_refused(lab, major):
    server, agent = lab.protected(major, scale=1)
    agent.backup()
    target = lab.place("r")
    for args in (("--to-lsn", "0/3000028"), ("--to-backup-end",), ("--action", "promote"),
                 ("--wal", "copy")):
        done = agent.run("restore", "-D", target, "--standby", *args, expect=2)
        assert "standby" in done.err, done
    assert not target.exists()


@pytest.mark.only(15)
def test_the_configuration_comes_back_from_the_repository_alone(lab, major):
    server, agent = lab.protected(major, scale=1)
    agent.cluster["conninfo"] = f"{server.conninfo} password=hunter2"
    agent.cluster["retain_window"] = "21d"
    agent.write_config()
    backup = agent.backup()["id"]
    agent.cluster["retain_window"] = "3d"
    agent.write_config()
    agent.backup()
    agent.config.unlink()
    alone = ("--repo", agent.repo, "--key-file", agent.key)

    newest = agent.run("config", "recover", *alone, config=False).out
    assert "retain_window=3d" in newest
    older = agent.run("config", "recover", backup, *alone, config=False).out
    assert "retain_window=21d" in older and backup in older
    assert "hunter2" not in older and "TO FILL IN: the password" in older
    assert agent.json("config", "recover", backup, *alone, config=False)["backup"] == backup

    # Filled in, it is a configuration like the one that was lost.
    agent.config.write_text(older.replace("********", "hunter2"), encoding="utf-8")
    agent.config.chmod(0o600)
    agent.run("config", "check")
    assert {one["id"] for one in agent.backups()} >= {backup}
    agent.backup()
    agent.run("config", "recover", "nonesuch", expect=1)
    agent.run("config", "check", "nonsense", expect=2)


README = Path(__file__).parents[2] / "README.md"


def readme_block(section, before):
    """The indented lines behind the paragraph that begins with `before`."""
    text = README.read_text(encoding="utf-8").split(f"\n## {section}\n")[1].split("\n## ")[0]
    block = re.search(rf"^{re.escape(before)}.*\n(?:\S.*\n)*\n((?: {{4}}.*\n)+)", text, re.M)
    return textwrap.dedent(block.group(1))


def all_lost(lab, agent):
    """Nothing is left of the host, only the repository; the recovery code."""
    agent.server.stop()
    for path in (agent.server.data, agent.home / "state", agent.home / "spool"):
        path.rename(lab.place("lost"))
    for path in (agent.config, agent.key):
        path.unlink()


@pytest.mark.only(15)
def test_with_nothing_but_the_repository_and_the_code_as_the_readme_says(lab, major):
    server = lab.server(major, filled=(1, 0))
    agent = lab.agent(server)
    code = re.search(r"(?:[0-9A-Z]{5}-){7}[0-9A-Z]{5}", agent.init().out).group(0)
    server.set(archive_command=agent.archive_command())
    agent.backup()
    server.sql("CREATE TABLE later AS SELECT 1 AS i")
    server.archive_all()
    rows = judges.fingerprint(server)
    all_lost(lab, agent)

    script = readme_block("Everything is gone but the repository and the code", "As postgres")
    assert script.count("pgagent ") >= 4, script
    for there, here in {"/mnt/backups": agent.repo, "/etc/pgagent/local.key": agent.key,
                        "/etc/pgagent/pgagent.conf": agent.config,
                        f"/var/lib/postgresql/{major}/main": server.data}.items():
        assert there in script, there
        script = script.replace(there, str(here))
    path = f"{program().parent}:{agent.environment()['PATH']}"
    done = subprocess.run(["bash", "-euc", script], input=f"{code}\n", text=True, cwd=lab.root,
                          capture_output=True, check=False, timeout=300,
                          env=agent.environment({"PATH": path,
                                                 "PGAGENT_CONFIG": str(agent.config)}))
    assert done.returncode == 0, done
    assert code not in done.stdout + done.stderr
    server.start()
    until("promotion", lambda: server.sql("SELECT pg_is_in_recovery()") == "f")
    judges.same_rows(rows, judges.fingerprint(server))
    agent.backup()


@pytest.mark.only(15)
def test_with_nothing_but_the_repository_each_error_names_the_next_command(lab, major):
    server = lab.server(major)
    agent = lab.agent(server)
    code = re.search(r"(?:[0-9A-Z]{5}-){7}[0-9A-Z]{5}", agent.init().out).group(0)
    agent.backup()
    all_lost(lab, agent)

    def hint(*args, expect):
        err = agent.run(*args, config=False, expect=expect).err
        return err.split("hint: ")[1].strip()

    # Without anything; a directory too high; without a key; with one that is not there.
    assert "pgagent config recover --repo PATH" in hint("config", "recover", expect=2)
    find = hint("config", "recover", "--repo", agent.repo.parent, expect=1).split("FORMAT: ")[1]
    found = subprocess.run(find, shell=True, capture_output=True, text=True, check=True).stdout
    assert str(agent.repo / "FORMAT") in found.splitlines()
    said = hint("config", "recover", "--repo", agent.repo, expect=2)
    assert f"pgagent key add --stdin --repo {agent.repo} --new-key-file FILE" in said
    key = agent.home / "a new.key"
    said = hint("restore", "-D", lab.place("r"), "--repo", agent.repo, "--key-file", key, expect=2)
    command = shlex.split(said[said.index("pgagent key add"):])
    assert command[0] == "pgagent" and command[-1] == str(key)
    done = subprocess.run(agent.command(*command[1:], config=False), input=f"{code}\n", text=True,
                          capture_output=True, env=agent.environment(), check=False, timeout=120)
    assert done.returncode == 0 and key.exists(), done
    # Where it lies now is in no section.
    moved = agent.repo.rename(lab.place("moved"))
    out = agent.run("config", "recover", "--repo", moved, "--key-file", key, config=False).out
    assert "TO FILL IN: `path`" in out
    moved.rename(agent.repo)
    out = agent.run("config", "recover", "--repo", agent.repo, "--key-file", key, config=False).out
    assert "TO FILL IN" not in out
