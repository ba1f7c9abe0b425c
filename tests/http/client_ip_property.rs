//! The address of a client, for any text in the header, beside a naive version.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use http::{HeaderName, HeaderValue, Request, header::FORWARDED};
use proptest::{collection::vec, prelude::*, sample::select};
use tower_floodgate::keyed::{ClientIp, Key, PeerAddr};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const NETWORKS: [&str; 3] = ["10.0.0.0/8", "2001:db8:ffff::/48", "192.0.2.128/25"];

/// The networks again, by bits.
fn is_trusted(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => matches!(v4.octets(), [10, ..] | [192, 0, 2, 128..=255]),
        IpAddr::V6(v6) => v6.segments()[..3] == [0x2001, 0xdb8, 0xffff],
    }
}

fn as_ipv4(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else { return address };
    match v6.segments() {
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
            IpAddr::V4(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)))
        }
        _ => address,
    }
}

/// Returns the last of the peer and the addresses, from the right, that all before it were trusted.
fn naive(peer: IpAddr, from_left: &[Option<IpAddr>]) -> IpAddr {
    let from_right = from_left.iter().rev().map_while(|&entry| entry);
    let addresses: Vec<_> = [peer].into_iter().chain(from_right).map(as_ipv4).collect();
    let first = addresses.iter().find(|&&address| !is_trusted(address));
    *first.or(addresses.last()).unwrap()
}

/// Returns the address of an entry by the parsers of the standard library.
fn naive_parse(entry: &str) -> Option<IpAddr> {
    let entry = entry.trim_matches([' ', '\t']);
    let in_brackets = || entry.strip_prefix('[')?.strip_suffix(']')?.parse::<Ipv6Addr>().ok();
    let socket = || entry.parse::<SocketAddr>().ok().map(|address| address.ip());
    entry.parse().ok().or_else(|| in_brackets().map(IpAddr::V6)).or_else(socket)
}

fn address() -> impl Strategy<Value = IpAddr> {
    let v4 = |high: u32| (0..=u32::MAX).prop_map(move |low| Ipv4Addr::from_bits(high | low));
    prop_oneof![
        // Trusted ones are frequent, so that many are skipped.
        4 => any::<[u8; 3]>().prop_map(|[a, b, c]| IpAddr::from([10, a, b, c])),
        1 => any::<u8>().prop_map(|last| IpAddr::from([192, 0, 2, last])),
        2 => v4(0).prop_map(IpAddr::V4),
        1 => any::<u64>().prop_map(|low| {
            IpAddr::V6(Ipv6Addr::from_bits(0x2001_0db8_ffff_0000_u128 << 64 | u128::from(low)))
        }),
        1 => any::<u128>().prop_map(|bits| IpAddr::V6(Ipv6Addr::from_bits(bits))),
    ]
}

/// An address in one of its notations, without white space.
fn notation(address: IpAddr) -> impl Strategy<Value = String> {
    (0..8_u8, 1..=65_535_u16).prop_map(move |(form, port)| {
        let v6 = match (address, form) {
            (IpAddr::V4(v4), 0 | 1) => v4.to_ipv6_mapped(),
            (IpAddr::V4(v4), 2 | 3) => {
                Ipv6Addr::from_bits(0x0064_ff9b_u128 << 96 | u128::from(v4.to_bits()))
            }
            (IpAddr::V4(v4), 4) => return format!("{v4}:{port}"),
            (IpAddr::V4(v4), _) => return v4.to_string(),
            (IpAddr::V6(v6), _) => v6,
        };
        let [a, b, c, d, e, f, g, h] = v6.segments();
        match form {
            0 => format!("{a:x}:{b:x}:{c:x}:{d:x}:{e:x}:{f:x}:{g:04X}:{h:04x}"),
            1 | 4 => format!("[{v6}]:{port}"),
            2 | 5 => format!("[{v6}]"),
            _ => v6.to_string(),
        }
    })
}

