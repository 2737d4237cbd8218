#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Makes the initramfs that every test VM boots from: programs and kernel modules of the
private root, and the two files that run in the guest (init, agent.py).

    initramfs.py <folder of kernel modules> <base.cpio> <fio.cpio>

The folder is the stock kernel's, /lib/modules/<release>, or another's, which need not have all of the
modules. fio comes apart, as it brings 30 MB of libraries that most tests have no use for. Runs inside the private root. The archive is not compressed: emulated guests unpack slowly.
"""

import lzma
import os
import re
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))

# Programs of their own; whatever else a script calls is a busybox applet.
PROGRAMS = """
    bash blkdiscard blockdev cmp date dd diff dmsetup drbdmeta drbdsetup
    e2fsck fallocate find findmnt flock grep head ip kmod losetup lsblk mawk mkfs.ext4
    mkfs.xfs mktemp mount ndctl nsenter nvme od ping python3 rdma sed seq setsid sha256sum
    sort sqlite3 stat strace stdbuf tail tc timeout tr truncate umount unshare wc wipefs
    xfs_repair
""".split()

LINKS = {
    "bin/sh": "dash", "bin/awk": "mawk", "bin/insmod": "kmod", "bin/rmmod": "kmod",
    "bin/modprobe": "kmod", "bin/lsmod": "kmod", "bin/modinfo": "kmod", "bin/depmod": "kmod",
}

# What tests may ask for; each brings what it depends on.
MODULES = """
    virtio_pci virtio_blk virtio_net virtio_console virtio_rng
    libnvdimm nfit nd_btt nd_pmem nd_e820 dax_pmem device_dax
    dm-mod dm-bufio dm-delay dm-flakey dm-log-writes dm-mirror dm-snapshot dm-thin-pool
    dm-writecache
    brd loop null_blk nbd scsi_debug sd_mod
    nvme nvme-core nvme-fabrics nvme-loop nvme-tcp nvme-rdma nvmet nvmet-tcp nvmet-rdma
    target_core_mod target_core_iblock target_core_file tcm_loop
    ext4 xfs
    veth dummy bridge sch_netem sch_tbf sch_htb sch_prio sch_ingress act_mirred cls_u32
    cls_matchall tls
    ib_core ib_uverbs rdma_cm rdma_ucm rdma_rxe
    drbd configfs overlay crc32c-cryptoapi
