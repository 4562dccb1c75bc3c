//! What rules and routes say of a packet: the evaluation of compiled policy.
//!
//! The agent compiles the security groups, the network ACLs and the route table of a
//! group of ENIs into an *image*: a run of words that never changes once it is in
//! place. An address is searched for once and gives a row; the row has a table of
//! ports for each protocol and direction, and the way out. Both searches halve sorted
//! tables, so that a thousand rules cost a few steps more than one.
//!
//! Indices in an image are relative to its first word:
//!
//! | What | Words |
//! | --- | --- |
//! | word 0 | the table of addresses |
//! | a table | its first entry, its number of entries in the upper half |
//! | entry of addresses | a row, the first address of the range in the upper half |
//! | a row | the way out or 0; TCP, UDP, ICMP out; TCP, UDP, ICMP in: tables of ports |
//! | entry of ports | bits of [`Verdict`], the first port of the range in the upper half |
//! | a way out | its kind and uplink, then the 16 octets of the next hop |
//!
//! A range ends where the next one begins; the first begins with 0. Whatever is amiss
//! with an image denies: an index out of bounds, an empty table, a word that is 0.
//! Nothing in here knows what a rule is, keeps state, or panics.

use crate::{
    addr::{Addr, V4},
    state::{ICMP, TCP, UDP},
};

/// Entries that one table may have, so that a search is bounded.
pub const TABLE_ENTRIES_MAX: u32 = 1 << SEARCH_STEPS;

/// Words of a row.
pub const ROW_WORDS: u32 = 1 + 2 * PROTOCOL_TABLES;

/// Words of a way out.
pub const EGRESS_WORDS: u32 = 3;

/// Halvings that bring the longest table down to one entry.
const SEARCH_STEPS: u32 = 20;

/// Protocols that have tables of their own.
const PROTOCOL_TABLES: u32 = 3;

/// What evaluation sees of the words: a slice on the host, a map in the kernel.
pub trait Words {
    /// A word, counted from the beginning of all images.
    fn word(&self, index: u32) -> Option<u64>;

    /// [`search`]; the kernel keeps it apart from its callers, because the verifier
    /// then walks the loop once and not once for every way to it.
    fn search(&self, first: u32, count: u32, key: u32) -> u32 {
        search(self, first, count, key)
    }
}

impl<W: Words + ?Sized> Words for &W {
    #[inline(always)]
    fn word(&self, index: u32) -> Option<u64> {
        (**self).word(index)
    }
}

impl Words for [u64] {
    fn word(&self, index: u32) -> Option<u64> {
        self.get(index as usize).copied()
    }
}

/// Bits of an entry of a table of ports: who denies.
pub enum Verdict {}

impl Verdict {
    /// No rule of the security groups allows it.
    pub const SG_DENIES: u32 = 1;
    /// The network ACL denies it, by an entry or because none matches.
    pub const ACL_DENIES: u32 = 2;
    /// Set in every entry that was compiled, so that a word which is none denies.
    pub const JUDGED: u32 = 4;
}

/// The row of a remote address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Row {
    base: u32,
    at: u32,
}

/// Where a packet leaves by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Egress {
    /// [`Egress::NO_ROUTE`], [`Egress::BLACKHOLE`], [`Egress::ON_LINK`] or
    /// [`Egress::VIA`].
    pub kind: u32,
    /// Index of the uplink; 0 where there is no way.
    pub uplink: u32,
    /// Whose MAC the packet is sent to.
    pub next_hop: Addr,
}

impl Egress {
    /// No route matches, or the one that does leads nowhere that is known.
    pub const NO_ROUTE: u32 = 0;
    /// The route that matches has lost its target.
    pub const BLACKHOLE: u32 = 1;
    /// The destination itself is the next hop.
    pub const ON_LINK: u32 = 2;
    /// The next hop is a router or an interface.
    pub const VIA: u32 = 3;

    /// No way out.
    pub const NOWHERE: Self = Self {
        kind: Self::NO_ROUTE,
        uplink: 0,
        next_hop: Addr::UNSPECIFIED,
    };

    /// The record of an image. On a link, `next_hop` has no meaning.
    pub const fn words(self) -> [u64; EGRESS_WORDS as usize] {
        let [a, b, c, d] = self.next_hop.words();
        [pack(self.kind, self.uplink), pack(a, b), pack(c, d)]
    }
}

/// A word from its halves: an entry from what it gives and where its range begins, a
/// table from its first entry and their number.
#[inline(always)]
pub const fn pack(low: u32, high: u32) -> u64 {
    low as u64 | (high as u64) << 32
}

/// What stands for a port in the tables of ICMP.
#[inline(always)]
pub const fn icmp_port(kind: u8, code: u8) -> u16 {
    (kind as u16) << 8 | code as u16
}

/// The row of a remote address in the image that begins at `base`.
#[inline(always)]
pub fn row<W: Words + ?Sized>(words: &W, base: u32, remote: V4) -> Option<Row> {
    let at = find(words, base, base, u32::from_be(remote.to_wire()));
    if at == 0 {
        return None;
    }
    Some(Row {
        base,
        at: base.checked_add(at)?,
    })
}

