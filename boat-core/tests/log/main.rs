//! The log against its contract, a small model, and every fault of its disk.

mod contract;
mod crashes;
mod damage;
mod faults;
mod model;
mod workload;
