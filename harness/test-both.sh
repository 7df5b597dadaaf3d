#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The selftests with the kernel as it is used, then with the debug kernel: of these
# the ones marked debug=1, with FULL=1 all. The last line is the sum of both.
#
# Guests wait for something now and then: what the first ones leave of the processors
# compiles the kernel of the second.

# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

summary=$(mktemp)
passed=0 failed=0 builder=''
everyday=()

cleanup()
{
	rm -f "$summary"
	[[ -z $builder ]] || kill -- "-$builder" 2>/dev/null || true
}
trap cleanup EXIT

build_debug()
{
	export PROGRAMS=$OUT
	nice -n 19 env "${everyday[@]}" FLAVOUR=-debug "$TOP/harness/kernel.sh" &&
		nice -n 19 env FLAVOUR=-debug "$TOP/harness/image.sh"
}

# A process group of its own, to be ended as one.
start_build()
{
	set -m
	build_debug </dev/null >"$LOGS/build-debug.log" 2>&1 &
	builder=$!
	set +m
}

end_build()
{
	local rc=0

	step 'wait for the debug kernel (build/logs/build-debug.log)'
	wait "$builder" || rc=$?
	builder=''
	done_step 'over'
	cat "$LOGS/build-debug.log"
	return $rc
}

# run FLAVOUR [NAME=VALUE...]: a failed test is counted, anything else ends it.
run()
{
	local flavour=$1 ok not_ok

	: >"$summary"
	env "${@:2}" FLAVOUR="$flavour" SUMMARY="$summary" "$TOP/harness/test.sh" || true
	read -r ok not_ok <"$summary" || die "the tests$flavour did not come to their end"
	passed=$((passed + ok)) failed=$((failed + not_ok))
}

[[ -n ${FULL:-} ]] || everyday=(EVERYDAY=1)
start_build
run ''
if end_build; then
	run -debug "${everyday[@]}"
else
	say "${red}failed:${plain} the debug kernel was not built, and nothing tested with it"
	failed=$((failed + 1))
fi

echo "$passed passed, $failed failed"
trap - ERR
[[ $failed -eq 0 ]]
