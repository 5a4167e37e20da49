//! Stored reports and decisions: where each lies among the [`Records`], and the rule that nothing stored is ever changed.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::SCHEMA_VERSION;
use crate::decision::Decision;
use crate::digest::Sha256;
use crate::failure::{Failure, FailureCode};
use crate::outcome::Verdict;
use crate::ports::{Put, Records};
use crate::report::{ContentReport, ScannerVersion};
use crate::request::Wanted;

/// The prefix of all decisions.
pub const DECISIONS: &str = "decisions/";

/// How often a report is written anew because the one before it cannot be read. Whatever damages more than that is no accident.
pub const REPORT_ATTEMPTS: u32 = 8;

/// The report of an artifact by a scanner and its rules, if one is stored.
///
/// A report that cannot be read, or that is about other bytes, counts as absent: the artifact is scanned again.
///
/// # Errors
/// When the store cannot be read.
pub async fn report(
    records: &impl Records,
    artifact: &Sha256,
    scanner: &ScannerVersion,
) -> Result<Option<ContentReport>, Failure> {
    for attempt in 1..=REPORT_ATTEMPTS {
        match stored_report(records, artifact, scanner, attempt).await? {
            Stored::Report(report) => return Ok(Some(*report)),
            Stored::Damaged => {}
            Stored::Nothing => break,
        }
    }
    Ok(None)
}

/// The report of the first scanner, with what the others say of the same artifact; none unless every one of them has reported.
///
/// # Errors
/// When the store cannot be read.
pub async fn merged_report(
    records: &impl Records,
    artifact: &Sha256,
    scanners: &[ScannerVersion],
) -> Result<Option<ContentReport>, Failure> {
    let mut merged: Option<ContentReport> = None;
    for scanner in scanners {
        let Some(report) = report(records, artifact, scanner).await? else { return Ok(None) };
        merged = Some(match merged {
            None => report,
            Some(first) => first.with(report),
        });
    }
    Ok(merged)
}

/// Keeps a report, unless one is stored already: that one stays, and is given back.
///
/// Nothing stored is changed. A stored report that cannot be read is left where it is, and the new one gets the next key.
///
/// # Errors
/// When the store cannot be read or written, or [`REPORT_ATTEMPTS`] reports on this artifact are damaged.
pub async fn keep_report(records: &impl Records, report: &ContentReport) -> Result<Option<ContentReport>, Failure> {
    let ContentReport { artifact, scanner, .. } = report;
    for attempt in 1..=REPORT_ATTEMPTS {
        if put(records, &report_key(artifact, scanner, attempt), report).await? == Put::Created {
            return Ok(None);
        }
        if let Stored::Report(first) = stored_report(records, artifact, scanner, attempt).await? {
            return Ok(Some(*first));
        }
    }
    Err(Failure::new(
        FailureCode::Storage,
        format!(
            "{REPORT_ATTEMPTS} stored reports on {artifact} cannot be read; find out what damages the output folder"
        ),
    ))
}

/// Why there will never be a report of an artifact by a scanner and its rules, if the scanner has said so.
///
/// # Errors
/// When the store cannot be read.
pub async fn unscannable(
    records: &impl Records,
    artifact: &Sha256,
    scanner: &ScannerVersion,
) -> Result<Option<Failure>, Failure> {
    let found: Option<Unscannable> = get(records, &unscannable_key(artifact, scanner)).await?;
    let fits =
        |found: &Unscannable| (found.artifact, &found.scanner) == (*artifact, scanner) && is_about_bytes(found.code);
    Ok(found.filter(fits).map(|found| Failure::new(found.code, found.message)))
}

