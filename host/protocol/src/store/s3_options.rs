//! How S3 is reached, by the standard `AWS_*` variables: checked before a client is made of them.
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use object_store::ClientConfigKey;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey, Checksum};
use url::Url;

use crate::named_file;

/// A token of a role has about a thousand bytes.
const MAX_TOKEN_BYTES: u64 = 64 * 1024;

/// All public CAs together have 250 kB.
const MAX_CA_BUNDLE_BYTES: u64 = 16 * 1024 * 1024;

/// Shorter values are no secrets of a real store.
const MIN_SECRET_BYTES: usize = 6;

/// A PEM file whose CAs the client trusts instead of those of the system, as with other clients of S3.
const CA_BUNDLE: &str = "AWS_CA_BUNDLE";

/// The switch of other clients of S3 for checksums: `when_supported` (the default) or `when_required`.
const CHECKSUM_CALCULATION: &str = "AWS_REQUEST_CHECKSUM_CALCULATION";

/// How S3 is reached: credentials, region, endpoint, encryption, as the standard variables
/// (`AWS_ACCESS_KEY_ID`, `AWS_ENDPOINT_URL`, `AWS_SERVER_SIDE_ENCRYPTION` ...) say. Those that
/// `object_store`'s `AmazonS3Builder::from_env` knows are heeded, but none that is empty.
#[derive(Clone, PartialEq, Eq)]
pub struct S3Options {
    /// By name, so that of two for one thing (`AWS_ENDPOINT`, `AWS_ENDPOINT_URL`) always the same
    /// one wins.
    variables: Arc<BTreeMap<String, String>>,
}

impl S3Options {
    /// The variables of this process.
    pub fn from_env() -> S3Options {
        // A value that is not Unicode stays recognisable for the check.
        std::env::vars_os()
            .filter_map(|(name, value)| {
                Some((name.into_string().ok()?, value.to_string_lossy().into_owned()))
            })
            .collect()
    }

    /// Puts the variables into `builder`, with a checksum on each object and part if none is named: a
    /// bucket with Object Lock refuses a part without one.
    pub(super) fn apply(&self, builder: AmazonS3Builder) -> AmazonS3Builder {
        let builder =
            self.known().fold(builder, |builder, (key, value)| builder.with_config(key, value));
        let calculation = self.variables.get(CHECKSUM_CALCULATION).map(String::as_str);
        let is_unwanted =
            calculation.is_some_and(|when| when.eq_ignore_ascii_case("when_required"));
        if is_unwanted || self.get(AmazonS3ConfigKey::Checksum).is_some() {
            return builder;
        }
        builder.with_checksum_algorithm(Checksum::SHA256)
    }

    /// Refuses values that no request can carry: the client would end the program. The error names
    /// the variable and not its value.
    pub(super) fn check(&self) -> Result<(), String> {
        let is_used = |name: &str| {
            name == CA_BUNDLE || name.to_ascii_lowercase().parse::<AmazonS3ConfigKey>().is_ok()
        };
        for (name, value) in self.variables.iter().filter(|(name, _)| is_used(name)) {
            if let Some(place) = value.chars().position(|c| c.is_control() || !c.is_ascii()) {
                return Err(format!(
                    "{name} has a control character or one that is not ASCII, at place {} of {}",
                    place.saturating_add(1),
                    value.chars().count()
                ));
            }
        }
        if let Some(region) = self.get(AmazonS3ConfigKey::Region)
            && !region.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-' || c == b'_')
        {
            return Err("AWS_REGION is no region: eu-central-1 is one".to_owned());
        }
        let tokens = [
            ("AWS_WEB_IDENTITY_TOKEN_FILE", AmazonS3ConfigKey::WebIdentityTokenFile),
            (
                "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
                AmazonS3ConfigKey::ContainerAuthorizationTokenFile,
            ),
        ];
        for (name, key) in tokens {
            if let Some(path) = self.get(key) {
                check_token_file(name, path)?;
            }
        }
        Ok(())
    }

    /// The certificates of `AWS_CA_BUNDLE`; `None` without it.
    pub(super) fn ca_bundle(&self) -> Result<Option<Vec<reqwest::Certificate>>, String> {
        let Some(path) = self.variables.get(CA_BUNDLE) else { return Ok(None) };
        let bad = |problem: &str| format!("{CA_BUNDLE} names {path}, {problem}");
        let text = named_file::read(Path::new(path), MAX_CA_BUNDLE_BYTES)
            .map_err(|error| bad(&format!("which cannot be read: {error}")))?;
        match reqwest::Certificate::from_pem_bundle(&text) {
            Ok(certificates) if !certificates.is_empty() => Ok(Some(certificates)),
            _ => Err(bad("which has no certificates (-----BEGIN CERTIFICATE-----)")),
        }
    }

    /// The values that no message shows: the key id too, which a store may repeat in an error.
    pub(super) fn secrets(&self) -> Vec<String> {
        let is_key_id = |name: &str| name.to_ascii_uppercase().contains("ACCESS_KEY_ID");
        let hidden = self.variables.iter().filter(|(name, _)| is_secret(name) || is_key_id(name));
        // A shorter one would also be found in words that are none.
        hidden
            .map(|(_, value)| value.clone())
            .filter(|value| value.len() >= MIN_SECRET_BYTES)
            .collect()
    }

