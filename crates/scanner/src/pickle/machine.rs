//! Follows the opcodes of one pickle on a symbolic stack and memo. Nothing is imported, called or built.
//!
//! Where Python's readers differ, this one goes on: it may only stop where every one of them fails.

use std::collections::{HashMap, VecDeque};
use std::rc::Rc;

use super::Limits;
use super::opcode::{Decoded, MAX_KEPT, Op, decode};
use super::value::{DType, Fields, Value};

/// How one global of a pickle was used.
#[derive(Clone, Debug)]
pub(super) struct GlobalUse {
    pub(super) module: Box<str>,
    pub(super) name: Box<str>,
    /// Where it is first named, in bytes from the start of the file.
    pub(super) offset: u64,
    /// Times its value was put on the stack.
    pub(super) pushes: u64,
    /// Times it was called.
    pub(super) calls: u64,
    /// Calls whose arguments make them harmless ([`harmless_call`]).
    pub(super) harmless: u64,
}

/// Uses that are a problem whatever the global is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Trick {
    /// `STACK_GLOBAL` of names that are computed.
    UnresolvedGlobal,
    /// The result of one call is called.
    IndirectCall,
    /// A module, class or function is given new attributes or items.
    PatchedGlobal,
    /// `EXT1`, `EXT2`, `EXT4`: a global by number, which only the loading program knows.
    Extension,
}

/// Why Python would not read on, or why this reader does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Broken {
    /// Python fails here as well.
    Invalid(&'static str),
    /// Beyond a limit of this reader.
    Limit(&'static str),
}

/// Where a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// All bytes that were given are used; `next` says where to go on.
    NeedMore,
    Stop,
    Broken(Broken),
    /// A joblib array was described; its bytes follow.
    Array(Array),
}

/// What follows the description of a joblib array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Array {
    /// So many bytes of numbers, with a padding that its first byte counts when `padded`.
    Raw { bytes: u64, padded: bool },
    /// A pickle of its own.
    Pickle,
    /// Its size could not be told.
    Unknown,
}

/// The state of one pickle.
#[derive(Clone, Debug)]
pub(super) struct Machine {
    pub(super) globals: Vec<GlobalUse>,
    /// Each kind where it is first seen.
    pub(super) tricks: Vec<(Trick, u64)>,
    /// Opcodes so far.
    pub(super) opcodes: u64,
    /// The protocol that a `PROTO` opcode at its very start gives.
    pub(super) protocol: Option<u8>,
    pub(super) framed: bool,
    /// Where the next opcode is, in bytes from the start of the file.
    pub(super) next: u64,
    /// Where it starts.
    pub(super) start: u64,
    in_long_line: bool,
    index: HashMap<(Box<str>, Box<str>), u32>,
    stack: Vec<Value>,
    marks: Vec<usize>,
    memo: Vec<Option<Value>>,
    memo_count: u64,
    memo_text: usize,
    /// Keys of the latest dtypes in the memo.
    memoized_dtypes: VecDeque<usize>,
}

type Outcome<T = ()> = Result<T, Broken>;

/// Memoized dtypes whose state may still come: they nest, field by field.
const MAX_DTYPES: usize = 64;

const NO_MARK: Broken = Broken::Invalid("no mark on the stack");
const UNDERFLOW: Broken = Broken::Invalid("the stack is empty");

impl Machine {
    /// A pickle that starts at this offset of the file.
    pub(super) fn new(start: u64) -> Self {
        Self {
            globals: Vec::new(),
            tricks: Vec::new(),
            opcodes: 0,
            protocol: None,
            framed: false,
            next: start,
            start,
            in_long_line: false,
            index: HashMap::new(),
            stack: Vec::new(),
            marks: Vec::new(),
            memo: Vec::new(),
            memo_count: 0,
            memo_text: 0,
            memoized_dtypes: VecDeque::new(),
        }
    }

    /// Values that a copy of this machine holds.
    pub(super) fn weight(&self) -> u64 {
        (self.stack.len() + self.memo.len() + self.globals.len()) as u64
    }

