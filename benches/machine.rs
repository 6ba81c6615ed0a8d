//! What the figures were measured on.

use std::fs;

/// Processor, cores, memory and kernel, in one line.
pub fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let processor = field("/proc/cpuinfo", "model name").unwrap_or_else(|| std::env::consts::ARCH.to_owned());
    let memory = field("/proc/meminfo", "MemTotal").unwrap_or_default();
    let memory_kib: u64 = memory.trim_end_matches(" kB").parse().unwrap_or_default();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("{processor}, {cores} cores, {} GiB, kernel {}", memory_kib >> 20, kernel.trim())
}

/// How much memory this process has resident, in bytes; 0 where the kernel does not say.
pub fn resident_bytes() -> u64 {
    resident_bytes_of("self")
}

/// The same of any process.
pub(crate) fn resident_bytes_of(pid: &str) -> u64 {
    let resident = field(&format!("/proc/{pid}/status"), "VmRSS").unwrap_or_default();
    resident.trim_end_matches(" kB").parse::<u64>().unwrap_or_default() << 10
}

/// The value behind `name:` in a file of such lines.
fn field(path: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}
