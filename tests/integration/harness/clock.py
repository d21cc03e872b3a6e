"""A clock of its own for all processes of a test, moved forward at will, by libfaketime.

CLOCK_REALTIME, CLOCK_MONOTONIC and CLOCK_BOOTTIME are moved alike, so that programs see one clock that goes on.
Times of files are the kernel's: settle() gives those that were written since the last move the time they had.
"""

import contextlib
import os
import subprocess
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path

# Every process that is started below the library makes a piece of shared memory, and one that is killed, or
# becomes another program, leaves it.  With this one they all use the one of a process that ends in order.
HOLDER = "import os, sys; print(os.environ['FAKETIME_SHARED'], flush=True); sys.stdin.read()"


class Clock:
    """From `start` on, for whatever is started with os.environ between begin() and end().

    watched: directories whose files get their times.  The time has to lie in the past, so that a file
    that was just written is never older than it seems to be.
    """

    def __init__(self, root, start, patch):
        self.file = Path(root) / "clock"
        self.patch = patch
        self.watched = []
        self.ahead = None
        self.holder = None
        self.set(start)

    def begin(self):
        library = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)
        assert library, "no libfaketime: infrastructure/install-deps.sh test"
        env = {"LD_PRELOAD": str(library), "FAKETIME_TIMESTAMP_FILE": str(self.file),
               "FAKETIME_NO_CACHE": "1", "NO_FAKE_STAT": "1"}
        # Below the root of the laboratory it would be ended like a server, and leave what it holds.
        self.holder = subprocess.Popen([sys.executable, "-S", "-c", HOLDER], cwd="/",
                                       env={**os.environ, **env}, text=True,
                                       stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        env["FAKETIME_SHARED"] = self.holder.stdout.readline().strip()
        for name, value in env.items():
            self.patch.setenv(name, value)
        return self

    def end(self):
        self.patch.undo()
        self.holder.communicate()

    def now(self):
        return datetime.now(timezone.utc) + self.ahead

    def set(self, when):
        self.ahead = when - datetime.now(timezone.utc)
        assert self.ahead < timedelta(0), f"{when} is not in the past"
        half = self.file.with_suffix(".half")
        half.write_text(f"{self.ahead.total_seconds():.6f}\n", encoding="ascii")
        half.rename(self.file)

    def move_to(self, when):
        """Never back: a moment that is over already changes nothing."""
        self.settle()
        if when > self.now():
            self.set(when)

    def settle(self):
        horizon = (self.now() + timedelta(days=1)).timestamp()
        for place in self.watched:
            for path in place.rglob("*"):
                with contextlib.suppress(FileNotFoundError):
                    written = path.lstat().st_mtime
                    if written > horizon and not path.is_symlink():
                        then = written + self.ahead.total_seconds()
                        os.utime(path, (then, then))
