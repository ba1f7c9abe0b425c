//! A cluster of real servers on the loopback.

use super::{
    server::{Server, field_of, free_port, major_version},
    until,
};

/// The number of slots of any cluster.
const SLOTS: usize = 16384;

#[derive(Debug)]
pub(crate) struct Cluster {
    nodes: Vec<Server>,
}

impl Cluster {
    /// Starts a cluster of primaries, each with the same share of the slots.
    pub(crate) async fn start(size: usize) -> Self {
        let mut nodes = Vec::new();
        for _ in 0..size {
            let node = Server::start_with_port(|| {
                let own = ["--cluster-enabled", "yes", "--cluster-announce-ip", "127.0.0.1"];
                let mut arguments = own.map(str::to_owned).to_vec();
                // The default is 10,000 above the other port, which may be taken. Before Redis 7,
                // there is no other one.
                if major_version() >= 7 {
                    arguments.extend(["--cluster-port".to_owned(), free_port().to_string()]);
                }
                arguments
            });
            nodes.push(node.await);
        }
        for (index, node) in nodes.iter().enumerate() {
            let (from, to) = (index * SLOTS / size, (index + 1) * SLOTS / size - 1);
            let slots: Vec<_> = (from..=to).map(|slot| slot.to_string()).collect();
            let () = node.query(&format!("CLUSTER ADDSLOTS {}", slots.join(" "))).await;
            let () = node.query(&format!("CLUSTER SET-CONFIG-EPOCH {}", index + 1)).await;
            if index > 0 {
                // The port of the bus is the last word of the address, behind an `@`.
                let known: String = nodes[0].query("CLUSTER NODES").await;
                let address = known.split(' ').nth(1).unwrap();
                let bus = address.split('@').nth(1).unwrap().split(',').next().unwrap();
                let port = nodes[0].port();
                let () = node.query(&format!("CLUSTER MEET 127.0.0.1 {port} {bus}")).await;
            }
        }
        let cluster = Self { nodes };
        until("all nodes know all slots", async || cluster.is_complete().await).await;
        cluster
    }

    async fn is_complete(&self) -> bool {
        for node in &self.nodes {
            let info: String = node.query("CLUSTER INFO").await;
            let is_ok = field_of(&info, "cluster_state") == "ok";
            let known = field_of(&info, "cluster_size");
            if !is_ok || known != self.nodes.len().to_string() {
                return false;
            }
        }
        true
    }

    pub(crate) fn nodes(&self) -> &[Server] {
        &self.nodes
    }

    pub(crate) fn node_mut(&mut self, index: usize) -> &mut Server {
        &mut self.nodes[index]
    }

    /// Returns the index of the node that serves `key`.
    pub(crate) async fn node_of(&self, key: &str) -> usize {
        self.slot_of(key).await * self.nodes.len() / SLOTS
    }

    pub(crate) async fn slot_of(&self, key: &str) -> usize {
        self.nodes[0].query(&format!("CLUSTER KEYSLOT {key}")).await
    }

    pub(crate) fn urls(&self) -> Vec<String> {
        self.nodes.iter().map(|node| format!("redis://127.0.0.1:{}/", node.port())).collect()
    }
}
