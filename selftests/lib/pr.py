#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Persistent reservations by the kernel's ioctls, the same for SCSI and NVMe.

    pr.py register <device> <key> [<key so far>]
    pr.py reserve|release <device> <key> [<type>]
    pr.py preempt|preempt-abort <device> <own key> <the other's key> [<type>]
    pr.py clear <device> <key>
    pr.py show <device>         generation 2 type 3 holder 0xb keys 0xa 0xb
    pr.py write <device> <text> a write of one sector at the device's begin
    pr.py taken <device> <own key> <the other's key> <type> <volume>
                                registers and preempts, and reads the volume's begin in the next moment;
                                what it finds, or the error

A key of 0 unregisters. Types are those of linux/pr.h, which are NVMe's; without, 3: write
exclusive, registrants only. What the device refuses exits with 1 and says why; for a conflict that
is "reservation conflict" for a command, and EBADE for the write.
"""

import ctypes
import errno
import fcntl
import mmap
import os
import struct
import sys

REGISTER, RESERVE, RELEASE, PREEMPT, PREEMPT_ABORT, CLEAR, READ_KEYS, READ_RESERVATION = range(200, 208)
WRITE, READ = 1, 2
WRITE_EXCLUSIVE_REG_ONLY = 3
STATUS = {0x2: "I/O error", 0x18: "reservation conflict", 0xe0000: "path failure",
          0xf0000: "path failed fast", 0x10000: "path failed"}
MAX_KEYS = 16


class Refused(Exception):
    """The device's answer to a reservation command."""


def command(device, number, layout, *values, direction=WRITE):
    """An ioctl with a structure; returns the structure after it."""
    data = bytearray(struct.pack(layout, *values))
    fd = os.open(device, os.O_RDWR)
    try:
        status = fcntl.ioctl(fd, direction << 30 | len(data) << 16 | ord("p") << 8 | number, data)
    finally:
        os.close(fd)
    if status:
        raise Refused(STATUS.get(status, f"status {status:#x}"))
    return struct.unpack(layout, data)


def register(device, key, old=0):
    command(device, REGISTER, "=QQII", old, key, 0, 0)


def reserve(device, key, kind=WRITE_EXCLUSIVE_REG_ONLY):
    command(device, RESERVE, "=QII", key, kind, 0)


def release(device, key, kind=WRITE_EXCLUSIVE_REG_ONLY):
    command(device, RELEASE, "=QII", key, kind, 0)


def preempt(device, own, other, kind=WRITE_EXCLUSIVE_REG_ONLY, number=PREEMPT):
    command(device, number, "=QQII", own, other, kind, 0)


def preempt_abort(device, own, other, kind=WRITE_EXCLUSIVE_REG_ONLY):
    preempt(device, own, other, kind, PREEMPT_ABORT)


def clear(device, key):
    command(device, CLEAR, "=QII", key, 0, 0)


def keys(device):
    """Generation of the registrations, and their keys."""
    room = (ctypes.c_uint64 * MAX_KEYS)()
    generation, count, _ = command(device, READ_KEYS, "=IIQ", 0, MAX_KEYS, ctypes.addressof(room),
                                   direction=READ | WRITE)
    return generation, sorted(room[:count])


def reservation(device):
    """Type and holder's key; (0, 0) if there is none."""
    key, _, kind = command(device, READ_RESERVATION, "=QII", 0, 0, 0, direction=READ)
    return kind, key


def show(device):
    generation, registered = keys(device)
    kind, holder = reservation(device)
    print(f"generation {generation} type {kind} holder {holder:#x} keys {' '.join(map(hex, registered))}".rstrip())


def write(device, text):
    sector = mmap.mmap(-1, 512)
    sector.write(text.encode())
    fd = os.open(device, os.O_RDWR | os.O_DIRECT)
    try:
        os.pwrite(fd, sector, 0)
    finally:
        os.close(fd)


def taken(device, own, other, kind, volume):
    sector = mmap.mmap(-1, 4096)
    fd = os.open(volume, os.O_RDONLY | os.O_DIRECT)
    try:
        register(device, own)
        preempt(device, own, other, kind)
        os.preadv(fd, [sector], 0)
    finally:
        os.close(fd)
    print(f"read: {sector[:16].hex()}")


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    verb, device, *rest = sys.argv[1:]
    verbs = {f.__name__.replace("_", "-"): f
             for f in (register, reserve, release, preempt, preempt_abort, clear, show, write, taken)}
    arguments = [word if word.startswith("/") or verb == "write" else int(word, 0) for word in rest]
    try:
        verbs[verb](device, *arguments)
    except Refused as e:
        sys.exit(f"{verb} {device}: {e}")
    except OSError as e:
        sys.exit(f"{verb} {device}: {errno.errorcode.get(e.errno, e.errno)}")


if __name__ == "__main__":
    main()
