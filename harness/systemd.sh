#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Assemble a root file system with the distribution's systemd as init, and with
# luod as "make install" installs it: $OUT/share/systemd.tar, for guests that are
# told lu.root=systemd. Of systemd it has what takes part in booting, in stopping,
# and in kexec, and logind with its bus; what is not there need not be masked.

# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

ROOT=$OUT/systemd
SHARE=$OUT/share
SYSTEMD=/usr/lib/systemd
UNITS=$SYSTEMD/system

# 255 and later start programs by another one.
BINARIES=(systemd systemd-shutdown systemd-executor)
GENERATORS=(systemd-fstab-generator systemd-debug-generator)
TARGETS=(basic sysinit multi-user sockets timers paths slices local-fs local-fs-pre swap
	shutdown umount final kexec reboot emergency rescue)

make_root()
{
	local dir applet

	rm -rf "$ROOT"
	mkdir -p "$ROOT"/{dev,proc,sys,run,tmp,host,tests,etc,root,var/tmp} \
		"$ROOT"/usr/{bin,sbin,lib,lib64,lib/x86_64-linux-gnu} \
		"$ROOT$UNITS" "$ROOT$SYSTEMD/system-generators"
	for dir in bin sbin lib lib64; do
		ln -s "usr/$dir" "$ROOT/$dir"
	done
	cp -L /bin/busybox "$ROOT/bin/busybox"
	for applet in $(/bin/busybox --list); do
		[[ $applet == busybox ]] || ln -s busybox "$ROOT/bin/$applet"
	done
}

add_systemd()
{
	local name

	for name in "${BINARIES[@]}" "${GENERATORS[@]/#/system-generators/}"; do
		[[ ! -e $SYSTEMD/$name ]] || add_program "$SYSTEMD/$name" "$SYSTEMD/$name"
	done
	# Started by a test only, by way of lu-inhibit.service.
	for name in systemctl systemd-inhibit dbus-daemon; do
		add_program "/usr/bin/$name" "/usr/bin/$name"
	done
	add_program "$SYSTEMD/systemd-logind" "$SYSTEMD/systemd-logind"
	cp "$UNITS"/dbus.{socket,service} "$UNITS/systemd-logind.service" "$ROOT$UNITS/"
	mkdir -p "$ROOT/usr/share/dbus-1/system.d"
	cp /usr/share/dbus-1/system.conf "$ROOT/usr/share/dbus-1/"
	cp /usr/share/dbus-1/system.d/org.freedesktop.{systemd,login}1.conf \
		"$ROOT/usr/share/dbus-1/system.d/"
	for name in "${TARGETS[@]}"; do
		cp "$UNITS/$name.target" "$ROOT$UNITS/"
	done
	cp "$UNITS"/systemd-{kexec,reboot}.service "$ROOT$UNITS/"
	ln -sf "$SYSTEMD/systemd" "$ROOT/sbin/init"
}

# With an ID, it is not the first boot of this system, which would enable units.
configure()
{
	printf '%s\n' 'root:x:0:0:root:/root:/bin/sh' 'messagebus:x:100:100::/:/bin/false' \
		>"$ROOT/etc/passwd"
	printf '%s\n' 'root:x:0:' 'messagebus:x:100:' >"$ROOT/etc/group"
	echo '6c756f6473797374656d640000000001' >"$ROOT/etc/machine-id"
	echo 'PRETTY_NAME="a guest with systemd"' >"$ROOT/etc/os-release"
	mkdir -p "$ROOT/etc/systemd"
	printf '%s\n' '[Manager]' LogTarget=kmsg ShowStatus=no DefaultStandardOutput=tty \
		DefaultStandardError=tty >"$ROOT/etc/systemd/system.conf"
}

add_luod()
{
	logged "install$FLAVOUR" 'see tools/liveupdate' \
		make -C "$TREE/tools/liveupdate" CC='ccache gcc' OUTPUT="$OUT/agent/" \
		KHDR_INCLUDES="-isystem $OUT/usr/include" \
		DESTDIR="$ROOT" prefix=/usr install
	# Their libraries.
	add_program "$OUT/agent/luod/luod" /usr/sbin/luod
	add_program "$OUT/agent/luoctl/luoctl" /usr/sbin/luoctl
	rm -rf "${ROOT:?}"/usr/{share/{man,bash-completion},include,lib/libluo*,lib/pkgconfig}
}

add_tests()
{
	cp "$TOP"/harness/guest/systemd/*.{service,target} "$ROOT$UNITS/"
	cp "$TOP/harness/guest/init" "$ROOT/lu-init"
	ln -s "$UNITS/multi-user.target" "$ROOT$UNITS/default.target"
	logged "enable$FLAVOUR" 'see systemctl(1)' \
		systemctl --root="$ROOT" enable luod.socket luod.service lu-test.service
}

main()
{
	take_lock
	step "assemble a guest with $(systemctl --version | head -n 1)"
	make_root
	add_systemd
	configure
	add_luod
	add_tests
	tar -C "$ROOT" --sort=name --owner=0 --group=0 --numeric-owner --mtime=@0 \
		-cf "$SHARE/systemd.tar.new" .
	mv "$SHARE/systemd.tar.new" "$SHARE/systemd.tar"
	done_step "$(du -k "$SHARE/systemd.tar" | cut -f1) KiB"
}

main
