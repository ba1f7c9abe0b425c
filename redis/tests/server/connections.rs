//! Connections that are lost, slow or half open.

use std::time::Duration;

use redis::{
    AsyncConnectionConfig, Client,
    aio::{ConnectionLike, ConnectionManager, ConnectionManagerConfig, MultiplexedConnection},
    cluster::ClusterClientBuilder,
    cluster_async::ClusterConnection,
};
use tower_floodgate_redis::RedisStore;

use crate::{
    request::{Reply, Request, SECOND},
    support::{
        cluster::Cluster,
        proxy::{Passage, Proxy},
        server::{Server, connect, words},
        until,
    },
};

const KEY: &str = "key";

fn request() -> Request {
    Request::new(100, SECOND, 1)
}

/// A manager that tries often, and waits long for a response.
async fn manager(client: Client) -> ConnectionManager {
    let config = ConnectionManagerConfig::new()
        .set_min_delay(Duration::from_millis(1))
        .set_max_delay(Duration::from_millis(20))
        .set_response_timeout(Some(Duration::from_secs(30)));
    client.get_connection_manager_with_config(config).await.unwrap()
}

async fn impatient(url: String) -> MultiplexedConnection {
    let config = AsyncConnectionConfig::new().set_response_timeout(Some(Duration::from_millis(50)));
    let client = Client::open(url).unwrap();
    client.get_multiplexed_async_connection_with_config(&config).await.unwrap()
}

/// Returns the permits that were ever leased.
async fn total(server: &Server) -> i64 {
    let store = RedisStore::new(server.connect().await);
    Request { want: 0, ..request() }.send(&store, KEY).await.unwrap().total
}

/// Sends a request that is applied, and of which the connection is lost before its response.
async fn send_without_response<C>(
    server: &Server,
    proxy: &Proxy,
    connection: &C,
) -> Result<Reply, String>
where
    C: ConnectionLike + Clone + Send + Sync + 'static,
{
    let before = server.calls("evalsha").await;
    proxy.to_client(Passage::Silent);
    let store = RedisStore::new(connection.clone());
    let sent = tokio::spawn(async move { request().send(&store, KEY).await });
    until("the request is applied", async || server.calls("evalsha").await > before).await;
    proxy.cut();
    proxy.to_client(Passage::Open);
    sent.await.unwrap()
}

/// Waits until a connection works again: by then, anything that it repeats has been sent.
async fn until_it_works(connection: &mut (impl ConnectionLike + Send)) {
    until("the connection works", async || words("GET none").exec_async(connection).await.is_ok())
        .await;
}

#[tokio::test]
async fn d12_request_is_applied_once_when_its_connection_is_lost() {
    let server = Server::start(&[]).await;
    let proxy = Proxy::start(server.socket()).await;
    let connection = connect(proxy.url()).await;
    request().send(&RedisStore::new(connection.clone()), KEY).await.unwrap();
    let sent = send_without_response(&server, &proxy, &connection).await;
    assert_eq!((sent, total(&server).await), (Err("io".to_owned()), 2));

    let mut connection = manager(Client::open(proxy.url()).unwrap()).await;
    let sent = send_without_response(&server, &proxy, &connection).await;
    until_it_works(&mut connection).await;
    assert_eq!((sent, total(&server).await), (Err("io".to_owned()), 3));
    request().send(&RedisStore::new(connection), KEY).await.unwrap();
}

/// Connects to a cluster of one node, through a proxy.
async fn through_cluster(
    builder: impl FnOnce(ClusterClientBuilder) -> ClusterClientBuilder,
) -> (Cluster, Proxy, ClusterConnection) {
    let cluster = Cluster::start(1).await;
    let server = &cluster.nodes()[0];
    let proxy = Proxy::start(server.socket()).await;
    // The client connects to the address that the node announces.
    let announce = format!("CONFIG SET cluster-announce-port {}", proxy.port());
    let () = server.query(&announce).await;
    let client = builder(ClusterClientBuilder::new([proxy.url()])).build().unwrap();
    let connection = client.get_async_connection().await.unwrap();
    request().send(&RedisStore::new(connection.clone()), KEY).await.unwrap();
    (cluster, proxy, connection)
}

#[tokio::test]
async fn d12_request_is_applied_once_by_a_cluster_client_without_retries() {
    let (cluster, proxy, mut connection) = through_cluster(|builder| builder.retries(0)).await;
    let server = &cluster.nodes()[0];
    let sent = send_without_response(server, &proxy, &connection).await;
    until_it_works(&mut connection).await;
    assert_eq!((sent, total(server).await), (Err("io".to_owned()), 2));
}

