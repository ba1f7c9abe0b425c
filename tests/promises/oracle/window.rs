//! The window as anybody would write it down: the times of the issues in a list, and a queue.

use std::{
    collections::VecDeque,
    future::{Ready, ready},
    time::Duration,
};

use futures::FutureExt;
use proptest::prelude::*;
use tower::{Layer, Service, service_fn};
use tower_floodgate::{Rejected, WindowRateLimitLayer};

use super::{CUSTOMERS, Customer, hold};
use crate::{
    paused_time::pass,
    support::{most_in_any_span, ms},
};

#[derive(Clone, Debug)]
enum Step {
    Poll(usize),
    Call(usize),
    /// Drops the service, in whatever state it is.
    Leave(usize),
    Advance(u64),
    Limit(usize),
    Window(u64),
    Pause(u64),
}

/// What a schedule starts from. Times are in milliseconds.
#[derive(Clone, Copy, Debug)]
struct Settings {
    /// All times are multiples of this, so that things meet.
    unit: u64,
    fixed: bool,
    limit: usize,
    window: u64,
    max_waiting: usize,
    max_wait: Option<u64>,
}

fn settings() -> impl Strategy<Value = Settings> {
    let unit = proptest::sample::select(vec![1, 10, 97]);
    let max_waiting = prop_oneof![Just(usize::MAX), 0..4_usize];
    let max_wait = proptest::option::of(0..30_u64);
    (unit, any::<bool>(), 1..6_usize, 1..15_u64, max_waiting, max_wait).prop_map(
        |(unit, fixed, limit, window, max_waiting, max_wait)| Settings {
            unit,
            fixed,
            limit,
            window: unit * window,
            max_waiting,
            max_wait: max_wait.map(|wait| unit * wait),
        },
    )
}

/// Times are in units.
fn steps() -> impl Strategy<Value = Vec<Step>> {
    let who = 0..CUSTOMERS;
    let step = prop_oneof![
        60 => who.clone().prop_map(Step::Poll),
        40 => who.clone().prop_map(Step::Call),
        15 => who.prop_map(Step::Leave),
        30 => (1..8_u64).prop_map(Step::Advance),
        5 => (1..6_usize).prop_map(Step::Limit),
        5 => (1..15_u64).prop_map(Step::Window),
        5 => (1..15_u64).prop_map(Step::Pause),
    ];
    proptest::collection::vec(step, 1..200)
}

/// Times are in milliseconds since the beginning.
#[derive(Clone)]
struct Naive {
    fixed: bool,
    limit: usize,
    window: u64,
    paused_until: u64,
    /// Those that count.
    issued: Vec<u64>,
    /// Who has a place and has not called.
    held: Vec<usize>,
    line: VecDeque<Waiting>,
    /// Those whose deadlines have passed and that have not polled since.
    expired: Vec<Waiting>,
    /// Those whose wait was taken for another request's, and that have had nothing since.
    renewed: Vec<usize>,
    now: u64,
}

#[derive(Clone, Copy)]
struct Waiting {
    who: usize,
    /// Not later than this.
    until: u64,
}

impl Naive {
    /// When an issue counts no more.
    fn over(&self, issued: u64) -> u64 {
        if self.fixed { (issued / self.window + 1) * self.window } else { issued + self.window }
    }

    fn room(&self) -> usize {
        self.limit.saturating_sub(self.held.len() + self.issued.len())
    }

    /// Lets go what is over, and lets in who can go.
    fn settle(&mut self) {
        let over: Vec<_> = self.issued.iter().map(|&at| self.over(at)).collect();
        let mut over = over.into_iter();
        self.issued.retain(|_| over.next().is_some_and(|at| at > self.now));
        self.expired.extend(self.line.iter().filter(|waiting| waiting.until <= self.now));
        self.line.retain(|waiting| waiting.until > self.now);
        while self.now >= self.paused_until && self.room() > 0 {
            let Some(next) = self.line.pop_front() else { return };
            self.held.push(next.who);
        }
    }

    /// When somebody can go with so many before it, if each issues as soon as it can.
    fn expected(&self, ahead: usize) -> u64 {
        let mut at = self.now;
        let now = self.held.iter().map(|_| &at);
        let mut taken: Vec<_> = self.issued.iter().chain(now).map(|&at| self.over(at)).collect();
        at = at.max(self.paused_until);
        for _ in 0..=ahead {
            taken.retain(|&over| over > at);
            while taken.len() >= self.limit {
                at = *taken.iter().min().expect("as many as the limit");
                taken.retain(|&over| over > at);
            }
            taken.push(self.over(at));
        }
        at
    }

    fn waits(&self, who: usize) -> Option<Waiting> {
        self.line.iter().chain(&self.expired).find(|waiting| waiting.who == who).copied()
    }

