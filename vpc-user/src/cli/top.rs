//! `vpc top`: the screen, once a second.

use std::{
    future::Future,
    io::{self, IsTerminal as _, Write},
    os::fd::AsRawFd as _,
    path::Path,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use tokio::signal::unix::{SignalKind, signal};

use super::run::misunderstood;
use crate::{
    api,
    model::{Request, Response},
    print::{self, Size, Snapshot},
};

const PERIOD: Duration = Duration::from_secs(1);
/// Of a frame that goes into a file or a pipe.
const PLAIN_SIZE: Size = Size {
    width: 200,
    height: 60,
};
/// The alternate screen, without a cursor.
const ENTER: &str = "\x1b[?1049h\x1b[?25l";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";
const HOME: &str = "\x1b[H";
const CLEAR_LINE: &str = "\x1b[K";
const CLEAR_BELOW: &str = "\x1b[J";

/// Watches until Ctrl-C, SIGTERM or so many frames.
pub(super) fn top(socket: &Path, frames: Option<u64>, out: &mut impl Write) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt()).context("watch for Ctrl-C")?;
        let mut terminate = signal(SignalKind::terminate()).context("watch for SIGTERM")?;
        let mut hangup = signal(SignalKind::hangup()).context("watch for SIGHUP")?;
        let until = async move {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
                _ = hangup.recv() => {}
            }
        };
        watch(socket, frames, io::stdout().is_terminal(), until, out).await
    })
}

/// Draws the agent's state on `out` once a second until `until` is ready or so
/// many frames were drawn: in place on a terminal's alternate screen, one below
/// the other elsewhere. An agent that is not there at first is an error; one that
/// goes away later may be on its way back and is waited for.
pub async fn watch(
    socket: &Path,
    frames: Option<u64>,
    terminal: bool,
    until: impl Future<Output = ()>,
    out: &mut impl Write,
) -> Result<()> {
    let mut before = None;
    let mut until = std::pin::pin!(until);
    let mut period = tokio::time::interval_at(tokio::time::Instant::now() + PERIOD, PERIOD);
    period.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let first = tokio::select! {
        () = &mut until => return Ok(()),
        first = snapshot(socket) => first?,
    };
    let mut canvas = Canvas::new(terminal, out)?;
    let mut next = Ok(first);
    let mut drawn = 0;
    loop {
        match next {
            Ok(now) => {
                canvas.draw(|frame, size| print::screen(frame, &now, before.as_ref(), size))?;
                before = Some(now);
            }
            Err(error) => canvas.draw(|frame, _| writeln!(frame, "{error:#}"))?,
        }
        drawn += 1;
        if frames.is_some_and(|frames| drawn >= frames) {
            return Ok(());
        }
        next = tokio::select! {
            () = &mut until => return Ok(()),
            next = async { period.tick().await; snapshot(socket).await } => next,
        };
    }
}

/// Asks for everything the screen shows.
pub async fn snapshot(socket: &Path) -> Result<Snapshot> {
    let ask = async |request| match api::call(socket, &request).await? {
        Response::Error { message } => bail!(message),
        response => anyhow::Ok(response),
    };
    Ok(Snapshot {
        status: match ask(Request::Status).await? {
            Response::Status(status) => status,
            other => return misunderstood(&other),
        },
        environments: match ask(Request::Environments).await? {
            Response::Environments(environments) => environments,
            other => return misunderstood(&other),
        },
        flows: match ask(Request::Flows).await? {
            Response::Flows(flows) => flows,
            other => return misunderstood(&other),
        },
        drops: match ask(Request::Drops).await? {
            Response::Drops(drops) => drops,
            other => return misunderstood(&other),
        },
    })
}

/// Where frames go; restores the terminal when dropped.
struct Canvas<'a, W: Write> {
    out: &'a mut W,
    terminal: bool,
    drawn: bool,
}

impl<'a, W: Write> Canvas<'a, W> {
    fn new(terminal: bool, out: &'a mut W) -> io::Result<Self> {
        let canvas = Self {
            out,
            terminal,
            drawn: false,
        };
        if terminal {
            canvas.out.write_all(ENTER.as_bytes())?;
        }
        Ok(canvas)
    }

    fn draw(&mut self, print: impl FnOnce(&mut Vec<u8>, Size) -> io::Result<()>) -> io::Result<()> {
        let mut frame = Vec::new();
        if self.terminal {
            print(&mut frame, terminal_size())?;
            let text = String::from_utf8_lossy(&frame);
            write!(self.out, "{HOME}")?;
            for line in text.lines() {
                write!(self.out, "{line}{CLEAR_LINE}\r\n")?;
            }
            write!(self.out, "{CLEAR_BELOW}")?;
        } else {
            print(&mut frame, PLAIN_SIZE)?;
            if self.drawn {
                writeln!(self.out)?;
            }
            self.out.write_all(&frame)?;
        }
        self.drawn = true;
        self.out.flush()
    }
}

impl<W: Write> Drop for Canvas<'_, W> {
    fn drop(&mut self) {
        if self.terminal {
            // A terminal that is gone needs no restoring.
            let _ = self
                .out
                .write_all(LEAVE.as_bytes())
                .and_then(|()| self.out.flush());
        }
    }
}

nix::ioctl_read_bad!(window_size, nix::libc::TIOCGWINSZ, nix::libc::winsize);

/// The terminal's size now, without its last line: a line end there would scroll.
fn terminal_size() -> Size {
    let mut size = nix::libc::winsize {
        ws_row: 0,
        ws_col: 0,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    // SAFETY: TIOCGWINSZ writes one `winsize`, and `size` is one that lives across
    // the call.
    let answered = unsafe { window_size(io::stdout().as_raw_fd(), &mut size) };
    match (answered, size.ws_col, size.ws_row) {
        (Ok(_), width @ 1.., height @ 2..) => Size {
            width: width.into(),
            height: usize::from(height) - 1,
        },
        _ => Size {
            width: 80,
            height: 23,
        },
    }
}
