//! The models that come with Boat, and the trait behind which an engine runs its own.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::Xxh3;

use crate::Input;

/// A model that runs in this process, in an [`Engine`](crate::Engine) or behind a [`LocalPredictor`](crate::LocalPredictor).
///
/// # Contract
/// `predict` gives exactly one output per input, in order, and depends on nothing but the inputs since the model was made.
/// An engine runs it on a thread of its own; a [`LocalPredictor`](crate::LocalPredictor) runs it where it is called.
pub trait EngineModel: Send + 'static {
    /// Answers a batch of inputs, in order.
    fn predict(&mut self, inputs: &[Input]) -> Vec<String>;

    /// Whether an input takes microseconds at most and waits for nothing. A [`LocalPredictor`](crate::LocalPredictor) says so to
    /// Boat ([`Predictor::is_quick`](boat_core::Predictor::is_quick)), which then spares changes of threads; an engine does not
    /// ask. Default: no.
    fn is_quick(&self) -> bool {
        false
    }
}

/// Makes a fresh model: one that has seen no input.
pub type ModelFactory = Arc<dyn Fn() -> Box<dyn EngineModel> + Send + Sync>;

/// Answers each input with itself. Keeps no state.
#[derive(Debug, Clone, Copy, Default)]
pub struct Echo;

impl EngineModel for Echo {
    fn predict(&mut self, inputs: &[Input]) -> Vec<String> {
        inputs.iter().map(Input::to_string).collect()
    }

    fn is_quick(&self) -> bool {
        true
    }
}

/// A model whose every output depends on all inputs so far, in their order: a lost, repeated or swapped input shows.
///
/// The state starts as 16 zero bytes. Each input makes it the XXH3 128-bit hash, in big-endian order, of the old state
/// followed by [`Input::to_bytes`]; the output is `0x` and the new state as 32 hexadecimal digits. The `0x` is there
/// because Clipper inlines outputs that happen to be JSON numbers, and one bare hash in a million is one.
///
/// ```
/// use boat_clipper::{EngineModel, HashChain, Input};
///
/// let inputs = ["a", "b"].map(|text| Input::String(text.to_owned()));
/// let (mut once, mut twice) = (HashChain::default(), HashChain::default());
/// let outputs = once.predict(&inputs);
/// assert_eq!(outputs[0], twice.step(b"a"));
/// assert_eq!(outputs[1], twice.step(b"b"));
/// assert_ne!(outputs[1], HashChain::default().step(b"b"));
/// ```
#[derive(Debug, Clone, Default)]
pub struct HashChain {
    state: [u8; 16],
}

impl HashChain {
    /// Takes one input and gives its output.
    pub fn step(&mut self, input: &[u8]) -> String {
        let mut hasher = Xxh3::new();
        hasher.update(&self.state);
        hasher.update(input);
        let state = hasher.digest128();
        self.state = state.to_be_bytes();
        format!("{state:#034x}")
    }
}

impl EngineModel for HashChain {
    fn predict(&mut self, inputs: &[Input]) -> Vec<String> {
        inputs.iter().map(|input| self.step(&input.to_bytes())).collect()
    }

    fn is_quick(&self) -> bool {
        true
    }
}

/// Which of the models that come with Boat. Written `echo` and `hash-chain` in flags and files.
///
/// ```
/// use boat_clipper::ModelKind;
///
/// assert_eq!("hash-chain".parse(), Ok(ModelKind::HashChain));
/// assert_eq!(ModelKind::default(), ModelKind::Echo);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ModelKind {
    /// [`Echo`], the default.
    #[default]
    Echo,
    /// [`HashChain`].
    HashChain,
}

/// The text names no model.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no model is called {0:?}: use echo or hash-chain")]
pub struct UnknownModel(String);

impl ModelKind {
    /// What makes fresh models of this kind.
    pub fn factory(self) -> ModelFactory {
        match self {
            ModelKind::Echo => Arc::new(|| Box::new(Echo)),
            ModelKind::HashChain => Arc::new(|| Box::<HashChain>::default()),
        }
    }
}

impl FromStr for ModelKind {
    type Err = UnknownModel;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "echo" => Ok(ModelKind::Echo),
            "hash-chain" => Ok(ModelKind::HashChain),
            _ => Err(UnknownModel(text.to_owned())),
        }
    }
}

impl fmt::Display for ModelKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            ModelKind::Echo => "echo",
            ModelKind::HashChain => "hash-chain",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chain_is_the_documented_hash() {
        let first = xxhash_rust::xxh3::xxh3_128(&[&[0; 16], b"Hello".as_slice()].concat());
        let second = xxhash_rust::xxh3::xxh3_128(&[&first.to_be_bytes(), b"Hello".as_slice()].concat());
        let mut chain = HashChain::default();
        assert_eq!(chain.step(b"Hello"), format!("0x{first:032x}"));
        assert_eq!(chain.step(b"Hello"), format!("0x{second:032x}"));
    }

    #[test]
    fn a_factory_makes_fresh_models() {
        let make = ModelKind::HashChain.factory();
        let input = [Input::String("x".to_owned())];
        assert_eq!(make().predict(&input), make().predict(&input));
        let mut one = make();
        assert_ne!(one.predict(&input), one.predict(&input));
    }

    #[test]
    fn kinds_are_read_as_they_are_written() {
        for kind in [ModelKind::Echo, ModelKind::HashChain] {
            assert_eq!(kind.to_string().parse(), Ok(kind));
            assert_eq!(serde_json::to_string(&kind).unwrap(), format!("\"{kind}\""));
        }
        assert!("Echo".parse::<ModelKind>().is_err());
    }
}
