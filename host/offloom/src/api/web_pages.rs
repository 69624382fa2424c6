//! Refuses what a web page could make a browser send: requests of other origins, requests to a name
//! that somebody else has pointed here, and bodies that a page may send without being asked for
//! permission first.
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{CONTENT_TYPE, HOST, ORIGIN};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method};
use axum::middleware::Next;
use axum::response::Response;
use serde::{Deserialize, Serialize, Serializer};

use super::body;
use super::error::ApiError;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Where a client may think that this server is.
#[derive(Debug, Clone)]
pub struct OwnHosts {
    /// The port of loopback names and addresses.
    port: u16,
    allowed: Arc<[AllowedHost]>,
    /// Whether every host is taken.
    any: bool,
}

/// A host of the setting `allowed_hosts`: `name`, `name:port`, `[::1]:port`. Without a port it stands
/// for every port.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct AllowedHost {
    host: Host,
    port: Option<u16>,
}

/// A name without case and final dot, or an address.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Host {
    Name(String),
    Address(IpAddr),
}

/// A text that is no host.
#[derive(Debug, thiserror::Error)]
#[error(
    "'{0}' is not a host: expected a name or an address, with or without a port, such as \
     offloom.example or [::1]:8080"
)]
pub struct NoHost(String);

/// Lets a request pass if no page of another origin can have caused it.
pub async fn refuse(
    State(own): State<OwnHosts>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    match own.check(&request) {
        Ok(()) => Ok(next.run(request).await),
        Err(error) => {
            body::drain(request.into_body()).await;
            Err(error)
        }
    }
}

impl OwnHosts {
    /// The hosts of a server that listens on `address`. One that has users takes every host unless some
    /// are allowed: a page of a name that somebody else has pointed here has no credentials to send.
    pub fn new(address: SocketAddr, allowed: Vec<AllowedHost>, has_users: bool) -> OwnHosts {
        let any = has_users && allowed.is_empty();
        OwnHosts { port: address.port(), allowed: allowed.into(), any }
    }

    fn check(&self, request: &Request) -> Result<(), ApiError> {
        let host = self.host_of(request)?;
        // The page itself has nothing to hide, and links to it may stand anywhere.
        if request.method() != Method::GET || request.uri().path() != "/" {
            refuse_other_origins(request.headers(), &host)?;
        }
        if request.method() == Method::POST {
            refuse_simple_bodies(request.headers())?;
        }
        Ok(())
    }

    /// The host that a request names, if it is this server.
    fn host_of(&self, request: &Request) -> Result<AllowedHost, ApiError> {
        let mut named = request.headers().get_all(HOST).iter();
        let (Some(named), None) = (named.next(), named.next()) else {
            return Err(ApiError::NoHost);
        };
        // A target with a host of its own stands above the header, which then may be anything.
        let target = request.uri().authority().map(|target| target.as_str().as_bytes());
        for text in target.into_iter().chain([named.as_bytes()]) {
            let host = AllowedHost::parse(text).filter(|host| self.has(host));
            if host.is_none() {
                let host = String::from_utf8_lossy(text).into_owned();
                return Err(ApiError::OtherHost { host, port: self.port });
            }
        }
        AllowedHost::parse(target.unwrap_or(named.as_bytes())).ok_or(ApiError::NoHost)
    }

    fn has(&self, host: &AllowedHost) -> bool {
        // The port of http.
        let port = host.port.unwrap_or(80);
        let is_allowed = |allowed: &AllowedHost| {
            allowed.host == host.host && allowed.port.is_none_or(|allowed| allowed == port)
        };
        self.any
            || (host.host.is_loopback() && port == self.port)
            || self.allowed.iter().any(is_allowed)
    }
}

impl Host {
    /// `localhost` alone: who answers for names below it is up to the resolver.
    fn is_loopback(&self) -> bool {
        match self {
            Host::Name(name) => name == "localhost",
            Host::Address(address) => address.is_loopback(),
        }
    }
}

impl AllowedHost {
    /// `None` for what is no host, or has a user before it.
    fn parse(text: &[u8]) -> Option<AllowedHost> {
        let authority = Authority::try_from(text).ok()?;
        let host = authority.host();
        // What `host` leaves out is a user before it or a port after it.
        let port = match authority.as_str().strip_prefix(host)? {
            "" => None,
            rest => {
                let digits = rest.strip_prefix(':')?;
                let is_number = digits.bytes().all(|digit| digit.is_ascii_digit());
                Some(digits.parse().ok().filter(|_| is_number)?)
            }
        };
        let host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
            Some(address) => Host::Address(IpAddr::V6(address.parse().ok()?)),
            None => match host.parse() {
                Ok(address) => Host::Address(IpAddr::V4(address)),
                Err(_name) => {
                    let name = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
                    let is_plain = |c: u8| c.is_ascii_alphanumeric() || b"-_.".contains(&c);
                    (!name.is_empty() && name.bytes().all(is_plain)).then_some(Host::Name(name))?
                }
            },
        };
        Some(AllowedHost { host, port })
    }

    /// Whether a page of `origin` is from here, and may read the answers in a browser anyway.
    fn is_origin(&self, origin: &HeaderValue) -> bool {
        let Some((scheme, authority)) = origin.to_str().ok().and_then(|o| o.split_once("://"))
        else {
            return false;
        };
        let default = match scheme {
            "http" => 80,
            // A proxy speaks TLS for this server.
            "https" => 443,
            _ => return false,
        };
        AllowedHost::parse(authority.as_bytes()).is_some_and(|origin| {
            origin.host == self.host
                && origin.port.unwrap_or(default) == self.port.unwrap_or(default)
        })
    }
}

