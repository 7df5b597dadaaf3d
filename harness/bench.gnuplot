# SPDX-License-Identifier: GPL-2.0
#
# Cost against size, from bench.csv: gnuplot -e "csv='FILE'; svg='FILE'"

set terminal svg size 900,760 font 'sans-serif,12' background '#ffffff'
set output svg
set datafile separator ','
set logscale xy 2
set logscale y 10
set format y '%.0s%c'
set grid lc rgb '#dddddd'
set key top left reverse Left samplen 2
set tmargin 3

kernels = system("cut -d, -f1 ".csv." | sed 1d | sort -u")
sizes = 'contiguous alternate huge sparse'
# Rows of one kind and kernel: x, and column COLUMN where it is positive.
rows(kernel, kind, column) = sprintf("< awk -F, 'NR == 1 { for (i = 1; i <= NF; i++) c[$i] = i } $1 == \"%s\" && $2 == \"%s\" && $c[\"%s\"] > 0 { print $3 \",\" $c[\"%s\"] }' %s; echo NaN,NaN", kernel, kind, column, column, csv)
name(kernel, kind) = words(kernels) > 1 ? kernel.': '.kind : kind

set multiplot layout 2,2 title 'Guest instructions of a live update'
set xlabel 'MiB'
set title 'preserve'
plot for [k in kernels] for [s in sizes] rows(k, s, 'preserve') using 1:2 with linespoints title name(k, s)
set title 'added to the boot (jump to init)'
plot for [k in kernels] for [s in sizes] rows(k, s, 'added') using 1:2 with linespoints title name(k, s)
set title 'retrieve'
plot for [k in kernels] for [s in sizes] rows(k, s, 'files') using 1:2 with linespoints title name(k, s)
set logscale x 10
set xlabel 'files of one page'
set title 'files'
plot for [k in kernels] for [p in 'preserve added files finish'] rows(k, 'files', p) using 1:2 with linespoints title name(k, p)
unset multiplot
