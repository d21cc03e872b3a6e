"""Who opens the repositories: keys added, removed, rotated, and what each of them still reads."""

import json
import os
import pty
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from harness import judges
from harness.kill import NO_LEAKS, kill_at, strace
from harness.restored import forget, restored_whole

# Keys are no matter of the server's version.
pytestmark = pytest.mark.only(15)

CODE = re.compile(r"(?:[0-9A-Z]{5}-){7}[0-9A-Z]{5}")
READER = Path(__file__).parents[1] / "reader/reader.py"


def family(lab):
    """(server, agent): two repositories of one family, each with a key file of its own."""
    home = lab.place("h")
    home.mkdir()
    repos = {name: {"path": home / name, "key_file": home / f"{name}.key"} for name in ("a", "b")}
    agent = lab.agent(lab.server(15, filled=(1, 8)), repos=repos).protect()
    agent.repo, agent.key = home / "a", home / "a.key"
    return agent.server, agent


def typed(agent, code, *args, expect=0):
    done = subprocess.run(agent.command("key", *args, "--stdin"), input=code + "\n", text=True,
                          capture_output=True, env=agent.environment(), timeout=120)
    assert done.returncode == expect, done
    return done


def slots(agent, repo):
    return {s["name"]: s for s in agent.json("key", "list")["slots"] if s["repository"] == repo}


def direct(agent, repo, key=None):
    known = agent.repos[repo]
    return ["--repo", known["path"], "--key-file", key or known["key_file"]]


def code_in(text):
    return CODE.search(text).group(0)


def test_a_new_key_alone_opens_and_a_removed_one_no_more(lab):
    server = lab.server(15, filled=(1, 8))
    agent = lab.agent(server)
    code = code_in(agent.init().out)
    rows = judges.fingerprint(server)
    backup = agent.backup()
    new = agent.home / "new.key"
    agent.run("key", "add", "--new-key-file", new, "--slot", "second-host")
    assert new.stat().st_mode & 0o777 == 0o600
    assert slots(agent, "local")["second-host"]["type"] == "key-file"
    before = agent.objects()
    assert "already" in agent.run("key", "add", "--new-key-file", new).out
    assert agent.objects() == before
    # The one that is in use, an unknown one, and below two only when told so.
    assert "--force" in agent.run("key", "remove", "key-file", expect=2).err
    assert "nothing-here" in agent.run("key", "remove", "nothing-here", expect=2).err
    agent.run("key", "remove", "recovery")
    typed(agent, code, "test", expect=4)
    assert "one key is left" in agent.run("key", "remove", "second-host", expect=2).err
    agent.run("key", "remove", "key-file", "--force", "--yes")
    assert agent.run("list", *direct(agent, "local"), config=False, expect=4).err
    agent.key.unlink()
    new.rename(agent.key)
    assert "last" in agent.run("key", "remove", "second-host", "--force", "--yes", expect=2).err
    forget(lab, restored_whole(lab, server, agent, backup, rows))


def test_a_lost_key_file_is_replaced_with_the_recovery_code(lab):
    agent = lab.agent(lab.server(15))
    code = code_in(agent.init().out)
    agent.key.unlink()
    agent.run("key", "add", "--recovery-code", expect=2)
    done = typed(agent, code, "add", "--new-key-file", agent.key)
    assert code not in done.stdout + done.stderr
    agent.run("key", "test")
    other = code_in(agent.run("key", "add", "--recovery-code").out)
    typed(agent, other, "test")
    for arguments in (("rotate", "--slot", "x"), ("add",), ("remove",), ("list", "x"),
                      ("add", "--recovery-code", "--new-key-file", "x"), ("list", "--force")):
        agent.run("key", *arguments, expect=2)


def other_digit(code, at):
    return code[:at] + ("7" if code[at] != "7" else "8") + code[at + 1:]


