"""restore --delta: what lies there is compared page by page, and the result is as if it were new.

One server per major with two backups, a day of changes between them; pg_verifybackup is the judge.
"""

import os
import shutil
import subprocess
from dataclasses import dataclass

import pytest

from harness import judges
from harness.kill import kill_at
from harness.wait import until

SHARES_SERVER = True
pytestmark = pytest.mark.only(15, 18)

PAGE = 8192


@dataclass
class Scene:
    lab: object
    server: object
    agent: object
    first: dict
    first_rows: dict
    second: dict
    second_rows: dict

    def restore(self, target, backup, *args, **kwargs):
        return self.agent.restore(target, "--backup", backup["id"], "--to-backup-end", *args,
                                  **kwargs)

    def whole(self, backup):
        """A restored directory that was not started."""
        target = self.lab.place("r")
        self.restore(target, backup)
        return target

    def judge(self, target, backup, changed=()):
        judges.verifybackup(target, self.server.major, self.lab.root, changed=changed)
        judges.manifest(target, backup)
        assert not list(target.glob("pgagent-restore.marker"))

    def started(self, target, backup, *args):
        """The same again, started and promoted."""
        self.restore(target, backup, "--delta", "--action", "promote", "--start", *args)
        clone = self.lab.attach(target, self.server)
        until("promotion", lambda: clone.sql("SELECT pg_is_in_recovery()") == "f")
        return clone

    def starts(self, target):
        sockets = self.lab.place("s")
        sockets.mkdir()
        done = subprocess.run(
            [str(self.server.bin / "pg_ctl"), "-D", str(target), "-w", "-t", "20", "-l",
             f"{target}.log", "-o", f"-k {sockets} -p {self.lab.port()}", "start"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            cwd=self.lab.root, check=False)
        return done.returncode == 0


def day_of_changes(server):
    server.sql("""
        UPDATE noise SET b = md5(b) WHERE id % 50 = 0;
        DELETE FROM pgbench_accounts WHERE aid % 1000 = 0;
        CREATE TABLE new_today AS SELECT i, md5(i::text) FROM generate_series(1, 5000) i;
        DROP TABLE empty_table;
        TRUNCATE pgbench_history""")
    server.sql("CREATE DATABASE made_today")
    server.sql("VACUUM FULL pgbench_tellers")


@pytest.fixture(scope="module")
def scene(shared_lab, major):
    server = shared_lab.server(major, filled=(5, 0), autovacuum="off")
    agent = shared_lab.agent(server).protect()
    first, first_rows = agent.backup(), judges.fingerprint(server)
    day_of_changes(server)
    second, second_rows = agent.backup(), judges.fingerprint(server)
    return Scene(shared_lab, server, agent, first, first_rows, second, second_rows)


def relation(scene, target, name):
    return target / scene.server.sql(f"SELECT pg_relation_filepath('{name}')")


def flip(path, page):
    """Another byte in the middle of that page; size and times stay."""
    before = path.stat()
    with open(path, "r+b") as f:
        f.seek(page * PAGE + 4000)
        byte = f.read(1)
        f.seek(page * PAGE + 4000)
        f.write(bytes([byte[0] ^ 0x20]))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_with_nothing_to_do_nothing_is_written(scene):
    target = scene.whole(scene.first)
    big = relation(scene, target, "pgbench_accounts")
    before = big.stat()
    plan = scene.restore(target, scene.first, "--delta", "--plan")
    assert plan["delta"] is True and plan["bytes_present"] >= scene.first["bytes_cluster"] // 2
    document = scene.restore(target, scene.first, "--delta")
    assert document["bytes_written"] == PAGE, "pg_control alone"
    assert document["bytes_reused"] > 0.95 * scene.first["bytes_cluster"]
    assert (big.stat().st_ino, big.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    scene.judge(target, scene.first)


def test_pages_files_and_modes_that_differ_are_mended(scene):
    target = scene.whole(scene.first)
    accounts = relation(scene, target, "pgbench_accounts")
    index = relation(scene, target, "pgbench_accounts_pkey")
    for page in (0, 7, 8, accounts.stat().st_size // PAGE - 1):
        flip(accounts, page)
    flip(index, 3)
    document = scene.restore(target, scene.first, "--delta")
    assert document["bytes_written"] == (5 + 1) * PAGE, "what differs, and pg_control"
    scene.judge(target, scene.first)

    os.truncate(accounts, 5 * PAGE + 100)
    os.truncate(index, index.stat().st_size + 3 * PAGE + 1)
    accounts.chmod(0o640)
    (target / "base" / "4242").write_text("added")
    (target / "pg_wal" / "000000010000000000000042").write_bytes(b"\0" * 9000)
    (target / "PG_VERSION").unlink()
    shutil.rmtree(target / "pg_logical")
    os.mkfifo(target / "pg_stat" / "pipe")
    scene.restore(target, scene.first, "--delta")
    scene.judge(target, scene.first)
    assert not (target / "base" / "4242").exists() and not list(target.glob("pg_wal/0*"))
    assert not (target / "pg_stat" / "pipe").exists()
    assert accounts.stat().st_mode & 0o777 == 0o600
    clone = scene.started(target, scene.first)
    judges.same_rows(scene.first_rows, judges.fingerprint(clone))
    judges.amcheck(clone)
    clone.stop()


def problems(scene, target, backup):
    plan = scene.agent.json("restore", "-D", target, "--backup", backup["id"], "--to-backup-end",
                            "--delta", "--plan", expect=range(256))
    return [problem["code"] for problem in plan["problems"]]


def test_back_to_an_older_backup_after_a_day(scene):
    """A copy that lived on: its own timeline, its own changes; then yesterday again."""
    target = scene.whole(scene.second)
    clone = scene.started(target, scene.second)
    clone.sql("CREATE TABLE of_the_copy AS SELECT generate_series(1, 1000) AS i;"
              "UPDATE noise SET a = 'x' WHERE id < 500")
    judges.amcheck(clone)
    clone.stop()
    # What it did lies in a timeline that nobody archived.
    assert "wal_not_archived" in problems(scene, target, scene.first)
    document = scene.restore(target, scene.first, "--delta", "--discard-wal")
    assert document["bytes_reused"] > document["bytes_written"] > PAGE
    scene.judge(target, scene.first)
    clone = scene.started(target, scene.first)
    judges.same_rows(scene.first_rows, judges.fingerprint(clone))
    clone.stop()
    # And to the newer one again.
    scene.restore(target, scene.second, "--delta", "--discard-wal")
    scene.judge(target, scene.second)
    clone = scene.started(target, scene.second)
    judges.same_rows(scene.second_rows, judges.fingerprint(clone))
    clone.stop()


@pytest.mark.parametrize("calls", ["fsync,fdatasync", "unlink,unlinkat,rename,renameat,renameat2",
                                   "pwrite64", "ftruncate"])
def test_killed_anywhere_it_does_not_start_and_the_next_run_finishes(scene, calls):
    stopped = scene.whole(scene.second)
    killed = 0
    for step, nth in enumerate((1, 2, 3, 5, 12, 200)):
        target = scene.lab.place("r")
        shutil.copytree(stopped, target, symlinks=True)
        if not kill_at(scene.lab, scene.agent, calls, nth, "restore", "-D", target, "--backup",
                       scene.first["id"], "--to-backup-end", "--delta"):
            break
        killed += 1
        untouched = (target / "global" / "pg_control").exists()
        if not untouched:
            assert not scene.starts(target), "a half changed directory was started"
        # Without --delta only what was not touched yet stays refused.
        delta = ["--delta"] if untouched or step % 2 == 0 else []
        if untouched:
            refused = scene.agent.run("restore", "-D", target, "--to-backup-end", expect=None)
            assert refused.code != 0 and "--delta" in refused.err, str(refused)
        scene.restore(target, scene.first, *delta)
        scene.judge(target, scene.first)
        shutil.rmtree(target)
    assert killed > 0, "nothing was killed: the calls are named wrongly"


def test_an_interrupted_restore_is_finished_with_what_is_there(scene):
    for nth in (3, 300):
        target = scene.lab.place("r")
        assert kill_at(scene.lab, scene.agent, "fsync,fdatasync", nth, "restore", "-D", target,
                       "--backup", scene.first["id"], "--to-backup-end")
        assert not (target / "global" / "pg_control").exists()
        # Another backup of the cluster may be restored over it just as well.
        backup = scene.first if nth == 3 else scene.second
        document = scene.restore(target, backup, "--delta")
        assert document["bytes_reused"] + document["bytes_written"] > 0.9 * backup["bytes_cluster"]
        if nth == 300:
            assert document["bytes_reused"] > document["bytes_written"]
        scene.judge(target, backup)
        clone = scene.started(target, backup)
        judges.same_rows(scene.first_rows if nth == 3 else scene.second_rows,
                         judges.fingerprint(clone))
        judges.amcheck(clone)
        clone.stop()


def listing(top):
    return sorted((str(p.relative_to(top)), p.lstat().st_mtime_ns) for p in top.rglob("*"))


def refused(scene, target, named):
    before = listing(target)
    plan = scene.agent.json("restore", "-D", target, "--to-backup-end", "--delta", "--plan",
                            expect=range(1, 256))
    assert plan["reachable"] is False
    done = scene.agent.run("restore", "-D", target, "--to-backup-end", "--delta", expect=None)
    assert done.code not in (0, 3) and named in done.err, str(done)
    assert listing(target) == before, "a refused directory was changed"


def test_what_is_not_ours_is_refused(scene):
    home = scene.lab.place("home")
    home.mkdir()
    (home / "thesis.txt").write_text("years of work")
    refused(scene, home, "no data directory")
    other = scene.lab.server(scene.server.major, fresh=True)
    other.stop()
    refused(scene, other.data, "another cluster")
    refused(scene, scene.server.data, "in use")


def test_without_the_option_it_is_refused_and_offered(scene):
    target = scene.whole(scene.first)
    done = scene.agent.run("restore", "-D", target, "--to-backup-end", expect=None)
    assert done.code not in (0, 3) and "--delta" in done.err, str(done)


def test_no_link_is_followed(scene):
    target = scene.whole(scene.first)
    outside = scene.lab.place("outside")
    outside.mkdir()
    (outside / "precious").write_text("of somebody else")
    accounts = relation(scene, target, "pgbench_accounts")
    accounts.rename(outside / "accounts")
    accounts.symlink_to(outside / "accounts")
    os.link(outside / "precious", target / "PG_VERSION.new")
    (target / "PG_VERSION").unlink()
    (target / "PG_VERSION.new").rename(target / "PG_VERSION")
    shutil.rmtree(target / "pg_wal")
    (target / "pg_wal").symlink_to(outside)
    shutil.rmtree(target / "pg_xact")
    (target / "pg_xact").symlink_to(outside)
    before = listing(outside)
    document = scene.agent.run("restore", "-D", target, "--backup", scene.first["id"],
                               "--to-backup-end", "--delta")
    assert "pg_wal" in document.err, "nothing was said of the link"
    assert listing(outside) == before
    assert (outside / "precious").read_text() == "of somebody else"
    scene.judge(target, scene.first)


def test_tablespaces_are_reused_when_they_are_linked(lab, major):
    server, agent = lab.protected(major, scale=1)
    place, moved = lab.place("ts"), lab.place("ts")
    place.mkdir()
    server.sql(f"CREATE TABLESPACE side LOCATION '{place}'")
    server.sql("CREATE TABLE there TABLESPACE side AS SELECT i, md5(i::text) FROM "
               "generate_series(1, 20000) i")
    backup, rows = agent.backup(), judges.fingerprint(server)
    oid = server.sql("SELECT oid FROM pg_tablespace WHERE spcname = 'side'")
    target = lab.place("r")
    options = ["--to-backup-end", "--tablespace", f"side={moved}"]
    agent.restore(target, *options)
    path = target / server.sql("SELECT pg_relation_filepath('there')")
    flip(path, 5)
    (path.parent / "4242").write_text("added")
    document = agent.restore(target, *options, "--delta")
    assert document["bytes_written"] == 2 * PAGE
    assert not (path.parent / "4242").exists() and not (moved / "pgagent-restore.marker").exists()
    judges.verifybackup(target, major, lab.root)

    # One that leads elsewhere is somebody's own.
    (target / "pg_tblspc" / oid).unlink()
    done = agent.run("restore", "-D", target, *options, "--delta", expect=None)
    assert done.code not in (0, 3) and "not linked" in done.err, str(done)
    (target / "pg_tblspc" / oid).symlink_to(moved)
    agent.restore(target, *options, "--delta", "--action", "promote", "--start")
    clone = lab.attach(target, server)
    until("promotion", lambda: clone.sql("SELECT pg_is_in_recovery()") == "f")
    judges.same_rows(rows, judges.fingerprint(clone))
    clone.stop()
    assert backup["id"]


def problems_over(agent, target, *args):
    plan = agent.json("restore", "-D", target, "--delta", "--plan", *args, expect=range(256))
    return {problem["code"]: problem for problem in plan["problems"]}


def test_wal_that_was_never_archived_is_not_thrown_away(lab, major):
    server, agent = lab.protected(major, scale=1, autovacuum="off")
    agent.backup()
    server.sql("CREATE TABLE precious AS SELECT 1 AS i")
    server.stop()
    # A clean stop with a working archive leaves nothing behind.
    clean = lab.place("c")
    shutil.copytree(server.data, clean, symlinks=True)
    assert problems_over(agent, clean) == {}

    server.start()
    server.set(archive_command="false")
    server.sql("INSERT INTO precious VALUES (2)")
    segment = server.switch_segment()
    server.sql("INSERT INTO precious VALUES (3)")
    open_segment = server.sql("SELECT pg_walfile_name(pg_current_wal_lsn())")
    server.kill()
    # Elsewhere than where the backup was taken nobody but a person knows whose WAL it is.
    copy = lab.place("c")
    shutil.copytree(server.data, copy, symlinks=True)
    found = problems_over(agent, copy)
    assert set(found) == {"wal_not_archived"}, found
    assert segment in found["wal_not_archived"]["message"]
    assert open_segment in found["wal_not_archived"]["message"]
    assert "--discard-wal" in found["wal_not_archived"]["hint"]
    assert f"--salvage-wal {copy}" in found["wal_not_archived"]["hint"]
    agent.run("restore", "-D", lab.place("n"), "--discard-wal", expect=2)   # there nothing is lost
    before = listing(copy)
    done = agent.run("restore", "-D", copy, "--delta", expect=None)
    assert done.code not in (0, 3) and "never archived" in done.err, str(done)
    assert listing(copy) == before

    agent.run("archive-push", server.data / "pg_wal" / segment)
    found = problems_over(agent, copy)["wal_not_archived"]["message"]
    assert segment not in found and open_segment in found
    done = agent.run("restore", "-D", copy, "--delta", "--discard-wal", "--start")
    assert open_segment in done.err, "nothing was said of what was discarded"
    clone = lab.attach(copy, server)
    assert clone.sql("SELECT i FROM precious ORDER BY i") == "1\n2"


def test_a_copied_data_directory_does_not_lead_into_the_originals_tablespaces(lab, major):
    server, agent = lab.protected(major, scale=1, autovacuum="off")
    place = lab.place("ts")
    place.mkdir()
    server.sql(f"CREATE TABLESPACE side LOCATION '{place}'")
    server.sql("CREATE TABLE there TABLESPACE side AS SELECT generate_series(1, 20000) AS i")
    agent.backup()
    server.sql("DELETE FROM there WHERE i > 10; CHECKPOINT")
    server.stop()
    copy, moved = lab.place("c"), lab.place("ts")
    shutil.copytree(server.data, copy, symlinks=True)
    server.start()
    before = listing(place)
    done = agent.run("restore", "-D", copy, "--to-backup-end", "--delta", "--plan", expect=None)
    assert "itself has this tablespace" in done.out and "--tablespace" in done.out, str(done)
    done = agent.run("restore", "-D", copy, "--to-backup-end", "--delta", expect=None)
    assert done.code not in (0, 3) and str(place) in done.err, str(done)
    assert listing(place) == before
    assert server.sql("SELECT count(*) FROM there") == "10"

    # With a place of its own the copy is as good as any.
    options = ["--to-backup-end", "--delta", "--tablespace", f"side={moved}"]
    agent.restore(copy, *options)
    judges.verifybackup(copy, major, lab.root)
    assert listing(place) == before
    agent.restore(copy, *options)

    # In place the original's are the right ones.
    server.stop()
    agent.restore(server.data, "--to-backup-end", "--delta", "--archiving", "off", "--yes",
                  "--action", "promote")
    server.start()
    until("recovery to end", lambda: server.answers() and
          server.sql("SELECT pg_is_in_recovery()") == "f")
    assert server.sql("SELECT count(*) FROM there") == "20000"
