//! What a decision is made from besides the state and the command.

use std::time::Duration;

use vpc_common::state::Timeouts;

use super::{Account, Time};

/// Who asks, when, and with what to draw ids from.
#[derive(Clone, Debug)]
pub struct Context {
    /// Now.
    pub now: Time,
    /// Who asks.
    pub caller: Caller,
    /// Where ids come from.
    pub entropy: Entropy,
    /// What the operator set.
    pub settings: Settings,
}

/// Who asks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Caller {
    /// Whose resources are meant.
    pub account: Account,
    /// The role whose policies decide; `None`: the account's root, which may do
    /// everything, as whoever can open the agent's socket may.
    pub role: Option<String>,
    /// The function whose code calls, by its unqualified ARN: `lambda:SourceFunctionArn`.
    pub source_function: Option<String>,
}

impl Caller {
    /// The root of an account.
    pub const fn root(account: Account) -> Self {
        Self {
            account,
            role: None,
            source_function: None,
        }
    }
}

/// A sequence of numbers that is given from outside (splitmix64): the same seed draws
/// the same ids.
#[derive(Clone, Debug)]
pub struct Entropy(u64, u64);

impl Entropy {
    /// From 128 bits that were drawn elsewhere.
    pub const fn new(seed: u128) -> Self {
        Self(seed as u64, (seed >> 64) as u64)
    }

    /// The next number.
    pub const fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0 ^ self.1;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// The next two numbers.
    pub const fn next_u128(&mut self) -> u128 {
        (self.next_u64() as u128) << 64 | self.next_u64() as u128
    }

    /// A UUID of version 4.
    pub fn uuid(&mut self) -> String {
        let bits = self.next_u128();
        let field = |shift: u32, bits_wide: u32| (bits >> shift) & ((1 << bits_wide) - 1);
        format!(
            "{:08x}-{:04x}-4{:03x}-{:x}{:03x}-{:012x}",
            field(96, 32),
            field(80, 16),
            field(68, 12),
            8 | field(64, 2),
            field(52, 12),
            field(0, 48)
        )
    }
}

/// What the operator set: quotas and times, each with AWS's value as its default.
#[derive(Clone, PartialEq, Debug)]
pub struct Settings {
    /// The Region that ARNs and names show.
    pub region: String,
    /// Availability zones that there are.
    pub zones: Vec<String>,
    /// Quotas of rules and routes.
    pub quotas: crate::model::Quotas,
    /// VPCs of an account.
    pub vpcs: u32,
    /// Hyperplane ENIs of a VPC.
    pub hyperplane_enis_per_vpc: u32,
    /// ENIs of one (subnet, security-group set) at most.
    pub enis_per_group: u32,
    /// Connections of one ENI.
    pub connections_per_eni: u32,
    /// Idle timeouts of the flows of functions' ENIs.
    pub timeouts: Timeouts,
    /// How long a function is not invoked until it is `Inactive`.
    pub idle_after: Duration,
    /// How long a function may be `Pending` until an update may cancel that.
    pub stuck_after: Duration,
    /// How long a flow may keep an ENI that is to be deleted.
    pub drain: Duration,
    /// How long a NAT gateway, an endpoint or a peering connection is shown after its
    /// end.
    pub shown_after_end: Duration,
    /// Interface and Gateway Load Balancer endpoints of a VPC.
    pub interface_endpoints_per_vpc: u32,
    /// Gateway endpoints of an account.
    pub gateway_endpoints: u32,
    /// NAT gateways of an availability zone.
    pub nat_gateways_per_zone: u32,
    /// Elastic addresses of a public NAT gateway.
    pub addresses_per_nat_gateway: u32,
    /// Elastic addresses of an account.
    pub addresses: u32,
    /// Internet gateways of an account.
    pub internet_gateways: u32,
    /// Active peering connections of a VPC.
    pub peerings_per_vpc: u32,
    /// Peering connections that an account asked for and nobody has accepted yet.
    pub pending_peerings: u32,
    /// Flow logs of a resource.
    pub flow_logs_per_resource: u32,
    /// Network interfaces of an availability zone.
    pub interfaces_per_zone: u32,
    /// Tags of a resource.
    pub tags_per_resource: u32,
}

impl Default for Settings {
    fn default() -> Self {
        let hours = |hours: u64| Duration::from_secs(hours * 3_600);
        let region = "us-east-1";
        Self {
            region: region.to_owned(),
            zones: ["a", "b", "c"]
                .map(|zone| format!("{region}{zone}"))
                .to_vec(),
            quotas: crate::model::Quotas::default(),
            vpcs: 5,
            hyperplane_enis_per_vpc: 500,
            enis_per_group: vpc_common::layout::GROUP_ENIS as u32,
            connections_per_eni: vpc_common::layout::ENI_CONNECTIONS,
            timeouts: Timeouts::AWS,
            idle_after: hours(14 * 24),
            stuck_after: Duration::from_secs(360),
            drain: Duration::from_secs(350),
            shown_after_end: hours(1),
            interface_endpoints_per_vpc: 50,
            gateway_endpoints: 20,
            nat_gateways_per_zone: 5,
            addresses_per_nat_gateway: 2,
            addresses: 5,
            internet_gateways: 5,
            peerings_per_vpc: 50,
            pending_peerings: 25,
            flow_logs_per_resource: 250,
            interfaces_per_zone: 5_000,
            tags_per_resource: 50,
        }
    }
}
