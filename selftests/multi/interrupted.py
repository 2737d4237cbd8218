#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""The node that takes over dies in the middle of it, behind one of its steps or another. Then both
come back: one of them serves, by itself, and has everything.

ROUNDS=<number> of steps that are tried, 5 are all; SEED=<number> repeats a run.
"""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from deployment import Deployment, Pair, one_serves, seeded
import nvme
from tap import Tap
from vmlib import Lab, wait_until

ROUNDS = int(os.environ.get("ROUNDS") or 2)
# So far away are the units while a node takes over: longer than it takes to see what it has done, and to
# kill it before it hears of that.
FAR_MS = 1500


class Points:
    """Each waits until the takeover has come as far as its name says, and no farther."""

    def __init__(self, d, heir):
        self.d = d
        self.heir = heir
        self.before = d.record_places()

    def holds(self, unit):
        return self.d.reservation(of=unit).holder == self.heir.name

    def changed(self, wanted):
        return sum(a != b for a, b in zip(self.before, self.d.record_places())) >= wanted

    def half_fenced(self):
        wait_until(lambda: self.holds("metadata"), 60, "the metadata device is seized")
        assert not self.holds("local")

    def fenced(self):
        wait_until(lambda: self.holds("local"), 60, "the local unit is seized")
        assert not self.changed(1)

    def half_recorded(self):
        wait_until(lambda: self.changed(1), 60, "the record is in one place")
        assert not self.changed(2)

    def recorded(self):
        wait_until(lambda: self.changed(2), 60, "the record is in both places")

    def replaying(self):
        self.heir.until(state="replaying")


# The step, which units are far away, and whether the record names the new owner by then.
STEPS = (
    ("half_fenced", ("local",), False),
    ("fenced", ("metadata",), False),
    ("half_recorded", ("metadata",), True),
    ("recorded", ("metadata",), True),
    ("replaying", ("local",), True),
)


def interrupt(p, rng, step, far, recorded):
    d, old, heir = p.d, p.owner, p.heir
    p.load.check_remote()
    old.kill()
    points = Points(d, heir)
    for unit in far:
        d.distance(FAR_MS, of=unit)
    getattr(points, step)()
    died = heir.kill()
    for unit in far:
        d.distance(0, of=unit)
    d.lab.start(*rng.sample((old.vm, heir.vm), k=2))
    order = rng.sample((old, heir), k=2)
    for node in order:
        node.join()
    who = one_serves(old, heir)
    said = p.d.ledger.served("both came back", died)
    assert who is (heir if recorded else old), (who.name, [node.last_status for node in (old, heir)])
    p.is_served(who)
    print(f"# {old.name} had died, {heir.name} died while it took over ({step}); {order[0].name} was back first, "
          f"{who.name} serves, {who.last_status['replayed']} records replayed: {said}")
    p.load.start(who)
    p.until_mirrored(who)
    p.goes_on()


def main():
    tap = Tap()
    rng = seeded()
    with Lab("interrupted", add=["selftests/lib"]) as lab:
        d = Deployment(lab, shared="nvme", fencing="reservation", metadata=True, partner_lost="continue",
                       storage_options=nvme.host_options(keep_alive=15))
        p = Pair(d)
        p.begin(tap)
        for step, far, recorded in rng.sample(STEPS, k=min(ROUNDS, len(STEPS))):
            if tap.failed:
                break
            with tap.case(f"the node that takes over dies: {step.replace('_', ' ')}"):
                p.load.until(rng.randrange(20, 200))
                interrupt(p, rng, step, far, recorded)
        p.end(tap)
        d.ledger.close(tap)
    tap.done()


main()
