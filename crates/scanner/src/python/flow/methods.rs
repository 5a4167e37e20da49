//! Methods of objects of which only the taint is known, and files: what is read from them and written to them.

use ruff_python_ast::{Expr, ExprAttribute};
use ruff_text_size::{Ranged, TextSize};

use super::Flow;
use super::calls::Given;
use super::loads::{is_environment_file, is_package_data};
use super::names;
use super::timing::Effect;
use super::value::{Taint, Value};
use crate::python::{lexical, shell};

/// Programs that look at a file or unpack it, and do not run it.
const HARMLESS: &[&str] = &[
    "tar",
    "unzip",
    "gunzip",
    "bunzip2",
    "xz",
    "unxz",
    "7z",
    "7za",
    "unrar",
    "gzip",
    "zip",
    "file",
    "git",
    "cp",
    "mv",
    "rm",
    "ls",
    "cat",
    "md5sum",
    "sha256sum",
    "sha1sum",
    "shasum",
    "gpg",
    "openssl",
    "patch",
    "ffmpeg",
    "ffprobe",
    "convert",
    "diff",
    "ar",
    "cpio",
    "lipo",
    "install_name_tool",
    "codesign",
    "xattr",
    "hdiutil",
    "pdftotext",
    "dot",
    "protoc",
    "less",
    "grep",
    "sed",
];

impl Flow {
    pub(super) fn method(&mut self, base: &Value, node: &ExprAttribute, given: &Given<'_>, at: TextSize) -> Value {
        let taint = given.taint();
        let own = base.taint;
        match node.attr.as_str() {
            "get" | "pop" | "setdefault" if base.path.as_deref() == Some("os.environ") => {
                Value::tainted(given.first().taint & Taint::ENVIRONMENT)
            }
            "recv" | "recvfrom" | "recv_into" | "recv_bytes" | "makefile" | "read" | "readline" | "readexactly"
            | "readuntil"
                if own.any(Taint::SOCKET) =>
            {
                Value::tainted((own | Taint::DOWNLOADED | Taint::RECEIVED).without(Taint::SOCKET))
            }
            "write" | "writelines" if own.any(Taint::SOCKET) && taint.any(Taint::SECRET) => {
                self.sent(given, at);
                Value::default()
            }
            "extractall" if own.any(Taint::DOWNLOADED) => {
                self.extracted(given);
                Value::default()
            }
            "send" | "sendall" | "sendto" | "connect" | "connect_ex" if own.any(Taint::SOCKET) => {
                self.sent(given, at);
                if node.attr.starts_with("connect") || taint.any(Taint::HOST | Taint::SECRET) {
                    self.network(given, at);
                }
                Value::default()
            }
            "sendmail" | "send_message" | "storbinary" | "post" | "put" | "request" | "sendfile"
                if taint.any(Taint::SECRET) =>
            {
                self.sent(given, at);
                Value::tainted(Taint::DOWNLOADED)
            }
            "append" | "extend" | "insert" | "update" | "add" | "write" | "writelines" | "put" | "appendleft"
            | "writestr" => {
                if node.attr.starts_with("write") && taint.any(Taint::DOWNLOADED | Taint::FETCHED) {
                    self.written(&node.value, base);
                }
                if node.attr.starts_with("write") {
                    self.writes_code(&given.first(), at);
                }
                let kept = taint.without(Taint::SOCKET);
                if kept != Taint::NONE {
                    self.mix_into(&node.value, kept);
                }
                Value::default()
            }
            "write_bytes" | "write_text" => {
                self.writes_code(&given.first(), at);
                if taint.any(Taint::DOWNLOADED | Taint::FETCHED) {
                    self.downloaded_to(Some(&node.value), base);
                }
                if base.text.as_deref().is_some_and(shell::is_persistence) {
                    self.effect(Effect::Persistence, at);
                }
                Value::default()
            }
            "read_text" | "read_bytes" | "open" if base.text.is_some() => self.opened(base, given, at),
            "join" => {
                let separator = base.whole_text().map(ToOwned::to_owned);
                let text = match (separator, given.first().items) {
                    (Some(separator), Some(items))
                        if self.spend(items.iter().map(|item| item.some_text().len() + separator.len()).sum()) =>
                    {
                        let parts: Vec<_> = items.iter().map(Value::some_text).collect();
                        Some(parts.join(&separator).into())
                    }
                    _ => given.first().text,
                };
                let spelled = taint.any(Taint::CHARACTER | Taint::COMBINED);
                Value { text, ..Value::tainted(own | taint | if spelled { Taint::SCRAMBLED } else { Taint::NONE }) }
            }
            "format" | "format_map" => {
                let length = base.some_text().len() + given.all().map(|value| value.some_text().len()).sum::<usize>();
                let text =
                    base.text.as_deref().filter(|_| self.spend(length)).map(|text| fill(text, given)).map(Into::into);
                Value { text, ..Value::tainted(own | taint) }
            }
            "decode" | "encode" => {
                let hides = given.get("encoding", 0).and_then(Value::whole_text).is_some_and(names::is_hiding_codec);
                if hides {
                    base.decoded(own, Taint::DECODED)
                } else {
                    Value { text: base.text.clone(), ..Value::tainted(own) }
                }
            }
            "replace" => {
                let text = match (base.whole_text(), given.args.as_slice()) {
                    (Some(text), [from, to, ..]) => match (from.whole_text(), to.whole_text()) {
                        (Some(from), Some(to))
                            if text.len().saturating_mul(to.len() + 1) <= super::value::MAX_TEXT
                                && self.spend(text.len()) =>
                        {
                            Some(text.replace(from, to).into())
                        }
                        _ => None,
                    },
                    _ => None,
                };
                Value { text, ..Value::tainted(own | taint) }
            }
            "lower" | "upper" | "strip" | "lstrip" | "rstrip" | "expanduser" | "resolve" | "absolute" | "as_posix" => {
                Value { text: base.text.clone(), path: base.path.clone(), ..Value::tainted(own) }
            }
            "joinpath" => {
                let mut joined = base.clone();
                for arg in &given.args {
                    let taint = joined.taint | arg.taint;
                    joined = self.join(joined, "/", arg).with(taint);
                }
                joined
            }
            "translate" if base.text.is_some() => Value::tainted(own | Taint::SCRAMBLED),
            name => match names::method_taint(name) {
                Taint::NONE => Value::tainted(own),
                kind if base.text.is_some() => base.decoded(own, kind),
                kind => given.first().decoded(own | taint, kind),
            },
        }
    }

