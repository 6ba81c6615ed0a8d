//! A node: the handle that everything else holds.

mod answer;

pub use answer::Answer;