def test_a_mistyped_code_is_told_from_one_that_opens_nothing(lab):
    agent, other = lab.agent(None), lab.agent(None)
    code, foreign = code_in(agent.init().out), code_in(other.init().out)
    alone = ("--repo", agent.repo)
    key = agent.home / "new.key"
    for action in (("test",), ("add", "--new-key-file", key), ("add", "--recovery-code")):
        before = agent.objects()
        # Its check tells a wrong character, its length a lost one: usage, whatever is stored.
        for wrong in (other_digit(code, 3), code[:-1], code + "0", code.replace("-", "-U", 1)):
            done = typed(agent, wrong, *action, *alone, expect=2)
            assert "recovery code" in done.stderr and wrong not in done.stderr, done
            again = shlex.split(done.stderr.split("again: ")[1])
            assert again[1:2] == ["key"] and {action[0], "--stdin", str(agent.repo)} <= {*again}
        assert "check" in typed(agent, other_digit(code, 3), *action, *alone, expect=2).stderr
        # One that is right in itself, and of another repository: what it has to decrypt it can't.
        done = typed(agent, foreign, *action, *alone, expect=4)
        assert "hardly mistyped" in done.stderr, done
        assert f"pgagent key list --repo {agent.repo}" in done.stderr, done
        assert agent.objects() == before and not key.exists()
    assert "38" in typed(agent, code[:-2], "test", *alone, expect=2).stderr
    assert subprocess.run(again, input=f"{code}\n", text=True, check=False,
                          capture_output=True, env=agent.environment()).returncode == 0
    # A key file of another one, too.
    done = agent.run("list", *alone, "--key-file", other.key, expect=4)
    assert f"pgagent key list --repo {agent.repo}" in done.err, done


def test_on_a_terminal_the_code_is_asked_for(lab):
    agent = lab.agent(None)
    code = code_in(agent.init().out)
    ours, theirs = pty.openpty()
    with subprocess.Popen(agent.command("key", "test", "--stdin"), stdin=theirs, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          env=agent.environment()) as asked:
        assert asked.stderr.read(15) == "recovery code: "
        os.write(ours, f"{code}\n".encode())
        assert "opens" in asked.stdout.read()
    assert asked.returncode == 0
    os.close(ours)
    os.close(theirs)


def test_after_a_rotation_old_keys_read_what_is_old_and_new_ones_all(lab):
    server, agent = family(lab)
    machine, old = agent.home / "machine.key", agent.home / "old.key"
    agent.run("key", "add", "--new-key-file", machine)
    agent.run("key", "add", "--new-key-file", old, "--slot", "left-behind")
    first, first_rows = agent.backup(), judges.fingerprint(server)
    server.sql("CREATE TABLE later AS SELECT generate_series(1, 1000) AS i")
    said = agent.json("key", "rotate", "--recovery-code", "--with-key-file", machine)
    assert said["epoch"] == 2 and not said["resumed"]
    left = {(s["repository"], s["slot"]) for s in said["will_not_open"]}
    assert left == {(r, s) for r in "ab" for s in ("recovery", "left-behind")}
    for repo in "ab":
        known = slots(agent, repo)
        assert sorted(s["epoch"] for s in known.values()) == [1, 1, 2, 2, 2], known
        assert "key-file" not in known, "replaced"
    server.sql("UPDATE noise SET a = md5(a) WHERE id % 500 = 0")
    rows = judges.fingerprint(server)
    second = agent.backup()
    assert second["parent"] == first["id"] and second["bytes_new"] < second["bytes_cluster"] // 2
    server.archiver_rests()
    agent.run("verify", "--all")
    for backup, known in ((first, first_rows), (second, rows)):
        forget(lab, restored_whole(lab, server, agent, backup, known))
    # From each repository alone, with a key that was given to the rotation.
    target = lab.place("r")
    agent.run("restore", "-D", target, "--to-latest", *direct(agent, "b", machine), config=False)
    judges.verifybackup(target, 15, lab.root)
    target = lab.place("p")
    read = subprocess.run(["python3", READER, agent.repos["b"]["path"], "--key-file", machine,
                           "restore", second["id"], target], capture_output=True, text=True,
                          timeout=120, check=False)
    assert read.returncode == 0, read
    judges.verifybackup(target, 15, lab.root)
    # With one that was not: what was written before, and the news is named.
    done = agent.run("restore", "-D", lab.place("o"), "--backup", second["id"],
                     "--to-backup-end", *direct(agent, "a", old), config=False, expect=4)
    assert "epoch 2" in done.err and "key" in done.err, done
    agent.run("key", "test", *direct(agent, "a", old), config=False)
    agent.run("restore", "-D", lab.place("o"), "--backup", first["id"], "--to-backup-end",
              *direct(agent, "a", old), config=False)
    agent.run("key", "add", "--new-key-file", old)
    assert "left-behind" not in slots(agent, "a")
    agent.run("restore", "-D", lab.place("o"), "--backup", second["id"], "--to-backup-end",
              *direct(agent, "a", old), config=False)


