# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2034 # used by whoever reads this in
# Shared by the shell scripts: where things are, and how to say what is going on.

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
build=$top/build
root=$build/root		# private Debian root with compilers and QEMU
linux=$build/linux		# prepared kernel source tree
logs=$build/log

# The one stock kernel that everything is built for and tested on.
kernel_series=7.3
kernel_release=7.3.4+deb13-amd64

die()
{
	printf '%s: error: %s\n' "${0##*/}" "$*" >&2
	exit 1
}

need_root()
{
	[ "$(id -u)" = 0 ] ||
		die "this needs root: it makes a private Debian root in build/ and enters it with chroot (try: sudo make)"
}

# Prints the time since the script started as 1m02s.
elapsed()
{
	printf '%dm%02ds' $((SECONDS / 60)) $((SECONDS % 60))
}
