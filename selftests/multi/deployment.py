# SPDX-License-Identifier: GPL-2.0
"""A deployment in three virtual machines, for tests and for the demo.

         site A                                      site B

      a1 ---- partner link ---- a2                   remote
       |  \\                   /  |                     |
       |   \\--- one network -/---|----- NVMe/TCP ----- export, a whole disk
       |                         |
       +---- the local unit -----+   one raw image, a disk of both

Each partner has a pmem region that survives a power cut, the volume is /dev/mapper/vol on
whichever of them owns it.
"""

import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
sys.path[:0] = [os.path.join(TOP, "scripts", "vm"), os.path.join(TOP, "selftests", "lib")]

import chains
import nvme
from vmlib import MIB, PATIENCE, VmError, wait_until

SET = "demo"
VOLUME = "/dev/mapper/vol"
REMOTE_ADDRESS = "10.0.0.3"
# How often status is asked for: often enough to time a takeover, seldom enough not to slow
# the guest down.
POLL_SECONDS = 0.1


def seeded():
    """A source of random numbers; its seed is printed, and SEED=<number> repeats a run."""
    seed = int(os.environ.get("SEED") or random.SystemRandom().randrange(1 << 32))
    print(f"# SEED={seed}", flush=True)
    return random.Random(seed)


def pairs(line):
    """`0 <sectors> remote-copy <name> <value> ...` of dmsetup status as a dict."""
    words = line.split()[3:]
    return dict(zip(words[::2], words[1::2]))


def holds(wanted, value):
    """wanted: a word, several of them, or a function."""
    if callable(wanted):
        return value is not None and wanted(value)
    return value in wanted if isinstance(wanted, tuple) else value == wanted


class Node:
    """One of the partners."""

    def __init__(self, deployment, vm, address, partner, role):
        self.deployment = deployment
        self.vm = vm
        self.name = vm.name
        self.address = address
        self.partner = partner
        self.role = role
        self.last_status = {}

    def table(self, **changed):
        d = self.deployment
        options = {
            "log": "/dev/pmem0", "partner": f"{self.partner}:7000", "listen": f"{self.address}:7000",
            "remote": f"dev:{self.remote}", "create": "in_step", "mode": d.mode,
            "ping_ms": d.ping_ms, "ping_misses": d.ping_misses,
            "fencing": "external", "takeover": d.takeover, **d.options, **changed,
        }
        words = [str(w) for pair in options.items() for w in pair]
        return f"0 {d.sectors} remote-copy {self.role} {SET} /dev/vda {len(words)} {' '.join(words)}"

    def connect(self):
        self.remote = nvme.connect(self.vm, REMOTE_ADDRESS, options=self.deployment.nvme_options)

    def create(self, **changed):
        """Makes the device. What part the node plays its log says, or the role if that is blank."""
        # What the driver says goes to the console as well, so that said() sees it at once.
        self.vm.ok("dmesg -n 7")
        self.vm.load_module()
        self.vm.ok(f"dmsetup create vol --table '{self.table(**changed)}'")

    def join(self):
        """After start(): everything until the device is there."""
        self.connect()
        self.create()

    def restart(self):
        self.vm.start()
        self.join()

    def message(self, words):
        self.vm.ok(f"dmsetup message vol 0 {words}")

    def listen(self):
        """What the driver says from here on: returns a function that waits until it says something."""
        begin = len(self.vm.console())

        def said(pattern, timeout=60):
            return wait_until(lambda: re.search(pattern, self.vm.console()[begin:]), timeout,
                              f"{self.name} says {pattern!r}")
        return said

    def status(self):
        self.last_status = pairs(self.vm.ok("dmsetup status vol"))
        return self.last_status

    def until(self, timeout=60, **wanted):
        """Polls status until it says what is wanted, and returns it."""
        end = time.monotonic() + timeout * PATIENCE
        while True:
            status = self.status()
            if all(holds(w, status.get(name)) for name, w in wanted.items()):
                return status
            if time.monotonic() > end:
                said = {name: status.get(name) for name in wanted}
                raise VmError(f"{self.name}: timeout after {timeout * PATIENCE:.0f} s: status says "
                              f"{said}: {status}\n{self.log()}")
            time.sleep(POLL_SECONDS)

    def until_in_step(self, timeout=120):
        """Waits until all that was written is at the remote and the log is empty."""
        return self.until(timeout, remote="in-step", log_records=lambda v: v.startswith("0/"))

    def until_mirrored(self, timeout=60):
        """Waits until the partner has a complete copy of the log."""
        return self.until(timeout, state="serving", mirror="mirrored")

    def log(self):
        """What the driver said on this node since it booted."""
        return self.vm.sh("dmesg | grep -F 'set %s:'" % SET).out.rstrip("\n")


