//! An axum server with limits for each client, and attackers that try to get around them.
//!
//! ```text
//! cargo run --example per_client --features axum
//! ```
//!
//! `server` is the part to copy: clients by address behind a reverse proxy, accounts with plans,
//! two windows, a login that counts failures, exports that cost more and are few at a time. A
//! rejection is a 429 with `Retry-After`.
//!
//! ```text
//!  attackers ┐                          ┌───────────────── server ──────────────────┐
//!            ├─► reverse proxy ────────►│ account ─► limits by address, account,    │
//!  clients   ┘   appends the address    │            login and export ─► routes     │
//!                to X-Forwarded-For     └───────────────────────────────────────────┘
//! ```
//!
//! All connections are real sockets. The proxy is a task of this program, unless another one is
//! given: `-- --help` tells how. The clients' addresses are stated by the PROXY protocol, since all
//! of them are on this machine.

mod connection;
mod ledger;
mod proxy;
mod scenes;
mod server;

use std::{net::SocketAddr, process::ExitCode, time::Duration};

use clap::Parser;
use comfy_table::{CellAlignment, Table, presets};
use peak_alloc::PeakAlloc;
use tokio::{net::TcpListener, time::sleep};
use tower::BoxError;
use tower_floodgate::keyed::ClientIp;

use self::{
    ledger::Ledger,
    proxy::Proxy,
    scenes::{ATTACKERS, Attacker, BOTS, FLOOD, Figures, NAMES, NEW, Phase},
    server::{EXPORTS, Handles, MAX_ADDRESSES},
};

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// Bytes that may be allocated more after the flood than before, for buffers of the runtime.
///
/// A table that grows takes some 54 bytes and more for each address.
const SLACK: usize = 32 * FLOOD as usize;

/// Attacks a server with limits for each client, and checks that they hold.
#[derive(Debug, Parser)]
#[command(name = "per_client", after_help = PROXIES)]
struct Args {
    /// Address on which the server listens [default: a free port of 127.0.0.1]
    #[arg(long)]
    listen: Option<SocketAddr>,

    /// A reverse proxy in front of that address, which accepts the PROXY protocol
    #[arg(long, requires = "listen")]
    proxy: Option<SocketAddr>,
}

const PROXIES: &str = "\
A reverse proxy for `--listen 127.0.0.1:3000 --proxy 127.0.0.1:8080`, of nginx:

    server {
        listen 127.0.0.1:8080 proxy_protocol;
        set_real_ip_from 127.0.0.1;
        real_ip_header proxy_protocol;
        location / {
            proxy_pass http://127.0.0.1:3000;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
        }
    }

Of HAProxy:

    frontend clients
        mode http
        bind 127.0.0.1:8080 accept-proxy
        option forwardfor
        default_backend server
    backend server
        mode http
        server server 127.0.0.1:3000

Ends with 1 if a promise is broken.";

