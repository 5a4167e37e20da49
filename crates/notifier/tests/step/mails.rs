use gate_core::ports::{Records as _, Subscription};
use gate_core::step::ErrorName;
use gate_notifier::step::{Limits, Told};

use crate::world::{ADA, BOB, World, run_id, told};

#[tokio::test]
async fn a_mail_that_does_not_reach_its_requester_goes_to_the_default_address_and_says_so() {
    for (state, words) in [
        (Ok(Subscription::Pending), "pending confirmation"),
        (Ok(Subscription::Full), "no further address can be subscribed"),
        (Err(ErrorName::Denied), "no further address can be subscribed"),
        (Err(ErrorName::BadInput), "no further address can be subscribed"),
    ] {
        let (world, run) = (World::new(), run_id(1));
        world.members.states.lock().unwrap().insert(ADA.to_owned(), state);
        world.head(&run, [2, 3], &[]).await;
        world.approved(&run, 2, "alpha", &[ADA]).await;
        world.approved(&run, 3, "beta", &[BOB]).await;
        let summarised = world.summarise(&run).await;
        assert_eq!((summarised.mails, summarised.undelivered), (2, 0), "somebody has it");
        let body = world.body("");
        let first = body.lines().next().unwrap();
        assert!(first.contains(ADA) && first.contains(words), "{first}");
        assert!(body.contains("alpha 1.0") && !body.contains("beta"), "{body}");
        assert!(world.body(BOB).contains("beta 1.0"));
        // She has confirmed meanwhile, and is not told again.
        world.members.states.lock().unwrap().clear();
        assert_eq!(world.summarise(&run).await.undelivered, 0);
        assert_eq!(world.mails().len(), 2);
    }
}

#[tokio::test]
async fn who_is_reached_neither_directly_nor_by_the_default_address_counts_as_undelivered() {
    let (pending, denied) = (Ok(Subscription::Pending), Err(ErrorName::Denied));
    for (ada, default, undelivered) in [
        (Ok(Subscription::Confirmed), pending, 1),
        (Ok(Subscription::Confirmed), denied, 1),
        (pending, Ok(Subscription::Confirmed), 0),
        (pending, pending, 2),
        (Ok(Subscription::Full), pending, 2),
    ] {
        let (world, run) = (World::new(), run_id(1));
        world.members.states.lock().unwrap().extend([(ADA.to_owned(), ada), (String::new(), default)]);
        world.head(&run, [2, 3, 4], &[]).await;
        world.approved(&run, 2, "alpha", &[ADA]).await;
        world.approved(&run, 3, "beta", &[BOB]).await;
        // Outside the allowed domains, or there are none.
        world.approved(&run, 4, "gamma", &[]).await;
        let summarised = world.summarise(&run).await;
        assert_eq!((summarised.mails, summarised.undelivered), (3, undelivered), "{ada:?} {default:?}");
        assert_eq!(world.summarise(&run).await.undelivered, 0, "counted once");
    }
}

#[tokio::test]
async fn nobody_asks_for_the_default_address_when_nothing_goes_there() {
    let (world, run) = (World::new(), run_id(1));
    world.members.states.lock().unwrap().insert(String::new(), Err(ErrorName::Transient));
    world.head(&run, [2], &[]).await;
    world.approved(&run, 2, "alpha", &[ADA]).await;
    assert_eq!(world.summarise(&run).await.undelivered, 0);
}

#[tokio::test]
async fn whether_the_default_address_is_reached_is_asked_again_before_its_mails_are_sent() {
    let (world, run) = (World::new(), run_id(1));
    world.members.states.lock().unwrap().insert(String::new(), Err(ErrorName::Transient));
    world.head(&run, [2, 3], &[]).await;
    world.approved(&run, 2, "alpha", &[ADA]).await;
    world.approved(&run, 3, "beta", &[]).await;
    assert_eq!(world.notifier().summarise(&run).await.unwrap_err().name, ErrorName::Transient);
    assert!(world.body(ADA).contains("alpha 1.0") && world.mails().len() == 1);
    world.members.states.lock().unwrap().insert(String::new(), Ok(Subscription::Pending));
    let summarised = world.summarise(&run).await;
    assert_eq!((summarised.mails, summarised.undelivered), (2, 1));
}

