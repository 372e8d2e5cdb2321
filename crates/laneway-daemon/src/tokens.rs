//! The tokens that let a client in over TCP.
//!
//! A browser that has opened a link ([`links`]) is let in like a token, by a secret in its cookie, for some days.
//!
//! A token is 32 random bytes. Only its SHA-256 hash is kept, in one private file, with the name that a person gave
//! it; the token itself is told once. A hash of so many random bytes needs neither salt nor slowness.

mod links;

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use laneway_api::error::{ErrorKind, Problem};
use laneway_api::serving::{SESSION_PREFIX, TOKEN_PREFIX, TokenKind, TokenMade, TokenView};
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
use links::OPEN_FOR_MS;

/// The most tokens at a time: each request is compared with all of them.
const MAX_TOKENS: usize = 100;

/// How long a browser is let in.
pub(crate) const SESSION_DAYS: i64 = 30;

/// Random bytes of a token.
const LENGTH: usize = 32;

/// The tokens of this home. A clone is another handle on the same ones.
#[derive(Debug, Clone)]
pub(crate) struct Tokens(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    known: Mutex<Known>,
    links: links::Links,
}

/// Where a secret was shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shown<'a> {
    /// In a header, by whoever has the token.
    Token(&'a str),
    /// In a cookie, by a browser.
    Session(&'a str),
}

/// A link that was just made: the only time that its secret is told.
#[derive(Debug)]
pub(crate) struct LinkMade {
    /// What is in it.
    pub(crate) secret: String,
    /// Until when it can be opened.
    pub(crate) expires_at: Timestamp,
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
    /// For a browser: until when it is let in, in microseconds since 1970 UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    browser_until: Option<i64>,
}

impl Kept {
    fn is_over(&self, now: Timestamp) -> bool {
        self.browser_until.is_some_and(|until| until <= now.0)
    }
}

/// Who was let in with which token.
#[derive(Debug, Clone)]
pub(crate) struct Admitted {
    /// The token's name.
    pub(crate) name: Name,
    /// Cancelled when it is revoked: what is still being told to that client ends.
    pub(crate) revoked: CancellationToken,
    /// For a browser: until when it is let in, in microseconds since 1970 UTC.
    browser_until: Option<i64>,
    /// Cancelled when the port that the client came by is listened at no more: it is let go of.
    pub(crate) let_go: CancellationToken,
}

/// Why a client is told no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Over {
    /// Its token was revoked, or a browser's days are over.
    Revoked,
    /// The port that it came by is listened at no more.
    LetGo,
}

impl Admitted {
    /// Waits until the client is to be told no more.
    pub(crate) async fn over(&self) -> Over {
        let told = async {
            tokio::select! {
                biased;
                () = self.revoked.cancelled() => Over::Revoked,
                () = self.let_go.cancelled() => Over::LetGo,
            }
        };
        let Some(until) = self.browser_until else { return told.await };
        let left = u64::try_from(until.saturating_sub(now().0)).unwrap_or(0);
        tokio::time::timeout(Duration::from_micros(left), told).await.unwrap_or(Over::Revoked)
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
        Self(Arc::new(Inner { path, known: Mutex::new(known), links: links::Links::default() }))
    }

    /// Who shows this, to be let in until `let_go`. It is compared with all of them, however early one fits.
    pub(crate) fn admit(&self, shown: Shown<'_>, let_go: &CancellationToken) -> Option<Admitted> {
        let (Shown::Token(secret) | Shown::Session(secret)) = shown;
        let is_session = matches!(shown, Shown::Session(_));
        let shown: [u8; 32] = Sha256::digest(secret.as_bytes()).into();
        let known = self.lock();
        let Known::These(tokens) = &*known else { return None };
        let (mut at, mut fits) = (0_u64, Choice::from(0));
        for (number, token) in (0_u64..).zip(tokens) {
            let this_one = token.hash.ct_eq(&shown);
            at.conditional_assign(&number, this_one);
            fits |= this_one;
        }
        let found = if bool::from(fits) { tokens.get(usize::try_from(at).ok()?) } else { None };
        // One is not good for the other: a cookie comes by itself, and a token does not.
        let found = found.filter(|token| token.kept.browser_until.is_some() == is_session);
        found.filter(|token| !token.kept.is_over(now())).map(|token| Admitted {
            name: token.kept.name.clone(),
            revoked: token.revoked.clone(),
            browser_until: token.kept.browser_until,
            let_go: let_go.clone(),
        })
    }

