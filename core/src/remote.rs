//! What `#[remote]` expands to.

use std::panic::resume_unwind;

use crate::error::{Error, Result};

/// Runs a blocking function on the blocking pool, where it stops no handler.
///
/// It runs to its end even if nobody waits any more.
///
/// # Errors
///
/// 503 if the process stops before the function starts. A panic of the function
/// is a panic of the caller.
pub async fn run_blocking<R: Send + 'static>(
    function: impl FnOnce() -> R + Send + 'static,
) -> Result<R> {
    match tokio::task::spawn_blocking(function).await {
        Ok(result) => Ok(result),
        Err(error) => match error.try_into_panic() {
            Ok(panic) => resume_unwind(panic),
            Err(_) => Err(Error::unavailable("the process is stopping")),
        },
    }
}

/// What a blocking `#[remote]` method needs of its receiver: a copy that the
/// pool's thread can own.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the receiver of a blocking `#[remote]` method",
    note = "the method runs on another thread, on a clone of its receiver: derive `Clone`, or make the method `async` or an associated function"
)]
pub trait RemoteReceiver: Clone + Send + 'static {}

#[diagnostic::do_not_recommend]
impl<T: Clone + Send + 'static> RemoteReceiver for T {}