/// Why the front page asks for zero retries.
#[tokio::test]
async fn request_is_applied_twice_by_a_cluster_client_with_retries() {
    let (cluster, proxy, connection) = through_cluster(|builder| builder.min_retry_wait(1)).await;
    let server = &cluster.nodes()[0];
    let sent = send_without_response(server, &proxy, &connection).await;
    assert_eq!((sent.map(|reply| reply.total), total(server).await), (Ok(3), 3));
}

#[tokio::test]
async fn manager_connects_again_after_the_server_was_killed() {
    let mut server = Server::start(&[]).await;
    let store = RedisStore::new(manager(server.client()).await);
    let before = request().send(&store, KEY).await.unwrap();
    server.kill();
    assert_eq!(request().send(&store, KEY).await, Err("io".to_owned()));
    server.restart().await;
    let mut after = None;
    until("the store works again", async || {
        after = request().send(&store, KEY).await.ok();
        after.is_some()
    })
    .await;
    // Script and state are gone.
    assert_eq!((after.as_ref().unwrap().total, server.calls("eval").await), (1, 1));
    assert!(after.unwrap().epoch > before.epoch);
}

#[tokio::test]
async fn slow_network_delays_replies_and_changes_none() {
    let server = Server::start(&[]).await;
    let proxy = Proxy::start(server.socket()).await;
    let store = RedisStore::new(connect(proxy.url()).await);
    let delayed = Passage::Delayed(Duration::from_millis(20));
    let trickling = (Passage::Trickling, Passage::Trickling);
    let passages = [(delayed, Passage::Open), (Passage::Open, delayed), trickling];
    for (index, (to_server, to_client)) in passages.into_iter().enumerate() {
        proxy.to_server(to_server);
        proxy.to_client(to_client);
        // Several requests on one connection, as those of different quotas.
        let keys: Vec<String> = (0..10).map(|number| format!("{index}-{number}")).collect();
        let sent: Vec<_> = keys
            .iter()
            .enumerate()
            .map(|(number, key)| {
                let (store, key) = (store.clone(), key.clone());
                let request = Request::new(1000, SECOND, number as i64 + 1);
                tokio::spawn(async move { request.send(&store, &key).await.unwrap().leased() })
            })
            .collect();
        for (number, sent) in sent.into_iter().enumerate() {
            assert_eq!(sent.await.unwrap(), number as i64 + 1);
        }
    }
}

#[tokio::test]
async fn reply_after_its_timeout_is_not_taken_for_that_of_another_request() {
    let server = Server::start(&[]).await;
    let proxy = Proxy::start(server.socket()).await;
    let store = RedisStore::new(impatient(proxy.url()).await);
    request().send(&store, "other").await.unwrap();
    proxy.to_client(Passage::Silent);
    assert_eq!(request().send(&store, KEY).await, Err("timeout".to_owned()));
    proxy.to_client(Passage::Open);
    let mut reply = None;
    until("the silence has ended", async || {
        reply = Request::new(100, SECOND, 3).send(&store, "other").await.ok();
        reply.is_some()
    })
    .await;
    assert_eq!(reply.unwrap().leased(), 3);
    assert_eq!(total(&server).await, 1);
}

#[tokio::test]
async fn dropped_request_is_applied_and_its_reply_discarded() {
    let server = Server::start(&[]).await;
    let proxy = Proxy::start(server.socket()).await;
    let store = RedisStore::new(connect(proxy.url()).await);
    request().send(&store, KEY).await.unwrap();
    proxy.to_client(Passage::Silent);
    let before = server.calls("evalsha").await;
    let dropped = tokio::spawn({
        let store = store.clone();
        async move { request().send(&store, KEY).await }
    });
    until("the request is applied", async || server.calls("evalsha").await > before).await;
    dropped.abort();
    proxy.to_client(Passage::Open);
    assert_eq!(Request::new(100, SECOND, 3).send(&store, KEY).await.unwrap().total, 5);
}

#[tokio::test]
async fn newer_protocol_changes_no_reply() {
    let server = Server::start(&[]).await;
    let proxy = Proxy::start(server.socket()).await;
    let store = RedisStore::new(connect(format!("{}?protocol=resp3", proxy.url())).await);
    assert_eq!(request().send(&store, KEY).await.unwrap().leased(), 1);
}
