"""Exports are what pg_basebackup writes: the same members and bytes, and directories that verify and start."""

import signal
import subprocess
import tarfile

import pytest

from harness import judges
from harness.postgres import DEBIAN_BIN, Postgres, clean_environment, run
from harness.wait import until


def quiet(lab, major, **settings):
    """A filled server with a tablespace, at rest: its files stay as they are until it is asked."""
    server, agent = lab.protected(major, scale=1, autovacuum="off", **settings)
    place = lab.place("ts")
    place.mkdir()
    server.sql(f"CREATE TABLESPACE far LOCATION '{place}'")
    server.sql("CREATE TABLE in_far TABLESPACE far AS SELECT i, md5(i::text) t "
               "FROM generate_series(1, 3000) i")
    server.sql("VACUUM")
    server.archive_all()
    server.sql("CHECKPOINT")
    return server, agent


def members(path):
    """{name: (type, mode, owner, size, content)}; the server writes one name with a leading './'.

    Numbers of owners are left out: the server's are those of its user, which no backup records.
    """
    found = {}
    with tarfile.open(path) as tar:
        for m in tar:
            content = tar.extractfile(m).read() if m.isreg() else b""
            name = m.name.removeprefix("./")
            assert name not in found, f"{name} comes twice"
            found[name] = (m.type, m.mode, m.uname, m.gname, m.size, content)
    return found


def extract(lab, exported, tablespaces=()):
    """A data directory of the tars, as PostgreSQL's manual says; its tablespaces in new places."""
    data = lab.place("x")
    data.mkdir(mode=0o700)
    run(["tar", "xf", exported / "base.tar", "-C", data])
    run(["tar", "xf", exported / "pg_wal.tar", "-C", data / "pg_wal"])
    lines = []
    for oid in tablespaces:
        place = lab.place("xts")
        place.mkdir()
        run(["tar", "xf", exported / f"{oid}.tar", "-C", place])
        (data / "pg_tblspc" / oid).symlink_to(place)
        lines.append(f"{oid} {place}\n")
    if lines:
        (data / "tablespace_map").write_text("".join(lines), encoding="utf-8")
    if (exported / "backup_manifest").exists():
        (data / "backup_manifest").write_bytes((exported / "backup_manifest").read_bytes())
    return data


def start(lab, data, server):
    clone = Postgres(server.major, data, lab.place("s"), lab.port())
    clone.options = ["-c archive_mode=off"]
    lab.servers.append(clone)
    return clone.start()


@pytest.mark.only(15)
def test_tars_are_those_of_pg_basebackup(lab, major):
    server, agent = quiet(lab, major)
    oid = server.sql("SELECT oid FROM pg_tablespace WHERE spcname = 'far'")
    backup = agent.backup()
    agent.run("export", backup["id"], "--to", lab.root / "e")
    theirs = lab.place("pb")
    run([DEBIAN_BIN / "pg_basebackup", "-d", server.conninfo, "-Ft", "-X", "stream", "-c", "fast",
         "-D", theirs])
    assert sorted(p.name for p in theirs.iterdir()) == sorted(p.name for p in (lab.root / "e").iterdir())

    ours, other = members(lab.root / "e" / "base.tar"), members(theirs / "base.tar")
    assert list(ours) == list(other), "other members, or another order"
    assert list(ours)[0] == "backup_label" and list(ours)[-1] == "global/pg_control"
    differ = {n for n in ours if ours[n] != other[n]}
    # The label names the moment, the control file and the checkpoint's own file what it wrote then.
    assert differ <= {"backup_label", "global/pg_control", "pg_logical/replorigin_checkpoint"}, differ
    assert all(ours[n][:4] == other[n][:4] for n in ours)
    assert members(lab.root / "e" / f"{oid}.tar") == members(theirs / f"{oid}.tar")

    ours, other = members(lab.root / "e" / "pg_wal.tar"), members(theirs / "pg_wal.tar")
    assert [v[:5] for v in ours.values()] == [v[:5] for v in other.values()]
    assert len(ours) == 1, "one segment, not marked as archived, as the server goes on in it"


