//! Version 0.1 of the contract (`wit/`): generated bindings, and the host's side of each interface.
//!
//! A later version of the contract gets a directory of its own beside this one. `bindings`, `cursor`,
//! `held` and `sink` import each other, because the generated code names the host's resource types.
pub(crate) mod bindings;
pub(crate) mod codec;
pub(crate) mod convert;
pub(crate) mod cursor;
pub(crate) mod held;
pub(crate) mod linker;
pub(crate) mod sink;
