//! Completions and manual pages: what shells and `man` make of them.
use std::process::Command;

use crate::program::{offloom, said};

#[test]
fn bash_completes_commands_and_flags() {
    let script = offloom(["completions", "bash"]).expect_success().out;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), &script).unwrap();
    let complete = |words: &str, index: usize, current: &str| {
        let code = format!(
            "source {}; COMP_WORDS=({words}); COMP_CWORD={index}; _offloom offloom '{current}' ''; printf '%s\\n' \"${{COMPREPLY[@]}}\"",
            file.path().display()
        );
        said(Command::new("bash").args(["-c", &code])).expect_success().out
    };
    let commands = complete("offloom ''", 1, "");
    for command in ["export", "serve", "verify", "gc", "man"] {
        assert!(commands.lines().any(|line| line == command), "{command}: {commands}");
    }
    let flags = complete("offloom export --dry", 2, "--dry");
    assert_eq!(flags.trim(), "--dry-run");
    for shell in ["zsh", "fish"] {
        let script = offloom(["completions", shell]).expect_success().out;
        assert!(script.contains("dry-run") && script.contains("max-read-rate"));
    }
    assert_eq!(offloom(["completions", "cmd"]).status, Some(2));
}

#[test]
fn there_is_a_page_for_the_program_and_for_each_command() {
    let folder = tempfile::tempdir().unwrap();
    let pages = folder.path().join("man1");
    offloom(["man".as_ref(), pages.as_os_str()]).expect_success();
    let read = |name: &str| std::fs::read_to_string(pages.join(name)).unwrap();
    let help = offloom(["--help"]).expect_success().out;
    let (_, commands) = help.split_once("Commands:\n").unwrap();
    let (commands, _) = commands.split_once("\n\n").unwrap();
    let mut count = 0;
    for command in commands.lines().filter_map(|line| line.split_ascii_whitespace().next()) {
        if command != "help" {
            assert!(read(&format!("offloom-{command}.1")).contains(".SH SYNOPSIS"), "{command}");
            count += 1;
        }
    }
    assert!(count >= 9, "{help}");
    assert!(read("offloom-export.1").contains("max\\-read\\-rate"));
    assert!(read("offloom.1").contains(".TH offloom"));
}
