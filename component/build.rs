//! Renders the OpenAPI document into the page that `/docs` serves. The page is documentation without JavaScript, too, and
//! the component does not spend time or code on it. Also removes from page and document the white space that only their
//! authors need.

#![expect(clippy::indexing_slicing, reason = "a JSON value gives null for a member that is missing")]

use std::{env, error::Error, fmt::Write as _, fs, path::Path};

use serde_json::{Map, Value};

const DOCUMENT: &str = "assets/openapi.json";
const TEMPLATE: &str = "assets/docs.html";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed={DOCUMENT}");
    println!("cargo::rerun-if-changed={TEMPLATE}");
    let json = fs::read_to_string(DOCUMENT)?;
    let document = Document(serde_json::from_str(&json)?);
    let info = &document.0["info"];
    let mut page: String =
        fs::read_to_string(TEMPLATE)?.lines().flat_map(|line| [line.trim_start(), "\n"]).collect();
    for (place, content) in [
        ("<!-- title -->", escape(text(info, "title"))),
        ("<!-- version -->", escape(text(info, "version"))),
        ("<!-- description -->", escape(text(info, "description"))),
        ("<!-- operations -->", document.operations()),
        ("<!-- schemas -->", document.schemas()),
    ] {
        if !page.contains(place) {
            return Err(format!("{TEMPLATE} has no {place}").into());
        }
        page = page.replace(place, &content);
    }
    let out = env::var("OUT_DIR")?;
    fs::write(Path::new(&out).join("docs.html"), page)?;
    fs::write(Path::new(&out).join("openapi.json"), compact(&json))?;
    Ok(())
}

/// JSON without the white space between its tokens. The members keep their order, for readers.
fn compact(json: &str) -> String {
    let (mut is_string, mut is_escaped) = (false, false);
    let is_kept = |c: &char| {
        let is_kept = is_string || !c.is_ascii_whitespace();
        is_string ^= *c == '"' && !is_escaped;
        is_escaped = *c == '\\' && !is_escaped;
        is_kept
    };
    json.chars().filter(is_kept).collect()
}

struct Document(Value);

impl Document {
    fn resolve<'d>(&'d self, node: &'d Value) -> &'d Value {
        match node["$ref"].as_str() {
            Some(reference) => {
                self.0.pointer(reference.trim_start_matches('#')).expect("a reference leads somewhere")
            }
            None => node,
        }
    }

    /// The operations of each tag under a heading, in the document's order.
    fn operations(&self) -> String {
        let mut html = String::new();
        for tag in items(&self.0["tags"]) {
            let name = text(tag, "name");
            write(
                &mut html,
                format_args!("<h2>{}</h2>\n<p>{}\n", escape(name), escape(text(tag, "description"))),
            );
            for (path, methods) in members(&self.0["paths"]) {
                for (method, operation) in members(methods) {
                    if operation["tags"][0] == name {
                        html.push_str(&self.operation(path, &method.to_uppercase(), operation));
                    }
                }
            }
        }
        html
    }

    fn operation(&self, path: &str, method: &str, operation: &Value) -> String {
        let (id, path) = (escape(text(operation, "operationId")), escape(path));
        let mut html = format!(
            "<details id=\"{id}\"><summary><b class=\"{method}\">{method}</b> <code>{path}</code> <span>{}</span></summary>\n\
             <form data-method=\"{method}\" data-path=\"{path}\">\n",
            escape(text(operation, "summary"))
        );
        if let Some(description) = operation["description"].as_str() {
            write(&mut html, format_args!("<p>{}</p>\n", escape(description)));
        }
        let parameters: Vec<_> =
            items(&operation["parameters"]).map(|parameter| self.resolve(parameter)).collect();
        for parameter in &parameters {
            html.push_str(&field(parameter));
        }
        if let Some(scheme) = items(&operation["security"]).flat_map(members).map(|(name, _)| name).next() {
            let scheme = &self.0["components"]["securitySchemes"][scheme];
            html.push_str(&row(
                "Authorization",
                &format!("{} <i>bearer token</i>", escape(text(scheme, "description"))),
                "name=\"Authorization\" data-in=\"token\" type=\"password\" autocomplete=\"off\"",
                None,
            ));
        }
        html.push_str(&self.accept(operation));
        write(
            &mut html,
            format_args!("</form>\n<h3>Responses</h3>\n{}</details>\n", self.responses(operation)),
        );
        html
    }

    /// The responses of an operation: what each means, its body's schemas and its headers.
    fn responses(&self, operation: &Value) -> String {
        let mut html = "<table>\n".to_owned();
        for (status, response) in members(&operation["responses"]) {
            let response = self.resolve(response);
            write(
                &mut html,
                format_args!("<tr><th scope=\"row\">{status}<td>{}", escape(text(response, "description"))),
            );
            let bodies: Vec<_> =
                members(&response["content"]).map(|(_, content)| kind(&content["schema"])).collect();
            let headers: Vec<_> = members(&response["headers"]).map(|(name, _)| escape(name)).collect();
            if !bodies.is_empty() {
                write(&mut html, format_args!(" <i>{}</i>", bodies.join(" or ")));
            }
            if !headers.is_empty() {
                write(&mut html, format_args!("<br><i>{}</i>", headers.join(", ")));
            }
            html.push('\n');
        }
        html.push_str("</table>");
        html
    }

