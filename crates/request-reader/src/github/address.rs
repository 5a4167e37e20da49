//! GitHub's address.

use std::fmt;

use url::{Host, Url};

/// The base of GitHub's REST API: `https://api.github.example`, or `https://HOST/api/v3` of an Enterprise Server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address(Url);

/// What is wrong with the address. The text does not repeat it, since it may hold a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadAddress {
    /// Not a URL with a host.
    #[error("is not a URL")]
    NotAUrl,
    /// `http:` to somewhere else than this machine, and the rest.
    #[error("must begin with https://, or with http:// and a loopback address")]
    Scheme,
    /// `https://user:password@…`.
    #[error("must hold no credentials")]
    Credentials,
    /// `?…` or `#…`.
    #[error("must end with its path")]
    Query,
}

impl Address {
    /// Reads an address with or without a slash at its end.
    ///
    /// # Errors
    /// When it cannot be the base of an API, or the token would go there unencrypted.
    pub fn parse(text: &str) -> Result<Self, BadAddress> {
        let mut base = Url::parse(text.trim()).map_err(|_| BadAddress::NotAUrl)?;
        let is_loopback = match base.host().ok_or(BadAddress::NotAUrl)? {
            Host::Ipv4(address) => address.is_loopback(),
            Host::Ipv6(address) => address.is_loopback(),
            Host::Domain(name) => name == "localhost",
        };
        match base.scheme() {
            "https" => {}
            "http" if is_loopback => {}
            _ => return Err(BadAddress::Scheme),
        }
        if !base.username().is_empty() || base.password().is_some() {
            return Err(BadAddress::Credentials);
        }
        if base.query().is_some() || base.fragment().is_some() {
            return Err(BadAddress::Query);
        }
        let path = base.path().trim_end_matches('/').to_owned();
        base.set_path(&path);
        Ok(Self(base))
    }

    /// Whether requests are not encrypted.
    pub(super) fn is_plain(&self) -> bool {
        self.0.scheme() == "http"
    }

    /// A resource: each segment is percent-encoded.
    pub(super) fn resource(&self, segments: &[String], query: &[(&str, &str)]) -> Url {
        let mut url = self.0.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(segments);
        }
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        url
    }

    /// Where GraphQL is: `/api/graphql` beside `/api/v3`, `/graphql` otherwise (GitHub's GraphQL guides, "Forming calls").
    pub(super) fn graphql(&self) -> Url {
        let mut url = self.0.clone();
        let path = self.0.path().trim_end_matches('/');
        let path = path.strip_suffix("/v3").filter(|rest| rest.ends_with("/api")).unwrap_or(path);
        url.set_path(&format!("{path}/graphql"));
        url
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_goes_nowhere_unencrypted() {
        for (text, result) in [
            ("https://api.github.example", Ok(())),
            ("https://git.corp.example:8443/api/v3/", Ok(())),
            ("http://127.0.0.1:9000", Ok(())),
            ("http://[::1]:9000", Ok(())),
            ("http://localhost:9000/api/v3", Ok(())),
            ("http://api.github.example", Err(BadAddress::Scheme)),
            ("http://10.0.0.1", Err(BadAddress::Scheme)),
            ("http://169.254.169.254", Err(BadAddress::Scheme)),
            ("http://localhost.example", Err(BadAddress::Scheme)),
            ("ftp://127.0.0.1", Err(BadAddress::Scheme)),
            ("https://user@api.github.example", Err(BadAddress::Credentials)),
            ("https://:pw@api.github.example", Err(BadAddress::Credentials)),
            ("https://api.github.example?a", Err(BadAddress::Query)),
            ("https://api.github.example#a", Err(BadAddress::Query)),
            ("api.github.example", Err(BadAddress::NotAUrl)),
            ("data:,x", Err(BadAddress::NotAUrl)),
            ("", Err(BadAddress::NotAUrl)),
        ] {
            assert_eq!(Address::parse(text).map(|_| ()), result, "{text}");
        }
    }

    #[test]
    fn resources_lie_below_the_base() {
        for (base, resource, graphql) in [
            ("https://h.example", "https://h.example/a%2Fb/c%20d%3F?ref=x%26y", "https://h.example/graphql"),
            ("https://h.example/", "https://h.example/a%2Fb/c%20d%3F?ref=x%26y", "https://h.example/graphql"),
            (
                "https://h.example/api/v3",
                "https://h.example/api/v3/a%2Fb/c%20d%3F?ref=x%26y",
                "https://h.example/api/graphql",
            ),
            (
                "https://h.example/x/v3",
                "https://h.example/x/v3/a%2Fb/c%20d%3F?ref=x%26y",
                "https://h.example/x/v3/graphql",
            ),
        ] {
            let address = Address::parse(base).unwrap();
            let segments = ["a/b".to_owned(), "c d?".to_owned()];
            assert_eq!(address.resource(&segments, &[("ref", "x&y")]).as_str(), resource);
            assert_eq!(address.graphql().as_str(), graphql);
        }
    }
}
