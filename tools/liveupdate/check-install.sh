#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Whether what "make install" leaves is where it belongs, and works as its users
# will use it.
#
#	check-install.sh ROOT	where it was installed, with prefix=/usr

set -eu

ROOT=$1
CC=${CC:-gcc} CXX=${CXX:-g++}
HERE=$(dirname "$0")
WORK=$(mktemp -d)
trap 'rm -rf "$WORK"' EXIT

fail()
{
	echo "check-install: $*" >&2
	exit 1
}

files()
{
	cat <<-EOF
	/usr/include/luo.h
	/usr/lib/libluo.a
	/usr/lib/libluo.so
	/usr/lib/libluo.so.1
	/usr/lib/libluo.so.1.3
	/usr/lib/pkgconfig/libluo.pc
	/usr/lib/systemd/system/luod.service
	/usr/lib/systemd/system/luod.socket
	/usr/sbin/luoctl
	/usr/sbin/luod
	/usr/share/bash-completion/completions/luoctl
	/usr/share/man/man3/libluo.3
	/usr/share/man/man7/luod-protocol.7
	/usr/share/man/man8/luoctl.8
	/usr/share/man/man8/luod.8
	EOF
}

# More of them is no mistake here: units are added elsewhere.
check_files()
{
	local file

	while read -r file; do
		[[ -e $ROOT$file ]] || fail "no $file"
	done < <(files)
	! grep -r -q '@[A-Z]*@' "$ROOT/usr/lib/systemd" "$ROOT/usr/lib/pkgconfig" ||
		fail 'a name that was not replaced'
}

# The functions of the header.
functions()
{
	grep -o '\bluo_[a-z_]*(' "$ROOT/usr/include/luo.h" | grep -v '^luo_.*_size' |
		tr -d '(' | sort -u
}

# The library has what the header says, no more, each under a version.
check_symbols()
{
	local lib=$ROOT/usr/lib/libluo.so.1

	readelf -d "$lib" | grep -q 'SONAME.*\[libluo\.so\.1\]' || fail 'another soname'
	nm -D --defined-only --with-symbol-versions "$lib" | sed -n 's/.* T //p' >"$WORK/have"
	! grep -v '@@LIBLUO_1\.[0-2]$' "$WORK/have" || fail 'a symbol without a version'
	diff <(sed 's/@.*//' "$WORK/have" | sort) <(functions) ||
		fail 'the library and its header differ'
	grep -q -x 'luo_open@@LIBLUO_1.0' "$WORK/have" || fail 'a version that has changed'
}

flags()
{
	PKG_CONFIG_PATH=$ROOT/usr/lib/pkgconfig "${PKG_CONFIG:-pkg-config}" \
		--define-variable=libdir="$ROOT/usr/lib" \
		--define-variable=includedir="$ROOT/usr/include" "$@" libluo
}

# Programs, in C and C++, linked to the shared library and to the static one.
check_programs()
{
	local -a words

	cat >"$WORK/program.c" <<-EOF
	#include <luo.h>
	#include <errno.h>

	int main(void)
	{
		char name[LUO_NAME_SIZE];
		struct luo_agent *agent;

		return luo_name(-1, name) == -EBADF &&
		       luo_agent_connect(&agent, "/nowhere/luod.sock") == -ENOENT ? 0 : 1;
	}
	EOF
	cp "$WORK/program.c" "$WORK/program.cc"
	read -r -a words < <(flags --cflags --libs)
	$CC -Wall -Werror -o "$WORK/c" "$WORK/program.c" "${words[@]}"
	$CXX -Wall -Wextra -Wpedantic -Werror -o "$WORK/cc" "$WORK/program.cc" "${words[@]}"
	ldd "$WORK/c" 2>&1 | grep -q 'libluo\.so\.1' || fail 'not linked to the shared library'
	LD_LIBRARY_PATH=$ROOT/usr/lib "$WORK/c" || fail 'the program in C does not work'
	LD_LIBRARY_PATH=$ROOT/usr/lib "$WORK/cc" || fail 'the program in C++ does not work'
	read -r -a words < <(flags --static --cflags --libs)
	$CC -static -o "$WORK/static" "$WORK/program.c" "${words[@]}"
	"$WORK/static" || fail 'the static program does not work'
	# The example of libluo(3), which is what people begin with.
	sed -n '/^\.Bd -literal/,/^\.Ed/{//!p}' "$ROOT/usr/share/man/man3/libluo.3" \
		>"$WORK/example.c"
	$CC -Wall -Wextra -Werror -o "$WORK/example" "$WORK/example.c" "${words[@]}"
	! flags --modversion | grep -v -q -x '1\.3' || fail 'another version'
}

