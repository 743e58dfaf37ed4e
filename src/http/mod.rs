//! The proxy: the only part of epitome that serves HTTP.
//!
//! A request goes through these steps, in this order:
//!
//! 1. [`observe`]: the request gets an id (the client's `x-request-id`, or a new one), a tracing span, and
//!    finally a line in the log.
//! 2. [`keys`]: if clients need a key, a request without one ends here; the key is not passed on.
//! 3. Routing: `POST /v1/compact` and `/v1/compress`, `/v1/retrieve`, `/mcp`, `/healthz`,
//!    `/readyz`, `/metrics` are ours. A `POST` whose path ends as a dialect has
//!    it is a conversation ([`converse`]); every other path and method streams through ([`passthrough`]).
//! 4. For a conversation, [`options`] reads the `x-epitome-*` headers.
//! 5. [`body`] buffers the body up to `serve.body_limit_bytes`. A larger one streams through, and so does one
//!    for which there is no room left (`serve.bodies_bytes`), or which arrives too slowly
//!    (`serve.body_wait_ms`).
//! 6. [`admission`] decides immediately what needs no work, rejects requests beyond `serve.max_concurrent`,
//!    and enforces `serve.deadline_ms`.
//! 7. [`crate::rewrite`] plans, compacts and splices on a blocking thread.
//! 8. [`forward`] sends the new or original body upstream, and streams the answer back.
//! 9. `charge.rs` reads the usage as the answer passes, and enters it in the bill.
//! 10. [`shadow`]: a share of the compacted requests is answered a second time from the original, in the
//!    background, and the answers are compared.
//!
//! If anything fails in steps 5 to 7, the original goes upstream, and the answer's headers say why. When a
//! client disconnects, its compaction and its upstream request are cancelled.

mod account;
pub mod admission;
mod billing;
pub mod body;
mod charge;
pub mod compact;
pub mod compress;
pub mod converse;
mod encoding;
pub mod error;
pub mod forward;
mod guard;
pub mod headers;
pub mod keys;
#[cfg(feature = "mcp")]
mod mcp;
pub mod observe;
pub mod operate;
pub mod options;
pub mod passthrough;
pub mod retrieve;
pub mod server;
pub mod shadow;
pub mod state;
mod websocket;
mod window;
