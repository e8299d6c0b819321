//! Cases for the rules of rust.yaml: a line after `ruleid` is found, and one after `ok` is not. Nothing compiles this file.

fn environment() {
    // ruleid: environment-is-read-in-one-place
    let token = std::env::var("TOKEN");
    // ruleid: environment-is-read-in-one-place
    let proxy = env::var_os("HTTPS_PROXY");
    // ok: environment-is-read-in-one-place
    let proxy = environment::variable("HTTPS_PROXY");
}

fn shell(path: &str) {
    // ruleid: no-shell
    Command::new("sh").arg("-c").arg(path);
    // ruleid: no-shell
    std::process::Command::new("/bin/bash").arg(path);
    // ok: no-shell
    Command::new("runc").arg(path);
}

fn certificates(config: ClientConfig) {
    // ruleid: certificates-are-verified
    config.dangerous().set_certificate_verifier(nobody());
    // ruleid: certificates-are-verified
    TlsConfig::builder().disable_verification(true);
    // ok: certificates-are-verified
    TlsConfig::builder().root_certs(roots);
}

async fn waits() {
    // ruleid: no-sleep-of-a-thread-in-async-code
    std::thread::sleep(SECOND);
    // ok: no-sleep-of-a-thread-in-async-code
    tokio::time::sleep(SECOND).await;
}

async fn answers() -> u64 {
    // ruleid: no-sleep-of-a-thread-in-async-code
    thread::sleep(SECOND);
    1
}

fn of_its_own_thread() {
    // ok: no-sleep-of-a-thread-in-async-code
    thread::sleep(SECOND);
}

fn channels() {
    // ruleid: channels-are-bounded
    let (send, receive) = mpsc::unbounded_channel();
    // ok: channels-are-bounded
    let (send, receive) = mpsc::channel(16);
}

mod tests {
    fn a_test_may() {
        // ok: no-shell
        Command::new("sh").arg("-c");
        // ok: environment-is-read-in-one-place
        let keep = std::env::var_os("KEEP");
    }
}
