//! The page at `/`: HTML, style and script in one answer, and what a browser may do with it.
use std::sync::LazyLock;

use axum::http::{HeaderName, header};
use axum::response::IntoResponse;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

const HTML: &str = include_str!("../../page/index.html");
const STYLE: &str = include_str!("../../page/page.css");
const SCRIPT: &str = include_str!("../../page/page.js");

/// The page, and its policy.
static PAGE: LazyLock<Page> = LazyLock::new(Page::new);

struct Page {
    html: String,
    policy: String,
}

impl Page {
    fn new() -> Page {
        let html = HTML.replace("/*style*/", STYLE).replace("/*script*/", SCRIPT);
        // Nothing else is run, shown or asked: not even text that finds its way into the page.
        let policy = format!(
            "default-src 'none'; style-src '{}'; script-src '{}'; connect-src 'self'; img-src data:; \
             base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
            source(STYLE),
            source(SCRIPT),
        );
        Page { html, policy }
    }
}

/// How a policy names a text.
fn source(text: &str) -> String {
    format!("sha256-{}", STANDARD.encode(Sha256::digest(text)))
}

/// The page.
pub async fn page() -> impl IntoResponse {
    let Page { html, policy } = &*PAGE;
    let headers: [(HeaderName, &str); 5] = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, policy),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        // One of an earlier version would ask in its way.
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (headers, html.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_one_style_and_one_script_and_asks_for_nothing_else() {
        let Page { html, .. } = Page::new();
        assert!(html.contains(&format!("<style>{STYLE}</style>")));
        assert!(html.contains(&format!("<script>{SCRIPT}</script>")));
        // The policy would stop these silently.
        for refused in [" style=", "innerHTML", " onclick", "<img", "src=\"", "http://", "https://"]
        {
            assert!(!html.contains(refused), "{refused}");
        }
    }
}
