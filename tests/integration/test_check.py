"""`pgagent check` against real servers: each broken link is named, and what it prints mends it."""

import shlex
import signal
import subprocess

import pytest

from harness.standby import standby_of
from harness.wait import PATIENCE, until
from harness.walsender import Walsender

# What differs between servers is asked by name; the oldest and the newest say the same.
pytestmark = pytest.mark.only(15, 18)

GRANTS = "GRANT pg_read_all_settings, pg_monitor TO backup;" \
         "GRANT EXECUTE ON FUNCTION pg_switch_wal(), pg_create_restore_point(text) TO backup"


def least_role(server, agent, grants=GRANTS):
    """A role that may do what the README says, and is the agent's from now on."""
    server.sql(f"CREATE ROLE backup LOGIN REPLICATION; {grants}")
    use(agent, server, "backup")


def use(agent, server, role="postgres"):
    agent.cluster["conninfo"] = server.conninfo.replace("user=postgres", f"user={role}")
    agent.write_config()


def links(agent, expect=0):
    return {link["code"]: link for link in agent.json("check", expect=expect)["links"]}


def typed(server, link):
    """Types the lines of the hint, as a person would."""
    for line in link["hint"].splitlines():
        server.sql(line)


def segment(server):
    return server.sql("SELECT pg_walfile_name(pg_current_wal_insert_lsn())")


def nagios(agent, expect):
    done = agent.run("check", "--nagios", expect=expect)
    assert done.out.count("\n") == 1, done
    return done.out


def nagios_says(agent, what):
    return agent.run("check", "--nagios", expect=None).out.startswith(f"PGAGENT {what}")


def test_a_segment_goes_through_the_archive_and_back(lab, major):
    server, agent = lab.protected(major, scale=1)
    least_role(server, agent)
    agent.backup()
    before = segment(server)
    found = links(agent)
    assert {link["severity"] for code, link in found.items() if code != "restore"} == {"ok"}, found
    assert list(found).index("archiver") > list(found).index("archiving")
    assert before in found["archiving"]["message"] and found["archiving"]["archiving_seconds"] > 0
    assert agent.has_segment(before)
    assert found["free_space"]["bytes_free"] > found["free_space"]["bytes_last_backup"] > 0
    assert segment(server) > before
    # Every minute it must not cost a segment, so it only looks.
    server.sql("SELECT pg_logical_emit_message(true, 'test', 'x')")
    before = segment(server)
    line = nagios(agent, 0)
    assert line.startswith("PGAGENT OK - ") and "free_space_local=" in line, line
    assert " spool_free=" in line, line
    assert " backup_age_local=" in line, line
    assert segment(server) == before


def test_each_finding_is_mended_by_the_lines_printed_with_it(lab, major):
    server, agent = lab.protected(major, scale=1)
    least_role(server, agent, "ALTER ROLE backup CREATEDB; GRANT pg_write_all_data, "
               "pg_read_server_files, pg_write_server_files, pg_execute_server_program TO backup")
    found = links(agent)
    assert found["role"]["severity"] == "warning"
    assert "pg_read_server_files" in found["role"]["message"]
    typed(server, found["role"])
    assert "pg_read_all_settings" in links(agent)["role"]["hint"]
    typed(server, links(agent)["role"])

    found = links(agent)
    assert found["role"]["severity"] == "ok"
    assert found["archiving"]["severity"] == "unproven" and "GRANT" in found["archiving"]["hint"]
    typed(server, found["archiving"])
    server.sql("SELECT pg_create_physical_replication_slot('pgagent', true)")
    server.sql("ALTER SYSTEM SET recovery_target_time = '2026-01-01 00:00:00+00'")
    server.sql("ALTER SYSTEM SET restore_command = 'pgagent archive-get --pin restore-1 %f %p'")
    server.restart()

    found = links(agent)
    assert found["archiving"]["severity"] == "ok"
    assert [found[code]["severity"] for code in ("slot", "recovery_settings")] == ["warning"] * 2
    assert "ALTER SYSTEM RESET recovery_target_time" in agent.run(
        "backup", "--checkpoint", "fast").err
    typed(server, found["slot"])
    typed(server, found["recovery_settings"])
    until("the settings to be read", lambda: not {"slot", "recovery_settings"} & set(links(agent)))

    server.set(archive_command="/bin/true")
    assert "throws WAL away" in links(agent, expect=1)["archive_command"]["message"]
    server.set(archive_command="")
    found = links(agent, expect=1)
    assert found["archive_command"]["severity"] == "error"
    assert found["archiving"]["severity"] == "unproven"
    typed(server, found["archive_command"])
    until("the line to be read", lambda: server.sql("SHOW archive_command") != "")
    assert links(agent)["archiving"]["severity"] == "ok"


