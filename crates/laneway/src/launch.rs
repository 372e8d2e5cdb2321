//! What a program inherits from the caller: environment, umask, limits, and a terminal of the same size.

use std::ffi::OsString;
use std::num::NonZeroU64;
use std::os::fd::AsFd;
use std::time::Duration;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use laneway_api::error::ErrorKind;
use laneway_api::request::{Launch, Limit};
use laneway_core::channel::ChannelKind;
use laneway_core::duration;
use laneway_core::launch::TerminalSpec;
use laneway_core::limits::RunLimits;
use laneway_core::supervise::RestartPolicy;
use rustix::process::{Resource, getrlimit};
use serde_json::{Map, Value};

use crate::failure::Failure;

/// The size of a terminal whose caller has none.
const DEFAULT_SIZE: (u16, u16) = (80, 24);

/// What becomes of a worker when its program has ended by itself.
#[derive(Debug, clap::Args)]
pub(crate) struct Restarting {
    /// Start it again when it has ended by itself [default: as laneway.toml says of its program, else never]
    #[arg(long, value_name = "WHEN", value_parser = policy())]
    restart: Option<RestartPolicy>,
    /// An exit code, beside 0, that means that its work is done; can be given several times
    #[arg(long = "done-code", value_name = "CODE")]
    done_codes: Vec<u8>,
    /// Give it a channel to its supervisor: docs/channels.md
    #[arg(long, value_name = "KIND", value_parser = channel_kind())]
    channel: Option<ChannelKind>,
    /// What it is told over its channel at each start: a JSON object
    #[arg(long, value_name = "JSON", value_parser = json_object)]
    start_message: Option<JsonObject>,
}

/// What each run of a program is limited to.
#[derive(Debug, clap::Args)]
pub(crate) struct Limiting {
    /// End it after so long (30s, 2h), which counts as a failure
    #[arg(long, value_name = "DURATION", value_parser = duration::parse_some)]
    limit_wall: Option<Duration>,
    /// End it after so long without output and without a message, which counts as a failure
    #[arg(long, value_name = "DURATION", value_parser = duration::parse_some)]
    limit_idle: Option<Duration>,
}

impl Limiting {
    /// Says it in the launch.
    pub(crate) fn applied_to(&self, launch: Launch) -> Launch {
        let ms = |limit: Option<Duration>| limit.and_then(|limit| NonZeroU64::new(duration::millis(limit)));
        let run_limits = RunLimits { wall_ms: ms(self.limit_wall), idle_ms: ms(self.limit_idle) };
        Launch { run_limits, ..launch }
    }
}

/// A JSON object that was typed.
#[derive(Debug, Clone)]
pub(crate) struct JsonObject(pub(crate) Map<String, Value>);

/// Reads a JSON object.
pub(crate) fn json_object(text: &str) -> Result<JsonObject, String> {
    match serde_json::from_str(text) {
        Ok(Value::Object(object)) => Ok(JsonObject(object)),
        Ok(_) => Err("it is JSON and no object: {\"key\": value}".to_owned()),
        Err(error) => Err(format!("it is no JSON object: {error}")),
    }
}

fn channel_kind() -> impl TypedValueParser<Value = ChannelKind> {
    PossibleValuesParser::new(ChannelKind::ALL.map(ChannelKind::as_str))
        .map(|word| word.parse().expect("only the words of kinds are possible"))
}

fn policy() -> impl TypedValueParser<Value = RestartPolicy> {
    PossibleValuesParser::new(RestartPolicy::ALL.map(RestartPolicy::as_str))
        .map(|word| word.parse().expect("only the words of policies are possible"))
}

impl Restarting {
    /// Says it in the launch.
    pub(crate) fn applied_to(&self, launch: Launch) -> Launch {
        Launch {
            restart: self.restart,
            done_codes: self.done_codes.clone(),
            channel: self.channel,
            start_message: self.start_message.clone().map(|JsonObject(message)| message),
            ..launch
        }
    }
}

