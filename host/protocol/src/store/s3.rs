//! The client of S3, made of the `AWS_*` variables, which are checked first.
use std::path::Path;
use std::sync::Arc;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey, Checksum, S3ConditionalPut};
use object_store::client::HttpConnector;
use object_store::{ClientConfigKey, ClientOptions};
use url::Url;

use crate::named_file;
use crate::store::OpenStore;
use crate::store::answer::reasons;
use crate::store::http_client::HttpClients;
use crate::store::options::{StoreOptions, check_token_file, endpoint_url};
use crate::store::patience::Patience;
use crate::store::uploads::{BucketUploads, S3Listing};

const PREFIX: &str = "AWS_";

/// All public CAs together have 250 kB.
const MAX_CA_BUNDLE_BYTES: u64 = 16 * 1024 * 1024;

/// A PEM file whose CAs the client trusts instead of those of the system, as with other clients of S3.
const CA_BUNDLE: &str = "AWS_CA_BUNDLE";

/// The switch of other clients of S3 for checksums: `when_supported` (the default) or `when_required`.
const CHECKSUM_CALCULATION: &str = "AWS_REQUEST_CHECKSUM_CALCULATION";

/// Weaviate's setting of the endpoint, as `host:port`, and whether it speaks TLS, which is the default.
const ENDPOINT_OF_BACKUPS: [&str; 2] = ["BACKUP_S3_ENDPOINT", "BACKUP_S3_USE_SSL"];

/// Weaviate's setting of a role that the export assumes.
const ROLE_OF_EXPORTS: &str = "EXPORT_S3_ROLE_ARN";

/// Other names of the keys, which Weaviate's client knows.
const ALIASES: [(&str, AmazonS3ConfigKey); 2] = [
    ("AWS_ACCESS_KEY", AmazonS3ConfigKey::AccessKeyId),
    ("AWS_SECRET_KEY", AmazonS3ConfigKey::SecretAccessKey),
];

/// A client of `bucket`; nothing is sent yet. The error is what is wrong with the variables.
pub(super) fn build(
    bucket: &str,
    options: &StoreOptions,
    patience: Patience,
) -> Result<OpenStore, String> {
    check(options)?;
    let ca_bundle = ca_bundle(options)?;
    let mut builder =
        apply(options, AmazonS3Builder::new().with_client_options(patience.client_options()))
            .with_bucket_name(bucket)
            .with_http_connector(HttpClients { ca_bundle: ca_bundle.clone() })
            .with_retry(patience.retry())
            .with_conditional_put(S3ConditionalPut::ETagMatch)
            // Not every store has it, and only one object is ever removed.
            .with_disable_bulk_delete(true);
    if let Some(endpoint) = endpoint(options, bucket)? {
        // An endpoint of Weaviate's settings has a switch of its own.
        if endpoint.starts_with("http:") {
            builder = builder.with_allow_http(true);
        }
        builder = builder.with_config(AmazonS3ConfigKey::S3Endpoint, endpoint);
    }
    // The last source has the reason, for example that there are no CA certificates.
    let of_client = client_options(&builder);
    let s3 = Arc::new(builder.build().map_err(|error| reasons(&error))?);
    let http = HttpClients { ca_bundle }.connect(&of_client);
    let http = http.map_err(|error| reasons(&error))?;
    let listing = Some(S3Listing { s3: Arc::clone(&s3), http });
    let uploads = Arc::new(BucketUploads { store: Arc::clone(&s3), listing });
    Ok(OpenStore { objects: s3, uploads: Some(uploads) })
}

/// The options of the client that `builder` makes.
fn client_options(builder: &AmazonS3Builder) -> ClientOptions {
    let keys = [
        ClientConfigKey::AllowHttp,
        ClientConfigKey::AllowInvalidCertificates,
        ClientConfigKey::ConnectTimeout,
        ClientConfigKey::ProxyCaCertificate,
        ClientConfigKey::ProxyExcludes,
        ClientConfigKey::ProxyUrl,
        ClientConfigKey::Timeout,
    ];
    keys.into_iter().fold(ClientOptions::new(), |options, key| {
        match builder.get_config_value(&AmazonS3ConfigKey::Client(key)) {
            Some(value) => options.with_config(key, value),
            None => options,
        }
    })
}

