//! What comes out: the approved index, the ledger, mails, and the same again on a second run.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use gate_archive::forge;
use gate_core::digest::Sha256;

use crate::world::World;

fn wheel(name: &str, version: &str) -> (String, Vec<u8>) {
    let wheel = forge::wheel(name, version).file(&format!("{name}/__init__.py"), format!("NAME = '{name}'\n"));
    (wheel.filename(), wheel.build())
}

fn world_with_alpha() -> (World, Sha256) {
    let world = World::new();
    let (filename, bytes) = wheel("alpha", "1.0");
    let digest = Sha256::of(&bytes);
    world.release("alpha", &filename, bytes, "data-upload-time=\"2024-01-02T03:04:05Z\"");
    (world, digest)
}

#[test]
fn a_second_run_downloads_nothing_scans_nothing_and_writes_no_second_mail() {
    let (world, digest) = world_with_alpha();
    let request = format!("alpha,pkg:pypi/alpha@1.0,{digest},jane@corp.example\n");
    world.check(&request);
    let files = world.files("out");
    let reports = world.files("out/reports");
    assert_eq!(reports.len(), 1);
    let scanned = std::fs::metadata(world.out().join("reports").join(&reports[0])).unwrap().modified().unwrap();
    world.asked();

    let again = world.check(&request);
    assert_eq!(again.row(1), "approved no-finding");
    assert!(!world.asked().iter().any(|path| path.starts_with("/files/")));
    assert_eq!(world.files("out"), files);
    let rescanned = std::fs::metadata(world.out().join("reports").join(&reports[0])).unwrap().modified().unwrap();
    assert_eq!(scanned, rescanned);
}

#[test]
fn damaged_bytes_are_never_published_and_heal() {
    for damage in [|bytes: &mut Vec<u8>| bytes[40] ^= 1, |bytes: &mut Vec<u8>| bytes.truncate(40)] {
        let (world, _) = world_with_alpha();
        world.check("alpha,pkg:pypi/alpha@1.0\n");
        let stored = world.out().join("quarantine").join(&world.files("out/quarantine")[0]);
        let mut bytes = std::fs::read(&stored).unwrap();
        damage(&mut bytes);
        std::fs::write(&stored, bytes).unwrap();
        std::fs::remove_dir_all(world.out().join("approved")).unwrap();
        assert!(world.check("alpha,pkg:pypi/alpha@1.0\n").row(1).starts_with("failed "));
        assert!(world.files("out/approved").is_empty());
        assert_eq!(world.check("alpha,pkg:pypi/alpha@1.0\n").row(1), "approved no-finding");
    }
}

#[test]
fn a_digest_approved_under_one_name_is_not_approved_under_another() {
    let (world, digest) = world_with_alpha();
    let (filename, bytes) = wheel("alpha", "1.0");
    world.release("beta", &filename.replace("alpha", "beta"), bytes, "");
    let checked = world.check(format!("alpha,pkg:pypi/alpha@1.0\nbeta,pkg:pypi/beta@1.0,{digest}\n"));
    assert_eq!([checked.row(1), checked.row(2)], ["approved no-finding", "refused identity"]);
}

#[test]
fn a_new_advisory_bites_at_once_and_withdraws() {
    let (world, _) = world_with_alpha();
    assert_eq!(world.check("alpha,pkg:pypi/alpha@1.0\n").row(1), "approved no-finding");
    let place = "pypi/alpha/1.0";
    let published = [format!("{place}/files/alpha-1.0-py3-none-any.whl"), format!("{place}/release.json")];
    assert_eq!(
        world.files("out/approved").iter().filter(|file| file.starts_with("pypi")).collect::<Vec<_>>(),
        published.iter().collect::<Vec<_>>()
    );

    std::fs::create_dir(world.path("osv")).unwrap();
    let advisory = r#"{"id":"PYSEC-2026-1","modified":"2026-11-01T00:00:00Z","summary":"alpha runs anything",
        "severity":[{"type":"CVSS_V3","score":"CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"}],
        "affected":[{"package":{"ecosystem":"PyPI","name":"alpha"},
        "ranges":[{"type":"ECOSYSTEM","events":[{"introduced":"0"},{"fixed":"1.1"}]}]}]}"#;
    std::fs::write(world.path("osv/PYSEC-2026-1.json"), advisory).unwrap();
    world.asked();
    let checked = world.check_with("alpha,pkg:pypi/alpha@1.0\n", &["--advisories", "osv"]);
    assert_eq!(checked.row(1), "refused advisory");
    assert!(checked.message(1).contains("1.1"), "{}", checked.message(1));
    assert!(checked.codes(1).contains(&"withdrawn".to_owned()));
    assert!(!world.asked().iter().any(|path| path.starts_with("/files/")));
    assert!(world.files("out/approved").iter().any(|file| file.ends_with("withdrawn.json")));
}

