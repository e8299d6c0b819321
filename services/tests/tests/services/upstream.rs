//! A server that services ask, in place of another service.

use std::sync::{Arc, Mutex};

use testkit::ports;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::JoinHandle;

/// The most bytes of a request's head.
const MAX_HEAD: usize = 64 * 1024;

/// A server that answers each request with the same bytes, or never.
pub(crate) struct Upstream {
    /// `http://127.0.0.1:PORT`
    pub(crate) url: String,
    heads: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl Upstream {
    /// Answers with this status and body.
    pub(crate) async fn answering(status: u16, body: &str) -> Self {
        let length = body.len();
        let answer = format!(
            "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
        );
        Self::start(Some(answer)).await
    }

    /// Accepts, and never answers.
    pub(crate) async fn silent() -> Self {
        Self::start(None).await
    }

    async fn start(answer: Option<String>) -> Self {
        let (listener, address) = ports::listen().await;
        let heads = Arc::<Mutex<Vec<String>>>::default();
        let seen = Arc::clone(&heads);
        let task = tokio::spawn(async move {
            // Open connections stay open, so that the client waits.
            let mut open = Vec::new();
            while let Ok((mut connection, _)) = listener.accept().await {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") && head.len() < MAX_HEAD {
                    let Ok(byte) = connection.read_u8().await else { break };
                    head.push(byte);
                }
                seen.lock().unwrap().push(String::from_utf8_lossy(&head).to_ascii_lowercase());
                match &answer {
                    // A client that has left needs no answer.
                    Some(answer) => drop(connection.write_all(answer.as_bytes()).await),
                    None => open.push(connection),
                }
            }
        });
        Self { url: format!("http://{address}"), heads, task }
    }

    /// The heads of the requests so far, in lower case.
    pub(crate) fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.task.abort();
    }
}
