"""A repository gets what it lacks of another: each backup then comes back from it alone."""

import re
import shutil
import signal
import subprocess

import pytest

from harness import judges
from harness.kill import kill_at
from harness.restored import forget, restored_whole
from harness.stops import REMOVALS, moments, stopped
from harness.wait import until

# What the servers' version can change is tested elsewhere: a copy is one of bytes.
pytestmark = pytest.mark.only(15)

COPY = ("copy", "--from", "local", "--to", "far")
PUBLISH = "link,linkat"


def family(lab, **cluster):
    """(server, agent) with two repositories of one family, of which only the first is written to."""
    home = lab.place("h")
    repos = {name: {"path": home / name, "key_file": home / f"{name}.key"}
             for name in ("local", "far")}
    home.mkdir()
    # A vacuum of what was filled would make one backup larger than the one before it.
    server = lab.server(15, filled=(1, 8), autovacuum="off")
    agent = lab.agent(server, repos=repos, **cluster).protect()
    agent.repo, agent.far = home / "local", home / "far"
    works_on(agent, "local")
    return server, agent


def backups_of(server, agent, *numbers):
    taken, rows = [], []
    for number in numbers:
        server.sql(f"CREATE TABLE t{number} AS SELECT generate_series(1, {1000 + number}) AS i")
        rows.append(judges.fingerprint(server))
        taken.append(agent.backup())
    server.archiver_rests()
    return taken, rows


def stored(agent, root):
    """What a copy is about, by its name; who the server is `init` wrote to both."""
    return {o: (root / o).read_bytes() for o in agent.objects(root)
            if {"packs", "backups", "wal"} & set(o.parts) and not o.name.startswith(".")}


def needed(agent, first):
    """What of the source is to be at the target: no WAL from before the first backup."""
    high, low = (int(part, 16) for part in first["start_lsn"].split("/"))
    begins = f"{1:08X}{high:08X}{low >> 24:08X}"
    return {o: data for o, data in stored(agent, agent.repo).items()
            if "wal" not in o.parts or o.name >= begins}


def works_on(agent, repo):
    agent.cluster["repos"] = repo
    agent.write_config()


def states(document):
    return {b["id"]: b["state"] for b in document["backups"]}


def test_each_backup_comes_back_from_the_copy_alone(lab):
    server, agent = family(lab)
    taken, rows = backups_of(server, agent, 1, 2)
    first = agent.json(*COPY)
    assert states(first) == {b["id"]: "copied" for b in taken} and first["damage"] == []
    assert stored(agent, agent.far) == needed(agent, taken[0])
    assert agent.json(*COPY)["bytes"] == 0
    more, more_rows = backups_of(server, agent, 3)
    second = agent.json(*COPY)
    assert states(second)[more[0]["id"]] == "copied" and 0 < second["bytes"] < first["bytes"]
    server.archiver_rests()
    shutil.rmtree(agent.repo)
    works_on(agent, "far")
    agent.run("verify", "--all")
    for backup, known in zip(taken + more, rows + more_rows):
        forget(lab, restored_whole(lab, server, agent, backup, known))
    # And back, into a new one of the family.
    works_on(agent, "local, far")
    (agent.home / "state/repository-local").unlink()  # it is lost for good, as init asks
    agent.init()
    back = agent.json("copy", "--from", "far", "--to", "local")
    assert set(states(back).values()) == {"copied"} and back["damage"] == []
    assert stored(agent, agent.far) == stored(agent, agent.repo)


def test_killed_anywhere_the_next_copy_goes_on_and_an_expire_between_takes_nothing(lab):
    server, agent = family(lab)
    taken, _ = backups_of(server, agent, 1, 2)
    server.archiver_rests()
    whole = needed(agent, taken[0])
    assert kill_at(lab, agent, PUBLISH, 9, *COPY)
    before = stored(agent, agent.far)
    assert before
    # What is there has a day to become a backup; nobody else's sweep takes it.
    works_on(agent, "far")
    held = agent.json("expire", "--confirm")
    assert held["repositories"][0]["held_by_copy"] is True
    assert stored(agent, agent.far) == before
    nth = 2
    while kill_at(lab, agent, PUBLISH, nth, *COPY):
        nth += 5
    document = agent.json(*COPY)
    assert set(states(document).values()) == {"there"}
    assert stored(agent, agent.far) == whole and len(before) < len(whole)
    works_on(agent, "far")
    agent.run("verify", "--all")
    agent.run("expire", "--confirm")
    assert [o for o in agent.objects(agent.far)
            if "pins" in o.parts and not o.name.startswith(".")] == []
    assert {b["id"] for b in agent.backups()} == {b["id"] for b in taken}


