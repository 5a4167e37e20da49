//! Where the gate may connect.

use std::process::Command;
use std::sync::atomic::Ordering;

use gate_core::failure::FailureCode;
use gate_core::ports::{Downloader as _, Origin};
use url::Url;

use crate::world::{LOOPBACK, Server, World, always, answer, archive, ok};

/// Addresses that no row may reach. Each is tried as a literal and as what a name resolves to.
const NOT_PUBLIC: &[&str] = &[
    "0.0.0.0",
    "0.0.0.1",
    "10.0.0.1",
    "10.255.255.255",
    "100.64.0.1",
    "100.100.100.200",
    "100.127.255.255",
    "127.0.0.1",
    "127.1.2.3",
    "127.255.255.254",
    "169.254.0.1",
    "169.254.169.254",
    "169.254.170.2",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.1",
    "192.0.0.192",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.0.1",
    "192.168.255.255",
    "198.18.0.1",
    "198.19.255.255",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "168.63.129.16",
    "::",
    "::1",
    "::7f00:1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:169.254.169.254",
    "::ffff:0:127.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b::a00:1",
    "64:ff9b:1::808:808",
    "2001::1",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    "2001:db8::1",
    "2002:7f00:1::",
    "2002:a9fe:a9fe::",
    "2002:808:808::1",
    "2607:f8b0::5efe:7f00:1",
    "3fff::1",
    "100::1",
    "fc00::1",
    "fd00::1",
    "fd00:ec2::254",
    "fd00:ec2::23",
    "fd20:ce::254",
    "fe80::1",
    "febf::1",
    "fec0::1",
    "ff02::1",
    "ff0e::1",
];

/// Further spellings of hosts and schemes that no row may reach.
const SPELLINGS: &[&str] = &[
    "https://2130706433/a.zip",
    "https://0x7f000001/a.zip",
    "https://0x7f.1/a.zip",
    "https://0x7f.0x0.0x0.0x1/a.zip",
    "https://0177.0.0.1/a.zip",
    "https://017700000001/a.zip",
    "https://127.1/a.zip",
    "https://127.0.1/a.zip",
    "https://127.0.0.1./a.zip",
    "https://0/a.zip",
    "https://0x0/a.zip",
    "https://2852039166/a.zip",
    "https://0xa9fea9fe/a.zip",
    "https://0251.0376.0251.0376/a.zip",
    "https://169.254.43518/a.zip",
    "https://%31%32%37.0.0.1/a.zip",
    "https://127%2e0%2e0%2e1/a.zip",
    "https://１２７.０.０.１/a.zip",
    "https://127。0。0。1/a.zip",
    "https://①②⑦.⓪.⓪.①/a.zip",
    "https://[::ffff:7f00:1]/a.zip",
    "https://[0:0:0:0:0:ffff:7f00:0001]/a.zip",
    "https://[0000::0001]/a.zip",
    "https://[::ffff:a9fe:a9fe]/a.zip",
    "https://[64:ff9b::169.254.169.254]/a.zip",
    "https:127.0.0.1/a.zip",
    "https:\\\\127.0.0.1\\a.zip",
    "https:///127.0.0.1/a.zip",
    "https://\t127.0.0.1/a.zip",
    "HTTPS://127.0.0.1/a.zip",
    "https://public.example@127.0.0.1/a.zip",
    "https://127.0.0.1#@public.example/a.zip",
    "https://127.0.0.1?@public.example/a.zip",
    "https://127.0.0.1\\@public.example/a.zip",
    "https://user@public.example/a.zip",
    "https://:pw@public.example/a.zip",
    "https://public.example:80/a.zip",
    "https://public.example:8443/a.zip",
    "https://public.example:22/a.zip",
    "https://public.example:0/a.zip",
    "http://public.example/a.zip",
    "http://public.example:443/a.zip",
    "http://127.0.0.1/a.zip",
    "ftp://public.example/a.zip",
    "file:///etc/passwd",
    "file://public.example/a.zip",
    "gopher://public.example/a.zip",
    "data:application/zip;base64,UEsDBA==",
    "s3://bucket/a.zip",
    "jar:https://public.example/a.zip!/x",
    "unix:/run/docker.sock",
    "ws://public.example/a.zip",
    "wss://public.example/a.zip",
    "javascript:1",
    "blob:https://x/y",
    "https://[fe80::1%25eth0]/a.zip",
    "https://[::1%25lo]/a.zip",
    "https://127.0.0.1:443/a.zip",
];

