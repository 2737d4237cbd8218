#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# vm: --disk 64 --disk 64 --disk 64 --pmem 32 --pmem 32 --add build/rcopy --add scripts/systemd --add Documentation/administration.rst --add Documentation/admin-guide/remote-copy.rst --timeout 900
#
# The administrator's tool on the real module: volumes come and go by it, what it says is so, what it is
# told happens, and what is refused is refused in words, with its exit status.

# shellcheck disable=SC2119 # they need no arguments
. "$(dirname "$0")/topology.sh"

for tool in "$RCOPY" "$here/../build/rcopy" "$here/rcopy" "$(command -v rcopy)"; do
	[ ! -x "$tool" ] || break
done
[ -x "$tool" ] || skip "no rcopy: make tools, or set RCOPY"
v1=/dev/mapper/a1-v v2=/dev/mapper/a2-v
# What is noted goes here, also where a command's output goes elsewhere.
exec {notes}>&1

# The tool in a node's namespace.
rcopy()	# <node> <argument>...
{
	local node=$1
	shift
	note "$node: rcopy $*" >&$notes
	ip netns exec "$node" "$tool" "$@"
}

# A command that must not succeed; "!" alone would not end a test.
no()	# <command...>
{
	! "$@" || { note "but: $*"; return 1; }
}

# It must end with this status; what it prints goes to $state/said.
ends_with()	# <status> <node> <argument>...
{
	local status=$1 rc=0
	shift
	rcopy "$@" >"$state/said" 2>"$state/complaint" || rc=$?
	sed 's/^/#   /' "$state/complaint"
	[ $rc = "$status" ] || { note "status $rc, not $status"; return 1; }
}

# The same, and its complaint must match.
refuses()	# <status> <regex> <node> <argument>...
{
	local status=$1 regex=$2
	shift 2
	ends_with "$status" "$@"
	grep -Eq -- "$regex" "$state/complaint" || { note "no '$regex'"; return 1; }
}

# A value out of JSON: json <python expression of j> <file>
json() { python3 -c 'import json, sys; j = json.load(open(sys.argv[2])); print(eval(sys.argv[1]))' "$1" "$2"; }

json_is()	# <expression> <value> <file>
{
	local is
	is=$(json "$1" "$3")
	[ "$is" = "$2" ] || { note "$1 is '$is', not '$2'"; return 1; }
}

# A field of a set, as the tool says it.
field()	# <node> <field>
{
	ip netns exec "$1" "$tool" status s1 --json >"$state/status.json" && json "j['sets'][0].get('$2')" "$state/status.json"
}
is() { [ "$(field "$1" "$2")" = "$3" ]; } 2>/dev/null
wait_is()	# <node> <field> <value>
{
	note "+ wait for $1: $2 $3"
	poll is "$@" || { rcopy "$1" status; return 1; }
}

# --- volumes --------------------------------------------------------------------------------------

# The options of one node of a pair; the volume is noted when the test ends.
pair_options()	# <node>
{
	echo "$1-v" >>"$state/devices"
	options=(--set s1 --local "$local1" --log "$(log_of "$1")" --remote dev:/dev/mapper/rct-remote
		--listen "$(address "$1"):$PORT" --partner "$(address "$(other "$1")"):$PORT" --ping-ms 200
		--config "$state/$1.volumes" --save)
}

pair()	# <option>...
{
	local options
	pair_options a2
	rcopy a2 create a2-v "${options[@]}" --role standby "$@"
	pair_options a1
	rcopy a1 create a1-v "${options[@]}" --create in_step "$@"
	wait_state a1-v serving
	wait_field a1-v mirror mirrored
}

single()	# <option>...
{
	echo a1-v >>"$state/devices"
	rcopy a1 create a1-v --set s1 --local "$local1" --log "$LOG1" --remote dev:/dev/mapper/rct-remote \
		--partner none --create in_step --config "$state/a1.volumes" "$@"
}

