//! Runs guests: WebAssembly components that can use up their own limits and nothing else.
//!
//! Read in this order: `engine` (from bytes to compiled code) with `component` (what is checked before),
//! `compiler` and `compile_guest` (the process that compiles, seen from outside and from within),
//! `cache` and `config`; `exporter` and `encoder` (the calls into an exporter), `transform` with `shape` and
//! `edits` (those into a transform), `about` (what a guest says of itself), `instance` (one instance,
//! and how its calls end), `v0_1` (the contract: `linker` with `wasi` names everything that a guest can
//! call; `cursor`, `sink` and `codec` do the work), `state` with `compressor` (what belongs to one
//! instance), `clock` (what it used), `quota` (what its owner may use), `log`, `limits`, `error`. Each imports only from those after
//! it; `error` also uses `log` and `limits`.
//!
//! All async functions need a Tokio runtime with time enabled.
mod about;
mod cache;
mod clock;
mod compile_guest;
mod compiler;
mod component;
mod compressor;
mod config;
mod edits;
mod encoder;
mod engine;
mod error;
mod exporter;
mod instance;
mod limits;
mod log;
mod quota;
mod shape;
mod state;
mod transform;
mod v0_1;
mod wasi;

pub use about::{About, KnownOption};
pub use compile_guest::compile_guest;
pub use compiler::Compiler;
pub use component::{Declared, GuestKind};
pub use encoder::{Block, EncodedBlock, FileEncoder, PlacedBlock};
pub use engine::{Guest, Sandbox, SandboxConfig};
pub use error::{
    Breach, CompilerLimit, ContractBreach, GuestError, Refusal, SandboxError, TransformBreach,
    TrapKind,
};
pub use exporter::{ExporterGuest, Format, GuestOptions, GuestRun, OfferedClass, Selection};
pub use limits::{MAX_BLOCKS_PER_FILE, SandboxLimits};
pub use quota::{InstanceQuota, ReservedInstances};
pub use shape::Reach;
pub use transform::{RefusedRow, TransformGuest, TransformRun, Transformed, Transformer};
pub use v0_1::linker::VERSION as CONTRACT_VERSION;
