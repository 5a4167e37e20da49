//! Where the gate may connect. A URL is checked before anything is looked up, and every address before it is dialled.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use gate_core::failure::{Failure, FailureCode};
use gate_core::policy::NetworkRule;
use gate_core::ports::Origin;
use ipnet::IpNet;
use url::{Host, Url};

use crate::address::{Reach, canonical, reach};
use crate::index_url::IndexUrl;

/// Why a URL or an address is not allowed. The text is one plain sentence for the requester, not escaped yet; it names the
/// kind of address and not the address itself, which would tell what an internal name resolves to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Anything but https.
    #[error("{host} would be reached by {scheme}, which is not allowed; use an https URL")]
    Scheme {
        /// Where to.
        host: String,
        /// As in the URL.
        scheme: String,
    },
    /// `https://user:password@…`.
    #[error("the URL at {host} carries credentials, which are not sent; use a URL without them")]
    Credentials {
        /// Where to.
        host: String,
    },
    /// Another port than 443.
    #[error("port {port} of {host} is not allowed; use port 443, or ask the operator to list it under [network] allow")]
    Port {
        /// Where to.
        host: String,
        /// As in the URL.
        port: u16,
    },
    /// An address that is not public.
    #[error("{host} leads to {kind}, where the gate may not connect; {remedy}")]
    Address {
        /// Where to.
        host: String,
        /// What is wrong with the address.
        kind: &'static str,
        /// What can be done.
        remedy: &'static str,
    },
    /// A URL that names no host, or one that two parsers read differently.
    #[error("the URL names no host that can be looked up; use an https URL of a public host")]
    NoHost,
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::new(FailureCode::AddressNotAllowed, refusal.to_string())
    }
}

/// The rules of one run: the policy's `[network] allow` and the configured index.
#[derive(Debug)]
pub struct Guard {
    rules: Vec<Rule>,
    index: Option<Endpoint>,
    /// What the index's host has resolved to: its file links may go there too.
    index_addresses: Mutex<BTreeSet<IpAddr>>,
}

#[derive(Debug)]
struct Rule {
    host: Host,
    cidrs: Vec<IpNet>,
    ports: Vec<u16>,
}

#[derive(Debug, PartialEq, Eq)]
struct Endpoint {
    plain: bool,
    host: Host,
    port: u16,
}

const ASK_THE_OPERATOR: &str =
    "use a public host, or ask the operator to list this one with its network under [network] allow in the policy";
const NO_REMEDY: &str = "no setting allows it; use a public host";

impl Guard {
    /// The guard for a policy's network rules. The host of a rule is compared after the URL standard's normalisation; a rule
    /// whose host is not one matches nothing.
    #[must_use]
    pub fn new(network: &[NetworkRule], index: Option<&IndexUrl>) -> Self {
        let rules = network
            .iter()
            .filter_map(|rule| {
                Some(Rule { host: parse_host(&rule.host)?, cidrs: rule.cidrs.clone(), ports: rule.ports.clone() })
            })
            .collect();
        let index = index.and_then(|index| Endpoint::of(index.base()));
        Self { rules, index, index_addresses: Mutex::default() }
    }

