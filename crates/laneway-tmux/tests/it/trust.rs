//! A socket that is, or could be, another user's is not used.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::process::Command;

use laneway_testkit::process::finish;
use laneway_tmux::TmuxError;

use crate::support::World;

/// Some other user.
const NOBODY: u32 = 65_534;

fn is_root(world: &World) -> bool {
    world.folder.path().metadata().unwrap().uid() == 0
}

fn set_mode(world: &World, mode: u32) {
    fs::set_permissions(world.folder.path(), Permissions::from_mode(mode)).unwrap();
}

#[track_caller]
fn is_refused<T: std::fmt::Debug>(result: Result<T, TmuxError>, why: &str) {
    let error = result.unwrap_err();
    assert!(matches!(error, TmuxError::Untrusted { .. }), "{error}");
    assert!(error.to_string().contains(why), "{error}");
}

#[test]
fn a_folder_that_everybody_can_write_into_is_refused() {
    let Some(world) = World::new() else { return };
    set_mode(&world, 0o777);
    is_refused(world.server.snapshot(), "everybody can write");
    set_mode(&world, 0o1777);
    assert_eq!(world.server.snapshot().unwrap().panes.len(), 1, "others cannot remove the socket");
}

#[test]
fn no_server_is_started_where_another_could_take_its_place() {
    let Some(world) = World::without_server() else { return };
    set_mode(&world, 0o777);
    is_refused(world.server.session("laneway"), "everybody can write");
    assert!(!world.server.socket().exists());
    // The folder that tmux would make for itself is to be as tmux wants it.
    set_mode(&world, 0o700);
    let uid = world.folder.path().metadata().unwrap().uid();
    let folder = world.folder.path().join(format!("tmux-{uid}"));
    fs::create_dir(&folder).unwrap();
    let server = world.tmux.server(&folder.join("default"));
    for (mode, is_right) in [(0o755, false), (0o701, false), (0o700, true)] {
        fs::set_permissions(&folder, Permissions::from_mode(mode)).unwrap();
        match server.snapshot() {
            Err(TmuxError::NoServer { .. }) => assert!(is_right, "{mode:o}"),
            refused => {
                is_refused(refused, "no rights for others");
                assert!(!is_right, "{mode:o}");
            }
        }
    }
    fs::remove_dir(&folder).unwrap();
    std::os::unix::fs::symlink("/tmp", &folder).unwrap();
    is_refused(server.snapshot(), "is not a folder");
}

#[test]
fn a_socket_or_a_folder_of_another_user_is_refused() {
    let Some(world) = World::new() else { return };
    if !is_root(&world) {
        // Only root can make it another's.
        return;
    }
    let mine = world.folder.path();
    chown(world.server.socket(), Some(NOBODY), None).unwrap();
    is_refused(world.server.snapshot(), "it is user 65534's");
    chown(world.server.socket(), Some(0), None).unwrap();
    chown(mine, Some(NOBODY), None).unwrap();
    is_refused(world.server.snapshot(), "is user 65534's");
    chown(mine, Some(0), None).unwrap();
    world.server.snapshot().unwrap();
}

#[test]
#[expect(clippy::disallowed_methods, reason = "what another user types")]
fn a_server_of_another_user_is_refused_whosever_the_socket_is() {
    let Some(world) = World::without_server() else { return };
    if !is_root(&world) {
        return;
    }
    set_mode(&world, 0o1777);
    let mut command = Command::new(world.tmux.program());
    command.env_clear().env("HOME", "/").env("PATH", "/usr/bin:/bin").uid(NOBODY).gid(NOBODY);
    command.arg("-S").arg(world.server.socket());
    command.args(["-f", "/dev/null", "new-session", "-d", "-s", "trap", "--", "cat", "-u"]);
    let started = finish(&mut command, b"");
    assert_eq!(started.code, 0, "{started}");
    chown(world.server.socket(), Some(0), Some(0)).unwrap();
    set_mode(&world, 0o700);
    is_refused(world.server.snapshot(), "the server there is user 65534's");
    is_refused(world.server.session("laneway"), "the server there is user 65534's");
    world.by_hand(&["kill-server"]);
}
