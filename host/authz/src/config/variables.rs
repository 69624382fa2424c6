//! Reads the settings from Weaviate's own variables.
use url::Url;

use super::described::{DescribedSetting, SettingSource};
use super::{
    AdminListConfig, ApiKeysConfig, AuthzConfig, ConfigError, NamespaceClaims, OidcConfig,
    RbacConfig,
};
use crate::principal::NOBODY;
use crate::secret::Secret;

impl AuthzConfig {
    /// Weaviate's variables for users and rules (`docs/format/rbac.md` 5). The fields that have no
    /// variable of Weaviate are left empty.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn from_variables(
        variable: &dyn Fn(&str) -> Option<String>,
    ) -> Result<AuthzConfig, ConfigError> {
        let mut read = Variables { variable, described: Vec::new() };
        let namespaces = read.is_on("NAMESPACES_ENABLED");
        let mut config = AuthzConfig {
            anonymous: read.is_on("AUTHENTICATION_ANONYMOUS_ACCESS_ENABLED"),
            api_keys: api_keys(&mut read)?,
            db_users: read.is_on("AUTHENTICATION_DB_USERS_ENABLED"),
            oidc: oidc(&mut read, namespaces)?,
            rbac: rbac(&mut read),
            admin_list: admin_list(&mut read)?,
            ..AuthzConfig::default()
        };
        config.variables = read.described;
        Ok(config)
    }

    /// What [`AuthzConfig::from_variables`] has read: each variable with its value and source. Those of
    /// a method that is off are left out.
    pub fn described(&self) -> &[DescribedSetting] {
        &self.variables
    }
}

fn api_keys(read: &mut Variables<'_>) -> Result<Option<ApiKeysConfig>, ConfigError> {
    if !read.is_on("AUTHENTICATION_APIKEY_ENABLED") {
        return Ok(None);
    }
    let keys = read.secrets("AUTHENTICATION_APIKEY_ALLOWED_KEYS").ok_or(ConfigError::NoKeys)?;
    let users = read.list(&["AUTHENTICATION_APIKEY_USERS"]).ok_or(ConfigError::NoUsers)?;
    if keys.iter().any(|key| key.reveal().is_empty()) {
        return Err(ConfigError::EmptyKey);
    }
    if users.iter().any(String::is_empty) {
        return Err(ConfigError::EmptyUser);
    }
    if users.iter().any(|user| user == NOBODY) {
        return Err(ConfigError::Nobody);
    }
    if users.len() != 1 && users.len() != keys.len() {
        return Err(ConfigError::UsersAndKeys { users: users.len(), keys: keys.len() });
    }
    Ok(Some(ApiKeysConfig { keys, users }))
}

fn oidc(read: &mut Variables<'_>, namespaces: bool) -> Result<Option<OidcConfig>, ConfigError> {
    if !read.is_on("AUTHENTICATION_OIDC_ENABLED") {
        return Ok(None);
    }
    if read.is_on("AUTHENTICATION_OIDC_INSECURE_SKIP_TLS_VERIFY") {
        return Err(ConfigError::OidcSkipTlsVerify);
    }
    let issuer = read.required("AUTHENTICATION_OIDC_ISSUER")?;
    let discovery = issuer.trim_end_matches('/').to_owned() + "/.well-known/openid-configuration";
    let discovery = url("AUTHENTICATION_OIDC_ISSUER", &discovery)?;
    let skip_client_id_check = read.is_on("AUTHENTICATION_OIDC_SKIP_CLIENT_ID_CHECK");
    let client_id = read.text("AUTHENTICATION_OIDC_CLIENT_ID");
    if client_id.is_none() && !skip_client_id_check {
        return Err(ConfigError::OidcClientId);
    }
    let username_claim = read.required("AUTHENTICATION_OIDC_USERNAME_CLAIM")?;
    let groups_claim = read.text("AUTHENTICATION_OIDC_GROUPS_CLAIM");
    let scopes = match read.text("AUTHENTICATION_OIDC_SCOPES") {
        Some(scopes) => scopes.split(',').map(str::to_owned).collect(),
        None => Vec::new(),
    };
    let certificate = read.text("AUTHENTICATION_OIDC_CERTIFICATE");
    match &certificate {
        Some(text) if text.starts_with("http") || text.starts_with("s3://") => {
            return Err(ConfigError::OidcCertificateAddress);
        }
        Some(text) if !text.contains("-----BEGIN CERTIFICATE-----") => {
            return Err(ConfigError::OidcCertificate);
        }
        _ => {}
    }
    let jwks_url = match read.text("AUTHENTICATION_OIDC_JWKS_URL") {
        Some(text) => Some(url("AUTHENTICATION_OIDC_JWKS_URL", &text)?),
        None => None,
    };
    let claims = (
        read.text("AUTHENTICATION_OIDC_NAMESPACE_CLAIM"),
        read.text("AUTHENTICATION_OIDC_GLOBAL_PRINCIPAL_CLAIM"),
    );
    let namespace_claims = match claims {
        (Some(namespace), Some(global_principal)) => {
            Some(NamespaceClaims { namespace, global_principal })
        }
        (None, None) if !namespaces => None,
        _ => return Err(ConfigError::OidcNamespaces),
    };
    Ok(Some(OidcConfig {
        issuer,
        discovery,
        client_id,
        skip_client_id_check,
        username_claim,
        groups_claim,
        scopes,
        certificate,
        jwks_url,
        namespace_claims,
    }))
}

