//! From a source to an image: one sweep over the address axis.
//!
//! Two prefixes nest or are disjoint. Sorted by first address and length, a stack
//! holds at every address the prefixes that cover it; what is said of an address
//! changes only where one is pushed or popped. A frame of the stack carries what the
//! prefixes up to it say together, so that leaving a prefix costs nothing and entering
//! one costs what its own rules add.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use vpc_common::{
    addr::{Addr, V4},
    policy::Egress,
};

use super::{
    image::{CompileError, EgressId, IMAGE_WORDS_MAX, Image, Judgment},
    ranges::{ALL, Entry, NONE, PortRange, RangeSets, SetId, range},
    source::{AclRule, Hop, PROTOCOLS, SgRule, Source, ports},
};
use crate::model::ObjectName;

/// Compiles a policy. A route by an uplink that has no index leads nowhere.
pub fn compile(
    source: &Source,
    uplink_index: &dyn Fn(&ObjectName) -> Option<u32>,
) -> Result<Vec<u64>, CompileError> {
    let mut sweep = Sweep {
        source,
        uplink_index,
        sets: RangeSets::new(),
        image: Image::default(),
        egresses: vec![None; source.routes.len()],
        stack: Vec::new(),
        acl_out: AclPath::new(&source.acl_out),
        acl_in: AclPath::new(&source.acl_in),
        changed: Change {
            at: 0,
            state: State::BARE,
        },
    };
    for group in items(source).chunk_by(|a, b| a.prefix == b.prefix) {
        sweep.enter(group)?;
    }
    sweep.finish()
}

/// A prefix: its first address, its length in the low byte. Sorts outer before inner.
type Prefix = u64;

/// Something that holds for a prefix.
struct Item {
    prefix: Prefix,
    what: What,
}

#[derive(Clone, Copy)]
enum What {
    /// A rule of the security groups, by its index.
    Sg(u32),
    /// An entry of the ACL for packets that leave, by its index.
    AclOut(u32),
    /// An entry of the ACL for packets that enter, by its index.
    AclIn(u32),
    /// A route, by its index.
    Route(u32),
    Subnet,
    Unfiltered,
    Reserved,
}

fn items(source: &Source) -> Vec<Item> {
    let indexed = |what: fn(u32) -> What| (0..).map(what);
    let sg = source.out.iter().map(|rule| rule.cidr);
    let acl_out = source.acl_out.iter().map(|rule| rule.cidr);
    let acl_in = source.acl_in.iter().map(|rule| rule.cidr);
    let routes = source.routes.iter().map(|route| route.cidr);
    let mut items: Vec<Item> = sg
        .zip(indexed(What::Sg))
        .chain(acl_out.zip(indexed(What::AclOut)))
        .chain(acl_in.zip(indexed(What::AclIn)))
        .chain(routes.zip(indexed(What::Route)))
        .chain([(source.subnet, What::Subnet)])
        .chain(source.unfiltered.iter().map(|&net| (net, What::Unfiltered)))
        .chain(source.reserved.iter().map(|&net| (net, What::Reserved)))
        .map(|(cidr, what)| Item {
            prefix: prefix(cidr),
            what,
        })
        .collect();
    items.sort_unstable_by_key(|item| item.prefix);
    items
}

fn prefix(cidr: Ipv4Net) -> Prefix {
    u64::from(u32::from(cidr.network())) << 8 | u64::from(cidr.prefix_len())
}

/// The first and last address of a prefix.
const fn addresses(prefix: Prefix) -> (u32, u32) {
    let first = (prefix >> 8) as u32;
    let hosts = (1_u64 << (32 - (prefix & 0xff))) - 1;
    (first, first | hosts as u32)
}

/// What all prefixes that cover an address say together.
#[derive(Clone, Copy)]
struct State {
    sg: [SetId; 3],
    acl_out: [SetId; 3],
    acl_in: [SetId; 3],
    route: Option<u32>,
    in_subnet: bool,
    unfiltered: bool,
    reserved: bool,
}

