//! What is found in what was fetched.

use gate_archive::forge;

use crate::world::World;

/// A wheel with one more file, asked for by a row.
fn verdict(path: &str, content: impl AsRef<[u8]>) -> String {
    let world = World::new();
    let wheel = forge::wheel("alpha", "1.0").file("alpha/__init__.py", "").file(path, content);
    world.release("alpha", &wheel.filename(), wheel.build(), "");
    world.check("alpha,pkg:pypi/alpha@1.0\n").row(1)
}

#[test]
fn dangerous_content_is_refused() {
    let exec = "import base64\nexec(base64.b64decode('cHJpbnQoMSk='))\n";
    assert_eq!(verdict("alpha/a.py", exec), "refused malware");
    assert_eq!(verdict("alpha/weights.dat", b"cos\nsystem\n(S'id'\ntR."), "refused pickle");
}

#[test]
fn what_cannot_be_checked_is_held() {
    assert_eq!(verdict("alpha/a.py", "def broken(:\n"), "held lost-unparsable");
    let bomb = format!("x = {}1\n", "not ".repeat(400_000));
    assert!(verdict("alpha/bomb.py", bomb).starts_with("held lost-"));
}

#[test]
fn one_parser_bomb_does_not_stop_the_other_rows() {
    let world = World::new();
    let bomb = format!("x = {}1\n", "-".repeat(900_000));
    let bomb = forge::wheel("bomb", "1.0").file("bomb/__init__.py", bomb);
    world.release("bomb", &bomb.filename(), bomb.build(), "");
    let good = forge::wheel("good", "1.0").file("good/__init__.py", "");
    world.release("good", &good.filename(), good.build(), "");
    let checked = world.check("bomb,pkg:pypi/bomb@1.0\ngood,pkg:pypi/good@1.0\n");
    assert!(checked.row(1).starts_with("held lost-"), "{}", checked.row(1));
    assert_eq!(checked.row(2), "approved no-finding");
}

#[test]
fn hostile_and_mislabelled_archives_are_refused() {
    let world = World::new();
    let traversal = forge::wheel("alpha", "1.0").file("../outside.py", "");
    world.release("alpha", "alpha-1.0-py3-none-any.whl", traversal.build(), "");
    let impostor = forge::wheel("other", "1.0").file("other/__init__.py", "");
    world.release("beta", "beta-1.0-py3-none-any.whl", impostor.build(), "");
    let checked = world.check("alpha,pkg:pypi/alpha@1.0\nbeta,pkg:pypi/beta@1.0\n");
    assert_eq!(checked.row(1), "refused archive");
    assert_eq!(checked.row(2), "refused identity");
    assert!(!world.path("outside.py").exists());
}

#[test]
fn a_page_instead_of_an_archive_is_named_for_what_it_is() {
    let world = World::new();
    world.release("alpha", "alpha-1.0-py3-none-any.whl", b"<!DOCTYPE html><p>log in</p>".to_vec(), "");
    let checked = world.check("alpha,pkg:pypi/alpha@1.0\n");
    assert_eq!(checked.row(1), "failed not-an-archive");
    assert!(checked.message(1).contains("an HTML page"), "{}", checked.message(1));
    assert!(world.files("out/quarantine").is_empty());
}
