//! Windows of more than 256 permits, which count by strides.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    task::{Context, Waker},
    time::Duration,
};

use proptest::prelude::*;
use tokio::time::advance;
use tower::{Layer, Service, service_fn};
use tower_floodgate::WindowRateLimitLayer;

use super::hold;
use crate::{
    paused_runtime::run,
    paused_time::pass,
    support::{ms, now},
};

const WINDOW: Duration = Duration::from_millis(1000);

/// Bursts, and the milliseconds after each.
type Bursts = Vec<(usize, u64)>;

#[test]
fn w1_w3_w8_strides_issue_never_too_many_and_at_most_a_stride_too_few() {
    let bursts = proptest::collection::vec((1..600_usize, 1..400_u64), 1..20);
    hold(file!(), (257..2000_u32, bursts), |(limit, bursts)| strides(limit, bursts));
}

/// A burst ends within a stride, and no request follows.
#[test]
fn w8_permits_of_a_stride_that_stays_open_expire() {
    for burst in [14, 15] {
        run(strides(505, vec![(burst, 1)])).unwrap();
    }
}

async fn strides(limit: u32, bursts: Bursts) -> Result<usize, TestCaseError> {
    let began = now();
    let layer = WindowRateLimitLayer::new(limit, WINDOW).max_queue(0).reject_with(|_| ());
    let handle = layer.handle();
    let issued = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&issued);
    let mut service = layer.layer(service_fn(move |(): ()| {
        counted.fetch_add(1, SeqCst);
        std::future::ready(Ok::<_, ()>(()))
    }));
    let mut recent = VecDeque::new();
    let (most, stride) = (limit as usize, limit.div_ceil(256).next_power_of_two() as usize);
    let taken = bursts.len();
    for (burst, pause) in bursts {
        let time = began.elapsed();
        recent.retain(|&at| at + WINDOW > time);
        for _ in 0..burst {
            let before = issued.load(SeqCst);
            prop_assert!(service.poll_ready(&mut Context::from_waker(Waker::noop())).is_ready());
            drop(service.call(()));
            if issued.load(SeqCst) > before {
                recent.push_back(time);
                prop_assert!(recent.len() <= most, "too many");
            } else {
                prop_assert!(recent.len() + stride > most, "more than a stride too few");
            }
        }
        advance(ms(pause)).await;
    }
    drop(service);
    for _ in 0..2 {
        pass(WINDOW).await;
        let _ = handle.remaining();
    }
    prop_assert_eq!(handle.remaining(), limit, "a permit is lost");
    Ok(taken)
}
