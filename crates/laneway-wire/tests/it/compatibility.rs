//! Messages come back as they were, and old and new peers understand each other.

use laneway_wire::message::{
    self, Channel, ChannelKind, Launch, Record, ResourceLimit, Role, RunLimits, Size, Terminal, refusal,
};
use laneway_wire::{ByteVec, Decoder, FromHolder, Incoming, ToHolder};
use proptest::prelude::*;

fn launch() -> Launch {
    Launch {
        run: "rn_01K0000000000000000000000A".into(),
        argv: vec![ByteVec::from(b"printf".to_vec()), ByteVec::from(b"\xff\xfe".to_vec())],
        cwd: ByteVec::from(b"/".to_vec()),
        env: vec![(ByteVec::from(b"K".to_vec()), ByteVec::from(b"=v\n".to_vec()))],
        umask: 0o022,
        limits: vec![ResourceLimit { which: 7, soft: 1024, hard: u64::MAX }],
        terminal: Terminal::Pty(Size { columns: 80, rows: 24 }),
        owned: true,
        history_lines: 10_000,
        stop_signal: 15,
        record: Some(Record { part_length: 1 << 24, n_parts: 4 }),
        channel: Some(Channel {
            kind: ChannelKind::NodeIpc,
            greeting: vec![ByteVec::from(b"{}".to_vec())],
            farewell: ByteVec::from(b"{\"type\":\"shutdown\"}".to_vec()),
        }),
        run_limits: Some(RunLimits { wall_ms: Some(60_000), idle_ms: None }),
    }
}

fn through_the_wire<M>(bytes: &[u8]) -> Result<Option<Incoming<M>>, message::MessageError>
where
    M: for<'b> minicbor::Decode<'b, ()>,
{
    Decoder::new().feed_message(&mut &*bytes)
}

#[test]
fn a_message_comes_back_as_it_was() {
    let messages = [
        ToHolder::Launch(Box::new(launch())),
        ToHolder::Attach { role: Role::Observer, size: Size { columns: 1, rows: 2 }, since: None },
        ToHolder::Send(message::Send {
            text: b"\0\xff;".to_vec(),
            keys: vec!["ctrl-c".into()],
            ..Default::default()
        }),
        ToHolder::Status,
        ToHolder::DropSend { send: 7 },
        ToHolder::Tap(message::Tap {
            size: Size { columns: 3, rows: 2 },
            seed: b"\xff".to_vec(),
            pipe: None,
        }),
    ];
    for message in messages {
        let mut bytes = Vec::new();
        message::encode(9, &message, &mut bytes).unwrap();
        assert_eq!(through_the_wire(&bytes).unwrap(), Some(Incoming::Message { tag: 9, message }));
    }
}

#[test]
fn a_message_of_a_newer_peer_is_unknown_and_keeps_its_tag() {
    #[derive(minicbor::Encode)]
    enum Newer {
        #[n(900)]
        FromTheFuture {
            #[n(0)]
            anything: String,
        },
    }
    let mut bytes = Vec::new();
    message::encode(41, &Newer::FromTheFuture { anything: "x".into() }, &mut bytes).unwrap();
    assert_eq!(through_the_wire::<ToHolder>(&bytes).unwrap(), Some(Incoming::Unknown { tag: 41 }));
    assert_eq!(through_the_wire::<FromHolder>(&bytes).unwrap(), Some(Incoming::Unknown { tag: 41 }));
}

#[test]
fn fields_of_a_newer_peer_are_passed_over_and_optional_ones_may_lack() {
    #[derive(minicbor::Encode)]
    enum Newer {
        #[n(3)]
        Attach {
            #[n(0)]
            role: Role,
            #[n(1)]
            size: Size,
            #[n(2)]
            since: Option<u64>,
            #[n(3)]
            colour: String,
        },
    }
    #[derive(minicbor::Encode)]
    enum Older {
        #[n(3)]
        Attach {
            #[n(0)]
            role: Role,
            #[n(1)]
            size: Size,
        },
    }
    let (role, size) = (Role::Driver, Size { columns: 80, rows: 24 });
    let mut bytes = Vec::new();
    let newer = Newer::Attach { role, size, since: Some(5), colour: "red".into() };
    message::encode(1, &newer, &mut bytes).unwrap();
    let message = ToHolder::Attach { role, size, since: Some(5) };
    assert_eq!(through_the_wire(&bytes).unwrap(), Some(Incoming::Message { tag: 1, message }));
    bytes.clear();
    message::encode(1, &Older::Attach { role, size }, &mut bytes).unwrap();
    let message = ToHolder::Attach { role, size, since: None };
    assert_eq!(through_the_wire(&bytes).unwrap(), Some(Incoming::Message { tag: 1, message }));
}

#[test]
fn the_largest_send_fits_a_frame_and_more_is_an_error() {
    let send = |length| {
        let text = vec![b'x'; length];
        message::encode(1, &ToHolder::Send(message::Send { text, ..Default::default() }), &mut Vec::new())
    };
    assert!(send(message::MAX_SEND).is_ok());
    assert!(send(message::MAX_SEND + (2 << 20)).is_err());
}

#[test]
fn the_codes_of_refusals_are_words_with_hyphens() {
    for code in [refusal::ENDED, refusal::UNKNOWN_REQUEST, refusal::LINE_TOO_LONG] {
        assert!(code.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'));
    }
}

proptest! {
    #[test]
    fn a_broken_body_is_an_error_and_never_a_panic(
        body in prop::collection::vec(any::<u8>(), 0..300),
        keep in 0usize..300,
    ) {
        let mut bytes = Vec::new();
        message::encode(1, &ToHolder::Launch(Box::new(launch())), &mut bytes).unwrap();
        // The beginning of a true message, then garbage.
        let mut broken: Vec<u8> = bytes[16..].iter().copied().take(keep).collect();
        broken.extend_from_slice(&body);
        let mut frame = vec![1, 0, 0, 0];
        frame.extend_from_slice(&(broken.len() as u32).to_le_bytes());
        frame.extend_from_slice(&[0; 8]);
        frame.extend_from_slice(&broken);
        drop(through_the_wire::<ToHolder>(&frame));
        drop(through_the_wire::<FromHolder>(&frame));
    }
}
