#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""I/O of the self tests: seeded, O_DIRECT, checked against a model.

    ioplay.py same <device> <device> <bytes or -> [<from byte>]   equal bytes
    ioplay.py sum <device> <bytes>                    SHA-256
    ioplay.py zero <bytes> <device>...                fill with zeroes
    ioplay.py blank <log>...                          forget a log
    ioplay.py unclaimed <device>...                   nobody has it open exclusively
    ioplay.py write <device> [<offset> <bytes> <seed>]...   writes of known bytes
    ioplay.py expect <device> [<offset> <bytes> <seed>]...  they are there
    ioplay.py mixed <device> <plain device> <bytes> <operations> [<seed>]
    ioplay.py overlap <device> <bytes> <writes of each thread> <threads> [<seed>]
    ioplay.py scribble <device> <bytes> <writes>
    ioplay.py load <device> <bytes> <writes or 0: until stopped> [<seed> [<most bytes of a write>]]
    ioplay.py journal <seed> <width> <record> <steps> <device>...
    ioplay.py prefix <seed> <width> <record> <device>...
    ioplay.py instants <seed> <width> <record> <log of dm-log-writes>
    ioplay.py attempts <device> <record> <writes> [<seed>]    goes on when writes fail
    ioplay.py told <record> <device>...               they hold what was acknowledged since

