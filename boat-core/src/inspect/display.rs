//! An inspection as text for people.

use std::fmt;

use super::{
    GenesisView, HardStateView, IdentityView, Inspection, LogView, MemberView, MembershipView, SegmentView,
    SnapshotView, TornTailView, WatermarkView,
};
use crate::RaftId;

impl fmt::Display for Inspection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "directory   {}", self.directory.display())?;
        match &self.identity {
            Some(IdentityView { node, birth, boots }) => {
                write!(f, "\nidentity    node {node}, birth {birth}, started {boots} times")?;
            }
            None => write!(f, "\nidentity    none")?,
        }
        match &self.genesis {
            Some(GenesisView { cluster, raft_id, members }) => {
                write!(f, "\ncluster     {cluster}, in which this is {raft_id}")?;
                write!(f, "\ngenesis     founded with {} members", members.len())?;
                members.iter().try_for_each(|member| write!(f, "\n            {member}"))?;
            }
            None => write!(f, "\ncluster     none")?,
        }
        if let Some(why) = &self.stale {
            write!(f, "\nstale       {why}")?;
        }
        match &self.log {
            Some(log) => write!(f, "\n{log}")?,
            None => write!(f, "\nlog         none")?,
        }
        for snapshot in &self.snapshots {
            let SnapshotView { file, bytes, index, position, .. } = snapshot;
            write!(f, "\nsnapshot    {file}  {bytes:>11} bytes  up to entry {index}, position {position}")?;
        }
        self.problems.iter().try_for_each(|problem| write!(f, "\nPROBLEM     {problem}"))
    }
}

impl fmt::Display for LogView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let LogView { first_index, last_index, last_term, .. } = self;
        match last_index {
            0 => write!(f, "entries     none")?,
            _ => write!(f, "entries     {first_index} to {last_index}, the last of term {last_term}")?,
        }
        match self.last_position {
            Some(0) => write!(f, "\npositions   none")?,
            Some(last) => write!(f, "\npositions   1 to {last}")?,
            None => write!(f, "\npositions   not known")?,
        }
        let HardStateView { term, vote, commit } = &self.hard_state;
        write!(f, "\nhard state  term {term}, vote {}, commit {commit}", named(*vote))?;
        let WatermarkView { term, vote, last_index, last_term, segment, segment_bytes } = &self.watermark;
        write!(
            f,
            "\nwatermark   term {term}, vote {}, entry {last_index} of term {last_term}, ",
            named(*vote)
        )?;
        write!(f, "segment {segment:016x} up to byte {segment_bytes}")?;
        match &self.membership {
            Some(membership) => write!(f, "\nmembership  {membership}")?,
            None => write!(f, "\nmembership  not known without a genesis")?,
        }
        if let Some(latest) = &self.membership_latest {
            write!(f, "\nlatest, not committed: {latest}")?;
        }
        write!(f, "\nsegments    {}", self.segments.len())?;
        self.segments.iter().try_for_each(|segment| write!(f, "\n            {segment}"))?;
        self.unfinished.iter().try_for_each(|name| write!(f, "\nunfinished  {name}"))?;
        if let Some(TornTailView { file, offset, bytes, why }) = &self.torn_tail {
            write!(f, "\ntorn tail   {}: {bytes} bytes at byte {offset}: {why}", file.display())?;
        }
        Ok(())
    }
}

fn named(vote: Option<RaftId>) -> String {
    vote.map_or_else(|| "none".to_owned(), |id| id.to_string())
}

impl fmt::Display for MembershipView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} members as of entry {}", self.members.len(), self.index)?;
        self.members.iter().try_for_each(|member| write!(f, "\n            {member}"))
    }
}

impl fmt::Display for MemberView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}: {}", self.raft_id, self.address, self.role)
    }
}

impl fmt::Display for SegmentView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sealed = if self.sealed { "sealed" } else { "active" };
        write!(f, "{}  {:>11} bytes  {sealed}", self.file, self.bytes)?;
        if let (Some(first), Some(last)) = (self.first_index, self.last_index) {
            write!(f, "  entries {first} to {last}")?;
        }
        if let (Some(first), Some(last)) = (self.first_position, self.last_position) {
            write!(f, "  positions {first} to {last}")?;
        }
        Ok(())
    }
}
