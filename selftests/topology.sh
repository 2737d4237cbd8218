# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# The one topology of all tests: two controllers of a site, in one kernel.
#
#    network namespace a1                       network namespace a2
#  ┌──────────────────────────┐               ┌──────────────────────────┐
#  │ a1-v                     │  veth, netem  │                     a2-v │
#  │ 10.99.0.1:7001 ──────────┼───────────────┼────────── 10.99.0.2:7001 │
#  │ log: $LOG1               │               │               log: $LOG2 │
#  └────────┬─────────────┬───┘               └───┬─────────────┬────────┘
#           │             │                       │             │
#           │  ┌──────────┼───────────────────────┘             │
#           │  │          └──────────────────────────────────┐  │
#           ▼  ▼                                             ▼  ▼
#    rct-local (dm-linear)                           rct-remote (dm-linear)
#           │                                                │
#        $LOCAL                    $PLAIN                 $REMOTE
#                       (gets the same writes, directly)
#
# A volume is a dm device made in its controller's namespace, which is what the module keys its sets
# by. rct-local and rct-remote stand between, so that a test can make them fail, wait or freeze.
#
# With FENCED=nvme or FENCED=scsi the local unit, and a metadata device beside it, have persistent
# reservations, and each controller reaches them on a path of its own, as a host of its own:
#
#       $local1  $meta1                                    $local2  $meta2
#            └──────┴──────────┐                  ┌────────────┴──────┘
#                            nvmet, or a SCSI target (LIO)
#                          rct-local             rct-meta
#
# FENCED=direct has the same devices without reservations; if FENCED is empty, there are $local1 and
# $local2, both rct-local, and no metadata device. It may be set for some of a file's tests:
#
#    need_fencing nvme scsi
#    FENCED=nvme tests "a fenced owner stops" fenced_owner_stops
#
# What a test file looks like:
#
#    . "$(dirname "$0")/topology.sh"
#    writes_arrive() { ...; }               # any command that fails, fails the test
#    tests "what a write does" writes_arrive
#
# Each test is a shell of its own with blank logs and equal disks; afterwards everything that it made
# is removed, and that nothing is left is a test too. Devices: LOG1, LOG2 (persistent memory) and
# LOCAL, REMOTE, PLAIN (at least 32 MiB each) from the environment; their content is lost. In the
# project's own virtual machine (scripts/vm/run) they are known. Without LOCAL, REMOTE and PLAIN, RAM
# disks are made.

set -o pipefail
export LC_ALL=C
here=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")

SKIP=4			# kselftest's exit status for "cannot run here"
: "${SECTORS:=32768}"	# of a volume
META_SECTORS=2048	# of the metadata device
: "${PATIENCE:=20}"	# seconds that a poll may take
: "${TEST_SECONDS:=150}" # that a test may take
PORT=7001

state=$(mktemp -d)
mkfifo "$state/naps"
exec {naps}<>"$state/naps"
number=0 failures=0 seen=0
loaded_here=

skip()	# <why...>
{
	echo "1..0 # SKIP $*"
	exit $SKIP
}

# --- printing and polling ---------------------------------------------------------------------

# With the seconds since the file began.
note()
{
	local t=$((${EPOCHREALTIME/./} / 100000 - began_at))
	printf '# %3d.%d %s\n' $((t / 10)) $((t % 10)) "$*"
}
began_at=$((${EPOCHREALTIME/./} / 100000))

# Runs a command and says so.
run()	# <command...>
{
	note "+ $*"
	"$@"
}

# Runs a command that must fail.
fails()	# <command...>
{
	note "+ ! $*"
	! "$@"
}

# A short pause without a process: they are dear in an emulated machine.
nap() { read -rt "${1:-0.05}" -u "$naps" || true; }

# Waits until a command succeeds.
poll_for()	# <seconds> <command...>
{
	local until=$((SECONDS + $1))
	shift
	until "$@"; do
		if [ $SECONDS -ge $until ]; then
			note "waited in vain: $*"
			return 1
		fi
		nap
	done
}

poll() { poll_for "$PATIENCE" "$@"; }

# Checks that a command succeeds all the time.
stays()	# <seconds> <command...>
{
	local until=$((SECONDS + $1 + 1)) what
	shift
	what=$*
	while [ $SECONDS -lt $until ]; do
		if ! "$@"; then
			note "did not stay: $what"
			return 1
		fi
		nap
	done
}

