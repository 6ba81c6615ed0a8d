//! How a log is laid out on its disk.

/// Sizes of a log. They may differ from one opening to the next: files tell their own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogConfig {
    /// A segment is sealed before it grows past this many bytes; a single larger write has a segment of its own.
    /// Default 64 MiB; at least [`LogConfig::SEGMENT_BYTES_MIN`], taken as that where less.
    pub segment_bytes: u64,
    /// How many bytes are zero-filled at a time ahead of the writes: synced writes into zero-filled blocks are faster,
    /// because the file system has nothing of its own to write. Default 1 MiB; at least 4 KiB.
    pub allocate_bytes: u64,
    /// Appends gather in memory up to this many bytes before they are written without waiting for a sync.
    /// Default 4 MiB.
    pub buffer_bytes_max: usize,
    /// The sparse index keeps one point for this many bytes of a segment; a read for one entry may have to pass over as
    /// many. Default 256 KiB.
    pub index_stride_bytes: u64,
    /// The watermark is synced at least this often while the log grows, in milliseconds. Default 1,000.
    pub watermark_sync_ms: u64,
}

impl LogConfig {
    /// The smallest segment, in bytes.
    pub const SEGMENT_BYTES_MIN: u64 = 4 << 10;

    /// The smallest step of zero-filling, in bytes.
    const ALLOCATE_BYTES_MIN: u64 = 4 << 10;

    /// The configuration with every size at or above its minimum.
    pub(super) fn checked(self) -> LogConfig {
        LogConfig {
            segment_bytes: self.segment_bytes.max(Self::SEGMENT_BYTES_MIN),
            allocate_bytes: self.allocate_bytes.max(Self::ALLOCATE_BYTES_MIN),
            ..self
        }
    }
}

impl Default for LogConfig {
    fn default() -> Self {
        LogConfig {
            segment_bytes: 64 << 20,
            allocate_bytes: 1 << 20,
            buffer_bytes_max: 4 << 20,
            index_stride_bytes: 256 << 10,
            watermark_sync_ms: 1_000,
        }
    }
}
