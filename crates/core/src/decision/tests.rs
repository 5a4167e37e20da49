use jiff::Timestamp;

use super::*;
use crate::coverage::{CoverageClass, FileCoverage, LostReason, OpaqueKind};
use crate::finding::{Category, FileRole, Finding};
use crate::testing::{finding, wheel};

const NOW: &str = "2026-11-20T12:00:00Z";

fn policy(extra: &str) -> Policy {
    Policy::parse(&format!("schema_version = 1\nrefuse_at = \"medium\"\n{extra}")).unwrap()
}

fn decided(source: &str, files: &[Examined], policy: &Policy, advisories: Option<&AdvisoryDb>) -> Decision {
    let name = "example".parse().unwrap();
    let source = source.parse().unwrap();
    let now = NOW.parse::<Timestamp>().unwrap();
    decide(&Case { name: &name, source: &source, files, advisories, policy, now })
}

fn purl(files: &[Examined], policy: &Policy) -> Decision {
    decided("pkg:pypi/example@1.0", files, policy, None)
}

fn with(change: impl FnOnce(&mut Examined)) -> Examined {
    let mut file = wheel("example", "1.0");
    change(&mut file);
    file
}

fn with_finding(finding: Finding) -> Examined {
    with(|file| file.report.findings.push(finding))
}

fn first(decision: &Decision) -> (Verdict, &str) {
    (decision.verdict, &decision.reasons[0].code)
}

#[test]
fn a_clean_complete_set_is_approved_and_says_that_no_advisories_were_consulted() {
    let decision = purl(&[wheel("example", "1.0")], &policy(""));
    assert_eq!(first(&decision), (Verdict::Approved, "no-finding"));
    assert_eq!(decision.coordinates.unwrap().to_string(), "pkg:pypi/example@1.0");
    assert_eq!(decision.notes[0].code, "advisories-not-consulted");
}

#[test]
fn every_severity_at_every_threshold() {
    use Severity::{Critical, High, Info, Low, Medium};
    let scale = [Info, Low, Medium, High, Critical];
    for threshold in scale {
        let policy = Policy::parse(&format!("schema_version = 1\nrefuse_at = \"{threshold}\"")).unwrap();
        for severity in scale {
            let verdict = purl(&[with_finding(finding("S602", severity))], &policy).verdict;
            let expected = if severity >= threshold { Verdict::Refused } else { Verdict::Approved };
            assert_eq!(verdict, expected, "{severity} at {threshold}");
        }
        let unknown = purl(&[with_finding(finding("S602", Severity::Unknown))], &policy);
        assert_eq!(first(&unknown), (Verdict::Held, "unknown-severity"));
    }
}

#[test]
fn a_category_may_have_its_own_threshold() {
    let secret = |severity| {
        let mut secret = finding("secret-private-key", severity);
        secret.category = Category::Secret;
        with_finding(secret)
    };
    let policy = policy("[thresholds]\nsecret = \"high\"");
    assert_eq!(purl(&[secret(Severity::Medium)], &policy).verdict, Verdict::Approved);
    assert_eq!(purl(&[secret(Severity::High)], &policy).verdict, Verdict::Refused);
    assert_eq!(purl(&[with_finding(finding("S602", Severity::Medium))], &policy).verdict, Verdict::Refused);
}

#[test]
fn supporting_files_weigh_less_except_what_is_dangerous_by_lying_there() {
    for (category, installed, expected) in [
        (Category::Code, true, Verdict::Approved),
        (Category::Code, false, Verdict::Approved),
        (Category::Malware, true, Verdict::Refused),
        (Category::Malware, false, Verdict::Approved),
        (Category::Pickle, true, Verdict::Refused),
        (Category::Secret, true, Verdict::Refused),
        (Category::InstallTime, true, Verdict::Refused),
        (Category::Archive, false, Verdict::Refused),
    ] {
        let mut finding = finding("rule", Severity::Critical);
        finding.category = category;
        let location = finding.location.as_mut().unwrap();
        location.role = FileRole::Supporting;
        location.installed = installed;
        assert_eq!(
            purl(&[with_finding(finding)], &policy("")).verdict,
            expected,
            "{category:?}, installed: {installed}"
        );
    }
}

#[test]
fn one_lost_file_is_never_approved_and_is_not_called_vulnerable() {
    for reason in [
        LostReason::Limit,
        LostReason::AnalyzerDied,
        LostReason::Undecodable,
        LostReason::Unparsable,
        LostReason::Encrypted,
        LostReason::UnknownMethod,
    ] {
        let class = CoverageClass::Lost { reason, detail: "why".to_owned() };
        let file = with(|file| file.report.coverage.push(FileCoverage { path: "pkg/b.py".to_owned(), size: 1, class }));
        let decision = purl(&[wheel("example", "1.0"), file], &policy(""));
        assert_eq!(decision.verdict, Verdict::Held);
        assert!(decision.reasons[0].message.starts_with("could not be checked: pkg/b.py"), "{:?}", decision.reasons);
    }
}

