//! TLS on the main listener: handshakes within limits, certificates of clients, and files that are read again when they
//! change.

mod certificate;
mod client_auth;
mod config;
mod provider;
mod stats;

pub use client_auth::ClientAuth;
pub(super) use client_auth::ClientCertificate;
pub use config::TlsConfig;
pub use stats::TlsStats;

use std::{
    io,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use rustls::{
    ServerConfig,
    crypto::ring,
    server::{NoClientAuth, NoServerSessionStorage},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::Semaphore,
    time::{Instant, sleep, timeout_at},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use self::{
    certificate::Certificate,
    client_auth::ClientAuthorities,
    provider::provider,
    stats::{Active, CertificateReload, Handshake},
};
use super::protocol::Protocol;
use wasi_http_host_certificates::{CHECK_INTERVAL, Change, PairError, PairFiles};
use wasi_http_host_core::{Exposition, InvalidSetting};

/// The first byte of each TLS connection: the type of a handshake record (RFC 8446, 5.1).
const HANDSHAKE_RECORD: u8 = 22;
/// The response to a client that sends plain HTTP to the TLS port.
const NOT_TLS: &[u8] =
    b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\ncontent-length: 33\r\n\
    cache-control: no-store\r\nconnection: close\r\n\r\n{\"detail\":\"HTTPS is spoken here\"}";

/// The TLS state of the main listener.
pub struct Tls {
    /// Replaced when the authorities of clients' certificates change.
    acceptor: RwLock<TlsAcceptor>,
    certificate: Arc<Certificate>,
    /// `None`: the host asks clients for no certificate.
    clients: Option<ClientAuthorities>,
    handshake_timeout: Duration,
    permits: Semaphore,
    stats: Arc<TlsStats>,
}

impl Tls {
    /// Loads the certificate, the key and the authorities of clients' certificates. Returns `None` if the settings have
    /// no certificate.
    ///
    /// # Errors
    /// When a file cannot be used. The error names the flag and the file.
    pub fn new(config: &TlsConfig) -> Result<Option<Arc<Self>>, InvalidSetting> {
        let (Some(cert), Some(key)) = (config.cert.clone(), config.key.clone()) else { return Ok(None) };
        let stats = Arc::<TlsStats>::default();
        let certificate =
            Certificate::load(PairFiles { cert, key }, stats.clone()).map_err(|error| match error {
                PairError::Cert(reason) => InvalidSetting { name: "--tls-cert", reason },
                PairError::Key(reason) => InvalidSetting { name: "--tls-key", reason },
            })?;
        let certificate = Arc::new(certificate);
        let name = "--tls-client-ca";
        let load = |file| ClientAuthorities::load(file, config.client_auth.unwrap_or_default());
        let clients = config.client_ca.clone().map(load).transpose();
        let clients = clients.map_err(|reason| InvalidSetting { name, reason })?;
        let acceptor = acceptor(certificate.clone(), clients.as_ref()).map_err(|error| InvalidSetting {
            name: if clients.is_some() { name } else { "--tls-cert" },
            reason: error.to_string(),
        })?;
        Ok(Some(Arc::new(Self {
            acceptor: RwLock::new(acceptor),
            certificate,
            clients,
            handshake_timeout: config.handshake_timeout.get(),
            permits: Semaphore::new(config.max_handshakes.get().min(Semaphore::MAX_PERMITS)),
            stats,
        })))
    }

    /// Performs the handshake. `None`: the client sent nothing, or did not speak TLS.
    ///
    /// # Errors
    /// When the handshake fails or takes too long.
    pub(super) async fn accept(&self, stream: TcpStream) -> io::Result<Option<Accepted>> {
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
        let acceptor = self.acceptor.read().unwrap_or_else(PoisonError::into_inner).clone();
        let handshake = timeout_at(deadline, acceptor.accept(stream)).await;
        drop((active, permit));
        let (outcome, result) = match handshake {
            Ok(Ok(stream)) => match Accepted::new(stream) {
                Ok(accepted) => (Handshake::Ok, Ok(accepted)),
                Err(error) => (Handshake::ClientCertificateInvalid, Err(error)),
            },
            Ok(Err(error)) => (client_auth::failure(&error), Err(error)),
            Err(_) => (Handshake::TimedOut, Err(late("the TLS handshake timed out"))),
        };
        self.stats.handshake(outcome);
        result.map(Some)
    }

    /// Checks the files at intervals, and replaces what is in use when the contents are new and valid. Runs as long as
    /// the future is polled.
    pub async fn watch(self: Arc<Self>) {
        loop {
            sleep(CHECK_INTERVAL).await;
            let this = self.clone();
            // On a blocking thread: a file system may hang, and must block nothing else.
            let checked = tokio::task::spawn_blocking(move || {
                this.certificate.check_files();
                this.check_client_authorities();
            });
            if checked.await.is_err() {
                tracing::error!("TLS: the check of the certificate's files panicked");
            }
        }
    }

    /// Reads the authorities of clients' certificates again. New handshakes trust the new authorities only. Open
    /// connections stay.
    fn check_client_authorities(&self) {
        let Some(clients) = &self.clients else { return };
        let error = match clients.roots.check() {
            Change::None => return,
            Change::Failed(error) => error,
            Change::Replaced(_) => match acceptor(self.certificate.clone(), Some(clients)) {
                Ok(acceptor) => {
                    *self.acceptor.write().unwrap_or_else(PoisonError::into_inner) = acceptor;
                    self.stats.reload(CertificateReload::Ok);
                    let file = clients.roots.source().0.display();
                    tracing::info!(%file, "TLS: authorities of clients' certificates loaded");
                    return;
                }
                Err(error) => error.to_string(),
            },
        };
        self.stats.reload(CertificateReload::Failed);
        tracing::error!(
            error,
            "TLS: cannot use the new authorities of clients' certificates: the previous ones stay active"
        );
    }

    /// Writes the metrics of TLS.
    pub fn expose(&self, to: &mut Exposition) {
        self.stats.expose(to);
    }
}

/// A connection after its handshake.
pub(super) struct Accepted {
    pub(super) stream: TlsStream<TcpStream>,
    /// The protocol that the client chose.
    pub(super) protocol: Protocol,
    /// The client's verified certificate, if it showed one.
    pub(super) certificate: Option<Arc<ClientCertificate>>,
}

impl Accepted {
    /// Fails if the client's certificate is too large.
    fn new(stream: TlsStream<TcpStream>) -> io::Result<Self> {
        let session = stream.get_ref().1;
        // With TLS, only ALPN can choose HTTP/2 (RFC 9113, 3.2).
        let protocol = match session.alpn_protocol() {
            Some(b"h2") => Protocol::Http2,
            _ => Protocol::Http1,
        };
        let shown = session.peer_certificates().and_then(<[_]>::first).map(ClientCertificate::new);
        let certificate = match shown {
            None => None,
            Some(Some(certificate)) => Some(Arc::new(certificate)),
            Some(None) => return Err(io::Error::other("the client's certificate is too large")),
        };
        Ok(Self { stream, protocol, certificate })
    }
}

/// Creates an acceptor for TLS 1.2 and 1.3 with rustls's defaults: no cipher suite without forward secrecy or
/// without authentication.
fn acceptor(
    certificate: Arc<Certificate>,
    clients: Option<&ClientAuthorities>,
) -> Result<TlsAcceptor, rustls::Error> {
    let verifier = clients.map_or_else(|| Ok(Arc::new(NoClientAuth) as _), ClientAuthorities::verifier)?;
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(certificate);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    if clients.is_none() {
        // Clients keep the sessions, in tickets. The host stores none, and threads only share the lock of the ticket
        // key.
        config.ticketer = ring::Ticketer::new()?;
    } else {
        // A resumed session would skip the verification of the client's certificate, which may have expired since, or
        // whose authority may no longer be trusted.
        config.send_tls13_tickets = 0;
    }
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
