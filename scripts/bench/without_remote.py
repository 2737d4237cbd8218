# SPDX-License-Identifier: GPL-2.0
"""Rows without a remote, which are like for like with peers that have none; and many sets."""

from latency import family, mapped
from rows import Row, Scene, Stack, figures_of


def sets(count):
    devices = [mapped(f"rc{i}") for i in range(count)]

    def measure(machine):
        return figures_of(machine.load("-m 512 -n 640 -w 64", *devices, settle=300))
    row = Row(f"sets/{count}", f"remote-copy, log only, {count} sets in turn: 4 KiB random writes, depth 1",
              True, measure)
    return Stack(f"up_sets {count}", [row], devices[0], "down_sets")


SCENES = [
    # The partner does what DRBD's does and the remote does not exist: like for like with DRBD C.
    Scene("mirror-only", [Stack("up_pair /dev/none", family(
        "mirror-only", "remote-copy, mirrored, no remote", mapped("rc"), ours=True, only=("d1", "d16", "d64")),
        mapped("rc"), check="is_mirrored")]),
    # The acknowledgement alone, for its profile.
    Scene("log-only", [Stack("up_log /dev/none", family(
        "log-only", "remote-copy, log only, no remote", mapped("rc"), ours=True, only=("d1", "d16")),
        mapped("rc"), check="is_serving")]),
    Scene("sets", [sets(1), sets(8), sets(64)], {"pmem": (256, 64)}),
]