def test_the_listing_tells_slots_apart(lab):
    _, agent = family(lab)
    agent.run("key", "add", "--new-key-file", agent.home / "old.key", "--slot", "left-behind")
    agent.run("key", "rotate", "--recovery-code")
    ours = {t["repository"]: t["slot"] for t in agent.json("key", "test")["tests"]}
    for repo in "ab":
        known = slots(agent, repo)
        assert [n for n, s in known.items() if s["opened"]] == [ours[repo]], known
        assert {n for n, s in known.items() if not s["opens_all"]} == {"recovery", "left-behind"}
    lines = agent.run("key", "list").out.splitlines()
    assert len([line for line in lines if "opened here" in line]) == 2, lines
    assert len([line for line in lines if "since epoch 2" in line]) == 4, lines
    # It needs no key, and goes on with one that opens nothing.
    direct_a = ("--repo", agent.repos["a"]["path"])
    document = agent.json("key", "list", *direct_a, config=False)
    assert {s["opened"] for s in document["slots"]} == {None}
    agent.key.write_text("0" * 64 + "\n", encoding="ascii")
    done = agent.run("key", "list")
    assert "repository a" in done.err and "opened here" in done.out, done


def test_a_damaged_slot_is_named_and_keeps_nothing_from_being_done(lab):
    _, agent = family(lab)
    slot = agent.repo / "keys/recovery"
    slot.chmod(0o600)
    slot.write_bytes(slot.read_bytes().replace(b"type 3", b"type 2"))
    done = agent.run("key", "list", expect=4)
    assert "keys/recovery" in done.err and "key remove" in done.err, done
    listed = [line.split()[:2] for line in done.out.splitlines()[1:]]
    assert listed == [["a", "key-file"], ["b", "key-file"], ["b", "recovery"]], done
    done = agent.run("key", "rotate")
    assert "keys/recovery" in done.err and "repository b: slot recovery" in done.out, done
    assert "removed (damaged)" in agent.run("key", "remove", "recovery", "--repo", "a").out
    agent.run("key", "list")


def test_a_removal_says_what_goes_from_where_or_goes_nowhere(lab):
    _, agent = family(lab)
    agent.run("key", "add", "--new-key-file", agent.home / "x.key", "--slot", "x")
    # Of one name in two repositories: either may be meant.
    done = agent.run("key", "remove", "x", expect=2)
    assert "a and b" in done.err and "--repo NAME" in done.err, done
    assert "x" in slots(agent, "a") and "x" in slots(agent, "b")
    done = agent.run("key", "remove", "x", "--repo", "a")
    assert "repository a: slot x removed (key-file, epoch 1, made 20" in done.out, done
    assert "x" not in slots(agent, "a") and "x" in slots(agent, "b")
    done = agent.json("key", "remove", "x")
    assert done["slots"] == [{"repository": "b", "slot": "x"}]
    # The last key of one of them: then the other one's goes neither.
    agent.run("key", "remove", "recovery", "--repo", "b", "--yes")
    b = agent.repos["b"]["path"]
    before = agent.objects(), agent.objects(b)
    done = agent.run("key", "remove", "key-file", "--force", "--yes", expect=2)
    assert "last" in done.err and str(b) in done.err, done
    assert (agent.objects(), agent.objects(b)) == before


