"""Running command lines and what a run of one costs.

Two sides of a row run A B A B ... in one go, after one run of each that is not timed.  That first
run fills the caches and gives the peak memory; it goes through /usr/bin/time, because a child's
peak counts what its parent had when it was forked, and Python has much.
"""
import os
import statistics
import subprocess
import sys
import time


def say(text):
    print(f"bench: {text}", file=sys.stderr, flush=True)


class Side:
    """One command line of a row and what its runs took.

    prepare(run number) puts everything in place and answers the command line to time."""

    def __init__(self, label, prepare):
        self.label = label
        self.prepare = prepare
        self.argv = []
        self.seconds, self.cpu = [], []
        self.peak_mib = 0

    def median(self):
        return statistics.median(self.seconds)


class Row:
    """One line of the table: ours against a peer, and the bar that the ratio has to meet."""

    def __init__(self, name, what, bar, unit="s"):
        self.name, self.what, self.bar, self.unit = name, what, bar, unit
        self.ours_label, self.peer_label = "pgagent", ""
        self.ours = self.peer = self.ratio = 0
        self.spread = ""
        self.sides = []

    def of_sides(self, ours, peer):
        self.sides = [ours, peer]
        self.ours_label, self.peer_label = ours.label, peer.label
        self.ours, self.peer = ours.median(), peer.median()
        self.of_ratios([a / b for a, b in zip(ours.seconds, peer.seconds)])
        return self

    def of_values(self, peer_label, ours, peer):
        self.peer_label = peer_label
        self.ours, self.peer = statistics.median(ours), statistics.median(peer)
        self.of_ratios([a / b for a, b in zip(ours, peer)])
        return self

    def of_ratios(self, ratios):
        self.ratio = statistics.median(ratios)
        self.spread = f"{min(ratios):.2f}-{max(ratios):.2f}"

    def is_met(self):
        return self.bar is None or self.ratio <= self.bar


class Runner:
    def __init__(self, work):
        self.work = work
        self.log = work / "runs.log"

    def run(self, argv, where, wrapper=()):
        """One run; answers its wall and CPU seconds."""
        argv = [str(part) for part in (*wrapper, *argv)]
        with open(self.log, "ab") as log, open(os.devnull, "rb") as null:
            began = time.monotonic()
            child = subprocess.Popen(argv, stdin=null, stdout=log, stderr=log, cwd=where)
            _, status, usage = os.wait4(child.pid, 0)
            seconds = time.monotonic() - began
            child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode != 0:
            tail = self.log.read_text(errors="replace").splitlines()[-20:]
            raise RuntimeError("\n".join([f"exit {child.returncode}: {' '.join(argv)}", *tail]))
        return seconds, usage.ru_utime + usage.ru_stime

    def peak(self, argv, where):
        """Peak memory of the largest process in MiB, from a run of its own."""
        said = self.work / "peak"
        self.run(argv, where, ("/usr/bin/time", "-o", said, "-f", "%M"))
        return int(said.read_text().split()[-1]) / 1024

    def once(self, side, where):
        """One run, measured in all ways; its time has that of /usr/bin/time in it."""
        side.argv = side.prepare(0)
        os.sync()
        said = self.work / "peak"
        seconds, cpu = self.run(side.argv, where, ("/usr/bin/time", "-o", said, "-f", "%M"))
        side.peak_mib = int(said.read_text().split()[-1]) / 1024
        side.seconds.append(seconds)
        side.cpu.append(cpu)

    def pairs(self, sides, runs, where):
        say(f"{' against '.join(side.label for side in sides)}, {runs} pairs")
        for number in range(runs + 1):
            for side in sides:
                side.argv = side.prepare(number)
                os.sync()
                if number == 0:
                    side.peak_mib = self.peak(side.argv, where)
                    continue
                seconds, cpu = self.run(side.argv, where)
                side.seconds.append(seconds)
                side.cpu.append(cpu)
        return sides


def tree_bytes(place, without=""):
    """Bytes of the files below `place`, folders called `without` left out."""
    total = 0
    for top, folders, names in os.walk(place):
        folders[:] = [folder for folder in folders if folder != without]
        total += sum(os.lstat(os.path.join(top, name)).st_size for name in names)
    return total
