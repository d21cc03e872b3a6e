"""Times pgagent beside its peers and prints one Markdown table.  Started by run.sh.

Each row is a pair of command lines, run A B A B ... in one go, after one run of each that is not
timed.  That first run fills the caches and gives the peak memory; it goes through /usr/bin/time,
because a child's peak counts what its parent had when it was forked, and Python has much.
"""
import argparse
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import time

from server import Server
from tools import PgAgent, PgBackRest, PgBaseBackup

SHORT_RUNS = 4      # the archive commands are short: so many times more pairs
MB = 1_000_000


def say(text):
    print(f"bench: {text}", file=sys.stderr, flush=True)


class Side:
    """One command line of a row: its tool, and what its runs took."""

    def __init__(self, tool, prepare):
        self.tool = tool
        self.prepare = prepare      # (run number) -> the command line to time
        self.argv = None
        self.seconds, self.cpu = [], []
        self.peak_mib = self.stored = 0


class Bench:
    def __init__(self, work, runs):
        self.work = work
        self.runs = runs
        self.server = Server(work, say)
        self.log = work / "runs.log"

    def run(self, argv, wrapper=()):
        """One run, in the data directory as the server would; answers its wall and CPU seconds."""
        argv = [str(part) for part in (*wrapper, *argv)]
        with open(self.log, "ab") as log, open(os.devnull, "rb") as null:
            began = time.monotonic()
            child = subprocess.Popen(argv, stdin=null, stdout=log, stderr=log,
                                     cwd=self.server.data)
            _, status, usage = os.wait4(child.pid, 0)
            seconds = time.monotonic() - began
            child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode != 0:
            tail = self.log.read_text(errors="replace").splitlines()[-20:]
            raise RuntimeError("\n".join([f"exit {child.returncode}: {' '.join(argv)}", *tail]))
        return seconds, usage.ru_utime + usage.ru_stime

    def peak(self, argv):
        said = self.work / "peak"
        self.run(argv, ("/usr/bin/time", "-o", said, "-f", "%M"))
        return int(said.read_text().split()[-1]) / 1024

    def row(self, title, sides, runs):
        say(f"{title}: {' against '.join(side.tool.name for side in sides)}, {runs} pairs")
        for number in range(runs + 1):
            for side in sides:
                side.argv = side.prepare(number)
                os.sync()
                if number == 0:
                    side.peak_mib = self.peak(side.argv)
                    continue
                seconds, cpu = self.run(side.argv)
                side.seconds.append(seconds)
                side.cpu.append(cpu)
        return title, sides


def tree_bytes(place):
    return sum(os.lstat(os.path.join(top, name)).st_size
               for top, _, names in os.walk(place) for name in names)


def backup_row(bench, tools):
    def preparer(tool):
        def prepare(_number):
            tool.fresh()
            bench.server.archive_with(tool.archive_command)
            return tool.backup()
        return prepare

    row = bench.row("backup", [Side(tool, preparer(tool)) for tool in tools], bench.runs)
    for side in row[1]:
        side.stored = tree_bytes(side.tool.stored)
    bench.server.archive_with("true")
    return row


def restore_row(bench, tools):
    def preparer(tool):
        def prepare(_number):
            target = bench.work / f"restored-{tool.name}"
            shutil.rmtree(target, ignore_errors=True)
            target.mkdir(mode=0o700)
            return tool.restore(target)
        return prepare

    row = bench.row("restore", [Side(tool, preparer(tool)) for tool in tools], bench.runs)
    for tool in tools:
        shutil.rmtree(bench.work / f"restored-{tool.name}")
    return row


def archive_rows(bench, tools):
    runs = bench.runs * SHORT_RUNS
    segments = bench.server.make_segments(runs + 1, bench.work / "segments")
    bench.server.settle()
    # The same segments in the same order to both: new to each of them.
    yield bench.row("archive-push", [Side(tool, lambda number, tool=tool:
                                          tool.push(segments[number])) for tool in tools], runs)

    def getter(tool):
        def prepare(number):
            got = bench.work / f"got-{tool.name}"
            if number > 0 and got.read_bytes() != segments[number - 1].read_bytes():
                raise RuntimeError(f"{tool.name} did not deliver {segments[number - 1].name}")
            got.unlink(missing_ok=True)
            return tool.get(segments[number].name, got)
        return prepare

    yield bench.row("archive-get", [Side(tool, getter(tool)) for tool in tools], runs)


def show(argv, work):
    return " ".join(str(part) for part in argv).replace(str(work) + "/", "").replace(
        str(work), "WORK")


def line_of(title, side, ratio, work):
    digits = 3 if statistics.median(side.seconds) < 1 else 2
    number = "{:.%df}" % digits
    return "| " + " | ".join([
        title, f"`{show(side.argv, work)}`",
        number.format(statistics.median(side.seconds)),
        f"{number.format(min(side.seconds))}-{number.format(max(side.seconds))}",
        number.format(statistics.median(side.cpu)), f"{side.peak_mib:.0f}",
        f"{side.stored / MB:.0f}" if side.stored else "", ratio]) + " |"


def print_table(rows, work):
    print("| what | command | median s | from-to s | CPU s | peak MiB | stored MB | ratio |")
    print("|---|---|---|---|---|---|---|---|")
    for title, (ours, peer) in rows:
        ratio = statistics.median(a / b for a, b in zip(ours.seconds, peer.seconds))
        print(line_of(f"**{title}**", ours, f"**{ratio:.2f}**", work))
        print(line_of("", peer, "1", work))
    print(flush=True)


def first_line(*argv):
    return subprocess.run([str(part) for part in argv], check=True, text=True,
                          stdout=subprocess.PIPE).stdout.splitlines()[0]


def print_head(bench, pgagent, scale):
    data = bench.server.data
    size = sum(tree_bytes(data / name) for name in ("base", "global"))
    version = bench.server.sql("SHOW server_version")
    print(f"PostgreSQL {version}, {size / MB:.0f} MB (pgbench scale {scale} and a table of "
          f"{20_000 * scale} rows), data checksums on, page cache warm; "
          f"{os.cpu_count()} processors; {first_line(*pgagent.base[:1], '--version')}, "
          f"{first_line('/usr/bin/pgbackrest', 'version')}.  Median of {bench.runs} pairs "
          f"({bench.runs * SHORT_RUNS} for the archive commands), alternating; ratio: median of "
          "the pairs' ratios, below 1 = pgagent takes less time.\n", flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--work", type=pathlib.Path, required=True)
    parser.add_argument("--scale", type=int, required=True)
    parser.add_argument("--runs", type=int, required=True)
    options = parser.parse_args()
    bench = Bench(options.work, options.runs)
    say(f"making the data, scale {options.scale}")
    bench.server.start(options.scale)
    try:
        pgagent = PgAgent(options.work, bench.server)
        base = PgBaseBackup(options.work, bench.server)
        pgbackrest = PgBackRest(options.work, bench.server)
        print_head(bench, pgagent, options.scale)
        rows = []
        rows.append(backup_row(bench, [pgagent, base]))
        base.fresh()
        rows.append(backup_row(bench, [pgagent, pgbackrest]))
        rows.append(restore_row(bench, [pgagent, pgbackrest]))
        rows.extend(archive_rows(bench, [pgagent, pgbackrest]))
        print_table(rows, options.work)
    finally:
        bench.server.stop()


if __name__ == "__main__":
    try:
        main()
    except (RuntimeError, subprocess.CalledProcessError) as failure:
        sys.exit(f"bench: FAILED: {failure}")
