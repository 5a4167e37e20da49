use std::time::{Duration, Instant};

use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use gate_core::step::ErrorName;
use gate_request_reader::{File, Limits, RequestPath, State, Status};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::world::{MemorySecrets, PATH, REPOSITORY, TOKEN, World, blob_id, client, commit};

const CSV: &str = "six,pkg:pypi/six@1.16.0\n";

fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
    pairs.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
}

async fn file(world: &World, at_most: usize) -> Result<File, ErrorName> {
    let path = RequestPath::parse(PATH).unwrap();
    world.github.file(REPOSITORY, &path, &commit(1), at_most).await.map_err(|error| error.name)
}

#[tokio::test]
async fn a_refused_token_is_fetched_anew_once() {
    let world = World::new().await;
    world.push(1, CSV);
    *world.secrets.cached.lock().unwrap() = Some("token-1".to_owned());
    assert!(matches!(file(&world, 100).await, Ok(File::Found { .. })));
    assert_eq!(*world.secrets.fetched.lock().unwrap(), 1);
    assert_eq!(world.asked("contents"), 3, "refused, and two answers");
    assert!(matches!(file(&world, 100).await, Ok(File::Found { .. })));
    assert_eq!(*world.secrets.fetched.lock().unwrap(), 1, "the new one is cached");
    "token-3".clone_into(&mut world.hub().token);
    let error = world.github.repository(REPOSITORY).await.unwrap_err();
    assert_eq!(error.name, ErrorName::Denied);
    assert!(!error.message.contains(TOKEN), "{error}");
    assert_eq!(*world.secrets.fetched.lock().unwrap(), 2, "and not a third time");
}

#[tokio::test]
async fn a_token_that_fits_no_header_is_a_fault_of_configuration_and_is_not_shown() {
    let world = World::new().await;
    for (token, good) in [("token-2\n", true), ("tok\nen", false), ("tök\0en", false)] {
        *world.secrets.cached.lock().unwrap() = Some(token.to_owned());
        let result = world.github.repository(REPOSITORY).await;
        assert_eq!(result.is_ok(), good, "{token:?}");
        if let Err(error) = result {
            assert_eq!(error.name, ErrorName::Configuration);
            assert!(!error.message.contains("en\""), "{error}");
        }
    }
    let shown = format!("{:?}", world.github);
    assert!(!shown.contains(TOKEN), "{shown}");
}

