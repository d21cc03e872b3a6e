"""The host of systemd/: its timers say when, its services what; a test stands for systemd itself."""

import random
import re
import shlex
import subprocess
from datetime import datetime, timedelta, timezone
from pathlib import Path

from .agent import FORBIDDEN, Result, program
from .postgres import clean_environment
from .wait import PATIENCE

TREE = Path(__file__).parents[3]
SECONDS = {"s": 1, "min": 60, "h": 3600}


def setting(text, name):
    """All values of NAME= in a unit, in order."""
    return re.findall(rf"^{name}=(.*)$", text, re.M)


def elapses(calendar, start, count):
    """The next `count` times of an OnCalendar= after `start`, as systemd reckons them."""
    done = subprocess.run(
        ["systemd-analyze", "calendar", f"--iterations={count}",
         f"--base-time={start:%Y-%m-%d %H:%M:%S} UTC", calendar],
        env=clean_environment(), capture_output=True, text=True, timeout=60, check=True)
    found = re.findall(r"(?:Next elapse|Iter\. *#\d+): \w+ (\S+ \S+) UTC", done.stdout)
    assert len(found) == count, done.stdout
    return [datetime.strptime(t, "%Y-%m-%d %H:%M:%S").replace(tzinfo=timezone.utc) for t in found]


class Unit:
    """pgagent-NAME@instance: its service, with what a drop-in adds to it, and its timer."""

    def __init__(self, name, instance, drop_in=""):
        place = TREE / "systemd" / f"pgagent-{name}@"
        service = Path(f"{place}.service.in").read_text(encoding="utf-8").replace(
            "@PGAGENT_PROGRAM@", str(program())).replace("%i", instance) + drop_in
        self.name = name
        self.timer = Path(f"{place}.timer").read_text(encoding="utf-8")
        self.after = re.findall(r"\bpgagent-(\w+)@", " ".join(setting(service, "After")))
        self.environment = dict(pair.split("=", 1) for line in setting(service, "Environment")
                                for pair in line.split())
        self.commands = [shlex.split(line.replace("$$", "$"))
                         for line in setting(service.replace("\\\n", ""), "ExecStart")]

    def times(self, start, count):
        """When it runs after `start`, each with its random delay; the same ones every time."""
        (calendar,) = setting(self.timer, "OnCalendar")
        (delay,) = setting(self.timer, "RandomizedDelaySec")
        number, span = re.fullmatch(r"(\d+)(\w+)", delay).groups()
        chance = random.Random(self.name)
        return [t + timedelta(seconds=chance.uniform(0, int(number) * SECONDS[span]))
                for t in elapses(calendar, start, count)]

    @property
    def of_pgagent(self):
        """Its calls of the program, those in a script for a shell, too."""
        calls = []
        for command in self.commands:
            parts = command[2].split(";") if command[0] == "/bin/sh" else [shlex.join(command)]
            calls += [shlex.split(part) for part in parts if str(program()) in part]
        return calls

    @property
    def is_made_up_for(self):
        """What was due while the machine was off is run when it is on again."""
        return setting(self.timer, "Persistent") == ["yes"]


class Run:
    """One start of a unit for an agent: its commands in order, none after one that failed."""

    def __init__(self, unit, agent, wrap=(), env=None):
        # The configuration lies elsewhere than on a real host, which a drop-in would say.
        self.env = agent.environment({**unit.environment, "PGAGENT_CONFIG": str(agent.config),
                                      **(env or {})})
        self.left = list(unit.commands)
        self.wrap, self.agent = list(wrap), agent
        self.process, self.done = self.begin(), None

    def begin(self):
        return subprocess.Popen(self.wrap + self.left.pop(0), cwd=self.agent.home, env=self.env,
                                text=True, errors="replace", stdin=subprocess.DEVNULL,
                                stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)

    def result(self):
        """That of the command that decided how it went.  Who went well has written nothing."""
        while self.done is None:
            _, err = self.process.communicate(timeout=180 * PATIENCE)
            done = Result(self.process.args, self.process.returncode, "", err)
            assert not FORBIDDEN.search(err) and (done.code != 0 or err == ""), str(done)
            if done.code != 0 or not self.left:
                self.done = done
            else:
                self.process = self.begin()
        return self.done
