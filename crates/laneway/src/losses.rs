//! Work that a close would lose, as a list for people, and the commands that bring it to safety.

use std::fmt::Write;

use laneway_core::findings::{CommitLine, Listed, Losses};
use laneway_core::os_text::OsText;

use crate::text::{byte_count, user_name};

/// The stable word of the refusal that carries [`Losses`].
pub(crate) const CODE: &str = "would_lose_work";

/// How many characters of a commit's id are shown.
const SHORT_COMMIT: usize = 10;

/// The list, one line each, indented; it says how many there are where not all are listed.
pub(crate) fn list(losses: &Losses) -> String {
    let mut text = String::new();
    let files = |text: &mut String, label: &str, listed: &Listed<OsText>| {
        add(text, label, listed.count, listed.first.iter().map(OsText::shown));
    };
    files(&mut text, "changed", &losses.changed);
    files(&mut text, "untracked", &losses.untracked);
    files(&mut text, "ignored", &losses.ignored);
    let large = losses.large.first.iter();
    let large = large.map(|file| format!("{} ({})", file.path.shown(), byte_count(file.bytes)));
    add(&mut text, "large", losses.large.count, large);
    files(&mut text, "submodules", &losses.submodules);
    add(&mut text, "commits", losses.commits.count, losses.commits.first.iter().map(commit));
    if let Some(operation) = &losses.operation {
        add(&mut text, "unfinished", 1, std::iter::once(operation.clone()));
    }
    let programs = losses.processes.first.iter();
    let programs =
        programs.map(|line| format!("{} {}", line.pid, OsText::from(line.command.as_str()).shown()));
    add(&mut text, "programs", losses.processes.count, programs);
    let users = losses.attachments.first.iter();
    let users = users
        .map(|user| format!("{} ({} until {})", user_name(&user.who, user.worker), user.role, user.until));
    add(&mut text, "used by", losses.attachments.count, users);
    if let Some(why) = &losses.not_looked_at {
        add(&mut text, "not seen", 1, std::iter::once(OsText::from(why.as_str()).shown()));
    }
    text
}

/// Commands that help, for the lane that was to be closed.
pub(crate) fn commands(losses: &Losses, lane: &str) -> Vec<String> {
    let mut commands = Vec::new();
    if let Some(operation) = &losses.operation {
        commands.push(format!("lane exec {lane} -- git {operation} --abort   (or finish it)"));
    }
    if !losses.changed.is_empty() || !losses.untracked.is_empty() || !losses.submodules.is_empty() {
        commands.push(format!("lane exec {lane} -- git status --short"));
        commands.push(format!("lane exec {lane} -- sh -c 'git add -A && git commit -m work'"));
    }
    if !losses.ignored.is_empty() {
        commands.push(format!("lane exec {lane} -- git status --short --ignored   (move or remove them)"));
    }
    if !losses.processes.is_empty() {
        commands.push("end them, or have them leave its folder".to_owned());
    }
    if !losses.commits.is_empty() {
        commands.push(format!("lane exec {lane} -- git push -u origin HEAD   (or merge its branch)"));
    }
    commands
}

fn add(text: &mut String, label: &str, count: u64, shown: impl Iterator<Item = String>) {
    let mut n_shown = 0;
    for line in shown {
        let label = if n_shown == 0 { label } else { "" };
        let _ = writeln!(text, "  {label:<11} {line}");
        n_shown += 1;
    }
    if count > n_shown {
        let label = if n_shown == 0 { label } else { "" };
        let more = if n_shown == 0 { "" } else { "and " };
        let _ = writeln!(text, "  {label:<11} {more}{} more", count - n_shown);
    }
}

fn commit(line: &CommitLine) -> String {
    let id: String = line.id.chars().take(SHORT_COMMIT).collect();
    format!("{id} {}", OsText::from(line.subject.as_str()))
}

#[cfg(test)]
mod tests {
    use laneway_core::attachment::Role;
    use laneway_core::findings::{AttachmentLine, LargeFile, ProcessLine};

    use super::*;

    #[test]
    fn everything_that_would_be_lost_is_listed_with_its_count() {
        let losses = Losses {
            changed: Listed {
                first: vec!["src/a.rs".into(), OsText::from_bytes(&b"\x1b[2J"[..])],
                count: 12,
            },
            untracked: Listed { first: vec!["notes.txt".into()], count: 1 },
            ignored: Listed::default(),
            large: Listed { first: vec![LargeFile { path: "notes.txt".into(), bytes: 5 << 30 }], count: 1 },
            submodules: Listed::default(),
            commits: Listed {
                first: vec![CommitLine { id: "0123456789abcdef".into(), subject: "work".into() }],
                count: 1,
            },
            operation: Some("rebase".into()),
            processes: Listed { first: vec![ProcessLine { pid: 7, command: "vim a".into() }], count: 1 },
            attachments: Listed {
                first: vec![AttachmentLine {
                    who: "anna".parse().unwrap(),
                    worker: None,
                    role: Role::Driver,
                    until: "2026-11-20T06:14:00.000000Z".into(),
                }],
                count: 2,
            },
            not_looked_at: Some("folder x: permission denied".into()),
        };
        assert_eq!(
            list(&losses).lines().collect::<Vec<_>>(),
            [
                "  changed     src/a.rs",
                "              \\u{1b}[2J",
                "              and 10 more",
                "  untracked   notes.txt",
                "  large       notes.txt (5.0 GiB)",
                "  commits     0123456789 work",
                "  unfinished  rebase",
                "  programs    7 vim a",
                "  used by     anna (driver until 2026-11-20T06:14:00.000000Z)",
                "              and 1 more",
                "  not seen    folder x: permission denied",
            ]
        );
        let commands = commands(&losses, "a");
        assert_eq!(commands[0], "lane exec a -- git rebase --abort   (or finish it)");
        assert_eq!(commands.len(), 5, "nothing about ignored files, of which there are none: {commands:?}");
    }
}
