//! Runs exporter guests: WebAssembly components that can waste their own share and nothing else.
//!
//! Read in this order: `limits` (what a guest may use), `engine` and `cache` (from bytes to compiled
//! code), `linker` with `wasi`, `cursor`, `sink` and `codec` (all that a guest can call), `state`
//! (what belongs to one instance), `exporter` and `encoder` (the calls into a guest), `error`.
//!
//! Everything async runs under Tokio, in a runtime with time enabled.
mod bindings;
mod cache;
mod codec;
mod convert;
mod cursor;
mod encoder;
mod engine;
mod error;
mod exporter;
mod limits;
mod linker;
mod log;
mod sink;
mod state;
mod wasi;

pub use encoder::{Block, EncodedBlock, FileEncoder, PlacedBlock};
pub use engine::{Sandbox, SandboxConfig};
pub use error::{Breach, ContractBreach, GuestError, Refusal, SandboxError, TrapKind};
pub use exporter::{ExporterGuest, Format, GuestOptions, OfferedClass, Selection};
pub use limits::SandboxLimits;
