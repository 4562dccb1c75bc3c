//! Words that several CPUs write, in the kernel and in host tests.
//!
//! The BPF targets say `atomic-cas: false`, so `core::sync::atomic` offers no
//! read-modify-write there; with `target-cpu=v3` the instructions exist and are
//! reached through compiler intrinsics. Every operation whose result is used is
//! `AcqRel`: up to LLVM 22 a `Relaxed` fetch-add becomes the non-fetching
//! instruction and returns the addend (llvm/llvm-project#210280).

use core::cell::UnsafeCell;

macro_rules! shared_word {
    ($(#[$doc:meta])* $name:ident, $word:ty, $atomic:ty) => {
        $(#[$doc])*
        #[repr(transparent)]
        #[derive(Default)]
        pub struct $name(UnsafeCell<$word>);

        // SAFETY: every access below is atomic.
        unsafe impl Sync for $name {}

        impl $name {
            /// A word with a value.
            pub const fn new(value: $word) -> Self {
                Self(UnsafeCell::new(value))
            }
        }

        #[cfg(not(target_arch = "bpf"))]
        impl $name {
            fn atomic(&self) -> &$atomic {
                // SAFETY: the cell is as large and as aligned as the atomic, and
                // nothing accesses it in any other way.
                unsafe { <$atomic>::from_ptr(self.0.get()) }
            }

            /// The value now.
            pub fn load(&self) -> $word {
                self.atomic().load(core::sync::atomic::Ordering::Acquire)
            }

            /// Sets the value.
            pub fn store(&self, value: $word) {
                self.atomic().store(value, core::sync::atomic::Ordering::Release);
            }

            /// Adds, for a sum that nobody reads back here.
            pub fn add(&self, value: $word) {
                self.atomic().fetch_add(value, core::sync::atomic::Ordering::Relaxed);
            }

            /// Adds; returns the value before. Subtract by adding the negative.
            pub fn fetch_add(&self, value: $word) -> $word {
                self.atomic().fetch_add(value, core::sync::atomic::Ordering::AcqRel)
            }

            /// Keeps the bits of `mask`; returns the value before.
            pub fn fetch_and(&self, mask: $word) -> $word {
                self.atomic().fetch_and(mask, core::sync::atomic::Ordering::AcqRel)
            }

            /// Sets the bits of `mask`; returns the value before.
            pub fn fetch_or(&self, mask: $word) -> $word {
                self.atomic().fetch_or(mask, core::sync::atomic::Ordering::AcqRel)
            }

            /// Replaces `current` by `new`; whether it did.
            pub fn compare_exchange(&self, current: $word, new: $word) -> bool {
                use core::sync::atomic::Ordering::{AcqRel, Acquire};
                self.atomic().compare_exchange(current, new, AcqRel, Acquire).is_ok()
            }
        }

        #[cfg(target_arch = "bpf")]
        impl $name {
            /// The value now.
            #[inline(always)]
            pub fn load(&self) -> $word {
                // SAFETY: the cell is valid for as long as `self` is; an aligned
                // load of a word is one BPF instruction.
                unsafe { self.0.get().read_volatile() }
            }

            /// Sets the value.
            #[inline(always)]
            pub fn store(&self, value: $word) {
                // SAFETY: as for `load`.
                unsafe { self.0.get().write_volatile(value) }
            }

            /// Adds, for a sum that nobody reads back here.
            #[inline(always)]
            pub fn add(&self, value: $word) {
                use core::intrinsics::{AtomicOrdering::Relaxed, atomic_xadd};
                // SAFETY: as for `load`.
                unsafe { atomic_xadd::<$word, $word, { Relaxed }>(self.0.get(), value) };
            }

            /// Adds; returns the value before. Subtract by adding the negative.
            #[inline(always)]
            pub fn fetch_add(&self, value: $word) -> $word {
                use core::intrinsics::{AtomicOrdering::AcqRel, atomic_xadd};
                // SAFETY: as for `load`.
                unsafe { atomic_xadd::<$word, $word, { AcqRel }>(self.0.get(), value) }
            }

            /// Keeps the bits of `mask`; returns the value before.
            #[inline(always)]
            pub fn fetch_and(&self, mask: $word) -> $word {
                use core::intrinsics::{AtomicOrdering::AcqRel, atomic_and};
                // SAFETY: as for `load`.
                unsafe { atomic_and::<$word, $word, { AcqRel }>(self.0.get(), mask) }
            }

            /// Sets the bits of `mask`; returns the value before.
            #[inline(always)]
            pub fn fetch_or(&self, mask: $word) -> $word {
                use core::intrinsics::{AtomicOrdering::AcqRel, atomic_or};
                // SAFETY: as for `load`.
                unsafe { atomic_or::<$word, $word, { AcqRel }>(self.0.get(), mask) }
            }

            /// Replaces `current` by `new`; whether it did.
            #[inline(always)]
            pub fn compare_exchange(&self, current: $word, new: $word) -> bool {
                use core::intrinsics::{AtomicOrdering::{AcqRel, Acquire}, atomic_cxchg};
                // SAFETY: as for `load`.
                unsafe {
                    atomic_cxchg::<$word, { AcqRel }, { Acquire }>(self.0.get(), current, new).1
                }
            }
        }

        impl core::fmt::Debug for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                self.load().fmt(f)
            }
        }

        impl Clone for $name {
            fn clone(&self) -> Self {
                Self::new(self.load())
            }
        }
    };
}

shared_word! {
    /// A 64-bit word that several CPUs write.
    Shared64, u64, core::sync::atomic::AtomicU64
}
shared_word! {
    /// A 32-bit word that several CPUs write.
    Shared32, u32, core::sync::atomic::AtomicU32
}
