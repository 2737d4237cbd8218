#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""The remote is a prefix at every moment: frozen again and again, under load, after the owner
has died, and while its heir sends what is missing; it never has a write without those that the
host knew to be there before it, and never goes back.

SEED=<number> repeats a run.
"""

import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from deployment import Deployment, Load, seeded
from tap import Tap
from vmlib import Lab

DEATHS = 2


def merging(rng, load, heir):
    """Freezes the remote all the while that the heir sends; returns how far it was behind."""
    seen = []
    while True:
        arrived = heir.status().get("remote") == "in-step"
        seen.append(load.check_remote())
        if arrived:
            return seen
        time.sleep(rng.uniform(0, 0.2))


def main():
    tap = Tap()
    rng = seeded()
    with Lab("prefix", add=["selftests/lib"]) as lab:
        d = Deployment(lab, smp=2, options={"lanes": 2, "records": 250}, shuffle_ms=15)
        load = Load(d)
        owner, heir = d.a1, d.a2
        with tap.case("a volume that one serves and the other mirrors"):
            d.start()
            load.start(owner)
            load.until(50)
        for distance in (0, 10):
            with tap.case(f"at 12 random moments, the remote {distance} ms away"):
                d.distance(distance)
                behind = []
                for _ in range(12):
                    time.sleep(rng.uniform(0, 0.4))
                    behind.append(load.check_remote())
                print(f"# so many acknowledged writes were not there: {' '.join(map(str, behind))}")
                load.until(1)
        for n in range(1, DEATHS + 1):
            if tap.failed:
                break
            with tap.case(f"death {n}: while {heir.name} sends what {owner.name} had not"):
                # So far that it takes longer to write a few records than to freeze the remote.
                d.distance(30)
                load.until(rng.randrange(10, 50))
                # What the remote gets while the partner does not hear of it, the heir would write
                # again, and the remote would go back.
                d.net.cut(heir.vm)
                time.sleep(1)
                owner.vm.kill()
                load.check_remote()
                d.net.heal(heir.vm)
                heir.until(state="serving", role="owner")
                seen = merging(rng, load, heir)
                load.check_local()
                d.distance(10)
                print(f"# so many acknowledged writes were not there: {' '.join(map(str, seen))}")
                assert max(seen) > 0 and seen[-1] == 0, "the remote was not seen on its way"
                load.start(heir)
                owner.restart()
                heir.until_mirrored()
                owner, heir = heir, owner
        if not tap.failed:
            with tap.case("in the end local unit and remote are equal"):
                load.check_end(owner)
    tap.done()


main()
