//! The option `--transform`: a guest with its options.
use std::path::PathBuf;
use std::str::FromStr;

use anyhow::{Context, bail};
use offloom_export::{StepReach, TransformStep};
use offloom_sandbox::{GuestOptions, Sandbox};
use percent_encoding::percent_decode_str;
use serde::{Deserialize, Serialize};

use crate::{built_in, guest};

/// `GUEST[?KEY=VALUE&...]`, with `%26` for `&` and so on in keys and values.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransformArg {
    guest: PathBuf,
    options: GuestOptions,
}

impl FromStr for TransformArg {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<TransformArg> {
        let (guest, options) = text.split_once('?').unwrap_or((text, ""));
        if guest.is_empty() {
            bail!("expected GUEST or GUEST?KEY=VALUE&...");
        }
        let decoded = |text: &str| {
            let decoded = percent_decode_str(text).decode_utf8();
            decoded.map(String::from).with_context(|| format!("{text:?} is not UTF-8"))
        };
        let option = |pair: &str| match pair.split_once('=') {
            Some((key, value)) if !key.is_empty() => Ok((decoded(key)?, decoded(value)?)),
            _ => bail!("expected KEY=VALUE after ?, and not {pair:?}"),
        };
        let pairs = options.split('&').filter(|pair| !pair.is_empty());
        Ok(TransformArg {
            guest: guest.into(),
            options: pairs.map(option).collect::<Result<_, _>>()?,
        })
    }
}

impl TransformArg {
    /// The same, independent of the working directory.
    ///
    /// # Errors
    /// There is no working directory.
    pub fn absolute(self) -> std::io::Result<TransformArg> {
        let named = self.guest.to_str().is_some_and(|name| built_in::component(name).is_some());
        let guest = if named { self.guest } else { std::path::absolute(self.guest)? };
        Ok(TransformArg { guest, ..self })
    }

    /// The transform, applied to all classes.
    ///
    /// # Errors
    /// A file that cannot be read, or that the sandbox refuses.
    pub async fn load(self, sandbox: &Sandbox) -> anyhow::Result<TransformStep> {
        let TransformArg { guest, options } = self;
        let (name, guest) = guest::load_transform(sandbox, &guest).await?;
        let reach = StepReach::default();
        Ok(TransformStep { name, guest, options, reach, required: false, lease: None })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_follow_a_question_mark() {
        let parsed = |text: &str| {
            let TransformArg { guest, options } = text.parse().unwrap();
            (guest.to_str().unwrap().to_owned(), options)
        };
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        assert_eq!(parsed("redact"), ("redact".to_owned(), vec![]));
        assert_eq!(parsed("a/b.wasm?"), ("a/b.wasm".to_owned(), vec![]));
        let expected = vec![pair("drop", "a,b"), pair("where", "x == 1 && y")];
        assert_eq!(parsed("f?drop=a,b&where=x == 1 %26%26 y"), ("f".to_owned(), expected));
        assert_eq!(parsed("f?a=b=c&a="), ("f".to_owned(), vec![pair("a", "b=c"), pair("a", "")]));
        for wrong in ["", "?a=b", "f?a", "f?=b", "f?a=%ff"] {
            assert!(wrong.parse::<TransformArg>().is_err(), "{wrong}");
        }
    }
}
