//! One request to the daemon, before it is sent.

use bytes::Bytes;
use http::Method;
use http_body_util::Full;
use laneway_api::error::ErrorKind;
use laneway_api::routes;
use laneway_api::version::VERSION;
use laneway_core::os_text::OsText;
use serde::Serialize;

use crate::failure::Failure;

/// The variable with the id of the run that a command is typed in.
pub(crate) const RUN_VARIABLE: &str = "LANEWAY_RUN";

/// What is asked of the daemon.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    doing: String,
    method: Method,
    path: String,
    content_type: Option<&'static str>,
    body: Bytes,
}

impl Request {
    /// Asks for something. `doing` completes "the daemon went away while …".
    pub(crate) fn get(doing: impl Into<String>, path: impl Into<String>) -> Self {
        Self {
            doing: doing.into(),
            method: Method::GET,
            path: path.into(),
            content_type: None,
            body: Bytes::new(),
        }
    }

    /// Asks to change something.
    pub(crate) fn post(doing: impl Into<String>, path: impl Into<String>) -> Self {
        Self { method: Method::POST, ..Self::get(doing, path) }
    }

    /// Asks to take something away.
    pub(crate) fn delete(doing: impl Into<String>, path: impl Into<String>) -> Self {
        Self { method: Method::DELETE, ..Self::get(doing, path) }
    }

    /// With a query.
    pub(crate) fn query(mut self, query: &impl Serialize) -> Result<Self, Failure> {
        let query =
            serde_urlencoded::to_string(query).map_err(|error| self.not_written(&error.to_string()))?;
        if !query.is_empty() {
            self.path = format!("{}?{query}", self.path);
        }
        Ok(self)
    }

    /// With a JSON body.
    pub(crate) fn json(mut self, body: &impl Serialize) -> Result<Self, Failure> {
        let body = serde_json::to_vec(body).map_err(|error| self.not_written(&error.to_string()))?;
        self.body = body.into();
        self.content_type = Some("application/json");
        Ok(self)
    }

    /// With bytes as they are.
    pub(crate) fn octets(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self.content_type = Some("application/octet-stream");
        self
    }

    /// True if it may be asked twice.
    pub(super) fn changes_nothing(&self) -> bool {
        self.method == Method::GET
    }

    /// What it is about.
    pub(crate) fn doing(&self) -> &str {
        &self.doing
    }

    /// As it is sent by a caller who stands in `cwd`.
    pub(super) fn to_http(&self, cwd: Option<&OsText>) -> Result<http::Request<Full<Bytes>>, Failure> {
        let mut request = http::Request::builder()
            .method(&self.method)
            .uri(&self.path)
            .header(http::header::HOST, "laneway")
            .header(routes::VERSION_HEADER, VERSION);
        match cwd {
            Some(cwd) => request = request.header(routes::CWD_HEADER, routes::encode_path(cwd)),
            None if self.path.starts_with(routes::DAEMON) => {}
            None => {
                return Err(Failure::new(
                    ErrorKind::Failed,
                    "cwd_gone",
                    "the folder you are in is not there any more",
                ));
            }
        }
        if let Some(socket) = crate::tmux::socket_of_caller() {
            request = request.header(routes::TMUX_HEADER, routes::encode_path(&socket));
        }
        if let Some(run) = std::env::var_os(RUN_VARIABLE).filter(|run| !run.is_empty()) {
            request = request.header(routes::RUN_HEADER, OsText::from(run).shown());
        }
        if let Some(content_type) = self.content_type {
            request = request.header(http::header::CONTENT_TYPE, content_type);
        }
        request.body(Full::new(self.body.clone())).map_err(|error| self.not_written(&error.to_string()))
    }

    fn not_written(&self, why: &str) -> Failure {
        Failure::new(
            ErrorKind::Usage,
            "request_not_written",
            format!("what is needed for {} cannot be sent: {why}", self.doing),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use laneway_api::request::{ReadText, Which};

    #[test]
    fn a_query_holds_what_was_asked_and_no_more() {
        let query = ReadText { which: Some(Which::All), ansi: true, ..ReadText::default() };
        let request = Request::get("reading", "/x").query(&query).unwrap();
        assert_eq!(request.to_http(Some(&"/tmp".into())).unwrap().uri(), "/x?which=all&ansi=true");
    }

    #[test]
    fn the_folder_is_told_with_every_request_but_those_about_the_daemon() {
        let request = Request::get("looking", routes::LANES);
        let http = request.to_http(Some(&OsText::from_bytes(&b"/a b\xff"[..]))).unwrap();
        assert_eq!(http.headers()[routes::CWD_HEADER], "%2Fa%20b%FF");
        assert_eq!(http.headers()[routes::VERSION_HEADER], VERSION);
        assert!(request.to_http(None).unwrap_err().is("cwd_gone"));
        assert!(Request::get("looking", routes::DAEMON).to_http(None).is_ok());
    }
}
