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

With shared="nvme" the third machine is the storage of both sites, and each line is a network of
its own, which can be cut for both partners or for one of them; what hangs on it is an NVMe/TCP
namespace. Local unit and metadata device have persistent reservations, and so has the remote if
the module fences with them:

      a1 ------ partner ------- a2

      a1 -+-      local      -+- a2
          +----- metadata ----+         storage
          +------ remote -----+

    d = Deployment(lab, shared="nvme", fencing="reservation", metadata=True, partner_lost="continue")
    d.start()
    d.cut("partner"); d.cut("storage", d.a1)
    assert d.reservation().holder == "a2"
    d.heal()
    d.a1.remake()
"""

import json
import os
import random
import re
import shutil
import signal
import statistics
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
sys.path[:0] = [os.path.join(TOP, "scripts", "vm"), os.path.join(TOP, "selftests", "lib")]

import chains
import nvme
from vmlib import MIB, PATIENCE, Net, VmError, wait_until

# Where what a run has shown is collected.
PROOF = os.environ.get("DMRC_PROOF") or os.path.join(TOP, "build", "proof.d", "check")

SET = "demo"
VOLUME = "/dev/mapper/vol"
METADATA_MIB = 4
RECORD_SLOT = 4096
# Networks that are the way to an exported disk, in the order of the disks; the last one is the
# only one that is exported if the local unit is an image.
EXPORTS = ("local", "metadata", "remote")
# How often status is asked for: often enough to time a takeover, seldom enough not to slow
# the guest down.
POLL_SECONDS = 0.1
# Longer than any write takes that has nothing to wait for.
QUIET_SECONDS = 2


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
        # What connect() does not find elsewhere.
        self.local = "/dev/vda"
        self.metadata = None

    def table(self, **changed):
        """The table line; None leaves an option out."""
        d = self.deployment
        options = {
            "log": "/dev/pmem0", "partner": f"{self.partner}:7000", "listen": f"{self.address}:7000",
            "remote": f"dev:{self.remote}", "create": "in_step", "mode": d.mode,
            "ping_ms": d.ping_ms, "ping_misses": d.ping_misses,
            "fencing": d.fencing, "remote_fencing": d.remote_fencing,
            "metadata": self.metadata if d.metadata else None,
            "metadata_offset": d.metadata_offset, "partner_lost": d.partner_lost,
            "takeover": d.takeover, **d.options, **changed,
        }
        words = [str(w) for pair in options.items() if pair[1] is not None for w in pair]
        return f"0 {d.sectors} remote-copy {self.role} {SET} {self.local} {len(words)} {' '.join(words)}"

    def connect(self):
        """Connects to what is exported: self.local, self.metadata and self.remote are its devices."""
        for name, (address, port, options) in self.deployment.exports.items():
            setattr(self, name, nvme.connect(self.vm, address, name, port, options))

    def connection(self, name):
        """What this machine thinks of its connection to "local", "metadata" or "remote": see nvme.state()."""
        return nvme.state(self.vm, name)

    def create(self, **changed):
        """Makes the device. What part the node plays its log says, or the role if that is blank."""
        # What the driver says goes to the console as well, so that said() sees it at once.
        self.vm.ok("dmesg -n 7")
        if not self.vm.sh("test -d /sys/module/dm_remote_copy"):
            self.vm.load_module()
        self.vm.ok(f"dmsetup create vol --table '{self.table(**changed)}'")

    def join(self):
        """After start(): everything until the device is there."""
        self.connect()
        self.create()

    def restart(self):
        self.vm.start()
        self.join()

    def kill(self):
        """Cuts its power, which is counted. Returns when."""
        return self.deployment.ledger.kill(self)

    def reload(self):
        """The table line as it would be now, for a device that is there."""
        self.vm.ok(f"dmsetup load vol --table '{self.table()}' && dmsetup resume vol")

    def patience(self, name, seconds):
        """How long I/O waits for what this machine is connected to once it is known to be lost, from
        the next loss on: then it fails."""
        nvme.set_fast_io_fail(self.vm, name, seconds)

    def remake(self):
        """Removes the device and makes it anew, as one does with a node that was fenced."""
        self.vm.poll("dmsetup remove vol")
        self.create()

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
                 nvme_options="--ctrl-loss-tmo=-1 --reconnect-delay=1", shared="image",
                 storage_options=nvme.host_options(keep_alive=5, fast_io_fail=30),
                 fencing="external", metadata=False, metadata_offset=None, partner_lost=None,
                 remote_fencing=None):
        """expect: console lines that are no alarm. options: more of the table line's.
        shuffle_ms: the remote's disk takes that long for writes to some places, and so does in
        another order what it is given at once.
        shared: how the partners share the local unit, "image" or "nvme". nvme_options,
        storage_options: of the connections to the remote, and to the two others.
        metadata: whether the table line names the metadata device. remote_fencing: None or "none".

        A partner counts as dead after three seconds: a machine that emulates three others may
        make one of them wait for one."""
        self.lab = lab
        self.ledger = Ledger(lab.name)
        self.mode = mode
        self.ping_ms = ping_ms
        self.ping_misses = ping_misses
        self.takeover = takeover
        self.options = options or {}
        self.fencing = fencing
        self.metadata = metadata
        self.metadata_offset = metadata_offset
        self.partner_lost = partner_lost
        self.remote_fencing = remote_fencing
        self.shuffle_ms = shuffle_ms
        self.sectors = disk_mib * MIB // 512
        self.local = lab.disk("local", disk_mib)
        self.remote_disk = lab.disk("remote", disk_mib)
        assert shared in ("image", "nvme"), shared
        if shared == "nvme":
            self.metadata_disk = lab.disk("metadata", METADATA_MIB)
            self.nets = {name: lab.net(name) for name in ("partner", *EXPORTS)}
            shared_disks, exported = [], [self.local, self.metadata_disk, self.remote_disk]
        else:
            self.net = lab.net("net")
            self.nets = {"partner": self.net, "remote": self.net}
            shared_disks, exported = [self.local], [self.remote_disk]
        a1, a2 = (lab.vm(name, pmem=[pmem_mib], disks=shared_disks, nets=self.addresses(host),
                         smp=smp, modules=modules, expect=expect)
                  for host, name in ((1, "a1"), (2, "a2")))
        self.remote = lab.vm("storage" if shared == "nvme" else "remote", disks=exported, expect=expect,
                             nets=self.addresses(3, EXPORTS))
        # How the partners reach what the third machine exports.
        self.exports = {name: (self.address(name, 3), 4420 + i, nvme_options if name == "remote" else storage_options)
                        for i, name in enumerate(n for n in EXPORTS if n in self.nets)}
        self.a1 = Node(self, a1, self.address("partner", 1), self.address("partner", 2), "initiator")
        self.a2 = Node(self, a2, self.address("partner", 2), self.address("partner", 1), "standby")
        self.copies = 0

    def address(self, net, host):
        return f"10.0.{list(dict.fromkeys(self.nets.values())).index(self.nets[net])}.{host}"

    def addresses(self, host, names=None):
        """Of a machine, in the networks of these names that there are, or in all."""
        return {net: f"{self.address(name, host)}/24" for name, net in self.nets.items()
                if names is None or name in names}

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
        """Once the third machine is up. Reservations do not survive it."""
        self.observed = {}
        fenced = self.fencing.startswith("reservation")
        for i, (name, (address, port, _)) in enumerate(self.exports.items()):
            device = f"/dev/vd{'abc'[i]}"
            if name == "remote" and self.shuffle_ms:
                self.remote.put("/tmp/shuffle", self.shuffle_table(device).encode())
                self.remote.ok("modprobe dm-delay && dmsetup create shuffle /tmp/shuffle")
                device = "/dev/mapper/shuffle"
            # The remote without them unless the module wants them: who may write there is decided at
            # the local unit, or outside, by whoever kills a machine.
            nvme.export(self.remote, device, address, name, port,
                        reservations=name != "remote" or (fenced and self.remote_fencing != "none"))

    def shuffle_table(self, device):
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
            lines.append(f"{begin} {end - begin} delay {device} {begin} 0 {device} {begin} {delay} {device} {begin} 0")
            begin = end
        return "\n".join(lines) + "\n"

    def distance(self, milliseconds, of="remote"):
        """Moves the remote (or another unit) this far away: what it answers takes so long."""
        interface = self.remote.interface(self.nets[of])
        self.remote.ok(f"tc qdisc replace dev {interface} root netem delay {milliseconds}ms limit 100000")

    def shape(self, what, node, netem):
        """How a machine sends on a network: words of tc-netem(8). Until it dies."""
        interface = node.vm.interface(self.nets[what])
        node.vm.ok(f"tc qdisc replace dev {interface} root netem {netem} limit 100000")

    def cut(self, what, node=None):
        """Loses everything on a network, at once and until heal(), whoever dies and starts in
        between; nobody is told. what: "partner", "local", "metadata", "remote", or "storage" for
        local unit and metadata device. node: only what goes to and from this one. (If the local
        unit is an image, there is but one network: see Net.cut.)"""
        self._each_port(what, node, Net.cut)

    def heal(self, what=None, node=None):
        """Undoes cut(); without arguments, all there were."""
        self._each_port(what, node, Net.heal)

    def _each_port(self, what, node, do):
        assert "local" in self.nets, "networks can be told apart only with shared='nvme'"
        names = {None: list(self.nets), "storage": ["local", "metadata"]}.get(what, [what])
        for name in names:
            for n in (self.a1, self.a2) if node is None else (node,):
                do(self.nets[name], n.vm)

    def pr(self, node, verb, *arguments, of="local"):
        """What selftests/lib/pr.py does with a node's device: the Result."""
        return node.vm.sh(f"python3 /repo/selftests/lib/pr.py {verb} {getattr(node, of)} {' '.join(map(str, arguments))}")

    def reservation(self, of="local"):
        """Who has registered with and reserved the local unit, or "metadata": see nvme.Reservation.
        The storage itself is asked, over a connection of its own, which no cut concerns."""
        if of not in self.observed:
            address, port, _ = self.exports[of]
            self.observed[of] = nvme.connect(self.remote, address, of, port)
        return nvme.reservation(self.remote, self.observed[of])

    def record_places(self):
        """What stands in both places of the ownership record."""
        offset = self.metadata_offset or 0
        return [self.metadata_disk.read(offset + n * RECORD_SLOT, RECORD_SLOT) for n in range(2)]

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
        self.remote.pause(brief=True)
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


