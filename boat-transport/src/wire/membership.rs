//! Operations on the membership, and what is said to incarnations outside it and to members that move.

use boat_core::transport::{Members, Operate, OperateAnswer, Outside, Verdict};
use boat_core::{MembershipOperation as Operation, MembershipRefusal as Refusal, NodeId, OperationToken};

use super::{Malformed, names, proto};

pub(super) fn encode_outside(outside: Outside) -> proto::Outside {
    proto::Outside {
        raft_id: outside.raft_id.0,
        index: outside.index,
        place_held_at: outside.place_held_at,
        members: encode_addresses(outside.members),
        removed: outside.removed.map(u32::from),
    }
}

pub(super) fn decode_outside(outside: proto::Outside) -> Result<Outside, Malformed> {
    let removed =
        outside.removed.map(|voters| u16::try_from(voters).map_err(|_| Malformed("number of voters")));
    Ok(Outside {
        raft_id: names::raft_id(outside.raft_id)?,
        index: outside.index,
        place_held_at: outside.place_held_at,
        members: decode_addresses(outside.members)?,
        removed: removed.transpose()?,
    })
}

pub(super) fn encode_members(said: Members) -> proto::Members {
    proto::Members { index: said.index, members: encode_addresses(said.members) }
}

pub(super) fn decode_members(said: proto::Members) -> Result<Members, Malformed> {
    Ok(Members { index: said.index, members: decode_addresses(said.members)? })
}

pub(super) fn encode_operate(operate: Operate) -> proto::Operate {
    use proto::operate::Operation as Kind;
    let Operate { ticket, term, token, operation } = operate;
    let operation = Some(match operation {
        Operation::Add { node, address } => Kind::Add(encode_address(node, address)),
        Operation::Remove { node } => Kind::Remove(node.0.into()),
        Operation::Replace { node, address } => Kind::Replace(encode_address(node, address)),
        Operation::Promote { node } => Kind::Promote(node.0.into()),
        Operation::TransferLeader { to } => {
            Kind::TransferLeader(proto::TransferLeader { to: to.map(|node| node.0.into()) })
        }
    });
    proto::Operate { ticket, term, token: names::u128_to_bytes(token.0), operation }
}

pub(super) fn decode_operate(operate: proto::Operate) -> Result<Operate, Malformed> {
    use proto::operate::Operation as Kind;
    let proto::Operate { ticket, term, token, operation } = operate;
    let operation = match operation.ok_or(Malformed("operation on the membership"))? {
        Kind::Add(member) => {
            let (node, address) = decode_address(member)?;
            Operation::Add { node, address }
        }
        Kind::Remove(node) => Operation::Remove { node: names::node_id(node)? },
        Kind::Replace(member) => {
            let (node, address) = decode_address(member)?;
            Operation::Replace { node, address }
        }
        Kind::Promote(node) => Operation::Promote { node: names::node_id(node)? },
        Kind::TransferLeader(proto::TransferLeader { to }) => {
            Operation::TransferLeader { to: to.map(names::node_id).transpose()? }
        }
    };
    let token = names::bytes_to_u128(&token).map(OperationToken).ok_or(Malformed("operation token"))?;
    Ok(Operate { ticket, term, token, operation })
}

pub(super) fn encode_answer(answer: OperateAnswer) -> proto::OperateAnswer {
    use proto::operate_answer::Verdict as Kind;
    let verdict = Some(match answer.verdict {
        Verdict::Done { index } => Kind::Done(index),
        Verdict::Undecided => Kind::Undecided(proto::Undecided {}),
        Verdict::Refused(refusal) => Kind::Refused(encode_refusal(refusal)),
    });
    proto::OperateAnswer { ticket: answer.ticket, verdict }
}

pub(super) fn decode_answer(answer: proto::OperateAnswer) -> Result<OperateAnswer, Malformed> {
    use proto::operate_answer::Verdict as Kind;
    let verdict = match answer.verdict.ok_or(Malformed("verdict on an operation"))? {
        Kind::Done(index) => Verdict::Done { index },
        Kind::Undecided(proto::Undecided {}) => Verdict::Undecided,
        Kind::Refused(refused) => Verdict::Refused(decode_refusal(refused)?),
    };
    Ok(OperateAnswer { ticket: answer.ticket, verdict })
}

fn encode_refusal(refusal: Refusal) -> proto::OperationRefused {
    use proto::MembershipRefusal as Reason;
    let (reason, address) = match refusal {
        Refusal::WouldLoseQuorum => (Reason::WouldLoseQuorum, String::new()),
        Refusal::ChangeUnderWay => (Reason::ChangeUnderWay, String::new()),
        Refusal::NotAMember => (Reason::NotAMember, String::new()),
        Refusal::AlreadyMember { address } => (Reason::AlreadyMember, address),
        Refusal::NotThere => (Reason::NotThere, String::new()),
        Refusal::OtherAddress { address } => (Reason::OtherAddress, address),
        Refusal::NotAVoter => (Reason::NotAVoter, String::new()),
        Refusal::Unreachable => (Reason::Unreachable, String::new()),
        Refusal::TooManyMembers => (Reason::TooManyMembers, String::new()),
    };
    proto::OperationRefused { reason: reason.into(), address }
}

fn decode_refusal(refused: proto::OperationRefused) -> Result<Refusal, Malformed> {
    use proto::MembershipRefusal as Reason;
    let address = refused.address;
    let malformed = Malformed("refusal of an operation");
    Ok(match Reason::try_from(refused.reason).map_err(|_| malformed)? {
        Reason::Unspecified => return Err(malformed),
        Reason::WouldLoseQuorum => Refusal::WouldLoseQuorum,
        Reason::ChangeUnderWay => Refusal::ChangeUnderWay,
        Reason::NotAMember => Refusal::NotAMember,
        Reason::AlreadyMember => Refusal::AlreadyMember { address },
        Reason::NotThere => Refusal::NotThere,
        Reason::OtherAddress => Refusal::OtherAddress { address },
        Reason::NotAVoter => Refusal::NotAVoter,
        Reason::Unreachable => Refusal::Unreachable,
        Reason::TooManyMembers => Refusal::TooManyMembers,
    })
}

fn encode_addresses(members: Vec<(NodeId, String)>) -> Vec<proto::Address> {
    members.into_iter().map(|(node, address)| encode_address(node, address)).collect()
}

fn decode_addresses(members: Vec<proto::Address>) -> Result<Vec<(NodeId, String)>, Malformed> {
    members.into_iter().map(decode_address).collect()
}

fn encode_address(node: NodeId, address: String) -> proto::Address {
    proto::Address { node: node.0.into(), address }
}

fn decode_address(member: proto::Address) -> Result<(NodeId, String), Malformed> {
    Ok((names::node_id(member.node)?, member.address))
}
