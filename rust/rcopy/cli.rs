// SPDX-License-Identifier: GPL-2.0

//! What can be said on the command line. Values of table options are checked by core's own grammar, so
//! they are plain words here.

use crate::error::{Error, Result};
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

/// Where volumes are noted that `assemble --start` creates.
pub const VOLUMES: &str = "/etc/rcopy/volumes";

/// Looks at remote-copy sets and their logs, makes them, and steers them.
#[derive(Parser, Debug)]
#[command(
    name = "rcopy",
    version,
    max_term_width = 100,
    infer_subcommands = false,
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = "Exit statuses, files and examples are in rcopy(8)."
)]
pub struct Cli {
    /// Print JSON, for programs
    #[arg(long, global = true)]
    pub json: bool,

    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand, Debug)]
pub enum Command {
    /// How sets are, on one screen
    Status(StatusArgs),
    /// Everything that is known of a set
    Show(ShowArgs),
    /// Follow what happens to sets
    Events(EventsArgs),
    /// Change settings of a running set
    Set(SetArgs),
    /// Make this node the owner of a set
    Takeover(TakeoverArgs),
    /// Hand a set over to its partner
    Swap(SwapArgs),
    /// Stop sending to the remote; writes go on into the log
    Pause(PauseArgs),
    /// Send to the remote again
    Resume(OneSet),
    /// Go on without a partner that is lost
    Detach(ForcedArgs),
    /// Declare that the remote holds what the local unit holds
    InStep(ForcedArgs),
    /// Print metrics for Prometheus
    Metrics(MetricsArgs),
    /// Read logs that no set uses
    #[command(subcommand)]
    Log(LogCommand),
    /// Make a volume: writes its table line from named options and runs dmsetup
    Create(Box<CreateArgs>),
    /// Remove a volume; what is in its log and on its devices stays
    Remove(RemoveArgs),
    /// Find sets on block devices by their logs, and start their volumes
    Assemble(AssembleArgs),
    /// Versions of the tool, the module and the formats
    Version,
    /// Print a completion script for a shell
    Completion {
        /// For which shell
        shell: Shell,
    },
    /// Print the manual page
    #[command(hide = true)]
    Man,
    /// Print the names of the sets, one a line: for the shell's completion
    #[command(hide = true)]
    Names,
}

#[derive(ValueEnum, Clone, Copy, Debug)]
pub enum Shell {
    Bash,
    Zsh,
    Fish,
}

#[derive(Args, Debug)]
pub struct OneSet {
    /// Name of the set
    #[arg(value_name = "SET")]
    pub set: String,
}

#[derive(Args, Debug)]
pub struct StatusArgs {
    /// Only this set
    #[arg(value_name = "SET")]
    pub set: Option<String>,
    /// Again and again, every so many seconds
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "1", value_parser = watch)]
    pub watch: Option<Watch>,
    /// Exit with 8 if a set has less protection than is configured
    #[arg(long, conflicts_with = "watch")]
    pub check: bool,
}

impl StatusArgs {
    /// The set, and how often. Seconds may be left out, so `--watch vol1` is how a set is watched.
    ///
    /// # Errors
    ///
    /// Two sets are named.
    pub fn asked(&self) -> Result<(Option<&str>, Option<u64>)> {
        let set = self.set.as_deref();
        match (&self.watch, set) {
            (None, _) => Ok((set, None)),
            (Some(Watch::Every(n)), _) => Ok((set, Some(*n))),
            (Some(Watch::Set(name)), None) => Ok((Some(name), Some(1))),
            (Some(Watch::Set(name)), Some(_)) => Err(Error::usage(format!(
                "--watch '{name}': 1 to 3600 seconds are allowed"
            ))),
        }
    }
}

/// What stands behind `--watch`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Watch {
    /// How many seconds lie between two looks.
    Every(u64),
    /// No number, so it is the set.
    Set(String),
}

fn watch(text: &str) -> std::result::Result<Watch, String> {
    match text.parse() {
        Ok(n) if (1..=3600).contains(&n) => Ok(Watch::Every(n)),
        Err(_) if text.starts_with(|c: char| c.is_ascii_alphabetic()) => {
            Ok(Watch::Set(text.to_string()))
        }
        _ => Err("1 to 3600 seconds are allowed".to_string()),
    }
}

