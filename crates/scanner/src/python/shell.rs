//! What text says when it is a shell command, and addresses that only data thieves use.

use std::sync::LazyLock;

use regex::bytes::{RegexSet, RegexSetBuilder};

/// What a command does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Command {
    /// Opens a shell for someone else.
    ReverseShell,
    /// Fetches something and runs it at once.
    DownloadExecute,
    /// Hides what it runs.
    Encoded,
    /// Uses the network.
    Network,
}

/// Where a command takes a package from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// The address of one file.
    Address,
    /// An index, which may hold any package under any name.
    Index,
}

const REVERSE: &[&str] = &[
    r"/dev/(?:tcp|udp)/[^\s/]+/\d",
    r"\b(?:nc|ncat|netcat)\b[^\n|;]*\s-[a-z]*[ec]\s+\S*(?:sh|cmd)\b",
    r"\bmkfifo\b[^\n]*\|[^\n]*\b(?:nc|ncat|netcat|openssl)\b",
    r"\bsocat\b[^\n]*\bexec:",
];

const DOWNLOAD: &[&str] = &[
    r"\b(?:curl|wget|fetch)\b[^\n;]*\|\s*(?:sudo\s+(?:-\S+\s+)*)?(?:\S*/)?(?:env\s+)?(?:ba|z|da|k|a)?sh\b",
    r"\b(?:curl|wget|fetch)\b[^\n;]*\|\s*(?:sudo\s+(?:-\S+\s+)*)?(?:\S*/)?(?:python|perl|ruby|node|php)\d?\b",
    r"\b(?:ba|z|da|k|a)?sh\b\s+(?:-c\s+)?[^\n;]*(?:<\(|\$\(|`)\s*(?:curl|wget)\b",
    r"\beval\b[^\n;]*(?:\$\(|`)\s*(?:curl|wget)\b",
    r"\b(?:curl|wget)\b[^\n]*(?:&&|;)\s*(?:sudo\s+)?(?:(?:ba|z|da)?sh|chmod\s+(?:\+|[ugoa]*\+|0?[0-7]*[1357])\S*)\s",
    r"\b(?:iex|invoke-expression)\b[^\n]*\b(?:downloadstring|downloadfile|webclient|iwr|irm|invoke-webrequest|invoke-restmethod)\b",
    r"\b(?:iwr|irm|invoke-webrequest|invoke-restmethod|downloadstring)\b[^\n]*\|\s*(?:iex|invoke-expression)\b",
    r"\bpowershell\b[^\n]*\b(?:downloadstring|downloadfile|invoke-webrequest|iwr|wget|curl)\b[^\n]*(?:;|&&|\|)\s*(?:start|start-process|&|iex|\./|\.\\)",
    r"\bmshta(?:\.exe)?\b\s+\W?(?:https?:|javascript:|vbscript:)",
    r"\bregsvr32(?:\.exe)?\b[^\n]*\s/i:https?:",
    r"\bcertutil(?:\.exe)?\b[^\n]*-urlcache\b[^\n]*(?:&&?|;)",
    r"\bbitsadmin\b[^\n]*/transfer\b[^\n]*(?:&&?|;)",
];

const ENCODED: &[&str] = &[
    r"\bpowershell(?:\.exe)?\b[^\n]*\s-e(?:nc(?:odedcommand)?|c)?\s+[a-z0-9+/=]{16}",
    r"\bbase64\b\s+(?:-d|--decode|-D)[^\n]*\|\s*(?:sudo\s+)?(?:\S*/)?(?:ba|z|da|k)?sh\b",
    r"\bpython[\d.]*\b\s+-c\b[^\n]*\bexec\b[^\n]*(?:b64decode|fromhex|decompress)",
];

const NETWORK: &[&str] = &[
    r"(?:^|[\s;&|(`])(?:\S*/)?(?:curl|wget)(?:\.exe)?\s",
    r"\b(?:invoke-webrequest|invoke-restmethod|downloadstring|downloadfile)\b",
    r"(?:^|[\s;&|(`])(?:nc|ncat|netcat|telnet|ftp|tftp|scp)\s",
    r"\bpip3?(?:\.exe)?\s+(?:install|download)\b",
    r"\bgit\s+(?:clone|fetch|pull)\b",
    r"\b(?:nslookup|dig)\s",
];

