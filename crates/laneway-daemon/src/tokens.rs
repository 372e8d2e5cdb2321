//! The tokens that let a client in over TCP.
//!
//! A token is 32 random bytes. Only its SHA-256 hash is kept, in one private file, with the name that a person gave
//! it; the token itself is told once. A hash of so many random bytes needs neither salt nor slowness.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use laneway_api::error::{ErrorKind, Problem};
use laneway_api::serving::{TOKEN_PREFIX, TokenMade, TokenView};
use laneway_core::name::Name;
use laneway_core::time::Timestamp;
use laneway_fault::fault_point;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};
use tokio_util::sync::CancellationToken;

use crate::clock::now;
use crate::engine::blocking;
use crate::files::{hexadecimal, read_if_there, write_whole};
use crate::problem::failed_in_words;

/// The most tokens at a time: each request is compared with all of them.
const MAX_TOKENS: usize = 100;

/// Random bytes of a token.
const LENGTH: usize = 32;

/// The tokens of this home. A clone is another handle on the same ones.
#[derive(Debug, Clone)]
pub(crate) struct Tokens(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    known: Mutex<Known>,
}

#[derive(Debug)]
enum Known {
    These(Vec<Token>),
    /// The file cannot be understood: nobody is let in, and it is left as it is.
    Unreadable(String),
}

#[derive(Debug, Clone)]
struct Token {
    kept: Kept,
    hash: [u8; 32],
    revoked: CancellationToken,
}

/// A token as it is kept.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    name: Name,
    /// Microseconds since 1970 UTC.
    created_at: i64,
    /// Hexadecimal digits.
    sha256: String,
}

/// Who was let in with which token.
#[derive(Debug, Clone)]
pub(crate) struct Admitted {
    /// The token's name.
    pub(crate) name: Name,
    /// Cancelled when it is revoked: what is still being told to that client ends.
    pub(crate) revoked: CancellationToken,
    /// Cancelled when the port that the client came by is listened at no more: it is let go of.
    pub(crate) let_go: CancellationToken,
}

/// Why a client is told no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Over {
    /// Its token was revoked.
    Revoked,
    /// The port that it came by is listened at no more.
    LetGo,
}

impl Admitted {
    /// Waits until the client is to be told no more.
    pub(crate) async fn over(&self) -> Over {
        tokio::select! {
            biased;
            () = self.revoked.cancelled() => Over::Revoked,
            () = self.let_go.cancelled() => Over::LetGo,
        }
    }
}

impl Tokens {
    /// Those that are kept in this file; without one there are none.
    pub(crate) fn open(path: PathBuf) -> Self {
        let known = match read(&path) {
            Ok(tokens) => Known::These(tokens),
            Err(error) => {
                let why = format!("{} cannot be read: {error}", path.display());
                tracing::error!("{why}");
                Known::Unreadable(why)
            }
        };
        Self(Arc::new(Inner { path, known: Mutex::new(known) }))
    }

    /// Who shows this token, to be let in until `let_go`. It is compared with all of them, however early one fits.
    pub(crate) fn admit(&self, token: &str, let_go: &CancellationToken) -> Option<Admitted> {
        let shown: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        let known = self.lock();
        let Known::These(tokens) = &*known else { return None };
        let (mut at, mut fits) = (0_u64, Choice::from(0));
        for (number, token) in (0_u64..).zip(tokens) {
            let this_one = token.hash.ct_eq(&shown);
            at.conditional_assign(&number, this_one);
            fits |= this_one;
        }
        let found = if bool::from(fits) { tokens.get(usize::try_from(at).ok()?) } else { None };
        found.map(|token| Admitted {
            name: token.kept.name.clone(),
            revoked: token.revoked.clone(),
            let_go: let_go.clone(),
        })
    }

    /// Makes one. Without a name it gets the first free one.
    pub(crate) async fn create(&self, name: Option<Name>) -> Result<TokenMade, Problem> {
        let tokens = self.clone();
        blocking(move || tokens.create_now(name)).await?
    }

