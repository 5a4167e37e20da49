//! How text looks on a terminal. Everything that comes in here is escaped already.

use anstyle::{AnsiColor, Style};
use gate_core::outcome::Verdict;
use gate_core::severity::Severity;
use textwrap::core::display_width;
use textwrap::{Options, WordSplitter};

/// Headings.
pub(crate) const HEADING: Style = Style::new().bold();
/// What is less important.
pub(crate) const QUIET: Style = Style::new().dimmed();
/// What must not be overlooked.
pub(crate) const ALARM: Style = AnsiColor::Yellow.on_default().bold();

/// The colour of a verdict; the word always stands beside it.
pub(crate) fn verdict(verdict: Verdict) -> Style {
    let colour = match verdict {
        Verdict::Approved => AnsiColor::Green,
        Verdict::Refused => AnsiColor::Red,
        Verdict::Held => AnsiColor::Yellow,
        Verdict::Failed => AnsiColor::Magenta,
        Verdict::Invalid => AnsiColor::Cyan,
    };
    colour.on_default().bold()
}

/// The colour of a severity; the word always stands beside it.
pub(crate) fn severity(severity: Severity) -> Style {
    match severity {
        Severity::Unknown | Severity::Critical => AnsiColor::Red.on_default().bold(),
        Severity::High => AnsiColor::Red.on_default(),
        Severity::Medium => AnsiColor::Yellow.on_default(),
        Severity::Low => AnsiColor::Blue.on_default(),
        Severity::Info => QUIET,
    }
}

/// The text in this style if `colour` is wanted.
pub(crate) fn paint(text: &str, style: Style, colour: bool) -> String {
    if colour && !text.is_empty() { format!("{style}{text}{style:#}") } else { text.to_owned() }
}

/// The text in at most `width` columns, an ellipsis at its end if it was cut.
pub(crate) fn fit(text: &str, width: usize) -> String {
    if display_width(text) <= width {
        return text.to_owned();
    }
    let mut out = String::new();
    let mut used = 0;
    for c in text.chars() {
        let columns = display_width(c.encode_utf8(&mut [0; 4]));
        if used + columns + 1 > width {
            break;
        }
        out.push(c);
        used += columns;
    }
    if width > 0 {
        out.push('…');
    }
    out
}

/// The text and as many spaces as fill `width` columns.
pub(crate) fn pad(text: &str, width: usize) -> String {
    format!("{text}{}", " ".repeat(width.saturating_sub(display_width(text))))
}

/// Lines of at most `width` columns, the first after `first` and the others after `rest`; without a width, one line.
pub(crate) fn wrap(text: &str, width: Option<usize>, first: &str, rest: &str) -> Vec<String> {
    let Some(width) = width else { return vec![format!("{first}{text}")] };
    // Below this, every line would be a word or less.
    const NARROWEST: usize = 24;
    let options = Options::new(width.max(NARROWEST + display_width(rest)))
        .initial_indent(first)
        .subsequent_indent(rest)
        .word_splitter(WordSplitter::NoHyphenation)
        .break_words(true);
    textwrap::wrap(text, options).into_iter().map(std::borrow::Cow::into_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cutting_counts_columns() {
        for (text, width, expected) in [
            ("abc", 3, "abc"),
            ("abcd", 3, "ab…"),
            ("日本語", 6, "日本語"),
            ("日本語", 5, "日本…"),
            ("日本語", 4, "日…"),
            ("ab", 1, "…"),
            ("ab", 0, ""),
        ] {
            assert_eq!(fit(text, width), expected);
        }
        assert_eq!(pad("日", 4), "日  ");
        assert_eq!(pad("abcde", 4), "abcde");
    }

    #[test]
    fn long_words_break_and_no_line_is_wider_than_asked() {
        let text = format!("see {} for more 日本語日本語日本語日本語日本語日本語日本語日本語", "a/".repeat(60));
        for width in [40, 80] {
            let lines = wrap(&text, Some(width), "- ", "  ");
            assert!(lines.len() > 1 && lines.iter().all(|line| display_width(line) <= width), "{lines:#?}");
        }
        assert_eq!(wrap(&text, None, "- ", "  "), [format!("- {text}")]);
    }

    #[test]
    fn colour_is_only_there_when_it_is_wanted() {
        assert_eq!(paint("a", ALARM, false), "a");
        assert_eq!(anstream::adapter::strip_str(&paint("a", ALARM, true)).to_string(), "a");
        assert_ne!(paint("a", ALARM, true), "a");
    }
}
