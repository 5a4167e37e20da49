use std::collections::BTreeMap;

use gate_core::outcome::{Reason, Verdict};
use gate_core::ports::{Records as _, Subscription};
use gate_core::run::{RunDocument, RunId, latest_look, latest_notice};
use gate_core::severity::Severity;
use gate_core::step::ErrorName;
use gate_core::testing;

use crate::world::{ADA, BOB, World, malware, run_id, told, without_set};

#[tokio::test]
async fn every_row_ends_in_one_verdict_and_everybody_hears_of_it_once() {
    let (world, run) = (World::new(), run_id(1));
    world.head(&run, 2..=7, &[(8, 2)]).await;
    world.approved(&run, 2, "alpha", &[ADA, BOB]).await;
    world.refused(&run, 3, "beta", &[ADA]).await;
    // Advisories.
    let old = world.row(&run, 4, "old", &[BOB]).await;
    let state = world.decided(&old, Vec::new()).await;
    world.notifier().notify(state).await.unwrap();
    let stolen = world.row(&run, 5, "stolen", &[ADA]).await;
    let state = world.decided(&stolen, vec![malware()]).await;
    world.notifier().notify(state).await.unwrap();
    // The reader has ended it.
    let bad = world.row(&run, 6, "badname", &[]).await;
    let outcome = without_set(&bad, Verdict::Invalid, "bad-name", "line 6, column 1: see https://evil.example/x");
    let state = world.ended(&bad, outcome).await;
    world.notifier().notify(state).await.unwrap();
    // Its execution never came to an end.
    world.row(&run, 7, "lost", &["Ada@Corp.example"]).await;
    world.at(30);

    let summarised = world.summarise(&run).await;
    assert_eq!(
        serde_json::to_value(&summarised).unwrap(),
        serde_json::json!({"run": run.to_string(), "mails": 3}),
        "constant in size"
    );
    let verdicts = [(Verdict::Approved, 2), (Verdict::Refused, 3), (Verdict::Failed, 1), (Verdict::Invalid, 1)];
    assert_eq!(summarised.verdicts, BTreeMap::from(verdicts));
    assert_eq!(summarised.undelivered, 0);

    let summary = world.summary(&run).await;
    let rows: Vec<_> = summary.rows.iter().map(|row| (row.line, &*row.name, row.verdict)).collect();
    assert_eq!(
        rows,
        [
            (2, "alpha", Verdict::Approved),
            (3, "beta", Verdict::Refused),
            (4, "old", Verdict::Refused),
            (5, "stolen", Verdict::Refused),
            (6, "badname", Verdict::Invalid),
            (7, "lost", Verdict::Failed),
            (8, "alpha", Verdict::Approved),
        ]
    );
    assert_eq!(summary.rows[6].reasons[0].code, "same-as");
    assert_eq!(summary.rows[6].artifacts, summary.rows[0].artifacts);

    let ada = world.body(ADA);
    for line in [
        "Package Gate decided on 4 packages: 1 approved, 2 refused, 1 failed.",
        "pip install --index-url https://index.example/simple/ alpha==1.0",
        "Do not install it from anywhere else.",
        "the gate tries it again by itself, from 2026-11-20 10:45 UTC on",
        "The whole report: https://console.example/s3/object/data?prefix=runs/123456-f921bd05-aaaaaaaaaaaaaaaaaaaa-1/report.html",
    ] {
        assert!(ada.contains(line), "{line}\n{ada}");
    }
    assert!(!ada.contains("old 1.0"), "{ada}");
    let bob = world.body(BOB);
    assert!(bob.contains("Version 1.1 has none of these known vulnerabilities"), "{bob}");
    assert!(bob.contains("1 approved, 1 refused"), "{bob}");
    let default = world.body("");
    assert!(default.contains("hxxps://evil[.]example/x") && default.contains("1 invalid"), "{default}");

    let page = world.text(&run.report_key()).await;
    assert!(page.contains("2 of 7 packages approved") && page.contains("S602"));
    // Again: nothing new.
    let calls = world.records.inner.list("runs/").await.unwrap().len();
    assert_eq!(world.summarise(&run).await.mails, 3);
    assert_eq!(world.mails().len(), 3);
    assert_eq!(world.records.inner.list("runs/").await.unwrap().len(), calls);
}

#[tokio::test]
async fn a_row_that_never_ended_is_ended_here_with_notice_and_look() {
    let (world, run) = (World::new(), run_id(1));
    world.head(&run, [2], &[]).await;
    let row = world.row(&run, 2, "lost", &[]).await;
    world.summarise(&run).await;
    let notice = latest_notice(&world.records, &row.key).await.unwrap().unwrap();
    assert_eq!(notice.ended.outcome.verdict, Verdict::Failed);
    assert_eq!(notice.ended.outcome.reasons[0].code, "storage");
    let look = latest_look(&world.records, &row.key).await.unwrap().unwrap();
    assert!(look.run == run && look.again_at.is_some() && look.again_at == notice.ended.again_at);
}

