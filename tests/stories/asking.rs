//! `gate scan` and `gate explain`, and what a terminal is shown.

use gate_archive::forge;

use crate::world::World;

const EXEC: &str = "import base64\nexec(base64.b64decode('cHJpbnQoMSk='))\n";

#[test]
fn scan_decides_one_archive_without_any_network() {
    let world = World::new();
    let good = forge::wheel("good", "1.0").file("good/__init__.py", "");
    let bad = forge::wheel("bad", "1.0").file("bad/__init__.py", EXEC);
    for (wheel, status) in [(good, 0), (bad, 1)] {
        let filename = wheel.filename();
        std::fs::write(world.path(&filename), wheel.build()).unwrap();
        let output = world.gate(&["scan", &filename, "--json"]);
        assert_eq!(output.status.code(), Some(status), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        let document: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(document["rows"].as_array().unwrap().len(), 1);
    }
    std::fs::write(world.path("page.zip"), "<html></html>").unwrap();
    assert_eq!(world.gate(&["scan", "page.zip"]).status.code(), Some(2));
    assert!(world.asked().is_empty());
    assert!(!world.path(".gate").exists());
}

#[test]
fn explain_tells_why_by_name_and_by_digest() {
    let world = World::new();
    let bad = forge::wheel("bad", "1.0").file("bad/__init__.py", EXEC);
    world.release("bad", &bad.filename(), bad.build(), "");
    let checked = world.check("bad,pkg:pypi/bad@1.0\n");
    let digest = checked.value(1)["artifacts"][0]["sha256"].as_str().unwrap().to_owned();
    for subject in ["Bad", &digest, &digest[..12]] {
        let output = world.gate(&["explain", subject, "--out", "out"]);
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(0), "{text}");
        assert!(text.contains("refused") && text.contains("bad/__init__.py:2"), "{text}");
    }
    assert_eq!(world.gate(&["explain", "unheard-of", "--out", "out"]).status.code(), Some(2));
    world.check("gone,pkg:pypi/gone@1\n");
    let output = world.gate(&["explain", "gone", "--out", "out"]);
    assert!(String::from_utf8(output.stdout).unwrap().contains("failed"));
}

#[test]
fn a_pipe_gets_plain_text_without_control_characters() {
    let world = World::new();
    let name = "evil\u{1b}[31m\u{202e}name";
    std::fs::write(world.path("request.csv"), format!("{name},pkg:pypi/x@1\n")).unwrap();
    let output = world.gate(&["check", "request.csv", "--policy", "policy.toml", "--out", "out"]);
    for text in [String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap()] {
        assert!(!text.contains(['\u{1b}', '\u{202e}']), "{text:?}");
    }
    let page = std::fs::read_to_string(world.out().join("report.html")).unwrap();
    assert!(!page.contains(['\u{1b}', '\u{202e}']));
    assert!(page.contains("\\u{202e}"));
}

#[test]
fn the_document_follows_its_schema() {
    let world = World::new();
    let good = forge::wheel("good", "1.0").file("good/__init__.py", "");
    world.release("good", &good.filename(), good.build(), "");
    let checked = world.check("good,pkg:pypi/good@1.0\n../x,y\ngone,pkg:pypi/gone@1\n");
    let schema = include_str!("../../docs/check.schema.json");
    let schema: serde_json::Value = serde_json::from_str(schema).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let faults: Vec<_> = validator.iter_errors(&checked.document).map(|error| error.to_string()).collect();
    assert_eq!(faults, Vec::<String>::new());
    let current = serde_json::to_value(schemars::schema_for!(gate_core::outcome::CheckDocument)).unwrap();
    assert_eq!(schema, current, "run `make schema` after changing the document");
}
