//! Lanes: what they are made from, what is refused, and that a making that fails leaves nothing.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use laneway_testkit::process::finish;
use laneway_testkit::{Finished, TestEnvironment};
use serde_json::{Value, json};

use crate::environment;
use crate::progress::slow_hook;
use crate::support::{Traces, all_lanes, fails, has_failed, lane, only_the_daemon_is_left};

/// Runs `lane` in a folder.
#[track_caller]
fn lane_in(world: &TestEnvironment, folder: &Path, arguments: &[&str]) -> Finished {
    finish(world.lane_command(arguments).current_dir(folder), b"")
}

/// A commit in a folder; gives its id.
#[track_caller]
fn commit(world: &TestEnvironment, folder: &Path, file: &str) -> String {
    fs::write(folder.join(file), file).unwrap();
    world.git_in(folder, &["add", file]);
    world.git_in(folder, &["commit", "--quiet", "--message", file]);
    head(world, folder)
}

#[track_caller]
fn head(world: &TestEnvironment, folder: &Path) -> String {
    world.git_in(folder, &["rev-parse", "HEAD"]).trim().to_owned()
}

#[track_caller]
fn has_branch(world: &TestEnvironment, branch: &str) -> bool {
    !world.git(&["for-each-ref", &format!("refs/heads/{branch}")]).is_empty()
}

#[test]
fn a_lane_is_a_worktree_on_a_branch_of_its_own() {
    let world = environment();
    let said = world.lane(&["new", "a"]).ok();
    let lane = lane(&world, "a");
    let path = world.repository.join(".lanes/a");
    assert_eq!(lane["path"], path.to_str().unwrap());
    assert_eq!((&lane["branch"], &lane["branch_is_ours"]), (&json!("lane/a"), &json!(true)));
    assert_eq!(
        (&lane["base_ref"], &lane["base_commit"]),
        (&json!("main"), &json!(head(&world, &world.repository)))
    );
    assert_eq!(
        (&lane["status"], &lane["shared"], &lane["workers"]),
        (&json!("ready"), &json!(false), &json!([]))
    );
    assert!(said.out().contains("lane/a") && said.out().contains(path.to_str().unwrap()), "{said}");
    assert_eq!(world.git_in(&path, &["symbolic-ref", "HEAD"]), "refs/heads/lane/a\n");
    assert_eq!(world.git_in(&path, &["status", "--porcelain"]), "");
    // The main checkout does not see it, not even after its own ignore file is gone.
    fs::remove_file(world.repository.join(".lanes/.gitignore")).unwrap();
    assert_eq!(world.git(&["status", "--porcelain", "--ignored=no"]), "");
    assert_eq!(world.lane(&["path", "a"]).ok().out(), format!("{}\n", path.display()));
}

#[test]
fn a_lane_without_a_name_is_called_after_its_branch_or_by_two_words() {
    let world = environment();
    let name_of = |arguments: &[&str]| {
        world.json(&[&["new"], arguments].concat())["lane"]["name"].as_str().unwrap().to_owned()
    };
    let words = name_of(&[]);
    let (first, second) = words.split_once('-').unwrap_or_else(|| panic!("{words} is not two words"));
    assert!([first, second].iter().all(|word| word.chars().all(|c| c.is_ascii_lowercase())), "{words}");
    assert!(has_branch(&world, &format!("lane/{words}")));
    assert_eq!(name_of(&["--branch", "Feature/Log_In!"]), "feature-log_in");
    assert!(has_branch(&world, "Feature/Log_In!"), "the branch keeps its own spelling");
    assert_eq!(name_of(&["--branch", "lane/fix"]), "fix");
    world.git(&["branch", "other/fix"]);
    assert_eq!(name_of(&["--branch", "fix"]), "fix-2", "the first that is free");
}