@pytest.mark.only(15)
def test_wal_that_does_not_arrive_is_an_error_in_the_archivers_words(lab, major):
    server, agent = lab.protected(major, scale=1)
    failing = f"exec /bin/false {agent.archive_command()}".replace('"', "")
    server.set(archive_command=failing)
    found = links(agent, expect=1)
    assert "failed on 0000" in found["archiving"]["message"], found["archiving"]
    assert "archive-push" in found["archiving"]["hint"]
    # It leads to another repository: the server is content, and this one gets nothing.
    other = lab.agent(server)
    other.init()
    server.set(archive_command=other.archive_command())
    server.archiver_rests()
    found = links(agent, expect=1)
    assert "does not have it" in found["archiving"]["message"], found["archiving"]
    assert nagios(agent, 2).startswith("PGAGENT CRITICAL - archiving: ")
    server.set(archive_command=agent.archive_command())
    assert links(agent)["archiving"]["severity"] == "ok"


@pytest.mark.only(15)
def test_the_grep_of_the_hint_finds_why_archiving_fails(lab, major):
    server, agent = lab.protected(major, scale=1)
    wal = next(agent.repo.glob("**/wal/*/*"), None)
    wal = wal.parent.parent if wal else next(agent.repo.glob("main/*"))
    folders = [p for p in (wal, *wal.rglob("*")) if p.is_dir()]
    for folder in folders:
        folder.chmod(0o500)
    try:
        server.sql("SELECT pg_switch_wal()")
        until("the archiver to fail", lambda: nagios_says(agent, "CRITICAL - archiver: "))
        hints = [links(agent, expect=1)["archiver"]["hint"],
                 next(x for x in agent.json("status")["reasons"] if x["code"] == "archiver")["hint"]]
        for hint in hints:
            words = shlex.split(hint.split(": ", 1)[1])
            assert words[0] == "grep", hint
            lines = subprocess.run([*words, server.log], stdout=subprocess.PIPE, text=True,
                                   check=True).stdout.splitlines()
            assert lines and all(line.startswith("pgagent: ") for line in lines), lines
            assert any("Permission denied" in line for line in lines), lines
    finally:
        for folder in folders:
            folder.chmod(0o700)


@pytest.mark.only(15)
def test_an_archiver_that_hangs_is_told(lab, major):
    """It fails nothing and archives nothing: only what waits for it tells."""
    server, agent = lab.protected(major, scale=1)
    least_role(server, agent)
    agent.cluster["archive_wait"] = "1s"
    agent.write_config()
    agent.backup()
    hold = lab.place("hold")
    hold.touch()
    push = lab.place("push")
    real = agent.archive_command().replace('"%p"', '"$3"')
    push.write_text(f"#!/bin/sh\nwhile test -e {hold}; do sleep 0.1; done\nexec {real}\n")
    push.chmod(0o755)
    server.set(archive_command=f"{push} pgagent archive-push %p")
    try:
        server.sql("SELECT pg_logical_emit_message(true, 'test', 'x'); SELECT pg_switch_wal()")
        until("the archiver to be told of", lambda: nagios_says(
            agent, "WARNING - archiver: 1 file(s) wait"))
        for _ in range(7):
            server.sql("SELECT pg_logical_emit_message(true, 'test', 'x')")
            server.sql("SELECT pg_switch_wal()")
        line = nagios(agent, 2)
        assert line.startswith("PGAGENT CRITICAL - archiver: "), line
        assert " archiver_waiting=8" in line, line
    finally:
        hold.unlink()
    until("the archiver to catch up", lambda: " archiver_waiting=0" in agent.run(
        "check", "--nagios", expect=None).out)
    nagios(agent, 0)


@pytest.mark.only(15)
def test_a_check_that_is_stopped_says_so(lab, major):
    server, agent = lab.protected(major, scale=1)
    server.set(archive_command="sleep 20; exec pgagent archive-push %p")
    before = segment(server)
    running = agent.popen("check", stdout=-1, text=True)
    until("the segment to be switched", lambda: segment(server) > before)
    running.send_signal(signal.SIGINT)
    running.communicate(timeout=20 * PATIENCE)
    assert running.returncode == 130