comes_and_goes()
{
	single --json >"$state/created.json"
	json_is "j['created']" True "$state/created.json"
	[ "$(dmsetup table a1-v)" = "$(json "j['table']" "$state/created.json")" ]
	[ "$(dmsetup table a1-v | cut -d ' ' -f 2)" = "$SECTORS" ]
	wait_state a1-v serving
	io write $v1 0 65536 1
	settle a1-v
	refuses 4 "volume 'a1-v': there is a device of that name already" a1 create a1-v --set s2 --local "$local1" \
		--log "$LOG2" --remote dev:/dev/mapper/rct-remote --partner none
	refuses 2 "it is the local device" a1 create a1-w --local "$local1" --log "$LOG2" --remote "dev:/dev/dm-$(dmsetup info -c --noheadings -o minor rct-local)" \
		--partner none
	# In use.
	exec 9<$v1
	refuses 4 "volume 'a1-v': it is in use" a1 remove a1-v
	exec 9<&-
	refuses 4 "a device of target 'linear', none of remote-copy" a1 remove rct-local
	dm_exists rct-local
	poll rcopy a1 remove a1-v
	no dm_exists a1-v
	refuses 3 "there is no such device" a1 remove a1-v
	converged
}

# What only the kernel knows is said in the kernel's words.
kernel_refuses()
{
	local good=(--set s1 --log "$LOG1" --remote dev:/dev/mapper/rct-remote --partner none)
	refuses 1 "log '$LOG1' is blank: .* add 'create in_step'" a1 create a1-v --local "$local1" "${good[@]}"
	no dm_exists a1-v
	refuses 1 "log '$PLAIN': .*DAX" a1 create a1-v --local "$local1" "${good[@]/$LOG1/$PLAIN}" --create in_step
	no dm_exists a1-v
}

wrong_values()
{
	local good=(--set s1 --local "$local1" --log "$LOG1" --remote dev:/dev/mapper/rct-remote --partner none)
	refuses 2 "--lanes '33': 1 to 32 are allowed" a1 create a1-v "${good[@]}" --lanes 33
	refuses 2 "--sectors '$((SECTORS + 8))': the local device .* has $SECTORS" \
		a1 create a1-v "${good[@]}" --sectors $((SECTORS + 8))
	refuses 2 "the region would end at byte" a1 create a1-v "${good[@]}" --log-size 1G
	refuses 3 "--local '/dev/nothing'" a1 create a1-v "${good[@]/$local1//dev/nothing}"
	refuses 2 "no block device" a1 create a1-v "${good[@]/$local1//dev/null}"
	no dm_exists a1-v
}

# So many writes of 4 KiB, at every second place.
writes()	# <n>
{
	local i all=()
	for ((i = 0; i < $1; i++)); do all+=($((i * 8192)) 4096 "$i"); done
	python3 "$here/lib/ioplay.py" write $v1 "${all[@]}"
}

# --- logs -----------------------------------------------------------------------------------------

dumps()
{
	single
	wait_state a1-v serving
	settle a1-v
	rcopy a1 log dump "$LOG1" --json >"$state/dump.json"
	json_is "j['verdict']" whole "$state/dump.json"
	json_is "j['recovery']['records']" 0 "$state/dump.json"
	# The remote stands still: what is written stays in the log.
	run dmsetup suspend --noflush rct-remote
	writes 12
	rcopy a1 log dump "$LOG1" --json >"$state/dump.json"
	json_is "j['verdict']" whole "$state/dump.json"
	json_is "j['recovery']['replay_records']" 12 "$state/dump.json"
	json_is "j['recovery']['replay_bytes']" $((12 * 4096)) "$state/dump.json"
	json_is "sorted(r['sector'] for r in j['records']) == [16 * i for i in range(12)]" True "$state/dump.json"
	json_is "j['set']['name']" s1 "$state/dump.json"
	rcopy a1 log dump "$LOG1"
	run dmsetup resume rct-remote
	settle a1-v
}

# A log in use: while it is written to, what is read is whole, or is said to be in use; never damaged.
dumps_under_load()
{
	local rc n=0
	single
	wait_state a1-v serving
	start load python3 "$here/lib/ioplay.py" load $v1 $((SECTORS * 512)) 0 1
	for _ in {1..6}; do
		rc=0
		rcopy a1 log dump "$LOG1" --json --records none >"$state/dump.json" || rc=$?
		note "status $rc: $(json "j['verdict']" "$state/dump.json"), $(json "sum(l['records'] for l in j['lanes'])" "$state/dump.json") records"
		[ "$(json "j['verdict']" "$state/dump.json")" != damaged ]
		n=$((n + $(json "sum(l['records'] for l in j['lanes'])" "$state/dump.json")))
	done
	halt load
	[ $n -gt 0 ]
	settle a1-v
}

