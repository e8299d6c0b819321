//! containerd's command line, in the form of Go's programs: `-name value`, `-name=value`, `--name …`.

use std::ffi::OsString;

use crate::error::{Error, Result};

/// What containerd says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Flags {
    /// `start`, `delete`, or nothing for the shim proper.
    pub(crate) action: String,
    /// containerd's gRPC socket.
    pub(crate) address: String,
    /// Of the container, where it is not the working directory.
    pub(crate) bundle: String,
    /// Log more.
    pub(crate) debug: bool,
    /// The container.
    pub(crate) id: String,
    /// Describe the runtime.
    pub(crate) info: bool,
    /// The container's namespace.
    pub(crate) namespace: String,
    /// The shim's own socket.
    pub(crate) socket: String,
    /// Print the version.
    pub(crate) version: bool,
}

impl Flags {
    /// Reads them, up to the action.
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
            let invalid = || Error::InvalidArgument(format!("flag {arg}"));
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
                // For publishing events by a program; we have a connection.
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
    fn as_containerd_calls() {
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
    fn switches() {
        assert!(
            parse("-v").unwrap().version
                && parse("--version").unwrap().version
                && parse("-info").unwrap().info
        );
        assert!(!parse("-debug=false").unwrap().debug);
    }

    #[test]
    fn what_is_unknown_or_incomplete_is_named() {
        assert!(parse("-id").unwrap_err().to_string().contains("-id"));
        assert!(parse("-what x").unwrap_err().to_string().contains("-what"));
    }
}