#[tokio::test]
async fn a_mail_that_is_refused_for_good_holds_nothing_up() {
    let (world, run) = (World::new(), run_id(1));
    *world.sent.refused.lock().unwrap() = Some(ADA.to_owned());
    world.head(&run, [2, 3], &[]).await;
    world.approved(&run, 2, "alpha", &[ADA]).await;
    world.approved(&run, 3, "beta", &[BOB]).await;
    let summarised = world.summarise(&run).await;
    assert_eq!((summarised.mails, summarised.undelivered), (1, 1));
    assert_eq!(world.summary(&run).await.rows.len(), 2, "the run is over");
    // Whoever mends the gate summarises the run again.
    *world.sent.refused.lock().unwrap() = None;
    assert_eq!(world.summarise(&run).await.mails, 2);
    assert!(world.body(ADA).contains("alpha 1.0"));
}

#[tokio::test]
async fn a_subscription_that_cannot_be_asked_for_now_stops_its_own_mail_alone() {
    let (world, run) = (World::new(), run_id(1));
    world.members.states.lock().unwrap().insert(ADA.to_owned(), Err(ErrorName::Transient));
    world.head(&run, [2, 3], &[]).await;
    world.approved(&run, 2, "alpha", &[ADA]).await;
    world.approved(&run, 3, "beta", &[BOB]).await;
    assert_eq!(world.notifier().summarise(&run).await.unwrap_err().name, ErrorName::Transient);
    assert!(world.records.inner.get(&run.summary_key()).await.unwrap().is_none(), "the run is not over");
    assert!(world.body(BOB).contains("beta 1.0"));
    world.members.states.lock().unwrap().clear();
    assert_eq!(world.summarise(&run).await.mails, 2);
    assert!(world.body(ADA).contains("alpha 1.0"));
    world.body(BOB);
}

#[tokio::test]
async fn a_mail_that_cannot_be_sent_now_stops_no_other() {
    let (world, run) = (World::new(), run_id(1));
    *world.sent.broken.lock().unwrap() = Some(ADA.to_owned());
    world.head(&run, [2, 3, 4], &[]).await;
    world.approved(&run, 2, "alpha", &[ADA]).await;
    world.approved(&run, 3, "beta", &[BOB]).await;
    world.approved(&run, 4, "gamma", &[]).await;
    assert!(world.notifier().summarise(&run).await.is_err());
    assert_eq!(world.mails().len(), 2);
    *world.sent.broken.lock().unwrap() = None;
    assert_eq!(world.summarise(&run).await.mails, 3);
    let (ada, bob, default) = (world.body(ADA), world.body(BOB), world.body(""));
    assert!(ada.contains("alpha") && bob.contains("beta") && default.contains("gamma"));
}

#[tokio::test]
async fn a_row_that_changed_between_two_tries_is_told_of_in_the_second() {
    let (world, run) = (World::new(), run_id(1));
    *world.sent.broken.lock().unwrap() = Some(BOB.to_owned());
    world.head(&run, [2, 3], &[]).await;
    let row = world.row(&run, 2, "alpha", &[ADA]).await;
    world.approved(&run, 3, "beta", &[ADA, BOB]).await;
    assert!(world.notifier().summarise(&run).await.is_err());
    assert!(world.body(ADA).contains("1 approved, 1 failed"));
    // Somebody redrives the row before the run is summarised again.
    let state = world.decided(&row, Vec::new()).await;
    world.notifier().notify(state).await.unwrap();
    *world.sent.broken.lock().unwrap() = None;
    assert_eq!(world.summarise(&run).await.mails, 3);
    let to_ada: Vec<_> = world.mails().into_iter().filter(|mail| mail.to.as_deref() == Some(ADA)).collect();
    assert_eq!((to_ada.len(), &*to_ada[1].subject), (2, "Package Gate: alpha 1.0 approved"));
}

