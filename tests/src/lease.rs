//! Leases: files by which a later run finds processes that an earlier one has left behind.
//!
//! A lease is a file that is locked as long as its process lives, with that process's id in it. The
//! lock is the operating system's, so it is gone when the process is, even by power failure, and
//! the id is never that of a stranger: while the lock is held, so is the id.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{self, Read as _, Seek as _, Write as _},
    path::Path,
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

/// How long a leftover may take to end when it is asked to, and again when it is killed.
const PATIENCE: Duration = Duration::from_secs(15);

/// Whether a lease could be taken.
#[derive(Debug)]
pub enum Taken {
    /// Yes: the lock is held as long as the file is open, here or in a child.
    Ours(File),
    /// No: the process with this id has it, if the file tells.
    By(Option<Pid>),
}

/// Takes a lease, if nobody has it.
///
/// # Errors
/// The file can't be opened.
pub fn take(path: &Path) -> io::Result<Taken> {
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)?;
    match file.try_lock() {
        Ok(()) => {
            file.set_len(0)?;
            Ok(Taken::Ours(file))
        }
        Err(TryLockError::Error(error)) => Err(error),
        Err(TryLockError::WouldBlock) => {
            let mut text = String::new();
            file.read_to_string(&mut text)?;
            let id = text.trim().parse().ok().and_then(Pid::from_raw);
            Ok(Taken::By(id))
        }
    }
}

/// Notes whose lease it is.
///
/// # Errors
/// The file can't be written.
pub fn sign(mut file: &File, id: u32) -> io::Result<()> {
    file.rewind()?;
    writeln!(file, "{id}")
}

/// Takes a lease, after ending the process that still has it. Says whether there was one.
///
/// # Errors
/// The file can't be opened, or the process does not end.
pub fn take_over(path: &Path, signal: Signal) -> io::Result<(File, bool)> {
    let mut found = false;
    for signal in [signal, Signal::KILL] {
        let deadline = Instant::now() + PATIENCE;
        let mut signalled = false;
        while Instant::now() < deadline {
            match take(path)? {
                Taken::Ours(file) => return Ok((file, found)),
                Taken::By(Some(id)) if !signalled => {
                    found = true;
                    // It may have ended this very moment.
                    let _ = kill_process(id, signal);
                    signalled = true;
                }
                // Not yet signed, or not yet ended.
                Taken::By(_) => thread::sleep(Duration::from_millis(20)),
            }
        }
    }
    Err(io::Error::other(format!(
        "the process of {} does not end",
        path.display()
    )))
}
