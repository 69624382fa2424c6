//! The client of Google Cloud Storage, made of the `GOOGLE_*` variables, which are checked first.
use std::path::{Path, PathBuf};
use std::sync::Arc;

use object_store::ClientConfigKey;
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use serde_json::Value;

use crate::named_file;
use crate::store::OpenStore;
use crate::store::answer::reasons;
use crate::store::http_client::HttpClients;
use crate::store::options::{StoreOptions, endpoint_url};
use crate::store::patience::Patience;
use crate::store::uploads::BucketUploads;

const PREFIX: &str = "GOOGLE_";

/// A key of a service account has about 2,400 bytes.
const MAX_CREDENTIALS_BYTES: u64 = 64 * 1024;

/// Where `gcloud auth application-default login` puts its credentials, below the home directory.
const WELL_KNOWN_FILE: &str = ".config/gcloud/application_default_credentials.json";

/// Weaviate's setting for stores without authentication.
const USE_AUTH_OF_BACKUPS: &str = "BACKUP_GCS_USE_AUTH";

/// A client of `bucket`; nothing is sent yet. The error is what is wrong with the variables.
pub(super) fn build(
    bucket: &str,
    options: &StoreOptions,
    patience: Patience,
) -> Result<OpenStore, String> {
    check(options)?;
    let builder = GoogleCloudStorageBuilder::new().with_client_options(patience.client_options());
    let mut builder = options
        .known(PREFIX)
        .fold(builder, |builder, (key, value)| builder.with_config(key, value))
        .with_bucket_name(bucket)
        .with_http_connector(HttpClients { ca_bundle: None })
        .with_retry(patience.retry());
    if let Some(endpoint) = endpoint(options)? {
        builder = builder.with_base_url(&endpoint);
    }
    if is_anonymous(options) {
        // Without a token the client would ask the machine's identity service for one all the same.
        builder = builder.with_bearer_token("").with_skip_signature(true);
    }
    let objects = Arc::new(builder.build().map_err(|error| reasons(&error))?);
    // Google lists them to service accounts alone.
    let uploads = Arc::new(BucketUploads { store: Arc::clone(&objects), listing: None });
    Ok(OpenStore { objects, uploads: Some(uploads) })
}

fn is_anonymous(options: &StoreOptions) -> bool {
    let use_auth = options.variable(USE_AUTH_OF_BACKUPS);
    options.is_on(PREFIX, &GoogleConfigKey::SkipSignature)
        || use_auth.is_some_and(|on| on.eq_ignore_ascii_case("false"))
}

fn endpoint(options: &StoreOptions) -> Result<Option<String>, String> {
    let Some(text) = options.value(PREFIX, &GoogleConfigKey::BaseUrl) else { return Ok(None) };
    let allow_http = GoogleConfigKey::Client(ClientConfigKey::AllowHttp);
    let allow_http = options.is_on(PREFIX, &allow_http);
    let url = endpoint_url(text, "GOOGLE_BASE_URL", allow_http, "GOOGLE_ALLOW_HTTP")?;
    Ok(Some(url.as_str().trim_end_matches('/').to_owned()))
}

fn check(options: &StoreOptions) -> Result<(), String> {
    let key_text = GoogleConfigKey::ServiceAccountKey;
    options.check_characters(|name| {
        let key = name.to_ascii_lowercase().parse::<GoogleConfigKey>();
        // The key is JSON, which may be written in lines.
        name.starts_with(PREFIX) && key.is_ok_and(|key| key != key_text)
    })?;
    if options.value(PREFIX, &GoogleConfigKey::BearerToken).is_some() || is_anonymous(options) {
        return Ok(());
    }
    let file = options.value(PREFIX, &GoogleConfigKey::ServiceAccount);
    let key = options.value(PREFIX, &key_text);
    if file.is_some() && key.is_some() {
        return Err(
            "GOOGLE_SERVICE_ACCOUNT and GOOGLE_SERVICE_ACCOUNT_KEY are both set: unset one"
                .to_owned(),
        );
    }
    if let Some(key) = key {
        return check_service_account("GOOGLE_SERVICE_ACCOUNT_KEY", key.as_bytes());
    }
    if let Some(path) = file {
        let name = format!("{path} (GOOGLE_SERVICE_ACCOUNT)");
        return check_service_account(&name, &read(&name, Path::new(path))?);
    }
    let named = options.value(PREFIX, &GoogleConfigKey::ApplicationCredentials).map(PathBuf::from);
    let is_there = |path: &PathBuf| path.exists();
    let well_known = || {
        std::env::var_os("HOME").map(|home| Path::new(&home).join(WELL_KNOWN_FILE)).filter(is_there)
    };
    let Some(path) = named.or_else(well_known) else { return Ok(()) };
    let name = format!("{} (GOOGLE_APPLICATION_CREDENTIALS)", path.display());
    check_application(&name, &read(&name, &path)?)
}

