# SPDX-License-Identifier: GPL-2.0
#
# The tables of `make bench`, from bench.csv and the guests' output: first by kind of
# case, a column for each phase, in instructions; under each its growth from the
# row before, relative to that of the size (1.00: in proportion). Then the budgets.

function count(x)
{
	if (x >= 1e9 || x <= -1e9)
		return sprintf("%.2fG", x / 1e9)
	if (x >= 1e6 || x <= -1e6)
		return sprintf("%.2fM", x / 1e6)
	if (x >= 1e4 || x <= -1e4)
		return sprintf("%.1fk", x / 1e3)
	return sprintf("%d", x)
}

function ratio(a, b)
{
	return b > 0 && a > 0 ? sprintf("%.2f", a / b) : "-"
}

function cells(label, n)
{
	printf "%-12s", label
	for (i = 1; i <= phases; i++)
		printf " %9s", cell[i]
	print ""
}

# How much faster a phase grows than the size; small fixed costs do not.
function growth(kernel, kind, k, name, rel, n)
{
	n = size[kind, k] / size[kind, k - 1]
	if (value[kernel, kind, k, name] < 1 || value[kernel, kind, k - 1, name] < 1)
		return "-"
	rel = value[kernel, kind, k, name] / value[kernel, kind, k - 1, name] / n
	return sprintf("x%.2f", rel)
}

function per_unit(kernel, kind, k, name, units)
{
	units = many[kind] ? size[kind, k] : value[kernel, kind, k, "pages"]
	if (name == "memory")
		return sprintf("%.1f", value[kernel, kind, k, name] / units)
	return count(value[kernel, kind, k, name] / units)
}

function table(kind, k, i, unit)
{
	unit = many[kind] ? kind : "MiB"
	printf "\n%s\n", title[kind]
	for (i = 1; i <= phases; i++)
		cell[i] = phase[i]
	cells(unit)
	for (k = 1; k <= rows[kind]; k++) {
		for (i = 1; i <= phases; i++)
			cell[i] = count(value["ours", kind, k, phase[i]])
		cells(size[kind, k])
		for (i = 1; i <= phases; i++)
			cell[i] = per_unit("ours", kind, k, phase[i])
		if (kind != "none")
			cells("  per " (many[kind] ? "one" : "page"))
		for (i = 1; i <= phases; i++)
			cell[i] = k > 1 ? growth("ours", kind, k, phase[i]) : ""
		if (k > 1)
			cells("  growth")
		if (!(("peer", kind, k, "jump") in value))
			continue
		for (i = 1; i <= phases; i++)
			cell[i] = count(value["peer", kind, k, phase[i]])
		cells("  peer")
		for (i = 1; i <= phases; i++)
			cell[i] = ratio(value["peer", kind, k, phase[i]],
					value["ours", kind, k, phase[i]])
		cells("  peer/ours")
	}
}

BEGIN {
	FS = ","
	phases = split("make preserve memory load jump boot added kept gaps open sessions files touch finish", phase, " ")
	title["none"] = "Nothing but a file of one page: what the others are compared with"
	title["contiguous"] = "Pages that lie one after the other"
	title["scratch"] = "Pages that lie in scratch, where they cannot stay: they are moved"
	title["alternate"] = "Every second page of memory"
	title["huge"] = "Folios of 2 MiB"
	title["sparse"] = "One file, 1/16 of it written"
	title["files"] = "Files of one page, in one session"
	title["sessions"] = "Sessions with a file of one page"
	kinds = split("none contiguous scratch alternate huge sparse files sessions", order, " ")
	many["files"] = many["sessions"] = 1
}

FNR == 1 && FILENAME ~ /\.csv$/ {
	for (i = 1; i <= NF; i++)
		head[i] = $i
	next
}

FILENAME ~ /\.csv$/ {
	# Each guest has measured nothing at all: once will do.
	if ($2 == "none" && ($1, $2) in seen)
		next
	seen[$1, $2] = 1
	if (!(($2, $3) in row)) {
		row[$2, $3] = ++rows[$2]
		size[$2, rows[$2]] = $3
	}
	for (i = 4; i <= NF; i++)
		value[$1, $2, row[$2, $3], head[i]] = $i
	next
}

# The case that comes nearest to its limit, or exceeds it most, stands for all.
/^BUDGET / {
	kernel = FILENAME ~ /bench-peer-/ ? "peer" : "ours"
	split($0, part, / (case|got|limit|what)=/)
	split(part[2], c, ":")
	key = c[1] ": " part[5]
	if (!(key in known)) {
		known[key] = 1
		budget[++budgets] = key
	}
	full = part[3] / part[4]
	if (!((kernel, key) in used) || full > used[kernel, key]) {
		used[kernel, key] = full
		got[kernel, key] = part[3]
		limit[kernel, key] = part[4]
		at[kernel, key] = c[2]
	}
}

END {
	print "Guest instructions; memory in bytes. jump: from reboot(2) to init; boot: what the next"
	print "kernel takes of it; added: to the boot, over that with nothing preserved. kept: preserved"
	print "pages in all; gaps: runs of free pages between them."
	for (j = 1; j <= kinds; j++)
		if (rows[order[j]])
			table(order[j])

	printf "\n%-74s %12s %12s\n", "budget, at the size that comes nearest to it", "measured", "at most"
	for (j = 1; j <= budgets; j++) {
		key = budget[j]
		verdict = used["ours", key] > 1 ? "NOT MET" : "met"
		printf("%-74s %12s %12s %8s", key " (" at["ours", key] ")", got["ours", key],
		       limit["ours", key], verdict)
		if (("peer", key) in used)
			printf "   peer %s of %s", got["peer", key], limit["peer", key]
		print ""
	}
}