impl State {
    /// Of an address that no prefix covers.
    const BARE: Self = Self {
        sg: [NONE; 3],
        acl_out: [NONE; 3],
        acl_in: [NONE; 3],
        route: None,
        in_subnet: false,
        unfiltered: false,
        reserved: false,
    };
}

/// A prefix that covers the address at which the sweep is.
struct Frame {
    last: u32,
    state: State,
    acl_out: usize,
    acl_in: usize,
}

/// A change of what is said, which stands once the sweep is past its address.
struct Change {
    at: u32,
    state: State,
}

/// The entries of an ACL on the stack. They do not add up as rules of security groups
/// do: an outer entry with a lower number goes before an inner one.
struct AclPath<'s> {
    rules: &'s [AclRule],
    path: Vec<u32>,
}

impl<'s> AclPath<'s> {
    const fn new(rules: &'s [AclRule]) -> Self {
        Self {
            rules,
            path: Vec::new(),
        }
    }

    /// Puts the entries of a prefix on the path and says which ports all of it allows;
    /// `outer` is what it allowed before.
    fn enter(&mut self, own: &[u32], outer: [SetId; 3], sets: &mut RangeSets) -> [SetId; 3] {
        if own.is_empty() {
            return outer;
        }
        self.path.extend(own);
        let mut ordered = self.path.clone();
        ordered.sort_unstable();
        PROTOCOLS.map(|protocol| {
            let entry = |&index: &u32| {
                let rule = &self.rules[index as usize];
                let (first, last) = ports(&rule.traffic, protocol)?;
                Some(Entry {
                    ports: range(first, last),
                    allow: rule.allow,
                })
            };
            let entries: Vec<Entry> = ordered.iter().filter_map(entry).collect();
            sets.first_match(&entries)
        })
    }
}

struct Sweep<'s> {
    source: &'s Source,
    uplink_index: &'s dyn Fn(&ObjectName) -> Option<u32>,
    sets: RangeSets,
    image: Image,
    /// Ways out by route, of those that were needed.
    egresses: Vec<Option<EgressId>>,
    stack: Vec<Frame>,
    acl_out: AclPath<'s>,
    acl_in: AclPath<'s>,
    changed: Change,
}

