//! Whatever the documents show works: every block of code, every flag, every variable and key.
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::documented_lines::Page;
use crate::documents::documents;
use crate::program::{offloom, program, root, said};

/// Where the flags of a command are documented.
const FLAG_PAGES: [(&str, &[&str]); 5] = [
    ("export", &["docs/export.md"]),
    ("gc", &["docs/operations.md"]),
    ("inspect", &["docs/export.md"]),
    ("verify", &["docs/export.md", "docs/export-format.md"]),
    ("serve", &["docs/rest-api.md"]),
];

#[test]
fn every_block_of_code_works() {
    let mut failures = Vec::new();
    let mut run: BTreeMap<&str, usize> = BTreeMap::new();
    let documents = documents();
    for (number, document) in documents.iter().enumerate() {
        let path = document.path.display();
        failures.extend(document.html_code.iter().map(|line| format!("{path}:{line}: HTML")));
        let mut page = Page::new(number);
        let begun = Instant::now();
        for block in &document.blocks {
            *run.entry(&block.tag).or_default() += 1;
            if let Err(failure) = page.run(block) {
                failures.push(format!("{path}:{}: {failure}", block.line));
            }
        }
        // From nothing to a guest of one's own that runs, with warm registries.
        assert!(begun.elapsed() < Duration::from_secs(600), "{path} took ten minutes");
    }
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
    // A parser that finds nothing would find no fault either.
    let kinds: Vec<&str> = run.keys().copied().collect();
    assert_eq!(kinds, ["json", "python", "sh", "sql", "text", "toml"]);
    assert!(run["sh"] >= 9 && run["python"] >= 4, "{run:?}");
}

/// The flags in the help of a command.
fn flags(command: &str) -> BTreeSet<String> {
    let help = offloom([command, "--help"]).expect_success().out;
    let flags: BTreeSet<String> = help
        .lines()
        .filter(|line| line.trim_start().starts_with('-'))
        .flat_map(flags_in)
        .filter(|flag| flag != "--help" && flag != "--version")
        .collect();
    assert!(!flags.is_empty(), "{help}");
    flags
}

/// The words of a text that are long flags.
fn flags_in(text: &str) -> Vec<String> {
    let is_part = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    text.split(|c: char| !is_part(c))
        .filter(|word| word.len() > 2 && word.starts_with("--"))
        .map(str::to_owned)
        .collect()
}

#[test]
fn every_flag_is_documented_and_every_documented_one_exists() {
    let known: BTreeMap<&str, BTreeSet<String>> =
        FLAG_PAGES.iter().map(|(command, _)| (*command, flags(command))).collect();
    let all: BTreeSet<&String> = known.values().flatten().collect();
    let mut documented: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut wrong = Vec::new();
    // The formats speak of other programs.
    let formats = Path::new("docs/format");
    for document in documents().iter().filter(|page| !page.path.starts_with(formats)) {
        let path = document.path.display().to_string();
        // Those of the blocks are run.
        let spans = document
            .spans
            .iter()
            .filter(|span| span.starts_with("--") || span.starts_with("offloom "));
        for code in spans {
            let command = code.strip_prefix("offloom ").and_then(|rest| rest.split(' ').next());
            for flag in flags_in(code) {
                let exists = match command.and_then(|command| known.get(command)) {
                    Some(flags) => flags.contains(&flag) || flag == "--help",
                    None => all.contains(&flag),
                };
                if !exists {
                    wrong.push(format!("{path}: `{code}`: there is no {flag}"));
                }
                documented.entry(path.clone()).or_default().insert(flag);
            }
        }
    }
    for (command, pages) in FLAG_PAGES {
        let there: BTreeSet<&String> =
            pages.iter().filter_map(|page| documented.get(*page)).flatten().collect();
        for flag in known[command].iter().filter(|flag| !there.contains(flag)) {
            wrong.push(format!("`offloom {command}` has {flag}, which {pages:?} do not name"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The keys of a settings file, as the program lists them.
fn keys() -> BTreeSet<String> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("settings.toml");
    std::fs::write(&file, "no_such_key = 1\n").unwrap();
    let error = said(program().args(["serve".as_ref(), "--config".as_ref(), file.as_os_str()]))
        .expect_error();
    let (_, list) = error.split_once("expected one of ").unwrap();
    list.split('`').filter(|key| !key.is_empty() && !key.contains(',')).map(str::to_owned).collect()
}

#[test]
fn every_key_of_the_settings_is_documented_and_every_documented_one_exists() {
    let page = std::fs::read_to_string(root().join("docs/rest-api.md")).unwrap();
    let (_, settings) = page.split_once("\n## Settings\n").unwrap();
    let (settings, _) = settings.split_once("\n## ").unwrap();
    let documented: BTreeSet<String> = settings
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once('`'))
        .map(|(key, _)| key.to_owned())
        .collect();
    assert_eq!(documented, keys());
}

/// The variable of a key.
fn variable(key: &str) -> String {
    format!("OFFLOOM_{}", key.to_uppercase().replace('.', "__"))
}

/// Names of variables in a text: capital letters, digits and underscores after `prefix`.
fn variables_in(text: &str, prefix: &str) -> BTreeSet<String> {
    let is_part = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    text.split(|c: char| !is_part(c))
        .filter(|word| word.len() > prefix.len() && word.starts_with(prefix))
        .map(str::to_owned)
        .collect()
}

/// The text of every source file below `folder`, without its tests.
fn sources(folder: &Path, text: &mut String) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, text);
        } else if path.extension().is_some_and(|extension| extension == "rs")
            && !path.ends_with("tests.rs")
        {
            let source = std::fs::read_to_string(&path).unwrap();
            text.push_str(source.split("\n#[cfg(test)]\nmod tests {").next().unwrap());
        }
    }
}

#[test]
fn every_variable_is_documented_and_every_documented_one_exists() {
    let mut used = String::new();
    // The last one is read by the tests of `./dev soak`.
    for folder in ["host/offloom/src", "host/protocol/src", "tests/encoder/src"] {
        sources(&root().join(folder), &mut used);
    }
    let documents = documents();
    let spans: Vec<&str> = documents
        .iter()
        .filter(|document| !document.path.starts_with("docs/format"))
        .flat_map(|document| document.spans.iter().map(String::as_str))
        .collect();
    let written = spans.join(" ");
    let of_stores = ["AWS_", "GOOGLE_", "AZURE_", "BACKUP_", "EXPORT_", "GCE_"];
    for prefix in ["OFFLOOM_", "SSL_CERT_", "XDG_"].into_iter().chain(of_stores) {
        let mut used = variables_in(&used, prefix);
        let documented = variables_in(&written, prefix);
        assert!(!used.is_empty() && !documented.is_empty(), "{prefix}");
        if prefix == "OFFLOOM_" {
            // What the build script gives to the compiler is no variable of a user.
            used.retain(|name| !name.ends_with("_WASM_PATH"));
            // `OFFLOOM_<KEY>` stands for those of the table of keys, which another test compares.
            let keys: BTreeSet<String> = keys().iter().map(|key| variable(key)).collect();
            used = used.difference(&keys).cloned().collect();
        }
        let missing: Vec<_> = used.difference(&documented).collect();
        assert!(missing.is_empty(), "the documents do not name {missing:?}");
    }
    let unknown: Vec<String> = variables_in(&written, "OFFLOOM_")
        .into_iter()
        .filter(|name| !variables_in(&used, "OFFLOOM_").contains(name))
        .collect();
    assert!(unknown.is_empty(), "nothing reads {unknown:?}");
}
