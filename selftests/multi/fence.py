#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Two nodes, and at no time two owners: the way to the partner, to the storage, or both are lost, or
the owner stalls, until its partner takes over by itself. What the old owner had under way when it
lost the volume fails once it is back, and nothing of it reaches the local unit or the remote,
where the new owner has written newer data to the same places meanwhile.

TEST=<regex> runs only the cases whose name matches, SEED=<number> repeats a run.
"""

import os
import re
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from deployment import Deployment, Pair, differences, remove, seeded
import nvme
from tap import Tap
from vmlib import Lab, wait_until

# A case may stop the owner for as long as this: about what lies between the moment when it would go on
# alone and the one when its partner takes over.
RACE_SECONDS = 3.5
# Longer than anybody waits before it takes over or goes on alone.
DECIDED_SECONDS = 6
# So far away is the metadata device where it shall be lost before it answers.
FAR_MS = 1500


def is_taken_over(p, old, heir):
    """The heir serves, and writes newer data to where the old owner has writes under way."""
    status = heir.until(state="serving", role="owner")
    assert status["record"] == "mine" and status["record_generation"] == status["generation"], status
    p.is_served(heir)
    p.load.start(heir)
    p.load.until(200)
    for unit in ("metadata", "local", "remote"):
        reservation = p.d.reservation(of=unit)
        assert (reservation.type, reservation.holder) == (1, heir.name), f"{unit}: {reservation}"
        assert old.name not in reservation.keys, f"{unit}: {reservation}"
    p.load.check_remote()


def comes_back(p, job, old, heir, wake):
    """The old owner: nothing of what it had under way goes anywhere. Then it stands by."""
    p.load.stop()
    heir.until_in_step()
    p.load.check_local()
    disks = (p.d.local, p.d.remote_disk)
    before = [p.d.copy(disk) for disk in disks]
    wake()
    result = job.wait()
    assert result.rc == 1, result
    status = old.until(state="fenced", partner="disconnected")
    generation = int(heir.status()["generation"])
    if status["role"] == "owner":
        assert int(status["generation"]) < generation, status
    else:
        # It has heard of the new reign before a unit told it.
        assert (int(status["generation"]), status["mirror"]) == (generation, "incomplete"), status
    for unit in ("local", "metadata", "remote"):
        # A connection that was lost while the machine stood still is "live" until something is sent.
        # A read waits until there is another one; a reservation, as remake() needs, would fail.
        old.vm.ok(f"dd if={getattr(old, unit)} of=/dev/null bs=4096 count=1 iflag=direct status=none")
        wait_until(lambda unit=unit: old.connection(unit) == "live", 60, f"{old.name} reaches the {unit} again")
    refused = old.vm.sh("dd if=/dev/zero of=/dev/mapper/vol bs=4096 count=1 oflag=direct")
    assert refused.rc != 0, refused
    p.load.check_abandoned(old)
    for disk, path in zip(disks, before):
        differ = differences(path, disk.path)
        assert not differ, f"{disk.path}: the old owner has written to {len(differ)} blocks, the first at {differ[0]}"
        remove(path)
    p.load.start(heir)
    stands_by(p, old, heir)


def stands_by(p, old, heir):
    old.remake()
    p.until_mirrored(heir)
    p.goes_on()


# -- cases --------------------------------------------------------------------------------------

def link_under_wait(p, rng):
    d, old, heir = p.d, p.owner, p.heir
    d.partner_lost = "wait"
    for node in (old, heir):
        node.reload()
    assert old.status()["partner_lost"] == "wait"
    p.load.until(50)
    d.cut("partner")
    job = p.load.abandon()
    is_taken_over(p, old, heir)
    # Its units tell it; the partner link is still cut.
    old.until(state="fenced")
    comes_back(p, job, old, heir, d.heal)
    d.partner_lost = "continue"
    for node in (old, heir):
        node.reload()


def decided(p, old, heir, refused, before):
    """Waits until one of both goes on, whichever; never do both. Returns who."""
    def look():
        mine, its = old.status(), heir.status()
        alone = mine["mirror"] == "out-of-date" and mine["state"] == "serving"
        taken = its["state"] == "serving"
        assert not (alone and taken), (mine, its)
        return alone and old or taken and heir
    winner = wait_until(look, 60, "one of both goes on")
    if winner is heir:
        old.until(state="fenced")
        for chain, (then, now) in enumerate(zip(before, p.load.told_by(old))):
            assert now <= then + 1, f"chain {chain}: {now} was acknowledged without the partner, which has taken over"
    else:
        refused("takeover refused: .*out of date")
        status = heir.status()
        assert status["state"] == "standby" and status["record_mirror"] == "out-of-date", status
    return winner


def link_under_continue(p, rng, stop=0.0):
    """stop: how long the owner does nothing just then."""
    d, old, heir = p.d, p.owner, p.heir
    refused = heir.listen()
    d.cut("partner")
    job = p.load.abandon()
    before = p.load.abandoned[old]
    if stop:
        old.vm.pause(clock_runs=rng.random() < 0.5)
        time.sleep(stop)
        old.vm.resume()
    winner = decided(p, old, heir, refused, before)
    print(f"# {winner.name} goes on, which {'stalled for %.1f s' % stop if stop else 'owned the volume'}"
          if winner is old else f"# {winner.name} has taken over; the owner stalled for {stop:.1f} s")
    if winner is heir:
        is_taken_over(p, old, heir)
        comes_back(p, job, old, heir, d.heal)
    else:
        p.load.keep(old)
        p.is_served(old)
        p.goes_on()
        assert heir.status()["state"] == "standby"
        d.heal()
        p.until_mirrored()
        p.goes_on()
    return winner


def link_race(p, rng):
    link_under_continue(p, rng, rng.uniform(0.5, RACE_SECONDS))


def link_keeps_owner(p, rng):
    old = p.owner
    winner = link_under_continue(p, rng)
    assert winner is old, "whoever has the host should keep it"


def owner_without_storage(p, rng):
    d, old, heir = p.d, p.owner, p.heir
    holder = d.reservation().holder
    d.cut("storage", old)
    p.load.until_waiting()
    time.sleep(DECIDED_SECONDS)
    status = heir.status()
    assert status["state"] == "standby" and status["partner"] == "connected", status
    assert d.reservation().holder == holder == old.name
    p.load.running()
    d.heal()
    p.goes_on()


def owner_without_storage_forced(p, rng):
    d, old, heir = p.d, p.owner, p.heir
    d.cut("storage", old)
    p.load.until_waiting()
    refused = heir.listen()
    assert not heir.vm.sh("dmsetup message vol 0 takeover")
    refused("takeover refused: the owner is alive")
    job = p.load.abandon()
    heir.message("takeover force")
    is_taken_over(p, old, heir)
    comes_back(p, job, old, heir, d.heal)


def owner_isolated(p, rng):
    d, old, heir = p.d, p.owner, p.heir
    for what in rng.sample(("partner", "storage", "remote"), k=3):
        d.cut(what, old)
    job = p.load.abandon()
    is_taken_over(p, old, heir)
    assert not job.done.is_set()
    comes_back(p, job, old, heir, d.heal)


def owner_stalls(p, rng, clock_runs):
    d, old, heir = p.d, p.owner, p.heir
    old.vm.pause(clock_runs=clock_runs)
    job = p.load.abandon()
    is_taken_over(p, old, heir)
    comes_back(p, job, old, heir, old.vm.resume)


def heir_without_storage(p, rng):
    """First what it has to read waits, then it fails."""
    d, old, heir = p.d, p.owner, p.heir
    for unit in ("local", "metadata"):
        heir.patience(unit, 5)
    p.load.until(50)
    said = heir.listen()
    d.cut("storage", heir)
    p.goes_on()
    old.vm.kill()
    said("metadata.*EIO")
    heir.until(state="standby", partner="disconnected")
    time.sleep(DECIDED_SECONDS)
    status = heir.status()
    assert status["state"] != "serving", status
    assert d.reservation().holder == old.name
    d.heal()
    heir.until(state="serving", role="owner")
    p.is_served(heir)
    p.load.start(heir)
    p.load.until(50)
    old.restart()
    p.until_mirrored(heir)
    p.goes_on()
    for unit in ("local", "metadata"):
        heir.patience(unit, None)


def owner_stalls_heir_without_local(p, rng):
    """A takeover that cannot come about takes nothing from the owner."""
    d, old, heir = p.d, p.owner, p.heir
    d.cut("local", heir)
    wait_until(lambda: heir.connection("local") == "connecting", 60, f"{heir.name} notices")
    said = heir.listen()
    old.vm.pause()
    said("reservations fail")
    old.vm.resume()
    p.goes_on()
    p.until_mirrored()
    p.is_served(old)
    d.heal()
    p.goes_on()


def owner_without_record(p, rng):
    """It may not go on before the record says that its partner's mirror is out of date."""
    d, old, heir = p.d, p.owner, p.heir
    d.cut("metadata", old)
    p.goes_on()
    heir.vm.kill()
    p.load.until_waiting()
    old.until(mirror="lost", partner="disconnected")
    before = p.load.total()
    time.sleep(DECIDED_SECONDS)
    p.load.running()
    assert p.load.total() == before and old.status()["mirror"] == "lost"
    d.heal()
    p.load.until(100)
    old.until(state="serving", mirror="out-of-date", record="mine", record_mirror="out-of-date")
    heir.restart()
    p.until_mirrored()
    p.goes_on()


