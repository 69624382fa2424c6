//! Snapshots of a shard while another process writes to it, against a model of what must be found.
//!
//! The writer is this test binary, started again; it notes every write before it makes it, and how
//! far it has acknowledged them. A snapshot's own cut-off then says which writes it must hold.
mod bucket;
mod journal;
mod replay;
mod snapshots;
mod writer;
