#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# vm: --disk 64 --disk 64 --disk 64 --pmem 32 --pmem 32 --timeout 900
#
# Two controllers with TCP between them: the mirror, a bad network, a partner that goes and comes, and
# takeovers. A controller "dies" here by having its link cut; real deaths need several machines.

. "$(dirname "$0")/topology.sh"

bytes=$((SECTORS * 512))
v1=/dev/mapper/a1-v v2=/dev/mapper/a2-v

load_on() { start load python3 "$here/lib/ioplay.py" load "$1" $bytes 0 "${2:-1}" 16384; }
more_writes() { field_above "$1" writes $(($2 + 20)); }
load_goes_on() { poll more_writes "${1:-a1-v}" "$(status_field "${1:-a1-v}" writes)"; }
journal()
{
	: >"$state/record"
	start journal python3 "$here/lib/ioplay.py" journal 11 1 "$state/record" 0 "$1"
}
told_above() { [ "$(tail -n 1 "$state/record")" -gt "$1" ]; } 2>/dev/null

# a1 is the owner, a2 the standby, and a2's copy is complete.
pair()	# <key> <value>...
{
	standby a2 "$@"
	initiator a1 "$@"
	wait_state a1-v serving
	wait_field a1-v mirror mirrored
	field_is a1-v partner connected
	wait_field a2-v mirror complete
}

arrived()	# <name>
{
	settle "$1"
	converged
}

bytes_are_mirrored()
{
	# Both regions alike before, so that they can be compared as a whole.
	io zero $((32 << 20)) "$LOG1" "$LOG2"
	pair
	io mixed $v1 "$PLAIN" $bytes 60
	load_on $v1
	load_goes_on
	halt load
	arrived a1-v
	same_logs
	[ "$(status_field a1-v seq_last)" -le "$(status_field a2-v mirrored)" ]
}

bad_network()
{
	pair
	load_on $v1
	netem delay 5ms 3ms loss 2% duplicate 2% reorder 25%
	load_goes_on
	netem delay 2ms corrupt 2%
	load_goes_on
	no_netem
	wait_field a1-v mirror mirrored
	load_goes_on
	halt load
	arrived a1-v
	journal $v1
	netem delay 20ms
	poll told_above 5
	no_netem
	halt journal
	wait_field a1-v mirror mirrored
	arrived a1-v
}

link_goes_and_comes()
{
	local n=0
	pair
	load_on $v1
	while [ $((n += 1)) -le 3 ]; do
		load_goes_on
		cut_link
		wait_field a1-v partner disconnected
		said 'the partner is lost: writes wait for it'
		field_is a1-v mirror lost
		heal_link
		wait_field a1-v mirror mirrored
		forget_log
	done
	load_goes_on
	halt load
	arrived a1-v
	# A connection that the network kills, not a side.
	if command -v ss >/dev/null; then
		load_on $v1 2
		load_goes_on
		a1 ss -K dst 10.99.0.2 >/dev/null
		said "the partner's session ends"
		wait_field a1-v mirror mirrored
		load_goes_on
		halt load
		arrived a1-v
	fi
}

partner_goes_and_comes()
{
	pair
	io write $v1 0 4096 1
	remove a2-v
	said 'the partner is lost: writes wait for it'
	start one python3 "$here/lib/ioplay.py" write $v1 8192 4096 2
	stays 2 running one
	# What is not mirrored is nowhere else either.
	fails python3 "$here/lib/ioplay.py" expect "$LOCAL" 8192 4096 2
	fails python3 "$here/lib/ioplay.py" expect "$REMOTE" 8192 4096 2
	# Reads are served.
	io expect $v1 0 4096 1
	standby a2
	finish one
	wait_field a1-v mirror mirrored
	arrived a1-v
	io expect "$REMOTE" 8192 4096 2
}

