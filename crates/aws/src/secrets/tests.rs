use std::sync::Mutex as StdMutex;

use aws_sdk_secretsmanager::operation::get_secret_value::GetSecretValueOutput;
use aws_smithy_mocks::{Rule, mock};

use super::*;
use crate::testing::{client, json_error};

/// A clock that is moved by hand.
struct HandClock(StdMutex<Timestamp>);

impl HandClock {
    fn forward(&self, seconds: i64) {
        *self.0.lock().unwrap() += SignedDuration::from_secs(seconds);
    }
}

impl Clock for HandClock {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }
}

fn clock() -> Arc<HandClock> {
    Arc::new(HandClock(StdMutex::new(Timestamp::UNIX_EPOCH)))
}

/// The stored values: of the current stage and of the previous one.
type Store = Arc<StdMutex<(String, Option<String>)>>;

fn store(current: &str, previous: Option<&str>) -> Store {
    Arc::new(StdMutex::new((current.to_owned(), previous.map(str::to_owned))))
}

/// The account's answers: current, previous, and no previous.
fn rules(store: &Store) -> [Rule; 3] {
    let is = |stage: &'static str| {
        mock!(Client::get_secret_value).match_requests(move |request| request.version_stage() == Some(stage))
    };
    let (current, previous, none) = (Arc::clone(store), Arc::clone(store), Arc::clone(store));
    let of = |value: String| GetSecretValueOutput::builder().secret_string(value).build();
    let has_previous = mock!(Client::get_secret_value).match_requests(move |request| {
        request.version_stage() == Some("AWSPREVIOUS") && none.lock().unwrap().1.is_some()
    });
    [
        is("AWSCURRENT").then_output(move || of(current.lock().unwrap().0.clone())),
        has_previous.then_output(move || of(previous.lock().unwrap().1.clone().unwrap())),
        is("AWSPREVIOUS").then_http_response(|| json_error(400, "ResourceNotFoundException")),
    ]
}

fn manager(rules: &[Rule], clock: &Arc<HandClock>) -> SecretsManager {
    SecretsManager::with_clock(client!(aws_sdk_secretsmanager, rules), Arc::<HandClock>::clone(clock))
}

async fn current(secrets: &SecretsManager, fresh: bool) -> String {
    secrets.current("hook", fresh).await.unwrap().expose_secret().to_owned()
}

async fn previous(secrets: &SecretsManager) -> Option<String> {
    secrets.previous("hook").await.unwrap().map(|value| value.expose_secret().to_owned())
}

#[tokio::test]
async fn a_value_is_asked_for_again_after_five_minutes() {
    let (store, clock) = (store("a", None), clock());
    let rules = rules(&store);
    let secrets = manager(&rules, &clock);
    for (forward, calls) in [(0, 1), (299, 1), (1, 2), (299, 2), (1, 3), (-1, 4)] {
        clock.forward(forward);
        assert_eq!(current(&secrets, false).await, "a");
        assert_eq!(rules[0].num_calls(), calls, "{forward}");
    }
}

#[tokio::test]
async fn a_fresh_value_is_asked_for_at_most_every_ten_seconds() {
    let (store, clock) = (store("a", None), clock());
    let rules = rules(&store);
    let secrets = manager(&rules, &clock);
    for (forward, calls) in [(0, 1), (0, 1), (9, 1), (1, 2), (9, 2), (2, 3)] {
        clock.forward(forward);
        current(&secrets, true).await;
        assert_eq!(rules[0].num_calls(), calls, "{forward}");
    }
    // Another clone is the same cache, another name is not.
    current(&secrets.clone(), true).await;
    assert_eq!(rules[0].num_calls(), 3);
    secrets.current("other", true).await.unwrap();
    assert_eq!(rules[0].num_calls(), 4);
}

#[tokio::test]
async fn after_a_rotation_both_values_are_known() {
    let (store, clock) = (store("a", None), clock());
    let rules = rules(&store);
    let secrets = manager(&rules, &clock);
    assert_eq!((current(&secrets, false).await, previous(&secrets).await), ("a".to_owned(), None));
    assert_eq!(rules[2].num_calls(), 1);
    assert_eq!(previous(&secrets).await, None);
    assert_eq!(rules[2].num_calls(), 1, "that there is none is cached too");
    *store.lock().unwrap() = ("b".to_owned(), Some("a".to_owned()));
    clock.forward(10);
    assert_eq!(current(&secrets, false).await, "a", "cached");
    assert_eq!(current(&secrets, true).await, "b");
    assert_eq!(previous(&secrets).await.as_deref(), Some("a"), "not the cached answer of before the rotation");
}

#[tokio::test]
async fn what_is_no_secret_is_never_used_as_one() {
    for (value, usable) in [
        ("", None),
        (" \n", None),
        (PLACEHOLDER, None),
        (" Replace-Me\n", None),
        ("s3cret\r\n", Some("s3cret")),
        ("replace-me-not", Some("replace-me-not")),
    ] {
        let (store, clock) = (store(value, Some(value)), clock());
        let rules = rules(&store);
        let secrets = manager(&rules, &clock);
        let found = secrets.current("hook", false).await;
        assert_eq!(previous(&secrets).await.as_deref(), usable, "{value:?}");
        match found {
            Ok(found) => assert_eq!(Some(found.expose_secret()), usable, "{value:?}"),
            Err(error) => {
                assert_eq!((error.name, usable), (ErrorName::Configuration, None));
                assert!(error.message.contains("the secret hook has no value"), "{error}");
            }
        }
    }
}

#[tokio::test]
async fn errors_are_told_apart_and_not_cached() {
    for (code, name) in [
        ("ResourceNotFoundException", ErrorName::Configuration),
        ("AccessDeniedException", ErrorName::Denied),
        ("DecryptionFailure", ErrorName::Denied),
        ("InternalServiceError", ErrorName::Transient),
        ("ThrottlingException", ErrorName::Transient),
    ] {
        let status = if code == "InternalServiceError" { 500 } else { 400 };
        let rule = [mock!(Client::get_secret_value).then_http_response(move || json_error(status, code))];
        let secrets = manager(&rule, &clock());
        let error = secrets.current("hook", false).await.unwrap_err();
        assert_eq!(error.name, name, "{code}");
        assert!(!error.message.contains("PAYLOAD"), "{error}");
        let previous = secrets.previous("hook").await.map(|value| value.is_some());
        assert_eq!(
            previous.map_err(|error| error.name),
            if name == ErrorName::Configuration { Ok(false) } else { Err(name) }
        );
    }
}

#[test]
fn a_value_is_not_shown() {
    let rules: [Rule; 0] = [];
    let secrets = manager(&rules, &clock());
    assert_eq!(format!("{secrets:?}"), "SecretsManager { .. }");
}
