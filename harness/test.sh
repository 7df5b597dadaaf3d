#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Run the selftests, each in a guest of its own, and say what became of them.
#
#	test.sh [PATTERN]	only the lines whose name matches (extended regex)
#
# tools/testing/selftests/liveupdate/qemu-tests.list says what to run, and at its top
# what its words mean.
#
# A guest passes if the test ends with LU-EXIT 0 in time, says "ok" at least once
# and "not ok" never, and the console is free of warnings. The "ok" and "not ok"
# lines are counted, and the log of each guest as one more.
#
# EVERYDAY=1 picks the lines with debug=1. SUMMARY=FILE gets the numbers in place
# of the last line of the output.

# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

LIST=$TOP/tools/testing/selftests/liveupdate/qemu-tests.list
RESULTS=$BUILD/results$FLAVOUR/$$	# of this run: there may be another
# Some wait for something most of the time.
GUESTS=${GUESTS:-$(($(nproc) + 1))}
PATTERN=${1:-${T:-}}
EMULATED=0

# What a healthy console does not show.
BAD='WARNING:|BUG:|\bOops\b|Kernel panic|KASAN:|UBSAN:|general protection fault'
BAD+='|INFO: task .* blocked|INFO: rcu|rcu: INFO|soft lockup|Call Trace:.*NMI'
BAD+='|possible (recursive|circular) locking|inconsistent lock state'
BAD+='|suspicious RCU usage|sleeping function called|Bad page state|[Bb]ad rss-counter'
BAD+='|kmemleak: [1-9][0-9]* new suspected|list_(add|del) corruption|Unable to mount root'
# Nor that somebody has stopped to look.
BAD+='|memory leak detector disabled|turning off the locking correctness validator'

declare -A field
parse()
{
	local -a words
	local word

	mapfile -t words < <(xargs -n1 printf '%s\n' <<<"$1")
	field=([name]=${words[0]} [test]=${words[1]:-} [mem]=512M [smp]=2
		[timeout]=60 [cmdline]='' [qemu]='' [accel]='' [disk]='' [expect]=''
		[allow]='' [only]='' [not]='' [full]='' [debug]='' [share]='')
	[[ -n ${field[test]} ]] || die "qemu-tests.list: no program: $1"
	for word in "${words[@]:2}"; do
		[[ $word == *=* && -n ${field[${word%%=*}]+x} ]] ||
			die "qemu-tests.list: ${field[name]}: what is \"$word\"?"
		field[${word%%=*}]=${word#*=}
	done
	# The limit ends what hangs. What is emulated beside others is merely late.
	[[ $EMULATED != 1 ]] || field[timeout]=$((field[timeout] * 2))
	[[ $FLAVOUR != -debug && $FLAVOUR != -debian ]] || enlarge
}

# Shadow memory, redzones, and the size of a large kernel's scratch. Nodes have the
# size that their line says.
enlarge()
{
	local mib=${field[mem]%[MG]}

	field[timeout]=$((field[timeout] * 4))
	[[ ${field[qemu]} != *memory-backend* ]] || return 0
	[[ ${field[mem]} != *G ]] || mib=$((mib * 1024))
	field[mem]=$((mib * 2 + 1024))M
}

wanted()
{
	local flavour=${FLAVOUR#-}

	[[ -z ${field[only]} || ${field[only]} == "$flavour" ]] &&
		[[ -z ${field[not]} || ${field[not]} != "$flavour" ]] &&
		[[ ${field[full]} != 1 || -n ${FULL:-} ]] &&
		[[ ${field[debug]} == 1 || -z ${EVERYDAY:-} ]] &&
		[[ -z $PATTERN || ${field[name]} =~ $PATTERN ]]
}

# Reasons why the guest failed, a line each; none if it did not.
reasons()
{
	local log=$1 out=$2 rc=$3

	case $rc in
	0) ;;
	124 | 137) echo "still running after ${field[timeout]} s" ;;
	*) echo "QEMU ended with $rc" ;;
	esac
	grep -q '^ok ' "$out" || echo 'no test said "ok"'
	grep -q -x 'LU-EXIT 0' "$out" ||
		echo "$(grep -m 1 '^LU-EXIT' "$out" || echo 'no LU-EXIT'): the test did not end well"
	[[ ${FLAVOUR:--debug} != -debug ]] ||
		grep -m 5 '^ok .*# SKIP' "$out" | sed 's/^/skipped: /' || true
	grep -v -E "${field[allow]:-^\$ no}" "$log" | grep -E -m 5 "$BAD" | sed 's/^/console: /' || true
	[[ -z ${field[expect]} ]] || grep -q -E -- "${field[expect]}" "$log" "$out" ||
		echo "expected and not found: ${field[expect]}"
}

