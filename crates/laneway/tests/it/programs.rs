//! Programs of every kind: what `lane read` and `lane attach` show of them is what other terminals show of the same
//! output.

use std::fs;

use laneway_testkit::pty::Window;
use laneway_testkit::{TestEnvironment, screen};

use crate::elsewhere::{COLUMNS, ROWS, assert_looks_the_same_elsewhere, is_installed, recorded, remark};
use crate::environment;

/// A program in a lane, with a window on it.
struct Session {
    // It is closed before its world ends.
    window: Window,
    world: TestEnvironment,
}

impl Session {
    /// Starts a program and waits until it shows something; only then somebody looks.
    #[track_caller]
    fn of(world: TestEnvironment, program: &[&str], shows: &str) -> Self {
        let run = world.start("a", program);
        screen::wait_until(&run, shows, |text| text.lines.iter().any(|line| line.contains(shows)));
        let mut window = world.window(&["attach", "a"], COLUMNS, ROWS);
        window.wait_until_like(&run);
        let mut session = Self { window, world };
        session.looks_right();
        session
    }

    /// A program in Python.
    #[track_caller]
    fn of_script(script: &str, shows: &str) -> Self {
        let world = environment();
        let path = world.root().join("program.py");
        fs::write(&path, script).unwrap();
        let path = path.to_str().unwrap().to_owned();
        Self::of(world, &["python3", &path], shows)
    }

    #[track_caller]
    fn looks_right(&mut self) {
        assert_looks_the_same_elsewhere(&self.world, "a", &mut self.window);
    }

    /// Presses keys, waits for what they bring, and sees that it looks right.
    #[track_caller]
    fn press(&mut self, keys: &str, brings: &str) {
        self.window.press(keys);
        self.window.wait_for(brings);
        self.looks_right();
    }

    /// Leaves, and comes again: what is seen now was never watched.
    #[track_caller]
    fn come_again(&mut self) {
        let modes = self.window.modes();
        self.window.press("\x1c");
        self.window.wait_until_left_with(0);
        self.window.assert_is_given_back();
        self.window = self.world.window(&["attach", "a"], COLUMNS, ROWS);
        self.looks_right();
        assert_eq!(self.window.modes(), modes, "keys and mouse are told as before");
    }

    /// Presses the keys that end the program.
    #[track_caller]
    fn end(mut self, keys: &str) {
        let id = self.world.worker("a")["id"].as_str().unwrap().to_owned();
        self.window.press(keys);
        self.window.wait_until_left_with(0);
        self.window.assert_is_given_back();
        assert_eq!(self.world.wait_for_exit(&id)["data"]["exit"]["code"], 0);
        assert_eq!(self.world.json(&["read", "a", "--screen"])["alternate_screen"], false);
    }
}

/// Puts lines into the file `notes.txt` of every lane to come.
#[track_caller]
fn with_notes(lines: impl Iterator<Item = String>) -> TestEnvironment {
    let world = environment();
    fs::write(world.repository.join("notes.txt"), lines.collect::<String>()).unwrap();
    world.git(&["add", "."]);
    world.git(&["commit", "--quiet", "--message", "notes"]);
    world
}

#[test]
fn vim() {
    let world = with_notes((1..=200).map(|n| format!("line {n}\tüber 漢字\n")));
    let mut session = Session::of(world, &["vim", "--clean", "notes.txt"], "line 1");
    session.press(":syntax on | set number hlsearch mouse=a ft=c\r/line 15\r", "15 line 15");
    session.press("Oint main() { return \"語\"; }", "-- INSERT --");
    session.come_again();
    session.press("\x1b:vsplit | normal G\r", "201 line 200");
    session.press(":echo 6*7\r", "42");
    session.press(":set list cursorline cursorcolumn laststatus=2 | redraw!\r", "[+]");
    session.end(":qall!\r");
}

#[test]
fn less() {
    let world = with_notes(
        (1..=300).map(|n| format!("\x1b[3{}mline {n}\x1b[0m \x08e\x08e {}\n", n % 8, "x".repeat(n))),
    );
    let mut session = Session::of(world, &["less", "-R", "notes.txt"], "line 10");
    session.press(" ", "line 30");
    session.press("/line 120\r", "line 120");
    session.come_again();
    session.press("-S\r", "line 121");
    session.press("G", "line 300");
    session.press("y", "line 277");
    session.end("q");
}

