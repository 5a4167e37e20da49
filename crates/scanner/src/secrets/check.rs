//! Tests of a candidate that a pattern cannot make: checksums, structure, what stands around it.

use std::sync::LazyLock;

use regex::bytes::Regex;
use serde::Deserialize;

/// The tests that a rule may name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Check {
    PrivateKey,
    AwsPair,
    AwsAlone,
    Crc32,
    Jwt,
    RealPassword,
    Mixed,
}

/// Bytes before and after an access key id in which its secret is looked for.
pub(super) const PAIR_DISTANCE: usize = 256;

impl Check {
    /// Whether `secret`, found at `start` of `text`, is what its rule says. `around` is the whole match.
    pub(super) fn passes(self, text: &[u8], start: usize, secret: &[u8], around: &[u8]) -> bool {
        match self {
            Self::PrivateKey => is_private_key(secret),
            Self::AwsPair => has_aws_secret(text, start, secret.len()),
            Self::AwsAlone => !has_aws_secret(text, start, secret.len()),
            Self::Crc32 => has_crc32(secret),
            Self::Jwt => is_signed_jwt(secret),
            Self::RealPassword => is_real_password(secret, around),
            Self::Mixed => {
                secret.iter().any(u8::is_ascii_digit)
                    && secret.iter().any(u8::is_ascii_alphabetic)
                    && !secret.windows(3).any(|w| w[0] == w[1] && w[1] == w[2])
            }
        }
    }
}

/// Shannon entropy in bits per byte.
pub(super) fn entropy(bytes: &[u8]) -> f64 {
    let mut counts = [0_u32; 256];
    for &byte in bytes {
        counts[usize::from(byte)] += 1;
    }
    let total = bytes.len() as f64;
    counts.iter().filter(|&&n| n > 0).map(|&n| f64::from(n) / total).map(|p| -p * p.log2()).sum()
}

/// A DER sequence whose length is that of the whole body, or an OpenSSH key without a passphrase. Placeholders, shortened
/// and encrypted keys are neither.
fn is_private_key(body: &[u8]) -> bool {
    let mut text = Vec::with_capacity(body.len());
    let mut bytes = body.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        match byte {
            // Line ends written out, as in JSON.
            b'\\' => drop(bytes.next_if(|b| matches!(b, b'n' | b'r'))),
            b'"' | b'\'' | b',' => {}
            byte if byte.is_ascii_whitespace() => {}
            byte => text.push(byte),
        }
    }
    let Some(key) = base64(&text) else { return false };
    let der_length = match key.as_slice() {
        [0x30, short @ 0..=0x7f, ..] => 2 + usize::from(*short),
        [0x30, 0x81, length, ..] => 3 + usize::from(*length),
        [0x30, 0x82, high, low, ..] => 4 + usize::from(u16::from_be_bytes([*high, *low])),
        _ => return key.starts_with(b"openssh-key-v1\0\0\0\0\x04none") && key.len() > 100,
    };
    key.len() == der_length && key.len() >= 40 && entropy(&key) > 4.0
}

/// The bytes of a base64 text, in either alphabet; `None` when it is none.
pub(super) fn base64(text: &[u8]) -> Option<Vec<u8>> {
    let text = text.strip_suffix(b"==").or_else(|| text.strip_suffix(b"=")).unwrap_or(text);
    let mut out = Vec::with_capacity(text.len() * 3 / 4);
    for chunk in text.chunks(4) {
        let mut bits = 0_u32;
        for &c in chunk {
            let value = match c {
                b'A'..=b'Z' => c - b'A',
                b'a'..=b'z' => c - b'a' + 26,
                b'0'..=b'9' => c - b'0' + 52,
                b'+' | b'-' => 62,
                b'/' | b'_' => 63,
                _ => return None,
            };
            bits = bits << 6 | u32::from(value);
        }
        bits <<= 6 * (4 - chunk.len());
        let count = match chunk.len() {
            4 => 3,
            3 => 2,
            2 => 1,
            _ => return None,
        };
        out.extend_from_slice(&bits.to_be_bytes()[1..=count]);
    }
    Some(out)
}