# A log that no set uses, with twenty records that the remote has not.
outstanding()	# <option>...
{
	single "$@"
	wait_state a1-v serving
	settle a1-v
	broken rct-remote
	writes 20
	poll rcopy a1 remove a1-v
	linear rct-remote
}

# Outstanding records, and what the tool and the module make of them: the same, damaged or not.
foretells()
{
	local replay
	outstanding --lanes 2 --log-size 4M
	rcopy a1 log dump "$LOG1" --json >"$state/dump.json"
	replay=$(json "j['recovery']['replay_records']" "$state/dump.json")
	[ "$replay" = 20 ]
	run dd if="$LOG1" of="$state/log" bs=1M count=4 iflag=direct status=none
	logedit flip "$LOG1" header 3
	ends_with 6 a1 log dump "$LOG1"
	cat "$state/said"
	grep -Eq 'DAMAGED: lane [01]: the record at position [0-9]+ is damaged; sequences behind' "$state/said"
	forget_log
	refuses 6 'lane [01]: the record at position [0-9]+ is damaged' a1 create a1-v --set s1 --local "$local1" \
		--log "$LOG1" --log-size 4M --lanes 2 --remote dev:/dev/mapper/rct-remote --partner none
	run dd if="$state/log" of="$LOG1" bs=1M count=4 oflag=direct status=none
	single --lanes 2 --log-size 4M
	wait_state a1-v serving
	field_is a1-v replayed "$replay"
	settle a1-v
}

# A device with the bytes of a log, of which some sectors cannot be read.
bad_sectors()	# <first> <how many>
{
	local all
	all=$(blockdev --getsz "$LOG1")
	note "+ rct-bad: sectors from $1 on cannot be read, $2 of them"
	! dm_exists rct-bad || dmsetup remove rct-bad
	{
		[ "$1" = 0 ] || echo "0 $1 linear $LOG1 0"
		echo "$1 $2 error"
		echo "$(($1 + $2)) $((all - $1 - $2)) linear $LOG1 $(($1 + $2))"
	} | dmsetup create rct-bad
}

unreadable()
{
	local sector
	outstanding --lanes 2
	echo rct-bad >>"$state/devices"
	rcopy a1 log dump "$LOG1" --json >"$state/whole.json"
	json_is "(j['verdict'], len(j['records']))" "('whole', 20)" "$state/whole.json"
	# Without superblocks there is nothing to say of it.
	for sector in 0 8; do
		bad_sectors $sector 8
		refuses 1 "rct-bad: byte $((sector * 512)) cannot be read: the kernel log says why" a1 log dump /dev/mapper/rct-bad
		ends_with 1 a1 assemble --config "$state/none" /dev/mapper/rct-bad
		grep -q "^not read  /dev/mapper/rct-bad: byte $((sector * 512)) cannot be read" "$state/said"
		# Another one is found all the same.
		ends_with 1 a1 assemble --config "$state/none" --json /dev/mapper/rct-bad "$LOG1"
		json_is "(j['sets'][0]['logs'][0]['device'], len(j['unread']))" "('$LOG1', 1)" "$state/said"
	done
	# A mark, the first headers, data in the middle of what is outstanding.
	sector=$(json "next((j['log']['used'] - (2 - r['lane']) * j['superblocks'][0]['lane_data'] + r['data_pos']) // 512 for r in j['records'][10:])" "$state/whole.json")
	for sector in 16 32 "$sector"; do
		bad_sectors "$sector" 8
		ends_with 6 a1 log dump /dev/mapper/rct-bad --json
		note "sector $sector: $(json "j['damage']" "$state/said")"
		json_is "(j['verdict'], j['damage']['kind'], j['recovery'])" "('damaged', 'unreadable', None)" "$state/said"
	done
	# Beyond everything that is outstanding: it is not looked at.
	bad_sectors $(($(blockdev --getsz "$LOG1") - 16)) 8
	rcopy a1 log dump /dev/mapper/rct-bad --json >"$state/dump.json"
	json_is "j['verdict']" whole "$state/dump.json"
}

