//! TLS on the main listener: handshakes within limits, and a certificate that is replaced when its files are.

mod certificate;
mod config;
mod pair;
mod stats;
mod validity;

pub use config::TlsConfig;
pub use stats::TlsStats;

use std::{io, sync::Arc, time::Duration};

use rustls::{ServerConfig, crypto::ring, server::NoServerSessionStorage};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::Semaphore,
    time::{Instant, sleep, timeout_at},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use self::{
    certificate::Certificate,
    pair::{Files, PairError},
    stats::{Active, Handshake},
};
use super::protocol::Protocol;
use wasi_http_host_core::{Exposition, InvalidSetting};

/// How often the files are read. Their times and inodes are not asked: a mounted Secret is swapped by links, and some file
/// systems keep times to the second.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// The first byte of each TLS connection: a handshake record's (RFC 8446, 5.1).
const HANDSHAKE_RECORD: u8 = 22;
/// For who speaks HTTP where TLS is spoken.
const NOT_TLS: &[u8] =
    b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\ncontent-length: 33\r\n\
    cache-control: no-store\r\nconnection: close\r\n\r\n{\"detail\":\"HTTPS is spoken here\"}";

/// The TLS side of the main listener.
pub struct Tls {
    acceptor: TlsAcceptor,
    certificate: Arc<Certificate>,
    patience: Duration,
    places: Semaphore,
    stats: Arc<TlsStats>,
}

impl Tls {
    /// `None` without a certificate in the settings.
    ///
    /// # Errors
    /// Names the setting and its file where they cannot be served with.
    pub fn new(config: &TlsConfig) -> Result<Option<Arc<Self>>, InvalidSetting> {
        let (Some(cert), Some(key)) = (config.cert.clone(), config.key.clone()) else { return Ok(None) };
        let stats = Arc::<TlsStats>::default();
        let certificate =
            Certificate::load(Files { cert, key }, stats.clone()).map_err(|error| match error {
                PairError::Cert(reason) => InvalidSetting { name: "--tls-cert", reason },
                PairError::Key(reason) => InvalidSetting { name: "--tls-key", reason },
            })?;
        let certificate = Arc::new(certificate);
        let acceptor = acceptor(certificate.clone())
            .map_err(|error| InvalidSetting { name: "--tls-cert", reason: error.to_string() })?;
        Ok(Some(Arc::new(Self {
            acceptor,
            certificate,
            patience: config.handshake_timeout.get(),
            places: Semaphore::new(config.max_handshakes.get().min(Semaphore::MAX_PERMITS)),
            stats,
        })))
    }

    /// A client's connection after its handshake, and the protocol that it chose. `None`: nothing came, or what came
    /// was not TLS.
    ///
    /// # Errors
    /// When the handshake failed or took too long.
    pub(super) async fn accept(
        &self,
        stream: TcpStream,
    ) -> io::Result<Option<(TlsStream<TcpStream>, Protocol)>> {
        let deadline = Instant::now() + self.patience;
        // A client that has said nothing takes no place, as a load balancer's look at the port does not.
        match timeout_at(deadline, first_byte(&stream)).await {
            Ok(Ok(Some(HANDSHAKE_RECORD))) => {}
            Ok(Ok(Some(_))) => {
                self.stats.handshake(Handshake::NotTls);
                // To be understood is the client's own concern.
                let _ = timeout_at(deadline, tell_not_tls(stream)).await;
                return Ok(None);
            }
            Ok(Ok(None) | Err(_)) | Err(_) => return Ok(None),
        }
        let Ok(Ok(place)) = timeout_at(deadline, self.places.acquire()).await else {
            self.stats.handshake(Handshake::NoPlace);
            return Err(late("too many TLS handshakes at once"));
        };
        let active = Active::new(&self.stats);
        let shaken = timeout_at(deadline, self.acceptor.accept(stream)).await;
        drop((active, place));
        let (outcome, result) = match shaken {
            Ok(Ok(stream)) => (Handshake::Ok, Ok(stream)),
            Ok(Err(error)) => (Handshake::Failed, Err(error)),
            Err(_) => (Handshake::TimedOut, Err(late("the TLS handshake took too long"))),
        };
        self.stats.handshake(outcome);
        let stream = result?;
        // HTTP/2 over TLS is chosen here or not at all (RFC 9113, 3.2).
        let protocol = match stream.get_ref().1.alpn_protocol() {
            Some(b"h2") => Protocol::Http2,
            _ => Protocol::Http1,
        };
        Ok(Some((stream, protocol)))
    }

    /// Looks at the files for as long as it is polled, and takes over what they hold once that is whole.
    pub async fn watch(self: Arc<Self>) {
        loop {
            sleep(LOOK_EVERY).await;
            let certificate = self.certificate.clone();
            // Not in this thread: a file system may hang, and nothing else is to.
            if tokio::task::spawn_blocking(move || certificate.look()).await.is_err() {
                tracing::error!("TLS: a look at the certificate's files broke down");
            }
        }
    }

    /// Writes its metrics.
    pub fn expose(&self, to: &mut Exposition) {
        self.stats.expose(to);
    }
}

/// TLS 1.2 and 1.3 as rustls has them: no suite without forward secrecy or without authentication.
fn acceptor(certificate: Arc<Certificate>) -> Result<TlsAcceptor, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(certificate);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    // Sessions are kept by their clients: nothing grows here, and threads share no lock but the ticket's key.
    config.ticketer = ring::Ticketer::new()?;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    Ok(TlsAcceptor::from(Arc::new(config)))
}

fn late(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, what)
}

/// `None`: the client left.
async fn first_byte(stream: &TcpStream) -> io::Result<Option<u8>> {
    let mut byte = [0];
    let n = stream.peek(&mut byte).await?;
    Ok(byte.first().copied().filter(|_| n == 1))
}

/// Says it in the language that was spoken, if that was HTTP.
async fn tell_not_tls(mut stream: TcpStream) -> io::Result<()> {
    let mut head = [0; 1 << 10];
    // Read, so that closing does not reset the connection before the answer is there.
    let n = stream.read(&mut head).await?;
    if head.get(..n).and_then(<[u8]>::first).is_some_and(u8::is_ascii_uppercase) {
        stream.write_all(NOT_TLS).await?;
    }
    stream.shutdown().await
}
