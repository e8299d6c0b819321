//! Parts of messages as containerd wants them.

use std::time::{SystemTime, UNIX_EPOCH};

use containerd_shim_protos::protobuf::{
    MessageFull,
    well_known_types::{any::Any, timestamp::Timestamp},
};

use crate::error::{Error, Result};

/// `at` as a message.
pub(crate) fn stamp(at: SystemTime) -> Timestamp {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp {
        seconds: i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(since.subsec_nanos()).unwrap_or(0),
        ..Timestamp::default()
    }
}

/// `message` with its type's name. containerd's names have no host before them.
pub(crate) fn any<M: MessageFull>(message: &M) -> Result<Any> {
    let value = message.write_to_bytes().map_err(|error| Error::Other(error.to_string()))?;
    Ok(Any { type_url: M::descriptor().full_name().to_owned(), value, ..Any::default() })
}
