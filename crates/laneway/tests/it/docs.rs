//! What the README and the guides show is done here, in a world of its own for each file.
//!
//! * A `console` block has commands behind `$ ` and below each what it prints. `…` in a line stands for any text, `…`
//!   alone on a line for any lines, several blanks for one. A line that ends with `\` goes on with the next.
//! * A `sh` block has commands only.
//! * A `toml` block is a file of settings, which must be accepted. A block of any kind with a name behind the word is
//!   written as that file.
//! * `<!-- not run: WHY -->` on the line before a block leaves it out. Blocks of other kinds are only to be read.
//!
//! Commands follow each other as in one shell, in the repository. Each must end with 0, unless the next one is
//! `echo $?`. `lane attach` gets a window, and is left with the key that leaves.

use std::fs;
use std::path::{Path, PathBuf};

use laneway_testkit::TestEnvironment;
use laneway_testkit::process::finish;
use laneway_testkit::pty::Window;

use crate::environment;

/// A command of a document.
#[derive(Debug, PartialEq, Eq)]
struct Step {
    /// Where it stands, from 1.
    line: usize,
    command: String,
    /// What it prints; none where that is not shown.
    prints: Option<Vec<String>>,
}

/// A block of a document.
#[derive(Debug, PartialEq, Eq)]
enum Block {
    Steps(Vec<Step>),
    Settings(usize, String),
    /// A file with this name and content.
    File(String, String),
}

/// The blocks of a document that are to be run.
fn blocks(text: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut lines = (1..).zip(text.lines()).peekable();
    let mut is_left_out = false;
    while let Some((_, line)) = lines.next() {
        let Some(kind) = line.strip_prefix("```") else {
            is_left_out = line.strip_prefix("<!-- not run: ").is_some_and(|why| why.len() > " -->".len());
            continue;
        };
        let block: Vec<(usize, &str)> = lines.by_ref().take_while(|(_, line)| *line != "```").collect();
        let first = block.first().map_or(0, |(line, _)| *line);
        match kind {
            _ if is_left_out => {}
            "console" => blocks.push(Block::Steps(steps(&block, true))),
            "sh" => blocks.push(Block::Steps(steps(&block, false))),
            _ => {
                let text = block.iter().flat_map(|(_, line)| [line, "\n"]).collect();
                match kind.split_once(' ') {
                    Some((_, name)) => blocks.push(Block::File(name.to_owned(), text)),
                    None if kind == "toml" => blocks.push(Block::Settings(first, text)),
                    None => {}
                }
            }
        }
        is_left_out = false;
    }
    blocks
}

fn steps(block: &[(usize, &str)], with_output: bool) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut goes_on = false;
    for (line, text) in block {
        let command = if with_output { text.strip_prefix("$ ") } else { Some(*text) };
        match (steps.last_mut(), command) {
            (Some(step), _) if goes_on => {
                step.command.push('\n');
                step.command.push_str(text);
            }
            (_, Some(command)) => {
                let prints = with_output.then(Vec::new);
                steps.push(Step { line: *line, command: command.to_owned(), prints });
            }
            (Some(Step { prints: Some(prints), .. }), None) => prints.push((*text).to_owned()),
            (Some(Step { prints: None, .. }) | None, None) => panic!("line {line}: output of no command"),
        }
        goes_on = text.ends_with('\\');
    }
    steps.retain(|step| !step.command.trim().is_empty() && !step.command.starts_with('#'));
    steps
}

/// Whether lines are as a document shows them.
fn fits(shown: &[String], printed: &[&str]) -> bool {
    match shown.split_first() {
        None => printed.is_empty(),
        Some((first, rest)) if first.trim() == "…" => {
            (0..=printed.len()).any(|skipped| fits(rest, &printed[skipped..]))
        }
        Some((first, rest)) => {
            printed.split_first().is_some_and(|(line, printed)| line_fits(first, line) && fits(rest, printed))
        }
    }
}

/// With one blank for several between two words: columns are as wide as what stands in them.
fn narrow(line: &str) -> String {
    let words: Vec<&str> = line.split_whitespace().collect();
    let indented = &line[..line.len() - line.trim_start().len()];
    format!("{indented}{}", words.join(" "))
}

fn line_fits(shown: &str, printed: &str) -> bool {
    let (shown, printed) = (narrow(shown), narrow(printed));
    let Some((head, rest)) = shown.split_once('…') else { return shown == printed };
    let Some(mut left) = printed.strip_prefix(head) else { return false };
    let mut parts = rest.split('…').peekable();
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return left.ends_with(part);
        }
        let Some(at) = left.find(part) else { return false };
        left = &left[at + part.len()..];
    }
    true
}

/// The shell of a document: where it is, and how its last command ended.
struct Shell<'a> {
    world: &'a TestEnvironment,
    cwd: PathBuf,
    last_code: i32,
}

