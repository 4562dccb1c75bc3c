//! The image under construction: tables of ports, rows and ways out, each kept once,
//! and the words that they become.

use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, Hash, Hasher},
};

use vpc_common::policy::{EGRESS_WORDS, Egress, ROW_WORDS, TABLE_ENTRIES_MAX, Verdict, pack};

use super::ranges::{ALL, RangeSets, SetId, ends};

/// Words that one image may have: 16 MiB.
pub const IMAGE_WORDS_MAX: usize = 1 << 21;

/// The rules and routes need an image that is too large.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "the rules and routes come to {words} words or more of the {IMAGE_WORDS_MAX} that a policy \
     may have: combine prefixes and port ranges, or spread the rules over more groups"
)]
pub struct CompileError {
    /// Words when the compiler gave up.
    pub words: usize,
}

/// What is said of a range of addresses; equal judgments share a row.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Judgment {
    /// Ports that the security groups allow, by protocol.
    pub sg: [SetId; 3],
    /// Ports that the ACL allows to leave, by protocol.
    pub acl_out: [SetId; 3],
    /// Ports that the ACL allows to enter, by protocol.
    pub acl_in: [SetId; 3],
    /// The way out.
    pub egress: EgressId,
}

impl Judgment {
    /// The ports that the security groups and the ACL allow in a table of a row.
    const fn sets(&self, table: usize) -> (SetId, SetId) {
        match table {
            0..3 => (self.sg[table], self.acl_out[table]),
            _ => (ALL, self.acl_in[table - 3]),
        }
    }
}

impl Hash for Judgment {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let sets = [self.sg, self.acl_out, self.acl_in];
        for set in sets.as_flattened() {
            state.write_u32(*set);
        }
        state.write_u32(self.egress);
    }
}

/// Numbers that the compiler itself gave out one after the other: nobody chooses
/// them, so that spreading them is enough.
#[derive(Default)]
struct Numbers(u64);

impl Hasher for Numbers {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u32(byte.into());
        }
    }

    fn write_u32(&mut self, number: u32) {
        let mixed = (self.0.rotate_left(5) ^ u64::from(number)).wrapping_mul(0x517c_c1b7_2722_0a95);
        self.0 = mixed ^ mixed >> 32;
    }
}

/// A map by such numbers.
type ByNumbers<K, V> = HashMap<K, V, BuildHasherDefault<Numbers>>;

/// A way out of the image; 0 = none.
pub(super) type EgressId = u32;

/// A row as it will be, with the numbers of its parts in place of their indices.
struct Row {
    judgment: Judgment,
    tables: [u32; 6],
}

/// An image under construction.
#[derive(Default)]
pub(super) struct Image {
    addresses: Vec<(u32, u32)>,
    row_ids: ByNumbers<Judgment, u32>,
    rows: Vec<Row>,
    egress_ids: HashMap<[u64; EGRESS_WORDS as usize], EgressId>,
    egresses: Vec<[u64; EGRESS_WORDS as usize]>,
    table_ids: ByNumbers<(SetId, SetId), u32>,
    tables: Vec<(u32, u32)>,
    ports: Vec<u64>,
}

impl Image {
    /// The number of a way out.
    pub fn egress(&mut self, egress: Egress) -> EgressId {
        if egress.kind == Egress::NO_ROUTE {
            return 0;
        }
        *self
            .egress_ids
            .entry(egress.words())
            .or_insert_with_key(|words| {
                self.egresses.push(*words);
                self.egresses.len() as EgressId
            })
    }

    /// From an address on, a judgment holds. Addresses ascend.
    pub fn judge_from(
        &mut self,
        address: u32,
        judgment: Judgment,
        sets: &RangeSets,
    ) -> Result<(), CompileError> {
        let row = match self.row_ids.get(&judgment) {
            Some(&row) => row,
            None => self.add_row(judgment, sets),
        };
        if self.addresses.last().is_none_or(|&(_, last)| last != row) {
            self.addresses.push((address, row));
        }
        self.check()
    }

