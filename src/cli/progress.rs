//! How far a command is that takes long: a bar on standard error, where that is a terminal, and nothing elsewhere.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::borrow::Cow;
use std::io::{self, BufRead, Read};
use std::time::Duration;

/// How often a second the bar is drawn at most.
const DRAWN: u8 = 10;

/// A bar. It goes when it is dropped, so that what a command says stands alone.
pub(super) struct Progress(ProgressBar);

impl Progress {
    /// Of so many things.
    pub(super) fn of(count: u64, doing: &'static str) -> Self {
        Self::new(Some(count), doing, "{msg} [{bar:30}] {human_pos} of {human_len}  {eta} left")
    }

    /// Of so many bytes.
    pub(super) fn of_bytes(count: u64, doing: &'static str) -> Self {
        Self::new(Some(count), doing, "{msg} [{bar:30}] {binary_bytes} of {binary_total_bytes}  {eta} left")
    }

    /// Of something that nobody knows the size of, step by step: it shows how long it has taken.
    pub(super) fn of_steps(doing: &'static str) -> Self {
        let progress = Self::new(None, doing, "{spinner} {msg}  {elapsed}");
        progress.0.enable_steady_tick(Duration::from_millis(1000 / u64::from(DRAWN)));
        progress
    }

    fn new(count: Option<u64>, doing: &'static str, template: &str) -> Self {
        let target = ProgressDrawTarget::stderr_with_hz(DRAWN);
        let bar = ProgressBar::with_draw_target(count, target).with_message(doing);
        // The templates stand above; one that were wrong would show the library's own bar.
        Self(match ProgressStyle::with_template(template) {
            Ok(style) => bar.with_style(style.progress_chars("=> ")),
            Err(_) => bar,
        })
    }

    /// One more, or so many bytes more.
    pub(super) fn add(&self, count: u64) {
        self.0.inc(count);
    }

    /// Something else is done now.
    pub(super) fn say(&self, doing: impl Into<Cow<'static, str>>) {
        self.0.set_message(doing);
    }

    /// A reader that moves the bar on.
    pub(super) fn reading<R: BufRead>(&self, from: R) -> Reading<'_, R> {
        Reading { from, progress: self }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// What is read, with a bar.
pub(super) struct Reading<'a, R> {
    from: R,
    progress: &'a Progress,
}

impl<R: BufRead> Read for Reading<'_, R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.from.read(into)?;
        self.progress.add(read as u64);
        Ok(read)
    }
}

impl<R: BufRead> BufRead for Reading<'_, R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.from.fill_buf()
    }

    fn consume(&mut self, count: usize) {
        self.from.consume(count);
        self.progress.add(count as u64);
    }
}