    fn leave(&mut self, who: usize) {
        self.renewed.retain(|&renewed| renewed != who);
        self.expired.retain(|waiting| waiting.who != who);
        self.held.retain(|&holder| holder != who);
        self.line.retain(|waiting| waiting.who != who);
        self.settle();
    }
}

/// What somebody has got by polling.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Has {
    Nothing,
    Place,
    /// To be told when it calls. Was the queue full? And since when?
    Rejection {
        queue_full: bool,
        at: u64,
    },
}

/// How late a task may be polled, and for how long it is the same request, in milliseconds.
const GRACE: u64 = 100;

impl Naive {
    /// What `who` has after it has polled, having had this.
    fn poll(&mut self, who: usize, had: Has, settings: &Settings) -> Has {
        self.settle();
        match had {
            Has::Rejection { at, .. } if self.now < at + GRACE && !self.is_free() => return had,
            _ => {}
        }
        if self.held.contains(&who) {
            self.renewed.retain(|&renewed| renewed != who);
            return Has::Place;
        }
        if let Some(Waiting { until, .. }) = self.waits(who) {
            // Not too late, nor known to be: the first of all could go in time.
            if self.now < until && self.expected(0) <= until {
                return Has::Nothing;
            }
            self.line.retain(|waiting| waiting.who != who);
            self.expired.retain(|waiting| waiting.who != who);
            if self.is_free() {
                self.held.push(who);
                return Has::Place;
            }
            // Later than that, and for the first time: it is another request.
            let again = self.renewed.contains(&who);
            let patience = if again { GRACE.max(settings.max_wait.unwrap_or(0)) } else { GRACE };
            if self.now <= until + patience {
                self.renewed.retain(|&renewed| renewed != who);
                return Has::Rejection { queue_full: false, at: self.now };
            }
            self.renewed.push(who);
        }
        let until = settings.max_wait.map_or(u64::MAX, |wait| self.now + wait);
        let has = if self.is_free() {
            self.held.push(who);
            Has::Place
        } else if self.line.len() >= settings.max_waiting {
            Has::Rejection { queue_full: true, at: self.now }
        } else if self.expected(self.line.len()) > until {
            Has::Rejection { queue_full: false, at: self.now }
        } else {
            self.line.push_back(Waiting { who, until });
            return Has::Nothing;
        };
        self.renewed.retain(|&renewed| renewed != who);
        has
    }

    /// Could a newcomer go at once?
    fn is_free(&self) -> bool {
        self.line.is_empty() && self.expected(0) == self.now
    }

