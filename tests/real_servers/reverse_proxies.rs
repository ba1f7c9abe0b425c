//! The server of the example `per_client` behind nginx and HAProxy.
//!
//! Each client counts by its own address, whatever it writes into the headers. Addresses of the
//! Internet are stated to the proxies by the PROXY protocol. Those of this machine, 127.0.0.2 and
//! its like, are real: the proxies see them as the peers of their connections.
//!
//! The server trusts 127.0.0.1 and `::1`, the proxies, and not all of 127.0.0.0/8.

use std::{
    fs,
    future::IntoFuture,
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::Path,
};

use axum::{Extension, Router, body::Body, http::Request};
use tokio::net::{TcpListener, TcpSocket, UnixListener};
use tower::BoxError;
use tower_floodgate::keyed::{ClientIp, PeerAddr, RuleHandle};

use crate::{
    haproxy, nginx,
    per_client::{
        connection::Connection,
        ledger::Ledger,
        scenes::{self, ATTACKERS, Attacker, FLOOD, Figures, NAMES, NEW},
        server::{self, EXPORTS, Handles},
    },
    program::temporary,
    timed,
};

/// Reads the address of a client behind the proxies of this machine.
fn clients() -> ClientIp {
    ClientIp::behind(["127.0.0.1", "::1"])
}

/// A server, with a way of its own from the proxies.
struct Server {
    handles: Handles,
    ledger: Ledger,
    address: SocketAddr,
}

impl Server {
    /// Starts the server on a free port of `ip`.
    async fn start(clients: ClientIp, ip: IpAddr) -> io::Result<Self> {
        let ledger = Ledger::new(NAMES);
        let (app, handles) = server::app(clients, &ledger);
        let listener = TcpListener::bind((ip, 0)).await?;
        let address = listener.local_addr()?;
        let app = app.into_make_service_with_connect_info::<SocketAddr>();
        tokio::spawn(axum::serve(listener, app).into_future());
        Ok(Self { handles, ledger, address })
    }
}

/// Starts the server on a Unix socket.
fn start_on_socket(path: &Path) -> RuleHandle {
    let (app, handles) = server::app(clients(), &Ledger::new(NAMES));
    let app: Router = app.layer(Extension(PeerAddr::UNIX_SOCKET));
    let listener = UnixListener::bind(path).unwrap();
    tokio::spawn(axum::serve(listener, app).into_future());
    handles.address
}

/// Addresses of clients, and the text by which they are shown.
const CLIENTS: [(&str, &str); 4] = [
    ("203.0.113.7", "203.0.113.7"),
    ("2001:db8:0:17:a:b:c:d", "2001:db8:0:17::/64"),
    // A client of IPv4, as a proxy that listens on an IPv6 socket sees it, and one behind NAT64.
    ("::ffff:203.0.113.8", "203.0.113.8"),
    ("64:ff9b::203.0.113.9", "203.0.113.9"),
];

/// Returns headers by which a client claims another address.
fn forged() -> Vec<Vec<(&'static str, String)>> {
    let lines = |name, lines: &[&str]| -> Vec<_> {
        lines.iter().map(|&line| (name, line.to_owned())).collect()
    };
    let both = |of_each: &[&str], of_forwarded: &[&str]| {
        [lines("x-forwarded-for", of_each), lines("forwarded", of_forwarded)].concat()
    };
    vec![
        vec![],
        both(&["192.0.2.1"], &["for=192.0.2.1"]),
        both(&["192.0.2.1", "192.0.2.2"], &["for=192.0.2.1", "for=192.0.2.2"]),
        both(&["192.0.2.1, 127.0.0.1", "::1"], &["for=192.0.2.1, for=127.0.0.1", "for=\"[::1]\""]),
        both(&["192.0.2.1", ""], &["for=192.0.2.1", ""]),
        both(&["unknown", "_hidden"], &["for=unknown", "for=_hidden"]),
        // Quotes and escapes that are left open.
        both(&["\"192.0.2.1", "\\"], &["for=\"192.0.2.1", "for=192.0.2.1;by=\"\\"]),
        both(&[&"192.0.2.1,".repeat(300)], &[&"for=192.0.2.1,".repeat(300)]),
        vec![("x-real-ip", "192.0.2.1".to_owned()), ("cf-connecting-ip", "192.0.2.1".to_owned())],
    ]
}

