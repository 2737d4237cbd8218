// SPDX-License-Identifier: GPL-2.0

//! What a layer of the proof leaves for the report: one JSON file.

use std::{env, fs, path::PathBuf};

/// Writes `<layer>.json` into the directory that `DMRC_PROOF` names; nowhere if it names none.
///
/// # Panics
///
/// When that is not possible: a figure that is missing would look like a layer that was not run.
pub fn write(layer: &str, json: &str) {
    let Some(dir) = env::var_os("DMRC_PROOF").map(PathBuf::from) else {
        return;
    };
    fs::create_dir_all(&dir).expect("DMRC_PROOF can be made");
    fs::write(dir.join(format!("{layer}.json")), format!("{json}\n")).expect("it can be written");
}

/// A list of names.
pub fn names<T: std::fmt::Debug>(of: &[T]) -> String {
    let all: Vec<String> = of.iter().map(|n| format!("\"{n:?}\"")).collect();
    format!("[{}]", all.join(", "))
}
