// SPDX-License-Identifier: GPL-2.0

//! Completion in a real bash, with a tool that names three sets.

mod common;

use common::{rcopy, Folder};
use std::{fs, os::unix::fs::PermissionsExt, process::Command};

/// What bash offers for the last of the words, "|" between them.
fn offered(tool: &str, words: &str) -> String {
    let f = Folder::new();
    f.write("script", rcopy(&["completion", "bash"]).out);
    let fake = f.write("rcopy", format!("#!/bin/sh\n{tool}\n"));
    fs::set_permissions(&fake, fs::Permissions::from_mode(0o755)).unwrap();
    let text = format!(
        "source ./script; PATH=.:$PATH; COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
         complete -p rcopy | grep -q -- ' -F _rcopy_names rcopy$' || exit 9
         _rcopy_names rcopy \"${{COMP_WORDS[COMP_CWORD]}}\" \"${{COMP_WORDS[COMP_CWORD - 1]}}\"
         IFS='|'; echo \"${{COMPREPLY[*]}}\""
    );
    let out = Command::new("bash")
        .current_dir(&f.0)
        .args(["--norc", "-c", &text])
        .output()
        .unwrap();
    let err = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success() && err.is_empty(), "{words}: {err}");
    String::from_utf8_lossy(&out.stdout).trim_end().to_string()
}

const SETS: &str = "[ \"$*\" = names ] && printf 'vol1\\nvol2\\nother\\n'";

#[test]
fn sets_are_offered_where_one_is_wanted() {
    for command in [
        "status", "show", "events", "set", "takeover", "swap", "pause", "resume", "detach",
        "in-step",
    ] {
        let all = offered(SETS, &format!("rcopy {command} ''"));
        assert_eq!(all, "vol1|vol2|other", "{command}");
    }
    for (words, is) in [
        ("rcopy pause v", "vol1|vol2"),
        ("rcopy --json status o", "other"),
        ("rcopy events --count 3 v", "vol1|vol2"),
        ("rcopy status --watch o", "other"),
        ("rcopy pause x", ""),
        ("rcopy takeover --f", "--force"),
    ] {
        assert_eq!(offered(SETS, words), is, "{words}");
    }
}

#[test]
fn no_set_is_offered_elsewhere() {
    for words in [
        "rcopy pau",
        "rcopy pause vol1 ''",
        "rcopy events --count ''",
        "rcopy log dump ''",
        "rcopy remove ''",
        "rcopy create ''",
    ] {
        let all = offered(SETS, words);
        assert!(!all.contains("vol"), "{words}: {all}");
    }
    assert_eq!(offered(SETS, "rcopy pau"), "pause");
}

#[test]
fn settings_and_their_words() {
    for (words, is) in [
        (
            "rcopy set vol1 ''",
            "mode=|partner-lost=|takeover=|fencing=|ping-ms=|ping-misses=|records=",
        ),
        ("rcopy set vol1 m", "mode="),
        // Bash parts words at "=".
        ("rcopy set vol1 mode =", "async|sync"),
        ("rcopy set vol1 mode = s", "sync"),
        ("rcopy set vol1 mode = sync t", "takeover="),
        ("rcopy set vol1 ping-ms = ''", ""),
        (
            "rcopy set vol1 fencing = ''",
            "none|external|reservation|reservation-registrants",
        ),
        (
            "rcopy set vol1 fencing = r",
            "reservation|reservation-registrants",
        ),
    ] {
        assert_eq!(offered(SETS, words), is, "{words}");
    }
}

#[test]
fn without_a_module_nothing_is_said() {
    let all = offered(
        "echo 'rcopy: the module is not loaded' >&2; exit 7",
        "rcopy pause ''",
    );
    assert!(!all.contains("loaded"), "{all}");
}
