//! The codes of errors. The front page tells their meaning.

use redis::{ErrorKind, RedisError};
use tower_floodgate::shared::StoreError;

pub(crate) fn store_error(error: RedisError) -> StoreError {
    StoreError::new(code(&error)).with_source(error)
}

pub(crate) fn invalid_reply() -> StoreError {
    StoreError::new("invalid_reply").with_source("the reply is no list of integers")
}

fn code(error: &RedisError) -> &'static str {
    match error.kind() {
        ErrorKind::Io if error.is_timeout() => "timeout",
        ErrorKind::Io
        | ErrorKind::ClusterConnectionNotFound
        | ErrorKind::MasterNameNotFoundBySentinel
        | ErrorKind::NoValidReplicasFoundBySentinel => "io",
        ErrorKind::AuthenticationFailed => "no_permission",
        ErrorKind::Parse | ErrorKind::UnexpectedReturnType => "invalid_reply",
        ErrorKind::Server(_) | ErrorKind::Extension => {
            let text = error.detail().unwrap_or_default();
            error.code().and_then(of_server).or_else(|| of_text(text)).unwrap_or("other")
        }
        _ => "other",
    }
}

/// Returns the code of an error that the server names by its first word.
fn of_server(word: &str) -> Option<&'static str> {
    Some(match word {
        "LOADING" => "loading",
        "BUSY" => "busy",
        "READONLY" | "MASTERDOWN" | "MISCONF" | "NOREPLICAS" => "readonly",
        "MOVED" => "moved",
        "ASK" => "ask",
        "CLUSTERDOWN" => "cluster_down",
        "OOM" => "out_of_memory",
        "NOAUTH" | "NOPERM" | "WRONGPASS" => "no_permission",
        "WRONGTYPE" => "wrong_type",
        // The script's own.
        "FOREIGN" => "foreign_value",
        _ => return None,
    })
}

/// Returns the code of an error of which the first word is `ERR`: denials, in the words of Redis 7
/// and 8, and, before Redis 7, errors of commands in the script.
fn of_text(text: &str) -> Option<&'static str> {
    // The last one is that of a command with more arguments than a login has.
    let denials = [
        "The user executing the script",
        "ACL failure in script",
        "unauthenticated multibulk length",
    ];
    if denials.iter().any(|denial| text.contains(denial)) {
        return Some("no_permission");
    }
    let text = text.strip_prefix("Error running script")?;
    text.split_whitespace().find_map(|word| of_server(word.trim_start_matches('-')))
}
