"""Each kind of recovery target, inclusive and exclusive, and across timelines.

One server per major writes a row per moment; every restore must show exactly the rows that the
moment's definition in PostgreSQL's manual promises.
"""

import calendar
import json
import re
import shutil
from dataclasses import dataclass
from datetime import datetime, timedelta

import pytest

from harness.postgres import run
from harness.wait import until

SHARES_SERVER = True


@dataclass
class Moment:
    number: int
    xid: str
    time: str           # commit timestamp, UTC with microseconds
    commit_lsn: str     # start of the commit record
    end_lsn: str        # just behind it
    name: str           # restore point made after it


def write_moment(server, number):
    """Commits row `number` of `moments` and tells everything about that commit."""
    start = server.lsn()
    xid = server.sql(f"INSERT INTO moments VALUES ({number}) RETURNING pg_current_xact_id()")
    # Flushed with the commit; what is inserted behind it by others may not be there to be read.
    end = server.sql("SELECT pg_current_wal_flush_lsn()")
    time = server.sql("SELECT to_char(pg_xact_commit_timestamp("
                      f"'{xid}') AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US') || 'Z'")
    commit, behind = server.rows(
        f"SELECT start_lsn, end_lsn FROM pg_get_wal_records_info('{start}', '{end}') "
        f"WHERE xid = '{xid}' AND record_type LIKE 'COMMIT%'")[0]
    name = f"moment_{number}"
    server.sql(f"SELECT pg_create_restore_point('{name}')")
    return Moment(number, xid, time, commit, behind, name)


@dataclass
class Scene:
    lab: object
    server: object
    agent: object
    backup: dict
    moments: list
    after: str      # a time after the last commit


@pytest.fixture(scope="module")
def scene(shared_lab, major):
    lab = shared_lab
    # The commits of autovacuum are commits too: the last one shall be ours.
    server = lab.server(major, filled=(1, 0), autovacuum="off")
    server.sql("CREATE TABLE moments (i int); CREATE EXTENSION pg_walinspect")
    agent = lab.agent(server).protect()
    backup = agent.backup()
    moments = []
    for number in range(1, 7):
        moments.append(write_moment(server, number))
        if number % 2 == 0:
            server.archive_all()
    server.archive_all()
    after = server.sql("SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', "
                       "'YYYY-MM-DD HH24:MI:SS.US') || 'Z'")
    return Scene(lab, server, agent, backup, moments, after)


def seen(scene, *args, action="pause"):
    """Restores with these options and returns (moments visible, document); the clone is gone."""
    target = scene.lab.place("r")
    document = scene.agent.restore(target, *args, "--action", action, "--start")
    clone = scene.lab.attach(target, scene.server)
    try:
        if action == "promote":
            until("promotion", lambda: clone.sql("SELECT pg_is_in_recovery()") == "f")
            assert clone.timeline() > 1
        else:
            assert clone.sql("SELECT pg_is_in_recovery()") == "t"
            assert clone.sql("SELECT pg_get_wal_replay_pause_state()") == "paused"
        assert clone.sql("SHOW archive_mode") == "off"
        numbers = clone.sql("SELECT coalesce(string_agg(i::text, ',' ORDER BY i), '') "
                            "FROM moments")
    finally:
        clone.stop("immediate")
    shutil.rmtree(target)
    return numbers, document


def upto(last):
    return ",".join(str(i) for i in range(1, last + 1))


@pytest.mark.parametrize("exclusive", [False, True], ids=["inclusive", "exclusive"])
@pytest.mark.parametrize("kind", ["time", "lsn", "xid"])
def test_target_is_met_to_the_transaction(scene, kind, exclusive):
    moment = scene.moments[3]
    value = {"time": moment.time, "lsn": moment.commit_lsn, "xid": moment.xid}[kind]
    options = ["--exclusive"] if exclusive else []
    numbers, document = seen(scene, f"--to-{kind}", value, *options)
    assert numbers == upto(3 if exclusive else 4)
    assert document["target"]["kind"] == kind
    assert document["target"]["timeline"] == 1
    assert document["backup"] == scene.backup["id"]


def test_restore_point_by_name(scene):
    numbers, document = seen(scene, "--to-name", "moment_2")
    assert numbers == upto(2)
    assert document["target"]["kind"] == "name"


def test_end_of_the_backup_shows_nothing_later(scene):
    assert seen(scene, "--to-backup-end")[0] == ""


def test_latest_shows_everything_and_its_lsn_is_frozen(scene):
    numbers, document = seen(scene, "--to-latest", action="promote")
    assert numbers == upto(6)
    assert document["target"]["lsn"] is not None