#[test]
fn missing_dependencies_are_listed_as_rows_to_add() {
    let world = World::new();
    let needy = forge::wheel("needy", "1.0").file("needy/__init__.py", "").requires("alpha>=1.0,<2");
    world.release("needy", &needy.filename(), needy.build(), "");
    for version in ["0.9", "1.0", "1.5", "2.0"] {
        let (filename, bytes) = wheel("alpha", version);
        world.release("alpha", &filename, bytes, "");
    }
    let checked = world.check("needy,pkg:pypi/needy@1.0\n");
    assert_eq!(checked.status, 0);
    let note =
        checked.value(1)["reasons"].as_array().unwrap().iter().find(|reason| reason["code"] == "dependency-missing");
    assert!(note.unwrap()["message"].as_str().unwrap().contains("alpha,pkg:pypi/alpha@1.5"), "{note:?}");

    let closed = world.check("needy,pkg:pypi/needy@1.0\nalpha,pkg:pypi/alpha@1.5\n");
    assert!(!closed.codes(1).contains(&"dependency-missing".to_owned()));
}

#[test]
fn a_set_is_published_whole_or_not_at_all() {
    let world = World::new();
    let tagged = |tag: &str, content: &str| {
        let wheel = forge::wheel("alpha", "1.0").tag(tag).file("alpha/__init__.py", content);
        world.release("alpha", &wheel.filename(), wheel.build(), "");
    };
    tagged("cp312-cp312-manylinux_2_17_x86_64", "");
    tagged("cp313-cp313-manylinux_2_17_x86_64", "import base64\nexec(base64.b64decode('cHJpbnQoMSk='))\n");
    let checked = world.check("alpha,pkg:pypi/alpha@1.0\n");
    assert_eq!(checked.row(1), "refused malware");
    assert_eq!(checked.value(1)["artifacts"].as_array().unwrap().len(), 2);
    assert!(world.files("out/approved").is_empty());
}

#[test]
fn yanked_releases_are_held() {
    let world = World::new();
    let (filename, bytes) = wheel("alpha", "1.0");
    world.release("alpha", &filename, bytes, "data-yanked=\"broken\"");
    assert_eq!(world.check("alpha,pkg:pypi/alpha@1.0\n").row(1), "held yanked");
}

#[test]
fn each_requester_gets_one_mail_a_run() {
    let (world, _) = world_with_alpha();
    let (filename, bytes) = wheel("beta", "1.0");
    world.release("beta", &filename, bytes, "");
    world.check(
        "alpha,pkg:pypi/alpha@1.0,,jane@corp.example\nbeta,pkg:pypi/beta@1.0,,jane@corp.example\ngone,pkg:pypi/gone@1,,joe@corp.example\n",
    );
    let mails: Vec<_> = world
        .files("out/outbox")
        .iter()
        .map(|file| std::fs::read_to_string(world.out().join("outbox").join(file)).unwrap())
        .collect();
    let to = |address: &str| mails.iter().filter(|mail| mail.contains(address)).collect::<Vec<_>>();
    assert_eq!((to("jane@corp.example").len(), to("joe@corp.example").len()), (1, 1));
    let jane = to("jane@corp.example")[0];
    assert!(jane.contains("alpha") && jane.contains("beta") && !jane.contains("gone"), "{jane}");
}

