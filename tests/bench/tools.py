"""The tools that are compared: how each is set up, emptied, and the command lines that are timed."""
import json
import pathlib
import shutil
import subprocess

from server import BIN

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
        return [BIN / "pg_basebackup", "-h", self.server.sockets, "-p", self.server.port, "-U", "postgres",
                "-D", self.place, "-c", "fast", "-Ft", "-X", "stream",
                "--compress=client-zstd:level=1,workers=2"]

    def stream(self):
        """The bare stream: what any backup over this protocol has to wait for."""
        return ["/bin/sh", "-c", "exec \"$@\" >/dev/null", "sh", BIN / "pg_basebackup", "-h",
                self.server.sockets, "-p", self.server.port, "-U", "postgres", "-c", "fast",
                "-D", "-", "-Ft", "-X", "none"]


class _Archiver:
    """What pgagent and pgBackRest have in common: a repository, an archive_command, restores."""

    def __init__(self, work, server, name):
        self.work = work
        self.server = server
        self.name = name
        self.stored = work / f"{name}-repository"
        self.conf = work / f"{name}.conf"
        self.archive_command = " ".join(str(part) for part in self.push("%p"))

    def _run(self, argv):
        with open(self.work / f"{self.name}.log", "ab") as log:
            subprocess.run([str(part) for part in argv], check=True, stdout=log, stderr=log,
                           stdin=subprocess.DEVNULL, cwd=self.server.data)

    def fresh(self):
        """An empty repository, whatever was there; the server does not archive meanwhile."""
        self.server.archive_with("true")
        for place in [self.work / f"{self.name}-{what}" for what in self.leftovers]:
            shutil.rmtree(place, ignore_errors=True)
            place.unlink(missing_ok=True)
        self.conf.write_text(self.config.format(
            work=self.work, name=self.name, data=self.server.data, port=self.server.port,
            sockets=self.server.sockets), encoding="utf-8")
        self.conf.chmod(0o600)
        self.make()


class PgAgent(_Archiver):
    leftovers = ("repository", "state", "spool", "key")
    archive = "wal"     # folders of the repository with this name hold WAL
    config = """[global]
state_directory = {work}/{name}-state
spool_directory = {work}/{name}-spool

[repo:local]
path = {work}/{name}-repository
encryption = aes-256-gcm
key_file = {work}/{name}-key

[cluster:bench]
conninfo = host={sockets} port={port} user=postgres dbname=postgres
compression = zstd:1
refresh_period = 0
"""

    def __init__(self, work, server, name="pgagent"):
        self.base = [work / "pgagent", "--config", work / f"{name}.conf"]
        super().__init__(work, server, name)

    def make(self):
        for what in ("state", "spool"):
            (self.work / f"{self.name}-{what}").mkdir(mode=0o700)
        self._run([*self.base, "init", "--yes"])

    def backup(self, *options):
        return [*self.base, "backup", "--checkpoint", "fast", *options]

    def restore(self, target, *options):
        return [*self.base, "restore", "-D", target, "--jobs", "2", *options]

    def backups(self):
        """The ids, oldest first."""
        said = subprocess.run([str(part) for part in (*self.base, "list", "--output", "json")],
                              check=True, text=True, stdout=subprocess.PIPE).stdout
        return sorted(backup["id"] for backup in json.loads(said)["backups"])

    def push(self, path):
        return [*self.base, "archive-push", path]

    def get(self, name, path):
        return [*self.base, "archive-get", name, path]


class PgBackRest(_Archiver):
    leftovers = ("repository", "lock", "spool")
    archive = "archive"
    config = """[global]
repo1-path={work}/{name}-repository
repo1-cipher-type=aes-256-cbc
repo1-cipher-pass=a-pass-phrase-of-the-benchmark-only
compress-type=zst
compress-level=1
log-path={work}
lock-path={work}/{name}-lock
spool-path={work}/{name}-spool
log-level-console=warn
log-level-file=off

[bench]
pg1-path={data}
pg1-socket-path={sockets}
pg1-port={port}
pg1-user=postgres
"""

    def __init__(self, work, server, name="pgbackrest"):
        self.base = [pathlib.Path(PGBACKREST), f"--config={work}/{name}.conf", "--stanza=bench"]
        super().__init__(work, server, name)

    def make(self):
        self._run([*self.base, "stanza-create"])

    # Of 2.45 only with --beta.
    blocks = ("--beta", "--repo1-bundle", "--repo1-block")

    def backup(self, kind="full", *options):
        return [*self.base, "backup", f"--type={kind}", "--start-fast", "--process-max=2",
                *options]

    def restore(self, target, *options):
        return [*self.base, "restore", f"--pg1-path={target}", "--process-max=2", *options]

    def push(self, path):
        return [*self.base, "archive-push", path]

    def get(self, name, path):
        return [*self.base, "archive-get", name, path]
