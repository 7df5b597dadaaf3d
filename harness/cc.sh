#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# The compiler for a kernel: gcc by way of ccache in depend mode. That takes what a
# source includes from the compiler and not from a preprocessor of its own: a quarter
# of a build from nothing. What the assembler includes is not among it, so what does
# that is compiled each time.
#
# Not for programs: headers of the system are not among it either.

for source; do :; done
case $source in
*.c | *.S)
	! grep -q '\.incbin' "$source" || exec gcc "$@"
	;;
esac
export CCACHE_DEPEND=1
exec ccache gcc "$@"
