//! What is done to the nodes and their links, drawn from a seed.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use rand::Rng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use rustix::process::Signal;

use super::Failure;
use super::cluster::{Cluster, NODES, SMALL_DISK};
use super::proxy::Mode;

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Nemesis {
    /// A process is killed with signal 9.
    Kill,
    /// All processes are, at once.
    KillAll,
    /// A process stands still.
    Pause,
    /// A node is cut off from the others, both ways.
    CutBothWays,
    /// A node is cut off in one direction only.
    CutOneWay,
    /// All links are slow.
    Slow,
    /// Connections break in the middle of a frame.
    CutMidFrame,
    /// A process is killed, and its directory emptied.
    Wipe,
    /// A disk is full.
    FullDisk,
}

impl Nemesis {
    const ALL: [Nemesis; 9] = [
        Nemesis::Kill,
        Nemesis::KillAll,
        Nemesis::Pause,
        Nemesis::CutBothWays,
        Nemesis::CutOneWay,
        Nemesis::Slow,
        Nemesis::CutMidFrame,
        Nemesis::Wipe,
        Nemesis::FullDisk,
    ];
}

/// How long a fault lasts, in milliseconds: at least, and at most.
const LASTS_MS: (u64, u64) = (200, 3_500);
/// How long nothing is done after it, at most, in milliseconds.
const CALM_MS_MAX: u64 = 1_500;
/// How much slower slow links are, at most, in milliseconds.
const SLOW_MS_MAX: u64 = 150;
/// How often connections break, one time.
const BREAKS: u64 = 5;

/// Deals the nemeses like cards: each comes once before any comes again.
#[derive(Debug)]
pub(crate) struct Nemeses {
    random: ChaCha8Rng,
    deck: Vec<Nemesis>,
    struck: BTreeMap<Nemesis, u64>,
    skipped: Vec<Nemesis>,
}

impl Nemeses {
    pub(crate) fn new(random: ChaCha8Rng) -> Self {
        Nemeses { random, deck: Vec::new(), struck: BTreeMap::new(), skipped: Vec::new() }
    }

    /// Those that have not struck, and were not left out for want of a small disk.
    pub(crate) fn missing(&self) -> Vec<Nemesis> {
        let all = Nemesis::ALL.into_iter();
        all.filter(|nemesis| !self.struck.contains_key(nemesis) && !self.skipped.contains(nemesis)).collect()
    }

    /// Does the next thing, lets it last, and ends it.
    pub(crate) async fn strike(&mut self, cluster: &mut Cluster) -> Result<(), Failure> {
        if self.deck.is_empty() {
            self.deck = Nemesis::ALL.to_vec();
            self.deck.shuffle(&mut self.random);
        }
        let Some(nemesis) = self.deck.pop() else { return Ok(()) };
        let node = self.random.gen_range(0..NODES);
        let lasts = Duration::from_millis(self.random.gen_range(LASTS_MS.0..=LASTS_MS.1));
        log::info!("{nemesis:?}, node {node}, for {lasts:?}");
        match nemesis {
            Nemesis::Kill => {
                cluster.kill(node)?;
                cluster.wait(lasts).await?;
                cluster.restart(node)?;
            }
            Nemesis::KillAll => {
                (0..NODES).try_for_each(|node| cluster.kill(node))?;
                (0..NODES).try_for_each(|node| cluster.restart(node))?;
                cluster.wait(lasts).await?;
            }
            Nemesis::Pause => {
                cluster.signal(node, Signal::STOP)?;
                cluster.wait(lasts).await?;
                cluster.signal(node, Signal::CONT)?;
            }
            Nemesis::Wipe => {
                // A disk more would be a majority of the copies.
                cluster.expect_whole().await?;
                cluster.wipe(node)?;
                cluster.restart(node)?;
                cluster.wait(lasts).await?;
            }
            Nemesis::FullDisk => match cluster.ballast() {
                Some(ballast) => self.fill_disk(cluster, &ballast, lasts).await?,
                None => {
                    self.skipped.push(nemesis);
                    return Ok(());
                }
            },
            links => self.strike_links(links, cluster, node, lasts).await?,
        }
        *self.struck.entry(nemesis).or_default() += 1;
        let calm = Duration::from_millis(self.random.gen_range(0..=CALM_MS_MAX));
        cluster.wait(calm).await
    }

    async fn strike_links(
        &mut self,
        nemesis: Nemesis,
        cluster: &mut Cluster,
        node: u16,
        lasts: Duration,
    ) -> Result<(), Failure> {
        match nemesis {
            Nemesis::CutBothWays => cluster.set_links(Mode::Cut, |from, to| from == node || to == node),
            Nemesis::CutOneWay if self.random.gen_bool(0.5) => {
                cluster.set_links(Mode::Cut, |from, _| from == node);
            }
            Nemesis::CutOneWay => cluster.set_links(Mode::Cut, |_, to| to == node),
            Nemesis::Slow => {
                let delay = Duration::from_millis(self.random.gen_range(1..=SLOW_MS_MAX));
                cluster.set_links(Mode::Slow(delay), |_, _| true);
            }
            _ => {
                for _ in 1..BREAKS {
                    cluster.break_connections(|from, to| from == node || to == node);
                    cluster.wait(lasts / BREAKS as u32).await?;
                }
            }
        }
        cluster.wait(lasts).await?;
        cluster.set_links(Mode::Open, |_, _| true);
        Ok(())
    }

    /// Fills the small disk to the last byte, and makes space again. Its node may be killed meanwhile.
    async fn fill_disk(
        &mut self,
        cluster: &mut Cluster,
        ballast: &Path,
        lasts: Duration,
    ) -> Result<(), Failure> {
        let mut file = std::fs::File::create(ballast)?;
        // Until there is no space: that is its end.
        while file.write_all(&[1; 64 << 10]).is_ok() {}
        drop(file);
        cluster.wait(lasts).await?;
        if self.random.gen_bool(0.3) {
            cluster.kill(SMALL_DISK)?;
            cluster.restart(SMALL_DISK)?;
            cluster.wait(lasts).await?;
        }
        std::fs::remove_file(ballast)?;
        Ok(())
    }
}

impl fmt::Display for Nemeses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, (nemesis, count)) in self.struck.iter().enumerate() {
            let comma = if place == 0 { "" } else { ", " };
            write!(f, "{comma}{nemesis:?} {count}")?;
        }
        Ok(())
    }
}
