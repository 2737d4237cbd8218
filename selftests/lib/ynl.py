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


def check_call(op, attrs):
    """One operation, for the shell."""
    print(family().do(op, json.loads(attrs)))


def check_gives_up(op):
    """An operation that takes its time, in vain."""
    refused(family(), op, {"name": "s1"}, errno.ETIMEDOUT, f"{op}: the remote does not answer")


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


def raw_set(f, name, ping):
    """A set-set as it goes over the wire."""
    def attr(kind, data):
        return struct.pack("=HH", 4 + len(data), kind) + data + bytes(-len(data) % 4)
    body = struct.pack("=BBH", 3, 1, 0) + attr(1, name.encode() + b"\0") + attr(13, struct.pack("=I", ping))
    return struct.pack("=IHHII", 16 + len(body), f.nlproto.family_id,
                       Netlink.NLM_F_REQUEST | Netlink.NLM_F_ACK, ping, 0) + body


def change_over_and_over(f, name, first, count):
    """Without the client, which takes its time."""
    s = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 16)
    for ping in range(first, first + count):
        s.send(raw_set(f, name, ping))
        code = struct.unpack_from("=i", s.recv(4096), 16)[0]
        if code:
            os._exit(-code)
    os._exit(0)


def check_crowd(count):
    """Several change two sets at once: each change is heard once, and numbers are those of the order."""
    count = int(count)
    f = family()
    equal((f.ops["set-set"].req_value, f.attr_sets["set"]["ping-ms"].value), (3, 13), "numbers of the specification")
    hear = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 16)
    hear.setsockopt(socket.SOL_SOCKET, 33, 64 << 20)    # SO_RCVBUFFORCE
    hear.bind((0, 0))
    group = f.nlproto.get_mcast_id("events", f.mcast_groups)
    hear.setsockopt(Netlink.SOL_NETLINK, Netlink.NETLINK_ADD_MEMBERSHIP, group)
    sent = f.do("info-get", {})["event-seq"]
    before = {name: f.do("set-get", {"name": name})["event-seq"] for name in ("s1", "s2")}
    doers = []
    for n, name in enumerate(("s1", "s2", "s1")):
        pid = os.fork()
        if not pid:
            change_over_and_over(f, name, 1001 + 10000 * n, count)
        doers.append(pid)
    for pid in doers:
        equal(os.waitpid(pid, 0)[1], 0, "who changes")
    heard = []
    hear.settimeout(0.5)
    while True:
        try:
            data = hear.recv(65536)
        except TimeoutError:
            break
        for m in messages(data):
            notice = attributes(m[20:])
            what = attributes(notice[3])
            heard.append((number(notice[1]), notice[2][:-1].decode(), number(what[1]), what[5][:-1].decode()))
    equal(len(heard), 3 * count, "events")
    equal([h[0] for h in heard], list(range(sent + 1, sent + 1 + len(heard))), "numbers of the namespace, in order")
    for name in "s1", "s2":
        mine = [h for h in heard if h[1] == name]
        equal([h[2] for h in mine], list(range(before[name] + 1, before[name] + 1 + len(mine))), f"numbers of {name}")
        news = [int(h[3].split()[1]) for h in mine]
        for n in range(3):
            own = [p for p in news if p // 10000 == n]
            equal(own, sorted(own), "who changes one after the other is told of in that order")
    print(f"{len(heard)} changes of two sets by three at once")


def messages(data):
    while len(data) >= 16:
        size = struct.unpack_from("=I", data)[0]
        yield data[:size]
        data = data[(size + 3) & ~3:]


def attributes(data):
    out = {}
    while len(data) >= 4:
        size, kind = struct.unpack_from("=HH", data)
        out[kind & 0x3fff] = data[4:size]
        data = data[(size + 3) & ~3:]
    return out


def number(data):
    return int.from_bytes(data, sys.byteorder)


INTERRUPTED = 0x10      # NLM_F_DUMP_INTR
DONE = 3


class Dump:
    """A dump that is read piece by piece, in pieces as small as the kernel makes them."""

    def __init__(self, f, op):
        self.s = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 16)
        self.s.settimeout(10)
        self.names, self.pieces, self.interrupted, self.done = [], 0, False, False
        body = struct.pack("=BBH", f.ops[op].req_value, 1, 0)
        self.s.send(struct.pack("=IHHII", 16 + len(body), f.nlproto.family_id, Netlink.NLM_F_REQUEST | 0x300, 1, 0)
                    + body)

    def piece(self):
        self.pieces += 1
        for m in messages(self.s.recv(4096)):
            _, kind, flags = struct.unpack_from("=IHH", m)
            self.interrupted |= bool(flags & INTERRUPTED)
            need(kind != 2, f"an error in the middle of a dump: {m.hex()}")
            self.done |= kind == DONE
            if kind != DONE:
                # A volume and a link are told apart by their member too.
                self.names.append(attributes(m[20:])[1][:-1].decode())

    def rest(self):
        while not self.done:
            self.piece()
        return self


