"""The face: exit codes, JSON documents, configuration errors, refusals."""

import json
import os
import re
import shutil
import stat
import subprocess

import pytest

from harness.agent import program

RFC3339 = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$")
LSN = re.compile(r"^[0-9A-F]+/[0-9A-F]+$")

SHOW_FIELDS = """id label cluster system_identifier server_version timeline start_lsn stop_lsn
    started_at finished_at type parent files bytes_cluster bytes_new bytes_stored bytes_renewed
    pages_changed checksum_failures throughput_bytes_per_s keep hidden verified_at""".split()
PLAN_FIELDS = """reachable reason backup side target wal bytes_to_write bytes_free
    estimated_seconds problems""".split()
VERBS = """init status check backup list show archive-push archive-get restore verify key
    config""".split()


# The face is the same whatever the server; what a server's version changes is marked below.
pytestmark = pytest.mark.only(15)
every_major = pytest.mark.only(15, 16, 17, 18)


def no_config(agent, *args, expect):
    return agent.run(*args, config=False, expect=expect,
                     env={"PGAGENT_CONFIG": "/nonexistent/pgagent.conf"})


@pytest.fixture
def bare(lab):
    """An agent with a configuration and no server behind it."""
    return lab.agent(None)


# --- help and usage -------------------------------------------------------------------------

def test_version_and_help_need_nothing(bare):
    assert "pgagent" in no_config(bare, "--version", expect=0).out
    assert no_config(bare, "-V", expect=0).out == no_config(bare, "--version", expect=0).out
    text = no_config(bare, "--help", expect=0).out
    for verb in VERBS:
        assert verb in text


@pytest.mark.parametrize("verb", VERBS)
def test_each_command_explains_itself_on_one_screen(bare, verb):
    one = no_config(bare, verb, "--help", expect=0)
    two = no_config(bare, "help", verb, expect=0)
    assert one.out == two.out
    assert verb in one.out and "pgagent " in one.out
    assert len(one.out.splitlines()) <= 50


def test_unknown_words_are_usage_errors_that_suggest_the_nearest(bare):
    done = bare.run("bakcup", expect=2)
    assert "bakcup" in done.err and "backup" in done.err
    done = bare.run("backup", "--lable", "x", expect=2)
    assert "--lable" in done.err and "--label" in done.err
    bare.run(expect=2)
    bare.run("restore", expect=2)
    bare.run("restore", "-D", "/x", "--to-latest", "--to-backup-end", expect=2)
    bare.run("backup", "--checkpoint", "sometimes", expect=2)
    bare.run("list", "surplus", expect=2)
    bare.run("backup", "--label", expect=2)


def test_options_come_before_and_after_the_command_with_and_without_equals(lab, major):
    _, agent = lab.protected(major, scale=1)
    forms = [
        ["--config", agent.config, "list", "--output", "json"],
        [f"--config={agent.config}", "--output=json", "list"],
        ["list", "-c", agent.config, "--output=json"],
    ]
    answers = [agent.run(*form, config=False).json() for form in forms]
    assert answers[0] == answers[1] == answers[2]
    by_environment = agent.run("list", config=False, env={
        "PGAGENT_CONFIG": str(agent.config), "PGAGENT_OUTPUT": "json"}).json()
    assert by_environment == answers[0]


def test_errors_are_json_when_json_was_asked_for(lab, bare):
    done = bare.run("restore", "-D", lab.place("r"), "--output", "json", expect=(1, 2, 3, 4))
    document = done.json()
    assert document["schema"] == "pgagent.v1" and document["command"] == "restore"
    assert set(document["error"]) == {"code", "message", "detail", "hint"}
    assert document["error"]["message"]


# --- configuration --------------------------------------------------------------------------