/// Keeps the answer of a scanner that there is nothing to report on: it depends on the bytes and the rules alone, as a report
/// does. A failure that another try may cure is not kept; says whether it was.
///
/// # Errors
/// When the store cannot be written.
pub async fn keep_unscannable(
    records: &impl Records,
    artifact: &Sha256,
    scanner: &ScannerVersion,
    failure: &Failure,
) -> Result<bool, Failure> {
    if !is_about_bytes(failure.code) {
        return Ok(false);
    }
    let Failure { code, message, .. } = failure.clone();
    let document =
        Unscannable { schema_version: SCHEMA_VERSION, artifact: *artifact, scanner: scanner.clone(), code, message };
    put(records, &unscannable_key(artifact, scanner), &document).await?;
    Ok(true)
}

/// Whether a scanner's failure is an answer that the same bytes will always get.
fn is_about_bytes(code: FailureCode) -> bool {
    code == FailureCode::NotAnArchive
}

/// See [`unscannable`].
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Unscannable {
    schema_version: u32,
    artifact: Sha256,
    scanner: ScannerVersion,
    code: FailureCode,
    message: String,
}

/// The newest decision on a row that can be read, if there is one.
///
/// # Errors
/// When the store cannot be read.
pub async fn latest_decision(records: &impl Records, wanted: &Wanted) -> Result<Option<Decision>, Failure> {
    Ok(newest(records, &records.list(&row_prefix(wanted)).await?).await?.map(|(_, decision)| decision))
}

/// One stored decision; none when the key is free or the record is of another schema.
///
/// # Errors
/// When the store cannot be read.
pub async fn decision(records: &impl Records, key: &str) -> Result<Option<Decision>, Failure> {
    let decision: Option<Decision> = get(records, key).await?;
    Ok(decision.filter(|decision| decision.schema_version == SCHEMA_VERSION))
}

/// Appends a decision, unless the newest one that can be read says the same, and gives its key. The record is written once and
/// never changed.
///
/// # Errors
/// When the store cannot be read or written.
pub async fn keep_decision(records: &impl Records, wanted: &Wanted, decision: &Decision) -> Result<String, Failure> {
    let prefix = row_prefix(wanted);
    loop {
        let keys = records.list(&prefix).await?;
        if let Some((key, newest)) = newest(records, &keys).await?
            && newest.says_the_same_as(decision)
        {
            return Ok(key);
        }
        let number = |key: &String| key.strip_prefix(&prefix)?.strip_suffix(".json")?.parse::<u32>().ok();
        let next = keys.iter().filter_map(number).max().map_or(1, |last| last + 1);
        let key = format!("{prefix}{next:06}.json");
        if put(records, &key, decision).await? == Put::Created {
            return Ok(key);
        }
    }
}

async fn newest(records: &impl Records, keys: &[String]) -> Result<Option<(String, Decision)>, Failure> {
    for key in keys.iter().rev() {
        if let Some(decision) = decision(records, key).await? {
            return Ok(Some((key.clone(), decision)));
        }
    }
    Ok(None)
}

/// Whether a decision is a verdict, so that its row stands against a later row in conflict with it.
#[must_use]
pub fn is_verdict(decision: &Decision) -> bool {
    matches!(decision.verdict, Verdict::Approved | Verdict::Refused | Verdict::Held)
}

/// What lies under a report's key.
enum Stored {
    Report(Box<ContentReport>),
    /// No JSON, or the report of something else.
    Damaged,
    Nothing,
}

async fn stored_report(
    records: &impl Records,
    artifact: &Sha256,
    scanner: &ScannerVersion,
    attempt: u32,
) -> Result<Stored, Failure> {
    let Some(bytes) = records.get(&report_key(artifact, scanner, attempt)).await? else { return Ok(Stored::Nothing) };
    let fits = |report: &ContentReport| {
        report.schema_version == SCHEMA_VERSION && report.artifact == *artifact && report.scanner == *scanner
    };
    let report = serde_json::from_slice(&bytes).ok().filter(fits);
    Ok(report.map_or(Stored::Damaged, |report| Stored::Report(Box::new(report))))
}

