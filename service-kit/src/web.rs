//! Calls from pages in a browser: grpc-web, for pages of the origins that were named (Fetch Standard, "HTTP CORS
//! protocol"). A browser asks first whether a page may call, and keeps the answer from a page of any other origin.

use std::{str::FromStr, time::Duration};

use axum::{
    Router,
    http::{HeaderName, HeaderValue, Method, Uri, header},
};
use tonic_web::GrpcWebLayer;
use tower_http::cors::CorsLayer;

/// How long a browser need not ask again.
const MAX_AGE: Duration = Duration::from_secs(3_600);
/// What a page may send, besides what every page may.
const SENT: [HeaderName; 5] = [
    header::CONTENT_TYPE,
    header::AUTHORIZATION,
    HeaderName::from_static("grpc-timeout"),
    HeaderName::from_static("x-grpc-web"),
    HeaderName::from_static("x-user-agent"),
];
/// What a page may read of the head of an answer: a refusal may travel there as a whole.
const READ: [HeaderName; 4] = [
    HeaderName::from_static("grpc-status"),
    HeaderName::from_static("grpc-message"),
    HeaderName::from_static("grpc-status-details-bin"),
    HeaderName::from_static("server-timing"),
];

/// Where a page comes from: scheme, host and port, as the browser says it in the header `origin`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin(HeaderValue);

/// Not an origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is not an origin, such as https://till.example or http://127.0.0.1:8080")]
pub struct NotAnOrigin;

impl FromStr for Origin {
    type Err = NotAnOrigin;

    fn from_str(text: &str) -> Result<Self, NotAnOrigin> {
        let uri: Uri = text.parse().map_err(|_| NotAnOrigin)?;
        let web = uri.scheme_str().is_some_and(|scheme| ["http", "https"].contains(&scheme));
        let bare = uri.path() == "/" && uri.query().is_none() && !text.ends_with('/');
        match uri.authority() {
            Some(authority) if web && bare && !authority.as_str().contains('@') => {
                HeaderValue::from_str(text).map(Self).map_err(|_| NotAnOrigin)
            }
            _ => Err(NotAnOrigin),
        }
    }
}

/// The same services, which pages of these origins can call too; without an origin nothing is different.
pub(crate) fn callable(router: Router, origins: &[Origin]) -> Router {
    if origins.is_empty() {
        return router;
    }
    let origins: Vec<HeaderValue> = origins.iter().map(|Origin(origin)| origin.clone()).collect();
    let cors = CorsLayer::new().allow_origin(origins).allow_methods([Method::POST]);
    let cors = cors.allow_headers(SENT).expose_headers(READ).max_age(MAX_AGE);
    router.layer(GrpcWebLayer::new()).layer(cors)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::{TcpListener, TcpStream},
    };
    use tokio_util::sync::CancellationToken;
    use tonic::service::Routes;

    use super::*;
    use crate::{
        clock::SystemClock,
        door::{Access, DoorConfig},
        serve::Server,
    };

    #[test]
    fn an_origin_is_what_a_browser_says() {
        for origin in ["https://till.example", "http://127.0.0.1:8080", "http://[::1]:1"] {
            assert!(origin.parse::<Origin>().is_ok(), "{origin}");
        }
        for nonsense in [
            "",
            "*",
            "null",
            "till.example",
            "ftp://a",
            "http://a/",
            "http://a/b",
            "http://a?b",
            "http://a@b",
            "http://ä",
        ] {
            assert_eq!(nonsense.parse::<Origin>(), Err(NotAnOrigin), "{nonsense}");
        }
    }

    /// What a server that pages of `origins` may call answers to a request on HTTP/1.1.
    async fn answer(origins: &[&str], head: &str, body: &[u8]) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = Server {
            routes: Routes::default(),
            names: &["a"],
            descriptors: &[],
            web: origins.iter().map(|origin| origin.parse().unwrap()).collect(),
            door: DoorConfig::default(),
            access: Access::default(),
            clock: Arc::new(SystemClock),
        };
        let stop = CancellationToken::new();
        let serving = tokio::spawn(server.serve(listener, stop.clone()));
        let mut stream = TcpStream::connect(address).await.unwrap();
        let head = format!(
            "{head}\r\nhost: {address}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(body).await.unwrap();
        let mut said = Vec::new();
        stream.read_to_end(&mut said).await.unwrap();
        stop.cancel();
        serving.await.unwrap().unwrap();
        String::from_utf8_lossy(&said).into_owned()
    }

    const CHECK: &str =
        "POST /grpc.health.v1.Health/Check HTTP/1.1\r\ncontent-type: application/grpc-web+proto";
    const PAGE: &str = "http://127.0.0.1:8080";

    #[tokio::test]
    async fn a_page_of_a_named_origin_can_call_and_any_other_cannot() {
        let ask = |origin: &str| {
            format!(
                "OPTIONS /grpc.health.v1.Health/Check HTTP/1.1\r\norigin: {origin}\r\n\
                 access-control-request-method: POST\r\naccess-control-request-headers: content-type,x-grpc-web"
            )
        };
        let allowed = format!("access-control-allow-origin: {PAGE}\r\n");
        let may = answer(&[PAGE], &ask(PAGE), &[]).await;
        assert!(may.starts_with("HTTP/1.1 200") && may.contains(&allowed), "{may}");
        assert!(may.contains("x-grpc-web") && may.contains("access-control-max-age: 3600"), "{may}");
        let may_not = answer(&[PAGE], &ask("http://elsewhere"), &[]).await;
        assert!(!may_not.contains("access-control-allow-origin"), "{may_not}");

        // A frame without a message; the answer's frame, and after it the trailers in a frame of their own.
        let called = answer(&[PAGE], &format!("{CHECK}\r\norigin: {PAGE}"), &[0; 5]).await;
        assert!(called.starts_with("HTTP/1.1 200") && called.contains(&allowed), "{called}");
        assert!(
            called.contains("grpc-status:0") && called.contains("\u{0}\u{0}\u{0}\u{0}\u{2}\u{8}\u{1}"),
            "{called:?}"
        );
        // Whoever is no page, such as Prometheus, is served as before.
        assert!(answer(&[PAGE], "GET /metrics HTTP/1.1", &[]).await.starts_with("HTTP/1.1 200"));
    }

    #[tokio::test]
    async fn without_an_origin_there_is_no_call_from_a_page() {
        let refused = answer(&[], &format!("{CHECK}\r\norigin: {PAGE}"), &[0; 5]).await;
        assert!(!refused.contains("grpc-status:0") && !refused.contains("access-control"), "{refused}");
    }
}
