# SPDX-License-Identifier: GPL-2.0
#
# dm-remote-copy. "make help" lists what can be made; Kbuild describes the module itself.

MAKEFLAGS += --no-builtin-rules --no-print-directory
.DEFAULT_GOAL := all

# The kernel tree to build for: any prepared 7.3 tree with Rust support.
KDIR ?= $(CURDIR)/build/linux

# Compilers come from the private root in build/, unless NATIVE=1 says to use this machine's.
NATIVE ?=

jobs   := $(shell nproc)
kdir   := $(realpath $(KDIR))
module := build/dm-remote-copy.ko

ifeq ($(NATIVE),)
in_root := env DMRC_BIND=$(kdir) scripts/in-root
# The stock kernel's compiler; and a warning is an error with this one known set of tools.
kflags  := CC=x86_64-linux-gnu-gcc-14 KRUSTFLAGS=-Dwarnings KCFLAGS=-Werror
need    := toolchain
else
in_root :=
kflags  :=
need    :=
endif

# One kbuild at a time: two would write the same objects.
# BTF of a module needs the kernel's vmlinux, which no package carries.
kbuild = mkdir -p build && flock build/.kbuild.lock $(in_root) make -C $(or $(kdir),$(KDIR)) -j$(jobs) M=$(CURDIR) MO=$(CURDIR)/build/$(1) \
	CONFIG_DEBUG_INFO_BTF_MODULES= $(kflags) $(2) modules

cargo = $(in_root) cargo $(1) --manifest-path rust/Cargo.toml

.PHONY: all toolchain module tools host-test model worlds clippy fmt fmt-check lint netlink-gen check proof demo \
	bench fuzz fuzz-plants debug-check images kills sim sim-proof clean distclean help

all: module tools ## everything below that is needed to use it: the module and the control tool (default)

toolchain: ## a private Debian root with compilers and QEMU, and the kernel tree, in build/
	@scripts/toolchain.sh

module: $(need) ## the kernel module: build/dm-remote-copy.ko
	+@$(call kbuild,module)
	@cmp -s build/module/dm-remote-copy.ko $(module) || cp build/module/dm-remote-copy.ko $(module)

tools: $(need) ## the control tool: build/rcopy, its manual page and its completion for bash
	@$(call cargo,build) --release --quiet --package rcopy
	@cmp -s build/target/release/rcopy build/rcopy || cp build/target/release/rcopy build/rcopy
	@$(in_root) build/rcopy man >build/rcopy.8
	@$(in_root) build/rcopy completion bash >build/rcopy.bash

host-test: $(need) ## tests of the pure logic and the tool, on this machine
	@$(call cargo,test) --workspace --exclude model --exclude proof --exclude sim

model: $(need) ## who owns a set: every history of two nodes within bounds, and mistakes that it finds
	@MODEL=$(MODEL) $(call cargo,test) --package model -- --nocapture

worlds: $(need) ## every crash of small worlds, every crash of the recovery, and mistakes that they find
	@$(call cargo,test) --package proof --features plant -- --nocapture

fuzz: $(need) ## core's parsers under fuzz: bounded, or FUZZ_SECONDS=<n> for each target (rust/fuzz)
	@$(in_root) scripts/fuzz.sh $(if $(FUZZ_SECONDS),seconds $(FUZZ_SECONDS))

fuzz-plants: $(need) ## mistakes in a copy of the parsers, one at a time: fuzzing has to find each
	@$(in_root) scripts/fuzz-plants.py

sim: $(need) ## a whole deployment on virtual time, from seeds: no rule breaks, and mistakes that are found
	@SEEDS=$(SEEDS) SEED=$(SEED) FIRST=$(FIRST) EVENTS=$(EVENTS) ONLY=$(ONLY) \
		$(call cargo,test) --package sim $(if $(SEED)$(FIRST),--test honest) -- --nocapture

sim-proof: $(need) ## the same for many more seeds: SEEDS=1000000
	@SEEDS=$(or $(SEEDS),1000000) FIRST=$(or $(FIRST),1000000) DMRC_PROOF=$(or $(DMRC_PROOF),$(CURDIR)/build/proof.d/proof) \
		$(call cargo,test) --package sim -- --nocapture

