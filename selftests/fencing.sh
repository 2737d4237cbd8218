#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# vm: --disk 64 --disk 64 --disk 64 --pmem 32 --pmem 32 --timeout 900
#
# One owner: it holds the local unit and the metadata device, and a takeover takes them away from it.

. "$(dirname "$0")/topology.sh"
. "$(dirname "$0")/lib/owners.sh"
need_fencing nvme scsi

# --- the owner holds ------------------------------------------------------------------------------

owner_holds()
{
	local key
	pair
	held "$local2" "$meta2" 1
	field_is a1-v fencing "$fencing"
	field_is a1-v record mine
	field_is a1-v record_generation 1
	field_is a1-v record_mirror up-to-date
	wait_field a2-v record partner 5
	field_is a2-v fencing "$fencing"
	io write $v1 0 4096 1
	# Nobody else writes.
	conflict "$local2"
	conflict "$meta2"
	io expect "$LOCAL" 0 4096 1
	[ "$fencing" != reservation ] || {
		run python3 "$here/lib/pr.py" register "$local2" 0xbad
		conflict "$local2"
		fails python3 "$here/lib/pr.py" reserve "$local2" 0xbad 1
	}
	# Who leaves in order lets go.
	key=$(holder_of "$local2")
	remove a1-v
	said 'the owner leaves in order'
	nobody_holds "$local2" "$key"
	nobody_holds "$meta2" "$key"
	make_owner a1
	wait_state a1-v serving
	held "$local2" "$meta2" 2
	wait_field a1-v record_generation 2
	io expect $v1 0 4096 1
}

# --- a takeover preempts --------------------------------------------------------------------------

# While the host writes as fast as it can, so that writes are under way at the unit.
takeover_under_load()
{
	local n
	pair
	journal $v1
	journal_goes_on 30
	broken rct-remote
	journal_goes_on
	takeover a2 force
	wait_state a2-v serving
	field_is a2-v fencing "$fencing"
	held "$local1" "$meta1" 2
	wait_state a1-v fenced 5
	fails finish journal
	n=$(told)
	[ "$(tail -n 1 "$state/record")" = "failed after $n" ]
	said 'serving -> fenced: '
	wait_field a1-v record partner 5
	# Nothing more is acknowledged, written or read.
	fails python3 "$here/lib/ioplay.py" write $v1 0 4096 6
	said 'I/O refused: the partner owns the volume; remove the device and make it anew'
	fails dd if=$v1 of=/dev/null bs=4k count=1 iflag=direct status=none
	[ "$fencing" != reservation ] || conflict "$local1"
	has_journal $v2
	field_is a2-v record mine
	field_is a2-v record_generation 2
	linear rct-remote
	arrived a2-v
	io write $v2 $((12 << 20)) 4096 5
	stays 2 field_is a1-v state fenced
	arrived a2-v
	# Its volume made anew stands by.
	remove a1-v
	held "$local1" "$meta1" 2
	forget_log
	make_owner a1
	wait_state a1-v standby
	# It may have stood down when it met the new owner.
	said 'standby: (the ownership record says that the partner owns the set in generation 2; this node.s generation 1 is outdated and its log will not be replayed|this node keeps the mirror)'
	wait_field a2-v mirror mirrored
	wait_field a1-v mirror complete
	wait_field a2-v record_mirror up-to-date
	load_on $v2
	load_goes_on a2-v
	halt load
	arrived a2-v
	held "$local1" "$meta1" 2
}

# Nothing is written: it is the keeper that looks.
idle_owner_notices()
{
	pair
	io write $v1 0 4096 1
	cut_link
	wait_field a2-v partner disconnected
	takeover a2
	wait_state a2-v serving
	wait_state a1-v fenced 4
	said 'serving -> fenced: (the ownership record says that the partner owns|the partner has taken the units over)'
	fails python3 "$here/lib/ioplay.py" write $v1 0 4096 2
	io expect $v2 0 4096 1
	io expect "$LOCAL" 0 4096 1
	heal_link
	stays 2 field_is a1-v state fenced
	field_is a2-v state serving
	arrived a2-v
}

# Nobody tells an owner that its unit was taken, and it may read there still.
reads_of_the_overthrown()
{
	local out
	pair
	io write $v1 0 4096 1
	cut_link
	wait_field a1-v partner disconnected
	# Nobody has taken over. It looks before it answers.
	io expect $v1 0 4096 1
	field_is a1-v state serving
	if out=$(python3 "$here/lib/pr.py" taken "$local2" 0xbad "$(holder_of "$local2")" "$(type_of_kind)" $v1 2>&1)
	then
		note "answered: $out"
		return 1
	fi
	[[ $out == *EIO ]]
	wait_state a1-v fenced
	said 'serving -> fenced: '
}

