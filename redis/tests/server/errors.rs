//! Errors of the server, and their codes.

use redis::AsyncConnectionConfig;
use tower_floodgate_redis::RedisStore;

use crate::{
    request::{Request, SECOND},
    support::{
        proxy::Proxy,
        server::{Server, connect, words},
        stub::Stub,
        until,
    },
};

const KEY: &str = "key";

fn request() -> Request {
    Request::new(100, SECOND, 1)
}

#[tokio::test]
async fn d12_unknown_script_is_sent_once_and_applied_once() {
    let server = Server::start(&[]).await;
    let store = RedisStore::new(server.connect().await);
    for round in 1..=3 {
        let () = server.query("SCRIPT FLUSH").await;
        let reply = request().send(&store, KEY).await.unwrap();
        assert_eq!(reply.total, 2 * round - 1);
        let reply = request().send(&store, KEY).await.unwrap();
        assert_eq!(reply.total, 2 * round);
        assert_eq!(server.calls("eval").await, round as u64);
    }
}

#[tokio::test]
async fn full_memory_is_out_of_memory_and_changes_nothing() {
    let server = Server::start(&[]).await;
    let store = RedisStore::new(server.connect().await);
    request().send(&store, KEY).await.unwrap();
    let value: Vec<u8> = server.query("GET rl:key").await;
    let () = server.query("CONFIG SET maxmemory 1").await;
    assert_eq!(request().send(&store, KEY).await, Err("out_of_memory".to_owned()));
    assert_eq!(request().send(&store, "other").await, Err("out_of_memory".to_owned()));
    assert_eq!(server.query::<Vec<u8>>("GET rl:key").await, value);
    let () = server.query("CONFIG SET maxmemory 0").await;
    assert_eq!(request().send(&store, KEY).await.unwrap().total, 2);
}

#[tokio::test]
async fn server_that_runs_another_script_is_busy() {
    let server = Server::start(&["--lua-time-limit", "1"]).await;
    let store = RedisStore::new(server.connect().await);
    request().send(&store, KEY).await.unwrap();
    let mut endless = server.connect().await;
    let endless = tokio::spawn(async move {
        let mut command = redis::cmd("EVAL");
        command.arg("while true do end").arg(0).exec_async(&mut endless).await
    });
    until("the server is busy", async || request().send(&store, KEY).await.is_err()).await;
    assert_eq!(request().send(&store, KEY).await, Err("busy".to_owned()));
    // A connection that is set up now would be refused, too.
    let mut connection = server.connect().await;
    words("SCRIPT KILL").exec_async(&mut connection).await.unwrap();
    endless.await.unwrap().unwrap_err();
    request().send(&store, KEY).await.unwrap();
}

#[tokio::test]
async fn server_that_reads_its_data_is_loading() {
    let mut server = Server::start(&[]).await;
    let mut connection = server.connect().await;
    let mut pipeline = redis::pipe();
    for key in 0..1000 {
        pipeline.set(key, "value");
    }
    pipeline.exec_async(&mut connection).await.unwrap();
    let () = server.query("SAVE").await;
    server.kill();
    // Ten seconds, if the test waited. These settings are for tests of the server itself.
    let slow = ["--key-load-delay", "10000", "--loading-process-events-interval-bytes", "1024"];
    server.restart_with(&slow).await;
    let store = RedisStore::new(server.connect().await);
    assert_eq!(request().send(&store, KEY).await, Err("loading".to_owned()));
}

#[tokio::test]
async fn server_that_takes_no_writes_is_readonly() {
    // A replica of a primary that is away.
    let server = Server::start(&["--replicaof", "127.0.0.1", "1"]).await;
    let store = RedisStore::new(server.connect().await);
    assert_eq!(request().send(&store, KEY).await, Err("readonly".to_owned()));
    let () = server.query("CONFIG SET replica-serve-stale-data no").await;
    assert_eq!(request().send(&store, KEY).await, Err("readonly".to_owned()));

    let server = Server::start(&["--min-replicas-to-write", "1"]).await;
    let store = RedisStore::new(server.connect().await);
    assert_eq!(request().send(&store, KEY).await, Err("readonly".to_owned()));
}