@pytest.mark.parametrize("text, wanted", [
    ("[cluster:main]\nconnifno = x\n", ["connifno", "conninfo"]),
    ("[repo:local]\nencryption = rot13\n", ["encryption"]),
    ("[globel]\nspool_limit = 1GiB\n", ["globel", "global"]),
    ("[global]\nspool_limit = lots\n", ["spool_limit", "lots"]),
    ("[cluster:main]\nrepos = nowhere\n", ["nowhere"]),
    ("[cluster:main]\narchive_wait = 5 parsecs\n", ["archive_wait"]),
    ("no section = 1\n", ["no section"]),
])
def test_configuration_errors_name_file_line_and_the_nearest_name(bare, text, wanted):
    """The line is put into its section, or at the end where there is no such section yet."""
    lines = bare.config.read_text(encoding="utf-8").splitlines()
    added = text.splitlines()
    if text.startswith("no section"):
        lines, line = added, 1
    elif added[0] in lines:
        name = added[1].split(" ")[0]
        lines = [text for text in lines if not text.startswith(f"{name} =")]
        line = lines.index(added[0]) + 2
        lines.insert(line - 1, added[1])
    else:
        lines += added
        line = len(lines) - len(added) + 1
    bare.config.write_text("\n".join(lines) + "\n", encoding="utf-8")
    done = bare.run("config", "check", expect=2)
    assert f"{bare.config}:{line}" in done.out, done
    for word in wanted:
        assert word in done.out, done
    done = bare.run("list", expect=2)
    assert f"{bare.config}:{line}" in done.err, done


def test_a_good_configuration_passes_and_is_shown_without_secrets(lab, bare):
    bare.cluster["conninfo"] = "host=/nowhere user=x password=hunter2"
    bare.write_config()
    bare.run("config", "check")
    shown = bare.run("config", "show")
    assert "hunter2" not in shown.out + shown.err
    assert "zstd:1" in shown.out
    assert "drill_schedule = 0 5 * * 0    ; default, not used yet" in shown.out
    assert "backup_schedule = 0 1 * * *    ; default\n" in shown.out
    document = bare.run("config", "show", "--output", "json")
    assert "hunter2" not in document.out
    assert document.json()["schema"] == "pgagent.v1"


def test_missing_configuration_is_named(bare):
    done = no_config(bare, "list", expect=2)
    assert "/nonexistent/pgagent.conf" in done.err


def test_a_key_file_that_others_can_read_is_refused(lab, major):
    _, agent = lab.protected(major, scale=1)
    agent.key.chmod(0o644)
    done = agent.run("list", expect=(2, 4))
    assert str(agent.key) in done.err
    agent.key.chmod(0o600)
    agent.run("list")


def test_the_command_line_precedes_the_environment_precedes_the_file(lab, major):
    _, agent = lab.protected(major, scale=1)
    agent.backup()
    wrong = {"PGAGENT_CLUSTER": "nosuch"}
    done = agent.run("list", expect=2, env=wrong)
    assert "nosuch" in done.err
    agent.run("list", "--cluster", "main", env=wrong)


# --- commands -------------------------------------------------------------------------------

def test_init_shows_the_recovery_code_once_and_the_archive_command(lab, major):
    server = lab.server(major)
    agent = lab.agent(server)
    first = agent.init()
    assert f"{program()}" in first.out and "archive-push" in first.out and "%p" in first.out
    assert "recovery code" in first.out.lower()
    assert stat.S_IMODE(agent.key.stat().st_mode) == 0o600
    key = agent.key.read_bytes()
    before = agent.objects()
    second = agent.init()
    assert agent.key.read_bytes() == key
    assert agent.objects() == before
    code = next(line for line in first.out.splitlines()
                if re.search(r"[0-9A-Za-z]{4,}(-[0-9A-Za-z]{4,}){3,}", line))
    assert code.strip() not in second.out
    assert server.sql("SELECT count(*) FROM pg_replication_slots") == "0"


def test_init_makes_nothing_where_a_repository_was_and_is_not(lab, major):
    """Its file system is not mounted, say: the archiver would go on below the mount point."""
    server, agent = lab.protected(major, scale=1)
    agent.backup()
    away = agent.home / "away"
    agent.repo.rename(away)
    for command in ("check", "list"):
        done = agent.run(command, expect=1)
        assert re.search(r"mounted.*never made: pgagent init", done.out + done.err), done
    done = agent.run("init", expect=1)
    assert str(agent.repo) in done.err and "mounted" in done.err, done
    assert not any(p.is_file() for p in agent.repo.rglob("*"))
    assert not agent.has_segment(server.switch_segment())
    shutil.rmtree(agent.repo, ignore_errors=True)
    away.rename(agent.repo)
    agent.init()
    # In another place a new one is made, and so it is where the old one is known to be lost.
    before, agent.repo = agent.repo, lab.place("other")
    agent.repos["local"]["path"] = agent.repo
    agent.write_config()
    agent.init()
    agent.repos["local"]["path"] = agent.repo = before
    agent.write_config()
    shutil.rmtree(agent.repo)
    agent.init()  # the last place was another one
    shutil.rmtree(agent.repo)
    forget = re.search(r"rm (\S+), then pgagent init", agent.run("init", expect=1).err)
    os.unlink(forget[1])
    agent.init()
    agent.backup()


