//! Who asks, and who may export what. The host decides both before a guest sees anything.
//!
//! Read in this order: `principal` (who asks), `authenticator` (finds out who asks), `action` (what is
//! asked for), `authorizer` (who decides), `config` (what the operator says), `open` (makes both from
//! it). Then the methods: `anonymous` (the service without users), `methods` (which one is for a
//! request), `api_keys`, `key_file`, `oidc`, `failures` (slows down who fails), and the rules: `rbac`
//! (Weaviate's roles), `admin_list`. `secret` and `files` are used by all. Nothing here knows of HTTP
//! but `oidc`, which asks an issuer.
mod action;
mod admin_list;
mod anonymous;
mod api_keys;
mod authenticator;
mod authorizer;
mod config;
mod failures;
mod files;
mod key_file;
mod methods;
mod oidc;
mod open;
mod principal;
mod rbac;
mod secret;

pub use action::Action;
pub use anonymous::{AllowAll, Anonymous};
pub use api_keys::UsersError;
pub use authenticator::{Authenticator, Credentials, Unauthenticated};
pub use authorizer::{Authorizer, Policy};
pub use config::{
    AdminListConfig, ApiKeysConfig, AuthorizationAction, AuthzConfig, ConfigError,
    DescribedSetting, NamespaceClaims, OidcConfig, RbacConfig, SettingSource,
};
pub use failures::FailedLogins;
pub use key_file::KeyFileError;
pub use oidc::{OidcClientError, OidcDiscovery};
pub use open::{OpenError, Opened, open};
pub use principal::{Principal, PrincipalKind};
pub use rbac::{LineError, PolicyError};
pub use secret::Secret;
