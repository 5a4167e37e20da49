use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn version(text: &str) -> Version {
    text.parse().unwrap()
}

fn db(documents: &[Value]) -> AdvisoryDb {
    let texts: Vec<String> = documents.iter().map(Value::to_string).collect();
    let named: Vec<String> = (0..texts.len()).map(|i| format!("{i}.json")).collect();
    AdvisoryDb::of_documents(named.iter().map(String::as_str).zip(texts.iter().map(String::as_bytes))).unwrap()
}

fn fault(json: &[u8]) -> RecordFault {
    match AdvisoryDb::builder().add("a.json", json) {
        Err(ExportFault::Document { fault, .. }) => fault,
        other => panic!("{other:?}"),
    }
}

/// A record of `demo` before 2.0, with these members replaced or added.
fn record(id: &str, changes: impl Into<Value>) -> Value {
    let mut record = json!({
        "id": id,
        "modified": "2024-01-01T00:00:00Z",
        "summary": "A demo is unsafe",
        "affected": [affected("demo", json!([{ "introduced": "0" }, { "fixed": "2.0" }]))],
    });
    for (key, value) in changes.into().as_object().unwrap() {
        record[key] = value.clone();
    }
    record
}

fn affected(name: &str, events: impl Into<Value>) -> Value {
    json!({
        "package": { "ecosystem": "PyPI", "name": name },
        "ranges": [{ "type": "ECOSYSTEM", "events": events.into() }],
    })
}

fn only(db: &AdvisoryDb, name: &str, asked: &str) -> Advisory {
    let mut found = db.lookup(name, &version(asked));
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0)
}

#[test]
fn what_says_nothing_about_versions_counts_for_all() {
    let entry = |rest: Value| {
        let mut entry = json!({ "package": { "ecosystem": "PyPI", "name": "demo" } });
        for (key, value) in rest.as_object().unwrap() {
            entry[key] = value.clone();
        }
        entry
    };
    let git = json!({ "type": "GIT", "repo": "https://git.example/r", "events": [{ "introduced": "0" }, { "fixed": "abc" }] });
    for (rest, certain) in [
        (json!({}), Some(false)),
        (json!({ "versions": [], "ranges": [] }), Some(false)),
        (json!({ "versions": null, "ranges": null }), Some(false)),
        (json!({ "versions": "1.0" }), Some(false)),
        (json!({ "versions": [1.0] }), Some(false)),
        (json!({ "versions": ["1.0"], "ranges": "?" }), Some(false)),
        (json!({ "versions": ["1.0"], "ranges": [7] }), Some(false)),
        (json!({ "ranges": [git] }), Some(false)),
        (json!({ "ranges": [{ "type": "ECOSYSTEM" }] }), Some(false)),
        (json!({ "ranges": [{ "type": "ECOSYSTEM", "events": [] }] }), Some(false)),
        (json!({ "ranges": [{ "type": "ECOSYSTEM", "events": [{ "introduced": 0 }] }] }), Some(false)),
        (json!({ "ranges": [{ "type": "ECOSYSTEM", "events": [{ "since": "5" }] }] }), Some(false)),
        (json!({ "ranges": [{ "events": [{ "introduced": "0" }] }] }), Some(true)),
        (json!({ "ranges": [{ "type": "SEMVER", "events": [{ "introduced": "4.0.0" }] }] }), Some(true)),
        (json!({ "ranges": [{ "type": "NEW", "events": [{ "introduced": "4.0.0" }] }] }), Some(true)),
        (json!({ "ranges": [{ "type": "NEW", "events": [{ "introduced": "r77" }] }] }), Some(false)),
        (json!({ "ranges": [{ "type": "SEMVER", "events": [{ "introduced": "6.0.0" }] }] }), None),
        // With a list there is no need to read commits.
        (json!({ "versions": ["1.0"], "ranges": [git] }), None),
        (json!({ "versions": ["5.0"], "ranges": [git] }), Some(true)),
    ] {
        let db = db(&[record("PYSEC-1", json!({ "affected": [entry(rest.clone())] }))]);
        let found = db.lookup("demo", &version("5.0"));
        assert_eq!(found.first().map(|advisory| advisory.certain), certain, "{rest}");
    }
}

