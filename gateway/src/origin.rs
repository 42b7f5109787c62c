//! Which web pages may use this node. A browser sends requests for any page that is open in it, also to this machine
//! itself, and says so in two headers: `Origin` names the page's site, `Host` the name by which it came here. Until
//! clients have credentials these two are all that tells a page of somebody else's from a client.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use axum::http::header::{HOST, ORIGIN};
use axum::http::uri::{Authority, Uri};
use axum::http::{HeaderValue, Request};
use thiserror::Error;
use types::{Code, Refusal};

/// The site of a web page: scheme, name and port, such as `https://app.example.com`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebOrigin {
    scheme: String,
    host: String,
    /// Never left open: the scheme's own where none is written.
    port: u16,
}

/// A name or address by which a node may be reached, without a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostName(String);

/// Whom a node serves besides the machine that it runs on.
#[derive(Clone, Debug, Default)]
pub struct WebAccess {
    /// Pages of these sites may use the node from a browser.
    pub origins: Vec<WebOrigin>,
    /// Names of the node besides `localhost` and loopback addresses: those of the proxies before it.
    pub hosts: Vec<HostName>,
}

/// Why a text is no origin or no host.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum NotAnOrigin {
    #[error("{0:?} is not the site of a web page: write it as https://name or http://name:port, and nothing behind it")]
    Site(String),
    #[error("{0:?} is not a host: write a name or an address, without scheme and port")]
    Host(String),
}

impl FromStr for WebOrigin {
    type Err = NotAnOrigin;

    fn from_str(text: &str) -> Result<Self, NotAnOrigin> {
        let parsed = || {
            let uri: Uri = text.parse().ok()?;
            let (scheme, authority) = (uri.scheme_str()?, uri.authority()?);
            let usual = match scheme {
                "http" => 80,
                "https" => 443,
                _ => return None,
            };
            let bare = text.len() == scheme.len() + "://".len() + authority.as_str().len();
            let (host, port) = split(authority)?;
            bare.then(|| Self { scheme: scheme.to_owned(), host, port: port.unwrap_or(usual) })
        };
        parsed().ok_or_else(|| NotAnOrigin::Site(text.to_owned()))
    }
}

impl FromStr for HostName {
    type Err = NotAnOrigin;

