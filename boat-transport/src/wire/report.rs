//! What nodes say of themselves.

use boat_core::transport::{Ailments, CHECKPOINTS_MAX, Checkpoint, HOLDS_MAX, Hold, Report};

use super::{Malformed, names, proto};

pub(super) fn encode(report: Report) -> proto::Report {
    let checkpoint = |Checkpoint { position, digest }: Checkpoint| proto::Checkpoint {
        position,
        digest: names::u128_to_bytes(digest.0),
    };
    let hold = |Hold { position, round, crashed }: Hold| proto::Hold { position, round, crashed };
    proto::Report {
        ailments: u32::from(report.ailments.bits()),
        position: report.position,
        passed: report.passed,
        decided_index: report.decided_index,
        checkpoints: report.checkpoints.into_iter().map(checkpoint).collect(),
        holds: report.holds.into_iter().map(hold).collect(),
        asks: report.asks.map(|(position, round)| proto::Ask { position, round }),
        forces: report.forces,
    }
}

pub(super) fn decode(report: proto::Report) -> Result<Report, Malformed> {
    if report.checkpoints.len() > CHECKPOINTS_MAX || report.holds.len() > HOLDS_MAX {
        return Err(Malformed("report: too much of it"));
    }
    let checkpoint = |proto::Checkpoint { position, digest }: proto::Checkpoint| {
        Ok(Checkpoint { position, digest: names::digest(&digest)? })
    };
    let hold = |proto::Hold { position, round, crashed }: proto::Hold| Hold { position, round, crashed };
    Ok(Report {
        ailments: Ailments::from_bits(report.ailments).ok_or(Malformed("ailments"))?,
        position: report.position,
        passed: report.passed,
        decided_index: report.decided_index,
        checkpoints: report.checkpoints.into_iter().map(checkpoint).collect::<Result<_, Malformed>>()?,
        holds: report.holds.into_iter().map(hold).collect(),
        asks: report.asks.map(|proto::Ask { position, round }| (position, round)),
        forces: report.forces,
    })
}
