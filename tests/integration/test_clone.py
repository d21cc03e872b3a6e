"""What a restored copy is: started by its own command, free of recovery's settings, whole.

One protected server per major; every test restores from its repository, or from a copy of that.
"""

import re
from dataclasses import dataclass

import pytest

from harness import judges
from harness.postgres import DEBIAN_BIN, run
from harness.wait import PATIENCE, until

SHARES_SERVER = True


@dataclass
class Scene:
    lab: object
    server: object
    agent: object
    rows: dict
    empty: list     # directories of the data directory with nothing in them

    def restore(self, *args, target=None, **kwargs):
        """(clone, document) of a copy that was started and promoted."""
        target = target or self.lab.place("r")
        document = self.agent.restore(target, *args, "--start", **kwargs)
        clone = self.lab.attach(target, self.server)
        until("promotion", lambda: clone.sql("SELECT pg_is_in_recovery()") == "f")
        return clone, document


@pytest.fixture(scope="module")
def scene(shared_lab, major):
    lab = shared_lab
    server = lab.server(major, filled=(1, 0))
    server.sql("""
        CREATE UNLOGGED TABLE fleeting (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, t text);
        INSERT INTO fleeting (t) SELECT md5(i::text) FROM generate_series(1, 3000) i""")
    server.sql("""CREATE DATABASE "it's a ""name\"""")
    (server.data / "made by hand" / "empty").mkdir(parents=True)
    agent = lab.agent(server).protect()
    empty = [p.relative_to(server.data) for p in server.data.rglob("*")
             if p.is_dir() and not p.is_symlink() and not any(p.iterdir())
             and p.name != "pgsql_tmp"]     # the one that the server leaves out by name
    agent.backup()
    server.archive_all()
    return Scene(lab, server, agent, judges.fingerprint(server), empty)


def test_recovery_settings_do_not_outlive_recovery(scene):
    clone, document = scene.restore("--to-latest")
    left = clone.rows("SELECT name, setting FROM pg_file_settings WHERE applied AND setting <> '' "
                      "AND (name LIKE 'recovery\\_target%' OR name = 'restore_command')")
    assert left == []
    assert "recovery_target" not in (clone.data / "postgresql.auto.conf").read_text("utf-8")
    # The next start is an ordinary one.
    clone.sql("CREATE TABLE written_here (i int)")
    clone.stop()
    again = scene.lab.start_by_hand(document, clone.data, scene.server)
    assert again.timeline() == 2
    assert again.sql("SELECT count(*) FROM written_here") == "0"
    assert again.sql("SHOW archive_mode") == "off"
    assert again.sql("SHOW listen_addresses") == ""
    again.stop()


def test_settings_port_and_a_directory_with_spaces_and_quotes(scene):
    port = scene.lab.port()
    above = scene.lab.place("with space ")
    above.mkdir()
    clone, _ = scene.restore("--to-backup-end", "--action", "promote", "--port", port,
                             "--set", "work_mem=9MB", "--set", "cluster_name=it's a copy",
                             target=above / "it's here")
    assert clone.port == port
    assert clone.sql("SHOW work_mem") == "9MB"
    assert clone.sql("SHOW cluster_name") == "it's a copy"
    assert clone.sql("SELECT count(*) FROM pg_database WHERE datname = 'it''s a \"name'") == "1"
    clone.stop()


def test_unlogged_relations_are_empty_and_empty_directories_are_there(scene):
    target = scene.lab.place("r")
    scene.agent.restore(target, "--to-backup-end")
    missing = [d for d in scene.empty if not (target / d).is_dir()]
    assert "made by hand/empty" in map(str, scene.empty)
    assert missing == []
    judges.verifybackup(target, scene.server.major, scene.lab.root)
    path = scene.server.sql("SELECT pg_relation_filepath('fleeting')")
    assert not (target / path).exists() and (target / f"{path}_init").is_file()

    clone, _ = scene.restore("--to-backup-end", "--action", "promote")
    assert clone.sql("SELECT count(*) FROM fleeting") == "0"
    assert clone.sql("INSERT INTO fleeting (t) VALUES ('new') RETURNING t") == "new"
    assert clone.sql("SELECT t FROM fleeting WHERE id > 0") == "new"
    judges.same_rows(scene.rows, judges.fingerprint(clone))
    judges.amcheck(clone)
    clone.stop()