def test_killed_anywhere_a_rotation_leaves_all_readable_and_writable(lab):
    server, agent = family(lab)
    agent.backup()
    killed = 0
    for calls in ("link,linkat", "unlink,unlinkat", "fsync,fdatasync"):
        nth = 1
        while kill_at(lab, agent, calls, nth, "key", "rotate", "--recovery-code"):
            killed += 1
            nth += 1 if calls != "fsync,fdatasync" else 3
            agent.run("key", "test")
            server.archive_all()
    assert killed > 6
    # Half done: what is written is opened by each of the two.
    kill_at(lab, agent, "link,linkat", 4, "key", "rotate", "--recovery-code")
    assert "key rotate" in agent.run("backup", "--checkpoint", "fast").err
    server.archiver_rests()
    for repo in "ab":
        agent.run("restore", "-D", lab.place("k"), "--to-latest",
                  *direct(agent, repo), config=False)
    agent.run("key", "rotate", "--recovery-code")
    assert "key rotate" not in agent.run("backup", "--checkpoint", "fast").err
    agent.run("verify", "--all")


@pytest.mark.parametrize("output", ["text", "json"])
@pytest.mark.parametrize("change", ["add", "rotate"])
def test_killed_anywhere_no_slot_is_left_whose_code_was_not_shown(lab, change, output):
    _, agent = family(lab)
    shown, cut = set(), 0

    def run(rule):
        done = agent.run("key", change, "--recovery-code", "--output", output, expect=None,
                         env=NO_LEAKS, wrap=strace(lab, rule))
        shown.update(CODE.findall(done.out))
        return done

    for nth in range(1, 50):
        done = run(f"link,linkat:error=EIO:signal=SIGKILL:when={nth}")
        if done.code == 0:
            break
        cut += bool(CODE.search(done.out))
    assert cut > 1
    # One that fails says so, and in its document the code is there too.
    done = run("link,linkat:error=EIO:when=2")
    assert done.code == 1 and CODE.search(done.out), done
    if output == "json":
        assert done.json()["error"] and CODE.fullmatch(done.json()["recovery_code"])
    assert "throw it away" not in done.err
    done = run("link,linkat:error=EIO:when=1")
    assert "throw it away" in done.err
    for repo in "ab":
        left = {name for name, s in slots(agent, repo).items() if s["type"] == "recovery-code"}
        for code in shown:
            done = subprocess.run(
                agent.command("key", "test", "--stdin", "--repo", repo, "--output", "json"),
                input=code + "\n", text=True, capture_output=True, check=False,
                env=agent.environment(), timeout=120)
            if done.returncode == 0:
                left.discard(json.loads(done.stdout)["tests"][0]["slot"])
        assert left == {"recovery"}, "but for init's"


def test_killed_anywhere_init_shows_the_code_of_each_slot(lab):
    seen = 0
    for nth in range(1, 50):
        agent = lab.agent(None)
        done = agent.run("init", "--yes", expect=None, env=NO_LEAKS,
                         wrap=strace(lab, f"link,linkat:error=EIO:signal=SIGKILL:when={nth}"))
        seen += (agent.repo / "keys/recovery").exists()
        if (agent.repo / "keys/recovery").exists():
            code_in(done.out)
        if (agent.repo / "FORMAT").exists():
            typed(agent, code_in(done.out), "test")
        if done.code == 0:
            break
    assert seen > 2


def test_below_two_keys_is_said_and_an_unencrypted_repository_has_none(lab):
    server = lab.server(15)
    agent = lab.agent(server)
    agent.init()
    done = agent.run("key", "rotate")
    assert "only 1 key" in done.err and "recovery" in done.out
    # Those of before the rotation are keys no more: check counts what opens what is written now.
    (link,) = [one for one in agent.json("check", expect=None)["links"] if one["code"] == "key_slots"]
    assert link["severity"] == "warning" and "key add" in link["hint"], link
    agent.run("key", "rotate", "--with-key-file", agent.home / "none.key", expect=2)
    clear = lab.agent(server, repos={"local": {"path": lab.place("c"), "encryption": "none"}})
    clear.init()
    assert "not encrypted" in clear.run("key", "add", "--recovery-code", expect=2).err
