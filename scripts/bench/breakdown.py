# SPDX-License-Identifier: GPL-2.0
"""Where the instructions of a window went, function by function."""

import bisect
import collections
import os
import subprocess

from machine import OUT, TOP

# Rows of which a profile is written.
PROFILED = {"log/d1", "log/d16", "mirrored/d1", "mirrored/d16", "drbd-c/d1", "drbd-a/d1"}
KERNEL_HALF = 1 << 63


def readable(names):
    """Rust's mangled names, as a person would write them."""
    out = subprocess.run(["c++filt"], input="\n".join(names), capture_output=True, text=True).stdout
    return dict(zip(names, out.split("\n")))


def by_function(blocks, symbols):
    """Instructions of each function: Counter of names. symbols: sorted (address, name)."""
    starts = [address for address, _ in symbols]
    counted = collections.Counter()
    for address, instructions in blocks.items():
        name = "(programs)"
        if address & KERNEL_HALF and starts:
            name = symbols[max(bisect.bisect_right(starts, address) - 1, 0)][1]
        counted[name] += instructions
    return counted


def write(row, window, ios, symbols):
    """Writes build/bench/<row>.profile; instructions per I/O."""
    counted = by_function(window.blocks, symbols)
    names = readable(list(counted))
    total = sum(counted.values())
    path = os.path.join(OUT, row.replace("/", "-") + ".profile")
    with open(path, "w") as f:
        f.write(f"{row}: {total / ios:,.0f} instructions for each I/O, all of them; work behind the\n"
                "host's back and the rest after the last I/O included\n\n")
        for name, instructions in counted.most_common():
            share = instructions / total
            if share < 0.0005:
                break
            f.write(f"{instructions / ios:10.1f} {share:7.2%}  {names[name]}\n")
    return os.path.relpath(path, TOP)
