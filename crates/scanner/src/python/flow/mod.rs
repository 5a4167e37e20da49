//! Reads what code does: follows values from where they come (a decoder, the network, the environment, a credentials file) to
//! where they go (executed, run as a command, sent), and notes what happens at install or import time.
//!
//! It is a reading, not a proof. Values are followed through assignments, containers, string building, functions and lambdas
//! of one file; a variable that once held something keeps its taint. The file is read twice, the second time with what was
//! learned of its functions.

mod calls;
mod expr;
mod loads;
mod methods;
mod names;
mod nested;
mod stmt;
mod timing;
mod value;

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use ruff_python_ast::Stmt;
use ruff_text_size::TextSize;

use super::report::Reporter;
use crate::context::FileContext;
pub(super) use stmt::notebook_rule;
use timing::Effect;
use value::{Taint, Value};

/// How deep code in strings is followed: `exec("exec('...')")`.
const MAX_NESTED: usize = 4;

/// The most bytes of text that are put together or searched for one file, a multiple of what any real file needs.
pub const MAX_TEXT_WORK: usize = 64 * 1024 * 1024;

/// The most bytes of code in strings that are read for one file.
pub const MAX_NESTED_BYTES: usize = 4 * 1024 * 1024;

/// Whether the source is to be read whatever its survey says: it runs at install time, or as soon as the package is imported.
pub(super) fn is_always_read(context: &FileContext<'_>) -> bool {
    super::runs_at_install(context) || timing::is_package(context)
}

/// Runs the rules about behaviour over one parsed source; false when that would take too much work. `drops`: look for addresses
/// of private drops.
pub(super) fn check(suite: &[Stmt], drops: bool, reporter: &mut Reporter<'_>) -> bool {
    let source: Rc<str> = reporter.text().into();
    let context = reporter.context();
    let mut flow = Flow {
        silent: true,
        install: super::runs_at_install(context),
        import_time: timing::is_imported(context),
        package: timing::is_package(context),
        drops,
        source,
        found: Vec::new(),
        scopes: vec![Scope::default()],
        functions: Vec::new(),
        function_ids: HashMap::new(),
        attributes: HashMap::new(),
        downloads: HashSet::new(),
        current: None,
        class: None,
        guarded: false,
        reduces: false,
        probes: false,
        stolen: HashSet::new(),
        import_calls: Vec::new(),
        stars: Vec::new(),
        facts: Facts::default(),
        place: None,
        nested: 0,
        text_work: 0,
        nested_bytes: 0,
    };
    flow.body(suite);
    flow.silent = false;
    flow.body(suite);
    flow.conclude();
    flow.found.sort_by_key(|(_, at)| *at);
    for (rule, at) in &flow.found {
        reporter.report(rule, *at);
    }
    flow.text_work <= MAX_TEXT_WORK && flow.nested_bytes <= MAX_NESTED_BYTES
}

/// The names of one function, or of the module.
#[derive(Default)]
struct Scope {
    names: HashMap<String, Value>,
    globals: HashSet<String>,
}

/// What is known of a function of this file.
#[derive(Default)]
struct Function {
    /// Where its results come from; [`Taint::ARGUMENT`] when from its arguments.
    returns: Taint,
    /// It executes one of its arguments.
    executes_argument: bool,
    /// It fetches from an address that is one of its arguments.
    fetches_argument: bool,
    /// And runs what it fetched there.
    runs_fetched: bool,
    /// A call of it only tells a tool to run it later.
    deferred: bool,
    /// It decodes and executes one of its arguments.
    executes_decoded: bool,
    /// What it does that matters at install or import time, and where.
    effects: Vec<(Effect, TextSize)>,
    /// Functions of this file that it calls.
    calls: HashSet<usize>,
}

/// What was seen anywhere in the file; some rules need two such facts.
#[derive(Default)]
struct Facts {
    socket_duplicated: Option<TextSize>,
    shell_started: bool,
    memory_made_executable: Option<TextSize>,
    machine_code_started: bool,
    /// Bytes that could be machine code: written out, decoded or downloaded.
    payload: bool,
    function_pointer: bool,
    clipboard_read: bool,
    clipboard_written: Option<TextSize>,
    wallet_pattern: bool,
}

