//! What is named in tmux's own words: panes, windows and sessions. Names are never taken for the beginning of others,
//! which tmux itself does.

use super::{MOST_NAMED, Meant, Method, Owner, PaneEntry, Snapshot, Target, TargetError, Use, called};
use crate::pane::{PRIMARY, PanePlace};

/// `%7` or `@4`: None if the text is neither.
pub(super) fn by_id(snapshot: &Snapshot, text: &str, how: Use) -> Option<Result<Meant, TargetError>> {
    let is_number = |rest: &str| !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_digit());
    let (what, method) = match text.split_at_checked(1)? {
        ("%", rest) if is_number(rest) => ("pane", Method::Pane),
        ("@", rest) if is_number(rest) => ("window", Method::Window),
        _ => return None,
    };
    let id = |pane: &&PaneEntry| match method {
        Method::Pane => pane.pane_id == text,
        _ => pane.place.window_id.as_deref() == Some(text),
    };
    let found: Vec<&PaneEntry> = there(snapshot).filter(id).collect();
    if found.is_empty() {
        return Some(Err(TargetError::NotInTmux {
            what,
            text: text.to_owned(),
            known: known(snapshot, method),
        }));
    }
    Some(one_of(snapshot, found, text, method, how))
}

/// `session:window`, `session:window.pane` or `session`: None if there is nothing of that name. A session's name holds
/// neither `:` nor `.`; a window's can hold both.
pub(super) fn by_name(snapshot: &Snapshot, text: &str, how: Use) -> Option<Result<Meant, TargetError>> {
    let found = |fits: &dyn Fn(&PaneEntry) -> bool| -> Option<Vec<&PaneEntry>> {
        let found: Vec<&PaneEntry> = there(snapshot).filter(|pane| fits(pane)).collect();
        (!found.is_empty()).then_some(found)
    };
    let in_window = |pane: &PaneEntry, session: &str, window: &str| {
        pane.place.session == session && pane.place.window_name == window
    };
    if let Some((session, window)) = text.split_once(':') {
        let of_window = found(&|pane| in_window(pane, session, window)).or_else(|| {
            let (window, index) = window.rsplit_once('.')?;
            let index: u32 = index.parse().ok()?;
            found(&|pane| in_window(pane, session, window) && pane.pane_index == Some(index))
        })?;
        return Some(one_of(snapshot, of_window, text, Method::SessionWindow, how));
    }
    let of_session = found(&|pane| pane.place.session == text)?;
    Some(one_of(snapshot, of_session, text, Method::Session, how))
}

/// The panes that are there.
fn there(snapshot: &Snapshot) -> impl Iterator<Item = &PaneEntry> {
    snapshot.panes.iter().filter(|pane| match pane.owner {
        Owner::Worker { gone, .. } => !gone,
        Owner::Elsewhere { .. } | Owner::Nobody => true,
    })
}

/// The one of these panes that is meant: those of the caller's server count before others, those that workers' programs
/// run in before their further ones, and those of workers before all others.
fn one_of(
    snapshot: &Snapshot,
    mut found: Vec<&PaneEntry>,
    text: &str,
    method: Method,
    how: Use,
) -> Result<Meant, TargetError> {
    if found.iter().any(|pane| pane.near) {
        found.retain(|pane| pane.near);
    }
    let rank = |pane: &&PaneEntry| match pane.owner {
        Owner::Worker { number: PRIMARY, .. } => 0,
        Owner::Worker { .. } => 1,
        Owner::Elsewhere { .. } => 2,
        Owner::Nobody => 3,
    };
    let best = found.iter().map(rank).min().unwrap_or_default();
    found.retain(|pane| rank(pane) == best);
    // One in a window that is linked into several sessions is there once for each.
    let mut panes: Vec<&PaneEntry> = Vec::new();
    for pane in found {
        if !panes.iter().any(|known| known.pane_id == pane.pane_id && known.server == pane.server) {
            panes.push(pane);
        }
    }
    let label = |pane: &&PaneEntry| match &pane.owner {
        Owner::Worker { id, number: PRIMARY, .. } => called(snapshot, *id),
        Owner::Worker { id, number, .. } => format!("{}:{number}", called(snapshot, *id)),
        Owner::Elsewhere { worker, root } => format!("{worker} of {root}"),
        Owner::Nobody => pane.pane_id.clone(),
    };
    let [pane] = panes.as_slice() else {
        let candidates = panes.iter().map(label).take(MOST_NAMED).collect();
        return Err(TargetError::Ambiguous { text: text.to_owned(), candidates });
    };
    // The same ids and names are in every server: what acts must not take another one's for them.
    if snapshot.near_is_known && !pane.near && how == Use::Acting {
        let (label, socket) = (label(pane), pane.server.socket.clone());
        return Err(TargetError::OtherServer { text: text.to_owned(), label, socket });
    }
    let mut method = method;
    let target = match (&pane.owner, how) {
        (Owner::Worker { id, number, .. }, _) => Target::Worker { id: *id, pane: *number },
        (Owner::Elsewhere { worker, root }, _) => {
            let (worker, root) = (worker.clone(), root.clone());
            return Err(TargetError::Elsewhere { text: text.to_owned(), worker, root });
        }
        (Owner::Nobody, Use::Reading) => {
            if pane.shows.is_some() {
                method = Method::Viewer;
            }
            Target::Pane { server: pane.server.clone(), pane_id: pane.pane_id.clone(), shows: pane.shows }
        }
        (Owner::Nobody, Use::Acting) => {
            let (text, pane_id) = (text.to_owned(), pane.pane_id.clone());
            return Err(TargetError::NotOurs { text, pane_id, place: place(&pane.place) });
        }
    };
    Ok(Meant { target, method })
}

/// What there is, each with where it is, for who named something that is not.
fn known(snapshot: &Snapshot, method: Method) -> Vec<String> {
    let mut known: Vec<(&str, String)> = there(snapshot)
        .filter_map(|pane| {
            let id = match method {
                Method::Pane => Some(&pane.pane_id),
                _ => pane.place.window_id.as_ref(),
            }?;
            Some((id.as_str(), format!("{id} ({})", place(&pane.place))))
        })
        .collect();
    known.sort_by_key(|(id, text)| (id.len(), *id, text.clone()));
    known.dedup();
    known.into_iter().map(|(_, text)| text).take(MOST_NAMED).collect()
}

fn place(place: &PanePlace) -> String {
    format!("{}:{}", place.session, place.window_name)
}
