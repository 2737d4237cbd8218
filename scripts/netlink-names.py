#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Makes rust/core/netlink.rs from the netlink specification: netlink-names.py <ynl> <spec>

The numbers of operations and attributes, and the words of every enumeration: the one catalogue of names
that `dmsetup status`, netlink and the tool share. <ynl> is the kernel's tools/net/ynl/pyynl.
"""
import sys

sys.path.insert(0, sys.argv[1])
from lib import SpecFamily  # noqa: E402


def const(name):
    return name.upper().replace("-", "_")


def text(doc):
    words = " ".join((doc or "").split())
    return words.replace("<", "`").replace(">", "`")


def main():
    family = SpecFamily(sys.argv[2])
    out = []

    def say(line=""):
        out.append(line)

    def doc(indent, words):
        say(f"{indent}/// {words}")

    say("// SPDX-License-Identifier: GPL-2.0")
    say()
    say("//! Names and numbers of the netlink family, made from `Documentation/netlink/specs/remote-copy.yaml`:")
    say("//! do not edit, run `make netlink-gen`. Words stand in the order of their numbers.")
    say()
    doc("", "The family's name.")
    say(f'pub const FAMILY: &str = "{family.name}";')
    doc("", "Its version.")
    say(f"pub const VERSION: u8 = {family.yaml.get('version', 1)};")
    for d in family.yaml["definitions"]:
        if d["type"] == "const":
            doc("", text(d.get("doc")))
            say(f"pub const {const(d['name'])}: usize = {d['value']};")
    say()
    doc("", "Operations.")
    say("pub mod cmd {")
    for op in family.msgs.values():
        doc("    ", text(op.yaml.get("doc")))
        say(f"    pub const {const(op.name)}: u8 = {op.req_value or op.rsp_value};")
    say("}")
    say()
    doc("", "Enumerations: their words.")
    say("pub mod words {")
    for d in family.consts.values():
        if isinstance(d, dict):
            continue
        values = [e.value for e in d.entries.values()]
        assert values == list(range(len(values))), d.name
        doc("    ", text(d.yaml.get("doc")) or f"Of `{d.name}`.")
        say(f"    pub const {const(d.name)}: &[&str] = &[")
        for e in d.entries.values():
            say(f'        "{e.name}",')
        say("    ];")
    say("}")
    say()
    for space in family.attr_sets.values():
        doc("", f"Attributes of `{space.name}`.")
        say(f"pub mod {space.name.replace('-', '_')} {{")
        for a in space.attrs.values():
            what = text(a.yaml.get("doc")) or f"`{a.name}`"
            doc("    ", what)
            say(f"    pub const {const(a.name)}: u16 = {a.value};")
        say("}")
        say()
    print("\n".join(out))


main()