def test_the_printed_archive_command_works(lab, major):
    server = lab.server(major)
    agent = lab.agent(server)
    text = agent.init().out
    line = next(t for t in text.splitlines() if "archive_command" in t and "archive-push" in t)
    value = line.split("=", 1)[1].strip()
    assert value.startswith("'") and value.endswith("'"), line
    server.set(archive_command=value[1:-1].replace("''", "'"))
    assert agent.has_segment(server.archive_all())


@every_major
def test_documents_carry_the_promised_fields(lab, major):
    server, agent = lab.protected(major, scale=1)
    backup = agent.backup()
    for field in SHOW_FIELDS:
        assert field in backup, field
    shown = agent.json("show", backup["id"])
    for field in SHOW_FIELDS:
        assert field in shown, field
    assert RFC3339.match(backup["started_at"]) and RFC3339.match(backup["finished_at"])
    assert LSN.match(backup["start_lsn"]) and LSN.match(backup["stop_lsn"])
    assert backup["hidden"] in (False, None) and backup["keep"] in (False, None)
    assert backup["bytes_cluster"] > backup["bytes_stored"] > 0

    document = agent.json("list")
    assert [b["id"] for b in document["backups"]] == [backup["id"]]
    window = document["windows"][0]
    assert {"timeline", "from", "from_lsn", "to", "to_lsn", "latest_commit", "gaps"} <= set(window)
    assert window["timeline"] == 1 and window["gaps"] == []

    plan = agent.restore(lab.place("r"), "--plan")
    for field in PLAN_FIELDS:
        assert field in plan, field
    assert {"kind", "requested", "lsn", "time", "xid", "timeline",
            "stop_lsn"} == set(plan["target"])
    assert {"first", "last", "segments", "bytes"} == set(plan["wal"])
    assert plan["timelines"] == [] and plan["timeline_reason"] is None, "there is but one"
    done = agent.restore(lab.place("r"), "--to-backup-end")
    for field in [*PLAN_FIELDS, "seconds", "bytes_written", "bytes_reused", "start_command"]:
        assert field in done, field


def test_a_hole_shows_as_a_gap_of_the_window(lab, major):
    server, agent = lab.protected(major, scale=1)
    agent.backup()
    names = [server.archive_all() for _ in range(3)]
    agent.stored_segment(names[1]).unlink()
    windows = agent.json("list")["windows"]
    gaps = [gap for window in windows for gap in window["gaps"]]
    assert len(gaps) == 1, windows
    assert LSN.match(gaps[0]["from_lsn"]) and LSN.match(gaps[0]["to_lsn"])


def test_list_has_a_second_name_and_show_an_exit_code_for_nothing(lab, major):
    _, agent = lab.protected(major, scale=1)
    assert agent.run("info").out == agent.run("list").out
    agent.run("show", "20010101-nothing", expect=3)
    agent.backup()
    assert agent.run("info").out == agent.run("list").out


def test_progress_goes_to_stderr_and_only_when_asked(lab, major):
    _, agent = lab.protected(major, scale=1)
    quiet = agent.run("backup", "--checkpoint", "fast", "--output", "json")
    quiet.json()
    assert "\r" not in quiet.err
    loud = agent.run("backup", "--checkpoint", "fast", "--output", "json", "--progress")
    loud.json()
    assert len(loud.err) > len(quiet.err)


def test_logs_are_one_event_a_line_and_json_if_wanted(lab, major):
    _, agent = lab.protected(major, scale=1)
    done = agent.run("backup", "--checkpoint", "fast", "--log-level", "info",
                     "--log-format", "json", "--no-progress")
    lines = [line for line in done.err.splitlines() if line.strip()]
    assert lines, "a backup is an event"
    for line in lines:
        assert isinstance(json.loads(line), dict), line


def test_a_restore_ends_with_how_to_go_on(lab, major):
    _, agent = lab.protected(major, scale=1)
    agent.backup()
    done = agent.run("restore", "-D", lab.place("r"), "--to-backup-end")
    tail = "\n".join(done.out.strip().splitlines()[-3:])
    assert "pgagent" in tail or "psql" in tail or "pg_ctl" in tail, done


