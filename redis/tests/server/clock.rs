//! Leases, and the clock of the server.

use crate::{
    model::Lease,
    request::{Reply, Request, SECOND, Scripted},
    support::server::Server,
};

const KEY: &str = "key";

/// Asks until no more is leased, and returns the replies.
async fn exhaust(scripted: &mut Scripted, request: &Request) -> Vec<Reply> {
    let mut replies = Vec::new();
    for _ in 0..1000 {
        let reply = scripted.reply(KEY, request).await;
        replies.push(reply);
        if replies.last().unwrap().leases.is_empty() {
            return replies;
        }
    }
    panic!("permits do not end");
}

#[tokio::test]
async fn d6_full_window_leases_the_next_permits_ahead_to_processes_in_turn() {
    let server = Server::start(&[]).await;
    let mut scripted = Scripted::new(server.connect().await);
    let request = Request::new(640, SECOND, 640);
    // Half of the free permits at a time, later a chunk: 320, 160, 80, 40, 20, 10, then 10.
    let first = scripted.reply(KEY, &request).await;
    assert_eq!((first.leased(), first.free, first.leases[0].delay), (320, 320, 0));
    exhaust(&mut scripted, &request).await;
    scripted.clock += SECOND * 7 / 8;
    // Each request is given a chunk of the next permits to expire, and none is given twice.
    let mut before = 0;
    for _ in 0..20 {
        let reply = scripted.reply(KEY, &request).await;
        let [Lease { delay, count, .. }] = reply.leases[..] else { panic!("{reply:?}") };
        assert_eq!((count, reply.when), (10, 0));
        assert!((before..=SECOND / 4).contains(&delay), "{delay}");
        before = delay;
    }
}

#[tokio::test]
async fn d6_refusal_tells_the_time_of_the_next_permit() {
    let server = Server::start(&[]).await;
    let mut scripted = Scripted::new(server.connect().await);
    let request = Request::new(10, SECOND, 10);
    let replies = exhaust(&mut scripted, &request).await;
    let (refused, first) = (replies.last().unwrap(), replies[0].leases[0]);
    assert_eq!(refused.when, first.mark - refused.now);
    // Once it is within the horizon, it is leased ahead.
    scripted.clock += refused.when - request.horizon();
    let reply = scripted.reply(KEY, &request).await;
    assert_eq!((reply.leases[0].delay, reply.leased()), (request.horizon(), 1));
}

#[tokio::test]
async fn d8_permits_of_a_process_that_died_come_back_within_horizon_length_and_window() {
    let server = Server::start(&[]).await;
    let mut scripted = Scripted::new(server.connect().await);
    let request = Request { length: SECOND / 8, ..Request::new(100, SECOND, 100) };
    exhaust(&mut scripted, &request).await;
    // Reservations, up to the horizon. Then it asks no more.
    scripted.clock += SECOND;
    exhaust(&mut scripted, &request).await;
    scripted.clock += request.horizon() + request.length + SECOND + SECOND / 256 + 1;
    let reply = scripted.reply(KEY, &Request { want: 0, ..request }).await;
    assert_eq!(reply.free, 100);
}

#[tokio::test]
async fn d10_time_continues_after_the_clock_was_set_back() {
    let server = Server::start(&[]).await;
    let mut scripted = Scripted::new(server.connect().await);
    let request = Request::new(10, SECOND, 10);
    let replies = exhaust(&mut scripted, &request).await;
    let (refused, next) = (replies.last().unwrap(), replies.last().unwrap().when);
    scripted.clock -= 3600 * SECOND;
    let first = scripted.reply(KEY, &request).await;
    assert_eq!((first.now, first.leased()), (refused.now, 0));
    // Each of these is refused, so that no lease tells the store how far the time has come.
    for part in 1..=10 {
        scripted.clock += (next - request.horizon()) / 11;
        let reply = scripted.reply(KEY, &request).await;
        let passed = part * ((next - request.horizon()) / 11);
        assert_eq!((reply.now - first.now, reply.leased()), (passed, 0));
    }
    scripted.clock += next;
    assert_eq!(scripted.reply(KEY, &request).await.leases[0].delay, 0);
}

#[tokio::test]
async fn d12_refund_after_its_mark_or_of_another_history_frees_nothing() {
    let server = Server::start(&[]).await;
    let mut scripted = Scripted::new(server.connect().await);
    let request = Request::new(100, SECOND, 50);
    let first = scripted.reply(KEY, &request).await;
    let refund = Request {
        want: 0,
        refunds: vec![(first.leases[0].mark, 20)],
        ..request.clone().after(&first, 50)
    };
    let free = scripted.reply(KEY, &refund).await.free;
    assert_eq!(free, first.free + 20);

    // Another process has leased them, up to a later mark.
    scripted.clock += SECOND / 2;
    let second = scripted.reply(KEY, &Request { want: 30, ..request.clone() }).await;
    let mut other = refund.clone();
    other.seen.0 -= 1;
    other.mine = 0;
    assert_eq!(scripted.reply(KEY, &other).await.free, second.free);
    scripted.clock += first.leases[0].mark - second.now;
    let idle = scripted.reply(KEY, &Request { want: 0, ..request.clone() }).await;
    assert_eq!(idle.free, 100 - 30);
    assert_eq!(scripted.reply(KEY, &refund).await.free, idle.free);
}

#[tokio::test]
async fn d12_refunds_free_no_more_than_was_leased() {
    let server = Server::start(&[]).await;
    let mut scripted = Scripted::new(server.connect().await);
    let request = Request::new(1000, SECOND, 10);
    // Entries of several grains, of which a request refunds two, and one too often.
    let mut leases = Vec::new();
    for _ in 0..20 {
        leases.push(scripted.reply(KEY, &request).await.leases[0]);
        scripted.clock += SECOND / 100;
    }
    let last = scripted.reply(KEY, &Request { want: 0, ..request.clone() }).await;
    let refunds = [3, 19, 3, 7].map(|index| (leases[index].mark, 8)).to_vec();
    let refund = Request { want: 0, refunds, ..request.after(&last, 200) };
    let reply = scripted.reply(KEY, &refund).await;
    assert_eq!(reply.free, last.free + 10 + 8 + 8);
}

#[tokio::test]
async fn d8_permits_count_until_their_mark_and_no_longer() {
    let server = Server::start(&[]).await;
    let mut scripted = Scripted::new(server.connect().await);
    let request = Request::new(100, SECOND, 20);
    let look = Request { want: 0, ..request.clone() };
    let mut leases = Vec::new();
    for _ in 0..3 {
        leases.push(scripted.reply(KEY, &request).await.leases[0]);
        scripted.clock += SECOND / 10;
    }
    for (index, lease) in (0..).zip(&leases) {
        scripted.clock = lease.mark - 1;
        assert_eq!(scripted.reply(KEY, &look).await.free, 40 + 20 * index);
        scripted.clock = lease.mark;
        assert_eq!(scripted.reply(KEY, &look).await.free, 60 + 20 * index);
    }
}
