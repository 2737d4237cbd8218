// SPDX-License-Identifier: GPL-2.0

//! What the tests write down for the report of all layers: one object in `sim.json`. Each test knows one
//! part of it, and keeps the other.

use std::{fmt::Write as _, fs, path::PathBuf};

fn folder() -> PathBuf {
    let named = std::env::var_os("DMRC_PROOF").filter(|d| !d.is_empty());
    // Tests run in their crate's folder; what is named is meant from the top.
    let top = PathBuf::from("../..");
    top.join(named.unwrap_or_else(|| "build/proof.d/check".into()))
}

/// A part stands in a file of its own; `sim.json` is all of them together.
fn keep(part: &str, text: &str) {
    let folder = folder();
    let parts = folder.join(".sim");
    fs::create_dir_all(&parts).expect("the folder for results");
    fs::write(parts.join(part), text).expect("a result is written");
    let mut all: Vec<String> = vec![];
    for name in ["seeds", "planted"] {
        if let Ok(text) = fs::read_to_string(parts.join(name)) {
            all.push(text);
        }
    }
    let text = format!("{{{}}}\n", all.join(", "));
    fs::write(folder.join("sim.json"), text).expect("a result is written");
}

/// How many seeds were run, from which on, how long it took, and how many broke a rule.
pub fn seeds(seeds: u64, first: u64, seconds: f64, lost: usize) {
    keep(
        "seeds",
        &format!(
            "\"sim_seeds\": {seeds}, \"first_seed\": {first}, \"seconds\": {seconds:.1}, \"lost\": {lost}"
        ),
    );
}

/// Which mistakes were found, and which were not.
pub fn planted(found: &[String], missed: &[String]) {
    let list = |names: &mut dyn Iterator<Item = &String>| {
        let mut text = String::new();
        for (i, name) in names.enumerate() {
            let _ = write!(text, "{}\"{name}\"", if i == 0 { "" } else { ", " });
        }
        text
    };
    keep(
        "planted",
        &format!(
            "\"planted\": {{\"found\": [{}], \"of\": [{}]}}",
            list(&mut found.iter()),
            list(&mut found.iter().chain(missed))
        ),
    );
}
