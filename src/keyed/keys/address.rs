//! Addresses: their notations, and the one that stands for all notations and for a network. Pure.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The longest text of an address in bytes: an IPv6 address has 45, and brackets and a port.
pub(super) const LONGEST: usize = 64;

/// Returns the address of a node as proxies write it: with or without a port, an IPv6 address with
/// or without brackets.
///
/// An IPv6 address without brackets has no port. A port is a number or, as RFC 7239 allows, a name
/// that begins with `_`.
pub(super) fn parse(text: &[u8]) -> Option<IpAddr> {
    if text.len() > LONGEST {
        return None;
    }
    let text = std::str::from_utf8(text).ok()?;
    if let Some(text) = text.strip_prefix('[') {
        let (address, port) = text.split_once(']')?;
        let is_valid = port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
        return if is_valid { address.parse::<Ipv6Addr>().ok().map(IpAddr::V6) } else { None };
    }
    match text.split_once(':') {
        None => text.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
        Some((_, rest)) if rest.contains(':') => text.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        Some((_, port)) if !is_port(port) => None,
        Some((address, _)) => address.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
    }
}

fn is_port(text: &str) -> bool {
    match text.strip_prefix('_') {
        Some(name) => {
            let is_part = |byte| matches!(byte, b'.' | b'_' | b'-') || byte.is_ascii_alphanumeric();
            !name.is_empty() && name.bytes().all(is_part)
        }
        None => matches!(text.len(), 1..=5) && text.bytes().all(|byte| byte.is_ascii_digit()),
    }
}

/// The ranges of IPv6 whose addresses stand for IPv4 addresses, which are their last 32 bits:
/// mapped addresses, `::ffff:0:0/96`, and those of NAT64, `64:ff9b::/96`.
pub(super) const EMBEDDING: [Ipv6Addr; 2] =
    [Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0), Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0)];

/// Returns the IPv4 address that an IPv6 address stands for.
pub(super) fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let bits = address.to_bits();
    let is_embedding = EMBEDDING.iter().any(|range| range.to_bits() >> 32 == bits >> 32);
    #[expect(clippy::cast_possible_truncation, reason = "the last 32 bits are meant")]
    is_embedding.then(|| Ipv4Addr::from_bits(bits as u32))
}

/// Returns the IPv4 address that the address stands for, or the address.
pub(super) fn canonical(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(v6) => embedded(v6).map_or(address, IpAddr::V4),
        IpAddr::V4(_) => address,
    }
}

/// Returns the first address of the network of `prefix` bits.
pub(super) fn masked(address: Ipv6Addr, prefix: u8) -> Ipv6Addr {
    let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
    Ipv6Addr::from_bits(address.to_bits() & mask)
}