@pytest.mark.only(15)
def test_nagios_tells_all_that_is_wrong_in_one_line(lab, major):
    server, agent = lab.protected(major, scale=1, checksums=False)
    line, figures = nagios(agent, 1).split(" | ")
    assert line.startswith("PGAGENT WARNING - data_checksums: "), line
    assert "; backup: repository local has no backup" in line and "; role: " in line, line
    assert "warnings=3" in figures, figures
    # What is worse comes first and does not hide the rest.
    server.set(archive_mode="off")
    server.restart()
    line = nagios(agent, 2)
    assert line.startswith("PGAGENT CRITICAL - archive_mode: "), line
    assert "; WARNING data_checksums: " in line and "; WARNING backup: " in line, line
    done = agent.run("status", "--nagios", expect=2).out
    assert done.startswith("PGAGENT CRITICAL - archive_mode: "), done
    assert "; backup: there is no backup" in done and "reasons=3" in done, done


def directories_as_they_are(root):
    """Everything below, with the times at which entries came or went."""
    return {p: p.stat().st_mtime_ns for p in (root, *root.rglob("*")) if p.is_dir()}


@pytest.mark.only(15)
def test_nagios_only_looks_and_check_writes_into_repositories_only(lab, major):
    server, agent = lab.protected(major, scale=1)
    agent.backup()
    server.archiver_rests()
    agent.run("check")
    server.archiver_rests()
    before = directories_as_they_are(agent.home)
    nagios(agent, 1)
    agent.run("status", "--nagios", expect=0)
    assert directories_as_they_are(agent.home) == before
    # A directory that is no repository, a file system that is not mounted, is not written to by any.
    agent.repo.rename(agent.home / "away")
    agent.repo.mkdir(mode=0o700)
    found = links(agent, expect=1)["repository"]
    assert "pgagent init" in found["hint"], found
    nagios(agent, 2)
    assert not list(agent.repo.iterdir())


@pytest.mark.only(15)
def test_nagios_tells_what_is_bad_from_what_could_not_be_seen(lab, major):
    server, agent = lab.protected(major, scale=1)
    assert nagios(agent, 1).startswith("PGAGENT WARNING - role: ")
    with open(agent.config, "a", encoding="utf-8") as config:
        config.write("nonsense = 1\n")
    assert nagios(agent, 3).startswith("PGAGENT UNKNOWN - ")
    agent.write_config()
    server.stop()
    assert nagios(agent, 2).startswith("PGAGENT CRITICAL - connection: ")


@pytest.mark.only(15)
def test_who_may_not_connect_does_not_know_whether_wal_is_archived(lab, major):
    """Only replication is let in: the archiver fails, and nobody can see it."""
    server, agent = lab.protected(major, scale=1)
    least_role(server, agent)
    server.set(archive_command="exec /bin/false pgagent archive-push %p")
    server.sql("SELECT pg_switch_wal()")
    until("the archiver to fail", lambda: nagios_says(agent, "CRITICAL - archiver: "))
    for database in ("postgres", "template1"):
        server.sql(f"REVOKE CONNECT ON DATABASE {database} FROM PUBLIC")
    assert nagios(agent, 3).startswith("PGAGENT UNKNOWN - sql_connection: ")


@pytest.mark.only(15)
def test_a_slot_is_used_and_has_a_bound_or_is_told(lab, major):
    """wal_streaming: a foreign archive_command is nobody's business, and the slot is everybody's."""
    server, agent = lab.protected(major, scale=1, archive_command="cp %p /nonexistent/%f")
    server.set(archive_command="cp %p /nonexistent/%f")
    agent.cluster["wal_streaming"] = "on"
    agent.write_config()
    found = links(agent, expect=1)
    assert found["archive_command"]["severity"] == "ok"
    assert found["slot"]["severity"] == "error" and "no slot" in found["slot"]["message"]
    # What archive_command brings is archived all the same.
    server.set(archive_command=agent.archive_command())
    assert links(agent)["slot"]["severity"] == "warning"
    server.sql("SELECT pg_create_physical_replication_slot('pgagent', true)")
    assert links(agent)["slot"]["severity"] == "warning"
    server.set(archive_command="cp %p /nonexistent/%f")
    slot = links(agent, expect=1)["slot"]
    assert slot["severity"] == "error" and "nobody streams" in slot["message"]
    with Walsender(server) as receiver:
        receiver.command("START_REPLICATION SLOT pgagent PHYSICAL 0/1000000")
        receiver.until(b"W")
        found = links(agent)
        assert found["max_slot_wal_keep_size"]["severity"] == "warning"
        typed(server, found["max_slot_wal_keep_size"])
        until("the bound to be read", lambda: links(agent).get("slot", {}).get("severity") == "ok")


