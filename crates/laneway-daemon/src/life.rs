//! The daemon's life: begin, serve, and end so that everything that runs goes on.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixListener as StdListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command as Process;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use laneway_api::error::{ErrorKind, Problem};
use laneway_api::version::VERSION;
use laneway_core::command::Command;
use laneway_core::id::HostId;
use laneway_core::os_text::OsText;
use laneway_core::secret::masked;
use laneway_fault::fault_point;
use laneway_git::{Environment, Git, GitUnusable};
use laneway_store::{NewHost, OpenError, ReadError, Store};
use laneway_wire::sockets;
use rustix::process::{Signal, WaitOptions, waitpid};
use tokio::net::UnixListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::alarm::Alarm;
use crate::clock::{Ids, now};
use crate::engine::{Engine, Ingredients};
use crate::holders::HolderProgram;
use crate::home::{Home, HomeError};
use crate::http::socket::Places;
use crate::http::{self, Ending, Served};
use crate::logs::Logs;
use crate::problem::chain;
use crate::repeats::Repeats;
use crate::serving::Serving;
use crate::startup::{self, DaemonLock, Handed, StartLock, StartupError};
use crate::sys;

/// How long a graceful end waits for what is under way; the next start completes or rolls back the rest.
const SETTLE_LIMIT: Duration = Duration::from_secs(20);

/// How long a graceful end waits for answers that are being sent.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// Threads for what may block that are there from the first moment and stay: what is asked is answered also when the
/// system has no thread left.
const KEPT_THREADS: usize = 4;

/// How long a thread for what may block stays without work: for ever. It costs no more than its stack.
const KEEP_THREADS_FOR: Duration = Duration::from_hours(10 * 366 * 24);

/// The program of this process, also where its file has been deleted.
pub(crate) const RUNNING: &str = "/proc/self/exe";

/// A log of this size, in bytes, is put aside at the next start.
const MAX_LOG: u64 = 8 << 20;

/// What a daemon is started with.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where its state is.
    pub home: Home,
    /// Where it says, once, how its start went: a FIFO that someone reads.
    pub report: Option<PathBuf>,
    /// What a former daemon that executed itself anew handed over.
    pub handed: Option<Handed>,
    /// The umask that git makes files with; none keeps the inherited one.
    pub umask: Option<u32>,
}

