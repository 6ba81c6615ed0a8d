//! A model whose every output tells all that it has seen.

use boat_core::quarantine::CRASHES_MAX;
use boat_core::{Call, NodeId};
use bytes::Bytes;

/// Says all bodies so far, in order.
#[derive(Debug, Clone, Default)]
pub(crate) struct Memory {
    seen: Vec<String>,
    /// From the next request on it goes another way than its peers.
    taint: bool,
}

impl Memory {
    /// What a snapshot holds of it.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![u8::from(self.taint)];
        bytes.extend(self.seen.iter().flat_map(|seen| [seen.as_bytes(), b"\n"].concat()));
        bytes
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Memory {
        let seen = str::from_utf8(&bytes[1..]).unwrap().lines().map(str::to_owned).collect();
        Memory { seen, taint: bytes[0] == 1 }
    }

    pub(crate) fn taint(&mut self) {
        self.taint = true;
    }

    pub(crate) fn predict(&mut self, call: &Call) -> Bytes {
        let mut body = String::from_utf8_lossy(&call.body).into_owned();
        if std::mem::take(&mut self.taint) {
            body.push('?');
        }
        self.seen.push(body);
        self.seen.join(" ").into()
    }
}

/// How often a call crashes the model of a node: `crash` does always, `crash@0,2` the first three times on these nodes.
pub(crate) fn crashes(call: &Call, node: NodeId) -> u32 {
    let body = String::from_utf8_lossy(&call.body).into_owned();
    match body.strip_prefix("crash") {
        Some("") => u32::MAX,
        Some(at) if at.trim_start_matches('@').split(',').any(|listed| listed == node.to_string()) => {
            CRASHES_MAX
        }
        _ => 0,
    }
}
