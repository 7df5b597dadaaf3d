#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Assemble build/linux: the base, the patches, the added files, MAINTAINERS.
#
# The base is extracted once. Patches are popped down to the first one that is
# new or has changed and pushed again from there; a file that comes out of this
# with the contents it had keeps its time, so nothing that did not change is
# compiled again. Added files are symlinks into the repository.
#
#	tree.sh			assemble
#	tree.sh refresh		write edits of base files back into patches/
#	tree.sh base		extract the base, and nothing more

# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

PATCHES=$TOP/patches
APPLIED=$BUILD/applied		# the patches as they are in the tree
SUMS=$BUILD/applied.sums	# checksums of the files they touch
STATE=$BUILD/tree

# Where the series adds files. A directory of the repository that is not here is
# not part of the kernel tree.
ADDED=(kernel include mm lib arch drivers fs samples tools Documentation)

base()
{
	local source=${LINUX:-/usr/src/linux-source-6.12.tar.xz}

	[[ -e $source ]] || die "no such base: $source" \
		'LINUX= takes a tree or a tarball of any Linux 6.12.y'
	realpath "$source"
}

# What tells one base from another.
base_id()
{
	if [[ -d $1 ]]; then
		echo "$1 $(stat -c %Y "$1/Makefile")"
	else
		stat -c '%n %s %Y' "$1"
	fi
}

copy_base()
{
	if [[ -d $1 ]]; then
		rsync -a --exclude=.git --exclude='*.o' --exclude=.config \
			--exclude=/include/config --exclude=/include/generated \
			--exclude='/arch/*/include/generated' "$1/" "$2/"
	else
		tar -x -C "$2" --strip-components=1 -f "$1"
	fi
}

# One pristine file of the base on stdout.
base_file()
{
	local source

	source=$(base)
	if [[ -d $source ]]; then
		cat "$source/$1"
	else
		tar -x -O --wildcards --no-wildcards-match-slash -f "$source" "*/$1"
	fi
}

extract()
{
	local source id new=$TREE.new

	source=$(base)
	id=$(base_id "$source")
	[[ ! -d $TREE || $(cat "$STATE/base" 2>/dev/null) != "$id" ]] || return 0
	step "extract the base: $source"
	rm -rf "$new"
	mkdir -p "$new" "$STATE"
	copy_base "$source" "$new"
	[[ $(sed -n 's/^VERSION = \|^PATCHLEVEL = //p' "$new/Makefile" | tr '\n' ' ') == '6 12 ' ]] ||
		die "not Linux 6.12: $source" 'LINUX= takes a tree or a tarball of any Linux 6.12.y'
	rm -rf "$TREE" "$APPLIED" "$SUMS" "$STATE/links" "$STATE/MAINTAINERS"
	mv "$new" "$TREE"
	echo "$id" >"$STATE/base"
	touch "$STATE/extracted"
	done_step "Linux $(make -s -C "$TREE" kernelversion)"
}

in_tree()
{
	(cd "$TREE" && QUILT_PATCHES=$1 QUILT_PC=.pc \
		QUILT_REFRESH_ARGS='-p ab --no-timestamps --no-index' \
		QUILT_DIFF_OPTS=-p QUILT_NO_DIFF_INDEX=1 \
		quilt --quiltrc - "${@:2}")
}

series()
{
	[[ ! -e $1/series ]] || sed -e 's/[[:space:]]*#.*//' -e '/^[[:space:]]*$/d' "$1/series"
}

# How many patches are applied, and how many of them may stay.
applied_count()
{
	[[ -e $TREE/.pc/applied-patches ]] && wc -l <"$TREE/.pc/applied-patches" || echo 0
}

unchanged_count()
{
	local n=0 patch
	local -a old new

	[[ -e $TREE/.pc/applied-patches ]] || { echo 0; return; }
	mapfile -t old <"$TREE/.pc/applied-patches"
	mapfile -t new < <(series "$PATCHES")
	for patch in "${old[@]}"; do
		[[ ${new[n]:-} == "$patch" ]] || break
		cmp -s "$APPLIED/$patch" "$PATCHES/$patch" || break
		n=$((n + 1))
	done
	echo "$n"
}

