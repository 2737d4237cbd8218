# SPDX-License-Identifier: GPL-2.0
"""One machine of exact time, and what is measured in it.

Its time is what it executes: QEMU's icount makes one instruction one nanosecond, and time in which
nothing is to do passes at once. The plugin (count.c) counts between the marks that load and watch
leave (mark.h); each of their runs is one *window*.
"""

import json
import os
import re
import shlex
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(TOP, "scripts", "vm"))

from vmlib import MIB, PMEM_BASE_MIB, Lab, VmError, wait_until  # noqa: E402

OUT = os.path.join(TOP, "build", "bench")
TOOLS = "/repo/build/bench"
STACKS = "/repo/scripts/bench/stacks.sh"
# A kernel function whose callers the profiles name, if somebody asks for it.
CALLERS = os.environ.get("CALLERS")
SYMBOLS = os.path.join(OUT, "symbols")
# The kernel tests its ciphers behind the scenes for some seconds after a boot.
QUIET_SECONDS = 4


def known_address(name):
    """The address of a function of the kernel, which is the same in every boot, from an earlier run."""
    try:
        with open(SYMBOLS) as f:
            return next(int(address, 16) for address, symbol in map(str.split, f) if symbol == name)
    except (OSError, StopIteration):
        sys.exit(f"bench: CALLERS={name}: no such function; an earlier run of a row with a profile "
                 "must have left the list of them")


class Window:
    """What the plugin counted between two marks."""

    def __init__(self, lines):
        self.instructions = 0
        self.regions = []
        self.stores = self.stored = self.fences = self.flushes = 0
        # Of each block of code: instructions, and how often it ran.
        self.blocks = {}
        self.runs = {}
        self.fence_sites = {}
        self.callers = {}
        for line in lines:
            kind, *rest = line.split()
            if kind == "window":
                self.instructions = int(rest[1])
            elif kind == "region":
                self.regions.append([int(word) for word in rest[1:]])
            elif kind == "stores":
                self.stores, self.stored = (int(word) for word in rest)
            elif kind == "order":
                self.fences, self.flushes = (int(word) for word in rest)
            elif kind == "block":
                address, runs, length = int(rest[0], 16), int(rest[1]), int(rest[2])
                self.blocks[address] = self.blocks.get(address, 0) + runs * length
                self.runs[address] = self.runs.get(address, 0) + runs
            elif kind in ("fence", "caller"):
                sites = self.fence_sites if kind == "fence" else self.callers
                sites[int(rest[0], 16)] = sites.get(int(rest[0], 16), 0) + int(rest[1])


class Machine:
    """A started guest with the module loaded. Use it as a context."""

    def __init__(self, name, pmem=(64, 64), regions=False):
        """regions: count stores to persistent memory, and fences (slower)."""
        self.name = name
        self.counts = os.path.join(OUT, name + ".count")
        plugin = f"{OUT}/count.so,out={self.counts},profile=1"
        if CALLERS:
            plugin += f",callers={known_address(CALLERS):#x}"
        if regions:
            start = PMEM_BASE_MIB
            for size in pmem:
                plugin += f",region={start * MIB:#x}-{(start + size) * MIB:#x}"
                start += size
        self.lab = Lab("bench-" + name, add=["scripts/bench", "build/bench/load", "build/bench/watch"])
        self.vm = self.lab.vm(name, pmem=list(pmem), exact=True, qemu=["-plugin", plugin])
        self.seen = 0
        self.idle = 0.0
        self.names = None
        self.dumps = 0

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.lab.close()
            raise
        return self

    def __exit__(self, kind, value, trace):
        return self.lab.__exit__(kind, value, trace)

    def start(self):
        self.vm.start()
        self.seen = 0
        self.vm.load_module()
        self.sh(f"sleep {QUIET_SECONDS}; up_null")

    def sh(self, script, timeout=120):
        """Runs a script that knows the functions of stacks.sh; returns its output."""
        return self.vm.ok(f". {STACKS}\n{script}", timeout)

    def windows(self):
        """Those that ended since the last call."""
        with open(self.counts) as f:
            records = f.read().split("end\n")[:-1]
        new, self.seen = records[self.seen:], len(records)
        return [Window(record.splitlines()) for record in new]

    def load(self, options, *devices, settle=0, timeout=200):
        """One run of the load. Returns its figures, with the window beside them.

        settle: milliseconds for work behind the host's back, which counts."""
        self.windows()
        out = self.sh(f"{TOOLS}/load {options} -t {settle} {shlex.join(devices)}", timeout)
        figures = json.loads(out.splitlines()[-1])
        window = self.windows()[-1]
        figures["window"] = window
        figures["total_per_io"] = (window.instructions - settle * self.idle) / figures["n"]
        return figures

    def measure_idle(self, device):
        """What a stack costs while nobody uses it, instructions a millisecond."""
        self.idle = 0.0
        rest = 1000
        self.idle = self.load("-n 1 -w 1", device, settle=rest)["window"].instructions / rest

    def watch(self, name, field, value, interval_us=1000, limit_s=120):
        """Waits until a status field has a value; returns the status line as a dictionary, with
        the nanoseconds that it took under "waited"."""
        self.windows()
        out = self.sh(f"{TOOLS}/watch {name} {field} {value} {interval_us} {limit_s * 1000}",
                      timeout=limit_s + 60)
        answer = json.loads(out.splitlines()[-1])
        words = answer["status"].split()
        status = dict(zip(words[::2], words[1::2]))
        status["waited"] = answer["ended"] - answer["began"]
        status["ended"] = answer["ended"]
        status["window"] = self.windows()[-1]
        return status

    def status(self, name="rc"):
        words = self.sh(f"dmsetup status {name}").split()[3:]
        return dict(zip(words[::2], words[1::2]))

    def symbols(self):
        """Sorted (address, name) of the kernel's and the modules' functions."""
        if not self.names:
            self.dumps += 1
            self.sh("(cat /proc/kallsyms; echo done) >/dev/virtio-ports/report")
            wait_until(lambda: self.vm.report().count("done") == self.dumps, 60, "the list of symbols")
            lines = (line.split() for line in self.vm.report())
            self.names = sorted({(int(words[0], 16), words[2]) for words in lines
                                 if len(words) >= 3 and words[1] in "tTwW"})
            mine = f"{SYMBOLS}.{self.name}"
            with open(mine, "w") as f:
                f.writelines(f"{address:x} {name}\n" for address, name in self.names)
            os.rename(mine, SYMBOLS)
        return self.names

    def up(self, script):
        """Makes a stack; which may load modules."""
        self.names = None
        self.sh(script)

    def cut(self, script, timeout=120):
        """Runs a script, cuts the power the moment it has ended, and boots again. What lies in
        persistent memory is there again."""
        self.vm.spawn(f". {STACKS}\n{script}\necho b >/proc/sysrq-trigger")
        wait_until(lambda: self.vm.dead, timeout, f"{self.name}: dies after {script}")
        self.vm.kill()
        self.start()

    def said(self, pattern):
        """The newest line of the kernel log that matches: (seconds, match), or VmError."""
        found = None
        for line in self.sh("dmesg").splitlines():
            match = re.search(pattern, line)
            if match:
                found = float(re.match(r"\[ *([0-9.]+)\]", line).group(1)), match
        if not found:
            raise VmError(f"the kernel did not say {pattern!r}")
        return found


__all__ = ["Machine", "VmError", "Window", "OUT", "TOP"]
