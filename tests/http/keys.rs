//! Ready-made keys: each hashes as the value by which a handle finds it, and allocates nothing.

use std::hash::{DefaultHasher, Hash, Hasher};

use allocation_counter::measure;
use http::{HeaderValue, Request, Uri, header::AUTHORIZATION};
use tower_floodgate::keyed::{
    BearerToken, ClientIp, Everyone, Extension, Header, Host, Key, Path, PeerAddr,
};

pub(crate) fn hash_of_key<R>(key: &impl Key<R>, request: &R) -> Option<u64> {
    let mut state = DefaultHasher::new();
    key.hash_key(request, &mut state).then(|| state.finish())
}

pub(crate) fn hash_of_value(value: &(impl Hash + ?Sized)) -> u64 {
    let mut state = DefaultHasher::new();
    value.hash(&mut state);
    state.finish()
}

/// A request with lines of one header.
fn request(name: &'static str, lines: &[&[u8]]) -> Request<()> {
    let mut request = Request::new(());
    for line in lines {
        request.headers_mut().append(name, HeaderValue::from_bytes(line).unwrap());
    }
    request
}

/// Asserts that a handle finds the key by the text.
#[track_caller]
fn is_found_by<R>(key: &impl Key<R>, request: &R, text: &str) {
    assert_eq!(hash_of_key(key, request), Some(hash_of_value(text)));
    assert_eq!(hash_of_key(key, request), Some(hash_of_value(&text.to_owned())));
}

#[test]
fn k10_header_is_found_by_its_value() {
    let key = Header::named("X-Tenant");
    is_found_by(&key, &request("x-tenant", &[b"acme"]), "acme");
    is_found_by(&key, &request("x-tenant", &[b" acme\t"]), "acme");
    is_found_by(&key, &request("x-tenant", &["Zürich".as_bytes()]), "Zürich");
    is_found_by(&key, &request("x-tenant", &[b""]), "");
    let bytes = b"\xff\xfe";
    let found = hash_of_key(&key, &request("x-tenant", &[bytes]));
    assert_eq!(found, Some(hash_of_value(&bytes[..])));
    assert_eq!(hash_of_key(&key, &request("x-other", &[b"acme"])), None);
    assert_eq!(key.label(&request("x-other", &[b"acme"])), None);
    assert_eq!(key.label(&request("x-tenant", &[b" acme"])).as_deref(), Some("acme"));
    assert_eq!(key.label(&request("x-tenant", &[bytes])).as_deref(), Some("\u{fffd}\u{fffd}"));
}

#[test]
fn k10_lines_of_a_header_give_one_key() {
    let key = Header::named("x-tenant");
    is_found_by(&key, &request("x-tenant", &[b"acme", b"acme"]), "acme");
    // By adding lines, a client gains one key, whatever they are and in whichever order.
    let rows: [&[&[u8]]; 5] =
        [&[b"acme", b"1"], &[b"acme", b"2"], &[b"3", b"acme"], &[b"a", b"b", b"c"], &[b"a", b""]];
    for lines in rows {
        let request = request("x-tenant", lines);
        is_found_by(&key, &request, "");
        assert_eq!(key.label(&request).as_deref(), Some("several values"));
    }
    let request = request("authorization", &[b"Bearer a", b"Bearer b"]);
    is_found_by(&BearerToken, &request, "");
}

#[test]
fn k10_label_of_a_header_is_bounded_and_shows_no_secret() {
    let long = request("x-tenant", &["ü".repeat(10_000).as_bytes()]);
    let key = Header::named("x-tenant");
    assert_eq!(key.label(&long), Some(format!("{}…", "ü".repeat(100))));
    let fits = request("x-tenant", &[&[b'a'; 100]]);
    assert_eq!(key.label(&fits), Some("a".repeat(100)));
    assert_eq!(key.clone().secret().label(&fits), None);
    let mut sensitive = fits;
    sensitive.headers_mut().get_mut("x-tenant").unwrap().set_sensitive(true);
    assert_eq!(key.label(&sensitive), None);
    is_found_by(&key.secret(), &sensitive, &"a".repeat(100));
}

