#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""The partner and the remote are lost at random moments, killed or cut off, and come back: no
write fails, those that must wait do, all goes on by itself, nothing is lost or reordered.

SEED=<number> repeats a run.
"""

import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from deployment import Deployment, Load, seeded
from tap import Tap
from vmlib import Lab

ROUNDS = int(os.environ.get("ROUNDS") or 2)


def goes_on(load):
    load.until(100)
    load.check_remote()


def partner_dies(load, d):
    d.a2.vm.kill()
    load.until_waiting()
    status = d.a1.until(mirror="lost", partner="disconnected")
    assert status["state"] == "serving", status
    d.a2.restart()
    d.a1.until_mirrored()
    goes_on(load)


def partner_is_cut_off(load, d):
    d.net.cut(d.a2.vm)
    load.until_waiting()
    d.a1.until(mirror="lost")
    d.net.heal(d.a2.vm)
    d.a1.until_mirrored()
    goes_on(load)


def log_fills(load, d):
    """With the remote gone, writes go on until the log is full."""
    before = int(d.a1.status()["log_full"])
    status = d.a1.until(timeout=120, log_full=lambda n: int(n) > before)
    assert status["state"] == "serving" and status["mirror"] == "mirrored", status
    load.until_waiting()
    status = d.a1.until(remote="lost")
    print(f"# the log is full: {status['log_records']} records, {status['behind']} not at the remote")


def remote_is_cut_off(load, d):
    d.net.cut(d.remote)
    log_fills(load, d)
    d.net.heal(d.remote)
    goes_on(load)


def remote_dies(load, d):
    d.remote.kill()
    log_fills(load, d)
    d.remote.start()
    d.export()
    goes_on(load)


def one_after_the_other(rng, load, d):
    """Several things are lost, overlapping, for random times."""
    dead = []
    for action in rng.sample(["partner", "remote", "cut partner", "cut remote"], k=3):
        load.running()
        if action == "partner" and d.a2.vm.process:
            d.a2.vm.kill()
        elif action == "remote" and d.remote.process:
            d.remote.kill()
        elif action == "cut partner":
            d.net.cut(d.a2.vm)
        elif action == "cut remote":
            d.net.cut(d.remote)
        dead.append(action)
        time.sleep(rng.uniform(0, 2))
    print(f"# lost in this order: {', '.join(dead)}")
    back = [d.a2.vm, d.remote]
    rng.shuffle(back)
    for vm in back:
        d.net.heal(vm)
        time.sleep(rng.uniform(0, 1))
        if vm.process:
            continue
        vm.start()
        if vm is d.remote:
            d.export()
    if "partner" in dead:
        d.a2.join()
    d.a1.until_mirrored()
    goes_on(load)


def main():
    tap = Tap()
    rng = seeded()
    with Lab("trouble", add=["selftests/lib"]) as lab:
        # A lost remote is an error after a second, for those who wait for it.
        d = Deployment(lab, takeover="manual", options={"records": 256},
                       nvme_options="--ctrl-loss-tmo=-1 --reconnect-delay=1 --fast_io_fail_tmo=1 --keep-alive-tmo=3")
        load = Load(d)
        with tap.case("a volume that one serves and the other mirrors"):
            d.start()
            load.start(d.a1)
            load.until(100)
        tests = [("the partner dies: writes wait, and go on when it is back", partner_dies),
                 ("the partner is cut off: writes wait, and go on when it is back", partner_is_cut_off),
                 ("the remote is cut off: writes go on until the log is full, then wait", remote_is_cut_off),
                 ("the remote dies: writes go on until the log is full, then wait", remote_dies)]
        rng.shuffle(tests)
        for name, test in tests:
            with tap.case(name):
                load.until(rng.randrange(1, 100))
                test(load, d)
        for n in range(1, ROUNDS + 1):
            if tap.failed:
                break
            with tap.case(f"several at once, for random times: {n}"):
                load.until(rng.randrange(1, 100))
                one_after_the_other(rng, load, d)
        with tap.case("in the end local unit and remote are equal"):
            load.check_end(d.a1)
            status = d.a1.status()
            assert status["local_errors"] == "0", status
    tap.done()


main()
