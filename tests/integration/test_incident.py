"""The table that was dropped, looked at just before it was: at any hour, the first thing that is tried."""

import pytest


@pytest.mark.only(15, 18)
def test_a_table_is_read_just_before_it_was_dropped(lab, major):
    """Nothing happens in between: paused in front of the commit, the server would hold the table's lock."""
    server = lab.server(major, filled=(1, 0), autovacuum="off")
    agent = lab.agent(server).protect()
    server.sql("CREATE TABLE orders AS SELECT 1 AS i")
    agent.backup()
    server.sql("INSERT INTO orders VALUES (2)")
    before = server.sql("SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', "
                        "'YYYY-MM-DD HH24:MI:SS.US') || 'Z'")
    xid = server.sql("BEGIN; DROP TABLE orders; SELECT pg_current_xact_id(); COMMIT")
    server.archive_all()

    target = lab.place("r")
    document = agent.restore(target, "--to-time", before, "--start")
    assert document["target"]["kind"] == "time" and document["target"]["stop_lsn"]
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
