#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Prints the tables of Documentation/performance.rst from build/bench.json and the profiles.

    scripts/bench/figures.py            all of them
    scripts/bench/figures.py --write    puts them where they belong in the page
"""

import json
import os
import re
import sys

import ratios

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PAGE = os.path.join(TOP, "Documentation", "performance.rst")
# What is between these two comments in the page is written by this program.
BEGIN, END = ".. figures: begin\n", ".. figures: end\n"

with open(os.path.join(TOP, "build", "bench.json")) as f:
    RUN = json.load(f)
ROWS = {row["name"]: row for row in RUN["rows"]}


def number(x, digits=4):
    if x is None or x == "":
        return "\\"
    if isinstance(x, str):
        return x
    if abs(x) >= 1000 or x == int(x):
        return f"{x:,.0f}"
    return f"{x:.{digits}g}"


def table(title, head, lines):
    """A simple table; empty cells are written so that they stay."""
    lines = [[number(cell) for cell in line] for line in lines]
    lines = [line for line in lines if any(cell != "\\" for cell in line[1:])]
    widths = [max(len(line[i]) for line in [head, *lines]) for i in range(len(head))]
    rule = "  ".join("=" * width for width in widths)

    def text(line):
        cells = [cell.ljust(width) if i == 0 else cell.rjust(width)
                 for i, (cell, width) in enumerate(zip(line, widths))]
        return "  ".join(cells).rstrip()
    yield from [title, "-" * len(title), "", rule, text(head), rule, *map(text, lines), rule, ""]


def cell(name, field):
    return ROWS.get(name, {}).get(field)


def ratio_lines():
    for answer in ratios.compute(ROWS):
        parts = answer["parts"]
        verdict = "" if answer["value"] is None or answer.get("advisory") else (
            "met" if answer["met"] else "**MISSED**")
        yield [answer["name"], answer["value"], answer["bar"] if verdict else "",
               answer["goal"] if verdict else "", verdict, answer["total"],
               ", ".join(number(part) for part in parts) if len(parts) > 1 else ""]


STACKS = ("null_blk", "pmem", "dm-linear", "dm-mirror", "dm-writecache", "drbd-alone", "drbd-a", "drbd-c", "log-only",
          "log", "mirror-only", "mirrored", "async-0", "async-10", "async-50", "async-100", "sync-0", "sync-10")


def depth_one():
    for stack in STACKS:
        yield [f"``{stack}``", *(cell(f"{stack}/d1", field) for field in ("p50", "p99", "mean", "total_per_io")),
               cell(f"{stack}/fsync", "p50"), cell(f"{stack}/spread", "p50")]


def deeper():
    for stack in STACKS:
        line = [f"``{stack}``"]
        for end in ("d16", "d64", "mixed", "seq64k"):
            each, total = (cell(f"{stack}/{end}", field) for field in ("per_io", "total_per_io"))
            line.append("" if each is None else f"{number(each)} ({number(total)})")
        yield line


def distance():
    for rtt in (0, 10, 50, 100):
        one, many = f"async-{rtt}/d1", f"async-{rtt}/d16"
        yield [f"{rtt} ms", *(cell(one, field) for field in ("p50", "p99", "shipped_per_s")),
               *(cell(many, field) for field in ("per_io", "p99", "shipped_per_s"))]


def named(names, fields):
    return [[f"``{name}``", *(cell(name, field) for field in fields)] for name in names]


def starting(prefix):
    return [name for name in ROWS if name.startswith(prefix)]


PROFILES = ("mirror-only-d1", "drbd-c-d1", "mirror-only-d16", "drbd-c-d16")
CALLS = ("__schedule", "tcp_sendmsg", "tcp_recvmsg", "__tcp_transmit_skb", "memcpy_orig")


def profile(name):
    """(parts: name -> instructions, functions: name -> (instructions, calls), sum) of a profile."""
    parts, functions, total = {}, {}, None
    with open(os.path.join(TOP, "build", "bench", f"{name}.profile")) as f:
        for line in f:
            found = re.match(r"\S+: ([\d,]+) instructions", line)
            if found:
                total = float(found.group(1).replace(",", ""))
            found = re.match(r" *([\d.]+) +[\d.]+% +(.+)", line)
            if not found:
                continue
            calls = re.match(r"([\d.]+) +(.+)", found.group(2))
            if calls:
                functions[calls.group(2).strip()] = float(found.group(1)), float(calls.group(1))
            else:
                parts[found.group(2).strip()] = float(found.group(1))
    return parts, functions, total


def breakdown():
    found = [profile(name) for name in PROFILES]
    names = sorted({part for parts, _, _ in found for part in parts},
                   key=lambda part: -max(parts.get(part, 0) for parts, _, _ in found))
    for name in names:
        yield [name, *(round(parts[name]) if name in parts else "" for parts, _, _ in found)]
    yield ["**sum**", *(total for _, _, total in found)]
    for name in CALLS:
        yield [f"calls of ``{name}``", *(f"{functions.get(name, (0, 0))[1]:.2f}" for _, functions, _ in found)]


def own(name):
    _, functions, _ = profile(name)
    ours = [(cost, calls, f) for f, (cost, calls) in functions.items()
            if re.search(r"kapi|driver_crate|core_crate|^crc32c|memcpy_flushcache", f)]
    for cost, calls, function in sorted(ours, reverse=True):
        if cost >= 20:
            yield [f"``{function}``", f"{cost:.0f}", f"{calls:.2f}"]


def whole(name, least):
    """Every function of at least so many instructions, the kernel's too."""
    _, functions, total = profile(name)
    left = total
    for function, (cost, calls) in sorted(functions.items(), key=lambda item: -item[1][0]):
        if cost >= least:
            left -= cost
            yield [f"``{function}``", f"{cost:.0f}", f"{calls:.2f}"]
    yield [f"all others, less than {least} each", f"{left:.0f}", ""]
    yield ["**sum**", f"{total:.0f}", ""]


