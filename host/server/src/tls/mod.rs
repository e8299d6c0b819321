//! TLS on the main listener: handshakes within limits, and a certificate that is replaced when its files change.

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

/// Interval at which the files are read. Times and inodes are not compared: a mounted Secret is replaced by
/// changing links, and some file systems store times only to the second.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// The first byte of each TLS connection: the type of a handshake record (RFC 8446, 5.1).
const HANDSHAKE_RECORD: u8 = 22;
/// The response to a client that sends plain HTTP to the TLS port.
const NOT_TLS: &[u8] =
    b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\ncontent-length: 33\r\n\
    cache-control: no-store\r\nconnection: close\r\n\r\n{\"detail\":\"HTTPS is spoken here\"}";

/// The TLS state of the main listener.
pub struct Tls {
    acceptor: TlsAcceptor,
    certificate: Arc<Certificate>,
    handshake_timeout: Duration,
    permits: Semaphore,
    stats: Arc<TlsStats>,
}

impl Tls {
    /// Loads the certificate and key. Returns `None` if the settings have no certificate.
    ///
    /// # Errors
    /// When the certificate or key cannot be used. The error names the flag and the file.
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
            handshake_timeout: config.handshake_timeout.get(),
            permits: Semaphore::new(config.max_handshakes.get().min(Semaphore::MAX_PERMITS)),
            stats,
        })))
    }

    /// Performs the handshake. Returns the stream and the protocol that the client chose. `None`: the client sent
    /// nothing, or did not speak TLS.
    ///
    /// # Errors
    /// When the handshake fails or takes too long.
    pub(super) async fn accept(
        &self,
        stream: TcpStream,
    ) -> io::Result<Option<(TlsStream<TcpStream>, Protocol)>> {
        let deadline = Instant::now() + self.handshake_timeout;
        // A client that has sent nothing takes no permit. Load balancers open such connections to check the port.
        match timeout_at(deadline, first_byte(&stream)).await {
            Ok(Ok(Some(HANDSHAKE_RECORD))) => {}
            Ok(Ok(Some(_))) => {
                self.stats.handshake(Handshake::NotTls);
                // Ignore an error: the client did not speak TLS in the first place.
                let _ = timeout_at(deadline, respond_not_tls(stream)).await;
                return Ok(None);
            }
            Ok(Ok(None) | Err(_)) | Err(_) => return Ok(None),
        }
        let Ok(Ok(permit)) = timeout_at(deadline, self.permits.acquire()).await else {
            self.stats.handshake(Handshake::Overloaded);
            return Err(late("too many concurrent TLS handshakes"));
        };
        let active = Active::new(&self.stats);
        let handshake = timeout_at(deadline, self.acceptor.accept(stream)).await;
        drop((active, permit));
        let (outcome, result) = match handshake {
            Ok(Ok(stream)) => (Handshake::Ok, Ok(stream)),
            Ok(Err(error)) => (Handshake::Failed, Err(error)),
            Err(_) => (Handshake::TimedOut, Err(late("the TLS handshake timed out"))),
        };
        self.stats.handshake(outcome);
        let stream = result?;
        // With TLS, only ALPN can choose HTTP/2 (RFC 9113, 3.2).
        let protocol = match stream.get_ref().1.alpn_protocol() {
            Some(b"h2") => Protocol::Http2,
            _ => Protocol::Http1,
        };
        Ok(Some((stream, protocol)))
    }

    /// Checks the files at intervals, and replaces the certificate when the contents are new and valid. Runs as
    /// long as the future is polled.
    pub async fn watch(self: Arc<Self>) {
        loop {
            sleep(LOOK_EVERY).await;
            let certificate = self.certificate.clone();
            // On a blocking thread: a file system may hang, and must block nothing else.
            if tokio::task::spawn_blocking(move || certificate.check_files()).await.is_err() {
                tracing::error!("TLS: the check of the certificate's files panicked");
            }
        }
    }

    /// Writes the metrics of TLS.
    pub fn expose(&self, to: &mut Exposition) {
        self.stats.expose(to);
    }
}

/// Creates an acceptor for TLS 1.2 and 1.3 with rustls's defaults: no cipher suite without forward secrecy or
/// without authentication.
fn acceptor(certificate: Arc<Certificate>) -> Result<TlsAcceptor, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(certificate);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    // Clients keep the sessions, in tickets. The host stores none, and threads only share the lock of the ticket
    // key.
    config.ticketer = ring::Ticketer::new()?;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    Ok(TlsAcceptor::from(Arc::new(config)))
}

fn late(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, what)
}

/// Peeks the first byte. `None`: the client has left.
async fn first_byte(stream: &TcpStream) -> io::Result<Option<u8>> {
    let mut byte = [0];
    let n = stream.peek(&mut byte).await?;
    Ok(byte.first().copied().filter(|_| n == 1))
}

/// Responds with 400 if the client spoke HTTP, and closes the connection.
async fn respond_not_tls(mut stream: TcpStream) -> io::Result<()> {
    let mut head = [0; 1 << 10];
    // Read the request first. Otherwise closing would reset the connection before the client has the response.
    let n = stream.read(&mut head).await?;
    if head.get(..n).and_then(<[u8]>::first).is_some_and(u8::is_ascii_uppercase) {
        stream.write_all(NOT_TLS).await?;
    }
    stream.shutdown().await
}
