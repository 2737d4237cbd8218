// SPDX-License-Identifier: GPL-2.0

//! Counts what was tried, which is more than the fuzzer's own runs, and prints it when the process ends.

use std::cell::RefCell;

struct Tally {
    what: &'static str,
    count: u64,
}

impl Drop for Tally {
    fn drop(&mut self) {
        if self.count != 0 {
            eprintln!("tally: {} {}", self.count, self.what);
        }
    }
}

thread_local! {
    static TALLY: RefCell<Tally> = const { RefCell::new(Tally { what: "", count: 0 }) };
}

/// One more of them.
pub fn one(what: &'static str) {
    TALLY.with_borrow_mut(|t| {
        t.what = what;
        t.count += 1;
    });
}
