"""verify remembers, names what is damaged and what is not; show tells since when a page is bad.

What verify says is judged by restoring: a backup is damaged when its restore fails, and untouched when
that succeeds.  Histories are judged by comparing the restored files page by page.
"""

import datetime
import shutil

import pytest

pytestmark = pytest.mark.only(15, 18)

PAGE = 8192


def flip(path, position):
    content = bytearray(path.read_bytes())
    content[position] ^= 0x10
    path.chmod(0o600)
    path.write_bytes(content)


def packs_of(agent, backup):
    return sorted(agent.repo / o for o in agent.objects()
                  if "packs" in o.parts and backup["id"] in o.parts)


def two_backups(lab, major):
    """The second shares nearly all pages of the first."""
    server, agent = lab.protected(major, scale=1)
    server.sql("CREATE TABLE orders (id int, note text) WITH (fillfactor = 50)")
    server.sql("INSERT INTO orders SELECT i, md5(i::text) || repeat(md5((i * 7)::text), 6) "
               "FROM generate_series(1, 20000) i")
    server.sql("VACUUM (FREEZE) orders")
    first = agent.backup()
    server.sql("UPDATE orders SET note = reverse(note) WHERE id % 1000 = 0")
    second = agent.backup()
    server.archive_all()
    return server, agent, first, second


def restores(lab, agent, backup):
    target = lab.place("r")
    done = agent.run("restore", "-D", target, "--to-backup-end", "--backup", backup["id"],
                     expect=None)
    assert done.code in (0, 4), done
    shutil.rmtree(target, ignore_errors=True)
    return done.code == 0


