# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
#
# What every script of the harness shares: where things are, how a step is
# announced and timed, and how a failure ends. To be sourced.

set -euo pipefail
umask 022

TOP=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
BUILD=${BUILD:-$TOP/build}
mkdir -p "$BUILD/logs"
BUILD=$(cd "$BUILD" && pwd)
# shellcheck disable=SC2034 # used by the scripts that source this
{
	TREE=$BUILD/linux
	LOGS=$BUILD/logs
	JOBS=${JOBS:-$(nproc)}
	ARCH=x86_64
	FLAVOUR=${FLAVOUR:-}	# "" or "-debug"
	OUT=$BUILD/$ARCH$FLAVOUR
}
export CCACHE_DIR=${CCACHE_DIR:-$BUILD/ccache}
# An object is the same wherever the tree is.
export CCACHE_BASEDIR=$BUILD CCACHE_NOHASHDIR=1
export LC_ALL=C

if [[ -t 1 ]]; then
	bold=$'\e[1m' red=$'\e[31m' green=$'\e[32m' dim=$'\e[2m' plain=$'\e[0m'
else
	bold='' red='' green='' dim='' plain=''
fi
# shellcheck disable=SC2034
readonly bold red green dim plain

step_name='' step_start=0

# Seconds since the epoch with two decimals, without a process.
now()
{
	local us=${EPOCHREALTIME/./}

	printf '%d.%02d\n' $((us / 1000000)) $((us % 1000000 / 10000))
}

# $1 - $2 in seconds, one decimal.
elapsed()
{
	awk -v a="$1" -v b="$2" 'BEGIN { printf "%.1f", a - b }'
}

# Announce what comes next; done_step() says how long it took.
step()
{
	step_name=$1
	step_start=$(now)
	printf '%s==>%s %s\n' "$bold" "$plain" "$step_name"
}

done_step()
{
	printf '    %s%s: %s s%s\n' "$dim" "$1" \
		"$(elapsed "$(now)" "$step_start")" "$plain"
	step_name=''
}

say()
{
	printf '    %s\n' "$*"
}

# die MESSAGE [WHAT-TO-DO-NEXT]
die()
{
	printf '%serror:%s %s\n' "$red" "$plain" "$1" >&2
	[[ -z ${2:-} ]] || printf '       %s\n' "$2" >&2
	trap - ERR
	exit 1
}

unexpected()
{
	printf '%serror:%s %s:%s: "%s" failed%s\n' "$red" "$plain" \
		"${BASH_SOURCE[1]##*/}" "$1" "$2" "${step_name:+ while: $step_name}" >&2
}
set -E
trap 'unexpected "$LINENO" "$BASH_COMMAND"' ERR

# Two builds in one tree would break each other: the second one waits. A script
# called by the holder inherits the lock.
take_lock()
{
	[[ -z ${LU_LOCKED:-} ]] || return 0
	exec 9>"$BUILD/.lock"
	if ! flock -n 9; then
		say 'waiting for another build in this tree'
		flock 9
	fi
	export LU_LOCKED=1
}

# Run a long command: its output goes to a log, one line of progress to the
# terminal. logged NAME HINT COMMAND...
logged()
{
	local log=$LOGS/$1.log hint=$2 rc=0

	shift 2
	"$@" 9>&- </dev/null 2>&1 | progress "$log" || rc=$?
	[[ $rc -ne 0 ]] || return 0
	grep -n -m 10 -E '(error|Error|ERROR|undefined reference)\b.*' "$log" >&2 || true
	printf -- '---- the last lines of %s\n' "$log" >&2
	tail -n 25 "$log" >&2
	die "this failed: $*" "$hint"
}

# Copy stdin to log $1 and count the objects that go by: on a terminal in one
# line, elsewhere a line every 200.
progress()
{
	local tty=0

	[[ ! -t 1 ]] || tty=1
	awk -v log_file="$1" -v tty="$tty" '
		{ print > log_file }
		/^ +(CC|AS|LD|AR|HOSTCC|HOSTLD|CC \[M\]) / {
			n++
			if (tty && n % 5 == 0)
				printf "\r    %5d files  %-50.50s", n, $NF
			else if (!tty && n % 200 == 0)
				printf "    %5d files\n", n
			fflush()
		}
		/: warning: / { print "\r    " $0; fflush() }
		END { if (tty && n) printf "\r%70s\r", ""; if (n) printf "    %d files built\n", n }'
}

# What a program of the host loads, which is nothing for a static one, to $ROOT.
add_libraries()
{
	local lib

	{ ldd "$1" 2>/dev/null | grep -o '/[^ ]*' || true; } | while read -r lib; do
		[[ ! -e $ROOT$lib ]] || continue
		mkdir -p "$ROOT$(dirname "$lib")"
		cp -L "$lib" "$ROOT$lib"
	done
}

# A program $1 of the host, with all it loads, to $2 in $ROOT.
add_program()
{
	cp -L "$1" "$ROOT$2"
	add_libraries "$1"
}
