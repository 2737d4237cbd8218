#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""The netlink family, through the kernel's own Python client and the family's specification:
ynl.py <check> [arguments]. Runs in the network namespace that it is about; see netlink.sh for what
must be there. YNL names the client (tools/net/ynl/pyynl), SPEC the specification."""

import errno
import json
import os
import socket
import struct
import subprocess
import sys
import time

sys.path.insert(0, os.environ["YNL"])
from lib import NlError, Netlink, YnlFamily  # noqa: E402

SPEC = os.environ["SPEC"]


def family():
    # The schema was held against the specification when it was built, and takes half a minute here.
    return YnlFamily(SPEC, schema="")


def need(what, why):
    if not what:
        raise SystemExit(f"ynl.py: {why}")


def equal(a, b, what):
    need(a == b, f"{what}: {a!r} is not {b!r}")


def refused(f, op, attrs, code, says="", bad=None, missing=None):
    """The operation fails with this errno, says why, and names the attribute."""
    try:
        f.do(op, attrs)
    except NlError as e:
        ack = e.nl_msg.extack or {}
        got = f"{op} {attrs}: errno {errno.errorcode.get(e.error, e.error)}, {ack}"
        print("refused", got)
        equal(e.error, code, got)
        need(says in ack.get("msg", ""), f"{got}: does not say {says!r}")
        if bad:
            equal(ack.get("bad-attr"), f".{bad}", got)
        if missing:
            equal(ack.get("miss-type"), missing, got)
        return
    raise SystemExit(f"ynl.py: {op} {attrs} was not refused")


def status(volume):
    """dmsetup status, as netlink names it."""
    words = subprocess.run(["dmsetup", "status", volume], capture_output=True, text=True,
                           check=True).stdout.split()[3:]
    out = {}
    for name, value in zip(words[::2], words[1::2]):
        name = name.replace("_", "-")
        if "/" in value:
            value, limit = value.split("/")
            out[name + "-max"] = limit
        out[name] = value
    return out


def same_names(f, volume):
    """What netlink says of a set at rest is what dmsetup status says, name by name."""
    said = status(volume)
    ours = f.do("set-get", {"name": said.pop("set")})
    flat = {**ours, **ours["counters"]}
    for name, value in said.items():
        need(name in flat, f"dmsetup status has {name}, netlink has not: {sorted(flat)}")
        equal(str(flat[name]), value, name)
    need(len(said) > 20, f"only {len(said)} names were compared")
    print("compared", " ".join(sorted(said)))
    return ours


def check_operations(volume):
    f = family()
    info = f.do("info-get", {})
    equal(info["sets"], 1, "sets")
    need(info["format-version"] > 0 and info["protocol-version"] > 0 and info["module-version"], str(info))
    s = same_names(f, volume)
    equal((s["state"], s["role"], s["shipping"], s["remote"]), ("serving", "owner", "running", "in-step"), "set")
    dumped = f.dump("set-get", {})
    equal([d["name"] for d in dumped], ["s1"], "dump of sets")
    need(set(dumped[0]) == set(s), f"the dump says other things: {set(dumped[0]) ^ set(s)}")

    v = f.do("volume-get", {"set": "s1", "member": 0})
    equal((v["set"], v["member"], v["suspended"]), ("s1", 0, 0), "volume")
    equal(v["remote"], "/dev/mapper/rct-remote", "volume")
    equal(f.dump("volume-get", {"set": "s1"}), [v], "dump of volumes")
    r = f.do("link-get", {"set": "s1", "kind": "remote", "member": 0})
    equal((r["state"], r["address"]), ("connected", v["remote"]), "link")
    equal(f.dump("link-get", {}), [r], "dump of links")
    log = f.do("log-get", {"set": "s1"})
    equal((len(log["lane"]), log["records"]), (int(os.environ["LANES"]), 0), "log")
    equal(log["mark-retired"], s["seq-retired"], "log and set")
    stats = f.do("stats-get", {"set": "s1"})
    equal(stats["counters"], s["counters"], "counters")
    need(stats["counters"]["writes"] > 0, "no write was counted")
    for op in "log-get", "stats-get":
        equal(len(f.dump(op, {})), 1, op)

    f.do("set-set", {"name": "s1", "mode": "sync", "ping-ms": 333, "ping-misses": 7})
    s = same_names(f, volume)
    equal((s["mode"], s["ping-ms"], s["ping-misses"]), ("sync", 333, 7), "settings")
    # A suspend and a resume do not undo it: the table was not loaded again.
    subprocess.run(["dmsetup", "suspend", volume], check=True)
    equal(f.do("volume-get", {"set": "s1", "member": 0})["suspended"], 1, "suspended")
    subprocess.run(["dmsetup", "resume", volume], check=True)
    equal(f.do("set-get", {"name": "s1"})["mode"], "sync", "mode after a resume")

    refused(f, "pause", {"name": "s1"}, errno.EBUSY, "force")
    f.do("pause", {"name": "s1", "force": True})
    equal(same_names(f, volume)["shipping"], "paused", "shipping")
    f.do("resume", {"name": "s1"})
    f.do("set-set", {"name": "s1", "mode": "async"})
    f.do("pause", {"name": "s1"})
    refused(f, "set-set", {"name": "s1", "mode": "sync"}, errno.EINVAL, "paused", bad="mode")
    f.do("resume", {"name": "s1"})
    equal(same_names(f, volume)["last-event"]["new"], "running", "last event")


def check_do(op, attrs):
    """One operation, for the shell."""
    print(family().do(op, json.loads(attrs)))


def check_errors(volume):
    f = family()
    named = {"name": "s1"}
    before = f.do("set-get", named)
    for op in "set-get", "set-set", "takeover", "swap", "pause", "resume", "detach", "in-step":
        refused(f, op, {}, errno.EINVAL, "which set", missing="name")
        more = {"mode": "sync"} if op == "set-set" else {}
        refused(f, op, {"name": "nobody", **more}, errno.ENOENT, "no such set", bad="name")
    for op in "log-get", "stats-get":
        refused(f, op, {}, errno.EINVAL, "which set", missing="set")
        refused(f, op, {"set": "nobody"}, errno.ENOENT, bad="set")
    refused(f, "volume-get", {"set": "s1"}, errno.EINVAL, missing="member")
    refused(f, "volume-get", {"set": "s1", "member": 1}, errno.ENOENT, bad="member")
    refused(f, "volume-get", {"set": "s1", "member": 64}, errno.ERANGE, bad="member")
    refused(f, "link-get", {"set": "s1"}, errno.EINVAL, missing="kind")
    refused(f, "link-get", {"set": "s1", "kind": "partner"}, errno.ENOENT, bad="kind")
    refused(f, "link-get", {"set": "s1", "kind": "remote"}, errno.EINVAL, missing="member")
    refused(f, "link-get", {"set": "s1", "kind": "partner", "member": 0}, errno.EINVAL, bad="member")
    try:
        f.dump("volume-get", {"set": "nobody"})
        raise SystemExit("ynl.py: a dump of an unknown set's volumes was not refused")
    except NlError as e:
        equal(e.error, errno.ENOENT, "dump of an unknown set's volumes")

    refused(f, "set-set", named, errno.EINVAL, "no setting")
    for name, low, high in ("ping-ms", 9, 60001), ("ping-misses", 1, 101):
        refused(f, "set-set", {**named, name: low}, errno.ERANGE, bad=name)
        refused(f, "set-set", {**named, name: high}, errno.ERANGE, bad=name)
    refused(f, "set-set", {**named, "mode": 2}, errno.ERANGE, bad="mode")
    refused(f, "set-set", {**named, "takeover": "auto"}, errno.EINVAL, "fencing none", bad="takeover")
    refused(f, "set-set", {**named, "fencing": "reservation"}, errno.EINVAL, bad="fencing")
    refused(f, "set-set", {**named, "partner-lost": "continue"}, errno.EINVAL, "metadata", bad="partner-lost")
    # All or nothing.
    refused(f, "set-set", {**named, "ping-ms": 500, "takeover": "auto"}, errno.EINVAL, bad="takeover")
    equal(f.do("set-get", named)["ping-ms"], before["ping-ms"], "ping-ms after a refusal")
    refused(f, "takeover", named, errno.EBUSY, "takeover: the set is serving")
    refused(f, "swap", named, errno.EBUSY, "swap: ")
    for op in "detach", "in-step":
        refused(f, op, named, errno.EINVAL, "needs force", missing="force")
        refused(f, op, {**named, "force": True}, errno.EBUSY, op.replace("-", "_") + ": ")
    # An attribute that the operation does not know.
    refused(f, "swap", {**named, "force": True}, errno.EINVAL)
    after = f.do("set-get", named)
    for name in "state", "generation", "mode", "takeover", "fencing", "partner-lost", "shipping":
        equal(after[name], before[name], name)


ADMIN = ("set-set", "takeover", "swap", "pause", "resume", "detach", "in-step")


def check_unprivileged():
    """Anybody may look; what changes something needs CAP_NET_ADMIN, and not that of a user namespace."""
    f = family()
    f.do("set-set", {"name": "s1", "ping-ms": 777})
    os.setgroups([])
    os.setuid(65534)
    # Who opened the socket counts as well as who sends.
    f.sock.close()
    f.sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 16)
    for option in Netlink.NETLINK_CAP_ACK, Netlink.NETLINK_EXT_ACK, Netlink.NETLINK_GET_STRICT_CHK:
        f.sock.setsockopt(Netlink.SOL_NETLINK, option, 1)
    equal(f.do("set-get", {"name": "s1"})["state"], "serving", "state")
    for op in ADMIN:
        refused(f, op, {"name": "s1"}, errno.EPERM)
        refused(f, op, {"name": "nobody"}, errno.EPERM)


def check_foreign(stop):
    """Another namespace neither sees nor controls the set, and hears nothing of it."""
    f = family()
    f.ntf_subscribe("events")
    equal(f.do("info-get", {})["sets"], 0, "sets")
    for op in "set-get", "volume-get", "link-get", "log-get", "stats-get":
        equal(f.dump(op, {}), [], op)
    for op in ("set-get",) + ADMIN:
        more = {"mode": "sync"} if op == "set-set" else {}
        refused(f, op, {"name": "s1", **more}, errno.ENOENT, bad="name")
    for op in "log-get", "stats-get":
        refused(f, op, {"set": "s1"}, errno.ENOENT, bad="set")
    print("listening", flush=True)
    until(lambda: os.path.exists(stop), f"{stop} is made")
    equal(f.do("info-get", {})["event-seq"], 0, "events in another namespace")
    heard = list(events(f, quiet=0.5))
    equal(heard, [], "events heard from another namespace")


def events(f, quiet):
    """What is heard, until it is quiet for so many seconds."""
    for ntf in f.poll_ntf(duration=quiet):
        m = ntf["msg"]
        yield {"seq": m["seq"], "set": m["set"], **m["what"]}


def check_events(count):
    """Changes one by one; each is one event, in order, with numbers that leave nothing out."""
    count = int(count)
    f, listener = family(), family()
    listener.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
    listener.ntf_subscribe("events")
    before = f.do("set-get", {"name": "s1"})["event-seq"]
    sent = f.do("info-get", {})["event-seq"]
    value = f.do("set-get", {"name": "s1"})["ping-ms"]
    wanted, heard = [], []
    for n in range(count):
        new = 2000 + n
        f.do("set-set", {"name": "s1", "ping-ms": new})
        wanted.append((f"ping-ms {value}", f"ping-ms {new}"))
        value = new
        if n % 50 == 49:
            heard += events(listener, quiet=0.05)
    heard += events(listener, quiet=1)
    mine = [e for e in heard if e["kind"] == "settings"]
    equal([(e["old"], e["new"]) for e in mine], wanted, "changes, in order")
    equal([e["seq"] for e in heard], list(range(sent + 1, sent + 1 + len(heard))), "numbers of the namespace")
    equal([e["set-seq"] for e in heard], list(range(before + 1, before + 1 + len(heard))), "numbers of the set")
    need(all(a["time"] <= b["time"] for a, b in zip(heard, heard[1:])), "time goes back")
    print(f"{len(mine)} changes, {len(heard)} events, none lost, none out of order")


def check_storm(volume):
    """A log that fills and empties over and over: some events are not sent, and all are accounted for."""
    f, listener = family(), family()
    listener.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
    listener.ntf_subscribe("events")
    before = f.do("set-get", {"name": "s1"})
    rounds, heard = 20, []
    for _ in range(rounds):
        f.do("pause", {"name": "s1"})
        until(lambda: f.do("set-get", {"name": "s1"})["throttled"] == 1, "the log fills")
        f.do("resume", {"name": "s1"})
        until(lambda: f.do("set-get", {"name": "s1"})["throttled"] == 0, "the log empties")
        heard += events(listener, quiet=0.02)
    # Who writes is held up, so that it gets quiet.
    f.do("pause", {"name": "s1"})
    until(lambda: f.do("set-get", {"name": "s1"})["throttled"] == 1, "the log fills")
    heard += events(listener, quiet=4)
    after = f.do("set-get", {"name": "s1"})
    f.do("resume", {"name": "s1"})
    suppressed = after["events-suppressed"] - before["events-suppressed"]
    kinds = {k: sum(e["kind"] == k for e in heard) for k in ("shipping", "log")}
    print(kinds, "suppressed", suppressed)
    equal(kinds["shipping"], 2 * rounds + 1, "what an administrator did")
    need(suppressed > 0, "nothing was suppressed")
    need(kinds["log"] < 2 * rounds, "the storm was sent")
    # Some that the first one accounts for may have happened before this began.
    number = heard[0]["set-seq"] - 1 - heard[0].get("suppressed", 0)
    earlier = before["event-seq"] - number
    need(earlier >= 0, f"{-earlier} events are missing at the beginning")
    for e in heard:
        number += 1 + e.get("suppressed", 0)
        equal(e["set-seq"], number, f"number of {e}")
    equal(number, after["event-seq"], "the last number")
    equal(sum(e.get("suppressed", 0) for e in heard) - earlier, suppressed, "what was not sent is said")
    equal([e["new"] for e in heard if e["kind"] == "log"][-1], "full", "how things stand in the end")


def until(what, why, seconds=30):
    end = time.monotonic() + seconds
    while not what():
        need(time.monotonic() < end, f"waited in vain: {why}")


def check_dumps(seconds):
    """Sets come and go meanwhile; the one that stays is in each dump, once."""
    f = family()
    end = time.monotonic() + float(seconds)
    rounds = others = 0
    while time.monotonic() < end:
        for op, name in (("set-get", "name"), ("volume-get", "set"), ("link-get", "set"),
                         ("log-get", "set"), ("stats-get", "set")):
            names = [d[name] for d in f.dump(op, {})]
            equal(names.count("s1"), 1, f"{op}: {names}")
            equal(len(names), len(set(names)), f"{op}: twice in {names}")
            others += len(names) - 1
        rounds += 1
    need(others > 0, "no other set was ever seen")
    print(f"{rounds} rounds of dumps, {others} sightings of sets that come and go")


def check_open_dump(stop):
    """Leaves a dump open until a file is there."""
    f = family()
    op = f.ops["set-get"]
    request = struct.pack("=BBH", op.req_value, 1, 0)
    header = struct.pack("=IHHII", 16 + len(request), f.nlproto.family_id,
                         Netlink.NLM_F_REQUEST | Netlink.NLM_F_ACK | 0x300, 1, 0)
    f.sock.send(header + request)
    print("open", flush=True)
    until(lambda: os.path.exists(stop), f"{stop} is made")


if __name__ == "__main__":
    globals()["check_" + sys.argv[1]](*sys.argv[2:])
    print("done")
