//! Connections to the fake: each request is recorded and answered.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::common::with_common_headers;
use super::deliver::{After, deliver};
use super::journal::Call;
use super::request::{FakeRequest, read_request};
use super::response::ScriptedResponse;
use super::state::State;
use super::{control, github};

/// Accepts connections until the task is aborted; the connections end with the task.
pub(super) async fn accept(listener: TcpListener, state: Arc<State>) {
    let mut connections = JoinSet::new();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let state = Arc::clone(&state);
                connections.spawn(async move {
                    // A client may break off at any time.
                    let _ = serve(stream, &state).await;
                });
            }
            // Most likely there are no file descriptors left: try again later.
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
        while connections.try_join_next().is_some() {}
    }
}

async fn serve(mut stream: TcpStream, state: &State) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = Vec::new();
    while let Some(request) = read_request(&mut stream, &mut buffer).await? {
        if request.path == "/_fake" || request.path.starts_with("/_fake/") {
            let response = control::respond(state, &request);
            deliver(&mut stream, response.body.clone(), &response, request.method == "HEAD").await?;
            if request.closes() {
                return Ok(());
            }
            continue;
        }
        let login = github::login(state, &request.path).unwrap_or_default();
        let open = state.journal.begin(Call {
            method: request.method.clone(),
            path: request.path.clone(),
            query: request.query.clone(),
            headers: request.headers.clone(),
            login: login.clone(),
        });
        let scripted = state.scripted(&login).unwrap_or_default();
        let may_respond = async {
            state.unheld(&login).await;
            tokio::time::sleep(Duration::from_millis(scripted.delay_ms)).await;
        };
        tokio::select! {
            () = may_respond => {}
            () = gone(&stream) => return Ok(()),
        }
        let after = respond(&mut stream, state, &request, scripted).await?;
        drop(open);
        match after {
            After::KeepAlive if !request.closes() => {}
            After::KeepAlive | After::Close => return Ok(()),
            After::Reset => return stream.set_zero_linger(),
        }
    }
    Ok(())
}

/// Returns once the client has closed the connection; never while the client only sends nothing.
async fn gone(stream: &TcpStream) {
    match stream.peek(&mut [0; 1]).await {
        Ok(0) | Err(_) => {}
        // The next request has come: the end of the connection is seen only behind it.
        Ok(_) => std::future::pending().await,
    }
}

async fn respond(
    stream: &mut TcpStream,
    state: &State,
    request: &FakeRequest,
    scripted: ScriptedResponse,
) -> io::Result<After> {
    let mut response = if scripted.status.is_some() {
        with_common_headers(scripted)
    } else {
        let genuine = github::respond(state, request);
        let genuine =
            scripted.headers.iter().fold(genuine, |genuine, (name, value)| genuine.header(name, value));
        genuine.deliver(scripted.delivery)
    };
    let body = std::mem::take(&mut response.body);
    deliver(stream, body, &response, request.method == "HEAD").await
}
