"""A backup is removed, what others share with it stays, and whatever interrupts it is gone on with."""

import datetime
import os
import re
import shutil
import signal
import subprocess
import time

import pytest

from harness import judges
from harness.wait import until

pytestmark = pytest.mark.only(15, 18)

NOW = {"agent_settings": {"expire_grace": "0"}}
NO_LEAKS = {"ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=0"}


def three_backups(lab, major, **kwargs):
    """(server, agent, [backup], [rows at each]); each shares most packs with the one before it."""
    server, agent = lab.protected(major, scale=1, bulk_mb=8, **kwargs)
    backups, rows = [], []
    for number in range(3):
        server.sql(f"CREATE TABLE t{number} AS SELECT generate_series(1, {1000 + number}) AS i")
        rows.append(judges.fingerprint(server))
        backups.append(agent.backup())
    server.archiver_rests()
    return server, agent, backups, rows


def packs(agent):
    return [o for o in agent.objects() if "packs" in o.parts]


def end_recoveries(agent):
    """Restores leave their pins to the recovery for a day; here it is over."""
    for pin in (agent.repo / o for o in agent.objects() if "pins" in o.parts):
        pin.unlink()


def ids(agent):
    return {b["id"] for b in agent.backups()}


def expect_whole(lab, server, agent, backup, rows, major):
    plain = lab.place("r")
    agent.restore(plain, "--to-backup-end", "--backup", backup["id"], "--action", "promote")
    judges.verifybackup(plain, major, lab.root)
    target = lab.place("r")
    agent.restore(target, "--to-backup-end", "--backup", backup["id"], "--action", "promote",
                  "--start")
    clone = lab.attach(target, server)
    until("the clone to be promoted", lambda: clone.sql("SELECT pg_is_in_recovery()") == "f")
    judges.same_rows(rows, judges.fingerprint(clone))
    judges.amcheck(clone)


def test_the_first_of_three_goes_and_the_others_stay_whole(lab, major):
    server, agent, (first, second, third), rows = three_backups(lab, major, **NOW)
    before = packs(agent)
    plan = agent.json("expire", "--backup", first["id"])
    assert plan["confirmed"] is False and packs(agent) == before and len(ids(agent)) == 3
    done = agent.json("expire", "--backup", first["id"], "--confirm")
    assert done["repositories"][0]["backups"][0]["state"] == "removed"
    assert done["repositories"][0]["bytes_freed"] == plan["repositories"][0]["bytes_freed"]
    assert ids(agent) == {second["id"], third["id"]}
    agent.run("restore", "--backup", first["id"], "-D", lab.place("r"), "--to-backup-end", expect=3)
    agent.run("verify", "--all")
    for backup, expected in ((second, rows[1]), (third, rows[2])):
        expect_whole(lab, server, agent, backup, expected, major)
    end_recoveries(agent)
    # The last two: their packs, and with them those of the first, go.
    agent.run("expire", "--backup", second["id"], "--confirm")
    agent.run("expire", "--backup", third["id"], "--confirm", expect=1)
    assert ids(agent) == {third["id"]}
    agent.run("expire", "--backup", third["id"], "--confirm", "--force")
    assert ids(agent) == set() and packs(agent) == []
    agent.backup()
    agent.run("verify")


@pytest.mark.only(15)
def test_what_is_hidden_can_be_brought_back(lab, major):
    _, agent, (first, second, third), _ = three_backups(lab, major)
    before = packs(agent)
    hidden = agent.json("expire", "--backup", second["id"], "--confirm")
    assert hidden["repositories"][0]["backups"][0]["state"] == "hidden"
    refused = agent.run("restore", "-D", lab.place("r"), "--backup", second["id"], expect=3)
    assert f"pgagent undelete {second['id']}" in refused.err, str(refused)
    assert ids(agent) == {first["id"], third["id"]}
    agent.run("undelete", second["id"])
    assert ids(agent) == {first["id"], second["id"], third["id"]}
    assert packs(agent) == before
    agent.run("undelete", second["id"], expect=3)
    agent.run("expire", "--backup", second["id"], "--confirm")
    agent.cluster["expire_grace"] = "0"
    agent.write_config()
    agent.run("expire", "--confirm")
    assert ids(agent) == {first["id"], third["id"]}
    agent.run("undelete", second["id"], expect=(1, 3))
    agent.run("verify", "--all")


