#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""
check.py <what to run>...

What check.sh runs once kernel and modules are built: "plants" (or one of plants-leaks, plants-splats), and
tests (paths of the checkout; with :<n> one of the parts of a long one), each in a machine of its own. Runs
inside the private root. Each leaves its figures in build/debug-check.d; report.py adds them up. What the
kernel said is in build/log/vm/debug-<name>, what the test printed in build/log/debug-<name>.log.
"""

import hashlib
import json
import os
import re
import shlex
import sys
import time

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(TOP, "scripts", "vm"))

from vmlib import BUILD, PATIENCE, Lab, VmError, options_in

ROWS = os.path.join(BUILD, "debug-check.d")
GUEST = "/repo/scripts/debug-kernel/guest.sh"
LEAKED, BLIND = 97, 96
# Slabs that are checked have no arrays of free objects in front of them, whose old entries would point to
# what was lost, and what is free is poisoned: kmemleak finds little otherwise.
KERNEL = "slab_debug=P"
# Emulated string instructions take one step for each byte.
PROCESSOR = "max,-erms,-fsrm,-fsrs,-fzrm"
# A test's own limits on the stock kernel, seconds: of a poll, of one case, of a whole file.
POLL, CASE, FILE = 20, 150, 900

# How many machines share a file, so that none takes very long.
PARTS = {"fencing": 3, "full": 3, "mirror": 3, "ops": 2, "order": 2, "ownership": 3, "recover": 2, "reload": 2,
         "faults": 3, "netlink": 3, "rcopy": 2}

# Mistakes of plant.ko, and how the console tells of them. In this order in one machine: lockdep says
# nothing any more once it, or KASAN, has complained, and the last one ends the machine.
SPLATS = [
    ("a sleep in atomic context", "atomic_sleep", r"BUG: sleeping function called from invalid context"),
    ("a use of RCU without its lock", "rcu_unlocked", r"WARNING: suspicious RCU usage"),
    ("an index behind its array's end", "bad_index", r"UBSAN: array-index-out-of-bounds"),
    ("a task that hangs", "hangs", r"blocked for more than"),
    ("a processor that spins", "spins", r"soft lockup"),
    ("a lock inversion", "inversion", r"WARNING: possible circular locking dependency"),
    ("a use after free", "use_after_free", r"KASAN: slab-use-after-free"),
    ("a use after free in Rust", "rust_use_after_free", r"KASAN: slab-use-after-free"),
    ("a read behind the end in Rust", "rust_out_of_bounds", r"KASAN: slab-out-of-bounds"),
    ("an entry that is deleted twice", "twice_deleted", r"list_del corruption"),
    ("an overflow in Rust", "rust_overflow", r"attempt to add with overflow"),
]
# And of memory that is lost: how many objects each loses. Old pointers that lie about hide some of them, so
# that one is enough.
LEAKS = [("a leak", "leak", 7), ("a leak in Rust", "rust_leak", 8)]


def checksum(*names):
    """What was tested: rows of another build do not count."""
    h = hashlib.sha256()
    for name in names:
        with open(os.path.join(BUILD, name), "rb") as f:
            h.update(f.read())
    return h.hexdigest()


def tested():
    return checksum(os.path.join(os.environ["DMRC_KERNEL"], ".stamp"), os.environ["DMRC_MODULE"])


def base_name(path):
    return os.path.splitext(os.path.basename(path))[0]


def leaked_objects(text):
    return len(re.findall(r"^# unreferenced object ", text, re.M))


class Machine:
    """A debug kernel's machine for one row."""

    def __init__(self, name, args="", add=()):
        self.name = name
        self.log = open(os.path.join(BUILD, "log", f"debug-{name}.log"), "w")
        self.lab = Lab("debug-" + name, add=["selftests", "scripts/debug-kernel", "build/debug-plant", *add], fio=True)
        disks = [self.lab.disk(f"disk{i}", 64) for i in range(3)]
        self.vm = self.lab.vm("guest", memory=1024, smp=2, disks=disks, pmem=[32, 32], args=f"{KERNEL} {args}",
                              qemu=["-cpu", PROCESSOR])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.lab.close()
        self.log.close()

    def say(self, text):
        self.log.write(text)
        self.log.flush()

    def run(self, script, seconds=60):
        """A command's exit status and output."""
        self.say(f"# {script}\n")
        result = self.vm.spawn("cd /repo && " + script, sink=self.say).wait(seconds)
        return result.rc, result.out

    def splats(self):
        """What the kernel complained of, and has not been asked for yet."""
        return self.vm.alarms()


def first_words(lines):
    """Of complaints, those which begin one, without the time."""
    told = [re.sub(r"^\[ *[0-9.]+\] *", "", l) for l in lines]
    return [l for l in told if not l.startswith("Call Trace")] or told


class Plants:
    """Whether this kernel, and who looks at it, see what is wrong."""

    def __init__(self):
        self.found, self.of = [], []

    def note(self, what, seen, how):
        self.of.append(what)
        if seen:
            self.found.append(what)
        print(f"{'ok' if seen else 'not ok'} {len(self.of)} - {what}: {how}", flush=True)

    def run(self):
        self.look()
        return {"planted": {"found": self.found, "of": self.of}, "ok": self.found == self.of}