/// An entry, and its address.
fn entry() -> impl Strategy<Value = (String, Option<IpAddr>)> {
    let words = ["unknown", "_hidden", "", "10.0.0", "10.0.0.256", "[::1", "::1]", "unix:", "[]:1"];
    prop_oneof![
        8 => address().prop_flat_map(|it| (notation(it), Just(Some(it)))),
        1 => select(words.to_vec()).prop_map(|word| (word.to_owned(), None)),
    ]
}

/// Text of any bytes that a header may have.
fn text() -> impl Strategy<Value = Vec<u8>> {
    let bytes = prop_oneof![
        4 => select(&b"0123456789abcf.:[],;=\"\\ \tfor"[..]),
        1 => (32..=255_u8).prop_filter("no control", |&byte| byte != 127),
    ];
    vec(bytes, 0..60)
}

fn request<T: AsRef<[u8]>>(peer: IpAddr, name: &HeaderName, lines: &[T]) -> Request<()> {
    let mut request = Request::new(());
    request.extensions_mut().insert(PeerAddr::from(peer));
    for line in lines {
        request.headers_mut().append(name, HeaderValue::from_bytes(line.as_ref()).unwrap());
    }
    request
}

/// Reads the client's address, and checks that its label is, too.
fn client<T: AsRef<[u8]>>(key: &ClientIp, peer: IpAddr, name: &HeaderName, lines: &[T]) -> IpAddr {
    let request = request(peer, name, lines);
    let client = key.address_of(&request).unwrap();
    let label = key.label(&request).unwrap();
    let network = label.split('/').next().unwrap();
    assert_eq!(network.parse::<IpAddr>().unwrap(), key.key(client));
    client
}

fn keys() -> [(ClientIp, HeaderName); 2] {
    let key = ClientIp::behind(NETWORKS);
    [(key.clone(), X_FORWARDED_FOR), (key.forwarded(), FORWARDED)]
}

/// The form of an element of `Forwarded`.
#[derive(Clone, Debug)]
struct Form {
    name: &'static str,
    is_quoted: bool,
    /// Which characters of a quoted value are escaped.
    escapes: u64,
    before: Vec<&'static str>,
    behind: Vec<&'static str>,
}

impl Form {
    fn write(&self, entry: &str) -> String {
        let value = if self.is_quoted || entry.is_empty() {
            let is_escaped = |at: usize| self.escapes >> (at % 64) & 1 == 1;
            let escaped = entry.char_indices().map(|(at, c)| match is_escaped(at) {
                true => format!("\\{c}"),
                false => c.to_string(),
            });
            format!("\"{}\"", escaped.collect::<String>())
        } else {
            entry.to_owned()
        };
        let pair = format!("{}={value}", self.name);
        let pairs = self.before.iter().copied().chain([&*pair]).chain(self.behind.iter().copied());
        pairs.collect::<Vec<_>>().join(";")
    }
}

fn form() -> impl Strategy<Value = Form> {
    let others = [
        "proto=https",
        "by=_x",
        r#"host="a,for=6.6.6.6;for=6.6.6.6""#,
        r#"by="[2001:db8::1]:80""#,
        r#"x="\\\"\\""#,
        r#"y="\"""#,
        r#"z="""#,
        "",
        " ",
    ];
    let other = move || vec(select(others.to_vec()), 0..3);
    let names = ["for", "For", "FOR"];
    (select(names.to_vec()), any::<bool>(), any::<u64>(), other(), other()).prop_map(
        |(name, is_quoted, escapes, before, behind)| Form {
            name,
            is_quoted,
            escapes,
            before,
            behind,
        },
    )
}

/// Joins entries in some places, and leaves lines in the others.
fn lines(entries: &[String], breaks: u16, delimiter: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for (number, entry) in entries.iter().enumerate() {
        match lines.last_mut() {
            Some(line) if breaks >> (number % 16) & 1 == 0 => {
                line.push_str(delimiter);
                line.push_str(entry);
            }
            _ => lines.push(entry.clone()),
        }
    }
    lines
}