/// The schema is part of the key: a program with another one neither reads nor blocks the report.
fn report_key(artifact: &Sha256, scanner: &ScannerVersion, attempt: u32) -> String {
    let ScannerVersion { name, version, rules } = scanner;
    format!("reports/{artifact}/{SCHEMA_VERSION}-{name}-{version}-{rules}-{attempt}.json")
}

fn unscannable_key(artifact: &Sha256, scanner: &ScannerVersion) -> String {
    let ScannerVersion { name, version, rules } = scanner;
    format!("reports/{artifact}/{SCHEMA_VERSION}-{name}-{version}-{rules}-unscannable.json")
}

/// All decisions on one request: the same name from the same source, whatever line it stands on.
fn row_prefix(wanted: &Wanted) -> String {
    let key = Sha256::of(format!("{}\n{}", wanted.name.normalized(), wanted.source.key()).as_bytes());
    format!("{DECISIONS}{}/", key.short())
}

async fn get<T: DeserializeOwned>(records: &impl Records, key: &str) -> Result<Option<T>, Failure> {
    Ok(records.get(key).await?.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
}

async fn put<T: Serialize>(records: &impl Records, key: &str, value: &T) -> Result<Put, Failure> {
    let bytes = serde_json::to_vec(value)
        .map_err(|error| Failure::new(FailureCode::Storage, format!("{key} could not be written as JSON: {error}")))?;
    records.put_new(key, &bytes).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coverage::{CoverageClass, LostReason};
    use crate::testing::{self, MemoryRecords};

    fn wanted() -> Wanted {
        crate::request::parse(b"example,pkg:pypi/example@1.0").unwrap().remove(0).wanted.unwrap()
    }

    fn decision_at(second: i64) -> Decision {
        use crate::decision::{Case, decide};
        let Wanted { name, source, .. } = &wanted();
        decide(&Case {
            name,
            source,
            files: &[testing::wheel("example", "1.0")],
            advisories: None,
            policy: &crate::policy::Policy::built_in().unwrap(),
            now: jiff::Timestamp::from_second(second).unwrap(),
        })
    }

    #[tokio::test]
    async fn the_first_report_stays() {
        let records = MemoryRecords::default();
        let first = testing::clean_report(b"x");
        let mut second = first.clone();
        second.coverage.clear();
        assert_eq!(keep_report(&records, &first).await, Ok(None));
        assert_eq!(keep_report(&records, &second).await, Ok(Some(first.clone())));
        assert_eq!(report(&records, &first.artifact, &first.scanner).await, Ok(Some(first.clone())));
        assert_eq!(records.list("reports/").await.unwrap().len(), 1);
    }

    #[tokio::test]
    async fn a_damaged_report_is_written_anew_beside_the_old_one() {
        let good = testing::clean_report(b"x");
        let mut other_schema = good.clone();
        other_schema.schema_version += 1;
        let mut other_rules = good.clone();
        other_rules.scanner.rules = "none".to_owned();
        let whole = serde_json::to_vec(&good).unwrap();
        for damaged in [
            vec![],
            b"\xff\0".to_vec(),
            whole[..whole.len() - 1].to_vec(),
            serde_json::to_vec(&testing::clean_report(b"other")).unwrap(),
            serde_json::to_vec(&other_schema).unwrap(),
            serde_json::to_vec(&other_rules).unwrap(),
        ] {
            let records = MemoryRecords::default();
            let key = report_key(&good.artifact, &good.scanner, 1);
            records.put_new(&key, &damaged).await.unwrap();
            assert_eq!(report(&records, &good.artifact, &good.scanner).await, Ok(None));
            for kept in [None, Some(good.clone())] {
                assert_eq!(keep_report(&records, &good).await, Ok(kept));
                assert_eq!(report(&records, &good.artifact, &good.scanner).await, Ok(Some(good.clone())));
            }
            assert_eq!(records.get(&key).await, Ok(Some(damaged)), "what is stored is never changed");
        }
    }

    #[tokio::test]
    async fn reports_are_written_anew_a_few_times_only() {
        let good = testing::clean_report(b"x");
        for (damaged, kept) in [(REPORT_ATTEMPTS - 1, true), (REPORT_ATTEMPTS, false), (REPORT_ATTEMPTS + 1, false)] {
            let records = MemoryRecords::default();
            for attempt in 1..=damaged {
                records.put_new(&report_key(&good.artifact, &good.scanner, attempt), b"").await.unwrap();
            }
            assert_eq!(keep_report(&records, &good).await.map_err(|failure| failure.code).is_ok(), kept, "{damaged}");
            let found = report(&records, &good.artifact, &good.scanner).await.unwrap();
            assert_eq!(found.is_some(), kept, "{damaged}");
        }
    }

    #[tokio::test]
    async fn a_damaged_decision_hides_neither_the_one_before_it_nor_the_next() {
        let records = MemoryRecords::default();
        let mut decision = decision_at(1);
        keep_decision(&records, &wanted(), &decision).await.unwrap();
        keep_decision(&records, &wanted(), &decision).await.unwrap();
        let prefix = row_prefix(&wanted());
        assert_eq!(records.list(&prefix).await.unwrap(), [format!("{prefix}000001.json")], "it says the same");
        // A power loss, and what an editor leaves behind.
        records.put_new(&format!("{prefix}000002.json"), b"").await.unwrap();
        records.put_new(&format!("{prefix}000002.json~"), b"{}").await.unwrap();
        assert_eq!(latest_decision(&records, &wanted()).await, Ok(Some(decision.clone())));
        keep_decision(&records, &wanted(), &decision).await.unwrap();
        assert_eq!(records.list(&prefix).await.unwrap().len(), 3, "it still says the same");
        decision.verdict = Verdict::Held;
        keep_decision(&records, &wanted(), &decision).await.unwrap();
        assert!(records.get(&format!("{prefix}000003.json")).await.unwrap().is_some());
        assert_eq!(latest_decision(&records, &wanted()).await, Ok(Some(decision)));
    }

    #[tokio::test]
    async fn that_there_is_nothing_to_report_on_is_kept_for_these_bytes_and_rules() {
        let records = MemoryRecords::default();
        let (artifact, scanner) = (Sha256::of(b"x"), testing::scanner());
        assert_eq!(unscannable(&records, &artifact, &scanner).await, Ok(None));
        for code in FailureCode::ALL {
            let records = MemoryRecords::default();
            let kept = keep_unscannable(&records, &artifact, &scanner, &Failure::new(code, "why")).await.unwrap();
            assert_eq!(kept, code == FailureCode::NotAnArchive, "{code:?}: another try may end in a report");
            assert_eq!(records.list("reports/").await.unwrap().is_empty(), !kept);
        }
        let failure = Failure::new(FailureCode::NotAnArchive, "it is a PDF");
        for _ in 0..2 {
            assert_eq!(keep_unscannable(&records, &artifact, &scanner, &failure).await, Ok(true));
        }
        assert_eq!(unscannable(&records, &artifact, &scanner).await, Ok(Some(failure)));
        assert_eq!(report(&records, &artifact, &scanner).await, Ok(None), "it is no report");
        let other_rules = ScannerVersion { rules: "others".to_owned(), ..scanner.clone() };
        assert_eq!(unscannable(&records, &artifact, &other_rules).await, Ok(None));
        assert_eq!(unscannable(&records, &Sha256::of(b"y"), &scanner).await, Ok(None));
    }

    #[tokio::test]
    async fn a_report_with_lost_files_is_stored_as_it_is() {
        let records = MemoryRecords::default();
        let mut lost = testing::clean_report(b"x");
        lost.coverage[0].class = CoverageClass::Lost { reason: LostReason::AnalyzerDied, detail: "why".to_owned() };
        assert_eq!(keep_report(&records, &lost).await, Ok(None));
        assert_eq!(report(&records, &lost.artifact, &lost.scanner).await, Ok(Some(lost)));
    }
}
