//! The little VPC that every case starts from.

use super::{BLOCKS, ENIS, ENVIRONMENTS, In, Machine, UPLINKS};
use crate::{
    addr::{Addr, Mac, V4},
    layout::{
        Block, Eni, EniKey, EniRef, Environment, GROUP_ENIS, Group, Link, NextHopKey, Pool, Uplink,
    },
    policy::{self, Egress, Verdict, pack},
    pool,
    state::Timeouts,
};

/// The address of every environment: clones have the same.
pub const INSIDE: [u8; 4] = [169, 254, 100, 2];
/// The address of the gateway on every link.
pub const GATEWAY: [u8; 4] = [169, 254, 100, 1];
/// The MAC of every environment.
pub const INSIDE_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];
/// The MAC of the gateway.
pub const GATEWAY_MAC: [u8; 6] = [0x02, 0x76, 0x70, 0x63, 0x00, 0x01];
/// The MACs of the uplinks.
pub const UPLINK_MAC: [[u8; 6]; 2] = [[2, 0, 0, 0, 1, 0], [2, 0, 0, 0, 1, 1]];
/// The addresses of the ENIs: two on the first uplink, one on the second.
pub const ENI: [[u8; 4]; 3] = [[10, 0, 1, 10], [10, 0, 1, 11], [10, 0, 2, 10]];
/// The IP MTU of the uplinks.
pub const UPLINK_MTU: [u32; 2] = [1400, 1500];
/// The IP MTU of the environments' links.
pub const INSIDE_MTU: [u32; 3] = [1500, 1500, 1400];
/// A neighbour on the first uplink.
pub const SERVER: [u8; 4] = [10, 0, 1, 20];
/// Its MAC.
pub const SERVER_MAC: [u8; 6] = [2, 0, 0, 0, 2, 20];
/// The router of the first uplink's subnet.
pub const ROUTER: [u8; 4] = [10, 0, 1, 1];
/// Its MAC.
pub const ROUTER_MAC: [u8; 6] = [2, 0, 0, 0, 2, 1];
/// A neighbour whose MAC is not known.
pub const SILENT: [u8; 4] = [10, 0, 1, 30];
/// A neighbour that the agent made no entry for.
pub const UNHEARD: [u8; 4] = [10, 0, 1, 40];
/// A host behind the router.
pub const FAR: [u8; 4] = [172, 16, 5, 5];
/// A neighbour on the second uplink.
pub const OTHER_SERVER: [u8; 4] = [10, 0, 2, 20];
/// Its MAC.
pub const OTHER_SERVER_MAC: [u8; 6] = [2, 0, 0, 0, 3, 20];

/// What the agent decides, and the MACs it has put into the tables.
#[derive(Clone)]
pub struct World {
    /// By index.
    pub environments: [Environment; ENVIRONMENTS as usize],
    /// By index.
    pub uplinks: [Uplink; UPLINKS as usize],
    /// The first two environments share a group, the third has the second.
    pub groups: [Group; 2],
    /// By index.
    pub enis: [Eni; ENIS as usize],
    /// By ENI index.
    pub generations: [u64; ENIS as usize],
    /// By ENI index.
    pub rules: [Rules; ENIS as usize],
    /// Neighbours: index, key, MAC.
    pub next_hops: Vec<(u32, NextHopKey, [u8; 6])>,
}

/// An address as the tables hold it.
pub const fn addr(octets: [u8; 4]) -> Addr {
    Addr::from_v4(V4::new(octets))
}

