//! What a run is like: drawn from its seed.

use rand::Rng;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::Mutant;
use crate::apply::SessionLimits;

/// Milliseconds of virtual time between two ticks.
pub(super) const TICK_MS: u64 = 20;

/// How a run is set up. Probabilities are per mille; times are virtual milliseconds.
#[derive(Debug, Clone)]
pub struct Options {
    /// Everything random in the run comes from this, too.
    pub seed: u64,
    /// How many nodes: 1 to 7.
    pub nodes: u16,
    /// How many of them found the cluster; the others wait to be added.
    pub founders: u16,
    /// How many clients.
    pub clients: usize,
    /// How long faults go on before the cluster must heal.
    pub faulty_ms: u64,
    /// How long a client waits between two requests, at most.
    pub think_ms_max: u64,
    /// A message's mean delay.
    pub delay_ms_mean: u64,
    /// How many messages are lost.
    pub loss_per_mille: u32,
    /// How many messages come twice.
    pub repeat_per_mille: u32,
    /// How likely a link is clogged, at each drawing of faults.
    pub clog_per_mille: u32,
    /// How many messages a link holds, at most.
    pub link_messages_max: usize,
    /// How likely the leader is cut off from all other nodes, at each drawing of faults.
    pub leader_cut_per_mille: u32,
    /// How likely a partition begins, at each drawing of faults.
    pub partition_per_mille: u32,
    /// How likely a partition ends, at each drawing of faults.
    pub heal_per_mille: u32,
    /// How likely a node's process dies, at each drawing of faults; ten times that while a write is in flight.
    pub crash_per_mille: u32,
    /// How likely a crash is one of the whole machine, which loses and tears what was not synced.
    pub power_loss_per_mille: u32,
    /// How likely a call to the disk fails or is a machine's last, for each write of the log.
    pub disk_fault_per_mille: u32,
    /// How likely a disk becomes full, at each drawing of faults.
    pub disk_full_per_mille: u32,
    /// How likely the files of a log are damaged while its process is down, where the others can do without them.
    pub rot_per_mille: u32,
    /// How likely a process finds an older backup of its disk when it starts, where the others can do without the disk and can
    /// tell.
    pub restore_per_mille: u32,
    /// How likely a node is paused, at each drawing of faults.
    pub pause_per_mille: u32,
    /// How long a sync takes, at most.
    pub sync_ms_max: u64,
    /// How likely a sync takes ten times as long as that.
    pub slow_sync_per_mille: u32,
    /// How likely a node asks whether its disk may be wiped, at each drawing of faults.
    pub wipe_per_mille: u32,
    /// How likely a node is told to hand over leadership, at each drawing of faults.
    pub hand_over_per_mille: u32,
    /// How likely an operator changes the membership, or who leads, at each drawing of faults.
    pub operate_per_mille: u32,
    /// How likely a node that dies comes back at another address.
    pub move_per_mille: u32,
    /// How likely a wall clock jumps, at each drawing of faults.
    pub clock_jump_per_mille: u32,
    /// How likely a backend loses its state, at each drawing of faults.
    pub backend_loss_per_mille: u32,
    /// How likely a backend does not answer for a while, or is slow for a while, at each drawing of faults.
    pub backend_trouble_per_mille: u32,
    /// How likely a model goes another way than its peers, at each drawing of faults; never more than a minority.
    pub diverge_per_mille: u32,
    /// How many requests crash models; a few of a run at most.
    pub poison_per_mille: u32,
    /// How many entries an applier takes at once, at most.
    pub apply_entries_max: usize,
    /// How long an applier waits between two helpings, at most.
    pub apply_ms_max: u64,
    /// The bytes of recent entries that a replica keeps in memory.
    pub recent_bytes_max: usize,
    /// The bytes of requests in one entry, at most.
    pub command_bytes_max: usize,
    /// The bytes of forwarded requests that wait at a leader, at most.
    pub forwarded_bytes_max: usize,
    /// After how many entries a node takes a snapshot; 0 for a model that cannot, whose whole log is kept.
    pub snapshot_entries: u64,
    /// How long a snapshot waits to be written, at most.
    pub snapshot_write_ms_max: u64,
    /// How long a piece of a snapshot is, in bytes.
    pub snapshot_piece_bytes: usize,
    /// How many bytes of snapshots a node sends in a tick, at most.
    pub snapshot_bytes_per_tick: usize,
    /// How likely the newest snapshot has rotted when a process starts.
    pub snapshot_rot_per_mille: u32,
    /// What is remembered about clients.
    pub limits: SessionLimits,
    /// A bug to put in.
    pub mutant: Option<Mutant>,
    /// Whether to keep the whole trace: [`Report::trace`](super::Report::trace).
    pub keeps_trace: bool,
    /// Whether to write the trace to standard error as it goes.
    pub verbose: bool,
}

