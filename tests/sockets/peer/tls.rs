//! Servers at the other end of a TLS handshake, one for each way in which it ends.

use std::sync::Arc;

use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        pki_types::{CertificateDer, PrivateKeyDer},
    },
};

use super::{Listening, Log};

/// The server's part in the handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    /// Completes it with a certificate for 127.0.0.1, and responds to requests.
    Valid,
    /// Presents a certificate for another name.
    OtherName,
    /// Presents a certificate that has expired.
    Expired,
    /// Speaks HTTP without TLS.
    Plain,
    /// Answers with this alert (RFC 8446, 6.2).
    Alert(u8),
    /// Closes the connection.
    Close,
    /// Resets the connection.
    Reset,
}

#[derive(Debug)]
pub(crate) struct Handshaking {
    listening: Listening,
    connections: Log<()>,
    certificate: CertificateDer<'static>,
}

impl Handshaking {
    pub(crate) async fn start(act: Act) -> Self {
        let name = if act == Act::OtherName { "other.test" } else { "127.0.0.1" };
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        if act == Act::Expired {
            params.not_after = date_time_ymd(2000, 1, 1);
        }
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap().der().clone();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let config = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.clone()], key);
        let acceptor = TlsAcceptor::from(Arc::new(config.unwrap()));
        let connections = Log::new();
        let log = connections.clone();
        let listening = Listening::start(move |stream| {
            log.note(());
            serve(act, acceptor.clone(), stream)
        });
        Self { listening: listening.await, connections, certificate }
    }

    /// The server's own certificate, which has no issuer but itself.
    pub(crate) const fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    pub(crate) fn url(&self) -> String {
        format!("https://{}/", self.listening.address())
    }

    /// The number of connections so far.
    pub(crate) fn connections(&self) -> usize {
        self.connections.read().len()
    }
}

async fn serve(act: Act, acceptor: TlsAcceptor, mut stream: TcpStream) {
    const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    const BAD: &[u8] = b"HTTP/1.1 400 Bad\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

    // A client that rejects the handshake disconnects at any time.
    if matches!(act, Act::Valid | Act::OtherName | Act::Expired) {
        if let Ok(mut stream) = acceptor.accept(stream).await {
            let _ = stream.read(&mut [0; 1024]).await;
            let _ = stream.write_all(OK).await;
            let _ = stream.shutdown().await;
        }
        return;
    }
    // The whole hello of the client: unread bytes would turn a close into a reset.
    let mut head = [0; 5];
    let _ = stream.read_exact(&mut head).await;
    let mut hello = vec![0; usize::from(u16::from_be_bytes([head[3], head[4]]))];
    let _ = stream.read_exact(&mut hello).await;
    match act {
        Act::Plain => drop(stream.write_all(BAD).await),
        Act::Alert(description) => {
            // A record of two bytes: level fatal, and the description.
            drop(stream.write_all(&[21, 3, 3, 0, 2, 2, description]).await);
        }
        Act::Reset => stream.set_zero_linger().unwrap(),
        _ => {}
    }
}
