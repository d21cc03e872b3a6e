"""Waiting: a condition is polled until a deadline; nothing here guesses how long a thing takes."""

import os
import time


class TimedOut(AssertionError):
    pass


# A sanitized program on a busy machine is several times slower.
PATIENCE = float(os.environ.get("PGAGENT_TEST_PATIENCE", "1"))


def until(what, condition, seconds=60, every=0.05):
    """Returns the first true value of condition(); raises, naming `what`, at the deadline."""
    deadline = time.monotonic() + seconds * PATIENCE
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise TimedOut(f"waited {seconds * PATIENCE:.0f} s in vain for: {what}")
        time.sleep(every)
