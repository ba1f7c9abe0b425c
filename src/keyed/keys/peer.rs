//! The address of the peer of a connection, which the server leaves in the extensions.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use http::Extensions;

/// The address of the peer of a connection, as an extension of its requests.
///
/// Read by [`ClientIp`](super::ClientIp). A server without an extension of its own inserts it into
/// each request of the connection, as of hyper:
///
/// ```
/// use http::Request;
/// use std::net::SocketAddr;
/// use tower_floodgate::keyed::{ClientIp, PeerAddr};
///
/// # let body = ();
/// # let accepted = ((), SocketAddr::from(([203, 0, 113, 7], 41_952)));
/// let (_stream, peer) = accepted; // listener.accept().await?
/// let mut request = Request::new(body);
/// request.extensions_mut().insert(PeerAddr::from(peer));
/// assert_eq!(ClientIp::peer().address_of(&request), Some(peer.ip()));
/// ```
///
/// No client can set it: extensions are not part of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PeerAddr(IpAddr);

impl PeerAddr {
    /// The peer of a Unix socket: a process of this machine, which counts as 127.0.0.1.
    ///
    /// A reverse proxy that connects through a Unix socket is trusted by that address. Of axum,
    /// where an application has a listener of its own for the socket:
    ///
    /// ```
    /// use axum::{Extension, Router};
    /// use tower_floodgate::keyed::{ClientIp, PeerAddr};
    ///
    /// let key = ClientIp::behind(["127.0.0.1"]);
    /// # let limits = tower::layer::util::Identity::new();
    /// # let _ = &key;
    /// let app: Router = Router::new()
    ///     // routes
    ///     .layer(limits) // by `key`
    ///     .layer(Extension(PeerAddr::UNIX_SOCKET));
    /// # let _ = app;
    /// ```
    pub const UNIX_SOCKET: Self = Self(IpAddr::V4(Ipv4Addr::LOCALHOST));

    /// Returns the address.
    #[must_use]
    pub const fn ip(&self) -> IpAddr {
        self.0
    }
}

impl From<IpAddr> for PeerAddr {
    fn from(address: IpAddr) -> Self {
        Self(address)
    }
}

impl From<SocketAddr> for PeerAddr {
    fn from(address: SocketAddr) -> Self {
        Self(address.ip())
    }
}

/// Returns the peer's address of a request.
pub(super) fn of(extensions: &Extensions) -> Option<IpAddr> {
    let own = extensions.get::<PeerAddr>().map(PeerAddr::ip);
    #[cfg(feature = "axum")]
    let own = own.or_else(|| of_axum(extensions));
    own
}

/// In the order of axum's extractor.
#[cfg(feature = "axum")]
fn of_axum(extensions: &Extensions) -> Option<IpAddr> {
    use axum::extract::connect_info::{ConnectInfo, MockConnectInfo};

    let mock = || extensions.get::<MockConnectInfo<SocketAddr>>().map(|mock| mock.0);
    let peer = extensions.get::<ConnectInfo<SocketAddr>>().map(|peer| peer.0).or_else(mock);
    peer.map(|peer| peer.ip())
}
