//! How nodes find and found their cluster: introductions and joins.

use boat_core::apply::SessionLimits;
use boat_core::transport::{Introduction, Join};
use boat_core::{Genesis, Member, MemberList, NodeId};

use super::{Malformed, names, proto};

pub(super) fn encode(introduction: Introduction) -> proto::Introduction {
    let address = |(node, address): (NodeId, &str)| proto::Address {
        node: u32::from(node.0),
        address: address.to_owned(),
    };
    proto::Introduction {
        birth: names::u128_to_bytes(introduction.birth.0),
        members: introduction.members.iter().map(address).collect(),
        genesis: introduction.genesis.map(|genesis| proto::Genesis {
            cluster: names::u128_to_bytes(genesis.cluster.0),
            former: genesis.former.iter().map(|former| names::u128_to_bytes(former.0)).collect(),
            members: genesis.members.into_iter().map(encode_member).collect(),
            limits: Some(encode_limits(genesis.limits)),
        }),
        asks: introduction.asks,
    }
}

pub(super) fn decode(introduction: proto::Introduction) -> Result<Introduction, Malformed> {
    Ok(Introduction {
        birth: names::birth(&introduction.birth)?,
        members: decode_members(introduction.members)?,
        genesis: introduction.genesis.map(decode_genesis).transpose()?,
        asks: introduction.asks,
    })
}

pub(super) fn encode_join(join: Join) -> proto::Join {
    proto::Join { raft_id: join.raft_id.0, birth: names::u128_to_bytes(join.birth.0), address: join.address }
}

pub(super) fn decode_join(join: proto::Join) -> Result<Join, Malformed> {
    Ok(Join {
        raft_id: names::raft_id(join.raft_id)?,
        birth: names::birth(&join.birth)?,
        address: join.address,
    })
}

/// A node that was given no list sends an empty one.
fn decode_members(members: Vec<proto::Address>) -> Result<MemberList, Malformed> {
    if members.is_empty() {
        return Ok(MemberList::default());
    }
    let members = members.into_iter().map(|member| Ok((names::node_id(member.node)?, member.address)));
    let members = members.collect::<Result<Vec<_>, Malformed>>()?;
    MemberList::new(members).map_err(|_| Malformed("member list"))
}

fn decode_genesis(genesis: proto::Genesis) -> Result<Genesis, Malformed> {
    let limits = genesis.limits.ok_or(Malformed("session limits"))?;
    Ok(Genesis {
        limits: SessionLimits {
            sessions_max: limits.sessions_max,
            session_outcomes_max: limits.session_outcomes_max,
            session_age_ms_max: limits.session_age_ms_max,
            key_age_ms: limits.key_age_ms,
            key_table_bytes_max: limits.key_table_bytes_max,
        },
        cluster: names::cluster_id(&genesis.cluster)?,
        former: genesis.former.iter().map(names::cluster_id).collect::<Result<_, _>>()?,
        members: genesis.members.into_iter().map(decode_member).collect::<Result<_, _>>()?,
    })
}

fn encode_limits(limits: SessionLimits) -> proto::SessionLimits {
    proto::SessionLimits {
        sessions_max: limits.sessions_max,
        session_outcomes_max: limits.session_outcomes_max,
        session_age_ms_max: limits.session_age_ms_max,
        key_age_ms: limits.key_age_ms,
        key_table_bytes_max: limits.key_table_bytes_max,
    }
}

fn encode_member(member: Member) -> proto::Member {
    proto::Member {
        raft_id: member.raft_id.0,
        birth: names::u128_to_bytes(member.birth.0),
        address: member.address,
    }
}

fn decode_member(member: proto::Member) -> Result<Member, Malformed> {
    Ok(Member {
        raft_id: names::raft_id(member.raft_id)?,
        birth: names::birth(&member.birth)?,
        address: member.address,
    })
}
