//! Sockets in folders of any length, and conversations over them.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use laneway_wire::client::{self, ClientError, Connection};
use laneway_wire::message::{self, Text};
use laneway_wire::{Decoder, FromHolder, Incoming, SOCKET_NAME, ToHolder, sockets};

const LIMIT: Duration = Duration::from_secs(10);

fn deep_folder(root: &Path) -> PathBuf {
    let folder = root.join("a-folder-with-a-rather-long-name".repeat(4)).join("another-one".repeat(10));
    fs::create_dir_all(&folder).expect("the temporary folder is writable");
    assert!(folder.as_os_str().len() > 200, "longer than a socket's address may be");
    folder
}

fn root() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("the target folder is writable")
}

fn listen(folder: &Path) -> UnixListener {
    let folder = File::open(folder).expect("it was just made");
    sockets::listen(folder, SOCKET_NAME, 128).expect("the folder is private and writable")
}

#[test]
fn a_socket_in_a_long_path_is_bound_and_reached() {
    let root = root();
    let folder = deep_folder(root.path());
    let listener = listen(&folder);
    let mut near = client::connect(&folder, LIMIT).unwrap();
    let (mut far, _) = listener.accept().unwrap();
    near.write_all(b"x").unwrap();
    let mut byte = [0];
    far.read_exact(&mut byte).unwrap();
    assert_eq!(client::peer_uid(&far).unwrap(), rustix::process::geteuid().as_raw());
    let names: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["sock"]);
    assert_eq!(fs::metadata(folder.join("sock")).unwrap().permissions().mode() & 0o7777, 0o600);
}

/// Said by the child when it has seen whose the other end is.
const SEEN: &str = "seen to be of the same user";

#[test]
fn a_peer_outside_of_the_process_namespace_is_known_by_its_user() {
    let root = root();
    let listener = listen(root.path());
    listener.set_nonblocking(false).unwrap();
    let _near = client::connect(root.path(), LIMIT).unwrap();
    let apart = ["unshare", "--user", "--map-root-user", "--pid", "--fork"];
    #[expect(clippy::disallowed_methods, reason = "a namespace of its own takes a process of its own")]
    let unshare = || {
        let mut command = Command::new(apart[0]);
        command.args(&apart[1..]);
        command
    };
    if !unshare().arg("true").status().is_ok_and(|status| status.success()) {
        writeln!(std::io::stderr(), "not tested: this machine lets nobody have a namespace").unwrap();
        return;
    }
    let mut child = unshare();
    child.arg(std::env::current_exe().unwrap()).stdin(OwnedFd::from(listener));
    let arguments = ["--exact", "sockets::child_that_accepts_from_outside", "--ignored", "--nocapture"];
    let output = child.args(arguments).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.contains(SEEN),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
#[ignore = "the child in another namespace, to which its peer has no number"]
fn child_that_accepts_from_outside() {
    let listener = std::io::stdin().as_fd().try_clone_to_owned().unwrap();
    let (socket, _) = UnixListener::from(listener).accept().unwrap();
    assert_eq!(client::peer_uid(&socket).unwrap(), rustix::process::geteuid().as_raw());
    writeln!(std::io::stdout(), "{SEEN}").unwrap();
}

#[test]
fn nobody_at_the_socket_is_an_error_that_names_the_folder() {
    let root = root();
    let error = client::connect(root.path(), LIMIT).unwrap_err();
    assert!(matches!(&error, ClientError::Connect { folder, .. } if folder == root.path()));
    drop(listen(root.path()));
    assert!(matches!(client::connect(root.path(), LIMIT), Err(ClientError::Connect { .. })));
    let missing = root.path().join("missing");
    assert!(matches!(client::connect(&missing, LIMIT), Err(ClientError::Folder { .. })));
}

#[test]
fn a_holder_that_does_not_accept_costs_no_more_than_the_limit() {
    let root = root();
    let _listener = listen(root.path());
    let mut waiting = Vec::new();
    let error = loop {
        match client::connect(root.path(), Duration::from_millis(20)) {
            Ok(socket) => waiting.push(socket),
            Err(error) => break error,
        }
        assert!(waiting.len() < 1000, "the queue of a socket is bounded");
    };
    assert!(
        matches!(error, ClientError::Connect { source, .. } if source.kind() == std::io::ErrorKind::WouldBlock)
    );
}

#[test]
fn a_holder_that_says_nothing_is_said_to_be_silent() {
    let root = root();
    let _listener = listen(root.path());
    let limit = Duration::from_millis(20);
    let error = Connection::open(root.path(), "test", limit).unwrap_err();
    assert!(matches!(error, ClientError::Silent { .. }), "{error:?}");
    assert_eq!(error.to_string(), "the holder does not answer within 0.02 s");
}

#[test]
fn answers_are_found_among_what_is_said_unasked() {
    let (near, mut far) = std::os::unix::net::UnixStream::pair().unwrap();
    let answering = std::thread::spawn(move || {
        let mut decoder = Decoder::new();
        let mut buffer = [0; 4096];
        let tag = loop {
            let n_read = far.read(&mut buffer).unwrap();
            let mut input = &buffer[..n_read];
            if let Some(Incoming::Message { tag, message }) = decoder.feed_message(&mut input).unwrap() {
                assert!(matches!(message, ToHolder::Read { .. }));
                break tag;
            }
        };
        let text = Text {
            lines: vec!["two".into()],
            cursor: None,
            size: None,
            alternate_screen: false,
            title: None,
            offset: 3,
            stderr_lines: vec![],
            since: None,
        };
        let mut bytes = Vec::new();
        message::encode(0, &FromHolder::Resync, &mut bytes).unwrap();
        message::encode(tag, &FromHolder::TextPart { lines: vec!["one".into()] }, &mut bytes).unwrap();
        message::encode(tag, &FromHolder::Text(text), &mut bytes).unwrap();
        // Byte by byte, so that no frame comes whole.
        for byte in bytes {
            far.write_all(&[byte]).unwrap();
        }
    });
    let mut connection = Connection::over(near);
    connection.set_read_limit(Some(LIMIT)).unwrap();
    let request = ToHolder::Read { lines: message::Lines::All, ansi: false, since: None };
    let FromHolder::Text(text) = connection.read_text(&request).unwrap() else { panic!("not the text") };
    assert_eq!((text.lines, text.offset), (vec!["one".to_owned(), "two".to_owned()], 3));
    answering.join().unwrap();
    assert!(connection.receive().unwrap().is_none());
}
