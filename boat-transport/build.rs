//! Compiles the peers' schema in pure Rust: no `protoc` is needed.

use std::error::Error;

const SCHEMA: &str = "proto/peer.proto";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed={SCHEMA}");
    let files = protox::compile([SCHEMA], ["proto"])?;
    prost_build::Config::new().bytes(["."]).compile_fds(files)?;
    Ok(())
}