/// Sends all forged headers over `connection`, and checks that each request counts as `client`.
async fn check(
    mut connection: Connection,
    path: &str,
    client: &str,
    (shown, address): (&str, &RuleHandle),
) -> Result<(), BoxError> {
    let client = clients().key(client.parse()?);
    for headers in forged() {
        let mut request = Request::get(path);
        for (name, value) in &headers {
            request = request.header(*name, value);
        }
        let reply = connection.send(request, Body::empty()).await?;
        assert_eq!((reply.status.as_u16(), &*reply.text), (200, shown), "{headers:?}");
        // The key that has counted is that of the client, and no other one.
        assert_eq!(address.live_keys(), 1, "{headers:?}");
        address.forget(client);
        assert_eq!(address.live_keys(), 0, "{headers:?}");
    }
    Ok(())
}

/// Checks all clients that a proxy at `proxy`, which reads the PROXY protocol, passes on.
async fn check_stated(proxy: SocketAddr, path: &str, address: &RuleHandle) -> Result<(), BoxError> {
    for (client, shown) in CLIENTS {
        let connection = Connection::open(proxy, client.parse()?, "client").await?;
        check(connection, path, client, (shown, address)).await?;
    }
    Ok(())
}

/// Connects from an address of this machine.
///
/// Only Linux has all of 127.0.0.0/8: elsewhere there is no such client.
async fn connect_from(to: SocketAddr, from: &str) -> Result<Option<Connection>, BoxError> {
    let socket = TcpSocket::new_v4()?;
    let bound = socket.bind((from.parse::<Ipv4Addr>()?, 0).into());
    if cfg!(target_os = "linux") {
        bound?;
    } else if bound.is_err() {
        println!("{from} is no address of this machine: its client is left out");
        return Ok(None);
    }
    Ok(Some(Connection::over(socket.connect(to).await?, "client").await?))
}

/// Checks a client that is seen by the address that it connects from.
async fn check_seen(to: SocketAddr, path: &str, address: &RuleHandle) -> Result<(), BoxError> {
    for client in ["127.0.0.2", "127.77.7.7"] {
        if let Some(connection) = connect_from(to, client).await? {
            check(connection, path, client, (client, address)).await?;
        }
    }
    Ok(())
}

pub(crate) async fn scene() -> Result<(), String> {
    let version = haproxy::version()?;
    by_nginx().await?;
    by_haproxy(version).await
}

