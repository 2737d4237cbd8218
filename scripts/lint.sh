#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# What a reader would stumble over: shell scripts that shellcheck complains about, Python
# that does not compile, files without a licence line.

. "$(dirname "$0")/lib.sh"
cd "$top" || exit 1
failed=0

files=$(git ls-files --cached --others --exclude-standard)

shell_files=$(for f in $files; do
	[ -f "$f" ] && head -n 1 "$f" | grep -Eq '^#!.*(ba|da|/)sh' && echo "$f"
done)
# shellcheck disable=SC2086 # a list of files without spaces
shellcheck --external-sources --source-path=SCRIPTDIR $shell_files || failed=1

for f in $files; do
	case $f in
	*.py)	python3 - "$f" <<-'EOF' || failed=1
			import ast, sys
			ast.parse(open(sys.argv[1]).read(), sys.argv[1])
		EOF
		;;
	esac
	case $f in
	COPYING | *.lock | *.md | *.json | rust/fuzz/corpus/*) continue ;;
	esac
	if [ -f "$f" ] && ! head -n 4 "$f" | grep -Eq 'SPDX-License-Identifier: (\(\()?GPL-2.0'; then
		echo "$f: no SPDX-License-Identifier: GPL-2.0 in its first lines"
		failed=1
	fi
done

exit $failed
