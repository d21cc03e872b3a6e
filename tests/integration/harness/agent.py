"""The program under test with a configuration of its own: one cluster, one or more repositories."""

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from .postgres import bindir, clean_environment
from .wait import PATIENCE

# A child begins with the peak of the process it was forked from, and a test may hold half a GiB: so a
# small process stands in between.
MEASURE = """
import resource, subprocess, sys
code = subprocess.call(sys.argv[2:])
with open(sys.argv[1], "w") as peak:
    peak.write(str(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss))
sys.exit(code)
"""
FORBIDDEN = re.compile(r"AddressSanitizer|LeakSanitizer|runtime error:|Assertion .* failed")


def program():
    path = os.environ.get("PGAGENT")
    assert path, "PGAGENT must name the program to test (tests/run.sh sets it)"
    return Path(path)


class Result:
    def __init__(self, command, code, out, err):
        self.command, self.code, self.out, self.err = command, code, out, err

    def __str__(self):
        return (f"{' '.join(self.command)}: exit {self.code}\n--- stdout\n{self.out[-4000:]}"
                f"\n--- stderr\n{self.err[-4000:]}")

    def json(self):
        """The one document on stdout; anything beside it is a failure."""
        try:
            return json.loads(self.out)
        except ValueError as error:
            raise AssertionError(f"stdout is not one JSON document ({error}): {self}") from None


class Agent:
    """`home` gets the configuration, key files, state, spool and (by default) the repository."""

    def __init__(self, home, server, repos=None, **cluster_settings):
        self.home = Path(home)
        self.server = server
        self.config = self.home / "pgagent.conf"
        self.repo = self.home / "repo"
        self.key = self.home / "local.key"
        self.repos = repos or {"local": {"path": self.repo, "key_file": self.key}}
        self.cluster = {
            "conninfo": server.conninfo if server else "host=/nowhere",
            "repos": ", ".join(self.repos),
            "compression": "zstd:1",
            "archive_get_timeout": "2s",
            "archive_wait": "30s",
            **cluster_settings,
        }
        self.home.mkdir(parents=True, exist_ok=True)
        self.write_config()

    def write_config(self):
        lines = ["[global]", f"state_directory = {self.home}/state",
                 f"spool_directory = {self.home}/spool"]
        for name, settings in self.repos.items():
            lines += ["", f"[repo:{name}]"]
            for key, value in {"type": "posix", "encryption": "aes-256-gcm", **settings}.items():
                lines.append(f"{key} = {value}")
        lines += ["", "[cluster:main]"]
        lines += [f"{key} = {value}" for key, value in self.cluster.items()]
        self.config.write_text("\n".join(lines) + "\n", encoding="utf-8")
        self.config.chmod(0o600)
        for name in ("state", "spool"):
            (self.home / name).mkdir(mode=0o700, exist_ok=True)

    def command(self, *args, config=True):
        head = [str(program())]
        if config:
            head += ["--config", str(self.config)]
        return head + [str(a) for a in args]

    def environment(self, extra=None):
        # The server's programs are found as a DBA's shell would find them.
        env = clean_environment()
        major = self.server.major if self.server else 15
        env["PATH"] = f"{bindir(major)}:{env.get('PATH', '/usr/bin:/bin')}"
        env.update(extra or {})
        return env

    def popen(self, *args, config=True, env=None, cwd=None, **kwargs):
        return subprocess.Popen(self.command(*args, config=config), stdin=subprocess.DEVNULL,
                                env=self.environment(env), cwd=cwd or self.home, **kwargs)

    def run(self, *args, expect=0, config=True, env=None, cwd=None, timeout=180, wrap=()):
        """Runs the program (below `wrap`, if given) and asserts the exit code.

        expect: a number, a collection of numbers, or None for "whatever".
        """
        command = [str(w) for w in wrap] + self.command(*args, config=config)
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, errors="replace",
                              env=self.environment(env), cwd=cwd or self.home,
                              timeout=timeout * PATIENCE)
        result = Result(command, done.returncode, done.stdout, done.stderr)
        assert not FORBIDDEN.search(result.err), str(result)
        if expect is not None:
            wanted = [expect] if isinstance(expect, int) else list(expect)
            assert result.code in wanted, f"expected exit {wanted}; {result}"
        return result

    def measured(self, *args, timeout=180):
        """As run() for a success: (result, seconds, peak of resident memory in bytes)."""
        began = time.monotonic()
        with tempfile.NamedTemporaryFile("r") as peak:
            wrap = [sys.executable, "-S", "-c", MEASURE, peak.name]
            result = self.run(*args, timeout=timeout, wrap=wrap)
            return result, time.monotonic() - began, int(peak.read()) << 10

    def json(self, *args, expect=0, **kwargs):
        """As run(), with the JSON document as the answer."""
        document = self.run(*args, "--output", "json", expect=expect, **kwargs).json()
        assert document["schema"] == "pgagent.v1", document
        assert document["command"] == args[0], document
        return document

    # --- the common verbs -------------------------------------------------------------------

    def init(self):
        return self.run("init", "--yes")

    def archive_command(self):
        return f'"{program()}" --config "{self.config}" archive-push "%p"'

    def protect(self):
        """init, and the server archives into the repository from now on."""
        self.init()
        self.server.set(archive_command=self.archive_command())
        return self

    def backup(self, *args, expect=0, **kwargs):
        return self.json("backup", "--checkpoint", "fast", *args, expect=expect, **kwargs)

    def restore(self, target, *args, expect=0, **kwargs):
        return self.json("restore", "-D", target, *args, expect=expect, **kwargs)

    def backups(self):
        return self.json("list")["backups"]

    # --- the repository as files ------------------------------------------------------------

    def objects(self, root=None):
        """Every file of the repository, relative, sorted."""
        root = Path(root or self.repo)
        return sorted(p.relative_to(root) for p in root.rglob("*") if p.is_file())

    def stored_segment(self, segment):
        """The whole-segment object of that name."""
        found = [p for p in self.repo.rglob(segment) if p.is_file() and "wal" in p.parts]
        assert len(found) == 1, f"{segment}: {found} among {self.objects()}"
        return found[0]

    def has_segment(self, segment):
        return any(p.is_file() and "wal" in p.parts for p in self.repo.rglob(segment))
