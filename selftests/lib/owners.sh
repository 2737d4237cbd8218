# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2154,SC2120 # topology.sh's variables
#
# What fencing.sh and ownership.sh share: two controllers whose owner is fenced by reservations and
# known to the ownership record. Their remote, which stands in this kernel, has no reservations.

bytes=$((SECTORS * 512))
v1=/dev/mapper/a1-v v2=/dev/mapper/a2-v
fencing=reservation

# A volume on either node; what is said here replaces the defaults.
fenced_line()	# <role> <node> <key> <value>...
{
	local role=$1 node=$2
	shift 2
	partner_line "$role" "$node" fencing "$fencing" remote_fencing none \
		metadata "$(meta_of "$node")" "$@"
}

make_owner() { dm_create "$1" "$1-v" "$(fenced_line initiator "$@")"; }
make_standby() { dm_create "$1" "$1-v" "$(fenced_line standby "$@")"; }

# A volume that must be refused, with the words that the kernel's log has for it.
refused()	# <regex> <role> <node> <key> <value>...
{
	local regex=$1 role=$2 node=$3
	shift
	forget_log
	if dm_create "$node" "$node-v" "$(fenced_line "$@")" 2>/dev/null; then
		note "was taken"
		return 1
	fi
	said "$regex"
	! dm_exists "$node-v" || remove "$node-v"
}

both_agree()
{
	wait_state a1-v serving
	wait_field a1-v mirror mirrored
	wait_field a2-v mirror complete
}

# a1 is the owner, a2 the standby, and a2's copy is complete.
pair()	# <key> <value>...
{
	make_standby a2 "$@"
	make_owner a1 "$@"
	both_agree
}

load_on() { start load python3 "$here/lib/ioplay.py" load "$1" $bytes 0 "${2:-1}" 16384; }
more_writes() { field_above "$1" writes $(($2 + 20)); }
load_goes_on() { poll more_writes "${1:-a1-v}" "$(status_field "${1:-a1-v}" writes)"; }

journal()	# <device>...
{
	: >"$state/record"
	start journal python3 "$here/lib/ioplay.py" journal 11 1 "$state/record" 0 "$@"
}

told() { grep -Ec '^[0-9]+$' "$state/record"; }
told_above() { [ "$(told)" -gt "$1" ]; }
journal_goes_on() { poll told_above $(($(told) + ${1:-10})); }

# All that the host was told is there, in order.
has_journal()	# <device>...
{
	[ "$(python3 "$here/lib/ioplay.py" prefix 11 1 "$state/record" "$@")" -ge "$(told)" ]
}

arrived()	# <name>
{
	settle "$1"
	converged
}

suspend() { run dmsetup suspend "$1"; }
resume() { run dmsetup resume "$1"; }

refuses()	# <regex> <message to a device...>
{
	local regex=$1 device=$2
	shift 2
	forget_log
	fails dmsetup message "$device" 0 "$@" 2>/dev/null
	said "$regex"
}

# --- what pr.py shows ---------------------------------------------------------------------------

shown() { python3 "$here/lib/pr.py" show "$1"; }
holder_of() { shown "$1" | sed 's/.* holder \([^ ]*\).*/\1/'; }
type_of_kind() { case $fencing in reservation) echo 1 ;; *) echo 3 ;; esac }

# A node of the set in its reign number so-and-so is what both devices are reserved for, and it is no
# other node than the one in question.
held()	# <local device> <metadata device> <reign>
{
	local device key
	key=$(holder_of "$1")
	note "$1: $(shown "$1")"
	note "$2: $(shown "$2")"
	# A key's last half is the reign.
	[ $((key & 0xffffffff)) = "$3" ] || return 1
	for device in "$1" "$2"; do
		[[ $(shown "$device") == *" type $(type_of_kind) holder $key keys "*"$key"* ]] || return 1
	done
}

# And the key is not registered any more.
nobody_holds()	# <device> <key>
{
	note "$1: $(shown "$1")"
	[[ $(shown "$1") == *" type 0 holder 0x0 "* ]] && [[ $(shown "$1") != *" $2"* ]]
}

conflict()	# <device>
{
	note "+ ! write to $1: EBADE"
	[[ $(python3 "$here/lib/pr.py" write "$1" "" 2>&1) == *EBADE ]]
}
