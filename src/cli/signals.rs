//! SIGINT and SIGTERM, on a thread of their own: a handler or an `on_stop` that
//! blocks a thread must not keep an operator from ending the process.

use tokio::sync::oneshot;

use super::failure::Failure;
use crate::app::{Signal, Signals};
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
