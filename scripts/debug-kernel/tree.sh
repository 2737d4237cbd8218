# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2034,SC2154 # variables of lib.sh and of whoever reads this in
# The tree of the debug kernel, and make in it with its compilers.

out=$build/debug-kernel
tree=$out/linux

make_in_tree()	# <argument to make...>
{
	local rustlib

	rustlib=$(cd "$root" && echo usr/src/rustc-*/library)
	"$top/scripts/in-root" env RUST_LIB_SRC="/$rustlib" \
		make -C "$tree" -j"${JOBS:-$(nproc)}" LLVM=-19 "$@"
}
