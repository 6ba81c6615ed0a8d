//! A model, three nodes, one answer.
//!
//! A model is a type with serde's two derives and one method. It is called with one request after the other, on every node with the
//! same ones in the same order, and may change as it learns:
//!
//! ```
//! use boat_core::{Context, Model};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Default, Serialize, Deserialize)]
//! struct RunningMean {
//!     seen: u64,
//!     sum: f64,
//! }
//!
//! impl Model for RunningMean {
//!     type Request = f64;
//!     type Response = f64;
//!
//!     fn predict(&mut self, _: &Context, x: f64) -> f64 {
//!         self.seen += 1;
//!         self.sum += x;
//!         self.sum / self.seen as f64
//!     }
//! }
//! ```
//!
//! Each node needs a number, a directory of its own, the list of all members, and a way to the others. Over a network that is
//! `boat_transport::TcpTransport`; here it is the one within a process, which is for tests:
//!
//! ```
//! # use boat_core::{Context, Model};
//! # use serde::{Deserialize, Serialize};
//! # #[derive(Default, Serialize, Deserialize)]
//! # struct RunningMean { seen: u64, sum: f64 }
//! # impl Model for RunningMean {
//! #     type Request = f64;
//! #     type Response = f64;
//! #     fn predict(&mut self, _: &Context, x: f64) -> f64 { self.seen += 1; self.sum += x; self.sum / self.seen as f64 }
//! # }
//! use boat_core::{MemberList, Node, transport::local::LocalNetwork};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let directory = tempfile::tempdir()?;
//! # let directory = directory.path();
//! let members: MemberList = "0=a:1,1=b:1,2=c:1".parse()?;
//! let network = LocalNetwork::new();
//! let mut nodes = Vec::new();
//! for number in 0..3 {
//!     let node = Node::builder(number)
//!         .data_dir(directory.join(number.to_string()))
//!         .members(members.clone())
//!         .transport(network.transport())
//!         .start(RunningMean::default())
//!         .await?;
//!     nodes.push(node);
//! }
//! // Any node will do: those that do not lead pass it on.
//! nodes[1].ready().await?;
//! let answer = nodes[1].predict(3.0).key("user-7/42").await?;
//! assert_eq!((answer.output, answer.position), (3.0, 1));
//! // Asked again under the same key, a request is not applied again.
//! let again = nodes[2].predict(3.0).key("user-7/42").await?;
//! assert_eq!((again.output, again.position), (3.0, 1));
//! for node in &nodes {
//!     node.shutdown().await?;
//! }
//! # Ok(())
//! # }
//! ```
//!
//! The nodes found their cluster by themselves, once all that the list names are there and empty. Three survive the loss of one, five
//! of two. A model that is not Rust, or lives elsewhere, implements [`Predictor`](crate::Predictor) instead.
//!
//! Before it serves anybody, let [`check_determinism`](super::determinism) look at the model.
