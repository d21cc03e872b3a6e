"""Directories that are no longer wanted: emptied at once, removed with all of the session.

An ext4 without a journal does not give the inode of a removed file to another one for minutes, and looks at
each of those again for every file that is made (find_inode_bit in fs/ext4/ialloc.c): where tests remove
thousands of files, that was a third of the processor time of a run.
"""

import contextlib
import os
import shutil
import stat
from pathlib import Path

# With fewer inodes left there is no room for such patience.
INODES_FREE_MIN = 2_000_000


def empty(path):
    state = os.lstat(path)
    if not stat.S_ISREG(state.st_mode) or state.st_size == 0:
        return
    if not state.st_mode & stat.S_IWUSR:
        os.chmod(path, 0o600)
    os.truncate(path, 0)


def discard(path, yard):
    """Nothing is at `path` any more.  yard: a directory of the same file system that the session removes."""
    path, yard = Path(path), Path(yard)
    yard.mkdir(exist_ok=True)
    if os.statvfs(yard).f_favail < INODES_FREE_MIN:
        shutil.rmtree(path, ignore_errors=True)     # what can't be removed the session takes along
        return
    number = sum(1 for _ in os.scandir(yard))
    away = yard / f"{os.getpid()}-{number}"
    path.rename(away)
    for folder, _, names in os.walk(away):
        for name in names:
            with contextlib.suppress(OSError):  # it takes room, then, until the session ends
                empty(os.path.join(folder, name))
