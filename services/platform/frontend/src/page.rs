//! The page.

use serde::Deserialize;

/// The page with placeholders in braces.
const PAGE: &str = include_str!("../assets/page.html");

/// The backend's data.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Data {
    pub(crate) message: String,
    pub(crate) timestamp: String,
    pub(crate) version: String,
    pub(crate) cluster: String,
}

/// What the page shows.
pub(crate) struct Page<'a> {
    /// The paths of the files, below the page's own.
    pub(crate) style: &'a str,
    pub(crate) script: &'a str,
    pub(crate) state: &'a str,
    pub(crate) data: &'a Data,
}

impl Page<'_> {
    /// The page as HTML.
    pub(crate) fn html(&self) -> String {
        let mut html = String::with_capacity(PAGE.len() * 2);
        let mut rest = PAGE;
        while let Some((before, name, after)) = placeholder(rest) {
            html.push_str(before);
            escape(&self.value(name), &mut html);
            rest = after;
        }
        html.push_str(rest);
        html
    }

    fn value(&self, name: &str) -> String {
        match name {
            // Relative, so that the page works below any path.
            "style" => format!(".{}", self.style),
            "script" => format!(".{}", self.script),
            "state" => self.state.to_owned(),
            "message" => self.data.message.clone(),
            "timestamp" => self.data.timestamp.clone(),
            "version" => self.data.version.clone(),
            "cluster" => self.data.cluster.clone(),
            _ => String::new(),
        }
    }
}

/// What is before the next placeholder of `text`, its name, and what is behind it.
fn placeholder(text: &str) -> Option<(&str, &str, &str)> {
    let (before, rest) = text.split_once('{')?;
    let (name, after) = rest.split_once('}')?;
    Some((before, name, after))
}

/// Writes `text` as HTML, also for values of attributes.
fn escape(text: &str, html: &mut String) {
    for character in text.chars() {
        match character {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            other => html.push(other),
        }
    }
}
