#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Build the guest's initramfs, $OUT/share/initrd: busybox, kexec, dtc, the tools, the
# libraries of all of them, modules if there are any. $OUT/share is what the guest sees
# as /host, with both kernels beside it, and the selftests.
#
# Every kernel unpacks the initramfs, and at each kexec two compute a checksum of it:
# what few guests need stays outside. The guest of `make bench` has the probe only; for
# the other kernels that one is in $OUT/share-probe.

# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

SELFTESTS=tools/testing/selftests/liveupdate
ROOT=$OUT/root
SHARE=$OUT/share
PROGRAMS=${PROGRAMS:-$OUT}
HEADERS=$PROGRAMS/usr/include

# build_selftests DIRECTORY ARGUMENTS-OF-MAKE
build_selftests()
{
	[[ -e $TREE/$SELFTESTS/Makefile ]] || {
		say "no $SELFTESTS/Makefile yet: a guest without tests"
		return 0
	}
	mkdir -p "$1"
	logged "selftests$FLAVOUR" "see $SELFTESTS" \
		make -C "$TREE/$SELFTESTS" -j"$JOBS" ARCH="$ARCH" CC='ccache gcc' \
		OUTPUT="$1" KHDR_INCLUDES="-isystem $HEADERS" "${@:2}"
}

build_tools()
{
	[[ -e $TREE/tools/liveupdate/Makefile ]] || return 0
	mkdir -p "$PROGRAMS/agent"
	logged "tools$FLAVOUR" 'see tools/liveupdate' \
		make -C "$TREE/tools/liveupdate" -j"$JOBS" CC='ccache gcc' \
		OUTPUT="$PROGRAMS/agent/" KHDR_INCLUDES="-isystem $HEADERS" all
	# For long tests: what reads or writes where it should not ends at once.
	[[ -z ${FULL:-} ]] || logged "tools-asan$FLAVOUR" 'see tools/liveupdate' \
		make -C "$TREE/tools/liveupdate" -j"$JOBS" CC='ccache gcc' \
		OUTPUT="$PROGRAMS/agent-asan/" KHDR_INCLUDES="-isystem $HEADERS" \
		CFLAGS='-O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all' \
		"$PROGRAMS/agent-asan/luod/luod"
}

build_samples()
{
	mkdir -p "$PROGRAMS/programs"
	logged "samples$FLAVOUR" 'see samples/liveupdate' \
		make -C "$TREE/samples/liveupdate" CC='ccache gcc' \
		OUTPUT="$PROGRAMS/programs" KHDR_INCLUDES="-isystem $HEADERS" \
		LUO_CFLAGS="-I$TREE/tools/liveupdate/lib" \
		LUO_LIBS="$PROGRAMS/agent/lib/libluo.a -ljson-c" all
}

# Executables of directory $1 to $2, without what debuggers want.
add_built()
{
	local f

	[[ -d $1 ]] || return 0
	find "$1" -maxdepth 1 -type f -perm -u+x | while read -r f; do
		cp "$f" "$ROOT$2/"
		strip "$ROOT$2/${f##*/}" 2>/dev/null || true
		add_libraries "$f"
	done
}

# What README.md has its reader do is a test like the documents'.
add_readme()
{
	cat "$TOP/$SELFTESTS/luo_doc.sh" "$TOP/README.md" >"$ROOT/tests/luo_doc_readme"
	chmod +x "$ROOT/tests/luo_doc_readme"
}

