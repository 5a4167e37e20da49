use jiff::{SignedDuration, Timestamp};

use super::*;
use crate::failure::FailureCode;
use crate::testing::MemoryRecords;

const START: Timestamp = Timestamp::UNIX_EPOCH;

fn run(attempt: u32) -> RunId {
    RunId::of_commit(123, "refs/heads/main", &"a".repeat(40), attempt)
}

fn wanted() -> Wanted {
    crate::request::parse(b"example,pkg:pypi/example@1.0").unwrap().remove(0).wanted.unwrap()
}

fn ended(verdict: Verdict, code: &str) -> OutcomeDocument {
    OutcomeDocument {
        schema_version: crate::SCHEMA_VERSION,
        outcome: RowOutcome {
            line: 2,
            name: "example".to_owned(),
            source: "pkg:pypi/example@1.0".to_owned(),
            coordinates: None,
            verdict,
            reasons: vec![Reason::new(code, "why")],
            artifacts: Vec::new(),
        },
        decision: None,
        inputs: None,
        again_at: None,
    }
}

fn notice(run: RunId, ended: OutcomeDocument, at: Timestamp) -> Notice {
    Notice { schema_version: crate::SCHEMA_VERSION, run, line: 2, ended, at }
}

#[test]
fn names_of_executions_are_short_and_plain() {
    let run = RunId::of_commit(u64::MAX, "refs/heads/a/very/long/branch name", &"f".repeat(64), u32::MAX);
    for name in [run.execution(10_000), RunId::of_change(u64::MAX, "r", &Sha256::of(b"")).execution(10_000)] {
        assert!(name.len() <= EXECUTION_NAME_CHARS, "{name}");
        assert!(name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-'), "{name}");
    }
    assert_eq!(RunId::try_from(run.to_string()), Ok(run));
    for bad in ["", "a/b", "a b", "é", &"a".repeat(71)] {
        assert_eq!(RunId::try_from((*bad).to_owned()), Err(BadRunId), "{bad}");
    }
}

#[test]
fn one_push_has_one_key_whatever_its_delivery_id() {
    let delivery = |id: &str| Delivery {
        schema_version: 1,
        repository: 123,
        full_name: "corp/requests".to_owned(),
        reference: "refs/heads/main".to_owned(),
        commit: "a".repeat(40),
        delivery_id: Some(id.to_owned()),
        received_at: START,
    };
    assert_eq!(delivery("1").key(), delivery("2").key());
    assert!(delivery("1").key().starts_with("inbox/123/"));
}

#[test]
fn a_row_is_the_same_on_another_line_and_for_somebody_else() {
    let key = |csv: &str| RowKey::of(&crate::request::parse(csv.as_bytes()).unwrap().remove(0).wanted.unwrap());
    let plain = key("six,pkg:pypi/six@1.16.0");
    assert_eq!(plain, key("\nSIX,pkg:pypi/six@1.16,,a@corp.example"));
    assert_ne!(plain, key("six,pkg:pypi/six@1.17.0"));
    assert_ne!(plain, key(&format!("six,pkg:pypi/six@1.16.0,{}", "0".repeat(64))));
}

#[tokio::test]
async fn a_requester_hears_of_an_outcome_once() {
    let (records, row) = (MemoryRecords::default(), RowKey::of(&wanted()));
    let refused = notice(run(1), ended(Verdict::Refused, "finding"), START);
    assert!(matches!(keep_notice(&records, &row, &refused).await, Ok(Noticed::News(_))));
    // The step runs twice.
    assert!(matches!(keep_notice(&records, &row, &refused).await, Ok(Noticed::News(_))));
    // Another run says the same, then something else, then what the first said.
    for (attempt, verdict, news) in
        [(2, Verdict::Refused, false), (3, Verdict::Approved, true), (4, Verdict::Refused, true)]
    {
        let next = notice(run(attempt), ended(verdict, "finding"), START);
        let noticed = keep_notice(&records, &row, &next).await.unwrap();
        assert_eq!(matches!(noticed, Noticed::News(_)), news, "{attempt}");
    }
    assert_eq!(crate::ports::Records::list(&records, "notices/").await.unwrap().len(), 3);
}

#[tokio::test]
async fn a_failure_is_tried_again_for_seven_days() {
    let (records, row) = (MemoryRecords::default(), RowKey::of(&wanted()));
    let at = |hours| START + SignedDuration::from_hours(hours);
    let retry = async |now| retry_at(&records, &row, FailureCode::Busy, now).await.unwrap();
    assert_eq!(retry(at(0)).await, Some(START + RETRY_FIRST));
    keep_notice(&records, &row, &notice(run(1), ended(Verdict::Failed, "busy"), START)).await.unwrap();
    assert_eq!(retry(at(2)).await, Some(at(4)));
    assert_eq!(retry(at(100)).await, Some(at(112)));
    assert!(retry(at(7 * 24) - SignedDuration::from_secs(1)).await.is_some());
    assert_eq!(retry(at(7 * 24)).await, None);
    assert_eq!(retry_at(&records, &row, FailureCode::NotFound, at(0)).await, Ok(None));
}

#[tokio::test]
async fn a_row_is_stale_when_what_it_depends_on_changes() {
    let (records, row) = (MemoryRecords::default(), RowKey::of(&wanted()));
    let inputs = Inputs { policy: Sha256::of(b"p"), advisories: None, scanners: vec!["built-in".to_owned()] };
    let look = Look { schema_version: 1, run: run(1), at: START, inputs: Some(inputs.clone()), again_at: None };
    keep_look(&records, &row, &look).await.unwrap();
    keep_look(&records, &row, &look).await.unwrap();
    assert_eq!(latest_look(&records, &row).await, Ok(Some(look.clone())));
    assert_eq!(crate::ports::Records::list(&records, "looks/").await.unwrap().len(), 1);
    // A redrive of the same run ends it otherwise: held until a day, where it had failed.
    let redriven = Look { again_at: Some(START), ..look.clone() };
    keep_look(&records, &row, &redriven).await.unwrap();
    assert_eq!(latest_look(&records, &row).await, Ok(Some(redriven)));
    assert!(!look.is_stale(&inputs, START));
    for changed in [
        Inputs { policy: Sha256::of(b"q"), ..inputs.clone() },
        Inputs { advisories: Some(Sha256::of(b"")), ..inputs.clone() },
        Inputs { scanners: vec!["another".to_owned()], ..inputs.clone() },
    ] {
        assert!(look.is_stale(&changed, START));
    }
    // A row that ended before the scan depends on the policy alone.
    let before = Look { inputs: Some(Inputs { scanners: Vec::new(), ..inputs.clone() }), ..look.clone() };
    assert!(!before.is_stale(&Inputs { advisories: Some(Sha256::of(b"")), ..inputs.clone() }, START));
    assert!(before.is_stale(&Inputs { policy: Sha256::of(b"q"), ..inputs.clone() }, START));
    let cooling = Look { again_at: Some(START), ..look };
    assert!(!cooling.is_stale(&inputs, START - SignedDuration::from_secs(1)));
    assert!(cooling.is_stale(&inputs, START));
}

#[tokio::test]
async fn documents_that_are_missing_or_of_another_form_stop_the_step() {
    let records = MemoryRecords::default();
    crate::ports::Records::put_new(&records, "runs/a/run.json", b"{}").await.unwrap();
    for key in ["runs/a/run.json", "runs/b/run.json"] {
        let error = read::<RunDocument>(&records, key).await.unwrap_err();
        assert_eq!(error.name, crate::step::ErrorName::Corrupt);
        assert!(error.message.contains(key), "{error}");
    }
}

#[test]
fn states_stay_small() {
    let mut state = RowState::new(run(u32::MAX).row_key(10_000));
    let item = RowItem { execution: run(u32::MAX).execution(10_000), state: state.clone() };
    assert!(serde_json::to_string(&item).unwrap().len() <= 300);
    state.unscanned = vec![Sha256::of(b""); MAX_FILES];
    assert!(serde_json::to_string(&state).unwrap().len() < 16 << 10, "Step Functions takes 256 KiB");
}
