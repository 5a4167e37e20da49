//! Statements: what they bind, and what is inside them.

use ruff_python_ast::{
    self as ast, ExceptHandler, Expr, IpyEscapeKind, Operator, Parameters, Stmt, StmtClassDef, StmtFunctionDef, StmtIf,
};
use ruff_text_size::{Ranged, TextSize};

use super::value::{Taint, Value};
use super::{Flow, Scope, names};
use crate::python::shell::{self, Command};

impl Flow {
    pub(super) fn body(&mut self, body: &[Stmt]) {
        for statement in body {
            self.statement(statement);
        }
    }

    fn statement(&mut self, statement: &Stmt) {
        match statement {
            Stmt::FunctionDef(function) => self.function(function),
            Stmt::ClassDef(class) => self.class(class),
            Stmt::Return(node) => {
                if let Some(value) = &node.value {
                    let value = self.eval(value);
                    self.reduced(&value, node.start());
                    let taint = value.taint;
                    if let Some(function) = self.current {
                        self.functions[function].returns |= taint;
                    }
                }
            }
            Stmt::Assign(node) => {
                let value = self.eval(&node.value);
                for target in &node.targets {
                    self.assign(target, value.clone());
                }
            }
            Stmt::AugAssign(node) => {
                // Taken out of its variable, so that a text can grow in place.
                let old = match &*node.target {
                    Expr::Name(name) => self.take(name.id.as_str()),
                    target => self.eval(target),
                };
                let new = self.eval(&node.value);
                let spells = new.taint.any(Taint::CHARACTER | Taint::COMBINED);
                let taint = old.taint | new.taint | if spells { Taint::SCRAMBLED } else { Taint::NONE };
                let value = match node.op {
                    Operator::Add => self.join(old, "", &new),
                    Operator::Div => self.join(old, "/", &new),
                    _ => Value::default(),
                };
                self.assign(&node.target, value.with(taint));
            }
            Stmt::AnnAssign(node) => {
                self.eval(&node.annotation);
                if let Some(value) = &node.value {
                    let value = self.eval(value);
                    self.assign(&node.target, value);
                }
            }
            Stmt::TypeAlias(node) => {
                self.eval(&node.value);
            }
            Stmt::For(node) => {
                let items = self.eval(&node.iter);
                self.assign_element(&node.target, &items);
                self.body(&node.body);
                self.body(&node.orelse);
            }
            Stmt::While(node) => {
                self.eval(&node.test);
                self.body(&node.body);
                self.body(&node.orelse);
            }
            Stmt::If(node) => self.conditional(node),
            Stmt::With(node) => {
                for item in &node.items {
                    let outer = std::mem::replace(&mut self.probes, item.optional_vars.is_none());
                    let value = self.eval(&item.context_expr);
                    self.probes = outer;
                    if let Some(target) = &item.optional_vars {
                        self.assign(target, value);
                    }
                }
                self.body(&node.body);
            }
            Stmt::Match(node) => {
                self.eval(&node.subject);
                for case in &node.cases {
                    if let Some(guard) = &case.guard {
                        self.eval(guard);
                    }
                    self.body(&case.body);
                }
            }
            Stmt::Raise(node) => {
                for value in [&node.exc, &node.cause].into_iter().flatten() {
                    self.eval(value);
                }
            }
            Stmt::Try(node) => {
                self.body(&node.body);
                for ExceptHandler::ExceptHandler(handler) in &node.handlers {
                    if let Some(kind) = &handler.type_ {
                        self.eval(kind);
                    }
                    self.body(&handler.body);
                }
                self.body(&node.orelse);
                self.body(&node.finalbody);
            }
            Stmt::Assert(node) => {
                self.eval(&node.test);
                if let Some(message) = &node.msg {
                    self.eval(message);
                }
            }
            Stmt::Import(node) => {
                for alias in &node.names {
                    self.import(alias);
                }
            }
            Stmt::ImportFrom(node) => self.import_from(node),
            Stmt::Global(node) => {
                let names = node.names.iter().map(|name| name.id.to_string());
                if let Some(scope) = self.scopes.last_mut() {
                    scope.globals.extend(names);
                }
            }
            // A string by itself is documentation.
            Stmt::Expr(node) if node.value.is_string_literal_expr() => {}
            Stmt::Expr(node) => {
                self.eval(&node.value);
            }
            Stmt::Delete(node) => {
                for target in &node.targets {
                    self.eval(target);
                }
            }
            Stmt::IpyEscapeCommand(node) => self.escape_command(node.kind, &node.value, node.start()),
            Stmt::Nonlocal(_) | Stmt::Pass(_) | Stmt::Break(_) | Stmt::Continue(_) => {}
        }
    }