""".split()

# The parts of Python's library that no test needs, by far the largest.
PYTHON_SKIP = re.compile(
    r"/(idlelib|lib2to3|pydoc_data|tkinter|turtledemo|ensurepip|test|unittest|distutils|curses"
    r"|dbm|wsgiref|xmlrpc|config-[^/]*|__phello__|_pyrepl|venv|multiprocessing/dummy)(/|$)"
    r"|/(turtle|_pydecimal|pydoc|pickletools|doctest|_pydatetime|pdb|imaplib|smtplib)\.py$"
    r"|lib-dynload/(_test|xx|_codecs_(jp|cn|kr|tw|hk|iso)|_dbm|_curses|_lsprof)")


class Tree:
    """A directory that becomes the archive."""

    def __init__(self, top, libraries=()):
        self.top = top
        # Those that are there already are not copied again.
        self.libraries = set(libraries)

    def at(self, path):
        full = os.path.join(self.top, path.lstrip("/"))
        os.makedirs(os.path.dirname(full), exist_ok=True)
        return full

    def copy(self, source, target):
        full = self.at(target)
        if os.path.lexists(full):
            os.remove(full)
        shutil.copy(source, full)

    def link(self, name, target):
        full = self.at(name)
        if os.path.lexists(full):
            os.remove(full)
        os.symlink(target, full)

    def program(self, name):
        source = shutil.which(name, path="/usr/sbin:/usr/bin:/sbin:/bin")
        if source is None:
            sys.exit(f"initramfs: the private root has no program {name}")
        self.copy(os.path.realpath(source), "bin/" + name)
        self.libraries_of(source)

    def libraries_of(self, source):
        out = subprocess.run(["ldd", source], capture_output=True, text=True).stdout
        for path in re.findall(r"(/\S+) \(0x", out):
            if path not in self.libraries:
                self.libraries.add(path)
                self.copy(os.path.realpath(path), path)

    def python_library(self):
        where = os.path.dirname(os.__file__)
        for folder, folders, files in os.walk(where):
            folders[:] = [f for f in folders if f not in ("__pycache__", "dist-packages")
                          and not PYTHON_SKIP.search(os.path.join(folder, f))]
            for name in files:
                path = os.path.join(folder, name)
                if PYTHON_SKIP.search(path):
                    continue
                if path.endswith(".so"):
                    self.libraries_of(path)
                self.copy(path, path)
        # What the kernel's netlink client reads specifications with; its part in C is not needed.
        import yaml
        for name in os.listdir(os.path.dirname(yaml.__file__)):
            if name.endswith(".py"):
                self.copy(os.path.join(os.path.dirname(yaml.__file__), name), f"{where}/yaml/{name}")
        # Compiled ahead: an emulated guest takes seconds for what takes milliseconds here.
        # Checked by nothing at run time, as the times in the archive mean nothing.
        subprocess.run([sys.executable, "-m", "compileall", "-q", "-j", "2", "-s", self.top,
                        "-b", "--invalidation-mode", "unchecked-hash", self.at(where)], check=True)
        subprocess.run(["find", self.at(where), "-name", "*.py", "-delete"], check=True)

    def kernel_modules(self, source):
        release = os.path.basename(source)
        base = f"/lib/modules/{release}"
        depends, path_of = {}, {}
        for line in open(f"{source}/modules.dep"):
            path, rest = line.split(":")
            depends[path] = rest.split()
            path_of[re.sub(r"\.ko.*", "", os.path.basename(path)).replace("-", "_")] = path
        builtin = {re.sub(r"\.ko.*", "", os.path.basename(l.strip())).replace("-", "_")
                   for l in open(f"{source}/modules.builtin")}
        todo = []
        for name in (m.replace("-", "_") for m in MODULES):
            if name in path_of:
                todo.append(path_of[name])
            elif name not in builtin and source == base:
                sys.exit(f"initramfs: the kernel has no module {name}")
        done = set()
        while todo:
            path = todo.pop()
            if path in done:
                continue
            done.add(path)
            todo += depends[path]
            with open(f"{source}/{path}", "rb") as f:
                data = f.read()
            if path.endswith(".xz"):
                data = lzma.decompress(data)
            target = self.at(f"{base}/{re.sub('.xz$', '', path)}")
            with open(target, "wb") as f:
                f.write(data)
            # Loading is slow in emulation: leave out what only a debugger reads.
            subprocess.run(["strip", "--strip-debug", "-R", ".BTF", target], check=True)
        for name in ("modules.order", "modules.builtin", "modules.builtin.modinfo"):
            self.copy(f"{source}/{name}", f"{base}/{name}")
        subprocess.run(["depmod", "-b", self.top, release], check=True)


def write_archive(top, output):
    names = subprocess.run(["find", ".", "-print0"], cwd=top, check=True,
                           capture_output=True).stdout
    with open(output + ".new", "wb") as out:
        subprocess.run(["cpio", "--null", "-o", "-H", "newc", "--quiet", "-R", "0:0"],
                       cwd=top, input=names, stdout=out, check=True)
    os.rename(output + ".new", output)


def base(tree, modules):
    for name in ("dev", "proc", "sys", "tmp", "run", "mnt", "root", "etc/target", "var/target/pr", "var/lib", "var/tmp"):
        os.makedirs(tree.at(name + "/"), exist_ok=True)
    tree.copy("/bin/busybox", "bin/busybox")
    # Debian's busybox has no command that installs links: ask it for its applets.
    for applet in subprocess.run(["busybox", "--list"], capture_output=True, text=True,
                                 check=True).stdout.split():
        if applet not in ("busybox", "sh"):
            tree.link("bin/" + applet, "busybox")
    # busybox's sh prefers its own applets to the programs here: dash is the shell.
    for name in ["dash"] + PROGRAMS:
        tree.program(name)
    # DRBD 8.4's own tool is not in any PATH.
    tree.copy("/lib/drbd/drbdsetup-84", "bin/drbdsetup-84")
    for link, target in LINKS.items():
        tree.link(link, target)
    for link in ("sbin", "usr/bin", "usr/sbin"):
        tree.link(link, "/bin")
    # Rust programs want the unwinder, which nothing else here is linked to.
    unwinder = "/usr/lib/x86_64-linux-gnu/libgcc_s.so.1"
    tree.copy(os.path.realpath(unwinder), unwinder)
    tree.python_library()
    tree.kernel_modules(modules)
    for path, text in (("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n"),
                       ("etc/group", "root:x:0:\n"), ("etc/fstab", "")):
        with open(tree.at(path), "w") as f:
            f.write(text)
    tree.copy(os.path.join(HERE, "init"), "init")
    tree.copy(os.path.join(HERE, "agent.py"), "vm/agent.py")
    tree.copy(os.path.join(HERE, "load-module"), "bin/load-module")


def main():
    modules, base_output, fio_output = sys.argv[1:]
    with tempfile.TemporaryDirectory() as top:
        tree = Tree(top)
        base(tree, modules)
        write_archive(top, base_output)
    with tempfile.TemporaryDirectory() as top:
        Tree(top, tree.libraries).program("fio")
        write_archive(top, fio_output)


main()
