//! Expressions: what they give.

use std::rc::Rc;

use ruff_python_ast::{
    self as ast, Comprehension, Expr, ExprBinOp, ExprSubscript, FStringPart, InterpolatedStringElement, Number,
    Operator, StringLiteral,
};
use ruff_text_size::{Ranged, TextRange};

use super::value::{GAP, MAX_TEXT, Taint, Text, Value, cut};
use super::{Flow, names};
use crate::python::shell;

/// The most elements of a list that are followed one by one.
const MAX_ITEMS: usize = 256;

impl Flow {
    /// Reads an expression and everything in it, each part once.
    pub(super) fn eval(&mut self, expression: &Expr) -> Value {
        match expression {
            Expr::Name(node) => self.lookup(node.id.as_str()),
            Expr::Attribute(node) => {
                let base = self.eval(&node.value);
                self.attribute(&base, node.attr.as_str(), node.range())
            }
            Expr::Call(node) => self.call(node),
            Expr::StringLiteral(node) => {
                let value = self.literal(node.value.to_str(), node.range());
                if node.value.iter().any(|part| self.is_escaped(part.range(), &part.value)) {
                    value.with(Taint::SCRAMBLED)
                } else {
                    value
                }
            }
            Expr::BytesLiteral(node) => {
                let bytes: Vec<u8> = node.value.bytes().collect();
                let text = encoding_rs::mem::decode_latin1(&bytes);
                let value = self.literal(&text, node.range());
                let machine_code = bytes.len() >= 48
                    && bytes.iter().filter(|byte| !matches!(byte, b' '..=b'~')).count() * 3 > bytes.len();
                self.facts.payload |= machine_code;
                if self.is_escaped(node.range(), &text) { value.with(Taint::SCRAMBLED) } else { value }
            }
            Expr::NumberLiteral(node) => {
                let number = match &node.value {
                    Number::Int(int) => int.as_i64(),
                    _ => None,
                };
                Value { number, ..Value::default() }
            }
            Expr::FString(node) => self.f_string(node),
            Expr::BinOp(node) => self.operation(node),
            Expr::List(ast::ExprList { elts, .. })
            | Expr::Tuple(ast::ExprTuple { elts, .. })
            | Expr::Set(ast::ExprSet { elts, .. }) => self.sequence(elts),
            Expr::Dict(node) => {
                let mut taint = Taint::NONE;
                for item in &node.items {
                    if let Some(key) = &item.key {
                        taint |= self.eval(key).taint;
                    }
                    taint |= self.eval(&item.value).taint;
                }
                Value::tainted(taint)
            }
            Expr::Subscript(node) => self.subscript(node),
            Expr::If(node) => {
                self.eval(&node.test);
                let body = self.eval(&node.body);
                body.either(self.eval(&node.orelse))
            }
            Expr::BoolOp(node) => {
                node.values.iter().map(|value| self.eval(value)).reduce(Value::either).unwrap_or_default()
            }
            Expr::Named(node) => {
                let value = self.eval(&node.value);
                self.assign(&node.target, value.clone());
                value
            }
            Expr::Await(node) => self.eval(&node.value),
            Expr::Starred(node) => self.eval(&node.value),
            Expr::YieldFrom(node) => self.eval(&node.value),
            Expr::Yield(node) => {
                let taint = node.value.as_ref().map(|value| self.eval(value).taint).unwrap_or_default();
                if let Some(function) = self.current {
                    self.functions[function].returns |= taint;
                }
                Value::default()
            }
            Expr::Lambda(node) => {
                let id = self.function_id(node.start());
                self.inside(id, node.parameters.as_deref(), None, |flow| {
                    let taint = flow.eval(&node.body).taint;
                    flow.functions[id].returns |= taint;
                });
                Value { function: Some(id), ..Value::default() }
            }
            Expr::ListComp(ast::ExprListComp { elt, generators, .. })
            | Expr::SetComp(ast::ExprSetComp { elt, generators, .. })
            | Expr::Generator(ast::ExprGenerator { elt, generators, .. }) => {
                self.generators(generators);
                let element = self.eval(elt);
                Value::tainted(element.taint)
            }
            Expr::DictComp(node) => {
                self.generators(&node.generators);
                let key = node.key.as_ref().map(|key| self.eval(key).taint).unwrap_or_default();
                Value::tainted(key | self.eval(&node.value).taint)
            }
            Expr::Compare(node) => {
                self.eval(&node.left);
                for value in &node.comparators {
                    self.eval(value);
                }
                Value::default()
            }
            Expr::UnaryOp(node) => {
                let number = self.eval(&node.operand).number.filter(|_| node.op == ast::UnaryOp::USub);
                Value { number: number.map(i64::wrapping_neg), ..Value::default() }
            }
            Expr::Slice(node) => {
                for part in [&node.lower, &node.upper, &node.step].into_iter().flatten() {
                    self.eval(part);
                }
                Value::default()
            }
            Expr::TString(node) => {
                for element in node.value.elements() {
                    if let InterpolatedStringElement::Interpolation(part) = element {
                        self.eval(&part.expression);
                    }
                }
                Value::default()
            }
            Expr::IpyEscapeCommand(node) => {
                self.escape_command(node.kind, &node.value, node.start());
                Value::default()
            }
            Expr::BooleanLiteral(_) | Expr::NoneLiteral(_) | Expr::EllipsisLiteral(_) => Value::default(),
        }
    }

