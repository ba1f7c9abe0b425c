//! A store that comes and goes.

use std::time::Duration;

use tokio::time::sleep;
use tower_floodgate::shared::Away;

use crate::{
    load::Load,
    paused_runtime::run,
    quota::{Quota, Site},
    shared_store::fake::Fault,
};

/// The limit of a process goes on through outages: each one has not a share of its own.
#[test]
fn d11_share_holds_its_bound_while_the_store_comes_and_goes() {
    run(async {
        let (site, limit, window) = (Site::new(1), 100, Duration::from_secs(1));
        let quota = Quota::new(limit, window).away(Away::Share { processes: 4 });
        let handles: Vec<_> =
            (0..4).map(|process| site.start(&quota, process, Load::Greedy(60)).0).collect();
        for _ in 0..50 {
            site.server.set_fault(Some(Fault::Error("io")));
            sleep(window / 16).await;
            site.server.set_fault(None);
            sleep(window / 8).await;
        }
        let alone: u64 = handles.iter().map(|handle| handle.snapshot().store.issued_alone).sum();
        assert!(alone > 100, "{alone} issued alone");
        let most = site.issues.most_in_any_span(window);
        assert!(most <= 2 * limit as usize, "{most}");
    });
}