/// A program as the caller stands, on `terminal`. Empty `argv`: the caller's shell. `record`: the terminal is
/// recorded.
pub(crate) fn launch(argv: &[OsString], terminal: TerminalSpec, record: bool) -> Result<Launch, Failure> {
    Ok(Launch {
        argv: argv.iter().map(|argument| argument.as_os_str().into()).collect(),
        environment: std::env::vars_os().map(|(name, value)| (name.into(), value.into())).collect(),
        umask: umask()?,
        limits: limits(),
        terminal,
        record,
        restart: None,
        done_codes: Vec::new(),
        channel: None,
        start_message: None,
        run_limits: RunLimits::NONE,
    })
}

/// A terminal of the size of the caller's own.
pub(crate) fn terminal_like_the_callers() -> TerminalSpec {
    let (columns, rows) = callers_size().unwrap_or(DEFAULT_SIZE);
    TerminalSpec::Pty { columns, rows }
}

/// Columns and rows of the terminal that the caller reads, or types at.
pub(crate) fn callers_size() -> Option<(u16, u16)> {
    fn size(terminal: impl AsFd) -> Option<(u16, u16)> {
        let size = rustix::termios::tcgetwinsize(terminal).ok()?;
        (size.ws_col > 0 && size.ws_row > 0).then_some((size.ws_col, size.ws_row))
    }
    size(std::io::stdout()).or_else(|| size(std::io::stderr())).or_else(|| size(std::io::stdin()))
}

/// Read from the kernel's report, since `umask()` itself can only be asked by changing it.
pub(crate) fn umask() -> Result<u32, Failure> {
    let status = std::fs::read_to_string("/proc/self/status").map_err(|error| {
        Failure::new(ErrorKind::Failed, "no_umask", format!("cannot read /proc/self/status: {error}"))
    })?;
    umask_in(&status).ok_or_else(|| {
        Failure::new(ErrorKind::Failed, "no_umask", "/proc/self/status does not tell the umask")
    })
}

fn umask_in(status: &str) -> Option<u32> {
    let line = status.lines().find_map(|line| line.strip_prefix("Umask:"))?;
    u32::from_str_radix(line.trim(), 8).ok()
}

fn limits() -> Vec<Limit> {
    const ALL: [Resource; 16] = [
        Resource::Cpu,
        Resource::Fsize,
        Resource::Data,
        Resource::Stack,
        Resource::Core,
        Resource::Rss,
        Resource::Nproc,
        Resource::Nofile,
        Resource::Memlock,
        Resource::As,
        Resource::Locks,
        Resource::Sigpending,
        Resource::Msgqueue,
        Resource::Nice,
        Resource::Rtprio,
        Resource::Rttime,
    ];
    ALL.into_iter()
        .map(|resource| {
            let limit = getrlimit(resource);
            Limit { which: resource as u32, soft: limit.current, hard: limit.maximum }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStringExt;

    #[test]
    fn a_launch_holds_what_the_caller_has() {
        let argv = [OsString::from("printf"), OsString::from_vec(b"\xff".to_vec())];
        let launch = launch(&argv, TerminalSpec::Pipes, false).unwrap();
        assert_eq!(launch.argv[1].as_bytes(), b"\xff");
        assert_eq!(launch.environment.len(), std::env::vars_os().count());
        let files = launch.limits.iter().find(|limit| limit.which == libc::RLIMIT_NOFILE).unwrap();
        assert_eq!(files.soft, getrlimit(Resource::Nofile).current);
    }

    #[test]
    fn the_umask_is_octal() {
        assert_eq!(umask_in("Name:\tlane\nUmask:\t0027\nState:\tR\n"), Some(0o027));
        assert_eq!(umask_in("Name:\tlane\n"), None);
        assert!(umask().unwrap() <= 0o777);
    }
}
