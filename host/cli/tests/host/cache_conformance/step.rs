//! One request of a case: what the origin answers, and what the client must get.

use std::io;

use testkit::http::Response;

use super::origin::{Answer, Asked};

/// Who answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// The origin. The host has not made the request conditional.
    Origin,
    /// The cache alone.
    Cache,
    /// The origin answers a conditional request of the host's.
    Validation,
}

/// What breaks off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Failure {
    Head,
    Body,
}

#[derive(Debug, Clone, Copy)]
#[must_use]
pub(super) struct Step {
    pub(super) method: &'static str,
    /// What follows the case's own path, with the query.
    pub(super) path: &'static str,
    /// The client's fields, one in a line.
    pub(super) request: &'static str,
    /// The origin's body; `answer` and the request's number if empty.
    pub(super) body: &'static str,
    source: Source,
    origin_status: u16,
    origin_fields: &'static str,
    failure: Option<Failure>,
    status: u16,
    body_of: Option<usize>,
    text: Option<&'static str>,
    asks: &'static str,
    has: &'static str,
    lacks: &'static str,
}

/// A `GET` that the origin answers with a 200 and these fields.
pub(super) const fn origin(fields: &'static str) -> Step {
    Step {
        method: "GET",
        path: "",
        request: "",
        body: "",
        source: Source::Origin,
        origin_status: 200,
        origin_fields: fields,
        failure: None,
        status: 200,
        body_of: None,
        text: None,
        asks: "",
        has: "",
        lacks: "",
    }
}

/// A `GET` that the cache answers with a 200 and the body of the first request.
pub(super) const fn cached() -> Step {
    Step { source: Source::Cache, body_of: Some(0), origin_status: 500, ..origin("") }
}

/// A `GET` for which the host sends the origin a request with the field `condition`. The origin answers with a 304 and these fields, the
/// client gets a 200 with the body of the first request.
pub(super) const fn validated(condition: &'static str, fields: &'static str) -> Step {
    Step {
        asks: condition,
        source: Source::Validation,
        body_of: Some(0),
        origin_status: 304,
        ..origin(fields)
    }
}

impl Step {
    /// Another method.
    pub(super) const fn method(self, method: &'static str) -> Self {
        Self { method, ..self }
    }

    /// Another address: below the case's own path, or with a query.
    pub(super) const fn path(self, path: &'static str) -> Self {
        Self { path, ..self }
    }

    /// The client's fields, one in a line.
    pub(super) const fn with(self, request: &'static str) -> Self {
        Self { request, ..self }
    }

    /// The status of the origin's answer and the client's.
    pub(super) const fn status(self, status: u16) -> Self {
        Self { origin_status: status, status, ..self }
    }

    /// The status that the client gets, where the origin's differs.
    pub(super) const fn client_gets(self, status: u16) -> Self {
        Self { status, ..self }
    }

    /// The origin's status to a conditional request, in place of 304. The client gets the origin's answer.
    pub(super) const fn replaced(self, status: u16) -> Self {
        Self { body_of: None, ..self.status(status) }
    }

    /// The origin's body.
    pub(super) const fn body(self, body: &'static str) -> Self {
        Self { body, ..self }
    }

    /// The body that the client gets is the origin's of the request with this number.
    pub(super) const fn body_of(self, number: usize) -> Self {
        Self { body_of: Some(number), ..self }
    }

    /// The body that the client gets.
    pub(super) const fn text(self, text: &'static str) -> Self {
        Self { text: Some(text), ..self }
    }

    /// The origin closes the connection before its response is complete.
    pub(super) const fn breaks_off(self) -> Self {
        Self { failure: Some(Failure::Body), ..self }
    }

    /// The origin sends what is no response. The component fails, and the host answers with this status.
    pub(super) const fn fails(self, status: u16) -> Self {
        Self { failure: Some(Failure::Head), status, ..self }
    }

    /// Fields of the request that reaches the origin, one in a line. A name without a value must be absent.
    pub(super) const fn asks(self, fields: &'static str) -> Self {
        Self { asks: fields, ..self }
    }

    /// Fields of the client's answer, one in a line.
    pub(super) const fn has(self, fields: &'static str) -> Self {
        Self { has: fields, ..self }
    }

    /// Names of fields that the client's answer does not have, one in a line.
    pub(super) const fn lacks(self, names: &'static str) -> Self {
        Self { lacks: names, ..self }
    }

    /// Whether the client gets no whole response.
    pub(super) fn is_broken_off(&self) -> bool {
        self.failure == Some(Failure::Body)
    }

    pub(super) fn answer(&self, body: &str) -> Answer {
        if self.failure == Some(Failure::Head) {
            return Answer::BreakOff(b"no response\r\n\r\n".to_vec());
        }
        let bodiless = matches!(self.origin_status, 204 | 304);
        let mut head = format!("HTTP/1.1 {} Some Phrase\r\n", self.origin_status);
        if self.failure.is_some() {
            head.push_str("content-length: 100\r\n");
        } else if !bodiless {
            head.push_str(&format!("content-length: {}\r\n", body.len()));
        }
        for (name, value) in lines(self.origin_fields) {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        let sent = if bodiless || self.method == "HEAD" { "" } else { body };
        let bytes = [head.as_bytes(), sent.as_bytes()].concat();
        if self.failure.is_some() { Answer::BreakOff(bytes) } else { Answer::Send(bytes) }
    }

    /// Panics if another one has answered than this step says.
    pub(super) fn check_source(&self, what: &str, asked: &[Asked], response: &io::Result<Response>) {
        let conditional = asked.iter().any(|request| {
            let own = ["if-none-match", "if-modified-since"].map(|name| request.field(name).is_some());
            own != ["if-none-match", "if-modified-since"]
                .map(|name| lines(self.request).any(|(own, _)| own == name))
        });
        let source = match (asked.len(), conditional) {
            (0, _) => Source::Cache,
            (1, false) => Source::Origin,
            (1, true) => Source::Validation,
            (more, _) => panic!("{what}: {more} requests reached the origin"),
        };
        assert_eq!(source, self.source, "{what}: {response:?}");
        if let [request] = asked {
            for (name, value) in lines(self.asks) {
                let wanted = (!value.is_empty()).then(|| value.to_owned());
                assert_eq!(request.field(name), wanted, "{what}: {name} of the request to the origin");
            }
        }
    }

    /// Panics if the client's answer to the request with this number is not as this step says.
    pub(super) fn check_response(&self, what: &str, bodies: &[String], number: usize, response: &Response) {
        assert_eq!(response.status, self.status, "{what}: {:?}", response.headers);
        let bodiless = matches!(self.status, 204 | 304) || self.method == "HEAD";
        let wanted = match (self.text, self.body_of) {
            (Some(text), _) => text,
            _ if bodiless => "",
            (None, of) => &bodies[of.unwrap_or(number)],
        };
        if self.failure.is_none() {
            assert_eq!(response.text(), wanted, "{what}");
        }
        for (name, value) in lines(self.has) {
            let values: Vec<_> = response
                .headers
                .iter()
                .filter(|(known, _)| known == name)
                .map(|(_, value)| value.as_str())
                .collect();
            assert_eq!(values.join(", "), value, "{what}: {name} of {:?}", response.headers);
        }
        for name in self.lacks.lines() {
            assert!(
                !response.headers.iter().any(|(known, _)| known == name),
                "{what}: {:?}",
                response.headers
            );
        }
    }
}

/// The name and the value of each line.
pub(super) fn lines(fields: &'static str) -> impl Iterator<Item = (&'static str, &'static str)> {
    fields.lines().map(|line| {
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        (name, value.trim())
    })
}
