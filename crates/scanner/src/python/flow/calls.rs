//! Calls of functions with a known name: where values come from, and where they must not go.

use ruff_python_ast::{Arguments, Expr, ExprCall, Identifier};
use ruff_text_size::{Ranged, TextSize};

use super::Flow;
use super::names::{self, Role};
use super::timing::Effect;
use super::value::{GAP, Taint, Value};
use crate::python::shell::{self, Command};

/// What a call is given.
pub(super) struct Given<'e> {
    pub(super) nodes: &'e Arguments,
    pub(super) args: Vec<Value>,
    pub(super) keywords: Vec<(Option<&'e str>, Value)>,
}

impl Given<'_> {
    pub(super) fn first(&self) -> Value {
        self.args.first().cloned().unwrap_or_default()
    }

    pub(super) fn get(&self, name: &str, position: usize) -> Option<&Value> {
        let keyword = self.keywords.iter().find(|(keyword, _)| *keyword == Some(name)).map(|(_, value)| value);
        keyword.or_else(|| self.args.get(position))
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Value> {
        self.args.iter().chain(self.keywords.iter().map(|(_, value)| value))
    }

    pub(super) fn taint(&self) -> Taint {
        self.all().fold(Taint::NONE, |taint, value| taint | value.taint)
    }
}

impl Flow {
    pub(super) fn call(&mut self, call: &ExprCall) -> Value {
        let at = call.start();
        let (base, callee) = match &*call.func {
            Expr::Attribute(node) => {
                let outer = std::mem::replace(&mut self.probes, node.attr.as_str() == "close");
                let base = self.eval(&node.value);
                self.probes = outer;
                let callee = self.attribute(&base, node.attr.as_str(), node.range());
                (Some((base, node)), callee)
            }
            other => (None, self.eval(other)),
        };
        let args = call.arguments.args.iter().map(|arg| self.eval(arg)).collect();
        let keywords = call.arguments.keywords.iter();
        let keywords =
            keywords.map(|keyword| (keyword.arg.as_ref().map(Identifier::as_str), self.eval(&keyword.value)));
        let keywords = keywords.collect();
        let given = Given { nodes: &call.arguments, args, keywords };

        // A call of the same thing in other words.
        if let Some((base, node)) = &base {
            match node.attr.as_str() {
                "__call__" => return self.apply(base, &given, at),
                "__getattribute__" | "__getattr__" | "__getitem__" if base.path.is_some() => {
                    return self.named_by(base, &given.first(), at);
                }
                _ => {}
            }
        }
        if callee.function.is_some() || callee.path.as_deref().is_some_and(|path| self.is_known(path)) {
            return self.apply(&callee, &given, at);
        }
        self.passed_exec(&given, at);
        match base {
            Some((base, node)) => self.method(&base, node, &given, at),
            None => Value::default(),
        }
    }

    fn is_known(&self, path: &str) -> bool {
        names::role(path.trim_start_matches('.')).is_some() || path.starts_with("class:")
    }

    /// Calls a value.
    fn apply(&mut self, callee: &Value, given: &Given<'_>, at: TextSize) -> Value {
        if let Some(function) = callee.function {
            return self.own_function(function, given, at);
        }
        let Some(path) = callee.path.clone() else { return Value::default() };
        if path.starts_with("class:") {
            let constructor = self.attributes.get(&format!("{path}.__init__")).and_then(|value| value.function);
            if let Some(function) = constructor {
                self.own_function(function, given, at);
            }
            return Value { path: Some(path), ..Value::tainted(given.taint()) };
        }
        match names::role(path.trim_start_matches('.')) {
            Some(role) => self.library(role, &path, given, at),
            None => Value::default(),
        }
    }

    fn own_function(&mut self, function: usize, given: &Given<'_>, at: TextSize) -> Value {
        self.calls(function);
        let taint = given.taint();
        let mut returns = self.functions[function].returns;
        if self.functions[function].fetches_argument {
            let runs = self.functions[function].runs_fetched;
            if given.all().any(names_address) {
                self.effect(Effect::Network, at);
                if runs {
                    self.report("downloaded-exec", at);
                }
                if returns.any(Taint::FETCHED) {
                    returns = returns.without(Taint::FETCHED) | Taint::DOWNLOADED;
                }
            } else if let (true, Some(current)) = (taint.any(Taint::ARGUMENT), self.current) {
                self.functions[current].fetches_argument = true;
                self.functions[current].runs_fetched |= runs;
            }
        }
        if self.functions[function].executes_argument {
            self.executed(taint, at);
        }
        if self.functions[function].executes_decoded {
            let written_out = given.all().any(|value| value.text.as_deref().is_some_and(|text| text.len() >= 8));
            match self.current.filter(|_| taint.any(Taint::ARGUMENT) && !written_out) {
                Some(current) => self.functions[current].executes_decoded = true,
                None if written_out => self.report("obfuscated-exec", at),
                None => self.effect(Effect::DecodedCode, at),
            }
        }
        self.passed_exec(given, at);
        let through = if returns.any(Taint::ARGUMENT) { taint } else { Taint::NONE };
        Value::tainted(returns.without(Taint::ARGUMENT) | through)
    }