#[test]
fn git_log_in_its_pager() {
    let world = with_notes((1..=50).map(|n| format!("line {n}\n")));
    for number in 1..=30 {
        fs::write(world.repository.join("notes.txt"), format!("changed {number}\n")).unwrap();
        world.git(&["commit", "--quiet", "--all", "--message", &format!("change {number}: 漢字 und Grüße")]);
    }
    let program =
        ["git", "-c", "core.pager=less -RX", "-c", "color.ui=always", "log", "--graph", "--stat", "--patch"];
    let mut session = Session::of(world, &program, "change 30");
    session.press(" ", "change 28");
    session.come_again();
    session.press("/change 2:\r", "change 2:");
    session.end("q");
}

#[test]
fn python() {
    let mut session = Session::of(environment(), &["python3", "-q"], ">>>");
    session.press("print('ä' * 3 + '漢')\r", "äää漢");
    session.press("for n in range(40): print(n, 'x' * n * 3)\r\r", "39 xxx");
    session.come_again();
    session.press("1 / 0\r", "ZeroDivisionError");
    session.press("'left' + \x1b[D\x1b[D\x1b[Dabc\x01\x0b", ">>>");
    session.press("print('\\x1b[1;31mred\\x1b[m')\r", "red");
    session.end("\x04");
}

#[test]
fn node() {
    if !is_installed("node") {
        remark("node is not installed: its prompt is not tested");
        return;
    }
    let world = environment();
    let mut session = Session::of(world, &["node"], ">");
    session.press("const answer = 6 * 7\r", "undefined");
    session.press("answ", "answer");
    session.come_again();
    session.press("er\r", "42");
    session.press("[1, 'ä漢', {a: null}]\r", "a: null");
    session.press("function f() {\r", "...");
    session.press("return 1 }\rf(", ")");
    session.end("\x03\x04");
}

#[test]
fn a_table_of_processes() {
    let program = if is_installed("htop") { "htop" } else { "top" };
    if !is_installed(program) {
        remark("neither htop nor top is installed: no table of processes is tested");
        return;
    }
    let mut session = Session::of(environment(), &[program], "PID");
    session.press("h", "Help");
    session.come_again();
    session.press("q", "PID");
    session.end("q");
}

/// Colours, boxes, pads, regions that scroll, lines and characters inserted and deleted, wide characters.
const CURSES: &str = r"
import curses, locale
locale.setlocale(locale.LC_ALL, '')

