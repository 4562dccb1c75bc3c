//! The header parsers, against etherparse and plain sums.

use std::collections::BTreeSet;

use etherparse::{
    IpNumber, Ipv4HeaderSlice, TcpHeaderSlice, TcpOptionElement, TcpOptionsIterator, UdpHeaderSlice,
};
use vpc_common::{
    double::Buffer,
    drop::DropReason,
    packet::Packet as _,
    packet_table::{CASES, Host, XDP_CASES},
    quoted,
    transport::{self, Transport},
    wire::{
        ethernet, icmp,
        ipv4::{self, View},
        tcp::{self, OPTIONS_ROOM},
    },
};

use super::{Target, sums};

/// Any frame is parsed as etherparse parses it, or refused with the reason that a check of
/// its own gives; no header is taken from beyond the end of the packet.
pub const TARGET: Target = Target {
    name: "packet",
    promise: "headers are parsed as etherparse parses them, and never from beyond a packet's end",
    run,
    seeds,
    len_max: 1 + 2_000,
    in_lines: false,
    needs_kernel: false,
};

/// In the first byte: the IPv4 header's checksum is made right.
const MENDS_HEADER: u8 = 1;
/// In the first byte: so is that of the header 28 bytes behind it, which an ICMP error
/// quotes.
const MENDS_QUOTE: u8 = 2;

fn run(input: &[u8]) {
    let Some((how, frame)) = input.split_first() else {
        return;
    };
    let mut frame = frame.to_vec();
    frame.truncate(TARGET.len_max);
    if how & MENDS_QUOTE != 0 {
        sums::mend_header(&mut frame, ethernet::LEN + ipv4::LEN + icmp::LEN);
    }
    if how & MENDS_HEADER != 0 {
        sums::mend_header(&mut frame, ethernet::LEN);
    }
    let packet = Buffer::new(&frame);
    let bytes = frame.get(ethernet::LEN..).unwrap_or_default();
    let found = ipv4::parse(&packet, ethernet::LEN);
    let (view, header) = match (found, network(bytes)) {
        (Ok(view), Ok(header)) => (view, header),
        (Err(found), Err(expected)) => return assert_eq!(found, expected),
        (found, expected) => panic!("found {found:?}, expected {expected:?}"),
    };
    let payload = &bytes[header.slice().len()..usize::from(header.total_len())];
    assert_view(&view, &header);
    assert_eq!(view.payload_len(), payload.len());
    let has_ports = match header.protocol() {
        IpNumber::TCP => !view.is_fragment(),
        IpNumber::UDP => !view.is_later_fragment(),
        _ => false,
    };
    if has_ports {
        assert_transport(&packet, &view, payload);
    }
    if header.protocol() == IpNumber::ICMP && payload.len() >= icmp::LEN {
        assert_quote(&packet, &view, &payload[icmp::LEN..]);
    }
}

/// The header of a packet, or what is wrong with it.
fn network(bytes: &[u8]) -> Result<Ipv4HeaderSlice<'_>, DropReason> {
    let header = Ipv4HeaderSlice::from_slice(bytes).map_err(|_| DropReason::Ipv4Malformed)?;
    let total = usize::from(header.total_len());
    if total < header.slice().len() || total > bytes.len() {
        return Err(DropReason::Ipv4Malformed);
    }
    match sums::ones(0, header.slice()) {
        0xffff => Ok(header),
        _ => Err(DropReason::Ipv4Checksum),
    }
}

fn assert_view(view: &View, header: &Ipv4HeaderSlice<'_>) {
    assert_eq!(view.at, ethernet::LEN);
    assert_eq!(view.header_len, header.slice().len());
    assert_eq!(view.total_len, u32::from(header.total_len()));
    assert_eq!(view.source.octets(), header.source());
    assert_eq!(view.destination.octets(), header.destination());
    assert_eq!(view.protocol, header.protocol().0);
    assert_eq!(view.ttl, header.ttl());
    assert_eq!(u16::from_be(view.id), header.identification());
    assert_eq!(view.dont_fragment(), header.dont_fragment());
    assert_eq!(view.is_fragment(), header.is_fragmenting_payload());
    let offset = header.fragments_offset().value();
    assert_eq!(view.is_later_fragment(), offset != 0);
}

fn assert_transport(packet: &Buffer, view: &View, payload: &[u8]) {
    let found = transport::parse(packet, view);
    let expected = match view.protocol {
        6 => tcp(payload),
        _ => udp(payload, view.is_fragment()),
    };
    let expected = expected.and_then(|ports| match ports {
        [0, _] | [_, 0] => Err(DropReason::L4Malformed),
        ports => Ok(ports),
    });
    let ports = |found: Transport| [found.source.number(), found.destination.number()];
    assert_eq!(found.map(ports), expected);
    if let (6, Ok(found)) = (view.protocol, found) {
        assert_segment(packet, view, &found, payload);
    }
}

