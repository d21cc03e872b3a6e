"""A standby that streams from its primary, and waiting for it."""

from .postgres import Postgres, run, write_settings
from .wait import until


def standby_of(lab, primary):
    """A standby that streams from it, made of its directory while it was down."""
    data, sockets, port = lab.place("d"), lab.place("s"), lab.port()
    primary.stop()
    run(["cp", "-a", primary.data, data])
    primary.start()
    sockets.mkdir()
    write_settings(data / "postgresql.conf", {
        "unix_socket_directories": sockets, "port": port, "hot_standby": "on",
        "primary_conninfo": f"host={primary.sockets} port={primary.port} user=postgres"})
    (data / "standby.signal").touch()
    made = Postgres(primary.major, data, sockets, port)
    lab.servers.append(made)
    return made.start()


def caught_up(primary, standby):
    # Written now, since behind the switch of a segment nothing is that could be replayed.
    last = primary.sql("SELECT pg_logical_emit_message(true, 'test', 'x')")
    until("the standby to have it all", lambda: standby.sql(
        f"SELECT pg_last_wal_replay_lsn() >= '{last}'") == "t")


def replayed(primary, standby):
    """All of it, with a restart point behind it: that is where a backup of the standby starts."""
    primary.sql("CHECKPOINT")
    primary.archive_all()
    caught_up(primary, standby)
    standby.sql("CHECKPOINT")
