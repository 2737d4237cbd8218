# SPDX-License-Identifier: GPL-2.0
"""Rows about distance: the remote is a disk behind NVMe over TCP, so many milliseconds away."""

from latency import mapped
from rows import Row, Scene, Stack, figures_of

# What DRBD A has to hide its distance behind is TCP's send buffer; ours has a log of 64 MiB.
BURST = "-m 512 -q 16 -n 12288 -w 0"


def drained_row(name, title, options, device, drain_limit=200):
    """A load, and then the wait until everything is at the remote, which counts as well."""
    def measure(machine):
        run = machine.load(options, device)
        figures = figures_of(run)
        status = machine.watch("rc", "behind", "0", 20000, drain_limit)
        work = run["window"].instructions + status["window"].instructions
        rest = status["waited"] / 1e6 * machine.idle
        took = status["ended"] - run["began"]
        figures["total_per_io"] = max(work - rest, run["window"].instructions) / run["n"]
        figures["drain_ms"] = status["waited"] / 1e6
        figures["shipped_per_s"] = run["n"] / (took / 1e9)
        return figures
    return Row(name, title, True, measure)


def burst_row(name, title, device, ours):
    def measure(machine):
        return figures_of(machine.load(BURST, device, timeout=400))
    return Row(name, title, ours, measure)


def away(rtt):
    """Asynchronous, the remote rtt milliseconds away (there and back)."""
    what = f"remote-copy, mirrored, remote {rtt} ms away"
    device = mapped("rc")
    # A host that waits for each write makes a chain, which a disk gets one by one.
    rows = [
        drained_row(f"async-{rtt}/d1", f"{what}: 4 KiB random writes, depth 1", "-n 400 -w 20", device),
        drained_row(f"async-{rtt}/d16", f"{what}: 4 KiB random writes, depth 16", "-q 16 -n 2000", device),
    ]
    if rtt in (0, 100):
        rows.append(burst_row(f"async-{rtt}/burst", f"{what}: burst of 48 MB, depth 16", device, True))
    return Scene(f"async-{rtt}", [Stack(f"up_remote {rtt / 2:g}; up_pair /dev/nvme0n1", rows, device,
                                             check="has_room")])


def sync(rtt):
    what = f"remote-copy, synchronous, remote {rtt} ms away"
    device = mapped("rc")
    return Scene(f"sync-{rtt}", [Stack(
        f"up_remote {rtt / 2:g}; rcopy_options='mode sync' rcopy_words=2; up_pair /dev/nvme0n1", [
            drained_row(f"sync-{rtt}/d1", f"{what}: 4 KiB random writes, depth 1", "-n 500", device),
            drained_row(f"sync-{rtt}/d16", f"{what}: 4 KiB random writes, depth 16", "-q 16 -n 2000", device),
        ], device, check="has_room")])


SCENES = [
    *(away(rtt) for rtt in (0, 10, 50, 100)),
    *(sync(rtt) for rtt in (0, 10)),
    Scene("drbd-a-burst", [Stack("up_drbd A 50", [
        burst_row("drbd-a/burst", "DRBD A, peer 100 ms away: burst of 48 MB, depth 16", "/dev/drbd0", False)],
        "/dev/drbd0", check="in_step_drbd")]),
]