# Files that the applied patches touch.
touched()
{
	local patch

	[[ -e $TREE/.pc/applied-patches ]] || return 0
	while read -r patch; do
		(cd "$TREE/.pc/$patch" && find . -type f ! -path ./.timestamp -printf '%P\n')
	done <"$TREE/.pc/applied-patches" | sort -u
}

record()
{
	(cd "$TREE"; touched | xargs -r -d '\n' sha1sum 2>/dev/null || true) >"$SUMS"
}

# Files of patches that were edited since they were applied.
edited()
{
	[[ -s $SUMS ]] || return 0
	(cd "$TREE"; sha1sum --check --quiet "$SUMS" 2>/dev/null || true) |
		sed -n 's/: FAILED.*//p'
}

# Base files that were edited and belong to no patch.
strays()
{
	find "$TREE" -path "$TREE/.pc" -prune -o -type f -newer "$STATE/extracted" \
		-printf '%P\n' | grep -v -x -F -f <(touched; echo /; echo MAINTAINERS) |
		grep -v -E '^\.checkpatch-|\.(orig|rej|pyc)$' || true
}

# Copy the files that are about to be popped and pushed, with their times.
keep_times()
{
	rm -rf "$STATE/before"
	mkdir -p "$STATE/before"
	(cd "$TREE" && touched | while read -r f; do
		[[ ! -e $f ]] || cp -p --parents "$f" "$STATE/before"
	done)
}

restore_times()
{
	(cd "$STATE/before" && find . -type f -printf '%P\n') | while read -r f; do
		! cmp -s "$STATE/before/$f" "$TREE/$f" || touch -r "$STATE/before/$f" "$TREE/$f"
	done
	rm -rf "$STATE/before"
}

pop_to()
{
	local n

	for ((n = $(applied_count); n > $1; n--)); do
		in_tree "$APPLIED" pop -f -q >/dev/null
	done
}

push_all()
{
	local patch log=$LOGS/quilt.log

	for patch in $(series "$PATCHES" | tail -n "+$(($(applied_count) + 1))"); do
		mkdir -p "$(dirname "$APPLIED/$patch")"
		cp "$PATCHES/$patch" "$APPLIED/$patch"
		if ! in_tree "$APPLIED" push -q --fuzz=0 >"$log" 2>&1; then
			cat "$log" >&2
			return 1
		fi
	done
}

apply()
{
	local same had want dirty rc=0

	same=$(unchanged_count)
	had=$(applied_count)
	want=$(series "$PATCHES" | wc -l)
	[[ $had != "$same" || $want != "$same" ]] || return 0

	dirty=$(edited)
	[[ -z $dirty || $same -eq $had || -n ${FORCE:-} ]] ||
		die "edits in build/linux would be lost: ${dirty//$'\n'/ }" \
			'"make refresh" writes them to patches/; "make tree FORCE=1" drops them'

	step "apply patches: $same of $want stay"
	mkdir -p "$APPLIED"
	keep_times
	pop_to "$same"
	series "$PATCHES" >"$APPLIED/series"
	push_all || rc=$?
	restore_times
	record
	[[ $rc -eq 0 ]] || die "$(in_tree "$APPLIED" next 2>/dev/null) does not apply to $(make -s -C "$TREE" kernelversion)" \
		'correct it in patches/, then "make tree" goes on from there'
	done_step "$want applied"
}

