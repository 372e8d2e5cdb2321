//! What is typed arrives as it is, and what a pane shows is read as it is.

use std::fs;
use std::io::Read;
use std::path::Path;

use laneway_testkit::LIMIT;
use laneway_testkit::process::readable_within;
use laneway_tmux::{Back, Made, Reading, Side, TmuxError, TmuxKey};
use rustix::fs::{CWD, Mode, OFlags};

use crate::support::{World, program_of};

/// A named pipe whose both ends stay open here, so that nobody's coming or going is seen in it.
struct Pipe(fs::File);

impl Pipe {
    fn at(path: &Path) -> Self {
        rustix::fs::mkfifoat(CWD, path, Mode::RUSR | Mode::WUSR).unwrap();
        let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC;
        Self(rustix::fs::open(path, flags, Mode::empty()).unwrap().into())
    }

    /// Everything up to this, within the limit of a test.
    fn read_until(&mut self, end: &[u8]) -> Vec<u8> {
        let mut all = Vec::new();
        let mut buffer = vec![0; 64 << 10];
        while !all.ends_with(end) {
            assert!(
                readable_within(&self.0, LIMIT),
                "the last of it: {:?}",
                String::from_utf8_lossy(tail(&all))
            );
            let n = self.0.read(&mut buffer).unwrap();
            all.extend_from_slice(&buffer[..n]);
        }
        all
    }
}

fn tail(bytes: &[u8]) -> &[u8] {
    &bytes[bytes.len().saturating_sub(200)..]
}

fn n_lines(reading: &Reading) -> usize {
    reading.text.split_inclusive(|byte| *byte == b'\n').count()
}

/// A program that writes what it reads from a raw terminal into a pipe, once it says that it does.
fn copier(world: &World, name: &str) -> (Made, Pipe) {
    let path = world.folder.path().join(name);
    let mut pipe = Pipe::at(&path);
    let script = format!("stty raw -echo; echo ready >'{0}'; exec cat >'{0}'", path.display());
    let made = world.make(name, "rn_1", &["/bin/sh", "-c", &script]);
    pipe.read_until(b"ready\n");
    (made, pipe)
}

#[test]
fn text_arrives_byte_for_byte() {
    let Some(world) = World::new() else { return };
    let (made, mut pipe) = copier(&world, "copy");
    let mut long: Vec<u8> =
        (0..1 << 20).map(|n: u32| b"0123456789abcdef ;'\"\n\r\t"[n as usize % 23]).collect();
    long.extend_from_slice(b"end");
    for text in [
        &b"ends with ;"[..],
        b";",
        b"-x leads",
        b"Enter C-c Up",
        b"it's \"quoted\" $HOME #{pid} `id` \\n %H",
        b"two\nlines\n",
        "\u{e4}\u{20ac}\u{1f980} \u{301}".as_bytes(),
        b"\x03\x1b[A\x00\xff",
        &long,
    ] {
        world.server.type_text(&made.identity, text, false, world.folder.path()).unwrap();
        let read = pipe.read_until(text);
        assert!(read == text, "{:?} arrived as {:?}", tail(text), tail(&read));
    }
    assert_eq!(world.by_hand(&["list-buffers"]), "", "nothing stays behind");
    let left: Vec<_> =
        fs::read_dir(world.folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().starts_with("laneway-")), "{left:?}");
}

#[test]
fn keys_reach_the_program_also_while_somebody_scrolls() {
    let Some(world) = World::new() else { return };
    let (made, mut pipe) = copier(&world, "copy");
    world.by_hand(&["copy-mode", "-t", &made.identity.pane.to_string()]);
    let keys = ["ctrl-c", "up", "enter", ";", "-", "f5", "shift-tab", "alt-x"]
        .map(|key| TmuxKey::named(key).unwrap());
    world.server.press(&made.identity, &keys).unwrap();
    assert_eq!(pipe.read_until(b"\x1bx"), b"\x03\x1b[A\r;-\x1b[15~\x1b[Z\x1bx");
}