# The kernel's log since the test (or the last `forget_log`) began.
klog() { dmesg | sed "1,/rct: $(<"$state/mark")\$/d"; }

forget_log()
{
	local mark
	mark="mark $BASHPID.$RANDOM.$SECONDS"
	echo "$mark" >"$state/mark"
	echo "rct: $mark" >/dev/kmsg
}

has_said() { klog | grep -Eq -- "$1"; }

# The kernel's log has a line that matches (or gets one soon).
said()	# <regex>
{
	note "+ said $1"
	if ! poll_for 5 has_said "$1"; then
		note "the kernel's log has no '$1' but:"
		klog | tail -n 8 | sed 's/^/#   /'
		return 1
	fi
}

# --- controllers ------------------------------------------------------------------------------

a1() { note "a1: $*"; ip netns exec a1 "$@"; }
a2() { note "a2: $*"; ip netns exec a2 "$@"; }

address() { case $1 in a1) echo 10.99.0.1 ;; a2) echo 10.99.0.2 ;; esac }
other() { case $1 in a1) echo a2 ;; a2) echo a1 ;; esac }
log_of() { case $1 in a1) echo "$LOG1" ;; a2) echo "$LOG2" ;; esac }
local_of() { case $1 in a1) echo "$local1" ;; a2) echo "$local2" ;; esac }
meta_of() { case $1 in a1) echo "$meta1" ;; a2) echo "$meta2" ;; esac }

network()
{
	ip netns add a1
	ip netns add a2
	ip link add veth1 netns a1 type veth peer name veth2 netns a2
	ip -n a1 address add 10.99.0.1/24 dev veth1
	ip -n a2 address add 10.99.0.2/24 dev veth2
	ip -n a1 link set lo up
	ip -n a2 link set lo up
	ip -n a1 link set veth1 up
	ip -n a2 link set veth2 up
}

cut_link() { run ip -n a1 link set veth1 down; }
heal_link() { run ip -n a1 link set veth1 up; }

netem()	# <what netem shall do...>
{
	run ip netns exec a1 tc qdisc replace dev veth1 root netem "$@"
	run ip netns exec a2 tc qdisc replace dev veth2 root netem "$@"
}

no_netem()
{
	ip netns exec a1 tc qdisc delete dev veth1 root 2>/dev/null
	ip netns exec a2 tc qdisc delete dev veth2 root 2>/dev/null
	return 0
}

# --- devices ----------------------------------------------------------------------------------

dm_exists() { dmsetup info "$1" >/dev/null 2>&1; }

# dmsetup create, and the device is removed when the test ends.
dm_create()	# <node, or - for this namespace> <name> <table>
{
	local node=$1 name=$2 table=$3 in=()
	[ "$node" = - ] || in=(ip netns exec "$node")
	echo "$name" >>"$state/devices"
	note "${node#-}+ dmsetup create $name --table '$table'"
	"${in[@]}" dmsetup create "$name" --table "$table"
}

# Puts another table under a device.
dm_swap()	# <name> <table>
{
	run dmsetup load "$1" --table "$2" &&
		run dmsetup suspend "$1" &&
		run dmsetup resume "$1"
}

# What is under a device of ours: sectors, device, and where it begins there.
under()
{
	case $1 in
	rct-local) echo "$SECTORS" "$LOCAL" 0 ;;
	rct-remote) echo "$SECTORS" "$REMOTE" 0 ;;
	# The volume's equal does not reach this far.
	rct-meta) echo "$META_SECTORS" "$PLAIN" "$SECTORS" ;;
	esac
}

linear_line()
{
	local sectors device begin
	read -r sectors device begin <<<"$(under "$1")"
	echo "0 $sectors linear $device $begin"
}

linear() { dm_swap "$1" "$(linear_line "$1")"; }
broken()	# <name>; one that a test made for itself is as long as a volume
{
	local sectors
	sectors=$(under "$1" | cut -d ' ' -f 1)
	dm_swap "$1" "0 ${sectors:-$SECTORS} error"
}

