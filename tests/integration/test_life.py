"""A life in small: many backups with random changes, kills and removals between them.

At its end every backup that was not removed comes back with the rows it was taken with, and the
repository holds what those backups need and nothing else.

The changes are drawn from PGAGENT_TEST_SEED, or from a seed that is printed when a test fails.
"""

import os
import random
import signal
from dataclasses import dataclass, field

import pytest

from harness import judges
from harness.needed import packs_needed, packs_there
from harness.restored import forget, restored_whole

# The oldest server, whose backups are read as a stream, and the newest, which sends what changed.
pytestmark = pytest.mark.only(15, 18)

NIGHTLY = os.environ.get("PGAGENT_TEST_NIGHTLY") == "1"
BACKUPS = 400 if NIGHTLY else 40
ALIVE_MAX = 40 if NIGHTLY else 12   # removals are drawn so that about so many are left at the end
FRESH = 3                           # restored into empty directories; all others over the one before


# --- the changes ----------------------------------------------------------------------------
# Each is a function of the server and of the random numbers, and cheap.

def tables(server):
    return server.sql("SELECT relname FROM pg_class WHERE relkind = 'r' AND relname ~ '^t[0-9]+$' "
                      "ORDER BY 1").split()


def nothing(server, rng):
    pass


def create(server, rng):
    name = f"t{rng.randrange(1000)}"
    unlogged = rng.choice(("", "", "UNLOGGED"))
    server.sql(f"CREATE {unlogged} TABLE IF NOT EXISTS {name} (i int, t text); "
               f"CREATE INDEX ON {name} (i); INSERT INTO {name} SELECT i, md5((i * random())::text) "
               f"|| repeat('-', {rng.randrange(400)}) FROM generate_series(1, {rng.randrange(4000)}) i")


def on_a_table(statement):
    def change(server, rng):
        there = tables(server)
        if there:
            for part in statement(rng).split(";"):
                server.sql(part.format(rng.choice(there)))
    return change


insert = on_a_table(lambda rng: "INSERT INTO {0} SELECT i, md5(random()::text) FROM "
                                f"generate_series(1, {rng.randrange(1, 3000)}) i")
update = on_a_table(lambda rng: "UPDATE {0} SET t = md5(t) WHERE i % 97 = "
                                f"{rng.randrange(97)}")
cut = on_a_table(lambda rng: f"DELETE FROM {{0}} WHERE i > {rng.randrange(2000)};"
                             "VACUUM (TRUNCATE) {0}")
pack = on_a_table(lambda rng: "VACUUM (FULL) {0}")
empty = on_a_table(lambda rng: "TRUNCATE {0}")
drop = on_a_table(lambda rng: "DROP TABLE {0}")
switch_kind = on_a_table(lambda rng: f"ALTER TABLE {{0}} SET {rng.choice(('', 'UN'))}LOGGED")
reindex = on_a_table(lambda rng: "REINDEX TABLE {0}")


def pages_at_random(server, rng):
    server.sql(f"SELECT setseed({rng.random()}); UPDATE pgbench_accounts SET abalance = aid "
               "WHERE random() < 0.001")


def database(server, rng):
    """Made by one of both ways, or dropped when it is there."""
    if server.sql("SELECT count(*) FROM pg_database WHERE datname = 'other'") == "1":
        server.sql("DROP DATABASE other")
    else:
        server.sql(f"CREATE DATABASE other STRATEGY {rng.choice(('file_copy', 'wal_log'))}")


def finish_segment(server, rng):
    server.archive_all()


def restart(server, rng):
    server.stop(rng.choice(("fast", "immediate")))
    server.start()


CHANGES = [nothing, create, create, insert, insert, update, update, cut, pack, empty, drop,
           switch_kind, reindex, pages_at_random, pages_at_random, database, finish_segment, restart]


# --- the life -------------------------------------------------------------------------------

