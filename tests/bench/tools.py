"""The tools that are compared: how each is set up, emptied, and the command lines that are timed."""
import pathlib
import shutil
import subprocess

from server import BIN, PORT

PGBACKREST = "/usr/bin/pgbackrest"


class PgBaseBackup:
    name = "pg_basebackup"

    def __init__(self, work, server):
        self.server = server
        self.place = work / "basebackup"
        self.stored = self.place
        self.archive_command = "true"

    def fresh(self):
        shutil.rmtree(self.place, ignore_errors=True)

    def backup(self):
        return [BIN / "pg_basebackup", "-h", self.server.sockets, "-p", PORT, "-U", "postgres",
                "-D", self.place, "-c", "fast", "-Ft", "-X", "stream",
                "--compress=client-zstd:level=1,workers=2"]


class _Archiver:
    """What pgagent and pgBackRest have in common: a repository, an archive_command, restores."""

    def __init__(self, work, server):
        self.work = work
        self.server = server
        self.stored = work / f"{self.name}-repository"
        self.archive_command = " ".join(str(part) for part in self.push("%p"))

    def _run(self, argv):
        with open(self.work / f"{self.name}.log", "ab") as log:
            subprocess.run([str(part) for part in argv], check=True, stdout=log, stderr=log,
                           stdin=subprocess.DEVNULL, cwd=self.server.data)

    def fresh(self):
        """An empty repository, whatever was there; the server does not archive meanwhile."""
        self.server.archive_with("true")
        for name in self.leftovers:
            place = self.work / name
            shutil.rmtree(place, ignore_errors=True)
            if place.is_file():
                place.unlink()
        self.make()


class PgAgent(_Archiver):
    name = "pgagent"
    leftovers = ("pgagent-repository", "pgagent-state", "pgagent-spool", "pgagent.key")
    config = """[global]
state_directory = {work}/pgagent-state
spool_directory = {work}/pgagent-spool

[repo:local]
path = {work}/pgagent-repository
encryption = aes-256-gcm
key_file = {work}/pgagent.key

[cluster:bench]
conninfo = host={sockets} port={port} user=postgres dbname=postgres
compression = zstd:1
"""

    def __init__(self, work, server):
        self.base = [work / "pgagent", "--config", work / "pgagent.conf"]
        super().__init__(work, server)

    def make(self):
        conf = self.work / "pgagent.conf"
        conf.write_text(self.config.format(work=self.work, sockets=self.server.sockets,
                                           port=PORT), encoding="utf-8")
        conf.chmod(0o600)
        for name in ("pgagent-state", "pgagent-spool"):
            (self.work / name).mkdir(mode=0o700)
        self._run([*self.base, "init", "--yes"])

    def backup(self):
        return [*self.base, "backup", "--checkpoint", "fast"]

    def restore(self, target):
        return [*self.base, "restore", "-D", target, "--jobs", "2"]

    def push(self, path):
        return [*self.base, "archive-push", path]

    def get(self, name, path):
        return [*self.base, "archive-get", name, path]


class PgBackRest(_Archiver):
    name = "pgbackrest"
    leftovers = ("pgbackrest-repository", "pgbackrest-lock", "pgbackrest-spool")
    config = """[global]
repo1-path={work}/pgbackrest-repository
repo1-cipher-type=aes-256-cbc
repo1-cipher-pass=a-pass-phrase-of-the-benchmark-only
compress-type=zst
compress-level=1
log-path={work}
lock-path={work}/pgbackrest-lock
spool-path={work}/pgbackrest-spool
log-level-console=warn
log-level-file=off

[bench]
pg1-path={data}
pg1-socket-path={sockets}
pg1-port={port}
pg1-user=postgres
"""

    def __init__(self, work, server):
        self.base = [pathlib.Path(PGBACKREST), f"--config={work}/pgbackrest.conf",
                     "--stanza=bench"]
        super().__init__(work, server)

    def make(self):
        conf = self.work / "pgbackrest.conf"
        conf.write_text(self.config.format(work=self.work, data=self.server.data,
                                           sockets=self.server.sockets, port=PORT),
                        encoding="utf-8")
        conf.chmod(0o600)
        self._run([*self.base, "stanza-create"])

    def backup(self):
        return [*self.base, "backup", "--type=full", "--start-fast", "--process-max=2"]

    def restore(self, target):
        return [*self.base, "restore", f"--pg1-path={target}", "--process-max=2"]

    def push(self, path):
        return [*self.base, "archive-push", path]

    def get(self, name, path):
        return [*self.base, "archive-get", name, path]
