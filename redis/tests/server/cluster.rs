//! Quotas on the nodes of a cluster.

use redis::cluster::ClusterClientBuilder;
use tower_floodgate_redis::RedisStore;

use crate::{
    request::{Request, SECOND},
    support::{cluster::Cluster, until},
};

fn request() -> Request {
    Request::new(100, SECOND, 1)
}

/// Each scene needs the cluster, which takes some seconds to form.
#[tokio::test]
async fn quotas_are_served_by_all_nodes_and_errors_of_a_cluster_have_their_codes() {
    let mut cluster = Cluster::start(3).await;
    let client = ClusterClientBuilder::new(cluster.urls()).retries(0).build().unwrap();
    let store = RedisStore::new(client.get_async_connection().await.unwrap());

    // Each node is given the script with its first request.
    let keys: Vec<String> = (0..60).map(|number| format!("tenant-{number}")).collect();
    for round in 1..=2 {
        for key in &keys {
            assert_eq!(request().send(&store, key).await.unwrap().total, round);
        }
    }
    for node in cluster.nodes() {
        let size: usize = node.query("DBSIZE").await;
        assert!((5..=40).contains(&size), "{size} keys on one node");
        assert_eq!(node.calls("eval").await, 1);
    }

    // A client that knows no clusters, at another node than that of the key.
    let key = "tenant-0";
    let (serving, slot) =
        (cluster.node_of(&format!("rl:{key}")).await, cluster.slot_of(&format!("rl:{key}")).await);
    let other = (serving + 1) % 3;
    let direct = RedisStore::new(cluster.nodes()[other].connect().await);
    assert_eq!(request().send(&direct, key).await, Err("moved".to_owned()));

    // A slot that moves: a key that is not there is asked for at the other node.
    let ids = async |index: usize| -> String { cluster.nodes()[index].query("CLUSTER MYID").await };
    let (from, to) = (ids(serving).await, ids(other).await);
    let node = &cluster.nodes()[serving];
    let () = node.query(&format!("CLUSTER SETSLOT {slot} MIGRATING {to}")).await;
    let direct = RedisStore::new(node.connect().await);
    assert_eq!(request().send(&direct, key).await.unwrap().total, 3);
    let _: i64 = node.query(&format!("DEL rl:{key}")).await;
    assert_eq!(request().send(&direct, key).await, Err("ask".to_owned()));
    // It has moved: one request fails, and the client learns the new node by it.
    for index in [other, serving, 3 - other - serving] {
        let node = &cluster.nodes()[index];
        let () = node.query(&format!("CLUSTER SETSLOT {slot} NODE {to}")).await;
    }
    assert_ne!(from, to);
    assert_eq!(request().send(&store, key).await, Err("moved".to_owned()));
    let mut total = None;
    until("the client has learned it", async || {
        total = request().send(&store, key).await.ok().map(|reply| reply.total);
        total.is_some()
    })
    .await;
    assert_eq!(total, Some(1));

    // A slot that no node serves.
    let node = &cluster.nodes()[other];
    let () = node.query(&format!("CLUSTER DELSLOTS {slot}")).await;
    assert_eq!(request().send(&store, key).await, Err("cluster_down".to_owned()));

    // A node that is gone fails the quotas that it serves, and only these.
    let () = node.query(&format!("CLUSTER ADDSLOTS {slot}")).await;
    let () = node.query("CONFIG SET cluster-require-full-coverage no").await;
    let third = 3 - other - serving;
    let mut of_third = Vec::new();
    for key in &keys {
        if cluster.node_of(&format!("rl:{key}")).await == third {
            of_third.push(key.clone());
        }
    }
    cluster.node_mut(third).kill();
    for key in &of_third {
        // The client may ask another node, which redirects it.
        let failed = request().send(&store, key).await.unwrap_err();
        assert!(["io", "moved"].contains(&failed.as_str()), "{key}: {failed}");
    }
    request().send(&store, key).await.unwrap();
}
