"""Nine weeks of a host on which nothing is enabled but the timers of systemd/, the first month with nights when
things go wrong."""

import signal
from collections import namedtuple
from datetime import datetime, timedelta, timezone

import pytest

from harness import judges
from harness.agent import program
from harness.clock import Clock
from harness.kill import NO_LEAKS, strace
from harness.restored import forget
from harness.timers import Run, Unit
from harness.wait import until

pytestmark = [pytest.mark.only(18), pytest.mark.timeout(1200)]

UNITS = ("backup", "copy", "verify", "expire")
# A Monday; the end of a February with 29 days.
START = datetime(2024, 2, 12, 12, tzinfo=timezone.utc)
NIGHTS = 64
DAY, WINDOW = timedelta(days=1), timedelta(days=7)
# Three weeks, so that one backup from before the window stays.  Pages are stored again soon, as otherwise a
# pack stays until each of its pages has changed.
POLICY = {"retain_window": "7d", "retain_daily": "7", "retain_weekly": "3", "retain_monthly": "1",
          "retain_yearly": "0", "expire_grace": "24h", "refresh_period": "7d"}
# By then three weeks are kept, and the backups that are missing from the last bad nights would be gone; from there
# on as much goes as comes.  The random delays of the timers decide whether the grace of one more backup is over in the
# morning; it is one of about ten.  Without pruning it is half as much again by the end.
SETTLED = 36
GROWTH_MAX = 1.25
# What stays of a removed backup, for 400 days: that it was hidden, how that ended, its tombstone.
RECORDS_EACH, RECORD_BYTES = 3, 1024

Mark = namedtuple("Mark", "time rows evening")
Size = namedtuple("Size", "files bytes directories records record_bytes")


@pytest.fixture
def clock(lab, monkeypatch):
    if b"libasan" in program().read_bytes():
        pytest.skip("AddressSanitizer has to be loaded before all others, which libfaketime has to be, too")
    made = Clock(lab.root, START, monkeypatch).begin()
    yield made
    for server in lab.servers:
        server.stop("immediate")
    made.end()


