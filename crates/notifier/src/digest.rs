//! The mails: one digest for each run and requester, each row in it once.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use gate_core::digest::Sha256;
use gate_core::outcome::{Reason, Verdict};
use gate_core::ports::{MAX_MAIL_BODY, Mail};

use crate::plain::{self, count, defanged};
use crate::view::{Install, RowView, RunView};
use crate::words;

/// The most characters of a subject: SNS takes fewer than 100.
pub const SUBJECT_CHARS: usize = 99;
/// The most bytes of a body.
pub const BODY_BYTES: usize = MAX_MAIL_BODY;
/// The most rows of one verdict that a mail lists.
pub const ROWS_LISTED: usize = 200;
/// The most reasons of one row that a mail lists.
pub const REASONS_LISTED: usize = 4;
/// The most files of a held row that a mail names.
const FILES_LISTED: usize = 8;
/// The most characters of one reason.
const REASON_CHARS: usize = 800;
/// The most characters of a name.
const NAME_CHARS: usize = 110;
/// Requirements in one `pip install` line.
const REQUIREMENTS_A_LINE: usize = 10;

/// The mails of a run. `told` gives for a row (its index in the document) everybody who asked for it; a row that is not in it,
/// or that nobody asked for by name, goes into the mail without an address.
///
/// One mail for each address, whose case is not told apart; the mail without an address, if any, is the last.
#[must_use]
pub fn digests(run: &RunView<'_>, told: &[(usize, BTreeSet<String>)]) -> Vec<Mail> {
    let mut asked = BTreeMap::<String, (&str, BTreeSet<usize>)>::new();
    let mut unclaimed: BTreeSet<usize> = (0..run.rows.len()).collect();
    for (row, addresses) in told.iter().filter(|(row, _)| *row < run.rows.len()) {
        for address in addresses.iter().filter(|address| is_address(address)) {
            asked.entry(address.to_ascii_lowercase()).or_insert((address, BTreeSet::new())).1.insert(*row);
            unclaimed.remove(row);
        }
    }
    let mut mails: Vec<_> =
        asked.into_values().map(|(address, rows)| mail(run, Some(address.to_owned()), &rows)).collect();
    if !unclaimed.is_empty() {
        mails.push(mail(run, None, &unclaimed));
    }
    mails
}

/// A mail for somebody whom mails do not reach yet, as one to the default address: `lines` come before the body and say for
/// whom it is.
#[must_use]
pub fn forwarded(mail: Mail, lines: &str, report_at: &str) -> Mail {
    Mail { to: None, subject: mail.subject, body: cut(format!("{lines}\n\n{}", mail.body), BODY_BYTES, report_at) }
}

/// The mail that says that no row of a request can be read; `request` says which request.
#[must_use]
pub fn unreadable(request: &str, reason: &Reason, report_at: &str) -> Mail {
    let body = format!(
        "Package Gate cannot read the request: {}.\n\n  Why: {}\n  What to do: Correct the file and push it again. Until then nothing new of it is looked at; what was decided before stays as it is.\n\nThe whole report: {}\n",
        defanged(&plain::shown(request, REASON_CHARS)),
        defanged(&plain::shown(&reason.message, REASON_CHARS)),
        plain::shown(report_at, 400),
    );
    Mail { to: None, subject: "Package Gate: the request cannot be read".to_owned(), body }
}

/// The key under which a mail of a run is sent: the same run and recipient give the same key, so that a repeated run is one
/// mail. `run` names the run, for example by the time and the digest of its request.
#[must_use]
pub fn key(run: &str, to: Option<&str>) -> String {
    match to {
        Some(address) => {
            let address = address.to_ascii_lowercase();
            let local: String =
                address.chars().take_while(|c| *c != '@').filter(char::is_ascii_alphanumeric).take(32).collect();
            format!("{run}-{local}-{}", &Sha256::of(address.as_bytes()).to_string()[..8])
        }
        None => format!("{run}-default"),
    }
}

/// Whether an address can stand in a header as it is. The request lets no other through; this is the second lock.
pub(crate) fn is_address(text: &str) -> bool {
    let harmless = |c: char| {
        c.is_ascii_graphic() && !matches!(c, '<' | '>' | '(' | ')' | '[' | ']' | ',' | ';' | ':' | '\\' | '"')
    };
    text.len() <= 254
        && text.chars().all(harmless)
        && text
            .split_once('@')
            .is_some_and(|(local, domain)| !local.is_empty() && !domain.is_empty() && !domain.contains('@'))
}