detached()
{
	pair
	fails dmsetup message a1-v 0 detach force
	said "detach: the partner's copy is mirrored, not lost"
	cut_link
	wait_field a1-v partner disconnected
	start one python3 "$here/lib/ioplay.py" write $v1 8192 4096 2
	stays 1 running one
	detach a1
	said 'detached from its partner by force, generation [0-9]*'
	finish one
	field_is a1-v mirror out-of-date
	field_is a1-v fencing unfenced
	load_on $v1
	load_goes_on
	# The owner made anew knows that it may serve alone.
	halt load
	remove a1-v
	initiator a1
	wait_state a1-v serving
	load_on $v1 2
	load_goes_on
	heal_link
	wait_field a1-v mirror mirrored
	load_goes_on
	halt load
	arrived a1-v
	field_is a1-v fencing none
	wait_field a2-v mirror complete
	# And its copy counts again.
	cut_link
	wait_field a2-v partner disconnected
	takeover a2 force
	wait_state a2-v serving
	arrived a2-v
}

standby_refuses()
{
	pair
	fails python3 "$here/lib/ioplay.py" write $v2 0 4096 1
	said 'I/O refused: this node is the standby; it serves the volume only after a takeover'
	fails dd if=$v2 of=/dev/null bs=4k count=1 iflag=direct status=none
	fails dmsetup message a2-v 0 takeover
	said 'takeover refused: the owner is alive and connected'
	fails dmsetup message a2-v 0 detach force
	said 'detach: this node does not own the set, it is standby'
	cut_link
	wait_field a2-v partner disconnected
	fails dmsetup message a2-v 0 takeover
	said 'takeover refused: the old owner is not fenced'
	wait_state a2-v standby
	heal_link
	wait_field a1-v mirror mirrored
}

incomplete_copy()
{
	# A standby that was never complete has nothing to take over.
	standby a2 fencing external
	wait_state a2-v standby
	fails dmsetup message a2-v 0 takeover
	said "takeover refused: this node's log was never used"
	# One that has missed writes knows it, once it has heard so.
	initiator a1 fencing external
	wait_field a1-v mirror mirrored
	cut_link
	wait_field a1-v partner disconnected
	detach a1
	broken rct-remote
	load_on $v1
	load_goes_on
	halt load
	# 1 KiB a second: catching up takes long.
	netem rate 60kbit
	heal_link
	wait_field a1-v mirror catching-up
	wait_field a2-v mirror incomplete
	cut_link
	no_netem
	wait_field a2-v partner disconnected
	fails dmsetup message a2-v 0 takeover
	said "takeover refused: this node's mirror was being brought up to date and misses writes"
	heal_link
	linear rct-remote
	wait_field a1-v mirror mirrored
	arrived a1-v
}

# The link is cut in the middle of dependent writes, the standby takes over by force, the old owner
# lives and must not do harm when it can be heard again.
forced_takeover()
{
	local told before shipped
	pair
	journal $v1
	poll told_above 30
	broken rct-remote
	poll told_above $(($(tail -n 1 "$state/record") + 10))
	cut_link
	wait_field a1-v partner disconnected
	stays 1 running journal
	told=$(tail -n 1 "$state/record")
	takeover a2 force
	wait_state a2-v serving
	said 'UNFENCED takeover'
	field_is a2-v fencing unfenced
	field_above a2-v takeover_records 9
	# Everything that the host was told is there, in order.
	[ "$(python3 "$here/lib/ioplay.py" prefix 11 1 "$state/record" $v2)" -ge "$told" ]
	io write $v2 $((12 << 20)) 4096 5
	heal_link
	wait_state a1-v fenced
	said 'serving -> fenced: the partner owns the set in generation'
	fails finish journal
	[ "$(tail -n 1 "$state/record")" = "failed after $told" ]
	# From here on both controllers reach the remote: nothing of the old one gets there.
	shipped=$(status_field a1-v shipped)
	linear rct-remote
	arrived a2-v
	before=$(sum_of "$LOCAL")
	fails python3 "$here/lib/ioplay.py" write $v1 0 4096 6
	said 'I/O refused: the partner owns the volume'
	fails dd if=$v1 of=/dev/null bs=4k count=1 iflag=direct status=none
	stays 2 field_is a1-v shipped "$shipped"
	[ "$before" = "$(sum_of "$LOCAL")" ]
	converged
	# Made anew, it stands by, and gets the volume back in order.
	remove a1-v
	initiator a1
	wait_state a1-v standby
	said 'its log will not be replayed|this node keeps the mirror'
	wait_field a2-v mirror mirrored
	wait_field a1-v mirror complete
	load_on $v2
	load_goes_on a2-v
	halt load
	arrived a2-v
	remove a2-v
	takeover a1 force
	wait_state a1-v serving
	standby a2
	wait_field a1-v mirror mirrored
	load_on $v1 2
	load_goes_on
	halt load
	arrived a1-v
}

