// SPDX-License-Identifier: GPL-2.0

//! The command: arguments in, one of the exit statuses out.
#![forbid(unsafe_code)]

use clap::{error::ErrorKind, CommandFactory, Parser};
use clap_complete::{generate, shells};
use rcopy_crate::{
    assemble,
    cli::{Cli, Command, LogCommand, Shell},
    control, create, dump,
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
        Command::Completion { shell } => complete(*shell, out),
        Command::Man => man::page(out)?,
    }
    Ok(Exit::Ok)
}

fn complete(shell: Shell, out: &mut dyn Write) {
    let mut cmd = Cli::command();
    let mut script = Vec::new();
    match shell {
        Shell::Bash => generate(shells::Bash, &mut cmd, "rcopy", &mut script),
        Shell::Zsh => generate(shells::Zsh, &mut cmd, "rcopy", &mut script),
        Shell::Fish => generate(shells::Fish, &mut cmd, "rcopy", &mut script),
    }
    // Nobody who reads a script goes away in its middle.
    let _ = out.write_all(&script);
}

fn fail(e: &Error) -> Exit {
    for (i, line) in e.text.lines().enumerate() {
        eprintln!("{}{line}", if i == 0 { "rcopy: " } else { "       " });
    }
    e.exit
}

fn main() -> ExitCode {
    let cli = Cli::try_parse();
    let mut out = BufWriter::new(std::io::stdout().lock());
    let exit = match cli {
        Ok(cli) => run(&cli, &mut out),
        // What clap knows of versions is only the tool's.
        Err(e) if e.kind() == ErrorKind::DisplayVersion => {
            version::run(false, &mut out).map(|()| Exit::Ok)
        }
        Err(e) => e.exit(),
    };
    let flushed = out.flush().map_err(Error::from);
    let exit = match (exit, flushed) {
        (Ok(exit), Ok(())) => exit,
        (Err(e), _) | (Ok(_), Err(e)) => fail(&e),
    };
    ExitCode::from(exit as u8)
}