count()
{
	grep -c -E "$1" "$2" || true
}

# One guest: its verdict goes to $RESULTS/NAME, its story to $RESULTS/NAME.txt.
guest()
{
	local name=${field[name]}$FLAVOUR start rc=0 ok not_ok skipped why
	local log=$LOGS/$name.log out=$LOGS/$name.out

	# Another run may have this guest under way, with the same logs.
	exec 8>"$(dirname "$RESULTS")/$name.lock"
	flock 8
	start=$(now)
	SHARE=$OUT/share${field[share]:+-${field[share]}} "$TOP/harness/vm.sh" -m "${field[mem]}" -s "${field[smp]}" -t "${field[timeout]}" \
		-a "${field[accel]}" -q "${field[qemu]}" -d "${field[disk]}" \
		-l "$name" "lu.test=${field[test]}" "${field[cmdline]}" \
		>"$LOGS/$name.qemu" 2>&1 8>&- || rc=$?
	touch "$log" "$out"
	sed -i 's/\r//g' "$log" "$out"
	skipped=$(count '^ok .*# SKIP' "$out")
	ok=$(($(count '^ok ' "$out") - skipped))
	not_ok=$(count '^not ok ' "$out")
	why=$(reasons "$log" "$out" "$rc")
	if [[ -z $why ]]; then ok=$((ok + 1)); else not_ok=$((not_ok + 1)); fi
	echo "$ok $not_ok $skipped" >"$RESULTS/$name"
	story "$name" "$(elapsed "$(now)" "$start")" >"$RESULTS/$name.txt"
	cat "$RESULTS/$name.txt"
}

story()
{
	local log=$LOGS/$1.log out=$LOGS/$1.out

	if [[ $not_ok -eq 0 ]]; then
		printf '%sPASS%s %-40s %3d ok %6s s%s\n' "$green" "$plain" "$1" "$((ok - 1))" \
			"$2" "$([[ $skipped -eq 0 ]] || echo "  ($skipped skipped)")"
		return
	fi
	printf '%sFAIL%s %-40s %3d ok, %d not ok %6s s\n' "$red" "$plain" "$1" "$ok" "$not_ok" "$2"
	grep '^not ok ' "$out" | sed 's/^/     /' || true
	[[ -z $why ]] || printf '     %s\n' "${why//$'\n'/$'\n     '}"
	echo "---- the test's last words ($out)"
	tail -n 30 "$out"
	[[ ! -s $LOGS/$1.qemu ]] || { echo '---- QEMU'; tail -n 5 "$LOGS/$1.qemu"; }
	echo "---- the last lines of the console ($log)"
	tail -n 60 "$log"
	echo "---- again, with this guest only: make test${FLAVOUR} T='^${field[name]}\$'"
}

run_all()
{
	local line running=0 n=0

	while read -r line; do
		[[ -n $line && $line != '#'* ]] || continue
		parse "$line"
		wanted || continue
		if [[ $running -ge $GUESTS ]]; then
			wait -n || true
			running=$((running - 1))
		fi
		guest </dev/null &
		running=$((running + 1))
		n=$((n + 1))
	done <"$LIST"
	wait
	[[ $n -gt 0 ]] || die "no test matches '$PATTERN'" "see $LIST"
}

summary()
{
	local passed failed skipped f

	passed=0 failed=0 skipped=0
	for f in "$RESULTS"/*; do
		[[ $f != *.txt ]] || continue
		read -r ok not_ok skip <"$f"
		passed=$((passed + ok)) failed=$((failed + not_ok)) skipped=$((skipped + skip))
		[[ $not_ok -eq 0 ]] || say "${red}failed:${plain} $(basename "$f"), see build/logs/$(basename "$f").log"
	done
	[[ $skipped -eq 0 ]] || say "$skipped tests were skipped"
	done_step "all guests"
	rm -rf "$RESULTS"
	if [[ -n ${SUMMARY:-} ]]; then
		echo "$passed $failed" >"$SUMMARY"
	else
		echo "$passed passed, $failed failed"
	fi
	[[ $failed -eq 0 ]]
}

main()
{
	local accel

	[[ -e $LIST ]] || die "no $LIST"
	accel=$("$TOP/harness/accel.sh")
	[[ $accel == kvm ]] || EMULATED=1
	mkdir -p "$RESULTS"
	step "run guests, $GUESTS at a time ($accel)"
	run_all
	summary || { trap - ERR; exit 1; }
}

main