fn mail(run: &RunView<'_>, to: Option<String>, rows: &BTreeSet<usize>) -> Mail {
    let rows: Vec<_> = rows.iter().map(|row| &run.rows[*row]).collect();
    Mail { to, subject: subject(&rows), body: cut(body(run, &rows), BODY_BYTES, run.report_at) }
}

/// `2 approved, 1 refused`.
fn counts(rows: &[&RowView<'_>]) -> String {
    let counts = words::VERDICTS.into_iter().filter_map(|verdict| {
        let number = rows.iter().filter(|row| row.outcome.verdict == verdict).count();
        (number > 0).then(|| format!("{} {}", plain::thousands(number as u64), verdict.as_str()))
    });
    counts.collect::<Vec<_>>().join(", ")
}

fn subject(rows: &[&RowView<'_>]) -> String {
    let what = match rows {
        [row] => {
            let name = plain::shown(&row.outcome.name, 60);
            let version = words::version(row.outcome).map(|version| format!(" {version}")).unwrap_or_default();
            format!("{name}{version} {}", row.outcome.verdict.as_str())
        }
        _ => counts(rows),
    };
    printable_ascii(&format!("Package Gate: {what}"), SUBJECT_CHARS)
}

/// At most `max` printable ASCII characters; every other character is a question mark.
fn printable_ascii(text: &str, max: usize) -> String {
    let ascii = |c: char| if c.is_ascii_graphic() || c == ' ' { c } else { '?' };
    if text.chars().count() <= max {
        return text.chars().map(ascii).collect();
    }
    text.chars().map(ascii).take(max.saturating_sub(3)).chain("...".chars()).collect()
}

fn body(run: &RunView<'_>, rows: &[&RowView<'_>]) -> String {
    let mut out = format!("Package Gate decided on {}: {}.\n", count(rows.len(), "package"), counts(rows));
    // Writing to a String cannot fail.
    if run.advisories.is_none() {
        out.push_str(
            "\nNO ADVISORIES WERE CONSULTED: known vulnerabilities were not looked for. Tell the gate's operator.\n",
        );
    }
    for verdict in words::VERDICTS {
        let rows: Vec<_> = rows.iter().copied().filter(|row| row.outcome.verdict == verdict).collect();
        if rows.is_empty() {
            continue;
        }
        let head = format!("{} ({}): {}", words::title(verdict), rows.len(), words::in_short(verdict));
        let _ = write!(out, "\n{head}\n{}\n", "=".repeat(head.chars().count()));
        for row in rows.iter().take(ROWS_LISTED) {
            describe(&mut out, row);
        }
        if rows.len() > ROWS_LISTED {
            let _ =
                writeln!(out, "\nand {} more: see the report.", plain::thousands((rows.len() - ROWS_LISTED) as u64));
        }
        if verdict == Verdict::Approved {
            install(&mut out, run, &rows);
        }
    }
    add(&mut out, rows);
    let _ = write!(
        out,
        "\nThe whole report: {}\nWritten {}. Decided by {}.\n",
        plain::shown(run.report_at, 400),
        plain::when(run.generated_at),
        defanged(&words::decided_by(run, rows.iter().copied())),
    );
    out
}

/// One row: what, why and what to do next.
fn describe(out: &mut String, row: &RowView<'_>) {
    let outcome = row.outcome;
    let name = defanged(&plain::shown(&outcome.name, NAME_CHARS));
    let version = words::version(outcome).map(|version| format!(" {}", defanged(&version))).unwrap_or_default();
    let _ = writeln!(out, "\n* {name}{version} (line {} of the request)", outcome.line);
    let told = |reason: &&Reason| match &*reason.code {
        // The head of the mail and the rows to add say these once for all.
        "advisories-not-consulted" => false,
        "dependency-missing" => row.rows_to_add.is_empty(),
        _ => true,
    };
    let (why, notes) = words::why_and_notes(row);
    for (label, reasons) in [("Why", why), ("Note", notes)] {
        let reasons: Vec<_> = reasons.into_iter().filter(told).collect();
        for reason in reasons.iter().take(REASONS_LISTED) {
            let _ = writeln!(out, "  {label}: {}", defanged(&plain::shown(&reason.message, REASON_CHARS)));
        }
        if reasons.len() > REASONS_LISTED {
            let _ = writeln!(out, "  {label}: {} more in the report", reasons.len() - REASONS_LISTED);
        }
    }
    if !row.rows_to_add.is_empty() {
        let _ = writeln!(out, "  Note: it needs {}, see below", count(row.rows_to_add.len(), "further package"));
    }
    if outcome.verdict == Verdict::Held {
        for file in outcome.artifacts.iter().take(FILES_LISTED) {
            let _ =
                writeln!(out, "  SHA-256: {} ({})", file.sha256, defanged(&plain::shown(&file.filename, NAME_CHARS)));
        }
    }
    if let Some(step) = words::next_step(row) {
        let _ = writeln!(out, "  What to do: {}", step.text);
        if let Some(row) = step.row {
            let _ = writeln!(out, "    {}", defanged(&row));
        }
    }
}

/// How to install the approved rows.
fn install(out: &mut String, run: &RunView<'_>, rows: &[&RowView<'_>]) {
    let rows = rows.iter().take(ROWS_LISTED);
    match run.install {
        Install::Index(index_url) => {
            let requirements: Vec<_> = rows.filter_map(|row| words::pip_requirement(row.outcome)).collect();
            if requirements.is_empty() {
                return;
            }
            out.push_str("\nTo install:\n");
            for some in requirements.chunks(REQUIREMENTS_A_LINE) {
                let _ = writeln!(out, "    {}", words::pip_install(index_url, &some.join(" ")));
            }
        }
        Install::Assets(repository) => {
            for (lines, left_out) in rows.filter_map(|row| words::asset_install(repository, row.outcome)) {
                out.push_str("\nTo install, download the file for your machine first:\n");
                for line in lines {
                    let _ = writeln!(out, "    {line}");
                }
                if left_out > 0 {
                    let _ = writeln!(out, "  The report lists {}.", count(left_out, "further file"));
                }
            }
        }
    }
}

