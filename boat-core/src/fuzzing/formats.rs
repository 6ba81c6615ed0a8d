//! Commands, and the small files of a data directory.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use super::file::Inputs;
use super::{Read, Target, Verdict, both, round_trip};
use crate::apply::SessionLimits;
use crate::quarantine::{Decisions, Quarantine, QuarantineFile};
use crate::{
    Birth, ClusterId, Command, CommandView, Decision, Genesis, Member, MemberList, NodeId, Origin, RaftId,
    Request, RequestKind, SessionRequest, directory,
};

/// Where the checksum stands in the small files of a directory, and what it covers.
const CHECKSUM_AT: usize = 12;
const CHECKED_FROM: usize = 16;

pub(super) fn targets() -> Vec<Target> {
    vec![
        Target { name: "command", run: command, samples: commands },
        Target { name: "request", run: request, samples: requests },
        Target { name: "decisions", run: decisions, samples: decided },
        Target { name: "quarantine_file", run: quarantine_file, samples: quarantine_files },
        Target { name: "identity_file", run: identity_file, samples: identity_files },
        Target { name: "genesis_file", run: genesis_file, samples: genesis_files },
        Target { name: "member_list", run: member_list, samples: member_lists },
    ]
}

fn all_requests() -> Vec<Request> {
    let place = SessionRequest { session: 3, sequence: 9 };
    [
        (RequestKind::OpenSession, Origin::Opening(7), &b"\x10\0\0\0"[..]),
        (RequestKind::Predict, Origin::Session { request: place, lowest_unanswered: 8 }, b"{\"input\":1}"),
        (RequestKind::Feedback, Origin::Key(Bytes::from_static(b"\0user-7/42")), b"[1, 2]"),
        (RequestKind::Configure, Origin::Key(Bytes::new()), b""),
    ]
    .map(|(kind, origin, body)| Request { kind, origin, body: Bytes::from_static(body) })
    .to_vec()
}

fn encoded(request: &Request) -> Bytes {
    let mut bytes = Vec::new();
    request.encode(&mut bytes);
    bytes.into()
}

fn command(input: &[u8]) -> Verdict {
    if let Some(decision) = Decision::of_entry(input) {
        let stamp_ms = CommandView::new(input).map_or(0, |view| view.stamp_ms);
        return round_trip(Ok::<_, ()>(decision), |decision| {
            Decision::of_entry(&decision.encode(stamp_ms)).ok_or(())
        });
    }
    let read = Command::decode(&Bytes::copy_from_slice(input));
    round_trip(read, |command| Command::decode(&command.encode().into()))
}

fn commands() -> Vec<Vec<u8>> {
    let decision = Decision::Quarantine { position: 5, round: 1, forced: true };
    let batch = Command { stamp_ms: 1, seed: 2, requests: all_requests() };
    vec![batch.encode(), decision.encode(3), Decision::Retry { position: 5, round: 0 }.encode(4)]
}

fn request(input: &[u8]) -> Verdict {
    let read = Request::decode(&Bytes::copy_from_slice(input));
    round_trip(read, |request| Request::decode(&encoded(request)))
}

fn requests() -> Vec<Vec<u8>> {
    all_requests().iter().map(|request| encoded(request).to_vec()).collect()
}

fn decisions(input: &[u8]) -> Verdict {
    round_trip(Decisions::decode(input), |decisions| {
        let mut bytes = Vec::new();
        decisions.encode(&mut bytes);
        Decisions::decode(&bytes)
    })
}

fn some_decisions() -> Decisions {
    let mut decisions = Decisions::default();
    decisions.take(3, Decision::Retry { position: 5, round: 0 });
    decisions.take(4, Decision::Quarantine { position: 5, round: 1, forced: false });
    decisions
}

fn decided() -> Vec<Vec<u8>> {
    let mut bytes = Vec::new();
    some_decisions().encode(&mut bytes);
    vec![bytes]
}

