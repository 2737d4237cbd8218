# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=dash
#
# In the guest: the stacks that are measured. Each function makes one and leaves it; down_*
# takes it away. Devices below them store nothing (null_blk, 60 GiB), so that what is counted is
# the stack itself.
#
#	/dev/nullb0	local device            /dev/pmem0  log, cache, or DRBD's metadata
#	/dev/nullb1	remote, or the peer's   /dev/pmem1  the same of the other node

set -e
watch=/repo/build/bench/watch
mib=61440
sectors=$((mib * 2048))
rcopy_options=		# more words for remote-copy's table lines; set by who calls
rcopy_words=0

# null_blk <name> <MiB>
null_blk()
{
	modprobe null_blk nr_devices=0
	[ -d /sys/kernel/config/nullb ] || mount -t configfs none /sys/kernel/config
	mkdir "/sys/kernel/config/nullb/$1"
	(
		cd "/sys/kernel/config/nullb/$1"
		echo "$2" >size
		echo 0 >irqmode		# completes in the context of the one who submits
		echo 4096 >blocksize
		echo 1 >power
	)
}

up_null()
{
	null_blk nullb0 $mib
	null_blk nullb1 $mib
}

up_linear() { dmsetup create lin --table "0 $sectors linear /dev/nullb0 0"; }
up_writecache()
{
	blank /dev/pmem0
	dmsetup create wc --table "0 $sectors writecache p /dev/nullb0 /dev/pmem0 4096 0"
}
up_mirror()
{
	modprobe dm-mirror
	dmsetup create mir --table "0 $sectors mirror core 2 8192 nosync 2 /dev/nullb0 0 /dev/nullb1 0"
}
down_dm() { dmsetup remove "$1"; }

# netem <milliseconds> <device> [<namespace>]: delay of what leaves there.
netem()
{
	if [ "$1" != 0 ]; then
		tc ${3:+-n "$3"} qdisc add dev "$2" root netem delay "$1ms" limit 1000000
	fi
}

# Two network namespaces with a cable: link <a> <address a> <b> <address b> [<one-way delay ms> [<mtu>]]
link()
{
	ip netns add "$1" 2>/dev/null || true
	ip netns add "$3" 2>/dev/null || true
	ip link add "to_$3" netns "$1" type veth peer name "to_$1" netns "$3"
	ip -n "$1" address add "$2/24" dev "to_$3"
	ip -n "$3" address add "$4/24" dev "to_$1"
	ip -n "$1" link set "to_$3" mtu "${6:-9000}" up
	ip -n "$3" link set "to_$1" mtu "${6:-9000}" up
	netem "${5:-0}" "to_$3" "$1"
	netem "${5:-0}" "to_$1" "$3"
}

blank() { dd if=/dev/zero of="$1" bs=64k count=1 conv=fsync 2>/dev/null; }

# -- DRBD ------------------------------------------------------------------------------------

# drbd_node <minor>: metadata in pmem, as fast as it can be.
drbd_attach()
{
	drbdsetup-84 new-resource "r$1"
	drbdsetup-84 new-minor "r$1" "$1" 0
	drbdsetup-84 attach "$1" "/dev/nullb$1" "/dev/pmem$1" flexible --c-plan-ahead=0 --resync-rate=4G
}

drbd_node()
{
	mkdir -p /var/lock
	modprobe drbd usermode_helper=/bin/true minor_count=8
	blank "/dev/pmem$1"
	drbdmeta --force "$1" v08 "/dev/pmem$1" flex-external create-md </dev/null >/dev/null 2>&1
	drbd_attach "$1"
}

up_drbd_alone()
{
	drbd_node 0
	drbdsetup-84 primary 0 --force
}

drbd_connect()	# <protocol>
{
	# Patience: by default a congested link that is 100 ms long is given up on, and then DRBD is
	# fast because it copies nothing.
	net="--protocol=$1 --sndbuf-size=10M --rcvbuf-size=10M --ping-timeout=100 --timeout=95 --ping-int=120"
	# shellcheck disable=SC2086 # words
	{
		drbdsetup-84 connect r0 127.0.0.1:7001 127.0.0.1:7002 $net
		drbdsetup-84 connect r1 127.0.0.1:7002 127.0.0.1:7001 $net
	}
}

# poll <seconds> <command>: until it succeeds.
poll()
{
	tries=$(($1 * 20))
	shift
	until "$@"; do
		tries=$((tries - 1))
		[ $tries -gt 0 ] || { echo "stacks.sh: in vain: $*"; return 1; }
		sleep 0.05
	done
}

drbd_is() { grep -q "^ 0: cs:Connected .*ds:$1" /proc/drbd && grep -q "^ 1: cs:Connected .*ds:$1" /proc/drbd; }
in_step_drbd() { drbd_is UpToDate/UpToDate || { cat /proc/drbd; false; }; }

