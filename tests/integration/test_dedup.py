"""A backup costs what changed since its parent, and restores as if it stood alone."""

import hashlib
import random
from pathlib import Path

from harness import judges
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
    third = agent.backup("--type", "full")
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
