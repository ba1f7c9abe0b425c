//! The address of a client: the rules, each with the reports of users that call for it.

use std::net::{IpAddr, SocketAddr};

use http::{HeaderName, HeaderValue, Request, header::FORWARDED};
use tower_floodgate::keyed::{ClientIp, Key, PeerAddr};

use crate::keys::{hash_of_key, hash_of_value};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn request(peer: &str, name: &HeaderName, lines: &[&str]) -> Request<()> {
    let mut request = Request::new(());
    request.extensions_mut().insert(PeerAddr::from(address(peer)));
    for line in lines {
        request.headers_mut().append(name, HeaderValue::from_bytes(line.as_bytes()).unwrap());
    }
    request
}

/// A report, the peer, the lines of the header, and the key as shown.
type Row<'a> = (&'a str, &'a str, &'a [&'a str], &'a str);

fn check(key: &ClientIp, name: &HeaderName, rows: &[Row]) {
    for &(report, peer, lines, expected) in rows {
        let request = request(peer, name, lines);
        assert_eq!(key.label(&request).as_deref(), Some(expected), "{report}: {lines:?}");
        let client = key.address_of(&request).unwrap();
        let found = hash_of_value(&key.key(client));
        assert_eq!(hash_of_key(key, &request), Some(found), "{report}: {lines:?}");
    }
}

#[test]
fn k10_header_counts_from_trusted_peers_only() {
    let rows: &[Row] = &[
        // A site behind one proxy.
        ("PostHog 40341", "10.0.0.9", &["1.2.3.4"], "1.2.3.4"),
        ("PostHog 40341, another client", "10.0.0.9", &["1.2.3.5"], "1.2.3.5"),
        ("f1-dash 113", "10.0.0.9", &["198.51.100.2"], "198.51.100.2"),
        ("rari 117", "172.17.0.1", &["198.51.100.3"], "198.51.100.3"),
        ("commonly 652", "2001:db8:ffff::2", &["198.51.100.4"], "198.51.100.4"),
        ("without the header", "10.0.0.9", &[], "10.0.0.9"),
        // Text of the client in front of the proxy's.
        ("Bamboo-agent 413", "10.0.0.9", &["192.0.2.1, 203.0.113.7"], "203.0.113.7"),
        ("drydock 43", "10.0.0.9", &["10.0.0.1, 203.0.113.7"], "203.0.113.7"),
        ("a claim to be the proxy", "10.0.0.9", &["10.0.0.9, 10.0.0.9,203.0.113.7"], "203.0.113.7"),
        // A client that connects directly.
        ("PrepPilot 1150", "203.0.113.7", &["192.0.2.1"], "203.0.113.7"),
        ("PrepPilot 1150, rotated", "203.0.113.7", &["192.0.2.2"], "203.0.113.7"),
        ("a proxy that is not listed", "172.18.0.1", &["192.0.2.1"], "172.18.0.1"),
        // A CDN in front of a proxy. All their networks are trusted.
        ("two proxies", "10.0.0.9", &["192.0.2.1, 203.0.113.7, 198.18.5.5"], "203.0.113.7"),
        ("a client within the network", "10.0.0.9", &["10.1.1.1, 10.2.2.2"], "10.1.1.1"),
    ];
    let networks = ["10.0.0.0/8", "172.17.0.1", "198.18.0.0/15", "2001:db8:ffff::/48"];
    check(&ClientIp::behind(networks), &X_FORWARDED_FOR, rows);
}

