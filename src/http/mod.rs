//! The proxy: the only part of epitome that serves HTTP.
//!
//! A request goes through these steps, in this order:
//!
//! 1. [`observe`]: it gets an id (the client's `x-request-id`, or a new one), a tracing span, and
//!    in the end a line in the log.
//! 2. [`keys`]: where clients need a key, a request without one ends here, and the key goes no further.
//! 3. Routing: `POST /v1/chat/completions`, `POST /v1/compact`, `/healthz`, `/readyz`, `/metrics`;
//!    every other path and method streams through ([`passthrough`]).
//! 4. For a chat request, [`options`] reads the `x-epitome-*` headers.
//! 5. [`body`] reads the body up to `serve.body_limit_bytes`; a larger one streams through, and so
//!    does one for which others leave no room (`serve.bodies_bytes`), or that comes too slowly
//!    (`serve.body_wait_ms`).
//! 6. [`admission`] decides at once what can be decided without work, turns away what is beyond
//!    `serve.max_concurrent`, and watches `serve.deadline_ms`.
//! 7. [`rewrite`] plans, compacts and splices on a blocking thread.
//! 8. [`forward`] sends the body, new or original, upstream, and streams the answer back.
//! 9. [`shadow`]: a share of the compacted requests is answered a second time from the original, in
//!    the background, and the answers are compared.
//!
//! Whatever goes wrong from 5 to 7, the original goes upstream, and the answer's headers say why.
//! A client that leaves stops the compaction, the upstream request, or both.

pub mod account;
pub mod admission;
pub mod body;
pub mod chat;
pub mod compact;
pub mod error;
pub mod forward;
mod guard;
pub mod headers;
pub mod keys;
pub mod observe;
pub mod operate;
pub mod options;
pub mod passthrough;
pub mod pipeline;
pub mod rewrite;
pub mod server;
pub mod shadow;
pub mod state;
