//! A replicated model in a program of one's own: write one `impl`, start a node with it.
//!
//! Three nodes run in this process and reach each other over TCP; on three machines, each would run one of them.
#![allow(clippy::print_stdout, clippy::indexing_slicing, reason = "a program that shows something")]

use std::time::Duration;

use boat_core::{Context, MemberList, Model, Node, NodeId};
use boat_transport::TcpTransport;
use serde::{Deserialize, Serialize};

/// Answers with the mean of all numbers so far.
#[derive(Default, Serialize, Deserialize)]
struct RunningMean {
    seen: u64,
    sum: f64,
}

impl Model for RunningMean {
    type Request = f64;
    type Response = f64;

    fn predict(&mut self, _: &Context, x: f64) -> f64 {
        self.seen += 1;
        self.sum += x;
        self.sum / self.seen as f64
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    examples::start_logging();
    let directory = tempfile::tempdir()?;
    let mut transports = Vec::new();
    for _ in 0..3 {
        transports.push(TcpTransport::bind("127.0.0.1:0").await?);
    }
    let addresses = transports.iter().map(|transport| transport.local_address().to_string());
    let members = MemberList::new((0..).map(NodeId).zip(addresses))?;
    let mut nodes = Vec::new();
    for (node, transport) in (0_u16..).zip(transports) {
        let node = Node::builder(node)
            .data_dir(directory.path().join(format!("boat-{node}")))
            .members(members.clone())
            .transport(transport)
            .start(RunningMean::default()) // recovers, replays, founds or joins
            .await?;
        nodes.push(node);
    }
    for node in &nodes {
        node.ready().await?;
    }

    for (node, x) in nodes.iter().zip([3.0, 5.0, 10.0]) {
        let key = format!("user-7/{x}");
        let answer = node.predict(x).key(key).within(Duration::from_secs(2)).await?;
        println!("node {} says {} at position {}", node.id(), answer.output, answer.position);
    }
    // The same key again, on another node: the first answer comes back, and nothing is counted twice.
    let retry = nodes[1].predict(3.0).key("user-7/3").await?;
    assert_eq!((retry.output, retry.replayed), (3.0, true));

    // A node that dies is not missed.
    drop(nodes.remove(0));
    let answer = nodes[0].predict(2.0).await?;
    assert_eq!(answer.output, 5.0);
    println!("with two of three nodes: {} at position {}", answer.output, answer.position);
    for node in nodes {
        node.shutdown().await?;
    }
    Ok(())
}