# A table line's options, with the defaults of a role: later values replace earlier ones, a value of
# "-" leaves the key out.
line()	# <role> <set> <local device> <key> <value>...
{
	local role=$1 set=$2 local=$3 words="" n=0 k
	local -A option=()
	local keys=()
	shift 3
	while [ $# -gt 0 ]; do
		[ -n "${option[$1]+there}" ] || keys+=("$1")
		option[$1]=$2
		shift 2
	done
	for k in "${keys[@]}"; do
		[ "${option[$k]}" != - ] || continue
		words+=" $k ${option[$k]}"
		n=$((n + 2))
	done
	echo "0 $SECTORS remote-copy $role $set $local $n$words"
}

# A volume with a partner, as the initiator or as the standby.
initiator()	# <node> <key> <value>...
{
	volume initiator "$@"
}

standby()	# <node> <key> <value>...
{
	volume standby "$@"
}

volume()	# <role> <node> <key> <value>...
{
	local role=$1 node=$2
	shift 2
	dm_create "$node" "$node-v" "$(partner_line "$role" "$node" "$@")"
}

partner_line()	# <role> <node> <key> <value>...
{
	local role=$1 node=$2
	shift 2
	line "$role" s1 "$(local_of "$node")" log "$(log_of "$node")" \
		remote dev:/dev/mapper/rct-remote listen "$(address "$node"):$PORT" \
		partner "$(address "$(other "$node")"):$PORT" ping_ms 200 ping_misses 5 \
		create "$([ "$role" = initiator ] && echo in_step || echo -)" "$@"
}

# A volume without a partner, in a1.
single()	# <key> <value>...
{
	dm_create a1 a1-v "$(single_line "$@")"
}

single_line()
{
	line initiator s1 "$local1" log "$LOG1" remote dev:/dev/mapper/rct-remote \
		partner none create in_step "$@"
}

# Removes a device; the answer of dmsetup remove, which is asked again while somebody (blkid, udev)
# has it open for a moment.
remove()	# <name>
{
	note "+ dmsetup remove $1"
	poll_for 5 dmsetup remove "$1" 2>/dev/null
}

status_field()	# <name> <field>
{
	dmsetup status "$1" | awk -v f="$2" '{ for (i = 4; i < NF; i += 2) if ($i == f) print $(i + 1) }'
}

# shellcheck disable=SC2053 # a pattern
field_is() { [[ $(status_field "$1" "$2") == $3 ]]; } 2>/dev/null
field_above() { [ "$(status_field "$1" "$2")" -gt "$3" ]; } 2>/dev/null

wait_field()	# <name> <field> <pattern> [seconds]
{
	note "+ wait for $1: $2 $3"
	if ! poll_for "${4:-$PATIENCE}" field_is "$1" "$2" "$3"; then
		dmsetup status "$1" | sed 's/^/# /'
		return 1
	fi
}

wait_state() { wait_field "$1" state "$2" "${3:-$PATIENCE}"; }

# All that was written is at the remote, and the log is empty.
settled()	# <name>
{
	field_is "$1" remote in-step && field_is "$1" log_records '0/*'
}

settle()	# <name>
{
	note "+ settle $1"
	if ! poll_for 60 settled "$1"; then
		dmsetup status "$1" | sed 's/^/# /'
		return 1
	fi
}

takeover()	# <node> [force]
{
	local node=$1
	shift
	run dmsetup message "$node-v" 0 takeover "$@"
}

detach() { run dmsetup message "$1-v" 0 detach force; }

# --- a local unit with persistent reservations ----------------------------------------------------

nvmet=/sys/kernel/config/nvmet
scsi=/sys/kernel/config/target
fenced_nqn=rct

pr() { run python3 "$here/lib/pr.py" "$@"; }

# Skips the file where one of these kinds of local unit can't be had.
need_fencing()	# nvme, scsi...
{
	local kind
	grep -q ' /sys/kernel/config ' /proc/mounts || mount -t configfs none /sys/kernel/config || skip "no configfs"
	for kind in "$@"; do
		case $kind in
		nvme)	# With multipath, two paths of one kernel are one device and one host.
			modprobe -q nvme-core multipath=N
			modprobe -aq nvmet nvme-loop || skip "no nvmet, no nvme-loop"
			grep -qx N /sys/module/nvme_core/parameters/multipath 2>/dev/null ||
				skip "nvme-core is there, and without multipath=N"
			;;
		scsi)	modprobe -aq target_core_mod target_core_iblock tcm_loop sd_mod || skip "no tcm_loop"
			;;
		esac
	done
}

