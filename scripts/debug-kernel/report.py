#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""
report.py

Adds up what check.py has left in build/debug-check.d: build/debug-check.json, and the same for people in
build/debug-check.txt. A test that has left nothing, or only for another build of kernel or module, was
not run. Exit status: 0 if everything was run and nothing was found, and every mistake that was planted
was.
"""

import glob
import json
import os
import sys

from check import BUILD, ROWS, TOP, tested, what


def load():
    rows = []
    for path in sorted(glob.glob(os.path.join(ROWS, "*.json"))):
        with open(path) as f:
            rows.append(json.load(f))
    return [r for r in rows if r["tested"] == tested()]


def wanted():
    """The tests that there are."""
    tests = glob.glob(os.path.join(TOP, "selftests", "*.sh")) + [os.path.join(TOP, "scripts/debug-kernel/faults.sh")]
    return sorted(os.path.relpath(t, TOP) for t in tests if os.access(t, os.X_OK))


def merge(rows):
    tests = sorted((r for r in rows if "test" in r), key=lambda r: (r["test"], r["part"]))
    plants = [r for r in rows if "planted" in r]
    parts = {}
    for r in tests:
        if not r["only"]:
            parts.setdefault(r["test"], set()).add((r["part"], r["parts"]))
    complete = {t for t, of in parts.items() if of == {(n, len(of)) for n in range(1, len(of) + 1)}}
    faults = {}
    for r in tests:
        for kind, count in r["faults"].items():
            faults[kind] = faults.get(kind, 0) + count
    return {
        "tests": tests,
        "passed": sum(r["passed"] for r in tests),
        "failed": sum(not r["ok"] for r in tests),
        "faults": faults,
        "splats": sum(len(r["splats"]) for r in tests),
        "leaks": sum(r["leaks"] or 0 for r in tests),
        "planted": {what: [name for p in plants for name in p["planted"][what]] for what in ("found", "of")}
        if plants else None,
        "not_run": [t for t in wanted() if t not in complete] + ([] if len(plants) == 2 else ["plants"]),
        "seconds": sum(r["seconds"] for r in rows),
        "commit": os.environ.get("DMRC_COMMIT"),
    }


def table(report):
    lines = [f"A kernel that checks itself, at {report['commit']}", ""]
    for r in report["tests"]:
        faults = "".join(f", {count:,} {kind}" for kind, count in sorted(r["faults"].items()))
        text = f"{r['passed']} passed{faults}" if r["ok"] else "FAILED: " + what(r)
        part = f" {r['part']}/{r['parts']}" if r["parts"] > 1 else ""
        only = f" (only {r['only']})" if r["only"] else ""
        lines.append(f"{r['test'] + part + only:38} {r['seconds']:6,} s  {text}")
    lines += [f"{t:38} {'':8}  not run completely" for t in report["not_run"]]
    lines.append("")
    planted = report["planted"]
    for name in planted["of"] if planted else []:
        lines.append(f"planted  {name:34} {'found' if name in planted['found'] else 'NOT FOUND'}")
    lines.append(f"planted: {len(planted['found'])} of {len(planted['of'])} found" if planted else "planted: not run")
    faults = ", ".join(f"{count:,} {kind}" for kind, count in sorted(report["faults"].items()))
    lines.append(f"faults injected: {faults or 'none'}")
    lines.append(f"{report['passed']} tests passed, {report['failed']} files failed, {report['splats']} splats, "
                 f"{report['leaks']} objects leaked, {report['seconds']:,} s")
    return "\n".join(lines) + "\n"


def main():
    report = merge(load())
    path = os.path.join(BUILD, "debug-check")
    with open(path + ".json", "w") as f:
        json.dump(report, f, indent=2)
        f.write("\n")
    with open(path + ".txt", "w") as f:
        f.write(table(report))
    print("\n" + table(report), end="")
    planted = report["planted"]
    return bool(report["failed"] or report["splats"] or report["leaks"] or report["not_run"] or not planted
                or len(planted["found"]) < len(planted["of"]))


sys.exit(main())
