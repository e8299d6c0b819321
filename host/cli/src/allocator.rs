//! mimalloc as the program's allocator, without mimalloc's detour for alignments that it guarantees anyway.
//!
//! `mimalloc::MiMalloc` asks for each alignment by `mi_malloc_aligned`, which takes twice the instructions of `mi_malloc`
//! and four times for some sizes. A cached answer needs some sixty allocations.

use std::alloc::{GlobalAlloc, Layout};

use libmimalloc_sys::{
    mi_free, mi_malloc, mi_malloc_aligned, mi_realloc, mi_realloc_aligned, mi_zalloc, mi_zalloc_aligned,
};

/// `MI_MAX_ALIGN_SIZE`: mimalloc aligns each block of at least this size to this size, and a smaller block of a power
/// of two to its own size.
const GUARANTEED: usize = 16;

/// The allocator of the process.
pub(crate) struct Mimalloc;

fn is_guaranteed(size: usize, align: usize) -> bool {
    align <= GUARANTEED && align <= size
}

#[expect(unsafe_code, reason = "an allocator hands out raw memory")]
// SAFETY: mimalloc returns blocks of at least the size that was asked for, or null. Their alignment is what was asked
// for, or `is_guaranteed`. It frees and resizes blocks of all its functions alike, and does not unwind.
unsafe impl GlobalAlloc for Mimalloc {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let (size, align) = (layout.size(), layout.align());
        // SAFETY: these functions take any size, and any power of two as the alignment.
        unsafe {
            if is_guaranteed(size, align) { mi_malloc(size) } else { mi_malloc_aligned(size, align) }.cast()
        }
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        let (size, align) = (layout.size(), layout.align());
        // SAFETY: as in `alloc`.
        unsafe {
            if is_guaranteed(size, align) { mi_zalloc(size) } else { mi_zalloc_aligned(size, align) }.cast()
        }
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, _: Layout) {
        // SAFETY: the caller passes a block that this allocator has returned and that is in use.
        unsafe { mi_free(block.cast()) }
    }

    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let align = layout.align();
        // SAFETY: as in `alloc` and `dealloc`.
        unsafe {
            if is_guaranteed(size, align) {
                mi_realloc(block.cast(), size)
            } else {
                mi_realloc_aligned(block.cast(), size, align)
            }
            .cast()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(unsafe_code, reason = "an allocator hands out raw memory")]
    fn each_block_has_its_alignment() {
        for shift in 0..8 {
            let align = 1 << shift;
            for size in 1..2_000 {
                let layout = Layout::from_size_align(size, align).unwrap();
                // SAFETY: the size is not zero, and each block is freed once with its layout.
                unsafe {
                    let block = Mimalloc.alloc(layout);
                    assert!(block.addr().is_multiple_of(align), "{layout:?}");
                    let block = Mimalloc.realloc(block, layout, size * 3);
                    assert!(block.addr().is_multiple_of(align), "{layout:?} three times as large");
                    Mimalloc.dealloc(block, Layout::from_size_align(size * 3, align).unwrap());
                    let block = Mimalloc.alloc_zeroed(layout);
                    assert!(block.addr().is_multiple_of(align), "{layout:?} of zeros");
                    assert_eq!(std::slice::from_raw_parts(block, size), vec![0; size]);
                    Mimalloc.dealloc(block, layout);
                }
            }
        }
    }
}
