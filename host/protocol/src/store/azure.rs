//! The client of Azure Blob Storage, made of the `AZURE_*` variables, which are checked first.
use std::sync::Arc;

use object_store::ClientConfigKey;
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};

use crate::store::OpenStore;
use crate::store::answer::reasons;
use crate::store::http_client::HttpClients;
use crate::store::options::{StoreOptions, check_token_file, endpoint_url};
use crate::store::patience::Patience;

const PREFIX: &str = "AZURE_";

/// Azure's name for account, keys and endpoint in one text, which stands above the variables for each.
const CONNECTION_STRING: &str = "AZURE_STORAGE_CONNECTION_STRING";

/// The names of Azure's own command line, and of Weaviate, which `object_store` does not know.
const ALIASES: [(&str, AzureConfigKey); 3] = [
    ("AZURE_STORAGE_ACCOUNT", AzureConfigKey::AccountName),
    ("AZURE_STORAGE_KEY", AzureConfigKey::AccessKey),
    ("IDENTITY_ENDPOINT", AzureConfigKey::MsiEndpoint),
];

/// A client of `container`; nothing is sent yet. The error is what is wrong with the variables.
pub(super) fn build(
    container: &str,
    options: &StoreOptions,
    patience: Patience,
) -> Result<OpenStore, String> {
    check(options)?;
    let connection = Connection::of(options)?;
    let builder = MicrosoftAzureBuilder::new().with_client_options(patience.client_options());
    let aliases =
        ALIASES.into_iter().filter_map(|(name, key)| Some((key, options.variable(name)?)));
    let mut builder = aliases
        .chain(options.known(PREFIX))
        .chain(connection.settings.iter().map(|(key, value)| (*key, value.as_str())))
        .fold(builder, |builder, (key, value)| builder.with_config(key, value))
        .with_container_name(container)
        .with_http_connector(HttpClients { ca_bundle: None })
        .with_retry(patience.retry());
    if connection.is_plain {
        builder = builder.with_allow_http(true);
    }
    let account = builder.get_config_value(&AzureConfigKey::AccountName);
    check_account(account.as_deref(), options)?;
    if let Some(text) = builder.get_config_value(&AzureConfigKey::Endpoint) {
        let allow_http = AzureConfigKey::Client(ClientConfigKey::AllowHttp);
        let allow_http = connection.is_plain || options.is_on(PREFIX, &allow_http);
        let url = endpoint_url(&text, "AZURE_STORAGE_ENDPOINT", allow_http, "AZURE_ALLOW_HTTP")?;
        builder = builder.with_endpoint(url.as_str().trim_end_matches('/').to_owned());
    }
    let objects = Arc::new(builder.build().map_err(|error| reasons(&error))?);
    Ok(OpenStore { objects, uploads: None })
}

fn check(options: &StoreOptions) -> Result<(), String> {
    options.check_characters(|name| {
        name == CONNECTION_STRING
            || ALIASES.iter().any(|(alias, _)| *alias == name)
            || name.starts_with(PREFIX)
                && name.to_ascii_lowercase().parse::<AzureConfigKey>().is_ok()
    })?;
    match options.value(PREFIX, &AzureConfigKey::FederatedTokenFile) {
        Some(path) => check_token_file("AZURE_FEDERATED_TOKEN_FILE", path),
        None => Ok(()),
    }
}

/// The account is a part of the store's address.
fn check_account(account: Option<&str>, options: &StoreOptions) -> Result<(), String> {
    let Some(account) = account else {
        if options.is_on(PREFIX, &AzureConfigKey::UseEmulator) {
            return Ok(());
        }
        return Err(format!(
            "no storage account is named: set AZURE_STORAGE_ACCOUNT_NAME, or {CONNECTION_STRING}"
        ));
    };
    let is_part = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-' || c == b'.';
    if account.bytes().all(is_part) {
        return Ok(());
    }
    Err("AZURE_STORAGE_ACCOUNT_NAME is no name of a storage account (a-z, 0-9)".to_owned())
}

/// What a connection string says ("Configure Azure Storage connection strings").
#[derive(Default)]
struct Connection {
    settings: Vec<(AzureConfigKey, String)>,
    /// Whether it asks for HTTP without TLS.
    is_plain: bool,
}

