#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# What a kernel reviewer's tools say about the series. A tool that has nothing to
# say passes.
#
#	check.sh [STEP...]	one of the functions check_STEP below, or
#				all (the default): what takes minutes
#				full: what takes longer, too
#
# Objects are built in $BUILD/check, by gcc and by clang, in trees of their own.

# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
# What a pipe ends in counts in this very shell.
shopt -s lastpipe

WORK=$BUILD/check
ALL=(shell spelling private spdx series style maintainers kernel-doc references documents
	objects tools clang coccinelle)
FULL=("${ALL[@]}" htmldocs clang-kernel)

# Of checkpatch's ideas, those that do not fit a series in this form: added files
# have no diff, links are not the tree's own files, labels of base files are theirs.
IGNORE=FILE_PATH_CHANGES,SPDX_LICENSE_TAG,LINUX_VERSION_CODE,CAMELCASE

passed=0 failed=0

verdict()
{
	local name=$1 out=$2

	if [[ -z $out ]]; then
		passed=$((passed + 1))
		printf '%sPASS%s %s\n' "$green" "$plain" "$name"
	else
		failed=$((failed + 1))
		printf '%sFAIL%s %s\n%s\n' "$red" "$plain" "$name" "$(head -n 40 <<<"$out")"
	fi
}

# each NAME COMMAND...: run COMMAND for every line of stdin, some at a time, and
# judge what each of them says.
each()
{
	local dir=$WORK/each name=$1 item n=0
	local -a items

	shift
	rm -rf "$dir"
	mkdir -p "$dir"
	mapfile -t items
	for item in "${items[@]}"; do
		while (($(jobs -rp | wc -l) >= JOBS)); do wait -n || true; done
		{ "$@" "$item" || echo "$1: exit status $?"; } >"$dir/$n" 2>&1 </dev/null &
		n=$((n + 1))
	done
	wait
	for n in "${!items[@]}"; do
		verdict "$name ${items[n]#"$TOP"/}" "$(<"$dir/$n")"
	done
}

# Files that the series adds to the kernel tree.
added()
{
	grep -E "${1:-}" "$BUILD/tree/links" || true
}

# All that is kept in this repository.
kept()
{
	(cd "$TOP" && git ls-files -co --exclude-standard) | while read -r f; do
		[[ ! -e $TOP/$f ]] || echo "$f"
	done
}

