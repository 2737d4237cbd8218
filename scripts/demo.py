#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""make demo: a machine dies under load, its partner takes over, nothing is lost.

MODE=sync for synchronous copying; the default is asynchronous.
"""

import json
import os
import re
import subprocess
import sys
import time

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(TOP, "selftests", "multi"))

from deployment import Deployment, differences
import bank
from vmlib import Lab, VmError, wait_until

MODE = os.environ.get("MODE") or "async"
DISK_MIB = 128
# Half of the way to the remote and back.
DISTANCE_MS = 20
FIO = ("fio --name=verify --filename=/mnt/fio.data --size=16m --bs=4k --ioengine=psync --direct=1 --rw=randwrite "
       "--verify=crc32c --randseed=7 --allrandrepeat=1 --verify_state_save=0")
BANK = "python3 /repo/selftests/lib/bank.py"
LEDGER = "/mnt/bank/ledger.db"
# The load goes on for at least this long, and until so much of it is acknowledged.
LEAST_SECONDS = 8
LEAST_TRANSACTIONS = 100
LEAST_FIO_WRITES = 100
MORE_TRANSACTIONS = 25
WORDS = {"async": "asynchronously", "sync": "synchronously"}


class Story:
    """What the user reads: lines with the time, then questions with their answers."""

    def __init__(self):
        self.began = time.monotonic()
        self.answers = []

    def say(self, text):
        print(f"[{time.monotonic() - self.began:6.1f} s] {text}", flush=True)

    def more(self, text):
        print(" " * 11 + text, flush=True)

    def say_so(self, text):
        print(f"            {text}", flush=True)

    def check(self, good, text):
        """A fact that must be so; the verdict is built of these."""
        self.answers.append(bool(good))
        print(f"    {'ok     ' if good else 'WRONG  '} {text}", flush=True)

    def verdict(self):
        wrong = self.answers.count(False)
        print()
        if wrong:
            print(f"VERDICT: FAILED: {wrong} of {len(self.answers)} checks went wrong.")
        else:
            print(f"VERDICT: PASSED: all {len(self.answers)} checks hold: nothing that was acknowledged is missing "
                  "anywhere.")
        return 1 if wrong else 0


story = Story()


def committed(vm):
    """The last transaction that the database has reported to the outside."""
    numbers = [int(line.split()[1]) for line in vm.report()]
    return numbers[-1] if numbers else 0


def fio_done(job):
    """How many writes fio has said to be complete."""
    return max((int(n) for n in re.findall(r'"total_ios" : (\d+)', job.out)), default=0)


# -- looking at copies, outside of every virtual machine ---------------------------------------

def run(*command):
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          errors="replace")


def check_filesystem(image, what):
    """e2fsck as an administrator would after a crash: the journal, then everything else."""
    run("e2fsck", "-E", "journal_only", "-fy", image)
    result = run("e2fsck", "-fn", image)
    said = [line.replace(image + ": ", "") for line in result.stdout.splitlines() if line.strip()]
    story.check(result.returncode == 0,
                f"e2fsck -f on {what}: {'clean' if result.returncode == 0 else 'ERRORS'}: {said[-1] if said else '-'}")
    if result.returncode:
        for line in said:
            story.more(line)


def take_out(image):
    """The database and fio's file from an ext4 image whose journal was replayed."""
    folder = image + ".files"
    os.makedirs(folder)
    result = run("debugfs", "-R", f"rdump /bank /fio.data {folder}", image)
    if not os.path.exists(os.path.join(folder, "bank", "ledger.db")):
        raise VmError(f"no database in {image}: {result.stdout}")
    return folder


def check_database(found, acknowledged, what, all_of_it=True):
    """Whether the database is sound and has what the outside was told of."""
    story.check(not found["wrong"], f"the database on {what}: integrity_check ok, no gap in the ledger, balances add up"
                if not found["wrong"] else f"the database on {what}: {found['wrong']}")
    there = found["transactions"]
    missing = max(0, acknowledged - there)
    if all_of_it:
        story.check(missing == 0, f"transactions on {what}: {acknowledged} acknowledged, {there} there, {missing} missing")
    else:
        story.say_so(f"transactions on {what}: {acknowledged} acknowledged, {there} there: "
                     f"the other {missing} were on their way")


