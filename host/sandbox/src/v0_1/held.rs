//! `held.buffer`: bytes that stay in the host, and how many an instance has at once.
use bytes::Bytes;
use offloom_rows as rows;
use wasmtime::StoreContextMut;
use wasmtime::component::Resource;

use crate::error::Breach;
use crate::state::State;
use crate::v0_1::bindings::offloom::export::held::Range;

/// Bytes that a guest has a handle of. They are counted until the handle is dropped.
pub struct Buffer(Bytes);

/// Gives the guest a handle of these bytes.
pub(crate) fn hold(state: &mut State, bytes: Bytes) -> wasmtime::Result<Resource<Buffer>> {
    let held = state.held_bytes.saturating_add(bytes.len() as u64);
    if held > state.max_held_bytes {
        return Err(Breach::Held { limit: state.max_held_bytes }.into());
    }
    let buffer = state.table.push(Buffer(bytes))?;
    state.held_bytes = held;
    Ok(buffer)
}

/// Takes the bytes of a column's values out of it; `None` if there are none, or if they are not of a
/// kind that is held.
pub(crate) fn take_bytes(values: &mut rows::Values) -> Option<Bytes> {
    let bytes = match values {
        rows::Values::VariableWidth(values) | rows::Values::Vector(values) => &mut values.bytes,
        rows::Values::NamedVectors(map) => &mut map.components,
        rows::Values::NamedMultiVectors(map) => &mut map.components,
        rows::Values::Boolean(_)
        | rows::Values::Int64(_)
        | rows::Values::Float64(_)
        | rows::Values::FixedWidth(_) => return None,
    };
    (!bytes.is_empty()).then(|| std::mem::take(bytes).into())
}

/// A range of a buffer, without a copy, and the length of the buffer.
pub(crate) fn part(state: &State, range: &Range) -> wasmtime::Result<(Bytes, usize)> {
    let Buffer(whole) = state.table.get(&range.buffer)?;
    let end = range.offset.checked_add(range.length);
    let bounds = usize::try_from(range.offset).ok().zip(end.and_then(|end| end.try_into().ok()));
    let bounds = bounds.filter(|(_, end): &(usize, usize)| *end <= whole.len());
    let (start, end) = bounds.ok_or_else(|| {
        let (offset, length, of) = (range.offset, range.length, whole.len());
        wasmtime::format_err!("{length} bytes at {offset} of a buffer of {of} bytes")
    })?;
    Ok((whole.slice(start..end), whole.len()))
}

/// When the guest drops a handle.
pub(crate) fn dropped(mut store: StoreContextMut<'_, State>, rep: u32) -> wasmtime::Result<()> {
    let state = store.data_mut();
    let Buffer(bytes) = state.table.delete(Resource::new_own(rep))?;
    state.held_bytes = state.held_bytes.saturating_sub(bytes.len() as u64);
    Ok(())
}

/// `buffer.length`.
pub(crate) fn length(
    store: StoreContextMut<'_, State>,
    (buffer,): (Resource<Buffer>,),
) -> wasmtime::Result<(u64,)> {
    let Buffer(bytes) = store.data().table.get(&buffer)?;
    Ok((bytes.len() as u64,))
}

/// `buffer.read`.
pub(crate) fn read(
    store: StoreContextMut<'_, State>,
    (buffer, offset, length): (Resource<Buffer>, u64, u64),
) -> wasmtime::Result<(Vec<u8>,)> {
    let (bytes, _) = part(store.data(), &Range { buffer, offset, length })?;
    Ok((bytes.into(),))
}
