//! What is loaded, imported or read back: libraries, pickles and data files; and what commands fetch, print and send.

use ruff_python_ast::Expr;
use ruff_text_size::TextSize;

use super::Flow;
use super::calls::{Given, names_loopback};
use super::names::{self, Role};
use super::timing::Effect;
use super::value::{GAP, Taint, Value};
use crate::python::shell::{self, Source};

/// Programs that fetch into a file.
const FETCHERS: &[&str] = &["curl", "wget", "aria2c"];

/// Files that are scanned as what they are when they are loaded.
const SOURCES: &[&str] = &[".py", ".pyw", ".pyi", ".pyx", ".so", ".pyd", ".dll", ".dylib", ".pyc"];

impl Flow {
    /// Calls that load something, or that tell where it is loaded from.
    pub(super) fn loader(&mut self, role: Role, given: &Given<'_>, at: TextSize) -> Value {
        let first = given.first();
        match role {
            Role::Load => {
                self.loaded("downloaded-pickle", given, at);
                Value::tainted(given.taint())
            }
            Role::LoadLibrary => {
                self.loaded("download-execute", given, at);
                Value::path("ctypes.CDLL")
            }
            Role::LoadSource => {
                if given.get("path", 1).or_else(|| given.get("location", 1)).is_some_and(is_package_data) {
                    self.effect(Effect::DataFile, at);
                }
                Value::default()
            }
            Role::SearchPath => {
                let folder = given.args.last().cloned().unwrap_or_default();
                if self.holds_download(given.nodes.args.last(), &folder) {
                    self.runs_loaded("download-execute", at);
                }
                Value::default()
            }
            Role::Pip => {
                let line = first.command_line().unwrap_or_default();
                self.effect(Effect::Process, at);
                self.effect(Effect::Network, at);
                self.installs(&format!("pip {line}"), at);
                Value::default()
            }
            Role::RunModule => {
                if first.whole_text() == Some("pip") {
                    self.effect(Effect::Network, at);
                }
                Value::default()
            }
            Role::Same => first,
            Role::Partial => {
                self.passed_exec(given, at);
                Value::default()
            }
            Role::Folder => Value::tainted(given.taint() & Taint::PACKAGE),
            Role::Resources => Value::tainted(Taint::PACKAGE),
            Role::Resource => {
                let file = given.args.get(1).is_some_and(is_data_name);
                Value::tainted(if file { Taint::DATA } else { Taint::NONE })
            }
            Role::SitePackages => Value::literal("site-packages"),
            Role::SitePackagesList => {
                Value { items: Some([Value::literal("site-packages")].into()), ..Value::default() }
            }
            _ => Value::default(),
        }
    }

    /// A command that may install a package from an address that it names.
    pub(super) fn installs(&mut self, line: &str, at: TextSize) {
        let Some(source) = shell::installs_from(line) else { return };
        self.effect(Effect::Package, at);
        self.report(if source == Source::Index { "package-from-index" } else { "package-from-address" }, at);
    }

    /// A library or a pickle is loaded that may have been downloaded.
    fn loaded(&mut self, rule: &'static str, given: &Given<'_>, at: TextSize) {
        let first = given.first();
        let fetched = first.taint.any(Taint::DOWNLOADED) && !first.taint.any(Taint::RECEIVED);
        if fetched || self.is_downloaded(given.nodes.args.first(), &first) {
            self.runs_loaded(rule, at);
        }
    }

    fn runs_loaded(&mut self, rule: &'static str, at: TextSize) {
        match self.current.is_some_and(|function| self.functions[function].fetches_argument) && !self.install {
            true => self.report("remote-code", at),
            false => self.report(rule, at),
        }
    }

    /// A downloaded archive is unpacked into a folder.
    pub(super) fn extracted(&mut self, given: &Given<'_>) {
        let key = given.nodes.args.first().and_then(|node| self.key(node));
        let text = given.first().whole_text().map(ToOwned::to_owned);
        self.downloads.extend([key, text].into_iter().flatten().map(|name| format!("folder:{name}")));
    }

    /// Whether something that was downloaded can be imported from a folder.
    fn holds_download(&self, node: Option<&Expr>, folder: &Value) -> bool {
        let key = node.and_then(|node| self.key(node));
        let text = folder.whole_text().map(ToOwned::to_owned);
        let unpacked =
            [key, text.clone()].into_iter().flatten().any(|n| self.downloads.contains(&format!("folder:{n}")));
        let inside = |text: &str| {
            self.downloads.iter().any(|file| {
                let name = file.strip_prefix(text.trim_end_matches('/')).and_then(|rest| rest.strip_prefix('/'));
                name.is_some_and(|name| SOURCES.iter().any(|source| name.ends_with(source)))
            })
        };
        unpacked || text.is_some_and(|text| !text.is_empty() && inside(&text))
    }

