//! Well-known protobuf types in the form that containerd expects.

use std::time::{SystemTime, UNIX_EPOCH};

use containerd_shim_protos::protobuf::{
    MessageFull,
    well_known_types::{any::Any, timestamp::Timestamp},
};

use crate::error::{Error, Result};

/// Converts a time to `google.protobuf.Timestamp`. A time before 1970 becomes 0.
pub(crate) fn timestamp(at: SystemTime) -> Timestamp {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp {
        seconds: i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(since.subsec_nanos()).unwrap_or(0),
        ..Timestamp::default()
    }
}

/// Packs `message` into `google.protobuf.Any`. The type URL is the bare type name: containerd uses no host prefix.
///
/// # Errors
/// When the message cannot be encoded.
pub(crate) fn any<M: MessageFull>(message: &M) -> Result<Any> {
    let value = message.write_to_bytes().map_err(|error| Error::Other(error.to_string()))?;
    Ok(Any { type_url: M::descriptor().full_name().to_owned(), value, ..Any::default() })
}
