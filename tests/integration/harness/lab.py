"""A test's own laboratory: servers and agents below one directory, all gone when it ends."""

import itertools
import os
import shutil
import signal
import subprocess
from pathlib import Path

from .agent import Agent
from .gone import discard
from .load import fill
from .postgres import (BASE_SETTINGS, Postgres, clean_environment, initdb, once, run, template,
                       write_settings)
from .wait import PATIENCE, TimedOut, until


def running_below(root):
    """Process ids whose working directory lies below root: postmasters, their children, ours."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            cwd = os.readlink(entry / "cwd")
        except OSError:
            continue
        if cwd == str(root) or cwd.startswith(f"{root}/"):
            found.append(int(entry.name))
    return found


def filled_template(empty, major, scale, bulk_mb):
    """A copy of the template `empty` with load.fill()'s tables, made once and stopped cleanly."""
    def make(place):
        run(["cp", "-a", empty, place])
        sockets = Path(f"{place}.s")
        sockets.mkdir(exist_ok=True)
        server = Postgres(major, place, sockets, 5432)
        server.options = [f"-c {name}={value}" for name, value in {
            "listen_addresses": "''", "fsync": "off", "wal_level": "minimal",
            "max_wal_senders": "0", "wal_recycle": "off"}.items()]
        server.start()
        fill(server, scale, bulk_mb)
        server.sql("CHECKPOINT")
        server.stop()

    return once(Path(f"{empty}-{scale}-{bulk_mb}"), make)


class Lab:
    def __init__(self, root, templates, first_port):
        self.root = Path(root)
        self.templates = templates
        self.yard = self.root.parent / "gone"
        self.ports = itertools.count(first_port)
        self.names = itertools.count(1)
        self.servers = []

    def place(self, stem):
        """A path below the laboratory that does not exist yet; short, for the sockets' sake."""
        return self.root / f"{stem}{next(self.names)}"

    def port(self):
        return next(self.ports)

    def server(self, major, segsize=16, checksums=True, fresh=False, filled=None, start=True,
               options=(), outside_conf=False, **settings):
        """A new server.  fresh: a system identifier of its own; outside_conf: as Debian does it.

        filled: (scale, bulk_mb), with what load.fill() makes of them already there.
        """
        data = self.place("d")
        if fresh:
            initdb(major, data, segsize, checksums)
        else:
            source = template(self.templates, major, segsize, checksums)
            run(["cp", "-a", filled_template(source, major, *filled) if filled else source, data])
        conf_dir = data
        if outside_conf:
            conf_dir = self.place("etc")
            conf_dir.mkdir()
            for name in ("postgresql.conf", "pg_hba.conf", "pg_ident.conf"):
                shutil.move(data / name, conf_dir / name)
            write_settings(conf_dir / "postgresql.conf", {
                "data_directory": data, "hba_file": conf_dir / "pg_hba.conf",
                "ident_file": conf_dir / "pg_ident.conf"})
            options = [*options, f"-c config_file={conf_dir}/postgresql.conf"]
        sockets = self.place("s")
        sockets.mkdir()
        port = self.port()
        write_settings(conf_dir / "postgresql.conf", {
            **BASE_SETTINGS, "unix_socket_directories": sockets, "port": port, **settings})
        made = Postgres(major, data, sockets, port, options, conf_dir)
        self.servers.append(made)
        return made.start() if start else made

    def agent(self, server, **kwargs):
        return Agent(self.place("a"), server, **kwargs)

    def protected(self, major, scale=2, bulk_mb=0, agent_settings=None, **server_settings):
        """(server, agent): filled, initialised, archiving."""
        server = self.server(major, filled=(scale, bulk_mb), **server_settings)
        agent = self.agent(server, **(agent_settings or {}))
        agent.protect()
        return server, agent

    def attach(self, data, server):
        """The clone that `restore --start` left running in `data`."""
        clone = Postgres.attach(data, server.major)
        for log in (Path(data) / "log", Path(data)):
            logs = sorted(log.glob("*.log")) if log.is_dir() else []
            if logs:
                clone.log = logs[-1]
                break
        self.servers.append(clone)
        return clone

    def start_command(self, document):
        """Types the start command that restore printed: (was pg_ctl content, its output)."""
        log = self.place("log")
        with open(log, "w", encoding="utf-8") as out:
            done = subprocess.run(["sh", "-c", document["start_command"]], cwd=self.root,
                                  stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                                  env=clean_environment(), timeout=90 * PATIENCE, check=False)
        return done.returncode == 0, log

    def start_by_hand(self, document, target, server):
        """The clone in `target`, started as restore said."""
        good, log = self.start_command(document)
        assert good, log.read_text(encoding="utf-8")
        return self.attach(target, server)

    def logs(self):
        """The ends of the servers' logs, for the report of a failure."""
        return [(server.log.name, server.log_tail()) for server in self.servers]

    def close(self):
        # SIGQUIT first: a postmaster that is only killed leaves its shared memory behind.
        for number in (signal.SIGQUIT, signal.SIGKILL):
            for process in running_below(self.root):
                try:
                    os.kill(process, number)
                except ProcessLookupError:
                    pass
            try:
                until("the laboratory's processes to end",
                      lambda: not running_below(self.root), 10)
                break
            except TimedOut:
                continue
        for path in [self.root, *self.root.rglob("*")]:
            if path.is_dir() and not path.is_symlink():
                path.chmod(0o700)
        discard(self.root, self.yard)
