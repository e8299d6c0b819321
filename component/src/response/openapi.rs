//! The description of the API (OpenAPI 3.1).

/// The document, without white space between its tokens. `assets/openapi.json` is written by hand; the tests below compare
/// it with the tables in the code.
pub const DOCUMENT: &str = include_str!(concat!(env!("OUT_DIR"), "/openapi.json"));

/// The media type of the document.
pub const CONTENT_TYPE: &str = "application/json";

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::DOCUMENT;
    use crate::request::number::{Page, PerPage};
    use crate::request::route::{Endpoint, Method, route};
    use crate::request::username;
    use crate::request::violation::ViolationKind;
    use crate::response::error::Error;

    const METHODS: [(&str, Method); 2] = [("get", Method::Get), ("delete", Method::Delete)];

    fn document() -> Value {
        serde_json::from_str(DOCUMENT).unwrap()
    }

    fn resolve<'d>(document: &'d Value, node: &'d Value) -> &'d Value {
        match node.get("$ref").and_then(Value::as_str) {
            Some(reference) => document.pointer(reference.strip_prefix('#').unwrap()).expect(reference),
            None => node,
        }
    }

    fn keys(value: &Value) -> BTreeSet<&str> {
        value.as_object().unwrap().keys().map(String::as_str).collect()
    }

    fn operations(document: &Value) -> impl Iterator<Item = (&String, &String, &Value)> {
        let paths = document["paths"].as_object().unwrap();
        paths.iter().flat_map(|(path, methods)| {
            methods.as_object().unwrap().iter().map(move |(method, operation)| (path, method, operation))
        })
    }

    #[test]
    fn has_the_routes_that_are_answered() {
        let document = document();
        let described: BTreeSet<_> = keys(&document["paths"]);
        let answered: BTreeSet<_> =
            Endpoint::ALL.iter().filter(|e| **e != Endpoint::Unmatched).map(|e| e.label()).collect();
        assert_eq!(described, answered);
    }

    #[test]
    fn has_the_methods_that_are_answered_and_that_allow_names() {
        let document = document();
        for endpoint in Endpoint::ALL.into_iter().filter(|endpoint| *endpoint != Endpoint::Unmatched) {
            let path = endpoint.label().replace("{username}", "octocat");
            let described = keys(&document["paths"][endpoint.label()]);
            for (name, method) in METHODS {
                assert_eq!(described.contains(name), route(method, &path).route.is_ok(), "{name} {path}");
            }
            let allowed: BTreeSet<_> = endpoint
                .allow()
                .split(", ")
                .filter(|method| *method != "HEAD")
                .map(str::to_lowercase)
                .collect();
            assert_eq!(described, allowed.iter().map(String::as_str).collect(), "{path}");
        }
    }

    #[test]
    fn has_the_statuses_of_the_error_table() {
        let document = document();
        let described: BTreeSet<_> =
            operations(&document).flat_map(|(_, _, operation)| keys(&operation["responses"])).collect();
        let table: BTreeSet<_> =
            Error::samples().iter().map(|error| error.appearance().status.to_string()).collect();
        let beside_errors: BTreeSet<_> = ["200", "304"].map(str::to_owned).into();
        let expected: BTreeSet<_> = table.union(&beside_errors).map(String::as_str).collect();
        assert_eq!(described, expected);
    }

    #[test]
    fn has_both_forms_of_every_error() {
        let document = document();
        for (path, method, operation) in operations(&document) {
            for (status, response) in operation["responses"].as_object().unwrap() {
                let ready = path == "/ready" && status == "503";
                if status.as_str() < "400" || ready {
                    continue;
                }
                let content = &resolve(&document, response)["content"];
                if method != "head" && content.is_object() {
                    let forms = BTreeSet::from(["application/json", "application/problem+json"]);
                    assert_eq!(keys(content), forms, "{method} {path} {status}");
                }
            }
        }
    }

    #[test]
    fn has_the_bounds_of_the_parameters() {
        let document = document();
        let schema = |name: &str| document["components"]["parameters"][name]["schema"].clone();
        assert_eq!(schema("username")["maxLength"], username::MAX_CHARACTERS);
        for (name, default) in [("page", Page::FIRST.get()), ("per_page", PerPage::DEFAULT.get())] {
            assert_eq!(schema(name)["minimum"], Page::FIRST.get());
            assert_eq!(schema(name)["maximum"], Page::LAST.get());
            assert_eq!(schema(name)["default"], default);
        }
        assert_eq!(schema("use_cache")["default"], true);
    }

    #[test]
    fn has_the_kinds_of_violations() {
        let document = document();
        let described = document.pointer("/components/schemas/ValidationError/properties/type/enum").unwrap();
        let described: BTreeSet<_> = described.as_array().unwrap().iter().filter_map(Value::as_str).collect();
        assert_eq!(described, ViolationKind::ALL.map(ViolationKind::name).into());
    }

    #[test]
    fn every_reference_leads_somewhere_and_everything_is_referred_to() {
        fn collect<'d>(node: &'d Value, found: &mut BTreeSet<&'d str>) {
            match node {
                Value::Object(members) => {
                    found.extend(members.get("$ref").and_then(Value::as_str));
                    members.values().for_each(|member| collect(member, found));
                }
                Value::Array(items) => items.iter().for_each(|item| collect(item, found)),
                _ => {}
            }
        }
        let document = document();
        let mut found = BTreeSet::new();
        collect(&document, &mut found);
        let mut defined = BTreeSet::new();
        for kind in ["parameters", "responses", "schemas"] {
            defined.extend(
                keys(&document["components"][kind]).iter().map(|name| format!("#/components/{kind}/{name}")),
            );
        }
        assert_eq!(found, defined.iter().map(String::as_str).collect());
    }

    #[test]
    fn has_the_version_of_the_package() {
        assert_eq!(document()["info"]["version"], env!("CARGO_PKG_VERSION"));
    }

    #[test]
    fn its_schemas_describe_the_bodies() {
        use crate::github::gist;
        use crate::github::link::Relations;
        use crate::response::problem::{self, Form};

        let document = document();
        let schema = |name: &str| document["components"]["schemas"][name].clone();
        let listing = gist::transform(
            br#"[{"id":"1","description":null,"html_url":"u","created_at":"t","public":true,
                  "files":{"f":{"filename":"f","type":"t","language":null,"raw_url":"r","size":0}}}]"#,
            Page::FIRST,
            PerPage::DEFAULT,
            Relations::default(),
        );
        let mut body = listing.unwrap().body;
        gist::complete(&mut body, true, 300);
        conforms(&document, &schema("Gists"), &serde_json::from_slice(&body).unwrap());
        for error in Error::samples() {
            let body = |form| serde_json::from_slice(&problem::body(&error, form)).unwrap_or(Value::Null);
            match error {
                Error::Redirect { .. } => assert_eq!(body(Form::Detail), Value::Null),
                Error::Invalid(_) => conforms(&document, &schema("ValidationErrors"), &body(Form::Detail)),
                _ => conforms(&document, &schema("Error"), &body(Form::Detail)),
            }
            if !matches!(error, Error::Redirect { .. }) {
                conforms(&document, &schema("Problem"), &body(Form::Problem));
            }
        }
    }

    /// As much of JSON Schema as the document uses; closed: a member that the schema does not name fails.
    fn conforms(document: &Value, schema: &Value, value: &Value) {
        let schema = resolve(document, schema);
        let types = match &schema["type"] {
            Value::Array(types) => types.clone(),
            one => vec![one.clone()],
        };
        let kind = match value {
            Value::Null => "null",
            Value::Bool(_) => "boolean",
            Value::Number(_) => "integer",
            Value::String(_) => "string",
            Value::Array(_) => "array",
            Value::Object(_) => "object",
        };
        assert!(types.iter().any(|t| t == kind), "{value} is no {types:?}");
        if let Some(constant) = schema.get("const") {
            assert_eq!(value, constant);
        }
        if let Some(values) = schema.get("enum") {
            assert!(values.as_array().unwrap().contains(value), "{value}");
        }
        for item in value.as_array().into_iter().flatten() {
            conforms(document, &schema["items"], item);
        }
        for (name, member) in value.as_object().into_iter().flatten() {
            let named = schema["properties"].get(name).or_else(|| schema.get("additionalProperties"));
            conforms(document, named.unwrap_or_else(|| panic!("{name} is not described")), member);
        }
        for required in schema.get("required").and_then(Value::as_array).into_iter().flatten() {
            assert!(value.get(required.as_str().unwrap()).is_some(), "{required} is missing in {value}");
        }
    }
}