#[test]
fn a_lane_starts_from_what_it_is_told_or_from_where_the_caller_stands() {
    let world = environment();
    let first = head(&world, &world.repository);
    world.git(&["tag", "v1", "-m", "a tag object"]);
    let second = commit(&world, &world.repository, "second");
    let base_of = |folder: &Path, arguments: &[&str]| {
        let made = lane_in(&world, folder, &[&["new", "--json"], arguments].concat()).ok().json();
        let lane = made["lane"].clone();
        assert_eq!(
            head(&world, Path::new(lane["path"].as_str().unwrap())),
            lane["base_commit"].as_str().unwrap()
        );
        (lane["base_ref"].clone(), lane["base_commit"].clone())
    };
    let here = &world.repository;
    assert_eq!(base_of(here, &["a"]), (json!("main"), json!(second)));
    assert_eq!(base_of(here, &["b", "--base", "v1"]), (json!("v1"), json!(first)), "a tag means its commit");
    assert_eq!(base_of(here, &["c", "--base", &first[..10]]), (json!(&first[..10]), json!(first)));
    assert_eq!(base_of(here, &["d", "--base", "HEAD~1"]).1, json!(first));
    // From inside a lane that lane's HEAD, also from a folder deep in it.
    let inside = world.repository.join(".lanes/b/deep/down");
    fs::create_dir_all(&inside).unwrap();
    let third = commit(&world, &world.repository.join(".lanes/b"), "third");
    assert_eq!(base_of(&inside, &["e"]), (json!("lane/b"), json!(third)));
    assert!(
        world.repository.join(".lanes/e/third").exists(),
        "lanes stand side by side, not inside each other"
    );
}

#[test]
fn an_existing_branch_is_worked_on_and_kept_when_the_lane_closes() {
    let world = environment();
    world.git(&["branch", "feature/login"]);
    let made = world.json(&["new", "--branch", "feature/login"]);
    assert_eq!(
        (&made["lane"]["name"], &made["lane"]["branch_is_ours"]),
        (&json!("feature-login"), &json!(false))
    );
    let tip = commit(&world, &world.repository.join(".lanes/feature-login"), "work");
    let _ = fails(&world, &["new", "again", "--branch", "feature/login"], 5, "branch_in_use");
    let _ = fails(&world, &["new", "again", "--branch", "main"], 5, "branch_in_use");
    let _ =
        fails(&world, &["new", "again", "--branch", "feature/login", "--base", "main"], 2, "base_and_branch");
    let said = world.lane(&["close", "feature-login"]).ok();
    assert_eq!(said.out(), "feature-login is closed; branch feature/login is kept\n");
    assert_eq!(world.git(&["rev-parse", "feature/login"]).trim(), tip, "its commits are where they were");
}

#[test]
fn a_branch_that_only_a_remote_has_is_fetched_and_tracked() {
    let world = environment();
    let remote = world.root().join("remote.git");
    world.git(&["clone", "--quiet", "--bare", ".", remote.to_str().unwrap()]);
    world.git(&["remote", "add", "origin", remote.to_str().unwrap()]);
    let other = world.root().join("other");
    world.git(&["clone", "--quiet", remote.to_str().unwrap(), other.to_str().unwrap()]);
    world.git_in(&other, &["switch", "--quiet", "--create", "topic"]);
    let old = commit(&world, &other, "old");
    world.git_in(&other, &["push", "--quiet", "origin", "topic"]);
    world.git(&["fetch", "--quiet", "origin"]);
    let new = commit(&world, &other, "new");
    world.git_in(&other, &["push", "--quiet", "origin", "topic"]);
    assert_eq!(world.git(&["rev-parse", "origin/topic"]).trim(), old);
    let made = world.json(&["new", "--branch", "topic"]);
    let path = world.repository.join(".lanes/topic");
    assert_eq!(head(&world, &path), new, "as the remote has it now");
    assert_eq!(made["lane"]["base_commit"], new);
    assert_eq!(world.git_in(&path, &["rev-parse", "--abbrev-ref", "@{upstream}"]), "origin/topic\n");
    let _ = world.lane(&["close", "topic"]).ok();
}