impl FromStr for AllowedHost {
    type Err = NoHost;

    fn from_str(text: &str) -> Result<AllowedHost, NoHost> {
        let text = text.trim();
        AllowedHost::parse(text.as_bytes()).ok_or_else(|| NoHost(text.to_owned()))
    }
}

impl TryFrom<String> for AllowedHost {
    type Error = NoHost;

    fn try_from(text: String) -> Result<AllowedHost, NoHost> {
        text.parse()
    }
}

impl Serialize for AllowedHost {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl fmt::Display for AllowedHost {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Name(name) => formatter.write_str(name)?,
            Host::Address(IpAddr::V4(address)) => write!(formatter, "{address}")?,
            Host::Address(IpAddr::V6(address)) => write!(formatter, "[{address}]")?,
        }
        self.port.map_or(Ok(()), |port| write!(formatter, ":{port}"))
    }
}

/// A browser sends `Origin` with every request that may change something, and new ones send
/// `Sec-Fetch-Site` with all. Programs send neither.
fn refuse_other_origins(headers: &HeaderMap, host: &AllowedHost) -> Result<(), ApiError> {
    let refused = |value: &HeaderValue| {
        let origin = String::from_utf8_lossy(value.as_bytes()).into_owned();
        ApiError::OtherOrigin(origin)
    };
    if let Some(origin) = headers.get_all(ORIGIN).iter().find(|origin| !host.is_origin(origin)) {
        return Err(refused(origin));
    }
    // `none`: the user has typed the address.
    let is_own = |site: &&HeaderValue| matches!(site.as_bytes(), b"same-origin" | b"none");
    match headers.get_all(SEC_FETCH_SITE).iter().find(|site| !is_own(site)) {
        Some(site) => Err(refused(site)),
        None => Ok(()),
    }
}

