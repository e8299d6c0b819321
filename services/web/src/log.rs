//! Log lines: one JSON object a line.

/// The severity of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// The line describes normal operation.
    Info,
    /// The service copes, but an operator should look at the cause.
    Warn,
    /// The service does not work as intended until an operator acts.
    Error,
}

/// A JSON object of `level`, `message` and those of `fields` that have a value.
pub(crate) fn line(level: Level, message: &str, fields: &[(&str, &str)]) -> String {
    let level = match level {
        Level::Info => "INFO",
        Level::Warn => "WARN",
        Level::Error => "ERROR",
    };
    let members = [("level", level), ("message", message)];
    let members = members.iter().chain(fields).filter(|(_, value)| !value.is_empty());
    let line: serde_json::Map<_, _> =
        members.map(|(name, value)| ((*name).to_owned(), (*value).into())).collect();
    serde_json::Value::Object(line).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_the_fields_that_have_a_value() {
        let written = line(Level::Warn, "a \"quoted\"\nmessage", &[("cluster", ""), ("pod", "p-1")]);
        assert_eq!(written, r#"{"level":"WARN","message":"a \"quoted\"\nmessage","pod":"p-1"}"#);
    }
}
