//! The one place that writes the answer of a refusal: its body in the form that the client takes, its
//! headers, and the log.
use axum::Json;
use axum::extract::{Request, State};
use axum::http::header::{
    ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER, VARY, WWW_AUTHENTICATE,
};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::client_text::ClientText;
use super::error::ApiError;

/// The type of [`Problem`].
pub const PROBLEM_JSON: &str = "application/problem+json";

/// Characters of a word that an answer keeps.
const MAX_WORD_CHARS: usize = 256;

/// Characters of a text that an answer and the log keep.
const MAX_TEXT_CHARS: usize = 16 * 1024;

/// A refusal in the form of Weaviate, which is the default (`docs/format/export-api.md` 2.1).
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Errors, examples(json!({ "error": [{ "message": "export ID is required" }] })))]
pub struct ErrorBody {
    /// One message.
    #[schema(min_items = 1, max_items = 1)]
    error: [ErrorMessage; 1],
}

/// What is wrong.
#[derive(Debug, Serialize, ToSchema)]
pub struct ErrorMessage {
    /// What is wrong, and what helps.
    message: String,
}

/// A refusal in the form of RFC 9457, for clients that name `application/problem+json` in `Accept`.
#[derive(Debug, Serialize, ToSchema)]
#[schema(examples(json!({
    "type": "about:blank", "title": "Unprocessable Entity", "status": 422, "detail": "export ID is required",
})))]
pub struct Problem {
    /// `about:blank`: the status says which kind of problem it is.
    #[serde(rename = "type")]
    #[schema(format = "uri-reference")]
    kind: &'static str,
    /// The name of the status.
    title: &'static str,
    /// The status.
    #[schema(minimum = 400, maximum = 599)]
    status: u16,
    /// What is wrong, and what helps.
    detail: String,
}

/// Writes the answer of every error: for the client without paths of the host, and in full to the log if
/// the client cannot see or cause it. Headers that are there already stay.
pub async fn write_errors(
    State(client_text): State<ClientText>,
    request: Request,
    next: Next,
) -> Response {
    let takes_problems = takes_problems(request.headers());
    let mut response = next.run(request).await;
    let Some(error) = response.extensions_mut().remove::<ApiError>() else { return response };
    let status = error.status();
    let full = error.to_string();
    let shown = client_text.of(&full);
    log(status, &full, &shown);
    let message = shortened(&shown);
    let (body, content_type) = if takes_problems {
        let title = status.canonical_reason().unwrap_or_default();
        let (kind, status) = ("about:blank", status.as_u16());
        let problem = Problem { kind, title, status, detail: message };
        (Json(problem).into_response().into_body(), PROBLEM_JSON)
    } else {
        let body = ErrorBody { error: [ErrorMessage { message }] };
        (Json(body).into_response().into_body(), "application/json")
    };
    *response.body_mut() = body;
    let headers = response.headers_mut();
    // That of the response without a body.
    headers.remove(CONTENT_LENGTH);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(VARY, HeaderValue::from(ACCEPT));
    if status == StatusCode::UNAUTHORIZED {
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    if let Some(seconds) = error.retry_after_seconds() {
        headers.insert(RETRY_AFTER, seconds.into());
    }
    response
}

fn log(status: StatusCode, full: &str, shown: &str) {
    let logged = cut(full, MAX_TEXT_CHARS);
    if status.is_server_error() {
        tracing::error!(error = %logged, "request failed");
    } else if shown != full {
        tracing::warn!(error = %logged, "request refused");
    }
}

/// Whether a client names `application/problem+json` in `Accept`, and likes it no less than
/// `application/json`. `*/*` and `application/*` do not name it: such clients get what Weaviate sends.
fn takes_problems(headers: &HeaderMap) -> bool {
    let (mut problem, mut json) = (None, None);
    let values = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    for range in values.flat_map(|value| value.split(',')) {
        let mut parts = range.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default();
        let Some(quality) = quality(parts) else { continue };
        if name.eq_ignore_ascii_case(PROBLEM_JSON) {
            problem = Some(quality);
        } else if name.eq_ignore_ascii_case("application/json") {
            json = Some(quality);
        }
    }
    problem.is_some_and(|quality| quality > 0.0 && quality >= json.unwrap_or(0.0))
}

/// The `q` among the parameters of a range, 1 without one; `None` if it is not from 0 to 1.
fn quality<'a>(mut parameters: impl Iterator<Item = &'a str>) -> Option<f32> {
    let given = parameters.find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("q").then_some(value.trim())
    });
    let Some(value) = given else { return Some(1.0) };
    value.parse().ok().filter(|quality| (0.0..=1.0).contains(quality))
}

/// The text with long words cut: a message quotes what the request names, which may be a megabyte.
fn shortened(text: &str) -> String {
    let words = text.split(' ').map(|word| cut(word, MAX_WORD_CHARS));
    cut(&words.collect::<Vec<_>>().join(" "), MAX_TEXT_CHARS)
}

/// The beginning of the text, and how long it is if that is not all.
fn cut(text: &str, chars: usize) -> String {
    match text.char_indices().nth(chars) {
        Some((end, _)) => {
            let kept = text.get(..end).unwrap_or_default();
            format!("{kept}... ({} characters)", text.chars().count())
        }
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problems_are_for_clients_that_name_them() {
        for (accept, expected) in [
            (&["application/problem+json"][..], true),
            (&["APPLICATION/Problem+JSON"], true),
            (&["application/json, application/problem+json"], true),
            (&["application/json", "application/problem+json"], true),
            (&["text/html, application/problem+json;q=0.1, */*"], true),
            (&["application/problem+json; charset=utf-8; Q=0.5,application/json; q=0.5"], true),
            (&["application/problem+json;q=0.8, application/json"], false),
            (&["application/json;q=0.8, application/problem+json;q=0.9"], true),
            (&["application/problem+json;q=0"], false),
            (&["application/problem+json;q=0.000, */*"], false),
            (&["application/problem+json;q=2"], false),
            (&["application/problem+json;q=nan"], false),
            (&["application/problem+json;q="], false),
            (&["application/problem+json;q=x, application/problem+json"], true),
            (&["application/json"], false),
            (&["*/*"], false),
            (&["application/*"], false),
            (&["application/problem+xml"], false),
            (&[""], false),
            (&[], false),
        ] {
            let mut headers = HeaderMap::new();
            for value in accept {
                headers.append(ACCEPT, HeaderValue::from_static(value));
            }
            assert_eq!(takes_problems(&headers), expected, "{accept:?}");
        }
    }

    #[test]
    fn long_words_are_cut_and_sentences_are_not() {
        let sentence = "no such class: give one of these ".repeat(20);
        assert_eq!(shortened(&sentence), sentence);
        let long = shortened(&format!("class 'ü{}' is unknown", "x".repeat(1_000_000)));
        assert!(long.len() < 400, "{long}");
        assert!(long.ends_with("... (1000003 characters) is unknown"), "{long}");
        let many = shortened(&"a ".repeat(500_000));
        assert!(many.len() < MAX_TEXT_CHARS + 40 && many.ends_with("... (1000000 characters)"));
    }
}
