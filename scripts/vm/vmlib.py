# SPDX-License-Identifier: GPL-2.0
"""Virtual machines, disks and networks for tests. Runs inside the private root.

    with Lab("failover") as lab:
        san = lab.net("san")
        shared = lab.disk("shared", 64)
        a1 = lab.vm("a1", pmem=[64], disks=[shared], nets={san: "10.0.0.1/24"})
        a2 = lab.vm("a2", pmem=[64], disks=[shared], nets={san: "10.0.0.2/24"})
        lab.start(a1, a2)
        a1.ok("ping -c 1 10.0.0.2")
        load = a1.spawn("fio ...")
        a1.kill()                       # power cut: memory (pmem) and disks stay
        a1.start()

Everything is emulated (TCG), needs no KVM and no network of the host. A machine's memory is
a file: what lies in a pmem region survives kill() and is there after the next start().
"""

import base64
import ctypes
import fcntl
import functools
import glob
import json
import mmap
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
BUILD = os.path.join(TOP, "build")
LOGS = os.path.join(BUILD, "log", "vm")

MIB = 1 << 20
# Where the first pmem region begins in guest memory: above the kernel, below the initramfs,
# which the loader puts at the end.
PMEM_BASE_MIB = 256
# The least ordinary memory a guest boots in.
MEMORY_MIN_MIB = 576
# Machines that one network has sockets for.
NET_PORTS = 6

# A slow machine may need more patience; every limit is multiplied by this.
PATIENCE = float(os.environ.get("DMRC_PATIENCE", "1"))
BOOT_SECONDS = 90

# What the kernel never says when all is well.
ALARMS = re.compile(
    r"WARNING:|\bBUG\b|Oops|general protection|Call Trace:|Kernel panic|KASAN|UBSAN|refcount_t"
    r"|leaked|use-after-free|blocked for more than|soft lockup|detected stalls|self-detected stall"
    r"|unregister_netdevice: waiting|possible recursive locking|circular locking|Initramfs unpacking failed")


class VmError(Exception):
    """A guest did not do what it was asked to."""


def wait_until(condition, seconds, what):
    """Polls until condition() is true and returns what it returned."""
    end = time.monotonic() + seconds * PATIENCE
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise VmError(f"timeout: {what} (waited {seconds * PATIENCE:.0f} s)")
        time.sleep(0.02)


def options_in(path):
    """What a script says about the machine that it needs."""
    try:
        with open(path, errors="replace") as f:
            match = re.search(r"^# vm: (.*)$", f.read(), re.M)
    except OSError:
        return []
    return shlex.split(match.group(1)) if match else []


class Result:
    """How a command in a guest ended: rc as a shell says it, out = stdout and stderr."""

    def __init__(self, rc, out):
        self.rc = rc
        self.out = out

    def __bool__(self):
        return self.rc == 0

    def __repr__(self):
        return f"Result(rc={self.rc}, out={self.out!r})"


class Job:
    """A command that runs in a guest."""

    def __init__(self, vm, number, script, sink):
        self.vm = vm
        self.number = number
        self.script = script
        self.sink = sink
        self.out = ""
        self.rc = None
        self.done = threading.Event()

    def feed(self, text):
        self.out += text
        if self.sink:
            self.sink(text)

    def finish(self, rc):
        self.rc = rc
        self.done.set()

    def wait(self, timeout=60):
        """Result of the command; VmError if the guest died or time is up."""
        if not self.done.wait(timeout * PATIENCE):
            self.kill(signal.SIGKILL)
            raise VmError(f"{self.vm.name}: timeout after {timeout * PATIENCE:.0f} s: {self.script}\n"
                          f"{self.out}")
        if self.rc is None:
            raise VmError(f"{self.vm.name}: the guest died during: {self.script}\n{self.out}")
        return Result(self.rc, self.out)

    def wait_output(self, pattern, timeout=60):
        """Waits until the output so far matches; returns the match."""
        def look():
            match = re.search(pattern, self.out)
            if not match and self.done.is_set():
                match = re.search(pattern, self.out)
                if not match:
                    raise VmError(f"{self.vm.name}: ended (rc {self.rc}) without {pattern!r}: "
                                  f"{self.script}\n{self.out}")
            return match
        return wait_until(look, timeout, f"{self.vm.name}: output {pattern!r} of: {self.script}")

    def kill(self, sig=signal.SIGTERM):
        self.vm._send({"id": self.number, "kill": int(sig)})