    /// The words.
    pub fn finish(self) -> Vec<u64> {
        let rows_at = 1 + self.addresses.len() as u32;
        let egresses_at = rows_at + self.rows.len() as u32 * ROW_WORDS;
        let ports_at = egresses_at + self.egresses.len() as u32 * EGRESS_WORDS;
        let mut words = Vec::with_capacity(self.words());
        words.push(pack(1, self.addresses.len() as u32));
        let entry = |&(address, row): &(u32, u32)| pack(rows_at + row * ROW_WORDS, address);
        words.extend(self.addresses.iter().map(entry));
        for row in &self.rows {
            words.push(match row.judgment.egress {
                0 => 0,
                egress => pack(egresses_at + (egress - 1) * EGRESS_WORDS, 0),
            });
            words.extend(row.tables.iter().map(|&table| {
                let (first, count) = self.tables[table as usize];
                pack(ports_at + first, count)
            }));
        }
        words.extend(self.egresses.iter().flatten());
        words.extend(&self.ports);
        words
    }

    /// Tables are equal if their sets are, and rows if their tables and ways out are:
    /// so a judgment that is new is a row that is new.
    fn add_row(&mut self, judgment: Judgment, sets: &RangeSets) -> u32 {
        let tables = [0, 1, 2, 3, 4, 5].map(|place| {
            // The row before is often that of the prefix around, or beside.
            let wanted = judgment.sets(place);
            match self.rows.last() {
                Some(before) if before.judgment.sets(place) == wanted => before.tables[place],
                _ => self.table(wanted, sets),
            }
        });
        let row = self.rows.len() as u32;
        self.rows.push(Row { judgment, tables });
        self.row_ids.insert(judgment, row);
        row
    }

    fn table(&mut self, (sg, acl): (SetId, SetId), sets: &RangeSets) -> u32 {
        *self.table_ids.entry((sg, acl)).or_insert_with(|| {
            let first = self.ports.len();
            add_ports(&mut self.ports, sets.ranges(sg), sets.ranges(acl));
            self.tables
                .push((first as u32, (self.ports.len() - first) as u32));
            self.tables.len() as u32 - 1
        })
    }

    fn words(&self) -> usize {
        1 + self.addresses.len()
            + self.rows.len() * ROW_WORDS as usize
            + self.egresses.len() * EGRESS_WORDS as usize
            + self.ports.len()
    }

    fn check(&self) -> Result<(), CompileError> {
        let words = self.words();
        if words > IMAGE_WORDS_MAX || self.addresses.len() > TABLE_ENTRIES_MAX as usize {
            return Err(CompileError { words });
        }
        Ok(())
    }
}

/// Adds the entries of a table. Ranges of a set do not touch, so that the verdict
/// changes at every bound and no two neighbours are equal.
fn add_ports(ports: &mut Vec<u64>, sg: &[u32], acl: &[u32]) {
    let (mut sg, mut acl) = (Cursor(sg), Cursor(acl));
    let mut port = 0;
    while port <= u32::from(u16::MAX) {
        let (sg_allows, sg_until) = sg.at(port);
        let (acl_allows, acl_until) = acl.at(port);
        let mut verdict = Verdict::JUDGED;
        if !sg_allows {
            verdict |= Verdict::SG_DENIES;
        }
        if !acl_allows {
            verdict |= Verdict::ACL_DENIES;
        }
        ports.push(pack(verdict, port));
        port = sg_until.min(acl_until);
    }
}

/// Where a walk over the ranges of a set is.
struct Cursor<'r>(&'r [u32]);

impl Cursor<'_> {
    /// Whether a port, no lower than the last asked for, is in the set, and the next
    /// at which that changes.
    fn at(&mut self, port: u32) -> (bool, u32) {
        while let Some((&range, rest)) = self.0.split_first() {
            let (first, last) = ends(range);
            if u32::from(last) < port {
                self.0 = rest;
                continue;
            }
            let covered = u32::from(first) <= port;
            let until = if covered {
                u32::from(last) + 1
            } else {
                first.into()
            };
            return (covered, until);
        }
        (false, u32::from(u16::MAX) + 1)
    }
}