/// The rows of dependencies that the request lacks, each once.
fn add(out: &mut String, rows: &[&RowView<'_>]) {
    let lines: BTreeSet<_> =
        rows.iter().flat_map(|row| &row.rows_to_add).map(|line| defanged(&plain::shown(line, 400))).collect();
    if lines.is_empty() {
        return;
    }
    out.push_str(
        "\nSome packages need others that are neither approved nor requested. Add these rows to the request:\n",
    );
    for line in lines.iter().take(ROWS_LISTED) {
        let _ = writeln!(out, "    {line}");
    }
    if lines.len() > ROWS_LISTED {
        let _ = writeln!(out, "and {} more: see the report.", lines.len() - ROWS_LISTED);
    }
}

/// The body if it has at most `max` bytes; else its beginning, up to the end of a character, and where the rest is.
fn cut(body: String, max: usize, report_at: &str) -> String {
    if body.len() <= max {
        return body;
    }
    let pointer = format!("\n\n[This mail was cut. The whole report: {}]\n", plain::shown(report_at, 400));
    let end = body.floor_char_boundary(max.saturating_sub(pointer.len()));
    format!("{}{pointer}", &body[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_cut_at_its_limit_and_on_a_character() {
        for length in [199, 200] {
            assert_eq!(cut("a".repeat(length), 200, "r"), "a".repeat(length));
        }
        let body = cut("a".repeat(201), 200, "out/report.html");
        assert_eq!(body.len(), 200);
        assert!(body.ends_with("[This mail was cut. The whole report: out/report.html]\n"), "{body}");
        for length in 100..110 {
            let body = cut("日".repeat(length), 200, "r");
            assert!(body.len() <= 200 && body.len() > 197, "{}", body.len());
        }
    }

    #[test]
    fn a_subject_is_cut_at_its_limit() {
        assert_eq!(SUBJECT_CHARS, 99);
        for length in [98, 99] {
            assert_eq!(printable_ascii(&"a".repeat(length), SUBJECT_CHARS).len(), length);
        }
        let cut = printable_ascii(&"é".repeat(100), SUBJECT_CHARS);
        assert_eq!(cut, format!("{}...", "?".repeat(96)));
    }

    #[test]
    fn addresses_that_could_break_a_header_are_not_used() {
        for bad in
            ["", "a", "a@", "@b", "a@b@c", "a@b\r\nBcc: c@d.example", "a b@c.example", "<a@b.example>", "é@b.example"]
        {
            assert!(!is_address(bad), "{bad:?}");
        }
        assert!(is_address("ada.lovelace+gate@corp.example"));
    }

    #[test]
    fn keys_tell_runs_and_recipients_apart() {
        assert_eq!(key("r1", Some("Ada@corp.example")), key("r1", Some("ada@corp.example")));
        assert_ne!(key("r1", Some("ada@corp.example")), key("r1", Some("ada@other.example")));
        assert_ne!(key("r1", None), key("r2", None));
    }
}
