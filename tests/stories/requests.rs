//! What is asked for: rows good and bad, and exit statuses.

use gate_archive::forge;

use crate::world::World;

fn wheel(world: &World, name: &str, version: &str) {
    let wheel = forge::wheel(name, version).file(&format!("{name}/__init__.py"), "ANSWER = 42\n");
    world.release(name, &wheel.filename(), wheel.build(), "");
}

#[test]
fn approved_rows_end_with_status_0() {
    let world = World::new();
    wheel(&world, "alpha", "1.0");
    let checked = world.check("name,url\nalpha,pkg:pypi/alpha@1.0\n");
    assert_eq!((checked.status, checked.row(2).as_str()), (0, "approved no-finding"));
    let row = checked.value(2);
    assert_eq!(row["coordinates"], "pkg:pypi/alpha@1.0");
    assert_eq!(row["artifacts"][0]["filename"], "alpha-1.0-py3-none-any.whl");
    assert!(checked.codes(2).contains(&"advisories-not-consulted".to_owned()));
}

#[test]
fn one_bad_row_of_each_kind_touches_no_other() {
    let world = World::new();
    wheel(&world, "alpha", "1.0");
    wheel(&world, "omega", "2.0");
    let request = b"alpha,pkg:pypi/alpha@1.0\n\
        ../../etc,pkg:pypi/x@1\n\
        beta,http://h.example/beta.zip\n\
        beta,https://user:secret-word@h.example/beta.zip\n\
        caf\xe9,pkg:pypi/cafe@1\n\
        \"open,pkg:pypi/open@1\n\
        \n\
        a,b,c,d,e\n\
        gone,pkg:pypi/gone@9\n\
        alpha,pkg:pypi/alpha@7.7\n\
        omega,pkg:pypi/omega@2.0\n";
    let checked = world.check(request);
    assert_eq!(checked.status, 2);
    let rows: Vec<_> = [1, 2, 3, 4, 5, 6, 8, 9, 10, 11].map(|line| checked.row(line)).into();
    assert_eq!(
        rows,
        [
            "approved no-finding",
            "invalid bad-name",
            "invalid bad-source",
            "invalid bad-source",
            "invalid not-utf8",
            "invalid bad-quoting",
            "invalid too-many-columns",
            "failed not-found",
            "failed not-found",
            "approved no-finding",
        ]
    );
    assert!(!checked.document.to_string().contains("secret-word"));
    for file in world.files("out") {
        let text = std::fs::read(world.out().join(&file)).unwrap();
        assert!(!text.windows(11).any(|window| window == b"secret-word"), "{file}");
    }
}

#[test]
fn a_request_that_cannot_be_read_ends_with_status_2_and_says_why() {
    let world = World::new();
    for (request, reason) in [(b"\xff\xfea\0".as_slice(), "UTF-16"), (b"name,url,colour\n", "'colour'")] {
        std::fs::write(world.path("request.csv"), request).unwrap();
        let output = world.gate(&["check", "request.csv", "--policy", "policy.toml"]);
        assert_eq!(output.status.code(), Some(2));
        assert!(String::from_utf8_lossy(&output.stderr).contains(reason));
    }
    let output = world.gate(&["check", "missing.csv"]);
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn identical_rows_share_an_outcome_and_conflicting_ones_are_invalid() {
    let world = World::new();
    wheel(&world, "alpha", "1.0");
    wheel(&world, "alpha", "1.1");
    let request = format!(
        "alpha,pkg:pypi/alpha@1.0\nAlpha,pkg:pypi/alpha@1.0\nalpha,pkg:pypi/alpha@1.1\nbeta,{a}\nbeta,{b}\n",
        a = "https://one.example/beta.zip",
        b = "https://two.example/beta.zip"
    );
    let checked = world.check(request);
    let rows: Vec<_> = [1, 2, 3, 4, 5].map(|line| checked.row(line)).into();
    let expected =
        ["approved no-finding", "approved same-as", "approved no-finding", "invalid conflict", "invalid conflict"];
    assert_eq!(rows, expected);
}

#[test]
fn rows_may_not_widen_the_network() {
    let world = World::new();
    for url in [
        "https://127.0.0.1/a.zip",
        "https://2130706433/a.zip",
        "https://[::1]/a.zip",
        "https://169.254.169.254/latest.zip",
        "https://10.0.0.1/a.zip",
    ] {
        let checked = world.check(format!("evil,{url}\n"));
        assert_eq!(checked.row(1), "failed address-not-allowed", "{url}");
    }
    assert!(world.asked().is_empty());
}

#[test]
fn policy_check_reports_every_fault_at_once() {
    let world = World::new();
    std::fs::write(world.path("bad.toml"), "refuse_at = \"Hgih\"\ncolour = 1\n").unwrap();
    let output = world.gate(&["policy", "check", "bad.toml"]);
    let text = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(2));
    for fault in ["refuse_at", "colour", "schema_version"] {
        assert!(text.contains(fault), "{text}");
    }
    assert_eq!(world.gate(&["policy", "check", "policy.toml"]).status.code(), Some(0));
    let refused = world.gate(&["check", "request.csv", "--policy", "bad.toml"]);
    assert_eq!(refused.status.code(), Some(2));
}
