"""The server that is backed up: a throwaway PostgreSQL with data that is like real data.

pgbench's own filler is a run of blanks, which compresses 40 fold and so proves nothing; here it is
random hexadecimal text.  Beside it lies a table of text, JSON and numbers with four indexes, so
that tables and indexes of several kinds are compressed.
"""
import os
import pathlib
import subprocess
import time
import zlib

BIN = pathlib.Path("/usr/lib/postgresql/15/bin")        # and the clients of every server
NPM_SERVERS = pathlib.Path(os.environ.get("PGAGENT_SERVERS", "/var/cache/pgagent-test"))
ITEMS_PER_SCALE = 20_000        # 2 million rows at scale 100
CHANGES_PER_SCALE = 34          # updated rows; with the index that is 2 % of the pages
PAGE = 8192

SETTINGS = """
listen_addresses = ''
unix_socket_directories = '{sockets}'
port = {port}
shared_buffers = 256MB
max_wal_size = 4GB
checkpoint_timeout = 1h
autovacuum = off
archive_mode = on
archive_command = 'true'
"""

TABLES = """
INSERT INTO pgbench_branches SELECT i, 0 FROM generate_series(1, {scale}) i;
INSERT INTO pgbench_tellers SELECT i, (i - 1) / 10 + 1, 0 FROM generate_series(1, 10 * {scale}) i;
INSERT INTO pgbench_accounts
    SELECT i, (i - 1) / 100000 + 1, 0, rpad(md5(random()::text), 84)
    FROM generate_series(1, 100000 * {scale}) i;
CREATE TABLE items AS
    SELECT i::bigint AS id,
           timestamptz '2026-01-01' + random() * interval '300 days' AS placed,
           (random() * 100000)::int AS customer,
           md5(random()::text) AS code,
           (random() * 10000)::numeric(10, 2) AS price,
           random() AS weight,
           jsonb_build_object('sku', md5(random()::text), 'quantity', (random() * 100)::int,
                              'state', (ARRAY['new', 'paid', 'sent', 'returned'])[1 + i % 4],
                              'tags', jsonb_build_array(i % 17, i % 31, 'priority')) AS detail,
           'order ' || i || ' of customer ' || (random() * 100000)::int || ', to be delivered to '
               || md5(random()::text) || ' before the end of week ' || i % 52 AS note
    FROM generate_series(1, {items}) i;
ALTER TABLE items ADD PRIMARY KEY (id);
CREATE INDEX ON items (placed);
CREATE INDEX ON items (customer, price);
CREATE INDEX ON items (code);
"""


class Server:
    """Owns its directory; the caller's work directory must be gone for the server to be forgotten."""

    def __init__(self, work, port, major=15, settings=""):
        self.sockets = str(work)
        self.port = port
        self.bin = BIN if major == 15 else NPM_SERVERS / f"pg{major}" / "bin"
        self.settings = SETTINGS + settings
        self.data = work / f"data-{port}"
        self.log = work / f"server-{port}.log"
        self.tools_log = work / "tools.log"
        self.scale = 0

    def _tool(self, *argv):
        with open(self.tools_log, "ab") as log:
            subprocess.run([str(part) for part in argv], check=True, stdout=log, stderr=log,
                           cwd=self.sockets)

    def sql(self, text):
        done = subprocess.run(
            [BIN / "psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-h", self.sockets, "-p", str(self.port),
             "-U", "postgres", "-d", "postgres", "-f", "-"],
            input=text, check=True, text=True, stdout=subprocess.PIPE)
        return done.stdout.strip()

    def start(self, scale):
        self.scale = scale
        self._tool(self.bin / "initdb", "-D", self.data, "-U", "postgres", "-A", "trust",
                   "--data-checksums", "-E", "UTF8", "--no-locale")
        with open(self.data / "postgresql.conf", "a", encoding="utf-8") as conf:
            conf.write(self.settings.format(sockets=self.sockets, port=self.port))
        self._tool(self.bin / "pg_ctl", "-D", self.data, "-l", self.log, "-w", "start")
        pgbench = [BIN / "pgbench", "-i", "-q", "-s", str(scale), "-h", self.sockets,
                   "-p", str(self.port), "-U", "postgres"]
        self._tool(*pgbench, "-I", "dt", "postgres")
        self.sql(TABLES.format(scale=scale, items=ITEMS_PER_SCALE * scale))
        self._tool(*pgbench, "-I", "p", "postgres")
        self.sql("VACUUM (FREEZE, ANALYZE)")
        self.settle()

    def stop(self):
        if (self.data / "postmaster.pid").exists():
            self._tool(self.bin / "pg_ctl", "-D", self.data, "-m", "fast", "-w", "stop")

    def settle(self):
        """Everything written, nothing left for a checkpoint, and the data in the page cache."""
        self.sql("CHECKPOINT")
        os.sync()
        for top, _, names in os.walk(self.data):
            for name in names:
                try:
                    with open(os.path.join(top, name), "rb", buffering=0) as file:
                        while file.read(1 << 20):
                            pass
                except FileNotFoundError:
                    pass            # recycled WAL

    def change(self):
        """Random rows of pgbench_accounts: 2 % of all pages change, of the table and its index."""
        self.sql(f"""UPDATE pgbench_accounts SET abalance = abalance + 1 WHERE aid IN (
            SELECT 1 + (random() * {100_000 * self.scale - 1})::int
            FROM generate_series(1, {CHANGES_PER_SCALE * self.scale})); CHECKPOINT""")

    def page_sums(self):
        """A CRC of every 8 KiB of the files that hold data, by file."""
        sums = {}
        for top in ("base", "global", "pg_xact"):
            for folder, _, names in os.walk(self.data / top):
                for name in names:
                    with open(os.path.join(folder, name), "rb", buffering=0) as file:
                        sums[file.name] = crcs = []
                        while piece := file.read(PAGE * 128):
                            crcs.extend(zlib.crc32(piece[at:at + PAGE])
                                        for at in range(0, len(piece), PAGE))
        return sums

    def archive_with(self, command):
        """What the server archives with from now on; the tools differ in what a backup waits for."""
        quoted = command.replace("'", "''")
        self.sql(f"ALTER SYSTEM SET archive_command = '{quoted}'")
        self.sql("SELECT pg_reload_conf()")

    def make_segments(self, count, place):
        """`count` finished segments of real load, as files in `place`; answers their paths."""
        place.mkdir()
        self.archive_with(f'cp %p "{place}/.new" && mv "{place}/.new" "{place}/%f"')
        self.sql("SELECT pg_switch_wal()")
        load = subprocess.Popen(
            [BIN / "pgbench", "-n", "-c", "2", "-T", "3600", "-h", self.sockets, "-p", str(self.port),
             "-U", "postgres", "postgres"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            env={**os.environ, "PGOPTIONS": "-c synchronous_commit=off"})
        try:
            deadline = time.monotonic() + 1800
            while len(found := segments_in(place)) < count + 1:
                if load.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"pgbench made {len(found)} of {count} segments")
                time.sleep(0.2)
        finally:
            load.terminate()
            load.wait()
        self.archive_with("true")
        # The first is what lay open before the load.
        return found[1:count + 1]


def segments_in(place):
    return sorted(path for path in place.iterdir() if len(path.name) == 24)