#[test]
fn names_and_ecosystems_are_recognised() {
    for (package, found) in [
        (json!({ "ecosystem": "PyPI", "name": "Foo_Bar.baz" }), true),
        (json!({ "ecosystem": "pypi:internal", "name": "foo-bar-baz" }), true),
        (json!({ "name": "foo-bar-baz" }), true),
        (json!({ "ecosystem": 5, "name": "foo-bar-baz" }), true),
        (json!({ "ecosystem": "npm", "name": "foo-bar-baz" }), false),
        (json!({ "ecosystem": "PyPI", "name": "foo-bar" }), false),
    ] {
        let other = record("PYSEC-0", json!({}));
        let this = record("PYSEC-1", json!({ "affected": [{ "package": package }] }));
        let db = db(&[other, this]);
        assert_eq!(db.lookup("FOO.bar-baz", &version("1")).len(), usize::from(found), "{package}");
    }
}

#[test]
fn a_document_that_is_no_record_stops_the_load_and_is_named() {
    for (json, expected) in [
        ("", RecordFault::Json { line: 1, column: 0 }),
        ("{\n\"id\": }", RecordFault::Json { line: 2, column: 7 }),
        ("{\"id\": \"A\"} x", RecordFault::Json { line: 1, column: 13 }),
        ("{\"id\": \"A\", \"id\": \"B\"}", RecordFault::Json { line: 1, column: 16 }),
        ("[]", RecordFault::NoObject),
        ("null", RecordFault::NoObject),
        ("\"PYSEC-1\"", RecordFault::NoObject),
        ("{}", RecordFault::NoId),
        ("{\"id\": 7}", RecordFault::NoId),
        ("{\"id\": \" \"}", RecordFault::NoId),
        ("{\"id\": \"A\", \"affected\": {}}", RecordFault::Affected),
        ("{\"id\": \"A\", \"affected\": [null]}", RecordFault::Affected),
        ("{\"id\": \"A\", \"affected\": [{\"package\": \"demo\"}]}", RecordFault::Affected),
        ("{\"id\": \"A\", \"affected\": [{\"package\": {\"ecosystem\": \"PyPI\"}}]}", RecordFault::Affected),
    ] {
        assert_eq!(fault(json.as_bytes()), expected, "{json}");
    }
    assert!(matches!(fault(b"{\"id\": \"\xff\"}"), RecordFault::Json { .. }));
    let error = AdvisoryDb::builder().add("all/\u{202e}PYSEC-1.json", b"{}").unwrap_err().to_string();
    assert_eq!(error, "all/\\u{202e}PYSEC-1.json: it is not an OSV record: it has no id");
}

#[test]
fn the_size_of_a_record_has_a_limit() {
    for (length, refused) in [(RECORD_BYTES - 1, false), (RECORD_BYTES, false), (RECORD_BYTES + 1, true)] {
        let mut json = b"{\"id\": \"A\"}".to_vec();
        json.resize(length, b' ');
        assert_eq!(AdvisoryDb::builder().add("a.json", &json).is_err(), refused, "{length}");
    }
}

#[test]
fn an_export_that_would_find_nothing_is_refused() {
    let none: [(&str, &[u8]); 0] = [];
    assert_eq!(AdvisoryDb::of_documents(none).unwrap_err(), ExportFault::Empty);
    let npm = json!({ "id": "A", "affected": [{ "package": { "ecosystem": "npm", "name": "left-pad" } }] }).to_string();
    let withdrawn = record("B", json!({ "withdrawn": "2024-02-01T00:00:00Z" })).to_string();
    let documents = [("a", npm.as_bytes()), ("b", withdrawn.as_bytes())];
    assert_eq!(AdvisoryDb::of_documents(documents).unwrap_err(), ExportFault::OtherEcosystem(2));
}

#[test]
fn an_export_says_what_it_is() {
    let db = db(&[
        record("PYSEC-1", json!({ "modified": "2024-03-01T10:00:00.5Z" })),
        record("PYSEC-2", json!({ "modified": "2024-05-01T10:00:00Z", "withdrawn": "2024-05-01T10:00:00Z" })),
        record("PYSEC-3", json!({ "modified": "yesterday" })),
        record("PYSEC-4", json!({ "modified": null })),
    ]);
    assert_eq!((db.records(), db.withdrawn()), (4, 1));
    assert_eq!(db.newest(), Some("2024-05-01T10:00:00Z".parse().unwrap()));
}

