//! The examples are the programs beside this file; they share nothing but Boat's crates.