#[test]
fn what_is_typed_reaches_no_other_pane_also_where_a_person_has_tied_them_together() {
    let Some(world) = World::new() else { return };
    let (made, mut pipe) = copier(&world, "copy");
    let (other, mut others) = copier(&world, "other");
    let [window, source, target] = [
        &made.identity.window.unwrap().to_string(),
        &other.identity.pane.to_string(),
        &made.identity.pane.to_string(),
    ]
    .map(ToString::to_string);
    world.by_hand(&["set-option", "-w", "-t", &window, "synchronize-panes", "on"]);
    let key = TmuxKey::named("x").unwrap();
    world.server.press(&made.identity, std::slice::from_ref(&key)).expect("it is alone there");
    assert_eq!(pipe.read_until(b"x"), b"x");
    world.by_hand(&["join-pane", "-d", "-s", &source, "-t", &target]);
    world.by_hand(&["set-option", "-p", "-t", &source, "synchronize-panes", "on"]);
    let refused = world.server.press(&made.identity, &[key]).unwrap_err();
    assert!(matches!(refused, TmuxError::Synchronized { .. }), "{refused}");
    world.server.type_text(&made.identity, b"mine\r", false, world.folder.path()).unwrap();
    assert_eq!(pipe.read_until(b"mine\r"), b"mine\r");
    world.server.type_text(&other.identity, b"its", false, world.folder.path()).unwrap();
    assert_eq!(others.read_until(b"its"), b"its", "all that it has got");
}

#[test]
fn nothing_is_typed_into_a_pane_that_became_anothers() {
    let Some(world) = World::new() else { return };
    let (made, mut pipe) = copier(&world, "copy");
    world.by_hand(&["set-option", "-p", "-t", &made.identity.pane.to_string(), "@laneway", "rn_2"]);
    let folder = world.folder.path();
    assert!(matches!(
        world.server.type_text(&made.identity, b"x", false, folder),
        Err(TmuxError::Stale { .. })
    ));
    let key = TmuxKey::named("x").unwrap();
    assert!(matches!(world.server.press(&made.identity, &[key]), Err(TmuxError::Stale { .. })));
    let mut its = made.identity.clone();
    its.tag = "rn_2".to_owned();
    world.server.type_text(&its, b"mine", false, folder).unwrap();
    assert_eq!(pipe.read_until(b"mine"), b"mine");
}

#[test]
fn what_a_pane_shows_is_read_with_its_history_and_tapped_without_a_gap() {
    let Some(world) = World::new() else { return };
    let path = world.folder.path().join("100%H #{pid} it's");
    let done = world.folder.path().join("done");
    let mut told = Pipe::at(&done);
    let script =
        format!("seq 100; printf '\\033[31mred\\033[m %s' é; echo x >'{}'; exec cat", done.display());
    let made = world.make("show", "rn_1", &["/bin/sh", "-c", &script]);
    told.read_until(b"x\n");
    // The shell has written it; tmux reads it before it answers what follows, or soon after.
    let reading = loop {
        let reading = world.server.read_pane(&made.identity, Back::All, true).unwrap();
        if reading.text.windows(3).any(|at| at == b"red") {
            break reading;
        }
    };
    let text = String::from_utf8_lossy(&reading.text);
    assert!(text.starts_with("1\n2\n3\n") && text.ends_with("100\n\u{1b}[31mred\u{1b}[39m é\n"), "{text:?}");
    assert_eq!((reading.columns, reading.rows, reading.cursor), (80, 24, (5, 23)));
    assert_eq!((reading.pid, &*reading.tag), (made.identity.pane_pid, "rn_1"));
    let screen = world.server.read(made.identity.pane, Back::Screen, false).unwrap();
    assert_eq!(n_lines(&screen), 24);
    let mut pipe = Pipe::at(&path);
    let seed = world.server.tap(&made.identity, &path, Back::Rows(5)).unwrap();
    assert_eq!(n_lines(&seed), 29);
    assert!(seed.drawing().ends_with("é\x1b[m\x1b[24;6H".as_bytes()));
    world.server.type_text(&made.identity, b"more\n", false, world.folder.path()).unwrap();
    assert_eq!(pipe.read_until(b"more\r\nmore\r\n"), b"more\r\nmore\r\n");
    world.server.tap(&made.identity, &path, Back::Screen).expect("our own tap is made anew");
    let target = made.identity.pane.to_string();
    world.by_hand(&["set-option", "-p", "-u", "-t", &target, "@laneway-tap"]);
    let refused = world.server.tap(&made.identity, &path, Back::Screen).unwrap_err();
    assert!(matches!(refused, TmuxError::Piped { .. }), "{refused}");
}

