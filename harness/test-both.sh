#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The selftests with the kernel as it is used, then with the debug kernel: of these
# the ones marked debug=1, with FULL=1 all. The last line is the sum of both.

# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

summary=$(mktemp)
trap 'rm -f "$summary"' EXIT
passed=0 failed=0
everyday=()

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
run ''
export PROGRAMS=$OUT
if env "${everyday[@]}" FLAVOUR=-debug "$TOP/harness/kernel.sh" &&
	FLAVOUR=-debug "$TOP/harness/image.sh"; then
	run -debug "${everyday[@]}"
else
	say "${red}failed:${plain} the debug kernel was not built, and nothing tested with it"
	failed=$((failed + 1))
fi

echo "$passed passed, $failed failed"
trap - ERR
[[ $failed -eq 0 ]]
