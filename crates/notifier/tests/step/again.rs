//! Rows that have an answer, and get another or none in a later run.

use gate_core::digest::Sha256;
use gate_core::failure::FailureCode;
use gate_core::outcome::Verdict;
use gate_core::ports::{Clock as _, Records as _};
use gate_core::run::{
    self, OutcomeDocument, RETRY_FIRST, RETRY_FOR, RowDocument, RowState, RunId, latest_look, latest_notice,
};
use gate_core::severity::Severity;
use gate_core::testing;
use gate_notifier::step::{Execution, ExecutionEvent};
use jiff::{SignedDuration, Timestamp};

use crate::world::{ADA, BOB, World, run_id, start, without_set};

impl World {
    /// A row of a run that could not be fetched; the gate tries it again by itself if there is a time.
    async fn not_fetched(&self, run: &RunId, name: &str, code: FailureCode, again_at: Option<Timestamp>) {
        let row = self.row(run, 2, name, &[ADA]).await;
        let outcome = without_set(&row, Verdict::Failed, code.as_str(), "it could not be fetched");
        let state = self.ended(&row, OutcomeDocument { again_at, ..outcome }).await;
        self.notifier().notify(state).await.unwrap();
    }

    async fn stopped(&self, row: &RowDocument) {
        let event = ExecutionEvent {
            detail_type: "Step Functions Execution Status Change".to_owned(),
            source: "aws.states".to_owned(),
            detail: Execution {
                status: "FAILED".to_owned(),
                stop_date: Some(self.clock.now().as_millisecond()),
                input: Some(serde_json::to_string(&RowState::new(row.run.row_key(row.line))).unwrap()),
                error: Some("Gate.ScannerUnavailable".to_owned()),
            },
        };
        self.notifier().failed(&event).await.unwrap();
    }

    /// As request-reader does for a row whose answer is known.
    async fn hears(&self, run: &RunId, line: u64, name: &str, told: &[&str]) {
        let row = self.row(run, line, name, told).await;
        let known = run::hear(&self.records, &row).await.unwrap().unwrap();
        let (run::Noticed::News(notice) | run::Noticed::Known(notice)) = known;
        self.ended(&row, notice.ended).await;
    }

    async fn summarised(&self, run: &RunId) -> Verdict {
        self.summarise(run).await;
        self.summary(run).await.rows[0].verdict
    }

    fn subjects(&self) -> Vec<(Option<String>, String)> {
        self.mails().into_iter().map(|mail| (mail.to, mail.subject.replace("Package Gate: ", ""))).collect()
    }
}

fn to(address: &str, subject: &str) -> (Option<String>, String) {
    (Some(address.to_owned()), subject.to_owned())
}

fn soon() -> Option<Timestamp> {
    Some(start() + RETRY_FIRST)
}

#[tokio::test]
async fn that_the_gate_has_given_up_is_told_to_whoever_waits() {
    let world = World::new();
    for (attempt, code, again_at, mails) in [
        (1, FailureCode::Busy, soon(), 1),
        (2, FailureCode::Unreachable, soon(), 1),
        (3, FailureCode::NotFound, None, 2),
        (4, FailureCode::NotFound, None, 2),
        (5, FailureCode::NotAnArchive, None, 3),
        (6, FailureCode::Busy, soon(), 4),
        (7, FailureCode::Busy, None, 5),
    ] {
        let run = run_id(attempt);
        world.at(i64::from(attempt) * 60);
        world.head(&run, [2], &[]).await;
        world.not_fetched(&run, "alpha", code, again_at).await;
        assert_eq!(world.summarised(&run).await, Verdict::Failed);
        assert_eq!(world.mails().len(), mails, "{attempt}");
        let is_promised = world.mails()[mails - 1].body.contains("the gate tries it again by itself");
        assert_eq!(is_promised, again_at.is_some(), "{attempt}");
    }
}

