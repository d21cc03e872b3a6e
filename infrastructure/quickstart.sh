#!/bin/bash
# From a bare Debian 12 to a table brought back, in one command, with nothing left behind:
#
#   infrastructure/quickstart.sh [--keep]
#
# As root, from a clone anywhere.  Installs what is needed (apt-get), builds pgagent, and as user
# postgres: a throwaway PostgreSQL 15 on a Unix socket, an encrypted repository, a backup while
# pgbench writes; then a table is dropped, others go on writing, and the cluster is restored to
# just before the drop, into another directory, and started.  Each claim is checked: the script
# fails, saying which, when one is not true.
#
#   --keep   leave the servers running and the files in place, and print how to look at them
set -uo pipefail
cd "$(dirname "$0")/.." || exit 2
source_tree=$PWD
keep=no
case "${1:-}" in
'') ;;
--keep) keep=yes ;;
-h | --help) sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0"; exit 0 ;;
*) echo "quickstart: unknown option '$1' (try --help)" >&2; exit 2 ;;
esac
if [ "$(id -u)" -ne 0 ]; then
	echo "quickstart: must be run as root: it installs packages and runs servers as postgres" >&2
	exit 2
fi
# shellcheck source=infrastructure/scratch.sh
. infrastructure/scratch.sh

bin=/usr/lib/postgresql/15/bin
port=5415
load=
steps=()

fail() {
	echo >&2
	echo "quickstart: FAILED: $*" >&2
	exit 1
}