#[test]
fn the_digest_of_documents_depends_on_names_and_bytes_and_not_on_their_order() {
    let json = record("PYSEC-1", json!({})).to_string();
    let digest = |documents: &[(&str, &str)]| {
        AdvisoryDb::of_documents(documents.iter().map(|(name, json)| (*name, json.as_bytes()))).unwrap().sha256()
    };
    let spaced = format!("{json} ");
    let whole = digest(&[("a", &json), ("b", &json)]);
    assert_eq!(whole, digest(&[("b", &json), ("a", &json)]));
    for other in [
        digest(&[("a", &json)]),
        digest(&[("a", &json), ("c", &json)]),
        digest(&[("a", &json), ("b", &spaced)]),
        digest(&[("a", &spaced), ("b", &json)]),
    ] {
        assert_ne!(whole, other);
    }
}

#[test]
fn severities_come_from_vectors_and_words_and_the_worst_counts() {
    for (severity, word, expected) in [
        (
            json!([{ "type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H" }]),
            json!(null),
            Some(Severity::Critical),
        ),
        (
            json!([{ "type": "CVSS_V3", "score": "CVSS:3.0/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:H" }]),
            json!(null),
            Some(Severity::High),
        ),
        (
            json!([{ "type": "CVSS_V3", "score": "CVSS:3.1/AV:L/AC:H/PR:L/UI:R/S:U/C:L/I:N/A:N" }]),
            json!(null),
            Some(Severity::Low),
        ),
        (
            json!([{ "type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:L/PR:N/UI:R/S:C/C:L/I:L/A:N" }]),
            json!(null),
            Some(Severity::Medium),
        ),
        (json!([{ "type": "CVSS_V2", "score": "AV:N/AC:L/Au:N/C:P/I:P/A:P" }]), json!(null), Some(Severity::High)),
        (json!([{ "type": "CVSS_V2", "score": "(AV:N/AC:L/Au:N/C:N/I:P/A:N)" }]), json!(null), Some(Severity::Medium)),
        (
            json!([{ "type": "CVSS_V4", "score": "CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:H/SC:N/SI:N/SA:N" }]),
            json!(null),
            Some(Severity::Critical),
        ),
        (json!([]), json!("MODERATE"), Some(Severity::Medium)),
        (json!([{ "type": "Ubuntu", "score": "low" }]), json!(null), Some(Severity::Low)),
        (
            json!([{ "type": "CVSS_V3", "score": "CVSS:3.1/AV:L/AC:H/PR:L/UI:R/S:U/C:L/I:N/A:N" }]),
            json!("HIGH"),
            Some(Severity::High),
        ),
        (
            json!([{ "type": "CVSS_V9", "score": "CVSS:9.0/X:Y" }, { "type": "Ubuntu", "score": "critical" }]),
            json!("low"),
            Some(Severity::Critical),
        ),
        (json!([{ "type": "CVSS_V9", "score": "CVSS:9.0/X:Y" }]), json!(null), None),
        (json!([{ "type": "CVSS_V3", "score": 9.8 }, "?", null]), json!(5), None),
        (json!("CVSS:3.1"), json!("UNTRIAGED"), None),
        (json!(null), json!(null), None),
    ] {
        let db = db(&[record("PYSEC-1", json!({ "severity": severity, "database_specific": { "severity": word } }))]);
        let advisory = only(&db, "demo", "1");
        assert_eq!(
            (advisory.severity, advisory.rated),
            (expected.unwrap_or(Severity::High), expected.is_some()),
            "{severity}"
        );
    }
}

#[test]
fn a_package_may_have_a_severity_of_its_own() {
    let mut entry = affected("demo", json!([{ "introduced": "0" }]));
    entry["severity"] = json!([{ "type": "Ubuntu", "score": "critical" }]);
    let db = db(&[record("PYSEC-1", json!({ "affected": [entry], "database_specific": { "severity": "LOW" } }))]);
    assert_eq!(only(&db, "demo", "1").severity, Severity::Critical);
}

#[test]
fn a_missing_severity_is_that_of_an_alias_even_if_the_alias_is_about_other_versions() {
    let rated = |id: &str, changes: Value| {
        let mut record = record(id, changes);
        record["affected"] = json!([affected("demo", json!([{ "introduced": "7" }]))]);
        record["database_specific"] = json!({ "severity": "LOW" });
        record
    };
    let plain = record("PYSEC-1", json!({ "aliases": ["CVE-1", "GHSA-1"] }));
    for (alias, expected) in [
        (rated("GHSA-1", json!({})), Severity::Low),
        (rated("OTHER-9", json!({ "aliases": ["CVE-1"] })), Severity::Low),
        (rated("OTHER-9", json!({ "aliases": ["PYSEC-1"] })), Severity::Low),
        (rated("OTHER-9", json!({ "aliases": ["CVE-2"], "related": ["CVE-1"] })), Severity::High),
        (rated("GHSA-1", json!({ "withdrawn": "2024-01-01T00:00:00Z" })), Severity::High),
    ] {
        let db = db(&[plain.clone(), alias.clone()]);
        assert_eq!(only(&db, "demo", "1").severity, expected, "{alias}");
    }
}