#[test]
fn k10_lines_of_a_header_are_one_list() {
    let rows: &[Row] = &[
        ("the last line has the client", "10.0.0.9", &["192.0.2.1", "203.0.113.7"], "203.0.113.7"),
        ("proxies on lines of their own", "10.0.0.9", &["203.0.113.7", "10.0.0.8"], "203.0.113.7"),
        (
            "lists on both",
            "10.0.0.9",
            &["192.0.2.1, 203.0.113.7", "10.0.0.7, 10.0.0.8"],
            "203.0.113.7",
        ),
        ("an empty line of the client", "10.0.0.9", &["", "203.0.113.7"], "203.0.113.7"),
        ("an empty line of a proxy", "10.0.0.9", &["203.0.113.7", ""], "10.0.0.9"),
    ];
    check(&ClientIp::behind(["10.0.0.0/8"]), &X_FORWARDED_FOR, rows);
}

#[test]
fn k10_entry_that_is_no_address_ends_the_search() {
    let no_addresses = [
        "unknown",
        "_hidden",
        "unix:",
        "",
        "localhost",
        "203.0.113.7:",
        "203.0.113.7:x",
        "203.0.113.7:123456",
        "203.0.113.256",
        "203.0.113",
        "0203.0.113.7",
        "203.0.113.7 198.51.100.1",
        "\"203.0.113.7\"",
        "[203.0.113.7]",
        "[2001:db8::1",
        "[2001:db8::1]80",
        "[2001:db8::1]:",
        "2001:db8::1]",
        "2001:db8::1::",
        "fe80::1%eth0",
        "1.2.3.4:80:90",
        "::ffff:1.2.3.4.5",
        "٣.1.1.1",
    ];
    let key = ClientIp::behind(["10.0.0.0/8"]);
    for entry in no_addresses.map(str::to_owned).into_iter().chain(["1".repeat(100_000)]) {
        let line = format!("192.0.2.1, {entry}, 10.0.0.7");
        check(&key, &X_FORWARDED_FOR, &[("no address", "10.0.0.9", &[&line], "10.0.0.7")]);
        let line = format!("192.0.2.1, {entry}");
        check(&key, &X_FORWARDED_FOR, &[("no address", "10.0.0.9", &[&line], "10.0.0.9")]);
    }
}

#[test]
fn k10_ports_brackets_and_white_space_are_accepted() {
    let rows: &[Row] = &[
        ("a port", "10.0.0.9", &["203.0.113.7:41952"], "203.0.113.7"),
        ("a trusted address with a port", "10.0.0.9", &["203.0.113.7,10.0.0.1:1"], "203.0.113.7"),
        ("an obfuscated port", "10.0.0.9", &["203.0.113.7:_a.B-9"], "203.0.113.7"),
        ("brackets", "10.0.0.9", &["[2001:db8::7]"], "2001:db8::/64"),
        ("brackets and a port", "10.0.0.9", &["[2001:db8::7]:443"], "2001:db8::/64"),
        ("neither", "10.0.0.9", &["2001:db8::7"], "2001:db8::/64"),
        ("white space", "10.0.0.9", &["192.0.2.1 ,\t 203.0.113.7\t,  10.0.0.1  "], "203.0.113.7"),
        ("no white space", "10.0.0.9", &["192.0.2.1,203.0.113.7,10.0.0.1"], "203.0.113.7"),
    ];
    check(&ClientIp::behind(["10.0.0.0/8"]), &X_FORWARDED_FOR, rows);
}

