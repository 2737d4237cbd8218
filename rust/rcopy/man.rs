// SPDX-License-Identifier: GPL-2.0

//! The manual page: commands and options from the definition of the command line, the rest written here.

use crate::{
    cli::{Cli, VOLUMES},
    error::{Exit, Result},
};
use clap::{Command, CommandFactory};
use clap_mangen::{
    roff::{bold, italic, roman, Inline, Roff},
    Man,
};
use std::io::Write;

const OPTIONS: &[(&str, &str)] = &[
    (
        "--json",
        "With every command: what it prints is JSON; what is followed or watched, one object a line. An error is one \
         object on standard error, with error, exit and means.",
    ),
    ("--help", "What a command takes."),
    (
        "--version",
        "Versions of the tool, of the module that is loaded, and of the formats that each of them knows.",
    ),
];

const EXAMPLES: &[(&str, &str)] = &[
    (
        "A volume without a partner, and its line for later starts:",
        "rcopy create vol1 --local /dev/sdb --log /dev/pmem0 --remote dev:/dev/nvme1n1 --partner none \
         --create in_step --save",
    ),
    ("What a log holds that no set uses:", "rcopy log dump /dev/pmem0"),
    ("After a reboot:", "rcopy assemble --start"),
];

/// The page.
///
/// # Errors
///
/// It cannot be written.
pub fn page(out: &mut dyn Write) -> Result<()> {
    let mut cmd = Cli::command().version(env!("CARGO_PKG_VERSION"));
    cmd.build();
    let man = Man::new(cmd.clone()).section("8").manual("dm-remote-copy");
    let mut text = Vec::new();
    man.render_title(&mut text)?;
    man.render_name_section(&mut text)?;
    man.render_synopsis_section(&mut text)?;
    man.render_description_section(&mut text)?;
    out.write_all(&text)?;

    let mut roff = Roff::new();
    roff.control("SH", ["OPTIONS"]);
    for (option, what) in OPTIONS {
        roff.control("TP", []);
        roff.text([bold(*option)]);
        roff.text([roman(*what)]);
    }
    roff.control("SH", ["COMMANDS"]);
    commands(&mut roff, &cmd, "rcopy");
    roff.control("SH", ["EXIT STATUS"]);
    for (exit, means) in Exit::ALL {
        roff.control("TP", []);
        roff.text([bold((exit as u8).to_string())]);
        roff.text([roman(means)]);
    }
    roff.control("SH", ["FILES"]);
    roff.control("TP", []);
    roff.text([italic(VOLUMES)]);
    roff.text([roman(
        "Volumes that assemble --start creates, one a line, as dmsetup table prints them: <volume>: <table line>. \
         Lines that begin with # are comments.",
    )]);
    roff.control("SH", ["EXAMPLES"]);
    for (what, how) in EXAMPLES {
        roff.control("TP", []);
        roff.text([roman(*what)]);
        roff.text([bold(*how)]);
    }
    roff.control("SH", ["SEE ALSO"]);
    roff.text([
        bold("dmsetup"),
        roman("(8), Documentation/administration.rst"),
    ]);
    roff.to_writer(&mut *out)?;
    Ok(())
}

fn commands(roff: &mut Roff, cmd: &Command, path: &str) {
    for sub in cmd.get_subcommands() {
        if sub.is_hide_set() || sub.get_name() == "help" {
            continue;
        }
        let name = format!("{path} {}", sub.get_name());
        if sub.has_subcommands() {
            commands(roff, sub, &name);
            continue;
        }
        let mut synopsis: Vec<Inline> = vec![bold(&*name)];
        for arg in sub.get_positionals() {
            let value = arg
                .get_value_names()
                .and_then(|v| v.first())
                .map_or("", |v| v.as_str());
            let many = matches!(arg.get_action(), clap::ArgAction::Append);
            synopsis.push(roman(match (arg.is_required_set(), many) {
                (true, false) => format!(" {value}"),
                (true, true) => format!(" {value}..."),
                (false, false) => format!(" [{value}]"),
                (false, true) => format!(" [{value}...]"),
            }));
        }
        synopsis.push(roman(" [options]"));
        roff.control("SS", [name.trim_start_matches("rcopy ")]);
        roff.text(synopsis);
        roff.control("PP", []);
        let about = sub.get_about().map(ToString::to_string).unwrap_or_default();
        roff.text([roman(format!("{about}."))]);
        for arg in sub
            .get_opts()
            .chain(sub.get_positionals())
            .chain(flags(sub))
        {
            if arg.is_hide_set() || ["help", "version", "json"].contains(&arg.get_id().as_str()) {
                continue;
            }
            let value = arg
                .get_value_names()
                .and_then(|v| v.first())
                .map_or("", |v| v.as_str());
            let mut head = vec![];
            match arg.get_long() {
                Some(long) => {
                    head.push(bold(format!("--{long}")));
                    let optional = arg.get_num_args().is_some_and(|n| n.min_values() == 0);
                    if arg.get_action().takes_values() {
                        head.push(roman(if optional {
                            format!(" [{value}]")
                        } else {
                            format!(" {value}")
                        }));
                    }
                }
                None => head.push(italic(value)),
            }
            roff.control("TP", []);
            roff.text(head);
            let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
            roff.text([roman(help)]);
        }
    }
}

fn flags(cmd: &Command) -> impl Iterator<Item = &clap::Arg> {
    cmd.get_arguments()
        .filter(|a| !a.is_positional() && !a.get_action().takes_values())
}
