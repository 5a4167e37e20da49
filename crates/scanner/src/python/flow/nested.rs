//! Code in strings: what `exec`, `eval` or `python -c` are given in plain text.

use std::rc::Rc;

use ruff_python_ast::{PySourceType, Stmt};
use ruff_text_size::TextSize;

use super::value::Value;
use super::{Flow, MAX_NESTED, MAX_NESTED_BYTES, Scope};
use crate::python::depth;

impl Flow {
    /// Reads a text as the code of another program, which knows nothing of this one's variables.
    pub(super) fn program(&mut self, text: &str, at: TextSize) {
        let outer = (std::mem::replace(&mut self.scopes, vec![Scope::default()]), std::mem::take(&mut self.stars));
        self.code(text, at);
        (self.scopes, self.stars) = outer;
    }

    /// Reads a text as code, in the present scope; gives the value of its last expression.
    pub(super) fn code(&mut self, text: &str, at: TextSize) -> Value {
        self.nested_bytes = self.nested_bytes.saturating_add(text.len());
        if self.nested >= MAX_NESTED {
            // Nobody writes that in earnest.
            self.report("obfuscated-exec", at);
            return Value::default();
        }
        if self.nested_bytes > MAX_NESTED_BYTES || depth::scan(text.as_bytes()).is_some() {
            self.nested_bytes = usize::MAX;
            return Value::default();
        }
        let parsed = crate::python::parse(text, PySourceType::Python);
        if !parsed.errors().is_empty() {
            return Value::default();
        }
        let outer_place = self.place;
        let outer_source = std::mem::replace(&mut self.source, Rc::from(text));
        self.place = outer_place.or(Some(at));
        self.nested += 1;
        let value = match parsed.suite().as_slice() {
            [before @ .., Stmt::Expr(last)] => {
                self.body(before);
                self.eval(&last.value)
            }
            suite => {
                self.body(suite);
                Value::default()
            }
        };
        self.nested -= 1;
        self.place = outer_place;
        self.source = outer_source;
        value
    }
}
