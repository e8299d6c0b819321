//! A name server of our own, for a host that sees our `/etc/resolv.conf`.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use e2e::fake::{Answer, EVERYONE};
use e2e::harness::Host;
use tokio::net::UdpSocket;
use tokio::task::JoinHandle;

use super::upstream::refused;
use crate::fault::{Failure, Outcome, Shown, ensure};
use crate::load::Allows;
use crate::site::{Site, github, options};
use crate::system::with_mounts;
use crate::traffic::Mix;

/// An address of this machine's that nobody else serves names on.
const SERVER: Ipv4Addr = Ipv4Addr::new(127, 53, 53, 53);
const NAME: &str = "github.test";

/// How the server answers.
#[derive(Debug, Clone, Copy)]
enum Manner {
    /// With 127.0.0.1, to be forgotten at once.
    Truth,
    /// With an error of this number (RFC 1035, 4.1.1).
    Error(u8),
    Garbage,
    Silence,
}

struct Server {
    manner: Arc<Mutex<Manner>>,
    serving: JoinHandle<()>,
}

pub(super) async fn failing() -> Outcome {
    let server = Server::start().await?;
    let dir = tempfile::tempdir().map_err(|error| error.to_string())?;
    let (hosts, resolv) = (dir.path().join("hosts"), dir.path().join("resolv.conf"));
    let write = |path, text: String| std::fs::write(path, text).map_err(|error| error.to_string());
    write(&hosts, "127.0.0.1 localhost\n".to_owned())?;
    write(&resolv, format!("nameserver {SERVER}\noptions timeout:1 attempts:1\n"))?;
    let script = "mount --bind \"$1\" /etc/hosts; mount --bind \"$2\" /etc/resolv.conf";
    let under = with_mounts(script, &[&hosts, &resolv])?;

    let github = github().await?;
    // A connection that lasts needs no name.
    github.always(EVERYONE, Answer::truth().header("connection", "close"));
    let options = options()
        .setting("github_api_url", &format!("http://{NAME}:{}", github.address().port()))
        .setting("upstream_timeout", "3")
        .flag("--outbound-allow-cidr", "127.0.0.0/8")
        .under(under);
    let site = Site { hosts: vec![Host::start(options).await], github }.warm().await?;
    let (load, counted) = site.load(Mix::ALL, Allows::errors(&[502, 504])).await?;
    for manner in [Manner::Error(3), Manner::Error(2), Manner::Error(5), Manner::Garbage, Manner::Silence] {
        server.answer_by(manner);
        refused(&load, 6).await?;
    }
    server.answer_by(Manner::Truth);
    let (tally, normal_after) = site.end(load, &counted, 0).await?;
    ensure!(tally.uncached == 0, "what is cached was asked for: {tally:?}");
    Ok(Shown {
        done: "NXDOMAIN, SERVFAIL, REFUSED, garbage and silence for GitHub's name".to_owned(),
        tally,
        normal_after,
    })
}

impl Server {
    async fn start() -> Result<Self, Failure> {
        let address = SocketAddr::from((SERVER, 53));
        let socket = UdpSocket::bind(address).await.map_err(|error| match error.kind() {
            std::io::ErrorKind::PermissionDenied => {
                Failure::NotHere(format!("{address}: only root may serve names"))
            }
            _ => Failure::Broken(format!("{address}: {error}")),
        })?;
        let manner = Arc::new(Mutex::new(Manner::Truth));
        let answering = Arc::clone(&manner);
        let serving = tokio::spawn(async move {
            let mut query = [0; 512];
            while let Ok((length, from)) = socket.recv_from(&mut query).await {
                let manner = *answering.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(answer) = query.get(..length).and_then(|query| reply(query, manner)) {
                    // Who asked may have gone.
                    let _ = socket.send_to(&answer, from).await;
                }
            }
        });
        Ok(Self { manner, serving })
    }

    fn answer_by(&self, manner: Manner) {
        *self.manner.lock().unwrap_or_else(PoisonError::into_inner) = manner;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// The answer to a query of one question; none to silence, and to what is no query.
fn reply(query: &[u8], manner: Manner) -> Option<Vec<u8>> {
    let id = query.get(..2)?;
    let end = 12 + query.get(12..)?.iter().position(|byte| *byte == 0)? + 5;
    let question = query.get(12..end)?;
    let asks_for_ipv4 = question.ends_with(&[0, 1, 0, 1]);
    let (code, answers) = match manner {
        Manner::Silence => return None,
        Manner::Garbage => return Some([id, &[0xff; 40]].concat()),
        Manner::Error(code) => (code, 0),
        Manner::Truth => (0, u8::from(asks_for_ipv4)),
    };
    let mut answer = [id, &[0x81, 0x80 | code, 0, 1, 0, answers, 0, 0, 0, 0], question].concat();
    if answers > 0 {
        // The question's name, A, IN, TTL 0, four bytes.
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
        let answer = reply(query, Manner::Truth).unwrap();
        assert!(
            answer.starts_with(b"\x12\x34\x81\x80\x00\x01\x00\x01")
                && answer.ends_with(&[0, 4, 127, 0, 0, 1])
        );
        assert_eq!(reply(query, Manner::Error(3)).unwrap()[3], 0x83);
        assert!(reply(query, Manner::Silence).is_none() && reply(b"short", Manner::Truth).is_none());
    }
}
