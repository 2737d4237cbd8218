#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Tests the test bed: what every test with several machines relies upon.

      +---- net ----+
     a               b          each with its own pmem; one disk in both;
      \\-- shared --/            a exports its second disk over NVMe/TCP to b
"""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import nvme
from tap import Tap
from vmlib import Lab, VmError, wait_until

tap = Tap()
with Lab("selftest") as lab:
    net = lab.net("net")
    shared = lab.disk("shared", 16)
    a = lab.vm("a", pmem=[32, 32], disks=[shared, lab.disk("export", 16)], nets={net: "10.0.0.1/24"})
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

    with tap.case("the disk has reservations"):
        b.ok(f"nvme resv-register {remote} --nrkey=0xb --rrega=0")
        b.ok(f"nvme resv-acquire {remote} --crkey=0xb --rtype=3 --racqa=0")
        assert "regctl    : 1" in b.ok(f"nvme resv-report {remote} --eds"), b.ok(f"nvme resv-report {remote} --eds")
        nvme.disconnect(b)

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

    with tap.case("a machine that was started again finds its net"):
        b.start()
        b.poll("ping -c 1 -W 1 10.0.0.1")

    with tap.case("an oops is noticed and ends the machine"):
        b.spawn("echo c >/proc/sysrq-trigger")
        wait_until(lambda: b.dead, 30, "b dies of its panic")
        assert any("panic" in line for line in b.alarms())

tap.done()
