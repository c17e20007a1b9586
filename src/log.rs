//! The log: lines on standard error, for people or for machines.
//!
//! Values are never trusted: control characters in them, which could forge a line
//! or speak to a terminal, are written out.

use std::borrow::Cow;
use std::fmt::{self, Write as _};
use std::io::{self, IsTerminal as _};

use framex_core::settings::{Loaded, LogFormat, Source, nearest};
use tracing::field::Field;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::field::MakeExt as _;
use tracing_subscriber::fmt::format::{Writer, debug_fn};

use crate::start::StartError;

/// What is logged where the settings say nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Default {
    /// What the settings have as their default.
    OfSettings,
    /// Warnings: for commands whose output is something else.
    Warnings,
    /// Errors: for commands that tell by themselves what goes wrong.
    Errors,
}

/// Starts the log of this process. Panics go there as well.
pub(crate) fn start(settings: &Loaded, default: Default) -> Result<(), StartError> {
    let filter = filter(settings, default)?;
    let human = match settings.settings.log.format {
        LogFormat::Auto => io::stderr().is_terminal(),
        LogFormat::Human => true,
        LogFormat::Json => false,
    };
    // A log that cannot be written must not panic, so no word about that either.
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .log_internal_errors(false);
    let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let colours = io::stderr().is_terminal() && !plain;
    if human {
        let fields = debug_fn(write_field).delimited(" ");
        begin(log.with_ansi(colours).fmt_fields(fields).finish())?;
    } else {
        begin(log.json().finish())?;
    }
    for ignored in &settings.ignored {
        tracing::warn!("{ignored}");
    }
    Ok(())
}

fn begin(log: impl Into<tracing::Dispatch>) -> Result<(), StartError> {
    use tracing_subscriber::util::SubscriberInitExt as _;

    // There is one only if the program around this one has its own; that one stays.
    if log.into().try_init().is_ok() {
        std::panic::set_hook(Box::new(tell_panic));
    }
    Ok(())
}

fn tell_panic(panic: &std::panic::PanicHookInfo<'_>) {
    let payload = panic.payload();
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    let text = text.unwrap_or("(no text)");
    let place = panic.location().map(ToString::to_string);
    let backtrace = std::backtrace::Backtrace::capture();
    let thread = std::thread::current();
    let thread = thread.name().unwrap_or("unnamed");
    match backtrace.status() {
        std::backtrace::BacktraceStatus::Captured => {
            tracing::error!(target: "panic", place, thread, %backtrace, "{text}");
        }
        _ => tracing::error!(target: "panic", place, thread, "{text}"),
    }
}

/// Whether `log.filter` can be read.
pub(crate) fn check(settings: &Loaded) -> Result<(), StartError> {
    filter(settings, Default::OfSettings).map(drop)
}

fn filter(settings: &Loaded, default: Default) -> Result<EnvFilter, StartError> {
    let text = settings.settings.log.filter.as_str();
    let source = settings.origins.get("log.filter").map(|o| &o.source);
    let unsaid = matches!(source, None | Some(Source::Default));
    let text = match default {
        Default::Warnings if unsaid => "warn",
        Default::Errors if unsaid => "error",
        _ => text,
    };
    read(&quieter(text)).map_err(|reason| StartError::LogFilter {
        place: source.map_or_else(String::new, ToString::to_string),
        reason,
    })
}

/// The NATS client tells what the bus tells in its own words, and each attempt to
/// connect again, at levels up to `error`: so not there, unless it is asked for by
/// name or everything is.
fn quieter(text: &str) -> Cow<'_, str> {
    let usual = |word: &str| {
        ["info", "warn", "error"]
            .iter()
            .any(|level| word.trim().eq_ignore_ascii_case(level))
    };
    match text.split(',').any(usual) && !text.contains("async_nats") {
        true => Cow::Owned(format!("{text},async_nats=off")),
        false => Cow::Borrowed(text),
    }
}

fn read(text: &str) -> Result<EnvFilter, String> {
    const LEVELS: [&str; 6] = ["trace", "debug", "info", "warn", "error", "off"];

    // A word alone is a level, or else a target: a slip in a level would silence everything.
    for word in text.split(',').map(str::trim) {
        let level = word.rsplit('=').next().unwrap_or(word);
        let known = LEVELS.iter().any(|known| known.eq_ignore_ascii_case(level));
        if !known
            && !level.contains(['[', ':'])
            && let Some(nearest) = nearest(level, LEVELS)
        {
            return Err(format!("`{level}` is no level, did you mean `{nearest}`?"));
        }
    }
    EnvFilter::builder()
        .parse(text)
        .map_err(|error| format!("{error}; write e.g. `info`, or `warn,framex=debug`"))
}

/// `message` as it is, other fields as `name=value`.
fn write_field(out: &mut Writer<'_>, field: &Field, value: &dyn fmt::Debug) -> fmt::Result {
    match field.name() {
        "message" => write!(Escape(out), "{value:?}"),
        // Of the `log` crate, which told the same in its metadata.
        name if name.starts_with("log.") => Ok(()),
        name => {
            write!(out, "{}=", name.trim_start_matches("r#"))?;
            write!(Escape(out), "{value:?}")
        }
    }
}

/// Writes control characters out.
struct Escape<'a, 'w>(&'a mut Writer<'w>);

impl fmt::Write for Escape<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.write_str(&crate::cli::escaped(text))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[test]
    fn filters() {
        for text in [
            "info",
            "WARN,framex=debug",
            "off",
            "my_crate",
            "a::b=trace",
            "[span{x=1}]=info",
        ] {
            assert!(read(text).is_ok(), "{text}");
        }
        for (text, part) in [
            ("inof", "did you mean `info`?"),
            ("info,framex=debgu", "did you mean `debug`?"),
            ("a=b=c", "write e.g. `info`"),
        ] {
            let reason = read(text).unwrap_err();
            assert!(reason.contains(part), "{text}: {reason}");
        }
    }

    #[test]
    fn the_client_of_the_broker_is_quiet_unless_asked_for() {
        for (text, quieter_text) in [
            ("info", "info,async_nats=off"),
            ("INFO,framex=debug", "INFO,framex=debug,async_nats=off"),
            ("info,async_nats=debug", "info,async_nats=debug"),
            ("warn", "warn,async_nats=off"),
            ("debug", "debug"),
        ] {
            assert_eq!(quieter(text), quieter_text);
            assert!(read(&quieter(text)).is_ok());
        }
    }

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_value_forges_no_line() {
        let lines = Lines::default();
        let out = lines.clone();
        let log = tracing_subscriber::fmt()
            .with_writer(move || out.clone())
            .with_ansi(false)
            .fmt_fields(debug_fn(write_field).delimited(" "))
            .finish();
        tracing::subscriber::with_default(log, || {
            let evil = "x\n2026 ERROR forged \u{1b}[31m";
            tracing::info!(%evil, text = evil, "said {evil}");
        });
        let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(!text.contains('\u{1b}'), "{text}");
        assert!(text.contains("said x\\n2026"), "{text}");
    }
}
