#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Malformed messages to the netlink family: nlfuzz.py <messages> [seed] [seconds]

Well-formed requests of every operation are mutated (bits, lengths, types, nests, tails, flags, commands)
and sent raw. Whatever comes back must be an answer: data, the end of a dump, or an errno that a parser
or an operation may give. The family must answer an honest request afterwards.

It is as root that they are sent, so operations do happen; those that would end the test (a takeover by
force has nothing to take over) are harmless to a set without a partner."""

import collections
import errno
import random
import socket
import struct
import sys
import time

GENERIC = 16
REQUEST, ACK, DUMP = 1, 4, 0x300
ERROR, DONE = 2, 3
GETFAMILY = 3

# Of a parser, of a policy, of an operation that is refused.
ALLOWED = {0} | {getattr(errno, name) for name in (
    "EINVAL", "ERANGE", "ENOENT", "EOPNOTSUPP", "EPERM", "EBUSY", "ENOMSG", "EMSGSIZE", "ENODATA")}

# As in the specification.
COMMANDS = 13
SET_SET, VOLUME_GET, LINK_GET = 3, 10, 11
DUMPS = (2, 10, 11, 12, 13)
SETTINGS = (9, 10, 11, 12, 13, 14, 45)
FORCE = 44
ATTRIBUTES = 48		# a few more than there are


def attr(kind, data):
    pad = -len(data) % 4
    return struct.pack("=HH", 4 + len(data), kind) + data + b"\0" * pad


def attributes(data):
    out = {}
    while len(data) >= 4:
        size, kind = struct.unpack_from("=HH", data)
        if size < 4:
            break
        out[kind & 0x3fff] = data[4:size]
        data = data[(size + 3) & ~3:]
    return out


def message(family, cmd, body, flags, seq, version=1):
    return struct.pack("=IHHII", 20 + len(body), family, flags, seq, 0) + \
        struct.pack("=BBH", cmd, version, 0) + body


def resolve(s, name):
    s.send(message(GENERIC, GETFAMILY, attr(2, name.encode() + b"\0"), REQUEST, 1))
    answer = s.recv(65536)
    kind = struct.unpack_from("=H", answer, 4)[0]
    if kind == ERROR:
        sys.exit(f"nlfuzz: there is no family {name}")
    return struct.unpack("=H", attributes(answer[20:])[1])[0]


def number(rng):
    return struct.pack("=I", rng.choice([0, 0, 1, 1, 2, 5, 63, 64, 1000, 1 << 31, (1 << 32) - 1]))


def honest(rng):
    """A request that somebody might send: a command, attributes, and whether it is for a dump."""
    cmd = rng.randrange(1, COMMANDS + 1)
    body = b"" if cmd == 1 else attr(1, rng.choice([b"s1"] * 6 + [b"nobody", b"x" * 63]) + b"\0")
    if cmd == SET_SET:
        for kind in rng.sample(SETTINGS, rng.randrange(1, 4)):
            body += attr(kind, number(rng))
    if cmd in (VOLUME_GET, LINK_GET):
        for kind in range(2, 4 if cmd == LINK_GET else 3):
            body += attr(kind, number(rng))
    if rng.random() < .1:
        body += attr(rng.randrange(1, ATTRIBUTES), number(rng))
    if rng.random() < .2 and cmd < VOLUME_GET:
        body += attr(FORCE, b"")
    if cmd in DUMPS and rng.random() < .4:
        return cmd, body if cmd in (VOLUME_GET, LINK_GET) else b"", True
    return cmd, body, rng.random() < .02


def mutate(rng, cmd, body):
    data = bytearray(body)
    for _ in range(rng.choice([0, 0, 1, 1, 2, 5])):
        way = rng.randrange(8)
        if way == 0 and data:
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        elif way == 1 and len(data) >= 4:
            # An attribute's length: the place where parsers break.
            at = rng.randrange(0, len(data) - 3, 4)
            struct.pack_into("=H", data, at, rng.choice([0, 1, 3, 4, 5, 8, 0x7fff, 0x8000, 0xffff]))
        elif way == 2 and len(data) >= 4:
            at = rng.randrange(0, len(data) - 3, 4)
            struct.pack_into("=H", data, at + 2, rng.choice([0, 1, 44, 45, 0x8001, 0x4001, 0xffff]))
        elif way == 3:
            del data[rng.randrange(len(data) + 1):]
        elif way == 4:
            data += rng.randbytes(rng.randrange(64))
        elif way == 5:
            data = bytearray(attr(rng.randrange(1, ATTRIBUTES) | 0x8000, bytes(data)))
        elif way == 6:
            data += data[:256]
        else:
            data += attr(1, rng.randbytes(rng.randrange(80)))
    if rng.random() < .05:
        cmd = rng.randrange(256)
    return cmd, bytes(data[:16384])


def main():
    count = int(sys.argv[1])
    seed = int(sys.argv[2]) if len(sys.argv) > 2 and sys.argv[2] else random.SystemRandom().randrange(1 << 32)
    until = time.monotonic() + float(sys.argv[3]) if len(sys.argv) > 3 else None
    print(f"seed {seed}")
    rng = random.Random(seed)
    s = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, GENERIC)
    s.settimeout(20)
    family = resolve(s, "remote-copy")
    tally = collections.Counter()
    answers = 0
    for n in range(count):
        if until and time.monotonic() > until:
            sys.exit(f"nlfuzz: only {n} of {count} messages in time")
        cmd, body, dump = honest(rng)
        cmd, body = mutate(rng, cmd, body)
        flags = REQUEST | ACK | (DUMP if dump else 0)
        if rng.random() < .05:
            flags |= rng.randrange(1 << 16) & ~DUMP
        if rng.random() < .02:
            flags = REQUEST | ACK | (DUMP if dump else 0)
            raw = bytearray(message(family, cmd, body, flags, n))
            struct.pack_into("=H", raw, 18, rng.randrange(1 << 16))
            raw = bytes(raw)
        else:
            raw = message(family, cmd, body, flags, n, rng.choice([0, 1, 1, 1, 2, 255]))
        s.send(raw)
        while True:
            try:
                answer = s.recv(65536)
            except TimeoutError:
                sys.exit(f"nlfuzz: seed {seed}: no answer to message {n}: {raw.hex()}")
            answers += 1
            end = False
            while len(answer) >= 16:
                size, kind = struct.unpack_from("=IH", answer)
                seq = struct.unpack_from("=I", answer, 8)[0]
                if seq == n and kind in (ERROR, DONE):
                    code = -struct.unpack_from("=i", answer, 16)[0] if size >= 20 else 0
                    tally[code] += 1
                    end = True
                    if code not in ALLOWED:
                        sys.exit(f"nlfuzz: seed {seed}: message {n}: errno "
                                 f"{errno.errorcode.get(code, code)}: {raw.hex()}")
                answer = answer[(size + 3) & ~3:] if size >= 16 else b""
            if end:
                break
    s.send(message(family, 1, b"", REQUEST, count))
    sets = attributes(s.recv(65536)[20:])[4]
    print(f"{count} messages, {answers} answers; sets {struct.unpack('=I', sets)[0]};",
          ", ".join(f"{errno.errorcode.get(c, 'OK')} {n}" for c, n in tally.most_common()))
    # Otherwise it would be the family's first check alone that is tried.
    if tally[0] < count // 10 or not {errno.EINVAL, errno.ERANGE, errno.ENOENT, errno.EBUSY} <= set(tally):
        sys.exit("nlfuzz: these messages do not reach the operations")


main()
