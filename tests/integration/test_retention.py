"""What retention keeps comes back, what it drops goes, and the plan is what happens."""

import re
import time
from datetime import datetime

import pytest

from harness import judges
from harness.kill import NO_LEAKS, strace
from harness.wait import PATIENCE, until

pytestmark = pytest.mark.only(15, 18)

# Only what a rule names stays, and what goes is gone at once.
BARE = {"expire_grace": "0", "retain_window": "0s", "retain_daily": "0", "retain_weekly": "0",
        "retain_monthly": "0", "retain_yearly": "0", "refresh_period": "0"}


def protected(lab, major, **settings):
    return lab.protected(major, scale=1, agent_settings={**BARE, **settings})


def change(server, name):
    server.sql(f"CREATE TABLE t{name} AS SELECT generate_series(1, 1000) AS i")


def backups_of(document):
    return {b["id"]: b for part in document["repositories"] for b in part["backups"]}


def ids(agent):
    """Oldest first."""
    return [b["id"] for b in reversed(agent.backups())]


def segments(agent):
    return sorted(o.name for o in agent.objects() if "wal" in o.parts and len(o.name) == 24)


def restored(lab, server, agent, *args):
    target = lab.place("r")
    agent.restore(target, *args, "--action", "promote", "--start")
    clone = lab.attach(target, server)
    until("the clone to be promoted", lambda: clone.sql("SELECT pg_is_in_recovery()") == "f")
    return clone


def test_the_plan_is_what_happens_and_what_is_left_comes_back(lab, major):
    """Two by number, one by its mark: the marked one keeps just its own WAL."""
    server, agent = protected(lab, major, retain_backups="2", expire_auto="off")
    taken, rows, points = [], [], []
    for number in range(5):
        change(server, number)
        rows.append(judges.fingerprint(server))
        taken.append(agent.backup()["id"])
        change(server, f"{number}_after")
        points.append((server.lsn(), judges.fingerprint(server)))
        server.archive_all()
    server.archiver_rests()
    agent.run("keep", taken[1])
    assert "already" in agent.run("keep", taken[1]).out
    before, wal = agent.objects(), segments(agent)
    text = agent.run("expire").out
    plan = agent.json("expire")
    assert agent.objects() == before
    judged = backups_of(plan)
    assert {b: judged[b]["verdict"] for b in taken} == dict(
        zip(taken, ["drop", "keep", "drop", "keep", "keep"]))
    assert judged[taken[1]]["rules"] == ["keep"] and judged[taken[1]]["wal"] == "own"
    assert "marked by keep" in text and "no rule keeps it" in text and "--confirm" in text
    done = agent.json("expire", "--confirm")
    assert ids(agent) == [taken[1], taken[3], taken[4]]
    assert {b for b, d in backups_of(done).items() if d["state"] == "removed"} == {taken[0], taken[2]}
    for planned, carried in zip(plan["repositories"], done["repositories"]):
        for field in ("packs", "packs_removed", "bytes_freed", "wal_files", "wal_files_removed"):
            assert planned[field] == carried[field], field
    assert len(segments(agent)) < len(wal)
    again = agent.json("expire")
    assert all(b["verdict"] == "keep" for b in backups_of(again).values())
    assert all(part["packs_removed"] == part["wal_files_removed"] == 0
               for part in again["repositories"])
    agent.run("verify", "--all")
    window, = agent.json("list")["windows"]
    assert window["gaps"] and all(gap["by_retention"] for gap in window["gaps"])
    assert "only as they were" in agent.run("list").out
    # The marked one, as it was; the end of what is there, from the WAL behind the newest.
    clone = restored(lab, server, agent, "--backup", taken[1], "--to-backup-end")
    judges.same_rows(rows[1], judges.fingerprint(clone))
    judges.amcheck(clone)
    assert not [o for o in agent.objects() if "pins" in o.parts], "promoted, it reads nothing"
    clone = restored(lab, server, agent, "--to-lsn", points[4][0])
    judges.same_rows(points[4][1], judges.fingerprint(clone))
    # What lies between the marked one and the window is said to be out of reach, before anything is written.
    target = lab.place("r")
    refused = agent.run("restore", "-D", target, "--to-lsn", points[1][0], expect=3)
    assert not target.exists(), refused
    # A recovery that nobody watches holds WAL that would go: who, and until when, is told.
    agent.restore(target, "--backup", taken[1], "--to-backup-end")
    kept = backups_of(agent.json("expire"))
    assert {b for b in kept if kept[b]["pin"]} == {taken[1]} and kept[taken[1]]["state"] is None
    assert "the WAL behind its end goes with the first" in agent.run("expire").out
    for pin in (agent.repo / o for o in agent.objects() if "pins" in o.parts):
        pin.unlink()
    agent.run("unkeep", taken[1])
    agent.run("expire", "--confirm", "--force")
    assert ids(agent) == taken[3:]