    /// `a + b + c`, from left to right and without recursion.
    fn operation(&mut self, node: &ExprBinOp) -> Value {
        let at = node.start();
        let mut nodes = vec![node];
        while let Expr::BinOp(left) = &*nodes[nodes.len() - 1].left {
            nodes.push(left);
        }
        let mut left = self.eval(&nodes[nodes.len() - 1].left);
        for node in nodes.into_iter().rev() {
            let right = self.eval(&node.right);
            let taint = left.taint | right.taint;
            left = match node.op {
                Operator::Add => {
                    let taint = spelled(left.taint, right.taint);
                    self.join(left, "", &right).with(taint)
                }
                Operator::Div => self.join(left, "/", &right).with(taint),
                Operator::Mod => Value { text: self.format_percent(&left, &right), ..Value::tainted(taint) },
                Operator::BitXor => Value::tainted(taint | Taint::COMBINED),
                Operator::Mult => Value { text: repeat(&left, &right), ..Value::tainted(taint) },
                _ => Value::tainted(taint),
            };
        }
        let joined = left.text.as_deref().filter(|text| self.drops && text.len() < 1000);
        if joined.is_some_and(shell::is_drop) {
            self.report("exfiltration-endpoint", at);
        }
        left
    }

    fn literal(&mut self, text: &str, range: TextRange) -> Value {
        if self.drops && shell::is_drop(text) {
            self.report("exfiltration-endpoint", range.start());
        }
        self.facts.wallet_pattern |=
            text.contains("a-km-zA-HJ-NP-Z") || text.contains("0x[a-fA-F0-9]{40}") || text.contains("bc1");
        Value::literal(text)
    }

    /// Whether a literal spells plain text with escapes: `"\x69\x6d\x70\x6f\x72\x74"`.
    fn is_escaped(&self, range: TextRange, value: &str) -> bool {
        const LEAST: usize = 12;
        let Some(written) = self.source.get(range.start().to_usize()..range.end().to_usize()) else { return false };
        if value.len() < LEAST || written.len() < value.len() * 2 {
            return false;
        }
        let printable = value.bytes().filter(|byte| matches!(byte, b' '..=b'~' | b'\n')).count();
        let escapes = written.matches("\\x").count() + written.matches("\\u").count() + written.matches("\\1").count();
        printable * 10 >= value.len() * 9 && escapes * 2 >= value.len()
    }