impl World {
    /// The world as every case finds it.
    pub fn new(machine: &dyn Machine) -> Self {
        let environment = |index: usize, group: u32| Environment {
            generation: 7 + index as u32,
            ifindex: machine.ifindex(In::Environment(index)),
            address: addr(INSIDE),
            gateway: addr(GATEWAY),
            group,
            mtu: INSIDE_MTU[index] as u16,
            flags: Environment::XDP,
            flow_quota: 2_000,
            flow_interval_ns: 0,
            flow_burst_ns: 0,
        };
        let uplink = |index: usize, flags: u16| Uplink {
            ifindex: machine.ifindex(In::Uplink(index)),
            mtu: UPLINK_MTU[index],
            mac: Mac::new(UPLINK_MAC[index]),
            flags,
        };
        let eni = |index: usize, uplink: u32| Eni {
            address: addr(ENI[index]),
            uplink,
            reserved: 0,
            connection_limit: 65_000,
            high_water: 52_000,
            timeouts: Timeouts::AWS,
        };
        let group = |eni: u32| {
            let mut enis = [0; GROUP_ENIS];
            enis[0] = eni;
            Group {
                count: 1,
                reserved: 0,
                enis,
            }
        };
        let neighbour = |index: u32, uplink: u32, address: [u8; 4], mac: [u8; 6]| {
            let address = addr(address);
            (index, NextHopKey { uplink, address }, mac)
        };
        Self {
            environments: [environment(0, 0), environment(1, 0), environment(2, 1)],
            uplinks: [
                uplink(0, Uplink::XDP | Uplink::PARTIAL_CHECKSUMS),
                uplink(1, Uplink::XDP | Uplink::SHARED),
            ],
            groups: [group(0), group(2)],
            enis: [eni(0, 0), eni(1, 0), eni(2, 1)],
            generations: [1, 1, 1],
            rules: [
                Rules::new(0, [10, 0, 1, 0], addr(ROUTER)),
                Rules::new(0, [10, 0, 1, 0], addr(ROUTER)),
                Rules::new(1, [10, 0, 2, 0], Addr::UNSPECIFIED),
            ],
            next_hops: vec![
                neighbour(1, 0, SERVER, SERVER_MAC),
                neighbour(2, 0, ROUTER, ROUTER_MAC),
                neighbour(3, 0, SILENT, [0; 6]),
                neighbour(4, 1, OTHER_SERVER, OTHER_SERVER_MAC),
            ],
        }
    }

    /// What each interface is.
    pub fn links(&self) -> Vec<(u32, Link)> {
        let environments = self
            .environments
            .iter()
            .map(|e| (Link::ENVIRONMENT, e.ifindex));
        let uplinks = self.uplinks.iter().map(|u| (Link::UPLINK, u.ifindex));
        let link = |(index, (kind, ifindex)): (usize, (u32, u32))| {
            let index = index as u32;
            (ifindex, Link { kind, index })
        };
        environments
            .enumerate()
            .map(link)
            .chain(uplinks.enumerate().map(link))
            .filter(|(ifindex, _)| *ifindex != 0)
            .collect()
    }

    /// The addresses of the ENIs.
    pub fn eni_keys(&self) -> Vec<(EniKey, EniRef)> {
        let key = |(index, eni): (usize, &Eni)| {
            let key = EniKey::new(eni.uplink, eni.address);
            (key, EniRef::home(index as u32))
        };
        let mut keys: Vec<_> = self.enis.iter().enumerate().map(key).collect();
        for (index, rules) in self.rules.iter().enumerate() {
            if let Some(uplink) = rules.peered {
                let key = EniKey::new(uplink, self.enis[index].address);
                keys.push((key, EniRef::peered(index as u32)));
            }
        }
        keys
    }

    /// The policies of the ENIs: all words, and where each begins, + 1.
    pub fn policies(&self) -> (Vec<u64>, [u64; ENIS as usize]) {
        let mut words = Vec::new();
        let places = core::array::from_fn(|index| {
            if self.rules[index].unset {
                return 0;
            }
            let place = words.len() as u64 + 1;
            words.extend(self.rules[index].image());
            place
        });
        (words, places)
    }
}

/// The rules and routes of an ENI, as far as the cases need them: one subnet on the
/// link, the rest by a router or not at all. What is denied is denied to all of it.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Uplink of the subnet.
    pub uplink: u32,
    /// First address of the /24 that is on the link.
    pub subnet: [u8; 4],
    /// Where everything else goes; unspecified = nowhere.
    pub router: Addr,
    /// In place of the router: a route without a target.
    pub blackhole: bool,
    /// An uplink on which everything else is on the link.
    pub peered: Option<u32>,
    /// Bits of [`policy::Verdict`] of packets out, from a port on.
    pub out: Vec<(u16, u32)>,
    /// The same of replies.
    pub into: Vec<(u16, u32)>,
    /// The same of ICMP errors, out and in.
    pub errors: [u32; 2],
    /// No policy is in force.
    pub unset: bool,
    /// A compiled policy in place of all that.
    pub compiled: Option<Vec<u64>>,
}

impl Rules {
    /// Everything is allowed.
    pub fn new(uplink: u32, subnet: [u8; 4], router: Addr) -> Self {
        Self {
            uplink,
            subnet,
            router,
            blackhole: false,
            peered: None,
            out: vec![(0, 0)],
            into: vec![(0, 0)],
            errors: [0; 2],
            unset: false,
            compiled: None,
        }
    }

