//! A process that is killed while it decides: whatever it answered is there afterwards.

use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

use crate::support::*;

/// How many answers the parent waits for before it kills.
const ANSWERS: usize = 300;

#[test]
#[ignore = "the child that is killed"]
fn child_submits_until_it_is_killed() {
    let store = open(&folder_of_a_child().join("laneway.db"));
    wait(async {
        let mut submitted = tokio::task::JoinSet::new();
        for first in 0..20 {
            let store = store.clone();
            submitted.spawn(async move {
                for n in 0.. {
                    let lane = 1 + first + 20 * n;
                    let committed = store.submit(create_lane(lane), ASKED).await.unwrap();
                    writeln!(std::io::stdout(), "answered {lane} {}", committed.seq).unwrap();
                }
            });
        }
        submitted.join_all().await
    });
}

#[test]
fn nothing_that_was_answered_is_missing_after_a_kill() {
    let (folder, store) = store();
    close(&store);
    let path = database(&folder);
    for round in 1..=3_u32 {
        // Lanes of an earlier round are in the way of this one's.
        another(&path).execute_batch("DELETE FROM lanes").unwrap();
        let mut child = as_child("crash::child_submits_until_it_is_killed", folder.path(), &[])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let mut answered: Vec<String> = Vec::new();
        let is_answer = |line: &String| line.starts_with("answered ") && line.split(' ').count() == 3;
        answered.extend(lines.by_ref().filter(is_answer).take(ANSWERS));
        child.kill().unwrap();
        child.wait().unwrap();
        answered.extend(lines.filter(is_answer));
        assert!(answered.len() >= ANSWERS, "it ended by itself after {} answers", answered.len());

        let store = open(&path);
        let events = store.events_since(0, u32::MAX).unwrap();
        assert_eq!(store.last_seq().unwrap(), events.len() as u64);
        for (expected, event) in (1..).zip(&events) {
            assert_eq!(event.seq, expected, "in round {round}");
        }
        for line in &answered {
            let mut words = line.split(' ').skip(1).map(|word| word.parse::<u64>().unwrap());
            let (lane, seq) = (words.next().unwrap(), words.next().unwrap());
            let lane = lane_id(lane.try_into().unwrap());
            assert!(store.lane(lane).unwrap().is_some(), "{line:?} is missing in round {round}");
            assert_eq!(events[seq as usize - 1].subject.lane, Some(lane), "{line:?}");
        }
        close(&store);
    }
}
