//! Every rule on its examples, windows, masking.

mod template;

use gate_core::finding::{FileRole, Finding};
use gate_core::severity::Severity;

use self::template::expand;
use super::rules::TABLE;
use super::{AFTER, BEFORE, LONGEST_LITERAL, Scanner, scan};
use crate::context::FileContext;

const CTX: FileContext<'static> = FileContext { path: "pkg/settings.py", role: FileRole::Library, installed: true };

fn scanned(text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    scan(text.as_bytes(), 1, &CTX, &mut findings);
    findings
}

#[test]
fn every_rule_fires_and_stays_silent_on_its_examples_and_masks() {
    let table = TABLE.as_ref().unwrap();
    for rule in &table.rules {
        let id = &rule.id;
        assert!(!rule.fire.is_empty() && !rule.silent.is_empty(), "{id} lacks an example");
        assert!(rule.regex().is_some(), "{id} does not compile");
        assert!(rule.supporting.is_none_or(|severity| severity < rule.severity), "{id}");
        for example in &rule.fire {
            let (text, parts) = expand(example);
            for text in [text.clone(), format!("# text before\nx = '{text}'\nafter\n")] {
                let findings = scanned(&text);
                assert!(findings.iter().any(|f| &f.rule == id), "{id} does not fire on {text}: {findings:?}");
                let report = serde_json::to_string(&findings).unwrap();
                for part in &parts {
                    for leak in part.as_bytes().windows(6).filter(|w| w.iter().all(u8::is_ascii_graphic)) {
                        let leak = std::str::from_utf8(leak).unwrap();
                        assert!(!report.contains(leak), "{id} leaks {leak} of {text}: {report}");
                    }
                }
            }
        }
        for example in &rule.silent {
            let (text, _) = expand(example);
            let findings = scanned(&text);
            assert!(!findings.iter().any(|f| &f.rule == id), "{id} fires on {text}: {findings:?}");
        }
    }
}

#[test]
fn literals_keep_to_what_the_search_relies_on() {
    let table = TABLE.as_ref().unwrap();
    // A literal that begins within another one would be passed over, unless its rule wants no letter before it. One
    // letter in common is no case: nothing has a secret's name and a token run together.
    for rule in &table.rules {
        for (b, a) in
            rule.literals.iter().flat_map(|b| table.rules.iter().flat_map(|r| &r.literals).map(move |a| (b, a)))
        {
            let hidden = (1..a.len() - 1).any(|cut| {
                let joined = a.as_bytes()[cut - 1].is_ascii_alphanumeric() || a.as_bytes()[cut - 1] == b'_';
                b.starts_with(&a[cut..]) && !rule.literals.contains(a) && (rule.before || rule.lookback > 0 || !joined)
            });
            assert!(!hidden, "{b} hides behind {a}");
        }
    }
    assert!(table.owners.len() <= 64, "beyond 64 literals the search is three times slower");
    assert!(table.literals.max_pattern_len() <= LONGEST_LITERAL);
    for rule in &table.rules {
        assert!(rule.after <= AFTER, "{}", rule.id);
        assert!(rule.lookback + super::check::PAIR_DISTANCE <= BEFORE, "{}", rule.id);
    }
}

#[test]
fn a_secret_across_windows_is_found_once_at_its_line() {
    let (key, _) = expand("-----BEGIN RSA PRIVATE KEY-----\n{der:2300}\n-----END RSA PRIVATE KEY-----\n");
    let (token, _) = expand("é token = 'ghp_{crc:30}'\n");
    let text = format!("{}{key}{}{token}{}", "line é\n".repeat(5000), "\n".repeat(3000), "x\n".repeat(20_000));
    let key_lines = u32::try_from(key.matches('\n').count()).unwrap();
    for size in [100, 1000, 16 * 1024, 17 * 1024 - 1, 65_536, text.len()] {
        let mut findings = Vec::new();
        let mut scanner = Scanner::new();
        for window in text.as_bytes().chunks(size) {
            scanner.feed(window, &CTX, &mut findings);
        }
        scanner.finish(&CTX, &mut findings);
        let found: Vec<_> = findings
            .iter()
            .map(|f| (f.rule.as_str(), f.location.as_ref().unwrap().line, f.location.as_ref().unwrap().column))
            .collect();
        assert_eq!(
            found,
            [
                ("secret-private-key", Some(5001), Some(32)),
                ("secret-github-token", Some(5001 + key_lines + 3000), Some(12))
            ],
            "windows of {size}"
        );
    }
}

#[test]
fn a_first_line_is_added_to() {
    let (token, _) = expand("\n\nghp_{crc:30}");
    let mut findings = Vec::new();
    scan(token.as_bytes(), 10, &CTX, &mut findings);
    assert_eq!(findings[0].location.as_ref().unwrap().line, Some(12));
}

#[test]
fn a_test_key_weighs_less_and_a_checked_token_does_not() {
    let (text, _) = expand("-----BEGIN RSA PRIVATE KEY-----\n{der:600}\n-----END RSA PRIVATE KEY-----\nghp_{crc:30}\n");
    for (role, severities) in [
        (FileRole::Library, [Severity::Medium, Severity::Medium]),
        (FileRole::InstallTime, [Severity::Medium, Severity::Medium]),
        (FileRole::Supporting, [Severity::Low, Severity::Medium]),
    ] {
        let mut findings = Vec::new();
        scan(text.as_bytes(), 1, &FileContext { role, ..CTX }, &mut findings);
        assert_eq!(findings.iter().map(|f| f.severity).collect::<Vec<_>>(), severities, "{role:?}");
    }
}

#[test]
fn the_same_secret_is_reported_once_and_a_rule_not_without_end() {
    let (token, _) = expand("ghp_{crc:30}\n");
    assert_eq!(scanned(&token.repeat(1000)).len(), 1);
    let many: String = (0..100).map(|n| expand(&format!("AKIA{{upper:15-{n}}}A\n")).0).collect();
    assert_eq!(scanned(&many).len(), super::MAX_OF_A_RULE);
}

#[test]
fn a_mask_shows_no_more_than_a_quarter() {
    for (secret, shown) in [("", "… (0 characters)"), ("abcdefgh", "ab… (8 characters)"), ("abcd", "a… (4 characters)")]
    {
        assert_eq!(super::masked(secret.as_bytes()), shown);
    }
    assert_eq!(super::masked(b"\n23\n567890123456"), "23·… (15 characters)");
}
