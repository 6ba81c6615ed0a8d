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
    /// Whether the node that answers had applied the request before: this is the first outcome again. Who asks while the node has
    /// yet to apply the request gets the same answer when it does, and then this is false: so does a retry through a node that is
    /// behind the one that answered first. Position and outcome do not tell them apart either; they are the same.
    pub replayed: bool,
    /// The key under which a retry gets this outcome again, while it is remembered.
    pub key: String,
}

impl<T> Answer<T> {
    /// An outcome as it is given when the request is applied; set `replayed` on one that is remembered.
    pub fn new(output: T, position: u64, term: u64, key: String) -> Self {
        Answer { output, position, term, replayed: false, key }
    }
}
