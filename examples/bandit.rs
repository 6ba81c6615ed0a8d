//! A model that explores at random and forgets with time, and yet is the same on every node: random numbers and time come
//! through the log.
//! Thompson sampling over three advertisements: each reward counts half as much after a minute of
//! log time. The node that is asked changes with every request, and one is killed in between.
#![allow(clippy::print_stdout, clippy::indexing_slicing, reason = "a program that shows something")]

use boat_core::transport::local::LocalNetwork;
use boat_core::{Context, Model, Node};
use rand::Rng;
use serde::{Deserialize, Serialize};

const HALF_LIFE_MS: f64 = 60_000.0;
const ROUNDS: usize = 400;

#[derive(Serialize, Deserialize)]
enum Request {
    /// Which advertisement is to be shown?
    Choose,
    /// What became of one that was shown.
    Shown { advertisement: usize, clicked: bool },
}

#[derive(Default, Serialize, Deserialize)]
struct Bandit {
    /// Clicks and misses of each advertisement, fading.
    counts: [(f64, f64); 3],
    time_ms: u64,
}

impl Model for Bandit {
    type Request = Request;
    type Response = usize;

    fn predict(&mut self, context: &Context, request: Request) -> usize {
        // Log time, not the clock: a replay fades as much as the first run did.
        let passed_ms = context.time_ms() - if self.time_ms == 0 { context.time_ms() } else { self.time_ms };
        let keep = 0.5_f64.powf(passed_ms as f64 / HALF_LIFE_MS);
        self.time_ms = context.time_ms();
        self.counts
            .iter_mut()
            .for_each(|(clicks, misses)| (*clicks, *misses) = (*clicks * keep, *misses * keep));
        match request {
            Request::Choose => {
                // Numbers from the request's own seed: every node draws the same ones.
                let mut rng = context.rng();
                let draws = self.counts.map(|(clicks, misses)| sample(&mut rng, clicks, misses));
                (0..draws.len()).max_by(|a, b| draws[*a].total_cmp(&draws[*b])).unwrap_or(0)
            }
            Request::Shown { advertisement, clicked } => {
                if let Some((clicks, misses)) = self.counts.get_mut(advertisement) {
                    *(if clicked { clicks } else { misses }) += 1.0;
                }
                advertisement
            }
        }
    }
}

/// About a draw from the distribution of the click rate: its normal approximation, from twelve uniform numbers.
fn sample(rng: &mut impl Rng, clicks: f64, misses: f64) -> f64 {
    let (a, b) = (clicks + 1.0, misses + 1.0);
    let deviation = (a * b / ((a + b).powi(2) * (a + b + 1.0))).sqrt();
    let normal = (0..12).map(|_| rng.r#gen::<f64>()).sum::<f64>() - 6.0;
    a / (a + b) + deviation * normal
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (network, directory) = (LocalNetwork::new(), tempfile::tempdir()?);
    let start = |node: u16| {
        let builder = Node::builder(node).data_dir(directory.path().join(node.to_string()));
        let members = "0=local:0,1=local:1,2=local:2".parse();
        async { builder.members(members?).transport(network.transport()).start(Bandit::default()).await }
    };
    let mut nodes = Vec::new();
    for node in 0..3 {
        nodes.push(start(node).await?);
    }
    for node in &nodes {
        node.ready().await?;
    }
    let mut best_chosen = 0;
    for round in 0..ROUNDS {
        if round == ROUNDS / 2 {
            drop(nodes.pop());
            nodes.push(start(2).await?);
            nodes[2].ready().await?;
        }
        let node = &nodes[round % nodes.len()];
        let choice = node.predict(Request::Choose).await?;
        // Advertisement 1 is clicked on most, by a rule that stands for the world.
        let clicked = choice.position % 10 < [2, 7, 4][choice.output];
        best_chosen += usize::from(choice.output == 1);
        node.feedback(Request::Shown { advertisement: choice.output, clicked }).await?;
    }
    println!("the best of three advertisements was chosen {best_chosen} times of {ROUNDS}");
    assert!(best_chosen > ROUNDS / 2);
    Ok(())
}
