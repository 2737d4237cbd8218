#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# vm: --disk 64 --disk 64 --disk 64 --pmem 32 --pmem 32 --timeout 900
#
# Table lines: a wrong one is refused and the kernel's log says which word is wrong and what is
# allowed; a right one comes back from `dmsetup table`. Logs that are not this set's are refused.

. "$(dirname "$0")/topology.sh"

l=/dev/mapper/rct-local

# A line that must be refused, with the words that must be said; `as_said` looks for them.
refused_line()	# <regex> <table>
{
	if dm_create a1 refused "$2" 2>/dev/null; then
		note "was taken: $2"
		return 1
	fi
	echo "$1" >>"$state/refusals"
}

# Whether every refused line was refused in the right words, and left no device.
as_said()
{
	local -a want have
	local i
	mapfile -t want <"$state/refusals"
	klog | sed -n 's/.*device-mapper: table: [0-9:]*: remote-copy: //p' >"$state/refused"
	mapfile -t have <"$state/refused"
	rm "$state/refusals"
	for i in "${!want[@]}"; do
		note "${have[i]}"
		[[ ${have[i]} =~ ${want[i]} ]] || { note "must match: ${want[i]}"; return 1; }
	done
	[ ${#want[@]} = ${#have[@]} ]
	! dm_exists refused
}

# The same for the words behind the target's name.
refused_words() { refused_line "$1" "0 $SECTORS remote-copy $2"; }

# The same for a good line with other options.
refused()	# <regex> <key> <value>...
{
	local regex=$1
	shift
	refused_line "$regex" "$(single_line "$@")"
}

wrong_words()
{
	refused_words 'ends before <role>.*<initiator\|standby> <set> <local device>' ""
	refused_words "role 'master': 'initiator' or 'standby' is allowed" master
	refused_words 'ends before <set>' initiator
	refused_words "set 'a/b': 1 to 63 letters, digits or -_\.\+: are allowed" "initiator a/b"
	refused_words "set 'x{64}': 1 to 63 letters" "initiator $(printf 'x%.0s' {1..64})"
	refused_words 'ends before <local device>' "initiator s1"
	refused_words 'ends before <#options>' "initiator s1 $l"
	refused_words "#options 'two': 2 words follow" "initiator s1 $l two log $LOG1"
	refused_words "#options '4': 2 words follow" "initiator s1 $l 4 log $LOG1"
	refused_words "#options '2': 4 words follow" "initiator s1 $l 2 log $LOG1 partner none"
	refused_words "#options '\+2': 2 words follow" "initiator s1 $l +2 log $LOG1"
	refused_words "option 'partner' has no value" "initiator s1 $l 3 log $LOG1 partner"
	refused_words "unknown option 'colour'; there are: log, .*create" "initiator s1 $l 2 colour red"
	refused_words "option 'log' stands twice" "initiator s1 $l 4 log $LOG1 log $LOG1"
	refused_words "option 'log' is needed: " "initiator s1 $l 0"
	refused_words "#options '66': at most 64 are allowed" \
		"initiator s1 $l 66 $(printf 'k v %.0s' {1..33})"
	# device-mapper's own words: a volume is the whole of its device.
	refused_line 'singleton target type must appear alone' "0 8 error
8 8 $(single_line | cut -d ' ' -f 3-)"
	as_said
}

wrong_values()
{
	local number='1 to 32 are allowed'
	refused "option 'remote' is needed" remote -
	refused "option 'partner' is needed" partner -
	refused "option 'listen' is needed" partner 10.99.0.2:$PORT
	refused "log_offset '512': bytes, a multiple of 4096" log_offset 512
	refused "log_offset 'x': bytes, a multiple of 4096" log_offset x
	refused "log_size '64K': .* at least 1M and at most 16T" log_size 64K
	refused "log_size '17T': .* at least 1M and at most 16T" log_size 17T
	refused "log_size '99999999999999999999G': " log_size 99999999999999999999G
	refused "lanes '0': $number" lanes 0
	refused "lanes '33': $number" lanes 33
	refused "lanes '-1': $number" lanes -1
	refused "records '15': 16 to 1048576 are allowed" records 15
	refused "records '1048577': 16 to 1048576" records 1048577
	refused "remote '/dev/null': 'dev:<path of a block device>' is allowed" remote /dev/null
	refused "remote 'dev:': 'dev:<path" remote dev:
	refused "mode 'semi': 'sync' or 'async' is allowed" mode semi
	refused "partner_lost 'ignore': 'wait' .*or 'continue' .*is allowed" partner_lost ignore
	refused "takeover 'yes': 'auto' or 'manual' is allowed" takeover yes
	refused "fencing 'maybe': 'reservation' .* 'external' .* or 'none' .*is allowed" fencing maybe
	refused "remote_fencing 'maybe': 'reservation' .* or 'none' .*is allowed" remote_fencing maybe
	refused "metadata_offset '512': bytes, a multiple of 4096" metadata_offset 512
	refused "option 'metadata' is needed: .*'partner_lost continue'" partner_lost continue
	refused "ping_ms '9': 10 to 60000 milliseconds" ping_ms 9
	refused "ping_misses '1': 2 to 100 are allowed" ping_misses 1
	refused "member '64': 0 to 63 are allowed" member 64
	refused "members '65': 1 to 64 are allowed" members 65
	refused "members '0': 1 to 64 are allowed" members 0
	refused "'member' counts from 0 and must be less than 'members'" member 1 members 1
	refused "create 'yes': only 'in_step' is allowed" create yes
	refused "'takeover auto' is refused with 'fencing none'" takeover auto
	refused_line 'a standby without a partner stands by for nobody' "$(partner_line standby a1 partner none)"
	refused_line "partner '10.99.0.2': <IPv4 address>:<port>" "$(partner_line initiator a1 partner 10.99.0.2)"
	refused_line "listen 'localhost:1': <IPv4 address>:<port>" "$(partner_line initiator a1 listen localhost:1)"
	refused_line "partner '10.99.0.2:65536': " "$(partner_line initiator a1 partner 10.99.0.2:65536)"
	as_said
}

wrong_devices()
{
	local region
	refused_line "local device '/dev/nothing': cannot be opened" \
		"$(single_line | sed "s#$l#/dev/nothing#")"
	refused_line "local device '$l' has $SECTORS sectors, the table line says $((SECTORS + 8))" \
		"$(SECTORS=$((SECTORS + 8)) single_line)"
	refused_line "remote '$l': it is the local device" "$(single_line | sed "s#dev:[^ ]*#dev:$l#")"
	refused "log '/dev/nothing': cannot be opened" log /dev/nothing
	refused "log '$PLAIN': has no DAX: .*ndctl create-namespace" log "$PLAIN"
	region=$(blockdev --getsize64 "$LOG1")
	refused "log '$LOG1': .* does not fit" log_offset "$region"
	refused "log '$LOG1': .* does not fit" log_size $((region * 2))
	refused "log '$LOG1': the region has 4096 bytes, at least 1048576 are needed" \
		log_offset $((region - 4096))
	refused "log '$LOG1': [0-9]* bytes of data in each lane: .* fewer lanes" log_size 1M lanes 32
	refused "log '$LOG1': .* records: .* are allowed with this number of lanes" lanes 32 records 16
	as_said
}

# The first word of a log; or makes it this one.
first_word()	# <log> [<word>]
{
	if [ $# = 1 ]; then
		dd if="$1" bs=8 count=1 iflag=fullblock status=none | tr -d '\0'
	else
		printf %s "$2" | dd of="$1" conv=notrunc,fsync status=none
	fi
}

wrong_logs()
{
	refused "log '$LOG1' is blank: .* add 'create in_step'" create -
	single
	wait_state a1-v serving
	remove a1-v
	as_said
	forget_log
	refused_line "log '$LOG1': the region belongs to set 's1', not to 's2'" \
		"$(single_line | sed 's/ s1 / s2 /')"
	# Room for another set behind it, but not across it.
	single log_size 8M log_offset 16M
	refused_line "log region overlaps that of set 's1'" \
		"$(single_line log_size 8M log_offset 20M | sed 's/ s1 / s2 /')"
	dm_create a1 other "$(single_line log_size 8M log_offset 24M | sed 's/ s1 / s2 /')"
	wait_state other serving
	remove other
	remove a1-v
	# Somebody else's bytes are not taken for a blank log.
	run dd if=/dev/urandom of="$LOG1" bs=4k count=8 oflag=direct status=none
	refused "log '$LOG1': refused: .*something that is not a log of remote-copy" create in_step
	# Nor is a part of a first superblock, but behind the claim of a log that was being made.
	io blank "$LOG1"
	single
	remove a1-v
	logedit unfinished "$LOG1" torn
	refused "log '$LOG1': refused: both superblock slots of the log are damaged" create in_step
	first_word "$LOG1" rcopynew
	refused "log '$LOG1' is blank: .* add 'create in_step'" create -
	single
	wait_state a1-v serving
	remove a1-v
	[ "$(first_word "$LOG1")" = rcopylog ]
	# One that is whole but for the end: the claim is gone before anything is done with the log.
	logedit unfinished "$LOG1" whole
	first_word "$LOG1" rcopynew
	refused_line "log '$LOG1': the region belongs to set 's1', not to 's2'" \
		"$(single_line | sed 's/ s1 / s2 /')"
	[ "$(first_word "$LOG1")" = rcopynew ]
	initiator a1
	wait_state a1-v waiting-for-partner
	[ "$(first_word "$LOG1")" = "" ]
	remove a1-v
	# A smaller region than the log has.
	io blank "$LOG1"
	single log_size 8M
	remove a1-v
	refused "the region has 4194304 bytes, the log in it [0-9]*; enlarge log_size" log_size 4M
	logedit version "$LOG1" 99
	refused "format version 99, this driver knows version 2" log_size 8M
	as_said
}

comes_back()
{
	local before options
	options="lanes 2 records 512 log_offset 1M log_size 8M mode sync ping_ms 333 ping_misses 7"
	options+=" takeover manual fencing external partner_lost wait member 0 members 1"
	# shellcheck disable=SC2086 # a list of words
	initiator a1 $options
	before=$(dmsetup table a1-v)
	note "$before"
	# shellcheck disable=SC2086 # a list of words
	[ "$before" = "$(partner_line initiator a1 $options)" ]
	remove a1-v
	dm_create a1 a1-v "$before"
	[ "$before" = "$(dmsetup table a1-v)" ]
	a1 dmsetup reload a1-v --table "$before"
	run dmsetup suspend a1-v
	run dmsetup resume a1-v
	[ "$before" = "$(dmsetup table a1-v)" ]
}

has_fields()	# <name> <field>...
{
	local name=$1 words
	shift
	words=$(dmsetup status "$name" | cut -d ' ' -f 4-)
	note "$words"
	# Pairs, and each name once.
	echo "$words" | awk -v want="$*" '
		{ for (i = 1; i <= NF; i += 2) if (there[$i]++) { print "# twice: " $i; exit 1 } }
		NF % 2 { print "# no pairs"; exit 1 }
		{ n = split(want, w, " "); for (i = 1; i <= n; i++) if (!(w[i] in there)) { print "# no " w[i]; exit 1 } }'
}

status_says()
{
	single
	wait_state a1-v serving
	io write /dev/mapper/a1-v 0 4096 1 8192 512 2
	settle a1-v
	has_fields a1-v set role state since generation partner mirror mode remote behind seq_last seq_acked \
		seq_remote seq_retired log_records log_bytes writes shipped mirrored log_full local_errors replayed
	field_is a1-v set s1
	field_is a1-v role owner
	field_is a1-v partner none
	field_is a1-v mode async
	field_is a1-v writes 2
	field_is a1-v seq_last 2
	field_is a1-v seq_remote 2
	field_is a1-v shipped 2
	field_is a1-v local_errors 0
	[ "$(date +%s)" -ge "$(status_field a1-v since)" ]
	[ $(($(date +%s) - $(status_field a1-v since))) -lt 60 ]
	standby a2
	wait_state a2-v standby
	has_fields a2-v set role state since generation partner mode
	field_is a2-v role blank
	field_is a2-v partner disconnected
}

messages()
{
	single
	wait_state a1-v serving
	[ "$(dmsetup message a1-v 0 stats | awk '{ print $1, $2 }')" = "set s1" ]
	fails dmsetup message a1-v 0 sing
	said "unknown message 'sing'; there are: stats, takeover"
	fails dmsetup message a1-v 0 stats now
	fails dmsetup message a1-v 0 takeover please
	fails dmsetup message a1-v 0 takeover
	said 'takeover: the set is serving, not a standby'
	fails dmsetup message a1-v 0 detach
	fails dmsetup message a1-v 0 detach force
	said "detach: the partner's copy is none, not lost"
}

tests "wrong words are named" wrong_words \
	"wrong values are named, with what is allowed" wrong_values \
	"devices that cannot serve" wrong_devices \
	"logs that are not this set's" wrong_logs \
	"a table line comes back" comes_back \
	"status" status_says \
	"messages" messages
