"""Times pgagent beside its peers.  Started by run.sh; README.md says what is measured and how.

Writes FIGURES.md and figures.svg into --work and the Markdown to stdout.
"""
import argparse
import datetime
import os
import pathlib
import platform
import subprocess
import sys

from figures import markdown, picture
from measure import Runner, say
from rows import GROUPS, Rows
from server import BIN


def first_line(*argv):
    return subprocess.run([str(part) for part in argv], check=True, text=True,
                          stdout=subprocess.PIPE).stdout.splitlines()[0]


def machine():
    model = "?"
    for line in pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / (1 << 30)
    return (f"{os.cpu_count()} processors ({model}), {memory:.0f} GiB, "
            f"Linux {platform.release().split('-')[0]}")


def head(options):
    version = first_line(BIN / "postgres", "--version").split()[2]
    return (f"Taken on {datetime.date.today()}: {machine()}; PostgreSQL {version}, data of scale "
            f"{options.scale} (100 is about 2.7 GB), page cache warm; "
            f"{first_line(options.work / 'pgagent', '--version')}, "
            f"{first_line('/usr/bin/pgbackrest', 'version')}, both zstd:1 and encrypted; median of "
            f"{options.runs} alternating pairs.")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--work", type=pathlib.Path, required=True)
    parser.add_argument("--scale", type=int, required=True)
    parser.add_argument("--runs", type=int, required=True)
    parser.add_argument("--only", action="append", choices=GROUPS, default=[])
    options = parser.parse_args()
    made = Rows(options.work, Runner(options.work), options.scale, options.runs)
    rows = []
    failed = []
    try:
        for name, group in GROUPS.items():
            if options.only and name not in options.only:
                continue
            try:
                for row in group(made):
                    rows.append(row)
                    say(f"{row.name}: {row.ours:.3f} {row.unit} beside {row.peer:.3f}, "
                        f"ratio {row.ratio:.2f}")
            except (RuntimeError, OSError, subprocess.CalledProcessError) as failure:
                say(f"{name} FAILED: {failure}")    # the other rows are worth having all the same
                failed.append(name)
    finally:
        made.stop()
    text = markdown(head(options), rows, options.work)
    (options.work / "FIGURES.md").write_text(text, encoding="utf-8")
    (options.work / "figures.svg").write_text(picture(head(options), rows), encoding="utf-8")
    print(text)
    return f"bench: FAILED: {', '.join(failed)}" if failed else 0


if __name__ == "__main__":
    sys.exit(main())
