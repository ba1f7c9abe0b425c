//! Errors of readiness, and panics of the inner service: nothing is lost, and the others go on.

use std::task::Waker;

use crate::{
    at_every, on_every,
    paused_time::pass,
    probe::{End, Mood, NOT_READY},
    stacks::{BACKOFF, Bound, PLACES, Rate, Stack, WINDOW, all, limits, retries},
    trial::{Customer, message_of, waker},
};

const KEEPS: &str = "tower's limit keeps its permit when readiness fails, until it is dropped: \
                     it is dead, and to be discarded";

/// Does it keep a permit for a service that is dead, or for a response that is over?
fn keeps(stack: &Stack) -> bool {
    !stack.is_ours() && stack.has(Bound)
}

#[tokio::test(start_paused = true)]
async fn c3_readiness_error_passes_and_no_permit_stays_held() {
    on_every(all(), async |trial| {
        let kept = usize::from(keeps(&trial.stack));
        trial.differs = keeps(&trial.stack).then_some(KEEPS);
        let mut service = trial.customer();
        for before in [Mood::Failing, Mood::Pending, Mood::Ready] {
            trial.probe.be(before);
            if before != Mood::Failing {
                assert_eq!(service.is_ready(), before == Mood::Ready);
                trial.stands(1, 1, 0);
            }
            trial.probe.be(Mood::Failing);
            assert_eq!(service.failure(), Some(NOT_READY));
            trial.stands(kept, 0, 0);
        }
        // If the inner service recovers, so does this one.
        trial.probe.be(Mood::Ready);
        let sent = service.send(1);
        trial.stands(1, 1, 0);
        drop((sent, service));
        trial.stands(0, 1, 0);
    })
    .await;
}

/// One has the last place, and its inner service fails to get ready.
#[tokio::test(start_paused = true)]
async fn c3_readiness_error_admits_the_next_waiter() {
    at_every(limits(all()), async |trial, limit| {
        let Some((mut failing, mut next)) = trial.two_customers() else { return };
        let _in_flight = trial.occupy(&mut failing, limit, PLACES - 1).await;
        trial.probe.be(Mood::Pending);
        let (waker, wakes) = waker();
        assert!(!failing.is_ready());
        assert!(!next.is_ready_for(&waker));
        // Of a limit further in, only the first has a place.
        let taken = |of| match of {
            _ if of == limit => PLACES,
            _ => 1 + usize::from(trial.stack.outside(of, limit)),
        };
        trial.stands(taken(Bound), taken(Rate), 1);

        trial.probe.be_unnoticed(Mood::Failing);
        assert_eq!(failing.failure(), Some(NOT_READY));
        trial.probe.be_unnoticed(Mood::Ready);
        if keeps(&trial.stack) {
            assert_eq!((wakes.count(), next.is_ready_for(&waker)), (0, false));
            trial.differs = Some(KEEPS);
            drop(failing);
        }
        assert!(wakes.count() > 0);
        drop(next.send(1));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn c3_readiness_error_ends_a_retry() {
    on_every(retries(), async |trial| {
        let mut sent = trial.customer().send(1);
        trial.fail_once(&mut sent);
        trial.probe.be(Mood::Failing);
        pass(BACKOFF).await;
        assert_eq!(sent.result(), Err(NOT_READY));
        assert_eq!(trial.probe.calls(), [1]);
        trial.stands(usize::from(keeps(&trial.stack)), 1, 0);
        trial.differs = keeps(&trial.stack).then_some(KEEPS);
        drop(sent);
        trial.stands(0, 1, 0);
    })
    .await;
}

/// It has its place still, and one only. Dropped, it gives it back.
#[tokio::test(start_paused = true)]
async fn c4_panic_in_poll_ready_loses_no_permit() {
    on_every(all(), async |trial| {
        let mut service = trial.customer();
        for _ in 0..3 {
            trial.probe.be(Mood::Panicking);
            assert_eq!(message_of(|| service.is_ready()), "in poll_ready");
            trial.stands(1, 1, 0);
            trial.probe.be(Mood::Ready);
            assert!(service.is_ready());
            trial.stands(1, 1, 0);
        }
        trial.probe.be(Mood::Panicking);
        message_of(|| service.is_ready());
        drop(service);
        trial.stands(0, 0, 0);
    })
    .await;
}

/// It may have gone out, so the window counts it. It is not in flight.
#[tokio::test(start_paused = true)]
async fn c4_panic_in_call_loses_no_permit() {
    on_every(all(), async |trial| {
        let mut service = trial.customer();
        assert!(service.is_ready());
        trial.probe.panic_in_call(true);
        assert_eq!(message_of(|| service.dispatch(1)), "in call");
        trial.probe.panic_in_call(false);
        trial.stands(0, 1, 0);
        let sent = service.send(2);
        trial.stands(1, 2, 0);
        assert_eq!(trial.probe.calls(), [1, 2]);
        drop(sent);
    })
    .await;
}

/// Whoever polls it drops it then, and it isn't retried.
#[tokio::test(start_paused = true)]
async fn c4_panic_in_a_response_loses_no_permit() {
    on_every(all(), async |trial| {
        let mut sent = trial.customer().send(1);
        trial.probe.end(1, End::Panic);
        assert_eq!(message_of(|| sent.is_pending()), "in the response");
        drop(sent);
        trial.stands(0, 1, 0);
        assert_eq!(trial.probe.calls(), [1]);
    })
    .await;
}

/// The same three in the second attempt.
#[tokio::test(start_paused = true)]
async fn c4_panic_in_a_retry_loses_no_permit() {
    on_every(retries(), async |trial| {
        for panic in ["in poll_ready", "in call", "in the response"] {
            let mut sent = trial.customer().send(1);
            trial.fail_once(&mut sent);
            pass(BACKOFF).await;
            match panic {
                "in poll_ready" => trial.probe.be(Mood::Panicking),
                "in call" => trial.probe.panic_in_call(true),
                _ => {
                    assert!(sent.is_pending());
                    trial.probe.end(1, End::Panic);
                }
            }
            assert_eq!(message_of(|| sent.poll(Waker::noop())), panic);
            drop(sent);
            let called = panic != "in poll_ready";
            trial.stands(0, if called { trial.spent_by_two_attempts() } else { 1 }, 0);
            trial.probe.be(Mood::Ready);
            trial.probe.panic_in_call(false);
            pass(WINDOW).await;
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn c4_completed_response_holds_no_permit_though_it_is_kept() {
    on_every(all(), async |trial| {
        let mut sent = trial.customer().send(1);
        trial.probe.end(1, End::Ok(7));
        assert_eq!(sent.result(), Ok(7));
        trial.stands(usize::from(keeps(&trial.stack)), 1, 0);
        trial.differs = keeps(&trial.stack)
            .then_some("tower's permit comes back when a response is dropped, not when it is done");
        drop(sent);
        trial.stands(0, 1, 0);
    })
    .await;
}
