//! Sockets in folders of any length, and conversations over them.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use laneway_wire::client::{self, ClientError, Connection};
use laneway_wire::message::{self, Text};
use laneway_wire::{Decoder, FromHolder, Incoming, ToHolder};

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

#[test]
fn a_socket_in_a_long_path_is_bound_and_reached() {
    let root = root();
    let folder = deep_folder(root.path());
    let listener = client::listen(&File::open(&folder).unwrap()).unwrap();
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

#[test]
fn nobody_at_the_socket_is_an_error_that_names_the_folder() {
    let root = root();
    let error = client::connect(root.path(), LIMIT).unwrap_err();
    assert!(matches!(&error, ClientError::Connect { folder, .. } if folder == root.path()));
    drop(client::listen(&File::open(root.path()).unwrap()).unwrap());
    assert!(matches!(client::connect(root.path(), LIMIT), Err(ClientError::Connect { .. })));
    let missing = root.path().join("missing");
    assert!(matches!(client::connect(&missing, LIMIT), Err(ClientError::Folder { .. })));
}

#[test]
fn a_holder_that_does_not_accept_costs_no_more_than_the_limit() {
    let root = root();
    let _listener = client::listen(&File::open(root.path()).unwrap()).unwrap();
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
    let request = ToHolder::Read { lines: message::Lines::All, ansi: false };
    let FromHolder::Text(text) = connection.read_text(&request).unwrap() else { panic!("not the text") };
    assert_eq!((text.lines, text.offset), (vec!["one".to_owned(), "two".to_owned()], 3));
    answering.join().unwrap();
    assert!(connection.receive().unwrap().is_none());
}
