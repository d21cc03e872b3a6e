"""A real PostgreSQL server in a directory of the test, reachable by its Unix socket only."""

import fcntl
import os
import shutil
import signal
import subprocess
from pathlib import Path

from .wait import PATIENCE, until

DEBIAN_BIN = Path("/usr/lib/postgresql/15/bin")
NPM_SERVERS = Path(os.environ.get("PGAGENT_SERVERS", "/var/cache/pgagent-test"))

# fsync is off since no test here cuts the power of the server; everything else is as in production.
BASE_SETTINGS = {
    "listen_addresses": "",
    "fsync": "off",
    "shared_buffers": "32MB",
    "max_connections": "40",
    "max_wal_senders": "10",
    "max_replication_slots": "10",
    "track_commit_timestamp": "on",
    "archive_mode": "on",
    "archive_command": "",
    "log_line_prefix": "%m [%p] %b ",
    "autovacuum_naptime": "5s",
}


def bindir(major):
    """Where postgres, initdb and pg_ctl of that major version lie."""
    return DEBIAN_BIN if major == 15 else NPM_SERVERS / f"pg{major}" / "bin"


def clean_environment(extra=None):
    """The environment for every child: nothing of the caller's libpq or pgagent settings."""
    kept = {k: v for k, v in os.environ.items()
            if not (k.startswith("PG") and k not in ("PGAGENT_SERVERS",))}
    kept.update({"LC_ALL": "C.UTF-8", "TZ": "UTC"})
    kept.update(extra or {})
    return kept


def run(command, check=True, env=None, timeout=120, **kwargs):
    """Runs a tool; a failure carries what it wrote."""
    done = subprocess.run([str(c) for c in command], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          env=clean_environment(env), timeout=timeout * PATIENCE, **kwargs)
    if check and done.returncode != 0:
        raise AssertionError(f"{' '.join(map(str, command))}: exit {done.returncode}\n"
                             f"{done.stdout}{done.stderr}")
    return done


def conf_quote(value):
    return "'" + str(value).replace("'", "''") + "'"


def write_settings(path, settings):
    with open(path, "a", encoding="utf-8") as conf:
        for name, value in settings.items():
            conf.write(f"{name} = {conf_quote(value)}\n")


def initdb(major, data, segsize=16, checksums=True):
    """checksums: True, False, or None for what that version does by itself."""
    command = [bindir(major) / "initdb", "-D", data, "-U", "postgres", "-A", "trust",
               "--no-locale", "-E", "UTF8", "--no-sync", f"--wal-segsize={segsize}"]
    if checksums:
        command.append("--data-checksums")
    elif checksums is not None and major >= 18:
        command.append("--no-data-checksums")
    run(command)


