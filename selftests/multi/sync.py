#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Synchronous mode: at every moment, and when the owner dies, the remote alone has every write
that was acknowledged.

KILLS=<number> of times, SEED=<number> to repeat a run.
"""

import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from deployment import Deployment, Load, seeded
from tap import Tap
from vmlib import Lab

KILLS = min(int(os.environ.get("KILLS") or 2), 4)


def moments(rng, load, count):
    for _ in range(count):
        load.until(rng.randrange(1, 20))
        time.sleep(rng.uniform(0, 0.1))
        load.check_remote(complete=True)


def main():
    tap = Tap()
    rng = seeded()
    with Lab("sync", add=["selftests/lib"]) as lab:
        d = Deployment(lab, mode="sync", smp=2, options={"lanes": 2})
        load = Load(d)
        owner, heir = d.a1, d.a2
        with tap.case("a volume that one serves and the other mirrors"):
            d.start()
            assert owner.status()["mode"] == "sync"
            d.distance(10)
            load.start(owner)
        with tap.case("frozen at 15 random moments, the remote has every acknowledged write"):
            moments(rng, load, 15)
        with tap.case("without the remote no write is acknowledged, and none fails"):
            d.net.cut(d.remote)
            time.sleep(1)
            told = load.total()
            time.sleep(2)
            assert load.total() == told, "a write was acknowledged that cannot be at the remote"
            load.running()
            d.net.heal(d.remote)
            load.until(20)
        for n in range(1, KILLS + 1):
            if tap.failed:
                break
            with tap.case(f"kill {n}: the remote has every acknowledged write when {owner.name} dies"):
                load.until(rng.randrange(20, 100))
                time.sleep(rng.uniform(0, 0.2))
                owner.vm.kill()
                load.check_remote(complete=True)
                heir.until(state="serving", role="owner")
                load.check_local()
                load.start(heir)
                moments(rng, load, 3)
                owner.restart()
                heir.until_mirrored()
                owner, heir = heir, owner
        if not tap.failed:
            with tap.case("in the end local unit and remote are equal"):
                load.check_end(owner)
    tap.done()


main()
