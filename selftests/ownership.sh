#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# vm: --disk 64 --disk 64 --disk 64 --pmem 32 --pmem 32 --timeout 900
#
# Who may own the set, by the ownership record: an owner goes on without its partner, a mirror that is
# out of date is not taken over, it is brought up to date, and the roles are swapped.

# shellcheck disable=SC2119 # they need no arguments
. "$(dirname "$0")/topology.sh"
. "$(dirname "$0")/lib/owners.sh"
need_fencing nvme scsi

# --- the partner is lost --------------------------------------------------------------------------

partner_lost_wait()
{
	pair partner_lost wait
	field_is a1-v partner_lost wait
	io write $v1 0 4096 1
	cut_link
	wait_field a1-v partner disconnected
	start one python3 "$here/lib/ioplay.py" write $v1 8192 4096 2
	stays 3 running one
	field_is a1-v mirror lost
	field_is a1-v record_mirror up-to-date
	fails python3 "$here/lib/ioplay.py" expect "$LOCAL" 8192 4096 2
	io expect $v1 0 4096 1
	# Another table may say what to do, at once.
	a1 dmsetup load a1-v --table "$(fenced_line initiator a1 partner_lost continue)"
	run dmsetup suspend --noflush a1-v
	resume a1-v
	finish one
	field_is a1-v mirror out-of-date
	field_is a1-v record_mirror out-of-date
	heal_link
	wait_field a1-v mirror mirrored
	wait_field a1-v record_mirror up-to-date
	arrived a1-v
}

# One look at both.
catches_up()	# <name>
{
	local now
	now=$(dmsetup status "$1")
	[[ $now != *" mirror mirrored "* && $now == *" record_mirror out-of-date "* ]]
}

# The metadata device can be read, and fails writes.
no_writes_to_meta()
{
	local sectors device begin
	read -r sectors device begin <<<"$(under rct-meta)"
	modprobe -q dm-flakey
	dm_swap rct-meta "0 $sectors flakey $device $begin 0 3600 1 error_writes"
}

partner_lost_continue()
{
	local before since
	pair partner_lost continue
	io write $v1 16384 4096 1
	settle a1-v
	since=$(($(status_field a1-v seq_last) + 1))
	start events dmsetup wait a1-v "$(dmsetup info -c --noheadings -o events a1-v)"
	# Nothing is acknowledged before the record says that the mirror is out of date.
	no_writes_to_meta
	cut_link
	start one python3 "$here/lib/ioplay.py" write $v1 8192 4096 2
	said "metadata '$meta1': the ownership record cannot be written"
	stays 3 running one
	field_is a1-v mirror lost
	fails python3 "$here/lib/ioplay.py" expect "$LOCAL" 8192 4096 2
	linear rct-meta
	finish one
	said "the partner is lost, writes go on without it, generation 2: the partner's mirror is out of date since sequence $since\$"
	finish events
	field_is a1-v record_mirror out-of-date
	field_is a1-v out_of_date_since $since
	field_is a1-v out_of_date_generation 1
	field_is a1-v mirror out-of-date
	field_is a1-v generation 2
	wait_field a2-v out_of_date_since $since 5
	# A takeover that is refused disturbs nobody.
	broken rct-remote
	journal $v1
	journal_goes_on
	before=$(shown "$local1")
	refuses "takeover refused: this node's mirror is out of date since sequence $since, generation 1, says the ownership record: the owner went on without it; start the old owner" \
		a2-v takeover
	[ "$before" = "$(shown "$local1")" ]
	journal_goes_on
	field_is a1-v state serving
	field_is a2-v state standby
	# Brought up to date while the host writes on: the record says so when it is complete.
	netem rate 1mbit
	heal_link
	wait_field a1-v mirror catching-up
	journal_goes_on 3
	stays 2 catches_up a1-v
	wait_field a2-v mirror incomplete
	no_netem
	wait_field a1-v mirror mirrored
	wait_field a1-v record_mirror up-to-date
	wait_field a2-v mirror complete
	journal_goes_on
	halt journal
	io write $v1 $((12 << 20)) 4096 3
	remove a1-v
	said 'the owner leaves in order'
	linear rct-remote
	takeover a2
	wait_state a2-v serving
	field_is a2-v remote in-step || field_is a2-v remote behind
	has_journal $v2
	io expect $v2 16384 4096 1 8192 4096 2 $((12 << 20)) 4096 3
	arrived a2-v
}

# A copy that was being brought up to date when its owner died is not taken over.
died_while_catching_up()
{
	pair partner_lost continue
	broken rct-remote
	cut_link
	load_on $v1
	load_goes_on
	load_goes_on
	halt load
	netem rate 100kbit
	heal_link
	wait_field a1-v mirror catching-up
	wait_field a2-v mirror incomplete
	cut_link
	no_netem
	remove a1-v
	wait_field a2-v partner disconnected
	refuses "takeover refused: this node's mirror was being brought up to date and misses writes" a2-v takeover
	linear rct-remote
	# The old owner's log has them.
	make_owner a1 partner_lost continue
	wait_state a1-v serving
	heal_link
	wait_field a1-v mirror mirrored
	arrived a1-v
	wait_field a1-v record_mirror up-to-date
}

# --- swaps ----------------------------------------------------------------------------------------

