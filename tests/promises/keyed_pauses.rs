//! Pauses of keys, and penalties.

use std::{convert::Infallible, time::Duration};

use tokio::time::advance;
use tower::{BoxError, Layer, Service, ServiceExt, service_fn};
use tower_floodgate::{
    Rejected,
    keyed::{KeyedLimitLayer, Rule, TableFull},
};

use crate::support::{ms, now, secs};

/// Fails, as a login with a wrong password.
const WRONG: u32 = 0;

/// A request of a client, with an outcome.
type Request = (u32, u32);

#[allow(clippy::unnecessary_wraps, reason = "a key function")]
fn client(request: &Request) -> Option<u32> {
    Some(request.0)
}

fn rule() -> Rule<fn(&Request) -> Option<u32>> {
    Rule::new("client", client)
}

/// Responds with the outcome.
fn echo() -> impl Service<Request, Response = u32, Error = Infallible, Future: Send> + Clone {
    service_fn(|request: Request| async move { Ok(request.1) })
}

fn rejected<T: std::fmt::Debug>(result: Result<T, BoxError>) -> Rejected {
    Rejected::find(&*result.expect_err("rejected")).expect("by the layer").clone()
}

#[tokio::test(start_paused = true)]
async fn k19_paused_key_admits_nothing_until_its_pause_ends() {
    let layer = KeyedLimitLayer::new((
        rule().at_most(2, secs(1)),
        Rule::global("all").at_most(1_000, secs(1)),
    ));
    let (service, clients) = (layer.layer(echo()), layer.handle("client"));
    // Of a key with a slot, and of one without.
    service.clone().oneshot((1, 1)).await.unwrap();
    for key in [1_u32, 2] {
        clients.pause_for(key, secs(60)).unwrap();
        assert_eq!(clients.paused_until(key), Some(now() + secs(60)));
        assert_eq!(clients.remaining(key), 0);
        assert_eq!(clients.time_until_room(key), Some(secs(60)));
        let rejected = rejected(service.clone().oneshot((key, 1)).await);
        assert!(rejected.is_paused() && rejected.is_rate_limited() && !rejected.is_shared());
        assert_eq!(rejected.rule().as_deref(), Some("client"));
        assert_eq!(rejected.retry_after(), Some(secs(60)));
    }
    assert_eq!((clients.live_keys(), clients.rejected()), (2, 2));
    assert_eq!(layer.handle("all").remaining(()), 999, "a rejection costs nothing");
    service.clone().oneshot((3, 1)).await.unwrap();

    advance(ms(59_999)).await;
    for key in [1, 2] {
        assert!(rejected(service.clone().oneshot((key, 1)).await).is_paused());
    }
    advance(ms(1)).await;
    assert_eq!(clients.paused_until(1_u32), None);
    assert_eq!(clients.live_keys(), 0);
    for key in [1, 2] {
        service.clone().oneshot((key, 1)).await.unwrap();
    }
}
