//! Every code, its cause, and what to do about it.
//!
//! Over HTTP an error is a problem document (RFC 9457) with a `code`, which stays the same, and `retry`: `never` (it would fail again),
//! `safe` (not applied: any time), `same_key` (only under the key that the answer names) or `same_request` (as it is: done twice is done
//! once). In Rust the same causes are the variants of
//! [`PredictError`](crate::PredictError), [`QueryError`](crate::QueryError), [`SessionError`](crate::SessionError),
//! [`OutcomeError`](crate::OutcomeError), [`MembershipError`](crate::MembershipError), [`QuarantineError`](crate::QuarantineError) and
//! [`WipeError`](crate::WipeError): those of one operation, so that a `match` shows what may happen.
//!
//! ```
//! use std::time::Duration;
//!
//! use boat_core::PredictError;
//!
//! let unknown = PredictError::Unknown { waited: Duration::from_secs(2), key: "user-7/42".into() };
//! assert!(unknown.may_be_applied());
//! assert!(!PredictError::DiskFull.may_be_applied());
//! ```
//!
//! # `invalid_request`
//!
//! Status 400, retry `never`.
//!
//! - *Cause.* The body is no JSON, the model does not take it, or a header is wrong.
//! - *Caller.* Look at `detail`, and at `line` and `column` where they are; correct the request. It was not applied.
//! - *Operator.* Nothing.
//!
//! # `forbidden`
//!
//! Status 403, retry `never`.
//!
//! - *Cause.* `/control` or `/admin` was asked from another machine or from a web page, or is not allowed on this node.
//! - *Caller.* Ask from where it is allowed.
//! - *Operator.* Start the node with `--allow-control` or `--allow-admin` if it is meant to take such requests.
//!
//! # `not_found`
//!
//! Status 404, retry `never`.
//!
//! - *Cause.* There is no such path, or no outcome is known under this key.
//! - *Caller.* Check the path. An outcome that is not known was never asked, is still on its way, or was forgotten: ask the request again under its key.
//! - *Operator.* Nothing.
//!
//! # `method_not_allowed`
//!
//! Status 405, retry `never`.
//!
//! - *Cause.* The path takes other methods.
//! - *Caller.* Use one that `Allow` names.
//! - *Operator.* Nothing.
//!
//! # `request_timeout`
//!
//! Status 408, retry `safe`.
//!
//! - *Cause.* The request's own bytes came too slowly.
//! - *Caller.* Send it again. It was not applied.
//! - *Operator.* Where it happens often, look at the network, or raise the limit.
//!
//! # `would_lose_quorum`
//!
//! Status 409, retry `safe`.
//!
//! - *Cause.* Without this node's data the others that are connected, and hold everything, would be no majority.
//! - *Caller.* Try again once more nodes are up and have caught up.
//! - *Operator.* Start the nodes that are down; wait for those that catch up.
//!
//! # `change_under_way`
//!
//! Status 409, retry `safe`.
//!
//! - *Cause.* Another change of the membership is not finished.
//! - *Caller.* Try again after a moment.
//! - *Operator.* If it lasts, look whether a majority of the members is up.
//!
//! # `not_a_member`
//!
//! Status 404, retry `never`.
//!
//! - *Cause.* There is no member with this number.
//! - *Caller.* Look at `/admin/members`.
//! - *Operator.* Nothing.
//!
//! # `already_member`
//!
//! Status 409, retry `never`.
//!
//! - *Cause.* The node is a member, at another address.
//! - *Caller.* Replace it, if another machine is meant.
//! - *Operator.* Nothing: a node that moves says so itself.
//!
//! # `not_there`
//!
//! Status 409, retry `safe`.
//!
//! - *Cause.* No node with this number has asked to be taken in.
//! - *Caller.* Start it first, with `join` and a list that names members; then try again.
//! - *Operator.* Check that the new node reaches the members, and they it.
//!
//! # `other_address`
//!
//! Status 409, retry `never`.
//!
//! - *Cause.* The node that asked to be taken in says that it is reached elsewhere.
//! - *Caller.* Name the address that it says, or start it with the other.
//! - *Operator.* Nothing.
//!
//! # `not_a_voter`
//!
//! Status 409, retry `safe`.
//!
//! - *Cause.* The node that is to lead has no vote yet.
//! - *Caller.* Wait until it has caught up.
//! - *Operator.* Nothing.
//!
//! # `too_many_members`
//!
//! Status 409, retry `never`.
//!
//! - *Cause.* There are as many members as there may be.
//! - *Caller.* Remove one first.
//! - *Operator.* Nothing.
//!
//! # `session_expired`
//!
//! Status 410, retry `never`.
//!
//! - *Cause.* The session was not used for ten minutes of log time, or was never open. This request was not applied; an earlier attempt in that session may have been.
//! - *Caller.* Open another session. Whether an earlier attempt ran is not known any more.
//! - *Operator.* Where it happens to clients that are alive, raise `sessions.session_age_ms_max`.
//!
//! # `outcome_forgotten`
//!
//! Status 410, retry `never`.
//!
//! - *Cause.* The request was answered, and its client said that it had the answer. This attempt was not applied.
//! - *Caller.* Do not acknowledge what you still need.
//! - *Operator.* Nothing.
//!
//! # `body_too_large`
//!
//! Status 413, retry `never`.
//!
//! - *Cause.* The body is longer than this node takes.
//! - *Caller.* Send less.
//! - *Operator.* Raise `limits.request_bytes_max` on all nodes, if requests are meant to be so long.
//!
//! # `unsupported_media_type`
//!
//! Status 415, retry `never`.
//!
//! - *Cause.* The body is said to be something else than plain JSON in UTF-8.
//! - *Caller.* Send `application/json`, not compressed.
//! - *Operator.* Nothing.
//!
//! # `key_reused`
//!
//! Status 422, retry `never`.
//!
//! - *Cause.* The key stands for another request, at `position`.
//! - *Caller.* Use a new key for each request, and the same one for its retries only.
//! - *Operator.* Nothing.
//!
//! # `rejected`
//!
//! Status 422, retry `never`.
//!
//! - *Cause.* The model refused the input, as it would on every node. That is the outcome at `position`.
//! - *Caller.* Correct the input.
//! - *Operator.* Nothing.
//!
//! # `quarantined`
//!
//! Status 500, retry `never`.
//!
//! - *Cause.* The request broke the models of a majority, and was put aside. That is the outcome at `position`, for ever.
//! - *Caller.* Do not send it again. Tell whoever keeps the model.
//! - *Operator.* Mend the model: the request's body is in the log at `position`.
//!
//! # `overloaded`
//!
//! Status 503, retry `safe`.
//!
//! - *Cause.* Too many requests, bytes or connections wait already. This one was not applied.
//! - *Caller.* Wait as long as `Retry-After` says, and longer each time.
//! - *Operator.* Find what is slow: the model, a disk, or too little room (`limits.proposals_max`).
//!
//! # `unreachable`
//!
//! Status 503, retry `safe`.
//!
//! - *Cause.* The leader does not hear from the node that is to lead.
//! - *Caller.* Try again once it is up.
//! - *Operator.* Look at that node and the network between.
//!
//! # `no_leader`
//!
//! Status 503, retry `safe`.
//!
//! - *Cause.* Fewer than a majority of the members see each other. The request was not applied.
//! - *Caller.* Try again, through any node.
//! - *Operator.* Start the nodes that are down; look at the network. After the loss of a majority of the disks see [membership](super::membership).
//!
//! # `key_table_full`
//!
//! Status 503, retry `safe`.
//!
//! - *Cause.* The table of keys is full of keys that are too young to be forgotten. The request was not applied.
//! - *Caller.* Try again later, use a session, or send no key.
//! - *Operator.* Raise `sessions.key_table_bytes_max`, if memory allows.
//!
//! # `behind`
//!
//! Status 503, retry `safe`.
//!
//! - *Cause.* The node has not applied the position that was asked for in time.
//! - *Caller.* Try again, or ask another node.
//! - *Operator.* Look whether the node replays (`/status`), or its model is slow.
//!
//! # `backend_unavailable`
//!
//! Status 503, retry `safe`.
//!
//! - *Cause.* The model's backend could not be asked a query.
//! - *Caller.* Try again, or ask another node.
//! - *Operator.* Look at the backend.
//!
//! # `query_unsupported`
//!
//! Status 501, retry `never`.
//!
//! - *Cause.* The model answers no queries: its predictions change it.
//! - *Caller.* Ask for a prediction.
//! - *Operator.* Nothing; a model in Rust answers queries with `Model::query`.
//!
//! # `not_ready`
//!
//! Status 503, retry `safe`.
//!
//! - *Cause.* `/readyz`: the node does not serve yet. It joins, replays, or has found no leader.
//! - *Caller.* Ask another node.
//! - *Operator.* Look at `phase` and `replay` in `/status`.
//!
//! # `not_live`
//!
//! Status 503, retry `safe`.
//!
//! - *Cause.* `/livez`: a part of the node has stopped.
//! - *Caller.* Ask another node.
//! - *Operator.* Start the process again; its log says why.
//!
//! # `shutting_down`
//!
//! Status 503, retry `safe`.
//!
//! - *Cause.* The node is ending. The request was not applied.
//! - *Caller.* Ask another node.
//! - *Operator.* Nothing.
//!
//! # `unknown`
//!
//! Status 504, retry `same_key`.
//!
//! - *Cause.* There was no outcome in time: the request may have been applied, or may yet be.
//! - *Caller.* Send the same body again with the `key` of the answer as `Idempotency-Key`, to any node: it is applied once at most.
//! - *Operator.* Where it happens often, look at leaders that change, slow models and slow disks.
//!
//! # `undecided`
//!
//! Status 504, retry `same_request`.
//!
//! - *Cause.* A quarantine that an operator asked for was not decided in time: no leader, perhaps. It may yet be.
//! - *Caller.* Ask for it again. One that was decided meanwhile is told as done.
//! - *Operator.* Look whether a majority of the nodes see each other. `health.held_positions` in `/status` tells what is held.
//!
//! # `disk_full`
//!
//! Status 507, retry `safe`.
//!
//! - *Cause.* Less than `limits.free_bytes_min` is left on the disk of the node, or of the leader. The request was not applied.
//! - *Caller.* Try again later, or through another node.
//! - *Operator.* Make room. The node goes on by itself.
