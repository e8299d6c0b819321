//! The allocator of components: lists of free blocks by size, in front of another allocator.
//!
//! A request allocates some dozens of blocks, of the same sizes as the request before. Taking a block from a list costs a tenth of
//! the instructions of `dlmalloc`, which searches its bins and merges neighbours.

use std::alloc::{GlobalAlloc, Layout};
use std::cell::UnsafeCell;
use std::ptr;

/// The size of the smallest block in bytes.
const UNIT: usize = 16;
/// The alignment of all blocks. `System` finds blocks of a larger alignment in a slower way.
const ALIGNMENT: usize = 8;
/// Blocks up to this size have lists for each multiple of [`UNIT`]; larger ones for each power of two.
const FINE: usize = 256;
/// The size of the largest block that has a list. The bodies of most pages fit.
const LARGEST: usize = 32 * 1024;
const FINE_CLASSES: usize = FINE / UNIT;
const CLASSES: usize = FINE_CLASSES + (LARGEST / FINE).trailing_zeros() as usize;
/// How many bytes of free blocks a list keeps, but always one block. What a burst of requests needed goes back.
const KEPT_BYTES: usize = 32 * 1024;

/// An allocator that keeps freed blocks of `inner` for the next request.
#[derive(Debug)]
pub struct BlockLists<A> {
    inner: A,
    lists: UnsafeCell<[List; CLASSES]>,
}

/// Free blocks of one size. The first word of each block points to the next one.
#[derive(Debug, Clone, Copy)]
struct List {
    first: *mut Block,
    length: usize,
}

#[derive(Debug)]
struct Block {
    next: *mut Block,
}

impl<A> BlockLists<A> {
    /// Lists without blocks, in front of `inner`.
    pub const fn new(inner: A) -> Self {
        Self { inner, lists: UnsafeCell::new([List { first: ptr::null_mut(), length: 0 }; CLASSES]) }
    }
}

/// The list for `layout`; `None` if its blocks come from the inner allocator.
#[inline(always)]
fn class(layout: Layout) -> Option<usize> {
    let size = layout.size();
    if layout.align() > ALIGNMENT || size > LARGEST {
        None
    } else if size <= FINE {
        Some(size.saturating_sub(1) / UNIT)
    } else {
        // 257 to 512 bytes are the first power of two.
        Some(FINE_CLASSES + ((size - 1) / FINE).ilog2() as usize)
    }
}

/// The size of the blocks of a list in bytes.
const fn size(class: usize) -> usize {
    if class < FINE_CLASSES { (class + 1) * UNIT } else { FINE << (class - FINE_CLASSES + 1) }
}

/// The layout of the blocks of a list, which suits every layout of the class.
#[expect(unsafe_code, reason = "the check would be made for each block")]
fn block(class: usize) -> Layout {
    // SAFETY: the alignment is a power of two, and no size comes near `isize::MAX`.
    unsafe { Layout::from_size_align_unchecked(size(class), ALIGNMENT) }
}

#[expect(unsafe_code, reason = "the interface of allocators")]
impl<A: GlobalAlloc> BlockLists<A> {
    /// # Safety
    /// No other reference to a list may exist.
    #[expect(clippy::mut_from_ref, reason = "the interface of allocators shares `self`")]
    unsafe fn list(&self, class: usize) -> Option<&mut List> {
        // SAFETY: the pointer is valid, and the caller's promise excludes other references.
        unsafe { (*self.lists.get()).get_mut(class) }
    }
}