impl Shell<'_> {
    /// Runs a command; what it printed, on both streams.
    #[track_caller]
    fn run(&mut self, command: &str) -> String {
        if command.starts_with("lane attach ") {
            return self.attach(command);
        }
        let place = self.world.root().join("cwd");
        let script =
            r#"exec 2>&1; cd "$1" || exit; (exit "$2"); eval "$3"; code=$?; pwd > "$4"; exit "$code""#;
        let mut bash = self.world.program("bash");
        bash.args(["--norc", "-c", script, "bash"]).arg(&self.cwd).arg(self.last_code.to_string());
        let finished = finish(bash.arg(command).arg(&place), b"");
        self.cwd = PathBuf::from(fs::read_to_string(&place).unwrap().trim_end());
        self.last_code = finished.code;
        finished.out()
    }

    /// Attaches in a window, sees it filled, and leaves.
    #[track_caller]
    fn attach(&mut self, command: &str) -> String {
        let mut setsid = self.world.program("setsid");
        setsid.current_dir(&self.cwd);
        let mut window = Window::open(setsid, &["sh", "-c", command], 80, 24);
        window.wait_until("a terminal", Window::alternate_screen);
        window.press("\x1c");
        window.wait_until_left_with(0);
        let lines = window.all_lines();
        window.close();
        let mut lines: Vec<&str> =
            lines.iter().map(|line| line.trim_end()).filter(|line| !line.is_empty()).collect();
        lines.retain(|line| !line.starts_with("left with"));
        lines.join("\n")
    }
}

/// Does what a document shows.
#[track_caller]
fn holds(document: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(document);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{document}: {error}"));
    let world = environment();
    // What git asks of everybody; programs in lanes are not given the caller's `GIT_` variables.
    let identity = "[user]\n\tname = Test\n\temail = test@example.org\n";
    fs::write(world.root().join("user/.gitconfig"), identity).unwrap();
    let mut shell = Shell { world: &world, cwd: world.repository.clone(), last_code: 0 };
    let blocks = blocks(&text);
    assert!(!blocks.is_empty(), "{document} shows nothing");
    for block in blocks {
        match block {
            Block::File(name, text) => fs::write(shell.cwd.join(name), text).unwrap(),
            Block::Settings(line, settings) => accepts(&world, &settings, &format!("{document}:{line}")),
            Block::Steps(steps) => {
                for (step, next) in steps.iter().zip(steps.iter().skip(1).map(Some).chain([None])) {
                    let place = format!("{document}:{}: {}", step.line, step.command);
                    let printed = shell.run(&step.command);
                    let may_fail = next.is_some_and(|next| next.command == "echo $?");
                    assert!(
                        may_fail || shell.last_code == 0,
                        "{place}\nended with {}\n{printed}",
                        shell.last_code
                    );
                    let Some(shown) = &step.prints else { continue };
                    let lines: Vec<&str> = printed.lines().collect();
                    assert!(
                        fits(shown, &lines),
                        "{place}\n--- shown\n{}\n--- printed\n{printed}",
                        shown.join("\n")
                    );
                }
            }
        }
    }
}

#[track_caller]
fn accepts(world: &TestEnvironment, settings: &str, place: &str) {
    let home = world.root().join("settings");
    fs::create_dir_all(&home).unwrap();
    fs::write(home.join("config.toml"), settings).unwrap();
    let report = finish(world.lane_command(&["doctor", "--json"]).env("LANEWAY_HOME", &home), b"").json();
    let checks = report["checks"].as_array().unwrap();
    let settings = checks.iter().find(|check| check["name"] == "settings").unwrap();
    assert_eq!(settings["state"], "ok", "{place}: {settings}");
}

#[test]
fn the_readme_holds() {
    holds("README.md");
}

#[test]
fn the_guide_holds() {
    holds("docs/guide.md");
}

#[test]
fn what_is_said_of_terminals_holds() {
    holds("docs/terminals.md");
}

#[test]
fn what_is_said_of_setting_up_holds() {
    holds("docs/setup.md");
}

#[test]
fn what_is_said_of_restarts_holds() {
    holds("docs/supervision.md");
}

#[test]
fn what_is_said_of_channels_holds() {
    holds("docs/channels.md");
}

#[test]
fn what_is_said_of_programs_holds() {
    holds("docs/programs.md");
}

#[test]
fn what_the_page_about_the_api_shows_holds() {
    holds("docs/api.md");
}

#[test]
fn documents_are_read_as_they_are_meant() {
    let text = "text\n```console\n$ one \\\n  more\nout\n…\n$ two\n```\n<!-- not run: it is long -->\n```sh\nno\n```\n\
        ```sh\n# a remark\nthree   # why\n```\n```text\nno\n```\n```toml\nrecord = true\n```\n";
    let step = |line, command: &str, prints: Option<&[&str]>| Step {
        line,
        command: command.to_owned(),
        prints: prints.map(|lines| lines.iter().map(|line| (*line).to_owned()).collect()),
    };
    assert_eq!(
        blocks(text),
        [
            Block::Steps(vec![step(3, "one \\\n  more", Some(&["out", "…"])), step(7, "two", Some(&[]))]),
            Block::Steps(vec![step(15, "three   # why", None)]),
            Block::Settings(21, "record = true\n".to_owned()),
        ]
    );
    let shown = |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>();
    assert!(fits(&shown(&["a … c", "…", "z"]), &["a b c", "1", "2", "z  "]));
    assert!(fits(&shown(&["…"]), &[]));
    assert!(fits(&shown(&["…x…y"]), &["axbxcy"]));
    assert!(!fits(&shown(&["a…b"]), &["ab", "c"]));
    assert!(!fits(&shown(&["a…b"]), &["a"]));
    assert!(!fits(&[], &["a"]));
    assert!(fits(&shown(&["  a …    b"]), &["  a 1s b"]));
    assert!(!fits(&shown(&["  a"]), &["a"]));
}