#[tokio::test]
async fn each_mail_is_recorded_with_what_it_told() {
    let (world, run) = (World::new(), run_id(1));
    world.head(&run, [2, 3], &[]).await;
    world.approved(&run, 2, "alpha", &["Ada@corp.example"]).await;
    world.approved(&run, 3, "beta", &["a@b\r\nBcc: c@d.example"]).await;
    world.summarise(&run).await;
    let keys = world.records.inner.list(&format!("runs/{run}/mails/")).await.unwrap();
    assert_eq!(keys.len(), 2);
    let mut records = Vec::new();
    for key in keys {
        let record: Told = serde_json::from_str(&world.text(&key).await).unwrap();
        records.push((record.told, record.rows.into_iter().map(|(line, _)| line).collect::<Vec<_>>()));
    }
    records.sort();
    assert_eq!(records, [(vec![], vec![3]), (vec![ADA.to_owned()], vec![2])]);
    assert_eq!(*world.members.asked.lock().unwrap(), [ADA], "an address that breaks a header is nobody's");
}

#[tokio::test]
async fn many_requesters_that_are_not_reached_do_not_flood_the_default_address() {
    let forwarded = 3;
    for requesters in [forwarded - 1, forwarded, forwarded + 1, forwarded + 150] {
        let world = World::with(Limits { forwarded, ..Limits::default() });
        let run = run_id(1);
        world.head(&run, 2..2 + requesters as u64, &[]).await;
        for line in 2..2 + requesters as u64 {
            let address = format!("user{line:03}@corp.example");
            world.members.states.lock().unwrap().insert(address.clone(), Ok(Subscription::Pending));
            world.approved(&run, line, &format!("package{line}"), &[&address]).await;
        }
        let summarised = world.summarise(&run).await;
        assert_eq!(summarised.undelivered, 0);
        let mails = world.mails();
        assert_eq!(mails.len(), requesters.min(forwarded) + usize::from(requesters > forwarded), "{requesters}");
        assert!(mails.iter().all(|mail| mail.to.is_none()));
        for line in 2..2 + requesters {
            let of_row = mails.iter().filter(|mail| mail.body.contains(&format!("package{line} 1.0")));
            assert_eq!(of_row.count(), 1, "{line}");
        }
        let last = &mails[mails.len() - 1].body;
        if requesters == forwarded + 150 {
            assert!(last.starts_with("This mail is for 150 further requesters, whom it does not reach"), "{last}");
            assert!(last.contains("\n  user005@corp.example\n") && last.contains("\nand 50 more\n"), "{last}");
        }
        assert_eq!(world.summarise(&run).await.mails, mails.len());
        assert_eq!(world.mails().len(), mails.len());
    }
}

#[tokio::test]
async fn so_many_addresses_are_looked_after_and_no_more() {
    let addresses = 3;
    for requesters in [addresses - 1, addresses, addresses + 1] {
        let world = World::with(Limits { addresses, ..Limits::default() });
        let run = run_id(1);
        world.head(&run, [2], &[]).await;
        let asking: Vec<_> = (0..requesters).map(|at| format!("user{at}@corp.example")).collect();
        let row = world.row(&run, 2, "alpha", &asking.iter().map(String::as_str).collect::<Vec<_>>()).await;
        assert_eq!(row.told, told(&asking.iter().map(String::as_str).collect::<Vec<_>>()));
        world.summarise(&run).await;
        assert_eq!(world.members.asked.lock().unwrap().len(), requesters.min(addresses));
        assert_eq!(world.mails().len(), requesters);
        assert_eq!(
            world.mails().iter().filter(|mail| mail.to.is_none()).count(),
            requesters - requesters.min(addresses)
        );
    }
}
