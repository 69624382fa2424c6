//! Reads a JSON body of limited size, in limited time.
use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use bytes::BytesMut;
use futures::StreamExt;
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeOwned, Deserializer, MapAccess, Visitor};

use super::error::ApiError;
use crate::guest;

/// The largest body that is parsed.
pub const MAX_BODY_BYTES: usize = 1024 * 1024;

/// Many clients read no answer before they have sent the whole body. So up to this many bytes of a
/// body that is not taken are read and dropped.
const MAX_DRAINED_BYTES: usize = 16 * 1024 * 1024;

/// How long a client may take to send a body.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// The largest component that is taken: 64 MiB.
pub const MAX_COMPONENT_BYTES: usize = guest::MAX_GUEST_BYTES as usize;

/// How long a client may take to send a component.
pub const COMPONENT_TIMEOUT: Duration = Duration::from_secs(120);

/// A larger body is parsed where it holds up no other request.
const MAX_PARSED_AT_ONCE: usize = 16 * 1024;

/// A body of JSON, whatever its content type says.
#[derive(Debug)]
pub struct JsonBody<T>(pub T);

impl<S: Sync, T: DeserializeOwned + Send + 'static> FromRequest<S> for JsonBody<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _state: &S) -> Result<JsonBody<T>, ApiError> {
        let bytes = read(request.into_body()).await?;
        if bytes.is_empty() {
            return Err(ApiError::Malformed("it is empty; send a JSON object".to_owned()));
        }
        if bytes.len() <= MAX_PARSED_AT_ONCE {
            return parse(&bytes);
        }
        let parsed = tokio::task::spawn_blocking(move || parse(&bytes)).await;
        parsed.map_err(|stopped| ApiError::Internal(stopped.to_string()))?
    }
}

/// A member of a body that is an object. Derived types alone take a list of their fields as well.
#[derive(Debug)]
pub struct JsonObject<T>(pub T);

/// What an error says that a member should be.
pub trait ExpectedObject {
    /// Such as `an object with include or exclude`.
    const EXPECTED: &'static str;
}

impl<'de, T: Deserialize<'de> + ExpectedObject> Deserialize<'de> for JsonObject<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<JsonObject<T>, D::Error> {
        deserializer.deserialize_map(OfObject(PhantomData))
    }
}

struct OfObject<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de> + ExpectedObject> Visitor<'de> for OfObject<T> {
    type Value = JsonObject<T>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(T::EXPECTED)
    }

    fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<JsonObject<T>, A::Error> {
        T::deserialize(MapAccessDeserializer::new(members)).map(JsonObject)
    }
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<JsonBody<T>, ApiError> {
    serde_json::from_slice(bytes)
        .map(JsonBody)
        .map_err(|error| ApiError::Malformed(error.to_string()))
}

/// Reads the body of a request that is refused, so that its client reads the answer.
pub async fn drain(body: Body) {
    // The answer is that of the refusal, whatever becomes of the body.
    let _ = read(body).await;
}

/// Reads a component.
pub async fn read_component(body: Body) -> Result<Vec<u8>, ApiError> {
    let read = tokio::time::timeout(COMPONENT_TIMEOUT, read_at_most(body, MAX_COMPONENT_BYTES));
    let read = read.await.map_err(|_elapsed| ApiError::SlowBody(COMPONENT_TIMEOUT.as_secs()))??;
    Ok(read.into())
}

async fn read(body: Body) -> Result<BytesMut, ApiError> {
    let read = tokio::time::timeout(BODY_TIMEOUT, read_at_most(body, MAX_BODY_BYTES)).await;
    read.map_err(|_elapsed| ApiError::SlowBody(BODY_TIMEOUT.as_secs()))?
}

async fn read_at_most(body: Body, limit: usize) -> Result<BytesMut, ApiError> {
    let mut stream = body.into_data_stream();
    let mut bytes = BytesMut::new();
    let mut seen: usize = 0;
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.map_err(|error| ApiError::Malformed(error.to_string()))?;
        seen = seen.saturating_add(chunk.len());
        if seen > limit.max(MAX_DRAINED_BYTES) {
            break;
        }
        if seen <= limit {
            bytes.extend_from_slice(&chunk);
        }
    }
    if seen > limit { Err(ApiError::TooLarge(limit)) } else { Ok(bytes) }
}
