// SPDX-License-Identifier: GPL-2.0

//! The command: arguments in, one of the exit statuses out.
#![forbid(unsafe_code)]

use clap::{error::ErrorKind, Parser};
use rcopy_crate::{
    assemble,
    cli::{Cli, Command, LogCommand},
    completion, control, create, dump,
    error::{Error, Exit, Result},
    events, man, metrics,
    nl::{
        client::Client,
        names::{OP_DETACH, OP_IN_STEP, OP_PAUSE, OP_RESUME, OP_TAKEOVER},
    },
    show, status, version,
};
use std::{
    io::{BufWriter, Write},
    process::ExitCode,
};

fn run(cli: &Cli, out: &mut dyn Write) -> Result<Exit> {
    let json = cli.json;
    let act = |op, set: &str, force, out: &mut dyn Write| {
        control::act(&mut Client::open()?, op, set, force, json, out)
    };
    match &cli.command {
        Command::Status(args) => return status::run(&mut Client::open()?, args, json, out),
        Command::Show(args) => show::run(&mut Client::open()?, args, json, out)?,
        Command::Events(args) => return events::run(args, json, out),
        Command::Set(args) => control::set(&mut Client::open()?, args, json, out)?,
        Command::Takeover(args) => act(&OP_TAKEOVER, &args.set, args.force, out)?,
        Command::Swap(args) => control::swap(&mut Client::open()?, args, json, out)?,
        Command::Pause(args) => act(&OP_PAUSE, &args.set, args.force, out)?,
        Command::Resume(args) => act(&OP_RESUME, &args.set, false, out)?,
        Command::Detach(args) => act(&OP_DETACH, &args.set, args.force, out)?,
        Command::InStep(args) => act(&OP_IN_STEP, &args.set, args.force, out)?,
        Command::Metrics(args) => return metrics::run(Client::open(), args, out),
        Command::Log(LogCommand::Dump(args)) => return dump::run(args, json, out),
        Command::Create(args) => create::create(args, json, out)?,
        Command::Remove(args) => create::remove(args, json, out)?,
        Command::Assemble(args) => return assemble::run(args, json, out),
        Command::Version => version::run(json, out)?,
        Command::Completion { shell } => completion::script(*shell, out)?,
        Command::Man => man::page(out)?,
        Command::Names => completion::names(&mut Client::open()?, out)?,
    }
    Ok(Exit::Ok)
}

/// On standard error: one object, or for people.
fn fail(e: &Error, json: bool) -> Exit {
    if e.text.is_empty() {
    } else if json {
        eprintln!("{}", e.json());
    } else {
        for (i, line) in e.text.lines().enumerate() {
            eprintln!("{}{line}", if i == 0 { "rcopy: " } else { "       " });
        }
    }
    e.exit
}

/// Clap's words without the usage behind them.
fn plain(e: &clap::Error) -> String {
    let text = e.to_string();
    let first = text.split("\n\nUsage:").next().unwrap_or_default();
    let first = first.split("\n\nFor more").next().unwrap_or_default();
    first.trim_start_matches("error: ").trim().to_string()
}

/// What cannot be parsed is no reason to speak another language.
fn wants_json() -> bool {
    std::env::args_os()
        .skip(1)
        .take_while(|a| a != "--")
        .any(|a| a == "--json")
}

fn main() -> ExitCode {
    let cli = Cli::try_parse();
    let json = wants_json();
    let mut out = BufWriter::new(std::io::stdout().lock());
    let exit = match cli {
        Ok(cli) => run(&cli, &mut out),
        // What clap knows of versions is only the tool's.
        Err(e) if e.kind() == ErrorKind::DisplayVersion => {
            version::run(json, &mut out).map(|()| Exit::Ok)
        }
        Err(e) if json && e.use_stderr() => Err(Error::usage(plain(&e))),
        Err(e) => e.exit(),
    };
    let flushed = out.flush().map_err(Error::from);
    let exit = match (exit, flushed) {
        (Ok(exit), Ok(())) => exit,
        (Err(e), _) | (Ok(_), Err(e)) => fail(&e, json),
    };
    ExitCode::from(exit as u8)
}