#[tokio::test]
async fn what_github_answers_has_a_name() {
    let world = World::new().await;
    let secondary = r#"{"message":"You have exceeded a secondary rate limit. Please wait a few minutes."}"#;
    for (status, headers, body, name) in [
        (
            403,
            headers(&[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "1800000000")]),
            "",
            ErrorName::RateLimited,
        ),
        (403, headers(&[("retry-after", "60")]), "", ErrorName::RateLimited),
        (403, headers(&[]), secondary, ErrorName::RateLimited),
        (403, headers(&[("x-ratelimit-remaining", "1")]), "", ErrorName::Denied),
        (403, headers(&[]), r#"{"message":"Resource not accessible\u202e by token"}"#, ErrorName::Denied),
        (429, headers(&[]), "", ErrorName::RateLimited),
        (429, headers(&[("retry-after", "soon")]), "", ErrorName::RateLimited),
        (404, headers(&[]), "", ErrorName::Denied),
        (408, headers(&[]), "", ErrorName::Transient),
        (500, headers(&[]), "", ErrorName::Transient),
        (502, headers(&[]), "<html>", ErrorName::Transient),
        (503, headers(&[("retry-after", "60")]), "", ErrorName::Transient),
        (301, headers(&[("location", "https://evil.example/")]), "", ErrorName::Configuration),
        (302, headers(&[("location", "/elsewhere")]), "", ErrorName::Configuration),
        (410, headers(&[]), "", ErrorName::Configuration),
        (422, headers(&[]), r#"{"message":"Validation Failed"}"#, ErrorName::Configuration),
        (200, headers(&[]), "<html>", ErrorName::Transient),
        (200, headers(&[]), r#"{"id":123456,"node_id":"R"#, ErrorName::Transient),
        (200, headers(&[]), r#"{"id":7,"node_id":"R","full_name":"a/b"}"#, ErrorName::Transient),
    ] {
        let status = StatusCode::from_u16(status).unwrap();
        world.hub().scripted.push_back(("/repositories/123456", status, headers, body.as_bytes().to_vec()));
        let asked = world.asked("/");
        let error = world.github.repository(REPOSITORY).await.unwrap_err();
        assert_eq!(error.name, name, "{status} {body}: {error}");
        assert!(!error.message.contains('\u{202e}') && !error.message.contains("evil"), "{error}");
        assert_eq!(world.asked("/"), asked + 1, "nothing is followed");
    }
}

#[tokio::test]
async fn graphql_says_its_errors_in_a_success() {
    let world = World::new().await;
    let path = RequestPath::parse(PATH).unwrap();
    for (kind, name) in [
        ("RATE_LIMITED", ErrorName::RateLimited),
        ("FORBIDDEN", ErrorName::Denied),
        ("INSUFFICIENT_SCOPES", ErrorName::Denied),
        ("NOT_FOUND", ErrorName::Transient),
        ("", ErrorName::Transient),
    ] {
        let body = format!(r#"{{"errors":[{{"type":"{kind}","message":"why"}}]}}"#);
        world.hub().scripted.push_back(("/graphql", StatusCode::OK, HeaderMap::new(), body.into_bytes()));
        let error = world.github.blame(REPOSITORY, &path, &commit(1)).await.unwrap_err();
        assert_eq!(error.name, name, "{kind}");
    }
    world.hub().scripted.push_back(("/graphql", StatusCode::NOT_FOUND, HeaderMap::new(), Vec::new()));
    let error = world.github.blame(REPOSITORY, &path, &commit(1)).await.unwrap_err();
    assert_eq!(error.name, ErrorName::Configuration);
}

#[tokio::test]
async fn bytes_that_are_not_the_blob_are_no_request() {
    let world = World::new().await;
    world.push(1, CSV);
    for bytes in ["", "six,pkg:pypi/six@1.16.0", "six,pkg:pypi/six@1.16.1\n"] {
        world.hub().files.get_mut(&commit(1)).unwrap().1 = bytes.as_bytes().to_vec();
        assert_eq!(file(&world, 100).await, Err(ErrorName::Transient), "{bytes:?}");
    }
    world.hub().files.get_mut(&commit(1)).unwrap().1 = CSV.as_bytes().to_vec();
    assert_eq!(file(&world, 100).await, Ok(File::Found { blob: blob_id(CSV.as_bytes()), bytes: CSV.into() }));
}

#[tokio::test]
async fn a_file_has_a_largest_size() {
    let world = World::new().await;
    world.push(1, CSV);
    for (at_most, found) in [(CSV.len() - 1, false), (CSV.len(), true), (CSV.len() + 1, true)] {
        assert_eq!(matches!(file(&world, at_most).await, Ok(File::Found { .. })), found, "{at_most}");
    }
    // The listing lies about the size.
    world.hub().files.get_mut(&commit(1)).unwrap().0["size"] = 1.into();
    assert_eq!(file(&world, CSV.len() - 1).await, Err(ErrorName::Corrupt));
}

#[tokio::test]
async fn an_answer_has_a_largest_size() {
    let world = World::new().await;
    let body = r#"{"id":123456,"node_id":"R_node","full_name":"corp/requests","private":true}"#;
    for (json_bytes, fits) in [(body.len() - 1, false), (body.len(), true), (body.len() + 1, true)] {
        let limits = Limits { json_bytes, ..Limits::default() };
        let base =
            serve(format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}", body.len()))
                .await;
        let result = client(&base, &world.secrets, limits).repository(REPOSITORY).await;
        assert_eq!(result.is_ok(), fits, "{json_bytes}: {result:?}");
        assert!(fits || result.unwrap_err().name == ErrorName::Corrupt);
    }
}

/// Sends the same bytes to everybody, and closes the connection.
async fn serve(answer: String) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.read(&mut [0; 4096]).await;
            if answer.is_empty() {
                tokio::time::sleep(Duration::from_secs(600)).await;
            }
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    base
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_asked_for_again() {
    let secrets = MemorySecrets::default();
    for answer in [
        "HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{\"id\":123456",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\n{\"id\"\r\n",
        "HTTP/1.1 200 OK\r\nconte",
        "not HTTP at all\r\n\r\n",
    ] {
        let github = client(&serve(answer.to_owned()).await, &secrets, Limits::default());
        let error = github.repository(REPOSITORY).await.unwrap_err();
        assert_eq!(error.name, ErrorName::Transient, "{answer}: {error}");
    }
    let github = client("http://127.0.0.1:1", &secrets, Limits::default());
    assert_eq!(github.repository(REPOSITORY).await.unwrap_err().name, ErrorName::Transient, "nobody listens");
}

#[tokio::test]
async fn patience_ends() {
    let limits = Limits { seconds: Duration::from_millis(300), ..Limits::default() };
    let github = client(&serve(String::new()).await, &MemorySecrets::default(), limits);
    let start = Instant::now();
    let error = github.repository(REPOSITORY).await.unwrap_err();
    assert_eq!(error.name, ErrorName::Transient, "{error}");
    assert!(start.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn a_branch_is_asked_for_by_its_whole_name() {
    let world = World::new().await;
    world.push(1, CSV);
    assert_eq!(world.github.branch_head(REPOSITORY, "main").await, Ok(Some(commit(1))));
    assert_eq!(world.github.branch_head(REPOSITORY, "release/2 x").await, Ok(None));
    assert_eq!(world.asked("/git/ref/heads/release/2%20x"), 1);
    for body in [
        format!(r#"{{"ref":"refs/heads/main2","object":{{"type":"commit","sha":"{}"}}}}"#, commit(1)),
        format!(r#"{{"ref":"refs/heads/main","object":{{"type":"tag","sha":"{}"}}}}"#, commit(1)),
        r#"{"ref":"refs/heads/main","object":{"type":"commit","sha":"../../x"}}"#.to_owned(),
        "[]".to_owned(),
    ] {
        world.hub().scripted.push_back(("/git/ref/", StatusCode::OK, HeaderMap::new(), body.clone().into_bytes()));
        assert_eq!(
            world.github.branch_head(REPOSITORY, "main").await.unwrap_err().name,
            ErrorName::Transient,
            "{body}"
        );
    }
    world.hub().visible = false;
    assert_eq!(world.github.branch_head(REPOSITORY, "main").await.unwrap_err().name, ErrorName::Denied);
}

#[tokio::test]
async fn a_status_that_may_not_be_set_is_denied() {
    let world = World::new().await;
    let status = Status { state: State::Success, description: "1 approved".to_owned(), link: None, context: "gate" };
    assert_eq!(world.github.set_status(REPOSITORY, &commit(1), &status).await, Ok(()));
    assert_eq!(
        world.hub().statuses[0].1,
        serde_json::json!({"state": "success", "description": "1 approved", "context": "gate"})
    );
    world.push(1, "");
    for (code, name) in [
        (StatusCode::NOT_FOUND, ErrorName::Denied),
        (StatusCode::FORBIDDEN, ErrorName::Denied),
        (StatusCode::UNPROCESSABLE_ENTITY, ErrorName::Configuration),
    ] {
        world.hub().scripted.push_back(("/statuses/", code, HeaderMap::new(), Vec::new()));
        let error = world.github.set_status(REPOSITORY, &commit(1), &status).await.unwrap_err();
        assert_eq!(error.name, name);
    }
}

#[tokio::test]
async fn a_commit_that_is_gone_needs_no_status() {
    let world = World::new().await;
    let status = Status { state: State::Failure, description: "gone".to_owned(), link: None, context: "gate" };
    for code in [StatusCode::NOT_FOUND, StatusCode::UNPROCESSABLE_ENTITY] {
        world.hub().scripted.push_back(("/statuses/", code, HeaderMap::new(), Vec::new()));
        assert_eq!(world.github.set_status(REPOSITORY, &commit(1), &status).await, Ok(()));
    }
    world.hub().visible = false;
    let error = world.github.set_status(REPOSITORY, &commit(1), &status).await.unwrap_err();
    assert_eq!(error.name, ErrorName::Denied);
}