netlink-gen: $(need) ## what follows from the netlink family's specification: policies, headers, names
	@$(in_root) scripts/netlink-gen.sh $(kdir)

clippy: $(need) ## lints: the module with the kernel's own set, then the host crates
	+@$(call kbuild,clippy,CLIPPY=1)
	@$(call cargo,clippy) --workspace --all-targets -- -D warnings

rust_files = $$(find rust -name '*.rs')

fmt: $(need) ## format the Rust sources in place
	@$(in_root) rustfmt --edition 2021 $(rust_files)

fmt-check: $(need) ## say which Rust sources are not formatted
	@$(in_root) rustfmt --edition 2021 --color never --check $(rust_files)

lint: $(need) ## shell scripts through shellcheck, Python compiled, licences named
	@$(in_root) scripts/lint.sh
	@$(in_root) scripts/netlink-gen.sh $(kdir) check

check: $(need) ## every test: formatting, lints, host tests, and tests in virtual machines
	@scripts/check.sh

proof: $(need) ## the crash proof, large; its report is build/proof.json and build/proof.txt
	@scripts/proof.sh

debug-check: $(need) ## the tests on a kernel with KASAN, lockdep, kmemleak and faults: two hours (scripts/debug-kernel)
	@scripts/debug-kernel/check.sh

images: module ## crash images of the stores that the real kernel makes: build/proof.d/check/kernel.json
	@$(in_root) python3 scripts/images/images.py

kills: module ## machines that are killed in mid-load and come back; KILLS=<n> of them in each of two tests
	@$(in_root) python3 selftests/multi/kills.py
	@$(in_root) python3 selftests/multi/storm.py

demo: all ## three virtual machines: one dies, its partner takes over, nothing is lost
	@$(in_root) python3 scripts/demo.py

bench: module ## what a write costs, exactly, beside DRBD and others: build/bench.json, build/bench.svg
	@DMRC_COMMIT=$$(git describe --always --dirty --abbrev=12 2>/dev/null) $(in_root) python3 scripts/bench/bench.py

clean: ## remove what was built, keep the toolchain
	rm -rf build/module build/debug-module build/debug-plant build/debug-check.d build/clippy build/target build/fuzz build/vm build/bench \
		build/images build/plugin $(module) build/rcopy build/rcopy.8 build/rcopy.bash

distclean: ## remove everything in build/
	rm -rf build

help: ## this text
	@echo "Targets (root is needed, everything is made in build/):"; echo
	@sed -n 's/^\([a-z-]*\):[^#]*## */\1\t/p' $(MAKEFILE_LIST) | \
		while IFS='	' read -r name text; do printf '  %-10s %s\n' "$$name" "$$text"; done
	@echo; echo "Variables:"; echo
	@echo "  CALLERS=<function> make bench: profiles name the callers of that function of the kernel"
	@echo "  ITEMS=<regex> make bench: only the rows whose names match (mirrored/, d16$$, ...)"
	@echo "  CUTS=<n> WRITES=<n> IMAGES=<n> SEED=<n> make images: points at which the power is cut, writes of"
	@echo "               each thread, the least number of images; the same again"
	@echo "  KDIR=<tree>  the prepared 7.3 kernel tree to build for (default: build/linux)"
	@echo "  KILLS=<n>    make kills, make check: so many machines are killed by a test"
	@echo "  MODE=sync    make demo: a write is acknowledged when the remote has it (default: async)"
	@echo "  MODEL=large  make model: more deaths, cuts and writes; hours, and tens of GB of memory"
	@echo "  FUZZ_SECONDS=<n>  make fuzz: each target for so long, instead of a fixed number of runs"
	@echo "  PROOF=large  make worlds: a million crashes; make images: more load, more cuts"
	@echo "  SEEDS=<n>    make sim: as many runs (default: 10000), from FIRST=<seed> on"
	@echo "  SEED=<n>     make sim: this run with its trace, made smaller if it fails"
	@echo "  NATIVE=1     use this machine's compilers, not the private root's"