/// Sets the checksum of a small file right.
fn seal(input: &[u8]) -> Vec<u8> {
    let mut sealed = input.to_vec();
    let checksum = crc32c::crc32c(sealed.get(CHECKED_FROM..).unwrap_or_default()).to_le_bytes();
    sealed.iter_mut().skip(CHECKSUM_AT).zip(checksum).for_each(|(byte, new)| *byte = new);
    sealed
}

/// A small file: its head, and behind it what it says.
fn small_file(magic: &[u8; 8], body: &[u8]) -> Vec<u8> {
    seal(&[&magic[..], &1_u32.to_le_bytes(), &[0; 4], body].concat())
}

fn quarantine_file(input: &[u8]) -> Verdict {
    both(input, seal(input), |input| {
        let files = Arc::new(Inputs(input.to_vec()));
        let read = QuarantineFile::new(files, "quarantine".into()).read();
        let Ok(quarantine) = read else { return Ok(Read::Refused) };
        round_trip(Ok(quarantine.encode()), |bytes| Quarantine::decode(bytes).map(|again| again.encode()))
    })
}

fn quarantine_files() -> Vec<Vec<u8>> {
    let mut quarantine = Quarantine::new();
    quarantine.decided(some_decisions());
    quarantine.doubt_up_to(0);
    quarantine.reached(0);
    quarantine.hold(7, 0);
    vec![small_file(b"BOATQUAR", &quarantine.encode())]
}

fn identity_file(input: &[u8]) -> Verdict {
    both(input, seal(input), |input| {
        let read = directory::identity(&Inputs(input.to_vec()), Path::new("data"));
        let Ok(Some(identity)) = read else { return Ok(Read::Refused) };
        round_trip(Ok(identity), |identity| {
            let numbers = [&identity.node.0.to_le_bytes()[..], &identity.birth.0.to_le_bytes()].concat();
            let body = [&numbers[..], &identity.boots.to_le_bytes()].concat();
            let again = directory::identity(&Inputs(small_file(b"BOATIDEN", &body)), Path::new("data"));
            again.map_err(drop)?.ok_or(())
        })
    })
}

fn identity_files() -> Vec<Vec<u8>> {
    let body = [&2_u16.to_le_bytes()[..], &77_u128.to_le_bytes(), &4_u64.to_le_bytes()].concat();
    vec![small_file(b"BOATIDEN", &body)]
}

fn genesis_body(genesis: &Genesis, own: RaftId) -> Vec<u8> {
    let mut body = own.0.to_le_bytes().to_vec();
    crate::membership::put_genesis(&mut body, genesis);
    body
}

fn genesis_file(input: &[u8]) -> Verdict {
    both(input, seal(input), |input| {
        let read = directory::genesis(&Inputs(input.to_vec()), Path::new("data"));
        let Ok(Some(known)) = read else { return Ok(Read::Refused) };
        round_trip(Ok(known), |(genesis, own)| {
            let file = small_file(b"BOATGENE", &genesis_body(genesis, *own));
            directory::genesis(&Inputs(file), Path::new("data")).map_err(drop)?.ok_or(())
        })
    })
}

fn genesis_files() -> Vec<Vec<u8>> {
    let member = |node| {
        let raft_id = RaftId::new(NodeId(node), 9);
        Member { raft_id, birth: Birth(5), address: format!("host-{node}:8000") }
    };
    let (members, former) = ((0..3).map(member).collect(), vec![ClusterId(1)]);
    let genesis = Genesis { cluster: ClusterId(8), former, members, limits: SessionLimits::default() };
    vec![small_file(b"BOATGENE", &genesis_body(&genesis, RaftId::new(NodeId(0), 9)))]
}

fn member_list(input: &[u8]) -> Verdict {
    let Ok(text) = std::str::from_utf8(input) else { return Ok(Read::Refused) };
    round_trip(text.parse::<MemberList>(), |list| list.to_string().parse())
}

fn member_lists() -> Vec<Vec<u8>> {
    vec![b"0=127.0.0.1:8000,2=[::1]:8002, 10=host:1".to_vec()]
}
