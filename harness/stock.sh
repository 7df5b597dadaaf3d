#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Fetch the kernel image of Debian's cloud kernel of the 6.12 series, as it is, for
# the tests that are refused by it: it becomes /host/bzImage-debian in the guest.

# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

STOCK=$BUILD/stock
SHARE=$OUT/share

# The package with the image: the name has the version in it, and a package without
# contents of its own depends on the newest.
package()
{
	local meta

	for meta in linux-image-6.12-cloud-amd64 linux-image-cloud-amd64; do
		apt-cache depends "$meta" 2>/dev/null |
			sed -n 's/^ *Depends: \(linux-image-6\.12\..*\)/\1/p' | head -n 1
	done | head -n 1
}

fetch()
{
	local name

	name=$(package)
	[[ -n $name ]] || die 'no cloud kernel of the 6.12 series' \
		'Debian 13 has one, and Debian 12 in its security updates; is "apt-get update" needed?'
	rm -rf "$STOCK"
	mkdir -p "$STOCK/root"
	(cd "$STOCK" && logged stock 'is the network there? see sources.list(5)' \
		apt-get download "$name")
	dpkg-deb -x "$STOCK"/*.deb "$STOCK/root"
	cp "$STOCK"/root/boot/vmlinuz-* "$STOCK/image"
	rm -rf "$STOCK/root" "$STOCK"/*.deb
}

main()
{
	[[ -d $SHARE ]] || die 'there is no guest yet' 'run "make kernel" first'
	if [[ ! -s $STOCK/image ]]; then
		step "fetch Debian's kernel"
		fetch
		done_step "$(file -b "$STOCK/image" 2>/dev/null | grep -o 'version [^ ]*' || echo fetched)"
	fi
	cp "$STOCK/image" "$SHARE/bzImage-debian"
}

main
