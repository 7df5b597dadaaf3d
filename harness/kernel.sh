#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Build the two kernels of a live update: A in $OUT, and B, the same objects with
# another version string, in $OUT-b, a copy of $OUT in which only what depends on
# the version is made again. The images end up as $OUT/bzImage-a and bzImage-b.
#
#	kernel.sh [FLAVOUR]	FLAVOUR: debug, plain, ... (configs/FLAVOUR.config)
#	kernel.sh deb		Debian packages of the flavour "debian", in build/deb
#
# EVERYDAY=1 makes one kernel, which stands for both. PROGRAMS= as for image.sh.
#
# The fragments stand on allnoconfig; those of the flavour "debian" on the config of
# Debian's kernel for clouds.

target=kernel
case ${1:-} in
'') ;;
deb)	target=deb FLAVOUR=-debian ;;
*)	FLAVOUR=-$1 ;;
esac
export FLAVOUR
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

DEBIAN_CONFIG=/usr/src/linux-config-6.12/config.amd64_none_cloud-amd64.xz

flavour=${FLAVOUR#-}
fragments=("$TOP/configs/$ARCH.config")
[[ -z $flavour ]] || fragments+=("$TOP/configs/$flavour.config")
[[ $flavour != debian ]] || fragments=("$TOP/configs/debian.config")
# CONFIG= names one more fragment.
[[ -z ${CONFIG:-} ]] || fragments+=("$CONFIG")

# Fixed names and times: an object depends on its source only.
export KBUILD_BUILD_TIMESTAMP='Thu Jan  1 00:00:00 UTC 2026'
export KBUILD_BUILD_USER=liveupdate KBUILD_BUILD_HOST=qemu

kmake()
{
	local out=$1

	shift
	make -C "$TREE" O="$out" ARCH="$ARCH" CC="$TOP/harness/cc.sh" HOSTCC="$TOP/harness/cc.sh" \
		-j"$((JOBS + 1))" "$@"
}

# The fragments as one, the later one wins.
wanted()
{
	awk '/^CONFIG_/ { split($0, a, "="); s = a[1] }
	     /^# CONFIG_.* is not set/ { s = $2 }
	     s { if (!(s in line)) order[++n] = s; line[s] = $0; s = "" }
	     END { for (i = 1; i <= n; i++) print line[order[i]] }' "${fragments[@]}"
}

# Everything asked for has to be there: a dependency that is not met drops an
# option without a word.
verify()
{
	local line symbol have bad=0

	while read -r line; do
		if [[ $line == '#'* ]]; then
			symbol=${line#\# } symbol=${symbol%% *}
			! have=$(grep "^$symbol=" "$OUT/.config") || {
				say "${red}asked for: $line; got: $have${plain}"
				bad=$((bad + 1))
			}
		elif ! grep -q -x -F -- "$line" "$OUT/.config"; then
			symbol=${line%%=*}
			have=$(grep -w -- "$symbol" "$OUT/.config" || echo 'no such option, or a dependency is not met')
			say "${red}asked for: $line; got: $have${plain}"
			bad=$((bad + 1))
		fi
	done <"$OUT/config.wanted"
	[[ $bad -eq 0 ]] || {
		rm -f "$OUT/config.stamp"
		die "$bad options of configs/ are not set in $OUT/.config" \
			'add what they depend on to the fragment, or take the line out'
	}
}

# What the configuration depends on: fragments, Kconfig files that we add or
# patch, the base.
config_stamp()
{
	local files

	mapfile -t files < <(
		grep 'Kconfig' "$BUILD/tree/links" | sed "s|^|$TOP/|" || true
		grep -l -s '^+++ .*Kconfig' "$TOP"/patches/*.patch || true)
	cat "${fragments[@]}" "$BUILD/tree/base" "${files[@]}" | sha1sum
}

configure()
{
	local stamp

	stamp=$(config_stamp)
	[[ ! -e $OUT/.config || $(cat "$OUT/config.stamp" 2>/dev/null) != "$stamp" ]] || return 0
	step "configure $(basename "$OUT")"
	mkdir -p "$OUT"
	wanted >"$OUT/config.wanted"
	[[ ! -e $OUT/.config ]] || cp "$OUT/.config" "$OUT/.config.before"
	if [[ $flavour == debian ]]; then
		# Of a symbol that is set twice, the second one counts.
		xz -d -c "$DEBIAN_CONFIG" | cat - "$OUT/config.wanted" >"$OUT/.config"
		logged "configure$FLAVOUR" 'is a Kconfig file of ours wrong?' \
			kmake "$OUT" olddefconfig
	else
		logged "configure$FLAVOUR" 'is a Kconfig file of ours wrong?' \
			kmake "$OUT" KCONFIG_ALLCONFIG="$OUT/config.wanted" allnoconfig
	fi
	verify
	echo "$stamp" >"$OUT/config.stamp"
	done_step "$(grep -c '=y' "$OUT/.config") options"
}

# compile LETTER OUT
compile()
{
	local version=$flavour${flavour:+-}$1
	local -a targets=(bzImage)

	# The tests need none of Debian's modules, and there are a thousand.
	[[ $flavour == debian ]] || ! grep -q =m "$OUT/.config" || targets+=(modules)
	step "build kernel ${1^^} ($(basename "$2"))"
	logged "kernel-$version" 'correct it and call make again: it goes on where it stopped' \
		kmake "$2" LOCALVERSION="-$version" "${targets[@]}"
	if [[ ${#targets[@]} -gt 1 ]]; then
		logged "modules-$version" 'see the log' kmake "$2" LOCALVERSION="-$version" \
			INSTALL_MOD_PATH="$OUT/modules-$1" modules_install
	fi
	cmp -s "$2/arch/x86/boot/bzImage" "$OUT/bzImage-$1" ||
		cp "$2/arch/x86/boot/bzImage" "$OUT/bzImage-$1"
	done_step "$(cat "$2/include/config/kernel.release")"
}

# B is current if it was made from this very A.
second()
{
	local stamp

	stamp=$(stat -c '%i %Y %s' "$OUT/vmlinux" "$OUT/.config"
		cd "$OUT"
		[[ $flavour == debian || ! -e modules.order ]] ||
			sed 's/\.o$/.ko/' modules.order | xargs -r stat -c '%i %Y %s')
	[[ ! -e $OUT/bzImage-b || $(cat "$OUT-b/from" 2>/dev/null) != "$stamp" ]] || return 0
	rsync -a --delete --exclude=/bzImage-'*' --exclude=/usr/include \
		--exclude=/initrd --exclude='/modules-*' --exclude=/root "$OUT/" "$OUT-b/"
	# objtool's build has absolute names in it, and all objects depend on it.
	grep -r -l -I --include='.*.cmd' --include='.*.d' -e "$OUT/" "$OUT-b/tools" |
		xargs -r -d '\n' sed -i "s|$OUT/|$OUT-b/|g"
	# The version has to be made again whatever its time says.
	rm -f "$OUT-b/include/config/kernel.release" "$OUT-b/include/generated/utsrelease.h"
	compile b "$OUT-b"
	echo "$stamp" >"$OUT-b/from"
}

# The tests of every day can do with a debug kernel that is followed by itself.
same()
{
	rm -f "$OUT-b/from"
	cmp -s "$OUT/bzImage-a" "$OUT/bzImage-b" || cp "$OUT/bzImage-a" "$OUT/bzImage-b"
}

# What the tests compile against.
headers()
{
	logged "headers$FLAVOUR" 'is a header in include/uapi wrong?' \
		kmake "$OUT" headers >/dev/null
}

# All of it, as packages; they end up beside the build directory.
packages()
{
	step "build Debian packages ($(basename "$OUT"))"
	logged deb 'correct it and call make again: it goes on where it stopped' \
		kmake "$OUT" LOCALVERSION=-liveupdate bindeb-pkg
	mkdir -p "$BUILD/deb"
	rm -f "$BUILD"/deb/*
	mv "$BUILD"/*.deb "$BUILD"/*.buildinfo "$BUILD"/*.changes "$BUILD/deb"
	done_step 'build/deb'
	(cd "$BUILD/deb" && ls -s -h -- *.deb)
}

main()
{
	take_lock
	configure
	if [[ $target == deb ]]; then
		packages
		return
	fi
	compile a "$OUT"
	if [[ -n ${EVERYDAY:-} ]]; then same; else second; fi
	[[ -n ${PROGRAMS:-} ]] || headers
}

main
