//! How large the largest tests are: smaller in CI, whole with `./dev soak`.

/// The variable that `./dev soak` sets.
const SOAK: &str = "OFFLOOM_SOAK";

/// `in_ci`, or `whole` if the variable `OFFLOOM_SOAK` is `1`.
///
/// # Panics
/// When the variable has another value: a misspelt one must not make the tests small.
pub fn scale(in_ci: u64, whole: u64) -> u64 {
    match std::env::var(SOAK) {
        Err(std::env::VarError::NotPresent) => in_ci,
        Ok(value) if value == "1" => whole,
        other => panic!("{SOAK} is {other:?}: it is 1 or absent"),
    }
}
