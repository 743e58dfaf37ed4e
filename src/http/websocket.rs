//! WebSocket connections: passed through in both directions. What is said inside them is not compacted.

use std::io;

use actix_web::{
    HttpRequest, HttpResponse,
    http::{Method, StatusCode, header},
    rt, web,
};
use bytes::Bytes;
use epitome_compactor::client::{Body, Call, Method as ClientMethod, Switched};
use futures_util::{StreamExt, stream};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, ReadHalf},
    sync::oneshot,
};

use super::{
    account,
    error::{ApiError, Shape},
    forward::{self, Flight},
    headers,
    observe::request_id,
    state::State,
};
use crate::{config::WebSockets, rewrite::account::Account, telemetry};

/// Bytes that are read from the upstream at once.
const CHUNK: usize = 16 << 10;

/// Whether a request asks for a WebSocket.
pub(super) fn is_asked(req: &HttpRequest) -> bool {
    let says = |name: header::HeaderName, word: &str| {
        let mut values = req.headers().get_all(name).filter_map(|value| value.to_str().ok());
        values.any(|value| value.split(',').any(|part| part.trim().eq_ignore_ascii_case(word)))
    };
    req.method() == Method::GET && says(header::UPGRADE, "websocket") && says(header::CONNECTION, "upgrade")
}

/// Connects the client with the upstream.
pub(super) async fn connect(
    req: HttpRequest,
    payload: web::Payload,
    state: web::Data<State>,
) -> HttpResponse {
    let account = Account::passed("websocket");
    if state.config.serve.websockets == WebSockets::Refuse {
        return ApiError::WebSocket.refuse("other", Shape::of(&req));
    }
    telemetry::request("other", account.verdict.as_str(), account.reason);
    let mut headers = headers::to_upstream(req.headers(), None, false);
    for (name, value) in [("connection", "Upgrade"), ("upgrade", "websocket")] {
        headers.insert(name, epitome_compactor::client::header::HeaderValue::from_static(value));
    }
    let path = req.uri().path_and_query().map_or("/", |path| path.as_str()).to_owned();
    let call = Call { method: ClientMethod::GET, path, headers, body: Body::Empty };
    let mut flight = Flight::start();
    let mut response = match state.upstream.switch(call).await {
        Ok(Switched::Yes(answered, connection)) => {
            let (from, mut to) = tokio::io::split(connection);
            let mut payload = payload;
            let (open, closed) = oneshot::channel::<()>();
            let forward = async move {
                while let Some(Ok(chunk)) = payload.next().await {
                    if to.write_all(&chunk).await.is_err() || to.flush().await.is_err() {
                        break;
                    }
                }
                // The upstream may be gone already.
                let _ = to.shutdown().await;
            };
            // Ends with the other direction, even if the upstream takes nothing any more.
            rt::spawn(async move {
                tokio::select! {
                    () = forward => {}
                    _ = closed => {}
                }
            });
            let mut response = HttpResponse::build(StatusCode::SWITCHING_PROTOCOLS);
            response.upgrade("websocket");
            headers::to_client(&answered).into_iter().for_each(|header| {
                response.append_header(header);
            });
            response.streaming(bytes_of(from, flight, open))
        }
        Ok(Switched::No(answer)) => forward::respond(&req, answer, flight),
        Err(error) => {
            flight.done();
            telemetry::upstream_error();
            let request_id = request_id(&req);
            tracing::error!(%error, "no WebSocket from the upstream");
            ApiError::Upstream { request_id }.respond(Shape::of(&req))
        }
    };
    account::write(&account, response.headers_mut());
    response
}

/// What the upstream sends, until it closes. Either side may end a WebSocket, so that is never the client's fault.
fn bytes_of(
    from: ReadHalf<impl tokio::io::AsyncRead + Unpin>,
    mut flight: Flight,
    open: oneshot::Sender<()>,
) -> impl stream::Stream<Item = Result<Bytes, io::Error>> {
    flight.done();
    stream::unfold((from, flight, open), |(mut from, flight, open)| async move {
        let mut chunk = vec![0; CHUNK];
        match from.read(&mut chunk).await {
            Ok(0) => None,
            Ok(count) => {
                chunk.truncate(count);
                Some((Ok(Bytes::from(chunk)), (from, flight, open)))
            }
            Err(error) => Some((Err(error), (from, flight, open))),
        }
    })
}