#[test]
fn k10_bearer_token_is_found_by_the_token() {
    let rows: [(&[u8], Option<&str>); 12] = [
        (b"Bearer abc.DEF-1~+/==", Some("abc.DEF-1~+/==")),
        (b"bearer abc", Some("abc")),
        (b"BEARER abc", Some("abc")),
        (b" Bearer \t  abc ", Some("abc")),
        // A server that ignores the rest would let a client choose its key.
        (b"Bearer abc 1", Some("abc")),
        (b"Bearer abc 2", Some("abc")),
        (b"Bearer", None),
        (b"Bearer ", None),
        (b"", None),
        (b"Basic abc", None),
        (b"Bearerabc", None),
        (b"abc Bearer", None),
    ];
    for (value, token) in rows {
        let request = request("authorization", &[value]);
        assert_eq!(hash_of_key(&BearerToken, &request), token.map(hash_of_value));
        assert_eq!(BearerToken.label(&request), None);
    }
    assert_eq!(hash_of_key(&BearerToken, &Request::new(())), None);
}

#[test]
fn k10_bearer_token_is_shown_nowhere() {
    let request = request("authorization", &[b"Bearer s3cret"]);
    assert_eq!(format!("{BearerToken:?}"), "BearerToken");
    assert_eq!(BearerToken.label(&request), None);
    assert_eq!((BearerToken, Everyone).label(&request), None);
    // Neither is a header of a secret in company.
    let key = Header::named(AUTHORIZATION).secret();
    assert_eq!((Everyone, key).label(&request), None);
}

#[test]
fn k10_host_has_one_text_for_all_notations() {
    let rows = [
        ("http://example.com", Some("example.com")),
        ("https://example.com/a?b", Some("example.com")),
        ("http://EXAMPLE.Com/", Some("example.com")),
        ("http://example.com:80/", Some("example.com")),
        ("https://example.com:443/", Some("example.com")),
        ("ws://example.com:80/", Some("example.com")),
        ("wss://example.com:443/", Some("example.com")),
        ("http://example.com./", Some("example.com")),
        ("http://example.com:0080/", Some("example.com")),
        ("http://user:pass@example.com/", Some("example.com")),
        ("http://evil.com:80@example.com:80/", Some("example.com")),
        ("http://example.com:8080/", Some("example.com:8080")),
        ("http://Example.com.:8080/", Some("example.com:8080")),
        ("http://example.com:443/", Some("example.com:443")),
        ("https://example.com:80/", Some("example.com:80")),
        ("ftp://example.com:80/", Some("example.com:80")),
        ("http://[2001:DB8::1]/", Some("[2001:db8::1]")),
        ("http://[2001:db8::1]:65535/", Some("[2001:db8::1]:65535")),
        ("http://192.0.2.1:80/", Some("192.0.2.1")),
        // The form of `CONNECT`.
        ("example.com:443", Some("example.com")),
        ("example.com:8443", Some("example.com:8443")),
        ("/path", None),
        ("*", None),
    ];
    for (uri, host) in rows {
        let mut request = Request::new(());
        *request.uri_mut() = uri.parse::<Uri>().unwrap();
        assert_eq!(Host.label(&request).as_deref(), host, "{uri}");
        assert_eq!(hash_of_key(&Host, &request), host.map(hash_of_value), "{uri}");
    }
}

#[test]
fn k10_host_of_a_header_has_the_same_text() {
    let long = "a".repeat(256);
    let rows: [(&[&[u8]], &str); 16] = [
        (&[b"Example.com"], "example.com"),
        (&[b"example.com:80"], "example.com"),
        (&[b"example.com:443"], "example.com"),
        (&[b"example.com:"], "example.com"),
        (&[b"example.com:8080"], "example.com:8080"),
        (&[b"[::1]:8080"], "[::1]:8080"),
        (&[b"example.com", b"example.com"], "example.com"),
        (&[&long.as_bytes()[..255]], &long[..255]),
        // These share a key, however a client writes them.
        (&[b"example.com", b"example.org"], ""),
        (&[b""], ""),
        (&[b"example.com:http"], ""),
        (&[b"example.com:99999"], ""),
        (&[b"[::1"], ""),
        (&[b"[::1]8080"], ""),
        (&[b"\xff"], ""),
        (&[long.as_bytes()], ""),
    ];
    for (lines, host) in rows {
        is_found_by(&Host, &request("host", lines), host);
    }
    // The authority goes before the header.
    let mut request = request("host", &[b"example.org"]);
    *request.uri_mut() = Uri::from_static("http://example.com/");
    is_found_by(&Host, &request, "example.com");
}