    fn conditional(&mut self, node: &StmtIf) {
        self.eval(&node.test);
        let guarded = self.guarded;
        self.guarded |= self.current.is_none() && tests_main(&node.test);
        self.body(&node.body);
        self.guarded = guarded;
        for clause in &node.elif_else_clauses {
            if let Some(test) = &clause.test {
                self.eval(test);
            }
            self.body(&clause.body);
        }
    }

    fn import(&mut self, alias: &ast::Alias) {
        let module = alias.name.as_str();
        match &alias.asname {
            Some(name) => self.bind(name.as_str(), Value::path(module)),
            None => {
                let top = module.split('.').next().unwrap_or(module);
                self.bind(top, Value::path(top));
            }
        }
    }

    fn import_from(&mut self, node: &ast::StmtImportFrom) {
        let dots = ".".repeat(node.level as usize);
        let module = format!("{dots}{}", node.module.as_ref().map_or("", |module| module.as_str()));
        for alias in &node.names {
            let name = alias.name.as_str();
            if name == "*" {
                self.stars.push(module.clone());
                continue;
            }
            let value = self.named(&format!("{module}.{name}"));
            self.bind(alias.asname.as_ref().map_or(name, |name| name.as_str()), value);
        }
    }

    fn function(&mut self, node: &StmtFunctionDef) {
        let mut deferred = false;
        let mut decorated = Taint::NONE;
        // The lowest is applied first.
        for decorator in node.decorator_list.iter().rev() {
            let decorator = match &decorator.expression {
                Expr::Call(call) => {
                    self.eval(&decorator.expression);
                    self.eval(&call.func)
                }
                plain => self.eval(plain),
            };
            if decorator.path.as_deref().and_then(names::role) == Some(names::Role::Exec) {
                self.executed(decorated, node.start());
            }
            decorated |= decorator.function.map(|function| self.functions[function].returns).unwrap_or_default();
            deferred |= decorator.path.is_some_and(|path| names::DEFERRING.iter().any(|tool| path.starts_with(tool)));
        }
        if let Some(returns) = &node.returns {
            self.eval(returns);
        }
        let id = self.function_id(node.name.start());
        self.functions[id].deferred = deferred;
        let value = Value { function: Some(id), ..Value::default() };
        if let Some(class) = self.class.clone() {
            self.attributes.insert(format!("{class}.{}", node.name), value.clone());
        }
        self.bind(node.name.as_str(), value);
        let class = self.class.take();
        let reduces = class.is_some() && matches!(node.name.as_str(), "__reduce__" | "__reduce_ex__");
        let outer = std::mem::replace(&mut self.reduces, reduces);
        self.inside(id, Some(&node.parameters), class.as_deref(), |flow| flow.body(&node.body));
        self.reduces = outer;
        self.class = class;
    }

    /// Reads the inside of a function or lambda.
    pub(super) fn inside(
        &mut self,
        id: usize,
        parameters: Option<&Parameters>,
        class: Option<&str>,
        read: impl FnOnce(&mut Self),
    ) {
        let mut scope = Scope::default();
        if let Some(parameters) = parameters {
            for (at, parameter) in parameters.iter().enumerate() {
                if let Some(annotation) = parameter.annotation() {
                    self.eval(annotation);
                }
                let value = parameter.default().map(|default| self.eval(default)).unwrap_or_default();
                let value = match class.filter(|_| at == 0) {
                    Some(class) => Value::path(class),
                    None => value.with(Taint::ARGUMENT),
                };
                scope.names.insert(parameter.name().to_string(), value);
            }
        }
        let outer = self.current.replace(id);
        self.scopes.push(scope);
        read(self);
        self.scopes.pop();
        self.current = outer;
    }

    fn class(&mut self, node: &StmtClassDef) {
        for decorator in &node.decorator_list {
            self.eval(&decorator.expression);
        }
        for base in node.arguments.iter().flat_map(|arguments| arguments.args.iter()) {
            self.eval(base);
        }
        for keyword in node.arguments.iter().flat_map(|arguments| arguments.keywords.iter()) {
            self.eval(&keyword.value);
        }
        let path = format!("class:{}", node.name);
        let outer = self.class.replace(path.clone());
        self.scopes.push(Scope::default());
        self.body(&node.body);
        let names = self.scopes.pop().unwrap_or_default().names;
        self.class = outer;
        for (name, value) in names {
            self.attributes.insert(format!("{path}.{name}"), value);
        }
        self.bind(node.name.as_str(), Value::path(path));
    }

