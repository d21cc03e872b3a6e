"""Which backup is the parent where there is more than one history, and files beyond a segment."""

import pytest

from harness import judges
from harness.restored import forget, restored_whole
from harness.standby import caught_up, replayed, standby_of

PAGE = 8192
NOISE = 128 * PAGE

# The oldest server, whose backups are read as a stream, and the newest, which sends what changed.
pytestmark = pytest.mark.only(15, 18)


def protected(lab, major, **settings):
    if major >= 17:
        settings["summarize_wal"] = "on"
    return lab.protected(major, scale=1, autovacuum="off", **settings)


def move_agent(agent, server):
    """From now on the agent's cluster is that server."""
    agent.server = server
    agent.cluster["conninfo"] = server.conninfo
    agent.write_config()


def test_a_promotion_between_two_backups(lab, major):
    """The new primary's parent is the last backup before the fork, not the newest of all."""
    old, agent = protected(lab, major)
    first, first_rows = agent.backup(), judges.fingerprint(old)
    standby = standby_of(lab, old)
    old.sql("CREATE TABLE before_the_fork AS SELECT generate_series(1, 1000) AS i")
    old.archive_all()
    caught_up(old, standby)
    standby.pg_ctl("-w", "promote")
    old.sql("CREATE TABLE lost AS SELECT generate_series(1, 5000) AS i")
    lost, lost_rows = agent.backup(), judges.fingerprint(old)
    assert lost["parent"] == first["id"] and lost["timeline"] == 1
    old.stop()

    move_agent(agent, standby)
    standby.sql("UPDATE noise SET a = md5(a) WHERE id % 500 = 0")
    rows = judges.fingerprint(standby)
    child = agent.backup()
    assert child["timeline"] == 2
    assert child["parent"] == first["id"]
    assert child["bytes_new"] < child["bytes_cluster"] // 2
    grandchild = agent.backup()
    assert grandchild["parent"] == child["id"]
    assert grandchild["bytes_new"] < NOISE
    for backup, known in ((first, first_rows), (lost, lost_rows), (child, rows),
                          (grandchild, rows)):
        clone = restored_whole(lab, standby, agent, backup, known)
        judges.amcheck(clone)
        forget(lab, clone)
    agent.run("verify", "--all")


def test_a_standby_and_its_primary_lend_each_other_pages(lab, major):
    """Which of them is read makes no difference to what is shared; each backup is whole."""
    primary, agent = protected(lab, major)
    history = [(agent.backup(), judges.fingerprint(primary))]
    standby = standby_of(lab, primary)
    for number, read in enumerate((standby, standby, primary)):
        primary.sql(f"UPDATE noise SET a = md5(a) WHERE id % 500 = {number}")
        replayed(primary, standby)
        rows = judges.fingerprint(read)
        move_agent(agent, read)
        backup = agent.backup()
        parent = history[-1][0]
        assert backup["parent"] == parent["id"], backup
        assert backup["timeline"] == 1
        assert backup["type"] == ("incremental" if major >= 17 else "full"), backup["why_full"]
        assert 0 < backup["bytes_new"] < backup["bytes_cluster"] // 2
        history.append((backup, rows))
    for backup, rows in history:
        clone = restored_whole(lab, primary, agent, backup, rows)
        judges.amcheck(clone)
        forget(lab, clone)
    agent.run("verify", "--all")


def test_another_system_under_the_name_has_no_parent(lab, major):
    """As after pg_upgrade: a new system identifier; the old backups stay what they were."""
    old, agent = protected(lab, major)
    first, first_rows = agent.backup(), judges.fingerprint(old)
    old.sql("CREATE TABLE the_last AS SELECT generate_series(1, 10) AS i")
    old.archive_all()
    last_rows = judges.fingerprint(old)
    old.stop()
    new = lab.server(18, fresh=True, autovacuum="off", summarize_wal="on")
    new.sql("CREATE TABLE made_here AS SELECT generate_series(1, 1000) AS i")
    move_agent(agent, new)
    before = agent.objects()
    done = agent.run("backup", "--checkpoint", "fast", expect=(1, 2))
    assert "init --upgrade" in done.err, done
    assert agent.objects() == before
    agent.run("init", "--upgrade", "--yes")
    new.set(archive_command=agent.archive_command())
    rows = judges.fingerprint(new)
    second = agent.backup()
    assert str(second["system_identifier"]) == new.system_identifier()
    assert second["type"] == "full" and second["parent"] is None
    assert second["bytes_new"] > 15 << 20, "all of it"
    third = agent.backup()
    assert third["parent"] == second["id"] and third["bytes_new"] < NOISE
    assert {b["id"] for b in agent.backups()} == {first["id"], second["id"], third["id"]}
    forget(lab, restored_whole(lab, new, agent, third, rows))
    # What was archived under the names that the old one had used, too.
    new.sql("INSERT INTO made_here VALUES (0)")
    assert new.timeline() == 1
    new.archive_all()
    latest = latest_of(lab, new, agent)
    judges.same_rows(judges.fingerprint(new), judges.fingerprint(latest))
    forget(lab, latest)
    agent.server = old  # its programs are the ones that restore looks for
    forget(lab, restored_whole(lab, old, agent, first, first_rows))
    latest = latest_of(lab, old, agent, "--backup", first["id"])
    judges.same_rows(last_rows, judges.fingerprint(latest))
    forget(lab, latest)
    agent.run("verify", "--all")


def latest_of(lab, server, agent, *args):
    target = lab.place("r")
    agent.restore(target, "--to-latest", *args, "--start")
    return lab.attach(target, server)


def test_a_relation_grows_past_its_first_segment_and_shrinks_below_it(lab, major):
    """1 GiB of mostly new pages, as a relation has that was extended and not yet written to."""
    server, agent = protected(lab, major)
    server.sql("CREATE TABLE long AS SELECT i, repeat('x', 1000) AS t "
               "FROM generate_series(1, 1000) i")
    path = server.data / server.sql("SELECT pg_relation_filepath('long')")
    server.stop()
    with open(path, "r+b") as relation:
        relation.truncate((1 << 30) - 4 * PAGE)
    server.start()
    second = path.with_name(f"{path.name}.1")
    history = []

    def remember():
        rows = judges.fingerprint(server)
        history.append((agent.backup(), rows))
        return history[-1][0]

    remember()
    before = server.sql("SELECT pg_relation_size('long')")
    server.sql("INSERT INTO long SELECT i, repeat('y', 1000) FROM generate_series(1, 2000) i")
    server.sql("CHECKPOINT")
    assert second.stat().st_size > 0, f"no second segment behind {before} bytes"
    grown = remember()
    assert second.stat().st_size < grown["bytes_new"] < 2000 * 1200 + NOISE
    server.sql("DELETE FROM long WHERE t LIKE 'y%'")
    server.sql("VACUUM (TRUNCATE) long")
    server.sql("CHECKPOINT")
    assert not second.exists() or second.stat().st_size == 0
    shrunk = remember()
    assert shrunk["bytes_new"] < 1000 * 1200 + 2 * NOISE
    for backup, rows in history:
        clone = restored_whole(lab, server, agent, backup, rows)
        forget(lab, clone)
