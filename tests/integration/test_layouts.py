"""Clusters that are not laid out as a test would like, and clones that must not touch the world."""

import shutil
import subprocess

import pytest

from harness import judges
from harness.postgres import DEBIAN_BIN, clean_environment
from harness.wait import until


# Layouts are one thing from 15 on: the oldest and the newest server stand for all.
pytestmark = pytest.mark.only(15, 18)


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
    elsewhere = {name: lab.place("ts") for name in old}
    agent.restore(unstarted, "--to-backup-end",
                  *[f"--tablespace={name}={place}" for name, place in elsewhere.items()])
    judges.verifybackup(unstarted, major, lab.root, changed=["tablespace_map"])
    # Recovery makes the links anew from the map: an old path there would be the original's.
    lines = (unstarted / "tablespace_map").read_text(encoding="utf-8").splitlines()
    linked = {link.name: str(link.readlink()) for link in (unstarted / "pg_tblspc").iterdir()}
    assert dict(line.split(" ", 1) for line in lines) == linked
    assert sorted(linked.values()) == sorted(str(place) for place in elsewhere.values())

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


def refused(agent, owner, *args):
    for plan in (["--plan"], []):
        done = agent.run("restore", "--to-backup-end", *args, *plan, expect=2)
        assert str(owner) in done.out + done.err, done
        assert "move" not in done.err, done
    return done


def test_nothing_is_restored_into_the_directories_of_others(lab, major):
    server, agent = lab.protected(major, scale=1)
    places = make_tablespaces(lab, server)
    agent.backup()
    to = ["--tablespace-dir", lab.place("ts")]
    link = lab.place("link")
    link.symlink_to(server.data)
    for owner in (server.data, places["fast"], agent.repo):
        refused(agent, owner, "-D", owner / "sub", *to)
        refused(agent, owner, "-D", lab.place("r"), "--tablespace-dir", owner / "all")
        refused(agent, owner, "-D", lab.place("r"), *to, f"--tablespace=fast={owner}/one")
        assert not any((owner / name).exists() for name in ("sub", "all", "one"))
    refused(agent, server.data, "-D", link / "sub", *to)
    for target in (agent.repo, agent.home, "/"):
        refused(agent, agent.repo, "-D", target, *to)
    bare = agent.run("restore", "--repo", agent.repo, "--key-file", agent.key, "-D",
                     agent.repo / "sub", *to, config=False, expect=2)
    assert str(agent.repo) in bare.err and not (agent.repo / "sub").exists()
    agent.restore(lab.place("r"), "--to-backup-end", *to)


def test_a_repository_in_the_data_directory_is_not_restored_away(lab, major):
    server = lab.server(major, filled=(1, 0))
    inside = server.data / "repo"
    agent = lab.agent(server, repos={"local": {"path": inside, "key_file":
                                               lab.place("key")}}).protect()
    agent.backup()
    server.archive_all()
    server.stop()
    before = sorted(inside.rglob("*"))
    done = agent.run("restore", "-D", server.data, "--delta", "--archiving", "keep", expect=2)
    assert str(inside) in done.err and "move" in done.err, done
    assert sorted(inside.rglob("*")) == before and (server.data / "global/pg_control").exists()
    # Moved out, and said so, it can be done.
    moved = lab.place("repo")
    inside.rename(moved)
    agent.repos["local"]["path"] = moved
    agent.write_config()
    agent.restore(server.data, "--delta", "--archiving", "keep")


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
    for number in range(2):
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
    server = lab.server(major, filled=(1, 0), outside_conf=True, max_connections="77",
                        work_mem="7MB")
    agent = lab.agent(server).protect()
    agent.backup()
    server.archive_all()
    expected = judges.fingerprint(server)
    pid = server.pid()
    clone, document = promoted(lab, agent, server, "--to-latest")
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
    # Stopped, and started as the last lines say: still itself, while the original is down.
    clone.stop()
    server.stop()
    assert "pgagent-start.conf" in document["start_command"]
    log = lab.place("log")
    with open(log, "w", encoding="utf-8") as out:
        subprocess.run(["sh", "-c", document["start_command"]], stdin=subprocess.DEVNULL,
                       stdout=out, stderr=out, env=clean_environment(), timeout=90, check=True)
    again = lab.attach(clone.data, server)
    until("the copy to answer", again.answers)
    assert again.sql("SHOW data_directory") == str(clone.data)
    assert again.sql("SELECT count(*) FROM only_here") == "0"
    assert server.pid() is None


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
    assert publisher.sql("SELECT string_agg(slot_name, ',') FROM pg_replication_slots") == "s"
    assert judges.fingerprint(publisher)["postgres.public.news"] == \
        judges.fingerprint(subscriber)["postgres.public.news"], "production lost rows"


@pytest.mark.only(15)
def test_what_runs_jobs_is_left_out_though_the_role_could_not_see_it(lab, major):
    """By its name alone: another one stands in for it."""
    library = lab.place("lib") / "pg_cron.so"
    library.parent.mkdir()
    shutil.copy(DEBIAN_BIN.parent / "lib" / "auto_explain.so", library)
    server, agent = lab.protected(major, scale=1, shared_preload_libraries=str(library))
    server.sql("CREATE ROLE backup LOGIN REPLICATION; "
               "GRANT EXECUTE ON FUNCTION pg_switch_wal() TO backup")
    agent.cluster["conninfo"] = server.conninfo.replace("user=postgres", "user=backup")
    agent.write_config()
    agent.backup()
    server.archive_all()
    clone, _ = promoted(lab, agent, server, "--to-latest")
    assert clone.sql("SHOW shared_preload_libraries") == ""


@pytest.mark.only(15)
def test_a_library_that_opens_subscriptions_and_has_to_stay_is_warned_of(lab, major):
    """By its name alone: another one stands in for it."""
    library = lab.place("lib") / "spock.so"
    library.parent.mkdir()
    shutil.copy(DEBIAN_BIN.parent / "lib" / "auto_explain.so", library)
    server, agent = lab.protected(major, scale=1, shared_preload_libraries=str(library))
    agent.backup()
    server.archive_all()
    target = lab.place("r")
    plan = agent.run("restore", "-D", target, "--plan")
    assert "BEWARE      spock opens the original's subscriptions in this copy" in plan.out, plan
    done = agent.run("restore", "-D", target, "--action", "pause", "--start")
    assert "spock is loaded in this copy" in done.err, done
    clone = lab.attach(target, server)
    assert clone.sql("SHOW shared_preload_libraries") == str(library), "replay may need it"
    clone.stop()
    without = agent.restore(lab.place("r"), "--set", "shared_preload_libraries=", "--plan")
    assert without["opens_subscriptions"] is None
    server.stop()
    over = agent.run("restore", "-D", server.data, "--delta", "--archiving", "keep", "--plan").out
    assert "BEWARE" not in over, over


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
