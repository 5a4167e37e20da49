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

fn row(run: RunId, told: &[&str]) -> RowDocument {
    let wanted = wanted();
    RowDocument {
        schema_version: crate::SCHEMA_VERSION,
        run,
        line: 2,
        key: RowKey::of(&wanted),
        name: "example".to_owned(),
        source: "pkg:pypi/example@1.0".to_owned(),
        wanted: Some(wanted),
        told: told.iter().map(|address| (*address).to_owned()).collect(),
    }
}

async fn is_news(records: &MemoryRecords, row: &RowDocument, verdict: Verdict) -> bool {
    matches!(keep_notice(records, row, &ended(verdict, "finding"), START).await, Ok(Noticed::News(_)))
}

async fn hearers(records: &MemoryRecords, row: &RowDocument) -> Option<Vec<String>> {
    let notice = latest_notice(records, &row.key).await.unwrap().unwrap();
    notice.hearers(row).map(|told| told.iter().cloned().collect())
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
    let records = MemoryRecords::default();
    let ada = |attempt| row(run(attempt), &["ada@corp.example"]);
    assert!(is_news(&records, &ada(1), Verdict::Refused).await);
    // The step runs twice.
    assert!(is_news(&records, &ada(1), Verdict::Refused).await);
    // Another run says the same, then something else, then what the first said.
    for (attempt, verdict, news) in
        [(2, Verdict::Refused, false), (3, Verdict::Approved, true), (4, Verdict::Refused, true)]
    {
        assert_eq!(is_news(&records, &ada(attempt), verdict).await, news, "{attempt}");
    }
    assert_eq!(crate::ports::Records::list(&records, "notices/").await.unwrap().len(), 3);
}

#[tokio::test]
async fn who_asks_later_hears_of_the_same_outcome_and_nobody_else_does_again() {
    let records = MemoryRecords::default();
    let (ada, both) = (row(run(1), &["ada@corp.example"]), row(run(2), &["ada@corp.example", "bob@corp.example"]));
    assert_eq!(hear(&records, &both).await, Ok(None), "there is nothing to hear yet");
    assert!(is_news(&records, &ada, Verdict::Refused).await);
    // In two ways: by a run that only tells, and by one that ends the row alike.
    assert!(matches!(hear(&records, &both).await, Ok(Some(Noticed::News(_)))));
    let cat = RowDocument { line: 7, ..row(run(3), &["cat@corp.example"]) };
    assert!(is_news(&records, &cat, Verdict::Refused).await);
    for _ in 0..2 {
        assert_eq!(hearers(&records, &ada).await, Some(vec!["ada@corp.example".to_owned()]), "her digest is not lost");
        assert_eq!(hearers(&records, &both).await, Some(vec!["bob@corp.example".to_owned()]));
        assert_eq!(hearers(&records, &cat).await, Some(vec!["cat@corp.example".to_owned()]));
        // Each once more.
        assert!(matches!(hear(&records, &both).await, Ok(Some(Noticed::News(_)))));
        assert!(is_news(&records, &cat, Verdict::Refused).await && is_news(&records, &ada, Verdict::Refused).await);
    }
    let all = RowDocument { told: ada.told.iter().chain(&cat.told).cloned().collect(), ..row(run(4), &[]) };
    assert!(!is_news(&records, &all, Verdict::Refused).await, "they know");
    assert!(!is_news(&records, &row(run(5), &[]), Verdict::Refused).await, "the default subscription knows");
    assert_eq!(hearers(&records, &all).await, None);
    let notice = latest_notice(&records, &ada.key).await.unwrap().unwrap();
    assert_eq!((notice.run, notice.at), (run(1), START), "when it ended so first");
    assert_eq!(crate::ports::Records::list(&records, "notices/").await.unwrap().len(), 3);
}

#[tokio::test]
async fn who_asked_for_a_row_that_had_failed_hears_of_its_redrive() {
    let records = MemoryRecords::default();
    let (ada, bob) = (row(run(1), &["ada@corp.example"]), row(run(2), &["bob@corp.example"]));
    assert!(is_news(&records, &ada, Verdict::Failed).await);
    assert!(matches!(hear(&records, &bob).await, Ok(Some(Noticed::News(_)))));
    assert!(is_news(&records, &ada, Verdict::Approved).await);
    let told = vec!["ada@corp.example".to_owned(), "bob@corp.example".to_owned()];
    assert_eq!(hearers(&records, &ada).await, Some(told));
}

#[tokio::test]
async fn identical_lines_of_one_run_are_told_to_both_requesters() {
    let records = MemoryRecords::default();
    let line = |line, told| RowDocument { line, ..row(run(1), &[told]) };
    let rows = [line(2, "ada@corp.example"), line(5, "bob@corp.example"), line(6, "ada@corp.example")];
    for row in &rows {
        assert!(is_news(&records, row, Verdict::Invalid).await, "{}", row.line);
    }
    for row in &rows {
        assert_eq!(hearers(&records, row).await, Some(row.told.iter().cloned().collect()), "{}", row.line);
    }
}

