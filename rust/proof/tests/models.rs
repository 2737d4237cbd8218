// SPDX-License-Identifier: GPL-2.0

//! The models and the oracle themselves: what survives, and what is no state of a remote.

use proof::{
    disk::{Disk, SECTOR},
    host::{contents, pattern, untouched, Fate, Host},
    pmem::Pmem,
    survive::{survivors, Depth, Keep},
};

fn survivor(pmem: &Pmem, keep: Keep) -> Vec<u8> {
    let mut left = pmem.clone();
    left.cut(&pmem.on_the_way(), keep);
    left.peek(0, 256)
}

#[test]
fn a_fence_makes_what_its_processor_stored_durable() {
    let mut pmem = Pmem::new(4096);
    pmem.cpu = 1;
    pmem.store(0, &[1; 16]).unwrap();
    pmem.cpu = 2;
    pmem.store(64, &[2; 8]).unwrap();
    pmem.fence().unwrap();
    let nothing = survivor(&pmem, Keep::Nothing);
    assert_eq!(
        nothing[..16],
        [0; 16],
        "another processor's fence does not count"
    );
    assert_eq!(nothing[64..72], [2; 8]);
    assert_eq!(survivor(&pmem, Keep::Everything)[..16], [1; 16]);
    let torn = survivor(&pmem, Keep::Piece(0, 1));
    assert_eq!((&torn[..8], &torn[8..16]), (&[0; 8][..], &[1; 8][..]));
    assert_eq!(pmem.peek(0, 16), [1; 16], "a store is seen at once");
}

#[test]
fn a_plain_store_needs_a_flush_and_a_fence() {
    let mut pmem = Pmem::new(4096);
    pmem.store_plain(56, &[1; 16]).unwrap();
    pmem.fence().unwrap();
    assert_eq!(survivor(&pmem, Keep::Nothing), [0; 256]);
    pmem.flush(64, 8).unwrap();
    assert_eq!(survivor(&pmem, Keep::Nothing), [0; 256]);
    pmem.fence().unwrap();
    let left = survivor(&pmem, Keep::Nothing);
    assert_eq!(
        (left[56], left[64]),
        (0, 1),
        "only one of the two lines was flushed"
    );
    assert_eq!(survivor(&pmem, Keep::First(1))[56..64], [1; 8]);
}

#[test]
fn of_two_stores_to_a_word_either_may_survive() {
    let mut pmem = Pmem::new(4096);
    pmem.store(0, &[1; 8]).unwrap();
    pmem.store(0, &[2; 8]).unwrap();
    let seen: Vec<u8> = [Keep::Nothing, Keep::Piece(0, 0), Keep::Piece(0, 1)]
        .map(|keep| survivor(&pmem, keep)[0])
        .to_vec();
    assert_eq!(seen, [0, 1, 2]);
}

#[test]
fn a_disk_forgets_any_sectors_of_its_cache() {
    let mut disk = Disk::new(vec![0; 4 * SECTOR]);
    disk.write(0, &[1; SECTOR]);
    disk.flush();
    disk.write(0, &[2; 2 * SECTOR]);
    disk.write(3, &[3; SECTOR]);
    assert_eq!(
        disk.survivors(Depth::Full).len(),
        survivors(&[2, 1], Depth::Full).len()
    );
    for (keep, want) in [
        (Keep::Nothing, [1, 0, 0, 0]),
        (Keep::Everything, [2, 2, 0, 3]),
        (Keep::Torn(0, 1), [2, 0, 0, 0]),
        (Keep::Piece(0, 1), [1, 2, 0, 0]),
        (Keep::Only(1, 1), [1, 0, 0, 3]),
    ] {
        let mut left = disk.clone();
        left.cut(keep);
        let seen: Vec<u8> = left.seen().iter().step_by(SECTOR).copied().collect();
        assert_eq!(seen, want, "{keep:?}");
        assert_eq!(left.seen(), left.durable());
    }
}