def owner_loses_record_half_way(p, rng):
    """Writing it fails when it is in one of its two places, or when only the answer is missing."""
    d, old, heir = p.d, p.owner, p.heir
    places = rng.choice((1, 2))
    old.patience("metadata", 1)
    p.load.until(50)
    before = d.record_places()
    said = old.listen()
    heir.vm.kill()
    d.distance(FAR_MS, of="metadata")
    wait_until(lambda: sum(a != b for a, b in zip(before, d.record_places())) >= places, 60, "the record is written")
    d.cut("metadata", old)
    d.distance(0, of="metadata")
    said("the ownership record cannot be written")
    told = p.load.total()
    p.load.running()
    assert old.status()["mirror"] == "lost"
    d.heal()
    old.until(state="serving", mirror="out-of-date", record="mine", record_mirror="out-of-date")
    p.load.until(100)
    print(f"# in {places} of 2 places; {told} writes had been acknowledged")
    old.patience("metadata", None)
    heir.restart()
    p.until_mirrored()
    p.goes_on()


def owner_without_record_and_partner(p, rng):
    """Both live, and only one of them can make anything durable about the other."""
    d, old, heir = p.d, p.owner, p.heir
    for what in rng.sample(("partner", "metadata"), k=2):
        d.cut(what, old)
    job = p.load.abandon()
    is_taken_over(p, old, heir)
    comes_back(p, job, old, heir, d.heal)


