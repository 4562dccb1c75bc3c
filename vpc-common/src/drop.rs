//! Why a packet ended here. [`DropReason`] is the single source of the counter,
//! the metric's label, the text of the command line and the table in the
//! documentation. Numbers are never reused.

macro_rules! drop_reasons {
    ($($(#[doc = $text:literal])+ $name:ident = $number:literal, $label:literal;)+) => {
        /// Why a packet was dropped. A packet that is dropped moves exactly one
        /// counter, that of its reason and its [`Owner`](crate::layout::Owner).
        #[repr(u32)]
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
        pub enum DropReason {
            $($(#[doc = $text])+ $name = $number,)+
        }

        impl DropReason {
            /// Every reason, in the order of the numbers.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// The name in metrics, listings and JSON.
            pub const fn label(self) -> &'static str {
                match self { $(Self::$name => $label,)+ }
            }

            /// What happened, and where it helps what to do, in one sentence.
            pub const fn description(self) -> &'static str {
                match self { $(Self::$name => concat!($($text,)+).trim_ascii(),)+ }
            }

            /// The reason of a number found in a map.
            pub const fn from_number(number: u32) -> Option<Self> {
                match number { $($number => Some(Self::$name),)+ _ => None }
            }
        }
    };
}

drop_reasons! {
    /// The interface is not attached (any more) although the program still ran on it.
    LinkUnknown = 1, "link_unknown";
    /// The frame ends before its Ethernet or ARP header does.
    FrameTruncated = 2, "frame_truncated";
    /// An environment sent a VLAN-tagged frame.
    VlanTagged = 3, "vlan_tagged";
    /// The frame is neither IPv4 nor ARP (IPv6 arrives with its own release).
    EthertypeUnsupported = 4, "ethertype_unsupported";
    /// An ARP packet that asks for nothing this host answers.
    ArpIgnored = 5, "arp_ignored";
    /// The IPv4 header contradicts itself or the frame: version, header length or total length.
    Ipv4Malformed = 6, "ipv4_malformed";
    /// The IPv4 header checksum is wrong (RFC 1812 section 5.2.2).
    Ipv4Checksum = 7, "ipv4_checksum";
    /// The source address is not the environment's own.
    SourceSpoofed = 8, "source_spoofed";
    /// The destination is multicast, broadcast, loopback or reserved.
    DestinationNotUnicast = 9, "destination_not_unicast";
    /// TCP or UDP to the gateway address, which offers no service.
    ToGateway = 10, "to_gateway";
    /// The IP protocol is neither TCP, UDP nor ICMP.
    ProtocolUnsupported = 11, "protocol_unsupported";
    /// The packet ends before its TCP, UDP or ICMP header does.
    L4Truncated = 12, "l4_truncated";
    /// The TCP or UDP header contradicts itself: data offset, length or port zero.
    L4Malformed = 13, "l4_malformed";
    /// A fragment of a TCP packet: not carried, as on AWS.
    TcpFragment = 14, "tcp_fragment";
    /// A fragment of an ICMP packet: not carried, as on AWS.
    IcmpFragment = 15, "icmp_fragment";
    /// A UDP fragment whose first fragment was not seen within the holding time.
    FragmentUnknown = 16, "fragment_unknown";
    /// The time to live ran out.
    TtlExpired = 17, "ttl_expired";
    /// The packet is larger than the MTU of the way out; the sender was told (RFC 1191).
    FragmentationNeeded = 18, "fragmentation_needed";
    /// No route leads to the destination.
    NoRoute = 19, "no_route";
    /// The next hop did not answer ARP within the holding time.
    NextHopUnresolved = 20, "next_hop_unresolved";
    /// A TCP segment without SYN that belongs to no flow; the environment was sent RST.
    TcpMidStream = 21, "tcp_mid_stream";
    /// The environment has as many open flows as its quota allows.
    EnvironmentQuota = 22, "environment_quota";
    /// The environment opens flows faster than its rate allows.
    NewFlowRate = 23, "new_flow_rate";
    /// Every ENI of the environment's group is full: add one.
    PortsExhausted = 24, "ports_exhausted";
    /// The host has no free block of slots left: raise `limits.flows`.
    SlabExhausted = 25, "slab_exhausted";
    /// Ports are free, but each that was tried rests for this peer, or another CPU won it; a retransmission mostly succeeds.
    PortsContended = 26, "ports_contended";
    /// Two CPUs opened the same flow at the same time and this packet came between.
    FlowSetupRace = 27, "flow_setup_race";
    /// The table of forward entries refused an entry: full, or the kernel was out of memory.
    FlowTableFull = 28, "flow_table_full";
    /// A packet from the VPC that answers no flow: V2N is one way.
    Unsolicited = 29, "unsolicited";
    /// A packet on a dedicated uplink that is addressed to no ENI of this host.
    NotAnEni = 30, "not_an_eni";
    /// A frame on a dedicated uplink that is addressed to another station.
    NotForLink = 31, "not_for_link";
    /// A reply to a flow whose environment was detached or recycled.
    EnvironmentGone = 32, "environment_gone";
    /// An ICMP error about no live flow.
    IcmpUnmatched = 33, "icmp_unmatched";
    /// An ICMP error whose quoted packet is malformed or too short.
    IcmpMalformed = 34, "icmp_malformed";
    /// An ICMP message other than an error: V2N carries TCP and UDP only.
    IcmpQuery = 35, "icmp_query";
    /// A half-made checksum could not be completed.
    ChecksumIncomplete = 36, "checksum_incomplete";
    /// The interface the packet was to leave by is gone.
    RedirectFailed = 37, "redirect_failed";
    /// The agent does not keep up with the packets that need it, or is not running.
    PuntOverflow = 38, "punt_overflow";
    /// An answer (ARP, ICMP or RST) could not be built in the packet's buffer.
    AnswerFailed = 39, "answer_failed";
    /// The environment was attached without a MAC and has sent nothing that shows it.
    EnvironmentMacUnknown = 40, "environment_mac_unknown";
    /// A device was told to write a checksum over something else: an attempt to change the packet after it was checked.
    ChecksumMisplaced = 41, "checksum_misplaced";
    /// No egress rule of the environment's security groups allows it.
    SgEgress = 42, "sg_egress";
    /// The subnet's network ACL does not let it out.
    NaclOut = 43, "nacl_out";
    /// The subnet's network ACL does not let the reply in.
    NaclIn = 44, "nacl_in";
    /// The route that matches has lost its target.
    Blackhole = 45, "blackhole";
    /// The ENI has no rules and routes in force yet.
    NoPolicy = 46, "no_policy";
}

impl DropReason {
    /// Whether rules or routes refused the packet: what flow logs report as REJECT.
    #[inline(always)]
    pub const fn is_refusal(number: u32) -> bool {
        Self::refusal_index(number).is_some()
    }

    /// Counts the reasons that are refusals from 0; `None`: it is none.
    #[inline(always)]
    pub const fn refusal_index(number: u32) -> Option<u32> {
        if number == Self::NoRoute as u32 {
            return Some(0);
        }
        if number < Self::SgEgress as u32 || number > Self::NoPolicy as u32 {
            return None;
        }
        Some(number - Self::SgEgress as u32 + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_dense_and_labels_unique() {
        let mut labels: Vec<_> = DropReason::ALL
            .iter()
            .map(|reason| reason.label())
            .collect();
        for (index, reason) in DropReason::ALL.iter().enumerate() {
            assert_eq!(*reason as usize, index + 1, "{reason:?}");
            assert_eq!(DropReason::from_number(*reason as u32), Some(*reason));
            assert!(!reason.description().is_empty());
        }
        labels.sort_unstable();
        labels.dedup();
        assert_eq!(labels.len(), DropReason::ALL.len());
        assert_eq!(DropReason::from_number(0), None);
    }
}