struct Flow {
    /// The first reading only learns.
    silent: bool,
    install: bool,
    import_time: bool,
    package: bool,
    drops: bool,
    /// The text that offsets of the code being read refer to.
    source: Rc<str>,
    found: Vec<(&'static str, TextSize)>,
    scopes: Vec<Scope>,
    functions: Vec<Function>,
    function_ids: HashMap<(usize, TextSize), usize>,
    attributes: HashMap<String, Value>,
    downloads: HashSet<String>,
    current: Option<usize>,
    class: Option<String>,
    /// Inside `if __name__ == "__main__":`.
    guarded: bool,
    /// Inside `__reduce__`, whose result a pickle calls.
    reduces: bool,
    /// The connection that is made is closed at once.
    probes: bool,
    /// Copies of files that hold credentials.
    stolen: HashSet<String>,
    import_calls: Vec<usize>,
    /// Modules of `from m import *`.
    stars: Vec<String>,
    facts: Facts,
    /// Where the string stands whose code is being read.
    place: Option<TextSize>,
    nested: usize,
    text_work: usize,
    nested_bytes: usize,
}

impl Flow {
    /// Counts work on texts; false when there was too much of it.
    fn spend(&mut self, bytes: usize) -> bool {
        self.text_work = self.text_work.saturating_add(bytes);
        self.text_work <= MAX_TEXT_WORK
    }

    fn report(&mut self, rule: &'static str, at: TextSize) {
        if !self.silent {
            self.found.push((rule, self.place.unwrap_or(at)));
        }
    }

    /// What a name means here.
    fn lookup(&self, name: &str) -> Value {
        if let Some(value) = self.scopes.iter().rev().find_map(|scope| scope.names.get(name)) {
            return value.clone();
        }
        if name == "__builtins__" {
            return Value::path("builtins");
        }
        if matches!(name, "__file__" | "__path__") {
            return Value::tainted(Taint::PACKAGE);
        }
        if names::BUILTINS.contains(&name) {
            return Value::path(format!("builtins.{name}"));
        }
        if let Some(value) = self.attributes.get(&format!("builtins.{name}")) {
            return value.clone();
        }
        self.stars
            .iter()
            .map(|module| format!("{module}.{name}"))
            .find(|path| names::role(path).is_some() || path == "os.environ")
            .map(|path| self.named(&path))
            .unwrap_or_default()
    }

    /// A value with this dotted name.
    fn named(&self, path: &str) -> Value {
        if let Some(value) = self.attributes.get(path) {
            return value.clone();
        }
        match path {
            "os.environ" | "os.environb" => Value::path(path).with(Taint::ENVIRONMENT),
            _ => Value::path(path),
        }
    }

    fn bind(&mut self, name: &str, value: Value) {
        let depth = self.scopes.len() - 1;
        let global = self.scopes[depth].globals.contains(name);
        let scope = &mut self.scopes[if global { 0 } else { depth }];
        let old = scope.names.remove(name).unwrap_or_default();
        scope.names.insert(name.to_owned(), value.over(old));
    }

    /// What a name means here; the variable of this scope is left without it.
    fn take(&mut self, name: &str) -> Value {
        let own = self.scopes.last_mut().and_then(|scope| scope.names.remove(name));
        own.unwrap_or_else(|| self.lookup(name))
    }

    /// The number of the function that starts at `at`; the same in both readings.
    fn function_id(&mut self, at: TextSize) -> usize {
        let key = (self.nested + self.place.map_or(0, |place| place.to_usize() << 3), at);
        let next = self.functions.len();
        let id = *self.function_ids.entry(key).or_insert(next);
        if id == next {
            self.functions.push(Function::default());
        }
        id
    }

    /// The rules that need more than one fact.
    fn conclude(&mut self) {
        if let (Some(at), true) = (self.facts.socket_duplicated, self.facts.shell_started) {
            self.found.push(("reverse-shell", at));
        }
        if let Some(at) = self.facts.memory_made_executable {
            if self.facts.machine_code_started && self.facts.payload {
                self.found.push(("shellcode-loader", at));
            } else if self.facts.function_pointer || self.facts.machine_code_started {
                self.found.push(("runtime-machine-code", at));
            }
        }
        if let Some(at) = self.facts.clipboard_written
            && self.facts.clipboard_read
            && self.facts.wallet_pattern
        {
            self.found.push(("clipboard-hijack", at));
        }
        self.report_import_time();
    }
}