fn rbac(read: &mut Variables<'_>) -> Option<RbacConfig> {
    let is_on = read.is_on("AUTHORIZATION_RBAC_ENABLED") | read.is_on("AUTHORIZATION_ENABLE_RBAC");
    is_on.then(|| RbacConfig {
        root_users: read.names(&["AUTHORIZATION_RBAC_ROOT_USERS", "AUTHORIZATION_ADMIN_USERS"]),
        root_groups: read.names(&["AUTHORIZATION_RBAC_ROOT_GROUPS"]),
        readonly_groups: read.names(&["AUTHORIZATION_RBAC_READONLY_GROUPS"]),
    })
}

fn admin_list(read: &mut Variables<'_>) -> Result<Option<AdminListConfig>, ConfigError> {
    if !read.is_on("AUTHORIZATION_ADMINLIST_ENABLED") {
        return Ok(None);
    }
    let list = AdminListConfig {
        users: read.names(&["AUTHORIZATION_ADMINLIST_USERS"]),
        readonly_users: read.names(&["AUTHORIZATION_ADMINLIST_READONLY_USERS"]),
        groups: read.names(&["AUTHORIZATION_ADMINLIST_GROUPS"]),
        readonly_groups: read.names(&["AUTHORIZATION_ADMINLIST_READONLY_GROUPS"]),
    };
    for (all, readonly) in
        [(&list.users, &list.readonly_users), (&list.groups, &list.readonly_groups)]
    {
        if let Some(both) = all.iter().find(|name| readonly.contains(name)) {
            return Err(ConfigError::AdminListBoth(both.clone()));
        }
    }
    Ok(Some(list))
}

fn url(variable: &'static str, value: &str) -> Result<Url, ConfigError> {
    match Url::parse(value) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Ok(url),
        _ => Err(ConfigError::OidcUrl { variable, value: value.to_owned() }),
    }
}

/// Reads variables and notes what it read.
struct Variables<'a> {
    variable: &'a dyn Fn(&str) -> Option<String>,
    described: Vec<DescribedSetting>,
}

impl Variables<'_> {
    /// `docs/format/rbac.md` 5.
    fn is_on(&mut self, name: &'static str) -> bool {
        let value = (self.variable)(name);
        let lower = value.as_deref().unwrap_or_default().to_lowercase();
        let is_on = matches!(lower.as_str(), "on" | "enabled" | "1" | "true");
        self.note(name, value.map(|_| name), is_on.to_string());
        is_on
    }

    /// An empty value is none.
    fn text(&mut self, name: &'static str) -> Option<String> {
        let value = (self.variable)(name).filter(|value| !value.is_empty());
        self.note(name, value.as_ref().map(|_| name), value.clone().unwrap_or_default());
        value
    }

    fn required(&mut self, name: &'static str) -> Result<String, ConfigError> {
        self.text(name).ok_or(ConfigError::OidcMissing(name))
    }

    /// Values between commas, of the first of `names` that is set.
    fn list(&mut self, names: &[&'static str]) -> Option<Vec<String>> {
        let set = |name: &&'static str| (self.variable)(name).map(|value| (*name, value));
        let found = names.iter().find_map(set);
        if let Some(first) = names.first() {
            let source = found.as_ref().map(|(name, _)| *name);
            self.note(first, source, found.as_ref().map_or_else(String::new, |f| f.1.clone()));
        }
        found.map(|(_, value)| value.split(',').map(str::to_owned).collect())
    }

    /// The same without those that are empty.
    fn names(&mut self, names: &[&'static str]) -> Vec<String> {
        let mut list = self.list(names).unwrap_or_default();
        list.retain(|name| !name.trim().is_empty());
        list
    }

    fn secrets(&mut self, name: &'static str) -> Option<Vec<Secret>> {
        let value = (self.variable)(name);
        let secrets = value.map(|text| text.split(',').map(Secret::new).collect::<Vec<_>>());
        let count = secrets.as_ref().map_or(0, Vec::len);
        self.note(name, secrets.as_ref().map(|_| name), format!("{count} hidden"));
        secrets
    }

    fn note(&mut self, name: &'static str, set: Option<&'static str>, value: String) {
        let source = set.map_or(SettingSource::Default, SettingSource::Variable);
        self.described.push(DescribedSetting { name, value, source });
    }
}