fence_direct()
{
	local1=/dev/mapper/rct-local meta1=/dev/mapper/rct-meta
	local2=$local1 meta2=$meta1
}

fence_nvme()
{
	local n host
	local subsystem=$nvmet/subsystems/$fenced_nqn
	mkdir "$subsystem"
	echo 1 >"$subsystem/attr_allow_any_host"
	for n in 1 2; do
		mkdir "$subsystem/namespaces/$n"
		echo "/dev/mapper/rct-$([ $n = 1 ] && echo local || echo meta)" >"$subsystem/namespaces/$n/device_path"
		# Only before it is enabled.
		echo 1 >"$subsystem/namespaces/$n/resv_enable"
		echo 1 >"$subsystem/namespaces/$n/enable"
	done
	mkdir "$nvmet/ports/1"
	echo loop >"$nvmet/ports/1/addr_trtype"
	ln -s "$subsystem" "$nvmet/ports/1/subsystems/$fenced_nqn"
	for n in 1 2; do
		host=$(fenced_host $n)
		echo "transport=loop,nqn=$fenced_nqn,hostnqn=nqn.2014-08.org.nvmexpress:uuid:$host,hostid=$host" \
			>/dev/nvme-fabrics || return 1
		poll nvme_paths "$n" >/dev/null || return 1
	done
	read -r local1 meta1 <<<"$(nvme_paths 1)"
	read -r local2 meta2 <<<"$(nvme_paths 2)"
}

fenced_host() { echo "00000000-0000-4000-8000-00000000000$1"; }