#[tokio::test]
async fn a_verdict_stands_when_the_row_cannot_be_decided_again() {
    for verdict in [Verdict::Refused, Verdict::Held, Verdict::Approved, Verdict::Invalid] {
        for how in ["gone", "busy", "stopped", "lost"] {
            let (world, first, second) = (World::new(), run_id(1), run_id(2));
            world.head(&first, [2], &[]).await;
            let row = world.row(&first, 2, "alpha", &[ADA]).await;
            let mut outcome = without_set(&row, verdict, "any", "why");
            outcome.decision = Some("decisions/none.json".to_owned());
            let state = world.ended(&row, outcome).await;
            world.notifier().notify(state).await.unwrap();
            assert_eq!(world.summarised(&first).await, verdict);

            world.at(60);
            world.head(&second, [7], &[]).await;
            let row = world.row(&second, 7, "alpha", &[ADA]).await;
            world.at(61);
            let failed = |code: FailureCode, again_at| {
                let failed = without_set(&row, Verdict::Failed, code.as_str(), "it could not be fetched");
                OutcomeDocument { again_at, ..failed }
            };
            // Every step may run twice.
            for _ in 0..2 {
                match how {
                    "gone" | "busy" => {
                        let (code, again_at) = match how {
                            "gone" => (FailureCode::NotFound, None),
                            _ => (FailureCode::Busy, soon()),
                        };
                        let state = world.ended(&row, failed(code, again_at)).await;
                        world.notifier().notify(state).await.unwrap();
                    }
                    "stopped" => world.stopped(&row).await,
                    _ => {}
                }
                assert_eq!(world.summarised(&second).await, verdict, "{verdict:?} {how}");
            }
            assert_eq!(world.summary(&second).await.rows[0].line, 7);
            assert_eq!(world.mails().len(), 1, "{verdict:?} {how}");
            assert_eq!(world.records.inner.list("notices/").await.unwrap().len(), 1);
            let look = latest_look(&world.records, &row.key).await.unwrap().unwrap();
            let again_at = start() + SignedDuration::from_mins(61) + RETRY_FIRST;
            assert_eq!((look.run, look.again_at), (second, (how != "gone").then_some(again_at)), "{how}");
            assert_eq!(world.records.inner.list("looks/").await.unwrap().len(), 2);
        }
    }
}

#[tokio::test]
async fn what_reading_the_request_has_ended_does_not_stand() {
    let (world, first, second) = (World::new(), run_id(1), run_id(2));
    let row = world.row(&first, 2, "alpha", &[ADA]).await;
    let state = world.ended(&row, without_set(&row, Verdict::Invalid, "conflict", "keep one of the rows")).await;
    world.notifier().notify(state).await.unwrap();
    world.at(60);
    world.head(&second, [2], &[]).await;
    world.not_fetched(&second, "alpha", FailureCode::NotFound, None).await;
    assert_eq!(world.summarised(&second).await, Verdict::Failed);
    assert_eq!(world.subjects(), [to(ADA, "alpha 1.0 failed")]);
}

#[tokio::test]
async fn a_row_whose_verdict_stands_is_tried_again_for_seven_days_at_most() {
    let world = World::new();
    let refused = world.refused(&run_id(1), 2, "alpha", &[ADA]).await;
    let (mut minutes, mut waits) = (60, Vec::new());
    for attempt in 2..30 {
        world.at(minutes);
        let row = world.row(&run_id(attempt), 2, "alpha", &[ADA]).await;
        world.stopped(&row).await;
        let look = latest_look(&world.records, &refused.key).await.unwrap().unwrap();
        let Some(again_at) = look.again_at else { break };
        waits.push(again_at.duration_since(look.at).as_mins());
        minutes += waits.last().unwrap();
    }
    assert_eq!(waits, [15, 30, 60, 120, 240, 480, 960, 1_920, 3_840]);
    assert!(SignedDuration::from_mins(waits.iter().sum()) <= RETRY_FOR);
    assert_eq!(world.records.inner.list("notices/").await.unwrap().len(), 1);
    // Something changes, and it begins anew.
    world.at(minutes + 10_000);
    let row = world.row(&run_id(99), 2, "alpha", &[ADA]).await;
    world.stopped(&row).await;
    let look = latest_look(&world.records, &refused.key).await.unwrap().unwrap();
    assert_eq!(look.again_at, Some(look.at + RETRY_FIRST));
}

#[tokio::test]
async fn the_end_of_a_cool_down_is_not_missed_when_the_row_cannot_be_decided_again() {
    // The verdict may change after so many minutes; the row is gone at its source after so many.
    for (cools_down, fails, retried, again) in
        [(600, 60, false, Some(600)), (65, 60, true, Some(65)), (600, 60, true, Some(75)), (60, 60, false, None)]
    {
        let (world, first, second) = (World::new(), run_id(1), run_id(2));
        let row = world.row(&first, 2, "alpha", &[ADA]).await;
        let at = |minutes| start() + SignedDuration::from_mins(minutes);
        let held = OutcomeDocument {
            again_at: Some(at(cools_down)),
            ..without_set(&row, Verdict::Held, "cool-down", "too young")
        };
        let state = world.ended(&row, held).await;
        world.notifier().notify(state).await.unwrap();
        world.at(fails);
        let code = if retried { FailureCode::Busy } else { FailureCode::NotFound };
        world.not_fetched(&second, "alpha", code, retried.then(|| at(fails))).await;
        let look = latest_look(&world.records, &row.key).await.unwrap().unwrap();
        assert_eq!((look.run, look.again_at), (second, again.map(at)), "{cools_down} {fails}");
    }
}