class Disk:
    """A raw image. Given to several machines, it is a disk that they share."""

    def __init__(self, path, mib):
        self.path = path
        with open(path, "wb") as f:
            f.truncate(mib * MIB)

    def read(self, offset, length):
        with open(self.path, "rb") as f:
            f.seek(offset)
            return f.read(length)


class Qmp:
    """QEMU's control socket. We listen, QEMU connects: nothing to wait for."""

    def __init__(self, path):
        self.path = path
        self.listener = listen(path)
        self.stream = None

    def accept(self):
        self.listener.settimeout(30 * PATIENCE)
        connection, _ = self.listener.accept()
        self.stream = connection.makefile("rw")
        self.stream.readline()
        self.command("qmp_capabilities")

    def command(self, name, /, **arguments):
        self.stream.write(json.dumps({"execute": name, "arguments": arguments}) + "\n")
        self.stream.flush()
        while True:
            line = self.stream.readline()
            if not line:
                raise VmError(f"QEMU went away during {name}")
            answer = json.loads(line)
            if "error" in answer:
                raise VmError(f"QEMU: {name}: {answer['error']['desc']}")
            if "return" in answer:
                return answer["return"]


def listen(path):
    if os.path.exists(path):
        os.remove(path)
    s = socket.socket(socket.AF_UNIX)
    s.bind(path)
    s.listen(1)
    return s


