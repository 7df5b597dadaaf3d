#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# Do what a document tells its reader to do, in a guest: the commands in its blocks
# of ".. code-block:: console" (in Markdown: between ```console and ```), one after
# the other in one shell, and compare what they print with what the document says.
#
#	# COMMAND	as root; a backslash at the end continues it
#	OUTPUT		of the command, "..." stands for anything
#
# A command with output in the document may fail, another may not. "kexec -e" and
# "luoctl update" go to the next kernel, where the rest is done. Blocks of other kinds
# hold no command, unless a comment says why it is not run: ".. not run: WHY" (in
# Markdown: "<!-- not run: WHY -->"). In Markdown every indented block has to say why:
# nothing tells the commands there from other lines.
#
# The build appends the document (see Makefile), so that one file is the test.

dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT

# Commands to $dir/PART.N.cmd and their output to $dir/PART.N.out, PART counts kernels.
split()
{
	sed '1,/^# The document:$/d' "$0" | awk -v dir="$dir" '
	function end_of_block() { block = ""; indent = 0 }
	function problem(text) { print text ": " $0 > (dir "/problems") }
	NR == 1 { markdown = /^# / }
	{ match($0, /^ */); depth = RLENGTH; after_blank = blank; blank = !NF }
	block && !fenced && NF && depth < indent { end_of_block() }
	/^ *\.\. not run: ./ || /^<!-- not run: ./ { excused = 1; next }
	/^```/ {
		if (fenced)
			end_of_block()
		else
			block = /^```console/ ? "run" : excused ? "excused" : "other"
		fenced = !fenced; excused = 0
		next
	}
	!block && /^ *\.\. code-block:: console/ { block = "run"; indent = depth + 3; next }
	!block && /::( |$)/ && !/^ *\.\. (kernel-doc|toctree|contents)::/ {
		block = excused ? "excused" : "other"; excused = 0; indent = depth + 1; next
	}
	markdown && !block && after_blank && NF && depth >= 4 {
		if (!excused)
			problem("an indented block that is not run")
		block = "excused"; excused = 0; indent = 4; next
	}
	!block && /^ +# / { problem("a command in no block") }
	block == "other" && /^ *[#$] / { problem("a command in a block that is not run") }
	block != "run" { next }
	{ line = substr($0, indent + 1) }
	more { print line > file; more = line ~ /\\$/; next }
	line ~ /^# / {
		if (jumped) { part++; nr = 0; jumped = 0 }
		file = sprintf("%s/%d.%03d.cmd", dir, part + 1, ++nr)
		print substr(line, 3) > file
		more = line ~ /\\$/
		jumped = line ~ /^# (kexec -e|luoctl update)$/
		next
	}
	line != "" && nr { print line > (substr(file, 1, length(file) - 3) "out") }
	line != "" && !nr { problem("output of no command") }'
}

# Whether $1 is what the document says, in $2.
matches()
{
	pattern=$(sed 's/[][*?\\]/\\&/g; s/\.\.\./*/g' "$2")
	# shellcheck disable=SC2254 # a pattern it is
	case $1 in
	$pattern) return 0 ;;
	esac
	return 1
}

say()
{
	total=$((total + 1))
	[ "$1" = ok ] || failed=1
	echo "$1 $total $2"
}

run()
{
	cmd=$(cat "$1") want=${1%.cmd}.out
	# In this shell: the next command may need what this one set.
	eval "$cmd" >"$dir/got" 2>&1
	status=$?
	got=$(cat "$dir/got")
	# Whoever comes back from there has not been there.
	case $cmd in
	'kexec -e' | 'luoctl update') want='' status="$status, in the same kernel" ;;
	esac
	if [ -e "$want" ]; then
		matches "$got" "$want"
	else
		[ "$status" = 0 ] && [ -z "$got" ]
	fi && { say ok "$cmd"; return; }
	say 'not ok' "$cmd"
	printf '# status %s, it said:\n%s\n' "$status" "$got"
	[ ! -e "$want" ] || { echo '# the document says:'; cat "$want"; }
}

# What the document takes for granted: Debian's links to the newest kernel.
prepare()
{
	case $(uname -r) in
	*b)	ln -sf /host/bzImage-a /vmlinuz ;;
	*)	ln -sf /host/bzImage-b /vmlinuz ;;
	esac
	ln -sf /host/initrd /initrd.img
}

[ -n "$LU_STAGE" ] || {
	echo '1..0 # SKIP kexecs: runs in a guest, LU_STAGE says so'
	exit 4
}

total=0 failed=0
part=$(($(cat /sys/kernel/liveupdate/number) + 1))
split
prepare
[ ! -e "$dir/problems" ] || { sed 's/^/# /' "$dir/problems"; say 'not ok' 'the document'; }
[ -e "$dir/$part.001.cmd" ] || say 'not ok' "there is nothing to do in kernel $part"
for f in "$dir/$part".*.cmd; do
	[ ! -e "$f" ] || run "$f"
done
echo "1..$total"
exit $failed

# The document:
