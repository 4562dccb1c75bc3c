//! A stream of bytes that both ends can compute, and its hash.

use std::io::{self, Read};

use sha2::{Digest as _, Sha256};

const CHUNK: usize = 64 * 1024;

/// The first `len` bytes of the stream.
#[derive(Clone, Debug)]
pub struct Content {
    position: u64,
    len: u64,
}

impl Content {
    /// A stream of `len` bytes.
    pub const fn new(len: u64) -> Self {
        Self { position: 0, len }
    }
}

impl Read for Content {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.len - self.position).unwrap_or(usize::MAX);
        let count = buffer.len().min(left);
        for byte in &mut buffer[..count] {
            *byte = byte_at(self.position);
            self.position += 1;
        }
        Ok(count)
    }
}

/// Differs from one 256-byte stretch to the next, so that a segment that is lost,
/// doubled or moved changes the hash.
const fn byte_at(position: u64) -> u8 {
    let stretch = (position >> 8).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56;
    (position as u8)
        .wrapping_mul(31)
        .wrapping_add(stretch as u8)
}

/// Reads to the end; how many bytes there were and their SHA-256 in hex.
pub fn digest(mut stream: impl Read) -> io::Result<(u64, String)> {
    let (mut hash, mut total, mut buffer) = (Sha256::new(), 0, vec![0; CHUNK]);
    loop {
        match stream.read(&mut buffer)? {
            0 => break,
            count => {
                hash.update(&buffer[..count]);
                total += count as u64;
            }
        }
    }
    let hex = hash
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    Ok((total, hex))
}

/// The hash of [`Content::new`] of that length.
pub fn expected_digest(len: u64) -> String {
    digest(Content::new(len))
        .expect("reading from memory does not fail")
        .1
}