    /// Binds a target of an assignment.
    pub(super) fn assign(&mut self, target: &Expr, value: Value) {
        match target {
            Expr::Name(name) => self.bind(name.id.as_str(), value),
            Expr::Tuple(ast::ExprTuple { elts, .. }) | Expr::List(ast::ExprList { elts, .. }) => {
                for (at, element) in elts.iter().enumerate() {
                    let item =
                        value.items.as_ref().filter(|items| items.len() == elts.len()).map(|items| items[at].clone());
                    self.assign(element, item.unwrap_or_else(|| Value::tainted(value.taint)));
                }
            }
            Expr::Starred(node) => self.assign(&node.value, value),
            Expr::Attribute(node) => {
                let base = self.eval(&node.value);
                let owner = base.path.filter(|path| path.starts_with("class:") || &**path == "builtins");
                if let Some(owner) = owner {
                    let key = format!("{owner}.{}", node.attr);
                    let old = self.attributes.remove(&key).unwrap_or_default();
                    self.attributes.insert(key, value.over(old));
                }
            }
            Expr::Subscript(node) => {
                self.eval(&node.slice);
                self.mix_into(&node.value, value.taint.without(Taint::CHARACTER | Taint::COMBINED));
            }
            other => {
                self.eval(other);
            }
        }
    }

    /// Binds the target of a loop to an element of what it loops over.
    pub(super) fn assign_element(&mut self, target: &Expr, items: &Value) {
        let taint = items.taint;
        let element = match items.items.as_deref() {
            Some([first, ..]) => Value { text: None, number: None, ..first.clone() },
            _ => Value::default(),
        };
        self.assign(target, element.with(taint));
    }

    /// Something was put into the container or file that a variable holds.
    pub(super) fn mix_into(&mut self, holder: &Expr, taint: Taint) {
        match holder {
            Expr::Name(_) | Expr::Attribute(_) => self.assign(holder, Value::tainted(taint)),
            Expr::Subscript(node) => self.mix_into(&node.value, taint),
            other => {
                self.eval(other);
            }
        }
    }

    /// `!command` and `%magic` in a notebook.
    pub(super) fn escape_command(&mut self, kind: IpyEscapeKind, value: &str, at: TextSize) {
        let command = match kind {
            IpyEscapeKind::Shell | IpyEscapeKind::ShCap => value,
            IpyEscapeKind::Magic | IpyEscapeKind::Magic2 => {
                let (name, rest) = value.split_once(char::is_whitespace).unwrap_or((value, ""));
                match name {
                    "sx" | "sc" | "system" | "sh" | "bash" | "script" | "cmd" => rest,
                    // The rest of these lines is code.
                    "time" | "timeit" | "prun" | "capture" => {
                        self.code(rest, at);
                        return;
                    }
                    "pip" | "conda" | "mamba" | "run" | "load" | "load_ext" | "writefile" => value,
                    _ => return,
                }
            }
            _ => return,
        };
        self.report(notebook_rule(command), at);
    }
}

/// The rule that a shell command in a notebook falls under.
pub(in crate::python) fn notebook_rule(command: &str) -> &'static str {
    match shell::command(command) {
        Some(Command::ReverseShell) => "reverse-shell",
        Some(Command::Encoded) => "obfuscated-command",
        Some(Command::DownloadExecute) => "notebook-download-execute",
        Some(Command::Network) | None => "notebook-shell",
    }
}

/// `__name__ == "__main__"`, whichever way round, also as a part of a longer condition.
fn tests_main(test: &Expr) -> bool {
    match test {
        Expr::Compare(node) => {
            let sides = [&*node.left, node.comparators.first().unwrap_or(&node.left)];
            let is_name = |side: &Expr| side.as_name_expr().is_some_and(|name| name.id == "__name__");
            let is_main =
                |side: &Expr| side.as_string_literal_expr().is_some_and(|text| text.value.to_str() == "__main__");
            matches!(&*node.ops, [ast::CmpOp::Eq])
                && sides.iter().any(|side| is_name(side))
                && sides.iter().any(|side| is_main(side))
        }
        Expr::BoolOp(node) if node.op == ast::BoolOp::And => node.values.iter().any(tests_main),
        _ => false,
    }
}
