"""A backup costs what changed since its parent, and restores as if it stood alone."""

import hashlib
import random
from pathlib import Path

import pytest

from harness import judges
from harness.kill import DURABLE, kill_at
from harness.load import fill
from harness.wait import until

PAGE = 8192


def restored(lab, server, agent, backup, major):
    """A started clone of the backup's end, after pg_verifybackup of what was restored."""
    plain = lab.place("r")
    agent.restore(plain, "--to-backup-end", "--backup", backup["id"], "--action", "promote")
    judges.verifybackup(plain, major, lab.root)
    target = lab.place("r")
    agent.restore(target, "--to-backup-end", "--backup", backup["id"], "--action", "promote",
                  "--start")
    clone = lab.attach(target, server)
    until("the clone to be promoted", lambda: clone.sql("SELECT pg_is_in_recovery()") == "f")
    return clone


def quiet(server):
    """Nothing is written from now on but what a checkpoint writes."""
    server.sql("ALTER SYSTEM SET autovacuum = off")
    server.sql("SELECT pg_reload_conf()")
    for database in ("postgres", "template1"):
        server.sql("VACUUM FREEZE", db=database)
    server.sql("CHECKPOINT")


def pages(server):
    """{(file, page number): digest} of what a backup would read below base/."""
    found = {}
    for path in Path(server.data, "base").rglob("[0-9]*"):
        if not path.is_file():
            continue
        data = path.read_bytes()
        for at in range(0, len(data), PAGE):
            found[(path, at // PAGE)] = hashlib.sha256(data[at:at + PAGE]).digest()
    return found


def changed_pages(before, after):
    """Of those that are stored: pages of zeros are not."""
    zeros = hashlib.sha256(bytes(PAGE)).digest()
    return sum(1 for place, digest in after.items()
               if digest not in (before.get(place), zeros))


def test_nothing_changed_stores_nearly_nothing(lab, major):
    server, agent = lab.protected(major, bulk_mb=30)
    quiet(server)
    first = agent.backup()
    expected = judges.fingerprint(server)
    second = agent.backup("--type", "full")
    assert first["parent"] is None and second["parent"] == first["id"]
    assert second["type"] == "full"
    assert first["bytes_new"] > 40 << 20
    assert second["bytes_new"] < 200_000, "pg_control, backup_label and a few catalog pages"
    assert second["pages_changed"] < 30
    assert second["bytes_stored"] < first["bytes_stored"] / 20
    told = agent.run("backup", "--checkpoint", "fast", "--type", "full").out
    assert f"since {second['id']}:" in told and "pages changed" in told, told
    third = max(agent.backups(), key=lambda b: b["started_at"])
    assert third["parent"] == second["id"]
    assert third["bytes_new"] < 200_000
    clone = restored(lab, server, agent, third, major)
    judges.same_rows(expected, judges.fingerprint(clone))
    judges.amcheck(clone)
    assert agent.run("verify").code == 0


def test_random_changes_cost_the_changed_pages(lab, major):
    server, agent = lab.protected(major, bulk_mb=30)
    quiet(server)
    first = agent.backup()
    before = pages(server)
    rows = int(server.sql("SELECT count(*) FROM bulk"))
    some = ",".join(map(str, random.Random(3).sample(range(1, rows + 1), 60)))
    server.sql(f"UPDATE bulk SET b = b || 'x' WHERE i IN ({some})")
    server.sql("CHECKPOINT")
    changed = changed_pages(before, pages(server))
    expected = judges.fingerprint(server)
    assert changed > 60
    second = agent.backup("--type", "full")
    assert second["parent"] == first["id"]
    slack = 50  # pg_control, transaction status, and what looking at the tables wrote
    assert changed <= second["pages_changed"] <= changed + slack
    assert second["bytes_new"] <= (changed + slack) * PAGE
    assert second["bytes_stored"] < first["bytes_stored"] / 10
    clone = restored(lab, server, agent, second, major)
    judges.same_rows(expected, judges.fingerprint(clone))
    judges.amcheck(clone)


def pack_owners(agent, repo=None):
    """{backup id: number of its packs} in the repository."""
    owners = {}
    for path in agent.objects(repo):
        if "packs" in path.parts:
            owners[path.parts[-2]] = owners.get(path.parts[-2], 0) + 1
    return owners


def two_repositories(lab, server):
    home = lab.place("h")
    home.mkdir()
    repos = {name: {"path": home / name, "key_file": home / f"{name}.key"} for name in ("a", "b")}
    return home, lab.agent(server, repos=repos).protect()


def test_a_line_of_backups_leans_on_the_first(lab, major):
    server, agent = lab.protected(major, bulk_mb=30)
    quiet(server)
    line = [agent.backup()]
    prints = [judges.fingerprint(server)]
    for number in range(3):
        server.sql(f"UPDATE bulk SET b = b || '{number}' WHERE i % 500 = {number * 100}")
        server.sql("CHECKPOINT")
        line.append(agent.backup("--type", "full"))
        prints.append(judges.fingerprint(server))
    assert [b["parent"] for b in line] == [None] + [b["id"] for b in line[:-1]]
    shown = agent.json("show", line[-1]["id"])
    # What a later UPDATE prunes on its way may be all that one in the middle had of its own.
    assert 2 <= shown["packs_of_backups"] <= len(line)
    assert 0 < shown["own_share"] < 0.3
    assert 1 <= shown["reading_amplification"] < 2
    assert shown["oldest_pack_at"][:16] <= line[0]["started_at"][:16]
    text = agent.run("show", line[-1]["id"]).out
    assert line[-2]["id"] in text and "restore reads" in text and "renewed" in text
    assert agent.json("show", line[0]["id"])["own_share"] == 1
    for backup, expected in (line[0], prints[0]), (line[-1], prints[-1]):
        clone = restored(lab, server, agent, backup, major)
        judges.same_rows(expected, judges.fingerprint(clone))
        clone.stop()
    assert agent.run("verify").code == 0


def test_a_parent_has_to_be_whole_in_every_repository(lab, major):
    server = lab.server(major)
    fill(server, 1, 20)
    home, agent = two_repositories(lab, server)
    quiet(server)
    first = agent.backup()
    second = agent.backup("--type", "full")
    assert second["parent"] == first["id"]
    assert pack_owners(agent, home / "a") == pack_owners(agent, home / "b")

    def remove(repo, folder, backup):
        for path in (home / repo / "main").rglob("*"):
            if path.is_file() and folder in path.parts and backup["id"] in path.parts:
                path.unlink()

    # The second goes from one of them: the first is the next that is whole.
    remove("b", "backups", second)
    done = agent.run("backup", "--checkpoint", "fast", "--type", "full", "--output", "json")
    third = done.json()
    assert third["parent"] == first["id"]
    assert f"{second['id']} can't be the parent" in done.err and str(home / "b") in done.err
    # A pack of all of them goes from the other: everything is stored anew, in both.
    remove("a", "packs", first)
    done = agent.run("backup", "--checkpoint", "fast", "--type", "full", "--output", "json")
    fourth = done.json()
    assert fourth["parent"] is None
    assert done.err.count("can't be the parent") == 3, done.err
    assert fourth["bytes_new"] > first["bytes_new"] * 0.9
    for repo in "ab":
        assert agent.run("verify", fourth["id"], "--repo", repo).code == 0
    fifth = agent.backup("--type", "full")
    assert fifth["parent"] == fourth["id"] and fifth["bytes_new"] < 200_000


def test_old_copies_are_stored_again_a_share_at_a_time(lab, major):
    server, agent = lab.protected(major, bulk_mb=60, agent_settings={"refresh_period": "1s"})
    quiet(server)
    first = agent.backup()
    expected = judges.fingerprint(server)
    size = first["bytes_new"]
    seen = []
    for _ in range(3):
        backup = agent.backup("--type", "full")
        seen.append(backup["bytes_renewed"])
        assert backup["bytes_new"] < 200_000, "renewed is not new"
    assert all(renewed > 0 for renewed in seen), seen
    assert max(seen) < size * 0.6, "not all at once"
    assert agent.json("show", backup["id"])["bytes_renewed"] == seen[-1]
    clone = restored(lab, server, agent, backup, major)
    judges.same_rows(expected, judges.fingerprint(clone))
    assert agent.run("verify").code == 0


def test_what_verify_found_damaged_is_stored_again(lab, major):
    server, agent = lab.protected(major, bulk_mb=30, agent_settings={"refresh_period": "0"})
    quiet(server)
    first = agent.backup()
    expected = judges.fingerprint(server)
    pack = next(agent.repo / path for path in agent.objects()
                if "packs" in path.parts and path.name == "00000000")
    data = bytearray(pack.read_bytes())
    data[4 << 20] ^= 1
    pack.chmod(0o600)
    pack.write_bytes(data)
    agent.run("verify", expect=4)
    second = agent.backup("--type", "full")
    assert second["parent"] == first["id"]
    assert 0 < second["bytes_renewed"] < first["bytes_new"], "the damaged pack, and it alone"
    third = agent.backup("--type", "full")
    assert third["bytes_renewed"] == 0, "nothing refers to it any more"
    clone = restored(lab, server, agent, second, major)
    judges.same_rows(expected, judges.fingerprint(clone))


@pytest.mark.only(15)
@pytest.mark.parametrize("calls", DURABLE, ids=["sync", "publish", "mkdir"])
def test_a_child_killed_at_each_durable_step(lab, major, calls):
    """Its parent stays whole, and the next run finds it again."""
    server, agent = lab.protected(major, scale=1)
    quiet(server)
    first = agent.backup()
    nth, killed = 1, 0
    while kill_at(lab, agent, calls, nth, "backup", "--checkpoint", "fast", "--type", "full"):
        listed = [b["id"] for b in agent.backups()]
        assert first["id"] in listed and len(listed) <= 2, listed
        killed += 1
        if len(listed) == 2:
            break
        nth += max(1, nth // 2)
    assert killed > 0
    newest = max(agent.backups(), key=lambda b: b["started_at"])
    last = agent.backup("--type", "full")
    assert last["parent"] == newest["id"]
    assert last["bytes_new"] < 200_000
    assert agent.run("verify").code == 0
