//! The store: a key, a script, and a connection.

use std::fmt;

use redis::{ErrorKind, RedisError, Script, ServerErrorKind, Value, aio::ConnectionLike};
use tower_floodgate::shared::{Store, StoreError};

use crate::{
    error::{invalid_reply, store_error},
    prefix::{self, InvalidPrefix},
};

const SCRIPT: &str = include_str!("acquire.lua");

/// A [`Store`] in Redis or Valkey, through any asynchronous connection of the crate [`redis`].
///
/// It sends nothing by itself. A clone uses the same connection: one store serves all quotas of a
/// process. The [front page](crate) tells of connections, of the server, and of errors.
///
/// ```no_run
/// use tower_floodgate_redis::{RedisStore, redis::Client};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), tower_floodgate_redis::redis::RedisError> {
/// let connection = Client::open("redis://127.0.0.1/")?.get_multiplexed_async_connection().await?;
/// let store = RedisStore::new(connection).prefix("crawlers");
/// # let _ = store;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct RedisStore<C> {
    connection: C,
    prefix: String,
    /// The name of the script, once the server knows it.
    hash: String,
}

impl<C> RedisStore<C> {
    /// Creates a store that sends requests through `connection`.
    #[must_use]
    pub fn new(connection: C) -> Self {
        let hash = Script::new(SCRIPT).get_hash().to_owned();
        Self { connection, prefix: prefix::DEFAULT.to_owned(), hash }
    }

    /// Sets the prefix of keys, `rl` by default. The key of a quota is `prefix:name`.
    ///
    /// Processes share a quota if server, database, prefix and name are equal.
    ///
    /// # Panics
    ///
    /// If `prefix` is empty or longer than 200 bytes.
    #[must_use]
    #[track_caller]
    pub fn prefix(self, prefix: impl Into<String>) -> Self {
        match self.try_prefix(prefix) {
            Ok(store) => store,
            Err(invalid) => panic!("{invalid}"),
        }
    }

    /// Sets the prefix of keys, as [`prefix`](Self::prefix) does.
    ///
    /// # Errors
    ///
    /// If `prefix` is empty or longer than 200 bytes.
    pub fn try_prefix(self, prefix: impl Into<String>) -> Result<Self, InvalidPrefix> {
        let prefix = prefix::checked(prefix.into())?;
        Ok(Self { prefix, ..self })
    }
}

impl<C> Store for RedisStore<C>
where
    C: ConnectionLike + Clone + Send + Sync + 'static,
{
    async fn acquire(&self, key: &str, request: &[i64]) -> Result<Vec<i64>, StoreError> {
        let mut connection = self.connection.clone();
        let key = format!("{}:{key}", self.prefix);
        let replied = match run(&mut connection, "EVALSHA", &self.hash, &key, request).await {
            // The server has run nothing. EVAL keeps the script, too, and takes one way less than
            // SCRIPT LOAD, which clients of a cluster send to all nodes: one that is away would
            // fail it.
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                run(&mut connection, "EVAL", SCRIPT, &key, request).await
            }
            replied => replied,
        };
        let Value::Array(values) = replied.map_err(store_error)? else {
            return Err(invalid_reply());
        };
        let number =
            |value: Value| if let Value::Int(number) = value { Some(number) } else { None };
        values.into_iter().map(number).collect::<Option<_>>().ok_or_else(invalid_reply)
    }
}

async fn run(
    connection: &mut impl ConnectionLike,
    command: &str,
    script: &str,
    key: &str,
    request: &[i64],
) -> Result<Value, RedisError> {
    let mut command = redis::cmd(command);
    command.arg(script).arg(1).arg(key).arg(request);
    connection.req_packed_command(&command).await?.extract_error()
}

impl<C> fmt::Debug for RedisStore<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}
