// SPDX-License-Identifier: GPL-2.0

//! Damage that no crash leaves: a record that was told of is gone from the log. Whether its absence can be
//! known is said here from the list of records alone; if it can, the log has to be refused (rule 5).

use crate::{
    crc,
    journal::Journal,
    site::{must, Broken, Site},
    world::{key, Story},
};
use core_crate::{format::Header, recover::read_super};

/// Whether one of the others, or the mark, says that there was such a record.
fn is_known(story: &Story, gone: &Header) -> bool {
    let m = &story.mark;
    let others = story.live.iter().filter(|h| h.seq != gone.seq);
    m.acked.max(m.shipped) >= gone.seq
        || others.into_iter().any(|h| {
            h.acked >= gone.seq
                || h.after == gone.seq
                || (h.lane == gone.lane && h.lane_seq > gone.lane_seq)
        })
}

/// Damages each live record in several ways; answers how many images that were.
///
/// # Errors
///
/// One is not noticed that can be known.
pub fn check(story: &Story) -> Result<u64, Broken> {
    let mut images = 0;
    for gone in &story.live {
        let site = &story.before_end;
        let sup = read_super(&site.nodes[0], crc).ok().flatten();
        let g = sup.expect("it serves").geometry;
        let header_at = g.header_offset(gone.lane, gone.lane_seq);
        let mut hurt: Vec<(&str, Site)> = vec![];
        let mut damage = |what, at, bytes: &[u8]| {
            let mut site = site.clone();
            site.nodes[0].poke(at, bytes);
            hurt.push((what, site));
        };
        damage("erased", header_at, &[0; 64]);
        let mut word = site.nodes[0].peek(header_at + 48, 8);
        word[4] ^= 1;
        damage("of another generation", header_at + 48, &word);
        if gone.data_bytes() > 0 {
            let at = g.data_offset(gone.lane, gone.data_pos) + 256;
            damage("without part of its data", at, &[0; 8]);
        }
        for (what, site) in hurt {
            images += 1;
            let refused = Journal::load(&site.nodes[0], key(), &sup.expect("as above")).is_err();
            must(refused || !is_known(story, gone), || {
                format!(
                    "rule 5: record {} is {what}, and the log is taken",
                    gone.seq
                )
            })?;
        }
    }
    Ok(images)
}
