"""Which timeline a target means: the one that was being written then, told by when each was born.

One server's life per major:

  1  rows 1 2 3; crashes with 3 in a segment that was never archived
  2  the standby that took over: rows 20 21 22
  3  restored in place to row 20: rows 30 31
  4, 5  two servers promoted from one: rows 40 41, and 50 51 between them
"""

import re
import shlex
import subprocess
from dataclasses import dataclass, field

import pytest

from harness.wait import until

SHARES_SERVER = True
pytestmark = pytest.mark.only(15, 18)

NOW = "to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US') || 'Z'"


@dataclass
class Row:
    timeline: int
    xid: str
    time: str
    lsn: str            # start of the commit record


@dataclass
class Life:
    lab: object
    server: object
    agent: object
    rows: dict = field(default_factory=dict)
    clock: dict = field(default_factory=dict)   # timeline -> when it cannot, and must have begun
    windows: dict = field(default_factory=dict)     # what list says of it

    def write(self, server, *numbers):
        for number in numbers:
            start = server.lsn()
            xid = server.sql(f"INSERT INTO rows VALUES ({number}) RETURNING pg_current_xact_id()")
            end = server.sql("SELECT pg_current_wal_flush_lsn()")
            time = server.sql(f"SELECT to_char(pg_xact_commit_timestamp('{xid}') AT TIME ZONE "
                              "'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US') || 'Z'")
            lsn = server.sql(
                f"SELECT start_lsn FROM pg_get_wal_records_info('{start}', '{end}') "
                f"WHERE xid = '{xid}' AND record_type LIKE 'COMMIT%'")
            self.rows[number] = Row(server.timeline(), xid, time, lsn)

    def promoted(self, server, timeline, before):
        until("promotion", lambda: server.sql("SELECT pg_is_in_recovery()") == "f")
        assert server.timeline() == timeline
        self.clock[timeline] = (before, server.sql(f"SELECT {NOW}"))

    def next_second(self, server):
        """Two births within one might be told by the same time."""
        last = max(after for _, after in self.clock.values())
        until("the second of the last birth to be over", lambda: server.sql(f"SELECT {NOW}")[:19] > last[:19])

    def plan(self, *args, expect=0):
        return self.agent.restore(self.lab.place("r"), *args, "--plan", expect=expect)

    def timeline(self, *args):
        return self.plan(*args)["target"]["timeline"]

    def restored(self, *args, command=None):
        """The rows of a copy that is paused at the target (or promoted), and its document."""
        target = self.lab.place("r")
        if command is None:
            self.agent.restore(target, *args, "--start")
        else:
            words = shlex.split(command)
            words[words.index("--pgdata") + 1] = str(target)
            words.remove("--plan")
            done = subprocess.run([*words, "--start"], cwd=self.agent.home, text=True,
                                  env=self.agent.environment(), capture_output=True, check=False)
            assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        clone = self.lab.attach(target, self.server)
        seen = clone.sql("SELECT coalesce(string_agg(i::text, ' ' ORDER BY i), '') FROM rows")
        clone.stop("immediate")
        return seen