# Scripts that the tests come with are not built: they are in the repository.
add_scripts()
{
	find "$TOP/$SELFTESTS" -maxdepth 1 -type f -perm -u+x -name '*.sh' \
		-exec cp {} "$ROOT/tests/" \; 2>/dev/null || true
	mkdir "$ROOT/tests/kexec"
	cp "$TREE"/tools/testing/selftests/kexec/*.sh "$ROOT/tests/kexec/"
}

fill_root()
{
	local applet dir

	rm -rf "$ROOT"
	mkdir -p "$ROOT"/{bin,sbin,usr/bin,usr/sbin,dev,proc,sys,tmp,host,tests,etc,lib,run}
	# Where Debian merged /usr, libraries are looked for under both names.
	cp -L /bin/busybox "$ROOT/bin/busybox"
	for applet in $(/bin/busybox --list); do
		[[ $applet == busybox ]] || ln -s busybox "$ROOT/bin/$applet"
	done
	add_program /sbin/kexec /sbin/kexec
	add_program /usr/bin/dtc /usr/bin/dtc
	add_built "$PROGRAMS/selftests" /tests
	add_scripts
	add_readme
	add_built "$PROGRAMS/programs" /tests
	for dir in luod luoctl; do
		[[ ! -x $PROGRAMS/agent/$dir/$dir ]] || add_program "$PROGRAMS/agent/$dir/$dir" "/usr/sbin/$dir"
	done
	[[ -z ${FULL:-} ]] || add_program "$PROGRAMS/agent-asan/luod/luod" /usr/sbin/luod-asan
	for dir in "$OUT"/modules-*/lib/modules; do
		[[ ! -d $dir ]] || cp -a "$dir" "$ROOT/lib/"
	done
	share_modules
	cp "$TOP/harness/guest/init" "$ROOT/init"
	cp "$TOP/harness/guest/fstab" "$ROOT/etc/fstab"
	cp "$TOP/harness/guest/probe" "$ROOT/tests/lu_probe"
	share_tests
	echo 'root:x:0:0:root:/:/bin/sh' >"$ROOT/etc/passwd"
}

# init copies what its guest runs. Debian's kernel, which the tests of kexec go into, has
# no 9p before it has modules, and Debian's QEMU, which starts lu-guest, no /host.
share_tests()
{
	local f

	mkdir -p "$SHARE/tests"
	find "$ROOT/tests" -maxdepth 1 -type f ! -name luo_kexec ! -name lu-guest.bin | while read -r f; do
		share "$f" "tests/${f##*/}"
		ln -sf "/host/tests/${f##*/}" "$f"
	done
}

share_modules()
{
	local dir name

	rm -rf "$SHARE"/kvm-*
	for dir in "$ROOT"/lib/modules/*/kernel/arch/x86/kvm; do
		[[ -d $dir ]] || continue
		name=${dir#"$ROOT"/lib/modules/}
		name=kvm-${name%%/*}
		cp -r "$dir" "$SHARE/$name"
		rm -r "$dir"
		ln -s "/host/$name" "$dir"
	done
}

# Static: it is alone.
fill_probe_root()
{
	build_selftests "$PROGRAMS/selftests-static" "$PROGRAMS/selftests-static/lu_bench"
	rm -rf "$ROOT"
	mkdir -p "$ROOT"/{dev,proc,sys,tmp,host,tests}
	cp "$PROGRAMS/selftests-static/lu_bench" "$ROOT/tests/"
	strip "$ROOT/tests/lu_bench"
}

# Sorted, owned by root, without times: the same contents give the same file.
pack()
{
	find "$ROOT" -exec touch -h -d @0 {} +
	(cd "$ROOT" && find . | sort | cpio --quiet --reproducible -o -H newc -R 0:0) |
		lz4 -q -l -9 -c
}

# Replaced, not rewritten: a running guest may have the old one open.
share()
{
	cmp -s "$1" "$SHARE/$2" || {
		cp "$1" "$SHARE/$2.new"
		mv "$SHARE/$2.new" "$SHARE/$2"
	}
}

# share_guest: what is in $ROOT, and both kernels, to $SHARE.
share_guest()
{
	mkdir -p "$SHARE"
	pack >"$OUT/initrd.new"
	share "$OUT/initrd.new" initrd
	rm "$OUT/initrd.new"
	share "$OUT/bzImage-a" bzImage-a
	share "$OUT/bzImage-b" bzImage-b
}

main()
{
	local programs

	take_lock
	step "build the guest ($(basename "$OUT"))"
	if [[ $FLAVOUR != -bench ]]; then
		# Not static, as they are elsewhere: one C library is less than thirty.
		build_selftests "$PROGRAMS/selftests" LDFLAGS= all
		build_tools
		build_samples
		mkdir -p "$SHARE"
		fill_root
		share_guest
		programs=$(find "$ROOT/tests" ! -type d | wc -l)
		say "$(du -k "$SHARE/initrd" | cut -f1) KiB initrd, $programs programs"
		SHARE=$SHARE-probe ROOT=$ROOT-probe
	fi
	fill_probe_root
	share_guest
	done_step "$(du -k "$SHARE/initrd" | cut -f1) KiB initrd for the probe"
}

main
