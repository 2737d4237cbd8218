#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# make check: every test, from the cheapest to the dearest. The tests are
#
#   selftests/*.sh		each in a virtual machine of its own (scripts/vm/run)
#   selftests/multi/*.py	beside virtual machines that they start (scripts/vm/vmlib.py)
#
# that are executable; both speak TAP. TEST_FILTER=<regex> runs only those whose path matches.
# The last line is "N passed, N failed, N skipped". A test that cannot run has failed.

. "$(dirname "$0")/lib.sh"
cd "$top" || exit 1
need_root
mkdir -p "$logs"

passed=0 failed=0 skipped=0
failures=()

count()	# <what> <log> <passed> <failed> <skipped>
{
	passed=$((passed + $3)) failed=$((failed + $4)) skipped=$((skipped + $5))
	if [ "$4" = 0 ]; then
		printf '[%s] %-34s ok      %s passed%s\n' "$(elapsed)" "$1" "$3" \
			"$([ "$5" = 0 ] || echo ", $5 skipped")"
	else
		failures+=("$1")
		printf '[%s] %-34s FAILED  %s failed, %s passed: %s\n' "$(elapsed)" "$1" "$4" "$3" "$2"
		grep -E '^not ok|^error|^# .*(Error|complained)|FAILED|panicked' "$2" | head -n 5 | sed 's/^/        /'
		tail -n 25 "$2" | sed 's/^/        | /'
	fi
}

begin()	# <what>
{
	log=build/log/check-$(echo "$1" | tr -c 'a-z0-9\n' -).log
	[ ! -t 1 ] || printf '[%s] %-34s ...\r' "$(elapsed)" "$1"
}

# A step that passes or fails as a whole.
step()	# <what> <command...>
{
	local what=$1 log
	shift
	begin "$what"
	if "$@" >"$log" 2>&1 </dev/null; then
		count "$what" "$log" 1 0 0
	else
		count "$what" "$log" 0 1 0
		return 1
	fi
}

# A step that says itself how many tests passed, in the words of cargo test.
cargo_step()	# <what> <command...>
{
	local what=$1 log rc
	shift
	begin "$what"
	"$@" >"$log" 2>&1 </dev/null
	rc=$?
	# shellcheck disable=SC2046 # three numbers
	count "$what" "$log" $(awk -v rc="$rc" '
		/^test result:/ { p += $4; f += $6; s += $8 }
		END { if ((rc || !p) && !f) f = 1; print p + 0, f + 0, s + 0 }' "$log")
}

# The same for TAP. The plan must hold, and the exit status must not contradict it.
tap_step()	# <what> <command...>
{
	local what=$1 log rc
	shift
	begin "$what"
	"$@" >"$log" 2>&1 </dev/null
	rc=$?
	# shellcheck disable=SC2046 # three numbers
	count "$what" "$log" $(awk -v rc="$rc" '
		{ sub(/\r$/, "") }
		/^1\.\.[0-9]+/ { plan = substr($1, 4) + 0 }
		/^ok .*# *SKIP/ { s++; next }
		/^ok / { p++ }
		/^not ok / { f++ }
		END {
			if ((rc || plan != p + f + s || !plan) && !f) f = 1
			print p + 0, f + 0, s + 0
		}' "$log")
}

tests_in()	# <folder> <pattern>
{
	find "$1" -maxdepth 1 -name "$2" -perm -u+x 2>/dev/null | sort |
		grep -E -- "${TEST_FILTER:-.}"
}

# Where the layers of the crash proof leave their figures.
export DMRC_PROOF=$build/proof.d/check
rm -rf "$DMRC_PROOF"

make toolchain || exit 1

step "formatting" make fmt-check
step "scripts" make lint
step "build" make all
built=$?
[ $built != 0 ] || step "no panic, no sleep, no large frame" scripts/in-root scripts/module-check.py
step "clippy" make clippy
cargo_step "host tests" make host-test
cargo_step "model of ownership" make model
step "parsers under fuzz" make fuzz
cargo_step "worlds of the crash proof" make worlds
cargo_step "simulated deployments" make sim
if [ $built = 0 ]; then
	tap_step "test bed" scripts/in-root python3 scripts/vm/selftest.py
	tap_step "crash images of its stores" scripts/in-root python3 scripts/images/images.py
	for test in $(tests_in selftests '*.sh'); do
		tap_step "$test" scripts/vm/run "$test"
	done
	# Each test adds what it has to say.
	rm -f "$DMRC_PROOF/kills.json"
	for test in $(tests_in selftests/multi '*.py'); do
		tap_step "$test" scripts/in-root python3 "$test"
	done
else
	for test in $(tests_in selftests '*.sh') $(tests_in selftests/multi '*.py'); do
		begin "$test"
		echo "not run: the module was not built" >"$log"
		count "$test" "$log" 0 1 0
	done
fi

step "report of the crash proof" scripts/in-root python3 scripts/proof.py "$DMRC_PROOF" build/check.json

[ ${#failures[@]} = 0 ] || printf 'failed: %s\n' "${failures[@]}"
echo "$passed passed, $failed failed, $skipped skipped"
[ $failed = 0 ]
