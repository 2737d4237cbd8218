#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Reads and damages a log region, as Documentation/on-media-format.rst draws it.

    logedit.py show <log>
    logedit.py flip <log> super|mark newest|older|both      one bit of each
    logedit.py flip <log> header|data <n>                   of the n-th live record, -1: the last
    logedit.py set <log> header <n> <field> <value>         with a new checksum
    logedit.py version <log> <n>                            in both superblocks
    logedit.py unfinished <log> torn|whole                  as a node leaves it that dies in it, behind it
    logedit.py copy <log> <n> <m>                           n's header over m's
    logedit.py drop <log>                                   the last record of the lane that ends first
    logedit.py old <log>                                    how many records of former laps are there

This is written from the format's description, not from the driver.
"""

import os
import struct
import sys

SLOT = 4096
LANES_AT = 4 * SLOT
HEADER = 64
SUPER = 152
FIELDS = {"seq": (8, "Q"), "lane_seq": (16, "Q"), "data_pos": (24, "Q"), "sector": (32, "Q"),
          "sectors": (40, "I"), "after_delta": (44, "I"), "acked_delta": (48, "I"),
          "generation": (52, "I"), "member": (56, "H"), "op": (58, "B"), "lane": (59, "B")}


def table():
    out = []
    for n in range(256):
        for _ in range(8):
            n = n >> 1 ^ (0x82F63B78 if n & 1 else 0)
        out.append(n)
    return out


TABLE = table()


def crc32c(seed, data):
    for b in data:
        seed = TABLE[(seed ^ b) & 255] ^ seed >> 8
    return seed


class Log:
    def __init__(self, path):
        self.fd = os.open(path, os.O_RDWR | os.O_SYNC)
        supers = [self.super_(i) for i in (0, 1)]
        self.newest_super = max((i for i in (0, 1) if supers[i]), key=lambda i: supers[i]["counter"])
        self.super = supers[self.newest_super]
        self.key = crc32c(0xFFFFFFFF, self.super["uuid"])
        marks = [self.mark_(i) for i in (0, 1)]
        self.newest_mark = max((i for i in (0, 1) if marks[i]),
                               key=lambda i: (marks[i]["generation"], marks[i]["counter"]))
        self.mark = marks[self.newest_mark]
        g = self.super
        self.headers = (g["lane_records"] * HEADER + 4095) // 4096 * 4096

    def read(self, at, n):
        return os.pread(self.fd, n, at)

    def write(self, at, data):
        assert os.pwrite(self.fd, data, at) == len(data)
        os.fsync(self.fd)

    def super_(self, i):
        raw = self.read(i * SLOT, SUPER)
        if raw[:8] != b"rcopylog" or struct.unpack_from("<I", raw, 12)[0] != crc32c(0xFFFFFFFF, raw[16:]):
            return None
        lanes, = struct.unpack_from("<H", raw, 48)
        lane_records, lane_data = struct.unpack_from("<IQ", raw, 52)
        return {"counter": struct.unpack_from("<Q", raw, 16)[0], "uuid": raw[24:40],
                "generation": struct.unpack_from("<I", raw, 40)[0],
                "role": {1: "owner", 2: "standby"}[raw[44]],
                "copy": {1: "complete", 2: "incomplete"}[raw[45]],
                "alone": raw[46], "unfenced": raw[50], "lanes": lanes, "lane_records": lane_records,
                "lane_data": lane_data, "name": raw[64:64 + raw[47]].decode()}

    def mark_(self, i):
        raw = self.read((2 + i) * SLOT, 64 + 24 * 32)
        if raw[:8] != b"rcopymrk" or struct.unpack_from("<I", raw, 12)[0] != crc32c(self.key, raw[16:]):
            return None
        names = ("counter", "generation", "lanes", "retired", "shipped", "acked")
        m = dict(zip(names, struct.unpack_from("<QIIQQQ", raw, 16)))
        m["tails"] = [struct.unpack_from("<QQQ", raw, 64 + 24 * n) for n in range(m["lanes"])]
        return m

    def header_at(self, lane, lane_seq):
        return LANES_AT + lane * self.headers + lane_seq % self.super["lane_records"] * HEADER

    def data_at(self, lane, data_pos):
        g = self.super
        return LANES_AT + g["lanes"] * self.headers + lane * g["lane_data"] + data_pos % g["lane_data"]

    def header(self, at):
        raw = self.read(at, HEADER)
        if struct.unpack_from("<I", raw)[0] != crc32c(self.key, raw[4:]):
            return None
        return {f: struct.unpack_from("<" + t, raw, o)[0] for f, (o, t) in FIELDS.items()}

    def live(self):
        """The records that are not retired, by sequence."""
        found = []
        for lane, (lane_seq, _, _) in enumerate(self.mark["tails"]):
            for n in range(lane_seq, lane_seq + self.super["lane_records"]):
                at = self.header_at(lane, n)
                h = self.header(at)
                if not h or h["lane_seq"] != n or h["lane"] != lane:
                    break
                found.append((h["seq"], at, h))
        return sorted(found, key=lambda f: f[0])

    def old(self):
        n = 0
        for lane, (tail, _, _) in enumerate(self.mark["tails"]):
            for slot in range(self.super["lane_records"]):
                h = self.header(self.header_at(lane, slot))
                n += bool(h and h["lane_seq"] < tail)
        return n


def flip(log, at, why):
    byte = log.read(at, 1)[0]
    log.write(at, bytes([byte ^ 16]))
    print(f"flipped a bit at {at}: {why}")


def main(args):
    command, log = args[0], Log(args[1])
    if command == "show":
        print(log.super)
        print(log.mark)
        for seq, at, h in log.live():
            print(f"{at}: {h}")
    elif command == "flip" and args[2] in ("super", "mark"):
        newest = log.newest_super if args[2] == "super" else log.newest_mark
        slots = {"newest": [newest], "older": [1 - newest], "both": [0, 1]}[args[3]]
        base = 0 if args[2] == "super" else 2
        for s in slots:
            flip(log, (base + s) * SLOT + 40, f"{args[2]} {s}")
    elif command == "flip":
        seq, at, h = log.live()[int(args[3])]
        if args[2] == "header":
            flip(log, at + 33, f"header of sequence {seq}")
        else:
            flip(log, log.data_at(h["lane"], h["data_pos"]) + 300, f"data of sequence {seq}")
    elif command == "set":
        seq, at, _ = log.live()[int(args[3])]
        raw = bytearray(log.read(at, HEADER))
        o, t = FIELDS[args[4]]
        struct.pack_into("<" + t, raw, o, int(args[5]))
        struct.pack_into("<I", raw, 0, crc32c(log.key, raw[4:]))
        log.write(at, raw)
        print(f"sequence {seq}: {args[4]} = {args[5]}")
    elif command == "version":
        for s in (0, 1):
            log.write(s * SLOT + 8, struct.pack("<I", int(args[2])))
    elif command == "unfinished":
        first = bytearray(log.read(SLOT, SUPER))
        struct.pack_into("<Q", first, 16, 1)
        first[46] = 0
        struct.pack_into("<I", first, 12, crc32c(0xFFFFFFFF, first[16:]))
        log.write(0, bytes(2 * SLOT))
        log.write(SLOT, first if args[2] == "whole" else first[:64])
    elif command == "copy":
        live = log.live()
        log.write(live[int(args[3])][1], log.read(live[int(args[2])][1], HEADER))
        print(f"sequence {live[int(args[2])][0]}'s header over {live[int(args[3])][0]}'s")
    elif command == "drop":
        last = {}
        for seq, at, h in log.live():
            last[h["lane"]] = (seq, at)
        if len(last) < 2:
            return 1
        seq, at = min(last.values())
        flip(log, at + 33, f"header of sequence {seq}, its lane's last")
    elif command == "old":
        print(log.old())
    else:
        print(__doc__)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
