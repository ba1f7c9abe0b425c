//! Attackers, and the clients that they must not harm.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    time::Duration,
};

use axum::{body::Body, http::Request};
use futures::{
    StreamExt,
    future::{join, try_join, try_join_all},
    stream,
};
use tokio::time::sleep;
use tower::BoxError;

use super::{
    connection::{Connection, Reply},
    server::{BY_ADDRESS, HOUR, Handles, PAID, SECOND, WRONG_PASSWORDS},
};

/// An attacker, and the costs of its requests that may be issued in spans of these lengths.
pub(crate) struct Attacker {
    pub(crate) name: &'static str,
    pub(crate) by: &'static str,
    pub(crate) quotas: [(u32, Duration); 2],
}

const ADDRESS: [(u32, Duration); 2] = [(BY_ADDRESS[0], SECOND), (BY_ADDRESS[1], HOUR)];

pub(crate) const ATTACKERS: [Attacker; 5] = [
    Attacker { name: "forger", by: "forges X-Forwarded-For, on several lines", quotas: ADDRESS },
    Attacker { name: "rotator", by: "has a new address of its /64 for each", quotas: ADDRESS },
    Attacker { name: "inventor", by: "invents an API key for each", quotas: ADDRESS },
    Attacker {
        name: "guesser",
        by: "guesses passwords, 8 at a time",
        quotas: [(WRONG_PASSWORDS, SECOND), (WRONG_PASSWORDS, HOUR)],
    },
    Attacker {
        name: "hog",
        by: "pays, and exports 6 times at a time",
        quotas: [(PAID[0], SECOND), (PAID[1], HOUR)],
    },
];

/// The names of all clients that the record tells apart.
pub(crate) const NAMES: &[&str] = &["forger", "rotator", "inventor", "guesser", "hog"];

/// The addresses of the flood.
pub(crate) const BOTS: &str = "bots";
/// New clients beside it.
pub(crate) const NEW: &str = "new clients";

/// Requests of clients that stay within their quotas.
const EACH: u32 = 10;
/// The pause of a client behind each response, so that it is issued fewer than 10 in any second, at
/// any speed of the machine.
const PACE: Duration = Duration::from_millis(150);
/// The pause of an attacker, which leaves some of the machine to the others.
const HASTE: Duration = Duration::from_millis(10);

/// New addresses in the flood.
pub(crate) const FLOOD: u32 = 2_000;
/// Connections of the flood at a time.
const AT_A_TIME: usize = 32;

/// Requests of the clients of one row, and those of them that were not rejected.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Figures {
    pub(crate) name: &'static str,
    pub(crate) requests: u32,
    pub(crate) served: u32,
}

impl Figures {
    const fn new(name: &'static str) -> Self {
        Self { name, requests: 0, served: 0 }
    }

    fn count(&mut self, reply: &Reply) {
        self.requests += 1;
        self.served += u32::from(!reply.is_rejected());
    }

    /// Returns the sum of figures, with their first name.
    pub(crate) fn sum(all: &[Self]) -> Self {
        let sum = |of: fn(&Self) -> u32| all.iter().map(of).sum();
        Self { name: all[0].name, requests: sum(|it| it.requests), served: sum(|it| it.served) }
    }
}

/// The figures of a phase.
#[derive(Debug)]
pub(crate) struct Phase {
    pub(crate) attackers: Vec<Figures>,
    pub(crate) honest: Vec<Figures>,
}

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// Attacks the server behind `proxy` in five ways, beside clients that stay within their quotas.
pub(crate) async fn attacks(proxy: SocketAddr, handles: &Handles) -> Result<Phase, BoxError> {
    let over = AtomicBool::new(false);
    let attackers = async {
        let (guessed, exported, forged, rotated, invented) = futures::try_join!(
            try_join_all((0..8).map(|_| guess(proxy, &over))),
            try_join_all((0..6).map(|_| export(proxy, &over))),
            forge(proxy, &over),
            rotate(proxy, &over),
            invent(proxy, &over),
        )?;
        let (guessed, exported) = (Figures::sum(&guessed), Figures::sum(&exported));
        Ok::<_, BoxError>(vec![forged, rotated, invented, guessed, exported])
    };
    let honest = async {
        let all = futures::try_join!(known(proxy), log_in(proxy, handles), wait(proxy));
        over.store(true, Relaxed);
        all
    };
    let (attackers, honest) = join(attackers, honest).await;
    let (attackers, (known, logs_in, waits)) = (attackers?, honest?);
    // The guesser has found the password, too late.
    let mut guesser = Connection::open(proxy, address(GUESSER), "guesser").await?;
    if !guesser.log_in("correct horse battery staple").await?.is_rejected() {
        return Err("the guesser has logged in".into());
    }
    Ok(Phase { attackers, honest: vec![known, logs_in, waits] })
}

