//! Links (OSC 8): which are taken, and how much memory they may have in all.

use super::emulator::Terminal;
use alacritty_terminal::grid::{Dimensions, Grid};
use alacritty_terminal::index::Line;
use alacritty_terminal::term::cell::Cell;
use vte::ansi::Hyperlink;

/// Bytes of a link's address; a longer one is no link.
const LINK_LIMIT: usize = 4096;

/// Bytes of a link's name.
const LINK_NAME_LIMIT: usize = 256;

/// Bytes of all links on the screens: 80 by 24 cells with a link of the full length each. Larger screens have no more.
const ALL_LINKS_LIMIT: usize = 8 << 20;

/// Bytes of links that come between two counts of those in use: a count looks at every cell.
const BETWEEN_COUNTS: usize = ALL_LINKS_LIMIT / 16;

/// Links that came, and the memory they may still take.
#[derive(Debug)]
pub(super) struct Links {
    /// Links that came without a name.
    n_unnamed: u64,
    /// Bytes until the links in use have to be counted.
    n_left: usize,
    /// Whether links are taken until then.
    has_room: bool,
}

impl Default for Links {
    fn default() -> Self {
        Self { n_unnamed: 0, n_left: ALL_LINKS_LIMIT, has_room: true }
    }
}

impl Terminal {
    /// The link as it is kept, with a name in any case; nothing if it cannot be one.
    pub(super) fn accept_link(&mut self, link: Hyperlink) -> Option<Hyperlink> {
        // A control character would act on the terminal of whoever is shown the link.
        if link.uri.len() > LINK_LIMIT || link.uri.chars().any(char::is_control) {
            return None;
        }
        let named = link.id.filter(|id| id.len() <= LINK_NAME_LIMIT && !id.chars().any(char::is_control));
        let id = named.unwrap_or_else(|| {
            self.links.n_unnamed += 1;
            format!("lane-{}", self.links.n_unnamed)
        });
        let n_bytes = id.len() + link.uri.len();
        if self.links.n_left < n_bytes {
            let screens = [Some(self.term.grid()), self.primary.as_ref()];
            let n_used: usize = screens.into_iter().flatten().map(bytes_of_links).sum();
            let n_free = ALL_LINKS_LIMIT.saturating_sub(n_used);
            self.links.has_room = n_free >= BETWEEN_COUNTS;
            self.links.n_left = n_free.max(BETWEEN_COUNTS);
        }
        self.links.n_left -= n_bytes;
        if !self.links.has_room {
            return None;
        }
        Some(Hyperlink { id: Some(id), uri: link.uri })
    }
}

/// Bytes of the links on a screen, at most; neighbours share one.
fn bytes_of_links(grid: &Grid<Cell>) -> usize {
    let mut last = None;
    let mut n_bytes = 0;
    for line in 0..grid.screen_lines() {
        for cell in &grid[Line(line as i32)][..] {
            let link = cell.hyperlink();
            if let Some(link) = link.as_ref().filter(|_| link != last) {
                n_bytes += link.id().len() + link.uri().len();
            }
            last = link;
        }
    }
    n_bytes
}
