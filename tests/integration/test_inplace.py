"""A lost server restored over itself: what it had committed and never archived is saved first."""

import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from harness import judges
from harness.kill import kill_at
from harness.postgres import DEBIAN_BIN, Postgres, clean_environment, run
from harness.restored import forget
from harness.wait import until


class Writer:
    """Commits row after row until the server is gone; `acknowledged` are those it was told of."""

    def __init__(self, lab, server):
        script, self.told = lab.place("w"), lab.place("told")
        script.write_text("INSERT INTO ledger VALUES (DEFAULT, repeat(md5(random()::text), 40)) "
                          "RETURNING i;\n" * 200000, encoding="utf-8")
        with open(self.told, "w", encoding="utf-8") as out:
            self.process = subprocess.Popen(
                [str(DEBIAN_BIN / "psql"), "-XAtq", "-v", "ON_ERROR_STOP=1", "-h",
                 str(server.sockets), "-p", str(server.port), "-U", "postgres", "-d", "postgres",
                 "-f", str(script)],
                stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.DEVNULL,
                env=clean_environment())

    def acknowledged(self):
        self.process.wait(30)
        rows = self.told.read_text(encoding="utf-8").split()
        assert rows, "nothing was committed"
        return {int(row) for row in rows}


def killed_while_writing(lab, server, segments=2):
    """The rows that were acknowledged before the server was killed, WAL and all never archived."""
    server.sql("CREATE TABLE ledger (i serial PRIMARY KEY, t text)")
    server.archive_all()
    server.set(archive_command="false")
    first = server.sql("SELECT pg_walfile_name(pg_current_wal_lsn())")
    writer = Writer(lab, server)
    until("several segments to be full", lambda: int(server.sql(
        f"SELECT count(*) FROM pg_ls_waldir() WHERE name >= '{first}' AND name <= "
        "pg_walfile_name(pg_current_wal_lsn())")) > segments)
    until("a commit to be told", lambda: writer.told.stat().st_size > 0)
    server.kill()
    return writer.acknowledged()


def listing(root):
    return {path.relative_to(root): (path.lstat().st_size, path.lstat().st_mtime_ns)
            for path in root.rglob("*")}


def writable(root, yes):
    for path in (root, *root.rglob("*")):
        if path.is_dir():
            path.chmod(0o700 if yes else 0o500)


def recovered(server):
    server.start()
    until("recovery to end", lambda: server.answers() and
          server.sql("SELECT pg_is_in_recovery()") == "f")


def has_rows(server, acknowledged):
    found = {int(i) for i in server.sql("SELECT i FROM ledger").split()}
    assert not acknowledged - found, f"committed rows are lost: {sorted(acknowledged - found)[:9]}"
    judges.amcheck(server)


def test_a_data_directory_that_was_moved_away_takes_its_tablespaces_along(lab, major):
    server = lab.server(major, filled=(1, 0))
    places = [lab.place("ts"), lab.place("ts")]
    for name, place in zip(("fast", "slow"), places):
        place.mkdir()
        server.sql(f"CREATE TABLESPACE {name} LOCATION '{place}'")
        server.sql(f"CREATE TABLE in_{name} TABLESPACE {name} AS SELECT generate_series(1, 99) i")
    agent = lab.agent(server).protect()
    agent.backup()
    expected = judges.fingerprint(server)
    server.stop()
    broken = server.data.with_name("data.broken")
    server.data.rename(broken)
    command = ["restore", "-D", server.data, "--salvage-wal", broken, "--archiving", "keep"]
    for more in ([], ["--delta"]):
        done = agent.run(*command, *more, expect=2)
        assert "tablespace  fast (" in done.out and "fast (" in done.err, done
        assert any(f'move "{place}" away, too' in done.err for place in places), done
        assert "cannot be opened" not in done.err and not server.data.exists(), done
    named = agent.run(*command, "--tablespace", f"fats={places[0]}", expect=2)
    assert "fast (" in named.err and "slow (" in named.err, named
    for place in places:
        place.rename(f"{place}.broken")
    agent.run(*command)
    recovered(server)
    judges.same_rows(expected, judges.fingerprint(server))