def test_shutdown_at_the_target_promotes_nothing(scene):
    target = scene.lab.place("r")
    document = scene.agent.restore(target, "--to-backup-end", "--action", "shutdown", "--start")
    assert document["promoted"] is False
    assert document["replay_seconds"] < 25 * PATIENCE, "nothing was waited for"
    assert not (target / "postmaster.pid").exists()
    assert not list(target.glob("pg_wal/*.history"))
    assert (target / "recovery.signal").exists(), "it was not promoted"
    if scene.server.major == 15:
        state = run([DEBIAN_BIN / "pg_controldata", "-D", target]).stdout
        assert "shut down in recovery" in state
    # Started again to look at, it stays.
    clone = scene.lab.start_by_hand(document, target, scene.server)
    until("the pause", lambda: clone.sql("SELECT pg_get_wal_replay_pause_state()") == "paused")
    clone.stop()


def test_the_start_command_pauses_and_promote_keeps_the_copy(scene):
    target = scene.lab.place("r")
    done = scene.agent.run("restore", "-D", target, "--to-backup-end", "--output", "json")
    clone = scene.lab.start_by_hand(done.json(), target, scene.server)
    until("the pause", lambda: clone.sql("SELECT pg_get_wal_replay_pause_state()") == "paused")
    clone.pg_ctl("-w", "promote")
    assert clone.timeline() == 2
    judges.same_rows(scene.rows, judges.fingerprint(clone))
    clone.stop()


@pytest.mark.only(15)
def test_another_target_is_tried_in_the_same_directory(scene):
    """The line that ends a restore, typed as it is, goes over the paused copy."""
    target = scene.lab.place("r")
    out = scene.agent.run("restore", "-D", target, "--to-backup-end", "--start").out
    clone = scene.lab.attach(target, scene.server)
    assert clone.sql("SELECT pg_get_wal_replay_pause_state()") == "paused"
    line, = re.findall(r"^to try another: +(.*)$", out, re.M)
    assert f"restore -D {target} --delta " in line and "--start" in line, line
    again, log = scene.lab.start_command(
        {"start_command": line.replace("--to-time '10 minutes ago'", "--to-latest --action pause")})
    said = log.read_text(encoding="utf-8")
    assert again and "reused" in said, said
    clone = scene.lab.attach(target, scene.server)
    judges.same_rows(scene.rows, judges.fingerprint(clone))
    clone.stop()


def test_an_early_end_of_wal_is_fatal(scene):
    """What was there when the plan was made and is gone later must not become a promoted copy."""
    lab = scene.lab
    repo = lab.place("repo")
    run(["cp", "-a", scene.agent.repo, repo])
    target = lab.place("r")
    document = scene.agent.restore(target, "--to-latest", "--repo", repo, "--key-file",
                                   scene.agent.key, config=False)
    last = [p for p in repo.rglob(document["wal"]["last"]) if p.is_file()]
    assert len(last) == 1, f"{document['wal']}: {last}"
    last[0].unlink()
    _, log = scene.lab.start_command(document)
    clone_log = lambda: log.read_text(encoding="utf-8", errors="replace")  # noqa: E731
    until("the server to give up", lambda: "FATAL" in clone_log() and
          not (target / "postmaster.pid").exists())
    assert "recovery ended before configured recovery target was reached" in clone_log()
    assert not list(target.glob("pg_wal/*.history"))
    # A plan made now tells how far it reaches.
    plan = scene.agent.restore(lab.place("r"), "--to-lsn", document["target"]["lsn"], "--plan",
                               "--repo", repo, "--key-file", scene.agent.key, config=False,
                               expect=3)
    assert plan["problems"][0]["hint"]


