#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Builds the kernel of "make debug-check" once: build/debug-kernel/linux is its tree (KDIR of the
# module for it), build/debug-kernel/vmlinux what machines boot, build/debug-kernel/lib/modules
# what they may load. 10 to 60 minutes; an interrupted build goes on where it stopped.

set -euo pipefail
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/tree.sh"

here=$top/scripts/debug-kernel
recipe=$(cat "$here/config" <(echo "$kernel_release") | sha256sum)

unpack()
{
	rm -rf "$tree" "$tree.new"
	mkdir -p "$tree.new"
	tar -C "$tree.new" --strip-components=1 -xf "$root/usr/src/linux-source-$kernel_series.tar.xz"
	mv "$tree.new" "$tree"
}

# Kconfig drops silently what it cannot give.
configure()
{
	local line missing=0

	make_in_tree tinyconfig
	cat "$here/config" >>"$tree/.config"
	make_in_tree olddefconfig
	while read -r line; do
		case $line in
		CONFIG_* | "# CONFIG_"*) ;;
		*) continue ;;
		esac
		grep -qxF "$line" "$tree/.config" && continue
		[[ $line != "# CONFIG_"* ]] || ! grep -q "^${line:2:$((${#line} - 13))}=" "$tree/.config" || continue
		echo "the configuration lacks: $line"
		missing=1
	done <"$here/config"
	return $missing
}

main()
{
	if [ "$(cat "$out/.stamp" 2>/dev/null)" = "$recipe" ]; then
		return
	fi
	need_root
	mkdir -p "$out"
	exec 9>"$out/.lock"
	flock 9
	[ -e "$tree/Makefile" ] || unpack
	configure
	make_in_tree bzImage modules
	rm -rf "${out:?}/lib"
	make_in_tree INSTALL_MOD_PATH="$out" modules_install
	cp "$tree/vmlinux" "$out/vmlinux"
	echo "$recipe" >"$out/.stamp"
}

main
