//! What is written reads as what came, whatever came and however it was cut.

use std::path::Path;
use std::time::Duration;

use laneway_wire::recording::parts;
use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::screen::Lines;

const SIZE: Size = Size { columns: 20, rows: 5 };

struct Recorded {
    folder: tempfile::TempDir,
    recording: Recording,
    screen: Screen,
    passed: Vec<u8>,
}

impl Recorded {
    fn new(plan: Record) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let variable = |name: &str, value: &[u8]| (name.as_bytes().to_vec().into(), value.to_vec().into());
        let environment = [
            variable("SECRET", b"hunter2"),
            variable("SHELL", b"/bin/\"odd\\sh\xff"),
            variable("TERM", b"xterm-256color"),
        ];
        let file = File::open(folder.path()).unwrap();
        let recording = Recording::begin(&file, plan, &environment, SIZE, Moment::now());
        Self { folder, recording, screen: Screen::new(SIZE, 0), passed: Vec::new() }
    }

    /// Output as it comes to the holder.
    fn print(&mut self, output: &[u8]) {
        let mut passed = Vec::new();
        self.screen.advance(output, &mut Vec::new(), &mut passed);
        self.recording.output(&passed, &self.screen);
        self.passed.extend(passed);
    }

    /// All lines of each part that is there, the oldest first.
    fn finish(mut self) -> Vec<(u64, Vec<Value>)> {
        self.recording.finish();
        assert_eq!(self.recording.take_end(), None);
        read(self.folder.path())
    }
}

fn read(folder: &Path) -> Vec<(u64, Vec<Value>)> {
    let lines = |path: &Path| {
        let text = std::fs::read_to_string(path).unwrap();
        text.split_inclusive('\n').map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    parts(folder).unwrap().into_iter().map(|(part, path)| (part, lines(&path))).collect()
}

fn data(events: &[Value], code: &str) -> String {
    events.iter().filter(|event| event[1] == code).map(|event| event[2].as_str().unwrap()).collect()
}

const ONE_PART: Record = Record { part_length: u64::MAX, n_parts: 4 };

#[test]
fn the_header_says_what_asciicast_v2_asks_for_and_no_secret() {
    let now = Moment::now().unix_micros / 1_000_000;
    let parts = Recorded::new(ONE_PART).finish();
    let header = parts[0].1[0].as_object().unwrap();
    let keys: Vec<&str> = header.keys().map(String::as_str).collect();
    assert_eq!(keys, ["env", "height", "timestamp", "version", "width"]);
    assert_eq!((&header["version"], &header["width"], &header["height"]), (&2.into(), &20.into(), &5.into()));
    assert!((0..10).contains(&(header["timestamp"].as_u64().unwrap() - now)));
    let expected = serde_json::json!({"TERM": "xterm-256color", "SHELL": "/bin/\"odd\\sh\u{fffd}"});
    assert_eq!(header["env"], expected);
}

#[test]
fn events_have_times_that_grow_and_sizes_are_told() {
    let mut recorded = Recorded::new(ONE_PART);
    recorded.print(b"one");
    recorded.recording.resized(Size { columns: 100, rows: 30 });
    recorded.print("zwei \u{4e2d}\x7f\0\x1b[1m\"\\\t\r\n".as_bytes());
    recorded.recording.output(b"", &recorded.screen);
    let parts = recorded.finish();
    let events = &parts[0].1[1..];
    let shape: Vec<(&str, &str)> =
        events.iter().map(|event| (event[1].as_str().unwrap(), event[2].as_str().unwrap())).collect();
    assert_eq!(
        shape,
        [("o", "one"), ("r", "100x30"), ("o", "zwei \u{4e2d}\x7f\0\x1b[1m\"\\\t\r\n")],
        "and nothing for nothing"
    );
    let times: Vec<f64> = events.iter().map(|event| event[0].as_f64().unwrap()).collect();
    assert!(times.is_sorted() && times[0] >= 0.0 && times[2] < 10.0, "{times:?}");
}

#[test]
fn a_time_has_its_microseconds() {
    let mut recorded = Recorded::new(ONE_PART);
    let part = recorded.recording.part();
    let at = part.began_at + Duration::from_micros(3_600_000_042);
    part.add_event(at, b'o', |json| push_text(b"x", json));
    recorded.recording.flush();
    let text = std::fs::read_to_string(recorded.folder.path().join("recording-000001.cast")).unwrap();
    assert!(text.ends_with("\n[3600.000042, \"o\", \"x\"]\n"), "{text}");
}

#[test]
fn the_newest_parts_are_kept_and_each_plays_alone_and_after_the_one_before_it() {
    let mut recorded = Recorded::new(Record { part_length: 2_000, n_parts: 3 });
    for n in 0..400 {
        recorded.print(format!("\x1b[3{}mline {n} \u{fc}\x1b[m\r\n", n % 8).as_bytes());
        recorded.recording.flush();
    }
    let (screen, passed) = (recorded.screen.lines(Lines::Screen, true), recorded.passed.clone());
    let parts = recorded.finish();
    let numbers: Vec<u64> = parts.iter().map(|(number, _)| *number).collect();
    let newest = *numbers.last().unwrap();
    assert!(newest > 5);
    assert_eq!(numbers, (newest - 2..=newest).collect::<Vec<_>>());
    let played = |events: &[Value]| {
        let mut screen = Screen::new(SIZE, 0);
        screen.advance(data(events, "o").as_bytes(), &mut Vec::new(), &mut Vec::new());
        screen.lines(Lines::Screen, true)
    };
    for (number, lines) in &parts {
        let length: usize = lines[2..].iter().map(|line| line.to_string().len()).sum();
        assert!(*number == newest || (1_500..2_500).contains(&length), "{length}");
        assert_eq!((&lines[1][0], &lines[1][1]), (&0.0.into(), &"o".into()), "a picture to begin with");
    }
    // A part's picture is what the part before it ends with.
    for pair in parts.windows(2) {
        assert_eq!(played(&pair[0].1[1..]), played(&pair[1].1[1..2]));
    }
    assert_eq!(played(&parts[2].1[1..]), screen);
    // Without the pictures, nothing is lost or doubled between parts.
    let joined: String = parts.iter().map(|(_, lines)| data(&lines[2..], "o")).collect();
    assert!(String::from_utf8(passed).unwrap().ends_with(&joined));
    assert!(joined.contains("line 399") && joined.len() > 1_000);
}

#[test]
fn a_file_that_is_there_already_ends_the_recording_with_a_reason() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("recording-000001.cast");
    std::fs::write(&path, "not ours").unwrap();
    let file = File::open(folder.path()).unwrap();
    let mut recording = Recording::begin(&file, ONE_PART, &[], SIZE, Moment::now());
    recording.output(b"x", &Screen::new(SIZE, 0));
    recording.resized(SIZE);
    recording.finish();
    assert_eq!(recording.take_end().as_deref(), Some("it cannot be begun: file exists"));
    assert_eq!(recording.take_end(), None, "told once");
    assert_eq!(std::fs::read_to_string(path).unwrap(), "not ours");
}