#[test]
fn records_of_one_vulnerability_are_one_advisory() {
    let db = db(&[
        record("OSV-3", json!({ "aliases": ["CVE-2"], "summary": "third" })),
        record(
            "GHSA-2",
            json!({ "aliases": ["CVE-1", "CVE-2"], "summary": "second", "database_specific": { "severity": "MODERATE" } }),
        ),
        record(
            "PYSEC-1",
            json!({ "aliases": ["CVE-1"], "summary": "", "details": "### Impact\n\nfirst", "database_specific": { "severity": "LOW", "cwe_ids": ["CWE-x", "CWE-79"] } }),
        ),
        record("PYSEC-9", json!({ "aliases": ["CVE-9"] })),
        record("PYSEC-8", json!({ "aliases": ["CVE-8"], "withdrawn": "2024-01-01T00:00:00Z" })),
    ]);
    let found = db.lookup("demo", &version("1.0"));
    assert_eq!(found.iter().map(Advisory::id).collect::<Vec<_>>(), ["PYSEC-9", "PYSEC-1"], "the worst first");
    let merged = &found[1];
    assert_eq!(merged.ids().collect::<Vec<_>>(), ["PYSEC-1", "CVE-1", "CVE-2", "GHSA-2", "OSV-3"]);
    assert_eq!((merged.severity, merged.cwe), (Severity::Medium, Some(79)));
    assert_eq!(merged.title, "second", "a summary is better than the first line of the details");
    assert!(db.lookup("demo", &version("2.0")).is_empty());
    assert!(db.lookup("dem", &version("1.0")).is_empty());
}

#[test]
fn titles_are_found_or_made() {
    for (summary, details, title) in [
        (json!("  Short  "), json!("Long"), "Short"),
        (json!(null), json!("\n## Impact\n\nIt breaks.\nMore."), "It breaks."),
        (json!(7), json!("# Only a heading"), "an advisory without a description"),
        (json!(""), json!(null), "an advisory without a description"),
    ] {
        let db = db(&[record("PYSEC-1", json!({ "summary": summary, "details": details }))]);
        assert_eq!(only(&db, "demo", "1").title, title);
    }
}

#[test]
fn a_malicious_package_is_critical_malware_whatever_the_record_says() {
    for (id, aliases) in [("MAL-2024-1", json!([])), ("GHSA-1", json!(["MAL-2024-1"]))] {
        let rated = json!({ "aliases": aliases, "database_specific": { "severity": "LOW" }, "affected": [{ "package": { "name": "demo" }, "versions": ["1.0"] }] });
        let db = db(&[record(id, rated)]);
        let finding = only(&db, "demo", "1.0").to_finding();
        assert_eq!((finding.severity, finding.category), (Severity::Critical, Category::Malware));
        assert_eq!(
            finding.remedy,
            "Do not install it. Where it was installed, treat the secrets of that machine as stolen."
        );
        assert!(db.lookup("demo", &version("1.1")).is_empty());
    }
}

#[test]
fn a_withdrawn_record_is_ignored_and_an_unreadable_date_withdraws_nothing() {
    for (withdrawn, ignored) in [
        (json!("2022-02-22T16:15:07Z"), true),
        (json!(""), false),
        (json!(true), false),
        (json!("soon"), false),
        (json!(null), false),
    ] {
        let db = db(&[record("PYSEC-1", json!({ "withdrawn": withdrawn })), record("PYSEC-2", json!({}))]);
        assert_eq!(db.lookup("demo", &version("1")).len(), if ignored { 1 } else { 2 }, "{withdrawn}");
    }
}