    /// Checks scheme, credentials and port.
    ///
    /// # Errors
    /// Why the URL may not be fetched, whatever its host resolves to.
    pub fn check_url(&self, url: &Url, origin: Origin) -> Result<(), Refusal> {
        let host = url.host_str().unwrap_or("an unnamed host").to_owned();
        let scheme = || Refusal::Scheme { host: host.clone(), scheme: url.scheme().to_owned() };
        if !matches!(url.scheme(), "https" | "http") {
            return Err(scheme());
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Refusal::Credentials { host });
        }
        let endpoint = Endpoint::of(url).ok_or(Refusal::NoHost)?;
        let is_index = origin == Origin::Index && self.index.as_ref() == Some(&endpoint);
        // The address decides later that a plain index is on a listed loopback address.
        if endpoint.plain && !is_index {
            return Err(scheme());
        }
        let index_port =
            origin == Origin::Index && self.index.as_ref().is_some_and(|index| index.port == endpoint.port);
        if endpoint.port == 443 || index_port || self.port_is_listed(&endpoint) {
            Ok(())
        } else {
            Err(Refusal::Port { host, port: endpoint.port })
        }
    }

    /// Judges every address that a URL's host resolved to; one that is not allowed refuses the name.
    ///
    /// `resolved` says that the addresses come from a lookup, so that those of the index's host are remembered for its file
    /// links.
    ///
    /// # Errors
    /// Why the host may not be dialled.
    pub fn judge(&self, url: &Url, origin: Origin, addresses: &[IpAddr]) -> Result<(), Refusal> {
        self.check_url(url, origin)?;
        let endpoint = Endpoint::of(url).ok_or(Refusal::NoHost)?;
        for address in addresses {
            self.judge_one(&endpoint, origin, canonical(*address))?;
        }
        if origin == Origin::Index && self.is_index_host(&endpoint) {
            let mut known = self.index_addresses.lock().unwrap_or_else(PoisonError::into_inner);
            known.extend(addresses.iter().copied().map(canonical));
        }
        Ok(())
    }

    fn judge_one(&self, endpoint: &Endpoint, origin: Origin, address: IpAddr) -> Result<(), Refusal> {
        let refuse = |kind, remedy| Err(Refusal::Address { host: endpoint.host.to_string(), kind, remedy });
        let reach = reach(address);
        let listed = self.is_listed(&endpoint.host, address);
        let for_index = origin == Origin::Index;
        let of_index = for_index && self.is_at_index(address);
        let is_index = for_index && self.is_index_host(endpoint);
        if endpoint.plain && !(reach == Reach::Loopback && listed) {
            return refuse("an address that may only be reached by https", "configure the index with an https URL");
        }
        match reach {
            Reach::Never(kind) => return refuse(kind, NO_REMEDY),
            Reach::Loopback if !listed => return refuse("a loopback address", ASK_THE_OPERATOR),
            Reach::Private(kind) if !(listed || is_index || of_index) => return refuse(kind, ASK_THE_OPERATOR),
            Reach::Public | Reach::Loopback | Reach::Private(_) => {}
        }
        // The index's own port is good for the index: its host, or another name of the same machine.
        let port_is_good = endpoint.port == 443 || self.port_is_listed(endpoint) || is_index || of_index;
        if port_is_good { Ok(()) } else { Err(Refusal::Port { host: endpoint.host.to_string(), port: endpoint.port }) }
    }

    fn is_listed(&self, host: &Host, address: IpAddr) -> bool {
        self.rules.iter().any(|rule| rule.host == *host && rule.cidrs.iter().any(|cidr| cidr.contains(&address)))
    }

    fn port_is_listed(&self, endpoint: &Endpoint) -> bool {
        self.rules.iter().any(|rule| rule.host == endpoint.host && rule.ports.contains(&endpoint.port))
    }

    fn is_index_host(&self, endpoint: &Endpoint) -> bool {
        self.index.as_ref().is_some_and(|index| index.host == endpoint.host)
    }

    fn is_at_index(&self, address: IpAddr) -> bool {
        self.index_addresses.lock().unwrap_or_else(PoisonError::into_inner).contains(&address)
    }
}

impl Endpoint {
    fn of(url: &Url) -> Option<Self> {
        let host = url.host()?.to_owned();
        Some(Self { plain: url.scheme() == "http", host, port: url.port_or_known_default()? })
    }
}

