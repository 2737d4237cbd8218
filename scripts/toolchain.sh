#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Makes everything that the build and the tests need, in build/ alone: a private Debian
# root with compilers and QEMU (build/root) and a prepared kernel tree (build/linux).
#
# Each stage leaves a stamp that names what it was made from; a stage that was
# interrupted, or whose recipe changed, is made again from nothing.

set -euo pipefail
. "$(dirname "$0")/lib.sh"

suite=trixie
stages=4
packages=$(sed 's/#.*//' "$top/scripts/packages.txt" | xargs echo)

# A stamp holds the recipe of its stage. Changing the recipe changes the stamp.
stamp_root="$suite $kernel_release $packages"
stamp_source="$stamp_root source 1"
stamp_tree="$stamp_source tree 1"

fresh()	# <stage name> <recipe>
{
	[ "$(cat "$build/.stamp-$1" 2>/dev/null)" = "$2" ]
}

# Called under "if" or not, a stage's failure must end the script: hence the subshell.
stage()	# <number> <name> <what it does> <function>
{
	local n=$1 name=$2 what=$3 fn=$4 log=$logs/toolchain-$2.log pid

	printf '[%d/%d] %s ...\n' "$n" "$stages" "$what"
	rm -f "$build/.stamp-$name"
	# In a process group of its own, so that an interrupted stage ends with all its programs.
	set -m
	(set -euxo pipefail; "$fn") </dev/null >"$log" 2>&1 &
	pid=$!
	set +m
	trap 'kill -TERM -- -$pid 2>/dev/null; exit 130' INT TERM HUP
	while kill -0 $pid 2>/dev/null; do
		sleep 1	# the pace of the progress line
		[ ! -t 1 ] || printf '\r      %s  %.60s\033[K' "$(elapsed)" "$(tail -n 1 "$log" | tr -cd '[:print:]')"
	done
	[ ! -t 1 ] || printf '\r\033[K'
	trap - INT TERM HUP
	if ! wait $pid; then
		tail -n 25 "$log" >&2
		die "stage \"$what\" failed; the whole log is ${log#"$top"/}"
	fi
	printf '      done (%s since start)\n' "$(elapsed)"
}

# Where this machine gets its Debian packages from: the first archive that apt knows.
debian_uri()	# [security]
{
	set +o pipefail	# grep may well find nothing
	# shellcheck disable=SC2016 # apt expands these
	apt-get indextargets --format '$(REPO_URI) $(RELEASE)' 'Created-By: Packages' |
		if [ $# = 0 ]; then grep -v -- '-security$'; else grep -- '-security$'; fi |
		grep '/debian' | head -n 1 | cut -d ' ' -f 1
}

make_host_tools()
{
	apt-get -q update
	DEBIAN_FRONTEND=noninteractive apt-get -q install -y --no-install-recommends \
		mmdebstrap debian-archive-keyring
}

make_root()
{
	local uri security keyring new=$build/root.new

	# apt names its archives only after an update.
	[ -n "$(debian_uri)" ] || apt-get -q update
	uri=${DEBIAN_MIRROR:-$(debian_uri)}
	[ -n "$uri" ] || { echo "apt knows no Debian archive: set DEBIAN_MIRROR"; return 1; }
	security=${DEBIAN_SECURITY_MIRROR:-$(debian_uri security)}
	keyring=/usr/share/keyrings/debian-archive-keyring.gpg

	rm -rf "$new" "$root"
	# How the host's apt reaches its archive (proxy, clock) holds inside as well.
	apt-config dump | grep -E '^Acquire::(https?::|Check-|Retries)' >"$build/apt.conf" || true
	cat >>"$build/apt.conf" <<-EOF
		APT::Install-Recommends "false";
		Acquire::Languages "none";
		Acquire::Retries "3";
	EOF
	{
		echo "deb [signed-by=$keyring] $uri $suite main"
		echo "deb [signed-by=$keyring] $uri $suite-updates main"
		echo "deb [signed-by=$keyring] $uri $suite-backports main"
		[ -z "$security" ] || echo "deb [signed-by=$keyring] $security $suite-security main"
	} >"$build/sources.list"

	# INITRD=No: nobody boots this root, so no initramfs is to be made in it.
	# The namespaces make the mounts of an interrupted run vanish with it.
	# shellcheck disable=SC2086 # a list of words
	INITRD=No unshare --mount --pid --fork --kill-child --mount-proc --propagation private \
		mmdebstrap --mode=root --variant=minbase --aptopt="$build/apt.conf" \
		--include="$(echo $packages | tr ' ' ,)" \
		--include="linux-base/$suite-backports,linux-image-$kernel_release,linux-headers-$kernel_release,linux-source-$kernel_series" \
		"$suite" "$new" "$build/sources.list"
	[ -e "$new/boot/vmlinuz-$kernel_release" ]
	mv "$new" "$root"
}

unpack_source()
{
	rm -rf "$linux" "$linux.new"
	mkdir -p "$linux.new"
	tar -C "$linux.new" --strip-components=1 -xf "$root/usr/src/linux-source-$kernel_series.tar.xz"
	mv "$linux.new" "$linux"
}

# The headers package carries no Rust metadata, so an equal tree is made from source.
prepare_tree()
{
	local rustlib

	rustlib=$(cd "$root" && echo usr/src/rustc-*/library)
	cp "$root/boot/config-$kernel_release" "$linux/.config"
	cp "$root/usr/src/linux-headers-$kernel_release/Module.symvers" "$linux/"
	# The part of the version that is not in the Makefile; vermagic must match.
	echo "+${kernel_release#*+}" >"$linux/localversion"
	"$top/scripts/in-root" env RUST_LIB_SRC="/$rustlib" \
		make -C "$linux" -j"$(nproc)" CC=x86_64-linux-gnu-gcc-14 olddefconfig modules_prepare
	[ "$(cat "$linux/include/config/kernel.release")" = "$kernel_release" ]
}

main()
{
	if fresh tree "$stamp_tree" && fresh source "$stamp_source" && fresh root "$stamp_root"; then
		return
	fi
	need_root
	mkdir -p "$logs"
	# One at a time: a second make waits here and then finds everything done.
	exec 9>"$build/.toolchain.lock"
	flock -n 9 || { echo "waiting for another make that prepares the toolchain"; flock 9; }

	if ! command -v mmdebstrap >/dev/null; then
		stage 1 host "installing mmdebstrap" make_host_tools
	fi
	if ! fresh root "$stamp_root"; then
		stage 2 root "making a private Debian $suite root (2 minutes, 1.2 GB download)" make_root
		echo "$stamp_root" >"$build/.stamp-root"
	fi
	if ! fresh source "$stamp_source"; then
		stage 3 source "unpacking the $kernel_release source" unpack_source
		echo "$stamp_source" >"$build/.stamp-source"
	fi
	if ! fresh tree "$stamp_tree"; then
		stage 4 tree "preparing the kernel tree (3 to 5 minutes)" prepare_tree
		echo "$stamp_tree" >"$build/.stamp-tree"
	fi
}

main
