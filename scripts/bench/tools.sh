#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Builds, inside the private root, what the benchmark runs: static programs for the guest
# (load, watch) and QEMU's plugin that counts (count.so), in build/bench.
#
# No package installs the plugin interface's header: it is taken from the source of the
# very QEMU that is installed (40 MB, once).

set -euo pipefail
cd "$(dirname "$0")/../.."
out=build/bench
here=scripts/bench
mkdir -p "$out"

for program in load watch; do
	if [ ! "$out/$program" -nt "$here/$program.c" ] || [ ! "$out/$program" -nt "$here/mark.h" ]; then
		gcc -O2 -Wall -Wextra -Werror -static -o "$out/$program" "$here/$program.c"
	fi
done

version=$(dpkg-query -W -f '${source:Version}' qemu-system-x86)
header=$out/qemu-plugin-$version.h

fetch_header()
{
	local tmp opts
	tmp=$(mktemp -d)
	mkdir -p "$tmp/lists/partial" "$tmp/source"
	sed 's/^deb /deb-src /' /etc/apt/sources.list.d/*.list >"$tmp/sources.list"
	opts=(-q -o "Dir::Etc::sourcelist=$tmp/sources.list" -o Dir::Etc::sourceparts=/none
		-o "Dir::State::lists=$tmp/lists" -o APT::Sandbox::User=root -o Acquire::Check-Valid-Until=false
		-o Acquire::Check-Date=false)
	apt-get "${opts[@]}" update
	(cd "$tmp/source" && apt-get "${opts[@]}" --download-only source "qemu=$version")
	tar -xJf "$tmp"/source/*.orig.tar.xz -C "$tmp" --wildcards --strip-components=3 '*/include/qemu/qemu-plugin.h'
	mv "$tmp/qemu-plugin.h" "$header"
	rm -rf "$tmp"
}

if [ ! -s "$header" ]; then
	echo "fetching the plugin interface of QEMU $version" >&2
	fetch_header >"$out/fetch.log" 2>&1 || { tail -n 5 "$out/fetch.log" >&2; exit 1; }
fi
if [ ! "$out/count.so" -nt "$here/count.c" ] || [ ! "$out/count.so" -nt "$header" ]; then
	cp "$header" "$out/qemu-plugin.h"
	# The header includes glib for the names of two types that the plugin does not use.
	echo 'typedef struct _GArray GArray; typedef struct _GByteArray GByteArray;' >"$out/glib.h"
	gcc -O2 -Wall -Wextra -Werror -shared -fPIC -I"$out" -o "$out/count.so" "$here/count.c"
fi
