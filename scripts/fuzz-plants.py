#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Makes mistakes in a copy of core's parsers, one at a time, and sees whether fuzzing finds each.

    fuzz-plants.py [regex of names]
    fuzz-plants.py --texts

Runs inside the private root. A mistake is a piece of text that another one replaces; if core has
changed and the piece is not there exactly once, that is an error, not a mistake that was found.
--texts only looks whether they are all there.
"""

import os
import re
import shutil
import subprocess
import sys

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
OUT = os.path.join(TOP, "build/fuzz")
COPY = os.path.join(OUT, "plant/rust")
RUNS = 300000

# Name, target, file of core, what stands there, what is to stand there.
PLANTS = [
    ("table: the number of options is not compared", "table", "table.rs",
     "if decimal(said) != Some(options.len() as u64) {", "if decimal(said).is_none() {"),
    ("table: a number's unit overflows", "table", "table.rs",
     "decimal(digits)?.checked_mul(1u64 << shift)", "decimal(digits).map(|n| n << shift)"),
    ("table: a member beyond the members", "table", "table.rs",
     "if self.member >= self.members {", "if self.member > self.members {"),
    ("log: no end to sequences and positions", "log", "format.rs",
     "n <= limits::MAX_COUNT", "n <= u64::MAX"),
    ("log: data anywhere in a sector", "log", "format.rs",
     "countable(n) && n % u64::from(crate::units::SECTOR_SIZE) == 0", "countable(n)"),
    ("log: an earlier lap speaks", "log", "recover.rs",
     "(h.lane_seq == lane_seq || planted(Plant::StaleLap))", "true"),
    ("log: data is not verified", "log", "recover.rs",
     "if sum != h.data_crc && !planted(Plant::DataUnchecked) {", "if sum == !h.data_crc {"),
    # (Data over live data is no mistake to look for: what it overwrites no longer verifies.)
    ("log: data where the log's order does not put it", "log", "recover.rs",
     "if geometry.place(end.data_pos, h.data_bytes()) != Some(h.data_pos) {",
     "if geometry.place(end.data_pos, h.data_bytes()).is_none() {"),
    ("log: a record of a reign that never was", "log", "recover.rs",
     "if h.generation > newest_reign {", "if h.generation.0 == u32::MAX {"),
    ("log: a sequence that stands twice", "log", "recover.rs",
     "if let Some(seq) = view.seq_at(lane, lane_seq) {",
     "if let Some(seq) = view.seq_at(lane, lane_seq).filter(|s| *s > last) {"),
    ("frames: a record longer than any buffer", "frames", "wire.rs",
     "(heads..=limits::MAX_FRAME_PAYLOAD).contains(&len)", "len >= heads"),
    ("frames: a record that is not the next", "frames", "receiver.rs",
     "|| h.lane_seq != seq\n", "|| h.lane_seq < seq\n"),
    ("frames: a record over one that is not retired", "frames", "receiver.rs",
     "if h.lane_seq.saturating_sub(tail.lane_seq) >= u64::from(self.geometry.lane_records())\n",
     "if h.lane_seq.saturating_sub(tail.lane_seq) > u64::from(self.geometry.lane_records())\n"),
    ("frames: a mark ahead of what is stored", "frames", "receiver.rs",
     "(o.lane_seq..=seq).contains(&n.lane_seq)", "o.lane_seq <= n.lane_seq"),
    ("frames: a lane that the log has not", "frames", "receiver.rs",
     "if h.lane >= self.geometry.lanes()\n            || ", "if "),
    ("frames: complete without a log", "frames", "receiver.rs",
     "self.current().map(|_| ())", "Ok(())"),
    ("frames: a session begins twice", "frames", "receiver.rs",
     "if self.begun {", "if false {"),
    ("ownership: a reign older than the generation", "ownership", "wire.rs",
     "if raw.role == 1 && raw.reign.get() < raw.generation.get() {", "if false {"),
    ("ownership: no end to the limit", "ownership", "ownership.rs",
     "if !counts.into_iter().all(|n| countable(n.get())) {", "if false {"),
    ("ownership: a record is not verified", "ownership", "ownership.rs",
     "if raw.crc.get() != tail_crc(crc, !0, bytes, 16) {", "if false {"),
]


def not_there():
    """The mistakes that cannot be made any more."""
    for name, _, file, old, _ in PLANTS:
        with open(os.path.join(TOP, "rust/core", file)) as f:
            count = f.read().count(old)
        if count != 1:
            yield f"'{name}': {file} has {count} times, not once: {old}"


def plant(file, old, new):
    shutil.rmtree(COPY, ignore_errors=True)
    for part in ("core", "fuzz"):
        shutil.copytree(os.path.join(TOP, "rust", part), os.path.join(COPY, part),
                        ignore=shutil.ignore_patterns("corpus", "target"))
    for name in ("Cargo.toml", "Cargo.lock"):
        shutil.copy(os.path.join(TOP, "rust", name), COPY)
    manifest = os.path.join(COPY, "Cargo.toml")
    with open(manifest) as f:
        text = re.sub(r"members = \[.*?\]", 'members = ["core"]', f.read(), flags=re.S)
    with open(manifest, "w") as f:
        f.write(text)
    path = os.path.join(COPY, "core", file)
    with open(path) as f:
        text = f.read()
    with open(path, "w") as f:
        f.write(text.replace(old, new))


def found(target, log):
    """Whether the target crashes, and what it says."""
    subprocess.run([os.path.join(TOP, "scripts/fuzz.sh"), "build", target], check=True,
                   env=dict(os.environ, FUZZ_CRATE=os.path.join(COPY, "fuzz")))
    fuzzer = os.path.join(OUT, "target/x86_64-unknown-linux-gnu/release", target)
    finds = os.path.join(OUT, "plant", target)
    shutil.rmtree(finds, ignore_errors=True)
    os.makedirs(finds)
    with open(log, "w") as out:
        rc = subprocess.run(
            [fuzzer, "-seed=1", f"-runs={RUNS}", "-max_len=400", "-timeout=5", "-max_total_time=100",
             f"-artifact_prefix={finds}-", finds, os.path.join(TOP, "rust/fuzz/corpus", target)],
            stdin=subprocess.DEVNULL, stdout=out, stderr=out).returncode
    with open(log, errors="replace") as f:
        text = f.read()
    said = re.search(r"panicked at .*\n(.*)", text) or re.search(r"SUMMARY: (.*)", text)
    return rc != 0 and said and said.group(1)


def main():
    missing = list(not_there())
    if missing:
        sys.exit("fuzz-plants: " + "\nfuzz-plants: ".join(missing))
    if sys.argv[1:] == ["--texts"]:
        return 0
    wanted = re.compile(sys.argv[1] if len(sys.argv) > 1 else "")
    missed = 0
    plants = [p for p in PLANTS if wanted.search(p[0])]
    for number, (name, target, file, old, new) in enumerate(plants, 1):
        plant(file, old, new)
        how = found(target, os.path.join(OUT, "plant", f"{number}.log"))
        missed += not how
        print(f"{'ok' if how else 'not ok'} {number} - {name}{': ' + how if how else ' (not found)'}", flush=True)
    print(f"1..{len(plants)}\n# {len(plants) - missed} of {len(plants)} found")
    return missed != 0


sys.exit(main())