    /// Follows opcodes in `bytes`, which start at `offset` of the file, until one of [`Step`]; at most `budget` of them.
    pub(super) fn run(&mut self, bytes: &[u8], offset: u64, budget: u64, limits: &Limits) -> Step {
        let last = self.opcodes.saturating_add(budget);
        loop {
            let Some(at) = self.next.checked_sub(offset).and_then(|n| usize::try_from(n).ok()) else {
                return Step::NeedMore;
            };
            let Some(rest) = bytes.get(at..) else { return Step::NeedMore };
            if self.in_long_line {
                let end = rest.iter().position(|&b| b == b'\n');
                self.next += end.map_or(rest.len(), |end| end + 1) as u64;
                if end.is_none() {
                    return Step::NeedMore;
                }
                self.in_long_line = false;
                continue;
            }
            let here = self.next;
            if self.opcodes >= last && !rest.is_empty() {
                return Step::Broken(Broken::Limit("more opcodes than the limit"));
            }
            let step = match decode(rest) {
                Decoded::NeedMore => return Step::NeedMore,
                Decoded::Bad(reason) => return Step::Broken(Broken::Invalid(reason)),
                Decoded::Limit(reason) => return Step::Broken(Broken::Limit(reason)),
                Decoded::Payload { head, size, text } => {
                    self.next = here.saturating_add(head as u64).saturating_add(size);
                    self.push(if text { Value::Dropped } else { Value::Data }, limits).map(|()| None)
                }
                Decoded::LongLine => {
                    self.in_long_line = true;
                    self.next = here + MAX_KEPT as u64;
                    let value = if matches!(rest[0], b'S' | b'V') { Value::Dropped } else { Value::Data };
                    self.push(value, limits).map(|()| None)
                }
                Decoded::Op(op, length) => {
                    self.next = here + length as u64;
                    self.apply(op, here, limits)
                }
            };
            self.opcodes += 1;
            match step {
                Ok(None) => {}
                Ok(Some(step)) => return step,
                Err(broken) => return Step::Broken(broken),
            }
        }
    }