#[tokio::test]
async fn a_row_that_ended_and_was_not_noticed_keeps_its_verdict() {
    let (world, run) = (World::new(), run_id(1));
    world.head(&run, [2, 3], &[]).await;
    let row = world.row(&run, 2, "alpha", &[ADA]).await;
    world.decided(&row, vec![testing::finding("S602", Severity::High)]).await;
    // Two outcomes contradict each other: nobody knows which holds.
    let unclear = world.row(&run, 3, "beta", &[ADA]).await;
    world.decided(&unclear, Vec::new()).await;
    world.decided(&unclear, vec![testing::finding("S602", Severity::High)]).await;
    world.summarise(&run).await;
    let verdicts: Vec<_> = world.summary(&run).await.rows.iter().map(|row| row.verdict).collect();
    assert_eq!(verdicts, [Verdict::Refused, Verdict::Failed]);
    assert!(latest_look(&world.records, &row.key).await.unwrap().unwrap().inputs.is_some());
}

#[tokio::test]
async fn what_the_requester_knows_is_in_the_summary_and_in_no_mail() {
    let (world, first, second) = (World::new(), run_id(1), run_id(2));
    world.head(&first, [2, 3], &[]).await;
    world.refused(&first, 2, "alpha", &[ADA]).await;
    world.refused(&first, 3, "beta", &[ADA]).await;
    world.summarise(&first).await;
    assert_eq!(world.mails().len(), 1);
    world.at(60);
    // The rows have moved; one has changed its outcome.
    world.head(&second, [12, 13], &[]).await;
    world.refused(&second, 12, "alpha", &[ADA]).await;
    world.approved(&second, 13, "beta", &[ADA]).await;
    assert_eq!(world.summarise(&second).await.mails, 1);
    let summary = world.summary(&second).await;
    let rows: Vec<_> = summary.rows.iter().map(|row| (row.line, row.verdict)).collect();
    assert_eq!(rows, [(12, Verdict::Refused), (13, Verdict::Approved)]);
    let mails = world.mails();
    assert_eq!((mails.len(), &*mails[1].subject), (2, "Package Gate: beta 1.0 approved"));
    assert!(world.text(&second.report_key()).await.contains("S602"), "the page has both");
}

#[tokio::test]
async fn a_row_that_another_run_has_decided_meanwhile_keeps_that_verdict() {
    for is_news in [true, false] {
        let (world, first, second) = (World::new(), run_id(1), run_id(2));
        if !is_news {
            world.refused(&run_id(9), 2, "alpha", &[ADA]).await;
        }
        world.at(10);
        world.head(&first, [2], &[]).await;
        world.row(&first, 2, "alpha", &[ADA]).await;
        world.at(20);
        world.refused(&second, 2, "alpha", &[ADA]).await;
        world.summarise(&first).await;
        assert_eq!(world.summary(&first).await.rows[0].verdict, Verdict::Refused, "{is_news}");
        assert!(world.mails().is_empty(), "the other run tells it");
    }
}

#[tokio::test]
async fn rows_that_read_alike_have_the_words_of_their_own_line() {
    let (world, run) = (World::new(), run_id(1));
    world.head(&run, [2, 3], &[]).await;
    for line in [2, 3] {
        // The same cells: one key, one notice.
        let row = world.row(&run, line, "twice", &[ADA]).await;
        let outcome = without_set(&row, Verdict::Invalid, "bad-name", &format!("line {line}, column 1: bad"));
        let state = world.ended(&row, outcome).await;
        world.notifier().notify(state).await.unwrap();
    }
    assert_eq!(world.records.inner.list("notices/").await.unwrap().len(), 1);
    world.summarise(&run).await;
    let body = world.body(ADA);
    assert!(body.contains("line 2, column 1") && body.contains("line 3, column 1"), "{body}");
}

#[tokio::test]
async fn one_damaged_row_does_not_touch_the_others() {
    let (world, run) = (World::new(), run_id(1));
    world.head(&run, [2, 3, 4], &[]).await;
    world.approved(&run, 2, "alpha", &[ADA]).await;
    // Line 3 has no document; the notice on line 4 is none.
    let row = world.row(&run, 4, "beta", &[BOB]).await;
    world.records.inner.put_new(&format!("notices/{}/000001.json", row.key), b"{").await.unwrap();
    assert_eq!(world.summarise(&run).await.mails, 2);
    let verdicts: Vec<_> = world.summary(&run).await.rows.iter().map(|row| row.verdict).collect();
    assert_eq!(verdicts, [Verdict::Approved, Verdict::Failed, Verdict::Failed]);
    assert!(world.body(ADA).contains("alpha 1.0"));
    assert!(world.body("").contains("2 failed"));
}

