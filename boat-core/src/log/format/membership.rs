//! A membership as bytes.
//!
//! ```text
//! index u64 | auto_leave u8
//! five lists: voters, learners, voters_outgoing, learners_next, removed, each: count u16 | count x raft_id u64
//! members: count u16 | count x (raft_id u64 | birth u128 | address: count u16 | bytes)
//! tokens: count u16 | count x u128
//! ```

use std::collections::BTreeMap;

use crate::codec::{Malformed, Reader, put_text};
use crate::{Birth, Member, Membership, OperationToken, RaftId};

/// Why a membership cannot be written; checked before anything is.
pub(crate) fn check(membership: &Membership) -> Result<(), &'static str> {
    let max = usize::from(u16::MAX);
    let counts = [membership.members.len(), membership.tokens.len()];
    if lists(membership).iter().map(|list| list.len()).chain(counts).any(|count| count > max) {
        return Err("a membership of more than 65,535 members");
    }
    if membership.members.values().any(|member| member.address.len() > max) {
        return Err("an address of more than 65,535 bytes");
    }
    if membership.members.iter().any(|(id, member)| *id != member.raft_id) {
        return Err("a member under another's id");
    }
    Ok(())
}

/// Appends what [`get`] reads.
pub(crate) fn put(out: &mut Vec<u8>, membership: &Membership) {
    out.extend_from_slice(&membership.index.to_le_bytes());
    out.push(u8::from(membership.auto_leave));
    for ids in lists(membership) {
        out.extend_from_slice(&(ids.len() as u16).to_le_bytes());
        out.extend(ids.iter().flat_map(|id| id.0.to_le_bytes()));
    }
    out.extend_from_slice(&(membership.members.len() as u16).to_le_bytes());
    for (id, member) in &membership.members {
        out.extend_from_slice(&id.0.to_le_bytes());
        out.extend_from_slice(&member.birth.0.to_le_bytes());
        put_text(out, &member.address);
    }
    out.extend_from_slice(&(membership.tokens.len() as u16).to_le_bytes());
    out.extend(membership.tokens.iter().flat_map(|token| token.0.to_le_bytes()));
}

fn lists(membership: &Membership) -> [&Vec<RaftId>; 5] {
    let Membership { voters, learners, voters_outgoing, learners_next, removed, .. } = membership;
    [voters, learners, voters_outgoing, learners_next, removed]
}

/// Reads one membership, which must be all of `bytes`.
///
/// # Errors
/// [`Malformed`] when it is not.
pub(crate) fn get(bytes: &[u8]) -> Result<Membership, Malformed> {
    let mut reader = Reader::new(bytes, "membership");
    let index = reader.u64()?;
    let auto_leave = match reader.u8()? {
        0 => false,
        1 => true,
        _ => return Err(reader.malformed()),
    };
    let membership = Membership {
        index,
        auto_leave,
        voters: ids(&mut reader)?,
        learners: ids(&mut reader)?,
        voters_outgoing: ids(&mut reader)?,
        learners_next: ids(&mut reader)?,
        removed: ids(&mut reader)?,
        members: members(&mut reader)?,
        tokens: tokens(&mut reader)?,
    };
    reader.finish()?;
    Ok(membership)
}

fn ids(reader: &mut Reader<'_>) -> Result<Vec<RaftId>, Malformed> {
    let count = reader.u16()?;
    (0..count).map(|_| reader.u64().map(RaftId)).collect()
}

fn tokens(reader: &mut Reader<'_>) -> Result<Vec<OperationToken>, Malformed> {
    let count = reader.u16()?;
    (0..count).map(|_| reader.u128().map(OperationToken)).collect()
}

fn members(reader: &mut Reader<'_>) -> Result<BTreeMap<RaftId, Member>, Malformed> {
    let count = reader.u16()?;
    let member = |_| {
        let raft_id = RaftId(reader.u64()?);
        let birth = Birth(reader.u128()?);
        let address = reader.text()?.to_owned();
        Ok((raft_id, Member { raft_id, birth, address }))
    };
    (0..count).map(member).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn membership() -> Membership {
        let member = |id| Member {
            raft_id: RaftId(id),
            birth: Birth(u128::from(id) << 70),
            address: format!("h:{id}"),
        };
        Membership {
            index: 9,
            voters: vec![RaftId(1), RaftId(2)],
            learners: vec![RaftId(3)],
            voters_outgoing: vec![RaftId(1)],
            learners_next: vec![],
            auto_leave: true,
            members: (1..4).map(|id| (RaftId(id), member(id))).collect(),
            removed: vec![RaftId(7)],
            tokens: vec![OperationToken(1 << 90)],
        }
    }

    #[test]
    fn a_membership_reads_back_and_every_cut_is_an_error() {
        let mut bytes = Vec::new();
        put(&mut bytes, &membership());
        assert_eq!(get(&bytes), Ok(membership()));
        for cut in 0..bytes.len() {
            assert!(get(&bytes[..cut]).is_err(), "{cut}");
        }
        bytes.push(0);
        assert!(get(&bytes).is_err());
    }

    #[test]
    fn what_cannot_be_written_is_refused() {
        assert_eq!(check(&membership()), Ok(()));
        let mut wrong = membership();
        wrong.members.get_mut(&RaftId(1)).unwrap().raft_id = RaftId(7);
        assert!(check(&wrong).is_err());
        let mut long = membership();
        long.members.get_mut(&RaftId(1)).unwrap().address = "x".repeat(70_000);
        assert!(check(&long).is_err());
    }
}
