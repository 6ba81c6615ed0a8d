//! Who takes part: the configured list, the genesis a cluster starts from, and the membership as the log has it.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::apply::SessionLimits;
use crate::codec::{Malformed, Reader, put_text};
use crate::{Birth, ClusterId, NodeId, OperationToken, RaftId};

/// The configured members: each node's number and the address where its peers reach it (`host:port`).
///
/// ```
/// # use boat_core::{MemberList, NodeId};
/// let members: MemberList = "0=10.0.0.1:8000,1=10.0.0.2:8000".parse()?;
/// assert_eq!(members.address(NodeId(1)), Some("10.0.0.2:8000"));
/// # Ok::<(), boat_core::MemberListError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MemberList(BTreeMap<NodeId, String>);

/// Why a member list could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MemberListError {
    /// A part is not of the form `id=host:port`.
    #[error("`{0}` is not a member: write id=host:port, as in 0=10.0.0.1:8000,1=10.0.0.2:8000")]
    Form(String),
    /// The same node id or the same address stands twice.
    #[error("node {0} or its address stands twice in the member list")]
    Twice(NodeId),
    /// No member at all.
    #[error("the member list is empty")]
    Empty,
}

impl MemberList {
    /// A list from pairs of node and address.
    ///
    /// # Errors
    /// [`MemberListError`] when the list is empty or a node or an address stands twice.
    pub fn new(members: impl IntoIterator<Item = (NodeId, String)>) -> Result<Self, MemberListError> {
        let mut list = BTreeMap::new();
        for (node, address) in members {
            if list.values().any(|known| *known == address) || list.insert(node, address).is_some() {
                return Err(MemberListError::Twice(node));
            }
        }
        if list.is_empty() { Err(MemberListError::Empty) } else { Ok(MemberList(list)) }
    }

    /// The address of `node`, if it is a member.
    pub fn address(&self, node: NodeId) -> Option<&str> {
        self.0.get(&node).map(String::as_str)
    }

    /// Members and addresses, by rising node id.
    pub fn iter(&self) -> impl Iterator<Item = (NodeId, &str)> {
        self.0.iter().map(|(node, address)| (*node, address.as_str()))
    }

    /// The lowest node id: the one that founds.
    pub fn founder(&self) -> Option<NodeId> {
        self.0.keys().next().copied()
    }

    /// How many members there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no member; only so for `MemberList::default()`.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// How long an address may be, in bytes: a host name has 253 at most.
const ADDRESS_BYTES_MAX: usize = 300;

/// Whether this is an address where a node can be reached: `host:port`.
pub(crate) fn is_address(text: &str) -> bool {
    let parts = text.rsplit_once(':').filter(|_| text.len() <= ADDRESS_BYTES_MAX);
    parts.is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
}

impl FromStr for MemberList {
    type Err = MemberListError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        let members = parts.map(|part| {
            let form = || MemberListError::Form(part.to_owned());
            let (id, address) = part.split_once('=').ok_or_else(form)?;
            if !is_address(address.trim()) {
                return Err(form());
            }
            Ok((id.parse().map_err(|_| form())?, address.trim().to_owned()))
        });
        MemberList::new(members.collect::<Result<Vec<_>, _>>()?)
    }
}

impl TryFrom<String> for MemberList {
    type Error = MemberListError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<MemberList> for String {
    fn from(list: MemberList) -> Self {
        list.to_string()
    }
}

impl fmt::Display for MemberList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, (node, address)) in self.0.iter().enumerate() {
            let comma = if n == 0 { "" } else { "," };
            write!(f, "{comma}{node}={address}")?;
        }
        Ok(())
    }
}

/// One incarnation of a node as a member of the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The incarnation's name in Raft; its upper bits are the node id.
    pub raft_id: RaftId,
    /// The birth of its data directory.
    pub birth: Birth,
    /// Where its peers reach it, `host:port`.
    pub address: String,
}

/// What a cluster starts from: written once by its founder, stored by every founding member before it answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Genesis {
    /// The cluster's random name.
    pub cluster: ClusterId,
    /// What the cluster was called before it was recovered, the latest at the end; empty unless it was.
    pub former: Vec<ClusterId>,
    /// The founding members, all of them voters, by rising node id.
    pub members: Vec<Member>,
    /// What is remembered about clients: it decides what is applied, so it is the same for all.
    pub limits: SessionLimits,
}

impl Genesis {
    /// The membership before the first entry.
    pub fn membership(&self) -> Membership {
        Membership {
            index: 0,
            voters: self.members.iter().map(|member| member.raft_id).collect(),
            members: self.members.iter().map(|member| (member.raft_id, member.clone())).collect(),
            ..Membership::default()
        }
    }
}

/// The members as of one index of the log: Raft's ConfState and everybody's address.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Membership {
    /// The entry that made it so; 0 for the genesis.
    pub index: u64,
    /// Those whose votes count, by rising id.
    pub voters: Vec<RaftId>,
    /// Those who receive the log without a vote.
    pub learners: Vec<RaftId>,
    /// During a joint change, the voters of the membership that is being left.
    pub voters_outgoing: Vec<RaftId>,
    /// During a joint change, those who become learners when it ends.
    pub learners_next: Vec<RaftId>,
    /// Whether the joint change ends by itself.
    pub auto_leave: bool,
    /// Address and birth of everybody named above.
    pub members: BTreeMap<RaftId, Member>,
    /// The incarnations that left last, at most [`Membership::REMOVED_MAX`], the latest at the end. None ever comes back: who
    /// hears from one tells it so.
    pub removed: Vec<RaftId>,
    /// The operations that were carried out last, at most [`Membership::TOKENS_MAX`], the latest at the end: a retry of one
    /// is not carried out again.
    pub tokens: Vec<OperationToken>,
}

