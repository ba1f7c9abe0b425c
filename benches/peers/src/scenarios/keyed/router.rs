//! A router of axum with a limit of each client: `router.clone().oneshot(request)`.
//!
//! The client is the address of the peer. The request is made anew for each call.

use std::{
    future::Future,
    hint::black_box,
    net::{Ipv4Addr, SocketAddr},
    pin::pin,
    task::{Context, Poll, Waker},
};

use axum::{
    Router,
    body::Body,
    extract::{ConnectInfo, Request},
    http::{Response, StatusCode},
    routing::get,
};
use tower::ServiceExt;
use tower_floodgate::{
    Rejected,
    keyed::{KeyedLimitLayer, Rule},
};
use tower_governor::{GovernorLayer, governor::GovernorConfigBuilder};

use super::SMALL_WINDOW;
use crate::{
    contenders::{
        Comparison,
        keys::{Ask, Draws, asked},
        ours, same,
    },
    measure::per_call,
    pace::Pace,
    report::Section,
};

pub(super) fn run(pace: Pace) -> Vec<Section> {
    vec![per_call::timed(&comparison(pace.pick(1_000, 10_000, 10_000)), pace)]
}

fn comparison(clients: u32) -> Comparison {
    let draws = Draws::new(clients);
    let [bare, theirs, own] = [0; 3].map(|_| draws.clone());
    Comparison::above("axum, a limit of each peer", move || asked(bare.clone(), calls(router())))
        .with(same("tower_governor", "up to 2 N"), move || {
            let (limit, window) = SMALL_WINDOW;
            let mut builder = GovernorConfigBuilder::default();
            let config = builder.period(window / limit).burst_size(limit).finish();
            let layer = GovernorLayer::new(config.expect("the settings are valid"));
            asked(theirs.clone(), calls(router().layer(layer)))
        })
        .with(ours("keyed limit", "exact"), move || {
            let (limit, window) = SMALL_WINDOW;
            let rule = Rule::new("client", peer).at_most(limit, window).max_keys(clients);
            let layer = KeyedLimitLayer::new(rule).reject_with(too_many);
            asked(own.clone(), calls(router().layer(layer)))
        })
}

fn router() -> Router {
    Router::new().route("/", get(async || "welcome"))
}

fn peer(request: &Request) -> Option<std::net::IpAddr> {
    let ConnectInfo(peer) = request.extensions().get::<ConnectInfo<SocketAddr>>()?;
    Some(peer.ip())
}

fn too_many(_: Rejected) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::TOO_MANY_REQUESTS;
    response
}

fn calls(router: Router) -> impl Ask {
    move |client| {
        let mut request = Request::new(Body::empty());
        let peer = SocketAddr::from((Ipv4Addr::from(client), 80));
        request.extensions_mut().insert(ConnectInfo(peer));
        let mut cx = Context::from_waker(Waker::noop());
        let Poll::Ready(Ok(response)) = pin!(router.clone().oneshot(request)).poll(&mut cx) else {
            panic!("a handler that does not wait answers at once")
        };
        black_box(response).status() == StatusCode::OK
    }
}
