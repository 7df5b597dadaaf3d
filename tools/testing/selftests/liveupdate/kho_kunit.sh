#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# What the unit tests of Kexec Handover said at boot, as a test of its own: they
# run with CONFIG_KEXEC_HANDOVER_KUNIT_TEST and kunit.enable=1, and leave their
# results in debugfs. A suite that is not there, or did not run, is a failure.

DIR=/sys/kernel/debug/kunit
SUITES='kho_boot kho_map kho_pages kho_restore kho_vmalloc kho_chain kho_scratch kho_image
kho_root'

if [ ! -d "$DIR" ]; then
	echo '1..0 # SKIP no KUnit in debugfs'
	exit 4
fi

echo 'TAP version 13'
for suite in $SUITES; do
	grep -q -s '^ok ' "$DIR/$suite/results" || echo "not ok $suite did not pass"
	! grep -q -s '# SKIP' "$DIR/$suite/results" || echo "not ok $suite was skipped"
	sed -e "s/^    \(ok\|not ok\) [0-9]* /\1 $suite./" \
		-e 's/^ok 1 /ok /' -e 's/^not ok 1 /not ok /' \
		"$DIR/$suite/results" 2>/dev/null
done | awk '
	/^(not )?ok / {
		n++
		failed += /^not/
		sub(/ok /, "ok " n " ")
		print
		next
	}
	# What a test complained about.
	/^ *#/ { sub(/^ */, ""); print }
	END { print "1.." n; exit failed > 0 || n == 0 }'
