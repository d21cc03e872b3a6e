"""Server-side incremental backups of 17 and newer: what the server sends, put together with the parent.

The judges: an image composed here, from base backups taken over a replication connection of the
tests' own (harness/walsender.py); pg_verifybackup over the manifest that pgagent wrote itself;
pg_amcheck and every row of the restored cluster.
"""

import struct

from harness.judges import amcheck, fingerprint, manifest, same_rows, verifybackup
from harness.wait import until
from harness.walsender import Walsender, members

BLOCK = 8192
SINCE = 17
# What differs between two base backups of a server that rests.
OWN = {"backup_label", "backup_manifest", "global/pg_control", "tablespace_map"}


def can(major):
    return major >= SINCE


def summarized(lab, major, **settings):
    """(server, agent): archiving, summarising; autovacuum off, so that it rests when told to."""
    if can(major):
        settings = {"summarize_wal": "on", **settings}
    server, agent = lab.protected(major, autovacuum="off", **settings)
    server.sql("VACUUM (FREEZE)")  # so that reading a table changes no page of it
    return server, agent


def composed(before, archives):
    """What the docs of BASE_BACKUP say a chain is: {path: bytes} from an image and an increment."""
    image = {}
    for path, data in members(archives).items():
        folder, _, name = path.rpartition("/")
        if not name.startswith("INCREMENTAL."):
            image[path] = data
            continue
        path = f"{folder}/{name.removeprefix('INCREMENTAL.')}"
        magic, count, truncated = struct.unpack_from("<III", data)
        assert magic == 0xd3ae1f0d
        blocks = struct.unpack_from(f"<{count}I", data, 12)
        at = 12 + 4 * count
        if count:
            at += -at % BLOCK
        old = before[path]
        new = bytearray(max([truncated, *[b + 1 for b in blocks]]) * BLOCK)
        keep = min(truncated, len(old) // BLOCK) * BLOCK
        new[:keep] = old[:keep]
        for number, block in enumerate(blocks):
            image_at = at + number * BLOCK
            new[block * BLOCK:(block + 1) * BLOCK] = data[image_at:image_at + BLOCK]
        image[path] = bytes(new)
    return image


def files_of(root):
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def is_shared(path):
    """Not what each backup and each restore has of its own."""
    return (path not in OWN and "pgagent" not in path and not path.startswith("pg_wal/")
            and path not in ("recovery.signal", "postgresql.auto.conf"))


def same_image(expected, root):
    """Every file of `expected`, byte for byte, and no other."""
    found = {path: data for path, data in files_of(root).items() if is_shared(path)}
    expected = {path: data for path, data in expected.items() if is_shared(path)}
    assert found.keys() == expected.keys(), found.keys() ^ expected.keys()
    differ = [path for path in found if found[path] != expected[path]]
    assert not differ, differ


def judged_restore(lab, agent, backup, major):
    """The directory of that backup, before it starts: what PostgreSQL's own judge says of it."""
    target = lab.place("r")
    agent.restore(target, "--backup", backup["id"], "--to-backup-end", "--action", "promote",
                  "--tablespace-dir", lab.place("t"))
    verifybackup(target, major, lab.root)
    manifest(target, backup)
    label = (target / "backup_label").read_text(encoding="utf-8")
    assert "INCREMENTAL" not in label and "START WAL LOCATION" in label
    return target


def started(lab, agent, backup, server):
    """The cluster of that backup, running and promoted."""
    target = lab.place("r")
    agent.restore(target, "--backup", backup["id"], "--to-backup-end", "--action", "promote",
                  "--tablespace-dir", lab.place("t"), "--start")
    clone = lab.attach(target, server)
    until("the clone to be promoted", lambda: clone.sql("SELECT pg_is_in_recovery()") == "f")
    return clone


def plain_backup(server, before=None):
    """(image, manifest) as a base backup of the tests' own has them, on top of `before`."""
    with Walsender(server) as walsender:
        if before is None:
            archives, its_manifest = walsender.base_backup()
            return members(archives), its_manifest
        walsender.upload_manifest(before[1])
        archives, its_manifest = walsender.base_backup(incremental=True)
        assert any("INCREMENTAL." in path for path in members(archives))
        return composed(before[0], archives), its_manifest


def test_an_incremental_is_a_whole_backup_of_what_changed(lab, major):
    server, agent = summarized(lab, major)
    first = agent.backup()
    assert first["type"] == "full" and first["why_full"]
    before = plain_backup(server) if can(major) else None
    server.sql("UPDATE pgbench_accounts SET abalance = abalance + 1 WHERE aid % 9973 = 0")
    server.sql("CHECKPOINT")
    expected = fingerprint(server)
    second = agent.backup()
    assert second["parent"] == first["id"]
    if not can(major):
        assert second["type"] == "full" and "17 is the first" in second["why_full"]
        return
    assert second["type"] == "incremental" and second["why_full"] is None
    assert second["bytes_cluster"] > 40 * second["bytes_new"], second
    same_image(plain_backup(server, before)[0], judged_restore(lab, agent, second, major))
    assert agent.run("verify", second["id"]).code == 0
    clone = started(lab, agent, second, server)
    same_rows(expected, fingerprint(clone))
    amcheck(clone)
