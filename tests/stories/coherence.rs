//! What the documents say is what the program does.

use std::collections::BTreeSet;
use std::path::Path;

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

/// What cargo-deny cannot see: a ban names one crate, and features or targets that it does not build hide a dependency.
#[test]
fn one_crate_speaks_to_aws() {
    let is_sdk = |name: &str| name.starts_with("aws-sdk-") || name == "aws-config";
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let table = |path: &Path| std::fs::read_to_string(path).unwrap().parse::<toml::Table>().unwrap();

    let workspace = table(&root.join("Cargo.toml"));
    let used: Vec<_> =
        workspace["workspace"]["dependencies"].as_table().unwrap().keys().filter(|name| is_sdk(name)).collect();
    assert!(used.len() > 5, "{used:?}");
    let deny = table(&root.join("deny.toml"));
    let banned: BTreeSet<_> =
        deny["bans"]["deny"].as_array().unwrap().iter().map(|ban| ban["crate"].as_str().unwrap()).collect();
    for name in used {
        assert!(banned.contains(name.as_str()), "deny.toml leaves out {name}");
    }

    for member in std::fs::read_dir(root.join("crates")).unwrap() {
        let member = member.unwrap();
        if member.file_name() == "aws" {
            continue;
        }
        let manifest = std::fs::read_to_string(member.path().join("Cargo.toml")).unwrap();
        assert!(!manifest.contains("aws-sdk-") && !manifest.contains("aws-config"), "{}", member.path().display());
    }
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
