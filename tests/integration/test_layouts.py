"""Clusters that are not laid out as a test would like, and clones that must not touch the world."""

import pytest

from harness import judges
from harness.load import fill
from harness.postgres import DEBIAN_BIN, run
from harness.wait import until


def promoted(lab, agent, server, *args):
    target = lab.place("r")
    document = agent.restore(target, *args, "--action", "promote", "--start")
    clone = lab.attach(target, server)
    until("promotion", lambda: clone.sql("SELECT pg_is_in_recovery()") == "f")
    return clone, document


def make_tablespaces(lab, server):
    places = {}
    for name in ("fast", "big space"):
        places[name] = lab.place("ts")
        places[name].mkdir()
        server.sql(f"""CREATE TABLESPACE "{name}" LOCATION '{places[name]}'""")
    server.sql("CREATE TABLE in_fast TABLESPACE fast AS SELECT generate_series(1, 5000) AS i; "
               'CREATE TABLE in_big TABLESPACE "big space" AS SELECT i, md5(i::text) AS t '
               "FROM generate_series(1, 5000) i; CREATE INDEX ON in_big (t) TABLESPACE fast")
    return places


def test_two_tablespaces_go_where_they_are_told(lab, major):
    server, agent = lab.protected(major, scale=1)
    old = make_tablespaces(lab, server)
    agent.backup()
    server.sql("INSERT INTO in_fast SELECT generate_series(5001, 6000)")
    server.archive_all()
    expected = judges.fingerprint(server)
    new = {name: lab.place("ts") for name in old}
    mapping = [f"--tablespace={name}={place}" for name, place in new.items()]

    unstarted = lab.place("r")
    elsewhere = [f"--tablespace={name}={lab.place('ts')}" for name in old]
    agent.restore(unstarted, "--to-backup-end", *elsewhere)
    judges.verifybackup(unstarted, major, lab.root)

    clone, _ = promoted(lab, agent, server, "--to-latest", *mapping)
    judges.same_rows(expected, judges.fingerprint(clone))
    for name, place in new.items():
        assert clone.sql("SELECT pg_tablespace_location(oid) FROM pg_tablespace "
                         f"WHERE spcname = '{name}'") == str(place)
        assert list(place.iterdir())
    clone.sql("INSERT INTO in_fast VALUES (-1)")
    judges.same_rows(expected, judges.fingerprint(server))


def test_one_directory_for_all_tablespaces(lab, major):
    server, agent = lab.protected(major, scale=1)
    make_tablespaces(lab, server)
    agent.backup()
    server.archive_all()
    expected = judges.fingerprint(server)
    below = lab.place("all")
    clone, _ = promoted(lab, agent, server, "--to-latest", "--tablespace-dir", below)
    judges.same_rows(expected, judges.fingerprint(clone))
    assert clone.sql("SELECT count(*) FROM pg_tablespace WHERE pg_tablespace_location(oid) LIKE "
                     f"'{below}/%'") == "2"


def test_a_tablespace_is_never_restored_over_the_one_in_use(lab, major):
    server, agent = lab.protected(major, scale=1)
    places = make_tablespaces(lab, server)
    agent.backup()
    before = judges.fingerprint(server)
    target = lab.place("r")
    done = agent.run("restore", "-D", target, "--to-backup-end", expect=(1, 2))
    assert any(str(place) in done.err for place in places.values()), done
    assert not target.exists() or not any(target.iterdir())
    agent.run("restore", "-D", target, "--to-backup-end", "--tablespace=nonesuch=/tmp/x",
              expect=2)
    judges.same_rows(before, judges.fingerprint(server))
    # Gone from its old place, it may go back there.
    server.stop()
    for place in places.values():
        place.rename(lab.place("was"))
    agent.restore(target, "--to-backup-end")
    judges.verifybackup(target, major, lab.root)


@pytest.mark.parametrize("segsize", [1, 64])
def test_other_segment_sizes(lab, major, segsize):
    server, agent = lab.protected(major, scale=1, segsize=segsize, max_wal_size="512MB")
    agent.backup()
    for number in range(3):
        server.sql(f"CREATE TABLE t{number} AS SELECT md5(i::text) FROM "
                   "generate_series(1, 20000) i")
        server.archive_all()
    expected = judges.fingerprint(server)
    clone, document = promoted(lab, agent, server, "--to-latest")
    judges.same_rows(expected, judges.fingerprint(clone))
    assert clone.sql("SHOW wal_segment_size") == f"{segsize}MB"
    assert document["wal"]["bytes"] == document["wal"]["segments"] * (segsize << 20)
    agent.run("verify")


def test_without_data_checksums(lab, major):
    server, agent = lab.protected(major, scale=1, checksums=False)
    assert server.sql("SHOW data_checksums") == "off"
    assert agent.backup()["checksum_failures"] in (0, None)
    server.archive_all()
    expected = judges.fingerprint(server)
    clone, _ = promoted(lab, agent, server, "--to-latest")
    judges.same_rows(expected, judges.fingerprint(clone))


