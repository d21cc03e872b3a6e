"""Stopping the program behind chosen system calls, so that something else happens at that very moment."""

import re
import signal
import subprocess

from .agent import FORBIDDEN, Result
from .kill import NO_LEAKS
from .wait import until

# The calls by which something becomes visible in a repository, by which it goes, and by which it is read.
PUTS = ("link", "linkat")
REMOVALS = ("unlink", "unlinkat")
OPENS = ("openat", "openat2")


def tracer(log, calls, *more):
    return ["strace", "-D", "-f", "-o", str(log), "-e", f"trace={','.join(calls)}", *more]


class Run:
    """One run of the program, beside which something else is to happen."""

    def __init__(self, lab, agent, args, trace):
        self.out, self.err, self.log = lab.place("out"), lab.place("err"), lab.place("strace")
        self.command = agent.command(*args)
        with open(self.out, "wb") as out, open(self.err, "wb") as err:
            self.process = subprocess.Popen(  # strace -D makes the program our own child
                trace(self.log) + self.command, stdin=subprocess.DEVNULL, stdout=out, stderr=err,
                env=agent.environment(NO_LEAKS), cwd=agent.home)

    def said(self):
        return self.log.read_text(encoding="utf-8") if self.log.exists() else ""

    def result(self):
        return Result(self.command, self.process.returncode,
                      self.out.read_text(encoding="utf-8"), self.err.read_text(encoding="utf-8"))


def moments(lab, agent, calls, *args):
    """Runs the program, and returns which of these calls of its first thread, each kind counted from 1
    on, are about the repository.

    What is opened there is opened from its root, which is where the first open from a directory begins.
    """
    run = Run(lab, agent, args, lambda log: tracer(log, calls))
    until("the program to end", lambda: run.process.poll() is not None, 120)
    until("its tracer to end", lambda: re.search(rf"^{run.process.pid} +\+\+\+ exited", run.said(), re.M))
    assert run.process.returncode == 0, run.result()
    made = re.findall(rf"^{run.process.pid} +(\w+)\((AT_FDCWD|\d+)", run.said(), re.M)
    root = next(place for _, place in made if place != "AT_FDCWD")
    counts, found = {}, set()
    for call, place in made:
        counts[call] = counts.get(call, 0) + 1
        if place == root or calls != OPENS:
            found.add(counts[call])
    return sorted(found)


def stopped(lab, agent, calls, nth, meanwhile, *args):
    """Runs the program; each of its threads that has made the nth of one kind of these calls stops all
    of it, until meanwhile() has returned.  Returns the result; None when there was no such call, as
    how its threads share their work is not the same in each run."""
    rules = [f"--inject={call}:signal=SIGSTOP:when={nth}" for call in calls]
    run = Run(lab, agent, args, lambda log: tracer(log, calls, *rules))
    seen, ended = 0, False

    def stops():
        nonlocal ended
        ended = run.process.poll() is not None
        return ended or "--- stopped by SIGSTOP ---" in run.said()[seen:]

    try:
        while until(f"{args[0]} to stop or to end", stops, 120) and not ended:
            meanwhile()
            seen = len(run.said())
            run.process.send_signal(signal.SIGCONT)
    finally:
        run.process.kill()
        run.process.wait()
    result = run.result()
    assert not FORBIDDEN.search(result.err), str(result)
    return result if seen > 0 else None
