#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Install what is missing, with apt, as root or through sudo. What is looked for
# is a file each package brings, so that a machine that has everything is not
# asked for anything.

# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

# What has to be there, and the package that brings it.
needed()
{
	cat <<-'END'
		/usr/bin/gcc			gcc
		/usr/bin/make			make
		/usr/include/stdio.h		libc6-dev
		/usr/bin/bison			bison
		/usr/bin/flex			flex
		/usr/bin/bc			bc
		/usr/bin/perl			perl
		/usr/bin/python3		python3
		/usr/bin/xz			xz-utils
		/usr/bin/lz4			lz4
		/usr/bin/cpio			cpio
		/usr/bin/rsync			rsync
		/usr/bin/patch			patch
		/usr/bin/quilt			quilt
		/usr/bin/ccache			ccache
		/usr/bin/flock			util-linux
		/usr/bin/git			git
		/usr/include/libelf.h		libelf-dev
		/usr/include/openssl/opensslv.h	libssl-dev
		/usr/include/json-c/json.h	libjson-c-dev
		/usr/include/event2/event.h	libevent-dev
		/bin/busybox			busybox-static
		/sbin/kexec			kexec-tools
		/usr/bin/dtc			device-tree-compiler
		/usr/bin/qemu-system-x86_64	qemu-system-x86
		/usr/share/ovmf/OVMF.fd		ovmf
	END
	if [[ -z ${LINUX:-} ]]; then
		echo '/usr/src/linux-source-6.12.tar.xz linux-source-6.12'
	fi
	if [[ $* == *deb* ]]; then
		cat <<-'END'
			/usr/src/linux-config-6.12	linux-config-6.12
			/usr/bin/zstd			zstd
			/usr/bin/openssl		openssl
			/usr/bin/dpkg-buildpackage	dpkg-dev
			/usr/bin/dh_testdir		debhelper
			/sbin/depmod			kmod
		END
	fi
	if [[ $* == *check* ]]; then
		cat <<-'END'
			/usr/bin/sparse			sparse
			/usr/bin/shellcheck		shellcheck
			/usr/bin/mandoc			mandoc
			/usr/bin/systemd-analyze	systemd
			/usr/bin/g++			g++
			/usr/bin/pkg-config		pkg-config
			/usr/bin/codespell		codespell
			/usr/bin/clang			clang
			/usr/bin/ld.lld			lld
			/usr/bin/llvm-ar		llvm
			/usr/bin/spatch			coccinelle
			/usr/bin/sphinx-build		python3-sphinx
			/usr/lib/python3/dist-packages/ply	python3-ply
			/usr/lib/python3/dist-packages/git	python3-git
		END
	fi
	if [[ $* == *systemd* ]]; then
		printf '%s\n' '/lib/systemd/systemd systemd' '/usr/bin/dbus-daemon dbus'
	fi
	if [[ $* == *bench* ]]; then
		printf '%s\n' '/usr/bin/gnuplot gnuplot-nox' '/usr/bin/file file'
	fi
	if [[ $* == *full* ]]; then
		printf '%s\n' '/usr/bin/clang clang' '/usr/bin/clang libclang-rt-dev'
	fi
}

missing()
{
	local file package

	while read -r file package; do
		[[ -e $file || -e /usr$file ]] || echo "$package"
	done < <(needed "$@")
	# A busybox with libraries cannot be the init of an initramfs.
	if [[ -e /bin/busybox ]] && ! static_busybox; then
		echo busybox-static
	fi
}

static_busybox()
{
	! LC_ALL=C ldd /bin/busybox 2>/dev/null | grep -q '=>'
}

as_root()
{
	if [[ $EUID -eq 0 ]]; then
		"$@"
	elif command -v sudo >/dev/null; then
		sudo "$@"
	else
		die "cannot install: neither root nor sudo" "run as root: $*"
	fi
}

apt()
{
	as_root env DEBIAN_FRONTEND=noninteractive apt-get -y -q \
		-o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 "$@"
}

main()
{
	local list

	mapfile -t list < <(missing "$@")
	[[ ${#list[@]} -gt 0 ]] || return 0
	command -v apt-get >/dev/null ||
		die "missing: ${list[*]}" "this is no Debian: install them by hand"
	step "install ${list[*]}"
	logged apt-update 'is the network there? see sources.list(5)' apt update
	logged apt-install 'Debian 12 (with its security updates) or 13 has all of them; LINUX=/path/to/linux-6.12.y stands in for linux-source-6.12' \
		apt install --no-install-recommends "${list[@]}"
	done_step 'done'
}

main "$@"
