"""As many small files as a cluster of many tenants has: memory and time of the whole way.

A million in `tests/run.sh --nightly`, else 20,000.  The figures are printed (pytest -rP shows them).
"""

import os
import shutil

import pytest

from harness.wait import PATIENCE

pytestmark = pytest.mark.only(15)

NIGHTLY = os.environ.get("PGAGENT_TEST_NIGHTLY") == "1"
FILES = int(os.environ.get("PGAGENT_TEST_FILES", 1_000_000 if NIGHTLY else 20_000))
PER_DATABASE = 1000
FIRST_DATABASE = 1_000_000      # no database of a new server has such an oid
RSS_MAX = 512 << 20
FILE_OVERHEAD_S = 0.0015        # a second a thousand files for all of backup, restore and verify


def lay_files(base, count):
    """Files named as relations are, 100 bytes each and each different, in many databases."""
    for first in range(0, count, PER_DATABASE):
        place = base / str(FIRST_DATABASE + first // PER_DATABASE)
        place.mkdir(mode=0o700)
        for number in range(first, min(first + PER_DATABASE, count)):
            handle = os.open(place / str(16384 + number), os.O_CREAT | os.O_WRONLY, 0o600)
            os.write(handle, b"%099d\n" % number)
            os.close(handle)


def check_files(base, count):
    for first in range(0, count, PER_DATABASE):
        place = base / str(FIRST_DATABASE + first // PER_DATABASE)
        names = os.listdir(place)
        assert len(names) == min(PER_DATABASE, count - first), place
        for name in names[::50]:
            assert (place / name).read_bytes() == b"%099d\n" % (int(name) - 16384), place / name


@pytest.mark.timeout(3600 if NIGHTLY else 300)
def test_many_files_need_neither_much_memory_nor_much_time(lab, major):
    # Without checksums the server sends files of any length without a word about their pages.
    server, agent = lab.protected(major, scale=1, checksums=False, autovacuum="off")
    lay_files(server.data / "base", FILES)
    target = lab.place("r")
    figures = []
    for args in (["backup", "--checkpoint", "fast"], ["backup", "--checkpoint", "fast"],
                 ["restore", "-D", target, "--to-backup-end"], ["verify", "--all"]):
        done, seconds, rss = agent.measured(*args, timeout=1500)
        figures.append((args[0], seconds, rss))
        print(f"{args[0]}: {FILES} files, {seconds:.1f} s, {rss / (1 << 20):.0f} MiB")
    for name, seconds, rss in figures:
        assert rss <= RSS_MAX, f"{name}: {rss >> 20} MiB"
        assert seconds <= (20 + FILES * FILE_OVERHEAD_S) * PATIENCE, f"{name}: {seconds:.0f} s"
    check_files(target / "base", FILES)
    shutil.rmtree(target)
    listed = agent.backups()
    assert [b["files"] > FILES for b in listed] == [True, True]
    assert min(b["bytes_new"] for b in listed) < FILES * 10, "the second found them all again"
