//! What the fuzz targets check. Each body takes arbitrary bytes and panics if a property is violated. The
//! tests run them too, on seeds and on simple mutations of the seeds.

mod compact;
mod dice;
mod gguf;
mod json_text;
mod kinds;
mod material;
mod request;
mod rows;
mod sse;
mod tiles;

pub use compact::compact;
pub use gguf::{gguf, smallest_gguf};
pub use json_text::json_text;
pub use kinds::kinds;
pub use material::material;
pub use request::request;
pub use rows::rows;
pub use sse::sse;
