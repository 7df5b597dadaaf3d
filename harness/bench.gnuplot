# SPDX-License-Identifier: GPL-2.0
#
# Cost against size, from bench.csv: gnuplot -e "csv='FILE'; svg='FILE'"

set terminal svg size 960,820 font 'sans-serif,13' background '#ffffff' dynamic
set output svg
set datafile separator ','
set border 3 lc rgb '#666666'
set tics nomirror textcolor rgb '#333333'
set grid xtics ytics back lc rgb '#cccccc' lw 0.6 dt solid
set key top left reverse Left samplen 2 spacing 1.15 textcolor rgb '#333333'
set lmargin 9
set rmargin 4
set tmargin 3
set bmargin 3.5
set logscale xy
set format y '%.0s%c'
set yrange [1000:*]
set mxtics 1
set mytics 1

# One colour for each line; the peer's are dashed.
array colour[5] = ['#1f6fb4', '#d9541e', '#2e9e4f', '#8a5ab5', '#777777']
kernels = system("cut -d, -f1 ".csv." | sed 1d | sort -u")
dash(k) = k eq 'peer' ? 2 : 1
label(k, text) = words(kernels) > 1 ? k.': '.text : text

# Rows of one kind and kernel: x, and column COLUMN where it is positive.
rows(kernel, kind, column) = sprintf("< awk -F, 'NR == 1 { for (i = 1; i <= NF; i++) c[$i] = i } $1 == \"%s\" && $2 == \"%s\" && $c[\"%s\"] > 0 { print $3 \",\" $c[\"%s\"] }' %s; echo NaN,NaN", kernel, kind, column, column, csv)

# The least that a part shows, also where none of its rows was measured.
frame(n) = sprintf("< echo 1,1000; echo %d,1000000", n)

layouts = 'contiguous alternate huge sparse'
array shown[4] = ['in a row', 'every second page', 'huge pages', 'holes, 1/16 data']
phases = 'preserve added files finish'
array step[4] = ['preserve', 'added to the boot', 'retrieve', 'finish']

set multiplot layout 2,2 title "What a live update costs, in guest instructions\n" font ',16'

set xlabel 'MiB' textcolor rgb '#333333'
set logscale x 4
set format x '%.0f'
set title 'Preserve a file'
plot for [k in kernels] for [i = 1:4] rows(k, word(layouts, i), 'preserve') using 1:2 with linespoints lc rgb colour[i] lw 2 pt 7 ps 0.5 dt dash(k) title label(k, shown[i]), frame(1024) using 1:2 with dots lc bgnd notitle
set title 'Added to the boot, from the jump to init'
plot for [k in kernels] for [i = 1:4] rows(k, word(layouts, i), 'added') using 1:2 with linespoints lc rgb colour[i] lw 2 pt 7 ps 0.5 dt dash(k) title label(k, shown[i]), frame(1024) using 1:2 with dots lc bgnd notitle
set title 'Retrieve it'
plot for [k in kernels] for [i = 1:4] rows(k, word(layouts, i), 'files') using 1:2 with linespoints lc rgb colour[i] lw 2 pt 7 ps 0.5 dt dash(k) title label(k, shown[i]), frame(1024) using 1:2 with dots lc bgnd notitle

set xlabel 'files of one page'
set logscale x 10
set format x '%.0s%c'
set title 'Many files'
plot for [k in kernels] for [i = 1:4] rows(k, 'files', word(phases, i)) using 1:2 with linespoints lc rgb colour[i] lw 2 pt 7 ps 0.5 dt dash(k) title label(k, step[i]), frame(100000) using 1:2 with dots lc bgnd notitle
unset multiplot