#[test]
fn k10_embedded_ipv4_address_is_told_by_its_range() {
    let rows: &[Row] = &[
        ("meshmonitor 2001", "::ffff:192.0.2.1", &[], "192.0.2.1"),
        ("Rapid-MLX 589", "::ffff:192.0.2.2", &[], "192.0.2.2"),
        ("express-rate-limit 667", "::ffff:c000:201", &[], "192.0.2.1"),
        ("667, of zeros written out", "0:0:0:0:0:ffff:c000:0201", &[], "192.0.2.1"),
        (
            "667, dots in an address that embeds none",
            "2001:db8:1234:5678::1.2.3.4",
            &[],
            "2001:db8:1234:5678::/64",
        ),
        ("jellyfin-sso 194", "64:ff9b::808:808", &[], "8.8.8.8"),
        ("jellyfin-sso 194, another client", "64:ff9b::9.9.9.9", &[], "9.9.9.9"),
        ("a range of the same beginning", "64:ff9b:1::9.9.9.9", &[], "64:ff9b:1::/64"),
        ("an address beside the range", "::fffe:9.9.9.9", &[], "::/64"),
        // Of trusted proxies.
        ("a mapped proxy", "::ffff:10.0.0.9", &["203.0.113.7"], "203.0.113.7"),
        ("a mapped proxy as text", "10.0.0.9", &["203.0.113.7, ::ffff:a00:1"], "203.0.113.7"),
        ("a proxy of NAT64", "64:ff9b::10.0.0.9", &["203.0.113.7"], "203.0.113.7"),
        ("a mapped client", "10.0.0.9", &["[::ffff:203.0.113.7]:80"], "203.0.113.7"),
    ];
    for network in ["10.0.0.0/8", "::ffff:10.0.0.0/104", "::ffff:a00:0/104", "64:ff9b::a00:0/104"] {
        check(&ClientIp::behind([network]), &X_FORWARDED_FOR, rows);
    }
}

#[test]
fn k10_ipv6_client_counts_by_its_prefix() {
    let rows: &[Row] = &[
        ("neon 7316", "2001:db8:1:2:3:4:5:6", &[], "2001:db8:1:2::/64"),
        ("zulip 21544", "2001:db8:1:2:ffff:ffff:ffff:ffff", &[], "2001:db8:1:2::/64"),
        ("minekube 938", "2001:db8:1:3::1", &[], "2001:db8:1:3::/64"),
        ("buzz 3784", "10.0.0.9", &["2001:db8:1:3:9::"], "2001:db8:1:3::/64"),
    ];
    check(&ClientIp::behind(["10.0.0.0/8"]), &X_FORWARDED_FOR, rows);
    for (bits, shown) in [
        (128, "2001:db8:1:fe2:3:4:5:6"),
        (127, "2001:db8:1:fe2:3:4:5:6/127"),
        (56, "2001:db8:1:f00::/56"),
        (48, "2001:db8:1::/48"),
        (32, "2001:db8::/32"),
    ] {
        let key = ClientIp::peer().ipv6_prefix(bits);
        let peer = "2001:db8:1:fe2:3:4:5:6";
        check(&key, &X_FORWARDED_FOR, &[("zulip 21544, other prefixes", peer, &[], shown)]);
        check(&key, &X_FORWARDED_FOR, &[("IPv4 counts whole", "192.0.2.1", &[], "192.0.2.1")]);
    }
}