class LeakPlants(Plants):
    name = "plants-leaks"

    def look(self):
        # No kmemleak: its silence is to be noticed.
        with Machine(self.name, args="kmemleak=off") as machine:
            machine.vm.start()
            rc, _ = machine.run(f"{GUEST} true", 120)
            self.note("kmemleak that is off", rc == BLIND, f"status {rc}")
        with Machine(self.name) as machine:
            machine.vm.start()
            rc, out = machine.run(f"{GUEST} true", 300)
            self.note("no leak", rc == 0, f"{leaked_objects(out)} objects")
            for what, mistake, count in LEAKS:
                rc, out = machine.run(f"{GUEST} sh -c 'insmod build/debug-plant/plant.ko mistake={mistake}"
                                      " && rmmod plant'", 300)
                seen = leaked_objects(out)
                self.note(what, rc == LEAKED and seen > 0, f"{seen} of {count} objects")
                machine.run("echo clear >/sys/kernel/debug/kmemleak")


class SplatPlants(Plants):
    name = "plants-splats"

    def splat(self, vm, what, mistake, pattern):
        vm.alarms()
        before = len(vm.console())
        # What plant.ko says itself is no alarm, and the machine may not survive it.
        vm.spawn(f"insmod /repo/build/debug-plant/plant.ko mistake={mistake} && rmmod plant")
        end, told = time.monotonic() + 20 * PATIENCE, []
        while time.monotonic() < end:
            told += vm.alarms()
            if told and re.search(pattern, vm.console()[before:]):
                return self.note(what, True, first_words(told)[0])
            time.sleep(0.1)
        self.note(what, False, f"the kernel said {first_words(told)[:1]}")

    def look(self):
        with Machine(self.name, args="kasan_multi_shot") as machine:
            machine.vm.start()
            machine.run("echo 1 >/proc/sys/kernel/hung_task_timeout_secs; echo 2 >/proc/sys/kernel/watchdog_thresh")
            for splat in SPLATS:
                self.splat(machine.vm, *splat)
                machine.vm.spawn("while [ -d /sys/module/plant ]; do sleep 0.5; done").done.wait(20 * PATIENCE)


class Test:
    """One of the parts of a test of the checkout."""

    def __init__(self, path, part, parts):
        self.path, self.part, self.parts = path, part, parts
        self.name = f"{base_name(path)}-{part}"
        if os.environ.get("TEST"):
            self.name += "-" + re.sub(r"\W+", "-", os.environ["TEST"])

    def run(self):
        row = {"test": self.path, "part": self.part, "parts": self.parts, "leaks": None}
        settings = [f"PATIENCE={POLL * PATIENCE:.0f}", f"TEST_SECONDS={CASE * PATIENCE:.0f}",
                    f"PART={self.part}/{self.parts}", f"TEST={os.environ.get('TEST', '')}"]
        out = ""
        own = options_in(self.path)
        add = [path for option, path in zip(own, own[1:]) if option == "--add"]
        with Machine(self.name, add=add) as machine:
            try:
                machine.vm.start()
                row["status"], out = machine.run(shlex.join(["env", *settings, GUEST, self.path]), FILE)
            except VmError as e:
                row["status"] = None
                machine.say(f"# {e}\n# " + machine.vm.console_tail(60).replace("\n", "\n# ") + "\n")
                with open(machine.log.name) as f:
                    out = f.read()
            row["splats"] = first_words(machine.splats())
        row["passed"] = len(re.findall(r"^ok ", out, re.M))
        row["failed"] = [l for l in re.findall(r"^not ok (?:[0-9]+ - )?(.*)", out, re.M)]
        if "kmemleak" in out:
            row["leaks"] = leaked_objects(out)
        row["only"] = os.environ.get("TEST") or None
        row["faults"] = {}
        for kind, count in re.findall(r"^# [ 0-9.]*faults injected: ([a-z_]+) ([0-9]+)", out, re.M):
            row["faults"][kind] = row["faults"].get(kind, 0) + int(count)
        row["ok"] = row["status"] == 0 and not row["splats"] and row["passed"] > 0
        return row


def what(row):
    """Why a test has failed, in few words."""
    why = []
    if row["status"] is None:
        why.append("the machine died, or took too long")
    if row["splats"]:
        why.append(f"the kernel complained: {row['splats'][0]}")
    if row["leaks"]:
        why.append(f"{row['leaks']} objects leaked")
    if row["status"] == BLIND:
        why.append("a check was off")
    return "; ".join(why + row["failed"][:3]) or f"status {row['status']}, {row['passed']} passed"


def jobs(word):
    if word == "plants":
        return [LeakPlants(), SplatPlants()]
    if word in ("plants-leaks", "plants-splats"):
        return [LeakPlants()] if word == "plants-leaks" else [SplatPlants()]
    path, _, part = word.partition(":")
    parts = PARTS.get(base_name(path), 1)
    return [Test(path, n, parts) for n in range(1, parts + 1) if part in ("", str(n))]


def main(argv):
    os.makedirs(ROWS, exist_ok=True)
    bad = 0
    for job in [job for word in argv[1:] for job in jobs(word)]:
        began = time.monotonic()
        row = job.run()
        row["seconds"] = round(time.monotonic() - began)
        row["tested"] = tested()
        with open(os.path.join(ROWS, job.name + ".json"), "w") as f:
            json.dump(row, f, indent=1)
        if "planted" in row:
            text = f"{len(row['planted']['found'])} of {len(row['planted']['of'])} found"
        else:
            text = f"{row['passed']} passed" if row["ok"] else what(row)
        bad += not row["ok"]
        print(f"{'ok    ' if row['ok'] else 'FAILED'} {job.name:20} {row['seconds']:5} s  {text}", flush=True)
    return bad != 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
