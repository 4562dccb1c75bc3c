//! Names of the maps, as declared in the kernel object and as pinned.

/// `Array<Meta>`, one entry.
pub const META: &str = "META";
/// `HashMap<u32 ifindex, Link>`, written by the agent.
pub const LINK_BY_IFINDEX: &str = "LINK_BY_IFINDEX";
/// `Array<Environment>`, written by the agent.
pub const ENVIRONMENTS: &str = "ENVIRONMENTS";
/// `Array<EnvironmentState>`, written by the kernel.
pub const ENVIRONMENT_STATES: &str = "ENVIRONMENT_STATES";
/// `Array<Uplink>`, written by the agent.
pub const UPLINKS: &str = "UPLINKS";
/// `Array<Group>`, written by the agent.
pub const GROUPS: &str = "GROUPS";
/// `Array<Eni>`, written by the agent.
pub const ENIS: &str = "ENIS";
/// `Array<InForce>`: the policy of each ENI and its generation. Written by the agent
/// after the words.
pub const POLICIES: &str = "POLICIES";
/// `Array<u64>`: the words of all policies, see [`crate::policy`]. Written by the
/// agent where nothing leads to.
pub const POLICY_WORDS: &str = "POLICY_WORDS";
/// `HashMap<RefusalKey, Refusal>`: written by the kernel, taken by the agent.
pub const REFUSALS: &str = "REFUSALS";
/// `Array<EniState>`, written by the kernel.
pub const ENI_STATES: &str = "ENI_STATES";
/// `HashMap<EniKey, EniRef>`, written by the agent.
pub const ENI_BY_ADDRESS: &str = "ENI_BY_ADDRESS";
/// `Array<Pool>`, two per ENI, written by the kernel.
pub const POOLS: &str = "POOLS";
/// `Array<Slab>`, one entry; the agent frees its blocks once, at creation.
pub const SLAB: &str = "SLAB";
/// `Array<Block>`, written by the kernel.
pub const BLOCKS: &str = "BLOCKS";
/// `Array<Slot>`, 256 per block, written by the kernel.
pub const SLOTS: &str = "SLOTS";
/// `Array<Bucket>`, written by the kernel: from [`FlowKey`](super::FlowKey) to
/// [`FlowRef`](super::FlowRef).
pub const FLOW_BY_TUPLE: &str = "FLOW_BY_TUPLE";
/// `Array<FlowHash>`, one entry; the agent draws it once, at creation.
pub const FLOW_HASH: &str = "FLOW_HASH";
/// `LruHashMap<FragmentKey, Fragment>`, written by the kernel; may be lost.
pub const FRAGMENTS: &str = "FRAGMENTS";
/// `HashMap<NextHopKey, u32 next hop index>`, written by the agent.
pub const NEXT_HOP_BY_ADDRESS: &str = "NEXT_HOP_BY_ADDRESS";
/// `Array<NextHop>`: the kernel learns, the agent forgets.
pub const NEXT_HOPS: &str = "NEXT_HOPS";
/// `HashMap<DropKey, u64>`: packets, written by the kernel.
pub const DROPS: &str = "DROPS";
/// `PerCpuArray<u64>`, indexed by [`Stat`](super::Stat).
pub const STATS: &str = "STATS";
/// `DevMap`: environment index → interface.
pub const ENVIRONMENT_PORTS: &str = "ENVIRONMENT_PORTS";
/// `DevMap`: uplink index → interface.
pub const UPLINK_PORTS: &str = "UPLINK_PORTS";
/// [`ENVIRONMENT_PORTS`] once more, for TC: the kernel gives a device map to the
/// programs of one type only.
pub const TC_ENVIRONMENT_PORTS: &str = "TC_ENVIRONMENT_PORTS";
/// [`UPLINK_PORTS`] once more, for TC.
pub const TC_UPLINK_PORTS: &str = "TC_UPLINK_PORTS";
/// `RingBuf` of [`Event`](super::Event).
pub const EVENTS: &str = "EVENTS";
/// `RingBuf` of [`Punt`](super::Punt).
pub const PUNTS: &str = "PUNTS";
/// `RingBuf` of [`FlowRecord`](super::FlowRecord).
pub const FLOW_RECORDS: &str = "FLOW_RECORDS";
/// `Array<SweepResult>`, one entry, of the last run of the sweep.
pub const SWEEP_RESULT: &str = "SWEEP_RESULT";
/// `HashMap<NameKey, Name>`: what people call the things behind the indices.
/// Made, pinned, written and read by the agent alone.
pub const NAMES: &str = "NAMES";
