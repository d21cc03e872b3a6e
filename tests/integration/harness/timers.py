"""The host of systemd/: what its services start."""

import re
from pathlib import Path

from .agent import program

TREE = Path(__file__).parents[3]


def setting(text, name):
    """All values of NAME= in a unit, in order."""
    return re.findall(rf"^{name}=(.*)$", text, re.M)


class Unit:
    """pgagent-NAME@instance.service."""

    def __init__(self, name, instance):
        unit = TREE / "systemd" / f"pgagent-{name}@.service.in"
        service = unit.read_text(encoding="utf-8").replace(
            "@PGAGENT_PROGRAM@", str(program())).replace("%i", instance)
        self.environment = dict(pair.split("=", 1) for line in setting(service, "Environment")
                                for pair in line.split())
        self.commands = [re.sub(r"\$\{(\w+)\}", lambda m: self.environment[m[1]], line).split()
                         for line in setting(service, "ExecStart")]