@pytest.fixture(scope="module")
def life(shared_lab, major):
    lab = shared_lab
    server = lab.server(major, filled=(1, 0), autovacuum="off")
    server.sql("CREATE TABLE rows (i int); CREATE EXTENSION pg_walinspect")
    agent = lab.agent(server).protect()
    agent.backup()
    life = Life(lab, server, agent)

    life.write(server, 1, 2)
    server.archive_all()
    life.write(server, 3)
    before = server.sql(f"SELECT {NOW}")
    server.kill()
    (server.data / "standby.signal").touch()
    server.start()
    server.pg_ctl("promote")
    life.promoted(server, 2, before)

    life.write(server, 20, 21, 22)
    server.archive_all()
    life.next_second(server)
    before = server.sql(f"SELECT {NOW}")
    server.stop()
    server.data.rename(lab.place("old"))
    agent.restore(server.data, "--to-lsn", life.rows[20].lsn, "--in-place", "--archiving", "keep",
                  "--action", "promote", "--yes")
    server.start()
    life.promoted(server, 3, before)
    life.write(server, 30, 31)
    server.archive_all()

    twins = []
    for timeline in (4, 5):
        life.next_second(twins[-1] if twins else server)
        before = server.sql(f"SELECT {NOW}")
        target = lab.place("t")
        agent.restore(target, "--to-latest", "--timeline", "3", "--archiving", "keep", "--start")
        twins.append(lab.attach(target, server))
        life.promoted(twins[-1], timeline, before)
        twins[-1].switch_segment()
        twins[-1].archiver_rests()
    for number, twin in ((40, 0), (50, 1), (41, 0), (51, 1)):
        life.write(twins[twin], number)
    for twin in twins:
        twin.archive_all()
        twin.stop()
    server.stop()
    life.windows = {w["timeline"]: w for w in agent.json("list")["windows"]}
    return life


def test_list_says_when_each_timeline_was_born(life):
    times = {n: w["from"] for n, w in life.windows.items()}
    assert set(times) == {1, 2, 3, 4, 5}
    for timeline, (before, after) in life.clock.items():
        # Where recovery ended at its target, only a checkpoint tells, to the second.
        latest = after if timeline == 2 else max(after, after[:-8] + ".999999Z")
        assert before <= times[timeline] <= latest, timeline
    text = life.agent.run("list").out
    assert f"where it begins, {times[3]}" in text, text


def test_a_time_means_the_timeline_that_was_being_written(life):
    for number, timeline in ((1, 1), (3, 2), (20, 2), (21, 2), (22, 2), (30, 3), (31, 3), (51, 5)):
        plan = life.plan("--to-time", life.rows[number].time)
        assert plan["target"]["timeline"] == timeline, (number, plan)
        assert plan["timeline_reason"], plan
        assert plan["timelines"] == [], "no other was alive"


def test_before_a_birth_is_the_parent_and_from_then_on_the_child(life):
    for timeline, parent in ((2, 1), (3, 2), (4, 3), (5, 4)):
        at = life.windows[timeline]["from"]
        micros = int(at[-7:-1])
        assert 0 < micros
        earlier = f"{at[:-7]}{micros - 1:06}Z"
        document = life.plan("--to-time", at)
        assert document["target"]["timeline"] == timeline, document
        # Nothing was written any more just before: the parent's end, or what says how it is had.
        document = life.plan("--to-time", earlier, expect=(0, 3))
        if document["reachable"]:
            # Its own WAL goes on, or a child has its end.
            assert document["target"]["timeline"] == parent or \
                f"written on {parent}," in document["timeline_reason"], document
        else:
            hint = document["problems"][0]["hint"]
            assert document["target"]["timeline"] == parent, document
            assert f"--to-latest --timeline {parent}" in hint, hint


@pytest.mark.only(15)
def test_at_each_birth_and_just_before_the_rows_of_then_come_back(life):
    """Where a birth is the first commit, that is left out; before it the parent's rows, by the target or by
    the command in the hint."""
    at = {2: "1 2 3", 3: "1 2 3 20", 4: "1 2 3 20 30 31", 5: "1 2 3 20 30 31"}
    before = {2: "1 2 3", 3: "1 2 3 20 21 22", 4: "1 2 3 20 30 31"}
    for timeline, rows in at.items():
        born = life.windows[timeline]["from"]
        assert life.restored("--to-time", born, "--exclusive") == rows, timeline
    for timeline, rows in before.items():
        born = life.windows[timeline]["from"]
        earlier = f"{born[:-7]}{int(born[-7:-1]) - 1:06}Z"
        document = life.plan("--to-time", earlier, expect=(0, 3))
        args = ["--to-time", earlier]
        if not document["reachable"]:
            args = re.search(r"--to-latest --timeline \d", document["problems"][0]["hint"])[0].split()
        assert life.restored(*args) == rows, (timeline, args)