def check_pieces(count, table):
    """A dump of more sets than fit one message; and what it says when they change in the middle of it."""
    f = family()
    names = [f"p{n:02}" for n in range(int(count))]
    # Each has a place of its own on the log's device.
    slots = {name: slot for slot, name in enumerate(names + ["late"])}

    def create(name):
        shell("dmsetup", "create", f"a1-{name}", "--table",
              table.replace("NAME", name).replace("SLOT", str(slots[name])))

    def remove(name):
        shell("dmsetup", "remove", "--retry", f"a1-{name}")

    for name in names:
        create(name)
    for op in "set-get", "volume-get", "link-get", "log-get", "stats-get":
        d = Dump(f, op).rest()
        print(op, d.pieces, "pieces")
        equal(d.names, names, op)
        need(not d.interrupted, f"{op}: interrupted, although nothing has changed")
    need(Dump(f, "set-get").rest().pieces > 2 and Dump(f, "stats-get").rest().pieces > 2, "it fits one message")
    equal([d["name"] for d in f.dump("set-get", {})], names, "through the client")

    # One that was told goes, one that was not told yet goes, and one comes.
    for op in "set-get", "stats-get":
        d = Dump(f, op)
        d.piece()
        # The kernel has made the next piece already.
        need(0 < 2 * len(d.names) < len(names), f"{op}: {d.names} in the first piece")
        told = d.names[0]
        remove(told)
        remove(names[-1])
        create("late")
        d.rest()
        wanted = names[:-1] + ["late"]
        equal(d.names, wanted, f"{op}: each that was there all the time, once")
        need(d.interrupted, f"{op}: sets came and went in the middle, and it does not say so")
        d = Dump(f, op).rest()
        equal(d.names, wanted[1:], f"{op}: afterwards")
        need(not d.interrupted, f"{op}: interrupted, although nothing has changed")
        # As before.
        remove("late")
        create(told)
        create(names[-1])
        names = [n for n in names if n not in (told, names[-1])] + [told, names[-1]]
        equal([d["name"] for d in f.dump("set-get", {})], names, "made anew")
    for name in names:
        remove(name)
    equal(Dump(f, "set-get").rest().names, [], "a dump of nothing")


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


def there(node):
    """A client in the network namespace of a controller."""
    with open(f"/run/netns/{node}") as ns:
        os.setns(ns.fileno(), os.CLONE_NEWNET)
    return family()


class Node:
    """A controller, and what is heard of it."""

    def __init__(self, name):
        self.name, self.volume, self.heard = name, f"{name}-v", []
        self.client, self.listener = there(name), there(name)
        self.listener.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self.listener.ntf_subscribe("events")

    def do(self, op, **attrs):
        return self.client.do(op, {"name": "s1", **attrs})

    def refused(self, op, *args, force=False, **kwargs):
        refused(self.client, op, {"name": "s1", **({"force": True} if force else {})}, *args, **kwargs)

    def set(self):
        return self.do("set-get")

    def waits(self, seconds=40, **wanted):
        def is_so():
            now = self.set()
            return all(now.get(name.replace("_", "-")) == value for name, value in wanted.items())
        until(is_so, f"{self.name} is {wanted}: {self.set()}", seconds)

    def hears(self, *wanted, quiet=0.5):
        """Of the events since this was asked last, these are among them, in order; answers the last."""
        self.heard = list(events(self.listener, quiet))
        for e in self.heard:
            need(e["reason"] and e["time"] > 1e18, f"no reason, no time: {e}")
            need(e.get("seq-first", 0) <= e.get("seq-last", 1 << 64), f"it ends before it begins: {e}")
        return self.has(*wanted) if wanted else self.heard

    def has(self, *wanted):
        """The same of what was heard then."""
        rest = iter(self.heard)
        for want in wanted:
            found = next((e for e in rest if all(e.get(k) == v for k, v in want.items())), None)
            need(found, f"{self.name}: {want} is not among {self.heard}, in order")
        return found


def shell(*words):
    print("+", *words, flush=True)
    subprocess.run(words, check=True)