def check_fio(lines, rc, writes, what):
    story.check(rc == 0 and verified(lines) == writes,
                f"fio's verify on {what}: {writes} writes acknowledged, {verified(lines)} found good"
                + ("" if rc == 0 else f", exit status {rc}"))
    if rc:
        story.more(lines[-2000:])


def verified(output):
    """How many blocks fio has read and found good."""
    found = re.search(r"issued rwts: total=(\d+),", output)
    return int(found.group(1)) if found else 0


def verify_command(file, writes):
    """fio reads what it had written first, as many blocks as it had said to be complete: each must
    have its checksum, at its place. (Later ones may or may not be there.)"""
    return f"{FIO.replace('/mnt/fio.data', file)} --verify_only --io_size={writes * 4096}"


# -- the story ---------------------------------------------------------------------------------

def boot(d):
    story.say("Booting three machines, all emulated: partners A1 and A2, and the remote site")
    d.boot()
    story.say("A1 and A2 share a local unit, have persistent memory each, and reach the remote's disk over NVMe/TCP")
    d.a2.create()
    d.a1.create()
    d.a1.until_mirrored()
    story.say(f"A1 owns the volume and copies it {WORDS[MODE]}; A2 stands by and mirrors A1's log. A1's table line:")
    story.more(d.a1.table())
    result = d.a2.vm.sh("dd if=/dev/mapper/vol of=/dev/null bs=4k count=1 iflag=direct")
    story.check(result.rc != 0, "A2, the standby, refuses I/O")


def load(d):
    vm = d.a1.vm
    vm.ok("mkfs.ext4 -q /dev/mapper/vol && mount /dev/mapper/vol /mnt && mkdir /mnt/bank && "
          "dd if=/dev/zero of=/mnt/fio.data bs=1M count=16 status=none && sync", timeout=120)
    d.a1.until_in_step()
    d.distance(DISTANCE_MS)
    story.say(f"ext4 is on the volume. From here on the remote is far away: {DISTANCE_MS} ms for each answer")
    database = vm.spawn(f"{BANK} run {LEDGER}")
    fio = vm.spawn(f"{FIO} --do_verify=0 --thread --rate_iops=60 --output-format=json --status-interval=250ms")
    story.say("Load on A1: a SQLite database (WAL, synchronous=FULL) that tells the outside of each COMMIT before")
    story.more("the next; and beside it fio, O_DIRECT, which writes blocks with checksums at random places of a file")
    wait_for_load(d, database, fio)
    return fio


def wait_for_load(d, *jobs):
    began = shown = time.monotonic()

    def enough():
        nonlocal shown
        for job in jobs:
            if job.done.is_set():
                raise VmError(f"the load ended by itself: {job.out[-2000:]}")
        now = time.monotonic()
        if now - shown > 3:
            shown = now
            status = d.a1.status()
            story.more(f"{committed(d.a1.vm)} transactions and {fio_done(jobs[1])} writes of fio acknowledged; "
                       f"records not at the remote yet: {status['behind']}")
        return (committed(d.a1.vm) >= LEAST_TRANSACTIONS and fio_done(jobs[1]) >= LEAST_FIO_WRITES
                and now - began > LEAST_SECONDS)
    wait_until(enough, 90, "the load gets going")


def kill(d, fio):
    """SIGKILL, and the remote as it was at that moment."""
    before = d.a1.status()
    d.a1.vm.kill()
    killed = time.monotonic()
    acknowledged = committed(d.a1.vm)
    writes = fio_done(fio)
    _, frozen, _ = d.freeze_remote(lambda: None, "remote-at-the-kill")
    story.say(f"KILLED A1 in mid-load (SIGKILL of the machine): {acknowledged} transactions and {writes} writes of fio acknowledged;")
    story.more(f"a moment before, {before['log_records'].split('/')[0]} records were outstanding in its log, "
               f"{before['behind']} of them not at the remote")
    return killed, acknowledged, writes, frozen


