//! What a client does, one thing after the other: a function of the seed and of nothing else.

use super::numbers::Random;

/// How many give commands at the same time.
pub(super) const N_CLIENTS: usize = 4;

/// What a worker is called that ends with a failure soon after each start, until it is given up.
pub(in crate::chaos) const FAILING: &str = "fails";

/// A program that talks to its supervisor, as a world knows it.
pub(in crate::chaos) const TALKS: &str = "exec \"$CHAOS_PROGRAM\" chaos-program \"$CHAOS_COUNTS\"";

/// A deed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Deed {
    /// A command: what it is counted as, and its words.
    Lane { kind: &'static str, words: Vec<String> },
    /// A file that is nowhere else is written into a lane.
    Write { lane: String, number: u64 },
    /// All that is in a lane is committed, and a file that is nowhere else with it.
    Commit { lane: String, number: u64 },
    /// The file that all change is changed and committed, so that what is merged later meets a conflict.
    Rewrite { lane: String, number: u64 },
    /// What has been kept for a while is deleted for good.
    Prune,
}

/// The deeds of one client, without an end.
pub(super) struct Deeds {
    client: usize,
    random: Random,
    /// How many lanes he has asked for.
    n_lanes: u64,
    n_files: u64,
    n_workers: u64,
    /// The lane that he has discarded last, and not wanted back.
    discarded: Option<String>,
}

impl Deeds {
    pub(super) fn new(seed: u64, client: usize) -> Self {
        let random = Random::new(seed, client as u64);
        Self { client, random, n_lanes: 0, n_files: 0, n_workers: 0, discarded: None }
    }

    /// A lane that somebody has asked for, most of the time he himself and not long ago; now and then by the name that
    /// [`renamed`] gives.
    fn some_lane(&mut self) -> String {
        let whose = match self.random.below(4) {
            0 => self.random.below(N_CLIENTS as u64),
            _ => self.client as u64,
        };
        let back = self.random.below(3);
        let renamed = if self.random.below(10) == 0 { "r" } else { "" };
        format!("c{whose}-{}{renamed}", self.n_lanes.saturating_sub(back).max(1))
    }

    /// One to be closed: half the time one that he has asked for whenever, so that they do not become more and more.
    fn lane_to_close(&mut self) -> String {
        if self.random.below(2) == 0 {
            return self.some_lane();
        }
        let number = 1 + self.random.below(self.n_lanes.max(1));
        let renamed = if self.random.below(3) == 0 { "r" } else { "" };
        format!("c{}-{number}{renamed}", self.client)
    }

    fn create(&mut self) -> Deed {
        self.n_lanes += 1;
        let name = format!("c{}-{}", self.client, self.n_lanes);
        match self.random.below(8) {
            0..3 => command("new", &[&name]),
            3..5 => command("new with program", &[&name, "--", "sleep", "1000"]),
            5 => command("new with supervision", &[&name, "--restart", "always", "--", "sleep", "1000"]),
            6 => command("new without setup", &[&name, "--no-setup"]),
            _ => command("new from elsewhere", &[&name, "--base", "dev"]),
        }
    }

    fn run(&mut self, lane: &str) -> Deed {
        self.n_workers += 1;
        let name = format!("w{}-{}", self.client, self.n_workers);
        match self.random.below(8) {
            0..2 => command("run", &[lane, "--", "sleep", "1000"]),
            2..4 => {
                let always = [lane, "--name", &name, "--restart", "always", "--", "sleep", "1000"];
                command("run with supervision", &always)
            }
            4 => {
                let name = format!("{FAILING}-{name}");
                let fails = ["--restart", "on-failure", "--", "sh", "-c", "sleep 0.1; exit 3"];
                command("run that fails", &[&[lane, "--name", &name], fails.as_slice()].concat())
            }
            5..7 => {
                let talks = ["--channel", "jsonl", "--restart", "always", "--", "sh", "-c", TALKS];
                command("run that talks", &[&[lane, "--name", &name], talks.as_slice()].concat())
            }
            _ => command("run by force", &[lane, "--name", &name, "--force", "--", "sleep", "1000"]),
        }
    }

