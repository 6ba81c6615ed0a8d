//! The end: the cluster must be as if nothing had happened, and everything that was seen must fit together.

use std::time::{Duration, Instant};

use boat_core::history::{Record, check};
use serde_json::Value;

use super::Failure;
use super::client::Connection;
use super::cluster::Cluster;
use super::held::read_log;
use super::records::Records;

/// How long a fresh request may take once all faults are over, recovery and replay included.
const FRESH_ANSWER_MAX: Duration = Duration::from_secs(30);

/// Waits until all nodes agree, ends them, reads what they hold, and judges everything. What is said of it.
pub(crate) async fn judge(mut cluster: Cluster, records: &Records) -> Result<String, Failure> {
    let healed = Instant::now();
    ask_afresh(&cluster, records).await?;
    let served = healed.elapsed();
    let states = cluster.expect_agreement().await?;
    let alike = healed.elapsed();
    for (node, state) in (0..).zip(&states) {
        let position = state.get("position").and_then(Value::as_u64).ok_or("a state without a position")?;
        let digest = state.get("digest").and_then(Value::as_str).ok_or("a state without a digest")?;
        records.push(Record::Ended { node, position, digest: digest.to_owned() });
    }
    cluster.stop().await?;
    for (node, data) in cluster.data() {
        read_log(node, data, records)?;
    }
    match check(&records.all()) {
        Ok(summary) => Ok(format!(
            "every promise was kept: {summary:?}; after the faults a request was served within {served:?}, \
             all nodes were alike within {alike:?}"
        )),
        Err(violations) => {
            let lines: Vec<String> = violations.iter().map(ToString::to_string).collect();
            Err(lines.join("\n").into())
        }
    }
}

/// A fresh request after the faults is answered soon (promise L1).
async fn ask_afresh(cluster: &Cluster, records: &Records) -> Result<(), Failure> {
    let asked = Instant::now();
    let mut connections: Vec<Connection> = cluster.addresses().into_iter().map(Connection::new).collect();
    let operation = || "fresh".to_owned();
    while asked.elapsed() < FRESH_ANSWER_MAX {
        for connection in &mut connections {
            records.push(Record::Sent { at_us: records.now_us(), operation: operation() });
            let left = FRESH_ANSWER_MAX.saturating_sub(asked.elapsed());
            let replied = connection.predict("fresh", left).await;
            let at_us = records.now_us();
            if let Ok(reply) = replied
                && reply.status == 200
            {
                let (position, outcome) = (reply.position()?, reply.text());
                records.push(Record::Answered { at_us, operation: operation(), position, outcome });
                return Ok(());
            }
            records.push(Record::Failed { at_us, operation: operation(), definite: false });
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    Err(format!("no fresh request was answered within {FRESH_ANSWER_MAX:?} after the faults").into())
}
