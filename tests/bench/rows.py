"""The rows of the table: what is put in place, which command lines are timed, which bar is held.

Each function makes one or two rows.  A bar of None is information only.
"""
import os
import shutil
import subprocess

from measure import Row, Side, say, tree_bytes
from server import PAGE, Server
from tools import PgAgent, PgBackRest, PgBaseBackup

SHORT_RUNS = 4          # the archive commands are short: so many times more pairs
CHAIN = 100             # backups in a row
CHAIN_PART = 3          # the chain's data: the scale divided by this
MANY_FILES = 1_000_000
MANY_MEMORY_MIB = 512
MIB = 1 << 20


def anew(place):
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(mode=0o700)
    return place


class Rows:
    def __init__(self, work, runner, scale, runs):
        self.work, self.runner, self.scale, self.runs = work, runner, scale, runs
        self.servers = {}

    def server(self, port, scale, **options):
        if port not in self.servers:
            say(f"making the data of server {port}, scale {scale}")
            server = self.servers[port] = Server(self.work, port, **options)
            server.start(scale)
        self.servers[port].settle()
        return self.servers[port]

    def main_server(self):
        return self.server(5416, self.scale)

    def stop(self):
        for server in self.servers.values():
            server.stop()

    def drop(self, *tools):
        """Gives the space of their repositories back."""
        for tool in tools:
            shutil.rmtree(tool.stored, ignore_errors=True)

    def pairs(self, row, ours, peer, runs, server):
        return row.of_sides(*self.runner.pairs([ours, peer], runs, server.data))

    def fresh_backup(self, tool, server):
        def prepare(_number):
            tool.fresh()
            server.archive_with(tool.archive_command)
            return tool.backup()
        return prepare

    def full(self):
        server = self.main_server()
        pgagent, pgbackrest = PgAgent(self.work, server), PgBackRest(self.work, server)
        base = PgBaseBackup(self.work, server)
        for name, peer, label in (
                ("full-pg", base, "pg_basebackup, client-zstd:level=1,workers=2"),
                ("full", pgbackrest, "pgBackRest --process-max=2")):
            yield self.pairs(Row(name, "full backup", 0.85),
                             Side("pgagent", self.fresh_backup(pgagent, server)),
                             Side(label, self.fresh_backup(peer, server)), self.runs, server)
            peer.fresh()
        server.archive_with("true")
        self.drop(pgagent, base, pgbackrest)

    def same(self):
        server = self.main_server()
        pgagent, base = PgAgent(self.work, server), PgBaseBackup(self.work, server)
        pgagent.fresh()
        self.runner.run(pgagent.backup(), server.data)
        yield self.pairs(Row("same", "backup with nothing changed", 1.3),
                         Side("pgagent", lambda _number: pgagent.backup()),
                         Side("the bare stream, pg_basebackup to /dev/null",
                              lambda _number: base.stream()), self.runs, server)
        self.drop(pgagent)

    def incremental(self):
        server = self.server(5418, self.scale, major=18, settings="summarize_wal = on\n")
        pgagent = PgAgent(self.work, server)
        other = PgAgent(self.work, server, "pgagent-full")
        pgagent.fresh()
        self.runner.run(pgagent.backup(), server.data)

        def changed(_number):
            server.change()
            return pgagent.backup("--type", "incremental")

        def whole(_number):
            other.fresh()
            return other.backup("--type", "full")

        yield self.pairs(Row("incremental", "server-side incremental of 2 % of the pages, 18",
                             0.25),
                         Side("pgagent", changed), Side("pgagent, a full backup", whole),
                         self.runs, server)
        self.drop(pgagent, other)

    def added(self):
        """What 2 % random changes add to a repository, WAL left out."""
        server = self.main_server()
        tools = [PgAgent(self.work, server), PgBackRest(self.work, server)]
        for tool in tools:
            tool.fresh()
            self.backup_by_pages(tool, server, "full")
        grown, alone, part = {tool: [] for tool in tools}, [], []
        before = server.page_sums()
        for number in range(self.runs):
            say(f"bytes added by 2 % random changes, {number + 1} of {self.runs}")
            server.change()
            after = server.page_sums()
            pages, size = self.changed_pages(before, after)
            before = after
            part.append(pages / sum(map(len, after.values())))
            alone.append(size)
            for tool in tools:
                had = tree_bytes(tool.stored, tool.archive)
                self.backup_by_pages(tool, server, "incr")
                grown[tool].append(tree_bytes(tool.stored, tool.archive) - had)
        what = f"bytes added, {100 * sum(part) / len(part):.1f} % of the pages changed at random"
        ours, peer = ([size / MIB for size in grown[tool]] for tool in tools)
        yield Row("added", what, 1.3, "MiB").of_values(
            "the changed pages alone, through `zstd -1`", ours, [size / MIB for size in alone])
        yield Row("added-peer", what, 0.5, "MiB").of_values(
            "pgBackRest, block incremental", ours, peer)
        self.drop(*tools)

    def backup_by_pages(self, tool, server, kind):
        """Not timed: one backup that stores as little as the tool can."""
        server.archive_with(tool.archive_command)
        blocks = [kind, *tool.blocks] if isinstance(tool, PgBackRest) else []
        self.runner.run(tool.backup(*blocks), server.data)
        server.archive_with("true")

    def changed_pages(self, before, after):
        """How many pages differ, and how large they are compressed by themselves."""
        pages = 0
        with subprocess.Popen(["zstd", "-1", "-q", "-c"], stdin=subprocess.PIPE,
                              stdout=open(self.work / "changed.zst", "wb")) as zstd:
            for path, sums in after.items():
                had = before.get(path, [])
                with open(path, "rb") as file:
                    for block, crc in enumerate(sums):
                        if block < len(had) and had[block] == crc:
                            continue
                        file.seek(block * PAGE)
                        zstd.stdin.write(file.read(PAGE))
                        pages += 1
        return pages, (self.work / "changed.zst").stat().st_size

    def restore(self):
        """An empty directory, then the same once more with nothing to do."""
        server = self.main_server()
        tools = [PgAgent(self.work, server), PgBackRest(self.work, server)]
        for tool in tools:
            tool.fresh()
            server.archive_with(tool.archive_command)
            self.runner.run(tool.backup(), server.data)
        server.archive_with("true")
        target = {tool: self.work / f"restored-{tool.name}" for tool in tools}
        yield self.pairs(Row("restore", "restore", 0.75),
                         *(Side(label, lambda _number, tool=tool: tool.restore(
                             anew(target[tool]))) for tool, label in zip(
                                 tools, ("pgagent", "pgBackRest --process-max=2"))),
                         self.runs, server)
        yield self.pairs(Row("delta", "restore --delta with nothing to do", 0.8),
                         *(Side(label, lambda _number, tool=tool: tool.restore(
                             target[tool], "--delta")) for tool, label in zip(
                                 tools, ("pgagent", "pgBackRest --delta --process-max=2"))),
                         self.runs, server)
        for tool in tools:
            shutil.rmtree(target[tool])
        self.drop(*tools)

    def chain(self):
        scale = max(1, self.scale // CHAIN_PART)
        server = self.server(5417, scale)
        pgagent = PgAgent(self.work, server)
        pgagent.fresh()
        say(f"{CHAIN} backups in a row, 2 % changed before each")
        for _ in range(CHAIN):
            self.runner.run(pgagent.backup(), server.data)
            server.change()
        ids = pgagent.backups()
        target = self.work / "restored-chain"

        def of(backup):
            return lambda _number: pgagent.restore(anew(target), "--backup", backup,
                                                   "--to-backup-end")

        yield self.pairs(Row("chain", f"restore of the {len(ids)}th backup in a row, 2 % "
                             f"changed each (scale {scale})", 1.3),
                         Side("pgagent", of(ids[-1])),
                         Side("pgagent, the first backup", of(ids[0])), self.runs, server)
        shutil.rmtree(target)
        self.drop(pgagent)

    def archive(self):
        server = self.main_server()
        tools = [PgAgent(self.work, server), PgBackRest(self.work, server)]
        for tool in tools:
            tool.fresh()
        runs = self.runs * SHORT_RUNS
        segments = server.make_segments(runs + 1, self.work / "segments")
        server.settle()
        labels = ("pgagent", "pgBackRest")
        # The same segments in the same order to both: new to each of them.
        yield self.pairs(Row("archive-push", "archive-push of a 16 MB segment", 0.6),
                         *(Side(label, lambda number, tool=tool: tool.push(segments[number]))
                           for tool, label in zip(tools, labels)), runs, server)

        def getter(tool):
            def prepare(number):
                got = self.work / f"got-{tool.name}"
                if number > 0 and got.read_bytes() != segments[number - 1].read_bytes():
                    raise RuntimeError(f"{tool.name} did not deliver {segments[number - 1].name}")
                got.unlink(missing_ok=True)
                return tool.get(segments[number].name, got)
            return prepare

        yield self.pairs(Row("archive-get", "archive-get of a 16 MB segment", 0.8),
                         *(Side(label, getter(tool)) for tool, label in zip(tools, labels)),
                         runs, server)
        shutil.rmtree(self.work / "segments")
        self.drop(*tools)

    def many(self):
        """A million files of 64 bytes in the directory of a database, once: time and memory."""
        server = self.server(5419, 1)
        database = server.sql("SELECT oid FROM pg_database WHERE datname = 'postgres'")
        say(f"{MANY_FILES} small files")
        page = bytearray(os.urandom(64))
        for number in range(MANY_FILES):
            page[:8] = number.to_bytes(8, "little")
            with open(server.data / "base" / database / str(10_000_000 + number), "wb",
                      buffering=0) as file:
                file.write(page)
        os.sync()
        pgagent = PgAgent(self.work, server)
        target = self.work / "restored-many"
        pgagent.fresh()
        for name, what, side in (
                ("many-full", "full backup", Side("pgagent", lambda _number: pgagent.backup())),
                ("many-same", "backup, nothing changed,",
                 Side("pgagent", lambda _number: pgagent.backup())),
                ("many-restore", "restore",
                 Side("pgagent", lambda _number: pgagent.restore(anew(target))))):
            self.runner.once(side, server.data)
            row = Row(name, f"{what} of a million small files, peak memory", 1, "MiB")
            row.sides = [side]
            yield row.of_values("the bound", [side.peak_mib], [MANY_MEMORY_MIB])
        shutil.rmtree(target)
        server.stop()
        shutil.rmtree(server.data)
        self.drop(pgagent)


GROUPS = {"full": Rows.full, "same": Rows.same, "incremental": Rows.incremental,
          "added": Rows.added, "restore": Rows.restore, "chain": Rows.chain,
          "archive": Rows.archive, "many": Rows.many}