@pytest.mark.only(15)
def test_recovery_settings_do_not_outlive_recovery(lab, major):
    """What --start resets after promotion is gone; started by hand, the printed lines take it away."""
    server, agent = lab.protected(major, scale=1)
    agent.backup()
    target = lab.place("r")
    agent.restore(target, "--to-backup-end", "--action", "promote", "--start")
    use(agent, lab.attach(target, server))
    assert "recovery_settings" not in links(agent, expect=1)
    use(agent, server)
    target = lab.place("r")
    document = agent.restore(target, "--to-backup-end", "--action", "promote")
    clone = lab.start_by_hand(document, target, server)
    until("promotion", lambda: clone.sql("SELECT pg_is_in_recovery()") == "f")
    use(agent, clone)
    left = links(agent, expect=1)["recovery_settings"]
    assert "restore_command" in left["message"] and "recovery_target" in left["message"]
    typed(clone, left)
    until("the lines to be read", lambda: "recovery_settings" not in links(agent, expect=1))


@pytest.mark.only(15)
def test_a_standby_archives_nothing_and_may_be_the_one_that_is_read(lab, major):
    primary, agent = lab.protected(major, scale=1)
    standby = standby_of(lab, primary)
    agent.cluster["backup_conninfo"] = standby.conninfo
    agent.write_config()
    found = links(agent)
    assert found["backup_connection"]["severity"] == "ok"
    assert found["archiving"]["severity"] == "ok"
    use(agent, standby)
    found = links(agent)
    assert found["archiving"]["severity"] == found["archive_mode"]["severity"] == "unproven"
    agent.cluster["backup_conninfo"] = lab.server(major, fresh=True).conninfo
    use(agent, primary)
    assert links(agent, expect=1)["backup_connection"]["severity"] == "error"


@pytest.mark.only(15, 16, 17, 18)
def test_a_backup_knows_by_what_text_was_sorted(lab, major):
    server, agent = lab.protected(major, scale=1)
    server.sql("CREATE DATABASE sorted TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'en'")
    document = agent.json("show", agent.backup()["id"])
    known = document["collations"]
    by_name = {one["database"]: one for one in known["databases"]}
    assert by_name["postgres"]["provider"] == "libc" and by_name["postgres"]["locale"] == "C"
    assert by_name["postgres"]["version"] is None
    assert by_name["sorted"]["provider"] == "icu"
    assert by_name["sorted"]["locale"].startswith("en")
    assert by_name["sorted"]["version"] == known["icu"] is not None
    assert "sorted: en" in agent.run("show", document["id"]).out
    plan = agent.restore(lab.place("r"), "--to-backup-end", "--plan")
    assert plan["collations"] == known


@pytest.mark.only(15)
def test_old_indexes_single_keys_and_a_lost_spool_are_told(lab, major):
    server, agent = lab.protected(major, scale=1)
    server.sql("CREATE DATABASE sorted TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'en'")
    server.sql("UPDATE pg_database SET datcollversion = '1' WHERE datname = 'sorted'")
    (agent.repo / "keys" / "recovery").unlink()
    (agent.home / "spool").rmdir()
    found = links(agent)
    assert "REFRESH COLLATION VERSION" in found["collations"]["hint"]
    assert "pgagent key add" in found["key_slots"]["hint"]
    assert "install -d" in found["spool"]["hint"]
    assert {found[code]["severity"] for code in ("collations", "key_slots", "spool")} == {"warning"}


@pytest.mark.only(15)
def test_a_repository_without_a_backup_or_with_a_damaged_one_is_told(lab, major):
    server, agent = lab.protected(major, scale=1)
    least_role(server, agent)
    assert nagios(agent, 1).startswith("PGAGENT WARNING - backup: repository local has no backup")
    agent.backup()
    found = links(agent)["backup"]
    assert found["severity"] == "ok" and found["age_seconds"] < 3600, found
    manifest = next(agent.repo.glob("**/backups/*"))
    manifest.chmod(0o600)
    manifest.write_bytes(manifest.read_bytes()[:-1])
    assert links(agent, expect=4)["backup"]["severity"] == "error"


@pytest.mark.only(15)
def test_a_repository_without_room_for_one_more_backup_is_an_error(lab, major, small_fs):
    server = lab.server(major, filled=(1, 0))
    agent = lab.agent(server, repos={"local": {"path": small_fs / "repo",
                                               "key_file": lab.root / "small.key"}})
    agent.protect()
    agent.backup()
    filler = small_fs / "filler"
    free = links(agent)["free_space"]
    assert free["severity"] == "warning" and free["bytes_last_backup"] > 1 << 20
    filler.write_bytes(bytes(free["bytes_free"] - free["bytes_last_backup"] // 2))
    assert links(agent, expect=1)["free_space"]["severity"] == "error"
    filler.unlink()
    links(agent)
