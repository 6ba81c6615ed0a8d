//! A cluster that changes while it serves: three nodes grow to five, one machine is replaced, and two nodes leave. All in one
//! process; docs/operations.md tells how to do the same with machines.
#![expect(
    clippy::print_stdout,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a program that teaches tells what it does, and ends where something else comes"
)]

use std::error::Error;
use std::path::Path;

use boat_core::transport::local::LocalNetwork;
use boat_core::{Context, Json, Model, Node};
use serde::{Deserialize, Serialize};

#[derive(Default, Serialize, Deserialize)]
struct Sum(f64);

impl Model for Sum {
    type Request = f64;
    type Response = f64;

    fn predict(&mut self, _: &Context, x: f64) -> f64 {
        self.0 += x;
        self.0
    }
}

type SumNode = Node<Json<f64, f64>>;

const FOUNDERS: &str = "0=local:0,1=local:1,2=local:2";

/// Starts one of the three founders, or, with another list, a node that waits to be added.
async fn start(network: &LocalNetwork, path: &Path, id: u16, list: &str) -> Result<SumNode, Box<dyn Error>> {
    let builder = Node::builder(id).data_dir(path).members(list.parse()?).join(list != FOUNDERS);
    Ok(builder.transport(network.transport()).start(Sum::default()).await?)
}

fn voters(node: &SumNode) -> Vec<u16> {
    node.members().iter().filter(|member| member.role == "voter").map(|member| member.node.0).collect()
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let directory = tempfile::tempdir()?;
    let path = |name: &str| directory.path().join(name);
    let network = LocalNetwork::new();
    let mut nodes = Vec::new();
    for id in 0..3 {
        nodes.push(start(&network, &path(&id.to_string()), id, FOUNDERS).await?);
    }
    nodes[0].ready().await?;
    assert_eq!(nodes[0].predict(1.0).await?.output, 1.0);

    // Grow: an empty node knows some members and itself. It gets the log first, and its vote once it has caught up.
    for id in 3..5 {
        let list = format!("{FOUNDERS},{id}=local:{id}");
        nodes.push(start(&network, &path(&id.to_string()), id, &list).await?);
        nodes[0].add(id, format!("local:{id}")).await?;
        nodes[0].promote(id).await?;
    }
    assert_eq!(voters(&nodes[0]), [0, 1, 2, 3, 4]);
    println!("five nodes vote, and say {}", nodes[4].predict(1.0).await?.output);

    // Replace: node 1's machine burns down, and another one, empty, takes its number at another address.
    nodes.remove(1).shutdown().await?;
    let list = "0=local:0,1=elsewhere:1,2=local:2";
    nodes.insert(1, start(&network, &path("another-1"), 1, list).await?);
    nodes[2].replace(1, "elsewhere:1").await?;
    nodes[2].promote(1).await?;
    nodes[1].ready().await?;
    println!("node 1 is another machine, and says {}", nodes[1].predict(1.0).await?.output);

    // Shrink: whoever leads hands over first. A removed node ends by itself.
    for id in [4_usize, 3] {
        nodes[id].transfer_leader(id as u16).await?;
        nodes[0].remove(id as u16).await?;
        assert!(matches!(nodes[id].stopped().await, Err(boat_core::Error::Removed(_))));
    }
    // Two more would be too many for those that remain: with node 2 gone, node 1 is needed.
    nodes[2].shutdown().await?;
    let refused = nodes[0].remove(1).await.expect_err("one of three is gone already");
    println!("{refused}");
    nodes[0].remove(2).await?;
    assert_eq!(voters(&nodes[0]), [0, 1]);
    assert_eq!(nodes[1].predict(1.0).await?.output, 4.0);
    println!("two nodes vote, and nothing was lost");
    Ok(())
}
