# SPDX-License-Identifier: GPL-2.0
"""The ratios that say how good the module is: its figure divided by a peer's, smaller is better."""

import dataclasses


@dataclasses.dataclass
class Ratio:
    """One ratio, or the worst of several pairs.

    pairs: (row, field) over (row, field), or over a plain number."""

    name: str
    title: str
    pairs: list
    bar: float
    goal: float
    # Pairs of instructions in all, background work included.
    total: list = dataclasses.field(default_factory=list)
    # Shown for comparison; no bar was set for it.
    advisory: bool = False


def of(field, *names):
    return [((ours, field), (theirs, field)) for ours, theirs in names]


RATIOS = [
    Ratio("G1", "durable local write / DRBD A, peer 100 ms away",
          of("p50", ("log/d1", "drbd-a/d1")), 0.40, 0.30,
          of("total_per_io", ("log/d1", "drbd-a/d1"))),
    Ratio("G2", "durable local write / dm-writecache + fdatasync",
          of("p50", ("log/d1", "dm-writecache/fsync")), 1.10, 0.85,
          of("total_per_io", ("log/d1", "dm-writecache/fsync"))),
    # Like for like: DRBD C has no third place to copy to. In all: with the shipping.
    Ratio("G3", "mirrored, depth 1 / DRBD C",
          of("p50", ("mirror-only/d1", "drbd-c/d1")), 0.50, 0.40,
          of("total_per_io", ("mirrored/d1", "drbd-c/d1"))),
    Ratio("G3s", "the same while it also ships to a remote 0 ms away",
          of("p50", ("mirrored/d1", "drbd-c/d1")), 0.50, 0.40,
          of("total_per_io", ("mirrored/d1", "drbd-c/d1")), advisory=True),
    Ratio("G4", "mirrored, depth 16 and 64 / DRBD C",
          of("per_io", ("mirror-only/d16", "drbd-c/d16"), ("mirror-only/d64", "drbd-c/d64")), 0.60, 0.50,
          of("total_per_io", ("mirrored/d16", "drbd-c/d16"), ("mirrored/d64", "drbd-c/d64"))),
    Ratio("G4s", "the same while it also ships to a remote 0 ms away",
          of("per_io", ("mirrored/d16", "drbd-c/d16"), ("mirrored/d64", "drbd-c/d64")), 0.60, 0.50,
          of("total_per_io", ("mirrored/d16", "drbd-c/d16"), ("mirrored/d64", "drbd-c/d64")), advisory=True),
    Ratio("G5", "spread over 60 GB / hot",
          of("p50", ("log/spread", "log/d1"), ("mirrored/spread", "mirrored/d1")), 1.05, 1.00),
    Ratio("G6", "p99, remote 100 ms away / 0 ms",
          of("p99", ("async-100/d1", "async-0/d1")), 1.2, 1.0),
    Ratio("G7", "longest stall in a burst of 48 MB, 100 ms away / DRBD A",
          of("max", ("async-100/burst", "drbd-a/burst")), 0.1, 0.001),
    Ratio("G9", "bytes sent again after a crash / DRBD",
          of("resent_bytes", ("crash/ours", "crash/drbd")), 0.001, 0.0),
    Ratio("G10", "bytes in the log, on the wire per byte of the host",
          [(("count/mirrored-d1", "log_per_byte"), 1.0), (("count/mirrored-d1", "wire_per_byte"), 1.0),
           (("count/mirrored-d16", "wire_per_byte"), 1.0)], 1.05, 1.03),
    Ratio("G11", "fences per append; data stored to pmem per byte",
          [(("count/log-d1", "fences_per_io"), 1.0), (("count/log-d16", "fences_per_io"), 1.0),
           (("count/log-d1", "copies"), 1.0)], 1.0, 1.0),
]

# Counting is exact to what happens once in a while in a window, a mark for instance.
SLACK = 0.02


def value(end, records):
    """The figure that one end of a pair names, or None."""
    if not isinstance(end, tuple):
        return end
    return records.get(end[0], {}).get(end[1])


def quotient(pair, records):
    ours, theirs = (value(end, records) for end in pair)
    if ours is None or not theirs:
        return None
    return ours / theirs


def compute(records):
    """For each ratio: its values by name, and why there is none.

    records: name -> record. Returns a list of dictionaries."""
    answers = []
    for ratio in RATIOS:
        parts = [quotient(pair, records) for pair in ratio.pairs]
        answer = {"name": ratio.name, "title": ratio.title, "bar": ratio.bar, "goal": ratio.goal,
                  "parts": parts, "value": None, "total": None, "advisory": ratio.advisory}
        if None not in parts:
            answer["value"] = max(parts)
            answer["met"] = max(parts) <= ratio.bar + (SLACK if ratio.name == "G11" else 0)
        else:
            answer["missing"] = sorted({end[0] for pair in ratio.pairs for end in pair
                                        if isinstance(end, tuple) and value(end, records) is None})
        totals = [quotient(pair, records) for pair in ratio.total]
        if totals and None not in totals:
            answer["total"] = max(totals)
        answers.append(answer)
    return answers
