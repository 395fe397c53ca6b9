//! A server as a child process: its log, its end, and what it says when it fails.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
pub use rustix::process::Signal;
use rustix::process::{Pid, kill_process};
use tokio::time;

use crate::{
    lease,
    spawner::{self, Bond},
};

/// How long a server may take to end by itself before it is killed.
const PATIENCE: Duration = Duration::from_secs(15);

/// How many lines of a log tell what went wrong.
const TAIL: usize = 25;

/// What to start, and how to end it.
#[derive(Debug)]
pub struct Launch {
    /// What it is called in messages.
    pub name: &'static str,
    /// The program and its arguments.
    pub command: Command,
    /// Where its standard output and error go; appended to.
    pub log: PathBuf,
    /// What makes it end in order.
    pub end: Signal,
    /// The file by which a later run finds it, should it be left behind.
    pub lease: Option<PathBuf>,
}

/// A running child. Dropping it ends it and waits until it has ended.
#[derive(Debug)]
pub struct Process {
    name: &'static str,
    child: Child,
    log: PathBuf,
    /// Where in the log this process begins; earlier lines are from earlier runs.
    begins: u64,
    end: Signal,
}

impl Process {
    /// Starts it.
    ///
    /// # Errors
    /// The program or the log can't be opened, or a leftover of it does not end.
    pub fn start(launch: Launch) -> anyhow::Result<Self> {
        let Launch {
            name,
            mut command,
            log,
            end,
            lease,
        } = launch;
        let open = File::options().create(true).append(true).open(&log);
        let output = open.with_context(|| format!("can't open {}", log.display()))?;
        let begins = output.metadata()?.len();
        command.stdout(output.try_clone()?).stderr(output);

        let lease = lease
            .map(|path| lease::take_over(&path, end).map(|(file, _)| file))
            .transpose()
            .with_context(|| format!("an earlier {name} is in the way"))?;
        let bond = Bond {
            orphan_signal: end,
            keepsake: lease.as_ref().map(File::try_clone).transpose()?,
        };
        let program = command.get_program().to_owned();
        let child = spawner::spawn(command, bond)
            .with_context(|| format!("can't start {name} ({})", program.display()))?;
        if let Some(lease) = &lease {
            lease::sign(lease, child.id())?;
        }
        Ok(Self {
            name,
            child,
            log,
            begins,
            end,
        })
    }

    /// What it is called in messages.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, if it has.
    pub fn exited(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Waits until it has ended by itself.
    ///
    /// # Errors
    /// It has not, within `limit`.
    pub async fn ended(&mut self, limit: Duration) -> anyhow::Result<ExitStatus> {
        let deadline = Instant::now() + limit;
        while Instant::now() < deadline {
            if let Some(status) = self.exited() {
                return Ok(status);
            }
            time::sleep(Duration::from_millis(5)).await;
        }
        bail!("{} still runs after {limit:?}", self.name)
    }

    /// Sends it a signal; to one that has ended already, that does nothing.
    pub fn signal(&mut self, signal: Signal) {
        if self.exited().is_none() {
            // Not yet waited for, so its id is still its own.
            let _ = kill_process(Pid::from_child(&self.child), signal);
        }
    }

    /// Kills it, as a crash would, and waits until it is gone.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Ends it in order, or kills it if that takes too long.
    pub fn stop(&mut self) {
        self.signal(self.end);
        // A stopped process (SIGSTOP) only notices that once it goes on.
        self.signal(Signal::CONT);
        let deadline = Instant::now() + PATIENCE;
        while self.exited().is_none() {
            if Instant::now() > deadline {
                eprintln!("{} does not end by itself and is killed", self.name);
                return self.kill();
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Everything that it has written so far.
    ///
    /// # Errors
    /// The log can't be read.
    pub fn output(&self) -> io::Result<String> {
        let bytes = fs::read(&self.log)?;
        let begins = usize::try_from(self.begins).unwrap_or(0).min(bytes.len());
        Ok(String::from_utf8_lossy(&bytes[begins..]).into_owned())
    }

    /// Where it writes.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// The last lines that it has written, for a message.
    pub fn tail(&self) -> String {
        let output = self.output().unwrap_or_default();
        let lines: Vec<_> = output.lines().collect();
        let tail = &lines[lines.len().saturating_sub(TAIL)..];
        format!("--- {} ---\n{}", self.log.display(), tail.join("\n"))
    }

    /// Waits for a line that begins with `prefix` and gives what follows on it.
    ///
    /// # Errors
    /// The process ends before that, or takes longer than `limit`; with the tail of its log.
    pub async fn says(&mut self, prefix: &str, limit: Duration) -> anyhow::Result<String> {
        let said = |output: &str| {
            let mut lines = output
                .split_inclusive('\n')
                .filter(|line| line.ends_with('\n'));
            lines.find_map(|line| Some(line.strip_prefix(prefix)?.trim_end().to_owned()))
        };
        self.until(limit, async |process| said(&process.output().ok()?))
            .await
    }

    /// Waits until `ready` gives something.
    ///
    /// # Errors
    /// The process ends before that, or takes longer than `limit`; with the tail of its log.
    pub async fn until<T>(
        &mut self,
        limit: Duration,
        mut ready: impl AsyncFnMut(&Self) -> Option<T>,
    ) -> anyhow::Result<T> {
        let deadline = Instant::now() + limit;
        loop {
            let status = self.exited();
            if let Some(value) = ready(self).await {
                return Ok(value);
            }
            if let Some(status) = status {
                bail!("{} ended ({status})\n{}", self.name, self.tail());
            }
            if Instant::now() > deadline {
                bail!(
                    "{} is not ready after {limit:?}\n{}",
                    self.name,
                    self.tail()
                );
            }
            time::sleep(Duration::from_millis(10)).await;
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("{}", self.tail());
        }
        self.stop();
    }
}
