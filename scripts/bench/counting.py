# SPDX-License-Identifier: GPL-2.0
"""Rows that count instead of timing: stores, fences, flushes, bytes in the log and on the wire."""

import json

import breakdown
from latency import HOT, mapped
from rows import Row, Scene, Stack

# Counting every store is slow, and repeats to the last one.
WARM = 200
# Marks come some time after the writes that they are about: those of all writes count.
SETTLE = 100
DEPTHS = (("d1", "-n 400", "depth 1"), ("d16", "-q 16 -n 1000", "depth 16"))


def sent(machine, namespace, device):
    """Bytes that left a device, with the headers of each packet that a segment is cut into."""
    prefix = f"-n {namespace}" if namespace else ""
    out = machine.sh(f"tc -s -j {prefix} qdisc show dev {device}")
    return json.loads(out.splitlines()[-1])[0]["bytes"]


def counted(machine, options, device, wires=()):
    """One load: the counts for each I/O. wires: name -> (namespace, device)."""
    before = {name: sent(machine, *wire) for name, wire in dict(wires).items()}
    run = machine.load(f"{options} -w {WARM}", device, settle=SETTLE)
    n, window = run["n"], run["window"]
    bytes_written = n * 4096
    figures = {"n": n}
    if any(window.regions[0]):
        stores, stored, streamed = window.regions[0]
        figures |= {"pmem_stores_per_io": stores / n, "log_per_byte": stored / bytes_written,
                    "copies": stored / bytes_written, "streamed": streamed / stores}
    if any(window.regions[1]):
        figures["partner_log_per_byte"] = window.regions[1][1] / bytes_written
    figures |= {"fences_per_io": window.fences / n, "flushes_per_io": window.flushes / n,
                "kernel_stored_per_byte": window.stored / bytes_written}
    names = breakdown.by_function(window.fence_sites, machine.symbols())
    figures["fences_in"] = "; ".join(f"{name} {runs / n:.2f}" for name, runs in
                                     zip(breakdown.readable(list(names)).values(), names.values())
                                     if runs / n >= 0.005)
    for name, wire in dict(wires).items():
        figures[name] = (sent(machine, *wire) - before[name]) / (bytes_written + WARM * 4096)
    return figures


def rows(prefix, title, device, ours, wires=(), depths=DEPTHS, extra=""):
    def row(end, options, what):
        return Row(f"count/{prefix}-{end}", f"{title}: {what}, counted", ours,
                   lambda machine: counted(machine, f"{HOT} {options} {extra}", device, wires))
    return [row(*depth) for depth in depths]


PAIR_WIRES = (("wire_per_byte", ("a1", "to_a2")), ("wire_back_per_byte", ("a2", "to_a1")))
COUNT_WIRE = "for d in 'a1 to_a2' 'a2 to_a1'; do set -- $d; tc -n $1 qdisc add dev $2 root pfifo limit 10000; done"


def pair(prefix, mtu):
    return Stack(f"up_pair /dev/nullb1 {mtu}; {COUNT_WIRE}", rows(
        prefix, f"remote-copy, mirrored, MTU {mtu}", mapped("rc"), True, PAIR_WIRES), mapped("rc"), "down_pair")


SCENES = [
    Scene("count", [
        Stack("up_writecache", rows("writecache-fsync", "dm-writecache, fdatasync after each", mapped("wc"), False,
                                    depths=DEPTHS[:1], extra="-f"), mapped("wc"), "down_dm wc"),
        Stack("up_log", rows("log", "remote-copy, log only", mapped("rc"), True), mapped("rc"), "down_dm rc"),
        pair("mirrored", 9000),
        pair("mirrored-mtu1500", 1500),
    ], {"regions": True}),
    Scene("count-drbd", [Stack("up_drbd C; tc qdisc add dev lo root pfifo limit 10000", rows(
        "drbd-c", "DRBD C, MTU 9000 (both ways on one wire)", "/dev/drbd0", False,
        (("wire_both_per_byte", ("", "lo")),)), "/dev/drbd0")], {"regions": True}),
]