#[test]
fn a_lane_can_be_made_in_a_bare_repository() {
    let world = environment();
    let bare = world.root().join("bare").join("project.git");
    fs::create_dir(bare.parent().unwrap()).unwrap();
    world.git(&["clone", "--quiet", "--bare", ".", bare.to_str().unwrap()]);
    let made = lane_in(&world, &bare, &["new", "a", "--json", "--", "fake-agent", "wait"]).ok().json();
    let path = PathBuf::from(made["lane"]["path"].as_str().unwrap());
    assert_eq!(path, bare.parent().unwrap().join(".lanes/a"));
    assert!(path.join("README").exists());
    assert_eq!(world.json(&["ls"]), json!({"lanes": []}), "another repository's lanes are not this one's");
    assert_eq!(lane_in(&world, &path, &["ls", "--json"]).ok().json()["lanes"][0]["name"], "a");
    let _ = lane_in(&world, &bare, &["close", "a"]).ok();
    assert!(!path.exists());
}

#[test]
fn lanes_are_the_same_seen_from_the_main_checkout_a_subfolder_and_a_lane() {
    let world = environment();
    let _ = world.lane(&["new", "a"]).ok();
    let below = world.repository.join("src/deep");
    fs::create_dir_all(&below).unwrap();
    let seen = world.json(&["ls"]);
    for folder in [below, world.repository.join(".lanes/a"), world.repository.join(".git")] {
        assert_eq!(lane_in(&world, &folder, &["ls", "--json"]).ok().json(), seen, "{}", folder.display());
    }
}

#[test]
fn a_name_that_is_none_is_refused_and_one_that_would_be_is_offered() {
    let world = environment();
    let _ = world.lane(&["daemon", "start"]).ok();
    let before = Traces::of(&world);
    let long = "x".repeat(300);
    let names = [
        "",
        "A",
        "a b",
        "../a",
        "a/b",
        "/tmp/a",
        ".",
        "..",
        ".a",
        "a..b",
        "a.",
        "a.lock",
        "ä",
        "ln_1",
        "%1",
        "@1",
        "$1",
        "a\nb",
        "\u{1b}[2J",
        &long,
    ];
    for name in names {
        let error = fails(&world, &["new", name], 2, "illegal_name");
        let message = error["message"].as_str().unwrap();
        assert!(message.contains("is not a name") && message.len() < 300, "{message}");
        assert!(!message.contains(['\n', '\u{1b}']), "{message:?}");
        let _ = world.lane(&["new", name]).code(2);
    }
    let error = fails(&world, &["new", "My Fix"], 2, "illegal_name");
    assert!(error["hint"].as_str().unwrap().contains("my-fix"), "{error}");
    // What begins with a dash is taken for an option, which is as clear.
    let _ = fails(&world, &["new", "-a"], 2, "usage");
    let odd = finish(
        world
            .lane_command(&["new", "--json"])
            .arg(<std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(b"\xff")),
        b"",
    );
    let _ = has_failed(&odd, 2, "usage");
    assert_eq!(Traces::of(&world), before);
    assert_eq!(all_lanes(&world).len(), 0);
}

