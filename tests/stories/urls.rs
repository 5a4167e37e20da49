//! Rows that name a URL: on a company's file server, which the policy lists with its port.

use gate_archive::forge;
use gate_core::digest::Sha256;

use crate::world::World;

fn asset() -> Vec<u8> {
    forge::Zip::new().file("tool-main/tool.py", "ANSWER = 42\n").file("tool-main/README.md", "# Tool\n").build()
}

#[test]
fn an_archive_that_is_no_distribution_is_a_generic_asset() {
    let world = World::new();
    let digest = Sha256::of(&asset());
    world.serve("o/tool/archive/refs/heads/main.zip", asset());
    let checked = world.check(format!("tool,{}\n", world.url("o/tool/archive/refs/heads/main.zip")));
    assert_eq!((checked.status, checked.row(1).as_str()), (0, "approved no-finding"));
    assert_eq!(checked.value(1)["coordinates"], format!("pkg:generic/tool@{}", digest.short()));
    assert!(checked.codes(1).contains(&"moving-source".to_owned()));
    assert!(world.files("out/approved/generic/tool").iter().any(|file| file.ends_with("main.zip")));
}

#[test]
fn a_pinned_row_is_downloaded_once() {
    let world = World::new();
    world.serve("asset.zip", asset());
    let request = format!("tool,{},{}\n", world.url("asset.zip"), Sha256::of(&asset()));
    assert_eq!(world.check(&request).row(1), "approved no-finding");
    assert!(!world.asked().is_empty());
    assert_eq!(world.check(&request).row(1), "approved no-finding");
    assert_eq!(world.asked(), Vec::<String>::new());
}

#[test]
fn other_bytes_than_the_pinned_ones_fail() {
    let world = World::new();
    world.serve("asset.zip", asset());
    let checked = world.check(format!("tool,{},{}\n", world.url("asset.zip"), Sha256::of(b"other")));
    assert_eq!(checked.row(1), "failed digest-mismatch");
    assert!(world.files("out/quarantine").is_empty());
}

#[test]
fn a_port_that_the_policy_does_not_list_is_not_asked() {
    let world = World::new();
    world.serve("asset.zip", asset());
    std::fs::write(world.path("policy.toml"), "schema_version = 1\nrefuse_at = \"medium\"\n").unwrap();
    assert_eq!(world.check(format!("tool,{}\n", world.url("asset.zip"))).row(1), "failed address-not-allowed");
    assert_eq!(world.asked(), Vec::<String>::new());
}

#[test]
fn a_host_that_the_policy_does_not_name_is_invalid() {
    let world = World::new();
    world.policy("[sources]\nhosts = [\"files.example\"]");
    assert_eq!(world.check(format!("tool,{}\n", world.url("asset.zip"))).row(1), "invalid source-host-not-allowed");
    assert_eq!(world.asked(), Vec::<String>::new());
}

#[test]
fn a_url_whose_bytes_change_does_not_touch_another_rows_release() {
    let world = World::new();
    let wheel = forge::wheel("beta", "1.0").file("beta/__init__.py", "");
    let (filename, bytes) = (wheel.filename(), wheel.build());
    world.release("beta", &filename, bytes.clone(), "");
    assert_eq!(world.check("beta,pkg:pypi/beta@1.0\n").row(1), "approved no-finding");

    let evil =
        forge::wheel("beta", "1.0").file("beta/__init__.py", "import base64\nexec(base64.b64decode('cHJpbnQoMSk='))\n");
    world.serve(&format!("mine/{filename}"), bytes);
    let request = format!("beta,{}\n", world.url(&format!("mine/{filename}")));
    assert_eq!(world.check(&request).row(1), "approved no-finding");
    world.serve(&format!("mine/{filename}"), evil.build());
    assert_eq!(world.check(&request).row(1), "refused malware");
    assert!(!world.files("out/approved").iter().any(|file| file.ends_with("withdrawn.json")));
}

#[test]
fn what_is_published_is_withdrawn_even_if_the_ledger_lost_its_approval() {
    let world = World::new();
    let wheel = forge::wheel("beta", "1.0").file("beta/__init__.py", "def f(c):\n    eval(c)\n");
    world.release("beta", &wheel.filename(), wheel.build(), "");
    assert_eq!(world.check("beta,pkg:pypi/beta@1.0\n").row(1), "approved no-finding");
    // As if the program had been killed between publishing and writing the decision down.
    std::fs::remove_dir_all(world.out().join("decisions")).unwrap();
    world.policy("[thresholds]\ncode = \"info\"");
    assert!(world.check("beta,pkg:pypi/beta@1.0.0\n").row(1).starts_with("refused code"));
    assert!(world.files("out/approved").iter().any(|file| file.ends_with("withdrawn.json")));
    let again = world.check("beta,pkg:pypi/beta@1.0.0\n");
    assert!(again.codes(1).contains(&"withdrawn".to_owned()));
    assert_eq!(world.files("out/outbox").len(), 2);
}
