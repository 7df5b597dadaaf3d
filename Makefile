# SPDX-License-Identifier: GPL-2.0
# Everything is done by the scripts in harness/; see `make help`.

MAKEFLAGS += --no-print-directory
.NOTPARALLEL:
.SUFFIXES:

export LINUX ACCEL BUILD T P PEER FORCE JOBS GUESTS CONFIG FULL STEP EVERYDAY

H := harness
B := $(or $(BUILD),build)

.PHONY: help
help:
	@sed -n 's/^#: \?//p' $(firstword $(MAKEFILE_LIST))

#: Live update for Linux 6.12
#:
#:   make demo          two VMs go on while their host is updated, with the times
#:   make demo-memfd    the same with a file of random data
#:   make test          the selftests, each in its own guest, and those about faults,
#:                      races and order with the debug kernel, too; T=REGEX picks some,
#:                      for one kernel: test-debug T= is the other
#:   make test-full     the same and the long ones, without deferred initialization of
#:                      memory, and "make off"; hours without KVM
#:   make off           switched off, the kernel boots and kexecs like the base kernel
#:   make test-qemu     the distribution's QEMU, unchanged, over two updates
#:   make test-systemd  luod on a host with the distribution's systemd
#:   make shell         boot to a prompt with the tests and tools in place
#:   make bench         what a live update costs, in guest instructions; T=REGEX picks
#:                      kinds of cases, PEER=bzImage compares with another kernel
#:   make check         what a reviewer's tools say: checkpatch, sparse, W=1, clang,
#:                      coccinelle, kernel-doc, sphinx, shellcheck; STEP=NAME does one
#:   make check-full    the same, the kernel's books and all of the kernel by clang
#:
#:   make series        build/series: patches for git am and a mailing list
#:   make series-check  apply them to other bases, and build each; STEP="N N" does some
#:
#:   make install       libluo, luod, luoctl: DESTDIR=DIR, prefix=/usr/local
#:
#:   make tree          assemble build/linux: base, patches, added files
#:   make kernel        build both kernels and the guest (build/x86_64)
#:   make refresh       write edits of base files in build/linux back to patches/
#:                      P=NNNN-area-topic.patch takes files that no patch has yet
#:   make deb           Debian packages of Debian's cloud kernel with live update
#:   make test-debian   the tests on this kernel; both build it for an hour, once
#:   make deps          install with apt what is missing; the others do so, too
#:   make clean         remove what was built, keep the tree and the compiler cache
#:   make distclean     remove build/
#:
#: kernel-debug, test-debug, shell-debug use a kernel with KASAN, lockdep and so on;
#: kernel-plain, shell-plain one without live update; kernel-bench one without checks;
#: kernel-nodeferred and kernel-rt are built as their names say.
#: bench-full measures more and larger sizes.
#:
#:   LINUX=PATH         another 6.12.y tree or tarball than Debian's
#:   ACCEL=kvm|tcg|auto auto (default) tries KVM once and remembers
#:   BUILD=DIR          build there instead of in build/
#:   CONFIG=FILE        one more kernel config fragment
#:   GUESTS=N JOBS=N    guests at a time, compilers at a time

.PHONY: deps tree refresh
deps:
	@$(H)/deps.sh

tree: deps
	@$(H)/tree.sh

refresh: deps
	@$(H)/tree.sh refresh

# kernel, kernel-debug, kernel-plain and what runs them.
define flavour
.PHONY: kernel$(1) test$(1) shell$(1) demo$(1)
kernel$(1): export FLAVOUR = $(1)
kernel$(1): tree
	@$(H)/kernel.sh
	@$(H)/image.sh

test$(1) shell$(1) demo$(1): export FLAVOUR = $(1)
# Without a flavour both kernels; T= is about some guests, and one kernel then.
test$(1): kernel$(1)
	@$(H)/$$(if $(1)$$(T),test,test-both).sh

