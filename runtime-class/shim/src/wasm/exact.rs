//! Objects of JSON that containerd reads too, without a second way to read them.
//!
//! containerd reads an image's documents with Go's `encoding/json`, which takes a key for a known one when only its case
//! differs. An image could show containerd another document than the shim. So the shim refuses such keys. That a known key
//! occurs once is checked by serde.

use std::{fmt, marker::PhantomData, ops::Deref};

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, Error, IntoDeserializer as _, MapAccess, Visitor},
    forward_to_deserialize_any,
};

/// A struct that is read from an object. An object with a key that differs from a field's name only in case is an error.
#[derive(Debug)]
pub(super) struct Exact<T>(pub(super) T);

impl<T> Deref for Exact<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Exact<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ExactVisitor(PhantomData))
    }
}

struct ExactVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ExactVisitor<T> {
    type Value = Exact<T>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, object: A) -> Result<Exact<T>, A::Error> {
        T::deserialize(Object(object)).map(Exact)
    }
}

/// An object, for the struct that knows its keys.
struct Object<A>(A);

impl<'de, A: MapAccess<'de>> Deserializer<'de> for Object<A> {
    type Error = A::Error;

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, A::Error> {
        visitor.visit_map(Keys { object: self.0, fields })
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, A::Error> {
        visitor.visit_map(self.0)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

/// The keys and values of an object, with each key checked.
struct Keys<A> {
    object: A,
    fields: &'static [&'static str],
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Keys<A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, A::Error> {
        let Some(key) = self.object.next_key::<String>()? else { return Ok(None) };
        let same = self.fields.iter().find(|field| **field != key && folded(field) == folded(&key));
        if let Some(field) = same {
            return Err(A::Error::custom(format_args!(
                "the key {key:?} differs from {field:?} in case only"
            )));
        }
        seed.deserialize(key.into_deserializer()).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, A::Error> {
        self.object.next_value_seed(seed)
    }
}

/// `key` without case, as Go compares it with a name in ASCII (Unicode's simple case folding).
fn folded(key: &str) -> String {
    let fold = |character| match character {
        'ſ' => 's',
        '\u{212a}' => 'k',
        other => other.to_ascii_lowercase(),
    };
    key.chars().map(fold).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Document {
        #[serde(default)]
        layers: Vec<Exact<Document>>,
        key: Option<u8>,
    }

    fn read(text: &str) -> Result<Exact<Document>, serde_json::Error> {
        serde_json::from_str(text)
    }

    #[test]
    fn a_key_in_another_case_is_refused() {
        for key in ["Key", "KEY", "\u{212a}ey", "LAYERS", "layerſ"] {
            for text in [format!(r#"{{"{key}": 1}}"#), format!(r#"{{"layers": [{{"{key}": 1}}]}}"#)] {
                let error = read(&text).unwrap_err().to_string();
                assert!(error.contains(&format!("the key {key:?} differs from ")), "{text}: {error}");
            }
        }
    }

    #[test]
    fn a_known_key_occurs_once_and_other_keys_do_not_matter() {
        assert!(read(r#"{"key": 1, "key": 2}"#).unwrap_err().to_string().contains("duplicate field `key`"));
        assert!(read("[[], 1]").unwrap_err().to_string().contains("expected an object"));
        let document =
            read(r#"{"a": 1, "A": 2, "a": {"Key": 3}, "key": 4, "layers": [{"key": 5}]}"#).unwrap();
        assert_eq!((document.key, document.layers[0].key), (Some(4), Some(5)));
    }
}
