"""Killing the program in place of a system call, and tampering with what calls answer."""

import os
import signal


def strace(lab, *rules):
    """A wrapper that tampers with system calls.  Leak checking can't trace what is traced.

    What is not traced is not tampered with either.  (With --seccomp-bpf strace 6.1 forgets to
    deliver the signal.)
    """
    calls = ",".join(rule.split(":", 1)[0] for rule in rules)
    command = ["strace", "-f", "-o", str(lab.place("strace")), "-e", f"trace={calls}"]
    for rule in rules:
        command += ["-e", f"inject={rule}"]
    return command


NO_LEAKS = {"ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=0"}

# The calls by which something becomes durable or visible.
DURABLE = ["fsync,fdatasync", "link,linkat,rename,renameat,renameat2", "mkdir,mkdirat"]


def kill_at(lab, agent, calls, nth, *args, cwd=None):
    """Runs the program and kills it in place of the nth of these calls.  True: it was killed."""
    done = agent.run(*args, expect=None, env=NO_LEAKS, cwd=cwd,
                     wrap=strace(lab, f"{calls}:error=EIO:signal=SIGKILL:when={nth}"))
    assert done.code in (0, -signal.SIGKILL, 128 + signal.SIGKILL), str(done)
    return done.code != 0
