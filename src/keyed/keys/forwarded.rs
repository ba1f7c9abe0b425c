//! The addresses of `X-Forwarded-For` and of `Forwarded`, from the right to the left. Pure.
//!
//! Each proxy appends to the right, so the text on the left is the client's own. A header is
//! therefore read from its right end, `Forwarded` too: read from the left, a quote that the client
//! leaves open would swallow the part that the proxies wrote. In a well-formed part, the opening
//! quote is the first one to the left without a backslash before it, so both directions agree, and
//! no text on the left changes the reading of the part on its right.
//!
//! Each byte is looked at a constant number of times, and none to the left of the entry at which
//! the caller stops.

use std::net::IpAddr;

use super::address;

/// Returns the entries of a line of `X-Forwarded-For` from the right. `None` is no address.
pub(super) fn x_forwarded_for(line: &[u8]) -> impl Iterator<Item = Option<IpAddr>> {
    line.rsplit(|&byte| byte == b',').map(|entry| address::parse(entry.trim_ascii()))
}

/// Returns the `for` of the elements of a line of `Forwarded` from the right. `None` is no address,
/// and ends the line: to the left of a malformed element, the next one cannot be told.
///
/// The grammar is that of RFC 7239, section 4. Beyond it, white space around `;` is accepted, and
/// an address that should be quoted.
pub(super) fn forwarded(line: &[u8]) -> impl Iterator<Item = Option<IpAddr>> {
    let mut line = Some(line);
    std::iter::from_fn(move || match last_element(line.take()?) {
        Some((address, rest)) => {
            line = rest;
            Some(Some(address))
        }
        None => Some(None),
    })
}

/// Returns the address of the last element, and the part of the line before it, if there is one.
fn last_element(line: &[u8]) -> Option<(IpAddr, Option<&[u8]>)> {
    let mut found = None;
    let mut line = line.trim_ascii_end();
    loop {
        line = match line.split_last() {
            None => return Some((found?, None)),
            Some((b',', rest)) => return Some((found?, Some(rest))),
            Some((b';', rest)) => rest.trim_ascii_end(),
            Some(_) => {
                let (name, value, rest) = last_pair(line)?;
                if name.eq_ignore_ascii_case(b"for") {
                    // The name may occur once.
                    let previous = found.replace(value.address()?);
                    if previous.is_some() {
                        return None;
                    }
                }
                rest
            }
        }
    }
}

enum Value<'a> {
    Plain(&'a [u8]),
    /// The text between the quotes.
    Quoted(&'a [u8]),
}

impl Value<'_> {
    fn address(&self) -> Option<IpAddr> {
        match self {
            Self::Plain(text) => address::parse(text),
            Self::Quoted(text) => {
                let mut bytes = [0; address::LONGEST];
                let mut free = bytes.iter_mut();
                let mut rest = text.iter();
                while let Some(&byte) = rest.next() {
                    let byte = if byte == b'\\' { *rest.next()? } else { byte };
                    *free.next()? = byte;
                }
                let length = address::LONGEST - free.len();
                address::parse(&bytes[..length])
            }
        }
    }
}

/// Returns name and value of the pair at the end of the line, and the part before the pair, which
/// is empty or ends with a delimiter.
fn last_pair(line: &[u8]) -> Option<(&[u8], Value<'_>, &[u8])> {
    let (value, rest) = match line.strip_suffix(b"\"") {
        Some(line) => {
            let (text, rest) = quoted(line)?;
            (Value::Quoted(text), rest)
        }
        None => {
            let (text, rest) = last_word(line, is_plain)?;
            (Value::Plain(text), rest)
        }
    };
    let (name, rest) = last_word(rest.strip_suffix(b"=")?, is_of_token)?;
    let rest = rest.trim_ascii_end();
    matches!(rest.last(), None | Some(b',' | b';')).then_some((name, value, rest))
}

/// Returns the text of the quoted string that ends with the line, without its closing quote,
/// and the part before its opening quote.
fn quoted(line: &[u8]) -> Option<(&[u8], &[u8])> {
    if is_escaped(line) {
        return None;
    }
    let mut end = line.len();
    loop {
        end = line[..end].iter().rposition(|&byte| byte == b'"')?;
        if !is_escaped(&line[..end]) {
            return Some((&line[end + 1..], &line[..end]));
        }
    }
}

/// Returns true if the byte behind the text is escaped by a backslash, which is itself not.
fn is_escaped(text: &[u8]) -> bool {
    text.iter().rev().take_while(|&&byte| byte == b'\\').count() % 2 == 1
}

/// Returns the longest text at the end of the line of these bytes, which is not empty, and the part
/// before it.
fn last_word(line: &[u8], is_part: fn(u8) -> bool) -> Option<(&[u8], &[u8])> {
    let start = line.iter().rposition(|&byte| !is_part(byte)).map_or(0, |last| last + 1);
    let (rest, word) = line.split_at(start);
    (!word.is_empty()).then_some((word, rest))
}

/// A byte of a value without quotes.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_graphic() && !matches!(byte, b'"' | b',' | b';' | b'=' | b'\\')
}

/// A byte of a token (RFC 9110, section 5.6.2).
fn is_of_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
