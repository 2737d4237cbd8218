#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# vm: --disk 64 --disk 64 --disk 64 --pmem 32 --pmem 32 --timeout 900
#
# What device-mapper does to a live volume: suspend, resume, other tables, removal under load, other
# names; several volumes in a set, several sets, two deployments at once.

. "$(dirname "$0")/topology.sh"

bytes=$((SECTORS * 512))
v=/dev/mapper/a1-v

load_on() { start load python3 "$here/lib/ioplay.py" load "$1" $bytes 0 "${2:-1}" 16384; }
more_writes() { field_above a1-v writes $(($1 + 20)); }
load_goes_on() { poll more_writes "$(status_field a1-v writes)"; }

arrived()
{
	settle a1-v
	converged
}

suspended_under_load()
{
	local n=0
	single
	load_on $v
	while [ $((n += 1)) -le 3 ]; do
		load_goes_on
		run dmsetup suspend a1-v
		[ "$(status_field a1-v writes)" = "$(status_field a1-v writes)" ]
		run dmsetup resume a1-v
	done
	run dmsetup suspend --noflush a1-v
	run dmsetup resume a1-v
	load_goes_on
	halt load
	arrived
}

# Loads another table, in the volume's own namespace.
reload()	# <table>
{
	a1 dmsetup reload a1-v --table "$1" && run dmsetup suspend a1-v && run dmsetup resume a1-v
}

other_settings()
{
	single
	load_on $v
	load_goes_on
	reload "$(single_line mode sync ping_ms 100)"
	field_is a1-v mode sync
	load_goes_on
	halt load
	# Acknowledged is at the remote.
	converged
	reload "$(single_line mode async)"
	field_is a1-v mode async
	load_on $v 2
	load_goes_on
	halt load
	arrived
	# A table that is loaded and thrown away changes nothing.
	a1 dmsetup reload a1-v --table "$(single_line mode sync)"
	run dmsetup clear a1-v
	run dmsetup suspend a1-v
	run dmsetup resume a1-v
	field_is a1-v mode async
}

mirrored_settings()
{
	initiator a1
	standby a2
	wait_state a1-v serving
	load_on $v 3
	load_goes_on
	reload "$(partner_line initiator a1 ping_ms 300)"
	load_goes_on
	halt load
	field_is a1-v mirror mirrored
	reload "$(partner_line initiator a1)"
	io write $v 0 4096 3
	arrived
}

stays_refused()	# <regex> <table>
{
	forget_log
	fails ip netns exec a1 dmsetup reload a1-v --table "$2" || return 1
	said "$1" || return 1
}

fixed_values()
{
	initiator a1
	stays_refused 'local device: member 0 .* in use with another value' \
		"$(partner_line initiator a1 | sed "s#/dev/mapper/rct-local#$PLAIN#")"
	stays_refused 'remote: member 0 .* in use with another value' \
		"$(partner_line initiator a1 remote "dev:$PLAIN")"
	stays_refused 'length: member 0 .* in use with another value' \
		"$(SECTORS=$((SECTORS - 8)) partner_line initiator a1)"
	stays_refused 'partner: the set .* in use with another value' \
		"$(partner_line initiator a1 partner 10.99.0.3:$PORT)"
	stays_refused 'listen: the set .* in use with another value' \
		"$(partner_line initiator a1 listen 10.99.0.1:1)"
	stays_refused 'members: the set .* in use with another value' "$(partner_line initiator a1 members 2)"
	stays_refused 'log_offset: the set .* in use with another value' \
		"$(partner_line initiator a1 log_offset 1M)"
	stays_refused 'log: the set .* in use with another value' "$(partner_line initiator a1 log "$LOG2")"
	stays_refused 'log_size: the set .* in use with another value' \
		"$(partner_line initiator a1 log_size 8M)"
	stays_refused 'lanes: the set .* in use with another value' "$(partner_line initiator a1 lanes 7)"
	stays_refused 'records: the set .* in use with another value' "$(partner_line initiator a1 records 333)"
	wait_state a1-v waiting-for-partner
	standby a2
	wait_state a1-v serving
	io write $v 0 4096 1
	arrived
}

removed_under_load()
{
	single
	load_on $v
	load_goes_on
	fails dmsetup remove a1-v
	load_goes_on
	run dmsetup remove --deferred a1-v
	load_goes_on
	halt load
	note "+ wait for a1-v to go"
	poll gone a1-v
	single
	load_on $v
	load_goes_on
	run dmsetup remove --force a1-v || note "still open: as it should be"
	poll ended load
	fails finish load
	poll dmsetup remove a1-v 2>/dev/null || gone a1-v
	single
	wait_state a1-v serving
	arrived
}

