// SPDX-License-Identifier: GPL-2.0

//! `rcopy --version`: tool, module, formats.

use crate::{
    error::Result,
    nl::{
        client::Client,
        names,
        wire::{Attributes, Object},
        Kernel,
    },
};
use core_crate::{format::FORMAT_VERSION, ownership::RECORD_VERSION, wire::PROTOCOL_VERSION};
use serde::Serialize;
use std::{fs, io::Write, path::Path};

/// Where the kernel says what is loaded.
pub const MODULE: &str = "/sys/module/dm_remote_copy";

/// Versions, as `--json` prints them.
#[derive(Serialize)]
pub struct Versions {
    tool: &'static str,
    module: Module,
    log_format: u32,
    ownership_record: u32,
    partner_protocol: u32,
    netlink_family: u32,
}

#[derive(Serialize)]
struct Module {
    loaded: bool,
    version: Option<String>,
    srcversion: Option<String>,
    log_format: Option<u32>,
    partner_protocol: Option<u32>,
}

impl Versions {
    /// Those of this tool, and of the module that the folder describes.
    pub fn new(module: &Path) -> Versions {
        let read = |name| {
            let text = fs::read_to_string(module.join(name)).ok()?;
            Some(text.trim().to_string())
        };
        Versions {
            tool: env!("CARGO_PKG_VERSION"),
            module: Module {
                loaded: module.is_dir(),
                version: read("version"),
                srcversion: read("srcversion"),
                log_format: None,
                partner_protocol: None,
            },
            log_format: FORMAT_VERSION,
            ownership_record: RECORD_VERSION,
            partner_protocol: PROTOCOL_VERSION,
            netlink_family: u32::from(names::VERSION),
        }
    }

    /// What a loaded module says of itself: an answer to `info-get`.
    pub fn told(&mut self, info: &Object) {
        let m = &mut self.module;
        let version = info.text("module-version");
        if m.version.is_none() && !version.is_empty() {
            m.version = Some(version.to_string());
        }
        let number = |name| info.number(name).and_then(|n| u32::try_from(n).ok());
        m.log_format = number("format-version");
        m.partner_protocol = number("protocol-version");
    }

    fn module(&self) -> String {
        let m = &self.module;
        let mut text = match (m.loaded, &m.version, &m.srcversion) {
            (false, _, _) => "not loaded".to_string(),
            (true, Some(v), _) => v.clone(),
            (true, None, Some(s)) => format!("loaded, srcversion {s}"),
            (true, None, None) => "loaded, does not say its version".to_string(),
        };
        if let (Some(f), Some(p)) = (m.log_format, m.partner_protocol) {
            text += &format!(", log format {f}, partner protocol {p}");
        }
        if m.log_format.is_some_and(|f| f != self.log_format) {
            text += "\nThis tool cannot read the logs of that module: install the one that belongs to it.";
        }
        text
    }

    /// For people; the name of the tool stands in front of it.
    pub fn lines(&self) -> String {
        format!(
            "{}\nmodule dm_remote_copy: {}\nthe tool knows log format {}, ownership record {}, partner protocol {}, netlink family {}",
            self.tool,
            self.module(),
            self.log_format,
            self.ownership_record,
            self.partner_protocol,
            self.netlink_family
        )
    }
}

/// Those of this machine.
fn here() -> Versions {
    let mut v = Versions::new(Path::new(MODULE));
    if v.module.loaded {
        let info =
            Client::open().and_then(|mut c| c.ask(&names::OP_INFO_GET, &Attributes::default()));
        if let Some(info) = info.ok().and_then(|i| i.into_iter().next()) {
            v.told(&info);
        }
    }
    v
}

/// The command.
///
/// # Errors
///
/// It cannot be printed.
pub fn run(json: bool, out: &mut dyn Write) -> Result<()> {
    if json {
        serde_json::to_writer_pretty(&mut *out, &here())?;
        writeln!(out)?;
    } else {
        writeln!(out, "rcopy {}", here().lines())?;
    }
    Ok(())
}
