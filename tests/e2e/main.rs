//! Tests that start the program: real directories in, real files out, read by real readers.
mod commands;
mod damage;
mod golden;
mod program;
mod workers;