#[derive(Args, Debug)]
pub struct ShowArgs {
    /// Only this set
    #[arg(value_name = "SET")]
    pub set: Option<String>,
    /// How long writes take, stage by stage
    #[arg(long)]
    pub latency: bool,
}

#[derive(Args, Debug)]
pub struct EventsArgs {
    /// Only this set
    #[arg(value_name = "SET")]
    pub set: Option<String>,
    /// End after so many events
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub count: Option<u64>,
    /// End when nothing has happened for so many seconds
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86400))]
    pub idle: Option<u64>,
}

#[derive(Args, Debug)]
pub struct SetArgs {
    /// Name of the set
    #[arg(value_name = "SET")]
    pub set: String,
    /// What to change, and to what: mode=sync ping_ms=250
    #[arg(value_name = "SETTING=VALUE", required = true)]
    pub settings: Vec<String>,
    /// Also what the kernel asks to be forced
    #[arg(long)]
    pub force: bool,
}

#[derive(Args, Debug)]
pub struct TakeoverArgs {
    /// Name of the set
    #[arg(value_name = "SET")]
    pub set: String,
    /// In spite of what speaks against it; read what that means before
    #[arg(long)]
    pub force: bool,
}

#[derive(Args, Debug)]
pub struct PauseArgs {
    /// Name of the set
    #[arg(value_name = "SET")]
    pub set: String,
    /// Also in mode sync, where writes wait from then on
    #[arg(long)]
    pub force: bool,
}

#[derive(Args, Debug)]
pub struct SwapArgs {
    /// Name of the set
    #[arg(value_name = "SET")]
    pub set: String,
    /// Suspend the set's volumes first, and resume them afterwards
    #[arg(long)]
    pub suspend: bool,
}

#[derive(Args, Debug)]
pub struct ForcedArgs {
    /// Name of the set
    #[arg(value_name = "SET")]
    pub set: String,
    /// It is your word: nothing checks it
    #[arg(long)]
    pub force: bool,
}

#[derive(Args, Debug)]
pub struct MetricsArgs {
    /// Write to this file, which is replaced at once
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

#[derive(Subcommand, Debug)]
pub enum LogCommand {
    /// What stands in a log, what recovery would do, and what is damaged
    Dump(DumpArgs),
}

#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum Records {
    /// No record
    None,
    /// The first and the last ten
    Some,
    /// Every record
    All,
}

#[derive(Args, Debug)]
pub struct DumpArgs {
    /// The log's device, or a file with its bytes
    #[arg(value_name = "DEVICE|IMAGE")]
    pub log: String,
    /// First byte of the log on it; K, M, G, T may follow
    #[arg(long, value_name = "BYTES", default_value = "0", value_parser = bytes)]
    pub offset: u64,
    /// Which records are printed [default: some; with --json: all]
    #[arg(long, value_enum, value_name = "WHICH")]
    pub records: Option<Records>,
    /// Say how far the reading has come, also if standard error is no terminal
    #[arg(long)]
    pub progress: bool,
}

fn bytes(text: &str) -> std::result::Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let shift = match &text[digits.len()..] {
        "" => 0,
        "K" | "k" => 10,
        "M" | "m" => 20,
        "G" | "g" => 30,
        "T" | "t" => 40,
        _ => return Err("K, M, G or T may follow the number".to_string()),
    };
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err("bytes, a plain number; K, M, G, T may follow it".to_string());
    }
    // All digits: what does not fit is too large.
    let n = digits
        .parse::<u64>()
        .ok()
        .and_then(|n| n.checked_mul(1 << shift))
        .ok_or("that is beyond every device")?;
    if n % 4096 != 0 {
        return Err("a log begins at a multiple of 4096".to_string());
    }
    Ok(n)
}

#[derive(Args, Debug, Default, Clone)]
pub struct CreateArgs {
    /// Name of the volume: /dev/mapper/<VOLUME>
    #[arg(value_name = "VOLUME")]
    pub volume: String,
    /// Only print the table line; devices are not looked at if --sectors is given
    #[arg(long)]
    pub print: bool,
    /// Note the volume in the file of volumes, without 'create', for assemble --start
    #[arg(long)]
    pub save: bool,
    /// The file of volumes
    #[arg(long, value_name = "FILE", default_value = VOLUMES)]
    pub config: PathBuf,
    /// Length of the volume in sectors of 512 bytes [default: all of the local device]
    #[arg(long, value_name = "N")]
    pub sectors: Option<String>,
    /// Name of the set, the same on both nodes [default: the volume's]
    #[arg(long, value_name = "NAME")]
    pub set: Option<String>,
    /// What this node is while the log is blank: initiator or standby
    #[arg(long, value_name = "ROLE", default_value = "initiator")]
    pub role: String,
    /// The local device, which both nodes reach
    #[arg(long, value_name = "DEVICE", required = true)]
    pub local: String,
    #[command(flatten)]
    pub options: Options,
}

