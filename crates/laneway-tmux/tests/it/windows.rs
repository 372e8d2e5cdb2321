//! Windows are made, found again, restarted and removed, and nothing else is.

use laneway_tmux::{Event, Made, Mark, PaneProgram, Removed, Side, TmuxError};

use crate::support::{World, program_of};

#[test]
fn a_window_is_made_marked_and_seen() {
    let Some(world) = World::new() else { return };
    let program = PaneProgram {
        arguments: [
            "/bin/sh",
            "-c",
            "printf '%s|' \"$A\" \"$PWD\" \"$0\" \"$1\"; exec cat",
            "a b;",
            "#{pid} 'é\n\"$HOME",
        ]
        .map(Into::into)
        .to_vec(),
        folder: "/usr".into(),
        environment: vec![("A".into(), "1 = ;".into())],
    };
    let made = world.server.new_window(world.people(), "fix", Mark::Run("rn_1"), &program, true).unwrap();
    let seen = world.seen(&made);
    assert_eq!((&*seen.window_name, &*seen.session_name, &*seen.tag), ("fix", "people", "rn_1"));
    assert_eq!((seen.tty, seen.is_dead, seen.window_active), (made.tty, false, false));
    assert_eq!(world.windows(), ["people:theirs", "people:fix"]);
}

#[test]
fn a_program_that_ends_at_once_is_seen_with_its_code_and_started_again_in_its_pane() {
    let Some(world) = World::new() else { return };
    for n in 0..11 {
        let made = world.make(&format!("fast-{n}"), "rn_1", &["/bin/sh", "-c", "exit 7"]);
        let identity = made.identity;
        let again = loop {
            // Until tmux has noticed the end it says that the pane is still active.
            match world.server.respawn(&identity, "rn_2", &program_of(&["/bin/cat", "-u"])) {
                Ok(again) => break again,
                Err(TmuxError::Refused { said, .. }) => assert!(said.contains("still active"), "{said}"),
                Err(error) => panic!("{error}"),
            }
        };
        assert_eq!(again.identity.pane, identity.pane);
        assert_ne!(again.identity.pane_pid, identity.pane_pid);
        assert!(!world.seen(&again).is_dead);
        assert!(
            matches!(world.server.verify(&identity), Err(TmuxError::Stale { .. })),
            "the old record is stale"
        );
    }
}

#[test]
fn a_window_whose_name_only_begins_alike_is_left_alone() {
    let Some(world) = World::new() else { return };
    let gone = world.make("bd-42", "rn_42", &["/bin/cat", "-u"]);
    let other = world.make("bd-421", "rn_421", &["/bin/cat", "-u"]);
    world.by_hand(&["kill-window", "-t", "people:=bd-42"]);
    assert_eq!(world.server.remove(&gone.identity, &[]).unwrap(), Removed::AlreadyGone);
    world.seen(&other);
    assert_eq!(world.server.remove(&other.identity, &[]).unwrap(), Removed::Window);
    assert_eq!(world.windows(), ["people:theirs"]);
}

#[test]
fn a_pane_that_became_anothers_is_left_alone() {
    let Some(world) = World::new() else { return };
    let made = world.make("fix", "rn_1", &["/bin/cat", "-u"]);
    let pane = made.identity.pane.to_string();
    world.by_hand(&["set-option", "-p", "-t", &pane, "@laneway", "rn_other"]);
    let stale = world.server.remove(&made.identity, &[]).unwrap_err();
    assert!(stale.to_string().contains("tagged \"rn_other\", not \"rn_1\""), "{stale}");
    assert!(matches!(world.server.rename_window(&made.identity, "x"), Err(TmuxError::Stale { .. })));
    world.by_hand(&["set-option", "-p", "-t", &pane, "@laneway", "rn_1"]);
    world.by_hand(&["respawn-pane", "-k", "-t", &pane, "cat"]);
    assert!(matches!(world.server.remove(&made.identity, &[]), Err(TmuxError::Stale { .. })));
    assert_eq!(world.windows(), ["people:theirs", "people:fix"]);
}