def test_key_list_and_test(lab, major):
    _, agent = lab.protected(major, scale=1)
    agent.run("key", "test")
    listed = agent.run("key", "list").out
    assert len(listed.strip().splitlines()) >= 2
    slots = [o.name for o in agent.objects() if o.parts[0] == "keys"]
    assert any(slot in listed for slot in slots), (slots, listed)
    agent.key.rename(lab.place("away"))
    for command in (["key", "test"], ["list"], ["show", "latest"], ["verify"],
                    ["restore", "-D", lab.place("r")]):
        done = agent.run(*command, expect=2)
        assert str(agent.key) in done.err, done


def test_the_recovery_code_opens_the_repository(lab, major):
    server = lab.server(major)
    agent = lab.agent(server)
    text = agent.init().out
    code = re.search(r"[0-9A-Za-z]{4,}(-[0-9A-Za-z]{4,}){3,}", text).group(0)
    # Mistyped it is no code, and nothing was tried; what is damaged or can't be decrypted is another matter.
    for given, expected in ((code, 0), (code[:-1] + ("A" if code[-1] != "A" else "B"), 2)):
        done = subprocess.run(agent.command("key", "test", "--stdin"), input=given + "\n",
                              text=True, capture_output=True, env=agent.environment(), timeout=120)
        assert done.returncode == expected, done
        assert given not in done.stdout + done.stderr


def test_a_repository_that_is_gone_is_no_empty_one(lab, major):
    server, agent = lab.protected(major, scale=1)
    agent.repo.rename(lab.place("away"))
    for command in (["list"], ["show", "latest"], ["verify"], ["backup"], ["key", "list"],
                    ["restore", "-D", lab.place("r"), "--plan"]):
        done = agent.run(*command, expect=1)
        assert str(agent.repo) in done.err, done


def test_verify_says_what_it_read(lab, major):
    server, agent = lab.protected(major, scale=1)
    backup = agent.backup()
    server.archive_all()
    agent.run("verify", "--quick")
    agent.run("verify", backup["id"])
    said = agent.json("verify", "--all")
    assert said["damaged"] is False and said["findings"] == []
    assert said["backups"] == 1 and said["wal_segments"] > 0 and said["bytes_read"] > 0
    agent.run("verify", "20010101-nothing", expect=(2, 3))


def test_repo_by_path_needs_no_configuration_file(lab, major):
    server, agent = lab.protected(major, scale=1)
    backup = agent.backup()
    server.archive_all()
    direct = ["--repo", agent.repo, "--key-file", agent.key]
    assert no_config(agent, "list", *direct, "--output", "json",
                     expect=0).json()["backups"][0]["id"] == backup["id"]
    no_config(agent, "verify", *direct, expect=0)
    no_config(agent, "key", "list", *direct, expect=0)
    plan = no_config(agent, "restore", "-D", lab.place("r"), "--plan", "--output", "json",
                     *direct, expect=0).json()
    assert plan["backup"] == backup["id"]


def two_repositories(lab, server):
    home = lab.place("two")
    home.mkdir()
    repos = {name: {"path": home / name, "key_file": home / f"{name}.key"} for name in ("a", "b")}
    return home, lab.agent(server, repos=repos)


@pytest.mark.parametrize("lost", ("a", "b"))
def test_a_repository_made_again_takes_over_the_keys_of_the_other(lab, major, lost):
    home, agent = two_repositories(lab, lab.server(major))
    agent.protect()
    (home / lost).rename(home / "away")
    # Lost for good, and not a file system that is not mounted: only a person can say that.
    noted = agent.home / "state" / f"repository-{lost}"
    assert f"rm {noted}" in agent.run("init", "--yes", expect=1).err
    noted.unlink()
    agent.init()
    backup = agent.backup()
    for name in ("a", "b"):
        assert list((home / name).glob(f"main/*/backups/{backup['id']}")), name
    target = lab.place("r")
    (home / "b" if lost == "a" else home / "a").rename(home / "gone")
    agent.restore(target)


def test_repositories_made_apart_are_refused_by_init(lab, major):
    server = lab.server(major)
    home, agent = two_repositories(lab, server)
    for name in ("a", "b"):
        repos = {name: agent.repos[name]}
        lab.agent(server, repos=repos).init()
    done = agent.run("init", expect=2)
    assert str(home / "a") in done.err and "share their keys" in done.err, done


