//! Requests of clients, some of which call more often than others.

use std::{
    hint::black_box,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use rand::{SeedableRng, rngs::SmallRng};
use rand_distr::{Distribution, Zipf};
use tower::Service;

use crate::batch::Batch;

/// The key of a client, such as an IPv6 address.
pub(crate) type Key = [u8; 16];

/// Returns the key of the client with this number.
#[inline]
pub(crate) fn key(client: u32) -> Key {
    // An odd multiplier, so that neighbours differ in all bytes.
    (u128::from(client) + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835).to_be_bytes()
}

/// The key of a request, for a rule.
#[allow(clippy::unnecessary_wraps, reason = "a key function")]
#[inline]
pub(crate) fn key_of(client: &u32) -> Option<Key> {
    Some(key(*client))
}

/// The draws of a sequence, which is repeated then.
const DRAWS: usize = 1 << 20;

/// A sequence of clients by Zipf's law: the n-th most frequent one has 1/n of the requests of the
/// first.
#[derive(Clone)]
pub(crate) struct Draws {
    clients: Arc<[u32]>,
    pub(crate) of: u32,
    next: usize,
}

impl Draws {
    pub(crate) fn new(of: u32) -> Self {
        let mut random = SmallRng::seed_from_u64(of.into());
        let law = Zipf::new(f64::from(of), 1.0).expect("there is a client");
        let clients = (0..DRAWS).map(|_| law.sample(&mut random) as u32 - 1).collect();
        Self { clients, of, next: 0 }
    }

    /// Returns the same sequence from another place on, for another thread.
    pub(crate) fn later(mut self) -> Self {
        self.next = DRAWS / 2;
        self
    }

    #[inline]
    fn next(&mut self) -> u32 {
        let client = self.clients[self.next % DRAWS];
        self.next += 1;
        client
    }
}

/// A limit that is asked for a client, and returns true if it admits.
pub(crate) trait Ask: FnMut(u32) -> bool + Send + 'static {}

impl<F: FnMut(u32) -> bool + Send + 'static> Ask for F {}

/// Asks for one client after the other. All of them have asked before.
pub(crate) fn asked(draws: Draws, mut ask: impl Ask) -> Batch {
    known(&draws, &mut ask);
    drawn(draws, ask)
}

/// Asks once for each client.
pub(crate) fn known(draws: &Draws, ask: &mut impl Ask) {
    (0..draws.of).for_each(|client| assert!(ask(client), "the first request is admitted"));
}

/// Asks for one client after the other.
///
/// A call that is rejected now and then counts as any other: a thread that is interrupted holds a
/// permit meanwhile, and has an old time then. More than one of a hundred is a fault.
pub(crate) fn drawn(mut draws: Draws, mut ask: impl Ask) -> Batch {
    Box::new(move |calls| {
        let mut rejected = 0;
        for _ in 0..calls {
            let client = black_box(draws.next());
            rejected += u32::from(!ask(client));
        }
        assert!(rejected <= calls / 100, "{rejected} of {calls} calls were rejected");
    })
}

/// Returns a function that makes a call, and returns true if it succeeded.
pub(crate) fn respond<S: Service<u32> + Send + 'static>(mut service: S) -> impl Ask {
    move |client| {
        let service = black_box(&mut service);
        let mut cx = Context::from_waker(Waker::noop());
        let readiness = service.poll_ready(&mut cx);
        assert!(matches!(readiness, Poll::Ready(Ok(()))), "the inner service is ready");
        match pin!(service.call(client)).poll(&mut cx) {
            Poll::Ready(response) => {
                let is_admitted = response.is_ok();
                _ = black_box(&response);
                is_admitted
            }
            Poll::Pending => panic!("no call waits"),
        }
    }
}
