#!/bin/bash
# Builds pgagent and runs every test there is.
#
#   tests/run.sh [--quick] [--nightly] [--workers N] [-k EXPR] [--keep]
#
#   --quick     no sanitizer build
#   --nightly   also the long tests, and the program under TSan
#   -k EXPR     only the integration tests that match (pytest's -k)
#   --workers N integration tests at a time (default: processors + 1, between 2 and 4)
#   --keep      leave the build and the logs where they are, and say where
#
# As root it installs what is needed and runs everything else as user postgres; PostgreSQL does
# not run as root, and a clone below /root can't be read by others, so the tree is copied to a
# fresh directory below /var/tmp first.  As another user nothing is installed: what is missing
# is named.  The last line says what came of it; the exit code is 0 only if nothing failed.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 2
source_tree=$PWD

quick=no nightly=no keep=no expr="" workers=""
while [ $# -gt 0 ]; do
	case $1 in
	--quick) quick=yes ;;
	--nightly) nightly=yes sim_seeds=3000 ;;
	--keep) keep=yes ;;
	-k) expr=${2:?-k needs an expression}; shift ;;
	--workers) workers=${2:?--workers needs a number}; shift ;;
	-h | --help) sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0"; exit 0 ;;
	*) echo "tests/run.sh: unknown option '$1' (try --help)" >&2; exit 2 ;;
	esac
	shift
done

servers=${PGAGENT_SERVERS:-/var/cache/pgagent-test}
majors=15,16,17,18
python=/usr/bin/python3
root=no
[ "$(id -u)" -ne 0 ] || root=yes
# shellcheck source=infrastructure/scratch.sh
. infrastructure/scratch.sh
passed=0 failed=0 skipped=0 summary=()

finish() {
	local code=$? mounted
	trap - EXIT INT TERM HUP
	scratch_stop
	for mounted in "$work"/small/*; do
		mountpoint -q "$mounted" 2>/dev/null && umount "$mounted"
	done
	scratch_end $keep
	exit $code
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# --- phases ---------------------------------------------------------------------------------

count() { # PASSED FAILED SKIPPED
	passed=$((passed + $1)) failed=$((failed + $2)) skipped=$((skipped + $3))
}

# phase NAME FUNCTION [ARG...]: the function runs in this shell, so that it can count.  It returns
# whether it went well; one that fails without counting a failure is counted as one.
phase() {
	local name=$1 began=$EPOCHREALTIME before=$failed result=ok seconds
	shift
	printf '\n=== %s\n' "$name"
	if ! "$@"; then
		result=FAILED
		[ $failed -gt $before ] || count 0 1 0
	fi
	seconds=$(awk -v a="$began" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.1f", b - a }')
	printf '=== %s: %s, %s s\n' "$name" "$result" "$seconds"
	summary+=("$(printf '%-28s %-7s %7s s' "$name" $result "$seconds")")
	[ $result = ok ]
}

install_needed() {
	local groups=(build run test pg16 pg17 pg18) missing=() tool
	if [ $root = yes ]; then
		./infrastructure/install-deps.sh "${groups[@]}"
		return
	fi
	for tool in cmake ninja gcc pkg-config strace systemd-analyze clang-format-14 \
		/usr/lib/postgresql/15/bin/postgres "$servers"/pg{16,17,18}/bin/postgres; do
		command -v "$tool" >/dev/null || missing+=("$tool")
	done
	$python -c 'import pytest, xdist, pytest_timeout' 2>/dev/null || missing+=(pytest and plugins)
	compgen -G '/usr/lib/*/faketime/libfaketimeMT.so.1' >/dev/null || missing+=(libfaketime)
	[ ${#missing[@]} -eq 0 ] && return
	echo "missing: ${missing[*]}; as root: infrastructure/install-deps.sh ${groups[*]}"
	return 1
}

copy_tree() {
	scratch_make pgagent && mkdir "$work/t" "$work/small" && scratch_copy "$source_tree" || return
	chown "$scratch_user": "$work/t"
	cd "$work/tree" || return
	echo "in $work"
}

build() { # PRESET BUILD-DIRECTORY
	local log="$work/build-$1.log"
	if scratch_run cmake --preset "$1" -S "$work/tree" -G Ninja >"$log" 2>&1 &&
		scratch_run cmake --build "$work/tree/$2" >>"$log" 2>&1; then
		grep -c '^\[' "$log" | sed 's/$/ build steps/'
		return
	fi
	grep -E -A 4 'error:|FAILED|CMake Error' "$log" | head -n 60
	return 1
}

# Each executable in tests/tidy is one check; it prints what it found and exits 0 or not.
tidy() {
	local check result=0 found=no
	for check in tests/tidy/*; do
		if [ ! -f "$check" ] || [ ! -x "$check" ]; then continue; fi
		found=yes
		if scratch_run "./$check"; then
			echo "passed  ${check##*/}"
			count 1 0 0
		else
			echo "FAILED  ${check##*/}"
			count 0 1 0
			result=1
		fi
	done
	[ $found = yes ] || { echo "no check in tests/tidy"; return 1; }
	return $result
}

format() {
	scratch_run sh -c "find agent lib tests -name '*.[ch]' -print0 |
		xargs -0 -r clang-format-14 --dry-run -Werror" >"$work/format.log" 2>&1
	local result=$?
	head -n 40 "$work/format.log"
	[ $result -eq 0 ] && count 1 0 0
	return $result
}

# What only root can try: that it is given up, and what systemd does.
as_root() { # BUILD-DIRECTORY
	local before=$failed
	[ $root = yes ] || { echo "not run: it needs root"; return 0; }
	root_test restore "$work/tree/$1/pgagent"
	root_test units "$work/tree/$1"
	[ $failed -eq $before ]
}

root_test() { # NAME ARGUMENT
	"$work/tree/tests/root/$1" "$2"
	case $? in
	0) count 1 0 0 ;;
	77) count 0 0 1 ;; # it has said why
	*) count 0 1 0 ;;
	esac
}