def test_what_is_extracted_verifies_starts_and_has_every_row(lab, major):
    server, agent = quiet(lab, major)
    oid = server.sql("SELECT oid FROM pg_tablespace WHERE spcname = 'far'")
    agent.backup()
    server.sql("UPDATE in_far SET t = 'changed' WHERE i % 7 = 0; CHECKPOINT")
    expected = judges.fingerprint(server)
    backup = agent.backup()  # takes pages from the one before
    document = agent.json("export", backup["id"], "--to", lab.root / "e")
    assert document["tars"] == 3 and document["wal_segments"] >= 1
    assert document["bytes_written"] == sum(p.stat().st_size for p in (lab.root / "e").iterdir())
    data = extract(lab, lab.root / "e", [oid])
    judges.verifybackup(data, major, lab.root, parse_wal=major == 15, changed=["tablespace_map"])
    judges.same_rows(expected, judges.fingerprint(start(lab, data, server)))


def test_one_tar_goes_into_a_pipe_and_a_file(lab, major):
    server, agent = lab.protected(major, scale=1)
    expected = judges.fingerprint(server)
    agent.backup()
    data = lab.place("x")
    data.mkdir(mode=0o700)
    # A machine that has the repository and its key and nothing else.
    command = agent.command("export", "latest", "--repo", agent.repo, "--key-file", agent.key,
                            "--to", "-", config=False)
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=clean_environment()) as child:
        subprocess.run(["tar", "xf", "-", "-C", data], stdin=child.stdout, check=True, timeout=120)
        assert child.wait() == 0
    judges.verifybackup(data, major, lab.root, parse_wal=major == 15)
    judges.same_rows(expected, judges.fingerprint(start(lab, data, server)))
    one = lab.root / "one.tar"
    agent.run("export", "latest", "--to", one)
    names = list(members(one))
    assert names[0] == "backup_label" and names[-1] == "backup_manifest"
    assert any(n.startswith("pg_wal/0000") for n in names)


@pytest.mark.only(15)
def test_refusals_come_before_the_first_byte(lab, major):
    server, agent = quiet(lab, major)
    agent.backup()
    taken = lab.place("t")
    taken.mkdir()
    (taken / "precious").write_text("x", encoding="utf-8")
    done = agent.run("export", "latest", "--to", taken, expect=2)
    assert "precious" in done.err and [p.name for p in taken.iterdir()] == ["precious"]
    done = agent.run("export", "latest", "--to", lab.root / "one.tar", expect=2)
    assert "tablespace" in done.err and not (lab.root / "one.tar").exists()
    done = agent.run("export", "latest", "--to", "-", expect=2)
    assert done.out == "" and "tablespace" in done.err
    done = agent.run("export", "latest", "--to", "-", "--output", "json", expect=2)
    assert done.json()["error"]["code"] == "config"
    agent.run("export", "latest", expect=2)
    agent.run("export", "20200101", "--to", lab.root / "n", expect=3)
    agent.run("export", "latest", "--to", lab.root / "no" / "such" / "place", expect=2)
    segment = sorted(agent.repo.glob("main/*/wal/*/*/*0000??"))[-1]
    hidden = segment.rename(lab.root / "segment")
    done = agent.run("export", "latest", "--to", lab.root / "n", expect=4)
    assert "WAL" in done.err and not (lab.root / "n").exists()
    hidden.rename(segment)
    agent.run("export", "latest", "--to", lab.root / "n")


@pytest.mark.only(15)
def test_a_killed_export_leaves_nothing_that_looks_whole(lab, major):
    server, agent = lab.protected(major, scale=1, bulk_mb=40)
    agent.backup()
    target = lab.root / "e"
    child = agent.popen("export", "latest", "--to", target, "--jobs", "1",
                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until("the first bytes", lambda: child.poll() is not None or
          any(p.stat().st_size > 0 for p in target.glob(".tmp-*")))
    child.send_signal(signal.SIGKILL)
    child.wait()
    if child.returncode == 0:
        pytest.skip("it was faster than the kill")
    assert not (target / "base.tar").exists() and list(target.glob(".tmp-*"))
    agent.run("export", "latest", "--to", target)
    assert sorted(p.name for p in target.iterdir()) == ["backup_manifest", "base.tar", "pg_wal.tar"]
    data = extract(lab, target)
    judges.verifybackup(data, major, lab.root, parse_wal=True)