#[test]
fn the_index_serves_what_is_approved_and_nothing_else() {
    let (world, digest) = world_with_alpha();
    let bad =
        forge::wheel("bad", "1.0").file("bad/__init__.py", "import base64\nexec(base64.b64decode('cHJpbnQoMSk='))\n");
    world.release("bad", &bad.filename(), bad.build(), "");
    world.check("alpha,pkg:pypi/alpha@1.0\nbad,pkg:pypi/bad@1.0\n");

    let server = Server::of(&world);
    let base = &server.base;
    let page = get(&format!("{base}simple/alpha/"), "text/html");
    let json = get(&format!("{base}simple/alpha/"), "application/vnd.pypi.simple.v1+json");
    let file = get(&format!("{base}packages/alpha/1.0/alpha-1.0-py3-none-any.whl"), "*/*");
    let answers = [
        "simple/bad/",
        "packages/bad/1.0/bad-1.0-py3-none-any.whl",
        "packages/alpha/1.0/release.json",
        "packages/alpha/../../pypi/alpha/1.0/release.json",
    ]
    .map(|path| get(&format!("{base}{path}"), "*/*").0);
    assert!(page.1.contains(&format!("#sha256={digest}")), "{}", page.1);
    assert!(json.1.contains("\"upload-time\":\"2024-01-02T03:04:05Z\""), "{}", json.1);
    assert_eq!(file.0, 200);
    assert_eq!(answers, [404; 4]);
}

/// `gate serve` over the world's output folder, until it is dropped.
struct Server {
    process: Child,
    /// `http://127.0.0.1:PORT/`
    base: String,
}

