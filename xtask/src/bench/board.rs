//! Where the programs in the terminals say when they did what: a datagram socket with a name of its own in the
//! abstract namespace, so that nothing of it is left. Times are the monotonic clock's, which all processes share.

use std::collections::HashMap;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// How long a program may take until it says something. Generous: 10 GiB through a slow terminal are meant too.
const LIMIT: Duration = Duration::from_mins(30);

/// Where programs say what they did.
pub(crate) struct Board {
    socket: UnixDatagram,
    name: String,
}

/// What a program said.
pub(crate) struct Told {
    /// Who it is, as the bench called it.
    pub(crate) who: String,
    /// What it did: a word of [`super::program`].
    pub(crate) what: String,
    /// What belongs to it: times and amounts.
    pub(crate) numbers: Vec<u64>,
    /// Where it can be told something.
    from: SocketAddr,
}

impl Board {
    /// A new one.
    pub(crate) fn new() -> Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("laneway-bench-{}-{number}", std::process::id());
        let socket = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name)?)?;
        Ok(Self { socket, name })
    }

    /// Its name, for the arguments of programs.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// What `who` says of `what`; everything else is passed over.
    pub(crate) fn wait(&self, who: &str, what: &str) -> Result<Told> {
        let mut told = self.wait_for_all(&[who.to_owned()], what)?;
        Ok(told.remove(who).expect("it was waited for"))
    }

    /// What each of them says of `what`.
    pub(crate) fn wait_for_all(&self, who: &[String], what: &str) -> Result<HashMap<String, Told>> {
        let deadline = Instant::now() + LIMIT;
        let mut told = HashMap::new();
        while told.len() < who.len() {
            let left = deadline.saturating_duration_since(Instant::now());
            self.socket.set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
            let mut buffer = [0; 256];
            let (length, from) = self.socket.recv_from(&mut buffer).with_context(|| {
                format!("{} of {} programs did not say {what:?}", who.len() - told.len(), who.len())
            })?;
            let text = str::from_utf8(&buffer[..length])?;
            let mut words = text.split(' ');
            let (Some(speaker), Some(said)) = (words.next(), words.next()) else {
                bail!("a program said {text:?}");
            };
            let numbers = words.map(str::parse).collect::<Result<Vec<u64>, _>>()?;
            if said == what && who.iter().any(|one| one == speaker) {
                let told_now = Told { who: speaker.to_owned(), what: said.to_owned(), numbers, from };
                told.insert(speaker.to_owned(), told_now);
            }
        }
        Ok(told)
    }

    /// Tells a program that has spoken to go on.
    pub(crate) fn go(&self, to: &Told, amount: u64) -> Result<()> {
        self.socket
            .send_to_addr(amount.to_string().as_bytes(), &to.from)
            .with_context(|| format!("{} does not listen", to.who))?;
        Ok(())
    }
}

impl Told {
    /// One of its numbers.
    pub(crate) fn number(&self, index: usize) -> Result<u64> {
        self.numbers
            .get(index)
            .copied()
            .with_context(|| format!("{} said too little of {}", self.who, self.what))
    }
}

/// A program's side of the board.
pub(crate) struct Voice {
    socket: UnixDatagram,
    board: SocketAddr,
    who: String,
}

impl Voice {
    /// The voice of `who` at a board.
    pub(crate) fn new(board: &str, who: &str) -> Result<Self> {
        let own = SocketAddr::from_abstract_name(format!("{board}-{}", std::process::id()))?;
        Ok(Self {
            socket: UnixDatagram::bind_addr(&own)?,
            board: SocketAddr::from_abstract_name(board)?,
            who: who.to_owned(),
        })
    }

    /// Says that something was done.
    pub(crate) fn say(&self, what: &str, numbers: &[u64]) -> Result<()> {
        let mut text = format!("{} {what}", self.who);
        for number in numbers {
            text.push(' ');
            text.push_str(&number.to_string());
        }
        self.socket.send_to_addr(text.as_bytes(), &self.board)?;
        Ok(())
    }

    /// Waits for the amount that comes with the word to go on.
    pub(crate) fn wait(&self) -> Result<u64> {
        let mut buffer = [0; 32];
        let length = self.socket.recv(&mut buffer)?;
        Ok(str::from_utf8(&buffer[..length])?.parse()?)
    }
}
