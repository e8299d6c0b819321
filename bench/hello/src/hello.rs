//! The component's handler.

use spin_sdk::{
    wasip3::{
        self,
        http::types::{ErrorCode, Fields, Request, Response},
    },
    wit_bindgen,
};

const BODY: &[u8] = br#"{"status":"healthy","service":"hello"}"#;

wasip3::http::service::export!(Hello);

struct Hello;

impl wasip3::exports::http::handler::Guest for Hello {
    async fn handle(_: Request) -> Result<Response, ErrorCode> {
        let headers = [
            ("content-type".to_owned(), b"application/json".to_vec()),
            ("content-length".to_owned(), BODY.len().to_string().into_bytes()),
        ];
        let fields = Fields::from_list(&headers)
            .map_err(|error| ErrorCode::InternalError(Some(format!("{error:?}"))))?;
        let (mut writer, reader) = wasip3::wit_stream::new();
        let (trailers, trailers_reader) = wasip3::wit_future::new(|| Ok(None));
        let (response, _sent) = Response::new(fields, Some(reader), trailers_reader);
        wit_bindgen::spawn(async move {
            // The rest of the body is dropped when the client has gone.
            let _ = writer.write_all(BODY.to_vec()).await;
            drop(writer);
            let _ = trailers.write(Ok(None)).await;
        });
        Ok(response)
    }
}