/// The ports of a segment, or what is wrong with it.
fn tcp(payload: &[u8]) -> Result<[u16; 2], DropReason> {
    if payload.len() < 20 {
        return Err(DropReason::L4Truncated);
    }
    let header = TcpHeaderSlice::from_slice(payload).map_err(|_| DropReason::L4Malformed)?;
    Ok([header.source_port(), header.destination_port()])
}

/// The ports of a datagram, or what is wrong with it.
fn udp(payload: &[u8], is_fragment: bool) -> Result<[u16; 2], DropReason> {
    let header = UdpHeaderSlice::from_slice(payload).map_err(|_| DropReason::L4Truncated)?;
    let len = usize::from(header.length());
    if len < 8 || (len > payload.len() && !is_fragment) {
        return Err(DropReason::L4Malformed);
    }
    Ok([header.source_port(), header.destination_port()])
}

/// What the state machine and the MSS clamp go by.
fn assert_segment(packet: &Buffer, view: &View, found: &Transport, payload: &[u8]) {
    let header = TcpHeaderSlice::from_slice(payload).expect("it has ports");
    let segment = found.segment;
    assert_eq!(found.header_len, header.slice().len());
    assert_eq!(segment.sequence, header.sequence_number());
    assert_eq!(segment.acknowledgment, header.acknowledgment_number());
    let data = (payload.len() - found.header_len) as u32;
    let controls = u32::from(header.syn()) + u32::from(header.fin());
    let end = header.sequence_number().wrapping_add(data + controls);
    assert_eq!(segment.end, end);
    assert_eq!(
        found.is_syn(),
        header.syn() && !header.ack() && !header.rst()
    );
    let (mut options, len) = ([0; OPTIONS_ROOM], found.header_len - tcp::LEN);
    let copied = packet.copy(view.l4() + tcp::LEN, len, &mut options);
    assert!(copied.is_some(), "the options are within the packet");
    let value = |at: usize| u16::from_be_bytes([options[at], options[at + 1]]);
    let mss = tcp::mss_offset(&options, len);
    assert!(
        mss.is_none_or(|at| at + 2 <= len),
        "an MSS beyond the options"
    );
    if let Some(expected) = first_mss(header.options_iterator()) {
        assert_eq!(mss.map(value), expected);
    }
}

/// The MSS option of a segment; `None` if something before it is malformed, which either
/// reader may see in its own way.
fn first_mss(options: TcpOptionsIterator<'_>) -> Option<Option<u16>> {
    for option in options {
        match option {
            Ok(TcpOptionElement::MaximumSegmentSize(size)) => return Some(Some(size)),
            Ok(_) => {}
            Err(_) => return None,
        }
    }
    Some(None)
}

/// A quote is believed if it is whole as far as its ports go, and not otherwise.
fn assert_quote(packet: &Buffer, view: &View, quoted: &[u8]) {
    let found = quoted::parse(packet, view);
    let header = Ipv4HeaderSlice::from_slice(quoted).ok();
    let header = header.filter(|header| {
        let is_carried = matches!(header.protocol(), IpNumber::TCP | IpNumber::UDP);
        is_carried
            && header.fragments_offset().value() == 0
            && quoted.len() >= header.slice().len() + 8
            && sums::ones(0, header.slice()) == 0xffff
    });
    match (found, header) {
        (Ok(found), Some(header)) => {
            let ports = &quoted[header.slice().len()..];
            let port = |at: usize| u16::from_be_bytes([ports[at], ports[at + 1]]);
            assert_eq!(found.source.octets(), header.source());
            assert_eq!(found.destination.octets(), header.destination());
            assert_eq!(found.protocol, header.protocol().0);
            assert_eq!(found.source_port.number(), port(0));
            assert_eq!(found.destination_port.number(), port(2));
        }
        (Err(DropReason::IcmpMalformed | DropReason::IcmpUnmatched), None) => {}
        (found, header) => panic!("found {found:?}, expected {header:?}"),
    }
}

/// Every frame of the packet table, and what became of it.
fn seeds() -> Vec<Vec<u8>> {
    let cases = CASES
        .iter()
        .chain([&XDP_CASES])
        .flat_map(|cases| cases.iter());
    let steps = cases.flat_map(|case| case.check(&mut Host::new()));
    let frames = steps.flat_map(|step| [step.input, step.output]);
    let frames: BTreeSet<Vec<u8>> = frames.map(|frame| [vec![0], frame].concat()).collect();
    frames.into_iter().collect()
}