    fn known(&self) -> impl Iterator<Item = (AmazonS3ConfigKey, &String)> {
        let key = |name: &String| name.to_ascii_lowercase().parse().ok();
        self.variables.iter().filter_map(move |(name, value)| Some((key(name)?, value)))
    }

    fn get(&self, wanted: AmazonS3ConfigKey) -> Option<&str> {
        self.known().filter(|(key, _)| *key == wanted).last().map(|(_, value)| value.as_str())
    }

    fn is_on(&self, key: AmazonS3ConfigKey) -> bool {
        let value = self.get(key).unwrap_or_default().to_ascii_lowercase();
        ["1", "true", "on", "yes", "y"].contains(&value.as_str())
    }

    /// The endpoint as the client wants it; `None` for AWS. The error is what is wrong with it.
    pub(super) fn endpoint(&self, bucket: &str) -> Result<Option<String>, String> {
        let text = self.get(AmazonS3ConfigKey::S3Endpoint);
        let Some(text) = text.or_else(|| self.get(AmazonS3ConfigKey::Endpoint)) else {
            return Ok(None);
        };
        let bad = |problem: &str| format!("the endpoint (AWS_ENDPOINT_URL) {problem}");
        let mut url = Url::parse(text).map_err(|error| bad(&format!("is no URL: {error}")))?;
        let allow_http = AmazonS3ConfigKey::Client(ClientConfigKey::AllowHttp);
        match url.scheme() {
            "https" => {}
            "http" if self.is_on(allow_http) => {}
            "http" => {
                return Err(bad(
                    "is http://, which has no encryption: set AWS_ALLOW_HTTP=true to \
                                use it all the same",
                ));
            }
            _ => return Err(bad("must begin with https:// or http://")),
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(bad("must not hold a user or a password"));
        }
        // Without this, requests to `bucket.host` go to `host/bucket`, which some stores lack.
        if self.is_on(AmazonS3ConfigKey::VirtualHostedStyleRequest) {
            let host = url.host_str().unwrap_or_default().to_owned();
            if !host.starts_with(&format!("{bucket}.")) {
                url.set_host(Some(&format!("{bucket}.{host}"))).map_err(|_| {
                    bad("must have a name, not a number, for virtual-hosted requests")
                })?;
            }
        }
        Ok(Some(url.as_str().trim_end_matches('/').to_owned()))
    }

    pub(super) fn without_secrets(&self, text: &str) -> String {
        self.variables
            .iter()
            .filter(|(name, _)| is_secret(name))
            .fold(text.to_owned(), |text, (name, value)| {
                text.replace(value.as_str(), &format!("<{name}>"))
            })
    }
}

fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    let holds_secret = ["SECRET", "TOKEN", "CUSTOMER_KEY", "PROXY_URL"];
    !name.ends_with("_FILE") && holds_secret.iter().any(|part| name.contains(part))
}

/// A token with white space around it is refused by its service, or cannot be sent at all. The file is
/// read again whenever a token expires, so it cannot be corrected here.
fn check_token_file(name: &str, path: &str) -> Result<(), String> {
    let unreadable =
        |reason: &dyn fmt::Display| format!("{name} names {path}, which cannot be read: {reason}");
    let token =
        named_file::read(Path::new(path), MAX_TOKEN_BYTES).map_err(|error| unreadable(&error))?;
    let token = String::from_utf8(token).map_err(|error| unreadable(&error))?;
    if token.is_empty() || token.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err(format!(
            "{name} names {path}, which is empty or holds white space, such as a newline at its end: \
             write the token alone (printf %s \"$TOKEN\")"
        ));
    }
    Ok(())
}

/// Keeps the variables whose names begin with `AWS_`, without the white space around their values:
/// a secret that was made with `echo` ends with a newline.
impl FromIterator<(String, String)> for S3Options {
    fn from_iter<T: IntoIterator<Item = (String, String)>>(variables: T) -> S3Options {
        let kept = variables
            .into_iter()
            .filter(|(name, _)| name.starts_with("AWS_"))
            .map(|(name, value)| (name, value.trim().to_owned()))
            .filter(|(_, value)| !value.is_empty());
        S3Options { variables: Arc::new(kept.collect()) }
    }
}