#[test]
fn k10_forwarded_is_read_by_its_grammar() {
    let rows: &[Row] = &[
        ("a token", "10.0.0.9", &["for=203.0.113.7"], "203.0.113.7"),
        ("case", "10.0.0.9", &["FoR=203.0.113.7;Proto=HTTPS"], "203.0.113.7"),
        ("several", "10.0.0.9", &["for=192.0.2.1, for=203.0.113.7, for=10.1.1.1"], "203.0.113.7"),
        ("lines", "10.0.0.9", &["for=192.0.2.1", "for=203.0.113.7", "for=10.1.1.1"], "203.0.113.7"),
        ("quoted", "10.0.0.9", &[r#"for="203.0.113.7:80""#], "203.0.113.7"),
        ("IPv6", "10.0.0.9", &[r#"for="[2001:db8::1]:_x";by=_a"#], "2001:db8::/64"),
        ("not quoted, though it should be", "10.0.0.9", &["for=[2001:db8::1]:80"], "2001:db8::/64"),
        ("escapes", "10.0.0.9", &[r#"for="203.0\.113.7\:80""#], "203.0.113.7"),
        ("order", "10.0.0.9", &["by=10.0.0.1;proto=http;for=203.0.113.7;host=a"], "203.0.113.7"),
        ("empty pairs", "10.0.0.9", &[";for=203.0.113.7;;proto=http ; "], "203.0.113.7"),
        ("white space", "10.0.0.9", &["\tfor=203.0.113.7 ; by=_a ,for=10.1.1.1 "], "203.0.113.7"),
        (
            "delimiters in quotes",
            "10.0.0.9",
            &[r#"for=192.0.2.1,for=203.0.113.7;host="a,for=192.0.2.2;b=\"c\\""#],
            "203.0.113.7",
        ),
        (
            "a name that ends with for",
            "10.0.0.9",
            &["for=203.0.113.7;x-for=192.0.2.1"],
            "203.0.113.7",
        ),
        // The text of the client leaves a quote open.
        ("open", "10.0.0.9", &[r#"for=", for=203.0.113.7"#], "203.0.113.7"),
        ("open", "10.0.0.9", &[r#"for="\, for="203.0.113.7""#], "203.0.113.7"),
        ("open", "10.0.0.9", &[r#"for="192.0.2.1"#, "for=203.0.113.7"], "203.0.113.7"),
        ("open", "10.0.0.9", &[r#"for="192.0.2.1, for="[2001:db8::1]""#], "2001:db8::/64"),
        // No address ends the search.
        ("unknown", "10.0.0.9", &["for=192.0.2.1, for=unknown, for=10.1.1.1"], "10.1.1.1"),
        ("obfuscated", "10.0.0.9", &["for=192.0.2.1, for=_secret"], "10.0.0.9"),
        ("without for", "10.0.0.9", &["for=192.0.2.1, by=10.1.1.1"], "10.0.0.9"),
        ("for twice", "10.0.0.9", &["for=192.0.2.1;for=192.0.2.2"], "10.0.0.9"),
        ("an empty element", "10.0.0.9", &["for=192.0.2.1,,for=10.1.1.1"], "10.1.1.1"),
        ("an empty header", "10.0.0.9", &[""], "10.0.0.9"),
        ("no name", "10.0.0.9", &["192.0.2.1"], "10.0.0.9"),
        ("an empty name", "10.0.0.9", &["for=192.0.2.1;=a"], "10.0.0.9"),
        ("an empty value", "10.0.0.9", &["for="], "10.0.0.9"),
        ("an empty quoted value", "10.0.0.9", &[r#"for="""#], "10.0.0.9"),
        ("white space around =", "10.0.0.9", &["for = 192.0.2.1"], "10.0.0.9"),
        ("two pairs without ;", "10.0.0.9", &["for=192.0.2.1 by=_a"], "10.0.0.9"),
        ("a quote before a quoted value", "10.0.0.9", &[r#"for="a"192.0.2.1"#], "10.0.0.9"),
        ("an escaped quote at the end", "10.0.0.9", &[r#"for="192.0.2.1\""#], "10.0.0.9"),
        ("an escaped quote of a pair", "10.0.0.9", &[r#"for=192.0.2.1;host="a\""#], "10.0.0.9"),
        ("a quote without a value", "10.0.0.9", &[r#"for=192.0.2.1;host=""#], "10.0.0.9"),
    ];
    check(&ClientIp::behind(["10.0.0.0/8"]).forwarded(), &FORWARDED, rows);
}

#[test]
fn k10_only_the_chosen_header_is_read() {
    let mut request = request("10.0.0.9", &X_FORWARDED_FOR, &["203.0.113.7"]);
    request.headers_mut().insert(FORWARDED, HeaderValue::from_static("for=198.51.100.9"));
    let key = ClientIp::behind(["10.0.0.0/8"]);
    assert_eq!(key.address_of(&request), Some(address("203.0.113.7")));
    assert_eq!(key.clone().forwarded().address_of(&request), Some(address("198.51.100.9")));
    assert_eq!(ClientIp::peer().address_of(&request), Some(address("10.0.0.9")));
    // The other one does not stand in for it.
    request.headers_mut().remove(X_FORWARDED_FOR);
    assert_eq!(key.address_of(&request), Some(address("10.0.0.9")));
}

#[test]
fn k10_network_holds_its_first_and_its_last_address() {
    let key = ClientIp::behind([
        "10.0.0.0/9",
        " 10.128.0.0/9 ",
        "10.5.0.0/16",
        "192.168.4.0/22",
        "198.51.100.9",
        "2001:db8:10::/44",
        "::1",
    ]);
    for (peer, is_trusted) in [
        ("9.255.255.255", false),
        ("10.0.0.0", true),
        ("10.200.0.1", true),
        ("10.255.255.255", true),
        ("11.0.0.0", false),
        ("192.168.3.255", false),
        ("192.168.4.0", true),
        ("192.168.7.255", true),
        ("192.168.8.0", false),
        ("198.51.100.8", false),
        ("198.51.100.9", true),
        ("198.51.100.10", false),
        ("2001:db8:f:ffff:ffff:ffff:ffff:ffff", false),
        ("2001:db8:10::", true),
        ("2001:db8:1f:ffff:ffff:ffff:ffff:ffff", true),
        ("2001:db8:20::", false),
        ("::", false),
        ("::1", true),
        ("::2", false),
    ] {
        let request = request(peer, &X_FORWARDED_FOR, &["203.0.113.7"]);
        let expected = if is_trusted { "203.0.113.7" } else { peer };
        assert_eq!(key.address_of(&request), Some(address(expected)), "{peer}");
    }
}

#[test]
fn k10_request_without_a_peer_has_no_key() {
    let mut request = request("10.0.0.9", &X_FORWARDED_FOR, &["203.0.113.7"]);
    request.extensions_mut().remove::<PeerAddr>();
    let key = ClientIp::behind(["10.0.0.0/8"]);
    assert_eq!(hash_of_key(&key, &request), None);
    assert_eq!(key.label(&request), None);
    assert_eq!(key.address_of(&request), None);
}

#[test]
fn k10_peer_of_a_unix_socket_is_trusted_by_the_local_address() {
    let mut request = request("127.0.0.1", &X_FORWARDED_FOR, &["192.0.2.1, 203.0.113.7"]);
    request.extensions_mut().insert(PeerAddr::UNIX_SOCKET);
    let behind = |network| ClientIp::behind([network]).label(&request).unwrap();
    assert_eq!(behind("127.0.0.1"), "203.0.113.7");
    assert_eq!(behind("127.0.0.0/8"), "203.0.113.7");
    assert_eq!(behind("10.0.0.0/8"), "127.0.0.1");
}

#[test]
fn k10_peer_is_read_by_a_function() {
    #[derive(Clone)]
    struct Accepted(SocketAddr);

    let key = ClientIp::behind(["10.0.0.0/8"])
        .peer_from(|extensions| extensions.get().map(|Accepted(peer)| peer.ip()));
    let mut request = request("203.0.113.7", &X_FORWARDED_FOR, &["198.51.100.9"]);
    assert_eq!(key.label(&request), None, "it stands in the place of other extensions");
    request.extensions_mut().insert(Accepted(([10, 0, 0, 9], 80).into()));
    assert_eq!(key.label(&request).as_deref(), Some("198.51.100.9"));
}

#[cfg(feature = "axum")]
#[test]
fn k10_peer_is_read_from_the_extensions_of_axum() {
    use axum::extract::connect_info::{ConnectInfo, MockConnectInfo};

    let peer = |last| SocketAddr::from(([192, 0, 2, last], 80));
    let mut request = Request::new(());
    let mut label = |change: &dyn Fn(&mut http::Extensions)| {
        change(request.extensions_mut());
        ClientIp::peer().label(&request).unwrap()
    };
    let mock = |extensions: &mut http::Extensions| {
        extensions.insert(MockConnectInfo(peer(1)));
    };
    let info = |extensions: &mut http::Extensions| {
        extensions.insert(ConnectInfo(peer(2)));
    };
    let own = |extensions: &mut http::Extensions| {
        extensions.insert(PeerAddr::from(peer(3)));
    };
    assert_eq!(label(&mock), "192.0.2.1");
    assert_eq!(label(&info), "192.0.2.2");
    assert_eq!(label(&own), "192.0.2.3");
}

#[test]
fn k10_c7_invalid_setting_of_client_ip_is_reported() {
    let behind = |networks: &[&str]| ClientIp::try_behind(networks).unwrap_err().to_string();
    let all = "the networks of the proxies alone: if all addresses were trusted, each client could \
               choose its own";
    let network = "a network such as 10.0.0.0/8 or 2001:db8::/32, or an address";
    let socket = "a network: for a Unix socket, trust 127.0.0.1 and see PeerAddr::UNIX_SOCKET";
    for (networks, value, expected) in [
        (&["0.0.0.0/0"][..], r#""0.0.0.0/0""#, all),
        (&["::/0"], r#""::/0""#, all),
        (&["2000::/3"], r#""2000::/3""#, all),
        (&["::ffff:0:0/96"], r#""::ffff:0:0/96""#, all),
        (&["64:ff9b::/96"], r#""64:ff9b::/96""#, all),
        (&["::/64"], r#""::/64""#, all),
        (&["0.0.0.0/1", "128.0.0.0/1"], r#"["0.0.0.0/1", "128.0.0.0/1"]"#, all),
        (&["10.0.0.0/8", "::/1", "8000::/1"], r#"["10.0.0.0/8", "::/1", "8000::/1"]"#, all),
        (&["10.0.0.0/33"], r#""10.0.0.0/33""#, network),
        (&["2001:db8::/129"], r#""2001:db8::/129""#, network),
        (&["10.0.0.0/8", "localhost"], r#""localhost""#, network),
        (&[""], r#""""#, network),
        (&["10.0.0.1:80"], r#""10.0.0.1:80""#, network),
        (&["unix:"], r#""unix:""#, socket),
        (
            &["10.0.0.5/8"],
            r#""10.0.0.5/8""#,
            "10.0.0.0/8 for the network, or 10.0.0.5 for one address",
        ),
        (
            &["2001:db8::1/32"],
            r#""2001:db8::1/32""#,
            "2001:db8::/32 for the network, or 2001:db8::1 for one address",
        ),
    ] {
        assert_eq!(behind(networks), format!("networks is {value}: it must be {expected}"));
    }
    for bits in [0, 24, 31, 129, 200] {
        assert_eq!(
            ClientIp::peer().try_ipv6_prefix(bits).unwrap_err().to_string(),
            format!(
                "ipv6_prefix is {bits}: it must be between 32 and 128, of the 128 bits of an IPv6 \
                 address: 64 for the network of a client; IPv4 addresses count whole"
            ),
        );
    }
    // A part of the Internet may be the network of proxies.
    assert!(ClientIp::try_behind(["2000::/16", "0.0.0.0/1"]).is_ok());
    // No network is a setting for a server without a proxy.
    let none = ClientIp::behind::<&str>([]);
    let request = request("10.0.0.9", &X_FORWARDED_FOR, &["203.0.113.7"]);
    assert_eq!(none.label(&request).as_deref(), Some("10.0.0.9"));
}

#[test]
#[should_panic(expected = "networks is \"0.0.0.0/0\"")]
fn k10_c7_network_of_all_addresses_panics() {
    let _ = ClientIp::behind(["0.0.0.0/0"]);
}

#[test]
#[should_panic(expected = "ipv6_prefix is 200")]
fn k10_c7_prefix_out_of_range_panics() {
    let _ = ClientIp::peer().ipv6_prefix(200);
}