# --- assemble -------------------------------------------------------------------------------------

assembles()
{
	pair
	io write $v1 0 65536 1
	no grep -q in_step "$state/a1.volumes"
	rcopy a1 assemble --config "$state/a1.volumes" "$LOG1" "$LOG2" --json >"$state/found.json"
	json_is "len(j['sets'])" 1 "$state/found.json"
	json_is "sorted(l['role'] for l in j['sets'][0]['logs'])" "['owner', 'standby']" "$state/found.json"
	json_is "j['sets'][0]['volumes'][0]['state']" running "$state/found.json"
	poll rcopy a1 remove a1-v
	poll rcopy a2 remove a2-v
	run unload_module
	load_module
	# The note says another device: the log is found where it is, though the partner's is there as well.
	sed -i "s#log $LOG2#log /dev/pmem9#" "$state/a2.volumes"
	ends_with 1 a2 assemble --config "$state/a2.volumes" --start
	grep -q "UNCLEAR: logs of this set are on" "$state/said"
	rcopy a2 assemble --config "$state/a2.volumes" --start "$LOG2" | tee "$state/said"
	grep -q "a2-v: started" "$state/said"
	grep -q "the log is on $LOG2 at 0, not on /dev/pmem9 at 0 as noted" "$state/said"
	# All block devices.
	rcopy a1 assemble --config "$state/a1.volumes" --start | tee "$state/said"
	grep -q "a1-v: started" "$state/said"
	wait_state a1-v serving
	wait_field a1-v mirror mirrored
	io expect $v1 0 65536 1
	forget_log
	rcopy a1 assemble --config "$state/a1.volumes" --start >"$state/said"
	grep -q "a1-v: runs" "$state/said"
	# A standby's volume refuses to be read, and nobody tries.
	no grep '^not read' "$state/said"
	no has_said 'I/O refused'
}

# --- sets that run --------------------------------------------------------------------------------

# The status line and JSON have the same names and values, and all names are documented: each value of the
# line is in JSON, and what only JSON has is in the guide's table of that.
names_agree()	# <node>
{
	# One after the other, as nothing happens in between.
	rcopy "$1" status s1 --json >"$state/status.json"
	dmsetup status "$1-v" >"$state/dmsetup"
	python3 - "$state" "$here/../Documentation" <<-'END'
		import json, re, sys
		state, docs = sys.argv[1:]

		def table(path, behind):
		    lines = open(f"{docs}/{path}").read().split(behind, 1)[1].splitlines()
		    edges = [i for i, line in enumerate(lines) if line.startswith("===")]
		    cells = [re.match("``([a-z_]+)``", line) for line in lines[edges[0]:next(i for i in edges[1:] if not lines[i + 1])]]
		    return {c[1] for c in cells if c}

		of_line = table("admin-guide/remote-copy.rst", "\nFields are of the set")
		of_json = table("administration.rst", "What only they have:")
		said = json.load(open(f"{state}/status.json"))["sets"][0]
		for more in "lacks", "links", "volume":
		    del said[more]
		said.update(said.pop("counters"))
		said["set"] = said.pop("name")
		words = open(f"{state}/dmsetup").read().split()[3:]
		assert len(words) % 2 == 0, words
		line = dict(zip(words[::2], words[1::2]))
		for name, value in line.items():
		    assert name in of_line, f"{name} is not documented"
		    assert name in said or (name, value) == ("missing_last", "unknown"), f"{name} is not in JSON"
		    most = said.get(name + "_max")
		    text = str(said.get(name)) if most is None else f"{said[name]}/{most}"
		    assert text == value, (name, text, value)
		only = set(said) - set(line)
		if said["record"] == "unused":
		    only.remove("record")
		assert only <= of_json, f"not in the status line, nor documented: {only - of_json}"
		print(f"# {len(line)} values agree, {len(only)} more in JSON")
	END
}