macro_rules! options {
    ($($(#[$doc:meta])* $field:ident = $key:literal, $value:literal;)*) => {
        /// The options of a table line: the field's name is the key.
        #[derive(Args, Debug, Default, Clone)]
        pub struct Options {
            $($(#[$doc])*
            #[arg(long = $key, value_name = $value)]
            pub $field: Option<String>,)*
        }

        impl Options {
            /// Those that are given, as keys of the table line and values.
            pub fn given(&self) -> Vec<(&'static str, &str)> {
                let all = [$((stringify!($field), self.$field.as_deref())),*];
                all.into_iter().filter_map(|(k, v)| Some((k, v?))).collect()
            }

            /// Every key.
            pub const KEYS: &'static [&'static str] = &[$(stringify!($field)),*];
        }
    };
}

options! {
    /// Persistent memory device of the log; needed
    log = "log", "DEVICE";
    /// First byte of the log's region on it: a multiple of 4096
    log_offset = "log-offset", "BYTES";
    /// Bytes of the region: 1M to 16T, a multiple of 4096 [default: the rest of the device]
    log_size = "log-size", "BYTES";
    /// Parts of the log that processors append to side by side: 1 to 32
    lanes = "lanes", "N";
    /// Most outstanding records: 16 to 1048576
    records = "records", "N";
    /// The partner's address and port, or none; needed
    partner = "partner", "ADDRESS:PORT|none";
    /// Where this node listens for its partner
    listen = "listen", "ADDRESS:PORT";
    /// The remote device; needed
    remote = "remote", "dev:DEVICE";
    /// When a write is acknowledged: async or sync
    mode = "mode", "MODE";
    /// What an owner does without its partner: wait or continue
    partner_lost = "partner-lost", "POLICY";
    /// Whether the standby takes over by itself: manual or auto
    takeover = "takeover", "POLICY";
    /// What keeps the old owner from writing: none, external, reservation, reservation-registrants
    fencing = "fencing", "KIND";
    /// Whether the remote is reserved as well: reservation or none
    remote_fencing = "remote-fencing", "KIND";
    /// The device of the ownership record, which both nodes reach
    metadata = "metadata", "DEVICE";
    /// First byte of the record on it: a multiple of 4096
    metadata_offset = "metadata-offset", "BYTES";
    /// Milliseconds between pings: 10 to 60000
    ping_ms = "ping-ms", "MS";
    /// The other side is lost after so many pings without a sign of it: 2 to 100
    ping_misses = "ping-misses", "N";
    /// Which volume of the set this is: 0 to 63
    member = "member", "N";
    /// How many volumes the set has: 1 to 64
    members = "members", "N";
    /// in_step: make a new log on a blank region; local and remote hold the same bytes
    create = "create", "in_step";
}

#[derive(Args, Debug)]
pub struct RemoveArgs {
    /// Name of the volume
    #[arg(value_name = "VOLUME")]
    pub volume: String,
    /// Take it out of the file of volumes as well
    #[arg(long)]
    pub forget: bool,
    /// The file of volumes
    #[arg(long, value_name = "FILE", default_value = VOLUMES)]
    pub config: PathBuf,
}

#[derive(Args, Debug)]
pub struct AssembleArgs {
    /// Look on these devices or images only [default: all block devices]
    #[arg(value_name = "DEVICE")]
    pub devices: Vec<String>,
    /// Create the volumes that are found and not running
    #[arg(long)]
    pub start: bool,
    /// Look at every multiple of 4096, not only at the beginning and where the file of volumes says
    #[arg(long, requires = "devices")]
    pub deep: bool,
    /// Only this set
    #[arg(long, value_name = "NAME")]
    pub set: Option<String>,
    /// The file of volumes
    #[arg(long, value_name = "FILE", default_value = VOLUMES)]
    pub config: PathBuf,
}