#[test]
fn what_is_taken_is_refused_and_nothing_is_changed() {
    let world = environment();
    let _ = world.lane(&["new", "a"]).ok();
    world.git(&["branch", "lane/b"]);
    world.git(&["branch", "blocks"]);
    fs::create_dir(world.repository.join(".lanes/c")).unwrap();
    fs::write(world.repository.join(".lanes/c/kept"), "").unwrap();
    fs::write(world.repository.join(".lanes/d"), "a file").unwrap();
    let before = Traces::of(&world);
    let refusals: [(&[&str], &str, &str); 6] = [
        (&["new", "a"], "lane_name_taken", "lane show a"),
        (&["new", "b"], "branch_taken", "--branch lane/b"),
        (&["new", "c"], "path_exists", ""),
        (&["new", "d"], "path_exists", ""),
        (&["new", "e", "--branch", "blocks/x"], "branch_blocked", ""),
        (&["new", "e", "--branch", "lane/a"], "branch_in_use", ""),
    ];
    for (arguments, word, hint) in refusals {
        let error = fails(&world, arguments, 5, word);
        assert!(error["hint"].as_str().is_some_and(|text| text.contains(hint)), "{error}");
    }
    assert_eq!(Traces::of(&world), before);
    assert_eq!(all_lanes(&world).len(), 1, "a refusal leaves no row");
    let _ = world.lane(&["new", "b", "--branch", "lane/b"]).ok();
}

#[test]
fn a_base_that_is_not_there_is_not_found_and_a_branch_that_cannot_be_is_usage() {
    let world = environment();
    let _ = world.lane(&["daemon", "start"]).ok();
    let before = Traces::of(&world);
    for base in ["nowhere", "", "--all", "main:README", "0123456789", "HEAD~99", "a b", "main..main"] {
        let error = fails(&world, &["new", "a", &format!("--base={base}")], 3, "unknown_base");
        assert!(error["message"].as_str().unwrap().contains(base), "{error}");
    }
    for branch in ["", "-x", "a..b", "a b", "x.lock", "@", "refs/heads/", "a~1", "/x"] {
        let _ = fails(&world, &["new", "a", &format!("--branch={branch}")], 2, "illegal_branch");
    }
    assert_eq!(Traces::of(&world), before);
    assert_eq!(all_lanes(&world).len(), 0);
}

#[test]
fn outside_of_a_repository_and_before_a_first_commit_it_says_what_to_do() {
    let world = environment();
    // The scratch folders stand inside the checkout of this project.
    let outside = Path::new("/");
    for arguments in
        [&["new", "a", "--json"][..], &["ls", "--json"], &["ps", "--json"], &["close", "a", "--json"]]
    {
        let error = has_failed(&lane_in(&world, outside, arguments), 2, "not_a_repository");
        assert!(error["hint"].as_str().unwrap().contains("git init"), "{error}");
    }
    let said = lane_in(&world, outside, &[]).ok();
    assert!(said.out().contains("no git repository") && said.out().contains("lane new NAME"), "{said}");
    let unborn = world.root().join("unborn");
    world.git(&["init", "--quiet", unborn.to_str().unwrap()]);
    let error = has_failed(&lane_in(&world, &unborn, &["new", "a", "--json"]), 5, "unborn_head");
    assert!(error["hint"].as_str().unwrap().contains("git commit"), "{error}");
    assert!(!unborn.join(".lanes").exists());
    assert_eq!(lane_in(&world, &unborn, &["ls", "--json"]).ok().json(), json!({"lanes": []}));
    let broken = world.root().join("broken");
    fs::create_dir_all(&broken).unwrap();
    fs::write(broken.join(".git"), "gitdir: /nowhere\n").unwrap();
    let _ = has_failed(&lane_in(&world, &broken, &["new", "a", "--json"]), 2, "not_a_repository");
}

