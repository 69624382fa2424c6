//! How stores are reached, by the clouds' own variables: cleaned, checked, and kept secret.
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use url::Url;

use crate::cloud::Cloud;
use crate::named_file;

/// A token of a role has about a thousand bytes.
const MAX_TOKEN_BYTES: u64 = 64 * 1024;

/// Shorter values are no secrets of a real store.
const MIN_SECRET_BYTES: usize = 6;

/// How the names of the clouds' variables begin.
const PREFIXES: [&str; 3] = ["AWS_", "GOOGLE_", "AZURE_"];

/// Variables of Weaviate, and of Azure's machines, that say how a store is reached.
const OTHERS: [&str; 6] = [
    "BACKUP_S3_ENDPOINT",
    "BACKUP_S3_USE_SSL",
    "BACKUP_GCS_USE_AUTH",
    "EXPORT_S3_ROLE_ARN",
    "IDENTITY_ENDPOINT",
    "IDENTITY_HEADER",
];

/// Parts of the names of variables whose values are secret.
const SECRET_NAMES: [&str; 13] = [
    "SECRET",
    "TOKEN",
    "CUSTOMER_KEY",
    "PROXY_URL",
    "ACCESS_KEY",
    "ACCOUNT_KEY",
    "MASTER_KEY",
    "STORAGE_KEY",
    "SAS_KEY",
    "ENCRYPTION_KEY",
    "CONNECTION_STRING",
    "SERVICE_ACCOUNT_KEY",
    "IDENTITY_HEADER",
];

/// How stores are reached: credentials, region, endpoint, encryption, as the standard variables
/// (`AWS_ACCESS_KEY_ID`, `GOOGLE_APPLICATION_CREDENTIALS`, `AZURE_STORAGE_ACCOUNT_NAME` ...) say. Those
/// that `object_store` knows are heeded, but none that is empty.
#[derive(Clone, PartialEq, Eq)]
pub struct StoreOptions {
    /// By name, so that of two for one thing (`AWS_ENDPOINT`, `AWS_ENDPOINT_URL`) always the same
    /// one wins.
    variables: Arc<BTreeMap<String, String>>,
}

impl StoreOptions {
    /// The variables of this process.
    pub fn from_env() -> StoreOptions {
        // A value that is not Unicode stays recognisable for the check.
        std::env::vars_os()
            .filter_map(|(name, value)| {
                Some((name.into_string().ok()?, value.to_string_lossy().into_owned()))
            })
            .collect()
    }

    /// The value of a variable.
    pub(super) fn variable(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str)
    }

    /// The variables with `prefix` that name a key of a client's configuration.
    pub(super) fn known<K: FromStr>(&self, prefix: &str) -> impl Iterator<Item = (K, &str)> {
        let of_cloud = self.variables.iter().filter(move |(name, _)| name.starts_with(prefix));
        of_cloud.filter_map(|(name, value)| {
            Some((name.to_ascii_lowercase().parse().ok()?, value.as_str()))
        })
    }

    /// The value of a key of a client's configuration, whichever of its names the variable has.
    pub(super) fn value<K: FromStr + PartialEq>(&self, prefix: &str, wanted: &K) -> Option<&str> {
        self.known(prefix).filter(|(key, _): &(K, _)| key == wanted).last().map(|(_, value)| value)
    }

    /// Whether the value of such a key is true.
    pub(super) fn is_on<K: FromStr + PartialEq>(&self, prefix: &str, key: &K) -> bool {
        let value = self.value(prefix, key).unwrap_or_default().to_ascii_lowercase();
        ["1", "true", "on", "yes", "y"].contains(&value.as_str())
    }

    /// Refuses values that no request can carry: the client would end the program. `is_used` says
    /// whether a variable matters. The error names the variable and not its value.
    pub(super) fn check_characters(&self, is_used: impl Fn(&str) -> bool) -> Result<(), String> {
        for (name, value) in self.variables.iter().filter(|(name, _)| is_used(name)) {
            if let Some(place) = value.chars().position(|c| c.is_control() || !c.is_ascii()) {
                return Err(format!(
                    "{name} has a control character or one that is not ASCII, at place {} of {}",
                    place.saturating_add(1),
                    value.chars().count()
                ));
            }
        }
        Ok(())
    }

    /// The values that no message shows: the key id of S3 too, which a store may repeat in an error.
    pub(super) fn secrets(&self) -> Vec<String> {
        let hidden = self.variables.iter().filter(|(name, _)| is_secret(name));
        let mut secrets: Vec<String> = hidden.flat_map(|(_, value)| secret_parts(value)).collect();
        // A shorter one would also be found in words that are none.
        secrets.retain(|secret| secret.len() >= MIN_SECRET_BYTES);
        // The whole is replaced before its parts.
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        secrets.dedup();
        secrets
    }

    /// The variables that say how a cloud is reached, with their values; a secret is `(hidden)`, and a
    /// secret part of another value is `...`.
    pub fn shown(&self, cloud: Cloud) -> Vec<(String, String)> {
        let (prefix, others) = match cloud {
            Cloud::S3 => ("AWS_", &["BACKUP_S3_ENDPOINT", "BACKUP_S3_USE_SSL"][..]),
            Cloud::Gcs => ("GOOGLE_", &["BACKUP_GCS_USE_AUTH"][..]),
            Cloud::Azure => ("AZURE_", &["IDENTITY_ENDPOINT"][..]),
        };
        let of_cloud = self
            .variables
            .iter()
            .filter(|(name, _)| name.starts_with(prefix) || others.contains(&name.as_str()));
        of_cloud
            .map(|(name, value)| {
                let is_hidden = is_secret(name);
                let value =
                    if is_hidden { "(hidden)".to_owned() } else { self.without_secrets(value) };
                (name.clone(), value)
            })
            .collect()
    }

    pub(super) fn without_secrets(&self, text: &str) -> String {
        self.secrets().iter().fold(text.to_owned(), |text, secret| text.replace(secret, "..."))
    }
}

fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    !name.ends_with("_FILE") && SECRET_NAMES.iter().any(|part| name.contains(part))
}

/// A secret value, and those that it holds: the key and the signature of a connection string, the
/// `sig` of a shared access signature, as it is and unescaped.
fn secret_parts(value: &str) -> Vec<String> {
    let mut parts = vec![value.to_owned()];
    for setting in value.split(';') {
        let secret = ["AccountKey=", "SharedAccessSignature="];
        parts
            .extend(secret.iter().filter_map(|name| setting.strip_prefix(name)).map(str::to_owned));
    }
    let signatures = value.split(['&', '?', ';', '=']).collect::<Vec<_>>();
    let signatures = signatures.windows(2).filter_map(|pair| match pair {
        ["sig", signature] => Some((*signature).to_owned()),
        _ => None,
    });
    for signature in signatures.collect::<Vec<_>>() {
        let pair = format!("s={signature}");
        let unescaped = url::form_urlencoded::parse(pair.as_bytes()).next();
        parts.extend(unescaped.map(|(_, signature)| signature.into_owned()));
        parts.push(signature);
    }
    parts
}

/// The address of an endpoint: https, or http where `allows_http`, and without a user. The error is what
/// is wrong with it; `name` and `http_switch` are the variables that it names.
pub(super) fn endpoint_url(
    text: &str,
    name: &str,
    allows_http: bool,
    http_switch: &str,
) -> Result<Url, String> {
    let bad = |problem: &str| format!("the endpoint ({name}) {problem}");
    let url = Url::parse(text).map_err(|error| bad(&format!("is no URL: {error}")))?;
    match url.scheme() {
        "https" => {}
        "http" if allows_http => {}
        "http" => {
            return Err(bad(&format!(
                "is http://, which has no encryption: set {http_switch}=true to use it all the same"
            )));
        }
        _ => return Err(bad("must begin with https:// or http://")),
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(bad("must not hold a user or a password"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(bad("must not hold a query or a fragment"));
    }
    Ok(url)
}

/// A token with white space around it is refused by its service, or cannot be sent at all. The file is
/// read again whenever a token expires, so it cannot be corrected here.
pub(super) fn check_token_file(name: &str, path: &str) -> Result<(), String> {
    let unreadable =
        |reason: &dyn fmt::Display| format!("{name} names {path}, which cannot be read: {reason}");
    let token =
        named_file::read(Path::new(path), MAX_TOKEN_BYTES).map_err(|error| unreadable(&error))?;
    let token = String::from_utf8(token).map_err(|error| unreadable(&error.utf8_error()))?;
    if token.is_empty() || token.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err(format!(
            "{name} names {path}, which is empty or holds white space, such as a newline at its end: \
             write the token alone (printf %s \"$TOKEN\")"
        ));
    }
    Ok(())
}

/// Keeps the variables that say how a store is reached, without the white space around their values:
/// a secret that was made with `echo` ends with a newline.
impl FromIterator<(String, String)> for StoreOptions {
    fn from_iter<T: IntoIterator<Item = (String, String)>>(variables: T) -> StoreOptions {
        let is_kept = |name: &str| {
            PREFIXES.iter().any(|prefix| name.starts_with(prefix)) || OTHERS.contains(&name)
        };
        let kept = variables
            .into_iter()
            .filter(|(name, _)| is_kept(name))
            .map(|(name, value)| (name, value.trim().to_owned()))
            .filter(|(_, value)| !value.is_empty());
        StoreOptions { variables: Arc::new(kept.collect()) }
    }
}

/// Names only: values are credentials, or may be taken for such.
impl fmt::Debug for StoreOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.variables.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(variables: &[(&str, &str)]) -> StoreOptions {
        variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn of_the_variables_only_names_are_shown() {
        let options = options(&[
            ("AWS_SECRET_ACCESS_KEY", "hidden-1"),
            ("AZURE_STORAGE_KEY", "hidden-2"),
            ("AWS_SESSION_TOKEN", ""),
            ("HOME", "/root"),
        ]);
        assert_eq!(format!("{options:?}"), "{\"AWS_SECRET_ACCESS_KEY\", \"AZURE_STORAGE_KEY\"}");
    }

    #[test]
    fn secrets_are_hidden_whole_and_in_parts() {
        let sas = "?sv=2026-02-06&sp=rwdlc&sig=c2lnbmF0dXJl%2Bbase64%3D";
        let connection = "AccountName=devstore1;AccountKey=a2V5a2V5a2V5==;EndpointSuffix=x.example";
        let all = options(&[
            ("AWS_SECRET_ACCESS_KEY", "secret-access-1"),
            ("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE"),
            ("AZURE_STORAGE_SAS_TOKEN", sas),
            ("AZURE_STORAGE_CONNECTION_STRING", connection),
            ("AZURE_STORAGE_KEY", "account-key-1"),
            ("AZURE_CLIENT_SECRET", "client-secret-1"),
            ("AZURE_FEDERATED_TOKEN_FILE", "/var/run/token"),
            ("GOOGLE_BEARER_TOKEN", "bearer-1"),
            ("GOOGLE_SERVICE_ACCOUNT_KEY", "{\"private_key\": 1}"),
        ]);
        let repeated = "secret-access-1 AKIAEXAMPLE c2lnbmF0dXJl%2Bbase64%3D c2lnbmF0dXJl+base64= \
                        a2V5a2V5a2V5== account-key-1 client-secret-1 bearer-1 {\"private_key\": 1}";
        assert_eq!(all.without_secrets(repeated), "... ... ... ... ... ... ... ... ...");
        let shown = all.shown(Cloud::Azure);
        let is_hidden = |(name, value): &(String, String)| {
            value == "(hidden)" || name.ends_with("_FILE") && value == "/var/run/token"
        };
        assert!(shown.len() == 5 && shown.iter().all(is_hidden), "{shown:?}");
        let kept = "devstore1 x.example /var/run/token sv=2026-02-06";
        assert_eq!(all.without_secrets(kept), kept);
    }

    #[test]
    fn white_space_around_values_is_dropped() {
        let kept = options(&[("AWS_ACCESS_KEY_ID", " key\r\n"), ("GOOGLE_BEARER_TOKEN", "\n")]);
        assert_eq!(kept.variable("AWS_ACCESS_KEY_ID"), Some("key"));
        assert_eq!(kept.variable("GOOGLE_BEARER_TOKEN"), None);
    }

    #[test]
    fn an_endpoint_is_encrypted_and_holds_no_secret() {
        let check =
            |text: &str, allows_http| endpoint_url(text, "X_URL", allows_http, "X_ALLOW_HTTP");
        assert!(check("https://store.example:9/", false).is_ok());
        assert!(check("http://127.0.0.1:9", true).is_ok());
        for (text, named) in [
            ("http://127.0.0.1:9", "X_ALLOW_HTTP=true"),
            ("store.example", "is no URL"),
            ("ftp://store.example", "https://"),
            ("https://me:hidden-1@store.example", "a user or a password"),
            ("https://store.example/?sig=hidden-1", "a query"),
        ] {
            let error = check(text, false).unwrap_err();
            assert!(error.contains("X_URL") && error.contains(named), "{error}");
            assert!(!error.contains("hidden-1"), "{error}");
        }
    }

    #[test]
    fn a_token_file_holds_the_token_alone() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().to_str().unwrap();
        let check = || check_token_file("X_TOKEN_FILE", path);
        std::fs::write(path, "token").unwrap();
        check().unwrap();
        for bad in ["token\n", " token", "to ken", ""] {
            std::fs::write(path, bad).unwrap();
            let error = check().unwrap_err();
            assert!(error.contains("X_TOKEN_FILE") && error.contains(path), "{error}");
        }
        let missing = check_token_file("X_TOKEN_FILE", "/nowhere/token").unwrap_err();
        assert!(missing.contains("/nowhere/token"), "{missing}");
    }
}