impl Sweep<'_> {
    /// Goes on to a prefix and what holds for it.
    fn enter(&mut self, group: &[Item]) -> Result<(), CompileError> {
        let Some(item) = group.first() else {
            return Ok(());
        };
        let (first, last) = addresses(item.prefix);
        self.leave_before(Some(first))?;
        let (acl_out, acl_in) = (self.acl_out.path.len(), self.acl_in.path.len());
        let state = self.state_within(group);
        self.stack.push(Frame {
            last,
            state,
            acl_out,
            acl_in,
        });
        self.change(first, state)
    }

    /// Leaves the prefixes that end before an address, or all.
    fn leave_before(&mut self, first: Option<u32>) -> Result<(), CompileError> {
        let ends = |frame: &mut Frame| first.is_none_or(|first| frame.last < first);
        while let Some(left) = self.stack.pop_if(ends) {
            self.acl_out.path.truncate(left.acl_out);
            self.acl_in.path.truncate(left.acl_in);
            if let Some(next) = left.last.checked_add(1) {
                self.change(next, self.state())?;
            }
        }
        Ok(())
    }

    fn state(&self) -> State {
        self.stack.last().map_or(State::BARE, |frame| frame.state)
    }

    /// The state inside a prefix, from the one around it and its own items.
    fn state_within(&mut self, group: &[Item]) -> State {
        let mut state = self.state();
        let (mut out, mut acl_out, mut acl_in) = (Vec::new(), Vec::new(), Vec::new());
        for item in group {
            match item.what {
                What::Sg(index) => out.push(index),
                What::AclOut(index) => acl_out.push(index),
                What::AclIn(index) => acl_in.push(index),
                What::Route(index) => {
                    state.route = Some(state.route.map_or(index, |outer| outer.min(index)));
                }
                What::Subnet => state.in_subnet = true,
                What::Unfiltered => state.unfiltered = true,
                What::Reserved => state.reserved = true,
            }
        }
        let sets = &mut self.sets;
        state.sg = sg_within(&self.source.out, &out, state.sg, sets);
        state.acl_out = self.acl_out.enter(&acl_out, state.acl_out, sets);
        state.acl_in = self.acl_in.enter(&acl_in, state.acl_in, sets);
        state
    }

    /// From an address on, a state holds; a later change at the same one replaces it.
    fn change(&mut self, at: u32, state: State) -> Result<(), CompileError> {
        if at != self.changed.at {
            self.settle()?;
        }
        self.changed = Change { at, state };
        Ok(())
    }

    /// Puts the last change into the image.
    fn settle(&mut self) -> Result<(), CompileError> {
        let Change { at, state } = self.changed;
        let judgment = self.judgment(state);
        if self.sets.total() > IMAGE_WORDS_MAX {
            let words = self.sets.total();
            return Err(CompileError { words });
        }
        self.image.judge_from(at, judgment, &self.sets)
    }

    fn judgment(&mut self, state: State) -> Judgment {
        let no_acl = state.unfiltered || state.in_subnet;
        Judgment {
            sg: if state.unfiltered { [ALL; 3] } else { state.sg },
            acl_out: if no_acl { [ALL; 3] } else { state.acl_out },
            acl_in: if no_acl { [ALL; 3] } else { state.acl_in },
            egress: match state.route {
                Some(route) if !state.reserved => self.egress(route as usize),
                _ => 0,
            },
        }
    }

    fn egress(&mut self, route: usize) -> EgressId {
        if let Some(egress) = self.egresses[route] {
            return egress;
        }
        let resolved = resolve(&self.source.routes[route].hop, self.uplink_index);
        let egress = self.image.egress(resolved);
        self.egresses[route] = Some(egress);
        egress
    }

    fn finish(mut self) -> Result<Vec<u64>, CompileError> {
        self.leave_before(None)?;
        self.settle()?;
        Ok(self.image.finish())
    }
}

/// What the security groups allow inside a prefix: what they do around it, and what
/// its own rules do.
fn sg_within(rules: &[SgRule], own: &[u32], outer: [SetId; 3], sets: &mut RangeSets) -> [SetId; 3] {
    let mut sg = outer;
    let mut more: Vec<PortRange> = Vec::new();
    for (set, protocol) in sg.iter_mut().zip(PROTOCOLS) {
        let covered = |&index: &u32| ports(&rules[index as usize].traffic, protocol);
        more.clear();
        more.extend(
            own.iter()
                .filter_map(covered)
                .map(|(first, last)| range(first, last)),
        );
        *set = sets.union(*set, &mut more);
    }
    sg
}

fn resolve(hop: &Hop, uplink_index: &dyn Fn(&ObjectName) -> Option<u32>) -> Egress {
    let on = |uplink, kind, next_hop: Ipv4Addr| match uplink_index(uplink) {
        Some(uplink) => Egress {
            kind,
            uplink,
            next_hop: Addr::from_v4(V4::new(next_hop.octets())),
        },
        None => Egress::NOWHERE,
    };
    match hop {
        Hop::Blackhole => Egress {
            kind: Egress::BLACKHOLE,
            ..Egress::NOWHERE
        },
        Hop::BeyondPeer => Egress::NOWHERE,
        Hop::OnLink { uplink } => on(uplink, Egress::ON_LINK, Ipv4Addr::UNSPECIFIED),
        Hop::Via { uplink, address } => on(uplink, Egress::VIA, *address),
    }
}