    fn f_string(&mut self, node: &ast::ExprFString) -> Value {
        let mut taint = Taint::NONE;
        let mut text = String::new();
        for part in &node.value {
            match part {
                FStringPart::Literal(StringLiteral { value, .. }) => text.push_str(value),
                FStringPart::FString(part) => {
                    for element in &part.elements {
                        match element {
                            InterpolatedStringElement::Literal(literal) => text.push_str(&literal.value),
                            InterpolatedStringElement::Interpolation(part) => {
                                let value = self.eval(&part.expression);
                                taint |= value.taint;
                                if text.len() <= MAX_TEXT && self.spend(value.some_text().len()) {
                                    text.push_str(cut(value.some_text()));
                                }
                                for element in part.format_spec.iter().flat_map(|spec| spec.elements.iter()) {
                                    if let InterpolatedStringElement::Interpolation(part) = element {
                                        self.eval(&part.expression);
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
        let value = if text.len() <= MAX_TEXT { self.literal(&text, node.range()) } else { Value::text(&text) };
        value.with(taint)
    }

    fn sequence(&mut self, elements: &[Expr]) -> Value {
        let are_numbers = elements.len() >= 48 && elements.iter().all(Expr::is_number_literal_expr);
        self.facts.payload |= are_numbers;
        if elements.len() > MAX_ITEMS {
            let taint = elements.iter().fold(Taint::NONE, |taint, element| taint | self.eval(element).taint);
            return Value::tainted(if are_numbers { taint | Taint::NUMBERS } else { taint });
        }
        let items: Rc<[Value]> = elements.iter().map(|element| self.eval(element)).collect();
        let taint = items.iter().fold(Taint::NONE, |taint, item| taint | item.taint);
        Value { items: Some(items), ..Value::tainted(taint) }
    }

    fn generators(&mut self, generators: &[Comprehension]) {
        for generator in generators {
            let items = self.eval(&generator.iter);
            self.assign_element(&generator.target, &items);
            for test in &generator.ifs {
                self.eval(test);
            }
        }
    }

    /// `base.name`, written out or through `getattr`.
    pub(super) fn attribute(&mut self, base: &Value, name: &str, range: TextRange) -> Value {
        match names::shellcode_step(name) {
            Some(names::Shellcode::Allocate) => {
                self.facts.memory_made_executable.get_or_insert(self.place.unwrap_or(range.start()));
            }
            Some(names::Shellcode::Start) => self.facts.machine_code_started = true,
            None => {}
        }
        let Some(path) = &base.path else {
            // What belongs to a tainted object is tainted.
            return Value { text: base.text.clone(), ..Value::tainted(base.taint) };
        };
        if matches!(name, "__dict__" | "__globals__") {
            return Value::path(path);
        }
        if &**path == "mmap" && name == "PROT_EXEC" {
            self.facts.memory_made_executable.get_or_insert(self.place.unwrap_or(range.start()));
        }
        let full = format!("{}.{name}", path.trim_start_matches('.'));
        let full = full.strip_suffix(".__builtins__").map_or(full.as_str(), |_| "builtins");
        let value = self.named(full);
        value.with(base.taint)
    }

    fn subscript(&mut self, node: &ExprSubscript) -> Value {
        let base = self.eval(&node.value);
        let index = self.eval(&node.slice);
        if let Expr::Slice(slice) = &*node.slice {
            let backwards = slice.step.as_ref().is_some_and(|step| self.eval(step).number == Some(-1));
            if backwards {
                return self.reversed(&base);
            }
            return Value::tainted(base.taint);
        }
        if let (Some(items), Some(number)) = (&base.items, index.number) {
            let at = usize::try_from(number).ok().or_else(|| items.len().checked_sub(usize::try_from(-number).ok()?));
            if let Some(item) = at.and_then(|at| items.get(at)) {
                return item.clone();
            }
        }
        match base.path.as_deref() {
            // All of them, one after the other.
            Some("os.environ" | "os.environb") => Value::tainted(index.taint & Taint::ENVIRONMENT),
            Some("builtins.globals()") => {
                self.hidden_name(&index, "builtins.globals()", node.start());
                index.whole_text().map(|name| self.lookup(name)).unwrap_or_default()
            }
            Some("sys.modules") => {
                self.hidden_name(&index, "sys.modules", node.start());
                index.whole_text().map(|name| self.named(name)).unwrap_or_default()
            }
            Some(path) if !path.starts_with("class:") => {
                let path = path.to_owned();
                self.hidden_name(&index, &path, node.start());
                match index.whole_text() {
                    Some(name) => {
                        let name = name.to_owned();
                        self.attribute(&base, &name, node.range())
                    }
                    None => Value::tainted(base.taint),
                }
            }
            _ => Value::tainted(base.taint),
        }
    }
}

impl Flow {
    /// `x[::-1]`: of text, a way to hide it.
    pub(super) fn reversed(&mut self, base: &Value) -> Value {
        if let Some(text) = base.text.as_deref().filter(|text| self.spend(text.len())) {
            return Value::text(text.chars().rev().collect::<String>()).with(base.taint | Taint::SCRAMBLED);
        }
        let items = base.items.as_ref().map(|items| items.iter().rev().cloned().collect());
        Value { items, ..Value::tainted(base.taint) }
    }

    /// Text of two values, one after the other.
    pub(super) fn join(&mut self, left: Value, between: &str, right: &Value) -> Value {
        let Some(text) = left.text else {
            return match (left.items, &right.items, &right.text) {
                (_, _, Some(_)) => self.join(Value::text(GAP.to_string()), between, right),
                (Some(a), Some(b), _) if a.len() + b.len() <= MAX_ITEMS => {
                    Value { items: Some(a.iter().chain(b.iter()).cloned().collect()), ..Value::default() }
                }
                (items, ..) => Value { items, ..Value::default() },
            };
        };
        let right = right.some_text();
        let copied = if text.is_alone() { 0 } else { text.len() };
        if text.len() + right.len() > MAX_TEXT {
            // Code in a text as long as that would not be seen.
            self.text_work = usize::MAX;
        }
        if !self.spend(copied + right.len()) {
            return Value::text(GAP.to_string());
        }
        // A rooted path starts anew.
        if between == "/" && right.starts_with('/') {
            return Value::text(right);
        }
        Value { text: Some(text.push(&[between, right])), ..Value::default() }
    }

    /// `"%s" % value`, as far as it can be told; an unknown part becomes a gap.
    fn format_percent(&mut self, left: &Value, right: &Value) -> Option<Text> {
        let format = left.text.as_deref().filter(|text| self.spend(text.len()))?;
        let single = [right.clone()];
        let mut items = right.items.as_deref().unwrap_or(&single).iter();
        let mut out = String::with_capacity(format.len());
        let mut rest = format.chars();
        while let Some(c) = rest.next() {
            if c != '%' {
                out.push(c);
                continue;
            }
            match rest.next() {
                Some('%') => out.push('%'),
                Some('s' | 'r' | 'd') => out.push_str(items.next().map_or("\u{fffc}", Value::some_text)),
                _ => out.push(GAP),
            }
            if out.len() > MAX_TEXT {
                return None;
            }
        }
        Some(out.into())
    }
}

/// The taint of a sum: characters one after the other spell text.
pub(super) fn spelled(left: Taint, right: Taint) -> Taint {
    let spells = right.any(Taint::CHARACTER) && left.any(Taint::CHARACTER | Taint::SCRAMBLED);
    left | right | if spells { Taint::SCRAMBLED } else { Taint::NONE }
}

fn repeat(left: &Value, right: &Value) -> Option<Text> {
    let (text, number) = match (&left.text, right.number, &right.text, left.number) {
        (Some(text), Some(number), ..) | (_, _, Some(text), Some(number)) => (text, number),
        _ => return None,
    };
    let count = usize::try_from(number).unwrap_or(0);
    (text.len().saturating_mul(count) <= 4096).then(|| text.repeat(count).into())
}
