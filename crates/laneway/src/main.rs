//! `lane`: the command line of Laneway. It parses, asks the daemon and prints.
//!
//! * [`cli`]: the verbs and how a run of the program ends; [`verbs`]: one file per verb
//! * [`context`]: what a verb is given; [`failure`]: how it fails; [`printer`]: all output; [`progress`]: what
//!   takes its time says so
//! * [`client`]: requests to the daemon, which is started when it is needed; [`complete`]: what a shell is offered
//! * [`launch`]: what a program inherits from the caller; [`place`]: where its terminal is; [`terminal`]: the caller's
//!   own terminal
//! * [`output`]: what a program writes, as it comes; [`waiting`]: until something holds of it
//! * [`tmux`](mod@tmux): which tmux server is meant
//! * [`machine`]: what is around: other programs, systemd, the kernel, filesystems
//! * [`losses`], [`table`], [`text`]: pure helpers for input and output
//! * [`sys`]: the one place with `unsafe`

mod cast;
mod cli;
mod client;
mod complete;
mod context;
mod failure;
mod launch;
mod losses;
mod machine;
mod output;
mod place;
mod printer;
mod progress;
mod sys;
mod table;
mod terminal;
mod text;
mod tmux;
mod verbs;
mod waiting;

fn main() -> std::process::ExitCode {
    cli::main()
}
