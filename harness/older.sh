#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Build the oldest kernel that reads what a kernel of today hands over, from the
# history of this repository, for the test that goes down to it and up again: it
# becomes /host/bzImage-older in the guest.

# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

OLDER=$BUILD/older
SHARE=$OUT/share
ABI=include/linux/kho/abi
# Lists in the image what it reads.
LIST='patches/*-kexec-hand-over-to-images-that-are-loaded-as-files.patch'

# The layouts, as "#define NAME "STRING"" of today.
layouts()
{
	grep -h '^#define [A-Z_]*COMPATIBLE' "$TOP/$ABI"/*.h
}

# reads COMMIT: has all layouts, and its images say so
reads()
{
	local line name

	while read -r line; do
		git grep -q -F -e "$line" "$1" -- "$ABI" || return 1
		name=${line#\#define }
		git grep -q -F -w -e "${name%%[[:space:]]*}" "$1" -- "$LIST" || return 1
	done < <(layouts)
}

oldest()
{
	local commit

	while read -r commit; do
		! reads "$commit" || { echo "$commit"; return; }
	done < <(git log --reverse --format=%h -- "$ABI" "$LIST")
}

build()
{
	local -x BUILD=$OLDER/build LU_LOCKED='' FLAVOUR=''
	# Its files are its own, also if build/ lies in this repository.
	local -x GIT_CEILING_DIRECTORIES=$OLDER

	"$OLDER/source/harness/tree.sh"
	EVERYDAY=1 PROGRAMS=1 "$OLDER/source/harness/kernel.sh"
}

main()
{
	local commit

	cd "$TOP"
	[[ -d $SHARE ]] || die 'there is no guest yet' 'run "make kernel" first'
	[[ -n $(layouts) ]] || die "no layouts in $ABI"
	commit=$(oldest 2>/dev/null)
	[[ -n $commit ]] || die 'no commit that reads the layouts of today' \
		'a clone with all of the history has one'
	if [[ $(cat "$OLDER/commit" 2>/dev/null) != "$commit" ]]; then
		step "fetch the kernel of $commit from the history"
		rm -rf "$OLDER/source" "$OLDER/commit"
		mkdir -p "$OLDER/source"
		git archive "$commit" | tar -x -C "$OLDER/source"
		done_step "$(git log -1 --format=%cs "$commit")"
		build
		echo "$commit" >"$OLDER/commit"
	fi
	cp "$OLDER/build/$ARCH/bzImage-a" "$SHARE/bzImage-older"
}

main
