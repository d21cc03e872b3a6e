"""Server-side incremental backups of 17 and newer: what the server sends, put together with the parent.

The judges: an image composed here, from base backups taken over a replication connection of the
tests' own (harness/walsender.py); pg_verifybackup over the manifest that pgagent wrote itself;
pg_amcheck and every row of the restored cluster.
"""

import struct

import pytest

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
    """{path: bytes}, those of tablespaces below pg_tblspc/."""
    found = {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}
    for link in (root / "pg_tblspc").iterdir():
        found.update({f"pg_tblspc/{link.name}/{p.relative_to(link.resolve())}": p.read_bytes()
                      for p in link.resolve().rglob("*") if p.is_file()})
    return found


def is_shared(path):
    """Not what each backup and each restore has of its own."""
    return (path not in OWN and "pgagent" not in path and not path.startswith("pg_wal/")
            and path not in ("recovery.signal", "postgresql.auto.conf"))


def same_image(expected, root, without=None):
    """Every file of `expected`, byte for byte, and no other; tablespaces are followed.

    without: the end of names that are left out.  The server's own increments lack the pages of
    visibility maps in which it only cleared bits.
    """
    found, expected = ({path: data for path, data in files.items()
                        if is_shared(path) and not (without and path.endswith(without))}
                       for files in (files_of(root), expected))
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
    target = judged_restore(lab, agent, second, major)
    same_image(plain_backup(server)[0], target)
    same_image(plain_backup(server, before)[0], target, without="_vm")
    assert agent.run("verify", second["id"]).code == 0
    clone = started(lab, agent, second, server)
    same_rows(expected, fingerprint(clone))
    amcheck(clone)


def changes(number):
    """Statements that do to files what happens to them; different ones each time."""
    yield f"UPDATE pgbench_accounts SET abalance = abalance + 1 WHERE aid % 4999 = {number}"
    yield "INSERT INTO grows SELECT i, repeat('g', 700) FROM generate_series(1, 3000) i"
    yield "TRUNCATE emptied"
    yield "DELETE FROM shrinks WHERE i > 3000"
    yield "VACUUM shrinks"
    yield "INSERT INTO shrinks SELECT i, repeat('n', 500) FROM generate_series(3001, 5000) i"
    yield f"DELETE FROM cut WHERE i > {4000 - 1000 * number}"
    yield "VACUUM cut"
    yield f"DROP TABLE gone{number}"
    yield f"CREATE TABLE gone{number + 1} AS SELECT generate_series(1, 1000) AS i"
    yield "VACUUM FULL rewritten"
    yield "INSERT INTO fleeting SELECT generate_series(1, 5000)"
    yield "UPDATE wide SET b = b || repeat(md5(i::text), 100) WHERE i % 7 = 0"
    yield "INSERT INTO elsewhere SELECT generate_series(1, 5000)"


def tables(server, lab):
    for name in ("grows", "emptied", "shrinks", "cut", "gone0", "rewritten"):
        server.sql(f"CREATE TABLE {name} AS SELECT i, repeat('x', 500) AS b "
                   "FROM generate_series(1, 6000) i")
    place = lab.place("ts")
    place.mkdir()
    server.sql("CREATE UNLOGGED TABLE fleeting AS SELECT generate_series(1, 5000) AS i")
    server.sql("CREATE TABLE wide AS SELECT i, repeat(md5(i::text), 500) AS b "
               "FROM generate_series(1, 20) i")
    server.sql(f"CREATE TABLESPACE old LOCATION '{place}'")
    server.sql("CREATE TABLE elsewhere TABLESPACE old AS SELECT generate_series(1, 9000) AS i")
    server.sql("VACUUM (FREEZE)")


def create_databases(server, lab, number):
    """A new tablespace, and new databases by both strategies."""
    place = lab.place("ts")
    place.mkdir()
    server.sql(f"CREATE TABLESPACE new{number} LOCATION '{place}'")
    server.sql(f"CREATE DATABASE log{number} STRATEGY wal_log TEMPLATE template0")
    server.sql(f"CREATE DATABASE copied{number} STRATEGY file_copy TEMPLATE template0 "
               f"TABLESPACE new{number}")
    server.sql("CREATE TABLE t AS SELECT generate_series(1, 500) AS i", db=f"copied{number}")


