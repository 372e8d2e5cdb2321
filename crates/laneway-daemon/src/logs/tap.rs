//! What one run writes, from its holder: on pipes as it is, on a terminal the lines that it leaves there.

use laneway_api::view::OutputStream;
use laneway_core::event::Subject;
use laneway_core::id::RunId;
use laneway_wire::Stream;
use laneway_wire::final_screen::FinalScreen;
use laneway_wire::finished::{Finished, Item};
use laneway_wire::message::{FromHolder, Incoming, Lines, Role, Size, ToHolder};

use super::Hub;
use super::lines::{Cutter, Line, MAX_LINE};
use crate::engine::{Engine, blocking};
use crate::holders::{Conversation, LinkError, meet};
use crate::terminals::last_text;

/// The most bytes of lines in one batch, but for a single line.
pub(super) const MAX_BATCH: usize = MAX_LINE;

/// Tells the lines of a run until it has ended; with `from_begin` also those that were there before.
pub(super) async fn follow(
    engine: &Engine,
    run: RunId,
    of: Subject,
    from_begin: bool,
    hub: &Hub,
) -> Result<(), LinkError> {
    let out = Out { of, hub };
    // What a pane of tmux shows its holder has to be told of.
    if let Err(problem) = engine.tap(run).await {
        tracing::info!(%run, problem = problem.message, "what a pane shows is not known");
    }
    let holder = match meet(&engine.home.run(run), run).await {
        Ok(holder) => holder,
        Err(LinkError::Nobody) if from_begin => {
            out.last_lines(engine, run).await;
            return Ok(());
        }
        Err(LinkError::Nobody) => return Ok(()),
        Err(error) => return Err(error),
    };
    let mut tap = Tap { holder, out };
    let status = tap.ask(&ToHolder::Status).await?;
    let FromHolder::Status(status) = status else { return Err(LinkError::Stranger(format!("{status:?}"))) };
    if status.size.is_some() {
        tap.terminal((!from_begin).then_some(status.offsets.pty)).await
    } else {
        tap.pipes(from_begin).await
    }
}

/// Where the lines of a run go.
struct Out<'a> {
    of: Subject,
    hub: &'a Hub,
}

impl Out<'_> {
    /// Sends lines, in pieces of some size.
    async fn send(&self, lines: Vec<Line>, mut missed: bool) {
        let (mut batch, mut length) = (Vec::new(), 0);
        for line in lines {
            if length + line.text.len() > MAX_BATCH && !batch.is_empty() {
                self.hub.send(self.of, std::mem::take(&mut batch), std::mem::take(&mut missed)).await;
                length = 0;
            }
            // An empty line takes room too.
            length += line.text.len() + 64;
            batch.push(line);
        }
        self.hub.send(self.of, batch, missed).await;
    }

    /// Of a run that ended before its holder could be asked.
    async fn last_lines(&self, engine: &Engine, run: RunId) {
        let folder = engine.home.run(run);
        let Ok(Ok(screen)) = blocking(move || FinalScreen::read(&folder)).await else { return };
        let is_terminal = screen.terminal.is_some();
        let text = last_text(screen, Lines::All, false, None);
        let stream = if is_terminal { OutputStream::Terminal } else { OutputStream::Stdout };
        let line = |stream| move |text: String| Line::of(stream, text.as_bytes(), false);
        let errors = text.stderr_lines.into_iter().map(line(OutputStream::Stderr));
        self.send(text.lines.into_iter().map(line(stream)).chain(errors).collect(), false).await;
    }
}

struct Tap<'a> {
    holder: Conversation,
    out: Out<'a>,
}

impl Tap<'_> {
    async fn ask(&mut self, request: &ToHolder) -> Result<FromHolder, LinkError> {
        let asked = self.holder.say(request).await.map_err(LinkError::Socket)?;
        self.holder.answer(asked, |_| {}).await
    }

    async fn terminal(&mut self, mut since: Option<u64>) -> Result<(), LinkError> {
        let mut finished = Finished::default();
        loop {
            let request = ToHolder::Follow { since, last: None, ansi: false };
            let asked = self.holder.say(&request).await.map_err(LinkError::Socket)?;
            let mut lines = Vec::new();
            let followed = loop {
                match self.holder.answer(asked, |_| {}).await? {
                    FromHolder::FollowPart { lines: mut more } => lines.append(&mut more),
                    FromHolder::Followed(mut followed) => {
                        lines.append(&mut followed.lines);
                        followed.lines = lines;
                        break followed;
                    }
                    other => return Err(LinkError::Stranger(format!("{other:?}"))),
                }
            };
            since = Some(followed.offset);
            let has_ended = followed.exited.is_some();
            let (mut told, mut missed) = (Vec::new(), false);
            for item in finished.take(followed) {
                match item {
                    Item::Line { text, .. } => {
                        told.push(Line::of(OutputStream::Terminal, text.as_bytes(), false));
                    }
                    Item::Missed => missed = true,
                    Item::AlternateScreen(_) => {}
                }
            }
            self.out.send(told, missed).await;
            if has_ended {
                return Ok(());
            }
        }
    }

    async fn pipes(&mut self, from_begin: bool) -> Result<(), LinkError> {
        // A program on pipes has no use for a size.
        let size = Size { columns: 80, rows: 24 };
        let attached = self.ask(&ToHolder::Attach { role: Role::Observer, size, since: None }).await?;
        let FromHolder::Attached { offsets, .. } = attached else {
            return Err(LinkError::Stranger(format!("{attached:?}")));
        };
        let begin = |present| if from_begin { 0 } else { present };
        let mut stdout = Cutter::new(OutputStream::Stdout, begin(offsets.stdout));
        let mut stderr = Cutter::new(OutputStream::Stderr, begin(offsets.stderr));
        loop {
            let (cutter, offset, bytes) = match self.holder.hear().await? {
                Some(Incoming::Data { stream: Stream::Stdout, offset, bytes }) => {
                    (&mut stdout, offset, bytes)
                }
                Some(Incoming::Data { stream: Stream::Stderr, offset, bytes }) => {
                    (&mut stderr, offset, bytes)
                }
                Some(Incoming::Message { message: FromHolder::Exited(_), .. }) | None => {
                    let rest = stdout.rest().into_iter().chain(stderr.rest()).collect();
                    self.out.send(rest, false).await;
                    return Ok(());
                }
                Some(_) => continue,
            };
            let (lines, missed) = cutter.take(offset, &bytes);
            self.out.send(lines, missed).await;
        }
    }
}