impl Connection {
    fn of(options: &StoreOptions) -> Result<Connection, String> {
        let Some(text) = options.variable(CONNECTION_STRING) else {
            return Ok(Connection::default());
        };
        let bad = |problem: &str| Err(format!("{CONNECTION_STRING} {problem}"));
        let mut connection = Connection::default();
        let (mut suffix, mut account) = ("core.windows.net", None);
        for (number, setting) in text.split(';').filter(|part| !part.is_empty()).enumerate() {
            let Some((name, value)) = setting.split_once('=') else {
                let number = number.saturating_add(1);
                return bad(&format!("has a part without '=': number {number}"));
            };
            let key = match name.trim().to_ascii_lowercase().as_str() {
                "accountname" => {
                    account = Some(value);
                    AzureConfigKey::AccountName
                }
                "accountkey" => AzureConfigKey::AccessKey,
                "sharedaccesssignature" => AzureConfigKey::SasKey,
                "blobendpoint" => AzureConfigKey::Endpoint,
                "defaultendpointsprotocol" => {
                    connection.is_plain = value.eq_ignore_ascii_case("http");
                    continue;
                }
                "endpointsuffix" => {
                    suffix = value;
                    continue;
                }
                "usedevelopmentstorage" => {
                    return bad("names the emulator: set AZURE_STORAGE_USE_EMULATOR=true instead");
                }
                // Of queues, tables and files.
                _ => continue,
            };
            connection.settings.push((key, value.to_owned()));
        }
        let has = |wanted| connection.settings.iter().any(|(key, _)| *key == wanted);
        if !has(AzureConfigKey::Endpoint) {
            let Some(account) = account else {
                return bad("has neither AccountName nor BlobEndpoint");
            };
            let scheme = if connection.is_plain { "http" } else { "https" };
            let endpoint = format!("{scheme}://{account}.blob.{suffix}");
            connection.settings.push((AzureConfigKey::Endpoint, endpoint));
        } else if account.is_none()
            && let Some(account) = connection.account_of_endpoint()
        {
            connection.settings.push((AzureConfigKey::AccountName, account));
        }
        Ok(connection)
    }

    /// `mine` of `https://mine.blob.core.windows.net/`: a string with a shared access signature may
    /// have no `AccountName`.
    fn account_of_endpoint(&self) -> Option<String> {
        let (_, endpoint) =
            self.settings.iter().find(|(key, _)| *key == AzureConfigKey::Endpoint)?;
        let (_, host) = endpoint.split_once("://")?;
        let (account, rest) = host.split_once('.')?;
        rest.starts_with("blob.").then(|| account.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "aGlkZGVuLWFjY291bnQta2V5";

    fn options(variables: &[(&str, &str)]) -> StoreOptions {
        variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn connection(text: &str) -> Connection {
        Connection::of(&options(&[(CONNECTION_STRING, text)])).unwrap()
    }

    #[test]
    fn a_connection_string_says_all_that_is_needed() {
        let text = format!(
            "DefaultEndpointsProtocol=https;AccountName=mine;AccountKey={KEY}==;\
                            EndpointSuffix=core.chinacloudapi.cn;QueueEndpoint=https://q.example"
        );
        let whole = connection(&text);
        assert!(!whole.is_plain);
        let key = format!("{KEY}==");
        let expected = [
            (AzureConfigKey::AccountName, "mine"),
            (AzureConfigKey::AccessKey, &key),
            (AzureConfigKey::Endpoint, "https://mine.blob.core.chinacloudapi.cn"),
        ];
        let found: Vec<_> =
            whole.settings.iter().map(|(key, text)| (*key, text.as_str())).collect();
        assert_eq!(found, expected);

        let signed = connection(
            "BlobEndpoint=https://mine.blob.core.windows.net/;SharedAccessSignature=sv=2026&sig=a%3D",
        );
        let account = (AzureConfigKey::AccountName, "mine".to_owned());
        assert!(signed.settings.contains(&account), "{:?}", signed.settings);
        let signature = (AzureConfigKey::SasKey, "sv=2026&sig=a%3D".to_owned());
        assert!(signed.settings.contains(&signature), "{:?}", signed.settings);
        assert!(connection("DefaultEndpointsProtocol=http;AccountName=mine").is_plain);
    }

    #[test]
    fn unusable_variables_are_named_without_their_secrets() {
        let account = ("AZURE_STORAGE_ACCOUNT_NAME", "mine");
        let key = ("AZURE_STORAGE_KEY", KEY);
        let token = ("AZURE_FEDERATED_TOKEN_FILE", "/nowhere/token");
        for (variables, named) in [
            (&[key][..], "AZURE_STORAGE_ACCOUNT_NAME"),
            (&[("AZURE_STORAGE_ACCOUNT", "evil.example/x"), key], "no name of a storage account"),
            (&[account, ("AZURE_STORAGE_KEY", "hidden!!")], "Access Key"),
            (&[account, ("AZURE_STORAGE_KEY", "hid\nden")], "AZURE_STORAGE_KEY"),
            (&[account, key, ("AZURE_STORAGE_ENDPOINT", "http://127.0.0.1:1")], "AZURE_ALLOW_HTTP"),
            (&[account, token], "/nowhere/token"),
            (&[(CONNECTION_STRING, "AccountName=mine;hidden")], "number 2"),
            (&[(CONNECTION_STRING, "AccountKey=hidden")], "neither AccountName nor"),
            (&[(CONNECTION_STRING, "UseDevelopmentStorage=true")], "AZURE_STORAGE_USE_EMULATOR"),
            (&[account, ("AZURE_STORAGE_SAS_TOKEN", "hidden-1")], "SAS"),
        ] {
            let options = options(variables);
            let error = build("abc", &options, Patience::Check).unwrap_err();
            let error = options.without_secrets(&error);
            assert!(error.contains(named) && !error.contains("hid"), "{error}");
        }
    }

    #[test]
    fn the_names_of_other_tools_are_known() {
        let account = ("AZURE_STORAGE_ACCOUNT", "mine");
        build("abc", &options(&[account, ("AZURE_STORAGE_KEY", KEY)]), Patience::Check).unwrap();
        let text = format!("AccountName=mine;AccountKey={KEY}");
        build("abc", &options(&[(CONNECTION_STRING, &text)]), Patience::Check).unwrap();
    }
}
