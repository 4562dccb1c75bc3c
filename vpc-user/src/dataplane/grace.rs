//! Waiting until no program sees what was just replaced.
//!
//! The kernel lets whoever changes an entry of a map of maps wait until every program
//! that may have seen the old one has ended. Programs run to their end without a
//! pause, so that holds for everything that was written before the change, whatever
//! map it is in.

use std::{io, os::fd::OwnedFd};

use super::bpf;

/// A map of maps that no program uses.
pub struct Grace {
    outer: OwnedFd,
    inner: OwnedFd,
}

impl Grace {
    /// Makes the maps.
    pub fn open() -> io::Result<Self> {
        let inner = bpf::make_array(None)?;
        let outer = bpf::make_array(Some(&inner))?;
        Ok(Self { outer, inner })
    }

    /// Returns once every program that ran when it was called has ended: some
    /// milliseconds.
    pub fn wait(&self) -> io::Result<()> {
        bpf::set_inner(&self.outer, &self.inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_ends() {
        if !nix::unistd::geteuid().is_root() {
            eprintln!("maps are made by root: not tested");
            return;
        }
        let grace = Grace::open().expect("the kernel has maps of maps");
        for _ in 0..3 {
            grace.wait().expect("an entry is replaced");
        }
    }
}