def once(place, make):
    """`place`, which make(a directory to be) has made once for all workers of the session."""
    place.parent.mkdir(parents=True, exist_ok=True)
    with open(f"{place}.lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not place.is_dir():
            half = Path(f"{place}.half")
            shutil.rmtree(half, ignore_errors=True)
            make(half)
            half.rename(place)
    return place


def template(root, major, segsize, checksums):
    """A data directory made once for all tests (all workers) of the session.

    Copies of it share one system identifier, as copies made by a file system snapshot would.
    """
    kind = {True: "c", False: "n", None: "d"}[checksums]
    return once(Path(root) / f"{major}-{segsize}-{kind}",
                lambda place: initdb(major, place, segsize, checksums))


class Postgres:
    """One server.  `data` is its data directory, `sockets` the directory of its socket."""

    def __init__(self, major, data, sockets, port, options=(), conf_dir=None):
        self.major = major
        self.data = Path(data)
        self.sockets = Path(sockets)
        self.port = port
        self.options = list(options)
        self.conf_dir = Path(conf_dir) if conf_dir else self.data
        self.log = Path(f"{self.data}.log")

    @property
    def bin(self):
        return bindir(self.major)

    @classmethod
    def attach(cls, data, major, log=None):
        """A running server that somebody else started: address from its postmaster.pid."""
        lines = (Path(data) / "postmaster.pid").read_text(encoding="utf-8").splitlines()
        server = cls(major, data, lines[4], int(lines[3]))
        if log:
            server.log = Path(log)
        return server

    # --- life -------------------------------------------------------------------------------

    def pg_ctl(self, *args, check=True, timeout=120):
        return run([self.bin / "pg_ctl", "-D", self.data, *args], check=check,
                   timeout=timeout, cwd=self.data.parent)

    def start(self, wait=True):
        self.sockets.mkdir(parents=True, exist_ok=True)
        options = " ".join([f"-k {self.sockets}", f"-p {self.port}", *self.options])
        done = self.pg_ctl("-l", self.log, "-o", options, "-t", "90",
                           "-w" if wait else "-W", "start", check=False)
        if wait and done.returncode != 0:
            raise AssertionError(f"server did not start: {done.stdout}{done.stderr}\n"
                                 f"{self.log_tail()}")
        return self

    def stop(self, mode="fast"):
        if self.pid() is not None:
            self.pg_ctl("-m", mode, "-w", "-t", "90", "stop")

    def restart(self):
        self.stop()
        return self.start()

    def reload(self):
        self.pg_ctl("reload")

    def pid(self):
        """The postmaster's process id, or None when none is running."""
        try:
            number = int((self.data / "postmaster.pid").read_text(encoding="utf-8").split()[0])
            os.kill(number, 0)
            return number
        except (FileNotFoundError, ProcessLookupError, IndexError, ValueError):
            return None

    def kill(self):
        """As a crash: the postmaster is killed, its children follow."""
        number = self.pid()
        if number is not None:
            os.kill(number, signal.SIGKILL)
            until("the killed server to be gone", lambda: self.pid() is None)

    def log_tail(self, lines=40):
        if not self.log.exists():
            return f"(no log {self.log})"
        text = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        return "\n".join(text[-lines:])

    # --- configuration ----------------------------------------------------------------------

    def configure(self, **settings):
        """Adds to postgresql.conf; takes effect at the next start or reload."""
        write_settings(self.conf_dir / "postgresql.conf", settings)

    def set(self, **settings):
        """ALTER SYSTEM SET and reload, then waits until the server has read it."""
        for name, value in settings.items():
            self.sql(f"ALTER SYSTEM SET {name} = {conf_quote(value)}")
        self.sql("SELECT pg_reload_conf()")
        for name, value in settings.items():
            until(f"{name} to be read", lambda n=name, v=value: self.sql(
                f"SELECT setting = {conf_quote(v)} OR pending_restart FROM pg_settings "
                f"WHERE name = {conf_quote(n)}") == "t")

    @property
    def conninfo(self):
        return f"host={self.sockets} port={self.port} user=postgres dbname=postgres"

    # --- SQL --------------------------------------------------------------------------------

    def psql(self, sql, db="postgres", user="postgres", check=True, timeout=120, options=None):
        env = {"PGOPTIONS": options} if options else None
        return run([DEBIAN_BIN / "psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-h", self.sockets,
                    "-p", self.port, "-U", user, "-d", db, "-c", sql],
                   check=check, timeout=timeout, env=env)

    def sql(self, sql, **kwargs):
        """The unaligned output of the statement(s), without the last newline."""
        return self.psql(sql, **kwargs).stdout.rstrip("\n")

    def rows(self, sql, **kwargs):
        return [line.split("|") for line in self.sql(sql, **kwargs).splitlines()]

    def answers(self):
        return self.pid() is not None and self.psql("SELECT 1", check=False).returncode == 0

    # --- WAL and identity -------------------------------------------------------------------

    def system_identifier(self):
        return self.sql("SELECT system_identifier FROM pg_control_system()")

    def timeline(self):
        """The timeline being written, or replayed by a standby."""
        return int(self.sql(
            "SELECT CASE WHEN pg_is_in_recovery() THEN "
            "(SELECT min_recovery_end_timeline FROM pg_control_recovery()) ELSE "
            "('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int END"))

    def lsn(self):
        return self.sql("SELECT pg_current_wal_insert_lsn()")

    def switch_segment(self):
        """Finishes the open segment (never an empty one) and returns its name."""
        return self.sql(
            "SELECT pg_logical_emit_message(false, 'test', 'x'); "
            "SELECT pg_walfile_name(pg_switch_wal())").splitlines()[-1]

    def is_archived(self, segment):
        """Told by the archiver's own marks, since statistics name .backup files too."""
        status = self.data / "pg_wal" / "archive_status"
        return not (status / f"{segment}.ready").exists() and (
            (status / f"{segment}.done").exists() or
            not (self.data / "pg_wal" / segment).exists())

    def archive_all(self, seconds=60):
        """Finishes the open segment and waits until the archiver has delivered it."""
        segment = self.switch_segment()
        until(f"{segment} to be archived", lambda: self.is_archived(segment), seconds)
        return segment

    def archiver_rests(self, seconds=60):
        """Waits until the archiver has delivered all it was given: a backup that has just returned
        leaves it a segment and a .backup file."""
        status = self.data / "pg_wal" / "archive_status"
        until("the archiver to have nothing left", lambda: not any(status.glob("*.ready")), seconds)

    def control(self):
        """pg_controldata as a dict (any major: only Debian's tool for 15, SQL for the others)."""
        if self.major == 15:
            text = run([DEBIAN_BIN / "pg_controldata", "-D", self.data]).stdout
            pairs = (line.split(":", 1) for line in text.splitlines() if ":" in line)
            return {name.strip(): value.strip() for name, value in pairs}
        raise AssertionError("pg_controldata exists for 15 only")
