//! JSON that may not have the shape one expects: a value of another kind is noted as odd and loses nothing beside it.
//!
//! `serde`'s own derive refuses a whole document for one unexpected kind of value, and an advisory that is not read is an
//! advisory that does not count.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// A value that should be a `T`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Read<T> {
    /// Not there, or `null`.
    #[default]
    Absent,
    /// There, and of another kind.
    Odd,
    /// As expected.
    Is(T),
}

impl<T> Read<T> {
    pub(super) fn get(self) -> Option<T> {
        match self {
            Self::Is(value) => Some(value),
            Self::Absent | Self::Odd => None,
        }
    }

    pub(super) fn is_odd(&self) -> bool {
        matches!(self, Self::Odd)
    }
}

pub(super) type Text<'a> = Read<Cow<'a, str>>;
pub(super) type List<T> = Read<Vec<Read<T>>>;

/// What a `T` can be made of; the methods that are not given read and drop the value.
pub(super) trait Shape<'de>: Sized {
    fn of_text(_: Cow<'de, str>) -> Option<Self> {
        None
    }

    fn of_list<A: SeqAccess<'de>>(mut list: A) -> Result<Option<Self>, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(None)
    }

    fn of_object<A: MapAccess<'de>>(mut object: A) -> Result<Option<Self>, A::Error> {
        while object.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(None)
    }
}

impl<'de: 'a, 'a> Shape<'de> for Cow<'a, str> {
    fn of_text(text: Cow<'de, str>) -> Option<Self> {
        Some(text)
    }
}

impl<'de, T: Shape<'de>> Shape<'de> for Vec<Read<T>> {
    fn of_list<A: SeqAccess<'de>>(mut list: A) -> Result<Option<Self>, A::Error> {
        let mut out = Self::new();
        while let Some(element) = list.next_element()? {
            out.push(element);
        }
        Ok(Some(out))
    }
}

/// Lets a struct with derived `Deserialize` stand for a JSON object.
macro_rules! objects {
    ($($name:ident),*) => {$(
        impl<'de: 'a, 'a> Shape<'de> for $name<'a> {
            fn of_object<A: MapAccess<'de>>(object: A) -> Result<Option<Self>, A::Error> {
                Self::deserialize(serde::de::value::MapAccessDeserializer::new(object)).map(Some)
            }
        }
    )*};
}
pub(super) use objects;

impl<'de, T: Shape<'de>> Deserialize<'de> for Read<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ReadVisitor(PhantomData))
    }
}

struct ReadVisitor<T>(PhantomData<T>);

impl<'de, T: Shape<'de>> Visitor<'de> for ReadVisitor<T> {
    type Value = Read<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Read<T>, E> {
        Ok(Read::Odd)
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Read<T>, E> {
        Ok(Read::Odd)
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Read<T>, E> {
        Ok(Read::Odd)
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Read<T>, E> {
        Ok(Read::Odd)
    }

    fn visit_unit<E: Error>(self) -> Result<Read<T>, E> {
        Ok(Read::Absent)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Read<T>, E> {
        self.visit_string(text.to_owned())
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Read<T>, E> {
        Ok(T::of_text(Cow::Borrowed(text)).map_or(Read::Odd, Read::Is))
    }

    fn visit_string<E: Error>(self, text: String) -> Result<Read<T>, E> {
        Ok(T::of_text(Cow::Owned(text)).map_or(Read::Odd, Read::Is))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Read<T>, A::Error> {
        Ok(T::of_list(list)?.map_or(Read::Odd, Read::Is))
    }

    fn visit_map<A: MapAccess<'de>>(self, object: A) -> Result<Read<T>, A::Error> {
        Ok(T::of_object(object)?.map_or(Read::Odd, Read::Is))
    }
}
