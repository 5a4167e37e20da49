//! Making text from a row, a package or an error safe to show on a screen, in a mail or on a page.

use std::borrow::Cow;
use std::fmt::Write as _;

/// True for characters that can move the cursor, reorder or hide text: controls, bidirectional and zero-width formatting,
/// line and paragraph separators, tags and variation selectors (Unicode TR36, "Trojan Source" CVE-2021-42574).
#[must_use]
pub fn is_deceptive(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{00ad}' | '\u{034f}' | '\u{061c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e0fff}')
}

/// The same text with every deceptive character written as `\u{202e}` (or `\n`, `\r`, `\t`).
///
/// This is for showing, not for HTML: a page escapes `<` and `&` as well, which its template does.
#[must_use]
pub fn escape(text: &str) -> Cow<'_, str> {
    if !text.contains(is_deceptive) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if is_deceptive(c) => {
                let _ = write!(out, "\\u{{{:04x}}}", c as u32);
            }
            c => out.push(c),
        }
    }
    Cow::Owned(out)
}

/// [`escape`], cut to at most `max` characters with an ellipsis in the last place.
#[must_use]
pub fn escape_to(text: &str, max: usize) -> String {
    let escaped = escape(text);
    if escaped.chars().count() <= max {
        return escaped.into_owned();
    }
    escaped.chars().take(max.saturating_sub(1)).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_text_is_untouched() {
        assert!(matches!(escape("naïve 日本 <b>"), Cow::Borrowed(_)));
    }

    #[test]
    fn deceptive_characters_are_spelled_out() {
        assert_eq!(escape("a\u{202e}b\u{1b}[31m\n\u{200b}"), "a\\u{202e}b\\u{001b}[31m\\n\\u{200b}");
    }

    #[test]
    fn cutting_counts_characters_not_bytes() {
        assert_eq!(escape_to("ééééé", 5), "ééééé");
        assert_eq!(escape_to("éééééé", 5), "éééé…");
    }
}
