//! The server, with limits for each client.

use std::time::Duration;

use axum::{
    Router,
    body::Body,
    extract::{MatchedPath, Request, State},
    http::StatusCode,
    response::Response,
    routing::{get, post},
};
use tokio::time::sleep;
use tower::ServiceBuilder;
use tower_floodgate::{
    Rejected,
    keyed::{ClientIp, Extension, Key, KeyedLimitLayer, Plan, Rule, RuleHandle, WithoutKey},
    server::http_rejection_with_fallback,
};

use super::ledger::Ledger;

pub(crate) const SECOND: Duration = Duration::from_secs(1);
pub(crate) const HOUR: Duration = Duration::from_secs(3600);

/// The quotas of a client without an account, in any second and in any hour. Small, so that an
/// attack of seconds meets both.
pub(crate) const BY_ADDRESS: [u32; 2] = [10, 30];
/// Those of an account that pays.
pub(crate) const PAID: [u32; 2] = [50, 1_000];
/// Wrong passwords in any hour.
pub(crate) const WRONG_PASSWORDS: u32 = 5;
/// Exports of a client at a time, and the permits that each of them needs.
pub(crate) const EXPORTS: u32 = 2;
pub(crate) const EXPORT_COST: u32 = 5;
/// Addresses that are kept apart: few, so that a small flood fills the table.
///
/// A million of them take 45 MB.
pub(crate) const MAX_ADDRESSES: u32 = 250;

/// An account, by its API key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Account {
    number: u32,
    /// The index of its plan.
    plan: usize,
}

/// The accounts, which a program has in a database: their keys, numbers and plans.
const ACCOUNTS: [(&str, Account); 2] =
    [("free-5b1c", Account { number: 1, plan: 0 }), ("paid-77e0", Account { number: 2, plan: 1 })];

/// The rules' handles.
#[derive(Clone, Debug)]
pub(crate) struct Handles {
    pub(crate) address: RuleHandle,
    pub(crate) login: RuleHandle,
}

/// Makes the server. `clients` reads the address of a client, behind the reverse proxies.
pub(crate) fn app(clients: ClientIp, ledger: &Ledger) -> (Router, Handles) {
    // Without an account, a client is an address: of IPv6, the /64 of its provider's customer.
    let address = Rule::new("address", clients.clone())
        .at_most(BY_ADDRESS[0], SECOND)
        .at_most(BY_ADDRESS[1], HOUR)
        .cost(cost)
        .exempt(|request: &Request| account(request).is_some())
        .max_keys(MAX_ADDRESSES);
    // A rule of its own has a table of its own: a flood of addresses takes no room from accounts.
    let free = Plan::new().at_most(20, SECOND).at_most(100, HOUR);
    let paid = Plan::new().at_most(PAID[0], SECOND).at_most(PAID[1], HOUR);
    let account = Rule::new("account", Extension::<Account>::new())
        .plans([free, paid], |request: &Request| account(request).map_or(0, |account| account.plan))
        .cost(cost)
        .without_key(WithoutKey::Exempt);
    let login = Rule::new("login", clients.clone())
        .at_most(WRONG_PASSWORDS, HOUR)
        .failures_only(|response: &Response| response.status() == StatusCode::UNAUTHORIZED)
        .exempt(|request: &Request| route(request) != "/login");
    let export = Rule::new("export", clients.clone())
        .max_in_flight(EXPORTS)
        .exempt(|request: &Request| route(request) != "/export");

    // Decided together: a request that one rule rejects costs nothing in the others.
    let limits = KeyedLimitLayer::new((address, account, login, export));
    let handles = Handles { address: limits.handle("address"), login: limits.handle("login") };
    let record = ledger.clone();
    let layers = ServiceBuilder::new()
        .map_request(authenticate)
        .layer(limits.reject_with(respond)) // without a `HandleErrorLayer`
        // Inside the limits, for the record of this demonstration.
        .map_request(move |request: Request| {
            record.issued(&request, cost(&request));
            request
        });
    let app = Router::new()
        .route("/", get(async move |request: Request| clients.label(&request).unwrap_or_default()))
        .route("/login", post(log_in))
        .route("/export", get(export_all).with_state(ledger.clone()))
        .layer(layers);
    (app, handles)
}

/// The route, not the path of the request: that loses its prefix where routers are nested.
fn route(request: &Request) -> &str {
    request.extensions().get().map_or("", MatchedPath::as_str)
}

fn cost(request: &Request) -> u32 {
    if route(request) == "/export" { EXPORT_COST } else { 1 }
}

/// Finds the account before the limits. An API key that does not exist counts as none, so a client
/// that tries keys stays the address that it is.
fn authenticate(mut request: Request) -> Request {
    let key = request.headers().get("x-api-key").map(|key| key.as_bytes());
    let account = ACCOUNTS.iter().find(|(of_account, _)| Some(of_account.as_bytes()) == key);
    if let Some(&(_, account)) = account {
        request.extensions_mut().insert(account);
    }
    request
}

fn account(request: &Request) -> Option<&Account> {
    request.extensions().get()
}

/// 429 with `Retry-After`. The time of an export in flight is not known: another second, then.
fn respond(rejected: Rejected) -> Response {
    let text = format!("{rejected}\n");
    http_rejection_with_fallback(SECOND)(rejected).map(|()| Body::from(text))
}

async fn log_in(password: String) -> (StatusCode, &'static str) {
    match &*password {
        "correct horse battery staple" => (StatusCode::OK, "welcome"),
        _ => (StatusCode::UNAUTHORIZED, "wrong"),
    }
}

async fn export_all(State(ledger): State<Ledger>) -> &'static str {
    let _in_flight = ledger.export_begins();
    sleep(Duration::from_millis(200)).await;
    "everything"
}
