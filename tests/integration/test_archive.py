"""archive-push and archive-get: what is refused, what the exit codes mean, what PostgreSQL does."""

import shutil
import subprocess

import pytest

from harness import judges
from harness.postgres import run
from harness.wait import until

# Archiving is one thing from 15 on: the oldest and the newest server stand for all.
pytestmark = pytest.mark.only(15, 18)

UNCERTAIN = 200
ABSENT = 1


def segment_after(name, size_mb=16):
    """The next segment's name on the same timeline."""
    per_id = 0x100000000 // (size_mb << 20)
    number = int(name[8:16], 16) * per_id + int(name[16:], 16) + 1
    return f"{name[:8]}{number // per_id:08X}{number % per_id:08X}"


def refused(code):
    """PostgreSQL retries these; it would restart the archiver for anything above."""
    return 1 <= code <= 125


def get(agent, name, destination, expect):
    return agent.run("archive-get", name, destination, expect=expect, cwd=agent.server.data)


def push(agent, path, expect=None):
    return agent.run("archive-push", path, expect=expect, cwd=agent.server.data)


@pytest.fixture
def archived(lab, major):
    """(server, agent, three archived segment names, their bytes), and a backup before them."""
    server, agent = lab.protected(major, scale=1)
    agent.backup()
    names, content = [], {}
    for number in range(3):
        server.sql(f"CREATE TABLE t{number} AS SELECT {number} AS i")
        name = server.switch_segment()
        path = server.data / "pg_wal" / name
        content[name] = path.read_bytes()
        until(f"{name} to be archived", lambda n=name: server.is_archived(n))
        names.append(name)
    return server, agent, names, content


# --- get ------------------------------------------------------------------------------------

def test_what_was_pushed_is_delivered_byte_for_byte(lab, archived):
    _, agent, names, content = archived
    for name in names:
        destination = lab.place("w")
        get(agent, name, destination, 0)
        assert destination.read_bytes() == content[name]


def test_the_segment_after_the_last_is_proven_absent(lab, archived):
    _, agent, names, _ = archived
    destination = lab.place("w")
    get(agent, segment_after(segment_after(names[-1])), destination, ABSENT)
    assert not destination.exists()


def test_a_history_file_that_nobody_has_is_proven_absent(lab, archived):
    _, agent, _, _ = archived
    get(agent, "00000002.history", lab.place("w"), ABSENT)
    get(agent, "000000020000000000000009", lab.place("w"), ABSENT)


def test_a_hole_is_not_absence(lab, archived):
    _, agent, names, _ = archived
    agent.stored_segment(names[1]).unlink()
    destination = lab.place("w")
    done = get(agent, names[1], destination, UNCERTAIN)
    assert names[1] in done.err
    assert not destination.exists()


def test_an_empty_repository_is_not_absence(lab, archived):
    _, agent, names, _ = archived
    agent.repo.rename(lab.place("old"))
    agent.repo.mkdir(mode=0o700)
    get(agent, names[1], lab.place("w"), UNCERTAIN)


def test_a_repository_that_is_gone_is_not_absence(lab, archived):
    _, agent, names, _ = archived
    agent.repo.rename(lab.place("old"))
    get(agent, names[1], lab.place("w"), UNCERTAIN)


def test_a_repository_that_may_not_be_read_is_not_absence(lab, archived):
    _, agent, names, _ = archived
    agent.repo.chmod(0)
    get(agent, segment_after(segment_after(names[-1])), lab.place("w"), UNCERTAIN)
    agent.repo.chmod(0o700)
    get(agent, names[1], lab.place("w"), 0)


