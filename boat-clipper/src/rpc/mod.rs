//! What a query frontend and its model containers say to each other over ZeroMQ.

#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
mod message;

pub(crate) use self::message::{FromContainer, Inputs, Metadata, ToContainer};

/// The version of the protocol, in every message of the frontend and in a container's metadata.
pub(crate) const RPC_VERSION: u32 = 3;