# Criterion says how many tests a program had; a program that says nothing counts as one.
tally_ctest() {
	awk '
		/\[====\] Synthesis:/ {
			id = $1; sub(/:.*/, "", id); gsub(/[|:]/, " ")
			for (i = 1; i < NF; i++) {
				if ($i == "Passing") pass[id] = $(i + 1)
				if ($i == "Failing" || $i == "Crashing") fail[id] += $(i + 1)
			}
			said[id] = 1
		}
		/ Test +#[0-9]+:/ {
			match($0, /#[0-9]+/); id = substr($0, RSTART + 1, RLENGTH - 1)
			good = /Passed/
			p += pass[id]; f += fail[id]
			if (!good && !fail[id]) f++
			if (good && !said[id]) p++
		}
		END { print p + 0, f + 0, 0 }' "$1"
}

unit() { # BUILD-DIRECTORY
	local log="$work/ctest-$1.log" result
	scratch_run env ASAN_OPTIONS="${asan_options:-}" UBSAN_OPTIONS=print_stacktrace=1 \
		PGAGENT_SIM_SEEDS="${sim_seeds:-}" \
		ctest --test-dir "$work/tree/$1" -j 2 --timeout 900 --no-tests=error --verbose \
		>"$log" 2>&1
	result=$?
	[ $result -eq 0 ] || grep -vE 'Synthesis|^(UpdateCTest|Test command|Test timeout)' "$log" |
		grep -E -A 6 'FAIL|CRASH|ERROR|Failed|Timeout|runtime error|No tests' | head -n 120
	# shellcheck disable=SC2046 # three numbers
	count $(tally_ctest "$log")
	grep -E 'tests passed|Synthesis' "$log"
	return $result
}

# Junit's attributes are the one form of pytest's result that is made for machines.
tally_pytest() {
	$python - "$1" <<'PY'
import sys, xml.etree.ElementTree as tree
try:
    suites = list(tree.parse(sys.argv[1]).getroot().iter("testsuite"))
    total, bad, skipped = (sum(int(s.get(k, 0)) for s in suites for k in keys) for keys in
                           (("tests",), ("failures", "errors"), ("skipped",)))
    print(max(total - bad - skipped, 0), bad, skipped)
except (OSError, tree.ParseError):
    print(0, 1, 0)
PY
}

