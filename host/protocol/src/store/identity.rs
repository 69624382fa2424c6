//! Requests for credentials that `object_store` makes by itself: to machines' identity services, and to
//! services that trade a secret for a token.

/// Where a machine asks for the credentials of its role: on AWS, on Google Cloud, on Azure's virtual
/// machines, and, by the query, on Azure's other services (`IDENTITY_ENDPOINT`).
const IDENTITY_SERVICES: [&str; 5] = [
    "/latest/api/token",
    "/latest/meta-data/iam/security-credentials",
    "/computeMetadata/",
    "/metadata/identity/",
    "&resource=https%3A%2F%2Fstorage.azure.com",
];

/// Google's and Azure's services that trade a refresh token, a secret or a federated token.
const TOKEN_SERVICES: [&str; 2] = ["/o/oauth2/token", "/oauth2/v2.0/token"];

/// Whether a request, or its URL, asks for the credentials of this machine's role.
pub(super) fn asks_for_identity(request: &str) -> bool {
    IDENTITY_SERVICES.iter().any(|part| request.contains(part))
}

/// Whether a request, or its URL, trades a secret for a token.
pub(super) fn asks_for_token(request: &str) -> bool {
    TOKEN_SERVICES.iter().any(|part| request.contains(part))
}