impl Recording {
    fn part(&mut self) -> &mut Part {
        let State::Writing(part) = &mut self.state else { panic!("it has ended") };
        part
    }
}

#[test]
fn a_disk_without_room_ends_it_with_a_reason() {
    let mut recorded = Recorded::new(ONE_PART);
    recorded.print(b"fits");
    recorded.recording.flush();
    // Whatever is written there, there is no room for it.
    recorded.recording.part().file = File::options().write(true).open("/dev/full").unwrap();
    recorded.print(b"does not");
    recorded.recording.flush();
    recorded.print(b"nor this");
    recorded.recording.finish();
    let reason = recorded.recording.take_end();
    assert_eq!(reason.as_deref(), Some("it cannot be written: no space left on device"));
    assert_eq!(data(&read(recorded.folder.path())[0].1[1..], "o"), "fits");
}

#[test]
fn what_was_half_written_is_cut_to_whole_lines_and_a_file_with_none_is_removed() {
    let write_half = |recorded: &mut Recorded, n_bytes: usize| {
        let part = recorded.recording.part();
        part.file.write_all(&part.pending[..n_bytes]).unwrap();
        let error = part.cut_after(n_bytes, Errno::NOSPC.into());
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    };
    let mut recorded = Recorded::new(ONE_PART);
    recorded.print(b"one");
    recorded.recording.flush();
    recorded.print(b"two");
    recorded.print(b"three");
    let length = recorded.recording.part().pending.len();
    write_half(&mut recorded, length - 1);
    assert_eq!(data(&read(recorded.folder.path())[0].1[1..], "o"), "onetwo");

    let mut recorded = Recorded::new(ONE_PART);
    write_half(&mut recorded, 30);
    assert_eq!(read(recorded.folder.path()), []);
}

proptest! {
    #[test]
    fn whatever_comes_however_cut_reads_as_text(
        pieces in prop::collection::vec(
            prop_oneof![
                prop::collection::vec(any::<u8>(), 0..12),
                "[\u{0}-\u{20}\"\\\\\u{7f}-\u{7ff}\u{4e2d}\u{1f600}]{0,6}".prop_map(String::into_bytes),
                prop::sample::select(vec![&b"\xe4"[..], b"\xb8", b"\xad", b"\xf0\x9f", b"\x98\x80", b"\xff"])
                    .prop_map(<[u8]>::to_vec),
            ],
            0..20,
        ),
    ) {
        let mut recorded = Recorded::new(ONE_PART);
        for piece in &pieces {
            recorded.recording.output(piece, &recorded.screen);
        }
        let parts = recorded.finish();
        let whole = pieces.concat();
        prop_assert_eq!(data(&parts[0].1[1..], "o"), String::from_utf8_lossy(&whole));
    }
}
