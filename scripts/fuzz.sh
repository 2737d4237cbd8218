#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Fuzzes core's parsers (rust/fuzz), with coverage to guide it. Runs inside the private root.
#
#   fuzz.sh				what make check does: bounded by runs, from a fixed seed
#   fuzz.sh seconds <n>			each target for that long, from what earlier such runs found
#   fuzz.sh replay <target> <file>	one input again, with a backtrace
#   fuzz.sh corpus			the smallest set of inputs that reaches as much as the seeds
#					(rust/fuzz/examples/seeds.rs), the corpus and all that was
#					found by "seconds" do: becomes rust/fuzz/corpus
#   fuzz.sh build [target]		only builds
#
# What it tried goes to fuzz.json in $DMRC_PROOF. What it prints for a crash replays it. FUZZ_CRATE:
# another copy of rust/fuzz, beside another core (scripts/fuzz-plants.py).

set -euo pipefail
. "$(dirname "$0")/lib.sh"

crate=${FUZZ_CRATE:-$top/rust/fuzz}
out=$build/fuzz
corpus=$top/rust/fuzz/corpus
triple=x86_64-unknown-linux-gnu

# The bounded runs. One run tries several images or frames; if it is fewer than "least" of them in all,
# the step has failed.
targets=(log frames ownership table)
declare -A runs=([table]=50000 [log]=110000 [frames]=70000 [ownership]=30000)
declare -A least=([table]=10000 [log]=1000000 [frames]=1000000 [ownership]=100000)
declare -A longest=([table]=600 [log]=400 [frames]=500 [ownership]=300)

# What "cargo fuzz build --sanitizer none" passes. No address sanitizer: Debian's rustc has no runtime
# for it, and core forbids unsafe code, so an access out of bounds is a panic, which is found.
instrument=(--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4
	-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table
	-Cllvm-args=-sanitizer-coverage-trace-compares -Cllvm-args=-simplifycfg-branch-fold-threshold=0
	-Ccodegen-units=1)

# libFuzzer itself is C++.
export CC=clang-19 CXX=clang++-19

# The triple keeps the instruments out of build scripts and macros.
build_targets()	# [target]
{
	local which=(--bins)
	[ $# = 0 ] || which=(--bin "$1")
	RUSTFLAGS="${instrument[*]}" cargo build --quiet --release "${which[@]}" \
		--target $triple --target-dir "$out/target" --manifest-path "$crate/Cargo.toml"
}

fuzzer() { echo "$out/target/$triple/release/$1"; }

# In one order everywhere: a folder has none of its own.
inputs_of()	# <target>
{
	find "$corpus/$1" -type f 2>/dev/null | LC_ALL=C sort | paste -sd,
}

count() { find "$1" -type f 2>/dev/null | wc -l; }

crashed()	# <target> <log>
{
	local input

	grep -aE 'panicked at|^==.*ERROR' -A 2 "$2" | head -n 12 | sed 's/^/# /'
	input=$(sed -n 's/.*Test unit written to //p' "$2" | tail -n 1)
	[ -z "$input" ] || echo "# replay: scripts/in-root scripts/fuzz.sh replay $1 ${input#"$top"/}"
}

# Runs one target, says how it went, and leaves that in <target>.json.
fuzz()	# <target> <least to be tried> <libFuzzer's arguments...>
{
	local target=$1 few=$2 log=$out/$1.log rc=0 crashes=0 began=$EPOCHREALTIME did tried what edges
	shift 2

	"$(fuzzer "$target")" -max_len="${longest[$target]}" -timeout=20 -rss_limit_mb=1024 \
		-print_final_stats=1 -artifact_prefix="$out/$target-" "$@" >"$log" 2>&1 </dev/null || rc=$?
	did=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
	edges=$(sed -n 's/.* cov: \([0-9]*\) .*/\1/p' "$log" | tail -n 1)
	read -r tried what <<<"$(sed -n 's/^tally: //p' "$log" | tail -n 1)" || true
	if [ $rc != 0 ]; then
		crashes=1
		echo "not ok $target: exit status $rc: ${log#"$top"/}"
		crashed "$target" "$log"
	elif [ "${tried:-0}" -lt "$few" ]; then
		rc=1
		echo "not ok $target: ${tried:-no} ${what:-inputs} tried, not $few"
	else
		echo "ok $target: $did runs, $tried $what, $edges edges reached"
	fi
	printf '"%s": {"runs": %d, "inputs": %d, "seconds": %.1f, "corpus": %d, "crashes": %d}\n' \
		"$target" "${tried:-0}" "${did:-0}" "$(bc <<<"$EPOCHREALTIME - $began")" \
		"$(count "$corpus/$target")" $crashes >"$out/$target.json"
	return $rc
}

report()
{
	local dir=${DMRC_PROOF:-$build/proof.d/check}

	mkdir -p "$dir"
	printf '{"fuzz": {%s}, "seconds": %d}\n' \
		"$(for target in "${targets[@]}"; do cat "$out/$target.json"; done | paste -sd,)" \
		$SECONDS >"$dir/fuzz.json"
}

# Two at a time, the long ones first. Answers whether all went well.
all_targets()	# <function of a target> <arguments...>
{
	local target failed=0 pids=() pid

	for target in "${targets[@]}"; do
		rm -f "$out/$target.json"
		while [ "$(jobs -pr | wc -l)" -ge 2 ]; do
			wait -n || true
		done
		"$1" "$target" "${@:2}" &
		pids+=($!)
	done
	for pid in "${pids[@]}"; do
		wait "$pid" || failed=1
	done
	report
	return $failed
}

# Always the same: the corpus of the repository, a seed, a number of runs.
bounded()
{
	rm -rf "${out:?}/$1"
	mkdir -p "$out/$1"
	fuzz "$1" "${least[$1]}" -seed=1 -reload=0 -runs="${runs[$1]}" -seed_inputs="$(inputs_of "$1")" "$out/$1"
}

for_seconds()	# <target> <seconds>
{
	mkdir -p "$out/$1.found"
	fuzz "$1" 1 -max_total_time="$2" "$out/$1.found" "$corpus/$1"
}

minimise()
{
	local target new=$out/new

	rm -rf "$new"
	cargo run --quiet --release --target-dir "$out/seeds" --manifest-path "$crate/Cargo.toml" \
		--example seeds -- "$new/seeds"
	for target in "${targets[@]}"; do
		mkdir -p "$new/$target" "$out/$target.found" "$corpus/$target"
		"$(fuzzer "$target")" -set_cover_merge=1 -use_counters=0 -max_len="${longest[$target]}" "$new/$target" \
			"$new/seeds/$target" "$corpus/$target" "$out/$target.found" >"$out/$target.merge.log" 2>&1
		rm -rf "${corpus:?}/$target"
		mv "$new/$target" "$corpus/$target"
		echo "$target: $(count "$corpus/$target") inputs, $(cat "$corpus/$target"/* | wc -c) bytes"
	done
	rm -rf "$new"
}

mkdir -p "$out"
case ${1:-} in
build)	build_targets "${@:2}"; exit ;;
esac
build_targets
case ${1:-} in
"") all_targets bounded ;;
seconds) all_targets for_seconds "${2:?}" ;;
replay) RUST_BACKTRACE=1 "$(fuzzer "${2:?}")" "${3:?}" ;;
corpus) minimise ;;
*) die "no such thing to do: $1" ;;
esac