/// Types that a page may send to another origin without a question before. The third one is that of
/// `curl -d`; a browser sends `Origin` with it.
fn refuse_simple_bodies(headers: &HeaderMap) -> Result<(), ApiError> {
    for value in headers.get_all(CONTENT_TYPE) {
        let text = String::from_utf8_lossy(value.as_bytes());
        let kind = text.split([';', ',']).next().unwrap_or_default().trim().to_ascii_lowercase();
        if kind == "text/plain" || kind.starts_with("multipart/") {
            return Err(ApiError::ContentType(kind));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(allowed: &[&str]) -> OwnHosts {
        let allowed = allowed.iter().map(|host| host.parse().unwrap()).collect();
        OwnHosts::new("127.0.0.1:8080".parse().unwrap(), allowed, false)
    }

    /// The status of a request with this target and these headers; 200 if it passes.
    fn status(own: &OwnHosts, target: &str, headers: &[(&str, &str)]) -> u16 {
        let mut request = Request::post(target);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(axum::body::Body::empty()).unwrap();
        own.check(&request).map_or_else(|error| error.status().as_u16(), |()| 200)
    }

    #[test]
    fn a_host_is_this_server_in_every_spelling_and_nothing_else_is() {
        let own = own(&[]);
        for host in [
            "localhost:8080",
            "LocalHost:8080",
            "localhost.:8080",
            "localhost:08080",
            "127.0.0.1:8080",
            "127.1.2.3:8080",
            "[::1]:8080",
            "[0:0:0:0:0:0:0:1]:8080",
        ] {
            assert_eq!(status(&own, "/", &[("host", host)]), 200, "{host}");
        }
        for host in [
            "",
            ":8080",
            "localhost",
            "localhost:80",
            "localhost:",
            "localhost:+8080",
            "localhost:8080:8080",
            "localhost:73616",
            "localhost:8080/",
            "localhost..:8080",
            "user@localhost:8080",
            "user:8080@localhost:8080",
            "localhost:8080@evil.example",
            "localhost.evil.example:8080",
            "evil.localhost:8080",
            "evil.example:8080",
            "127.0.0.1.evil.example:8080",
            "127.1:8080",
            "0127.0.0.1:8080",
            "2130706433:8080",
            "0x7f000001:8080",
            "0.0.0.0:8080",
            "128.0.0.1:8080",
            "[::]:8080",
            "[::1]",
            "[::1%25lo]:8080",
            "::1:8080",
            "[127.0.0.1]:8080",
            "[::1]x:8080",
            "localhost:8080, localhost:8080",
            "localhost :8080",
        ] {
            assert_eq!(status(&own, "/", &[("host", host)]), 421, "{host}");
        }
        assert_eq!(status(&own, "/", &[]), 400);
        let host = ("host", "localhost:8080");
        assert_eq!(status(&own, "/", &[host, host]), 400);
        let of_http = OwnHosts::new("127.0.0.1:80".parse().unwrap(), Vec::new(), false);
        assert_eq!(status(&of_http, "/", &[("host", "localhost")]), 200);
    }

    #[test]
    fn a_host_in_the_target_counts_too() {
        let (own, host) = (own(&[]), ("host", "localhost:8080"));
        for (target, expected) in [
            ("http://localhost:8080/", 200),
            ("http://127.0.0.1:8080/", 200),
            ("http://evil.example:8080/", 421),
            ("http://localhost/", 421),
            ("http://user@localhost:8080/", 421),
        ] {
            assert_eq!(status(&own, target, &[host]), expected, "{target}");
        }
        assert_eq!(status(&own, "http://localhost:8080/", &[("host", "evil.example")]), 421);
    }

    #[test]
    fn the_operator_adds_hosts() {
        let own = own(&["Offloom.Example.", "ten.example:443", "[fd00::1]", "10.0.0.7:9000"]);
        for (host, expected) in [
            ("offloom.example", 200),
            ("OFFLOOM.example:1234", 200),
            ("ten.example:443", 200),
            ("ten.example", 421),
            ("[fd00:0::1]:1", 200),
            ("10.0.0.7:9000", 200),
            ("10.0.0.7", 421),
            ("www.offloom.example", 421),
            ("localhost:8080", 200),
        ] {
            assert_eq!(status(&own, "/", &[("host", host)]), expected, "{host}");
        }
        for text in ["", "*", "a b", "fd00::1", "http://a", "a:b", "a:", "a/b", "u@a"] {
            assert!(text.parse::<AllowedHost>().is_err(), "{text}");
        }
        for text in ["a", "a:1", "[::1]", "[::1]:1", "10.0.0.7"] {
            assert_eq!(text.parse::<AllowedHost>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn another_origin_is_refused_and_its_own_is_not() {
        let own = own(&["offloom.example", "ten.example"]);
        let asked = |host, name, value| status(&own, "/", &[("host", host), (name, value)]);
        for (host, origin) in [
            ("localhost:8080", "http://localhost:8080"),
            ("localhost:8080", "http://LOCALHOST:8080"),
            ("[::1]:8080", "http://[::1]:8080"),
            ("offloom.example", "https://offloom.example"),
            ("offloom.example", "http://offloom.example"),
            ("offloom.example:443", "https://offloom.example"),
        ] {
            assert_eq!(asked(host, "origin", origin), 200, "{host} {origin}");
        }
        for (host, origin) in [
            ("localhost:8080", "null"),
            ("localhost:8080", ""),
            ("localhost:8080", "localhost:8080"),
            ("localhost:8080", "http://localhost"),
            ("localhost:8080", "http://localhost:3000"),
            ("localhost:8080", "http://127.0.0.1:8080"),
            ("localhost:8080", "http://evil.example"),
            ("localhost:8080", "http://localhost:8080.evil.example"),
            ("localhost:8080", "http://evil.example@localhost:8080"),
            ("localhost:8080", "http://localhost:8080 http://localhost:8080"),
            ("localhost:8080", "file://localhost:8080"),
            ("localhost:8080", "http://localhost:8080/"),
            ("offloom.example", "https://offloom.example:3000"),
            ("offloom.example", "https://ten.example"),
        ] {
            assert_eq!(asked(host, "origin", origin), 403, "{host} {origin}");
        }
        for (site, expected) in [
            ("none", 200),
            ("same-origin", 200),
            ("cross-site", 403),
            ("same-site", 403),
            ("Cross-Site", 403),
            ("", 403),
        ] {
            assert_eq!(asked("localhost:8080", "sec-fetch-site", site), expected, "{site}");
        }
        let host = ("host", "localhost:8080");
        let own_origin = ("origin", "http://localhost:8080");
        assert_eq!(status(&own, "/", &[host, own_origin, ("origin", "null")]), 403);
        let (none, cross) = (("sec-fetch-site", "none"), ("sec-fetch-site", "cross-site"));
        assert_eq!(status(&own, "/", &[host, none, cross]), 403);
    }

    #[test]
    fn bodies_that_a_page_may_send_unasked_are_refused() {
        let own = own(&[]);
        let asked = |kind| status(&own, "/", &[("host", "localhost:8080"), ("content-type", kind)]);
        for kind in [
            "application/json",
            "application/json; charset=utf-8",
            "application/x-www-form-urlencoded",
            "application/octet-stream",
            "",
        ] {
            assert_eq!(asked(kind), 200, "{kind}");
        }
        for kind in [
            "text/plain",
            "Text/Plain; charset=utf-8",
            " text/plain ;",
            "text/plain, application/json",
            "multipart/form-data; boundary=x",
            "multipart/mixed",
        ] {
            assert_eq!(asked(kind), 415, "{kind}");
        }
    }
}
