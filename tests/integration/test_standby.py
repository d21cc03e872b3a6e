"""Backups read from a standby: the WAL they need comes, whatever the primary does, or they fail."""

import subprocess

import pytest

from harness import judges
from harness.kill import NO_LEAKS, strace
from harness.restored import forget, restored_whole
from harness.standby import replayed, standby_of
from harness.wait import PATIENCE, until
from harness.walsender import Walsender

# The oldest server and the newest: what a standby says and sends is the same between them.
pytestmark = pytest.mark.only(15, 18)

ONE_TAKEN = {"max_wal_senders": 2}


def idle_pair(lab, major, **settings):
    """(primary, standby, agent): nothing is written any more, and the standby is read."""
    primary, agent = lab.protected(major, scale=1, autovacuum="off", **settings)
    standby = standby_of(lab, primary)
    replayed(primary, standby)
    agent.cluster["backup_conninfo"] = standby.conninfo
    agent.write_config()
    return primary, standby, agent


def comes_back(lab, primary, agent, backup, rows):
    clone = restored_whole(lab, primary, agent, backup, rows)
    judges.amcheck(clone)
    forget(lab, clone)


def test_an_idle_standby_is_backed_up_without_waiting(lab, major):
    """The segment the backup ends in is finished by nobody: what there is of it is stored at once."""
    primary, standby, agent = idle_pair(lab, major)
    primary.sql("CREATE TABLE last_words AS SELECT generate_series(1, 1000) AS i")
    behind = primary.switch_segment() and primary.sql("SELECT pg_current_wal_flush_lsn()")
    until("the standby to have it", lambda: standby.sql(
        f"SELECT pg_last_wal_replay_lsn() >= '{behind}'") == "t")
    rows = judges.fingerprint(standby)
    backup = agent.backup()
    assert backup["seconds"] < 4 * PATIENCE, backup
    comes_back(lab, primary, agent, backup, rows)
    clone = lab.place("r")
    agent.restore(clone, "--to-latest", "--start")
    judges.same_rows(rows, judges.fingerprint(lab.attach(clone, primary)))


def test_its_wal_comes_after_it_where_no_second_walsender_is_free(lab, major):
    primary, standby, agent = idle_pair(lab, major, **ONE_TAKEN)
    primary.set(archive_command="false")
    rows = judges.fingerprint(standby)
    with Walsender(standby):
        done = agent.run("backup", "--checkpoint", "fast", "--output", "json")
        assert "max_wal_senders" in done.err, done
    comes_back(lab, primary, agent, done.json(), rows)


def written(primary, segments):
    for _ in range(segments):
        primary.sql("SELECT pg_logical_emit_message(true, 'test', 'x')")
        primary.switch_segment()


@pytest.mark.only(15)
def test_an_expire_that_began_before_it_takes_none_of_its_wal(lab, major):
    """It starts where the last restart point was, in WAL that no backup of the primary needs: a sweep that
    looked for pins before must be over."""
    primary, agent = lab.protected(major, scale=1, autovacuum="off",
                                   agent_settings={"expire_auto": "off"})
    written(primary, 4)
    standby = standby_of(lab, primary)
    replayed(primary, standby)
    starts = standby.sql("SELECT redo_wal_file FROM pg_control_checkpoint()")
    standby.sql("SELECT pg_wal_replay_pause()")
    written(primary, 2)
    agent.backup()
    primary.archiver_rests()
    rows = judges.fingerprint(primary)
    oldest = min(o.name for o in agent.objects() if "wal" in o.parts)
    assert oldest < starts
    # A store that is slow to remove.
    slow = strace(lab, "unlink,unlinkat:delay_enter=2000000")
    with subprocess.Popen([*slow, *agent.command("expire", "--confirm")],
                          env=agent.environment(NO_LEAKS), cwd=agent.home) as expire:
        until("the sweep to remove", lambda: not agent.has_segment(oldest))
        assert agent.has_segment(starts)
        agent.cluster["backup_conninfo"] = standby.conninfo
        agent.write_config()
        done = agent.run("backup", "--checkpoint", "fast", "--output", "json")
        assert expire.wait() == 0
    # What lies between its end and the backup of the primary may be gone: nobody needed it.
    assert agent.has_segment(starts), done
    assert "waiting for its end" in done.err, done
    comes_back(lab, primary, agent, done.json(), rows)


def begun(standby):
    until("the backup to send files", lambda: standby.sql(
        "SELECT count(*) FROM pg_stat_progress_basebackup WHERE phase LIKE 'streaming%'") == "1")


@pytest.mark.only(15)
def test_it_fails_with_the_words_of_the_primary_when_the_wal_is_nowhere(lab, major):
    primary, standby, agent = idle_pair(lab, major, **ONE_TAKEN)
    agent.cluster["archive_wait"] = "1s"
    agent.write_config()
    primary.set(archive_command="false")
    primary.sql("CREATE TABLE more AS SELECT generate_series(1, 1000) AS i; CHECKPOINT")
    replayed_but_not_archived = primary.switch_segment()
    until("the standby to have it", lambda: standby.sql(
        "CHECKPOINT; SELECT redo_wal_file FROM pg_control_checkpoint()")
        == replayed_but_not_archived)
    until("the archiver to fail", lambda: primary.sql(
        "SELECT last_failed_wal FROM pg_stat_archiver") == replayed_but_not_archived)
    with Walsender(standby):
        running = agent.popen("backup", "--max-rate", "16MB", stderr=-1, text=True)
        begun(standby)
        segment = standby.data / "pg_wal" / replayed_but_not_archived
        kept = segment.read_bytes()
        segment.unlink()
        _, told = running.communicate(timeout=60 * PATIENCE)
    assert running.returncode == 1, told
    assert f"failed on {replayed_but_not_archived}" in told, told
    assert agent.backups() == []
    segment.write_bytes(kept)
    primary.set(archive_command=agent.archive_command())
    rows = judges.fingerprint(standby)
    comes_back(lab, primary, agent, agent.backup(), rows)


@pytest.mark.only(15)
def test_a_promotion_meanwhile_is_told_and_the_next_backup_is_whole(lab, major):
    primary, standby, agent = idle_pair(lab, major)
    running = agent.popen("backup", "--max-rate", "16MB", stderr=-1, text=True)
    begun(standby)
    standby.pg_ctl("-w", "promote")
    _, told = running.communicate(timeout=60 * PATIENCE)
    assert running.returncode == 1, told
    assert "promoted" in told, told
    assert agent.backups() == []
    rows = judges.fingerprint(standby)
    backup = agent.backup()
    assert backup["timeline"] == 2
    comes_back(lab, primary, agent, backup, rows)


@pytest.mark.only(15)
def test_a_stream_that_breaks_costs_no_backup(lab, major):
    """What it had not stored yet comes over the session that the backup itself used."""
    server, agent = lab.protected(major, scale=1, archive_command="false")
    server.set(archive_command="false")
    rows = judges.fingerprint(server)
    running = agent.popen("backup", "--checkpoint", "fast", "--max-rate", "16MB", "--output", "json",
                          stdout=-1, stderr=-1, text=True)
    begun(server)
    assert server.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_replication "
                      "WHERE state = 'streaming'") == "t"
    out, told = running.communicate(timeout=60 * PATIENCE)
    assert running.returncode == 0, told
    assert "once more" in told, told
    comes_back(lab, server, agent, agent.backups()[0], rows)