CPU=<n> in the environment: on this processor.
"""

# ctypes and hashlib are imported where they are used: with their libraries they take an emulated machine
# as long to load as all the rest.
import errno
import fcntl
import mmap
import os
import random
import signal
import struct
import sys
import threading
import time

SECTOR = 512
BLKGETSIZE64, BLKDISCARD, BLKZEROOUT, BLKFLSBUF = 0x80081272, 0x1277, 0x127F, 0x1261
RWF_DSYNC = 2
MIB = 1 << 20


def die(text):
    print(text, flush=True)
    sys.exit(1)


def open_direct(path, flags=os.O_RDWR):
    return os.open(path, flags | os.O_DIRECT)


def size_of(fd):
    out = bytearray(8)
    fcntl.ioctl(fd, BLKGETSIZE64, out)
    return struct.unpack("Q", out)[0]


def memory(length):
    """Page-aligned memory, as O_DIRECT wants it; each thread's own, until it asks again. New pages for
    each I/O would be most of its cost in an emulated machine."""
    m = getattr(own, "memory", None)
    if m is None or len(m) < length:
        m = own.memory = mmap.mmap(-1, max(length, mmap.PAGESIZE), mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    return m


own = threading.local()


def write_at(fd, offset, data, flags=0):
    m = memory(len(data))
    m[:len(data)] = data
    with memoryview(m) as whole, whole[:len(data)] as view:
        n = os.pwritev(fd, [view], offset, flags)
    if n != len(data):
        raise OSError(errno.EIO, f"wrote {n} of {len(data)} bytes at {offset}")


def read_at(fd, offset, length):
    m = memory(length)
    with memoryview(m) as whole, whole[:length] as view:
        n = os.preadv(fd, [view], offset)
    if n != length:
        raise OSError(errno.EIO, f"read {n} of {length} bytes at {offset}")
    return m[:length]


def bytes_of(seed, length):
    return random.Random(seed).randbytes(length)


def seed_of(args, at):
    seed = int(args[at]) if len(args) > at else int(os.environ.get("SEED", random.randrange(1 << 32)))
    print(f"seed {seed} (SEED={seed} repeats it)", flush=True)
    return seed


# --- whole devices ----------------------------------------------------------------------------

def same(args):
    a, b = (open_direct(p, os.O_RDONLY) for p in args[:2])
    end = min(size_of(a), size_of(b)) if args[2] == "-" else int(args[2])
    at = int(args[3]) if len(args) > 3 else 0
    while at < end:
        n = min(MIB, end - at)
        x, y = read_at(a, at, n), read_at(b, at, n)
        if x != y:
            bad = [i for i in range(0, n, SECTOR) if x[i:i + SECTOR] != y[i:i + SECTOR]]
            first = at + bad[0]
            o = bad[0]
            die(f"{args[0]} and {args[1]} differ in {len(bad)} sectors of the MiB at {at}, first at byte "
                f"{first}: {x[o:o + 16].hex()} / {y[o:o + 16].hex()}")
        at += n


def sum_(args):
    fd = open_direct(args[0], os.O_RDONLY)
    import hashlib
    h = hashlib.sha256()
    end = int(args[1])
    for at in range(0, end, MIB):
        h.update(read_at(fd, at, min(MIB, end - at)))
    print(h.hexdigest())


def zero(args):
    for path in args[1:]:
        fd = open_direct(path)
        fcntl.ioctl(fd, BLKZEROOUT, struct.pack("QQ", 0, int(args[0])))
        os.fsync(fd)


def blank(args):
    for path in args:
        fd = open_direct(path)
        write_at(fd, 0, bytes(16384))
        os.fsync(fd)


def unclaimed(args):
    for path in args:
        try:
            os.close(os.open(path, os.O_RDONLY | os.O_EXCL))
        except OSError as e:
            die(f"left: a claim on {path}: {e}")


def triples(args):
    return [(int(o), int(n), seed) for o, n, seed in zip(args[1::3], args[2::3], args[3::3])]


def write(args):
    fd = open_direct(args[0])
    for offset, length, seed in triples(args):
        write_at(fd, offset, bytes_of(seed, length))


def expect(args):
    fd = open_direct(args[0], os.O_RDONLY)
    for offset, length, seed in triples(args):
        if read_at(fd, offset, length) != bytes_of(seed, length):
            die(f"{args[0]}: not what was written at {offset}")


# --- one operation after the other, on the volume and on a plain device -----------------------

def mixed(args):
    volume, plain = open_direct(args[0]), open_direct(args[1])
    size, count, seed = int(args[2]), int(args[3]), seed_of(args, 4)
    r = random.Random(seed)
    pool = r.randbytes(5 * MIB)
    done = {}
    for i in range(count):
        kind = r.choices(("write", "fua", "read", "flush", "discard", "zeroes", "vector"),
                         (40, 8, 20, 8, 8, 8, 8))[0]
        most = r.choice((8, 8, 64, 512, 2048, 8192))
        length = r.randint(1, most) * SECTOR
        offset = r.randrange(0, (size - length) // SECTOR + 1) * SECTOR
        done[kind] = done.get(kind, 0) + 1
        start = r.randrange(0, len(pool) - length)
        data = pool[start:start + length]
        if kind in ("write", "fua"):
            for fd in (volume, plain):
                write_at(fd, offset, data, RWF_DSYNC if kind == "fua" else 0)
        elif kind == "vector":
            # Pieces that begin and end in the middle of a page, one bio.
            for fd in (volume, plain):
                pieces, at = [], 0
                rr = random.Random(i)
                while at < length:
                    n = min(rr.randint(1, 24) * SECTOR, length - at)
                    m = mmap.mmap(-1, n + 4096)
                    shift = rr.randrange(0, 8) * SECTOR
                    m[shift:shift + n] = data[at:at + n]
                    pieces.append(memoryview(m)[shift:shift + n])
                    at += n
                    if len(pieces) == 1024:
                        break
                if os.pwritev(fd, pieces, offset) != at:
                    die(f"operation {i}: a short vectored write")
        elif kind == "read":
            if read_at(volume, offset, length) != read_at(plain, offset, length):
                die(f"operation {i}: {length} bytes read at {offset} differ")
        elif kind == "flush":
            os.fsync(volume)
        else:
            # Afterwards a discarded range reads as zeroes, on both.
            code = BLKDISCARD if kind == "discard" else BLKZEROOUT
            fcntl.ioctl(volume, code, struct.pack("QQ", offset, length))
            fcntl.ioctl(plain, BLKZEROOUT, struct.pack("QQ", offset, length))
    print("did " + ", ".join(f"{n} {k}" for k, n in sorted(done.items())))


# --- overlapping writes in flight -------------------------------------------------------------

def overlap(args):
    """Each sector must end as one of the writes that nothing else was wholly after."""
    path, size, each, threads, seed = args[0], int(args[1]), int(args[2]), int(args[3]), seed_of(args, 4)
    began, lock = [], threading.Lock()
    errors = []

    def work(number):
        r = random.Random(seed * 1000 + number)
        fd = open_direct(path)
        try:
            for i in range(each):
                length = r.randint(1, 64) * SECTOR
                offset = r.randrange(0, (size - length) // SECTOR + 1) * SECTOR
                tag = struct.pack("<HHI", number + 1, 0x5A5A, i + 1)
                data = (tag * (SECTOR // 8)) * (length // SECTOR)
                t0 = time.monotonic_ns()
                write_at(fd, offset, data)
                t1 = time.monotonic_ns()
                with lock:
                    began.append((offset, length, tag, t0, t1))
        except OSError as e:
            errors.append(e)

    all_ = [threading.Thread(target=work, args=(n,)) for n in range(threads)]
    for t in all_:
        t.start()
    for t in all_:
        t.join()
    if errors:
        die(f"a write failed: {errors[0]}")
    fd = open_direct(path, os.O_RDONLY)
    content = read_at(fd, 0, size)
    wrong = 0
    per_sector = {}
    for w in began:
        for s in range(w[0] // SECTOR, (w[0] + w[1]) // SECTOR):
            per_sector.setdefault(s, []).append(w)
    for s, writes in per_sector.items():
        got = content[s * SECTOR:(s + 1) * SECTOR]
        if got != got[:8] * (SECTOR // 8):
            die(f"sector {s} is a mixture of writes")
        mine = [w for w in writes if w[2] == got[:8]]
        latest = max(w[3] for w in writes)
        if not mine or mine[0][4] < latest and any(w[3] > mine[0][4] for w in writes):
            wrong += 1
    if wrong:
        die(f"{wrong} sectors hold a write that a later one had replaced")
    print(f"{len(began)} writes, {len(per_sector)} sectors")


# --- a buffer that changes while it is written ------------------------------------------------

def scribble(args):
    import ctypes
    path, size, count = args[0], int(args[1]), int(args[2])
    fd = open_direct(path)
    length = 256 * 1024
    m = mmap.mmap(-1, length)
    stop = threading.Event()
    address = ctypes.addressof(ctypes.c_char.from_buffer(m))

    def scribbler():
        # memset lets go of the interpreter's lock: it runs while a write is under way.
        n = 0
        while not stop.is_set():
            n += 1
            ctypes.CDLL(None).memset(ctypes.c_void_p(address + (n * 4096) % length), n & 255, 4096)

    t = threading.Thread(target=scribbler)
    t.start()
    try:
        for i in range(count):
            os.pwritev(fd, [m], (i * length) % size)
    finally:
        stop.set()
        t.join()
    print(f"{count} writes of a changing buffer")


# --- load -------------------------------------------------------------------------------------

stopped = False


def on_term(*_):
    global stopped
    stopped = True


def load(args):
    path, size, count, seed = args[0], int(args[1]), int(args[2]), seed_of(args, 3)
    most = int(args[4]) if len(args) > 4 else 32768
    signal.signal(signal.SIGTERM, on_term)
    r = random.Random(seed)
    fd = open_direct(path)
    pool = r.randbytes(most + 65536)
    n = 0
    while not stopped and (count == 0 or n < count):
        length = r.randint(1, most // SECTOR) * SECTOR
        offset = r.randrange(0, (size - length) // SECTOR + 1) * SECTOR
        start = r.randrange(0, 65536)
        write_at(fd, offset, pool[start:start + length])
        n += 1
        if count == 0:
            time.sleep(0.001)
    print(f"{n} writes")


# --- dependent writes, and whether a frozen copy is a prefix of them --------------------------
#
# Step n writes the number n to `width` places at once, each chosen by the seed; step n + 1 begins
# when all of step n are acknowledged. A place holds the number of its last step. A copy is a prefix
# if there is an n such that all steps up to n are there, of n + 1 some places may be, of n + 2 none.

PLACES = 64
BLOCK = 4096


def places_of(seed, n, width):
    return random.Random(seed * 1000003 + n).sample(range(PLACES), width)


def block(n, place):
    return struct.pack("<QQ", n, place) * (BLOCK // 16)


def place_at(place, files):
    return files[place % len(files)], (place // len(files)) * 65536 + (place % 7) * SECTOR


def journal(args):
    seed, width, record, steps = int(args[0]), int(args[1]), args[2], int(args[3])
    files = [open_direct(p) for p in args[4:]]
    signal.signal(signal.SIGTERM, on_term)
    log = open(record, "w", buffering=1)
    failed = []

    def one(n, place):
        fd, offset = place_at(place, files)
        try:
            write_at(fd, offset, block(n, place))
        except OSError as e:
            failed.append(e)

    n = 0
    while not stopped and (steps == 0 or n < steps):
        n += 1
        chosen = places_of(seed, n, width)
        if width == 1:
            one(n, chosen[0])
        else:
            threads = [threading.Thread(target=one, args=(n, p)) for p in chosen]
            for t in threads:
                t.start()
            for t in threads:
                t.join()
        if failed:
            log.write(f"failed after {n - 1}\n")
            die(f"step {n} failed: {failed[0]}")
        log.write(f"{n}\n")
        if steps == 0:
            # It runs beside something that is to get its turn.
            time.sleep(0.004)
    print(f"{n} steps")


def acknowledged(record):
    """The last step of which the host was told."""
    lines = [l for l in open(record).read().split("\n")[:-1] if l.isdigit()]
    return int(lines[-1]) if lines else 0


def prefix(args):
    """Prints how far the copy is."""
    seed, width, record = int(args[0]), int(args[1]), args[2]
    files = [open_direct(p, os.O_RDONLY) for p in args[3:]]
    found = []
    for place in range(PLACES):
        fd, offset = place_at(place, files)
        data = read_at(fd, offset, BLOCK)
        n, p = struct.unpack("<QQ", data[:16])
        if data != (block(n, place) if n else bytes(BLOCK)) or (n and p != place):
            die(f"place {place} is torn")
        found.append(n)
    top = max(found)
    # What the host was told by now covers at least what was told when the copy was made.
    told = acknowledged(record)
    if top > told + 1:
        time.sleep(0.05)
        told = acknowledged(record)
    if top > told + 1:
        die(f"the copy has step {top}, the host only began step {told + 1}")
    want = [0] * PLACES
    for n in range(1, top):
        for p in places_of(seed, n, width):
            want[p] = n
    newest = places_of(seed, top, width) if top else []
    for place in range(PLACES):
        allowed = {want[place]} | ({top} if place in newest else set())
        if found[place] not in allowed:
            die(f"not a prefix: place {place} has step {found[place]}, although step {top} is there "
                f"and this place's last before it is {want[place]}")
    print(top)


# --- writes that may fail ---------------------------------------------------------------------
#
# One after the other, to places chosen by the seed. The record has a line for each: its number, its
# place, and whether the host was told that it is there, or that it failed. A place may hold the last
# write that was acknowledged there, or one that failed after it, nothing else.

HOPELESS = 40


def attempts(args):
    path, record, count, seed = args[0], args[1], int(args[2]), seed_of(args, 3)
    r = random.Random(seed)
    fd = open_direct(path)
    failed = in_vain = n = 0
    with open(record, "a", buffering=1) as log:
        while n < count and in_vain < HOPELESS:
            n += 1
            place = r.randrange(PLACES)
            number = (seed << 32) + n
            try:
                write_at(fd, place_at(place, [None])[1], block(number, place))
                in_vain = 0
            except OSError as e:
                if e.errno != errno.EIO:
                    raise
                failed += 1
                in_vain += 1
            log.write(f"{number} {place} {'failed' if in_vain else 'told'}\n")
    print(f"{n} writes, {failed} failed")


def told(args):
    allowed = {place: [0] for place in range(PLACES)}
    count = 0
    for line in open(args[0]).read().split("\n")[:-1]:
        number, place, how = line.split()
        if how == "told":
            count += 1
            allowed[int(place)] = [int(number)]
        else:
            allowed[int(place)].append(int(number))
    for path in args[1:]:
        fd = open_direct(path, os.O_RDONLY)
        for place in range(PLACES):
            data = read_at(fd, place_at(place, [None])[1], BLOCK)
            n, _ = struct.unpack("<QQ", data[:16])
            if data != (block(n, place) if n else bytes(BLOCK)):
                die(f"{path}: place {place} is torn")
            if n not in allowed[place]:
                die(f"{path}: place {place} has write {n}, allowed are {allowed[place]}")
    if not count:
        die("nothing was acknowledged")
    print(f"{count} writes were acknowledged")


def log_entries(fd):
    """What dm-log-writes has seen complete, in that order (Documentation: dm-log-writes.rst)."""
    magic, version, count, sector_size = struct.unpack("<QQQI", os.pread(fd, 28, 0))
    if magic != 0x6A736677736872 or version != 1:
        die("no log of dm-log-writes")
    at = sector_size
    for _ in range(count):
        sector, sectors, flags, length = struct.unpack("<QQQQ", os.pread(fd, 32, at))
        at += sector_size
        discard = flags & 4
        yield sector * SECTOR, sectors * SECTOR, b"" if discard else os.pread(fd, sectors * SECTOR, at)
        at += 0 if discard else sectors * SECTOR


def instants(args):
    """A step may begin at the remote only when all of the step before it is there."""
    seed, width, record = int(args[0]), int(args[1]), args[2]
    fd = os.open(args[3], os.O_RDONLY)
    fcntl.ioctl(fd, BLKFLSBUF)
    offsets = {place_at(p, [None])[1]: p for p in range(PLACES)}
    found, missing, complete, seen, last = {}, {}, 0, 0, []
    for offset, length, data in log_entries(fd):
        place = offsets.get(offset)
        if place is None or length != BLOCK:
            continue
        n, p = struct.unpack("<QQ", data[:16])
        if data != block(n, place):
            die(f"place {place} was torn")
        seen += 1
        last = last[-9:] + [n]
        if n < found.get(place, 0):
            die(f"step {n} came to place {place} after step {found[place]}")
        if n > complete + 1:
            die(f"step {n} came although step {complete + 1} was not complete; the last that came: {last}")
        found[place] = n
        if n == complete + 1:
            missing.setdefault(n, set(places_of(seed, n, width))).discard(place)
            if not missing[n]:
                complete = n
    told = acknowledged(record)
    print(f"{seen} writes of {complete} steps; the host was told of {told}")
    if complete < told:
        die(f"steps {complete + 1} to {told} are missing")


COMMANDS = {"same": same, "sum": sum_, "zero": zero, "blank": blank, "unclaimed": unclaimed,
            "write": write, "expect": expect, "mixed": mixed, "overlap": overlap,
            "scribble": scribble, "load": load, "journal": journal, "prefix": prefix,
            "instants": instants, "attempts": attempts, "told": told}

if __name__ == "__main__":
    if len(sys.argv) < 2 or sys.argv[1] not in COMMANDS:
        die(__doc__)
    if "CPU" in os.environ:
        # Online processors, counted from 0.
        cpus = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cpus[int(os.environ["CPU"]) % len(cpus)]})
    try:
        COMMANDS[sys.argv[1]](sys.argv[2:])
    except OSError as e:
        die(f"{sys.argv[1]}: {e}")