    fn share(&mut self, lane: &str) -> Deed {
        let who = format!("c{}", self.client);
        match self.random.below(5) {
            0 => command("join", &[lane, "--as", &who, "--ttl", "1s"]),
            1 => command("join", &[lane, "--as", &who, "--role", "observer", "--ttl", "3s"]),
            2 => command("leave", &[lane, "--as", &who]),
            3 => command("share", &[lane]),
            _ => command("unshare", &[lane]),
        }
    }
}

impl Iterator for Deeds {
    type Item = Deed;

    fn next(&mut self) -> Option<Deed> {
        let lane = self.some_lane();
        let it = lane.as_str();
        Some(match self.random.below(66) {
            0..8 => self.create(),
            8..14 => self.run(it),
            14..17 => command("exec", &[it, "--", "git", "status", "--short"]),
            17 => command("exec in the background", &[it, "--detach", "--", "sleep", "0.2"]),
            18..20 => command("stop", &[it, "--grace", "200ms"]),
            20 => command("start", &[it]),
            21..23 => command("restart", &[it, "--grace", "200ms"]),
            23..28 => {
                self.n_files += 1;
                Deed::Write { number: self.n_files, lane }
            }
            28..33 => {
                self.n_files += 1;
                Deed::Commit { number: self.n_files, lane }
            }
            33..38 => {
                self.n_files += 1;
                Deed::Rewrite { number: self.n_files, lane }
            }
            38 => command("close", &[&self.lane_to_close()]),
            39 => command("close --keep-branch --dry-run", &[it, "--keep-branch", "--dry-run"]),
            40..44 => command("close --merge", &[&self.lane_to_close(), "--merge"]),
            44..48 => {
                let lane = self.lane_to_close();
                let discard = command("close --discard", &[&lane, "--discard"]);
                self.discarded = Some(lane);
                discard
            }
            48..50 => {
                let wanted = self.discarded.take().unwrap_or(lane);
                command("restore", &[&wanted])
            }
            50 => command("rescued", &[]),
            51 => Deed::Prune,
            52..54 => command("rename", &[it, &renamed(it)]),
            54..58 => self.share(it),
            58..60 => command("setup", &[it]),
            60 => command("trust", &[]),
            61 => command("doctor --fix", &["--fix"]),
            62 => command("ps", &["--all"]),
            63..65 => command("message", &[it, r#"{"type": "config"}"#]),
            _ => command("ls", &[]),
        })
    }
}

/// The other name of a lane.
fn renamed(lane: &str) -> String {
    format!("{}r", lane.trim_end_matches('r'))
}

/// Its first word is the verb.
fn command(kind: &'static str, arguments: &[&str]) -> Deed {
    let verb = kind.split(' ').next().into_iter();
    Deed::Lane { kind, words: verb.chain(arguments.iter().copied()).map(str::to_owned).collect() }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn what_a_client_does_follows_from_the_seed_and_his_number() {
        let deeds = |seed, client| Deeds::new(seed, client).take(500).collect::<Vec<_>>();
        assert_eq!(deeds(7, 1), deeds(7, 1));
        assert_ne!(deeds(7, 1), deeds(7, 2));
        assert_ne!(deeds(7, 1), deeds(8, 1));
    }

    #[test]
    fn each_verb_that_can_lose_something_is_among_them_and_no_word_is_empty() {
        let deeds = || Deeds::new(7, 0).take(2_000);
        let verbs: BTreeSet<String> = deeds()
            .filter_map(|deed| match deed {
                Deed::Lane { words, .. } => {
                    assert!(words.iter().all(|word| !word.is_empty()), "{words:?}");
                    words.into_iter().next()
                }
                _ => None,
            })
            .collect();
        let expected = [
            "close", "doctor", "exec", "join", "leave", "ls", "message", "new", "ps", "rename", "rescued",
            "restart", "restore", "run", "setup", "share", "start", "stop", "trust", "unshare",
        ];
        assert_eq!(verbs, expected.map(str::to_owned).into());
        assert!(deeds().any(|deed| deed == Deed::Prune));
    }
}