def test_a_backup_that_is_copied_stays_at_the_source_and_damage_stays_there(lab):
    server, agent = family(lab, expire_grace="0")
    (first, second), _ = backups_of(server, agent, 1, 2)
    running = agent.popen(*COPY, "--max-rate", "8MB", stdout=subprocess.DEVNULL,
                          stderr=subprocess.PIPE, text=True)
    until("a pack to arrive", lambda: [o for o in agent.objects(agent.far) if "packs" in o.parts])
    running.send_signal(signal.SIGSTOP)
    # The newest goes first.
    done = agent.json("expire", "--backup", second["id"], "--confirm")
    state = done["repositories"][0]["backups"][0]
    assert state["state"] == "pinned" and state["pinned_by"].startswith("copy-"), state
    agent.run(*COPY, expect=5)
    running.kill()
    running.communicate()
    agent.run("expire", "--confirm")
    assert {b["id"] for b in agent.backups()} == {first["id"]}
    # Into an empty place: the identity too is brought, and of what is damaged nothing.
    shutil.rmtree(agent.far / "main")
    pack = next(agent.repo / o for o in agent.objects() if "packs" in o.parts)
    data = bytearray(pack.read_bytes())
    data[len(data) // 2] ^= 1
    pack.chmod(0o600)
    pack.write_bytes(data)
    document = agent.json(*COPY, expect=4)
    assert states(document) == {first["id"]: "damaged"}
    assert any(pack.name in d["message"] for d in document["damage"])
    # Of a nightly run stderr is all that anybody reads.
    assert pack.name in agent.run(*COPY, expect=4).err
    assert not (agent.far / pack.relative_to(agent.repo)).exists()
    works_on(agent, "far")
    assert agent.backups() == []


def test_what_retention_took_from_the_source_is_missed_where_it_still_is(lab):
    """The source's gap is none of the target's, which has that WAL: a loss of it there is found."""
    none = {f"retain_{rule}": "0" for rule in ("daily", "weekly", "monthly", "yearly")}
    server, agent = family(lab, expire_grace="0", expire_auto="off", retain_window="0s",
                           retain_backups="2", **none)
    taken, _ = backups_of(server, agent, 1, 2, 3, 4)
    # The archiver has passed all that the backups have: what is missing before that, it will not fill.
    server.sql("CREATE TABLE behind AS SELECT 1 AS i")
    server.archive_all()
    agent.json(*COPY)
    agent.run("keep", taken[0]["id"])
    agent.run("expire", "--confirm")
    assert [o for o in agent.objects(agent.repo) if "gaps" in o.parts]
    taken_away = [o for o in stored(agent, agent.far) if "wal" in o.parts and len(o.name) == 24
                  and not (agent.repo / o).exists()]
    assert taken_away
    agent.json(*COPY)
    works_on(agent, "far")
    agent.run("verify", "--all")
    (agent.far / max(taken_away)).unlink()
    told = agent.run("verify", "--all", expect=4)
    assert "a hole of 1 segment(s)" in told.err and taken[0]["id"] in told.err, told


def test_what_the_target_lost_is_no_gap_once_retention_took_it_from_the_source(lab):
    none = {f"retain_{rule}": "0" for rule in ("daily", "weekly", "monthly", "yearly")}
    server, agent = family(lab, expire_grace="0", expire_auto="off", retain_window="0s",
                           retain_backups="1", **none)
    first = agent.backup()
    for number in range(4):
        server.sql(f"CREATE TABLE t{number} AS SELECT generate_series(1, 1000) AS i")
        server.archive_all()
    agent.backup()
    server.archiver_rests()
    agent.run(*COPY)
    there = sorted(o for o in stored(agent, agent.far) if "wal" in o.parts and len(o.name) == 24)
    lost = there[len(there) // 2]
    (agent.far / lost).unlink()
    works_on(agent, "far")
    before = agent.run("verify", "--all", expect=4)
    assert "a hole of 1 segment(s)" in before.err and first["id"] in before.err, before
    works_on(agent, "local")
    agent.run("keep", first["id"])
    agent.run("expire", "--confirm", "--force")
    assert not (agent.repo / lost).exists()
    agent.run(*COPY)
    works_on(agent, "far")
    after = agent.run("verify", "--all", expect=4)
    assert "a hole of 1 segment(s)" in after.err and first["id"] in after.err, after
    assert "only as they were" not in agent.run("list").out


def sweeps(agent, root):
    return list(root.glob("main/*/pins/sweep-*/*"))


def test_a_sweep_that_fell_silent_holds_copies_up_for_a_day_though_nothing_but_copies_run(lab):
    """As one of a host that was lost: it stands still behind its pin, and nobody can say that it is gone."""
    server, agent = family(lab, expire_auto="off")
    backups_of(server, agent, 1)
    agent.run(*COPY)
    seen, told = agent.home / "state" / "pins-main", []

    def copies():
        if not sweeps(agent, agent.far):
            return
        waiting = agent.popen(*COPY, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        until("the copy to see it", lambda: seen.exists() and " sweep-" in seen.read_text())
        waiting.send_signal(signal.SIGTERM)
        waiting.communicate(timeout=60)
        assert waiting.returncode == 1 and sweeps(agent, agent.far)
        day = 25 * 3600 * 10**6
        seen.write_text(re.sub(r"^(sighting .* )(\d+)$", lambda m: f"{m[1]}{int(m[2]) - day}",
                               seen.read_text(), flags=re.M))
        told.append(agent.run(*COPY).err)
        assert not sweeps(agent, agent.far)

    expire = ("--repo", "far", "expire", "--confirm")
    for nth in moments(lab, agent, REMOVALS, *expire):
        if not told:
            stopped(lab, agent, REMOVALS, nth, copies, *expire)
    assert len(told) == 1 and "no sign of life" in told[0], told


def test_only_families_are_copied_between(lab):
    server, agent = family(lab)
    agent.repos["other"] = {"path": lab.place("o"), "key_file": agent.home / "other.key"}
    works_on(agent, "other")
    agent.init()
    for arguments, word in ((("--from", "local", "--to", "other"), "pgagent init"),
                            (("--from", "local", "--to", "none"), "none"),
                            (("--from", "local", "--to", "local"), "same"),
                            (("--from", "local"), "--to")):
        assert word in agent.run("copy", *arguments, expect=2).err
