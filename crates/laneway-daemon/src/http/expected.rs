//! What a route takes, by its description: a query of fields that it knows, and a body if it has one. The rest is refused
//! in front of the handlers, so that a mistake in a request is not passed over in silence.

use std::collections::HashMap;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use axum::body::{Body, HttpBody, to_bytes};
use axum::extract::{MatchedPath, Query, Request, State};
use axum::http::{Method, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use utoipa::openapi::path::{Operation, ParameterIn};
use utoipa::openapi::{OpenApi, RefOr};

use super::{Failure, usage};

/// The longest body that is looked at where none is taken, in bytes.
const MAX_NOTHING: usize = 64;

/// What is told as a JSON object: the fields of a type would else also be taken from an array, by their order.
pub(super) struct Object<T>(pub(super) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Fields(PhantomData))
    }
}

struct Fields<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Fields<T> {
    type Value = Object<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<Object<T>, A::Error> {
        T::deserialize(MapAccessDeserializer::new(fields)).map(Object)
    }
}

/// What all routes take.
#[derive(Debug, Clone)]
pub(super) struct Expected(Arc<HashMap<(String, Method), Taken>>);

/// What one of them takes.
#[derive(Debug)]
struct Taken {
    /// Names of the fields of its query.
    query: Vec<String>,
    /// It has a body.
    body: bool,
}

impl Expected {
    /// By these descriptions.
    pub(super) fn of(described: [OpenApi; 2]) -> Self {
        let mut taken = HashMap::new();
        for (path, item) in described.into_iter().flat_map(|described| described.paths.paths) {
            // A `HEAD` is answered like a `GET`.
            let head = item.get.as_ref().map(Taken::by);
            let get = item.get.as_ref().map(Taken::by);
            let post = item.post.as_ref().map(Taken::by);
            let put = item.put.as_ref().map(Taken::by);
            let patch = item.patch.as_ref().map(Taken::by);
            let delete = item.delete.as_ref().map(Taken::by);
            let all = [
                (Method::GET, get),
                (Method::HEAD, head),
                (Method::POST, post),
                (Method::PUT, put),
                (Method::PATCH, patch),
                (Method::DELETE, delete),
            ];
            let all = all.into_iter().filter_map(|(method, takes)| Some((method, takes?)));
            taken.extend(all.map(|(method, takes)| ((path.clone(), method), takes)));
        }
        Self(Arc::new(taken))
    }
}

impl Taken {
    fn by(operation: &Operation) -> Self {
        let in_query = |parameter: &RefOr<utoipa::openapi::path::Parameter>| match parameter {
            RefOr::T(parameter) if parameter.parameter_in == ParameterIn::Query => {
                Some(parameter.name.clone())
            }
            RefOr::T(_) | RefOr::Ref(_) => None,
        };
        let query = operation.parameters.iter().flatten().filter_map(in_query).collect();
        Self { query, body: operation.request_body.is_some() }
    }

    fn look_at_query(&self, uri: &Uri) -> Result<(), Failure> {
        if uri.query().is_none_or(str::is_empty) {
            return Ok(());
        }
        let Query(fields) = Query::<Vec<(String, String)>>::try_from_uri(uri)
            .map_err(|rejection| usage("bad_query", &rejection.body_text()))?;
        let is_known = |name: &String| self.query.contains(name);
        let Some((unknown, _)) = fields.iter().find(|(name, _)| !is_known(name)) else { return Ok(()) };
        let unknown: String = unknown.chars().take(super::MAX_TARGET).collect();
        let known = if self.query.is_empty() {
            "there is no query here".to_owned()
        } else {
            format!("expected {}", self.query.join(", "))
        };
        Err(usage("bad_query", &format!("unknown field {unknown:?} in the query: {known}")))
    }
}

/// Lets through what the route takes.
pub(super) async fn refuse_the_rest(
    State(expected): State<Expected>,
    path: MatchedPath,
    request: Request,
    next: Next,
) -> Response {
    let key = (path.as_str().to_owned(), request.method().clone());
    let Some(taken) = expected.0.get(&key) else { return next.run(request).await };
    if let Err(failure) = taken.look_at_query(request.uri()) {
        return failure.into_response();
    }
    if taken.body || request.body().is_end_stream() {
        return next.run(request).await;
    }
    let (parts, body) = request.into_parts();
    match to_bytes(body, MAX_NOTHING).await {
        Ok(said) if said.is_empty() || said.as_ref() == b"{}" => {
            next.run(Request::from_parts(parts, Body::empty())).await
        }
        Ok(_) | Err(_) => usage("bad_body", &"there is no body here").into_response(),
    }
}
