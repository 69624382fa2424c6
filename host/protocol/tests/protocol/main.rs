//! The export protocol on real file systems and real Parquet files, as one test program.
mod faulty_store;
mod sample;
mod store;
mod upload;