#[test]
fn k10_path_is_found_without_its_query() {
    for (uri, path) in [
        ("http://[::1]:50051/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Check"),
        ("/a/b?c=/d", "/a/b"),
        ("http://example.com", "/"),
        ("example.com:443", ""),
    ] {
        let mut request = Request::new(());
        *request.uri_mut() = uri.parse::<Uri>().unwrap();
        is_found_by(&Path, &request, path);
        assert_eq!(Path.label(&request).as_deref(), Some(path));
    }
}

#[test]
fn k10_extension_is_found_by_its_value() {
    #[derive(Clone, Hash)]
    struct Tenant(u64);

    let key = Extension::<Tenant>::new();
    let mut request = Request::new(());
    assert_eq!(hash_of_key(&key, &request), None);
    request.extensions_mut().insert(Tenant(7));
    assert_eq!(hash_of_key(&key, &request), Some(hash_of_value(&Tenant(7))));
    assert_eq!(key.label(&request), None);
    let label = key.label_by(|tenant| format!("tenant {}", tenant.0)).label(&request);
    assert_eq!(label.as_deref(), Some("tenant 7"));
}

#[test]
fn k10_keys_together_are_found_by_a_tuple() {
    fn number(request: &Request<()>) -> Option<u8> {
        request.extensions().get().copied()
    }

    let mut request = request("x-tenant", &[b"acme"]);
    let tenant = || Header::named("x-tenant");
    *request.uri_mut() = Uri::from_static("http://example.com/a");
    let (host, path, acme) = ("example.com", "/a", "acme");
    let two = (Host, tenant());
    let three = (Host, Path, tenant());
    let four = (Host, Path, tenant(), number as fn(&Request<()>) -> Option<u8>);
    assert_eq!(hash_of_key(&two, &request), Some(hash_of_value(&(host, acme))));
    assert_eq!(hash_of_key(&three, &request), Some(hash_of_value(&(host, path, acme))));
    assert_eq!(hash_of_key(&four, &request), None, "one of them has no key");
    request.extensions_mut().insert(9_u8);
    assert_eq!(hash_of_key(&four, &request), Some(hash_of_value(&(host, path, acme, 9_u8))));
    assert_eq!(two.label(&request).as_deref(), Some("example.com acme"));
    assert_eq!(three.label(&request).as_deref(), Some("example.com /a acme"));
    assert_eq!(four.label(&request), None);
    // A border between two values is a part of the key.
    let pair = (Header::named("a"), Header::named("b"));
    let of = |a: &'static str, b: &'static str| {
        let request = Request::builder().header("a", a).header("b", b).body(()).unwrap();
        hash_of_key(&pair, &request).unwrap()
    };
    assert_ne!(of("ab", "c"), of("a", "bc"));
}

#[test]
fn k10_c6_key_of_a_request_allocates_nothing() {
    let mut request = Request::new(());
    *request.uri_mut() = Uri::from_static("http://user@EXAMPLE.com:8080/a");
    request.extensions_mut().insert(PeerAddr::UNIX_SOCKET);
    request.extensions_mut().insert(7_u32);
    let headers = request.headers_mut();
    headers.insert("authorization", HeaderValue::from_static("Bearer abc"));
    headers.insert("x-tenant", HeaderValue::from_static("acme"));
    for _ in 0..100 {
        let line = "192.0.2.1, \"[::1]\", 127.0.0.1:80, [::ffff:127.0.0.1]:80".repeat(100);
        headers.append("x-forwarded-for", line.parse().unwrap());
        let line = r#"for="[::ffff:127.0.0.1]\:80";host="a\"b",for=127.0.0.1"#;
        headers.append("forwarded", HeaderValue::from_static(line));
    }
    let key = ClientIp::behind(["127.0.0.0/8"]);
    let together = (Header::named("x-tenant"), BearerToken, Host, Path);
    let others = (key.clone(), key.forwarded(), Extension::<u32>::new());
    let counted = measure(|| {
        assert!(hash_of_key(&together, &request).is_some());
        assert!(hash_of_key(&others, &request).is_some());
    });
    assert_eq!(counted.count_total, 0);
}