def check_settings(node):
    """Each setting that can be changed: the value is read back, and told."""
    n = Node(node)
    for name, values in (("mode", ("sync", "async")),
                         ("partner-lost", ("continue", "wait")),
                         ("takeover", ("auto", "manual")),
                         ("fencing", ("none", "external")),
                         ("ping-ms", (10, 60000, 200)),
                         ("ping-misses", (2, 100, 5)),
                         ("records", (16, 1048575))):
        for value in values:
            before = n.set()
            n.do("set-set", **{name: value})
            after = n.set()
            equal(after[name], value, name)
            changed = {k for k in after if after[k] != before.get(k)} - {
                "event-seq", "last-event", "behind-ns", "counters"}
            equal(changed, {name}, "what has changed")
            e = n.hears({"kind": "settings", "old": f"{name} {before.get(name, 1048576)}", "new": f"{name} {value}",
                         "reason": "an administrator asked for it"}, quiet=0.1)
            equal(after["last-event"], {k: v for k, v in e.items() if k not in ("seq", "set")}, "last event")
            link = n.client.do("link-get", {"set": "s1", "kind": "partner"})
            equal(link["patience-ms"], after["ping-ms"] * after["ping-misses"], "patience")
    n.do("set-set", records=1048576)
    need("records" not in n.set(), "there is a limit after it was taken away")
    # What contradicts each other, said of what was named.
    n.do("set-set", takeover="auto")
    refused(n.client, "set-set", {"name": "s1", "fencing": "none"}, errno.EINVAL, "fencing none", bad="fencing")
    n.do("set-set", takeover="manual", fencing="none")
    refused(n.client, "set-set", {"name": "s1", "takeover": "auto"}, errno.EINVAL, "fencing none", bad="takeover")
    n.do("set-set", fencing="external", takeover="auto")
    n.do("set-set", takeover="manual")
    # The same value again is no change.
    n.hears(quiet=0.3)
    n.do("set-set", takeover="manual")
    equal(n.hears(quiet=0.3), [], "events without a change")
    # So does a table that is loaded; what it does not say is as it is without a word.
    n.do("set-set", records=16)
    line = subprocess.run(("dmsetup", "table", n.volume), check=True, capture_output=True, text=True).stdout.strip()
    need(" ping_ms 200" in line, line)
    n.hears(quiet=0.3)
    shell("dmsetup", "load", n.volume, "--table", line.replace(" ping_ms 200", " ping_ms 300"))
    equal(n.hears(quiet=0.3), [], "events of a table that is only loaded")
    shell("dmsetup", "suspend", n.volume)
    shell("dmsetup", "resume", n.volume)
    why = "a table line that was loaded says so"
    n.hears({"kind": "settings", "old": "ping-ms 200", "new": "ping-ms 300", "reason": why},
            {"kind": "settings", "old": "records 16", "new": "records 1048576", "reason": why})
    equal(n.set()["ping-ms"], 300, "ping-ms of a table")
    shell("dmsetup", "suspend", n.volume)
    shell("dmsetup", "resume", n.volume)
    equal(n.hears(quiet=0.3), [], "events of a table that counts already")