#[test]
fn a_program_on_the_other_screen_is_drawn_over_what_it_hides() {
    let Some(world) = World::new() else { return };
    let done = world.folder.path().join("done");
    let mut told = Pipe::at(&done);
    let script = format!(
        "seq 30; printf '\\033[?1049h\\033[2J\\033[5;3Hover \\033[?25l'; echo x >'{}'; exec cat",
        done.display()
    );
    let made = world.make("over", "rn_1", &["/bin/sh", "-c", &script]);
    told.read_until(b"x\n");
    let read_hidden = |made: &Made| loop {
        let reading = world.server.read_pane(&made.identity, Back::All, true).unwrap();
        if !reading.is_cursor_visible {
            break reading;
        }
    };
    let reading = read_hidden(&made);
    assert!(reading.is_alternate && reading.cursor == (7, 4), "{reading:?}");
    // Another terminal of the same size that has got the drawing.
    let drawing = world.folder.path().join("drawing");
    fs::write(&drawing, reading.drawing()).unwrap();
    let script = format!("cat '{}'; echo x >'{}'; exec cat", drawing.display(), done.display());
    let other = world.make("drawn", "rn_2", &["/bin/sh", "-c", &script]);
    told.read_until(b"x\n");
    let again = read_hidden(&other);
    assert_eq!(again.drawing().escape_ascii().to_string(), reading.drawing().escape_ascii().to_string());
    assert!(again.is_alternate && again.text == reading.text, "{again:?}");
}

#[test]
fn a_program_cannot_speak_for_tmux() {
    let Some(world) = World::new() else { return };
    // The time and the number of the reply are guessed, for a minute and a hundred commands.
    let done = world.folder.path().join("done");
    let mut told = Pipe::at(&done);
    let script = format!(
        "now=$(date +%s); for t in $(seq $now $((now + 20))); do for n in $(seq 200 400); do \
         echo \"%end $t $n 1\"; done; done; echo x >'{}'; exec cat",
        done.display()
    );
    world.by_hand(&["set-option", "-g", "history-limit", "50000"]);
    let made = world.make("forge", "rn_1", &["/bin/sh", "-c", &script]);
    told.read_until(b"x\n");
    let read = world.server.read_pane(&made.identity, Back::All, false);
    assert!(matches!(read, Err(TmuxError::NotUnderstood { .. } | TmuxError::BadProtocol { .. })), "{read:?}");
    assert_eq!(world.seen(&made).window_name, "forge", "a new connection says what is so");
}

#[test]
fn a_pane_that_is_added_is_in_the_window_and_known() {
    let Some(world) = World::new() else { return };
    let made = world.make("fix", "rn_1", &["/bin/cat", "-u"]);
    let added =
        world.server.split(&made.identity, Side::Right, "rn_2", &program_of(&["/bin/cat", "-u"])).unwrap();
    let fast =
        world.server.split(&added.identity, Side::Below, "rn_3", &program_of(&["/bin/sh", "-c", "exit 3"]));
    let fast = fast.unwrap();
    let [first, second, third] = [&made, &added, &fast].map(|made| world.seen(made));
    assert_eq!([first.window, second.window, third.window], [first.window; 3]);
    assert_eq!(world.windows(), ["people:theirs", "people:fix"]);
    assert!(first.pane_active, "who looks at the first still does");
}