#[test]
fn a_program_that_cannot_be_run_undoes_the_whole_lane() {
    let world = environment();
    let _ = world.lane(&["daemon", "start"]).ok();
    let plain = world.root().join("plain");
    fs::write(&plain, "no program").unwrap();
    let script = world.root().join("script");
    fs::write(&script, "#!/nowhere/sh\n").unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let _ = world.lane(&["new", "first"]).ok();
    let before = Traces::of(&world);
    let failures: [(&str, &str); 6] = [
        ("no-such-program", "program_missing"),
        ("/nowhere/program", "program_missing"),
        ("./not-in-the-lane", "program_missing"),
        (plain.to_str().unwrap(), "program_not_runnable"),
        (world.repository.to_str().unwrap(), "program_not_runnable"),
        (script.to_str().unwrap(), "program_not_runnable"),
    ];
    for (program, word) in failures {
        let error = fails(&world, &["new", "a", "--", program, "x"], 1, word);
        let message = error["message"].as_str().unwrap();
        assert!(message.contains(program) && message.contains("undone"), "{error}");
        assert!(error["hint"].is_string(), "{error}");
        // In a lane that is there, the lane stays and no worker is made.
        let _ = fails(&world, &["run", "first", "--name", "w", "--", program], 1, word);
    }
    only_the_daemon_is_left(&world);
    // What was renamed aside is deleted by then.
    let _ = world.lane(&["daemon", "stop"]).ok();
    let after = Traces::of(&world);
    assert_eq!(after, before);
    let lanes = all_lanes(&world);
    let closed = lanes.iter().filter(|lane| lane["name"] == "a" && lane["status"] == "closed").count();
    assert_eq!((lanes.len(), closed), (7, 6), "{lanes:?}");
    assert_eq!(world.json(&["ps", "--all"]), json!({"workers": []}));
    // The name is free again.
    let _ = world.lane(&["new", "a", "--", "fake-agent", "wait"]).ok();
}

#[test]
fn a_checkout_that_fails_is_undone() {
    let world = environment();
    // A filter that fails in the midst of the checkout.
    fs::write(world.repository.join(".gitattributes"), "*.bin filter=broken\n").unwrap();
    fs::write(world.repository.join("x.bin"), "x").unwrap();
    world.git(&["add", "."]);
    world.git(&["commit", "--quiet", "--message", "filtered"]);
    world.git(&["config", "filter.broken.smudge", "false"]);
    world.git(&["config", "filter.broken.required", "true"]);
    let _ = world.lane(&["daemon", "start"]).ok();
    let before = Traces::of(&world);
    let error = fails(&world, &["new", "a", "--", "fake-agent", "wait"], 1, "not_made");
    assert!(error["message"].as_str().unwrap().contains("x.bin"), "{error}");
    let _ = world.lane(&["daemon", "stop"]).ok();
    assert_eq!(Traces::of(&world).without(|_| false), before.without(|_| false));
    let lane = lane(&world, "a");
    assert_eq!(lane["status"], "closed");
    assert!(lane["failure"].as_str().unwrap().contains("x.bin"), "{lane}");
    only_the_daemon_is_left(&world);
}

#[test]
fn a_worker_whose_folder_is_gone_is_an_error_that_says_so() {
    let world = environment();
    let _ = world.lane(&["new", "a"]).ok();
    fs::remove_dir_all(world.repository.join(".lanes/a")).unwrap();
    let error = fails(&world, &["run", "a", "--", "fake-agent", "wait"], 1, "folder_gone");
    assert!(error["hint"].as_str().unwrap().contains("lane close a"), "{error}");
    let error = has_failed(&world.lane(&["exec", "a", "--json", "--", "true"]), 125, "folder_gone");
    assert!(error["message"].is_string());
    assert_eq!(world.json(&["ps", "--all"]), json!({"workers": []}));
}

#[test]
fn a_command_typed_in_a_folder_that_is_gone_says_so() {
    let world = environment();
    let _ = world.lane(&["new", "a"]).ok();
    let gone = world.root().join("gone");
    fs::create_dir(&gone).unwrap();
    let lane = world.lane_command(&[]).get_program().to_owned();
    let script = r#"cd "$1" && rmdir "$1" && exec "$2" ls --json"#;
    let said = finish(world.program("sh").args(["-c", script, "sh"]).arg(&gone).arg(lane), b"");
    let _ = has_failed(&said, 1, "cwd_gone");
}

