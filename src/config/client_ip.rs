#[cfg(feature = "serde")]
use super::fields;
use crate::{keyed::ClientIp, settings::InvalidSetting};

/// The header in which trusted proxies state the address of a client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "kebab-case"))]
#[non_exhaustive]
pub enum ClientIpHeader {
    /// `X-Forwarded-For`, the default.
    #[default]
    #[cfg_attr(feature = "serde", serde(alias = "X-Forwarded-For"))]
    XForwardedFor,
    /// `Forwarded` (RFC 7239).
    #[cfg_attr(feature = "serde", serde(alias = "Forwarded"))]
    Forwarded,
}

/// The settings of a [`ClientIp`]: the reverse proxies of a server.
///
/// | field | default | |
/// | --- | --- | --- |
/// | `networks` | none: the peer is the client | the networks of the proxies |
/// | `header` | `x-forwarded-for` | the header that they write; or `forwarded` |
/// | `ipv6_prefix` | 64 | the bits by which IPv6 clients count |
///
/// ```
/// use tower_floodgate::config::{ClientIpConfig, ClientIpHeader};
///
/// # fn main() -> Result<(), tower_floodgate::InvalidSetting> {
/// let mut config = ClientIpConfig::new(["10.0.0.0/8", "2001:db8::/32"]);
/// config.header = ClientIpHeader::Forwarded;
/// let key = config.try_key()?;
/// # let _ = key;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
#[non_exhaustive]
pub struct ClientIpConfig {
    /// The networks of trusted proxies, as [`ClientIp::behind`] reads them.
    #[cfg_attr(feature = "serde", serde(default, deserialize_with = "fields::networks"))]
    pub networks: Vec<String>,
    /// The header that the proxies write.
    #[cfg_attr(feature = "serde", serde(default))]
    pub header: ClientIpHeader,
    /// The first bits of their addresses by which IPv6 clients count, between 32 and 128.
    #[cfg_attr(feature = "serde", serde(default = "ipv6_prefix"))]
    #[cfg_attr(feature = "serde", serde(deserialize_with = "fields::ipv6_prefix"))]
    pub ipv6_prefix: u8,
}

#[cfg(feature = "serde")]
const fn ipv6_prefix() -> u8 {
    ClientIp::IPV6_PREFIX
}

impl ClientIpConfig {
    /// Creates the settings of the key behind the proxies in these networks.
    #[must_use]
    pub fn new<T: Into<String>>(networks: impl IntoIterator<Item = T>) -> Self {
        Self {
            networks: networks.into_iter().map(Into::into).collect(),
            header: ClientIpHeader::XForwardedFor,
            ipv6_prefix: ClientIp::IPV6_PREFIX,
        }
    }

    /// Creates the key.
    ///
    /// # Errors
    ///
    /// If a text is no network, the networks are all of the Internet, or `ipv6_prefix` is below 32
    /// or above 128.
    pub fn try_key(&self) -> Result<ClientIp, InvalidSetting> {
        let key = ClientIp::try_behind(&self.networks)?.try_ipv6_prefix(self.ipv6_prefix)?;
        Ok(match self.header {
            ClientIpHeader::XForwardedFor => key,
            ClientIpHeader::Forwarded => key.forwarded(),
        })
    }
}