def everything():
    yield f"Kernel {RUN['kernel']}, module {RUN['commit']}; {len(ROWS)} rows in {RUN['seconds']} s."
    yield ""
    yield from table("Ratios", ["", "value", "bar", "goal", "", "in all", "parts"], ratio_lines())
    yield from table("A write of 4 KiB at depth 1",
                     ["stack", "p50", "p99", "mean", "in all", "fsync p50", "spread p50"], depth_one())
    yield from table("Deeper, larger, mixed: time per I/O (in all)", ["stack", "d16", "d64", "mixed", "seq64k"], deeper())
    yield from table("Distance", ["remote", "d1 p50", "d1 p99", "d1 shipped/s", "d16 per I/O", "d16 p99",
                                  "d16 shipped/s"], distance())
    yield from table("A burst of 48 MB", ["row", "p50", "p99", "longest", "per I/O"], named(
        ("async-0/burst", "async-100/burst", "drbd-a/burst"), ("p50", "p99", "max", "per_io")))
    yield from table("Counted", ["row", "pmem stores", "log/byte", "fences", "flushes", "stored/byte", "wire/byte",
                                 "back/byte"], named(starting("count/"), (
                                     "pmem_stores_per_io", "log_per_byte", "fences_per_io", "flushes_per_io",
                                     "kernel_stored_per_byte", "wire_per_byte", "wire_back_per_byte")))
    yield from table("Crashes", ["row", "outstanding", "to remote", "to partner", "bytes again", "served, ms",
                                 "in step, ms"], named(starting("crash/"), (
                                     "outstanding", "resent_to_remote", "resent_to_partner", "resent_bytes",
                                     "until_served_ms", "until_in_step_ms")))
    yield from table("Takeovers", ["row", "records", "log read, ms", "replayed, ms", "in all, ms", "replay, MB/s"],
                     named(starting("takeover/"), ("records", "read_ms", "replay_ms", "takeover_ms",
                                                   "replay_MB_per_s")))
    yield from table("Many sets", ["row", "p50", "p99", "mean", "in all"],
                     named(starting("sets/"), ("p50", "p99", "mean", "total_per_io")))
    yield from table("Where the instructions of one write go, both ends, no remote",
                     ["part", *(f"``{name}``" for name in PROFILES)], breakdown())
    yield from table("Of the acknowledgement without partner and remote, what is ours",
                     ["function", "instructions", "calls"], own("log-only-d1"))
    yield from table("The same write, all of it: the program, the kernel, remote-copy, the null device",
                     ["function", "instructions", "calls"], whole("log-only-d1", 40))


def main():
    text = "\n".join(everything())
    if sys.argv[1:] != ["--write"]:
        print(text)
        return
    with open(PAGE) as f:
        page = f.read()
    before, rest = page.split(BEGIN)
    after = rest.split(END)[1]
    with open(PAGE, "w") as f:
        f.write(f"{before}{BEGIN}\n{text}\n{END}{after}")


main()
