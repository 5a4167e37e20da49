//! Small forms of text that page, mail and terminal share. All of them are safe to show as plain text.

use std::fmt::Write as _;

use gate_core::text::{escape, escape_to};
use jiff::Timestamp;

/// Untrusted text for showing: deceptive characters escaped, credentials in URLs masked, at most `max` characters.
#[must_use]
pub fn shown(text: &str, max: usize) -> String {
    escape_to(&mask_credentials(text), max)
}

/// The same text with everything between `://` and `@` of each URL replaced by `***`.
#[must_use]
pub fn mask_credentials(text: &str) -> String {
    rewrite_authorities(text, "://", |authority| match authority.rfind('@') {
        Some(at) => format!("***{}", &authority[at..]),
        None => authority.to_owned(),
    })
}

/// Untrusted text for a mail: escaped and masked as in [`shown`], not cut, and no mail program makes a link of a URL in it:
/// `https://evil.example/a` becomes `hxxps://evil[.]example/a`.
#[must_use]
pub fn defanged(text: &str) -> String {
    let text = escape(text);
    let text = rewrite_authorities(&mask_credentials(&text), "://", |authority| authority.replace('.', "[.]"));
    let mut out = String::with_capacity(text.len() + 8);
    let mut rest = text.as_str();
    while let Some(at) = rest.find("://") {
        let before = &rest[..at];
        let scheme = before.rfind(|c: char| !c.is_ascii_alphanumeric()).map_or(0, |end| end + last_char(before, end));
        out.push_str(&before[..scheme]);
        match before[scheme..].to_ascii_lowercase().as_str() {
            "http" => out.push_str("hxxp://"),
            "https" => out.push_str("hxxps://"),
            _ => {
                out.push_str(&before[scheme..]);
                out.push_str("[:]//");
            }
        }
        rest = &rest[at + 3..];
    }
    out.push_str(rest);
    replace_ignoring_case(&out, "www.", "www[.]")
}

/// The length of the character that begins at `at`.
fn last_char(text: &str, at: usize) -> usize {
    text[at..].chars().next().map_or(1, char::len_utf8)
}

fn replace_ignoring_case(text: &str, from: &str, to: &str) -> String {
    let lower = text.to_ascii_lowercase();
    let mut out = String::with_capacity(text.len());
    let mut end = 0;
    for (at, _) in lower.match_indices(from) {
        out.push_str(&text[end..at]);
        out.push_str(to);
        end = at + from.len();
    }
    out.push_str(&text[end..]);
    out
}

/// Passes every authority (what follows `marker`, up to a slash, `?`, `#`, quote or white space) through `change`.
fn rewrite_authorities(text: &str, marker: &str, change: impl Fn(&str) -> String) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(marker) {
        let (before, after) = rest.split_at(at + marker.len());
        let ends = |c: char| c.is_whitespace() || matches!(c, '/' | '?' | '#' | '"' | '\'' | '<' | '>' | '\\');
        let end = after.find(ends).unwrap_or(after.len());
        let end = after.find(marker).map_or(end, |next| end.min(next));
        out.push_str(before);
        out.push_str(&change(&after[..end]));
        rest = &after[end..];
    }
    out.push_str(rest);
    out
}

/// Bytes for people: `512 B`, `1.4 KiB`, `20.3 MiB`.
#[must_use]
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    // A tenth is enough for people, so the loss of precision above 2^53 does not matter.
    #[allow(clippy::cast_precision_loss)]
    let mut amount = bytes as f64 / 1024.0;
    let mut unit = 0;
    while amount >= 1023.95 && unit + 1 < UNITS.len() {
        amount /= 1024.0;
        unit += 1;
    }
    format!("{amount:.1} {}", UNITS[unit])
}

/// A number with its noun: `1 file`, `2 files`, `1,234 files`.
#[must_use]
pub fn count(number: impl TryInto<u64>, one: &str) -> String {
    let number = number.try_into().unwrap_or(u64::MAX);
    let plural = match (number, one) {
        (1, _) => one.to_owned(),
        (_, one) => match one.strip_suffix('y') {
            Some(stem) if !one.ends_with("ay") && !one.ends_with("ey") => format!("{stem}ies"),
            _ => format!("{one}s"),
        },
    };
    format!("{} {plural}", thousands(number))
}

/// `1234567` as `1,234,567`.
#[must_use]
pub fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A time for people, in UTC, to the minute: `2024-11-20 10:42 UTC`.
#[must_use]
pub fn when(time: Timestamp) -> String {
    let mut out = String::new();
    // The format string is a constant that has no failing directive.
    let _ = write!(out, "{}", time.strftime("%Y-%m-%d %H:%M UTC"));
    out
}

/// Whole days from `earlier` to `later`; none when it lies in the future.
#[must_use]
pub fn days_between(earlier: Timestamp, later: Timestamp) -> Option<u64> {
    u64::try_from(later.as_second() - earlier.as_second()).ok().map(|seconds| seconds / 86_400)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_defanged_and_credentials_masked() {
        for (text, expected) in [
            ("see https://evil.example/a.b", "see hxxps://evil[.]example/a.b"),
            ("HTTP://a.b?x", "hxxp://a[.]b?x"),
            ("ftp://a.b", "ftp[:]//a[.]b"),
            ("é://x.y", "é[:]//x[.]y"),
            ("https://u:p@h.example/x", "hxxps://***@h[.]example/x"),
            ("https://a@b@h.example", "hxxps://***@h[.]example"),
            ("WWW.evil.example", "www[.]evil.example"),
            ("a://b://c.d", "a[:]//b[:]//c[.]d"),
            ("six==1.16.0, pkg:pypi/six@1.16.0", "six==1.16.0, pkg:pypi/six@1.16.0"),
            ("javascript\u{202e}", "javascript\\u{202e}"),
        ] {
            assert_eq!(defanged(text), expected, "{text}");
        }
    }

    #[test]
    fn sizes_change_units_where_they_round() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1_048_524, "1023.9 KiB"),
            (1_048_525, "1.0 MiB"),
            (2 << 30, "2.0 GiB"),
            (u64::MAX, "16.0 EiB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }

    #[test]
    fn numbers_agree_with_their_nouns() {
        assert_eq!(count(1_usize, "finding"), "1 finding");
        assert_eq!(count(0_usize, "finding"), "0 findings");
        assert_eq!(count(1_234_567_u64, "advisory"), "1,234,567 advisories");
        assert_eq!(count(2_u64, "day"), "2 days");
    }

    #[test]
    fn days_are_whole_and_never_negative() {
        let at = |second| Timestamp::from_second(second).unwrap();
        assert_eq!(days_between(at(0), at(86_399)), Some(0));
        assert_eq!(days_between(at(0), at(86_400)), Some(1));
        assert_eq!(days_between(at(1), at(0)), None);
        assert_eq!(when(at(0)), "1970-01-01 00:00 UTC");
    }
}