def test_an_open_repository_in_the_place_of_a_sealed_one_is_refused(lab, major):
    server, agent = lab.protected(major, scale=1)
    agent.backup()
    other = lab.agent(server, repos={"local": {"path": lab.place("open"), "encryption": "none"}})
    other.init()
    agent.repo.rename(agent.home / "away")
    other.repos["local"]["path"].rename(agent.repo)
    before = agent.objects()
    segment = server.switch_segment()
    path = server.data / "pg_wal" / segment
    for command, code in ((["backup"], 2), (["list"], 2), (["archive-push", path], 2),
                          (["archive-get", segment, lab.place("w")], 200)):
        done = agent.run(*command, expect=code, cwd=server.data)
        assert "not encrypted" in done.err, done
    assert agent.objects() == before


def test_encryption_none_must_be_said_and_works(lab, major):
    server = lab.server(major)
    home = lab.place("open")
    agent = lab.agent(server, repos={"local": {"path": home, "encryption": "none"}})
    agent.repo = home
    agent.protect()
    agent.backup()
    server.archive_all()
    agent.run("verify", "--all")
    pack = next(o for o in agent.objects() if "packs" in o.parts)
    path = home / pack
    path.chmod(0o600)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    agent.run("verify", "--all", expect=4)


# --- check ----------------------------------------------------------------------------------

@every_major
def test_check_passes_where_all_is_well(lab, major):
    _, agent = lab.protected(major, scale=1)
    agent.run("check")


def finding(agent, expect=(1, 2, 4)):
    done = agent.run("check", expect=expect)
    return done.out + done.err


@every_major
def test_check_names_what_is_wrong_and_the_line_that_mends_it(lab, major):
    server, agent = lab.protected(major, scale=1)
    good = server.conninfo

    agent.cluster["conninfo"] = good.replace(str(server.port), "1")
    agent.write_config()
    assert str(server.sockets) in finding(agent)

    server.sql("CREATE ROLE plain LOGIN")
    agent.cluster["conninfo"] = good.replace("user=postgres", "user=plain")
    agent.write_config()
    assert re.search(r"ALTER ROLE .*plain.* REPLICATION", finding(agent))

    server.sql("CREATE ROLE backup LOGIN REPLICATION PASSWORD 'right'")
    hba = server.data / "pg_hba.conf"
    kept = hba.read_text(encoding="utf-8")
    hba.write_text("local replication backup reject\n" + kept, encoding="utf-8")
    server.reload()
    agent.cluster["conninfo"] = good.replace("user=postgres", "user=backup")
    agent.write_config()
    assert re.search(r"local\s+replication\s+\S*backup", finding(agent))

    hba.write_text("local all backup scram-sha-256\nlocal replication backup scram-sha-256\n"
                   + kept, encoding="utf-8")
    server.reload()
    agent.cluster["conninfo"] += " password=wrong"
    agent.write_config()
    text = finding(agent)
    assert "password" in text.lower() and "wrong" not in text.replace("what is wrong", "")

    hba.write_text(kept, encoding="utf-8")
    server.reload()
    agent.cluster["conninfo"] = good
    agent.write_config()
    server.set(archive_command="cp %p /nonexistent/%f")
    text = finding(agent)
    assert "archive_command" in text and "archive-push" in text
    server.set(archive_command=agent.archive_command())

    agent.repo.chmod(0o500)
    for path in agent.repo.rglob("*"):
        if path.is_dir():
            path.chmod(0o500)
    assert str(agent.repo) in finding(agent)
    for path in [agent.repo, *(p for p in agent.repo.rglob("*"))]:
        if path.is_dir():
            path.chmod(0o700)

    key = agent.key.read_bytes()
    agent.key.write_bytes(os.urandom(len(key)))
    assert "key" in finding(agent).lower()
    agent.key.write_bytes(key)
    agent.run("check")


@every_major
def test_check_finds_wal_level_and_archive_mode(lab, major):
    server = lab.server(major, archive_mode="off", wal_level="minimal", max_wal_senders="0")
    agent = lab.agent(server)
    text = finding(agent)
    assert "wal_level" in text
    server.stop()
    server.configure(wal_level="replica", max_wal_senders="5")
    server.start()
    agent.init()
    text = finding(agent)
    assert "archive_mode" in text


@every_major
def test_a_role_with_replication_alone_can_back_up(lab, major):
    server, agent = lab.protected(major, scale=1)
    server.sql("CREATE ROLE backup LOGIN REPLICATION")
    agent.cluster["conninfo"] = server.conninfo.replace("user=postgres", "user=backup")
    agent.write_config()
    agent.backup()
    agent.run("verify")