impl Membership {
    /// How many incarnations that left are remembered.
    pub const REMOVED_MAX: usize = 64;
    /// How many operations are remembered.
    pub const TOKENS_MAX: usize = 32;
    /// How many members there may be, learners among them.
    pub const MEMBERS_MAX: usize = 32;

    /// Whether a joint change is under way.
    pub fn is_joint(&self) -> bool {
        !self.voters_outgoing.is_empty()
    }

    /// The current incarnation of `node`, if it takes part: the voter or learner of the incoming membership.
    pub fn incarnation(&self, node: NodeId) -> Option<&Member> {
        let current = self.voters.iter().chain(&self.learners).chain(&self.learners_next);
        current.filter(|id| id.node() == node).find_map(|id| self.members.get(id))
    }

    /// Whether `id` has a vote, in the incoming or the outgoing membership.
    pub fn is_voter(&self, id: RaftId) -> bool {
        self.voters.contains(&id) || self.voters_outgoing.contains(&id)
    }

    /// Whether those that `counts` says so of are a majority of the voters: while a joint change is under way, of both memberships'.
    pub(crate) fn has_majority(&self, counts: impl Fn(RaftId) -> bool) -> bool {
        let majority = |voters: &[RaftId]| {
            voters.is_empty() || voters.iter().filter(|id| counts(**id)).count() > voters.len() / 2
        };
        majority(&self.voters) && majority(&self.voters_outgoing)
    }
}

/// Appends `| cluster u128 | limits: u32 u32 u64 u64 u64 | count u16 | count x member | count u16 | count x former u128 |`.
pub(crate) fn put_genesis(out: &mut Vec<u8>, genesis: &Genesis) {
    let limits = &genesis.limits;
    out.extend_from_slice(&genesis.cluster.0.to_le_bytes());
    out.extend_from_slice(&limits.sessions_max.to_le_bytes());
    out.extend_from_slice(&limits.session_outcomes_max.to_le_bytes());
    for limit in [limits.session_age_ms_max, limits.key_age_ms, limits.key_table_bytes_max] {
        out.extend_from_slice(&limit.to_le_bytes());
    }
    out.extend_from_slice(&(genesis.members.len() as u16).to_le_bytes());
    genesis.members.iter().for_each(|member| put_member(out, member));
    out.extend_from_slice(&(genesis.former.len() as u16).to_le_bytes());
    out.extend(genesis.former.iter().flat_map(|former| former.0.to_le_bytes()));
}

/// Reads what [`put_genesis`] wrote.
pub(crate) fn read_genesis(reader: &mut Reader<'_>) -> Result<Genesis, Malformed> {
    let cluster = ClusterId(reader.u128()?);
    let limits = SessionLimits {
        sessions_max: reader.u32()?,
        session_outcomes_max: reader.u32()?,
        session_age_ms_max: reader.u64()?,
        key_age_ms: reader.u64()?,
        key_table_bytes_max: reader.u64()?,
    };
    let members = (0..reader.u16()?).map(|_| read_member(reader)).collect::<Result<_, _>>()?;
    let former = (0..reader.u16()?).map(|_| reader.u128().map(ClusterId)).collect::<Result<_, _>>()?;
    Ok(Genesis { cluster, former, members, limits })
}

/// Appends `| raft id u64 | birth u128 | address_bytes u16 | address |`.
pub(crate) fn put_member(out: &mut Vec<u8>, member: &Member) {
    out.extend_from_slice(&member.raft_id.0.to_le_bytes());
    out.extend_from_slice(&member.birth.0.to_le_bytes());
    put_text(out, &member.address);
}

/// Reads what [`put_member`] wrote.
pub(crate) fn read_member(reader: &mut Reader<'_>) -> Result<Member, Malformed> {
    let raft_id = RaftId(reader.u64()?);
    let birth = Birth(reader.u128()?);
    Ok(Member { raft_id, birth, address: reader.text()?.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_reads_back_as_it_was_written() {
        let text = "0=127.0.0.1:8000,2=[::1]:8002,10=host:1";
        assert_eq!(text.parse::<MemberList>().unwrap().to_string(), text);
    }

    #[test]
    fn a_bad_list_names_its_bad_part() {
        for bad in ["x=1:1", "0", "0=host", "0=:80", "0=host:port", "70000=host:1"] {
            assert_eq!(bad.parse::<MemberList>(), Err(MemberListError::Form(bad.into())), "{bad}");
        }
        assert_eq!("".parse::<MemberList>(), Err(MemberListError::Empty));
        assert_eq!("0=a:1,0=b:1".parse::<MemberList>(), Err(MemberListError::Twice(NodeId(0))));
        assert_eq!("0=a:1,1=a:1".parse::<MemberList>(), Err(MemberListError::Twice(NodeId(1))));
    }
}
