//! A program at a terminal: keys go in, and what comes out is a screen.

use std::{
    io::{Read as _, Write as _},
    num::NonZeroU16,
    process::{Child, Command, ExitStatus},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use pty_process::{
    Size,
    blocking::{Pty, open},
};
use rustix::{
    process::{Pid, Signal, kill_process},
    termios::{Termios, tcgetattr},
};
use tokio::time;

/// How wide and high most terminals are at first.
const COLUMNS: NonZeroU16 = NonZeroU16::new(80).unwrap();
const ROWS: NonZeroU16 = NonZeroU16::new(24).unwrap();

/// A pseudo-terminal with a program at it. Dropping it ends the program; so does the end of this process,
/// which hangs up.
pub struct Terminal {
    child: Child,
    pty: Arc<Pty>,
    screen: Arc<Mutex<vt100::Parser>>,
    reader: Option<JoinHandle<()>>,
}

impl Terminal {
    /// Starts a program at a terminal of 80 × 24.
    ///
    /// # Errors
    /// There is no pseudo-terminal, or no such program.
    pub fn start(command: Command) -> anyhow::Result<Self> {
        let (pty, pts) = open().context("no pseudo-terminal")?;
        pty.resize(Size::new(ROWS.get(), COLUMNS.get()))?;
        let mut command = command;
        command.env("TERM", "xterm-256color");
        let child = pty_process::blocking::Command::from(command).spawn(pts)?;
        let pty = Arc::new(pty);
        let screen = Arc::new(Mutex::new(vt100::Parser::new(ROWS, COLUMNS, 0)));
        let reader = thread::spawn({
            let (pty, screen) = (pty.clone(), screen.clone());
            move || {
                let mut bytes = [0; 4096];
                // Once the program has ended, reading is an error.
                while let Ok(read @ 1..) = (&*pty).read(&mut bytes) {
                    lock(&screen).process(&bytes[..read]);
                }
            }
        });
        Ok(Self {
            child,
            pty,
            screen,
            reader: Some(reader),
        })
    }

    /// What the screen shows, without colours.
    pub fn text(&self) -> String {
        lock(&self.screen).screen().contents()
    }

    /// Whether the program has a screen of its own, and will give back the one that was there.
    pub fn is_taken(&self) -> bool {
        lock(&self.screen).screen().alternate_screen()
    }

    /// Whether the cursor is hidden.
    pub fn is_cursor_hidden(&self) -> bool {
        lock(&self.screen).screen().hide_cursor()
    }

    /// How the terminal treats keys and lines.
    ///
    /// # Errors
    /// The operating system does not tell.
    pub fn settings(&self) -> anyhow::Result<Termios> {
        Ok(tcgetattr(&*self.pty)?)
    }

    /// Gives it another size.
    ///
    /// # Errors
    /// The operating system does not.
    pub fn resize(&self, rows: NonZeroU16, columns: NonZeroU16) -> anyhow::Result<()> {
        lock(&self.screen).screen_mut().set_size(rows, columns);
        Ok(self.pty.resize(Size::new(rows.get(), columns.get()))?)
    }

    /// Presses keys, as a terminal sends them.
    ///
    /// # Errors
    /// The program has ended.
    pub fn press(&self, keys: &str) -> anyhow::Result<()> {
        Ok((&*self.pty).write_all(keys.as_bytes())?)
    }

    /// Sends the program a signal.
    pub fn signal(&mut self, signal: Signal) {
        if matches!(self.child.try_wait(), Ok(None)) {
            // Not yet waited for, so its id is still its own.
            let _ = kill_process(Pid::from_child(&self.child), signal);
        }
    }

    /// Waits until the program has ended, and all that it wrote is on the screen.
    ///
    /// # Errors
    /// It has not, within `limit`.
    pub async fn ended(&mut self, limit: Duration) -> anyhow::Result<ExitStatus> {
        let deadline = Instant::now() + limit;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait()? {
                if let Some(reader) = self.reader.take() {
                    let _ = reader.join();
                }
                return Ok(status);
            }
            time::sleep(Duration::from_millis(5)).await;
        }
        bail!("it still runs after {limit:?}:\n{}", self.text())
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("--- the screen ---\n{}", self.text());
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn lock(screen: &Mutex<vt100::Parser>) -> MutexGuard<'_, vt100::Parser> {
    screen.lock().unwrap_or_else(PoisonError::into_inner)
}
