//! The store of the shared quotas of [tower-floodgate](tower_floodgate), in Redis or Valkey.
//!
//! A quota that many processes share is leased in parts from one key of a server. [`RedisStore`]
//! puts each request for leases into one script, which the server runs in one step. It takes any
//! asynchronous connection of the crate [`redis`], with the TLS and the credentials that are set up
//! already. [Faults](faults) of servers, networks and processes are measured.
//!
//! ```no_run
//! use std::time::Duration;
//! use tower_floodgate_redis::{
//!     RedisStore,
//!     redis::{Client, RedisError, aio::ConnectionManagerConfig},
//! };
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), RedisError> {
//! let client = Client::open("redis://quota.internal/")?;
//! let config = ConnectionManagerConfig::new().set_max_delay(Duration::from_secs(1));
//! let store = RedisStore::new(client.get_connection_manager_with_config(config).await?);
//! # let _ = store;
//! # Ok(())
//! # }
//! ```
//!
//! Features: `connection-manager` for the connection above, `cluster` for that of a cluster. Both,
//! and those of TLS, are features of [`redis`], and may be chosen there.
//!
//! # Connections
//!
//! One multiplexed connection serves all quotas of a process: requests for different quotas share
//! it, and a quota has one request in flight. A pool has no use here.
//!
//! | connection | after it was lost | requests meanwhile |
//! | --- | --- | --- |
//! | `ConnectionManager` | connects again | wait until it has connected or has given up |
//! | `MultiplexedConnection` | stays lost | fail at once with `io` |
//! | `ClusterConnection` | connects again | fail, or wait |
//!
//! - **Use a `ConnectionManager`** with `set_max_delay`, as above: by default, the pauses between
//!   its attempts grow up to some seconds, and the quota is away as long.
//! - **A request waits up to the `request_timeout` of the quota**, 100 ms by default, with any
//!   connection: one that waits longer is dropped, and the quota is away. Above 500 ms, raise the
//!   response timeout of the connection, too: `ConnectionManagerConfig::set_response_timeout`.
//! - **A start without Redis**: `get_connection_manager_with_config` fails if the server is away.
//!   In newer versions of [`redis`], `get_connection_manager_lazy` connects with the first request,
//!   so that the program starts, and its requests end as `Away` says.
//! - **Sentinel**: a connection leads to the primary of the moment at which it was made, and none
//!   follows a failover. Implement [`Store`](tower_floodgate::shared::Store) by a `RedisStore`
//!   behind a lock, and make it anew after errors with the code `readonly` or `io`. Not tested, nor
//!   is TLS.
//! - A connection belongs to the runtime in which it was made, and ends with it.
//! - **A network that drops packets silently** does not end a connection: each request is late, for
//!   minutes. On Linux, `TcpSettings::set_user_timeout` of some seconds ends it.
//! - A response to a dropped request is discarded by the connection. Its leases count against the
//!   limit for up to 1.4 windows, and are used by no process.
//!
//! # Clusters
//!
//! A quota is one key, so that quotas spread over the nodes, and one quota is served by one node.
//! **A cluster client must be told not to retry.** By default it repeats a request up to 16 times,
//! also after a lost connection, when the request may have been applied. Its refunds would count
//! twice then, and more permits than the limit would be issued.
//!
//! ```no_run
//! # #[cfg(feature = "cluster")]
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), tower_floodgate_redis::redis::RedisError> {
//! use tower_floodgate_redis::{RedisStore, redis::cluster::ClusterClientBuilder};
//!
//! let nodes = ["redis://node-1.internal/", "redis://node-2.internal/"];
//! let client = ClusterClientBuilder::new(nodes).retries(0).build()?;
//! let store = RedisStore::new(client.get_async_connection().await?);
//! # let _ = store;
//! # Ok(())
//! # }
//! # #[cfg(not(feature = "cluster"))]
//! # fn main() {}
//! ```
//!
//! A redirection costs one failed request (`moved`); the client learns the new node by it. A slot
//! that is moved to another node looks like a server that was started anew: see below.
//!
//! # The server
//!
//! - **Rights** (ACL): `+evalsha +eval +info +time +get +set +setrange`, on the keys of the prefix:
//!   `~rl:*`. A client of a cluster needs `+cluster|slots`, too, and one of a database other than 0
//!   needs `+select`.
//! - **Memory**: `noeviction`, or a server whose memory is never full. An evicted key is a lost
//!   state. A key takes at most 4.5 KB, for any limit and window. It expires three to four windows
//!   and a minute after its last lease; with `strict`, a week in the place of the minute.
//! - **Cost**: a request takes 10 to 17 µs of the server, so 100 processes at 15 requests a second
//!   take 1.5 to 2.6 % of a core.
//! - **Loss of the state**: a server that was started anew or promoted may have lost the latest
//!   leases. The state remembers the run id of its server. Once it differs, each process counts its
//!   own latest leases again. A restart that has lost nothing costs quota for one window, too.
//! - **Writes**: a request that leases writes its key once, mostly some 100 bytes of it. A refusal
//!   writes nothing.
//! - **Versions**: tested with Redis 7.0 and 8.2, and, but for two tests of cluster clients and one
//!   of a server that loads, with 6.2. The script uses nothing that Valkey lacks, which is not
//!   tested. A server without a `run_id` in its `INFO` fails each request.
//!
//! # Errors
//!
//! A request that fails brings no permits, and the quota is away until one succeeds. No request is
//! repeated, unless the server responds that it does not know the script: then it is sent again
//! with the script. The code of a [`StoreError`](tower_floodgate::shared::StoreError) is one of:
//!
//! | code | meaning |
//! | --- | --- |
//! | `io` | no connection, a lost one, or no node for the key |
//! | `timeout` | no response within the `request_timeout` of the quota, or the response timeout of the connection; the request may have been applied |
//! | `loading` | the server reads its data after a start |
//! | `busy` | another script keeps the server busy |
//! | `readonly` | the server takes no writes: a replica, or one that can't save (`MISCONF`) or has lost its replicas. If it lasts after a failover, the connection leads to the former primary, and has to be made anew |
//! | `moved`, `ask` | a node of a cluster that does not serve the key; lasting ones mean a client that knows no clusters |
//! | `cluster_down` | the cluster does not serve the key |
//! | `out_of_memory` | the memory of the server is full |
//! | `no_permission` | the user lacks a right, or is not authenticated |
//! | `wrong_type`, `foreign_value` | the key holds something else, which stays as it is: choose another [prefix](RedisStore::prefix), or delete it |
//! | `invalid_reply` | a response that the script does not send |
//! | `other` | any other error, such as a server without a `run_id`: the text tells it |
//!
//! The error reaches no caller, whose request is rejected as unavailable or passes, as `Away` says.
//! It stands in the event *store away* of the feature `tracing`, and its code in the metric
//! `floodgate_store_requests_total` of a limit with a name.

#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod error;
mod prefix;
mod store;

#[cfg(doc)]
#[doc = include_str!("../docs/faults.md")]
pub mod faults {}

pub use redis;

pub use self::{prefix::InvalidPrefix, store::RedisStore};

/// Compiles the program of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