#[tokio::test]
async fn no_spelling_reaches_what_is_not_public() {
    let world = World::new();
    // Had a spelling above been read as this host, it would fail as unreachable, not as refused.
    world.names.set("public.example", &[&[]]);
    let mut tried = 0;
    let mut check = async |text: String| {
        tried += 1;
        // What is no URL at all cannot be dialled either.
        if let Ok(url) = Url::parse(&text) {
            for origin in [Origin::Row, Origin::Index] {
                let failure = world.downloader().download(&url, origin, None).await.unwrap_err();
                assert_eq!(failure.code, FailureCode::AddressNotAllowed, "{text} {origin:?}: {failure}");
            }
        }
    };
    for address in NOT_PUBLIC {
        let literal = if address.contains(':') { format!("[{address}]") } else { (*address).to_owned() };
        check(format!("https://{literal}/a.zip")).await;
        world.names.set("sneaky.example", &[&[address]]);
        check("https://sneaky.example/a.zip".to_owned()).await;
    }
    for text in SPELLINGS {
        check((*text).to_owned()).await;
    }
    assert!(tried >= 120, "{tried}");
}

#[tokio::test]
async fn one_bad_address_refuses_the_name() {
    let mut world = World::new();
    let server = world.serve("files.example", always(ok(&archive(600)))).await;
    let url = server.url("/a.zip");
    for bad in ["10.0.0.1", "127.0.0.2", "169.254.169.254", "::1"] {
        for answer in [["127.0.0.1", bad], [bad, "127.0.0.1"]] {
            world.names.set("files.example", &[&answer]);
            assert_eq!(world.code(&url).await, FailureCode::AddressNotAllowed, "{answer:?}");
        }
    }
    assert_eq!(server.dials(), 0);
    world.names.set("files.example", &[&["127.0.0.1", "127.0.0.1"]]);
    world.get(&url).await.unwrap();
}

#[tokio::test]
async fn a_rule_lists_one_host_one_network_and_its_ports() {
    let mut world = World::new();
    let server = world.serve_unlisted("files.example", always(ok(&archive(600)))).await;
    let url = server.url("/a.zip");
    let port = server.port;
    for (host, cidr, ports) in [
        ("other.example", "127.0.0.0/8", vec![port]),
        ("example", "127.0.0.0/8", vec![port]),
        ("*.example", "127.0.0.0/8", vec![port]),
        ("files.example", "127.0.0.2/32", vec![port]),
        ("files.example", "10.0.0.0/8", vec![port]),
        ("files.example", "127.0.0.0/8", vec![]),
        ("files.example", "127.0.0.0/8", vec![port ^ 1]),
    ] {
        world.network.clear();
        world.allow(host, cidr, &ports);
        assert_eq!(world.code(&url).await, FailureCode::AddressNotAllowed, "{host} {cidr} {ports:?}");
    }
    assert_eq!(server.dials(), 0);
    world.network.clear();
    world.allow("FILES.Example", "127.0.0.0/8", &[port]);
    world.get(&url).await.unwrap();
}

