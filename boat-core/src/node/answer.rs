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

impl<T> Answer<T> {
    /// A first outcome; set `replayed` on one that is told again.
    pub fn new(output: T, position: u64, term: u64, key: String) -> Self {
        Answer { output, position, term, replayed: false, key }
    }
}
