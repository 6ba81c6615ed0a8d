//! Whether sealed segments should be compressed: what it saves, and what a replay pays for it.
//!
//! Blocks of commands, as a scan reads them, are packed and unpacked by lz4 and zstd, beside what a replay does to every byte
//! anyway: checksum it and decode the requests.
#![expect(clippy::indexing_slicing, reason = "there are as many figures as contenders, and four words")]

use std::hint::black_box;

use benches::{Contender, Figure, Result, Size, race};
use boat_core::{Command, CommandView, Origin, Request, RequestKind, SessionRequest};

/// How much a scan reads at once.
const BLOCK_BYTES: usize = 256 << 10;
const ROUNDS: usize = 5;
/// zstd's fastest level that is not a negative one: higher ones unpack no faster.
const ZSTD_LEVEL: i32 = 1;
const ENTRY_REQUESTS: usize = 64;

/// One way to pack a block.
struct Codec {
    name: &'static str,
    pack: fn(&[u8]) -> Result<Vec<u8>>,
    unpack: fn(&[u8]) -> Result<Vec<u8>>,
}

const CODECS: [Codec; 2] = [
    Codec {
        name: "lz4",
        pack: |block| Ok(lz4_flex::compress(block)),
        unpack: |packed| Ok(lz4_flex::decompress(packed, 2 * BLOCK_BYTES)?),
    },
    Codec {
        name: "zstd",
        pack: |block| Ok(zstd::bulk::compress(block, ZSTD_LEVEL)?),
        unpack: |packed| Ok(zstd::bulk::decompress(packed, 2 * BLOCK_BYTES)?),
    },
];

/// Prints what each codec saves and costs.
pub(crate) fn measure(size: Size) -> Result<()> {
    let bytes = size.pick(1 << 20, 64 << 20, 256 << 20);
    println!("\ncompression of blocks of {} KiB, of {} MiB of commands", BLOCK_BYTES >> 10, bytes >> 20);
    println!("{:>22} {:>8} {:>7} {:>24} {:>24}", "bodies", "", "ratio", "GB/s packing", "GB/s replaying");
    for (name, body) in
        [("16 numbers", numbers as fn(u64) -> Vec<u8>), ("4 numbers and a word", numbers_and_word)]
    {
        measure_bodies(name, &blocks(body, bytes), size)?;
    }
    Ok(())
}

fn measure_bodies(name: &str, blocks: &[Vec<u8>], size: Size) -> Result<()> {
    let bytes: usize = blocks.iter().map(Vec::len).sum();
    let speed = |seconds: &Figure| seconds.map(|seconds| bytes as f64 / seconds / 1e9).to_string();
    let rounds = size.pick(1, ROUNDS, ROUNDS);
    let mut plain = [Contender::new("as it is", || blocks.iter().try_for_each(|block| replay(block)))];
    let plain = race(&mut plain, rounds, 1)?;
    println!("{name:>22} {:>8} {:>7} {:>24} {:>24}", "as it is", "1.00", "", speed(&plain[0]));
    for codec in &CODECS {
        let packed = blocks.iter().map(|block| (codec.pack)(block)).collect::<Result<Vec<_>>>()?;
        let packed_bytes: usize = packed.iter().map(Vec::len).sum();
        let mut ways = [
            Contender::new("pack", || {
                blocks.iter().try_for_each(|block| (codec.pack)(block).map(|packed| drop(black_box(packed))))
            }),
            Contender::new("unpack and replay", || {
                packed.iter().try_for_each(|packed| replay(&(codec.unpack)(packed)?))
            }),
        ];
        let figures = race(&mut ways, rounds, 1)?;
        let ratio = bytes as f64 / packed_bytes as f64;
        println!(
            "{:>22} {:>8} {ratio:>7.2} {:>24} {:>24}",
            "",
            codec.name,
            speed(&figures[0]),
            speed(&figures[1])
        );
    }
    Ok(())
}

/// What a replay does to every byte: checksum it, and look at each request. A block is `(bytes u32 | command)*`.
fn replay(block: &[u8]) -> Result<()> {
    black_box(crc32c::crc32c(block));
    let mut rest = block;
    while let Some((head, behind)) = rest.split_first_chunk::<4>() {
        let (command, next) =
            behind.split_at_checked(u32::from_le_bytes(*head) as usize).ok_or("a short block")?;
        for request in CommandView::new(command)?.requests() {
            black_box(request?);
        }
        rest = next;
    }
    Ok(())
}

fn blocks(body: fn(u64) -> Vec<u8>, bytes: usize) -> Vec<Vec<u8>> {
    let (mut blocks, mut block, mut sequence, mut made) = (Vec::new(), Vec::new(), 0, 0);
    while made < bytes {
        let requests = (0..ENTRY_REQUESTS).map(|_| {
            sequence += 1;
            let request = SessionRequest { session: 1 + sequence % 16, sequence };
            let origin = Origin::Session { request, lowest_unanswered: sequence.saturating_sub(64) };
            Request { kind: RequestKind::Predict, origin, body: body(sequence).into() }
        });
        let requests = requests.collect();
        let command =
            Command { stamp_ms: 1_700_000_000_000 + sequence, seed: mix(sequence), requests }.encode();
        block.extend_from_slice(&(command.len() as u32).to_le_bytes());
        block.extend_from_slice(&command);
        made += command.len();
        if block.len() >= BLOCK_BYTES {
            blocks.push(std::mem::take(&mut block));
        }
    }
    blocks.push(block);
    blocks
}

/// Feature vectors as clients send them: numbers that nobody has seen before.
fn numbers(n: u64) -> Vec<u8> {
    let numbers = (0..16).map(|place| format!("{:.4}", (mix(16 * n + place) % 2_000_000) as f64 / 1e6 - 1.0));
    format!("{{\"input\":[{}]}}", numbers.collect::<Vec<_>>().join(",")).into_bytes()
}

/// Records of which a good part is the same each time.
fn numbers_and_word(n: u64) -> Vec<u8> {
    let word = ["red", "green", "blue", "yellow"][(mix(n) % 4) as usize];
    let number = |place| mix(4 * n + place) % 1_000;
    format!(
        "{{\"input\":{{\"age\":{},\"income\":{},\"visits\":{},\"score\":{},\"colour\":\"{word}\",\"country\":\"NL\"}}}}",
        number(0), number(1), number(2), number(3)
    )
    .into_bytes()
}

/// splitmix64: fast, and the same everywhere.
fn mix(n: u64) -> u64 {
    let mut mixed = n.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