    /// Text that is written to a file, to be run from there.
    fn writes_code(&mut self, text: &Value, at: TextSize) {
        let Some(text) = text.text.clone().filter(|text| self.spend(text.len())) else { return };
        if let Some(rule) = text.lines().find_map(lexical::line_rule) {
            self.report(rule, at);
        } else if ["exec", "eval", "system", "subprocess"].iter().any(|name| text.contains(name)) {
            // What it does is not done now, so it has no effects here.
            let outer = (std::mem::replace(&mut self.guarded, true), self.current.take());
            self.program(&text, at);
            (self.guarded, self.current) = outer;
        }
    }

    /// A file is opened, or read in one go.
    pub(super) fn opened(&mut self, path: &Value, given: &Given<'_>, at: TextSize) -> Value {
        let mode = given.get("mode", 1).and_then(Value::whole_text).unwrap_or("r");
        let writes = mode.contains(['w', 'a', 'x', '+']);
        let mut taint = path.taint & (Taint::ARGUMENT | Taint::CREDENTIAL | Taint::TOKEN);
        match path.text.as_deref() {
            Some(text) if writes && shell::is_persistence(text) => self.effect(Effect::Persistence, at),
            Some(text) if !writes && shell::is_credential_path(text) => {
                self.effect(Effect::Credentials, at);
                taint |= if shell::is_token_path(text) { Taint::TOKEN } else { Taint::CREDENTIAL };
            }
            Some(text) if !writes && is_environment_file(text) => taint |= Taint::ENVIRONMENT,
            _ => {}
        }
        // Reading back what was downloaded.
        let node = given.nodes.args.first();
        if !writes && self.is_stolen(node, path) {
            taint |= Taint::CREDENTIAL;
        }
        if !writes && is_package_data(path) {
            taint |= Taint::DATA;
        }
        if !writes && self.is_downloaded(node, path) {
            taint |= Taint::DOWNLOADED;
        }
        let file = path.text.clone().or_else(|| node.and_then(|node| self.key(node)).map(Into::into));
        Value { file, ..Value::tainted(taint) }
    }

