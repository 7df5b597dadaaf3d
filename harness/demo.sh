#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# One live update to look at. The guest's luo_demo says what happens in lines that
# start with "DEMO: "; here they get the host's clock and a frame. The exit status
# says whether kernel B read what kernel A had in memory.

# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

NAME=live-demo

# Lines as they come, until the guest has ended.
show()
{
	local line start=$1

	# tail is not pleased that the file is not there from the start.
	{ tail -n +1 -s 0.1 --pid="$2" -F "$LOGS/$NAME.out" 2>/dev/null || true; } |
		while IFS= read -r line; do
			line=${line%$'\r'}
			[[ $line == 'DEMO: '* ]] || continue
			printf '  %s%6.1f s%s  %s\n' "$dim" "$(elapsed "$(now)" "$start")" \
				"$plain" "${line#DEMO: }"
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

main()
{
	local start vm rc=0

	step "live update, kernel A to kernel B ($("$TOP/harness/accel.sh"))"
	echo
	rm -f "$LOGS/$NAME.out" "$LOGS/$NAME.log"
	start=$(now)
	"$TOP/harness/vm.sh" -m 1G -t 120 -l $NAME lu.test=luo_demo >"$LOGS/$NAME.qemu" 2>&1 &
	vm=$!
	show "$start" $vm
	wait $vm || rc=$?
	touch "$LOGS/$NAME.log" "$LOGS/$NAME.out"
	sed -i 's/\r//g' "$LOGS/$NAME.log" "$LOGS/$NAME.out"
	[[ $rc -ne 124 && $rc -ne 137 ]] || fail 'the guest did not end within 120 s'
	[[ $rc -eq 0 ]] || fail "QEMU ended with $rc, see $LOGS/$NAME.qemu"
	grep -q -x 'LU-EXIT 0' "$LOGS/$NAME.out" ||
		fail "$(grep -m 1 '^LU-EXIT' "$LOGS/$NAME.out" || echo 'the program did not come back')"
	printf '\n  %sthe data survived the kernel%s\n\n' "$green" "$plain"
	done_step 'done'
}

main
