//! Clipper's contract, endpoint by endpoint and status by status, against whatever claims to keep it.
//!
//! Without more it runs against an [`Engine`](boat_clipper::Engine) of its own. Against another server, a real Clipper say:
//!
//! ```sh
//! BOAT_CLIPPER_URL=http://127.0.0.1:1337 BOAT_CLIPPER_ADMIN_URL=http://127.0.0.1:1338 \
//!     BOAT_CLIPPER_RPC=127.0.0.1:7000 cargo test -p boat-clipper --test conformance
//! ```
//!
//! Statuses, shapes and types are checked, and the two explanations of a default. What else is said is the server's own. What
//! hangs or crashes a real Clipper is asked of an engine only. Names are drawn anew by each run, so that a server that lives
//! on can be asked again.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "in a test a panic is the report; clippy excuses only functions marked as tests, not their helpers"
)]

#[path = "../it/http.rs"]
mod http;
mod management;
mod models;
mod query;
mod target;
