//! Finishing a checksum that a sender left to its device: a frame that waited with the
//! agent goes out without the kernel's note that something is left to do.

use vpc_common::{
    layout::Punt,
    offload::{TCP_CHECKSUM, UDP_CHECKSUM},
    state::{TCP, UDP},
    wire::ethernet,
};

/// Where a checksum starts to sum, how far behind that it stands, and where it ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Left {
    start: usize,
    offset: usize,
    end: usize,
}

/// Finishes the transport checksum of a frame that was handed over with the word
/// `checksum` ([`Punt::checksum`]).
pub fn finish(frame: &mut [u8], checksum: u32) {
    let left = match checksum {
        Punt::WHOLE => None,
        Punt::BY_VALUE => by_value(frame),
        word => Some(Left {
            start: (word & 0xffff) as usize,
            offset: (word >> 16) as usize,
            end: frame.len(),
        }),
    };
    let Some(Left { start, offset, end }) = left else {
        return;
    };
    let Some(sum) = frame.get(start..end).map(|bytes| fold(sum(bytes))) else {
        return;
    };
    // As the kernel does for every protocol: 0 would say "no checksum" in UDP.
    let value = match !sum {
        0 => 0xffff,
        value => value,
    };
    if let Some(field) = frame.get_mut(start + offset..start + offset + 2) {
        field.copy_from_slice(&value.to_be_bytes());
    }
}

/// What is left to do if the field holds the pseudo-header's sum: XDP does not see the
/// kernel's note. Finishing a whole and right checksum would give the same again.
fn by_value(frame: &[u8]) -> Option<Left> {
    let ip = frame.get(ethernet::LEN..)?;
    let header_len = usize::from(ip.first()? & 0x0f) * 4;
    let total_len = usize::from(u16::from_be_bytes(ip.get(2..4)?.try_into().ok()?));
    // A fragment's checksum is whole.
    let fragment = u16::from_be_bytes(ip.get(6..8)?.try_into().ok()?) & 0x3fff;
    let protocol = *ip.get(9)?;
    let offset = match protocol {
        TCP if fragment == 0 => TCP_CHECKSUM,
        UDP if fragment == 0 => UDP_CHECKSUM,
        _ => return None,
    };
    let segment = ip.get(header_len..total_len)?;
    let pseudo = sum(ip.get(12..20)?) + u64::from(protocol) + segment.len() as u64;
    let field = u16::from_be_bytes(segment.get(offset..offset + 2)?.try_into().ok()?);
    let start = ethernet::LEN + header_len;
    (field == fold(pseudo)).then_some(Left {
        start,
        offset,
        end: ethernet::LEN + total_len,
    })
}

/// The one's complement sum (RFC 1071), neither folded nor complemented.
fn sum(bytes: &[u8]) -> u64 {
    let (pairs, rest) = bytes.as_chunks::<2>();
    let whole: u64 = pairs
        .iter()
        .map(|pair| u64::from(u16::from_be_bytes(*pair)))
        .sum();
    whole + rest.first().map_or(0, |last| u64::from(*last) << 8)
}

fn fold(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A UDP datagram of 10.0.0.1 to 10.0.0.2 with a checksum field of zero.
    fn datagram(payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![0; 12];
        frame.extend([8, 0, 0x45, 0]);
        frame.extend((28 + payload.len() as u16).to_be_bytes());
        frame.extend([0, 1, 0x40, 0, 64, UDP, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
        frame.extend([0x10, 0, 0, 53]);
        frame.extend((8 + payload.len() as u16).to_be_bytes());
        frame.extend([0, 0]);
        frame.extend_from_slice(payload);
        frame
    }

    fn pseudo(frame: &[u8]) -> u64 {
        sum(&frame[26..34]) + u64::from(UDP) + frame.len() as u64 - 34
    }

    fn is_right(frame: &[u8]) -> bool {
        fold(pseudo(frame) + sum(&frame[34..])) == 0xffff
    }

    /// The same as a stack leaves it to a device.
    fn half_made(payload: &[u8]) -> Vec<u8> {
        let mut frame = datagram(payload);
        let field = fold(pseudo(&frame));
        frame[40..42].copy_from_slice(&field.to_be_bytes());
        frame
    }

    proptest! {
        #[test]
        fn a_half_made_checksum_is_finished(payload in prop::collection::vec(any::<u8>(), 0..200)) {
            for word in [Punt::BY_VALUE, 34 | 6 << 16] {
                let mut frame = half_made(&payload);
                finish(&mut frame, word);
                prop_assert!(is_right(&frame));
                prop_assert_ne!(&frame[40..42], &[0, 0]);
                let before = frame.clone();
                finish(&mut frame, Punt::BY_VALUE);
                prop_assert_eq!(&frame, &before);
            }
        }

        #[test]
        fn nothing_of_nonsense_panics(
            mut frame in prop::collection::vec(any::<u8>(), 0..80), word in any::<u32>(),
        ) {
            finish(&mut frame, word);
            finish(&mut frame, Punt::BY_VALUE);
        }
    }

    #[test]
    fn what_is_whole_or_wrong_is_left_as_it_is() {
        let mut frame = half_made(b"payload");
        let before = frame.clone();
        finish(&mut frame, Punt::WHOLE);
        assert_eq!(frame, before);
        let mut wrong = datagram(b"payload");
        wrong[40] = 0x12;
        let before = wrong.clone();
        finish(&mut wrong, Punt::BY_VALUE);
        assert_eq!(wrong, before);
        // Bytes behind the datagram are the link's, not the checksum's.
        let mut padded = half_made(b"x");
        padded.extend([0xaa; 17]);
        finish(&mut padded, Punt::BY_VALUE);
        assert!(is_right(&padded[..padded.len() - 17]));
    }
}
