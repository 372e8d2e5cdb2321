//! Output that is made to do harm: the holder, its answers and its viewers live on, and it costs no memory that plain
//! text would not cost.

use std::fs;

use laneway_testkit::screen;

use crate::environment;
use crate::terminals::holder_of;

/// Bytes of memory that all of it may take over what plain text takes: links of a whole screen, and room.
const MORE_THAN_PLAIN: u64 = 12 << 20;

/// Writes one flood after the other, each when it is told to.
const FLOODS: &str = r"
import os, tty, termios
before = termios.tcgetattr(0)
tty.setraw(0, termios.TCSANOW)
letters = '@ABCDEFGHIJKLMPSTXZ`abdefghlmrst'
floods = [
    ('plain', 'the quick brown fox jumps over the lazy dog\r\n' * 100_000),
    ('a title without end', '\x1b]0;' + 'x' * (3 << 19)),
    ('a clipboard without end', '\x1b]52;c;' + 'QUFB' * (1 << 19)),
    ('an image without end', '\x1bPq' + '#0~' * (1 << 19)),
    ('a command without end', '\x1b_G' + 'A' * (3 << 19)),
    ('a control sequence without end', '\x1b[' + '1;' * (1 << 19)),
    ('long titles', ('\x1b]2;' + 't' * 100_000 + '\x07') * 10),
    ('stacked titles', ('\x1b]2;' + 't' * 1000 + '\x07\x1b[22t') * 2000),
    ('links', ''.join('\x1b]8;;%d%s\x07x' % (n, 'a' * 4000) for n in range(1000))),
    ('combining characters', 'e' + '\u0301' * 300_000),
    ('repeats', 'x\x1b[65535b' * 100),
    ('repeats of wide characters', '\u8a9e\x1b[65535b' * 50),
    ('keyboard flags', '\x1b[>31u' * 50_000),
    ('modes', ''.join('\x1b[?%dh' % n for n in range(3000, 60_000))),
    ('an update without end', '\x1b[?2026h' + 'text\r\n' * 50_000),
    ('wide characters at the margin', '\x1b[999G\u8a9e' * 20_000),
    ('large numbers', ''.join('\x1b[99999%s\x1b[99999;99999%s' % (n, n) for n in letters) * 100),
    ('alignment patterns', '\x1b#8\x1b[2J' * 500),
    ('screens', '\x1b[?1049h\x1b[?1049l' * 5000),
    ('colours', ''.join('\x1b]4;%d;#102030\x07\x1b]11;#%06x\x07' % (n % 256, n) for n in range(20_000))),
    ('no characters', None),
    ('questions', '\x1b[6n\x1b[c\x1b]4;1;?\x07\x1bP+q544e\x1b\\' * 10_000),
]
for number, (name, text) in enumerate(floods):
    flood = bytes(range(128, 256)) * 4000 if text is None else text.encode()
    while flood:
        flood = flood[os.write(1, flood):]
    os.write(1, ('\x18\x1b\\\x1bcover %d: %s\r\n' % (number, name)).encode())
    # Answers may come first.
    while os.read(0, 1) != b'!':
        pass
termios.tcsetattr(0, termios.TCSANOW, before)
";

/// The most memory that a process ever had, in bytes.
fn peak_memory(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
}

#[test]
fn hostile_output_costs_no_more_memory_than_plain_text_and_harms_nobody() {
    let world = environment();
    let path = world.root().join("floods.py");
    fs::write(&path, FLOODS).unwrap();
    let run = world.start("a", &["python3", path.to_str().unwrap()]);
    let holder = holder_of(&world, &run).unwrap();
    let n_floods = FLOODS.matches("\n    ('").count();
    let mut plain = 0;
    for number in 0..n_floods {
        let starts = format!("over {number}: ");
        let text = screen::wait_until(&run, &starts, |text| text.lines[0].starts_with(&starts));
        assert_eq!(text.title, None, "after {}", text.lines[0]);
        let peak = peak_memory(holder);
        match number {
            0 => plain = peak,
            _ => assert!(peak < plain + MORE_THAN_PLAIN, "{}: {peak} bytes, {plain} before", text.lines[0]),
        }
        if number + 1 == n_floods {
            // Whoever comes now sees what is there.
            let mut window = world.window(&["attach", "a"], 80, 24);
            window.wait_until_like(&run);
            window.press("\x1c");
            window.wait_until_left_with(0);
        }
        world.lane(&["send", "a", "!"]).ok();
    }
    let id = world.worker("a")["id"].as_str().unwrap().to_owned();
    assert_eq!(world.wait_for_exit(&id)["data"]["exit"]["code"], 0);
}
