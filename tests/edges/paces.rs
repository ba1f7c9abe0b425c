//! The pace of a queue, and the percentile of times in service.

use std::time::Duration;

use proptest::prelude::*;

use crate::{
    TestClock, holds,
    pace::Pace,
    semaphore::Tags,
    service_times::ServiceTimes,
    time::{Nanos, Time},
};

fn nanos(nanos: u64) -> Duration {
    Duration::from_nanos(nanos)
}

/// Records a grant after each of the gaps.
fn grant(pace: &mut Pace<TestClock>, clock: &TestClock, gaps: &[u64]) {
    for &gap in gaps {
        clock.set(clock.now().after(nanos(gap)));
        pace.granted(true);
    }
}

/// The expected wait of the second waiter is that of two grants.
fn interval(pace: &Pace<TestClock>) -> Option<Duration> {
    pace.wait(1).map(|wait| wait / 2)
}

#[test]
fn a12_pace_is_known_from_the_eighth_grant_and_forgotten_with_the_queue() {
    let clock = TestClock::at(Nanos::ZERO);
    let mut pace = Pace::new(clock.clone());
    grant(&mut pace, &clock, &[5; 20]);
    assert_eq!(interval(&pace), None, "no arrival has asked for it");
    pace.queued(3, true);
    grant(&mut pace, &clock, &[5; 7]);
    assert_eq!(interval(&pace), None);
    grant(&mut pace, &clock, &[5]);
    assert_eq!((interval(&pace), pace.wait(0)), (Some(nanos(5)), None));
    pace.queued(1, false);
    assert_eq!(interval(&pace), Some(nanos(5)));
    pace.queued(0, false);
    assert_eq!(interval(&pace), None);
}

#[test]
fn a12_grants_of_a_raised_limit_have_no_pace() {
    let clock = TestClock::at(Nanos::ZERO);
    let mut pace = Pace::new(clock.clone());
    pace.queued(0, true);
    pace.raised();
    for has_next in [true, true, false] {
        pace.granted(has_next);
    }
    grant(&mut pace, &clock, &[5; 7]);
    assert_eq!(interval(&pace), None);
    grant(&mut pace, &clock, &[5]);
    assert_eq!(interval(&pace), Some(nanos(5)));
}

/// The pace is that of the last 120 to 128 grants: after so many equal gaps it is exact, and before
/// it lies between the shortest and the longest gap.
#[test]
fn a11_pace_is_that_of_the_last_grants() {
    let gaps = proptest::collection::vec(0..1_000_u64, 9..400);
    holds(file!(), (gaps, 0..1_000_u64), |(gaps, last)| {
        let clock = TestClock::at(Nanos::ZERO);
        let mut pace = Pace::new(clock.clone());
        pace.queued(0, true);
        for (count, &gap) in gaps.iter().enumerate() {
            grant(&mut pace, &clock, &[gap]);
            if count >= 7 {
                let recent = &gaps[(count + 1).saturating_sub(136)..=count];
                let known = interval(&pace).expect("8 grants");
                let (least, most) = (recent.iter().min(), recent.iter().max());
                prop_assert!(known >= nanos(*least.unwrap()) && known <= nanos(*most.unwrap()));
            }
        }
        grant(&mut pace, &clock, &[last; 136]);
        prop_assert_eq!(interval(&pace), Some(nanos(last)));
        Ok(())
    });
}

/// After each 16 times, the percentile is that of a sorted list of the last 128.
#[test]
fn a11_percentile_is_that_of_the_last_times() {
    holds(file!(), proptest::collection::vec(0..10_000_u64, 0..400), |times| {
        let recorded = ServiceTimes::new();
        let mut expected = 0;
        for (count, &time) in (1..).zip(&times) {
            recorded.record(nanos(time));
            if count % 16 == 0 {
                let mut last = times[count.max(128) - 128..count].to_vec();
                last.sort_unstable();
                expected = last[(last.len() * 95).div_ceil(100) - 1].max(1);
            }
            prop_assert_eq!(recorded.p95(), nanos(expected));
        }
        Ok(())
    });
}

#[test]
fn a11_abandoned_request_counts_if_it_took_longer_than_most() {
    let times = ServiceTimes::new();
    for _ in 0..16 {
        times.record(nanos(100));
    }
    for _ in 0..100 {
        times.record_abandoned(nanos(100));
    }
    assert_eq!(times.p95(), nanos(100));
    for _ in 0..16 {
        times.record_abandoned(nanos(900));
    }
    assert_eq!(times.p95(), nanos(900));
}
