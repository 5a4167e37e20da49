use axum::http::{HeaderMap, StatusCode};
use gate_core::outcome::Verdict;
use gate_core::ports::{ExecutionStatus, Records as _};
use gate_core::route::Route;
use gate_core::run::{self, Delivery, Intake, RunId, RunKind};
use gate_core::step::ErrorName;
use gate_request_reader::{AGAIN_ATTEMPTS, RESTART_FOR, Reconciled, START_WITHIN, reconcile};
use jiff::SignedDuration;

use crate::world::{REPOSITORY, World, commit};

const CSV: &str = "six,pkg:pypi/six@1.16.0\nflask,pkg:pypi/flask@3.0.3\nrich,pkg:pypi/rich@13.0\n";

async fn tick(world: &World) -> (u32, Vec<RunId>) {
    let Reconciled { lost, started, faults } = reconcile(&world.ports(), world.rules()).await;
    assert_eq!(faults, []);
    (lost, started)
}

async fn nothing(world: &World) {
    assert_eq!(tick(world).await, (0, vec![]));
}

/// A push that was worked on to its end: the first row approved, the second refused, the third failed.
async fn finished(world: &World) -> Intake {
    let (intake, _) = world.push_and_read(1, CSV).await;
    for (line, verdict) in [(1, Verdict::Approved), (2, Verdict::Refused), (3, Verdict::Failed)] {
        world.end(&intake.run, line, verdict, None).await;
    }
    world.finish(&intake.run).await;
    intake
}

#[tokio::test]
async fn a_lost_delivery_is_made_once() {
    let world = World::new().await;
    world.push_and_read(9, "").await;
    let pushed = world.push(1, CSV);
    assert_eq!(tick(&world).await, (1, vec![]), "its S3 event starts the run");
    let delivery: Delivery = world.document(&pushed.key()).await;
    assert_eq!(delivery, Delivery { delivery_id: None, ..pushed });
    nothing(&world).await;
    // The delivery comes after all: it is stored already.
    assert_eq!(run::keep_document(&world.records, &delivery.key(), &delivery).await, Ok(gate_core::ports::Put::Exists));
}

#[tokio::test]
async fn an_execution_that_never_began_is_started_after_its_time() {
    let world = World::new().await;
    let intake = world.deliver(&world.push(1, CSV)).await;
    world.wait(START_WITHIN - SignedDuration::from_secs(1));
    nothing(&world).await;
    world.wait(SignedDuration::from_secs(1));
    nothing(&world).await;
    world.wait(SignedDuration::from_secs(1));
    assert_eq!(tick(&world).await, (0, vec![intake.run.clone()]));
    assert_eq!(world.executions.intake(&intake.run), intake);
    nothing(&world).await;
}

#[tokio::test]
async fn a_run_that_did_not_finish_is_tried_again_by_another_name() {
    let world = World::new().await;
    let delivery = world.push(1, CSV);
    let intake = world.deliver(&delivery).await;
    let attempt = |n| RunId::of_commit(REPOSITORY, &delivery.reference, &delivery.commit, n);
    world.executions.set(&intake.run, ExecutionStatus::Running);
    nothing(&world).await;
    for n in 2..=20 {
        world.executions.set(&attempt(n - 1), ExecutionStatus::Unfinished);
        assert_eq!(tick(&world).await, (0, vec![attempt(n)]));
        nothing(&world).await;
    }
    assert_eq!(world.executions.intake(&attempt(20)), intake, "it goes on with the first one's run");
    *world.executions.asked.lock().unwrap() = 0;
    nothing(&world).await;
    assert!(*world.executions.asked.lock().unwrap() <= 12, "it doubles and halves");
}

/// Whatever the branch is at: nobody else tells what a run has found out.
#[tokio::test]
async fn a_run_that_was_read_is_restarted_until_it_is_over() {
    let mut world = World::new().await;
    let (push, lines) = world.push_and_read(1, CSV).await;
    for (line, verdict) in [(1, Verdict::Approved), (2, Verdict::Refused), (3, Verdict::Failed)] {
        world.end(&push.run, line, verdict, None).await;
    }
    world.change_inputs();
    let run = RunId::of_change(REPOSITORY, "refs/heads/main", &gate_core::digest::Sha256::of(b"why"));
    let again = Intake { run, kind: RunKind::Again, ..push.clone() };
    world.read(&again).await.unwrap();
    for line in 2..=3 {
        world.end(&again.run, line, Verdict::Approved, None).await;
    }
    // The branch moves on.
    let (head, _) = world.push_and_read(2, "six,pkg:pypi/six@1.16.0\n").await;
    world.finish(&head.run).await;
    let (mut pause, mut attempt) = (START_WITHIN, 1);
    let runs = [&push, &again];
    while attempt < 9 {
        for intake in runs {
            world.executions.set(&intake.run.attempt(attempt), ExecutionStatus::Unfinished);
        }
        world.wait(pause - SignedDuration::from_secs(1) - if attempt == 1 { SignedDuration::ZERO } else { pause / 2 });
        nothing(&world).await;
        world.wait(SignedDuration::from_secs(1));
        let (lost, started) = tick(&world).await;
        assert_eq!((lost, started.len()), (0, 2), "{attempt}");
        for (intake, name) in runs.into_iter().zip(&started) {
            assert_eq!((&intake.run.attempt(attempt + 1), &world.executions.intake(name)), (name, intake));
        }
        assert_eq!(world.read(&push).await.as_ref(), Ok(&lines));
        nothing(&world).await;
        (pause, attempt) = (pause * 2, attempt + 1);
    }
    // One is over; the other has had its time.
    world.finish(&again.run.attempt(9)).await;
    world.records.put_new(&again.run.reported_key(), b"{}").await.unwrap();
    world.executions.set(&push.run.attempt(9), ExecutionStatus::Unfinished);
    world.wait(RESTART_FOR);
    nothing(&world).await;
}

