//! What the symbolic stack holds: no objects, only what is needed to tell which global is named and called.

use std::rc::Rc;

/// One value on the stack or in the memo.
#[derive(Clone, Debug)]
pub(super) enum Value {
    /// A number, constant, list, set or bytes: it cannot be called and names nothing.
    Data,
    /// It may be anything: a persistent object, an extension, a value that could not be resolved.
    Unknown,
    /// A value that this reader dropped to bound its memory.
    Dropped,
    Int(i64),
    Text(Rc<str>),
    /// A global, by its number in [`super::machine::Machine::globals`].
    Global(u32),
    /// What a call of this global, or a new object of this class, gave.
    Made(u32),
    /// `functools.partial` of this global, which counts as called where it was made.
    Partial(u32),
    /// What a known, harmless attribute look-up gave, e.g. a bound method of an allowed class.
    Attribute,
    /// A small tuple.
    Tuple(Rc<Parts>),
    /// A dictionary, with those of its fields that describe a joblib array.
    Dict(Rc<Fields>),
    DType(DType),
}

/// The items of a small tuple, and how deep it is nested: a deep one would overflow the stack when it is dropped.
#[derive(Debug)]
pub(super) struct Parts {
    pub(super) items: Vec<Value>,
    depth: u8,
}

/// `numpy.dtype` as far as joblib needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct DType {
    /// Bytes of one item; absent when its text does not tell.
    pub(super) item_size: Option<u64>,
    pub(super) objects: Objects,
}

/// Whether items of a dtype are Python objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Objects {
    Yes,
    No,
    /// A structured type, until its state is read.
    Unknown,
}

/// The state of a `joblib.numpy_pickle.NumpyArrayWrapper`.
#[derive(Clone, Debug, Default)]
pub(super) struct Fields {
    pub(super) shape: Option<Rc<Parts>>,
    pub(super) dtype: Option<DType>,
    pub(super) aligned: bool,
}

/// Tuples of more items, or nested deeper, are data.
const MAX_TUPLE: usize = 32;
const MAX_DEPTH: u8 = 3;

impl Value {
    pub(super) fn text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    pub(super) fn tuple(items: Vec<Self>) -> Self {
        let depth = items.iter().map(|item| if let Self::Tuple(t) = item { t.depth + 1 } else { 0 }).max().unwrap_or(0);
        if items.len() > MAX_TUPLE || depth > MAX_DEPTH {
            return Self::Data;
        }
        // A dictionary holds a shape, and a shape holds no dictionary: no nesting through it either.
        let items =
            items.into_iter().map(|item| if matches!(item, Self::Dict(_)) { Self::Data } else { item }).collect();
        Self::Tuple(Rc::new(Parts { items, depth }))
    }

    /// The same value as the memo keeps it: names and classes; larger values are not needed again.
    pub(super) fn for_memo(&self) -> Self {
        match self {
            Self::Tuple(_) | Self::Dict(_) => Self::Data,
            other => other.clone(),
        }
    }

    /// Whether Python itself fails when this is called.
    pub(super) fn cannot_be_called(&self) -> bool {
        matches!(self, Self::Data | Self::Int(_) | Self::Text(_) | Self::Tuple(_) | Self::Dict(_) | Self::DType(_))
    }
}

impl Fields {
    /// Records one item of a dictionary.
    pub(super) fn set(&mut self, key: &Value, value: &Value) {
        match (key.text(), value) {
            (Some("shape"), Value::Tuple(parts)) => self.shape = Some(Rc::clone(parts)),
            (Some("dtype"), Value::DType(dtype)) => self.dtype = Some(*dtype),
            (Some("numpy_array_alignment_bytes"), Value::Int(_)) => self.aligned = true,
            _ => {}
        }
    }

    /// Bytes of the array: its shape's product times its item size. `None` when not all of it is known.
    pub(super) fn bytes(&self) -> Option<u64> {
        let size = self.dtype?.item_size?;
        self.shape.as_ref()?.items.iter().try_fold(size, |product, item| match item {
            Value::Int(n) => product.checked_mul(u64::try_from(*n).ok()?),
            _ => None,
        })
    }
}

impl DType {
    /// From the first argument of `numpy.dtype`: `f8`, `<U5`, `|O8`, `V16`.
    pub(super) fn parse(text: &str) -> Self {
        let code = text.trim_start_matches(['<', '>', '=', '|']);
        let mut chars = code.chars();
        let (kind, number) = (chars.next(), chars.as_str().parse::<u64>().ok());
        let (item_size, objects) = match kind {
            Some('b' | 'i' | 'u' | 'f' | 'c' | 'm' | 'M' | 'S' | 'a') => (number, Objects::No),
            Some('U') => (number.and_then(|n| n.checked_mul(4)), Objects::No),
            Some('O') => (Some(8), Objects::Yes),
            Some('V') => (number, Objects::Unknown),
            _ => (None, Objects::Unknown),
        };
        Self { item_size, objects }
    }

    /// After its state `(version, byte order, subdtype, names, fields, item size, alignment, flags, ..)`; bit 0 of the
    /// flags says that items hold objects (`NPY_ITEM_HASOBJECT`).
    pub(super) fn with_state(self, state: &Value) -> Self {
        let Value::Tuple(parts) = state else { return self };
        let mut known = self;
        if let Some(Value::Int(size)) = parts.items.get(5)
            && let Ok(size) = u64::try_from(*size)
        {
            known.item_size = Some(size);
        }
        if let (Objects::Unknown, Some(Value::Int(flags))) = (self.objects, parts.items.get(7)) {
            known.objects = if flags & 1 == 1 { Objects::Yes } else { Objects::No };
        }
        known
    }
}