/// Bits of [`Verdict`] for a packet that leaves: `port` is its destination port, or
/// [`icmp_port`]. 0 = it may.
#[inline(always)]
pub fn out<W: Words + ?Sized>(words: &W, row: Row, protocol: u8, port: u16) -> u32 {
    let all = Verdict::SG_DENIES | Verdict::ACL_DENIES;
    denials(bits(words, row, table_number(protocol), port), all)
}

/// Bits of [`Verdict`] for a packet that enters the subnet: `port` is its destination
/// port, which is the ENI's, or [`icmp_port`]. Security groups have no say in it,
/// because only replies enter. 0 = it may.
#[inline(always)]
pub fn into<W: Words + ?Sized>(words: &W, row: Row, protocol: u8, port: u16) -> u32 {
    let table = match table_number(protocol) {
        0 => 0,
        out => out + PROTOCOL_TABLES,
    };
    denials(bits(words, row, table, port), Verdict::ACL_DENIES)
}

/// The way out to a remote address, whose row `row` is.
#[inline(always)]
pub fn egress<W: Words + ?Sized>(words: &W, row: Row, remote: Addr) -> Egress {
    read_egress(words, row, remote).unwrap_or(Egress::NOWHERE)
}

/// The lower half of the last entry whose upper half is not above `key`; 0 if there is
/// none or the table is damaged. `first` counts from the beginning of all images.
///
/// The halving has no branch that depends on an entry: a processor could not predict
/// it, and a verifier would follow both ways, twenty times over.
#[inline(always)]
pub fn search<W: Words + ?Sized>(words: &W, first: u32, count: u32, key: u32) -> u32 {
    if count == 0 || count > TABLE_ENTRIES_MAX || first.checked_add(count).is_none() {
        return 0;
    }
    let mut at = first;
    let mut left = count;
    let mut step = 0;
    while step < SEARCH_STEPS && left > 1 {
        let half = left >> 1;
        let Some(entry) = words.word(at.wrapping_add(half)) else {
            return 0;
        };
        at = at.wrapping_add(half & reached(entry, key));
        left = left.wrapping_sub(half);
        step += 1;
    }
    match words.word(at) {
        Some(entry) => entry as u32 & reached(entry, key),
        None => 0,
    }
}

/// All bits if the range of an entry begins at `key` or before, else none.
#[inline(always)]
const fn reached(entry: u64, key: u32) -> u32 {
    // Negative, hence with an upper half of ones, exactly if the key is not below.
    ((entry >> 32).wrapping_sub(key as u64 + 1) >> 32) as u32
}

/// Searches the table whose word is at `table`.
#[inline(always)]
fn find<W: Words + ?Sized>(words: &W, base: u32, table: u32, key: u32) -> u32 {
    let Some(word) = words.word(table) else {
        return 0;
    };
    match base.checked_add(word as u32) {
        Some(first) => words.search(first, (word >> 32) as u32, key),
        None => 0,
    }
}

/// The verdict in a table of a row; 0, which denies, if there is no such table.
#[inline(always)]
fn bits<W: Words + ?Sized>(words: &W, row: Row, table: u32, port: u16) -> u32 {
    match row.at.checked_add(table) {
        Some(at) if table != 0 => find(words, row.base, at, port as u32),
        _ => 0,
    }
}

/// Which bits of `all` deny by a verdict: all of them unless it was compiled.
#[inline(always)]
const fn denials(verdict: u32, all: u32) -> u32 {
    if verdict & Verdict::JUDGED == 0 {
        all
    } else {
        verdict & all
    }
}

/// Where a row has the table of a protocol for packets that leave; 0 = nowhere.
#[inline(always)]
const fn table_number(protocol: u8) -> u32 {
    match protocol {
        TCP => 1,
        UDP => 2,
        ICMP => 3,
        _ => 0,
    }
}

#[inline(always)]
fn read_egress<W: Words + ?Sized>(words: &W, row: Row, remote: Addr) -> Option<Egress> {
    let record = words.word(row.at)? as u32;
    if record == 0 {
        return None;
    }
    let at = row.base.checked_add(record)?;
    let head = words.word(at)?;
    let (kind, uplink) = (head as u32, (head >> 32) as u32);
    match kind {
        Egress::BLACKHOLE => Some(Egress {
            kind,
            ..Egress::NOWHERE
        }),
        Egress::ON_LINK => Some(Egress {
            kind,
            uplink,
            next_hop: remote,
        }),
        Egress::VIA => {
            let (low, high) = (
                words.word(at.checked_add(1)?)?,
                words.word(at.checked_add(2)?)?,
            );
            let next_hop = Addr::from_words([
                low as u32,
                (low >> 32) as u32,
                high as u32,
                (high >> 32) as u32,
            ]);
            Some(Egress {
                kind,
                uplink,
                next_hop,
            })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
