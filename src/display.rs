//! Progress display for people, on standard error.

use std::{
    io::{self, IsTerminal, Write},
    sync::OnceLock,
    time::{Duration, Instant},
};

use console::Term;
use epitome_work::progress;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle, TermLike};

/// Interval between progress lines without a terminal.
const PLAIN_EVERY: Duration = Duration::from_secs(10);

/// Standard error as a terminal that may disappear at any time; write errors are then ignored.
#[derive(Debug)]
struct Screen(Term);

impl TermLike for Screen {
    fn width(&self) -> u16 {
        self.0.size().1
    }

    fn height(&self) -> u16 {
        self.0.size().0
    }

    fn move_cursor_up(&self, lines: usize) -> io::Result<()> {
        self.0.move_cursor_up(lines)
    }

    fn move_cursor_down(&self, lines: usize) -> io::Result<()> {
        self.0.move_cursor_down(lines)
    }

    fn move_cursor_right(&self, columns: usize) -> io::Result<()> {
        self.0.move_cursor_right(columns)
    }

    fn move_cursor_left(&self, columns: usize) -> io::Result<()> {
        self.0.move_cursor_left(columns)
    }

    fn write_line(&self, text: &str) -> io::Result<()> {
        self.0.write_line(text)
    }

    fn write_str(&self, text: &str) -> io::Result<()> {
        self.0.write_str(text)
    }

    fn clear_line(&self) -> io::Result<()> {
        self.0.clear_line()
    }

    // All other methods write to a buffer. Suspending a bar panics on an I/O error, so errors are dropped
    // here.
    fn flush(&self) -> io::Result<()> {
        let _ = self.0.flush();
        Ok(())
    }
}

/// Most terminal updates per second.
const FRAMES: u8 = 20;

/// All progress bars of this process, one below the other.
fn bars() -> &'static MultiProgress {
    static BARS: OnceLock<MultiProgress> = OnceLock::new();
    BARS.get_or_init(|| {
        MultiProgress::with_draw_target(match io::stderr().is_terminal() {
            true => ProgressDrawTarget::term_like_with_hz(Box::new(Screen(Term::buffered_stderr())), FRAMES),
            false => ProgressDrawTarget::hidden(),
        })
    })
}

fn together(bar: ProgressBar) -> ProgressBar {
    bars().add(bar)
}

/// Shows progress that libraries report, such as downloads of model files, on a terminal.
pub(crate) struct ProgressSink;

impl progress::Sink for ProgressSink {
    fn begin(&self, message: String, bytes: Option<u64>) -> Box<dyn progress::Bar> {
        let bar = match bytes {
            Some(total) => {
                let style = style("{msg} [{bar:30}] {bytes}/{total_bytes} {bytes_per_sec} {eta}");
                ProgressBar::new(total).with_style(style.progress_chars("=> "))
            }
            None => ProgressBar::new_spinner(),
        };
        let bar = together(bar.with_message(message));
        if bytes.is_none() {
            bar.enable_steady_tick(Duration::from_millis(100));
        }
        Box::new(SinkBar(bar))
    }
}

struct SinkBar(ProgressBar);

impl progress::Bar for SinkBar {
    fn set_length(&self, bytes: u64) {
        self.0.set_length(bytes);
    }

    fn advance(&self, bytes: u64) {
        self.0.inc(bytes);
    }
}

impl Drop for SinkBar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// A writer to standard error for lines logged while bars are shown; they appear above the bars.
pub(crate) struct LogWriter;

impl Write for LogWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        bars().suspend(|| io::stderr().lock().write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().lock().flush()
    }
}

/// A progress bar on a terminal, and periodic plain lines elsewhere.
pub(crate) struct Display {
    bar: ProgressBar,
    /// No terminal: write plain lines.
    plain: bool,
    /// Number of steps, if known.
    total: Option<u64>,
    first: u64,
    started: Instant,
    last: Instant,
}

impl Display {
    /// For `total` steps, of which `done` are done already.
    pub(crate) fn new(total: Option<u64>, done: u64) -> Self {
        let plain = !io::stderr().is_terminal();
        let bar = match total {
            _ if plain => ProgressBar::with_draw_target(total, ProgressDrawTarget::hidden()),
            Some(total) => {
                let bar =
                    ProgressBar::new(total).with_style(style("{bar:30} {percent:>3}%  {msg}  {eta} left"));
                together(bar.with_position(done))
            }
            None => together(ProgressBar::new_spinner().with_style(style("{spinner} {msg}"))),
        };
        bar.reset_eta();
        let now = Instant::now();
        Self { bar, plain, total, first: done, started: now, last: now }
    }

    /// Sets the number of steps that are done.
    pub(crate) fn update(&mut self, position: u64, message: impl FnOnce() -> String) {
        self.bar.set_position(position);
        if !self.plain {
            self.bar.set_message(message());
        } else if self.last.elapsed() >= PLAIN_EVERY {
            self.last = Instant::now();
            self.print_line(&format!("{}{}", message(), self.left(position)));
        }
    }

    /// Seconds since the start.
    pub(crate) fn seconds(&self) -> f64 {
        self.started.elapsed().as_secs_f64()
    }

    /// The estimated time left, for a plain line.
    fn left(&self, position: u64) -> String {
        let (Some(total), done) = (self.total, position.saturating_sub(self.first)) else {
            return String::new();
        };
        if done == 0 {
            return String::new();
        }
        let seconds = self.seconds() * total.saturating_sub(position) as f64 / done as f64;
        format!(", {seconds:.0} s left")
    }

    /// Removes the bar.
    pub(crate) fn clear(&self) {
        self.bar.finish_and_clear();
    }

    /// Writes a line above the bar.
    pub(crate) fn print_line(&self, line: &str) {
        self.bar.suspend(|| {
            // A closed standard error is no reason to fail.
            let _ = writeln!(io::stderr().lock(), "{line}");
        });
    }
}

/// Falls back to indicatif's own style if it rejects the template.
fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