/// A webhook with its token, a bot with its token, and hosts that exist to receive what a test payload sends.
const ENDPOINTS: &[&str] = &[
    r"discord(?:app)?\.com/api/(?:v\d+/)?webhooks/\d{17,20}/[A-Za-z0-9_-]{60,}",
    r"api\.telegram\.org/bot\d{8,10}:[A-Za-z0-9_-]{35}",
    r"^\d{9,10}:AA[A-Za-z0-9_-]{33}$",
    r"hooks\.slack\.com/services/T[A-Z0-9]{8,}/B[A-Z0-9]{8,}/[A-Za-z0-9]{24}",
    r"(?i)[a-z0-9-]+\.(?:oastify\.com|burpcollaborator\.net|interact\.sh|interactsh\.com|oast\.(?:pro|live|site|online|fun|me)|dnslog\.cn|ceye\.io|requestrepo\.com|canarytokens\.com|pipedream\.net|requestbin\.net)(?:[/:?]|$)",
    r"(?i)webhook\.site/[0-9a-f]{8}-[0-9a-f]{4}-",
];

/// A package that is installed from an index that the command names, and from an address.
const INSTALLS: &[&str] = &[
    r"\bpip[\d.]*(?:\.exe)?\s+(?:-\S+\s+)*install\b[^\n;|&]*\s(?:-i|--index-url|--extra-index-url)[\s=]+https?://[a-z0-9]",
    r"\bpip[\d.]*(?:\.exe)?\s+(?:-\S+\s+)*install\b[^\n;|&]*\s(?:(?:-f|--find-links)[\s=]+)?(?:https?|ftp)://[a-z0-9]",
];

/// Commands that print all environment variables.
const ENVIRONMENT: &[&str] =
    &[r"^\s*(?:\S*/)?(?:env|printenv)\s*(?:\||$)", r"^\s*(?:cmd(?:\.exe)?\s+/c\s+)?set\s*$", r"^\s*export\s+-p\s*$"];

/// Commands that print what they fetch.
const FETCHES: &[&str] = &[r"(?:^|[;&|(`])\s*(?:\S*/)?(?:curl|wget|dig|nslookup)(?:\.exe)?\s"];

/// Files that hold credentials, as they look within a path.
const CREDENTIALS: &[&str] = &[
    r"(?:^|[/\\])\.ssh(?:[/\\](?:id_\w+|identity|config|authorized_keys|\*)?)?$",
    r"(?:^|[/\\])id_(?:rsa|dsa|ecdsa|ed25519)$",
    r"(?:^|[/\\])\.aws(?:[/\\](?:credentials|config)?)?$",
    r"(?:^|[/\\])[._]netrc$",
    r"(?:^|[/\\])\.(?:pypirc|git-credentials|npmrc|pgpass|vault-token|bash_history|zsh_history|python_history)$",
    r"(?:^|[/\\])\.docker[/\\]config\.json$",
    r"(?:^|[/\\])\.kube[/\\]config$",
    r"(?:^|[/\\])\.config[/\\]gcloud\b",
    r"(?:^|[/\\])\.azure[/\\](?:accessTokens|msal_token_cache)",
    r"(?:^|[/\\])(?:Login Data|Local State|Web Data|Cookies|logins\.json|key[34]\.db|cookies\.sqlite|signons\.sqlite)$",
    r"(?i)(?:^|[/\\])Local Storage[/\\]+leveldb(?:[/\\]|$)",
    r"(?i)(?:^|[/\\])(?:wallet\.dat|exodus\.wallet|keystore|electrum[/\\]wallets)$",
    r"(?:^|[/\\])\*\.pem$",
    r"^/etc/shadow$",
];

/// Files that hold a token for one service, which programs of that service send it with good reason.
const TOKENS: &[&str] = &[
    r"(?:^|[/\\])\.cache[/\\]huggingface[/\\](?:token|stored_tokens)$",
    r"(?:^|[/\\])\.huggingface[/\\]token$",
    r"(?:^|[/\\])\.kaggle[/\\]kaggle\.json$",
    r"(?:^|[/\\])\.config[/\\]gh[/\\]hosts\.ya?ml$",
    r"(?:^|[/\\])\.databrickscfg$",
    r"/secrets/kubernetes\.io/serviceaccount/token$",
    r"(?:^|[/\\])\.env$",
];

