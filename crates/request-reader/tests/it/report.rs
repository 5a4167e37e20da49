use gate_core::outcome::Verdict;
use gate_core::ports::ExecutionStatus;
use gate_core::run::{Intake, RunId, RunKind};
use gate_core::step::ErrorName;
use gate_request_reader::{COMMITS, CONTEXT, report};
use serde_json::{Value, json};

use crate::world::{World, commit};

async fn status(world: &World, run: &RunId) -> (String, Value) {
    let answer = report(run, &world.ports()).await.unwrap();
    let (commit, status) = world.hub().statuses.last().unwrap().clone();
    assert_eq!((&answer.run, answer.state.as_str()), (run, status["state"].as_str().unwrap()));
    (commit, status)
}

async fn said(world: &World, run: &RunId) -> (String, String) {
    let (_, status) = status(world, run).await;
    (status["state"].as_str().unwrap().to_owned(), status["description"].as_str().unwrap().to_owned())
}

fn words(state: &str, description: &str) -> (String, String) {
    (state.to_owned(), description.to_owned())
}

#[tokio::test]
async fn a_commit_gets_the_counts_of_its_rows_and_a_link() {
    let world = World::new().await;
    let csv = "six,pkg:pypi/six@1.16.0\nflask,pkg:pypi/flask@3.0.3\nsix,pkg:pypi/six@1.16.0\n";
    let (intake, _) = world.push_and_read(1, csv).await;
    assert_eq!(said(&world, &intake.run).await, words("error", "3 without an answer"));
    world.end(&intake.run, 1, Verdict::Approved, None).await;
    world.end(&intake.run, 2, Verdict::Refused, None).await;
    let expected = json!({
        "state": "failure",
        "description": "2 approved, 1 refused",
        "context": CONTEXT,
        "target_url": format!("https://console.example/#runs/{}/report.html", intake.run),
    });
    assert_eq!(status(&world, &intake.run).await, (commit(1), expected));
}

#[tokio::test]
async fn a_later_answer_on_a_row_changes_the_status_of_its_commit() {
    let mut world = World::new().await;
    let (old, _) = world.push_and_read(1, "six,pkg:pypi/six@1.16.0\n").await;
    world.end(&old.run, 1, Verdict::Refused, None).await;
    let (head, _) = world.push_and_read(2, "six,pkg:pypi/six@1.16.0\nflask,pkg:pypi/flask@3.0.3\n").await;
    world.end(&head.run, 2, Verdict::Held, None).await;
    world.executions.set(&head.run, ExecutionStatus::Succeeded);
    assert_eq!(said(&world, &head.run).await, words("failure", "1 held"));
    world.change_inputs();
    let run = RunId::of_change(head_repository(&head), "refs/heads/main", &gate_core::digest::Sha256::of(b"why"));
    let again = Intake { run, kind: RunKind::Again, delivery: head.delivery.clone() };
    assert_eq!(world.read(&again).await, Ok(vec![1, 2]));
    world.end(&again.run, 1, Verdict::Refused, None).await;
    world.end(&again.run, 2, Verdict::Approved, None).await;
    assert_eq!(said(&world, &again.run).await, words("success", "1 approved"));
    let status = |n| {
        let hub = world.hub();
        hub.statuses.iter().rfind(|(of, _)| *of == commit(n)).map(|(_, status)| status["description"].clone())
    };
    assert_eq!((status(1), status(2)), (Some("1 refused".into()), Some("1 approved".into())), "each its own rows");
    let reported: gate_core::run::Reported = world.document(&again.run.reported_key()).await;
    assert_eq!(reported.state, "success");
}

#[tokio::test]
async fn a_run_changes_the_statuses_of_so_many_commits() {
    for others in [COMMITS - 1, COMMITS, COMMITS + 1] {
        let mut world = World::new().await;
        let (mut csv, mut head) = (String::new(), None);
        for n in 1..=u32::try_from(others).unwrap() + 1 {
            csv.push_str(&format!("package-{n},pkg:pypi/package-{n}@1.0\n"));
            let (intake, _) = world.push_and_read(n, &csv).await;
            world.end(&intake.run, n.into(), Verdict::Refused, None).await;
            world.wait(jiff::SignedDuration::from_secs(1));
            head = Some(intake);
        }
        world.change_inputs();
        let head = head.unwrap();
        let run = RunId::of_change(head_repository(&head), "refs/heads/main", &gate_core::digest::Sha256::of(b"why"));
        let again = Intake { run, kind: RunKind::Again, ..head };
        assert_eq!(world.read(&again).await.unwrap().len(), others + 1);
        report(&again.run, &world.ports()).await.unwrap();
        let hub = world.hub();
        let changed: Vec<_> = hub.statuses.iter().map(|(commit, _)| commit.clone()).collect();
        assert_eq!(changed.len(), others.min(COMMITS) + 1);
        assert_eq!(changed.contains(&commit(1)), others <= COMMITS, "the oldest is left out");
    }
}

fn head_repository(intake: &Intake) -> u64 {
    intake.run.as_str().split('-').next().unwrap().parse().unwrap()
}

#[tokio::test]
async fn all_attempts_at_a_push_count() {
    let world = World::new().await;
    let (first, _) = world.push_and_read(1, "six,pkg:pypi/six@1.16.0\nflask,pkg:pypi/flask@3.0.3\nbad\n").await;
    world.end(&first.run, 1, Verdict::Approved, None).await;
    world.executions.set(&first.run, ExecutionStatus::Unfinished);
    let second = RunId::of_commit(123_456, "refs/heads/main", &commit(1), 2);
    assert_eq!(world.read(&Intake { run: second.clone(), ..first.clone() }).await, Ok(vec![2]));
    world.executions.set(&second, ExecutionStatus::Running);
    world.end(&second, 2, Verdict::Failed, None).await;
    assert_eq!(said(&world, &second).await, words("failure", "1 approved, 1 failed, 1 invalid"));
}

#[tokio::test]
async fn a_request_that_cannot_be_read_fails_its_commit() {
    let mut world = World::new().await;
    world.config.console_url = None;
    let column = "c\u{202e}".repeat(100);
    let (intake, _) = world.push_and_read(1, &format!("name,source,{column}\n")).await;
    let (_, status) = status(&world, &intake.run).await;
    let description = status["description"].as_str().unwrap();
    assert!(description.starts_with("The request cannot be read: line 1"), "{description}");
    assert!(description.chars().count() <= 140 && !description.contains('\u{202e}'), "{description}");
    assert_eq!((status["state"].as_str(), status.get("target_url")), (Some("failure"), None));
}

#[tokio::test]
async fn a_commit_without_new_rows_is_green() {
    let world = World::new().await;
    let (intake, _) = world.push_and_read(1, "").await;
    assert_eq!(said(&world, &intake.run).await, words("success", "No new rows"));
    let unread = RunId::of_commit(123_456, "refs/heads/main", &commit(9), 1);
    assert_eq!(report(&unread, &world.ports()).await.unwrap_err().name, ErrorName::Corrupt);
}
