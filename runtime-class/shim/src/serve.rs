//! The serving process: serves one pod's task service until containerd asks for shutdown.

use std::{
    env,
    fs::File,
    io,
    os::{fd::AsFd as _, unix::net::UnixListener},
    path::Path,
    sync::Arc,
    time::Duration,
};

use containerd_shim_protos::{
    shim_async::{Task, create_task},
    ttrpc::r#async::{Server, transport::Listener},
};
use nix::sys::prctl::set_child_subreaper;
use tokio::{
    runtime::Builder,
    signal::unix::{SignalKind, signal},
    task::spawn_blocking,
    time::timeout,
};

use crate::{
    bootstrap::TTRPC_ADDRESS,
    error::{Context as _, Error, Result},
    events::Events,
    flags::Flags,
    logger,
    node::{self, Cache, Node},
    reaper::Reaper,
    service::Service,
    socket::SocketFile,
};

/// Names of the task service. containerd 2 renamed the service and changed nothing else.
const SERVICES: [&str; 2] = ["containerd.task.v3.Task", "containerd.task.v2.Task"];
/// File name of the host, beside the shim.
const HOST: &str = "wasi-http-host";
/// Time for in-flight calls when the shim shuts down.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(2);

/// Serves the listening socket that `start` passed as standard input. Returns after containerd's shutdown request.
///
/// # Errors
/// When standard input is no listening socket, or the server cannot be set up.
pub(crate) fn serve(flags: &Flags) -> Result<()> {
    logger::init(Path::new("log"), &flags.id, flags.debug);
    let listener = take_listener().context(|| "take the listening socket from standard input")?;
    set_child_subreaper(true).context(|| "become a subreaper")?;
    let runtime = Builder::new_current_thread().enable_all().build().context(|| "start the async runtime")?;
    let socket = Arc::new(SocketFile::of(Path::new(&flags.socket)));
    let served = runtime.block_on(run(flags, listener, Arc::clone(&socket)));
    // After an error: the shim did not come to a shutdown request, which removes the socket.
    socket.remove();
    served
}

/// Takes the listening socket from standard input, and replaces standard input by `/dev/null`.
fn take_listener() -> io::Result<UnixListener> {
    let listener = UnixListener::from(io::stdin().as_fd().try_clone_to_owned()?);
    rustix::stdio::dup2_stdin(File::open("/dev/null")?)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

async fn run(flags: &Flags, listener: UnixListener, socket: Arc<SocketFile>) -> Result<()> {
    let reaper = Arc::new(Reaper::default());
    let mut children = signal(SignalKind::child()).context(|| "SIGCHLD")?;
    // containerd stops a shim by the Shutdown call or by SIGKILL. Other signals, such as a service manager's, are ignored.
    let mut terminate = signal(SignalKind::terminate()).context(|| "SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context(|| "SIGINT")?;
    let mut hangup = signal(SignalKind::hangup()).context(|| "SIGHUP")?;
    let cache = Cache::from_environment()?;
    let sweeping = cache.clone();
    // In a thread of its own: a directory of killed compilations may be large.
    drop(spawn_blocking(move || sweeping.sweep()));
    let own = env::current_exe().context(|| "own path")?;
    let node = Arc::new(Node {
        namespace: flags.namespace.clone(),
        address: flags.address.clone(),
        events: Events::new(&flags.namespace, env::var(TTRPC_ADDRESS).unwrap_or_default()),
        reaper: Arc::clone(&reaper),
        host: own.with_file_name(HOST),
        cache,
        outbound_cidr_ceiling: node::outbound_cidr_ceiling(),
    });
    let service = Arc::new(Service::new(Arc::clone(&node), socket));
    let mut server = Server::new();
    for name in SERVICES {
        let methods = create_task(Arc::clone(&service) as Arc<dyn Task + Send + Sync>);
        server = server
            .register_service(methods.into_values().map(|methods| (name.to_owned(), methods)).collect());
    }
    let listener = Listener::try_from(listener).context(|| "socket")?;
    let mut server = server.add_listener(listener);
    server.start().await.map_err(|error| Error::Other(format!("{}: {error}", flags.socket)))?;
    loop {
        tokio::select! {
            () = service.shutdown_requested() => break,
            Some(()) = children.recv() => reaper.reap(),
            Some(()) = terminate.recv() => {}
            Some(()) = interrupt.recv() => {}
            Some(()) = hangup.recv() => {}
        }
    }
    node.events.flush().await;
    // Calls that take longer are cut off.
    let _ = timeout(SHUTDOWN_TIMEOUT, server.shutdown()).await;
    Ok(())
}