integration() { # NAME BUILD-DIRECTORY MAJORS [PYTEST-ARGUMENT...]
	local name=$1 program="$work/tree/$2/pgagent" versions=$3 result small
	shift 3
	[ -x "$program" ] || { echo "there is no $program"; return 1; }
	small=$(find "$work/small" -mindepth 1 -maxdepth 1 -type d | sort | paste -sd :)
	# The program of a sanitized build writes what it finds to files, since its stderr may be
	# PostgreSQL's log or nobody's.
	scratch_run env PGAGENT="$program" PGAGENT_SERVERS="$servers" PGAGENT_TEST_DIR="$work/t" PGAGENT_TEST_MAJORS="$versions" \
		PGAGENT_TEST_SMALL_FS="$small" PGAGENT_TEST_PATIENCE="${patience:-1}" \
		PGAGENT_TEST_NIGHTLY="${nightly/yes/1}" PGAGENT_TEST_SEED="${PGAGENT_TEST_SEED:-}" \
		ASAN_OPTIONS="${asan_options:-}" TSAN_OPTIONS="${tsan_options:-}" \
		UBSAN_OPTIONS="print_stacktrace=1:log_path=$work/t/sanitizer" \
		PYTHONDONTWRITEBYTECODE=1 $python -m pytest -c "$work/tree/tests/integration/pytest.ini" \
		--rootdir "$work/tree/tests/integration" --junitxml "$work/t/$name.xml" \
		-n "$workers" --dist loadgroup -q ${expr:+-k "$expr"} "$@"
	result=$?
	[ $result -ne 5 ] || result=0 # nothing selected by -k
	# shellcheck disable=SC2046 # three numbers
	[ ! -e "$work/t/$name.xml" ] || count $(tally_pytest "$work/t/$name.xml")
	if compgen -G "$work/t/sanitizer*" >/dev/null; then
		head -n 60 "$work"/t/sanitizer*
		rm -f "$work"/t/sanitizer*
		result=1
	fi
	return $result
}

# One small file system a worker, for the tests of full disks.  A container may deny the mount:
# those tests then skip, saying why.
mount_small() {
	local number
	[ $root = yes ] || return 0
	for number in $(seq 0 $((workers - 1))); do
		mkdir "$work/small/$number"
		if ! mount -t tmpfs -o size=96m,mode=0777,nosuid,nodev pgagent-test \
			"$work/small/$number" 2>/dev/null; then
			rmdir "$work/small/$number"
			echo "no tmpfs can be mounted here: the tests of full disks are skipped"
			return 0
		fi
	done
}

default_workers() {
	local n=$(($(nproc) + 1))
	[ $n -ge 2 ] || n=2
	[ $n -le 4 ] || n=4
	echo $n
}

# --- the run --------------------------------------------------------------------------------

workers=${workers:-$(default_workers)}
began=$EPOCHSECONDS
subset="test_backup_restore.py test_archive.py test_cli.py test_faults.py"
inside() { local file; for file in $1; do echo "$work/tree/tests/integration/$file"; done; }

everything() {
	phase "install" install_needed || return
	phase "copy the tree" copy_tree || return
	mount_small
	phase "format" format
	phase "tidy" tidy
	phase "build" build ci build || return
	phase "unit and contract" unit build
	phase "as root" as_root build
	phase "integration ($majors)" integration plain build "$majors" "$work/tree/tests/integration"
	[ $quick = no ] || return 0
	asan_options="exitcode=99:detect_stack_use_after_return=1:log_path=$work/t/sanitizer"
	patience=4
	if phase "build, sanitized" build asan build-asan; then
		phase "unit and contract, sanitized" unit build-asan
		# shellcheck disable=SC2046 # a list of files
		phase "integration, sanitized (15)" integration asan build-asan 15 $(inside "$subset")
	fi
	[ $nightly = yes ] || return 0
	tsan_options="exitcode=99:log_path=$work/t/sanitizer"
	if phase "build, TSan" build tsan build-tsan; then
		# shellcheck disable=SC2046 # a list of files
		phase "integration, TSan (15)" integration tsan build-tsan 15 $(inside "$subset")
	fi
}

everything
printf '\n'
printf '%s\n' "${summary[@]}"
printf 'in %d s\n' $((EPOCHSECONDS - began))
line="$passed passed, $failed failed"
[ $skipped -eq 0 ] || line="$line, $skipped skipped"
echo "$line"
[ $failed -eq 0 ] && [ $passed -gt 0 ]