    /// Whether the address of a fetch is an argument of the function around it, so that somebody else chose it.
    fn is_asked(&mut self, given: &Given<'_>) -> bool {
        let asked =
            given.taint().any(Taint::ARGUMENT) && !given.all().any(names_address) && !given.taint().any(Taint::HIDDEN);
        match self.current.filter(|_| asked && !self.install) {
            Some(function) => {
                self.functions[function].fetches_argument = true;
                true
            }
            None => false,
        }
    }

    /// Code is run that came from an address which the caller names.
    pub(super) fn runs_fetched(&mut self, at: TextSize) {
        if let Some(function) = self.current {
            self.functions[function].runs_fetched = true;
        }
        self.effect(Effect::RemoteCode, at);
        if !self.install {
            self.report("remote-code", at);
        }
    }

    /// `map(exec, parts)`, `Thread(target=exec, args=(code,))`.
    pub(super) fn passed_exec(&mut self, given: &Given<'_>, at: TextSize) {
        self.passed_process(given, at);
        let is_exec = |value: &Value| value.path.as_deref().and_then(names::role) == Some(Role::Exec);
        if given.all().any(is_exec) {
            self.executed(given.taint(), at);
        }
    }

    /// Something with this taint is run as Python code.
    pub(super) fn executed(&mut self, taint: Taint, at: TextSize) {
        let given = taint.any(Taint::ARGUMENT) && !taint.any(Taint::EMBEDDED) && !self.install;
        if taint.any(Taint::DOWNLOADED) {
            self.report("downloaded-exec", at);
        } else if let (true, true, Some(function)) = (taint.any(Taint::HIDDEN), given, self.current) {
            self.functions[function].executes_decoded = true;
            self.effect(Effect::DecodedCode, at);
            self.report("decoded-code", at);
        } else if taint.any(Taint::HIDDEN) {
            self.report("obfuscated-exec", at);
        } else if taint.any(Taint::FETCHED) {
            self.runs_fetched(at);
        } else if taint.any(Taint::DATA) {
            self.effect(Effect::DataFile, at);
        }
        if let (true, Some(function)) = (taint.any(Taint::ARGUMENT), self.current) {
            self.functions[function].executes_argument = true;
        }
    }

    /// A name that is taken by its text, from a module or from the builtins.
    pub(super) fn named_by(&mut self, base: &Value, name: &Value, at: TextSize) -> Value {
        let Some(path) = base.path.clone() else {
            self.hidden_name(name, "", at);
            return Value::tainted(base.taint);
        };
        self.hidden_name(name, &path, at);
        match name.whole_text() {
            Some(text) => {
                let text = text.to_owned();
                self.attribute(base, &text, ruff_text_size::TextRange::empty(at))
            }
            None => Value::tainted(base.taint),
        }
    }

    /// Reports a name that was decoded or scrambled, when it is taken from a module.
    pub(super) fn hidden_name(&mut self, name: &Value, owner: &str, at: TextSize) {
        let decoded =
            name.taint.any(Taint::DECODED) && name.taint.any(Taint::EMBEDDED) && owner != "builtins.globals()";
        let scrambled = name.taint.any(Taint::SCRAMBLED)
            && name.whole_text().is_some_and(|text| {
                names::role(&format!("{owner}.{text}")).is_some()
                    || matches!(owner, "sys.modules" | "import" | "builtins")
            });
        if (decoded || scrambled) && !owner.starts_with("class:") {
            self.report("hidden-name", at);
        }
    }

