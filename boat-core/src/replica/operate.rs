//! Operations on the membership, on the leader: what an operator asks for is looked at again and again until it is carried
//! out or refused.
//!
//! A refusal is definite. It is given only by a leader that has committed in its own term and applied every membership
//! change in its log: what an earlier leader may have proposed for the same operation is then either applied, so that its
//! token stands in the membership, or can never be committed any more.

use raft::eraftpb::EntryType;

use super::change::{Change, Step};
use super::{Output, Replica};
use crate::transport::{OperateAnswer, PeerMessage, Verdict};
use crate::{Member, Membership, MembershipOperation, MembershipRefusal, NodeId, OperationToken, RaftId};

/// The membership change that this replica proposed last.
#[derive(Debug, Clone, Copy)]
pub(super) struct Proposed {
    term: u64,
    index: u64,
    token: Option<OperationToken>,
}

impl Replica {
    /// A peer asks for an operation, if this replica leads in the term that is meant.
    pub(super) fn on_operate(
        &mut self,
        from: NodeId,
        operate: crate::transport::Operate,
        outputs: &mut Vec<Output>,
    ) {
        let crate::transport::Operate { ticket, term, token, operation } = operate;
        if !self.is_leader() || term != self.term() || !self.operations.is_fresh(from, ticket) {
            return;
        }
        let verdict = self.consider(token, &operation, outputs);
        let message = PeerMessage::OperateAnswer(Box::new(OperateAnswer { ticket, verdict }));
        outputs.push(Output::Send { to: from, message });
    }

    /// Does what can be done for an operation now. To be called by the leader only.
    pub(super) fn consider(
        &mut self,
        token: OperationToken,
        operation: &MembershipOperation,
        outputs: &mut Vec<Output>,
    ) -> Verdict {
        if let MembershipOperation::TransferLeader { to } = operation {
            return self.consider_transfer(*to);
        }
        let done = self.membership.tokens.contains(&token);
        if done && !self.membership.is_joint() {
            return Verdict::Done { index: self.membership.index };
        }
        if done || !self.raw.raft.commit_to_current_term() {
            return Verdict::Undecided;
        }
        if self.raw.raft.has_pending_conf() {
            return self.consider_pending(token);
        }
        if self.membership.is_joint() {
            return Verdict::Refused(MembershipRefusal::ChangeUnderWay);
        }
        let considered = match operation {
            MembershipOperation::Add { node, address } => self.consider_add(*node, address),
            MembershipOperation::Remove { node } => self.consider_remove(*node),
            MembershipOperation::Replace { node, address } => self.consider_replace(*node, address),
            MembershipOperation::Promote { node } => self.consider_promote(*node),
            MembershipOperation::TransferLeader { .. } => return Verdict::Undecided,
        };
        match considered {
            Ok(Considered::Done) => Verdict::Done { index: self.membership.index },
            Ok(Considered::Wait) => Verdict::Undecided,
            Ok(Considered::Propose(change)) => self.carry_out(Change { token: Some(token), ..change }),
            Err(refusal) => {
                if let MembershipOperation::Add { node, address }
                | MembershipOperation::Replace { node, address } = operation
                    && refusal == MembershipRefusal::NotThere
                {
                    // It may not know where we are, or that we dial its place elsewhere.
                    let (node, address) = (*node, address.clone());
                    outputs.push(Output::Reach { node, address, urgent: true });
                }
                Verdict::Refused(refusal)
            }
        }
    }

    /// A change is not applied yet. What this leader has proposed itself is known; what it inherited may be anybody's.
    fn consider_pending(&self, token: OperationToken) -> Verdict {
        let raft = &self.raw.raft;
        let own = self.proposed.filter(|own| own.term == raft.term && own.index == raft.pending_conf_index);
        match own {
            Some(own) if own.token != Some(token) => Verdict::Refused(MembershipRefusal::ChangeUnderWay),
            _ => Verdict::Undecided,
        }
    }

    fn carry_out(&mut self, change: Change) -> Verdict {
        log::info!("proposing a membership change that was asked for: {change}");
        if self.propose_change(&change) {
            Verdict::Undecided
        } else {
            Verdict::Refused(MembershipRefusal::ChangeUnderWay)
        }
    }

    /// Proposes a change. False: Raft does not take it, and nothing happens.
    pub(super) fn propose_change(&mut self, change: &Change) -> bool {
        let index = self.last_index() + 1;
        if let Err(error) = self.raw.propose_conf_change(change.encode().to_vec(), change.to_raft()) {
            log::debug!("membership change not proposed: {error}");
            return false;
        }
        // A change that Raft refuses becomes an empty entry without a word.
        let unstable = &self.raw.raft.raft_log.unstable.entries;
        let entry = unstable.iter().rev().find(|entry| entry.index == index);
        let taken = entry.is_some_and(|entry| entry.get_entry_type() == EntryType::EntryConfChangeV2);
        if taken {
            self.proposed = Some(Proposed { term: self.term(), index, token: change.token });
        } else {
            log::warn!("Raft refused a membership change: {change}");
        }
        taken
    }