def test_configuration_outside_the_data_directory_is_never_used_for_the_copy(lab, major):
    server = lab.server(major, outside_conf=True, start=False)
    server.configure(max_connections="77", work_mem="7MB")
    server.start()
    fill(server, 1)
    agent = lab.agent(server).protect()
    agent.backup()
    server.archive_all()
    expected = judges.fingerprint(server)
    pid = server.pid()
    clone, _ = promoted(lab, agent, server, "--to-latest")
    assert (clone.data / "pgagent-start.conf").is_file()
    assert clone.sql("SHOW data_directory") == str(clone.data)
    for setting in ("config_file", "hba_file", "ident_file"):
        assert clone.sql(f"SHOW {setting}").startswith(str(clone.data)), setting
    assert int(clone.sql("SHOW max_connections")) >= 77, "recovery needs no fewer than that"
    assert clone.sql("SHOW listen_addresses") == ""
    judges.same_rows(expected, judges.fingerprint(clone))
    assert server.pid() == pid and server.answers()
    clone.sql("CREATE TABLE only_here (i int)")
    judges.same_rows(expected, judges.fingerprint(server))


def test_a_clone_leaves_the_subscription_to_its_owner(lab, major):
    publisher = lab.server(major, wal_level="logical")
    publisher.sql("CREATE TABLE news (i int PRIMARY KEY); CREATE PUBLICATION p FOR TABLE news")
    subscriber, agent = lab.protected(major, scale=1)
    subscriber.sql("CREATE TABLE news (i int PRIMARY KEY)")
    subscriber.sql(f"CREATE SUBSCRIPTION s CONNECTION '{publisher.conninfo}' PUBLICATION p")
    publisher.sql("INSERT INTO news VALUES (1)")
    until("the first row to arrive", lambda: subscriber.sql("SELECT count(*) FROM news") == "1")
    agent.backup()
    subscriber.archive_all()

    def walsender():
        return publisher.sql("SELECT active_pid FROM pg_replication_slots WHERE slot_name = 's'")

    before = until("the subscription to be active", walsender)
    clone, _ = promoted(lab, agent, subscriber, "--to-latest")
    assert clone.sql("SELECT count(*) FROM pg_subscription") == "1"
    assert clone.sql("SHOW max_logical_replication_workers") == "0"
    for number in range(2, 12):
        publisher.sql(f"INSERT INTO news VALUES ({number})")
        until(f"row {number} to arrive",
              lambda n=number: subscriber.sql("SELECT max(i) FROM news") == str(n))
    assert clone.sql("SELECT count(*) FROM news") == "1"
    assert clone.sql("SELECT count(*) FROM pg_stat_activity "
                     "WHERE backend_type LIKE 'logical replication%worker'") == "0"
    assert walsender() == before, "the clone took over the slot of production"


def test_a_clone_waits_for_no_standby_and_contacts_nobody(lab, major):
    server, agent = lab.protected(major, scale=1, synchronous_commit="local")
    server.set(synchronous_standby_names="elsewhere", primary_conninfo="host=/nonexistent",
               primary_slot_name="taken")
    agent.backup()
    server.archive_all()
    clone, document = promoted(lab, agent, server, "--to-latest")
    assert document["side"] is True
    clone.sql("CREATE TABLE free AS SELECT 1 AS i", options="-c synchronous_commit=on", timeout=20)
    for name in ("synchronous_standby_names", "primary_conninfo", "primary_slot_name",
                 "recovery_end_command", "archive_cleanup_command", "listen_addresses"):
        assert clone.sql(f"SHOW {name}") == "", name
    assert clone.sql("SHOW archive_mode") == "off"
    assert str(clone.sockets) != str(server.sockets)


def test_recovery_settings_do_not_outlive_recovery(lab, major):
    server, agent = lab.protected(major, scale=1)
    agent.backup()
    server.archive_all()
    clone, _ = promoted(lab, agent, server, "--to-latest")
    left = clone.rows("SELECT name, setting FROM pg_file_settings WHERE applied AND "
                      "name LIKE 'recovery\\_target%' AND setting <> ''")
    assert left == []


def test_asked_for_settings_reach_the_clone(lab, major):
    server, agent = lab.protected(major, scale=1)
    agent.backup()
    port = lab.port()
    target = lab.place("r")
    agent.restore(target, "--to-backup-end", "--action", "promote", "--start", "--port", port,
                  "--set", "work_mem=9MB")
    clone = lab.attach(target, server)
    until("promotion", lambda: clone.sql("SELECT pg_is_in_recovery()") == "f")
    assert clone.port == port
    assert clone.sql("SHOW work_mem") == "9MB"


def test_names_with_spaces_and_quotes(lab, major):
    server, agent = lab.protected(major, scale=1)
    server.sql("""CREATE DATABASE "it's a ""name\"""")
    agent.backup()
    server.archive_all()
    directory = lab.place("with space ")
    target = directory / "it's here"
    directory.mkdir()
    agent.restore(target, "--to-latest", "--start")
    clone = lab.attach(target, server)
    until("promotion", lambda: clone.sql("SELECT pg_is_in_recovery()") == "f")
    assert clone.sql("SELECT count(*) FROM pg_database WHERE datname LIKE '%name%'") == "1"


@pytest.mark.only(15)
def test_pg_basebackup_of_the_promoted_clone_is_whole(lab, major):
    server, agent = lab.protected(major, scale=1)
    agent.backup()
    server.archive_all()
    clone, _ = promoted(lab, agent, server, "--to-latest")
    copy = lab.place("b")
    run([DEBIAN_BIN / "pg_basebackup", "-D", copy, "-h", clone.sockets, "-p", clone.port,
         "-U", "postgres", "-c", "fast", "-X", "stream"])
    judges.verifybackup(copy, major, lab.root, parse_wal=True)