    fn apply(&mut self, op: Op<'_>, here: u64, limits: &Limits) -> Outcome<Option<Step>> {
        match op {
            Op::Proto(version) if version > 5 => return Err(Broken::Invalid("a protocol above 5")),
            Op::Proto(version) => {
                if here == self.start {
                    self.protocol = Some(version);
                }
            }
            Op::Frame(size) => self.framed |= size < 1 << 40,
            Op::Stop => return self.pop().map(|_| Some(Step::Stop)),
            Op::Mark => {
                if self.marks.len() >= limits.stack {
                    return Err(Broken::Limit("more marks than the limit"));
                }
                self.marks.push(self.stack.len());
            }
            Op::Pop => {
                if self.marks.last() == Some(&self.stack.len()) {
                    self.marks.pop();
                } else {
                    self.pop()?;
                }
            }
            Op::PopMark => drop(self.above_mark()?),
            Op::Dup => {
                let top = self.stack.last().ok_or(UNDERFLOW)?.clone();
                self.push(top, limits)?;
            }
            Op::Int(n) => self.push(Value::Int(n), limits)?,
            Op::Data => self.push(Value::Data, limits)?,
            Op::Text(text) => self.push(Value::Text(text.into()), limits)?,
            Op::PersistentId { from_stack } => {
                if from_stack {
                    self.pop()?;
                }
                self.push(Value::Unknown, limits)?;
            }
            Op::NextBuffer => self.push(Value::Unknown, limits)?,
            Op::ReadonlyBuffer => {}
            Op::Extension(_) => {
                self.trick(Trick::Extension, here);
                self.push(Value::Unknown, limits)?;
            }
            Op::Global(module, name) => self.push_global(&module, &name, here, limits)?,
            Op::StackGlobal => {
                let (name, module) = (self.pop()?, self.pop()?);
                match (module.text(), name.text()) {
                    (Some(module), Some(name)) => self.push_global(module, name, here, limits)?,
                    _ if matches!(module, Value::Dropped) || matches!(name, Value::Dropped) => {
                        return Err(Broken::Limit("a global whose name was too long or too far back to keep"));
                    }
                    _ if !(may_be_text(&module) && may_be_text(&name)) => {
                        return Err(Broken::Invalid("a global whose name is no text"));
                    }
                    _ => {
                        self.trick(Trick::UnresolvedGlobal, here);
                        self.push(Value::Unknown, limits)?;
                    }
                }
            }
            Op::Inst(module, name) => {
                let arguments = self.above_mark()?;
                self.push_global(&module, &name, here, limits)?;
                let class = self.pop()?;
                self.call(&class, &Value::tuple(arguments), here, limits)?;
            }
            Op::Obj => {
                let mut values = self.above_mark()?.into_iter();
                let class = values.next().ok_or(UNDERFLOW)?;
                self.call(&class, &Value::tuple(values.collect()), here, limits)?;
            }
            Op::Reduce => {
                let (arguments, function) = (self.pop()?, self.pop()?);
                self.call(&function, &arguments, here, limits)?;
            }
            Op::NewObj | Op::NewObjEx => {
                if op == Op::NewObjEx {
                    self.pop()?;
                }
                self.pop()?;
                let class = self.pop()?;
                if class.cannot_be_called() {
                    return Err(Broken::Invalid("a new object of something that is no class"));
                }
                self.push(made(&class), limits)?;
            }
            Op::Build => {
                let state = self.pop()?;
                return self.build(&state, here);
            }
            Op::Append => {
                self.pop()?;
                self.patched(here)?;
            }
            Op::Extend => {
                self.above_mark()?;
                self.patched(here)?;
            }
            Op::SetItem => {
                let (value, key) = (self.pop()?, self.pop()?);
                self.patched(here)?;
                self.set_items(&[key, value]);
            }
            Op::SetItems => {
                let items = self.above_mark()?;
                self.patched(here)?;
                self.set_items(&items);
            }
            Op::TupleOf(count) => {
                let from = self.stack.len().checked_sub(count).filter(|&n| n >= self.floor()).ok_or(UNDERFLOW)?;
                let items = self.stack.split_off(from);
                self.push(Value::tuple(items), limits)?;
            }
            Op::Tuple => {
                let items = self.above_mark()?;
                self.push(Value::tuple(items), limits)?;
            }
            Op::Collect => {
                self.above_mark()?;
                self.push(Value::Data, limits)?;
            }
            Op::EmptyDict => self.push(Value::Dict(Rc::default()), limits)?,
            Op::Put(key) => self.put(key, limits)?,
            Op::Memoize => self.put(self.memo_count, limits)?,
            Op::Get(key) => {
                let value = match usize::try_from(key).ok().and_then(|n| self.memo.get(n)) {
                    Some(Some(value)) => value.clone(),
                    _ if key >= limits.memo as u64 && key < self.memo_count => Value::Dropped,
                    _ => return Err(Broken::Invalid("a memo entry that was never written")),
                };
                self.push(value, limits)?;
            }
        }
        Ok(None)
    }

    fn push(&mut self, value: Value, limits: &Limits) -> Outcome {
        if self.stack.len() >= limits.stack {
            return Err(Broken::Limit("more values on the stack than the limit"));
        }
        if let Value::Global(number) = value {
            self.globals[number as usize].pushes += 1;
        }
        self.stack.push(value);
        Ok(())
    }

    /// Records a trick where it is first seen.
    fn trick(&mut self, trick: Trick, here: u64) {
        if self.tricks.iter().all(|(seen, _)| *seen != trick) {
            self.tricks.push((trick, here));
        }
    }

    /// The stack's height below which only a mark's opcode may reach.
    fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    fn pop(&mut self) -> Outcome<Value> {
        if self.stack.len() <= self.floor() { Err(UNDERFLOW) } else { self.stack.pop().ok_or(UNDERFLOW) }
    }

    fn above_mark(&mut self) -> Outcome<Vec<Value>> {
        let mark = self.marks.pop().ok_or(NO_MARK)?;
        Ok(self.stack.split_off(mark.min(self.stack.len())))
    }

    fn push_global(&mut self, module: &str, name: &str, here: u64, limits: &Limits) -> Outcome {
        let key = (Box::from(module), Box::from(name));
        let number = match self.index.get(&key) {
            Some(&number) => number,
            None => {
                if self.globals.len() >= limits.globals {
                    return Err(Broken::Limit("more different globals than the limit"));
                }
                let number = self.globals.len() as u32;
                let (module, name) = key.clone();
                self.globals.push(GlobalUse { module, name, offset: here, pushes: 0, calls: 0, harmless: 0 });
                self.index.insert(key, number);
                number
            }
        };
        self.push(Value::Global(number), limits)
    }