/// Whether 40 characters of base64 that look random stand near an access key id.
fn has_aws_secret(text: &[u8], start: usize, length: usize) -> bool {
    static SECRET: LazyLock<Option<Regex>> =
        LazyLock::new(|| Regex::new(r"(?-u)(?:^|[^A-Za-z0-9/+])([A-Za-z0-9/+]{40})(?:[^A-Za-z0-9/+=]|$)").ok());
    let Some(pattern) = &*SECRET else { return true };
    let near = &text[start.saturating_sub(PAIR_DISTANCE)..text.len().min(start + length + PAIR_DISTANCE)];
    pattern.captures_iter(near).filter_map(|found| found.get(1)).any(|found| {
        let secret = found.as_bytes();
        entropy(secret) > 4.2
            && !secret.iter().all(u8::is_ascii_hexdigit)
            && secret.iter().any(u8::is_ascii_digit)
            && !contains(secret, b"EXAMPLE")
    })
}

/// GitHub and npm: behind the prefix 30 characters, then their CRC-32 in base 62, six characters.
fn has_crc32(token: &[u8]) -> bool {
    let Some(body) = token.len().checked_sub(36).map(|from| &token[from..]) else { return false };
    let (random, check) = body.split_at(30);
    check == base62_crc32(random)
}

/// The CRC-32 of these bytes in base 62, digits first, then capitals, then small letters.
pub(super) fn base62_crc32(bytes: &[u8]) -> [u8; 6] {
    const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    let mut left = crc.sum();
    let mut out = [b'0'; 6];
    for digit in out.iter_mut().rev() {
        *digit = DIGITS[(left % 62) as usize];
        left /= 62;
    }
    out
}

/// A header with an algorithm that signs, a payload that is an object, and a signature of some length.
fn is_signed_jwt(token: &[u8]) -> bool {
    let mut parts = token.split(|&b| b == b'.');
    let mut object = || -> Option<serde_json::Map<String, serde_json::Value>> {
        serde_json::from_slice(&base64(parts.next()?)?).ok()
    };
    let (Some(header), Some(_)) = (object(), object()) else { return false };
    let signs = header.get("alg").and_then(|alg| alg.as_str()).is_some_and(|alg| !alg.eq_ignore_ascii_case("none"));
    signs && parts.next().and_then(base64).is_some_and(|signature| entropy(&signature) > 4.0)
}

/// Neither a word from documentation nor a password for a host of examples.
fn is_real_password(password: &[u8], around: &[u8]) -> bool {
    const WORDS: [&[u8]; 12] = [
        b"pass",
        b"pwd",
        b"secret",
        b"token",
        b"user",
        b"example",
        b"xxxx",
        b"****",
        b"....",
        b"test",
        b"your",
        b"changeme",
    ];
    const HOSTS: [&[u8]; 7] = [b"example", b"localhost", b"127.0.0.1", b".local", b"0.0.0.0", b".test", b"host.com"];
    let (password, around) = (password.to_ascii_lowercase(), around.to_ascii_lowercase());
    !WORDS.iter().any(|word| contains(&password, word))
        && !HOSTS.iter().any(|host| contains(&around, host))
        && password.iter().any(u8::is_ascii_digit)
}

pub(super) fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_githubs() {
        // The halves of the token in GitHub's own announcement of the format.
        assert_eq!(&base62_crc32(b"zQWBuTSOoRi4A9spHcVY5ncnsDkxkJ"), b"0mLq17");
    }

    #[test]
    fn base64_is_read_in_both_alphabets() {
        assert_eq!(base64(b"aGVsbG8=").as_deref(), Some(&b"hello"[..]));
        assert_eq!(base64(b"aGVsbG8").as_deref(), Some(&b"hello"[..]));
        assert_eq!(base64(b"-_-_"), base64(b"+/+/"));
        assert_eq!(base64(b"a"), None);
        assert_eq!(base64(b"a.b="), None);
    }

    #[test]
    fn entropy_is_in_bits() {
        assert!(entropy(b"aaaa") < 0.001);
        assert!((entropy(b"abcd") - 2.0).abs() < 0.001);
    }
}