#[test]
fn a_name_is_free_again_when_its_lane_is_closed() {
    let world = environment();
    let names: Vec<Value> = (0..3)
        .map(|_| {
            let made = world.json(&["new", "a"]);
            let _ = world.lane(&["close", "a"]).ok();
            made["lane"]["id"].clone()
        })
        .collect();
    let lanes = all_lanes(&world);
    assert_eq!(lanes.iter().map(|lane| lane["id"].clone()).collect::<Vec<_>>(), names);
    assert!(lanes.iter().all(|lane| lane["status"] == "closed" && lane["name"] == "a"));
}

/// Puts so many open lanes into the database, of which nothing but the record is there.
#[track_caller]
fn record_lanes(world: &TestEnvironment, n_lanes: usize) {
    let script = "import sqlite3, sys\n\
                  db = sqlite3.connect(sys.argv[1])\n\
                  db.row_factory = sqlite3.Row\n\
                  row = dict(db.execute(\"select * from lanes where lifecycle = 'open'\").fetchone())\n\
                  for n in range(int(sys.argv[2])):\n\
                  \x20   new = row | {'id': 'ln_%026d' % n, 'name': f'n{n}', 'branch': f'n{n}', 'path': b'/n%d' % n}\n\
                  \x20   marks = ', '.join('?' * len(new))\n\
                  \x20   names = ', '.join(new)\n\
                  \x20   db.execute(f'insert into lanes ({names}) values ({marks})', list(new.values()))\n\
                  db.commit()";
    let mut python = world.program("python3");
    python.args(["-c", script]).arg(world.home.join("laneway.db")).arg(n_lanes.to_string());
    let _ = finish(&mut python, b"").ok();
}

#[test]
fn a_repository_has_at_most_two_hundred_lanes() {
    let world = environment();
    let _ = world.lane(&["new", "a"]).ok();
    let _ = world.lane(&["daemon", "stop"]).ok();
    record_lanes(&world, 198);
    let _ = world.lane(&["new", "last"]).ok();
    let before = Traces::of(&world);
    let error = fails(&world, &["new", "b", "--", "fake-agent", "wait"], 5, "capacity_reached");
    assert!(error["message"].as_str().unwrap().contains("200"), "{error}");
    assert!(error["hint"].as_str().unwrap().contains("lane close"), "{error}");
    let tree = world.root().join("tree");
    world.git(&["worktree", "add", "--quiet", "--detach", tree.to_str().unwrap()]);
    let _ = fails(&world, &["adopt", tree.to_str().unwrap()], 5, "capacity_reached");
    world.git(&["worktree", "remove", tree.to_str().unwrap()]);
    assert_eq!(Traces::of(&world), before);
    let _ = world.lane(&["close", "last"]).ok();
    let _ = world.lane(&["new", "b"]).ok();
}