def takeover(d, killed):
    while (status := d.a2.status())["state"] != "serving":
        if time.monotonic() - killed > 60:
            raise VmError(f"A2 does not take over: {status}\n{d.a2.log()}")
    d.a2.vm.ok("dd if=/dev/mapper/vol of=/dev/null bs=4k count=1 iflag=direct")
    total = time.monotonic() - killed
    work = int(status["takeover_ms"]) / 1000
    story.say(f"A2 SERVES the volume, {total:.1f} s after the kill, and nobody told it to:")
    story.more(f"{total - work:.1f} s until it knew (the owner is dead after {d.ping_misses} pings of {d.ping_ms} ms), "
               f"{work:.2f} s for the takeover")
    story.more(f"outstanding in its mirror: {status['takeover_records']} records; replayed to the local unit: "
               f"{status['replayed']}; to be sent to the remote: {status['behind']}")
    return status


def main():
    if MODE not in WORDS:
        sys.exit(f"MODE={MODE}: 'async' or 'sync' is allowed")
    try:
        with Lab("demo", add=["selftests/lib"], fio=True) as lab:
            tell(Deployment(lab, mode=MODE, disk_mib=DISK_MIB, pmem_mib=64, modules=["ext4"]))
    except VmError as e:
        story.say(str(e))
        story.check(False, "the demo came to its end")
    sys.exit(story.verdict())


def tell(d):
    boot(d)
    fio = load(d)
    killed, acknowledged, writes, frozen = kill(d, fio)
    status = takeover(d, killed)
    story.check(status["role"] == "owner" and int(status["generation"]) > 1, "A2 owns the volume now")
    story.check(status["replayed"] == status["takeover_records"], "every record that was outstanding was replayed")
    local = d.copy(d.local, "local-after-takeover")
    status = d.a2.until_in_step()
    story.say(f"The micro-merge to the remote is complete: A2 sent {status['shipped']} records there")
    remote = d.copy(d.remote_disk, "remote-after-merge")
    differ = differences(local, remote)
    story.check(not differ, f"local unit and remote: {equality(differ)}")
    look_at_copies(local, remote, frozen, acknowledged, writes)
    go_on(d, acknowledged, writes)


def look_at_copies(local, remote, frozen, acknowledged, writes):
    story.say("Copies of both disks, taken before A2 mounted anything, looked at outside of the machines:")
    for image, what in ((local, "the local unit"), (remote, "the remote")):
        look_at(image, what, acknowledged, writes)
    story.say("And the remote as it stood when A1 died, before A2 did anything:")
    look_at(frozen, "the frozen remote", acknowledged, writes, all_of_it=MODE == "sync")


def look_at(image, what, acknowledged, writes, all_of_it=True):
    check_filesystem(image, what)
    folder = take_out(image)
    check_database(bank.check(os.path.join(folder, "bank", "ledger.db")), acknowledged, what, all_of_it)
    if all_of_it:
        result = run(*verify_command(os.path.join(folder, "fio.data"), writes).split())
        check_fio(result.stdout, result.returncode, writes, what)


def go_on(d, acknowledged, writes):
    vm = d.a2.vm
    vm.ok("mount /dev/mapper/vol /mnt")
    story.say("A2 has mounted the volume:")
    found = json.loads(vm.ok(f"{BANK} check {LEDGER}"))
    check_database(found, acknowledged, "A2's volume")
    result = vm.sh(verify_command("/mnt/fio.data", writes), timeout=120)
    check_fio(result.out, result.rc, writes, "A2's volume")
    vm.ok(f"{BANK} run {LEDGER} {MORE_TRANSACTIONS}")
    found = json.loads(vm.ok(f"{BANK} check {LEDGER}"))
    story.check(not found["wrong"] and committed(vm) == found["transactions"],
                f"the bank is open again: {MORE_TRANSACTIONS} more transactions on A2, {found['transactions']} in all")
    vm.ok("umount /mnt")
    d.a2.until_in_step()
    story.say("A2 has unmounted the volume, and the remote is in step again:")
    differ = d.differences()
    story.check(not differ, f"local unit and remote: {equality(differ)}")
    for disk, what in ((d.local, "the local unit"), (d.remote_disk, "the remote")):
        check_filesystem(d.copy(disk), what)


def equality(differ):
    if differ:
        return f"DIFFERENT in {len(differ)} blocks of 4 KiB, the first at byte {differ[0]}"
    return f"equal, byte for byte ({DISK_MIB} MiB)"


if __name__ == "__main__":
    main()
