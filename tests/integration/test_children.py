"""Every kind of child on its parent: what it costs, and that both come back whole.

One server per major, and per way in which it is read, lives through SCENARIOS in this order with
a backup after each, so that every backup is the child of the one before it.  Only when all are
taken is each restored and judged: as a child, and as the parent that it was.
"""

import random
from dataclasses import dataclass, field
from typing import Callable

import pytest

from harness import judges
from harness.needed import packs_needed, packs_there
from harness.restored import forget, restored_whole

SHARES_SERVER = True

PAGE = 8192
# What a backup of an idle server finds new all the same (pg_control, statistics, visibility maps,
# a few pages of catalogs and of pg_xact), and what DDL adds to it.
NOISE = 128 * PAGE
# From 16 on relations are extended by up to so much at once; what is left of it is zeros, which
# are not stored.
AHEAD = 64 * PAGE


# --- the scenarios --------------------------------------------------------------------------
# A change returns how many bytes of relations it made new; none of its pages lay in the parent.

def size(server, *relations, db="postgres"):
    return sum(int(server.sql(f"SELECT pg_relation_size('{name}')", db=db)) for name in relations)


def nothing(lab, server):
    return 0


def random_pages(lab, server):
    """2 % of the pages, drawn with a fixed seed; fillfactor leaves room for the new row beside."""
    pages = size(server, "wide") // PAGE
    chosen = random.Random(2).sample(range(pages), pages // 50)
    rows = ",".join(f'"({number},1)"' for number in chosen)
    changed = server.sql(f"""
        WITH new AS (UPDATE wide SET t = reverse(t) WHERE ctid = ANY ('{{{rows}}}'::tid[])
                     RETURNING ctid)
        SELECT string_agg((ctid::text::point)[0]::text, ',') FROM new""")
    assert sorted(map(int, changed.split(","))) == sorted(chosen), "a row left its page"
    assert len(chosen) > 10
    return len(chosen) * PAGE


def append_only(lab, server):
    before = size(server, "log")
    server.sql("INSERT INTO log SELECT * FROM filler(4000)")
    return size(server, "log") - before


def vacuum_full(lab, server):
    server.sql("VACUUM (FULL, FREEZE) packed")
    return size(server, "packed", "packed_i_idx")


def truncate(lab, server):
    server.sql("TRUNCATE emptied")
    return 0


def drop_and_create(lab, server):
    server.sql("DROP TABLE again; CREATE TABLE again AS SELECT * FROM filler(3000)")
    return size(server, "again")


def shrunk_then_grown(lab, server):
    """Cut off by VACUUM, then grown past its old end with other rows, in one go between two."""
    before = size(server, "shrunk")
    server.sql("DELETE FROM shrunk WHERE i > 500")
    server.sql("VACUUM (TRUNCATE, FREEZE) shrunk")
    kept = size(server, "shrunk")
    assert kept < before // 3, "VACUUM cut nothing off"
    server.sql("INSERT INTO shrunk SELECT * FROM filler(4000)")
    assert size(server, "shrunk") > before
    return size(server, "shrunk") - kept


def shrunk_only(lab, server):
    server.sql("DELETE FROM shrunk WHERE ctid > '(20,0)'")
    server.sql("VACUUM (TRUNCATE, FREEZE) shrunk")
    assert size(server, "shrunk") <= 21 * PAGE
    return 0


def new_tablespace(lab, server):
    place = lab.place("ts")
    place.mkdir()
    server.sql(f"CREATE TABLESPACE elsewhere LOCATION '{place}'")
    server.sql("CREATE TABLE far TABLESPACE elsewhere AS SELECT * FROM filler(2000)")
    return size(server, "far")


def change_in_the_tablespace(lab, server):
    before = size(server, "far")
    server.sql("INSERT INTO far SELECT * FROM filler(1000)")
    return size(server, "far") - before


def new_database(strategy):
    def change(lab, server):
        name = f"by_{strategy}"
        server.sql(f"CREATE DATABASE {name} STRATEGY {strategy} TEMPLATE template0")
        server.sql("CREATE TABLE own AS SELECT generate_series(1, 1000) AS i", db=name)
        return int(server.sql(f"SELECT pg_database_size('{name}')"))
    return change


def database_again(lab, server):
    """Another database under the name, with the files of the one before gone."""
    server.sql("DROP DATABASE by_file_copy")
    return new_database("file_copy")(lab, server)


def unlogged(lab, server):
    """New, filled, and of either kind turned into the other: only what is logged is kept."""
    server.sql("CREATE UNLOGGED TABLE fleeting AS SELECT * FROM filler(3000);"
               "ALTER TABLE turned_off SET UNLOGGED; ALTER TABLE turned_on SET LOGGED")
    return size(server, "turned_on")


def all_dropped(lab, server):
    for statement in ("TABLE again, packed, far", "DATABASE by_wal_log", "TABLESPACE elsewhere"):
        server.sql(f"DROP {statement}")
    return 0


@dataclass(frozen=True)
class Scenario:
    name: str
    change: Callable
    noise: int = NOISE      # bytes that may be new beside what the change returns


SCENARIOS = [
    Scenario("nothing changed", nothing),
    Scenario("2 % of pages at random", random_pages),
    Scenario("append only", append_only),
    Scenario("VACUUM FULL", vacuum_full),
    Scenario("TRUNCATE", truncate),
    Scenario("DROP and CREATE", drop_and_create),
    Scenario("shrunk by VACUUM, then grown", shrunk_then_grown),
    Scenario("shrunk by VACUUM", shrunk_only),
    Scenario("new tablespace", new_tablespace),
    Scenario("change in the tablespace", change_in_the_tablespace),
    Scenario("new database, FILE_COPY", new_database("file_copy")),
    Scenario("new database, WAL_LOG", new_database("wal_log")),
    Scenario("database dropped and made again", database_again),
    Scenario("unlogged tables", unlogged),
    Scenario("all dropped", all_dropped),
]


# --- the history ----------------------------------------------------------------------------

@dataclass
class Record:
    backup: dict
    parent: dict
    made_new: int
    rows: dict
    tablespaces: bool


@dataclass
class History:
    lab: object
    server: object
    agent: object
    first: dict
    rows: dict      # when the first was taken
    records: dict = field(default_factory=dict)


@pytest.fixture(scope="module")
def history(shared_lab, major, reading):
    lab = shared_lab
    settings = {"summarize_wal": "on"} if reading == "server-side" else {}
    # Autovacuum would change pages of its own accord.
    server = lab.server(major, autovacuum="off", filled=(1, 0), **settings)
    server.sql("""
        CREATE FUNCTION filler(n int) RETURNS TABLE (i int, t text) LANGUAGE sql VOLATILE AS
            $$ SELECT i, (SELECT string_agg(md5((i * random() + k)::text), '')
                          FROM generate_series(1, 15) k) FROM generate_series(1, n) i $$;
        CREATE TABLE wide WITH (fillfactor = 50) AS SELECT * FROM filler(10000);
        CREATE TABLE log AS SELECT * FROM filler(2000);
        CREATE TABLE packed AS SELECT * FROM filler(4000);
        CREATE INDEX ON packed (i);
        CREATE TABLE emptied AS SELECT * FROM filler(3000);
        CREATE TABLE again AS SELECT * FROM filler(3000);
        CREATE TABLE shrunk AS SELECT * FROM filler(3000);
        CREATE TABLE turned_off AS SELECT * FROM filler(1000);
        CREATE UNLOGGED TABLE turned_on AS SELECT * FROM filler(1000)""")
    server.sql("VACUUM (FREEZE, ANALYZE)")
    agent = lab.agent(server).protect()
    rows = judges.fingerprint(server)
    made = History(lab, server, agent, agent.backup(), rows)
    parent = made.first
    for scenario in SCENARIOS:
        made_new = scenario.change(lab, server)
        rows = judges.fingerprint(server)
        backup = agent.backup("--label", scenario.name)
        spaces = server.sql("SELECT count(*) FROM pg_tablespace WHERE spcname = 'elsewhere'")
        made.records[scenario.name] = Record(backup, parent, made_new, rows, spaces == "1")
        parent = backup
    server.stop()
    return made


def judged(history, backup, rows, tablespaces=False):
    clone = restored_whole(history.lab, history.server, history.agent, backup, rows, tablespaces)
    judges.amcheck(clone)
    return clone


def test_the_first_backup_outlives_its_children_unchanged(history):
    assert history.first["type"] == "full" and history.first["parent"] is None
    forget(history.lab, judged(history, history.first, history.rows))


@pytest.mark.parametrize("name", [s.name for s in SCENARIOS])
def test_child(history, reading, name):
    scenario = next(s for s in SCENARIOS if s.name == name)
    record = history.records[name]
    backup = record.backup
    assert backup["parent"] == record.parent["id"]
    assert backup["type"] == ("incremental" if reading == "server-side" else "full")
    assert backup["checksum_failures"] == 0
    least = record.made_new * 0.95 - AHEAD
    assert least <= backup["bytes_new"] <= record.made_new + scenario.noise
    assert backup["pages_changed"] * PAGE >= backup["bytes_new"]
    clone = judged(history, backup, record.rows, record.tablespaces)
    if name == "unlogged tables":
        for table in ("fleeting", "turned_off", "scratch"):
            assert clone.sql(f"SELECT count(*) FROM {table}") == "0", table
        assert clone.sql("SELECT count(*) FROM turned_on") == "1000"
    forget(history.lab, clone)


def test_verify_finds_nothing_in_all_of_them(history):
    assert len(history.agent.backups()) == len(SCENARIOS) + 1
    assert packs_there(history.agent) == packs_needed(history.agent)
    said = history.agent.json("verify", "--all")
    assert said["damaged"] is False and said["findings"] == []
