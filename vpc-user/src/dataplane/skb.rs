//! Where the running kernel keeps, in its `struct sk_buff`, the three marks that
//! the TC programs read but that no helper tells them. The kernel describes its
//! types in BTF (<https://docs.kernel.org/bpf/btf.html>); this reads as much of it
//! as is needed to find the members of one structure, which takes a few
//! milliseconds. What is found is given to the programs when they are loaded.

use std::{fs, path::Path};

use vpc_common::layout::{SKB_WINDOW, SkbLayout};

use super::start_error::StartError;

/// The kernel's description of its own types.
const KERNEL_BTF: &str = "/sys/kernel/btf/vmlinux";
/// How deep anonymous structures may lie in each other.
const DEPTH: usize = 8;
/// Bits of `ip_summed`.
const SUMMED_BITS: u32 = 2;

/// The layout of the running kernel.
pub fn skb_layout() -> Result<SkbLayout, StartError> {
    let bytes = fs::read(KERNEL_BTF).map_err(|source| StartError::NoBtf {
        path: KERNEL_BTF.into(),
        source,
    })?;
    let found = Btf::parse(&bytes).and_then(|btf| layout(&btf));
    found.ok_or_else(|| StartError::Skb {
        path: Path::new(KERNEL_BTF).into(),
    })
}

fn layout(btf: &Btf<'_>) -> Option<SkbLayout> {
    let skb = btf.structure("sk_buff")?;
    let bytes = |name: &str| {
        let found = btf.member(skb, name, DEPTH)?;
        (found.bits == 0 && found.at.is_multiple_of(8)).then_some(found.at / 8)
    };
    let summed = btf.member(skb, "ip_summed", DEPTH)?;
    if summed.bits != SUMMED_BITS || summed.at % 8 + SUMMED_BITS > 8 {
        return None;
    }
    let (csum_start, csum_offset) = (bytes("csum_start")?, bytes("csum_offset")?);
    let mac_header = bytes("mac_header")?;
    let start = [summed.at / 8, csum_start, csum_offset, mac_header]
        .into_iter()
        .min()?
        & !7;
    let within = |at: u32, len: u32| {
        let offset = at - start;
        u8::try_from(offset)
            .ok()
            .filter(|_| offset + len <= SKB_WINDOW as u32)
    };
    Some(SkbLayout {
        start,
        ip_summed: within(summed.at / 8, 1)?,
        ip_summed_shift: (summed.at % 8) as u8,
        csum_start: within(csum_start, 2)?,
        csum_offset: within(csum_offset, 2)?,
        mac_header: within(mac_header, 2)?,
        reserved: [0; 7],
    })
}

/// A member's place in its structure, in bits; `bits` is 0 unless it is a bit-field.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Member {
    at: u32,
    bits: u32,
}

/// BTF, with the place of each type by its number.
struct Btf<'a> {
    types: &'a [u8],
    strings: &'a [u8],
    places: Vec<usize>,
}

/// The head of a type.
#[derive(Clone, Copy)]
struct Head {
    name: u32,
    kind: u32,
    entries: usize,
    /// Whether members tell the width of bit-fields.
    flag: bool,
}

impl Head {
    const LEN: usize = 12;
    const STRUCT: u32 = 4;
    const UNION: u32 = 5;

    /// Bytes that follow the head; `None` for a kind that is not known.
    const fn tail(&self) -> Option<usize> {
        Some(match self.kind {
            // An integer, a variable, a tag of a declaration.
            1 | 14 | 17 => 4,
            // What refers to one other type and holds nothing else.
            2 | 7..=12 | 16 | 18 => 0,
            // An array.
            3 => 12,
            // Structures, unions, sections, 64-bit enumerations.
            Self::STRUCT | Self::UNION | 15 | 19 => 12 * self.entries,
            // Enumerations, prototypes.
            6 | 13 => 8 * self.entries,
            _ => return None,
        })
    }
}

impl<'a> Btf<'a> {
    const MAGIC: u32 = 0xeb9f;

