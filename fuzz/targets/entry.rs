//! Input: the bytes of a cache entry. Bytes that cannot be decoded are a miss. A decoded entry, encoded again, decodes to the same.
#![no_main]

use gists::cache::entry::{FORMAT, MAX_VALIDATOR, Record};
use libfuzzer_sys::{Corpus, fuzz_mutator, fuzz_target, fuzzer_mutate};

const TRAILER: usize = 102;

fuzz_target!(|bytes: &[u8]| -> Corpus {
    let Some(record) = Record::decode(bytes.to_vec()) else { return Corpus::Keep };
    let kept = record.content.as_ref().and_then(|content| content.validator.as_ref());
    // Encoding leaves out a validator that is longer than this version writes.
    if kept.is_none_or(|validator| validator.len() <= MAX_VALIDATOR) {
        assert_eq!(Record::decode(record.encode()).as_ref(), Some(&record));
    }
    Corpus::Keep
});

// Few random inputs are entries. Half of the mutations write a valid trailer.
fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    let size = fuzzer_mutate(data, size, max_size);
    if seed % 2 == 0 && size >= TRAILER {
        let body = u32::try_from(size - TRAILER).unwrap_or(0);
        data[size - 2..size].copy_from_slice(FORMAT.as_bytes());
        data[size - 6..size - 2].copy_from_slice(&body.to_le_bytes());
        data[size - 8..size - 6].copy_from_slice(&[0, 0]);
        data[size - 11] &= 0b1_1011;
    }
    size
});