#[test]
fn a_pull_request_is_fetched_from_where_pull_requests_are() {
    let world = environment();
    let _ = fails(&world, &["new", "--pr", "1"], 3, "no_remote");
    let remotes = ["fork", "origin"].map(|name| {
        let path = world.root().join(name);
        world.git(&["clone", "--quiet", "--bare", ".", path.to_str().unwrap()]);
        path
    });
    world.git(&["remote", "add", "fork", remotes[0].to_str().unwrap()]);
    let other = world.root().join("other");
    world.git(&["clone", "--quiet", remotes[1].to_str().unwrap(), other.to_str().unwrap()]);
    let proposed = commit(&world, &other, "proposed");
    world.git_in(&other, &["push", "--quiet", "origin", "HEAD:refs/pull/12/head"]);
    // Of several remotes one has a name that says so; the only one needs none.
    let _ = fails(&world, &["new", "--pr", "12"], 3, "no_pull_request");
    world.git(&["remote", "add", "origin", remotes[1].to_str().unwrap()]);
    let error = fails(&world, &["new", "--pr", "13"], 3, "no_pull_request");
    assert!(error["message"].as_str().unwrap().contains("origin has no pull request 13"), "{error}");
    let _ = fails(&world, &["new", "--pr", "12", "--base", "main"], 2, "usage");
    let before = Traces::of(&world);
    let made = world.json(&["new", "--pr", "12"]);
    let lane = &made["lane"];
    assert_eq!(
        [&lane["name"], &lane["branch"], &lane["base_ref"], &lane["base_commit"]],
        [&json!("pr-12"), &json!("lane/pr-12"), &json!("origin/pr/12"), &json!(proposed)]
    );
    assert_eq!(head(&world, Path::new(lane["path"].as_str().unwrap())), proposed);
    let _ = world.lane(&["close", "pr-12"]).ok();
    world.git(&["update-ref", "-d", "refs/remotes/origin/pr/12"]);
    let _ = world.lane(&["daemon", "stop"]).ok();
    assert_eq!(Traces::of(&world).without(|_| false), before.without(|_| false));
    // Out of reach, what was fetched before serves, and the lane says so.
    let _ = world.lane(&["new", "again", "--pr", "12"]).ok();
    fs::rename(&remotes[1], world.root().join("away")).unwrap();
    let made = world.json(&["new", "stale", "--pr", "12"]);
    assert_eq!(made["lane"]["base_commit"], json!(proposed));
    assert!(made["lane"]["failure"].as_str().unwrap().contains("could not be fetched"), "{made}");
    let error = fails(&world, &["new", "--pr", "14"], 6, "not_fetched");
    assert!(error["hint"].as_str().unwrap().contains("git fetch"), "{error}");
    world.git(&["remote", "rename", "origin", "second"]);
    let _ = fails(&world, &["new", "--pr", "12"], 4, "several_remotes");
}

#[test]
fn a_making_that_is_cut_off_says_where_to_look() {
    let world = environment();
    let (reached, release) = slow_hook(&world);
    let making = std::thread::scope(|scope| {
        let making = scope.spawn(|| world.lane(&["new", "a", "--json"]));
        reached.wait();
        world.kill_the_daemon();
        making.join().unwrap()
    });
    let error = has_failed(&making, 6, "daemon_went_away");
    assert!(error["message"].as_str().unwrap().contains("making lane a"), "{error}");
    assert!(error["hint"].as_str().unwrap().contains("lane ls"), "{error}");
    release.go();
    let _ = world.lane(&["ls"]).ok();
    let _ = world.wait_for_event(0, "the undoing", |event| event["data"]["to"] == "closed");
    assert!(!world.repository.join(".lanes/a").exists());
}

#[test]
fn a_branch_in_the_way_of_all_lanes_is_named() {
    let world = environment();
    world.git(&["branch", "lane"]);
    let error = fails(&world, &["new", "a"], 5, "branch_blocked");
    assert!(error["message"].as_str().unwrap().contains("\"lane\""), "{error}");
    assert!(error["hint"].as_str().unwrap().contains("--branch"), "{error}");
    assert!(!world.repository.join(".lanes").exists());
    let _ = world.lane(&["new", "a", "--branch", "a"]).ok();
}

#[test]
fn a_main_checkout_on_a_branch_that_is_no_text_has_lanes_like_any_other() {
    use std::os::unix::ffi::OsStrExt;
    let world = environment();
    let odd = std::ffi::OsStr::from_bytes(b"w\xfferk");
    let _ = finish(world.program("git").args(["switch", "--quiet", "-c"]).arg(odd), b"").ok();
    let made = world.json(&["new", "a"]);
    assert_eq!(made["lane"]["base_ref"], "w\u{fffd}erk");
    assert_eq!(made["lane"]["base_commit"], head(&world, &world.repository));
    commit(&world, &world.worktree("a"), "work");
    assert_eq!(world.json(&["diff", "a"])["files"][0]["path"], "work");
    world.git(&["merge", "--quiet", "--ff-only", "lane/a"]);
    let _ = world.lane(&["close", "a"]).ok();
}