    /// Makes one. Without a name it gets the first free one.
    pub(crate) async fn create(&self, name: Option<Name>) -> Result<TokenMade, Problem> {
        let tokens = self.clone();
        blocking(move || tokens.create_now(name)).await?
    }

    /// Makes a link that lets a browser in.
    pub(crate) fn make_link(&self) -> Result<LinkMade, Problem> {
        let secret = random_text("")?;
        self.0.links.add(&secret, Instant::now());
        tracing::info!("a link for a browser was made");
        Ok(LinkMade { secret, expires_at: now().plus_millis(OPEN_FOR_MS) })
    }

    /// Lets the browser in that opens a link: what it shows from then on; none if there is no such link.
    pub(crate) async fn open_link(&self, secret: String) -> Result<Option<String>, Problem> {
        if !self.0.links.take(&secret, Instant::now()) {
            return Ok(None);
        }
        let tokens = self.clone();
        let until = now().0.saturating_add(SESSION_DAYS * 24 * 3_600 * 1_000_000);
        let made = blocking(move || tokens.make_now(None, "browser", SESSION_PREFIX, Some(until))).await;
        match made.and_then(|made| made) {
            Ok(made) => Ok(Some(made.token)),
            Err(problem) => {
                // It was opened for nothing.
                self.0.links.add(&secret, Instant::now());
                Err(problem)
            }
        }
    }

    fn create_now(&self, name: Option<Name>) -> Result<TokenMade, Problem> {
        self.make_now(name, "token", TOKEN_PREFIX, None)
    }

