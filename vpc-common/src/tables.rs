//! What the decisions see of the maps: backed by BPF maps in the kernel and by a
//! double on the host.

use crate::{
    addr::V4,
    expiry::{self, SweepOptions},
    flow::{self, NewFlow, Opened},
    judge::{self, Refused},
    layout::{
        Block, Bucket, Eni, EniKey, EniRef, EniState, Environment, EnvironmentState, Event,
        FlowHash, FlowKey, FlowRecord, FlowRef, Fragment, FragmentKey, Group, Link, NextHop,
        NextHopKey, Pool, RefusalKey, Slab, Slot, Stat, Uplink,
    },
    offload::OnWire,
    policy::Words,
    pool::{self, Claim, ClaimError, Growth, Purpose},
    state::{Direction, State},
    time::Tick,
};

/// How an insertion that must not replace ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Insertion {
    /// It is in.
    Done,
    /// The key was there already.
    Exists,
    /// The table is full, or the kernel had no memory or did not get its lock.
    Failed,
}

/// The tables of the data path. Look-ups return `None` for an index outside the
/// table; values hold their own atomics where both sides write.
pub trait Tables: Words {
    /// What an interface is.
    fn link(&self, ifindex: u32) -> Option<Link>;
    /// An environment as decided.
    fn environment(&self, index: u32) -> Option<&Environment>;
    /// An environment as seen.
    fn environment_state(&self, index: u32) -> Option<&EnvironmentState>;
    /// An uplink.
    fn uplink(&self, index: u32) -> Option<&Uplink>;
    /// A group of ENIs.
    fn group(&self, index: u32) -> Option<&Group>;
    /// An ENI as decided.
    fn eni(&self, index: u32) -> Option<&Eni>;
    /// An ENI as seen.
    fn eni_state(&self, index: u32) -> Option<&EniState>;
    /// The verdict generation of an ENI.
    fn generation(&self, eni: u32) -> u64;
    /// Where the policy of an ENI begins among the words; `None`: it has none.
    fn policy(&self, eni: u32) -> Option<u32>;
    /// The ENI with an address on an uplink.
    fn eni_by_address(&self, key: &EniKey) -> Option<EniRef>;
    /// A port pool.
    fn pool(&self, index: u32) -> Option<&Pool>;
    /// The slab's bitmap.
    fn slab(&self) -> Option<&Slab>;
    /// A block of the slab.
    fn block(&self, index: u32) -> Option<&Block>;
    /// A slot of the slab.
    fn slot(&self, index: u32) -> Option<&Slot>;
    /// A forward entry.
    fn flow(&self, key: &FlowKey) -> Option<FlowRef>;
    /// Adds a forward entry that must not exist.
    fn insert_flow(&self, key: &FlowKey, flow: FlowRef) -> Insertion;
    /// Removes the forward entry of a flow, if it is there.
    fn remove_flow(&self, key: &FlowKey, flow: FlowRef);
    /// How keys of forward entries are hashed.
    fn flow_hash(&self) -> Option<&FlowHash>;
    /// A bucket of the index of forward entries.
    fn bucket(&self, index: u32) -> Option<&Bucket>;
    /// Where the fragments of a datagram go.
    fn fragment(&self, key: &FragmentKey) -> Option<Fragment>;
    /// Remembers where the fragments of a datagram go; may push out another.
    fn insert_fragment(&self, key: &FragmentKey, fragment: &Fragment);
    /// The index of a neighbour.
    fn next_hop_index(&self, key: &NextHopKey) -> Option<u32>;
    /// A neighbour.
    fn next_hop(&self, index: u32) -> Option<&NextHop>;
    /// Counts something that is not a drop.
    fn count(&self, stat: Stat);
    /// Tells the agent; lost (and counted) when it does not listen.
    fn event(&self, event: Event);
    /// Hands over a flow record; `false` when there is no room now.
    fn record(&self, record: &FlowRecord) -> bool;
    /// Counts a packet among those that rules or routes refused.
    fn refuse(&self, key: &RefusalKey, on_wire: &OnWire, now: Tick);
    /// 32 bits that an attacker cannot guess.
    fn random(&self) -> u32;
    /// [`flow::open`]; the kernel keeps it apart from the path of open flows.
    fn open(&self, new: &NewFlow) -> Opened
    where
        Self: Sized,
    {
        flow::open(self, new)
    }
    /// [`judge::note_refusal`]; as for [`Tables::open`].
    fn note_refusal(&self, key: &FlowKey, refused: Refused, on_wire: &OnWire, now: Tick)
    where
        Self: Sized,
    {
        judge::note_refusal(self, key, refused, on_wire, now);
    }
    /// [`judge::note_refused_reply`]; as for [`Tables::open`].
    fn note_refused_reply(&self, slot: &Slot, protocol: u8, on_wire: &OnWire, now: Tick)
    where
        Self: Sized,
    {
        judge::note_refused_reply(self, slot, protocol, on_wire, now);
    }
    /// [`judge::lets_error_pass`]; as for [`Tables::open`].
    fn lets_error_pass(&self, eni: u32, remote: V4, direction: Direction, kind: [u8; 2]) -> bool
    where
        Self: Sized,
    {
        judge::lets_error_pass(self, eni, remote, direction, kind)
    }
    /// [`judge::admit`]; as for [`Tables::open`].
    fn admit(&self, new: &NewFlow) -> Opened
    where
        Self: Sized,
    {
        judge::admit(self, new)
    }
    /// [`judge::judge_again`]; as for [`Tables::open`].
    fn judge_again(&self, slot: &Slot) -> Opened
    where
        Self: Sized,
    {
        judge::judge_again(self, slot)
    }
    /// [`expiry::attend`]; as for [`Tables::claim`].
    fn attend(&self, slot: u32, now: Tick, options: SweepOptions) -> bool
    where
        Self: Sized,
    {
        expiry::attend(self, slot, now, options)
    }
    /// [`pool::claim_in`]; as for [`Tables::claim`].
    fn claim_in(&self, pool: u32, number: u32, random: u32, purpose: Purpose) -> Option<Claim>
    where
        Self: Sized,
    {
        pool::claim_in(self, pool, number, random, purpose)
    }
    /// [`pool::grow`]; as for [`Tables::claim`].
    fn grow(&self, pool: u32, random: u32) -> Growth
    where
        Self: Sized,
    {
        pool::grow(self, pool, random)
    }
    /// [`expiry::retire`]; as for [`Tables::claim`].
    fn retire(&self, slot: u32, state: State, now: Tick) -> bool
    where
        Self: Sized,
    {
        expiry::retire(self, slot, state, now)
    }
    /// [`expiry::reopen`]; as for [`Tables::claim`].
    fn reopen(&self, slot: u32, state: State, new: &NewFlow) -> bool
    where
        Self: Sized,
    {
        expiry::reopen(self, slot, state, new.moment.tick, new.expected_ack)
    }
    /// [`expiry::reclaim`]; as for [`Tables::claim`].
    fn reclaim(&self, eni: u32, protocol: u8, now: Tick) -> bool
    where
        Self: Sized,
    {
        expiry::reclaim(self, eni, protocol, now)
    }
    /// [`pool::claim`]; the kernel verifies it once, apart from its callers.
    fn claim(&self, pool: u32, random: u32, purpose: Purpose) -> Result<Claim, ClaimError>
    where
        Self: Sized,
    {
        pool::claim(self, pool, random, purpose)
    }
}