finish() {
	local code=$?
	trap - EXIT INT TERM HUP
	stop_load
	if [ $code -eq 0 ] && [ $keep = yes ]; then
		exit 0
	fi
	if [ $code -ne 0 ] && [ -n "$work" ]; then
		tail -n 20 "$work"/*.log 2>/dev/null
	fi
	scratch_end no
	exit $code
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# step TITLE FUNCTION: says what happens, does it, and notes how long it took.
step() {
	local title=$1 began=$EPOCHREALTIME seconds
	printf '\n--- %s\n' "$title"
	"$2" || fail "$title"
	seconds=$(awk -v a="$began" -v b="$EPOCHREALTIME" 'BEGIN { printf "%6.1f", b - a }')
	steps+=("$seconds s   $title")
}

# Shown to the reader before it runs, since these are the lines to type on a real server.
pgagent() {
	printf '$ pgagent'
	printf ' %q' "$@"
	printf '\n'
	scratch_run PATH="$bin:/usr/bin:/bin" "$work/pgagent/bin/pgagent" \
		--config "$work/pgagent.conf" "$@"
}

sql() { # SOCKET-DIRECTORY PORT STATEMENT
	scratch_run "$bin/psql" -XAtq -v ON_ERROR_STOP=1 -h "$1" -p "$2" -d postgres -c "$3"
}
production() { sql "$work" $port "$1"; }

install_needed() { ./infrastructure/install-deps.sh build run; }

build() {
	scratch_make pgagent-quickstart && scratch_copy "$source_tree" || return
	chown postgres: "$work"
	cd "$work" || return
	if ! scratch_run sh -c "cmake --preset release -S tree -G Ninja && cmake --build tree/build &&
		cmake --install tree/build --prefix $work/pgagent" >"$work/build.log" 2>&1; then
		grep -E -A 5 'error|FAILED' "$work/build.log" | head -n 40
		return 1
	fi
	scratch_run "$work/pgagent/bin/pgagent" --version
}

start_server() {
	scratch_run "$bin/initdb" -D "$work/production" -U postgres -A trust --data-checksums \
		-E UTF8 --no-locale >"$work/initdb.log" 2>&1 || return
	cat >>"$work/production/postgresql.conf" <<CONF
listen_addresses = ''
unix_socket_directories = '$work'
port = $port
archive_mode = on
archive_command = '"$work/pgagent/bin/pgagent" --config "$work/pgagent.conf" archive-push "%p"'
CONF
	cat >"$work/pgagent.conf" <<CONF
[global]
state_directory = $work/state
spool_directory = $work/spool

[repo:local]
type = posix
path = $work/repository
encryption = aes-256-gcm
key_file = $work/local.key

[cluster:main]
conninfo = host=$work port=$port user=postgres dbname=postgres
repos = local
CONF
	chown postgres: "$work/pgagent.conf"
	chmod 600 "$work/pgagent.conf"
	scratch_run mkdir -m 700 "$work/state" "$work/spool"
	scratch_run "$bin/pg_ctl" -D "$work/production" -l "$work/production.log" -w start \
		>"$work/start.log" 2>&1 || return
	scratch_run "$bin/pgbench" -i -q -s 10 -h "$work" -p $port postgres >"$work/pgbench.log" 2>&1 ||
		return
	production "CREATE TABLE customers AS SELECT i AS id, 'customer ' || i AS name,
			md5(i::text) AS secret FROM generate_series(1, 1000) i;
		CREATE TABLE orders (customer int, placed timestamptz DEFAULT clock_timestamp(), note text)" ||
		return
	echo "PostgreSQL 15 on $work, port $port: pgbench's tables, 1000 customers"
}

init() { pgagent init --yes; }

start_load() {
	local before
	before=$(production "SELECT count(*) FROM pgbench_history")
	scratch_run "$bin/pgbench" -n -c 2 -T 3600 -h "$work" -p $port postgres \
		>>"$work/pgbench.log" 2>&1 &
	load=$!
	wait_until "the load to write" more_history "$before"
}

stop_load() {
	local pid
	[ -n "$load" ] || return 0
	for pid in $(scratch_processes); do
		[ "$(cat "/proc/$pid/comm" 2>/dev/null)" != pgbench ] || kill "$pid"
	done
}

more_history() { [ "$(production "SELECT count(*) FROM pgbench_history")" -gt $(($1 + 100)) ]; }

# wait_until WHAT CONDITION...: polls for a minute.
wait_until() {
	local what=$1 end=$((SECONDS + 60))
	shift
	until "$@"; do
		[ $SECONDS -lt $end ] || fail "waited a minute in vain for $what"
		sleep 0.1
	done
}

backup() {
	echo "pgbench is writing"
	start_load
	pgagent backup --checkpoint fast --label quickstart && pgagent list
}

customers='SELECT count(*) || chr(32) || sum(hashtext(t::text)) FROM customers t'
known="" moment=""

# The clock of the server decides, and it is read between two commits that are known.
incident() {
	local written
	known=$(production "$customers")
	production "INSERT INTO orders VALUES (1, DEFAULT, 'before the incident')" || return
	moment=$(production "SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC',
		'YYYY-MM-DD HH24:MI:SS.US') || 'Z'") || return
	production "DROP TABLE customers" || return
	echo "at $moment everything was well; then: DROP TABLE customers"
	production "INSERT INTO orders VALUES (2, DEFAULT, 'after the incident')" || return
	written=$(production "SELECT count(*) FROM pgbench_history")
	wait_until "others to go on writing" more_history "$written"
	[ "$(production "SELECT to_regclass('customers') IS NULL")" = t ]
}

archived() {
	[ "$(production "SELECT last_archived_wal >= '$1' AND last_archived_wal !~ '[.]'
		FROM pg_stat_archiver")" = t ]
}

ship() {
	local segment
	segment=$(production "SELECT pg_walfile_name(pg_switch_wal())") || return
	wait_until "$segment to be archived" archived "$segment"
	echo "$segment is in the repository"
}

restore() {
	pgagent restore -D "$work/restored" --to-time "$moment" --start
}

# The copy's socket directory and port, as its server wrote them.
copy_sockets="" copy_port=""
find_copy() {
	{ read -r && read -r && read -r && read -r copy_port && read -r copy_sockets; } \
		<"$work/restored/postmaster.pid" || fail "no server runs in $work/restored"
}
copy() { sql "$copy_sockets" "$copy_port" "$1"; }

claim() { # WHAT EXPECTED FOUND
	[ "$2" = "$3" ] || fail "$1: expected '$2', found '$3'"
	echo "true: $1"
}

check() {
	find_copy
	claim "the dropped table is back with all its rows" "$known" "$(copy "$customers")"
	claim "what was committed before the moment is there" 1 \
		"$(copy "SELECT count(*) FROM orders WHERE note = 'before the incident'")"
	claim "what was committed after the moment is not" 0 \
		"$(copy "SELECT count(*) FROM orders WHERE note = 'after the incident'")"
	claim "no transaction was restored by half" 1 "$(copy "SELECT count(DISTINCT s) FROM (
		SELECT sum(abalance) FROM pgbench_accounts UNION ALL SELECT sum(bbalance) FROM
		pgbench_branches UNION ALL SELECT sum(delta) FROM pgbench_history) x(s)")"
	claim "the copy runs in its own directory" "$work/restored" "$(copy "SHOW data_directory")"
	claim "the copy does not archive" off "$(copy "SHOW archive_mode")"
	claim "production was not touched: the table is still gone there" t \
		"$(production "SELECT to_regclass('customers') IS NULL")"
	claim "production has the later row" 1 \
		"$(production "SELECT count(*) FROM orders WHERE note = 'after the incident'")"
	kill -0 "$load" 2>/dev/null || fail "the load on production ended early"
	claim "production went on writing" t "$(production "SELECT count(*) > $(copy "SELECT count(*)
		FROM pgbench_history") FROM pgbench_history")"
}

verify() { pgagent verify; }

step "install what is needed" install_needed
step "build and install pgagent" build
step "start a PostgreSQL 15 with data" start_server
step "make the encrypted repository" init
step "back up under load" backup
step "the incident: a table is dropped" incident
step "archive the WAL up to now" ship
step "restore to just before, and start" restore
step "look: is it true?" check
step "verify all that is stored" verify

printf '\n'
printf '%s\n' "${steps[@]}"
if [ $keep = yes ]; then
	cat <<TXT

kept: $work
  production   psql -h $work -p $port postgres
  restored     psql -h $copy_sockets -p $copy_port postgres
  pgagent      $work/pgagent/bin/pgagent --config $work/pgagent.conf list
stop both with
  runuser -u postgres -- $bin/pg_ctl -D $work/restored stop
  runuser -u postgres -- $bin/pg_ctl -D $work/production stop
TXT
fi
echo "quickstart: all claims are true"