def told(document, backup):
    part, = document["repositories"]
    return next(b for b in part["backups"] if b["id"] == backup["id"])


@pytest.mark.only(15)
def test_a_plan_tells_what_comes_now_from_what_comes_later(lab, major):
    _, agent, (first, second, third), _ = three_backups(lab, major)
    before = agent.objects()
    text = agent.run("expire", "--backup", first["id"]).out
    assert text.startswith("a plan: nothing is hidden or removed without --confirm\n"), text
    assert re.search(f"{first['id']} .* HIDE .*asked for by name; --confirm hides it", text), text
    assert "--confirm hides 1 backup, removes no backup; frees 0 of" in text, text
    assert re.search("later backup or expire removes 1 backup, after .* UTC; in all .* and [1-9] of . WAL", text), text
    plan = agent.json("expire", "--backup", first["id"])
    asked = told(plan, first)
    assert (asked["state"], asked["step"], asked["verdict"]) == ("shown", "hide", "asked")
    part = plan["repositories"][0]
    assert part["bytes_freed"] > part["now"]["bytes_freed"] == 0, part
    assert agent.objects() == before

    agent.run("expire", "--backup", first["id"], "--confirm")
    text = agent.run("expire").out
    assert re.search(f"{first['id']} .* hidden .*pgagent undelete", text), text
    assert "--confirm hides no backup, removes no backup" in text and "expire removes 1" in text, text
    agent.cluster["expire_grace"] = "0"
    agent.write_config()
    text = agent.run("expire").out
    assert re.search(f"{first['id']} .* REMOVE .*--confirm removes it", text), text
    assert "removes 1 backup; frees" in text and "later" not in text, text
    agent.run("expire", "--confirm")
    assert ids(agent) == {second["id"], third["id"]}