/// Places from which a program is started again without being asked for.
const PERSISTENCE: &[&str] = &[
    r"(?:^|[/\\])\.(?:bashrc|bash_profile|zshrc|zprofile|profile|bash_login)$",
    r"(?i)software[/\\]+microsoft[/\\]+windows[/\\]+currentversion[/\\]+run(?:once)?\b",
    r"(?i)start menu[/\\]+programs[/\\]+startup",
    r"(?:^|[/\\])(?:LaunchAgents|LaunchDaemons)(?:[/\\]|$)",
    r"^/etc/(?:cron|systemd/system|init\.d|rc\.local|profile\.d)",
    r"(?:^|[/\\])\.config[/\\](?:autostart|systemd)",
    r"(?:^|[/\\])\.ssh[/\\]authorized_keys$",
    r"(?:^|[/\\])\.?pip[/\\]pip\.(?:conf|ini)$",
    r"(?:^|[/\\])(?:site|dist)-packages[/\\](?:[^/\\]+\.pth|(?:site|user)customize\.py)$",
    r"(?i)\bschtasks\b[^\n]*\s/create\b",
    r"\bcrontab\s+-",
];

fn set(groups: &[&[&str]], ignore_case: bool) -> Option<RegexSet> {
    let patterns = groups.iter().flat_map(|group| group.iter());
    RegexSetBuilder::new(patterns).unicode(false).case_insensitive(ignore_case).build().ok()
}

static COMMANDS: LazyLock<Option<RegexSet>> = LazyLock::new(|| set(&[REVERSE, DOWNLOAD, ENCODED, NETWORK], true));
static ADDRESSES: LazyLock<Option<RegexSet>> = LazyLock::new(|| set(&[ENDPOINTS], false));
static SECRETS: LazyLock<Option<RegexSet>> = LazyLock::new(|| set(&[CREDENTIALS, TOKENS], false));
static STARTUP: LazyLock<Option<RegexSet>> = LazyLock::new(|| set(&[PERSISTENCE], false));
static PRINTERS: LazyLock<Option<RegexSet>> = LazyLock::new(|| set(&[INSTALLS, ENVIRONMENT, FETCHES], true));

/// Whether every pattern compiles; without them no file counts as analysed.
pub(super) fn ready() -> bool {
    COMMANDS.is_some() && ADDRESSES.is_some() && SECRETS.is_some() && STARTUP.is_some() && PRINTERS.is_some()
}

/// The worst that a command does.
pub(super) fn command(text: &str) -> Option<Command> {
    let first = COMMANDS.as_ref()?.matches(text.as_bytes()).into_iter().next()?;
    let kinds = [
        (REVERSE.len(), Command::ReverseShell),
        (DOWNLOAD.len(), Command::DownloadExecute),
        (ENCODED.len(), Command::Encoded),
        (NETWORK.len(), Command::Network),
    ];
    let mut end = 0;
    kinds.into_iter().find_map(|(length, kind)| {
        end += length;
        (first < end).then_some(kind)
    })
}

fn prints(text: &str, kinds: std::ops::Range<usize>) -> bool {
    PRINTERS.as_ref().is_some_and(|set| set.matches(text.as_bytes()).into_iter().any(|kind| kinds.contains(&kind)))
}

/// Whether a command installs a package from an index of its own, or at least from an address.
pub(super) fn installs_from(text: &str) -> Option<Source> {
    match (prints(text, 0..1), prints(text, 1..INSTALLS.len())) {
        (true, _) => Some(Source::Index),
        (_, true) => Some(Source::Address),
        _ => None,
    }
}

/// Whether a command prints all environment variables.
pub(super) fn prints_environment(text: &str) -> bool {
    prints(text, INSTALLS.len()..INSTALLS.len() + ENVIRONMENT.len())
}

/// Whether a command prints what it fetches from the network.
pub(super) fn prints_fetched(text: &str) -> bool {
    prints(text, INSTALLS.len() + ENVIRONMENT.len()..usize::MAX)
}

/// Whether the text holds the address of a private drop.
pub(super) fn is_drop(text: &str) -> bool {
    text.len() >= 12 && ADDRESSES.as_ref().is_some_and(|set| set.is_match(text.as_bytes()))
}

/// Whether a path leads to a token, which is a credential as well.
pub(super) fn is_token_path(path: &str) -> bool {
    let token = |set: &RegexSet| set.matches(path.as_bytes()).into_iter().all(|at| at >= CREDENTIALS.len());
    is_credential_path(path) && SECRETS.as_ref().is_some_and(token)
}

/// Whether a path leads to credentials. `\u{fffc}` stands for a part that is not known.
pub(super) fn is_credential_path(path: &str) -> bool {
    path.len() >= 4 && path.len() < 1000 && SECRETS.as_ref().is_some_and(|set| set.is_match(path.as_bytes()))
}

/// Whether a path, registry key or command makes something start again.
pub(super) fn is_persistence(text: &str) -> bool {
    text.len() >= 7 && text.len() < 1000 && STARTUP.as_ref().is_some_and(|set| set.is_match(text.as_bytes()))
}