#[tokio::test]
async fn user_without_a_right_has_no_permission() {
    let server = Server::start(&[]).await;
    let all = "+evalsha +eval +info +time +get +set +setrange";
    let connect = async |rights: &str| {
        let () = server.query("SCRIPT FLUSH").await;
        let () = server.query(&format!("ACL SETUSER u reset on >p ~rl:* {rights}")).await;
        let info = server.client().get_connection_info().clone();
        let user = info.redis_settings().clone().set_username("u").set_password("p");
        RedisStore::new(connect(info.set_redis_settings(user)).await)
    };
    // Those that the front page lists are enough, and each is needed.
    let store = connect(all).await;
    assert_eq!(request().send(&store, KEY).await.unwrap().total, 1);
    assert_eq!(request().send(&store, KEY).await.unwrap().total, 2);
    for right in all.split(' ') {
        let others: Vec<&str> = all.split(' ').filter(|&other| other != right).collect();
        let store = connect(&others.join(" ")).await;
        let mut denied = request().send(&store, KEY).await;
        // A change in place needs another one than a new value does.
        if denied.is_ok() {
            denied = request().send(&store, KEY).await;
        }
        assert_eq!(denied, Err("no_permission".to_owned()), "{right}");
        let _: i64 = server.query("DEL rl:key").await;
    }
    let store = connect(all).await.prefix("other");
    assert_eq!(request().send(&store, KEY).await, Err("no_permission".to_owned()));

    // Not authenticated.
    let () = server.query("ACL SETUSER default resetpass >secret").await;
    let store = RedisStore::new(server.connect().await);
    assert_eq!(request().send(&store, KEY).await, Err("no_permission".to_owned()));
}

#[tokio::test]
async fn server_that_is_gone_is_an_io_error() {
    let mut server = Server::start(&[]).await;
    let store = RedisStore::new(server.connect().await);
    server.kill();
    for _ in 0..2 {
        assert_eq!(request().send(&store, KEY).await, Err("io".to_owned()));
    }
}

#[tokio::test]
async fn response_that_is_late_is_a_timeout() {
    let server = Server::start(&[]).await;
    let proxy = Proxy::start(server.socket()).await;
    let client = redis::Client::open(proxy.url()).unwrap();
    let config = AsyncConnectionConfig::new()
        .set_response_timeout(Some(std::time::Duration::from_millis(50)));
    let connection = client.get_multiplexed_async_connection_with_config(&config).await.unwrap();
    let store = RedisStore::new(connection);
    server.pause();
    assert_eq!(request().send(&store, KEY).await, Err("timeout".to_owned()));
    server.resume();
}

#[tokio::test]
async fn errors_that_no_server_gives_at_will_have_their_codes() {
    for (reply, code) in [
        ("-MISCONF Redis is configured to save RDB snapshots, but is unable to", "readonly"),
        ("-NOAUTH Authentication required.", "no_permission"),
        ("-ERR unknown command 'EVALSHA'", "other"),
        ("-TRYAGAIN Multiple keys request during rehashing of slot", "other"),
        // The texts of Redis 6.
        (
            "-ERR Error running script (call to f_1): @user_script:1: @user_script: 1: -READONLY \
             You can't write against a read only replica.",
            "readonly",
        ),
        (
            "-ERR Error running script (call to f_1): @user_script:1: @user_script: 1: -OOM \
             command not allowed when used memory > 'maxmemory'.",
            "out_of_memory",
        ),
        (
            "-ERR Error running script (call to f_1): @user_script:1: WRONGTYPE Operation against \
             a key holding the wrong kind of value",
            "wrong_type",
        ),
        (
            "-ERR Error running script (call to f_1): @user_script:1: The user executing the \
             script can't run this command or subcommand",
            "no_permission",
        ),
        // Replies of something else than the script.
        ("+OK", "invalid_reply"),
        (":1", "invalid_reply"),
        ("*1\r\n$1\r\n1", "invalid_reply"),
        ("*2\r\n:1\r\n*0", "invalid_reply"),
        ("$-1", "invalid_reply"),
        ("!", "invalid_reply"),
    ] {
        let stub = Stub::start(reply).await;
        let store = RedisStore::new(connect(stub.url()).await);
        assert_eq!(request().send(&store, KEY).await, Err(code.to_owned()), "{reply}");
        assert_eq!(stub.scripts(), 1, "{reply}");
    }
}

#[tokio::test]
async fn d12_script_that_stays_unknown_is_sent_once() {
    let stub = Stub::start("-NOSCRIPT No matching script.").await;
    let store = RedisStore::new(connect(stub.url()).await);
    assert_eq!(request().send(&store, KEY).await, Err("other".to_owned()));
    // By its name, and then itself.
    assert_eq!(stub.scripts(), 2);
}