class Pair:
    """Who of both is what just now, where either becomes the other."""

    def __init__(self, deployment, chains=4):
        self.d = deployment
        self.owner, self.heir = deployment.a1, deployment.a2
        self.load = Load(deployment, chains)

    def begin(self, tap):
        """The first test: everything is up, and there is load."""
        with tap.case("a volume that one serves and the other mirrors"):
            self.d.start()
            self.until_mirrored()
            self.d.distance(2)
            self.load.start(self.owner)
            self.load.until(100)

    def end(self, tap):
        """The last one, if all others have passed."""
        if not tap.failed:
            with tap.case("in the end local unit and remote are equal"):
                self.load.check_end(self.owner)

    def swap(self):
        self.owner, self.heir = self.heir, self.owner

    def goes_on(self, more=100):
        self.load.until(more)
        self.load.check_remote()

    def until_mirrored(self, owner=None):
        """Waits until owner, which is the owner from here on, has a mirror that may take over, and
        everybody says so."""
        if owner is self.heir:
            self.swap()
        self.owner.until_mirrored()
        self.owner.until(record="mine", record_mirror="up-to-date")
        status = self.heir.until(role="standby", state="standby", mirror="complete")
        assert status["generation"] == self.owner.status()["generation"], status

    def is_served(self, node):
        """By this node and by nobody else, and everything is there."""
        for unit in ("metadata", "local"):
            reservation = self.d.reservation(of=unit)
            assert reservation.holder == node.name, f"{unit}: {reservation}"
        # The load goes on, and reading the unit takes a moment: seen is one moment only if nothing is
        # written meanwhile.
        node.vm.pause()
        try:
            self.load.check_local()
        finally:
            node.vm.resume()


