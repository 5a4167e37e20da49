//! A quick look at a syntax tree, which tells who has to read it: most files hold nothing that any rule could find.
//!
//! Names are compared as the parser gives them, normalised (PEP 3131), and strings with their escapes resolved, so that no
//! spelling hides one. Each condition here is weaker than the rules that depend on it; a test holds that skipping a reader
//! changes no example's findings. What a string that stands for a type would say is not looked at: nothing runs it.

use std::collections::HashMap;
use std::sync::LazyLock;

use aho_corasick::AhoCorasick;
use ruff_python_ast::visitor::{self, Visitor};
use ruff_python_ast::{
    Alias, ExceptHandler, Expr, FStringPart, InterpolatedStringElement, Keyword, Operator, Parameters, Stmt,
};
use ruff_text_size::{Ranged, TextRange};

/// Who has to read the source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Survey {
    /// Bandit's rules.
    pub(super) bandit: bool,
    /// The rules about behaviour.
    pub(super) flow: bool,
    /// It may hold the address of a private drop.
    pub(super) drops: bool,
}

/// A name that some rule needs.
const BANDIT: u8 = 1;
/// A name that some rule needs, as a part of what is imported.
const BANDIT_IMPORT: u8 = 1 << 1;
const FLOW: u8 = 1 << 2;
const FLOW_IMPORT: u8 = 1 << 3;
/// Takes names by their text.
const INDIRECT: u8 = 1 << 4;
/// A module whose functions the rules about behaviour know, and that nearly everybody imports.
const COMMON_IMPORT: u8 = 1 << 5;
/// Can hide a text.
const HIDES: u8 = 1 << 6;

const WORDS: &[(u8, &str)] = &[
    (
        BANDIT,
        "exec eval chmod extractall read_pickle mktemp mark_safe CGIHandler CGIScript extra RawSQL listen \
         Markup execl execle execlp execlpe execv execve execvp execvpe spawnl spawnle spawnlp spawnlpe \
         spawnv spawnve spawnvp spawnvpe startfile system popen popen2 popen3 popen4 PROTOCOL_SSLv2 \
         PROTOCOL_SSLv3 PROTOCOL_TLSv1 PROTOCOL_TLSv1_1 SSLv2_METHOD SSLv23_METHOD SSLv3_METHOD TLSv1_METHOD \
         TLSv1_1_METHOD",
    ),
    (
        BANDIT_IMPORT,
        "requests httpx flask pickle cPickle dill shelve jsonpickle marshal Crypto Cryptodome cryptography \
         urllib random telnetlib xml ftplib ssl OpenSSL hashlib crypt subprocess xmlrpc pyghmi yaml paramiko \
         pysnmp popen2 commands jinja2 mako builtins __builtin__",
    ),
    (
        FLOW,
        "exec eval execfile __import__ __builtins__ import_module system popen popen2 popen3 popen4 startfile \
         execl execle execlp execlpe execv execve execvp execvpe spawnl spawnle spawnlp spawnlpe spawnv \
         spawnve spawnvp spawnvpe posix_spawn posix_spawnp dup2 urlopen urlretrieve URLopener FancyURLopener \
         build_opener OpenerDirector create_subprocess_shell create_subprocess_exec FunctionType LambdaType \
         CreateProcess WinExec ShellExecute VirtualAlloc subprocess spawn __pyarmor__ windll",
    ),
    (
        FLOW_IMPORT,
        "subprocess requests httpx aiohttp urllib2 urllib3 http httplib socket _socket ctypes mmap pty \
         smtplib ftplib websocket websockets xmlrpc paramiko pycurl wget win32api commands popen2 runpy code \
         codeop builtins __builtin__ pyperclip clipboard win32clipboard pytransform sourcedefender dns posix \
         nt _winapi _posixsubprocess js2py pip cffi",
    ),
    (INDIRECT, "__dict__ vars globals locals modules __getattribute__ __getattr__ getattr_static"),
    (COMMON_IMPORT, "os sys asyncio platform types urllib importlib io"),
    (
        HIDES,
        "b64decode b32decode b16decode b85decode a85decode z85decode urlsafe_b64decode standard_b64decode \
         decodebytes decodestring unhexlify a2b_hex a2b_base64 a2b_uu a2b_qp fromhex decompress decrypt \
         decrypt_and_verify codecs marshal chr unichr reversed translate escape_decode",
    ),
];

/// Words by a cheap hash, so that the many names of a file cost little.
static TABLE: LazyLock<Table> = LazyLock::new(|| {
    let mut words: HashMap<&str, u8> = HashMap::new();
    for (kind, group) in WORDS {
        for word in group.split_whitespace() {
            *words.entry(word).or_default() |= kind;
        }
    }
    let mut table = Table { slots: vec![Vec::new(); Table::SLOTS] };
    for (word, kinds) in words {
        table.slots[Table::slot(word)].push((word, kinds));
    }
    table
});

