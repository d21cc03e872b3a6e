#!/bin/bash
# Measures pgagent beside pg_basebackup and Debian's pgBackRest; prints a table in Markdown.
#
#   tests/bench/run.sh [--only NAME]... [--scale N] [--runs N] [--program FILE] [--write] [--keep]
#
#   --only NAME     only these rows: full same incremental added restore chain archive many
#   --scale N       pgbench's scale; 100 (the default) makes about 2.7 GB, 35 about 0.9 GB
#   --runs N        pairs of runs per row (default 5; the short archive commands: four times that)
#   --program FILE  measure this pgagent, and the pgagent-whole beside it, instead of building
#   --write         put the table and its picture into tests/bench: FIGURES.md and figures.svg
#   --keep          leave data, repositories and logs in place, and say where
#
# As root it installs what is needed and runs everything else as user postgres, in a directory of
# its own below /var/tmp, which needs eight times the size of the data.  The table goes to stdout,
# all else to stderr.  README.md says what is measured and how.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 2
source_tree=$PWD

scale=100 runs=5 keep=no write=no program=""
only=()
while [ $# -gt 0 ]; do
	case $1 in
	--scale) scale=${2:?--scale needs a number}; shift ;;
	--runs) runs=${2:?--runs needs a number}; shift ;;
	--program) program=$(realpath -e "${2:?--program needs a file}") || exit 2; shift ;;
	--only) only+=(--only "${2:?--only needs the name of rows}"); shift ;;
	--write) write=yes ;;
	--keep) keep=yes ;;
	-h | --help) sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0"; exit 0 ;;
	*) echo "tests/bench/run.sh: unknown option '$1' (try --help)" >&2; exit 2 ;;
	esac
	shift
done
for number in "$scale" "$runs"; do
	case $number in
	'' | *[!0-9]* | 0*) echo "tests/bench/run.sh: '$number' is no number above 0" >&2; exit 2 ;;
	esac
done
# shellcheck source=infrastructure/scratch.sh
. infrastructure/scratch.sh

fail() { echo "bench: FAILED: $*" >&2; exit 1; }

finish() {
	local code=$?
	trap - EXIT INT TERM HUP
	scratch_end $keep >&2
	exit $code
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

if [ "$(id -u)" -eq 0 ]; then
	./infrastructure/install-deps.sh build run bench pg18 >&2 || fail "install what is needed"
fi
scratch_make pgagent-bench && scratch_copy "$source_tree" || fail "copy the tree"
chown "$scratch_user": "$work"
cd "$work" || fail "no $work"
if [ -n "$program" ]; then
	install -m 755 "$program" "$program-whole" "$work" || fail "copy $program and $program-whole"
else
	echo "bench: building" >&2
	{ scratch_run cmake --preset release -S tree -G Ninja &&
		scratch_run cmake --build tree/build &&
		scratch_run cmake --install tree/build --prefix "$work/installed"; } >build.log 2>&1 ||
		{ tail -n 30 build.log >&2; fail "build"; }
	ln -s installed/bin/pgagent "$work/pgagent"
fi
scratch_run /usr/bin/python3 -B "$work/tree/tests/bench/bench.py" --work "$work" \
	--scale "$scale" --runs "$runs" "${only[@]}"
code=$?
if [ "$write" = yes ] && [ -s FIGURES.md ]; then
	install -m 644 FIGURES.md figures.svg "$source_tree/tests/bench" || fail "write the figures"
fi
exit $code