/// Floods the server with requests of new addresses, while the forger and the rotator go on, known
/// clients too, and new clients come.
pub(crate) async fn flood(proxy: SocketAddr, handles: &Handles) -> Result<Phase, BoxError> {
    let over = AtomicBool::new(false);
    let attackers = async { try_join(forge(proxy, &over), rotate(proxy, &over)).await };
    let bots = stream::iter(0..FLOOD).map(|bot| {
        // Each is in a network of its own.
        let [a, b, c, d] = (0x1000_0000 + bot).to_be_bytes().map(u16::from);
        let bot = Ipv6Addr::new(0x2001, 0xdb8, a << 8 | b, c << 8 | d, 0, 0, 0, 1);
        async move { Connection::open(proxy, bot.into(), BOTS).await?.get("/").await }
    });
    let is_full = AtomicBool::new(false);
    let flooding = async {
        let mut figures = Figures::new(BOTS);
        let mut replies = bots.buffer_unordered(AT_A_TIME);
        while let Some(reply) = replies.next().await {
            figures.count(&reply?);
            is_full.fetch_or(handles.address.overflowed() > 0, Relaxed);
        }
        is_full.store(true, Relaxed);
        Ok::<_, BoxError>(figures)
    };
    let new = async {
        while !is_full.load(Relaxed) {
            sleep(HASTE).await;
        }
        let clients = (1..=8).map(|client| async move {
            let from = format!("192.0.2.{client}");
            let mut client = Connection::open(proxy, address(&from), NEW).await?;
            paced(&mut client, &from, None, 3).await
        });
        Ok::<_, BoxError>(Figures::sum(&try_join_all(clients).await?))
    };
    let others = async {
        let all = futures::try_join!(flooding, known(proxy), new);
        over.store(true, Relaxed);
        all
    };
    let (attackers, others) = join(attackers, others).await;
    let ((forged, rotated), (bots, known, new)) = (attackers?, others?);
    Ok(Phase { attackers: vec![forged, rotated, bots], honest: vec![known, new] })
}

const FORGER: &str = "203.0.113.66";
const GUESSER: &str = "203.0.113.68";
/// A client that the forger claims to be.
const VICTIM: &str = "198.51.100.1";

/// Claims in each request to be another client, by all headers that servers read.
async fn forge(proxy: SocketAddr, over: &AtomicBool) -> Result<Figures, BoxError> {
    let mut figures = Figures::new("forger");
    let mut connection = Connection::open(proxy, address(FORGER), "forger").await?;
    while !over.load(Relaxed) {
        let random = Ipv4Addr::from(fastrand::u32(..));
        let request = Request::get("/")
            .header("x-forwarded-for", random.to_string())
            .header("x-forwarded-for", format!("{VICTIM}, 127.0.0.1"))
            .header("x-forwarded-for", format!("{random}, \"unknown, ::1"))
            .header("forwarded", format!("for={random}"))
            .header("x-real-ip", VICTIM);
        figures.count(&connection.send(request, Body::empty()).await?);
        sleep(HASTE).await;
    }
    Ok(figures)
}

/// Connects from a new address of one /64 for each request.
async fn rotate(proxy: SocketAddr, over: &AtomicBool) -> Result<Figures, BoxError> {
    let mut figures = Figures::new("rotator");
    while !over.load(Relaxed) {
        let network = u128::from(Ipv6Addr::new(0x2001, 0xdb8, 0xbad, 0, 0, 0, 0, 0));
        let address = Ipv6Addr::from(network | u128::from(fastrand::u64(..)));
        let mut connection = Connection::open(proxy, address.into(), "rotator").await?;
        figures.count(&connection.get("/").await?);
        sleep(HASTE).await;
    }
    Ok(figures)
}