    fn beyond(&self) -> Egress {
        let way = |kind, uplink, next_hop| Egress {
            kind,
            uplink,
            next_hop,
        };
        match self.peered {
            _ if self.blackhole => way(Egress::BLACKHOLE, 0, Addr::UNSPECIFIED),
            Some(uplink) => way(Egress::ON_LINK, uplink, Addr::UNSPECIFIED),
            None if self.router.is_unspecified() => Egress::NOWHERE,
            None => way(Egress::VIA, self.uplink, self.router),
        }
    }

    /// See [`policy`] for the format.
    fn image(&self) -> Vec<u64> {
        if let Some(image) = &self.compiled {
            return image.clone();
        }
        let first = u32::from_be_bytes(self.subnet);
        let (entries, rows) = (1, 4);
        let egresses = rows + 2 * policy::ROW_WORDS;
        let tables = egresses + 2 * policy::EGRESS_WORDS;
        let row = |number: u32| rows + number * policy::ROW_WORDS;
        let mut words = vec![
            pack(entries, 3),
            pack(row(1), 0),
            pack(row(0), first),
            pack(row(1), first | 0xff),
        ];
        let mut ports = Vec::new();
        let mut table = |entries: &[(u16, u32)]| {
            let at = tables + ports.len() as u32;
            for (port, bits) in entries {
                ports.push(pack(bits | Verdict::JUDGED, u32::from(*port)));
            }
            pack(at, entries.len() as u32)
        };
        let (out, into) = (table(&self.out), table(&self.into));
        let [errors_out, errors_in] = self.errors.map(|bits| table(&[(0, bits)]));
        // The broadcast address is behind the subnet, which no case minds.
        for number in 0..2 {
            let egress = egresses + number * policy::EGRESS_WORDS;
            let is_none = number == 1 && self.beyond() == Egress::NOWHERE;
            words.push(if is_none { 0 } else { u64::from(egress) });
            words.extend([out, out, errors_out, into, into, errors_in]);
        }
        let on_link = Egress {
            kind: Egress::ON_LINK,
            uplink: self.uplink,
            next_hop: Addr::UNSPECIFIED,
        };
        words.extend(on_link.words());
        words.extend(self.beyond().words());
        words.extend(ports);
        words
    }
}

/// Puts the MACs in place that the agent sets when it makes an entry.
pub fn prime(machine: &dyn Machine, world: &World) {
    let seen = machine.seen();
    for state in seen.environment_states {
        state.mac.store(Mac::new(INSIDE_MAC).to_word());
    }
    for (index, key, mac) in &world.next_hops {
        let hop = &seen.next_hops[*index as usize];
        hop.mac.store(Mac::new(*mac).to_word());
        hop.uplink.store(key.uplink);
    }
}

/// Leaves a pool these ports of one block and nothing else, ever.
pub fn restrict(machine: &dyn Machine, pool_index: u32, ports: &[u16]) {
    let seen = machine.seen();
    let pool: &Pool = &seen.pools[pool_index as usize];
    let number = usize::from(ports[0] >> 8);
    assert!(pool.blocks.load() == 0, "the pool is in use");
    let slab_block = (0..BLOCKS)
        .find(|block| seen.slab.words[0].load() >> block & 1 == 1)
        .expect("the slab has a block");
    seen.slab.words[0].fetch_and(!(1 << slab_block));
    let block: &Block = &seen.blocks[slab_block as usize];
    block.pool.store(pool_index);
    block.number.store(number as u32);
    for word in &block.words {
        word.store(0);
    }
    for port in ports {
        assert_eq!(usize::from(port >> 8), number, "the ports share a block");
        block.words[usize::from(port >> 6 & 3)].fetch_or(1 << (port & 63));
    }
    for (index, word) in pool.leased.iter().enumerate() {
        let mask = if index == number / 64 {
            1 << (number % 64)
        } else {
            0
        };
        word.store(mask);
        pool.granted[index].store(mask);
        pool.has_free[index].store(mask);
    }
    pool.block[number].store(slab_block + 1);
    pool.blocks.store(1);
    pool.capacity.store(ports.len() as u64);
    pool.reclaim_cursor.store(u64::from(ports[0]));
}

/// Gives every block to the slab and makes every pool an empty one.
pub fn fill(machine: &dyn Machine) {
    let seen = machine.seen();
    for word in seen.slab.summary.iter().chain(&seen.slab.words) {
        word.store(0);
    }
    for block in 0..BLOCKS {
        pool::put_block(seen.slab, block);
    }
    let empty = Pool::empty();
    for pool in seen.pools {
        for (word, value) in pool.leased.iter().zip(&empty.leased) {
            word.store(value.load());
        }
        pool.capacity.store(empty.capacity.load());
    }
}
