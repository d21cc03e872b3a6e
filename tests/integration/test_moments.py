"""Expire at every moment of a running backup, restore and recovery, and a backup at every one of an expire."""

import os
import shutil

import pytest

from harness import judges
from harness.kill import kill_at
from harness.stops import OPENS, PUTS, REMOVALS, moments, stopped
from harness.wait import until

pytestmark = pytest.mark.only(15, 18)

# It drops what it can, and removes at once what it drops.
BARE = {"expire_grace": "0", "retain_window": "0s", "retain_daily": "0", "retain_weekly": "0",
        "retain_monthly": "0", "retain_yearly": "0", "refresh_period": "0", "retain_backups": "1",
        "expire_auto": "off"}
EXPIRE = ("expire", "--confirm", "--force")


def some_of(numbers, few):
    """All in the nightly run, else so many of them, evenly spread."""
    if os.environ.get("PGAGENT_TEST_NIGHTLY") == "1" or len(numbers) <= few:
        return numbers
    return [numbers[i * (len(numbers) - 1) // (few - 1)] for i in range(few)]


def protected(lab, major):
    """(server, agent, the agent of another host): two hosts share no lock."""
    summaries = {"summarize_wal": "on"} if major >= 17 else {}
    server, agent = lab.protected(major, scale=1, agent_settings=BARE, **summaries)
    other = lab.agent(server, repos=agent.repos, **BARE)
    other.repo, other.key = agent.repo, agent.key
    return server, agent, other


def change(server, name):
    server.sql(f"CREATE TABLE t{name} AS SELECT generate_series(1, 1000) AS i; "
               "UPDATE pgbench_accounts SET abalance = abalance + 1 WHERE aid % 997 = 0")


def ids(agent):
    """Oldest first."""
    return [b["id"] for b in reversed(agent.backups())]


def states(document):
    return {b["id"]: b["state"] for part in document["repositories"] for b in part["backups"]}


def segments(agent):
    return [o.name for o in agent.objects() if "wal" in o.parts and len(o.name) == 24]


def two_backups_far_apart(server, agent):
    """(an LSN some segments behind the first, the rows there, the second, which lies behind it)"""
    agent.backup()
    for number in range(3):
        change(server, number)
        server.archive_all()
    lsn, rows = server.lsn(), judges.fingerprint(server)
    server.archive_all()
    newest = agent.backup()["id"]
    server.archiver_rests()
    return lsn, rows, newest


def promoted(clone):
    until("the clone to be promoted", lambda: clone.sql("SELECT pg_is_in_recovery()") == "f")


def comes_back(lab, server, agent, rows, *args):
    target = lab.place("r")
    agent.restore(target, *args, "--action", "promote", "--start")
    clone = lab.attach(target, server)
    promoted(clone)
    judges.same_rows(rows, judges.fingerprint(clone))
    forget(lab, agent, clone)


def forget(lab, agent, clone):
    """The recovery is over, so its pin means nothing any more."""
    clone.stop("immediate")
    lab.servers.remove(clone)
    shutil.rmtree(clone.data)
    for pin in agent.repo.glob("main/*/pins/restore-*/*"):
        pin.unlink()


@pytest.mark.only(18)
@pytest.mark.parametrize("calls", [PUTS, OPENS], ids=["puts", "reads"])
def test_expire_at_each_step_of_a_backup(lab, major, calls):
    """Another host takes a backup meanwhile, so that retention wants the parent to go."""
    server, agent, other = protected(lab, major)
    agent.backup()
    change(server, "first")
    numbers = moments(lab, agent, calls, "backup", "--checkpoint", "fast")
    became = set()
    for nth in some_of(numbers, 3):
        agent.backup()  # not verified, so that nothing but its age keeps it
        change(server, nth)
        rows = judges.fingerprint(server)
        beside = {}

        def meanwhile():
            other.backup()
            beside.update(states(other.json(*EXPIRE)))

        done = stopped(lab, agent, calls, nth, meanwhile, "backup", "--checkpoint", "fast",
                       "--output", "json")
        if done is None:
            continue
        assert done.code == 0, done
        made = done.json()
        became.add(beside.get(made["parent"]))
        agent.run("verify", "--all")
        left = ids(agent)
        assert made["id"] in left or beside[made["id"]] == "removed"
        comes_back(lab, server, agent, rows, "--backup",
                   made["id"] if made["id"] in left else left[-1], "--to-backup-end")
        agent.run(*EXPIRE)
        agent.run("verify", "--all")
    assert "pinned" in became, became


@pytest.mark.only(15)
@pytest.mark.parametrize("named, calls", [(True, OPENS), (True, PUTS), (False, REMOVALS)],
                         ids=["by-name-reads", "by-name-puts", "by-policy-removals"])
def test_a_backup_at_each_step_of_an_expire(lab, major, named, calls):
    """By name its parent goes meanwhile; by the policy that parent's own."""
    server, agent, other = protected(lab, major)

    def two():
        taken = []
        for _ in range(2):
            change(server, next(lab.names))
            taken.append(agent.backup()["id"])
            server.archive_all()
        return taken

    def expire(going):
        return (*EXPIRE, "--backup", going[1]) if named else EXPIRE

    numbers = moments(lab, agent, calls, *expire(two()))
    parents = set()
    for nth in some_of(numbers, 2):
        agent.run(*EXPIRE)
        old, parent = two()
        change(server, next(lab.names))
        rows, made = judges.fingerprint(server), []
        done = stopped(lab, agent, calls, nth, lambda: made.append(other.backup()),
                       *expire([old, parent]), "--output", "json")
        if done is None:
            continue
        assert done.code == 0, done
        parents.add(made[0]["parent"] == parent)
        agent.run("verify", "--all")
        left = ids(agent)
        assert {b["id"] for b in made} <= set(left), done
        server.archive_all()
        comes_back(lab, server, agent, rows, "--backup", made[-1]["id"], "--to-latest")
    # The first thing that is put hides it.
    assert (True in parents) == (calls != PUTS), parents


@pytest.mark.only(15)
@pytest.mark.parametrize("marked", [False, True], ids=["dropped", "marked"])
def test_expire_at_each_step_of_a_restore(lab, major, marked):
    """It wants the backup to go; or, where that is marked, the WAL behind it."""
    server, agent, other = protected(lab, major)
    lsn, rows, newest = two_backups_far_apart(server, agent)
    server.stop()
    if marked:
        agent.run("keep", ids(agent)[0])
    saved = lab.place("saved")
    shutil.copytree(agent.repo, saved)
    target = lab.place("r")
    restore = ("restore", "-D", target, "--to-lsn", lsn, "--action", "promote", "--output", "json")
    # Which thread opens what differs from run to run; what is put last is always behind the pin.
    steps = [(OPENS, nth) for nth in some_of(moments(lab, agent, OPENS, *restore), 7)]
    shutil.rmtree(target)
    steps.append((PUTS, moments(lab, agent, PUTS, *restore)[-1]))
    came = {True: 0, False: 0}
    for calls, nth in steps:
        shutil.rmtree(target, ignore_errors=True)
        shutil.rmtree(agent.repo)
        shutil.copytree(saved, agent.repo)
        done = stopped(lab, agent, calls, nth, lambda: other.json(*EXPIRE), *restore)
        if done is None:
            continue
        came[done.code == 0] += 1
        assert done.code == 0 or calls == OPENS, done
        if done.code == 0:
            clone = lab.start_by_hand(done.json(), target, server)
            promoted(clone)
            judges.same_rows(rows, judges.fingerprint(clone))
            forget(lab, agent, clone)
            continue
        said = done.err.lower()
        assert done.code == 3 and "damage" not in said and "push" not in said, done
        assert not (target / "global" / "pg_control").exists()
        assert agent.restore(target, "--to-latest", "--plan")["backup"] == newest
    assert came[True] and came[False], came


@pytest.mark.only(15)
def test_an_expire_that_was_killed_keeps_no_restore_waiting(lab, major):
    """It had recorded what it was about to remove, and its pin is left: all of it is there still."""
    server, agent, _ = protected(lab, major)
    lsn, rows, _ = two_backups_far_apart(server, agent)
    server.stop()
    agent.run("keep", ids(agent)[0])
    saved = lab.place("saved")
    shutil.copytree(agent.repo, saved)
    whole = segments(agent)
    for nth in range(1, 12):
        shutil.rmtree(agent.repo)
        shutil.copytree(saved, agent.repo)
        assert kill_at(lab, agent, "unlink,unlinkat", nth, *EXPIRE)
        if list(agent.repo.glob("main/*/gaps/*")):
            break
    assert list(agent.repo.glob("main/*/pins/sweep-*/*")) and segments(agent) == whole
    assert agent.restore(lab.place("r"), "--to-lsn", lsn, "--plan")["threat"] is None
    comes_back(lab, server, agent, rows, "--to-lsn", lsn)
    agent.run(*EXPIRE)
    assert len(segments(agent)) < len(whole)
    agent.run("verify", "--all")


def test_expire_before_each_segment_of_a_recovery(lab, major):
    server, agent, other = protected(lab, major)
    lsn, rows, newest = two_backups_far_apart(server, agent)
    server.stop()
    target = lab.place("r")
    document = agent.restore(target, "--to-lsn", lsn, "--action", "promote")
    log, conf = lab.place("log"), target / "postgresql.auto.conf"
    first = " ".join(other.command(*EXPIRE, "--output", "json"))
    conf.write_text(conf.read_text(encoding="utf-8").replace(
        "restore_command = '", f"restore_command = '{first} >>{log} 2>&1 || exit 255; "),
        encoding="utf-8")
    clone = lab.start_by_hand(document, target, server)
    promoted(clone)
    judges.same_rows(rows, judges.fingerprint(clone))
    judges.amcheck(clone)
    said = log.read_text(encoding="utf-8")
    assert said.count('"state": "pinned"') >= 4 and '"state": "removed"' not in said, said
    agent.run("verify", "--all")
    forget(lab, agent, clone)
    before = segments(agent)
    agent.run(*EXPIRE)
    assert [o.name for o in agent.objects() if "backups" in o.parts] == [newest]
    assert len(segments(agent)) < len(before)
    agent.run("verify", "--all")
    assert agent.restore(lab.place("r"), "--to-latest", "--plan")["backup"] == newest
