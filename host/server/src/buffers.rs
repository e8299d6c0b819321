//! The sizes of a connection's buffers and windows.

/// The minimum that hyper accepts as the maximum size of its buffer.
const LEAST_BUFFER: usize = 8 << 10;
/// Maximum number of bytes of a response that wait for the client in the process, besides those in the kernel.
pub(super) const WRITE_BUFFER: usize = 128 << 10;
/// Maximum number of bytes that an HTTP/2 client may send and the component has not read: of one request's body, and of
/// all bodies of the connection.
pub(super) const STREAM_WINDOW: u32 = 128 << 10;
pub(super) const CONNECTION_WINDOW: u32 = 256 << 10;
/// Memory of a connection beside its buffers for heads and bodies: the task, the state of HTTP/2 and TLS, and TLS
/// records of both directions.
const OTHER_BYTES: usize = 128 << 10;

/// The size of each of the two buffers of an HTTP/1.1 connection.
pub(super) fn http1_buffer(max_header_bytes: usize) -> usize {
    max_header_bytes.max(WRITE_BUFFER).max(LEAST_BUFFER)
}

/// The most bytes that a connection takes, besides the responses of its requests. `max_header_bytes` is the limit of a
/// request's head.
pub(super) fn most_bytes(max_header_bytes: usize) -> u64 {
    let http1 = 2 * http1_buffer(max_header_bytes);
    let http2 = max_header_bytes + WRITE_BUFFER + usize::try_from(CONNECTION_WINDOW).unwrap_or(usize::MAX);
    (http1.max(http2) + OTHER_BYTES) as u64
}

/// The most bytes that wait for the client in an HTTP/2 stream.
pub(super) const MOST_STREAM_BYTES: u64 = WRITE_BUFFER as u64;
