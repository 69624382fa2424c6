//! Where `./dev setup` installed the servers: the virtual environment of the tests' Python.

use std::path::{Path, PathBuf};

/// The folder of the virtual environment, whose `bin/python` `OFFLOOM_PYTHON` names.
pub fn environment() -> PathBuf {
    match std::env::var_os("OFFLOOM_PYTHON") {
        Some(python) => Path::new(&python)
            .parent()
            .and_then(Path::parent)
            .map(Path::to_path_buf)
            .unwrap_or_default(),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.venv"),
    }
}
