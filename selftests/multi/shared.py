#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""The local unit is a disk on a network: the way to it, to the partner and to the remote is lost for
one partner or for both, the owner stalls, is fenced, and at last dies. No write fails before it has
to, and nothing is lost.

Who takes over is decided here, as is who is fenced: the module is told, and does neither by itself.
SEED=<number> repeats a run.
"""

import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from deployment import Deployment, Load, seeded
from tap import Tap
from vmlib import Lab, wait_until

# Longer than a partner is believed to live without a word.
STALL_SECONDS = 5


def until_noticed(node, *names):
    wait_until(lambda: all(node.connection(name) == "connecting" for name in names), 60,
               f"{node.name} notices that {' and '.join(names)} do not answer")


def goes_on(load):
    load.until(50)
    load.check_remote()


def owner_loses_storage(load, d):
    d.cut("storage", d.a1)
    load.until_waiting()
    until_noticed(d.a1, "local", "metadata")
    assert (d.a2.connection("local"), d.a1.connection("remote")) == ("live", "live")
    assert d.a1.status()["mirror"] == "mirrored"
    d.heal("storage")
    goes_on(load)


def standby_loses_storage(load, d):
    d.cut("storage", d.a2)
    until_noticed(d.a2, "local", "metadata")
    goes_on(load)
    d.heal()


def partners_lose_each_other(load, d):
    d.cut("partner")
    load.until_waiting()
    d.a1.until(mirror="lost")
    d.a2.until(state="standby", partner="disconnected")
    for node in (d.a1, d.a2):
        node.vm.ok(f"dd if={node.local} of=/dev/null iflag=direct count=1 status=none")
    d.heal()
    d.a1.until_mirrored()
    goes_on(load)


def owner_loses_all(load, d):
    for what in ("partner", "storage", "remote"):
        d.cut(what, d.a1)
    load.until_waiting()
    d.heal()
    d.a1.until_mirrored()
    goes_on(load)


def owner_stalls(load, d):
    d.a1.vm.pause(clock_runs=True)
    time.sleep(STALL_SECONDS)
    d.a2.until(partner="disconnected")
    d.a1.vm.resume()
    d.a1.until_mirrored()
    goes_on(load)


def takes_over(load, heir):
    heir.message("takeover")
    heir.until(state="serving", role="owner")
    load.check_local()
    load.start(heir)
    load.until(50)


def owner_is_fenced(load, d):
    """By the test: what the owner had written when it was cut off reaches the storage too late."""
    for node, key in ((d.a1, 0xa1), (d.a2, 0xa2)):
        assert d.pr(node, "register", key)
    assert d.pr(d.a1, "reserve", 0xa1)
    load.until(20)
    d.cut("storage", d.a1)
    d.cut("partner")
    d.a2.until(partner="disconnected")
    assert d.pr(d.a2, "preempt", 0xa2, 0xa1)
    reservation = d.reservation()
    assert (reservation.type, reservation.holder, reservation.keys) == (3, "a2", {"a2": 0xa2}), reservation
    job = load.abandon()
    takes_over(load, d.a2)
    d.heal()
    result = job.wait()
    assert result.rc == 1, result
    assert not d.pr(d.a1, "reserve", 0xa1)
    load.check_abandoned(d.a1)
    load.check_local()
    d.a1.remake()
    d.a2.until_mirrored()
    goes_on(load)


def owner_dies(load, d):
    """Its registration outlives it, so that it is the same host when it comes back."""
    load.check_remote()
    d.a2.vm.kill()
    reservation = d.reservation()
    assert reservation.holder == "a2", reservation
    d.a1.until(partner="disconnected")
    assert d.pr(d.a1, "register", 0xa1)
    assert d.pr(d.a1, "preempt", 0xa1, 0xa2)
    takes_over(load, d.a1)
    d.a2.restart()
    d.a1.until_mirrored()
    goes_on(load)


def main():
    tap = Tap()
    rng = seeded()
    with Lab("shared", add=["selftests/lib"]) as lab:
        d = Deployment(lab, shared="nvme", takeover="manual")
        load = Load(d)
        with tap.case("a volume that one serves and the other mirrors"):
            d.start()
            d.distance(2)
            load.start(d.a1)
            load.until(100)
        for name, test in (("the owner loses the storage: writes wait, then go on", owner_loses_storage),
                           ("the standby loses the storage: writes go on", standby_loses_storage),
                           ("the partners lose each other alone: writes wait, then go on", partners_lose_each_other),
                           ("the owner loses everybody: writes wait, then go on", owner_loses_all),
                           ("the owner stalls: writes go on when it wakes", owner_stalls),
                           ("the owner is cut off and fenced: it is never told of a write again", owner_is_fenced),
                           ("the new owner dies: the other has everything", owner_dies)):
            if tap.failed:
                break
            with tap.case(name):
                load.until(rng.randrange(1, 100))
                test(load, d)
        if not tap.failed:
            with tap.case("in the end local unit and remote are equal"):
                load.check_end(d.a1)
    tap.done()


main()