    /// The media types of all responses, to choose from.
    fn accept(&self, operation: &Value) -> String {
        let mut types: Vec<&String> = Vec::new();
        for (_, response) in members(&operation["responses"]) {
            for (media_type, _) in members(&self.resolve(response)["content"]) {
                if !types.contains(&media_type) {
                    types.push(media_type);
                }
            }
        }
        let options = types.iter().map(|media_type| escape(media_type)).collect::<Vec<_>>();
        row(
            "Accept",
            "The media type that the response should have. <i>header</i>",
            "data-in=\"header\" name=\"Accept\"",
            Some(&options),
        )
    }

    fn schemas(&self) -> String {
        let mut html = String::new();
        for (name, schema) in members(&self.0["components"]["schemas"]) {
            let name = escape(name);
            write(
                &mut html,
                format_args!(
                    "<details id=\"schema-{name}\"><summary><code>{name}</code> <span>{}</span></summary>\n<table>\n",
                    escape(text(schema, "description"))
                ),
            );
            for (property, described) in members(&schema["properties"]) {
                let optional = items(&schema["required"]).all(|required| required != property);
                write(
                    &mut html,
                    format_args!(
                        "<tr><th scope=\"row\"><code>{}</code><td>{} <i>{}{}</i>\n",
                        escape(property),
                        escape(text(described, "description")),
                        kind(described),
                        if optional { ", optional" } else { "" }
                    ),
                );
            }
            html.push_str("</table></details>\n");
        }
        html
    }
}

/// A parameter's description, and the field that its value is written into.
fn field(parameter: &Value) -> String {
    let (name, place, schema) =
        (escape(text(parameter, "name")), text(parameter, "in"), &parameter["schema"]);
    let required = parameter["required"] == true;
    let about = format!(
        "{} <i>{place}{}, {}</i>",
        escape(text(parameter, "description")),
        if required { ", required" } else { "" },
        kind(schema)
    );
    let mut attributes = format!("name=\"{name}\" data-in=\"{place}\"");
    let options = (schema["type"] == "boolean").then(|| ["", "true", "false"].map(str::to_owned));
    if required {
        attributes.push_str(" required");
    }
    if let Some(example) = parameter["example"].as_str() {
        write(&mut attributes, format_args!(" value=\"{}\"", escape(example)));
    }
    if schema["type"] == "integer" {
        attributes.push_str(" inputmode=\"numeric\"");
    }
    row(&name, &about, &attributes, options.as_ref().map(<[String; 3]>::as_slice))
}

/// A name, a text about it, and the field or, with `options`, the selection. All three are the field's label.
fn row(name: &str, about: &str, attributes: &str, options: Option<&[String]>) -> String {
    let control = match options {
        Some(options) => {
            let options: String = options.iter().map(|option| format!("<option>{option}")).collect();
            format!("<select {attributes}>{options}</select>")
        }
        None => format!("<input {attributes}>"),
    };
    format!("<label><code>{name}</code><span>{about}</span>{control}</label>\n")
}

/// A schema in words, as HTML: its type, or a link to it, and its bounds.
fn kind(schema: &Value) -> String {
    if let Some(reference) = schema["$ref"].as_str() {
        let name = escape(reference.rsplit('/').next().unwrap_or_default());
        return format!("<a href=\"#schema-{name}\">{name}</a>");
    }
    if schema["oneOf"].is_array() {
        return items(&schema["oneOf"]).map(kind).collect::<Vec<_>>().join(" or ");
    }
    let mut words = match &schema["type"] {
        Value::Array(types) => types.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" or "),
        single => single.as_str().unwrap_or_default().to_owned(),
    };
    if schema["items"].is_object() {
        write(&mut words, format_args!(" of {}", kind(&schema["items"])));
    }
    if schema["additionalProperties"].is_object() {
        write(&mut words, format_args!(" of {}", kind(&schema["additionalProperties"])));
    }
    for (key, name) in [
        ("format", ""),
        ("const", "always "),
        ("enum", "one of "),
        ("minimum", "at least "),
        ("maximum", "at most "),
        ("maxLength", "length at most "),
        ("pattern", "pattern "),
        ("default", "default "),
    ] {
        let value = match &schema[key] {
            Value::Null => continue,
            Value::String(value) => value.clone(),
            Value::Array(values) => values.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", "),
            value => value.to_string(),
        };
        write(&mut words, format_args!(", {name}{}", escape(&value)));
    }
    words
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn members(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flat_map(Map::iter)
}

fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value[name].as_str().unwrap_or_default()
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn write(html: &mut String, content: std::fmt::Arguments<'_>) {
    html.write_fmt(content).expect("a string takes anything");
}
