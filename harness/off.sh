#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Off means off: the base kernel without the series, the same config of ours without
# KEXEC_HANDOVER, and ours with kho=off boot with the same number of instructions,
# and the kernel's own kexec selftests say the same. Without KEXEC_HANDOVER a kexec
# into the other kernel and hibernation work.
#
#	off.sh
#
# Instructions are counted by QEMU: the time of the guest's clock when the kernel
# starts /init, at one nanosecond each. The command fails if it is 0.1% more.

# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

BASE=$BUILD/base	# a build directory of its own
LIMIT=0.1

# The base kernel, without patches and added files.
build_base()
{
	BUILD=$BASE LU_LOCKED='' FLAVOUR=-plain "$TOP/harness/tree.sh" base
	BUILD=$BASE LU_LOCKED='' FLAVOUR=-plain "$TOP/harness/kernel.sh"
}

# guest NAME FLAVOUR IMAGE TEST ACCEL: its logs are $LOGS/off-NAME.*
guest()
{
	local name=off-$1 share=$BUILD/x86_64$2/share

	# Unpacking another initrd would count, too.
	[[ $5 != count ]] || share=$BUILD/x86_64-plain/share
	SHARE=$share FLAVOUR=$2 "$TOP/harness/vm.sh" -m 512M -s 1 -t 600 -a "$5" -l "$name" \
		-q "-kernel $3" "lu.test=$4" nokaslr kho=off liveupdate=off \
		>"$LOGS/$name.qemu" 2>&1 || true
	sed -i 's/\r//g' "$LOGS/$name.log" "$LOGS/$name.out"
	grep -q -x 'LU-EXIT 0' "$LOGS/$name.out" ||
		die "the guest did not end well, see $LOGS/$name.log"
}

# Guest nanoseconds until /init is started, once.
instructions()
{
	guest "$1" "$2" "$3" lu_probe count
	sed -n 's/^\[ *\([0-9]*\)\.\([0-9]*\)\] Run .* as init process.*/\1\2/p' \
		"$LOGS/off-$1.log" | awk '{ print $1 * 1000; exit }'
}

selftests()
{
	guest "$1-kexec" "$2" "$3" kexec_selftests.sh tcg
	grep -v '^LU-EXIT' "$LOGS/off-$1-kexec.out"
}

failed=0
# check TITLE BASE NAME FLAVOUR IMAGE
check()
{
	local n

	n=$(instructions "$3" "$4" "$5")
	awk -v name="$1" -v n="$n" -v base="$2" -v limit="$LIMIT" 'BEGIN {
		more = (n - base) * 100 / base
		printf "    %-24s %12.0f instructions  %+.3f%%\n", name, n, more
		exit more > limit }' || failed=1
}

main()
{
	local without=$BUILD/x86_64-plain/share/bzImage-a base ours=$BUILD/x86_64/share/bzImage-a
	local image=$BASE/x86_64-plain/bzImage-a name

	build_base
	step 'boot, counting instructions'
	base=$(instructions base -plain "$image")
	printf '    %-24s %12.0f instructions\n' 'the base' "$base"
	check 'KEXEC_HANDOVER=n' "$base" plain -plain "$without"
	check 'kho=off' "$base" off '' "$ours"
	done_step 'done'

	step "the kernel's kexec selftests"
	selftests base -plain "$image" >"$LOGS/off-base.tap"
	sed 's/^/    /' "$LOGS/off-base.tap"
	for name in plain off; do
		if [[ $name == plain ]]; then
			selftests plain -plain "$without"
		else
			selftests off '' "$ours"
		fi >"$LOGS/off-$name.tap"
		diff -u "$LOGS/off-base.tap" "$LOGS/off-$name.tap" || failed=1
	done
	done_step 'done'

	# With kho=off "make test" runs them.
	FLAVOUR=-plain "$TOP/harness/test.sh" '^off-(kexec-selftests|kexec-tools|hibernate)$' ||
		failed=1
	[[ $failed -eq 0 ]] || die 'switched off, it is not as the base kernel'
}

main