def check_pair(local, remote, again):
    """What needs two nodes: a1 is the owner, a2's mirror is complete, both know an ownership record."""
    a1, a2 = Node("a1"), Node("a2")
    s = a2.set()
    equal((s["role"], s["state"], s["partner"], s["mirror"], s["record"]),
          ("standby", "standby", "connected", "complete", "partner"), "the standby")
    for name in "seq-last", "behind", "remote", "reign", "log-records", "throttled":
        need(name not in s, f"a standby does not know {name}: {s}")
    link = a2.client.do("link-get", {"set": "s1", "kind": "partner"})
    equal((link["state"], link["address"], link["listen"], link["patience-ms"]),
          ("connected", "10.99.0.1:7001", "10.99.0.2:7001", 1000), "link to the partner")
    need(link["heard-ms"] <= 1000, f"connected, and silent for longer than it may be: {link}")
    links = a2.client.dump("link-get", {"set": "s1"})
    equal([(k["kind"], k["state"]) for k in links], [("partner", "connected"), ("remote", "disconnected")], "links")

    before = a1.set(), a2.set()
    a2.refused("pause", errno.EBUSY, "pause: this node does not own the set", force=True)
    a2.refused("takeover", errno.EPERM, "takeover refused: the owner is alive and connected")
    a2.refused("swap", errno.EBUSY, "swap: the set is standby")
    a2.refused("detach", errno.EBUSY, "detach: this node does not own the set", force=True)
    a2.refused("in-step", errno.EBUSY, "in_step: the set is standby", force=True)
    a1.refused("takeover", errno.EBUSY, "takeover: the set is serving", force=True)
    a1.refused("detach", errno.EBUSY, "detach: the partner's copy is mirrored, not lost", force=True)
    a1.refused("in-step", errno.EBUSY, "remote is not out of step", force=True)
    a1.refused("swap", errno.EBUSY, "swap: suspend all volumes")
    for n, was in zip((a1, a2), before):
        now = n.set()
        for name in "state", "role", "generation", "mirror", "record-generation", "shipping", "event-seq":
            equal(now.get(name), was.get(name), f"{n.name}: {name} after refusals")
        equal(n.hears(), [], f"{n.name}: events of refusals")

    # There and back again.
    for old, new in (a1, a2), (a2, a1):
        reign = old.set()["generation"]
        shell("dmsetup", "suspend", old.volume)
        old.do("swap")
        new.waits(state="serving", mirror="mirrored")
        old.waits(state="standby", role="standby", mirror="complete")
        shell("dmsetup", "resume", old.volume)
        equal((new.set()["role"], new.set()["generation"]), ("owner", reign + 1), "the new owner")
        old.hears({"kind": "state", "old": "serving", "new": "handing-over", "reason": "an administrator asked for it"},
                  {"kind": "state", "old": "handing-over", "new": "standby"})
        new.hears({"kind": "state", "old": "standby", "new": "taking-over", "reason": "the owner has handed over"},
                  {"kind": "state", "new": "serving"})
        e = new.has({"kind": "mirror", "old": "complete"}, {"kind": "mirror", "new": "mirrored"})
        need("counts for complete" in e["reason"], e)
        equal(e["generation"], reign + 1, "reign of an event")

    # Without the partner.
    shell("dd", "if=/dev/urandom", f"of=/dev/mapper/{a1.volume}", "bs=4k", "count=4", "oflag=direct", "status=none")
    a1.waits(remote="in-step", behind=0, log_records=0)
    shell("ip", "-n", "a1", "link", "set", "veth1", "down")
    a1.waits(mirror="lost", partner="disconnected")
    a1.hears({"kind": "partner", "old": "connected", "new": "disconnected",
              "reason": "the session with the partner has ended"})
    a1.refused("detach", errno.EINVAL, "needs force", missing="force")
    a1.do("detach", force=True)
    s = a1.set()
    equal((s["mirror"], s["record-mirror"]), ("out-of-date", "out-of-date"), "the mirror")
    equal(s["out-of-date-since"], s["seq-acked"] + 1, "since when")
    e = a1.hears({"kind": "mirror", "new": "out-of-date"})
    equal((e.get("seq-first"), e.get("seq-last")), (s["out-of-date-since"], None), "what the mirror misses")
    need("no longer counts for complete" in e["reason"], e)
    shell("dd", "if=/dev/urandom", f"of=/dev/mapper/{a1.volume}", "bs=4k", "count=2", "oflag=direct", "status=none")
    shell("dmsetup", "remove", "--retry", a1.volume)
    e = a1.hears({"kind": "removed", "reason": "its last volume is gone"})
    need("new" not in e, f"a set that is gone is in no state: {e}")
    equal(a1.client.do("info-get", {})["sets"], 0, "sets")

    # By force.
    a2.refused("takeover", errno.EPERM, "mirror is out of date since sequence")
    equal(a2.set()["state"], "standby", "after a refusal")
    a2.do("takeover", force=True)
    a2.waits(state="serving", remote="out-of-step")
    s = a2.set()
    first = s["missing-first"]
    need(first > 0 and "takeover-ms" in s["counters"], str(s))
    equal(a2.client.do("volume-get", {"set": "s1", "member": 0})["missing-first"], first, "of the volume")
    a2.hears({"kind": "state", "old": "standby", "new": "taking-over", "reason": "an administrator forced it"},
             {"kind": "state", "new": "serving"})
    a2.has({"kind": "missing", "new": "out-of-step", "seq-first": s["missing-first"]})
    a2.refused("in-step", errno.EINVAL, "needs force", missing="force")
    a2.refused("in-step", errno.EBUSY, "in_step: suspend all volumes", force=True)
    shell("dmsetup", "suspend", a2.volume)
    shell("dd", f"if={local}", f"of={remote}", "bs=1M", "oflag=direct", "status=none")
    a2.hears()
    a2.do("in-step", force=True)
    shell("dmsetup", "resume", a2.volume)
    s = a2.set()
    need("missing-first" not in s and s["remote"] in ("in-step", "behind"), str(s))
    e = a2.hears({"kind": "missing", "old": "out-of-step", "new": "in-step", "seq-first": first})
    need("administrator" in e["reason"], e)

    # The old owner comes back, stands by, and takes over plainly from one that is gone.
    shell("ip", "-n", "a1", "link", "set", "veth1", "up")
    shell("ip", "netns", "exec", "a1", "dmsetup", "create", a1.volume, "--table", again)
    a2.waits(mirror="mirrored")
    a1.waits(state="standby", mirror="complete")
    shell("dmsetup", "remove", "--retry", a2.volume)
    a1.waits(partner="disconnected")
    a1.hears()
    a1.do("takeover")
    a1.waits(state="serving", role="owner")
    a1.hears({"kind": "state", "old": "standby", "new": "taking-over", "reason": "an administrator asked for it"},
             {"kind": "state", "new": "serving"})


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