/// Puts the variables into `builder`, with a checksum on each object and part if none is named: a
/// bucket with Object Lock refuses a part without one.
fn apply(options: &StoreOptions, builder: AmazonS3Builder) -> AmazonS3Builder {
    let aliases =
        ALIASES.into_iter().filter_map(|(name, key)| Some((key, options.variable(name)?)));
    let builder = aliases
        .chain(options.known(PREFIX))
        .fold(builder, |builder, (key, value)| builder.with_config(key, value));
    let calculation = options.variable(CHECKSUM_CALCULATION);
    let is_unwanted = calculation.is_some_and(|when| when.eq_ignore_ascii_case("when_required"));
    if is_unwanted || options.value(PREFIX, &AmazonS3ConfigKey::Checksum).is_some() {
        return builder;
    }
    builder.with_checksum_algorithm(Checksum::SHA256)
}

fn check(options: &StoreOptions) -> Result<(), String> {
    options.check_characters(|name| {
        name == CA_BUNDLE
            || ENDPOINT_OF_BACKUPS.contains(&name)
            || ALIASES.iter().any(|(alias, _)| *alias == name)
            || name.starts_with(PREFIX)
                && name.to_ascii_lowercase().parse::<AmazonS3ConfigKey>().is_ok()
    })?;
    if options.variable(ROLE_OF_EXPORTS).is_some() {
        return Err(format!(
            "{ROLE_OF_EXPORTS} is set, and this version assumes no role with other credentials: give the \
             role's own credentials, or AWS_ROLE_ARN with AWS_WEB_IDENTITY_TOKEN_FILE, and unset it"
        ));
    }
    if let Some(region) = options.value(PREFIX, &AmazonS3ConfigKey::Region)
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
        if let Some(path) = options.value(PREFIX, &key) {
            check_token_file(name, path)?;
        }
    }
    Ok(())
}

/// The certificates of `AWS_CA_BUNDLE`; `None` without it.
fn ca_bundle(options: &StoreOptions) -> Result<Option<Vec<reqwest::Certificate>>, String> {
    let Some(path) = options.variable(CA_BUNDLE) else { return Ok(None) };
    let bad = |problem: &str| format!("{CA_BUNDLE} names {path}, {problem}");
    let text = named_file::read(Path::new(path), MAX_CA_BUNDLE_BYTES)
        .map_err(|error| bad(&format!("which cannot be read: {error}")))?;
    match reqwest::Certificate::from_pem_bundle(&text) {
        Ok(certificates) if !certificates.is_empty() => Ok(Some(certificates)),
        _ => Err(bad("which has no certificates (-----BEGIN CERTIFICATE-----)")),
    }
}

/// The endpoint as the client wants it; `None` for AWS. The error is what is wrong with it.
fn endpoint(options: &StoreOptions, bucket: &str) -> Result<Option<String>, String> {
    let name = "AWS_ENDPOINT_URL";
    let of_service = options.value(PREFIX, &AmazonS3ConfigKey::S3Endpoint);
    let own = of_service.or_else(|| options.value(PREFIX, &AmazonS3ConfigKey::Endpoint));
    let allow_http = AmazonS3ConfigKey::Client(ClientConfigKey::AllowHttp);
    let mut url = match own {
        Some(text) => {
            let allow_http = options.is_on(PREFIX, &allow_http);
            endpoint_url(text, name, allow_http, "AWS_ALLOW_HTTP")?
        }
        None => match of_backup(options)? {
            Some(url) => url,
            None => return Ok(None),
        },
    };
    // Without this, requests to `bucket.host` go to `host/bucket`, which some stores lack.
    if options.is_on(PREFIX, &AmazonS3ConfigKey::VirtualHostedStyleRequest) {
        let host = url.host_str().unwrap_or_default().to_owned();
        if !host.starts_with(&format!("{bucket}.")) {
            url.set_host(Some(&format!("{bucket}.{host}"))).map_err(|_| {
                format!(
                    "the endpoint ({name}) must have a name, not a number, for virtual-hosted requests"
                )
            })?;
        }
    }
    Ok(Some(url.as_str().trim_end_matches('/').to_owned()))
}

