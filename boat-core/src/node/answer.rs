//! What a prediction gives.

/// A prediction's outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Answer<T> {
    /// What the model said.
    pub output: T,
    /// The request's number in the replicated order.
    pub position: u64,
    /// The term of the entry that carried it.
    pub term: u64,
    /// Whether the request had been applied before: this is the first outcome again.
    pub replayed: bool,
    /// The key under which a retry gets this outcome again, while it is remembered.
    pub key: String,
}
