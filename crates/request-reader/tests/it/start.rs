use gate_core::ports::Records as _;
use gate_core::run::{Delivery, RunId, RunKind};
use gate_core::step::ErrorName;
use gate_request_reader::{Created, start};

use crate::world::World;

async fn event(world: &World, bucket: &str, key: &str) -> Result<(Option<RunId>, bool), ErrorName> {
    let created = Created { bucket: bucket.to_owned(), key: key.to_owned() };
    let answer = start(&created, &world.records, &world.executions, &world.config).await;
    answer.map(|answer| (answer.run, answer.started)).map_err(|error| error.name)
}

#[tokio::test]
async fn a_delivery_starts_one_named_execution_however_often_it_arrives() {
    let world = World::new().await;
    let delivery = world.push(1, "");
    let intake = world.deliver(&delivery).await;
    assert_eq!(event(&world, "data", &delivery.key()).await, Ok((Some(intake.run.clone()), true)));
    for _ in 0..99 {
        assert_eq!(event(&world, "data", &delivery.key()).await, Ok((Some(intake.run.clone()), false)));
    }
    assert_eq!(world.executions.names(), [intake.run.to_string()]);
    assert_eq!(world.executions.intake(&intake.run), intake);
    assert_eq!(intake.kind, RunKind::Push);
}

#[tokio::test]
async fn whatever_is_no_delivery_of_a_watched_branch_starts_nothing() {
    let world = World::new().await;
    let delivery = world.push(1, "");
    world.deliver(&delivery).await;
    let other_branch = Delivery { reference: "refs/heads/other".to_owned(), ..delivery.clone() };
    let other_repository = Delivery { repository: 7, ..delivery.clone() };
    for other in [&other_branch, &other_repository] {
        world.deliver(other).await;
    }
    for (bucket, key) in [
        ("other", delivery.key()),
        ("data", "runs/a/run.json".to_owned()),
        ("data", "inbox/123456/".to_owned()),
        ("data", other_branch.key()),
        ("data", other_repository.key()),
    ] {
        assert_eq!(event(&world, bucket, &key).await, Ok((None, false)), "{bucket} {key}");
    }
    assert!(world.executions.names().is_empty());
}

#[tokio::test]
async fn a_delivery_that_contradicts_its_key_is_corrupt() {
    let world = World::new().await;
    let delivery = world.push(1, "");
    let json = serde_json::to_vec(&delivery).unwrap();
    world.records.put_new("inbox/123456/copy.json", &json).await.unwrap();
    let no_commit = Delivery { commit: "main".to_owned(), ..delivery.clone() };
    let no_branch = Delivery { reference: "refs/tags/v1".to_owned(), ..delivery };
    for other in [&no_commit, &no_branch] {
        world.deliver(other).await;
    }
    for key in ["inbox/123456/copy.json", "inbox/123456/absent.json", &no_commit.key(), &no_branch.key()] {
        assert_eq!(event(&world, "data", key).await, Err(ErrorName::Corrupt), "{key}");
    }
    assert!(world.executions.names().is_empty());
}