fn read(name: &str, path: &Path) -> Result<Vec<u8>, String> {
    named_file::read(path, MAX_CREDENTIALS_BYTES)
        .map_err(|error| format!("{name} cannot be read: {error}"))
}

/// The kinds of credentials that `object_store` knows ("Application Default Credentials").
fn check_application(name: &str, text: &[u8]) -> Result<(), String> {
    let fields = object(name, text)?;
    match fields.get("type").and_then(Value::as_str) {
        Some("service_account") => check_service_account(name, text),
        Some("authorized_user") => {
            has_texts(name, &fields, &["client_id", "client_secret", "refresh_token"])
        }
        kind => Err(format!(
            "{name} has credentials of the type {:?}, which this version cannot use: it takes \
             service_account and authorized_user",
            kind.unwrap_or_default().chars().take(40).collect::<String>()
        )),
    }
}

fn check_service_account(name: &str, text: &[u8]) -> Result<(), String> {
    let fields = object(name, text)?;
    has_texts(name, &fields, &["private_key", "private_key_id", "client_email"])
}

/// What is wrong with JSON is said by its place: the text holds a private key.
fn object(name: &str, text: &[u8]) -> Result<Value, String> {
    let value = serde_json::from_slice::<Value>(text).map_err(|error| {
        format!("{name} is no JSON: line {}, column {}", error.line(), error.column())
    })?;
    if value.is_object() { Ok(value) } else { Err(format!("{name} is no JSON object")) }
}

fn has_texts(name: &str, fields: &Value, wanted: &[&str]) -> Result<(), String> {
    let is_text = |field: &&&str| fields.get(**field).is_some_and(Value::is_string);
    match wanted.iter().find(|field| !is_text(field)) {
        None => Ok(()),
        Some(field) => {
            Err(format!("{name} has no text \"{field}\": it is no key that Google gave"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(variables: &[(&str, &str)]) -> StoreOptions {
        variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn refused(variables: &[(&str, &str)]) -> String {
        build("abc", &options(variables), Patience::Check).unwrap_err()
    }

    #[test]
    fn unusable_variables_are_named_without_their_secrets() {
        let http = ("GOOGLE_BASE_URL", "http://127.0.0.1:1");
        let account = ("GOOGLE_SERVICE_ACCOUNT", "/nowhere/key.json");
        for (variables, named) in [
            (&[http][..], "GOOGLE_ALLOW_HTTP=true"),
            (&[("GOOGLE_BEARER_TOKEN", "hid\nden")], "GOOGLE_BEARER_TOKEN"),
            (&[account], "/nowhere/key.json"),
            (&[account, ("GOOGLE_SERVICE_ACCOUNT_KEY", "{}")], "unset one"),
            (&[("GOOGLE_SERVICE_ACCOUNT_KEY", "{\"private_key\": hidden")], "line 1, column"),
            (&[("GOOGLE_SERVICE_ACCOUNT_KEY", "{\"private_key\": \"hidden\"}")], "private_key_id"),
            (&[("GOOGLE_APPLICATION_CREDENTIALS", "/nowhere/adc.json")], "/nowhere/adc.json"),
        ] {
            let error = refused(variables);
            assert!(error.contains(named) && !error.contains("hid"), "{error}");
        }
    }

    #[test]
    fn kinds_of_credentials_that_cannot_be_used_are_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().to_str().unwrap();
        for (text, named) in [
            (r#"{"type": "external_account", "x": "hidden"}"#, "external_account"),
            (r#"{"type": "authorized_user", "client_id": "hidden"}"#, "client_secret"),
            (r#"{"type": "service_account", "private_key": 7}"#, "private_key"),
            ("[]", "no JSON object"),
            ("", "line 1, column 0"),
        ] {
            std::fs::write(path, text).unwrap();
            let error = refused(&[("GOOGLE_APPLICATION_CREDENTIALS", path)]);
            assert!(error.contains(named) && error.contains(path), "{error}");
            assert!(!error.contains("hidden"), "{error}");
        }
        let user = r#"{"type": "authorized_user", "client_id": "a", "client_secret": "b",
                       "refresh_token": "c"}"#;
        std::fs::write(path, user).unwrap();
        let user = options(&[("GOOGLE_APPLICATION_CREDENTIALS", path)]);
        build("abc", &user, Patience::Check).unwrap();
    }

    #[test]
    fn without_authentication_no_credentials_are_looked_for() {
        for anonymous in [("BACKUP_GCS_USE_AUTH", "false"), ("GOOGLE_SKIP_SIGNATURE", "true")] {
            let file = ("GOOGLE_APPLICATION_CREDENTIALS", "/nowhere/adc.json");
            build("abc", &options(&[anonymous, file]), Patience::Check).unwrap();
            build("abc", &options(&[anonymous]), Patience::Check).unwrap();
        }
    }
}
