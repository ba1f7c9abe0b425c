//! Dropped in each state, a service or a response gives back all that it has, at once: `stands` comes right
//! after the drop. (What was issued counts until its window has passed.)

use crate::{
    at_every, on_every,
    paused_time::pass,
    probe::{End, Mood},
    stacks::{BACKOFF, Bound, PLACES, Retry, WINDOW, all, limits, retried, retries},
    trial::{Customer, waker},
};

/// Fresh, ready, and with a place but an inner service that isn't ready.
#[tokio::test(start_paused = true)]
async fn c4_service_drop_before_the_call_releases_its_permit() {
    on_every(all(), async |trial| {
        let Some((fresh, mut ready)) = trial.two_customers() else { return };
        drop(fresh);
        for mood in [Mood::Ready, Mood::Pending] {
            trial.probe.be(mood);
            assert_eq!(ready.is_ready(), mood == Mood::Ready);
            trial.stands(1, 1, 0);
            drop(ready);
            trial.stands(0, 0, 0);
            ready = trial.customer();
        }
    })
    .await;
}

/// Whether it still waits or was called up and not polled since: the place that comes back is the next one's.
#[tokio::test(start_paused = true)]
async fn c4_waiter_drop_leaves_its_permit_to_the_next() {
    at_every(limits(all()), async |trial, limit| {
        for called_up in [false, true] {
            let Some((mut gone, mut next)) = trial.two_customers() else { return };
            let mut in_flight = trial.occupy(&mut gone, limit, PLACES).await;
            let ((waker_of_gone, wakes_of_gone), (waker, wakes)) = (waker(), waker());
            assert!(!gone.is_ready_for(&waker_of_gone));
            assert!(!next.is_ready_for(&waker));
            trial.stands_at(limit, 2, 2);
            if called_up {
                trial.free(limit, &mut in_flight).await;
                assert!(!next.is_ready_for(&waker), "it isn't its turn");
                let before = wakes.count();
                drop(gone);
                assert!(wakes.count() > before, "now it is");
            } else {
                drop(gone);
                trial.stands_at(limit, 1, 1);
                trial.free(limit, &mut in_flight).await;
                assert!(wakes.count() > 0);
            }
            assert_eq!(wakes_of_gone.count() > 0, called_up);
            drop((next.send(1), in_flight));
            pass(WINDOW).await;
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn c4_response_drop_in_flight_releases_its_permit() {
    on_every(all(), async |trial| {
        let mut service = trial.customer();
        let (unpolled, mut polled) = (service.send(1), service.send(2));
        assert!(polled.is_pending());
        trial.stands(2, 2, 0);
        drop(unpolled);
        trial.stands(1, 2, 0);
        drop(polled);
        trial.stands(0, 2, 0);
    })
    .await;
}

/// In the backoff, while the inner service isn't ready for the second attempt, and in that.
#[tokio::test(start_paused = true)]
async fn c4_response_drop_in_a_retry_releases_its_permits() {
    on_every(retries(), async |trial| {
        for state in ["backoff", "not ready", "second attempt"] {
            let mut sent = trial.customer().send(1);
            trial.fail_once(&mut sent);
            if state == "backoff" {
                // Only a bound on the whole task holds a place now.
                trial.stands(usize::from(trial.stack.outside(Bound, Retry)), 1, 0);
            } else {
                pass(BACKOFF).await;
                trial.probe.be(if state == "not ready" { Mood::Pending } else { Mood::Ready });
                assert!(sent.is_pending());
                trial.stands(1, trial.spent_by_two_attempts(), 0);
            }
            drop(sent);
            let called = state == "second attempt";
            trial.stands(0, if called { trial.spent_by_two_attempts() } else { 1 }, 0);
            trial.probe.be(Mood::Ready);
            pass(WINDOW).await;
        }
    })
    .await;
}

/// Where the second attempt stands in line again: waiting, and called up but not polled since.
#[tokio::test(start_paused = true)]
async fn c4_response_drop_while_a_retry_is_queued_releases_its_permits() {
    at_every(retried(limits(all())), async |trial, limit| {
        for called_up in [false, true] {
            let mut sent = trial.customer().send(1);
            trial.fail_once(&mut sent);
            let mut in_flight = trial.occupy_in_backoff(limit).await;
            let (waker, wakes) = waker();
            assert!(sent.poll(&waker).is_pending());
            trial.retry_stands_at(limit, 1);
            if called_up {
                trial.free(limit, &mut in_flight).await;
                assert!(wakes.count() > 0);
            }
            drop(sent);
            let others = PLACES - usize::from(called_up);
            let (held, spent) = if limit == Bound { (others, 0) } else { (0, others) };
            trial.stands(held, spent, 0);
            drop(in_flight);
            pass(WINDOW).await;
        }
    })
    .await;
}

/// A response doesn't need its service. What it holds comes back when it ends.
#[tokio::test(start_paused = true)]
async fn c4_response_outlives_its_service() {
    on_every(all(), async |trial| {
        let mut service = trial.customer();
        let mut sent = service.send(1);
        drop(service);
        trial.stands(1, 1, 0);
        if trial.stack.has(Retry) {
            trial.fail_once(&mut sent);
            pass(BACKOFF).await;
        }
        let (waker, wakes) = waker();
        assert!(sent.poll(&waker).is_pending());
        trial.probe.end(1, End::Ok(7));
        assert_eq!((wakes.count(), sent.result()), (1, Ok(7)));
        drop(sent);
        trial.stands(0, trial.spent_by_two_attempts(), 0);
    })
    .await;
}
