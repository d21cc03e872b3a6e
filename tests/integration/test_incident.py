"""The table that was dropped, looked at just before it was: at any hour, the first thing that is tried."""

import random
import shutil
from datetime import datetime, timedelta, timezone

import pytest

from harness.agent import program
from harness.clock import Clock

NOW = "SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US') || 'Z'"
# Of times that are not left to PostgreSQL: each costs two servers.
COMPARED_MAX = 2


@pytest.mark.only(15, 18)
def test_a_table_is_read_just_before_it_was_dropped(lab, major):
    """Nothing happens in between: paused in front of the commit, the server would hold the table's lock."""
    server = lab.server(major, filled=(1, 0), autovacuum="off")
    agent = lab.agent(server).protect()
    server.sql("CREATE TABLE orders AS SELECT 1 AS i")
    agent.backup()
    server.sql("INSERT INTO orders VALUES (2)")
    before = server.sql(NOW)
    lsn = server.lsn()
    xid = server.sql("BEGIN; DROP TABLE orders; SELECT pg_current_xact_id(); COMMIT")
    server.archive_all()

    for kind, value in ("time", before), ("lsn", lsn):  # whose record, the first of the drop, is replayed
        target = lab.place("r")
        document = agent.restore(target, f"--to-{kind}", value, "--start")
        assert document["target"]["kind"] == kind
        clone = lab.attach(target, server)
        assert clone.sql("SET statement_timeout = '5s'; SELECT count(*) FROM orders").endswith("2")
        assert clone.sql("SELECT pg_get_wal_replay_pause_state()") == "paused"
        assert document["locked"] == []
        clone.stop("immediate")

    # Of a transaction by its number PostgreSQL alone knows where it ends: what it locked is named.
    target = lab.place("r")
    document = agent.restore(target, "--to-xid", xid, "--exclusive", "--start")
    assert document["locked"] == [{"database": "postgres", "table": "public.orders"}]
    clone = lab.attach(target, server)
    clone.pg_ctl("-w", "promote")
    assert clone.sql("SET statement_timeout = '5s'; SELECT count(*) FROM orders").endswith("2")


class Changes:
    """One after the other, drawn by `rng`, with a time behind each; the clock, if it is ours, jumps between them."""

    def __init__(self, server, rng, clock):
        self.server, self.rng, self.clock = server, rng, clock
        self.prepared = []
        self.times = []

    def rows(self):
        """Up to six segments of 1 MB without a commit."""
        return f"SELECT g, repeat(md5(g::text), 60) FROM generate_series(1, {self.rng.randrange(1, 3000)}) g"

    def statement(self, number):
        table = self.rng.choice("ab")
        row = f"INSERT INTO {table} VALUES ({number})"
        kind = self.rng.choice([row, row, "load", "truncate", "drop", "alter", "rollback", "prepare", "finish"])
        if kind == "load":
            return f"INSERT INTO {table} {self.rows()}"
        if kind == "truncate":
            return f"BEGIN; TRUNCATE {table}; {row}; COMMIT"
        if kind == "drop":
            return f"BEGIN; DROP TABLE {table}; CREATE TABLE {table} (i int, t text); {row}; COMMIT"
        if kind == "alter":
            return f"ALTER TABLE {table} ADD COLUMN c{number} int DEFAULT {number}"
        if kind == "rollback":
            return f"BEGIN; {row}; SAVEPOINT s; TRUNCATE {table}; ROLLBACK{self.rng.choice(['', ' TO s; COMMIT'])}"
        if kind == "prepare":
            self.prepared.append(f"x{number}")
            return f"BEGIN; INSERT INTO p {self.rows()}; PREPARE TRANSACTION 'x{number}'"
        if kind == "finish" and self.prepared:
            return f"{self.rng.choice(['COMMIT', 'ROLLBACK'])} PREPARED '{self.prepared.pop(0)}'"
        return row

    def make(self, count):
        for number in range(count):
            if self.clock:
                seconds = self.rng.choice([1, 10, 60, 300, 600, 900, -200, -900])
                self.clock.set(self.clock.now() + timedelta(seconds=seconds))
            self.server.sql(self.statement(number))
            self.times.append(self.server.sql(NOW))


def contents(server):
    return [server.sql("SET statement_timeout = '20s'; SELECT count(*), sum(i), (SELECT count(*) FROM "
                       f"pg_attribute WHERE attrelid = '{table}'::regclass) FROM {table}") for table in "abp"]


@pytest.fixture
def clock(lab, monkeypatch, request):
    if not request.param:
        yield None
        return
    if b"libasan" in program().read_bytes():
        pytest.skip("AddressSanitizer has to be loaded before all others, which libfaketime has to be, too")
    made = Clock(lab.root, datetime(2026, 2, 3, 12, tzinfo=timezone.utc), monkeypatch).begin()
    yield made
    for server in lab.servers:
        server.stop("immediate")
    made.end()


@pytest.mark.only(15, 18)
@pytest.mark.parametrize("clock, seed", [(False, 9), (True, 3)], ids=["goes on", "jumps"], indirect=["clock"])
def test_a_paused_server_shows_the_rows_of_one_that_is_promoted(lab, major, clock, seed):
    """Which stops where PostgreSQL itself does: whatever fills segments without a commit, is prepared, and
    however often the clock was set back."""
    server = lab.server(major, segsize=1, autovacuum="off", max_prepared_transactions=40)
    agent = lab.agent(server).protect()
    for table in "abp":
        server.sql(f"CREATE TABLE {table} (i int, t text)")
    agent.backup()
    rng = random.Random(seed)
    changes = Changes(server, rng, clock)
    if clock:
        clock.set(clock.now() + timedelta(hours=1))
    changes.make(40)
    if clock:
        clock.set(clock.now() + timedelta(hours=2))
    server.sql("INSERT INTO a VALUES (0)")
    server.archive_all()
    if clock:
        clock.set(clock.now() + timedelta(hours=2))

    def shown(time, action):
        target = lab.place("r")
        document = agent.restore(target, "--to-time", time, "--action", action, "--start")
        assert document["locked"] == []
        clone = lab.attach(target, server)
        rows = contents(clone)
        clone.stop("immediate")
        lab.servers.remove(clone)
        shutil.rmtree(target)
        return rows

    rng.shuffle(changes.times)
    compared = 0
    for time in changes.times:
        if agent.restore(lab.place("r"), "--to-time", time, "--plan")["target"]["stop_lsn"]:
            assert shown(time, "pause") == shown(time, "promote"), f"{time}, seed {seed}"
            compared += 1
        if compared == COMPARED_MAX:
            break
    assert compared == COMPARED_MAX, "as many times had a lock behind them"
