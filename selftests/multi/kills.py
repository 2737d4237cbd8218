#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""The owner is killed at a random moment under load, again and again; its partner takes over by
itself, goes on under the same load, and the one that died comes back as its standby.

KILLS=<number> of times, SEED=<number> to repeat a run.
"""

import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from deployment import Deployment, Load, seeded
from tap import Tap
from vmlib import Lab

KILLS = int(os.environ.get("KILLS") or 6)


def one_kill(rng, load, owner, heir):
    generation = int(owner.status()["generation"])
    load.until(rng.randrange(20, 400))
    load.check_remote()
    time.sleep(rng.uniform(0, 1))
    load.running()
    owner.vm.kill()
    died = time.monotonic()
    behind = load.check_remote()
    status = heir.until(state="serving", role="owner")
    took = time.monotonic() - died
    assert int(status["generation"]) > generation, status
    load.check_local()
    # The load goes on at once, while the heir still sends what its partner had not.
    load.start(heir)
    load.check_remote()
    print(f"# {owner.name} died after {load.total()} writes, {behind} of them not at the remote; {heir.name} replayed "
          f"{status['replayed']} records and served after {took:.1f} s ({status['takeover_ms']} ms for the takeover)")
    owner.restart()
    heir.until_mirrored()
    status = owner.until(role="standby", state="standby", mirror="complete")
    assert status["generation"] == heir.status()["generation"], status
    load.check_remote()


def main():
    tap = Tap()
    rng = seeded()
    with Lab("kills", add=["selftests/lib"]) as lab:
        d = Deployment(lab, smp=2, options={"lanes": 2, "records": 512})
        load = Load(d)
        owner, heir = d.a1, d.a2
        with tap.case("a volume that one serves and the other mirrors"):
            d.start()
            d.distance(2)
            load.start(owner)
            load.until(100)
        for n in range(1, KILLS + 1):
            with tap.case(f"kill {n}: {owner.name} dies, {heir.name} has everything, {owner.name} comes back"):
                one_kill(rng, load, owner, heir)
            if tap.failed:
                break
            owner, heir = heir, owner
        if not tap.failed:
            with tap.case("in the end local unit and remote are equal"):
                load.check_end(owner)
    tap.done()


main()
