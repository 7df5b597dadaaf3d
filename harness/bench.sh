#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Measure what a live update costs, in guests that count instructions, so that the
# figures are the same on a busy machine. See
# tools/testing/selftests/liveupdate/bench/ for what is measured.
#
# FULL=1 measures larger sizes, and more of them. T=REGEX picks kinds of cases.
# PEER=BZIMAGE measures that kernel too, with the same programs. It needs what a
# guest has: virtio-pci, 9p, devtmpfs, an lz4 initramfs, 8250 serial ports,
# transparent huge pages.
#
# Results in $BUILD/bench: bench.csv, a line for each case and kernel; bench.svg;
# bench.txt, what was printed. The guests' output is in $BUILD/logs/bench-*.

export FLAVOUR=-bench
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

RESULTS=$BUILD/bench
GUESTS=${GUESTS:-2}
FULL=${FULL:-}
# Of a guest: seconds until it is killed, and its memory.
if [[ -z $FULL ]]; then LIMIT=900 MEM=5G; else LIMIT=7200 MEM=12G; fi

# A guest for each kind: KIND N...
cases()
{
	if [[ -n $FULL ]]; then
		cat <<-'END'
			contiguous 1 2 4 8 16 32 64 128 256 512 1024 2048 4096
			alternate 1 2 4 8 16 32 64 128 256 512 1024 2048 4096
			huge 2 4 8 16 32 64 128 256 512 1024 2048 4096
			sparse 16 32 64 128 256 512 1024 2048 4096
			scratch 4 8 16 32
			files 1 3 10 30 100 300 1000 3000 10000 30000 100000 300000
			sessions 1 3 10 30 100 300 1000 3000 10000 30000
		END
	else
		cat <<-'END'
			files 1 100 1000 10000 100000
			alternate 1 16 128 1024
			contiguous 1 16 128 1024
			sessions 1 100 1000 10000
			huge 4 64 1024
			sparse 16 128 1024
			scratch 16
		END
	fi
}

# guest NAME SHARE KIND N...: all cases of a kind, one after the other. On QEMU's older
# machine, where the boot of README.md was measured.
guest()
{
	local name=bench-$1-$3 share=$2 kind=$3 list=none rc=0

	shift 3
	printf -v list ",$kind:%s" "$@"
	SHARE=$share "$TOP/harness/vm.sh" -m "$MEM" -s 1 -a count -t "$LIMIT" -l "$name" -q "-machine pc" \
		"rdinit=/tests/lu_bench lu.bench=none$list nokaslr loglevel=5" \
		>"$LOGS/$name.qemu" 2>&1 || rc=$?
	touch "$LOGS/$name.log" "$LOGS/$name.out"
	sed -i 's/\r//g' "$LOGS/$name.log" "$LOGS/$name.out"
	grep -q -x 'LU-EXIT 0' "$LOGS/$name.out" && return
	say "${red}$name: not all cases, see build/logs/$name.log${plain}"
	if [[ $rc -eq 124 || $rc -eq 137 ]]; then say "still running after $LIMIT s"; fi
	grep '^not ok' "$LOGS/$name.out" || tail -n 3 "$LOGS/$name.log"
}

run_all()
{
	local running=0 kernel kind
	local -a line

	while read -r -a line; do
		kind=${line[0]}
		[[ -z ${T:-} || $kind =~ $T ]] || continue
		for kernel in ours ${PEER:+peer}; do
			if [[ $running -ge $GUESTS ]]; then
				wait -n || true
				running=$((running - 1))
			fi
			if [[ $kernel == peer ]]; then
				guest peer "$RESULTS/peer" "${line[@]}" </dev/null &
			else
				guest ours "$OUT/share" "${line[@]}" </dev/null &
			fi
			running=$((running + 1))
		done
	done < <(cases)
	wait
}

# The peer's guest sees its image in place of both of ours.
peer_share()
{
	[[ -n ${PEER:-} ]] || return 0
	[[ -r $PEER ]] || die "PEER=$PEER" 'PEER is a bzImage'
	mkdir -p "$RESULTS/peer"
	cp "$OUT/share/initrd" "$RESULTS/peer/initrd"
	cp "$PEER" "$RESULTS/peer/bzImage-a"
	cp "$PEER" "$RESULTS/peer/bzImage-b"
}

# One line for each case: kernel,kind,n,figures.
csv()
{
	local kernel

	for kernel in ours ${PEER:+peer}; do
		cat "$LOGS/bench-$kernel-"*.out | awk -v kernel="$kernel" '
			/^BENCH / {
				split($2, c, /[=:]/)
				head = "kernel,kind,n"
				line = kernel "," c[2] "," c[3]
				for (i = 3; i <= NF; i++) {
					split($i, f, "=")
					head = head "," f[1]
					line = line "," f[2]
				}
				if (kernel == "ours" && !n++)
					print head
				print line
			}'
	done
}

table()
{
	echo "$(date +%F), $(file -b "$OUT/bzImage-a" | grep -o 'version [^ ]*'), one CPU, $MEM, make bench${FULL:+-full}${T:+ T=$T}"
	[[ -z ${PEER:-} ]] || echo "peer: $(file -b "$PEER" | grep -o 'version [^ ]*')"
	awk -f "$TOP/harness/bench.awk" "$RESULTS/bench.csv" \
		"$LOGS"/bench-ours-*.out ${PEER:+"$LOGS"/bench-peer-*.out}
}

main()
{
	mkdir -p "$RESULTS"
	peer_share
	rm -f "$LOGS"/bench-*
	step "run guests, $GUESTS at a time (instructions are counted)"
	run_all
	csv >"$RESULTS/bench.csv"
	[[ -s $RESULTS/bench.csv ]] || die 'nothing was measured' "see $LOGS/bench-*"
	done_step "measured"
	table | tee "$RESULTS/bench.txt"
	gnuplot -e "csv='$RESULTS/bench.csv'; svg='$RESULTS/bench.svg'" \
		"$TOP/harness/bench.gnuplot"
	# README shows a copy.
	sed -i '1a <!-- SPDX-License-Identifier: GPL-2.0 -->' "$RESULTS/bench.svg"
	say "$RESULTS/bench.csv, bench.svg, bench.txt"
	! grep -q 'NOT MET' "$RESULTS/bench.txt" &&
		! grep -L -x 'LU-EXIT 0' "$LOGS"/bench-ours-*.out | grep -q .
}

main
