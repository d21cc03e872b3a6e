# Sourced by scripts that work in a directory of their own below /var/tmp: made fresh, readable
# by user postgres (a clone below /root is not), and gone afterwards with all that runs in it.
#
# $work is that directory once scratch_make has run.  The caller's EXIT trap calls scratch_end.
# shellcheck shell=bash
work=""
scratch_user=$(id -un)
[ "$(id -u)" -ne 0 ] || scratch_user=postgres

# scratch_make STEM: $work with tree/ (for the sources) and home/, owned by the user of the work.
scratch_make() {
	work=$(mktemp -d "/var/tmp/$1.XXXXXX") || return
	chmod 755 "$work" && mkdir "$work/tree" "$work/home" && chown "$scratch_user": "$work"/*
}

# scratch_copy SOURCE: the tree as it lies there, committed or not, without what was built in it.
scratch_copy() {
	tar -C "$1" --exclude=./.git --exclude=./build --exclude='./build-*' --exclude=./.deps \
		--exclude=__pycache__ -cf - . | tar -C "$work/tree" --no-same-owner -xf - || return
	chown -R "$scratch_user": "$work/tree" && chmod -R go+rX "$work/tree"
}

# A child of its own, waited for, so that a signal to this script is acted on at once.  Under job
# control it gets a process group and its SIGINT back, which a plain & would have it ignore.
scratch_wait() {
	set -m
	"$@" &
	set +m
	wait $!
}

# scratch_run COMMAND...: as that user, with nothing of the caller's environment and no input.
scratch_run() {
	local clean=(env -i HOME="$work/home" LC_ALL=C.UTF-8 TZ="${TZ:-}"
		PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin)
	[ "$(id -un)" = "$scratch_user" ] || clean=(runuser -u "$scratch_user" -- "${clean[@]}")
	scratch_wait "${clean[@]}" "$@" </dev/null
}

# Processes whose working directory lies in $work: builds, tests, and the servers they started.
scratch_processes() {
	local cwd pid
	for cwd in /proc/[0-9]*/cwd; do
		pid=${cwd#/proc/}
		pid=${pid%/cwd}
		case $pid in "$$" | "$BASHPID") continue ;; esac
		case $(readlink "$cwd" 2>/dev/null) in "$work" | "$work"/*) echo "$pid" ;; esac
	done
}

scratch_stop() {
	local signal left
	[ -n "$work" ] && cd / || return 0
	# QUIT first: a postmaster that is only killed leaves its shared memory behind.
	for signal in QUIT KILL; do
		mapfile -t left < <(scratch_processes)
		[ ${#left[@]} -gt 0 ] || return 0
		kill -$signal "${left[@]}" 2>/dev/null
		for _ in $(seq 50); do
			[ -n "$(scratch_processes)" ] || return 0
			sleep 0.1
		done
	done
}

# scratch_end KEEP: stops everything; removes the directory, or says where it is (KEEP = yes).
scratch_end() {
	[ -n "$work" ] || return 0
	scratch_stop
	if [ "$1" = yes ]; then
		echo "kept: $work"
	else
		rm -rf --one-file-system "$work"
	fi
}
