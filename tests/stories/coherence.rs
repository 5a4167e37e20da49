//! What the documents say is what the program does.

use std::collections::BTreeSet;

use gate_core::failure::FailureCode;
use gate_core::finding::Category;
use gate_core::{message, request};

#[test]
fn every_code_of_a_reason_is_in_the_documents_once() {
    let listed =
        include_str!("../../docs/reasons.md").lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    let listed: Vec<_> = listed.collect();
    let mut known = BTreeSet::new();
    known.extend(
        message::CODES.iter().chain(gate_fetcher::NOTE_CODES).chain(gate_request_reader::CODES).map(|(code, _)| *code),
    );
    known.extend(FailureCode::ALL.map(FailureCode::as_str));
    known.extend(Category::ALL.map(Category::as_str));
    known.extend(request::PROBLEM_CODES);
    assert_eq!(listed.iter().copied().collect::<BTreeSet<_>>(), known);
    assert_eq!(listed.len(), known.len());
}

#[test]
fn every_key_of_a_policy_is_in_the_documents() {
    let listed = include_str!("../../docs/policy.md");
    let table: toml::Table = gate_core::policy::BUILT_IN.parse().unwrap();
    for (section, value) in &table {
        let keys: Vec<String> = match value {
            toml::Value::Table(keys) => keys.keys().map(|key| format!("{section}.{key}")).collect(),
            _ => vec![section.clone()],
        };
        for key in keys {
            assert!(listed.contains(&format!("`{key}")), "{key}");
        }
    }
}
