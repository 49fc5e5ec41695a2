//! The terminal this program runs in: its size, and raw mode with a sure way back.

use std::{
    io::{self, IsTerminal},
    sync::Mutex,
};

use rustix::termios::{LocalModes, OptionalActions, Termios, Winsize, tcgetattr, tcgetwinsize, tcsetattr};

/// What to put back when raw mode ends, however it ends.
static SAVED: Mutex<Option<Termios>> = Mutex::new(None);

/// Whether standard input is a terminal.
pub(crate) fn stdin_is_terminal() -> bool {
    io::stdin().is_terminal()
}

/// Whether standard output is a terminal.
pub(crate) fn stdout_is_terminal() -> bool {
    io::stdout().is_terminal()
}

/// Rows and columns of standard output's terminal; zeros if it is none.
pub(crate) fn size() -> (u16, u16) {
    match tcgetwinsize(io::stdout()) {
        Ok(Winsize { ws_row, ws_col, .. }) => (ws_row, ws_col),
        Err(_) => (0, 0),
    }
}

/// The columns to wrap help to: those of standard input's terminal.
pub(crate) fn help_columns() -> usize {
    tcgetwinsize(io::stdin()).map_or(80, |size| usize::from(size.ws_col))
}

/// Raw mode, until dropped.
#[must_use]
pub(crate) struct RawMode(());

/// Puts standard input's terminal into raw mode; nothing happens if it is none.
pub(crate) fn raw() -> io::Result<RawMode> {
    if stdin_is_terminal() {
        let before = tcgetattr(io::stdin())?;
        let mut now = before.clone();
        now.make_raw();
        // A panic aborts without running any Drop.
        let previous = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            restore();
            previous(info);
        }));
        *SAVED.lock().unwrap_or_else(|e| e.into_inner()) = Some(before);
        tcsetattr(io::stdin(), OptionalActions::Now, &now)?;
    }
    Ok(RawMode(()))
}

/// Does something while standard input's terminal does not show what is typed.
pub(crate) fn without_echo<T>(work: impl FnOnce() -> T) -> T {
    let before = tcgetattr(io::stdin()).ok();
    if let Some(before) = &before {
        let mut now = before.clone();
        now.local_modes.remove(LocalModes::ECHO);
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &now);
    }
    let done = work();
    if let Some(before) = before {
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &before);
        // The end of the line was not shown either.
        crate::say::line("");
    }
    done
}

/// Undoes raw mode if it is on.
pub(crate) fn restore() {
    if let Some(before) = SAVED.lock().unwrap_or_else(|e| e.into_inner()).take() {
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &before);
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        restore();
    }
}