/// A host as the operator writes it, with or without brackets around an IPv6 address.
fn parse_host(text: &str) -> Option<Host> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(match address {
            IpAddr::V4(v4) => Host::Ipv4(v4),
            IpAddr::V6(v6) => Host::Ipv6(v6),
        });
    }
    // A URL's host is what the URL parser makes of it, IDNA and all.
    Url::parse(&format!("https://{text}/")).ok()?.host().map(|host| host.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard(index: &str, rules: &[(&str, &str)]) -> Guard {
        let network: Vec<_> = rules
            .iter()
            .map(|(host, cidr)| NetworkRule {
                host: (*host).to_owned(),
                cidrs: vec![cidr.parse().unwrap()],
                ports: vec![],
            })
            .collect();
        Guard::new(&network, IndexUrl::parse(index).ok().as_ref())
    }

    fn judge(guard: &Guard, url: &str, origin: Origin, addresses: &[&str]) -> bool {
        let addresses: Vec<_> = addresses.iter().map(|text| text.parse().unwrap()).collect();
        guard.judge(&url.parse().unwrap(), origin, &addresses).is_ok()
    }

    const INDEX: &str = "https://index.example/simple/";
    const FILES: &str = "https://files.example/a.whl";

    #[test]
    fn a_mirror_on_a_private_address_works_without_a_rule() {
        let guard = guard(INDEX, &[]);
        assert!(!judge(&guard, FILES, Origin::Index, &["10.0.0.5"]), "the index has not resolved yet");
        for mirror in ["10.0.0.5", "203.0.113.80", "fd12::5", "192.168.1.1"] {
            assert!(judge(&guard, INDEX, Origin::Index, &[mirror]), "{mirror}");
            assert!(judge(&guard, FILES, Origin::Index, &[mirror]), "{mirror}");
            assert!(judge(&guard, &format!("https://{}/a.whl", host_text(mirror)), Origin::Index, &[mirror]));
            for url in [INDEX, FILES] {
                assert!(!judge(&guard, url, Origin::Row, &[mirror]), "a row at {mirror}");
            }
        }
        assert!(judge(&guard, FILES, Origin::Index, &["10.0.0.5", "203.0.113.80", "8.8.8.8", "::ffff:10.0.0.5"]));
        assert!(!judge(&guard, FILES, Origin::Index, &["10.0.0.6"]));
        assert!(!judge(&guard, FILES, Origin::Index, &["10.0.0.5", "10.0.0.6"]));
    }

    fn host_text(address: &str) -> String {
        if address.contains(':') { format!("[{address}]") } else { address.to_owned() }
    }

    #[test]
    fn neither_link_local_nor_unlisted_loopback_becomes_good_by_being_the_index() {
        let guard = guard(INDEX, &[("other.example", "127.0.0.0/8")]);
        for address in ["127.0.0.1", "::1", "169.254.1.1", "fe80::1", "fd00:ec2::254", "0.0.0.0"] {
            assert!(!judge(&guard, INDEX, Origin::Index, &[address]), "{address}");
            assert!(!judge(&guard, FILES, Origin::Index, &[address]), "{address}");
        }
        assert!(!judge(&guard, INDEX, Origin::Index, &["10.0.0.5", "169.254.1.1"]));
        assert!(!judge(&guard, FILES, Origin::Index, &["10.0.0.5"]), "a refused lookup teaches nothing");
    }

    #[test]
    fn a_row_s_lookup_of_the_index_s_name_teaches_nothing() {
        let guard = guard(INDEX, &[("index.example", "10.0.0.0/8")]);
        assert!(judge(&guard, INDEX, Origin::Row, &["10.0.0.5"]), "listed");
        assert!(!judge(&guard, FILES, Origin::Index, &["10.0.0.5"]));
    }

    #[test]
    fn the_index_s_port_is_good_for_the_index_and_its_address() {
        let index = "https://index.example:8443/simple/";
        let guard = guard(index, &[]);
        assert!(judge(&guard, index, Origin::Index, &["10.0.0.5"]));
        assert!(judge(&guard, "https://files.example:8443/a", Origin::Index, &["10.0.0.5"]));
        assert!(judge(&guard, "https://index.example/a", Origin::Index, &["10.0.0.5"]));
        assert!(!judge(&guard, "https://files.example:8443/a", Origin::Index, &["8.8.8.8"]));
        assert!(!judge(&guard, "https://files.example:8444/a", Origin::Index, &["10.0.0.5"]));
        assert!(!judge(&guard, "https://index.example:8444/a", Origin::Index, &["10.0.0.5"]));
        assert!(!judge(&guard, index, Origin::Row, &["8.8.8.8"]));
    }

    #[test]
    fn a_listed_port_is_good_for_that_host_alone() {
        let rule = NetworkRule {
            host: "files.example".to_owned(),
            cidrs: vec!["8.8.8.0/24".parse().unwrap()],
            ports: vec![8443],
        };
        let guard = Guard::new(&[rule], None);
        for (url, good) in [
            ("https://files.example/a", true),
            ("https://files.example:443/a", true),
            ("https://files.example:8443/a", true),
            ("https://files.example:8442/a", false),
            ("https://files.example:8444/a", false),
            ("https://files.example:0/a", false),
            ("https://other.example:8443/a", false),
            ("https://sub.files.example:8443/a", false),
        ] {
            for origin in [Origin::Row, Origin::Index] {
                assert_eq!(judge(&guard, url, origin, &["8.8.8.8"]), good, "{url}");
                let early = guard.check_url(&url.parse().unwrap(), origin);
                assert_eq!(early.is_ok(), good, "{url}: a refused port is not even looked up");
            }
        }
    }

    #[test]
    fn rules_name_hosts_as_urls_do() {
        for (rule, url) in [
            ("Files.Example", FILES),
            ("10.0.0.5", "https://10.0.0.5/a"),
            ("fd12::5", "https://[fd12::5]/a"),
            ("[fd12:0::5]", "https://[fd12::5]/a"),
            ("bücher.example", "https://xn--bcher-kva.example/a"),
        ] {
            for (cidr, address) in
                [("10.0.0.0/8", "10.0.0.5"), ("fd12::/16", "fd12::5"), ("10.0.0.0/8", "::ffff:10.0.0.5")]
            {
                assert!(judge(&guard(INDEX, &[(rule, cidr)]), url, Origin::Row, &[address]), "{rule} {address}");
                assert!(!judge(&guard(INDEX, &[("x.example", cidr)]), url, Origin::Row, &[address]));
            }
        }
    }

    #[test]
    fn a_refusal_does_not_tell_the_address() {
        let refusal = guard(INDEX, &[]).judge(&FILES.parse().unwrap(), Origin::Row, &["10.11.12.13".parse().unwrap()]);
        let text = refusal.unwrap_err().to_string();
        assert!(
            !text.contains("10.11") && text.contains("files.example") && text.contains("[network] allow"),
            "{text}"
        );
    }
}