@pytest.mark.only(17, 18)
def test_a_chain_equals_what_the_server_s_own_files_compose(lab, major):
    server, agent = summarized(lab, major)
    tables(server, lab)
    assert agent.backup()["type"] == "full"
    chain = plain_backup(server)
    for number in range(3):
        for statement in changes(number):
            server.sql(statement)
        create_databases(server, lab, number)
        if number == 2:
            server.sql("DROP DATABASE log0")
        server.sql("CHECKPOINT")
        for _ in range(2):  # the first one's questions leave hints in new catalogs
            backup = agent.backup()
            assert backup["type"] == "incremental", backup["why_full"]
        target = judged_restore(lab, agent, backup, major)
        same_image(plain_backup(server)[0], target)
        chain = plain_backup(server, chain)
        same_image(chain[0], target, without="_vm")
    expected = fingerprint(server)
    assert agent.run("verify").code == 0
    clone = started(lab, agent, backup, server)
    same_rows(expected, fingerprint(clone))
    assert clone.sql("SELECT count(*) FROM fleeting") == "0"
    amcheck(clone)


@pytest.mark.only(17, 18)
def test_auto_reads_everything_when_summaries_are_not_to_be_had(lab, major):
    server, agent = summarized(lab, major)
    agent.backup()
    server.set(summarize_wal="off")
    refused = agent.backup()
    assert refused["type"] == "full" and "summarize_wal is off" in refused["why_full"]
    server.archiver_rests()
    objects = agent.objects()
    forced = agent.json("backup", "--type", "incremental", expect=2)["error"]
    assert "summarize_wal is off" in forced["message"]
    assert "ALTER SYSTEM SET summarize_wal = on" in forced["hint"]
    assert agent.objects() == objects, "nothing is written"
    # WAL that nobody summarised, and that is gone before anybody could.
    server.sql("UPDATE pgbench_accounts SET abalance = 1 WHERE aid % 499 = 0")
    for _ in range(3):
        server.archive_all()
        server.sql("CHECKPOINT")
    server.set(summarize_wal="on")
    missing = agent.backup()
    assert missing["type"] == "full" and "55000" in missing["why_full"], missing
    assert missing["pages_changed"] > 0
    again = agent.backup()
    assert again["type"] == "incremental" and again["parent"] == missing["id"]
    expected = fingerprint(server)
    same_rows(expected, fingerprint(started(lab, agent, again, server)))


def test_what_is_forced_is_done_or_refused_with_a_reason(lab, major):
    server, agent = summarized(lab, major)
    first = agent.json("backup", "--checkpoint", "fast", "--type", "incr", expect=2)["error"]
    if not can(major):
        assert f"PostgreSQL {major}" in first["message"]
        return
    assert "no earlier backup" in first["message"] and "--type full" in first["hint"]
    assert not agent.backups()
    agent.backup()
    assert agent.backup("--type", "full")["type"] == "full"
    assert agent.backup("--type", "incremental")["type"] == "incremental"


@pytest.mark.only(17, 18)
def test_a_promotion_in_between(lab, major):
    server, agent = summarized(lab, major)
    agent.backup()
    server.sql("UPDATE pgbench_accounts SET abalance = 5 WHERE aid % 4999 = 0")
    server.stop()
    (server.data / "standby.signal").touch()
    server.start()
    server.pg_ctl("promote", "-w")
    assert server.timeline() == 2
    server.sql("UPDATE pgbench_accounts SET abalance = 7 WHERE aid % 9973 = 0")
    backup = agent.backup()
    assert backup["timeline"] == 2 and backup["parent"]
    assert backup["type"] == "incremental", backup["why_full"]
    expected = fingerprint(server)
    judged_restore(lab, agent, backup, major)
    same_rows(expected, fingerprint(started(lab, agent, backup, server)))