struct Table {
    slots: Vec<Vec<(&'static str, u8)>>,
}

impl Table {
    const SLOTS: usize = 4096;

    fn slot(word: &str) -> usize {
        let bytes = word.as_bytes();
        let byte = |at: usize| usize::from(bytes.get(at).copied().unwrap_or_default());
        (bytes.len() * 131 + byte(0) * 31 + byte(bytes.len() / 2) * 7 + byte(bytes.len().saturating_sub(1)) * 521)
            % Self::SLOTS
    }

    fn kinds(&self, word: &str) -> u8 {
        self.slots[Self::slot(word)].iter().find(|(known, _)| *known == word).map_or(0, |(_, kinds)| *kinds)
    }
}

/// Verbs of SQL.
static SQL: LazyLock<Option<AhoCorasick>> =
    LazyLock::new(|| needles(&["select", "insert", "replace", "delete", "update"]));

/// Parts of the addresses that [`super::shell::is_drop`] knows.
static DROPS: LazyLock<Option<AhoCorasick>> = LazyLock::new(|| {
    needles(&[
        "webhook",
        "telegram.org/bot",
        ":AA",
        "hooks.slack",
        "oastify",
        "oast.",
        "burpcollab",
        "interact.sh",
        "interactsh",
        "dnslog",
        "ceye.io",
        "requestrepo",
        "canarytokens",
        "pipedream",
        "requestbin",
    ])
});

fn needles(words: &[&str]) -> Option<AhoCorasick> {
    AhoCorasick::builder().ascii_case_insensitive(true).build(words).ok()
}

/// Looks at a source.
pub(super) fn survey(suite: &[Stmt], text: &str) -> Survey {
    let mut look =
        Look { text, seen: 0, found: Survey::default(), building: 0, indirect: false, word_text: false, getattrs: 0 };
    look.visit_body(suite);
    // `getattr` under another name.
    look.indirect |= look.getattrs > 0;
    look.found.flow |=
        look.found.drops || look.indirect && (look.word_text || look.seen & (COMMON_IMPORT | HIDES) != 0);
    look.found
}

struct Look<'t> {
    text: &'t str,
    /// Kinds of the words seen so far.
    seen: u8,
    found: Survey,
    /// Inside an expression that puts text together.
    building: usize,
    indirect: bool,
    word_text: bool,
    /// How often `getattr` is named and not called.
    getattrs: isize,
}

impl Look<'_> {
    fn done(&self) -> bool {
        self.found.bandit && self.found.flow && self.found.drops
    }

    fn name(&mut self, name: &str) {
        let kinds = TABLE.kinds(name);
        if kinds != 0 {
            self.seen |= kinds;
            self.found.bandit |= kinds & BANDIT != 0;
            self.found.flow |= kinds & FLOW != 0;
            self.indirect |= kinds & INDIRECT != 0;
        }
    }

    fn imported(&mut self, path: &str) {
        for part in path.split('.') {
            self.name(part);
            let kinds = TABLE.kinds(part);
            self.found.bandit |= kinds & BANDIT_IMPORT != 0;
            self.found.flow |= kinds & FLOW_IMPORT != 0 || part.starts_with("pyarmor");
        }
    }

    /// A name that holds a literal: `password = "x"`.
    fn named_literal(&mut self, name: &str) {
        let name = name.to_ascii_lowercase();
        self.found.bandit |= ["pas", "pwd", "token", "secret"].iter().any(|part| name.contains(part));
    }

    fn target(&mut self, target: &Expr) {
        match target {
            Expr::Name(node) => self.named_literal(node.id.as_str()),
            Expr::Attribute(node) => self.named_literal(node.attr.as_str()),
            Expr::Subscript(node) => {
                if let Expr::StringLiteral(key) = &*node.slice {
                    self.named_literal(key.value.to_str());
                }
            }
            _ => {}
        }
    }

    fn string(&mut self, text: &str) {
        match text.as_bytes().first() {
            Some(b'0') => self.found.bandit |= text == "0.0.0.0",
            Some(b'/') => {
                self.found.bandit |= ["/tmp", "/var/tmp", "/dev/shm"].iter().any(|folder| text.starts_with(folder));
            }
            _ => {}
        }
        if text.len() >= 12 && !self.found.drops {
            self.found.drops = DROPS.as_ref().is_none_or(|drops| drops.is_match(text));
        }
        if text.len() <= 32 {
            let kinds = TABLE.kinds(text);
            self.word_text |= kinds & (FLOW | FLOW_IMPORT) != 0;
        }
        if self.building > 0 {
            self.sql(text);
        }
    }

    fn sql(&mut self, text: &str) {
        self.found.bandit |= !text.is_ascii() || SQL.as_ref().is_none_or(|sql| sql.is_match(text));
    }

    fn slice(&self, range: TextRange) -> &str {
        self.text.get(range.start().to_usize()..range.end().to_usize()).unwrap_or("\u{fffd}")
    }

    fn sql_in(&mut self, range: TextRange) {
        if !self.found.bandit {
            let text = self.slice(range);
            self.found.bandit |= !text.is_ascii() || SQL.as_ref().is_none_or(|sql| sql.is_match(text));
        }
    }
}

