//! Fields of the API's objects, by JSON pointer (RFC 6901). A field that is missing is `null`.

use serde_json::Value;

/// The field of an object; `null` if there is none.
pub(crate) fn field<'a>(object: &'a Value, pointer: &str) -> &'a Value {
    object.pointer(pointer).unwrap_or(&Value::Null)
}

/// A field that is a text; empty if it is missing or anything else.
pub(crate) fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    field(object, pointer).as_str().unwrap_or_default()
}

/// The elements of a field that is a list.
pub(crate) fn list<'a>(object: &'a Value, pointer: &str) -> impl Iterator<Item = &'a Value> {
    field(object, pointer).as_array().into_iter().flatten()
}

/// Sets a field of an object. Anything else than an object stays as it is: the server refuses it.
pub(crate) fn set(object: &mut Value, key: &str, value: Value) {
    if let Some(fields) = object.as_object_mut() {
        fields.insert(key.to_owned(), value);
    }
}

/// Whether a node or a pod has the condition `Ready`.
pub(crate) fn is_ready(object: &Value) -> bool {
    list(object, "/status/conditions")
        .any(|one| text(one, "/type") == "Ready" && text(one, "/status") == "True")
}