    fn library(&mut self, role: Role, path: &str, given: &Given<'_>, at: TextSize) -> Value {
        let first = given.first();
        let taint = given.taint();
        match role {
            Role::Exec | Role::Compile => {
                let source = given.get("source", 0).cloned().unwrap_or_default();
                if role == Role::Exec {
                    self.executed(source.taint, at);
                }
                match source.whole_text() {
                    Some(text) => {
                        let text = text.to_owned();
                        let result = self.code(&text, at);
                        if role == Role::Exec { result } else { source }
                    }
                    None => {
                        if role == Role::Exec && source.path.is_none() {
                            self.effect(Effect::Exec, at);
                        }
                        Value::tainted(source.taint)
                    }
                }
            }
            Role::CodeToFunction => {
                self.executed(first.taint, at);
                Value::default()
            }
            Role::Import => {
                self.hidden_name(&first, "import", at);
                match first.whole_text() {
                    Some(name) if path.ends_with("__import__") => Value::path(name.split('.').next().unwrap_or(name)),
                    Some(name) => self.named(name),
                    None => Value::default(),
                }
            }
            Role::GetAttribute => {
                let name = given.args.get(1).cloned().unwrap_or_default();
                self.named_by(&first, &name, at)
            }
            Role::Namespace if given.args.is_empty() => Value::path("builtins.globals()"),
            Role::Namespace => Value { path: first.path.clone(), ..Value::tainted(first.taint) },
            Role::Decode(kind) => {
                self.facts.payload = true;
                first.decoded(taint, kind)
            }
            Role::Reverse => self.reversed(&first),
            Role::CodecDecode => {
                let hides = given.get("encoding", 1).and_then(Value::whole_text).is_some_and(names::is_hiding_codec);
                if hides {
                    first.decoded(taint, Taint::DECODED)
                } else {
                    Value { text: first.text, ..Value::tainted(taint) }
                }
            }
            Role::Unmarshal => {
                let known = first.text.is_some() || taint.any(Taint::HIDDEN | Taint::DOWNLOADED);
                if known { first.decoded(taint, Taint::DECODED) } else { Value::tainted(taint) }
            }
            Role::Process | Role::Terminal => self.process(role, given, at),
            Role::Load
            | Role::LoadLibrary
            | Role::LoadSource
            | Role::SearchPath
            | Role::Pip
            | Role::RunModule
            | Role::Same
            | Role::Partial
            | Role::Folder
            | Role::Resources
            | Role::Resource
            | Role::SitePackages
            | Role::SitePackagesList => self.loader(role, given, at),
            Role::Fetch | Role::FetchFile | Role::Connect => {
                self.sent(given, at);
                let asked = self.is_asked(given);
                // A request is only sent later; what it carries is known here.
                let carries = given.keywords.iter().any(|(name, _)| *name == Some("data")) || given.args.len() > 1;
                if role == Role::Connect && self.probes && !given.taint().any(Taint::HOST | Taint::SECRET) {
                    self.probed(given, at);
                } else if !asked && (carries || !path.ends_with(".Request")) {
                    self.network(given, at);
                }
                self.facts.payload = true;
                if let (Role::FetchFile, Some(node)) = (role, given.nodes.find_argument_value("filename", 1)) {
                    let target = given.get("filename", 1).cloned().unwrap_or_default();
                    self.downloaded_to(Some(node), &target);
                }
                let kind = match role {
                    Role::Connect => Taint::SOCKET,
                    _ if asked => Taint::FETCHED,
                    _ => Taint::DOWNLOADED,
                };
                Value { path: object(path), ..Value::tainted(kind) }
            }
            Role::Lookup => {
                let carries = first.text.as_deref().is_some_and(|text| text.contains(GAP) && text.contains('.'));
                if carries && taint.any(Taint::SECRET | Taint::HOST) {
                    self.sent(given, at);
                    self.effect(Effect::Beacon, at);
                }
                Value::default()
            }
            Role::Object => {
                let kind = if path.ends_with("socket.socket") { Taint::SOCKET } else { Taint::NONE };
                Value { path: object(path), file: first.text.clone(), ..Value::tainted(kind | taint) }
            }
            Role::Open => self.opened(&first, given, at),
            Role::FileRead => {
                let secret = given.all().any(|value| value.text.as_deref().is_some_and(shell::is_credential_path))
                    || self.is_stolen(given.nodes.args.first(), &first);
                if secret {
                    self.effect(Effect::Credentials, at);
                    self.stolen_to(path, given);
                }
                Value::tainted(if secret { taint | Taint::CREDENTIAL } else { taint })
            }
            Role::CopyFile => {
                if let (true, Some(node)) =
                    (first.taint.any(Taint::DOWNLOADED | Taint::FETCHED), given.nodes.args.get(1))
                {
                    let file = given.args.get(1).cloned().unwrap_or_default();
                    self.written(node, &file);
                }
                Value::default()
            }
            Role::Pass => {
                let text = first.text.clone();
                Value { text, items: first.items.clone(), file: first.file.clone(), ..Value::tainted(taint) }
            }
            Role::JoinPath => {
                let joined = given.args.iter().cloned().reduce(|left, right| {
                    let taint = left.taint | right.taint;
                    self.join(left, "/", &right).with(taint)
                });
                let joined = joined.unwrap_or_default();
                Value { path: Some("pathlib.Path".into()).filter(|_| path.starts_with("pathlib")), ..joined }
            }
            Role::Host => Value::tainted(Taint::HOST),
            Role::Duplicate => {
                if first.taint.any(Taint::SOCKET) {
                    self.facts.socket_duplicated.get_or_insert(self.place.unwrap_or(at));
                }
                Value::default()
            }
            Role::Later => {
                for function in given.all().filter_map(|value| value.function).collect::<Vec<_>>() {
                    self.own_function(function, given, at);
                }
                self.passed_exec(given, at);
                Value::default()
            }
            Role::Character => {
                let text = first.number.and_then(|number| u32::try_from(number).ok()).and_then(char::from_u32);
                Value { text: text.map(|c| c.to_string().into()), ..Value::tainted(taint | Taint::CHARACTER) }
            }
            Role::Bytes => bytes(&first, taint),
            Role::Map => {
                self.passed_exec(given, at);
                let kind = match first.path.as_deref().and_then(names::role) {
                    Some(Role::Character) => Taint::CHARACTER,
                    Some(Role::Decode(kind)) => kind,
                    _ => Taint::NONE,
                };
                let own =
                    first.function.map(|function| self.own_function(function, given, at).taint).unwrap_or_default();
                Value::tainted(taint | kind | own)
            }
            Role::FunctionPointer => {
                self.facts.function_pointer = true;
                Value::default()
            }
            Role::MapMemory => Value::default(),
            Role::Setup => {
                if given.get("cmdclass", usize::MAX).is_some() && self.install {
                    self.effect(Effect::Command, at);
                }
                Value::default()
            }
            Role::Packer => {
                self.report("packed-code", at);
                Value::default()
            }
            Role::Paste => {
                self.facts.clipboard_read = true;
                Value::default()
            }
            Role::Copy => {
                self.facts.clipboard_written.get_or_insert(self.place.unwrap_or(at));
                Value::default()
            }
        }
    }

