//! What a component says of itself, read before it is compiled: its format, its sizes, its imports.
//!
//! This takes time and memory in proportion to the bytes. The compiler, which may take much more, gets
//! only what passes.
use std::fmt;

use wasmparser::{Encoding, Parser, Payload};

use crate::error::SandboxError;
use crate::limits::{MAX_FUNCTIONS, MAX_MODULES, MAX_NESTING, SandboxLimits};
use crate::log::escape;
use crate::v0_1::linker;

/// What a guest does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GuestKind {
    /// It chooses classes and writes files.
    Exporter,
    /// It rewrites rows.
    Transform,
}

impl fmt::Display for GuestKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            GuestKind::Exporter => "exporter",
            GuestKind::Transform => "transform",
        })
    }
}

/// What a component says of itself before it is compiled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Declared {
    /// What it does.
    pub kind: GuestKind,
    /// The interfaces that it imports.
    pub imports: Vec<String>,
}

/// Checks all that can be checked without compiling. The types of imports and exports are left to the
/// linker.
pub(crate) fn check(bytes: &[u8], limits: &SandboxLimits) -> Result<Declared, SandboxError> {
    if bytes.len() > limits.component_bytes {
        return Err(SandboxError::TooLarge { bytes: bytes.len(), limit: limits.component_bytes });
    }
    check_format(bytes)?;
    check_sections(bytes).map_err(|error| match error {
        Unfit::Refused(error) => error,
        Unfit::Damaged(error) => SandboxError::Refused(escape(&error.to_string(), 1024)),
    })
}

/// Names what the bytes are when they are not a component.
fn check_format(bytes: &[u8]) -> Result<(), SandboxError> {
    let problem = match bytes {
        [0, b'a', b's', b'm', 0x0d, 0, 1, 0, ..] => return Ok(()),
        [0, b'a', b's', b'm', 1, 0, 0, 0, ..] => {
            "it is a core module (build it for wasm32-wasip2)".to_owned()
        }
        [0, b'a', b's', b'm', ..] => "its version of the format is unknown".to_owned(),
        [0x7f, b'E', b'L', b'F', ..] => {
            "it is native code; only portable components are loaded".to_owned()
        }
        [b'(', ..] => "it is text; only the binary format is loaded".to_owned(),
        [] => "it is empty".to_owned(),
        _ => "it does not begin like one".to_owned(),
    };
    Err(SandboxError::NotAComponent(problem))
}

/// Why the bytes are no guest.
enum Unfit {
    Refused(SandboxError),
    Damaged(wasmparser::BinaryReaderError),
}

impl From<SandboxError> for Unfit {
    fn from(error: SandboxError) -> Unfit {
        Unfit::Refused(error)
    }
}

impl From<wasmparser::BinaryReaderError> for Unfit {
    fn from(error: wasmparser::BinaryReaderError) -> Unfit {
        Unfit::Damaged(error)
    }
}

fn check_sections(bytes: &[u8]) -> Result<Declared, Unfit> {
    // How many components and modules are open, the outermost included.
    let (mut depth, mut modules, mut functions) = (0_usize, 0_usize, 0_usize);
    let (mut exporter, mut transform) = (false, false);
    let mut imported = Vec::new();
    for payload in Parser::new(0).parse_all(bytes) {
        match payload? {
            Payload::Version { encoding, .. } => {
                depth = depth.saturating_add(1);
                at_most("levels of nested components", depth, MAX_NESTING)?;
                if encoding == Encoding::Module {
                    modules = modules.saturating_add(1);
                    at_most("core modules", modules, MAX_MODULES)?;
                }
            }
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::FunctionSection(section) => {
                functions = functions.saturating_add(section.count() as usize);
                at_most("functions", functions, MAX_FUNCTIONS)?;
            }
            // What a nested component imports, the outer one gives.
            Payload::ComponentImportSection(imports) if depth == 1 => {
                for import in imports {
                    imported.push(import?.name.name);
                }
            }
            Payload::ComponentExportSection(exports) if depth == 1 => {
                for export in exports {
                    let name = export?.name.name;
                    check_version(name)?;
                    exporter |= name == linker::EXPORTER;
                    transform |= name == linker::TRANSFORM;
                }
            }
            _ => {}
        }
    }
    let kind = match (exporter, transform) {
        (true, false) => GuestKind::Exporter,
        (false, true) => GuestKind::Transform,
        (exports_both, _) => {
            imported.iter().try_for_each(|name| check_import(GuestKind::Exporter, name))?;
            let (exporter, transform) = (linker::EXPORTER, linker::TRANSFORM);
            let problem = if exports_both {
                format!("it exports both {exporter} and {transform}")
            } else {
                format!("it does not export {exporter} or {transform}")
            };
            return Err(SandboxError::WrongWorld(problem).into());
        }
    };
    imported.iter().try_for_each(|name| check_import(kind, name))?;
    let imports = imported.iter().map(|name| escape(name, 256)).collect();
    Ok(Declared { kind, imports })
}

fn at_most(what: &'static str, count: usize, limit: usize) -> Result<(), SandboxError> {
    if count > limit { Err(SandboxError::TooMany { what, limit }) } else { Ok(()) }
}

/// The linker alone does not refuse an interface that nobody calls.
fn check_import(kind: GuestKind, name: &str) -> Result<(), SandboxError> {
    check_version(name)?;
    let granted = match kind {
        GuestKind::Exporter => linker::grants_exporter(name),
        GuestKind::Transform => linker::grants_transform(name),
    };
    if granted {
        return Ok(());
    }
    Err(SandboxError::ForbiddenImport { name: escape(name, 256) })
}

/// Refuses an interface of another version of the contract.
fn check_version(name: &str) -> Result<(), SandboxError> {
    let of_contract = name.strip_prefix(linker::PACKAGE).and_then(|rest| rest.split_once('@'));
    match of_contract {
        Some((_, version)) if version != linker::VERSION => {
            Err(SandboxError::OtherContract { name: escape(name, 256), supported: linker::VERSION })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    /// With another version, what is checked might not be what is compiled.
    #[test]
    fn the_parser_is_the_one_that_compiles() {
        let lock = include_str!("../../../Cargo.lock");
        let parser = |package: &str| {
            let (_, rest) = lock.split_once(&format!("name = \"{package}\"\n")).unwrap();
            let (package, _) = rest.split_once("\n\n").unwrap();
            package.lines().find(|line| line.contains("\"wasmparser")).unwrap()
        };
        assert_eq!(parser("offloom-sandbox"), parser("wasmtime"));
    }
}
