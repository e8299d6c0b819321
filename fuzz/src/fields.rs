//! Fields of a message out of a fuzzer's input.

use http::{HeaderMap, HeaderName, HeaderValue};

/// Reads lines `name: value` up to an empty line. Lines that are no field are left out. Returns the rest, too.
#[must_use]
pub fn fields(text: &[u8]) -> (HeaderMap, &[u8]) {
    let (mut headers, mut rest) = (HeaderMap::new(), text);
    while !rest.is_empty() {
        let end = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
        let line = &rest[..end];
        rest = rest.get(end + 1..).unwrap_or_default();
        if line.is_empty() {
            break;
        }
        let colon = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
        let value = line.get(colon + 1..).unwrap_or_default().trim_ascii();
        if let (Ok(name), Ok(value)) =
            (HeaderName::from_bytes(&line[..colon]), HeaderValue::from_bytes(value))
        {
            headers.append(name, value);
        }
    }
    (headers, rest)
}

/// The lines of a text that can be values of a field.
#[must_use]
pub fn values(text: &[u8]) -> Vec<HeaderValue> {
    let lines = text.split(|byte| *byte == b'\n');
    lines.filter_map(|line| HeaderValue::from_bytes(line.trim_ascii()).ok()).collect()
}

/// The members of a line as a reader takes them that knows nothing of quoted strings, in lower case.
pub fn naive_members(line: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    line.split(|byte| *byte == b',').map(|member| member.trim_ascii().to_ascii_lowercase())
}
