use std::time::Duration;

use gate_core::outcome::Verdict;
use gate_core::ports::Records as _;
use gate_core::run::{RETRY_FIRST, RowDocument, RowState, Status, latest_look, latest_notice};
use gate_core::step::ErrorName;
use gate_notifier::step::{Execution, ExecutionEvent, InForce as _};
use jiff::SignedDuration;

use crate::world::{ADA, World, run_id, start};

/// The event about a row whose execution stopped so many minutes after the start.
fn event(row: &RowDocument, status: &str, error: Option<&str>, minutes: i64) -> ExecutionEvent {
    let stopped = start() + SignedDuration::from_mins(minutes);
    ExecutionEvent {
        detail_type: "Step Functions Execution Status Change".to_owned(),
        source: "aws.states".to_owned(),
        detail: Execution {
            status: status.to_owned(),
            stop_date: Some(stopped.as_millisecond()),
            input: Some(serde_json::to_string(&RowState::new(row.run.row_key(row.line))).unwrap()),
            error: error.map(str::to_owned),
        },
    }
}

#[tokio::test]
async fn the_error_says_what_the_requester_reads() {
    for (status, error, code, words) in [
        ("FAILED", Some("Gate.ScannerUnavailable"), "scanner-unavailable", "a scanner that must look"),
        ("FAILED", Some("Gate.ScanTimedOut"), "scanner-unavailable", "a scanner that must look"),
        ("FAILED", Some("Gate.AdvisoriesUnavailable"), "advisories-unavailable", "the policy requires advisories"),
        ("FAILED", Some("Gate.Transient"), "storage", "a fault of its own"),
        ("FAILED", Some("Gate.Corrupt"), "storage", "a fault of its own"),
        ("FAILED", Some("States.DataLimitExceeded"), "storage", "a fault of its own"),
        ("FAILED", Some("<b>evil\u{202e}"), "storage", "a fault of its own"),
        ("TIMED_OUT", None, "storage", "a fault of its own"),
        ("ABORTED", None, "storage", "a fault of its own"),
    ] {
        let (world, run) = (World::new(), run_id(1));
        let row = world.row(&run, 2, "alpha", &[ADA]).await;
        world.at(5);
        for _ in 0..2 {
            let answer = world.notifier().failed(&event(&row, status, error, 4)).await.unwrap();
            assert_eq!(serde_json::to_value(&answer).unwrap(), serde_json::json!({"row": run.row_key(2)}));
        }
        let notice = latest_notice(&world.records, &row.key).await.unwrap().unwrap();
        let outcome = &notice.ended.outcome;
        assert_eq!((outcome.verdict, &*outcome.reasons[0].code), (Verdict::Failed, code), "{error:?}");
        let message = &outcome.reasons[0].message;
        assert!(message.contains(words) && message.contains("operators have been told"), "{message}");
        assert!(message.ends_with("it is tried again by itself"), "{message}");
        assert_eq!(notice.ended.again_at, Some(start() + SignedDuration::from_mins(5) + RETRY_FIRST));
        let look = latest_look(&world.records, &row.key).await.unwrap().unwrap();
        let inputs = world.rules.inputs().await.unwrap().with_fetch(world.config.fetch_settings);
        assert_eq!((look.inputs, look.again_at), (Some(inputs), notice.ended.again_at));
        assert_eq!(world.records.inner.list("notices/").await.unwrap().len(), 1);
        assert!(world.mails().is_empty(), "the digest of the run tells it");
    }
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_run_waits_for_the_event_that_says_why() {
    for (seconds, code) in [(3, "scanner-unavailable"), (19, "scanner-unavailable"), (21, "storage")] {
        let (mut world, run) = (World::new(), run_id(1));
        world.config.limits.failure_events = Duration::from_secs(20);
        world.head(&run, [2, 3], &[]).await;
        let row = world.row(&run, 2, "alpha", &[ADA]).await;
        world.approved(&run, 3, "beta", &[ADA]).await;
        let late = async {
            tokio::time::sleep(Duration::from_secs(seconds)).await;
            world.notifier().failed(&event(&row, "FAILED", Some("Gate.ScanTimedOut"), 0)).await.unwrap();
        };
        let notifier = world.notifier();
        let (summarised, ()) = tokio::join!(notifier.summarise(&run), late);
        assert_eq!(summarised.unwrap().mails, 1);
        let document = world.summary(&run).await;
        assert_eq!(
            (document.rows[0].verdict, &*document.rows[0].reasons[0].code),
            (Verdict::Failed, code),
            "{seconds}"
        );
        assert_eq!(document.rows[1].verdict, Verdict::Approved);
        assert_eq!(world.mails().len(), 1, "{seconds}");
    }
}

#[tokio::test]
async fn after_seven_days_somebody_has_to_act() {
    let world = World::new();
    let row = world.row(&run_id(1), 2, "alpha", &[ADA]).await;
    world.notifier().failed(&event(&row, "FAILED", Some("Gate.Denied"), 0)).await.unwrap();
    let days = 7 * 24 * 60;
    // The second notice says that nobody tries any more.
    for (minutes, again, notices) in [(days - 1, true, 1), (days, false, 2), (days + 1, false, 2)] {
        world.at(minutes);
        let row = world.row(&run_id(u32::try_from(minutes).unwrap()), 2, "alpha", &[ADA]).await;
        world.notifier().failed(&event(&row, "FAILED", Some("Gate.Denied"), minutes)).await.unwrap();
        let look = latest_look(&world.records, &row.key).await.unwrap().unwrap();
        assert_eq!((&look.run, look.again_at.is_some()), (&row.run, again), "{minutes}");
        // Also then a change decides it again: another scanner, say, in the place of the one that does not answer.
        let mut inputs = world.rules.inputs().await.unwrap().with_fetch(world.config.fetch_settings);
        let now = start() + SignedDuration::from_mins(minutes);
        assert!(!look.is_stale(&inputs, now), "{minutes}");
        inputs.scanners = vec!["another".to_owned()];
        assert!(look.is_stale(&inputs, now), "{minutes}");
        assert_eq!(world.records.inner.list("notices/").await.unwrap().len(), notices, "{minutes}");
    }
    let given_up = latest_notice(&world.records, &row.key).await.unwrap().unwrap().ended.outcome;
    assert!(given_up.reasons[0].message.ends_with("ask them when"), "{given_up:?}");
}

#[tokio::test]
async fn a_row_that_has_an_answer_keeps_it_whenever_its_event_comes() {
    // After a redrive, or because Notify failed between the notice and the mail.
    for minutes in [9, 10, 11] {
        for approved_by in [run_id(1), run_id(2)] {
            let (world, run) = (World::new(), run_id(1));
            let row = world.row(&run, 2, "alpha", &[ADA]).await;
            world.at(10);
            world.approved(&approved_by, 2, "alpha", &[ADA]).await;
            world.at(20);
            world.notifier().failed(&event(&row, "FAILED", None, minutes)).await.unwrap();
            let notice = latest_notice(&world.records, &row.key).await.unwrap().unwrap();
            assert_eq!((notice.ended.outcome.verdict, notice.run), (Verdict::Approved, approved_by), "{minutes}");
        }
    }
}

#[tokio::test]
async fn a_notice_that_was_stored_and_not_told_is_told_of_when_its_execution_fails() {
    let (world, run) = (World::new(), run_id(1));
    world.head(&run, [2], &[]).await;
    let row = world.row(&run, 2, "alpha", &[ADA]).await;
    world.summarise(&run).await;
    assert_eq!(world.mails().len(), 1, "it failed");
    // Somebody redrives it, and no mail can be sent.
    let state = world.decided(&row, Vec::new()).await;
    *world.sent.broken.lock().unwrap() = Some(ADA.to_owned());
    world.notifier().notify(state).await.unwrap_err();
    *world.sent.broken.lock().unwrap() = None;
    for _ in 0..2 {
        world.notifier().failed(&event(&row, "FAILED", Some("Gate.Transient"), 30)).await.unwrap();
    }
    assert_eq!(
        latest_notice(&world.records, &row.key).await.unwrap().unwrap().ended.outcome.verdict,
        Verdict::Approved
    );
    let subjects: Vec<_> = world.mails().into_iter().map(|mail| mail.subject).collect();
    assert_eq!(subjects, ["Package Gate: alpha 1.0 failed", "Package Gate: alpha 1.0 approved"]);
}

#[tokio::test]
async fn an_event_after_a_redrive_that_told_no_news_changes_nothing() {
    let (world, first, second) = (World::new(), run_id(1), run_id(2));
    world.refused(&first, 2, "alpha", &[ADA]).await;
    world.at(10);
    let row = world.refused(&second, 2, "alpha", &[ADA]).await;
    world.at(20);
    world.notifier().failed(&event(&row, "FAILED", None, 9)).await.unwrap();
    assert_eq!(world.records.inner.list("notices/").await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_row_that_failed_after_its_run_is_told_of_at_once_and_once() {
    let (world, run) = (World::new(), run_id(2));
    world.head(&run, [], &[]).await;
    let row = world.row(&run, 2, "alpha", &[ADA]).await;
    world.summarise(&run).await;
    world.at(20);
    for _ in 0..2 {
        world.notifier().failed(&event(&row, "TIMED_OUT", None, 19)).await.unwrap();
    }
    let body = world.body(ADA);
    assert_eq!(world.mails()[0].subject, "Package Gate: alpha 1.0 failed");
    assert!(body.contains("There is nothing to do now: the gate tries it again by itself"), "{body}");
}

#[tokio::test]
async fn an_event_after_the_digest_has_said_the_same_sends_nothing() {
    let (world, run) = (World::new(), run_id(1));
    world.head(&run, [2], &[]).await;
    let row = world.row(&run, 2, "alpha", &[ADA]).await;
    world.at(1);
    world.summarise(&run).await;
    // Step Functions stopped the row before the end of the run, and EventBridge was slow.
    world.notifier().failed(&event(&row, "FAILED", Some("Gate.ScanTimedOut"), 0)).await.unwrap();
    // The clocks differ by a little.
    world.notifier().failed(&event(&row, "FAILED", Some("Gate.ScanTimedOut"), 2)).await.unwrap();
    assert_eq!(world.mails().len(), 1);
}

#[tokio::test]
async fn a_row_that_had_ended_before_its_execution_began_keeps_its_outcome() {
    let (world, run) = (World::new(), run_id(1));
    let row = world.row(&run, 2, "alpha", &[ADA]).await;
    let state = world.decided(&row, Vec::new()).await;
    assert_eq!(state.status, Status::Ended);
    let mut event = event(&row, "FAILED", Some("Gate.Transient"), 0);
    event.detail.input = Some(serde_json::to_string(&state).unwrap());
    world.notifier().failed(&event).await.unwrap();
    let notice = latest_notice(&world.records, &row.key).await.unwrap().unwrap();
    assert_eq!(notice.ended.outcome.verdict, Verdict::Approved);
}

#[tokio::test]
async fn other_events_are_bad_input() {
    let world = World::new();
    let row = world.row(&run_id(1), 2, "alpha", &[]).await;
    let good = event(&row, "FAILED", None, 0);
    let with = |change: fn(&mut ExecutionEvent)| {
        let mut event = good.clone();
        change(&mut event);
        event
    };
    for bad in [
        with(|event| event.source = "aws.s3".to_owned()),
        with(|event| event.detail_type = "Scheduled Event".to_owned()),
        with(|event| event.detail.status = "SUCCEEDED".to_owned()),
        with(|event| event.detail.status = "RUNNING".to_owned()),
        with(|event| event.detail.input = None),
        with(|event| event.detail.input = Some("{}".to_owned())),
        with(|event| event.detail.input = Some("no JSON".to_owned())),
        with(|event| event.detail.input = Some(r#"{"row":"r","status":"new","secret":"s3cr3t"}"#.to_owned())),
    ] {
        let error = world.notifier().failed(&bad).await.unwrap_err();
        assert_eq!(error.name, ErrorName::BadInput, "{bad:?}");
        assert!(!error.message.contains("s3cr3t"), "{error}");
    }
    assert!(world.records.inner.list("notices/").await.unwrap().is_empty());
}
