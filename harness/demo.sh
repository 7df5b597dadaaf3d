#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# One live update to look at, and its exit status says whether all went well.
#
#	demo.sh [vms]	two virtual machines go on while their host changes kernels
#	demo.sh memfd	a file of random data, and its checksum
#
# The guest's test program says what happens in lines that start with "DEMO: ";
# what the kernels do is told from their console. Here it all gets this machine's
# clock, which goes on while the guest's kernels change.

# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

NAME=live-demo
LIMIT=180

declare -A partial
# The next line of descriptor $1 in $line, if it is all there.
next_line()
{
	local part=''

	if IFS= read -r -u "$1" part; then
		line=${partial[$1]:-}${part%$'\r'}
		partial[$1]=''
		return 0
	fi
	partial[$1]=${partial[$1]:-}$part
	return 1
}

# A line of the console as the spectator of the VMs gets it; nothing for most of them.
tell_kernel()
{
	[[ $story == vms ]] || return 0
	case $1 in
	*' sessions go to the next kernel')
		printf '%-10s all files are frozen' 'kernel A' ;;
	*'Starting new kernel'*)
		printf '%-10s jumps' 'kernel A' ;;
	*'Linux version '*-b' '*)
		printf '%-10s its first line' 'kernel B' ;;
	*'liveupdate: update '*' brought '*' sessions')
		printf '%-10s found %s: the VMs, luod, this test' 'kernel B' "${1#* brought }" ;;
	*'lu: '*-b', stage 2: '*)
		printf '%-10s is up, starts luod and the VMMs' 'kernel B' ;;
	esac
}

tell_test()
{
	case $1 in
	'DEMO: '*' memory: '* | 'DEMO: '*' its TSC '*) ;;
	'DEMO: '*) printf '%s' "${1#DEMO: }" ;;
	esac
}

# What the story of the VMs has to have, whoever says it in which words.
steps()
{
	cat <<-'EOF'
		red suspended
		blue suspended
		kernel A all files are frozen
		kernel A jumps
		kernel B its first line
		kernel B found * sessions: the VMs, luod, this test
		kernel B is up, starts luod and the VMMs
		red resumed, stood still for *
		blue resumed, stood still for *
		red lines 1 to *
		blue lines 1 to *
	EOF
}

told=()		# what was shown
# Whether nothing of it was missing, to the end of an update that went well.
check_steps()
{
	local step line

	while read -r step; do
		for line in "${told[@]}"; do
			# shellcheck disable=SC2053	# a pattern it is
			[[ ! $line == $step ]] || continue 2
		done
		fail "nobody said \"$step\""
	done < <(steps)
}

declare -A still	# since when, and then for how long
# A line for the spectator: $1 at $2.
show_line()
{
	local at who=${1%% *}

	[[ -n $1 ]] || return 0
	told+=("$(tr -s ' ' <<<"$1")")
	at=$(elapsed "$2" "$start")
	printf '  %s%6.1f s%s  %s\n' "$dim" "$at" "$plain" "$1"
	case $1 in
	*' suspended') still[$who]=$at ;;
	*' resumed, '*) still[$who]=$(elapsed "$at" "${still[$who]:-0}") ;;
	esac
}

# Show what comes until process $1 has ended. The test is read before the console:
# what it says in one go with the kernel's freeze came before it.
show()
{
	local line out log idle ended=0 who

	until [[ -e $LOGS/$NAME.out && -e $LOGS/$NAME.log ]] || ! kill -0 "$1" 2>/dev/null; do
		sleep 0.02
	done
	touch "$LOGS/$NAME.out" "$LOGS/$NAME.log"
	exec {out}<"$LOGS/$NAME.out" {log}<"$LOGS/$NAME.log" {idle}<> <(:)
	while [[ $ended -eq 0 ]]; do
		kill -0 "$1" 2>/dev/null || ended=1
		while next_line "$out"; do
			show_line "$(tell_test "$line")" "$EPOCHREALTIME"
		done
		while next_line "$log"; do
			show_line "$(tell_kernel "$line")" "$EPOCHREALTIME"
		done
		read -r -t 0.02 -u "$idle" || true
	done
	for who in "${!still[@]}"; do
		printf '  %10s%-10s stood still for %s s by the clock of this machine\n' '' \
			"$who" "${still[$who]}"
	done
}

fail()
{
	printf '\n  %sthe live update failed%s: %s\n\n' "$red" "$plain" "$1"
	echo "---- the last lines of the console ($LOGS/$NAME.log)"
	tail -n 30 "$LOGS/$NAME.log"
	echo "---- what the test program said ($LOGS/$NAME.out)"
	tail -n 10 "$LOGS/$NAME.out"
	trap - ERR
	exit 1
}

# Boot a guest for test $1 and show what it does.
run()
{
	local start vm rc=0

	rm -f "$LOGS/$NAME.out" "$LOGS/$NAME.log"
	start=$EPOCHREALTIME
	"$TOP/harness/vm.sh" -a "$accel" -m 1G -t $LIMIT -l $NAME "lu.test=$1" >"$LOGS/$NAME.qemu" 2>&1 &
	vm=$!
	show $vm
	wait $vm || rc=$?
	touch "$LOGS/$NAME.log" "$LOGS/$NAME.out"
	sed -i 's/\r//g' "$LOGS/$NAME.log" "$LOGS/$NAME.out"
	[[ $rc -ne 124 && $rc -ne 137 ]] || fail "the guest did not end within $LIMIT s"
	[[ $rc -eq 0 ]] || fail "QEMU ended with $rc, see $LOGS/$NAME.qemu"
	grep -q -x 'LU-EXIT 0' "$LOGS/$NAME.out" ||
		fail "$(grep -m 1 '^LU-EXIT' "$LOGS/$NAME.out" || echo 'the program did not come back')"
	! grep -q '# SKIP' "$LOGS/$NAME.out" || fail "$(grep -m 1 -o 'SKIP.*' "$LOGS/$NAME.out")"
}

main()
{
	local accel story=${1:-vms}

	accel=$("$TOP/harness/accel.sh")
	case $story in
	vms)
		accel=$("$TOP/harness/accel.sh" nested)
		step "two VMs on a host that goes from kernel A to kernel B ($accel)"
		echo
		run luo_vmm:two_guests
		check_steps
		printf '\n  %sboth VMs survived the kernel of their host%s\n' "$green" "$plain"
		[[ $accel != tcg ]] ||
			printf '  All of it is emulated here, the processor as well: hardware takes less time.\n'
		;;
	memfd)
		step "live update, kernel A to kernel B ($accel)"
		echo
		run luo_demo
		printf '\n  %sthe data survived the kernel%s\n' "$green" "$plain"
		;;
	*)
		die "demo.sh: what is \"$story\"?" 'vms or memfd'
		;;
	esac
	echo
	done_step 'done'
}

main "$@"