def test_promoted_at_the_target_goes_on_from_there(scene):
    assert seen(scene, "--to-lsn", scene.moments[2].commit_lsn, action="promote")[0] == upto(3)


def test_second_guess_after_an_earlier_one_shows_all_rows(scene):
    first, _ = seen(scene, "--to-time", scene.moments[1].time, action="promote")
    assert first == upto(2)
    second, _ = seen(scene, "--to-time", scene.moments[4].time, action="promote")
    assert second == upto(5)
    assert scene.server.sql("SELECT count(*) FROM moments") == "6"


@pytest.mark.parametrize("zone", ["+01:00", "-05:30", " Europe/Paris"])
def test_the_zone_that_was_written_is_the_zone_that_counts(scene, zone):
    moment = scene.moments[3]
    shift = f"'{zone.strip()}'" if "/" in zone else f"INTERVAL '{zone}'"
    local = scene.server.sql(
        f"SELECT to_char(timestamptz '{moment.time}' AT TIME ZONE {shift}, "
        "'YYYY-MM-DD HH24:MI:SS.US')")
    assert local not in moment.time
    plan = scene.agent.restore(scene.lab.place("r"), "--to-time", local + zone, "--plan")
    assert plan["target"]["time"] == moment.time.replace(" ", "T")


@pytest.mark.only(15)
def test_an_hour_that_exists_twice_is_asked_about_and_each_answer_is_a_moment(scene):
    """In a zone whose clocks went back by an hour ten minutes after the commit."""
    moment = scene.moments[3]
    utc = datetime.fromisoformat(moment.time.rstrip("Z"))
    east = 12 - utc.hour    # so that it is noon there, far from any other day
    wall = utc + timedelta(hours=east + 1)
    back = wall + timedelta(minutes=10)
    leap = back.month > 2 and calendar.isleap(back.year)    # Jn counts no 29th of February
    zone = {"TZ": f"STD{-east}DST{-east - 1},J1/0,J{back.timetuple().tm_yday - leap}/{back:%H:%M:%S}"}
    target = scene.lab.place("r")
    done = scene.agent.run("restore", "-D", target, "--to-time", f"{wall:%F %T.%f}", "--plan",
                           expect=2, env=zone)
    first, second = re.findall(r"--to-time '([^']+)'", done.err)
    assert "exists twice" in done.err and not target.exists()
    plan = scene.agent.restore(target, "--to-time", first, "--plan", env=zone)
    assert plan["target"]["time"] == moment.time.replace(" ", "T")
    later = scene.agent.run("restore", "-D", target, "--to-time", second, "--plan", expect=3)
    assert "later than now" in later.out, "an hour after the commit"
    assert seen(scene, "--to-time", first)[0] == upto(4)


@pytest.mark.only(15)
def test_an_hour_without_a_day_is_refused_with_the_command_that_has_it(scene):
    moment = scene.moments[3]
    utc = datetime.fromisoformat(moment.time.rstrip("Z"))
    wall = utc + timedelta(hours=5, minutes=30)
    target = scene.lab.root / "it's here"
    done = scene.agent.run("restore", "-D", target, "--to-time", f"{wall:%T.%f}", "--plan",
                           expect=2, env={"TZ": "Asia/Kolkata"})
    assert "which day" in done.err, done
    line, = re.findall(r"^hint: the last one was: (.*)$", done.err, re.M)
    assert f"--to-time '{wall:%F %T.%f}+05:30'" in line, line
    # Whoever types it, wherever he is.
    typed = run(["sh", "-c", f"{line} --output json"])
    plan = json.loads(typed.stdout)
    assert plan["target"]["time"] == moment.time.replace(" ", "T") and plan["reachable"], plan


@pytest.mark.only(15)
def test_an_hour_that_does_not_exist_is_refused_with_the_moments_around_it(scene):
    target = scene.lab.place("r")
    for zoned, zone in (("2026-03-29 02:30:00", {"TZ": "Europe/Paris"}),
                        ("2026-03-29 02:30:00 Europe/Paris", {})):
        done = scene.agent.run("restore", "-D", target, "--to-time", zoned, "--plan",
                               expect=2, env=zone)
        assert "does not exist" in done.err and "2026-03-29 01:30:00+01:00" in done.err
        assert "2026-03-29 03:30:00+02:00" in done.err and not target.exists()


def test_lsn_before_the_backup_is_refused_with_what_can_be_reached(scene):
    target = scene.lab.place("r")
    plan = scene.agent.restore(target, "--to-lsn", "0/1000000", "--plan", expect=3)
    assert plan["reachable"] is False
    assert plan["reason"] and plan["problems"]
    scene.agent.run("restore", "-D", target, "--to-lsn", "0/1000000", expect=3)
    assert not target.exists() or not any(target.iterdir())


