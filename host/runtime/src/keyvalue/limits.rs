//! Limits on what a guest passes to an operation. They are checked before a store is asked.

use bytes::Bytes;
use wasi_http_host_keyvalue::{Error, MAX_KEY_BYTES, MAX_VALUE_BYTES};

/// Most keys in one batch call.
const MAX_BATCH_KEYS: usize = 1024;

pub(super) fn key(key: &str) -> Result<(), Error> {
    if key.len() <= MAX_KEY_BYTES {
        return Ok(());
    }
    let start: String = key.chars().take(32).collect();
    Err(Error::other(format_args!(
        "key {start:?}… has {} bytes, over the limit of {MAX_KEY_BYTES}",
        key.len()
    )))
}

pub(super) fn value(key: &str, value: &[u8]) -> Result<(), Error> {
    if value.len() <= MAX_VALUE_BYTES {
        return Ok(());
    }
    Err(Error::other(format_args!(
        "the value of {key:?} has {} bytes, over the limit of {MAX_VALUE_BYTES}",
        value.len()
    )))
}

pub(super) fn keys(keys: &[String]) -> Result<(), Error> {
    batch(keys.len())?;
    keys.iter().try_for_each(|each| key(each))
}

pub(super) fn pairs(pairs: &[(String, Bytes)]) -> Result<(), Error> {
    batch(pairs.len())?;
    pairs.iter().try_for_each(|(name, bytes)| key(name).and_then(|()| value(name, bytes)))
}

fn batch(keys: usize) -> Result<(), Error> {
    if keys <= MAX_BATCH_KEYS {
        return Ok(());
    }
    Err(Error::other(format_args!("a batch of {keys} keys is over the limit of {MAX_BATCH_KEYS}")))
}