CASES = (
    ("the partner link alone, writes wait: the partner takes over, the owner is fenced", link_under_wait),
    ("the partner link alone, writes go on: the owner goes on, the partner may not", link_keeps_owner),
    ("the same, and the owner stalls just then: one of both goes on", link_race),
    ("the storage of the owner alone: writes wait, nobody takes over", owner_without_storage),
    ("the same, and an administrator forces the takeover", owner_without_storage_forced),
    ("everything of the owner", owner_isolated),
    ("the owner stalls, and knows it", lambda p, rng: owner_stalls(p, rng, True)),
    ("the owner stalls, and its clock too", lambda p, rng: owner_stalls(p, rng, False)),
    ("the storage of the standby, then the owner dies: it takes over once it can", heir_without_storage),
    ("the owner stalls, and its partner cannot reach the local unit", owner_stalls_heir_without_local),
    ("the owner's way to the record, then the standby dies: writes wait for the record", owner_without_record),
    ("the owner's way to the record while it writes it", owner_loses_record_half_way),
    ("the owner's way to record and partner", owner_without_record_and_partner),
)


def main():
    tap = Tap()
    rng = seeded()
    with Lab("fence", add=["selftests/lib"]) as lab:
        d = Deployment(lab, shared="nvme", fencing="reservation", metadata=True, partner_lost="continue",
                       storage_options=nvme.host_options(keep_alive=5))
        p = Pair(d)
        p.begin(tap)
        for name, test in CASES:
            if tap.failed:
                break
            if not re.search(os.environ.get("TEST") or "", name):
                continue
            began = time.monotonic()
            with tap.case(name):
                p.load.until(rng.randrange(1, 100))
                test(p, rng)
            print(f"# {time.monotonic() - began:.0f} s")
        p.end(tap)
    tap.done()


main()
