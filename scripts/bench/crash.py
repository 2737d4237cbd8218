# SPDX-License-Identifier: GPL-2.0
"""Rows about what comes after a crash: what is sent again, a takeover, a replay."""

from latency import mapped
from machine import TOOLS
from rows import Row, Scene, Stack

RECORD = 4096 + 64
# More places than DRBD's activity log has extents (1237), each in an extent of its own.
FAR = f"{TOOLS}/load -m 61440 -n 1500 -w 0"
FEW = f"{TOOLS}/load -m 61440 -n 64 -w 0 -q 16 -S 7"
# 32 of DRBD's extents.
NEAR = f"{TOOLS}/load -m 128 -n 1500 -w 0"


def ours_again(before):
    """Remote 10 ms away; the machine loses power behind `before`; what is sent when it is back."""
    def measure(machine):
        machine.cut(before)
        machine.sh("up_remote 5; link a1 10.0.0.1 a2 10.0.0.2; start_pair /dev/nvme0n1")
        began, found = machine.said(r"the log is whole: (\d+) records outstanding")
        served, _ = machine.said(r"-> serving: (\d+) records replayed")
        owner = machine.watch("rc", "behind", "0", 2000)
        partner = machine.status("rc2")
        return {"outstanding": int(found.group(1)), "shipped": int(owner["shipped"]),
                "mirrored": int(partner["mirrored"]),
                "resent_to_remote": int(owner["shipped"]) * 4096,
                "resent_to_partner": int(partner["mirrored"]) * RECORD,
                "resent_bytes": int(owner["shipped"]) * 4096 + int(partner["mirrored"]) * RECORD,
                "until_served_ms": (served - began) * 1000,
                "until_in_step_ms": (owner["ended"] / 1e9 - began) * 1000}
    return measure


def drbd_again(before, to_the_end):
    def measure(machine):
        machine.cut(before)
        machine.sh("again_drbd; poll 60 sh -c 'dmesg | grep -q \"Began resync as SyncSource\"'")
        began, found = machine.said(r"Began resync as SyncSource \(will sync (\d+) KB")
        figures = {"resent_bytes": int(found.group(1)) * 1024}
        if to_the_end:
            machine.sh("while grep -q Sync /proc/drbd; do sleep 0.1; done", 300)
            ended, _ = machine.said(r"drbd0: Resync done")
            figures["until_in_step_ms"] = (ended - began) * 1000
        return figures
    return measure


def ours_rows():
    title = "remote-copy, power cut"
    return [
        Row("crash/ours-idle", f"{title} at rest, after 1500 writes over 60 GB", True,
            ours_again(f"{FAR} /dev/mapper/rc; $watch rc behind 0 10000; $watch rc log_records 0 10000")),
        Row("crash/ours", f"{title} at the acknowledgement of 64 writes more", True,
            ours_again(f"{FAR} /dev/mapper/rc; $watch rc behind 0 10000; {FEW} /dev/mapper/rc")),
        Row("crash/ours-near", f"{title} right after 1500 writes in 128 MB", True,
            ours_again(f"{NEAR} /dev/mapper/rc")),
    ]


def drbd_rows():
    title = "DRBD C, power cut"
    return [
        Row("crash/drbd-idle", f"{title} at rest, after 1500 writes over 60 GB", False,
            drbd_again(f"{FAR} /dev/drbd0; sleep 30", False)),
        Row("crash/drbd", f"{title} at the acknowledgement of 64 writes more", False,
            drbd_again(f"{FAR} /dev/drbd0; sleep 30; {FEW} /dev/drbd0", False)),
        Row("crash/drbd-near", f"{title} right after 1500 writes in 128 MB", False,
            drbd_again(f"{NEAR} /dev/drbd0", True)),
    ]


def takeover(mib, full):
    """The owner is cut off and its partner takes over, with a log of so many MiB."""
    fill = f"{TOOLS}/load -m 512 -q 16 -n {mib * 256 * 3 // 4} -w 0 /dev/mapper/rc" if full else ":"
    name = f"takeover/{mib}M{'' if full else '-empty'}"
    script = f"""
        rcopy_options='log_size {mib}M ping_ms 100 ping_misses 2' rcopy_words=6
        up_pair /dev/none
        {fill}
        ip -n a1 link set to_a2 down
        $watch rc2 partner disconnected 10000
        dmsetup message rc2 0 takeover
        $watch rc2 state serving 1000
        dmsetup status rc2"""

    def measure(machine):
        out = machine.sh(script).splitlines()[-1].split()[3:]
        status = dict(zip(out[::2], out[1::2]))
        began, _ = machine.said(r"standby -> taking-over")
        taken, _ = machine.said(r"taking-over -> replaying")
        served, _ = machine.said(r"replaying -> serving: (\d+) records replayed")
        records = int(status["takeover_records"])
        figures = {"records": records, "read_ms": (taken - began) * 1000,
                   "replay_ms": (served - taken) * 1000, "takeover_ms": (served - began) * 1000}
        if records:
            figures["replay_MB_per_s"] = records * 4096 / 1e6 / (served - taken)
        machine.sh("dmsetup remove --force rc; dmsetup remove rc2; ip netns delete a1; ip netns delete a2")
        return figures
    what = "log three quarters full" if full else "empty log"
    return Row(name, f"remote-copy, takeover, {mib} MiB, {what} (1 s = 10^9 instructions)", True, measure)


def drbd_takeover(machine):
    """There is nothing to replay: the peer has written its own disk already. The time is that of
    the command, with the start of the program."""
    out = machine.sh("""
        drbdsetup-84 disconnect 127.0.0.1:7002 127.0.0.1:7001 --force
        sleep 1
        before=$(date +%s%N)
        drbdsetup-84 primary 1
        echo $before $(date +%s%N)""").splitlines()[-1].split()
    return {"records": 0, "takeover_ms": (int(out[1]) - int(out[0])) / 1e6}


# A machine for each crash: what one leaves is no start for another.
SCENES = [
    *(Scene(row.name.replace("/", "-"), [Stack("up_remote 5; up_pair /dev/nvme0n1", [row])]) for row in ours_rows()),
    *(Scene(row.name.replace("/", "-"), [Stack("up_drbd C", [row])]) for row in drbd_rows()),
    Scene("takeover", [Stack("true", [
        takeover(4, True), takeover(16, True), takeover(64, True), takeover(64, False)])]),
    Scene("takeover-drbd", [Stack("up_drbd C", [
        Row("takeover/drbd", "DRBD C, the secondary becomes primary", False, drbd_takeover)])]),
]