def test_lsn_behind_the_archive_is_refused_with_what_can_be_reached(scene):
    target = scene.lab.place("r")
    plan = scene.agent.restore(target, "--to-lsn", "7/0", "--plan", expect=3)
    assert plan["reachable"] is False and plan["problems"][0]["hint"]
    scene.agent.run("restore", "-D", target, "--to-lsn", "7/0", expect=3)
    assert not target.exists() or not any(target.iterdir())


def test_time_before_the_first_backup_is_refused(scene):
    target = scene.lab.place("r")
    done = scene.agent.run("restore", "-D", target, "--to-time", "2001-01-01 00:00:00Z", expect=3)
    assert "2001" in done.err
    assert f"--to-backup-end --backup {scene.backup['id']}" in done.err, "the nearest"
    assert not target.exists() or not any(target.iterdir())


def test_time_in_the_future_is_refused(scene):
    target = scene.lab.place("r")
    done = scene.agent.run("restore", "-D", target, "--to-time", "2100-01-01 00:00:00Z", expect=3)
    assert "2100" in done.err and "--to-latest" in done.err, done
    assert not target.exists()


def test_time_behind_the_last_commit_is_refused_with_the_latest(scene):
    target = scene.lab.place("r")
    done = scene.agent.run("restore", "-D", target, "--to-time", scene.after, "--start", expect=3)
    last = scene.moments[-1].time.replace(" ", "T")
    assert f"--to-time '{last}'" in done.err and "--to-latest" in done.err, done
    assert not target.exists()


def test_time_of_the_last_commit_is_reached(scene):
    """PostgreSQL alone would wait in vain for a later commit, and stop with FATAL."""
    assert seen(scene, "--to-time", scene.moments[-1].time)[0] == upto(6)


def test_target_that_is_never_reached_stops_the_server_instead_of_promoting_it(scene):
    """Where a name lies is found out by PostgreSQL only."""
    target = scene.lab.place("r")
    done = scene.agent.run("restore", "-D", target, "--to-name", "never made",
                           "--action", "promote", "--start", expect=3)
    assert "recovery ended before configured recovery target was reached" in done.err
    assert "not yet accepting" not in done.err, "what is no reason is not given as one"
    assert "--to-latest" in done.err
    assert not (target / "postmaster.pid").exists()
    assert not list(target.glob("pg_wal/*.history"))


def test_unknown_backup_is_named(scene):
    done = scene.agent.run("restore", "-D", scene.lab.place("r"), "--backup", "20010101-nothing",
                           expect=(2, 3))
    assert "20010101-nothing" in done.err


def test_in_place_starts_a_timeline_and_both_can_be_restored(lab, major):
    server, agent = lab.protected(major, scale=1, autovacuum="off")
    server.sql("CREATE TABLE moments (i int); CREATE EXTENSION pg_walinspect")
    agent.backup()
    old = [write_moment(server, n) for n in (1, 2, 3)]
    server.archive_all()
    server.stop()
    server.data.rename(lab.place("old"))

    agent.restore(server.data, "--to-lsn", old[1].commit_lsn, "--in-place", "--archiving", "keep",
                  "--action", "promote", "--yes")
    server.start()
    until("promotion", lambda: server.sql("SELECT pg_is_in_recovery()") == "f")
    assert server.timeline() == 2
    assert server.sql("SELECT string_agg(i::text, ',' ORDER BY i) FROM moments") == "1,2"
    server.sql("INSERT INTO moments VALUES (20)")
    server.archive_all()

    def rows(*args):
        target = lab.place("r")
        document = agent.restore(target, *args, "--start")
        clone = lab.attach(target, server)
        until("promotion", lambda: clone.sql("SELECT pg_is_in_recovery()") == "f")
        numbers = clone.sql("SELECT string_agg(i::text, ',' ORDER BY i) FROM moments")
        clone.stop("immediate")
        return numbers, document["target"]["timeline"]

    assert rows("--to-latest") == ("1,2,20", 2)
    assert rows("--to-latest", "--timeline", "latest") == ("1,2,20", 2)
    # The second guess: the later moment lies on the timeline that was left.
    assert rows("--to-time", old[2].time, "--timeline", "1", "--action", "promote") == ("1,2,3", 1)
    assert rows("--to-lsn", old[2].commit_lsn, "--timeline", "1",
                "--action", "promote") == ("1,2,3", 1)
    agent.backup()
    assert rows("--to-latest") == ("1,2,20", 2)
