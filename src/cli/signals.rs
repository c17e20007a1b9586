//! SIGINT and SIGTERM, on a thread of their own: a handler or an `on_stop` that
//! blocks a thread must not keep an operator from ending the process.

use tokio::sync::oneshot;

use super::failure::Failure;
use super::output;
use crate::app::{App, Signal, Signals};
use crate::report;
use crate::start::StartError;

/// Gives the first signal. A second one ends the process at once.
pub(crate) fn watch() -> Result<oneshot::Receiver<Signal>, Failure> {
    let system = |source| StartError::System {
        what: "signals cannot be received",
        source,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(system)?;
    let mut signals = {
        let _inside = runtime.enter();
        Signals::new()?
    };
    let (tell, told) = oneshot::channel();
    std::thread::Builder::new()
        .name("framex-signals".into())
        .spawn(move || {
            let second = runtime.block_on(async {
                // If nobody waits any more, the process is ending already.
                let _ = tell.send(signals.next().await);
                signals.next().await
            });
            std::process::exit(second.exit_code().into());
        })
        .map_err(system)?;
    Ok(told)
}

/// Waits for the first signal; says meanwhile, once, when `app` is ready on its broker.
pub(crate) async fn serve_until(mut signal: oneshot::Receiver<Signal>, app: &App) {
    if app.serving().transport.nats().is_some() {
        tokio::select! {
            signal = &mut signal => return told(signal),
            () = app.following().ready() => {
                // Who reads it may have left.
                let _ = output::print(report::ready(app));
            }
        }
    }
    told(signal.await);
}

fn told(signal: Result<Signal, oneshot::error::RecvError>) {
    if let Ok(signal) = signal {
        tracing::info!(
            signal = signal.name(),
            "stopping; a second signal ends the process at once"
        );
    }
}