#[test]
fn what_people_do_with_a_window_does_not_hide_it() {
    let Some(world) = World::new() else { return };
    world.by_hand(&["set-option", "-g", "base-index", "1"]);
    world.by_hand(&["set-option", "-g", "pane-base-index", "1"]);
    world.by_hand(&["new-session", "-d", "-s", "@1", "--", "cat", "-u"]);
    let made = world.make("a.b: c", "rn_1", &["/bin/cat", "-u"]);
    assert_eq!(world.seen(&made).window_name, "a.b: c");
    let window = made.identity.window.unwrap().to_string();
    world.by_hand(&["rename-window", "-t", &window, "by\thand #{pid}"]);
    world.by_hand(&["rename-session", "-t", "people", "them"]);
    world.by_hand(&["link-window", "-d", "-s", &window, "-t", "=@1:"]);
    let linked = world.seen(&made);
    assert_eq!(linked.session, made.identity.session);
    world.by_hand(&["unlink-window", "-t", &format!("them:{window}")]);
    assert_eq!(world.seen(&made).session_name, "@1");
    world.by_hand(&["split-window", "-d", "-t", &window, "cat"]);
    assert_eq!(world.server.remove(&made.identity, &[]).unwrap(), Removed::Pane);
    assert_eq!(world.server.remove(&made.identity, &[]).unwrap(), Removed::AlreadyGone);
    assert_eq!(world.windows().len(), 3, "the pane that was opened by hand stays: {:?}", world.windows());
}

#[test]
fn a_window_with_all_panes_of_one_worker_goes_and_the_session_stays() {
    let Some(world) = World::new() else { return };
    let first = world.make("fix", "rn_1", &["/bin/cat", "-u"]);
    let second = world.make("beside", "rn_1", &["/bin/cat", "-u"]);
    let [from, to] = [&second, &first].map(|made| made.identity.pane.to_string());
    world.by_hand(&["join-pane", "-d", "-s", &from, "-t", &to]);
    world.by_hand(&["kill-window", "-t", "people:=theirs"]);
    let _somebody = world.attach("people");
    assert_eq!(world.server.remove(&first.identity, &[second.identity]).unwrap(), Removed::Window);
    assert_eq!(world.windows(), ["people:laneway"], "a person's session lost its last window");
    // It runs nothing of the person's.
    let runs = world.by_hand(&["list-panes", "-s", "-t", "=people", "-F", "#{pane_start_command}"]);
    assert!(runs.contains("This window keeps the session"), "{runs}");
}

#[test]
fn a_session_that_nobody_is_in_and_nobody_of_ours_made_ends_with_its_last_window() {
    let Some(world) = World::new() else { return };
    world.by_hand(&["new-session", "-d", "-s", "other", "-n", "first", "--", "cat", "-u"]);
    let made = world.make("fix", "rn_1", &["/bin/cat", "-u"]);
    world.by_hand(&["kill-window", "-t", "people:=theirs"]);
    assert_eq!(world.server.remove(&made.identity, &[]).unwrap(), Removed::Window);
    assert_eq!(world.windows(), ["other:first"]);
}

#[test]
fn a_name_is_only_a_name_also_of_the_session_with_which_a_server_starts() {
    for name in ["a#(touch PWN)b", "#{pid}", "ends with ;", ";", "a ", "-x", "it's \"quoted\""] {
        let Some(world) = World::without_server() else { return };
        let name = name.replace("PWN", &world.folder.path().join("PWN").display().to_string());
        let session = world.server.session(&name).unwrap();
        let snapshot = world.server.snapshot().unwrap();
        let seen = snapshot.panes.iter().find(|seen| seen.session == session).unwrap();
        assert_eq!((&*seen.session_name, seen.session_is_ours, snapshot.panes.len()), (&*name, true, 1));
        assert!(!world.folder.path().join("PWN").exists());
        // And as it is asked for where a worker is started.
        assert_eq!(world.server.session_of(seen.pane).unwrap(), name);
        assert_eq!(world.server.session(&name).unwrap(), session);
        // And where a server runs already; of this one tmux writes the end in its own way.
        let other = world.server.session(&format!("{name} $HOME")).unwrap();
        assert_ne!(other, session);
        assert_eq!(world.server.session(&format!("{name} $HOME")).unwrap(), other);
    }
}

#[test]
fn twenty_who_start_a_server_at_once_start_one_session() {
    let Some(world) = World::without_server() else { return };
    let starting: Vec<_> = (0..20)
        .map(|_| {
            let server = world.server.clone();
            std::thread::spawn(move || server.session("laneway").unwrap())
        })
        .collect();
    let sessions: Vec<_> = starting.into_iter().map(|one| one.join().unwrap()).collect();
    assert!(sessions.iter().all(|session| *session == sessions[0]), "{sessions:?}");
    assert_eq!(world.windows(), ["laneway:laneway"]);
}

