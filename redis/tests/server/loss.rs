//! A state that has lost something, and the processes that leased from it.

use redis::aio::ConnectionManager;
use tower_floodgate_redis::RedisStore;

use crate::{
    request::{Reply, Request, SECOND},
    support::{server::Server, until},
};

const KEY: &str = "key";

/// A process that leases from a quota of 1000 in a minute.
#[derive(Clone, Debug)]
struct Process {
    store: RedisStore<ConnectionManager>,
    latest: Option<Reply>,
    mine: i64,
    is_strict: bool,
}

impl Process {
    async fn of(server: &Server) -> Self {
        let connection = server.client().get_connection_manager().await.unwrap();
        Self { store: RedisStore::new(connection), latest: None, mine: 0, is_strict: false }
    }

    async fn strict(server: &Server) -> Self {
        Self { is_strict: true, ..Self::of(server).await }
    }

    /// Leases permits. Returns whether the process has noticed a loss, and the reply.
    async fn lease(&mut self, want: i64) -> (bool, Reply) {
        let mut request = Request::new(1000, 60 * SECOND, want);
        request.is_strict = self.is_strict;
        if let Some(latest) = &self.latest {
            request = request.after(latest, self.mine);
        }
        let reply = request.send(&self.store, KEY).await.unwrap();
        self.mine += reply.leased();
        let before = self.latest.replace(reply.clone());
        (before.is_some_and(|before| before.epoch != reply.epoch), reply)
    }
}

async fn dump(server: &Server) -> Vec<u8> {
    server.query("DUMP rl:key").await
}

async fn restore(server: &Server, value: &[u8]) {
    let mut restore = redis::cmd("RESTORE");
    restore.arg("rl:key").arg(60_000).arg(value).arg("REPLACE");
    restore.exec_async(&mut server.connect().await).await.unwrap();
}

#[tokio::test]
async fn d9_flush_is_noticed_by_each_process_which_counts_its_permits_again() {
    let server = Server::start(&[]).await;
    let mut one = Process::of(&server).await;
    let mut two = Process::of(&server).await;
    one.lease(200).await;
    two.lease(100).await;
    let () = server.query("FLUSHALL").await;
    let (is_noticed, reply) = one.lease(0).await;
    assert_eq!((is_noticed, reply.free), (true, 800));
    let (is_noticed, reply) = two.lease(0).await;
    assert_eq!((is_noticed, reply.free), (true, 700));
    // Once.
    let (is_noticed, reply) = one.lease(0).await;
    assert_eq!((is_noticed, reply.free), (false, 700));
}

#[tokio::test]
async fn d9_lost_writes_are_noticed_by_both_processes_in_either_order() {
    for first in 0..2 {
        let server = Server::start(&[]).await;
        let mut processes = [Process::of(&server).await, Process::of(&server).await];
        processes[0].lease(10).await;
        processes[1].lease(10).await;
        let copy = dump(&server).await;
        processes[0].lease(100).await;
        processes[1].lease(50).await;
        restore(&server, &copy).await;
        // The first one leases on, so that the total is again what the other one has seen.
        assert!(processes[first].lease(300).await.0);
        assert!(processes[1 - first].lease(0).await.0);
        let free = processes[first].lease(0).await.1.free;
        // 20 of the copy, 300, and all that each of them had leased.
        assert_eq!(free, 1000 - 20 - 300 - 110 - 60);
    }
}

#[tokio::test]
async fn d9_restart_is_noticed_although_another_process_raced_ahead() {
    let mut server = Server::start(&[]).await;
    let mut one = Process::of(&server).await;
    let mut two = Process::of(&server).await;
    two.lease(10).await;
    let () = server.query("SAVE").await;
    // Nothing of this is saved, and the other process has not seen it.
    one.lease(300).await;
    server.kill();
    server.restart().await;
    let mut two = Process { store: Process::of(&server).await.store, ..two };
    let (_, reply) = two.lease(400).await;
    assert!(reply.total > one.latest.as_ref().unwrap().total);
    let (is_noticed, reply) = Process { store: two.store.clone(), ..one }.lease(0).await;
    // 10 of the copy and 10 again, 400, and 300.
    assert_eq!((is_noticed, reply.free), (true, 1000 - 20 - 400 - 300));
}

#[tokio::test]
async fn d9_restart_that_kept_all_writes_counts_permits_again() {
    let mut server = Server::start(&["--appendonly", "yes", "--appendfsync", "always"]).await;
    let mut one = Process::of(&server).await;
    let (_, before) = one.lease(200).await;
    server.kill();
    server.restart().await;
    let mut one = Process { store: Process::of(&server).await.store, ..one };
    let (is_noticed, reply) = one.lease(0).await;
    assert_eq!((is_noticed, reply.total, reply.free), (true, before.total, 600));
}

#[tokio::test]
async fn d9_promotion_of_a_replica_is_noticed() {
    let primary = Server::start_with_port(Vec::new).await;
    let mut one = Process::of(&primary).await;
    let (_, first) = one.lease(10).await;
    let port = primary.port().to_string();
    let replica = Server::start(&["--replicaof", "127.0.0.1", &port]).await;
    let mut connection = replica.connect().await;
    until("the replica has the key", async || {
        let exists = redis::cmd("EXISTS").arg("rl:key").query_async(&mut connection).await;
        exists.unwrap_or(false)
    })
    .await;
    // The replica takes no writes, and a lease is one.
    let store = RedisStore::new(replica.connect().await);
    let request = Request::new(1000, 60 * SECOND, 1);
    assert_eq!(request.send(&store, KEY).await, Err("readonly".to_owned()));

    // The link is cut, one more lease is lost, and the replica is promoted.
    let () = replica.query("REPLICAOF NO ONE").await;
    one.lease(100).await;
    let mut one = Process { store: Process::of(&replica).await.store, ..one };
    let (is_noticed, reply) = one.lease(0).await;
    assert_eq!((is_noticed, reply.total), (true, first.total));
    assert_eq!(reply.free, 1000 - 10 - 110);
}

#[tokio::test]
async fn d9_strict_state_is_full_after_any_loss() {
    let mut server = Server::start(&[]).await;
    let mut one = Process::strict(&server).await;
    // A new state is unknown, too. The margin of a grain is included.
    let (_, reply) = one.lease(1).await;
    assert_eq!((reply.leased(), reply.free), (0, 0));
    let wait = 60 * SECOND * 11 / 8;
    assert!((wait..=wait + 60 * SECOND / 256 + 1).contains(&reply.when), "{}", reply.when);

    let copy = dump(&server).await;
    for loss in 0..3 {
        // A state of a process that is not strict, in which permits are free.
        let () = server.query("FLUSHALL").await;
        let mut other = Process::of(&server).await;
        let (_, reply) = other.lease(10).await;
        assert_eq!(reply.leased(), 10);
        one.latest = Some(reply);
        match loss {
            0 => {
                let () = server.query("FLUSHALL").await;
            }
            1 => restore(&server, &copy).await,
            _ => {
                let () = server.query("SAVE").await;
                server.kill();
                server.restart().await;
                one.store = Process::of(&server).await.store;
            }
        }
        let (is_noticed, reply) = one.lease(1).await;
        assert_eq!((is_noticed, reply.leased(), reply.free), (true, 0, 0));
    }
}
