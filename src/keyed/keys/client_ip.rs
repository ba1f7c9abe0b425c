use std::{
    hash::{Hash, Hasher},
    net::IpAddr,
};

use http::{Extensions, HeaderMap, HeaderName, HeaderValue, Request, header::FORWARDED};

use super::{address, forwarded, networks::Networks, peer};
use crate::{
    keyed::Key,
    settings::{InvalidSetting, literal},
};

static X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The address of the client of a server.
///
/// [`ClientIp::peer`] is the address of the connection's peer. Behind a reverse proxy that is the
/// proxy's, and all clients would share one limit: [`ClientIp::behind`] names the networks of the
/// proxies.
///
/// ```
/// use http::Request;
/// use std::net::IpAddr;
/// use tower_floodgate::keyed::{ClientIp, Key, PeerAddr};
///
/// let key = ClientIp::behind(["10.0.0.0/8"]);
/// let label = |peer: &str, header: &str| {
///     let peer = PeerAddr::from(peer.parse::<IpAddr>().unwrap());
///     let request = Request::builder().extension(peer).header("x-forwarded-for", header);
///     key.label(&request.body(()).unwrap()).unwrap()
/// };
/// // The proxy has appended the address of the client to the text that the client sent.
/// assert_eq!(label("10.0.0.1", "192.0.2.1, 203.0.113.7"), "203.0.113.7");
/// // A client that connects directly is believed nothing.
/// assert_eq!(label("203.0.113.7", "192.0.2.1"), "203.0.113.7");
/// assert_eq!(label("10.0.0.1", "2001:db8:0:17:a:b:c:d"), "2001:db8:0:17::/64");
/// ```
///
/// # The client's address
///
/// 1. A peer that is not in a trusted network is the client, and no header is read.
/// 2. Otherwise all lines of `X-Forwarded-For` are read as one list, in their order; with
///    [`forwarded`](Self::forwarded), those of `Forwarded` in their place. The other header is
///    ignored.
/// 3. From the right, the first address that is not in a trusted network is the client. If all are,
///    it is the left-most. Without the header, it is the peer.
/// 4. An entry that is no address ends the search, such as `unknown`, an obfuscated name or an
///    empty entry. The trusted address to its right is the client then. No text to its left is
///    believed, because a client may have written it.
/// 5. Ports and brackets are accepted, and ignored.
/// 6. The IPv6 addresses that stand for an IPv4 address count as that one, however they are
///    written: mapped ones, `::ffff:0:0/96`, and those of NAT64, `64:ff9b::/96`. This goes for
///    peers and for trusted networks, too. Clients of other IPv6 addresses count by their
///    [prefix](Self::ipv6_prefix).
///
/// A client may send any text in the header. Its key is the same, nothing is allocated, and no more
/// is read than the part that trusted proxies wrote, and one entry.
///
/// # The peer's address
///
/// | server | the address is read from |
/// | --- | --- |
/// | axum, with the feature `axum` | `ConnectInfo<SocketAddr>`, which `into_make_service_with_connect_info` inserts; in tests, `MockConnectInfo` |
/// | any | [`PeerAddr`](super::PeerAddr), an extension that the server inserts; it is looked up first |
/// | tonic | `TcpConnectInfo`, by [`peer_from`](Self::peer_from) |
///
/// A request without any of them has no key. For a Unix socket, see
/// [`PeerAddr::UNIX_SOCKET`](super::PeerAddr::UNIX_SOCKET).
///
/// # The key of a handle
///
/// A handle finds the key by the value of [`key`](Self::key), an [`IpAddr`].
#[derive(Clone, Debug)]
pub struct ClientIp {
    trusted: Networks,
    source: Source,
    ipv6_prefix: u8,
    peer: fn(&Extensions) -> Option<IpAddr>,
}

/// The header that trusted proxies write.
#[derive(Clone, Copy, Debug)]
enum Source {
    XForwardedFor,
    Forwarded,
}

impl ClientIp {
    /// The prefix of IPv6 by default.
    pub(crate) const IPV6_PREFIX: u8 = 64;

    /// Creates the key of the peer's address: no header is read.
    ///
    /// For servers to which clients connect directly.
    #[must_use]
    pub fn peer() -> Self {
        let trusted = Networks::default();
        Self {
            trusted,
            source: Source::XForwardedFor,
            ipv6_prefix: Self::IPV6_PREFIX,
            peer: peer::of,
        }
    }