#[tokio::test]
async fn a_run_is_restarted_for_seven_days() {
    let second = SignedDuration::from_secs(1);
    for (late, started) in [(-second, 1), (SignedDuration::ZERO, 1), (second, 0)] {
        let world = World::new().await;
        let (intake, _) = world.push_and_read(1, "").await;
        world.executions.set(&intake.run, ExecutionStatus::Unfinished);
        world.wait(RESTART_FOR + late);
        assert_eq!(tick(&world).await.1.len(), started, "{late:?}");
    }
}

#[tokio::test]
async fn a_commit_that_has_no_status_gets_one() {
    let world = World::new().await;
    let (intake, _) = world.push_and_read(1, "").await;
    world.records.put_new(&intake.run.summary_key(), b"{}").await.unwrap();
    world.executions.set(&intake.run, ExecutionStatus::Unfinished);
    world.wait(START_WITHIN);
    assert_eq!(tick(&world).await.1, [intake.run.attempt(2)]);
}

#[tokio::test]
async fn a_run_of_a_branch_that_is_not_watched_any_more_is_left_alone() {
    let mut world = World::new().await;
    let (intake, _) = world.push_and_read(1, "").await;
    world.executions.set(&intake.run, ExecutionStatus::Unfinished);
    world.wait(START_WITHIN);
    world.config.routes.clear();
    nothing(&world).await;
}

#[tokio::test]
async fn nothing_changed_and_nothing_is_decided_again() {
    let world = World::new().await;
    finished(&world).await;
    for _ in 0..3 {
        nothing(&world).await;
        world.wait(SignedDuration::from_hours(24));
    }
}

#[tokio::test]
async fn a_change_of_inputs_decides_every_row_again_that_is_not_approved() {
    let mut world = World::new().await;
    finished(&world).await;
    world.change_inputs();
    let (lost, started) = tick(&world).await;
    assert_eq!((lost, started.len()), (0, 1));
    nothing(&world).await;
    let again = world.executions.intake(&started[0]);
    assert_eq!(again.kind, RunKind::Again);
    assert_eq!(world.read(&again).await, Ok(vec![2, 3]));
    world.end(&again.run, 2, Verdict::Approved, None).await;
    nothing(&world).await;
    world.end(&again.run, 3, Verdict::Failed, None).await;
    assert_eq!(world.read(&again).await, Ok(vec![2, 3]), "reading twice gives the same");
    world.finish(&again.run).await;
    nothing(&world).await;
    world.change_inputs();
    let (_, started) = tick(&world).await;
    assert_eq!(world.read(&world.executions.intake(&started[0])).await, Ok(vec![3]));
}

#[tokio::test]
async fn a_failure_is_tried_again_when_its_time_has_come() {
    let world = World::new().await;
    let intake = finished(&world).await;
    let second = SignedDuration::from_secs(1);
    let due = world.clock_now() + SignedDuration::from_mins(15);
    let push = world.push(2, "six,pkg:pypi/six@1.16.0\ndjango,pkg:pypi/django@5.0\n");
    let next = world.deliver(&push).await;
    world.read(&next).await.unwrap();
    world.end(&next.run, 2, Verdict::Failed, Some(due)).await;
    world.finish(&next.run).await;
    world.wait(SignedDuration::from_mins(15) - second);
    nothing(&world).await;
    world.wait(second);
    let (_, started) = tick(&world).await;
    assert_eq!(
        world.read(&world.executions.intake(&started[0])).await,
        Ok(vec![2]),
        "a deleted row is not tried again"
    );
    assert_ne!(started[0], intake.run);
    world.end(&started[0], 2, Verdict::Failed, Some(due + SignedDuration::from_mins(15))).await;
    world.finish(&started[0]).await;
    nothing(&world).await;
    world.wait(SignedDuration::from_mins(15));
    let (_, third) = tick(&world).await;
    assert_ne!(third, started);
    assert_eq!(third.len(), 1);
}

