//! A model that learns from feedback while its nodes die: logistic regression by stochastic gradient descent on real data.
//! The same data is learnt twice, once with a node killed every 50 samples. Both runs give the same losses to the last bit.
//! The curve is drawn into the file that is named, or `loss.svg` in the directory for temporary files.
#![allow(clippy::print_stdout, clippy::indexing_slicing, reason = "a program that shows something")]

use std::error::Error;
use std::path::{Path, PathBuf};

use boat_core::transport::local::LocalNetwork;
use boat_core::{Context, Json, Model, Node};
use serde::{Deserialize, Serialize};

const NODES: usize = 3;
const LEARNING_RATE: f64 = 0.02;
const KILL_EVERY: usize = 50;
const WINDOW: usize = 40;

#[derive(Clone, Serialize, Deserialize)]
struct Sample {
    measurements: Vec<f64>,
    benign: bool,
}

#[derive(Default, Serialize, Deserialize)]
struct Regression {
    weights: Vec<f64>,
}

impl Model for Regression {
    type Request = Sample;
    type Response = f64;

    /// Feedback: learns from a sample, and gives the loss that it had before.
    fn predict(&mut self, _: &Context, Sample { mut measurements, benign }: Sample) -> f64 {
        measurements.push(1.0);
        self.weights.resize(measurements.len(), 0.0);
        let sum: f64 = self.weights.iter().zip(&measurements).map(|(weight, x)| weight * x).sum();
        let probability = 1.0 / (1.0 + (-sum).exp());
        let truth = f64::from(u8::from(benign));
        for (weight, x) in self.weights.iter_mut().zip(&measurements) {
            *weight += LEARNING_RATE * (truth - probability) * x;
        }
        -(if benign { probability } else { 1.0 - probability }).max(1e-9).ln()
    }
}

type Learner = Node<Json<Sample, f64>>;

async fn start(network: &LocalNetwork, at: &Path, node: usize) -> Result<Learner, boat_core::Error> {
    Node::builder(node as u16)
        .data_dir(at.join(node.to_string()))
        .members("0=local:0,1=local:1,2=local:2".parse()?)
        .transport(network.transport())
        .start(Regression::default())
        .await
}

/// Learns all samples and gives their losses; kills a node after every so many of them.
async fn learn(samples: &[Sample], kill_every: usize) -> Result<Vec<f64>, Box<dyn Error>> {
    let (network, directory) = (LocalNetwork::new(), tempfile::tempdir()?);
    let mut nodes = Vec::new();
    for node in 0..NODES {
        nodes.push(start(&network, directory.path(), node).await?);
    }
    for node in &nodes {
        node.ready().await?;
    }
    let mut losses = Vec::new();
    for (n, sample) in samples.iter().enumerate() {
        if n % kill_every == kill_every - 1 {
            let victim = n / kill_every % NODES;
            drop(nodes.remove(victim));
            nodes.insert(victim, start(&network, directory.path(), victim).await?);
        }
        // A retry with the same key is learnt once, whichever node had it first and whatever became of that one.
        let key = format!("sample {n}");
        let ask = |retry: usize| nodes[(n + retry) % NODES].feedback(sample.clone()).key(key.clone());
        let first = ask(0).await;
        losses.push(if first.is_ok() { first } else { ask(1).await }?.output);
    }
    Ok(losses)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let file = std::env::args().nth(1).map_or_else(|| std::env::temp_dir().join("loss.svg"), PathBuf::from);
    let sample = |(measurements, benign)| Sample { measurements, benign };
    let samples: Vec<Sample> = examples::breast_cancer()?.into_iter().map(sample).collect();
    let undisturbed = learn(&samples, usize::MAX).await?;
    let killed = learn(&samples, KILL_EVERY).await?;
    assert_eq!(undisturbed, killed, "the losses with and without kills");
    let mean = |losses: &[f64]| losses.iter().sum::<f64>() / WINDOW as f64;
    let curve: Vec<f64> = killed.windows(WINDOW).map(mean).collect();
    let (first, last) = (curve[0], curve[curve.len() - 1]);
    assert!(last < first / 2.0, "nothing was learnt: {first} to {last}");
    std::fs::write(&file, examples::curve_as_svg("mean loss of the last 40 samples", &curve))?;
    println!("loss {first:.3} to {last:.3}, equal with and without kills: {}", file.display());
    Ok(())
}
