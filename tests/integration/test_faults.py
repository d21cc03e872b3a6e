"""Killed, out of space, damaged, locked out: what is left is whole, and a second try succeeds."""

import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from harness import judges
from harness.kill import DURABLE, NO_LEAKS, kill_at, strace
from harness.wait import until


# The faults are of pgagent and of the machine; the oldest and the newest server stand for all.
pytestmark = pytest.mark.only(15, 18)


def promoted_clone(lab, agent, server, *args):
    target = lab.place("r")
    agent.restore(target, *args, "--action", "promote", "--start")
    clone = lab.attach(target, server)
    until("promotion", lambda: clone.sql("SELECT pg_is_in_recovery()") == "f")
    return clone


def backup_under_way(agent):
    """A slow backup, returned when its first pack is in the repository."""
    before = set(agent.objects())
    running = agent.popen("backup", "--checkpoint", "fast", "--max-rate", "16MB",
                          stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    until("the first pack to be written",
          lambda: [o for o in set(agent.objects()) - before if "packs" in o.parts])
    assert running.poll() is None, "the backup was over before the test could act"
    return running


# --- kill -9 --------------------------------------------------------------------------------

def test_backup_killed_midway_is_no_backup_and_the_next_succeeds(lab, major):
    server, agent = lab.protected(major, scale=1, bulk_mb=48)
    running = backup_under_way(agent)
    running.kill()
    running.communicate()
    assert agent.backups() == []
    server.archive_all()
    expected = judges.fingerprint(server)
    backup = agent.backup()
    assert [b["id"] for b in agent.backups()] == [backup["id"]]
    server.archive_all()
    judges.same_rows(expected, judges.fingerprint(promoted_clone(lab, agent, server)))
    agent.run("verify")


@pytest.mark.parametrize("calls", DURABLE, ids=["sync", "publish", "mkdir"])
def test_backup_killed_at_each_durable_step(lab, major, calls):
    """A backup is listed if and only if it can be restored, wherever the kill struck."""
    server, agent = lab.protected(major, scale=1)
    done = 0
    nth = 1
    while kill_at(lab, agent, calls, nth, "backup", "--checkpoint", "fast"):
        listed = agent.backups()
        assert len(listed) <= 1, listed
        if listed:
            # Killed behind the commit point: it counts, whole.
            agent.run("verify", listed[0]["id"])
            break
        done += 1
        nth += max(1, nth // 3)
        assert nth < 5000, "the backup never gets to its end"
    assert done > 0, "nothing was killed: the calls are named wrongly"
    agent.backup()
    agent.run("verify")


@pytest.mark.parametrize("calls", DURABLE, ids=["sync", "publish", "mkdir"])
def test_push_killed_at_each_durable_step(lab, major, calls):
    server, agent = lab.protected(major, scale=1)
    server.archive_all()
    server.set(archive_command="false")
    done = 0
    for nth in range(1, 100):
        server.sql(f"CREATE TABLE k{nth} AS SELECT 1 AS i")
        name = server.switch_segment()
        content = (server.data / "pg_wal" / name).read_bytes()
        killed = kill_at(lab, agent, calls, nth, "archive-push", f"pg_wal/{name}",
                         cwd=server.data)
        agent.run("archive-push", f"pg_wal/{name}", cwd=server.data)
        destination = lab.place("w")
        agent.run("archive-get", name, destination, cwd=server.data)
        assert destination.read_bytes() == content
        if not killed:
            break
        done += 1
    else:
        pytest.fail("the push never gets to its end")
    assert done > 0 or calls.startswith("mkdir"), "nothing was killed: the calls are named wrongly"


def test_restore_killed_midway_does_not_start_and_a_second_run_finishes_it(lab, major):
    server, agent = lab.protected(major, scale=5)
    agent.backup()
    server.archive_all()
    expected = judges.fingerprint(server)
    for nth in (1, 3, 40, 400):
        target = lab.place("r")
        killed = kill_at(lab, agent, "fsync,fdatasync,syncfs", nth, "restore", "-D", target,
                         "--to-latest")
        if not killed:
            break
        if target.exists():
            sockets = lab.place("s")
            sockets.mkdir()
            started = subprocess.run(
                [str(server.bin / "pg_ctl"), "-D", str(target), "-w", "-t", "20", "-l",
                 f"{target}.log", "-o", f"-k {sockets} -p {lab.port()}", "start"],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                cwd=lab.root, check=False)
            assert started.returncode != 0, "a half restored directory was started"
        agent.restore(target, "--to-latest", "--start")
        clone = lab.attach(target, server)
        until("promotion", lambda c=clone: c.sql("SELECT pg_is_in_recovery()") == "f")
        judges.same_rows(expected, judges.fingerprint(clone))
        clone.stop("immediate")
    assert nth > 1, "nothing was killed: the calls are named wrongly"


def test_interrupted_by_the_keyboard(lab, major):
    server, agent = lab.protected(major, scale=1, bulk_mb=48)
    running = backup_under_way(agent)
    running.send_signal(signal.SIGINT)
    _, err = running.communicate(timeout=60)
    assert running.returncode == 130, err
    assert agent.backups() == []
    agent.backup()


def test_a_second_backup_at_the_same_time_finds_the_lock(lab, major):
    server, agent = lab.protected(major, scale=1, bulk_mb=48)
    running = backup_under_way(agent)
    agent.run("backup", "--checkpoint", "fast", expect=5)
    running.kill()
    running.communicate()
    agent.backup()


def test_a_server_that_dies_under_the_backup_is_an_error_not_a_backup(lab, major):
    server, agent = lab.protected(major, scale=1, bulk_mb=48)
    running = backup_under_way(agent)
    server.kill()
    _, err = running.communicate(timeout=120)
    assert running.returncode == 1, err
    assert agent.backups() == []
    server.start()
    agent.backup()


# --- no space -------------------------------------------------------------------------------

def ballast(place, leave_bytes):
    """Fills the file system so far that leave_bytes are left."""
    stat = os.statvfs(place)
    size = stat.f_bavail * stat.f_frsize - leave_bytes
    path = Path(place) / "ballast"
    with open(path, "wb") as out:
        os.posix_fallocate(out.fileno(), 0, size)
    return path


def test_full_repository_fails_the_backup_and_space_mends_it(lab, major, small_fs):
    server = lab.server(major, filled=(2, 0), archive_mode="off")
    repo = small_fs / "repo"
    home = lab.place("a")
    agent = lab.agent(server, repos={"local": {"path": repo, "key_file": home}})
    agent.repo = repo
    agent.init()
    stone = ballast(small_fs, 1 << 20)
    done = agent.run("backup", "--checkpoint", "fast", expect=1)
    assert str(repo) in done.err or "local" in done.err, done
    assert "space" in done.err.lower(), done
    assert agent.backups() == []
    stone.unlink()
    agent.backup()
    agent.run("verify")
    assert len(agent.backups()) == 1


def test_full_repository_fails_the_push_and_space_mends_it(lab, major, small_fs):
    server = lab.server(major)
    repo = small_fs / "repo"
    agent = lab.agent(server, repos={"local": {"path": repo, "key_file": lab.place("k")}})
    agent.repo = repo
    agent.protect()
    server.archive_all()
    stone = ballast(small_fs, 8192)
    server.sql("CREATE TABLE n AS SELECT md5(random()::text) FROM generate_series(1, 20000) i")
    name = server.switch_segment()
    until("the archiver to fail", lambda: server.sql(
        f"SELECT last_failed_wal = '{name}' FROM pg_stat_archiver") == "t")
    assert not agent.has_segment(name)
    stone.unlink()
    until(f"{name} to be archived", lambda: server.is_archived(name), 120)
    destination = lab.place("w")
    agent.run("archive-get", name, destination, cwd=server.data)
    assert destination.read_bytes() == (server.data / "pg_wal" / name).read_bytes()


def test_a_target_without_space_is_refused_before_the_first_byte(lab, major, small_fs):
    server, agent = lab.protected(major, scale=1)
    agent.backup()
    ballast(small_fs, 16 << 20)
    target = small_fs / "r"
    plan = agent.restore(target, "--to-backup-end", "--plan", expect=(0, 1, 3))
    assert plan["bytes_free"] < plan["bytes_to_write"]
    assert plan["problems"], plan
    done = agent.run("restore", "-D", target, "--to-backup-end", expect=(1, 3))
    assert "space" in done.err.lower(), done
    assert not target.exists() or not any(target.iterdir())


def test_a_target_that_fills_up_does_not_start_and_space_mends_it(lab, major):
    """The space vanishes while the restore writes: every write fails from the 30th on."""
    server, agent = lab.protected(major, scale=2)
    agent.backup()
    server.archive_all()
    expected = judges.fingerprint(server)
    target = lab.place("r")
    done = agent.run("restore", "-D", target, "--to-latest", expect=1, env=NO_LEAKS,
                     wrap=strace(lab, "pwrite64,pwritev,writev,fallocate:error=ENOSPC:when=30+",
                                 "copy_file_range:error=ENOSPC:when=30+"))
    assert "space" in done.err.lower() and str(target) in done.err, done
    assert not (target / "global" / "pg_control").exists()
    agent.restore(target, "--to-latest", "--start")
    clone = lab.attach(target, server)
    until("promotion", lambda: clone.sql("SELECT pg_is_in_recovery()") == "f")
    judges.same_rows(expected, judges.fingerprint(clone))


@pytest.mark.parametrize("error", ["EIO", "ENOSPC"])
def test_a_failed_fsync_is_never_success(lab, major, error):
    server, agent = lab.protected(major, scale=1)
    server.set(archive_command="false")
    name = server.switch_segment()
    rule = f"fsync,fdatasync:error={error}:when=1"
    done = agent.run("archive-push", f"pg_wal/{name}", expect=None, env=NO_LEAKS,
                     cwd=server.data, wrap=strace(lab, rule))
    assert 1 <= done.code <= 125, done
    done = agent.run("backup", "--checkpoint", "fast", expect=1, env=NO_LEAKS,
                     wrap=strace(lab, rule))
    assert agent.backups() == []
    agent.run("archive-push", f"pg_wal/{name}", cwd=server.data)
    agent.backup()
    done = agent.run("restore", "-D", lab.place("r"), "--to-backup-end", expect=1, env=NO_LEAKS,
                     wrap=strace(lab, f"fsync,fdatasync,syncfs:error={error}:when=1"))


# --- damage ---------------------------------------------------------------------------------

# {kind: how to find one, what verify and restore must say}.  A restore to the end of the backup
# reads the WAL it needs; a kind that a restore has no need to read is proven by verify alone.
KINDS = {
    "FORMAT": (lambda o: o.name == "FORMAT" and len(o.parts) == 1, 4, 4),
    "identity": (lambda o: o.name == "identity", 4, 4),
    "pack": (lambda o: "packs" in o.parts, 4, 4),
    "manifest": (lambda o: "backups" in o.parts, 4, 4),
    "segment": (lambda o: "wal" in o.parts and len(o.name) == 24, 4, 4),
    "pin": (lambda o: "pins" in o.parts, 4, None),
    "history": (lambda o: o.name.endswith(".history"), 4, None),
    "backup history": (lambda o: o.name.endswith(".backup"), 4, None),
}


def flip(path, position):
    mode = path.stat().st_mode
    path.chmod(0o600)
    content = bytearray(path.read_bytes())
    content[position] ^= 0x10
    path.write_bytes(content)
    path.chmod(mode)


def place_history(lab, agent, server):
    """One .history and one .backup object, so that each kind exists."""
    place = lab.place("w")
    place.mkdir()
    history = place / "00000002.history"
    history.write_bytes(b"1\t9/5000000\tno recovery target specified\n")
    agent.run("archive-push", history, cwd=server.data)
    found = [o for o in agent.objects() if o.name.endswith(".backup")]
    if not found:
        name = [o.name for o in agent.objects() if "wal" in o.parts and len(o.name) == 24][0]
        label = place / f"{name}.00000028.backup"
        label.write_bytes(b"START WAL LOCATION: 0/2000028 (file x)\n")
        agent.run("archive-push", label, cwd=server.data)


def damageable(agent, backup, matches):
    """One object of that kind; of segments the first that the backup itself needs."""
    found = [o for o in agent.objects() if matches(o)]
    assert found, f"no such object among {agent.objects()}"
    needed = [o for o in found if len(o.name) != 24 or o.name >= first_segment(backup)]
    return needed[0]


def test_one_flipped_byte_in_every_kind_of_object_is_found(lab, major):
    server, agent = lab.protected(major, scale=1)
    backup = agent.backup()
    place_history(lab, agent, server)
    server.archive_all()
    agent.restore(lab.place("r"), "--to-backup-end")  # its pin stays until recovery ends it
    agent.run("verify", "--all")
    for kind, (matches, verify_code, restore_code) in KINDS.items():
        name = damageable(agent, backup, matches)
        size = (agent.repo / name).stat().st_size
        for position in sorted({0, size // 2, size - 1}):
            where = f"{kind} {name}, byte {position} of {size}"
            flip(agent.repo / name, position)
            done = agent.run("verify", "--all", expect=None)
            assert done.code == verify_code, f"verify, {where}: {done}"
            assert name.name in done.err + done.out, f"verify does not name it, {where}: {done}"
            if restore_code is not None:
                target = lab.place("r")
                done = agent.run("restore", "-D", target, "--to-backup-end",
                                 "--backup", backup["id"], expect=None)
                if kind == "pack" and position == size - 1 and done.code == 0:
                    # The trailer finds frames for who has no manifest; a restore has one, and
                    # may go without the trailer if all that it brings back is right.
                    judges.verifybackup(target, major, lab.root)
                    shutil.rmtree(target)
                    flip(agent.repo / name, position)
                    continue
                assert done.code == restore_code, f"restore, {where}: {done}"
                assert not (target / "global" / "pg_control").exists(), where
            flip(agent.repo / name, position)
    agent.run("verify", "--all")


def test_damaged_key_slots_are_found_and_one_whole_slot_is_enough(lab, major):
    _, agent = lab.protected(major, scale=1)
    agent.backup()
    slots = [agent.repo / o for o in agent.objects() if o.parts[0] == "keys"]
    assert len(slots) >= 2, "the key file's slot and the recovery code's"
    for slot in slots:
        flip(slot, slot.stat().st_size // 2)
    agent.run("verify", "--all", expect=4)
    agent.run("restore", "-D", lab.place("r"), "--to-backup-end", expect=4)
    opened = []
    for slot in slots:
        flip(slot, slot.stat().st_size // 2)
        opened.append(agent.run("restore", "-D", lab.place("r"), "--to-backup-end", "--plan",
                                expect=(0, 4)).code)
        agent.run("verify", "--all", expect=0 if slot == slots[-1] else 4)
    assert opened[-1] == 0


def first_segment(backup, size_mb=16):
    high, low = (int(part, 16) for part in backup["start_lsn"].split("/"))
    return f"{backup['timeline']:08X}{high:08X}{low // (size_mb << 20):08X}"


@pytest.mark.parametrize("how", ["truncated", "removed", "swapped", "emptied"])
def test_a_pack_that_is_not_what_it_was_is_found(lab, major, how):
    server, agent = lab.protected(major, scale=1, bulk_mb=48)
    agent.backup()
    packs = [agent.repo / o for o in agent.objects() if "packs" in o.parts]
    assert len(packs) >= 2, packs
    if how == "truncated":
        packs[0].chmod(0o600)
        os.truncate(packs[0], packs[0].stat().st_size - 1)
    elif how == "removed":
        packs[0].unlink()
    elif how == "swapped":
        shutil.move(packs[0], lab.root / "held")
        shutil.move(packs[1], packs[0])
        shutil.move(lab.root / "held", packs[1])
    else:
        packs[0].chmod(0o600)
        os.truncate(packs[0], 0)
    done = agent.run("verify", "--all", expect=4)
    assert packs[0].name in done.err + done.out
    if how != "swapped":
        agent.run("verify", "--quick", expect=4)
    target = lab.place("r")
    agent.run("restore", "-D", target, "--to-backup-end", expect=4)
    assert not (target / "global" / "pg_control").exists()


def test_a_wrong_key_opens_nothing_and_writes_nothing(lab, major):
    server, agent = lab.protected(major, scale=1)
    agent.backup()
    other = lab.agent(server)
    other.init()
    direct = ["--repo", agent.repo, "--key-file", other.key]
    target = lab.place("r")
    done = agent.run("restore", "-D", target, "--to-backup-end", *direct, config=False, expect=4)
    assert "key" in done.err.lower(), done
    assert not target.exists()
    agent.run("list", *direct, config=False, expect=4)
    agent.run("verify", *direct, config=False, expect=4)
    server.archiver_rests()
    agent.key.write_bytes(other.key.read_bytes())
    before = agent.objects()
    agent.run("backup", "--checkpoint", "fast", expect=4)
    name = server.switch_segment()
    done = agent.run("archive-push", f"pg_wal/{name}", expect=None, cwd=server.data)
    assert 1 <= done.code <= 125, done
    agent.run("archive-get", name, lab.place("w"), expect=200, cwd=server.data)
    assert agent.objects() == before


def test_nothing_of_the_cluster_can_be_read_without_the_key(lab, major):
    server, agent = lab.protected(major, scale=1)
    server.sql("CREATE TABLE secret AS SELECT 'k9-canary-' || i AS t FROM "
               "generate_series(1, 1000) i")
    agent.backup("--label", "plain")
    server.archive_all()
    for name in agent.objects():
        content = (agent.repo / name).read_bytes()
        assert b"k9-canary-" not in content, name
        assert b"pgbench_accounts" not in content, name


def test_modes_keep_others_out_whatever_the_umask(lab, major):
    old = os.umask(0)
    try:
        server, agent = lab.protected(major, scale=1)
        agent.backup()
        target = lab.place("r")
        agent.restore(target, "--to-backup-end")
    finally:
        os.umask(old)
    for path in [agent.repo, *agent.repo.rglob("*"), agent.key]:
        assert path.stat().st_mode & 0o077 == 0, f"{path}: {path.stat().st_mode:o}"
    for path in [target, *target.rglob("*")]:
        if not path.is_symlink():
            assert path.stat().st_mode & 0o077 == 0, f"{path}: {path.stat().st_mode:o}"

