//! One candidate in all scenes.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, interval_at, sleep_until};
use tower::BoxError;

use super::{
    bottleneck::{Bottleneck, Kind},
    candidate::Candidate,
    load::{self, Arrival, Outcome},
    now,
    scene::Scene,
    server,
};

/// The time between two readings of the limit.
const READING: Duration = Duration::from_millis(50);

/// The record of a candidate.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) candidate: Candidate,
    pub(crate) outcomes: Vec<Outcome>,
    /// The limit over time; none of a server without one.
    pub(crate) limits: Vec<(Duration, u32)>,
}

/// Starts a server with the candidate's limit, and sends it the requests of the schedule.
pub(crate) async fn run(
    candidate: Candidate,
    kind: Kind,
    seed: u64,
    scenes: &[Scene],
    schedule: Arc<[Arrival]>,
) -> Result<Run, BoxError> {
    let bottleneck = Arc::new(Bottleneck::new(kind, seed));
    let limited = candidate.limit(kind, server::routes(Arc::clone(&bottleneck)));
    let (address, server) = server::serve(limited.app).await?;
    let start = now();
    let (outcomes, (), limits) = futures::join!(
        load::generate(address, start, schedule),
        play(scenes, start, &bottleneck),
        read(scenes, start, limited.limit),
    );
    server.abort();
    Ok(Run { candidate, outcomes: outcomes?, limits })
}

/// Changes the capacity as the scenes tell.
async fn play(scenes: &[Scene], start: Instant, bottleneck: &Bottleneck) {
    for scene in scenes {
        sleep_until(start + scene.time.start).await;
        if scene.restart {
            bottleneck.restart();
        }
        bottleneck.leave(scene.left);
    }
}

async fn read(
    scenes: &[Scene],
    start: Instant,
    limit: Box<dyn Fn() -> Option<u32> + Send>,
) -> Vec<(Duration, u32)> {
    let end = scenes.last().map_or(Duration::ZERO, |scene| scene.time.end);
    let mut readings = interval_at(start, READING);
    let mut limits = Vec::new();
    while start.elapsed() < end {
        let at = readings.tick().await - start;
        limits.extend(limit().map(|limit| (at, limit)));
    }
    limits
}