gone() { ! dm_exists "$1"; }
ended() { ! running "$1"; }

waits_and_is_suspended()
{
	single records 240 lanes 1
	broken rct-remote
	load_on $v
	poll field_above a1-v log_full 0
	stays 1 running load
	# A write that waits for space has no record yet: without flush, device-mapper takes it back.
	run dmsetup suspend --noflush a1-v
	run dmsetup resume a1-v
	stays 1 running load
	linear rct-remote
	load_goes_on
	halt load
	arrived
}

renamed()
{
	single
	load_on $v
	load_goes_on
	echo a1-w >>"$state/devices"
	run dmsetup rename a1-v a1-w
	wait_state a1-w serving
	run dmsetup rename a1-w a1-v
	load_goes_on
	halt load
	arrived
}

# A second pair of disks: the part behind the first.
second_disks()
{
	io zero $((bytes * 2)) "$LOCAL" "$REMOTE"
	dm_create - rct-local2 "0 $SECTORS linear $LOCAL $SECTORS"
	dm_create - rct-remote2 "0 $SECTORS linear $REMOTE $SECTORS"
}

second_line()
{
	single_line remote dev:/dev/mapper/rct-remote2 "$@" |
		sed 's#/dev/mapper/rct-local #/dev/mapper/rct-local2 #'
}

members()
{
	second_disks
	single members 2
	wait_state a1-v assembling
	# Nothing is served before the whole set is there, and nothing fails.
	start early python3 "$here/lib/ioplay.py" write $v 0 4096 9
	stays 1 running early
	dm_create a1 refused "$(second_line members 3 member 1)" && return 1
	dm_create a1 refused "$(second_line members 2 member 0)" && return 1
	dm_create a1 a1-w "$(second_line members 2 member 1)"
	wait_state a1-v serving
	finish early
	io expect $v 0 4096 9
	load_on $v
	start load2 python3 "$here/lib/ioplay.py" load /dev/mapper/a1-w $bytes 200 5 16384
	load_goes_on
	halt load
	finish load2
	settle a1-v
	io same "$LOCAL" "$REMOTE" $((bytes * 2))
	[ "$(status_field a1-v seq_last)" = "$(status_field a1-w seq_last)" ]
	# One leaves, the other goes on; one comes back.
	remove a1-w
	io write $v 4096 4096 3
	dm_create a1 a1-w "$(second_line members 2 member 1)"
	io write /dev/mapper/a1-w 4096 4096 4
	settle a1-v
	broken rct-remote
	broken2
	io write $v 8192 4096 5
	io write /dev/mapper/a1-w 8192 4096 6
	remove a1-v
	remove a1-w
	linear rct-remote
	dm_swap rct-remote2 "0 $SECTORS linear $REMOTE $SECTORS"
	# The other way round.
	dm_create a1 a1-w "$(second_line members 2 member 1)"
	wait_state a1-w assembling
	single members 2
	wait_state a1-w serving
	settle a1-v
	io same "$LOCAL" "$REMOTE" $((bytes * 2))
	io expect "$REMOTE" 8192 4096 5
}

broken2() { broken rct-remote2; }

sets_beside_each_other()
{
	second_disks
	single log_size 8M
	# The same name in the other namespace is another set.
	dm_create a2 a2-v "$(second_line log "$LOG2")"
	dm_create a1 third "$(line initiator s3 "$PLAIN" log "$LOG1" log_offset 8M log_size 8M \
		remote dev:/dev/mapper/rct-spare partner none create in_step)"
	dm_create - rct-spare "0 $SECTORS linear $REMOTE $((SECTORS * 2))"
	wait_state a1-v serving
	wait_state a2-v serving
	wait_state third serving
	load_on $v
	start load2 python3 "$here/lib/ioplay.py" load /dev/mapper/a2-v $bytes 300 6 16384
	start load3 python3 "$here/lib/ioplay.py" load /dev/mapper/third $bytes 300 7 16384
	finish load2
	finish load3
	halt load
	settle a1-v
	settle a2-v
	settle third
	io same "$LOCAL" "$REMOTE" $((bytes * 2))
	same_bytes "$PLAIN" /dev/mapper/rct-spare
	[ "$(status_field a2-v writes)" -ge 300 ]
	remove third
	remove a2-v
	io write $v 0 4096 8
	arrived
}

tests "suspend and resume under load" suspended_under_load \
	"other settings under load" other_settings \
	"other settings under load, with a partner" mirrored_settings \
	"what is fixed is refused in another table" fixed_values \
	"removal under load" removed_under_load \
	"suspend without flush while writes wait for space" waits_and_is_suspended \
	"another name under load" renamed \
	"two volumes in a set" members \
	"three sets in two namespaces" sets_beside_each_other
