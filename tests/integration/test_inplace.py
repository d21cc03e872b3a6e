"""A lost server restored over itself: what it had committed and never archived is saved first."""

import shutil
import subprocess

import pytest

from harness import judges
from harness.postgres import DEBIAN_BIN, clean_environment
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
    server.kill()
    return writer.acknowledged()


def recovered(server):
    server.start()
    until("recovery to end", lambda: server.answers() and
          server.sql("SELECT pg_is_in_recovery()") == "f")


def has_rows(server, acknowledged):
    found = {int(i) for i in server.sql("SELECT i FROM ledger").split()}
    assert not acknowledged - found, f"committed rows are lost: {sorted(acknowledged - found)[:9]}"
    judges.amcheck(server)


def test_commits_that_were_never_archived_survive_a_restore_in_place(lab, major):
    server = lab.server(major, filled=(1, 0), segsize=1)
    agent = lab.agent(server).protect()
    agent.backup()
    acknowledged = killed_while_writing(lab, server)

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