    fn parse(bytes: &'a [u8]) -> Option<Self> {
        if word(bytes, 0)? & 0xffff != Self::MAGIC {
            return None;
        }
        let head = word(bytes, 4)? as usize;
        let part = |at: usize| -> Option<&'a [u8]> {
            let (from, len) = (word(bytes, at)? as usize, word(bytes, at + 4)? as usize);
            bytes.get(head + from..)?.get(..len)
        };
        let mut btf = Self {
            types: part(8)?,
            strings: part(16)?,
            // Number 0 is "no type".
            places: vec![usize::MAX],
        };
        let mut at = 0;
        while at < btf.types.len() {
            btf.places.push(at);
            at += Head::LEN + btf.head(at)?.tail()?;
        }
        Some(btf)
    }

    fn head(&self, at: usize) -> Option<Head> {
        let info = word(self.types, at + 4)?;
        Some(Head {
            name: word(self.types, at)?,
            kind: info >> 24 & 0x1f,
            entries: (info & 0xffff) as usize,
            flag: info >> 31 == 1,
        })
    }

    fn is_called(&self, name: u32, wanted: &str) -> bool {
        let text = self.strings.get(name as usize..).unwrap_or_default();
        text.strip_prefix(wanted.as_bytes())
            .is_some_and(|rest| rest.first() == Some(&0))
    }

    /// The place of the structure of a name.
    fn structure(&self, name: &str) -> Option<usize> {
        self.places.iter().copied().skip(1).find(|at| {
            self.head(*at)
                .is_some_and(|head| head.kind == Head::STRUCT && self.is_called(head.name, name))
        })
    }

    /// A member of the structure at a place, or of an anonymous one inside it.
    fn member(&self, at: usize, wanted: &str, depth: usize) -> Option<Member> {
        let head = self.head(at)?;
        if depth == 0 || !matches!(head.kind, Head::STRUCT | Head::UNION) {
            return None;
        }
        (0..head.entries).find_map(|number| {
            let entry = at + Head::LEN + 12 * number;
            let (name, kind) = (word(self.types, entry)?, word(self.types, entry + 4)?);
            let offset = word(self.types, entry + 8)?;
            let found = match head.flag {
                true => Member {
                    at: offset & 0xff_ffff,
                    bits: offset >> 24,
                },
                false => Member {
                    at: offset,
                    bits: 0,
                },
            };
            if name != 0 {
                return self.is_called(name, wanted).then_some(found);
            }
            let inner = self.member(*self.places.get(kind as usize)?, wanted, depth - 1)?;
            Some(Member {
                at: found.at.checked_add(inner.at)?,
                ..inner
            })
        })
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_ne_bytes(bytes.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Puts BTF together: types are written by number, names as they come.
    #[derive(Default)]
    struct Build {
        types: Vec<u8>,
        strings: Vec<u8>,
    }

    impl Build {
        fn new() -> Self {
            Self {
                strings: vec![0],
                ..Self::default()
            }
        }

        fn name(&mut self, name: &str) -> u32 {
            if name.is_empty() {
                return 0;
            }
            let at = self.strings.len() as u32;
            self.strings.extend_from_slice(name.as_bytes());
            self.strings.push(0);
            at
        }

        fn words(&mut self, words: &[u32]) {
            for word in words {
                self.types.extend_from_slice(&word.to_ne_bytes());
            }
        }

        /// A structure or union with members of (name, type, bit, bits).
        fn group(&mut self, kind: u32, name: &str, members: &[(&str, u32, u32, u32)]) {
            let name = self.name(name);
            self.words(&[name, 1 << 31 | kind << 24 | members.len() as u32, 0]);
            for (name, of, at, bits) in members {
                let name = self.name(name);
                self.words(&[name, *of, bits << 24 | at]);
            }
        }

        fn finish(self) -> Vec<u8> {
            let mut bytes = Vec::new();
            let lengths = [self.types.len() as u32, self.strings.len() as u32];
            for word in [0x0001_eb9f, 24, 0, lengths[0], lengths[0], lengths[1]] {
                bytes.extend_from_slice(&word.to_ne_bytes());
            }
            bytes.extend(self.types);
            bytes.extend(self.strings);
            bytes
        }
    }

    /// `sk_buff` with its marks in an anonymous structure of an anonymous union, as
    /// kernels have it; the structure starts at byte `at`.
    fn kernel(at: u32, mac_header: u32) -> Vec<u8> {
        let mut build = Build::new();
        // 1: an integer, with four bytes behind its head.
        let name = build.name("int");
        build.words(&[name, 1 << 24, 4, 32]);
        // 2: a structure that must not be mistaken for the one looked for.
        build.group(Head::STRUCT, "sk_buff_head", &[("ip_summed", 1, 0, 0)]);
        // 3: the union, of the structure that follows.
        build.group(Head::UNION, "", &[("", 4, 0, 0)]);
        let marks = [
            ("pkt_type", 1, 0, 3),
            ("ip_summed", 1, 5, 2),
            ("csum_start", 1, 64, 0),
            ("csum_offset", 1, 80, 0),
            ("mac_header", 1, mac_header * 8, 0),
        ];
        build.group(Head::STRUCT, "", &marks);
        build.group(
            Head::STRUCT,
            "sk_buff",
            &[("next", 1, 0, 0), ("", 3, at * 8, 0)],
        );
        build.finish()
    }

    fn find(bytes: &[u8]) -> Option<SkbLayout> {
        layout(&Btf::parse(bytes)?)
    }

    #[test]
    fn members_of_anonymous_structures_are_found() {
        let expected = SkbLayout {
            start: 128,
            ip_summed: 2,
            ip_summed_shift: 5,
            csum_start: 10,
            csum_offset: 12,
            mac_header: 56,
            reserved: [0; 7],
        };
        assert_eq!(find(&kernel(130, 54)), Some(expected));
    }

    #[test]
    fn a_layout_wider_than_the_window_is_none() {
        assert!(find(&kernel(128, 62)).is_some());
        assert_eq!(find(&kernel(128, 63)), None);
        assert_eq!(find(&kernel(128, 1_000)), None);
    }

    #[test]
    fn damaged_bytes_are_none_and_no_panic() {
        let good = kernel(128, 54);
        for len in 0..good.len() {
            let _ = find(&good[..len]);
        }
        for at in 0..good.len() {
            let mut bytes = good.clone();
            bytes[at] ^= 0xff;
            let _ = find(&bytes);
        }
        assert_eq!(find(b"no BTF at all"), None);
    }

    #[test]
    fn the_running_kernel_describes_itself() {
        // A machine without BTF runs no programs either.
        if Path::new(KERNEL_BTF).exists() {
            let found = skb_layout().expect("a layout that fits");
            assert!(found.start.is_multiple_of(8) && found.ip_summed_shift < 7);
            assert_eq!(found.csum_offset, found.csum_start + 2);
        }
    }
}
