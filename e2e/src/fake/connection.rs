//! One connection to the fake: read a head, record it, answer it, until either side has had enough.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::deliver::{After, deliver};
use super::journal::Call;
use super::{Answer, Shared, control, genuine};

/// Bytes of one request head and, for the control endpoint, its body.
const MAX_REQUEST: usize = 1 << 20;
const MAX_HEADERS: usize = 64;

/// A request as read from the wire.
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Whether the client asked for the connection to end with the answer.
    fn last(&self) -> bool {
        self.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"))
    }
}

/// Accepts until the task is aborted; the connections end with it.
pub(crate) async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let shared = Arc::clone(&shared);
                connections.spawn(async move {
                    // A client that breaks off is none of the fake's business.
                    let _ = serve(stream, &shared).await;
                });
            }
            // Out of file descriptors, most likely: it passes.
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
        while connections.try_join_next().is_some() {}
    }
}

async fn serve(mut stream: TcpStream, shared: &Shared) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = Vec::new();
    while let Some(request) = read_request(&mut stream, &mut buffer).await? {
        if request.path == "/_fake" || request.path.starts_with("/_fake/") {
            let answer = control::answer(shared, &request);
            deliver(&mut stream, answer.body.clone(), &answer, request.method == "HEAD").await?;
            if request.last() {
                return Ok(());
            }
            continue;
        }
        let login = genuine::login(shared, &request.path).unwrap_or_default();
        let open = shared.journal.begin(Call {
            method: request.method.clone(),
            path: request.path.clone(),
            query: request.query.clone(),
            headers: request.headers.clone(),
            login: login.clone(),
        });
        let scripted = shared.scripted(&login).unwrap_or_default();
        let may_answer = async {
            shared.unheld(&login).await;
            tokio::time::sleep(Duration::from_millis(scripted.delay_ms)).await;
        };
        tokio::select! {
            () = may_answer => {}
            () = gone(&stream) => return Ok(()),
        }
        let after = answer(&mut stream, shared, &request, scripted).await?;
        drop(open);
        match after {
            After::KeepAlive if !request.last() => {}
            After::KeepAlive | After::Close => return Ok(()),
            After::Reset => return stream.set_zero_linger(),
        }
    }
    Ok(())
}

/// Returns when the client has closed; never while it may only have nothing to say.
async fn gone(stream: &TcpStream) {
    match stream.peek(&mut [0; 1]).await {
        Ok(0) | Err(_) => {}
        // The next request is there already: leaving shows only once that is read.
        Ok(_) => std::future::pending().await,
    }
}

async fn answer(
    stream: &mut TcpStream,
    shared: &Shared,
    request: &Request,
    scripted: Answer,
) -> io::Result<After> {
    let mut answer = if scripted.status.is_some() {
        genuine::dress(scripted)
    } else {
        let truth = genuine::answer(shared, request);
        let truth = scripted.headers.iter().fold(truth, |truth, (name, value)| truth.header(name, value));
        truth.deliver(scripted.delivery)
    };
    let body = std::mem::take(&mut answer.body);
    deliver(stream, body, &answer, request.method == "HEAD").await
}

/// Reads one request; `None` when the client has closed between two.
async fn read_request(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> io::Result<Option<Request>> {
    loop {
        if let Some((mut request, head)) = parse(buffer)?
            && let Some((body, length)) = body(&request, buffer.get(head..).unwrap_or_default())?
        {
            request.body = body;
            buffer.drain(..head + length);
            return Ok(Some(request));
        }
        if buffer.len() > MAX_REQUEST {
            return Err(io::Error::other("a request over the fake's limit"));
        }
        if stream.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    }
}

/// The body at the front of `bytes`, and how many bytes it took up; `None` while it is not complete.
fn body(request: &Request, bytes: &[u8]) -> io::Result<Option<(Vec<u8>, usize)>> {
    // Proxies send on in chunks what they got in chunks.
    if request.header("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked")) {
        return chunks(bytes);
    }
    let length = request.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    Ok(bytes.get(..length).map(|body| (body.to_vec(), length)))
}

/// The chunks at the front of `bytes`, without trailers, as [`body`].
fn chunks(bytes: &[u8]) -> io::Result<Option<(Vec<u8>, usize)>> {
    let (mut body, mut at) = (Vec::new(), 0);
    loop {
        let rest = bytes.get(at..).unwrap_or_default();
        let parsed = httparse::parse_chunk_size(rest).map_err(|_| io::Error::other("not a chunk's size"))?;
        let httparse::Status::Complete((line, length)) = parsed else { return Ok(None) };
        let length = usize::try_from(length).unwrap_or(usize::MAX).min(MAX_REQUEST);
        // The chunk, or nothing for the last, and an empty line.
        let Some(chunk) = rest.get(line..line + length + 2) else { return Ok(None) };
        body.extend_from_slice(chunk.get(..length).unwrap_or_default());
        at += line + chunk.len();
        if length == 0 {
            return Ok(Some((body, at)));
        }
    }
}

/// The request at the front of `bytes`, and the length of its head; `None` while that is not complete.
fn parse(bytes: &[u8]) -> io::Result<Option<(Request, usize)>> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut parsed = httparse::Request::new(&mut headers);
    let httparse::Status::Complete(head) = parsed.parse(bytes).map_err(io::Error::other)? else {
        return Ok(None);
    };
    let target = parsed.path.unwrap_or_default();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let request = Request {
        method: parsed.method.unwrap_or_default().to_owned(),
        path: path.to_owned(),
        query: query.to_owned(),
        headers: parsed
            .headers
            .iter()
            .map(|header| {
                (header.name.to_ascii_lowercase(), String::from_utf8_lossy(header.value).into_owned())
            })
            .collect(),
        body: Vec::new(),
    };
    Ok(Some((request, head)))
}

impl From<(u16, serde_json::Value)> for Answer {
    fn from((status, body): (u16, serde_json::Value)) -> Self {
        genuine::dress(Self::status(status).body(body.to_string()))
    }
}