@pytest.mark.only(15)
def test_pg_basebackup_of_the_restored_server_is_whole_and_starts(scene):
    lab = scene.lab
    clone, _ = scene.restore("--to-latest")
    copy = lab.server(15, start=False)
    run(["rm", "-rf", copy.data])
    run([DEBIAN_BIN / "pg_basebackup", "-D", copy.data, "-h", clone.sockets, "-p", clone.port,
         "-U", "postgres", "-c", "fast", "-X", "stream"])
    judges.verifybackup(copy.data, 15, lab.root, parse_wal=True)
    clone.stop()
    copy.start()
    judges.same_rows(scene.rows, judges.fingerprint(copy))
    copy.stop()


@pytest.mark.only(15)
def test_a_server_whose_superuser_has_another_name_is_followed(lab, major):
    """The backup says whom the copy lets in: the one who runs it has no role there, nor is there a postgres."""
    server, agent = lab.protected(major, scale=1)
    server.sql("CREATE ROLE helper SUPERUSER LOGIN")
    server.psql("ALTER ROLE postgres RENAME TO \"the boss\"", user="helper")
    server.psql("ALTER ROLE helper NOSUPERUSER", user="helper")
    agent.cluster["conninfo"] = server.conninfo.replace("user=postgres", "user='the boss'")
    agent.write_config()
    agent.run("backup", "--checkpoint", "fast")
    target = lab.place("r")
    done = agent.run("restore", "-D", target, "--to-latest", "--start")
    clone = lab.attach(target, server)
    assert "-U 'the boss'" in done.out and "lets nobody in" not in done.err, done
    settings = (target / "postgresql.auto.conf").read_text(encoding="utf-8")
    assert "recovery_target" not in settings, settings
    assert clone.psql("SELECT pg_is_in_recovery()", user="the boss").stdout.strip() == "f"


def test_a_setting_that_the_server_refuses_is_refused_before(lab, major):
    server, agent = lab.protected(major, scale=1)
    agent.backup()
    server.archive_all()
    target = lab.place("r")
    plan = ["restore", "-D", target, "--plan"]
    done = agent.run(*plan, "--set", "shared_bufers=8MB", "--set", "work_mem=many", expect=2)
    assert 'Did you mean "shared_buffers"?' in done.out and "work_mem=many" in done.out, done
    done = agent.run(*plan, "--set", "archive_mode=of", expect=2)
    assert "Available values" in done.out, done
    for one in ("shared_buffers=abc", "bonjour_nam=x", "port=99999"):
        done = agent.run("restore", "-D", target, "--set", one, expect=2)
        assert one in done.err and not target.exists(), done
    done = agent.run(*plan, "--keep-setting", "archive_comand", expect=2)
    assert 'Did you mean "archive_command"?' in done.err, done
    # What an extension names cannot be known, of a name that comes twice the last counts.
    good = ["--set", "work_mem=many", "--set", "work_mem=5MB", "--set", "auto_explain.new=x",
            "--set", "log_min_messages=panic", "--set", "cluster_name=it's 'one' \\ two"]
    agent.run(*plan, *good)
    agent.run("restore", "-D", target, "--start", *good)
    clone = lab.attach(target, server)
    assert clone.sql("SHOW cluster_name") == "it's 'one' \\ two"


@pytest.mark.only(18)
def test_where_the_server_s_programs_are_not_nothing_is_said_of_settings(lab, major):
    server, agent = lab.protected(major, scale=1)
    agent.backup()
    server.archive_all()
    agent.run("restore", "-D", lab.place("r"), "--plan", "--set", "shared_bufers=8MB",
              env={"PATH": "/usr/bin:/bin"})