def test_damage_is_named_for_the_backups_that_need_it_and_no_others(lab, major):
    server, agent, first, second = two_backups(lab, major)
    own = packs_of(agent, first)[0], packs_of(agent, second)[0]
    size = own[0].stat().st_size
    agent.run("verify")
    related = 0
    for path, position in ((own[0], size // 7), (own[0], size // 2), (own[0], size * 5 // 6),
                           (own[1], 300)):
        flip(path, position)
        said = agent.json("verify", "--all", expect=4)
        bad = {b["id"] for b in (first, second) if not restores(lab, agent, b)}
        states = {s["id"]: s["state"] for s in said["backup_states"]}
        where = f"{path}, byte {position}: {said}"
        assert {f["backup"] for f in said["findings"] if f["backup"]} == bad, where
        for backup in (first, second):
            assert (states[backup["id"]] == "damaged") == (backup["id"] in bad), where
        assert said["damaged"] and said["findings"]
        for finding in said["findings"]:
            assert path.name in finding["key"], where
            if finding["relation"] is None:
                continue
            related += 1
            database, schema, name = finding["relation"].split(".")
            file = server.sql(f"SELECT pg_relation_filepath('{schema}.{name}'::regclass)",
                              db=database)
            assert finding["file"].split(".")[0].split("_")[0] == file, where
            assert finding["blocks"], where
            pages = (server.data / file).stat().st_size // PAGE
            if "_" not in finding["file"].rsplit("/", 1)[1]:
                assert all(a <= b < pages for a, b in finding["blocks"]), where
        done = agent.run("verify", expect=4)  # known damage is read again at once
        # Of a nightly run stderr is all that anybody reads.
        assert path.name in done.err and all(i in done.err for i in bad), done
        text = done.out + done.err.replace("pgagent: error: ", "")
        for backup in (first, second):
            word = "DAMAGED" if backup["id"] in bad else "untouched"
            assert any(line.startswith(word) and backup["id"] in line
                       for line in text.splitlines()), text
        flip(path, position)
    assert related > 0
    agent.run("verify")


def told(agent, backup):
    """Whether everybody who is asked what is well says that this backup is damaged; all or none."""
    nagios = {command: agent.run(command, "--nagios", expect=None) for command in ("status", "check")}
    listed = agent.json("list", expect=None)
    one = next(b for b in listed["backups"] if b["id"] == backup["id"])
    line = next(text for text in agent.run("list", expect=None).out.splitlines()
                if text.startswith(backup["id"]))
    says = {"list": one["damaged"], "text": "DAMAGED in local" in line,
            "show": agent.json("show", backup["id"]).get("damaged_in") == "local",
            "exit": agent.run("list", expect=None).code == 4}
    for command, link in (("status", "reasons"), ("check", "links")):
        found = [x for x in agent.json(command, expect=None)[link] if x["code"] == "damaged"
                 and x["severity"] in ("CRITICAL", "error")]
        says[command] = any(backup["id"] in x["message"] for x in found)
        assert all(f"pgagent verify {backup['id']}" in x["hint"] for x in found), found
        says[command + " --nagios"] = nagios[command].code == 2 \
            and "CRITICAL - damaged: " in nagios[command].out and backup["id"] in nagios[command].out
    assert one["damaged_in"] == ("local" if one["damaged"] else None)
    assert (one["problem"] is not None) == one["damaged"]
    assert len(set(says.values())) == 1, says
    return says["list"]


def test_what_was_found_damaged_is_told_until_it_is_whole_or_gone(lab, major):
    _, agent, first, second = two_backups(lab, major)
    agent.run("verify")
    assert not told(agent, first) and not told(agent, second)
    pack = packs_of(agent, second)[0]
    flip(pack, 300)
    assert not told(agent, second), "nobody has looked yet"
    agent.run("verify", "--all", expect=4)
    assert told(agent, second) and agent.json("show", first["id"])["damaged_in"] is None
    # Mended, it is so until a verify has seen it; one of another backup has not.
    flip(pack, 300)
    agent.run("verify", first["id"])
    assert told(agent, second)
    agent.run("verify")
    assert not told(agent, second)
    flip(pack, 300)
    agent.run("verify", second["id"], "--all", expect=4)
    assert told(agent, second)
    agent.backup()
    assert told(agent, second)
    agent.run("expire", "--backup", second["id"], "--confirm")
    assert second["id"] not in {b["id"] for b in agent.json("list")["backups"]}
    assert "damaged" not in {x["code"] for x in agent.json("status")["reasons"]}
    assert agent.run("check").code == 0


def test_wal_that_was_found_damaged_is_told(lab, major):
    server, agent, _, _ = two_backups(lab, major)
    agent.run("verify")
    name = server.sql("SELECT pg_walfile_name(pg_current_wal_insert_lsn())")
    server.sql("CREATE TABLE later(); SELECT pg_switch_wal()")
    server.archiver_rests()
    flip(agent.stored_segment(name), 3000)
    assert "take a new backup now" in agent.run("verify", expect=4).out

    def severities():
        return [next((x["severity"] for x in agent.json(*command, expect=None)[key]
                      if x["code"] == "damaged" and name in x["message"]), None)
                for command, key in ((("status",), "reasons"), (("check",), "links"))]
    assert severities() == ["CRITICAL", "error"]
    agent.run("check", expect=4)
    assert agent.json("list", expect=4)["damaged_segments"] == 1
    assert name in agent.run("list", expect=4).out
    agent.backup()
    assert severities() == ["WARNING", "warning"]
    flip(agent.stored_segment(name), 3000)
    agent.run("verify")
    assert severities() == [None, None]
    assert agent.json("list")["damaged_segments"] == 0


def test_damage_that_cannot_be_remembered_is_said(lab, major):
    _, agent, _, second = two_backups(lab, major)
    flip(packs_of(agent, second)[0], 300)
    folders = [p for p in agent.repo.rglob("*") if p.is_dir()]
    for folder in folders:
        folder.chmod(0o500)
    try:
        done = agent.run("verify", expect=4)
    finally:
        for folder in folders:
            folder.chmod(0o700)
    assert "not remembered" in done.err and "status" in done.err, done
    assert second["id"] in done.err, done
    agent.run("verify", expect=4)
    assert told(agent, second)


def test_what_was_proven_is_not_read_again(lab, major):
    _, agent, first, second = two_backups(lab, major)
    packs = packs_of(agent, first) + packs_of(agent, second)
    stored = sum(p.stat().st_size for p in packs)
    assert agent.json("show", first["id"])["verified_at"] is None
    said = agent.json("verify")
    assert stored <= said["bytes_read"] and said["wal_segments"] > 0 and said["pages"] > 0
    assert said["complete"] and said["backups_whole"] == 2
    again = agent.json("verify")
    assert again["proven_lately"]["packs"] == len(packs)
    assert again["wal_segments"] == 0 and again["pages"] == 0
    assert again["bytes_read"] < 64 << 10, "history files at most"
    every = agent.json("verify", "--all")
    assert every["bytes_read"] >= stored
    now = datetime.datetime.now(datetime.timezone.utc)
    for document in (agent.json("show", second["id"]), *agent.json("list")["backups"]):
        at = datetime.datetime.fromisoformat(document["verified_at"].replace("Z", "+00:00"))
        assert abs((now - at).total_seconds()) < 600
    records = [o for o in agent.objects() if "verified" in o.parts]
    assert len(records) == 1, records


def test_a_run_that_has_no_time_left_is_gone_on_with(lab, major):
    _, agent, _, _ = two_backups(lab, major)
    runs = 0
    # What is begun is finished: the first run does the maps, and has no time for WAL.
    while not agent.json("verify", "--max-time", "50ms", "--max-rate", "20MB")["complete"]:
        runs += 1
        assert runs < 100
    assert runs > 0
    assert agent.json("verify")["bytes_read"] < 64 << 10
    agent.run("verify", "--max-time", "soon", expect=2)


def file_pages(lab, agent, backup, path):
    target = lab.place("r")
    agent.restore(target, "--to-backup-end", "--backup", backup["id"])
    content = (target / path).read_bytes()
    shutil.rmtree(target)
    return [content[i:i + PAGE] for i in range(0, len(content), PAGE)]


def blocks(ranges):
    return {n for first, last in ranges for n in range(first, last + 1)}


def test_history_says_in_which_backup_a_page_changed(lab, major):
    server, agent, first, second = two_backups(lab, major)
    path = server.sql("SELECT pg_relation_filepath('orders')")
    server.sql("VACUUM FULL orders")
    third = agent.backup()
    said = agent.json("show", third["id"], "--relation", "postgres.public.orders")
    old, new, rewritten = said["history"]
    assert [h["id"] for h in said["history"]] == [b["id"] for b in (first, second, third)]
    before, after = (file_pages(lab, agent, b, path) for b in (first, second))
    changed = {i for i in range(max(len(before), len(after)))
               if before[i:i + 1] != after[i:i + 1]}
    assert changed and blocks(new["ranges"]) == changed
    assert new["changed_blocks"] == len(changed) < new["blocks"] == len(after)
    assert old["changed"] is None and new["rewritten"] is False
    assert rewritten["rewritten"] is True
    assert str(rewritten["relfilenode"]) == server.sql("SELECT pg_relation_filenode('orders')")
    same = next(i for i in range(len(after)) if i not in changed)
    for block, word in ((min(changed), True), (same, False)):
        page = agent.json("show", second["id"], "--relation", "public.orders", "--block", block)
        assert page["history"][1]["changed"] is word, page
        assert (agent.repo / page["history"][1]["stored"]["pack"]).exists(), page
        owner = (second if word else first)["id"]
        assert owner in page["history"][1]["stored"]["pack"], page
    text = agent.run("show", third["id"], "--relation", "postgres.public.orders").out
    assert "REWRITTEN" in text and third["id"] in text, text
    done = agent.run("show", third["id"], "--relation", "postgres.public.order", expect=3)
    assert "postgres.public.orders" in done.err, done
    agent.run("show", third["id"], "--block", "1", expect=2)


def test_what_a_slow_archiver_will_still_bring_is_no_hole(lab, major):
    server, agent = lab.protected(major, scale=1)
    agent.backup()
    server.archiver_rests()
    server.set(archive_command="false")
    missing = [server.switch_segment() for _ in range(2)]
    agent.backup()  # brings its own
    for _ in range(2):
        done = agent.run("verify", "--output", "json")
        assert done.json()["wal_awaited"] >= 2 and not done.json()["damaged"]
        assert "not archived yet" in done.err, done
    server.set(archive_command=agent.archive_command())
    server.archive_all()
    assert agent.json("verify")["wal_awaited"] == 0
    # What it has passed does not come any more.
    agent.stored_segment(missing[0]).unlink()
    said = agent.json("verify", expect=4)
    assert "hole" in said["findings"][0]["message"] and said["wal_awaited"] == 0, said
