# SPDX-License-Identifier: GPL-2.0
"""Rows about what a write costs the host: how long until it is acknowledged, and in all."""

from rows import Scene, Stack, load_row

HOT = "-m 512"
SPREAD = "-m 61440"
# Work behind the host's back is counted for so long after the last acknowledgement.
SETTLE = 300


def family(prefix, title, device, ours=False, settle=SETTLE, only=None):
    """The same questions for each stack. only: those asked, by the end of their names."""
    questions = [
        ("d1", "4 KiB random writes, depth 1", f"{HOT}"),
        ("d16", "4 KiB random writes, depth 16", f"{HOT} -q 16 -n 3000"),
        ("d64", "4 KiB random writes, depth 64", f"{HOT} -q 64 -n 3000"),
        ("fsync", "4 KiB random writes, fdatasync after each", f"{HOT} -f"),
        ("spread", "4 KiB random writes over 60 GB, depth 1", f"{SPREAD} -n 1000"),
        ("seq64k", "64 KiB sequential writes, depth 1", f"{HOT} -s -b 65536 -n 500"),
        ("mixed", "4 KiB random, 70 % reads, depth 16", f"{HOT} -q 16 -r 70 -n 3000"),
    ]
    return [load_row(f"{prefix}/{end}", f"{title}: {what}", options, device, ours, settle)
            for end, what, options in questions if only is None or end in only]


def small(name):
    """pmem is 64 MiB: no room for the usual places."""
    return [load_row(f"pmem/{end}", f"raw pmem: {what}", options, "/dev/pmem0") for end, what, options in (
        ("d1", "4 KiB random writes, depth 1", "-m 60"),
        ("seq64k", "64 KiB sequential writes, depth 1", "-m 60 -s -b 65536 -n 500"))]


def mapped(name):
    return f"/dev/mapper/{name}"


SCENES = [
    Scene("plain", [
        Stack("true", family("null_blk", "null_blk", "/dev/nullb0", settle=0) + small("pmem")),
        Stack("up_linear", family("dm-linear", "dm-linear", mapped("lin"), settle=0),
              mapped("lin"), "down_dm lin"),
        Stack("up_writecache", family("dm-writecache", "dm-writecache on pmem", mapped("wc")),
              mapped("wc"), "down_dm wc"),
        Stack("up_mirror", family("dm-mirror", "dm-mirror", mapped("mir")), mapped("mir"),
              "down_dm mir"),
    ]),
    Scene("drbd-alone", [Stack("up_drbd_alone", family(
        "drbd-alone", "DRBD without a peer", "/dev/drbd0"), "/dev/drbd0")]),
    Scene("drbd-a", [Stack("up_drbd A 50", family(
        "drbd-a", "DRBD A, peer 100 ms away", "/dev/drbd0", settle=3000, only=("d1", "d16", "fsync")),
        "/dev/drbd0", check="in_step_drbd")]),
    Scene("drbd-c", [Stack("up_drbd C", family("drbd-c", "DRBD C", "/dev/drbd0"), "/dev/drbd0", check="in_step_drbd")]),
    Scene("log", [Stack("up_log", family(
        "log", "remote-copy, log only", mapped("rc"), ours=True), mapped("rc"), check="is_serving")]),
    Scene("mirrored", [Stack("up_pair", family(
        "mirrored", "remote-copy, mirrored", mapped("rc"), ours=True), mapped("rc"), check="is_mirrored")]),
]