#[test]
fn all_subsets_differ() {
    for depth in [Depth::Few, Depth::Bounded, Depth::Full] {
        for groups in [&[][..], &[1], &[8], &[8, 8], &[8, 3, 8, 1]] {
            let all = survivors(groups, depth);
            let sets = all.iter().map(|k| {
                let pieces = groups.iter().enumerate();
                pieces
                    .flat_map(|(g, n)| (0..*n).map(move |p| k.keeps(g, p)))
                    .collect::<Vec<bool>>()
            });
            let sets: std::collections::BTreeSet<_> = sets.collect();
            let pieces: usize = groups.iter().sum();
            assert!(sets.len() as u64 <= 1 << pieces);
            assert!(
                pieces == 0
                    || (sets.contains(&vec![false; pieces]) && sets.contains(&vec![true; pieces]))
            );
            assert!(
                depth != Depth::Full || sets.len() > 2 * pieces || pieces < 3,
                "{groups:?}"
            );
        }
    }
}

fn remote(of: &[(u64, u64)]) -> proof::host::Contents {
    let mut disk = untouched();
    for (number, sector) in of {
        let at = *sector as usize * SECTOR;
        disk[at..at + SECTOR].copy_from_slice(&pattern(number + 1, *sector));
    }
    contents(&disk)
}

/// B after A, over part of it; C after B elsewhere; D submitted beside C.
fn chain() -> Host {
    let mut host = Host::default();
    for (sector, sectors) in [(0, 2), (1, 1), (5, 1), (7, 2)] {
        let (number, data) = host.submit(false, sector, sectors);
        assert_eq!(data.len(), sectors as usize * SECTOR);
        if number < 2 {
            host.writes[number].fate = Fate::Told;
        }
    }
    host
}

#[test]
fn a_remote_is_a_prefix_of_what_the_host_could_know() {
    let host = chain();
    for good in [
        &[][..],
        &[(0, 0)],
        &[(0, 0), (0, 1)],
        &[(0, 0), (1, 1)],
        &[(0, 0), (1, 1), (2, 5)],
        &[(0, 0), (1, 1), (3, 8)],
    ] {
        assert!(host.explains_remote(&remote(good)), "{good:?}");
    }
    for bad in [
        &[(1, 1)][..],
        &[(2, 5)],
        &[(0, 0), (0, 1), (2, 5)],
        &[(0, 0), (1, 1), (0, 5)],
        &[(9, 9)],
    ] {
        assert!(!host.explains_remote(&remote(bad)), "{bad:?}");
    }
    let mut host = chain();
    host.writes[1].sync = true;
    assert!(
        !host.explains_remote(&remote(&[(0, 0), (0, 1)])),
        "told synchronously"
    );
    host.writes[3].fate = Fate::Gone;
    assert!(!host.explains_remote(&remote(&[(0, 0), (1, 1), (3, 7), (3, 8)])));
}

#[test]
fn a_recovery_settles_what_was_open() {
    for (left, want) in [
        (&[(0, 0), (1, 1)][..], Some([Fate::Gone, Fate::Gone])),
        (&[(0, 0), (1, 1), (2, 5)], Some([Fate::Told, Fate::Gone])),
        (
            &[(0, 0), (1, 1), (3, 7), (3, 8)],
            Some([Fate::Gone, Fate::Told]),
        ),
        (&[(0, 0), (1, 1), (3, 7)], None),
        (&[(0, 0), (0, 1)], None),
        (&[], None),
    ] {
        let mut host = chain();
        let settled = host.settle(&remote(left));
        assert_eq!(settled, want.is_some(), "{left:?}");
        if let Some(want) = want {
            assert_eq!([host.writes[2].fate, host.writes[3].fate], want, "{left:?}");
        }
    }
}

#[test]
fn a_torn_sector_is_garbage() {
    let mut disk = untouched();
    disk[5 * SECTOR + 300] ^= 1;
    let seen = contents(&disk);
    assert_eq!(seen[5], proof::host::Content::Garbage);
    assert!(!Host::default().explains_remote(&seen));
    assert!(Host::default().explains_remote(&contents(&untouched())));
}
