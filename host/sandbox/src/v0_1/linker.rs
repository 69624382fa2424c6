//! Everything that a guest can call, item by item. Any other import is refused.
use wasmtime::Engine;
use wasmtime::component::{Linker, ResourceType};

use crate::state::State;
use crate::v0_1::{codec, cursor, held, sink};
use crate::wasi;

/// The package of the contract's interfaces.
pub(crate) const PACKAGE: &str = "offloom:export/";

/// The version of the contract.
pub const VERSION: &str = "0.1.0";

/// The interface that an exporter exports.
pub(crate) const EXPORTER: &str = "offloom:export/exporter@0.1.0";

/// The interface that a transform exports.
pub(crate) const TRANSFORM: &str = "offloom:export/transform@0.1.0";

/// All that a transform may import of the contract. It holds types only.
const TYPES: &str = "offloom:export/types@0.1.0";

/// The interfaces of the contract that an exporter may import.
const GRANTED: &[&str] = &[
    TYPES,
    "offloom:export/held@0.1.0",
    "offloom:export/source@0.1.0",
    "offloom:export/sink@0.1.0",
    "offloom:export/codec@0.1.0",
];

/// Whether an exporter may import this interface.
pub(crate) fn grants_exporter(name: &str) -> bool {
    GRANTED.contains(&name) || grants_of_wasi(name)
}

/// Whether a transform may import this interface.
pub(crate) fn grants_transform(name: &str) -> bool {
    name == TYPES || grants_of_wasi(name)
}

fn grants_of_wasi(name: &str) -> bool {
    name.split_once('@').is_some_and(|(interface, version)| {
        version.starts_with("0.2.") && wasi::GRANTED.contains(&interface)
    })
}

/// The linker for transforms: types and the granted part of WASI.
pub(crate) fn transform_linker(engine: &Engine) -> wasmtime::Result<Linker<State>> {
    let mut linker = Linker::new(engine);
    wasi::add_to_linker(&mut linker)?;
    linker.instance(TYPES)?;
    Ok(linker)
}

/// The linker for exporters: the contract and the granted part of WASI.
pub(crate) fn exporter_linker(engine: &Engine) -> wasmtime::Result<Linker<State>> {
    let mut linker = Linker::new(engine);
    wasi::add_to_linker(&mut linker)?;

    // It holds types only, but components import it by name.
    linker.instance(TYPES)?;

    let mut held = linker.instance("offloom:export/held@0.1.0")?;
    held.resource("buffer", ResourceType::host::<held::Buffer>(), held::dropped)?;
    held.func_wrap("[method]buffer.length", held::length)?;
    held.func_wrap("[method]buffer.read", held::read)?;

    // A guest that drops a borrowed handle changes nothing: the host removes both resources itself
    // when the call ends.
    let mut source = linker.instance("offloom:export/source@0.1.0")?;
    source.resource("cursor", ResourceType::host::<cursor::GuestCursor>(), |_, _| Ok(()))?;
    source.func_wrap("[method]cursor.schema", cursor::schema)?;
    source.func_wrap("[method]cursor.next", cursor::next)?;
    source.func_wrap("[method]cursor.next-held", cursor::next_held)?;

    let mut sink = linker.instance("offloom:export/sink@0.1.0")?;
    sink.resource("output", ResourceType::host::<sink::Output>(), |_, _| Ok(()))?;
    sink.func_wrap("[method]output.write", sink::write)?;
    sink.func_wrap("[method]output.splice", sink::splice)?;

    let mut codec = linker.instance("offloom:export/codec@0.1.0")?;
    codec.func_wrap("compress", codec::compress)?;
    codec.func_wrap("pack", codec::pack)?;
    Ok(linker)
}