    /// Creates the key of the address that the proxies in `networks` state in `X-Forwarded-For`.
    ///
    /// A network is written as `10.0.0.0/8` or `2001:db8::/32`, and a single address without a
    /// prefix. All proxies on the way are listed, those of a CDN too: the first address that is not
    /// becomes the client. Without any network, the peer is the client.
    ///
    /// Each proxy must append the address of its peer to the header, or overwrite the header with
    /// it: of nginx, `proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for`.
    ///
    /// # Panics
    ///
    /// If a text is no network, or has bits behind its prefix, or if the networks are all of the
    /// Internet: a client could then choose its address.
    #[must_use]
    #[track_caller]
    pub fn behind<T: AsRef<str>>(networks: impl IntoIterator<Item = T>) -> Self {
        literal(Self::try_behind(networks))
    }

    /// Creates the key of the address that proxies state, as [`behind`](Self::behind) does.
    ///
    /// # Errors
    ///
    /// If a text is no network, or has bits behind its prefix, or if the networks are all of the
    /// Internet.
    ///
    /// ```
    /// use tower_floodgate::keyed::ClientIp;
    ///
    /// let error = ClientIp::try_behind("10.0.0.0/8, 192.168.1.1/16".split(',')).unwrap_err();
    /// assert_eq!(
    ///     error.to_string(),
    ///     r#"networks is " 192.168.1.1/16": it must be 192.168.0.0/16 for the network, or 192.168.1.1 for one address"#,
    /// );
    /// ```
    pub fn try_behind<T: AsRef<str>>(
        networks: impl IntoIterator<Item = T>,
    ) -> Result<Self, InvalidSetting> {
        Ok(Self { trusted: Networks::parse(networks)?, ..Self::peer() })
    }

    /// Reads `Forwarded` (RFC 7239) in the place of `X-Forwarded-For`.
    ///
    /// Only the header that the proxies write may be read: the other one is the client's text.
    ///
    /// ```
    /// use http::Request;
    /// use tower_floodgate::keyed::{ClientIp, PeerAddr};
    ///
    /// let request = Request::builder()
    ///     .extension(PeerAddr::UNIX_SOCKET)
    ///     .header("forwarded", r#"for=192.0.2.1, for="[2001:db8::1]:8080";proto=https"#)
    ///     .body(())
    ///     .unwrap();
    /// let client = ClientIp::behind(["127.0.0.1"]).forwarded().address_of(&request);
    /// assert_eq!(client, Some("2001:db8::1".parse().unwrap()));
    /// ```
    #[must_use]
    pub fn forwarded(mut self) -> Self {
        self.source = Source::Forwarded;
        self
    }

    /// Counts IPv6 clients by the first `bits` of their addresses: by default 64, the smallest
    /// network that a provider gives to a client. Some give 56 or 48.
    ///
    /// IPv4 addresses count whole.
    ///
    /// # Panics
    ///
    /// If `bits` is below 32, the network of a whole provider, or above 128, a single address.
    #[must_use]
    #[track_caller]
    pub fn ipv6_prefix(self, bits: u8) -> Self {
        literal(self.try_ipv6_prefix(bits))
    }

    /// Counts IPv6 clients by the first `bits` of their addresses, as
    /// [`ipv6_prefix`](Self::ipv6_prefix) does.
    ///
    /// # Errors
    ///
    /// If `bits` is below 32 or above 128.
    pub fn try_ipv6_prefix(mut self, bits: u8) -> Result<Self, InvalidSetting> {
        if !matches!(bits, 32..=128) {
            let expected = "between 32 and 128, of the 128 bits of an IPv6 address: 64 for the \
                            network of a client; IPv4 addresses count whole";
            return Err(InvalidSetting::new("ipv6_prefix", bits, expected));
        }
        self.ipv6_prefix = bits;
        Ok(self)
    }

