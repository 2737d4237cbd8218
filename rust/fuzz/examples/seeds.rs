// SPDX-License-Identifier: GPL-2.0

//! Writes what the fuzzer starts from: real table lines, and instructions (see the targets) for a log, a
//! session and a record as they are when nothing is wrong, one more with each kind of damage.
//!
//!     cargo run --example seeds -- <folder>

use std::{env, error::Error, fs, path::Path};

/// From the README and the self tests, without the target's name.
const LINES: &[&str] = &[
    "initiator s1 /dev/vda 8 log /dev/pmem0 remote dev:/dev/vdb partner none create in_step",
    "initiator db /dev/sdb 14 log /dev/pmem0 remote dev:/dev/nvme1n1 listen 10.0.0.1:7001 partner \
     10.0.0.2:7001 ping_ms 200 ping_misses 5 create in_step",
    "standby db /dev/sdb 12 log /dev/pmem0 remote dev:/dev/nvme1n1 listen 10.0.0.2:7001 partner \
     10.0.0.1:7001 fencing external takeover auto",
    "initiator s-1 /dev/vda 24 log /dev/pmem0 log_offset 16M log_size 64M lanes 4 records 240 remote \
     dev:/dev/vdb listen [fe80::1]:7001 partner [fe80::2]:7001 mode sync member 1 members 3 \
     partner_lost continue metadata /dev/vdc",
    "standby s.1 /dev/vda 18 log /dev/pmem0 remote dev:/dev/vdb listen 1.2.3.4:1 partner 1.2.3.5:1 \
     metadata /dev/vdc metadata_offset 4096 fencing reservation remote_fencing none takeover manual mode async",
    "initiator s1 /dev/vda 7 log /dev/pmem0",
    "target s1 /dev/vda 0",
];

/// A fuzz input is taken byte by byte; this puts one together.
fn steps(head: &[u8], each: &[&[u8]]) -> Vec<u8> {
    [head, &each.concat()].concat()
}

fn logs() -> Vec<Vec<u8>> {
    // Shape, flags, age; then one byte a lane: where its first position is.
    let heads: [&[u8]; 3] = [
        &[0, 0, 0, 0, 0],
        &[1, 1, 4, 5, 3, 14],
        &[2, 2, 0x32, 7, 15, 15, 15],
    ];
    // Appends: which, lane, what, size. Mark: which, how much. A new reign. A write that was lost.
    let appends: [&[u8]; 6] = [
        &[4, 0, 5, 1],
        &[5, 1, 0x8d, 2],
        &[6, 2, 0, 9],
        &[7, 1, 2, 0],
        &[8, 0, 3, 0xff],
        &[9, 1, 4, 40],
    ];
    let mut all = vec![];
    for head in heads {
        let honest = steps(
            head,
            &[
                &[24],
                &appends.concat(),
                &[0, 2],
                &appends.concat(),
                &[2],
                &appends.concat(),
            ],
        );
        all.push(honest.clone());
        all.push(steps(
            head,
            &[&[9], &appends.concat(), &[3], appends[0], appends[1]],
        ));
        for damage in 0..10u8 {
            all.push(
                [
                    &honest[..],
                    &[0, damage, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12],
                ]
                .concat(),
            );
        }
    }
    all
}

fn sessions() -> Vec<Vec<u8>> {
    let heads: [&[u8]; 2] = [&[0, 0, 0, 0, 0], &[1, 1, 4, 5, 3, 14]];
    // HELLO and BEGIN as they are, then frames: which, its own bytes, and what the network does (4: nothing).
    let appends: [&[u8]; 3] = [&[0, 5, 1], &[1, 0x8d, 2], &[0, 0, 9]];
    let records: [&[u8]; 4] = [&[0, 0, 4], &[1, 1, 4], &[2, 0, 4], &[3, 1, 4]];
    let goes_on: [&[u8]; 5] = [&[6, 0, 5, 1], &[8, 3], &[9, 4], &records.concat(), &[11, 4]];
    let mut all = vec![];
    for head in heads {
        let honest = steps(
            head,
            &[
                &[3],
                &appends.concat(),
                &[9, 9],
                &records.concat(),
                &goes_on.concat(),
            ],
        );
        all.push(honest.clone());
        // The owner starts again: another session.
        all.push(
            [
                &honest[..],
                &[15, 1, 4, 0, 9, 9],
                &records.concat(),
                &[11, 4],
            ]
            .concat(),
        );
        for frame in 0..16u8 {
            for network in [0, 1, 2, 4] {
                let one = [frame, 1, 2, 3, network, 7, 7, 7];
                all.push([&honest[..], &one, &records.concat()].concat());
            }
        }
    }
    all
}

fn records() -> Vec<Vec<u8>> {
    let mut all = vec![];
    for flags in [0, 1, 0x12, 0x38, 0x84] {
        for damage in 0..5u8 {
            all.push(vec![
                1,
                1,
                4,
                5,
                3,
                14,
                1,
                flags,
                9,
                9,
                2,
                flags ^ 2,
                8,
                8,
                flags,
                7,
                7,
                3,
                flags,
                3,
                1,
                damage,
                0,
                40,
                1,
            ]);
        }
    }
    all
}

fn write(to: &Path, target: &str, inputs: &[Vec<u8>]) -> Result<(), Box<dyn Error>> {
    fs::create_dir_all(to.join(target))?;
    for (i, bytes) in inputs.iter().enumerate() {
        fs::write(to.join(target).join(format!("seed-{i:03}")), bytes)?;
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let to = env::args().nth(1).ok_or("usage: seeds <folder>")?;
    let lines: Vec<Vec<u8>> = LINES
        .iter()
        .map(|l| [&[0], l.as_bytes()].concat())
        .collect();
    write(to.as_ref(), "table", &lines)?;
    write(to.as_ref(), "log", &logs())?;
    write(to.as_ref(), "frames", &sessions())?;
    write(to.as_ref(), "ownership", &records())
}
