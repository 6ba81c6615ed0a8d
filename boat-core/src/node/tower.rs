//! A node as a `tower` service: whatever middleware there is can stand before it.

use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};

use tokio::sync::{AcquireError, OwnedSemaphorePermit};

use super::{Answer, Interface, Node};
use crate::PredictError;

/// A prediction that a [`NodeService`] is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeRequest<R> {
    request: R,
    key: Option<String>,
}

impl<R> NodeRequest<R> {
    /// A request without a key: Boat names it itself.
    pub fn new(request: R) -> Self {
        NodeRequest { request, key: None }
    }

    /// Names the request, see [`Predict::key`](crate::Predict::key): what middleware that retries needs.
    #[must_use]
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }
}

type Acquiring = Pin<Box<dyn Future<Output = Result<OwnedSemaphorePermit, AcquireError>> + Send + Sync>>;

/// A node as a `tower` service, made by [`Node::service`]. Clones are the same service.
///
/// `poll_ready` is backpressure: it waits while `limits.proposals_max` requests of the node's services are under way. (Requests
/// that come to the node in other ways are not counted: with those, and beyond `limits.proposal_bytes_max`, a request that
/// was ready for can still be [`PredictError::Overloaded`].) A ready service that is dropped makes room for another.
pub struct NodeService<I: Interface> {
    node: Node<I>,
    acquiring: Option<Acquiring>,
    permit: Option<OwnedSemaphorePermit>,
}

impl<I: Interface> Node<I> {
    /// This node's predictions as a `tower` service.
    pub fn service(&self) -> NodeService<I> {
        NodeService { node: self.clone(), acquiring: None, permit: None }
    }
}

impl<I: Interface> tower_service::Service<NodeRequest<I::Request>> for NodeService<I>
where
    I::Request: 'static,
{
    type Response = Answer<I::Response>;
    type Error = PredictError;
    type Future = Pin<Box<dyn Future<Output = Result<Answer<I::Response>, PredictError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), PredictError>> {
        let inner = &self.node.inner;
        if inner.shared.stopping.load(Ordering::Acquire) {
            return Poll::Ready(Err(PredictError::Stopped));
        }
        if self.permit.is_none() {
            let acquire = || -> Acquiring { Box::pin(inner.permits.clone().acquire_owned()) };
            let acquired = ready!(self.acquiring.get_or_insert_with(acquire).as_mut().poll(context));
            self.acquiring = None;
            self.permit = Some(acquired.map_err(|_| PredictError::Stopped)?);
        }
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: NodeRequest<I::Request>) -> Self::Future {
        let (node, permit) = (self.node.clone(), self.permit.take());
        Box::pin(async move {
            // Held until the answer is there. Who did not ask whether there is room is taken as everybody else.
            let _permit = permit;
            let NodeRequest { request, key } = request;
            match key {
                Some(key) => node.predict(request).key(key).await,
                None => node.predict(request).await,
            }
        })
    }
}

impl<I: Interface> Clone for NodeService<I> {
    fn clone(&self) -> Self {
        self.node.service()
    }
}

impl<I: Interface> std::fmt::Debug for NodeService<I> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NodeService").field("node", &self.node).finish_non_exhaustive()
    }
}