    fn consider_add(&self, node: NodeId, address: &str) -> Result<Considered, MembershipRefusal> {
        match self.membership.incarnation(node) {
            Some(known) if known.address == address => return Ok(Considered::Done),
            Some(known) => return Err(MembershipRefusal::AlreadyMember { address: known.address.clone() }),
            None => {}
        }
        if self.membership.members.len() >= Membership::MEMBERS_MAX {
            return Err(MembershipRefusal::TooManyMembers);
        }
        let member = self.joiner(node, address)?;
        let steps = vec![(Step::AddLearner, member.raft_id)];
        Ok(Considered::Propose(Change { token: None, steps, members: vec![member] }))
    }

    fn consider_remove(&mut self, node: NodeId) -> Result<Considered, MembershipRefusal> {
        let former = self.membership.incarnation(node).ok_or(MembershipRefusal::NotAMember)?.raft_id;
        if !self.make_dispensable(former)? {
            return Ok(Considered::Wait);
        }
        let steps = vec![(Step::Remove, former)];
        Ok(Considered::Propose(Change { token: None, steps, members: Vec::new() }))
    }

    fn consider_replace(&mut self, node: NodeId, address: &str) -> Result<Considered, MembershipRefusal> {
        let former = self.membership.incarnation(node).ok_or(MembershipRefusal::NotAMember)?;
        if former.address == address {
            return Ok(Considered::Done);
        }
        let former = former.raft_id;
        self.check_remaining(former)?;
        let member = self.joiner(node, address)?;
        if !self.make_dispensable(former)? {
            return Ok(Considered::Wait);
        }
        let steps = vec![(Step::Remove, former), (Step::AddLearner, member.raft_id)];
        Ok(Considered::Propose(Change { token: None, steps, members: vec![member] }))
    }

    /// Learners are promoted by themselves: there is nothing to do but to wait.
    fn consider_promote(&self, node: NodeId) -> Result<Considered, MembershipRefusal> {
        let member = self.membership.incarnation(node).ok_or(MembershipRefusal::NotAMember)?;
        let promoted = self.membership.is_voter(member.raft_id);
        Ok(if promoted { Considered::Done } else { Considered::Wait })
    }

    fn consider_transfer(&mut self, to: Option<NodeId>) -> Verdict {
        let Some(to) = to else {
            let begun = self.raw.raft.lead_transferee.is_some() || self.hand_over();
            return if begun { Verdict::Undecided } else { Verdict::Refused(MembershipRefusal::Unreachable) };
        };
        let Some(member) = self.membership.incarnation(to) else {
            return Verdict::Refused(MembershipRefusal::NotAMember);
        };
        let id = member.raft_id;
        if id == self.config.own.raft_id {
            return Verdict::Done { index: self.membership.index };
        }
        if !self.membership.voters.contains(&id) {
            return Verdict::Refused(MembershipRefusal::NotAVoter);
        }
        if !self.hears(id) {
            return Verdict::Refused(MembershipRefusal::Unreachable);
        }
        if self.raw.raft.lead_transferee.is_none() {
            log::info!("handing leadership over to node {to}, as was asked for");
            self.raw.transfer_leader(id.0);
        }
        Verdict::Undecided
    }

    /// Makes sure that the cluster can do without a member. False: this leader is that member, and hands over first.
    fn make_dispensable(&mut self, id: RaftId) -> Result<bool, MembershipRefusal> {
        self.check_remaining(id)?;
        if id == self.config.own.raft_id {
            self.hand_over();
            return Ok(false);
        }
        Ok(true)
    }

    /// Whether the voters that remain without `leaver` can go on.
    fn check_remaining(&self, leaver: RaftId) -> Result<(), MembershipRefusal> {
        if !self.membership.is_voter(leaver) {
            return Ok(());
        }
        let remain: Vec<RaftId> = self.membership.voters.iter().copied().filter(|id| *id != leaver).collect();
        let ready = remain.iter().filter(|id| self.is_dependable(**id)).count();
        if ready > remain.len() / 2 { Ok(()) } else { Err(MembershipRefusal::WouldLoseQuorum) }
    }

    /// The incarnation outside the membership that asked to be taken in as `node`, from `address`.
    fn joiner(&self, node: NodeId, address: &str) -> Result<Member, MembershipRefusal> {
        let mut elsewhere = None;
        for member in self.outside_joiners().filter(|member| member.raft_id.node() == node) {
            if member.address == address {
                return Ok(member.clone());
            }
            elsewhere = Some(member.address.clone());
        }
        Err(elsewhere
            .map_or(MembershipRefusal::NotThere, |address| MembershipRefusal::OtherAddress { address }))
    }
}

/// What is to be done for an operation.
enum Considered {
    /// It is so already.
    Done,
    /// It cannot be done yet, but something that it needs is under way.
    Wait,
    /// This.
    Propose(Change),
}