def test_a_restore_says_by_what_one_sees_that_all_is_there(lab, major):
    """Started by hand it can be read while it replays; who counts by the printed sign has every row."""
    server = lab.server(major, filled=(1, 0))
    agent = lab.agent(server).protect()
    agent.backup()
    server.sql("CREATE TABLE late AS SELECT generate_series(1, 50000) i")
    lsn = server.lsn()
    server.archive_all()
    server.stop()
    server.data.rename(lab.place("was"))

    for args, sign, answer in (
            ([], "SELECT pg_is_in_recovery()", "f"),
            (["--delta", "--discard-wal", "--to-lsn", lsn],
             "SELECT pg_get_wal_replay_pause_state()", "paused")):
        done = agent.run("restore", "-D", server.data, "--archiving", "off", *args)
        assert f"{sign} answers {answer}" in done.out.replace("\n", " "), done
        server.start()
        until(sign, lambda: server.answers() and server.sql(sign) == answer)
        assert server.sql("SELECT count(*) FROM late") == "50000"
        server.stop()


def test_commits_that_were_never_archived_survive_a_restore_in_place(lab, major):
    server = lab.server(major, filled=(1, 0), segsize=1)
    agent = lab.agent(server).protect()
    agent.backup()
    acknowledged = killed_while_writing(lab, server)

    # The error for a directory that is not empty is the command that does it.
    refused = agent.run("restore", "-D", server.data, expect=2)
    assert f"restore -D {server.data} --delta --archiving keep" in refused.err, str(refused)

    stored = agent.objects()
    plan = agent.json("restore", "-D", server.data, "--delta", "--archiving", "keep", "--plan")
    assert plan["salvage"]["segments"] >= 2 and plan["salvage"]["commits"] >= len(acknowledged)
    assert agent.objects() == stored, "a plan stored something"

    done = agent.json("restore", "-D", server.data, "--delta", "--archiving", "keep", "--yes")
    assert done["salvaged"]["last"] == plan["salvage"]["last"]
    assert done["target"]["lsn"] == plan["target"]["lsn"], "not what the plan had promised"
    # ALTER SYSTEM's archive_command came with the backup, not the one that failed.
    recovered(server)
    has_rows(server, acknowledged)


def commit(server, row):
    """When that row was committed."""
    xid = server.sql(f"INSERT INTO guesses VALUES ({row}) RETURNING pg_current_xact_id()")
    return server.sql(f"SELECT to_char(pg_xact_commit_timestamp('{xid}') AT TIME ZONE 'UTC', "
                      "'YYYY-MM-DD HH24:MI:SS.US') || 'Z'")


@pytest.mark.only(15, 18)
def test_a_later_guess_over_the_first_finds_all_rows_across_the_promotion(lab, major):
    """Looked at, too early; promoted and written to, still too early; then late enough."""
    server = lab.server(major, filled=(1, 0), segsize=1, autovacuum="off")
    server.sql("CREATE TABLE guesses (i int)")
    agent = lab.agent(server).protect()
    agent.backup()
    times = {1: commit(server, 1), 2: commit(server, 2)}
    server.archive_all()
    # What the later guesses are after was never archived when the first one was made.
    server.set(archive_command="false")
    times |= {3: commit(server, 3), 4: commit(server, 4)}
    server.kill()

    def again(*args, archiving="keep"):
        return agent.json("restore", "-D", server.data, "--delta", "--archiving", archiving, "--yes",
                          *args)

    def rows():
        return server.sql("SELECT string_agg(i::text, ' ' ORDER BY i) FROM guesses")

    assert again("--to-time", times[1])["salvaged"]["commits"] >= 2
    server.start()
    until("the pause", lambda: server.sql("SELECT pg_get_wal_replay_pause_state()") == "paused")
    assert rows() == "1"
    server.stop()

    again("--to-time", times[2], "--action", "promote")
    recovered(server)
    assert server.timeline() == 2 and rows() == "1 2"
    until("its history to be archived", lambda: agent.has_segment("00000002.history"))
    server.set(archive_command="false")
    written = commit(server, 20)
    commit(server, 21)
    server.kill()

    done = again("--to-time", times[3], "--action", "promote")
    assert done["target"]["timeline"] == 1 and done["salvaged"]["commits"] >= 2
    recovered(server)
    assert server.timeline() == 3 and rows() == "1 2 3"
    commit(server, 30)
    server.archive_all()
    server.stop()
    # Nothing of what was tried is lost.
    for args, expected in ((("--to-time", written), "1 2 20"), (("--to-latest",), "1 2 3 30"),
                           (("--to-latest", "--timeline", "2"), "1 2 20 21"),
                           (("--to-latest", "--timeline", "1"), "1 2 3 4")):
        copy = lab.place("r")
        agent.restore(copy, *args, "--start")
        clone = lab.attach(copy, server)
        assert clone.sql("SELECT string_agg(i::text, ' ' ORDER BY i) FROM guesses") == expected
        forget(lab, clone)