    fn call(&mut self, function: &Value, arguments: &Value, here: u64, limits: &Limits) -> Outcome {
        let result = match function {
            Value::Global(number) if self.attribute_of_global(*number, arguments).is_some() => {
                let (module, name) = self.attribute_of_global(*number, arguments).unwrap_or_default();
                self.globals[*number as usize].calls += 1;
                self.globals[*number as usize].harmless += 1;
                return self.push_global(&module, &name, here, limits);
            }
            Value::Global(number) => {
                let used = &self.globals[*number as usize];
                let harmless = harmless_call(&used.module, &used.name, arguments);
                let result = match (&*used.module, &*used.name, arguments) {
                    ("numpy", "dtype", Value::Tuple(parts)) => {
                        parts.items.first().and_then(Value::text).map(|text| Value::DType(DType::parse(text)))
                    }
                    (
                        "copyreg" | "copy_reg",
                        "_reconstructor" | "__newobj__" | "__newobj_ex__",
                        Value::Tuple(parts),
                    ) => parts.items.first().map(made),
                    (_, "getattr", _) if harmless => Some(Value::Attribute),
                    (_, "partial", Value::Tuple(parts)) if harmless => match parts.items.as_slice() {
                        [Value::Global(wrapped)] => {
                            self.globals[*wrapped as usize].calls += 1;
                            Some(Value::Partial(*wrapped))
                        }
                        _ => None,
                    },
                    _ => None,
                };
                let used = &mut self.globals[*number as usize];
                used.calls += 1;
                used.harmless += u64::from(harmless);
                result.unwrap_or(Value::Made(*number))
            }
            Value::Partial(wrapped) => Value::Made(*wrapped),
            Value::Made(_) | Value::Attribute | Value::Dropped => {
                self.trick(Trick::IndirectCall, here);
                Value::Unknown
            }
            // Already reported where it came from, or supplied by the loading program itself.
            Value::Unknown => Value::Unknown,
            _ => return Err(Broken::Invalid("a call of something that cannot be called")),
        };
        self.push(result, limits)
    }

    /// The global that `getattr(global, "name")` is: what protocol 4 writes as a dotted name.
    fn attribute_of_global(&self, function: u32, arguments: &Value) -> Option<(String, String)> {
        let function = &self.globals[function as usize];
        if !(is_builtins(&function.module) && &*function.name == "getattr") {
            return None;
        }
        let Value::Tuple(parts) = arguments else { return None };
        let [Value::Global(owner), Value::Text(attribute)] = parts.items.as_slice() else { return None };
        let owner = &self.globals[*owner as usize];
        // A chain of them must not grow names without bound.
        let name = format!("{}.{attribute}", owner.name);
        (name.len() <= MAX_KEPT).then(|| (owner.module.to_string(), name))
    }

    /// Reports a change of the object on top when it is a global.
    fn patched(&mut self, here: u64) -> Outcome {
        match self.stack.last().filter(|_| self.stack.len() > self.floor()) {
            None => Err(UNDERFLOW),
            Some(Value::Global(_) | Value::Attribute) => {
                self.trick(Trick::PatchedGlobal, here);
                Ok(())
            }
            Some(_) => Ok(()),
        }
    }

    fn build(&mut self, state: &Value, here: u64) -> Outcome<Option<Step>> {
        self.patched(here)?;
        match self.stack.last_mut() {
            Some(Value::DType(dtype)) => {
                let known = dtype.with_state(state);
                if known != *dtype {
                    // It was memoized before its state was read.
                    let old = std::mem::replace(dtype, known);
                    let keys = self.memoized_dtypes.iter().rev().copied();
                    let same =
                        |entry: Option<&Option<Value>>| matches!(entry, Some(Some(Value::DType(d))) if *d == old);
                    if let Some(key) = keys.into_iter().find(|&key| same(self.memo.get(key))) {
                        self.memo[key] = Some(Value::DType(known));
                    }
                }
                Ok(None)
            }
            Some(Value::Partial(wrapped)) => {
                // The state of a partial names its function again, and might name another one.
                let same = matches!(state, Value::Tuple(parts) if matches!(parts.items.first(), Some(Value::Global(again)) if again == wrapped));
                if !same {
                    self.trick(Trick::IndirectCall, here);
                }
                Ok(None)
            }
            Some(Value::Made(class)) => {
                let class = &self.globals[*class as usize];
                let joblib = class.module.split('.').any(|part| part == "numpy_pickle");
                if !(joblib && &*class.name == "NumpyArrayWrapper") {
                    return Ok(None);
                }
                let fields = if let Value::Dict(fields) = state { Fields::clone(fields) } else { Fields::default() };
                Ok(Some(Step::Array(array(&fields))))
            }
            _ => Ok(None),
        }
    }