@pytest.mark.only(15)
def test_who_a_backup_waits_for_is_told_and_until_when(lab, major):
    _, agent, (first, second, _), _ = three_backups(lab, major, **NOW)
    agent.restore(lab.place("r"), "--backup", first["id"], "--to-backup-end")
    text = agent.run("expire", "--backup", first["id"]).out
    assert re.search(f"{first['id']} .* HIDE .*--confirm hides it, then it waits: it is in use", text)
    begun = time.time()
    plan = told(agent.json("expire", "--backup", first["id"]), first)
    assert (plan["state"], plan["step"]) == ("shown", "hide")
    done = agent.run("expire", "--backup", first["id"], "--confirm").out
    assert re.search(f"{first['id']} .* waits .*it is in use", done), done
    for said in (text, done, agent.run("expire").out):
        assert re.search("server that was restored on .* replays WAL from it on; it goes with the "
                         "first expire or backup after its pin has ended:\n +restore-[0-9a-f]+ "
                         "ends .*24 hours after it asked for WAL last, not before 20.* UTC\n",
                         said), said
        assert "later backup or expire removes 1 backup, when it is not in use any more" in said, said
    waits = told(agent.json("expire"), first)
    assert (waits["state"], waits["step"]) == ("pinned", "wait")
    pin = waits["pin"]
    assert pin["holder"] == waits["pinned_by"] and pin["kind"] == "recovery"
    assert pin["silence_limit_seconds"] == 86400
    ends = datetime.datetime.fromisoformat(pin["ends_not_before"].replace("Z", "+00:00"))
    # A run has seen the pin since, so that its day has begun.
    assert begun + 86400 - 5 < ends.timestamp() < time.time() + 86400

    # One that was killed on this host is ended first by the run that the plan is of.
    end_recoveries(agent)
    target = lab.place("r")
    killed = agent.popen("restore", "-D", target, "--backup", second["id"], "--to-backup-end",
                         stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until("the restore to write files", lambda: list(target.glob("base/*/*")), every=0.002)
    killed.send_signal(signal.SIGSTOP)
    killed.kill()
    assert killed.wait() == -signal.SIGKILL, "the restore was over before the test could act"
    assert told(agent.json("expire", "--backup", second["id"]), second)["state"] == "due"
    done = agent.json("expire", "--backup", second["id"], "--confirm")
    assert second["id"] not in ids(agent), done


@pytest.mark.only(15)
def test_a_restore_that_runs_keeps_its_backup(lab, major):
    server, agent, (first, second, _), rows = three_backups(lab, major, **NOW)
    target = lab.place("r")
    running = agent.popen("restore", "-D", target, "--backup", first["id"], "--to-backup-end",
                          "--action", "promote", stdout=subprocess.DEVNULL,
                          stderr=subprocess.PIPE, text=True)
    until("the restore to write files", lambda: list(target.glob("base/*/*")), every=0.002)
    running.send_signal(signal.SIGSTOP)
    done = agent.json("expire", "--backup", first["id"], "--confirm")
    state = done["repositories"][0]["backups"][0]
    assert running.poll() is None, "the restore was over before the test could act"
    assert state["state"] == "pinned" and state["pinned_by"].startswith("restore-"), state
    running.send_signal(signal.SIGCONT)
    _, err = running.communicate(timeout=120)
    assert running.returncode == 0, err
    judges.verifybackup(target, major, lab.root)
    agent.run("verify", "--all")
    # The restore leaves its pin to the recovery; without it the next run goes on.
    end_recoveries(agent)
    agent.run("expire", "--confirm")
    assert not [o for o in agent.objects() if first["id"] in o.parts and "backups" in o.parts]
    agent.run("verify", "--all")
    expect_whole(lab, server, agent, second, rows[1], major)


@pytest.mark.only(15)
@pytest.mark.parametrize("calls", ["link,linkat", "unlink,unlinkat"], ids=["put", "remove"])
def test_killed_at_each_step_the_next_run_finishes(lab, major, calls):
    server, agent, (first, second, third), rows = three_backups(lab, major, **NOW)
    killed = 0
    for nth in range(1, 60):
        done = agent.run("expire", "--backup", first["id"], "--confirm", expect=None,
                         env=NO_LEAKS,
                         wrap=["strace", "-f", "-o", str(lab.place("strace")), "-e",
                               f"trace={calls}", "-e",
                               f"inject={calls}:error=EIO:signal=SIGKILL:when={nth}"])
        if done.code not in (-signal.SIGKILL, 128 + signal.SIGKILL):
            break
        killed += 1
        assert {second["id"], third["id"]} <= set(ids(agent))
        agent.run("verify", "--quick")
    assert killed > 0, "nothing was killed: the calls are named wrongly"
    agent.run("expire", "--confirm")
    assert ids(agent) == {second["id"], third["id"]}
    agent.run("verify", "--all")
    expect_whole(lab, server, agent, third, rows[2], major)


def flip(path, position):
    data = bytearray(path.read_bytes())
    data[position] ^= 1
    path.chmod(0o600)
    path.write_bytes(data)


def manifest_of(agent, backup, root=None):
    root = root or agent.repo
    return next(root / o for o in agent.objects(root)
                if "backups" in o.parts and o.name == backup["id"])


def behind_summary(manifest):
    """A byte of the manifest's second frame (FORMAT.md section 6)."""
    data = manifest.read_bytes()
    return 128 + 32 + int.from_bytes(data[144:148], "little") + 16 + 32 + 5


def wal(agent):
    return [o for o in agent.objects() if "wal" in o.parts]


@pytest.mark.only(15)
@pytest.mark.parametrize("part", ["summary", "body"])
def test_a_damaged_manifest_touches_no_other_backup(lab, major, part):
    server, agent, (first, second, third), rows = three_backups(lab, major, **NOW)
    manifest = manifest_of(agent, third)
    flip(manifest, 200 if part == "summary" else behind_summary(manifest))
    damaged = third["id"]

    said = agent.run("list", expect=4 if part == "summary" else 0).out
    listed = {b["id"]: b for b in agent.json("list", expect=(0, 4))["backups"]}
    assert set(listed) == {first["id"], second["id"], damaged}
    assert listed[second["id"]]["restorable"] and not listed[second["id"]]["damaged"]
    if part == "summary":  # what lies behind it is not read by a list
        assert f"{damaged}  DAMAGED" in said
        assert f"pgagent verify {damaged}" in said and f"expire --backup {damaged}" in said
        entry = listed[damaged]
        assert entry["damaged"] and entry["problem"] and entry["restorable"] is False
        assert entry["start_lsn"] is None and entry["cluster"] == "main"

    done = agent.run("show", second["id"])
    assert part == "body" or damaged in done.err, "no warning"
    agent.run("show", damaged, expect=4)
    assert agent.json("verify", second["id"])["damaged"] is False
    assert agent.json("verify", damaged, expect=4)["damaged"]
    states = {s["id"]: s["state"] for s in agent.json("verify", expect=4)["backup_states"]}
    assert states == {first["id"]: "whole", second["id"]: "whole", damaged: "damaged"}
    agent.run("export", second["id"], "--to", lab.place("x"))
    agent.run("export", damaged, "--to", lab.place("x"), expect=4)

    expect_whole(lab, server, agent, second, rows[1], major)
    agent.run("restore", "-D", lab.place("r"), "--to-backup-end", "--backup", damaged, expect=4)
    done = agent.run("restore", "-D", lab.place("r"), "--to-latest", "--plan", "--output", "json")
    assert done.json()["backup"] == second["id"]
    assert damaged in done.err and "DAMAGED" in done.err

    kept = packs(agent), wal(agent)
    refused = agent.run("expire", "--confirm", expect=4)
    assert damaged in refused.err and f"pgagent expire --backup {damaged}" in refused.err
    assert packs(agent) == kept[0]
    if part == "summary":  # else it says where it starts: what lies before all of them may go
        assert wal(agent) == kept[1]
    again = agent.backup()
    assert again["parent"] == second["id"]
    end_recoveries(agent)
    agent.run("expire", "--backup", damaged, "--confirm")
    assert ids(agent) == {first["id"], second["id"], again["id"]}
    agent.run("verify", "--all")


@pytest.mark.only(15)
def test_a_damaged_manifest_stops_the_sweep_until_it_is_named(lab, major):
    _, agent, (first, second, third), _ = three_backups(lab, major, **NOW)
    flip(manifest_of(agent, second), behind_summary(manifest_of(agent, second)))
    before = packs(agent)
    refused = agent.run("expire", "--backup", first["id"], "--confirm", expect=4)
    assert second["id"] in refused.err and "--backup" in refused.err
    assert packs(agent) == before
    agent.run("expire", "--backup", third["id"], "--confirm", expect=1)  # the last whole one
    agent.run("expire", "--backup", second["id"], "--confirm")
    assert ids(agent) == {third["id"]}
    agent.run("verify", "--all")


@pytest.mark.only(15)
def test_a_damaged_backup_waits_for_its_grace_as_any_other(lab, major):
    _, agent, (first, second, third), _ = three_backups(lab, major)
    flip(manifest_of(agent, second), 200)
    before = packs(agent)
    hidden = agent.run("expire", "--backup", second["id"], "--confirm", expect=4)
    assert "undelete" in hidden.out and packs(agent) == before
    assert "asked to go" in hidden.err and f"--backup {second['id']}" not in hidden.err
    assert ids(agent) == {first["id"], third["id"]}
    agent.cluster["expire_grace"] = "0"
    agent.write_config()
    agent.run("expire", "--confirm")
    agent.run("verify", "--all")


@pytest.mark.only(15)
def test_what_one_repository_has_damaged_comes_from_the_other(lab, major):
    server = lab.server(major, filled=(1, 8))
    key = lab.place("k")
    repos = {"near": {"path": lab.place("near"), "key_file": key},
             "far": {"path": lab.place("far"), "key_file": key}}
    agent = lab.agent(server, repos=repos, expire_grace="0").protect()
    backup = agent.backup()
    flip(manifest_of(agent, backup, repos["near"]["path"]), 200)
    entry, = agent.json("list", expect=4)["backups"]
    assert entry["damaged_in"] == "near" and not entry["damaged"] and entry["restorable"]
    assert entry["repositories"] == "far"
    agent.run("show", backup["id"])
    agent.run("export", backup["id"], "--to", lab.place("x"))
    for args in (("--backup", backup["id"]), ()):
        done = agent.run("restore", "-D", lab.place("r"), "--to-backup-end", *args)
        assert backup["id"] in done.err
    agent.run("verify", backup["id"], expect=4)
    agent.run("verify", backup["id"], "--repo", "far")


@pytest.mark.only(15)
def test_more_than_half_of_all_packs_needs_force(lab, major):
    _, agent = lab.protected(major, scale=1, **NOW)
    agent.backup()
    kept = packs(agent)
    some = agent.repo / kept[0]
    for number in range(90, 100):  # nobody's, by their names
        shutil.copy(some, some.with_name(f"{number:08}"))
    plan = agent.run("expire").out
    assert "needs --force" in plan, plan
    # It is not pasted unread: the line to carry it out keeps the packs.
    command = re.search("to carry it out: pgagent (.*)", plan)[1].split()
    refused = agent.run(*command, expect=1)
    assert "half" in refused.err and "--force" in refused.err
    assert len(packs(agent)) == len(kept) + 10
    agent.run("expire", "--confirm", "--force")
    assert packs(agent) == kept
    agent.run("verify", "--all")


@pytest.mark.only(15)
def test_refused_packs_keep_no_wal_and_no_other_repository_from_their_turn(lab, major):
    server = lab.server(major, filled=(1, 8))
    key = lab.place("k")
    repos = {"near": {"path": lab.place("near"), "key_file": key},
             "far": {"path": lab.place("far"), "key_file": key}}
    agent = lab.agent(server, repos=repos, expire_grace="0").protect()
    first, second = agent.backup(), agent.backup()
    near, far = (repos[r]["path"] for r in ("near", "far"))
    some = next(near / o for o in agent.objects(near)
                if "packs" in o.parts and second["id"] in o.parts)
    for number in range(100, 200):  # of a backup that stays, and nobody's, by their names
        shutil.copy(some, some.with_name(f"{number:08}"))

    def segments(root):
        return {o.name for o in agent.objects(root) if "wal" in o.parts and len(o.name) == 24}

    before = segments(near)
    refused = agent.run("expire", "--backup", first["id"], "--confirm", expect=1)
    assert "half" in refused.err and "repository near" in refused.err
    assert segments(near) == segments(far) < before
    for root in (near, far):
        assert [o.name for o in agent.objects(root) if "backups" in o.parts] == [second["id"]]
    agent.run("expire", "--confirm", "--force")
    agent.run("verify", "--all")


@pytest.mark.only(15)
def test_undelete_brings_back_what_it_can_and_tells_the_rest(lab, major):
    server = lab.server(major, filled=(1, 8))
    key = lab.place("k")
    repos = {"near": {"path": lab.place("near"), "key_file": key},
             "far": {"path": lab.place("far"), "key_file": key}}
    agent = lab.agent(server, repos=repos).protect()
    first, second = agent.backup(), agent.backup()
    agent.run("expire", "--backup", first["id"], "--confirm")
    near = repos["near"]["path"]
    record = next(near / o for o in agent.objects(near) if "hidden" in o.parts)
    flip(record, record.stat().st_size // 2)
    failed = agent.run("undelete", first["id"], expect=4)
    assert "is there again, in 1 repository" in failed.out and "repository near" in failed.err
    listed = agent.json("list", "--repo", "far")["backups"]
    assert {b["id"] for b in listed} == {first["id"], second["id"]}
    flip(record, record.stat().st_size // 2)
    away = near.rename(near.with_name("away"))
    agent.run("expire", "--backup", second["id"], "--confirm", "--repo", "far")
    agent.run("undelete", second["id"], expect=1)
    assert len(agent.json("list", "--repo", "far")["backups"]) == 2
    away.rename(near)
    agent.run("undelete", first["id"])
    assert len(agent.backups()) == 2


@pytest.mark.only(15)
def test_two_repositories_lose_the_same_backup(lab, major):
    server = lab.server(major, filled=(1, 8))
    key = lab.place("k")
    repos = {"near": {"path": lab.place("near"), "key_file": key},
             "far": {"path": lab.place("far"), "key_file": key}}
    agent = lab.agent(server, repos=repos, expire_grace="0").protect()
    first, second = agent.backup(), agent.backup()
    done = agent.json("expire", "--backup", first["id"], "--confirm")
    assert {r["backups"][0]["state"] for r in done["repositories"]} == {"removed"}
    assert len(done["repositories"]) == 2
    for repo in repos:
        assert [b["id"] for b in agent.json("list", "--repo", repo)["backups"]] == [second["id"]]
        agent.run("verify", "--all", "--repo", repo)
