//! The networks of trusted proxies.

use std::{net::IpAddr, sync::Arc};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::address;
use crate::settings::InvalidSetting;

/// Networks in their order, without overlaps. IPv6 networks of embedded IPv4 addresses are among
/// those of IPv4.
#[derive(Clone, Debug, Default)]
pub(super) struct Networks {
    v4: Arc<[Ipv4Net]>,
    v6: Arc<[Ipv6Net]>,
}

impl Networks {
    pub(super) fn parse<T: AsRef<str>>(
        networks: impl IntoIterator<Item = T>,
    ) -> Result<Self, InvalidSetting> {
        let (mut v4, mut v6, mut texts) = (Vec::new(), Vec::new(), Vec::new());
        for text in networks {
            let text = text.as_ref();
            match parse(text)? {
                IpNet::V4(network) => v4.push(network),
                IpNet::V6(network) => v6.push(network),
            }
            texts.push(text.to_owned());
        }
        let (mut v4, mut v6) = (Ipv4Net::aggregate(&v4), Ipv6Net::aggregate(&v6));
        // Two halves are everything, too.
        let is_all = v4.iter().any(|network| network.prefix_len() == 0) || v6.iter().any(has_all);
        if is_all {
            return Err(match &texts[..] {
                [text] => InvalidSetting::new("networks", text, ALL),
                texts => InvalidSetting::new("networks", texts, ALL),
            });
        }
        v4.sort_unstable();
        v6.sort_unstable();
        Ok(Self { v4: v4.into(), v6: v6.into() })
    }

    /// Returns true if a [canonical](address::canonical) address is in one of the networks.
    pub(super) fn contain(&self, address: IpAddr) -> bool {
        // Of networks without overlaps, only the last that begins before the address can hold it.
        match address {
            IpAddr::V4(address) => {
                let end = self.v4.partition_point(|network| network.network() <= address);
                self.v4[..end].last().is_some_and(|network| network.contains(&address))
            }
            IpAddr::V6(address) => {
                let end = self.v6.partition_point(|network| network.network() <= address);
                self.v6[..end].last().is_some_and(|network| network.contains(&address))
            }
        }
    }
}

const ALL: &str = "the networks of the proxies alone: if all addresses were trusted, each client \
                   could choose its own";

fn parse(text: &str) -> Result<IpNet, InvalidSetting> {
    let invalid = |expected: &str| InvalidSetting::new("networks", text, expected);
    let trimmed = text.trim();
    let address = || trimmed.parse::<IpAddr>().ok().map(IpNet::from);
    let network = trimmed.parse::<IpNet>().ok().or_else(address).ok_or_else(|| {
        if trimmed.starts_with("unix") {
            invalid("a network: for a Unix socket, trust 127.0.0.1 and see PeerAddr::UNIX_SOCKET")
        } else {
            invalid("a network such as 10.0.0.0/8 or 2001:db8::/32, or an address")
        }
    })?;
    // A slip of the pen may trust 16 million addresses for one.
    if network.trunc() != network {
        let (whole, one) = (network.trunc(), network.addr());
        return Err(invalid(&format!("{whole} for the network, or {one} for one address")));
    }
    let IpNet::V6(v6) = network else { return Ok(network) };
    match (address::embedded(v6.addr()), v6.prefix_len().checked_sub(96)) {
        (Some(v4), Some(prefix)) => {
            Ok(IpNet::V4(Ipv4Net::new(v4, prefix).expect("at most 128 - 96")))
        }
        _ => Ok(network),
    }
}

/// Returns true if the network has all addresses of the Internet: all of IPv6 that are given out,
/// `2000::/3`, or all of IPv4 as a part of IPv6.
fn has_all(network: &Ipv6Net) -> bool {
    let given_out = std::net::Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0);
    let has_range = |first, prefix| network.prefix_len() <= prefix && network.contains(first);
    has_range(&given_out, 3) || address::EMBEDDING.iter().any(|first| has_range(first, 96))
}
