//! `/v1/openapi.json`: describes the service for programs. `docs/openapi.json` is the same file.
use std::collections::BTreeMap;

use axum::http::{StatusCode, header};
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{ContentBuilder, Ref, RefOr, Response, ResponseBuilder};
use utoipa::{IntoResponses, Modify, OpenApi, ToSchema};

use super::error_answer::{ErrorBody, PROBLEM_JSON, Problem};

/// What does not belong to one path.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Offloom",
        description = "Exports a Weaviate data directory to Parquet. The paths, bodies and status codes of \
                       Weaviate's own export API work unchanged; what is added is optional.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    tags(
        (name = "exports", description = "Create, watch and cancel exports"),
        (name = "guests", description = "The programs that write files and rewrite rows"),
        (name = "server", description = "What clients ask a server before they use it"),
    ),
    components(schemas(ErrorBody, Problem)),
    modifiers(&Bearer),
)]
pub struct Document;

/// How a request says who it is from.
struct Bearer;

impl Modify for Bearer {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let mut scheme = Http::new(HttpAuthScheme::Bearer);
        scheme.description = Some(
            "An API key, or a token of the OpenID Connect provider. Servers without users need neither"
                .to_owned(),
        );
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("bearer", SecurityScheme::Http(scheme));
    }
}

/// The document as it is served and kept in `docs`.
pub fn text(document: &utoipa::openapi::OpenApi) -> Result<String, serde_json::Error> {
    let mut text = serde_json::to_string_pretty(document)?;
    text.push('\n');
    Ok(text)
}

/// The refusals of a path that needs no credentials.
pub struct OpenErrors;

/// The refusals of `/v1/.well-known/openid-configuration`.
pub struct OpenIdErrors;

/// The refusals of a request to create an export.
pub struct CreateErrors;

/// The refusals of a request for a list of exports.
pub struct ListErrors;

/// The refusals of a request for a status.
pub struct StatusErrors;

/// The refusals of a request to cancel.
pub struct CancelErrors;

/// The refusals of a request for a list of guests.
pub struct GuestListErrors;

/// The refusals of a request for a guest.
pub struct GuestErrors;

/// The refusals of a request to change a guest.
pub struct GuestChangeErrors;

/// The refusals of a request to push a guest.
pub struct PushErrors;

