#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Print which accelerator guests use: kvm or tcg.
#
#	accel.sh [nested]	nested: guests that have guests themselves, which
#				KVM may not offer and TCG does
#
# ACCEL= decides; for auto (the default) a guest is booted with KVM once: /dev/kvm
# may be there and still hang it. The answer is kept in build/accel.

# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

ANSWER=$BUILD/accel

works()
{
	local name=accel-probe

	[[ -r /dev/kvm && -w /dev/kvm ]] || return 1
	# The braces take what the shell says if QEMU aborts.
	{
		"$TOP/harness/vm.sh" -a kvm -m 512M -t 10 -l $name lu.test=lu_probe ||
			return 1
	} >"$LOGS/$name.qemu" 2>&1
	grep -q '^LU-EXIT 0' "$LOGS/$name.out"
}

# Whether guests that run with KVM can have guests themselves.
kvm_nests()
{
	grep -q -s '^[1Y]' /sys/module/kvm_amd/parameters/nested \
		/sys/module/kvm_intel/parameters/nested
}

answer()
{
	case ${ACCEL:-auto} in
	kvm | tcg)
		echo "$ACCEL"
		return
		;;
	auto) ;;
	*)
		die "ACCEL=$ACCEL" 'ACCEL is kvm, tcg or auto'
		;;
	esac
	if [[ ! -s $ANSWER ]]; then
		[[ -e $OUT/share/initrd ]] || die 'there is no guest yet' 'run "make kernel" first'
		say 'probing KVM (10 s at most, once)' >&2
		if works; then echo kvm; else echo tcg; fi >"$ANSWER.$$"
		mv "$ANSWER.$$" "$ANSWER"
		say "guests run with $(cat "$ANSWER")" >&2
	fi
	cat "$ANSWER"
}

main()
{
	local accel

	accel=$(answer) || exit 1
	[[ ${1:-} != nested ]] || [[ $accel != kvm ]] || kvm_nests || accel=tcg
	echo "$accel"
}

main "$@"