    /// `map(os.system, commands)`, `Thread(target=os.system, args=(c,))`: the commands are looked at, but nothing runs yet.
    pub(super) fn passed_process(&mut self, given: &Given<'_>, at: TextSize) {
        let is_process = |value: &Value| value.path.as_deref().and_then(names::role) == Some(Role::Process);
        if !given.all().any(is_process) {
            return;
        }
        let others: Vec<Value> = given.all().filter(|value| value.path.is_none()).cloned().collect();
        let outer = (std::mem::replace(&mut self.guarded, true), self.current.take());
        for value in others {
            for command in value.items.iter().flat_map(|items| items.iter()).chain([&value]) {
                if command.text.is_some() || command.items.is_some() {
                    let given = Given { nodes: given.nodes, args: vec![command.clone()], keywords: Vec::new() };
                    self.process(Role::Process, &given, at);
                }
            }
        }
        (self.guarded, self.current) = outer;
    }

    /// What `__reduce__` gives: a function that a pickle calls, and its arguments.
    pub(super) fn reduced(&mut self, value: &Value, at: TextSize) {
        let role = |value: &Value| value.path.as_deref().and_then(names::role);
        if let (true, Some([function, ..])) = (self.reduces, value.items.as_deref())
            && matches!(role(function), Some(Role::Process | Role::Exec | Role::Terminal))
        {
            self.report("pickle-command", at);
        }
    }

    /// A connection is made and closed again.
    pub(super) fn probed(&mut self, given: &Given<'_>, at: TextSize) {
        if !given.all().any(names_loopback) {
            self.effect(Effect::Connection, at);
        }
    }

    /// A file that holds credentials is copied: `shutil.copy(file, copy)`.
    pub(super) fn stolen_to(&mut self, function: &str, given: &Given<'_>) {
        if function.starts_with("shutil.") {
            let key = given.nodes.args.get(1).and_then(|node| self.key(node));
            let text = given.args.get(1).and_then(Value::whole_text).map(ToOwned::to_owned);
            self.stolen.extend([key, text].into_iter().flatten());
        }
    }

    /// Whether a path leads to such a copy.
    pub(super) fn is_stolen(&self, node: Option<&Expr>, path: &Value) -> bool {
        !self.stolen.is_empty()
            && (node.and_then(|node| self.key(node)).is_some_and(|key| self.stolen.contains(&key))
                || path.whole_text().is_some_and(|text| self.stolen.contains(text)))
    }

    /// What a command prints.
    pub(super) fn output(&mut self, given: &Given<'_>, line: &str) -> Value {
        if shell::prints_environment(line) {
            return Value::tainted(Taint::ENVIRONMENT);
        }
        if !shell::prints_fetched(line) {
            return Value::default();
        }
        let host = |rest: &str| rest.starts_with(|c: char| c.is_ascii_alphanumeric());
        let named = line.split("://").skip(1).any(host);
        match self.current.filter(|_| given.taint().any(Taint::ARGUMENT) && !named && !self.install) {
            Some(function) => {
                self.functions[function].fetches_argument = true;
                Value::tainted(Taint::FETCHED)
            }
            None => Value::tainted(Taint::DOWNLOADED),
        }
    }

    /// Commands that send a file with credentials, or the environment.
    pub(super) fn sent_by_command(&mut self, line: &str, at: TextSize) {
        let mut parts = line.split(['|', ';', '&', '\n']).map(str::trim);
        let sends = |part: &str| program(part).is_some_and(|(name, _)| FETCHERS.contains(&name));
        if shell::prints_environment(line) && parts.clone().skip(1).any(sends) {
            self.report("environment-exfiltration", at);
        }
        let secret = parts.any(|part| {
            let files = part.split_whitespace().filter_map(|word| {
                word.split_once('@').map(|(_, file)| file).or_else(|| word.strip_prefix("--post-file="))
            });
            sends(part) && files.map(|file| file.trim_matches(['"', '\''])).any(shell::is_credential_path)
        });
        if secret {
            self.report("credential-exfiltration", at);
        }
    }

