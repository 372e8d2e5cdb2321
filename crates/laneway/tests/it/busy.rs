//! Many programs that write as fast as they can, and many who ask meanwhile: every answer comes and is right. How long
//! that takes is measured elsewhere (`cargo xtask bench`).

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use laneway_testkit::{TestEnvironment, screen};
use serde_json::{Value, json};

use crate::environment;
use crate::support::{Pipe, events, http};

const N_PROGRAMS: usize = 50;
/// Lines that each program writes: some 100 KiB, more than a terminal or a viewer holds.
const N_LINES: u32 = 20_000;

/// The answer to a request over HTTP, which must be a good one.
#[track_caller]
fn answer(world: &TestEnvironment, request: &str) -> Value {
    let here = format!("laneway-cwd: {}\r\n", world.repository.display());
    let answer = http(world, request, &[&here]);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 "), "{request}: {answer}");
    serde_json::from_str(body).unwrap_or_else(|error| panic!("{request}: {error}: {answer}"))
}

/// Asks for everything that there is, once; all of it is known beforehand.
#[track_caller]
fn all_answers_are_right(world: &TestEnvironment, round: u32) {
    let names: Vec<String> = std::iter::once("a".to_owned()).chain((0..N_PROGRAMS).map(name)).collect();
    let workers = answer(world, "GET /api/v1/workers?all=true");
    // Tasks have no name.
    let listed = workers["workers"].as_array().unwrap().iter().filter_map(|worker| worker["name"].as_str());
    let listed: Vec<&str> = listed.collect();
    assert_eq!(listed, names);
    let all = answer(world, "GET /api/v1/lanes");
    assert_eq!((&all["lanes"][0]["name"], &all["lanes"][1]), (&json!("a"), &Value::Null));
    let one = name(round as usize % N_PROGRAMS);
    assert_eq!(answer(world, &format!("GET /api/v1/workers/{one}"))["name"], *one);
    let text = answer(world, &format!("GET /api/v1/workers/{one}/text?lines=5"));
    let lines: Vec<&str> =
        text["lines"].as_array().unwrap().iter().map(|line| line.as_str().unwrap()).collect();
    // A line that is just being written may be cut off.
    let numbers = lines.iter().filter_map(|line| line.parse::<u32>().ok()).collect::<Vec<_>>();
    assert!(numbers.iter().all(|number| *number <= N_LINES), "{lines:?}");
    let whole = &numbers[..numbers.len().saturating_sub(1)];
    assert!(whole.windows(2).all(|pair| pair[1] == pair[0] + 1), "{one}: {lines:?}");
}

fn name(n: usize) -> String {
    format!("w{n:02}")
}

#[test]
fn under_fifty_programs_that_flood_every_answer_comes_and_is_right() {
    let world = environment();
    let quiet = world.start("a", &["fake-agent", "echo"]);
    let go = Pipe::new(&world, "go");
    let script = format!("read -r _ < \"$0\"; seq 1 {N_LINES}; echo over; read -r _");
    let folders: Vec<PathBuf> = (0..N_PROGRAMS)
        .map(|n| {
            let _ =
                world.lane(&["run", "a", "--name", &name(n), "--", "bash", "-c", &script, go.text()]).ok();
            world.run_folder(&name(n))
        })
        .collect();
    let (is_over, n_rounds) = (AtomicBool::new(false), AtomicU32::new(0));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    all_answers_are_right(&world, n_rounds.fetch_add(1, Ordering::Relaxed));
                }
            });
        }
        // Through the command line, and to a program that does not flood.
        scope.spawn(|| {
            for n in 0.. {
                let _ = world.lane(&["send", "a/a", &format!("line {n}"), "--enter"]).ok();
                screen::wait_for_line(&quiet, &format!("heard line {n}"));
                assert_eq!(world.lane(&["exec", "a", "--", "echo", "through"]).ok().out(), "through\n");
                if is_over.load(Ordering::Relaxed) {
                    return;
                }
            }
        });
        for _ in 0..N_PROGRAMS {
            go.go();
        }
        let ended = std::panic::catch_unwind(|| {
            for folder in &folders {
                screen::wait_for_line(folder, "over");
            }
        });
        // The others would ask for ever.
        is_over.store(true, Ordering::Relaxed);
        ended.unwrap();
    });
    let _ = world.lane(&["stop", "--all", "--grace", "0"]).ok();
    let happened = events(&world);
    let numbers: Vec<u64> = happened.iter().map(|event| event["seq"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>());
    for folder in &folders {
        let run = folder.file_name().unwrap().to_str().unwrap();
        let ends = |event: &&Value| event["event"] == "worker.exited" && event["run"] == run;
        assert_eq!(happened.iter().filter(ends).count(), 1, "{run}");
    }
}
