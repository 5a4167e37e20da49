//! Made-up credentials from templates, always the same for the same template: `ghp_{crc:30}`.

use crate::secrets::check::base62_crc32;

const ALNUM: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
const BASE64: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// The text, and the parts of it that were made up. A brace that holds no colon stays as it is.
pub(super) fn expand(template: &str) -> (String, Vec<String>) {
    let (mut text, mut parts, mut rest) = (String::new(), Vec::new(), template);
    let mut random =
        Random(template.bytes().fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3)));
    while let Some(open) = rest.find('{') {
        let close = open + rest[open..].find('}').unwrap_or_else(|| panic!("{template}"));
        text.push_str(&rest[..open]);
        match rest[open + 1..close].split_once(':') {
            Some((kind, size)) => {
                let part = make(kind, size, &mut random);
                text.push_str(&part);
                parts.push(part);
            }
            None => text.push_str(&rest[open..=close]),
        }
        rest = &rest[close + 1..];
    }
    text.push_str(rest);
    (text, parts)
}

fn make(kind: &str, size: &str, random: &mut Random) -> String {
    // `15-3`: fifteen characters, and another value for each number behind the dash.
    let count = || size.split('-').next().unwrap().parse::<usize>().unwrap();
    match kind {
        "alnum" => random.text(ALNUM, count()),
        "alpha" => random.text(&ALNUM[..52], count()),
        "upper" => random.text(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", count()),
        "digit" => random.text(b"0123456789", count()),
        "hex" => random.text(b"0123456789abcdef", count()),
        "b64" => random.text(BASE64, count()),
        "crc" => {
            let body = random.text(ALNUM, count());
            format!("{body}{}", std::str::from_utf8(&base62_crc32(body.as_bytes())).unwrap())
        }
        "der" => lines(&der(count(), random)).join("\n"),
        "der-escaped" => lines(&der(count(), random)).join("\\n"),
        "openssh" => {
            let mut key = b"openssh-key-v1\0".to_vec();
            key.extend(u32::try_from(size.len()).unwrap().to_be_bytes());
            key.extend(size.as_bytes());
            key.extend((0..300).map(|_| random.next() as u8));
            lines(&key).join("\n")
        }
        "jwt" => {
            let header = encode(format!(r#"{{"alg":"{size}","typ":"JWT"}}"#).as_bytes());
            let payload = encode(format!(r#"{{"sub":"{}"}}"#, random.text(ALNUM, 20)).as_bytes());
            format!("{header}.{payload}.{}", random.text(ALNUM, 43))
        }
        other => panic!("no such kind: {other}"),
    }
}

/// A sequence of so many random bytes, as DER writes it.
fn der(size: usize, random: &mut Random) -> Vec<u8> {
    let mut out = vec![0x30, 0x82];
    out.extend(u16::try_from(size).unwrap().to_be_bytes());
    out.extend((0..size).map(|_| random.next() as u8));
    out
}

fn lines(bytes: &[u8]) -> Vec<String> {
    encode(bytes).as_bytes().chunks(64).map(|line| String::from_utf8(line.to_vec()).unwrap()).collect()
}

/// Base64 without padding.
fn encode(bytes: &[u8]) -> String {
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let bits = chunk.iter().fold(0_u32, |bits, &b| bits << 8 | u32::from(b)) << (8 * (3 - chunk.len()));
        for digit in 0..=chunk.len() {
            out.push(char::from(BASE64[(bits >> (18 - 6 * digit) & 63) as usize]));
        }
    }
    out
}

/// splitmix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    fn text(&mut self, alphabet: &[u8], size: usize) -> String {
        (0..size).map(|_| char::from(alphabet[(self.next() % alphabet.len() as u64) as usize])).collect()
    }
}
