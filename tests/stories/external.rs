//! `gate check --external-scanner` of the real program. What a scanner that answers leads to, the table of tests/aws/parity.toml
//! shows.

use gate_archive::forge;

use crate::world::World;

const SWITCH: [&str; 2] = ["--external-scanner", "codeguru-security"];

fn world() -> World {
    let world = World::new();
    let good = forge::wheel("good", "1.0").file("good/__init__.py", "");
    world.release("good", &good.filename(), good.build(), "");
    std::fs::write(world.path("request.csv"), "good,pkg:pypi/good@1.0\ngone,pkg:pypi/gone@1.0\n../x,y\n").unwrap();
    world
}

const CHECK: [&str; 7] = ["check", "request.csv", "--policy", "policy.toml", "--out", "out", "--json"];

#[cfg(not(feature = "external"))]
#[test]
fn a_program_without_external_scanners_says_so_and_decides_nothing() {
    let world = world();
    let output = world.gate(&[&CHECK[..], &SWITCH].concat());
    let words = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{words}");
    assert!(words.contains("--features external"), "{words}");
    assert!(output.stdout.is_empty() && !world.out().exists() && world.asked().is_empty());
}

#[cfg(feature = "external")]
mod with_one {
    use std::process::Output;

    use super::*;

    /// With an endpoint at which nothing listens, and nothing of this machine's own configuration.
    fn run(world: &World, extra: &[&str], lacking: &str) -> Output {
        let mut command = world.command(&[&CHECK[..], extra].concat());
        command
            .env("AWS_ENDPOINT_URL_CODEGURU_SECURITY", "http://127.0.0.1:9")
            .env("AWS_REGION", "us-east-1")
            .env("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE")
            .env("AWS_SECRET_ACCESS_KEY", "an example")
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env("AWS_CONFIG_FILE", world.path("none"))
            .env("AWS_SHARED_CREDENTIALS_FILE", world.path("none"))
            .env_remove(lacking);
        command.output().unwrap()
    }

    fn rows(output: &Output) -> Vec<(String, String)> {
        let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let row = |row: &serde_json::Value| {
            let [verdict, code, message] = [&row["verdict"], &row["reasons"][0]["code"], &row["reasons"][0]["message"]];
            let [verdict, code, message] = [verdict, code, message].map(|text| text.as_str().unwrap());
            (format!("{verdict} {code}"), message.to_owned())
        };
        document["rows"].as_array().unwrap().iter().map(row).collect()
    }

    #[test]
    fn it_is_called_what_it_is_called_in_reports_and_on_aws() {
        assert_eq!(SWITCH[1], gate_aws::CODE_GURU);
    }

    #[test]
    fn a_scanner_that_is_away_approves_nothing_and_stops_no_other_row() {
        let world = world();
        let output = run(&world, &SWITCH, "");
        let words = String::from_utf8_lossy(&output.stderr);
        assert!(words.contains("2025-11-20") && words.lines().count() == 1, "{words}");
        let found = rows(&output);
        let verdicts: Vec<_> = found.iter().map(|(verdict, _)| verdict.as_str()).collect();
        assert_eq!(verdicts, ["failed scanner-unavailable", "failed not-found", "invalid bad-name"]);
        assert_eq!(output.status.code(), Some(2));
        assert!(found[0].1.contains("codeguru-security"), "{}", found[0].1);
        assert!(world.files("out/approved").is_empty());
        let output = world.gate(&["explain", "good", "--out", "out"]);
        assert!(String::from_utf8(output.stdout).unwrap().contains("failed"));

        let output = run(&world, &[], "");
        assert_eq!(rows(&output)[0].0, "approved no-finding", "it is off by default");
        assert!(output.stderr.is_empty());
    }

    #[test]
    fn a_scanner_that_cannot_even_be_asked_is_said_at_once() {
        for lacking in ["AWS_REGION", "AWS_ACCESS_KEY_ID"] {
            let world = world();
            let output = run(&world, &SWITCH, lacking);
            let words = String::from_utf8_lossy(&output.stderr);
            assert!(words.contains("error: codeguru-security") && words.contains(lacking), "{words}");
            assert_eq!(output.status.code(), Some(2));
            assert!(output.stdout.is_empty() && !world.out().exists() && world.asked().is_empty());
        }
    }
}
