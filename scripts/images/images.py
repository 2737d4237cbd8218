#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Crash images of the real kernel's own stores (see rust/images/main.rs).

Boots a guest with both nodes of a pair, runs load.sh in it, and has every store, flush and fence of
persistent memory written down (trace.h); then cuts the power at many points of that trace.

SEED=<number>   other points and survivors, the same again
WRITES=<number> of each of twelve threads of the load
CUTS=<number>   points at which the power is cut
IMAGES=<number> the least that must come of it
PROOF=large     other defaults for these three

The trace stays in build/images/trace, and build/target/release/images looks at it again.
"""

import os
import random
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(TOP, "scripts", "vm"))

from vmlib import MIB, PMEM_BASE_MIB, Lab  # noqa: E402

# Regions of the trace: log of the owner, log of its partner, local unit, remote. rust/images knows
# their order and size.
REGION_MIB = 4
REGIONS = 4
TOOLS = os.path.join(TOP, "build", "images")
TRACE = os.path.join(TOOLS, "trace")
PROOF = os.environ.get("DMRC_PROOF") or os.path.join(TOP, "build", "proof.d", "check")


# For make check, and for make proof.
DEFAULTS = {"WRITES": (70, 350), "CUTS": (600, 8000), "IMAGES": (200, 10000)}


def number(name):
    return int(os.environ.get(name) or DEFAULTS[name][os.environ.get("PROOF") == "large"])


class Commented:
    """Prints what the guest says, as comments: its tests are not this program's."""

    def __init__(self):
        self.rest = ""

    def __call__(self, text):
        *lines, self.rest = (self.rest + text).split("\n")
        for line in lines:
            print("# " + line.rstrip("\r").removeprefix("# "), flush=True)


def trace(writes):
    """Whether the load in the guest went well."""
    start = PMEM_BASE_MIB * MIB
    plugin = f"{TOOLS}/trace.so,out={TRACE},region={start:#x}-{start + REGIONS * REGION_MIB * MIB:#x}"
    with Lab("images", add=["selftests", "scripts/images", "build/images/client"]) as lab:
        vm = lab.vm("traced", pmem=[REGION_MIB] * REGIONS, smp=4, args="isolcpus=1,2,3", qemu=["-plugin", plugin])
        vm.start()
        job = vm.spawn(f"exec bash /repo/scripts/images/load.sh {writes}", sink=Commented())
        status = job.wait(1200).rc
        vm.quit()
    return status == 0


def main():
    began = time.monotonic()
    subprocess.run([os.path.join(HERE, "tools.sh")], check=True)
    subprocess.run(["cargo", "build", "--release", "--quiet", "--package", "images", "--manifest-path",
                    os.path.join(TOP, "rust", "Cargo.toml")], check=True)
    if not trace(number("WRITES")):
        sys.exit("the load in the guest failed")
    os.makedirs(PROOF, exist_ok=True)
    sys.stdout.flush()
    sys.exit(subprocess.run([
        os.path.join(os.environ["CARGO_TARGET_DIR"], "release", "images"), TRACE,
        f"seed={os.environ.get('SEED') or random.SystemRandom().randrange(1 << 32)}",
        f"cuts={number('CUTS')}", f"images={number('IMAGES')}",
        f"json={PROOF}/kernel.json", f"spent={time.monotonic() - began:.0f}"]).returncode)


main()
