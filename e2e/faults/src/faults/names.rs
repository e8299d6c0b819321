//! Faults of name resolution: a host with an `/etc/resolv.conf` that names the test's name server.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use e2e::fake::{EVERYONE, ScriptedResponse};
use tokio::net::UdpSocket;
use tokio::task::JoinHandle;

use crate::fault::{Failure, Observed, Outcome, ensure};
use crate::plan::Allows;
use crate::system::with_mounts;
use crate::testbed::{Testbed, github, options};
use crate::traffic::Mix;

/// A loopback address that no other name server uses.
const SERVER: Ipv4Addr = Ipv4Addr::new(127, 53, 53, 53);
const NAME: &str = "github.test";

/// The behaviour of the name server.
#[derive(Debug, Clone, Copy)]
enum Behaviour {
    /// Responds with 127.0.0.1 and a TTL of 0.
    Correct,
    /// Responds with this response code (RFC 1035, section 4.1.1).
    Error(u8),
    Garbage,
    Silence,
}

struct NameServer {
    behaviour: Arc<Mutex<Behaviour>>,
    serving: JoinHandle<()>,
}

pub(super) async fn failing() -> Outcome {
    let server = NameServer::start().await?;
    let dir = tempfile::tempdir().map_err(|error| error.to_string())?;
    let (hosts, resolv) = (dir.path().join("hosts"), dir.path().join("resolv.conf"));
    let write = |path, text: String| std::fs::write(path, text).map_err(|error| error.to_string());
    write(&hosts, "127.0.0.1 localhost\n".to_owned())?;
    write(&resolv, format!("nameserver {SERVER}\noptions timeout:1 attempts:1\n"))?;
    let script = "mount --bind \"$1\" /etc/hosts; mount --bind \"$2\" /etc/resolv.conf";
    let under = with_mounts(script, &[&hosts, &resolv])?;

    let github = github().await?;
    // Connections close behind each response, so that each request resolves the name.
    github.always(EVERYONE, ScriptedResponse::genuine().header("connection", "close"));
    let options = options()
        .await
        .setting("github_api_url", &format!("http://{NAME}:{}", github.address().port()))
        .setting("upstream_timeout", "3")
        .flag("--outbound-allow-cidr", "127.0.0.0/8")
        .under(under);
    let testbed = Testbed { hosts: vec![options.start().await], github }.warm().await?;
    let (load, counted) = testbed.load(Mix::ALL, Allows::errors(&[502, 504])).await?;
    for behaviour in [
        Behaviour::Error(3),
        Behaviour::Error(2),
        Behaviour::Error(5),
        Behaviour::Garbage,
        Behaviour::Silence,
    ] {
        server.behave(behaviour);
        load.more_errors(6).await?;
    }
    server.behave(Behaviour::Correct);
    let (tally, recovered_after) = testbed.end(load, &counted, 0).await?;
    ensure!(tally.uncached == 0, "a cached user was not served from the cache: {tally:?}");
    Ok(Observed {
        done: "NXDOMAIN, SERVFAIL, REFUSED, garbage and silence for GitHub's name".to_owned(),
        tally,
        recovered_after,
    })
}

impl NameServer {
    async fn start() -> Result<Self, Failure> {
        let address = SocketAddr::from((SERVER, 53));
        let socket = UdpSocket::bind(address).await.map_err(|error| match error.kind() {
            std::io::ErrorKind::PermissionDenied => {
                Failure::NotRunnable(format!("{address}: only root may bind port 53"))
            }
            _ => Failure::Violated(format!("{address}: {error}")),
        })?;
        let behaviour = Arc::new(Mutex::new(Behaviour::Correct));
        let answering = Arc::clone(&behaviour);
        let serving = tokio::spawn(async move {
            let mut query = [0; 512];
            while let Ok((length, from)) = socket.recv_from(&mut query).await {
                let behaviour = *answering.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(answer) = query.get(..length).and_then(|query| reply(query, behaviour)) {
                    // The client may have closed its socket.
                    let _ = socket.send_to(&answer, from).await;
                }
            }
        });
        Ok(Self { behaviour, serving })
    }

    fn behave(&self, behaviour: Behaviour) {
        *self.behaviour.lock().unwrap_or_else(PoisonError::into_inner) = behaviour;
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// The response to a query with one question; none if the server is silent or the bytes are no query.
fn reply(query: &[u8], behaviour: Behaviour) -> Option<Vec<u8>> {
    let id = query.get(..2)?;
    let end = 12 + query.get(12..)?.iter().position(|byte| *byte == 0)? + 5;
    let question = query.get(12..end)?;
    let asks_for_ipv4 = question.ends_with(&[0, 1, 0, 1]);
    let (code, answers) = match behaviour {
        Behaviour::Silence => return None,
        Behaviour::Garbage => return Some([id, &[0xff; 40]].concat()),
        Behaviour::Error(code) => (code, 0),
        Behaviour::Correct => (0, u8::from(asks_for_ipv4)),
    };
    let mut answer = [id, &[0x81, 0x80 | code, 0, 1, 0, answers, 0, 0, 0, 0], question].concat();
    if answers > 0 {
        // A pointer to the question's name, type A, class IN, TTL 0, and four bytes of address.
        answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4, 127, 0, 0, 1]);
    }
    Some(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_answers_the_question_it_was_asked() {
        let query = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x06github\x04test\x00\x00\x01\x00\x01";
        let answer = reply(query, Behaviour::Correct).unwrap();
        assert!(
            answer.starts_with(b"\x12\x34\x81\x80\x00\x01\x00\x01")
                && answer.ends_with(&[0, 4, 127, 0, 0, 1])
        );
        assert_eq!(reply(query, Behaviour::Error(3)).unwrap()[3], 0x83);
        assert!(reply(query, Behaviour::Silence).is_none() && reply(b"short", Behaviour::Correct).is_none());
    }
}