def draw(screen):
    curses.curs_set(0)
    curses.start_color()
    curses.use_default_colors()
    curses.mousemask(curses.ALL_MOUSE_EVENTS)
    for number in range(1, min(curses.COLORS, 256)):
        curses.init_pair(number, number, -1 if number % 2 else number // 2)
    for number in range(1, 200):
        screen.addstr(number // 40, number % 40 * 2, '%02x' % number, curses.color_pair(number))
    screen.addstr(6, 0, 'bold', curses.A_BOLD)
    screen.addstr(6, 10, 'blink', curses.A_BLINK)
    screen.addstr(6, 20, 'reverse 漢字 e\u0301', curses.A_REVERSE | curses.A_UNDERLINE)
    screen.refresh()
    window = curses.newwin(10, 40, 8, 20)
    window.box()
    window.hline(5, 1, curses.ACS_DIAMOND, 38)
    window.refresh()
    scrolling = curses.newwin(8, 36, 9, 22)
    scrolling.scrollok(True)
    scrolling.idlok(True)
    number = 0
    while True:
        key = screen.getch()
        if key == ord('q'):
            return
        if key == curses.KEY_MOUSE:
            _, column, row, _, state = curses.getmouse()
            scrolling.addstr('clicked %d %d\n' % (column, row))
        elif key == ord('s'):
            for _ in range(12):
                number += 1
                scrolling.addstr('line %d 漢\n' % number)
        elif key == ord('d'):
            scrolling.move(1, 0)
            scrolling.deleteln()
            scrolling.insertln()
            scrolling.insstr('inserted %d ' % number)
            scrolling.delch()
        elif key == ord('f'):
            screen.bkgd(' ', curses.color_pair(44))
            screen.refresh()
        scrolling.addstr(7, 0, 'after %s' % curses.keyname(key).decode())
        scrolling.refresh()

curses.wrapper(draw)
";

#[test]
fn a_program_of_curses() {
    let mut session = Session::of_script(CURSES, "reverse");
    session.press("s", "after s");
    session.press("d", "after d");
    session.come_again();
    session.press("\x1b[<0;10;20M\x1b[<0;10;20m", "clicked 9 19");
    session.press("f", "after f");
    session.press("s", "after s");
    session.end("q");
}

#[test]
fn a_footer_pinned_by_a_scroll_region() {
    let script = r"
import sys, tty, termios
tty.setcbreak(0, termios.TCSANOW)
say = lambda text: (sys.stdout.write(text), sys.stdout.flush())
say('first\n\x1b[1;22r\x1b[23;1H\x1b[7m footer \x1b[m\x1b[K\r\n\x1b[2mof two rows\x1b[m\x1b[2;1H')
for number in range(1, 201):
    say('line %d\n' % number)
    if number % 50 == 0:
        say('\x1b7\x1b[23;20H\x1b[1m%d %%\x1b[m\x1b8' % (number // 2))
say('\x1b[20Atop\x1b[20B\rready')
sys.stdin.read(1)
say('\x1b[r\x1b[22;1H\x1b[J')
";
    let mut session = Session::of_script(script, "ready");
    session.come_again();
    let all = session.world.json(&["read", "a", "--all"]);
    let all: Vec<&str> = all["lines"].as_array().unwrap().iter().map(|line| line.as_str().unwrap()).collect();
    let numbered: Vec<&str> = all.iter().copied().filter(|line| line.starts_with("line ")).collect();
    // The word `top` stands over the second of the 21 lines above `ready`.
    let mut expected: Vec<String> = (1..=200).map(|number| format!("line {number}")).collect();
    let over = expected.iter().position(|line| !numbered.contains(&line.as_str())).unwrap();
    assert_eq!(over, 200 - 21 + 1);
    expected.remove(over);
    assert_eq!(numbered, expected, "every line is there once");
    assert_eq!(all[0], "first");
    assert!(all.iter().any(|line| line.starts_with(" footer") && line.contains("100 %")), "{all:?}");
    session.end("x");
}

/// Reads answers and keys as they come. `ask` waits for the answer to a question whose end it knows.
const TALKING: &str = r"
import os, sys, tty, termios
before = termios.tcgetattr(0)
tty.setraw(0, termios.TCSANOW)
say = lambda text: os.write(1, text.encode())
def ask(question, end):
    say(question)
    answer = b''
    while not answer.endswith(end.encode()):
        answer += os.read(0, 1)
    return answer.decode()
def shown(text):
    return text.replace('\x1b', 'ESC')
def leave():
    termios.tcsetattr(0, termios.TCSANOW, before)
";

#[test]
fn a_program_that_uses_the_kitty_keyboard_protocol() {
    let script = TALKING.to_owned()
        + r"
say('before ' + shown(ask('\x1b[?u', 'u')) + '\r\n\x1b[>1u')
say('after ' + shown(ask('\x1b[?u', 'u')) + '\r\n')
for number in range(3):
    key = ask('', 'u')
    say('key %d %s\r\n' % (number, shown(key)))
say('\x1b[>31u\x1b[=8;3u')
say(shown(ask('\x1b[?u', 'u')) + '\x1b[<2u\r\n')
say('at last ' + shown(ask('\x1b[?u', 'u')) + '\r\n')
os.read(0, 1)
leave()
";
    let mut session = Session::of_script(&script, "after ESC[?1u");
    assert!(session.window.shows("before ESC[?0u"), "{:?}", session.window.rows());
    assert_eq!(session.window.modes().keyboard, 1);
    session.press("\x1b[97;5u", "key 0 ESC[97;5u");
    session.come_again();
    session.press("\x1b[27u", "key 1 ESC[27u");
    session.press("\x1b[57358;2u", "at last ESC[?0u");
    assert!(
        session.window.rows().iter().any(|row| row.starts_with("ESC[?23u")),
        "{:?}",
        session.window.rows()
    );
    session.end("x");
}

#[test]
fn a_program_that_uses_the_mouse() {
    let script = TALKING.to_owned()
        + r"
say('\x1b[?1000h\x1b[?1002h\x1b[?1006h\x1b[?1004hready\r\n')
for number in range(3):
    event = ask('', 'M' if number < 2 else 'O')
    say('event %d %s\r\n' % (number, shown(event)))
say('\x1b[?1000l\x1b[?1002l\x1b[?1006l\x1b[?1004lover\r\n')
os.read(0, 1)
leave()
";
    let mut session = Session::of_script(&script, "ready");
    session.press("\x1b[<0;5;6M", "event 0 ESC[<0;5;6M");
    session.come_again();
    assert!(session.window.modes().mouse_sgr && session.window.modes().focus_reporting);
    session.press("\x1b[<32;7;6M", "event 1 ESC[<32;7;6M");
    session.press("\x1b[O", "over");
    assert!(!session.window.modes().mouse_sgr && !session.window.modes().focus_reporting);
    session.end("x");
}

#[test]
fn a_program_that_shows_links_and_titles() {
    let script = TALKING.to_owned()
        + r"
address = 'https://example.org/' + 'a;b/' * 30
say('\x1b]0;first\x07\x1b[22;0t\x1b]2;second: 漢字\x1b\\')
say('\x1b]8;id=one;%s\x1b\\link\x1b]8;;\x1b\\ \x1b]8;;file:///etc/hosts\x07' % address)
say('\x1b[4:3;58:2::255:0:0munnamed' + 'x' * 80 + '\x1b[m\x1b]8;;\x07\r\nready\r\n')
os.read(0, 1)
say('\x1b[23;0tpopped\r\n')
os.read(0, 1)
leave()
";
    let mut session = Session::of_script(&script, "ready");
    let view = session.world.json(&["read", "a", "--ansi"]);
    assert_eq!(view["title"], "second: 漢字");
    let line = view["lines"][0].as_str().unwrap();
    let address = format!("https://example.org/{}", "a;b/".repeat(30));
    assert!(line.starts_with(&format!("\x1b]8;id=one;{address}\x1b\\link\x1b]8;;\x1b\\ ")), "{line:?}");
    assert!(
        line.contains(";file:///etc/hosts\x1b\\") && line.contains("4:3") && line.contains("58:2::255:0:0")
    );
    session.come_again();
    session.press("x", "popped");
    assert_eq!(session.world.json(&["read", "a"])["title"], "first");
    session.end("x");
}

#[test]
fn a_program_that_draws_in_synchronised_updates() {
    let script = TALKING.to_owned()
        + r"
answer = ask('\x1b[?2026$p', 'y')
for number in range(100):
    say('\x1b[?2026h\x1b[H\x1b[2J\x1b[3;5Hframe %d\x1b[5;5H%s\x1b[?2026l' % (number, shown(answer)))
say('\x1b[?2026h\x1b[7;5Hnever ended')
os.read(0, 1)
say('\x1b[9;5Hand on')
os.read(0, 1)
leave()
";
    let mut session = Session::of_script(&script, "never ended");
    assert!(session.window.shows("    ESC[?2026;2$y"), "{:?}", session.window.rows());
    session.come_again();
    session.press("x", "and on");
    session.end("x");
}

/// What programs ask when they start, and the answers of a terminal of 80 by 24: vim, neovim, fish, tmux, helix and
/// others that draw.
const QUESTIONS: [(&str, &str); 34] = [
    // vim: version, keyboard, cursor, colours, the width of what is ambiguous.
    ("\x1b[>c", "\x1b[>0;10;0c"),
    ("\x1b[?4m", "\x1b[>4;0m"),
    ("\x1b[?12$p", "\x1b[?12;2$y"),
    ("\x1bP$q q\x1b\\", "\x1bP1$r2 q\x1b\\"),
    ("\x1b]10;?\x07", "\x1b]10;rgb:e5e5/e5e5/e5e5\x07"),
    ("\x1b]11;?\x07", "\x1b]11;rgb:0000/0000/0000\x07"),
    ("\x1b[2;1H\u{25bd}\x1b[6n", "\x1b[2;2R"),
    ("\x1bP+q436f\x1b\\", "\x1bP1+r436f=323536\x1b\\"),
    // neovim: modes, the look, the clipboard, true colour, light or dark.
    ("\x1b[?u", "\x1b[?0u"),
    ("\x1b[?69$p", "\x1b[?69;0$y"),
    ("\x1b[?2026$p", "\x1b[?2026;2$y"),
    ("\x1b[?2027$p", "\x1b[?2027;0$y"),
    ("\x1b[?2031$p", "\x1b[?2031;0$y"),
    ("\x1b[?2048$p", "\x1b[?2048;0$y"),
    ("\x1bP$qm\x1b\\", "\x1bP1$r0m\x1b\\"),
    ("\x1bP+q4d73\x1b\\", "\x1bP0+r4d73\x1b\\"),
    ("\x1bP+q524742\x1b\\", "\x1bP1+r524742=38\x1b\\"),
    ("\x1bP+q736574726762\x1b\\", "\x1bP0+r736574726762\x1b\\"),
    ("\x1b[?996n", "\x1b[?997;1n"),
    ("\x1b]11;?\x1b\\", "\x1b]11;rgb:0000/0000/0000\x1b\\"),
    // fish.
    ("\x1b[>0q", concat!("\x1bP>|laneway(", env!("CARGO_PKG_VERSION"), ")\x1b\\")),
    ("\x1bP+q696e646e\x1b\\", "\x1bP0+r696e646e\x1b\\"),
    ("\x1b[0c", "\x1b[?62;22c"),
    // tmux and others.
    ("\x1b[c", "\x1b[?62;22c"),
    ("\x1b[=c", "\x1bP!|4C414E45\x1b\\"),
    ("\x1b]12;?\x07", "\x1b]12;rgb:e5e5/e5e5/e5e5\x07"),
    ("\x1b]4;1;?\x07", "\x1b]4;1;rgb:cdcd/0000/0000\x07"),
    ("\x1b[14t", "\x1b[4;480;800t"),
    ("\x1b[16t", "\x1b[6;20;10t"),
    ("\x1b[18t", "\x1b[8;24;80t"),
    ("\x1b[?1;1;0S", "\x1b[?1;3;0S"),
    ("\x1b[?6n", "\x1b[?2;2R"),
    ("\x1b_Gi=31,s=1,v=1,a=q,t=d,f=24;AAAA\x1b\\", ""),
    // The last one.
    ("\x1b[5n", "\x1b[0n"),
];

#[test]
fn what_programs_ask_is_answered_once_whoever_looks_on() {
    let questions: String = QUESTIONS.iter().map(|(question, _)| *question).collect();
    let answers: String = QUESTIONS.iter().map(|(_, answer)| *answer).collect();
    let script = TALKING.to_owned()
        + &format!("questions = bytes.fromhex('{}').decode()\n", hexadecimal(&questions))
        + r"
for round in range(4):
    answer = ask(questions, '\x1b[0n')
    with open('round-%d' % round, 'w', newline='') as file:
        file.write(answer)
    say('\x1b[2J\x1b[Hround %d\r\n' % round)
    assert os.read(0, 1) == b'x'
leave()
";
    let world = environment();
    let path = world.root().join("program.py");
    fs::write(&path, script).unwrap();
    // With nobody there; then with one who types, with one more who looks on, and with nobody again.
    let run = world.start("a", &["python3", path.to_str().unwrap()]);
    let shows = |round: usize| {
        let shown = format!("round {round}");
        screen::wait_for_line(&run, &shown);
        let got = fs::read_to_string(world.worktree("a").join(format!("round-{round}"))).unwrap();
        assert_eq!(got.replace('\x1b', "ESC"), answers.replace('\x1b', "ESC"), "{shown}");
    };
    shows(0);
    let mut driver = world.window(&["attach", "a"], COLUMNS, ROWS);
    driver.wait_until_like(&run);
    driver.press("x");
    shows(1);
    let mut observer = world.window(&["attach", "a", "--observe"], COLUMNS, ROWS);
    observer.wait_until_like(&run);
    driver.press("x");
    shows(2);
    driver.wait_until_like(&run);
    observer.close();
    driver.close();
    world.lane(&["send", "a", "x"]).ok();
    shows(3);
    // A window is a terminal that answers: had it seen a question, this would not be the first thing to be read.
    let id = world.worker("a")["id"].as_str().unwrap().to_owned();
    world.lane(&["send", "a", "x"]).ok();
    assert_eq!(world.wait_for_exit(&id)["data"]["exit"]["code"], 0);
}

fn hexadecimal(text: &str) -> String {
    text.bytes().fold(String::new(), |digits, byte| digits + &format!("{byte:02x}"))
}

#[test]
fn a_program_that_sends_images() {
    let script = TALKING.to_owned()
        + r"
say('before\x1bPq#0;2;0;0;0#0' + '~' * 20000 + '-\x1b\\after\r\n')
say('\x1b_Gf=100,a=T;' + 'A' * 20000 + '\x1b\\\x1b]1337;File=inline=1:' + 'A' * 20000 + '\x07ready\r\n')
os.read(0, 1)
leave()
";
    // Not compared to tmux, which may be one that draws images: then the cursor goes elsewhere.
    let world = environment();
    let path = world.root().join("program.py");
    fs::write(&path, script).unwrap();
    let run = world.start("a", &["python3", path.to_str().unwrap()]);
    screen::wait_for_line(&run, "ready");
    let mut window = world.window(&["attach", "a"], COLUMNS, ROWS);
    window.wait_until_like(&run);
    assert!(window.shows("beforeafter"), "{:?}", window.rows());
    let bytes = recorded(&world, "a").bytes;
    let has = |part: &str| bytes.windows(part.len()).any(|window| window == part.as_bytes());
    assert!(
        has(&format!("\x1bPq#0;2;0;0;0#0{}-\x1b\\after", "~".repeat(20_000))),
        "the image goes by as it is"
    );
    assert!(has(&format!("\x1b_Gf=100,a=T;{}\x1b\\\x1b]1337;", "A".repeat(20_000))));
}
