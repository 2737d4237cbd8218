// SPDX-License-Identifier: GPL-2.0

//! What survives a crash: which of the pieces that were on their way have reached the media.
//!
//! Pieces come in groups: the 8-byte words of a cache line, the sectors of a write. A piece is never
//! torn. Any subset may survive; these are the subsets that are tried.

/// A rule that says for each piece whether it survives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Keep {
    /// None does.
    Nothing,
    /// All do.
    Everything,
    /// Those of the first so many groups.
    First(usize),
    /// Those of the first groups, and of the next the first so many.
    Torn(usize, usize),
    /// Those of these two groups, which may be the same.
    Only(usize, usize),
    /// All but those of these two groups.
    Without(usize, usize),
    /// One piece of one group.
    Piece(usize, usize),
    /// All but one piece of one group.
    WithoutPiece(usize, usize),
}

impl Keep {
    /// Whether this piece of this group survives.
    pub fn keeps(self, group: usize, piece: usize) -> bool {
        match self {
            Keep::Nothing => false,
            Keep::Everything => true,
            Keep::First(n) => group < n,
            Keep::Torn(n, p) => group < n || (group == n && piece < p),
            Keep::Only(a, b) => group == a || group == b,
            Keep::Without(a, b) => group != a && group != b,
            Keep::Piece(g, p) => (group, piece) == (g, p),
            Keep::WithoutPiece(g, p) => (group, piece) != (g, p),
        }
    }
}

/// How many subsets to try.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Depth {
    /// A handful.
    Few,
    /// Prefixes, each group alone or missing; single pieces of the first group and of the last two,
    /// which is where headers, marks and superblocks end.
    Bounded,
    /// Prefixes of groups and of pieces, any two groups alone or missing, any piece alone or missing.
    Full,
}

/// The subsets of groups with so many pieces each.
pub fn survivors(groups: &[usize], depth: Depth) -> Vec<Keep> {
    let n = groups.len();
    let mut all = vec![Keep::Nothing];
    if n == 0 {
        return all;
    }
    all.push(Keep::Everything);
    if depth == Depth::Few {
        let half = groups[n - 1] / 2;
        if half > 0 {
            all.push(Keep::Torn(n - 1, half));
            all.push(Keep::Piece(n - 1, half));
        }
        if n > 1 {
            all.push(Keep::First(n / 2));
            all.push(Keep::Only(n - 1, n - 1));
        }
        return all;
    }
    for (g, pieces) in groups.iter().copied().enumerate() {
        if n > 1 {
            if g > 0 {
                all.push(Keep::First(g));
            }
            all.push(Keep::Only(g, g));
            all.push(Keep::Without(g, g));
        }
        if pieces > 1 && (depth == Depth::Full || g == 0 || g + 2 >= n) {
            for p in 0..pieces {
                if p > 0 {
                    all.push(Keep::Torn(g, p));
                }
                all.push(Keep::Piece(g, p));
                all.push(Keep::WithoutPiece(g, p));
            }
        }
        if depth == Depth::Full {
            for b in g + 1..n {
                all.push(Keep::Only(g, b));
                all.push(Keep::Without(g, b));
            }
        }
    }
    all
}
