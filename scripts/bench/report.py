# SPDX-License-Identifier: GPL-2.0
"""What a run says: a table, build/bench.json, what changed since the last run, the plots."""

import json
import os

import plot
import ratios
from machine import TOP
from vmlib import kernel_release

JSON = os.path.join(TOP, "build", "bench.json")
# The newest figures of every row ever measured here: what a run is compared with.
LAST = os.path.join(TOP, "build", "bench", "last.json")
SVG = os.path.join(TOP, "build", "bench.svg")

COLUMNS = ("p50", "p99", "max", "mean", "per_io", "total_per_io")
# What else may stand in a row is printed by name.
PLAIN = set(COLUMNS) | {"name", "title", "ours", "error", "n", "p90"}
CHANGE = 0.01
# A tail is a few I/Os that something else met: it says little about a change.
COMPARED = ("p50", "mean", "per_io", "total_per_io")


def number(x):
    if x is None:
        return "-"
    if isinstance(x, float) and abs(x) < 1000:
        return f"{x:,.3f}"
    if isinstance(x, (int, float)):
        return f"{x:,.0f}"
    return str(x)


class Table:
    """Prints rows as they come."""

    def __init__(self, out):
        self.out = out
        self.headed = False

    def row(self, record):
        if not self.headed:
            self.headed = True
            print("\nInstructions; * = remote-copy. per I/O: time of all / I/Os. in all: with work behind "
                  "the host's back.\n", file=self.out)
            print(f"  {'row':24}" + "".join(f"{title:>12}" for title in (
                "p50", "p99", "max", "mean", "per I/O", "in all")), file=self.out)
        mark = "*" if record["ours"] else " "
        if "error" in record:
            print(f"{mark} {record['name']:24}  ERROR: {record['error'].splitlines()[-1]}", file=self.out)
        else:
            line = f"{mark} {record['name']:24}"
            if "p50" in record:
                line += "".join(f"{number(round(record[c]) if c in record else None):>12}" for c in COLUMNS)
            rest = [f"{key} {number(value)}" for key, value in record.items() if key not in PLAIN]
            print(line + ("  " + ", ".join(rest) if rest else ""), file=self.out)
        self.out.flush()


def load(path):
    try:
        with open(path) as f:
            return json.load(f)
    except (OSError, ValueError):
        return {}


def save(path, value):
    with open(path + ".new", "w") as f:
        json.dump(value, f, indent=1)
        f.write("\n")
    os.rename(path + ".new", path)


def print_ratios(answers):
    print("\nRatios (ours / theirs, smaller is better)\n")
    print(f"  {'':5}{'value':>9}{'bar':>8}{'goal':>8}   in all")
    for a in answers:
        if a["value"] is None:
            print(f"  {a['name']:5}{'-':>9}{a['bar']:>8}{a['goal']:>8}   {a['title']}: "
                  f"not measured: {', '.join(a['missing'])}")
            continue
        verdict = "" if a["met"] or a["advisory"] else "  MISSED"
        total = f"{a['total']:.3f}" if a["total"] is not None else ""
        parts = " (" + ", ".join(f"{p:.4g}" for p in a["parts"]) + ")" if len(a["parts"]) > 1 else ""
        print(f"  {a['name']:5}{a['value']:>9.4g}{a['bar']:>8}{a['goal']:>8}   {total:7}{a['title']}{parts}{verdict}")


def print_changes(records, last):
    """What differs from the last run by more than CHANGE."""
    known = [r for r in records if r["name"] in last]
    lines = []
    for record in known:
        old = last[record["name"]]
        if ("error" in record) != ("error" in old):
            lines.append(f"  {record['name']:24} {'fails now' if 'error' in record else 'works now'}")
        for field in COMPARED:
            a, b = old.get(field), record.get(field)
            if a and b is not None and abs(b - a) > CHANGE * a:
                lines.append(f"  {record['name']:24} {field:13} {number(a)} -> {number(b)}  ({(b - a) / a:+.1%})")
    if known:
        print(f"\nChanges of more than {CHANGE:.0%} since the last run ({len(known)} rows compared):")
        print("\n".join(lines) if lines else "  none")
    else:
        print("\nNo earlier run to compare with.")


def finish(records, commit, complete, seconds, scenes):
    """scenes: name -> seconds that it took. Writes everything; says whether every row could be measured."""
    answers = ratios.compute({r["name"]: r for r in records})
    shown = answers if complete else [a for a in answers if a["value"] is not None]
    if shown:
        print_ratios(shown)
    last = load(LAST)
    print_changes(records, last)
    for record in records:
        last[record["name"]] = record
    save(LAST, last)

    by_name = {}
    for a in answers:
        by_name[a["name"]] = a["value"]
        if len(a["parts"]) > 1 and a["value"] is not None:
            by_name[a["name"] + "_parts"] = a["parts"]
        if a["total"] is not None:
            by_name[a["name"] + "_total"] = a["total"]
    result = {"rows": records, "ratios": by_name, "kernel": kernel_release(), "commit": commit,
              "complete": complete, "seconds": round(seconds), "scenes": scenes}
    save(JSON, result)
    plot.write(SVG, records, answers, commit)
    failed = [r["name"] for r in records if "error" in r]
    print(f"\n{len(records)} rows in {seconds:.0f} s; {len(failed)} could not be measured"
          + (": " + ", ".join(failed) if failed else "")
          + f"\n{os.path.relpath(JSON, TOP)}, {os.path.relpath(SVG, TOP)}")
    return not failed