# Every file that the series adds, as the kernel tree will name it. What git
# ignores (a program built in place) is not part of the series.
added()
{
	local -a dirs=()
	local dir

	cd "$TOP"
	for dir in "${ADDED[@]}"; do
		[[ ! -d $dir ]] || dirs+=("$dir")
	done
	[[ ${#dirs[@]} -gt 0 ]] || return 0
	{
		git ls-files -co --exclude-standard -- "${dirs[@]}" 2>/dev/null ||
			find "${dirs[@]}" ! -type d
	} | while read -r f; do
		[[ ! -e $f ]] || echo "$f"
	done | sort -u
}

# Two lists decide: what was linked last time and what there is now.
link_added()
{
	local was=$STATE/links is=$STATE/links.new f n=0

	mkdir -p "$STATE"
	touch "$was"
	(added) >"$is"
	while read -r f; do
		rm -f "$TREE/$f"
		rmdir -p --ignore-fail-on-non-empty "$TREE/$(dirname "$f")" 2>/dev/null || true
		n=$((n + 1))
	done < <(comm -23 "$was" "$is")
	while read -r f; do
		[[ ! -L $TREE/$f || $(readlink "$TREE/$f") != "$TOP/$f" ]] || continue
		[[ ! -e $TREE/$f || -L $TREE/$f ]] ||
			die "$f: the base has this file" 'a change to it is a patch, not an added file'
		mkdir -p "$TREE/$(dirname "$f")"
		ln -sfn "$TOP/$f" "$TREE/$f"
		n=$((n + 1))
	done <"$is"
	mv "$is" "$was"
	[[ $n -eq 0 ]] || say "$n links made or removed; $(wc -l <"$was") added files"
}

# Our entries stand in MAINTAINERS after the ones that the alphabet puts before them.
merge_maintainers()
{
	local base=$STATE/MAINTAINERS merged=$STATE/MAINTAINERS.new

	[[ -e $base ]] || cp "$TREE/MAINTAINERS" "$base"
	awk 'FNR == 1 { file++; held = "" }
	     { tag = /^[A-Z]:\t/ }
	     # A title is what stands above the first tag.
	     file == 1 && NF { if (!tag) order[++n] = title = $0
			       entry[title] = entry[title] $0 "\n" }
	     file > 1 && tag && held ~ /^[^ \t]/ && !held_tag {
		     for (i = 1; i <= n; i++) {
			     if (file == 3 && after[order[i]] == last)
				     printf "%s\n", entry[order[i]]
			     if (file == 2 && held < order[i] && held > after[order[i]])
				     after[order[i]] = held
		     }
		     last = held
	     }
	     file == 3 && FNR > 1 { print held }
	     { held = $0; held_tag = tag }
	     END { print held }' "$TOP/MAINTAINERS" "$base" "$base" >"$merged"
	cmp -s "$merged" "$TREE/MAINTAINERS" || cp "$merged" "$TREE/MAINTAINERS"
}

# The topmost patch that touches file $1, the one an edit of it belongs to.
patch_of()
{
	local patch

	tac "$TREE/.pc/applied-patches" | while read -r patch; do
		[[ ! -e $TREE/.pc/$patch/$1 ]] || { echo "$patch"; break; }
	done
}

# Files that no patch had go into the patch named by P=.
adopt()
{
	local f list

	list=$(strays)
	[[ -n $list ]] || return 0
	[[ -n ${P:-} ]] || die "edited, and in no patch yet: ${list//$'\n'/ }" \
		'name the patch they belong to: make refresh P=NNNN-area-topic.patch'
	if ! grep -q -x -F "$P" "$TREE/.pc/applied-patches"; then
		in_tree "$APPLIED" new "$P" >/dev/null
		echo "$P" >>"$PATCHES/series"
		say "$P is new: write its message at the top of patches/$P"
	fi
	for f in $list; do
		in_tree "$APPLIED" add -P "$P" "$f"
		# quilt took the edited file for the original: give it the real one.
		base_file "$f" >"$TREE/.pc/$P/$f"
	done
	refresh_one "$P"
}

refresh_one()
{
	in_tree "$APPLIED" refresh "$1"
	cp "$APPLIED/$1" "$PATCHES/$1"
}

refresh()
{
	local f patch

	[[ -e $TREE/.pc/applied-patches ]] || die 'no patch is applied' 'run "make tree" first'
	step 'write edits back into patches/'
	while read -r patch; do
		[[ -z $patch ]] || refresh_one "$patch"
	done < <(for f in $(edited); do patch_of "$f"; done | sort -u)
	record
	adopt
	record
	done_step 'done'
}

main()
{
	take_lock
	case ${1:-assemble} in
	assemble)
		extract
		apply
		link_added
		merge_maintainers
		;;
	refresh)
		refresh
		;;
	base)
		extract
		: >"$STATE/links"
		;;
	*)
		die "usage: ${0##*/} [refresh | base]"
		;;
	esac
}

main "$@"
