// SPDX-License-Identifier: GPL-2.0

//! The service and the timer for the textfile collector, as systemd reads them.

mod common;

use common::Folder;
use std::{fs, os::unix::fs::PermissionsExt, process::Command};

const UNITS: [&str; 2] = ["rcopy-metrics.service", "rcopy-metrics.timer"];

fn unit(name: &str) -> String {
    let path = format!(
        "{}/../../scripts/systemd/{name}",
        env!("CARGO_MANIFEST_DIR")
    );
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// What `systemd-analyze verify` says of the units, in a system that has the tool; `None` if it is not there.
fn verified(change: impl Fn(&str) -> String) -> Option<(bool, String)> {
    let f = Folder::new();
    for folder in ["etc/systemd/system", "usr/lib/systemd/system", "usr/sbin"] {
        fs::create_dir_all(f.0.join(folder)).unwrap();
    }
    for name in UNITS {
        f.write(&format!("etc/systemd/system/{name}"), change(&unit(name)));
    }
    for target in [
        "sysinit",
        "basic",
        "shutdown",
        "timers",
        "time-sync",
        "time-set",
    ] {
        f.write(
            &format!("usr/lib/systemd/system/{target}.target"),
            "[Unit]\nDescription=x\n",
        );
    }
    let tool = f.write("usr/sbin/rcopy", "#!/bin/sh\n");
    fs::set_permissions(tool, fs::Permissions::from_mode(0o755)).unwrap();
    let out = Command::new("systemd-analyze")
        .arg(format!("--root={}", f.0.display()))
        .args(["verify", "--man=no", "--recursive-errors=yes"])
        .args(UNITS)
        .output()
        .ok()?;
    Some((
        out.status.success(),
        String::from_utf8_lossy(&out.stderr).into_owned(),
    ))
}

#[test]
fn systemd_reads_them() {
    let Some((good, said)) = verified(str::to_string) else {
        eprintln!("no systemd-analyze here: not tried");
        return;
    };
    assert!(good && said.is_empty(), "{said}");
    for (from, to) in [
        ("ProtectSystem=strict", "ProtectSystem=severe"),
        ("ExecStart=/usr/sbin/rcopy", "ExecStart=/usr/sbin/rcpy"),
        ("OnBootSec=", "OnBoot="),
        ("OnUnitActiveSec=15s", "OnUnitActiveSec=15 fortnights"),
    ] {
        assert!(UNITS.iter().any(|u| unit(u).contains(from)), "{from}");
        let (good, said) = verified(|text| text.replace(from, to)).unwrap();
        assert!(!good || !said.is_empty(), "{to} was not found");
    }
}

/// What the service calls is what the tool has, and what it takes for a success is what that can end with.
#[test]
fn the_line_is_one_that_the_tool_takes() {
    use clap::Parser;
    use rcopy_crate::{
        cli::{Cli, Command},
        error::Exit,
    };
    let service = unit(UNITS[0]);
    let line = service
        .lines()
        .find_map(|l| l.strip_prefix("ExecStart="))
        .unwrap();
    let cli = Cli::try_parse_from(line.split(' ')).unwrap();
    let Command::Metrics(args) = cli.command else {
        panic!("{line}");
    };
    let file = args.output.unwrap();
    assert_eq!(file.extension().unwrap(), "prom");
    let folder = file.parent().unwrap().display();
    assert!(service.contains(&format!("\nReadWritePaths={folder}\n")));
    assert!(service.contains(&format!("\nSuccessExitStatus={}\n", Exit::NoModule as u8)));
}
