//! Readiness errors and panics of the inner service: no permit is lost, and other requests proceed.

use std::task::Waker;

use crate::{
    at_every, on_every,
    paused_time::pass,
    probe::{End, Mood, NOT_READY},
    stacks::{BACKOFF, Bound, PERMITS, Rate, Stack, WINDOW, all, limits, retries},
    trial::{Caller, message_of, waker},
};

const KEEPS: &str = "tower's limit keeps its permit after a readiness error, until it is dropped: \
                     it has failed, and is to be discarded";

/// Returns whether the stack keeps a permit for a service that has failed, or for a response that
/// has completed.
fn keeps(stack: &Stack) -> bool {
    !stack.is_ours() && stack.has(Bound)
}

#[tokio::test(start_paused = true)]
async fn c3_readiness_error_passes_and_no_permit_stays_held() {
    on_every(all(), async |trial| {
        let kept = u32::from(keeps(&trial.stack));
        trial.differs = keeps(&trial.stack).then_some(KEEPS);
        let mut service = trial.caller();
        for before in [Mood::Failing, Mood::Pending, Mood::Ready] {
            trial.probe.be(before);
            if before != Mood::Failing {
                assert_eq!(service.is_ready(), before == Mood::Ready);
                trial.assert_counts(1, 1, 0);
            }
            trial.probe.be(Mood::Failing);
            assert_eq!(service.failure(), Some(NOT_READY));
            trial.assert_counts(kept, 0, 0);
        }
        // If the inner service recovers, the stack does.
        trial.probe.be(Mood::Ready);
        let sent = service.send(1);
        trial.assert_counts(1, 1, 0);
        drop((sent, service));
        trial.assert_counts(0, 1, 0);
    })
    .await;
}

/// The inner service of the holder of the last permit fails to get ready.
#[tokio::test(start_paused = true)]
async fn c3_readiness_error_admits_the_next_waiter() {
    at_every(limits(all()), async |trial, limit| {
        let Some((mut failing, mut next)) = trial.two_callers() else { return };
        let _in_flight = trial.occupy(&mut failing, limit, PERMITS - 1).await;
        trial.probe.be(Mood::Pending);
        let (waker, wakes) = waker();
        assert!(!failing.is_ready());
        assert!(!next.is_ready_for(&waker));
        // At an inner limit, only the first service holds a permit.
        let taken = |of| match of {
            _ if of == limit => PERMITS,
            _ => 1 + u32::from(trial.stack.outside(of, limit)),
        };
        trial.assert_counts(taken(Bound), taken(Rate), 1);

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
        let mut sent = trial.caller().send(1);
        trial.fail_once(&mut sent);
        trial.probe.be(Mood::Failing);
        pass(BACKOFF).await;
        assert_eq!(sent.result(), Err(NOT_READY));
        assert_eq!(trial.probe.calls(), [1]);
        trial.assert_counts(u32::from(keeps(&trial.stack)), 1, 0);
        trial.differs = keeps(&trial.stack).then_some(KEEPS);
        drop(sent);
        trial.assert_counts(0, 1, 0);
    })
    .await;
}

/// The service still holds one permit, and releases it when it is dropped.
#[tokio::test(start_paused = true)]
async fn c4_panic_in_poll_ready_loses_no_permit() {
    on_every(all(), async |trial| {
        let mut service = trial.caller();
        for _ in 0..3 {
            trial.probe.be(Mood::Panicking);
            assert_eq!(message_of(|| service.is_ready()), "in poll_ready");
            trial.assert_counts(1, 1, 0);
            trial.probe.be(Mood::Ready);
            assert!(service.is_ready());
            trial.assert_counts(1, 1, 0);
        }
        trial.probe.be(Mood::Panicking);
        message_of(|| service.is_ready());
        drop(service);
        trial.assert_counts(0, 0, 0);
    })
    .await;
}

/// The request may have gone out: it is not in flight, and its permit is spent.
#[tokio::test(start_paused = true)]
async fn c4_panic_in_call_loses_no_permit() {
    on_every(all(), async |trial| {
        let mut service = trial.caller();
        assert!(service.is_ready());
        trial.probe.panic_in_call(true);
        assert_eq!(message_of(|| service.dispatch(1)), "in call");
        trial.probe.panic_in_call(false);
        trial.assert_counts(0, 1, 0);
        let sent = service.send(2);
        trial.assert_counts(1, 2, 0);
        assert_eq!(trial.probe.calls(), [1, 2]);
        drop(sent);
    })
    .await;
}

/// The response is dropped by its task, and the request is not retried.
#[tokio::test(start_paused = true)]
async fn c4_panic_in_a_response_loses_no_permit() {
    on_every(all(), async |trial| {
        let mut sent = trial.caller().send(1);
        trial.probe.end(1, End::Panic);
        assert_eq!(message_of(|| sent.is_pending()), "in the response");
        drop(sent);
        trial.assert_counts(0, 1, 0);
        assert_eq!(trial.probe.calls(), [1]);
    })
    .await;
}

/// The same panics in the second attempt.
#[tokio::test(start_paused = true)]
async fn c4_panic_in_a_retry_loses_no_permit() {
    on_every(retries(), async |trial| {
        for panic in ["in poll_ready", "in call", "in the response"] {
            let mut sent = trial.caller().send(1);
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
            trial.assert_counts(0, if called { trial.spent_by_two_attempts() } else { 1 }, 0);
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
        let mut sent = trial.caller().send(1);
        trial.probe.end(1, End::Ok(7));
        assert_eq!(sent.result(), Ok(7));
        trial.assert_counts(u32::from(keeps(&trial.stack)), 1, 0);
        trial.differs = keeps(&trial.stack).then_some(
            "tower's permit is released when a response is dropped, not when it completes",
        );
        drop(sent);
        trial.assert_counts(0, 1, 0);
    })
    .await;
}
