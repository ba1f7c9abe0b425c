//! A service or a response that is dropped releases all its permits at once, in each of its states.
//!
//! The permits of issued requests count until they expire.

use crate::{
    at_every, on_every,
    paused_time::pass,
    probe::{End, Mood},
    stacks::{BACKOFF, Bound, PERMITS, Retry, WINDOW, all, limits, retried, retries},
    trial::{Caller, waker},
};

/// Idle, ready, and with a permit while the inner service is not ready.
#[tokio::test(start_paused = true)]
async fn c4_service_drop_before_the_call_releases_its_permit() {
    on_every(all(), async |trial| {
        let Some((fresh, mut ready)) = trial.two_callers() else { return };
        drop(fresh);
        for mood in [Mood::Ready, Mood::Pending] {
            trial.probe.be(mood);
            assert_eq!(ready.is_ready(), mood == Mood::Ready);
            trial.assert_counts(1, 1, 0);
            drop(ready);
            trial.assert_counts(0, 0, 0);
            ready = trial.caller();
        }
    })
    .await;
}

/// The waiter is queued, or was granted a permit and not polled since.
#[tokio::test(start_paused = true)]
async fn c4_waiter_drop_leaves_its_permit_to_the_next() {
    at_every(limits(all()), async |trial, limit| {
        for is_granted in [false, true] {
            let Some((mut gone, mut next)) = trial.two_callers() else { return };
            let mut in_flight = trial.occupy(&mut gone, limit, PERMITS).await;
            let ((waker_of_gone, wakes_of_gone), (waker, wakes)) = (waker(), waker());
            assert!(!gone.is_ready_for(&waker_of_gone));
            assert!(!next.is_ready_for(&waker));
            trial.assert_counts_at(limit, 2, 2);
            if is_granted {
                trial.free(limit, &mut in_flight).await;
                assert!(!next.is_ready_for(&waker), "the permit is granted to the other waiter");
                let before = wakes.count();
                drop(gone);
                assert!(wakes.count() > before, "the permit is granted to the next waiter");
            } else {
                drop(gone);
                trial.assert_counts_at(limit, 1, 1);
                trial.free(limit, &mut in_flight).await;
                assert!(wakes.count() > 0);
            }
            assert_eq!(wakes_of_gone.count() > 0, is_granted);
            drop((next.send(1), in_flight));
            pass(WINDOW).await;
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn c4_response_drop_in_flight_releases_its_permit() {
    on_every(all(), async |trial| {
        let mut service = trial.caller();
        let (unpolled, mut polled) = (service.send(1), service.send(2));
        assert!(polled.is_pending());
        trial.assert_counts(2, 2, 0);
        drop(unpolled);
        trial.assert_counts(1, 2, 0);
        drop(polled);
        trial.assert_counts(0, 2, 0);
    })
    .await;
}

/// In the backoff, while the inner service is not ready for the second attempt, and in that
/// attempt.
#[tokio::test(start_paused = true)]
async fn c4_response_drop_in_a_retry_releases_its_permits() {
    on_every(retries(), async |trial| {
        for state in ["backoff", "not ready", "second attempt"] {
            let mut sent = trial.caller().send(1);
            trial.fail_once(&mut sent);
            if state == "backoff" {
                // Only a concurrency limit outside of the retry holds a permit now.
                trial.assert_counts(u32::from(trial.stack.outside(Bound, Retry)), 1, 0);
            } else {
                pass(BACKOFF).await;
                trial.probe.be(if state == "not ready" { Mood::Pending } else { Mood::Ready });
                assert!(sent.is_pending());
                trial.assert_counts(1, trial.spent_by_two_attempts(), 0);
            }
            drop(sent);
            let called = state == "second attempt";
            trial.assert_counts(0, if called { trial.spent_by_two_attempts() } else { 1 }, 0);
            trial.probe.be(Mood::Ready);
            pass(WINDOW).await;
        }
    })
    .await;
}

/// The second attempt is queued, or was granted a permit and not polled since.
#[tokio::test(start_paused = true)]
async fn c4_response_drop_while_a_retry_is_queued_releases_its_permits() {
    at_every(retried(limits(all())), async |trial, limit| {
        for is_granted in [false, true] {
            let mut sent = trial.caller().send(1);
            trial.fail_once(&mut sent);
            let mut in_flight = trial.occupy_in_backoff(limit).await;
            let (waker, wakes) = waker();
            assert!(sent.poll(&waker).is_pending());
            trial.assert_retry_counts_at(limit, 1);
            if is_granted {
                trial.free(limit, &mut in_flight).await;
                assert!(wakes.count() > 0);
            }
            drop(sent);
            let others = PERMITS - u32::from(is_granted);
            let (held, spent) = if limit == Bound { (others, 0) } else { (0, others) };
            trial.assert_counts(held, spent, 0);
            drop(in_flight);
            pass(WINDOW).await;
        }
    })
    .await;
}

/// The response releases its permits when it completes.
#[tokio::test(start_paused = true)]
async fn c4_response_outlives_its_service() {
    on_every(all(), async |trial| {
        let mut service = trial.caller();
        let mut sent = service.send(1);
        drop(service);
        trial.assert_counts(1, 1, 0);
        if trial.stack.has(Retry) {
            trial.fail_once(&mut sent);
            pass(BACKOFF).await;
        }
        let (waker, wakes) = waker();
        assert!(sent.poll(&waker).is_pending());
        trial.probe.end(1, End::Ok(7));
        assert_eq!((wakes.count(), sent.result()), (1, Ok(7)));
        drop(sent);
        trial.assert_counts(0, trial.spent_by_two_attempts(), 0);
    })
    .await;
}
