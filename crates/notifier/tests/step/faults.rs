//! Each call to the store fails once, after it was done: the worst moment.

use std::collections::BTreeSet;

use crate::world::{ADA, BOB, World, run_id};

/// A run with news, something known, something that never ended; not summarised yet.
async fn world() -> World {
    let (world, first, run) = (World::new(), run_id(1), run_id(2));
    world.refused(&first, 3, "known", &[ADA]).await;
    world.at(10);
    world.head(&run, [2, 3, 4], &[(5, 2)]).await;
    world.approved(&run, 2, "alpha", &[ADA, BOB]).await;
    world.refused(&run, 3, "known", &[ADA]).await;
    world.row(&run, 4, "lost", &[]).await;
    world
}

/// All keys but those of looks: where one is missing, the row is decided again.
async fn keys(world: &World) -> BTreeSet<String> {
    let keys = gate_core::ports::Records::list(&world.records.inner, "").await.unwrap();
    keys.into_iter().filter(|key| !key.starts_with("looks/")).collect()
}

#[tokio::test]
async fn whatever_breaks_the_next_try_mends_it() {
    let run = run_id(2);
    let whole = world().await;
    whole.records.take();
    whole.summarise(&run).await;
    let (calls, _) = whole.records.take();
    let (stored, sent) = (keys(&whole).await, whole.mails().len());
    assert!(calls > 20 && sent == 3, "{calls} {sent}");
    let mut repeated = 0;
    for call in 1..=calls {
        let world = world().await;
        world.records.fail_at(call);
        world.notifier().summarise(&run).await.unwrap_err();
        world.records.fail_at(0);
        assert_eq!(world.summarise(&run).await.mails, 3, "{call}");
        assert_eq!(world.summary(&run).await, whole.summary(&run).await, "{call}");
        assert_eq!(keys(&world).await, stored, "{call}");
        let mut mails = world.mails();
        let all = mails.len();
        mails.sort_by_key(|mail| mail.to.clone());
        mails.dedup();
        assert_eq!(mails.len(), 3, "{call}");
        repeated += all - mails.len();
    }
    assert_eq!(repeated, 0, "a mail is repeated only if its record is not there");
}

#[tokio::test]
async fn notify_is_mended_likewise() {
    let whole = World::new();
    let row = whole.row(&run_id(1), 2, "alpha", &[ADA]).await;
    let state = whole.decided(&row, Vec::new()).await;
    whole.records.take();
    whole.notifier().notify(state.clone()).await.unwrap();
    let (calls, _) = whole.records.take();
    for call in 1..=calls {
        let world = World::new();
        world.row(&run_id(1), 2, "alpha", &[ADA]).await;
        world.decided(&row, Vec::new()).await;
        world.records.fail_at(call);
        world.notifier().notify(state.clone()).await.unwrap_err();
        world.records.fail_at(0);
        world.notifier().notify(state.clone()).await.unwrap();
        assert_eq!(keys(&world).await, keys(&whole).await, "{call}");
    }
}