/// Why a daemon could not serve.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// There is no usable home.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// The lock or the socket could not be had.
    #[error(transparent)]
    Startup(#[from] StartupError),
    /// The database cannot be used.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// The database cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// git cannot be used.
    #[error(transparent)]
    Git(#[from] GitUnusable),
    /// The holder's program is missing.
    #[error("{path:?} is missing: lane-holder must stand beside lane")]
    NoHolder {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// What is there could not be compared with what is recorded.
    #[error("what is there could not be compared with what is recorded: {}", .0.message)]
    Reconcile(Problem),
    /// The operating system refused something.
    #[error("the daemon could not {doing}")]
    System {
        /// What was tried.
        doing: &'static str,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
}

impl ServeError {
    /// As it is shown to the one who started it.
    fn problem(&self) -> Problem {
        let message = chain(self);
        let failed = |code: &str| crate::problem::failed(code, self);
        match self {
            ServeError::Home(_) => failed("home_unusable").hint("set LANEWAY_HOME to a folder of your own"),
            ServeError::Startup(StartupError::Held { .. }) => {
                Problem::new(ErrorKind::Unreachable, "daemon_held", message.clone())
                    .hint("see what it is doing: lane daemon logs")
            }
            ServeError::Startup(_) => failed("startup_failed"),
            ServeError::Store(OpenError::Newer { .. }) => {
                failed("database_newer").hint("install the newer version of lane again; nothing was changed")
            }
            ServeError::Store(OpenError::Damaged { .. } | OpenError::NotOurs { .. }) => {
                failed("database_damaged")
                    .hint("put a copy of it back; nothing was changed, and what runs goes on")
            }
            ServeError::Store(OpenError::Locked { .. }) => {
                failed("database_locked").hint("end the program that has it open, then repeat the command")
            }
            ServeError::Store(OpenError::DiskFull { .. }) => {
                failed("disk_full").hint("make room, then repeat it")
            }
            ServeError::Store(_) | ServeError::Read(_) => failed("database_unusable"),
            ServeError::Git(_) => {
                failed("git_unusable").hint("install git 2.38 or newer, and see that it is in PATH")
            }
            ServeError::NoHolder { .. } => {
                failed("holder_missing").hint("install lane and lane-holder into one folder")
            }
            ServeError::Reconcile(_) | ServeError::System { .. } => failed("startup_failed"),
        }
    }
}

fn system(doing: &'static str) -> impl FnOnce(io::Error) -> ServeError {
    move |source| ServeError::System { doing, source }
}

/// Serves until it is asked to end. How the start went is reported in any case.
pub fn serve(options: &Options) -> Result<(), ServeError> {
    let served = run(options);
    if let Err(error) = &served {
        tracing::error!(error = chain(error), "the daemon ends");
        startup::report(options.report.as_deref(), Err(&error.problem()));
    }
    served
}

fn run(options: &Options) -> Result<(), ServeError> {
    sys::keep_memory_together();
    if let Some(umask) = options.umask {
        rustix::process::umask(rustix::fs::Mode::from_raw_mode(umask & 0o777));
    }
    options.home.prepare()?;
    log_to(&options.home.log()).map_err(system("open its log"))?;
    set_limits();
    let starting = match (&options.report, options.handed) {
        // Nobody has started it who would hold the lock, and it is no successor either.
        (None, None) => Some(StartLock::take(&options.home)?),
        (Some(_), _) | (None, Some(_)) => None,
    };
    let (lock, listener) = if let Some(handed) = options.handed {
        // Children of the former daemon are this one's now; those that have ended wait to be reaped.
        while let Ok(Some(_)) = waitpid(None, WaitOptions::NOHANG) {}
        let (lock, listener) = startup::taken_over(handed)?;
        (lock, Some(listener))
    } else {
        let Some(lock) = DaemonLock::take(&options.home)? else {
            tracing::info!("another daemon serves, which was started at the same time");
            startup::report(options.report.as_deref(), Ok(()));
            return Ok(());
        };
        (lock, None)
    };
    fault_point!("start.locked");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .worker_threads(2)
        .thread_keep_alive(KEEP_THREADS_FOR)
        .build()
        .map_err(system("start its threads"))?;
    let ended = runtime.block_on(live(options, listener, starting))?;
    runtime.shutdown_timeout(Duration::from_secs(1));
    match ended {
        Ended::Stopped => {
            tracing::info!("stopped");
            Ok(())
        }
        Ended::Replaced { program, listener } => Err(become_anew(&options.home, &program, &lock, &listener)),
    }
}

enum Ended {
    Stopped,
    Replaced { program: OsText, listener: StdListener },
}

/// Makes the threads that stay.
fn make_kept_threads() {
    // Each waits at the gate, and so keeps its thread until the last one has got its own.
    let gate = Arc::new(RwLock::new(()));
    let closed = gate.write().expect("nobody has panicked with it");
    for _ in 0..KEPT_THREADS {
        let gate = Arc::clone(&gate);
        tokio::task::spawn_blocking(move || drop(gate.read()));
    }
    drop(closed);
}

async fn live(
    options: &Options,
    listener: Option<StdListener>,
    starting: Option<StartLock>,
) -> Result<Ended, ServeError> {
    let home = &options.home;
    make_kept_threads();
    // With a handler of its own a limit on the length of files is an error of the write that meets it, and not the
    // end of the daemon.
    let _too_long =
        signal(SignalKind::from_raw(Signal::XFSZ.as_raw())).map_err(system("listen for signals"))?;
    let engine = begin(home).await?;
    let listener = match listener {
        Some(listener) => listener,
        None => startup::listen(home)?,
    };
    fault_point!("start.listening");
    listener.set_nonblocking(true).map_err(system("use its socket"))?;
    // Kept beside the one that is served, so that clients queue up while the successor begins.
    let kept = listener.try_clone().map_err(system("use its socket"))?;
    let listener = UnixListener::from_std(listener).map_err(system("use its socket"))?;
    let (ending, mut asked) = tokio::sync::watch::channel(None);
    let closing = CancellationToken::new();
    let serving = Serving::new(home);
    let shared = Served {
        engine: engine.clone(),
        ending,
        closing: closing.clone(),
        serving: serving.clone(),
        repeats: Repeats::open(home.repeats(), engine.started_at),
        sockets: Places::new(),
        logs: Logs::default(),
    };
    serving.go_on(&shared).await;
    let server = tokio::spawn(http::serve(listener, shared));
    startup::report(options.report.as_deref(), Ok(()));
    drop(starting);
    tracing::info!(pid = std::process::id(), version = VERSION, home = %home.root().display(), "serving");

    let mut terminated = signal(SignalKind::terminate()).map_err(system("listen for signals"))?;
    let mut interrupted = signal(SignalKind::interrupt()).map_err(system("listen for signals"))?;
    let ending = tokio::select! {
        asked = asked.wait_for(Option::is_some) => asked.map_or(None, |ending| ending.clone()),
        _ = terminated.recv() => None,
        _ = interrupted.recv() => None,
    };
    let ending = ending.unwrap_or(Ending::Stop);
    closing.cancel();
    let answered = async { tokio::join!(server, serving.ended()) };
    if tokio::time::timeout(ANSWER_LIMIT, answered).await.is_err() {
        tracing::info!("some clients were left without an answer");
    }
    let program = match ending {
        Ending::Stop => {
            // Nobody is to wait at a socket that nobody serves; a new daemon makes a new one.
            remove_socket(home);
            None
        }
        Ending::Restart(program) => Some(program),
    };
    end(&engine).await;
    Ok(match program {
        Some(program) => Ended::Replaced { program, listener: kept },
        None => Ended::Stopped,
    })
}

/// Opens everything, and brings what is recorded and what is there together.
async fn begin(home: &Home) -> Result<Engine, ServeError> {
    let lane = std::env::current_exe().map_err(system("find its own program"))?;
    let holder_program = HolderProgram::beside(&lane).map_err(|path| ServeError::NoHolder { path })?;
    let alarm = Alarm::new().map_err(system("make its timer"))?;
    let git = Git::find(Environment::of_this_process())?;
    let host = NewHost(HostId::from_ulid(Ids::default().next()));
    let database = home.database();
    let store =
        tokio::task::spawn_blocking(move || Store::open(&database, host, now)).await.map_err(|error| {
            ServeError::System { doing: "open its database", source: io::Error::other(error) }
        })??;
    let ids = Ids::after(store.greatest_id()?);
    fault_point!("start.opened");
    let (engine, told) = Engine::new(Ingredients { home: home.clone(), store, ids, git, holder_program });
    let started = Command::RecordDaemonStarted { version: VERSION.to_owned(), pid: std::process::id() };
    engine.report(started, engine.own_request()).await;
    engine.reconcile().await.map_err(ServeError::Reconcile)?;
    fault_point!("start.reconciled");
    // After that, so that no exit is recorded before its start; what was told meanwhile is in the channel.
    tokio::spawn(engine.clone().listen_to_holders(told));
    tokio::spawn(engine.clone().keep_only_so_long());
    tokio::spawn(engine.clone().retire_old_runs());
    tokio::spawn(engine.clone().keep_leases(alarm));
    tokio::spawn(engine.clone().tend_pools());
    tokio::spawn(engine.clone().follow_panes());
    Ok(engine)
}

async fn end(engine: &Engine) {
    engine.settle(SETTLE_LIMIT).await;
    let stopped = Command::RecordDaemonStopped { pid: std::process::id() };
    if let Err(error) = engine.store.submit(stopped, engine.own_request().into()).await {
        tracing::warn!(error = chain(&error), "the end could not be recorded");
    }
    if let Err(error) = engine.store.close().await {
        tracing::warn!(error = chain(&error), "the database was not ended cleanly");
    }
    let tmux = Arc::clone(&engine.tmux);
    if let Err(error) = tokio::task::spawn_blocking(move || tmux.leave()).await {
        tracing::warn!(%error, "tmux was not left in good order");
    }
}

/// Every holder may want a connection and a pidfd, and every request a socket: as many files as may be. What files
/// may grow to is the affair of whoever started the daemon, and not of all who use it. And a daemon that a run's
/// program started carries the mark of that run, which it must not pass on to git.
fn set_limits() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    for resource in [Resource::Nofile, Resource::Fsize, Resource::Locks] {
        let most = getrlimit(resource).maximum;
        if let Err(errno) = setrlimit(resource, Rlimit { current: most, maximum: most }) {
            tracing::warn!(?resource, %errno, "a limit stays as it is");
        }
    }
}

fn remove_socket(home: &Home) {
    let removed =
        sockets::open_folder(home.root()).and_then(|folder| sockets::remove(folder, Home::SOCKET_NAME));
    if let Err(error) = removed {
        tracing::warn!(%error, "the socket could not be removed");
    }
}

/// Executes `program` in place of this process, or the one that runs if that fails; only returns if both fail.
#[expect(clippy::disallowed_methods, reason = "the one place where the daemon executes itself anew")]
fn become_anew(home: &Home, program: &OsText, lock: &DaemonLock, listener: &StdListener) -> ServeError {
    let handed = match startup::hand_on(lock, listener) {
        Ok(handed) => handed,
        Err(source) => return ServeError::System { doing: "hand over its socket", source },
    };
    tracing::info!(program = %program, "executing itself anew");
    let execute = |program: &Path| {
        Process::new(program)
            .args(laneway_wire::own::DAEMON_WORDS)
            .arg("--handed")
            .arg(format!("{},{}", handed.lock, handed.listener))
            .env(crate::home::HOME_VARIABLE, home.root())
            .current_dir("/")
            .exec()
    };
    let error = execute(program.as_path());
    // Better the former daemon than none.
    tracing::error!(program = %program, %error, "it cannot be executed: the program that ran goes on");
    let source = execute(Path::new(RUNNING));
    remove_socket(home);
    ServeError::System { doing: "execute itself anew", source }
}

/// A log without secrets that are known by their shape. It is given whole lines.
struct Masking(File);

impl io::Write for Masking {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.write_all(masked(&String::from_utf8_lossy(line)).as_bytes())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

fn log_to(path: &Path) -> io::Result<()> {
    if fs::metadata(path).is_ok_and(|metadata| metadata.len() > MAX_LOG) {
        fs::rename(path, path.with_extension("log.1"))?;
    }
    let file = OpenOptions::new().create(true).append(true).mode(0o600).open(path)?;
    // A second one in the same process is only in tests; the first stays.
    let _ = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::INFO)
        .with_ansi(false)
        .with_writer(std::sync::Mutex::new(Masking(file)))
        .try_init();
    // Standard error is nowhere.
    std::panic::set_hook(Box::new(|panic| tracing::error!(%panic, "an error of ours")));
    Ok(())
}
