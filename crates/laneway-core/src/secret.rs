//! Secrets that stand in texts from outside (what git or a program says), known by their shape, and taken out before
//! anything is written.
//!
//! It is a second net below the first one: environments, arguments and input never get into events or logs.

use std::borrow::Cow;

/// What stands in place of a secret, behind what tells its kind.
const MASK: &str = "***";

/// A secret that begins with something that nothing else begins with.
struct Shape {
    prefix: &'static str,
    /// The fewest characters behind the prefix.
    min_length: usize,
    /// Characters that it has beside letters and digits.
    others: &'static str,
}

const fn shape(prefix: &'static str, min_length: usize, others: &'static str) -> Shape {
    Shape { prefix, min_length, others }
}

/// Longer prefixes come before those that they begin with.
const SHAPES: [Shape; 26] = [
    shape("lwt_", 40, "-_"),
    shape("github_pat_", 22, "_"),
    shape("ghp_", 36, ""),
    shape("gho_", 36, ""),
    shape("ghu_", 36, ""),
    shape("ghs_", 36, ""),
    shape("ghr_", 36, ""),
    shape("glpat-", 20, "-_"),
    shape("sk-ant-", 20, "-_"),
    shape("sk-proj-", 20, "-_"),
    shape("sk_live_", 20, ""),
    shape("rk_live_", 20, ""),
    shape("sk-", 32, ""),
    shape("AKIA", 16, ""),
    shape("ASIA", 16, ""),
    shape("AIza", 35, "-_"),
    shape("xoxa-", 10, "-"),
    shape("xoxb-", 10, "-"),
    shape("xoxp-", 10, "-"),
    shape("xoxs-", 10, "-"),
    shape("npm_", 36, ""),
    shape("pypi-", 32, "-_"),
    shape("hf_", 30, ""),
    shape("eyJ", 40, "-_."),
    shape("Bearer ", 20, "-_.~+/="),
    shape("bearer ", 20, "-_.~+/="),
];

const KEY_BEGINS: &str = "-----BEGIN ";
const KEY_ENDS: &str = "-----END ";

/// The same text without the secrets that are known by their shape.
pub fn masked(text: &str) -> Cow<'_, str> {
    let mut kept = String::new();
    // What is before `done` is in `kept`.
    let mut done = 0;
    let mut before = None;
    for (at, character) in text.char_indices() {
        let begins_word = before.is_none_or(|before: char| !before.is_alphanumeric() && before != '_');
        before = Some(character);
        if at < done {
            continue;
        }
        if let Some((shown, end)) = secret_at(&text[..at], &text[at..], begins_word) {
            kept.push_str(&text[done..at + shown]);
            kept.push_str(MASK);
            done = at + end;
        }
    }
    if done == 0 {
        return Cow::Borrowed(text);
    }
    kept.push_str(&text[done..]);
    Cow::Owned(kept)
}

/// How much of the secret that `text` begins with is shown, and where it ends.
fn secret_at(before: &str, text: &str, begins_word: bool) -> Option<(usize, usize)> {
    if let Some(rest) = text.strip_prefix("://") {
        // A user and a password in an address, or a token in place of both.
        let authority = rest.split(|c: char| c == '/' || c.is_whitespace() || "\"'\\".contains(c)).next()?;
        let (user, _) = authority.rsplit_once('@')?;
        let is_secret = user.contains(':') || before.ends_with("http") || before.ends_with("https");
        return (is_secret && user != MASK).then_some((3, 3 + user.len()));
    }
    if text.starts_with(KEY_BEGINS) {
        let first = text.split(['\n', '\\']).next()?;
        if !first.contains("PRIVATE KEY") {
            return None;
        }
        return Some((0, text.find(KEY_ENDS).unwrap_or(text.len())));
    }
    if !begins_word {
        return None;
    }
    let shape = SHAPES.iter().find(|shape| text.starts_with(shape.prefix))?;
    let tail = &text[shape.prefix.len()..];
    let length =
        tail.find(|c: char| !c.is_ascii_alphanumeric() && !shape.others.contains(c)).unwrap_or(tail.len());
    (length >= shape.min_length).then_some((shape.prefix.len(), shape.prefix.len() + length))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn secrets_are_taken_out_and_the_rest_stays() {
        let a = |n: usize| "aB3".repeat(n).chars().take(n).collect::<String>();
        for (text, left) in [
            (format!("token lwt_{} is no more", a(43)), "token lwt_*** is no more"),
            (format!("ghp_{}", a(36)), "ghp_***"),
            (format!("\"github_pat_{}_x\" said", a(30)), "\"github_pat_***\" said"),
            (format!("key=sk-ant-api03-{}", a(60)), "key=sk-ant-***"),
            (format!("key=sk-{}.", a(48)), "key=sk-***."),
            ("AKIAIOSFODNN7EXAMPLE".to_owned(), "AKIA***"),
            (format!("authorization: Bearer {}==", a(30)), "authorization: Bearer ***"),
            (format!("eyJ{}.eyJ{}.{}", a(30), a(30), a(20)), "eyJ***"),
            ("fatal: https://me:pass@host/x.git: 403".to_owned(), "fatal: https://***@host/x.git: 403"),
            ("https://aB3aB3@host/x".to_owned(), "https://***@host/x"),
            (
                "a -----BEGIN RSA PRIVATE KEY-----\nMII\n-----END RSA PRIVATE KEY----- b".to_owned(),
                "a ***-----END RSA PRIVATE KEY----- b",
            ),
            (format!("xoxb-{} and glpat-{}", a(12), a(20)), "xoxb-*** and glpat-***"),
        ] {
            assert_eq!(masked(&text), left, "{text}");
            assert_eq!(masked(left), left, "what is masked stays as it is");
        }
    }

    #[test]
    fn what_only_looks_a_little_like_one_stays() {
        for text in [
            "",
            "lane sk-refactor-the-whole-of-the-parser-and-more is open",
            "ghp_short",
            "a_ghp_aB3aB3aB3aB3aB3aB3aB3aB3aB3aB3aB3aB3",
            "wk_01ARZ3NDEKTSV4RRFFQ69G5FAV",
            "https://host/a@b",
            "ssh://git@host/x",
            "https://example.org/path, mail me@example.org",
            "-----BEGIN PUBLIC KEY-----",
            "Bearer of news",
            "naïve ☃ eyJ",
        ] {
            assert!(matches!(masked(text), Cow::Borrowed(same) if same == text), "{text}: {}", masked(text));
        }
    }

    proptest! {
        #[test]
        fn any_text_is_masked_once_and_for_all(text in "(://|@|sk-|eyJ|-----BEGIN |PRIVATE KEY|[a-zé☃ /\"]){0,40}") {
            let once = masked(&text).into_owned();
            prop_assert_eq!(masked(&once).into_owned(), once.clone());
        }
    }
}
