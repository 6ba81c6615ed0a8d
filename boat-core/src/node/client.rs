//! A client's session, as an embedding program holds it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::session::{ClientNumbers, Numbers, Open, RetryKey, SessionToken};
use super::{Inner, Interface, Node, Predict, Raw};
use crate::{RequestKind, SessionError};

/// Of the sessions that may be open, one in so many is kept for nodes' own.
const OWN_SESSIONS_ONE_IN: usize = 8;

/// An open session: a cheap handle that can be cloned and sent. Made by [`Node::session`].
///
/// Every request gets the next number. At most `sessions.session_outcomes_max` (64) of them may be without an answer, the
/// oldest such one and all behind it counted: one more is [`PredictError::Overloaded`](crate::PredictError::Overloaded)
/// before anything is sent. A request whose fate is [unknown](crate::PredictError::Unknown) keeps its number until it is asked
/// again with [`Predict::key`], here or through any other node, or [given up](Session::give_up).
///
/// ```
/// # use boat_core::{Context, Model, Node};
/// # use boat_core::transport::local::LocalNetwork;
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Default, Serialize, Deserialize)]
/// # struct Sum(u64);
/// # impl Model for Sum {
/// #     type Request = u64;
/// #     type Response = u64;
/// #     fn predict(&mut self, _: &Context, x: u64) -> u64 {
/// #         self.0 += x;
/// #         self.0
/// #     }
/// # }
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// # let directory = tempfile::tempdir()?;
/// # let node = Node::builder(0)
/// #     .data_dir(directory.path())
/// #     .members("0=local:0".parse()?)
/// #     .transport(LocalNetwork::new().transport())
/// #     .start(Sum::default())
/// #     .await?;
/// # node.ready().await?;
/// let session = node.session().await?;
/// session.predict(2).await?;
/// let answer = session.predict(3).await?;
/// assert_eq!(answer.output, 5);
/// # node.shutdown().await?;
/// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Session<I: Interface = Raw> {
    node: Node<I>,
    id: u64,
    token: SessionToken,
    numbers: Arc<ClientNumbers>,
}

impl<I: Interface> Session<I> {
    pub(super) async fn open(node: Node<I>) -> Result<Self, SessionError> {
        let inner = &node.inner;
        let open = inner.open_for_client(inner.request_timeout()).await?;
        let (id, token) = (open.id, SessionToken::new(open.id, open.secret));
        Ok(Session { node, id, token, numbers: Arc::new(ClientNumbers::new(open)) })
    }

    /// The position of its opening, which is its name in errors.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// What proves over HTTP that a request may be asked in this session (`Boat-Session`).
    pub fn token(&self) -> String {
        self.token.to_string()
    }

    /// Asks for a prediction. With [`Predict::key`], and the key that an unknown fate named, asks for that one again.
    pub fn predict(&self, request: I::Request) -> Predict<'_, I> {
        self.ask(RequestKind::Predict, I::encode(request))
    }

    /// Tells the model what turned out to be true.
    pub fn feedback(&self, request: I::Request) -> Predict<'_, I> {
        self.ask(RequestKind::Feedback, I::encode(request))
    }

    fn ask(&self, kind: RequestKind, body: Result<Bytes, String>) -> Predict<'_, I> {
        Predict::new(&self.node.inner, kind, body).in_session(&self.numbers)
    }

    /// Says that nobody will ask again for the request under this key, whose fate was unknown: its number no longer holds
    /// the others back, and its outcome is forgotten.
    pub fn give_up(&self, key: &str) {
        if let Some(retry) = RetryKey::read(key) {
            self.numbers.answered(retry.request);
        }
    }
}

impl Inner {
    /// Opens a session for a client, and leaves some room: were the table full of clients' sessions, nodes could open none of
    /// their own, and would take no request without a key.
    pub(super) async fn open_for_client(&self, within: Duration) -> Result<Open, SessionError> {
        let limits = &self.config.sessions;
        let sessions_max = limits.sessions_max - limits.sessions_max.div_ceil(OWN_SESSIONS_ONE_IN);
        if self.shared.applied().sessions >= sessions_max {
            return Err(SessionError::TooMany { sessions_max });
        }
        self.open(u32::try_from(limits.session_outcomes_max).unwrap_or(u32::MAX), within).await
    }
}

impl<I: Interface> Clone for Session<I> {
    fn clone(&self) -> Self {
        Session { node: self.node.clone(), id: self.id, token: self.token, numbers: self.numbers.clone() }
    }
}

impl<I: Interface> std::fmt::Debug for Session<I> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("id", &self.id).field("node", &self.node).finish_non_exhaustive()
    }
}
