use super::*;

fn faults(text: &str) -> Vec<String> {
    Policy::parse(text).unwrap_err().0.iter().map(ToString::to_string).collect()
}

const MINIMAL: &str = "schema_version = 1\nrefuse_at = \"medium\"\n";

#[test]
fn the_built_in_policy_is_valid_and_is_what_absent_keys_mean() {
    let built_in = Policy::built_in().unwrap();
    let minimal = Policy::parse(MINIMAL).unwrap();
    assert_eq!(Policy { sha256: minimal.sha256, ..built_in.clone() }, minimal);
    assert_eq!(built_in.threshold(Category::Code), Severity::Medium);
    assert_eq!(built_in.limits.file_bytes, 2 << 30);
    assert_eq!(built_in.limits.request_bytes, 10 << 30);
}

#[test]
fn every_fault_is_reported_at_once() {
    let text = r#"
        schema_version = 2
        refuse_at = "Hgih"
        colour = "blue"
        [thresholds]
        secret = "unknown"
        typo = "low"
        [weights]
        supporting_files_at_most = 3
        [advisories]
        mode = "maybe"
        [scanners]
        required = ["phyton"]
        [opaque]
        hold = ["nativ"]
        [sources]
        hosts = ["https://GitHub.com"]
        [targets]
        python = ["2.7"]
        machines = []
        glibc = "new"
        [limits]
        file_bytes = 0
        [network]
        allow = [{ host = "a b", cidrs = [] }, { host = "ok.example", cidrs = ["10.0.0.0/33"] }]
        [[waivers]]
        rule = ""
        package = "x"
        approver = "a"
        reason = "r"
        expires = "2027-01-31"
        [[waivers]]
        rule = "S602"
        package = "x"
        version = "1"
        approver = "a"
        reason = "r"
        expires = "soon"
        forever = true
    "#;
    insta::assert_snapshot!(faults(text).join("\n"));
}

#[test]
fn what_every_policy_must_state() {
    assert_eq!(
        faults(""),
        [
            "refuse_at: the key is missing; every policy must state it",
            "schema_version: the key is missing; every policy must state it"
        ]
    );
    assert!(faults("refuse_at = ")[0].starts_with("this is not TOML"));
    assert_eq!(faults(&MINIMAL.replace("medium", "unknown")).len(), 1);
    assert_eq!(faults(&MINIMAL.replace("medium", "Medium")).len(), 1);
}

#[test]
fn a_waiver_holds_for_its_package_version_or_digest_until_its_last_day() {
    let digest = Sha256::of(b"a");
    let waiver = |field: &str| -> Waiver {
        let text = format!(
            "{MINIMAL}[[waivers]]\nrule = \"S602\"\npackage = \"Foo.Bar\"\n{field}\napprover = \"a\"\nreason = \"r\"\nexpires = \"2027-01-31\""
        );
        Policy::parse(&text).unwrap().waivers.remove(0)
    };
    let day = |text: &str| text.parse::<Date>().unwrap();
    let by_version = waiver("version = \"1.0\"");
    let covers =
        |rules: &[&str], name, version, today| by_version.covers(rules, name, Some(version), &[digest], day(today));
    assert!(covers(&["S602"], "foo_bar", "1.0.0", "2027-01-31"));
    assert!(!covers(&["S602"], "foo_bar", "1.0.0", "2027-02-01"));
    assert!(!covers(&["S602"], "foo_bar", "1.0.1", "2027-01-31"));
    assert!(!covers(&["S602"], "foo", "1.0", "2027-01-31"));
    assert!(!covers(&["S603"], "foo-bar", "1.0", "2027-01-31"));

    let by_digest = waiver(&format!("sha256 = \"{digest}\""));
    let covers = |artifacts: &[Sha256]| by_digest.covers(&["S602"], "foo-bar", None, artifacts, day("2027-01-01"));
    assert!(covers(&[digest]));
    assert!(!covers(&[Sha256::of(b"b")]));
    assert!(!covers(&[digest, Sha256::of(b"b")]));
    assert!(!covers(&[]));
}
