#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Boots one machine and runs a command of the checkout in it (see --help).

    scripts/vm/run selftests/basic.sh
    scripts/vm/run --memory 1024 --disk 256 --disk 256 --pmem 64 selftests/ext4.sh -v

The command's output and exit status come back. A kernel that complained (WARNING, oops, ...)
makes exit status 99, a guest that died 98. A script may hold a line with options of its own:

    # vm: --disk 256 --disk 256 --load
"""

import argparse
import os
import shlex
import signal
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from vmlib import ALARMS, Lab, VmError, options_in

GUEST_DIED = 98
KERNEL_COMPLAINED = 99


def options():
    p = argparse.ArgumentParser(prog="scripts/vm/run", description=__doc__.split("\n")[0])
    p.add_argument("--memory", type=int, default=576, metavar="MiB", help="beside the pmem (576)")
    p.add_argument("--smp", type=int, default=2, help="processors (2)")
    p.add_argument("--pmem", type=int, action="append", metavar="MiB",
                   help="a pmem region; may be repeated (two of 64)")
    p.add_argument("--disk", type=int, action="append", metavar="MiB",
                   help="a disk; may be repeated (two of 64)")
    p.add_argument("--modules", default="", help="kernel modules to load at boot, with commas")
    p.add_argument("--args", default="", help="more for the kernel's command line")
    p.add_argument("--add", action="append", default=[], metavar="PATH",
                   help="a file or folder of the checkout that the guest needs in /repo (beside selftests)")
    p.add_argument("--fio", action="store_true", help="put fio into the guest")
    p.add_argument("--exact", action="store_true",
                   help="guest time counts instructions: for costs, not for speed")
    p.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", dest="environment",
                   help="an environment variable for the command; may be repeated")
    p.add_argument("--load", action="store_true", help="load dm-remote-copy first")
    p.add_argument("--expect", metavar="REGEX", help="console lines that are no alarm")
    p.add_argument("--timeout", type=float, default=300, metavar="SECONDS", help="for the command (300)")
    p.add_argument("command", nargs=argparse.REMAINDER, help="command, run in /repo of the guest")
    args = p.parse_args()
    if not args.command:
        p.error("no command")
    # The script's own come first, so that those given here win or are added.
    return p.parse_args(options_in(args.command[0]) + sys.argv[1:])


def main():
    args = options()
    name = os.path.basename(args.command[0]).replace(".", "-")
    add = args.add + (["selftests"] if os.path.isdir("selftests") else [])

    def show(text):
        sys.stdout.write(text)
        sys.stdout.flush()

    with Lab("run-" + name, add=add, fio=args.fio) as lab:
        disks = [lab.disk(f"disk{i}", size) for i, size in enumerate(args.disk or [64, 64])]
        vm = lab.vm("guest", memory=args.memory, smp=args.smp, disks=disks, args=args.args,
                    pmem=[64, 64] if args.pmem is None else args.pmem, expect=args.expect, exact=args.exact,
                    modules=[m for m in args.modules.split(",") if m])
        try:
            vm.start()
            if args.load:
                vm.load_module()
            script = "mkdir -p /repo && cd /repo && exec " + shlex.join(["env"] + args.environment + args.command)
            status = vm.spawn(script, sink=show).wait(args.timeout).rc
        except VmError as e:
            print(f"# {e}\n" + "# " + vm.console_tail().replace("\n", "\n# "), flush=True)
            status = GUEST_DIED
        alarms = vm.alarms()
        if alarms:
            # What stands around the first line says what it was about.
            lines = vm.console().splitlines()
            first = next(i for i, line in enumerate(lines) if ALARMS.search(line))
            print("# the kernel complained:\n#   " + "\n#   ".join(lines[max(0, first - 2):first + 40]))
            status = KERNEL_COMPLAINED if status != GUEST_DIED else status
    return status


signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
sys.exit(main())