#[test]
fn a_report_that_proves_nothing_holds() {
    for (change, code) in [
        ((|file| file.report.coverage.clear()) as fn(&mut Examined), "nothing-examined"),
        (|file| file.report.analyzers.retain(|name| name != "pickle"), "analyzer-missing"),
        (|file| file.report.artifact = Sha256::of(b"other"), "report-mismatch"),
        (|file| file.report.size += 1, "report-mismatch"),
        (|file| file.report.schema_version += 1, "report-mismatch"),
    ] {
        assert_eq!(first(&purl(&[with(change)], &policy(""))), (Verdict::Held, code));
    }
    assert_eq!(first(&purl(&[], &policy(""))), (Verdict::Held, "nothing-examined"));
}

#[test]
fn a_dependency_from_a_url_holds() {
    let file = with(|file| {
        let distribution = file.report.distribution.as_mut().unwrap();
        distribution.requires_dist = vec!["other @ https://h.example/other.whl".to_owned()];
    });
    assert_eq!(first(&purl(&[file], &policy(""))), (Verdict::Held, "dependency-url"));
}

#[test]
fn opaque_kinds_hold_where_the_policy_says_so() {
    let native = with(|file| {
        let class = CoverageClass::Opaque { kind: OpaqueKind::Native };
        file.report.coverage.push(FileCoverage { path: "pkg/a.so".to_owned(), size: 1, class });
    });
    assert_eq!(purl(std::slice::from_ref(&native), &policy("")).verdict, Verdict::Approved);
    assert_eq!(first(&purl(&[native], &policy("[opaque]\nhold = [\"native\"]"))), (Verdict::Held, "opaque-native"));
}

#[test]
fn what_the_index_says_of_the_release() {
    let yanked = with(|file| file.evidence.yanked = Some(String::new()));
    assert_eq!(first(&purl(std::slice::from_ref(&yanked), &policy(""))), (Verdict::Held, "yanked"));
    assert_eq!(purl(&[yanked], &policy("[releases]\nyanked = \"note\"")).verdict, Verdict::Approved);

    let cool_down = policy("[releases]\ncool_down_days = 7");
    let uploaded = |at: &str| with(|file| file.evidence.upload_time = Some(at.parse().unwrap()));
    assert_eq!(purl(&[uploaded("2026-11-13T12:00:00Z")], &cool_down).verdict, Verdict::Approved);
    assert_eq!(first(&purl(&[uploaded("2026-11-13T12:00:01Z")], &cool_down)), (Verdict::Held, "cool-down"));
    let unknown = purl(&[wheel("example", "1.0")], &cool_down);
    assert_eq!((unknown.verdict, unknown.notes[0].code.as_str()), (Verdict::Approved, "unknown-age"));
}

#[test]
fn the_archive_must_be_what_was_asked_for() {
    for file in [
        wheel("exampel", "1.0"),
        wheel("example", "1.1"),
        with(|file| file.report.distribution = None),
        with(|file| file.filename = "example-1.1-py3-none-any.whl".to_owned()),
        with(|file| file.filename = "example-1.0.tar.gz".to_owned()),
        with(|file| file.filename = "example.whl".to_owned()),
        with(|file| file.report.distribution.as_mut().unwrap().version = "one".to_owned()),
    ] {
        let decision = purl(&[file], &policy(""));
        assert_eq!((first(&decision), decision.coordinates.is_none()), ((Verdict::Refused, "identity"), true));
    }
    let decision = purl(&[wheel("example", "1.0"), wheel("example", "1.0.1")], &policy(""));
    assert_eq!(first(&decision), (Verdict::Refused, "identity"));
    assert_eq!(purl(&[wheel("Example", "1.0.0")], &policy("")).verdict, Verdict::Approved);
}

#[test]
fn no_policy_lets_a_hostile_or_mistaken_archive_in() {
    let mut hostile = finding("hidden-member", Severity::High);
    hostile.category = Category::Archive;
    for (file, code) in [(with_finding(hostile), "archive"), (wheel("exampel", "1.0"), "identity")] {
        let lax = Policy::parse(&format!(
            "schema_version = 1\nrefuse_at = \"critical\"\n[[waivers]]\nrule = \"hidden-member\"\npackage = \"example\"\nsha256 = \"{0}\"\napprover = \"a\"\nreason = \"r\"\nexpires = \"2027-01-01\"\n[[waivers]]\nrule = \"coordinates-mismatch\"\npackage = \"example\"\nsha256 = \"{0}\"\napprover = \"a\"\nreason = \"r\"\nexpires = \"2027-01-01\"",
            file.sha256
        ));
        assert_eq!(first(&purl(&[file], &lax.unwrap())), (Verdict::Refused, code));
    }
}

