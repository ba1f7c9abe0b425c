//! Who may call, what readiness takes, and what passes through.

use tower::BoxError;
use tower_floodgate::Rejected;

use crate::{
    at_every, on_every,
    paused_time::pass,
    probe::{CALLED_UNREADY, End, Failed, Mood},
    stacks::{
        Answer, BACKOFF, Bound, Bounds, Does, PLACES, Rate, Retry, TURNED_AWAY, Towers, WIDE,
        WINDOW, all, bounded, limits, retried,
    },
    trial::{Customer, Trial, message_of, waker},
};

/// And on the very instance that was polled ready: the probe panics otherwise, and its clones aren't ready.
#[tokio::test(start_paused = true)]
async fn c3_inner_service_is_called_once_per_request() {
    on_every(all(), async |trial| {
        let mut service = trial.customer();
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
        let mut sent = trial.customer().send(1);
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

/// Polled again and again it takes one place, and keeps it however long it sits there.
#[tokio::test(start_paused = true)]
async fn c3_ready_service_stays_ready_until_it_is_called() {
    on_every(all(), async |trial| {
        let mut service = trial.customer();
        for _ in 0..10 {
            assert!((0..10).all(|_| service.is_ready()));
            trial.stands(1, 1, 0);
            pass(WINDOW).await;
        }
        let sent = service.send(1);
        trial.stands(1, 1, 0);
        assert!((0..10).all(|_| service.is_ready()), "for the next request");
        trial.stands(2, 2, 0);
        drop((sent, service));
        trial.stands(0, 1, 0);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn c3_clone_of_a_ready_service_is_not_ready_and_holds_no_permit() {
    on_every(all(), async |trial| {
        let Some((mut service, _)) = trial.two_customers() else { return };
        for mood in [Mood::Ready, Mood::Pending] {
            trial.probe.be(mood);
            assert_eq!(service.is_ready(), mood == Mood::Ready);
            let mut clone = service.clone();
            trial.stands(1, 1, 0);
            message_of(|| clone.dispatch(1));
            trial.stands(1, 1, 0);
            drop(clone);
            trial.stands(1, 1, 0);
        }
        assert_eq!(trial.probe.calls(), []);
    })
    .await;
}

const OURS: &str =
    "called without readiness: `poll_ready` must return `Ready(Ok(()))` before each `call`";
const TOWERS_BOUND: &str = "max requests in-flight; poll_ready must be called first";
const TOWERS_RATE: &str = "service not ready; poll_ready must be called first";
const CALLS_ON: &str =
    "tower's limits call an inner service that isn't ready, and leave it to that to panic";

/// Fresh, called already, and while the inner service isn't ready yet.
#[tokio::test(start_paused = true)]
async fn c3_call_without_readiness_panics_with_the_message_of_its_layer() {
    on_every(all(), async |trial| {
        let (fresh, again) = match trial.stack.layers[0] {
            // A retry is as ready as the inner service.
            _ if trial.stack.limits().is_empty() => (CALLED_UNREADY, CALLED_UNREADY),
            _ if trial.stack.is_ours() => (OURS, OURS),
            // tower's rate limit notices nothing until its window is used up, and counts that call, too.
            Towers(Rate) if trial.stack.has(Bound) => (TOWERS_BOUND, TOWERS_RATE),
            Towers(Rate) => (CALLED_UNREADY, TOWERS_RATE),
            _ => (TOWERS_BOUND, TOWERS_BOUND),
        };
        let mut service = trial.customer();
        assert_eq!(message_of(|| service.dispatch(1)), fresh);
        trial.stands(0, 0, 0);
        drop(service.send(2));
        assert_eq!(message_of(|| service.dispatch(3)), again);
        trial.stands(0, 1, 0);

        pass(WINDOW).await;
        trial.probe.be(Mood::Pending);
        assert!(!service.is_ready());
        let message = message_of(|| service.dispatch(4));
        assert_eq!(trial.probe.calls(), [2]);
        if trial.stack.is_ours() || trial.stack.limits().is_empty() {
            assert_eq!(message, fresh);
            trial.stands(1, 1, 0);
        } else {
            assert_eq!(message, CALLED_UNREADY);
            trial.stands(0, 0, 0);
            trial.differs = Some(CALLS_ON);
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn c3_call_while_queued_panics_and_the_waiter_stays_queued() {
    at_every(limits(all()), async |trial, limit| {
        let mut service = trial.customer();
        let mut in_flight = trial.occupy(&mut service, limit, PLACES).await;
        assert!(!service.is_ready());
        let calls = trial.probe.calls();
        let message = message_of(|| service.dispatch(1));
        assert_eq!(trial.probe.calls(), calls);
        if trial.stack.is_ours() {
            assert_eq!(message, OURS);
        } else {
            assert_eq!(message, if limit == Bound { TOWERS_BOUND } else { TOWERS_RATE });
        }
        if !trial.stack.is_ours() && trial.stack.outside(Bound, limit) {
            trial.stands(0, PLACES, 1);
            trial.differs = Some(CALLS_ON);
        } else {
            trial.stands_at(limit, 1, 1);
        }
        trial.free(limit, &mut in_flight).await;
        drop(service.send(2));
    })
    .await;
}

const NO_LINE: Bounds = Bounds { max_waiting: 0, ..WIDE };

/// Asserts that it was `limit` that turned a request away, as its stack says so. If that is an error, it tells
/// more.
#[track_caller]
fn rejected(trial: &Trial, limit: Does, answer: Result<u32, BoxError>, why: fn(&Rejected) -> bool) {
    if trial.stack.answer == Answer::Respond {
        assert_eq!(answer.unwrap(), TURNED_AWAY);
    } else {
        let error = answer.unwrap_err();
        let rejected = Rejected::find(&*error).expect("a rejection");
        assert!(why(rejected) && rejected.is_rate_limited() == (limit == Rate), "{rejected}");
    }
}

/// It has no place of that limit, asks nothing of the inner service, and gives back what it has from others.
#[tokio::test(start_paused = true)]
async fn c3_rejected_service_is_ready_and_its_call_returns_the_rejection() {
    at_every(bounded(NO_LINE), async |trial, limit| {
        let mut service = trial.customer();
        let mut in_flight = trial.occupy(&mut service, limit, PLACES).await;
        let calls = trial.probe.calls();
        trial.probe.be(Mood::Failing);
        assert!((0..20).all(|_| service.is_ready()));
        assert_eq!(trial.turned_away(limit), 0, "it is counted when it is told");
        trial.stands_at(limit, 1, 0);
        drop(service);
        trial.stands_at(limit, 0, 0);

        let mut service = trial.customer();
        let mut sent = service.send(1);
        trial.stands_at(limit, 1, 0);
        rejected(trial, limit, sent.answer(), Rejected::is_queue_full);
        assert_eq!((trial.turned_away(limit), trial.probe.calls()), (1, calls));
        // A window further out has let it go, and counts it.
        let spent = usize::from(trial.stack.outside(Rate, limit));
        let bound = limit == Bound;
        trial.stands(if bound { PLACES } else { 0 }, if bound { spent } else { PLACES }, 0);

        // And the service is as good as ever.
        trial.probe.be(Mood::Ready);
        trial.free(limit, &mut in_flight).await;
        let mut sent = service.send(2);
        trial.probe.end(2, End::Ok(7));
        assert_eq!(sent.result(), Ok(7));
    })
    .await;
}

/// Who may wait for a while is woken when that is over. (The window knows at once that it will be.)
#[tokio::test(start_paused = true)]
async fn c3_c5_waiter_past_max_wait_is_woken_for_its_rejection() {
    at_every(bounded(Bounds { max_wait: BACKOFF, ..WIDE }), async |trial, limit| {
        let mut service = trial.customer();
        let _in_flight = trial.occupy(&mut service, limit, PLACES).await;
        if limit == Bound {
            let (waker, wakes) = waker();
            assert!((0..20).all(|_| !service.is_ready()));
            assert!((0..20).all(|_| !service.is_ready_for(&waker)));
            trial.stands_at(limit, 1, 1);
            pass(BACKOFF).await;
            assert!(wakes.count() > 0);
        }
        assert!(service.is_ready());
        assert_eq!(trial.turned_away(limit), 0, "it is counted when it is told");
        trial.stands_at(limit, 1, 0);
        rejected(trial, limit, service.dispatch(1).answer(), Rejected::is_wait_timeout);
        assert_eq!(trial.turned_away(limit), 1);
    })
    .await;
}

/// A second attempt that is turned away is the end: the inner service hasn't failed.
#[tokio::test(start_paused = true)]
async fn c3_rejection_of_a_retry_is_its_result() {
    at_every(retried(bounded(NO_LINE)), async |trial, limit| {
        let mut sent = trial.customer().send(1);
        trial.fail_once(&mut sent);
        let _in_flight = trial.occupy_in_backoff(limit).await;
        let calls = trial.probe.calls();
        rejected(trial, limit, sent.answer(), Rejected::is_queue_full);
        assert_eq!((trial.turned_away(limit), trial.probe.calls()), (1, calls));
        trial.retry_stands_at(limit, 0);
    })
    .await;
}