#[tokio::main]
async fn main() -> Result<ExitCode, BoxError> {
    let args = Args::parse();
    let ledger = Ledger::new(NAMES);
    // The proxies of this machine alone. In production: the networks of yours.
    let (app, handles) = server::app(ClientIp::behind(["127.0.0.0/8", "::1"]), &ledger);
    let listen = args.listen.unwrap_or(([127, 0, 0, 1], 0).into());
    let listener = TcpListener::bind(listen).await?;
    let server = listener.local_addr()?;
    // Without the connection's address, the requests have no key, and share one quota.
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(axum::serve(listener, app).into_future());

    let own = Proxy::start(server).await?;
    let proxy = args.proxy.unwrap_or(own.address);
    let idle = async || {
        own.idle().await;
        ALLOCATOR.current_usage()
    };

    let attacks = scenes::attacks(proxy, &handles).await?;
    let before = idle().await;
    let flood = scenes::flood(proxy, &handles).await?;
    // A task that has ended is freed by its thread, some time later. Another proxy may keep its
    // connections to the server, whose buffers are not those of the limits.
    let mut after = idle().await;
    let is_own = args.proxy.is_none();
    for attempt in 0..if is_own { 1_000 } else { 100 } {
        if after <= before + if attempt < 100 { SLACK / 16 } else { SLACK } {
            break;
        }
        sleep(Duration::from_millis(10)).await;
        after = idle().await;
    }

    let mut broken = Vec::new();
    attackers(&ledger, &attacks, &flood, &mut broken);
    honest(&attacks, &flood, &mut broken);
    println!("at most {} exports of a client at a time, of {EXPORTS}", ledger.most_exports());
    if ledger.most_exports() > EXPORTS {
        broken.push("too many exports at a time".to_owned());
    }
    of_flood(&handles, &flood, [before, after], &mut broken);
    if is_own && after > before + SLACK {
        broken.push(format!("the memory grows by {} bytes", after - before));
    }
    for promise in &broken {
        println!("BROKEN: {promise}");
    }
    println!("promises broken: {}", broken.len());
    Ok(if broken.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Prints the requests of each attacker that were issued, by the times of the server.
fn attackers(ledger: &Ledger, attacks: &Phase, flood: &Phase, broken: &mut Vec<String>) {
    let mut table = table(["attacker", "requests", "rejected", "issued in a second", "in an hour"]);
    for Attacker { name, by, quotas } in &ATTACKERS {
        let all = attacks.attackers.iter().chain(&flood.attackers);
        let of_this: Vec<Figures> = all.filter(|it| it.name == *name).copied().collect();
        let Figures { requests, served, .. } = Figures::sum(&of_this);
        let [second, hour] = quotas.map(|(limit, span)| {
            let most = ledger.most(name, span);
            if most > limit {
                broken.push(format!("the {name} is issued {most} in {span:?}"));
            }
            format!("{most} of {limit}")
        });
        let [requests, rejected] = [requests, requests - served].map(|count| count.to_string());
        table.add_row([format!("{name}: {by}"), requests, rejected, second, hour]);
    }
    println!("{table}\n");
}

/// Prints the requests of the clients that stay within their quotas.
fn honest(attacks: &Phase, flood: &Phase, broken: &mut Vec<String>) {
    let mut table = table(["honest clients", "requests", "served"]);
    let during = [("beside the attacks", attacks), ("beside the flood", flood)];
    for (phase, figures) in
        during.iter().flat_map(|(phase, it)| it.honest.iter().map(move |it| (phase, it)))
    {
        let Figures { name, requests, served } = *figures;
        // New clients share the overflow with the flood, as the table is full.
        if served < requests && name != NEW {
            broken.push(format!("{served} of {requests} requests of the {name} are served"));
        }
        let share = format!("{:.0} %", 100.0 * f64::from(served) / f64::from(requests));
        table.add_row([format!("{name}, {phase}"), requests.to_string(), share]);
    }
    println!("{table}\n");
}

/// Prints the effects of the flood on the table of addresses.
fn of_flood(
    handles: &Handles,
    flood: &Phase,
    [before, after]: [usize; 2],
    broken: &mut Vec<String>,
) {
    let served: u32 =
        flood.attackers.iter().filter(|it| it.name == BOTS).map(|bots| bots.served).sum();
    let (live, overflowed) = (handles.address.live_keys(), handles.address.overflowed());
    println!(
        "a flood of {FLOOD} new addresses with a request each, at max_keys({MAX_ADDRESSES}):\n  \
         {live} addresses have a slot, {overflowed} requests shared overflows, {served} are served\n  \
         allocated: {before} bytes before, {after} after"
    );
    if overflowed == 0 {
        broken.push("the flood does not fill the table".to_owned());
    }
}

fn table<const N: usize>(header: [&str; N]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::ASCII_MARKDOWN).set_header(header);
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}
