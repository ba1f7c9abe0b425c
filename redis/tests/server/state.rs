//! The value of a key: its size, its time to live, and its owner.

use tower_floodgate_redis::RedisStore;

use crate::{
    request::{Request, SECOND, Scripted},
    support::server::Server,
};

#[tokio::test]
async fn d13_value_has_a_time_to_live_of_some_windows_after_each_write() {
    let server = Server::start(&[]).await;
    let mut scripted = Scripted::new(server.connect().await);
    let ttl = redis::cmd("PTTL").arg("key").clone();
    for window in [SECOND / 10, SECOND, 30 * 24 * 3600 * SECOND] {
        // Written as a whole, in place, and as a whole again after a window.
        for after in [0, window / 256, window / 2, window] {
            scripted.clock += after;
            if after == window {
                // Real time has hardly passed. This is as if a window had.
                let expire = redis::cmd("PEXPIRE").arg("key").arg(20_000).clone();
                let _: i64 = scripted.query(&expire).await;
            }
            let reply = scripted.reply("key", &Request::new(1000, window, 1)).await;
            assert_eq!(reply.leased(), 1);
            let left: i64 = scripted.query(&ttl).await;
            let most = 4 * window / 1000 + 60_000;
            assert!((most - 30_000..=most).contains(&left), "{left} ms for {window} us");
        }
    }
    let reply = scripted.reply("key", &Request::new(1000, SECOND, 1).strict()).await;
    assert_eq!(reply.leased(), 1);
    let left: i64 = scripted.query(&ttl).await;
    let week = 7 * 24 * 3600 * 1000;
    assert!((week..=week + 4000).contains(&left), "{left} ms");
}

#[tokio::test]
async fn d13_value_of_a_full_state_is_within_its_bound() {
    let server = Server::start(&[]).await;
    let mut scripted = Scripted::new(server.connect().await);
    let mut largest = 0;
    // The last two leave no multiple of the grain, and the coarsest grain.
    for window in [SECOND, SECOND + SECOND / 512, 60 * SECOND, 256 * 4001 + 1, 256] {
        let _: i64 = scripted.query(redis::cmd("DEL").arg("key")).await;
        // A lease in each grain, the longest ones at the horizon.
        for _ in 0..1000 {
            scripted.clock += window / 256 + 1;
            let request = Request::new(i32::MAX.into(), window, 1);
            let request = Request { length: request.max_length(), ..request };
            scripted.reply("key", &request).await;
            let size: usize = scripted.query(redis::cmd("STRLEN").arg("key")).await;
            assert!(size <= 4608, "{size} bytes");
            largest = largest.max(size);
        }
    }
    println!("the largest value: {largest} bytes");
    assert!(largest > 3000, "the state was not full");
}
#[tokio::test]
async fn d13_value_without_entries_stays_small_when_the_clock_is_set_back() {
    let server = Server::start(&[]).await;
    let mut scripted = Scripted::new(server.connect().await);
    let request = Request::new(1000, SECOND, 0);
    for _ in 0..3 {
        scripted.reply("key", &request).await;
        let size: usize = scripted.query(redis::cmd("STRLEN").arg("key")).await;
        assert_eq!(size, 88);
        scripted.clock -= SECOND;
    }
}
#[tokio::test]
async fn leases_of_a_window_are_written_in_place() {
    let server = Server::start(&[]).await;
    let store = RedisStore::new(server.connect().await);
    for _ in 0..10 {
        Request::new(1000, 3600 * SECOND, 1).send(&store, "key").await.unwrap();
    }
    assert_eq!((server.calls("set").await, server.calls("setrange").await), (1, 9));
}