    fn create_now(&self, name: Option<Name>) -> Result<TokenMade, Problem> {
        let mut known = self.lock();
        let tokens = known.these()?;
        if tokens.len() >= MAX_TOKENS {
            let message = format!("there are {MAX_TOKENS} tokens already");
            return Err(Problem::new(ErrorKind::Refused, "too_many_tokens", message)
                .hint("lane token ls, then lane token revoke NAME"));
        }
        let is_taken = |name: &str| tokens.iter().any(|token| token.kept.name.as_str() == name);
        let name = match name {
            Some(name) if is_taken(name.as_str()) => {
                let message = format!("there is a token {name} already");
                return Err(Problem::new(ErrorKind::Refused, "token_name_taken", message)
                    .hint(format!("lane token revoke {name}, or another name")));
            }
            Some(name) => name,
            None => "token".parse::<Name>().expect("it is a name").first_free(is_taken),
        };
        let mut bytes = [0; LENGTH];
        fill_with_random(&mut bytes).map_err(|error| {
            failed_in_words("no_random_bytes", &error, format!("the system gives no random bytes: {error}"))
        })?;
        let text = format!("{TOKEN_PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes));
        let hash: [u8; 32] = Sha256::digest(text.as_bytes()).into();
        let created_at = now();
        let kept = Kept { name: name.clone(), created_at: created_at.0, sha256: hexadecimal(&hash) };
        let token = Token { kept, hash, revoked: CancellationToken::new() };
        self.keep(&[tokens.as_slice(), std::slice::from_ref(&token)].concat())?;
        fault_point!("token.kept");
        tokens.push(token);
        tracing::info!(%name, "a token was made");
        Ok(TokenMade { name, created_at: created_at.into(), token: text })
    }

    /// Those that there are, the oldest first.
    pub(crate) fn list(&self) -> Result<Vec<TokenView>, Problem> {
        Ok(self.lock().these()?.iter().map(Token::view).collect())
    }

    /// Whoever shows it from now on is turned away, and whoever is being told something is told no more.
    pub(crate) async fn revoke(&self, name: String) -> Result<TokenView, Problem> {
        let tokens = self.clone();
        blocking(move || tokens.revoke_now(&name)).await?
    }

    fn revoke_now(&self, name: &str) -> Result<TokenView, Problem> {
        let mut known = self.lock();
        let tokens = known.these()?;
        let Some(at) = tokens.iter().position(|token| token.kept.name.as_str() == name) else {
            return Err(Problem::new(
                ErrorKind::NotFound,
                "no_such_token",
                format!("there is no token {name:?}"),
            )
            .hint("lane token ls"));
        };
        let mut left = tokens.clone();
        let gone = left.remove(at);
        self.keep(&left)?;
        fault_point!("token.dropped");
        *tokens = left;
        gone.revoked.cancel();
        tracing::info!(name, "a token was revoked");
        Ok(gone.view())
    }

    fn keep(&self, tokens: &[Token]) -> Result<(), Problem> {
        let kept: Vec<&Kept> = tokens.iter().map(|token| &token.kept).collect();
        let json = serde_json::to_vec_pretty(&kept).expect("names and numbers are JSON");
        write_whole(&self.0.path, &json).map_err(|error| {
            let message = format!("{} cannot be written: {error}", self.0.path.display());
            failed_in_words("tokens_not_kept", &error, message)
        })
    }

    /// It is held while a small file is written, by one who makes or revokes a token.
    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.known.lock().expect("no holder of this lock panics")
    }
}

impl Known {
    fn these(&mut self) -> Result<&mut Vec<Token>, Problem> {
        match self {
            Known::These(tokens) => Ok(tokens),
            Known::Unreadable(why) => Err(Problem::new(ErrorKind::Failed, "tokens_unreadable", why.clone())
                .hint("put it right or delete it (all tokens are void then), then: lane daemon restart")),
        }
    }
}

impl Token {
    fn view(&self) -> TokenView {
        TokenView { name: self.kept.name.clone(), created_at: Timestamp(self.kept.created_at).into() }
    }
}

fn read(path: &std::path::Path) -> io::Result<Vec<Token>> {
    let Some(content) = read_if_there(path)? else { return Ok(Vec::new()) };
    let all: Vec<Kept> = serde_json::from_slice(&content)?;
    let token = |kept: Kept| {
        let hash = from_hexadecimal(&kept.sha256).ok_or_else(|| io::Error::other("a hash is none"))?;
        Ok(Token { kept, hash, revoked: CancellationToken::new() })
    };
    all.into_iter().map(token).collect()
}

fn fill_with_random(bytes: &mut [u8]) -> io::Result<()> {
    let mut n_filled = 0;
    while n_filled < bytes.len() {
        let flags = rustix::rand::GetRandomFlags::empty();
        match rustix::rand::getrandom(&mut bytes[n_filled..], flags) {
            Ok(n) => n_filled += n,
            Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

fn from_hexadecimal(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if text.len() != 2 * bytes.len() || !text.is_ascii() {
        return None;
    }
    for (number, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * number..2 * number + 2], 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_known_by_its_hash_until_it_is_revoked_also_by_the_next_daemon() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens");
        let tokens = Tokens::open(path.clone());
        let first = tokens.create_now(None).unwrap();
        let second = tokens.create_now(None).unwrap();
        assert_eq!((first.name.as_str(), second.name.as_str()), ("token", "token-2"));
        assert!(first.token.starts_with(TOKEN_PREFIX) && first.token.len() == TOKEN_PREFIX.len() + 43);
        let written = std::fs::read_to_string(&path).unwrap();
        assert!(!written.contains(&first.token) && !written.contains(&first.token[TOKEN_PREFIX.len()..]));
        let next = Tokens::open(path);
        for tokens in [&tokens, &next] {
            assert_eq!(tokens.admit(&first.token, &CancellationToken::new()).unwrap().name, first.name);
            assert_eq!(tokens.admit(&second.token, &CancellationToken::new()).unwrap().name, second.name);
            assert!(
                tokens.admit("", &CancellationToken::new()).is_none()
                    && tokens.admit(&first.token[1..], &CancellationToken::new()).is_none()
            );
        }
        let admitted = next.admit(&first.token, &CancellationToken::new()).unwrap();
        next.revoke_now("token").unwrap();
        assert!(
            admitted.revoked.is_cancelled() && next.admit(&first.token, &CancellationToken::new()).is_none()
        );
        assert!(next.admit(&second.token, &CancellationToken::new()).is_some());
        assert_eq!(next.revoke_now("token").unwrap_err().code, "no_such_token");
    }

    #[test]
    fn a_file_that_is_not_understood_lets_nobody_in_and_is_left_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens");
        for content in ["", "{}", "[{\"name\":\"a\",\"created_at\":1,\"sha256\":\"zz\"}]", "nonsense"] {
            std::fs::write(&path, content).unwrap();
            let tokens = Tokens::open(path.clone());
            assert!(tokens.admit("", &CancellationToken::new()).is_none());
            assert_eq!(tokens.create_now(None).unwrap_err().code, "tokens_unreadable");
            assert_eq!(std::fs::read_to_string(&path).unwrap(), content);
        }
    }
}
