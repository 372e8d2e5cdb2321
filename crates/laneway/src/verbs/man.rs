//! `lane man`: the manual pages, made from the same definitions as the help. A program that was installed by cargo
//! brings no other files, so it brings its manual itself, and that always fits it.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::Command;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, roman};
use laneway_api::error::{ErrorKind, Problem, exit_code};
use laneway_core::os_text::OsText;
use serde::Serialize;

use crate::cli;
use crate::context::{Context, Outcome};
use crate::failure::Failure;

const EXAMPLES: &str = "\
EXAMPLES:
  lane man attach | man -l -
  lane man --dir ~/.local/share/man/man1   then: man lane-attach";

/// Print the manual page of a command, or write all of them into a folder
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ManArgs {
    /// The command: `attach`, `daemon install` [default: the page of lane itself]
    #[arg(value_name = "COMMAND", conflicts_with = "dir")]
    words: Vec<String>,
    /// Write every page into this folder, which is made if it is missing
    #[arg(long, value_name = "FOLDER")]
    dir: Option<PathBuf>,
}

/// `lane man --json`.
#[derive(Serialize)]
struct Page {
    name: String,
    page: String,
}

/// `lane man --dir FOLDER --json`.
#[derive(Serialize)]
struct Written {
    folder: OsText,
    pages: Vec<String>,
}

pub(crate) fn run(args: &ManArgs, context: &Context) -> Outcome {
    // Each command without the one that prints help: that is what a page is.
    let mut lane = cli::command().disable_help_subcommand(true);
    lane.build();
    match &args.dir {
        Some(folder) => write_all(&lane, folder, context),
        None => print(find(&lane, &args.words)?, context),
    }
}

fn find<'a>(lane: &'a Command, words: &[String]) -> Result<&'a Command, Failure> {
    let mut command = lane;
    for word in words {
        command = command.find_subcommand(word).ok_or_else(|| {
            let message = format!("there is no command `lane {}`", words.join(" "));
            Failure::from(Problem::new(ErrorKind::NotFound, "no_such_command", message).hint("lane --help"))
        })?;
    }
    Ok(command)
}

fn print(command: &Command, context: &Context) -> Outcome {
    let page = page(command).map_err(Failure::Output)?;
    if context.json() {
        let page = String::from_utf8_lossy(&page).into_owned();
        context.printer.json(&Page { name: file_name(command), page })?;
    } else {
        context.printer.bytes(&page)?;
    }
    Ok(exit_code::OK)
}

fn write_all(lane: &Command, folder: &Path, context: &Context) -> Outcome {
    let mut pages = Vec::new();
    let written =
        std::fs::create_dir_all(folder).and_then(|()| write_with_all_below(lane, folder, &mut pages));
    written.map_err(|error| {
        let message = format!("cannot write the pages into {}: {error}", OsText::from(folder));
        Failure::new(ErrorKind::Failed, "pages_not_written", message)
    })?;
    if context.json() {
        context.printer.json(&Written { folder: folder.into(), pages })?;
    } else {
        context.printer.line(&format!("{} pages are written into {}", pages.len(), OsText::from(folder)))?;
    }
    Ok(exit_code::OK)
}

fn write_with_all_below(command: &Command, folder: &Path, pages: &mut Vec<String>) -> io::Result<()> {
    let name = file_name(command);
    std::fs::write(folder.join(&name), page(command)?)?;
    pages.push(name);
    command.get_subcommands().try_for_each(|command| write_with_all_below(command, folder, pages))
}

fn file_name(command: &Command) -> String {
    format!("{}.1", command.get_display_name().unwrap_or_else(|| command.get_name()))
}

fn page(command: &Command) -> io::Result<Vec<u8>> {
    let man = Man::new(command.clone()).manual("Laneway").source(concat!("lane ", env!("CARGO_PKG_VERSION")));
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut page)?;
    }
    let after = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    examples_and_notes(&after, &mut page)?;
    Ok(page)
}

/// What stands after the options in the help: examples line by line, the rest as paragraphs.
fn examples_and_notes(after: &str, page: &mut impl Write) -> io::Result<()> {
    let mut roff = Roff::default();
    let mut is_noted = false;
    for paragraph in after.split("\n\n") {
        if let Some(examples) = paragraph.strip_prefix("EXAMPLES:\n") {
            roff.control("SH", ["EXAMPLES"]).control("nf", []);
            for line in examples.lines() {
                roff.text([roman(line.strip_prefix("  ").unwrap_or(line))]);
            }
            roff.control("fi", []);
        } else if !paragraph.is_empty() {
            if is_noted {
                roff.control("PP", []);
            } else {
                roff.control("SH", ["NOTES"]);
            }
            is_noted = true;
            roff.text([roman(paragraph)]);
        }
    }
    roff.to_writer(page)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn examples_keep_their_lines_and_notes_are_paragraphs() {
        let mut page = Vec::new();
        let after = "EXAMPLES:\n  lane new fix -- bash   a shell\n  .hidden\n\nOne\nnote.\n\nAnother.";
        examples_and_notes(after, &mut page).unwrap();
        let page = String::from_utf8(page).unwrap();
        let lines: Vec<&str> = page.lines().collect();
        let at = |line: &str| {
            lines.iter().position(|other| *other == line).unwrap_or_else(|| panic!("{line}\n{page}"))
        };
        assert!(at(".SH EXAMPLES") < at(".nf") && at(".nf") < at(".fi") && at(".fi") < at(".SH NOTES"));
        assert!(at("\\&.hidden") < at(".fi"), "a line that begins with a dot is no command");
        assert!(at(".SH NOTES") < at(".PP"));
    }
}