    fn set_items(&mut self, items: &[Value]) {
        if let Some(Value::Dict(fields)) = self.stack.last_mut() {
            for pair in items.chunks_exact(2) {
                if matches!(pair[1], Value::Tuple(_) | Value::DType(_) | Value::Int(_)) {
                    Rc::make_mut(fields).set(&pair[0], &pair[1]);
                }
            }
        }
    }

    /// Python counts the entries of its memo for `MEMOIZE`, whatever their keys are; so does this.
    fn put(&mut self, key: u64, limits: &Limits) -> Outcome {
        let top = self.stack.last().filter(|_| self.stack.len() > self.floor()).ok_or(UNDERFLOW)?;
        let mut value = top.for_memo();
        let Some(key) = usize::try_from(key).ok().filter(|&k| k < limits.memo) else {
            if key != self.memo_count {
                return Err(Broken::Limit("a memo key above the limit"));
            }
            self.memo_count += 1;
            return Ok(());
        };
        if let Value::Text(text) = &value {
            // Only what can name a module, an attribute, a codec or a dtype is fetched again by a global.
            let names = text.len() <= 512 && text.bytes().all(|b| b.is_ascii_graphic() || b >= 0x80);
            if !names || self.memo_text + text.len() > limits.memo_text {
                value = Value::Dropped;
            } else {
                self.memo_text += text.len();
            }
        }
        if matches!(value, Value::DType(_)) {
            self.memoized_dtypes.push_back(key);
            if self.memoized_dtypes.len() > MAX_DTYPES {
                self.memoized_dtypes.pop_front();
            }
        }
        if key >= self.memo.len() {
            self.memo.resize(key + 1, None);
        }
        self.memo_count += u64::from(self.memo[key].is_none());
        self.memo[key] = Some(value);
        Ok(())
    }
}

fn is_builtins(module: &str) -> bool {
    matches!(module, "builtins" | "__builtin__")
}

/// Whether Python might find a text where this value stands.
fn may_be_text(value: &Value) -> bool {
    !matches!(
        value,
        Value::Data | Value::Int(_) | Value::Global(_) | Value::Tuple(_) | Value::Dict(_) | Value::DType(_)
    )
}

fn made(class: &Value) -> Value {
    if let Value::Global(number) = class { Value::Made(*number) } else { Value::Unknown }
}

/// Calls of globals that are dangerous in general and harmless with these arguments: a public attribute of an object that
/// the pickle itself made (how Python pickles a bound method), text that becomes bytes (how protocol 2 writes bytes), and a
/// partial of one global, which is judged as a call of that global (how pandas 1.3 pickles its tables).
fn harmless_call(module: &str, name: &str, arguments: &Value) -> bool {
    let Value::Tuple(parts) = arguments else { return false };
    match (module, name, parts.items.as_slice()) {
        ("builtins" | "__builtin__", "getattr", [Value::Made(_), Value::Text(attribute)]) => {
            !attribute.starts_with('_')
        }
        ("functools" | "_functools", "partial", [Value::Global(_)]) => true,
        ("_codecs", "encode", [_, Value::Text(codec)]) => matches!(&**codec, "latin1" | "latin-1"),
        _ => false,
    }
}

fn array(fields: &Fields) -> Array {
    use super::value::Objects;
    match (fields.dtype, fields.bytes()) {
        (Some(DType { objects: Objects::Yes, .. }), _) => Array::Pickle,
        (Some(DType { objects: Objects::No, .. }), Some(bytes)) => Array::Raw { bytes, padded: fields.aligned },
        _ => Array::Unknown,
    }
}