#[test]
fn the_fix_is_that_of_the_branch_and_free_of_the_same_vulnerability() {
    let branches = json!([
        { "introduced": "0" }, { "fixed": "1.5" }, { "introduced": "2.0" }, { "fixed": "2.3" }, { "introduced": "3.0" },
    ]);
    let narrow = record("PYSEC-1", json!({ "affected": [affected("demo", branches)] }));
    // The same vulnerability by another publisher, who knows that 2.3 did not fix it.
    let wide = json!([{ "introduced": "2.0" }, { "fixed": "2.4" }]);
    let wide = record("GHSA-1", json!({ "aliases": ["PYSEC-1"], "affected": [affected("demo", wide)] }));
    let other = record(
        "PYSEC-2",
        json!({ "affected": [affected("demo", json!([{ "introduced": "0" }, { "fixed": "1.7" }]))] }),
    );
    let db = db(&[narrow, wide, other]);
    for (asked, fix, clean) in [
        ("1.0", Some("1.5"), Some("1.7")),
        ("2.1", Some("2.4"), Some("2.4")),
        ("2.3", Some("2.4"), Some("2.4")),
        ("3.0", None, None),
    ] {
        let found = db.lookup("demo", &version(asked));
        let first = found.iter().find(|advisory| advisory.ids().any(|id| id == "PYSEC-1")).unwrap();
        assert_eq!(first.id(), if asked == "2.3" { "GHSA-1" } else { "PYSEC-1" }, "a record that is about {asked}");
        assert_eq!(first.fixed, fix.map(version), "{asked}");
        assert_eq!(db.fixed_version("Demo", &version(asked)), clean.map(version), "{asked}");
    }
    assert_eq!(db.fixed_version("unknown", &version("1")), None);
}

#[test]
fn references_are_https_pages_the_advisory_first_and_five_at_most() {
    let link = |kind: &str, url: &str| json!({ "type": kind, "url": url });
    let page = |number: u32| link("WEB", &format!("https://p.example/{number}"));
    let links = json!([
        page(1), page(1), page(2), page(3), page(4),
        link("WEB", "http://plain.example/"),
        link("WEB", "javascript:alert(1)"),
        link("ADVISORY", "https://user:secret@a.example/"),
        link("ADVISORY", "https://a.example/\u{202e}x y<b>"),
        link("FIX", "https://f.example/fix"),
        { "type": 1, "url": 2 }, null,
    ]);
    let other = record("GHSA-1", json!({ "aliases": ["PYSEC-1"], "references": [page(1), page(5)] }));
    let db = db(&[record("PYSEC-1", json!({ "references": links })), other]);
    assert_eq!(
        only(&db, "demo", "1").references,
        [
            "https://a.example/%E2%80%AEx%20y%3Cb%3E",
            "https://f.example/fix",
            "https://p.example/1",
            "https://p.example/5",
        ]
    );
}

#[test]
fn a_finding_tells_what_where_and_what_to_do() {
    let rated = json!({
        "aliases": ["CVE-2024-1"], "database_specific": { "severity": "MODERATE", "cwe_ids": ["CWE-79"] },
        "references": [{ "type": "WEB", "url": "https://p.example/1" }],
    });
    let finding = only(&db(&[record("PYSEC-1", rated.clone())]), "demo", "1.0").to_finding();
    assert_eq!(
        finding,
        Finding {
            rule: "PYSEC-1".to_owned(),
            title: "A demo is unsafe (CVE-2024-1)".to_owned(),
            severity: Severity::Medium,
            confidence: Confidence::High,
            category: Category::Advisory,
            cwe: Some(79),
            location: None,
            snippet: None,
            remedy: "Fixed in 2.0: ask for 2.0 or later.".to_owned(),
            references: vec!["https://p.example/1".to_owned()],
        }
    );
    let pin = only(&db(&[record("PYSEC-1", rated)]), "demo", "1.0").to_pin_finding();
    assert_eq!(pin.title, "It needs demo 1.0: A demo is unsafe (CVE-2024-1)");
    assert_eq!(pin.remedy, "Fixed in demo 2.0: ask for a release that allows it.");
    let open = db(&[record("PYSEC-1", json!({ "affected": [{ "package": { "name": "demo" } }] }))]);
    let finding = only(&open, "demo", "1.0").to_finding();
    assert_eq!(finding.confidence, Confidence::Low);
    assert_eq!(
        finding.remedy,
        "No fixed version is known: ask for another package. No severity was published, so it counts as high. \
         Which versions are affected cannot be told from the record, so all of them count."
    );
}

#[test]
fn what_a_record_says_is_escaped_and_cut() {
    let hostile = json!({ "summary": format!("a\u{1b}[2J\u{202e}{}", "é".repeat(600)), "aliases": ["CVE-\u{200b}1"] });
    let finding = only(&db(&[record("PYSEC-\u{7}\n1", hostile)]), "demo", "1").to_finding();
    assert_eq!(finding.rule, "PYSEC-\\u{0007}\\n1");
    assert!(finding.title.starts_with("a\\u{001b}[2J\\u{202e}é"), "{}", finding.title);
    assert!(finding.title.ends_with("é… (CVE-\\u{200b}1)"), "{}", finding.title);
    assert_eq!(finding.title.chars().count(), TITLE_CHARS);
}