says_what_is()
{
	pair
	io write $v1 0 65536 1
	settle a1-v
	poll is a1 behind 0
	names_agree a1
	names_agree a2
	rcopy a1 status | tee "$state/screen"
	grep -q '^s1  owner, serving since' "$state/screen"
	grep -q 'protection  as configured' "$state/screen"
	rcopy a1 status --check >/dev/null
	rcopy a2 status
	rcopy a1 show s1 --json >"$state/show.json"
	json_is "j[0]['logs'][0]['path']" "$LOG1" "$state/show.json"
	json_is "j[0]['volumes'][0]['sectors']" "$SECTORS" "$state/show.json"
	json_is "j[0]['set']['counters']['writes'] >= 1" True "$state/show.json"
	rcopy a1 show s1 >/dev/null
	# Each namespace has its own.
	"$tool" status | grep -qx 'no sets in this network namespace'
	refuses 3 's9|no such set|No such' a1 status s9
	# The partner goes.
	cut_link
	wait_is a1 mirror lost
	ends_with 8 a1 status --check
	grep -q 'LESS than configured: the partner cannot be reached: writes wait' "$state/said"
	heal_link
	wait_is a1 mirror mirrored
}

changes_settings()
{
	pair
	rcopy a1 set s1 mode=sync ping-ms=250
	is a1 mode sync
	is a1 ping_ms 250
	wait_field a1-v mode sync
	rcopy a1 set s1 mode=async
	is a1 mode async
	refuses 2 "ping-ms '5': 10 to 60000 milliseconds are allowed" a1 set s1 ping-ms=5
	refuses 2 "setting 'lanes': there are mode" a1 set s1 lanes=3
	refuses 3 'name' a1 set s9 mode=sync
	# What the kernel refuses says which attribute it is about.
	refuses 2 's1: takeover: .*fencing none' a1 set s1 takeover=auto
}

pauses()
{
	pair
	rcopy a1 pause s1 | tee "$state/said"
	grep -q 'shipping paused' "$state/said"
	io write $v1 0 65536 7
	stays 1 is a1 remote behind
	ends_with 8 a1 status --check
	grep -q 'shipping PAUSED' "$state/said"
	fails python3 "$here/lib/ioplay.py" expect "$REMOTE" 0 65536 7
	rcopy a1 resume s1
	settle a1-v
	io expect "$REMOTE" 0 65536 7
}

takes_over()
{
	pair --fencing external
	io write $v1 0 65536 3
	refuses 4 'the set is serving, not a standby' a1 takeover s1
	refuses 4 'the owner is alive and connected' a2 takeover s1
	cut_link
	wait_field a2-v partner disconnected
	rcopy a2 takeover s1 | tee "$state/said"
	wait_is a2 state serving
	io expect $v2 0 65536 3
	is a2 role owner
	heal_link
}

swaps()
{
	pair --fencing external --metadata "$PLAIN"
	io write $v1 0 65536 5
	# Netlink cuts a reason off: the tool has the rest from the kernel's log.
	refuses 4 's1: swap: suspend all volumes .* so that no write is under way' a1 swap s1
	rcopy a1 swap s1 --suspend
	wait_is a2 state serving
	wait_is a1 role standby
	[ "$(dmsetup info -c --noheadings -o suspended a1-v)" = Active ]
	io expect $v2 0 65536 5
}

tells_events()
{
	local n
	pair
	start events ip netns exec a1 "$tool" events --json --idle 6
	poll_for 5 listening
	rcopy a1 pause s1
	rcopy a1 resume s1
	rcopy a1 set s1 mode=sync
	finish events
	rcopy a1 events nosuch --idle 1 2>"$state/complaint"
	grep -q 'rcopy: nosuch: no such set .*; it is waited for' "$state/complaint"
	grep -v missed "$state/events.out" >"$state/events"
	n=$(wc -l <"$state/events")
	note "$n events"
	grep -q '"kind":"shipping".*"new":"paused"' "$state/events"
	grep -q '"kind":"shipping".*"new":"running"' "$state/events"
	grep -q '"kind":"settings".*mode' "$state/events"
	# Numbers without a gap.
	python3 - "$state/events" <<-'END'
		import json, sys
		seqs = [json.loads(l)["seq"] for l in open(sys.argv[1])]
		assert seqs == list(range(seqs[0], seqs[0] + len(seqs))), seqs
	END
	no grep -q missed "$state/events.out"
}

# shellcheck disable=SC2016 # awk's
listening() { ip netns exec a1 awk '$2 == 16 && $4 != 0' /proc/net/netlink | grep -q .; }

