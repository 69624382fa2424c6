//! Whole buffers to whole frames by the host's `codec` import: what the stand-ins for compression crates
//! beside this one share.
use std::io;

pub use bindings::offloom::export::codec::Algorithm;
use bindings::offloom::export::codec::compress;

mod bindings {
    #![allow(missing_docs, clippy::all)]
    wit_bindgen::generate!({
        path: "../../wit",
        inline: "
            package offloom:lent;
            world lent {
                import offloom:%export/codec@0.1.0;
            }
        ",
        generate_all,
    });
}

/// What the host takes in one call (`wit/codec.wit`).
pub const MAX_CALL_BYTES: usize = 33 * 1024 * 1024;

/// The frame of `source`, which has at most [`MAX_CALL_BYTES`].
pub fn frame(algorithm: Algorithm, level: i32, source: &[u8]) -> io::Result<Vec<u8>> {
    if source.len() > MAX_CALL_BYTES {
        return Err(io::Error::other(format!(
            "the host compresses {MAX_CALL_BYTES} bytes at once, and a page has {}; zstd and gzip \
             take any number",
            source.len()
        )));
    }
    compress(algorithm, level, source).map_err(|error| io::Error::other(error.to_string()))
}

/// Appends `source` to `target` in frames of what one call takes, for algorithms whose frames may be
/// concatenated.
pub fn append_frames(
    algorithm: Algorithm,
    level: i32,
    source: &[u8],
    target: &mut Vec<u8>,
) -> io::Result<()> {
    let mut rest = source;
    loop {
        let (piece, remaining) = rest.split_at(rest.len().min(MAX_CALL_BYTES));
        let frame = frame(algorithm, level, piece)?;
        if target.is_empty() {
            *target = frame;
        } else {
            target.extend_from_slice(&frame);
        }
        rest = remaining;
        if rest.is_empty() {
            return Ok(());
        }
    }
}
