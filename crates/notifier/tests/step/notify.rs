use gate_core::outcome::Verdict;
use gate_core::ports::Records as _;
use gate_core::run::{RowState, Status, latest_look, latest_notice};
use gate_core::step::ErrorName;

use crate::world::{ADA, World, run_id, without_set};

#[tokio::test]
async fn a_row_is_written_down_once_and_nobody_is_told_before_the_end_of_the_run() {
    let (world, run) = (World::new(), run_id(1));
    let row = world.row(&run, 2, "alpha", &[ADA]).await;
    let state = world.decided(&row, Vec::new()).await;
    for _ in 0..2 {
        let told = world.notifier().notify(state.clone()).await.unwrap();
        assert_eq!(told.state, RowState { status: Status::Told, ..state.clone() });
    }
    let notice = latest_notice(&world.records, &row.key).await.unwrap().unwrap();
    assert_eq!((notice.run, notice.line, notice.ended.outcome.verdict), (run.clone(), 2, Verdict::Approved));
    let look = latest_look(&world.records, &row.key).await.unwrap().unwrap();
    assert_eq!((look.run, look.inputs, look.again_at), (run, notice.ended.inputs, None));
    assert!(look.at == notice.at && world.records.inner.list("notices/").await.unwrap().len() == 1);
    assert_eq!(world.records.inner.list("looks/").await.unwrap().len(), 1);
    assert!(world.mails().is_empty());
    assert_eq!(world.times_rules_were_read(), 0, "a notice does not wait for the configuration");
}

#[tokio::test]
async fn a_row_that_was_redriven_after_its_run_is_told_of_at_once_and_once() {
    let (world, run) = (World::new(), run_id(1));
    world.head(&run, [2, 3], &[]).await;
    let row = world.row(&run, 2, "alpha", &[ADA]).await;
    world.approved(&run, 3, "beta", &[ADA]).await;
    world.at(10);
    world.summarise(&run).await;
    assert!(world.body(ADA).contains("Failed (1)"));

    world.at(20);
    let state = world.decided(&row, Vec::new()).await;
    for _ in 0..3 {
        world.notifier().notify(state.clone()).await.unwrap();
    }
    let mails = world.mails();
    assert_eq!(mails.len(), 2, "{mails:#?}");
    assert_eq!(mails[1].to.as_deref(), Some(ADA));
    assert_eq!(mails[1].subject, "Package Gate: alpha 1.0 approved");
    assert!(!mails[1].body.contains("beta"), "each row once");
    // The link leads to a page that says the same as the mail.
    let key = mails[1].body.lines().find_map(|line| line.split_once("prefix=")).unwrap().1;
    let page = world.text(key).await;
    assert!(page.contains("1 package, approved") && key.contains("/report-000002-"), "{key}");
    assert!(world.text(&run.report_key()).await.contains("1 of 2 packages approved"), "nothing stored is changed");
    // The run summarised again has nothing more to say.
    assert_eq!(world.summarise(&run).await.mails, 2);
    assert_eq!(world.mails().len(), 2);
}

#[tokio::test]
async fn what_the_requester_knows_is_no_news_after_the_run_either() {
    let (world, first, second) = (World::new(), run_id(1), run_id(2));
    world.refused(&first, 2, "alpha", &[ADA]).await;
    world.at(60);
    world.head(&second, [2], &[]).await;
    world.refused(&second, 2, "alpha", &[ADA]).await;
    world.summarise(&second).await;
    let row = world.row(&second, 2, "alpha", &[ADA]).await;
    let state =
        world.decided(&row, vec![gate_core::testing::finding("S602", gate_core::severity::Severity::High)]).await;
    world.notifier().notify(state).await.unwrap();
    assert!(world.mails().is_empty(), "{:#?}", world.mails());
}

#[tokio::test]
async fn only_an_outcome_of_the_row_itself_is_written_down() {
    let (world, run) = (World::new(), run_id(1));
    let row = world.row(&run, 2, "alpha", &[ADA]).await;
    let other = world.row(&run, 3, "beta", &[]).await;
    let foreign = world.row(&run_id(2), 2, "alpha", &[]).await;
    let state = world.decided(&row, Vec::new()).await;
    let key = |state: RowState| state.outcome.unwrap();
    let of_other = key(world.ended(&other, without_set(&other, Verdict::Approved, "no-finding", "fine")).await);
    let of_foreign = key(world.ended(&foreign, without_set(&foreign, Verdict::Approved, "no-finding", "fine")).await);
    for (bad, name) in [
        (RowState { outcome: None, ..state.clone() }, ErrorName::BadInput),
        (RowState { status: Status::Approved, ..state.clone() }, ErrorName::BadInput),
        (RowState { status: Status::Told, ..state.clone() }, ErrorName::BadInput),
        (RowState { row: run.row_key(9), ..state.clone() }, ErrorName::Corrupt),
        (RowState { outcome: Some("runs/x/outcomes/1.json".to_owned()), ..state.clone() }, ErrorName::Corrupt),
        (RowState { outcome: Some(of_other), ..state.clone() }, ErrorName::Corrupt),
        (RowState { outcome: Some(of_foreign), ..state.clone() }, ErrorName::Corrupt),
    ] {
        assert_eq!(world.notifier().notify(bad.clone()).await.unwrap_err().name, name, "{bad:?}");
    }
    assert!(world.records.inner.list("notices/").await.unwrap().is_empty());
}
