#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Reads what tracefs shows of events/remote_copy and checks that it makes sense.

    lives.py writes <trace> <async or sync> <accepted> <failed> <stage>...
                                              of each write all these stages, once, in order
    lives.py states <trace> <kernel log>      the same changes of state in both, in the same order

    lives.py histogram <trace> <set>          stats-get has the times that the events have, stage by stage;
                                              YNL and SPEC as for ynl.py

The trace has to come with a clock that never goes back (trace_clock: counter), and nothing may be lost.
"""

import os
import re
import sys
from collections import defaultdict, deque

LINE = re.compile(r"^\s*\S.*?-\d+\s+\[\d+\]\s+\S+\s+\d+: rcopy_(\w+): (.*)$")
FIELD = re.compile(r'(\w+)=("[^"]*"|\S+)')
NUMBERS = {"netns", "member", "sector", "bytes", "seq", "generation", "lane", "position", "ns", "error"}

# Each comes behind these, if the write has them at all. A zero is logged, whatever the host asked for.
BEHIND = {
    "logged": ["accepted"],
    "mirrored": ["logged"],
    "local": ["logged", "mirrored"],
    "completed": ["accepted", "logged", "mirrored", "local"],
    "shipped": ["logged", "mirrored"],
    "retired": ["completed", "shipped"],
}
LOGGED_AS = {"write": "write", "discard": "zero", "write-zeroes": "zero"}


def die(text):
    print(text)
    sys.exit(1)


def events(path):
    """(name, fields) of each event, in order."""
    found = []
    with open(path) as f:
        for line in f:
            count = re.match(r"# entries-in-buffer/entries-written: (\d+)/(\d+)", line)
            if count and count[1] != count[2]:
                die(f"events were lost: {line.strip()}")
            if "LOST" in line:
                die(f"events were lost: {line.strip()}")
            match = LINE.match(line)
            if match:
                fields = {k: int(v) if k in NUMBERS else v.strip('"') for k, v in FIELD.findall(match[2])}
                found.append((match[1], fields))
    return found


class Life:
    """One write of a host, or one record that no host has asked for."""

    def __init__(self, accepted=None):
        self.events = {}
        if accepted:
            self.events["accepted"] = accepted

    def add(self, name, place, e):
        if name in self.events:
            die(f"{name} twice: {e}")
        for before in BEHIND[name]:
            if before in self.events and self.events[before][0] > place:
                die(f"{name} comes before {before}: {e}")
        self.events[name] = (place, e)

    def ns(self, name):
        return self.events[name][1]["ns"]


def lives(path):
    """The writes of hosts, then the cancel records, each as a list."""
    hosts, cancels, by_seq = [], [], {}
    waiting, in_lane = defaultdict(deque), defaultdict(int)
    for place, (name, e) in enumerate(events(path)):
        who = e["set"], e["netns"]
        if name == "state":
            continue
        what = who + (e["member"], e["sector"], e["bytes"], LOGGED_AS.get(e["op"], e["op"]))
        if name == "accepted":
            life = Life((place, e))
            hosts.append(life)
            waiting[what].append(life)
            continue
        if name == "logged":
            if e["op"] == "cancel":
                life = Life()
                cancels.append(life)
            elif waiting[what]:
                # Those that overlap are served in the order in which they came.
                life = waiting[what].popleft()
            else:
                die(f"logged what was never accepted: {e}")
            if who + (e["seq"],) in by_seq:
                die(f"a sequence was given twice: {e}")
            by_seq[who + (e["seq"],)] = life
            # A lane has no hole.
            if e["position"] != in_lane[who + (e["lane"],)]:
                die(f"position {in_lane[who + (e['lane'],)]} of the lane was expected: {e}")
            in_lane[who + (e["lane"],)] += 1
        elif e["seq"] == 0:
            if name != "completed" or not waiting[what]:
                die(f"{name} without a sequence: {e}")
            life = waiting[what].popleft()
        else:
            life = by_seq.get(who + (e["seq"],))
            if not life:
                die(f"{name} of a sequence that was not logged: {e}")
        life.add(name, place, e)
        if name != "logged" and "logged" in life.events:
            logged = life.events["logged"][1]
            for key in ("member", "lane", "position", "sector", "bytes"):
                if logged[key] != e[key]:
                    die(f"{name}: {key} {e[key]}, {logged[key]} when it was logged: {e}")
    seqs = sorted(seq for _, _, seq in by_seq)
    if seqs != list(range(1, len(seqs) + 1)):
        die(f"sequences have holes: {seqs}")
    return hosts, cancels


def writes(args):
    path, mode, accepted, failed, stages = args[0], args[1], int(args[2]), int(args[3]), set(args[4:])
    hosts, cancels = lives(path)
    if len(hosts) != accepted:
        die(f"{len(hosts)} writes were accepted, {accepted} expected")
    bad = 0
    for life in hosts:
        done = life.events.get("completed")
        if not done:
            die(f"never completed: {life.events}")
        if done[1]["error"]:
            bad += 1
            if "shipped" in life.events:
                die(f"failed, and was shipped: {life.events}")
            continue
        if set(life.events) != stages:
            die(f"stages {sorted(life.events)}, expected {sorted(stages)}: {life.events}")
        # What the host waits for is one stage after the other; nothing is counted twice or left out. A
        # clock that jumps between processors would show as 0.
        parts = [life.ns(s) for s in ("logged", "mirrored", "local") if s in stages]
        if min(parts) > 0 and not sum(parts) <= life.ns("completed"):
            die(f"the parts take longer than the whole: {life.events}")
        if mode == "sync":
            if life.events["shipped"][0] > done[0]:
                die(f"completed before it was shipped: {life.events}")
        else:
            # Each is rounded down.
            if min(parts) > 0 and not 0 <= life.ns("completed") - sum(parts) <= len(parts):
                die(f"{parts} do not add up to {life.ns('completed')}: {life.events}")
        if "retired" in stages and not life.ns("completed") <= life.ns("shipped") + life.ns("retired"):
            die(f"retired in less time than it took: {life.events}")
    if bad != failed:
        die(f"{bad} writes failed, {failed} expected")
    if len(cancels) != failed:
        die(f"{len(cancels)} cancel records for {failed} writes that failed")
    print(f"{len(hosts)} writes, {bad} failed; {sum(len(x.events) for x in hosts + cancels)} events")


def states(args):
    said = []
    with open(args[1], errors="replace") as f:
        for line in f:
            m = re.search(r"set (\S+): ([a-z-]+) -> ([a-z-]+): (.*)$", line)
            if m:
                said.append((m[1], m[2], m[3], m[4][:127]))
    seen = [(e["set"], e["old"], e["new"], e["reason"][:127]) for name, e in events(args[0]) if name == "state"]
    for change in seen:
        print(*change[:3], f"({change[3]})")
    if sorted(seen) != sorted(said):
        die(f"the kernel log has {said}")
    if not seen:
        die("nothing changed")
    # Of each node, one state leads to the next.
    now = {}
    for name, e in events(args[0]):
        if name == "state":
            who = e["set"], e["netns"]
            if now.setdefault(who, e["old"]) != e["old"]:
                die(f"was {now[who]}: {e}")
            now[who] = e["new"]


def histogram(args):
    sys.path.insert(0, os.environ["YNL"])
    from lib import YnlFamily
    family = YnlFamily(os.environ["SPEC"], schema="")
    stats = family.do("stats-get", {"set": args[1]})
    if family.dump("stats-get", {}) != [stats]:
        die("the dump says something else")
    hosts, _ = lives(args[0])
    said = {x["stage"]: x for x in stats["latency"]}
    if list(said) != STAGES:
        die(f"stages: {list(said)}")
    for stage, x in said.items():
        # A write that fails was logged and mirrored all the same.
        times = [life.ns(stage) for life in hosts if stage in life.events and
                 (stage in ("logged", "mirrored") or life.events["completed"][1]["error"] == 0)]
        buckets = [0] * 40
        for ns in times:
            buckets[min(max(ns.bit_length() - 1, 5), 39)] += 1
        want = {"stage": stage, "count": len(times), "sum-ns": sum(times), "buckets": buckets}
        if x != want:
            die(f"the events have {want}, the histogram {x}")
        print(f"{stage}: {len(times)} writes, {sum(times)} ns")
    done = sum(1 for life in hosts if life.events["completed"][1]["error"] == 0)
    if said["completed"]["count"] != done:
        die(f"{done} writes were acknowledged: {said['completed']}")


STAGES = ["logged", "mirrored", "local", "completed", "shipped", "retired"]
COMMANDS = {"writes": writes, "states": states, "histogram": histogram}

if __name__ == "__main__":
    if len(sys.argv) < 3 or sys.argv[1] not in COMMANDS:
        die(__doc__)
    COMMANDS[sys.argv[1]](sys.argv[2:])