swaps()
{
	local round owner=a1 standby=a2
	pair
	refuses 'swap: suspend all volumes of the set first' a1-v swap
	refuses 'swap: the set is standby and its mirror is none; it has to be serving and mirrored' a2-v swap
	cut_link
	wait_field a1-v partner disconnected
	suspend a1-v
	refuses 'swap: the set is serving and its mirror is lost; it has to be serving and mirrored' a1-v swap
	resume a1-v
	heal_link
	wait_field a1-v mirror mirrored
	field_is a1-v state serving
	for round in 1 2 3 4; do
		io mixed "/dev/mapper/$owner-v" "$PLAIN" $bytes 30 "$round"
		# Some of it has yet to reach the remote, and somebody wants to write.
		[ "$round" != 2 ] || netem delay 10ms
		suspend "$owner-v"
		start late python3 "$here/lib/ioplay.py" write "/dev/mapper/$owner-v" 0 4096 99
		forget_log
		run dmsetup message "$owner-v" 0 swap
		said 'serving -> handing-over: an administrator asked for it'
		wait_state "$standby-v" serving
		resume "$owner-v"
		# Too late: it must not get anywhere.
		fails finish late
		field_is "$owner-v" state standby
		wait_field "$standby-v" mirror mirrored
		wait_field "$owner-v" mirror complete
		field_is "$standby-v" record_mirror up-to-date
		held "$local1" "$meta1" "$(status_field "$standby-v" generation)"
		read -r owner standby <<<"$standby $owner"
		[ "$round" != 2 ] || no_netem
	done
	io mixed $v1 "$PLAIN" $bytes 20 9
	arrived a1-v
	same_bytes "$LOCAL" "$PLAIN"
	field_is a1-v missing_first ""
}

# The remote does not answer: what is on its way there must not be overtaken.
swap_is_given_up()
{
	pair
	suspend rct-remote
	io write $v1 0 4096 1
	suspend a1-v
	refuses 'swap: (the remote does not answer|the partner has not taken everything)' a1-v swap
	said 'handing-over -> serving: the swap was given up'
	field_is a1-v state serving
	resume a1-v
	io write $v1 4096 4096 2
	resume rct-remote
	held "$local1" "$meta1" 1
	arrived a1-v
	field_is a2-v state standby
}

# --- an owner starts again, and its partner can't be asked -----------------------------------------

starts_again_alone()
{
	pair partner_lost continue
	io write $v1 0 4096 1
	broken rct-remote
	io write $v1 4096 4096 2
	remove a1-v
	cut_link
	# It would wait...
	make_owner a1 partner_lost wait
	wait_state a1-v waiting-for-partner
	stays 3 field_is a1-v state waiting-for-partner
	start one dd if=$v1 of=/dev/null bs=4k count=1 iflag=direct status=none
	stays 1 running one
	kill -9 "$(<"$state/one.pid")"
	run dmsetup message a1-v 0 detach force
	wait_state a1-v serving
	heal_link
	wait_field a1-v mirror mirrored
	wait_field a1-v record_mirror up-to-date
	remove a1-v
	cut_link
	# ... or goes on after its patience: it holds the units, and it was the last owner.
	make_owner a1 partner_lost continue
	wait_state a1-v serving 10
	said 'waiting-for-partner -> replaying: this node owns the set, without its partner'
	field_is a1-v mirror out-of-date
	field_is a1-v record_mirror out-of-date
	io write $v1 8192 4096 3
	io expect $v1 0 4096 1 4096 4096 2
	refuses 'takeover refused: .* out of date since' a2-v takeover
	linear rct-remote
	arrived a1-v
	heal_link
	wait_field a1-v mirror mirrored
}

starts_again_outdated()
{
	pair partner_lost continue
	broken rct-remote
	io write $v1 0 4096 1
	remove a1-v
	cut_link
	takeover a2
	wait_state a2-v serving
	io expect $v2 0 4096 1
	io write $v2 0 4096 2
	forget_log
	# It holds nothing, and its own log still has what came before.
	make_owner a1 partner_lost continue
	wait_state a1-v standby
	said 'the ownership record says that the partner owns the set in generation 2; this node.s generation 1 is outdated and its log will not be replayed'
	stays 3 field_is a1-v state standby
	held "$local1" "$meta1" 2
	fails python3 "$here/lib/ioplay.py" write $v1 0 4096 3
	io expect "$LOCAL" 0 4096 2
	# Made anew again: by its own log now.
	remove a1-v
	make_owner a1 partner_lost continue
	wait_state a1-v standby
	refuses 'takeover refused: ' a1-v takeover
	field_is a2-v state serving
	io write $v2 4096 4096 4
	linear rct-remote
	heal_link
	wait_field a2-v mirror mirrored
	arrived a2-v
	io expect "$REMOTE" 0 4096 2 4096 4096 4
}

export FENCED=nvme
tests "writes wait for a lost partner" partner_lost_wait \
	"writes go on without a lost partner" partner_lost_continue \
	"an owner dies while its partner catches up" died_while_catching_up \
	"roles are swapped" swaps \
	"a swap is given up" swap_is_given_up \
	"an owner starts again alone" starts_again_alone \
	"an outdated owner starts again" starts_again_outdated
FENCED=scsi
tests "SCSI: writes go on without a lost partner" partner_lost_continue
