#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Kill, return, kill the other, again and again under load, with fencing by reservations, the
ownership record, and owners that go on without their partner. Beside a healthy owner's, deaths are

  while the mirror is brought up to date: nobody may take over, the owner has to come back
  of both, the second in the middle of its takeover: one of them serves once both are back

KILLS=<number> of machines, SEED=<number> to repeat a run.
"""

import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from deployment import Deployment, Pair, one_serves, seeded
import nvme
from tap import Tap
from vmlib import Lab, VmError, wait_until

KILLS = int(os.environ.get("KILLS") or 4)
# What goes through the partner link while a mirror is brought up to date slowly.
SLOW_LINK = "rate 1500kbit delay 20ms"


def owner_dies(p, rng):
    old, heir = p.owner, p.heir
    generation = int(old.status()["generation"])
    behind = p.load.check_remote()
    died = old.kill()
    status = heir.until(state="serving", role="owner")
    said = p.d.ledger.served("taken over", died)
    assert int(status["generation"]) > generation, status
    p.is_served(heir)
    p.load.start(heir)
    print(f"# {old.name} died, {behind} writes not at the remote; {heir.name} replayed {status['replayed']} records: {said}")
    p.load.check_remote()
    old.restart()
    p.until_mirrored(heir)


def heir_dies(p, rng):
    """The owner goes on alone; what its partner misses then, it must not take over with."""
    owner, heir = p.owner, p.heir
    died = heir.kill()
    owner.until(state="serving", mirror="out-of-date", record_mirror="out-of-date")
    p.load.until(1)
    said = p.d.ledger.served("went on alone", died)
    print(f"# {heir.name} died: {owner.name} {said}")
    p.goes_on(rng.randrange(100, 400))


def owner_dies_in_catch_up(p, rng):
    owner, heir = p.owner, p.heir
    heir_dies(p, rng)
    heir.vm.start()
    p.d.shape("partner", owner, SLOW_LINK)
    refused = heir.listen()
    heir.join()
    owner.until(mirror=("catching-up", "mirrored"))
    time.sleep(rng.uniform(0, 1))
    mirror = owner.status()["mirror"]
    died = owner.kill()
    # It is as quick in good times.
    if mirror != "catching-up":
        return taken_over_or_refused(p, owner, heir, refused, died, mirror)
    refused("takeover refused: .*(misses writes|out of date)")
    assert heir.status()["state"] == "standby"
    comes_back(p, owner, heir, died)


def taken_over_or_refused(p, owner, heir, refused, died, mirror):
    """It was about to be complete."""
    def look():
        try:
            refused("takeover refused", 0)
            return owner
        except VmError:
            return heir.status()["state"] == "serving" and heir
    who = wait_until(look, 60, "the standby takes over or is refused")
    if who is owner:
        return comes_back(p, owner, heir, died)
    said = p.d.ledger.served("taken over", died)
    p.is_served(heir)
    p.load.start(heir)
    print(f"# {owner.name} died with the mirror {mirror}: {heir.name} has {said}")
    owner.restart()
    p.until_mirrored(heir)


def comes_back(p, owner, heir, died):
    owner.restart()
    owner.until(state="serving", role="owner")
    said = p.d.ledger.served("came back", died)
    p.is_served(owner)
    print(f"# {owner.name} died while it brought {heir.name} up to date, which may not take over: it {said}")
    p.load.start(owner)
    p.until_mirrored(owner)


def heir_dies_in_takeover(p, rng):
    old, heir = p.owner, p.heir
    old.kill()
    begun = heir.listen()
    begun("-> taking-over")
    time.sleep(rng.choice((0, rng.uniform(0, 0.2), rng.uniform(0, 1))))
    state = heir.vm.console().rpartition(" -> ")[2].partition(":")[0]
    died = heir.kill()
    p.d.lab.start(*rng.sample((old.vm, heir.vm), k=2))
    for node in rng.sample((old, heir), k=2):
        node.join()
    who = one_serves(old, heir)
    said = p.d.ledger.served("both came back", died)
    p.is_served(who)
    print(f"# {old.name} died, and {heir.name} when it was {state}; {who.name} serves: {said}")
    p.load.start(who)
    p.until_mirrored(who)


# Each kind, and how many machines it kills.
KINDS = ((owner_dies, 1), (owner_dies_in_catch_up, 2), (heir_dies_in_takeover, 2))
NAMES = {owner_dies: "the owner dies, its partner takes over",
         owner_dies_in_catch_up: "the standby dies, and the owner while it brings it up to date",
         heir_dies_in_takeover: "the owner dies, and the standby while it takes over"}


def plan(rng):
    """Kinds of deaths: about half of them of healthy owners, all of them if there are enough."""
    kinds = list(KINDS)
    while sum(n for _, n in kinds) < KILLS:
        kinds.append(rng.choice(KINDS[:1] * 3 + KINDS))
    rng.shuffle(kinds)
    while sum(n for _, n in kinds) > KILLS and len(kinds) > 1:
        kinds.pop()
    return [kind for kind, _ in kinds]


def main():
    tap = Tap()
    rng = seeded()
    with Lab("storm", add=["selftests/lib"]) as lab:
        d = Deployment(lab, smp=2, shared="nvme", fencing="reservation", metadata=True, partner_lost="continue",
                       storage_options=nvme.host_options(keep_alive=5), options={"lanes": 2, "records": 1024})
        p = Pair(d)
        p.begin(tap)
        for n, kind in enumerate(plan(rng), 1):
            if tap.failed:
                break
            with tap.case(f"{n}: {NAMES[kind]}"):
                p.load.until(rng.randrange(20, 300))
                time.sleep(rng.uniform(0, 1))
                kind(p, rng)
                p.load.check_remote()
        p.end(tap)
        print(f"# {sum(p.load.told())} writes acknowledged")
        d.ledger.close(tap)
    tap.done()


main()
