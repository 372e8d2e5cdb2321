//! A browser's way in: a link that is opened once, a cookie that only this daemon's own pages can use, and its end.

use std::io::{Read, Write};

use laneway_testkit::TestEnvironment;
use serde_json::{Value, json};

use crate::environment;
use crate::serving::Served;
use crate::support::fails;
use crate::websocket::Client;

/// A daemon that listens, and what `lane web` said.
fn link(world: &TestEnvironment) -> (Served, String) {
    let served = Served::by(world);
    let made = world.json(&["web"]);
    let url = made["url"].as_str().expect("a link").to_owned();
    let base = format!("http://127.0.0.1:{}", served.port);
    let path = url.strip_prefix(&base).unwrap_or_else(|| panic!("{url}")).to_owned();
    assert!(path.starts_with("/login/") && path.len() > 40, "{path}");
    (served, path)
}

/// Asks as a browser does, with these header lines; gives all of the answer.
#[track_caller]
fn browse(served: &Served, line: &str, headers: &str) -> String {
    let mut stream = served.connect();
    let request = format!(
        "{line} HTTP/1.1\r\nhost: 127.0.0.1:{}\r\nconnection: close\r\ncontent-length: 0\r\n{headers}\r\n",
        served.port
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// Opens a link; the cookie that a browser keeps of it.
#[track_caller]
fn open(served: &Served, path: &str) -> String {
    let answer = browse(served, &format!("GET {path}"), "sec-fetch-site: none\r\n");
    assert!(answer.starts_with("HTTP/1.1 303 "), "{answer}");
    let header = |name: &str| {
        let found = answer.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        found.unwrap_or_else(|| panic!("no {name}: {answer}")).to_owned()
    };
    assert_eq!(header("location"), "/");
    let cookie = header("set-cookie");
    let (kept, rules) = cookie.split_once("; ").unwrap();
    assert!(kept.starts_with(&format!("laneway-{}=lws_", served.port)), "{cookie}");
    assert_eq!(rules, "Path=/; HttpOnly; SameSite=Strict; Max-Age=2592000");
    kept.to_owned()
}

#[track_caller]
fn has_status(answer: &str, status: u16) {
    assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
}

#[test]
fn a_link_lets_one_browser_in_once_and_only_who_opens_it() {
    let world = environment();
    let (served, path) = link(&world);
    // Looked at, fetched ahead by a browser, or opened by a page of another site: it is still there.
    let get = format!("GET {path}");
    has_status(&browse(&served, &format!("HEAD {path}"), ""), 503);
    has_status(&browse(&served, &get, "sec-purpose: prefetch;prerender\r\n"), 503);
    has_status(&browse(&served, &get, "sec-fetch-site: cross-site\r\n"), 403);
    has_status(&browse(&served, &get, "origin: http://evil.example\r\n"), 403);
    has_status(&browse(&served, &format!("POST {path}"), ""), 405);
    let answer = browse(&served, "GET /login/guessed", "");
    has_status(&answer, 403);
    assert!(!answer.contains("set-cookie") && answer.contains("lane web"), "{answer}");
    let cookie = open(&served, &path);
    has_status(&browse(&served, &get, ""), 403);
    // The page that it goes on to, and what is told there.
    let with = format!("cookie: other=1; {cookie}\r\n");
    let home = browse(&served, "GET /", &with);
    assert!(home.starts_with("HTTP/1.1 303 ") && home.contains("location: /api\r\n"), "{home}");
    let page = browse(&served, "GET /api", &with);
    has_status(&page, 200);
    for rule in [
        "content-security-policy: default-src 'none'",
        "nosniff",
        "cross-origin-resource-policy: same-origin",
    ] {
        assert!(page.contains(rule), "{rule}: {page}");
    }
    has_status(&browse(&served, "GET /api/v1/daemon", &with), 200);
    // Whoever is not let in is told how to be, and nothing else.
    let stranger = browse(&served, "GET /", "accept: text/html\r\n");
    has_status(&stranger, 401);
    assert!(stranger.contains("lane web") && stranger.contains("default-src 'none'"), "{stranger}");
    // Nobody learns the link or the cookie from what is kept.
    let kept = std::fs::read_to_string(world.home.join("tokens")).unwrap();
    let log = std::fs::read_to_string(world.home.join("daemon.log")).unwrap_or_default();
    for secret in [path.trim_start_matches("/login/"), cookie.split_once('=').unwrap().1] {
        assert!(!kept.contains(secret) && !log.contains(secret), "{kept}");
    }
}

#[test]
fn with_a_cookie_only_pages_of_here_change_something_or_open_a_websocket() {
    let world = environment();
    let (served, path) = link(&world);
    let cookie = open(&served, &path);
    let port = served.port;
    let with = format!("cookie: {cookie}\r\n");
    let own = format!("origin: http://127.0.0.1:{port}\r\n");
    let stop = "POST /api/v1/reconcile";
    // A form or an image of another page has the browser's cookie too, where it is sent at all.
    let no_origin = browse(&served, stop, &with);
    has_status(&no_origin, 403);
    assert!(no_origin.contains("no_origin"), "{no_origin}");
    for origin in ["http://evil.example", "null", "http://127.0.0.1:1", "http://localhost.evil.example"] {
        has_status(&browse(&served, stop, &format!("{with}origin: {origin}\r\n")), 403);
    }
    for site in ["cross-site", "same-site"] {
        has_status(&browse(&served, "GET /api/v1/daemon", &format!("{with}sec-fetch-site: {site}\r\n")), 403);
    }
    let (status, said) = served.ask(
        stop,
        &format!("host: 127.0.0.1:{port}\r\n{with}{own}content-type: application/json\r\n"),
        b"{\"fix\":false}",
    );
    assert_eq!(status, 200, "{said}");
    // What is a person's to say is not said by a page either.
    for (path, body) in [("/api/v1/tokens", "{}"), ("/api/v1/web", "{}"), ("/api/v1/serve/stop", "")] {
        let headers = format!("host: 127.0.0.1:{port}\r\n{with}{own}content-type: application/json\r\n");
        let (status, said) = served.ask(&format!("POST {path}"), &headers, body.as_bytes());
        assert!(status == 409 && said.contains("consent"), "{path}: {status} {said}");
    }
    // In the wrong place, or beside another one, it counts for nothing.
    let secret = cookie.split_once('=').unwrap().1;
    for headers in [
        format!("authorization: Bearer {secret}\r\n"),
        format!("authorization: Bearer nobody\r\n{with}"),
        format!("cookie: laneway-{port}={}\r\n", served.token),
        format!("cookie: {cookie}; {cookie}\r\n"),
        format!("cookie: laneway={secret}\r\n"),
        format!("cookie: {}\r\n", cookie.to_lowercase()),
        format!("cookie: {cookie}x\r\n"),
    ] {
        has_status(&browse(&served, "GET /api/v1/daemon", &headers), 401);
    }

    let upgrade = |headers: &[(&str, &str)]| Client::try_with(&served, "/ws", headers);
    let origin = format!("http://localhost:{port}");
    assert_eq!(upgrade(&[("cookie", &cookie)]).err().as_deref(), Some("403"));
    for other in ["http://evil.example", "null", "http://127.0.0.1:1"] {
        assert_eq!(
            upgrade(&[("cookie", &cookie), ("origin", other)]).err().as_deref(),
            Some("403"),
            "{other}"
        );
    }
    let mut client =
        upgrade(&[("cookie", &cookie), ("origin", &origin)]).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(client.json()["type"], "connected");
    // Listed and revoked like a token, also for who is connected.
    let listed = world.json(&["token", "ls"])["tokens"].clone();
    let kinds: Vec<&Value> = listed.as_array().unwrap().iter().map(|token| &token["kind"]).collect();
    assert_eq!(kinds, [&json!("token"), &json!("browser")], "{listed}");
    assert!(listed[1]["expires_at"].is_string(), "{listed}");
    world.lane(&["daemon", "restart"]).ok();
    assert_eq!(client.end().0, 1001);
    has_status(&browse(&served, "GET /api/v1/daemon", &with), 200);
    let mut client =
        upgrade(&[("cookie", &cookie), ("origin", &origin)]).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(client.json()["type"], "connected");
    world.lane(&["token", "revoke", "browser"]).ok();
    assert_eq!(client.end().0, 1008);
    has_status(&browse(&served, "GET /api/v1/daemon", &with), 401);
}

#[test]
fn a_link_is_a_persons_to_make_and_dies_with_its_daemon() {
    let world = environment();
    world.lane(&["new", "a"]).ok();
    let inside = world.lane(&["exec", "a", "--", "lane", "--json", "web"]).code(5);
    assert_eq!(inside.json()["error"]["code"], "consent", "{inside}");
    assert!(world.json(&["daemon", "status"])["serving"].is_null(), "and nothing listens");
    let made = world.lane(&["web", "--port", "0"]).ok();
    assert!(made.out().starts_with("http://127.0.0.1:") && made.err().contains("once"), "{made}");
    let port = world.json(&["daemon", "status"])["serving"]["port"].as_u64().unwrap();
    let path = made.out().trim().rsplit_once("/login/").unwrap().1.to_owned();
    world.lane(&["daemon", "restart"]).ok();
    let served = Served { port: u16::try_from(port).unwrap(), token: String::new() };
    has_status(&browse(&served, &format!("GET /login/{path}"), ""), 403);
    let other = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let taken = other.local_addr().unwrap().port().to_string();
    let _ = fails(&world, &["web", "--port", &taken], 5, "port_unusable");
}