def test_rows_of_the_crashed_primary_are_found_in_the_wal_of_its_standby(life):
    """Row 3 lies in a segment that was archived under the name of timeline 2 only."""
    assert life.restored("--to-time", life.rows[3].time) == "1 2 3"


def test_a_later_time_than_the_first_guess_finds_all_rows_across_the_promotion(life):
    assert life.restored("--to-time", life.rows[21].time) == "1 2 3 20 21"


@pytest.mark.only(15)
def test_two_alive_at_once_are_both_shown_and_both_commands_work(life):
    plan = life.plan("--to-time", life.rows[41].time)
    assert plan["target"]["timeline"] == 5
    shown = {t["timeline"]: t for t in plan["timelines"]}
    assert list(shown) == [5, 4], plan
    assert shown[4]["parent"] == 3 and shown[4]["born_at"] == life.windows[4]["from"]
    assert life.restored(command=shown[5]["command"]) == "1 2 3 20 30 31 50"
    assert life.restored(command=shown[4]["command"]) == "1 2 3 20 30 31 40 41"
    text = life.agent.run("restore", "-D", life.lab.place("r"), "--to-time", life.rows[41].time,
                          "--plan").out
    assert "ALSO THERE: timeline 4" in text and "--timeline 4" in text, text


@pytest.mark.only(15)
def test_latest_is_the_newest_and_shows_what_was_abandoned(life):
    plan = life.plan("--to-latest")
    assert plan["target"]["timeline"] == 5
    assert [t["timeline"] for t in plan["timelines"]] == [5, 4, 2]
    assert life.timeline("--to-latest", "--timeline", "latest") == 5
    assert life.timeline("--to-latest", "--timeline", "current") == 1
    assert life.timeline("--to-xid", life.rows[1].xid) == 5


@pytest.mark.only(15)
def test_an_lsn_on_one_timeline_needs_no_more(life):
    assert life.timeline("--to-lsn", life.rows[1].lsn) == 1
    assert life.timeline("--to-lsn", life.rows[3].lsn) == 2
    assert life.timeline("--to-lsn", life.rows[20].lsn) == 2


@pytest.mark.only(15)
def test_an_lsn_on_several_is_refused_with_all_of_them(life):
    plan = life.plan("--to-lsn", life.rows[21].lsn, expect=2)
    assert not plan["reachable"] and plan["target"]["timeline"] is None
    assert plan["problems"][0]["code"] == "timeline_ambiguous"
    assert [t["timeline"] for t in plan["timelines"]] == [3, 2]
    target = life.lab.place("r")
    done = life.agent.run("restore", "-D", target, "--to-lsn", life.rows[21].lsn, expect=2)
    assert "--timeline 3 or --timeline 2" in done.err, done
    assert "ONE OF THESE: timeline 2, which left 1 at " in done.out, done
    assert not target.exists()
    command = plan["timelines"][1]["command"]
    assert life.restored(command=command) == "1 2 3 20 21"


@pytest.mark.only(15)
def test_a_fork_itself_belongs_to_the_child_and_what_lies_before_it_to_the_parent(life):
    fork = life.windows[2]["from_lsn"]
    assert life.timeline("--to-lsn", fork) == 2
    # Just before it: timeline 1, whose end only timeline 2 has.
    document = life.plan("--to-lsn", fork, "--exclusive")
    assert document["target"]["timeline"] == 2
    assert "written on 1," in document["timeline_reason"], document


@pytest.mark.only(15)
def test_a_number_is_followed_whatever_the_time(life):
    assert life.timeline("--to-time", life.rows[1].time, "--timeline", "3") == 3
    done = life.agent.run("restore", "-D", life.lab.place("r"), "--timeline", "newest", expect=2)
    assert "auto, latest or current" in done.err, done