@pytest.mark.only(15, 18)
def test_a_directory_that_was_moved_away_is_salvaged(lab, major):
    server = lab.server(major, filled=(1, 0), segsize=1, outside_conf=True)
    agent = lab.agent(server).protect()
    agent.backup()
    acknowledged = killed_while_writing(lab, server)
    old = lab.place("old")
    shutil.move(server.data, old)
    server.data.mkdir(mode=0o700)

    options = ["-D", server.data, "--archiving", "keep", "--yes", "--salvage-wal"]
    refused = agent.run("restore", *options, lab.root, expect=2)
    assert "--salvage-wal" in refused.err
    document = agent.json("restore", *options, old)
    assert document["salvaged"]["commits"] >= len(acknowledged)
    recovered(server)
    has_rows(server, acknowledged)


@pytest.mark.only(15)
def test_a_directory_that_was_moved_away_is_named_or_given_up(lab, major):
    """It lies beside the target, and nobody says so."""
    server = lab.server(major, filled=(1, 0), segsize=1)
    agent = lab.agent(server).protect()
    agent.backup()
    acknowledged = killed_while_writing(lab, server)
    shutil.move(server.data, server.data.with_name("the broken one"))
    command = ["restore", "-D", server.data, "--archiving", "keep", "--yes"]
    for more in ([], ["--delta"]):
        refused = agent.run(*command, *more, expect=2)
        assert "never archived" in refused.err and "--discard-wal" in refused.err, refused
        assert not server.data.exists(), refused
    given_up = agent.run(*command, "--discard-wal")
    assert "given up as asked" in given_up.err, given_up
    shutil.rmtree(server.data)
    # The plan's own words are typed behind the command.
    named = shlex.split(re.search("restore it: (--salvage-wal .*)", refused.out)[1])
    agent.run(*command, *named)
    recovered(server)
    has_rows(server, acknowledged)


@pytest.mark.only(15)
def test_a_restore_that_broke_off_has_saved_what_it_found(lab, major):
    """Its own first step removed pg_control, by which the lost server would be known."""
    server = lab.server(major, filled=(1, 0), segsize=1)
    agent = lab.agent(server).protect()
    agent.backup()
    acknowledged = killed_while_writing(lab, server)
    command = ["restore", "-D", server.data, "--delta", "--archiving", "keep", "--yes"]
    control, marker = server.data / "global" / "pg_control", server.data / "pgagent-restore.marker"
    nth = 1
    while control.exists() and kill_at(lab, agent, "fsync,fdatasync", nth, *command):
        nth += 2
    assert marker.exists() and not control.exists()
    again = agent.run(*command)
    assert "not in this restore" not in again.out + again.err, again
    recovered(server)
    has_rows(server, acknowledged)


@pytest.fixture
def debians(lab, major):
    """(server, service): made by pg_createcluster in /etc/postgresql, which the package gives to postgres."""
    data, sockets, log = lab.place("d"), lab.place("s"), lab.place("log")
    sockets.mkdir()
    name, port = f"pgagent-test-{os.getpid()}", lab.port()
    run(["/usr/bin/pg_createcluster", major, name, "-d", data, "-s", sockets, "-p", port, "-l",
         log, "--start-conf", "manual", "--", "-A", "trust", "-k", "-N"])
    conf = Path("/etc/postgresql") / str(major) / name
    try:
        with open(conf / "postgresql.conf", "a", encoding="utf-8") as more:
            more.write("fsync = off\narchive_mode = on\narchive_timeout = 0\nmax_wal_senders = 4\n")
        server = Postgres(major, data, sockets, port, conf_dir=conf)
        server.log = log
        lab.servers.append(server)
        yield server, ["/usr/bin/pg_ctlcluster", str(major), name]
    finally:
        shutil.rmtree(conf)


