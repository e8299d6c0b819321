//! An origin in the test's process. It answers what the test says, and keeps the requests.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use testkit::ports::listen;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

/// What the origin does with a request.
#[derive(Debug, Clone)]
pub(super) enum Answer {
    /// Sends these bytes.
    Send(Vec<u8>),
    /// Sends these bytes and closes the connection.
    BreakOff(Vec<u8>),
}

/// The head of a request: the method, and fields with their names in lower case.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) method: String,
    pub(super) fields: Vec<(String, String)>,
}

impl Asked {
    /// The values of a field, with commas between them.
    pub(super) fn field(&self, name: &str) -> Option<String> {
        let values: Vec<_> =
            self.fields.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str()).collect();
        (!values.is_empty()).then(|| values.join(", "))
    }
}

#[derive(Debug, Default)]
struct Target {
    next: Option<Answer>,
    asked: Vec<Asked>,
}

type Targets = Arc<Mutex<HashMap<String, Target>>>;

pub(super) struct Origin {
    address: SocketAddr,
    targets: Targets,
}

impl Origin {
    pub(super) async fn start() -> Self {
        let (listener, address) = listen().await;
        let targets = Targets::default();
        let shared = Arc::clone(&targets);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&shared)));
            }
        });
        Self { address, targets }
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers the requests for this target in this way from now on.
    pub(super) fn answer_next(&self, target: &str, answer: Answer) {
        self.targets.lock().unwrap().entry(target.to_owned()).or_default().next = Some(answer);
    }

    /// The requests for this target so far.
    pub(super) fn requests(&self, target: &str) -> Vec<Asked> {
        self.targets.lock().unwrap().get(target).map(|target| target.asked.clone()).unwrap_or_default()
    }
}

async fn serve(mut stream: TcpStream, targets: Targets) {
    let mut buffer = Vec::new();
    while let Some((target, asked)) = read_request(&mut stream, &mut buffer).await {
        let answer = {
            let mut targets = targets.lock().unwrap();
            let target = targets.entry(target).or_default();
            target.asked.push(asked);
            target.next.clone()
        };
        let (bytes, goes_on) = match answer {
            Some(Answer::Send(bytes)) => (bytes, true),
            Some(Answer::BreakOff(bytes)) => (bytes, false),
            None => (b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n".to_vec(), true),
        };
        if stream.write_all(&bytes).await.is_err() || !goes_on {
            return;
        }
    }
}

/// Reads a request with its body. Returns the target and the head; `None` when the connection ends.
async fn read_request(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<(String, Asked)> {
    let end = loop {
        if let Some(at) = buffer.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            break at + 4;
        }
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8_lossy(&buffer[..end]).into_owned();
    let mut lines = head.trim_end().split("\r\n");
    let mut first = lines.next()?.split(' ');
    let (method, target) = (first.next()?.to_owned(), first.next()?.to_owned());
    let fields: Vec<_> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let asked = Asked { method, fields };
    buffer.drain(..end);
    if asked.field("transfer-encoding").is_some() {
        while !buffer.ends_with(b"0\r\n\r\n") {
            stream.read_buf(buffer).await.ok()?;
        }
        buffer.clear();
    } else {
        let length = asked.field("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
        while buffer.len() < length {
            stream.read_buf(buffer).await.ok()?;
        }
        buffer.drain(..length);
    }
    Some((target, asked))
}