#[tokio::test]
async fn a_request_that_cannot_be_read_is_one_mail() {
    let (world, run) = (World::new(), run_id(1));
    world.keep_head(&unreadable(&world, &run, &[])).await;
    for _ in 0..2 {
        let summarised = world.summarise(&run).await;
        assert_eq!((summarised.mails, summarised.undelivered), (1, 0));
    }
    let body = world.body("");
    for words in ["refs/heads/main in corp/requests at aaaa", "in UTF-16", "hxxps://evil[.]example/", "/report.html"] {
        assert!(body.contains(words), "{words}\n{body}");
    }
    assert!(world.text(&run.report_key()).await.contains("The request cannot be read"));
    assert!(world.summary(&run).await.rows.is_empty());
}

/// The head of a run whose file cannot be read.
fn unreadable(world: &World, run: &RunId, to: &[&str]) -> RunDocument {
    let reason = Reason::new("utf16", "line 1, column 1: the file is in UTF-16, see https://evil.example/");
    RunDocument { unreadable: Some(reason), told: told(to), ..world.head_of(run, [], &[]) }
}

#[tokio::test]
async fn the_author_of_a_request_that_cannot_be_read_is_told() {
    for (state, to, first) in [
        (Subscription::Confirmed, ADA, "Package Gate cannot read the request"),
        (Subscription::Pending, "", "This mail is for ada@corp.example, who does not get it yet"),
        (Subscription::Full, "", "This mail is for ada@corp.example, who does not get it:"),
    ] {
        let (world, run) = (World::new(), run_id(1));
        world.members.states.lock().unwrap().insert(ADA.to_owned(), Ok(state));
        world.keep_head(&unreadable(&world, &run, &["Ada@corp.example"])).await;
        for _ in 0..2 {
            let summarised = world.summarise(&run).await;
            assert_eq!((summarised.mails, summarised.undelivered), (1, 0), "{state:?}");
            // She confirms, and is not told again.
            world.members.states.lock().unwrap().clear();
        }
        let body = world.body(to);
        assert!(body.starts_with(first) && body.contains("in UTF-16"), "{body}");
    }
    // An address that breaks a header is nobody's.
    let (world, run) = (World::new(), run_id(1));
    world.keep_head(&unreadable(&world, &run, &["a@b\r\nBcc: c@d.example"])).await;
    world.summarise(&run).await;
    world.body("");
}

#[tokio::test]
async fn a_push_that_left_an_unreadable_request_as_it_was_tells_nobody() {
    let (world, run) = (World::new(), run_id(1));
    world.keep_head(&RunDocument { unchanged: true, ..unreadable(&world, &run, &[]) }).await;
    assert_eq!(world.summarise(&run).await.mails, 0);
    assert!(world.mails().is_empty() && world.text(&run.report_key()).await.contains("The request cannot be read"));
}

#[tokio::test]
async fn a_run_without_rows_has_a_summary_and_no_mail() {
    let (world, run) = (World::new(), run_id(1));
    world.head(&run, [], &[]).await;
    assert_eq!(world.summarise(&run).await.mails, 0);
    assert!(world.summary(&run).await.rows.is_empty());
    assert!(world.text(&run.report_key()).await.contains("Nothing was requested"));
}

#[tokio::test]
async fn a_run_that_was_not_read_is_not_summarised() {
    let world = World::new();
    assert_eq!(world.notifier().summarise(&run_id(1)).await.unwrap_err().name, ErrorName::Corrupt);
}

#[tokio::test]
async fn a_row_that_is_redriven_while_the_run_is_summarised_is_told_of() {
    let run = run_id(1);
    let (mut in_digest, mut late, mut twice, mut again) = (0, 0, 0, 0);
    for at in 0..80 {
        let world = World::new();
        world.head(&run, [2], &[]).await;
        let row = world.row(&run, 2, "alpha", &[ADA]).await;
        let (notifier, other) = (world.notifier(), world.notifier());
        // The row ends after so many of the calls to the store.
        let redriven = async {
            for _ in 0..at {
                tokio::task::yield_now().await;
            }
            let state = world.decided(&row, Vec::new()).await;
            other.notify(state).await.unwrap();
        };
        let (summarised, ()) = futures_util::future::join(notifier.summarise(&run), redriven).await;
        summarised.unwrap();
        let subjects: Vec<_> = world.mails().into_iter().map(|mail| mail.subject).collect();
        let newest = latest_notice(&world.records, &row.key).await.unwrap().unwrap().ended;
        match &subjects.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            ["Package Gate: alpha 1.0 approved"] => in_digest += 1,
            ["Package Gate: alpha 1.0 failed", "Package Gate: alpha 1.0 approved"] => late += 1,
            // Both saw the other's document in the same moment: mails are sent at least once.
            [
                "Package Gate: alpha 1.0 failed",
                "Package Gate: alpha 1.0 approved",
                "Package Gate: alpha 1.0 approved",
            ] => {
                twice += 1;
            }
            // Both wrote their notice at the same moment, the failure last: the row is decided again, and told of then.
            ["Package Gate: alpha 1.0 failed"] if newest.again_at.is_some() => again += 1,
            other => panic!("{at}: {other:?}"),
        }
    }
    let seen = format!("{in_digest} {late} {twice} {again}");
    assert!(in_digest > 0 && late > 60 && twice < 8 && again < 3, "{seen}");
}