class Deployment:
    def __init__(self, lab, mode="async", disk_mib=64, pmem_mib=64, ping_ms=250, ping_misses=12,
                 takeover="auto", smp=1, modules=(), expect=None, options=None, shuffle_ms=0,
                 nvme_options="--ctrl-loss-tmo=-1 --reconnect-delay=1"):
        """expect: console lines that are no alarm. options: more of the table line's.
        shuffle_ms: the remote's disk takes that long for writes to some places, and so does in
        another order what it is given at once.

        A partner counts as dead after three seconds: a machine that emulates three others may
        make one of them wait for one."""
        self.lab = lab
        self.mode = mode
        self.ping_ms = ping_ms
        self.ping_misses = ping_misses
        self.takeover = takeover
        self.options = options or {}
        self.nvme_options = nvme_options
        self.shuffle_ms = shuffle_ms
        self.sectors = disk_mib * MIB // 512
        self.net = lab.net("net")
        self.local = lab.disk("local", disk_mib)
        self.remote_disk = lab.disk("remote", disk_mib)
        a1, a2 = (lab.vm(name, pmem=[pmem_mib], disks=[self.local], nets={self.net: f"{address}/24"},
                         smp=smp, modules=modules, expect=expect)
                  for name, address in (("a1", "10.0.0.1"), ("a2", "10.0.0.2")))
        self.remote = lab.vm("remote", disks=[self.remote_disk], nets={self.net: f"{REMOTE_ADDRESS}/24"},
                             expect=expect)
        self.a1 = Node(self, a1, "10.0.0.1", "10.0.0.2", "initiator")
        self.a2 = Node(self, a2, "10.0.0.2", "10.0.0.1", "standby")
        self.copies = 0

    def start(self):
        """From nothing to a volume that a1 serves and a2 mirrors."""
        self.boot()
        self.a2.create()
        self.a1.create()
        self.a1.until_mirrored()

    def boot(self):
        self.lab.start(self.a1.vm, self.a2.vm, self.remote)
        self.export()
        for node in (self.a1, self.a2):
            node.connect()

    def export(self):
        device = "/dev/vda"
        if self.shuffle_ms:
            device = "/dev/mapper/shuffle"
            self.remote.put("/tmp/shuffle", self.shuffle_table().encode())
            self.remote.ok("modprobe dm-delay && dmsetup create shuffle /tmp/shuffle")
        # Without reservations: who may write is decided outside, by whoever kills a machine.
        nvme.export(self.remote, device, REMOTE_ADDRESS, reservations=False)

    def shuffle_table(self):
        """Of every chain (see Load) one half of the region is slow."""
        half = chains.REGION // 2
        ends = []
        for chain in range(chains.MAX_CHAINS):
            begin = chain * chains.STRIDE // chains.SECTOR
            delays = (self.shuffle_ms, 0) if chain % 2 else (0, self.shuffle_ms)
            ends += [(begin + half, delays[0]), (begin + 2 * half, delays[1]),
                     (begin + chains.STRIDE // chains.SECTOR, 0)]
        ends.append((self.sectors, 0))
        lines, begin = [], 0
        for end, delay in ends:
            lines.append(f"{begin} {end - begin} delay /dev/vda {begin} 0 /dev/vda {begin} {delay} /dev/vda {begin} 0")
            begin = end
        return "\n".join(lines) + "\n"

    def distance(self, milliseconds):
        """Moves the remote this far away: what it answers takes so long."""
        self.remote.ok(f"tc qdisc replace dev eth0 root netem delay {milliseconds}ms limit 100000")

    def other(self, node):
        return self.a2 if node is self.a1 else self.a1

    def copy(self, disk, name=None):
        """Copies an image as it is at this moment; returns the copy's path."""
        self.copies += 1
        path = os.path.join(self.lab.dir, name or f"copy{self.copies}")
        subprocess.run(["cp", "--sparse=always", disk.path, path], check=True)
        return path

    def freeze_remote(self, look, name=None):
        """Stops the remote machine in whatever it does, copies its disk, lets it go on. Returns
        what look() saw before, the copy, and what look() saw after it had stopped."""
        before = look()
        self.remote.pause()
        try:
            after = look()
            path = self.copy(self.remote_disk, name)
        finally:
            self.remote.resume()
        return before, path, after

    def differences(self):
        """Byte ranges in which local unit and remote differ, in 4 KiB blocks; none is []."""
        return differences(self.local.path, self.remote_disk.path)


def differences(one, other):
    found = []
    with open(one, "rb") as a, open(other, "rb") as b:
        while True:
            at = a.tell()
            x, y = a.read(MIB), b.read(MIB)
            if x != y:
                found += [at + i for i in range(0, max(len(x), len(y)), 4096)
                          if x[i:i + 4096] != y[i:i + 4096]]
            if not x and not y:
                return found


def remove(path):
    if os.path.isdir(path):
        shutil.rmtree(path)
    elif os.path.exists(path):
        os.remove(path)


class Load:
    """Dependent writes to the volume (selftests/lib/chains.py), and what the world outside was
    told of them. It goes on with the same chains wherever the volume is."""

    def __init__(self, deployment, chains=4):
        self.deployment = deployment
        self.chains = chains
        self.job = None
        self.node = None
        self.seen = {}
        self.remote_had = [0] * chains

    def start(self, node):
        """On the node that serves; goes on behind what the local unit has."""
        path = self.deployment.local.path
        begin = [min(state.high, told + 1) if told else state.high
                 for state, told in zip(chains.examine(path, self.chains), self.told())]
        self.node = node
        self.job = node.vm.spawn("exec python3 /repo/selftests/lib/chains.py write /dev/mapper/vol "
                                 + ",".join(map(str, begin)))

    def told(self):
        """The last acknowledged write of each chain, as far as the world outside knows."""
        last = [0] * self.chains
        for vm in (self.deployment.a1.vm, self.deployment.a2.vm):
            for line in vm.report():
                first, number, *_ = line.split()
                if first == "error":
                    raise VmError(f"{vm.name}: a write failed: {line}")
                chain = int(first)
                last[chain] = max(last[chain], int(number))
        return last

    def total(self):
        return sum(self.told())

    def until(self, more, timeout=60):
        """Waits until so many more writes are acknowledged."""
        goal = self.total() + more

        def look():
            self.running()
            return self.total() >= goal
        wait_until(look, timeout, f"{more} more writes are acknowledged; status: {self.node.last_status}")

    def running(self):
        """Raises if the load has ended by itself."""
        if self.job.done.is_set():
            raise VmError(f"{self.node.name}: the load has ended: {self.job.rc} {self.job.out}")

    def stop(self):
        """Ends the writers; a write in flight may be told or not."""
        self.job.kill(signal.SIGTERM)
        self.job.wait()

    def check_local(self, path=None):
        """Everything that was acknowledged is on the local unit (or another disk)."""
        told = self.told()
        states = chains.examine(path or self.deployment.local.path, self.chains)
        for chain, (state, last) in enumerate(zip(states, told)):
            if state.high < last:
                raise AssertionError(f"chain {chain}: write {last} was acknowledged, {state} is there: LOST")
            if state.low > last + chains.REPORTS_UNDER_WAY:
                raise AssertionError(f"chain {chain}: {state} is there, but only {last} was acknowledged")
        return states

    def check_remote(self, complete=False):
        """Freezes the remote as it is just now: it must be a prefix, newer than the last time this
        was looked at. complete: and have everything that was acknowledged."""
        before, path, after = self.deployment.freeze_remote(self.told)
        states = chains.examine(path, self.chains)
        remove(path)
        for chain, state in enumerate(states):
            if state.low > after[chain] + chains.REPORTS_UNDER_WAY:
                raise AssertionError(f"chain {chain}: the remote has {state}, only {after[chain]} was acknowledged")
            if state.high < self.remote_had[chain]:
                raise AssertionError(f"chain {chain}: the remote went back from {self.remote_had[chain]} to {state}")
            if complete and state.high < before[chain]:
                raise AssertionError(f"chain {chain}: {before[chain]} was acknowledged, the remote has {state}")
        self.remote_had = [state.low for state in states]
        return sum(max(0, a - state.high) for a, state in zip(after, states))

    def check_end(self, node):
        """Stops, waits until all is at the remote; nothing is missing, both sides are equal."""
        if not self.job.done.is_set():
            self.stop()
        node.until_in_step()
        self.check_local()
        self.check_remote(complete=True)
        differ = self.deployment.differences()
        assert not differ, f"local unit and remote differ in {len(differ)} blocks, the first at {differ[0]}"