#[test]
fn k10_c7_invalid_name_of_a_header_is_reported() {
    let error = |name: &str| Header::try_named(name).unwrap_err().to_string();
    let expected = "it must be the name of a header, without white space and colon";
    assert_eq!(error("x tenant"), format!("name is \"x tenant\": {expected}"));
    assert_eq!(error("x-tenant:"), format!("name is \"x-tenant:\": {expected}"));
    assert_eq!(error(""), format!("name is \"\": {expected}"));
}

#[cfg(feature = "axum")]
#[tokio::test]
async fn k10_matched_path_is_found_by_route_and_method() {
    use axum::{
        Router,
        body::Body,
        extract::{Request, State},
        middleware::{Next, from_fn_with_state},
        response::Response,
        routing::any,
    };
    use std::sync::{Arc, Mutex};
    use tower::ServiceExt;
    use tower_floodgate::keyed::MatchedPath;

    type Seen = Arc<Mutex<Vec<[Option<u64>; 2]>>>;

    async fn look(State(seen): State<Seen>, request: Request, next: Next) -> Response {
        let keys = [MatchedPath::new(), MatchedPath::new().with_method()];
        seen.lock().unwrap().push(keys.map(|key| hash_of_key(&key, &request)));
        next.run(request).await
    }

    let seen = Seen::default();
    let app: Router = Router::new()
        .route("/users/{id}", any(|| async {}))
        .fallback(|| async {})
        .layer(from_fn_with_state(seen.clone(), look));
    let path = "/users/{id}";
    for (method, uri, found) in [
        ("GET", "/users/1", Some("GET")),
        ("GET", "/users/2?a", Some("GET")),
        ("HEAD", "/users/1", Some("GET")),
        ("DELETE", "/users/1", Some("DELETE")),
        ("FOO", "/users/1", Some("_OTHER")),
        ("BAR", "/users/1", Some("_OTHER")),
        ("GET", "/nowhere", None),
    ] {
        let request = Request::builder().method(method).uri(uri).body(Body::empty()).unwrap();
        app.clone().oneshot(request).await.unwrap();
        let expected = match found {
            Some(method) => [Some(hash_of_value(path)), Some(hash_of_value(&(method, path)))],
            None => [None, None],
        };
        assert_eq!(seen.lock().unwrap().pop(), Some(expected), "{method} {uri}");
    }
}

#[cfg(feature = "reqwest")]
#[test]
fn k10_keys_of_a_reqwest_request_are_the_same() {
    use reqwest::{Method, Request, Url};

    for (url, host, path) in [
        ("https://user:pass@Example.COM:443/a?b", Some("example.com"), "/a"),
        ("https://example.com:8443", Some("example.com:8443"), "/"),
        ("http://example.com./", Some("example.com"), "/"),
        ("http://[2001:DB8::1]:8080/", Some("[2001:db8::1]:8080"), "/"),
        ("data:text/plain,a", None, "text/plain,a"),
    ] {
        let mut request = Request::new(Method::GET, url.parse::<Url>().unwrap());
        assert_eq!(hash_of_key(&Host, &request), host.map(hash_of_value), "{url}");
        assert_eq!(Host.label(&request).as_deref(), host);
        is_found_by(&Path, &request, path);
        assert_eq!(Path.label(&request).as_deref(), Some(path));
        request.headers_mut().insert("authorization", HeaderValue::from_static("Bearer abc"));
        is_found_by(&BearerToken, &request, "abc");
        let key = Header::named("authorization");
        is_found_by(&key, &request, "Bearer abc");
        assert_eq!(key.label(&request).as_deref(), Some("Bearer abc"));
    }
}