# What the programs say they can do is in their pages.
check_pages()
{
	local name word page

	page=$(man_text 3 libluo)
	for name in $(functions); do
		grep -q -w "$name" <<<"$page" || fail "libluo(3) does not have $name"
	done
	for name in luod luoctl; do
		page=$(man_text 8 "$name")
		for word in $("$ROOT/usr/sbin/$name" --help | grep -o -- '--[a-z-]*'); do
			grep -q -w -e "$word" <<<"$page" || fail "$name(8) does not have $word"
		done
	done
	page=$(man_text 7 luod-protocol)
	while read -r word; do
		grep -q -E "^ +$word\b" <<<"$page" || fail "luod-protocol(7) does not have $word"
	done < <(sed -n 's/.*\[OP_[A-Z]*\] = { "\([a-z]*\)".*/\1/p' "$HERE/luod/request.c")
}

man_text()
{
	mandoc -T ascii "$ROOT/usr/share/man/man$1/$2.$1" | sed 's/.\x08//g'
}

commands()
{
	"$ROOT/usr/sbin/luoctl" --help | sed -n 's/^  \([a-z]\+\) .*/\1/p'
}

# Known to a shell only while it completes.
compopt()
{
	:
}

# The words that the shell offers in place of the last one given.
complete_words()
{
	COMP_WORDS=("$@")
	COMP_CWORD=$(($# - 1))
	_luoctl
}

# As the shell asks for completions: every command, every option, names of files.
check_completion()
{
	local word

	# shellcheck source=completion/luoctl
	. "$ROOT/usr/share/bash-completion/completions/luoctl"
	complete_words luoctl ''
	[[ $(printf '%s\n' "${COMPREPLY[@]}" | sort) == "$(commands | sort)" ]] ||
		fail "completes to ${COMPREPLY[*]}"
	complete_words luoctl --
	for word in $("$ROOT/usr/sbin/luoctl" --help | grep -o -- '--[a-z-]*'); do
		printf '%s\n' "${COMPREPLY[@]}" | grep -q -x -e "$word=\?" ||
			fail "does not complete $word"
	done
	touch "$WORK/image"
	complete_words luoctl load "$WORK/im"
	[[ ${COMPREPLY[*]} == "$WORK/image" ]] || fail 'does not complete images'
	complete_words luoctl --initrd = "$WORK/im"
	[[ ${COMPREPLY[*]} == "$WORK/image" ]] || fail 'does not complete values'
	complete_words luoctl status ''
	[[ ${#COMPREPLY[@]} -eq 0 ]] || fail 'completes what is complete'
}

# What systemd keeps for luod: all the names are one string, which exec takes up to
# 128 KiB of; and systemd does not try to take it into the next kernel.
check_unit()
{
	local unit=$ROOT/usr/lib/systemd/system/luod.service max name=64

	max=$(sed -n 's/^FileDescriptorStoreMax=//p' "$unit")
	((max > 0 && max * name < 127 * 1024)) || fail "a store for $max descriptors"
	grep -q -x 'FileDescriptorStorePreserve=restart' "$unit" || fail 'a store that is to stay'
}

check_files
check_symbols
check_programs
check_pages
check_unit
check_completion