impl Server {
    fn of(world: &World) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_gate"))
            .args(["serve", "--port", "0", "--out"])
            .arg(world.out())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.split_whitespace().find(|word| word.starts_with("http://")).unwrap();
        Self { process, base: address.trim_end_matches("simple/").to_owned() }
    }

    fn get(&self, path: &str) -> (u16, String) {
        get(&format!("{}{path}", self.base), "*/*")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

/// A GET over plain HTTP: status, and the whole answer as text.
fn get(url: &str, accept: &str) -> (u16, String) {
    ask("GET", url, accept)
}

fn ask(method: &str, url: &str, accept: &str) -> (u16, String) {
    use std::io::{Read as _, Write as _};
    let (host, path) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let mut stream = std::net::TcpStream::connect(host).unwrap();
    write!(stream, "{method} /{path} HTTP/1.0\r\nHost: {host}\r\nAccept: {accept}\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let text = String::from_utf8_lossy(&answer).into_owned();
    (text.split(' ').nth(1).unwrap().parse().unwrap(), text)
}

#[test]
fn the_index_speaks_the_form_that_the_client_asks_for() {
    let (world, _) = world_with_alpha();
    world.check("alpha,pkg:pypi/alpha@1.0\n");
    let server = Server::of(&world);
    for path in ["simple/", "simple/alpha/"] {
        for (accept, content_type) in [
            ("application/vnd.pypi.simple.v1+html", "application/vnd.pypi.simple.v1+html\r\n"),
            ("application/vnd.pypi.simple.v1+json, text/html;q=0.01", "application/vnd.pypi.simple.v1+json\r\n"),
            ("text/html,application/xml;q=0.9,*/*;q=0.8", "text/html; charset=utf-8\r\n"),
        ] {
            for method in ["GET", "HEAD"] {
                let (status, answer) = ask(method, &format!("{}{path}", server.base), accept);
                assert_eq!(status, 200);
                assert!(answer.contains(&format!("content-type: {content_type}")), "{accept} {answer}");
                assert!(answer.contains("vary: Accept\r\n"), "{answer}");
                let body = answer.split_once("\r\n\r\n").unwrap().1;
                assert_eq!(body.contains("alpha"), method == "GET", "{answer}");
            }
        }
        assert_eq!(get(&format!("{}{path}", server.base), "image/png").0, 406);
    }
    let wheel = format!("{}packages/alpha/1.0/alpha-1.0-py3-none-any.whl", server.base);
    let length = |answer: &str| answer.lines().find(|line| line.starts_with("content-length: ")).unwrap().to_owned();
    let (head, whole) = (ask("HEAD", &wheel, "*/*").1, get(&wheel, "*/*").1);
    assert!(head.ends_with("\r\n\r\n") && length(&head) == length(&whole), "{head}");
    assert!(server.get("simple/Alpha").1.contains("location: /simple/alpha/\r\n"));
}

#[test]
fn damaged_packages_are_not_served_and_the_next_run_repairs_them() {
    let (world, _) = world_with_alpha();
    let request = "alpha,pkg:pypi/alpha@1.0\n";
    world.check(request);
    let file = world.out().join("approved/pypi/alpha/1.0/files/alpha-1.0-py3-none-any.whl");
    let bytes = std::fs::read(&file).unwrap();
    let server = Server::of(&world);
    let mut changed = bytes.clone();
    changed[40] ^= 1;
    std::fs::write(&file, changed).unwrap();
    let later = std::time::SystemTime::now() + std::time::Duration::from_secs(1);
    std::fs::File::options().write(true).open(&file).unwrap().set_modified(later).unwrap();
    let path = "packages/alpha/1.0/alpha-1.0-py3-none-any.whl";
    assert_eq!(server.get(path).0, 500);
    assert_eq!(world.check(request).row(1), "approved no-finding");
    assert_eq!((server.get(path).0, std::fs::read(&file).unwrap() == bytes), (200, true));

    std::fs::remove_file(&file).unwrap();
    assert_eq!(server.get(path).0, 500);
    assert_eq!(world.check(request).row(1), "approved no-finding");
    assert_eq!(server.get(path).0, 200);
}

#[test]
fn a_wheel_that_is_uploaded_later_joins_its_release() {
    let world = World::new();
    let tagged = |python: &str| {
        let tag = format!("{python}-{python}-manylinux_2_17_x86_64");
        let wheel = forge::wheel("alpha", "1.0").tag(&tag).file("alpha/__init__.py", format!("ON = '{python}'\n"));
        world.release("alpha", &wheel.filename(), wheel.build(), "");
    };
    let server = Server::of(&world);
    let listed = || server.get("simple/alpha/").1.matches("#sha256=").count();
    tagged("cp312");
    assert_eq!(world.check("alpha,pkg:pypi/alpha@1.0\n").row(1), "approved no-finding");
    assert_eq!(listed(), 1);
    tagged("cp313");
    assert_eq!(world.check("alpha,pkg:pypi/alpha@1.0\n").row(1), "approved no-finding");
    assert_eq!(listed(), 2);
}

#[test]
fn archives_that_are_no_distributions_are_listed_and_may_be_called_like_a_record() {
    let world = World::new();
    let zip = forge::Zip::new().file("data/readme.txt", "nothing but text\n").build();
    let digest = Sha256::of(&zip);
    world.serve("files/release.json", zip);
    let checked = world.check(format!("Data,{}\n", world.url("files/release.json")));
    assert_eq!(checked.row(1), "approved no-finding");
    let server = Server::of(&world);
    assert!(server.get("generic/").1.contains("/generic/data/"));
    let page = server.get("generic/data/").1;
    let link = format!("generic/data/{}/release.json", digest.short());
    assert!(page.contains(&link) && page.contains(&digest.to_string()), "{page}");
    assert!(server.get(&link).1.contains("PK"));
    assert_eq!(server.get("generic/other/").0, 404);
    assert!(!server.get("simple/").1.contains("data"));
}

#[test]
fn epochs_and_local_versions_can_be_downloaded() {
    let world = World::new();
    let (filename, bytes) = wheel("alpha", "1!2.0+local");
    world.release("alpha", &filename, bytes, "");
    assert_eq!(world.check("alpha,pkg:pypi/alpha@1!2.0+local\n").row(1), "approved no-finding");
    let server = Server::of(&world);
    let page = server.get("simple/alpha/").1;
    let link = page.split("href=\"/").nth(1).unwrap().split('#').next().unwrap();
    assert_eq!(link, "packages/alpha/1%212.0%2Blocal/alpha-1%212.0%2Blocal-py3-none-any.whl");
    assert_eq!(server.get(link).0, 200);
}

#[test]
fn a_damaged_record_does_not_take_the_whole_index_down() {
    let (world, _) = world_with_alpha();
    let (filename, bytes) = wheel("beta", "1.0");
    world.release("beta", &filename, bytes, "");
    world.check("alpha,pkg:pypi/alpha@1.0\nbeta,pkg:pypi/beta@1.0\n");
    std::fs::write(world.out().join("approved/pypi/beta/1.0/release.json"), "{").unwrap();
    let server = Server::of(&world);
    let list = server.get("simple/");
    assert!(list.0 == 200 && list.1.contains("alpha") && !list.1.contains("beta"), "{}", list.1);
    assert_eq!((server.get("simple/alpha/").0, server.get("simple/beta/").0), (200, 500));
}
