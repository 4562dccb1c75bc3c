//! How policies are written in JSON: one for a list of one, maps without a key twice, and
//! no `null` for what is left out.

use std::{fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, MapAccess, SeqAccess, Visitor, value::MapAccessDeserializer},
    ser::SerializeMap as _,
};
use serde_json::Value;

use super::{
    super::condition::{Condition, Operator},
    PrincipalKind, Principals, Texts,
};

/// An element that may be left out, but may not be `null`.
pub(super) mod present {
    use super::*;

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
        deserializer: D,
    ) -> Result<Option<T>, D::Error> {
        T::deserialize(deserializer).map(Some)
    }

    pub(in super::super) fn serialize<S: Serializer, T: Serialize>(
        element: &Option<T>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        element.serialize(serializer)
    }
}

/// What one alone may stand for.
pub(super) mod one_or_many {
    use super::*;

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
        deserializer: D,
    ) -> Result<Vec<T>, D::Error> {
        deserializer.deserialize_any(OneOrMany(PhantomData))
    }

    pub(in super::super) fn serialize<S: Serializer, T: Serialize>(
        many: &[T],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match many {
            [one] => one.serialize(serializer),
            many => many.serialize(serializer),
        }
    }
}

/// A text or an object, never a list: serde would take one for the fields of a struct in
/// their order.
pub(super) struct One<T>(pub(super) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for One<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OneVisitor(PhantomData))
    }
}

struct OneVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for OneVisitor<T> {
    type Value = One<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text or an object")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<One<T>, E> {
        T::deserialize(de::value::StrDeserializer::new(text)).map(One)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<One<T>, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(One)
    }
}

struct OneOrMany<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for OneOrMany<T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("one, or a list of at least one")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
        let one = OneVisitor(PhantomData).visit_str(text)?;
        Ok(vec![one.0])
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        let one = OneVisitor(PhantomData).visit_map(map)?;
        Ok(vec![one.0])
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut many = Vec::new();
        while let Some(One(one)) = list.next_element()? {
            many.push(one);
        }
        if many.is_empty() {
            return Err(de::Error::invalid_length(0, &self));
        }
        Ok(many)
    }
}

/// A map in the order that it is written in; none of its keys is there twice.
struct Entries<K, V>(Vec<(K, V)>);

impl<'de, K, V> Deserialize<'de> for Entries<K, V>
where
    K: Deserialize<'de> + PartialEq,
    V: Deserialize<'de>,
{
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct EntriesVisitor<K, V>(PhantomData<(K, V)>);

        impl<'de, K, V> Visitor<'de> for EntriesVisitor<K, V>
        where
            K: Deserialize<'de> + PartialEq,
            V: Deserialize<'de>,
        {
            type Value = Entries<K, V>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entries: Vec<(K, V)> = Vec::new();
                while let Some((key, value)) = map.next_entry()? {
                    if entries.iter().any(|(known, _)| *known == key) {
                        return Err(de::Error::custom("an element is there twice"));
                    }
                    entries.push((key, value));
                }
                Ok(Entries(entries))
            }
        }

        deserializer.deserialize_map(EntriesVisitor(PhantomData))
    }
}

/// Values of a condition: texts, numbers, true or false; one alone, or a list.
struct Scalars(Vec<String>);

impl<'de> Deserialize<'de> for Scalars {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let values = match Value::deserialize(deserializer)? {
            Value::Array(many) => many,
            one => vec![one],
        };
        let text = |value| match value {
            Value::String(text) => Some(text),
            Value::Bool(value) => Some(value.to_string()),
            Value::Number(number) => Some(number.to_string()),
            Value::Null | Value::Array(_) | Value::Object(_) => None,
        };
        let texts: Option<Vec<String>> = values.into_iter().map(text).collect();
        let texts = texts.filter(|texts| !texts.is_empty());
        texts.map(Self).ok_or_else(|| {
            de::Error::custom("a value is a text, a number, true or false, or a list of those")
        })
    }
}

/// `{operator: {key: values}}`, and back.
pub(super) mod conditions {
    use super::*;

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<Condition>, D::Error> {
        let operators: Entries<String, Entries<String, Scalars>> =
            Deserialize::deserialize(deserializer)?;
        let mut conditions = Vec::new();
        for (name, keys) in operators.0 {
            let operator = Operator::new(&name).ok_or_else(|| {
                de::Error::custom(format_args!("there is no condition operator {name:?}"))
            })?;
            for (key, Scalars(values)) in keys.0 {
                for value in &values {
                    if let Some(expected) = operator.refusal(value) {
                        return Err(de::Error::custom(format_args!(
                            "{value:?} of {key:?} under {name} is not {expected}"
                        )));
                    }
                }
                conditions.push(Condition {
                    operator,
                    key,
                    values,
                });
            }
        }
        Ok(conditions)
    }

    pub(in super::super) fn serialize<S: Serializer>(
        conditions: &[Condition],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let mut operators = serializer.serialize_map(None)?;
        for of_operator in conditions.chunk_by(|one, other| one.operator == other.operator) {
            if let Some(first) = of_operator.first() {
                operators.serialize_entry(&first.operator.to_string(), &Keys(of_operator))?;
            }
        }
        operators.end()
    }

    /// The keys under one operator.
    struct Keys<'c>(&'c [Condition]);

    impl Serialize for Keys<'_> {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.collect_map(self.0.iter().map(|one| (&one.key, &one.values)))
        }
    }
}

impl<'de> Deserialize<'de> for Principals {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PrincipalsVisitor;

        impl<'de> Visitor<'de> for PrincipalsVisitor {
            type Value = Principals;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("\"*\", or an object of principals by their kind")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Principals, E> {
                if text != "*" {
                    return Err(E::invalid_value(de::Unexpected::Str(text), &self));
                }
                let everybody = Texts(vec![text.to_owned()]);
                Ok(Principals(vec![(PrincipalKind::Aws, everybody)]))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Principals, A::Error> {
                let entries = Entries::deserialize(MapAccessDeserializer::new(map))?;
                if entries.0.is_empty() {
                    return Err(de::Error::invalid_length(0, &self));
                }
                Ok(Principals(entries.0))
            }
        }

        deserializer.deserialize_any(PrincipalsVisitor)
    }
}

impl Serialize for Principals {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(kind, texts)| (kind, texts)))
    }
}