async fn by_nginx() -> Result<(), String> {
    let attacked = Server::start(clients(), Ipv4Addr::LOCALHOST.into()).await.unwrap();
    let v4 = Server::start(clients(), Ipv4Addr::LOCALHOST.into()).await.unwrap();
    let v6 = match Server::start(clients(), "::1".parse().unwrap()).await {
        Ok(server) => Some(server),
        Err(error) => {
            println!("nginx: this machine has no ::1, so a peer of IPv6 is left out: {error}");
            None
        }
    };
    let socket = temporary(&format!("per-client-{}.sock", std::process::id()));
    let _ = fs::remove_file(&socket);
    let on_socket = start_on_socket(&socket);

    // The same, with the addresses that the PROXY protocol states, and with those of connections.
    for (is_stated, listen, real_ip) in [
        (true, " proxy_protocol", "set_real_ip_from 127.0.0.1; real_ip_header proxy_protocol;"),
        (false, "", ""),
    ] {
        let server = nginx::start_with(|_, address| {
            let to_v6 = v6.as_ref().map_or(String::new(), |server| {
                format!("location /v6/ {{ proxy_pass http://{}/; }}", server.address)
            });
            format!(
                "access_log off;
server {{
listen {address}{listen};
{real_ip}
proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
location / {{ proxy_pass http://{}; }}
location /v4/ {{ proxy_pass http://{}/; }}
{to_v6}
location /unix/ {{ proxy_pass http://unix:{}:/; }}
}}
",
                attacked.address,
                v4.address,
                socket.display()
            )
        })
        .await?;
        let mut ways = vec![("/v4/", &v4.handles.address), ("/unix/", &on_socket)];
        ways.extend(v6.as_ref().map(|server| ("/v6/", &server.handles.address)));
        for (path, address) in ways {
            if is_stated {
                check_stated(server.address(), path, address).await.unwrap();
            } else {
                check_seen(server.address(), path, address).await.unwrap();
            }
        }
        if is_stated {
            attack("nginx", server.address(), &attacked).await;
        }
    }
    // And without a proxy.
    check_seen(v4.address, "/", &v4.handles.address).await.unwrap();
    let _ = fs::remove_file(&socket);
    println!("nginx: each client counts by its address, over TCP, IPv6 and a Unix socket");
    Ok(())
}

async fn by_haproxy(version: (u32, u32)) -> Result<(), String> {
    let start = |clients| Server::start(clients, Ipv4Addr::LOCALHOST.into());
    let attacked = start(clients()).await.unwrap();
    let by_x = start(clients()).await.unwrap();
    let by_forwarded = start(clients().forwarded()).await.unwrap();
    let has_forwarded = version >= (2, 8);
    let forwarded = if has_forwarded {
        "option forwarded"
    } else {
        println!(
            "HAProxy {}.{} has no `option forwarded`: its header is added by a rule",
            version.0, version.1
        );
        r#"http-request add-header Forwarded for=%[src] if { src 0.0.0.0/0 }
    http-request add-header Forwarded for=\"[%[src]]\" unless { src 0.0.0.0/0 }"#
    };
    for (is_stated, accept) in [(true, " accept-proxy"), (false, "")] {
        let server = haproxy::start_with(|address| {
            format!(
                "frontend clients
    bind {address}{accept}
    use_backend x_forwarded_for if {{ path /x-forwarded-for }}
    use_backend forwarded if {{ path /forwarded }}
    default_backend attacked
backend attacked
    option forwardfor
    server server {}
backend x_forwarded_for
    option forwardfor
    http-request set-path /
    server server {}
backend forwarded
    {forwarded}
    http-request set-path /
    server server {}
",
                attacked.address, by_x.address, by_forwarded.address
            )
        })
        .await?;
        let ways = [
            ("/x-forwarded-for", &by_x.handles.address),
            ("/forwarded", &by_forwarded.handles.address),
        ];
        for (path, address) in ways {
            if is_stated {
                check_stated(server.address(), path, address).await.unwrap();
            } else {
                check_seen(server.address(), path, address).await.unwrap();
            }
        }
        if is_stated {
            attack("HAProxy", server.address(), &attacked).await;
        }
    }
    println!("HAProxy: each client counts by its address, by both headers");
    Ok(())
}

/// Runs the attacks of the example through a proxy, and checks what the server has issued.
async fn attack(name: &str, proxy: SocketAddr, server: &Server) {
    let Server { handles, ledger, .. } = server;
    let ((attacks, flood), took) = timed(async {
        let attacks = scenes::attacks(proxy, handles).await.unwrap();
        (attacks, scenes::flood(proxy, handles).await.unwrap())
    })
    .await;
    for &Attacker { name, by, quotas } in &ATTACKERS {
        for (limit, span) in quotas {
            let most = ledger.most(name, span);
            assert!((1..=limit).contains(&most), "{name}, that {by}: {most} in {span:?}");
        }
    }
    for &Figures { name, requests, served } in attacks.honest.iter().chain(&flood.honest) {
        assert!(name == NEW || served == requests, "{name}: {served} of {requests}");
    }
    assert!(ledger.most_exports() <= EXPORTS);
    let (live, overflowed) = (handles.address.live_keys(), handles.address.overflowed());
    assert!(overflowed > 0 && live < FLOOD as usize);
    let sum = |all: &[Figures]| Figures::sum(all).requests;
    println!(
        "{name}: {} requests of attackers and {} of honest clients in {took:.2?}, all as promised; \
         {live} of {FLOOD} addresses of a flood have a slot",
        sum(&attacks.attackers) + sum(&flood.attackers),
        sum(&attacks.honest) + sum(&flood.honest),
    );
}