    /// The network is used, unless it is the machine's own.
    pub(super) fn network(&mut self, given: &Given<'_>, at: TextSize) {
        if given.all().any(names_loopback) {
            return;
        }
        let tells = given.taint().any(Taint::HOST | Taint::SECRET)
            || given.keywords.iter().any(|(name, _)| matches!(name, Some("data" | "json" | "files" | "content")));
        self.effect(if tells { Effect::Beacon } else { Effect::Network }, at);
    }

    /// Data leaves the machine.
    pub(super) fn sent(&mut self, given: &Given<'_>, at: TextSize) {
        let keywords =
            given.keywords.iter().filter(|(name, _)| !matches!(name, Some("auth" | "cert" | "proxies" | "verify")));
        let values = given.args.iter().chain(keywords.map(|(_, value)| value));
        let taint = values.fold(Taint::NONE, |taint, value| taint | value.taint);
        let body = given.keywords.iter().filter(|(name, _)| !matches!(name, Some("headers" | "auth")));
        let body = given.args.iter().chain(body.map(|(_, value)| value)).any(|value| value.taint.any(Taint::TOKEN));
        if taint.any(Taint::CREDENTIAL) || body {
            self.report("credential-exfiltration", at);
        } else if taint.any(Taint::ENVIRONMENT) {
            self.report("environment-exfiltration", at);
        }
    }

