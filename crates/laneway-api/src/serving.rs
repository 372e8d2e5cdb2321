//! Being reached over TCP, on the loopback address only, and the tokens that let a client in.

use laneway_core::name::Name;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::time::Time;

/// The port that is listened at if nothing else is said.
pub const DEFAULT_PORT: u16 = 7717;

/// What every token begins with, so that one is known for what it is wherever it turns up.
pub const TOKEN_PREFIX: &str = "lwt_";

/// What the cookie of a browser that was let in begins with.
pub const SESSION_PREFIX: &str = "lws_";

/// Listen at a port of 127.0.0.1 from now on, also after a restart of the daemon.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Serve {
    /// The port; 0 for any free one. None: the one that is listened at already, else [`DEFAULT_PORT`].
    #[serde(default)]
    pub port: Option<u16>,
}

/// Let a browser in, and listen at a port for it as [`Serve`] does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OpenWeb {
    /// The port; 0 for any free one. None: the one that is listened at already, else [`DEFAULT_PORT`].
    #[serde(default)]
    pub port: Option<u16>,
}

/// A link that lets one browser in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WebLink {
    /// To be opened in a browser on this machine, once. Only its hash is kept.
    pub url: String,
    /// Until when.
    pub expires_at: Time,
}

/// How the daemon is reached over TCP.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ServingView {
    /// It listens.
    pub serving: bool,
    /// The port; none if it was never to listen.
    pub port: Option<u16>,
    /// What a client begins every address with, while it listens: `http://127.0.0.1:7717`.
    pub url: Option<String>,
    /// Why it does not listen although it is to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
}

/// Make a token.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateToken {
    /// What it is called. None: `token`, else `token-2`…
    #[serde(default)]
    pub name: Option<String>,
}

/// A token that was just made: the only time that it is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TokenMade {
    /// What it is called.
    pub name: Name,
    /// When it was made.
    pub created_at: Time,
    /// The token itself. Only its hash is kept.
    pub token: String,
}

/// A token, as far as it is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TokenView {
    /// What it is called.
    pub name: Name,
    /// When it was made.
    pub created_at: Time,
    /// What shows it.
    #[serde(default)]
    pub kind: TokenKind,
    /// Until when it lets somebody in; none: until it is revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Time>,
}

/// What shows a token.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TokenKind {
    /// Whoever has it, in a header.
    #[default]
    Token,
    /// One browser, in a cookie: it has opened a link of `lane web`.
    Browser,
}

/// The tokens that let a client in, the oldest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Tokens {
    /// They.
    pub tokens: Vec<TokenView>,
}
