#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Tests the test bed: what every test with several machines relies upon.

      +---- net ----+
     a               b          each with its own pmem; one disk in both;
      \\-- shared --/            a exports its second disk over NVMe/TCP to b,
                            and to itself
"""

import errno
import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import nvme
from tap import Tap
from vmlib import Lab, VmError, wait_until

IN_FLIGHT = "for p in $(pidof dd); do grep -q '^State:.*D' /proc/$p/status && exit 0; done; exit 1"


def write(vm, device, text):
    """A job that writes a sector."""
    return vm.spawn(f"echo {text} | dd of={device} bs=512 conv=sync oflag=direct status=none")


def fenced(result):
    return result.rc == 1 and os.strerror(errno.EBADE) in result.out


def preempted_behind_a_cut(noticed):
    """b holds the disk and writes to it behind a cut; a takes the disk away before the write gets
    through, when b has noticed the cut or before."""
    a.ok(f"nvme resv-register {near} --nrkey=0xa --rrega=0")
    b.ok(f"nvme resv-register {far} --nrkey=0xb --rrega=0")
    b.ok(f"nvme resv-acquire {far} --crkey=0xb --rtype=3 --racqa=0")
    reservation = nvme.reservation(a, near)
    assert (reservation.type, reservation.holder, reservation.keys) == (3, "b", {"a": 0xa, "b": 0xb}), reservation
    assert write(b, far, "mine").wait()
    net.cut(b)
    job = write(b, far, "late")
    b.poll(IN_FLIGHT)
    if noticed:
        wait_until(lambda: nvme.state(b) == "connecting", 30, "b notices the cut")
    a.ok(f"nvme resv-acquire {near} --crkey=0xa --prkey=0xb --rtype=3 --racqa=1")
    reservation = nvme.reservation(a, near)
    assert (reservation.holder, reservation.keys) == ("a", {"a": 0xa}), reservation
    assert not job.done.is_set()
    net.heal(b)
    result = job.wait()
    assert fenced(result), result
    assert fenced(write(b, far, "later").wait())
    assert exported.read(0, 4) == b"mine", exported.read(0, 4)
    assert write(a, near, "ours").wait()
    # All registrations and the reservation go.
    a.ok(f"nvme resv-release {near} --crkey=0xa --rtype=3 --rrela=1")
    assert nvme.reservation(a, near).keys == {}


def slept(vm, clock_runs):
    """Seconds that a machine takes a pause of three for."""
    before = float(vm.ok("date +%s.%N"))
    vm.pause(clock_runs)
    time.sleep(3)
    vm.resume()
    return float(vm.ok("date +%s.%N")) - before


tap = Tap()
with Lab("selftest") as lab:
    net = lab.net("net")
    shared = lab.disk("shared", 16)
    exported = lab.disk("export", 16)
    a = lab.vm("a", pmem=[32, 32], disks=[shared, exported], nets={net: "10.0.0.1/24"})
    b = lab.vm("b", pmem=[32], disks=[shared], nets={net: "10.0.0.2/24"})

    with tap.case("two machines boot"):
        lab.start(a, b)
        print(f"# in {a.boot_seconds:.1f} and {b.boot_seconds:.1f} s")

    with tap.case("output and exit status come back"):
        result = a.sh("echo out; echo err >&2; exit 3")
        assert (result.rc, sorted(result.out.split())) == (3, ["err", "out"]), result
        assert a.sh("kill -KILL $$").rc == 137

    with tap.case("files go in, reports come out"):
        a.put("/tmp/script", b"#!/bin/sh\necho committed $1 >/dev/virtio-ports/report\n")
        a.ok("/tmp/script 1; /tmp/script 2")
        assert a.report() == ["committed 1", "committed 2"], a.report()

    with tap.case("they reach each other, until the net is cut"):
        a.poll("ping -c 1 -W 1 10.0.0.2")
        b.ok("ping -c 1 -W 5 -M do -s 8900 10.0.0.1")
        net.cut(b)
        assert a.sh("ping -c 1 -W 1 10.0.0.2").rc != 0
        net.heal(b)
        a.poll("ping -c 1 -W 1 10.0.0.2")

    with tap.case("what one writes to the shared disk the other reads"):
        a.ok("echo hello | dd of=/dev/vda bs=512 seek=7 conv=sync oflag=direct status=none")
        assert b.ok("dd if=/dev/vda bs=512 skip=7 count=1 iflag=direct status=none | head -n 1") == "hello"
        assert shared.read(7 * 512, 5) == b"hello"

    with tap.case("b uses a disk of a over NVMe/TCP"):
        nvme.export(a, "/dev/vdb", "10.0.0.1")
        remote = nvme.connect(b, "10.0.0.1")
        b.ok(f"echo remote | dd of={remote} bs=512 conv=sync oflag=direct status=none")
        assert a.ok("dd if=/dev/vdb bs=512 count=1 iflag=direct status=none | head -n 1") == "remote"

        nvme.disconnect(b)

    with tap.case("a write stuck behind a cut fails if its host is fenced meanwhile"):
        far = nvme.connect(b, "10.0.0.1", options=nvme.host_options(keep_alive=2))
        near = nvme.connect(a, "10.0.0.1")
        preempted_behind_a_cut(noticed=False)

    with tap.case("so it does if its host had noticed the cut"):
        preempted_behind_a_cut(noticed=True)
        nvme.disconnect(a)
        nvme.disconnect(b)

    with tap.case("a machine that was paused knows nothing of it, one that stalled does"):
        asleep, stalled = slept(b, clock_runs=False), slept(b, clock_runs=True)
        assert asleep < 3 <= stalled, (asleep, stalled)

    with tap.case("a command of a machine that dies is an error, not a wait"):
        sleeper = b.spawn("sleep 1000")
        b.kill()
        try:
            sleeper.wait()
        except VmError:
            pass
        else:
            raise AssertionError("a dead machine's command ended well")

    with tap.case("pmem and disks survive a power cut"):
        a.ok("""
            dd if=/dev/urandom of=/tmp/data bs=64k count=4 status=none
            for disk in pmem0 pmem1 vdb; do dd if=/tmp/data of=/dev/$disk oflag=direct bs=64k status=none; done
        """)
        digest = a.ok("sha256sum </tmp/data")
        a.kill()
        a.start()
        for disk in ("pmem0", "pmem1", "vdb"):
            assert a.ok(f"dd if=/dev/{disk} bs=64k count=4 status=none | sha256sum") == digest, disk
        assert a.report() == ["committed 1", "committed 2"]

    with tap.case("a machine that was started again finds its net, unless that is cut"):
        net.cut(b)
        b.start()
        assert b.sh("ping -c 1 -W 1 10.0.0.1").rc != 0
        net.heal(b)
        b.poll("ping -c 1 -W 1 10.0.0.1")

    with tap.case("an oops is noticed and ends the machine"):
        b.spawn("echo c >/proc/sysrq-trigger")
        wait_until(lambda: b.dead, 30, "b dies of its panic")
        assert any("panic" in line for line in b.alarms())

tap.done()