@pytest.mark.only(18)
def test_a_moment_of_the_window_is_reached_after_all_older_wal_went(lab, major):
    """Of three backups the first goes, and the second stays only as what the window begins with."""
    window = 6 * PATIENCE
    server, agent = protected(lab, major, retain_backups="1", retain_window=f"{window:.0f}s",
                              expire_auto="off")

    def moment(name):
        xid = server.sql(f"BEGIN; CREATE TABLE m{name} AS SELECT 1 AS i; "
                         "SELECT pg_current_xact_id(); COMMIT")
        return server.sql(f"SELECT to_char(pg_xact_commit_timestamp('{xid}') AT TIME ZONE 'UTC', "
                          "'YYYY-MM-DD HH24:MI:SS.US') || 'Z'"), judges.fingerprint(server)

    taken = [agent.backup()["id"]]
    too_early, _ = moment("early")
    server.archive_all()
    second = agent.backup()
    taken.append(second["id"])
    begin = server.sql(f"SELECT pg_walfile_name('{second['start_lsn']}')")
    until("the first two to be older than the window", lambda: backups_of(
        agent.json("expire"))[taken[0]]["verdict"] == "drop", 2 * window)
    time, rows = moment("inside")
    server.archive_all()
    moment("later")
    server.archive_all()
    taken.append(agent.backup()["id"])
    server.archiver_rests()

    done = backups_of(agent.json("expire", "--confirm"))
    assert done[taken[0]]["state"] == "removed" and done[taken[1]]["rules"] == ["window_start"], done
    assert ids(agent) == taken[1:] and segments(agent)[0] == begin, segments(agent)
    clone = restored(lab, server, agent, "--to-time", time)
    judges.same_rows(rows, judges.fingerprint(clone))
    judges.amcheck(clone)
    target = lab.place("r")
    refused = agent.run("restore", "-D", target, "--to-time", too_early, expect=3)
    assert taken[1] in refused.err and not target.exists(), refused
    agent.run("verify", "--all")


def test_each_backup_prunes_behind_itself(lab, major):
    server, agent = protected(lab, major, retain_backups="1")
    first = agent.backup()
    assert first["expire"]["hidden"] == first["expire"]["removed"] == 0
    assert first["expire"]["error"] is None
    change(server, 1)
    kept = agent.backup("--keep")
    assert kept["expire"]["removed"] == 1 and ids(agent) == [kept["id"]]
    change(server, 2)
    rows = judges.fingerprint(server)
    last = agent.backup()
    assert last["expire"]["removed"] == 0 and ids(agent) == [kept["id"], last["id"]]
    agent.run("unkeep", kept["id"])
    newest = agent.backup()
    assert newest["expire"]["hidden"] == 2 and newest["expire"]["removed"] == 2, newest["expire"]
    assert ids(agent) == [newest["id"]]
    server.archive_all()
    judges.same_rows(rows, judges.fingerprint(restored(lab, server, agent, "--to-latest")))


@pytest.mark.only(15)
def test_a_plan_shows_what_is_left_when_all_that_is_hidden_is_gone(lab, major):
    """Until then the WAL behind the verified backup stays for the hidden one, and goes with that."""
    server, agent = protected(lab, major, retain_window="1s", retain_backups="1", expire_auto="off",
                              expire_grace="1h")
    for number in range(3):
        change(server, number)
        last = agent.backup()
        if number == 0:
            agent.run("verify", "--all")
        for more in range(2):
            change(server, f"{number}_{more}")
            server.archive_all()
    server.archiver_rests()
    finished = datetime.fromisoformat(last["finished_at"]).timestamp()
    until("two windows to be over", lambda: time.time() > finished + 3)
    plan = agent.json("expire")
    part, = plan["repositories"]
    assert [b["verdict"] for b in part["backups"]] == ["keep", "drop", "keep"], part
    assert part["wal_files_removed"] > part["now"]["wal_files_removed"], part
    window, = plan["windows_after"]
    assert window["from"] > plan["windows_before"][0]["from"], plan
    text = agent.run("expire").out
    assert "and 1 older backup(s), each just as it was" in text, text
    agent.run("expire", "--confirm")
    agent.cluster["expire_grace"] = "0"
    agent.write_config()
    agent.run("expire", "--confirm")
    agent.run("expire", "--confirm")
    after, = agent.json("expire")["repositories"]
    assert after["wal_files"] == part["wal_files"] - part["wal_files_removed"], (part, after)
    left, = agent.json("list")["windows"]
    assert (left["gaps"][-1]["to_lsn"], left["to"]) == (window["from_lsn"], window["to"]), left
    assert "when all that is hidden is removed: the same" in agent.run("expire").out


