#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# What a kernel reviewer's tools say about the series: checkpatch --strict, sparse
# and W=1 on our objects, kernel-doc -Wall; shellcheck on the harness. A tool that
# has nothing to say passes.

# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

passed=0 failed=0
# Of checkpatch's ideas, those that do not fit a series in this form: added files
# have no diff, links are not the tree's own files, labels of base files are theirs.
IGNORE=FILE_PATH_CHANGES,SPDX_LICENSE_TAG,LINUX_VERSION_CODE,CAMELCASE

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

# Run from the tree, where checkpatch wants to be.
checkpatch()
{
	(cd "$TREE" && perl scripts/checkpatch.pl --strict --terse --no-summary \
		--show-types --ignore $IGNORE "$@" 2>&1) || true
}

added_sources()
{
	grep -E '\.[chS]$|Kconfig$|Makefile$' "$BUILD/tree/links" || true
}

check_style()
{
	local f

	while read -r f; do
		verdict "checkpatch $f" "$(checkpatch --file "$f")"
	done < <(added_sources | grep -v Makefile)
	for f in "$TOP"/patches/*.patch; do
		[[ ! -e $f ]] || verdict "checkpatch $(basename "$f")" \
			"$(checkpatch --no-signoff "$f")"
	done
}

# Build our objects once more, with sparse and all warnings, in a tree of their own.
check_objects()
{
	local -a objects
	local log=$LOGS/sparse.log

	mapfile -t objects < <(sed -n 's/\.c$/.o/p' "$BUILD/tree/links" |
		while read -r f; do
			[[ ! -e $OUT/$f ]] || echo "$f"
		done)
	[[ ${#objects[@]} -gt 0 ]] || return 0
	(cd "$OUT" && rm -f "${objects[@]}")
	make -C "$TREE" O="$OUT" ARCH="$ARCH" CC='ccache gcc' HOSTCC='ccache gcc' LOCALVERSION=-a \
		-j"$JOBS" C=1 W=1 "${objects[@]}" >"$log" 2>&1 || true
	verdict 'sparse and W=1' "$(grep -E 'warning:|error:|\*\*\*' "$log" || true)"
}

check_docs()
{
	local f

	while read -r f; do
		verdict "kernel-doc $f" \
			"$(perl "$TREE/scripts/kernel-doc" -Wall -none "$TREE/$f" 2>&1 || true)"
	done < <(grep -E '^(kernel|include/linux|include/uapi|mm|lib)/.*\.[ch]$' "$BUILD/tree/links" || true)
}

check_shell()
{
	local f

	for f in "$TOP"/harness/*.sh "$TOP"/harness/guest/* "$TOP"/.ci/run; do
		verdict "shellcheck ${f#"$TOP"/}" "$(shellcheck "$f" 2>&1 || true)"
	done
}

main()
{
	take_lock
	step 'check'
	check_shell
	check_style
	check_docs
	check_objects
	done_step 'done'
	echo "$passed passed, $failed failed"
	[[ $failed -eq 0 ]] || { trap - ERR; exit 1; }
}

main