    /// What `who` is told when it calls, having this.
    fn call(&mut self, who: usize, had: Has) -> Told {
        self.settle();
        match had {
            Has::Rejection { queue_full, .. } if !self.is_free() => {
                let millis = self.expected(self.line.len()) - self.now;
                Told::Rejected { queue_full, millis }
            }
            _ => {
                self.held.retain(|&holder| holder != who);
                self.issued.push(self.now);
                Told::Issued
            }
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Told {
    Issued,
    /// How long is it until there is room?
    Rejected {
        queue_full: bool,
        millis: u64,
    },
}

type Answer = Ready<Result<Option<Rejected>, ()>>;

/// The rejection that a call was answered with.
fn rejection(answer: impl Future<Output = Result<Option<Rejected>, ()>>) -> Option<Rejected> {
    answer.now_or_never().expect("answers at once").expect("never fails")
}

/// W1 to W7, W9, C4, C5, C11, C12: at every moment, who has a place, who waits, and who is turned away with which
/// time is what the naive window says; whoever could go has been woken; and in no span at all more was
/// issued.
#[test]
fn c4_c5_c11_c12_w1_w2_w3_w4_w5_w6_w7_w9_window_agrees_with_the_naive_one() {
    hold(file!(), (settings(), steps()), |(settings, steps)| async move {
        let Settings { unit, fixed, limit, window, max_waiting, max_wait } = settings;
        let of = if fixed { WindowRateLimitLayer::fixed } else { WindowRateLimitLayer::new };
        let layer = of(limit as u64, ms(window));
        let handle = layer.handle();
        let shedding = layer.clone().max_waiting(0).respond(Some);
        let mut layer = layer.max_waiting(max_waiting).respond(Some);
        if let Some(wait) = max_wait {
            layer = layer.max_wait(ms(wait));
        }
        let inner = service_fn(|(): ()| -> Answer { ready(Ok(None)) });
        let mut naive = Naive {
            fixed,
            limit,
            window,
            paused_until: 0,
            issued: Vec::new(),
            held: Vec::new(),
            line: VecDeque::new(),
            expired: Vec::new(),
            renewed: Vec::new(),
            now: 0,
        };
        let mut customers: Vec<_> =
            (0..CUSTOMERS).map(|_| Customer::new(layer.layer(inner))).collect();
        let mut has = [Has::Nothing; CUSTOMERS];
        let mut times: Vec<Duration> = Vec::new();
        let mut rejections = 0;
        let (mut most, mut shortest) = (limit, window);
        let taken = steps.len();

        for step in steps {
            match step {
                Step::Poll(who) if has[who] != Has::Place => {
                    has[who] = naive.poll(who, has[who], &settings);
                    prop_assert_eq!(customers[who].poll(), has[who] != Has::Nothing, "{:?}", has);
                }
                Step::Call(who) if has[who] != Has::Nothing => {
                    let rejected = rejection(customers[who].service.call(()));
                    let told = match rejected {
                        None => Told::Issued,
                        Some(rejected) => Told::Rejected {
                            queue_full: rejected.is_queue_full(),
                            millis: whole_millis(rejected.retry_after().expect("known"))?,
                        },
                    };
                    prop_assert_eq!(told, naive.call(who, has[who]));
                    if told == Told::Issued {
                        times.push(ms(naive.now));
                    } else {
                        rejections += 1;
                    }
                    has[who] = Has::Nothing;
                }
                Step::Leave(who) => {
                    customers[who] = Customer::new(layer.layer(inner));
                    has[who] = Has::Nothing;
                    naive.leave(who);
                }
                Step::Advance(units) => {
                    let millis = unit * units;
                    pass(ms(millis)).await;
                    naive.now += millis;
                    naive.settle();
                }
                Step::Limit(limit) => {
                    handle.set_limit(limit as u64).unwrap();
                    (naive.limit, most) = (limit, most.max(limit));
                    naive.settle();
                }
                Step::Window(units) => {
                    let window = unit * units;
                    let _ = handle.remaining(); // lets go what is over, as the naive one has
                    handle.set_window(ms(window)).unwrap();
                    (naive.window, shortest) = (window, shortest.min(window));
                    naive.settle();
                }
                Step::Pause(units) => {
                    let millis = unit * units;
                    handle.pause_for(ms(millis));
                    naive.paused_until = naive.paused_until.max(naive.now + millis);
                }
                _ => {}
            }
            // Lets the ringer look, if it was told to.
            tokio::task::yield_now().await;

            // Whoever waits and is woken polls.
            while let Some(who) =
                (0..CUSTOMERS).find(|&who| has[who] == Has::Nothing && customers[who].woken() > 0)
            {
                has[who] = naive.poll(who, has[who], &settings);
                prop_assert_eq!(customers[who].poll(), has[who] != Has::Nothing, "{:?}", has);
            }
            for &who in &naive.held {
                prop_assert_eq!(has[who], Has::Place, "{} could go and wasn't woken", who);
            }
            for Waiting { who, until } in &naive.line {
                prop_assert!(naive.now < *until, "{} waits for longer than it would", who);
            }
        }

        let free = naive.line.is_empty() && naive.now >= naive.paused_until;
        prop_assert_eq!(handle.remaining(), if free { naive.room() as u64 } else { 0 });
        prop_assert_eq!(handle.waiting(), naive.line.len());
        prop_assert_eq!(handle.rejected().total(), rejections, "counted when it is told");
        if !fixed {
            prop_assert!(most_in_any_span(&times, ms(shortest)) <= most);
        }

        // W6: turned away until the promised instant, and admitted at it.
        drop(customers);
        (naive.held, naive.line) = (Vec::new(), VecDeque::new());
        naive.settle();
        let promised = naive.expected(0) - naive.now;
        let mut next = Customer::new(shedding.layer(inner));
        // Asked at first, and a millisecond before.
        for (left, then) in [(promised, promised.saturating_sub(1)), (1, 1)] {
            if promised >= left && left > 0 {
                prop_assert!(next.poll());
                let rejected = rejection(next.service.call(())).expect("turned away");
                prop_assert_eq!(rejected.retry_after(), Some(ms(left)));
                pass(ms(then)).await;
            }
        }
        prop_assert!(next.poll());
        prop_assert!(rejection(next.service.call(())).is_none(), "not admitted when promised");

        drop(next);
        pass(ms(2 * naive.window)).await;
        prop_assert_eq!(handle.remaining(), naive.limit as u64, "something was lost");
        Ok(taken)
    });
}

fn whole_millis(duration: Duration) -> Result<u64, TestCaseError> {
    let millis = u64::try_from(duration.as_millis()).expect("a wait");
    prop_assert_eq!(ms(millis), duration, "all happens at whole milliseconds");
    Ok(millis)
}
