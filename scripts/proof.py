#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""
proof.py <directory> <report.json>

One report of the crash proof. Each layer leaves a JSON file in the directory; what a layer says is
added up, and a layer that has left nothing was not run: its figures are null. Beside the report, the
same as a table: <report>.txt. Exit status: 0 unless something was lost, or nothing was run, or a
planted mistake was not found.
"""

import json
import os
import subprocess
import sys

# What is reported, in which files it may stand, and what it means.
FIGURES = [
    ("crash_images", "worlds", "states of logs and disks after a crash of a small world, all different"),
    ("nested_images", "worlds", "the same after a crash of a recovery"),
    ("damaged_images", "worlds", "logs from which an acknowledged record was taken"),
    ("sim_seeds", "sim", "histories of a simulated deployment"),
    ("kernel_images", "kernel", "logs cut from the stores of the real kernel"),
    ("kill_cycles", "kills", "machines killed and recovered"),
]
LAYERS = ["worlds", "sim", "kernel", "kills", "fuzz"]


def load(directory):
    """What each layer has left: {layer: [contents of a file, ...]}. A layer is what stands before the
    first '-' of a file's name."""
    found = {}
    for name in sorted(os.listdir(directory)) if os.path.isdir(directory) else []:
        if name.endswith(".json"):
            with open(os.path.join(directory, name)) as f:
                found.setdefault(name[: -len(".json")].split("-")[0], []).append(json.load(f))
    return found


def total(files, key):
    """The sum of a figure over a layer's files; None if none of them has it."""
    there = [f[key] for f in files if f.get(key) is not None]
    return sum(there) if there else None


def commit():
    """The commit that was tested, with a mark if the tree differs from it."""
    def git(*words):
        return subprocess.run(["git", *words], capture_output=True, text=True, check=True).stdout

    try:
        return git("rev-parse", "HEAD").strip() + ("-dirty" if git("status", "--porcelain").strip() else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def merge(found):
    """One report of what the layers say."""
    report = {key: total(found.get(layer, []), key) for key, layer, _ in FIGURES}
    fuzz, per_append, planted, by = {}, None, {}, {}
    for layer, files in found.items():
        for f in files:
            fuzz.update(f.get("fuzz") or {})
            per_append = f.get("per_append") or per_append
            if f.get("planted"):
                for name in f["planted"]["of"]:
                    planted.setdefault(name, False)
                for name in f["planted"]["found"]:
                    planted[name] = True
                    by.setdefault(name, []).append(layer)
    everything = [f for files in found.values() for f in files]
    report["fuzz"] = fuzz or None
    report["per_append"] = per_append
    report["planted"] = {"found": sum(planted.values()), "of": len(planted)} if planted else None
    report["planted_found_by"] = by
    report["planted_missed"] = sorted(name for name, hit in planted.items() if not hit)
    crashes = sum(target.get("crashes") or 0 for target in fuzz.values())
    report["lost"] = (total(everything, "lost") or 0) + crashes if everything else None
    report["seconds"] = {layer: total(files, "seconds") for layer, files in found.items()}
    report["not_run"] = [layer for layer in LAYERS if layer not in found]
    report["commit"] = commit()
    return report


def number(n):
    return "not run" if n is None else f"{n:,}"


def table(report):
    """The report for people."""
    seconds = report["seconds"]
    lines = [f"Crash proof of {report['commit'] or 'an unknown commit'}", ""]
    for key, layer, meaning in FIGURES:
        took = seconds.get(layer)
        took = "" if took is None else f"{took:,.0f} s"
        lines.append(f"{key:16} {number(report[key]):>13}  {layer:7} {took:>8}  {meaning}")
    for target, runs in sorted((report["fuzz"] or {}).items()):
        text = f"{runs.get('crashes')} crashes, corpus of {runs.get('corpus')}"
        took = "" if runs.get("seconds") is None else f"{runs['seconds']:,.0f} s"
        lines.append(f"{'fuzz ' + target:16} {number(runs.get('runs')):>13}  {'fuzz':7} {took:>8}  {text}")
    if not report["fuzz"]:
        lines.append(f"{'fuzz':16} {'not run':>13}  fuzz")
    if report["per_append"]:
        each = ", ".join(f"{value} {what}" for what, value in report["per_append"].items())
        lines.append(f"{'per append':16} {each}")
    lines.append("")
    for name, layers in sorted(report["planted_found_by"].items()):
        lines.append(f"planted  {name:24} found by {', '.join(sorted(set(layers)))}")
    lines += [f"planted  {name:24} NOT FOUND" for name in report["planted_missed"]]
    planted = report["planted"]
    lines.append(f"{planted['found']} of {planted['of']} planted mistakes found" if planted else "planted: not run")
    lost = report["lost"]
    if lost is None:
        lines.append("nothing was run")
    else:
        lines.append("nothing was lost" if lost == 0 else f"LOST: {lost} failures")
    if report["not_run"]:
        lines.append(f"not run: {', '.join(report['not_run'])}")
    return "\n".join(lines) + "\n"


def main(argv):
    if len(argv) != 3:
        sys.exit(__doc__.strip())
    directory, path = argv[1:]
    report = merge(load(directory))
    text = table(report)
    with open(path, "w") as f:
        json.dump(report, f, indent=2)
        f.write("\n")
    with open(os.path.splitext(path)[0] + ".txt", "w") as f:
        f.write(text)
    print(text, end="")
    return 0 if report["lost"] == 0 and not report["planted_missed"] else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv))