    fn make_now(
        &self,
        name: Option<Name>,
        usual: &str,
        prefix: &str,
        browser_until: Option<i64>,
    ) -> Result<TokenMade, Problem> {
        let mut known = self.lock();
        let tokens = known.these()?;
        tokens.retain(|token| {
            let is_over = token.kept.is_over(now());
            if is_over {
                token.revoked.cancel();
            }
            !is_over
        });
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
            None => usual.parse::<Name>().expect("it is a name").first_free(is_taken),
        };
        let text = random_text(prefix)?;
        let hash: [u8; 32] = Sha256::digest(text.as_bytes()).into();
        let created_at = now();
        let kept =
            Kept { name: name.clone(), created_at: created_at.0, sha256: hexadecimal(&hash), browser_until };
        let token = Token { kept, hash, revoked: CancellationToken::new() };
        self.keep(&[tokens.as_slice(), std::slice::from_ref(&token)].concat())?;
        fault_point!("token.kept");
        tokens.push(token);
        tracing::info!(%name, "a token was made");
        Ok(TokenMade { name, created_at: created_at.into(), token: text })
    }

    /// Those that there are, the oldest first.
    pub(crate) fn list(&self) -> Result<Vec<TokenView>, Problem> {
        let mut known = self.lock();
        let tokens = known.these()?.iter().filter(|token| !token.kept.is_over(now()));
        Ok(tokens.map(Token::view).collect())
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
        let until = self.kept.browser_until;
        TokenView {
            name: self.kept.name.clone(),
            created_at: Timestamp(self.kept.created_at).into(),
            kind: if until.is_some() { TokenKind::Browser } else { TokenKind::Token },
            expires_at: until.map(|until| Timestamp(until).into()),
        }
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

/// A secret that nobody guesses.
fn random_text(prefix: &str) -> Result<String, Problem> {
    let mut bytes = [0; LENGTH];
    fill_with_random(&mut bytes).map_err(|error| {
        failed_in_words("no_random_bytes", &error, format!("the system gives no random bytes: {error}"))
    })?;
    Ok(format!("{prefix}{}", URL_SAFE_NO_PAD.encode(bytes)))
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
            assert_eq!(
                tokens.admit(Shown::Token(&first.token), &CancellationToken::new()).unwrap().name,
                first.name
            );
            assert_eq!(
                tokens.admit(Shown::Token(&second.token), &CancellationToken::new()).unwrap().name,
                second.name
            );
            assert!(
                tokens.admit(Shown::Token(""), &CancellationToken::new()).is_none()
                    && tokens.admit(Shown::Token(&first.token[1..]), &CancellationToken::new()).is_none()
            );
        }
        let admitted = next.admit(Shown::Token(&first.token), &CancellationToken::new()).unwrap();
        next.revoke_now("token").unwrap();
        assert!(
            admitted.revoked.is_cancelled()
                && next.admit(Shown::Token(&first.token), &CancellationToken::new()).is_none()
        );
        assert!(next.admit(Shown::Token(&second.token), &CancellationToken::new()).is_some());
        assert_eq!(next.revoke_now("token").unwrap_err().code, "no_such_token");
    }

    #[test]
    fn a_file_that_is_not_understood_lets_nobody_in_and_is_left_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens");
        for content in ["", "{}", "[{\"name\":\"a\",\"created_at\":1,\"sha256\":\"zz\"}]", "nonsense"] {
            std::fs::write(&path, content).unwrap();
            let tokens = Tokens::open(path.clone());
            assert!(tokens.admit(Shown::Token(""), &CancellationToken::new()).is_none());
            assert_eq!(tokens.create_now(None).unwrap_err().code, "tokens_unreadable");
            assert_eq!(std::fs::read_to_string(&path).unwrap(), content);
        }
    }

    #[tokio::test]
    async fn what_a_browser_has_open_ends_with_its_days() {
        let folder = tempfile::tempdir().unwrap();
        let tokens = Tokens::open(folder.path().join("tokens"));
        let until = |ms| Some(now().plus_millis(ms).0);
        let made = tokens.make_now(None, "browser", SESSION_PREFIX, until(200)).unwrap();
        let admitted = tokens.admit(Shown::Session(&made.token), &CancellationToken::new()).unwrap();
        let over = tokio::time::timeout(Duration::from_secs(20), admitted.over()).await;
        assert_eq!(over.expect("it ends"), Over::Revoked);
        assert!(tokens.admit(Shown::Session(&made.token), &CancellationToken::new()).is_none());
        // It is forgotten at the next one, and is told so.
        let _ = tokens.create_now(None).unwrap();
        assert!(admitted.revoked.is_cancelled());
    }

    #[tokio::test]
    async fn a_link_is_not_used_up_where_nobody_can_be_let_in() {
        let folder = tempfile::tempdir().unwrap();
        let tokens = Tokens::open(folder.path().join("tokens"));
        for _ in 0..MAX_TOKENS {
            let _ = tokens.create_now(None).unwrap();
        }
        let link = tokens.make_link().unwrap();
        assert_eq!(tokens.open_link(link.secret.clone()).await.unwrap_err().code, "too_many_tokens");
        tokens.revoke_now("token").unwrap();
        assert!(tokens.open_link(link.secret.clone()).await.unwrap().is_some());
        assert!(tokens.open_link(link.secret).await.unwrap().is_none());
    }

    #[tokio::test]
    async fn a_browser_that_opened_a_link_is_let_in_for_some_days_and_only_by_its_cookie() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens");
        let tokens = Tokens::open(path.clone());
        let link = tokens.make_link().unwrap();
        assert!(tokens.open_link("guessed".to_owned()).await.unwrap().is_none());
        let session =
            tokens.open_link(link.secret.clone()).await.unwrap().expect("it is opened for the first time");
        assert!(tokens.open_link(link.secret.clone()).await.unwrap().is_none(), "and once");
        let token = tokens.create_now(None).unwrap().token;
        let until = CancellationToken::new();
        let next = Tokens::open(path.clone());
        for tokens in [&tokens, &next] {
            assert_eq!(tokens.admit(Shown::Session(&session), &until).unwrap().name.as_str(), "browser");
            assert!(tokens.admit(Shown::Token(&session), &until).is_none());
            assert!(tokens.admit(Shown::Session(&token), &until).is_none());
        }
        let kinds: Vec<_> =
            next.list().unwrap().into_iter().map(|view| (view.kind, view.expires_at.is_some())).collect();
        assert_eq!(kinds, [(TokenKind::Browser, true), (TokenKind::Token, false)]);
        let written = std::fs::read_to_string(&path).unwrap();
        assert!(!written.contains(&session) && !written.contains(&link.secret));
        // Its time is over.
        let mut kept: serde_json::Value = serde_json::from_str(&written).unwrap();
        kept[0]["browser_until"] = now().0.into();
        std::fs::write(&path, kept.to_string()).unwrap();
        let later = Tokens::open(path);
        assert!(later.admit(Shown::Session(&session), &until).is_none());
        assert_eq!(later.list().unwrap().len(), 1);
    }
}
