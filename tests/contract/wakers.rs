//! A pending task is woken by its last waker when it can proceed, because tasks move.
//!
//! Repeated polls acquire no permit, lose none, and cause no wake-up.

use std::{sync::Arc, task::Waker};

use crate::{
    at_every, on_every,
    paused_time::pass,
    probe::{End, Mood},
    stacks::{BACKOFF, PERMITS, all, limits, retried, retries},
    trial::{Caller, waker},
    wake_counter::WakeCounter,
};

/// A pending task, and the counters of its last two wakers.
struct Waiting {
    old: Arc<WakeCounter>,
    new: Arc<WakeCounter>,
}

impl Waiting {
    /// Polls many times with one waker and then with another.
    #[track_caller]
    fn polls(mut is_pending: impl FnMut(&Waker) -> bool) -> Self {
        let ((old_waker, old), (new_waker, new)) = (waker(), waker());
        for waker in [old_waker, new_waker] {
            assert!((0..20).all(|_| is_pending(&waker)), "ready without a cause");
        }
        assert_eq!((old.count(), new.count()), (0, 0), "woken without a cause");
        Self { old, new }
    }

    #[track_caller]
    fn is_woken(&self) {
        assert!(self.new.count() > 0, "the last waker is not woken");
        assert_eq!(self.old.count(), 0, "a replaced waker is woken");
    }
}

#[tokio::test(start_paused = true)]
async fn c5_waiter_at_a_limit_is_woken() {
    at_every(limits(all()), async |trial, limit| {
        let mut service = trial.caller();
        let mut in_flight = trial.occupy(&mut service, limit, PERMITS).await;
        let waiting = Waiting::polls(|waker| !service.is_ready_for(waker));
        trial.assert_counts_at(limit, 1, 1);
        trial.free(limit, &mut in_flight).await;
        waiting.is_woken();

        // It was granted its permit, and waits for the inner service.
        trial.probe.be(Mood::Pending);
        let waiting = Waiting::polls(|waker| !service.is_ready_for(waker));
        trial.probe.be(Mood::Ready);
        waiting.is_woken();
        drop(service.send(1));
    })
    .await;
}

/// It holds a permit meanwhile.
#[tokio::test(start_paused = true)]
async fn c5_task_pending_on_the_inner_service_is_woken() {
    on_every(all(), async |trial| {
        let mut service = trial.caller();
        trial.probe.be(Mood::Pending);
        let waiting = Waiting::polls(|waker| !service.is_ready_for(waker));
        trial.assert_counts(1, 1, 0);
        trial.probe.be(Mood::Ready);
        waiting.is_woken();
        drop(service.send(1));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn c5_task_pending_on_a_response_is_woken() {
    on_every(all(), async |trial| {
        let mut sent = trial.caller().send(1);
        let waiting = Waiting::polls(|waker| sent.poll(waker).is_pending());
        trial.assert_counts(1, 1, 0);
        trial.probe.end(1, End::Ok(7));
        waiting.is_woken();
        assert_eq!(sent.result(), Ok(7));
        assert_eq!(trial.probe.calls(), [1]);
    })
    .await;
}

/// It is woken after the backoff, for the readiness of the inner service, and for the second
/// response.
#[tokio::test(start_paused = true)]
async fn c3_c5_each_attempt_of_a_retry_waits_for_readiness_and_is_woken() {
    on_every(retries(), async |trial| {
        let mut sent = trial.caller().send(1);
        trial.fail_once(&mut sent);
        let waiting = Waiting::polls(|waker| sent.poll(waker).is_pending());
        trial.probe.be(Mood::Pending);
        pass(BACKOFF).await;
        waiting.is_woken();

        let polls = trial.probe.polls();
        let waiting = Waiting::polls(|waker| sent.poll(waker).is_pending());
        assert_eq!((trial.probe.polls(), trial.probe.calls()), (polls + 40, vec![1]));
        trial.assert_counts(1, trial.spent_by_two_attempts(), 0);
        trial.probe.be(Mood::Ready);
        waiting.is_woken();

        let waiting = Waiting::polls(|waker| sent.poll(waker).is_pending());
        assert_eq!(trial.probe.calls(), [1, 1], "once more, unchanged");
        trial.assert_counts(1, trial.spent_by_two_attempts(), 0);
        trial.probe.end(1, End::Ok(7));
        waiting.is_woken();
        assert_eq!(sent.result(), Ok(7));
    })
    .await;
}

/// The second attempt is queued.
#[tokio::test(start_paused = true)]
async fn c5_waiter_at_a_limit_in_a_retry_is_woken() {
    at_every(retried(limits(all())), async |trial, limit| {
        let mut sent = trial.caller().send(1);
        trial.fail_once(&mut sent);
        let mut in_flight = trial.occupy_in_backoff(limit).await;
        let calls = trial.probe.calls();
        let waiting = Waiting::polls(|waker| sent.poll(waker).is_pending());
        assert_eq!(trial.probe.calls(), calls);
        trial.assert_retry_counts_at(limit, 1);
        trial.free(limit, &mut in_flight).await;
        waiting.is_woken();
        assert!(sent.is_pending());
        trial.probe.end(1, End::Ok(7));
        assert_eq!(sent.result(), Ok(7));
    })
    .await;
}
