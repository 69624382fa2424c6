//! The options: the expression, and what becomes of rows for which it has no answer.

/// Key, and what it does.
pub const KNOWN: [(&str, &str); 3] = [
    (
        "where",
        "An expression in CEL that is true for the rows to keep, such as `wordCount > 100`. It names \
         properties, `properties` (a map of all), `id`, `tenant`, `creation_time` and `update_time`.",
    ),
    (
        "on-error",
        "refuse (default), drop or keep: rows for which the expression fails or is neither true nor false. \
         One that lacks a property which the expression names is dropped in any case.",
    ),
    (
        "missing",
        "error (default) or ignore: what a name does that is no property of the class. Ignored, it is null.",
    ),
];

/// What becomes of a row for which the expression has no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnError {
    /// The export's policy for bad objects decides.
    Refuse,
    /// It is dropped.
    Drop,
    /// It stays.
    Keep,
}

/// The options of one export, parsed.
#[derive(Debug, PartialEq, Eq)]
pub struct Settings {
    /// The text of the expression.
    pub expression: String,
    /// What becomes of a row without an answer.
    pub on_error: OnError,
    /// Whether a name that is no property is an error.
    pub must_exist: bool,
}

impl Settings {
    /// Reads the options.
    ///
    /// # Errors
    /// What is wrong with them, and which are known.
    pub fn parse(options: &[(String, String)]) -> Result<Settings, String> {
        let mut settings =
            Settings { expression: String::new(), on_error: OnError::Refuse, must_exist: true };
        for (index, (key, value)) in options.iter().enumerate() {
            if options.iter().take(index).any(|(earlier, _)| earlier == key) {
                return Err(format!("option `{key}` is given twice"));
            }
            match (key.as_str(), value.as_str()) {
                ("where", text) => settings.expression = text.to_owned(),
                ("on-error", "refuse") => settings.on_error = OnError::Refuse,
                ("on-error", "drop") => settings.on_error = OnError::Drop,
                ("on-error", "keep") => settings.on_error = OnError::Keep,
                ("missing", "error") => settings.must_exist = true,
                ("missing", "ignore") => settings.must_exist = false,
                ("on-error" | "missing", _) => {
                    return Err(format!("option `{key}` does not take `{value}`; {}", known()));
                }
                _ => return Err(format!("unknown option `{key}`; {}", known())),
            }
        }
        if settings.expression.is_empty() {
            return Err(format!("no expression; {}", known()));
        }
        Ok(settings)
    }
}

fn known() -> String {
    let options = KNOWN.map(|(key, summary)| format!("{key}: {summary}"));
    format!("known options: {}", options.join(" "))
}