#[test]
fn a_hook_that_renames_windows_does_not_hide_a_new_one() {
    let Some(world) = World::new() else { return };
    world.by_hand(&["set-hook", "-g", "after-new-window", "rename-window zz"]);
    let made = world.make("fix", "rn_1", &["/bin/cat", "-u"]);
    let program = program_of(&["/bin/cat", "-u"]);
    let added = world.server.split(&made.identity, Side::Right, "rn_2", &program).unwrap();
    assert_eq!([world.seen(&made).tag, world.seen(&added).tag], ["rn_1", "rn_2"]);
    assert_eq!(world.seen(&made).window, world.seen(&added).window);
    let error = (0..10)
        .find_map(|_| world.server.split(&made.identity, Side::Below, "rn_3", &program).err())
        .unwrap();
    assert!(matches!(error, TmuxError::NoRoom { .. }), "{error}");
    let windows = world.windows();
    assert_eq!(windows.iter().filter(|window| *window == "people:fix").count(), 1, "{windows:?}");
    assert_eq!(windows.len(), 2, "no window is left over: {windows:?}");
}

#[test]
fn a_session_of_ours_is_made_once_and_kept_when_its_workers_are_gone() {
    let Some(world) = World::without_server() else { return };
    assert!(matches!(world.server.snapshot(), Err(TmuxError::NoServer { .. })));
    let session = world.server.session("laneway-a.b").unwrap();
    assert_eq!(world.server.session("laneway-a.b").unwrap(), session);
    let made =
        world.server.new_window(session, "x", Mark::Run("rn_1"), &program_of(&["/bin/cat", "-u"]), true);
    world.by_hand(&["kill-window", "-t", "laneway-a_b:=laneway"]);
    world.server.remove(&made.unwrap().identity, &[]).unwrap();
    assert_eq!(world.windows(), ["laneway-a_b:laneway"]);
}

#[test]
fn records_of_a_server_that_was_restarted_touch_nothing_in_the_new_one() {
    let Some(world) = World::new() else { return };
    // The window of the connection comes before the first one or after it.
    world.make("first", "rn_0", &["/bin/cat", "-u"]);
    let old = world.make("fix", "rn_1", &["/bin/cat", "-u"]);
    let heard = world.listen();
    world.by_hand(&["kill-server"]);
    heard.wait_for("the end of the server", |event| *event == Event::Disconnected);
    assert_eq!(world.server.remove(&old.identity, &[]).unwrap(), Removed::AlreadyGone, "with no server");
    world.start();
    let ids = |made: &Made| (made.identity.pane, made.identity.window);
    let mut made = (0..4).map(|_| world.make("fix", "rn_1", &["/bin/cat", "-u"]));
    let new = made.find(|new| ids(new) == ids(&old)).expect("ids start again");
    assert_eq!(world.server.remove(&old.identity, &[]).unwrap(), Removed::AlreadyGone);
    world.seen(&new);
}

#[test]
fn a_server_behind_anothers_socket_is_not_taken_for_gone() {
    let Some(world) = World::new() else { return };
    let hidden = world.make("fix", "rn_1", &["/bin/cat", "-u"]);
    let aside = world.folder.path().join("aside");
    std::fs::rename(world.server.socket(), &aside).unwrap();
    world.start();
    let fresh = world.tmux.with_limit(laneway_tmux::COMMAND_LIMIT).server(world.server.socket());
    let error = fresh.remove(&hidden.identity, &[]).unwrap_err();
    assert!(matches!(error, TmuxError::ServerHidden { .. }), "{error}");
    drop(fresh);
    world.by_hand(&["kill-server"]);
    std::fs::rename(aside, world.server.socket()).unwrap();
    world.seen(&hidden);
}

#[test]
fn the_connection_does_not_keep_a_server_that_people_have_left() {
    let Some(world) = World::new() else { return };
    let heard = world.listen();
    let server = world.server.connect().unwrap();
    world.by_hand(&["kill-session", "-t", "people"]);
    heard.wait_for("the end of the server", |event| *event == Event::Disconnected);
    let process = laneway_testkit::process::open(server.pid);
    assert!(
        process.is_none_or(|process| laneway_testkit::process::ends_within(&process, laneway_testkit::LIMIT))
    );
}

#[test]
fn what_shows_workers_is_tiled_and_closed_pane_by_pane() {
    let Some(world) = World::new() else { return };
    let program = program_of(&["/bin/cat", "-u"]);
    let first =
        world.server.new_window(world.people(), "fix", Mark::Viewer("wk_0 ln_1"), &program, false).unwrap();
    for n in 1..4 {
        world.server.add_viewer(&first.identity, &format!("wk_{n} ln_1"), &program).unwrap();
    }
    let snapshot = world.server.snapshot().unwrap();
    let viewers: Vec<_> = snapshot.panes.iter().filter(|seen| !seen.viewer.is_empty()).collect();
    let mut shown: Vec<&str> = viewers.iter().map(|seen| &*seen.viewer).collect();
    shown.sort_unstable();
    assert_eq!(shown, ["wk_0 ln_1", "wk_1 ln_1", "wk_2 ln_1", "wk_3 ln_1"]);
    assert!(
        viewers.iter().all(|seen| seen.window == viewers[0].window && seen.columns < 80 && seen.rows < 24)
    );
    // Somebody else's by now.
    let pane = viewers[3].pane.to_string();
    world.by_hand(&["set-option", "-p", "-t", &pane, "@laneway-viewer", ""]);
    let closed: Vec<_> =
        viewers.iter().map(|seen| world.server.close_viewer(&snapshot.server, seen).unwrap()).collect();
    assert_eq!(closed, [Removed::Pane, Removed::Pane, Removed::Pane, Removed::AlreadyGone]);
    assert_eq!(world.windows(), ["people:theirs", "people:fix"]);
}

