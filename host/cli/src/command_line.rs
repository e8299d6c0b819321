//! The words of the command line and the environment, as they are before they are parsed.

use std::{
    ffi::{OsStr, OsString},
    path::PathBuf,
};

use clap::{Arg, Args as _, Command};

use crate::{config::Config, termination_log};

/// The words and the variables that the process was started with. Messages name a setting as the operator wrote it.
pub struct CommandLine {
    words: Vec<OsString>,
    variable: Box<Environment>,
}

/// Looks up a variable.
type Environment = dyn Fn(&str) -> Option<OsString>;

impl CommandLine {
    /// The command line and the environment of this process.
    #[must_use]
    pub fn of_process() -> Self {
        Self { words: std::env::args_os().collect(), variable: Box::new(|name| std::env::var_os(name)) }
    }

    /// The words, with the program's name first.
    #[must_use]
    pub fn words(&self) -> &[OsString] {
        &self.words
    }

    /// `--termination-log`, for a command line that does not parse. `None`: the command is `probe`, which has no such file.
    pub(crate) fn termination_log(&self) -> Option<PathBuf> {
        if self.words.get(1).is_some_and(|command| command == "probe") {
            return None;
        }
        let mut words = self.flags().filter_map(OsStr::to_str);
        let flag = match words.find_map(|word| value_of("--termination-log", word)) {
            Some(None) => words.next(),
            Some(value) => value,
            None => None,
        };
        let given = flag.map(OsString::from).or_else(|| (self.variable)("WASI_HTTP_HOST_TERMINATION_LOG"));
        let given = given.filter(|path| !path.is_empty());
        Some(given.unwrap_or_else(|| termination_log::DEFAULT.into()).into())
    }

    /// `message`, with the variable before each flag whose value the variable has given.
    pub(crate) fn with_variables(&self, message: &str) -> String {
        let settings = settings();
        let (mut named, mut rest) = (String::new(), message);
        while let Some((before, flag, after)) = next_flag(rest) {
            named.push_str(before);
            if let Some(variable) = self.variable_for(&settings, flag) {
                named += &variable;
                named += " (";
                named += flag;
                named.push(')');
            } else {
                named += flag;
            }
            rest = after;
        }
        named + rest
    }

    /// The variable that gave `flag` its value.
    fn variable_for(&self, settings: &Command, flag: &str) -> Option<String> {
        let setting = setting(settings, flag)?;
        let variable = setting.get_env()?.to_str()?;
        let from_flag = self.flags().filter_map(OsStr::to_str).any(|word| value_of(flag, word).is_some());
        (!from_flag && (self.variable)(variable).is_some()).then(|| variable.to_owned())
    }

    /// The flag whose variable has a value that is not UTF-8. Paths need not be UTF-8.
    pub(crate) fn variable_that_is_not_text(&self) -> Option<String> {
        let settings = settings();
        settings.get_arguments().find_map(|setting| {
            let flag = format!("--{}", setting.get_long()?);
            let variable = self.variable_for(&settings, &flag)?;
            let is_path = matches!(value_name(setting), "FILE" | "DIR");
            (!is_path && (self.variable)(&variable)?.to_str().is_none()).then_some(flag)
        })
    }

    /// The words that may be flags.
    fn flags(&self) -> impl Iterator<Item = &OsStr> {
        self.words.iter().map(OsString::as_os_str).take_while(|word| *word != "--")
    }
}

/// The value in `--flag=value`. `Some(None)` if `word` is the flag alone, and `None` if it is another word.
fn value_of<'a>(flag: &str, word: &'a str) -> Option<Option<&'a str>> {
    match word.strip_prefix(flag)? {
        "" => Some(None),
        rest => rest.strip_prefix('=').map(Some),
    }
}

/// All flags of the host.
fn settings() -> Command {
    Config::augment_args(Command::new("serve"))
}

fn setting<'a>(settings: &'a Command, flag: &str) -> Option<&'a Arg> {
    let long = flag.strip_prefix("--")?;
    settings.get_arguments().find(|setting| setting.get_long() == Some(long))
}

/// What kind of value the setting `flag` has: `ADDR`, `N`, …
pub(crate) fn kind_of_value(flag: &str) -> String {
    setting(&settings(), flag).map(value_name).unwrap_or_default().to_owned()
}

fn value_name(setting: &Arg) -> &str {
    setting.get_value_names().and_then(<[_]>::first).map_or("", |name| name.as_str())
}

/// Splits `text` into what is before its first flag, the flag, and what is after it.
fn next_flag(text: &str) -> Option<(&str, &str, &str)> {
    let (before, from) = text.split_at(text.find("--")?);
    let is_of_flag = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let (flag, after) = from.split_at(from.find(|c| !is_of_flag(c)).unwrap_or(from.len()));
    Some((before, flag, after))
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, os::unix::ffi::OsStringExt as _};

    use super::*;

    fn given(words: &[&str], variables: &[(&str, &[u8])]) -> CommandLine {
        let variables: BTreeMap<String, OsString> = variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), OsString::from_vec(value.to_vec())))
            .collect();
        CommandLine {
            words: words.iter().map(OsString::from).collect(),
            variable: Box::new(move |name| variables.get(name).cloned()),
        }
    }

    #[test]
    fn a_flag_is_named_with_the_variable_that_gave_its_value() {
        let message = "invalid value for --tls-key: set it with --tls-cert, not --tls";
        let variables: [(&str, &[u8]); 2] =
            [("WASI_HTTP_HOST_TLS_KEY", b"k"), ("WASI_HTTP_HOST_TLS_CERT", b"c")];
        let named = "invalid value for WASI_HTTP_HOST_TLS_KEY (--tls-key): set it with --tls-cert, not --tls";
        for words in
            [&["x", "serve", "--tls-cert", "f"][..], &["x", "serve", "--tls-cert=f", "--", "--tls-key"]]
        {
            assert_eq!(given(words, &variables).with_variables(message), named);
        }
        assert_eq!(given(&["x", "serve"], &[]).with_variables(message), message);
    }

    #[test]
    fn a_variable_that_is_not_utf_8_is_found_unless_it_is_a_path() {
        let line = |words: &[&str]| {
            let variables: [(&str, &[u8]); 2] =
                [("WASI_HTTP_HOST_CACHE_DIR", b"/\xff"), ("WASI_HTTP_HOST_LOG_LEVEL", b"\xff")];
            given(words, &variables).variable_that_is_not_text()
        };
        assert_eq!(line(&["x", "serve"]).as_deref(), Some("--log-level"));
        assert_eq!(line(&["x", "serve", "--log-level", "info"]), None);
    }

    #[test]
    fn the_termination_log_of_a_command_line_that_does_not_parse() {
        let variable: [(&str, &[u8]); 1] = [("WASI_HTTP_HOST_TERMINATION_LOG", b"/variable")];
        for (words, path) in [
            (&["x", "serve", "--nonsense", "--termination-log", "/flag"][..], "/flag"),
            (&["x", "--termination-log=/flag", "--nonsense"], "/flag"),
            (&["x", "serve", "--", "--termination-log=/flag"], "/variable"),
            (&["x", "--termination-log"], "/variable"),
        ] {
            assert_eq!(given(words, &variable).termination_log(), Some(path.into()), "{words:?}");
        }
        assert_eq!(given(&["x"], &[]).termination_log(), Some(termination_log::DEFAULT.into()));
        // A probe runs in the container of a host, whose file this is.
        assert_eq!(given(&["x", "probe", "--nonsense"], &variable).termination_log(), None);
    }
}
