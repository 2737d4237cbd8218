#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Builds a plugin for the emulator, inside the private root: plugin.sh <source.c> <target.so>
#
# No package installs the plugin interface's header: it is taken from the source of the
# very QEMU that is installed (40 MB, once).

set -euo pipefail
source=$(realpath "$1") target=$(realpath -m "$2")
cd "$(dirname "$0")/../.."
out=build/plugin
mkdir -p "$out"

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
fresh=$target
for file in "$source" "$(dirname "$source")"/*.h "$header" scripts/vm/plugin.sh; do
	[ "$target" -nt "$file" ] || fresh=
done
if [ -z "$fresh" ]; then
	cp "$header" "$out/qemu-plugin.h"
	# The header includes glib for the names of two types that our plugins do not use.
	echo 'typedef struct _GArray GArray; typedef struct _GByteArray GByteArray;' >"$out/glib.h"
	gcc -O2 -Wall -Wextra -Werror -shared -fPIC -I"$out" -o "$target" "$source"
fi
