//! The shim's command line. containerd passes flags in the form of Go's `flag` package: `-name value`, `-name=value` or
//! `--name value`.

use std::ffi::OsString;

use crate::error::{Error, Result};

/// File name of this program, for messages.
pub(crate) const PROGRAM: &str = "containerd-shim-wasi-http-v1";

/// The flags of containerd's shim protocol. A string is empty if its flag is absent.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Flags {
    /// `start` or `delete`; empty for the serving process.
    pub(crate) action: String,
    /// Path of containerd's gRPC socket.
    pub(crate) address: String,
    /// The container's bundle directory, if it is not the working directory.
    pub(crate) bundle: String,
    /// Log at level debug.
    pub(crate) debug: bool,
    /// The container's id.
    pub(crate) id: String,
    /// Print the runtime's description (`RuntimeInfo`).
    pub(crate) info: bool,
    /// The container's containerd namespace, such as `k8s.io`.
    pub(crate) namespace: String,
    /// Path of the socket that the serving process listens at.
    pub(crate) socket: String,
    /// Print the version.
    pub(crate) version: bool,
}

impl Flags {
    /// Parses the arguments up to the action. Later arguments are ignored.
    ///
    /// # Errors
    /// `InvalidArgument` for an unknown flag or a flag without its value.
    pub(crate) fn parse(args: &[OsString]) -> Result<Self> {
        let mut flags = Self::default();
        let mut args = args.iter().map(|arg| arg.to_string_lossy());
        while let Some(arg) = args.next() {
            let Some(flag) = arg.strip_prefix("--").or_else(|| arg.strip_prefix('-')) else {
                flags.action = arg.into_owned();
                break;
            };
            let (name, given) =
                flag.split_once('=').map_or((flag, None), |(name, value)| (name, Some(value)));
            let invalid = || Error::InvalidArgument(format!("flag {arg}: unknown, or without a value"));
            if let Some(switch) = flags.switch(name) {
                *switch = given.is_none_or(|value| value != "false");
                continue;
            }
            let value = given.map(str::to_owned).or_else(|| args.next().map(std::borrow::Cow::into_owned));
            let value = value.ok_or_else(invalid)?;
            match name {
                "address" => flags.address = value,
                "bundle" => flags.bundle = value,
                "id" => flags.id = value,
                "namespace" => flags.namespace = value,
                "socket" => flags.socket = value,
                // A program that publishes events. The shim publishes over its own connection.
                "publish-binary" => {}
                _ => return Err(invalid()),
            }
        }
        Ok(flags)
    }

    fn switch(&mut self, name: &str) -> Option<&mut bool> {
        match name {
            "debug" => Some(&mut self.debug),
            "info" => Some(&mut self.info),
            "v" | "version" => Some(&mut self.version),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Flags> {
        Flags::parse(&line.split(' ').map(OsString::from).collect::<Vec<_>>())
    }

    #[test]
    fn flags_as_containerd_passes_them() {
        let flags = parse(
            "-namespace k8s.io -address /run/c.sock -publish-binary /bin/c -id 1 --debug -bundle=/b start",
        );
        let want = Flags {
            action: "start".to_owned(),
            address: "/run/c.sock".to_owned(),
            bundle: "/b".to_owned(),
            debug: true,
            id: "1".to_owned(),
            namespace: "k8s.io".to_owned(),
            ..Flags::default()
        };
        assert_eq!(flags.unwrap(), want);
    }

    #[test]
    fn boolean_flags() {
        assert!(
            parse("-v").unwrap().version
                && parse("--version").unwrap().version
                && parse("-info").unwrap().info
        );
        assert!(!parse("-debug=false").unwrap().debug);
    }

    #[test]
    fn an_error_names_the_unknown_or_incomplete_flag() {
        assert!(parse("-id").unwrap_err().to_string().contains("-id"));
        assert!(parse("-what x").unwrap_err().to_string().contains("-what"));
    }
}
