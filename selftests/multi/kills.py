#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""The owner is killed at a random moment under load, again and again; its partner takes over by
itself, goes on under the same load, and the one that died comes back as its standby. Every other time the
one that takes over is killed as well, at a random moment from the takeover's begin until the micro-merge
to the remote is over; both come back, and one of them serves.

KILLS=<number> of machines, SEED=<number> to repeat a run.
"""

import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from deployment import Deployment, Load, one_serves, seeded
from tap import Tap
from vmlib import Lab

KILLS = int(os.environ.get("KILLS") or 10)
# The remote is so far away that the micro-merge takes about as long as all before it.
REMOTE_MS = 10
MERGE_SECONDS = 1.5


class Moments:
    """How long takeovers take, from their begin: what random moments are drawn from."""

    def __init__(self):
        self.to_serve = 1.0

    def note(self, seconds):
        self.to_serve = max(seconds, 0.2)

    def draw(self, rng):
        """Half of them while it takes over and replays, half while it merges."""
        return rng.choice((rng.uniform(0, self.to_serve), self.to_serve + rng.uniform(0, MERGE_SECONDS)))


def under_load(rng, load):
    load.until(rng.randrange(20, 400))
    load.check_remote()
    time.sleep(rng.uniform(0, 1))
    load.running()


def owner_dies(rng, load, owner, heir, moments):
    """Returns who serves."""
    generation = int(owner.status()["generation"])
    under_load(rng, load)
    begun = heir.listen()
    died = owner.kill()
    behind = load.check_remote()
    begun("-> taking-over")
    began = time.monotonic()
    status = heir.until(state="serving", role="owner")
    moments.note(time.monotonic() - began)
    said = load.deployment.ledger.served("taken over", died)
    assert int(status["generation"]) > generation, status
    load.check_local()
    # The load goes on at once, while the heir still sends what its partner had not.
    load.start(heir)
    load.check_remote()
    print(f"# {owner.name} died after {load.total()} writes, {behind} of them not at the remote; {heir.name} replayed "
          f"{status['replayed']} records: {said} ({status['takeover_ms']} ms for the takeover)")
    owner.restart()
    return heir


def both_die(rng, load, owner, heir, moments):
    """The second while it recovers from the death of the first. Returns who serves."""
    generation = int(owner.status()["generation"])
    under_load(rng, load)
    begun = heir.listen()
    owner.kill()
    begun("-> taking-over")
    moment = moments.draw(rng)
    time.sleep(moment)
    state = heir.vm.console().rpartition(" -> ")[2].partition(":")[0]
    died = heir.kill()
    behind = load.check_remote()
    load.deployment.lab.start(*rng.sample((owner.vm, heir.vm), k=2))
    for node in rng.sample((owner, heir), k=2):
        node.join()
    who = one_serves(owner, heir)
    said = load.deployment.ledger.served("both came back", died)
    assert int(who.last_status["generation"]) > generation, who.last_status
    load.check_local()
    load.start(who)
    load.check_remote()
    print(f"# {owner.name} died after {load.total()} writes, {heir.name} {moment:.2f} s into its takeover, when it was "
          f"{state}, {behind} writes not at the remote; {who.name} replayed {who.last_status['replayed']} records: {said}")
    return who


# Each kind, how many machines it kills, and its name.
KINDS = ((owner_dies, 1, "{0} dies, {1} has everything, {0} comes back"),
         (both_die, 2, "{0} dies, and {1} while it takes over; both come back, one has everything"))


def main():
    tap = Tap()
    rng = seeded()
    with Lab("kills", add=["selftests/lib"]) as lab:
        d = Deployment(lab, smp=2, options={"lanes": 2, "records": 512})
        load = Load(d)
        owner, heir = d.a1, d.a2
        moments = Moments()
        with tap.case("a volume that one serves and the other mirrors"):
            d.start()
            d.distance(REMOTE_MS)
            load.start(owner)
            load.until(100)
        while d.ledger.kills < KILLS and not tap.failed:
            kind, kills, name = KINDS[d.ledger.kills > 0 and rng.randrange(2)]
            with tap.case(f"kill {d.ledger.kills + kills}: " + name.format(owner.name, heir.name)):
                owner = kind(rng, load, owner, heir, moments)
                heir = d.other(owner)
                owner.until_mirrored()
                status = heir.until(role="standby", state="standby", mirror="complete")
                assert status["generation"] == owner.status()["generation"], status
                load.check_remote()
        if not tap.failed:
            with tap.case("in the end local unit and remote are equal"):
                load.check_end(owner)
        d.ledger.close(tap)
    tap.done()


main()
