//! The example `per_client`: its server, and its attackers.

#[path = "../../examples/per_client/connection.rs"]
pub(crate) mod connection;
#[path = "../../examples/per_client/ledger.rs"]
pub(crate) mod ledger;
#[path = "../../examples/per_client/scenes.rs"]
pub(crate) mod scenes;
#[path = "../../examples/per_client/server.rs"]
pub(crate) mod server;