class Host:
    """Two repositories; as README says it where the second must not slow the server down."""

    def __init__(self, lab, clock, major):
        self.lab, self.clock = lab, clock
        home = lab.place("h")
        home.mkdir()
        self.places = {name: home / name for name in ("local", "offsite")}
        # A backup of a unit waits for a spread checkpoint: this one spreads it over nothing.
        self.server = lab.server(major, checkpoint_completion_target="0")
        self.agent = lab.agent(self.server, **POLICY, repos={
            name: {"path": place, "key_file": home / f"{name}.key"}
            for name, place in self.places.items()}).protect()
        self.agent.cluster["repos"] = "local"
        self.agent.write_config()
        clock.watched = [*self.places.values(), self.agent.home]
        self.away = home / "away"
        self.units = {name: Unit(name, "main") for name in UNITS}
        self.due = [(t, name) for name, unit in self.units.items() for t in unit.times(START, NIGHTS)]
        assert all(unit.is_made_up_for for unit in self.units.values())
        self.marks, self.sizes = {}, []
        self.server.sql("CREATE TABLE account AS SELECT i AS id, 0 AS day, md5(i::text) AS balance "
                        "FROM generate_series(1, 20000) i; ALTER TABLE account ADD PRIMARY KEY (id);"
                        "CREATE TABLE journal (day int, line text)")

    def work(self, day):
        """A day's work: as much comes as goes.  What is marked at noon is what a restore to then has to show."""
        self.clock.move_to(START + day * DAY)
        self.server.sql(f"UPDATE account SET day = {day}, balance = md5(random()::text) "
                        f"WHERE id % 7 = {day} % 7; DELETE FROM journal WHERE day < {day} - 5;"
                        f"INSERT INTO journal SELECT {day}, md5(random()::text) "
                        "FROM generate_series(1, 3000)")
        self.server.sql("VACUUM account, journal")
        moment, rows = self.server.sql("SELECT clock_timestamp()"), judges.fingerprint(self.server)
        self.clock.move_to(START + day * DAY + timedelta(hours=6))
        self.server.sql(f"INSERT INTO journal VALUES ({day}, 'after the mark')")
        self.server.archive_all()
        self.marks[day] = Mark(datetime.fromisoformat(moment), rows, judges.fingerprint(self.server))

    # --- nights: each answers how many it took ------------------------------------------------

    def quiet(self, day, **special):
        """What the timers start until the next noon.  special: what to do instead of a unit of that name."""
        for when, name in sorted(t for t in self.due if START + day * DAY < t[0] < START + day * DAY + DAY):
            self.clock.move_to(when)
            if name in special:
                special[name](self.units[name])
            else:
                self.well(Run(self.units[name], self.agent))
        self.after()
        return 1

    @staticmethod
    def well(run):
        done = run.result()
        assert done.code == 0, str(done)

    def offsite_is_away(self, day):
        def copy(unit):
            self.places["offsite"].rename(self.away)
            done = Run(unit, self.agent).result()
            self.away.rename(self.places["offsite"])
            assert done.code == 1 and "offsite" in done.err, str(done)

        return self.quiet(day, copy=copy)

    def server_is_down(self, day):
        def backup(unit):
            before = self.agent.backups()
            done = Run(unit, self.agent).result()
            assert done.code == 1 and "connect" in done.err, str(done)
            assert self.agent.backups() == before

        self.server.stop()
        taken = self.quiet(day, backup=backup)
        self.server.start()
        return taken

    def backup_is_killed(self, day):
        def backup(unit):
            wrap = strace(self.lab, "link,linkat:error=EIO:signal=SIGKILL:when=3")
            done = Run(unit, self.agent, wrap, NO_LEAKS).result()
            assert done.code in (-signal.SIGKILL, 128 + signal.SIGKILL), str(done)

        return self.quiet(day, backup=backup)

    def host_is_off(self, day):
        """Two nights, and a day without work; then all that was missed is started at once."""
        self.server.stop()
        self.clock.move_to(START + day * DAY + timedelta(hours=44.5))
        self.server.start()
        runs = {}
        for unit in sorted(self.units.values(), key=lambda unit: len(unit.after)):
            for name in unit.after:
                self.well(runs[name])
            runs[unit.name] = Run(unit, self.agent)
        for run in runs.values():
            self.well(run)
        self.after()
        return 2

    def after(self):
        """Nothing is left of a night but what it stored."""
        if self.server.answers():
            until("the slots to be gone", lambda: self.server.sql(
                "SELECT count(*) FROM pg_replication_slots") == "0", 10)
        self.clock.settle()
        self.sizes.append({name: size_of(place) for name, place in self.places.items()})
        size = size_of(self.agent.home)
        assert size.files <= 10 and size.bytes < 1 << 16, f"{size} in {self.agent.home}"

    # --- what it was good for -----------------------------------------------------------------

    def look_back(self):
        """Each day of the window comes back, from either repository; so does what is kept from before it."""
        backups = sorted((datetime.fromisoformat(b["finished_at"]), b) for b in self.agent.backups())
        began, anchor = [b for b in backups if b[0] <= backups[-1][0] - WINDOW][-1]
        (window,) = self.agent.json("list")["windows"]
        assert all(lsn(gap["to_lsn"]) <= lsn(anchor["stop_lsn"]) for gap in window["gaps"]), window
        inside = [mark for mark in self.marks.values() if mark.time >= began]
        assert len(inside) >= 6
        for mark in inside:
            self.comes_back(mark.rows, "--to-time", mark.time.isoformat())
        for mark in inside[0], inside[-1]:
            self.comes_back(mark.rows, "--to-time", mark.time.isoformat(), "--repo", "offsite")
        for taken, backup in backups:
            if taken < began:
                evening = [m.evening for m in self.marks.values() if m.time < taken][-1]
                self.comes_back(evening, "--backup", backup["id"], "--to-backup-end")
        refused = self.agent.run("restore", "-D", self.lab.place("r"), "--to-time",
                                 self.marks[0].time.isoformat(), expect=3)
        assert backups[0][1]["id"] in refused.err, str(refused)  # the nearest
        for repo in self.places:
            self.agent.run("--repo", repo, "verify", "--all")

    def bounded(self):
        """In the last week nothing is more than in the first one in which as much went as came, but the records of
        what was removed."""
        for name in self.places:
            then, now = [{figure: max(getattr(size[name], figure) for size in week) for figure in Size._fields}
                         for week in (self.sizes[SETTLED:SETTLED + 7], self.sizes[-7:])]
            told = f"{name}: {then}, {now}, {[s[name] for s in self.sizes]}"
            assert now["records"] <= RECORDS_EACH * NIGHTS, told
            assert now["record_bytes"] <= RECORD_BYTES * now["records"], told
            assert all(now[figure] <= GROWTH_MAX * then[figure]
                       for figure in ("files", "bytes", "directories")), told

    def comes_back(self, rows, *args):
        target = self.lab.place("r")
        self.agent.restore(target, *args, "--action", "promote", "--start")
        clone = self.lab.attach(target, self.server)
        until("the clone to be promoted", lambda: clone.sql("SELECT pg_is_in_recovery()") == "f")
        judges.same_rows(rows, judges.fingerprint(clone))
        forget(self.lab, clone)


def lsn(text):
    high, low = (int(part, 16) for part in text.split("/"))
    return high << 32 | low


def size_of(place):
    found = [p for p in place.rglob("*") if p.is_file()]
    records = [p for p in found if p.parent.name in ("hidden", "tombs")]
    files, bytes_of_records = len(found) - len(records), sum(p.stat().st_size for p in records)
    return Size(files, sum(p.stat().st_size for p in found) - bytes_of_records,
                sum(p.is_dir() for p in place.rglob("*")), len(records), bytes_of_records)


# By the day that ends with that night; the others are quiet.
BAD = {4: Host.offsite_is_away, 6: Host.server_is_down, 8: Host.backup_is_killed, 10: Host.host_is_off,
       12: Host.offsite_is_away, 24: Host.backup_is_killed, 26: Host.offsite_is_away,
       27: Host.server_is_down}


def test_a_month_of_timers_alone(lab, major, clock):
    host = Host(lab, clock, major)
    day = 0
    while day < NIGHTS:
        host.work(day)
        day += BAD.get(day, Host.quiet)(host, day)
        if day == 14:
            host.look_back()
    host.look_back()
    host.bounded()