#[tokio::test]
async fn a_failure_is_tried_again_for_seven_days() {
    let (records, key) = (MemoryRecords::default(), RowKey::of(&wanted()));
    let at = |hours| START + SignedDuration::from_hours(hours);
    let retry = async |now| retry_at(&records, &key, FailureCode::Busy, now).await.unwrap();
    assert_eq!(retry(at(0)).await, Some(START + RETRY_FIRST));
    let failed = |code, again_at| OutcomeDocument { again_at, ..ended(Verdict::Failed, code) };
    let keep = async |attempt, code, again_at, now| {
        let ended = failed(code, again_at);
        matches!(keep_notice(&records, &row(run(attempt), &[]), &ended, now).await, Ok(Noticed::News(_)))
    };
    assert!(keep(1, "busy", Some(START + RETRY_FIRST), START).await);
    assert_eq!(retry(at(2)).await, Some(at(4)));
    assert_eq!(retry(at(100)).await, Some(at(112)));
    assert!(retry(at(7 * 24) - SignedDuration::from_secs(1)).await.is_some());
    assert_eq!(retry(at(7 * 24)).await, None);
    assert_eq!(retry_at(&records, &key, FailureCode::NotFound, at(0)).await, Ok(None));
    // Another reason is no news while it is tried again; that it is not tried any more is.
    assert!(!keep(2, "unreachable", Some(at(112)), at(100)).await);
    assert!(keep(3, "busy", None, at(7 * 24)).await);
    // Whatever decides it again meets the same failure: the seven days do not begin anew, and nobody is told again.
    assert_eq!(retry(at(8 * 24)).await, None);
    assert!(!keep(4, "busy", None, at(8 * 24)).await);
    // But another failure than one that was final is a first one.
    assert!(keep(5, "not-found", None, at(9 * 24)).await);
    assert_eq!(retry(at(10 * 24)).await, Some(at(10 * 24) + RETRY_FIRST));
}

#[test]
fn failures_say_the_same_while_they_are_tried_again_or_when_they_are_final_for_the_same_reason() {
    let failed = |code: &str, again_at| OutcomeDocument { again_at, ..ended(Verdict::Failed, code) };
    let (busy, storage) = (failed("busy", Some(START)), failed("storage", Some(START + RETRY_FIRST)));
    let (gone, bad, given_up) = (failed("not-found", None), failed("not-an-archive", None), failed("busy", None));
    let kinds = [&[&busy, &storage][..], &[&gone], &[&bad], &[&given_up]];
    for (at, one) in kinds.iter().enumerate().flat_map(|(at, kind)| kind.iter().map(move |one| (at, *one))) {
        let notice = Notice::of(&row(run(1), &[]), one.clone(), START);
        for (other_at, other) in kinds.iter().enumerate().flat_map(|(at, kind)| kind.iter().map(move |one| (at, *one)))
        {
            assert_eq!(notice.says_the_same_as(other), at == other_at, "{one:?} {other:?}");
        }
    }
    // When a held row is decided again is another matter: the gate has decided.
    let held = |again_at| OutcomeDocument { again_at, ..ended(Verdict::Held, "cool-down") };
    assert!(Notice::of(&row(run(1), &[]), held(Some(START)), START).says_the_same_as(&held(None)));
}

#[tokio::test]
async fn a_row_is_stale_when_what_it_depends_on_changes() {
    let (records, row) = (MemoryRecords::default(), RowKey::of(&wanted()));
    let scanners = vec!["built-in".to_owned()];
    let inputs = Inputs { policy: Sha256::of(b"p"), advisories: None, scanners, fetch: None };
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

#[test]
fn only_a_row_that_ended_in_a_fetch_goes_by_what_a_fetch_goes_by() {
    let policy = Policy::built_in().unwrap();
    let settings = |index, bytes| Inputs::fetch_settings(index, bytes);
    let now = settings("https://index.example/simple/", 16 << 20);
    let in_force = |settings| Inputs::of(&policy, Some(Sha256::of(b"a")), &[]).with_fetch(settings);
    let look = |inputs| Look { schema_version: 1, run: run(1), at: START, inputs: Some(inputs), again_at: None };
    let held = look(Inputs::of_fetch(&policy, now));
    assert!(!held.is_stale(&in_force(now), START));
    assert!(held.is_stale(&in_force(settings("https://index.example/simple/", 32 << 20)), START), "the ceiling");
    assert!(held.is_stale(&in_force(settings("https://mirror.example/simple/", 16 << 20)), START), "the index");
    assert!(!held.is_stale(&Inputs { advisories: None, ..in_force(now) }, START));
    // What was decided from stored reports stands, wherever the index is now.
    let scanner = crate::testing::scanner();
    let refused = look(Inputs::of(&policy, None, std::slice::from_ref(&scanner)));
    let elsewhere = settings("https://mirror.example/simple/", 32 << 20);
    assert!(!refused.is_stale(&Inputs::of(&policy, None, &[scanner]).with_fetch(elsewhere), START));
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
