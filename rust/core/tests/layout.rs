// SPDX-License-Identifier: GPL-2.0

//! Geometry: everything has its own place, and inside the region.

use core_crate::{
    layout::{mark_offset, superblock_offset, Geometry, GeometryError, SLOT_BYTES},
    limits,
};
use proptest::prelude::*;

/// All ranges of a region, by name.
fn ranges(g: &Geometry) -> Vec<(String, u64, u64)> {
    let mut all = vec![];
    for slot in 0..2 {
        all.push((format!("super {slot}"), superblock_offset(slot), SLOT_BYTES));
        all.push((format!("mark {slot}"), mark_offset(slot), SLOT_BYTES));
    }
    for lane in 0..g.lanes() {
        let first = g.header_offset(lane, 0);
        let last = g.header_offset(lane, u64::from(g.lane_records()) - 1);
        all.push((format!("headers {lane}"), first, last - first + 64));
        let data = g.data_offset(lane, 0);
        assert_eq!(
            g.data_offset(lane, g.lane_data() - 1),
            data + g.lane_data() - 1
        );
        all.push((format!("data {lane}"), data, g.lane_data()));
    }
    all
}

fn apart(g: &Geometry) {
    let mut all = ranges(g);
    all.sort_by_key(|r| r.1);
    for pair in all.windows(2) {
        assert!(
            pair[0].1 + pair[0].2 <= pair[1].1,
            "{:?} overlaps {:?}",
            pair[0],
            pair[1]
        );
    }
    let end = all.iter().map(|r| r.1 + r.2).max().unwrap();
    assert_eq!(end, g.bytes());
}

#[test]
fn the_patents_240_records() {
    for bytes in [1u64 << 20, 16 << 20, 1 << 40] {
        let g = Geometry::plan(bytes, 1, 240).unwrap();
        assert_eq!(g.lane_records(), 240);
        assert!(g.bytes() <= bytes);
        apart(&g);
    }
    let g = Geometry::plan(16 << 20, 8, 240).unwrap();
    assert_eq!((g.lanes(), g.lane_records()), (8, 30));
}

#[test]
fn bounds_are_named() {
    assert_eq!(Geometry::new(0, 16, 1 << 20), Err(GeometryError::Lanes(0)));
    assert_eq!(
        Geometry::new(33, 16, 1 << 20),
        Err(GeometryError::Lanes(33))
    );
    for (records, lanes) in [(15, 1), ((1 << 20) + 1, 1), (u32::MAX, 32), (0, 32)] {
        assert!(matches!(
            Geometry::new(lanes, records, 1 << 20),
            Err(GeometryError::Records(..))
        ));
    }
    for data in [
        0,
        4096,
        limits::MIN_LANE_DATA - 4096,
        (1 << 20) + 1,
        u64::MAX,
        1 << 45,
    ] {
        assert_eq!(
            Geometry::new(1, 16, data),
            Err(GeometryError::LaneData(data))
        );
    }
    for (bytes, lanes, records) in [
        (0, 1, 0),
        ((1 << 20) - 1, 1, 0),
        ((1u64 << 44) + 1, 1, 0),
        (u64::MAX, 1, 0),
        (1 << 20, 2, 0),
        (1 << 20, 0, 0),
        (1 << 20, 1, 1),
        (1 << 20, 1, u32::MAX),
        (1 << 20, 1, 1 << 20),
    ] {
        let e = Geometry::plan(bytes, lanes, records).expect_err("out of bounds");
        assert!(e.to_string().chars().any(|c| c.is_ascii_digit()), "{e}");
    }
}

#[test]
fn the_largest() {
    let g = Geometry::plan(limits::MAX_LOG_BYTES, 32, 0).unwrap();
    assert!(g.bytes() <= limits::MAX_LOG_BYTES);
    apart(&g);
    let g = Geometry::new(32, limits::MAX_RECORDS / 32, limits::MAX_LOG_BYTES / 32).unwrap();
    apart(&g);
    for pos in [0, u64::MAX - 1, u64::MAX] {
        let _ = g.place(pos, limits::MAX_RECORD_BYTES);
        assert!(g.data_offset(31, pos) < g.bytes());
        assert!(g.header_offset(31, pos) < g.bytes());
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 3000, failure_persistence: None, ..ProptestConfig::default()
    })]

    #[test]
    fn nothing_overlaps(lanes in 1u16..=32, records in 16u32..5000, data in 128u64..100_000) {
        let g = Geometry::new(lanes, records, data * 4096).unwrap();
        apart(&g);
        prop_assert_eq!(g.data_offset(0, 0) % 4096, 0);
    }

    #[test]
    fn a_plan_fits(bytes in (1u64 << 20)..1 << 36, lanes in 1u16..=32, records in 0u32..1 << 20) {
        match Geometry::plan(bytes, lanes, records) {
            Ok(g) => {
                prop_assert!(g.bytes() <= bytes);
                prop_assert!(
                    records == 0 || u64::from(g.lane_records()) * u64::from(lanes) >= u64::from(records)
                );
                apart(&g);
            }
            Err(e) => prop_assert!(!e.to_string().is_empty()),
        }
    }

    #[test]
    fn random_numbers_never_panic(lanes: u16, records: u32, data: u64, bytes: u64, shift in 0u32..64) {
        let data = data >> shift << 12;
        if let Ok(g) = Geometry::new(lanes, records, data) {
            prop_assert!(g.bytes() <= limits::MAX_LOG_BYTES + (1 << 28));
        }
        let _ = Geometry::plan(bytes >> shift, lanes % 40, records >> (shift % 32));
    }

    /// Data is stored in one piece, at the next free byte or behind the wrap, never further.
    #[test]
    fn data_never_wraps(pages in 128u64..300, pos: u64, shift in 0u32..64, sectors in 0u32..=512) {
        let g = Geometry::new(3, 16, pages * 4096).unwrap();
        let pos = pos >> shift << 9;
        let bytes = sectors * 512;
        match g.place(pos, bytes) {
            None => prop_assert!(pos > u64::MAX - g.lane_data()),
            Some(at) => {
                let first = at % g.lane_data();
                prop_assert!(first + u64::from(bytes) <= g.lane_data());
                prop_assert!(at == pos || (at > pos && first == 0 && at - pos < u64::from(bytes)));
                let offset = g.data_offset(2, at);
                prop_assert!(offset + u64::from(bytes) <= g.bytes());
            }
        }
    }
}
