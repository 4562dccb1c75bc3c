//! Tables that the kernel writes, mapped into the agent: reading a million slots
//! costs no system call.

use std::{io, marker::PhantomData, ops::Deref, os::fd::AsFd, ptr::NonNull};

use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};
use vpc_common::{
    atomic::Shared64,
    layout::{EniState, EnvironmentState, NextHop, Pool, Slab, Slot},
};

/// A value that several parties read and write at the same time.
///
/// # Safety
///
/// Everything that changes after creation is a `Shared32` or `Shared64`, every
/// bit pattern is a value, and the size is a multiple of eight, which is the
/// stride of an array map.
pub unsafe trait SharedValue: Sync {}

macro_rules! shared_values {
    ($($type:ty),+ $(,)?) => {
        $(
            const _: () = assert!(size_of::<$type>().is_multiple_of(8));
            // SAFETY: the contract says so of each: words of the atomic kinds, and
            // reserved words that nobody writes.
            unsafe impl SharedValue for $type {}
        )+
    };
}

shared_values! { Shared64, EniState, EnvironmentState, NextHop, Pool, Slab, Slot }

/// An array map made with `BPF_F_MMAPABLE`, as a slice.
pub struct Mapped<T> {
    base: NonNull<T>,
    len: usize,
    values: PhantomData<T>,
}

// SAFETY: the mapping is shared memory whose values are `Sync`, and unmapping it
// may happen on any thread.
unsafe impl<T: SharedValue> Send for Mapped<T> {}
// SAFETY: as above.
unsafe impl<T: SharedValue> Sync for Mapped<T> {}

impl<T: SharedValue> Mapped<T> {
    /// Maps the `len` values of a table.
    pub fn new(map: impl AsFd, len: u32) -> io::Result<Self> {
        let len = len as usize;
        let bytes = std::num::NonZeroUsize::new(len * size_of::<T>())
            .ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice overlaps
        // nothing; the kernel refuses a length beyond the table.
        let base = unsafe { mmap(None, bytes, protection, MapFlags::MAP_SHARED, map, 0) }?;
        Ok(Self {
            base: base.cast(),
            len,
            values: PhantomData,
        })
    }
}

impl<T> Deref for Mapped<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: `new` mapped `len` values at a page boundary and the mapping
        // lives as long as `self`; `SharedValue` makes sharing them sound.
        unsafe { std::slice::from_raw_parts(self.base.as_ptr(), self.len) }
    }
}

impl<T> Drop for Mapped<T> {
    fn drop(&mut self) {
        // SAFETY: the range is the one `new` mapped, and no slice outlives `self`.
        // Failing to unmap leaks address space and harms nothing.
        let _ = unsafe { munmap(self.base.cast(), self.len * size_of::<T>()) };
    }
}