# Both want to go on: whoever is first at the unit does, the other one does not.
both_at_once()
{
	pair partner_lost continue
	journal $v1
	journal_goes_on
	cut_link
	wait_field a2-v partner disconnected
	if dmsetup message a2-v 0 takeover; then
		note "the standby was first"
		wait_state a2-v serving
		wait_state a1-v fenced
		fails finish journal
		has_journal $v2
		arrived a2-v
	else
		note "the owner was first"
		said "takeover refused: this node's mirror is out of date since"
		wait_state a2-v standby
		journal_goes_on
		halt journal
		has_journal $v1
		arrived a1-v
	fi
}

# --- a takeover fails behind its fence ------------------------------------------------------------

# Writes to the metadata device wait, and fail when they go on; reads do not.
meta_writes_wait()
{
	local sectors device begin
	read -r sectors device begin <<<"$(under rct-meta)"
	modprobe -q dm-delay
	dm_create - rct-errors "0 $sectors error" || return 1
	dm_swap rct-meta "0 $sectors delay $device $begin 0 /dev/mapper/rct-errors 0 3600000"
}

# The way from the second host to the units: online, or offline.
second_host() { run tee "$scsi/loopback/naa.5001405000000002/tpgt_1/transport_status" <<<"$1"; }

seized() { [ "$(($(holder_of "$meta1") & 0xffffffff))" = "$1" ]; }

# It has the units, and reaches them no more when its ownership record cannot be written: it cannot give
# them up. The old owner starts again, and its partner is not made anew.
takeover_fails_behind_its_fence()
{
	local key
	pair
	io write $v1 0 4096 1
	arrived a1-v
	cut_link
	wait_field a2-v partner disconnected
	meta_writes_wait
	start takeover dmsetup message a2-v 0 takeover
	poll seized 2
	key=$(holder_of "$meta1")
	wait_state a1-v fenced 5
	second_host offline
	forget_log
	# What waits goes on to where it fails.
	linear rct-meta
	fails finish takeover
	said 'taking-over -> standby: the takeover failed'
	said 'this node stands by, and may still hold units'
	held "$local1" "$meta1" 2
	# The owner comes back, is welcomed, and waits.
	remove a1-v
	make_owner a1
	wait_state a1-v waiting-for-partner
	forget_log
	heal_link
	said 'the partner has reserved it'
	stays 2 field_is a1-v state waiting-for-partner
	field_is a2-v state standby
	forget_log
	second_host online
	said 'the units are given up'
	both_agree
	[ "$(holder_of "$meta1")" != "$key" ]
	held "$local1" "$meta1" "$(status_field a1-v generation)"
	io write $v1 4096 4096 2
	io expect $v1 0 4096 1 4096 4096 2
	arrived a1-v
}

# --- a unit forgets -------------------------------------------------------------------------------

# As a target does that was restarted.
forgets() { pr clear "$1" "$(holder_of "$1")"; }

holds_again()
{
	said 'the reservation of a unit is gone; reserving it again'
	poll_for 5 held "$local2" "$meta2" "$1"
	conflict "$local2"
	forget_log
}

reservation_is_lost()
{
	pair
	load_on $v1
	load_goes_on
	# The session says that nobody has taken over, and so does the record.
	forgets "$local1"
	holds_again 1
	forgets "$meta1"
	holds_again 1
	load_goes_on
	halt load
	# The record alone.
	cut_link
	wait_field a1-v partner disconnected
	forgets "$local1"
	holds_again 1
	heal_link
	wait_field a1-v mirror mirrored
	arrived a1-v
	field_is a1-v state serving
}

reservation_is_lost_without_record()
{
	pair metadata -
	# The session alone.
	forgets "$local1"
	said 'the reservation of a unit is gone; reserving it again'
	poll_for 5 conflict "$local2"
	field_is a1-v state serving
	io write $v1 0 4096 1
	# Nothing.
	cut_link
	wait_field a1-v partner disconnected
	forgets "$local1"
	wait_state a1-v fenced 5
	said 'the reservation of a unit is gone and the partner, which might have had it, does not answer'
	nobody_holds "$local2" none
	fails python3 "$here/lib/ioplay.py" write $v1 0 4096 2
}

export FENCED=nvme
tests "an owner holds its units" owner_holds \
	"a takeover preempts an owner that writes" takeover_under_load \
	"an idle owner notices" idle_owner_notices \
	"an owner that was taken over from answers no read" reads_of_the_overthrown \
	"both partners want to go on" both_at_once \
	"a unit forgets its reservation" reservation_is_lost \
	"and there is no record" reservation_is_lost_without_record
fencing=reservation-registrants
tests "registrants: an owner holds its units" owner_holds \
	"registrants: a takeover preempts an owner that writes" takeover_under_load
fencing=reservation
FENCED=scsi
tests "SCSI: an owner holds its units" owner_holds \
	"SCSI: a takeover preempts an owner that writes" takeover_under_load \
	"SCSI: an idle owner notices" idle_owner_notices \
	"SCSI: a takeover fails behind its fence" takeover_fails_behind_its_fence