    /// Downloaded bytes are written to an open file.
    pub(super) fn written(&mut self, node: &Expr, file: &Value) {
        if let Some(path) = &file.file {
            self.downloads.insert(path.to_string());
        }
        self.downloaded_to(Some(node), &Value::default());
    }

    /// Downloaded bytes are in the file with this path.
    pub(super) fn downloaded_to(&mut self, node: Option<&Expr>, path: &Value) {
        let key = node.and_then(|node| self.key(node));
        self.downloads.extend(key);
        self.downloads.extend(path.whole_text().map(ToOwned::to_owned));
    }

    pub(super) fn is_downloaded(&self, node: Option<&Expr>, path: &Value) -> bool {
        node.and_then(|node| self.key(node)).is_some_and(|key| self.downloads.contains(&key))
            || path.whole_text().is_some_and(|text| self.downloads.contains(text))
    }

    /// How a variable that holds a path is known: by the function and the name.
    pub(super) fn key(&self, node: &Expr) -> Option<String> {
        let name = match node {
            Expr::Name(name) => name.id.as_str(),
            Expr::Attribute(_) => self.source.get(node.start().to_usize()..node.end().to_usize())?,
            Expr::Call(call) => return call.arguments.args.first().and_then(|arg| self.key(arg)),
            _ => return None,
        };
        Some(format!("{:?}:{name}", self.current))
    }

    /// Reports a program that was downloaded before.
    pub(super) fn runs_download(&mut self, given: &Given<'_>, line: &str, at: TextSize) {
        let Some(line) = self.beside_downloads(given, line).filter(|_| !self.downloads.is_empty()) else { return };
        let first = line.split_whitespace().next().unwrap_or_default();
        let program = first.rsplit(['/', '\\']).next().unwrap_or_default();
        if HARMLESS.contains(&program.trim_end_matches(".exe")) {
            return;
        }
        let mut nodes: Vec<&Expr> = given.nodes.args.iter().collect();
        nodes.extend(
            given
                .nodes
                .keywords
                .iter()
                .filter(|keyword| keyword.arg.as_deref() == Some("args"))
                .map(|keyword| &keyword.value),
        );
        let runs = nodes.into_iter().any(|node| self.names_download(node))
            || line.split_whitespace().any(|word| self.downloads.contains(word));
        let asked = self.current.is_some_and(|function| self.functions[function].fetches_argument);
        match (runs, asked) {
            (true, true) => self.runs_fetched(at),
            (true, false) => self.report("download-execute", at),
            _ => {}
        }
    }

    fn names_download(&self, node: &Expr) -> bool {
        match node {
            Expr::List(list) => list.elts.iter().any(|node| self.names_download(node)),
            Expr::Tuple(tuple) => tuple.elts.iter().any(|node| self.names_download(node)),
            Expr::BinOp(node) => self.names_download(&node.left) || self.names_download(&node.right),
            Expr::FString(node) => node
                .value
                .elements()
                .any(|element| element.as_interpolation().is_some_and(|part| self.names_download(&part.expression))),
            node => self.key(node).is_some_and(|key| self.downloads.contains(&key)),
        }
    }
}

/// `"{} {name}".format(...)`, as far as it can be told.
fn fill(format: &str, given: &Given<'_>) -> String {
    let mut out = String::with_capacity(format.len());
    let mut rest = format;
    let mut next = 0;
    while let Some(open) = rest.find('{') {
        out.push_str(&rest[..open]);
        let Some(length) = rest[open..].find('}') else { break };
        let field = &rest[open + 1..open + length];
        let position = field.parse::<usize>().unwrap_or(next);
        next += 1;
        let value = given.get(
            field,
            if field.is_empty() || field.bytes().all(|b| b.is_ascii_digit()) { position } else { usize::MAX },
        );
        out.push_str(value.map_or("\u{fffc}", Value::some_text));
        rest = &rest[open + length + 1..];
        if out.len() > super::value::MAX_TEXT {
            break;
        }
    }
    out.push_str(rest);
    out
}
