//! What a node that has ended holds, from its own log.

use std::path::Path;

use boat_core::Origin;
use boat_core::history::Record;
use boat_core::inspect::{StoppedDirectory, Verdict};

use super::Failure;
use super::records::Records;

/// How the keys begin of what nodes ask by themselves, as for the deployment that a cluster begins with.
const OF_NODES: &str = "boat/";

/// Records each request of the data directory of a node that has ended.
pub(crate) fn read_log(node: u16, data: &Path, records: &Records) -> Result<(), Failure> {
    let stopped = StoppedDirectory::open(data)?;
    let verdict = stopped.verify(|_| {})?.verdict;
    if verdict != Verdict::Sound {
        return Err(format!("the log of node {node} is not sound: {verdict:?}").into());
    }
    for request in stopped.requests(1..=u64::MAX, |_| {})? {
        let request = request?;
        let operation = match &request.origin {
            // A key without a token's scope: a zero and the key.
            Origin::Key(key) => key.strip_prefix(&[0]).map(|key| String::from_utf8_lossy(key).into_owned()),
            _ => None,
        };
        let operation = operation.filter(|operation| !operation.starts_with(OF_NODES));
        let position = request.position;
        records.push(Record::Applied { node, position, operation, outcome: None, digest: None });
    }
    Ok(())
}
