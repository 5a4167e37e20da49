//! Which addresses may be told.

/// The domains that mails may go to. Empty means none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MailDomains(Vec<String>);

impl MailDomains {
    /// These domains, exactly: `corp.example` is not `mail.corp.example`.
    #[must_use]
    pub fn new(domains: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        let domains = domains.into_iter().map(|domain| domain.as_ref().trim().to_ascii_lowercase());
        Self(domains.filter(|domain| !domain.is_empty()).collect())
    }

    /// Whether no address is allowed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The address in lower case, if it is one and within the domains. An author of a commit can write anything as an address:
    /// what is not a dot-atom at an allowed domain (RFC 5321, 4.1.2, without quoting) is none.
    #[must_use]
    pub fn allowed(&self, address: &str) -> Option<String> {
        let (local, domain) = address.split_once('@')?;
        let atom = |part: &str| {
            !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || "!#$%&'*+/=?^_`{|}~-".contains(c))
        };
        let good = local.len() <= 64
            && address.len() <= 254
            && local.split('.').all(atom)
            && self.0.iter().any(|allowed| allowed.eq_ignore_ascii_case(domain));
        good.then(|| address.to_ascii_lowercase())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_exact_domains_are_told() {
        let domains = MailDomains::new(["corp.example", " Lab.Example "]);
        for (address, allowed) in [
            ("a@corp.example", Some("a@corp.example")),
            ("A.Smith@CORP.Example", Some("a.smith@corp.example")),
            ("a+b@lab.example", Some("a+b@lab.example")),
            ("a@mail.corp.example", None),
            ("a@corp.example.evil.example", None),
            ("a@evilcorp.example", None),
            ("a@corp.example@evil.example", None),
            ("a@evil.example@corp.example", None),
            ("@corp.example", None),
            ("a..b@corp.example", None),
            ("a b@corp.example", None),
            ("a\r\nBcc: x@corp.example", None),
            ("a<b>@corp.example", None),
            ("\"a\"@corp.example", None),
            ("é@corp.example", None),
            ("a\u{202e}@corp.example", None),
            ("corp.example", None),
            ("", None),
        ] {
            assert_eq!(domains.allowed(address).as_deref(), allowed, "{address:?}");
        }
        assert_eq!(MailDomains::new([""; 0]).allowed("a@corp.example"), None);
        assert_eq!(MailDomains::new([""]).allowed("a@"), None);
    }

    #[test]
    fn an_address_has_a_length() {
        let domains = MailDomains::new(["corp.example"]);
        for (length, allowed) in [(63, true), (64, true), (65, false)] {
            let address = format!("{}@corp.example", "a".repeat(length));
            assert_eq!(domains.allowed(&address).is_some(), allowed, "{length}");
        }
    }
}
