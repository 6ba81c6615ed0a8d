//! `/admin/members` and `/admin/leader`: an operator on a node's own machine changes who takes part, and who leads.

use std::sync::Arc;

use axum::extract::{Extension, Path, Request, State};
use hyper::HeaderMap;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::connection::Peer;
use super::control::check_caller;
use super::headers::Asked;
use super::problem::{Code, Problem};
use super::routes::whole;
use super::{Frontend, Reply, Service, body};
use crate::{MembershipError, MembershipOperation as Operation, MembershipRefusal, NodeId};

/// How long a request may be.
const REQUEST_BYTES_MAX: usize = 1_024;
/// How long an operation waits for its result when it does not say, in seconds.
const WAIT_SECONDS: u64 = 30;

/// What `POST /admin/members` takes.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Addition {
    node: NodeId,
    address: String,
    /// Whether to put it in the place of the node that holds its number.
    #[serde(default)]
    replace: bool,
}

/// What `POST /admin/leader` takes.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Transfer {
    node: Option<NodeId>,
}

pub(super) async fn members<S: Service>(State(frontend): State<Arc<Frontend<S>>>) -> Reply {
    listed(&frontend)
}

pub(super) async fn add<S: Service>(
    State(frontend): State<Arc<Frontend<S>>>,
    Extension(peer): Extension<Arc<Peer>>,
    request: Request,
) -> Reply {
    operate(&frontend, &peer, request, |addition: Addition| {
        let Addition { node, address, replace } = addition;
        if replace { Operation::Replace { node, address } } else { Operation::Add { node, address } }
    })
    .await
}

pub(super) async fn transfer<S: Service>(
    State(frontend): State<Arc<Frontend<S>>>,
    Extension(peer): Extension<Arc<Peer>>,
    request: Request,
) -> Reply {
    operate(&frontend, &peer, request, |Transfer { node }| Operation::TransferLeader { to: node }).await
}

pub(super) async fn remove<S: Service>(
    State(frontend): State<Arc<Frontend<S>>>,
    Extension(peer): Extension<Arc<Peer>>,
    Path(node): Path<String>,
    request: Request,
) -> Reply {
    let (head, _) = request.into_parts();
    let removed = async {
        check(&frontend, &peer, &head.headers)?;
        let node = node.parse().map_err(|_| invalid(format!("`{node}` is no node's number")))?;
        ask(&frontend, &Asked::read(&head.headers), Operation::Remove { node }).await
    };
    reply(removed.await)
}

async fn operate<S: Service, T: DeserializeOwned>(
    frontend: &Frontend<S>,
    peer: &Peer,
    request: Request,
    operation: impl FnOnce(T) -> Operation,
) -> Reply {
    let operated = async {
        let (head, body) = request.into_parts();
        check(frontend, peer, &head.headers)?;
        let asked = Asked::read(&head.headers);
        asked.check_content_type()?;
        let body = body::collect(body, REQUEST_BYTES_MAX, frontend.options.body_timeout()).await?;
        body::check_json(&body)?;
        let read = serde_json::from_slice(&body)
            .map_err(|error| invalid(error.to_string()).at(error.line(), error.column()))?;
        ask(frontend, &asked, operation(read)).await
    };
    reply(operated.await)
}

fn reply(result: Result<Reply, Problem>) -> Reply {
    result.unwrap_or_else(Problem::into_reply)
}

fn check<S: Service>(frontend: &Frontend<S>, peer: &Peer, fields: &HeaderMap) -> Result<(), Problem> {
    if !frontend.options.allow_admin {
        return Err(Problem::new(
            Code::Forbidden,
            "this node was not started with --allow-admin (http.allow_admin)",
        ));
    }
    check_caller("/admin", peer.address.ip(), fields)
}

async fn ask<S: Service>(
    frontend: &Frontend<S>,
    asked: &Asked<'_>,
    operation: Operation,
) -> Result<Reply, Problem> {
    let within = frontend.options.request_timeout(Some(asked.wait_seconds.unwrap_or(WAIT_SECONDS)));
    let key = asked.idempotency_key()?.map(|key| key.key().to_owned());
    frontend.service.change_members(operation, key, within).await?;
    Ok(listed(frontend))
}

fn listed<S: Service>(frontend: &Frontend<S>) -> Reply {
    let status = frontend.service.status();
    let body = json!({ "leader": status.leader, "members": status.members });
    whole("application/json", body.to_string())
}

fn invalid(reason: String) -> Problem {
    Problem::new(Code::InvalidRequest, reason)
}

impl From<MembershipError> for Problem {
    fn from(error: MembershipError) -> Self {
        let code = match &error {
            MembershipError::Invalid(_) => Code::InvalidRequest,
            MembershipError::Refused { refusal, .. } => code_of(refusal),
            MembershipError::Overloaded(_) => Code::Overloaded,
            MembershipError::NoLeader(_) => Code::NoLeader,
            MembershipError::Stopped => Code::ShuttingDown,
            MembershipError::Unknown { .. } => Code::Unknown,
        };
        let mut problem = Problem::new(code, error.to_string());
        if let MembershipError::Unknown { key, .. } = error {
            problem.key = Some(key);
        }
        problem
    }
}

fn code_of(refusal: &MembershipRefusal) -> Code {
    match refusal {
        MembershipRefusal::WouldLoseQuorum => Code::WouldLoseQuorum,
        MembershipRefusal::ChangeUnderWay => Code::ChangeUnderWay,
        MembershipRefusal::NotAMember => Code::NotAMember,
        MembershipRefusal::AlreadyMember { .. } => Code::AlreadyMember,
        MembershipRefusal::NotThere => Code::NotThere,
        MembershipRefusal::OtherAddress { .. } => Code::OtherAddress,
        MembershipRefusal::NotAVoter => Code::NotAVoter,
        MembershipRefusal::Unreachable => Code::Unreachable,
        MembershipRefusal::TooManyMembers => Code::TooManyMembers,
    }
}
