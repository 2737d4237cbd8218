#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Looks into the built module for what must not be in it.

- No panic in the hot path: overflow checks are on in the kernel, so a plain `+` links one. Core is
  looked at as a whole, but for what runs only when a table line or a log is read; the driver's
  functions on the way of a write by name.
- Nothing that may sleep, or allocates, on the way from where an I/O has ended, which is an interrupt
  more often than not: such a lock looks well until somebody else holds it.
- No function with a frame that a kernel stack of 16 KiB has no room for.
"""

import re
import subprocess
import sys

MODULE = sys.argv[1] if len(sys.argv) > 1 else "build/module/dm-remote-copy.o"
MAX_FRAME = 4608

# Run once, by an administrator's doing; what they work on is bounded by checks of their own.
COLD = re.compile(r"5table|7recover|6report|8Geometry(3new|4plan)|7partner6answer")
CORE = re.compile(r"10core_crate")
HOT = re.compile(r"12driver_crate6append(3map|5start|10local_done|11acknowledge|6unlock|11write_local)"
                 r"|12driver_crate6mirror(7draw_on|4hear|8send_run|9send_lone|\w*7Sending7records)"
                 r"|12driver_crate7standby(7receive|5store)|12driver_crate6frames\w*5Inbox"
                 r"|7shipper\w*4done|6target\w*(3map|6end_io)")
# What the block layer calls when an I/O has ended, and what iopool calls then through a pointer.
ENDS = re.compile(r"dm\w*11Trampolines\w*6end_io|6iopool6end_io|7shipper\w*4done|8recovery\w*4done")
SLEEPS = re.compile(r"^(rust_helper_)?mutex_lock|^schedule|^prepare_to_wait|^msleep|event_wait$|^kapi_global_lock$"
                    r"|^synchronize_rcu|^kthread_stop|^submit_bio_wait|^blkdev_issue|^lock_sock_nested|might_resched"
                    r"|^(bdev_)?fput$|alloc")


def functions():
    """(name, disassembly lines) of each function of the module."""
    out = subprocess.run(["objdump", "-dr", "--no-show-raw-insn", MODULE], check=True,
                         capture_output=True, text=True).stdout
    name, lines = None, []
    for line in out.splitlines():
        head = re.match(r"^[0-9a-f]+ <(.*)>:$", line)
        if head:
            if name:
                yield name, lines
            name, lines = head.group(1), []
        else:
            lines.append(line)
    if name:
        yield name, lines


def called(text):
    """Whom a function calls, or jumps to, other than through a pointer."""
    return set(re.findall(r"R_X86_64_PLT32\s+(\S+?)(?:[+-]0x[0-9a-f]+)?$", text, re.M)
               + re.findall(r"\b(?:call|jmp)\s+[0-9a-f]+ <([^+>]+)>", text))


def sleepers(calls):
    """What may sleep where an I/O has ended: the ways there. And how many functions are on such ways."""
    ways = {name: [name] for name in calls if ENDS.search(name) and not name.startswith("__pfx_")}
    begins, todo, found = set(ways), list(ways), []
    while todo:
        name = todo.pop()
        for callee in sorted(calls[name]):
            way = ways[name] + [callee]
            if SLEEPS.search(callee):
                found.append(f"{callee} where an I/O has ended: {' > '.join(way)}")
            elif callee in calls and callee not in ways:
                ways[callee] = way
                todo.append(callee)
    for what in ("11Trampolines", "6iopool", "7shipper", "8recovery"):
        if not any(what in name for name in begins):
            found.append(f"no function of {what} is called where an I/O has ended: has it another name now?")
    return found, len(ways)


def main():
    wrong, looked_at, calls = [], 0, {}
    for name, lines in functions():
        text = "\n".join(lines)
        calls[name] = called(text)
        for frame in re.findall(r"sub +\$0x([0-9a-f]+),%rsp", text):
            if int(frame, 16) > MAX_FRAME:
                wrong.append(f"{name}: a stack frame of {int(frame, 16)} bytes, {MAX_FRAME} are allowed")
        if HOT.search(name) or (CORE.search(name) and not COLD.search(name)):
            looked_at += 1
            for panic in set(re.findall(r"R_X86_64_\S+\s+\S*panicking\S*?(panic\w*)", text)):
                wrong.append(f"{name}: can panic ({panic})")
    found, ends = sleepers(calls)
    wrong += found
    for line in wrong:
        print(line)
    print(f"{looked_at} hot functions and {ends} where an I/O has ended looked at, {len(wrong)} findings")
    sys.exit(1 if wrong or looked_at < 10 else 0)


main()