// SAFETY: a block in a list belongs to nobody else, and has the layout of its class, which suits every layout of the class.
#[expect(unsafe_code, reason = "the interface of allocators")]
unsafe impl<A: GlobalAlloc> GlobalAlloc for BlockLists<A> {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let Some(class) = class(layout) else {
            // SAFETY: the caller's.
            return unsafe { self.inner.alloc(layout) };
        };
        // SAFETY: no reference to a list outlives a function of this implementation, and none of them calls another one meanwhile.
        if let Some(list) = unsafe { self.list(class) }
            && !list.first.is_null()
        {
            let first = list.first;
            // SAFETY: `dealloc` wrote a block there.
            list.first = unsafe { (*first).next };
            list.length -= 1;
            return first.cast();
        }
        // SAFETY: the size is not 0.
        unsafe { self.inner.alloc(block(class)) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        let Some(class) = class(layout) else {
            // SAFETY: `alloc` got it from there with the same layout.
            return unsafe { self.inner.dealloc(pointer, layout) };
        };
        // SAFETY: as in `alloc`.
        match unsafe { self.list(class) } {
            Some(list) if list.length == 0 || (list.length + 1) * size(class) <= KEPT_BYTES => {
                let block = pointer.cast::<Block>();
                // SAFETY: each block has room for a pointer and is aligned for one.
                unsafe { block.write(Block { next: list.first }) };
                list.first = block;
                list.length += 1;
            }
            // SAFETY: `alloc` got it from there with the layout of its class.
            _ => unsafe { self.inner.dealloc(pointer, block(class)) },
        }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: the caller's.
        let new_layout = unsafe { Layout::from_size_align_unchecked(new_size, layout.align()) };
        match (class(layout), class(new_layout)) {
            // SAFETY: the caller's; `alloc` got it from there with the same layout.
            (None, None) => unsafe { self.inner.realloc(pointer, layout, new_size) },
            (old, new) if old == new => pointer,
            _ => {
                // SAFETY: the caller's; both blocks are valid, different, and at least as long as the shorter layout.
                unsafe {
                    let moved = self.alloc(new_layout);
                    if !moved.is_null() {
                        ptr::copy_nonoverlapping(pointer, moved, layout.size().min(new_size));
                        self.dealloc(pointer, layout);
                    }
                    moved
                }
            }
        }
    }
}

/// The allocator of a component: [`BlockLists`] in front of the system's.
///
/// Its functions are not inlined, and have no argument but a layout: there are thousands of calls, and each would be longer.
#[cfg(target_family = "wasm")]
#[derive(Debug)]
pub struct ComponentAllocator;

#[cfg(target_family = "wasm")]
static LISTS: BlockLists<std::alloc::System> = BlockLists::new(std::alloc::System);

// SAFETY: `BlockLists` keeps the promises of the interface.
#[cfg(target_family = "wasm")]
#[expect(unsafe_code, reason = "the interface of allocators")]
unsafe impl GlobalAlloc for ComponentAllocator {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        #[inline(never)]
        unsafe fn alloc(layout: Layout) -> *mut u8 {
            // SAFETY: the caller's.
            unsafe { LISTS.alloc(layout) }
        }
        // SAFETY: the caller's.
        unsafe { alloc(layout) }
    }

    #[inline]
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        #[inline(never)]
        unsafe fn dealloc(pointer: *mut u8, layout: Layout) {
            // SAFETY: the caller's.
            unsafe { LISTS.dealloc(pointer, layout) }
        }
        // SAFETY: the caller's.
        unsafe { dealloc(pointer, layout) }
    }

    #[inline]
    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        #[inline(never)]
        unsafe fn realloc(pointer: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
            // SAFETY: the caller's.
            unsafe { LISTS.realloc(pointer, layout, new_size) }
        }
        // SAFETY: the caller's.
        unsafe { realloc(pointer, layout, new_size) }
    }
}

// SAFETY: WebAssembly has one thread here. Natively, no test shares lists between threads.
#[expect(unsafe_code, reason = "a global allocator must be shareable")]
#[cfg(target_family = "wasm")]
unsafe impl<A: Sync> Sync for BlockLists<A> {}

#[cfg(test)]
#[expect(
    clippy::undocumented_unsafe_blocks,
    reason = "the tests follow the interface of allocators, which the properties check"
)]
mod tests {
    use std::alloc::System;
    use std::cell::Cell;

    use proptest::prelude::*;

    use super::*;

    /// Counts the blocks that it has given and not got back, and checks that each comes back as it was given.
    #[derive(Default)]
    struct Counting {
        blocks: Cell<usize>,
        bytes: Cell<usize>,
    }

