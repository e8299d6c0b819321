//! Templates: text with `{{ variable }}` in it.

use super::{InvalidName, Name, Value, Variables};
use std::str::FromStr;

/// Text that may contain `{{ variable }}`, with the syntax of Spin's manifests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(Box<str>),
    Variable(Name),
}

/// The text is not a template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTemplate {
    /// A `{{` has no `}}`.
    #[error("a `{{{{` is not closed by `}}}}`")]
    Unclosed,
    /// The text between the braces is not a variable's name.
    #[error(transparent)]
    Name(#[from] InvalidName),
}

/// A template uses a variable that has no value. Either neither `[variables]` nor `--var` declares the variable, or
/// no source sets it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("variable {0} is used, but not declared in [variables] or by --var, or not set")]
pub struct UnknownVariable(pub Name);

impl Template {
    /// The template `{{ name }}`.
    #[must_use]
    pub fn variable(name: Name) -> Self {
        Self(vec![Part::Variable(name)])
    }

    /// The variables that the template uses.
    pub fn variables(&self) -> impl Iterator<Item = &Name> {
        self.0.iter().filter_map(|part| match part {
            Part::Variable(name) => Some(name),
            Part::Text(_) => None,
        })
    }

    /// Renders the template with the variables' values. The result is secret if one of the values is secret.
    ///
    /// # Errors
    /// A variable has no value.
    pub fn render(&self, variables: &Variables) -> Result<Value, UnknownVariable> {
        let mut text = String::new();
        let mut secret = false;
        for part in &self.0 {
            match part {
                Part::Text(literal) => text.push_str(literal),
                Part::Variable(name) => {
                    let value = variables.get(name).ok_or_else(|| UnknownVariable(name.clone()))?;
                    text.push_str(value.expose());
                    secret |= value.is_secret();
                }
            }
        }
        Ok(Value::new(text, secret))
    }
}

impl FromStr for Template {
    type Err = InvalidTemplate;

    fn from_str(mut rest: &str) -> Result<Self, InvalidTemplate> {
        let mut parts = Vec::new();
        while let Some((text, expression)) = rest.split_once("{{") {
            let (name, after) = expression.split_once("}}").ok_or(InvalidTemplate::Unclosed)?;
            if !text.is_empty() {
                parts.push(Part::Text(text.into()));
            }
            parts.push(Part::Variable(name.trim().parse()?));
            rest = after;
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.into()));
        }
        Ok(Self(parts))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn variables() -> Variables {
        let value = |name: &str, text: &str, secret| (name.parse().unwrap(), Value::new(text, secret));
        Variables::from_iter([value("host", "example.com", false), value("token", "s3cret", true)])
    }

    #[test]
    fn values_take_the_place_of_their_names() {
        let template: Template = "https://{{ host }}:{{host}}/}}".parse().unwrap();
        let value = template.render(&variables()).unwrap();
        assert_eq!((&**value.expose(), value.is_secret()), ("https://example.com:example.com/}}", false));
    }

    #[test]
    fn a_secret_makes_the_whole_secret() {
        let value = "Bearer {{ token }}".parse::<Template>().unwrap().render(&variables()).unwrap();
        assert_eq!(&**value.expose(), "Bearer s3cret");
        assert_eq!(format!("{value:?}"), "<secret>");
    }

    #[test]
    fn what_is_wrong_is_named() {
        assert_eq!("{{ host ".parse::<Template>(), Err(InvalidTemplate::Unclosed));
        assert!("{{ Host }}".parse::<Template>().unwrap_err().to_string().contains("\"Host\""));
        let unknown = "{{ other }}".parse::<Template>().unwrap().render(&variables()).unwrap_err();
        assert!(unknown.to_string().contains("variable other is used, but not declared"), "{unknown}");
    }

    proptest! {
        #[test]
        fn text_without_braces_is_itself(text in "[^{]*") {
            let value = text.parse::<Template>().unwrap().render(&Variables::default()).unwrap();
            prop_assert_eq!(&**value.expose(), text);
        }

        #[test]
        fn nothing_panics(text in "[a-z{} ]*") {
            let _ = text.parse::<Template>().map(|template| template.render(&variables()));
        }
    }
}