def test_a_damaged_segment_is_not_absence(lab, archived):
    _, agent, names, _ = archived
    stored = agent.stored_segment(names[1])
    content = bytearray(stored.read_bytes())
    content[len(content) // 2] ^= 1
    stored.chmod(0o600)
    stored.write_bytes(content)
    destination = lab.place("w")
    get(agent, names[1], destination, UNCERTAIN)
    assert not destination.exists()


def test_usage_and_configuration_errors_are_not_absence(lab, archived):
    _, agent, names, _ = archived
    agent.run("archive-get", expect=UNCERTAIN, cwd=agent.server.data)
    agent.run("archive-get", names[0], expect=UNCERTAIN, cwd=agent.server.data)
    agent.run("archive-get", names[0], lab.place("w"), "--no-such-option", expect=UNCERTAIN,
              cwd=agent.server.data)
    agent.run("archive-get", "not-a-segment", lab.place("w"), expect=UNCERTAIN,
              cwd=agent.server.data)
    agent.run("--config", lab.place("nothing"), "archive-get", names[0], lab.place("w"),
              config=False, expect=UNCERTAIN, cwd=agent.server.data)
    text = agent.config.read_text(encoding="utf-8")
    agent.config.write_text(text + "\nnonsense = 1\n", encoding="utf-8")
    get(agent, names[0], lab.place("w"), UNCERTAIN)


def recovering(lab, server, signal_file):
    """What archive-get looks at in the data directory of a server in recovery."""
    place = lab.place("d")
    (place / "global").mkdir(parents=True)
    shutil.copy(server.data / "global" / "pg_control", place / "global" / "pg_control")
    (place / signal_file).touch()
    return place


def test_a_restore_is_patient_and_a_standby_is_answered_at_once(lab, archived):
    """A standby asks again by itself, and a FATAL would take it down; a restore must not end."""
    server, agent, names, content = archived
    standby = recovering(lab, server, "standby.signal")
    restore = recovering(lab, server, "recovery.signal")
    away = lab.place("old")
    agent.repo.rename(away)
    done = agent.run("archive-get", names[1], lab.place("w"), expect=UNCERTAIN, cwd=restore)
    assert "trying again" in done.err and str(agent.repo) in done.err, done
    done = agent.run("archive-get", names[1], lab.place("w"), expect=ABSENT, cwd=standby)
    assert str(agent.repo) in done.err, done
    away.rename(agent.repo)
    agent.stored_segment(names[1]).unlink()
    done = agent.run("archive-get", names[1], lab.place("w"), expect=UNCERTAIN, cwd=restore)
    assert "trying again" not in done.err, "a hole does not mend itself"
    agent.run("archive-get", names[1], lab.place("w"), expect=ABSENT, cwd=standby)
    for place in (standby, restore):
        destination = lab.place("w")
        agent.run("archive-get", names[2], destination, cwd=place)
        assert destination.read_bytes() == content[names[2]]


def test_a_promotion_is_not_stopped_at_its_last_step(lab, archived):
    """Its signal file gone already, the server asks for the history of the timeline that it leaves."""
    server, agent, _, _ = archived
    promoting = recovering(lab, server, "nothing")
    (promoting / "pg_wal").mkdir()
    agent.repo.rename(lab.place("old"))

    def ask(name):
        return agent.run("archive-get", name, "pg_wal/RECOVERYHISTORY", cwd=promoting,
                         expect=(ABSENT, UNCERTAIN)).code

    assert ask("00000001.history") == ABSENT, "nobody ever wrote it"
    assert ask("00000002.history") == UNCERTAIN
    (promoting / "pg_wal" / "00000002.history").write_text("1\t0/3000000\tno reason\n")
    assert ask("00000002.history") == ABSENT, "the server has it"
    assert ask("000000020000000000000003") == UNCERTAIN


def test_one_silent_repository_of_two_is_not_absence(lab, major):
    server = lab.server(major)
    home = lab.place("two")
    home.mkdir()
    repos = {name: {"path": home / name, "key_file": home / f"{name}.key"} for name in ("a", "b")}
    agent = lab.agent(server, repos=repos).protect()
    last = server.archive_all()
    absent = segment_after(segment_after(last))
    get(agent, absent, lab.place("w"), ABSENT)
    for silent in ("b", "a"):
        (home / silent).rename(home / "away")
        get(agent, absent, lab.place("w"), UNCERTAIN)
        done = get(agent, last, lab.place("w"), 0)
        assert str(home / silent) in done.err, done
        agent.run("list")
        (home / "away").rename(home / silent)


def test_an_empty_second_repository_proves_nothing_and_takes_nothing_away(lab, major):
    server = lab.server(major)
    home = lab.place("two")
    home.mkdir()
    repos = {name: {"path": home / name, "key_file": home / f"{name}.key"} for name in ("a", "b")}
    agent = lab.agent(server, repos=repos).protect()
    agent.backup()
    names = []
    for number in range(3):
        server.sql(f"CREATE TABLE t{number} AS SELECT 1 AS i")
        names.append(server.archive_all())
    server.archiver_rests()
    rows = judges.fingerprint(server)
    server.stop()
    for empty, whole in (("b", "a"), ("a", "b")):
        (home / empty).rename(home / "old")
        (agent.home / "state" / f"repository-{empty}").unlink()
        agent.init()
        get(agent, names[1], lab.place("w"), 0)
        get(agent, segment_after(segment_after(names[-1])), lab.place("w"), UNCERTAIN)
        stored, = (p for p in (home / whole).rglob(names[1]) if "wal" in p.parts)
        stored.rename(home / "aside")
        get(agent, names[1], lab.place("w"), UNCERTAIN)
        (home / "aside").rename(stored)
        assert len(agent.backups()) == 1
        target = lab.place("r")
        done = agent.run("restore", "-D", target, "--to-latest", "--start")
        assert f"repository {empty} holds no WAL" in done.err, done
        clone = lab.attach(target, server)
        judges.same_rows(rows, judges.fingerprint(clone))
        clone.stop("immediate")
        shutil.rmtree(home / empty)
        (home / "old").rename(home / empty)


# --- push -----------------------------------------------------------------------------------

def test_an_identical_push_is_success(lab, archived):
    _, agent, names, content = archived
    place = lab.place("w")
    place.mkdir()
    again = place / names[0]
    again.write_bytes(content[names[0]])
    before = agent.objects()
    push(agent, again, 0)
    assert agent.objects() == before


def test_other_content_under_a_stored_name_is_refused_for_ever(lab, archived):
    _, agent, names, content = archived
    place = lab.place("w")
    place.mkdir()
    forged = bytearray(content[names[0]])
    forged[5000] ^= 0xFF
    (place / names[0]).write_bytes(forged)
    for _ in range(2):
        done = push(agent, place / names[0])
        assert refused(done.code), done
        assert names[0] in done.err
    destination = lab.place("w")
    get(agent, names[0], destination, 0)
    assert destination.read_bytes() == content[names[0]]


def test_a_segment_of_another_system_is_refused(lab, archived, major):
    server, agent, _, _ = archived
    other = lab.server(major, fresh=True)
    assert other.system_identifier() != server.system_identifier()
    name = other.switch_segment()
    other.stop()
    before = agent.objects()
    done = agent.run("archive-push", f"pg_wal/{name}", expect=None, cwd=other.data)
    assert refused(done.code), done
    done = agent.run("--cluster", "main", "archive-push", f"pg_wal/{name}", expect=None,
                     cwd=other.data)
    assert refused(done.code), done
    assert agent.objects() == before


def damaged_copies(content, name):
    """{what: (file name, bytes)} of files that must not be taken for a segment."""
    return {
        "renamed": (segment_after(segment_after(name)), content),
        "truncated": (name, content[:-8192]),
        "short": (name, content[:100]),
        "empty": (name, b""),
        "zeroed": (name, bytes(len(content))),
        "doubled": (name, content + content),
    }


@pytest.mark.parametrize("what", ["renamed", "truncated", "short", "empty", "zeroed", "doubled"])
def test_what_is_no_segment_is_refused_and_not_stored(lab, archived, what):
    _, agent, names, content = archived
    agent.stored_segment(names[-1]).unlink()
    name, data = damaged_copies(content[names[-1]], names[-1])[what]
    place = lab.place("w")
    place.mkdir()
    (place / name).write_bytes(data)
    before = agent.objects()
    done = push(agent, place / name)
    assert refused(done.code), done
    assert name in done.err
    assert agent.objects() == before


def test_a_segment_that_is_not_there_is_refused(archived):
    _, agent, names, _ = archived
    done = push(agent, f"pg_wal/{segment_after(segment_after(names[-1]))}")
    assert refused(done.code), done


def test_history_backup_and_partial_files_come_back_as_they_went(lab, archived):
    server, agent, names, _ = archived
    place = lab.place("w")
    place.mkdir()
    files = {
        "00000002.history": b"1\t0/5000000\tno recovery target specified\n",
        f"{names[0]}.00000028.backup": b"START WAL LOCATION: 0/2000028 (file x)\n",
    }
    # A .partial holds the name's own segment: taken from the server, where it is open now.
    open_segment = server.sql("SELECT pg_walfile_name(pg_current_wal_insert_lsn())")
    server.sql("CHECKPOINT; CREATE TABLE more AS SELECT generate_series(1, 1000) AS i")
    files[f"{open_segment}.partial"] = (server.data / "pg_wal" / open_segment).read_bytes()
    for name, data in files.items():
        (place / name).write_bytes(data)
        push(agent, place / name, 0)
        push(agent, place / name, 0)
        destination = lab.place("w")
        get(agent, name, destination, 0)
        assert destination.read_bytes() == data, name
    # The open segment itself is still to come, with its own bytes.
    assert server.archive_all() == open_segment
    (place / "00000002.history").write_bytes(b"1\t0/6000000\tanother\n")
    done = push(agent, place / "00000002.history")
    assert refused(done.code), done


def test_one_repository_of_two_that_is_down_keeps_no_segment_from_the_other(lab, major):
    server = lab.server(major)
    home = lab.place("two")
    home.mkdir()
    repos = {name: {"path": home / name, "key_file": home / f"{name}.key"} for name in ("a", "b")}
    agent = lab.agent(server, repos=repos).protect()
    for down, up in (("a", "b"), ("b", "a")):
        server.archive_all()
        server.set(archive_command="false")
        name = server.switch_segment()
        until("the archiver to fail", lambda n=name: server.sql(
            f"SELECT last_failed_wal = '{n}' FROM pg_stat_archiver") == "t")
        path = server.data / "pg_wal" / name
        (home / down).rename(home / "away")
        done = push(agent, path)
        assert refused(done.code), done
        assert str(home / down) in done.err, done
        assert list((home / up).glob(f"**/{name}")), done
        (home / "away").rename(home / down)
        push(agent, path, 0)
        assert list((home / down).glob(f"**/{name}"))
        server.set(archive_command=agent.archive_command())


def test_push_to_an_unreachable_repository_fails_and_the_archiver_goes_on_later(lab, archived):
    server, agent, _, _ = archived
    agent.repo.rename(agent.home / "away")
    name = server.switch_segment()
    until("the archiver to fail", lambda: server.sql(
        f"SELECT last_failed_wal = '{name}' FROM pg_stat_archiver") == "t")
    (agent.home / "away").rename(agent.repo)
    until(f"{name} to be archived", lambda: server.is_archived(name), 120)
    assert agent.has_segment(name)


def test_one_agent_serves_the_cluster_that_the_segment_belongs_to(lab, major):
    """Two clusters in one configuration: push finds the right one by system identifier."""
    one, two = lab.server(major), lab.server(major, fresh=True)
    agent = lab.agent(one)
    agent.config.write_text(agent.config.read_text(encoding="utf-8") + f"""
[cluster:other]
conninfo = {two.conninfo}
repos = local
""", encoding="utf-8")
    agent.run("--cluster", "main", "init", "--yes")
    agent.run("--cluster", "other", "init", "--yes")
    for server in (one, two):
        server.set(archive_command=agent.archive_command())
    names = {server.system_identifier(): server.archive_all() for server in (one, two)}
    for identifier, name in names.items():
        found = [p for p in agent.repo.rglob(name) if identifier in p.parts]
        assert len(found) == 1, (identifier, name, agent.objects())


# --- what PostgreSQL does -------------------------------------------------------------------

def remove_segment(agent, names, lab):
    agent.stored_segment(names[1]).unlink()


def empty_repository(agent, names, lab):
    agent.repo.rename(lab.place("old"))
    agent.repo.mkdir(mode=0o700)


def recreate_repository(agent, names, lab):
    agent.repo.rename(lab.place("old"))
    agent.key.rename(lab.place("oldkey"))
    shutil.rmtree(agent.home / "state")
    (agent.home / "state").mkdir(mode=0o700)
    agent.init()


def take_repository_away(agent, names, lab):
    agent.repo.rename(lab.place("old"))


def clone_log(directory, started):
    """What a restored server wrote: to the terminal it was started from, or to files."""
    files = [started, *directory.glob("*.log"), *directory.glob("log/*")]
    return "\n".join(f.read_text(encoding="utf-8", errors="replace") for f in files)


@pytest.mark.parametrize("target", ["latest", "time"])
@pytest.mark.parametrize("damage", [remove_segment, empty_repository, recreate_repository,
                                    take_repository_away], ids=lambda f: f.__name__)
def test_postgres_stops_instead_of_promoting_a_truncated_cluster(lab, archived, damage, target):
    server, agent, names, _ = archived
    time = server.sql("SELECT to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US') || 'Z'")
    server.sql("CREATE TABLE last_one AS SELECT 1 AS i")
    server.archive_all()
    sockets = lab.place("s")
    sockets.mkdir()
    directory = lab.place("r")
    wanted = ["--to-latest"] if target == "latest" else ["--to-time", time]
    document = agent.restore(directory, *wanted, "--action", "promote", "--set",
                             f"port={lab.port()}", "--set", f"unix_socket_directories={sockets}")
    server.stop()
    damage(agent, names, lab)

    log = lab.place("log")
    with open(log, "w", encoding="utf-8") as out:
        subprocess.run(document["start_command"], shell=True, stdin=subprocess.DEVNULL,
                       stdout=out, stderr=out, env=agent.environment(), timeout=180, cwd=lab.root)
    until("the server to stop", lambda: not (directory / "postmaster.pid").exists(), 120)
    promoted = [*directory.glob("pg_wal/*.history"), *directory.glob("pg_wal/00000002*")]
    assert not promoted, "a new timeline means it was promoted"
    if server.major == 15:
        control = run([server.bin / "pg_controldata", "-D", directory]).stdout
        assert "Latest checkpoint's TimeLineID:       1" in control
    said = clone_log(directory, log)
    assert "FATAL" in said and "restore" in said, said
    assert "selected new timeline" not in said and "archive recovery complete" not in said, said


def test_after_the_hole_is_mended_the_same_directory_recovers(lab, archived):
    server, agent, names, _ = archived
    expected = judges.fingerprint(server)
    sockets = lab.place("s")
    sockets.mkdir()
    directory = lab.place("r")
    document = agent.restore(directory, "--to-latest", "--set", f"port={lab.port()}", "--set",
                             f"unix_socket_directories={sockets}")
    stored = agent.stored_segment(names[1])
    kept = stored.read_bytes()
    stored.unlink()
    command = dict(shell=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                   stderr=subprocess.DEVNULL, env=agent.environment(), timeout=180, cwd=lab.root)
    subprocess.run(document["start_command"], **command)
    until("the server to stop", lambda: not (directory / "postmaster.pid").exists(), 120)
    stored.write_bytes(kept)
    subprocess.run(document["start_command"], **command)
    until("the server to run", lambda: (directory / "postmaster.pid").exists())
    clone = lab.attach(directory, server)
    until("promotion", lambda: clone.answers() and
          clone.sql("SELECT pg_is_in_recovery()") == "f", 60)
    judges.same_rows(expected, judges.fingerprint(clone))


def test_a_push_needs_no_running_server(lab, archived):
    """archive_command runs while the server may accept no connection at all."""
    server, agent, names, content = archived
    server.stop()
    agent.stored_segment(names[2]).unlink()
    place = lab.place("w")
    place.mkdir()
    (place / names[2]).write_bytes(content[names[2]])
    push(agent, place / names[2], 0)
    assert agent.has_segment(names[2])


def test_segments_pushed_late_and_out_of_order_close_the_hole(lab, major):
    server = lab.server(major)
    agent = lab.agent(server)
    agent.init()
    place = lab.place("w")
    place.mkdir()
    names = []
    for number in range(3):
        server.sql(f"CREATE TABLE t{number} AS SELECT {number} AS i")
        names.append(server.switch_segment())
        shutil.copy(server.data / "pg_wal" / names[-1], place / names[-1])
    for name in (names[2], names[0]):
        push(agent, place / name, 0)
    get(agent, names[1], lab.place("w"), UNCERTAIN)
    push(agent, place / names[1], 0)
    get(agent, names[1], lab.place("w"), 0)
