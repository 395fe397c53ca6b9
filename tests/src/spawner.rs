//! Starting child processes that do not outlive this one, however it ends.

use std::{
    fs::File,
    io,
    os::unix::process::CommandExt as _,
    process::{Child, Command, Stdio},
    sync::{
        LazyLock,
        mpsc::{self, Sender},
    },
    thread,
};

use rustix::{
    io::{FdFlags, fcntl_setfd},
    process::{Pid, Signal},
};

/// How a child relates to this process.
#[derive(Debug)]
pub struct Bond {
    /// What the child gets if this process ends without ending it (Linux only).
    pub orphan_signal: Signal,
    /// A file that stays open in the child, and with it the lock on it.
    pub keepsake: Option<File>,
}

/// Starts a child in a process group of its own, so that a Ctrl-C at the terminal reaches only
/// this process, which then ends its children in order.
///
/// # Errors
/// The operating system can't start it.
pub fn spawn(mut command: Command, bond: Bond) -> io::Result<Child> {
    command.stdin(Stdio::null()).process_group(0);
    tie(&mut command, bond);
    let (reply, outcome) = mpsc::sync_channel(1);
    let job: Job = Box::new(move || {
        // The one who asked is waiting below.
        let _ = reply.send(command.spawn());
    });
    SPAWNER.send(job).expect("the spawner never ends");
    outcome.recv().expect("the spawner answers")
}

type Job = Box<dyn FnOnce() + Send>;

/// The thread that starts all children: Linux signals orphans when the *thread* that started them
/// ends, and this one lives as long as the process.
static SPAWNER: LazyLock<Sender<Job>> = LazyLock::new(|| {
    let (jobs, queue) = mpsc::channel::<Job>();
    thread::Builder::new()
        .name("spawner".to_owned())
        .spawn(move || queue.into_iter().for_each(|job| job()))
        .expect("a thread can be started");
    jobs
});

#[allow(
    unsafe_code,
    reason = "a child can only be prepared between fork and exec; the closure makes system calls \
              and nothing else, as it must there: no allocation, no lock"
)]
fn tie(command: &mut Command, bond: Bond) {
    let parent = rustix::process::getpid();
    let prepare = move || {
        if let Some(file) = &bond.keepsake {
            fcntl_setfd(file, FdFlags::empty())?;
        }
        die_with(parent, bond.orphan_signal)
    };
    // SAFETY: see the reason above.
    unsafe { command.pre_exec(prepare) };
}

#[cfg(target_os = "linux")]
fn die_with(parent: Pid, signal: Signal) -> io::Result<()> {
    rustix::process::set_parent_process_death_signal(Some(signal))?;
    // The parent may have ended before that.
    if rustix::process::getppid() == Some(parent) {
        Ok(())
    } else {
        Err(io::ErrorKind::NotConnected.into())
    }
}

#[cfg(not(target_os = "linux"))]
fn die_with(_: Pid, _: Signal) -> io::Result<()> {
    Ok(())
}
