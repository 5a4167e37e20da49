//! The rules for names.
//!
//! Sources: Go `x/mod/module.CheckFilePath` (reserved names, short names), PyPI Warehouse `utils/zipfiles.py` (control
//! characters), Unicode TR36 and CVE-2021-42574 (deceptive characters), MS-FSCC 2.1.5 (trailing dots and spaces, streams).

use std::borrow::Cow;

use unicode_normalization::UnicodeNormalization;

use crate::{Code, Limits, Refusal};

/// Device names of Windows, and of its console (x/mod `badWindowsNames`; superscript digits count as digits on Windows).
const RESERVED: &[&str] = &["con", "prn", "aux", "nul", "conin$", "conout$"];

/// Checks one relative path without a trailing slash and returns nothing but the verdict: the path is kept as it is.
///
/// `shown` is the name to put in the refusal: the raw name, of which `path` is a part.
pub(crate) fn check(path: &str, shown: &str, limits: &Limits) -> Result<(), Refusal> {
    let refuse = |code| Err(Refusal::of(code, shown));
    if path.len() > limits.path_bytes {
        return Err(Refusal::of(Code::PathTooLong, shown).detail(format!("{} bytes", path.len())));
    }
    if path.bytes().any(|byte| byte < 0x20 || byte == 0x7f) {
        return refuse(Code::ControlCharacter);
    }
    if path.contains('\\') {
        return refuse(Code::Backslash);
    }
    if path.starts_with('/') {
        return refuse(Code::AbsolutePath);
    }
    if path.contains(':') {
        return refuse(Code::Colon);
    }
    let mut depth = 0;
    for segment in path.split('/') {
        depth += 1;
        check_segment(segment).map_err(|code| Refusal::of(code, shown))?;
    }
    if depth > limits.path_depth {
        return Err(Refusal::of(Code::PathTooDeep, shown).detail(format!("{depth} segments")));
    }
    Ok(())
}

/// [`check`] for a directory's own entry, which may end in a dot: nothing is in it that does not have a path of its own. Wheels
/// of pyarrow hold such a one.
pub(crate) fn check_directory(path: &str, shown: &str, limits: &Limits) -> Result<(), Refusal> {
    match path.strip_suffix('.').filter(|parent| parent.ends_with(|c: char| c.is_ascii_alphanumeric())) {
        Some(without) => check(without, shown, limits),
        None => check(path, shown, limits),
    }
}

fn check_segment(segment: &str) -> Result<(), Code> {
    match segment {
        "" => return Err(Code::EmptySegment),
        "." => return Err(Code::DotSegment),
        ".." => return Err(Code::ParentSegment),
        _ => {}
    }
    if !segment.is_ascii() {
        if segment.chars().any(char::is_control) {
            return Err(Code::ControlCharacter);
        }
        // A compatibility form that turns into a separator or a dot segment becomes one on a system that normalises.
        let folded: String = segment.nfkc().collect();
        if hides_text(segment)
            || folded.contains(['/', '\\', ':', '\u{2044}', '\u{2215}', '\u{29f5}', '\u{29f8}'])
            || folded.chars().all(|c| c == '.')
        {
            return Err(Code::DeceptiveCharacter);
        }
    }
    if segment.ends_with(['.', ' ']) {
        return Err(Code::TrailingDotOrSpace);
    }
    let stem = segment.split('.').next().unwrap_or(segment);
    if is_reserved(stem.trim_end_matches(' ')) {
        return Err(Code::ReservedName);
    }
    if let Some((_, digits)) = stem.rsplit_once('~')
        && !digits.is_empty()
        && digits.bytes().all(|byte| byte.is_ascii_digit())
    {
        return Err(Code::ShortName);
    }
    Ok(())
}

fn is_reserved(stem: &str) -> bool {
    if RESERVED.iter().any(|name| stem.eq_ignore_ascii_case(name)) {
        return true;
    }
    let mut chars = stem.chars();
    let Some(digit) = chars.next_back() else { return false };
    let port = chars.as_str();
    matches!(digit, '0'..='9' | '\u{b9}' | '\u{b2}' | '\u{b3}')
        && (port.eq_ignore_ascii_case("com") || port.eq_ignore_ascii_case("lpt"))
}

/// Whether a segment holds deceptive characters, other than the joiner and the variation selectors of an emoji: pages of
/// Streamlit apps are named so.
fn hides_text(segment: &str) -> bool {
    let mut after_symbol = false;
    for c in segment.chars() {
        let emoji_part = after_symbol && matches!(c, '\u{200d}' | '\u{fe0e}' | '\u{fe0f}');
        if is_deceptive(c) && !emoji_part {
            return true;
        }
        after_symbol = c >= '\u{2190}';
    }
    false
}

/// Characters that move the cursor, reorder text or show nothing: controls, bidirectional and zero-width formatting, separators
/// of lines and paragraphs, tags, variation selectors (Unicode TR36, "Trojan Source" CVE-2021-42574).
pub(crate) fn is_deceptive(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{00ad}' | '\u{034f}' | '\u{061c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e0fff}')
}

/// The form under which file systems that fold case (NTFS, APFS) or normalise (HFS+, APFS) look a name up: two names of one
/// form are one file there. Upper then lower case, so that `ß` meets `ss` and the Kelvin sign `k`.
pub(crate) fn fold(segment: &str) -> Cow<'_, str> {
    if !segment.is_ascii() {
        let cased = segment.nfd().flat_map(char::to_uppercase).flat_map(char::to_lowercase);
        return Cow::Owned(cased.collect::<String>().nfc().collect());
    }
    if segment.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Cow::Owned(segment.to_ascii_lowercase());
    }
    Cow::Borrowed(segment)
}

/// Checks a symbolic link's target and returns where it leads, as a path from the root of the tree ("" is the root).
///
/// `..` is taken at the front only: after a name it would depend on whether that name is itself a link. The link's own parents
/// are real directories (the tree refuses members below links), so each leading `..` climbs exactly one of them.
pub(crate) fn resolve_link(link: &str, target: &str, limits: &Limits) -> Result<String, Refusal> {
    let refuse = |code| Err(Refusal::of(code, link).detail(target));
    if target.len() > limits.path_bytes {
        return Err(Refusal::of(Code::PathTooLong, link));
    }
    if target.is_empty() || target.starts_with('/') || target.contains(['\\', ':']) || target.contains(is_deceptive) {
        return refuse(Code::EscapingLink);
    }
    let mut place: Vec<&str> = link.split('/').collect();
    place.pop();
    let mut descending = false;
    for segment in target.trim_end_matches('/').split('/') {
        match segment {
            "." | "" => {}
            ".." if descending || place.pop().is_none() => return refuse(Code::EscapingLink),
            ".." => {}
            name => {
                descending = true;
                place.push(name);
            }
        }
    }
    let resolved = place.join("/");
    if resolved == link { refuse(Code::LinkLoop) } else { Ok(resolved) }
}