/// The endpoint of Weaviate's backups; `None` for AWS itself, whose regions have hosts of their own.
fn of_backup(options: &StoreOptions) -> Result<Option<Url>, String> {
    let [name, use_ssl] = ENDPOINT_OF_BACKUPS;
    let Some(host) = options.variable(name) else { return Ok(None) };
    if host == "s3.amazonaws.com" {
        return Ok(None);
    }
    let is_plain = options.variable(use_ssl).is_some_and(|on| on.eq_ignore_ascii_case("false"));
    let scheme = if is_plain { "http" } else { "https" };
    if host.contains("://") {
        return Err(format!("{name} is host:port, without a scheme ({use_ssl} says whether TLS)"));
    }
    endpoint_url(&format!("{scheme}://{host}"), name, is_plain, use_ssl).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(variables: &[(&str, &str)]) -> StoreOptions {
        variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn the_documented_variable_gives_a_slower_store_more_time() {
        let timeout = AmazonS3ConfigKey::Client(ClientConfigKey::Timeout);
        let builder = AmazonS3Builder::new().with_client_options(Patience::Export.client_options());
        let builder = apply(&options(&[("AWS_TIMEOUT", "5 minutes")]), builder);
        assert_eq!(builder.get_config_value(&timeout).unwrap(), "5 minutes");
    }

    #[test]
    fn unusable_variables_are_named() {
        let http = ("AWS_ENDPOINT_URL", "http://127.0.0.1:1");
        for (variables, named) in [
            (&[http][..], "AWS_ALLOW_HTTP=true"),
            (&[("AWS_SECRET_ACCESS_KEY", "hidden-1")], "AccessKeyId"),
            (&[("AWS_ACCESS_KEY_ID", "me")], "SecretAccessKey"),
            (&[("AWS_ACCESS_KEY", "me")], "SecretAccessKey"),
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
            (&[("EXPORT_S3_ROLE_ARN", "arn:aws:iam::1:role/x")], "EXPORT_S3_ROLE_ARN"),
            (&[("BACKUP_S3_ENDPOINT", "https://minio:9000")], "BACKUP_S3_ENDPOINT"),
            (&[("AWS_WEB_IDENTITY_TOKEN_FILE", "/nowhere/token")], "/nowhere/token"),
            (&[("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "/nowhere/a")], "/nowhere/a"),
        ] {
            let options = options(variables);
            let error = build("abc", &options, Patience::Check).unwrap_err();
            assert!(error.contains(named), "{error}");
            let shown = options.without_secrets(&error);
            assert!(!shown.contains("hidden-1"), "{shown}");
        }
    }

    #[test]
    fn endpoints_are_chosen_as_other_clients_do_and_carry_the_bucket_where_it_is_the_host() {
        let endpoint = |variables: &[(&str, &str)]| endpoint(&options(variables), "abc").unwrap();
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
    fn the_endpoint_of_backups_counts_where_there_is_none_of_our_own() {
        let endpoint = |variables: &[(&str, &str)]| endpoint(&options(variables), "abc").unwrap();
        let backup = ("BACKUP_S3_ENDPOINT", "minio:9000");
        assert_eq!(endpoint(&[backup]).unwrap(), "https://minio:9000");
        let plain = ("BACKUP_S3_USE_SSL", "False");
        assert_eq!(endpoint(&[backup, plain]).unwrap(), "http://minio:9000");
        let own = ("AWS_ENDPOINT", "https://own.example");
        assert_eq!(endpoint(&[backup, plain, own]).unwrap(), "https://own.example");
        assert_eq!(endpoint(&[("BACKUP_S3_ENDPOINT", "s3.amazonaws.com")]), None);
    }

    #[test]
    fn white_space_within_values_is_named() {
        for (name, value) in [
            ("AWS_ACCESS_KEY_ID", "hid\nden"),
            ("AWS_ACCESS_KEY", "hid\nden"),
            ("AWS_SECRET_ACCESS_KEY", "hid\u{fffd}den"),
            ("AWS_SESSION_TOKEN", "hid\u{7f}den"),
            ("AWS_SSE_KMS_KEY_ID", "hid\tden"),
            ("AWS_CA_BUNDLE", "hid\nden"),
            ("AWS_REGION", "eu west"),
        ] {
            let error = check(&options(&[(name, value)])).unwrap_err();
            assert!(error.contains(name) && !error.contains("den"), "{error}");
        }
        // No variable that the client uses.
        check(&options(&[("AWS_LAMBDA_NOTE", "a\nb")])).unwrap();
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
            let error = ca_bundle(&options(&[("AWS_CA_BUNDLE", path)])).unwrap_err();
            assert!(error.contains("AWS_CA_BUNDLE") && error.contains(path), "{error}");
        }
        assert!(ca_bundle(&options(&[])).unwrap().is_none());
    }
}
