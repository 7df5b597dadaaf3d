#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Boot one guest.
#
#	vm.sh [-m MEM] [-s CPUS] [-t SECONDS] [-a ACCEL] [-q "QEMU OPTIONS"]
#	      [-d SIZE] [-l NAME] [COMMAND LINE...]
#
# MEM has its unit: 512M. With -d the guest has an empty disk of this size, and a reset
# boots it again instead of ending QEMU.
# With -l the kernel's console goes to $LOGS/NAME.log and what the test prints to
# $LOGS/NAME.out (the guest's ttyS1), and the exit status is QEMU's, or 124 or 137
# when the time is over. Without -l the guest talks to the terminal.

# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

SHARE=${SHARE:-$OUT/share}	# what the guest sees as /host
mem=1G cpus=2 limit=0 accel='' name='' disk=''
extra=()

usage()
{
	sed -n 's/^#\t*//p' "$0" | sed -n 4,11p >&2
	exit 2
}

options()
{
	local opt

	while getopts m:s:t:a:q:d:l: opt; do
		case $opt in
		m)	mem=$OPTARG ;;
		s)	cpus=$OPTARG ;;
		t)	limit=$OPTARG ;;
		a)	accel=$OPTARG ;;
		q)	read -r -a extra <<<"$OPTARG" ;;
		d)	disk=$OPTARG ;;
		l)	name=$OPTARG ;;
		*)	usage ;;
		esac
	done
}

accel_options()
{
	[[ -n $accel && $accel != nested ]] || accel=$("$TOP/harness/accel.sh" "$accel")
	case $accel in
	kvm)	echo -accel kvm -cpu host ;;
	# The guest's time counts its instructions: 1 ns each.
	count)	echo -accel tcg,thread=single -cpu max -icount shift=0,sleep=off ;;
	*)	echo -accel tcg,thread=multi -cpu max ;;
	esac
}

serial_options()
{
	if [[ -n $name ]]; then
		rm -f "$LOGS/$name.log" "$LOGS/$name.out"
		echo -serial "file:$LOGS/$name.log" -serial "file:$LOGS/$name.out"
	else
		echo -chardev stdio,id=tty,mux=on,signal=off \
			-serial chardev:tty -mon chardev=tty
	fi
}

# What is written goes to a file without a name; the one with a name stays empty.
disk_options()
{
	local file=$BUILD/disk-$disk

	[[ -n $disk ]] || return 0
	truncate -s "$disk" "$file"
	export TMPDIR=$BUILD
	# First, so that -q can say more of it: -set drive.disk.KEY=VALUE
	extra=(-action reboot=reset -drive
		"id=disk,file=$file,format=raw,if=virtio,snapshot=on" "${extra[@]}")
}

# A guest's clock goes on while the host has no time for it, and jumps half a minute on
# a busy one: a CPU that was not there for so long has not locked up.
patience()
{
	cmdline+=' watchdog_thresh=60 rcupdate.rcu_cpu_stall_timeout=120'
}

# Pages, not huge ones, which the host would clear: a memfd has none by default, whatever
# QEMU asks for, and a guest touches few of its own. Guests with nodes bring their memory.
memory_options()
{
	[[ ${extra[*]} != *memory-backend* ]] || return 0
	extra+=(-object "memory-backend-memfd,id=ram,size=$mem,share=on"
		-machine memory-backend=ram)
}

main()
{
	local -a qemu
	local cmdline='console=ttyS0 kho=on liveupdate=on panic=-1'

	options "$@"
	shift $((OPTIND - 1))
	[[ -e $SHARE/initrd ]] || die 'there is no guest yet' 'run "make kernel" first'
	[[ -z $name ]] || cmdline+=' lu.out=ttyS1'
	[[ -z $disk ]] || cmdline+=' lu.end=poweroff'
	# Ten ticks of waiting, for a mistake of boards; on a busy machine it is found.
	[[ $(accel_options) == *kvm* ]] || cmdline+=' no_timer_check'
	# Where time is instructions, it does not.
	[[ $accel == count ]] || patience
	disk_options
	memory_options
	# q35: the tables of QEMU's older machine route interrupts by a loop in AML.
	# shellcheck disable=SC2046,SC2207 # words on purpose
	qemu=(qemu-system-x86_64 -machine q35 -nodefaults -no-user-config -no-reboot -display none
		$(accel_options) -m "$mem" -smp "$cpus"
		-kernel "$SHARE/bzImage-a" -initrd "$SHARE/initrd"
		-append "$cmdline${*:+ $*}"
		-virtfs "local,path=$SHARE,mount_tag=host,security_model=none,readonly=on"
		$(serial_options) "${extra[@]}")
	if [[ $limit -gt 0 ]]; then
		exec timeout -k 5 "$limit" "${qemu[@]}" </dev/null
	fi
	exec "${qemu[@]}"
}

main "$@"
