//! What old verifiers have to be told again.

/// `value & MASK`, which the compiler takes for news.
///
/// Where a value is known to be within bounds, LLVM drops a mask that only repeats them,
/// or moves it. The verifier of Linux 6.1 and 6.12 may have lost the bounds by then: on a
/// path that no packet takes its least value comes to lie above its greatest, and whatever
/// is added to it is no pointer any more. A mask in assembly stays where it is written.
#[inline(always)]
pub fn masked<const MASK: usize>(value: usize) -> usize {
    #[cfg(target_arch = "bpf")]
    {
        let mut value = value;
        // SAFETY: arithmetic on one register; the mask is a positive 32-bit immediate.
        unsafe {
            core::arch::asm!(
                "{value} &= {mask}",
                value = inout(reg) value,
                mask = const MASK,
                options(pure, nomem, nostack),
            );
        }
        // SAFETY: what a mask leaves is no more than the mask.
        unsafe { core::hint::assert_unchecked(value <= MASK) };
        value
    }
    #[cfg(not(target_arch = "bpf"))]
    {
        value & MASK
    }
}

/// A length from 1 to 65,536, of which 0 becomes the greatest: so one comparison tells
/// both that it is too much and that it is nothing.
///
/// The verifier of Linux 6.1 does not learn from `value != 0` that a value is 1 or more,
/// and helpers take no length that may be 0.
#[inline(always)]
pub fn at_least_one(value: usize) -> usize {
    masked::<0xffff>(value.wrapping_sub(1)) + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_is_a_mask() {
        assert_eq!(masked::<63>(20), 20);
        assert_eq!(masked::<63>(84), 20);
    }

    #[test]
    fn nothing_is_too_much() {
        assert_eq!(at_least_one(1), 1);
        assert_eq!(at_least_one(65_536), 65_536);
        assert_eq!(at_least_one(0), 65_536);
    }
}