/// Names only: values are credentials, or may be taken for such.
impl fmt::Debug for S3Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.variables.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::StoreError;
    use crate::store::s3::{Patience, S3Place};

    fn options(variables: &[(&str, &str)]) -> S3Options {
        variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn of_the_variables_only_names_are_shown() {
        let options = options(&[
            ("AWS_SECRET_ACCESS_KEY", "hidden-1"),
            ("AWS_SESSION_TOKEN", ""),
            ("HOME", "/root"),
        ]);
        assert_eq!(format!("{options:?}"), "{\"AWS_SECRET_ACCESS_KEY\"}");
        let place = S3Place::new("abc", "", options).unwrap();
        assert!(!format!("{place:?}").contains("hidden-1"));
    }

    #[test]
    fn unusable_variables_are_named_without_their_secrets() {
        let http = ("AWS_ENDPOINT_URL", "http://127.0.0.1:1");
        for (variables, named) in [
            (&[http][..], "AWS_ALLOW_HTTP=true"),
            (&[("AWS_ENDPOINT", "s3.example")], "is no URL"),
            (&[("AWS_ENDPOINT", "ftp://s3.example")], "https://"),
            (&[("AWS_ENDPOINT", "https://me:hidden-1@s3.example")], "a user or a password"),
            (&[("AWS_SECRET_ACCESS_KEY", "hidden-1")], "AccessKeyId"),
            (&[("AWS_ACCESS_KEY_ID", "me")], "SecretAccessKey"),
            (&[("AWS_SERVER_SIDE_ENCRYPTION", "rot13")], "rot13"),
            (
                &[
                    ("AWS_SERVER_SIDE_ENCRYPTION", "sse-c"),
                    ("AWS_SSE_CUSTOMER_KEY_BASE64", "hidden-1"),
                ],
                "customer-key",
            ),
            (
                &[http, ("AWS_ALLOW_HTTP", "1"), ("AWS_VIRTUAL_HOSTED_STYLE_REQUEST", "true")],
                "virtual-hosted",
            ),
        ] {
            let place = S3Place::new("abc", "", options(variables)).unwrap();
            let error = place.open(Patience::Check).unwrap_err();
            assert!(matches!(error, StoreError::BadS3Options { .. }), "{error}");
            let message = error.to_string();
            assert!(message.contains(named), "{message}");
            assert!(!message.contains("hidden-1"), "{message}");
        }
    }

    #[test]
    fn endpoints_are_chosen_as_other_clients_do_and_carry_the_bucket_where_it_is_the_host() {
        let endpoint = |variables: &[(&str, &str)]| options(variables).endpoint("abc").unwrap();
        assert_eq!(endpoint(&[]), None);
        let both = [
            ("AWS_ENDPOINT_URL", "https://all.example"),
            ("AWS_ENDPOINT_URL_S3", "https://s3.example:9/"),
        ];
        assert_eq!(endpoint(&both).unwrap(), "https://s3.example:9");
        let hosted = ("AWS_VIRTUAL_HOSTED_STYLE_REQUEST", "true");
        assert_eq!(endpoint(&[both[0], hosted]).unwrap(), "https://abc.all.example");
        let already = ("AWS_ENDPOINT_URL", "https://abc.all.example");
        assert_eq!(endpoint(&[already, hosted]).unwrap(), "https://abc.all.example");
    }

    #[test]
    fn white_space_around_values_is_dropped_and_within_it_is_named() {
        let kept = options(&[("AWS_ACCESS_KEY_ID", " key\r\n"), ("AWS_SESSION_TOKEN", "\n")]);
        assert_eq!(kept.get(AmazonS3ConfigKey::AccessKeyId), Some("key"));
        assert_eq!(kept.get(AmazonS3ConfigKey::Token), None);
        kept.check().unwrap();
        for (name, value) in [
            ("AWS_ACCESS_KEY_ID", "hid\nden"),
            ("AWS_SECRET_ACCESS_KEY", "hid\u{fffd}den"),
            ("AWS_SESSION_TOKEN", "hid\u{7f}den"),
            ("AWS_SSE_KMS_KEY_ID", "hid\tden"),
            ("AWS_CA_BUNDLE", "hid\nden"),
            ("AWS_REGION", "eu west"),
        ] {
            let error = options(&[(name, value)]).check().unwrap_err();
            assert!(error.contains(name) && !error.contains("den"), "{error}");
        }
        // No variable that the client uses.
        options(&[("AWS_LAMBDA_NOTE", "a\nb")]).check().unwrap();
    }

    #[test]
    fn a_token_file_holds_the_token_alone() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().to_str().unwrap();
        for name in ["AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"] {
            let check = || options(&[(name, path)]).check();
            std::fs::write(path, "token").unwrap();
            check().unwrap();
            for bad in ["token\n", " token", "to ken", ""] {
                std::fs::write(path, bad).unwrap();
                let error = check().unwrap_err();
                assert!(error.contains(name) && error.contains(path), "{error}");
            }
            let missing = options(&[(name, "/nowhere/token")]).check().unwrap_err();
            assert!(missing.contains("/nowhere/token"), "{missing}");
        }
    }

    #[test]
    fn a_ca_bundle_has_certificates() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "no certificate").unwrap();
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let no_certificates = [file.path().to_str().unwrap(), pipe.to_str().unwrap()];
        for path in no_certificates.into_iter().chain(["/nowhere/ca.pem", "/dev/zero"]) {
            let error = options(&[("AWS_CA_BUNDLE", path)]).ca_bundle().unwrap_err();
            assert!(error.contains("AWS_CA_BUNDLE") && error.contains(path), "{error}");
        }
        assert!(options(&[]).ca_bundle().unwrap().is_none());
    }
}