@dataclass
class Life:
    lab: object
    server: object
    agent: object
    rng: random.Random
    alive: dict = field(default_factory=dict)   # id: (backup, rows)
    taken: int = 0
    killed: int = 0
    removed: int = 0

    def change(self):
        for _ in range(self.rng.randrange(3)):
            self.rng.choice(CHANGES)(self.server, self.rng)

    def backup(self):
        rows = judges.fingerprint(self.server)
        backup = self.agent.backup()
        self.alive[backup["id"]] = (backup, rows)
        self.taken += 1

    def backup_that_is_killed(self):
        """At one of the calls that publish.  Behind its commit point it counts as a backup."""
        rows = judges.fingerprint(self.server)
        nth = self.rng.randrange(1, 12)
        done = self.agent.run(
            "backup", "--checkpoint", "fast", expect=None,
            env={"ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=0"},
            wrap=["strace", "-f", "-o", self.lab.place("strace"), "-e", "trace=link,linkat",
                  "-e", f"inject=link,linkat:error=EIO:signal=SIGKILL:when={nth}"])
        assert done.code in (0, -signal.SIGKILL, 128 + signal.SIGKILL), str(done)
        self.killed += done.code != 0
        for backup in self.agent.backups():
            if backup["id"] not in self.alive:
                self.alive[backup["id"]] = (backup, rows)

    def remove(self):
        victim = self.rng.choice(sorted(self.alive))
        # Of the few packs here more than half may be the victim's.
        self.agent.run("expire", "--backup", victim, "--confirm", "--yes", "--force")
        del self.alive[victim]
        self.removed += 1
        assert {b["id"] for b in self.agent.backups() if not b["hidden"]} == set(self.alive)

    def live(self):
        share = 1 - ALIVE_MAX / BACKUPS     # of the backups taken, those that are removed
        for _ in range(BACKUPS):
            self.change()
            if self.rng.random() < 0.1:
                self.backup_that_is_killed()
            self.backup()
            while len(self.alive) > 1 and self.removed < self.taken * share and \
                    self.rng.random() < 0.9:
                self.remove()


@pytest.fixture
def life(lab, major):
    given = os.environ.get("PGAGENT_TEST_SEED")
    seed = int(given) if given else random.SystemRandom().randrange(1 << 32)
    print(f"PGAGENT_TEST_SEED={seed}")
    settings = {"summarize_wal": "on"} if major >= 17 else {}
    server, agent = lab.protected(major, scale=1, agent_settings={"expire_grace": "0"}, **settings)
    return Life(lab, server, agent, random.Random(seed))


@pytest.mark.timeout(7200 if NIGHTLY else 1200)
def test_whatever_happened_every_backup_left_is_whole(lab, life):
    life.live()
    assert life.taken == BACKUPS and life.removed > BACKUPS // 4
    agent = life.agent
    assert {b["id"] for b in agent.backups()} == set(life.alive)
    agent.run("expire", "--confirm", "--yes", "--force")   # what the last of the killed left behind
    assert packs_there(agent) == packs_needed(agent)
    said = agent.json("verify", "--all")
    assert said["damaged"] is False and said["findings"] == []

    target = lab.place("r")
    order = life.rng.sample(sorted(life.alive), len(life.alive))
    for number, name in enumerate(order):
        backup, rows = life.alive[name]
        if number < FRESH:
            forget(lab, restored_whole(lab, life.server, agent, backup, rows))
        else:
            over = ["--delta", "--discard-wal"] if target.exists() else []
            clone = restored_whole(lab, life.server, agent, backup, rows, target=target, args=over)
            forget(lab, clone, keep=True)

    for name in order[1:]:
        agent.run("expire", "--backup", name, "--confirm", "--yes")
    assert packs_there(agent) == packs_needed(agent)
    backup, rows = life.alive[order[0]]
    forget(lab, restored_whole(lab, life.server, agent, backup, rows))
    assert agent.json("verify", "--all")["damaged"] is False