class Net:
    """An Ethernet segment: a QEMU without a guest that is only a hub."""

    def __init__(self, lab, name):
        self.name = name
        self.dir = lab.dir
        self.used = {}
        # Why nothing goes from and to a machine.
        self.down = {}
        self.qmp = Qmp(os.path.join(lab.dir, f"{name}.qmp"))
        args = ["qemu-system-x86_64", "-M", "none", "-nodefaults", "-display", "none",
                "-chardev", f"socket,id=qmp,path={self.qmp.path}", "-mon", "chardev=qmp,mode=control"]
        for port in range(NET_PORTS):
            args += ["-netdev", f"stream,id=p{port},server=on,addr.type=unix,addr.path={self.path(port)}",
                     "-netdev", f"hubport,id=h{port},hubid=0,netdev=p{port}"]
        # Its only words are that no guest is there.
        self.process = subprocess.Popen(args, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.qmp.accept()

    def path(self, port):
        return os.path.join(self.dir, f"{self.name}.{port}")

    def plug(self, vm):
        """The socket of a machine on this net."""
        if len(self.used) == NET_PORTS:
            raise VmError(f"net {self.name}: more than {NET_PORTS} machines")
        self.used[vm] = len(self.used)
        return self.path(self.used[vm])

    def cut(self, vm):
        """Loses everything from and to this machine, from this instant until heal(), whatever
        becomes of the machine. Nobody is told: its carrier stays on, no connection ends."""
        self._set_link(vm, "cut", False)

    def heal(self, vm):
        self._set_link(vm, "cut", True)

    def ignore(self, vm, asleep):
        """What is sent to a machine that does not read is lost: the hub would keep it, and with it
        everything from and to the others."""
        self._set_link(vm, "asleep", not asleep)

    def _set_link(self, vm, why, up):
        reasons = self.down.setdefault(vm, set())
        (reasons.discard if up else reasons.add)(why)
        up = not reasons
        # The hub's side of the port: the other one QEMU itself takes down and up as the machine
        # dies and connects, and breaks if it is told otherwise.
        self.qmp.command("set_link", name=f"h{self.used[vm]}", up=up)

    def close(self):
        self.process.kill()
        self.process.wait()


class Vm:
    """One machine. It may be started, killed and started again.

    In the guest: pmem regions are /dev/pmem0..., disks /dev/vda... in the order given, networks
    eth0... in the order given. Lines written to /dev/virtio-ports/report arrive in the file
    report_path at once, and stay there whatever becomes of the guest.
    """

    def __init__(self, lab, name, memory=MEMORY_MIN_MIB, smp=1, pmem=(), disks=(), nets=None,
                 modules=(), args="", expect=None, mtu=9000, exact=False, qemu=()):
        """memory: MiB beside the pmem. pmem: sizes in MiB. nets: Net -> address with prefix length.
        modules: loaded at boot. args: for the kernel's command line. expect: a regular expression
        for console lines which are no alarm here. exact: guest time is executed instructions, one a
        nanosecond, for costs that repeat whatever else this machine does. qemu: more arguments
        for the emulator (a plugin)."""
        if memory < MEMORY_MIN_MIB:
            raise VmError(f"{name}: needs at least {MEMORY_MIN_MIB} MiB of memory")
        self.lab = lab
        self.name = name
        self.memory = memory + sum(pmem)
        self.smp = smp
        self.pmem = list(pmem)
        self.disks = list(disks)
        self.nets = dict(nets or {})
        self.sockets = [net.plug(self) for net in self.nets]
        self.modules = list(modules) + (["nd_e820", "nd_pmem"] if pmem else [])
        self.args = args
        self.expect = re.compile(expect) if expect else None
        self.mtu = mtu
        self.exact = exact
        self.qemu = list(qemu)
        self.console_path = os.path.join(lab.logs, name + ".console")
        self.report_path = os.path.join(lab.logs, name + ".report")
        for path in (self.console_path, self.report_path):
            open(path, "w").close()
        self.process = None
        self.stalled = False
        self.paused = False
        self.agent = None
        self.jobs = {}
        self.next_number = 1
        self.lock = threading.Lock()
        self.seen_alarms = 0

    # -- life ---------------------------------------------------------------------------------

    def _command_line(self):
        ram = os.path.join(self.lab.dir, self.name + ".ram")
        kernel_args = ["console=ttyS0", "panic=-1", "oops=panic", "mitigations=off", "nokaslr",
                       "tsc=reliable", "no_timer_check", "loglevel=5", "printk.time=1",
                       "rcupdate.rcu_cpu_stall_timeout=120", "watchdog_thresh=60",
                       "workqueue.watchdog_thresh=120",
                       f"vm.name={self.name}"]
        start = PMEM_BASE_MIB
        for size in self.pmem:
            kernel_args.append(f"memmap={size}M!{start}M")
            start += size
        if self.modules:
            kernel_args.append("vm.modules=" + ",".join(self.modules))
        kernel_args += self.args.split()
        if self.exact:
            # Without the string instructions, of which one may stand for a thousand steps.
            processor = ["-accel", "tcg,thread=single", "-icount", "shift=0,sleep=off",
                         "-cpu", "max,-erms,-fsrm,-fsrs,-fzrm", "-smp", "1"]
        else:
            # Guests read the TSC of this machine. To be told its rate beats measuring it while
            # others run: a guest that is wrong by a factor has timeouts that are.
            kernel_args.append(f"tsc_early_khz={tsc_khz()}")
            processor = ["-accel", "tcg,thread=multi", "-cpu", "max", "-smp", str(self.smp)]
        command = [
            "qemu-system-x86_64", "-name", self.name, *processor, *self.qemu,
            "-M", "q35,memory-backend=ram",
            "-m", str(self.memory), "-object",
            f"memory-backend-file,id=ram,share=on,mem-path={ram},size={self.memory}M",
            "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
            "-kernel", self.lab.kernel, "-initrd", self.lab.initrd, "-append", " ".join(kernel_args),
            "-chardev", f"file,id=console,path={self.console_path},append=on",
            "-serial", "chardev:console",
            "-chardev", f"socket,id=qmp,path={self.qmp.path}", "-mon", "chardev=qmp,mode=control",
            "-device", "virtio-serial-pci",
            "-chardev", f"socket,id=agent,path={self.agent_path}",
            "-device", "virtserialport,chardev=agent,name=agent",
            "-chardev", f"file,id=report,path={self.report_path},append=on",
            "-device", "virtserialport,chardev=report,name=report",
            "-object", "rng-random,id=rng,filename=/dev/urandom", "-device", "virtio-rng-pci,rng=rng",
        ]
        for i, path in enumerate(self.sockets):
            # Addresses are pinned so that names in the guest follow the order given here.
            command += [
                "-netdev", f"stream,id=n{i},server=off,addr.type=unix,addr.path={path},reconnect-ms=200",
                "-device", f"virtio-net-pci,netdev=n{i},addr={0x10 + i:#x},romfile=,"
                           f"mac=52:54:00:{self.lab.number_of(self):02x}:00:{i:02x}"]
        for i, disk in enumerate(self.disks):
            # No locking and share-rw: two machines may have the same disk.
            command += [
                "-blockdev", f"driver=file,node-name=d{i},filename={disk.path},locking=off,discard=unmap",
                "-device", f"virtio-blk-pci,drive=d{i},addr={0x18 + i:#x},share-rw=on"]
        return command

    def boot(self):
        """Starts the emulator. ready() waits for the guest."""
        if self.process:
            raise VmError(f"{self.name} runs already")
        base = os.path.join(self.lab.dir, self.name)
        self.qmp = Qmp(base + ".qmp")
        self.agent_path = base + ".agent"
        self.agent_listener = listen(self.agent_path)
        self.is_ready = threading.Event()
        self.dead = False
        self.began = time.monotonic()
        self.process = subprocess.Popen(self._command_line(), stdin=subprocess.DEVNULL)
        self.qmp.accept()
        self.agent_listener.settimeout(30 * PATIENCE)
        self.agent, _ = self.agent_listener.accept()
        threading.Thread(target=self._listen, args=(self.agent,), daemon=True).start()

    def ready(self):
        """Waits until the guest takes commands, and gives its networks their addresses."""
        def look():
            if self.dead and not self.is_ready.is_set():
                raise VmError(f"{self.name} died while it booted\n{self.console_tail()}")
            return self.is_ready.is_set()
        try:
            wait_until(look, BOOT_SECONDS, f"{self.name} boots")
        except VmError as e:
            raise VmError(f"{e}\n{self.console_tail()}") from None
        self.boot_seconds = time.monotonic() - self.began
        setup = [f"ip address add {address} dev eth{i} && ip link set eth{i} mtu {self.mtu} up"
                 for i, address in enumerate(self.nets.values()) if address]
        if setup:
            self.ok(" && ".join(setup))

    def start(self):
        self.boot()
        self.ready()

    def kill(self):
        """Power cut. Memory and disks keep what they had at this instant."""
        if self.process:
            self.process.kill()
            self._gone()

    def quit(self):
        """Ends the machine and lets the emulator end in order, which its plugins are told of."""
        if self.process:
            self.qmp.command("quit")
            self._gone()

    def stop(self):
        """Ends the machine after a sync."""
        if self.process and not self.dead:
            self.sh("sync")
        self.kill()

    def pause(self, clock_runs=False, brief=False):
        """Freezes the machine: it answers nobody. What is sent to it meanwhile it gets when it wakes
        if the sender repeats it, or if it was a brief pause in which little was sent.

        Its clock stands still as well, so that it never knows (as with a snapshot); or the clock
        runs, and all its timers are late (as with a hypervisor that stalls): not for longer than a
        minute and a half, after which the kernel's watchdogs complain."""
        self.stalled = clock_runs
        if clock_runs:
            self.process.send_signal(signal.SIGSTOP)
        else:
            self.qmp.command("stop")
        self.paused = not brief
        for net in self.nets if self.paused else ():
            net.ignore(self, True)

    def resume(self):
        self._awake()
        if self.stalled:
            self.process.send_signal(signal.SIGCONT)
        else:
            self.qmp.command("cont")
        self.stalled = False

    def _awake(self):
        if self.paused:
            self.paused = False
            for net in self.nets:
                net.ignore(self, False)

    def _gone(self):
        self._awake()
        self.process.wait()
        self.process = None
        # Who still listens to this agent may not take the next one's machine for dead.
        agent, self.agent = self.agent, None
        for s in (agent, self.agent_listener, self.qmp.listener):
            if s:
                s.close()
        self._bury()

    def _bury(self):
        self.dead = True
        with self.lock:
            jobs, self.jobs = self.jobs, {}
        for job in jobs.values():
            job.finish(None)

    # -- commands -----------------------------------------------------------------------------

    def _listen(self, agent):
        rest = b""
        try:
            while chunk := agent.recv(65536):
                rest += chunk
                *lines, rest = rest.split(b"\n")
                for line in lines:
                    self._heard(json.loads(line))
        except OSError:
            pass
        if agent is self.agent:
            self._bury()

    def _heard(self, message):
        if "ready" in message:
            self.is_ready.set()
            return
        job = self.jobs.get(message["id"])
        if job is None:
            return
        if "out" in message:
            job.feed(message["out"])
        if "rc" in message:
            with self.lock:
                self.jobs.pop(message["id"], None)
            job.finish(message["rc"])

    def _send(self, message):
        try:
            self.agent.sendall((json.dumps(message) + "\n").encode())
        except (OSError, AttributeError):
            self._bury()

    def _begin(self, script, sink=None):
        with self.lock:
            job = Job(self, self.next_number, script, sink)
            self.next_number += 1
            self.jobs[job.number] = job
        return job

    def spawn(self, script, sink=None):
        """Starts a shell script in the guest; sink(text) gets its output as it comes."""
        self.lab.say(f"{self.name}# {script}")
        job = self._begin(script, sink)
        self._send({"id": job.number, "run": script})
        if self.dead:
            self._bury()
        return job

    def sh(self, script, timeout=60):
        """Runs a shell script to its end and returns its Result."""
        return self.spawn(script).wait(timeout)

    def ok(self, script, timeout=60):
        """Runs a shell script that must succeed, and returns its output without the last newline."""
        result = self.sh(script, timeout)
        if not result:
            raise VmError(f"{self.name}: exit status {result.rc}: {script}\n{result.out}")
        return result.out.rstrip("\n")

    def put(self, path, data, mode=0o755):
        """Writes a file in the guest."""
        job = self._begin(f"write {path}")
        self._send({"id": job.number, "put": path, "mode": mode,
                    "data": base64.b64encode(data).decode()})
        job.wait()

    def poll(self, script, pattern="", timeout=60):
        """Repeats a script until it succeeds and its output matches; returns the output."""
        def look():
            result = self.sh(script)
            return result.rc == 0 and re.search(pattern, result.out) and (result.out or " ")
        return wait_until(look, timeout, f"{self.name}: {script} with {pattern!r}")

    def interface(self, net):
        """The name in the guest of its interface to a network."""
        return f"eth{list(self.nets).index(net)}"

    def load_module(self, params=""):
        """Loads the module under test and what it depends on."""
        self.ok(f"load-module {params}")

    # -- what the guest said ------------------------------------------------------------------

    def report(self):
        """Complete lines that the guest wrote to its report port."""
        with open(self.report_path, errors="replace") as f:
            return f.read().split("\n")[:-1]

    def console(self):
        with open(self.console_path, errors="replace") as f:
            return f.read()

    def console_tail(self, lines=40):
        return "\n".join(f"  {self.name}| {l}" for l in self.console().splitlines()[-lines:])

    def wait_console(self, pattern, timeout=60):
        return wait_until(lambda: re.search(pattern, self.console()), timeout,
                          f"{self.name}: console {pattern!r}")

    def alarms(self):
        """Console lines, not returned before, that mean a bug in the kernel or in the module."""
        lines = [l for l in self.console().splitlines() if ALARMS.search(l)
                 and not (self.expect and self.expect.search(l))]
        new, self.seen_alarms = lines[self.seen_alarms:], len(lines)
        return new


class Lab:
    """All that one test has running. Leaving the with block ends it all, and complains if a
    kernel had complained."""

    def __init__(self, name, add=(), fio=False, verbose=None):
        """add: files or folders of the checkout, found in the guest under /repo.
        fio: put fio (30 MB with its libraries) into the guests."""
        self.name = name
        self.logs = os.path.join(LOGS, name)
        shutil.rmtree(self.logs, ignore_errors=True)
        os.makedirs(self.logs)
        self.dir = tempfile.mkdtemp(prefix="lab.")
        self.verbose = bool(os.environ.get("DMRC_VERBOSE")) if verbose is None else verbose
        self.log = open(os.path.join(self.logs, "commands"), "w")
        self.began = time.monotonic()
        self.vms = []
        self.all_nets = []
        self.kernel = prepare_kernel()
        self.initrd = os.path.join(self.dir, "initrd")
        with open(self.initrd, "wb") as out:
            for part in prepare_initramfs(fio):
                with open(part, "rb") as f:
                    shutil.copyfileobj(f, out, 1 << 20)
            out.write(pack(self.dir, add))

    def say(self, text):
        line = f"[{time.monotonic() - self.began:7.2f}] {text}"
        print(line, file=self.log, flush=True)
        if self.verbose:
            print("# " + line.replace("\n", "\n# "), flush=True)

    def net(self, name):
        net = Net(self, name)
        self.all_nets.append(net)
        return net

    def disk(self, name, mib):
        return Disk(os.path.join(self.dir, name + ".disk"), mib)

    def vm(self, name, **options):
        vm = Vm(self, name, **options)
        self.vms.append(vm)
        return vm

    def number_of(self, vm):
        return self.vms.index(vm)

    def start(self, *vms):
        """Starts machines side by side."""
        for vm in vms:
            vm.boot()
        for vm in vms:
            vm.ready()

    def check(self):
        """Raises if a kernel complained since the last check."""
        said = [f"{vm.name}: {line}" for vm in self.vms for line in vm.alarms()]
        if said:
            raise VmError("the kernel complained:\n" + "\n".join(said))

    def close(self):
        for vm in self.vms:
            vm.kill()
        for net in self.all_nets:
            net.close()
        self.log.close()
        shutil.rmtree(self.dir, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        try:
            if kind is None:
                self.check()
            else:
                for vm in self.vms:
                    print(f"# {vm.name}: end of the console ({os.path.relpath(vm.console_path, TOP)}):")
                    print("# " + vm.console_tail().replace("\n", "\n# "), flush=True)
        finally:
            self.close()
        return False


@functools.cache
def tsc_khz():
    """The rate of this machine's time stamp counter, to one part in a thousand or better."""
    code = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    code.write(bytes.fromhex("0f31 48c1e220 4809d0 c3"))  # rdtsc; rax |= rdx << 32; ret
    counter = ctypes.CFUNCTYPE(ctypes.c_uint64)(ctypes.addressof(ctypes.c_char.from_buffer(code)))

    def both():
        # The closest pair of many: this process may lose the processor in between.
        pairs = []
        for _ in range(50):
            before = time.monotonic_ns()
            ticks = counter()
            pairs.append((time.monotonic_ns() - before, before, ticks))
        return min(pairs)[1:]
    began, first = both()
    time.sleep(0.1)
    ended, last = both()
    return (last - first) * 1000000 // (ended - began)


# -- what guests boot from --------------------------------------------------------------------

def kernel_release():
    with open(os.path.join(HERE, "..", "lib.sh")) as f:
        return re.search(r"^kernel_release=(\S+)", f.read(), re.M).group(1)


def newer(target, *sources):
    return os.path.exists(target) and all(
        os.path.getmtime(s) <= os.path.getmtime(target) for s in sources)


class building:
    """Only one process at a time makes what is in build/vm."""

    def __enter__(self):
        os.makedirs(os.path.join(BUILD, "vm"), exist_ok=True)
        self.file = open(os.path.join(BUILD, "vm", ".lock"), "w")
        fcntl.flock(self.file, fcntl.LOCK_EX)

    def __exit__(self, *_):
        self.file.close()


# DMRC_KERNEL: a folder in build/ with another kernel, vmlinux and lib/modules, instead of the stock one.
OTHER_KERNEL = os.environ.get("DMRC_KERNEL")


def prepare_kernel():
    """The kernel as a plain ELF file, which an emulated guest need not unpack."""
    if OTHER_KERNEL:
        return os.path.join(BUILD, OTHER_KERNEL, "vmlinux")
    packed = f"/boot/vmlinuz-{kernel_release()}"
    plain = os.path.join(BUILD, "vm", "vmlinux")
    with building():
        if not newer(plain, packed):
            with open(plain + ".new", "wb") as out:
                subprocess.run([os.path.join(BUILD, "linux/scripts/extract-vmlinux"), packed],
                               stdout=out, stderr=subprocess.DEVNULL, check=True)
            os.rename(plain + ".new", plain)
    return plain


def prepare_initramfs(fio):
    where, modules = os.path.join(BUILD, "vm"), f"/lib/modules/{kernel_release()}"
    if OTHER_KERNEL:
        where = os.path.join(BUILD, OTHER_KERNEL, "vm")
        modules, = glob.glob(os.path.join(BUILD, OTHER_KERNEL, "lib/modules/*"))
        os.makedirs(where, exist_ok=True)
    parts = [os.path.join(where, name) for name in ("base.cpio", "fio.cpio")]
    sources = [os.path.join(HERE, name) for name in ("initramfs.py", "init", "agent.py", "load-module")]
    with building():
        if not all(newer(part, *sources, modules) for part in parts):
            subprocess.run([sys.executable, sources[0], modules, *parts], check=True)
    return parts if fio else parts[:1]


def pack(scratch, add):
    """An archive with the module, the tool and the files of the test."""
    with tempfile.TemporaryDirectory(dir=scratch) as stage:
        # DMRC_MODULE: another build of the module, to see tests fail for instance.
        module = os.environ.get("DMRC_MODULE", "dm-remote-copy.ko")
        for path, target in ((module, "vm/dm-remote-copy.ko"), ("rcopy", "bin/rcopy")):
            source = os.path.join(BUILD, path)
            if os.path.exists(source):
                os.makedirs(os.path.dirname(os.path.join(stage, target)), exist_ok=True)
                shutil.copy(source, os.path.join(stage, target))
        for path in add:
            source = os.path.join(TOP, path)
            target = os.path.join(stage, "repo", os.path.relpath(source, TOP))
            os.makedirs(os.path.dirname(target), exist_ok=True)
            if os.path.isdir(source):
                shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, target)
        names = subprocess.run(["find", ".", "-print0"], cwd=stage, check=True, capture_output=True)
        return subprocess.run(["cpio", "--null", "-o", "-H", "newc", "--quiet", "-R", "0:0"],
                              cwd=stage, input=names.stdout, check=True, capture_output=True).stdout
