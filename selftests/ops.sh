#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# vm: --disk 64 --disk 64 --disk 64 --pmem 32 --pmem 32 --fio --timeout 900
#
# Every operation, and every odd shape of it: a volume must do what a plain device does, and local and
# remote must hold the same bytes afterwards.

. "$(dirname "$0")/topology.sh"

bytes=$((SECTORS * 512))
v=/dev/mapper/a1-v

arrived()	# [plain]
{
	settle a1-v
	converged
	[ -z "$1" ] || same_bytes "$LOCAL" "$PLAIN"
}

mixed()
{
	single
	wait_state a1-v serving
	io mixed $v "$PLAIN" $bytes 400
	arrived plain
}

mixed_sync()
{
	single mode sync
	wait_state a1-v serving
	io mixed $v "$PLAIN" $bytes 120
	# Acknowledged is at the remote: nothing to wait for.
	converged
	arrived plain
}

sizes()
{
	local n d writes=()
	for n in 512 1024 4096 12800 131072 262144 262656 1048576 4194304; do
		writes+=("$((n * 3 / 512 * 512))" "$n" "$n" "$((bytes - n))" "$n" "$n")
	done
	single
	for d in $v "$PLAIN"; do
		io write "$d" "${writes[@]}"
	done
	run dd if=/dev/urandom of="$state/16M" bs=1M count=16 status=none
	for d in $v "$PLAIN"; do
		run dd if="$state/16M" of="$d" bs=16M oflag=direct status=none
		run dd if="$state/16M" of="$d" bs=5632 seek=77 count=9 oflag=direct status=none
	done
	rm "$state/16M"
	arrived plain
}

buffered()
{
	local d
	single
	for d in $v "$PLAIN"; do
		run dd if="$here/lib/ioplay.py" of="$d" bs=1000 seek=13 conv=fsync status=none
		run dd if="$here/topology.sh" of="$d" bs=4k seek=333 oflag=dsync status=none
		run dd if="$here/topology.sh" of="$d" bs=4k seek=777 conv=fdatasync status=none
		run blockdev --flushbufs "$d"
	done
	run sync
	arrived plain
}

zeroes()
{
	local d
	single
	for d in $v "$PLAIN"; do
		io write "$d" 0 $((12 << 20)) 7
	done
	run blkdiscard -o 512 -l 1536 $v
	run blkdiscard -o $((1 << 20)) -l $((5 << 20)) $v
	run blkdiscard -z -o $((7 << 20)) -l $(((3 << 20) + 512)) $v
	run blkdiscard -z -o 512 -l 1536 "$PLAIN"
	run blkdiscard -z -o $((1 << 20)) -l $((5 << 20)) "$PLAIN"
	run blkdiscard -z -o $((7 << 20)) -l $(((3 << 20) + 512)) "$PLAIN"
	arrived plain
	run blkdiscard $v
	arrived
	run dd if=/dev/zero of="$PLAIN" bs=1M count=$((bytes >> 20)) oflag=direct status=none
	same_bytes "$REMOTE" "$PLAIN"
}

overlapping()
{
	single
	io overlap $v 131072 150 16
	arrived
}

overlapping_sync()
{
	single mode sync
	io overlap $v 131072 60 8
	arrived
}

changing_buffer()
{
	single
	io scribble $v $bytes 100
	arrived
	# And while the remote is away, so that the log keeps all of it: it must still verify.
	broken rct-remote
	io scribble $v $bytes 20
	remove a1-v
	linear rct-remote
	single
	said 'the log is whole: [1-9][0-9]* records'
	arrived
}

fio_verify()
{
	command -v fio >/dev/null || { note "no fio: left out"; return 0; }
	single
	run fio --name=verify --filename=$v --direct=1 --ioengine=libaio --iodepth=16 --rw=randwrite \
		--bsrange=512-1M --blockalign=512 --size=$bytes --io_size=24M --verify=crc32c --do_verify=1 \
		--verify_fatal=1 --randrepeat=1 --fdatasync=8 --minimal >/dev/null
	arrived
	run fio --name=sync --filename=$v --direct=1 --sync=1 --ioengine=psync --rw=randwrite --bs=4k \
		--size=$bytes --io_size=1M --randseed=7 --minimal >/dev/null
	run fio --name=trim --filename=$v --direct=1 --ioengine=libaio --iodepth=8 --rw=randtrimwrite \
		--bs=64k --size=$bytes --io_size=6M --randseed=7 --minimal >/dev/null
	run fio --name=overlap --filename=$v --direct=1 --ioengine=libaio --iodepth=32 --rw=randwrite \
		--bsrange=512-32k --blockalign=512 --size=256k --io_size=8M --norandommap \
		--serialize_overlap=0 --randseed=9 --minimal >/dev/null
	arrived
}

filesystem()
{
	command -v mkfs.ext4 >/dev/null || { note "no mkfs.ext4: left out"; return 0; }
	single
	run mkfs.ext4 -q $v
	mkdir -p "$state/mnt"
	run mount -o discard $v "$state/mnt"
	run cp -r "$here" "$state/mnt"
	run sync
	run rm -r "$state/mnt/$(basename "$here")/lib"
	run umount "$state/mnt"
	arrived
	run e2fsck -fn "$REMOTE"
}

tests "seeded operations, compared with a plain device" mixed \
	"the same with synchronous acknowledgement" mixed_sync \
	"writes of 512 bytes to 16 MiB" sizes \
	"buffered writes, fsync, O_DSYNC" buffered \
	"discard and write zeroes" zeroes \
	"overlapping writes in flight" overlapping \
	"overlapping writes in flight, synchronous" overlapping_sync \
	"a buffer that changes while it is written" changing_buffer \
	"fio: verify, fdatasync, sync, trim, overlap" fio_verify \
	"a file system" filesystem
