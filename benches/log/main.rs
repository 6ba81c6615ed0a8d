//! What the log costs: making requests durable, and opening what is there.
//!
//! *Append*: so many requests of 128 B, one to an entry, are appended and synced together, beside the same bytes given to
//! bare `pwrite` and `fdatasync`: into a file that grows, and into one that was filled with zeros before, which is what a log
//! with recycled files could reach. The log pays for its zero-filling within the measured time.
//!
//! *Open*: logs of 1, 10 and (`BOAT_BENCH=full`) 100 million small requests are opened, each in a process of its own. The last
//! segment is nearly full, which is the slowest case.
//!
//! *Compression* (`--features peers`): what it would save on sealed segments, and cost a replay.
#![expect(clippy::print_stdout, reason = "a bench prints what it measures")]

mod append;
#[cfg(feature = "peers")]
mod compression;
mod open;

use benches::{Goal, Result, Size, machine};

fn main() -> Result<()> {
    if let Some(directory) = open::asked_to_open() {
        return open::child(&directory);
    }
    let size = Size::asked_for();
    println!("log, on {}", machine());
    let mut goals = append::measure(size)?;
    goals.extend(open::measure(size)?);
    #[cfg(feature = "peers")]
    compression::measure(size)?;
    Goal::print(&goals, size);
    Ok(())
}