impl Options {
    /// The run that `seed` stands for.
    pub fn drawn_from(seed: u64) -> Self {
        // Another stream than the run's own, so that options that are added do not change what runs do.
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        random.set_stream(1);
        let draw = &mut random;
        let limits = SessionLimits {
            session_age_ms_max: one_of(draw, &[600_000, 90_000, 20_000]),
            key_age_ms: one_of(draw, &[600_000, 90_000, 20_000]),
            ..SessionLimits::default()
        };
        // Drawn from a stream of their own, so that they do not change what the others are.
        let mut members = ChaCha8Rng::seed_from_u64(seed);
        members.set_stream(2);
        let operate_per_mille = one_of(&mut members, &[0, 0, 5, 20]);
        let spares = if operate_per_mille > 0 { one_of(&mut members, &[0, 1, 2, 3]) } else { 0 };
        let move_per_mille = one_of(&mut members, &[0, 0, 100, 400]);
        let mut restores = ChaCha8Rng::seed_from_u64(seed);
        restores.set_stream(3);
        let founders = one_of(draw, &[1_u16, 2, 3, 3, 3, 3, 3, 4, 5, 5, 7]);
        Options {
            seed,
            nodes: (founders + spares).min(7),
            founders,
            operate_per_mille,
            move_per_mille,
            clients: draw.gen_range(1..=5),
            faulty_ms: draw.gen_range(5_000..=40_000),
            think_ms_max: one_of(draw, &[10, 50, 300]),
            delay_ms_mean: one_of(draw, &[1, 5, 15, 40]),
            loss_per_mille: one_of(draw, &[0, 10, 100, 300]),
            repeat_per_mille: one_of(draw, &[0, 10, 100, 500]),
            clog_per_mille: one_of(draw, &[0, 5, 20]),
            partition_per_mille: one_of(draw, &[0, 5, 15]),
            heal_per_mille: draw.gen_range(5..=60),
            crash_per_mille: one_of(draw, &[0, 1, 4]),
            power_loss_per_mille: one_of(draw, &[200, 800, 1000]),
            disk_fault_per_mille: one_of(draw, &[0, 0, 2, 10]),
            pause_per_mille: one_of(draw, &[0, 1, 4]),
            sync_ms_max: one_of(draw, &[0, 2, 10, 50]),
            slow_sync_per_mille: one_of(draw, &[0, 10, 50]),
            wipe_per_mille: one_of(draw, &[0, 2, 6]),
            hand_over_per_mille: one_of(draw, &[0, 1, 10]),
            clock_jump_per_mille: one_of(draw, &[0, 2, 10]),
            backend_loss_per_mille: one_of(draw, &[0, 1, 3]),
            backend_trouble_per_mille: one_of(draw, &[0, 1, 4]),
            // Where members come and go, nobody can tell that the right ones are a majority.
            diverge_per_mille: one_of(draw, &[0, 0, 1, 2]) * u32::from(operate_per_mille == 0),
            poison_per_mille: one_of(draw, &[0, 0, 10, 30]),
            apply_entries_max: one_of(draw, &[1, 4, 64]),
            apply_ms_max: one_of(draw, &[0, 5, 60]),
            recent_bytes_max: one_of(draw, &[0, 2_000, 32 << 20]),
            command_bytes_max: one_of(draw, &[200, 4_096, 1 << 20]),
            forwarded_bytes_max: one_of(draw, &[300, 4_096, 64 << 20]),
            snapshot_entries: one_of(draw, &[0, 4, 15, 60]),
            snapshot_write_ms_max: one_of(draw, &[0, 30, 500]),
            snapshot_piece_bytes: one_of(draw, &[100, 1_000, 64 << 10]),
            snapshot_bytes_per_tick: one_of(draw, &[300, 1 << 20]),
            snapshot_rot_per_mille: one_of(draw, &[0, 100]),
            limits,
            link_messages_max: one_of(draw, &[2, 8, 20, 4_096, 4_096]),
            leader_cut_per_mille: one_of(draw, &[0, 1, 3]),
            disk_full_per_mille: one_of(draw, &[0, 0, 1, 3]),
            rot_per_mille: one_of(draw, &[0, 100, 500]),
            restore_per_mille: one_of(&mut restores, &[0, 0, 100, 500]),
            mutant: None,
            keeps_trace: false,
            verbose: false,
        }
    }

    /// The same run with a bug in it.
    #[must_use]
    pub fn with(self, mutant: Mutant) -> Self {
        Options { mutant: Some(mutant), ..self }
    }
}

/// One of `choices`, which must not be empty.
fn one_of<T: Copy + Default>(random: &mut ChaCha8Rng, choices: &[T]) -> T {
    let place = random.gen_range(0..choices.len().max(1));
    choices.get(place).copied().unwrap_or_default()
}