/// Sends a random API key with each request.
async fn invent(proxy: SocketAddr, over: &AtomicBool) -> Result<Figures, BoxError> {
    let mut figures = Figures::new("inventor");
    let mut connection = Connection::open(proxy, address("203.0.113.67"), "inventor").await?;
    while !over.load(Relaxed) {
        let request =
            Request::get("/").header("x-api-key", format!("paid-{:x}", fastrand::u32(..)));
        figures.count(&connection.send(request, Body::empty()).await?);
        sleep(HASTE).await;
    }
    Ok(figures)
}

/// Tries passwords by one of several connections.
async fn guess(proxy: SocketAddr, over: &AtomicBool) -> Result<Figures, BoxError> {
    let mut figures = Figures::new("guesser");
    let mut connection = Connection::open(proxy, address(GUESSER), "guesser").await?;
    while !over.load(Relaxed) {
        let reply = connection.log_in(&fastrand::u64(..).to_string()).await?;
        figures.count(&reply);
        sleep(HASTE).await;
    }
    Ok(figures)
}

/// Exports by one of several connections of a paying client.
async fn export(proxy: SocketAddr, over: &AtomicBool) -> Result<Figures, BoxError> {
    let mut figures = Figures::new("hog");
    let mut connection = Connection::open(proxy, address("203.0.113.69"), "hog").await?;
    while !over.load(Relaxed) {
        let request = Request::get("/export").header("x-api-key", "paid-77e0");
        figures.count(&connection.send(request, Body::empty()).await?);
        sleep(HASTE).await;
    }
    Ok(figures)
}

/// Clients with slots in the tables: the victim of the forger, others of IPv4 and IPv6, the
/// neighbour of the rotator, and an account that shares the forger's address.
async fn known(proxy: SocketAddr) -> Result<Figures, BoxError> {
    let clients = [
        (VICTIM, VICTIM, None),
        ("198.51.100.2", "198.51.100.2", None),
        ("2001:db8:1::1", "2001:db8:1::/64", None),
        ("2001:db8:bad:1::1", "2001:db8:bad:1::/64", None),
        (FORGER, FORGER, Some("free-5b1c")),
    ];
    let clients = clients.map(|(from, shown, api_key)| async move {
        let mut client = Connection::open(proxy, address(from), "known clients").await?;
        paced(&mut client, shown, api_key, EACH).await
    });
    Ok(Figures::sum(&try_join_all(clients).await?))
}

/// A client that sends its next request some time after the last response. The server shows it its
/// address.
async fn paced(
    client: &mut Connection,
    shown: &str,
    api_key: Option<&str>,
    requests: u32,
) -> Result<Figures, BoxError> {
    let mut figures = Figures::new(client.name);
    for _ in 0..requests {
        let mut request = Request::get("/");
        if let Some(key) = api_key {
            request = request.header("x-api-key", key);
        }
        let reply = client.send(request, Body::empty()).await?;
        if !reply.is_rejected() && reply.text != shown {
            return Err(format!("{shown} counts as {}", reply.text).into());
        }
        figures.count(&reply);
        sleep(PACE).await;
    }
    Ok(figures)
}

/// A client that mistypes its password twice, and logs in again and again: only failures count.
async fn log_in(proxy: SocketAddr, handles: &Handles) -> Result<Figures, BoxError> {
    let mut figures = Figures::new("one that logs in");
    let from = address("198.51.100.8");
    let mut connection = Connection::open(proxy, from, figures.name).await?;
    for attempt in 0..EACH {
        let password = if attempt < 2 { "horse" } else { "correct horse battery staple" };
        let reply = connection.log_in(password).await?;
        figures.count(&reply);
        sleep(PACE).await;
    }
    let left = handles.login.remaining(from);
    if left != WRONG_PASSWORDS - 2 {
        return Err(format!("{left} wrong passwords are left after two").into());
    }
    Ok(figures)
}

/// A client that sends more than its quota, and obeys `Retry-After`.
async fn wait(proxy: SocketAddr) -> Result<Figures, BoxError> {
    let mut figures = Figures::new("one that waits as told");
    let mut connection = Connection::open(proxy, address("198.51.100.9"), figures.name).await?;
    // A slow machine may need more than the quota of a second for a rejection.
    for _ in 0..2 * BY_ADDRESS[0] {
        let reply = connection.get("/").await?;
        if !reply.is_rejected() {
            figures.count(&reply);
            continue;
        }
        let seconds = reply.retry_after.ok_or("a rejection without a Retry-After")?;
        sleep(Duration::from_secs(seconds)).await;
        figures.count(&connection.get("/").await?);
        break;
    }
    Ok(figures)
}