#[tokio::test]
async fn a_failure_that_comes_after_the_verdict_of_the_same_run_changes_nothing() {
    let (world, run) = (World::new(), run_id(1));
    world.head(&run, [2], &[]).await;
    let row = world.refused(&run, 2, "alpha", &[ADA]).await;
    let late = without_set(&row, Verdict::Failed, "storage", "a fault");
    let state = world.ended(&row, OutcomeDocument { again_at: soon(), ..late }).await;
    world.notifier().notify(state).await.unwrap();
    assert_eq!(world.summarised(&run).await, Verdict::Refused);
    assert_eq!(world.subjects(), [to(ADA, "alpha 1.0 refused")]);
    assert_eq!(latest_look(&world.records, &row.key).await.unwrap().unwrap().again_at, None);
}

#[tokio::test]
async fn a_row_whose_verdict_stands_is_told_of_when_it_is_redriven_while_the_run_is_summarised() {
    for at in 0..60 {
        let (world, first, run) = (World::new(), run_id(1), run_id(2));
        world.refused(&first, 2, "alpha", &[ADA]).await;
        world.at(60);
        world.head(&run, [2], &[]).await;
        let row = world.row(&run, 2, "alpha", &[ADA]).await;
        let (notifier, other) = (world.notifier(), world.notifier());
        let redriven = async {
            for _ in 0..at {
                tokio::task::yield_now().await;
            }
            let state = world.decided(&row, Vec::new()).await;
            other.notify(state).await.unwrap();
        };
        let (summarised, ()) = futures_util::future::join(notifier.summarise(&run), redriven).await;
        summarised.unwrap();
        let mails = world.subjects();
        assert!((1..=2).contains(&mails.len()), "{at}: {mails:?}");
        assert!(mails.iter().all(|mail| *mail == to(ADA, "alpha 1.0 approved")), "{at}: {mails:?}");
    }
}

#[tokio::test]
async fn a_redrive_does_not_put_an_old_verdict_over_a_newer_one() {
    // Of the other run, the notice is newer; or its look alone, because it found what was known.
    for is_known in [false, true] {
        let (world, first, second) = (World::new(), run_id(1), run_id(2));
        if is_known {
            world.refused(&run_id(9), 2, "alpha", &[ADA]).await;
        }
        world.at(10);
        world.head(&first, [2], &[]).await;
        let row = world.row(&first, 2, "alpha", &[ADA, BOB]).await;
        let state = world.decided(&row, Vec::new()).await;
        world.at(20);
        world.head(&second, [2], &[]).await;
        world.refused(&second, 2, "alpha", &[ADA]).await;
        world.at(30);
        for _ in 0..2 {
            world.notifier().notify(state.clone()).await.unwrap();
        }
        let notice = latest_notice(&world.records, &row.key).await.unwrap().unwrap();
        assert_eq!(notice.ended.outcome.verdict, Verdict::Refused, "{is_known}");
        let look = latest_look(&world.records, &row.key).await.unwrap().unwrap();
        assert_eq!(look.run, second, "{is_known}");
        // Who has not heard of the newer one hears of it.
        assert_eq!(world.summarised(&first).await, Verdict::Refused);
        assert_eq!(world.subjects(), [to(BOB, "alpha 1.0 refused")], "{is_known}");
    }
}