/// A status, and when a request gets it.
type Refusal = (StatusCode, &'static str);

/// Of every path.
const ALWAYS: &[Refusal] = &[
    (StatusCode::BAD_REQUEST, "No Host, or several; or a parameter has the wrong type"),
    (StatusCode::FORBIDDEN, "A page of another origin has sent the request"),
    (StatusCode::MISDIRECTED_REQUEST, "The host is none of this server's"),
    (StatusCode::GATEWAY_TIMEOUT, "It took too long, and may have been done all the same"),
];

/// Of every path about exports.
const OF_EXPORTS: &[Refusal] = &[
    (StatusCode::UNAUTHORIZED, "No credentials, or wrong ones"),
    (
        StatusCode::FORBIDDEN,
        "A class may not be read, whether it exists or not; or a page of another origin has sent the request",
    ),
    (
        StatusCode::UNPROCESSABLE_ENTITY,
        "There is no such backend; or a name, the selection or the place is not valid or not allowed",
    ),
    (StatusCode::TOO_MANY_REQUESTS, "Too many failed logins from this address"),
    (StatusCode::INTERNAL_SERVER_ERROR, "The store or the server failed"),
    (StatusCode::SERVICE_UNAVAILABLE, "The server stops, or cannot ask the identity provider"),
];

const OF_LIST: &[Refusal] =
    &[(StatusCode::NOT_FOUND, "The export of `after` is not known, or the caller may not see it")];

const OF_STATUS: &[Refusal] = &[(
    StatusCode::TOO_MANY_REQUESTS,
    "Too many exports are being watched, or too many failed logins from this address",
)];

const OF_ONE_EXPORT: &[Refusal] =
    &[(StatusCode::NOT_FOUND, "There is no such export, or the caller may not see it")];

const OF_CANCEL: &[Refusal] =
    &[(StatusCode::CONFLICT, "The export has ended, or another server runs it")];

const OF_CREATE: &[Refusal] = &[
    (
        StatusCode::BAD_REQUEST,
        "The body is no JSON, or a field has the wrong type; no Host, or several",
    ),
    (StatusCode::NOT_FOUND, "The name of the backend is no text"),
    (StatusCode::REQUEST_TIMEOUT, "The body took too long"),
    (StatusCode::CONFLICT, "The id was used before, whatever became of it"),
    (StatusCode::PAYLOAD_TOO_LARGE, "The body is larger than 1 MiB"),
    (
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "A body of a type that web pages may send to every server",
    ),
    (
        StatusCode::UNPROCESSABLE_ENTITY,
        "There is no such backend or class; or a name, the selection, an option or the place is not valid or \
         not allowed",
    ),
    (
        StatusCode::TOO_MANY_REQUESTS,
        "Too many exports wait, the caller has or had too many, or too many failed logins from this address",
    ),
];

/// Of every path about guests.
const OF_GUESTS: &[Refusal] = &[
    (StatusCode::UNAUTHORIZED, "No credentials, or wrong ones"),
    (StatusCode::TOO_MANY_REQUESTS, "Too many failed logins from this address"),
    (StatusCode::INTERNAL_SERVER_ERROR, "The server failed"),
    (StatusCode::SERVICE_UNAVAILABLE, "The server stops, or cannot ask the identity provider"),
];

const OF_ONE_GUEST: &[Refusal] = &[
    (StatusCode::NOT_FOUND, "There is no such guest, or the caller may not know of it"),
    (StatusCode::UNPROCESSABLE_ENTITY, "A name, a tenant, a digest or an option is not valid"),
];

const OF_GUEST_CHANGE: &[Refusal] = &[
    (
        StatusCode::BAD_REQUEST,
        "The body is no JSON, or a field has the wrong type; no Host, or several",
    ),
    (
        StatusCode::FORBIDDEN,
        "The caller may not change guests, or not read the class; or a page of another origin has sent the request",
    ),
    (StatusCode::REQUEST_TIMEOUT, "The body took too long"),
    (
        StatusCode::CONFLICT,
        "It is a guest of the program, or in use, or no version was active before",
    ),
    (StatusCode::PAYLOAD_TOO_LARGE, "The body is too large"),
    (
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "A body of a type that web pages may send to every server",
    ),
];

const OF_PUSH: &[Refusal] = &[(
    StatusCode::UNPROCESSABLE_ENTITY,
    "The component is no guest, asks for what is not granted, takes too much to compile, or is not signed",
)];

impl IntoResponses for GuestListErrors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        refusals(&[ALWAYS, OF_GUESTS])
    }
}

impl IntoResponses for GuestErrors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        refusals(&[ALWAYS, OF_GUESTS, OF_ONE_GUEST])
    }
}

impl IntoResponses for GuestChangeErrors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        refusals(&[ALWAYS, OF_GUESTS, OF_ONE_GUEST, OF_GUEST_CHANGE])
    }
}

impl IntoResponses for PushErrors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        refusals(&[ALWAYS, OF_GUESTS, OF_ONE_GUEST, OF_GUEST_CHANGE, OF_PUSH])
    }
}

impl IntoResponses for OpenErrors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        refusals(&[ALWAYS])
    }
}

impl IntoResponses for OpenIdErrors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        refusals(&[ALWAYS, &[(StatusCode::NOT_FOUND, "This server has no OpenID Connect")]])
    }
}

impl IntoResponses for CreateErrors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        refusals(&[ALWAYS, OF_EXPORTS, OF_CREATE])
    }
}

impl IntoResponses for StatusErrors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        refusals(&[ALWAYS, OF_EXPORTS, OF_ONE_EXPORT, OF_STATUS])
    }
}

impl IntoResponses for ListErrors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        refusals(&[ALWAYS, OF_EXPORTS, OF_LIST])
    }
}

impl IntoResponses for CancelErrors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        refusals(&[ALWAYS, OF_EXPORTS, OF_ONE_EXPORT, OF_CANCEL])
    }
}

