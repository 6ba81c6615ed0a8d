//! Changing who takes part, and who leads.

use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rand::RngCore;
use tokio::sync::oneshot;
use tokio::time::Instant;
use xxhash_rust::xxh3::xxh3_128;

use super::{Interface, Node};
use crate::driver::Event;
use crate::membership::is_address;
use crate::replica::OperationResult;
use crate::{
    MemberStatus, MembershipError, MembershipOperation as Operation, MembershipRefusal, NodeId,
    OperationToken,
};

/// How long an operation waits for its result unless it is told otherwise.
const OPERATION_TIMEOUT: Duration = Duration::from_secs(30);
/// How much longer than its caller an operation waits for the driver's word that its time is over.
const DRIVER_GRACE: Duration = Duration::from_secs(1);
/// How many operations wait on one node, as its replica has it.
const OPERATIONS_MAX: usize = crate::replica::OPERATIONS_MAX;

/// Changing the membership. Each works on any node, is carried out by the leader, and is done when the change is committed
/// and durable. One change is made at a time.
///
/// ```
/// # use boat_core::transport::local::LocalNetwork;
/// # use boat_core::{Context, Model, Node};
/// # #[derive(Default, serde::Serialize, serde::Deserialize)]
/// # struct Echo;
/// # impl Model for Echo {
/// #     type Request = String;
/// #     type Response = String;
/// #     fn predict(&mut self, _: &Context, request: String) -> String { request }
/// # }
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// # let directory = tempfile::tempdir()?;
/// # let network = LocalNetwork::new();
/// # let start = |id: u16, members: &'static str| {
/// #     let node = Node::builder(id).data_dir(directory.path().join(id.to_string()));
/// #     (node.transport(network.transport()), members.parse())
/// # };
/// # let (builder, members) = start(0, "0=local:0");
/// let first = builder.members(members?).start(Echo).await?;
/// first.ready().await?;
/// # let (builder, members) = start(1, "0=local:0,1=local:1");
/// let second = builder.members(members?).join(true).start(Echo).await?;
/// first.add(1, "local:1").await?;     // gets the log ...
/// first.promote(1).await?;            // ... and its vote by itself: this waits for that
/// assert_eq!(first.members().len(), 2);
/// first.transfer_leader(1).await?;
/// second.remove(0).await?;
/// # second.ready().await?;
/// # second.shutdown().await?;
/// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
impl<I: Interface> Node<I> {
    /// Everybody in the membership, as this node knows it: whatever it has applied of the log.
    pub fn members(&self) -> Vec<MemberStatus> {
        self.status().members
    }

    /// Takes in a node that is no member. It must run, in an empty directory, with members of this cluster in its list (and
    /// [`NodeBuilder::join`](crate::NodeBuilder::join) unless that is the list of all members), and be reached at
    /// `address`. It is a learner at first, without a vote, and is promoted by itself once it has caught up; that may take
    /// as long as a replay. [`Node::promote`] waits for it.
    pub fn add(&self, node: impl Into<NodeId>, address: impl Into<String>) -> ChangeMembers<'_, I> {
        let (node, address) = (node.into(), address.into());
        ChangeMembers::new(self, Operation::Add { node, address })
    }

    /// Takes a node out. A leader hands over first. Refused if those that remain could not go on. The node that was removed
    /// ends with [`Error::Removed`](crate::Error::Removed) as soon as it hears of it, and never comes back as it was; it can
    /// be added again, and then begins with an empty log.
    pub fn remove(&self, node: impl Into<NodeId>) -> ChangeMembers<'_, I> {
        ChangeMembers::new(self, Operation::Remove { node: node.into() })
    }

    /// Puts another machine in a node's place: an empty one that runs under the same number and is reached at `address`. The
    /// former one may still live; it ends as if it had been removed. A node that lost its disk and comes back at the same
    /// address needs no such thing: it takes its own place by itself.
    pub fn replace(&self, node: impl Into<NodeId>, address: impl Into<String>) -> ChangeMembers<'_, I> {
        let (node, address) = (node.into(), address.into());
        ChangeMembers::new(self, Operation::Replace { node, address })
    }

    /// Waits until a node that was added has its vote. It gets that by itself once it has caught up.
    pub fn promote(&self, node: impl Into<NodeId>) -> ChangeMembers<'_, I> {
        ChangeMembers::new(self, Operation::Promote { node: node.into() })
    }

    /// Hands leadership over to a node with a vote.
    pub fn transfer_leader(&self, to: impl Into<NodeId>) -> ChangeMembers<'_, I> {
        ChangeMembers::new(self, Operation::TransferLeader { to: Some(to.into()) })
    }

    /// An operation that was put together elsewhere.
    pub fn change_members(&self, operation: Operation) -> ChangeMembers<'_, I> {
        ChangeMembers::new(self, operation)
    }
}

/// An operation on the membership that is about to be asked for: await it.
#[must_use = "nothing is asked before it is awaited"]
pub struct ChangeMembers<'a, I: Interface> {
    node: &'a Node<I>,
    operation: Operation,
    key: Option<String>,
    within: Duration,
}

impl<'a, I: Interface> ChangeMembers<'a, I> {
    fn new(node: &'a Node<I>, operation: Operation) -> Self {
        ChangeMembers { node, operation, key: None, within: OPERATION_TIMEOUT }
    }

    /// Names the operation: one that was carried out under this key is not carried out again, whichever node is asked. The
    /// last 32 are remembered. Without a key Boat names it itself, see [`MembershipError::Unknown`].
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// How long to wait for the result. Default 30 s.
    pub fn within(mut self, within: Duration) -> Self {
        self.within = within;
        self
    }

    async fn ask(self) -> Result<(), MembershipError> {
        if let Operation::Add { address, .. } | Operation::Replace { address, .. } = &self.operation
            && !is_address(address)
        {
            return Err(MembershipError::Invalid(format!("`{address}` is no address: write host:port")));
        }
        let shared = &self.node.inner.shared;
        if shared.stopping.load(Ordering::Acquire) {
            return Err(MembershipError::Stopped);
        }
        let key = self.key.unwrap_or_else(|| format!("{:016x}", rand::rngs::OsRng.next_u64()));
        // Zero stands for a change that nobody asked for.
        let token = OperationToken(xxh3_128(key.as_bytes()).max(1));
        let (result, answer) = oneshot::channel();
        let (operation, within, asked) = (self.operation.clone(), self.within, Instant::now());
        shared.inbox.push(Event::Operate { token, operation, within, result });
        let unknown = || MembershipError::Unknown { waited: asked.elapsed(), key: key.clone() };
        match tokio::time::timeout(within.saturating_add(DRIVER_GRACE), answer).await {
            Ok(Ok(OperationResult::Done)) => Ok(()),
            Ok(Ok(OperationResult::Refused(refusal))) => Err(refused(self.operation, refusal)),
            Ok(Ok(OperationResult::Overloaded)) => Err(MembershipError::Overloaded(OPERATIONS_MAX)),
            Ok(Ok(OperationResult::NoLeader)) => Err(MembershipError::NoLeader(asked.elapsed())),
            Ok(Ok(OperationResult::Unknown) | Err(_)) | Err(_) => Err(unknown()),
        }
    }
}

fn refused(operation: Operation, refusal: MembershipRefusal) -> MembershipError {
    MembershipError::Refused { operation, refusal }
}

impl<'a, I: Interface> IntoFuture for ChangeMembers<'a, I> {
    type Output = Result<(), MembershipError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send + 'a>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.ask())
    }
}