def one_serves(*nodes):
    """Waits until one of these nodes serves; the other must not."""
    def look():
        serving = [n for n in nodes if n.status()["state"] == "serving"]
        assert len(serving) < 2, [n.last_status for n in nodes]
        return serving and serving[0]
    return wait_until(look, 60, "one of both serves")


class Ledger:
    """The machines that a test has killed, and how long it took until the volume was served again."""

    def __init__(self, test):
        self.test = test
        self.began = time.monotonic()
        self.kills = 0
        self.last = None
        # Seconds from a kill until a node serves, by what had to happen.
        self.took = {}

    def kill(self, node):
        """Kills a machine. Returns when."""
        node.vm.kill()
        self.kills += 1
        self.last = time.monotonic()
        return self.last

    def served(self, how, died=None):
        """The volume is served again, for the first time since that kill or the last one. Returns that in
        words."""
        self.took.setdefault(how, []).append(time.monotonic() - (died or self.last))
        return f"{how} after {self.took[how][-1]:.1f} s"

    def close(self, tap):
        """Says what there was, and notes it for the report: nothing was lost if no case has failed, as
        every one looks for all that was acknowledged."""
        print(f"# {self.kills} kills, lost {'?' if tap.failed else 0}")
        for how, took in self.took.items():
            print(f"# {how}: {len(took)} times, {min(took):.1f} / {statistics.median(took):.1f} / {max(took):.1f} s "
                  "from the kill to serving (least, median, most)")
        note_kills(self.test, {
            "kill_cycles": self.kills, "seconds": round(time.monotonic() - self.began, 1), "lost": tap.failed,
            "recoveries": [round(t, 2) for took in self.took.values() for t in took]})


