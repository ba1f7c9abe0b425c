//! Calls, readiness, and errors that pass through.

use tower::BoxError;
use tower_floodgate::Rejected;

use crate::{
    at_every, on_every,
    paused_time::pass,
    probe::{CALLED_UNREADY, End, Failed, Mood},
    stacks::{
        BACKOFF, Bound, Bounds, Does, PERMITS, REJECTED, Rate, Rejects, Retry, Towers, WIDE,
        WINDOW, all, bounded, limits, retried,
    },
    trial::{Caller, Trial, message_of, waker},
};

/// The probe panics unless that instance was polled ready, and its clones are not ready.
#[tokio::test(start_paused = true)]
async fn c3_inner_service_is_called_once_per_request() {
    on_every(all(), async |trial| {
        let mut service = trial.caller();
        for request in 1..=6 {
            assert!(service.is_ready());
            let polls = trial.probe.polls();
            let mut sent = service.dispatch(request);
            assert!(sent.is_pending());
            trial.probe.end(request, End::Ok(10 * request));
            assert_eq!(sent.result(), Ok(10 * request));
            assert_eq!(trial.probe.polls(), polls, "only `poll_ready` polls readiness");
            if request % 2 == 0 {
                pass(WINDOW).await;
                if trial.stack.is_clone() {
                    service = service.clone();
                }
            }
        }
        assert_eq!(trial.probe.calls(), [1, 2, 3, 4, 5, 6], "in order, as sent");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn c3_error_passes_through_unchanged_and_of_a_retry_the_last() {
    on_every(all(), async |trial| {
        let mut sent = trial.caller().send(1);
        if trial.stack.has(Retry) {
            trial.fail_once(&mut sent);
            pass(BACKOFF).await;
            assert!(sent.is_pending());
        }
        trial.probe.end(1, End::Err(Failed("at last")));
        assert_eq!(sent.result(), Err(Failed("at last")));
    })
    .await;
}

/// Repeated polls acquire one permit, and it is held for any time.
#[tokio::test(start_paused = true)]
async fn c3_ready_service_stays_ready_until_it_is_called() {
    on_every(all(), async |trial| {
        let mut service = trial.caller();
        for _ in 0..10 {
            assert!((0..10).all(|_| service.is_ready()));
            trial.assert_counts(1, 1, 0);
            pass(WINDOW).await;
        }
        let sent = service.send(1);
        trial.assert_counts(1, 1, 0);
        assert!((0..10).all(|_| service.is_ready()), "for the next request");
        trial.assert_counts(2, 2, 0);
        drop((sent, service));
        trial.assert_counts(0, 1, 0);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn c3_clone_of_a_ready_service_is_not_ready_and_holds_no_permit() {
    on_every(all(), async |trial| {
        let Some((mut service, _)) = trial.two_callers() else { return };
        for mood in [Mood::Ready, Mood::Pending] {
            trial.probe.be(mood);
            assert_eq!(service.is_ready(), mood == Mood::Ready);
            let mut clone = service.clone();
            trial.assert_counts(1, 1, 0);
            message_of(|| clone.dispatch(1));
            trial.assert_counts(1, 1, 0);
            drop(clone);
            trial.assert_counts(1, 1, 0);
        }
        assert!(trial.probe.calls().is_empty());
    })
    .await;
}

const OURS: &str =
    "called without readiness: `poll_ready` must return `Ready(Ok(()))` before each `call`; use";

/// Our messages end with the name of the layer.
fn assert_begins(message: &str, text: &str) {
    assert!(message.starts_with(text), "{message}");
}

const TOWERS_BOUND: &str = "max requests in-flight; poll_ready must be called first";
const TOWERS_RATE: &str = "service not ready; poll_ready must be called first";
const CALLS_ON: &str =
    "tower's limits call an inner service that is not ready, and it is that service that panics";

/// New, called before, and while the inner service is not ready.
#[tokio::test(start_paused = true)]
async fn c3_call_without_readiness_panics_with_the_message_of_its_layer() {
    on_every(all(), async |trial| {
        let (fresh, again) = match trial.stack.layers[0] {
            // A retry is as ready as the inner service.
            _ if trial.stack.limits().is_empty() => (CALLED_UNREADY, CALLED_UNREADY),
            _ if trial.stack.is_ours() => (OURS, OURS),
            // tower's rate limit panics only once its window is used up, and counts that call, too.
            Towers(Rate) if trial.stack.has(Bound) => (TOWERS_BOUND, TOWERS_RATE),
            Towers(Rate) => (CALLED_UNREADY, TOWERS_RATE),
            _ => (TOWERS_BOUND, TOWERS_BOUND),
        };
        let mut service = trial.caller();
        assert_begins(&message_of(|| service.dispatch(1)), fresh);
        trial.assert_counts(0, 0, 0);
        drop(service.send(2));
        assert_begins(&message_of(|| service.dispatch(3)), again);
        trial.assert_counts(0, 1, 0);

        pass(WINDOW).await;
        trial.probe.be(Mood::Pending);
        assert!(!service.is_ready());
        let message = message_of(|| service.dispatch(4));
        assert_eq!(trial.probe.calls(), [2]);
        if trial.stack.is_ours() || trial.stack.limits().is_empty() {
            assert_begins(&message, fresh);
            trial.assert_counts(1, 1, 0);
        } else {
            assert_eq!(message, CALLED_UNREADY);
            trial.assert_counts(0, 0, 0);
            trial.differs = Some(CALLS_ON);
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn c3_call_while_queued_panics_and_the_waiter_stays_queued() {
    at_every(limits(all()), async |trial, limit| {
        let mut service = trial.caller();
        let mut in_flight = trial.occupy(&mut service, limit, PERMITS).await;
        assert!(!service.is_ready());
        let calls = trial.probe.calls();
        let message = message_of(|| service.dispatch(1));
        assert_eq!(trial.probe.calls(), calls);
        if trial.stack.is_ours() {
            assert_begins(&message, OURS);
        } else {
            assert_eq!(message, if limit == Bound { TOWERS_BOUND } else { TOWERS_RATE });
        }
        if !trial.stack.is_ours() && trial.stack.outside(Bound, limit) {
            trial.assert_counts(0, PERMITS, 1);
            trial.differs = Some(CALLS_ON);
        } else {
            trial.assert_counts_at(limit, 1, 1);
        }
        trial.free(limit, &mut in_flight).await;
        drop(service.send(2));
    })
    .await;
}

const NO_QUEUE: Bounds = Bounds { max_queue: 0, ..WIDE };

/// Asserts that `limit` rejected a request, in the way of its stack. An error also has the reason.
#[track_caller]
fn rejected(trial: &Trial, limit: Does, result: Result<u32, BoxError>, why: fn(&Rejected) -> bool) {
    if trial.stack.rejects == Rejects::WithResponse {
        assert_eq!(result.unwrap(), REJECTED);
    } else {
        let error = result.unwrap_err();
        let rejected = Rejected::find(&*error).expect("a rejection");
        assert!(why(rejected) && rejected.is_rate_limited() == (limit == Rate), "{rejected}");
    }
}

/// It holds no permit of that limit, does not poll the inner service, and releases the permits of
/// other limits.
#[tokio::test(start_paused = true)]
async fn c3_rejected_service_is_ready_and_its_call_returns_the_rejection() {
    at_every(bounded(NO_QUEUE), async |trial, limit| {
        let mut service = trial.caller();
        let mut in_flight = trial.occupy(&mut service, limit, PERMITS).await;
        let calls = trial.probe.calls();
        trial.probe.be(Mood::Failing);
        assert!((0..20).all(|_| service.is_ready()));
        assert_eq!(trial.rejections(limit), 0, "counted at the call");
        trial.assert_counts_at(limit, 1, 0);
        drop(service);
        trial.assert_counts_at(limit, 0, 0);

        let mut service = trial.caller();
        let mut sent = service.send(1);
        trial.assert_counts_at(limit, 1, 0);
        rejected(trial, limit, sent.outcome(), Rejected::is_queue_full);
        assert_eq!((trial.rejections(limit), trial.probe.calls()), (1, calls));
        // An outer window has issued the request.
        let spent = u32::from(trial.stack.outside(Rate, limit));
        let bound = limit == Bound;
        trial.assert_counts(
            if bound { PERMITS } else { 0 },
            if bound { spent } else { PERMITS },
            0,
        );

        // The service stays usable.
        trial.probe.be(Mood::Ready);
        trial.free(limit, &mut in_flight).await;
        let mut sent = service.send(2);
        trial.probe.end(2, End::Ok(7));
        assert_eq!(sent.result(), Ok(7));
    })
    .await;
}

/// A window rejects at once, because the wait is known to be too long.
#[tokio::test(start_paused = true)]
async fn c3_c5_waiter_past_max_wait_is_woken_for_its_rejection() {
    at_every(bounded(Bounds { max_wait: BACKOFF, ..WIDE }), async |trial, limit| {
        let mut service = trial.caller();
        let _in_flight = trial.occupy(&mut service, limit, PERMITS).await;
        if limit == Bound {
            let (waker, wakes) = waker();
            assert!((0..20).all(|_| !service.is_ready()));
            assert!((0..20).all(|_| !service.is_ready_for(&waker)));
            trial.assert_counts_at(limit, 1, 1);
            pass(BACKOFF).await;
            assert!(wakes.count() > 0);
        }
        assert!(service.is_ready());
        assert_eq!(trial.rejections(limit), 0, "counted at the call");
        trial.assert_counts_at(limit, 1, 0);
        rejected(trial, limit, service.dispatch(1).outcome(), Rejected::is_wait_timeout);
        assert_eq!(trial.rejections(limit), 1);
    })
    .await;
}

/// A rejected second attempt is not retried: the inner service has not failed.
#[tokio::test(start_paused = true)]
async fn c3_rejection_of_a_retry_is_its_result() {
    at_every(retried(bounded(NO_QUEUE)), async |trial, limit| {
        let mut sent = trial.caller().send(1);
        trial.fail_once(&mut sent);
        let _in_flight = trial.occupy_in_backoff(limit).await;
        let calls = trial.probe.calls();
        rejected(trial, limit, sent.outcome(), Rejected::is_queue_full);
        assert_eq!((trial.rejections(limit), trial.probe.calls()), (1, calls));
        trial.assert_retry_counts_at(limit, 0);
    })
    .await;
}
