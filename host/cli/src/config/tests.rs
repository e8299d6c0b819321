//! Tests of flags, their variables, and the configuration that they become.

use clap::{Command, CommandFactory as _, FromArgMatches as _};

use wasi_http_host_core::environment;

use super::*;

fn parse(args: &[&str]) -> Result<Config, clap::Error> {
    let command = Config::augment_args(Command::new("serve").no_binary_name(true));
    Config::from_arg_matches(&command.try_get_matches_from(args)?)
}

#[test]
fn the_flags_defaults_are_the_types() {
    assert_eq!(format!("{:?}", parse(&[]).unwrap()), format!("{:?}", Config::default()));
}

#[test]
fn a_bad_value_is_named() {
    for (flag, value) in [
        ("--listen", "localhost"),
        ("--max-instances", "0"),
        ("--request-timeout", "10"),
        ("--max-memory", "lots"),
        ("--ready-path", "ready"),
        ("--allowed-outbound-host", "https://{{ Host }}"),
        ("--outbound-allow-cidr", "10.0.0.0/33"),
        ("--access-log", "maybe"),
    ] {
        let error = parse(&[flag, value]).unwrap_err().to_string();
        assert!(error.contains(flag) && error.contains(value), "{error}");
    }
}

#[test]
fn the_memory_of_an_instance_is_at_most_what_a_pool_reserves() {
    let refused = |size| parse(&["--max-memory", size]).unwrap().validate().err();
    assert!(refused("4GiB").is_none());
    assert_eq!(refused("4294967297").unwrap().name, "--max-memory");
}

#[test]
fn every_flag_has_its_variable() {
    #[derive(clap::Parser)]
    struct Cli {
        #[command(flatten)]
        _config: Config,
    }
    for arg in Cli::command().get_arguments().filter(|arg| arg.get_long().is_some_and(|long| long != "help"))
    {
        let long = arg.get_long().unwrap_or_default();
        let expected = format!("WASI_HTTP_HOST_{}", long.to_uppercase().replace('-', "_"));
        assert_eq!(arg.get_env().and_then(|env| env.to_str()), Some(&*expected), "--{long}");
        assert!(environment::setter(&expected).is_some(), "a component could read {expected}");
    }
}

#[test]
fn port_replaces_the_defaults_port_only() {
    let mut config = Config::default();
    assert_eq!(config.main_listener(None).unwrap().to_string(), "127.0.0.1:8080");
    assert_eq!(config.main_listener(Some("3000")).unwrap().to_string(), "127.0.0.1:3000");
    assert!(config.main_listener(Some("http")).unwrap_err().to_string().contains("PORT"));
    config.listen = "0.0.0.0:80".parse().ok();
    assert_eq!(config.main_listener(Some("http")).unwrap().to_string(), "0.0.0.0:80");
}
