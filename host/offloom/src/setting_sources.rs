//! Every setting with its value and where the value comes from, for `offloom config check`.
use std::collections::BTreeSet;

use clap::parser::ValueSource;
use clap::{ArgMatches, Command};
use serde_json::{Map, Value};

/// A setting, without secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// Its key, or the name of a variable of others.
    pub key: String,
    /// Its value as text.
    pub value: String,
    /// Where the value comes from, such as `--listen` or `default`.
    pub source: String,
}

/// The settings that `command` takes, in byte order of their keys. `given` has flags and variables,
/// `in_file` the keys of the settings file, and `values` what follows from both, as a file would have it.
pub fn settings(
    command: &Command,
    given: &ArgMatches,
    in_file: &BTreeSet<String>,
    values: &Map<String, Value>,
) -> Vec<Setting> {
    let setting = |arg: &clap::Arg| {
        let key = arg.get_id().to_string();
        let flag = || arg.get_long().map_or_else(|| key.clone(), |long| format!("--{long}"));
        let variable = || arg.get_env().map(|name| name.to_string_lossy().into_owned());
        let source = match given.value_source(&key) {
            Some(ValueSource::CommandLine) => flag(),
            Some(ValueSource::EnvVariable) => variable().unwrap_or_else(flag),
            _ if in_file.contains(&key) => "the file".to_owned(),
            _ => "default".to_owned(),
        };
        Setting { value: text(value_of(values, &key)), key, source }
    };
    let mut settings: Vec<Setting> = command.get_arguments().map(setting).collect();
    settings.sort_by(|a, b| a.key.cmp(&b.key));
    settings
}

/// A key with a dot is in a table of its own.
fn value_of<'a>(values: &'a Map<String, Value>, key: &str) -> &'a Value {
    let found = match key.split_once('.') {
        Some((table, key)) => values.get(table).and_then(|table| table.get(key)),
        None => values.get(key),
    };
    found.unwrap_or(&Value::Null)
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => "not set".to_owned(),
        Value::String(text) if text.is_empty() => "not set".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(values) if values.is_empty() => "not set".to_owned(),
        Value::Array(values) => values.iter().map(text).collect::<Vec<_>>().join(", "),
        value => value.to_string(),
    }
}
