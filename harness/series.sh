#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The series as patches for a mailing list, in $BUILD/series.
#
#	series.sh		make them; series/ says what is in which
#	series.sh check [STEP..] apply them to the oldest and the newest base that apt
#				offers, and build every step (STEP: the number of a
#				patch): with all options, without, and allnoconfig

# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

SERIES=$BUILD/series
REPO=$BUILD/series.git
WORK=$BUILD/series-check
export TOP TREE BUILD

# git as it is when nobody has configured it.
sgit()
{
	GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_SYSTEM=/dev/null git -C "$1" \
		-c user.name=series -c user.email=series@localhost "${@:2}"
}

make_series()
{
	local said

	step 'make the series'
	said=$(python3 -B "$TOP/harness/series.py" commit "$REPO" 2>&1) ||
		die "$said" 'see the top of harness/series.py'
	rm -rf "$SERIES"
	sgit "$REPO" config branch.series.description "$(<"$TOP/series/cover-letter")"
	sgit "$REPO" -c "user.name=$(sgit "$REPO" log -1 --format=%an)" \
		-c "user.email=$(sgit "$REPO" log -1 --format=%ae)" format-patch -q \
		--cover-letter --cover-from-description=subject --subject-prefix='PATCH 6.12' \
		--abbrev=12 --no-signature -o "$SERIES" base
	say "$said"
	done_step "$SERIES: $(find "$SERIES" -name '*.patch' | wc -l) files"
}

# Files of the base that the series changes.
changed()
{
	sgit "$REPO" ls-tree -r --name-only base
}

# apply DIR: git am all patches on what is in DIR, and compare with what was made.
apply()
{
	local -a patches

	sgit "$1" add -f "${@:2}"
	sgit "$1" commit -q -m base
	sgit "$1" tag base
	mapfile -t patches < <(find "$SERIES" -name '*.patch' ! -name '0000-*' | sort)
	sgit "$1" am -q "${patches[@]}" >"$LOGS/am.log" 2>&1
}

debian_versions()
{
	apt-cache madison linux-source-6.12 | awk '{ print $3 }' | sort -V | sed -n '1p;$p' | uniq
}

# Debian's source $1, what the series changes of it, into directory $2.
debian_base()
{
	local deb=$WORK/deb

	mkdir -p "$deb" "$2"
	compgen -G "$deb/linux-source-6.12_$1_*.deb" >/dev/null ||
		(cd "$deb" && apt-get -q download "linux-source-6.12=$1") >"$LOGS/download.log" 2>&1
	changed | sed 's|^|linux-source-6.12/|' >"$WORK/list"
	dpkg-deb --fsys-tarfile "$deb/linux-source-6.12_$1"_*.deb |
		tar -x -O ./usr/src/linux-source-6.12.tar.xz |
		tar -x -J -C "$2" --strip-components=1 -T "$WORK/list"
}

check_bases()
{
	local version dir

	command -v apt-cache >/dev/null || { say 'no apt: no other base'; return 0; }
	for version in $(debian_versions); do
		step "apply to Debian's $version"
		dir=$WORK/base-$version
		rm -rf "$dir"
		debian_base "$version" "$dir"
		sgit "$dir" init -q
		apply "$dir" . || die "the series does not apply to $version" "see $LOGS/am.log"
		done_step "$(sgit "$dir" rev-list --count base..) patches"
	done
}

# The whole base with a repository of the files that the series changes: what
# git am and a build look at.
check_tree()
{
	step 'import the base, apply the series'
	rm -rf "$WORK/linux"
	# The same files under other names: git and tar replace, they do not rewrite.
	cp -al "$TREE" "$WORK/linux"
	rm -rf "$WORK/linux/.pc"
	find "$WORK/linux" -type l -lname "$TOP/*" -delete
	sgit "$REPO" archive base | tar -x -C "$WORK/linux"
	sgit "$WORK/linux" init -q
	changed | (cd "$WORK/linux" && xargs -d '\n' git add -f)
	apply "$WORK/linux" MAINTAINERS || die 'the series does not apply to its own base' "see $LOGS/am.log"
	[[ $(sgit "$WORK/linux" rev-parse 'HEAD^{tree}') == $(sgit "$REPO" rev-parse 'HEAD^{tree}') ]] ||
		die 'git am gives another tree than the assembled one'
	done_step "$(sgit "$WORK/linux" rev-list --count base..) patches"
}

kbuild()
{
	make -C "$WORK/linux" O="$WORK/$1" ARCH="$ARCH" CC="$TOP/harness/cc.sh" HOSTCC="$TOP/harness/cc.sh" \
		-j"$JOBS" "${@:2}" 9>&-
}

# What is there but cannot be switched on yet is compiled with the final options,
# by the commands that check.sh used.
compile_alone()
{
	local f cmd out=$BUILD/check/gcc

	sgit "$WORK/linux" diff --name-only --diff-filter=A base -- '*.c' | while read -r f; do
		cmd=$out/$(dirname "$f")/.$(basename "$f" .c).o.cmd
		[[ -e $cmd && ! -e $WORK/with/${f%.c}.o ]] || continue
		sed -n "1s|^savedcmd_[^=]*:= *||;1s|$TREE|$WORK/linux|g;1s| ;.*||;1s| -o [^ ]*| -o /dev/null|;1p" "$cmd" |
			(cd "$out" && bash -e) || { echo "$f does not compile here"; return 1; }
	done
}

build_step()
{
	kbuild with KCONFIG_ALLCONFIG="$TOP/configs/$ARCH.config" allnoconfig
	kbuild with bzImage modules
	kbuild without KCONFIG_ALLCONFIG="$WORK/without.config" allnoconfig
	kbuild without bzImage
	kbuild allnoconfig allnoconfig
	kbuild allnoconfig bzImage
	compile_alone
}

check_builds()
{
	local n=0 commit log
	local -a wanted=("$@")

	grep -v -h -E '^(# )?CONFIG_(KEXEC_HANDOVER|(SAMPLE_)?LIVEUPDATE)' "$TOP/configs/$ARCH.config" \
		"$TOP/configs/plain.config" >"$WORK/without.config"
	for commit in $(sgit "$WORK/linux" rev-list --reverse base..series-check); do
		n=$((n + 1))
		[[ ${#wanted[@]} -eq 0 || " ${wanted[*]} " == *" $n "* ]] || continue
		step "$n: $(sgit "$WORK/linux" log -1 --format=%s "$commit")"
		log=$LOGS/series-$n.log
		sgit "$WORK/linux" checkout -q "$commit"
		(trap - ERR; set -e; build_step) >"$log" 2>&1 || {
			grep -n -m 10 -E 'error|undefined|does not compile|\*\*\*' "$log" >&2 || true
			die "patch $n does not build" "see $log"
		}
		! grep -E ': warning: ' "$log" >&2 || die "patch $n has warnings" "see $log"
		done_step built
	done
}

main()
{
	take_lock
	make_series
	[[ ${1:-} == check ]] || return 0
	shift
	mkdir -p "$WORK"
	check_bases
	check_tree
	sgit "$WORK/linux" branch -f series-check
	check_builds "$@"
}

main "$@"