proptest! {
    #[test]
    fn k10_client_ip_equals_the_naive_one(
        peer in address(),
        entries in vec(entry(), 0..8),
        breaks in any::<u16>(),
        delimiter in select(&[",", ", ", "\t, "][..]),
    ) {
        let (texts, addresses): (Vec<_>, Vec<_>) = entries.into_iter().unzip();
        for (text, address) in texts.iter().zip(&addresses) {
            prop_assert_eq!(naive_parse(text).map(as_ipv4), address.map(as_ipv4), "{}", text);
        }
        let lines = lines(&texts, breaks, delimiter);
        let key = ClientIp::behind(NETWORKS);
        prop_assert_eq!(
            client(&key, peer, &X_FORWARDED_FOR, &lines),
            naive(peer, &addresses),
            "{:?}",
            lines
        );
    }

    #[test]
    fn k10_client_ip_of_forwarded_equals_the_naive_one(
        peer in address(),
        entries in vec((entry(), form()), 0..6),
        breaks in any::<u16>(),
        delimiter in select(&[",", ", ", "\t, "][..]),
    ) {
        let texts: Vec<_> = entries.iter().map(|((text, _), form)| form.write(text)).collect();
        let addresses: Vec<_> = entries.iter().map(|((_, address), _)| *address).collect();
        let lines = lines(&texts, breaks, delimiter);
        let key = ClientIp::behind(NETWORKS).forwarded();
        prop_assert_eq!(
            client(&key, peer, &FORWARDED, &lines),
            naive(peer, &addresses),
            "{:?}",
            lines
        );
    }

    /// The client's text stands before the address that the proxy appends, on the same line or on
    /// lines of its own.
    #[test]
    fn k10_text_of_the_client_does_not_change_its_key(
        own in address().prop_filter("no proxy", |&it| !is_trusted(as_ipv4(it))),
        forged in vec(text(), 0..4),
        proxies in vec(any::<[u8; 3]>(), 0..3),
        is_joined in any::<bool>(),
    ) {
        let peer = IpAddr::from([10, 0, 0, 1]);
        for (key, name) in keys() {
            let is_forwarded = name == FORWARDED;
            let element = |address: IpAddr| match address {
                IpAddr::V6(v6) if is_forwarded => format!("for=\"[{v6}]\""),
                _ if is_forwarded => format!("for={address}"),
                _ => address.to_string(),
            };
            let mut appended = element(own);
            for &[a, b, c] in &proxies {
                appended.push_str(", ");
                appended.push_str(&element(IpAddr::from([10, a, b, c])));
            }
            let mut lines = forged.clone();
            match lines.last_mut() {
                Some(last) if is_joined => {
                    last.extend_from_slice(b", ");
                    last.extend_from_slice(appended.as_bytes());
                }
                _ => lines.push(appended.into_bytes()),
            }
            prop_assert_eq!(client(&key, peer, &name, &lines), as_ipv4(own), "{:?}", lines);
        }
    }

    #[test]
    fn k10_text_of_any_header_does_not_panic(
        peer in address(),
        lines in vec(text(), 0..4),
    ) {
        for (key, name) in keys() {
            let client = client(&key, peer, &name, &lines);
            let peer = as_ipv4(peer);
            // A peer that is not trusted is believed, and nothing else.
            prop_assert!(is_trusted(peer) || client == peer);
        }
    }

    /// Nothing to the left of an entry that is no address is read.
    #[test]
    fn k10_entry_that_is_no_address_hides_all_on_its_left(
        peer in address(),
        left in vec(entry(), 0..4),
        right in vec(entry(), 0..4),
        word in select(&["unknown", "_x", "a.b.c.d", "1.2.3.4.5", "::g", "1.1.1.1:_"][..]),
    ) {
        for (key, name) in keys() {
            let is_forwarded = name == FORWARDED;
            let write = |text: &str| match is_forwarded {
                true => format!("for=\"{text}\""),
                false => text.to_owned(),
            };
            let of = |entries: &[(String, Option<IpAddr>)]| {
                entries.iter().map(|(text, _)| write(text)).collect::<Vec<_>>()
            };
            let hidden = [of(&left), vec![write(word)], of(&right)].concat().join(",");
            let plain = [vec![write(word)], of(&right)].concat().join(",");
            prop_assert_eq!(
                client(&key, peer, &name, &[hidden]),
                client(&key, peer, &name, &[plain])
            );
        }
    }
}