impl<'a> Visitor<'a> for Look<'_> {
    fn visit_stmt(&mut self, statement: &'a Stmt) {
        if self.done() {
            return;
        }
        match statement {
            Stmt::Assign(node) if node.value.is_string_literal_expr() => {
                for target in &node.targets {
                    self.target(target);
                }
            }
            Stmt::AnnAssign(node) if node.value.as_ref().is_some_and(|value| value.is_string_literal_expr()) => {
                self.target(&node.target);
            }
            // A string by itself is documentation; two rules look there too.
            Stmt::Expr(node) if node.value.is_string_literal_expr() => {
                let drops = self.found.drops;
                self.visit_expr(&node.value);
                self.found.drops = drops;
                return;
            }
            Stmt::ImportFrom(node) => {
                if let Some(module) = &node.module {
                    self.imported(module.as_str());
                }
            }
            _ => {}
        }
        visitor::walk_stmt(self, statement);
    }

    fn visit_alias(&mut self, alias: &'a Alias) {
        self.imported(alias.name.as_str());
    }

    fn visit_except_handler(&mut self, handler: &'a ExceptHandler) {
        let ExceptHandler::ExceptHandler(node) = handler;
        if let [Stmt::Pass(_) | Stmt::Continue(_)] = node.body.as_slice() {
            self.found.bandit |= node.type_.as_ref().is_none_or(|kind| is_broad(kind));
        }
        visitor::walk_except_handler(self, handler);
    }

    fn visit_keyword(&mut self, keyword: &'a Keyword) {
        if let Some(name) = &keyword.arg {
            self.found.bandit |= name.as_str() == "shell";
            if keyword.value.is_string_literal_expr() {
                self.named_literal(name.as_str());
            }
        }
        visitor::walk_keyword(self, keyword);
    }

    fn visit_parameters(&mut self, parameters: &'a Parameters) {
        for parameter in parameters.iter_non_variadic_params() {
            if parameter.default().is_some_and(Expr::is_string_literal_expr) {
                self.named_literal(parameter.name().as_str());
            }
        }
        visitor::walk_parameters(self, parameters);
    }

    fn visit_expr(&mut self, expression: &'a Expr) {
        if self.done() {
            return;
        }
        match expression {
            Expr::Name(node) if node.id == "getattr" => self.getattrs += 1,
            Expr::Name(node) => self.name(node.id.as_str()),
            Expr::Attribute(node) => self.name(node.attr.as_str()),
            Expr::StringLiteral(node) => self.string(node.value.to_str()),
            Expr::FString(node) => {
                self.sql_in(node.range());
                for part in &node.value {
                    match part {
                        FStringPart::Literal(literal) => self.string(literal),
                        FStringPart::FString(part) => {
                            for element in &part.elements {
                                if let InterpolatedStringElement::Literal(literal) = element {
                                    self.string(&literal.value);
                                }
                            }
                        }
                    }
                }
            }
            Expr::Call(node) => match &*node.func {
                Expr::Name(name) if name.id == "getattr" => {
                    self.getattrs -= 1;
                    match node.arguments.args.get(1) {
                        // A plain name is a word like any other.
                        Some(Expr::StringLiteral(text)) => self.name(text.value.to_str()),
                        _ => self.indirect = true,
                    }
                }
                Expr::Attribute(method) if method.attr.as_str() == "format" => {
                    if let Expr::StringLiteral(text) = &*method.value {
                        self.sql(text.value.to_str());
                    }
                }
                _ => {}
            },
            Expr::Compare(node) if node.comparators.iter().any(Expr::is_string_literal_expr) => self.target(&node.left),
            Expr::BinOp(node) if node.op == Operator::Mod => {
                if let Expr::StringLiteral(text) = &*node.left {
                    self.sql(text.value.to_str());
                }
            }
            Expr::BinOp(node) if node.op == Operator::Add => {
                if self.building == 0 {
                    self.sql_in(node.range());
                }
                self.building += 1;
                visitor::walk_expr(self, expression);
                self.building -= 1;
                return;
            }
            _ => {}
        }
        visitor::walk_expr(self, expression);
    }
}

/// Whether an `except` clause may catch everything: `Exception`, by whatever name.
fn is_broad(kind: &Expr) -> bool {
    match kind {
        Expr::Tuple(node) => node.elts.iter().any(is_broad),
        Expr::Name(node) => node.id.as_str() == "Exception" || node.id.as_str() == "BaseException",
        // `builtins.Exception`, or a name that stands for it.
        Expr::Attribute(node) => matches!(node.attr.as_str(), "Exception" | "BaseException"),
        _ => false,
    }
}