# Objects that the kernel's Makefiles know, by the name of the source.
kernel_objects()
{
	local f name

	added '^(arch|drivers|fs|kernel|lib|mm|samples)/.*\.c$' | while read -r f; do
		name=${f##*/}
		! grep -q -w -s -F "${name%.c}.o" "$TREE/${f%/*}/Makefile" || echo "${f%.c}.o"
	done
}

# Sources of programs.
user_sources()
{
	added '\.[ch]$' | grep -E '^(tools|samples)/' |
		grep -v -x -F -f <(kernel_objects | sed 's/o$/c/'; echo /) || true
}

check_shell()
{
	kept | while read -r f; do
		! head -n 1 "$TOP/$f" | grep -a -q '^#!.*sh\b' || echo "$TOP/$f"
	done | each shellcheck shellcheck
}

# What is ours of the files that are kept, in $WORK/ours: lines of a patch that it does
# not add are not.
ours()
{
	local dir=$WORK/ours

	rm -rf "$dir"
	mkdir -p "$dir"
	(cd "$TOP" && kept | xargs -d '\n' cp --parents -t "$dir")
	sed -i '/^[-@ ]/d' "$dir"/patches/*.patch
}

check_spelling()
{
	ours
	verdict codespell "$(cd "$WORK/ours" && { codespell . 2>&1 || true; })"
}

# What only means something on one machine or in one network: somebody's directories,
# addresses, hosts.
check_private()
{
	local what='(^|[^][:alnum:]_.)}])/(home|Users|work)/|\b([0-9]{1,3}\.){3}[0-9]{1,3}\b'

	what+='|[a-z]+://[[:alnum:]]|\.(local|lan|internal|intranet)\b'
	ours
	# The names of XML's name spaces look like addresses.
	verdict private "$(cd "$WORK/ours" && rm COPYING &&
		{ grep -r -n -I -E "$what" . | grep -v 'xmlns[:a-z]*="http:/.www\.w3\.org/' || true; })"
}

# spdxcheck.py wants a git repository with the kernel's licenses. What has no
# place for a comment is left out, and Documentation/ABI, which has a form of its own.
check_spdx()
{
	local repo=$WORK/spdx

	rm -rf "$repo"
	mkdir -p "$repo"
	cp -r "$TREE/LICENSES" "$repo"
	(cd "$TOP" && kept | grep -v -E '\.(md|patch)$|^(COPYING|MAINTAINERS)$|\.gitignore$|^(Documentation/ABI|series)/' |
		xargs -d '\n' cp --parents -t "$repo")
	verdict spdxcheck "$(cd "$repo" && {
		git init -q . && git add -f . &&
		git -c user.name=check -c user.email=check commit -q -m check &&
		/usr/bin/python3 -B "$TREE/scripts/spdxcheck.py" -f 2>&1 |
			sed '/^Files without SPDX:$/d'
	} 2>&1 || echo "exit status $?")"
}

# Run from the tree, where checkpatch wants to be.
checkpatch()
{
	cd "$TREE"
	perl scripts/checkpatch.pl --strict --terse --no-summary --show-types \
		--ignore $IGNORE "$@" || true
}

check_style()
{
	added '\.[chS]$|Kconfig$' | each checkpatch checkpatch --file
}

# The patches as they would be mailed.
check_series()
{
	local out

	out=$("$TOP/harness/series.sh" 2>&1) || { verdict series "$out"; return; }
	verdict series ''
	find "$BUILD/series" -name '*.patch' ! -name '0000-*' | sort | each checkpatch checkpatch
}

# Our entries must answer for every file that we add, and no line of them for
# nothing.
maintainer()
{
	cd "$TREE"
	[[ -n $(perl scripts/get_maintainer.pl --mpath="$TOP/MAINTAINERS" --no-git \
		--no-git-fallback -f "$1") ]] || echo 'no entry has it'
}

pattern()
{
	compgen -G "$TREE/${1%/}" >/dev/null || echo 'no such file'
}

check_maintainers()
{
	added | each get_maintainer maintainer
	sed -n 's/^F:\t//p' "$TOP/MAINTAINERS" | each 'MAINTAINERS F:' pattern
}

kernel_doc()
{
	perl "$TREE/scripts/kernel-doc" -Wall -Werror -none "$TREE/$1"
}

check_kernel-doc()
{
	added '\.[ch]$' | grep -v ^tools/ | each kernel-doc kernel_doc
}

# Documents that a file names have to be there.
references()
{
	local ref

	{ grep -a -o -E '\bDocumentation/[[:alnum:]_./-]+[[:alnum:]_/]' "$TREE/$1" || true; } | sort -u |
		while read -r ref; do
			[[ -e $TREE/$ref ]] || echo "no such file: $ref"
		done
}

check_references()
{
	added | each references references
	# What the kernel does not have is not named in what goes there.
	verdict 'names of the harness' "$(added | (cd "$TREE" && xargs -d '\n' grep -n -E \
		'(^|[^_[:alnum:]])harness/|make (demo|bench|test-|series|refresh)') || true)"
	verdict get_abi "$(perl "$TREE/scripts/get_abi.pl" validate --dir "$TREE/Documentation/ABI" 2>&1 |
		grep -F -f <(added '^Documentation/ABI/'; echo /) || true)"
}

# Our documents by themselves; a reference to one of the base is left as it is.
check_documents()
{
	local source=$WORK/documents/Documentation dir f

	rm -rf "${source%/*}"
	mkdir -p "$source"
	# They include sources by their place in the tree.
	for dir in "$TREE"/*/; do
		[[ $dir == */Documentation/ ]] || ln -s "$dir" "${source%/*}"
	done
	{
		printf 'Live update\n===========\n\n.. toctree::\n\n'
		added '^Documentation/.*\.rst$' | while read -r f; do
			mkdir -p "$source/$(dirname "${f#*/}")"
			ln -s "$TREE/$f" "$source/${f#*/}"
			echo "   ${f#*/}"
		done
	} >"$source/index.rst"
	verdict sphinx "$(cd "$TREE" && { PYTHONDONTWRITEBYTECODE=1 srctree=$TREE \
		sphinx-build -q -b html -c Documentation -d "$WORK/documents.env" -E \
		-D kerneldoc_srctree="$TREE" -D kerneldoc_bin="$TREE/scripts/kernel-doc" \
		-D version=6.12 -D release=6.12 \
		"$source" "$WORK/documents.html" 2>&1 || echo "exit status $?"; } |
		{ grep -v -E '^Using .* theme$|dot\(1\) not found' || true; })"
	verdict promises "$(cd "$TREE" && { "$TOP/harness/documents.py" "$TOP" 2>&1 || true; })"
}

# kbuild NAME ARGUMENT...: make in the tree $WORK/NAME.
kbuild()
{
	local out=$WORK/$1

	shift
	make -C "$TREE" O="$out" ARCH="$ARCH" -j"$JOBS" "$@" 9>&-
}

# What the compiler and make have to say.
complaints()
{
	grep -E 'warning:|error:|\*\*\*' "$1" || true
}

# build NAME ARGUMENT...: configure as the guests' kernel, build our objects.
build()
{
	local name=$1 log=$LOGS/check-$1.log
	local -a objects libs

	shift
	mapfile -t objects < <(kernel_objects)
	mkdir -p "$WORK/$name"
	{
		kbuild "$name" "$@" KCONFIG_ALLCONFIG="$TOP/configs/$ARCH.config" allnoconfig
		kbuild "$name" "$@" prepare modules_prepare headers
	} >"$log" 2>&1 || { verdict "$name" "$(tail -n 20 "$log")"; return; }
	(cd "$WORK/$name" && rm -f "${objects[@]}")
	# What make enters twice, as a directory and as a library, one after the other.
	mapfile -t libs < <(printf '%s\n' "${objects[@]}" | grep '^arch/.*/lib/' || true)
	{
		[[ ${#libs[@]} -eq 0 ]] ||
			kbuild "$name" "$@" -j1 C="${C:-0}" W=1 "${libs[@]}" || true
		kbuild "$name" "$@" C="${C:-0}" W=1 "${objects[@]}" || true
	} >"$log" 2>&1
	verdict "$name: ${#objects[@]} objects" "$(complaints "$log")"
}

# Programs, with whatever the compiler has to say as an error.
programs()
{
	local name=$1 dir log out

	shift
	for dir in tools/testing/selftests/liveupdate tools/liveupdate; do
		[[ -e $TREE/$dir/Makefile ]] || continue
		out=$WORK/$name-programs/$dir log=$LOGS/check-programs.log
		rm -rf "$out"
		mkdir -p "$out"
		make -C "$TREE/$dir" "$@" -j"$JOBS" ARCH="$ARCH" OUTPUT="$out" \
			KHDR_INCLUDES="-isystem $WORK/$name/usr/include" \
			all 9>&- >"$log" 2>&1 || true
		verdict "$name: $dir" "$(complaints "$log")"
	done
}

# The commands by which README.md has its reader build a program.
readme()
{
	local dir=$WORK/readme

	rm -rf "$dir"
	mkdir -p "$dir/build/$ARCH/share"
	ln -s "$TOP/tools" "$dir/tools"
	ln -s "$WORK/gcc/usr" "$dir/build/$ARCH/usr"
	sed -n 's/^    \(cp\|gcc\) /\1 /p' "$TOP/README.md" >"$dir/commands"
	verdict 'README.md: a program' "$(cd "$dir" && {
		bash -e commands && [[ -x build/$ARCH/share/mine ]]
	} 2>&1 || echo "exit status $?")"
}

check_objects()
{
	C=1 build gcc CC="$TOP/harness/cc.sh" HOSTCC="$TOP/harness/cc.sh"
	programs gcc CC='ccache gcc'
	readme
}

check_clang()
{
	build clang LLVM=1 CC='ccache clang' HOSTCC='ccache clang'
	programs clang LLVM=1 CC='ccache clang'
}

# Semantic patches of the kernel. One in OCaml needs its compiler; none of them
# is about anything we do.
coccinelle()
{
	local patch=$TREE/scripts/coccinelle/$1
	local -a files options

	mapfile -t files < <(added '\.[ch]$' | grep -v -x -F -f <(user_sources; echo /))
	# User space has neither min() nor kzalloc().
	[[ $1 == @(api|misc/minmax)* ]] || mapfile -t -O "${#files[@]}" files < <(user_sources)
	read -r -a options < <(sed -n 's/.*Options: *//p' "$patch"; echo)
	cd "$TREE"
	spatch -D report --no-show-diff --very-quiet --cocci-file "$patch" \
		"${options[@]}" "${files[@]}" 2>&1 |
		grep -v -E '^warning: line [0-9]+: should .* be a metavariable' || true
}

check_coccinelle()
{
	(cd "$TREE/scripts/coccinelle" && grep -r -l --include='*.cocci' 'virtual report' . |
		xargs grep -L 'ocaml:\|script:ocaml' | sed 's|^\./||' | sort) |
		each coccicheck coccinelle
}

# The books that our documents are part of, with all that belongs to them.
check_htmldocs()
{
	local log=$LOGS/check-htmldocs.log
	local -a books

	mapfile -t books < <({
		added '^Documentation/.*\.rst$'
		sed -n 's|^+++ b/\(Documentation/.*\.rst\)$|\1|p' "$TOP"/patches/*.patch
	} | cut -d / -f 2 | sort -u)
	kbuild gcc SPHINXDIRS="${books[*]}" htmldocs >"$log" 2>&1 || true
	verdict "htmldocs ${books[*]}" "$(grep -F -f <(added) "$log" || true
		tail -n 3 "$log" | grep -E '\*\*\*' || true)"
}

check_clang-kernel()
{
	local log=$LOGS/check-clang-kernel.log

	kbuild clang LLVM=1 CC='ccache clang' HOSTCC='ccache clang' bzImage modules >"$log" 2>&1 || true
	verdict 'clang: kernel' "$(complaints "$log")"
}

# What systemd says about the units, once their program is there. An older one does
# not know what later ones offer, and says so.
units()
{
	local dir=$WORK/tools-liveupdate

	make -s -C "$TOP/tools/liveupdate" OUTPUT="$dir/" sbindir="$dir/luod" \
		"$dir"/installed/luod.{service,socket} 2>&1 || true
	{ systemd-analyze verify --man=no "$dir"/installed/luod.{service,socket} 2>&1 || true; } |
		{ grep -v -E "Unknown key.* '(SurviveFinalKillSignal|FileDescriptorStorePreserve)'" || true; }
}

# "make install" as the README has it, and what it leaves.
installed()
{
	local root=$WORK/installed log=$LOGS/check-install.log

	rm -rf "$root"
	make -s -C "$TOP" DESTDIR="$root" prefix=/usr install >"$log" 2>&1 &&
		"$TOP/tools/liveupdate/check-install.sh" "$root" >>"$log" 2>&1 ||
		echo "see $log"
}

# The agent with more warnings than usual, its header in C++, its manual pages.
check_tools()
{
	local log=$LOGS/check-tools.log

	make -s -C "$TOP/tools/liveupdate" OUTPUT="$WORK/tools-liveupdate/" \
		CFLAGS='-O2 -Werror -Wshadow' KHDR_INCLUDES="-isystem $TOP/include/uapi" \
		all check >"$log" 2>&1 || echo "see $log" >>"$log"
	verdict 'tools/liveupdate' "$(grep -v '^  [A-Z]' "$log" || true)"
	verdict 'make install' "$(installed)"
	verdict 'tools/liveupdate/units' "$(units)"
	verdict 'tools/liveupdate/completion' \
		"$(shellcheck "$TOP"/tools/liveupdate/completion/* 2>&1 || true)"
}

main()
{
	local name
	local -a steps

	case ${1:-all} in
	all) steps=("${ALL[@]}") ;;
	full) steps=("${FULL[@]}") ;;
	*) steps=("$@") ;;
	esac
	take_lock
	mkdir -p "$WORK"
	for name in "${steps[@]}"; do
		declare -F "check_$name" >/dev/null || die "no such step: $name" "there are: ${FULL[*]}"
		step "check $name"
		"check_$name"
		done_step "$name"
	done
	echo "$passed passed, $failed failed"
	[[ $failed -eq 0 ]] || { trap - ERR; exit 1; }
}

main "$@"