@pytest.mark.only(15)
def test_debians_layout_is_restored_beside_and_in_place(lab, debians):
    """The configuration lies elsewhere, and is the service's own, which starts the server and recovers it."""
    server, service = debians
    run([*service, "start"])
    server.sql("CREATE EXTENSION amcheck")
    agent = lab.agent(server).protect()
    agent.backup()
    acknowledged = killed_while_writing(lab, server, segments=0)

    beside = lab.place("r")
    agent.restore(beside, "--to-backup-end", "--start")
    clone = lab.attach(beside, server)
    assert clone.sql("SHOW config_file").startswith(str(beside))
    clone.stop()

    done = agent.json("restore", "-D", server.data, "--delta", "--archiving", "keep", "--yes")
    assert not list(server.data.glob("pgagent-start.*")), "the service has its own configuration"
    assert done["start_command"] == " ".join([Path(service[0]).name, *service[1:], "start"])
    good, log = lab.start_command(done)
    assert good, log.read_text(encoding="utf-8")
    until("recovery to end", lambda: server.sql("SELECT pg_is_in_recovery()") == "f")
    assert server.sql("SHOW config_file") == str(server.conf_dir / "postgresql.conf")
    has_rows(server, acknowledged)
    # It goes on as before: archiving, and the next start is the service's, too.
    server.archive_all()
    run([*service, "restart"])
    assert server.timeline() == 2
    has_rows(server, acknowledged)
    agent.backup()


@pytest.mark.only(15)
def test_a_server_that_runs_is_noticed(lab, major):
    server, agent = lab.protected(major, scale=1)
    agent.backup()
    command = ["restore", "-D", server.data, "--delta", "--archiving", "off", "--yes"]
    assert "in use by a server" in agent.run(*command, expect=2).err
    # Its postmaster finds out within a minute that the file is gone; it still runs until then.
    pid_file = server.data / "postmaster.pid"
    hidden = server.data.parent / "pid"
    os.rename(pid_file, hidden)
    try:
        assert "shared memory" in agent.run(*command, expect=2).err
    finally:
        os.rename(hidden, pid_file)
    assert server.answers()
    server.kill()

    # As it is left in a container: of a process elsewhere, since this machine was started.
    lines = pid_file.read_text(encoding="utf-8").splitlines()
    os.rename(pid_file, hidden)
    pid_file.write_text("\n".join(["4194303", *lines[1:6], "  1 2147483647", lines[7], ""]),
                        encoding="utf-8")
    refused = agent.run(*command, expect=2)
    assert "another container" in refused.err and f"rm {pid_file}" in refused.err
    pid_file.unlink()
    done = agent.run(*command)
    assert "WILL ARCHIVE NOTHING" in done.out and "ALTER SYSTEM SET archive_mode = 'on'" in done.out
    recovered(server)
    assert server.sql("SHOW archive_mode") == "off"


@pytest.mark.only(15)
def test_one_repository_that_answers_is_enough(lab, major):
    """The second one is empty, made anew; then it is gone."""
    server = lab.server(major, filled=(1, 0), segsize=1)
    home = lab.place("x")
    home.mkdir()
    repos = {name: {"path": home / name, "key_file": home / f"{name}.key"}
             for name in ("near", "far")}
    agent = lab.agent(server, repos=repos).protect()
    agent.backup()
    server.archiver_rests()
    shutil.rmtree(home / "far")
    (agent.home / "state/repository-far").unlink()
    agent.init()
    acknowledged = killed_while_writing(lab, server)
    command = ["restore", "-D", server.data, "--delta", "--archiving", "keep", "--yes"]
    done = agent.json(*command)
    last = done["salvaged"]["last"]
    assert [p for p in (home / "far").rglob(f"{last}*")], "the empty one got nothing"
    recovered(server)
    has_rows(server, acknowledged)

    server.archive_all()
    server.set(archive_command="false")
    server.sql("INSERT INTO ledger VALUES (1000000, 'one repository only')")
    server.kill()
    shutil.move(home / "far", home / "away")
    # None takes it: nothing is touched, and the only copy of that row is still there.
    before = listing(server.data)
    writable(home / "near", False)
    refused = agent.run(*command, expect=1)
    assert "--discard-wal" in refused.err, str(refused)
    assert listing(server.data) == before
    copy = lab.place("c")
    done = agent.run("restore", "-D", copy, "--salvage-wal", server.data, "--discard-wal")
    assert "lost as asked" in done.err and "salvaged" not in done.out, str(done)
    writable(home / "near", True)
    done = agent.run(*command)
    assert re.search("salvaged .* 1 commit", done.out), str(done)
    assert "1 of 2 repositories" in done.err, str(done)
    recovered(server)
    has_rows(server, acknowledged | {1000000})


