//! The one text that stands for all notations of a host. Pure.

use std::io::{self, Write};

/// The longest host in bytes. A name of the DNS has at most 253.
const LONGEST: usize = 255;
/// ...and a colon with a port.
const LONGEST_WITH_PORT: usize = LONGEST + 6;

/// Returns true if `port` is the default of `scheme`, or of one of both without a scheme.
pub(super) fn is_default(scheme: Option<&str>, port: u16) -> bool {
    match scheme {
        Some("http" | "ws") => port == 80,
        Some("https" | "wss") => port == 443,
        Some(_) => false,
        None => matches!(port, 80 | 443),
    }
}

/// Calls `then` with the normal form of an authority, or with an empty text if it is malformed.
pub(super) fn with_text<T>(
    authority: &str,
    is_default: impl FnOnce(u16) -> bool,
    then: impl FnOnce(&str) -> T,
) -> T {
    match parts(authority) {
        Some((host, port)) => with_parts(host, port.filter(|&port| !is_default(port)), then),
        None => then(""),
    }
}

/// Returns the host and the port of an authority.
fn parts(authority: &str) -> Option<(&str, Option<u16>)> {
    let text = authority.rsplit('@').next().unwrap_or(authority).trim_ascii();
    // The colons of an IPv6 address are in brackets.
    let end = match text.strip_prefix('[') {
        Some(rest) => rest.find(']')? + 2,
        None => text.find(':').unwrap_or(text.len()),
    };
    let (host, port) = text.split_at(end);
    match port.strip_prefix(':') {
        // An empty port is the default.
        Some("") => Some((host, None)),
        Some(port) if port.bytes().all(|byte| byte.is_ascii_digit()) => {
            Some((host, Some(port.parse().ok()?)))
        }
        None if port.is_empty() => Some((host, None)),
        _ => None,
    }
}

/// Calls `then` with the normal form of a host and a port that is not the default.
pub(super) fn with_parts<T>(host: &str, port: Option<u16>, then: impl FnOnce(&str) -> T) -> T {
    let host = host.strip_suffix('.').unwrap_or(host);
    if host.is_empty() || host.len() > LONGEST {
        return then("");
    }
    if port.is_none() && !host.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return then(host);
    }
    // The text is one piece, because the hash of its pieces may differ.
    let mut bytes = [0; LONGEST_WITH_PORT];
    let length = write(&mut bytes, host, port).expect("the length was checked");
    let text = std::str::from_utf8(&bytes[..length]).expect("the case of ASCII was changed");
    then(text)
}

fn write(bytes: &mut [u8], host: &str, port: Option<u16>) -> io::Result<usize> {
    let mut rest = &mut *bytes;
    rest.write_all(host.as_bytes())?;
    if let Some(port) = port {
        write!(rest, ":{port}")?;
    }
    let length = LONGEST_WITH_PORT - rest.len();
    bytes[..host.len()].make_ascii_lowercase();
    Ok(length)
}
