#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# vm: --disk 64 --disk 64 --disk 64 --pmem 32 --pmem 32 --timeout 900
#
# Where the ownership record stands, and who may hold a unit: what does not fit is refused, in words
# that say why.

# shellcheck disable=SC2119 # they need no arguments
. "$(dirname "$0")/topology.sh"
. "$(dirname "$0")/lib/owners.sh"
need_fencing nvme

no_reservations()
{
	refused 'it has no persistent reservations \(a partition never has\); use a whole device that has, or .fencing external.' \
		initiator a1
	refused 'it has no persistent reservations' standby a2
	# An owner that can't be fenced is told so too when it is known already.
	make_standby a2 fencing external
	make_owner a1 fencing external
	both_agree
	remove a1-v
	refused 'it has no persistent reservations' initiator a1
	make_owner a1 fencing external
	both_agree
}

somebody_elses()
{
	local key=0xdead0000000001
	pr register "$local2" $key
	pr reserve "$local2" $key 1
	refused "is reserved with key .*dead0000000001.*, which is no node's of this set; find out who holds it" \
		initiator a1
	pr clear "$local2" $key
	make_standby a2
	make_owner a1
	both_agree
	io write $v1 0 4096 1
	remove a1-v
	# A takeover does not take it away either, and gives back what it had got.
	pr register "$local1" $key
	pr reserve "$local1" $key 1
	refuses "is reserved with key .*dead0000000001, which is no node's of this set" a2-v takeover
	wait_state a2-v standby
	[ $(($(holder_of "$local2"))) = $((key)) ]
	nobody_holds "$meta2" none
	pr clear "$local1" $key
	takeover a2
	wait_state a2-v serving
	io expect $v2 0 4096 1
	# Who serves, stops.
	pr register "$local1" $key
	pr preempt "$local1" $key "$(holder_of "$local1")" 1
	wait_state a2-v fenced 5
	said "a unit is reserved with key .*dead0000000001, which is no node's of this set"
}

metadata_is_wrong()
{
	local tail=$(((SECTORS - 16) * 512))
	refused "'metadata' is for two partners, and there is no partner" initiator a1 partner none
	refused "option 'metadata' is needed: with 'partner_lost continue'" \
		initiator a1 metadata - partner_lost continue
	refused "metadata_offset '512': bytes, a multiple of 4096" initiator a1 metadata_offset 512
	refused "metadata '$meta1': the device has $((META_SECTORS * 512)) bytes, the ownership record needs 8192 from" \
		initiator a1 metadata_offset $((META_SECTORS * 512 - 4096))
	refused "metadata '$local1': at 0 the ownership record would stand within the volume" \
		initiator a1 metadata "$local1"
	refused "metadata '$local1': at $tail the ownership record would stand within the volume" \
		initiator a1 metadata "$local1" metadata_offset $tail
	refused "metadata '/dev/nothing': cannot be opened" initiator a1 metadata /dev/nothing
	# Another name of the same device does not help.
	ln -sf "$local1" "$state/another"
	refused "metadata '$state/another': " initiator a1 metadata "$state/another"
	# Somebody's data.
	io write "$meta1" 0 8192 5
	refused "metadata '$meta1': something else stands there" initiator a1
	said 'the ownership record cannot be read, and it alone says whether the partner has taken over'
	io expect "$meta1" 0 8192 5
	python3 "$here/lib/ioplay.py" zero 8192 "$meta1"
	# One that is damaged in both places; one whole place is enough.
	pair
	io write $v1 0 4096 1
	remove a1-v
	remove a2-v
	io write "$meta1" 0 4096 5
	make_owner a1
	make_standby a2
	both_agree
	remove a1-v
	remove a2-v
	io write "$meta1" 0 4096 5 4096 4096 6
	refused "metadata '$meta1': something else stands there" initiator a1
	python3 "$here/lib/ioplay.py" zero 8192 "$meta1"
	make_owner a1
	make_standby a2
	both_agree
	remove a1-v
	remove a2-v
	# Another set's, or an older one's.
	python3 "$here/lib/ioplay.py" blank "$LOG1" "$LOG2"
	refused "the ownership record belongs to set 's1' \(or to an earlier one of this name\)" initiator a1
}

metadata_of_one_only()
{
	make_standby a2 metadata -
	make_owner a1
	said "the partner refuses: only one of the two has .metadata. in its table line"
	field_is a1-v state waiting-for-partner
	remove a2-v
	make_standby a2
	both_agree
}

# The volume is shorter than the unit, and the record stands behind it.
metadata_at_the_tail()
{
	local SECTORS=$((SECTORS - 16))
	local at=$((SECTORS * 512))
	make_standby a2 metadata "$local2" metadata_offset $at partner_lost continue
	make_owner a1 metadata "$local1" metadata_offset $at partner_lost continue
	both_agree
	field_is a1-v record mine
	io write $v1 0 4096 1 $((at - 4096)) 4096 2
	dd if="$LOCAL" bs=4k skip=$((at / 4096)) count=1 status=none iflag=direct | grep -q rcopyown
	cut_link
	io write $v1 8192 4096 3
	field_is a1-v record_mirror out-of-date
	remove a1-v
	refuses 'out of date since sequence 3, generation 1, says the ownership record' a2-v takeover
	make_owner a1 metadata "$local1" metadata_offset $at partner_lost continue
	wait_state a1-v serving
	heal_link
	wait_field a1-v mirror mirrored
	wait_field a1-v record_mirror up-to-date
	remove a1-v
	takeover a2
	wait_state a2-v serving
	io expect $v2 0 4096 1 8192 4096 3 $((at - 4096)) 4096 2
	arrived a2-v
}

export FENCED=nvme
tests "somebody else holds a unit" somebody_elses \
	"a wrong place for the record" metadata_is_wrong \
	"a record for one node only" metadata_of_one_only \
	"a record behind the volume" metadata_at_the_tail
FENCED=direct
tests "units without reservations" no_reservations
