"""A backup restored as it was, and judged: its files by their manifest, its rows by their hashes."""

from . import judges
from .gone import discard
from .wait import until


def restored_whole(lab, server, agent, backup, rows, tablespaces=False, target=None, args=()):
    """Restores to the end of the backup, into a fresh directory unless `target` names one.

    rows: the fingerprint from when it was taken.  tablespaces: the backup has some; they go to a
    new place.  Returns the clone, running; forget() ends it.
    """
    target, below = target or lab.place("r"), lab.place("all")
    document = agent.restore(target, "--backup", backup["id"], "--to-backup-end", "--action",
                             "promote", "--tablespace-dir", below, *args)
    assert document["backup"] == backup["id"]
    judges.verifybackup(target, server.major, lab.root,
                        changed=["tablespace_map"] if tablespaces else [])
    judges.manifest(target, backup)
    clone = lab.start_by_hand(document, target, server)
    until("promotion", lambda: clone.sql("SELECT pg_is_in_recovery()") == "f")
    judges.same_rows(rows, judges.fingerprint(clone))
    return clone


def forget(lab, clone, keep=False):
    """Stops it and removes its directory, so that many restores need the room of one."""
    clone.stop("immediate")
    lab.servers.remove(clone)
    if not keep:
        discard(clone.data, lab.yard)