    /// Notes the files that the commands of a line fetch; gives the rest of the line, if there is any.
    pub(super) fn beside_downloads(&mut self, given: &Given<'_>, line: &str) -> Option<String> {
        if !FETCHERS.iter().any(|name| line.contains(name)) {
            return Some(line.to_owned());
        }
        let elements = match given.nodes.find_argument_value("args", 0) {
            Some(Expr::List(list)) => list.elts.as_slice(),
            Some(Expr::Tuple(tuple)) => tuple.elts.as_slice(),
            _ => &[],
        };
        let items = given.get("args", 0).and_then(|command| command.items.clone());
        if let Some(items) = items.filter(|items| items.len() == elements.len()) {
            let words: Vec<&str> = items.iter().map(Value::some_text).collect();
            let name = words.first().map(|word| plain_name(word)).filter(|name| FETCHERS.contains(name));
            let Some(name) = name else { return Some(line.to_owned()) };
            if let Some(at) = target(name, &words) {
                self.downloaded_to(elements.get(at), &items[at]);
            }
            self.downloads.extend(remote_name(name, &words));
            return None;
        }
        let mut rest = Vec::new();
        let mut fetches = false;
        for part in line.split(['|', ';', '&', '\n']).filter(|part| !part.trim().is_empty()) {
            match program(part).filter(|(name, _)| FETCHERS.contains(name)) {
                Some((name, words)) => {
                    fetches = true;
                    let joined = words.iter().find_map(|word| {
                        let flags =
                            ["--output=", "--output-document=", "--out=", if name == "wget" { "-O" } else { "-o" }];
                        flags.iter().find_map(|flag| word.strip_prefix(flag)).filter(|file| !file.is_empty())
                    });
                    let file = target(name, &words).map(|at| words[at]).or(joined);
                    let file = file.map(|file| file.trim_matches(['"', '\'']));
                    self.downloads.extend(file.filter(|file| is_file(file)).map(ToOwned::to_owned));
                    self.downloads.extend(remote_name(name, &words));
                }
                None => rest.push(part.trim()),
            }
        }
        (!fetches || !rest.is_empty()).then(|| rest.join(" "))
    }
}

/// The program of a command, and its words.
fn program(command: &str) -> Option<(&str, Vec<&str>)> {
    let words: Vec<&str> = command.split_whitespace().skip_while(|word| *word == "sudo").collect();
    Some((plain_name(words.first()?), words))
}

fn plain_name(program: &str) -> &str {
    program.rsplit(['/', '\\']).next().unwrap_or(program).trim_end_matches(".exe")
}

fn is_file(text: &str) -> bool {
    !matches!(text, "" | "-" | "/dev/null" | "/dev/stdout" | "nul" | "NUL") && !text.contains(GAP)
}

/// Which word of a command names the file that is written.
fn target(program: &str, words: &[&str]) -> Option<usize> {
    let letter = if program == "wget" { 'O' } else { 'o' };
    let flag = words.iter().position(|word| {
        let short = word.len() <= 8 && word.starts_with('-') && !word.starts_with("--") && word.ends_with(letter);
        short || matches!(*word, "--output" | "--output-document" | "--out")
    })?;
    let named = *words.get(flag + 1)?;
    let is_sink = !named.contains(GAP) && !is_file(named);
    (!is_sink).then_some(flag + 1)
}

/// The file that is named like the last part of the address.
fn remote_name(program: &str, words: &[&str]) -> Vec<String> {
    let remote = program == "wget" || words.iter().any(|word| word.starts_with('-') && word.ends_with('O'));
    if !remote || target(program, words).is_some() {
        return Vec::new();
    }
    let address = words.iter().map(|word| word.trim_matches(['"', '\''])).find(|word| word.contains("://"));
    let name = address.and_then(|address| address.rsplit('/').next()).filter(|name| is_file(name));
    name.into_iter().flat_map(|name| [name.to_owned(), format!("./{name}")]).collect()
}

/// `/proc/self/environ`, of any process.
pub(super) fn is_environment_file(path: &str) -> bool {
    path.strip_prefix("/proc/").and_then(|rest| rest.strip_suffix("/environ")).is_some_and(|id| !id.contains('/'))
}

/// Whether a path leads to a file of this package that is no source.
pub(super) fn is_package_data(path: &Value) -> bool {
    path.taint.any(Taint::PACKAGE) && is_data_name(path)
}

fn is_data_name(path: &Value) -> bool {
    let name = path.text.as_deref().and_then(|text| text.rsplit(['/', '\\']).next()).unwrap_or_default();
    !name.is_empty() && !name.contains(GAP) && !SOURCES.iter().any(|source| name.ends_with(source))
}
