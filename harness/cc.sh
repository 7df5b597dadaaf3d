#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# The compiler: gcc by way of ccache, and for what is of the kernel in depend mode. That
# takes what a source includes from the compiler and not from a preprocessor of its own: a
# quarter of a build from nothing. What the assembler includes is not among it, so what
# does that is compiled each time; nor are headers of the system, which only programs have.

for source; do
	[ "$source" != -D__KERNEL__ ] || export CCACHE_DEPEND=1
done
case $source in
*.c | *.S)
	! grep -q '\.incbin' "$source" || exec gcc "$@"
	;;
esac
exec ccache gcc "$@"
