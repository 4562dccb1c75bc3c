//! What a guest's driver and its virtio card agreed on.

/// Offloads of a virtio network card (virtio 1.2, section 5.1.3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Offloads {
    /// The guest may send packets with half-made checksums.
    pub checksum: bool,
    /// The guest may send TCP segments longer than the MTU.
    pub segmentation: bool,
    /// The guest takes packets with half-made checksums.
    pub guest_checksum: bool,
    /// The guest takes TCP segments longer than the MTU.
    pub guest_segmentation: bool,
    /// The guest takes a packet in several buffers.
    pub mergeable_buffers: bool,
}

impl Offloads {
    /// All of them.
    pub const ALL: Self = Self {
        checksum: true,
        segmentation: true,
        guest_checksum: true,
        guest_segmentation: true,
        mergeable_buffers: true,
    };

    /// Reads `features` of a virtio device in sysfs: a digit for each bit, the first
    /// for bit 0.
    pub(super) fn parse(features: &str) -> Self {
        let bit = |number: usize| features.as_bytes().get(number) == Some(&b'1');
        Self {
            checksum: bit(0),
            guest_checksum: bit(1),
            guest_segmentation: bit(7),
            segmentation: bit(11),
            mergeable_buffers: bit(15),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn features_are_read_from_the_first_bit_on() {
        let all = "1100010100010001000000000000000000\n";
        assert_eq!(Offloads::parse(all), Offloads::ALL);
        let none = Offloads::parse("0010010000000000111110100001100100\n");
        assert!(!none.checksum && !none.segmentation && !none.guest_checksum);
        assert!(!none.guest_segmentation && !none.mergeable_buffers);
    }
}
