//! What the system says of this process. Where there is no `/proc`, it says nothing.
use std::fs;

/// Name and help of each reading, and its value.
pub fn readings() -> [(&'static str, &'static str, Option<u64>); 4] {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let descriptors = fs::read_dir("/proc/self/fd").map(|found| found.count() as u64).ok();
    // The listing itself has one open.
    let descriptors = descriptors.map(|count| count.saturating_sub(1));
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    [
        (
            "offloom_resident_memory_bytes",
            "Memory that is in use.",
            field(&status, "VmRSS:").and_then(|kibibytes| kibibytes.checked_mul(1024)),
        ),
        ("offloom_threads", "Threads.", field(&status, "Threads:")),
        ("offloom_open_descriptors", "Open files and connections.", descriptors),
        (
            "offloom_max_descriptors",
            "Files and connections that may be open.",
            field(&limits, "Max open files"),
        ),
    ]
}

/// The first number after `name`, at the begin of a line.
fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_memory_threads_and_files() {
        let [memory, threads, open, limit] = readings().map(|(_, _, value)| value.unwrap());
        assert!(memory > 1 << 20 && threads >= 1 && open >= 3 && limit >= open, "{:?}", readings());
    }
}
