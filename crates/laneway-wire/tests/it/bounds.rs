//! What a peer sends costs no more memory than a small multiple of its length.

use std::io::Write;
use std::process::Command;

use laneway_wire::frame::HEADER_LENGTH;
use laneway_wire::message::encode;
use laneway_wire::{Decoder, FromHolder, Incoming, ToHolder};
use rustix::process::{Resource, Rlimit, setrlimit};

/// The memory that the child may have beyond what it has at its start: a frame, what it is made of here, and a list
/// of as many items as one may have.
const MEMORY: u64 = 160 << 20;

/// The length of the frames that are broken: with twice as many of the shortest items as a list may have, and more.
const LENGTH: usize = 6 << 20;

/// Said by the child at its end.
const DONE: &str = "all were read or refused";

#[test]
fn long_frames_of_the_shortest_items_cost_little() {
    #[expect(clippy::disallowed_methods, reason = "a limit on memory takes a process of its own")]
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args([
        "--exact",
        "bounds::child_with_little_memory",
        "--ignored",
        "--nocapture",
        "--test-threads=1",
    ]);
    let output = child.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.contains(DONE),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
#[ignore = "the child with little memory"]
fn child_with_little_memory() {
    let own = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = own.split(' ').next().unwrap().parse().unwrap();
    let most = Some(pages * 4096 + MEMORY);
    setrlimit(Resource::As, Rlimit { current: most, maximum: most }).unwrap();
    // Messages whose list fills a long frame with the shortest items; it has no end.
    let lists: [(&[u8], &[u8]); 6] = [
        // Launch: its arguments, its environment.
        (&[0x82, 1, 0x82, 1, 0x81, 0x82, 0x60, 0x9f], &[0x40]),
        (&[0x82, 1, 0x82, 1, 0x81, 0x84, 0x60, 0x80, 0x40, 0x9f], &[0x82, 0x40, 0x40]),
        // Send: its keys.
        (&[0x82, 1, 0x82, 8, 0x81, 0x82, 0x40, 0x9f], &[0x60]),
        // TextPart: its lines.
        (&[0x82, 1, 0x82, 9, 0x81, 0x9f], &[0x60]),
        // Text: its lines.
        (&[0x82, 1, 0x82, 10, 0x81, 0x81, 0x9f], &[0x60]),
        // Stopped: what is left.
        (&[0x82, 1, 0x82, 15, 0x81, 0x9f], &[0x82, 0, 0x60]),
    ];
    for (begin, item) in lists {
        let mut body = begin.to_vec();
        body.extend(item.iter().cycle().take(LENGTH - body.len()));
        let refused = read_or_refuse(&body);
        assert!(refused.iter().any(|why| why.contains("too many items")), "{begin:x?}: {refused:?}");
        // One that claims to be longer than anything can be.
        let mut body = begin[..begin.len() - 1].to_vec();
        body.extend_from_slice(&[0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
        read_or_refuse(&body);
    }
    // A field of a newer peer that is lists in lists in lists.
    for list in [0x81, 0x9f] {
        let mut body = vec![0x82, 1, 0x82, 14, 0x81];
        body.resize(LENGTH, list);
        read_or_refuse(&body);
    }
    // And the one that may be as long.
    let text = vec![b'x'; laneway_wire::message::MAX_SEND];
    let send = ToHolder::Send(laneway_wire::message::Send { text, ..Default::default() });
    let mut bytes = Vec::new();
    encode(1, &send, &mut bytes).unwrap();
    let read = Decoder::new().feed_message::<ToHolder>(&mut bytes.as_slice());
    assert!(matches!(read, Ok(Some(Incoming::Message { .. }))));
    writeln!(std::io::stdout(), "{DONE}").unwrap();
}

/// Gives why the frame was no message, as a request and as an answer.
fn read_or_refuse(body: &[u8]) -> Vec<String> {
    let mut frame = vec![1, 0, 0, 0];
    frame.extend_from_slice(&(body.len() as u32).to_le_bytes());
    frame.resize(HEADER_LENGTH, 0);
    frame.extend_from_slice(body);
    let request = Decoder::new().feed_message::<ToHolder>(&mut frame.as_slice()).err();
    let answer = Decoder::new().feed_message::<FromHolder>(&mut frame.as_slice()).err();
    let errors = [request, answer].into_iter().flatten();
    errors.filter_map(|error| Some(std::error::Error::source(&error)?.to_string())).collect()
}
