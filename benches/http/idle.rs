//! What nodes cost that nobody asks anything.

use std::time::{Duration, Instant};

use benches::{Cluster, Figure, Goal, NODES, Result, Size};

/// How long nodes are left alone before they are looked at.
const SETTLE: Duration = Duration::from_secs(1);
/// How much of a core an idle node may take, in percent.
const CPU_PERCENT_MAX: f64 = 1.0;
/// How much memory an idle node may take that has not served yet.
const RESIDENT_MB_MAX: f64 = 30.0;

/// Looks at a cluster that nobody asks anything and gives the goals.
pub(crate) fn measure(cluster: &Cluster, size: Size) -> Result<Vec<Goal>> {
    std::thread::park_timeout(size.pick(Duration::ZERO, SETTLE, SETTLE));
    let started = Instant::now();
    let before = cpu(cluster)?;
    let duration = Duration::from_millis(size.pick(50, 5_000, 20_000));
    while started.elapsed() < duration {
        std::thread::park_timeout(duration.saturating_sub(started.elapsed()));
    }
    let took = started.elapsed();
    let after = cpu(cluster)?;
    let percents = before
        .iter()
        .zip(&after)
        .map(|(before, after)| 100.0 * after.saturating_sub(*before).as_secs_f64() / took.as_secs_f64());
    let percents = Figure::new(percents.collect());
    let megabytes = resident_mb(cluster)?;
    println!("\nidle: {percents:.2} % of a core and {megabytes:.1} MB resident for each of three nodes");
    Ok(vec![
        Goal::at_most("idle_cpu_percent", percents.range().1, CPU_PERCENT_MAX),
        Goal::at_most("idle_resident_mb", megabytes.range().1, RESIDENT_MB_MAX),
    ])
}

/// Says how much memory the nodes have resident after they have served.
pub(crate) fn tell_memory(cluster: &Cluster) -> Result<()> {
    println!("\nafter all this: {:.1} MB resident for each of three nodes", resident_mb(cluster)?);
    Ok(())
}

fn resident_mb(cluster: &Cluster) -> Result<Figure> {
    let bytes = (0..NODES).map(|node| Ok(cluster.process(node)?.resident_bytes() as f64));
    Ok(Figure::new(bytes.collect::<Result<Vec<_>>>()?).map(|bytes| bytes / 1e6))
}

fn cpu(cluster: &Cluster) -> Result<Vec<Duration>> {
    (0..NODES).map(|node| cluster.process(node)?.cpu()).collect()
}