@pytest.mark.only(17, 18)
def test_pages_are_stored_again_though_the_server_does_not_send_them(lab, major):
    server, agent = summarized(lab, major)
    agent.cluster["refresh_period"] = "1ms"
    agent.write_config()
    agent.backup()
    server.sql("UPDATE pgbench_accounts SET abalance = 5 WHERE aid % 9973 = 0")
    server.sql("CHECKPOINT")
    backup = agent.backup()
    assert backup["type"] == "incremental"
    assert backup["bytes_renewed"] > 0
    same_image(plain_backup(server)[0], judged_restore(lab, agent, backup, major))


@pytest.mark.only(17, 18)
def test_several_repositories_get_one_and_the_same_incremental(lab, major):
    """Sealed once for all of them; the parent is the newest that each of them has."""
    server = lab.server(major, filled=(2, 0), autovacuum="off", summarize_wal="on")
    server.sql("VACUUM (FREEZE)")
    home = lab.place("h")
    home.mkdir()
    repos = {name: {"path": home / name, "key_file": home / f"{name}.key"} for name in ("a", "b")}
    agent = lab.agent(server, repos=repos, expire_grace="0").protect()

    def change(number):
        server.sql("UPDATE pgbench_accounts SET abalance = abalance + 1 "
                   f"WHERE aid % 9973 = {number}")
        server.sql("CHECKPOINT")

    first = agent.backup()
    change(1)
    second = agent.backup()
    assert second["type"] == "incremental" and second["parent"] == first["id"]
    server.archiver_rests()
    assert agent.objects(home / "a") == agent.objects(home / "b")
    agent.run("expire", "--backup", second["id"], "--confirm", "--yes", "--force", "--repo", "b")
    change(2)
    expected = fingerprint(server)
    third = agent.backup()
    assert third["type"] == "incremental" and third["parent"] == first["id"], third
    for repo in repos:
        assert agent.run("verify", third["id"], "--repo", repo).code == 0
        target = lab.place("r")
        agent.restore(target, "--backup", third["id"], "--to-backup-end", "--action", "promote",
                      "--repo", repo, "--start")
        clone = lab.attach(target, server)
        until("the clone to be promoted", lambda c=clone: c.sql("SELECT pg_is_in_recovery()") == "f")
        same_rows(expected, fingerprint(clone))
        amcheck(clone)
        clone.stop()


def pages_of(server, table):
    server.sql("CHECKPOINT")
    data = (server.data / server.sql(f"SELECT pg_relation_filepath('{table}')")).read_bytes()
    return [data[at:at + BLOCK] for at in range(0, len(data), BLOCK)]


@pytest.mark.only(18)  # 17 extends in other steps and leaves no zeros here
def test_a_relation_cut_off_and_grown_again_has_no_page_of_before(lab, major):
    """The server extends by many pages at once and logs only those it fills; of the others, zeros
    now, it says nothing, so that the parent's pages would come back with rows that were deleted."""
    server, agent = summarized(lab, major, fsync="off")
    server.sql("CREATE TABLE cut (i int, t text)")
    server.sql("INSERT INTO cut SELECT n, repeat('x', 900) FROM generate_series(1, 20000) n")
    server.sql("VACUUM (FREEZE) cut")
    server.sql("CHECKPOINT")
    agent.backup("--type", "full")
    zeros = 0
    for number in (1, 2):
        server.sql("DELETE FROM cut WHERE i > 9000")
        server.sql("VACUUM (TRUNCATE) cut")
        server.sql("CHECKPOINT")
        server.sql(f"COPY cut FROM PROGRAM 'seq -f \"%.0f\t{number}{300 * 'y'}\" 30001 40000'")
        zeros += pages_of(server, "cut").count(bytes(BLOCK))
        server.sql("VACUUM (FREEZE, TRUNCATE off) cut")  # the zeros at the end stay
        server.sql("CHECKPOINT")
        expected = fingerprint(server)
        backup = agent.backup()
        assert backup["type"] == "incremental", backup
        root = judged_restore(lab, agent, backup, major)
        same_image(plain_backup(server)[0], root)
        clone = started(lab, agent, backup, server)
        same_rows(expected, fingerprint(clone))
        amcheck(clone)
        clone.stop()
    assert zeros > 0, "the servers left no zeros: the test has lost its subject"