#[test]
fn a_pane_that_finds_no_room_leaves_nothing_behind() {
    let Some(world) = World::new() else { return };
    let program = program_of(&["/bin/cat", "-u"]);
    let made = world.make("fix", "rn_1", &["/bin/cat", "-u"]);
    let error = (0..10)
        .find_map(|_| world.server.split(&made.identity, Side::Below, "rn_2", &program).err())
        .unwrap();
    assert!(matches!(error, TmuxError::NoRoom { .. }), "{error}");
    assert_eq!(world.windows(), ["people:theirs", "people:fix"]);
}

#[test]
fn a_hundred_windows_that_are_made_at_once_are_a_hundred() {
    let Some(world) = World::new() else { return };
    let session = world.people();
    let making: Vec<_> = (0..100)
        .map(|n| {
            let server = world.server.clone();
            std::thread::spawn(move || {
                let (name, run) = (format!("w-{n}"), format!("rn_{n}"));
                server
                    .new_window(session, &name, Mark::Run(&run), &program_of(&["/bin/cat", "-u"]), true)
                    .unwrap()
            })
        })
        .collect();
    let made: Vec<_> = making.into_iter().map(|one| one.join().unwrap()).collect();
    let snapshot = world.server.snapshot().unwrap();
    for (n, one) in made.iter().enumerate() {
        let seen = snapshot.verify(&one.identity).unwrap();
        assert_eq!((&*seen.window_name, &*seen.tag), (&*format!("w-{n}"), &*format!("rn_{n}")));
    }
    let removing: Vec<_> = made
        .into_iter()
        .map(|one| {
            let server = world.server.clone();
            std::thread::spawn(move || server.remove(&one.identity, &[]).unwrap())
        })
        .collect();
    assert!(removing.into_iter().all(|one| one.join().unwrap() == Removed::Window));
    assert_eq!(world.windows(), ["people:theirs"]);
}

#[test]
fn a_person_whose_only_window_is_linked_to_ours_keeps_the_session() {
    let Some(world) = World::new() else { return };
    let made = world.make("fix", "rn_1", &["/bin/cat", "-u"]);
    let window = made.identity.window.unwrap().to_string();
    world.by_hand(&["new-session", "-d", "-s", "other", "-n", "first", "--", "cat", "-u"]);
    world.by_hand(&["link-window", "-d", "-s", &window, "-t", "=other:"]);
    world.by_hand(&["kill-window", "-t", "=other:=first"]);
    let _somebody = world.attach("other");
    assert_eq!(world.server.remove(&made.identity, &[]).unwrap(), Removed::Window);
    let left = world.windows();
    assert!(left.iter().any(|window| window.starts_with("other:")), "{left:?}");
    assert!(!left.iter().any(|window| window.ends_with(":fix")), "{left:?}");
}

#[test]
fn a_window_with_panes_of_two_goes_pane_by_pane_wherever_they_were_moved() {
    let Some(world) = World::new() else { return };
    let [first, second] =
        ["one", "two"].map(|name| world.make(name, &format!("rn_{name}"), &["/bin/cat", "-u"]));
    let [from, to] = [&second, &first].map(|made| made.identity.pane.to_string());
    world.by_hand(&["join-pane", "-d", "-s", &from, "-t", &to]);
    assert_eq!(world.server.remove(&first.identity, &[]).unwrap(), Removed::Pane);
    world.by_hand(&["new-session", "-d", "-s", "%9 @1 $1", "-n", "odd", "--", "cat", "-u"]);
    world.by_hand(&["move-window", "-d", "-s", &from, "-t", "=%9 @1 $1:"]);
    assert_eq!(world.seen(&second).session_name, "%9 @1 $1");
    assert_eq!(world.server.remove(&second.identity, &[]).unwrap(), Removed::Window);
    assert_eq!(world.windows(), ["%9 @1 $1:odd", "people:theirs"]);
}
