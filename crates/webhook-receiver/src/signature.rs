//! `X-Hub-Signature-256: sha256=HEX`, GitHub's signature of a delivery: HMAC-SHA256 of the raw body, in lower-case hexadecimal
//! digits (GitHub documentation, "Validating webhook deliveries").

use hmac::{Hmac, KeyInit, Mac};
use http::{HeaderMap, HeaderName};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;

const HEADER: HeaderName = HeaderName::from_static("x-hub-signature-256");

/// What the header claims.
pub(crate) struct Signature([u8; 32]);

impl Signature {
    /// The signature, if there is exactly one in exactly the form that GitHub writes. HTTP APIs join repeated headers with a
    /// comma, which is none.
    pub(crate) fn of(headers: &HeaderMap) -> Option<Self> {
        let mut values = headers.get_all(HEADER).iter();
        let (value, None) = (values.next()?, values.next()) else { return None };
        let digits: &[u8; 64] = value.as_bytes().strip_prefix(b"sha256=")?.try_into().ok()?;
        let mut tag = [0; 32];
        for (byte, pair) in tag.iter_mut().zip(digits.as_chunks::<2>().0) {
            *byte = (digit(pair[0])? << 4) | digit(pair[1])?;
        }
        Some(Self(tag))
    }

    /// Whether it is the body's under this secret, compared in constant time.
    pub(crate) fn fits(&self, body: &[u8], secret: &SecretString) -> bool {
        Hmac::<Sha256>::new_from_slice(secret.expose_secret().as_bytes())
            .is_ok_and(|mac| mac.chain_update(body).verify_slice(&self.0).is_ok())
    }
}

fn digit(c: u8) -> Option<u8> {
    match c {
        b'0'..=b'9' => Some(c - b'0'),
        b'a'..=b'f' => Some(c - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of GitHub's documentation.
    #[test]
    fn the_documented_example_fits() {
        let mut headers = HeaderMap::new();
        let value = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
        headers.insert(HEADER, value.parse().unwrap());
        let signature = Signature::of(&headers).unwrap();
        let secret = SecretString::from("It's a Secret to Everybody");
        assert!(signature.fits(b"Hello, World!", &secret));
        assert!(!signature.fits(b"Hello, World?", &secret));
        assert!(!signature.fits(b"Hello, World!", &SecretString::from("It's a Secret to Nobody")));
    }
}
