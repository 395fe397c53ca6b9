//! The terminal, taken over and given back.

use std::io::{self, IsTerminal as _};

use crossterm::{
    cursor::Show,
    event::{Event, EventStream, KeyCode, KeyEvent, KeyEventKind, KeyModifiers},
    execute,
};
use futures_util::StreamExt as _;
use ratatui::DefaultTerminal;
use tokio::sync::mpsc::Receiver;

use super::{screen, stream::News, view::View};
use crate::clock::now_ms;

/// Whether somebody sits before it: it shows what is written, and keys come from it.
#[must_use]
pub fn is_one() -> bool {
    io::stdin().is_terminal() && io::stdout().is_terminal()
}

/// Shows what is heard of an origin until a key, or `stop`, ends it. However it ends, the terminal is as it
/// was before.
///
/// # Errors
/// The terminal can't be used.
pub async fn show(
    mut view: View,
    mut news: Receiver<News>,
    stop: impl Future<Output = ()>,
) -> io::Result<()> {
    let mut screen = Screen::take()?;
    let mut events = EventStream::new();
    let mut stop = std::pin::pin!(stop);
    loop {
        screen.0.draw(|frame| screen::draw(frame, &view))?;
        tokio::select! {
            () = &mut stop => return Ok(()),
            event = events.next() => match event {
                Some(Ok(Event::Key(key))) if is_end(key) => return Ok(()),
                // Such as another size: it is drawn again.
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(error),
                None => return Ok(()),
            },
            heard = news.recv() => match heard {
                Some(heard) => {
                    view.learn(heard, now_ms());
                    // One frame for all that has come by now.
                    while let Ok(heard) = news.try_recv() {
                        view.learn(heard, now_ms());
                    }
                }
                None => return Err(io::Error::other("listening has ended by a failure")),
            },
        }
    }
}

/// `q`, Esc or Ctrl-C.
fn is_end(key: KeyEvent) -> bool {
    let is_control = key.modifiers.contains(KeyModifiers::CONTROL);
    key.kind != KeyEventKind::Release
        && match key.code {
            KeyCode::Esc | KeyCode::Char('q' | 'Q') => true,
            KeyCode::Char('c') => is_control,
            _ => false,
        }
}

/// The whole screen, until this is dropped; also where somebody panics, before it says why.
struct Screen(DefaultTerminal);

impl Screen {
    fn take() -> io::Result<Self> {
        match ratatui::try_init() {
            Ok(terminal) => Ok(Self(terminal)),
            Err(error) => {
                give_back();
                Err(error)
            }
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
    }
}

fn give_back() {
    // Whoever has taken the terminal away needs nothing back.
    let _ = ratatui::try_restore();
    let _ = execute!(io::stdout(), Show);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_keys_end_it() {
        let key = |code, modifiers| is_end(KeyEvent::new(code, modifiers));
        assert!(key(KeyCode::Char('q'), KeyModifiers::NONE));
        assert!(key(KeyCode::Esc, KeyModifiers::NONE));
        assert!(key(KeyCode::Char('c'), KeyModifiers::CONTROL));
        assert!(!key(KeyCode::Char('c'), KeyModifiers::NONE));
        assert!(!key(KeyCode::Char('x'), KeyModifiers::CONTROL));
    }
}
