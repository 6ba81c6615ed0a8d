//! The two messages of the handshake.

use boat_core::NodeId;
use boat_core::transport::{Hello, LogEnd, Refusal};
use bytes::Bytes;
use prost::Message;

use super::{Malformed, names, proto};

/// The dialer's first words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Opening {
    /// Who dials.
    pub(crate) hello: Hello,
    /// Whom it means to reach.
    pub(crate) to: NodeId,
}

/// What the acceptor answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Welcome: this is who I am.
    Hello(Hello),
    /// Go away.
    Refusal(Refusal),
}

impl Opening {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let hello = Some(encode_hello(&self.hello));
        proto::Opening { hello, to: u32::from(self.to.0) }.encode_to_vec()
    }

    pub(crate) fn decode(body: Bytes) -> Result<Self, Malformed> {
        let opening = proto::Opening::decode(body).map_err(|_| Malformed("opening"))?;
        let hello = opening.hello.ok_or(Malformed("opening"))?;
        Ok(Opening { hello: decode_hello(&hello)?, to: names::node_id(opening.to)? })
    }
}

impl Answer {
    pub(crate) fn encode(&self) -> Vec<u8> {
        use proto::answer::Verdict;
        let verdict = match self {
            Answer::Hello(hello) => Verdict::Hello(encode_hello(hello)),
            Answer::Refusal(refusal) => Verdict::Refusal(encode_refusal(*refusal).into()),
        };
        proto::Answer { verdict: Some(verdict) }.encode_to_vec()
    }

    pub(crate) fn decode(body: Bytes) -> Result<Self, Malformed> {
        use proto::answer::Verdict;
        let answer = proto::Answer::decode(body).map_err(|_| Malformed("answer"))?;
        match answer.verdict.ok_or(Malformed("answer"))? {
            Verdict::Hello(hello) => decode_hello(&hello).map(Answer::Hello),
            Verdict::Refusal(refusal) => decode_refusal(refusal).map(Answer::Refusal),
        }
    }
}

fn encode_hello(hello: &Hello) -> proto::Hello {
    proto::Hello {
        node: u32::from(hello.node.0),
        cluster: hello.cluster.map(|cluster| names::u128_to_bytes(cluster.0)),
        raft_id: hello.raft_id.map(|id| id.0),
        birth: names::u128_to_bytes(hello.birth.0),
        boot: hello.boot,
        nonce: hello.nonce,
        log: hello.log.map(|LogEnd { term, last_index }| proto::LogEnd { term, last_index }),
    }
}

fn decode_hello(hello: &proto::Hello) -> Result<Hello, Malformed> {
    let node = names::node_id(hello.node)?;
    let raft_id = hello.raft_id.map(names::raft_id).transpose()?;
    if raft_id.is_some_and(|id| id.node() != node) {
        return Err(Malformed("hello: its Raft id is another node's"));
    }
    Ok(Hello {
        node,
        cluster: hello.cluster.as_ref().map(names::cluster_id).transpose()?,
        raft_id,
        birth: names::birth(&hello.birth)?,
        boot: hello.boot,
        nonce: hello.nonce,
        log: hello.log.map(|proto::LogEnd { term, last_index }| LogEnd { term, last_index }),
    })
}

pub(super) fn encode_refusal(refusal: Refusal) -> proto::Refusal {
    match refusal {
        Refusal::OtherCluster => proto::Refusal::OtherCluster,
        Refusal::WrongNode => proto::Refusal::WrongNode,
        Refusal::StaleDirectory => proto::Refusal::StaleDirectory,
        Refusal::Version => proto::Refusal::Version,
        Refusal::Superseded => proto::Refusal::Superseded,
    }
}

pub(super) fn decode_refusal(number: i32) -> Result<Refusal, Malformed> {
    match proto::Refusal::try_from(number) {
        Ok(proto::Refusal::OtherCluster) => Ok(Refusal::OtherCluster),
        Ok(proto::Refusal::WrongNode) => Ok(Refusal::WrongNode),
        Ok(proto::Refusal::StaleDirectory) => Ok(Refusal::StaleDirectory),
        Ok(proto::Refusal::Version) => Ok(Refusal::Version),
        Ok(proto::Refusal::Superseded) => Ok(Refusal::Superseded),
        Ok(proto::Refusal::Unspecified) | Err(_) => Err(Malformed("refusal")),
    }
}