gives_metrics()
{
	pair
	io write $v1 0 65536 1
	settle a1-v
	rcopy a1 metrics --output "$state/rcopy.prom"
	grep -qx 'remote_copy_up 1' "$state/rcopy.prom"
	grep -qx 'remote_copy_state{set="s1",state="serving"} 1' "$state/rcopy.prom"
	grep -qx 'remote_copy_degraded{set="s1"} 0' "$state/rcopy.prom"
	[ "$(sed -n 's/^remote_copy_writes_total{set="s1"} //p' "$state/rcopy.prom")" = "$(status_field a1-v writes)" ]
	note "$(grep -c '^remote_copy_' "$state/rcopy.prom") samples"
}

# The service's own line, with its rights and no others, in the folder that it names.
service()	# <command run behind it>...
{
	local line
	line=$(sed -n 's/^ExecStart=//p' "$here/../scripts/systemd/rcopy-metrics.service")
	note "a1: $line" >&$notes
	# Those folders are of this process only.
	# shellcheck disable=SC2016 # the inner shell's
	ip netns exec a1 bash -c '
		set -e
		mount -t tmpfs tmpfs /var/lib
		mkdir -p /var/lib/prometheus/node-exporter
		cd /var/lib/prometheus/node-exporter
		[ ! -s "$1/rcopy.prom" ] || cp "$1/rcopy.prom" .
		if [ ! -e /usr/sbin/rcopy ]; then
			: >/usr/sbin/rcopy
			trap "umount /usr/sbin/rcopy; rm /usr/sbin/rcopy" EXIT
		fi
		mount --bind "$2" /usr/sbin/rcopy
		[ ! -e rcopy.prom ] || exec 8<rcopy.prom
		rc=0
		python3 -c "$4" $3 2>"$1/complaint" || rc=$?
		# Whoever had opened the old one reads it to its end.
		[ ! -s "$1/rcopy.prom" ] || cmp "$1/rcopy.prom" - <&8
		[ "$(ls -A)" = rcopy.prom ]
		[ "$(stat -c %a rcopy.prom)" = 644 ]
		cp rcopy.prom "$1/rcopy.prom"
		exit $rc
	' service "$state" "$tool" "$line" '
import ctypes, os, sys
prctl = ctypes.CDLL(None, use_errno=True).prctl
for capability in range(64):
    prctl(24, capability, 0, 0, 0)          # CapabilityBoundingSet=
assert prctl(38, 1, 0, 0, 0) == 0           # NoNewPrivileges=
os.execv(sys.argv[1], sys.argv[1:])'
}

serves_the_collector()
{
	local rc=0
	pair
	service
	grep -qx 'remote_copy_up 1' "$state/rcopy.prom"
	grep -qx 'remote_copy_shipping_paused{set="s1"} 0' "$state/rcopy.prom"
	rcopy a1 pause s1
	service
	grep -qx 'remote_copy_shipping_paused{set="s1"} 1' "$state/rcopy.prom"
	# Without the module the old file would go on saying that all is well.
	poll rcopy a1 remove a1-v
	poll rcopy a2 remove a2-v
	run unload_module
	service || rc=$?
	load_module
	sed 's/^/#   /' "$state/complaint" "$state/rcopy.prom"
	[ $rc = 7 ]
	grep -qx "SuccessExitStatus=$rc" "$here/../scripts/systemd/rcopy-metrics.service"
	grep -qx 'remote_copy_up 0' "$state/rcopy.prom"
	no grep -q 's1' "$state/rcopy.prom"
	# The module is back, without sets.
	service
	grep -qx 'remote_copy_sets 0' "$state/rcopy.prom"
}

# What a shell offers for the last of the words.
offered()	# <node> <word>...
{
	local node=$1
	shift
	# shellcheck disable=SC2016 # the inner shell's
	ip netns exec "$node" bash --norc -c '
		eval "$("$1" completion bash)"
		COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
		_rcopy_names "$1" "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
		echo "${COMPREPLY[*]}"
	' bash "$tool" "$@"
}

