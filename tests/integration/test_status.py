"""`pgagent status` against a real server: one verdict, and a reason for each that is not OK."""

import pytest

from harness.wait import until

# It asks what check and list ask, which run on every major.
pytestmark = pytest.mark.only(15)

FIELDS = """verdict reasons restorable_lsn restorable_time rpo_bytes rpo_seconds last_backup_at
    last_verified_at last_drill_at window_from estimated_rto_seconds jobs""".split()


def reasons(agent, verdict):
    document = agent.json("status")
    assert document["verdict"] == verdict, document
    assert all(set(one) == {"severity", "code", "message", "hint"} for one in document["reasons"])
    return {one["code"]: one for one in document["reasons"]}


def nagios(agent, expect):
    done = agent.run("status", "--nagios", expect=expect)
    assert done.out.count("\n") == 1, done
    return done.out


def test_all_is_well_and_each_field_is_there(lab, major):
    server, agent = lab.protected(major, scale=1)
    agent.backup()
    agent.run("verify")
    server.sql("CREATE TABLE later()")
    server.sql("SELECT pg_switch_wal()")
    server.archiver_rests()
    before = {path for path in agent.home.rglob("*")}
    segment = server.sql("SELECT pg_walfile_name(pg_current_wal_insert_lsn())")
    document = agent.json("status")
    assert document["verdict"] == "OK" and document["reasons"] == [], document
    assert set(FIELDS) <= set(document)
    window, backup = agent.json("list")["windows"][-1], agent.backups()[-1]
    assert document["restorable_lsn"] == window["to_lsn"]
    assert document["restorable_time"] == window["latest_commit"] is not None
    assert document["window_from"] == window["from"]
    assert document["last_backup_at"] == backup["finished_at"]
    assert document["last_verified_at"] == backup["verified_at"] is not None
    assert document["jobs"] == [] and document["last_drill_at"] is None
    assert document["estimated_rto_seconds"] is None
    assert {path for path in agent.home.rglob("*")} == before
    assert server.sql("SELECT pg_walfile_name(pg_current_wal_insert_lsn())") == segment
    # What the server wrote since is what would be lost with it.
    server.sql("SELECT pg_logical_emit_message(true, 'test', repeat('x', 500000))")
    behind = agent.json("status")
    assert behind["restorable_lsn"] == document["restorable_lsn"]
    assert behind["rpo_bytes"] >= 500000 and behind["rpo_seconds"] > 0
    text = agent.run("status").out
    assert text.startswith("OK: cluster ") and document["restorable_lsn"] in text, text
    assert nagios(agent, 0).startswith("PGAGENT OK - ")


def test_a_writable_server_that_archives_nothing_is_loud(lab, major):
    server, agent = lab.protected(major, scale=1)
    agent.backup()
    server.set(archive_mode="off")
    server.restart()
    reason = reasons(agent, "CRITICAL")["archive_mode"]
    assert "nothing is archived" in reason["message"] and "ALTER SYSTEM" in reason["hint"]
    assert agent.run("status").out.startswith("CRITICAL: ")
    assert nagios(agent, 2).startswith("PGAGENT CRITICAL - archive_mode: ")
    server.set(archive_mode="on")
    server.restart()
    server.set(archive_command="")
    assert set(reasons(agent, "CRITICAL")) == {"archive_command"}


def test_an_archiver_that_fails_and_a_segment_that_never_came(lab, major):
    server, agent = lab.protected(major, scale=1)
    agent.backup()
    command = agent.archive_command()
    server.set(archive_command=f"exec /bin/false {command}".replace('"', ""))
    server.sql("CREATE TABLE later()")
    server.sql("SELECT pg_switch_wal()")
    until("the archiver to fail", lambda: "archiver" in {
        one["code"] for one in agent.json("status")["reasons"]})
    assert "archiver" in reasons(agent, "CRITICAL")
    # It is content with another repository: the server sees nothing wrong.
    other = lab.agent(server)
    other.init()
    server.set(archive_command=other.archive_command())
    server.archiver_rests()
    server.sql("CREATE TABLE more()")
    server.sql("SELECT pg_switch_wal()")
    server.archiver_rests()
    assert "does not have it" in reasons(agent, "CRITICAL")["archiving"]["message"]


