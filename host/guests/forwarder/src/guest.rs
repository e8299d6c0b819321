//! The service: sends each request on.

use spin_sdk::wasip3::{
    self,
    http::{
        client,
        types::{ErrorCode, Request, Response, Scheme},
    },
};

mod bindings;

wasip3::http::service::export!(Service);

struct Service;

impl wasip3::exports::http::handler::Guest for Service {
    /// Sends the request to the origin that the setting `origin` names (`HOST:PORT`), by plain HTTP.
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        let origin = bindings::config::get("origin").ok().flatten();
        let origin =
            origin.ok_or_else(|| ErrorCode::InternalError(Some("no setting `origin`".to_owned())))?;
        let addressed = request.set_scheme(Some(&Scheme::Http)).and(request.set_authority(Some(&origin)));
        addressed.map_err(|()| ErrorCode::HttpRequestUriInvalid)?;
        client::send(request).await
    }
}
