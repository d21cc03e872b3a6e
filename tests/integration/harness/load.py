"""Data to back up and the load under which it is done."""

import subprocess
from pathlib import Path

from .postgres import DEBIAN_BIN, clean_environment, run
from .wait import until


def fill(server, scale=2, bulk_mb=0, db="postgres"):
    """pgbench's tables, a table that does not compress to nothing, an index of each kind.

    bulk_mb: that much more which does not compress at all, for a test that needs several packs.
    """
    run([DEBIAN_BIN / "pgbench", "-i", "-q", "-s", scale, "-h", server.sockets, "-p", server.port,
         "-U", "postgres", db])
    server.sql("""
        CREATE EXTENSION IF NOT EXISTS amcheck;
        CREATE TABLE noise AS SELECT i AS id, md5(i::text) || md5((i + 1)::text) AS a,
            md5(random()::text) AS b, jsonb_build_object('n', i, 'm', md5(i::text)) AS j
            FROM generate_series(1, 20000) i;
        ALTER TABLE noise ADD PRIMARY KEY (id);
        CREATE INDEX noise_j ON noise USING gin (j);
        CREATE INDEX noise_b ON noise USING hash (b);
        CREATE UNLOGGED TABLE scratch AS SELECT generate_series(1, 1000) AS i;
        CREATE TABLE empty_table (i int)""", db=db)
    if bulk_mb:
        server.sql(f"""
            CREATE TABLE bulk AS SELECT i, string_agg(sha512(int8send(i * 100 + k)), '') AS b
                FROM generate_series(1, {bulk_mb * 1000}) i, generate_series(1, 15) k
                GROUP BY i;
            ALTER TABLE bulk ALTER b SET STORAGE PLAIN""", db=db)


class Load:
    """pgbench in the background, from `with` to the end of its block (or stop())."""

    def __init__(self, server, clients=2, log=None):
        self.server = server
        self.clients = clients
        self.log = Path(log or f"{server.data}.pgbench.log")
        self.process = None

    def transactions(self):
        return int(self.server.sql("SELECT count(*) FROM pgbench_history"))

    def __enter__(self):
        before = self.transactions()
        with open(self.log, "w", encoding="utf-8") as out:
            self.process = subprocess.Popen(
                [str(DEBIAN_BIN / "pgbench"), "-n", "-c", str(self.clients), "-T", "3600",
                 "--max-tries=10", "-h", str(self.server.sockets), "-p", str(self.server.port),
                 "-U", "postgres", "postgres"],
                stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=clean_environment())
        until("the load to write", lambda: self.transactions() > before + 10)
        return self

    def stop(self):
        if self.process is None:
            return
        assert self.process.poll() is None, f"pgbench ended early:\n{self.log.read_text()}"
        # Not SIGINT: it is ignored where the tests were started in the background.
        self.process.terminate()
        self.process.wait(30)
        self.process = None

    def __exit__(self, kind, value, trace):
        if kind is None:
            self.stop()
        elif self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None