#[test]
fn a_scan_that_was_given_up_is_a_doubt_and_no_mismatch() {
    let file = with(|file| {
        file.report.distribution = None;
        let class = CoverageClass::Lost { reason: LostReason::AnalyzerDied, detail: "slow".to_owned() };
        file.report.coverage = vec![FileCoverage { path: "(archive)".to_owned(), size: 0, class }];
    });
    assert_eq!(first(&purl(&[file], &policy(""))), (Verdict::Held, "lost-analyzer-died"));
}

#[test]
fn a_generic_asset_is_waived_by_its_whole_digest_only() {
    let mut asset = with_finding(finding("S602", Severity::High));
    asset.report.distribution = None;
    for (field, verdict) in [
        (format!("version = \"{}\"", asset.sha256.short()), Verdict::Refused),
        (format!("sha256 = \"{}\"", asset.sha256), Verdict::Approved),
    ] {
        let policy = policy(&format!(
            "[[waivers]]\nrule = \"S602\"\npackage = \"example\"\n{field}\napprover = \"a\"\nreason = \"r\"\nexpires = \"2027-01-01\""
        ));
        let decision = decided("https://h.example/asset.zip", &[asset.clone()], &policy, None);
        assert_eq!(decision.verdict, verdict, "{field}");
    }
}

#[test]
fn a_url_that_leads_to_no_distribution_is_a_generic_asset() {
    let asset = with(|file| {
        file.report.distribution = None;
        file.filename = "main.zip".to_owned();
    });
    let digest = asset.sha256;
    let decision = decided("https://github.com/o/r/archive/refs/heads/main.zip", &[asset], &policy(""), None);
    assert_eq!(decision.coordinates.unwrap().to_string(), format!("pkg:generic/example@{}", digest.short()));
    assert!(decision.notes.iter().any(|note| note.code == "moving-source"));
}

#[test]
fn a_waiver_lets_its_finding_through_and_is_noted() {
    let waiver = |rule: &str, expires: &str| {
        policy(&format!(
            "[[waivers]]\nrule = \"{rule}\"\npackage = \"example\"\nversion = \"1.0\"\napprover = \"jane\"\nreason = \"read it\"\nexpires = \"{expires}\""
        ))
    };
    let file = with_finding(finding("S602", Severity::High));
    let decision = purl(std::slice::from_ref(&file), &waiver("S602", "2026-11-20"));
    assert_eq!((decision.verdict, decision.notes[0].code.as_str()), (Verdict::Approved, "waived"));
    assert_eq!(purl(std::slice::from_ref(&file), &waiver("S602", "2026-11-19")).verdict, Verdict::Refused);
    assert_eq!(purl(&[file], &waiver("S603", "2026-11-20")).verdict, Verdict::Refused);

    let yanked = with(|file| file.evidence.yanked = Some("broken".to_owned()));
    assert_eq!(purl(&[yanked], &waiver("yanked", "2026-11-20")).verdict, Verdict::Approved);
    let unproven = with(|file| file.report.coverage.clear());
    assert_eq!(purl(&[unproven], &waiver("nothing-examined", "2026-11-20")).verdict, Verdict::Held);
}

#[test]
fn advisories_that_are_required_and_absent_fail_what_nothing_else_stops() {
    let required = policy("[advisories]\nmode = \"required\"");
    assert_eq!(first(&purl(&[wheel("example", "1.0")], &required)), (Verdict::Failed, "advisories-unavailable"));
    assert_eq!(purl(&[with_finding(finding("S602", Severity::High))], &required).verdict, Verdict::Refused);
    assert_eq!(purl(&[], &required).verdict, Verdict::Held);
}

#[test]
fn a_refusal_names_each_rule_once_and_the_worst_first() {
    let mut file = wheel("example", "1.0");
    for rule in ["S602", "S602", "S605"] {
        file.report.findings.push(finding(rule, if rule == "S605" { Severity::Critical } else { Severity::Medium }));
    }
    let messages: Vec<_> = purl(&[file], &policy("")).reasons.into_iter().map(|reason| reason.message).collect();
    insta::assert_debug_snapshot!(messages, @r#"
    [
        "critical: what S605 finds (S605) in pkg/a.py:7. Ask for another version.",
        "medium: what S602 finds (S602) in pkg/a.py:7 and 1 more. Ask for another version.",
    ]
    "#);
}

#[test]
fn reasons_are_cut_with_a_count() {
    for (rules, expected, last) in [(MAX_REASONS, MAX_REASONS, "code"), (MAX_REASONS + 1, MAX_REASONS, "more")] {
        let mut file = wheel("example", "1.0");
        file.report.findings = (0..rules).map(|n| finding(&format!("R{n}"), Severity::High)).collect();
        let reasons = purl(&[file], &policy("")).reasons;
        assert_eq!((reasons.len(), reasons.last().unwrap().code.as_str()), (expected, last));
    }
}

#[test]
fn reason_codes_are_listed_once() {
    let mut codes: Vec<_> = message::CODES.iter().map(|(code, _)| *code).collect();
    codes.extend(Category::ALL.map(Category::as_str));
    codes.sort_unstable();
    let count = codes.len();
    codes.dedup();
    assert_eq!(codes.len(), count);
}
