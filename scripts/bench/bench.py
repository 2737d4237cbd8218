#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""The benchmark: measures all rows, or those whose names match ITEMS, and writes

    build/bench.json    figures and ratios
    build/bench.svg     the same as plots
    build/bench/*.profile   where instructions went, function by function

Documentation/performance.rst says what is measured and how. Runs inside the private root.
"""

import concurrent.futures
import os
import re
import subprocess
import sys
import threading
import time

import counting
import crash
import latency
import remote
import report
import without_remote
from machine import OUT, TOP, Machine, VmError

SCENES = latency.SCENES + remote.SCENES + without_remote.SCENES + counting.SCENES + crash.SCENES


def measure(row, check, machine):
    """The row's figures, or why there are none."""
    record = {"name": row.name, "title": row.title, "ours": row.ours}
    try:
        figures = row.measure(machine)
        machine.sh(check)
        record |= figures
    except (VmError, ValueError, KeyError, IndexError, OSError) as e:
        record["error"] = str(e).strip()[-500:] or type(e).__name__
    return record


def run_scene(scene, wanted, show):
    """Measures the wanted rows of a scene; yields their records."""
    stacks = [(stack, [row for row in stack.rows if wanted(row)]) for stack in scene.stacks]
    stacks = [(stack, rows) for stack, rows in stacks if rows]
    if not stacks:
        return []
    records = []
    left = [row for _, rows in stacks for row in rows]

    def failed(rows, error):
        # What could not be measured is said with the reason: no silent gaps.
        print(f"bench: {scene.name}: {error}", file=sys.stderr)
        for row in [row for row in rows if row in left]:
            left.remove(row)
            records.append({"name": row.name, "title": row.title, "ours": row.ours,
                            "error": str(error).strip()[-500:]})
            show(records[-1])
    try:
        with Machine(scene.name, **scene.options) as machine:
            for stack, rows in stacks:
                try:
                    machine.up(stack.up)
                    if stack.device:
                        machine.measure_idle(stack.device)
                    for row in rows:
                        records.append(measure(row, stack.check, machine))
                        left.remove(row)
                        show(records[-1])
                    if stack.down:
                        machine.sh(stack.down)
                except VmError as e:
                    failed(rows, e)
    except VmError as e:
        failed(list(left), e)
    return records


def commit():
    def git(*words):
        return subprocess.run(["git", *words], cwd=TOP, capture_output=True, text=True).stdout.strip()
    return os.environ.get("DMRC_COMMIT") or git("describe", "--always", "--dirty", "--abbrev=12") or "unknown"


def main():
    began = time.monotonic()
    items = re.compile(os.environ.get("ITEMS") or ".")
    os.makedirs(OUT, exist_ok=True)
    subprocess.run([os.path.join(TOP, "scripts/bench/tools.sh")], check=True)

    def wanted(row):
        return items.search(row.name)
    table = report.Table(sys.stdout)
    one_at_a_time = threading.Lock()

    def show(record):
        with one_at_a_time:
            table.row(record)

    def timed(scene):
        started = time.monotonic()
        return run_scene(scene, wanted, show), round(time.monotonic() - started)
    # What a machine counts does not depend on what else runs: one for each processor.
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        measured = list(pool.map(timed, SCENES))
    records = [record for some, _ in measured for record in some]
    scenes = {scene.name: seconds for scene, (some, seconds) in zip(SCENES, measured) if some}
    if not records:
        sys.exit(f"bench: no row matches ITEMS={items.pattern}")
    ok = report.finish(records, commit(), complete=items.pattern == ".", seconds=time.monotonic() - began, scenes=scenes)
    return 0 if ok else 1


sys.exit(main())
