//! A minimal fake GitHub. It responds at once, and a user's name tells the length of the response.

use std::io;
use std::net::SocketAddr;

use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};

use crate::http::Messages;

/// The longest description, in bytes.
const MAX_DESCRIPTION_BYTES: usize = 1 << 20;

/// Serves until the process ends.
///
/// # Errors
/// Fails when the address cannot be bound or accepting a connection fails.
pub(crate) async fn serve(address: SocketAddr) -> io::Result<()> {
    let listener = TcpListener::bind(address).await?;
    println!("upstream on http://{}", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(async move {
            if let Err(error) = answer(stream).await {
                eprintln!("bench-load: upstream: {error}");
            }
        });
    }
}

async fn answer(stream: TcpStream) -> io::Result<()> {
    let mut requests = Messages::new(stream);
    while let Some(request) = requests.next().await? {
        let (status, body) = match bytes_of(&request.first_line) {
            Some(bytes) => ("200 OK", page(bytes)),
            None => ("404 Not Found", "{\"message\":\"Not Found\"}".to_owned()),
        };
        let length = body.len();
        let response = format!(
            "HTTP/1.1 {status}\r\ncontent-type: application/json; charset=utf-8\r\nx-ratelimit-remaining: 4999\r\ncontent-length: {length}\r\n\r\n{body}"
        );
        requests.stream().write_all(response.as_bytes()).await?;
    }
    Ok(())
}

/// Returns the number in `GET /users/s{bytes}-{anything}/gists?… HTTP/1.1`; `None` for other names and longer descriptions.
fn bytes_of(first_line: &str) -> Option<usize> {
    let name = first_line.split_once("/users/s")?.1;
    let bytes = name.split_once('-')?.0.parse().ok()?;
    (bytes <= MAX_DESCRIPTION_BYTES).then_some(bytes)
}

fn page(bytes: usize) -> String {
    let description = "a description of no interest ".repeat(bytes / 29 + 1);
    let description = description.get(..bytes).unwrap_or_default();
    let id = "aa5a315d61ae9438b18d";
    serde_json::json!([{
        "id": id,
        "html_url": format!("https://gist.github.com/{id}"),
        "description": description,
        "public": true,
        "created_at": "2010-04-14T02:15:15Z",
        "files": {},
    }])
    .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_tells_the_length() {
        assert_eq!(bytes_of("GET /users/s200-17/gists?page=1&per_page=30 HTTP/1.1"), Some(200));
        assert_eq!(bytes_of("GET /users/octocat/gists HTTP/1.1"), None);
        assert_eq!(bytes_of("GET /users/s99999999-1/gists HTTP/1.1"), None);
        assert_eq!(page(200).len() - page(0).len(), 200);
    }
}