shell$(1): kernel$(1)
	@$(H)/vm.sh

demo$(1): kernel$(1)
	@$(H)/demo.sh
endef
$(foreach f,plain debug bench nodeferred rt debian,$(eval $(call flavour,-$(f))))
$(eval $(call flavour))

.PHONY: test-full off
test-full: kernel systemd
	@$(H)/stock.sh
	@$(H)/older.sh
	@$(MAKE) kernel-nodeferred
	@cp $(B)/x86_64-nodeferred/bzImage-a $(B)/x86_64/share/bzImage-nodeferred
	@$(MAKE) test FULL=1
	@$(H)/deps.sh full
	@$(MAKE) -C tools/liveupdate OUTPUT=$(abspath $(B))/fuzz/ \
		KHDR_INCLUDES="-isystem $(CURDIR)/include/uapi" fuzz
	@$(MAKE) test-nodeferred T='^(one-memfd|sessions-and-files|memfd-scattered-in-memory|matrix-(hugepages|nodes))$$'
	@$(MAKE) off
	@$(MAKE) kernel-rt

off: kernel kernel-plain
	@$(H)/off.sh

# Debian's kernel has no test module, no means to damage a handover, its config not in
# the image (for kexec's selftests), and a driver for disks in a module only.
DEBIAN_TESTS := ^(one-memfd|image-first|sessions-and-files|second-update|init-system
DEBIAN_TESTS := $(DEBIAN_TESTS)|memfd-(sparse|sealed|large-folios|late-pages)|writer-mapping
DEBIAN_TESTS := $(DEBIAN_TESTS)|ride-closed|kexec-.*|matrix-(kernel-moves|nodes|hugepages)
DEBIAN_TESTS := $(DEBIAN_TESTS)|off|off-(liveupdate|kexec-tools|kexec-to-on))$$

.PHONY: deb deps-deb stock-debian
deps-deb:
	@$(H)/deps.sh deb

deb: tree deps-deb
	@$(H)/kernel.sh deb

kernel-debian: deps-deb
test-debian: export T := $(or $(T),$(DEBIAN_TESTS))
test-debian: export FULL = 1
test-debian: stock-debian
stock-debian: export FLAVOUR = -debian
stock-debian: kernel-debian
	@$(H)/stock.sh

.PHONY: bench bench-full
bench bench-full: kernel-bench
	@$(H)/deps.sh bench
	@$(H)/bench.sh
bench-full: export FULL = 1

.PHONY: test-qemu
test-qemu: export FULL = 1
test-qemu: export T = ^qemu$$
test-qemu: test

# Its guest is assembled from what is installed.
.PHONY: systemd test-systemd
systemd: kernel
	@$(H)/deps.sh systemd
	@$(H)/systemd.sh

test-systemd: export FULL = 1
test-systemd: export T = ^systemd$$
test-systemd: systemd test

.PHONY: demo-memfd
demo-memfd: kernel
	@$(H)/demo.sh memfd

.PHONY: series series-check
series: tree
	@$(H)/series.sh

series-check: tree
	@$(H)/deps.sh check
	@$(H)/check.sh objects
	@$(H)/series.sh check $(STEP)

.PHONY: check check-full
check check-full: tree
	@$(H)/deps.sh check
	@$(H)/check.sh $(or $(STEP),$(patsubst check-%,%,$(@:check=all)))

# The library, the agent and its control; DESTDIR=, prefix= as usual.
.PHONY: install
install: deps
	@$(MAKE) -C tools/liveupdate OUTPUT=$(abspath $(B))/install/ \
		KHDR_INCLUDES="-isystem $(CURDIR)/include/uapi" install

.PHONY: clean distclean
clean:
	[ ! -d $(B) ] || find $(B) -mindepth 1 -maxdepth 1 ! -name linux ! -name base ! -name tree ! -name 'applied*' \
		! -name ccache -exec rm -rf {} +

distclean:
	rm -rf $(B)
