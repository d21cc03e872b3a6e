"""Which packs a repository's backups refer to, as told by the independent reader."""

import importlib.util
from pathlib import Path

READER = Path(__file__).parents[2] / "reader" / "reader.py"


def load_reader():
    spec = importlib.util.spec_from_file_location("reader", READER)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def packs_needed(agent):
    """{path in the repository} of all packs in the tables of all backups, whole or an error."""
    reader = load_reader()
    repository = reader.Repository(agent.repo, reader.secret_of(1, agent.key))
    needed = set()
    for place in repository.places(None):
        for attempt in repository.names(place, "backups"):
            if backup := repository.backup(place, attempt):
                needed |= {backup.pack_key(*pack[:2]) for pack in backup.packs}
    return needed


def packs_there(agent):
    """Without temporaries: those of a killed process are no objects, and go after a while."""
    return {str(o) for o in agent.objects() if "packs" in o.parts and not o.name.startswith(".tmp-")}