#[tokio::test]
async fn a_decision_that_was_stored_long_ago_may_be_the_one_of_this_run() {
    let (world, first, second) = (World::new(), run_id(1), run_id(2));
    let refused = async |run: RunId| {
        let row = world.row(&run, 2, "alpha", &[ADA]).await;
        world.decided(&row, vec![testing::finding("S602", Severity::High)]).await
    };
    refused(run_id(8)).await;
    world.at(10);
    world.not_fetched(&first, "alpha", FailureCode::NotFound, None).await;
    world.at(20);
    world.head(&second, [2], &[]).await;
    let state = refused(second.clone()).await;
    assert_eq!(world.records.inner.list("decisions/").await.unwrap().len(), 1, "it says what one before it said");
    let row = world.row(&second, 2, "alpha", &[ADA]).await;
    world.notifier().notify(state).await.unwrap();
    let notice = latest_notice(&world.records, &row.key).await.unwrap().unwrap();
    assert_eq!((notice.run, notice.ended.outcome.verdict), (second.clone(), Verdict::Refused));
    assert_eq!(world.summarised(&second).await, Verdict::Refused);
    assert_eq!(world.subjects(), [to(ADA, "alpha 1.0 refused")]);
}

#[tokio::test]
async fn who_asks_for_a_row_whose_answer_is_known_hears_of_it_alone() {
    // The request is read and nothing is left to do; or the row is worked on and ends alike; or it cannot be decided again.
    for how in ["read", "alike", "failed"] {
        let (world, first, second) = (World::new(), run_id(1), run_id(2));
        world.head(&first, [2], &[]).await;
        world.refused(&first, 2, "alpha", &[ADA]).await;
        world.summarise(&first).await;
        world.at(60);
        world.head(&second, [5], &[]).await;
        match how {
            "read" => world.hears(&second, 5, "alpha", &[ADA, BOB]).await,
            "alike" => drop(world.refused(&second, 5, "alpha", &[ADA, BOB]).await),
            _ => {
                let row = world.row(&second, 5, "alpha", &[ADA, BOB]).await;
                world.stopped(&row).await;
            }
        }
        for _ in 0..2 {
            assert_eq!(world.summarised(&second).await, Verdict::Refused, "{how}");
            world.summarise(&first).await;
        }
        assert_eq!(world.subjects(), [to(ADA, "alpha 1.0 refused"), to(BOB, "alpha 1.0 refused")], "{how}");
        let body = world.body(BOB);
        assert!(body.contains("(line 5 of the request)") && body.contains("S602"), "{how}: {body}");
    }
}

#[tokio::test]
async fn two_runs_that_end_a_row_alike_at_the_same_time_tell_both_requesters_once() {
    // Whether the row of the second run came to its Notify step.
    for is_notified in [true, false] {
        let (world, first, second) = (World::new(), run_id(1), run_id(2));
        for (run, line, address) in [(&first, 2, ADA), (&second, 3, BOB)] {
            world.head(run, [line], &[]).await;
            let row = world.row(run, line, "alpha", &[address]).await;
            let state = world.decided(&row, vec![testing::finding("S602", Severity::High)]).await;
            if *run == first || is_notified {
                world.notifier().notify(state).await.unwrap();
            }
        }
        for _ in 0..2 {
            for run in [&second, &first] {
                assert_eq!(world.summarised(run).await, Verdict::Refused);
            }
        }
        assert_eq!(world.subjects(), [to(BOB, "alpha 1.0 refused"), to(ADA, "alpha 1.0 refused")], "{is_notified}");
    }
}

#[tokio::test]
async fn a_mail_names_the_policy_that_decided_and_not_the_one_of_today() {
    let (mut world, first, second) = (World::new(), run_id(1), run_id(2));
    let before = world.policy();
    world.refused(&first, 2, "alpha", &[ADA]).await;
    world.at(60);
    world.set_policy(&format!("{}\n# Another.\n", gate_core::policy::BUILT_IN));
    let today = world.policy();
    assert_ne!(before, today);
    world.head(&second, [2], &[]).await;
    world.hears(&second, 2, "alpha", &[BOB]).await;
    world.summarise(&second).await;
    let short = |policy: Sha256| format!("by the policy {} and the scanner", policy.short());
    let (body, page) = (world.body(BOB), world.text(&second.report_key()).await);
    assert!(body.contains(&short(before)) && !body.contains(&today.short()), "{body}");
    assert!(page.contains(&short(before)));
    assert_eq!(world.summary(&second).await.policy_sha256, before);

    let third = run_id(3);
    world.head(&third, [2, 3], &[]).await;
    world.hears(&third, 2, "alpha", &["cat@corp.example"]).await;
    world.refused(&third, 3, "beta", &["cat@corp.example"]).await;
    world.summarise(&third).await;
    let mut both = [before.short(), today.short()];
    both.sort();
    let body = world.body("cat@corp.example");
    assert!(body.contains(&format!("by the policies {} and the scanner", both.join(", "))), "{body}");
}