fenced_externally()
{
	pair fencing external
	load_on $v1
	load_goes_on
	cut_link
	wait_field a2-v partner disconnected
	takeover a2
	wait_state a2-v serving
	field_is a2-v fencing external
	halt_fenced
	arrived a2-v
	[ "$(status_field a2-v generation)" -ge 2 ]
}

# The load waits for a partner that does not come back as one: it ends with an error once the link is
# whole and its node is fenced.
halt_fenced()
{
	heal_link
	wait_state a1-v fenced
	fails finish load
}

by_itself()
{
	pair takeover auto fencing external
	load_on $v1
	load_goes_on
	# An orderly end of the owner is no reason.
	halt load
	arrived a1-v
	remove a1-v
	said 'the owner leaves in order'
	stays 2 field_is a2-v state standby
	initiator a1 takeover auto fencing external
	wait_field a1-v mirror mirrored
	load_on $v1 2
	load_goes_on
	cut_link
	wait_state a2-v serving 10
	said 'the owner has not been heard for too long'
	note "took $(status_field a2-v takeover_ms) ms, $(status_field a2-v takeover_records) records"
	halt_fenced
	load_on $v2 3
	load_goes_on a2-v
	halt load
	arrived a2-v
}

restarted_owner_waits()
{
	local told
	pair
	journal $v1
	poll told_above 20
	broken rct-remote
	poll told_above $(($(tail -n 1 "$state/record") + 10))
	halt journal
	told=$(grep -c . "$state/record")
	cut_link
	remove a1-v
	# Only the partner knows whether it has taken over.
	initiator a1
	wait_state a1-v waiting-for-partner
	start one dd if=$v1 of=/dev/null bs=4k count=1 iflag=direct status=none
	stays 2 running one
	field_is a1-v state waiting-for-partner
	heal_link
	wait_state a1-v serving
	finish one
	wait_field a1-v mirror mirrored
	[ "$(python3 "$here/lib/ioplay.py" prefix 11 1 "$state/record" $v1)" -ge "$told" ]
	linear rct-remote
	arrived a1-v
	# The same, but the partner has taken over meanwhile.
	cut_link
	remove a1-v
	wait_field a2-v partner disconnected
	takeover a2 force
	wait_state a2-v serving
	io write $v2 0 4096 8
	initiator a1
	wait_state a1-v waiting-for-partner
	heal_link
	wait_state a1-v standby
	said "this node's generation [0-9]* is outdated and its log will not be replayed|the partner owns the set"
	wait_field a2-v mirror mirrored
	arrived a2-v
	io expect "$REMOTE" 0 4096 8
}

tests "the mirror holds the same bytes" bytes_are_mirrored \
	"a network that delays, loses, reorders and corrupts" bad_network \
	"the link goes and comes" link_goes_and_comes \
	"the partner goes and comes" partner_goes_and_comes \
	"the partner is detached" detached \
	"what a standby refuses" standby_refuses \
	"a copy that misses writes is not taken over" incomplete_copy \
	"a forced takeover, and the old owner comes back" forced_takeover \
	"a takeover with external fencing" fenced_externally \
	"an automatic takeover" by_itself \
	"an owner that starts again asks its partner" restarted_owner_waits