def test_without_a_backup_a_server_or_a_repository(lab, major):
    server, agent = lab.protected(major, scale=1)
    document = agent.json("status")
    assert {one["code"] for one in document["reasons"]} == {"backup"}
    assert document["restorable_lsn"] is None and document["rpo_bytes"] is None
    agent.backup()
    assert reasons(agent, "OK") == {}
    server.stop()
    document = agent.json("status")
    assert [one["code"] for one in document["reasons"]][0] == "connection"
    assert document["verdict"] == "CRITICAL" and document["rpo_bytes"] is None
    assert document["restorable_lsn"] == agent.json("list")["windows"][-1]["to_lsn"]
    assert nagios(agent, 2).startswith("PGAGENT CRITICAL - connection: ")
    agent.repo.rename(agent.home / "away")
    assert "repository" in reasons(agent, "CRITICAL")
    with open(agent.config, "a", encoding="utf-8") as config:
        config.write("nonsense = 1\n")
    assert nagios(agent, 3).startswith("PGAGENT UNKNOWN - ")


def said(agent, command, key, code="window"):
    """The links of one code that are not as they should be, as (severity, message, hint)."""
    return [(x["severity"].lower().replace("critical", "error"), x["message"], x["hint"])
            for x in agent.json(command, expect=None)[key]
            if x["code"] == code and x["severity"] not in ("ok", "OK")]


def test_a_hole_is_told_by_status_and_check_alike(lab, major):
    server, agent = lab.protected(major, scale=1)
    first = agent.backup()
    segments = []
    for name in "abc":
        server.sql(f"CREATE TABLE {name}()")
        segments.append(server.sql("SELECT pg_walfile_name(pg_current_wal_insert_lsn())"))
        server.sql("SELECT pg_switch_wal()")
        server.archiver_rests()
    assert said(agent, "status", "reasons") == said(agent, "check", "links") == []
    agent.stored_segment(segments[1]).unlink()
    holes = said(agent, "check", "links")
    assert holes == said(agent, "status", "reasons") and len(holes) == 1, holes
    assert holes[0][0] == "error" and "pgagent backup" in holes[0][2], holes
    assert "CRITICAL - window: " in agent.run("check", "--nagios", expect=2).out
    assert "CRITICAL - window: " in nagios(agent, 2)
    agent.run("check", expect=1)
    done = agent.run("verify", expect=4)
    assert "take a new backup now" in done.out, done
    # A new backup leaves the hole where it is, and no more than that.
    second = agent.backup()
    server.archiver_rests()
    holes = said(agent, "check", "links")
    assert holes == said(agent, "status", "reasons"), holes
    assert [one[0] for one in holes] == ["warning"], holes
    assert "no moment between" in holes[0][1]
    agent.run("check", expect=0)
    done = agent.run("verify", expect=4)
    assert "take a new backup" not in done.out, done
    assert f"newest backup, {second['id']}, is whole" in done.out, done
    assert f"backup {second['id']} does without" in done.err and first["id"] in done.err, done
    found = agent.json("verify", expect=4)["findings"]
    assert [f["newer_backup"] for f in found] == [second["id"]], found


@pytest.mark.only(15)
def test_a_server_on_a_timeline_of_which_nothing_is_archived(lab, major):
    """LSNs of the timeline before say nothing: they may well be higher."""
    server, agent = lab.protected(major, scale=1)
    agent.backup()
    lsn = server.lsn()
    for number in range(3):
        server.sql(f"CREATE TABLE t{number} AS SELECT generate_series(1, 1000) AS i")
        server.archive_all()
    server.stop()
    agent.restore(server.data, "--delta", "--archiving", "keep", "--to-lsn", lsn, "--action", "promote")
    with open(server.data / "postgresql.auto.conf", "a", encoding="utf-8") as conf:
        conf.write("archive_command = 'false'\n")
    server.start()
    until("the server to be promoted", lambda: server.sql("SELECT pg_is_in_recovery()") == "f")
    status = agent.json("status")
    assert status["rpo_bytes"] is None and status["rpo_seconds"] is None, status
    # What the recovery has left is told until it is typed away.
    reason, = [r for r in status["reasons"] if r["code"] == "recovery_settings"]
    assert "ALTER SYSTEM RESET restore_command" in reason["hint"], reason
    reason, = [r for r in status["reasons"] if r["code"] == "timeline"]
    assert "timeline 2" in reason["message"] and "pg_switch_wal" in reason["hint"], reason
    text = agent.run("status").out
    assert "not known: nothing of its timeline, 2, is archived" in text, text
    server.set(archive_command=agent.archive_command())
    server.archive_all()
    status = agent.json("status")
    assert status["rpo_bytes"] is not None and not [r for r in status["reasons"] if r["code"] == "timeline"]
