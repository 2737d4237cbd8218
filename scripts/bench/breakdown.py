# SPDX-License-Identifier: GPL-2.0
"""Where the instructions of a window went, function by function."""

import bisect
import collections
import os
import re
import subprocess

from machine import CALLERS, OUT, TOP

# Rows of which a profile is written.
PROFILED = {"log-only/d1", "log/d1", "log/d16", "mirror-only/d1", "mirror-only/d16", "mirrored/d1", "mirrored/d16",
            "drbd-c/d1", "drbd-c/d16", "drbd-a/d1", "dm-writecache/fsync"}
KERNEL_HALF = 1 << 63

# What a function is part of: the first that matches. A rough map, for the sums at the head of a
# profile; the list below them says it exactly.
PARTS = [
    ("remote-copy: driver", r"driver_crate"),
    ("remote-copy: core", r"core_crate"),
    ("remote-copy: kapi", r"kapi_"),
    ("copying, clearing", r"^_*(memcpy|memmove|memset|_?copy_|rep_|clear_page)|to_iter|skb_datagram_iter|memcpy"),
    ("CRC", r"crc"),
    ("TCP, sockets", r"tcp|sock|^_*sk_|inet|recvmsg|sendmsg"),
    ("IP, packets, network devices", r"^_*ip_|netif|napi|^_*net_|^_*dev_|skb|veth|qdisc|neigh|nf_|fib|ipv4|dst_|eth_"
     r"|backlog|gro_|loopback|validate_xmit|rps|nvme|raw_local|xfrm|bpf_skops"),
    ("scheduling, waking", r"sched|update_curr|entity|_task|pick_|wake|vruntime|update_load|update_se|update_cfs"
     r"|psi_|set_next|put_prev|switch|swait|kthread|prepare_to|finish_wait|rq_|cpuacct|cgroup|avg|completion"
     r"|place_|deadline|_dl|ttwu|find_next_bit|cpupri|record_times|wait_for|worker|_work$|rt_stack"),
    ("timers, clocks", r"timer|ktime|clock|tsc|jiffies|tick|hrtimer|sleep|pending"),
    ("memory", r"kmem|kmalloc|kfree|slab|page|folio|alloc|free|mempool|gup|pte|check_object|virt_addr|check_heap"),
    ("block layer, device-mapper, DRBD", r"bio|blk|^_*dm_|null_|submit|part_|disk|iov_iter|bdev|pmem|request|mq_"
     r"|clone|drbd|_req|plug|invalidate|sbitmap|wbt|aio|radix|writecache|_al_"),
    ("system calls, interrupts", r"irq|syscall|entry|vfs|fget|ksys|x64_sys|apic|exc_|sysvec|asm_|preempt|fpu|idle|bh"),
    ("locks, RCU", r"lock|rcu|mutex|semaphore|refcount|percpu_ref"),
    ("programs", r"\(programs\)"),
]


def readable(names):
    """Rust's mangled names, as a person would write them."""
    out = subprocess.run(["c++filt"], input="\n".join(names), capture_output=True, text=True).stdout
    plain = (re.sub(r"\[[0-9a-f]{16}\]", "", name) for name in out.split("\n"))
    return dict(zip(names, plain))


def function_at(address, symbols, starts):
    if not address & KERNEL_HALF or not starts:
        return "(programs)"
    return symbols[max(bisect.bisect_right(starts, address) - 1, 0)][1]


def by_function(counts, symbols):
    """Sums of {address: count} by function: Counter of names. symbols: sorted (address, name)."""
    starts = [address for address, _ in symbols]
    counted = collections.Counter()
    for address, count in counts.items():
        counted[function_at(address, symbols, starts)] += count
    return counted


def by_part(counted, names):
    parts = collections.Counter()
    for name, instructions in counted.items():
        part = next((part for part, pattern in PARTS if re.search(pattern, names[name])), "other")
        parts[part] += instructions
    return parts


def write(row, window, ios, symbols):
    """Writes build/bench/<row>.profile; instructions and calls for each I/O."""
    counted = by_function(window.blocks, symbols)
    first = {address for address, _ in symbols}
    calls = by_function({a: runs for a, runs in window.runs.items() if a in first}, symbols)
    names = readable(list(counted))
    total = sum(counted.values())
    path = os.path.join(OUT, row.replace("/", "-") + ".profile")
    with open(path, "w") as f:
        f.write(f"{row}: {total / ios:,.0f} instructions for each I/O, with what ran behind the host's back\n"
                "and until some time after the last I/O\n\n")
        for part, instructions in by_part(counted, names).most_common():
            f.write(f"{instructions / ios:10.1f} {instructions / total:7.2%}  {part}\n")
        if window.callers:
            callers = by_function(window.callers, symbols)
            callers_names = readable(list(callers))
            f.write(f"\ncalls of {CALLERS} for each I/O, by what ran before:\n")
            f.writelines(f"{runs / ios:10.2f}  {callers_names[name]}\n" for name, runs in callers.most_common(25))
        f.write(f"\n{'per I/O':>10} {'':7} {'calls':>7}\n")
        for name, instructions in counted.most_common():
            if instructions / total < 0.0005:
                break
            f.write(f"{instructions / ios:10.1f} {instructions / total:7.2%} {calls[name] / ios:7.2f}  {names[name]}\n")
    return os.path.relpath(path, TOP)