def note_kills(test, entry):
    """kills.json: what each test has to say, and the sum of it."""
    os.makedirs(PROOF, exist_ok=True)
    path = os.path.join(PROOF, "kills.json")
    try:
        with open(path) as f:
            tests = json.load(f)["tests"]
    except (OSError, ValueError, KeyError):
        tests = {}
    tests[test] = entry
    total = {key: sum(t[key] for t in tests.values()) for key in ("kill_cycles", "seconds", "lost")}
    took = [r for t in tests.values() for r in t["recoveries"]]
    if took:
        total["recovery"] = {"min": min(took), "median": statistics.median(took), "max": max(took)}
    with open(path, "w") as f:
        json.dump({**total, "tests": tests}, f, indent=1)
        f.write("\n")


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
        # Reports that were there when a node's last load started: of an older one, which may have failed.
        self.past = {}
        # What nodes had been told that may have lost the volume, and whose writes may fail.
        self.abandoned = {}
        self.remote_had = [0] * chains

    def start(self, node):
        """On the node that serves; goes on behind what the local unit has."""
        path = self.deployment.local.path
        begin = [min(state.high, told + 1) if told else state.high
                 for state, told in zip(chains.examine(path, self.chains), self.told())]
        self.node = node
        self.past[node] = len(node.vm.report())
        self.abandoned.pop(node, None)
        self.job = node.vm.spawn("exec python3 /repo/selftests/lib/chains.py write /dev/mapper/vol "
                                 + ",".join(map(str, begin)))

    def told(self):
        """The last acknowledged write of each chain, as far as the world outside knows."""
        return [max(last) for last in zip(*map(self.told_by, (self.deployment.a1, self.deployment.a2)))]

    def told_by(self, node):
        last = [0] * self.chains
        for i, line in enumerate(node.vm.report()):
            first, number, *_ = line.split()
            if first != "error":
                last[int(first)] = max(last[int(first)], int(number))
            elif node not in self.abandoned and i >= self.past.get(node, 0):
                raise VmError(f"{node.name}: a write failed: {line}")
        return last

    def abandon(self):
        """The node loses the volume: its writers go on trying, and may fail. Returns their job. To
        be called when the other node has made sure of it, and before the load starts there."""
        self.abandoned[self.node] = None
        self.abandoned[self.node] = self.told_by(self.node)
        return self.job

    def keep(self, node):
        """It has turned out that a node which was abandoned keeps the volume: the load there goes on."""
        del self.abandoned[node]

    def check_abandoned(self, node):
        """Since then nobody on the node was told of a write, but for those which had been
        acknowledged already and not reported: one of each chain."""
        for chain, (before, now) in enumerate(zip(self.abandoned[node], self.told_by(node))):
            if now > before + 1:
                raise AssertionError(f"{node.name}: chain {chain}: write {now} was acknowledged by a node that had lost "
                                     f"the volume after write {before}")

    def total(self):
        return sum(self.told())

    def until(self, more, timeout=60):
        """Waits until so many more writes are acknowledged."""
        goal = self.total() + more

        def look():
            self.running()
            return self.total() >= goal
        wait_until(look, timeout, f"{more} more writes are acknowledged; status: {self.node.last_status}")

    def until_waiting(self):
        """Waits until no write is acknowledged any more; none has failed."""
        last, since = self.total(), time.monotonic()

        def quiet():
            nonlocal last, since
            now = self.total()
            if now != last:
                last, since = now, time.monotonic()
            return time.monotonic() - since > QUIET_SECONDS
        wait_until(quiet, 60, "writes wait")
        self.running()

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