@pytest.mark.only(15)
def test_undelete_says_when_it_will_not_last(lab, major):
    server, agent = protected(lab, major, retain_backups="1", expire_grace="1d")
    first = agent.backup()["id"]
    agent.backup()
    done = agent.run("undelete", first)
    assert f"pgagent keep {first}" in done.err and "next backup hides it again" in done.err
    agent.run("expire", "--confirm")
    agent.run("undelete", first)
    agent.run("keep", first)
    agent.run("expire", "--backup", first, "--confirm", "--force")
    assert "keep" not in agent.run("undelete", first).err
    agent.backup()
    assert first in ids(agent)


def test_a_restore_keeps_its_backup_and_the_wal_behind_it(lab, major):
    """Its pin lives on through the recovery, whatever retention says meanwhile."""
    server, agent = protected(lab, major, retain_backups="1")
    first = agent.backup()
    change(server, 1)
    lsn, rows = server.lsn(), judges.fingerprint(server)
    server.archive_all()
    target = lab.place("r")
    document = agent.restore(target, "--to-lsn", lsn, "--action", "promote")
    change(server, 2)
    second = agent.backup()
    assert second["expire"]["hidden"] == 1 and second["expire"]["removed"] == 0
    assert first["id"] not in ids(agent)
    clone = lab.start_by_hand(document, target, server)
    until("the clone to be promoted", lambda: clone.sql("SELECT pg_is_in_recovery()") == "f")
    judges.same_rows(rows, judges.fingerprint(clone))
    judges.amcheck(clone)


def retention_link(agent):
    return next(link for link in agent.json("check", expect=None)["links"]
                if link["code"] == "retention")


@pytest.mark.parametrize("how", ["went back", "was set ahead while the host was off"])
def test_a_clock_that_jumped_is_refused_and_nothing_goes(lab, major, how):
    server, agent = protected(lab, major, retain_backups="1", expire_auto="off")
    first = agent.backup()
    agent.run("expire", "--confirm")
    change(server, 1)
    agent.backup()
    agent.backup()
    server.archiver_rests()
    clock = agent.home / "state" / "clock-main"
    shown = clock.read_text(encoding="utf-8")
    year = int(re.search(r"^time (\d{4})", shown, re.M).group(1))
    if how == "went back":
        shown = shown.replace(f"time {year}", f"time {year + 1}")
    else:
        shown = re.sub("^boot .*", "boot another", shown.replace(f"time {year}", f"time {year - 1}"),
                       flags=re.M)
    clock.write_text(shown, encoding="utf-8")
    before = agent.objects()
    for _ in range(2):  # a refusal is not forgotten
        done = agent.run("expire", "--confirm", expect=1)
        assert "this host's clock" in done.err and "--clock-is-right" in done.err
    assert agent.objects() == before and len(ids(agent)) == 3
    agent.run("expire", "--confirm", "--force", expect=1)  # permits other things
    # One by name goes all the same, and says nothing about the clock.
    agent.run("expire", "--backup", first["id"], "--confirm")
    agent.backup()
    agent.run("expire", "--confirm", expect=1)
    assert len(ids(agent)) == 3
    # What is asked of one repository says nothing about the others, and does not count below.
    agent.run("expire", "--confirm", "--repo", next(iter(agent.repos)), expect=1)
    agent.cluster["expire_auto"] = "on"
    agent.write_config()
    assert "--clock-is-right" in agent.run("backup").err
    link = retention_link(agent)
    assert link["severity"] == "warning" and "--clock-is-right" in link["hint"], link
    assert "last 5 run" in link["message"], link
    agent.run("expire", "--confirm", "--clock-is-right")
    agent.run("expire", "--confirm")
    assert len(ids(agent)) == 1 and retention_link(agent)["severity"] == "ok"


def test_without_any_rule_nothing_goes_and_check_says_so(lab, major):
    server, agent = protected(lab, major, retain_backups="0")
    first, second = agent.backup(), agent.backup()
    assert ids(agent) == [first["id"], second["id"]]
    assert "no retention is set" in agent.run("expire").out
    assert retention_link(agent)["severity"] == "warning"


@pytest.mark.parametrize("name, code", [("SIGINT", 130), ("SIGTERM", 1)])
def test_a_backup_stopped_while_it_prunes_says_so_and_is_there(lab, major, name, code):
    _, agent = protected(lab, major, retain_backups="1")
    first = agent.backup()
    # The second lock it takes is that of runs that remove.
    done = agent.run("backup", "--checkpoint", "fast", "--output", "json", expect=code,
                     env=NO_LEAKS, wrap=strace(lab, f"flock:signal={name}:when=2"))
    second = done.json()
    assert "stopped" in second["expire"]["error"] and second["expire"]["removed"] == 0
    assert "the backup is complete" in done.err
    assert ids(agent) == [first["id"], second["id"]]
    agent.run("expire", "--confirm")
    assert ids(agent) == [second["id"]]