#[tokio::test]
async fn metadata_and_link_local_cannot_be_listed() {
    let mut world = World::new();
    for (name, address) in [
        ("a.example", "169.254.169.254"),
        ("b.example", "fe80::1"),
        ("c.example", "fd00:ec2::254"),
        ("d.example", "100.100.100.200"),
        ("e.example", "::ffff:169.254.169.254"),
        ("f.example", "64:ff9b::a9fe:a9fe"),
        ("g.example", "0.0.0.0"),
        ("h.example", "224.0.0.1"),
    ] {
        world.names.set(name, &[&[address]]);
        world.allow(name, "0.0.0.0/0", &[]);
        world.allow(name, "::/0", &[]);
        let (code, message) = world.refused(&format!("https://{name}/a.zip")).await;
        assert_eq!(code, FailureCode::AddressNotAllowed, "{address}");
        assert!(message.contains("no setting allows it"), "{message}");
        // The same when it is the index itself.
        world.index = Some(format!("https://{name}/simple"));
        let url = format!("https://{name}/simple/a/").parse().unwrap();
        let failure = world.downloader().download(&url, Origin::Index, None).await.unwrap_err();
        assert_eq!(failure.code, FailureCode::AddressNotAllowed, "{address}");
    }
}

/// The answer flips with every query. The judged address is the dialled one, looked up once.
#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_flips_is_looked_up_once_and_dialled_where_it_was_judged() {
    const FLIPS: usize = 1000;
    /// Every so many answers one is good.
    const GOOD: usize = 10;
    let mut world = World::new();
    let good = answer("200 OK", "connection: close\r\n", &archive(600));
    let tls = world.authority.acceptor("flip.example", |_| {});
    let server = Server::listen("127.0.0.2:0".parse().unwrap(), "flip.example", Some(tls), always(good)).await;
    let victim =
        Server::listen(([127, 0, 0, 1], server.port).into(), "flip.example", None, always(ok(&archive(9)))).await;
    world.allow("flip.example", "127.0.0.2/32", &[server.port]);
    let flips: Vec<&[&str]> =
        (0..FLIPS).map(|n| if n % GOOD == 0 { &["127.0.0.2"][..] } else { &["127.0.0.1"][..] }).collect();
    world.names.set("flip.example", &flips);
    let downloader = world.downloader();
    let url = server.url("/a.zip").parse().unwrap();
    for n in 0..FLIPS {
        let result = downloader.download(&url, Origin::Row, None).await;
        match n % GOOD {
            0 => assert!(result.is_ok(), "{n}: {result:?}"),
            _ => assert_eq!(result.unwrap_err().code, FailureCode::AddressNotAllowed, "{n}"),
        }
    }
    assert_eq!(world.names.lookups.load(Ordering::Relaxed), FLIPS);
    assert_eq!(server.dials(), FLIPS / GOOD);
    assert_eq!(victim.dials(), 0);
}

#[tokio::test]
async fn a_name_without_an_address_is_unreachable() {
    let world = World::new();
    world.names.set("empty.example", &[&[]]);
    for url in ["https://empty.example/a.zip", "https://unknown.example/a.zip"] {
        let (code, message) = world.refused(url).await;
        assert_eq!(code, FailureCode::Unreachable);
        assert!(message.contains(".example") && message.contains("try again"), "{message}");
    }
}

/// Says that the child below really ran.
const DONE: &str = "the download passed no proxy";

/// Run by the test after it, with every proxy variable set.
#[tokio::test]
async fn child_downloads_while_proxies_are_set() {
    let mut world = World::new();
    let server = world.serve("files.example", always(ok(&archive(600)))).await;
    world.get(&server.url("/a.zip")).await.unwrap();
    assert_eq!(server.dials(), 1);
    println!("{DONE}");
}

#[tokio::test]
async fn proxies_from_the_environment_are_not_used() {
    let proxy = Server::listen(LOOPBACK, "proxy.example", None, always(ok(&archive(9)))).await;
    let address = format!("http://127.0.0.1:{}", proxy.port);
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "network::child_downloads_while_proxies_are_set", "--nocapture"]);
    for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
        child.env(name, &address).env(name.to_lowercase(), &address);
    }
    child.env_remove("NO_PROXY").env_remove("no_proxy");
    let output = tokio::task::spawn_blocking(move || child.output().unwrap()).await.unwrap();
    assert!(String::from_utf8_lossy(&output.stdout).contains(DONE), "{output:?}");
    assert_eq!(proxy.dials(), 0);
}