# up_drbd <protocol> [<one-way delay ms>]: both ends in this machine, in step without a resync.
up_drbd()
{
	ip link set lo mtu 9000
	sysctl -q net.core.wmem_max=20000000 net.core.rmem_max=20000000
	drbd_node 0
	drbd_node 1
	drbd_connect "$1"
	poll 30 drbd_is Inconsistent/Inconsistent
	drbdsetup-84 new-current-uuid 0 --clear-bitmap
	drbdsetup-84 primary 0
	poll 10 drbd_is UpToDate/UpToDate
	netem "${2:-0}" lo
}

# After a crash: the metadata is what it was, so DRBD finds out what to send again.
again_drbd()
{
	ip link set lo mtu 9000
	mkdir -p /var/lock
	modprobe drbd usermode_helper=/bin/true minor_count=8
	for minor in 0 1; do
		drbdmeta --force $minor v08 /dev/pmem$minor flex-external apply-al </dev/null >/dev/null 2>&1
		drbd_attach $minor
	done
	drbd_connect C
}

# -- remote-copy ------------------------------------------------------------------------------

# up_log [<remote>]: no partner.
up_log()
{
	blank /dev/pmem0
	# shellcheck disable=SC2086 # words
	dmsetup create rc --table "0 $sectors remote-copy initiator s /dev/nullb0 $((8 + rcopy_words)) \
		log /dev/pmem0 partner none remote dev:${1:-/dev/nullb1} create in_step $rcopy_options"
}

# up_pair [<remote> [<mtu>]]: the log is mirrored to a partner in another network namespace.
up_pair()
{
	link a1 10.0.0.1 a2 10.0.0.2 0 "${2:-9000}"
	blank /dev/pmem0
	blank /dev/pmem1
	start_pair "${1:-/dev/nullb1}" "create in_step"
}

# start_pair <remote> [create in_step]: on top of the logs that are there.
start_pair()
{
	pair_options="remote dev:$1 fencing external $rcopy_options"
	create_words=${2:+2}
	ip netns exec a2 dmsetup create rc2 --table "0 $sectors remote-copy standby s /dev/nullb0 \
		$((10 + rcopy_words)) log /dev/pmem1 partner 10.0.0.1:7000 listen 10.0.0.2:7000 $pair_options"
	ip netns exec a1 dmsetup create rc --table "0 $sectors remote-copy initiator s /dev/nullb0 \
		$((10 + rcopy_words + ${create_words:-0})) log /dev/pmem0 partner 10.0.0.2:7000 listen 10.0.0.1:7000 \
		$pair_options ${2:-}"
	$watch rc mirror mirrored 10000
}

is_serving() { dmsetup status rc | grep -q ' state serving '; }
is_mirrored() { dmsetup status rc | grep -q ' state serving .* mirror mirrored '; }
has_room() { is_mirrored && dmsetup status rc | grep -q ' log_full 0 '; }

down_pair()
{
	dmsetup remove rc
	dmsetup remove rc2
	ip netns delete a1
	ip netns delete a2
}

# up_sets <number>: so many sets, each with a volume and 4 MiB of log of its own.
up_sets()
{
	dd if=/dev/zero of=/dev/pmem0 bs=1M count=256 conv=fsync 2>/dev/null
	i=0
	while [ $i -lt "$1" ]; do
		dmsetup create "rc$i" --table "0 $sectors remote-copy initiator s$i /dev/nullb0 12 \
			log /dev/pmem0 log_offset $((i * 4))M log_size 4M partner none remote dev:/dev/nullb1 create in_step"
		i=$((i + 1))
	done
}

down_sets() { dmsetup remove_all; }

# up_remote <one-way delay ms>: /dev/nullb1 behind NVMe over TCP, the target in a namespace of its own.
up_remote()
{
	modprobe -a nvmet nvmet-tcp nvme-tcp
	link here 10.1.0.1 there 10.1.0.2 "$1"
	(
		cd /sys/kernel/config/nvmet
		mkdir -p subsystems/remote/namespaces/1 ports/1
		echo 1 >subsystems/remote/attr_allow_any_host
		echo /dev/nullb1 >subsystems/remote/namespaces/1/device_path
		echo 1 >subsystems/remote/namespaces/1/enable
		echo tcp >ports/1/addr_trtype
		echo ipv4 >ports/1/addr_adrfam
		echo 10.1.0.2 >ports/1/addr_traddr
		echo 4420 >ports/1/addr_trsvcid
		# ip netns exec would hide configfs under a new /sys.
		nsenter --net=/run/netns/there ln -s "$PWD/subsystems/remote" ports/1/subsystems/remote
	)
	sysctl -q net.core.wmem_max=20000000 net.core.rmem_max=20000000
	for ns in here there; do
		ip netns exec $ns sysctl -q "net.ipv4.tcp_wmem=4096 1000000 20000000" "net.ipv4.tcp_rmem=4096 1000000 20000000"
	done
	nsenter --net=/run/netns/here nvme connect -t tcp -a 10.1.0.2 -s 4420 -n remote >/dev/null
	poll 10 test -b /dev/nvme0n1
}