/// Records as the Python Packaging Advisory Database and the GitHub Advisory Database write them, shortened.
#[test]
fn records_as_published_are_understood() {
    let pysec = json!({
        "id": "PYSEC-2021-142",
        "details": "A vulnerability was discovered in the PyYAML library in versions before 5.4. The library may be abused.",
        "affected": [{
            "package": { "name": "pyyaml", "ecosystem": "PyPI", "purl": "pkg:pypi/pyyaml" },
            "ranges": [
                { "type": "GIT", "repo": "https://git.example/yaml", "events": [{ "introduced": "0" }, { "fixed": "a001f27" }] },
                { "type": "ECOSYSTEM", "events": [{ "introduced": "0" }, { "fixed": "5.4" }] },
            ],
            "versions": ["3.10", "5.1b1", "5.3", "5.3.1"],
        }],
        "references": [{ "type": "REPORT", "url": "https://bugs.example/1860466" }],
        "aliases": ["CVE-2020-14343", "GHSA-8q59-q68h-6hv4"],
        "modified": "2021-07-02T11:37:39.912697Z",
        "published": "2021-02-09T21:15:00Z",
    });
    let ghsa = json!({
        "schema_version": "1.7.3",
        "id": "GHSA-8q59-q68h-6hv4",
        "modified": "2024-10-14T22:02:12Z",
        "aliases": ["CVE-2020-14343"],
        "summary": "Improper Input Validation in PyYAML",
        "severity": [
            { "type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H" },
            { "type": "CVSS_V4", "score": "CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:H/SC:N/SI:N/SA:N" },
        ],
        "affected": [{
            "package": { "ecosystem": "PyPI", "name": "PyYAML" },
            "ranges": [{ "type": "ECOSYSTEM", "events": [{ "introduced": "0" }, { "fixed": "5.4" }] }],
            "database_specific": { "source": "https://advisories.example/GHSA-8q59-q68h-6hv4.json" },
        }],
        "database_specific": { "github_reviewed": true, "severity": "CRITICAL", "cwe_ids": ["CWE-20"] },
    });
    let both = db(&[pysec.clone(), ghsa]);
    let advisory = only(&both, "PyYAML", "5.3.1");
    assert_eq!(advisory.id(), "PYSEC-2021-142");
    assert_eq!((advisory.severity, advisory.rated, advisory.cwe), (Severity::Critical, true, Some(20)));
    assert_eq!(advisory.title, "Improper Input Validation in PyYAML");
    assert_eq!(advisory.fixed, Some(version("5.4")));
    assert!(both.lookup("pyyaml", &version("5.4b1")).len() == 1 && both.lookup("pyyaml", &version("5.4")).is_empty());
    let alone = db(&[pysec]);
    assert_eq!(only(&alone, "pyyaml", "5.3.1").severity, Severity::High);
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[a-zA-Z0-9:./ -]{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::hash_map("type|score|url|events|severity|cwe_ids|introduced|x", inner, 0..4)
                .prop_map(|map| map.into_iter().collect::<serde_json::Map<_, _>>().into()),
        ]
    })
}

proptest! {
    /// Whatever stands in a member that does not say which versions of which package, the record counts.
    #[test]
    fn no_odd_member_loses_a_record(
        key in prop::sample::select(vec![
            "schema_version", "modified", "published", "aliases", "related", "summary", "details", "severity",
            "references", "database_specific", "credits", "unheard_of",
        ]),
        value in any_json(),
    ) {
        let db = db(&[record("PYSEC-1", json!({ key: value }))]);
        let found = db.lookup("demo", &version("1.0"));
        prop_assert_eq!(found.len(), 1);
        prop_assert!(found[0].certain);
        prop_assert!(found[0].severity >= Severity::Info && found[0].severity < Severity::Unknown);
    }

    /// Whatever stands in the members that say which versions, a version is found, or the record says plainly that it is not.
    #[test]
    fn no_odd_range_makes_a_version_look_safe(events in any_json()) {
        let text = events.to_string();
        let db = db(&[record("PYSEC-1", json!({ "affected": [affected("demo", events)] }))]);
        prop_assert!(!db.lookup("demo", &version("1.0")).is_empty() || text.contains("introduced"));
    }
}