completes()
{
	[ "$(offered a1 pause '')" = "" ]
	single
	dm_create a1 a1-w "0 $SECTORS remote-copy initiator other $PLAIN 8 log $LOG2 remote dev:/dev/mapper/rct-remote partner none create in_step"
	[ "$(offered a1 pause '')" = "other s1" ] || [ "$(offered a1 pause '')" = "s1 other" ]
	[ "$(offered a1 takeover o)" = other ]
	[ "$(offered a1 set s1 mode = s)" = sync ]
	# Those of another namespace are not its.
	[ "$(offered a2 pause '')" = "" ]
}

watches()
{
	single
	wait_state a1-v serving
	start watch ip netns exec a1 "$tool" status --watch s1 --json
	poll_for 10 [ -s "$state/watch.out" ]
	rcopy a1 pause s1
	poll_for 10 grep -q '"shipping":"paused"' "$state/watch.out"
	rcopy a1 resume s1
	poll_for 10 last_says running
	halt watch || true
	# One object a line, each whole.
	python3 - "$state/watch.out" <<-'END'
		import json, sys
		looks = [json.loads(l)["sets"][0]["shipping"] for l in open(sys.argv[1])]
		assert len(looks) >= 3 and looks[0] == looks[-1] == "running", looks
	END
	start watch ip netns exec a1 "$tool" status s1 --watch
	poll_for 10 grep -q 'every 1 second' "$state/watch.out"
	rcopy a1 pause s1
	poll_for 10 grep -q 'shipping PAUSED' "$state/watch.out"
	# What is watched may go: that is said, and ends it.
	rcopy a1 resume s1
	settle a1-v
	poll rcopy a1 remove a1-v
	poll_for 10 ended watch
	grep -q 'rcopy: .*no such set' "$state/watch.out"
}
last_says() { tail -n 1 "$state/watch.out" | grep -q "\"shipping\":\"$1\""; }
ended() { ! running "$1"; }

# Looking takes no privilege, changing does.
unprivileged()
{
	local nobody what rc mine=$tool tool=/run/rct-rcopy
	# The checkout may be closed to everybody else, and in the project's machine all of it is.
	[ ! -e /vm/agent.py ] || chmod 755 /
	cp "$mine" $tool
	chmod 755 $tool
	nobody=(python3 -c 'import os, sys; os.setgroups([]); os.setgid(65534); os.setuid(65534); os.execv(sys.argv[1], sys.argv[1:])')
	pair
	ip netns exec a1 "${nobody[@]}" "$tool" status s1 | grep -q '^s1  owner'
	for what in "pause s1" "resume s1" "takeover s1" "swap s1" "set s1 mode=sync" "detach s1 --force" "in-step s1 --force"; do
		rc=0
		# shellcheck disable=SC2086 # words
		ip netns exec a1 "${nobody[@]}" "$tool" $what 2>"$state/complaint" || rc=$?
		note "$what: $rc $(cat "$state/complaint")"
		[ $rc = 5 ]
		grep -q CAP_NET_ADMIN "$state/complaint"
	done
	rc=0
	ip netns exec a1 "${nobody[@]}" "$tool" log dump "$LOG1" 2>"$state/complaint" || rc=$?
	[ $rc = 5 ]
	is a1 mode async
	is a1 shipping running
	rm $tool
}

without_module()
{
	run unload_module
	refuses 7 'the module is not loaded' a1 status
	"$tool" --version | grep 'module dm_remote_copy: not loaded'
	load_module
	"$tool" --version | grep 'module dm_remote_copy: ' | grep -v 'not loaded'
}

tests "a volume comes and goes" comes_and_goes \
	"wrong values are named before anything is done" wrong_values \
	"what the kernel refuses is told in its words" kernel_refuses \
	"a log is read beside its owner" dumps \
	"a dump says what the module will do" foretells \
	"a log under load is never called damaged" dumps_under_load \
	"sets are found by their logs when the module was loaded anew" assembles \
	"what cannot be read of a log is said" unreadable \
	"status, show, dmsetup and the documentation agree" says_what_is \
	"status is watched" watches \
	"names of sets are completed" completes \
	"settings change at run time" changes_settings \
	"shipping is paused and resumed" pauses \
	"the standby takes over" takes_over \
	"the partners swap" swaps \
	"events are told without a gap" tells_events \
	"metrics say what is" gives_metrics \
	"the service feeds the collector" serves_the_collector \
	"looking takes no privilege, changing does" unprivileged \
	"without the module it says so" without_module