    /// Reads the peer's address by `peer`, in the place of the extensions
    /// [above](Self#the-peers-address). `None` means that the request has no key.
    ///
    /// ```
    /// use http::Request;
    /// use tonic::transport::server::TcpConnectInfo;
    /// use tower_floodgate::keyed::ClientIp;
    ///
    /// // With TLS, `TlsConnectInfo<TcpConnectInfo>`, and its `get_ref`.
    /// let key = ClientIp::peer()
    ///     .peer_from(|extensions| Some(extensions.get::<TcpConnectInfo>()?.remote_addr()?.ip()));
    ///
    /// let remote_addr = Some(([203, 0, 113, 7], 41_952).into());
    /// let peer = TcpConnectInfo { local_addr: None, remote_addr };
    /// let request = Request::builder().extension(peer).body(()).unwrap();
    /// assert_eq!(key.address_of(&request), Some([203, 0, 113, 7].into()));
    /// ```
    #[must_use]
    pub fn peer_from(mut self, peer: fn(&Extensions) -> Option<IpAddr>) -> Self {
        self.peer = peer;
        self
    }

    /// Returns the client's address of a request: the whole address, with an embedded IPv4 address
    /// as such. `None` means that the peer's address is unknown.
    ///
    /// For a log, or for a key of one's own:
    ///
    /// ```
    /// use http::Request;
    /// use tower_floodgate::keyed::{ClientIp, Key};
    ///
    /// #[derive(Clone, Copy, Hash)]
    /// struct User(u64);
    ///
    /// // By user, and by address for requests without one.
    /// fn key(clients: ClientIp) -> impl Key<Request<()>> {
    ///     move |request: &Request<()>| match request.extensions().get::<User>() {
    ///         Some(&user) => Some((Some(user), None)),
    ///         None => Some((None, Some(clients.key(clients.address_of(request)?)))),
    ///     }
    /// }
    /// # let _ = key(ClientIp::peer());
    /// ```
    pub fn address_of<B>(&self, request: &Request<B>) -> Option<IpAddr> {
        let peer = (self.peer)(request.extensions())?;
        Some(self.client(address::canonical(peer), request.headers()))
    }

    /// Returns the key of all clients that count as `address` does: an IPv4 address, or the first
    /// address of an IPv6 network.
    ///
    /// ```
    /// use std::net::IpAddr;
    /// use tower_floodgate::keyed::ClientIp;
    ///
    /// let key = |address: &str| ClientIp::peer().key(address.parse().unwrap());
    /// assert_eq!(key("2001:db8::1:2:3:4"), key("2001:db8::"));
    /// assert_eq!(key("::ffff:192.0.2.1"), "192.0.2.1".parse::<IpAddr>().unwrap());
    /// ```
    #[must_use]
    pub fn key(&self, address: IpAddr) -> IpAddr {
        match address::canonical(address) {
            IpAddr::V6(v6) => IpAddr::V6(address::masked(v6, self.ipv6_prefix)),
            v4 @ IpAddr::V4(_) => v4,
        }
    }

    fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        match self.source {
            Source::XForwardedFor => {
                let lines = lines_from_right(headers, &X_FORWARDED_FOR);
                self.first_untrusted(peer, lines.flat_map(forwarded::x_forwarded_for))
            }
            Source::Forwarded => {
                let lines = lines_from_right(headers, &FORWARDED);
                self.first_untrusted(peer, lines.flat_map(forwarded::forwarded))
            }
        }
    }

    /// Returns the first address that is not trusted of the peer and the entries from the right, or
    /// the last that is trusted. An entry that is no address is the last one: text to its left may
    /// be the client's.
    fn first_untrusted(
        &self,
        peer: IpAddr,
        entries: impl Iterator<Item = Option<IpAddr>>,
    ) -> IpAddr {
        let mut client = peer;
        let mut addresses = entries.map_while(|entry| entry.map(address::canonical));
        while self.trusted.contain(client) {
            match addresses.next() {
                Some(address) => client = address,
                None => break,
            }
        }
        client
    }
}

fn lines_from_right<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
) -> impl Iterator<Item = &'a [u8]> + use<'a> {
    headers.get_all(name).iter().rev().map(HeaderValue::as_bytes)
}

impl<B> Key<Request<B>> for ClientIp {
    fn hash_key<H: Hasher>(&self, request: &Request<B>, state: &mut H) -> bool {
        let address = self.address_of(request);
        address.inspect(|&address| self.key(address).hash(state)).is_some()
    }

    fn label(&self, request: &Request<B>) -> Option<String> {
        let key = self.key(self.address_of(request)?);
        let is_network = key.is_ipv6() && self.ipv6_prefix < 128;
        Some(if is_network { format!("{key}/{}", self.ipv6_prefix) } else { key.to_string() })
    }
}
