//! Where a node is, as people write it, and the addresses that follow from it.

use protocol::version::SOCKET_PATH;
use reqwest::Url;

use crate::Error;

/// A node's base address, such as `http://127.0.0.1:7400`.
#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    base: Url,
}

impl Endpoint {
    pub(crate) fn parse(text: &str) -> Result<Self, Error> {
        let unusable = |why: &str| Error::Unusable(format!("{text:?} is no node's address: {why}"));
        let base = Url::parse(text).map_err(|error| unusable(&format!("{error}; write http://127.0.0.1:7400")))?;
        match base.scheme() {
            "http" => {}
            "https" => return Err(unusable("TLS is not supported yet, use http:// on loopback")),
            _ => return Err(unusable("it begins with http://, such as http://127.0.0.1:7400")),
        }
        if base.host_str().is_none() || base.query().is_some() || base.fragment().is_some() || base.path() != "/" {
            return Err(unusable("it is a host and a port, such as http://127.0.0.1:7400"));
        }
        if !base.username().is_empty() || base.password().is_some() {
            return Err(unusable("it carries a password, which would end up in logs"));
        }
        Ok(Self { base })
    }

    /// As people see it in messages.
    pub(crate) fn as_str(&self) -> &str {
        self.base.as_str().trim_end_matches('/')
    }

    /// An address below `/v1`, each segment escaped.
    pub(crate) fn resource<'a>(&self, segments: impl IntoIterator<Item = &'a str>) -> Url {
        let mut url = self.base.clone();
        url.path_segments_mut().expect("an http address has a path").clear().push("v1").extend(segments);
        url
    }

    /// An address beside `/v1`.
    pub(crate) fn root(&self, path: &str) -> Url {
        let mut url = self.base.clone();
        url.set_path(path);
        url
    }

    pub(crate) fn socket(&self) -> String {
        self.root(SOCKET_PATH).as_str().replacen("http", "ws", 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_follow_from_the_base() {
        let endpoint = Endpoint::parse("http://127.0.0.1:7400").expect("valid");
        assert_eq!(endpoint.as_str(), "http://127.0.0.1:7400");
        assert_eq!(endpoint.socket(), "ws://127.0.0.1:7400/v1/ws");
        let run = endpoint.resource(["runs", "a b/c"]);
        assert_eq!(run.as_str(), "http://127.0.0.1:7400/v1/runs/a%20b%2Fc");
    }

    #[test]
    fn what_is_no_address_is_refused_with_an_example() {
        for bad in ["", "7400", "localhost:7400", "ftp://x", "https://x", "http://x/v1", "http://x?y", "http://u:p@x"] {
            let error = Endpoint::parse(bad).expect_err(bad).to_string();
            assert!(error.contains("http://") || error.contains("password"), "{bad}: {error}");
        }
    }
}