    fn from_str(text: &str) -> Result<Self, NotAnOrigin> {
        let bare = text.parse::<IpAddr>().map(|address| address.to_string()).or_else(|_| {
            let authority: Option<Authority> = text.parse().ok();
            match authority.as_ref().and_then(split) {
                Some((host, None)) => Ok(host),
                Some((_, Some(_))) | None => Err(NotAnOrigin::Host(text.to_owned())),
            }
        })?;
        Ok(Self(bare))
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Name and port, the name in lower case and an IPv6 address without brackets; `None` for what has a user, no name, or
/// a name with signs in it.
fn split(authority: &Authority) -> Option<(String, Option<u16>)> {
    let text = authority.as_str();
    let host = authority.host();
    let port = match text.strip_prefix(host)? {
        "" => None,
        rest => Some(rest.strip_prefix(':')?.parse().ok()?),
    };
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:".contains(&byte);
    (!bare.is_empty() && bare.bytes().all(plain)).then(|| (bare.to_ascii_lowercase(), port))
}

impl WebAccess {
    /// Whether a request may be served. `Some`: it comes from a page of this other site, and the answer has to tell the
    /// browser that the page may see it. Without either header it comes from no browser.
    pub(crate) fn check<B>(&self, request: &Request<B>) -> Result<Option<HeaderValue>, Refusal> {
        let mut names = Vec::new();
        let of_head = request.headers().get_all(HOST).iter().map(|host| host.to_str().ok()?.parse().ok());
        for authority in of_head.chain(request.uri().authority().cloned().map(Some)) {
            let name = authority.as_ref().and_then(split);
            match name.filter(|(host, _)| self.is_ours(host)) {
                Some(name) => names.push(name),
                None => return Err(foreign_host(authority.as_ref())),
            }
        }
        let Some(given) = request.headers().get(ORIGIN) else { return Ok(None) };
        let origin: Option<WebOrigin> = given.to_str().ok().and_then(|text| text.parse().ok());
        match origin {
            Some(origin) if origin.is_one_of(&names) => Ok(None),
            Some(origin) if self.origins.contains(&origin) => Ok(Some(given.clone())),
            Some(_) | None => Err(foreign_page(given)),
        }
    }

    fn is_ours(&self, host: &str) -> bool {
        let loopback = host.parse::<IpAddr>().map_or(host == "localhost", |address| address.is_loopback());
        loopback || self.hosts.iter().any(|known| known.0 == host)
    }
}

impl WebOrigin {
    /// Whether the page was itself served under one of the names that the request came by. A proxy may have taken the
    /// encryption off, so the scheme says nothing but which port is meant where none is written.
    fn is_one_of(&self, names: &[(String, Option<u16>)]) -> bool {
        let usual = if self.scheme == "https" { 443 } else { 80 };
        names.iter().any(|(host, port)| *host == self.host && port.unwrap_or(usual) == self.port)
    }
}

fn foreign_host(authority: Option<&Authority>) -> Refusal {
    let name = authority.map_or("a name that cannot be read", Authority::as_str);
    let message = format!(
        "this node is not {name}: a web page may have given its own name this machine's address; to reach the node by \
         that name, add it to `gateway.allowed_hosts`"
    );
    Refusal::new(Code::HostNotAllowed, message)
}

fn foreign_page(origin: &HeaderValue) -> Refusal {
    let page = String::from_utf8_lossy(origin.as_bytes());
    let message = format!(
        "pages of {page} may not use this node: it has no authentication yet, so any page could act for you; to let \
         these, add their site to `gateway.allowed_origins`"
    );
    Refusal::new(Code::OriginNotAllowed, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access() -> WebAccess {
        WebAccess {
            origins: vec!["https://app.example.com".parse().expect("a site")],
            hosts: vec!["node.example.com".parse().expect("a host")],
        }
    }

    fn check(uri: &str, headers: &[(&str, &str)]) -> Result<Option<String>, Code> {
        let request =
            headers.iter().fold(Request::builder().uri(uri), |request, (name, value)| request.header(*name, *value));
        let verdict = access().check(&request.body(()).expect("a request"));
        verdict.map(|origin| origin.map(|value| value.to_str().expect("ASCII").to_owned())).map_err(|no| no.code)
    }

    #[test]
    fn who_is_no_browser_comes_by_any_loopback_name() {
        for host in ["127.0.0.1:7400", "127.8.9.1", "localhost", "LOCALHOST:1", "[::1]:7400", "node.example.com"] {
            assert_eq!(check("/", &[("host", host)]), Ok(None), "{host}");
        }
        assert_eq!(check("/", &[]), Ok(None), "HTTP/1.0 knows no Host");
        assert_eq!(check("http://localhost:7400/", &[]), Ok(None), "as h2 says it");
    }

    #[test]
    fn a_name_that_is_not_ours_is_refused() {
        let hosts = [
            "evil.example",
            "evil.example:7400",
            "localhost.evil.example",
            "app.localhost",
            "127.0.0.1.evil.example",
            "127.0.0.1@evil.example",
            "10.0.0.1",
            "0.0.0.0:7400",
            "[::]:7400",
            "app.example.com",
            "",
            "a b",
            "localhost:port",
        ];
        for host in hosts {
            assert_eq!(check("/", &[("host", host)]), Err(Code::HostNotAllowed), "{host}");
        }
        assert_eq!(check("http://evil.example/", &[("host", "localhost")]), Err(Code::HostNotAllowed));
        assert_eq!(check("/", &[("host", "localhost"), ("host", "evil.example")]), Err(Code::HostNotAllowed));
    }

    #[test]
    fn a_page_of_the_node_itself_and_of_a_listed_site_is_served() {
        let ours = |host: &str, origin: &str| check("/", &[("host", host), ("origin", origin)]);
        assert_eq!(ours("localhost:7400", "http://localhost:7400"), Ok(None));
        assert_eq!(ours("[::1]:7400", "http://[::1]:7400"), Ok(None));
        assert_eq!(ours("node.example.com", "https://node.example.com"), Ok(None), "behind a proxy with TLS");
        assert_eq!(ours("localhost", "http://localhost:80"), Ok(None));
        assert_eq!(ours("localhost:7400", "https://app.example.com"), Ok(Some("https://app.example.com".to_owned())));
    }

    #[test]
    fn any_other_page_is_refused() {
        let origins = [
            "http://app.example.com",
            "https://app.example.com:444",
            "https://app.example.com.evil.example",
            "https://evil.example",
            "http://localhost:5173",
            "http://127.0.0.1:7400",
            "null",
            "",
            "https://app.example.com/",
            "file://",
            "chrome-extension://abc",
        ];
        for origin in origins {
            let found = check("/", &[("host", "localhost:7400"), ("origin", origin)]);
            assert_eq!(found, Err(Code::OriginNotAllowed), "{origin}");
        }
    }

    #[test]
    fn what_is_configured_is_read_or_refused() {
        for text in [
            "*",
            "null",
            "example.com",
            "https://",
            "https://a/b",
            "https://a?b",
            "https://u@a",
            "https://*",
            "ws://a",
            "",
        ] {
            assert!(text.parse::<WebOrigin>().is_err(), "{text}");
        }
        assert_eq!("https://A.example:443".parse::<WebOrigin>(), "https://a.example".parse());
        for text in ["a:1", "http://a", "*", "", "[::1]:1", "u@a", "a/b"] {
            assert!(text.parse::<HostName>().is_err(), "{text}");
        }
        assert_eq!("Node.Example".parse::<HostName>().map(|host| host.to_string()), Ok("node.example".to_owned()));
        assert_eq!("::1".parse::<HostName>(), "[::1]".parse());
    }
}
