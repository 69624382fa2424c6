//! Who sends a request: its principal, by its credentials and its client's address.
use std::net::{IpAddr, Ipv4Addr};

use axum::extract::FromRequestParts;
use axum::http::header;
use axum::http::request::Parts;
use offloom_authz::{Credentials, Principal};

use super::error::ApiError;
use super::state::ApiState;

/// The address of a request's client, as an extension of the request. A proxy is one client.
#[derive(Debug, Clone, Copy)]
pub struct ClientAddress(pub IpAddr);

/// The authenticated principal of a request. As an extractor it comes before the body is read.
pub struct Caller(pub Principal);

impl FromRequestParts<ApiState> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Caller, ApiError> {
        let mut authorization = parts.headers.get_all(header::AUTHORIZATION).iter();
        let (authorization, other) = (authorization.next(), authorization.next());
        if other.is_some() {
            let message = "the request has more than one header Authorization: send one";
            return Err(ApiError::Unauthenticated(message.to_owned()));
        }
        let client = parts.extensions.get::<ClientAddress>();
        let credentials = Credentials {
            // One that is no text is wrong, not missing.
            authorization: authorization.map(|value| value.to_str().unwrap_or("")),
            client: client.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |client| client.0),
        };
        Ok(Caller(state.authenticator.authenticate(credentials).await?))
    }
}
