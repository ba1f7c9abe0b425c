//! Causes of a failed connection that a retry does not mend.
//!
//! The error types of connectors are private, or of crates that are no dependency. So a cause is
//! known by its text, and only below an error that says the connection failed. An unknown text is
//! no evidence: the request is retried, as it is after a failure that may pass.

use std::{error::Error, io};

/// Returns true if `cause`, below an error of a client that could not connect, is permanent.
pub(super) fn is_permanent(cause: &(dyn Error + 'static)) -> bool {
    if let Some(io) = cause.downcast_ref() {
        if failed_lookup(io) == Some(Lookup::NoSuchName) {
            return true;
        }
    }
    let text = cause.to_string();
    is_of_uri(&text) || is_of_rustls(&text) || is_of_openssl(&text) || text == PROXY_REFUSES
}

/// A tunnel of hyper-util's, through a proxy that responds with 407.
const PROXY_REFUSES: &str = "tunnel error: proxy authorization required";

/// Returns true if the connector can't connect to such a URI: it lacks a part, its scheme is for
/// another connector, or its host is no name for a certificate.
fn is_of_uri(text: &str) -> bool {
    // hyper-util, hyper-rustls, and rustls's names; hyper-tls.
    ["invalid URL, ", "unsupported scheme ", "missing scheme", "invalid dns name"]
        .iter()
        .any(|start| text.starts_with(start))
        || text == "https required but URI was not https"
}

/// Alerts about the parameters of a handshake (RFC 8446, 6.2), by the names of rustls and their
/// numbers. Others, such as `internal_error`, are about the moment.
const ALERTS: [(&str, u8); 18] = [
    ("HandshakeFailure", 40),
    ("NoCertificate", 41),
    ("BadCertificate", 42),
    ("UnsupportedCertificate", 43),
    ("CertificateRevoked", 44),
    ("CertificateExpired", 45),
    ("CertificateUnknown", 46),
    ("IllegalParameter", 47),
    ("UnknownCA", 48),
    ("AccessDenied", 49),
    ("ProtocolVersion", 70),
    ("InsufficientSecurity", 71),
    ("InappropriateFallback", 86),
    ("MissingExtension", 109),
    ("UnsupportedExtension", 110),
    ("UnrecognisedName", 112),
    ("CertificateRequired", 116),
    ("NoApplicationProtocol", 120),
];

/// Returns true if one side of a handshake of rustls came to a verdict about the other.
fn is_of_rustls(text: &str) -> bool {
    const VERDICTS: [&str; 7] = [
        "received corrupt message of type ", // the peer speaks no TLS
        "received unexpected message: ",
        "received unexpected handshake message: ",
        "peer is incompatible: ",
        "peer misbehaved: ",
        "peer sent no certificates",
        "peer doesn't support any known protocol",
    ];
    // A revocation list can be renewed, and a verifier of the platform may have failed itself.
    const DOUBTFUL: [&str; 4] = [
        "certificate revocation list expired",
        "ExpiredRevocationList",
        "UnknownRevocationStatus",
        "Other(",
    ];
    if let Some(why) = text.strip_prefix("invalid peer certificate: ") {
        return !DOUBTFUL.iter().any(|start| why.starts_with(start));
    }
    if let Some(alert) = text.strip_prefix("received fatal alert: ") {
        return ALERTS.iter().any(|(name, _)| *name == alert);
    }
    VERDICTS.iter().any(|start| text.starts_with(start))
}

/// Returns true if one side of a handshake of OpenSSL came to a verdict about the other: that of
/// native-tls on Linux, and of bindings to OpenSSL and BoringSSL.
fn is_of_openssl(text: &str) -> bool {
    const VERDICTS: [&str; 5] = [
        "certificate verify failed",
        "wrong version number",   // the peer speaks no TLS
        "packet length too long", // nor here
        "unsupported protocol",
        "no protocols available",
    ];
    if !text.contains(":SSL routines:") {
        return false;
    }
    if let Some((_, alert)) = text.rsplit_once(":SSL alert number ") {
        return ALERTS.iter().any(|(_, number)| number.to_string() == alert);
    }
    // BoringSSL writes the same reasons in capitals, with underscores.
    let text = text.to_ascii_lowercase().replace('_', " ");
    VERDICTS.iter().any(|verdict| text.contains(verdict))
}

/// The reason why an address could not be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lookup {
    /// The resolver says that there is no such name.
    NoSuchName,
    /// Anything else, such as a name server that does not respond.
    Failed,
}

/// Reads an error of the system's resolver. `None` for any other error.
///
/// The standard library passes on the text of `getaddrinfo`, and on Windows its number.
pub(super) fn failed_lookup(error: &io::Error) -> Option<Lookup> {
    /// `EAI_NONAME` of glibc; of macOS; of Android and the BSDs; of musl and FreeBSD.
    const NO_SUCH_NAME: [&str; 4] = [
        "Name or service not known",
        "nodename nor servname provided, or not known",
        "hostname nor servname provided, or not known",
        "Name does not resolve",
    ];
    match error.raw_os_error() {
        // WSAHOST_NOT_FOUND; WSATRY_AGAIN, WSANO_RECOVERY, WSANO_DATA. Numbers of no other system.
        Some(11_001) => return Some(Lookup::NoSuchName),
        Some(11_002..=11_004) => return Some(Lookup::Failed),
        Some(_) => return None,
        None => {}
    }
    let text = error.to_string();
    let reason = text.strip_prefix("failed to lookup address information: ")?;
    Some(if NO_SUCH_NAME.contains(&reason) { Lookup::NoSuchName } else { Lookup::Failed })
}
