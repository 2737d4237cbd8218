#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Power cuts: the owner alone, both at once, and whoever recovers while it recovers.

A takeover needs a message here, so that it is the test that decides who comes back first.
SEED=<number> repeats a run.
"""

import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from deployment import Deployment, Load, seeded
from tap import Tap
from vmlib import Lab


def under_load(rng, load, node):
    """The load has run for a random while."""
    if load.job is None or load.job.done.is_set():
        load.start(node)
    load.until(rng.randrange(50, 300))
    load.check_remote()


def serves(load, node, generation):
    """Everything that was acknowledged is there, and writes go on."""
    status = node.until(state="serving", role="owner")
    load.deployment.ledger.served("power came back")
    assert int(status["generation"]) > generation, status
    load.check_local()
    load.check_remote()
    load.start(node)
    load.until(20)
    return status


def owner_reboots(rng, load, owner, standby):
    under_load(rng, load, owner)
    generation = int(owner.status()["generation"])
    owner.kill()
    assert standby.status()["state"] == "standby"
    owner.restart()
    status = serves(load, owner, generation)
    print(f"# replayed {status['replayed']} records, generation {status['generation']}")
    owner.until_mirrored()
    status = standby.status()
    assert (status["state"], status["mirror"]) == ("standby", "complete"), status


def both_die(rng, load, owner, standby):
    under_load(rng, load, owner)
    generation = int(owner.status()["generation"])
    victims = [owner, standby]
    rng.shuffle(victims)
    for node in victims:
        node.kill()
    print(f"# {victims[0].name} died first; {load.total()} writes had been acknowledged")
    return generation


def both_return(rng, load, owner, standby):
    generation = both_die(rng, load, owner, standby)
    load.deployment.lab.start(owner.vm, standby.vm)
    order = [owner, standby]
    rng.shuffle(order)
    print(f"# {order[0].name} is back first")
    for node in order:
        node.join()
    serves(load, owner, generation)
    owner.until_mirrored()
    assert standby.status()["state"] == "standby"


def standby_returns(rng, load, owner, standby):
    generation = both_die(rng, load, owner, standby)
    standby.restart()
    status = standby.status()
    assert (status["state"], status["mirror"]) == ("standby", "complete"), status
    assert standby.vm.sh("dd if=/dev/mapper/vol of=/dev/null count=1 iflag=direct").rc != 0, "a standby serves"
    standby.message("takeover")
    serves(load, standby, generation)
    # The old owner finds a newer generation: it stands by, and its log is never replayed.
    owner.restart()
    standby.until_mirrored()
    owner.until(state="standby", mirror="complete")


def owner_returns(rng, load, owner, standby):
    generation = both_die(rng, load, owner, standby)
    owner.restart()
    # Its partner might have taken over meanwhile: it must not serve before it knows.
    owner.until(state="waiting-for-partner")
    read = owner.vm.spawn("dd if=/dev/mapper/vol of=/dev/null count=1 iflag=direct")
    time.sleep(1)
    assert not read.done.is_set(), "it served before it had asked its partner"
    owner.message("detach force")
    assert read.wait(), "the read that had waited failed"
    serves(load, owner, generation)
    standby.restart()
    owner.until_mirrored()
    standby.until(state="standby", mirror="complete")


def recovery_dies(rng, load, owner, heir):
    """The owner is gone; its heir dies while it takes over, replays and ships, and starts again."""
    d = load.deployment
    d.distance(15)
    # Enough that there is something to die in.
    owner.until(behind=lambda n: int(n) > 300)
    generation = int(owner.status()["generation"])
    owner.kill()
    moments = ["-> taking-over", "-> replaying", "-> replaying", "-> serving", "-> serving"]
    for moment in moments:
        said = heir.listen()
        if not heir.vm.process:
            heir.restart()
        if heir.status()["state"] == "standby":
            heir.until(partner="disconnected")
            heir.vm.spawn("dmsetup message vol 0 takeover")
        said(moment)
        time.sleep(rng.uniform(0, 2) if moment == "-> serving" else rng.uniform(0, 0.1))
        heir.kill()
        behind = load.check_remote()
        print(f"# died {moment!r}, {behind} acknowledged writes were not at the remote")
    heir.restart()
    if heir.status()["state"] == "standby":
        heir.message("takeover")
    status = heir.until(state="serving", role="owner")
    d.ledger.served("power came back")
    assert int(status["generation"]) > generation, status
    load.check_local()
    heir.until_in_step()
    load.check_local()
    load.check_remote(complete=True)
    differ = d.differences()
    assert not differ, f"local unit and remote differ in {len(differ)} blocks, the first at {differ[0]}"
    d.distance(2)
    load.start(heir)
    owner.restart()
    heir.until_mirrored()
    load.check_remote()


def main():
    tap = Tap()
    rng = seeded()
    with Lab("power", add=["selftests/lib"]) as lab:
        d = Deployment(lab, takeover="manual", options={"records": 600})
        load = Load(d)
        a1, a2 = d.a1, d.a2
        with tap.case("a volume that one serves and the other mirrors"):
            d.start()
            d.distance(5)
        for name, test, owner in (
                ("the owner reboots alone: it asks its partner, recovers and serves", owner_reboots, a1),
                ("both die, both return: the owner recovers", both_return, a1),
                ("both die, the standby alone returns: a message makes it take over", standby_returns, a1),
                ("both die, the owner alone returns: it waits, a message makes it serve", owner_returns, a2),
                ("who takes over dies in the middle, five times: it finishes all the same", recovery_dies, a2)):
            if tap.failed:
                break
            with tap.case(name):
                test(rng, load, owner, d.other(owner))
        if not tap.failed:
            with tap.case("in the end local unit and remote are equal"):
                load.check_end(a1)
        d.ledger.close(tap)
    tap.done()


main()
