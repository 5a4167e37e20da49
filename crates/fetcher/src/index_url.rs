//! The address of the configured index, with its credentials kept apart.

use std::fmt;

use base64::Engine as _;
use gate_core::coordinates::PackageName;
use http::HeaderValue;
use percent_encoding::percent_decode_str;
use url::Url;

/// The base of a Python index (PEP 503): `https://HOST/simple/`. Credentials never show in `Debug`, `Display` or an error.
#[derive(Clone, PartialEq, Eq)]
pub struct IndexUrl {
    base: Url,
    authorization: Option<HeaderValue>,
}

/// What is wrong with an index's address; the text does not repeat the address, which may hold a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadIndexUrl {
    /// Not a URL.
    #[error("it is not a URL")]
    NotAUrl,
    /// Neither https nor http.
    #[error("its scheme is not https")]
    Scheme,
    /// `?…`.
    #[error("it has a query, after which no project name can be added")]
    Query,
    /// The user name or password cannot go into a header.
    #[error("its user name or password is not text")]
    Credentials,
}

impl IndexUrl {
    /// Reads an address with or without a slash at its end.
    ///
    /// # Errors
    /// When it cannot be the base of an index.
    pub fn parse(text: &str) -> Result<Self, BadIndexUrl> {
        let mut base = Url::parse(text.trim()).map_err(|_| BadIndexUrl::NotAUrl)?;
        if !matches!(base.scheme(), "https" | "http") || base.host().is_none() {
            return Err(BadIndexUrl::Scheme);
        }
        if base.query().is_some() {
            return Err(BadIndexUrl::Query);
        }
        let authorization = authorization(&base)?;
        base.set_fragment(None);
        base.set_username("").and_then(|()| base.set_password(None)).map_err(|()| BadIndexUrl::Credentials)?;
        let path = format!("{}/", base.path().trim_end_matches('/'));
        base.set_path(&path);
        Ok(Self { base, authorization })
    }

    /// Without credentials; the path ends in a slash.
    #[must_use]
    pub fn base(&self) -> &Url {
        &self.base
    }

    /// Whether it was given with a user name or a password.
    #[must_use]
    pub fn has_credentials(&self) -> bool {
        self.authorization.is_some()
    }

    /// The page of a project, its name normalised.
    #[must_use]
    pub fn project(&self, name: &PackageName) -> Url {
        let mut url = self.base.clone();
        // Normalised names hold only a-z, 0-9 and '-'.
        url.set_path(&format!("{}{}/", self.base.path(), name.normalized()));
        url
    }

    /// The `Authorization` header for a request, only to exactly the index's own scheme, host and port.
    pub(crate) fn authorization_for(&self, url: &Url) -> Option<&HeaderValue> {
        self.authorization.as_ref().filter(|_| url.origin() == self.base.origin())
    }
}

/// Basic authentication (RFC 7617) from the URL's user name and password, marked sensitive.
fn authorization(url: &Url) -> Result<Option<HeaderValue>, BadIndexUrl> {
    if url.username().is_empty() && url.password().is_none() {
        return Ok(None);
    }
    let mut pair: Vec<u8> = percent_decode_str(url.username()).collect();
    pair.push(b':');
    pair.extend(percent_decode_str(url.password().unwrap_or_default()));
    let text = format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair));
    let mut value = HeaderValue::try_from(text).map_err(|_| BadIndexUrl::Credentials)?;
    value.set_sensitive(true);
    Ok(Some(value))
}

impl fmt::Display for IndexUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.base.fmt(f)
    }
}

impl fmt::Debug for IndexUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let credentials = if self.authorization.is_some() { "[redacted]" } else { "none" };
        write!(f, "IndexUrl({}, credentials: {credentials})", self.base)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_ends_in_one_slash() {
        for text in [
            "https://i.example/simple",
            "https://i.example/simple/",
            "https://i.example/simple//",
            " https://i.example/simple#x",
        ] {
            let index = IndexUrl::parse(text).unwrap();
            assert_eq!(index.base().as_str(), "https://i.example/simple/", "{text}");
            assert_eq!(index.project(&"Foo_.Bar".parse().unwrap()).as_str(), "https://i.example/simple/foo-bar/");
        }
        assert_eq!(IndexUrl::parse("https://i.example").unwrap().base().as_str(), "https://i.example/");
    }

    #[test]
    fn what_cannot_be_an_index_is_refused() {
        for (text, error) in [
            ("", BadIndexUrl::NotAUrl),
            ("i.example/simple", BadIndexUrl::NotAUrl),
            ("file:///srv/index", BadIndexUrl::Scheme),
            ("ftp://i.example/simple", BadIndexUrl::Scheme),
            ("https://i.example/simple?x=1", BadIndexUrl::Query),
        ] {
            assert_eq!(IndexUrl::parse(text), Err(error), "{text}");
        }
    }

    #[test]
    fn credentials_are_sent_to_their_origin_only_and_never_shown() {
        let index = IndexUrl::parse("https://jane%40corp:s3cr%3At@i.example/simple").unwrap();
        let shown = format!("{index} {index:?} {:?}", index.authorization);
        assert!(!shown.contains("s3cr") && !shown.contains("jane") && !shown.contains("amFuZ"), "{shown}");
        let sent =
            |url: &str| index.authorization_for(&url.parse().unwrap()).map(|value| value.to_str().unwrap().to_owned());
        assert_eq!(sent("https://i.example/files/a.whl").as_deref(), Some("Basic amFuZUBjb3JwOnMzY3I6dA=="));
        for other in
            ["http://i.example/", "https://i.example:444/", "https://f.i.example/", "https://i.example.evil.example/"]
        {
            assert_eq!(sent(other), None, "{other}");
        }
    }
}