#[tokio::test]
async fn d13_refusal_writes_nothing() {
    let server = Server::start(&[]).await;
    let store = RedisStore::new(server.connect().await);
    // The horizon of some minutes is reserved soon.
    let request = Request::new(100, 3600 * SECOND, 100);
    let mut refused = request.send(&store, "key").await.unwrap();
    while !refused.leases.is_empty() {
        refused = request.send(&store, "key").await.unwrap();
    }
    let writes = async || server.calls("set").await + server.calls("setrange").await;
    let (before, value): (u64, Vec<u8>) = (writes().await, server.query("GET rl:key").await);
    for request in [
        request.clone(),
        request.clone().after(&refused, 100),
        Request { limit: 90, ..request.clone() },
        // None of these has an entry.
        Request { refunds: vec![(refused.now, 1), (refused.now + 1, 1)], ..request.clone() },
    ] {
        assert_eq!(request.send(&store, "key").await.unwrap().leased(), 0);
    }
    assert_eq!(writes().await, before);
    assert_eq!(server.query::<Vec<u8>>("GET rl:key").await, value);
}

#[tokio::test]
async fn d13_quota_has_one_key_below_its_prefix() {
    let server = Server::start(&[]).await;
    let store = RedisStore::new(server.connect().await);
    let request = Request::new(100, SECOND, 1);
    request.send(&store, "github:search").await.unwrap();
    request.send(&store.clone().prefix("crawl"), "github:search").await.unwrap();
    let mut keys: Vec<String> = server.query("KEYS *").await;
    keys.sort();
    assert_eq!(keys, ["crawl:github:search", "rl:github:search"]);
}

#[tokio::test]
async fn value_of_another_program_is_an_error_and_stays() {
    let server = Server::start(&[]).await;
    let store = RedisStore::new(server.connect().await);
    let request = Request::new(100, SECOND, 1);
    // A counter, a state of another version, one that was cut off, one with a part of an entry.
    request.send(&store, "real").await.unwrap();
    let mut connection = server.connect().await;
    let real: Vec<u8> = server.query("GET rl:real").await;
    let newer: Vec<u8> = [b"floodg:2", &real[8..]].concat();
    // As if it had less than no entry.
    let short = &real[..76];
    let partial = [&real[..8], b"partial", &real[8..]].concat();
    for value in [&b"17"[..], b"", b"floodg:1", &newer, &real[..real.len() - 1], &partial, short] {
        let mut set = redis::cmd("SET");
        set.arg("rl:key").arg(value).exec_async(&mut connection).await.unwrap();
        assert_eq!(request.send(&store, "key").await, Err("foreign_value".to_owned()));
        assert_eq!(server.query::<Vec<u8>>("GET rl:key").await, value);
    }
    let _: i64 = server.query("DEL rl:key").await;
    let _: i64 = server.query("LPUSH rl:key value").await;
    assert_eq!(request.send(&store, "key").await, Err("wrong_type".to_owned()));
    assert_eq!(server.query::<i64>("LLEN rl:key").await, 1);
}

#[tokio::test]
async fn request_of_another_version_is_an_error() {
    let server = Server::start(&[]).await;
    let store = RedisStore::new(server.connect().await);
    let mut numbers = Request::new(100, SECOND, 1).numbers();
    numbers[0] = 2;
    let error = tower_floodgate::shared::Store::acquire(&store, "key", &numbers).await;
    assert_eq!(error.unwrap_err().code(), "other");
    assert_eq!(server.query::<i64>("DBSIZE").await, 0);
}

#[tokio::test]
async fn reply_tells_that_another_limit_or_window_wrote_last() {
    let server = Server::start(&[]).await;
    let store = RedisStore::new(server.connect().await);
    let is_other = async |limit, window| {
        Request::new(limit, window, 1).send(&store, "key").await.unwrap().is_other
    };
    assert!(!is_other(100, SECOND).await);
    assert!(!is_other(100, SECOND).await);
    assert!(is_other(200, SECOND).await);
    assert!(!is_other(200, SECOND).await);
    assert!(is_other(200, 2 * SECOND).await);
}

#[test]
fn prefix_that_is_empty_or_too_long_is_invalid() {
    let store = RedisStore::new(());
    let error = store.clone().try_prefix("").unwrap_err();
    assert_eq!(error.to_string(), "prefix is \"\": it must be a text of 1 to 200 bytes");
    assert!(store.clone().try_prefix("p".repeat(201)).is_err());
    assert!(store.clone().try_prefix("p".repeat(200)).is_ok());
    let panicked = std::panic::catch_unwind(|| store.prefix("")).unwrap_err();
    assert_eq!(panicked.downcast_ref::<String>(), Some(&error.to_string()));
}