#[tokio::test]
async fn one_run_decides_again_at_a_time() {
    let mut world = World::new().await;
    finished(&world).await;
    world.change_inputs();
    let (_, first) = tick(&world).await;
    world.change_inputs();
    nothing(&world).await;
    world.executions.set(&first[0], ExecutionStatus::Unfinished);
    let (_, second) = tick(&world).await;
    assert_eq!(second.len(), 1);
    assert_ne!(first, second);
}

#[tokio::test]
async fn the_same_change_is_not_tried_for_ever() {
    let mut world = World::new().await;
    finished(&world).await;
    world.change_inputs();
    let mut runs = Vec::new();
    for _ in 0..AGAIN_ATTEMPTS {
        let (_, started) = tick(&world).await;
        assert_eq!(started.len(), 1);
        world.executions.set(&started[0], ExecutionStatus::Unfinished);
        assert!(!runs.contains(&started[0]));
        runs.extend(started);
    }
    nothing(&world).await;
    world.change_inputs();
    assert_eq!(tick(&world).await.1.len(), 1, "another change");
}

#[tokio::test]
async fn a_run_that_was_written_down_and_not_started_is_started() {
    let mut world = World::new().await;
    finished(&world).await;
    world.change_inputs();
    let (_, started) = tick(&world).await;
    world.executions.known.lock().unwrap().remove(started[0].as_str());
    assert_eq!(tick(&world).await, (0, started));
}

#[tokio::test]
async fn a_row_that_was_lost_is_found() {
    let world = World::new().await;
    let (intake, _) = world.push_and_read(1, CSV).await;
    world.end(&intake.run, 1, Verdict::Approved, None).await;
    world.end(&intake.run, 3, Verdict::Approved, None).await;
    world.finish(&intake.run).await;
    let (_, started) = tick(&world).await;
    assert_eq!(world.read(&world.executions.intake(&started[0])).await, Ok(vec![2]));
}

#[tokio::test]
async fn a_host_that_is_allowed_later_lets_its_row_in() {
    let mut world = World::new().await;
    world.policy.source_hosts = ["files.example".to_owned()].into();
    let (intake, lines) = world.push_and_read(1, "h,https://other.example/h-1.0.tar.gz\n").await;
    assert!(lines.is_empty());
    world.finish(&intake.run).await;
    nothing(&world).await;
    world.change_inputs();
    nothing(&world).await;
    world.policy.source_hosts = ["other.example".to_owned()].into();
    let (_, started) = tick(&world).await;
    assert_eq!(world.read(&world.executions.intake(&started[0])).await, Ok(vec![1]));
}

#[tokio::test]
async fn one_branch_s_trouble_is_not_another_s() {
    let mut world = World::new().await;
    world.config.routes.insert(0, Route { repository: 7, branch: "main".to_owned() });
    world.push(1, CSV);
    let done = reconcile(&world.ports(), world.rules()).await;
    assert_eq!((done.lost, done.faults.len()), (0, 1));
    assert_eq!(world.records.list("inbox/").await.unwrap().len(), 1);
    assert_eq!(done.complete().unwrap_err().name, ErrorName::Denied);
    assert_eq!(Reconciled::default().complete(), Ok(()));
}

#[tokio::test]
async fn a_branch_that_is_not_there_is_left_alone() {
    let world = World::new().await;
    nothing(&world).await;
    world.push(1, CSV);
    world.hub().scripted.push_back(("/git/ref/", StatusCode::CONFLICT, HeaderMap::new(), Vec::new()));
    nothing(&world).await;
    assert!(world.records.list("").await.unwrap().is_empty());
}

#[tokio::test]
async fn an_outage_loses_nothing() {
    let world = World::new().await;
    world.push(1, CSV);
    for _ in 0..4 * 24 {
        world.hub().scripted.push_back(("/git/ref/", StatusCode::SERVICE_UNAVAILABLE, HeaderMap::new(), Vec::new()));
        let done = reconcile(&world.ports(), world.rules()).await;
        assert_eq!(done.complete().unwrap_err().name, ErrorName::Transient);
        world.wait(SignedDuration::from_hours(1));
    }
    let newest = world.push(2, CSV);
    assert_eq!(tick(&world).await, (0, vec![]), "nothing of the branch was read before");
    assert_eq!(world.records.list("inbox/").await.unwrap(), [newest.key()]);
    assert_eq!(newest.commit, commit(2));
}

#[tokio::test]
async fn a_request_that_cannot_be_read_is_left_alone() {
    let mut world = World::new().await;
    let (intake, _) = world.push_and_read(1, "name,source,colour\n").await;
    world.finish(&intake.run).await;
    world.change_inputs();
    nothing(&world).await;
}
