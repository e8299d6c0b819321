//! Service A greets: `GET /` answers `{"message":…}` with the setting `message`.

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use serde::Serialize;
use web::{InvalidSetting, Json, Platform, Service};

#[cfg(target_family = "wasm")]
web::export!(router);

/// The message when the setting `message` is not set.
const MESSAGE: &str = "Hello from service A";

/// What `GET /` answers.
#[derive(Debug, Serialize)]
struct Greeting {
    message: String,
}

/// The service's router.
pub fn router(platform: &Platform) -> Router {
    let routes = Router::new().route("/", get(greet)).with_state(platform.clone());
    Service::new("service-a", platform).openapi(include_str!("openapi.json")).routes(routes)
}

async fn greet(State(platform): State<Platform>) -> Result<Json<Greeting>, InvalidSetting> {
    Ok(Json(Greeting { message: platform.setting_or("message", MESSAGE.to_owned())? }))
}

#[cfg(test)]
mod tests {
    use web::fake::{Fake, get};

    use super::*;

    #[test]
    fn it_greets_with_its_message() {
        let fake = Fake::new();
        let router = router(&fake.platform());
        assert_eq!(get(&router, "/").text(), r#"{"message":"Hello from service A"}"#);
        fake.setting("message", "Good \"morning\"");
        assert_eq!(get(&router, "/").text(), r#"{"message":"Good \"morning\""}"#);
    }
}