    #[expect(unsafe_code, reason = "the interface of allocators")]
    unsafe impl GlobalAlloc for Counting {
        unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
            self.blocks.set(self.blocks.get() + 1);
            self.bytes.set(self.bytes.get() + layout.size());
            unsafe { System.alloc(layout) }
        }

        unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
            self.blocks.set(self.blocks.get() - 1);
            self.bytes.set(self.bytes.get() - layout.size());
            unsafe { System.dealloc(pointer, layout) }
        }
    }

    #[test]
    fn each_size_has_a_class_whose_blocks_suit_it_and_are_less_than_twice_as_long() {
        for bytes in 0..=LARGEST {
            let class = class(Layout::from_size_align(bytes, 8).unwrap()).unwrap();
            assert!(class < CLASSES && block(class).size() == size(class), "{bytes}");
            assert!(size(class) >= bytes && size(class) < 2 * bytes.max(UNIT), "{bytes}: {}", size(class));
        }
        assert_eq!(class(Layout::from_size_align(LARGEST + 1, 8).unwrap()), None);
        assert_eq!(class(Layout::from_size_align(32, 16).unwrap()), None);
    }

    #[test]
    #[expect(unsafe_code, reason = "the interface of allocators")]
    fn what_is_freed_is_given_again_and_only_a_bounded_part_of_it_is_kept() {
        let lists = BlockLists::new(Counting::default());
        let layout = Layout::from_size_align(100, 8).unwrap();
        let first = unsafe { lists.alloc(layout) };
        unsafe { lists.dealloc(first, layout) };
        assert_eq!(unsafe { lists.alloc(layout) }, first);
        let more: Vec<_> = (0..1000).map(|_| unsafe { lists.alloc(layout) }).collect();
        assert_eq!(lists.inner.blocks.get(), 1001);
        for block in more.into_iter().chain([first]) {
            unsafe { lists.dealloc(block, layout) };
        }
        assert_eq!(lists.inner.bytes.get(), KEPT_BYTES / 112 * 112);
        for bytes in [20_000, LARGEST] {
            let layout = Layout::from_size_align(bytes, 8).unwrap();
            let (one, other) = unsafe { (lists.alloc(layout), lists.alloc(layout)) };
            unsafe { lists.dealloc(one, layout) };
            let blocks = lists.inner.blocks.get();
            unsafe { lists.dealloc(other, layout) };
            assert_eq!(lists.inner.blocks.get(), blocks - 1, "{bytes}");
        }
    }

    proptest! {
        #[test]
        #[expect(unsafe_code, reason = "the interface of allocators")]
        fn blocks_keep_their_bytes_and_do_not_overlap(
            steps in proptest::collection::vec((0_usize..8, 1_usize..70_000, any::<bool>()), 1..200),
        ) {
            let lists = BlockLists::new(Counting::default());
            let mut held: [Option<(*mut u8, usize, u8)>; 8] = [None; 8];
            let layout = |bytes| Layout::from_size_align(bytes, 8).unwrap();
            let is_filled = |(pointer, bytes, mark): (*mut u8, usize, u8)| {
                unsafe { std::slice::from_raw_parts(pointer, bytes) }.iter().all(|byte| *byte == mark)
            };
            for (step, (place, bytes, grows)) in (0..=u8::MAX).cycle().zip(steps) {
                let pointer = match held[place].take() {
                    None => unsafe { lists.alloc(layout(bytes)) },
                    Some(block) if grows => {
                        prop_assert!(is_filled(block));
                        let moved = unsafe { lists.realloc(block.0, layout(block.1), bytes) };
                        prop_assert!(is_filled((moved, bytes.min(block.1), block.2)));
                        moved
                    }
                    Some(block) => {
                        prop_assert!(is_filled(block));
                        unsafe { lists.dealloc(block.0, layout(block.1)) };
                        continue;
                    }
                };
                unsafe { pointer.write_bytes(step, bytes) };
                held[place] = Some((pointer, bytes, step));
            }
            for block in held.into_iter().flatten() {
                prop_assert!(is_filled(block));
                unsafe { lists.dealloc(block.0, layout(block.1)) };
            }
            prop_assert!(lists.inner.bytes.get() <= CLASSES * 2 * KEPT_BYTES);
        }
    }
}