/// The refusals of several lists. A later description of a status stands for an earlier one.
fn refusals(lists: &[&[Refusal]]) -> BTreeMap<String, RefOr<Response>> {
    let all = lists.iter().copied().flatten();
    all.map(|(status, text)| (status.as_str().to_owned(), refusal(*status, text).into())).collect()
}

/// An answer of one of the forms of `error_answer`.
fn refusal(status: StatusCode, description: &str) -> Response {
    let form = |name: std::borrow::Cow<'static, str>| {
        ContentBuilder::new().schema(Some(Ref::from_schema_name(name))).build()
    };
    let mut refusal = ResponseBuilder::new()
        .description(description)
        .content("application/json", form(ErrorBody::name()))
        .content(PROBLEM_JSON, form(Problem::name()));
    let header = |kind, text| {
        let schema = ObjectBuilder::new().schema_type(kind).build();
        HeaderBuilder::new().schema(Some(schema)).description(Some(text)).build()
    };
    if status == StatusCode::UNAUTHORIZED {
        let name = header::WWW_AUTHENTICATE.as_str();
        refusal = refusal.header(name, header(Type::String, "Bearer"));
    }
    if matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
        let name = header::RETRY_AFTER.as_str();
        refusal = refusal.header(name, header(Type::Integer, "Seconds until the next try"));
    }
    refusal.build()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;
    use crate::api::described;

    fn document() -> Value {
        serde_json::to_value(described().split_for_parts().1).unwrap()
    }

    /// `OFFLOOM_BLESS=1 ./dev test -- the_description_in_the_documents` writes it anew.
    #[test]
    fn the_description_in_the_documents_is_the_one_that_is_served() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/openapi.json");
        let served = text(&described().split_for_parts().1).unwrap();
        if std::env::var_os("OFFLOOM_BLESS").is_some() {
            std::fs::write(path, &served).unwrap();
        }
        let documented = std::fs::read_to_string(path).unwrap_or_default();
        assert!(documented == served, "docs/openapi.json is old: see the comment of this test");
    }

    /// The statuses of the table in `docs/rest-api.md`.
    fn documented_statuses() -> BTreeSet<String> {
        let docs = include_str!("../../../../docs/rest-api.md");
        let (_, section) = docs.split_once("\n## Errors\n").unwrap();
        let (section, _) = section.split_once("\n## ").unwrap();
        let rows = section.lines().filter_map(|line| line.strip_prefix("| ")?.split_once(" |"));
        let statuses = rows.flat_map(|(statuses, _)| statuses.split(", "));
        statuses.filter(|status| status.parse::<u16>().is_ok()).map(str::to_owned).collect()
    }

    #[test]
    fn every_documented_status_is_described_and_every_described_one_is_documented() {
        let document = document();
        let paths = document["paths"].as_object().unwrap().values();
        let operations = paths.flat_map(|path| path.as_object().unwrap().values());
        let statuses =
            operations.flat_map(|operation| operation["responses"].as_object().unwrap().keys());
        let mut described: BTreeSet<String> =
            statuses.filter(|status| status.as_str() >= "400").cloned().collect();
        // No operation has a method that its path does not take.
        described.insert("405".to_owned());
        assert_eq!(described, documented_statuses());
    }

    #[test]
    fn every_path_of_an_export_may_have_a_token_and_says_how_it_is_refused() {
        let document = document();
        let scheme = &document["components"]["securitySchemes"]["bearer"];
        assert_eq!((&scheme["type"], &scheme["scheme"]), (&"http".into(), &"bearer".into()));
        for (path, method) in [
            ("/v1/export/{backend}", "post"),
            ("/v1/export/{backend}", "get"),
            ("/v1/export/{backend}/{id}", "get"),
            ("/v1/export/{backend}/{id}", "delete"),
        ] {
            let operation = &document["paths"][path][method];
            assert_eq!(operation["security"], serde_json::json!([{}, { "bearer": [] }]));
            let header = |status: &str, name: &str| {
                operation["responses"][status]["headers"].as_object().unwrap().contains_key(name)
            };
            assert!(header("401", "www-authenticate"), "{path}");
            assert!(header("429", "retry-after") && header("503", "retry-after"), "{path}");
        }
    }
}