    pub(super) fn process(&mut self, role: Role, given: &Given<'_>, at: TextSize) -> Value {
        self.effect(Effect::Process, at);
        if !self.spend(0) {
            return Value::default();
        }
        let command = given.get("args", 0).or_else(|| given.get("cmd", 0)).cloned().unwrap_or_default();
        // os.execl(path, arg0, arg1): all arguments are the command.
        let line = given.args.iter().filter_map(Value::command_line).collect::<Vec<_>>().join(" ");
        let line = if given.args.is_empty() { command.command_line().unwrap_or_default() } else { line };
        if !self.spend(line.len()) {
            return Value::default();
        }

        let program = program_taint(&command, &line);
        if program.any(Taint::DOWNLOADED) {
            self.report("remote-command", at);
        } else if program.any(Taint::HIDDEN) {
            self.report("obfuscated-command", at);
        } else if program.any(Taint::FETCHED) {
            self.runs_fetched(at);
        }
        match shell::command(&line) {
            Some(Command::ReverseShell) => self.report("reverse-shell", at),
            Some(Command::DownloadExecute) => self.report("shell-download-execute", at),
            Some(Command::Encoded) => self.report("obfuscated-command", at),
            Some(Command::Network) => self.effect(Effect::Network, at),
            None => {}
        }
        if shell::is_persistence(&line) {
            self.effect(Effect::Persistence, at);
        }
        let streams = ["stdin", "stdout", "stderr"];
        let to_socket = given
            .keywords
            .iter()
            .any(|(name, value)| name.is_some_and(|name| streams.contains(&name)) && value.taint.any(Taint::SOCKET));
        if to_socket {
            self.report("reverse-shell", at);
        }
        self.facts.shell_started |= role == Role::Terminal
            || line.split_whitespace().any(|word| {
                matches!(
                    word.rsplit(['/', '\\']).next(),
                    Some("sh" | "bash" | "zsh" | "dash" | "cmd" | "cmd.exe" | "powershell" | "powershell.exe")
                )
            });
        self.runs_download(given, &line, at);
        if let Some(code) = python_code(&command, &given.args) {
            self.program(&code, at);
        }
        self.sent_by_command(&line, at);
        self.installs(&line, at);
        self.output(given, &line)
    }
}

/// Whether a text names a host, with or without a scheme.
fn names_address(value: &Value) -> bool {
    let text = value.some_text();
    let host = text.split_once("://").map_or(text, |(_, rest)| rest);
    text != "\u{fffc}" && host.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '[') && host.contains(['.', ':'])
}

pub(super) fn names_loopback(value: &Value) -> bool {
    let text = value.some_text();
    let host = text.split_once("://").map_or(text, |(_, rest)| rest);
    let own = ["127.", "localhost", "[::1]", "::1"].iter().any(|name| host.starts_with(name));
    own || value.items.iter().flat_map(|items| items.iter()).any(|item| item.items.is_none() && names_loopback(item))
}

/// An object that a class makes keeps the class's name, so that its methods have names.
fn object(path: &str) -> Option<std::rc::Rc<str>> {
    let class = path.rsplit('.').next()?;
    let makes = class.starts_with(char::is_uppercase) || matches!(class, "socket" | "session" | "build_opener");
    makes.then(|| path.into())
}

/// `bytes([105, 109])` spells text; `bytes(path)` does not.
fn bytes(first: &Value, taint: Taint) -> Value {
    let Some(items) = first.items.as_deref() else {
        let spelled = taint.any(Taint::COMBINED | Taint::NUMBERS);
        return Value {
            text: first.text.clone(),
            ..Value::tainted(if spelled { taint | Taint::SCRAMBLED } else { taint })
        };
    };
    let spelled: Option<String> =
        items.iter().map(|item| item.number.and_then(|number| u8::try_from(number).ok()).map(char::from)).collect();
    match spelled {
        Some(text) if !text.is_empty() => Value::text(text).with(taint | Taint::SCRAMBLED),
        _ => Value::tainted(taint),
    }
}

/// The taint of what is started, not of what it is given.
fn program_taint(command: &Value, line: &str) -> Taint {
    match command.items.as_deref() {
        Some([.., flag, code]) if matches!(flag.whole_text(), Some("-c" | "/c" | "/C" | "-e" | "-Command")) => {
            code.taint
        }
        Some([program, ..]) => program.taint,
        Some([]) => Taint::NONE,
        None if line.is_empty() || line.trim_start().starts_with(GAP) => command.taint,
        // Text of which the start is known names its program itself.
        None if command.taint.any(Taint::HIDDEN) && !line.contains(GAP) => command.taint,
        None => Taint::NONE,
    }
}

/// The code of `python -c CODE`.
fn python_code(command: &Value, args: &[Value]) -> Option<String> {
    let items = command.items.as_deref().unwrap_or(args);
    let flag = items.iter().position(|item| item.whole_text() == Some("-c"))?;
    items.get(flag + 1)?.whole_text().map(ToOwned::to_owned)
}
