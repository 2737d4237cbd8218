#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Dependent writes, and the check that a disk holds a prefix of them.

    chains.py write <device> <from,from,...>    writes until it is stopped
    chains.py show <image> <chains>             what a disk holds, for people

Each chain is a thread that writes to a region of its own, one write at a time: O_DIRECT, of
many lengths, over what it had written before, some with FUA, some zeroing out. Once a write is
acknowledged, `<chain> <number>` goes to the world outside over /dev/virtio-ports/report, and
only then the next one begins. So a chain is a sequence in which each write depends on all
before it.

Chains depend on each other, too: every sector says which writes of the others had been
acknowledged when its own was submitted. A disk that has this one must have those.

Where write n of a chain goes follows from n alone, so whoever reads the disk knows what it
must look like when the last write there is n.
"""

import fcntl
import mmap
import os
import struct
import sys
import threading

MAGIC = b"chained!"
SECTOR = 512
# Sectors of a chain's region: few, so that most writes overlap older ones.
REGION = 256
STRIDE = 4 << 20
LENGTHS = (1, 1, 2, 3, 4, 8, 8, 8, 8, 16, 24, 32)
MAX_CHAINS = 4
HEAD = struct.Struct("<8sHHHHQ4Q")
BLKZEROOUT = 0x127F
RWF_DSYNC = 2
# A report may be lost on its way when its machine dies, so the world outside may be this many
# writes behind what the machine thought it had told.
REPORTS_UNDER_WAY = 4


def mix(chain, number):
    """64 bits that follow from the write (splitmix64)."""
    z = ((chain << 48) + number + 1) * 0x9E3779B97F4A7C15 & (1 << 64) - 1
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & (1 << 64) - 1
    z = (z ^ z >> 27) * 0x94D049BB133111EB & (1 << 64) - 1
    return z ^ z >> 31


def plan(chain, number):
    """First sector in the region, sectors, and whether the write zeroes. No write is in both halves
    of the region: one of them may be slower than the other."""
    bits = mix(chain, number)
    length = LENGTHS[bits % len(LENGTHS)]
    half = REGION // 2
    start = (bits >> 40) % 2 * half + (bits >> 8) % (half - length + 1)
    return start, length, (bits >> 32) % 13 == 0


def sector(chain, number, index, length, depends):
    head = HEAD.pack(MAGIC, chain, index, length, 0, number, *depends)
    fill = mix(chain, number * 64 + index).to_bytes(8, "little")
    return head + fill * ((SECTOR - len(head)) // 8)


# -- writing ------------------------------------------------------------------------------------

class Writer:
    def __init__(self, device, done):
        self.fd = os.open(device, os.O_RDWR | os.O_DIRECT)
        self.report = os.open("/dev/virtio-ports/report", os.O_WRONLY)
        self.done = list(done)

    def run(self):
        threads = [threading.Thread(target=self.chain, args=(c,)) for c in range(len(self.done))]
        for t in threads:
            t.start()
        for t in threads:
            t.join()

    def chain(self, chain):
        buffer = mmap.mmap(-1, max(LENGTHS) * SECTOR)
        try:
            while True:
                self.write(chain, self.done[chain] + 1, buffer)
        except OSError as e:
            os.write(self.report, f"error {chain} {self.done[chain] + 1} {e}\n".encode())
            os._exit(1)

    def write(self, chain, number, buffer):
        depends = (self.done + [0] * MAX_CHAINS)[:MAX_CHAINS]
        start, length, zero = plan(chain, number)
        at = chain * STRIDE + start * SECTOR
        if zero:
            fcntl.ioctl(self.fd, BLKZEROOUT, struct.pack("<QQ", at, length * SECTOR))
        else:
            buffer[:length * SECTOR] = b"".join(
                sector(chain, number, i, length, depends) for i in range(length))
            with memoryview(buffer)[:length * SECTOR] as data:
                written = os.pwritev(self.fd, [data], at, RWF_DSYNC if number % 5 == 0 else 0)
            if written != length * SECTOR:
                raise OSError(f"{written} bytes of {length * SECTOR} were written")
        self.done[chain] = number
        os.write(self.report, f"{chain} {number}\n".encode())


# -- checking -----------------------------------------------------------------------------------

class NotAPrefix(Exception):
    """The disk holds what no crash of a correct volume leaves behind."""


class State:
    """What a disk holds of one chain: `low` to `high` is the last write. (More than one number:
    zeroing what is zero already cannot be seen.)"""

    def __init__(self, low, high, depends):
        self.low = low
        self.high = high
        self.depends = depends

    def __repr__(self):
        return str(self.low) if self.low == self.high else f"{self.low}..{self.high}"


def parse(data, chain, where):
    """(number, dependencies) of a sector; (0, None) if it is zero."""
    if not any(data):
        return 0, None
    magic, of, index, length, _, number, *depends = HEAD.unpack_from(data)
    if magic != MAGIC or of != chain or data != sector(chain, number, index, length, depends):
        raise NotAPrefix(f"chain {chain}: sector {where} is damaged: {data[:64].hex()}")
    start, planned, zero = plan(chain, number)
    if zero or planned != length or start + index != where:
        raise NotAPrefix(f"chain {chain}: sector {where} holds sector {index} of write {number}, which belongs elsewhere")
    return number, depends


def expected(chain, last):
    """The number of the write that each sector of the region holds after write `last`; 0: zero."""
    held = [None] * REGION
    missing = REGION
    for number in range(last, 0, -1):
        start, length, zero = plan(chain, number)
        for i in range(start, start + length):
            if held[i] is None:
                held[i] = 0 if zero else number
                missing -= 1
        if not missing:
            break
    return [n or 0 for n in held]


def examine_chain(image, chain):
    image.seek(chain * STRIDE)
    data = image.read(REGION * SECTOR)
    sectors = [parse(data[i * SECTOR:(i + 1) * SECTOR], chain, i) for i in range(REGION)]
    held = [number for number, _ in sectors]
    newest = max(held)
    depends = next((d for n, d in sectors if n and n == newest), None) or [0] * MAX_CHAINS
    # The last writes may have zeroed, which leaves no number.
    matching = [n for n in range(newest, newest + 12) if expected(chain, n) == held]
    if not matching:
        wanted = expected(chain, newest)
        at = next(i for i in range(REGION) if wanted[i] != held[i])
        raise NotAPrefix(f"chain {chain} holds write {newest}, but in its sector {at} is write {held[at]} "
                         f"instead of {wanted[at]}")
    return State(matching[0], matching[-1], depends)


def examine(path, chains):
    """The state of every chain on a disk.

    Raises NotAPrefix if a chain has a write without one that came before it, or if any chain has
    a write without those of the others that it depends on."""
    with open(path, "rb") as image:
        states = [examine_chain(image, c) for c in range(chains)]
    for chain, state in enumerate(states):
        for other, needed in enumerate(state.depends[:chains]):
            if other != chain and states[other].high < needed:
                raise NotAPrefix(f"chain {chain} holds a write that was submitted when write {needed} of chain "
                                 f"{other} had been acknowledged, but of that chain only {states[other]} is there")
    return states


def main():
    verb, path, argument = sys.argv[1:]
    if verb == "write":
        Writer(path, map(int, argument.split(","))).run()
    else:
        print(examine(path, int(argument)))


if __name__ == "__main__":
    main()
