//! The limit of a guest's memory.

use testkit::{Host, LogLine, paths::guest};

use crate::{
    frames::{ACK, DATA, END_HEADERS, HEADERS, PING, Peer, SETTINGS, WINDOW_UPDATE, block, frame},
    harness::{serving, start_guest},
};

#[tokio::test]
async fn a_guest_that_takes_memory_without_end_is_stopped_at_its_ceiling() {
    let host = start_guest("service", &["--max-memory", "16MiB"]).await;
    assert_eq!(host.get("/grow").await.status, 500);
    assert!(host.metric("wasi_http_host_guest_memory_refused_total").await > 0.0);
    assert_eq!(host.get("/hello/after").await.text(), "hello after");
    let held = host.metric("wasi_http_host_guest_memory_bytes").await;
    assert!(held > 0.0 && held < f64::from(16 << 20), "{held}");
}

#[tokio::test]
async fn with_little_address_space_there_is_no_pool_and_the_limits_hold() {
    if std::process::Command::new("prlimit").arg("--version").output().is_err() {
        println!("NOT RUN: there is no prlimit(1)");
        return;
    }
    let flags = ["--threads", "1", "--instance-max-concurrency", "1", "--max-memory", "16MiB"];
    let options = serving(&guest("service")).flags(&flags).flags(&["--request-timeout", "2s"]);
    let pooling = options.clone().start().await;
    assert_eq!(pooling.metric("wasi_http_host_instance_pool").await, 1.0);
    // As under `ulimit -v 8388608`.
    let host = options.under(["prlimit", "--as=8589934592"]).start().await;
    assert_eq!(host.metric("wasi_http_host_instance_pool").await, 0.0);
    let warning =
        |line: &LogLine| line.message_contains("the address space is too small for a pool of instances");
    assert_eq!(host.lines().iter().filter(|line| warning(line)).count(), 1);

    let answers = futures::future::join_all((0..40).map(|_| host.get("/sleep/100"))).await;
    assert!(answers.iter().all(|answer| answer.text() == "slept"));
    assert!(host.metric("wasi_http_host_instances_live").await > 2.0);
    assert_eq!(host.get("/grow").await.status, 500);
    assert!(host.metric("wasi_http_host_guest_memory_refused_total").await > 0.0);
    assert_eq!(host.get("/spin").await.status, 504);
    assert_eq!(host.get("/hello/after").await.text(), "hello after");
}

/// Sends the bodies of two requests that the component does not read, as far as the host's windows allow.
async fn fill_windows(host: &Host) -> (Peer, usize) {
    const PIECE: usize = 16 << 10;
    let mut peer = Peer::connect(host, &[]).await;
    peer.send(&frame(SETTINGS, ACK, 0, &[])).await;
    // What RFC 9113 says, unless the host says otherwise.
    let (mut stream_window, mut connection_window) = (65_535, 65_535);
    loop {
        let frame = peer.next().await.expect("the connection is open");
        let word = |at: usize| u32::from_be_bytes(frame.payload[at..at + 4].try_into().unwrap());
        match frame.kind {
            SETTINGS if frame.flags & ACK == 0 => {
                let settings = (0..frame.payload.len()).step_by(6);
                let mut window = settings.filter(|at| frame.payload[at + 1] == 4).map(|at| word(at + 2));
                stream_window = window.next_back().unwrap_or(stream_window);
            }
            // The host says so once, behind its settings.
            WINDOW_UPDATE if frame.stream == 0 => {
                connection_window += word(0);
                break;
            }
            _ => {}
        }
    }
    let mut sent = 0;
    for stream in [1, 3] {
        let fields =
            [(":method", "POST"), (":scheme", "http"), (":authority", "a"), (":path", "/sleep/60000")];
        peer.send(&frame(HEADERS, END_HEADERS, stream, &block(&fields))).await;
        let mut left = usize::try_from(stream_window.min(connection_window)).unwrap();
        connection_window -= u32::try_from(left).unwrap();
        while left > 0 {
            let piece = left.min(PIECE);
            peer.send(&frame(DATA, 0, stream, &vec![b'x'; piece])).await;
            (left, sent) = (left - piece, sent + piece);
        }
    }
    // The host answers behind all that it has read.
    peer.send(&frame(PING, 0, 0, &[1; 8])).await;
    while peer.next().await.expect("the connection is open").kind != PING {}
    (peer, sent)
}

#[tokio::test]
async fn connections_with_unread_bodies_stay_within_the_sum_that_the_host_prints() {
    const CONNECTIONS: usize = 100;
    let flags = ["--threads", "1", "--max-instances", "1", "--max-memory", "16MiB"];
    let more = ["--max-connections", "128", "--max-concurrent-requests", "256", "--max-queued-requests", "0"];
    let others = ["--instance-max-concurrency", "256", "--outbound-max-concurrency", "16"];
    let host = start_guest("service", &[&flags[..], &more, &others].concat()).await;
    let line = host.wait_for_line(|line| line.message_contains("the process takes at most")).await;
    let bound = host.metric("wasi_http_host_memory_bound_bytes").await;
    assert!(
        line.message_contains(&format!("at most {} MiB", (bound / f64::from(1 << 20)).ceil())),
        "{line:?}"
    );

    assert_eq!(host.get("/hello/before").await.text(), "hello before");
    let before = host.metric("process_resident_memory_bytes").await;
    let mut peers = Vec::new();
    for _ in 0..CONNECTIONS {
        peers.push(fill_windows(&host).await);
    }
    let sent: usize = peers.iter().map(|(_, sent)| sent).sum();
    assert!(sent >= CONNECTIONS * (128 << 10), "the windows are open: {sent}");
    let resident = host.metric("process_resident_memory_bytes").await;
    let each = (resident - before) / 100.0;
    assert!(each < f64::from(512 << 10), "a connection takes {each} bytes");
    assert!(resident < bound, "{resident} of {bound}");
    assert_eq!(host.get("/hello/after").await.text(), "hello after");
}