fenced_controllers() { grep -lx $fenced_nqn /sys/class/nvme/*/subsysnqn 2>/dev/null; }

# The devices of a host, in the order of their namespaces, once they are there. Their names follow
# the order in which they were found, which is any.
nvme_paths()	# <host>
{
	local c n path found=()
	for c in $(fenced_controllers); do
		grep -qx "$(fenced_host "$1")" "${c%/*}/hostid" || continue
		for n in 1 2; do
			for path in $(grep -lx $n "${c%/*}"/nvme*n*/nsid 2>/dev/null); do
				path=${path%/nsid}
				[ -b "/dev/${path##*/}" ] && found+=("/dev/${path##*/}")
			done
		done
	done
	[ ${#found[@]} = 2 ] && echo "${found[@]}"
}

fence_scsi()
{
	local n name target local meta
	# Where a target keeps reservations that shall survive it; without, it refuses to register.
	mkdir -p "$(<$scsi/dbroot)/pr"
	for name in local meta; do
		mkdir -p "$scsi/core/iblock_0/$name"
		echo "udev_path=/dev/mapper/rct-$name" >"$scsi/core/iblock_0/$name/control"
		echo "rct-$name" >"$scsi/core/iblock_0/$name/wwn/vpd_unit_serial"
		echo 1 >"$scsi/core/iblock_0/$name/enable"
	done
	for n in 1 2; do
		target=$scsi/loopback/naa.500140500000000$n/tpgt_1
		mkdir -p "$target/lun/lun_0" "$target/lun/lun_1"
		echo "naa.600140500000000$n" >"$target/nexus"
		ln -s "$scsi/core/iblock_0/local" "$target/lun/lun_0/disk"
		ln -s "$scsi/core/iblock_0/meta" "$target/lun/lun_1/disk"
		poll scsi_paths "$n" >/dev/null || return 1
	done
	for n in 1 2; do
		# By way of device-mapper, which forgets that a preempt shall abort: tcm_loop's commands come
		# from a queue, and to abort them from there LIO waits for itself.
		read -r local meta <<<"$(scsi_paths $n)"
		dm_create - "scsi-local$n" "0 $SECTORS linear $local 0" &&
			dm_create - "scsi-meta$n" "0 $META_SECTORS linear $meta 0" || return 1
	done
	local1=/dev/mapper/scsi-local1 meta1=/dev/mapper/scsi-meta1
	local2=/dev/mapper/scsi-local2 meta2=/dev/mapper/scsi-meta2
}

scsi_paths()	# <host>
{
	local lun path found=()
	for lun in 0 1; do
		for path in "/sys/bus/scsi/devices/$(<"$scsi/loopback/naa.500140500000000$1/tpgt_1/address"):$lun/block"/*; do
			[ -b "/dev/${path##*/}" ] && found+=("/dev/${path##*/}")
		done
	done
	[ ${#found[@]} = 2 ] && echo "${found[@]}"
}

# Takes away whichever of them there is.
unfence()
{
	local path
	for path in $(fenced_controllers); do echo 1 >"${path%/*}/delete_controller"; done
	if [ -d $nvmet/subsystems/$fenced_nqn ]; then
		rm -f $nvmet/ports/1/subsystems/$fenced_nqn
		rmdir $nvmet/ports/1 $nvmet/subsystems/$fenced_nqn/namespaces/* $nvmet/subsystems/$fenced_nqn
	fi
	for path in "$scsi"/loopback/naa.*; do
		[ -d "$path" ] || continue
		rm -f "$path"/tpgt_1/lun/lun_*/disk
		rmdir "$path"/tpgt_1/lun/lun_* "$path/tpgt_1" "$path"
	done
	for path in "$scsi"/core/iblock_0/{local,meta}; do
		[ ! -d "$path" ] || rmdir "$path"
	done
	[ ! -d $scsi/core/iblock_0 ] || rmdir $scsi/core/iblock_0
}

# What tests with FENCED=nvme and FENCED=scsi rely upon, itself a test: each controller is a host, and
# one can take either device away from the other.
fencing_works()
{
	have_sectors "$SECTORS" "$local1" "$local2"
	have_sectors "$META_SECTORS" "$meta1" "$meta2"
	taken_away "$local1" "$local2"
	taken_away "$meta1" "$meta2"
}

have_sectors()	# <sectors> <device>...
{
	local device sectors=$1
	shift
	for device in "$@"; do [ "$(blockdev --getsz "$device")" = "$sectors" ] || return 1; done
}

taken_away()	# <from> <by>
{
	pr register "$1" 0xa1
	pr register "$2" 0xa2
	pr reserve "$1" 0xa1
	pr show "$2" | grep -F "type 3 holder 0xa1 keys 0xa1 0xa2"
	# Zeros, of which the device is full.
	pr write "$1" ""
	pr write "$2" ""
	fails python3 "$here/lib/pr.py" preempt "$2" 0xbad 0xa1
	pr preempt "$2" 0xa2 0xa1
	pr show "$1" | grep -F "type 3 holder 0xa2 keys 0xa2"
	# It is no registrant any more.
	fails python3 "$here/lib/pr.py" write "$1" "" 2>&1 | grep EBADE
	fails python3 "$here/lib/pr.py" reserve "$1" 0xa1 2>&1 | grep "reservation conflict"
	pr write "$2" ""
	pr clear "$2" 0xa2
	pr write "$1" ""
}

# --- bytes ------------------------------------------------------------------------------------

io() { run python3 "$here/lib/ioplay.py" "$@"; }
logedit() { run python3 "$here/lib/logedit.py" "$@"; }

# Whether devices hold the same bytes, as far as a volume reaches.
same_bytes()	# <device> <device>
{
	io same "$1" "$2" $((SECTORS * 512))
}

converged() { same_bytes "$LOCAL" "$REMOTE"; }

sum_of() { python3 "$here/lib/ioplay.py" sum "$1" $((SECTORS * 512)); }

# Whether both nodes' logs hold the same bytes behind the superblocks and marks.
same_logs()
{
	io same "$LOG1" "$LOG2" - 16384
}

# Starts something beside the test; `finish` waits for it.
start()	# <name> <command...>
{
	local name=$1
	shift
	note "+ $* &"
	"$@" >"$state/$name.out" 2>&1 &
	echo $! >"$state/$name.pid"
	echo $! >>"$state/started"
}

running() { kill -0 "$(<"$state/$1.pid")" 2>/dev/null; }

finish()	# <name>
{
	local rc
	wait "$(<"$state/$1.pid")"
	rc=$?
	note "$1 ended with status $rc"
	sed 's/^/#   /' "$state/$1.out" | tail -n 20
	return $rc
}

halt()	# <name>
{
	kill "$(<"$state/$1.pid")" 2>/dev/null
	wait "$(<"$state/$1.pid")" 2>/dev/null
	note "$1 stopped"
}

# --- tests ------------------------------------------------------------------------------------

# Blank logs, equal disks, the devices under the volumes, a whole network.
fresh()
{
	python3 "$here/lib/ioplay.py" blank "$LOG1" "$LOG2" || return 1
	python3 "$here/lib/ioplay.py" zero $((SECTORS * 512)) "$LOCAL" "$REMOTE" "$PLAIN" || return 1
	dm_create - rct-local "$(linear_line rct-local)" >/dev/null &&
		dm_create - rct-remote "$(linear_line rct-remote)" >/dev/null || return 1
	local1=/dev/mapper/rct-local local2=/dev/mapper/rct-local
	[ -n "$FENCED" ] || return 0
	dm_create - rct-meta "$(linear_line rct-meta)" >/dev/null &&
		python3 "$here/lib/ioplay.py" zero $((META_SECTORS * 512)) /dev/mapper/rct-meta &&
		"fence_$FENCED" &&
		note "a1 has $local1 and $meta1, a2 has $local2 and $meta2"
}

# What the test made, volumes before what is under them.
ours()
{
	[ -e "$state/devices" ] || return 0
	sort -u "$state/devices" | grep -v '^rct-'
	sort -u "$state/devices" | grep '^rct-'
}

remove_all()
{
	local name pid
	if [ -e "$state/started" ]; then
		while read -r pid; do kill -9 "$pid" 2>/dev/null; done <"$state/started"
		rm "$state/started"
	fi
	no_netem
	ip -n a1 link set veth1 up 2>/dev/null
	for name in $(ours); do
		# What waits below, ends.
		case $name in rct-*) dmsetup resume "$name" 2>/dev/null ;; esac
	done
	for name in $(ours); do
		dm_exists "$name" || continue
		# What is above the last devices is gone now, or stays.
		case $name in rct-*) unfence ;; esac
		poll_for 3 dmsetup remove "$name" 2>/dev/null ||
			poll_for 3 dmsetup remove --force "$name" 2>/dev/null ||
			note "$name cannot be removed"
	done
	rm -f "$state/devices"
}

# Whether no thread and no socket of the module is left.
nothing_runs()
{
	local left ns
	left=$(cat /proc/[0-9]*/comm 2>/dev/null | grep '^rcopy_')
	[ -z "$left" ] || { note "left: threads $left"; return 1; }
	for ns in a1 a2; do
		# A connection that ended orderly stays in TIME_WAIT (06) for a minute, which is TCP's own.
		left=$(ip netns exec $ns cat /proc/net/tcp /proc/net/tcp6 | awk '$4 != "st" && $4 != "06"')
		[ -z "$left" ] || { note "left: sockets in $ns: $left"; return 1; }
	done
}

# And no device, and nobody's claim on one.
nothing_left()
{
	local left
	left=$(dmsetup ls | grep -v '^No devices' | grep -vxFf "$state/ls.before")
	[ -z "$left" ] || { note "left: dm devices $left"; return 1; }
	nothing_runs &&
		python3 "$here/lib/ioplay.py" unclaimed "$LOG1" "$LOG2" "$LOCAL" "$REMOTE"
}

one_test()	# <description> <function>
{
	local pid until rc began=$SECONDS
	number=$((number + 1))
	note "--- $1"
	forget_log
	(
		set -e
		fresh
		"$2"
	) &
	pid=$!
	until=$((SECONDS + TEST_SECONDS))
	while kill -0 $pid 2>/dev/null; do
		if [ $SECONDS -ge $until ]; then
			note "takes more than $TEST_SECONDS seconds; blocked:"
			echo w >/proc/sysrq-trigger
			kill -9 $pid
			break
		fi
		nap 0.2
	done
	wait $pid
	rc=$?
	if [ $rc != 0 ]; then
		dmsetup status 2>/dev/null | grep remote-copy | sed 's/^/#   /'
		klog | tail -n 40 | sed 's/^/#   | /'
	fi
	remove_all
	if ! poll_for 10 nothing_left >"$state/left"; then
		tail -n 3 "$state/left"
		rc=1
	fi
	if klog | grep -E 'WARNING:|BUG:|Oops|Call Trace|refcount_t|INFO: task .* blocked'; then
		rc=1
	fi
	note "$((SECONDS - began)) seconds"
	if [ $rc = 0 ]; then
		echo "ok $number - $1"
	else
		failures=$((failures + 1))
		echo "not ok $number - $1"
	fi
}

# Whether the next test of this file is one of PART=<i>/<n>: a slow machine's share of it.
of_this_part()
{
	seen=$((seen + 1))
	[ -z "$PART" ] || [ $((seen % ${PART#*/})) = $((${PART%/*} % ${PART#*/})) ]
}

# Runs tests, given as pairs of a description and a function; with TEST=<regex>, only those that match.
tests()	# <description> <function>...
{
	while [ $# -ge 2 ]; do
		if of_this_part && [[ "$1 $2" =~ ${TEST:-.} ]]; then
			one_test "$1" "$2"
		fi
		shift 2
	done
}

module_is_there() { [ -d /sys/module/dm_remote_copy ]; }

load_module()
{
	local ko
	if [ -n "$RCOPY_MODULE" ]; then
		modprobe -a dm-mod libcrc32c 2>/dev/null
		insmod "$RCOPY_MODULE"
	elif [ -x /bin/load-module ]; then
		load-module
	else
		modprobe dm-mod
		for ko in "$here"/../build/dm-remote-copy.ko "$here"/../dm-remote-copy.ko; do
			[ -e "$ko" ] || continue
			insmod "$ko"
			return
		done
		modprobe dm-remote-copy
	fi
}

unload_module() { rmmod dm_remote_copy; }

# Free memory once caches are dropped, in KiB.
free_memory()
{
	sync
	echo 3 >/proc/sys/vm/drop_caches
	awk '$1 == "MemAvailable:" { print $2 }' /proc/meminfo
}

the_end()
{
	local rc=0
	remove_all
	ip netns delete a1 2>/dev/null
	ip netns delete a2 2>/dev/null
	if [ -n "$loaded_here" ]; then
		number=$((number + 1))
		run unload_module || rc=1
		! module_is_there || rc=1
		! dmsetup targets | grep -q remote-copy || rc=1
		[ $rc = 0 ] && echo "ok $number - the module unloads, nothing is left" ||
			echo "not ok $number - the module unloads, nothing is left"
	fi
	rm -rf "$state"
	[ -z "$made_brd" ] || rmmod brd
	echo "1..$number"
	trap - EXIT
	# Without a number it would be the status from before the trap.
	[ $failures = 0 ] || rc=1
	exit $rc
}

need()	# <command...>
{
	local c
	for c in "$@"; do
		command -v "$c" >/dev/null || skip "needs the command $c"
	done
}

find_devices()
{
	local d
	made_brd=
	if [ -e /vm/agent.py ]; then
		# The project's virtual machine: its disks and regions are there for this.
		: "${LOG1:=/dev/pmem0}" "${LOG2:=/dev/pmem1}"
		: "${LOCAL:=/dev/vda}" "${REMOTE:=/dev/vdb}" "${PLAIN:=/dev/vdc}"
	fi
	if [ -z "$LOG1" ] || [ -z "$LOG2" ]; then
		skip "set LOG1 and LOG2 to persistent memory devices of at least 16 MiB whose content may be" \
			"lost; the kernel makes /dev/pmem0 and /dev/pmem1 of RAM with memmap=64M!4G memmap=64M!4160M"
	fi
	if [ -z "$LOCAL$REMOTE$PLAIN" ]; then
		[ ! -d /sys/module/brd ] || skip "brd is in use: set LOCAL, REMOTE and PLAIN"
		modprobe brd rd_nr=3 rd_size=65536 || skip "no brd: set LOCAL, REMOTE and PLAIN"
		made_brd=yes
		LOCAL=/dev/ram0 REMOTE=/dev/ram1 PLAIN=/dev/ram2
	fi
	for d in "$LOG1" "$LOG2" "$LOCAL" "$REMOTE" "$PLAIN"; do
		[ -b "$d" ] || skip "'$d' is no block device"
	done
	export LOG1 LOG2 LOCAL REMOTE PLAIN
}

[ "$(id -u)" = 0 ] || skip "needs root"
need dmsetup ip tc python3 awk
find_devices
[ ! -e /proc/sys/kernel/hung_task_timeout_secs ] || echo 60 >/proc/sys/kernel/hung_task_timeout_secs
if ! module_is_there; then
	load_module || skip "dm-remote-copy cannot be loaded: make module"
	loaded_here=yes
fi
[ -z "$FENCED" ] || need_fencing "$FENCED"
dmsetup ls >"$state/ls.before"
trap the_end EXIT
network