@pytest.mark.only(15)
def test_another_branch_and_a_hole(lab, major):
    server = lab.server(major, filled=(1, 0), segsize=1)
    agent = lab.agent(server).protect()
    agent.backup()
    server.sql("CREATE TABLE precious AS SELECT 1 AS i")
    server.archive_all()
    server.stop()
    other = lab.place("o")
    shutil.copytree(server.data, other, symlinks=True)
    server.start()
    server.sql("INSERT INTO precious VALUES (2)")
    hole = server.archive_all()
    server.sql("INSERT INTO precious VALUES (3)")
    server.archive_all()
    server.kill()

    # A copy that went on by itself under the same names.
    branch = Postgres(major, other, lab.place("s"), lab.port())
    lab.servers.append(branch)
    branch.options = ["-c archive_command=false"]
    branch.start()
    branch.sql("INSERT INTO precious VALUES (4)")
    branch.switch_segment()
    branch.sql("INSERT INTO precious VALUES (5)")
    branch.kill()
    target = lab.place("r")
    command = ["restore", "-D", target, "--salvage-wal", other]
    plan = agent.json(*command, "--plan", expect=2)
    assert plan["problems"][0]["code"] == "wal_of_another_branch", plan["problems"]
    refused = agent.run(*command, expect=2)
    assert "another branch" in refused.err and "--discard-wal" in refused.err
    assert not target.exists()
    agent.run(*command, "--discard-wal", "--start")
    clone = lab.attach(target, server)
    assert clone.sql("SELECT i FROM precious ORDER BY i") == "1\n2\n3"

    # The archive lost a segment that the server still has.
    agent.stored_segment(hole).unlink()
    done = agent.json("restore", "-D", server.data, "--delta", "--archiving", "keep", "--yes")
    assert done["salvaged"]["first"] == hole
    recovered(server)
    assert server.sql("SELECT i FROM precious ORDER BY i") == "1\n2\n3"


@pytest.mark.only(15, 18)
@pytest.mark.parametrize("outside", [False, True], ids=["inside", "outside"])
def test_what_its_configuration_has_too_low_for_recovery_is_raised(lab, major, outside):
    server = lab.server(major, filled=(1, 0), segsize=1, outside_conf=outside,
                        max_connections="60", max_wal_senders="12")
    agent = lab.agent(server).protect()
    # Changed, and not started again: what recovery needs is what it ran with.
    server.set(max_wal_senders="4")
    if not outside:
        server.configure(max_connections="30")
    agent.backup()
    if outside:
        server.configure(max_connections="30")
    acknowledged = killed_while_writing(lab, server, segments=0)

    command = ["restore", "-D", server.data, "--delta", "--archiving", "keep", "--yes"]
    plan = agent.run(*command, "--plan").out
    conf = server.conf_dir / "postgresql.conf"
    assert f"max_connections = 60, not 30 as in {conf}:" in plan, plan
    assert f"max_wal_senders = 12, not 4 as in {server.data}/postgresql.auto.conf:" in plan, plan
    document = agent.json(*command)
    assert {one["name"]: (one["asked"], one["value"], one["configured"], one["file"])
            for one in document["raised"]} == {
        "max_connections": ("30", 60, True, str(conf)),
        "max_wal_senders": ("4", 12, True, f"{server.data}/postgresql.auto.conf")}
    recovered(server)
    has_rows(server, acknowledged)
    assert server.sql("SHOW max_connections") == "60"
    assert server.sql("SHOW max_worker_processes") == "8"
    # The lines that are told give its owner back what he wanted.
    server.kill()
    again = agent.run(*command).out
    lines = re.findall(r"^  (ALTER SYSTEM .*;)$", again, re.M)
    assert lines == ["ALTER SYSTEM RESET max_connections;",
                     "ALTER SYSTEM SET max_wal_senders = '4';"], again
    recovered(server)
    for line in lines:
        server.sql(line)
    server.stop()
    server.start()
    assert server.sql("SHOW max_connections") == "30"
    assert server.sql("SHOW max_wal_senders") == "4"
